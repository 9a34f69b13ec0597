//! Writes an entry's records into new batches, for when they may not stay as they are.
//!
//! Offsets become dense and start at 0, records below a position are dropped, and those that go elsewhere, times become
//! those that consumers of the source see, and what is too large is cut. Keys, values and headers stay the bytes
//! they are, and so does the codec where the destination reads it. The same entry and rule give the
//! same pieces, on every machine.

use model::{Offset, TimestampRule};

use crate::builder::{PlainRecords, unstamped};
use crate::patch::kept_attributes;
use crate::records::{Raw, Walk};
use crate::{Batch, BatchError, Codec, Entry, HEADER_BYTES, Header, Records, Share, records};

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
    /// Only these are taken; without it, all.
    pub share: Option<Share>,
    /// Nothing but the share keeps the entry, a batch without gaps, from being sent as it is: so it is where all its
    /// records are taken.
    pub may_stay: bool,
}

/// A new batch, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The batch: dense and unstamped. [`patch`](crate::patch) stamps it.
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
    rewrite(entry, &records(entry, DECOMPRESSED_BYTES_MAX)?, how)
}

/// [`transcode`] of `entry` by each of `hows`, and what is the same for all done once.
pub fn transcode_each(entry: &Entry, hows: &[Transcode]) -> Vec<Result<Vec<Piece>, BatchError>> {
    match entry.verify_crc().and_then(|()| records(entry, DECOMPRESSED_BYTES_MAX)) {
        Ok(records) => hows.iter().map(|how| rewrite(entry, &records, how)).collect(),
        // Errors are no copies: each comes of its own.
        Err(_) => hows.iter().map(|how| transcode(entry, how)).collect(),
    }
}

