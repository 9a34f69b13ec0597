//! Messages of formats v0 and v1, as logs written before Kafka 0.11 (or with an old
//! `message.format.version`) still hold them.
//!
//! ```text
//! offset i64 | size i32 | crc u32 | magic i8 | attributes i8 | v1: timestamp i64 | key | value
//! ```
//!
//! Each message is an entry of its own. To compress, a whole set of messages becomes the value of one
//! message, the wrapper: its offset is that of the last message inside. Brokers of every version hand
//! such segments out as they are (KIP-724), and take none back, so they are always transcoded. Neighbours
//! without compression are read as one entry here, up to [`RUN_BYTES_MAX`]: a batch for every single
//! record would make a thousandth of the speed.
//!
//! Source: Kafka protocol guide, "Old Message Format"; KIP-31 (relative offsets), KIP-32 (timestamps).

use std::borrow::Cow;

use bytes::Bytes;
use model::Offset;

use crate::header::{CODEC_MASK, LENGTH_PREFIX_BYTES};
use crate::records::{Body, Field, Raw};
use crate::split::{Frame, frame};
use crate::{BatchError, Codec, codec};

/// How many bytes of neighbouring plain messages make one entry; a single message may be larger.
/// Less than the default `max.message.bytes`, so that a run usually becomes one batch.
pub const RUN_BYTES_MAX: usize = 1 << 20;

/// Where the checksum's range starts; it ends with the message.
pub(crate) const CHECKSUM_FROM: usize = 16;
const ATTRIBUTES_AT: usize = 17;
pub(crate) const LOG_APPEND_TIME: i8 = 1 << 3;

/// Messages of format v0 or v1: one compressed wrapper, or a run of plain messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyEntry {
    /// The format: 0 or 1.
    pub magic: i8,
    /// How the messages inside are compressed; `None` for a run of plain messages.
    pub codec: Codec,
    /// Offset of the first message. Of a wrapper it is not known until decompressed; this is then
    /// `last_offset`.
    pub base_offset: Offset,
    /// Offset of the last message.
    pub last_offset: Offset,
    /// All bytes; a slice of the fetch reply.
    pub bytes: Bytes,
}

impl LegacyEntry {
    /// Takes `bytes` as exactly one wrapper, or one run of plain messages of one format.
    pub(crate) fn read(bytes: Bytes) -> Result<LegacyEntry, BatchError> {
        let mut messages = Messages { rest: &bytes };
        let Some(first) = messages.next().transpose()? else {
            return Err(BatchError::Truncated { need_bytes: LENGTH_PREFIX_BYTES, have_bytes: bytes.len() });
        };
        let last = messages.try_fold(first, |_, message| message)?;
        Ok(LegacyEntry {
            magic: first.magic,
            codec: first.codec()?,
            base_offset: first.offset,
            last_offset: last.offset,
            bytes,
        })
    }

    /// Compares the checksum of each message (CRC-32, as in zip) with its bytes. A wrapper's covers the
    /// messages inside.
    ///
    /// # Errors
    /// [`BatchError::Checksum`] for the first that differs.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        self.messages().try_for_each(|message| message?.verify_crc())
    }

    /// The offset after the last one.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset.0.saturating_add(1))
    }

    fn messages(&self) -> Messages<'_> {
        Messages { rest: &self.bytes }
    }

    /// The messages without their wrapper, the first one's offset, and how to read them.
    pub(crate) fn decompress(&self, max_bytes: usize) -> Result<(Bytes, Offset, LegacyRecords), BatchError> {
        if self.codec == Codec::None {
            codec::decompress(Codec::None, &self.bytes, max_bytes, self.base_offset)?;
            let as_stored = LegacyRecords { magic: self.magic, offset_shift: 0, append_time: None };
            return Ok((self.bytes.clone(), self.base_offset, as_stored));
        }
        let problem = |problem| BatchError::Record { base_offset: self.last_offset, index: 0, problem };
        let wrapper = self.messages().next().transpose()?.ok_or(problem("is cut off"))?;
        let (_, value) = wrapper.key_value().map_err(problem)?;
        let block = value.ok_or(problem("is a compressed set without a value"))?;
        let plain = codec::decompress(self.codec, block, max_bytes, self.last_offset)?;
        let mut inside = Messages { rest: &plain };
        let first = inside.next().transpose()?.ok_or(problem("is a compressed set without a message"))?;
        let last = inside.try_fold(first, |_, message| message)?;
        // KIP-31: in v1 the offsets inside count from any number; the last is that of the wrapper.
        let offset_shift = if self.magic == 0 { 0 } else { self.last_offset.0 - last.offset.0 };
        let base_offset = Offset(first.offset.0.saturating_add(offset_shift));
        if base_offset.0 < 0 {
            return Err(problem("is a compressed set that starts below offset 0"));
        }
        let append_time = wrapper.is_log_append_time().then(|| wrapper.timestamp());
        let plain = match plain {
            Cow::Owned(plain) => Bytes::from(plain),
            Cow::Borrowed(plain) => self.bytes.slice_ref(plain),
        };
        Ok((plain, base_offset, LegacyRecords { magic: self.magic, offset_shift, append_time }))
    }
}

