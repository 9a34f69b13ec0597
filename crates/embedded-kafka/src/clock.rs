//! The time that the brokers believe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall-clock milliseconds: a start, what tokio's clock has counted since (paused time stands still), and
/// what a test has added.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start_ms: i64,
    started: Instant,
    added_ms: i64,
}

impl Clock {
    /// Starts at `start_ms`, or at the system's time.
    #[allow(clippy::disallowed_methods, reason = "the one place where the brokers learn the time")]
    pub(crate) fn new(start_ms: Option<i64>) -> Clock {
        let start_ms = start_ms.unwrap_or_else(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
        });
        Clock { start_ms, started: Instant::now(), added_ms: 0 }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        let elapsed_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(elapsed_ms).saturating_add(self.added_ms)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.added_ms = self.added_ms.saturating_add(by_ms);
    }
}
