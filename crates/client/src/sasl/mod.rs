//! Saying who we are: one login, as requests and answers without their socket.
//!
//! ```text
//! prepared ──▶ SaslHandshake (mechanism) ──▶ SaslAuthenticate, step by step ──▶ done, for so long
//! ```
//! Preparing may read files and ask others than the broker, so that it has a thread to itself. Before the time is over
//! a login is made again on the same connection (KIP-368), by the same steps.
//!
//! Source: Kafka's SaslClientAuthenticator; KIP-43, KIP-152, KIP-368.

mod aws;
mod credentials;
#[cfg_attr(not(feature = "gssapi"), path = "gssapi/absent.rs")]
mod gssapi;
mod kept;
mod oauth;
mod plain;
mod scram;
mod secrets;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use protocol::{ApiKey, ErrorCode, StrBytes};

use crate::Secret;
pub(crate) use credentials::{Credentials, Prepared};
use gssapi::Gssapi;
use oauth::Oauth;
use scram::Scram;

/// What no login has in common with another.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// Random, printable, without a comma.
    pub(crate) nonce: String,
    /// The wall clock, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// The client's side of one login. It holds secrets, so that it does not print.
pub(crate) struct Login {
    mechanism: &'static str,
    /// The number of the secret that it is made with.
    number: u64,
    whose: String,
    /// Not to be shown, whoever says it.
    secret: Option<Secret>,
    client_id: String,
    handshake_version: i16,
    version: i16,
    exchange: Exchange,
    first: Vec<u8>,
    correlation_id: i32,
    awaited: ApiKey,
}

enum Exchange {
    Plain,
    Scram(Scram),
    Oauth(Oauth),
    Aws,
    Gssapi(Box<Gssapi>),
}

/// A request of a login.
pub(crate) struct Ask {
    pub(crate) api: ApiKey,
    pub(crate) correlation_id: i32,
    /// All of it.
    pub(crate) frame: Bytes,
}

/// What comes of an answer.
pub(crate) enum Next {
    Ask(Ask),
    /// We are in, for as long as that, or as the connection.
    Done {
        lifetime: Option<Duration>,
    },
}

/// Why we are not in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotIn {
    pub(crate) what: String,
    /// What we are is refused, rather than that something else is amiss.
    pub(crate) is_refusal: bool,
}

impl NotIn {
    fn refused(what: String) -> NotIn {
        NotIn { what, is_refusal: true }
    }

    /// Something else.
    pub(crate) fn other(what: String) -> NotIn {
        NotIn { what, is_refusal: false }
    }
}

/// What comes of a mechanism's step.
enum Step {
    Say(Vec<u8>),
    Done,
}

/// Why a mechanism gives up.
#[derive(Debug)]
enum Fault {
    /// The broker does not let us in.
    Refused(String),
    /// The broker is not to be believed.
    Untrusted(String),
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Ask(ask) => write!(f, "Ask({:?}, [hidden])", ask.api),
            Next::Done { lifetime } => write!(f, "Done({lifetime:?})"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Say(_) => "Say([hidden])",
            Step::Done => "Done",
        })
    }
}

impl Fault {
    fn unexpected(what: &str) -> Fault {
        Fault::Untrusted(format!("it gives {what}"))
    }
}

impl Login {
    pub(crate) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Which secret it is made with.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What is to be sent first.
    pub(crate) fn begin(&mut self) -> Ask {
        let mechanism = StrBytes::from_static_str(self.mechanism);
        let body = SaslHandshakeRequest::default().with_mechanism(mechanism);
        self.ask(ApiKey::SaslHandshake, self.handshake_version, &body)
    }

    /// What an answer, correlation id included, leads to, or why we are not in.
    pub(crate) fn answered(&mut self, frame: Bytes) -> Result<Next, NotIn> {
        match self.awaited {
            ApiKey::SaslHandshake => self.chosen(frame).map_err(NotIn::other),
            _ => self.stepped(frame),
        }
    }

