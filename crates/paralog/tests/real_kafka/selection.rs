//! Rows B1 to B10 of the acceptance list: which topics are copied, and under which names.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, Side, assert_same},
};
use real_kafka::{Fill, Transaction, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

from_each_source!(
    a_plan_guards_a_pipeline,
    b10_two_replications_into_one_cluster_write_separate_topics,
    b1_only_listed_topics_are_copied,
    b2_a_pattern_is_javas_and_matches_the_whole_name,
    b3_the_blacklist_wins,
    b4_nothing_selected_is_said_and_nothing_is_copied,
    b5_internal_topics_are_never_copied,
    b6_a_missing_topic_is_told_and_the_others_are_copied,
    b7_a_new_topic_is_copied_from_its_first_record_within_the_poll_interval,
    b8_topics_are_renamed_by_each_form,
    b9_one_cluster_can_be_both_and_there_is_no_loop,
);

/// Creates topics of one partition with ten records each.
fn create(side: &Side, topics: &[&str]) {
    side.with(|session| {
        for topic in topics {
            session.create_topic(&side.bootstrap, topic, 1, 1, &[]).unwrap();
            session.fill(&side.bootstrap, topic, &Fill::plain(10, 1)).unwrap();
        }
    });
}

/// The names of the side's topics that begin with `prefix`.
fn names(side: &Side, prefix: &str) -> Vec<String> {
    let mut names = side.with(|session| session.topics(&side.bootstrap)).unwrap();
    names.retain(|name| name.starts_with(prefix));
    names
}

/// The end of the topic's first partition.
fn end(side: &Side, topic: &str) -> i64 {
    side.with(|session| session.ends(&side.bootstrap, topic)).unwrap()[&0].1
}

fn b1_only_listed_topics_are_copied(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["b1.listed", "b1.other", "b1.too"]);
    let desk = Desk::new(&format!("b1-{version}"), &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector_of("b1", "topic.whitelist=b1.listed,b1.too"));
    assert_eq!(names(destination, "b1."), ["b1.listed", "b1.too"]);
}

fn b2_a_pattern_is_javas_and_matches_the_whole_name(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let topics =
        ["_confluent-b2", "__confluent.b2", "__consumer_b2", "b2_confluent", "b2.orders", "b", "_b2"];
    create(source, &topics);
    let desk = Desk::new(&format!("b2-{version}"), &source.bootstrap, &destination.bootstrap);
    // As Confluent's demonstration has it. Planned only: other tests have their topics here.
    let public = desk.connector("b2-public", "^(?!(_confluent|__confluent|__consumer))[a-zA-Z0-9_].+$", "");
    let (code, plan) = desk.plan(&public);
    assert_eq!(code, Some(4));
    let planned = plan["connectors"][0]["topics"].as_array().unwrap().iter();
    let planned: BTreeSet<&str> = planned.map(|topic| topic["source"].as_str().unwrap()).collect();
    let selected: Vec<&str> = topics.into_iter().filter(|topic| planned.contains(topic)).collect();
    assert_eq!(selected, ["b2_confluent", "b2.orders", "_b2"]);

    desk.catch_up(&desk.connector("b2", r"^(?!_confluent)_?b2(?:\\.|_)?[a-f]*", ""));
    assert_eq!(names(destination, "b2"), Vec::<String>::new());
    assert_eq!(names(destination, "_b2"), ["_b2"]);
}

fn b3_the_blacklist_wins(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let topics = ["b3topic1", "b3topic2", "b3topic3", "b3topic4", "b3topic5"];
    create(source, &topics);
    let desk = Desk::new(&format!("b3-{version}"), &source.bootstrap, &destination.bootstrap);
    let lines = "topic.whitelist=b3topic1\ntopic.regex=b3topic[2,3,4]\ntopic.blacklist=b3topic4";
    desk.catch_up(&desk.connector_of("b3", lines));
    assert_eq!(names(destination, "b3"), topics[..3]);
}

