//! What secured brokers are told.

use crate::{Kdc, Stores};
use std::path::PathBuf;

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
    /// A login by Kerberos without encryption; of [`crate::Config::kerberos`].
    Kerberos,
    /// A login by Kerberos within TLS; of [`crate::Config::kerberos`].
    TlsKerberos,
}

const MORE: [(Listener, &str); 7] = [
    (Listener::Tls, "SSL"),
    (Listener::MutualTls, "SSL"),
    (Listener::Login, "SASL_PLAINTEXT"),
    (Listener::TlsLogin, "SASL_SSL"),
    (Listener::Elsewhere, "SSL"),
    (Listener::Kerberos, "SASL_PLAINTEXT"),
    (Listener::TlsKerberos, "SASL_SSL"),
];
/// How many of them are by Kerberos.
const BY_KERBEROS: usize = 2;

/// How the brokers of a cluster are secured.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    pub(crate) stores: Stores,
    /// The keytab of the brokers' principal, where they know Kerberos.
    pub(crate) keytab: Option<PathBuf>,
}

impl Secured {
    /// The listeners beside [`Listener::Plaintext`], with their protocol.
    pub(crate) fn more(&self) -> &'static [(Listener, &'static str)] {
        match self.keytab {
            Some(_) => &MORE,
            None => &MORE[..MORE.len() - BY_KERBEROS],
        }
    }
}

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
            Listener::Kerberos => "KERBEROS",
            Listener::TlsKerberos => "TLSKERBEROS",
        }
    }

    /// By which name its brokers are reached: Kerberos knows them by their host's.
    pub(crate) fn host(self) -> &'static str {
        match self {
            Listener::Kerberos | Listener::TlsKerberos => "localhost",
            _ => "127.0.0.1",
        }
    }
}

/// The user of PLAIN, of [`crate::Session::add_scram_user`] where that is asked so, and of the client's certificate.
pub(crate) const USER: (&str, &str) = ("ann", "ann-secret");

/// The brokers' principal, without the realm.
pub(crate) const SERVICE: &str = "kafka/localhost";

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const KERBEROS: &str = "com.sun.security.auth.module.Krb5LoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// Settings of a broker whose listeners beside the plaintext one are at these ports, in the order of [`Secured::more`]. What
/// stands in `listeners` and its kin already is kept.
pub(crate) fn settings(
    secured: &Secured,
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
    let stores = &secured.stores;
    for ((listener, protocol), port) in secured.more().iter().zip(ports) {
        listeners += &format!(",{}://127.0.0.1:{port}", listener.name());
        advertised += &format!(",{}://{}:{port}", listener.name(), listener.host());
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
    if let Some(keytab) = &secured.keytab {
        let login = format!(
            "{KERBEROS} required useKeyTab=true storeKey=true keyTab=\"{}\" principal=\"{SERVICE}@{}\";",
            keytab.display(),
            Kdc::REALM
        );
        set("sasl.kerberos.service.name", "kafka".to_owned());
        for listener in ["kerberos", "tlskerberos"] {
            set(&format!("listener.name.{listener}.sasl.enabled.mechanisms"), "GSSAPI".to_owned());
            set(&format!("listener.name.{listener}.gssapi.sasl.jaas.config"), login.clone());
        }
    }
    settings
}
