//! Plans as text, and the invariants that every plan keeps.

mod selected;
mod spread;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{TimestampRule, TopicId, TopicName};
use proptest::prelude::*;
use topology::settings::WATCHED;
use topology::snapshot::{Features, Settings, Snapshot, Topic, TopicSettings, topic_defaults};
use topology::{
    Action, Candidates, Held, HeldBack, Intent, Naming, Pattern, Plan, Selection, SettingNames, TopicPolicy,
    defaults_matter, plan,
};

/// The settings of a broker of version 4, as far as topics are concerned.
const BROKER_4: &str = "log.cleanup.policy=delete compression.type=producer message.max.bytes=1048588 \
    log.message.timestamp.after.max.ms=3600000 log.message.timestamp.before.max.ms=9223372036854775807 \
    log.message.timestamp.type=CreateTime log.retention.ms= log.retention.hours=168 log.retention.bytes=-1 \
    log.segment.bytes=1073741824 log.roll.ms= log.cleaner.delete.retention.ms=86400000 min.insync.replicas=1 \
    log.cleaner.max.compaction.lag.ms=9223372036854775807 log.index.size.max.bytes=10485760";

/// Of version 1.1.
const BROKER_1: &str = "log.cleanup.policy=delete compression.type=producer message.max.bytes=1000012 \
    log.message.timestamp.difference.max.ms=9223372036854775807 log.message.timestamp.type=CreateTime \
    log.message.format.version=1.1-IV0 log.retention.ms= log.retention.hours=168 log.retention.bytes=-1 \
    log.segment.bytes=1073741824 log.cleaner.delete.retention.ms=86400000 min.insync.replicas=1";

/// Of version 4, where records are kept for less long by default.
const BROKER_SHORT: &str = "log.cleanup.policy=delete compression.type=producer message.max.bytes=1048588 \
    log.message.timestamp.after.max.ms=3600000 log.message.timestamp.before.max.ms=9223372036854775807 \
    log.message.timestamp.type=CreateTime log.retention.ms=2000 log.retention.bytes=5000 \
    log.segment.bytes=1073741824 log.roll.ms= log.cleaner.delete.retention.ms=86400000 min.insync.replicas=1";

