//! Writes an entry's records into new batches, for when they may not stay as they are.
//!
//! Offsets become dense and start at 0, records below a position are dropped, times become those that
//! consumers of the source see, and what is too large is cut. Keys, values and headers stay the bytes
//! they are, and so does the codec where the destination reads it. The same entry and rule give the
//! same pieces, on every machine.

use model::{Offset, TimestampRule};

use crate::builder::{PlainRecords, unstamped};
use crate::patch::kept_attributes;
use crate::records::{Raw, Walk};
use crate::{Batch, BatchError, Codec, Entry, HEADER_BYTES, Header, Records, records};

/// What an entry's records may take decompressed when they are transcoded or counted. Far above what
/// brokers of default settings can hold (they keep a batch's records in memory, too), far below what
/// a crafted batch of 1 MiB could unfold to.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// How to transcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcode {
    /// Records below are dropped.
    pub from: Offset,
    /// Whose time the records carry.
    pub timestamps: TimestampRule,
    /// The largest whole batch that the destination takes.
    pub batch_bytes_max: usize,
    /// The destination reads zstd; if not, lz4 takes its place.
    pub zstd: bool,
}

/// A new batch, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The batch: dense, base offset 0, unstamped. [`patch`](crate::patch) stamps it.
    pub batch: Batch,
    /// Offset at the source of its first record.
    pub first_source: Offset,
    /// Offset at the source of its last record.
    pub last_source: Offset,
    /// Where the source goes on after it: after the last piece, where it goes on after the entry.
    pub next_source: Offset,
    /// Records in it.
    pub record_count: i32,
}

/// Writes the records of `entry` into new batches; none if no record is left.
///
/// Takes the entry's size without compression twice for as long as it runs, besides what it gives.
///
/// # Errors
/// [`BatchError::Checksum`] first, so that damage is never blessed with a new checksum; those of
/// [`records`] and of its iteration; [`BatchError::OffsetOutOfPlace`] for offsets that do not rise within
/// the entry's range; [`BatchError::RecordTooLarge`] if a record does not fit into a batch by itself.
pub fn transcode(entry: &Entry, how: &Transcode) -> Result<Vec<Piece>, BatchError> {
    entry.verify_crc()?;
    let (codec, attributes) = match entry {
        Entry::Batch(batch) => (batch.header.codec()?, kept_attributes(batch.header.attributes)),
        Entry::Legacy(legacy) => (legacy.codec, 0),
    };
    let codec = if codec == Codec::Zstd && !how.zstd { Codec::Lz4 } else { codec };
    let attributes = attributes & !crate::header::CODEC_MASK;
    let records = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut selected = Selected::new(entry, &records, how.from);
    let mut plain = PlainRecords::new();
    // What a piece may take before compression; lowered when one turns out too large.
    let mut plain_bytes_max = if codec == Codec::None { how.batch_bytes_max } else { usize::MAX };
    loop {
        let start = selected.clone();
        plain.restart(records.plain_bytes().min(plain_bytes_max));
        let Some((first_source, last_source)) =
            fill(&mut plain, &mut selected, how.timestamps, plain_bytes_max)?
        else {
            break;
        };
        let last_offset_delta = plain.count() - 1;
        let fields = Header { attributes, last_offset_delta, ..unstamped() };
        let plain_bytes = plain.batch_bytes();
        let max = how.batch_bytes_max;
        let (mut header, mut bytes) = plain.seal(codec, fields)?;
        if bytes.len() > max && plain.count() > 1 {
            plain_bytes_max = smaller(plain_bytes, bytes.len(), max);
            selected = start;
            continue;
        }
        if bytes.len() > max && plain_bytes <= max && codec != Codec::None {
            // What cannot be compressed grows by a few bytes, and then fits as it is only.
            (header, bytes) = plain.seal(Codec::None, fields)?;
        }
        if bytes.len() > max {
            return Err(BatchError::RecordTooLarge { offset: first_source, bytes: bytes.len(), max });
        }
        if let Some(before) = pieces.last_mut() {
            before.next_source = first_source;
        }
        let record_count = header.record_count;
        pieces.push(Piece {
            batch: Batch { header, bytes },
            first_source,
            last_source,
            next_source: entry.next_offset(),
            record_count,
        });
    }
    Ok(pieces)
}

