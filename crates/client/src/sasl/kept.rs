//! What logins need that somebody else gives out and that ends: kept for all logins to a cluster until it is time for
//! another.
//!
//! ```text
//! none ──ask──▶ kept ──refresh time──▶ ask ──▶ kept anew
//!   │             ▲                     └─ fails ─▶ the old one while it is valid, with a warning
//!   └─ fails ─▶ nobody asks for a second, then two … a minute
//! ```
//! Whoever needs it while another asks waits for what that one gets, unless there is one that is still valid.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

const PAUSE_MIN: Duration = Duration::from_secs(1);
/// As after logins that are refused: accounts get locked.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The last one, and the last time that there was none to be had.
pub(super) struct Kept<T> {
    /// What it is called in messages.
    noun: &'static str,
    /// Never locked while somebody is asked.
    state: Mutex<State<T>>,
    /// Locked while somebody asks, which must have its bounds.
    asking: Mutex<()>,
}

struct State<T> {
    held: Option<Held<T>>,
    failure: Option<Failure>,
}

/// One that was given out. Times are of the wall clock, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held<T> {
    pub(super) value: T,
    /// From then on another is asked for.
    pub(super) refresh_at_ms: u64,
    pub(super) expires_ms: u64,
}

struct Failure {
    what: String,
    at_ms: u64,
    length: Duration,
}

/// What to do for whoever needs it.
enum Choice<T> {
    Use(T),
    Ask,
    Fail(String),
}

impl<T> Kept<T> {
    pub(super) fn new(noun: &'static str) -> Kept<T> {
        Kept { noun, state: Mutex::new(State { held: None, failure: None }), asking: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Kept<T> {
    /// One that is valid now: the kept one, or what `ask` gives. Blocks while that blocks. `now_ms` is the wall clock.
    ///
    /// # Errors
    /// What `ask` said, now or a moment ago.
    pub(super) fn get(
        &self,
        now_ms: &dyn Fn() -> u64,
        ask: impl FnOnce() -> Result<Held<T>, String>,
    ) -> Result<T, String> {
        if let Some(known) = self.at_hand(now_ms(), false) {
            return known;
        }
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have asked until now.
        if let Some(known) = self.at_hand(now_ms(), false) {
            return known;
        }
        match ask() {
            Ok(held) => {
                let value = held.value.clone();
                *self.lock() = State { held: Some(held), failure: None };
                Ok(value)
            }
            Err(what) => {
                let valid = self.lock().failed(what.clone(), now_ms());
                if valid.is_some() {
                    warn!(error = what, "no new {}, going on with the last, which is still valid", self.noun);
                }
                valid.ok_or(what)
            }
        }
    }

    /// What there is without asking anybody: a valid one, or why there is none just now. `None` where somebody has to be
    /// asked; where `is_asked` says that this is done already, one that is still valid does.
    pub(super) fn at_hand(&self, now_ms: u64, is_asked: bool) -> Option<Result<T, String>> {
        let state = self.lock();
        match state.choose(now_ms) {
            Choice::Use(value) => Some(Ok(value)),
            Choice::Fail(what) => Some(Err(what)),
            Choice::Ask if is_asked => state.valid(now_ms).map(Ok),
            Choice::Ask => None,
        }
    }

    /// The next login gets another.
    pub(super) fn forget(&self) {
        self.lock().held = None;
    }

    /// The same, for another asker with the same claim to what is kept.
    pub(super) fn handed_on(&self) -> Kept<T> {
        let held = self.lock().held.clone();
        Kept { state: Mutex::new(State { held, failure: None }), ..Kept::new(self.noun) }
    }
}

impl<T: Clone> State<T> {
    fn choose(&self, now_ms: u64) -> Choice<T> {
        let valid = self.valid(now_ms);
        let pause = self.failure.as_ref().filter(|failure| failure.holds(now_ms));
        match (&self.held, valid, pause) {
            (Some(held), Some(value), _) if now_ms < held.refresh_at_ms => Choice::Use(value),
            (_, Some(value), Some(_)) => Choice::Use(value),
            (_, None, Some(failure)) => Choice::Fail(failure.what.clone()),
            (_, _, None) => Choice::Ask,
        }
    }

    fn valid(&self, now_ms: u64) -> Option<T> {
        self.held.as_ref().filter(|held| now_ms < held.expires_ms).map(|held| held.value.clone())
    }

    /// Nobody asks for a while; the old one, if it is still valid.
    fn failed(&mut self, what: String, now_ms: u64) -> Option<T> {
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
