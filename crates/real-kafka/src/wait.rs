//! Waiting for something outside this process: asking again until it is so, against a deadline.

use crate::Error;
use std::time::{Duration, Instant};

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    started: Instant,
    within: Duration,
}

impl Deadline {
    /// A deadline that far from now.
    #[must_use]
    pub fn within(within: Duration) -> Deadline {
        Deadline { started: Instant::now(), within }
    }

    /// The time left, nothing once it is over.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.within.saturating_sub(self.started.elapsed())
    }

    /// # Errors
    /// [`Error::TimedOut`] with `what` once the time is over.
    pub fn check(&self, what: impl FnOnce() -> String) -> Result<(), Error> {
        if self.left().is_zero() {
            return Err(Error::TimedOut { what: what(), seconds: self.within.as_secs() });
        }
        Ok(())
    }
}

/// Asks `probe` every few milliseconds until it gives something, or an error, or the time is over.
///
/// # Errors
/// The probe's own, or [`Error::TimedOut`] with `what`.
pub fn wait_until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let deadline = Deadline::within(within);
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        deadline.check(|| what.to_owned())?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
