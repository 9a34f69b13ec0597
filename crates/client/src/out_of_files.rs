//! Where there is no file descriptor left for one more socket or file, in words that say what to do about it.

use std::io;

/// Whose limit of open files is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfFiles {
    /// `EMFILE`.
    #[error("too many open files: this process may not have more of them, raise its limit (`ulimit -n`)")]
    Process,
    /// `ENFILE`.
    #[error("too many open files: the whole system has no more of them, close some or raise its limit")]
    System,
}

impl OutOfFiles {
    /// Whether `error`, of the system or from [`OutOfFiles::named`], says so.
    pub fn of(error: &io::Error) -> Option<OutOfFiles> {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Some(OutOfFiles::Process),
            Some(libc::ENFILE) => Some(OutOfFiles::System),
            _ => error.get_ref()?.downcast_ref().copied(),
        }
    }

    /// `error` in these words, if it says so; else as it is.
    pub fn named(error: io::Error) -> io::Error {
        OutOfFiles::of(&error).map_or(error, io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_told_from_other_errors_and_known_again_once_named() {
        let cases =
            [(24, Some(OutOfFiles::Process)), (23, Some(OutOfFiles::System)), (libc::ECONNREFUSED, None)];
        for (code, expected) in cases {
            let named = OutOfFiles::named(io::Error::from_raw_os_error(code));
            assert_eq!(OutOfFiles::of(&named), expected);
            assert_eq!(named.to_string().contains("too many open files: "), expected.is_some(), "{named}");
        }
    }
}
