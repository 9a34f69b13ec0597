//! How clients prove who they are: mechanisms, of which PLAIN is built in, and where a connection is with it.
//!
//! Other mechanisms (SCRAM, OAUTHBEARER, one that fails in the third step) a test brings along as a
//! [`Mechanism`]. [`Login`] is a connection's state, without its socket:
//!
//! ```text
//! Handshake ──mechanism──▶ Exchanging ──last step──▶ Authenticated ──handshake again──▶ Exchanging …
//! ```
//!
//! Source: Kafka's SaslServerAuthenticator; KIP-43, KIP-152, KIP-368.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;

/// Who may connect, and how. A cluster that has it lets nobody in without.
#[derive(Clone, Debug, Default)]
pub struct Sasl {
    /// The mechanisms that are offered.
    pub mechanisms: Vec<Arc<dyn Mechanism>>,
    /// How long a login lasts (`connections.max.reauth.ms`, KIP-368); for as long as the connection if `None`.
    pub session_lifetime: Option<Duration>,
}

impl Sasl {
    /// PLAIN with these users and their passwords.
    pub fn plain(users: &[(&str, &str)]) -> Sasl {
        let users = users.iter().map(|(user, password)| ((*user).to_owned(), (*password).to_owned()));
        Sasl { mechanisms: vec![Arc::new(Plain { users: users.collect() })], session_lifetime: None }
    }
}

/// A way to prove who one is.
pub trait Mechanism: fmt::Debug + Send + Sync {
    /// As clients ask for it, such as `PLAIN`.
    fn name(&self) -> &str;
    /// The broker's side of a new login.
    fn start(&self) -> Box<dyn Exchange>;
}

/// The broker's side of one login.
pub trait Exchange: Send {
    /// Takes what the client says, in its turn.
    fn step(&mut self, said: &[u8]) -> Step;
}

/// What comes of one step of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on: the client is to answer this.
    Challenge(Vec<u8>),
    /// It is done, and this is the last thing to say.
    Done {
        /// Who it is, without `User:`.
        user: String,
        /// What a mechanism says at the end, often nothing.
        said: Vec<u8>,
    },
    /// It has failed, and this is what the client is told.
    Failed(String),
}

/// User and password as they are (RFC 4616).
pub struct Plain {
    users: Vec<(String, String)>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<&str> = self.users.iter().map(|(user, _)| user.as_str()).collect();
        f.debug_struct("Plain").field("users", &users).field("passwords", &"[hidden]").finish()
    }
}

impl Mechanism for Plain {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(PlainExchange { users: self.users.clone() })
    }
}

struct PlainExchange {
    users: Vec<(String, String)>,
}

impl Exchange for PlainExchange {
    fn step(&mut self, said: &[u8]) -> Step {
        let failed = |why: &str| Step::Failed(format!("Authentication failed: {why}"));
        let parts: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        let [authorized, user, password] = parts[..] else {
            let got = parts.len();
            return Step::Failed(format!("Invalid SASL/PLAIN response: expected 3 tokens, got {got}"));
        };
        let known = self.users.iter().find(|(name, _)| name.as_bytes() == user);
        match known {
            Some((_, right)) if right.as_bytes() != password => failed("Invalid username or password"),
            None => failed("Invalid username or password"),
            Some(_) if !authorized.is_empty() && authorized != user => {
                failed("Client requested an authorization id that is different from username")
            }
            Some((name, _)) => Step::Done { user: name.clone(), said: Vec::new() },
        }
    }
}

/// Where a connection is with its login.
pub(crate) struct Login {
    sasl: Option<Sasl>,
    stage: Stage,
    /// Who has logged in, with `User:`, and by which mechanism.
    known: Option<(String, String)>,
    expires_ms: Option<i64>,
    /// When it last began to log in again.
    renewed_ms: Option<i64>,
}

