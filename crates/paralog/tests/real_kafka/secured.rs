//! Secured clusters: every way to connect, on either side, with stores as Java's keytool makes them, and what is said
//! where it does not come about.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, Side, assert_same, count},
};
use real_kafka::{Config, Deadline, Distribution, Fill, Listener, Stores};
use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::Duration,
};

/// The user of every login and of the client's certificate, and what proves it.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "ann-secret";
const RECORDS: u64 = 500;
/// What is written at once while the program runs.
const FEW: u64 = 50;
/// How long a login lasts at the brokers of [`Config::secured`].
pub(crate) const LOGIN: Duration = Duration::from_secs(3);

/// The test's clusters and files.
pub(crate) struct Bench {
    pub(crate) stores: Stores,
    pub(crate) desk: Desk,
    pub(crate) pair: crate::pair::Hold,
}

/// One way to connect: the listener, and the security properties without a prefix.
pub(crate) struct Way {
    listener: Listener,
    pub(crate) lines: Vec<String>,
}

impl Bench {
    /// With the user at both clusters, and the worker's file that keeps progress in a topic.
    pub(crate) fn new(name: &str, version: &str) -> Bench {
        let stores = Stores::make(&Distribution::resolve(version).unwrap()).unwrap();
        let config = Config::brokers(1).secured(&stores);
        let pair = Pair::start((version, &config), (version, &config));
        for side in [&pair.source, &pair.destination] {
            side.with(|session| session.add_scram_user(&side.bootstrap, USER, PASSWORD).unwrap());
        }
        let desk =
            Desk::new(&format!("{name}-{version}"), &pair.source.bootstrap, &pair.destination.bootstrap);
        let bench = Bench { stores, desk, pair };
        bench.write_secrets(PASSWORD);
        // Otherwise it is warned, rightly, that everybody can read them.
        fs::set_permissions(bench.desk.folder(), Permissions::from_mode(0o700)).unwrap();
        bench.worker();
        bench
    }

    /// Puts another file with secrets, the login's among them, in the place of the one that is there.
    pub(crate) fn write_secrets(&self, password: &str) {
        let secrets =
            format!("password={password}\nstore={}\nkey={}\n", Stores::PASSWORD, Stores::KEY_PASSWORD);
        let fresh = self.desk.folder().join("fresh-secrets");
        fs::write(&fresh, secrets).unwrap();
        fs::rename(&fresh, self.secrets()).unwrap();
    }

    /// A file of this bench's own that holds what the store `from` does, put there at once, as whoever renews
    /// certificates does it.
    pub(crate) fn own(&self, name: &str, from: &str) -> String {
        let file = self.desk.folder().join(name);
        let fresh = self.desk.folder().join("fresh");
        fs::copy(self.stores.file(from), &fresh).unwrap();
        fs::rename(&fresh, &file).unwrap();
        file.display().to_string()
    }

    fn secrets(&self) -> PathBuf {
        self.desk.folder().join("secrets.properties")
    }

    /// A secret as the property files name it.
    fn secret(&self, key: &str) -> String {
        format!("${{file:{}:{key}}}", self.secrets().display())
    }

    fn file(&self, name: &str) -> String {
        self.stores.file(name).display().to_string()
    }

    /// PEM text as one line of a property file.
    fn pem(&self, name: &str) -> String {
        self.stores.pem(name).unwrap().replace('\r', "").replace('\n', "\\n")
    }

    /// The worker's file: progress is kept in a topic, on a cluster that wants a login of its own.
    fn worker(&self) {
        let way = self.scram("SCRAM-SHA-512", Listener::TlsLogin, "trust.p12");
        let mut text = format!(
            "bootstrap.servers={}\noffset.storage.topic=progress\noffset.storage.replication.factor=1\n\
             offset.storage.partitions=1\nconfig.providers=file\n\
             config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n",
            // Another address than any connector's destination has: it does not inherit what is said here.
            address(&self.pair.destination, way.listener).replace("127.0.0.1", "localhost")
        );
        for line in &way.lines {
            writeln!(text, "{line}").unwrap();
        }
        self.desk.write("worker.properties", &text);
    }