/// How to read messages as records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegacyRecords {
    magic: i8,
    /// What to add to the offsets as stored.
    offset_shift: i64,
    /// The time that every message shows, where the wrapper says so.
    append_time: Option<i64>,
}

impl LegacyRecords {
    /// Takes the next record off `rest`; `None` at the end.
    pub(crate) fn step<'a>(
        self,
        rest: &mut &'a [u8],
        base_offset: Offset,
        index: u32,
    ) -> Result<Option<Raw<'a>>, BatchError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let problem = |problem| BatchError::Record { base_offset, index, problem };
        let mut messages = Messages { rest };
        let message = messages.next().transpose()?.ok_or(problem("is cut off"))?;
        *rest = messages.rest;
        if message.magic != self.magic {
            return Err(problem("is of another format than its wrapper"));
        }
        if message.codec()? != Codec::None {
            return Err(problem("is compressed within a compressed set"));
        }
        let (key, value) = message.key_value().map_err(problem)?;
        Ok(Some(Raw {
            offset: Offset(message.offset.0.saturating_add(self.offset_shift)),
            visible_timestamp: self.append_time.unwrap_or(message.timestamp()),
            create_timestamp: message.timestamp(),
            attributes: 0,
            body: Body::Message { key, value },
        }))
    }
}

/// The smallest message: null key, null value.
pub(crate) fn message_bytes_min(magic: i8) -> usize {
    if magic == 0 { 26 } else { 34 }
}

/// How many bytes at the start of `bytes` make one [`LegacyEntry`]. The first message is known to be whole.
pub(crate) fn run_bytes(bytes: &[u8]) -> Result<usize, BatchError> {
    let mut messages = Messages { rest: bytes };
    let Some(first) = messages.next().transpose()? else { return Ok(bytes.len()) };
    let mut run_bytes = first.bytes.len();
    if first.codec()? != Codec::None {
        return Ok(run_bytes);
    }
    let mut last = first;
    // An error or a cut-off tail ends the run, and is met again, by itself, as the next entry.
    while let Some(Ok(message)) = messages.next() {
        let joins = message.magic == first.magic
            && message.attributes & CODEC_MASK as i8 == 0
            && message.offset > last.offset
            && run_bytes + message.bytes.len() <= RUN_BYTES_MAX;
        if !joins {
            break;
        }
        run_bytes += message.bytes.len();
        last = message;
    }
    Ok(run_bytes)
}

