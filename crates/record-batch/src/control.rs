//! Control batches, and which batches of a reply belong to aborted transactions.
//!
//! A transaction ends with a marker: a control batch of one record on every partition it wrote to. The
//! broker lists with each reply which producers' transactions were aborted and from where on; the
//! marker ends that. A batch belongs to one transaction as a whole, so no record is looked at.
//!
//! Source: KIP-98; protocol-facts §2.3.

use std::collections::HashSet;

use bytes::Bytes;
use model::{Offset, ProducerId};

use crate::records::batch_records;
use crate::{Batch, BatchBuilder, BatchError, Codec, ProducerStamp};

/// Control batches hold one record of 16 bytes; raft's own are larger, but not by much.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// Something of the cluster's own (types 2 and above: raft).
    Other(i16),
}

/// The marker in `batch`; `None` if it is not a control batch, or one that compaction has emptied.
///
/// # Errors
/// Those of [`records`](crate::records), and [`BatchError::Record`] for a key that is none of a marker.
pub fn marker(batch: &Batch) -> Result<Option<Marker>, BatchError> {
    if !batch.header.is_control() {
        return Ok(None);
    }
    let records = batch_records(batch, CONTROL_BYTES_MAX)?;
    let Some(record) = records.iter().next().transpose()? else { return Ok(None) };
    // Key: version i16, type i16; later versions may append fields.
    match record.key {
        Some([_, _, t0, t1, ..]) => Ok(Some(match i16::from_be_bytes([*t0, *t1]) {
            0 => Marker::Abort,
            1 => Marker::Commit,
            other => Marker::Other(other),
        })),
        _ => Err(BatchError::Record {
            base_offset: batch.header.base_offset,
            index: 0,
            problem: "has no marker's key",
        }),
    }
}

/// A marker as a broker writes it: a control batch of 78 bytes, without a leader epoch.
pub fn control_batch(
    base_offset: Offset,
    producer_id: ProducerId,
    producer_epoch: i16,
    commit: bool,
    timestamp: i64,
) -> Bytes {
    let key = [0, 0, 0, u8::from(commit)];
    // Version i16, coordinator epoch i32.
    let value = [0; 6];
    let mut batch = BatchBuilder::new(Codec::None)
        .base_offset(base_offset)
        .stamp(ProducerStamp { producer_id, producer_epoch, base_sequence: -1 })
        .transactional()
        .control();
    batch.append(timestamp, Some(&key), Some(&value), &[]);
    batch.build()
}

/// Which batches of one fetch reply are aborted data.
///
/// Made anew for every reply: its list is complete for it, transactions that began before included.
#[derive(Clone, Debug, Default)]
pub struct AbortedSet {
    /// What is still ahead, the latest first.
    ahead: Vec<(Offset, ProducerId)>,
    /// Producers inside an aborted transaction.
    aborting: HashSet<i64>,
}

impl AbortedSet {
    /// From the reply's list of producer and first offset, in any order (Redpanda does not sort it).
    pub fn new(aborted: Vec<(ProducerId, Offset)>) -> AbortedSet {
        let mut ahead: Vec<_> = aborted.into_iter().map(|(producer, first)| (first, producer)).collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        AbortedSet { ahead, aborting: HashSet::new() }
    }

    /// Says whether `batch` is aborted data. To be called for each batch of the reply in order, also
    /// for those that are skipped for another reason.
    pub fn observe(&mut self, batch: &Batch) -> bool {
        let header = &batch.header;
        let ProducerId(producer) = header.producer_id;
        if producer < 0 {
            return false;
        }
        while let Some((_, ProducerId(began))) =
            self.ahead.pop_if(|(first_offset, _)| *first_offset <= header.last_offset())
        {
            self.aborting.insert(began);
        }
        if header.is_control() {
            // A marker that cannot be read ends nothing; the batch itself is skipped anyway.
            if !self.aborting.is_empty() && matches!(marker(batch), Ok(Some(Marker::Abort))) {
                self.aborting.remove(&producer);
            }
            return false;
        }
        header.is_transactional() && self.aborting.contains(&producer)
    }
}
