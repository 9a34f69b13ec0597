//! AWS Signature Version 4, as a function of values.
//!
//! ```text
//! request ─▶ canonical request ─▶ string to sign ─▶ signature by a key of the day, the region and the service
//! ```
//! A request is signed in its query, where the signature is to be handed on ([`presigned`]), or in a header
//! ([`authorization`]).
//!
//! Source: AWS's "Create a signed AWS API request"; the SDK's Aws4Signer.

use ring::{digest, hmac};

use super::keys::Keys;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature holds for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// The wall clock, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl Scope<'_> {
    /// `20150830T123600Z`
    pub(super) fn date(&self) -> String {
        let seconds = self.now_ms / 1000;
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(day);
        format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }

    fn credential(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.date()[..8], self.region, self.service)
    }
}

/// The query of a GET of `/` at `host`, by name, signed: what is given, unencoded, and what SigV4 adds. It holds for
/// `expires_s` seconds.
pub(super) fn presigned(
    keys: &Keys,
    scope: Scope<'_>,
    host: &str,
    query: &[(&str, &str)],
    expires_s: u32,
) -> Vec<(String, String)> {
    let mut query: Vec<(String, String)> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut add = |name: &str, value: String| query.push((name.to_owned(), value));
    add("X-Amz-Algorithm", ALGORITHM.to_owned());
    add("X-Amz-Credential", format!("{}/{}", keys.access_key_id, scope.credential()));
    add("X-Amz-Date", scope.date());
    add("X-Amz-Expires", expires_s.to_string());
    if let Some(token) = &keys.session_token {
        add("X-Amz-Security-Token", token.expose().to_owned());
    }
    add("X-Amz-SignedHeaders", "host".to_owned());
    let mut encoded: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    encoded.sort();
    let canonical =
        format!("GET\n/\n{}\nhost:{host}\n\nhost\n{}", encoded.join("&"), hex(sha256(b"").as_ref()));
    query.push(("X-Amz-Signature".to_owned(), signature(keys, scope, &canonical)));
    query
}

/// The value of `authorization` of a request of `/` with these `headers`, by lower-case name in order, and this `body`.
pub(super) fn authorization(
    keys: &Keys,
    scope: Scope<'_>,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let canonical = format!("{method}\n/\n\n{lines}\n{names}\n{}", hex(sha256(body.as_bytes()).as_ref()));
    let credential = format!("{}/{}", keys.access_key_id, scope.credential());
    let signature = signature(keys, scope, &canonical);
    format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}")
}

fn signature(keys: &Keys, scope: Scope<'_>, canonical: &str) -> String {
    let date = scope.date();
    let hashed = hex(sha256(canonical.as_bytes()).as_ref());
    let to_sign = format!("{ALGORITHM}\n{date}\n{}\n{hashed}", scope.credential());
    let mut key = format!("AWS4{}", keys.secret_access_key.expose()).into_bytes();
    for part in [&date[..8], scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part).as_ref().to_vec();
    }
    hex(mac(&key, &to_sign).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As RFC 3986 does it: everything but letters, digits and `-._~`.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

/// Year, month and day of a day since 1970, by the Gregorian calendar: eras of 400 years that begin in March.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// When `2015-08-30T12:36:00Z` is, in milliseconds since 1970; fractions of a second are cut.
pub(super) fn time_ms(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !text.ends_with('Z') || marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(*mark)) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + of_year;
    let days = (year / 400 * 146_097 + of_era).checked_sub(719_468)?;
    Some((days * 86_400 + seconds) * 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Secret;

    /// 2015-08-30T12:36:00Z, of AWS's published test vectors.
    const NOW_MS: u64 = 1_440_938_160_000;

    fn keys(token: Option<&str>) -> Keys {
        Keys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
            expires_ms: None,
        }
    }

    fn vector() -> Scope<'static> {
        Scope { region: "us-east-1", service: "service", now_ms: NOW_MS }
    }

    /// `get-vanilla`, `post-x-www-form-urlencoded` and `post-sts-header-before` of AWS's test suite.
    #[test]
    fn requests_are_signed_as_in_awss_test_vectors() {
        let check = |method, headers: &[(&str, &str)], body, token, expected: &str| {
            let signed = authorization(&keys(token), vector(), method, headers, body);
            assert!(signed.starts_with(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            ));
            assert_eq!(signed.rsplit('=').next(), Some(expected), "{signed}");
        };
        let host = ("host", "example.amazonaws.com");
        let date = ("x-amz-date", "20150830T123600Z");
        check(
            "GET",
            &[host, date],
            "",
            None,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        );
        check(
            "POST",
            &[host, date],
            "",
            None,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        );
        let form = ("content-type", "application/x-www-form-urlencoded");
        check(
            "POST",
            &[form, host, date],
            "Param1=value1",
            None,
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
    }

    #[test]
    fn times_are_written_and_read_by_the_calendar() {
        let date = |now_ms| Scope { now_ms, ..vector() }.date();
        for (now_ms, written, read) in [
            (0, "19700101T000000Z", "1970-01-01T00:00:00Z"),
            (NOW_MS, "20150830T123600Z", "2015-08-30T12:36:00Z"),
            (951_782_399_000, "20000228T235959Z", "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "20000229T000000Z", "2000-02-29T00:00:00Z"),
            (1_709_251_199_000, "20240229T235959Z", "2024-02-29T23:59:59Z"),
            (4_107_542_400_000, "21000301T000000Z", "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!((date(now_ms).as_str(), time_ms(read)), (written, Some(now_ms)));
        }
        for text in
            ["", "2015-08-30", "2015-13-30T12:36:00Z", "2015-08-30T12:36:00+01:00", "20é5-08-30T12:36:00Z"]
        {
            assert_eq!(time_ms(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_read_as_it_was_written(seconds in 0_u64..250_000_000_000) {
            let date = Scope { now_ms: seconds * 1000, ..vector() }.date();
            let (day, time) = date.split_once('T').unwrap();
            let text = format!(
                "{}-{}-{}T{}:{}:{}", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]
            );
            prop_assert_eq!(time_ms(&text), Some(seconds * 1000));
        }

        #[test]
        fn whatever_a_time_is_nothing_panics(text: String, day in "[0-9TZ:.-]{0,30}") {
            let _ = (time_ms(&text), time_ms(&day), time_ms(&format!("{text}Z")));
        }
    }
}
