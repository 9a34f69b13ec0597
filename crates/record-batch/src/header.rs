//! The 61 bytes in front of every v2 batch.
//!
//! The header alone decides nearly everything about a batch, and it is never compressed. Fields keep
//! the protocol's names. [`Header::read`] refuses what no broker writes, so that arithmetic on the
//! fields of a header that was read cannot overflow.
//!
//! Source: Kafka protocol guide, "Record Batch"; KIP-98, KIP-534 (delete horizon).

use bytes::Bytes;
use model::{LeaderEpoch, Offset, ProducerId};

use crate::checksum::crc32c;
use crate::{BatchError, Codec};

/// Size of a batch's header, and of a whole batch without records.
pub const HEADER_BYTES: usize = 61;

/// Bytes in front of what `batchLength` (or a message's size) counts.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the checksum's range starts; it ends with the batch.
pub(crate) const CHECKSUM_FROM: usize = 21;

pub(crate) const CODEC_MASK: i16 = 0x07;
pub(crate) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL: i16 = 1 << 4;
pub(crate) const CONTROL: i16 = 1 << 5;
pub(crate) const DELETE_HORIZON: i16 = 1 << 6;

/// The header of one v2 batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record, also when compaction has removed it.
    pub base_offset: Offset,
    /// Bytes of the batch after this field: the whole batch less 12.
    pub batch_length: i32,
    /// The leadership under which the batch was appended; outside the checksum.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes to the end.
    pub crc: u32,
    /// Codec (bits 0–2), LogAppendTime (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record less the first one's; survives compaction.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; the delete horizon where bit 6 is set.
    pub base_timestamp: i64,
    /// The latest record's time, or the time of the append where bit 3 is set.
    pub max_timestamp: i64,
    /// The idempotent producer that wrote the batch, or −1.
    pub producer_id: ProducerId,
    /// The producer's epoch, or −1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// Records in the batch; less than the offset range after compaction.
    pub record_count: i32,
}

