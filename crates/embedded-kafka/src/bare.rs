//! One partition alone, without network, tasks or clock: for simulations that run by the hundred thousand.
//!
//! It is the partition of the whole cluster, with its replicas, elections, producer states and checks of
//! batches; what is held against real brokers there holds here. Everything that takes time (replication to a
//! paused follower, expiry, cleaning) happens when the caller says so.

use bytes::{Bytes, BytesMut};
use protocol::ErrorCode;
use record_batch::BatchError;

use crate::log::StoredEntry;
use crate::partition::{Partition, stored_entries};
use crate::producers::Verdict;
use crate::profile::Profile;
use crate::validate::{Offered, PlainRoom, TopicRules, validate};

/// The Produce version that batches are taken to come with.
const PRODUCE_VERSION: i16 = 5;

/// What became of an offered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Success, or why the batch was refused.
    pub error: ErrorCode,
    /// Of the batch, or of the one that it repeats; -1 where it was refused.
    pub base_offset: i64,
    /// Tells a repeated batch on a CreateTime topic; -1 otherwise.
    pub append_time_ms: i64,
    /// The high watermark at which the batch is on every in-sync replica.
    pub safe_at: i64,
}

impl Taken {
    fn refused(error: ErrorCode) -> Taken {
        Taken { error, base_offset: -1, append_time_ms: -1, safe_at: 0 }
    }
}

/// A partition with its replicas.
#[derive(Debug)]
pub struct BarePartition {
    partition: Partition,
    profile: Profile,
    rules: TopicRules,
    min_insync_replicas: usize,
}

impl BarePartition {
    /// An empty partition of a CreateTime topic, led by the first of `brokers`.
    pub fn new(profile: Profile, brokers: &[i32], min_insync_replicas: usize) -> BarePartition {
        BarePartition {
            partition: Partition::new(brokers, |_| true),
            profile,
            rules: TopicRules {
                batch_bytes_max: 1 << 20,
                segment_bytes: 1 << 30,
                append_time: false,
                timestamp_before_max_ms: i64::MAX,
                timestamp_after_max_ms: i64::MAX,
                codec: None,
                compacted: false,
                deletes: true,
            },
            min_insync_replicas,
        }
    }

