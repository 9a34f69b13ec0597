//! Waking up for as much as is worth it: SO_RCVLOWAT.
//!
//! While a large reply arrives, the kernel would wake us for every few segments of it. It is told to wait until there is
//! more, or all that is missing. On a quiet machine that takes a tenth off the processor time of a gigabyte (measured: 2.05
//! to 1.86 times that of a bare relay).
//!
//! Linux before 5.12 may wait for more than its buffer holds, or than memory allows, and would wait for ever. So nobody
//! here waits for long: after [`PATIENCE`] the mark is taken back, and after some such times in a row for good.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use tokio::time::Instant;

/// The most that is waited for, so that what waits in the kernel's buffer may still be in the cache; chosen, not measured.
const BYTES_MAX: usize = 2 << 20;
/// Who is not woken for so long looks for himself.
const PATIENCE: Duration = Duration::from_millis(100);
/// A kernel that leaves us waiting so often in a row is not asked any more.
const IN_VAIN_MAX: u32 = 3;

/// A socket's low-water mark.
#[derive(Debug)]
pub(crate) struct LowWater {
    socket: OwnedFd,
    bytes: usize,
    /// When the mark is taken back, if nothing has come by then.
    until: Instant,
    in_vain: u32,
}

impl LowWater {
    /// That of `socket`; `None` where it cannot be had, and nothing is lost but speed.
    pub(crate) fn of(socket: &impl AsFd) -> Option<LowWater> {
        let socket = socket.as_fd().try_clone_to_owned().ok()?;
        Some(LowWater { socket, bytes: 1, until: Instant::now(), in_vain: 0 })
    }

    /// Nothing is to be done before `missing` bytes more are there, or a good part of them. Says until when that may be
    /// waited for; `None`: for ever.
    pub(crate) fn wait_for(&mut self, missing: usize) -> Option<Instant> {
        let bytes = if self.in_vain < IN_VAIN_MAX { missing.clamp(1, BYTES_MAX) } else { 1 };
        if bytes != self.bytes && set(&self.socket, bytes) {
            self.bytes = bytes;
            self.until = Instant::now() + PATIENCE;
        }
        (self.bytes > 1).then_some(self.until)
    }

    /// Something came.
    pub(crate) fn came(&mut self) {
        self.in_vain = 0;
        self.until = Instant::now() + PATIENCE;
    }

    /// Nothing came in time: whatever there is will do.
    pub(crate) fn give_up(&mut self) {
        self.in_vain += 1;
        if set(&self.socket, 1) {
            self.bytes = 1;
        }
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
