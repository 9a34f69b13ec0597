//! Waking up for as much as is worth it: SO_RCVLOWAT.
//!
//! While a large reply arrives, the kernel would wake us for every few segments of it. It is told to wait until there is
//! more, or all that is missing.
//!
//! Linux before 5.12 may wait for more than its buffer holds, or than memory allows, and would wait for ever. So nobody
//! here waits for long: after [`PATIENCE`] the mark is taken back, and after some such times in a row for good.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use tokio::time::Instant;

/// The most that is waited for. Measured for a gigabyte: a twentieth less processor time at each doubling from 512 KiB, 2,500
/// context switches instead of 3,600. The kernel allows half of what its buffer can grow to, 3 MB by default.
const BYTES_MAX: usize = 2 << 20;
/// What is waited for at first, and the least.
const BYTES_FIRST: usize = 512 << 10;
const BYTES_MIN: usize = 64 << 10;
/// Twice as much is waited for where it came so soon, and half as much where it came so late: on a slow or long way there
/// are few wake-ups to be saved, and what waits in the kernel's buffer would keep the peer from sending.
const SOON: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_millis(10);
/// Who is not woken for so long looks for himself.
const PATIENCE: Duration = Duration::from_millis(100);
/// A kernel that leaves us waiting for the least so often in a row is not asked any more.
const IN_VAIN_MAX: u32 = 3;

/// A socket's low-water mark.
#[derive(Debug)]
pub(crate) struct LowWater {
    socket: OwnedFd,
    bytes: usize,
    bytes_max: usize,
    /// Since when something is waited for.
    since: Instant,
    in_vain: u32,
}

impl LowWater {
    /// That of `socket`; `None` where it cannot be had, and nothing is lost but speed.
    pub(crate) fn of(socket: &impl AsFd) -> Option<LowWater> {
        let socket = socket.as_fd().try_clone_to_owned().ok()?;
        Some(LowWater { socket, bytes: 1, bytes_max: BYTES_FIRST, since: Instant::now(), in_vain: 0 })
    }

    /// Nothing is to be done before `missing` bytes more are there, or a good part of them. Says until when that may be
    /// waited for; `None`: for ever.
    pub(crate) fn wait_for(&mut self, missing: usize) -> Option<Instant> {
        let bytes = if self.in_vain < IN_VAIN_MAX { missing.clamp(1, self.bytes_max) } else { 1 };
        if bytes != self.bytes && set(&self.socket, bytes) {
            self.bytes = bytes;
            self.since = Instant::now();
        }
        (self.bytes > 1).then_some(self.since + PATIENCE)
    }

    /// Something came.
    pub(crate) fn came(&mut self) {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.since);
        if waited >= LATE {
            self.wait_for_less();
        } else if waited <= SOON && self.bytes == self.bytes_max {
            self.bytes_max = (self.bytes_max * 2).min(BYTES_MAX);
        }
        (self.in_vain, self.since) = (0, now);
    }

    /// Nothing came in time: whatever there is will do.
    pub(crate) fn give_up(&mut self) {
        self.in_vain += u32::from(self.bytes_max == BYTES_MIN);
        self.wait_for_less();
        if set(&self.socket, 1) {
            self.bytes = 1;
        }
    }

    fn wait_for_less(&mut self) {
        self.bytes_max = (self.bytes_max / 2).max(BYTES_MIN);
    }
}

#[allow(unsafe_code)] // none of the libraries that we use knows this option
fn set(socket: &OwnedFd, bytes: usize) -> bool {
    let Ok(bytes) = libc::c_int::try_from(bytes) else { return false };
    // SAFETY: the descriptor is open for as long as it is borrowed; the option is an int, read from a live local of that
    // size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: usize = 4 << 20;

    /// The mark after one that was reached so many milliseconds later, or not at all.
    async fn mark_after(low_water: &mut LowWater, millis: Option<u64>) -> usize {
        low_water.wait_for(REPLY).unwrap();
        tokio::time::advance(Duration::from_millis(millis.unwrap_or(100))).await;
        match millis {
            Some(_) => low_water.came(),
            None => low_water.give_up(),
        }
        low_water.wait_for(REPLY);
        low_water.bytes
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_is_waited_for_as_comes_in_a_moment() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut low_water = LowWater::of(&socket).unwrap();
        for (millis, mark) in [(5, 512), (2, 1024), (0, 2048), (0, 2048), (9, 2048), (10, 1024), (50, 512)] {
            assert_eq!(mark_after(&mut low_water, Some(millis)).await, mark << 10, "{millis} ms");
        }
        assert_eq!(mark_after(&mut low_water, None).await, 256 << 10);
        assert_eq!(mark_after(&mut low_water, Some(2)).await, 512 << 10);
        low_water.wait_for(1000);
        low_water.came();
        low_water.wait_for(REPLY);
        assert_eq!(low_water.bytes, 512 << 10, "a rest says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kernel_that_leaves_us_waiting_is_not_asked_any_more() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut low_water = LowWater::of(&socket).unwrap();
        for mark in [256, 128, 64, 64, 64] {
            assert_eq!(mark_after(&mut low_water, None).await, mark << 10);
        }
        low_water.give_up();
        assert_eq!(low_water.wait_for(REPLY), None);
    }
}