/// One message, plain or a wrapper.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) magic: i8,
    pub(crate) offset: Offset,
    attributes: i8,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn codec(&self) -> Result<Codec, BatchError> {
        let code = i16::from(self.attributes) & CODEC_MASK;
        Codec::from_code(code).ok_or(BatchError::Field {
            base_offset: self.offset,
            field: "codec",
            value: i64::from(code),
        })
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.magic == 1 && self.attributes & LOG_APPEND_TIME != 0
    }

    /// Milliseconds since 1970, or −1: format v0 has no timestamps.
    pub(crate) fn timestamp(&self) -> i64 {
        match self.bytes.get(ATTRIBUTES_AT + 1..).and_then(<[u8]>::first_chunk) {
            Some(timestamp) if self.magic == 1 => i64::from_be_bytes(*timestamp),
            _ => -1,
        }
    }

    /// Key and value.
    pub(crate) fn key_value(&self) -> Result<(Field<'a>, Field<'a>), &'static str> {
        let body = if self.magic == 0 { ATTRIBUTES_AT + 1 } else { ATTRIBUTES_AT + 9 };
        let mut rest = self.bytes.get(body..).unwrap_or_default();
        let key = sized(&mut rest)?;
        let value = sized(&mut rest)?;
        if rest.is_empty() { Ok((key, value)) } else { Err("has bytes after its value") }
    }

    fn verify_crc(&self) -> Result<(), BatchError> {
        let [.., c0, c1, c2, c3] = *self.bytes.first_chunk::<CHECKSUM_FROM>().unwrap_or(&[0; CHECKSUM_FROM]);
        let stored = u32::from_be_bytes([c0, c1, c2, c3]);
        let computed = crc32fast::hash(self.bytes.get(CHECKSUM_FROM..).unwrap_or_default());
        if computed == stored {
            return Ok(());
        }
        Err(BatchError::Checksum { base_offset: self.offset, stored, computed })
    }
}

/// Takes a length and so many bytes; any negative length is null.
fn sized<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, &'static str> {
    let (length, after) = rest.split_first_chunk().ok_or("ends inside a length")?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *rest = after;
        return Ok(None);
    };
    let (field, after) = after.split_at_checked(length).ok_or("ends inside its key or value")?;
    *rest = after;
    Ok(Some(field))
}

