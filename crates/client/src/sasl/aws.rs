//! AWS_MSK_IAM: a signature that only whoever has our keys at AWS can have made.
//!
//! ```text
//! sources ─▶ keys ─▶ sigv4 ─▶ {"version":"2020_10_22", "host":…, "x-amz-signature":…} ──▶
//!                             ◀── {"version":"2020_10_22", "request-id":…}
//! ```
//! The keys come from where the AWS tools have them (`sources`), temporary ones are kept until shortly before they end.
//! What is signed is a GET of the broker's host, which nobody sends.
//!
//! Source: aws-msk-iam-auth (AWS4SignedPayloadGenerator, IAMSaslClient, MSKCredentialProvider).

mod keys;
mod metadata;
mod profile;
mod region;
mod sigv4;
mod sources;
mod sts;
mod surroundings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::info;

use super::kept::{Held, Kept};
use super::{Fault, Step};
use crate::http::{Http, Waits};
use crate::{AwsIam, Secret, TlsOptions};
use keys::Keys;
use sigv4::Scope;
use surroundings::{Surroundings, System};

const VERSION: &str = "2020_10_22";
const SERVICE: &str = "kafka-cluster";
const USER_AGENT: &str = concat!("paralog/", env!("CARGO_PKG_VERSION"));
/// How long a signature holds.
const EXPIRES_S: u32 = 900;
/// So long before their end keys are replaced, as by the SDK.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Of AWS's services, and of what is on this machine or beside it.
const WAITS: Waits = Waits { connect: Duration::from_secs(3), answer: Duration::from_secs(5) };
const NEARBY: Waits = Waits { connect: Duration::from_secs(1), answer: Duration::from_secs(1) };
/// The first pause between tries, before the part that is left to chance (`MSKCredentialProvider`).
const BACKOFF_MS: u64 = 500;

/// Who we are at AWS, for all logins to a cluster. Clones are the same.
#[derive(Clone)]
pub(super) struct Iam(Arc<Inner>);

struct Inner {
    options: AwsIam,
    surroundings: Box<dyn Surroundings>,
    http: Http,
    nearby: Http,
    kept: Kept<Keys>,
}

/// Whoever looks for keys, now.
struct Asker<'a> {
    surroundings: &'a dyn Surroundings,
    http: &'a Http,
    nearby: &'a Http,
    now_ms: u64,
}

impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Iam {
    pub(super) fn new(options: AwsIam) -> Iam {
        Iam::within(options, Box::new(System))
    }

    fn within(options: AwsIam, surroundings: Box<dyn Surroundings>) -> Iam {
        let [http, nearby] = [WAITS, NEARBY].map(|waits| Http::new(TlsOptions::default(), waits));
        Iam(Arc::new(Inner { options, surroundings, http, nearby, kept: Kept::new("keys of AWS") }))
    }

    /// What is said first to the broker at `host`, which is all that there is to say. Blocks while others are asked for
    /// keys; where `is_asked` says that somebody does that, keys that are still valid do. `now_ms` is the wall clock, and
    /// `share` random, from 0 to 1.
    ///
    /// # Errors
    /// What was tried, and why it came to nothing.
    pub(super) fn begin(
        &self,
        host: &str,
        now_ms: &dyn Fn() -> u64,
        share: f64,
        is_asked: bool,
    ) -> Result<Vec<u8>, String> {
        let known = self.0.kept.at_hand(now_ms(), is_asked);
        let keys = known.unwrap_or_else(|| self.0.kept.get(now_ms, || self.0.find(now_ms, share)))?;
        let region = region::of_host(host).or_else(|| self.0.asker(now_ms()).region()).ok_or_else(|| {
            format!(
                "the region of {host} is not known: its name has none, and neither AWS_REGION, AWS_DEFAULT_REGION nor the \
                 profile names one"
            )
        })?;
        Ok(payload(&keys, host, &region, now_ms()))
    }
}

