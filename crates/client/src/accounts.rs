//! Who we are at each cluster, for all handles of this process that are the same somebody.
//!
//! Accounts get locked by logins that fail. So handles that log in to the same addresses as the same user count refusals
//! together, however many connectors there are; and what a login needs (a password's keys, a token) is made once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::refusals::Refusals;
use crate::sasl::Credentials;
use crate::{Address, CallError, Options, Security};

/// The accounts of one process, or of whatever part of it hands the same value to all its [`Options`]. Clones are the
/// same.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<Mutex<Vec<Known>>>);

#[derive(Debug)]
struct Known {
    bootstrap: Vec<String>,
    security: Security,
    account: Weak<Account>,
}

/// Who we are at one cluster, and whether it was believed lately.
#[derive(Debug)]
pub(crate) struct Account {
    /// `None`: nobody.
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) refusals: Refusals,
}

impl Account {
    /// What keeps from connecting to `address` now, if anything does. Where a login was refused lately, another secret
    /// may be written by now, and that one was not; `patience` is for looking.
    pub(crate) async fn standing(&self, address: &Arc<Address>, patience: Duration) -> Result<(), CallError> {
        if let Some(credentials) = &self.credentials
            && self.refusals.wants_another_secret(credentials.number())
        {
            let looking = Arc::clone(credentials).look_again(Arc::clone(address));
            // Who cannot look goes on with what there is.
            let _ = timeout(patience, looking).await;
        }
        self.refusals.standing(address, self.secret())
    }

    /// The number of the secret that logins are made with now.
    pub(crate) fn secret(&self) -> u64 {
        self.credentials.as_ref().map_or(0, |credentials| credentials.number())
    }

    /// A login with the secret `number`, begun at `began`, has passed.
    pub(crate) fn passed(&self, began: Instant, number: u64) {
        self.refusals.passed(began, number);
        if let Some(credentials) = &self.credentials {
            credentials.passed(number);
        }
    }

    /// A login with the secret `number`, begun at `began`, has not passed; `is_refusal`: for the sake of that secret.
    pub(crate) fn refused(&self, error: &CallError, began: Instant, number: u64, is_refusal: bool) {
        self.refusals.refused(error, began, number);
        if let Some(credentials) = self.credentials.as_ref().filter(|_| is_refusal) {
            credentials.refused(number);
        }
    }
}

impl Accounts {
    /// That of a handle with these options: the one of another handle, if that has the same addresses and security.
    pub(crate) fn of(&self, options: &Options) -> Arc<Account> {
        let Options { bootstrap, security, .. } = options;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.account.strong_count() > 0);
        let same = known.iter().find(|known| known.bootstrap == *bootstrap && known.security == *security);
        if let Some(account) = same.and_then(|known| known.account.upgrade()) {
            if let (Some(credentials), Some(sasl)) = (&account.credentials, &security.sasl) {
                credentials.add(sasl);
            }
            return account;
        }
        let credentials = security.sasl.clone().map(|sasl| Arc::new(Credentials::new(sasl)));
        let account = Arc::new(Account { credentials, refusals: Refusals::default() });
        known.push(Known {
            bootstrap: bootstrap.clone(),
            security: security.clone(),
            account: Arc::downgrade(&account),
        });
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mechanism, SaslOptions, Secret};

    fn options(accounts: &Accounts, bootstrap: &str, password: &str) -> Options {
        let mechanism = Mechanism::Plain { username: "ann".to_owned(), password: Secret::new(password) };
        let security = Security { tls: None, sasl: Some(SaslOptions::new(mechanism)) };
        let accounts = accounts.clone();
        Options { security, accounts, ..Options::new("source", vec![bootstrap.to_owned()]) }
    }

    #[test]
    fn handles_with_the_same_addresses_and_security_are_one_account_as_long_as_one_of_them_lives() {
        let accounts = Accounts::default();
        let of = |bootstrap, password| accounts.of(&options(&accounts, bootstrap, password));
        let first = of("a:1", "x");
        assert!(Arc::ptr_eq(&first, &of("a:1", "x")));
        assert!(!Arc::ptr_eq(&first, &of("b:1", "x")));
        assert!(!Arc::ptr_eq(&first, &of("a:1", "y")), "another password may be the right one");
        assert!(!Arc::ptr_eq(&first, &Accounts::default().of(&options(&accounts, "a:1", "x"))));
        drop(first);
        assert_eq!(Arc::strong_count(&of("a:1", "x")), 1, "nobody keeps what nobody uses");
    }
}
