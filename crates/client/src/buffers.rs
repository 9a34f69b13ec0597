//! Buffers for large replies, used again while they are still in the processor's cache.
//!
//! A reply is read into a buffer of its own and handed out as [`Bytes`]; when the last slice of it is
//! dropped, the buffer comes back here instead of going back to the kernel, which would have to fault in
//! and zero every page of the next one. That halves the cost of moving a gigabyte (measured). Here waits no more than
//! was lent at a time of late: what is lent and what waits, together, is the most that was needed.
//!
//! The memory is the kernel's own, not the allocator's: what is given back is gone from the process at once. An allocator
//! keeps large blocks for a while, and replies of growing sizes would then take half as much memory again (measured).

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::{MmapMut, MmapOptions};

/// Below this the allocator's own lists serve as well.
const POOLED_BYTES_MIN: usize = 64 << 10;

/// What a near broker is asked for, twice.
const POPULATED_BYTES_MAX: usize = 8 << 20;

/// What may be lent beyond what is needed, where larger buffers are used for smaller replies: as much as a near broker is
/// asked for.
const WASTED_BYTES_MAX: usize = 4 << 20;

/// Of late: in the last so many loans, or twice that.
const LOANS_OF_LATE: u32 = 32;

/// A stack of buffers that wait for their next use. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferPool(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<MmapMut>,
    bytes: usize,
    /// What is lent, the most that was since the loans are counted anew, and the most in the count before.
    lent_bytes: usize,
    lent_most: usize,
    lent_most_before: usize,
    /// Of what is lent, in buffers that are more than twice as large as what is needed, what is beyond it. It counts for
    /// no most: else what is needed would never become less.
    wasted_bytes: usize,
    loans: u32,
}

/// A buffer on loan, and how much of it is filled; its drop gives it back.
#[derive(Debug)]
pub(crate) struct Loan {
    memory: Memory,
    filled: usize,
}

#[derive(Debug)]
enum Memory {
    Own(Vec<u8>),
    /// `None` once it was given back; how much of it is counted as wasted.
    Lent(Option<MmapMut>, usize, Weak<Mutex<Kept>>),
}

impl Kept {
    /// The most that was lent at a time of late.
    fn needed_bytes(&self) -> usize {
        self.lent_most.max(self.lent_most_before)
    }

    /// The buffer that came back last of those that have room for `need_bytes` without wasting more than they hold, and 0.
    /// If a new one would push out what waits, the smallest of those that are larger, and what it wastes: else the next
    /// large reply would need a new one again, which is a twentieth of the processor time for a gigabyte (measured).
    fn take(&mut self, need_bytes: usize, room: usize) -> Option<(MmapMut, usize)> {
        let snug =
            self.buffers.iter().rposition(|buffer| buffer.len() >= need_bytes && buffer.len() / 2 <= room);
        let (place, wasted) = match snug {
            Some(place) => (place, 0),
            None => {
                self.larger(room).filter(|_| self.lent_bytes + self.bytes + room > self.needed_bytes())?
            }
        };
        let buffer = self.buffers.remove(place);
        self.bytes -= buffer.len();
        self.wasted_bytes += wasted;
        Some((buffer, wasted))
    }

    /// The smallest buffer with more than that room, if it may be wasted, and how much that is.
    fn larger(&self, room: usize) -> Option<(usize, usize)> {
        let wasted = |(place, buffer): (usize, &MmapMut)| Some((place, buffer.len().checked_sub(room)?));
        let (place, wasted) =
            self.buffers.iter().enumerate().filter_map(wasted).min_by_key(|(_, wasted)| *wasted)?;
        (self.wasted_bytes + wasted <= WASTED_BYTES_MAX).then_some((place, wasted))
    }

