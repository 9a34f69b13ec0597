//! Fills a topic of an embedded cluster with the records that `real-kafka` fills one with (`Fill.java`, "plain"), but for
//! their times.

use crate::{
    process::now_ms,
    shape::{Batch, PARTITIONS, Shape},
};
use anyhow::Context;
use embedded_kafka::Cluster;
use record_batch::{BatchBuilder, Codec};

/// What a record takes at most besides its value.
const RECORD_OVERHEAD_BYTES: u64 = 24;

/// Creates a topic with so many records, as many in each partition.
pub(super) fn fill(cluster: &Cluster, topic: &str, shape: &Shape, records: u64) -> anyhow::Result<()> {
    let codec = Codec::ALL.into_iter().find(|codec| codec.to_string() == shape.codec);
    let codec = codec.with_context(|| format!("there is no codec {}", shape.codec))?;
    cluster.create_topic(topic, i32::try_from(PARTITIONS).unwrap_or(i32::MAX), &[]);
    // Old records are copied more carefully: a broker may have forgotten who sent them.
    let from_ms = now_ms();
    for partition in 0..PARTITIONS {
        // Record n goes to partition n modulo their number.
        let mut numbers = (u64::from(partition)..records).step_by(PARTITIONS as usize).peekable();
        while numbers.peek().is_some() {
            let mut builder = BatchBuilder::new(codec);
            for n in numbers.by_ref().take(batch_records(shape)) {
                builder.append(from_ms, None, Some(&value(n, shape.record_bytes)), &[]);
            }
            cluster.place(topic, i32::try_from(partition).unwrap_or(i32::MAX), builder.build())?;
        }
    }
    Ok(())
}

/// Records of a batch that is as large as the shape says, before compression.
fn batch_records(shape: &Shape) -> usize {
    let bytes = match shape.batch {
        Batch::Full => 1_000_000,
        Batch::Bytes16Ki => 16 << 10,
        Batch::One => 0,
    };
    let records = bytes / (shape.record_bytes + RECORD_OVERHEAD_BYTES);
    usize::try_from(records).unwrap_or(usize::MAX).max(1)
}

/// A text of so many bytes that compresses about two to one.
fn value(n: u64, bytes: u64) -> Vec<u8> {
    let mut text = format!("value-{n}-").into_bytes();
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    while (text.len() as u64) < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(b'a' + (state >> 32 & 15) as u8);
    }
    text
}
