//! Whether a broker takes a batch from a client, and what it makes of it.
//!
//! The checks and their order are those of Kafka's `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`; the answers by version were measured. Producer
//! state is looked at afterwards, elsewhere (`producers.rs`): a duplicate passes all of this first.

use std::fmt;

use bytes::Bytes;
use model::{LeaderEpoch, Offset};
use protocol::ErrorCode;
use record_batch::{
    Batch, BatchBuilder, BatchError, Codec, Entry, HEADER_BYTES, Header, ProducerStamp, Records,
};

use crate::log::StoredEntry;
use crate::profile::Profile;
use crate::walk::{WalkError, walk};

/// Attribute bit 3.
const LOG_APPEND_TIME: i16 = 1 << 3;
const CODEC_MASK: i16 = 0x07;
const ZSTD: i16 = 4;
/// What a batch's records may be without compression. Kafka has no such bound: it reads them as a stream.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// What those of all batches of one request may be: nobody else is answered while they are looked at.
const PLAIN_BYTES_PER_REQUEST_MAX: usize = 512 << 20;
/// Records of a batch that are blamed by name (Produce v8); Kafka names all.
const BLAMED_MAX: usize = 10_000;
/// Bytes 21 to the end are under the checksum.
const CHECKSUM_FROM: usize = 21;

/// What of a topic's settings decides about its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicRules {
    pub(crate) batch_bytes_max: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    /// `None`: as the producer compressed it.
    pub(crate) codec: Option<Codec>,
    pub(crate) compacted: bool,
    /// Old records go, by age.
    pub(crate) deletes: bool,
}

/// Why a batch is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// The records that are to blame, each with a reason (Produce v8).
    pub(crate) records: Vec<(i32, String)>,
    /// Old brokers close the connection instead of answering.
    pub(crate) closes: bool,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl fmt::Display) -> Refusal {
        Refusal { code, message: message.to_string(), records: Vec::new(), closes: false }
    }
}

/// The one batch of a partition in a produce request, as far as it must be looked at before the partition.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) header: Header,
    bytes: Bytes,
}

impl Offered {
    /// Kafka's `ProduceRequest.validateRecords`: exactly one batch, of magic 2.
    pub(crate) fn read(profile: Profile, version: i16, records: Option<Bytes>) -> Result<Offered, Refusal> {
        let refuse = |message: &str| {
            let refusal = Refusal::new(profile.invalid_record(), message);
            Err(Refusal { closes: profile.closes_on_bad_message_set(), ..refusal })
        };
        let bytes = records.unwrap_or_default();
        let Some(magic) = bytes.get(16).copied() else {
            return refuse("Produce requests must have at least one record batch per partition");
        };
        if magic != 2 {
            return refuse(
                "Produce requests are only allowed to contain record batches with magic version 2",
            );
        }
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let Some(size) =
            usize::try_from(length).ok().map(|length| length + 12).filter(|size| *size >= HEADER_BYTES)
        else {
            let why = "Record batch is smaller than the minimum record overhead";
            let closes = profile.closes_on_bad_message_set();
            return Err(Refusal { closes, ..Refusal::new(ErrorCode::CORRUPT_MESSAGE, why) });
        };
        if bytes.len() < size {
            return refuse("Produce requests must have at least one record batch per partition");
        }
        if bytes.len() > size {
            return refuse(
                "Produce requests are only allowed to contain exactly one record batch per partition",
            );
        }
        let header = raw_header(&bytes);
        if header.attributes & CODEC_MASK == ZSTD && version < 7 {
            let message =
                "Produce requests with version below 7 are not allowed to use ZStandard compression";
            return Err(Refusal::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, message));
        }
        Ok(Offered { header, bytes })
    }
}

/// A batch that passed, ready to be given its offsets.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) header: Header,
    body: Bytes,
    /// The broker changed something under the checksum.
    changed: bool,
    /// What the log should note as the highest record time.
    pub(crate) append_time_ms: Option<i64>,
}

