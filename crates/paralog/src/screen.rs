//! The stream that a command shows its progress on, shared with log lines.
//!
//! On a terminal the last few lines are kept for what is true now: they are taken away before a log line is
//! written and drawn again below it. Anywhere else they are never drawn. Log lines go to the error stream,
//! wherever progress is shown.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    fn write(self, text: &str) -> io::Result<()> {
        match self {
            Stream::Output => {
                io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())
            }
            Stream::Error => io::stderr().lock().write_all(text.as_bytes()),
        }
    }
}

/// One of the standard streams. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    stream: Stream,
    is_terminal: bool,
    live: Arc<Mutex<Vec<String>>>,
    /// The first thing that could not be shown, and why.
    failed: Arc<OnceLock<io::Error>>,
}

impl Screen {
    /// The error stream, for a command whose progress is beside the point.
    pub(crate) fn new() -> Screen {
        Screen::on(Stream::Error, io::stderr().is_terminal())
    }

    /// The output, for a command whose progress is the answer.
    pub(crate) fn for_answers() -> Screen {
        Screen::on(Stream::Output, io::stdout().is_terminal())
    }

    fn on(stream: Stream, is_terminal: bool) -> Screen {
        // A terminal that understands nothing says so.
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen { stream, is_terminal: is_terminal && !is_dumb, live: Arc::default(), failed: Arc::default() }
    }

    /// Whether progress can be shown in place.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// What cannot be shown must not stop the copy; [`Screen::failure`] tells of it afterwards.
    fn put(&self, text: &str) {
        if let Err(error) = self.stream.write(text) {
            // All but the first would only say it again.
            let _ = self.failed.set(error);
        }
    }

    /// Why something could not be shown. That nobody reads any more, as with `| head`, is no reason.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.failed.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Replaces the lines that show progress.
    pub(crate) fn show(&self, lines: Vec<String>) {
        if !self.is_terminal {
            return;
        }
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = erase(&live);
        out.push_str(&draw(&lines));
        *live = lines;
        self.put(&out);
    }

    /// Leaves the lines that show progress where they are, as the last word.
    pub(crate) fn finish(&self) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Says a line, above those that show progress.
    pub(crate) fn say(&self, line: &str) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&format!("{}{line}\n{}", erase(&live), draw(&live)));
    }

    /// Logs `text`, above the lines that show progress.
    pub(crate) fn write(&self, text: &[u8]) -> io::Result<()> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stream != Stream::Error && !live.is_empty() {
            self.put(&erase(&live));
            let written = io::stderr().lock().write_all(text);
            self.put(&draw(&live));
            return written;
        }
        let mut out = erase(&live).into_bytes();
        out.extend_from_slice(text);
        out.extend_from_slice(draw(&live).as_bytes());
        io::stderr().lock().write_all(&out)
    }
}

/// Back to the first live line, and nothing from there on.
fn erase(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\x1b[{}F\x1b[J", lines.len()) }
}

/// Each line cut at the right edge rather than wrapped, so that a line is a row.
fn draw(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\x1b[?7l{line}\x1b[?7h\n")).collect()
}

/// One log line, written whole.
#[derive(Debug)]
pub(crate) struct LogLine(Screen);

impl Write for LogLine {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_lines_are_taken_away_before_they_are_drawn_again() {
        let lines = [String::from("a"), String::from("b")];
        assert_eq!(draw(&lines), "\x1b[?7la\x1b[?7h\n\x1b[?7lb\x1b[?7h\n");
        assert_eq!(erase(&lines), "\x1b[2F\x1b[J");
        assert_eq!(erase(&[]), "");
    }
}
