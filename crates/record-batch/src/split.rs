//! Cuts a fetch reply's records into entries: v2 batches, and messages of older formats.
//!
//! A broker answers with a range of its log cut at a byte limit, starting with the batch that contains
//! the offset asked for. So the first entry may start too early and the last may be incomplete. The
//! length prefix and the magic byte are at the same places in every format.

use bytes::Bytes;
use model::Offset;

use crate::header::{HEADER_BYTES, LENGTH_PREFIX_BYTES};
use crate::legacy::{self, LegacyEntry};
use crate::{Batch, BatchError, Header};

/// The largest entry that is believed. The largest batch a broker can have taken is bounded by
/// `socket.request.max.bytes`, 100 MiB unless somebody has raised it.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;

/// Where the magic byte is, in every format.
pub(crate) const MAGIC_AT: usize = 16;

/// One entry of a log: what a fetch reply is a sequence of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A v2 batch.
    Batch(Batch),
    /// Messages of format v0 or v1.
    Legacy(LegacyEntry),
}

impl Entry {
    /// The first offset, as far as it is known without decompressing.
    pub fn base_offset(&self) -> Offset {
        match self {
            Entry::Batch(batch) => batch.header.base_offset,
            Entry::Legacy(legacy) => legacy.base_offset,
        }
    }

    /// The last offset.
    pub fn last_offset(&self) -> Offset {
        match self {
            Entry::Batch(batch) => batch.header.last_offset(),
            Entry::Legacy(legacy) => legacy.last_offset,
        }
    }

    /// The offset after the last one: where the log goes on.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Size in bytes, as stored at the source.
    pub fn size_bytes(&self) -> usize {
        match self {
            Entry::Batch(batch) => batch.bytes.len(),
            Entry::Legacy(legacy) => legacy.bytes.len(),
        }
    }

    /// Compares every checksum with its bytes: one pass over all of them.
    ///
    /// # Errors
    /// [`BatchError::Checksum`] if one differs.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        match self {
            Entry::Batch(batch) => batch.verify_crc(),
            Entry::Legacy(legacy) => legacy.verify_crc(),
        }
    }
}

/// Cuts `records`, one partition's part of a fetch reply, into entries.
///
/// No copy: each entry is a slice of `records`. An incomplete last entry ends the iteration without an
/// error, since it comes whole with the next fetch; see [`Split::cut_off_bytes`]. After an error there
/// is nothing more.
pub fn split(records: Bytes) -> Split {
    Split { rest: records }
}

/// Iterator over the entries of a fetch reply; see [`split`].
#[derive(Clone, Debug)]
pub struct Split {
    rest: Bytes,
}

impl Split {
    /// After the last entry: how many bytes the one that was cut off takes as a whole, as far as it can
    /// tell. `None` if the reply ended with an entry.
    ///
    /// If not even one entry came, a fetch of this partition must allow for so many to get on.
    pub fn cut_off_bytes(&self) -> Option<usize> {
        match frame(&self.rest) {
            Ok(Some(frame)) => Some(frame.size_bytes),
            Ok(None) if !self.rest.is_empty() => Some(HEADER_BYTES),
            Ok(None) | Err(_) => None,
        }
    }

    fn entry(&mut self) -> Result<Option<Entry>, BatchError> {
        let Some(Frame { magic, size_bytes }) = frame(&self.rest)? else { return Ok(None) };
        if size_bytes > self.rest.len() {
            return Ok(None);
        }
        if magic == 2 {
            let header = Header::read(&self.rest)?;
            return Ok(Some(Entry::Batch(Batch { header, bytes: self.rest.split_to(size_bytes) })));
        }
        let run_bytes = legacy::run_bytes(&self.rest)?;
        LegacyEntry::read(self.rest.split_to(run_bytes)).map(|legacy| Some(Entry::Legacy(legacy)))
    }
}

impl Iterator for Split {
    type Item = Result<Entry, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry();
        if entry.is_err() {
            self.rest = Bytes::new();
        }
        entry.transpose()
    }
}

impl std::iter::FusedIterator for Split {}

/// What is the same in every format: how long an entry is, and which format.
pub(crate) struct Frame {
    pub(crate) magic: i8,
    pub(crate) size_bytes: usize,
}