    /// Offers one v2 batch to `broker` with acks=all, as a client does. On success it is safe once
    /// [`BarePartition::is_safe`] says so.
    pub fn offer(&mut self, broker: i32, now_ms: i64, batch: Bytes) -> Taken {
        let offered = match Offered::read(self.profile, PRODUCE_VERSION, Some(batch)) {
            Ok(offered) => offered,
            Err(refusal) => return Taken::refused(refusal.code),
        };
        if self.partition.leader != Some(broker) {
            return Taken::refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if self.partition.in_sync_count() < self.min_insync_replicas {
            return Taken::refused(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        let accepted = match validate(self.profile, &self.rules, now_ms, offered, &mut PlainRoom::default()) {
            Ok(accepted) => accepted,
            Err(refusal) => return Taken::refused(refusal.code),
        };
        let verdict = match self.partition.leading_producers() {
            Some(producers) => producers.judge(self.profile, &accepted.header),
            None => Verdict::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        match verdict {
            Verdict::Next => {
                let base_offset = self.partition.log.end_offset();
                let entry = accepted.place(base_offset, self.partition.leader_epoch);
                let safe_at = entry.next_offset();
                self.partition.append(entry);
                Taken { error: ErrorCode::NONE, base_offset, append_time_ms: -1, safe_at }
            }
            Verdict::Duplicate(batch) => Taken {
                error: ErrorCode::NONE,
                base_offset: batch.base_offset,
                append_time_ms: batch.timestamp,
                safe_at: batch.last_offset.saturating_add(1),
            },
            Verdict::Refused(code) => Taken::refused(code),
        }
    }

    /// Whether a batch that `broker` took is on every in-sync replica.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER where that broker leads no longer.
    pub fn is_safe(&self, broker: i32, taken: &Taken) -> Result<bool, ErrorCode> {
        if self.partition.leader != Some(broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(self.partition.high_watermark() >= taken.safe_at)
    }

    /// Puts batches into the log as they are, under the present leader epoch: holes, markers, emptied batches.
    ///
    /// # Errors
    /// [`BatchError`] if they cannot be read.
    ///
    /// # Panics
    /// If their offsets go back before the log's end.
    pub fn place(&mut self, batches: Bytes) -> Result<(), BatchError> {
        for entry in stored_entries(batches)? {
            let base_offset = entry.base_offset;
            let entry = entry.moved_to(base_offset, self.partition.leader_epoch);
            assert!(self.partition.append(entry), "offsets of a log rise");
        }
        Ok(())
    }

    /// What a consumer gets from `from` on, up to offset `end` or the high watermark, in about `bytes_max` bytes;
    /// the last batch may come cut.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE, or NOT_LEADER_OR_FOLLOWER.
    pub fn read(&self, broker: i32, from: i64, end: i64, bytes_max: usize) -> Result<Bytes, ErrorCode> {
        if self.partition.leader != Some(broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let end = end.min(self.partition.high_watermark());
        if from < self.log_start() || from > self.partition.log.end_offset() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let read = self.partition.log.read(from, end, bytes_max, true);
        let mut whole = BytesMut::with_capacity(read.length);
        read.slices.iter().for_each(|slice| whole.extend_from_slice(slice));
        Ok(whole.freeze())
    }

    /// The batches in the log, replicated or not, from the one that holds `from` on: base offset and bytes.
    pub fn batches(&self, from: i64) -> impl Iterator<Item = (i64, Bytes)> {
        self.partition.log.entries_from(from).map(|entry: &StoredEntry| (entry.base_offset, entry.bytes()))
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> i64 {
        self.partition.log.start_offset()
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> i64 {
        self.partition.log.end_offset()
    }

    /// The end as consumers see it.
    pub fn high_watermark(&self) -> i64 {
        self.partition.high_watermark()
    }

    /// Who leads, if anybody does.
    pub fn leader(&self) -> Option<i32> {
        self.partition.leader
    }

    /// Under which epoch.
    pub fn leader_epoch(&self) -> i32 {
        self.partition.leader_epoch
    }

    /// The epoch that `epoch` really was, and where it ended (OffsetForLeaderEpoch).
    pub fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        self.partition.end_of_epoch(epoch)
    }

    /// The last sequence that `broker` remembers of a producer id.
    pub fn last_sequence(&self, broker: i32, producer_id: i64) -> Option<i32> {
        self.partition
            .replica(broker)?
            .producers
            .get(producer_id)
            .map(crate::producers::Producer::last_sequence)
    }

    /// Whether the broker of this replica runs.
    pub fn is_online(&self, broker: i32) -> bool {
        self.partition.replica(broker).is_some_and(|replica| replica.online)
    }

    /// The broker stops; `unclean`: one that is behind may take over where no other can.
    pub fn stop(&mut self, broker: i32, unclean: bool) {
        self.partition.broker_stopped(broker, unclean);
    }

    /// The broker runs again, with what a restart leaves of its producer states.
    pub fn start(&mut self, broker: i32, now_ms: i64, expiration_ms: i64, unclean: bool) {
        self.partition.broker_started(broker, now_ms, expiration_ms, unclean);
    }

    /// Another replica of the in-sync set leads from now on. Nothing happens where that one is not in it.
    pub fn move_leader(&mut self, broker: i32) {
        if self.partition.replica(broker).is_some_and(|replica| replica.online && replica.in_sync) {
            let behind = self.partition.replica(broker).is_some_and(|replica| !replica.follows);
            if !behind {
                self.partition.elect(broker);
            }
        }
    }

    /// A replica that runs leads from now on, in sync or not: what it has not is lost.
    pub fn elect_unclean(&mut self, broker: i32) {
        if self.is_online(broker) {
            self.partition.elect(broker);
        }
    }

    /// A follower stops copying. It stays in the in-sync set, so that acks=all waits, until
    /// [`BarePartition::shrink_isr`].
    pub fn pause_follower(&mut self, broker: i32) {
        if self.partition.leader != Some(broker)
            && let Some(replica) = self.partition.replica_mut(broker)
        {
            replica.follows = false;
        }
    }

    /// All followers copy again and catch up.
    pub fn resume_followers(&mut self) {
        self.partition.replicas.iter_mut().for_each(|replica| replica.follows = true);
        self.partition.catch_up();
    }

    /// Whether an in-sync follower lacks something.
    pub fn lags(&self) -> bool {
        let end = self.log_end();
        let leader = self.partition.leader;
        leader.is_some()
            && self
                .partition
                .replicas
                .iter()
                .any(|replica| replica.in_sync && leader != Some(replica.broker) && replica.end_offset < end)
    }

    /// Followers that do not copy leave the in-sync set, as after `replica.lag.time.max.ms`.
    pub fn shrink_isr(&mut self) {
        let Some(leader) = self.partition.leader else { return };
        for replica in &mut self.partition.replicas {
            if !replica.follows && leader != replica.broker {
                replica.in_sync = false;
            }
        }
    }

    /// Producers whose last record is too old by its own time are forgotten.
    pub fn sweep(&mut self, now_ms: i64, expiration_ms: i64) {
        for replica in &mut self.partition.replicas {
            replica.producers.expire(now_ms, expiration_ms);
        }
    }

    /// Replaces each batch below the high watermark by what `clean` makes of it, which must keep its place.
    ///
    /// # Panics
    /// If what it makes cannot be read.
    pub fn rewrite(&mut self, mut clean: impl FnMut(Bytes) -> Bytes) {
        let high_watermark = self.high_watermark();
        let mut entries = Vec::new();
        for entry in self.partition.log.entries() {
            if entry.last_offset >= high_watermark {
                entries.push(entry.clone());
                continue;
            }
            let cleaned = stored_entries(clean(entry.bytes())).expect("a cleaned batch is a batch");
            entries.extend(cleaned);
        }
        self.partition.log.replace(entries);
    }

    /// Moves the log start, as retention and DeleteRecords do.
    pub fn delete_before(&mut self, offset: i64) {
        let forgets = !self.profile.stateless_accepts_any_sequence();
        self.partition.delete_before(offset.min(self.high_watermark()), forgets);
    }
}

#[cfg(test)]
mod tests {
    use model::{Offset, ProducerId};
    use record_batch::{Batch, BatchBuilder, Codec, ProducerStamp, patch};

    use super::*;

    fn batch(sequence: i32) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(0));
        builder.append_at(0, 1_000, None, Some(b"value"), &[]);
        let whole = Batch::read(builder.build()).unwrap();
        let stamp = ProducerStamp { producer_id: ProducerId(7), producer_epoch: 0, base_sequence: sequence };
        let mut bytes = BytesMut::from(&patch(&whole, stamp)[..]);
        bytes.extend_from_slice(&whole.bytes[bytes.len()..]);
        bytes.freeze()
    }

    #[test]
    fn a_batch_is_safe_when_every_in_sync_replica_has_it() {
        let mut partition = BarePartition::new(Profile::V4_3, &[1, 2], 1);
        partition.pause_follower(2);
        let taken = partition.offer(1, 0, batch(0));
        assert_eq!((taken.error, taken.base_offset), (ErrorCode::NONE, 0));
        assert_eq!(partition.is_safe(1, &taken), Ok(false));
        partition.shrink_isr();
        assert_eq!(partition.is_safe(1, &taken), Ok(true));
        assert_eq!(partition.offer(2, 0, batch(1)).error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(partition.offer(1, 0, batch(2)).error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(partition.offer(1, 0, batch(0)).append_time_ms, 1_000);
    }

    #[test]
    fn an_unclean_leader_knows_what_it_has() {
        let mut partition = BarePartition::new(Profile::V4_3, &[1, 2], 1);
        partition.offer(1, 0, batch(0));
        partition.pause_follower(2);
        partition.shrink_isr();
        partition.offer(1, 0, batch(1));
        partition.stop(1, true);
        assert_eq!((partition.leader(), partition.log_end()), (Some(2), 1));
        assert_eq!(partition.last_sequence(2, 7), Some(0));
    }
}
