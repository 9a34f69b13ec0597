//! Plans as text, and the invariants that every plan keeps.

use std::collections::BTreeMap;

use model::{TimestampRule, TopicId, TopicName};
use proptest::prelude::*;
use topology::settings::WATCHED;
use topology::snapshot::{Features, Settings, Snapshot, Topic, TopicSettings, topic_defaults};
use topology::{
    Action, Candidates, Held, HeldBack, Intent, Naming, Pattern, Plan, Selection, TopicPolicy, plan,
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
    Settings::Known(TopicSettings { overrides, effective })
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
        topics: TopicPolicy::default(),
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
    compression.type=producer  (batches keep the codec and the bytes they have at the source)
    max.message.bytes=2000000  (as at the source)
    message.timestamp.type=CreateTime  (records keep the time they have at the source)
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
set on `t`: batches are to pass through unchanged
    compression.type: zstd -> producer  (batches keep the codec and the bytes they have at the source)
    max.message.bytes: 1000 -> 1048588  (the source's largest batches fit)
    message.timestamp.after.max.ms: 3600000 -> 9223372036854775807  (records stamped ahead of the clock pass)
    message.timestamp.before.max.ms: 86400000 -> 9223372036854775807  (records of any age pass)
    message.timestamp.type: LogAppendTime -> CreateTime  (records keep the time they have at the source)
    segment.bytes: 1000 -> 1048588  (a segment holds the largest batch)
warning `t`: retention.ms=60000, 604800000 at the source: the copy deletes records that the source still has
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
    hint: give the destination's user DESCRIBE on the topic
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
    intent.topics.preserve_partitions = false;
    check(
        &source,
        &destination,
        &intent,
        "
blocked `t` -> `t`: it has 2 partitions at the destination and 4 at the source, and topic.preserve.partitions=false
    hint: add partitions to the destination topic, or set topic.preserve.partitions=true
copying 0 partitions of 0 topics
",
    );
}

#[test]
fn what_must_not_be_copied_is_refused_with_the_reason() {
    let mut source = with(source(), "a", "1 1");
    source = with(source, "b", "1 1");
    source.troubled.insert("c".into(), "TOPIC_AUTHORIZATION_FAILED (29)".into());
    source = with(source, "__consumer_offsets", "50 1");
    let mut both_ways = intent(&["a", "b", "c", "d", "e", "__consumer_offsets"], "copy");
    both_ways.selection.blacklist.insert("e".into());
    check(
        &source,
        &destination(),
        &both_ways,
        "
not copied `__consumer_offsets`: it belongs to the source cluster itself
    hint: groups and transactions are not copied as topics; take it out
not copied `a`: its copy would be `copy`, like that of `b`
    hint: put ${topic} into topic.rename.format, so that each topic keeps a copy of its own
not copied `b`: its copy would be `copy`, like that of `a`
    hint: put ${topic} into topic.rename.format, so that each topic keeps a copy of its own
not copied `c`: the source does not tell about it: TOPIC_AUTHORIZATION_FAILED (29)
    hint: give the source's user DESCRIBE on it
not copied `d`: it is in topic.whitelist and not at the source
    hint: create it, give the source's user DESCRIBE on it, or take it out of topic.whitelist; it is looked for on every topic.poll.interval.ms
not copied `e`: it is in topic.whitelist and in topic.blacklist
    hint: topic.blacklist wins; take it out of one of the two
copying 0 partitions of 0 topics
",
    );
}

#[test]
fn within_one_cluster_neither_topics_to_themselves_nor_copies_are_copied() {
    let wide = "message.timestamp.after.max.ms=9223372036854775807";
    let mut cluster = with(cluster("one", 1, BROKER_4), "a", "1 1");
    cluster = with(cluster, "a.replica", &format!("1 1 {wide}"));
    cluster = with(cluster, "a.replica.replica", "1 1");
    let mut intent = intent(&[], "${topic}.replica");
    intent.selection.regex = Some(Pattern::new("a.*").unwrap());
    check(
        &cluster,
        &cluster,
        &intent,
        "
not copied `a.replica`: source and destination are one cluster, where it is the copy of `a`
    hint: exclude copies in topic.regex, or name it in topic.blacklist
not copied `a.replica.replica`: source and destination are one cluster, where it is the copy of `a.replica`
    hint: exclude copies in topic.regex, or name it in topic.blacklist
copying 1 partition of 1 topic
    `a` -> `a.replica`  (1 partition)
",
    );
    intent.naming = Naming::unchanged();
    intent.selection.regex = Some(Pattern::new("a").unwrap());
    check(
        &cluster,
        &cluster,
        &intent,
        "
not copied `a`: source and destination are one cluster, it would be copied to itself
    hint: give copies another name with topic.rename.format
copying 0 partitions of 0 topics
",
    );
}

#[test]
fn a_name_too_long_for_kafka_is_refused() {
    let long = "x".repeat(245);
    let source = with(source(), &long, "1 1");
    let plan = planned(&source, &destination(), &intent(&[&long], "${topic}.replica"), &HeldBack::new());
    assert_eq!(plan.routes, []);
    let why = plan.not_copied[0].why.to_string();
    assert!(why.ends_with("has 253 characters, at most 249 are allowed"), "{why}");
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
                overrides.extend(changes.iter().map(|(key, change)| (key.clone(), change.to.clone())));
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
        "min.insync.replicas=2",
        "vendor.setting=1",
    ]);
    prop::collection::vec(any, 0..4).prop_map(|overrides| overrides.join(" "))
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
    prop::sample::select(vec![BROKER_1, BROKER_4])
}

fn policy() -> impl Strategy<Value = TopicPolicy> {
    (any::<[bool; 4]>(), prop::option::of(1..4i16)).prop_map(|(flags, replication_factor)| TopicPolicy {
        auto_create: flags[0],
        preserve_partitions: flags[1],
        replication_factor,
        config_sync: flags[2],
        timestamps: if flags[3] { TimestampRule::AsAtSource } else { TimestampRule::Append },
    })
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
        intent.topics = topics;

        let first = planned(&source, &destination, &intent, &HeldBack::new());
        let after = applied(destination.clone(), &first);
        let second = planned(&source, &after, &intent, &HeldBack::new());
        prop_assert_eq!(&second.steps, &[], "{}", second);
        prop_assert_eq!(&second.routes, &first.routes);
        prop_assert_eq!(&second.blocked, &first.blocked);
        prop_assert_eq!(&second.not_copied, &first.not_copied);
        prop_assert_eq!(&second, &planned(&source, &after, &intent, &HeldBack::new()));

        // Routes are sorted, each partition of source and destination at most once, and no topic feeds itself.
        prop_assert!(first.routes.is_sorted_by(|one, other| one.source < other.source));
        let mut written: Vec<_> = first.routes.iter().map(|route| &route.destination).collect();
        written.sort();
        prop_assert!(written.is_sorted_by(|one, other| one < other));
        prop_assert!(!same_cluster || first.routes.iter().all(|route| route.source != route.destination));

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
