//! Makes a fetched batch one that our producer may send, by its header alone.
//!
//! Records stay the bytes they are. The checksum is corrected by what the header's change does to it
//! and never recomputed: the payload is not read, and damage it took on the way here still fails the
//! check at the destination.
//!
//! What the destination asks of the header: protocol-facts §1.3, §11 "all raw"; measured on real
//! brokers in `validated.md`, C1 and C10.

use model::{LeaderEpoch, Offset, ProducerId};

use crate::checksum::corrected;
use crate::header::{CHECKSUM_FROM, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL};
use crate::{Batch, HEADER_BYTES, Header};

/// Where the fields that are stamped end; only the record count and the records follow.
const STAMPED_UNTIL: usize = 57;

/// What an idempotent producer signs a batch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id at the destination.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

impl ProducerStamp {
    /// The stamp of a producer without idempotence.
    pub const NONE: ProducerStamp =
        ProducerStamp { producer_id: ProducerId::NONE, producer_epoch: -1, base_sequence: -1 };
}

/// The 61 bytes to send in front of `batch.bytes[61..]`.
///
/// Base offset 0 (brokers refuse any other), leader epoch −1, `stamp`, and four bits cleared:
/// LogAppendTime (the destination sets its own), transactional and control (refused, or for ever open),
/// delete horizon (the source's; `base_timestamp` stays, it is what the deltas count from). Everything
/// else is kept, unknown attribute bits too.
///
/// A wrong checksum stays wrong. Costs 100 to 200 ns whatever the size (`cargo bench`), as much as a pass
/// over 2 KiB; smaller batches gain too little from another way to have one.
pub fn patch(batch: &Batch, stamp: ProducerStamp) -> [u8; HEADER_BYTES] {
    let old = batch.header;
    let mut new = Header {
        base_offset: Offset(0),
        partition_leader_epoch: LeaderEpoch::UNKNOWN,
        attributes: kept_attributes(old.attributes),
        producer_id: stamp.producer_id,
        producer_epoch: stamp.producer_epoch,
        base_sequence: stamp.base_sequence,
        ..old
    };
    let (before, after) = (old.write(), new.write());
    let difference: [u8; STAMPED_UNTIL - CHECKSUM_FROM] =
        std::array::from_fn(|at| before[CHECKSUM_FROM + at] ^ after[CHECKSUM_FROM + at]);
    new.crc = corrected(old.crc, &difference, old.size_bytes().saturating_sub(STAMPED_UNTIL));
    new.write()
}

/// The attributes without the bits that say what is true at the source only.
pub(crate) fn kept_attributes(attributes: i16) -> i16 {
    attributes & !(LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{BatchBuilder, Codec};

    const STAMP: ProducerStamp = ProducerStamp {
        producer_id: ProducerId(0x0123_4567_89ab),
        producer_epoch: 12,
        base_sequence: 345_678,
    };

    /// As it would be sent.
    fn sent(batch: &Batch, stamp: ProducerStamp) -> Batch {
        Batch::read(Bytes::from([&patch(batch, stamp)[..], &batch.payload()].concat())).unwrap()
    }

    fn batch(records: i64, builder: BatchBuilder) -> Batch {
        let mut builder = builder.base_offset(Offset(123)).leader_epoch(LeaderEpoch(9));
        for at in 0..records {
            builder.append(1000 + at, Some(&at.to_be_bytes()), Some(&[at as u8; 40]), &[("h", None)]);
        }
        Batch::read(builder.build()).unwrap()
    }

    #[test]
    fn a_patched_batch_is_whole_and_differs_where_it_must_only() {
        for records in [1, 2, 50, 3000] {
            let fetched = batch(
                records,
                BatchBuilder::new(Codec::Lz4).transactional().delete_horizon(77).attributes(0x4080),
            );
            let sent = sent(&fetched, STAMP);
            sent.verify_crc().unwrap();
            let expected = Header {
                base_offset: Offset(0),
                partition_leader_epoch: LeaderEpoch::UNKNOWN,
                // lz4, and the bits that mean nothing yet.
                attributes: 0x4083,
                producer_id: STAMP.producer_id,
                producer_epoch: STAMP.producer_epoch,
                base_sequence: STAMP.base_sequence,
                crc: sent.header.crc,
                ..fetched.header
            };
            assert_eq!(sent.header, expected);
            assert_eq!(sent.payload(), fetched.payload());
        }
    }

    #[test]
    fn the_bits_that_are_true_at_the_source_only_are_cleared() {
        let builder =
            BatchBuilder::new(Codec::None).log_append_time(5).transactional().control().delete_horizon(1);
        assert_eq!(batch(1, builder.clone()).header.attributes, 0x78);
        let sent = sent(&batch(1, builder), STAMP);
        assert_eq!(sent.header.attributes, 0);
        assert_eq!((sent.header.base_timestamp, sent.header.max_timestamp), (1, 5));
        sent.verify_crc().unwrap();
    }

    #[test]
    fn a_damaged_payload_keeps_a_wrong_checksum() {
        let good = batch(20, BatchBuilder::new(Codec::None));
        for at in HEADER_BYTES..good.bytes.len() {
            let mut bytes = good.bytes.to_vec();
            bytes[at] ^= 4;
            let sent = sent(&Batch::read(bytes.into()).unwrap(), STAMP);
            assert!(sent.verify_crc().is_err(), "byte {at}");
        }
    }

    #[test]
    fn patching_twice_is_patching_once() {
        let fetched = batch(7, BatchBuilder::new(Codec::Gzip));
        assert_eq!(sent(&sent(&fetched, ProducerStamp::NONE), STAMP), sent(&fetched, STAMP));
    }
}
