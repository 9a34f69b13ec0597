//! Rows C1 and C4 to C9 of the acceptance list: what copies are like, and who makes them.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Hold, Pair, Side, assert_same},
};
use real_kafka::{Config, Error, Fill, Session, wait_until};
use std::{fs, path::PathBuf};

from_each_source!(
    c1_a_copy_has_the_partitions_and_replicas_of_its_source,
    c4_the_replication_factor_can_be_set,
    c5_a_factor_beyond_the_brokers_waits_for_one_and_other_topics_do_not,
    c6_nothing_is_created_where_that_is_off_and_copying_starts_when_somebody_does,
    c7_new_partitions_are_copied_from_their_first_record,
    c8_a_copy_with_fewer_partitions_is_given_the_others_first,
    c9_a_copy_with_more_partitions_keeps_the_sources_numbers,
);

/// One row: a topic of that name at the source, and what is to become of it.
struct Row {
    name: &'static str,
    pair: Hold,
    desk: Desk,
}

impl Row {
    /// Between two clusters of so many brokers, with a topic that has a hundred records.
    fn new(name: &'static str, version: &str, brokers: u16, partitions: u32, replicas: u16) -> Row {
        let pair = Pair::shared_of(brokers, version, "4.3.1");
        let bootstrap = &pair.source.bootstrap;
        pair.source.with(|session| {
            session.create_topic(bootstrap, name, partitions, replicas, &[]).unwrap();
            session.fill(bootstrap, name, &Fill::varied(100, partitions)).unwrap();
        });
        let desk = Desk::new(&format!("{name}-{version}"), bootstrap, &pair.destination.bootstrap);
        Row { name, pair, desk }
    }

    fn connector(&self, lines: &str) -> PathBuf {
        self.desk.connector(self.name, self.name, lines)
    }

    /// Asks the destination about the copy.
    fn copy<T>(&self, ask: impl FnOnce(&mut Session, &str, &str) -> Result<T, Error>) -> T {
        let side = &self.pair.destination;
        side.with(|session| ask(session, &side.bootstrap, self.name)).unwrap()
    }

    fn assert_copied(&self) {
        let digest =
            |side: &Side| side.with(|session| session.digest(&side.bootstrap, self.name, false)).unwrap();
        assert_same(&digest(&self.pair.source), &digest(&self.pair.destination));
    }
}

fn c1_a_copy_has_the_partitions_and_replicas_of_its_source(version: &str) {
    let row = Row::new("c1", version, 2, 3, 2);
    row.desk.catch_up(&row.connector(""));
    let copy = row.copy(Session::describe_topic).unwrap();
    assert_eq!((copy.partitions, copy.replicas), (3, 2));
}

fn c4_the_replication_factor_can_be_set(version: &str) {
    let row = Row::new("c4", version, 2, 1, 1);
    row.desk.catch_up(&row.connector("dest.topic.replication.factor=2"));
    let copy = row.copy(Session::describe_topic).unwrap();
    assert_eq!((copy.partitions, copy.replicas), (1, 2));
}

