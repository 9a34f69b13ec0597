//! What the demo says: a line for each step that is done, and one that moves for the step that is not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::time::MissedTickBehavior;

use crate::progress::{bar, grouped, records};
use crate::screen::Screen;

const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const PIPE_INTERVAL: Duration = Duration::from_secs(5);
/// Of the names of the steps.
const NAME_CHARS: usize = 8;

/// The screen of the demo.
pub(crate) struct Steps {
    screen: Screen,
}

impl Steps {
    pub(crate) fn new(screen: Screen) -> Steps {
        Steps { screen }
    }

    /// Fails if something of what was said could not be written.
    pub(crate) fn told(&self) -> anyhow::Result<()> {
        self.screen.failure().map_or(Ok(()), |error| Err(anyhow!("cannot write to the output: {error}")))
    }

    /// A line.
    pub(crate) fn say(&self, line: &str) {
        self.screen.say(line);
    }

    /// A step is done.
    pub(crate) fn done(&self, name: &str, what: &str) {
        self.say(format!("{name:NAME_CHARS$} {what}").trim_end());
    }

    /// Another line about the step before.
    pub(crate) fn more(&self, what: &str) {
        self.done("", what);
    }

    /// Awaits `work`, and shows meanwhile how many records of how many are done, and what keeps it from going on.
    pub(crate) async fn watched<T>(
        &self,
        name: &str,
        progress: impl Fn() -> (u64, u64),
        trouble: impl Fn() -> Option<String>,
        work: impl Future<Output = T>,
    ) -> T {
        let interval = if self.screen.is_terminal() { TERMINAL_INTERVAL } else { PIPE_INTERVAL };
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        tokio::pin!(work);
        let mut before = (Instant::now(), progress().0);
        let mut shown = None;
        let mut told = None;
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = ticks.tick() => {}
            }
            let (now, (done, of)) = (Instant::now(), progress());
            let present = rate(done.saturating_sub(before.1), now.duration_since(before.0));
            before = (now, done);
            // Half of what is shown is of the last moment, as for `run`.
            let per_second = shown.map_or(present, |shown: u64| shown.midpoint(present));
            shown = Some(per_second);
            let counts = format!("{} of {}, {} records/s", grouped(done), records(of), grouped(per_second));
            if self.screen.is_terminal() {
                let bar = format!("{name:NAME_CHARS$} {}   {counts}", bar(done, of));
                self.screen.show([Some(bar), trouble()].into_iter().flatten().collect());
                continue;
            }
            self.done(name, &counts);
            let before = std::mem::replace(&mut told, trouble());
            if let Some(trouble) = told.as_ref().filter(|_| told != before) {
                self.more(trouble);
            }
        };
        self.screen.show(Vec::new());
        result
    }
}

/// `3.42 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Of a million bytes.
pub(crate) fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// So many a second, rounded down.
pub(crate) fn rate(count: u64, time: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_second() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
        assert_eq!(rate(1_000_000_000, Duration::from_secs(3)), 333_333_333);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
