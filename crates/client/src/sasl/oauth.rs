//! OAUTHBEARER: a token that somebody else gave us (RFC 7628).
//!
//! It is made here, read from a file, or fetched from an identity provider: `tokens` keeps it, `endpoint` asks for it,
//! and `jwt` looks into it.
//!
//! A broker that does not take it says so in JSON, wants to hear one byte more, and only then refuses.
//!
//! Source: Kafka's OAuthBearerSaslClient, OAuthBearerClientInitialResponse and OAuthBearerUnsecuredLoginCallbackHandler;
//! KIP-255, KIP-342.

mod endpoint;
mod jwt;
mod tokens;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Fault, Step, printable};
use crate::handshake::{now_ms, share};
use crate::{Claim, Secret, TokenSource, UnsecuredToken};
use jwt::expires_s;
pub(super) use tokens::Tokens;

/// A larger file is no token.
const TOKEN_BYTES_MAX: u64 = 1 << 20;
const SEPARATOR: char = '\u{1}';

/// Where a login is.
#[derive(Debug, Default)]
pub(super) struct Oauth {
    /// What the broker said of the token.
    refusal: Option<String>,
}

impl Oauth {
    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, Fault> {
        if let Some(refusal) = self.refusal.take() {
            return Err(Fault::Refused(refusal));
        }
        if challenge.is_empty() {
            return Ok(Step::Done);
        }
        let text = String::from_utf8_lossy(challenge);
        let status = serde_json::from_str::<Value>(&text).ok();
        let status = status.as_ref().and_then(|said| said.get("status")).and_then(Value::as_str);
        self.refusal = Some(printable(status.unwrap_or(&text)));
        Ok(Step::Say(vec![1]))
    }

    /// What the broker said of the token before it refused.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// A login, and what is said first, which is all that there is to say. `tokens` are the endpoint's, for all logins to the
/// cluster. Blocks while it is asked; where `is_asked` says that somebody does that, a token that is still valid does.
///
/// # Errors
/// What is missing or wrong, and what to do about it.
pub(super) fn begin(
    source: &TokenSource,
    tokens: &OnceLock<Tokens>,
    extensions: &[(String, String)],
    now: u64,
    is_asked: bool,
) -> Result<(Oauth, Vec<u8>), String> {
    check(extensions)?;
    let token = match source {
        TokenSource::Unsecured(wanted) => Secret::new(unsecured(wanted, now)?),
        TokenSource::Static(token) => given(token.expose().trim(), "the token", now)?,
        TokenSource::File(path) => given(&read(path)?, &format!("the token in {}", path.display()), now)?,
        TokenSource::Endpoint(endpoint) => {
            let tokens = tokens.get_or_init(|| Tokens::new((**endpoint).clone())).clone();
            let known = tokens.at_hand(now_ms(), is_asked);
            known.unwrap_or_else(|| tokens.token(&now_ms, f64::from(share()) / 255.0))?
        }
    };
    Ok((Oauth::default(), message(&token, extensions)))
}

/// Whether all `extensions` can be sent.
///
/// # Errors
/// Which one cannot, and why.
pub(super) fn check(extensions: &[(String, String)]) -> Result<(), String> {
    for (name, value) in extensions {
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) && name != "auth";
        let is_value = |byte: u8| (0x20..=0x7e).contains(&byte) || matches!(byte, b'\t' | b'\r' | b'\n');
        if !is_name || value.is_empty() || !value.bytes().all(is_value) {
            return Err(format!(
                "`{name}` is no extension: a name has letters only, a value printable characters"
            ));
        }
    }
    Ok(())
}

fn message(token: &Secret, extensions: &[(String, String)]) -> Vec<u8> {
    let mut message = format!("n,,{SEPARATOR}auth=Bearer {}", token.expose());
    for (name, value) in extensions {
        message.push(SEPARATOR);
        message.push_str(&format!("{name}={value}"));
    }
    message.extend([SEPARATOR; 2]);
    message.into_bytes()
}

/// The token in what [`message`] gave.
pub(super) fn token_of(message: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(message).ok()?;
    let (_, token) = text.split_once("auth=Bearer ")?;
    Some(Secret::new(token.split(SEPARATOR).next()?))
}

/// A token that somebody gave us, whom messages call `whose`.
fn given(token: &str, whose: &str, now_ms: u64) -> Result<Secret, String> {
    if token.is_empty() {
        return Err(format!("{whose} is empty"));
    }
    if !is_token(token) {
        return Err(format!("{whose} has characters that no token has"));
    }
    if let Some(expires) = expires_s(token).filter(|expires| *expires <= now_ms / 1000) {
        let ago = now_ms / 1000 - expires;
        return Err(format!(
            "{whose} expired {ago} s ago by this machine's clock: get a new one, or set the clock"
        ));
    }
    Ok(Secret::new(token))
}

/// Whether it is made of what a token may be made of (RFC 6750).
fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

fn read(path: &Path) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("the token in {} cannot be read: {error}", path.display());
    let metadata = fs::metadata(path).map_err(fault)?;
    if !metadata.is_file() || metadata.len() > TOKEN_BYTES_MAX {
        return Err(format!("{} is no file, or too large to be a token", path.display()));
    }
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(fault)
}

