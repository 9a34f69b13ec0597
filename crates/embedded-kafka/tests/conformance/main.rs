//! One suite of small checks, run against this crate under each profile and against the real version of it.
//!
//! A check asks and notes what it was answered, and the state afterwards, as lines of text without anything
//! that two runs may differ in. The lines of both sides must be equal, but for the differences that are
//! listed, each with its reason. Without the feature `real-kafka` the suite only runs against this crate,
//! which shows that it ends.

// Tests wait for other processes and read clocks, against deadlines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]
#![allow(dead_code, reason = "the client is shared with the other tests")]

mod admin;
mod batches;
#[path = "../it/client.rs"]
mod client;
mod consumers;
mod desk;
mod differences;
mod groups;
mod hostile;
mod logs;
mod people;
mod producers;
mod secure;
mod settings;
mod topics;
mod transactions;

use embedded_kafka::{Cluster, Config, ErrorCode, Profile, Sasl};

use desk::{Desk, Line, Peer};

/// So that a group's time is short.
const GROUP_SETTINGS: [(&str, &str); 4] = [
    ("group.initial.rebalance.delay.ms", "800"),
    ("group.min.session.timeout.ms", "500"),
    // So that the answer to a heartbeat does not depend on when it was sent.
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.consumer.assignor.offload.enable", "false"),
];

/// How many checks there are, so that none is lost unseen: of what everybody may ask, and of logins and access.
fn checks_min(profile: Profile) -> (usize, usize) {
    match profile {
        Profile::V1_1 => (729, 64),
        Profile::V2_8 => (1265, 404),
        Profile::V3_9 => (1375, 424),
        Profile::V4_3 => (1478, 424),
    }
}

async fn suite(peer: Peer, profile: Profile) -> Vec<Line> {
    let mut desk = Desk::new(peer, profile).await;
    topics::check(&mut desk).await;
    batches::check(&mut desk).await;
    producers::check(&mut desk).await;
    logs::check(&mut desk).await;
    transactions::check(&mut desk).await;
    admin::check(&mut desk).await;
    groups::check(&mut desk).await;
    consumers::check(&mut desk).await;
    settings::check(&mut desk).await;
    desk.lines
}

/// Asks this crate, in time of its own: groups wait for seconds, which takes none.
async fn embedded(profile: Profile) -> Vec<Line> {
    tokio::time::pause();
    // As the clusters of `real-kafka` are set.
    let mut config = Config::new(1, profile).broker_setting("log.segment.delete.delay.ms", "1000");
    for (name, value) in GROUP_SETTINGS {
        config = config.broker_setting(name, value);
    }
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let lines = suite(Peer::Embedded(cluster), profile).await;
    tokio::time::resume();
    lines
}

async fn compare(profile: Profile, version: &str) {
    let ours = embedded(profile).await;
    let least = checks_min(profile).0;
    assert!(ours.len() >= least, "only {} checks of at least {least}", ours.len());
    if !cfg!(feature = "real-kafka") {
        return;
    }
    let kafka = real_kafka::Distribution::resolve(version).unwrap();
    let settings = GROUP_SETTINGS
        .iter()
        .fold(real_kafka::Config::brokers(1), |config, (name, value)| config.with(*name, *value));
    let real = real_kafka::Cluster::start(&kafka, &settings).unwrap();
    let theirs = suite(Peer::At(real.bootstrap()), profile).await;
    let unexplained = differences::unexplained(differences::OF_ANSWERS, profile, &theirs, &ours);
    assert!(unexplained.is_empty(), "{version} differs:\n{}", unexplained.join("\n"));
    println!("{} checks agree with Kafka {version}", ours.len());
}

/// The same for a cluster that wants to know who asks, and what they may.
async fn compare_secure(profile: Profile, version: &str) {
    let config = Config {
        sasl: Some(Sasl {
            session_lifetime: (profile > Profile::V1_1).then_some(secure::LOGIN_LIFETIME),
            ..Sasl::plain(&secure::USERS)
        }),
        super_users: Some(vec!["User:admin".to_owned()]),
        ..Config::new(1, profile)
    };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let mut desk = Desk::new(Peer::Embedded(cluster), profile).await;
    secure::check(&mut desk).await;
    let ours = desk.lines;
    let least = checks_min(profile).1;
    assert!(ours.len() >= least, "only {} checks of at least {least}", ours.len());
    if !cfg!(feature = "real-kafka") {
        return;
    }
    let kafka = real_kafka::Distribution::resolve(version).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let authorizer = match profile {
        Profile::V1_1 => "kafka.security.auth.SimpleAclAuthorizer",
        Profile::V2_8 => "kafka.security.authorizer.AclAuthorizer",
        Profile::V3_9 | Profile::V4_3 => "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    };
    let users: String =
        secure::USERS.iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
    let jaas = format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};");
    let settings = real_kafka::Config::brokers(1)
        .with("listeners", format!("{{default}},SASL_PLAINTEXT://127.0.0.1:{port}"))
        .with("advertised.listeners", format!("{{default}},SASL_PLAINTEXT://127.0.0.1:{port}"))
        .with(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        )
        .with("authorizer.class.name", authorizer)
        .with("super.users", "User:ANONYMOUS;User:admin")
        .with("sasl.enabled.mechanisms", "PLAIN")
        .with("connections.max.reauth.ms", secure::LOGIN_LIFETIME.as_millis().to_string())
        .with("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas);
    let _real = real_kafka::Cluster::start(&kafka, &settings).unwrap();
    let mut desk = Desk::new(Peer::At(format!("127.0.0.1:{port}")), profile).await;
    secure::check(&mut desk).await;
    let unexplained = differences::unexplained(differences::OF_LOGINS, profile, &desk.lines, &ours);
    assert!(unexplained.is_empty(), "{version} differs:\n{}", unexplained.join("\n"));
    println!("{} checks of logins and access agree with Kafka {version}", ours.len());
}

#[tokio::test]
async fn it_lets_in_as_1_1() {
    compare_secure(Profile::V1_1, "1.1.1").await;
}

#[tokio::test]
async fn it_lets_in_as_2_8() {
    compare_secure(Profile::V2_8, "2.8.2").await;
}

#[tokio::test]
async fn it_lets_in_as_3_9() {
    compare_secure(Profile::V3_9, "3.9.2").await;
}

#[tokio::test]
async fn it_lets_in_as_4_3() {
    compare_secure(Profile::V4_3, "4.3.1").await;
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

#[tokio::test(start_paused = true)]
async fn members_are_missed_by_the_clusters_clock() {
    let config = Config::new(1, Profile::V4_3).broker_setting("group.initial.rebalance.delay.ms", "0");
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let desk = Desk::new(Peer::Embedded(cluster.clone()), Profile::V4_3).await;
    let mut ann = people::Person::new(&desk, "ann", "g").await;
    ann.join().await;
    ann.sync(&[]).await;
    cluster.advance(std::time::Duration::from_secs(29));
    assert_eq!(ann.heartbeat().await, ErrorCode::NONE);
    cluster.advance(std::time::Duration::from_secs(31));
    assert_eq!(ann.heartbeat().await, ErrorCode::UNKNOWN_MEMBER_ID);
}
