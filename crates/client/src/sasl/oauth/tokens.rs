//! The token of an endpoint, kept for all logins to a cluster until it is time for another.
//!
//! Source: Kafka's ExpiringCredentialRefreshingLogin, which asks on a thread of its own; here the next login does, so
//! that an endpoint is not asked where nobody logs in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::debug;

use super::endpoint::Endpoint;
use super::jwt::{self, Times};
use crate::sasl::kept::{Held, Kept};
use crate::{Secret, TokenEndpoint, TokenRefresh};

/// Where tokens come from, and the last one.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    kept: Kept<Secret>,
    /// The endpoint has refused the client's secret when it was asked last.
    is_refused: AtomicBool,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(options: TokenEndpoint) -> Tokens {
        Tokens::with(options, Kept::new("token"))
    }

    /// Those of the same client with another secret: the token that it has stays its own.
    pub(crate) fn with_secret_of(&self, options: TokenEndpoint) -> Tokens {
        Tokens::with(options, self.0.kept.handed_on())
    }

    fn with(options: TokenEndpoint, kept: Kept<Secret>) -> Tokens {
        Tokens(Arc::new(Inner { endpoint: Endpoint::new(options), kept, is_refused: AtomicBool::new(false) }))
    }

    /// Whether the endpoint has refused the client's secret when it was asked last.
    pub(crate) fn is_refused(&self) -> bool {
        self.0.is_refused.load(Ordering::Relaxed)
    }

    /// Whether nobody has to be asked for a token now; `is_asked`: somebody is asked already.
    pub(crate) fn is_at_hand(&self, now_ms: u64, is_asked: bool) -> bool {
        self.0.kept.at_hand(now_ms, is_asked).is_some()
    }

    /// The token that is at hand, or why there is none just now.
    pub(crate) fn at_hand(&self, now_ms: u64, is_asked: bool) -> Option<Result<Secret, String>> {
        self.0.kept.at_hand(now_ms, is_asked)
    }

    /// Whether the endpoint can be asked, without doing so.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.endpoint.check()
    }

    /// What it is called in messages.
    pub(crate) fn called(&self) -> String {
        self.0.endpoint.called()
    }

    /// A token that is valid now. Blocks while the endpoint is asked. `now_ms` is the wall clock, and `share` random,
    /// from 0 to 1.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    pub(crate) fn token(&self, now_ms: &dyn Fn() -> u64, share: f64) -> Result<Secret, String> {
        let Inner { endpoint, kept, is_refused } = &*self.0;
        kept.get(now_ms, || {
            let fetched = endpoint.fetch();
            is_refused.store(fetched.as_ref().is_err_and(|failed| failed.is_refusal), Ordering::Relaxed);
            let token = fetched.map_err(|failed| failed.what)?;
            let now_ms = now_ms();
            let times = jwt::check(token.expose(), endpoint.options());
            let times = times.and_then(|times| in_time(times, now_ms));
            let times = times.map_err(|why| format!("{} gives a token {why}", endpoint.called()))?;
            let lasts_s = times.expires_ms.saturating_sub(now_ms) / 1000;
            debug!(endpoint = endpoint.called(), lasts_s, "a new token");
            let refresh_at_ms = refresh_at_ms(&endpoint.options().refresh, now_ms, times, share);
            Ok(Held { value: token, refresh_at_ms, expires_ms: times.expires_ms })
        })
    }

    /// A broker has refused the token: the next login gets another.
    pub(crate) fn forget(&self) {
        self.0.kept.forget();
    }
}

fn in_time(times: Times, now_ms: u64) -> Result<Times, String> {
    if now_ms < times.expires_ms {
        return Ok(times);
    }
    let ago = (now_ms - times.expires_ms) / 1000;
    Err(format!("that expired {ago} s ago by this machine's clock; set the clocks of both sides"))
}

/// When a token is to be replaced, which is given at `now_ms`.
fn refresh_at_ms(refresh: &TokenRefresh, now_ms: u64, times: Times, share: f64) -> u64 {
    let part = (refresh.window_factor + refresh.window_jitter * share).clamp(0.0, 1.0);
    let after = |start_ms: u64| {
        let lasts = Duration::from_millis(times.expires_ms.saturating_sub(start_ms));
        start_ms.saturating_add(millis(lasts.mul_f64(if part.is_nan() { 1.0 } else { part })))
    };
    let buffers_end_ms = now_ms.saturating_add(millis(refresh.min_period.saturating_add(refresh.buffer)));
    if buffers_end_ms > times.expires_ms {
        return after(now_ms).min(times.expires_ms);
    }
    let latest_ms = times.expires_ms - millis(refresh.buffer);
    let earliest_ms = now_ms.saturating_add(millis(refresh.min_period));
    // The order of Kafka's own checks: the latest time wins.
    after(times.issued_ms.unwrap_or(now_ms)).max(earliest_ms).min(latest_ms).max(now_ms)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