/// The new batches of `records`, which are those of `entry`.
fn rewrite(entry: &Entry, records: &Records, how: &Transcode) -> Result<Vec<Piece>, BatchError> {
    if let Some(whole) = stays(entry, records, how)? {
        return Ok(vec![whole]);
    }
    let (codec, attributes) = match entry {
        Entry::Batch(batch) => (batch.header.codec()?, kept_attributes(batch.header.attributes)),
        Entry::Legacy(legacy) => (legacy.codec, 0),
    };
    let codec = if codec == Codec::Zstd && !how.zstd { Codec::Lz4 } else { codec };
    let attributes = attributes & !crate::header::CODEC_MASK;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut selected = Selected::new(entry, records, how.from, how.share);
    let mut plain = PlainRecords::new();
    // What a piece may take before compression; lowered when one turns out too large.
    let mut plain_bytes_max = if codec == Codec::None { how.batch_bytes_max } else { usize::MAX };
    let parts = how.share.map_or(1, |share| usize::try_from(share.of).unwrap_or(1).max(1));
    loop {
        let start = selected.clone();
        plain.restart((records.plain_bytes() / parts).min(plain_bytes_max));
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

/// The whole entry, where it may stay as it is.
fn stays(entry: &Entry, records: &Records, how: &Transcode) -> Result<Option<Piece>, BatchError> {
    let Entry::Batch(batch) = entry else { return Ok(None) };
    let (header, mut record_count) = (batch.header, 0);
    if !how.may_stay || header.has_gaps() || header.base_offset < how.from {
        return Ok(None);
    }
    for raw in Selected::new(entry, records, how.from, how.share) {
        raw?;
        record_count += 1;
    }
    let piece = || Piece {
        batch: batch.clone(),
        first_source: header.base_offset,
        last_source: header.last_offset(),
        next_source: entry.next_offset(),
        record_count,
    };
    Ok((record_count == header.record_count).then(piece))
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

/// Records of a share at or above an offset, with the rule that offsets rise within the entry's range.
#[derive(Clone)]
struct Selected<'a> {
    walk: Walk<'a>,
    from: Offset,
    share: Option<Share>,
    base_offset: Offset,
    last_offset: Offset,
    /// The lowest offset that the next record may have.
    lowest: Offset,
}

impl<'a> Selected<'a> {
    fn new(entry: &Entry, records: &'a Records, from: Offset, share: Option<Share>) -> Selected<'a> {
        let base_offset = records.base_offset();
        Selected {
            walk: records.walk(),
            from,
            share,
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
            let is_taken = |share: Share| share.has(raw.offset, raw.body.key());
            if raw.offset >= self.from && self.share.is_none_or(is_taken) {
                return Some(Ok(raw));
            }
        }
    }
}

/// How many records of `entry` have an offset of `from` or above, and are of `share` where one is given.
///
/// Without gaps the header tells; with gaps, in an older format, or of a share, the records are walked. The checksum
/// is verified in any case: somebody will go on from here.
///
/// # Errors
/// As [`transcode`], but for sizes.
pub fn count_from(entry: &Entry, from: Offset, share: Option<Share>) -> Result<i64, BatchError> {
    entry.verify_crc()?;
    if let Some(range) = dense_range(entry, from, share) {
        return Ok(range.end - range.start);
    }
    let records = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut count = 0;
    for raw in Selected::new(entry, &records, from, share) {
        raw?;
        count += 1;
    }
    Ok(count)
}

/// Where a lane goes on when `count` of the records of `entry`, or of its `share` of them, at or above `from` are already
/// at the destination: the offset after the last of them, or `from` for none. After all of them it is where
/// the source goes on after the entry.
///
/// # Errors
/// [`BatchError::TooFewRecords`] if there are fewer than `count`; else as [`count_from`].
pub fn offset_after(
    entry: &Entry,
    from: Offset,
    count: i64,
    share: Option<Share>,
) -> Result<Offset, BatchError> {
    entry.verify_crc()?;
    if count <= 0 {
        return Ok(from);
    }
    let too_few =
        |found| BatchError::TooFewRecords { base_offset: entry.base_offset(), from, found, wanted: count };
    if let Some(range) = dense_range(entry, from, share) {
        let found = range.end - range.start;
        return if count <= found { Ok(Offset(range.start + count)) } else { Err(too_few(found)) };
    }
    let records = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut selected = Selected::new(entry, &records, from, share);
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

/// The offsets at or above `from`, if the header says that each one has a record, and all are wanted.
fn dense_range(entry: &Entry, from: Offset, share: Option<Share>) -> Option<std::ops::Range<i64>> {
    let Entry::Batch(Batch { header, .. }) = entry else { return None };
    let end = header.next_offset().0;
    (share.is_none() && !header.has_gaps()).then(|| header.base_offset.max(from).0.min(end)..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, MessageSetBuilder, split};

    const HOW: Transcode = Transcode {
        from: Offset(0),
        timestamps: TimestampRule::AsAtSource,
        batch_bytes_max: 1 << 20,
        zstd: true,
        share: None,
        may_stay: false,
    };

    fn entry(builder: &BatchBuilder) -> Entry {
        split(builder.build()).next().unwrap().unwrap()
    }

    /// Offsets 100, 101, 104 of the range 100..=109, at times 1000 to 1002.
    fn gaps(codec: Codec) -> BatchBuilder {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(100)).last_offset_delta(9);
        builder.append(1000, Some(b"a"), Some(b"1"), &[]);
        builder.append(1001, Some(b""), None, &[("h", None), ("h", Some(b""))]);
        builder.append_at(4, 1002, None, Some(b""), &[]);
        builder
    }

    /// `values` of 100 bytes each, without anything to compress.
    fn noise(codec: Codec, values: usize, value_bytes: usize) -> BatchBuilder {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(0));
        let mut state = 7u32;
        for _ in 0..values {
            let value: Vec<u8> = std::iter::from_fn(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some((state >> 24) as u8)
            })
            .take(value_bytes)
            .collect();
            builder.append(1, None, Some(&value), &[]);
        }
        builder
    }

    /// What each piece stands for: first, last and next source offset, and how many records.
    fn ranges(pieces: &[Piece]) -> Vec<(i64, i64, i64, i32)> {
        let of = |piece: &Piece| {
            piece.batch.verify_crc().unwrap();
            assert_eq!(piece.record_count, piece.batch.header.record_count);
            assert!(!piece.batch.header.has_gaps());
            (piece.first_source.0, piece.last_source.0, piece.next_source.0, piece.record_count)
        };
        pieces.iter().map(of).collect()
    }

    /// Timestamp, key and value.
    type Content = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

    fn contents(pieces: &[Piece]) -> Vec<Content> {
        let mut contents = Vec::new();
        for piece in pieces {
            for record in &records(&Entry::Batch(piece.batch.clone()), 1 << 20).unwrap() {
                let record = record.unwrap();
                contents.push((record.timestamp, record.key.map(Into::into), record.value.map(Into::into)));
            }
        }
        contents
    }

    #[test]
    fn gaps_are_closed_and_all_else_stays() {
        for codec in Codec::ALL {
            let pieces = transcode(&entry(&gaps(codec)), &HOW).unwrap();
            assert_eq!(ranges(&pieces), [(100, 104, 110, 3)]);
            let header = pieces[0].batch.header;
            assert_eq!(header.codec().unwrap(), codec);
            assert_eq!((header.base_offset, header.last_offset_delta), (Offset(0), 2));
            assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1002));
            let copied = records(&Entry::Batch(pieces[0].batch.clone()), 1 << 20).unwrap();
            let copied: Vec<_> = copied.iter().map(Result::unwrap).collect();
            assert_eq!(copied[1].key, Some(&[][..]));
            assert_eq!(copied[1].value, None);
            assert_eq!(copied[1].headers, [(&b"h"[..], None), (&b"h"[..], Some(&b""[..]))]);
            assert_eq!((copied[2].offset, copied[2].key, copied[2].value), (Offset(2), None, Some(&[][..])));
        }
    }

    #[test]
    fn records_below_the_position_are_dropped() {
        let entry = entry(&gaps(Codec::Snappy));
        let from = |from| ranges(&transcode(&entry, &Transcode { from: Offset(from), ..HOW }).unwrap());
        assert_eq!(from(0), [(100, 104, 110, 3)]);
        assert_eq!(from(101), [(101, 104, 110, 2)]);
        assert_eq!(from(102), [(104, 104, 110, 1)]);
        assert_eq!(from(104), [(104, 104, 110, 1)]);
        assert_eq!(from(105), []);
        assert_eq!(from(i64::MAX), []);
    }

    #[test]
    fn the_visible_time_of_the_append_becomes_each_records_own() {
        let entry = entry(&gaps(Codec::None).log_append_time(5000));
        let times = |timestamps| -> Vec<i64> {
            let pieces = transcode(&entry, &Transcode { timestamps, ..HOW }).unwrap();
            assert!(!pieces[0].batch.header.is_log_append_time());
            contents(&pieces).iter().map(|content| content.0).collect()
        };
        assert_eq!(times(TimestampRule::AsAtSource), [5000, 5000, 5000]);
        assert_eq!(times(TimestampRule::Append), [1000, 1001, 1002]);
    }

    #[test]
    fn a_delete_horizon_leaves_the_times_as_they_were() {
        let mut builder = BatchBuilder::new(Codec::None).delete_horizon(9000).last_offset_delta(5);
        builder.append(1000, Some(b"k"), None, &[]);
        builder.append(-1, Some(b"k"), None, &[]);
        let pieces = transcode(&entry(&builder), &HOW).unwrap();
        assert_eq!(contents(&pieces).iter().map(|content| content.0).collect::<Vec<_>>(), [1000, -1]);
        assert!(!pieces[0].batch.header.has_delete_horizon());
        assert_eq!(pieces[0].batch.header.base_timestamp, 1000);
    }

    #[test]
    fn zstd_becomes_lz4_where_it_is_not_read() {
        let codec = |codec, zstd| {
            let pieces = transcode(&entry(&gaps(codec)), &Transcode { zstd, ..HOW }).unwrap();
            pieces[0].batch.header.codec().unwrap()
        };
        assert_eq!(codec(Codec::Zstd, false), Codec::Lz4);
        assert_eq!(codec(Codec::Zstd, true), Codec::Zstd);
        assert_eq!(codec(Codec::Gzip, false), Codec::Gzip);
    }

    #[test]
    fn what_is_too_large_is_cut_into_pieces_that_fit_and_nothing_is_lost() {
        for codec in Codec::ALL {
            let whole = entry(&noise(codec, 1000, 100));
            let source = transcode(&whole, &HOW).unwrap();
            assert_eq!(source.len(), 1);
            for batch_bytes_max in [200, 1000, 10_000, 60_000] {
                let pieces = transcode(&whole, &Transcode { batch_bytes_max, ..HOW }).unwrap();
                assert!(pieces.iter().all(|piece| piece.batch.bytes.len() <= batch_bytes_max));
                assert_eq!(contents(&pieces), contents(&source), "{codec}");
                let ranges = ranges(&pieces);
                assert_eq!((ranges[0].0, ranges[ranges.len() - 1].2), (0, 1000));
                assert!(ranges.windows(2).all(|pair| pair[0].2 == pair[1].0));
                // Well filled: a third more than the least possible.
                let least = source[0].batch.bytes.len() / batch_bytes_max + 1;
                assert!(
                    batch_bytes_max < 1000 || pieces.len() <= least * 4 / 3 + 1,
                    "{codec}: {}",
                    pieces.len()
                );
            }
        }
    }

    #[test]
    fn a_record_that_fits_into_no_batch_is_named() {
        for codec in Codec::ALL {
            let mut builder = noise(codec, 2, 50).base_offset(Offset(70));
            let large = vec![0x55; 100];
            builder.append(1, Some(&large), noise(Codec::None, 1, 400).build().get(70..), &[]);
            let error = transcode(&entry(&builder), &Transcode { batch_bytes_max: 300, ..HOW }).unwrap_err();
            let BatchError::RecordTooLarge { offset: Offset(72), bytes, max: 300 } = error else {
                panic!("{codec}: {error:?}")
            };
            assert!(bytes > 300);
        }
    }

    #[test]
    fn a_record_that_compression_makes_too_large_goes_without() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut builder = noise(codec, 1, 1000);
            let plain_bytes = noise(Codec::None, 1, 1000).build().len();
            assert!(builder.build().len() > plain_bytes, "{codec}");
            builder = builder.last_offset_delta(3);
            let how = Transcode { batch_bytes_max: plain_bytes, ..HOW };
            let pieces = transcode(&entry(&builder), &how).unwrap();
            assert_eq!(ranges(&pieces), [(0, 0, 4, 1)]);
            assert_eq!(pieces[0].batch.header.codec().unwrap(), Codec::None);
        }
    }

    #[test]
    fn damage_is_never_blessed_with_a_new_checksum() {
        for bytes in [gaps(Codec::None).build(), {
            let mut set = MessageSetBuilder::new(0, Codec::None);
            set.append(0, Some(b"key"), Some(b"value"));
            set.build()
        }] {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            let entry = split(bytes.into()).next().unwrap().unwrap();
            for result in [
                transcode(&entry, &HOW).map(drop),
                count_from(&entry, Offset(0), None).map(drop),
                offset_after(&entry, Offset(0), 1, None).map(drop),
            ] {
                assert!(matches!(result, Err(BatchError::Checksum { .. })), "{result:?}");
            }
        }
    }

    #[test]
    fn offsets_that_do_not_rise_or_leave_the_range_are_refused() {
        // The second is what a broker stores when somebody patches a batch with gaps (validated.md, C10).
        for deltas in [[0, 0], [0, 2], [1, 0], [-1, 0]] {
            let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(10)).last_offset_delta(1);
            for delta in deltas {
                builder.append_at(delta, 0, None, None, &[]);
            }
            let error = transcode(&entry(&builder), &HOW).unwrap_err();
            assert!(matches!(error, BatchError::OffsetOutOfPlace { .. }), "{deltas:?}: {error:?}");
        }
    }

    #[test]
    fn a_batch_that_does_not_hold_what_it_declares_is_refused() {
        let mut builder = gaps(Codec::None);
        let good = Batch::read(builder.build()).unwrap();
        builder.append_at(7, 0, None, None, &[]);
        let recount = |record_count| {
            let bytes = good.bytes.clone();
            let mut header = Header { record_count, ..good.header };
            let mut bytes = [&header.write()[..], &bytes[HEADER_BYTES..]].concat();
            header.crc = crate::crc32c(&bytes[21..]);
            bytes[..HEADER_BYTES].copy_from_slice(&header.write());
            transcode(&split(bytes.into()).next().unwrap().unwrap(), &HOW).unwrap_err().to_string()
        };
        assert_eq!(recount(2), "batch at offset 100 declares 2 records, and more bytes follow them");
        assert_eq!(recount(4), "batch at offset 100 declares 4 records, and holds fewer");
    }

    #[test]
    fn old_messages_become_one_batch_of_their_codec() {
        for (magic, codec) in [(0, Codec::None), (0, Codec::Lz4), (1, Codec::None), (1, Codec::Gzip)] {
            let mut set = MessageSetBuilder::new(magic, codec).base_offset(Offset(5));
            set.append(1000, Some(b"a"), Some(b""));
            set.append_at(3, 900, None, None);
            let entry = split(set.build()).next().unwrap().unwrap();
            let pieces = transcode(&entry, &HOW).unwrap();
            assert_eq!(ranges(&pieces), [(5, 8, 9, 2)]);
            assert_eq!(pieces[0].batch.header.codec().unwrap(), codec);
            let time = |time| if magic == 0 { -1 } else { time };
            let expected = [(time(1000), Some(b"a".to_vec()), Some(Vec::new())), (time(900), None, None)];
            assert_eq!(contents(&pieces), expected);
            let trimmed = transcode(&entry, &Transcode { from: Offset(6), ..HOW }).unwrap();
            assert_eq!(ranges(&trimmed), [(8, 8, 9, 1)]);
        }
    }

    #[test]
    fn counting_tells_where_to_go_on() {
        let entry = entry(&gaps(Codec::Zstd));
        let count = |from| count_from(&entry, Offset(from), None).unwrap();
        assert_eq!([count(0), count(100), count(101), count(102), count(105)], [3, 3, 2, 1, 0]);
        let after = |from, count| offset_after(&entry, Offset(from), count, None).map(|offset| offset.0).ok();
        assert_eq!(after(100, 0), Some(100));
        assert_eq!(after(100, 1), Some(101));
        assert_eq!(after(100, 2), Some(102));
        assert_eq!(after(100, 3), Some(110));
        assert_eq!(after(100, 4), None);
        assert_eq!(after(102, 1), Some(110));
        assert_eq!(after(105, 1), None);
    }

    /// Offsets 500 to 529: every third record without a key, the others with one of five.
    fn keyed(codec: Codec) -> Entry {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset(500));
        for at in 0..30_i64 {
            let key = format!("key {}", at % 5);
            builder.append(1000 + at, (at % 3 > 0).then_some(key.as_bytes()), Some(&[at as u8]), &[]);
        }
        entry(&builder)
    }

    fn share(destination: i32) -> Option<Share> {
        Some(Share { source: model::PartitionId(1), destination: model::PartitionId(destination), of: 3 })
    }

    #[test]
    fn every_record_is_in_the_pieces_of_one_share_and_in_its_order() {
        for codec in [Codec::None, Codec::Lz4] {
            let whole = keyed(codec);
            let hows = [0, 1, 2].map(|to| Transcode { share: share(to), may_stay: true, ..HOW });
            let each: Vec<_> = transcode_each(&whole, &hows).into_iter().map(Result::unwrap).collect();
            let mut values = Vec::new();
            for (pieces, how) in each.iter().zip(&hows) {
                assert_eq!(*pieces, transcode(&whole, how).unwrap());
                let [(first, last, next, count)] = ranges(pieces)[..] else { panic!("{pieces:?}") };
                let of_it: Vec<u8> =
                    contents(pieces).into_iter().map(|(_, _, value)| value.unwrap()[0]).collect();
                assert!(of_it.is_sorted());
                assert_eq!(
                    (first, last, next),
                    (500 + i64::from(of_it[0]), 500 + i64::from(of_it[of_it.len() - 1]), 530)
                );
                assert_eq!(i64::from(count), count_from(&whole, Offset(0), how.share).unwrap());
                // Where it goes on behind each of them, but for the last.
                for (before, value) in of_it[..of_it.len() - 1].iter().enumerate() {
                    let after = offset_after(&whole, Offset(0), before as i64 + 1, how.share).unwrap();
                    assert_eq!(after, Offset(501 + i64::from(*value)));
                }
                assert_eq!(
                    offset_after(&whole, Offset(0), i64::from(count), how.share).unwrap(),
                    Offset(530)
                );
                assert!(offset_after(&whole, Offset(0), i64::from(count) + 1, how.share).is_err());
                values.extend(of_it);
            }
            values.sort_unstable();
            assert_eq!(values, (0..30).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_batch_that_is_all_of_one_share_stays_as_it_is() {
        let mut builder = BatchBuilder::new(Codec::Lz4).base_offset(Offset(512));
        (0..5).for_each(|at| builder.append(at, None, Some(b"value"), &[]));
        let whole = entry(&builder);
        let pieces = |to, may_stay, from| {
            let how = Transcode { share: share(to), may_stay, from: Offset(from), ..HOW };
            transcode(&whole, &how).unwrap()
        };
        let Entry::Batch(batch) = &whole else { panic!("a batch") };
        let [piece] = &pieces(2, true, 512)[..] else { panic!("one piece") };
        assert_eq!((&piece.batch, piece.record_count), (batch, 5));
        assert_eq!((piece.first_source.0, piece.last_source.0, piece.next_source.0), (512, 516, 517));
        for (to, may_stay, from, expected) in [(2, true, 513, 4), (2, false, 512, 5), (0, true, 512, 0)] {
            let pieces = pieces(to, may_stay, from);
            assert_eq!(pieces.iter().map(|piece| piece.record_count).sum::<i32>(), expected);
            assert!(pieces.iter().all(|piece| piece.batch != *batch));
        }
    }

    #[test]
    fn counting_in_a_dense_batch_is_arithmetic() {
        let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(10));
        (0..5).for_each(|at| builder.append(at, None, None, &[]));
        let entry = entry(&builder);
        let count = |from| count_from(&entry, Offset(from), None).unwrap();
        assert_eq!([count(0), count(10), count(12), count(15), count(99)], [5, 5, 3, 0, 0]);
        let after = |from, count| offset_after(&entry, Offset(from), count, None).map(|offset| offset.0).ok();
        assert_eq!(
            [after(0, 1), after(10, 5), after(12, 2), after(12, 3)],
            [Some(11), Some(15), Some(14), Some(15)]
        );
        assert_eq!([after(10, 6), after(15, 1), after(i64::MAX, 1)], [None; 3]);
    }
}
