//! What a batch can look like besides the plain case: gaps, append times, old formats, large records.

use crate::{
    desk::{Desk, PATIENCE},
    faithful::an_hour_ago,
    pair::{Pair, assert_same, count},
};
use real_kafka::{Fill, PartitionDigest, Session, SourceRecord, wait_until};

/// Waits until a topic was compacted to less than `below` records and stays as it is; gives its digest.
fn compacted(session: &mut Session, bootstrap: &str, topic: &str, below: u64) -> Vec<PartitionDigest> {
    let mut before = Vec::new();
    let mut unchanged = 0;
    wait_until("the topic to be compacted", PATIENCE, || {
        let now = session.digest(bootstrap, topic, false)?;
        unchanged = if now == before { unchanged + 1 } else { 0 };
        before = now;
        // The cleaner looks every 200 ms.
        Ok((count(&before) < below && unchanged >= 5).then(|| before.clone()))
    })
    .unwrap()
}

fn compacted_with_gaps(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "compacted";
    let settings =
        [("cleanup.policy", "compact"), ("segment.ms", "200"), ("min.cleanable.dirty.ratio", "0.01")];
    source_session.create_topic(&source.bootstrap, topic, 2, 1, &settings).unwrap();
    for part in 0..4 {
        let fill = Fill::varied(2_000, 2).first(part * 2_000).with("keys", "300").codec("gzip");
        let fill = fill.times_from(an_hour_ago()).with("batch.size", "8000");
        source_session.fill(&source.bootstrap, topic, &fill).unwrap();
    }
    let original = compacted(&mut source_session, &source.bootstrap, topic, 4_000);
    let gaps = original.iter().any(|one| one.last_offset - one.first_offset + 1 > one.records as i64);
    assert!(gaps, "{original:?}");

    let desk = Desk::new(&format!("compacted-{source_version}"), &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("compacted", topic, ""));
    assert_eq!(
        original,
        source_session.digest(&source.bootstrap, topic, false).unwrap(),
        "it was compacted on"
    );
    assert_same(&original, &destination_session.digest(&destination.bootstrap, topic, false).unwrap());
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn the_gaps_of_a_compacted_topic_are_closed_and_no_record_is_lost() {
    compacted_with_gaps("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn the_gaps_of_a_compacted_topic_of_1_1_1_are_closed_and_no_record_is_lost() {
    compacted_with_gaps("1.1.1", "3.9.2");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn append_times_of_the_source_are_what_a_reader_of_the_copy_sees() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "append-time";
    source_session
        .create_topic(&source.bootstrap, topic, 2, 1, &[("message.timestamp.type", "LogAppendTime")])
        .unwrap();
    for codec in ["none", "zstd"] {
        let fill = Fill::varied(1_000, 2).codec(codec).times_from(an_hour_ago());
        source_session.fill(&source.bootstrap, topic, &fill).unwrap();
    }
    let desk = Desk::new("append-time", &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("append-time", topic, ""));
    let original = source_session.digest(&source.bootstrap, topic, false).unwrap();
    assert_same(&original, &destination_session.digest(&destination.bootstrap, topic, false).unwrap());
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn old_message_formats_arrive_as_a_consumer_sees_them() {
    let pair = Pair::shared("1.1.1", "3.9.2");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let mut topics = Vec::new();
    for (magic, version) in [("v0", "0.9.0"), ("v1", "0.10.2")] {
        for codec in ["none", "gzip", "snappy", "lz4"] {
            let topic = format!("format-{magic}-{codec}");
            source_session
                .create_topic(&source.bootstrap, &topic, 2, 1, &[("message.format.version", version)])
                .unwrap();
            let fill = Fill::headerless(2_000, 2).codec(codec).times_from(an_hour_ago());
            source_session.fill(&source.bootstrap, &topic, &fill).unwrap();
            topics.push(topic);
        }
    }
    // A topic whose format was raised under way holds both.
    let topic = "format-both";
    source_session
        .create_topic(&source.bootstrap, topic, 1, 1, &[("message.format.version", "0.10.2")])
        .unwrap();
    let fill = |first| Fill::headerless(500, 1).first(first).codec("gzip").times_from(an_hour_ago());
    source_session.fill(&source.bootstrap, topic, &fill(0)).unwrap();
    source_session.alter_topic(&source.bootstrap, topic, &[("message.format.version", Some("1.1"))]).unwrap();
    source_session.fill(&source.bootstrap, topic, &fill(500)).unwrap();
    topics.push(topic.to_owned());

    let desk = Desk::new("formats", &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("formats", "format-.*", ""));
    for topic in topics {
        let original = source_session.digest(&source.bootstrap, &topic, false).unwrap();
        assert!(count(&original) >= 1_000, "{topic}: {original:?}");
        println!("{topic}");
        assert_same(&original, &destination_session.digest(&destination.bootstrap, &topic, false).unwrap());
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn records_of_900_kilobytes_arrive_unchanged() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "large";
    source_session.create_topic(&source.bootstrap, topic, 2, 1, &[]).unwrap();
    // No codec makes these smaller.
    let mut state = 1_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..bytes).map(step).collect()
    };
    for codec in ["none", "lz4"] {
        let records: Vec<SourceRecord> = (0..6)
            .map(|n| SourceRecord {
                partition: n % 2,
                timestamp: Some(an_hour_ago()),
                key: Some(noise(10)),
                value: Some(noise(900_000)),
                headers: vec![("h".to_owned(), None)],
            })
            .collect();
        source_session.send(&source.bootstrap, topic, &[("compression.type", codec)], &records).unwrap();
    }
    let desk = Desk::new("large", &source.bootstrap, &destination.bootstrap);
    desk.catch_up(&desk.connector("large", topic, ""));
    let original = source_session.digest(&source.bootstrap, topic, false).unwrap();
    assert_eq!(count(&original), 12);
    assert_same(&original, &destination_session.digest(&destination.bootstrap, topic, false).unwrap());
}