    /// A connector from one way to another; its copies have its name in front.
    pub(crate) fn connector(&self, name: &str, source: &Way, destination: &Way) -> PathBuf {
        let mut text = format!(
            "name={name}\nconnector.class=ReplicatorSourceConnector\ntopic.whitelist=t\ntopic.rename.format={name}-${{topic}}\n\
             key.converter=ByteArrayConverter\nvalue.converter=ByteArrayConverter\n\
             src.kafka.bootstrap.servers={}\ndest.kafka.bootstrap.servers={}\n",
            address(&self.pair.source, source.listener),
            address(&self.pair.destination, destination.listener)
        );
        for (prefix, way) in [("src.kafka.", source), ("dest.kafka.", destination)] {
            for line in &way.lines {
                writeln!(text, "{prefix}{line}").unwrap();
            }
        }
        self.desk.write(&format!("{name}.properties"), &text)
    }

    fn trust(&self, store: &str) -> Vec<String> {
        match store {
            "inline" => vec![
                "ssl.truststore.type=PEM".to_owned(),
                format!("ssl.truststore.certificates={}", self.pem("trust.pem")),
            ],
            pem if pem.ends_with(".pem") => {
                vec![
                    "ssl.truststore.type=PEM".to_owned(),
                    format!("ssl.truststore.location={}", self.file(pem)),
                ]
            }
            other => vec![
                // Java takes PKCS12 for JKS, its default, too.
                format!("ssl.truststore.location={}", self.file(other)),
                format!("ssl.truststore.password={}", self.secret("store")),
            ],
        }
    }

    fn plaintext(&self) -> Way {
        Way { listener: Listener::Plaintext, lines: Vec::new() }
    }

    fn tls(&self, trust: &str) -> Way {
        let lines = [vec!["security.protocol=SSL".to_owned()], self.trust(trust)].concat();
        Way { listener: Listener::Tls, lines }
    }

    pub(crate) fn mutual(&self, trust: &str, identity: &str) -> Way {
        let mut lines = self.tls(trust).lines;
        let location = format!("ssl.keystore.location={}", self.file(identity));
        let password = format!("ssl.keystore.password={}", self.secret("store"));
        match identity {
            "inline" => lines.extend([
                "ssl.keystore.type=PEM".to_owned(),
                format!("ssl.keystore.key={}", self.pem("client-key.pem")),
                format!("ssl.keystore.certificate.chain={}", self.pem("client-chain.pem")),
            ]),
            "client.pem" => lines.extend(["ssl.keystore.type=PEM".to_owned(), location]),
            "client.jks" => {
                lines.extend([location, password, format!("ssl.key.password={}", self.secret("key"))]);
            }
            _ => lines.extend(["ssl.keystore.type=PKCS12".to_owned(), location, password]),
        }
        Way { listener: Listener::MutualTls, lines }
    }

    fn login(&self, mechanism: &str, jaas: &str, listener: Listener, trust: &str) -> Way {
        let mut lines = vec![format!("sasl.mechanism={mechanism}"), format!("sasl.jaas.config={jaas}")];
        if listener == Listener::Login {
            lines.push("security.protocol=SASL_PLAINTEXT".to_owned());
        } else {
            lines.push("security.protocol=SASL_SSL".to_owned());
            lines.extend(self.trust(trust));
        }
        Way { listener, lines }
    }