impl Iam {
    /// Whether nobody has to be asked for keys now; `is_asked`: somebody is asked already.
    pub(super) fn is_at_hand(&self, now_ms: u64, is_asked: bool) -> bool {
        self.0.kept.at_hand(now_ms, is_asked).is_some()
    }

    /// A broker has refused the keys: the next login looks for others.
    pub(super) fn forget(&self) {
        self.0.kept.forget();
    }
}

impl Inner {
    fn asker(&self, now_ms: u64) -> Asker<'_> {
        let Inner { surroundings, http, nearby, .. } = self;
        Asker { surroundings: &**surroundings, http, nearby, now_ms }
    }

    #[expect(clippy::disallowed_methods, reason = "it runs on a thread that may block")]
    fn find(&self, now_ms: &dyn Fn() -> u64, share: f64) -> Result<Held<Keys>, String> {
        let sources = sources::order(&self.options);
        let mut retries = 0;
        loop {
            match sources::find(&sources, &self.asker(now_ms())) {
                Ok((keys, source)) => {
                    if self.options.debug {
                        info!(source, access_key_id = keys.access_key_id, "keys of AWS for logins");
                    }
                    return Ok(held(keys, now_ms()));
                }
                Err(miss) if !miss.may_pass || retries >= self.options.retries_max => return Err(miss.what),
                Err(_) => {
                    std::thread::sleep(pause(retries, self.options.backoff_max, share));
                    retries += 1;
                }
            }
        }
    }
}

/// Until when keys are kept. Those that do not end are looked for each time: a file may have others by then.
fn held(keys: Keys, now_ms: u64) -> Held<Keys> {
    let before_ms = u64::try_from(RENEW_BEFORE.as_millis()).unwrap_or(u64::MAX);
    let expires_ms = keys.expires_ms.unwrap_or(now_ms);
    let refresh_at_ms = match expires_ms.saturating_sub(now_ms) {
        // Keys that end so soon are used for half of that.
        left_ms if left_ms < 2 * before_ms => now_ms + left_ms / 2,
        left_ms => now_ms + left_ms - before_ms,
    };
    Held { value: keys, refresh_at_ms, expires_ms }
}

/// Any part of a span that doubles each time, up to `max`.
fn pause(retries: u32, max: Duration, share: f64) -> Duration {
    let span_ms = BACKOFF_MS.saturating_mul(1_u64.checked_shl(retries).unwrap_or(u64::MAX));
    Duration::from_millis(span_ms).min(max).mul_f64(share.clamp(0.0, 1.0))
}

/// What is said to a broker.
fn payload(keys: &Keys, host: &str, region: &str, now_ms: u64) -> Vec<u8> {
    let scope = Scope { region, service: SERVICE, now_ms };
    let signed = sigv4::presigned(keys, scope, host, &[("Action", "kafka-cluster:Connect")], EXPIRES_S);
    let signed = signed.into_iter().map(|(name, value)| (name.to_lowercase(), value));
    let others = [("version", VERSION), ("host", host), ("user-agent", USER_AGENT)];
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fields: Map<String, Value> =
        others.into_iter().chain(signed).map(|(name, value)| (name, Value::String(value))).collect();
    Value::Object(fields).to_string().into_bytes()
}

/// The token of temporary keys in what [`Iam::begin`] gave.
pub(super) fn token_of(message: &[u8]) -> Option<Secret> {
    let said: Value = serde_json::from_slice(message).ok()?;
    said.get("x-amz-security-token")?.as_str().map(Secret::new)
}

/// What the broker's answer leads to.
pub(super) fn step(challenge: &[u8]) -> Result<Step, Fault> {
    let said: Option<Value> = serde_json::from_slice(challenge).ok();
    let said = |name: &str| said.as_ref().and_then(|said| said.get(name)).and_then(Value::as_str);
    match (said("version"), said("request-id")) {
        (Some(VERSION), Some(_)) => Ok(Step::Done),
        _ => Err(Fault::unexpected("an answer to AWS_MSK_IAM that is none")),
    }
}

#[cfg(test)]
mod tests;
