//! What happens to topics while they are copied, and what an operator can say about it.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Hold, Pair, Side, assert_same},
};
use real_kafka::{Config, Fill, Process, wait_until};
use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

from_each_source!(
    c13_a_source_topic_that_is_deleted_leaves_its_copy_and_the_others_go_on,
    c14_a_destination_topic_that_is_deleted_is_created_and_filled_again,
    a_source_topic_created_anew_stops_its_partitions,
    a_source_topic_created_anew_under_the_copy_is_copied_behind_the_old_one_when_told,
    records_deleted_ahead_of_the_copy_are_named_and_passed_over_when_told,
);

/// A time for the first record, so that two fills alike are the same records.
fn at(records: u64, first: u64) -> Fill {
    Fill::plain(records, 1).first(first).times_from(now_ms())
}

/// Now, the same for all fills of this process.
fn now_ms() -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    *NOW.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap()
    })
}

/// Creates and fills a topic. With ZooKeeper one of its name may be there still, although no broker lists it any more.
fn make(side: &Side, topic: &str, fill: &Fill) {
    wait_until("the topic's name to be free", PATIENCE, || {
        match side.with(|session| session.create_topic(&side.bootstrap, topic, 1, 1, &[])) {
            Ok(()) => Ok(Some(())),
            Err(error) if error.to_string().contains("TopicExistsException") => Ok(None),
            Err(error) => Err(error),
        }
    })
    .unwrap();
    side.with(|session| session.fill(&side.bootstrap, topic, fill).unwrap());
}

/// Deletes a topic, and waits until that is done.
fn delete(side: &Side, topic: &str) {
    side.with(|session| session.delete_topic(&side.bootstrap, topic).unwrap());
    wait_until("the topic to be gone", PATIENCE, || {
        let topics = side.with(|session| session.topics(&side.bootstrap).unwrap());
        Ok((!topics.iter().any(|there| there == topic)).then_some(()))
    })
    .unwrap();
}

fn wait_for_copies(pair: &Pair, topic: &str, records: u64) {
    let side = &pair.destination;
    side.with(|session| session.wait_for_records(&side.bootstrap, topic, records, PATIENCE)).unwrap();
}

fn wait_for_line(process: &Process, words: &str) -> String {
    wait_until(words, PATIENCE, || {
        let log = fs::read_to_string(process.log()).unwrap_or_default();
        Ok(log.lines().find(|line| line.contains(words)).map(str::to_owned))
    })
    .unwrap()
}

/// The copy has the same records as a topic of the source in which the fills were made one after the other.
#[track_caller]
fn assert_copy_is(pair: &Pair, topic: &str, fills: &[Fill]) {
    let (source, destination) = (&pair.source, &pair.destination);
    let expected = format!("{topic}.expected-{}", fills.len());
    source.with(|session| {
        session.create_topic(&source.bootstrap, &expected, 1, 1, &[]).unwrap();
        fills.iter().for_each(|fill| session.fill(&source.bootstrap, &expected, fill).unwrap());
    });
    let expected = source.with(|session| session.digest(&source.bootstrap, &expected, false).unwrap());
    let copy = destination.with(|session| session.digest(&destination.bootstrap, topic, false).unwrap());
    assert_same(&expected, &copy);
}

fn start(name: &str, version: &str) -> (Hold, Desk) {
    let pair = Pair::shared(version, "4.3.1");
    let desk = Desk::new(name, &pair.source.bootstrap, &pair.destination.bootstrap);
    (pair, desk)
}

fn c13_a_source_topic_that_is_deleted_leaves_its_copy_and_the_others_go_on(version: &str) {
    let (pair, desk) = start("c13", version);
    for topic in ["c13.stays", "c13.goes"] {
        make(&pair.source, topic, &at(10, 0));
    }
    let process = desk.run(&desk.connector("c13", r"c13\\..*", ""));
    wait_for_copies(&pair, "c13.stays", 10);
    wait_for_copies(&pair, "c13.goes", 10);
    delete(&pair.source, "c13.goes");
    let told = wait_for_line(&process, "topic is gone");
    assert!(told.contains("c13.goes"), "{told}");
    let source = &pair.source;
    source.with(|session| session.fill(&source.bootstrap, "c13.stays", &at(5, 10)).unwrap());
    wait_for_copies(&pair, "c13.stays", 15);
    wait_for_line(&process, "gone_topics=1");
    stop_cleanly(process);
    let destination = &pair.destination;
    let ends = destination.with(|session| session.ends(&destination.bootstrap, "c13.goes").unwrap());
    assert_eq!(ends.get(&0), Some(&(0, 10)), "the copy stays");
}

fn c14_a_destination_topic_that_is_deleted_is_created_and_filled_again(version: &str) {
    let (pair, desk) = start("c14", version);
    make(&pair.source, "c14", &at(10, 0));
    let process = desk.run(&desk.connector("c14", "c14", ""));
    wait_for_copies(&pair, "c14", 10);
    delete_copy_while_it_is_written(&pair, "c14");
    let told = wait_for_line(&process, "everything that the source still has is copied again");
    assert!(told.contains("c14-0") && told.contains("up to offset 10"), "{told}");
    wait_for_copies(&pair, "c14", 10);
    let source = &pair.source;
    source.with(|session| session.fill(&source.bootstrap, "c14", &at(5, 10)).unwrap());
    wait_for_copies(&pair, "c14", 15);
    stop_cleanly(process);
    assert_copy_is(&pair, "c14", &[at(10, 0), at(5, 10)]);
}

