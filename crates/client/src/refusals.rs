//! Who was refused, and how long nobody tries again.
//!
//! Accounts get locked by logins that fail, so all connections to a cluster count together: until one login has passed
//! they are made one at a time, and after one that failed nobody tries for a second, then two, up to a minute. What
//! failed is told meanwhile to whoever asks. Where no TLS comes about, only that address is left alone, for less long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard as Turn;
use tokio::time::{Instant, timeout};

use crate::{Address, CallError};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const LOGIN_PAUSE_MAX: Duration = Duration::from_secs(60);
const TLS_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long one login waits for another: a broker that hangs in the middle of one must not keep everybody out.
const TURN_MAX: Duration = Duration::from_secs(1);

/// The refusals of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// A login has passed, and none failed since.
    believed: bool,
    login: Option<Pause>,
    /// Bounded by the addresses that brokers and settings name.
    tls: HashMap<Arc<Address>, Pause>,
}

#[derive(Debug)]
struct Pause {
    error: CallError,
    since: Instant,
    length: Duration,
}

impl Pause {
    fn holds(&self) -> bool {
        Instant::now() < self.since + self.length
    }

    /// The pause after another failure of something begun at `began`.
    fn after(last: Option<&Pause>, error: &CallError, began: Instant, max: Duration) -> Pause {
        let length = match last {
            // It was begun before the last one was known: both are one.
            Some(last) if began < last.since => last.length,
            Some(last) => (last.length * 2).min(max),
            None => PAUSE_MIN,
        };
        Pause { error: error.clone(), since: Instant::now(), length }
    }
}

impl Refusals {
    /// What keeps from connecting to `address` now, if anything does.
    pub(crate) fn standing(&self, address: &Address) -> Result<(), CallError> {
        let state = self.lock();
        let pause = state.login.as_ref().filter(|pause| pause.holds());
        let pause = pause.or_else(|| state.tls.get(address).filter(|pause| pause.holds()));
        pause.map_or(Ok(()), |pause| Err(pause.error.clone()))
    }

    /// One's turn to log in, as long as what is returned is held.
    pub(crate) async fn turn(&self) -> Result<Option<Turn<'_, ()>>, CallError> {
        let turn = match self.lock().believed {
            true => None,
            false => Some(timeout(TURN_MAX, self.one_at_a_time.lock())),
        };
        let turn = match turn {
            Some(turn) => turn.await.ok(),
            None => None,
        };
        // Whoever had it before may have failed.
        let state = self.lock();
        let pause = state.login.as_ref().filter(|pause| pause.holds());
        pause.map_or(Ok(turn), |pause| Err(pause.error.clone()))
    }

    /// A login has passed.
    pub(crate) fn passed(&self) {
        let mut state = self.lock();
        state.login = None;
        state.believed = true;
    }

    /// A login begun at `began` was refused.
    pub(crate) fn refused(&self, error: &CallError, began: Instant) {
        let mut state = self.lock();
        state.believed = false;
        state.login = Some(Pause::after(state.login.as_ref(), error, began, LOGIN_PAUSE_MAX));
    }

    /// What became of a connection to `address`, begun at `began`, before any login.
    pub(crate) fn note_tls(&self, address: &Arc<Address>, error: Option<&CallError>, began: Instant) {
        let mut state = self.lock();
        match error {
            Some(error @ CallError::Tls { .. }) => {
                let pause = Pause::after(state.tls.get(address), error, began, TLS_PAUSE_MAX);
                state.tls.insert(Arc::clone(address), pause);
            }
            Some(_) => {}
            None => drop(state.tls.remove(address)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Arc<Address> {
        Arc::new(Address { host: "kafka".to_owned(), port: 9092, broker: None })
    }

    fn login() -> CallError {
        CallError::Login { address: address(), mechanism: "PLAIN", what: "no".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_after_refusals_double_up_to_a_minute_and_end_with_a_login_that_passes() {
        let refusals = Refusals::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(refusals.turn().await.is_ok());
            refusals.refused(&login(), Instant::now());
            let refused = Instant::now();
            while refusals.standing(&address()).is_err() {
                assert!(refusals.turn().await.is_err());
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            pauses.push(refused.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        refusals.passed();
        refusals.refused(&login(), Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refusals.standing(&address()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn logins_under_way_when_one_fails_count_as_one() {
        let refusals = Refusals::default();
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        for _ in 0..5 {
            refusals.refused(&login(), began);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refusals.standing(&address()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn until_a_login_has_passed_they_are_made_one_at_a_time() {
        let refusals = Refusals::default();
        let first = refusals.turn().await.unwrap();
        assert!(first.is_some());
        let second = timeout(Duration::from_millis(500), refusals.turn()).await;
        assert!(second.is_err(), "it waits for the first");
        refusals.refused(&login(), Instant::now());
        drop(first);
        assert!(refusals.turn().await.is_err(), "it does not fail once more");
        refusals.passed();
        let all = [refusals.turn().await.unwrap(), refusals.turn().await.unwrap()];
        assert!(all.iter().all(Option::is_none), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_hangs_does_not_keep_everybody_out() {
        let refusals = Refusals::default();
        let hangs = refusals.turn().await.unwrap();
        let began = Instant::now();
        assert!(refusals.turn().await.unwrap().is_none());
        assert_eq!(began.elapsed(), TURN_MAX);
        drop(hangs);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_without_tls_is_left_alone_by_itself() {
        let refusals = Refusals::default();
        let other = Address { port: 9093, ..(*address()).clone() };
        let error = CallError::Tls { address: address(), what: "no".to_owned() };
        refusals.note_tls(&address(), Some(&error), Instant::now());
        assert!(refusals.standing(&address()).is_err() && refusals.standing(&other).is_ok());
        refusals.note_tls(&address(), None, Instant::now());
        assert!(refusals.standing(&address()).is_ok());
    }
}
