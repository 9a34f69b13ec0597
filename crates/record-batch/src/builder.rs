//! Builds v2 batches record by record.
//!
//! [`PlainRecords`] collects records behind room for the header, so that a batch without compression is
//! never copied. [`BatchBuilder`] is the same with every header field in reach, for tests and for the
//! brokers of embedded-kafka: it can build what no broker would accept.

use bytes::Bytes;
use model::{LeaderEpoch, Offset, ProducerId};

use crate::checksum::crc32c;
use crate::header::{
    CHECKSUM_FROM, CONTROL, DELETE_HORIZON, LENGTH_PREFIX_BYTES, LOG_APPEND_TIME, TRANSACTIONAL,
};
use crate::records::Body;
use crate::{BatchError, Codec, HEADER_BYTES, Header, ProducerStamp, codec, varint};

/// Records of a batch to be, with deltas from 0.
#[derive(Clone, Debug)]
pub(crate) struct PlainRecords {
    /// Starts with room for the header.
    bytes: Vec<u8>,
    count: i32,
    /// What timestamp deltas count from: the first record's time, unless set before.
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl PlainRecords {
    pub(crate) fn new() -> PlainRecords {
        PlainRecords { bytes: vec![0; HEADER_BYTES], count: 0, base_timestamp: None, max_timestamp: -1 }
    }

    /// Drops all records, and makes room for new ones of `records_bytes`.
    pub(crate) fn restart(&mut self, records_bytes: usize) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(HEADER_BYTES, 0);
        bytes.reserve(records_bytes);
        *self = PlainRecords { bytes, ..PlainRecords::new() };
    }

    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// Size of a batch of these records without compression.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a record after the last one, unless that would make a batch of more than `bytes_max`
    /// bytes. The first record always goes in.
    pub(crate) fn push_within(
        &mut self,
        bytes_max: usize,
        attributes: u8,
        timestamp: i64,
        body: Body<'_>,
    ) -> bool {
        let before = (self.bytes.len(), self.max_timestamp);
        self.push(attributes, self.count, timestamp, body);
        let fits = self.count == 1 || self.bytes.len() <= bytes_max;
        if !fits {
            self.bytes.truncate(before.0);
            self.max_timestamp = before.1;
            self.count -= 1;
        }
        fits
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, attributes: u8, offset_delta: i32, timestamp: i64, body: Body<'_>) {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        // Java's arithmetic, which reading undoes.
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let offset_delta = i64::from(offset_delta);
        let body_bytes = match body {
            Body::Stored(stored) => stored.len(),
            Body::Message { key, value } => sized_bytes(key) + sized_bytes(value) + varint::size(0),
        };
        let length = 1 + varint::size(timestamp_delta) + varint::size(offset_delta) + body_bytes;
        varint::write(length as i64, &mut self.bytes);
        self.bytes.push(attributes);
        varint::write(timestamp_delta, &mut self.bytes);
        varint::write(offset_delta, &mut self.bytes);
        match body {
            Body::Stored(stored) => self.bytes.extend_from_slice(stored),
            Body::Message { key, value } => {
                write_sized(key, &mut self.bytes);
                write_sized(value, &mut self.bytes);
                varint::write(0, &mut self.bytes);
            }
        }
        self.count = self.count.saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// A whole batch of these records. Of `fields`, length, checksum, codec, record count and the two
    /// times are filled in here. Without a codec the records' own bytes become the batch, and none are
    /// left here.
    pub(crate) fn seal(&mut self, codec: Codec, fields: Header) -> Result<(Header, Bytes), BatchError> {
        let mut bytes;
        if codec == Codec::None {
            bytes = std::mem::take(&mut self.bytes);
        } else {
            bytes = Vec::with_capacity(self.bytes.len() / 2 + HEADER_BYTES);
            bytes.resize(HEADER_BYTES, 0);
            codec::compress(codec, &self.bytes[HEADER_BYTES..], &mut bytes)?;
        }
        let base_offset = fields.base_offset;
        let length = bytes.len() - LENGTH_PREFIX_BYTES;
        let mut header = Header {
            batch_length: i32::try_from(length).map_err(|_| BatchError::Field {
                base_offset,
                field: "batchLength",
                value: length as i64,
            })?,
            attributes: fields.attributes | codec.code(),
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: self.max_timestamp,
            record_count: self.count,
            ..fields
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.write());
        header.crc = crc32c(&bytes[CHECKSUM_FROM..]);
        bytes[..HEADER_BYTES].copy_from_slice(&header.write());
        Ok((header, Bytes::from(bytes)))
    }
}

fn sized_bytes(field: Option<&[u8]>) -> usize {
    match field {
        Some(field) => varint::size(field.len() as i64) + field.len(),
        None => varint::size(-1),
    }
}

fn write_sized(field: Option<&[u8]>, out: &mut Vec<u8>) {
    match field {
        Some(field) => {
            varint::write(field.len() as i64, out);
            out.extend_from_slice(field);
        }
        None => varint::write(-1, out),
    }
}

/// The header of an unstamped batch at offset 0.
pub(crate) fn unstamped() -> Header {
    Header {
        base_offset: Offset(0),
        batch_length: 0,
        partition_leader_epoch: LeaderEpoch::UNKNOWN,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: ProducerId::NONE,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
    }
}

/// Builds a v2 batch: header fields first, then records, then [`BatchBuilder::build`].
///
/// ```
/// # use record_batch::{Batch, BatchBuilder, Codec};
/// let mut builder = BatchBuilder::new(Codec::Lz4).base_offset(model::Offset(7));
/// builder.append(1_700_000_000_000, Some(b"key"), None, &[("trace", Some(b"1"))]);
/// let batch = Batch::read(builder.build())?;
/// assert_eq!(batch.header.next_offset(), model::Offset(8));
/// # Ok::<(), record_batch::BatchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    fields: Header,
    /// The offset delta that the next record gets, and one more than the last one's.
    next_delta: i32,
    last_offset_delta: Option<i32>,
    append_time: Option<i64>,
    records: PlainRecords,
}

