//! The token of an endpoint, kept for all logins to a cluster until it is time for another.
//!
//! ```text
//! none ──ask──▶ kept ──refresh time──▶ ask ──▶ kept anew
//!   │             ▲                     └─ fails ─▶ the old one while it is valid, with a warning
//!   └─ fails ─▶ nobody asks for a second, then two … a minute
//! ```
//! Whoever needs a token while another asks waits for what that one gets.
//!
//! Source: Kafka's ExpiringCredentialRefreshingLogin, which asks on a thread of its own; here the next login does, so
//! that an endpoint is not asked where nobody logs in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};

use super::endpoint::Endpoint;
use super::jwt::{self, Times};
use crate::{Secret, TokenEndpoint, TokenRefresh};

const PAUSE_MIN: Duration = Duration::from_secs(1);
/// As after logins that are refused: accounts get locked.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Where tokens come from, and the last one.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    /// Locked while the endpoint is asked, which has its bounds.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<Failure>,
}

struct Held {
    token: Secret,
    refresh_at_ms: u64,
    expires_ms: u64,
}

/// The last time that there was no token to be had.
struct Failure {
    what: String,
    at_ms: u64,
    length: Duration,
}

/// What to do for whoever needs a token.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Use(Secret),
    Ask,
    Fail(String),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(options: TokenEndpoint) -> Tokens {
        Tokens(Arc::new(Inner { endpoint: Endpoint::new(options), state: Mutex::default() }))
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
        let Inner { endpoint, state } = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.choose(now_ms()) {
            Choice::Use(token) => return Ok(token),
            Choice::Fail(what) => return Err(what),
            Choice::Ask => {}
        }
        let fetched = endpoint.fetch();
        let now_ms = now_ms();
        let checked = fetched.and_then(|token| {
            let times = jwt::check(token.expose(), endpoint.options());
            let times = times.and_then(|times| in_time(times, now_ms));
            match times {
                Ok(times) => Ok((token, times)),
                Err(why) => Err(format!("{} gives a token {why}", endpoint.called())),
            }
        });
        match checked {
            Ok((token, times)) => {
                let refresh_at_ms = refresh_at_ms(&endpoint.options().refresh, now_ms, times, share);
                debug!(
                    endpoint = endpoint.called(),
                    lasts_s = times.expires_ms.saturating_sub(now_ms) / 1000,
                    "a new token"
                );
                *state = State {
                    held: Some(Held { token: token.clone(), refresh_at_ms, expires_ms: times.expires_ms }),
                    failure: None,
                };
                Ok(token)
            }
            Err(what) => {
                let valid = state.failed(what.clone(), now_ms);
                if valid.is_some() {
                    warn!(error = what, "no new token, going on with the last, which is still valid");
                }
                valid.ok_or(what)
            }
        }
    }

    /// A broker has refused `token`: the next login gets another.
    pub(crate) fn forget(&self, token: &Secret) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held.take_if(|held| held.token == *token);
    }
}

impl State {
    fn choose(&self, now_ms: u64) -> Choice {
        let valid = self.valid(now_ms);
        let pause = self.failure.as_ref().filter(|failure| failure.holds(now_ms));
        match (&self.held, valid, pause) {
            (Some(held), Some(token), _) if now_ms < held.refresh_at_ms => Choice::Use(token),
            (_, Some(token), Some(_)) => Choice::Use(token),
            (_, None, Some(failure)) => Choice::Fail(failure.what.clone()),
            (_, _, None) => Choice::Ask,
        }
    }

    fn valid(&self, now_ms: u64) -> Option<Secret> {
        self.held.as_ref().filter(|held| now_ms < held.expires_ms).map(|held| held.token.clone())
    }

    /// Nobody asks for a while; the old token, if it is still valid.
    fn failed(&mut self, what: String, now_ms: u64) -> Option<Secret> {
        let length = self.failure.as_ref().map_or(PAUSE_MIN, |last| (last.length * 2).min(PAUSE_MAX));
        self.failure = Some(Failure { what, at_ms: now_ms, length });
        self.valid(now_ms)
    }
}

impl Failure {
    /// A clock that was set back ends a pause.
    fn holds(&self, now_ms: u64) -> bool {
        let since_ms = now_ms.checked_sub(self.at_ms);
        since_ms.is_some_and(|since_ms| Duration::from_millis(since_ms) < self.length)
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
