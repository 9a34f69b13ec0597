//! The quick start: two files in, a faithful copy out.

use crate::{
    desk::{Desk, PATIENCE, QUICK_START, QUICK_START_ZOOKEEPER, stop_cleanly},
    pair::Pair,
};
use real_kafka::{Error, wait_until};

/// `seq 10000`
fn numbers() -> String {
    (1..=10_000).map(|number| format!("{number}\n")).collect()
}

fn quick_start(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();

    // With the ZooKeeper keys, and the topic there and full before the start.
    let desk = Desk::new(&format!("quick-start-{source_version}"), &source.bootstrap, &destination.bootstrap);
    source_session.create_topic(&source.bootstrap, "test-topic", 1, 1, &[]).unwrap();
    source.kafka.console_producer(&source.bootstrap, "test-topic", &numbers()).unwrap();
    let process = desk.run(&desk.write("quickstart-replicator.properties", QUICK_START_ZOOKEEPER));
    destination_session
        .wait_for_records(&destination.bootstrap, "test-topic.replica", 10_000, PATIENCE)
        .unwrap();
    let lines = destination
        .kafka
        .console_consumer(&destination.bootstrap, "test-topic.replica", 10_000, &[])
        .unwrap();
    assert_eq!(lines.join("\n") + "\n", numbers());
    let copy =
        destination_session.describe_topic(&destination.bootstrap, "test-topic.replica").unwrap().unwrap();
    assert_eq!(copy.partitions, 1);
    stop_cleanly(process);
    assert!(desk.offsets().exists());

    // Without them, and the topic created after the start.
    source_session.delete_topic(&source.bootstrap, "test-topic").unwrap();
    destination_session.delete_topic(&destination.bootstrap, "test-topic.replica").unwrap();
    wait_until("the topic to be deleted", PATIENCE, || {
        let gone =
            destination_session.describe_topic(&destination.bootstrap, "test-topic.replica")?.is_none();
        Ok(gone.then_some(()))
    })
    .unwrap();
    let desk =
        Desk::new(&format!("quick-start-after-{source_version}"), &source.bootstrap, &destination.bootstrap);
    // The default is two minutes.
    let connector = format!("{QUICK_START}topic.poll.interval.ms=500\n");
    let process = desk.run(&desk.write("quickstart-replicator.properties", &connector));
    wait_until("the topic to be created again", PATIENCE, || {
        match source_session.create_topic(&source.bootstrap, "test-topic", 4, 1, &[]) {
            Ok(()) => Ok(Some(())),
            Err(Error::Refused { message, .. }) if message.contains("Exists") => Ok(None), // being deleted
            Err(error) => Err(error),
        }
    })
    .unwrap();
    source.kafka.console_producer(&source.bootstrap, "test-topic", &numbers()).unwrap();
    destination_session
        .wait_for_records(&destination.bootstrap, "test-topic.replica", 10_000, PATIENCE)
        .unwrap();
    let mut lines = destination
        .kafka
        .console_consumer(&destination.bootstrap, "test-topic.replica", 10_000, &[])
        .unwrap();
    lines.sort_by_key(|line| line.parse::<u32>().unwrap());
    assert_eq!(lines.join("\n") + "\n", numbers());
    let copy =
        destination_session.describe_topic(&destination.bootstrap, "test-topic.replica").unwrap().unwrap();
    assert_eq!(copy.partitions, 4);
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn it_runs_from_1_1_1_to_3_9_2() {
    quick_start("1.1.1", "3.9.2");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn it_runs_from_2_8_2_to_4_3_1() {
    quick_start("2.8.2", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn it_runs_from_4_3_1_to_4_3_1() {
    quick_start("4.3.1", "4.3.1");
}
