//! A source partition as the simulation grows, cleans and damages it, and what of it is to be copied.

use bytes::{Bytes, BytesMut};
use client::ErrorCode;
use embedded_kafka::{BarePartition, Profile};
use model::{LeaderEpoch, Offset, ProducerId};
use record_batch::{Batch, BatchBuilder, Codec, Entry, ProducerStamp, control_batch, records};

use super::part::{key_of, number_from};
use super::rng::Rng;

pub(super) const BROKERS: [i32; 2] = [1, 2];
const HOUR_MS: i64 = 3_600_000;

/// How old the records are when they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Young,
    /// Beyond what the destination remembers producers for.
    Aged,
    /// On either side of where this program, and the destination, draw the line.
    Borderline,
}

/// A record that is to be copied: where it was and its number. Numbers rise.
pub(super) type Numbered = (i64, u64);

/// A topic that was deleted, and another one created under its name.
pub(super) struct Former {
    pub(super) histories: Vec<Vec<Numbered>>,
    /// Its first offset, when it was deleted.
    pub(super) log_start: i64,
}

pub(super) struct SourceLog {
    pub(super) partition: BarePartition,
    pub(super) age: Age,
    /// Cleaning takes records out of it at any time.
    pub(super) compacted: bool,
    /// What is, or was, to be copied; one more each time that an unclean election rewrote the log.
    pub(super) histories: Vec<Vec<Numbered>>,
    /// Records that somebody may have copied were lost at the source, or their topic created anew.
    pub(super) rewritten: bool,
    /// The topics of before, each with what was to be copied of it.
    pub(super) former: Vec<Former>,
    /// Retention takes records away at any time.
    pub(super) deletes: bool,
    /// Its number, where its records are spread by their keys.
    pub(super) spread_from: Option<i32>,
    aborted: Vec<(ProducerId, Offset, i64)>,
}

impl SourceLog {
    pub(super) fn new(profile: Profile, age: Age, compacted: bool) -> SourceLog {
        SourceLog {
            partition: BarePartition::new(profile, &BROKERS, 1),
            age,
            compacted,
            histories: vec![Vec::new()],
            rewritten: false,
            former: Vec::new(),
            deletes: false,
            spread_from: None,
            aborted: Vec::new(),
        }
    }

    /// The topic is deleted, and created anew.
    pub(super) fn recreate(&mut self, profile: Profile) {
        let histories = std::mem::replace(&mut self.histories, vec![Vec::new()]);
        self.former.push(Former { histories, log_start: self.partition.log_start() });
        self.partition = BarePartition::new(profile, &BROKERS, 1);
        self.aborted.clear();
        self.rewritten = true;
    }

    /// What is to be copied, as the log is now.
    pub(super) fn history(&self) -> &[Numbered] {
        self.histories.last().map_or(&[], Vec::as_slice)
    }

    fn note(&mut self, found: Vec<Numbered>) {
        if let Some(history) = self.histories.last_mut() {
            history.extend(found);
        }
    }

    fn timestamp(&self, rng: &mut Rng, wall_ms: i64) -> i64 {
        match self.age {
            Age::Young => wall_ms,
            Age::Aged => wall_ms - 72 * HOUR_MS,
            Age::Borderline => wall_ms - 18 * HOUR_MS - rng.below(8 * HOUR_MS as usize) as i64,
        }
    }

    /// One more batch, or what is not copied as it is: a marker, an emptied batch, a batch with holes, a
    /// transaction. `next_number` counts over all partitions.
    pub(super) fn grow(&mut self, rng: &mut Rng, wall_ms: i64, next_number: &mut u64, committed_only: bool) {
        if self.partition.leader().is_none() {
            return;
        }
        let end = self.partition.log_end();
        let timestamp = self.timestamp(rng, wall_ms);
        match rng.below(12) {
            0 => self.put(control_batch(Offset(end), ProducerId(9), 0, true, timestamp)),
            // Emptied by cleaning, kept for its producer.
            1 => {
                self.put(
                    BatchBuilder::new(Codec::None).base_offset(Offset(end)).last_offset_delta(2).build(),
                );
            }
            2 => {
                let aborts = rng.chance(50);
                let producer = ProducerId(100 + rng.below(3) as i64);
                let mut found = Vec::new();
                for _ in 0..=rng.below(2) {
                    found.extend(self.batch(rng, timestamp, 0, next_number, Some(producer)));
                }
                let marker_at = self.partition.log_end();
                self.put(control_batch(Offset(marker_at), producer, 0, !aborts, timestamp));
                if aborts {
                    self.aborted.push((producer, Offset(end), marker_at));
                }
                if !(aborts && committed_only) {
                    self.note(found);
                }
            }
            kind => {
                let found = self.batch(rng, timestamp, i32::from(kind == 3), next_number, None);
                self.note(found);
            }
        }
    }

