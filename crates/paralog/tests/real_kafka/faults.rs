//! What is wrong with clusters, topics and addresses is told, and stops only what it must.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, assert_same, count},
};
use real_kafka::{Config, Fill, wait_until};
use std::{fs, thread, time::Duration};

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_source_that_is_not_there_is_named() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let desk = Desk::new("nobody", &nobody, &pair.destination.bootstrap);
    let connector = desk.connector("nobody", "x", "src.kafka.request.timeout.ms=2000");
    let outcome = desk.run_to_end(&["run".as_ref(), desk.worker().as_os_str(), connector.as_os_str()]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.output);
    assert!(outcome.output.contains(&nobody), "{}", outcome.output);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_missing_topic_is_reported_and_the_others_go_on() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    source_session.create_topic(&source.bootstrap, "present", 1, 1, &[]).unwrap();
    source_session.fill(&source.bootstrap, "present", &Fill::plain(10, 1)).unwrap();
    let desk = Desk::new("missing", &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector_of("missing", "topic.whitelist=present,not-there");
    let process = desk.run(&connector);
    destination.session().wait_for_records(&destination.bootstrap, "present", 10, PATIENCE).unwrap();
    wait_until("the missing topic to be named", PATIENCE, || {
        Ok(fs::read_to_string(process.log()).is_ok_and(|log| log.contains("not-there")).then_some(()))
    })
    .unwrap();
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_topic_refused_by_policy_is_reported_and_the_others_go_on() {
    let policy = Config::brokers(1).with("create.topic.policy.class.name", "realkafka.RefusePolicy");
    let pair = Pair::start(("3.9.2", &Config::brokers(1)), ("4.3.1", &policy));
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    for topic in ["accepted", "refused"] {
        source_session.create_topic(&source.bootstrap, topic, 1, 1, &[]).unwrap();
        source_session.fill(&source.bootstrap, topic, &Fill::plain(10, 1)).unwrap();
    }
    let desk = Desk::new("policy", &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector("policy", "accepted|refused", ""));
    let mut session = destination.session();
    session.wait_for_records(&destination.bootstrap, "accepted", 10, PATIENCE).unwrap();
    wait_until("the policy's word to be told", PATIENCE, || {
        let told = fs::read_to_string(process.log()).is_ok_and(|log| {
            log.contains("POLICY_VIOLATION") && log.contains("that begin with refused are refused")
        });
        Ok(told.then_some(()))
    })
    .unwrap();
    assert_eq!(session.topics(&destination.bootstrap).unwrap(), ["accepted"]);
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_topic_is_never_fed_to_itself() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let source = &pair.source;
    let mut session = source.session();
    session.create_topic(&source.bootstrap, "ring", 1, 1, &[]).unwrap();
    session.fill(&source.bootstrap, "ring", &Fill::plain(10, 1)).unwrap();
    // The same cluster by another name, so that only the cluster itself can tell.
    let other_name = source.bootstrap.replace("127.0.0.1", "localhost");
    let desk = Desk::new("ring", &source.bootstrap, &other_name);
    let connector = desk.connector("ring", "ring", "");
    let outcome = desk.run_to_end(&[
        "run".as_ref(),
        desk.worker().as_os_str(),
        connector.as_os_str(),
        "--until-caught-up".as_ref(),
    ]);
    assert!(outcome.code.is_some_and(|code| code != 0), "{:?}: {}", outcome.code, outcome.output);
    assert!(outcome.output.contains("ring"), "{}", outcome.output);
    assert_eq!(session.ends(&source.bootstrap, "ring").unwrap()[&0], (0, 10));
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn two_topics_are_never_mixed_into_one() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut session = source.session();
    for topic in ["mix-a", "mix-b"] {
        session.create_topic(&source.bootstrap, topic, 1, 1, &[]).unwrap();
        session.fill(&source.bootstrap, topic, &Fill::plain(10, 1)).unwrap();
    }
    let desk = Desk::new("mix", &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector("mix", "mix-.*", "topic.rename.format=mixed");
    let outcome = desk.run_to_end(&[
        "run".as_ref(),
        desk.worker().as_os_str(),
        connector.as_os_str(),
        "--until-caught-up".as_ref(),
    ]);
    assert!(outcome.code.is_some_and(|code| code != 0), "{:?}: {}", outcome.code, outcome.output);
    assert!(outcome.output.contains("mix-a") && outcome.output.contains("mix-b"), "{}", outcome.output);
    let held = destination.session().ends(&destination.bootstrap, "mixed").unwrap_or_default();
    assert!(held.values().all(|(_, end)| *end <= 10), "{held:?}");
}

/// The broker of one side, or both in turn, is killed and comes back while records flow.
fn brokers_killed(name: &str, source_version: &str, destination_version: &str) {
    let pair = Pair::start((source_version, &Config::brokers(1)), (destination_version, &Config::brokers(1)));
    let (source, destination) = (&pair.source, &pair.destination);
    let mut writing = source.session();
    let mut session = destination.session();
    writing.create_topic(&source.bootstrap, name, 4, 1, &[]).unwrap();
    let desk = Desk::new(name, &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector(name, name, ""));
    for (part, side) in [destination, source, destination].into_iter().enumerate() {
        let fill =
            Fill::varied(20_000, 4).first(part as u64 * 20_000).codec("lz4").with("batch.size", "4000");
        writing.fill(&source.bootstrap, name, &fill).unwrap();
        session.wait_for_records(&destination.bootstrap, name, part as u64 * 20_000 + 1, PATIENCE).unwrap();
        side.cluster().kill(0).unwrap();
        // It is away for a while, as it is when somebody restarts it. Nothing below depends on how long.
        thread::sleep(Duration::from_millis(500));
        side.cluster().start_again(0).unwrap();
        session.wait_for_records(&destination.bootstrap, name, (part as u64 + 1) * 20_000, PATIENCE).unwrap();
    }
    stop_cleanly(process);
    let original = writing.digest(&source.bootstrap, name, false).unwrap();
    assert_eq!(count(&original), 60_000);
    assert_same(&original, &session.digest(&destination.bootstrap, name, false).unwrap());
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_cluster_that_is_gone_and_comes_back_costs_no_record_and_doubles_none() {
    brokers_killed("back-again", "4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn an_old_cluster_that_is_gone_and_comes_back_costs_no_record_and_doubles_none() {
    brokers_killed("old-back-again", "1.1.1", "2.8.2");
}
