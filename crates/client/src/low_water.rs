//! Waking up for as much as is worth it: SO_RCVLOWAT.
//!
//! While a large reply arrives, the kernel would wake us for every few segments of it. It is told to wait until there is
//! more, or all that is missing; should its buffer be full before, it wakes us all the same (socket(7)). On a quiet machine
//! a gigabyte then takes a third of the wake-ups (measured).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The most worth waiting for: beyond it the copy out of the kernel's buffer finds nothing of it in the cache any more.
const BYTES_MAX: usize = 512 << 10;

/// A socket's low-water mark.
#[derive(Debug)]
pub(crate) struct LowWater {
    socket: OwnedFd,
    bytes: usize,
}

impl LowWater {
    /// That of `socket`; `None` where it cannot be had, and nothing is lost but speed.
    pub(crate) fn of(socket: &impl AsFd) -> Option<LowWater> {
        let socket = socket.as_fd().try_clone_to_owned().ok()?;
        Some(LowWater { socket, bytes: 1 })
    }

    /// Nothing is to be done before `missing` bytes more are there, or a good part of them.
    pub(crate) fn wait_for(&mut self, missing: usize) {
        let bytes = missing.clamp(1, BYTES_MAX);
        if bytes != self.bytes && set(&self.socket, bytes) {
            self.bytes = bytes;
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
