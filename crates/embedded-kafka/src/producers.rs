//! What a replica remembers of the producers that wrote to a partition, and what that lets them write.
//!
//! The compare-and-append of idempotent producing: per producer id the epoch, the last five batches and the
//! open transaction. The rules are those of Kafka's `ProducerStateManager` and `ProducerAppendInfo`, by
//! version where they differ, as measured on 1.1.1, 2.8.2, 3.9.2 and 4.3.1.

use std::collections::{BTreeMap, VecDeque};

use protocol::ErrorCode;
use record_batch::Header;

use crate::profile::Profile;

/// Kafka 1.0 and later remember this many batches of a producer id in a partition.
pub(crate) const BATCHES_REMEMBERED: usize = 5;

/// A batch as far as a resend of it can be recognised. Its content is not part of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RememberedBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) timestamp: i64,
}

/// One producer id's state in one replica of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) batches: VecDeque<RememberedBatch>,
    /// Of the last batch or marker, by its own time: what expiry goes by.
    pub(crate) last_timestamp: i64,
    /// Where the open transaction began in this partition.
    pub(crate) transaction_start: Option<i64>,
}

impl Producer {
    fn new(epoch: i16, timestamp: i64) -> Producer {
        Producer { epoch, batches: VecDeque::new(), last_timestamp: timestamp, transaction_start: None }
    }

    /// The sequence of the last record, -1 where only markers came in this epoch.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }

    fn last_offset(&self) -> i64 {
        self.batches.back().map_or(-1, |batch| batch.last_offset)
    }
}

/// What an offered batch is to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To be appended.
    Next,
    /// One of the remembered batches: answered with its old offsets, nothing is appended.
    Duplicate(RememberedBatch),
    /// Refused.
    Refused(ErrorCode),
}

/// The states of all producer ids in one replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

impl Producers {
    pub(crate) fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.by_id.get(&producer_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Judges a batch that a client offers. The header's offsets are not looked at.
    pub(crate) fn judge(&self, profile: Profile, header: &Header) -> Verdict {
        let producer_id = header.producer_id.0;
        if producer_id < 0 {
            return Verdict::Next;
        }
        let Some(producer) = self.by_id.get(&producer_id) else {
            // KIP-360 (2.5): without a state any sequence is believed.
            let believed = header.base_sequence == 0 || profile.stateless_accepts_any_sequence();
            return if believed { Verdict::Next } else { Verdict::Refused(ErrorCode::UNKNOWN_PRODUCER_ID) };
        };
        if producer.epoch == header.producer_epoch
            && let Some(batch) = producer.batches.iter().find(|batch| {
                batch.first_sequence == header.base_sequence && batch.last_sequence == header.last_sequence()
            })
        {
            return Verdict::Duplicate(*batch);
        }
        if header.producer_epoch < producer.epoch {
            return Verdict::Refused(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let due =
            if header.producer_epoch > producer.epoch { 0 } else { next_sequence(producer.last_sequence()) };
        if header.base_sequence != due {
            return Verdict::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        if producer.transaction_start.is_some() && !header.is_transactional() {
            return Verdict::Refused(ErrorCode::INVALID_TXN_STATE);
        }
        Verdict::Next
    }

    /// Notes an appended data batch, its offsets settled.
    pub(crate) fn appended(&mut self, header: &Header) {
        let producer_id = header.producer_id.0;
        if producer_id < 0 || header.is_control() {
            return;
        }
        let timestamp = header.max_timestamp;
        let producer =
            self.by_id.entry(producer_id).or_insert_with(|| Producer::new(header.producer_epoch, timestamp));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(RememberedBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset.0,
            last_offset: header.last_offset().0,
            timestamp,
        });
        producer.last_timestamp = timestamp;
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset.0);
        }
    }

    /// Notes an end marker; gives where the transaction that it ended had begun in this partition.
    pub(crate) fn ended(&mut self, producer_id: i64, epoch: i16, timestamp: i64) -> Option<i64> {
        let producer = self.by_id.entry(producer_id).or_insert_with(|| Producer::new(epoch, timestamp));
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = timestamp;
        producer.transaction_start.take()
    }

    /// Where the oldest open transaction began.
    pub(crate) fn first_open_transaction(&self) -> Option<i64> {
        self.by_id.values().filter_map(|producer| producer.transaction_start).min()
    }

    /// Drops what is too old by the time in its own last batch, open transactions excepted.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, producer| {
            producer.transaction_start.is_some()
                || now_ms.saturating_sub(producer.last_timestamp) < expiration_ms
        });
    }

    /// Before 2.5 an id is forgotten with the last of its batches.
    pub(crate) fn forget_deleted(&mut self, log_start_offset: i64) {
        self.by_id.retain(|_, producer| {
            producer.transaction_start.is_some() || producer.last_offset() >= log_start_offset
        });
    }

    /// What a restart leaves: a snapshot holds the last batch only.
    pub(crate) fn keep_last_batches(&mut self) {
        for producer in self.by_id.values_mut() {
            let surplus = producer.batches.len().saturating_sub(1);
            producer.batches.drain(..surplus);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }

    pub(crate) fn forget(&mut self, producer_id: i64) {
        self.by_id.remove(&producer_id);
    }
}

/// The sequence after `sequence`, wrapping from 2147483647 to 0.
fn next_sequence(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}
