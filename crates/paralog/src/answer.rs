//! What a command that does not go on has to say, on the output.

use std::io::{self, ErrorKind, Write};

/// Writes `text` to the output. That nobody reads it to its end, as with `| head`, is no failure.
///
/// # Errors
/// If it cannot be written, as to a full disk.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
