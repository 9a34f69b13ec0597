//! What a token says of itself, as far as Kafka's clients look into it. Whether that is true, the brokers judge.
//!
//! Source: Kafka's ClientJwtValidator, SerializedJwt and ClaimValidationUtils.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::TokenEndpoint;

/// A token's own times, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) issued_ms: Option<u64>,
    pub(super) expires_ms: u64,
}

/// Checks what Kafka's clients check of a token that they were given, and says when it ends.
///
/// # Errors
/// What is wrong with it, to be put behind `a token`. Nothing of it shows but the names of claims.
pub(super) fn check(token: &str, names: &TokenEndpoint) -> Result<Times, String> {
    let parts: Vec<&str> = token.split('.').collect();
    if parts.len() != 3 || parts.iter().any(|part| part.is_empty()) {
        return Err("that is no JWT: it has not three parts with dots between them".to_owned());
    }
    if !super::is_token(token) {
        return Err("with characters that no token has".to_owned());
    }
    let claims = claims(token).ok_or("that is no JWT: its second part holds no JSON object")?;
    let expires_ms = match time_ms(&claims, "exp")? {
        Some(expires_ms) => expires_ms,
        None => return Err("without an `exp` claim, which says when it ends".to_owned()),
    };
    let issued_ms = time_ms(&claims, "iat")?;
    let subject = claims.get(&names.sub_claim).and_then(Value::as_str).map(str::trim);
    if subject.is_none_or(str::is_empty) {
        return Err(format!(
            "without a text in the `{}` claim, which says who it is for (`sasl.oauthbearer.sub.claim.name`)",
            names.sub_claim
        ));
    }
    check_scope(claims.get(&names.scope_claim))
        .then_some(Times { issued_ms, expires_ms })
        .ok_or_else(|| format!("whose `{}` claim holds empty or repeated scopes", names.scope_claim))
}

/// When a token ends, in seconds since 1970, if it is one that says so.
pub(super) fn expires_s(token: &str) -> Option<u64> {
    time_ms(&claims(token)?, "exp").ok()?.map(|expires_ms| expires_ms / 1000)
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// A time that may be left out. One with a fraction is allowed, and cut.
fn time_ms(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| value.as_f64().filter(|it| *it >= 0.0).map(|it| it as u64));
    match seconds {
        Some(seconds) => Ok(Some(seconds.saturating_mul(1000))),
        None => Err(format!("whose `{name}` claim is no time")),
    }
}

fn check_scope(scope: Option<&Value>) -> bool {
    let scopes: Vec<&Value> = match scope {
        Some(Value::Array(scopes)) => scopes.iter().collect(),
        Some(scope @ Value::String(_)) => vec![scope],
        _ => Vec::new(),
    };
    let texts: Vec<Option<&str>> = scopes.iter().map(|scope| scope.as_str().map(str::trim)).collect();
    let is_new = |(place, text): (usize, &Option<&str>)| !texts[..place].contains(text);
    texts.iter().all(|text| text.is_some_and(|text| !text.is_empty())) && texts.iter().enumerate().all(is_new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn checked(claims: &Value) -> Result<Times, String> {
        check(&token(claims), &TokenEndpoint::default())
    }

    #[test]
    fn a_token_is_looked_into_as_kafkas_clients_do_it() {
        let times = |issued_ms, expires_ms| Ok(Times { issued_ms, expires_ms });
        assert_eq!(checked(&json!({"sub": "ann", "exp": 10, "iat": 5.9})), times(Some(5000), 10_000));
        assert_eq!(
            checked(&json!({"sub": "ann", "exp": 10.5, "iat": null, "scope": ["a", "b"]})),
            times(None, 10_000)
        );
        assert_eq!(checked(&json!({"sub": "ann", "exp": 10, "scope": "a a"})), times(None, 10_000));
        let named =
            TokenEndpoint { sub_claim: "azp".into(), scope_claim: "scp".into(), ..TokenEndpoint::default() };
        let claims = json!({"azp": "ann", "exp": 10, "scope": ""});
        assert_eq!(check(&token(&claims), &named), times(None, 10_000));
    }

    #[test]
    fn what_is_no_token_for_kafka_is_told() {
        for (claims, expected) in [
            (json!({"sub": "ann"}), "without an `exp` claim"),
            (json!({"sub": "ann", "exp": "10"}), "whose `exp` claim is no time"),
            (json!({"sub": "ann", "exp": -1}), "whose `exp` claim is no time"),
            (json!({"sub": "ann", "exp": 10, "iat": -1}), "whose `iat` claim is no time"),
            (json!({"exp": 10}), "without a text in the `sub` claim"),
            (json!({"sub": " ", "exp": 10}), "without a text in the `sub` claim"),
            (json!({"sub": 7, "exp": 10}), "without a text in the `sub` claim"),
            (json!({"sub": "ann", "exp": 10, "scope": ["a", "a"]}), "whose `scope` claim"),
            (json!({"sub": "ann", "exp": 10, "scope": [1]}), "whose `scope` claim"),
            (json!({"sub": "ann", "exp": 10, "scope": ""}), "whose `scope` claim"),
            (json!([1]), "that is no JWT: its second part"),
        ] {
            let error = checked(&claims).unwrap_err();
            assert!(error.starts_with(expected), "{claims}: {error}");
        }
        let odd = format!("{}\u{1}x", token(&json!({"sub": "ann", "exp": 10})));
        assert_eq!(check(&odd, &TokenEndpoint::default()).unwrap_err(), "with characters that no token has");
        for token in ["", "a", "a.b", "a.b.", ".b.c", "a.b.c.d", "opaque-token"] {
            assert!(
                check(token, &TokenEndpoint::default()).unwrap_err().starts_with("that is no JWT"),
                "{token}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_a_token_is_nothing_panics(token: String, claims: String) {
            let _ = check(&token, &TokenEndpoint::default());
            let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
            let _ = (check(&token, &TokenEndpoint::default()), expires_s(&token));
        }
    }
}
