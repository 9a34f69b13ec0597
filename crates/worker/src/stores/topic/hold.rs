//! How one process at a time holds a flow's progress, and in which order its batches go. No I/O.
//!
//! Brokers take of one producer id, in its newest epoch, only the next sequence. So whoever claims the id that the
//! flow's progress was written under, in the next epoch and in every partition, shuts out all that was sent before,
//! wherever it still is; and a batch whose outcome is unknown, sent again as it was, is taken once.

use std::collections::BTreeMap;

use model::{Offset, ProducerId};
use offsets::connect_file::Entry;
use offsets::writers::{self, Writer, Writers};
use record_batch::{Batch, BatchBuilder, Codec, HEADER_BYTES, ProducerStamp, partition_of};

/// A batch of the topic holds no more, but for a single record that is larger: less than any broker's limit.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 10;

/// Nothing is written in it but the claim: who is shut out needs an epoch to come after its own.
pub(super) const EPOCH_LAST: i16 = i16::MAX;

/// What a process has claimed, or is about to: the epoch of each producer id.
pub(super) type Claims = BTreeMap<i64, i16>;

/// Whether another process has claimed the flow since this one, `process`, did.
pub(super) fn is_taken(writers: &Writers, claimed: &Claims, process: &str) -> bool {
    let ours = |(id, writer): (&i64, &Writer)| {
        stays_behind(*id, writer, claimed)
            || claimed.get(id).is_some_and(|epoch| {
                writer.producer_epoch < *epoch
                    || (writer.producer_epoch == *epoch && writer.process == process)
            })
    };
    !writers.iter().all(ours)
}

/// An id whose epochs are used up, by others: nobody writes under it.
fn stays_behind(id: i64, writer: &Writer, claims: &Claims) -> bool {
    writer.producer_epoch == EPOCH_LAST && !claims.contains_key(&id)
}

/// The claims that take over from `writers`, whom the topic names, and from what this process has `claimed` so far.
/// Those in [`EPOCH_LAST`] only shut others out; where there is none else, a new producer id is needed.
pub(super) fn claims(writers: &Writers, claimed: &Claims) -> Claims {
    let mut newest: Claims = writers.iter().map(|(id, writer)| (*id, writer.producer_epoch)).collect();
    for (id, epoch) in claimed {
        let known = newest.entry(*id).or_insert(*epoch);
        *known = (*known).max(*epoch);
    }
    newest.into_iter().filter_map(|(id, epoch)| Some((id, epoch.checked_add(1)?))).collect()
}

/// Whether the topic, read after all of `claims` were acknowledged, names nobody else.
pub(super) fn holds(writers: &Writers, claims: &Claims, process: &str) -> bool {
    writers.iter().all(|(id, writer)| {
        stays_behind(*id, writer, claims)
            || claims.get(id) == Some(&writer.producer_epoch) && writer.process == process
    }) && claims.keys().all(|id| writers.contains_key(id))
}

/// What goes to one partition under one producer id, a batch at a time.
#[derive(Debug)]
pub(super) struct Lane {
    stamp: ProducerStamp,
    /// The log reaches there at least.
    pub(super) end: Offset,
    /// Sent, or about to be, and not acknowledged: it goes again as it is until it is.
    pub(super) unsettled: Option<Sent>,
    /// A batch has no more: fewer after a batch was too large.
    records_max: usize,
}

/// A batch, as it goes and goes again.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) batch: Batch,
    pub(super) records: Vec<Entry>,
    /// How often it was put on its way.
    pub(super) tries: u32,
}

impl Lane {
    fn new(producer_id: ProducerId, producer_epoch: i16) -> Lane {
        let stamp = ProducerStamp { producer_id, producer_epoch, base_sequence: 0 };
        Lane { stamp, end: Offset(0), unsettled: None, records_max: usize::MAX }
    }

    /// Takes as many of `records` as go into a batch, if nothing is unsettled: they are what goes next.
    pub(super) fn fill(&mut self, records: &[&Entry], now_ms: i64) {
        if self.unsettled.is_some() || records.is_empty() {
            return;
        }
        let mut builder = BatchBuilder::new(Codec::None).stamp(self.stamp);
        let mut bytes = HEADER_BYTES;
        let mut taken = Vec::new();
        for record in records {
            let length = |field: &Option<std::sync::Arc<[u8]>>| field.as_ref().map_or(0, |field| field.len());
            bytes += length(&record.key) + length(&record.value) + RECORD_BYTES_MAX;
            if !taken.is_empty() && (bytes > BATCH_BYTES_MAX || taken.len() >= self.records_max) {
                break;
            }
            builder.append(now_ms, record.key.as_deref(), record.value.as_deref(), &[]);
            taken.push((*record).clone());
        }
        let batch = Batch::read(builder.build()).expect("what was just built can be read");
        self.unsettled = Some(Sent { batch, records: taken, tries: 0 });
    }

