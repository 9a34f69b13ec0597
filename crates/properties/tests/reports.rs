//! What is said about files, word for word. `UPDATE_GOLDEN=1 cargo test -p properties` writes the expected
//! reports anew; read the difference before it is committed.

use std::io;
use std::path::Path;

use proptest::prelude::*;

use properties::table::{FileKind, names};
use properties::{
    AclSettings, Entry, OffsetStorage, Place, Report, Surroundings, load, parse, parse_bytes, resolve,
    split_executable,
};

fn read(name: &str, report: &mut Report) -> Vec<Entry> {
    let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
    let (entries, problems) = parse_bytes(name, &std::fs::read(path).expect("a test file is there"));
    report.extend(problems);
    entries
}

/// Compares with `tests/reports/<golden>.txt`, and that no secret of a test file is in it.
fn check(report: &Report, golden: &str) {
    let shown = report.to_string();
    let path = format!("{}/tests/reports/{golden}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &shown).expect("the golden file can be written");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(shown, expected, "differs from {golden}.txt");
}

fn check_files(worker: &str, connectors: &[&str], golden: &str) {
    let mut report = Report::new();
    let worker = read(worker, &mut report);
    let connectors: Vec<Vec<Entry>> = connectors.iter().map(|name| read(name, &mut report)).collect();
    let resolved = resolve(worker, connectors, &Nothing);
    let (settings, loaded) = load(&resolved.worker, &resolved.connectors);
    assert_eq!(settings.is_err(), loaded.has_errors());
    report.extend(loaded.problems().into_iter().cloned());
    report.extend(resolved.problems);
    check(&report, golden);
}

/// No file and no variable.
struct Nothing;

impl Surroundings for Nothing {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_folder(&self, _: &Path) -> bool {
        false
    }

    fn is_file(&self, _: &Path) -> bool {
        false
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn matches(&self, _: &str, _: &str) -> Result<bool, String> {
        Ok(true)
    }
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    check_files("connect-standalone.properties", &["wrong.properties"], "wrong");
}

#[test]
fn a_secured_distributed_workers_file_is_read() {
    check_files("worker-secured.properties", &["quickstart-zookeeper.properties"], "worker-secured");
}

#[test]
fn schema_migration_is_refused() {
    check_files("connect-standalone.properties", &["schema-migration.properties"], "schema-migration");
}

#[test]
fn two_connectors_of_one_name_and_files_in_the_wrong_order_are_refused() {
    check_files(
        "connect-standalone.properties",
        &["quickstart.properties", "quickstart-zookeeper.properties"],
        "same-name",
    );
    check_files("quickstart.properties", &["connect-standalone.properties"], "wrong-order");
}

#[test]
fn the_executables_secured_and_converting_files_are_refused() {
    let mut report = Report::new();
    let consumer = read("executable-kerberos.properties", &mut report);
    let producer = read("executable-producer.properties", &mut report);
    let replication = read("executable-avro.properties", &mut report);
    let (worker, connector) = split_executable(&consumer, &producer, &replication);
    report.extend(load(&worker, &[connector]).1.problems().into_iter().cloned());
    check(&report, "executable-refused");
}

/// The whole report of small files: worker, connector, expected.
fn says(worker: &str, connector: &str, expected: &str) {
    let worker = parse("w", worker).0;
    let connector = parse("c", connector).0;
    assert_eq!(load(&worker, &[connector]).1.to_string(), expected);
}

const CONNECTOR: &str = "name=x\nconnector.class=ReplicatorSourceConnector\nsrc.kafka.bootstrap.servers=a:1\n\
    dest.kafka.bootstrap.servers=b:1\ntopic.whitelist=t\n";
const WORKER: &str = "bootstrap.servers=b:1\noffset.storage.file.filename=/f\n";

#[test]
fn a_small_connector_needs_no_more_and_may_stand_without_a_worker() {
    says(WORKER, CONNECTOR, "");
    says("", CONNECTOR, "");
}

#[test]
fn what_is_missing_is_told_with_where_to_write_it() {
    says(
        "plugin.path=/x",
        "connector.class=paralog",
        "error: w: neither `offset.storage.file.filename` nor `offset.storage.topic` is given\n\
         hint: name the file, or the topic, in which progress is kept\n\
         error: c: `name` is missing\n\
         hint: name the connector: its progress is kept under that name\n\
         error: c: `src.kafka.bootstrap.servers` is missing\n\
         hint: write `host:port` of one or more brokers of the source\n\
         error: c: the destination is missing: neither the connector's `dest.kafka.bootstrap.servers` nor the worker's \
         `bootstrap.servers` is given\n\
         hint: write `host:port` of one or more of its brokers\n\
         warning: c: no topic is selected: nothing is copied\n\
         hint: list topics in `topic.whitelist`, or give a pattern in `topic.regex`\n\
         info: accepted, though without meaning here: `plugin.path` (no Java classes are loaded)\n",
    );
}

/// A distributed worker's file, as Kafka ships it, but for what is not about progress.
const DISTRIBUTED: &str = "bootstrap.servers=b:1\noffset.storage.topic=connect-offsets\n\
    offset.storage.replication.factor=1\noffset.storage.segment.bytes=1048576\n";

#[test]
fn progress_in_a_topic_is_that_of_a_distributed_worker_and_a_file_wins_over_it() {
    let (settings, report) = load(&parse("w", DISTRIBUTED).0, &[parse("c", CONNECTOR).0]);
    assert_eq!(report.to_string(), "");
    let OffsetStorage::Topic(topic) = settings.expect("loads").worker.offset_storage else { panic!() };
    assert_eq!(
        (topic.topic.as_str(), topic.partitions, topic.replication_factor),
        ("connect-offsets", 25, 1)
    );
    assert_eq!(topic.cluster.bootstrap, ["b:1"]);
    let configs: Vec<_> = topic.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(configs, [("cleanup.policy", "compact"), ("segment.bytes", "1048576")]);

    says(
        &format!("{DISTRIBUTED}offset.storage.file.filename=/f"),
        CONNECTOR,
        "warning: w:2: `offset.storage.topic` has no effect: progress is kept in `offset.storage.file.filename`, as by a \
         standalone worker\n\
         hint: to keep it in the topic, remove `offset.storage.file.filename`\n",
    );
    says(
        &format!("{DISTRIBUTED}offset.storage.min.insync.replica=2\noffset.storage.x=y"),
        CONNECTOR,
        "warning: w:5: `offset.storage.min.insync.replica` is no known setting of a topic\n\
         hint: did you mean `offset.storage.min.insync.replicas`?\n\
         warning: w:6: `offset.storage.x` is no known setting of a topic\n\
         hint: brokers create no topic with a setting that they do not know\n",
    );
    says(
        &format!("{DISTRIBUTED}group.id=x\nconfig.storage.topic=c\nstatus.storage.topic=s"),
        CONNECTOR,
        "warning: recognised, but not built yet, so without effect: `config.storage.topic`, `group.id`, \
         `status.storage.topic` (sharing work among workers)\n",
    );
    says(
        "offset.storage.topic=a b\noffset.storage.partitions=0\noffset.storage.cleanup.policy=delete",
        CONNECTOR,
        "error: w: `bootstrap.servers` is missing, the cluster of `offset.storage.topic`\n\
         hint: write `host:port` of one or more of its brokers\n\
         error: w:1: `offset.storage.topic` is `a b`, which no topic can be called\n\
         error: w:2: `offset.storage.partitions` is 0\n\
         hint: it takes 1 or more, or -1 for the broker's default\n\
         warning: w:3: `offset.storage.cleanup.policy` is ignored: the topic is compacted in any case\n",
    );
}

#[test]
fn a_converter_is_the_connectors_or_else_the_workers() {
    let json = format!("{WORKER}key.converter=org.apache.kafka.connect.json.JsonConverter\n");
    says(
        &json,
        CONNECTOR,
        "error: c: has no `key.converter`, so the worker's `org.apache.kafka.connect.json.JsonConverter` (w:3) holds: \
         it would change records, and only copying them as they are is built\n\
         hint: add key.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n",
    );
    says(
        &json,
        &format!("{CONNECTOR}key.converter=org.apache.kafka.connect.converters.ByteArrayConverter"),
        "",
    );
    let simple = "header.converter=org.apache.kafka.connect.storage.SimpleHeaderConverter";
    says(&format!("{WORKER}{simple}"), CONNECTOR, "");
    says(
        WORKER,
        &format!("{CONNECTOR}{simple}"),
        "error: c:6: `header.converter` is `org.apache.kafka.connect.storage.SimpleHeaderConverter`: it would change \
         records, and only copying them as they are is built\n\
         hint: write header.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n",
    );
}

#[test]
fn one_cluster_needs_a_rename_and_several_topics_need_several_names() {
    let same = CONNECTOR.replace("b:1", "a:1");
    says(
        WORKER,
        &same,
        "error: c: source and destination are one cluster (a:1), so each topic would be copied to itself\n\
         hint: set `topic.rename.format`, for example to ${topic}.replica\n\
         info: c:4: the destination is `a:1`, not `b:1` of `bootstrap.servers` (w:1)\n",
    );
    says(
        WORKER,
        &format!("{CONNECTOR}topic.rename.format=copy\ntopic.regex=t.*").replace("=t\n", "=t,u\n"),
        "error: c:6: `topic.rename.format` is `copy` for every topic, so `t` and `u` would be mixed in one\n\
         hint: let it hold `${topic}`\n",
    );
    says(WORKER, &format!("{CONNECTOR}topic.rename.format=copy"), "");
}

#[test]
fn settings_that_do_not_follow_are_named_or_begin_so() {
    let connector = format!("{CONNECTOR}topic.config.sync.exclude=retention.*,, flush.ms");
    let (settings, report) = load(&parse("w", WORKER).0, &[parse("c", &connector).0]);
    assert_eq!(report.to_string(), "");
    let topics = &settings.expect("loads").connectors[0].topics;
    assert_eq!(topics.config_sync_exclude, ["retention.*", "flush.ms"]);
    says(
        WORKER,
        &format!("{connector}\ntopic.config.sync=false"),
        "warning: c:6: `topic.config.sync.exclude` has no effect while `topic.config.sync` is `false`\n",
    );
}

#[test]
fn acls_are_copied_only_where_that_is_asked_for_and_what_has_no_effect_is_told() {
    let acls = |lines: &str| {
        let connector = parse("c", &format!("{CONNECTOR}{lines}")).0;
        let (settings, report) = load(&parse("w", WORKER).0, &[connector]);
        (settings.map(|settings| settings.connectors[0].topics.acls), report.to_string())
    };
    assert_eq!(acls("").0, Ok(None));
    let seconds = std::time::Duration::from_secs;
    assert_eq!(
        acls("sync.topic.acls.enabled=true").0,
        Ok(Some(AclSettings { interval: seconds(600), write: false }))
    );
    let all = "sync.topic.acls.enabled=true\nsync.topic.acls.interval.seconds=5\nsync.topic.acls.write=true";
    assert_eq!(acls(all).0, Ok(Some(AclSettings { interval: seconds(5), write: true })));
    let (settings, report) = acls("sync.topic.acls.interval.seconds=5\nsync.topic.acls.write=true");
    assert_eq!(settings, Ok(None));
    for name in ["sync.topic.acls.interval.seconds", "sync.topic.acls.write"] {
        let told = format!("`{name}` has no effect while `sync.topic.acls.enabled` is `false`");
        assert!(report.contains(&told), "{report}");
    }
    let (settings, report) = acls("sync.topic.acls.enabled=true\nsync.topic.acls.interval.seconds=0");
    assert!(settings.is_err(), "{report}");
}

#[test]
fn of_the_settings_about_brokers_two_may_be_chosen_to_follow() {
    let connector = format!("{CONNECTOR}topic.config.sync.include=min.insync.replicas");
    let (settings, report) = load(&parse("w", WORKER).0, &[parse("c", &connector).0]);
    assert_eq!(report.to_string(), "");
    let topics = &settings.expect("loads").connectors[0].topics;
    assert_eq!(topics.config_sync_include, ["min.insync.replicas"]);
    says(
        WORKER,
        &format!("{connector},retention.ms"),
        "error: c:6: `topic.config.sync.include` names `retention.ms`, which is none of the settings to choose from\n\
         hint: those are min.insync.replicas and unclean.leader.election.enable; others follow in any case, or never\n",
    );
}

#[test]
fn another_connector_and_another_products_file_are_refused_by_name() {
    says(
        WORKER,
        &CONNECTOR
            .replace("ReplicatorSourceConnector", "org.apache.kafka.connect.file.FileStreamSourceConnector"),
        "error: c:2: `connector.class` is `org.apache.kafka.connect.file.FileStreamSourceConnector`: only replication \
         runs here, no other connector\n\
         hint: to copy topics as Replicator does, write \
         connector.class=io.confluent.connect.replicator.ReplicatorSourceConnector\n",
    );
    says(
        WORKER,
        "clusters = a, b\na.bootstrap.servers = a:1",
        "error: c: is a file for MirrorMaker 2 (it has `clusters`), and running from it is not built yet\n\
         hint: write a connector's file for each pair of clusters\n",
    );
}

#[test]
fn no_secret_of_any_property_is_ever_told() {
    let secret = |name: &str| {
        ["password", "secret", "jaas", "user.info", "license", "passphrase"]
            .iter()
            .any(|part| name.contains(part))
    };
    let place = Place::new("f", 1);
    for name in names(FileKind::Connector).filter(|name| secret(name)) {
        let mut connector = parse("c", CONNECTOR).0;
        connector.push(Entry::new(format!("{name}.typo"), "hunter2", &place));
        connector.push(Entry::new(name, "hunter2 ${file:/x:y}", &place));
        let report = load(&[], &[connector]).1;
        assert!(!report.to_string().contains("hunter2"), "{report}");
    }
}

proptest! {
    /// Whatever stands in the files, there is a report, and settings exactly if it holds no error.
    #[test]
    fn any_files_of_known_keys_can_be_judged(
        worker in entries(FileKind::Worker),
        connectors in proptest::collection::vec(entries(FileKind::Connector), 0..3),
    ) {
        let (settings, report) = load(&worker, &connectors);
        prop_assert_eq!(settings.is_err(), report.has_errors());
        if let Ok(settings) = settings {
            prop_assert_eq!(settings.connectors.len(), connectors.len());
        }
    }
}

fn entries(kind: FileKind) -> impl Strategy<Value = Vec<Entry>> {
    let known: Vec<String> = names(kind).collect();
    let key = prop_oneof![9 => proptest::sample::select(known), 1 => "[a-z.]{0,12}"];
    let value = prop_oneof![
        Just("true".to_owned()),
        Just("5".to_owned()),
        Just("a:1".to_owned()),
        Just("x".to_owned()),
        "-?[0-9]{1,20}",
        any::<String>(),
    ];
    let minimal = match kind {
        FileKind::Worker => parse("w", WORKER).0,
        _ => parse("c", CONNECTOR).0,
    };
    let more = proptest::collection::vec((key, value), 0..6);
    (any::<bool>(), more).prop_map(move |(is_minimal, more)| {
        let place = Place::new("f", 1);
        let start = if is_minimal { minimal.clone() } else { Vec::new() };
        start.into_iter().chain(more.into_iter().map(|(key, value)| Entry::new(key, value, &place))).collect()
    })
}
