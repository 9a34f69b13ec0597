//! Logins by tokens of an identity provider: brokers that check signatures against its keys (`OAuthBearerValidatorCallbackHandler`),
//! and tokens that live for some seconds.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Hold, Pair, assert_same, count},
};
use real_kafka::{Config, Deadline, Distribution, Fill, Listener, Stores, TokenEndpoint};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

const LIFE: Duration = Duration::from_secs(10);
const FEW: u64 = 50;
const VALIDATOR: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";

struct Bench {
    kafka: Distribution,
    stores: Stores,
    folder: PathBuf,
    desk: Desk,
    pair: Hold,
}

impl Bench {
    fn new(version: &str) -> (Bench, TokenEndpoint) {
        let kafka = Distribution::resolve(version).unwrap();
        let stores = Stores::make(&kafka).unwrap();
        let folder =
            std::env::temp_dir().join(format!("paralog-test-{}-issued-{version}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let endpoint = TokenEndpoint::start(&kafka, &stores, &folder, LIFE, 0).unwrap();
        let keys = endpoint.keys_url();
        // Logins end with their token, or after three seconds.
        let config = Config::brokers(1)
            .secured(&stores)
            .with("listener.name.tlslogin.oauthbearer.sasl.server.callback.handler.class", VALIDATOR)
            .with("listener.name.tlslogin.sasl.oauthbearer.jwks.endpoint.url", &keys)
            .with("listener.name.tlslogin.sasl.oauthbearer.expected.issuer", "test")
            .jvm_option(format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"));
        let pair = Pair::start((version, &config), (version, &config));
        let name = format!("tokens-{version}");
        let desk = Desk::new(&name, &pair.source.bootstrap, &pair.destination.bootstrap);
        fs::set_permissions(desk.folder(), fs::Permissions::from_mode(0o700)).unwrap();
        (Bench { kafka, stores, folder, desk, pair }, endpoint)
    }

    /// A connector that logs in with these on both sides.
    fn connector(&self, name: &str, url: &str, secret: &str, trust: &str) -> PathBuf {
        let sides = [("src.kafka.", &self.pair.source), ("dest.kafka.", &self.pair.destination)];
        let store = |file: &str| self.stores.file(file).display().to_string();
        let password = Stores::PASSWORD;
        let mut text = format!(
            "name={name}\nconnector.class=ReplicatorSourceConnector\ntopic.whitelist=t\ntopic.rename.format={name}-${{topic}}\n\
             key.converter=ByteArrayConverter\nvalue.converter=ByteArrayConverter\n"
        );
        for (prefix, side) in sides {
            let lines = format!(
                "bootstrap.servers={}\nsecurity.protocol=SASL_SSL\nssl.truststore.location={}\n\
                 ssl.truststore.password={password}\nsasl.mechanism=OAUTHBEARER\n\
                 sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                 clientId=\"{}\" clientSecret=\"{secret}\" scope=\"read write\" ssl.truststore.location=\"{}\" \
                 ssl.truststore.password=\"{password}\" extension_traceId=\"a\";\n\
                 sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
                 sasl.oauthbearer.token.endpoint.url={url}\nsasl.login.retry.backoff.max.ms=500\n",
                side.cluster().bootstrap_of(Listener::TlsLogin),
                store("trust.p12"),
                TokenEndpoint::CLIENT,
                store(trust),
            );
            lines.lines().for_each(|line| text += &format!("{prefix}{line}\n"));
        }
        let file = self.desk.write(&format!("{name}.properties"), &text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_copy_goes_on_over_several_lives_of_a_token_and_while_nobody_gives_any() {
    let (bench, endpoint) = Bench::new("4.3.1");
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    source.with(|session| session.create_topic(&source.bootstrap, "t", 2, 1, &[]).unwrap());
    let connector = bench.connector("good", &endpoint.url(), TokenEndpoint::SECRET, "trust.p12");
    let process = bench.desk.run(&connector);
    let said = || fs::read_to_string(process.log()).unwrap();

    let mut filled = 0;
    let fill_while = |under_way: &dyn Fn() -> bool, filled: &mut u64| {
        while under_way() {
            let fill = Fill::varied(FEW, 2).first(*filled);
            source.with(|session| session.fill(&source.bootstrap, "t", &fill).unwrap());
            *filled += FEW;
            destination.with(|session| {
                session.wait_for_records(&destination.bootstrap, "good-t", *filled, PATIENCE).unwrap();
            });
        }
    };
    // A token serves all logins to one cluster, until four fifths of its life are over.
    let patience = Deadline::within(PATIENCE);
    fill_while(&|| endpoint.issued() < 8 && !patience.left().is_zero(), &mut filled);
    assert!((8..=10).contains(&endpoint.issued()), "{} tokens\n{}", endpoint.issued(), said());
    let quiet = said();
    assert!(!quiet.contains("WARN") && !quiet.contains("ERROR"), "{quiet}");

    let (port, url) = (endpoint.port(), endpoint.url());
    drop(endpoint);
    let patience = Deadline::within(PATIENCE);
    let warned = || said().contains("no new token, going on with the last, which is still valid");
    fill_while(&|| !warned() && !patience.left().is_zero(), &mut filled);
    let told = said();
    let line =
        told.lines().find(|line| line.contains("no new token, going on with the last")).unwrap_or(&told);
    assert!(line.contains(&format!("the token endpoint {url} cannot be reached")), "{line}");
    let endpoint = TokenEndpoint::start(&bench.kafka, &bench.stores, &bench.folder, LIFE, port).unwrap();
    let patience = Deadline::within(PATIENCE);
    fill_while(&|| endpoint.issued() < 4 && !patience.left().is_zero(), &mut filled);
    assert!(endpoint.issued() >= 4, "{}", said());
    assert!(!said().contains(TokenEndpoint::SECRET));
    stop_cleanly(process);
    let original = source.with(|session| session.digest(&source.bootstrap, "t", false).unwrap());
    assert_eq!(count(&original), filled);
    let copied = destination.with(|session| session.digest(&destination.bootstrap, "good-t", false).unwrap());
    assert_same(&original, &copied);

    what_does_not_come_about_says_why(&bench, &url);
}

fn what_does_not_come_about_says_why(bench: &Bench, url: &str) {
    let check = |name: &str, url: &str, secret: &str, trust: &str, expected: &str| {
        let connector = bench.connector(name, url, secret, trust);
        let outcome =
            bench.desk.run_to_end(&["plan".as_ref(), bench.desk.worker().as_os_str(), connector.as_os_str()]);
        assert_eq!(outcome.code, Some(3), "{}", outcome.output);
        let line = outcome.output.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(line.contains("cluster of connector") && line.contains(expected), "{}", outcome.output);
        assert!(!outcome.output.contains(secret), "{}", outcome.output);
    };
    let refused = "OAUTHBEARER: the token endpoint https://localhost:";
    let client = "/token refuses the client `paralog`: it answers 401 invalid_client (no such client); check its id and its secret";
    check("wrong", url, "wrong-secret", "trust.p12", refused);
    check("wrong", url, "wrong-secret", "trust.p12", client);
    let secret = TokenEndpoint::SECRET;
    check(
        "stranger",
        url,
        secret,
        "stranger.p12",
        "/token makes no TLS: its certificate was issued by `Test authority`",
    );
    check(
        "lost",
        &url.replace("/token", "/lost"),
        secret,
        "trust.p12",
        "/lost answers 404; is it the address of a token endpoint?",
    );
    check(
        "named",
        &url.replace("localhost", "127.0.0.2"),
        secret,
        "trust.p12",
        "OAUTHBEARER: the token endpoint https://127.0.0.2:",
    );
}
