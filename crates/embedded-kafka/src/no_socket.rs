//! Why the system gives no socket, in words that say what to do about it.

use std::io;

/// Why there is no socket to listen on, or none for a connection that waits.
#[derive(Debug, thiserror::Error)]
pub enum NoSocket {
    /// `EADDRINUSE`.
    #[error("the port is in use")]
    PortInUse,
    /// `EMFILE`.
    #[error("too many open files: this process may not have more of them, `ulimit -n` says how many")]
    TooManyFiles,
    /// `ENFILE`.
    #[error("too many open files: the whole system has no more of them")]
    TooManyFilesInSystem,
    /// Anything else, in the system's words.
    #[error(transparent)]
    Other(io::Error),
}

impl From<io::Error> for NoSocket {
    fn from(error: io::Error) -> NoSocket {
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => NoSocket::PortInUse,
            Some(libc::EMFILE) => NoSocket::TooManyFiles,
            Some(libc::ENFILE) => NoSocket::TooManyFilesInSystem,
            _ => NoSocket::Other(error),
        }
    }
}
