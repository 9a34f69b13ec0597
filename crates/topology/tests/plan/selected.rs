//! Plans of what is not copied: left out, no topic's name, or another flow's business.

use super::*;
use topology::{Neighbour, leave_to_rivals, rivals};

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
    hint: give the source's user READ on it
not copied `d`: it is in topic.whitelist and not at the source
    hint: create it, give the source's user READ on it, or take it out of topic.whitelist; it is looked for on every topic.poll.interval.ms
not copied `e`: it is in topic.whitelist and in topic.blacklist
    hint: topic.blacklist wins; take it out of one of the two
copying 0 partitions of 0 topics
",
    );
}

#[test]
fn of_many_topics_that_share_a_name_a_few_are_named() {
    let topics = ["a", "b", "c", "d", "e", "f"];
    let source = topics.iter().fold(source(), |source, topic| with(source, topic, "1 1"));
    let plan = planned(&source, &destination(), &intent(&topics, "copy"), &HeldBack::new());
    let told: Vec<String> = plan.not_copied.iter().map(|not| not.why.to_string()).collect();
    assert_eq!(told[0], "its copy would be `copy`, like that of `b`, `c`, `d` and 2 others");
    assert_eq!(told[5], "its copy would be `copy`, like that of `a`, `b`, `c` and 2 others");
}

/// Every step a plan takes per topic must not look at every topic: in a debug build this would be minutes.
#[test]
fn ten_thousand_topics_are_planned_one_by_one() {
    let names: Vec<String> = (0..10_000).map(|number| format!("shop.orders_{number:05}")).collect();
    let mut source = source();
    for name in &names {
        source = with(source, name, "1 1");
    }
    let mut intent = intent(&[], "copy.${topic}");
    intent.selection.regex = Some(Pattern::new("shop\\..*").expect("a pattern"));
    let plan = planned(&source, &destination(), &intent, &HeldBack::new());
    assert_eq!((plan.steps.len(), plan.routes.len(), plan.blocked.len()), (10_000, 10_000, 0));
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
not selected: 2 topics (`a.replica`, `a.replica.replica`)
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
fn what_the_selection_leaves_out_is_summed_up_and_a_pattern_that_selects_nothing_is_doubted() {
    let mut source = source();
    for name in ["a", "b", "c", "d", "e", "f", "out", "__consumer_offsets", "__transaction_state"] {
        source = with(source, name, "1 1");
    }
    let mut intent = intent(&[], "${topic}");
    intent.selection.regex = Some(Pattern::new("x.*|out|__.*").unwrap());
    intent.selection.blacklist.insert("out".into());
    check(
        &source,
        &destination(),
        &intent,
        "
not selected: 6 topics (`a`, `b`, `c`, `d`, `e` and 1 more)
left out by topic.blacklist: 1 topic (`out`)
the source's own: 2 topics (`__consumer_offsets`, `__transaction_state`)
warning topic.regex `x.*|out|__.*` selects none of the source's 9 topics; where the source's user has no right to DESCRIBE a topic, it does not show
copying 0 partitions of 0 topics
",
    );
    assert!(!planned(&source, &destination(), &intent, &HeldBack::new()).is_pending());
}

#[test]
fn a_listed_name_that_no_topic_can_have_is_told_and_the_others_are_copied() {
    let wide = "message.timestamp.after.max.ms=9223372036854775807";
    let (source, destination) =
        (with(source(), "a", "1 1"), with(destination(), "a", &format!("1 1 {wide}")));
    check(
        &source,
        &destination,
        &intent(&["a", "a b"], "${topic}"),
        "
not copied `a b`: it is in topic.whitelist, and topic name `a b` contains ` `; letters, digits, `.`, `_` and `-` are allowed
    hint: it lists whole names; patterns go to topic.regex
copying 1 partition of 1 topic
    `a` -> `a`  (1 partition)
",
    );
}

/// Another flow that copies all topics.
fn neighbour(name: &str, from: &str, to: &str, goes_first: bool) -> Neighbour {
    Neighbour {
        name: name.to_owned(),
        source_cluster: from.to_owned(),
        destination_cluster: to.to_owned(),
        selection: Selection { regex: Some(Pattern::new(".*").expect("a pattern")), ..Selection::default() },
        naming: Naming::unchanged(),
        goes_first,
    }
}

#[test]
fn what_other_flows_write_or_bring_back_is_left_to_them() {
    let mut source = with(source(), "orders", "1 1");
    source = with(source, "dst.sales", "1 1");
    let mut intent = intent(&["orders", "dst.sales"], "${topic}");
    let prefixed = Naming::new("dst.${topic}").unwrap();
    intent.neighbours = vec![Neighbour { naming: prefixed, ..neighbour("back", "dst", "src", false) }];
    let mut candidates = Candidates::of(&source, &intent.selection, &intent.naming);
    intent.neighbours.push(neighbour("other", "else", "dst", true));
    let mut rivals = rivals(&candidates, Some("dst"), &intent.neighbours);
    assert_eq!(rivals.len(), 2);
    // The other source has no such topic.
    rivals.retain(|rival| rival.source != Some("dst.sales".into()));
    leave_to_rivals(&mut candidates, &rivals, &intent.neighbours);
    let text = plan(&source, &destination(), &candidates, &intent, &HeldBack::new()).to_string();
    let expected = "\
not copied `dst.sales`: by its name it is the copy of the destination's `sales` by connector `back`
    hint: exclude copies in topic.regex, or name it in topic.blacklist
not copied `orders`: its copy would be `orders`, which connector `other` writes
    hint: give one of the two another topic.rename.format, or name the topic in one's topic.blacklist
copying 0 partitions of 0 topics
";
    assert_eq!(text, expected);

    intent.neighbours = vec![neighbour("back", "dst", "src", true)];
    intent.selection.whitelist = ["orders".into()].into();
    check(
        &source,
        &destination(),
        &intent,
        "
not copied `orders`: its copy `orders` would be copied back over it by connector `back`
    hint: give one of the connectors another topic.rename.format, or name the topic in its topic.blacklist
not selected: 1 topic (`dst.sales`)
copying 0 partitions of 0 topics
",
    );
}
