//! The offsets topic, written and read by us and by Kafka's own distributed worker in turn, and under kills.

use crate::{
    desk::{Desk, PATIENCE},
    pair::{Pair, Side},
    restart::{End, ended_often_at},
};
use real_kafka::{Fill, Session, wait_until};
use std::fs;

const PARTITIONS: u32 = 3;

/// Lets a real distributed worker of the destination, the `start`-th, say what the topic holds for our partitions, and,
/// with `store`, write that offset.
fn probe(
    desk: &Desk,
    side: &Side,
    offsets: &str,
    start: u32,
    topic: &str,
    store: Option<i64>,
) -> Vec<String> {
    let found = desk.folder().join("found.txt");
    let _ = fs::remove_file(&found);
    let (found_text, partitions) = (found.display().to_string(), PARTITIONS.to_string());
    let offset = store.unwrap_or_default().to_string();
    let out = format!("{offsets}-probe-out");
    let mut connector = vec![
        ("name", "replicator-source"),
        ("connector.class", "realkafka.OffsetProbe"),
        ("tasks.max", "1"),
        ("probe.topic", topic),
        ("probe.partitions", &partitions),
        ("probe.found", &found_text),
    ];
    let mut session = side.session();
    if store.is_some() {
        connector.extend([("probe.out", out.as_str()), ("probe.offset", offset.as_str())]);
        session.create_topic(&side.bootstrap, &out, 1, 1, &[]).unwrap();
    }
    let group = format!("{offsets}-group-{start}");
    let mut connect = side
        .kafka
        .connect_distributed(desk.folder(), &side.bootstrap, (&group, offsets), &connector)
        .unwrap();
    wait_until("Connect to look into the offsets topic", PATIENCE, || {
        connect.process().check_alive()?;
        Ok(found.exists().then_some(()))
    })
    .unwrap();
    if store.is_some() {
        session.wait_for_records(&side.bootstrap, &out, u64::from(PARTITIONS), PATIENCE).unwrap();
    }
    connect.stop().unwrap();
    fs::read_to_string(&found).unwrap().lines().map(str::to_owned).collect()
}

fn with_connect(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let (topic, offsets) = ("with-distributed", "with-distributed-offsets");
    source_session.create_topic(&source.bootstrap, topic, PARTITIONS, 1, &[]).unwrap();
    source_session.fill(&source.bootstrap, topic, &Fill::plain(300, PARTITIONS)).unwrap();

    // Connect stores that offset 49 was the last one copied; we go on at 50.
    let name = format!("with-distributed-{destination_version}");
    let desk = Desk::new(&name, &source.bootstrap, &destination.bootstrap);
    desk.keep_progress_in(offsets);
    assert_eq!(probe(&desk, destination, offsets, 1, topic, Some(49)), ["0\tnone", "1\tnone", "2\tnone"]);
    let connector = desk.connector("replicator-source", topic, "offset.topic.commit=false");
    desk.catch_up(&connector);
    let values = |side: &Side, session: &mut Session| {
        let mut records = session.dump(&side.bootstrap, topic, false).unwrap();
        records.retain(|record| side.bootstrap == destination.bootstrap || record.offset >= 50);
        let values = records.into_iter().map(|record| (record.partition, record.value, record.timestamp));
        values.collect::<Vec<_>>()
    };
    let copied = values(destination, &mut destination_session);
    assert_eq!(copied.len(), 150);
    assert_eq!(copied, values(source, &mut source_session));

    // We stored that 99 was; Connect reads that, whatever else is in our values and beside them.
    let found = probe(&desk, destination, offsets, 2, topic, None);
    assert!(found.len() == 3 && found.iter().all(|line| line.contains("offset=99")), "{found:?}");
    // With nothing to do, nothing is done; with something, that.
    desk.catch_up(&connector);
    assert_eq!(values(destination, &mut destination_session), copied);
    source_session.fill(&source.bootstrap, topic, &Fill::plain(30, PARTITIONS).first(300)).unwrap();
    desk.catch_up(&connector);
    assert_eq!(values(destination, &mut destination_session), values(source, &mut source_session));
    assert!(!desk.offsets().exists());
}

fn killed_often(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let name = format!("killed-with-topic-{destination_version}");
    let desk = Desk::new(&name, &pair.source.bootstrap, &pair.destination.bootstrap);
    desk.keep_progress_in(&format!("{name}-offsets"));
    ended_often_at(&desk, &pair, &name, |n| if n % 4 == 3 { End::Stop } else { End::Kill });
    assert!(!desk.offsets().exists());
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn distributed_connect_4_3_1_goes_on_from_ours_and_we_from_its() {
    with_connect("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn distributed_connect_1_1_1_goes_on_from_ours_and_we_from_its() {
    with_connect("1.1.1", "1.1.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn killed_often_it_goes_on_from_the_topic_at_the_exact_record_on_4_3_1() {
    killed_often("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn killed_often_it_goes_on_from_the_topic_at_the_exact_record_on_1_1_1() {
    killed_often("1.1.1", "1.1.1");
}