    fn chosen(&mut self, frame: Bytes) -> Result<Next, String> {
        let answer: SaslHandshakeResponse =
            protocol::decode_response(ApiKey::SaslHandshake, self.handshake_version, frame)
                .map_err(|error| format!("its answer to SaslHandshake cannot be read: {error}"))?;
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => {
                let first = std::mem::take(&mut self.first);
                Ok(Next::Ask(self.say(first)))
            }
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered: Vec<&str> = answer.mechanisms.iter().map(|name| &**name).collect();
                Err(format!("the broker offers {}", printable(&offered.join(", "))))
            }
            ErrorCode::ILLEGAL_SASL_STATE => {
                Err("the listener asks for no login: set a security protocol without SASL".to_owned())
            }
            other => Err(other.to_string()),
        }
    }

    fn stepped(&mut self, frame: Bytes) -> Result<Next, NotIn> {
        let answer: SaslAuthenticateResponse =
            protocol::decode_response(ApiKey::SaslAuthenticate, self.version, frame).map_err(|error| {
                NotIn::other(format!("its answer to SaslAuthenticate cannot be read: {error}"))
            })?;
        let code = ErrorCode(answer.error_code);
        if !code.is_ok() {
            let message =
                answer.error_message.as_deref().map(|said| self.told(said)).filter(|told| !told.is_empty());
            return Err(NotIn::refused(self.refused(&message.unwrap_or_else(|| code.to_string()))));
        }
        let step = match &mut self.exchange {
            Exchange::Plain => plain::step(&answer.auth_bytes),
            Exchange::Scram(scram) => scram.step(&answer.auth_bytes),
            Exchange::Oauth(oauth) => oauth.step(&answer.auth_bytes),
            Exchange::Aws => aws::step(&answer.auth_bytes),
            Exchange::Gssapi(gssapi) => gssapi.step(&answer.auth_bytes),
        };
        match step {
            Ok(Step::Say(bytes)) => Ok(Next::Ask(self.say(bytes))),
            Ok(Step::Done) => {
                let lifetime_ms = u64::try_from(answer.session_lifetime_ms).unwrap_or(0);
                Ok(Next::Done { lifetime: (lifetime_ms > 0).then(|| Duration::from_millis(lifetime_ms)) })
            }
            Err(Fault::Refused(why)) => Err(NotIn::refused(self.refused(&why))),
            Err(Fault::Untrusted(why)) => Err(NotIn::other(why)),
        }
    }

    fn refused(&self, why: &str) -> String {
        let said = match &self.exchange {
            Exchange::Oauth(oauth) => oauth.refusal().filter(|said| !why.contains(said)),
            _ => None,
        };
        let said = said.map(|said| format!(" ({})", self.told(said))).unwrap_or_default();
        format!("{}{said}; {}", self.told(why).trim_end_matches('.'), self.whose)
    }

    /// What a broker says, without what we have told it.
    fn told(&self, said: &str) -> String {
        match self.secret.as_ref().map(Secret::expose).filter(|secret| !secret.is_empty()) {
            Some(secret) => printable(&said.replace(secret, "[hidden]")),
            None => printable(said),
        }
    }

    fn say(&mut self, bytes: Vec<u8>) -> Ask {
        let body = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
        self.ask(ApiKey::SaslAuthenticate, self.version, &body)
    }

    fn ask(&mut self, api: ApiKey, version: i16, body: &impl protocol::Encodable) -> Ask {
        let correlation_id = self.correlation_id;
        self.correlation_id = correlation_id.wrapping_add(1);
        self.awaited = api;
        let frame = protocol::encode_request(api, version, correlation_id, &self.client_id, body)
            .expect("these messages have no field that a version lacks, and tokens are bounded");
        Ask { api, correlation_id, frame }
    }
}

/// What the other side says, short and without what terminals take for commands.
pub(crate) fn printable(text: &str) -> String {
    let turns =
        |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|char| !char.is_control() && !turns(*char)).take(300).collect()
}

/// When to log in again, after a login that lasts for `lifetime`: late, and not everybody at once. `share` is random.
///
/// Brokers take no other login within a second (KIP-368).
pub(crate) fn renew_after(lifetime: Duration, share: u8) -> Duration {
    let part = lifetime.mul_f64(0.85 + 0.1 * f64::from(share) / 255.0);
    part.max(Duration::from_millis(1100))
}

#[cfg(test)]
mod tests {
    use protocol::ApiVersions;
    use protocol::server::encode_response;

    use super::*;
    use crate::handshake::fresh;
    use crate::{Mechanism, SaslOptions, ScramHash};

    fn versions() -> ApiVersions {
        ApiVersions::new([(ApiKey::SaslHandshake, 0, 1), (ApiKey::SaslAuthenticate, 0, 2)])
    }

    fn login(mechanism: Mechanism) -> Login {
        let credentials = Credentials::new(SaslOptions::new(mechanism));
        let fresh = Fresh { nonce: "N".to_owned(), now_ms: 0 };
        let prepared = credentials.prepare_here(&credentials.made(), None, false, fresh).unwrap();
        credentials.login(prepared, &versions(), "me", 5).unwrap()
    }

    fn plain() -> Login {
        login(Mechanism::Plain { username: "ann".to_owned(), password: Secret::new("hush") })
    }