/// Moves records into `plain` until the next one would take it beyond `plain_bytes_max`, but at least
/// one. Gives the source offsets of the first and the last, or `None` if there was none.
fn fill(
    plain: &mut PlainRecords,
    selected: &mut Selected<'_>,
    timestamps: TimestampRule,
    plain_bytes_max: usize,
) -> Result<Option<(Offset, Offset)>, BatchError> {
    let mut range = None;
    loop {
        let before = selected.clone();
        let Some(raw) = selected.next().transpose()? else { break };
        let timestamp = match timestamps {
            TimestampRule::AsAtSource => raw.visible_timestamp,
            TimestampRule::Append => raw.create_timestamp,
        };
        if !plain.push_within(plain_bytes_max, raw.attributes, timestamp, raw.body) {
            *selected = before;
            break;
        }
        let (first, _) = range.unwrap_or((raw.offset, raw.offset));
        range = Some((first, raw.offset));
    }
    Ok(range)
}

/// A bound for the plain size, after `plain_bytes` gave a batch of `batch_bytes`, which is above `max`.
fn smaller(plain_bytes: usize, batch_bytes: usize, max: usize) -> usize {
    let plain_bytes = plain_bytes as u128;
    // As the ratio says with a little to spare, and by a quarter at least, so that it ends soon.
    let by_ratio = plain_bytes * max as u128 / batch_bytes as u128 * 15 / 16;
    usize::try_from(by_ratio.min(plain_bytes * 3 / 4)).unwrap_or(usize::MAX).max(HEADER_BYTES)
}

/// Records at or above an offset, with the rule that offsets rise within the entry's range.
#[derive(Clone)]
struct Selected<'a> {
    walk: Walk<'a>,
    from: Offset,
    base_offset: Offset,
    last_offset: Offset,
    /// The lowest offset that the next record may have.
    lowest: Offset,
}

impl<'a> Selected<'a> {
    fn new(entry: &Entry, records: &'a Records, from: Offset) -> Selected<'a> {
        let base_offset = records.base_offset();
        Selected {
            walk: records.walk(),
            from,
            base_offset,
            last_offset: entry.last_offset(),
            lowest: base_offset,
        }
    }
}

impl<'a> Iterator for Selected<'a> {
    type Item = Result<Raw<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.walk.next()? {
                Ok(raw) => raw,
                Err(error) => return Some(Err(error)),
            };
            if raw.offset < self.lowest || raw.offset > self.last_offset {
                return Some(Err(BatchError::OffsetOutOfPlace {
                    base_offset: self.base_offset,
                    last_offset: self.last_offset,
                    offset: raw.offset,
                }));
            }
            self.lowest = Offset(raw.offset.0.saturating_add(1));
            if raw.offset >= self.from {
                return Some(Ok(raw));
            }
        }
    }
}

/// How many records of `entry` have an offset of `from` or above.
///
/// Without gaps the header tells; with gaps, or in an older format, the records are walked. The checksum
/// is verified in any case: somebody will go on from here.
///
/// # Errors
/// As [`transcode`], but for sizes.
pub fn count_from(entry: &Entry, from: Offset) -> Result<i64, BatchError> {
    entry.verify_crc()?;
    if let Some(range) = dense_range(entry, from) {
        return Ok(range.end - range.start);
    }
    let records = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut count = 0;
    for raw in Selected::new(entry, &records, from) {
        raw?;
        count += 1;
    }
    Ok(count)
}

/// Where a lane goes on when `count` of the records of `entry` at or above `from` are already at the
/// destination: the offset after the last of them, or `from` for none. After all of them it is where
/// the source goes on after the entry.
///
/// # Errors
/// [`BatchError::TooFewRecords`] if there are fewer than `count`; else as [`count_from`].
pub fn offset_after(entry: &Entry, from: Offset, count: i64) -> Result<Offset, BatchError> {
    entry.verify_crc()?;
    if count <= 0 {
        return Ok(from);
    }
    let too_few =
        |found| BatchError::TooFewRecords { base_offset: entry.base_offset(), from, found, wanted: count };
    if let Some(range) = dense_range(entry, from) {
        let found = range.end - range.start;
        return if count <= found { Ok(Offset(range.start + count)) } else { Err(too_few(found)) };
    }
    let records = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut selected = Selected::new(entry, &records, from);
    let mut found = 0;
    let mut last = from;
    while found < count {
        let Some(raw) = selected.next().transpose()? else { return Err(too_few(found)) };
        found += 1;
        last = raw.offset;
    }
    Ok(match selected.next().transpose()? {
        Some(_) => Offset(last.0.saturating_add(1)),
        None => entry.next_offset(),
    })
}

/// The offsets at or above `from`, if the header says that each one has a record.
fn dense_range(entry: &Entry, from: Offset) -> Option<std::ops::Range<i64>> {
    let Entry::Batch(Batch { header, .. }) = entry else { return None };
    let end = header.next_offset().0;
    (!header.has_gaps()).then(|| header.base_offset.max(from).0.min(end)..end)
}
