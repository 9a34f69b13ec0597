//! Logins by Kerberos, with tickets of a real KDC at brokers of real Kafka: by keytab and by ticket cache, over several
//! lives of a ticket, and what is said where they do not come about.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Hold, Pair, Side, assert_same, count},
};
use real_kafka::{Config, Deadline, Distribution, Fill, Kdc, Listener, Stores};
use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

const DAY: Duration = Duration::from_secs(86_400);
/// A ticket of `brief` lasts for so long, and a login at these brokers for three seconds.
const BRIEF: Duration = Duration::from_secs(5);
const RECORDS: u64 = 500;
/// What is written at once while the program runs.
const FEW: u64 = 50;

/// The test's realm, clusters and files.
struct Bench {
    kdc: Kdc,
    stores: Stores,
    desk: Desk,
    pair: Hold,
    /// Of `ann`, whose tickets last for a day.
    ann: PathBuf,
    /// Of `brief`.
    brief: PathBuf,
}

/// One way to connect: the listener, and the security properties without a prefix.
struct Way {
    listener: Listener,
    lines: Vec<String>,
}

impl Bench {
    fn new(version: &str) -> Bench {
        let kdc = Kdc::start().unwrap();
        let stores = Stores::make(&Distribution::resolve(version).unwrap()).unwrap();
        let config = Config::brokers(1).kerberos(&stores, &kdc).unwrap();
        let pair = Pair::start((version, &config), (version, &config));
        let mut desk =
            Desk::new(&format!("kerberos-{version}"), &pair.source.bootstrap, &pair.destination.bootstrap);
        desk.set_variable("KRB5_CONFIG", &kdc.config().display().to_string());
        // Otherwise it is warned, rightly, that everybody can read what is there.
        fs::set_permissions(desk.folder(), Permissions::from_mode(0o700)).unwrap();
        let (ann, brief) = (kdc.add("ann", DAY).unwrap(), kdc.add("brief", BRIEF).unwrap());
        Bench { kdc, stores, desk, pair, ann, brief }
    }

