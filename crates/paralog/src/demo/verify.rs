//! Proves two partitions equal, or finds where they differ.
//!
//! Each side is read from its brokers' log, up to where consumers may read, and summed up in a [`Digest`];
//! nothing that the copy says of itself is asked. Offsets are not part of it, everything else of a record
//! is. Only where digests differ are the records compared with each other.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use embedded_kafka::{Cluster, LogRecord};
use record_batch::{DECOMPRESSED_BYTES_MAX, Entry, Record, records, split};

/// What one side of a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) records: u64,
    /// Of key, value, headers and timestamp of every record, in order (SipHash-1-3).
    pub(crate) checksum: u64,
}

/// The first record that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Its place in the order of the partition, from 0.
    record: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Missing,
    Unexpected,
    Key,
    Value,
    Headers,
    Timestamp,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { record, what } = self;
        match what {
            What::Missing => write!(f, "record {record} and those after it are missing at the destination"),
            What::Unexpected => write!(f, "record {record} of the destination is not at the source"),
            What::Key => write!(f, "record {record} has another key"),
            What::Value => write!(f, "record {record} has another value"),
            What::Headers => write!(f, "record {record} has other headers"),
            What::Timestamp => write!(f, "record {record} has another timestamp"),
        }
    }
}

/// Both sides of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) partition: i32,
    pub(crate) source: Digest,
    pub(crate) destination: Digest,
    /// `None` if and only if both are equal.
    pub(crate) difference: Option<Difference>,
}

/// Reads both sides of a partition and compares them: the source's up to `end`, the destination's whole, unless the
/// source has gone on since. `count` is told of the records read, of either side.
///
/// # Errors
/// If a log holds what cannot be read, or what its checksum does not fit, or its topic was deleted.
pub(crate) fn compare(
    source: (&Cluster, &str),
    destination: (&Cluster, &str),
    partition: i32,
    end: i64,
    count: impl Fn(u64),
) -> anyhow::Result<Compared> {
    // A log is a copy: one side at a time.
    let unreadable = |topic| move || format!("cannot read {topic}-{partition}");
    let source_digest =
        digest(&readable(source, partition, end)?, u64::MAX, &count).with_context(unreadable(source.1))?;
    // What came to the source after `end` may be at the destination, too: asked after that was read.
    let destination_log = readable(destination, partition, i64::MAX)?;
    let goes_on = high_watermark(source, partition)? > end;
    let records_max = if goes_on { source_digest.records } else { u64::MAX };
    let destination_digest =
        digest(&destination_log, records_max, &count).with_context(unreadable(destination.1))?;
    let difference = if source_digest == destination_digest {
        None
    } else {
        // Somebody's time is worth more than the memory now.
        let of_source = decoded(&readable(source, partition, end)?)?;
        let mut of_destination = decoded(&destination_log)?;
        if goes_on {
            of_destination.truncate(of_source.len());
        }
        first_difference(&of_source, &of_destination)
    };
    Ok(Compared { partition, source: source_digest, destination: destination_digest, difference })
}

fn gone(topic: &str) -> anyhow::Error {
    anyhow!("topic `{topic}` was deleted before it was compared")
}

fn high_watermark((cluster, topic): (&Cluster, &str), partition: i32) -> anyhow::Result<i64> {
    cluster.high_watermark(topic, partition).map_err(|_| gone(topic))
}

/// A log up to `end`, and to where a `read_uncommitted` consumer, which the copy is, may read.
fn readable(side: (&Cluster, &str), partition: i32, end: i64) -> anyhow::Result<Vec<Bytes>> {
    let end = high_watermark(side, partition)?.min(end);
    let mut log = side.0.log(side.1, partition).map_err(|_| gone(side.1))?;
    log.retain(|entry| match split(entry.clone()).next() {
        Some(Ok(entry)) => entry.base_offset().0 < end,
        // Kept, to be told of where it is read.
        Some(Err(_)) | None => true,
    });
    Ok(log)
}