/// It is created again at once by whoever is copying, so that nobody can wait for it to be gone.
fn delete_copy_while_it_is_written(pair: &Pair, topic: &str) {
    let side = &pair.destination;
    side.with(|session| session.delete_topic(&side.bootstrap, topic).unwrap());
}

fn a_source_topic_created_anew_stops_its_partitions(version: &str) {
    let (pair, desk) = start("anew-stop", version);
    make(&pair.source, "anew-stop", &at(10, 0));
    let connector = desk.connector("anew-stop", "anew-stop", "");
    desk.catch_up(&connector);
    delete(&pair.source, "anew-stop");
    make(&pair.source, "anew-stop", &at(7, 100));
    let outcome = desk.run_until_caught_up(&[&connector]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let reason = "the source topic was deleted and created anew: the old one was copied up to offset 10";
    assert!(outcome.output.contains(reason), "{}", outcome.output);
    assert_copy_is(&pair, "anew-stop", &[at(10, 0)]);
}

fn a_source_topic_created_anew_under_the_copy_is_copied_behind_the_old_one_when_told(version: &str) {
    let (pair, desk) = start("anew", version);
    make(&pair.source, "anew", &at(10, 0));
    let process = desk.run(&desk.connector("anew", "anew", "paralog.on.source.recreated=restart"));
    wait_for_copies(&pair, "anew", 10);
    delete(&pair.source, "anew");
    make(&pair.source, "anew", &at(7, 100));
    let told = wait_for_line(&process, "the source topic was deleted and created anew");
    assert!(told.contains("anew-0") && told.contains("up to offset 10"), "{told}");
    // Before 3.1 brokers are asked by name, and the partition stops.
    let is_certain = version != "2.8.2";
    if is_certain {
        wait_for_copies(&pair, "anew", 17);
    }
    stop_cleanly(process);
    let fills = [at(10, 0), at(7, 100)];
    assert_copy_is(&pair, "anew", if is_certain { &fills } else { &fills[..1] });
}

fn records_deleted_ahead_of_the_copy_are_named_and_passed_over_when_told(version: &str) {
    let (pair, desk) = start("overtaken", version);
    make(&pair.source, "overtaken", &at(10, 0));
    let connector = desk.connector("overtaken", "overtaken", "");
    desk.catch_up(&connector);
    let source = &pair.source;
    source.with(|session| {
        session.fill(&source.bootstrap, "overtaken", &at(20, 10)).unwrap();
        session.delete_records(&source.bootstrap, "overtaken", 0, 25).unwrap();
    });
    let outcome = desk.run_until_caught_up(&[&connector]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let reason = "the source deleted offsets 10 to 24 before they were copied (15 offsets)";
    assert!(outcome.output.contains(reason), "{}", outcome.output);
    assert_copy_is(&pair, "overtaken", &[at(10, 0)]);
    let told = desk.catch_up(&desk.connector("overtaken", "overtaken", "paralog.on.source.overtaken=skip"));
    assert!(told.contains(reason) && told.contains("offsets_skipped=15"), "{told}");
    let destination = &pair.destination;
    let copy =
        destination.with(|session| session.digest(&destination.bootstrap, "overtaken", false).unwrap());
    assert_eq!(copy[0].records, 15);
}

/// A broker that lost its newest records is elected nevertheless, as after an unclean election, and others follow.
#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_source_that_was_cut_is_named_and_followed_from_the_very_offset_when_told() {
    let pair = Pair::start(("4.3.1", &Config::brokers(1)), ("4.3.1", &Config::brokers(1)));
    let source = &pair.source;
    let desk = Desk::new("cut", &source.bootstrap, &pair.destination.bootstrap);
    make(source, "cut", &at(10, 0));
    let kept = source.cluster().stored_log(0, "cut", 0).unwrap();
    source.with(|session| session.fill(&source.bootstrap, "cut", &at(10, 10)).unwrap());
    let connector = desk.connector("cut", "cut", "");
    desk.catch_up(&connector);
    {
        let mut cluster = source.cluster();
        cluster.stop(0).unwrap();
        cluster.replace_log(0, "cut", 0, &kept).unwrap();
        cluster.start_again(0).unwrap();
    }
    source.with(|session| session.fill(&source.bootstrap, "cut", &at(15, 100)).unwrap());
    let outcome = desk.run_until_caught_up(&[&connector]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let reason = "the source's record at offset 10 is not the one that was copied last";
    assert!(outcome.output.contains(reason), "{}", outcome.output);
    assert_copy_is(&pair, "cut", &[at(10, 0), at(10, 10)]);
    let told = desk.catch_up(&desk.connector("cut", "cut", "paralog.on.source.truncated=skip"));
    assert!(told.contains("the source's log is another one from offset 10 on"), "{told}");
    assert_copy_is(&pair, "cut", &[at(10, 0), at(10, 10), at(15, 100)]);
}