    pub(crate) fn plain(&self, listener: Listener, trust: &str) -> Way {
        let jaas = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{USER}\" password=\"{}\";",
            self.secret("password")
        );
        self.login("PLAIN", &jaas, listener, trust)
    }

    pub(crate) fn scram(&self, mechanism: &str, listener: Listener, trust: &str) -> Way {
        let jaas = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username='{USER}' password='{}';",
            self.secret("password")
        );
        self.login(mechanism, &jaas, listener, trust)
    }

    fn bearer(&self, trust: &str) -> Way {
        let jaas = format!(
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"{USER}\";"
        );
        self.login("OAUTHBEARER", &jaas, Listener::TlsLogin, trust)
    }

    /// Each way once.
    fn ways(&self) -> Vec<Way> {
        vec![
            self.plaintext(),
            self.tls("trust.jks"),
            self.mutual("trust.p12", "client.jks"),
            self.plain(Listener::Login, ""),
            self.plain(Listener::TlsLogin, "trust.pem"),
            self.scram("SCRAM-SHA-256", Listener::Login, ""),
            self.scram("SCRAM-SHA-512", Listener::TlsLogin, "trust-legacy.p12"),
            self.bearer("inline"),
        ]
    }
}

impl Way {
    /// The same with these files for its stores.
    pub(crate) fn with_stores(mut self, trusted: &str, shown: &str) -> Way {
        for line in &mut self.lines {
            let name = line.split('=').next().unwrap();
            match name {
                "ssl.truststore.location" => *line = format!("{name}={trusted}"),
                "ssl.keystore.location" => *line = format!("{name}={shown}"),
                _ => {}
            }
        }
        self
    }
}

fn address(side: &Side, listener: Listener) -> String {
    side.cluster().bootstrap_of(listener)
}

fn secured_connections(version: &str) {
    let bench = Bench::new("secured", version);
    let source = &bench.pair.source;
    source.with(|session| {
        session.create_topic(&source.bootstrap, "t", 2, 1, &[]).unwrap();
        session.fill(&source.bootstrap, "t", &Fill::varied(RECORDS, 2).codec("lz4")).unwrap();
    });
    every_way_copies(&bench);
    nothing_is_lost_by_logins_that_end_and_stores_that_change(&bench);
    what_does_not_come_about_says_why(&bench);
}

/// Each way on either side, with another one on the other side.
fn every_way_copies(bench: &Bench) {
    let ways = bench.ways();
    let mut connectors: Vec<(String, PathBuf)> = Vec::new();
    for (index, way) in ways.iter().enumerate() {
        let other = &ways[(index + 1) % ways.len()];
        let name = format!("way{index}");
        let file = bench.connector(&name, way, other);
        connectors.push((name, file));
    }
    let identities = ["client.p12", "client-legacy.p12", "client.pem", "inline"];
    for (index, pair) in identities.chunks(2).enumerate() {
        let name = format!("identity{index}");
        let (one, other) = (bench.mutual("trust.pem", pair[0]), bench.mutual("trust.jks", pair[1]));
        let file = bench.connector(&name, &one, &other);
        connectors.push((name, file));
    }
    let files: Vec<_> = connectors.iter().map(|(_, file)| file.as_path()).collect();
    let outcome = bench.desk.run_until_caught_up(&files);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    no_secrets_in(&outcome.output);

    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let original = source.with(|session| session.digest(&source.bootstrap, "t", false).unwrap());
    assert_eq!(count(&original), RECORDS);
    for (name, _) in &connectors {
        let copy = format!("{name}-t");
        let copied =
            destination.with(|session| session.digest(&destination.bootstrap, &copy, false).unwrap());
        assert_same(&original, &copied);
    }
    // What `plan` opens, the topic of progress included, it opens alike.
    let worker = bench.desk.worker();
    let mut arguments = vec!["plan".as_ref(), worker.as_os_str()];
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    let outcome = bench.desk.run_to_end(&arguments);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    no_secrets_in(&outcome.output);
}