    /// What was unsettled is in the log, from `base` on where that is said.
    ///
    /// # Errors
    /// Where the log is shorter than it was: records were lost, or the topic is another one.
    pub(super) fn appended(&mut self, base: Option<Offset>) -> Result<Vec<(Entry, Offset)>, Offset> {
        let Some(sent) = self.unsettled.take() else { return Ok(Vec::new()) };
        let base = base.unwrap_or(self.end);
        if base < self.end {
            return Err(base);
        }
        let count = i32::try_from(sent.records.len()).unwrap_or(i32::MAX);
        self.stamp.base_sequence = self.stamp.base_sequence.wrapping_add(count) & i32::MAX;
        self.end = Offset(base.0.saturating_add(i64::from(count)));
        Ok((base.0..).map(Offset).zip(sent.records).map(|(at, record)| (record, at)).collect())
    }

    /// What was unsettled was refused and will not be in the log. Only where it never was on its way before.
    pub(super) fn refused(&mut self) {
        self.unsettled = self.unsettled.take().filter(|sent| sent.tries > 1);
    }

    /// What was unsettled is too large for the topic: half of it goes next. False where it is one record, or where an
    /// earlier try may still arrive.
    pub(super) fn too_large(&mut self) -> bool {
        let records = self.unsettled.as_ref().map_or(0, |sent| sent.records.len());
        self.refused();
        self.records_max = (records / 2).max(1);
        records > 1 && self.unsettled.is_none()
    }
}

/// One claim on its way: a record to every partition.
pub(super) fn claim_lanes(
    flow: &str,
    (id, epoch): (i64, i16),
    process: &str,
    partitions: i32,
    now_ms: i64,
) -> Vec<Lane> {
    let writer = Writer { producer_epoch: epoch, process: process.to_owned() };
    let claim = writers::claim(flow, ProducerId(id), &writer);
    let home = partition_of(claim.key.as_deref().unwrap_or_default(), partitions);
    let fence = writers::fence(flow);
    let lane = |partition| {
        let mut lane = Lane::new(ProducerId(id), epoch);
        lane.fill(&[if partition == home { &claim } else { &fence }], now_ms);
        lane
    };
    (0..partitions).map(lane).collect()
}

