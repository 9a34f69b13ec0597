//! Rows C1, C4, C6, C8 and C9 of the acceptance list: what copies are like, and who makes them.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Hold, Pair, Side, assert_same},
};
use real_kafka::{Error, Fill, Session, wait_until};
use std::{fs, path::PathBuf};

from_each_source!(
    c1_a_copy_has_the_partitions_and_replicas_of_its_source,
    c4_the_replication_factor_can_be_set,
    c6_nothing_is_created_where_that_is_off_and_copying_starts_when_somebody_does,
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
