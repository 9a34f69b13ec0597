//! A destination partition, the producer's bytes that reach it, and what it has of the copy.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::ProduceBatch;
use embedded_kafka::{BarePartition, Profile, Taken};
use model::{Offset, ProducerId};
use record_batch::{Batch, BatchBuilder, Codec, Entry};

use super::part::Part;
use super::source::records_of;
use crate::place::{Tail, TailFrom, TailOurs, TailScan, sequence_after};

/// How long what was sent before a loss was known may still be appended.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);
pub(super) const BROKERS: [i32; 3] = [11, 12, 13];

pub(super) struct DestinationLog {
    pub(super) partition: BarePartition,
    /// What each offset holds: a number of ours, or somebody else's record.
    contents: Vec<Option<u64>>,
    /// Acknowledged records were lost here.
    pub(super) lost: bool,
    /// What was sent before that was known has left a hole: at this offset, and what follows is of these times and
    /// sequences. By producer.
    holes: BTreeMap<ProducerId, Hole>,
    /// Others write here as well.
    pub(super) shared: bool,
    /// The topic was deleted and created anew.
    pub(super) recreated: bool,
}

/// A leader that had lost everything took a sequence that does not follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    offset: usize,
    /// When that was.
    at: Duration,
    next_sequence: i32,
}

impl DestinationLog {
    pub(super) fn new(profile: Profile, replicas: usize, first: usize) -> DestinationLog {
        let brokers: Vec<i32> = (0..replicas).map(|index| BROKERS[(first + index) % BROKERS.len()]).collect();
        DestinationLog {
            partition: BarePartition::new(profile, &brokers, 1),
            contents: Vec::new(),
            lost: false,
            holes: BTreeMap::new(),
            shared: false,
            recreated: false,
        }
    }

    /// The topic is deleted, and created anew: what was there is lost, and what is still under way may come here.
    pub(super) fn recreate(&mut self, profile: Profile) {
        self.partition = BarePartition::new(profile, &BROKERS, 1);
        self.contents.clear();
        self.holes.clear();
        (self.lost, self.recreated) = (true, true);
    }

    /// What an offset holds of ours.
    pub(super) fn number_at(&self, offset: i64) -> Option<u64> {
        *self.contents.get(usize::try_from(offset).ok()?)?
    }

    /// The numbers of a part of ours, in the log's order.
    pub(super) fn numbers(&self, part: &Part) -> Vec<u64> {
        self.contents.iter().flatten().copied().filter(|number| part.has_sent(*number)).collect()
    }

    pub(super) fn last_number(&self, part: &Part) -> Option<u64> {
        self.contents.iter().rev().flatten().copied().find(|number| part.has_sent(*number))
    }

    /// Whether something is missing of what this producer has sent, before what was appended of it since.
    pub(super) fn has_hole(&self, producer: ProducerId) -> bool {
        self.holes.contains_key(&producer)
    }

    pub(super) fn offer(&mut self, broker: i32, now_ms: i64, batch: &ProduceBatch) -> Taken {
        let before = self.partition.log_end();
        let taken = self.partition.offer(broker, now_ms, whole(batch));
        if self.partition.log_end() > before {
            self.contents.extend(numbers_of(batch).into_iter().map(Some));
        }
        taken
    }

    /// Somebody else's record.
    pub(super) fn foreign(&mut self, timestamp: i64) {
        if self.partition.leader().is_none() {
            return;
        }
        let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(self.partition.log_end()));
        builder.append_at(0, timestamp, None, Some(b"else"), &[]);
        self.partition.place(builder.build()).expect("what is built here can be read");
        self.contents.push(None);
        self.shared = true;
    }

    /// After anything that may have cut the log.
    pub(super) fn follow_the_log(&mut self, acknowledged: bool) {
        let end = usize::try_from(self.partition.log_end()).expect("offsets are small here");
        if end < self.contents.len() {
            self.contents.truncate(end);
            self.lost |= acknowledged;
            self.holes.retain(|_, hole| hole.offset < end);
        }
    }

    /// Whether `batch`, which was appended `now` at `offset`, is excused although records are missing before it: after a
    /// loss that cannot be helped, but must be noticed. What was under way behind it is, whatever comes later is not.
    pub(super) fn excuses(&mut self, batch: &ProduceBatch, offset: i64, now: Duration) -> bool {
        let header = Batch::read(whole(batch)).expect("the engine sends whole batches").header;
        let present = self.holes.get(&header.producer_id).copied();
        let at = match present {
            None if !self.lost => return false,
            None => now,
            Some(hole) if hole.next_sequence == header.base_sequence && now < hole.at + UNDER_WAY_MAX => {
                hole.at
            }
            Some(_) => return false,
        };
        let offset =
            present.map_or(usize::try_from(offset).expect("offsets are small here"), |hole| hole.offset);
        let next_sequence = sequence_after(header.last_sequence(), 1);
        self.holes.insert(header.producer_id, Hole { offset, at, next_sequence });
        true
    }

    /// What there is of ours before `latest`, found as the program does it.
    pub(super) fn tail(&self, producer: ProducerId, what: TailFrom, latest: Offset) -> Tail {
        let newest = what.ours == TailOurs::Newest;
        let begin = if newest { what.from.0.min(latest.0 - 1) } else { what.from.0 };
        let from = if newest { Offset(0) } else { what.from };
        let mut scan = TailScan::new(TailFrom { from, ..what }, producer);
        for (index, (base, bytes)) in self.partition.batches(begin).enumerate() {
            if base >= latest.0 {
                break;
            }
            let header = Batch::read(bytes).expect("stored batches are whole").header;
            let is_passed_over = index > 0 && header.last_offset() < what.resume;
            if !is_passed_over {
                scan.take(&header);
            }
        }
        scan.tail()
    }

    pub(super) fn entries(&self, from: Offset, latest: Offset) -> Vec<Entry> {
        self.partition
            .batches(from.0)
            .take_while(|(base, _)| *base < latest.0)
            .map(|(_, bytes)| Entry::Batch(Batch::read(bytes).expect("stored batches are whole")))
            .collect()
    }
}

/// The batch as it is on the wire.
pub(super) fn whole(batch: &ProduceBatch) -> Bytes {
    let mut whole = BytesMut::from(&batch.header[..]);
    whole.extend_from_slice(&batch.payload);
    whole.freeze()
}

/// The numbers in a batch; none in one that was damaged before it came here, as its checksum shows.
pub(super) fn numbers_of(batch: &ProduceBatch) -> Vec<u64> {
    let whole = Batch::read(whole(batch)).expect("the engine sends whole batches");
    if whole.verify_crc().is_err() {
        return Vec::new();
    }
    records_of(&Entry::Batch(whole)).into_iter().map(|(_, _, number)| number).collect()
}
