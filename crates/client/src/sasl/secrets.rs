//! Which secret of a login is used where another has been written: decided here, without reading or sending anything.
//!
//! ```text
//! current ──another is written──▶ current = written, the one that has passed is kept
//!                                   │ refused: back to the one that has passed, at once
//!                                   ▼
//!                                 current = former ──refused──▶ current = written again
//! ```
//! So it does not matter whether the brokers or the settings learn of a change first. A secret is known by its number, which
//! no other has: what becomes of a login counts for the secret that it was made with.

use std::sync::Arc;

use crate::Mechanism;

/// The secrets of one user of one cluster.
#[derive(Debug)]
pub(super) struct Secrets {
    current: Arc<Mechanism>,
    number: u64,
    /// A login with the current one has passed.
    has_passed: bool,
    other: Option<Other>,
}

#[derive(Debug)]
enum Other {
    /// It has passed before the current one was written.
    Former(Arc<Mechanism>),
    /// It is written, and was refused while the current one still passes.
    Written(Arc<Mechanism>),
}

impl Secrets {
    pub(super) fn new(mechanism: Mechanism) -> Secrets {
        Secrets { current: Arc::new(mechanism), number: 0, has_passed: false, other: None }
    }

    /// What logins are made with now.
    pub(super) fn current(&self) -> &Arc<Mechanism> {
        &self.current
    }

    /// The number of [`Secrets::current`].
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Another secret of the same user is written: whether it is used from now on.
    pub(super) fn written(&mut self, mechanism: Mechanism) -> bool {
        let is_known = match &self.other {
            Some(Other::Written(written)) => **written == mechanism,
            _ => false,
        };
        if is_known {
            return false;
        }
        if mechanism == *self.current {
            if matches!(self.other, Some(Other::Written(_))) {
                self.other = None;
            }
            return false;
        }
        let before = self.replace(Arc::new(mechanism));
        if std::mem::take(&mut self.has_passed) {
            self.other = Some(Other::Former(before));
        }
        true
    }

    /// A login with the secret `number` has passed.
    pub(super) fn passed(&mut self, number: u64) {
        if number == self.number {
            self.has_passed = true;
            if matches!(self.other, Some(Other::Former(_))) {
                self.other = None;
            }
        }
    }

    /// A login with the secret `number` was refused: whether there is another to be tried at once.
    pub(super) fn refused(&mut self, number: u64) -> bool {
        if number != self.number {
            return true;
        }
        match self.other.take() {
            Some(Other::Former(former)) => {
                let written = self.replace(former);
                self.has_passed = true;
                self.other = Some(Other::Written(written));
                true
            }
            Some(Other::Written(written)) => {
                self.replace(written);
                self.has_passed = false;
                true
            }
            None => {
                self.has_passed = false;
                false
            }
        }
    }

    fn replace(&mut self, with: Arc<Mechanism>) -> Arc<Mechanism> {
        self.number += 1;
        std::mem::replace(&mut self.current, with)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Secret;

    fn plain(password: &str) -> Mechanism {
        Mechanism::Plain { username: "ann".to_owned(), password: Secret::new(password) }
    }

    fn password(secrets: &Secrets) -> &str {
        match &**secrets.current() {
            Mechanism::Plain { password, .. } => password.expose(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_that_passes_is_the_only_one_then() {
        let mut secrets = Secrets::new(plain("old"));
        secrets.passed(secrets.number());
        assert!(!secrets.written(plain("old")) && secrets.written(plain("new")));
        assert_eq!(password(&secrets), "new");
        secrets.passed(secrets.number());
        assert!(!secrets.refused(secrets.number()), "the old one is gone");
        assert_eq!(password(&secrets), "new");
    }

    #[test]
    fn one_that_the_brokers_do_not_know_yet_waits_until_the_former_is_refused() {
        let mut secrets = Secrets::new(plain("old"));
        secrets.passed(0);
        assert!(secrets.written(plain("new")));
        assert!(secrets.refused(secrets.number()));
        assert_eq!(password(&secrets), "old");
        secrets.passed(secrets.number());
        assert!(!secrets.written(plain("new")), "it is known, and not tried all the time");
        assert_eq!(password(&secrets), "old");
        assert!(secrets.refused(secrets.number()));
        assert_eq!(password(&secrets), "new");
        secrets.passed(secrets.number());
        assert!(!secrets.refused(secrets.number()));
    }

    #[test]
    fn where_neither_passes_nobody_goes_round_in_circles() {
        let mut secrets = Secrets::new(plain("old"));
        secrets.passed(0);
        secrets.written(plain("new"));
        let tried = std::iter::from_fn(|| secrets.refused(secrets.number()).then_some(())).count();
        assert_eq!(tried, 2, "the former, and the written one once more");
        assert!(secrets.written(plain("newest")), "another is always tried");
        assert!(!secrets.refused(secrets.number()), "one that was refused is not gone back to");
    }

    #[test]
    fn what_becomes_of_a_login_counts_for_its_own_secret() {
        let mut secrets = Secrets::new(plain("old"));
        secrets.written(plain("new"));
        assert!(secrets.refused(0), "the new one was not refused");
        assert_eq!(password(&secrets), "new");
        secrets.passed(0);
        assert!(!secrets.refused(1), "nor has it passed");
    }

    #[test]
    fn a_change_that_is_taken_back_is_forgotten() {
        let mut secrets = Secrets::new(plain("old"));
        secrets.passed(0);
        secrets.written(plain("wrong"));
        secrets.refused(secrets.number());
        assert!(!secrets.written(plain("old")));
        assert!(!secrets.refused(secrets.number()), "the wrong one is not tried again");
    }

    proptest! {
        /// Whatever happens, refusals end after two others were tried, and the last written one is used or waits.
        #[test]
        fn refusals_end(deeds in prop::collection::vec(0..5_u8, 0..40)) {
            let mut secrets = Secrets::new(plain("0"));
            for (at, deed) in deeds.into_iter().enumerate() {
                let number = secrets.number();
                match deed {
                    0 => secrets.passed(number),
                    1 => drop(secrets.refused(number)),
                    2 => drop(secrets.refused(number.saturating_sub(1))),
                    _ => drop(secrets.written(plain(&(at % 3).to_string()))),
                }
            }
            let tried = std::iter::from_fn(|| secrets.refused(secrets.number()).then_some(())).take(9).count();
            prop_assert!(tried <= 2);
        }
    }
}