fn b4_nothing_selected_is_said_and_nothing_is_copied(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["b4"]);
    let desk = Desk::new(&format!("b4-{version}"), &source.bootstrap, &destination.bootstrap);
    let outcome = desk.run_until_caught_up(&[&desk.connector_of("b4", "")]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.output);
    let told = "no topic is selected: set topic.whitelist or topic.regex";
    assert!(outcome.output.contains(told), "{}", outcome.output);
    assert_eq!(names(destination, "b4"), Vec::<String>::new());
}

fn b5_internal_topics_are_never_copied(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let transaction = Transaction { records: 5, abort_every: 0 };
    let fill = Fill::plain(10, 1).transactions("b5", transaction);
    source.with(|session| {
        session.create_topic(&source.bootstrap, "b5-plain", 1, 1, &[]).unwrap();
        session.fill(&source.bootstrap, "b5-plain", &fill).unwrap();
    });
    let desk = Desk::new(&format!("b5-{version}"), &source.bootstrap, &destination.bootstrap);
    let lines = "topic.whitelist=__consumer_offsets,__transaction_state,b5-plain\n\
        topic.regex=__(consumer_offsets|transaction_state)\ntopic.rename.format=b5.${topic}";
    let connector = desk.connector_of("b5", lines);
    // The first run commits how far it is at the source, so that there are group offsets at the second.
    for _ in 0..2 {
        let output = desk.catch_up(&connector);
        for internal in ["__consumer_offsets", "__transaction_state"] {
            let told = format!("`{internal}`, which is internal to Kafka and never copied");
            assert!(output.contains(&told), "{output}");
        }
        assert_eq!(names(destination, "b5."), ["b5.b5-plain"]);
    }
}

fn b6_a_missing_topic_is_told_and_the_others_are_copied(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["b6-there"]);
    let desk = Desk::new(&format!("b6-{version}"), &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector_of("b6", "topic.whitelist=b6-missing,b6-there");
    let outcome = desk.run_until_caught_up(&[&connector]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let told = "topic `b6-missing`: it is in topic.whitelist and not at the source";
    assert!(outcome.output.contains(told), "{}", outcome.output);
    assert_eq!(names(destination, "b6"), ["b6-there"]);
    assert_eq!(end(destination, "b6-there"), 10);
}

fn b7_a_new_topic_is_copied_from_its_first_record_within_the_poll_interval(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let desk = Desk::new(&format!("b7-{version}"), &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector("b7", "b7-.*", ""));
    wait_until("the first look, which finds nothing", PATIENCE, || {
        let told = fs::read_to_string(process.log()).is_ok_and(|log| log.contains("selects none of"));
        Ok(told.then_some(()))
    })
    .unwrap();
    let began = Instant::now();
    create(source, &["b7-new"]);
    destination
        .with(|session| session.wait_for_records(&destination.bootstrap, "b7-new", 10, PATIENCE))
        .unwrap();
    // The interval is half a second here; the rest is the time to create topics on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let digest = |side: &Side| side.with(|session| session.digest(&side.bootstrap, "b7-new", false)).unwrap();
    assert_same(&digest(source), &digest(destination));
    stop_cleanly(process);
}

fn b8_topics_are_renamed_by_each_form(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["b8"]);
    let desk = Desk::new(&format!("b8-{version}"), &source.bootstrap, &destination.bootstrap);
    let connectors: Vec<_> = ["dc_${topic}", "${topic}.replica", "b8-fixed"]
        .iter()
        .enumerate()
        .map(|(index, format)| {
            desk.connector_of(
                &format!("b8-{index}"),
                &format!("topic.whitelist=b8\ntopic.rename.format={format}"),
            )
        })
        .collect();
    let connectors: Vec<&Path> = connectors.iter().map(PathBuf::as_path).collect();
    let outcome = desk.run_until_caught_up(&connectors);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    for copy in ["dc_b8", "b8.replica", "b8-fixed"] {
        assert_eq!(end(destination, copy), 10, "{copy}");
    }
}