/// Iterator over whole messages; ends without an error where the bytes do, also inside a message.
pub(crate) struct Messages<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Messages<'a> {
    fn message(&mut self) -> Result<Option<Message<'a>>, BatchError> {
        let Some(Frame { magic, size_bytes }) = frame(self.rest)? else { return Ok(None) };
        let Some((bytes, rest)) = self.rest.split_at_checked(size_bytes) else { return Ok(None) };
        if magic == 2 {
            return Err(BatchError::Magic { magic });
        }
        self.rest = rest;
        let offset = Offset(i64::from_be_bytes(*bytes.first_chunk().unwrap_or(&[0; 8])));
        if offset.0 < 0 || offset.0 == i64::MAX {
            return Err(BatchError::Field { base_offset: offset, field: "offset", value: offset.0 });
        }
        let attributes = bytes.get(ATTRIBUTES_AT).map_or(0, |byte| *byte as i8);
        Ok(Some(Message { magic, offset, attributes, bytes }))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.message();
        if message.is_err() {
            self.rest = &[];
        }
        message.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, MessageSetBuilder, Record, records, split};

    fn entries(bytes: impl Into<Bytes>) -> Vec<Entry> {
        split(bytes.into()).collect::<Result<_, _>>().unwrap()
    }

    /// Offset and visible timestamp of every record.
    fn times(entries: &[Entry]) -> Vec<(i64, i64)> {
        let of = |record: Record<'_>| (record.offset.0, record.timestamp);
        entries
            .iter()
            .flat_map(|entry| {
                let records = records(entry, 1 << 20).unwrap();
                records.iter().map(|record| of(record.unwrap())).collect::<Vec<_>>()
            })
            .collect()
    }

    fn set(magic: i8, codec: Codec) -> MessageSetBuilder {
        MessageSetBuilder::new(magic, codec).base_offset(Offset(40))
    }

    fn filled(mut set: MessageSetBuilder) -> Bytes {
        set.append(1000, Some(b"k"), Some(b"v"));
        set.append_at(3, 900, None, Some(b""));
        set.append_at(5, 1100, Some(b""), None);
        set.build()
    }

    #[test]
    fn offsets_are_absolute_in_every_form() {
        for magic in [0, 1] {
            for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
                let entries = entries(filled(set(magic, codec)));
                let time = |at| if magic == 0 { -1 } else { at };
                let expected = [(40, time(1000)), (43, time(900)), (45, time(1100))];
                assert_eq!(times(&entries), expected, "v{magic} {codec}");
                assert_eq!(entries.len(), 1);
                assert_eq!(entries[0].next_offset(), Offset(46));
                assert_eq!(entries[0].base_offset(), Offset(if codec == Codec::None { 40 } else { 45 }));
                entries[0].verify_crc().unwrap();
            }
        }
    }

    #[test]
    fn append_time_is_the_wrappers_or_each_messages_own() {
        for codec in [Codec::None, Codec::Snappy] {
            let entries = entries(filled(set(1, codec).log_append_time(5000)));
            assert_eq!(times(&entries), [(40, 5000), (43, 5000), (45, 5000)], "{codec}");
        }
    }

    #[test]
    fn a_run_ends_at_another_format_at_a_wrapper_and_at_its_size() {
        let mut bytes = filled(set(0, Codec::None)).to_vec();
        bytes.extend(filled(set(1, Codec::None).base_offset(Offset(50))));
        bytes.extend(filled(set(1, Codec::None).base_offset(Offset(60))));
        bytes.extend(filled(set(1, Codec::Gzip).base_offset(Offset(70))));
        bytes.extend(filled(set(1, Codec::None).base_offset(Offset(80))));
        // Not above what came before: another run.
        bytes.extend(filled(set(1, Codec::None).base_offset(Offset(80))));
        let last: Vec<i64> = entries(bytes).iter().map(|entry| entry.last_offset().0).collect();
        assert_eq!(last, [45, 65, 75, 85, 85]);

        let mut large = MessageSetBuilder::new(1, Codec::None);
        let value = vec![1; RUN_BYTES_MAX / 3];
        for _ in 0..4 {
            large.append(0, None, Some(&value));
        }
        large.append(0, None, Some(&vec![1; RUN_BYTES_MAX * 2]));
        let last: Vec<i64> = entries(large.build()).iter().map(|entry| entry.last_offset().0).collect();
        assert_eq!(last, [1, 3, 4]);
    }

    #[test]
    fn a_damaged_message_is_found_wherever_it_is_in_a_run() {
        let good = filled(set(1, Codec::None));
        for at in [good.len() - 1, 20] {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1;
            assert!(matches!(entries(bytes)[0].verify_crc(), Err(BatchError::Checksum { .. })));
        }
    }

    #[test]
    fn a_wrapper_that_breaks_the_rules_is_an_error() {
        // A set inside a set, another format inside, nothing inside, and fewer offsets than messages.
        let wrap = |magic, offset, inside: &[u8]| {
            let mut block = Vec::new();
            codec::compress(Codec::Gzip, inside, &mut block).unwrap();
            let mut outer = MessageSetBuilder::new(magic, Codec::None).base_offset(Offset(offset));
            outer.append(0, None, Some(&block));
            let mut bytes = outer.build().to_vec();
            bytes[ATTRIBUTES_AT] = 1;
            bytes
        };
        let plain = filled(MessageSetBuilder::new(1, Codec::None));
        let cases = [
            wrap(1, 9, &filled(MessageSetBuilder::new(1, Codec::Lz4))),
            wrap(0, 9, &plain),
            wrap(1, 9, &[]),
            wrap(1, 2, &plain),
            wrap(1, 9, &plain[..plain.len() - 1]),
        ];
        for (at, bytes) in cases.into_iter().enumerate() {
            let entry = entries(bytes).remove(0);
            let walked =
                records(&entry, 1 << 20).and_then(|records| records.iter().try_for_each(|r| r.map(drop)));
            // The cut-off message is not among those counted; the walk trips over it.
            assert!(matches!(walked, Err(BatchError::Record { .. })), "case {at}: {walked:?}");
        }
    }

    #[test]
    fn a_wrapper_may_not_unfold_beyond_the_limit() {
        let mut set = MessageSetBuilder::new(1, Codec::Gzip);
        set.append(0, None, Some(&[0; 100_000]));
        let entry = entries(set.build()).remove(0);
        assert!(matches!(
            records(&entry, 1000),
            Err(BatchError::DecompressedTooLarge { max_bytes: 1000, .. })
        ));
    }
}
