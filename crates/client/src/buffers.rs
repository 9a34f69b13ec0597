//! Buffers for large replies, used again while they are still in the processor's cache.
//!
//! A reply is read into a buffer of its own and handed out as [`Bytes`]; when the last slice of it is
//! dropped, the buffer comes back here instead of going back to the kernel, which would have to fault in
//! and zero every page of the next one. That halves the cost of moving a gigabyte (measured).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// Below this the allocator's own lists serve as well.
const POOLED_BYTES_MIN: usize = 64 << 10;

/// What is kept of buffers nobody uses, in bytes: a few replies of the usual size. Beyond it, a buffer that
/// comes back is freed.
const KEPT_BYTES_MAX: usize = 24 << 20;

/// A stack of buffers that wait for their next use. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferPool(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan; its drop gives it back.
struct Lent {
    buffer: Vec<u8>,
    pool: Weak<Mutex<Kept>>,
}

impl BufferPool {
    /// An empty buffer with room for `need_bytes`: the one that came back last of those that fit without
    /// wasting more than they hold.
    pub(crate) fn take(&self, need_bytes: usize) -> Vec<u8> {
        if need_bytes < POOLED_BYTES_MIN {
            return Vec::with_capacity(need_bytes);
        }
        let room = rounded_up(need_bytes);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= need_bytes && buffer.capacity() / 2 <= room;
        match kept.buffers.iter().rposition(fits) {
            Some(place) => {
                let buffer = kept.buffers.remove(place);
                kept.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(room),
        }
    }

    /// Hands the contents of `buffer` out; it comes back when the last slice is dropped.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < POOLED_BYTES_MIN {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Lent { buffer, pool: Arc::downgrade(&self.0) })
    }
}

/// Room in steps of an eighth of the next power of two, so that replies of nearly one size share buffers.
fn rounded_up(need_bytes: usize) -> usize {
    let step = (need_bytes.next_power_of_two() / 8).max(POOLED_BYTES_MIN);
    need_bytes.div_ceil(step) * step
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut kept = pool.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES_MAX {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &BufferPool) -> (usize, usize) {
        let kept = pool.0.lock().unwrap();
        (kept.buffers.len(), kept.bytes)
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_dropped() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(1_000_000);
        buffer.resize(1_000_000, 7);
        let memory = buffer.as_ptr();
        let reply = pool.lend(buffer);
        let slice = reply.slice(999_000..);
        drop(reply);
        assert_eq!(kept(&pool).0, 0);
        assert_eq!(slice[0], 7);
        drop(slice);
        assert_eq!(kept(&pool).0, 1);
        let again = pool.take(990_000);
        assert_eq!(again.as_ptr(), memory);
        assert!(again.is_empty());
        assert_eq!(kept(&pool), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = BufferPool::default();
        let lent: Vec<Bytes> = (0..40).map(|_| pool.lend(pool.take(1 << 20))).collect();
        drop(lent);
        assert_eq!(kept(&pool), (24, 24 << 20));
        drop(pool.lend(pool.take(100 << 20)));
        assert_eq!(kept(&pool).1, 24 << 20);
    }

    #[test]
    fn a_small_reply_does_not_hold_a_large_buffer() {
        let pool = BufferPool::default();
        drop(pool.lend(pool.take(8 << 20)));
        assert!(pool.take(100_000).capacity() <= 128 << 10);
        assert_eq!(kept(&pool).0, 1);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(1 << 20);
        buffer.push(1);
        let reply = pool.lend(buffer);
        drop(pool);
        assert_eq!(reply[..], [1]);
    }
}