    /// Counts a buffer of so much room as lent.
    fn lend(&mut self, bytes: usize) {
        if self.loans == LOANS_OF_LATE {
            (self.loans, self.lent_most_before, self.lent_most) = (0, self.lent_most, 0);
        }
        self.loans += 1;
        self.lent_bytes += bytes;
        self.lent_most = self.lent_most.max(self.lent_bytes - self.wasted_bytes);
        // What waited longest has fitted nothing for a while.
        let too_many = (self.lent_bytes + self.bytes).saturating_sub(self.needed_bytes());
        let mut freed = 0;
        while freed < too_many && !self.buffers.is_empty() {
            freed += self.buffers.remove(0).len();
        }
        self.bytes -= freed;
    }

    /// Nothing is lent, though something came: what was needed of late is long ago some day.
    fn age(&mut self) {
        self.lend(0);
    }

    /// Takes a buffer back, if so much is still needed.
    fn take_back(&mut self, buffer: MmapMut, wasted: usize) {
        self.lent_bytes -= buffer.len();
        self.wasted_bytes -= wasted;
        if self.lent_bytes + self.bytes + buffer.len() <= self.needed_bytes() {
            self.bytes += buffer.len();
            self.buffers.push(buffer);
        }
    }
}

impl BufferPool {
    /// A reply came that takes no buffer.
    pub(crate) fn age(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).age();
    }

    /// An empty buffer with room for `need_bytes`, used before if one fits.
    pub(crate) fn take(&self, need_bytes: usize) -> Loan {
        let own = || Loan { memory: Memory::Own(vec![0; need_bytes]), filled: 0 };
        if need_bytes < POOLED_BYTES_MIN {
            self.age();
            return own();
        }
        let room = rounded_up(need_bytes);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the kernel gives no more maps, the allocator may have something left.
        let taken = kept.take(need_bytes, room).or_else(|| Some((map(room).ok()?, 0)));
        let Some((buffer, wasted)) = taken else { return own() };
        kept.lend(buffer.len());
        Loan { memory: Memory::Lent(Some(buffer), wasted, Arc::downgrade(&self.0)), filled: 0 }
    }
}

/// Memory of the kernel's. All its pages at once, since all will be filled: a twentieth less processor time for a gigabyte
/// (measured). Not where it is much: what a length promises may never come.
fn map(bytes: usize) -> io::Result<MmapMut> {
    let mut options = MmapOptions::new();
    options.len(bytes);
    if bytes <= POPULATED_BYTES_MAX {
        options.populate();
    }
    options.map_anon()
}

/// Room in steps of an eighth of the next power of two, so that replies of nearly one size share buffers.
fn rounded_up(need_bytes: usize) -> usize {
    let step = (need_bytes.next_power_of_two() / 8).max(POOLED_BYTES_MIN);
    need_bytes.div_ceil(step) * step
}

