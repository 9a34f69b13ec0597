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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, records};

    /// What a reply holds, one batch a word: `a` data of producer 1 inside a transaction, `b` of producer
    /// 2, `n` data of producer 1 outside; `A+`/`A-` commit and abort of producer 1, `B+`/`B-` of 2.
    fn reply(words: &str) -> Vec<Batch> {
        let one = |(offset, word): (usize, &str)| {
            let offset = Offset(offset as i64 * 10);
            let id = if word.starts_with(['b', 'B']) { ProducerId(2) } else { ProducerId(1) };
            if let Some(sign) = word.strip_prefix(['A', 'B']) {
                return Batch::read(control_batch(offset, id, 0, sign == "+", 0)).unwrap();
            }
            let stamp = ProducerStamp { producer_id: id, producer_epoch: 0, base_sequence: 0 };
            let mut builder =
                BatchBuilder::new(Codec::None).base_offset(offset).stamp(stamp).last_offset_delta(9);
            if word != "n" {
                builder = builder.transactional();
            }
            builder.append(0, None, None, &[]);
            Batch::read(builder.build()).unwrap()
        };
        words.split(' ').enumerate().map(one).collect()
    }

    /// Marks with `x` the batches that are aborted data.
    fn check(words: &str, aborted: &[(i64, i64)], expected: &str) {
        let aborted: Vec<_> = aborted.iter().map(|(id, first)| (ProducerId(*id), Offset(*first))).collect();
        for aborted in [aborted.clone(), aborted.into_iter().rev().collect()] {
            let mut set = AbortedSet::new(aborted);
            let found: String =
                reply(words).iter().map(|batch| if set.observe(batch) { 'x' } else { '.' }).collect();
            assert_eq!(found, expected, "{words}");
        }
    }

    #[test]
    fn only_transactional_data_up_to_the_abort_marker_is_aborted() {
        check("a a A-", &[], "...");
        check("a a A- a A+", &[(1, 0)], "xx...");
        check("a b A- b B+", &[(1, 0)], "x....");
        check("n a A+ a A-", &[(1, 30)], "...x.");
        check("a n a A- n a", &[(1, 0)], "x.x...");
        check("a b B- b A- b B-", &[(1, 0), (2, 10), (2, 30)], "xx.x.x.");
    }

    #[test]
    fn a_transaction_that_began_before_the_reply_counts() {
        check("a A- a A+", &[(1, -500)], "x...");
    }

    #[test]
    fn a_first_offset_inside_a_batch_makes_the_batch_aborted() {
        check("a a A-", &[(1, 9)], "xx.");
        check("a a A-", &[(1, 10)], ".x.");
    }

    #[test]
    fn a_commit_marker_ends_nothing() {
        check("a A+ a A-", &[(1, 0)], "x.x.");
    }

    #[test]
    fn a_marker_is_the_78_bytes_that_brokers_write() {
        let bytes = control_batch(Offset(3), ProducerId(9), 4, true, 77);
        assert_eq!(bytes.len(), 78);
        let batch = Batch::read(bytes).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(marker(&batch).unwrap(), Some(Marker::Commit));
        assert!(batch.header.is_control() && batch.header.is_transactional());
        let records = records(&crate::Entry::Batch(batch), 100).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!((record.key, record.value), (Some(&[0, 0, 0, 1][..]), Some(&[0; 6][..])));
    }

    #[test]
    fn data_and_emptied_control_batches_hold_no_marker() {
        let data = &reply("a")[0];
        assert_eq!(marker(data).unwrap(), None);
        let empty = BatchBuilder::new(Codec::None).transactional().control().build();
        assert_eq!(marker(&Batch::read(empty).unwrap()).unwrap(), None);
    }

    #[test]
    fn other_markers_are_told_apart_and_short_keys_refused() {
        let control = |key: &[u8]| {
            let mut builder = BatchBuilder::new(Codec::None).control();
            builder.append(0, Some(key), None, &[]);
            Batch::read(builder.build()).unwrap()
        };
        assert_eq!(marker(&control(&[0, 0, 0, 2])).unwrap(), Some(Marker::Other(2)));
        assert_eq!(marker(&control(&[0, 1, 0, 0, 9])).unwrap(), Some(Marker::Abort));
        assert!(marker(&control(&[0, 0, 0])).is_err());
    }

    #[test]
    fn a_control_batch_that_cannot_be_read_ends_no_transaction_and_is_no_data() {
        let mut words = reply("a A- a");
        words[1].header = Header { record_count: 3, ..words[1].header };
        words[1].bytes = words[1].bytes.slice(..70);
        let mut set = AbortedSet::new(vec![(ProducerId(1), Offset(0))]);
        let found: Vec<bool> = words.iter().map(|batch| set.observe(batch)).collect();
        assert_eq!(found, [true, false, true]);
    }
}