/// Of the first `records_max` records.
fn digest(log: &[Bytes], records_max: u64, count: impl Fn(u64)) -> anyhow::Result<Digest> {
    let mut hasher = DefaultHasher::new();
    let mut all = 0;
    for entry in log {
        let mut records = 0;
        for_each(std::slice::from_ref(entry), |record| {
            if all + records < records_max {
                records += 1;
                sum(&mut hasher, record);
            }
        })?;
        all += records;
        count(records);
    }
    Ok(Digest { records: all, checksum: hasher.finish() })
}

/// Every length comes before its bytes, so that no two records give the same sequence.
fn sum(hasher: &mut DefaultHasher, record: &Record<'_>) {
    let mut field = |bytes: Option<&[u8]>| match bytes {
        None => hasher.write_u64(u64::MAX),
        Some(bytes) => {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    };
    field(record.key);
    field(record.value);
    for (name, value) in &record.headers {
        field(Some(name));
        field(*value);
    }
    hasher.write_usize(record.headers.len());
    hasher.write_i64(record.timestamp);
}

fn decoded(log: &[Bytes]) -> anyhow::Result<Vec<LogRecord>> {
    let mut found = Vec::new();
    for_each(log, |record| found.push(LogRecord::from(record.clone())))?;
    Ok(found)
}

/// Every data record of a log in order; control batches are not data.
fn for_each(log: &[Bytes], mut act: impl FnMut(&Record<'_>)) -> anyhow::Result<()> {
    for entry in log.iter().flat_map(|bytes| split(bytes.clone())) {
        let entry = entry?;
        if matches!(&entry, Entry::Batch(batch) if batch.header.is_control()) {
            continue;
        }
        entry.verify_crc()?;
        for record in &records(&entry, DECOMPRESSED_BYTES_MAX)? {
            act(&record?);
        }
    }
    Ok(())
}

fn first_difference(source: &[LogRecord], destination: &[LogRecord]) -> Option<Difference> {
    let both = source.iter().zip(destination);
    let differing = both.enumerate().find_map(|(record, (one, other))| {
        let what = if one.key != other.key {
            What::Key
        } else if one.value != other.value {
            What::Value
        } else if one.headers != other.headers {
            What::Headers
        } else if one.timestamp != other.timestamp {
            What::Timestamp
        } else {
            return None;
        };
        Some(Difference { record, what })
    });
    differing.or_else(|| match source.len().cmp(&destination.len()) {
        std::cmp::Ordering::Greater => Some(Difference { record: destination.len(), what: What::Missing }),
        std::cmp::Ordering::Less => Some(Difference { record: source.len(), what: What::Unexpected }),
        std::cmp::Ordering::Equal => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_kafka::{Config, Profile};
    use record_batch::{BatchBuilder, Codec};

    type Headers = &'static [(&'static str, Option<&'static [u8]>)];
    type Sample = (i64, Option<&'static [u8]>, Option<&'static [u8]>, Headers);

    const SAMPLES: [Sample; 4] = [
        (100, Some(b"k"), Some(b"v"), &[("a", Some(b"1")), ("a", Some(b"2"))]),
        (101, None, Some(b""), &[]),
        (102, Some(b""), None, &[("n", None)]),
        (103, Some(b"k"), Some(b"v"), &[]),
    ];

    /// A cluster that holds the samples in batches of so many.
    async fn cluster(samples: &[Sample], batch_records: usize, codec: Codec) -> Cluster {
        let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        for chunk in samples.chunks(batch_records) {
            let mut builder = BatchBuilder::new(codec);
            for (timestamp, key, value, headers) in chunk {
                builder.append(*timestamp, *key, *value, headers);
            }
            cluster.place("t", 0, builder.build()).unwrap();
        }
        cluster
    }

    /// As far as a log goes.
    const ALL: i64 = i64::MAX;

    async fn compared(samples: &[Sample]) -> Compared {
        let source = cluster(&SAMPLES, 2, Codec::None).await;
        let destination = cluster(samples, 3, Codec::Lz4).await;
        compare((&source, "t"), (&destination, "t"), 0, ALL, |_| ()).unwrap()
    }

    #[tokio::test]
    async fn what_came_to_the_source_since_is_not_asked_for_and_may_be_there() {
        let source = cluster(&SAMPLES, 2, Codec::None).await;
        for samples in [&SAMPLES[..2], &SAMPLES[..3], &SAMPLES] {
            let destination = cluster(samples, 2, Codec::None).await;
            let compared = compare((&source, "t"), (&destination, "t"), 0, 2, |_| ()).unwrap();
            assert_eq!((compared.difference, compared.destination.records), (None, 2));
        }
        let behind = cluster(&SAMPLES[..1], 1, Codec::None).await;
        let compared = compare((&source, "t"), (&behind, "t"), 0, 2, |_| ()).unwrap();
        assert!(
            compared.difference.unwrap().to_string().starts_with("record 1 and those after it are missing")
        );
    }

    #[tokio::test]
    async fn batches_and_codecs_do_not_matter() {
        let compared = compared(&SAMPLES).await;
        assert_eq!(compared.difference, None);
        assert_eq!(compared.source, compared.destination);
        assert_eq!(compared.source.records, 4);
    }

    #[tokio::test]
    async fn a_changed_record_is_found() {
        let [first, second, third, fourth] = SAMPLES;
        let cases: [(&[Sample], &str); 11] = [
            (&[first, (101, Some(b""), second.2, second.3), third, fourth], "record 1 has another key"),
            (&[first, second, (102, third.1, Some(b""), third.3), fourth], "record 2 has another value"),
            (&[(100, first.1, Some(b"w"), first.3), second, third, fourth], "record 0 has another value"),
            (
                &[first, second, (102, third.1, third.2, &[("n", Some(b""))]), fourth],
                "record 2 has other headers",
            ),
            (
                &[(100, first.1, first.2, &[("a", Some(b"2")), ("a", Some(b"1"))]), second, third, fourth],
                "record 0 has other headers",
            ),
            (&[first, second, third, (104, fourth.1, fourth.2, fourth.3)], "record 3 has another timestamp"),
            (&[second, first, third, fourth], "record 0 has another key"),
            (&[first, second, third], "record 3 and those after it are missing at the destination"),
            (&[first, third, fourth], "record 1 has another key"),
            (&[first, second, third, fourth, fourth], "record 4 of the destination is not at the source"),
            (&[], "record 0 and those after it are missing at the destination"),
        ];
        for (samples, expected) in cases {
            let compared = compared(samples).await;
            assert_eq!(compared.difference.map(|found| found.to_string()).as_deref(), Some(expected));
        }
    }

    #[tokio::test]
    async fn what_consumers_cannot_read_is_not_there() {
        let source = cluster(&SAMPLES, 2, Codec::None).await;
        let destination = Cluster::start(Config::new(2, Profile::V4_3).in_memory()).await.unwrap();
        destination.create_topic("t", 1, &[]);
        let follower = if destination.leader("t", 0) == Some(0) { 1 } else { 0 };
        destination.pause_follower("t", 0, follower);
        for batch in source.log("t", 0).unwrap() {
            destination.place("t", 0, batch).unwrap();
        }
        let both = || compare((&source, "t"), (&destination, "t"), 0, ALL, |_| ()).unwrap().difference;
        assert!(both().unwrap().to_string().starts_with("record 0 and those after it are missing"));
        destination.resume_follower("t", 0, follower);
        assert_eq!(both(), None);
    }

    #[tokio::test]
    async fn a_topic_that_was_deleted_is_told_as_that() {
        let (source, destination) =
            (cluster(&SAMPLES, 4, Codec::None).await, cluster(&[], 1, Codec::None).await);
        destination.delete_topic("t");
        let error = compare((&source, "t"), (&destination, "t"), 0, ALL, |_| ()).unwrap_err();
        assert_eq!(format!("{error:#}"), "topic `t` was deleted before it was compared");
    }

    #[tokio::test]
    async fn damage_is_not_read_over() {
        let source = cluster(&SAMPLES, 4, Codec::None).await;
        let mut batch = source.log("t", 0).unwrap().remove(0).to_vec();
        *batch.last_mut().unwrap() ^= 1;
        let destination = cluster(&[], 1, Codec::None).await;
        destination.append("t", 0, Bytes::from(batch)).unwrap();
        let error = compare((&source, "t"), (&destination, "t"), 0, ALL, |_| ()).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read t-0: "), "{error:#}");
    }
}
