//! Asks a token endpoint for a token: the grant by client credentials (RFC 6749, section 4.4).
//!
//! What is sent and what an answer means are functions of values; [`Endpoint::fetch`] acts on them, and asks again where
//! that may help.
//!
//! Source: Kafka's ClientSecretRequestFormatter, HttpJwtRetriever, JwtResponseParser and Retry; KIP-768, KIP-1139.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::{Method, StatusCode};

use crate::http::{Answer, Http, Request, Url, Waits};
use crate::sasl::printable;
use crate::{Secret, SecurityError, TokenEndpoint};

/// Where no time-outs are given. Java's clients would wait for ever.
const WAIT: Duration = Duration::from_secs(10);

/// A token endpoint, and who we are there.
#[derive(Debug)]
pub(super) struct Endpoint {
    options: TokenEndpoint,
    url: Result<Url, String>,
    http: Http,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) what: String,
    may_pass: bool,
    /// The client's secret, or the client, is refused.
    pub(super) is_refusal: bool,
}

impl Endpoint {
    pub(super) fn new(options: TokenEndpoint) -> Endpoint {
        let url = Url::read(&options.url)
            .map_err(|why| format!("`sasl.oauthbearer.token.endpoint.url` cannot be used: {why}"));
        let waits = Waits {
            connect: options.connect_timeout.unwrap_or(WAIT),
            answer: options.read_timeout.unwrap_or(WAIT),
        };
        let http = Http::new(options.tls.clone(), waits);
        Endpoint { options, url, http }
    }

    pub(super) fn options(&self) -> &TokenEndpoint {
        &self.options
    }

    /// Whether it can be asked, without doing so.
    pub(super) fn check(&self) -> Result<(), String> {
        let url = self.url.as_ref().map_err(Clone::clone)?;
        if self.options.client_id.trim().is_empty() || self.options.client_secret.expose().trim().is_empty() {
            return Err("the client id or the client secret is empty".to_owned());
        }
        if url.is_plain() {
            return Ok(());
        }
        self.http.check().map_err(|error: SecurityError| format!("{}: {error}", self.called()))
    }

    /// What it is called in messages, without what may be secret in its URL.
    pub(super) fn called(&self) -> String {
        match &self.url {
            Ok(url) => format!("the token endpoint {url}"),
            Err(_) => "the token endpoint".to_owned(),
        }
    }

