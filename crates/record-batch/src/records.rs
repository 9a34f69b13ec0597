//! Walks the records of a batch.
//!
//! Records of every format come out alike: with absolute offsets, and with the time that a consumer
//! would see. Decompression happens once, up front; the walk borrows from its result and checks every
//! length against what is there.
//!
//! ```text
//! length | attributes i8 | timestamp delta | offset delta | key | value | header count | { key | value }…
//! ```
//!
//! All numbers but the attributes are zig-zag varints; a length of −1 is null.
//!
//! Source: Kafka protocol guide, "Record"; KIP-98, KIP-82 (headers).

use std::borrow::Cow;

use bytes::Bytes;
use model::Offset;

use crate::legacy::LegacyRecords;
use crate::{Batch, BatchError, Entry, codec, varint};

/// One record, borrowed from [`Records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970 as a consumer sees them (−1: none): the producer's time, or that of the
    /// append where the batch says so.
    pub timestamp: i64,
    /// The key; null is not empty.
    pub key: Option<&'a [u8]>,
    /// The value; null is not empty.
    pub value: Option<&'a [u8]>,
    /// The headers in their order, names possibly repeated.
    pub headers: Vec<RecordHeader<'a>>,
}

/// A length and so many bytes, or null.
pub(crate) type Field<'a> = Option<&'a [u8]>;

/// A header's name and value. The name is UTF-8 by specification, which nobody enforces.
pub type RecordHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// The records of one entry, decompressed.
#[derive(Clone, Debug)]
pub struct Records {
    plain: Bytes,
    base_offset: Offset,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    V2 { record_count: i32, base_timestamp: i64, append_time: Option<i64> },
    Legacy(LegacyRecords),
}

/// Decompresses an entry's records, which may take up to `decompressed_bytes_max` then.
///
/// The checksum is not looked at ([`Entry::verify_crc`]). Without compression nothing is copied.
///
/// # Errors
/// [`BatchError::Field`] for an unknown codec, [`BatchError::Decompress`] and
/// [`BatchError::DecompressedTooLarge`]; what is wrong with single records comes from [`Records::iter`].
pub fn records(entry: &Entry, decompressed_bytes_max: usize) -> Result<Records, BatchError> {
    match entry {
        Entry::Batch(batch) => batch_records(batch, decompressed_bytes_max),
        Entry::Legacy(legacy) => {
            let (plain, base_offset, form) = legacy.decompress(decompressed_bytes_max)?;
            Ok(Records { plain, base_offset, form: Form::Legacy(form) })
        }
    }
}

/// [`records`] of a v2 batch.
pub(crate) fn batch_records(batch: &Batch, decompressed_bytes_max: usize) -> Result<Records, BatchError> {
    let header = &batch.header;
    let payload = batch.payload();
    let plain =
        match codec::decompress(header.codec()?, &payload, decompressed_bytes_max, header.base_offset)? {
            Cow::Borrowed(_) => payload,
            Cow::Owned(plain) => Bytes::from(plain),
        };
    let append_time = header.is_log_append_time().then_some(header.max_timestamp);
    let form =
        Form::V2 { record_count: header.record_count, base_timestamp: header.base_timestamp, append_time };
    Ok(Records { plain, base_offset: header.base_offset, form })
}

impl Records {
    /// The records in order. Ends after the first error.
    pub fn iter(&self) -> Iter<'_> {
        Iter { walk: self.walk() }
    }

    /// Size of the records without compression.
    pub fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    /// The lowest offset that a record can have.
    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { rest: &self.plain, records: self, index: 0, done: false }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over [`Records`].
#[derive(Clone)]
pub struct Iter<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.walk.next()? {
            Ok(raw) => raw,
            Err(error) => return Some(Err(error)),
        };
        let parts = raw.body.parts();
        Some(Ok(Record {
            offset: raw.offset,
            timestamp: raw.visible_timestamp,
            key: parts.key,
            value: parts.value,
            headers: parts.headers(),
        }))
    }
}

/// A record with its body left as it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) offset: Offset,
    /// What a consumer sees.
    pub(crate) visible_timestamp: i64,
    /// What the producer wrote.
    pub(crate) create_timestamp: i64,
    pub(crate) attributes: u8,
    pub(crate) body: Body<'a>,
}

/// Key, value and headers.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// As in a v2 record, from the key's length to the end; checked.
    Stored(&'a [u8]),
    /// From a message, which has no headers.
    Message { key: Option<&'a [u8]>, value: Option<&'a [u8]> },
}

struct Parts<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    header_bytes: &'a [u8],
}

