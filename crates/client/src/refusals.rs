//! Who was refused, and how long nobody tries again.
//!
//! Accounts get locked by logins that fail, so all connections to a cluster count together: until one login has passed
//! they are made one at a time, and after one that failed nobody tries for a second, then two, up to a minute. What
//! failed is told meanwhile to whoever asks. Where no TLS comes about, or a login ends without a word, only that address
//! is left alone, for less long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ApiKey;
use tokio::sync::MutexGuard as Turn;
use tokio::time::Instant;

use crate::{Address, CallError};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const LOGIN_PAUSE_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ADDRESS_PAUSE_MAX: Duration = Duration::from_secs(10);
/// For so long a login that has passed says of others that they will.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// How long a login keeps others waiting: a broker that hangs in the middle of one must not keep everybody out.
pub(crate) const TURN_MAX: Duration = Duration::from_secs(1);

/// The refusals of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// When a login has passed last, if none failed since.
    passed_at: Option<Instant>,
    login: Option<Pause>,
    /// When it was looked last whether the secret is another one.
    looked_at: Option<Instant>,
    /// Bounded by the addresses that brokers and settings name.
    addresses: HashMap<Arc<Address>, Pause>,
}

#[derive(Debug)]
struct Pause {
    error: CallError,
    /// The number of the secret that was refused; one that is for an address has none.
    secret: u64,
    since: Instant,
    length: Duration,
}

impl Pause {
    fn holds(&self) -> bool {
        Instant::now() < self.since + self.length
    }

    /// The pause after another failure of something begun at `began`.
    fn after(last: Option<&Pause>, error: &CallError, secret: u64, began: Instant, max: Duration) -> Pause {
        let length = match last {
            // It was begun before the last one was known: both are one.
            Some(last) if began < last.since => last.length,
            Some(last) => (last.length * 2).min(max),
            None => PAUSE_MIN,
        };
        Pause { error: error.clone(), secret, since: Instant::now(), length }
    }
}

impl State {
    /// The pause that holds for this secret.
    fn login_pause(&self, secret: u64) -> Option<&Pause> {
        self.login.as_ref().filter(|pause| pause.secret == secret && pause.holds())
    }
}

impl Refusals {
    /// What keeps from connecting to `address` now, if anything does.
    pub(crate) fn standing(&self, address: &Address, secret: u64) -> Result<(), CallError> {
        let state = self.lock();
        let pause = state.login_pause(secret);
        let pause = pause.or_else(|| state.addresses.get(address).filter(|pause| pause.holds()));
        pause.map_or(Ok(()), |pause| Err(pause.error.clone()))
    }

    /// Why nobody logs in with this secret now: it was refused lately.
    pub(crate) fn login_pause(&self, secret: u64) -> Option<CallError> {
        self.lock().login_pause(secret).map(|pause| pause.error.clone())
    }