impl Loan {
    /// How much of it is filled, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// What is not filled.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        let filled = self.filled;
        let memory = match &mut self.memory {
            Memory::Own(memory) => &mut memory[..],
            Memory::Lent(buffer, ..) => buffer.as_deref_mut().unwrap_or_default(),
        };
        &mut memory[filled..]
    }

    /// So many bytes of the rest were filled.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Appends `bytes`, for which there is room.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.rest()[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Hands the contents out; the buffer goes back when the last slice is dropped.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        let memory = match &self.memory {
            Memory::Own(memory) => &memory[..],
            Memory::Lent(buffer, ..) => buffer.as_deref().unwrap_or_default(),
        };
        &memory[..self.filled]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Memory::Lent(buffer, wasted, pool) = &mut self.memory else { return };
        let Some((pool, buffer)) = pool.upgrade().zip(buffer.take()) else { return };
        pool.lock().unwrap_or_else(PoisonError::into_inner).take_back(buffer, *wasted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn kept(pool: &BufferPool) -> (usize, usize) {
        let kept = pool.0.lock().unwrap();
        (kept.buffers.len(), kept.bytes)
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped() {
        let pool = BufferPool::default();
        let mut loan = pool.take(1_000_000);
        loan.extend_from_slice(&[7; 1_000_000]);
        let memory = loan.as_ref().as_ptr();
        let reply = loan.into_bytes();
        let slice = reply.slice(999_000..);
        drop(reply);
        assert_eq!(kept(&pool).0, 0);
        assert_eq!(slice[0], 7);
        drop(slice);
        assert_eq!(kept(&pool).0, 1);
        let mut again = pool.take(990_000);
        assert_eq!(again.rest().as_ptr(), memory);
        assert_eq!(again.len(), 0);
        assert_eq!(kept(&pool), (0, 0));
    }

    #[test]
    fn as_much_waits_as_was_lent_at_a_time_of_late() {
        let pool = BufferPool::default();
        let lent: Vec<Loan> = (0..20).map(|_| pool.take(MIB)).collect();
        drop(lent);
        assert_eq!(kept(&pool), (20, 20 * MIB));
        for _ in 0..2 * LOANS_OF_LATE {
            drop(pool.take(MIB));
        }
        assert_eq!(kept(&pool), (1, MIB), "one at a time was needed");
    }

    #[test]
    fn buffers_that_fit_nothing_any_more_make_room_for_others() {
        let pool = BufferPool::default();
        let small: Vec<Loan> = (0..8).map(|_| pool.take(MIB / 4)).collect();
        drop(small);
        let large = pool.take(MIB);
        assert_eq!(kept(&pool).1, MIB, "both together are what was needed");
        drop(large);
        assert_eq!(kept(&pool).1, 2 * MIB);
    }

    #[test]
    fn a_small_reply_does_not_hold_a_large_buffer() {
        let pool = BufferPool::default();
        drop(pool.take(5 * MIB));
        assert_eq!(kept(&pool).0, 1);
        assert!(pool.take(100_000).rest().len() <= 128 << 10);
        // Nor one that is larger than another that fits as well.
        drop([pool.take(4 * MIB), pool.take(MIB)]);
        assert_eq!(pool.take(300_000).rest().len(), MIB);
    }

    #[test]
    fn a_larger_buffer_is_used_rather_than_pushed_out() {
        let pool = BufferPool::default();
        drop(pool.take(4 * MIB));
        let memory = pool.0.lock().unwrap().buffers[0].as_ptr();
        for need in [MIB, 4 * MIB, MIB / 2, 4 * MIB] {
            assert_eq!(pool.take(need).rest().as_ptr(), memory);
            assert_eq!(kept(&pool), (1, 4 * MIB));
        }
        // They are as many as are needed of late, without what is wasted.
        for _ in 0..2 * LOANS_OF_LATE {
            drop(pool.take(MIB));
        }
        assert_eq!(kept(&pool), (1, MIB));
        // No more than one large one at a time.
        drop([pool.take(4 * MIB), pool.take(4 * MIB)]);
        let small = [MIB, MIB].map(|need| pool.take(need));
        assert_eq!(small.map(|mut loan| loan.rest().len()), [4 * MIB, MIB]);
    }

    #[test]
    fn a_connection_that_breaks_within_a_reply_gives_its_buffer_back() {
        let pool = BufferPool::default();
        drop(pool.take(MIB));
        drop(pool.take(MIB));
        assert_eq!(kept(&pool), (1, MIB));
        assert_eq!(pool.0.lock().unwrap().lent_bytes, 0);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = BufferPool::default();
        let mut loan = pool.take(MIB);
        loan.extend_from_slice(&[1]);
        let reply = loan.into_bytes();
        drop(pool);
        assert_eq!(reply[..], [1]);
    }

    #[test]
    fn nothing_waits_where_only_small_replies_come() {
        let pool = BufferPool::default();
        drop([pool.take(8 * MIB), pool.take(8 * MIB)]);
        assert_eq!(kept(&pool).0, 2);
        (0..2 * LOANS_OF_LATE).for_each(|_| pool.age());
        assert_eq!(kept(&pool), (0, 0));
    }

    #[test]
    fn the_smallest_are_the_allocators() {
        let pool = BufferPool::default();
        for need in [0, 1, POOLED_BYTES_MIN - 1] {
            let mut loan = pool.take(need);
            loan.extend_from_slice(&vec![3; need]);
            assert_eq!(loan.into_bytes().len(), need);
        }
        assert_eq!(kept(&pool), (0, 0));
    }
}
