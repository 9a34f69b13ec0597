//! One suite of small checks, run against this crate under each profile and against the real version of it.
//!
//! A check asks and notes what it was answered, and the state afterwards, as lines of text without anything
//! that two runs may differ in. The lines of both sides must be equal, but for the differences that are
//! listed, each with its reason. Without the feature `real-kafka` the suite only runs against this crate,
//! which shows that it ends.

// Tests wait for other processes and read clocks, against deadlines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]
#![allow(dead_code, reason = "the client is shared with the other tests")]

mod batches;
#[path = "../it/client.rs"]
mod client;
mod consumers;
mod desk;
mod differences;
mod groups;
mod logs;
mod people;
mod producers;
mod topics;
mod transactions;

use embedded_kafka::{Cluster, Config, Profile};

use desk::Desk;

/// So that a group's time is short.
const GROUP_SETTINGS: [(&str, &str); 4] = [
    ("group.initial.rebalance.delay.ms", "800"),
    ("group.min.session.timeout.ms", "500"),
    // So that the answer to a heartbeat does not depend on when it was sent.
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.consumer.assignor.offload.enable", "false"),
];

async fn suite(address: String, profile: Profile, is_real: bool) -> Vec<String> {
    let mut desk = Desk::new(address, profile, is_real).await;
    topics::check(&mut desk).await;
    batches::check(&mut desk).await;
    producers::check(&mut desk).await;
    logs::check(&mut desk).await;
    transactions::check(&mut desk).await;
    groups::check(&mut desk).await;
    consumers::check(&mut desk).await;
    desk.lines
}

async fn embedded(profile: Profile) -> Vec<String> {
    // As the clusters of `real-kafka` are set.
    let mut config = Config::new(1, profile).broker_setting("log.segment.delete.delay.ms", "1000");
    for (name, value) in GROUP_SETTINGS {
        config = config.broker_setting(name, value);
    }
    let cluster = Cluster::start(config).await.unwrap();
    suite(cluster.bootstrap_servers(), profile, false).await
}

async fn compare(profile: Profile, version: &str) {
    let ours = embedded(profile).await;
    assert!(ours.len() >= 150, "only {} lines", ours.len());
    if !cfg!(feature = "real-kafka") {
        return;
    }
    let kafka = real_kafka::Distribution::resolve(version).unwrap();
    let settings = GROUP_SETTINGS
        .iter()
        .fold(real_kafka::Config::brokers(1), |config, (name, value)| config.with(*name, *value));
    let real = real_kafka::Cluster::start(&kafka, &settings).unwrap();
    let theirs = suite(real.bootstrap(), profile, true).await;
    let unexplained = differences::unexplained(profile, &theirs, &ours);
    assert!(unexplained.is_empty(), "{version} differs:\n{}", unexplained.join("\n"));
    println!("{} checks agree with Kafka {version}", ours.len());
}

#[tokio::test]
async fn it_answers_as_1_1() {
    compare(Profile::V1_1, "1.1.1").await;
}

#[tokio::test]
async fn it_answers_as_2_8() {
    compare(Profile::V2_8, "2.8.2").await;
}

#[tokio::test]
async fn it_answers_as_3_9() {
    compare(Profile::V3_9, "3.9.2").await;
}

#[tokio::test]
async fn it_answers_as_4_3() {
    compare(Profile::V4_3, "4.3.1").await;
}