fn b9_one_cluster_can_be_both_and_there_is_no_loop(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let source = &pair.source;
    create(source, &["b9"]);
    let desk = Desk::new(&format!("b9-{version}"), &source.bootstrap, &source.bootstrap);
    // The pattern selects copies, and copies of copies, as well.
    let connector = desk.connector("b9", "b9.*", "topic.rename.format=${topic}.replica");
    for _ in 0..2 {
        desk.catch_up(&connector);
        assert_eq!(names(source, "b9"), ["b9", "b9.replica"]);
        for topic in ["b9", "b9.replica"] {
            assert_eq!(end(source, topic), 10, "{topic}");
        }
    }
    let (code, plan) = desk.plan(&connector);
    assert_eq!(code, Some(0), "{plan:#}");
    assert_eq!(plan["connectors"][0]["not_copied"][0]["reason"], "copy_of");
}

fn b10_two_replications_into_one_cluster_write_separate_topics(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["b10"]);
    let desk = Desk::new(&format!("b10-{version}"), &source.bootstrap, &destination.bootstrap);
    let named = |name: &str, format: &str| {
        desk.connector_of(name, &format!("topic.whitelist=b10\ntopic.rename.format={format}"))
    };
    let (one, two) = (named("one", "one.${topic}"), named("two", "two.${topic}"));
    let outcome = desk.run_until_caught_up(&[&one, &two]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    for copy in ["one.b10", "two.b10"] {
        assert_eq!(end(destination, copy), 10, "{copy}");
    }
    // So do two processes.
    let other = Desk::new(&format!("b10-other-{version}"), &source.bootstrap, &destination.bootstrap);
    let left = desk.run(&named("left", "left.${topic}"));
    let right =
        other.run(&other.connector_of("right", "topic.whitelist=b10\ntopic.rename.format=right.${topic}"));
    for copy in ["left.b10", "right.b10"] {
        destination
            .with(|session| session.wait_for_records(&destination.bootstrap, copy, 10, PATIENCE))
            .unwrap();
    }
    for process in [left, right] {
        stop_cleanly(process);
    }
    // To one topic only the first does.
    let (three, four) = (named("three", "same.${topic}"), named("four", "same.${topic}"));
    let outcome = desk.run_until_caught_up(&[&three, &four]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let told = "topic `b10`: its copy would be `same.b10`, which connector `three` writes";
    assert!(outcome.output.contains(told), "{}", outcome.output);
    assert_eq!(end(destination, "same.b10"), 10);
}

fn a_plan_guards_a_pipeline(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    create(source, &["plan-new", "plan-grown"]);
    source.with(|session| session.grow_topic(&source.bootstrap, "plan-grown", 2)).unwrap();
    let small = [("max.message.bytes", "1000")];
    destination
        .with(|session| session.create_topic(&destination.bootstrap, "plan-grown", 1, 1, &small))
        .unwrap();
    let desk = Desk::new(&format!("plan-{version}"), &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector("plan", "plan-.*", "");
    let (code, plan) = desk.plan(&connector);
    assert_eq!(code, Some(4), "{plan:#}");
    let steps = plan["connectors"][0]["steps"].as_array().unwrap().iter();
    let steps: Vec<String> = steps
        .map(|step| format!("{} {}", step["action"].as_str().unwrap(), step["topic"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, ["grow plan-grown", "set_config plan-grown", "create plan-new"]);
    // Judged by the destination, and nothing was done.
    assert_eq!(names(destination, "plan-"), ["plan-grown"]);
    let untouched = destination.with(|session| session.describe_topic(&destination.bootstrap, "plan-grown"));
    let untouched = untouched.unwrap().unwrap();
    assert_eq!((untouched.partitions, untouched.settings["max.message.bytes"].as_str()), (1, "1000"));

    desk.catch_up(&connector);
    let (code, plan) = desk.plan(&connector);
    assert_eq!(code, Some(0), "{plan:#}");
    assert_eq!(plan["connectors"][0]["steps"].as_array().map(Vec::len), Some(0));
}