fn c5_a_factor_beyond_the_brokers_waits_for_one_and_other_topics_do_not(version: &str) {
    let pair = Pair::start((version, &Config::brokers(1)), ("4.3.1", &Config::brokers(3)));
    let (source, destination) = (&pair.source, &pair.destination);
    // Two of three are a majority, so that other topics can be created.
    destination.cluster().stop(2).unwrap();
    source.with(|session| {
        for topic in ["c5-wide", "c5-narrow"] {
            session.create_topic(&source.bootstrap, topic, 2, 1, &[]).unwrap();
            session.fill(&source.bootstrap, topic, &Fill::varied(100, 2)).unwrap();
        }
    });
    // Somebody has made the copy that does with fewer.
    destination.with(|session| session.create_topic(&destination.bootstrap, "c5-narrow", 1, 1, &[])).unwrap();
    let desk = Desk::new(&format!("c5-{version}"), &source.bootstrap, &destination.bootstrap);
    // By polls alone nothing would begin within this test.
    let lines = "topic.poll.interval.ms=3600000\ntopic.config.sync.interval.ms=3600000\n\
                 topic.create.backoff.ms=1000\ndest.topic.replication.factor=3";
    let connector = desk.connector("c5", "c5-.*", lines);
    let process = desk.run(&connector);
    let digest = |side: &Side, topic: &str| {
        side.with(|session| session.digest(&side.bootstrap, topic, false)).unwrap()
    };
    let copied = |topic: &str, records| {
        let arrived = destination
            .with(|session| session.wait_for_records(&destination.bootstrap, topic, records, PATIENCE));
        arrived.unwrap();
        assert_same(&digest(source, topic), &digest(destination, topic));
    };
    let told = |words: &str| {
        wait_until(words, PATIENCE, || Ok(process.log_says(words).then_some(()))).unwrap();
    };
    copied("c5-narrow", 100);
    told("3 replicas are wanted, the destination has 2 brokers");
    let (code, plan) = desk.plan(&connector);
    assert_eq!(code, Some(4), "{plan:#}");
    let blocked = &plan["connectors"][0]["blocked"][0];
    assert_eq!(blocked["source"], "c5-wide", "{plan:#}");
    assert_eq!(blocked["reason"], "too_few_brokers", "{plan:#}");

    destination.cluster().start_again(2).unwrap();
    copied("c5-wide", 100);
    told("topic is not blocked any more");
    // The other one went on meanwhile.
    source
        .with(|session| session.fill(&source.bootstrap, "c5-narrow", &Fill::varied(100, 2).first(100)))
        .unwrap();
    copied("c5-narrow", 200);
    stop_cleanly(process);
}

fn c6_nothing_is_created_where_that_is_off_and_copying_starts_when_somebody_does(version: &str) {
    let row = Row::new("c6", version, 1, 1, 1);
    let process = row.desk.run(&row.connector("topic.auto.create=false"));
    wait_until("that the topic is missing to be told", PATIENCE, || {
        let told = "it is not at the destination, and topic.auto.create=false";
        Ok(fs::read_to_string(process.log()).is_ok_and(|log| log.contains(told)).then_some(()))
    })
    .unwrap();
    assert_eq!(row.copy(Session::describe_topic), None);
    row.copy(|session, at, topic| session.create_topic(at, topic, 1, 1, &[]));
    row.copy(|session, at, topic| session.wait_for_records(at, topic, 100, PATIENCE));
    row.assert_copied();
    stop_cleanly(process);
}

fn c7_new_partitions_are_copied_from_their_first_record(version: &str) {
    let row = Row::new("c7", version, 1, 1, 1);
    let process = row.desk.run(&row.connector(""));
    row.copy(|session, at, topic| session.wait_for_records(at, topic, 100, PATIENCE));
    let source = &row.pair.source;
    source.with(|session| {
        session.grow_topic(&source.bootstrap, row.name, 4).unwrap();
        // At once, so that the new partitions have records before anybody has heard of them.
        session.fill(&source.bootstrap, row.name, &Fill::varied(400, 4).first(100)).unwrap();
    });
    row.copy(|session, at, topic| session.wait_for_records(at, topic, 500, PATIENCE));
    row.assert_copied();
    let ends = row.copy(Session::ends);
    assert_eq!((ends.len(), ends[&3].0), (4, 0));
    stop_cleanly(process);
}

fn c8_a_copy_with_fewer_partitions_is_given_the_others_first(version: &str) {
    let row = Row::new("c8", version, 1, 4, 1);
    row.copy(|session, at, topic| session.create_topic(at, topic, 1, 1, &[]));
    row.desk.catch_up(&row.connector(""));
    row.assert_copied();
}

fn c9_a_copy_with_more_partitions_keeps_the_sources_numbers(version: &str) {
    let row = Row::new("c9", version, 1, 2, 1);
    row.copy(|session, at, topic| session.create_topic(at, topic, 4, 1, &[]));
    let output = row.desk.catch_up(&row.connector(""));
    assert!(output.contains("it has 4 partitions, `c9` has 2"), "{output}");
    row.assert_copied();
    let ends = row.copy(Session::ends);
    assert_eq!((ends[&2], ends[&3]), ((0, 0), (0, 0)));
}