impl Accepted {
    /// The entry for the log, at `base_offset` and under `leader_epoch`; neither is under the checksum, so
    /// the records are not touched again unless the header had to be corrected.
    pub(crate) fn place(self, base_offset: i64, leader_epoch: i32) -> StoredEntry {
        let mut header = self.header;
        header.base_offset = Offset(base_offset);
        header.partition_leader_epoch = LeaderEpoch(leader_epoch);
        if self.changed {
            let head = header.write();
            let crc = crc32c::crc32c(&head[CHECKSUM_FROM..]);
            header.crc = crc32c::crc32c_append(crc, &self.body);
        }
        let head = Bytes::copy_from_slice(&header.write());
        StoredEntry::batch(header, head, self.body)
    }
}

/// What the batches that one request is about may still decompress to.
#[derive(Debug)]
pub(crate) struct PlainRoom {
    left_bytes: usize,
}

impl Default for PlainRoom {
    fn default() -> PlainRoom {
        PlainRoom { left_bytes: PLAIN_BYTES_PER_REQUEST_MAX }
    }
}

impl PlainRoom {
    /// The records of an entry, if there is room for them.
    pub(crate) fn records(&mut self, entry: &Entry) -> Result<Records, BatchError> {
        let bytes_max = PLAIN_BYTES_MAX.min(self.left_bytes);
        let records = record_batch::records(entry, bytes_max);
        // What fails may have done so at its last byte.
        self.left_bytes -= records.as_ref().map_or(bytes_max, Records::plain_bytes).min(self.left_bytes);
        records
    }

    /// There is none left.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left_bytes == 0
    }
}

/// Kafka's checks of one offered batch against the topic it is for, in their order.
pub(crate) fn validate(
    profile: Profile,
    rules: &TopicRules,
    now_ms: i64,
    offered: Offered,
    room: &mut PlainRoom,
) -> Result<Accepted, Refusal> {
    let Offered { header, bytes } = offered;
    let invalid = |message: &str| Refusal::new(profile.invalid_record(), message);
    if header.base_offset.0 != 0 {
        return Err(invalid("The baseOffset of the record batch should be 0"));
    }
    if bytes.len() > rules.batch_bytes_max {
        let message = format!(
            "The record batch size is {} bytes, which exceeds the maximum configured value of {}",
            bytes.len(),
            rules.batch_bytes_max
        );
        return Err(Refusal::new(ErrorCode::MESSAGE_TOO_LARGE, message));
    }
    let crc = crc32c::crc32c(&bytes[CHECKSUM_FROM..]);
    if crc != header.crc {
        return Err(Refusal::new(
            ErrorCode::CORRUPT_MESSAGE,
            format!("Record is corrupt (stored crc = {}, computed crc = {crc})", header.crc),
        ));
    }
    let Ok(codec) = header.codec() else {
        return Err(Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, "unknown compression type"));
    };
    check_counts(&header).map_err(invalid)?;
    if header.is_control() {
        return Err(invalid("Clients are not allowed to write control records"));
    }
    if header.producer_id.0 >= 0 && header.base_sequence < 0 {
        return Err(invalid("Invalid sequence number in record batch with producerId"));
    }
    let seen = check_records(profile, rules, now_ms, &header, codec, &bytes, room)?;
    let mut accepted =
        Accepted { header, body: bytes.slice(HEADER_BYTES..), changed: false, append_time_ms: None };
    let wanted = rules.codec.unwrap_or(codec);
    if wanted != codec || !seen.in_place {
        accepted = recompress(&header, bytes, wanted)?;
        if HEADER_BYTES + accepted.body.len() > rules.batch_bytes_max {
            return Err(Refusal::new(
                ErrorCode::MESSAGE_TOO_LARGE,
                "The recompressed record batch is too large",
            ));
        }
    }
    let settled = settle_times(rules, now_ms, seen.max_timestamp, &mut accepted.header);
    accepted.changed |= settled;
    accepted.append_time_ms = rules.append_time.then_some(now_ms);
    if HEADER_BYTES + accepted.body.len() > rules.segment_bytes {
        return Err(Refusal::new(
            ErrorCode::RECORD_LIST_TOO_LARGE,
            format!(
                "Message batch size exceeds the maximum configured segment size of {}",
                rules.segment_bytes
            ),
        ));
    }
    Ok(accepted)
}