enum Stage {
    Handshake,
    /// A mechanism was chosen. Since handshake version 1 its bytes come as requests, before they came bare.
    Exchanging {
        mechanism: String,
        exchange: Box<dyn Exchange>,
        bare: bool,
    },
    Authenticated,
}

/// What a login request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lifetime_ms: i64,
    /// The connection ends once this was said.
    pub(crate) closes: bool,
}

/// Sooner than that nobody may log in again once more (KIP-368).
const RENEWAL_INTERVAL_MS: i64 = 1000;
const ANONYMOUS: &str = "User:ANONYMOUS";

impl Login {
    pub(crate) fn new(sasl: Option<Sasl>) -> Login {
        let stage = if sasl.is_some() { Stage::Handshake } else { Stage::Authenticated };
        Login { sasl, stage, known: None, expires_ms: None, renewed_ms: None }
    }

    /// Who asks.
    pub(crate) fn principal(&self) -> &str {
        self.known.as_ref().map_or(ANONYMOUS, |(principal, _)| principal)
    }

    /// The next frame is a mechanism's bytes and no request.
    pub(crate) fn expects_bare_bytes(&self) -> bool {
        matches!(self.stage, Stage::Exchanging { bare: true, .. })
    }

    /// Why a request other than those of a login ends the connection, if it does.
    pub(crate) fn objection(&self, now_ms: i64) -> Option<&'static str> {
        match self.stage {
            Stage::Authenticated if self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) => {
                Some("its login has expired")
            }
            Stage::Authenticated => None,
            Stage::Handshake | Stage::Exchanging { .. } => Some("a request before the login is done"),
        }
    }

    /// A mechanism was chosen, and has not come to an end.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Exchanging { .. })
    }

    /// ApiVersions may come before a login, not within one.
    pub(crate) fn takes_api_versions(&self) -> bool {
        matches!(self.stage, Stage::Handshake)
    }

    pub(crate) fn mechanisms(&self) -> Vec<String> {
        let all = self.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        all.map(|mechanism| mechanism.name().to_owned()).collect()
    }

    /// SaslHandshake: the code, and whether the connection ends.
    pub(crate) fn handshake(&mut self, now_ms: i64, version: i16, wanted: &str) -> (ErrorCode, bool) {
        let renews = matches!(self.stage, Stage::Authenticated);
        match &self.stage {
            Stage::Authenticated if !self.may_log_in_again(now_ms) => {
                return (ErrorCode::ILLEGAL_SASL_STATE, false);
            }
            Stage::Exchanging { .. } => return (ErrorCode::ILLEGAL_SASL_STATE, true),
            Stage::Authenticated | Stage::Handshake => {}
        }
        let offered = self.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        match offered.into_iter().find(|mechanism| mechanism.name() == wanted) {
            Some(mechanism) => {
                let exchange = mechanism.start();
                self.renewed_ms = renews.then_some(now_ms).or(self.renewed_ms);
                let bare = version == 0;
                self.stage = Stage::Exchanging { mechanism: wanted.to_owned(), exchange, bare };
                (ErrorCode::NONE, false)
            }
            None => (ErrorCode::UNSUPPORTED_SASL_MECHANISM, true),
        }
    }

    /// Only where logins expire may one log in again, and not all the time.
    fn may_log_in_again(&self, now_ms: i64) -> bool {
        let expire = self.sasl.as_ref().is_some_and(|sasl| sasl.session_lifetime.is_some());
        let long_ago = |renewed_ms: i64| now_ms.saturating_sub(renewed_ms) >= RENEWAL_INTERVAL_MS;
        expire && self.renewed_ms.is_none_or(long_ago)
    }

    /// A step of a login. Sessions end only for clients that can be told so (`can_expire`).
    pub(crate) fn authenticate(&mut self, now_ms: i64, said: &[u8], can_expire: bool) -> Said {
        let refused = |code, message: String, closes| Said {
            code,
            message: Some(message),
            bytes: Vec::new(),
            lifetime_ms: 0,
            closes,
        };
        let Stage::Exchanging { mechanism, exchange, .. } = &mut self.stage else {
            let message = "SaslAuthenticate request received after successful authentication";
            return refused(ErrorCode::ILLEGAL_SASL_STATE, message.to_owned(), false);
        };
        let (user, bytes) = match exchange.step(said) {
            Step::Challenge(bytes) => {
                let message = Some(String::new());
                return Said { code: ErrorCode::NONE, message, bytes, lifetime_ms: 0, closes: false };
            }
            Step::Failed(message) => return refused(ErrorCode::SASL_AUTHENTICATION_FAILED, message, true),
            Step::Done { user, said } => (user, said),
        };
        let now_known = (format!("User:{user}"), mechanism.clone());
        if self.known.as_ref().is_some_and(|known| *known != now_known) {
            let message = "Cannot change principals or mechanisms during re-authentication".to_owned();
            return refused(ErrorCode::SASL_AUTHENTICATION_FAILED, message, true);
        }
        let lifetime = self.sasl.as_ref().and_then(|sasl| sasl.session_lifetime).filter(|_| can_expire);
        let lifetime_ms = lifetime.map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
        self.known = Some(now_known);
        self.expires_ms = lifetime_ms.map(|lifetime_ms| now_ms.saturating_add(lifetime_ms));
        self.stage = Stage::Authenticated;
        let lifetime_ms = lifetime_ms.unwrap_or_default();
        // Not null: so brokers say that there is nothing to say.
        let message = Some(String::new());
        Said { code: ErrorCode::NONE, message, bytes, lifetime_ms, closes: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(lifetime: Option<Duration>) -> Login {
        let sasl = Sasl::plain(&[("ann", "right"), ("ben", "other")]);
        Login::new(Some(Sasl { session_lifetime: lifetime, ..sasl }))
    }

    #[test]
    fn nobody_is_let_in_without_a_login() {
        let mut login = login(None);
        assert!(login.objection(0).is_some() && login.takes_api_versions());
        assert_eq!(login.handshake(0, 1, "SCRAM-SHA-256"), (ErrorCode::UNSUPPORTED_SASL_MECHANISM, true));
        assert_eq!(login.handshake(0, 1, "PLAIN"), (ErrorCode::NONE, false));
        let said = login.authenticate(0, b"\0ann\0wrong", true);
        assert_eq!((said.code, said.closes), (ErrorCode::SASL_AUTHENTICATION_FAILED, true));
        assert_eq!(login.authenticate(0, b"\0ann\0right", true).code, ErrorCode::NONE);
        assert_eq!((login.principal(), login.objection(0)), ("User:ann", None));
        assert_eq!(login.handshake(0, 1, "PLAIN"), (ErrorCode::ILLEGAL_SASL_STATE, false));
    }

    #[test]
    fn a_login_that_expires_can_be_renewed_by_the_same_user_only() {
        let mut login = login(Some(Duration::from_millis(5000)));
        login.handshake(1000, 1, "PLAIN");
        assert_eq!(login.authenticate(1000, b"\0ann\0right", true).lifetime_ms, 5000);
        assert!(login.objection(5999).is_none() && login.objection(6000).is_some());
        assert_eq!(login.handshake(6000, 1, "PLAIN"), (ErrorCode::NONE, false));
        assert_eq!(login.authenticate(6000, b"\0ann\0right", true).code, ErrorCode::NONE);
        assert!(login.objection(6500).is_none());
        assert_eq!(login.handshake(6500, 1, "PLAIN"), (ErrorCode::ILLEGAL_SASL_STATE, false));
        assert_eq!(login.handshake(7000, 1, "PLAIN"), (ErrorCode::NONE, false));
        assert!(login.authenticate(7000, b"\0ben\0other", true).closes);
    }

    #[test]
    fn a_password_never_shows() {
        let shown = format!("{:?}", Sasl::plain(&[("ann", "right")]));
        assert!(shown.contains("ann") && !shown.contains("right"), "{shown}");
    }
}