/// Logins last for three seconds here (KIP-368): while records arrive all the time, each connection makes its own again
/// and again. Then the stores of the one without a login change, and a broker starts again.
fn nothing_is_lost_by_logins_that_end_and_stores_that_change(bench: &Bench) {
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let (trusted, shown) = (bench.own("trusted", "trust.p12"), bench.own("shown", "client.p12"));
    let mutual = bench.mutual("trust.p12", "client.p12").with_stores(&trusted, &shown);
    let ways = [
        ("plain", bench.plain(Listener::Login, ""), bench.plain(Listener::TlsLogin, "trust.pem")),
        ("bearer", bench.bearer("inline"), bench.scram("SCRAM-SHA-256", Listener::Login, "")),
        ("scram", bench.scram("SCRAM-SHA-512", Listener::TlsLogin, "trust.jks"), bench.bearer("trust.pem")),
        ("mutual", mutual, bench.plain(Listener::Login, "")),
    ];
    source.with(|session| session.create_topic(&source.bootstrap, "u", 2, 1, &[]).unwrap());
    let files: Vec<PathBuf> = ways
        .iter()
        .map(|(name, one, other)| {
            let file = bench.connector(name, one, other);
            let text = fs::read_to_string(&file).unwrap().replace("topic.whitelist=t", "topic.whitelist=u");
            fs::write(&file, text).unwrap();
            file
        })
        .collect();
    let worker = bench.desk.worker();
    let mut arguments = vec!["run".as_ref(), worker.as_os_str()];
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    let process = bench.desk.start(&arguments);
    let said = || fs::read_to_string(process.log()).unwrap();

    let mut filled = 0;
    let fill_for = |time: Duration, filled: &mut u64| {
        let deadline = Deadline::within(time);
        while !deadline.left().is_zero() {
            let fill = Fill::varied(FEW, 2).first(*filled);
            source.with(|session| session.fill(&source.bootstrap, "u", &fill).unwrap());
            *filled += FEW;
        }
    };
    let all_arrive = |filled: u64| {
        for (name, ..) in &ways {
            let copy = format!("{name}-u");
            destination.with(|session| {
                session.wait_for_records(&destination.bootstrap, &copy, filled, PATIENCE).unwrap();
            });
        }
    };
    fill_for(4 * LOGIN, &mut filled);
    all_arrive(filled);
    // Connections that were made again would have been missed.
    let quiet = said();
    assert!(!quiet.contains("WARN") && !quiet.contains("ERROR"), "{quiet}");

    bench.own("trusted", "trust-legacy.p12");
    bench.own("shown", "client-legacy.p12");
    source.cluster().stop(0).unwrap();
    source.cluster().start_again(0).unwrap();
    fill_for(LOGIN, &mut filled);
    all_arrive(filled);
    assert!(said().contains("stores of certificates have changed"), "{}", said());
    stop_cleanly(process);
    let original = source.with(|session| session.digest(&source.bootstrap, "u", false).unwrap());
    assert_eq!(count(&original), filled);
    for (name, ..) in &ways {
        let copy = format!("{name}-u");
        let copied =
            destination.with(|session| session.digest(&destination.bootstrap, &copy, false).unwrap());
        assert_same(&original, &copied);
    }
}

fn no_secrets_in(output: &str) {
    for secret in [PASSWORD, Stores::PASSWORD, Stores::KEY_PASSWORD] {
        assert!(!output.contains(secret), "{secret}: {output}");
    }
}

