//! A million records in each codec, none of them changed, and their batches passed on as they are.

use crate::{
    desk::Desk,
    pair::{Pair, Side, assert_same, count},
};
use bytes::Bytes;
use real_kafka::Fill;
use record_batch::{Batch, Codec, Entry};
use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    time::{SystemTime, UNIX_EPOCH},
};

const PARTITIONS: u32 = 8;

/// All data batches of a partition as stored: codec, records, and a hash of the payload's bytes.
fn stored_batches(side: &Side, topic: &str, partition: u32) -> Vec<(Codec, i32, u64)> {
    let log = side.cluster().stored_log(0, topic, partition).unwrap();
    record_batch::split(Bytes::from(log))
        .filter_map(|entry| match entry.unwrap() {
            Entry::Batch(batch) if !batch.header.is_control() => Some(summary(&batch)),
            Entry::Batch(_) => None,
            Entry::Legacy(_) => panic!("{topic}-{partition} holds an old message set"),
        })
        .collect()
}

fn summary(batch: &Batch) -> (Codec, i32, u64) {
    batch.verify_crc().unwrap();
    let mut hasher = DefaultHasher::new();
    batch.payload().hash(&mut hasher);
    (batch.header.codec().unwrap(), batch.header.record_count, hasher.finish())
}

/// An hour ago: no retention deletes it, no broker refuses it as of the future.
pub(crate) fn an_hour_ago() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    i64::try_from(now).unwrap() - 3_600_000
}

fn million(source_version: &str, destination_version: &str, records: u64, codecs: &[&str]) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let mut originals = Vec::new();
    for codec in codecs {
        let topic = format!("million-{codec}");
        source_session.create_topic(&source.bootstrap, &topic, PARTITIONS, 1, &[]).unwrap();
        let fill = Fill::varied(records, PARTITIONS)
            .codec(codec)
            .times_from(an_hour_ago())
            .with("batch.size", "65536");
        source_session.fill(&source.bootstrap, &topic, &fill).unwrap();
        originals.push((topic.clone(), source_session.digest(&source.bootstrap, &topic, false).unwrap()));
    }

    let desk = Desk::new(&format!("million-{source_version}"), &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("million", "million-.*", ""));

    for (topic, original) in &originals {
        assert_eq!(count(original), records);
        assert_same(original, &destination_session.digest(&destination.bootstrap, topic, false).unwrap());
        for partition in 0..PARTITIONS {
            let wanted = stored_batches(source, topic, partition);
            assert!(
                wanted.iter().all(|(codec, _, _)| topic.ends_with(&codec.to_string())),
                "{topic}-{partition}"
            );
            assert_eq!(wanted, stored_batches(destination, topic, partition), "{topic}-{partition}");
        }
        // What is done for good need not take disk from the tests that follow.
        source_session.delete_topic(&source.bootstrap, topic).unwrap();
        destination_session.delete_topic(&destination.bootstrap, topic).unwrap();
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_million_records_in_each_codec_arrive_unchanged_in_the_same_batches() {
    million("4.3.1", "4.3.1", 1_000_000, &["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn records_of_2_8_2_arrive_unchanged_in_the_same_batches() {
    million("2.8.2", "4.3.1", 50_000, &["none", "gzip", "snappy", "lz4", "zstd"]);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn records_of_1_1_1_arrive_unchanged_in_the_same_batches() {
    million("1.1.1", "3.9.2", 50_000, &["none", "gzip", "snappy", "lz4"]);
}
