//! One partition's log in memory: entries in offset order, as the wire will carry them.
//!
//! An entry is what a fetch reply carries as one unit: a v2 batch, or a v0/v1 message or wrapper. It is
//! kept as two slices, the header that the broker may have changed and the body as it was sent, so that
//! neither storing nor serving copies records, unless they are few. What may be appended is decided elsewhere (`validate.rs`,
//! `producers.rs`); here anything that can be cut into entries is welcome, because tests place awkward
//! things on purpose.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use model::{LeaderEpoch, Offset};
use record_batch::{HEADER_BYTES, Header};

use crate::direct::LogEntry;
use crate::frame_room::FREE_BYTES;

/// What a body may keep in memory of what it came in, in its own sizes.
const KEPT_SIZES_MAX: usize = 8;

/// One batch or old-format message in the log.
#[derive(Clone, Debug)]
pub(crate) struct StoredEntry {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    /// Of a v2 batch.
    pub(crate) header: Option<Header>,
    /// The highest record time that the entry promises, -1 where it has none (v0).
    pub(crate) max_timestamp: i64,
    head: Bytes,
    body: Bytes,
}

impl StoredEntry {
    /// A v2 batch whose header the broker has settled; `body` starts at byte 61.
    pub(crate) fn batch(header: Header, head: Bytes, body: Bytes) -> StoredEntry {
        StoredEntry {
            base_offset: header.base_offset.0,
            last_offset: header.last_offset().0,
            max_timestamp: header.max_timestamp,
            header: Some(header),
            head,
            body,
        }
    }

    /// A v0/v1 message or wrapper, as it is.
    pub(crate) fn legacy(
        base_offset: i64,
        last_offset: i64,
        max_timestamp: i64,
        bytes: Bytes,
    ) -> StoredEntry {
        StoredEntry { base_offset, last_offset, header: None, max_timestamp, head: Bytes::new(), body: bytes }
    }

    /// The same batch at another offset and under another leader epoch, neither of which is under the checksum.
    pub(crate) fn moved_to(self, base_offset: i64, leader_epoch: i32) -> StoredEntry {
        match self.header {
            Some(mut header) => {
                header.base_offset = Offset(base_offset);
                header.partition_leader_epoch = LeaderEpoch(leader_epoch);
                StoredEntry::batch(header, Bytes::copy_from_slice(&header.write()), self.body)
            }
            None => self,
        }
    }

    /// The same with a body of its own, if it would keep much more than itself in memory: the frame that it came in, and no
    /// less than what a connection reads into.
    pub(crate) fn apart_from(mut self, frame_bytes: usize) -> StoredEntry {
        if self.body.len() < frame_bytes.max(FREE_BYTES) / KEPT_SIZES_MAX {
            self.body = Bytes::copy_from_slice(&self.body);
        }
        self
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset.saturating_add(1)
    }

    /// The entry as one contiguous slice; copies where it is held in two.
    pub(crate) fn bytes(&self) -> Bytes {
        if self.head.is_empty() {
            return self.body.clone();
        }
        let mut whole = BytesMut::with_capacity(self.size_bytes());
        whole.extend_from_slice(&self.head);
        whole.extend_from_slice(&self.body);
        whole.freeze()
    }

    /// The entry as it is kept, without a copy.
    pub(crate) fn parts(&self) -> LogEntry {
        let (base_offset, last_offset) = (self.base_offset, self.last_offset);
        LogEntry { base_offset, last_offset, head: self.head.clone(), body: self.body.clone() }
    }

    /// Pushes the first `length` bytes of the entry as slices.
    fn push_slices(&self, length: usize, slices: &mut Vec<Bytes>) {
        let from_head = length.min(self.head.len());
        if from_head > 0 {
            slices.push(self.head.slice(..from_head));
        }
        let from_body = (length - from_head).min(self.body.len());
        if from_body > 0 {
            slices.push(self.body.slice(..from_body));
        }
    }
}