/// A token that says what we like, as brokers take it where they are told to.
fn unsecured(wanted: &UnsecuredToken, now_ms: u64) -> Result<String, String> {
    let now_s = now_ms as f64 / 1000.0;
    let mut claims = Map::new();
    claims.insert("exp".to_owned(), json!(now_s + wanted.lifetime.as_secs_f64()));
    claims.insert("iat".to_owned(), json!(now_s));
    for (name, claim) in &wanted.claims {
        if matches!(name.as_str(), "exp" | "iat") {
            return Err(format!("the claim `{name}` cannot be set"));
        }
        let value = match claim {
            Claim::Text(text) => json!(text),
            Claim::Number(number) if number.is_finite() => json!(number),
            Claim::Number(number) => return Err(format!("the claim `{name}` is no number: {number}")),
            Claim::List(list) => json!(list),
        };
        claims.insert(name.clone(), value);
    }
    let principal = claims.get(&wanted.principal_claim).and_then(Value::as_str).map(str::trim);
    if principal.is_none_or(str::is_empty) {
        let name = &wanted.principal_claim;
        return Err(format!("an unsecured token needs the claim `{name}`, which says who it is for"));
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    Ok(format!("{}.{}.", part(json!({"alg": "none"})), part(Value::Object(claims))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_790_000_000_123;

    fn message(token: &TokenSource, extensions: &[(String, String)], now: u64) -> Result<Vec<u8>, String> {
        begin(token, &OnceLock::new(), extensions, now, false).map(|(_, message)| message)
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_unsecured_token_says_what_it_is_told_to() {
        let wanted = UnsecuredToken {
            claims: vec![
                ("sub".to_owned(), Claim::Text("a\"nn".to_owned())),
                ("level".to_owned(), Claim::Number(3.0)),
                ("scope".to_owned(), Claim::List(vec!["read".to_owned(), "write".to_owned()])),
            ],
            ..UnsecuredToken::default()
        };
        let token = unsecured(&wanted, NOW_MS).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!((parts.len(), parts[2]), (3, ""));
        assert_eq!(decoded(parts[0]), json!({"alg": "none"}));
        let expected = json!({
            "exp": 1_790_003_600.123, "iat": 1_790_000_000.123, "sub": "a\"nn", "level": 3.0,
            "scope": ["read", "write"],
        });
        assert_eq!(decoded(parts[1]), expected);
        assert_eq!(expires_s(&token), Some(1_790_003_600));
        let nobody = UnsecuredToken::default();
        assert!(unsecured(&nobody, NOW_MS).unwrap_err().contains("`sub`"));
    }

    #[test]
    fn a_token_is_sent_with_its_extensions() {
        let token = TokenSource::Static(Secret::new(" abc.def= \n"));
        let extensions = [("logicalCluster".to_owned(), "lkc-1".to_owned())];
        assert_eq!(
            message(&token, &extensions, NOW_MS).unwrap(),
            b"n,,\x01auth=Bearer abc.def=\x01logicalCluster=lkc-1\x01\x01"
        );
        assert_eq!(message(&token, &[], NOW_MS).unwrap(), b"n,,\x01auth=Bearer abc.def=\x01\x01");
        for (name, value) in [("auth", "x"), ("a-b", "x"), ("", "x"), ("a", ""), ("a", "x\u{1}auth=y")] {
            assert!(message(&token, &[(name.to_owned(), value.to_owned())], NOW_MS).is_err(), "{name}");
        }
        for token in ["", " ", "a b", "a\u{1}b", "a,b"] {
            assert!(message(&TokenSource::Static(Secret::new(token)), &[], NOW_MS).is_err(), "{token}");
        }
    }

    #[test]
    fn a_token_that_has_expired_is_not_sent() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"ann","exp":1790000000}"#);
        let token = TokenSource::Static(Secret::new(format!("e30.{claims}.sig")));
        let error = message(&token, &[], NOW_MS + 5000).unwrap_err();
        assert!(error.contains("expired 5 s ago") && !error.contains("e30"), "{error}");
        assert!(message(&token, &[], NOW_MS - 5000).is_ok());
    }

    #[test]
    fn a_refusal_is_heard_to_its_end() {
        let mut oauth = Oauth::default();
        assert!(matches!(oauth.step(br#"{"status":"invalid_token"}"#), Ok(Step::Say(said)) if said == [1]));
        assert_eq!(oauth.refusal(), Some("invalid_token"));
        assert!(matches!(oauth.step(b""), Err(Fault::Refused(why)) if why == "invalid_token"));
        assert!(matches!(Oauth::default().step(b""), Ok(Step::Done)));
    }

    proptest! {
        #[test]
        fn whatever_the_broker_says_nothing_panics(first: Vec<u8>, second: Vec<u8>, token: String) {
            let mut oauth = Oauth::default();
            let _ = oauth.step(&first);
            let _ = oauth.step(&second);
            let _ = expires_s(&token);
            let _ = message(&TokenSource::Static(Secret::new(token)), &[], NOW_MS);
        }
    }
}