    /// A connector from one way to another; its copies have its name in front.
    fn connector(&self, name: &str, topic: &str, source: &Way, destination: &Way) -> PathBuf {
        let mut text = format!(
            "name={name}\nconnector.class=ReplicatorSourceConnector\ntopic.whitelist={topic}\n\
             topic.rename.format={name}-${{topic}}\nkey.converter=ByteArrayConverter\nvalue.converter=ByteArrayConverter\n\
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

    /// With these options of the JDK's module.
    fn kerberos(&self, listener: Listener, options: &str) -> Way {
        let mut lines = vec![
            "sasl.mechanism=GSSAPI".to_owned(),
            "sasl.kerberos.service.name=kafka".to_owned(),
            format!("sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required {options};"),
        ];
        lines.extend(self.protocol(listener));
        Way { listener, lines }
    }

    fn keytab(&self, listener: Listener, keytab: &Path, name: &str) -> Way {
        self.kerberos(listener, &by_keytab(keytab, name))
    }

    fn cache(&self, listener: Listener, cache: &Path) -> Way {
        self.kerberos(listener, &format!("useTicketCache=true ticketCache=\"{}\"", cache.display()))
    }

    /// Another mechanism.
    fn plain(&self, listener: Listener) -> Way {
        let mut lines = vec![
            "sasl.mechanism=PLAIN".to_owned(),
            "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"ann\" \
             password=\"ann-secret\";"
                .to_owned(),
        ];
        lines.extend(self.protocol(listener));
        Way { listener, lines }
    }

    fn protocol(&self, listener: Listener) -> Vec<String> {
        match listener {
            Listener::TlsKerberos | Listener::TlsLogin => vec![
                "security.protocol=SASL_SSL".to_owned(),
                "ssl.truststore.type=PEM".to_owned(),
                format!("ssl.truststore.location={}", self.stores.file("trust.pem").display()),
            ],
            _ => vec!["security.protocol=SASL_PLAINTEXT".to_owned()],
        }
    }

    /// A cache with a fresh ticket, put there at once as whoever renews tickets does.
    fn fill_cache(&self, cache: &Path, name: &str, keytab: &Path) {
        let fresh = self.kdc.file("fresh.ccache");
        self.kdc.kinit(name, keytab, &fresh).unwrap();
        fs::rename(fresh, cache).unwrap();
    }
}

fn by_keytab(keytab: &Path, name: &str) -> String {
    format!(
        "useKeyTab=true storeKey=true keyTab=\"{}\" principal=\"{name}@{}\"",
        keytab.display(),
        Kdc::REALM
    )
}

fn address(side: &Side, listener: Listener) -> String {
    side.cluster().bootstrap_of(listener)
}

fn kerberos(version: &str) {
    let mut bench = Bench::new(version);
    let source = &bench.pair.source;
    source.with(|session| {
        session.create_topic(&source.bootstrap, "t", 2, 1, &[]).unwrap();
        session.fill(&source.bootstrap, "t", &Fill::varied(RECORDS, 2).codec("lz4")).unwrap();
    });
    every_way_copies(&bench);
    nothing_is_lost_while_tickets_and_logins_end(&bench);
    nothing_is_lost_while_the_kdc_is_gone(&mut bench);
    what_does_not_come_about_says_why(&mut bench);
}

/// Tickets of either origin on either side, with another mechanism or the same on the other side.
fn every_way_copies(bench: &Bench) {
    let cache = bench.kdc.file("ann.ccache");
    bench.fill_cache(&cache, "ann", &bench.ann);
    let none = bench.kdc.file("none.ccache");
    let fallback =
        format!("useTicketCache=true ticketCache=\"{}\" {}", none.display(), by_keytab(&bench.ann, "ann"));
    let (open, tls) = (Listener::Kerberos, Listener::TlsKerberos);
    let ways = [
        ("keytab", bench.keytab(open, &bench.ann, "ann"), bench.plain(Listener::TlsLogin)),
        ("plain", bench.plain(Listener::Login), bench.keytab(tls, &bench.ann, "ann")),
        ("cache", bench.cache(tls, &cache), bench.keytab(open, &bench.ann, "ann")),
        ("fallback", bench.kerberos(open, &fallback), bench.cache(open, &cache)),
        ("guide", guide(bench), bench.plain(Listener::Login)),
    ];
    let files: Vec<PathBuf> =
        ways.iter().map(|(name, one, other)| bench.connector(name, "t", one, other)).collect();
    let granter = format!("krbtgt/{realm}@{realm}", realm = Kdc::REALM);
    let before = bench.kdc.tickets_given("ann", &granter).unwrap();
    let outcome = bench.desk.run_until_caught_up(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let original = source.with(|session| session.digest(&source.bootstrap, "t", false).unwrap());
    assert_eq!(count(&original), RECORDS);
    for (name, ..) in &ways {
        let copy = format!("{name}-t");
        let copied =
            destination.with(|session| session.digest(&destination.bootstrap, &copy, false).unwrap());
        assert_same(&original, &copied);
    }
    // One for each account by keytab, however many connections it has.
    let asked = bench.kdc.tickets_given("ann", &granter).unwrap() - before;
    assert!((1..=10).contains(&asked), "{asked}");
}

/// The guide's example with this test's keytab, principal and authority.
fn guide(bench: &Bench) -> Way {
    let guide = include_str!("../../../../docs/guide/security.md");
    let (_, section) = guide.split_once("### Kerberos").expect("the guide has a section on Kerberos");
    let (_, example) = section.split_once("```properties\n").expect("it has an example");
    let (example, _) = example.split_once("```").expect("the example ends");
    let (keytab, principal) = ("/etc/paralog/paralog.keytab", "paralog@EXAMPLE.COM");
    assert!(example.contains(keytab) && example.contains(principal), "{example}");
    let example = example
        .replace(keytab, &bench.ann.display().to_string())
        .replace(principal, &format!("ann@{}", Kdc::REALM));
    let lines = example.lines().map(|line| line.strip_prefix("src.kafka.").expect("it is about the source"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.extend(bench.protocol(Listener::TlsKerberos).into_iter().filter(|line| line.starts_with("ssl.")));
    Way { listener: Listener::TlsKerberos, lines }
}

/// Tickets last for five seconds and logins for three: while records arrive all the time, both are made again and again,
/// by keytab and from a cache that somebody fills.
fn nothing_is_lost_while_tickets_and_logins_end(bench: &Bench) {
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let cache = bench.kdc.file("brief.ccache");
    bench.fill_cache(&cache, "brief", &bench.brief);
    let (open, tls) = (Listener::Kerberos, Listener::TlsKerberos);
    let ways = [
        ("brief-keytab", bench.keytab(open, &bench.brief, "brief"), bench.keytab(tls, &bench.brief, "brief")),
        ("brief-cache", bench.cache(tls, &cache), bench.plain(Listener::Login)),
    ];
    source.with(|session| session.create_topic(&source.bootstrap, "u", 2, 1, &[]).unwrap());
    let files: Vec<PathBuf> =
        ways.iter().map(|(name, one, other)| bench.connector(name, "u", one, other)).collect();
    let worker = bench.desk.worker();
    let mut arguments = vec!["run".as_ref(), worker.as_os_str()];
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    let given = |service: &str| bench.kdc.tickets_given("brief", service).unwrap();
    let granter = format!("krbtgt/{realm}@{realm}", realm = Kdc::REALM);
    let process = bench.desk.start(&arguments);

    let mut filled = 0;
    let mut kinits = 0;
    let before = given(&granter);
    let deadline = Deadline::within(4 * BRIEF);
    while !deadline.left().is_zero() {
        let fill = Fill::varied(FEW, 2).first(filled);
        source.with(|session| session.fill(&source.bootstrap, "u", &fill).unwrap());
        filled += FEW;
        bench.fill_cache(&cache, "brief", &bench.brief);
        kinits += 1;
    }
    for (name, ..) in &ways {
        let copy = format!("{name}-u");
        destination.with(|session| {
            session.wait_for_records(&destination.bootstrap, &copy, filled, PATIENCE).unwrap();
        });
    }
    // Connections that were made again would have been missed.
    let said = fs::read_to_string(process.log()).unwrap();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    stop_cleanly(process);
    let own = given(&granter) - before - kinits;
    assert!(own >= 4, "both sides got tickets by keytab, each more than once: {own}");
    let original = source.with(|session| session.digest(&source.bootstrap, "u", false).unwrap());
    assert_eq!(count(&original), filled);
    for (name, ..) in &ways {
        let copy = format!("{name}-u");
        let copied =
            destination.with(|session| session.digest(&destination.bootstrap, &copy, false).unwrap());
        assert_same(&original, &copied);
    }
}

/// The KDC goes for longer than any ticket and login lasts, and comes back, while records arrive.
fn nothing_is_lost_while_the_kdc_is_gone(bench: &mut Bench) {
    let way = |bench: &Bench, listener| bench.keytab(listener, &bench.brief, "brief");
    let [one, other] = [Listener::Kerberos, Listener::TlsKerberos].map(|listener| way(bench, listener));
    let file = bench.connector("gone-kdc", "v", &one, &other);
    let source = &bench.pair.source;
    source.with(|session| session.create_topic(&source.bootstrap, "v", 2, 1, &[]).unwrap());
    let process = bench.desk.run(&file);
    let mut filled = 0;
    let mut fill_for = |bench: &Bench, time: Duration| {
        let source = &bench.pair.source;
        let deadline = Deadline::within(time);
        while !deadline.left().is_zero() {
            let fill = Fill::varied(FEW, 2).first(filled);
            source.with(|session| session.fill(&source.bootstrap, "v", &fill).unwrap());
            filled += FEW;
        }
        filled
    };
    let all_arrive = |bench: &Bench, filled: u64| {
        let destination = &bench.pair.destination;
        destination.with(|session| {
            session.wait_for_records(&destination.bootstrap, "gone-kdc-v", filled, PATIENCE).unwrap();
        });
    };
    let filled = fill_for(bench, Duration::from_secs(1));
    all_arrive(bench, filled);
    bench.kdc.stop().unwrap();
    fill_for(bench, 2 * BRIEF);
    bench.kdc.start_again().unwrap();
    let filled = fill_for(bench, Duration::from_secs(1));
    all_arrive(bench, filled);
    let said = fs::read_to_string(process.log()).unwrap();
    assert!(said.contains("no KDC of `PARALOG.TEST` answers"), "{said}");
    stop_cleanly(process);
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let original = source.with(|session| session.digest(&source.bootstrap, "v", false).unwrap());
    assert_eq!(count(&original), filled);
    let copied =
        destination.with(|session| session.digest(&destination.bootstrap, "gone-kdc-v", false).unwrap());
    assert_same(&original, &copied);
}

fn what_does_not_come_about_says_why(bench: &mut Bench) {
    let open = Listener::Kerberos;
    let refused = |bench: &Bench, name: &str, way: &Way, code: i32, expected: &[&str]| {
        let file = bench.connector(name, "t", way, &bench.plain(Listener::Login));
        let worker = bench.desk.worker();
        let outcome = bench.desk.run_to_end(&["plan".as_ref(), worker.as_os_str(), file.as_os_str()]);
        let output = &outcome.output;
        let error = output.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("{name}: {output}"));
        println!("{name}: {error}");
        assert_eq!(outcome.code, Some(code), "{name}: {output}");
        for expected in expected.iter().chain(&["source"]) {
            assert!(error.contains(expected), "{name}: {expected}: {output}");
        }
    };
    let ann = || bench.keytab(open, &bench.ann, "ann");
    let mut other_service = ann();
    other_service.lines[1] = "sasl.kerberos.service.name=broker".to_owned();
    refused(bench, "service", &other_service, 3, &["does not know the service `broker/localhost`"]);
    let another = bench.keytab(open, &bench.ann, "bob");
    refused(bench, "another", &another, 2, &["no key of `bob@PARALOG.TEST`, only of `ann@PARALOG.TEST`"]);
    let missing = bench.keytab(open, &bench.kdc.file("none.keytab"), "ann");
    refused(bench, "missing", &missing, 2, &["none.keytab cannot be read"]);
    let no_cache = bench.cache(open, &bench.kdc.file("none.ccache"));
    refused(bench, "no-cache", &no_cache, 2, &["none.ccache", "get a ticket with kinit"]);
    // It was filled last more than its life ago, or will have been soon.
    let cache = bench.kdc.file("brief.ccache");
    let second = bench.kdc.add("second", Duration::from_secs(1)).unwrap();
    bench.fill_cache(&cache, "second", &second);
    // All of its life.
    std::thread::sleep(Duration::from_secs(2));
    let expired = bench.cache(open, &cache);
    refused(bench, "expired", &expired, 2, &["ticket of `second@PARALOG.TEST` that expired", "kinit"]);

    let gone = bench.kdc.add("gone", DAY).unwrap();
    let gone = bench.keytab(open, &gone, "gone");
    bench.kdc.remove("gone").unwrap();
    refused(bench, "unknown", &gone, 3, &["does not know `gone@PARALOG.TEST`"]);
    let changed = bench.kdc.add("changed", DAY).unwrap();
    let changed = bench.keytab(open, &changed, "changed");
    bench.kdc.change_key("changed").unwrap();
    refused(bench, "changed", &changed, 3, &["was changed since the keytab was made"]);
    // Another listener, which is reached by an address: nobody looks up a name for it.
    let by_address = Way { listener: Listener::Login, ..ann() };
    refused(bench, "by-address", &by_address, 3, &["does not know the service `kafka/127.0.0.1`"]);

    let ann = ann();
    bench.kdc.pause();
    refused(bench, "silent", &ann, 3, &["no KDC of `PARALOG.TEST` answers (it is silent)"]);
    bench.kdc.resume();
    bench.kdc.stop().unwrap();
    refused(bench, "down", &ann, 3, &["no KDC of `PARALOG.TEST` answers"]);
    bench.kdc.start_again().unwrap();
    bench.kdc.change_key("kafka/localhost").unwrap();
    refused(bench, "brokers-key", &ann, 3, &["refuses the login by GSSAPI", "the broker's own key"]);
}

from_each_source!(kerberos);