impl Header {
    /// Reads the header at the start of `bytes`, which may end before the batch does.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] below 61 bytes, [`BatchError::Magic`] for other formats,
    /// [`BatchError::Length`] and [`BatchError::Field`] for values that no broker writes: row 3 of the
    /// decision table, but for the codec ([`Header::codec`]).
    pub fn read(bytes: &[u8]) -> Result<Header, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { need_bytes: HEADER_BYTES, have_bytes: bytes.len() });
        };
        let magic = head[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic { magic });
        }
        let header = Header {
            base_offset: Offset(i64::from_be_bytes(field::<0, 8>(head))),
            batch_length: i32::from_be_bytes(field::<8, 4>(head)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field::<12, 4>(head))),
            crc: u32::from_be_bytes(field::<17, 4>(head)),
            attributes: i16::from_be_bytes(field::<21, 2>(head)),
            last_offset_delta: i32::from_be_bytes(field::<23, 4>(head)),
            base_timestamp: i64::from_be_bytes(field::<27, 8>(head)),
            max_timestamp: i64::from_be_bytes(field::<35, 8>(head)),
            producer_id: ProducerId(i64::from_be_bytes(field::<43, 8>(head))),
            producer_epoch: i16::from_be_bytes(field::<51, 2>(head)),
            base_sequence: i32::from_be_bytes(field::<53, 4>(head)),
            record_count: i32::from_be_bytes(field::<57, 4>(head)),
        };
        header.check()?;
        Ok(header)
    }

    /// The header as the 61 bytes that [`Header::read`] reads.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        head[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        head[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        head[12..16].copy_from_slice(&self.partition_leader_epoch.0.to_be_bytes());
        head[16] = 2;
        head[17..21].copy_from_slice(&self.crc.to_be_bytes());
        head[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        head[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        head[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        head[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        head[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        head[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        head[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        head[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        head
    }

    /// Refuses what no broker writes and no arithmetic here should meet.
    pub(crate) fn check(&self) -> Result<(), BatchError> {
        let base_offset = self.base_offset;
        if self.batch_length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length { base_offset, length: self.batch_length });
        }
        let refuse = |field, value| Err(BatchError::Field { base_offset, field, value });
        if base_offset.0 < 0 {
            return refuse("baseOffset", base_offset.0);
        }
        // The offset after the last one must exist too: it is where fetching goes on.
        if self.last_offset_delta < 0 || i64::MAX - base_offset.0 <= i64::from(self.last_offset_delta) {
            return refuse("lastOffsetDelta", i64::from(self.last_offset_delta));
        }
        if self.record_count < 0 {
            return refuse("record count", i64::from(self.record_count));
        }
        Ok(())
    }

    /// Size of the whole batch in bytes.
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record, also when compaction has removed it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the batch: where the log goes on.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`BatchError::Field`] for the codes 5 to 7, which mean nothing yet.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_code(self.attributes & CODEC_MASK).ok_or(BatchError::Field {
            base_offset: self.base_offset,
            field: "codec",
            value: i64::from(self.attributes & CODEC_MASK),
        })
    }

    /// Whether its records are compressed, by whatever codec.
    pub fn is_compressed(&self) -> bool {
        self.attributes & CODEC_MASK != 0
    }

    /// Holds a marker (of a transaction's end, or the cluster's own), not data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Every record's time is `max_timestamp`; the times inside are the producers' and hidden.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// `base_timestamp` is also the time at which the cleaner may drop the batch's tombstones (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// The records do not fill the offset range: compaction has removed some.
    ///
    /// Exact, because brokers refuse such batches from producers and the cleaner keeps the range.
    pub fn has_gaps(&self) -> bool {
        i64::from(self.record_count) != i64::from(self.last_offset_delta) + 1
    }

    /// Sequence number of the last record, or −1 without one. After 2³¹−1 comes 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sequence = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sequence & i64::from(i32::MAX)) as i32
    }
}

fn field<const AT: usize, const SIZE: usize>(head: &[u8; HEADER_BYTES]) -> [u8; SIZE] {
    std::array::from_fn(|at| head[AT + at])
}

/// One whole v2 batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header that `bytes` starts with.
    pub header: Header,
    /// Header and records; a slice of the fetch reply, so that it is kept alive as a whole.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes `bytes` as exactly one batch.
    ///
    /// # Errors
    /// Those of [`Header::read`], and [`BatchError::Truncated`] or [`BatchError::TrailingBytes`] if the
    /// batch does not end where `bytes` do. The checksum is not looked at.
    pub fn read(bytes: Bytes) -> Result<Batch, BatchError> {
        let header = Header::read(&bytes)?;
        let (size_bytes, have_bytes) = (header.size_bytes(), bytes.len());
        if size_bytes > have_bytes {
            return Err(BatchError::Truncated { need_bytes: size_bytes, have_bytes });
        }
        if size_bytes < have_bytes {
            return Err(BatchError::TrailingBytes { size_bytes, have_bytes });
        }
        Ok(Batch { header, bytes })
    }

    /// Compares the checksum with the bytes: one pass over all of them.
    ///
    /// # Errors
    /// [`BatchError::Checksum`] if they differ.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c(self.bytes.get(CHECKSUM_FROM..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Checksum { base_offset: self.header.base_offset, stored: self.header.crc, computed })
    }

    /// The records as stored: compressed if the header names a codec.
    pub fn payload(&self) -> Bytes {
        if self.bytes.len() < HEADER_BYTES { Bytes::new() } else { self.bytes.slice(HEADER_BYTES..) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchBuilder;

    fn batch() -> Bytes {
        let mut builder =
            BatchBuilder::new(Codec::Gzip).base_offset(Offset(100)).leader_epoch(LeaderEpoch(7));
        builder.append(5, Some(b"key"), Some(b"value"), &[]);
        builder.append(6, None, None, &[]);
        builder.build()
    }

    fn header() -> Header {
        Header::read(&batch()).unwrap()
    }

    #[test]
    fn a_header_is_written_as_it_was_read() {
        let bytes = batch();
        assert_eq!(header().write(), bytes[..HEADER_BYTES]);
        assert_eq!(header().size_bytes(), bytes.len());
        assert_eq!(header().last_offset(), Offset(101));
        assert_eq!(header().partition_leader_epoch, LeaderEpoch(7));
        assert_eq!(header().codec().unwrap(), Codec::Gzip);
    }

    #[test]
    fn what_no_broker_writes_is_refused() {
        let refused = |change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            Header::read(&header.write()).unwrap_err().to_string()
        };
        assert_eq!(refused(|h| h.batch_length = 48), "batch at offset 100 claims a length of 48 bytes");
        assert_eq!(refused(|h| h.batch_length = -1), "batch at offset 100 claims a length of -1 bytes");
        assert_eq!(refused(|h| h.record_count = -1), "batch at offset 100 has record count -1");
        assert_eq!(refused(|h| h.last_offset_delta = -1), "batch at offset 100 has lastOffsetDelta -1");
        assert_eq!(refused(|h| h.base_offset = Offset(-1)), "batch at offset -1 has baseOffset -1");
        let edge = Offset(i64::MAX - 1);
        assert!(
            Header::read(&Header { base_offset: edge, last_offset_delta: 0, ..header() }.write()).is_ok()
        );
        assert!(
            Header::read(&Header { base_offset: edge, last_offset_delta: 1, ..header() }.write()).is_err()
        );
        let mut old = batch().to_vec();
        old[16] = 1;
        assert_eq!(
            Header::read(&old).unwrap_err().to_string(),
            "record format (magic) 1 is not supported here"
        );
        assert_eq!(Header::read(&old[..60]).unwrap_err().to_string(), "batch needs 61 bytes, 60 left");
    }

    #[test]
    fn a_batch_is_all_of_the_bytes() {
        let bytes = batch();
        Batch::read(bytes.clone()).unwrap().verify_crc().unwrap();
        let short = Batch::read(bytes.slice(..bytes.len() - 1));
        assert!(matches!(short, Err(BatchError::Truncated { .. })));
        let mut long = bytes.to_vec();
        long.push(0);
        assert!(matches!(Batch::read(long.into()), Err(BatchError::TrailingBytes { .. })));
    }

    #[test]
    fn any_damage_but_to_offset_length_and_epoch_fails_the_checksum() {
        let good = batch();
        for at in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[at] ^= 0x20;
            let verified = Batch::read(bytes.into()).and_then(|batch| batch.verify_crc());
            let covered = at >= 16;
            assert!(verified.is_err() == covered || (8..12).contains(&at), "byte {at}: {verified:?}");
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = |base_sequence, last_offset_delta| {
            Header { base_sequence, last_offset_delta, ..header() }.last_sequence()
        };
        assert_eq!(last(0, 9), 9);
        assert_eq!(last(i32::MAX, 0), i32::MAX);
        assert_eq!(last(i32::MAX, 1), 0);
        // validated.md, C3: after 2147483640 × 20 a broker says 11.
        assert_eq!(last(2_147_483_640, 19), 11);
        assert_eq!(last(-1, 5), -1);
    }

    #[test]
    fn unknown_codecs_are_refused_by_code() {
        for code in 5..8 {
            let header = Header { attributes: code, ..header() };
            assert_eq!(
                header.codec().unwrap_err().to_string(),
                format!("batch at offset 100 has codec {code}")
            );
        }
    }
}