impl<'a> Body<'a> {
    pub(crate) fn key(self) -> Field<'a> {
        match self {
            // Checked by the walk.
            Body::Stored(mut stored) => sized(&mut stored).unwrap_or(None),
            Body::Message { key, .. } => key,
        }
    }

    /// Of a stored body, which the walk has checked: nothing here can fail, and defaults say nothing.
    fn parts(self) -> Parts<'a> {
        match self {
            Body::Stored(stored) => Parts::read(stored).unwrap_or(Parts {
                key: None,
                value: None,
                header_count: 0,
                header_bytes: &[],
            }),
            Body::Message { key, value } => Parts { key, value, header_count: 0, header_bytes: &[] },
        }
    }
}

impl<'a> Parts<'a> {
    fn read(mut rest: &'a [u8]) -> Result<Parts<'a>, &'static str> {
        let key = sized(&mut rest)?;
        let value = sized(&mut rest)?;
        let header_count = usize::try_from(varint::read(&mut rest).ok_or("ends inside its header count")?)
            .map_err(|_| "has a negative header count")?;
        Ok(Parts { key, value, header_count, header_bytes: rest })
    }

    /// Checks every header and that nothing follows the last.
    fn check_headers(&self) -> Result<(), &'static str> {
        let mut rest = self.header_bytes;
        // A header takes two bytes at least, so a count beyond the bytes ends early.
        for _ in 0..self.header_count {
            header(&mut rest)?;
        }
        if rest.is_empty() { Ok(()) } else { Err("has bytes after its headers") }
    }

    fn headers(&self) -> Vec<RecordHeader<'a>> {
        let mut rest = self.header_bytes;
        std::iter::from_fn(|| header(&mut rest).ok()).take(self.header_count).collect()
    }
}

fn header<'a>(rest: &mut &'a [u8]) -> Result<RecordHeader<'a>, &'static str> {
    let name = sized(rest)?.ok_or("has a header without a name")?;
    Ok((name, sized(rest)?))
}

/// Takes a length and so many bytes; any negative length is null, as for the Java client.
fn sized<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, &'static str> {
    let length = varint::read(rest).ok_or("ends inside a length")?;
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    let (field, after) = rest.split_at_checked(length).ok_or("ends inside a key, value or header")?;
    *rest = after;
    Ok(Some(field))
}

/// Iterator over records without looking inside more than is needed to check them.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    records: &'a Records,
    index: u32,
    done: bool,
}

impl<'a> Walk<'a> {
    fn step(&mut self) -> Result<Option<Raw<'a>>, BatchError> {
        match self.records.form {
            Form::V2 { record_count, base_timestamp, append_time } => {
                self.step_v2(record_count, base_timestamp, append_time)
            }
            Form::Legacy(legacy) => legacy.step(&mut self.rest, self.records.base_offset, self.index),
        }
    }

    fn step_v2(
        &mut self,
        record_count: i32,
        base_timestamp: i64,
        append_time: Option<i64>,
    ) -> Result<Option<Raw<'a>>, BatchError> {
        let count_error = |problem| BatchError::RecordCount {
            base_offset: self.records.base_offset,
            declared: record_count,
            problem,
        };
        if i64::from(self.index) >= i64::from(record_count) {
            return if self.rest.is_empty() {
                Ok(None)
            } else {
                Err(count_error("and more bytes follow them"))
            };
        }
        if self.rest.is_empty() {
            return Err(count_error("and holds fewer"));
        }
        let record = StoredRecord::read(&mut self.rest).map_err(|problem| self.record_error(problem))?;
        let create_timestamp = base_timestamp.wrapping_add(record.timestamp_delta);
        Ok(Some(Raw {
            offset: Offset(self.records.base_offset.0.saturating_add(i64::from(record.offset_delta))),
            visible_timestamp: append_time.unwrap_or(create_timestamp),
            create_timestamp,
            attributes: record.attributes,
            body: Body::Stored(record.body),
        }))
    }

    fn record_error(&self, problem: &'static str) -> BatchError {
        BatchError::Record { base_offset: self.records.base_offset, index: self.index, problem }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Raw<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let raw = self.step();
        self.index = self.index.saturating_add(1);
        self.done = !matches!(raw, Ok(Some(_)));
        raw.transpose()
    }
}

struct StoredRecord<'a> {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    body: &'a [u8],
}

impl<'a> StoredRecord<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<StoredRecord<'a>, &'static str> {
        let length = varint::read(rest).ok_or("ends inside its length")?;
        let length = usize::try_from(length).map_err(|_| "has a negative length")?;
        let (record, after) = rest.split_at_checked(length).ok_or("is longer than what is left")?;
        *rest = after;
        let (&attributes, mut record) = record.split_first().ok_or("is empty")?;
        let timestamp_delta = varint::read_long(&mut record).ok_or("ends inside its timestamp")?;
        let offset_delta = varint::read(&mut record).ok_or("ends inside its offset")?;
        Parts::read(record)?.check_headers()?;
        Ok(StoredRecord { attributes, timestamp_delta, offset_delta, body: record })
    }
}