/// Attributes, times, offsets and lengths of a record, at most.
const RECORD_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use record_batch::{Entry as LogEntry, records};
    use std::sync::Arc;

    fn writers(named: &[(i64, i16, &str)]) -> Writers {
        let writer = |(id, producer_epoch, process): &(i64, i16, &str)| {
            (*id, Writer { producer_epoch: *producer_epoch, process: (*process).to_owned() })
        };
        named.iter().map(writer).collect()
    }

    fn entry(key: &str, bytes: usize) -> Entry {
        Entry { key: Some(Arc::from(key.as_bytes())), value: Some(Arc::from(vec![b'x'; bytes])) }
    }

    #[test]
    fn a_start_claims_every_id_in_the_next_epoch() {
        let nothing = Claims::new();
        assert_eq!(claims(&writers(&[]), &nothing), nothing);
        let found = writers(&[(7, 3, "x"), (9, 0, "y"), (11, i16::MAX, "z")]);
        assert_eq!(claims(&found, &nothing), [(7, 4), (9, 1)].into());
        // A claim of its own that nobody has seen yet.
        assert_eq!(claims(&found, &[(7, 5), (8, 0)].into()), [(7, 6), (8, 1), (9, 1)].into());
    }

    #[test]
    fn who_held_it_takes_it_again_unless_another_has() {
        let claimed: Claims = [(7, 4)].into();
        let check = |named: &[(i64, i16, &str)], expected| {
            assert_eq!(is_taken(&writers(named), &claimed, "a"), expected, "{named:?}");
        };
        check(&[(7, 4, "a")], false);
        // The topic was deleted, or lost its end.
        check(&[], false);
        check(&[(7, 3, "x")], false);
        check(&[(7, 4, "b")], true);
        check(&[(7, 5, "b")], true);
        check(&[(7, 4, "a"), (9, 0, "b")], true);
        // Used up before; and used up by who has taken over.
        check(&[(7, 4, "a"), (9, i16::MAX, "x")], false);
        check(&[(7, i16::MAX, "b")], true);
    }

    #[test]
    fn it_is_held_once_nobody_else_is_named() {
        let claims: Claims = [(7, 4), (9, 1)].into();
        let check = |named: &[(i64, i16, &str)], expected| {
            assert_eq!(holds(&writers(named), &claims, "a"), expected, "{named:?}");
        };
        check(&[(7, 4, "a"), (9, 1, "a")], true);
        check(&[(7, 4, "a"), (9, 1, "a"), (11, i16::MAX, "x")], true);
        // Both claimed the same epoch, and the other's came first.
        check(&[(7, 4, "b"), (9, 1, "a")], false);
        check(&[(7, 5, "b"), (9, 1, "a")], false);
        check(&[(7, 4, "a"), (9, 1, "a"), (10, 0, "b")], false);
        check(&[(7, 4, "a")], false);
    }

    #[test]
    fn a_batch_goes_again_as_it_was_until_it_is_acknowledged() {
        let mut lane = Lane::new(ProducerId(7), 4);
        let (old, new) = (entry("k", 1), entry("k", 2));
        lane.fill(&[&old], 1);
        let first = lane.unsettled.clone().unwrap();
        lane.fill(&[&new], 2);
        assert_eq!(lane.unsettled.as_ref().unwrap().batch, first.batch);
        assert_eq!(lane.appended(Some(Offset(5))), Ok(vec![(old, Offset(5))]));
        lane.fill(&[&new], 2);
        let header = lane.unsettled.as_ref().unwrap().batch.header;
        assert_eq!((header.base_sequence, header.producer_epoch, lane.end), (1, 4, Offset(6)));
        // A log that ends earlier than it did is another one.
        assert_eq!(lane.appended(Some(Offset(5))), Err(Offset(5)));
    }

    #[test]
    fn what_was_refused_is_dropped_unless_an_earlier_try_may_still_arrive() {
        let mut lane = Lane::new(ProducerId(7), 4);
        for (tries, stays) in [(1, false), (2, true)] {
            lane.fill(&[&entry("k", 1)], 1);
            lane.unsettled.as_mut().unwrap().tries = tries;
            lane.refused();
            assert_eq!(lane.unsettled.is_some(), stays);
        }
    }

    #[test]
    fn a_batch_that_is_too_large_goes_in_halves() {
        let mut lane = Lane::new(ProducerId(7), 4);
        let records: Vec<Entry> = (0..5).map(|n| entry(&format!("{n}"), 10)).collect();
        for (sent, goes_on) in [(5, true), (2, true), (1, false)] {
            lane.fill(&records.iter().collect::<Vec<_>>(), 1);
            assert_eq!(lane.unsettled.as_ref().unwrap().records.len(), sent);
            assert_eq!((lane.too_large(), lane.unsettled.is_none()), (goes_on, true));
        }
    }

    #[test]
    fn a_batch_is_no_larger_than_brokers_take_and_a_large_record_goes_alone() {
        let mut lane = Lane::new(ProducerId(7), 4);
        let large = entry("large", BATCH_BYTES_MAX);
        let small: Vec<Entry> = (0..1000).map(|n| entry(&format!("{n}"), 1000)).collect();
        lane.fill(&[&large, &small[0]], 1);
        assert_eq!(lane.unsettled.as_ref().unwrap().records, [large]);
        lane.appended(None).unwrap();
        lane.fill(&small.iter().collect::<Vec<_>>(), 1);
        let sent = lane.unsettled.as_ref().unwrap();
        assert!(sent.batch.bytes.len() <= BATCH_BYTES_MAX && sent.records.len() > 200);
    }

    #[test]
    fn a_claim_is_a_record_to_every_partition_and_names_its_writer_once() {
        let lanes = claim_lanes("east", (7, 4), "a", 5, 1);
        let mut named = 0;
        for lane in &lanes {
            let sent = lane.unsettled.as_ref().unwrap();
            let plain = records(&LogEntry::Batch(sent.batch.clone()), 1 << 20).unwrap();
            let [record] = &plain.iter().collect::<Result<Vec<_>, _>>().unwrap()[..] else { panic!() };
            named += usize::from(record.value.is_some());
        }
        assert_eq!((lanes.len(), named), (5, 1));
    }
}