    /// A token, as it was given. Blocks: each try for as long as the time-outs say, and all of them for not much more
    /// than `sasl.login.retry.backoff.max.ms`.
    ///
    /// # Errors
    /// What went wrong, and what to do about it. No secret shows.
    #[expect(clippy::disallowed_methods, reason = "it runs on a thread that may block")]
    pub(super) fn fetch(&self) -> Result<Secret, Failed> {
        let url = self.url.as_ref().map_err(|why| stays(why))?;
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let Failed { what, may_pass, is_refusal } = match self.try_once(url) {
                Ok(token) => return Ok(token),
                Err(failed) => failed,
            };
            let pause = pause_after(tries, began.elapsed(), &self.options).filter(|_| may_pass);
            let Some(pause) = pause else {
                let tried = if tries > 1 { format!(" (tried {tries} times)") } else { String::new() };
                let what = format!("{} {what}{tried}", self.called());
                return Err(Failed { what, may_pass, is_refusal });
            };
            std::thread::sleep(pause);
        }
    }

    fn try_once(&self, url: &Url) -> Result<Secret, Failed> {
        let (authorization, body) = asked(&self.options);
        let headers = vec![
            ("accept", "application/json".to_owned()),
            ("authorization", authorization),
            ("cache-control", "no-cache".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let request = Request { method: Method::POST, url, headers, body: Some(body) };
        let answer = self.http.ask(request);
        let Answer { status, body } = answer.map_err(|error| Failed {
            what: match error.may_pass {
                true => format!("{}; check that it runs, and its address", error.what),
                false => error.what,
            },
            may_pass: error.may_pass,
            is_refusal: false,
        })?;
        answered(status, &body, &self.options.client_id, &|said| printable(&self.hidden(said)))
    }

    /// What whoever answers there says must not show what it was told.
    fn hidden(&self, said: &str) -> String {
        let (authorization, _) = asked(&self.options);
        let secret = self.options.client_secret.expose().trim();
        let encoded = form_encoded(secret);
        let query = self.url.as_ref().ok().and_then(Url::query).unwrap_or_default();
        let mut said = said.to_owned();
        for secret in [authorization.trim_start_matches("Basic "), secret, &encoded, query] {
            if !secret.is_empty() {
                said = said.replace(secret, "[hidden]");
            }
        }
        said
    }
}

/// What is sent: who asks, and for what.
///
/// A scope is encoded as forms are, which Kafka 4.1 and newer do only where `sasl.oauthbearer.header.urlencode` is set;
/// older ones do so always. One that is written in the encoded form already stays as it is where that is not set.
fn asked(options: &TokenEndpoint) -> (String, String) {
    let (id, secret) = (options.client_id.trim(), options.client_secret.expose().trim());
    let who = match options.urlencode {
        true => format!("{}:{}", form_encoded(id), form_encoded(secret)),
        false => format!("{id}:{secret}"),
    };
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = options.scope.as_deref().map(str::trim).filter(|scope| !scope.is_empty()) {
        let is_encoded = !options.urlencode && is_form_encoded(scope);
        body += &format!("&scope={}", if is_encoded { scope.to_owned() } else { form_encoded(scope) });
    }
    (format!("Basic {}", STANDARD.encode(who)), body)
}

/// Whether `text` could be what [`form_encoded`] has made of another.
fn is_form_encoded(text: &str) -> bool {
    let is_hex =
        |part: &str| part.get(..2).is_some_and(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'*' | b'_' | b'+');
    let mut parts = text.split('%');
    let plain = parts.next().is_some_and(|part| part.bytes().all(is_plain));
    plain && parts.all(|part| is_hex(part) && part[2..].bytes().all(is_plain))
}

/// As `java.net.URLEncoder` does it.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

/// What an answer means. `shown` makes of what it says what may be shown.
fn answered(
    status: StatusCode,
    body: &[u8],
    client_id: &str,
    shown: &dyn Fn(&str) -> String,
) -> Result<Secret, Failed> {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let text =
        |name: &str| said.as_ref().and_then(|said| said.get(name)).and_then(Value::as_str).map(str::trim);
    if matches!(status.as_u16(), 200 | 201) {
        // Kafka takes an `id_token` where there is no other.
        let token =
            ["access_token", "id_token"].into_iter().find_map(|name| text(name).filter(|it| !it.is_empty()));
        return match token {
            Some(token) => Ok(Secret::new(token)),
            None if said.is_none() => {
                Err(stays("gives an answer that is not JSON; is it the address of a token endpoint?"))
            }
            None => Err(stays(
                "gives an answer without an `access_token`; is it the address of a token endpoint?",
            )),
        };
    }
    // RFC 6749, section 5.2, and what another provider says instead.
    let error = text("error").or(text("errorCode")).map(shown);
    let more = text("error_description").or(text("errorSummary")).map(shown);
    let reason = match (&error, more) {
        (Some(error), Some(more)) => format!(" {error} ({more})"),
        (Some(error), None) => format!(" {error}"),
        (None, _) => String::new(),
    };
    let answers = format!("answers {}{reason}", status.as_u16());
    match (status.as_u16(), error.as_deref()) {
        (_, Some("invalid_client" | "unauthorized_client")) | (401, _) => {
            let client = printable(client_id);
            let what = format!("refuses the client `{client}`: it {answers}; check its id and its secret");
            Err(Failed { is_refusal: true, ..stays(&what) })
        }
        (_, Some("invalid_scope")) => Err(stays(&format!("{answers}; check `sasl.oauthbearer.scope`"))),
        (300..=399, _) => {
            Err(stays(&format!("{answers}: it sends us elsewhere; set the URL that it leads to")))
        }
        (404 | 405, _) => Err(stays(&format!("{answers}; is it the address of a token endpoint?"))),
        (status, _) if is_final(status) => Err(stays(&answers)),
        _ => Err(Failed { what: answers, may_pass: true, is_refusal: false }),
    }
}

/// Whether another try would be answered the same, as Kafka sees it.
fn is_final(status: u16) -> bool {
    matches!(status, 400..=407 | 409..=415 | 501 | 505)
}

fn stays(what: &str) -> Failed {
    Failed { what: what.to_owned(), may_pass: false, is_refusal: false }
}

/// How long to wait before the next try; `None` if there is to be none.
fn pause_after(tries: u32, elapsed: Duration, options: &TokenEndpoint) -> Option<Duration> {
    let left = options.retry_backoff_max.checked_sub(elapsed)?;
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    Some(options.retry_backoff.saturating_mul(doubled).min(left)).filter(|pause| !pause.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_and_the_scope_are_sent_as_kafka_sends_them() {
        let options = TokenEndpoint {
            client_id: " a:b ".to_owned(),
            client_secret: Secret::new("p%q r"),
            ..TokenEndpoint::default()
        };
        let (who, body) = asked(&options);
        assert_eq!(who, format!("Basic {}", STANDARD.encode("a:b:p%q r")));
        assert_eq!(body, "grant_type=client_credentials");
        let (who, body) =
            asked(&TokenEndpoint { urlencode: true, scope: Some(" a b/ü ".to_owned()), ..options });
        assert_eq!(who, format!("Basic {}", STANDARD.encode("a%3Ab:p%25q+r")));
        assert_eq!(body, "grant_type=client_credentials&scope=a+b%2F%C3%BC");
        for (scope, sent) in
            [("api%3A%2F%2Fx", "api%3A%2F%2Fx"), ("a b", "a+b"), ("a%zz", "a%25zz"), ("a/b%2F", "a%2Fb%252F")]
        {
            let options = TokenEndpoint { scope: Some(scope.to_owned()), ..TokenEndpoint::default() };
            let (_, body) = asked(&options);
            assert_eq!(body, format!("grant_type=client_credentials&scope={sent}"), "{scope}");
        }
    }

    fn read(status: u16, body: &str) -> Result<String, Failed> {
        let token =
            answered(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "cl\u{1b}ient", &printable)?;
        Ok(token.expose().to_owned())
    }

    #[test]
    fn an_answer_gives_a_token_or_says_why_not() {
        assert_eq!(read(200, r#"{"access_token":" a.b.c ","expires_in":5}"#), Ok("a.b.c".to_owned()));
        assert_eq!(read(201, r#"{"access_token":"","id_token":"d.e.f"}"#), Ok("d.e.f".to_owned()));
        let check = |status, body, what: &str, may_pass| {
            let is_refusal = what.starts_with("refuses the client");
            assert_eq!(read(status, body), Err(Failed { what: what.to_owned(), may_pass, is_refusal }));
        };
        check(
            200,
            "{}",
            "gives an answer without an `access_token`; is it the address of a token endpoint?",
            false,
        );
        check(
            200,
            "<html>",
            "gives an answer that is not JSON; is it the address of a token endpoint?",
            false,
        );
        check(200, "", "gives an answer that is not JSON; is it the address of a token endpoint?", false);
        check(
            401,
            r#"{"error":"invalid_client","error_description":"no such\u001b client"}"#,
            "refuses the client `client`: it answers 401 invalid_client (no such client); check its id and its secret",
            false,
        );
        check(
            400,
            r#"{"error":"invalid_client"}"#,
            "refuses the client `client`: it answers 400 invalid_client; check its id and its secret",
            false,
        );
        check(
            400,
            r#"{"error":"invalid_scope"}"#,
            "answers 400 invalid_scope; check `sasl.oauthbearer.scope`",
            false,
        );
        check(403, "", "answers 403", false);
        check(302, "", "answers 302: it sends us elsewhere; set the URL that it leads to", false);
        check(404, "", "answers 404; is it the address of a token endpoint?", false);
        for (status, may_pass) in
            [(408, true), (429, true), (500, true), (502, true), (503, true), (501, false)]
        {
            check(status, r#"{"error":7}"#, &format!("answers {status}"), may_pass);
        }
    }

    #[test]
    fn tries_follow_each_other_ever_slower_until_the_time_is_over() {
        let options = TokenEndpoint::default();
        let pause = |tries, elapsed| pause_after(tries, Duration::from_millis(elapsed), &options);
        assert_eq!(pause(1, 0), Some(Duration::from_millis(100)));
        assert_eq!(pause(4, 700), Some(Duration::from_millis(800)));
        assert_eq!(pause(99, 9999), Some(Duration::from_millis(1)));
        assert_eq!(pause(2, 10_000), None);
        assert_eq!(pause(2, 10_001), None);
    }
}