/// Reads the frame at the start of `bytes`; `None` if they end before the magic byte.
///
/// The entry itself may be longer than `bytes`.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame>, BatchError> {
    let Some(head) = bytes.first_chunk::<{ MAGIC_AT + 1 }>() else { return Ok(None) };
    let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, ..] = *head;
    let base_offset = Offset(i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]));
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    let magic = head[MAGIC_AT] as i8;
    let length_min = match magic {
        0 | 1 => legacy::message_bytes_min(magic) - LENGTH_PREFIX_BYTES,
        2 => HEADER_BYTES - LENGTH_PREFIX_BYTES,
        magic => return Err(BatchError::Magic { magic }),
    };
    match usize::try_from(length) {
        Ok(bytes) if (length_min..=ENTRY_BYTES_MAX - LENGTH_PREFIX_BYTES).contains(&bytes) => {
            Ok(Some(Frame { magic, size_bytes: LENGTH_PREFIX_BYTES + bytes }))
        }
        _ => Err(BatchError::Length { base_offset, length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Codec, MessageSetBuilder};

    fn batch(base_offset: i64) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(base_offset));
        builder.append(1, Some(b"key"), Some(b"value"), &[]);
        builder.build()
    }

    fn messages(base_offset: i64, codec: Codec) -> Bytes {
        let mut set = MessageSetBuilder::new(1, codec).base_offset(Offset(base_offset));
        set.append(1, Some(b"key"), Some(b"value"));
        set.append(1, None, None);
        set.build()
    }

    #[test]
    fn a_reply_cut_anywhere_gives_its_whole_entries_and_no_error() {
        let parts = [batch(0), messages(1, Codec::Gzip), batch(3), messages(4, Codec::None), batch(6)];
        let reply: Bytes = parts.concat().into();
        for cut in 0..=reply.len() {
            let mut split = split(reply.slice(..cut));
            let mut whole_bytes = 0;
            for entry in split.by_ref() {
                whole_bytes += entry.unwrap().size_bytes();
            }
            // A plain message of a run is whole by itself.
            let mut ends: Vec<usize> = vec![0];
            for part in &parts {
                let start = ends[ends.len() - 1];
                if part[MAGIC_AT] == 1 && part[MAGIC_AT + 1] == 0 {
                    ends.push(start + part.len() - 34);
                }
                ends.push(start + part.len());
            }
            let expected = *ends.iter().rev().find(|end| **end <= cut).unwrap();
            assert_eq!(whole_bytes, expected, "cut at {cut}");
            assert_eq!(split.cut_off_bytes().is_some(), cut > whole_bytes, "cut at {cut}");
            assert!(split.next().is_none());
        }
    }

    #[test]
    fn entries_are_slices_of_the_reply() {
        let reply: Bytes = [batch(0), batch(1)].concat().into();
        let entries: Vec<Entry> = split(reply.clone()).map(Result::unwrap).collect();
        let Entry::Batch(second) = &entries[1] else { panic!("a batch") };
        assert_eq!(second.bytes.as_ptr(), reply[batch(0).len()..].as_ptr());
        assert_eq!(entries[1].base_offset(), Offset(1));
    }

    #[test]
    fn a_cut_off_entry_says_how_much_it_needs() {
        let whole = batch(0);
        let mut split = split(whole.slice(..whole.len() - 1));
        assert!(split.next().is_none());
        assert_eq!(split.cut_off_bytes(), Some(whole.len()));
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error_and_the_end() {
        for (magic, length) in
            [(2, -1), (2, 48), (2, i32::MAX), (2, i32::MIN), (0, 13), (1, 21), (1, -1), (0, i32::MAX)]
        {
            let mut bytes = [batch(5), batch(6)].concat();
            bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
            bytes[MAGIC_AT] = magic;
            let mut split = split(bytes.into());
            let error = split.next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), format!("batch at offset 5 claims a length of {length} bytes"));
            assert!(split.next().is_none());
            assert_eq!(split.cut_off_bytes(), None);
        }
    }

    #[test]
    fn an_unknown_format_is_an_error() {
        for magic in [3, 0x7f, 0xff] {
            let mut bytes = batch(0).to_vec();
            bytes[MAGIC_AT] = magic;
            assert!(matches!(split(bytes.into()).next(), Some(Err(BatchError::Magic { .. }))));
        }
    }
}