impl BatchBuilder {
    /// An empty batch at offset 0, without producer or leader epoch.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            fields: unstamped(),
            next_delta: 0,
            last_offset_delta: None,
            append_time: None,
            records: PlainRecords::new(),
        }
    }

    /// Sets the offset of the first record.
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.fields.base_offset = base_offset;
        self
    }

    /// Sets producer id, epoch and first sequence.
    pub fn stamp(mut self, stamp: ProducerStamp) -> BatchBuilder {
        self.fields.producer_id = stamp.producer_id;
        self.fields.producer_epoch = stamp.producer_epoch;
        self.fields.base_sequence = stamp.base_sequence;
        self
    }

    /// Sets the epoch of the leader that appends it.
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> BatchBuilder {
        self.fields.partition_leader_epoch = epoch;
        self
    }

    /// Marks it as part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.fields.attributes |= TRANSACTIONAL;
        self
    }

    /// Marks it as a control batch.
    pub fn control(mut self) -> BatchBuilder {
        self.fields.attributes |= CONTROL;
        self
    }

    /// Makes `timestamp` the visible time of every record (LogAppendTime). Their own stay inside.
    pub fn log_append_time(mut self, timestamp: i64) -> BatchBuilder {
        self.fields.attributes |= LOG_APPEND_TIME;
        self.append_time = Some(timestamp);
        self
    }

    /// Sets the delete horizon, from which timestamps then count (KIP-534).
    ///
    /// # Panics
    /// After the first record.
    pub fn delete_horizon(mut self, timestamp: i64) -> BatchBuilder {
        assert!(self.records.count() == 0, "the delete horizon comes before the records");
        self.fields.attributes |= DELETE_HORIZON;
        self.records.base_timestamp = Some(timestamp);
        self
    }

    /// Sets bits of the attributes that nothing else here sets.
    pub fn attributes(mut self, bits: i16) -> BatchBuilder {
        self.fields.attributes |= bits;
        self
    }

    /// Sets the offset of the last record from the first one's, as if later records had been removed.
    pub fn last_offset_delta(mut self, delta: i32) -> BatchBuilder {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.append_at(self.next_delta, timestamp, key, value, headers);
    }

    /// Appends a record at `offset_delta` from the base offset, leaving a gap before it.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let mut body = Vec::new();
        write_sized(key, &mut body);
        write_sized(value, &mut body);
        varint::write(headers.len() as i64, &mut body);
        for (name, value) in headers {
            write_sized(Some(name.as_bytes()), &mut body);
            write_sized(*value, &mut body);
        }
        self.records.push(0, offset_delta, timestamp, Body::Stored(&body));
        self.next_delta = offset_delta.saturating_add(1);
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.records.count()
    }

    /// The whole batch.
    ///
    /// # Panics
    /// If it takes 2 GiB or more, or a codec fails in memory.
    pub fn build(&self) -> Bytes {
        let mut records = self.records.clone();
        if let Some(append_time) = self.append_time {
            records.max_timestamp = append_time;
        }
        let last_offset_delta = self.last_offset_delta.unwrap_or((self.next_delta - 1).max(0));
        let fields = Header { last_offset_delta, ..self.fields };
        let (_, bytes) = records.seal(self.codec, fields).expect("records of under 2 GiB compress in memory");
        bytes
    }
}