    /// A login was refused, nobody tries again yet, and it is time to look for another secret: true once a second.
    pub(crate) fn wants_another_secret(&self, secret: u64) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let is_paused = state.login_pause(secret).is_some();
        let wants = is_paused && state.looked_at.is_none_or(|at| now >= at + LOOK_EVERY);
        if wants {
            state.looked_at = Some(now);
        }
        wants
    }

    /// One's turn to log in with this secret, as long as what is returned is held, which is to be [`TURN_MAX`] at most.
    pub(crate) async fn turn(&self, secret: u64) -> Result<Option<Turn<'_, ()>>, CallError> {
        let passed_at = self.lock().passed_at;
        let turn = match passed_at.is_some_and(|at| at.elapsed() < BELIEVED_FOR) {
            true => None,
            false => Some(self.one_at_a_time.lock().await),
        };
        // Whoever had it before may have failed.
        let state = self.lock();
        state.login_pause(secret).map_or(Ok(turn), |pause| Err(pause.error.clone()))
    }

    /// A login with this secret, begun at `began`, has passed.
    pub(crate) fn passed(&self, began: Instant, secret: u64) {
        let mut state = self.lock();
        // One that was under way when another was refused says nothing of the next.
        let is_over = |login: &Pause| (secret, began) > (login.secret, login.since);
        if state.login.as_ref().is_none_or(is_over) {
            state.login = None;
            state.passed_at = Some(Instant::now());
        }
    }

    /// A login with this secret, begun at `began`, was refused.
    pub(crate) fn refused(&self, error: &CallError, began: Instant, secret: u64) {
        let mut state = self.lock();
        state.passed_at = None;
        // What is heard late of an earlier secret says nothing of a later one.
        if state.login.as_ref().is_none_or(|login| login.secret <= secret) {
            let last = state.login.as_ref().filter(|login| login.secret == secret);
            state.login = Some(Pause::after(last, error, secret, began, LOGIN_PAUSE_MAX));
        }
    }

    /// What became of a connection to `address`, begun at `began`, but for logins that were refused.
    pub(crate) fn note(&self, address: &Arc<Address>, error: Option<&CallError>, began: Instant) {
        let mut state = self.lock();
        match error {
            // A login that gets no word may have been counted as one that failed all the same.
            Some(
                error @ (CallError::Tls { .. }
                | CallError::Closed { api: ApiKey::SaslAuthenticate, .. }
                | CallError::TimedOut { api: ApiKey::SaslAuthenticate, .. }),
            ) => {
                let pause = Pause::after(state.addresses.get(address), error, 0, began, ADDRESS_PAUSE_MAX);
                state.addresses.insert(Arc::clone(address), pause);
            }
            Some(_) => {}
            None => drop(state.addresses.remove(address)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

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
            assert!(refusals.turn(0).await.is_ok());
            refusals.refused(&login(), Instant::now(), 0);
            let refused = Instant::now();
            while refusals.standing(&address(), 0).is_err() {
                assert!(refusals.turn(0).await.is_err());
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            pauses.push(refused.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        refusals.passed(Instant::now(), 0);
        refusals.refused(&login(), Instant::now(), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refusals.standing(&address(), 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn another_secret_does_not_wait_for_the_one_that_was_refused() {
        let refusals = Refusals::default();
        refusals.refused(&login(), Instant::now(), 3);
        assert!(refusals.standing(&address(), 3).is_err() && refusals.turn(3).await.is_err());
        assert!(refusals.standing(&address(), 4).is_ok() && refusals.turn(4).await.is_ok());
        refusals.refused(&login(), Instant::now(), 4);
        refusals.refused(&login(), Instant::now(), 3);
        refusals.passed(Instant::now() + PAUSE_MIN, 3);
        assert!(refusals.login_pause(4).is_some(), "the earlier one says nothing of it");
        tokio::time::advance(PAUSE_MIN).await;
        assert!(refusals.login_pause(4).is_none(), "its pauses are its own");
    }

    #[tokio::test(start_paused = true)]
    async fn logins_under_way_when_one_fails_count_as_one() {
        let refusals = Refusals::default();
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(10)).await;
        for _ in 0..5 {
            refusals.refused(&login(), began, 0);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refusals.standing(&address(), 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn until_a_login_has_passed_they_are_made_one_at_a_time() {
        let refusals = Refusals::default();
        let first = refusals.turn(0).await.unwrap();
        assert!(first.is_some());
        let second = timeout(Duration::from_millis(500), refusals.turn(0)).await;
        assert!(second.is_err(), "it waits for the first");
        refusals.refused(&login(), Instant::now(), 0);
        drop(first);
        assert!(refusals.turn(0).await.is_err(), "it does not fail once more");
        let earlier = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        refusals.refused(&login(), Instant::now(), 0);
        refusals.passed(earlier, 0);
        assert!(refusals.turn(0).await.is_err(), "what began before says nothing of what comes");
        tokio::time::advance(Duration::from_secs(2)).await;
        refusals.passed(Instant::now(), 0);
        let all = [refusals.turn(0).await.unwrap(), refusals.turn(0).await.unwrap()];
        assert!(all.iter().all(Option::is_none), "nobody waits any more");
        tokio::time::advance(BELIEVED_FOR).await;
        assert!(refusals.turn(0).await.unwrap().is_some(), "the password may be another one by now");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_without_tls_is_left_alone_by_itself() {
        let refusals = Refusals::default();
        let other = Address { port: 9093, ..(*address()).clone() };
        let error = CallError::Tls { address: address(), what: "no".to_owned() };
        refusals.note(&address(), Some(&error), Instant::now());
        assert!(refusals.standing(&address(), 0).is_err() && refusals.standing(&other, 0).is_ok());
        refusals.note(&address(), None, Instant::now());
        assert!(refusals.standing(&address(), 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_ends_logins_without_a_word_is_left_alone_for_a_while() {
        let refusals = Refusals::default();
        let closed = |api| CallError::Closed {
            api,
            address: address(),
            maybe_written: false,
            source: crate::CloseCause::ByPeer,
        };
        refusals.note(&address(), Some(&closed(ApiKey::ApiVersions)), Instant::now());
        assert!(refusals.standing(&address(), 0).is_ok());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            refusals.note(&address(), Some(&closed(ApiKey::SaslAuthenticate)), Instant::now());
            let began = Instant::now();
            while refusals.standing(&address(), 0).is_err() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            pauses.push(began.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }
}
