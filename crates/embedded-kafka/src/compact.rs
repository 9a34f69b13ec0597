//! The log cleaner: keeps the last record of each key.
//!
//! As Kafka's: a batch keeps its first and last offset, so it has holes; one that is emptied stays while it
//! is the last of a producer that is remembered, or the last of the log; records without key and aborted
//! ones go. A tombstone gets a delete horizon when it is first met (KIP-534, 3.1) and goes when that has
//! passed; before 3.1 it goes once it is older than `delete.retention.ms`. Old formats are left alone.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use record_batch::{
    Batch, BatchBuilder, BatchError, DECOMPRESSED_BYTES_MAX, Entry, HEADER_BYTES, Header, ProducerStamp,
    Record,
};

use crate::log::{Log, StoredEntry, split_head};
use crate::producers::Producers;

/// What the cleaner goes by.
pub(crate) struct Cleaning<'a> {
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    /// The version marks tombstones with a horizon.
    pub(crate) sets_horizons: bool,
    /// Offsets from here on are left alone: they are not decided yet.
    pub(crate) upto: i64,
    pub(crate) producers: &'a Producers,
    /// Offsets of batches of aborted transactions.
    pub(crate) aborted: &'a HashSet<i64>,
}

/// The entries that cleaning the log leaves.
///
/// # Errors
/// [`BatchError`] if a batch cannot be read.
pub(crate) fn compact(log: &Log, cleaning: &Cleaning<'_>) -> Result<Vec<StoredEntry>, BatchError> {
    let mut last_of_key: HashMap<Vec<u8>, i64> = HashMap::new();
    for entry in log.entries() {
        let Some(batch) = cleanable(entry, cleaning) else { continue };
        if cleaning.aborted.contains(&entry.base_offset) {
            continue;
        }
        for record in &record_batch::records(&Entry::Batch(batch), DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            if let Some(key) = record.key {
                last_of_key.insert(key.to_vec(), record.offset.0);
            }
        }
    }
    let last_base = log.entries().next_back().map(|entry| entry.base_offset);
    let mut kept = Vec::new();
    for entry in log.entries() {
        let Some(batch) = cleanable(entry, cleaning) else {
            kept.push(entry.clone());
            continue;
        };
        let must_stay = last_base == Some(entry.base_offset) || is_last_of_producer(cleaning, &batch.header);
        kept.extend(clean(entry, batch, cleaning, &last_of_key, must_stay)?);
    }
    Ok(kept)
}

/// The entry as a batch, if it is one that the cleaner works on.
fn cleanable(entry: &StoredEntry, cleaning: &Cleaning<'_>) -> Option<Batch> {
    let header = entry.header.filter(|header| !header.is_control())?;
    (entry.last_offset < cleaning.upto).then(|| Batch { header, bytes: entry.bytes() })
}

fn is_last_of_producer(cleaning: &Cleaning<'_>, header: &Header) -> bool {
    let producer = cleaning.producers.get(header.producer_id.0);
    producer
        .and_then(|producer| producer.batches.back())
        .is_some_and(|last| last.last_offset == header.last_offset().0)
}

/// What is left of one batch.
fn clean(
    entry: &StoredEntry,
    batch: Batch,
    cleaning: &Cleaning<'_>,
    last_of_key: &HashMap<Vec<u8>, i64>,
    must_stay: bool,
) -> Result<Option<StoredEntry>, BatchError> {
    let header = batch.header;
    let codec = header.codec()?;
    let is_aborted = cleaning.aborted.contains(&entry.base_offset);
    let horizon = header.has_delete_horizon().then_some(header.base_timestamp);
    let records = record_batch::records(&Entry::Batch(batch), DECOMPRESSED_BYTES_MAX)?;
    let records: Vec<Record<'_>> = records.iter().collect::<Result<_, _>>()?;
    let is_kept = |record: &&Record<'_>| {
        let last = record.key.and_then(|key| last_of_key.get(key));
        let expires_at = match horizon {
            Some(horizon) => horizon,
            None if cleaning.sets_horizons => i64::MAX,
            None => record.timestamp.saturating_add(cleaning.delete_retention_ms),
        };
        let is_gone = record.value.is_none() && cleaning.now_ms >= expires_at;
        !is_aborted && last == Some(&record.offset.0) && !is_gone
    };
    let retained: Vec<&Record<'_>> = records.iter().filter(is_kept).collect();
    let new_horizon =
        cleaning.sets_horizons && horizon.is_none() && retained.iter().any(|record| record.value.is_none());
    if retained.len() == records.len() && !new_horizon {
        return Ok((must_stay || !records.is_empty()).then(|| entry.clone()));
    }
    if retained.is_empty() {
        return Ok(must_stay.then(|| emptied(&header)));
    }
    let mut builder = BatchBuilder::new(codec)
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .last_offset_delta(header.last_offset_delta)
        .stamp(ProducerStamp {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    if header.is_transactional() {
        builder = builder.transactional();
    }
    if header.is_log_append_time() {
        builder = builder.log_append_time(header.max_timestamp);
    }
    let new_horizon = new_horizon.then(|| cleaning.now_ms.saturating_add(cleaning.delete_retention_ms));
    if let Some(horizon) = horizon.or(new_horizon) {
        builder = builder.delete_horizon(horizon);
    }
    for record in retained {
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, *value)))
            .collect();
        let delta = i32::try_from(record.offset.0 - header.base_offset.0).unwrap_or(i32::MAX);
        builder.append_at(delta, record.timestamp, record.key, record.value, &headers);
    }
    let bytes = builder.build();
    let (head, body) = split_head(&bytes);
    Ok(Some(StoredEntry::batch(Header::read(&bytes)?, head, body)))
}

/// Header only: what remains for the sake of the producer's state.
fn emptied(header: &Header) -> StoredEntry {
    const CODEC_MASK: i16 = 0x07;
    const DELETE_HORIZON: i16 = 1 << 6;
    let mut header = *header;
    header.attributes &= !(CODEC_MASK | DELETE_HORIZON);
    header.batch_length = i32::try_from(HEADER_BYTES - 12).expect("a small constant");
    header.base_timestamp = -1;
    header.record_count = 0;
    header.crc = record_batch::crc32c(&header.write()[21..]);
    StoredEntry::batch(header, Bytes::copy_from_slice(&header.write()), Bytes::new())
}
