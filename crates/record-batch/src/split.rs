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