/// What one read of the log gives: slices that together are the records field of a fetch reply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slices {
    pub(crate) slices: Vec<Bytes>,
    pub(crate) length: usize,
    /// The offset after the last entry that was at least begun; the start of the read where none was.
    pub(crate) upto: i64,
}

/// The log of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<StoredEntry>,
    start_offset: i64,
    end_offset: i64,
}

impl Log {
    /// The first offset that may be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &StoredEntry> {
        self.entries.iter()
    }

    /// Adds an entry at the end. Its offsets may leave a hole, as compaction does; they may not go back,
    /// and one that does is refused by `false`.
    pub(crate) fn append(&mut self, entry: StoredEntry) -> bool {
        if entry.base_offset < self.end_offset || entry.last_offset < entry.base_offset {
            return false;
        }
        self.end_offset = entry.next_offset();
        self.entries.push_back(entry);
        true
    }

    /// The index of the entry that holds `offset`, or of the first one after it.
    fn index_of(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.last_offset < offset)
    }

    /// The entries that hold `offset` or come after it.
    pub(crate) fn entries_from(&self, offset: i64) -> impl Iterator<Item = &StoredEntry> {
        self.entries.range(self.index_of(offset)..)
    }

    /// Reads from the entry that holds `from` up to `bound` (an offset, exclusive) and `bytes_max`.
    ///
    /// As Kafka's `LogSegment.read`: the range is cut at the byte limit, so the last entry may come
    /// incomplete. A first entry that does not fit comes whole if `one_whole` is set, else not at all.
    pub(crate) fn read(&self, from: i64, bound: i64, bytes_max: usize, one_whole: bool) -> Slices {
        let mut read = Slices { upto: from, ..Slices::default() };
        let mut limit = bytes_max;
        for entry in self.entries.range(self.index_of(from)..) {
            if entry.base_offset >= bound || (read.length > 0 && read.length >= limit) {
                break;
            }
            let size = entry.size_bytes();
            if read.length == 0 && size > limit {
                if !one_whole {
                    break;
                }
                limit = size;
            }
            let take = size.min(limit - read.length);
            entry.push_slices(take, &mut read.slices);
            read.length += take;
            read.upto = entry.next_offset();
        }
        read
    }

    /// Forgets everything at and after `offset`: what a replica does that must follow another history.
    /// An entry that begins before `offset` and ends after it goes as well, as in Kafka.
    pub(crate) fn truncate(&mut self, offset: i64) {
        while self.entries.back().is_some_and(|last| last.last_offset >= offset) {
            self.entries.pop_back();
        }
        let kept_end = self.entries.back().map(StoredEntry::next_offset);
        // A log emptied from its end starts where it was cut; holes before the cut stay holes.
        self.end_offset = match kept_end {
            Some(kept) => kept.max(offset.min(self.end_offset)),
            None => offset.min(self.end_offset).max(self.start_offset.min(offset)),
        };
        self.start_offset = self.start_offset.min(self.end_offset);
    }

    /// Moves the log start to `offset` and drops what lies wholly before it.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = self.start_offset.max(offset.min(self.end_offset));
        while self.entries.front().is_some_and(|first| first.last_offset < self.start_offset) {
            self.entries.pop_front();
        }
    }

    /// Replaces all entries by what the cleaner left; start and end stay.
    pub(crate) fn replace(&mut self, entries: Vec<StoredEntry>) {
        self.entries = entries.into();
    }

    /// Total bytes of all entries.
    pub(crate) fn size_bytes(&self) -> usize {
        self.entries.iter().map(StoredEntry::size_bytes).sum()
    }
}

/// Splits one whole v2 batch into the header and the rest.
pub(crate) fn split_head(bytes: &Bytes) -> (Bytes, Bytes) {
    let at = HEADER_BYTES.min(bytes.len());
    (bytes.slice(..at), bytes.slice(at..))
}