/// Sets the timestamp type and the maximum as the topic wants them; tells whether that changed anything.
fn settle_times(rules: &TopicRules, now_ms: i64, max_timestamp: i64, header: &mut Header) -> bool {
    let before = (header.attributes, header.max_timestamp);
    if rules.append_time {
        header.attributes |= LOG_APPEND_TIME;
        header.max_timestamp = now_ms;
    } else {
        // With the bit set every record shows the header's maximum, so that stays as it is, wrong or not.
        if !header.is_log_append_time() {
            header.max_timestamp = max_timestamp;
        }
        header.attributes &= !LOG_APPEND_TIME;
    }
    before != (header.attributes, header.max_timestamp)
}

fn check_counts(header: &Header) -> Result<(), &'static str> {
    if header.last_offset_delta < 0 {
        return Err("Batch has an invalid offset range");
    }
    if header.record_count <= 0 {
        return Err("Batch has an invalid record count");
    }
    if header.has_gaps() {
        return Err("Inconsistent batch offset range");
    }
    Ok(())
}

/// What the records of a batch are like.
struct Seen {
    max_timestamp: i64,
    /// Their offset deltas count 0, 1, 2, …, as far as brokers look.
    in_place: bool,
}

/// Walks the records.
fn check_records(
    profile: Profile,
    rules: &TopicRules,
    now_ms: i64,
    header: &Header,
    codec: Codec,
    bytes: &Bytes,
    room: &mut PlainRoom,
) -> Result<Seen, Refusal> {
    let mut check = RecordChecks {
        rules,
        now_ms,
        append_time: header.is_log_append_time() && (rules.append_time || !profile.takes_append_time_bit()),
        max_timestamp: -1,
        keyless: Vec::new(),
        out_of_time: Vec::new(),
    };
    let mut in_place = true;
    if codec == Codec::None {
        walk(&bytes[HEADER_BYTES..], header.record_count, |index, record| {
            let timestamp = match header.is_log_append_time() {
                true => header.max_timestamp,
                false => header.base_timestamp.saturating_add(record.timestamp_delta),
            };
            check.look(index, timestamp, record.has_key);
        })
        .map_err(|WalkError(why)| Refusal::new(profile.invalid_record(), why))?;
    } else {
        let refuse = |error: BatchError| {
            let code = match error {
                BatchError::RecordCount { .. } => profile.invalid_record(),
                BatchError::DecompressedTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
                _ => ErrorCode::UNKNOWN_SERVER_ERROR,
            };
            Refusal::new(code, error)
        };
        let entry = Entry::Batch(Batch { header: *header, bytes: bytes.clone() });
        let records = room.records(&entry).map_err(refuse)?;
        for (due, record) in (0..).zip(&records) {
            let record = record.map_err(refuse)?;
            // Compressed batches are stored as they are when their deltas count 0, 1, 2, …. Otherwise Kafka
            // rebuilds them, since 2.4 from records it has read without their keys, which fails.
            in_place &= record.offset.0 == i64::from(due);
            if !in_place && profile >= Profile::V2_8 {
                let why = "key is skipped in PartialDefaultRecord";
                return Err(Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, why));
            }
            check.look(due, record.timestamp, record.key.is_some());
        }
    }
    Ok(Seen { max_timestamp: check.verdict(profile)?, in_place })
}

/// What is asked of every record of a batch.
struct RecordChecks<'a> {
    rules: &'a TopicRules,
    now_ms: i64,
    /// The batch has LogAppendTime set, and may not.
    append_time: bool,
    max_timestamp: i64,
    keyless: Vec<(i32, String)>,
    out_of_time: Vec<(i32, String)>,
}

