//! Plans as JSON: a golden of every variant. Programs read this, so members may be added and not renamed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use model::{RewriteRule, Route, TimestampRule, TopicPartition};
use topology::settings::{Chosen, LeftOut};
use topology::{
    Action, BlockReason, Blocked, Change, Difference, NameError, NotCopied, NotCopiedReason, Plan, Step,
    Unselected, Warning,
};

fn check(plan: &Plan, expected: &str) {
    let text = serde_json::to_string_pretty(&plan.json()).unwrap();
    assert_eq!(text, expected.trim(), "\n--- told\n{text}\n--- expected\n{expected}");
}

/// One member of the plan, an object a line.
fn check_list(plan: &Plan, member: &str, expected: &str) {
    let json = plan.json();
    let lines: Vec<String> = json[member].as_array().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(lines.join("\n"), expected.trim(), "{member}");
}

fn route(source: &str, partition: i32, destination: &str) -> Route {
    Route {
        source: TopicPartition::new(source, partition),
        destination: TopicPartition::new(destination, partition),
        spread_over: None,
        source_topic_id: None,
        destination_topic_id: None,
        rule: RewriteRule {
            timestamps: TimestampRule::AsAtSource,
            batch_bytes_max: 1,
            zstd: true,
            source_compacted: false,
        },
    }
}

#[test]
fn a_plan_without_anything_has_all_members() {
    check(
        &Plan::default(),
        r#"
{
  "pending": false,
  "steps": [],
  "blocked": [],
  "not_copied": [],
  "unselected": {
    "not_asked": [],
    "blacklisted": [],
    "internal": []
  },
  "warnings": [],
  "differences": [],
  "topics": [],
  "acls": null
}
"#,
    );
}

#[test]
fn steps_say_what_they_change_and_why() {
    let chosen = |value: &str| Chosen { value: value.into(), why: "as at the source".into() };
    let create = Action::Create {
        partitions: 3,
        replication_factor: 2,
        settings: BTreeMap::from([("retention.ms".to_owned(), chosen("1000"))]),
        left_out: vec![LeftOut {
            key: "min.insync.replicas".into(),
            value: "2".into(),
            why: "not here".into(),
        }],
    };
    let change = |from: Option<&str>, to: Option<&str>| Change {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        why: "it is so".into(),
    };
    let changes = [
        ("retention.ms".to_owned(), change(Some("1"), Some("2"))),
        ("segment.bytes".to_owned(), change(None, Some("3"))),
        ("segment.ms".to_owned(), change(Some("4"), None)),
    ];
    let spread = |route: Route| Route { spread_over: Some(5), ..route };
    let step = |topic: &str, action| Step { topic: topic.into(), action, reason: "for a reason".into() };
    let plan = Plan {
        steps: vec![
            step("a", create),
            step("b", Action::Grow { from: 1, to: 4 }),
            step("b", Action::SetConfig { changes: changes.into() }),
        ],
        routes: vec![
            route("x", 0, "a"),
            route("x", 1, "a"),
            route("y", 0, "b"),
            spread(route("z", 0, "c")),
            spread(route("z", 1, "c")),
        ],
        ..Plan::default()
    };
    assert_eq!(plan.json()["pending"], true);
    check_list(
        &plan,
        "steps",
        r#"
{"action":"create","topic":"a","why":"for a reason","partitions":3,"replication_factor":2,"settings":[{"key":"retention.ms","value":"1000","why":"as at the source"}],"left_out":[{"key":"min.insync.replicas","value":"2","why":"not here"}]}
{"action":"grow","topic":"b","why":"for a reason","from":1,"to":4}
{"action":"set_config","topic":"b","why":"for a reason","changes":[{"key":"retention.ms","from":"1","to":"2","why":"it is so"},{"key":"segment.bytes","from":null,"to":"3","why":"it is so"},{"key":"segment.ms","from":"4","to":null,"why":"it is so"}]}
"#,
    );
    check_list(
        &plan,
        "topics",
        r#"
{"source":"x","destination":"a","partitions":2,"spread_over":null}
{"source":"y","destination":"b","partitions":1,"spread_over":null}
{"source":"z","destination":"c","partitions":2,"spread_over":5}
"#,
    );
}

#[test]
fn every_reason_for_a_block_has_a_word() {
    let reasons = [
        BlockReason::TooFewBrokers { replication_factor: 3, brokers: 1 },
        BlockReason::NotThere { partitions: 2 },
        BlockReason::SettingsUnreadable("NO (1)".into()),
        BlockReason::Collides("t_1".into()),
        BlockReason::Refused("POLICY_VIOLATION (44)".into()),
        BlockReason::Troubled("NO (1)".into()),
    ];
    let blocked = |why| Blocked { source: "t.1".into(), destination: "t.1".into(), partitions_from: 0, why };
    let plan = Plan { blocked: reasons.map(blocked).into(), ..Plan::default() };
    assert!(plan.is_pending());
    check_list(
        &plan,
        "blocked",
        r#"
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"too_few_brokers","why":"3 replicas are wanted, the destination has 1 broker","hint":"it is created as soon as there are enough brokers; or set dest.topic.replication.factor"}
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"not_there","why":"it is not at the destination, and topic.auto.create=false; it should have 2 partitions","hint":"create it, or set topic.auto.create=true"}
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"settings_unreadable","why":"its settings could not be read at the source: NO (1)","hint":"give the source's user DESCRIBE_CONFIGS on the topic"}
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"collides","why":"Kafka takes no two names that differ in `.` and `_` only, and there is `t_1`","hint":"choose another topic.rename.format"}
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"refused","why":"the destination refused: POLICY_VIOLATION (44)","hint":"change what the destination refuses, or create the topic there yourself; it is tried again every topic.create.backoff.ms"}
{"source":"t.1","destination":"t.1","partitions_from":0,"reason":"troubled","why":"the destination does not tell about it: NO (1)","hint":"give the destination's user WRITE and READ on the topic"}
"#,
    );
}

