//! What secured brokers are told.

use crate::Stores;

/// A way into a secured cluster, see [`crate::Config::secured`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Neither encryption nor login; also the brokers' own.
    Plaintext,
    /// TLS.
    Tls,
    /// TLS that wants a certificate of the client, too.
    MutualTls,
    /// A login without encryption: PLAIN, SCRAM-SHA-256.
    Login,
    /// A login within TLS: PLAIN, SCRAM-SHA-512, OAUTHBEARER with unsecured tokens.
    TlsLogin,
    /// TLS with a certificate for another host.
    Elsewhere,
}

/// Those beside [`Listener::Plaintext`], with their protocol.
pub(crate) const MORE: [(Listener, &str); 5] = [
    (Listener::Tls, "SSL"),
    (Listener::MutualTls, "SSL"),
    (Listener::Login, "SASL_PLAINTEXT"),
    (Listener::TlsLogin, "SASL_SSL"),
    (Listener::Elsewhere, "SSL"),
];

impl Listener {
    /// As the brokers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Listener::Plaintext => "PLAINTEXT",
            Listener::Tls => "TLS",
            Listener::MutualTls => "MUTUAL",
            Listener::Login => "LOGIN",
            Listener::TlsLogin => "TLSLOGIN",
            Listener::Elsewhere => "ELSEWHERE",
        }
    }
}

/// The user of PLAIN, of [`crate::Session::add_scram_user`] where that is asked so, and of the client's certificate.
pub(crate) const USER: (&str, &str) = ("ann", "ann-secret");

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// Settings of a broker whose listeners beside the plaintext one are at these ports, in the order of [`MORE`]. What
/// stands in `listeners` and its kin already is kept.
pub(crate) fn settings(
    stores: &Stores,
    ports: &[u16],
    listeners: &str,
    advertised: &str,
    map: &str,
) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: String| settings.push((key.to_owned(), value));
    let (mut listeners, mut advertised, mut map) =
        (listeners.to_owned(), advertised.to_owned(), map.to_owned());
    if map.is_empty() {
        map.push_str("PLAINTEXT:PLAINTEXT");
    }
    for ((listener, protocol), port) in MORE.iter().zip(ports) {
        let address = format!(",{}://127.0.0.1:{port}", listener.name());
        listeners += &address;
        advertised += &address;
        map += &format!(",{}:{protocol}", listener.name());
    }
    set("listeners", listeners);
    set("advertised.listeners", advertised);
    set("listener.security.protocol.map", map);

    let store = |name: &str| stores.file(name).display().to_string();
    set("ssl.keystore.type", "PKCS12".to_owned());
    set("ssl.keystore.location", store("broker.p12"));
    set("ssl.keystore.password", Stores::PASSWORD.to_owned());
    set("ssl.key.password", Stores::PASSWORD.to_owned());
    set("ssl.truststore.type", "PKCS12".to_owned());
    set("ssl.truststore.location", store("trust.p12"));
    set("ssl.truststore.password", Stores::PASSWORD.to_owned());
    set("listener.name.mutual.ssl.client.auth", "required".to_owned());
    let elsewhere = "listener.name.elsewhere.ssl.";
    set(&format!("{elsewhere}keystore.type"), "PKCS12".to_owned());
    set(&format!("{elsewhere}keystore.location"), store("elsewhere.p12"));
    set(&format!("{elsewhere}keystore.password"), Stores::PASSWORD.to_owned());
    set(&format!("{elsewhere}key.password"), Stores::PASSWORD.to_owned());

    // So that logins end while a test looks on.
    set("connections.max.reauth.ms", "3000".to_owned());
    let (user, password) = USER;
    let plain = format!("{PLAIN} required user_{user}=\"{password}\";");
    let scram = format!("{SCRAM} required;");
    let bearer = format!("{BEARER} required unsecuredLoginStringClaim_sub=\"broker\";");
    for (listener, logins) in [
        ("login", &[("PLAIN", &plain), ("SCRAM-SHA-256", &scram)][..]),
        ("tlslogin", &[("PLAIN", &plain), ("SCRAM-SHA-512", &scram), ("OAUTHBEARER", &bearer)][..]),
    ] {
        let mechanisms: Vec<&str> = logins.iter().map(|(mechanism, _)| *mechanism).collect();
        set(&format!("listener.name.{listener}.sasl.enabled.mechanisms"), mechanisms.join(","));
        for (mechanism, login) in logins {
            let mechanism = mechanism.to_lowercase();
            set(&format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"), (*login).clone());
        }
    }
    settings
}