impl RecordChecks<'_> {
    fn look(&mut self, index: i32, timestamp: i64, has_key: bool) {
        if self.rules.compacted && !has_key && self.keyless.len() < BLAMED_MAX {
            let why = "Compacted topic cannot accept message without key in topic partition";
            self.keyless.push((index, why.to_owned()));
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if self.out_of_time.len() == BLAMED_MAX {
            return;
        }
        if self.append_time {
            let why = "Producer should not set timestamp type to LogAppendTime.";
            self.out_of_time.push((index, why.to_owned()));
            return;
        }
        if !self.rules.append_time && timestamp != -1 && !self.rules.allows_time(self.now_ms, timestamp) {
            let why = format!("Timestamp {timestamp} of message with offset {index} is out of range");
            self.out_of_time.push((index, why));
        }
    }

    fn verdict(self, profile: Profile) -> Result<i64, Refusal> {
        if !self.keyless.is_empty() {
            let why = "One or more records have been rejected";
            return Err(Refusal { records: self.keyless, ..Refusal::new(profile.invalid_record(), why) });
        }
        if !self.out_of_time.is_empty() {
            let why = "One or more records have been rejected due to invalid timestamp";
            let refusal = Refusal::new(ErrorCode::INVALID_TIMESTAMP, why);
            return Err(Refusal { records: self.out_of_time, ..refusal });
        }
        Ok(self.max_timestamp)
    }
}

impl TopicRules {
    fn allows_time(&self, now_ms: i64, timestamp: i64) -> bool {
        now_ms.saturating_sub(timestamp) <= self.timestamp_before_max_ms
            && timestamp.saturating_sub(now_ms) <= self.timestamp_after_max_ms
    }
}

/// Rebuilds a batch with another codec, which is what a topic with its own `compression.type` does.
fn recompress(header: &Header, bytes: Bytes, codec: Codec) -> Result<Accepted, Refusal> {
    let failed = |error: BatchError| Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, error);
    let create_time = Header { attributes: header.attributes & !LOG_APPEND_TIME, ..*header };
    let entry = Entry::Batch(Batch { header: create_time, bytes });
    let records = record_batch::records(&entry, PLAIN_BYTES_MAX).map_err(failed)?;
    let mut builder = BatchBuilder::new(codec).stamp(ProducerStamp {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
    if header.is_transactional() {
        builder = builder.transactional();
    }
    for record in &records {
        let record = record.map_err(failed)?;
        let headers: Result<Vec<_>, _> = record
            .headers
            .iter()
            .map(|(name, value)| std::str::from_utf8(name).map(|name| (name, *value)))
            .collect();
        let headers = headers.map_err(|error| Refusal::new(ErrorCode::UNKNOWN_SERVER_ERROR, error))?;
        builder.append(record.timestamp, record.key, record.value, &headers);
    }
    let rebuilt = builder.build();
    let mut header = raw_header(&rebuilt);
    header.attributes |= create_time.attributes & !CODEC_MASK;
    Ok(Accepted { header, body: rebuilt.slice(HEADER_BYTES..), changed: true, append_time_ms: None })
}

/// The header as it is, impossible values included, so that each gets the answer Kafka has for it.
fn raw_header(bytes: &[u8]) -> Header {
    let field = |at: usize| -> [u8; 8] { std::array::from_fn(|index| bytes[at + index]) };
    let long = |at: usize| i64::from_be_bytes(field(at));
    let int = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let short = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Header {
        base_offset: Offset(long(0)),
        batch_length: int(8),
        partition_leader_epoch: LeaderEpoch(int(12)),
        crc: int(17).cast_unsigned(),
        attributes: short(21),
        last_offset_delta: int(23),
        base_timestamp: long(27),
        max_timestamp: long(35),
        producer_id: model::ProducerId(long(43)),
        producer_epoch: short(51),
        base_sequence: int(53),
        record_count: int(57),
    }
}