#[test]
fn every_reason_not_to_copy_has_a_word_and_says_whether_it_is_open() {
    let flow = || "other".to_owned();
    let reasons = [
        NotCopiedReason::Missing,
        NotCopiedReason::NoTopicName(NameError::Empty),
        NotCopiedReason::Troubled("NO (1)".into()),
        NotCopiedReason::Blacklisted,
        NotCopiedReason::Internal,
        NotCopiedReason::TooCostly,
        NotCopiedReason::Itself,
        NotCopiedReason::CopyOf("o".into()),
        NotCopiedReason::IllegalName(NameError::Empty),
        NotCopiedReason::InternalName("__consumer_offsets".into()),
        NotCopiedReason::SharedName { destination: "d".into(), others: vec!["u".into()], more: 0 },
        NotCopiedReason::OtherFlow { destination: "d".into(), flow: flow() },
        NotCopiedReason::ComesBack { destination: "d".into(), flow: flow() },
        NotCopiedReason::CopyFromThere { original: "o".into(), flow: flow() },
    ];
    let told: Vec<String> = reasons
        .into_iter()
        .map(|why| {
            let not_copied = vec![NotCopied { source: "t".into(), why }];
            let json = Plan { not_copied, ..Plan::default() }.json();
            let not = &json["not_copied"][0];
            assert_eq!(json["pending"], not["open"]);
            format!("{} {} {}", not["reason"].as_str().unwrap(), not["open"], not["why"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "missing true it is in topic.whitelist and not at the source",
        "no_topic_name true it is in topic.whitelist, and a topic name cannot be empty",
        "troubled true the source does not tell about it: NO (1)",
        "blacklisted false it is in topic.whitelist and in topic.blacklist",
        "internal false it belongs to the source cluster itself",
        "too_costly true topic.regex takes too many steps on its name",
        "itself true source and destination are one cluster, it would be copied to itself",
        "copy_of false source and destination are one cluster, where it is the copy of `o`",
        "illegal_name true a topic name cannot be empty",
        "internal_name true its copy would be `__consumer_offsets`, which belongs to the destination cluster itself",
        "shared_name true its copy would be `d`, like that of `u`",
        "other_flow true its copy would be `d`, which connector `other` writes",
        "comes_back true its copy `d` would be copied back over it by connector `other`",
        "copy_from_there false by its name it is the copy of the destination's `o` by connector `other`",
    ];
    assert_eq!(told, expected);
    let plan = Plan {
        not_copied: vec![NotCopied { source: "t".into(), why: NotCopiedReason::Blacklisted }],
        ..Plan::default()
    };
    check_list(
        &plan,
        "not_copied",
        r#"{"source":"t","reason":"blacklisted","open":false,"why":"it is in topic.whitelist and in topic.blacklist","hint":"topic.blacklist wins; take it out of one of the two"}"#,
    );
}

#[test]
fn what_is_left_out_and_what_is_warned_of_are_told() {
    let unselected = Unselected {
        not_asked: vec!["a".into(), "b".into()],
        blacklisted: vec!["c".into()],
        internal: vec!["__consumer_offsets".into()],
    };
    let warnings = vec![
        Warning { topic: None, text: "source: it tells nothing".into() },
        Warning { topic: Some("t".into()), text: "it is short".into() },
    ];
    let difference = |at_source: Option<&str>, at_destination: Option<&str>| Difference {
        topic: "t".into(),
        key: "retention.ms".into(),
        at_source: at_source.map(str::to_owned),
        at_destination: at_destination.map(str::to_owned),
        why: "it is left".into(),
    };
    let differences = vec![difference(Some("1"), None), difference(None, Some("2"))];
    let plan = Plan { unselected, warnings, differences, ..Plan::default() };
    assert!(!plan.is_pending());
    assert_eq!(
        plan.json()["unselected"].to_string(),
        r#"{"not_asked":["a","b"],"blacklisted":["c"],"internal":["__consumer_offsets"]}"#
    );
    check_list(
        &plan,
        "warnings",
        r#"
{"topic":null,"text":"source: it tells nothing"}
{"topic":"t","text":"it is short"}
"#,
    );
    check_list(
        &plan,
        "differences",
        r#"
{"topic":"t","key":"retention.ms","at_source":"1","at_destination":null,"why":"it is left"}
{"topic":"t","key":"retention.ms","at_source":null,"at_destination":"2","why":"it is left"}
"#,
    );
}