fn pairs(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .map(|pair| pair.split_once('=').expect("key=value"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn cluster(id: &str, brokers: usize, broker: &str) -> Snapshot {
    let broker = pairs(broker).into_iter().map(|(key, value)| (key, Some(value).filter(|v| !v.is_empty())));
    Snapshot {
        cluster_id: Some(id.to_owned()),
        brokers,
        features: Features { zstd: true, topic_defaults: Some(topic_defaults(&broker.collect())) },
        ..Snapshot::default()
    }
}

fn settings(features: &Features, overrides: BTreeMap<String, String>) -> Settings {
    let mut effective = features.topic_defaults.clone().unwrap_or_default();
    effective.extend(overrides.clone());
    effective.retain(|key, _| WATCHED.contains(&key.as_str()));
    Settings::Known(Arc::new(TopicSettings { overrides, effective }))
}

/// Adds a topic, described as `partitions replication-factor overrides…`.
fn with(mut cluster: Snapshot, name: &str, topic: &str) -> Snapshot {
    let mut words = topic.splitn(3, ' ');
    let mut number = || words.next().expect("a number").parse::<i32>().expect("a number");
    let (partitions, replication_factor) = (number(), i16::try_from(number()).expect("a small number"));
    let settings = settings(&cluster.features, pairs(words.next().unwrap_or("")));
    let id = Some(TopicId([7; 16]));
    let topic = Topic { id, internal: false, partitions, replication_factor, settings };
    cluster.topics.insert(name.into(), topic);
    cluster
}

fn source() -> Snapshot {
    cluster("src", 1, BROKER_4)
}

fn destination() -> Snapshot {
    cluster("dst", 1, BROKER_4)
}

fn intent(whitelist: &[&str], format: &str) -> Intent {
    Intent {
        selection: Selection {
            whitelist: whitelist.iter().map(|name| TopicName::from(*name)).collect(),
            ..Selection::default()
        },
        naming: Naming::new(format).expect("a format"),
        ..Intent::default()
    }
}

fn planned(source: &Snapshot, destination: &Snapshot, intent: &Intent, held: &HeldBack) -> Plan {
    let candidates = Candidates::of(source, &intent.selection, &intent.naming);
    plan(source, destination, &candidates, intent, held)
}

fn check(source: &Snapshot, destination: &Snapshot, intent: &Intent, expected: &str) {
    check_held(source, destination, intent, &HeldBack::new(), expected);
}

fn check_held(source: &Snapshot, destination: &Snapshot, intent: &Intent, held: &HeldBack, expected: &str) {
    let text = planned(source, destination, intent, held).to_string();
    let expected = expected.trim_start_matches('\n');
    assert_eq!(text, expected, "\n--- planned\n{text}--- expected\n{expected}");
}

#[test]
fn the_quick_start_creates_its_replica() {
    check(
        &with(source(), "test-topic", "1 1"),
        &destination(),
        &intent(&["test-topic"], "${topic}.replica"),
        "
create `test-topic.replica` with 1 partition, 1 replica: `test-topic` has no copy yet
    compression.type=producer  (batches keep the codec and the bytes they have at the source)
    message.timestamp.after.max.ms=9223372036854775807  (records stamped ahead of the clock pass)
    message.timestamp.before.max.ms=9223372036854775807  (records of any age pass)
    message.timestamp.type=CreateTime  (records keep the time they have at the source)
then copying 1 partition of 1 topic
    `test-topic` -> `test-topic.replica`  (1 partition)
",
    );
}

#[test]
fn overrides_travel_with_a_new_topic_as_far_as_they_make_sense_there() {
    let overrides = "cleanup.policy=compact,delete compression.type=gzip retention.ms=1000 segment.ms=600000 \
        segment.bytes=16384 max.message.bytes=2000000 message.timestamp.type=LogAppendTime \
        min.insync.replicas=2 leader.replication.throttled.replicas=0:1 remote.storage.enable=true \
        confluent.value.schema.validation=true max.compaction.lag.ms=5000";
    check(
        &with(source(), "orders", &format!("6 3 {overrides}")),
        &cluster("dst", 3, BROKER_1),
        &intent(&["orders"], "${topic}"),
        "
create `orders` with 6 partitions, 3 replicas: `orders` has no copy yet
    cleanup.policy=compact,delete  (as at the source)
    compression.type=producer  (batches keep the codec and the bytes they have at the source; gzip at the source)
    max.message.bytes=2000000  (as at the source)
    message.timestamp.type=CreateTime  (records keep the time they have at the source; LogAppendTime at the source)
    retention.ms=1000  (as at the source)
    segment.bytes=2000000  (a segment holds the largest batch; 16384 at the source)
    not copied: confluent.value.schema.validation=true  (it is not a setting of Apache Kafka)
    not copied: leader.replication.throttled.replicas=0:1  (it names brokers of the source)
    not copied: max.compaction.lag.ms=5000  (the destination's version does not know it)
    not copied: min.insync.replicas=2  (the destination decides how safe its copies are)
    not copied: remote.storage.enable=true  (tiered storage has to be set up at the destination first)
    not copied: segment.ms=600000  (the destination's version does not know it)
then copying 6 partitions of 1 topic
    `orders` -> `orders`  (6 partitions)
",
    );
}

#[test]
fn a_new_topic_is_ready_for_what_the_sources_defaults_allow() {
    let mut source = cluster("src", 1, BROKER_4);
    let defaults = source.features.topic_defaults.as_mut().unwrap();
    defaults.insert("retention.ms".into(), "-1".into());
    defaults.insert("max.message.bytes".into(), "9000000".into());
    defaults.insert("cleanup.policy".into(), "compact,delete".into());
    let mut destination = destination();
    let defaults = destination.features.topic_defaults.as_mut().unwrap();
    defaults.insert("message.timestamp.difference.max.ms".into(), "1000".into());
    defaults.insert("segment.bytes".into(), "5000000".into());
    check(
        &with(source, "t", "1 1"),
        &destination,
        &intent(&["t"], "${topic}"),
        "
create `t` with 1 partition, 1 replica: `t` has no copy yet
    cleanup.policy=compact,delete  (what the source deletes or compacts is what the copy does)
    compression.type=producer  (batches keep the codec and the bytes they have at the source)
    max.message.bytes=9000000  (the source's largest batches fit)
    message.timestamp.after.max.ms=9223372036854775807  (records stamped ahead of the clock pass)
    message.timestamp.before.max.ms=9223372036854775807  (records of any age pass)
    message.timestamp.difference.max.ms=9223372036854775807  (records of any age pass)
    message.timestamp.type=CreateTime  (records keep the time they have at the source)
    retention.ms=-1  (records are kept as long as at the source)
    segment.bytes=9000000  (a segment holds the largest batch)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
}

#[test]
fn a_destination_that_tells_nothing_of_itself_gets_what_every_version_has() {
    let mut destination = destination();
    destination.features = Features::default();
    destination.gaps.push("broker 1 does not tell its settings: CLUSTER_AUTHORIZATION_FAILED (31)".into());
    check(
        &with(source(), "t", "1 1 segment.bytes=20000 max.message.bytes=10000"),
        &destination,
        &intent(&["t"], "${topic}"),
        "
create `t` with 1 partition, 1 replica: `t` has no copy yet
    cleanup.policy=delete  (what the source deletes or compacts is what the copy does)
    compression.type=producer  (batches keep the codec and the bytes they have at the source)
    max.message.bytes=10000  (as at the source)
    message.timestamp.type=CreateTime  (records keep the time they have at the source)
    retention.bytes=-1  (records are kept as long as at the source)
    retention.ms=604800000  (records are kept as long as at the source)
    segment.bytes=1048576  (the destination's smallest; 20000 at the source)
warning destination: broker 1 does not tell its settings: CLUSTER_AUTHORIZATION_FAILED (31)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
}

#[test]
fn an_existing_copy_grows_and_is_set_to_let_batches_through() {
    let copy = "2 1 compression.type=zstd max.message.bytes=1000 segment.bytes=1000 \
        message.timestamp.type=LogAppendTime retention.ms=60000 message.timestamp.before.max.ms=86400000";
    let source = with(source(), "t", "4 3");
    let destination = with(destination(), "t", copy);
    let mut intent = intent(&["t"], "${topic}");
    check(
        &source,
        &destination,
        &intent,
        "
grow `t` from 2 to 4 partitions: `t` has 4
set on `t`: settings follow `t`
    compression.type: zstd -> producer  (batches keep the codec and the bytes they have at the source)
    max.message.bytes: 1000 -> broker's default  (not set at the source; the default is 1048588)
    message.timestamp.after.max.ms: broker's default -> 9223372036854775807  (records stamped ahead of the clock pass; the default is 3600000)
    message.timestamp.before.max.ms: 86400000 -> 9223372036854775807  (records of any age pass)
    message.timestamp.type: LogAppendTime -> CreateTime  (records keep the time they have at the source)
    retention.ms: 60000 -> broker's default  (not set at the source; the default is 604800000)
    segment.bytes: 1000 -> broker's default  (not set at the source; the default is 1073741824)
then copying 4 partitions of 1 topic
    `t` -> `t`  (4 partitions)
",
    );
    intent.topics.config_sync = false;
    check(
        &source,
        &destination,
        &intent,
        "
grow `t` from 2 to 4 partitions: `t` has 4
warning `t`: compression.type=zstd, wanted is producer (batches keep the codec and the bytes they have at the source): topic.config.sync=false leaves it
warning `t`: max.message.bytes=1000, wanted is 1048588 or more (the source's largest batches fit): topic.config.sync=false leaves it
warning `t`: message.timestamp.before.max.ms=86400000, wanted is 9223372036854775807 or more (records of any age pass): topic.config.sync=false leaves it
warning `t`: message.timestamp.type=LogAppendTime, wanted is CreateTime (records keep the time they have at the source): topic.config.sync=false leaves it
warning `t`: retention.ms=60000, 604800000 at the source: the copy deletes records that the source still has
warning `t`: segment.bytes=1000, wanted is 1048588 or more (a segment holds the largest batch): topic.config.sync=false leaves it
then copying 4 partitions of 1 topic
    `t` -> `t`  (4 partitions)
",
    );
    let rule = planned(&source, &destination, &intent, &HeldBack::new()).routes[0].rule;
    assert_eq!(rule.timestamps, TimestampRule::Append);
    assert_eq!(rule.batch_bytes_max, 1000);
}

/// What a copy needs that has none of the settings that differ.
const WIDE: &str = "message.timestamp.after.max.ms=9223372036854775807";

/// The plan for a topic `t` and its existing copy, each given by its overrides.
fn check_sync(at_source: &str, copy: &str, topics: TopicPolicy, expected: &str) {
    let source = with(source(), "t", &format!("1 1 {at_source}"));
    let destination = with(destination(), "t", &format!("1 1 {WIDE} {copy}"));
    let intent = Intent { topics, ..intent(&["t"], "${topic}") };
    check(&source, &destination, &intent, &format!("{expected}    `t` -> `t`  (1 partition)\n"));
}

fn excluding(names: &[&str]) -> TopicPolicy {
    TopicPolicy { config_sync_exclude: SettingNames::new(names), ..TopicPolicy::default() }
}

#[test]
fn min_insync_replicas_follows_where_it_is_chosen_as_far_as_the_copy_has_replicas() {
    let include = SettingNames::new(["min.insync.replicas"]);
    let chosen = TopicPolicy { config_sync_include: include, ..TopicPolicy::default() };
    check_sync(
        "min.insync.replicas=2 unclean.leader.election.enable=true",
        "",
        chosen.clone(),
        "
set on `t`: settings follow `t`
    min.insync.replicas: broker's default -> 1  (the copy has no more replicas; 2 at the source; the default is 1)
then copying 1 partition of 1 topic
",
    );
    check_sync(
        "",
        "min.insync.replicas=1 unclean.leader.election.enable=true",
        chosen.clone(),
        "
set on `t`: settings follow `t`
    min.insync.replicas: 1 -> broker's default  (not set at the source; the default is 1)
then copying 1 partition of 1 topic
",
    );
    let source = with(source(), "t", "1 3 min.insync.replicas=2");
    let intent = Intent { topics: chosen, ..intent(&["t"], "${topic}") };
    let plan = planned(&source, &cluster("dst", 3, BROKER_4), &intent, &HeldBack::new());
    let Action::Create { settings, replication_factor: 3, .. } = &plan.steps[0].action else {
        panic!("{plan}")
    };
    assert_eq!(settings["min.insync.replicas"].value, "2");
}

#[test]
fn what_is_set_changed_or_unset_at_the_source_is_so_at_its_copy() {
    check_sync(
        "cleanup.policy=compact,delete max.message.bytes=2000000 retention.ms=1000 segment.ms=600000 flush.ms=7 \
         confluent.value.schema.validation=true",
        "delete.retention.ms=9 flush.ms=7 retention.ms=5000 segment.bytes=5000000 min.insync.replicas=2 \
         leader.replication.throttled.replicas=0:1 vendor.setting=1",
        TopicPolicy::default(),
        "
set on `t`: settings follow `t`
    cleanup.policy: broker's default -> compact,delete  (the source has compact,delete; the default is delete)
    delete.retention.ms: 9 -> broker's default  (not set at the source; the default is 86400000)
    max.message.bytes: broker's default -> 2000000  (the source has 2000000; the default is 1048588)
    retention.ms: 5000 -> 1000  (the source has 1000)
    segment.bytes: 5000000 -> broker's default  (not set at the source; the default is 1073741824)
    segment.ms: broker's default -> 600000  (the source has 600000)
warning `t`: cleanup.policy becomes compact,delete: the copy keeps only the last record of each key
warning `t`: retention.ms falls from 5000 to 1000: the copy deletes what is older
then copying 1 partition of 1 topic
",
    );
    check_sync(
        "retention.ms=1000",
        "retention.ms=1000",
        TopicPolicy::default(),
        "copying 1 partition of 1 topic\n",
    );
}

#[test]
fn a_retention_that_shrinks_is_told_with_what_it_deletes() {
    check_sync(
        "retention.bytes=1000000",
        "retention.ms=-1 cleanup.policy=compact",
        TopicPolicy::default(),
        "
set on `t`: settings follow `t`
    cleanup.policy: compact -> broker's default  (not set at the source; the default is delete)
    retention.bytes: broker's default -> 1000000  (the source has 1000000; the default is -1)
    retention.ms: -1 -> broker's default  (not set at the source; the default is 604800000)
warning `t`: cleanup.policy becomes delete: the copy deletes what is past its retention
warning `t`: retention.bytes falls from -1 to 1000000: the copy deletes what is more
warning `t`: retention.ms falls from -1 to 604800000: the copy deletes what is older
then copying 1 partition of 1 topic
",
    );
    // Nothing is deleted by age where the policy is to compact only.
    check_sync(
        "retention.ms=5 cleanup.policy=compact",
        "cleanup.policy=compact",
        TopicPolicy::default(),
        "
set on `t`: settings follow `t`
    retention.ms: broker's default -> 5  (the source has 5; the default is 604800000)
then copying 1 partition of 1 topic
",
    );
}

#[test]
fn settings_that_are_excluded_are_left_and_shown_where_they_differ() {
    check_sync(
        "retention.ms=1000 retention.bytes=5 segment.ms=600000",
        "retention.ms=60000 delete.retention.ms=9 flush.ms=7 compression.type=gzip segment.ms=600000",
        excluding(&["retention.*", "delete.retention.ms", "segment.ms", "compression.type"]),
        "
set on `t`: settings follow `t`
    flush.ms: 7 -> broker's default  (not set at the source)
warning `t`: compression.type=gzip, wanted is producer (batches keep the codec and the bytes they have at the source): topic.config.sync.exclude leaves it
left `t`: delete.retention.ms=9, not set at the source  (topic.config.sync.exclude names it)
left `t`: retention.bytes is not set, the source has 5  (topic.config.sync.exclude names it)
left `t`: retention.ms=60000, the source has 1000  (topic.config.sync.exclude names it)
then copying 1 partition of 1 topic
",
    );
    // What costs records is a warning all the same.
    check_sync(
        "",
        "retention.ms=60000",
        excluding(&["retention.ms"]),
        "
warning `t`: retention.ms=60000, 604800000 at the source: the copy deletes records that the source still has
left `t`: retention.ms=60000, not set at the source  (topic.config.sync.exclude names it)
copying 1 partition of 1 topic
",
    );
    // A new topic begins with the source's settings.
    let source = with(source(), "t", "1 1 retention.ms=1000");
    let intent = Intent { topics: excluding(&["*"]), ..intent(&["t"], "${topic}") };
    let plan = planned(&source, &destination(), &intent, &HeldBack::new());
    let Action::Create { settings, .. } = &plan.steps[0].action else { panic!("{plan}") };
    assert_eq!(settings["retention.ms"].value, "1000");
}

#[test]
fn what_batches_need_counts_before_what_the_source_has() {
    check_sync(
        "compression.type=gzip max.message.bytes=2000000 message.timestamp.type=LogAppendTime segment.bytes=16384",
        "compression.type=gzip message.timestamp.type=LogAppendTime segment.bytes=16384",
        TopicPolicy::default(),
        "
set on `t`: batches are to pass through unchanged
    compression.type: gzip -> producer  (batches keep the codec and the bytes they have at the source; gzip at the source)
    max.message.bytes: broker's default -> 2000000  (the source has 2000000; the default is 1048588)
    message.timestamp.type: LogAppendTime -> CreateTime  (records keep the time they have at the source; LogAppendTime at the source)
    segment.bytes: 16384 -> 2000000  (a segment holds the largest batch; 16384 at the source)
then copying 1 partition of 1 topic
",
    );
}

#[test]
fn nothing_follows_where_sync_is_off() {
    check_sync(
        "retention.ms=1000",
        "segment.ms=9 delete.retention.ms=9",
        TopicPolicy { config_sync: false, ..TopicPolicy::default() },
        "copying 1 partition of 1 topic\n",
    );
}

#[test]
fn an_override_that_the_destinations_version_does_not_know_stays_behind() {
    let source = with(source(), "t", "1 1 max.compaction.lag.ms=5000 retention.ms=5");
    let mut destination = with(cluster("dst", 1, BROKER_1), "t", "1 1 max.message.bytes=1048588");
    let intent = intent(&["t"], "${topic}");
    check(
        &source,
        &destination,
        &intent,
        "
set on `t`: settings follow `t`
    retention.ms: broker's default -> 5  (the source has 5; the default is 604800000)
warning `t`: retention.ms falls from 604800000 to 5: the copy deletes what is older
left `t`: max.compaction.lag.ms is not set, the source has 5000  (the destination's version does not know it)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
    // Brokers that tell nothing of themselves are told, and say whether they take it.
    destination.features.topic_defaults = None;
    let plan = planned(&source, &destination, &intent, &HeldBack::new());
    let Action::SetConfig { changes } = &plan.steps[0].action else { panic!("{plan}") };
    assert_eq!(changes.keys().collect::<Vec<_>>(), ["max.compaction.lag.ms", "retention.ms"]);
}

#[test]
fn a_default_that_keeps_less_than_the_source_takes_no_settings_place() {
    let short_lived = || {
        let mut destination = destination();
        let defaults = destination.features.topic_defaults.as_mut().expect("told");
        defaults.insert("retention.ms".into(), "1000".into());
        destination
    };
    let source = with(source(), "t", "1 1");
    let intent = intent(&["t"], "${topic}");
    check(
        &source,
        &with(short_lived(), "t", &format!("1 1 {WIDE} retention.ms=5000")),
        &intent,
        "
set on `t`: settings follow `t`
    retention.ms: 5000 -> 604800000  (records are kept as long as at the source)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
    // Nobody has set anything here, and only overrides travel.
    check(
        &source,
        &with(short_lived(), "t", &format!("1 1 {WIDE}")),
        &intent,
        "
warning `t`: retention.ms=1000, 604800000 at the source: the copy deletes records that the source still has
copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
}

#[test]
fn a_refused_setting_is_one_warning_and_the_others_are_set() {
    let source = with(source(), "t", "1 1 retention.ms=-1 segment.index.bytes=7");
    let destination = with(destination(), "t", &format!("1 1 {WIDE} segment.ms=9 delete.retention.ms=9"));
    let refused = |key: &str| (Held::Setting("t".into(), key.to_owned()), "POLICY_VIOLATION (44)".to_owned());
    check_held(
        &source,
        &destination,
        &intent(&["t"], "${topic}"),
        &HeldBack::from(["retention.ms", "segment.ms", "message.timestamp.after.max.ms"].map(refused)),
        "
set on `t`: settings follow `t`
    delete.retention.ms: 9 -> broker's default  (not set at the source; the default is 86400000)
    segment.index.bytes: broker's default -> 7  (the source has 7; the default is 10485760)
warning `t`: retention.ms is not set, wanted is -1 (the source has -1; the default is 604800000): the destination did not take it: POLICY_VIOLATION (44)
warning `t`: segment.ms=9, wanted is the broker's default (not set at the source): the destination did not take it: POLICY_VIOLATION (44)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
}

#[test]
fn settings_that_could_not_be_read_are_not_taken_for_unset() {
    let mut source = with(source(), "t", "1 1");
    source.topics.get_mut("t").unwrap().settings =
        Settings::Unreadable("TOPIC_AUTHORIZATION_FAILED (29)".into());
    check(
        &source,
        &with(destination(), "t", "1 1 retention.ms=5 compression.type=gzip"),
        &intent(&["t"], "${topic}"),
        "
set on `t`: batches are to pass through unchanged
    compression.type: gzip -> producer  (batches keep the codec and the bytes they have at the source)
    message.timestamp.after.max.ms: broker's default -> 9223372036854775807  (records stamped ahead of the clock pass; the default is 3600000)
warning `t`: the settings of `t` could not be read at the source: TOPIC_AUTHORIZATION_FAILED (29)
then copying 1 partition of 1 topic
    `t` -> `t`  (1 partition)
",
    );
}

#[test]
fn brokers_are_asked_for_their_defaults_only_where_something_is_set_on_one_side() {
    let asks = |at_source: &str, copy: Option<&str>, topics: &TopicPolicy| {
        let source = with(source(), "t", &format!("1 1 {at_source}"));
        let destination = match copy {
            Some(copy) => with(destination(), "t", &format!("1 1 {copy}")),
            None => destination(),
        };
        let Intent { selection, naming, .. } = intent(&["t"], "${topic}");
        defaults_matter(&source, &destination, &Candidates::of(&source, &selection, &naming), topics)
    };
    let (sync, off) = (TopicPolicy::default(), TopicPolicy { config_sync: false, ..TopicPolicy::default() });
    assert!(asks("", None, &off));
    assert!(!asks("retention.ms=5", Some(&format!("{WIDE} retention.ms=6")), &sync));
    assert!(asks("retention.ms=5", Some(""), &sync));
    assert!(asks("", Some("retention.ms=5"), &sync));
    assert!(!asks("", Some("retention.ms=5"), &off));
    assert!(!asks("", Some("retention.ms=5 vendor.setting=1"), &excluding(&["retention.*"])));
}

#[test]
fn a_changed_setting_is_told_as_json_with_what_it_was() {
    let wide = "message.timestamp.after.max.ms=9223372036854775807";
    let (source, destination) = (with(source(), "t", "1 1"), destination());
    let destination = with(destination, "t", &format!("1 1 compression.type=zstd {wide}"));
    let plan = planned(&source, &destination, &intent(&["t"], "${topic}"), &HeldBack::new());
    assert_eq!(
        plan.json()["steps"][0]["changes"].to_string(),
        "[{\"key\":\"compression.type\",\"from\":\"zstd\",\"to\":\"producer\",\
         \"why\":\"batches keep the codec and the bytes they have at the source\"}]"
    );
    assert_eq!(plan.json()["steps"][0]["action"], "set_config");
}

#[test]
fn topics_that_cannot_be_created_are_blocked_and_the_others_go_on() {
    let mut source = with(source(), "big", "1 3");
    source = with(source, "refused", "1 1");
    source = with(source, "fine", "1 1");
    source = with(source, "a.b", "1 1");
    source = with(source, "secret", "1 1");
    source = with(source, "hidden", "1 1");
    source.topics.get_mut("hidden").unwrap().settings =
        Settings::Unreadable("TOPIC_AUTHORIZATION_FAILED (29)".into());
    let mut destination = with(destination(), "a_b", "1 1");
    destination.troubled.insert("secret".into(), "TOPIC_AUTHORIZATION_FAILED (29)".into());
    destination = with(destination, "fine", "3 1 message.timestamp.after.max.ms=9223372036854775807");
    let held = HeldBack::from([(
        Held::Create("refused".into()),
        "POLICY_VIOLATION (44): at least 2 replicas".to_owned(),
    )]);
    let mut intent = intent(&["big", "refused", "fine", "a.b", "secret", "hidden"], "${topic}");
    check_held(
        &source,
        &destination,
        &intent,
        &held,
        "
blocked `a.b` -> `a.b`: Kafka takes no two names that differ in `.` and `_` only, and there is `a_b`
    hint: choose another topic.rename.format
blocked `big` -> `big`: 3 replicas are wanted, the destination has 1 broker
    hint: it is created as soon as there are enough brokers; or set dest.topic.replication.factor
blocked `hidden` -> `hidden`: its settings could not be read at the source: TOPIC_AUTHORIZATION_FAILED (29)
    hint: give the source's user DESCRIBE_CONFIGS on the topic
blocked `refused` -> `refused`: the destination refused: POLICY_VIOLATION (44): at least 2 replicas
    hint: change what the destination refuses, or create the topic there yourself; it is tried again every topic.create.backoff.ms
blocked `secret` -> `secret`: the destination does not tell about it: TOPIC_AUTHORIZATION_FAILED (29)
    hint: give the destination's user WRITE and READ on the topic
warning `fine`: it has 3 partitions, `fine` has 1: the others get no records, and producers of its own put keys elsewhere than the copy does
copying 1 partition of 1 topic
    `fine` -> `fine`  (1 partition)
",
    );
    intent.selection.whitelist = ["big".into()].into();
    intent.topics.replication_factor = Some(1);
    let plan = planned(&source, &destination, &intent, &held);
    assert!(plan.blocked.is_empty());
    intent.topics.auto_create = false;
    check(
        &source,
        &destination,
        &intent,
        "
blocked `big` -> `big`: it is not at the destination, and topic.auto.create=false; it should have 1 partition
    hint: create it, or set topic.auto.create=true
not selected: 5 topics (`a.b`, `fine`, `hidden`, `refused`, `secret`)
copying 0 partitions of 0 topics
",
    );
}

#[test]
fn partitions_that_cannot_be_added_wait_while_the_others_are_copied() {
    let source = with(source(), "t", "4 1");
    let destination = with(destination(), "t", "2 1 message.timestamp.after.max.ms=9223372036854775807");
    let held = HeldBack::from([(Held::Grow("t".into()), "POLICY_VIOLATION (44)".to_owned())]);
    let mut intent = intent(&["t"], "${topic}");
    check_held(
        &source,
        &destination,
        &intent,
        &held,
        "
blocked `t` -> `t` from partition 2 on: the destination refused: POLICY_VIOLATION (44)
    hint: change what the destination refuses, or create the topic there yourself; it is tried again every topic.create.backoff.ms
copying 2 partitions of 1 topic
    `t` -> `t`  (2 partitions)
",
    );
    // Nothing is to be added where records are spread over what there is.
    intent.topics.preserve_partitions = false;
    check_held(
        &source,
        &destination,
        &intent,
        &held,
        "
copying 4 partitions of 1 topic
    `t` -> `t`  (4 partitions, records spread over 2 partitions by their keys)
",
    );
}

#[test]
fn a_setting_the_destination_names_in_its_refusal_is_left_out_and_the_topic_is_created() {
    let source = with(source(), "t", "1 1 delete.retention.ms=1 retention.ms=5");
    let intent = intent(&["t"], "${topic}");
    let step = &planned(&source, &destination(), &intent, &HeldBack::new()).steps[0];
    let message = "Invalid value 1 for configuration delete.retention.ms";
    let held = step.refused(true, message);
    assert_eq!(held, [Held::Setting("t".into(), "delete.retention.ms".into())]);
    let held = held.into_iter().map(|held| (held, message.to_owned())).collect();
    let plan = planned(&source, &destination(), &intent, &held);
    let Action::Create { settings, left_out, .. } = &plan.steps[0].action else { panic!("{plan}") };
    assert!(!settings.contains_key("delete.retention.ms"));
    assert_eq!(left_out[0].why, format!("the destination did not take it: {message}"));
    // What would cost records is not left out: the topic is blocked.
    assert_eq!(step.refused(true, "Invalid value 5 for retention.ms"), [Held::Create("t".into())]);
    assert_eq!(step.refused(false, "delete.retention.ms"), [Held::Create("t".into())]);
}

/// What the destination is after the plan's steps: what applying them does, on a snapshot.
fn applied(mut destination: Snapshot, plan: &Plan) -> Snapshot {
    for step in &plan.steps {
        match &step.action {
            Action::Create { partitions, replication_factor, settings: chosen, .. } => {
                let overrides =
                    chosen.iter().map(|(key, chosen)| (key.clone(), chosen.value.clone())).collect();
                let topic = Topic {
                    id: None,
                    internal: false,
                    partitions: *partitions,
                    replication_factor: *replication_factor,
                    settings: settings(&destination.features, overrides),
                };
                assert!(destination.topics.insert(step.topic.clone(), topic).is_none());
            }
            Action::Grow { from, to } => {
                let topic = destination.topics.get_mut(&step.topic).expect("a topic that is there");
                assert!(topic.partitions == *from && from < to);
                topic.partitions = *to;
            }
            Action::SetConfig { changes } => {
                let topic = destination.topics.get_mut(&step.topic).expect("a topic that is there");
                let Settings::Known(known) = &topic.settings else { panic!("settings changed unseen") };
                let mut overrides = known.overrides.clone();
                for (key, change) in changes {
                    assert_eq!(overrides.get(key), change.from.as_ref(), "{key}");
                    assert_ne!(change.from, change.to, "{key}");
                    match &change.to {
                        Some(value) => overrides.insert(key.clone(), value.clone()),
                        None => overrides.remove(key),
                    };
                }
                topic.settings = settings(&destination.features, overrides);
            }
        }
    }
    destination
}

fn overrides() -> impl Strategy<Value = String> {
    let any = prop::sample::select(vec![
        "cleanup.policy=compact",
        "cleanup.policy=compact,delete",
        "compression.type=gzip",
        "max.message.bytes=100",
        "max.message.bytes=5000000",
        "segment.bytes=100000",
        "retention.ms=-1",
        "retention.ms=1000",
        "retention.bytes=1000",
        "message.timestamp.type=LogAppendTime",
        "message.timestamp.before.max.ms=5",
        "delete.retention.ms=9",
        "segment.ms=600000",
        "max.compaction.lag.ms=5000",
        "min.insync.replicas=2",
        "vendor.setting=1",
    ]);
    prop::collection::vec(any, 0..5).prop_map(|overrides| overrides.join(" "))
}

prop_compose! {
    fn topic()(partitions in 1..5, replicas in 1..4, overrides in overrides()) -> String {
        format!("{partitions} {replicas} {overrides}")
    }
}

fn topics(names: &'static str) -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(names, topic(), 0..6)
}

fn broker() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![BROKER_1, BROKER_4, BROKER_SHORT])
}

fn excluded() -> impl Strategy<Value = SettingNames> {
    let lists: [&[&str]; 4] = [&[], &["retention.*"], &["compression.type", "max.message.bytes"], &["*"]];
    prop::sample::select(lists.to_vec()).prop_map(SettingNames::new)
}

fn policy() -> impl Strategy<Value = TopicPolicy> {
    (any::<[bool; 5]>(), prop::option::of(1..4i16), excluded()).prop_map(
        |(flags, replication_factor, config_sync_exclude)| TopicPolicy {
            auto_create: flags[0],
            preserve_partitions: flags[1],
            replication_factor,
            config_sync: flags[2],
            config_sync_exclude,
            config_sync_include: SettingNames::new(["min.insync.replicas"].iter().filter(|_| flags[4])),
            timestamps: if flags[3] { TimestampRule::AsAtSource } else { TimestampRule::Append },
        },
    )
}

/// The settings of `overrides()` that follow the source, and no need alone decides of.
const FOLLOWING: [&str; 8] = [
    "cleanup.policy",
    "delete.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
];

/// Those of them that keep records.
const KEPT: [&str; 3] = ["cleanup.policy", "retention.bytes", "retention.ms"];

/// The overrides that a new copy of `name` would have at a cluster like `destination`.
fn as_created(
    source: &Snapshot,
    name: &TopicName,
    destination: &Snapshot,
    topics: &TopicPolicy,
) -> BTreeMap<String, String> {
    let empty = Snapshot { brokers: 9, topics: BTreeMap::new(), ..destination.clone() };
    let topics = TopicPolicy { auto_create: true, ..topics.clone() };
    // Another name, lest it be the same topic of the same cluster.
    let intent = Intent { topics, ..intent(&[name.as_str()], "new-${topic}") };
    let plan = planned(source, &empty, &intent, &HeldBack::new());
    let created = applied(empty, &plan);
    let (_, topic) = created.topics.first_key_value().expect("nothing stands in its way");
    topic.known().expect("made up").overrides.clone()
}

/// A copy that existed has, after its plan, what a new one would have; what is excluded or does not follow it has as before.
fn check_in_step(
    source: &Snapshot,
    name: &TopicName,
    before: &Topic,
    after: (&TopicName, &Snapshot),
    topics: &TopicPolicy,
) {
    let new = as_created(source, name, after.1, topics);
    let (copy, destination) = (&after.1.topics[after.0], after.1);
    for key in FOLLOWING.into_iter().filter(|key| destination.features.knows(key) == Some(true)) {
        let follows = topics.config_sync && !topics.config_sync_exclude.contains(key);
        // Where neither has anything of its own, the destination's default stands: a new copy would be protected from it.
        let is_default = before.own(key).is_none() && source.topics[name].own(key).is_none();
        let expected = match follows && !(is_default && KEPT.contains(&key)) {
            true => new.get(key).map(String::as_str),
            false => before.own(key),
        };
        assert_eq!(copy.own(key), expected, "{key} of {name}");
    }
    assert_eq!(copy.own("vendor.setting"), before.own("vendor.setting"), "{name}");
    let key = "min.insync.replicas";
    let may_follow = topics.config_sync_include.contains(key) && !topics.config_sync_exclude.contains(key);
    let expected = match topics.config_sync && may_follow {
        true => source.topics[name].own(key).map(|least| {
            let least: i16 = least.parse().expect("a number");
            least.min(copy.replication_factor).to_string()
        }),
        false => before.own(key).map(str::to_owned),
    };
    assert_eq!(copy.own(key).map(str::to_owned), expected, "{key} of {name}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn applying_a_plan_and_planning_again_finds_nothing_to_do(
        source_topics in topics("[a-c][._]?[a-b]"),
        copies in topics("[a-c][._]?[a-b](\\.r)?"),
        brokers in 1..4usize,
        (source_broker, destination_broker) in (broker(), broker()),
        topics in policy(),
        (format, same_cluster) in (prop::sample::select(vec!["${topic}", "${topic}.r", "fixed"]), any::<bool>()),
    ) {
        let ids = if same_cluster { ["one", "one"] } else { ["one", "two"] };
        let fold = |cluster, topics: &BTreeMap<String, String>| {
            topics.iter().fold(cluster, |cluster, (name, topic)| with(cluster, name, topic))
        };
        let source = fold(cluster(ids[0], 3, source_broker), &source_topics);
        let destination = fold(cluster(ids[1], brokers, destination_broker), &copies);
        let mut intent = intent(&["a.a", "missing"], format);
        intent.selection.regex = Some(Pattern::new("(?!c)[a-z]+[._]?[a-z](\\.r)*").unwrap());
        intent.topics = topics.clone();

        let first = planned(&source, &destination, &intent, &HeldBack::new());
        let after = applied(destination.clone(), &first);
        let second = planned(&source, &after, &intent, &HeldBack::new());
        prop_assert_eq!(&second.steps, &[], "{}", second);
        prop_assert_eq!(&second.routes, &first.routes);
        prop_assert_eq!(&second.blocked, &first.blocked);
        prop_assert_eq!(&second.not_copied, &first.not_copied);
        prop_assert_eq!(&second, &planned(&source, &after, &intent, &HeldBack::new()));
        for route in &second.routes {
            let (name, copy) = (&route.source.topic, &route.destination.topic);
            if let Some(before) = destination.topics.get(copy) {
                check_in_step(&source, name, before, (copy, &after), &topics);
            }
        }

        // Where the defaults of brokers do not matter, they need not have been asked.
        let candidates = Candidates::of(&source, &intent.selection, &intent.naming);
        if !defaults_matter(&source, &after, &candidates, &topics) {
            let mut unasked = after.clone();
            unasked.features.topic_defaults = None;
            let plan = planned(&source, &unasked, &intent, &HeldBack::new());
            prop_assert_eq!(&plan, &second);
        }

        // Routes are sorted, each partition of source and destination at most once, and no topic feeds itself.
        prop_assert!(first.routes.is_sorted_by(|one, other| one.source < other.source));
        let one_each = first.routes.iter().filter(|route| route.spread_over.is_none() || route.source.partition.0 == 0);
        let mut written: Vec<_> = one_each.map(|route| &route.destination).collect();
        written.sort();
        prop_assert!(written.is_sorted_by(|one, other| one < other));
        prop_assert!(!same_cluster || first.routes.iter().all(|route| route.source.topic != route.destination.topic));

        // Refusing every step leaves nothing to do, and is told. A refused topic may make room for another
        // of a colliding name, hence the rounds.
        let mut held = HeldBack::new();
        let mut refused = first;
        for _ in 0..=source_topics.len() {
            let more = refused.steps.iter().flat_map(|step| step.refused(false, "no"));
            held.extend(more.map(|held| (held, "no".to_owned())));
            refused = planned(&source, &destination, &intent, &held);
        }
        prop_assert!(refused.steps.is_empty(), "{}", refused);
        prop_assert!(held.is_empty() || refused.blocked.len() + refused.warnings.len() > 0);
    }
}