fn what_does_not_come_about_says_why(bench: &Bench) {
    let with = |way: Way, lines: &[&str]| {
        let given = |line: &str| lines.iter().any(|new| new.split('=').next() == line.split('=').next());
        let kept = way.lines.iter().filter(|line| !given(line)).cloned();
        let lines = kept.chain(lines.iter().map(|line| (*line).to_owned())).collect();
        Way { lines, ..way }
    };
    let at = |listener: Listener, way: Way| Way { listener, ..way };
    let jaas = |module: &str, user: &str, password: &str| {
        format!(
            "sasl.jaas.config=org.apache.kafka.common.security.{module} required username=\"{user}\" password=\"{password}\";"
        )
    };
    let (plain, scram) = ("plain.PlainLoginModule", "scram.ScramLoginModule");
    let stranger = format!("ssl.truststore.location={}", bench.file("stranger.p12"));
    let missing = format!("ssl.truststore.location={}", bench.file("none.p12"));
    let pem = format!("ssl.truststore.location={}", bench.file("trust.pem"));
    let key_store = bench.file("client.jks");
    let rows = [
        (
            "password-plain",
            with(bench.plain(Listener::Login, ""), &[&jaas(plain, USER, "wrong-secret")]),
            3,
            "refuses the login by PLAIN",
        ),
        (
            "password-scram",
            with(
                bench.scram("SCRAM-SHA-512", Listener::TlsLogin, "trust.jks"),
                &[&jaas(scram, USER, "wrong-secret")],
            ),
            3,
            "refuses the login by SCRAM-SHA-512",
        ),
        (
            "user-scram",
            with(bench.scram("SCRAM-SHA-256", Listener::Login, ""), &[&jaas(scram, "bob", "wrong-secret")]),
            3,
            "refuses the login by SCRAM-SHA-256",
        ),
        ("mechanism", with(bench.scram("SCRAM-SHA-512", Listener::Login, ""), &[]), 3, "SCRAM-SHA-512"),
        ("authority", with(bench.tls("trust.p12"), &[&stranger]), 3, "no TLS with"),
        ("host", at(Listener::Elsewhere, bench.tls("trust.p12")), 3, "elsewhere.example"),
        ("none-shown", at(Listener::MutualTls, bench.tls("trust.p12")), 3, "asks for a client certificate"),
        (
            "stranger-shown",
            with(
                bench.mutual("trust.p12", "client.p12"),
                &[&format!("ssl.keystore.location={}", bench.file("other.p12"))],
            ),
            3,
            "our certificate",
        ),
        ("plaintext-to-tls", at(Listener::Tls, bench.plaintext()), 3, "TLS"),
        ("tls-to-plaintext", at(Listener::Plaintext, bench.tls("trust.p12")), 3, "no TLS with"),
        ("plaintext-to-login", at(Listener::Login, bench.plaintext()), 3, "SASL"),
        ("login-to-plaintext", at(Listener::Plaintext, bench.plain(Listener::Login, "")), 3, "login"),
        (
            "store-password",
            with(bench.tls("trust.p12"), &["ssl.truststore.password=wrong-secret"]),
            2,
            "trust.p12",
        ),
        ("store-missing", with(bench.tls("trust.p12"), &[&missing]), 2, "none.p12"),
        ("store-type", with(bench.tls("trust.p12"), &[&pem]), 2, "trust.pem"),
        (
            "key-password",
            with(bench.mutual("trust.p12", "client.jks"), &["ssl.key.password=wrong-secret"]),
            2,
            key_store.as_str(),
        ),
    ];
    let destination = bench.plaintext();
    for (name, way, code, expected) in &rows {
        let file = bench.connector(name, way, &destination);
        let worker = bench.desk.worker();
        let outcome = bench.desk.run_to_end(&["plan".as_ref(), worker.as_os_str(), file.as_os_str()]);
        let output = &outcome.output;
        let error = output
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap_or_else(|| panic!("{name}: {output}"));
        println!("{name}: {error}");
        assert_eq!(outcome.code, Some(*code), "{name}: {output}");
        assert!(error.contains(expected) && error.contains("source"), "{name}: {output}");
        if *code == 3 {
            let address = address(&bench.pair.source, way.listener);
            assert!(error.contains(&address) && output.contains("\nhint: "), "{name}: {output}");
        }
        no_secrets_in(output);
        assert!(!output.contains("wrong-secret"), "{name}: {output}");
    }
}

from_each_source!(secured_connections);
