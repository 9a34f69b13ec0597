//! The error stream, shared by log lines and the lines that show progress.
//!
//! On a terminal the last few lines are kept for what is true now: they are taken away before a log line is
//! written and drawn again below it. Anywhere else they are never drawn.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The error stream. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    live: Arc<Mutex<Vec<String>>>,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        // A terminal that understands nothing says so.
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen { is_terminal: io::stderr().is_terminal() && !is_dumb, live: Arc::default() }
    }

    /// Whether progress can be shown in place.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
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
        // What cannot be shown must not stop the copy.
        let _ = io::stderr().lock().write_all(out.as_bytes());
    }

    /// Leaves the lines that show progress where they are, as the last word.
    pub(crate) fn finish(&self) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Writes `text` above the lines that show progress.
    pub(crate) fn write(&self, text: &[u8]) -> io::Result<()> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
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