    fn chosen(code: ErrorCode) -> Bytes {
        let offered = ["PLAIN", "SCRAM-SHA-512"].map(StrBytes::from_static_str);
        let answer =
            SaslHandshakeResponse::default().with_error_code(code.0).with_mechanisms(offered.to_vec());
        encode_response(ApiKey::SaslHandshake, 1, 5, &answer).unwrap().slice(4..)
    }

    fn stepped(code: ErrorCode, message: &'static str, lifetime_ms: i64) -> Bytes {
        let answer = SaslAuthenticateResponse::default()
            .with_error_code(code.0)
            .with_error_message(Some(StrBytes::from_static_str(message)))
            .with_session_lifetime_ms(lifetime_ms);
        encode_response(ApiKey::SaslAuthenticate, 2, 6, &answer).unwrap().slice(4..)
    }

    #[test]
    fn a_login_goes_its_steps_and_lasts_as_the_broker_says() {
        let mut login = plain();
        let ask = login.begin();
        assert_eq!((ask.api, ask.correlation_id), (ApiKey::SaslHandshake, 5));
        let Ok(Next::Ask(ask)) = login.answered(chosen(ErrorCode::NONE)) else { panic!() };
        assert_eq!((ask.api, ask.correlation_id), (ApiKey::SaslAuthenticate, 6));
        assert!(ask.frame.windows(9).any(|part| part == b"\0ann\0hush"));
        let done = login.answered(stepped(ErrorCode::NONE, "", 5000)).unwrap();
        assert!(
            matches!(done, Next::Done { lifetime: Some(lifetime) } if lifetime == Duration::from_secs(5))
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let check =
            |answer: Bytes, expected: &str| assert_eq!(plain().answered(answer).unwrap_err().what, expected);
        check(chosen(ErrorCode::UNSUPPORTED_SASL_MECHANISM), "the broker offers PLAIN, SCRAM-SHA-512");
        check(
            chosen(ErrorCode::ILLEGAL_SASL_STATE),
            "the listener asks for no login: set a security protocol without SASL",
        );
        let mut login = plain();
        login.answered(chosen(ErrorCode::NONE)).unwrap();
        let why = login.answered(stepped(
            ErrorCode::SASL_AUTHENTICATION_FAILED,
            "Invalid username or password.",
            0,
        ));
        assert_eq!(
            why.unwrap_err().what,
            "Invalid username or password; check the user `ann` and its password"
        );
        let mut login = plain();
        login.answered(chosen(ErrorCode::NONE)).unwrap();
        let why =
            login.answered(stepped(ErrorCode::SASL_AUTHENTICATION_FAILED, "no \u{1b}user has `hush`", 0));
        assert_eq!(why.unwrap_err().what, "no user has `[hidden]`; check the user `ann` and its password");
        assert!(plain().answered(Bytes::from_static(b"\0\0\0\x05nonsense")).is_err());
    }

    #[test]
    fn a_broker_without_logins_is_told_and_missing_words_are_too() {
        let credentials = Credentials::new(SaslOptions::new(Mechanism::Scram {
            hash: ScramHash::Sha256,
            username: String::new(),
            password: Secret::new("x"),
            token: false,
        }));
        let error = credentials.check().unwrap_err().to_string();
        assert!(error.starts_with("SCRAM-SHA-256: "), "{error}");
        let mechanism = Mechanism::Plain { username: "ann".to_owned(), password: Secret::new("hush") };
        let credentials = Credentials::new(SaslOptions::new(mechanism));
        let prepared = credentials.prepare_here(&credentials.made(), None, false, fresh()).unwrap();
        assert!(credentials.login(prepared, &ApiVersions::default(), "me", 0).is_none());
    }

    #[cfg(not(feature = "gssapi"))]
    #[test]
    fn a_build_without_kerberos_says_how_to_make_one_that_has_it() {
        let kerberos = crate::KerberosOptions {
            service_name: "kafka".to_owned(),
            principal: None,
            ticket_cache: None,
            keytab: None,
        };
        let credentials = Credentials::new(SaslOptions::new(Mechanism::Gssapi(kerberos)));
        let error = credentials.check().unwrap_err().to_string();
        let expected = "GSSAPI: this build has no Kerberos; build one that has it (cargo build --release --features gssapi)";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_login_is_renewed_before_its_end_and_not_at_once() {
        let after = |seconds, share| renew_after(Duration::from_secs(seconds), share).as_secs_f64();
        assert!((after(100, 0) - 85.0).abs() < 0.01 && (after(100, 255) - 95.0).abs() < 0.01);
        assert!(after(1, 0) > 1.0);
    }
}