    fn batch(
        &mut self,
        rng: &mut Rng,
        timestamp: i64,
        gap: i32,
        next_number: &mut u64,
        transactional: Option<ProducerId>,
    ) -> Vec<Numbered> {
        let end = self.partition.log_end();
        let codec = if rng.chance(20) { Codec::Lz4 } else { Codec::None };
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(end)).leader_epoch(LeaderEpoch(0));
        if let Some(producer_id) = transactional {
            let stamp = ProducerStamp { producer_id, producer_epoch: 0, base_sequence: 0 };
            builder = builder.stamp(stamp).transactional();
        }
        let mut found = Vec::new();
        for record in 0..=rng.below(5) as i32 {
            *next_number += 1;
            let number = self.spread_from.map_or(*next_number, |from| number_from(from, *next_number));
            let key = self.key(number);
            builder.append_at(record + gap, timestamp, key.as_deref(), Some(&number.to_be_bytes()), &[]);
            found.push((end + i64::from(record + gap), number));
        }
        self.put(builder.build());
        found
    }

    fn key(&self, number: u64) -> Option<Vec<u8>> {
        self.spread_from.and_then(|_| key_of(number))
    }

    fn put(&mut self, batch: Bytes) {
        self.partition.place(batch).expect("what is built here can be read");
    }

    /// The cleaner removes records of a compacted partition, never those of the last batch. By chance instead
    /// of by key: what is left is what matters.
    pub(super) fn clean(&mut self, rng: &mut Rng) {
        let last = self.partition.batches(0).last().map(|(base, _)| base);
        let mut gone = Vec::new();
        let spread_from = self.spread_from;
        self.partition.rewrite(|bytes| {
            let batch = Batch::read(bytes.clone()).expect("built here");
            let keep = batch.header.is_control() || batch.header.is_transactional();
            if keep || Some(batch.header.base_offset.0) == last || !rng.chance(50) {
                return bytes;
            }
            let codec = batch.header.codec().expect("built here");
            let mut cleaned = BatchBuilder::new(codec)
                .base_offset(batch.header.base_offset)
                .leader_epoch(batch.header.partition_leader_epoch)
                .last_offset_delta(batch.header.last_offset_delta);
            let header = batch.header;
            for (offset, timestamp, number) in records_of(&Entry::Batch(batch)) {
                if rng.chance(40) {
                    gone.push(number);
                    continue;
                }
                let delta = (offset - header.base_offset.0) as i32;
                let key = spread_from.and_then(|_| key_of(number));
                cleaned.append_at(delta, timestamp, key.as_deref(), Some(&number.to_be_bytes()), &[]);
            }
            cleaned.build()
        });
    }

    /// The records that cleaning and retention have left, from an offset on.
    pub(super) fn left_from(&self, from: i64) -> Vec<Numbered> {
        let start = self.partition.log_start().max(from);
        if !self.compacted {
            return self.history().iter().filter(|(at, _)| *at >= start).copied().collect();
        }
        let mut left = Vec::new();
        for (_, bytes) in self.partition.batches(0) {
            let batch = Batch::read(bytes).expect("built here");
            if batch.header.is_control() {
                continue;
            }
            let records = records_of(&Entry::Batch(batch)).into_iter().filter(|(at, _, _)| *at >= start);
            left.extend(records.map(|(at, _, number)| (at, number)));
        }
        // Those of aborted transactions are there, and may not be wanted.
        let wanted: std::collections::HashSet<u64> =
            self.history().iter().map(|(_, number)| *number).collect();
        left.retain(|(_, number)| wanted.contains(number));
        left
    }

    pub(super) fn left(&self) -> Vec<Numbered> {
        self.left_from(0)
    }

    /// Another replica, which may have less, leads from now on.
    pub(super) fn elect_unclean(&mut self, committed_only: bool) {
        let Some(present) = self.partition.leader() else { return };
        let other = if present == BROKERS[0] { BROKERS[1] } else { BROKERS[0] };
        let readable = self.partition.high_watermark();
        self.partition.elect_unclean(other);
        self.follow_the_log(readable, committed_only);
    }

    /// After anything that may have cut the log; `readable`: what could be read before.
    pub(super) fn follow_the_log(&mut self, readable: i64, committed_only: bool) {
        let end = self.partition.log_end();
        if self.partition.leader().is_none() {
            return;
        }
        self.aborted.retain(|(_, _, marker)| *marker < end);
        let mut kept: Vec<Numbered> = self.history().iter().copied().filter(|(at, _)| *at < end).collect();
        for (producer, first, numbers) in self.open_transactions(i64::MAX) {
            // Its marker is lost; the coordinator, who knows no better, ends it now.
            let marker_at = self.partition.log_end();
            self.put(control_batch(Offset(marker_at), producer, 0, false, 0));
            self.aborted.push((producer, first, marker_at));
            if committed_only {
                kept.retain(|(_, number)| !numbers.contains(number));
            }
        }
        if end >= readable && kept.len() == self.history().len() {
            return;
        }
        if end < readable {
            self.rewritten = true;
            self.histories.push(kept);
        } else if let Some(history) = self.histories.last_mut() {
            // Nobody can have seen what is gone.
            *history = kept;
        }
    }

    /// Where a consumer's reading ends: the high watermark, or the last stable offset.
    pub(super) fn readable_end(&self, committed_only: bool) -> i64 {
        let high_watermark = self.partition.high_watermark();
        if !committed_only {
            return high_watermark;
        }
        // A transaction whose marker is not replicated counts as open (KAFKA-5429).
        let open = self.open_transactions(high_watermark);
        open.iter().map(|(_, first, _)| first.0).fold(high_watermark, i64::min)
    }

    /// Producer, first offset and numbers of the transactions without an end before `upto`.
    fn open_transactions(&self, upto: i64) -> Vec<(ProducerId, Offset, Vec<u64>)> {
        let mut open: Vec<(ProducerId, Offset, Vec<u64>)> = Vec::new();
        for (_, bytes) in self.partition.batches(0).take_while(|(base, _)| *base < upto) {
            let batch = Batch::read(bytes).expect("built here");
            let header = batch.header;
            if header.is_control() {
                open.retain(|(producer, _, _)| *producer != header.producer_id);
            } else if header.is_transactional() {
                let numbers = records_of(&Entry::Batch(batch)).into_iter().map(|(_, _, number)| number);
                match open.iter_mut().find(|(producer, _, _)| *producer == header.producer_id) {
                    Some((_, _, known)) => known.extend(numbers),
                    None => open.push((header.producer_id, header.base_offset, numbers.collect())),
                }
            }
        }
        open
    }

    /// What a fetch gives: the bytes, cut anywhere, perhaps damaged on the way.
    pub(super) fn fetch(
        &self,
        rng: &mut Rng,
        broker: i32,
        offset: Offset,
        damage: bool,
        committed_only: bool,
    ) -> Result<Bytes, ErrorCode> {
        let bytes_max = 60 + rng.below(900);
        let end = self.readable_end(committed_only);
        let whole = self.partition.read(broker, offset.0, end, bytes_max)?;
        if damage && whole.len() > 80 && rng.chance(15) {
            let mut damaged = BytesMut::from(&whole[..]);
            // What is before the checksum, offset and length, is protected by nobody but TCP.
            let at = 21 + rng.below(40);
            damaged[at] ^= 0x10;
            return Ok(damaged.freeze());
        }
        Ok(whole)
    }

    /// The aborted transactions that reach beyond `from`, in no order.
    pub(super) fn aborted(&self, rng: &mut Rng, from: Offset) -> Vec<(ProducerId, Offset)> {
        let mut list: Vec<_> = self
            .aborted
            .iter()
            .filter(|(_, _, marker)| *marker >= from.0)
            .map(|(producer, first, _)| (*producer, *first))
            .collect();
        if list.len() > 1 {
            let (a, b) = (rng.below(list.len()), rng.below(list.len()));
            list.swap(a, b);
        }
        list
    }
}

/// Offset, time and number of each record.
pub(super) fn records_of(entry: &Entry) -> Vec<(i64, i64, u64)> {
    let decoded = records(entry, 1 << 20).expect("what is built here can be read");
    decoded
        .iter()
        .map(|record| {
            let record = record.expect("what is built here can be read");
            let value = record.value.expect("all have values");
            let number = u64::from_be_bytes(value.try_into().expect("eight bytes"));
            (record.offset.0, record.timestamp, number)
        })
        .collect()
}
