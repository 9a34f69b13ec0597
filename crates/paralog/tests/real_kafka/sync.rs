//! Topic settings: which ones a copy is made with, and how they follow the source.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, Side},
};
use real_kafka::{Fill, Process, Session, wait_until};
use std::{collections::BTreeMap, fs, time::Duration};

/// For what follows every half second; by default it would be every two minutes.
const SOON: Duration = Duration::from_secs(60);

const EVERY_HALF_SECOND: &str = "topic.config.sync.interval.ms=500\ntopic.create.backoff.ms=500";

/// The largest number of milliseconds there is.
const WIDE: &str = "9223372036854775807";

/// A setting and its value; `None` is not set.
type Setting<'a> = (&'a str, Option<&'a str>);

/// What was set on a topic itself.
fn settings(session: &mut Session, side: &Side, topic: &str) -> BTreeMap<String, String> {
    session.describe_topic(&side.bootstrap, topic).unwrap().map(|topic| topic.settings).unwrap_or_default()
}

#[track_caller]
fn wait_for_settings(session: &mut Session, side: &Side, topic: &str, expected: &[Setting<'_>]) {
    let mut seen = BTreeMap::new();
    let waited = wait_until(&format!("the settings of {topic}"), SOON, || {
        seen = settings(session, side, topic);
        let is_so = |(key, value): &Setting<'_>| seen.get(*key).map(String::as_str) == *value;
        Ok(expected.iter().all(is_so).then_some(()))
    });
    assert!(waited.is_ok(), "{expected:?} is expected of {topic}, which has {seen:?}");
}

/// Creates a topic with one record at the source.
fn create(session: &mut Session, side: &Side, topic: &str, settings: &[(&str, &str)]) {
    session.create_topic(&side.bootstrap, topic, 1, 1, settings).unwrap();
    session.fill(&side.bootstrap, topic, &Fill::plain(1, 1)).unwrap();
}

fn log(process: &Process) -> String {
    fs::read_to_string(process.log()).unwrap()
}

fn c2(source_version: &str) {
    let pair = Pair::shared(source_version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let own = [
        ("cleanup.policy", "compact,delete"),
        ("compression.type", "gzip"),
        ("min.insync.replicas", "1"),
        ("retention.ms", "2000000000"),
        ("segment.ms", "600000"),
    ];
    let keyed = Fill::plain(1, 1).with("keys", "1");
    let mut session = source.session();
    session.create_topic(&source.bootstrap, "c2", 1, 1, &own).unwrap();
    session.fill(&source.bootstrap, "c2", &keyed).unwrap();
    let desk = Desk::new(&format!("c2-{source_version}"), &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("c2", "c2", ""));
    let expected = [
        ("cleanup.policy", "compact,delete"),
        ("compression.type", "producer"),
        ("message.timestamp.after.max.ms", WIDE),
        ("message.timestamp.before.max.ms", WIDE),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "2000000000"),
        ("segment.ms", "600000"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(settings(&mut destination.session(), destination, "c2"), BTreeMap::from(expected));
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c2_only_overrides_are_copied_from_4_3_1() {
    c2("4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c2_only_overrides_are_copied_from_2_8_2() {
    c2("2.8.2");
}

fn c3(source_version: &str) {
    let pair = Pair::shared(source_version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut session = source.session();
    // What the source has does not count.
    create(&mut session, source, "c3-plain", &[]);
    create(&mut session, source, "c3-appended", &[("message.timestamp.type", "LogAppendTime")]);
    let desk = Desk::new(&format!("c3-{source_version}"), &source.bootstrap, &destination.bootstrap);
    let topics = "c3-plain|c3-appended";
    let created = desk.connector("c3-created", topics, "topic.rename.format=${topic}.created");
    let append = "topic.rename.format=${topic}.append\ntopic.timestamp.type=LogAppendTime";
    let appended = desk.connector("c3-append", topics, append);
    let worker = desk.worker();
    let outcome = desk.run_to_end(&[
        "run".as_ref(),
        worker.as_os_str(),
        created.as_os_str(),
        appended.as_os_str(),
        "--until-caught-up".as_ref(),
    ]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    let mut session = destination.session();
    for (name, expected) in [("created", "CreateTime"), ("append", "LogAppendTime")] {
        for topic in ["c3-plain", "c3-appended"] {
            let copy = settings(&mut session, destination, &format!("{topic}.{name}"));
            assert_eq!(copy.get("message.timestamp.type").map(String::as_str), Some(expected), "{copy:?}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c3_the_timestamp_type_is_explicit_and_not_the_sources_from_4_3_1() {
    c3("4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c3_the_timestamp_type_is_explicit_and_not_the_sources_from_2_8_2() {
    c3("2.8.2");
}

fn c11(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let (mut source_session, mut session) = (source.session(), destination.session());
    let own = [("retention.ms", "2000000000"), ("delete.retention.ms", "5000")];
    for topic in ["c11", "c11-off"] {
        create(&mut source_session, source, topic, &own);
    }
    let desk = Desk::new(&format!("c11-{source_version}"), &source.bootstrap, &destination.bootstrap);
    let follows =
        desk.connector("c11", "c11", &format!("{EVERY_HALF_SECOND}\ntopic.config.sync.exclude=flush.*"));
    let off = desk.connector("c11-off", "c11-off", &format!("{EVERY_HALF_SECOND}\ntopic.config.sync=false"));
    let worker = desk.worker();
    let process = desk.start(&["run".as_ref(), worker.as_os_str(), follows.as_os_str(), off.as_os_str()]);
    for topic in ["c11", "c11-off"] {
        session.wait_for_records(&destination.bootstrap, topic, 1, PATIENCE).unwrap();
    }

    // Of what is set at the destination itself, only what is excluded stays, and what is none of the source's business.
    let local =
        [("flush.ms", Some("777777")), ("segment.jitter.ms", Some("5")), ("min.insync.replicas", Some("1"))];
    session.alter_topic(&destination.bootstrap, "c11", &local).unwrap();
    let changes = [
        ("retention.ms", Some("3000000000")),
        ("delete.retention.ms", None),
        ("max.message.bytes", Some("2000000")),
    ];
    for topic in ["c11", "c11-off"] {
        source_session.alter_topic(&source.bootstrap, topic, &changes).unwrap();
    }
    let followed = [
        ("flush.ms", Some("777777")),
        ("segment.jitter.ms", None),
        ("min.insync.replicas", Some("1")),
        ("compression.type", Some("producer")),
    ];
    wait_for_settings(&mut session, destination, "c11", &[&changes[..], &followed].concat());
    source_session.alter_topic(&source.bootstrap, "c11", &[("retention.ms", None)]).unwrap();
    wait_for_settings(&mut session, destination, "c11", &[("retention.ms", None)]);

    // The copy has grown, so the other connector has looked since the change as well.
    source_session.grow_topic(&source.bootstrap, "c11-off", 2).unwrap();
    wait_until("c11-off to grow", PATIENCE, || {
        let copy = session.describe_topic(&destination.bootstrap, "c11-off")?;
        Ok(copy.is_some_and(|copy| copy.partitions == 2).then_some(()))
    })
    .unwrap();
    let unchanged = [
        ("retention.ms", Some("2000000000")),
        ("delete.retention.ms", Some("5000")),
        ("max.message.bytes", None),
    ];
    wait_for_settings(&mut session, destination, "c11-off", &unchanged);
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c11_changed_and_unset_settings_follow_unless_sync_is_off_from_4_3_1() {
    c11("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c11_changed_and_unset_settings_follow_unless_sync_is_off_from_2_8_2() {
    c11("2.8.2", "4.3.1");
}

/// Where a topic's settings can only be replaced as a whole.
#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c11_changed_and_unset_settings_follow_unless_sync_is_off_within_1_1_1() {
    c11("1.1.1", "1.1.1");
}

fn c12(source_version: &str) {
    let pair = Pair::shared(source_version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let (mut source_session, mut session) = (source.session(), destination.session());
    create(&mut source_session, source, "c12", &[]);
    let desk = Desk::new(&format!("c12-{source_version}"), &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector("c12", "c12", EVERY_HALF_SECOND));
    session.wait_for_records(&destination.bootstrap, "c12", 1, PATIENCE).unwrap();

    // The second is refused by the destination's policy.
    let changes = [
        ("delete.retention.ms", Some("5000")),
        ("file.delete.delay.ms", Some("4242")),
        ("retention.ms", Some("2000000000")),
    ];
    source_session.alter_topic(&source.bootstrap, "c12", &changes).unwrap();
    let applied = [changes[0], ("file.delete.delay.ms", None), changes[2]];
    wait_for_settings(&mut session, destination, "c12", &applied);
    wait_until("the refusal to be told", PATIENCE, || {
        Ok(log(&process).contains("a file.delete.delay.ms of 4242 is refused").then_some(()))
    })
    .unwrap();

    // It is tried again every half second, and told once; copying goes on.
    for retention in ["2000000001", "2000000002", "2000000003"] {
        let change = [("retention.ms", Some(retention))];
        source_session.alter_topic(&source.bootstrap, "c12", &change).unwrap();
        wait_for_settings(&mut session, destination, "c12", &change);
    }
    source_session.fill(&source.bootstrap, "c12", &Fill::plain(9, 1).first(1)).unwrap();
    session.wait_for_records(&destination.bootstrap, "c12", 10, PATIENCE).unwrap();
    let log = log(&process);
    let told = log.lines().filter(|line| line.contains("copied with a flaw"));
    let about: Vec<bool> = told.map(|line| line.contains("file.delete.delay.ms")).collect();
    assert_eq!(about, [true], "{log}");
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c12_a_refused_setting_is_told_once_and_the_rest_applied_from_4_3_1() {
    c12("4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c12_a_refused_setting_is_told_once_and_the_rest_applied_from_2_8_2() {
    c12("2.8.2");
}
