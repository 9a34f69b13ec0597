//! The worker's offset file, written and read by us and by Kafka's own stand-alone worker in turn.

use crate::{
    desk::{Desk, PATIENCE},
    pair::Pair,
};
use real_kafka::{Fill, wait_until};
use std::fs;

const PARTITIONS: u32 = 3;

/// Lets real Connect say what the offset file holds for our partitions, and, with `store`, write that offset.
fn probe(desk: &Desk, pair: &Pair, name: &str, topic: &str, store: Option<i64>) -> Vec<String> {
    let found = desk.folder().join("found.txt");
    let _ = fs::remove_file(&found);
    let (found_text, partitions) = (found.display().to_string(), PARTITIONS.to_string());
    let offset = store.unwrap_or_default().to_string();
    let mut connector = vec![
        ("name", name),
        ("connector.class", "realkafka.OffsetProbe"),
        ("tasks.max", "1"),
        ("probe.topic", topic),
        ("probe.partitions", &partitions),
        ("probe.found", &found_text),
    ];
    if store.is_some() {
        connector.extend([("probe.out", "probe-out"), ("probe.offset", offset.as_str())]);
    }
    let side = &pair.source;
    let mut session = side.session();
    let mut before = 0;
    if store.is_some() {
        if session.describe_topic(&side.bootstrap, "probe-out").unwrap().is_none() {
            session.create_topic(&side.bootstrap, "probe-out", 1, 1, &[]).unwrap();
        }
        before = session.ends(&side.bootstrap, "probe-out").unwrap()[&0].1;
    }
    let mut connect =
        side.kafka.connect_standalone(desk.folder(), &side.bootstrap, &desk.offsets(), &connector).unwrap();
    wait_until("Connect to look into the offset file", PATIENCE, || {
        connect.process().check_alive()?;
        Ok(found.exists().then_some(()))
    })
    .unwrap();
    if store.is_some() {
        let count = u64::try_from(before).unwrap() + u64::from(PARTITIONS);
        session.wait_for_records(&side.bootstrap, "probe-out", count, PATIENCE).unwrap();
    }
    connect.stop().unwrap();
    fs::read_to_string(&found).unwrap().lines().map(str::to_owned).collect()
}

fn with_connect(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "with-connect";
    source_session.create_topic(&source.bootstrap, topic, PARTITIONS, 1, &[]).unwrap();
    source_session.fill(&source.bootstrap, topic, &Fill::plain(300, PARTITIONS)).unwrap();

    // Connect stores that offset 49 was the last one copied; we go on at 50.
    let desk =
        Desk::new(&format!("with-connect-{source_version}"), &source.bootstrap, &destination.bootstrap);
    assert_eq!(probe(&desk, &pair, "replicator-source", topic, Some(49)), ["0\tnone", "1\tnone", "2\tnone"]);
    let connector = desk.connector("replicator-source", topic, "");
    desk.catch_up(&connector);
    let values = |side: &crate::pair::Side, session: &mut real_kafka::Session| {
        let mut records = session.dump(&side.bootstrap, topic, false).unwrap();
        records.retain(|record| side.bootstrap == destination.bootstrap || record.offset >= 50);
        records
            .into_iter()
            .map(|record| (record.partition, record.value, record.timestamp))
            .collect::<Vec<_>>()
    };
    let copied = values(destination, &mut destination_session);
    assert_eq!(copied.len(), 150);
    assert_eq!(copied, values(source, &mut source_session));

    // We stored that 99 was; Connect reads that, whatever else is in our values.
    for line in probe(&desk, &pair, "replicator-source", topic, None) {
        assert!(line.contains("offset=99"), "{line}");
    }
    // And what Connect wrote back in between is still read by us: nothing is copied again.
    desk.catch_up(&connector);
    assert_eq!(values(destination, &mut destination_session), copied);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn connect_4_3_1_reads_what_we_wrote_and_we_what_it_wrote() {
    with_connect("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn connect_1_1_1_reads_what_we_wrote_and_we_what_it_wrote() {
    with_connect("1.1.1", "3.9.2");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn what_other_connectors_keep_in_the_file_stays() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut session = source.session();
    for topic in ["lines", "others-stay"] {
        session.create_topic(&source.bootstrap, topic, 1, 1, &[]).unwrap();
    }
    session.fill(&source.bootstrap, "others-stay", &Fill::plain(10, 1)).unwrap();
    let desk = Desk::new("others-stay", &source.bootstrap, &destination.bootstrap);
    let input = desk.folder().join("input.txt");
    let path = input.display().to_string();
    let lines = [
        ("name", "local-file-source"),
        ("connector.class", "org.apache.kafka.connect.file.FileStreamSourceConnector"),
        ("tasks.max", "1"),
        ("file", &path),
        ("topic", "lines"),
    ];
    let mut copied = String::new();
    for part in ["one\ntwo\nthree\n", "four\nfive\n"] {
        copied += part;
        fs::write(&input, &copied).unwrap();
        let connect = source
            .kafka
            .connect_standalone(desk.folder(), &source.bootstrap, &desk.offsets(), &lines)
            .unwrap();
        let count = copied.lines().count() as u64;
        session.wait_for_records(&source.bootstrap, "lines", count, PATIENCE).unwrap();
        connect.stop().unwrap();
        desk.catch_up(&desk.connector("replicator-source", "others-stay", ""));
    }
    let records = session.dump(&source.bootstrap, "lines", false).unwrap();
    let read: String = records
        .iter()
        .map(|record| String::from_utf8(record.value.clone().unwrap()).unwrap() + "\n")
        .collect();
    assert_eq!(read, copied, "Connect went on where it was");
}
