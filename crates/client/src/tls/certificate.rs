//! What is to be known of a certificate beside whether it is believed.

use super::der::{Der, Element, NotDer, tag};
use crate::sasl::printable;

/// Facts of an X.509 certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate<'a> {
    /// 1 or 3.
    pub(super) version: u8,
    /// Names, as DER.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// The public key with its kind, as DER; the kind and the key by themselves.
    pub(super) public_key: &'a [u8],
    pub(super) key_kind: &'a [u8],
    pub(super) key: &'a [u8],
    /// From when to when it is good, in seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// It says for which hosts it is, so that its subject's name does not.
    pub(super) has_host_names: bool,
    /// It may issue others: it says so, or is of a version that has no word for it.
    pub(super) may_issue: bool,
    /// What its issuer signed, how, and the signature.
    pub(super) signed: &'a [u8],
    pub(super) signature_kind: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// `2.5.4.3`, `2.5.29.17`, `2.5.29.19`, `2.5.29.15`
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// `keyCertSign` in the first byte of a `KeyUsage`.
const CERT_SIGN: u8 = 0x04;
/// `dNSName` in a `GeneralName`.
const DNS_NAME: u8 = tag::implicit(2);

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Certificate<'a>, NotDer> {
        let mut parts = Der::new(der).sequence()?;
        let signed = parts.any()?.whole;
        let signature_kind = parts.expect(tag::SEQUENCE)?;
        let signature = bits(&mut parts)?;
        let mut to_be_signed = Der::new(signed).sequence()?;
        let version = match to_be_signed.optional(tag::explicit(0))? {
            Some(version) => Der::new(version).number()?.saturating_add(1),
            None => 1,
        };
        to_be_signed.expect(tag::INTEGER)?;
        to_be_signed.sequence()?;
        let issuer = to_be_signed.any()?.whole;
        let mut validity = to_be_signed.sequence()?;
        let (not_before, not_after) = (time(validity.any()?)?, time(validity.any()?)?);
        let subject = to_be_signed.any()?.whole;
        let public_key = to_be_signed.any()?.whole;
        let mut key_parts = Der::new(public_key).sequence()?;
        let key_kind = key_parts.expect(tag::SEQUENCE)?;
        let key = bits(&mut key_parts)?;
        let version = u8::try_from(version).unwrap_or(u8::MAX);
        let mut extensions = Extensions::default();
        while !to_be_signed.is_empty() {
            let element = to_be_signed.any()?;
            if element.tag == tag::explicit(3) {
                extensions = Extensions::read(element.contents)?;
            }
        }
        Ok(Certificate {
            version,
            issuer,
            subject,
            public_key,
            key_kind,
            key,
            not_before,
            not_after,
            has_host_names: extensions.names_hosts,
            may_issue: version < 3 || extensions.is_ca && extensions.signs_certificates != Some(false),
            signed,
            signature_kind,
            signature,
        })
    }

    /// Issued by itself, or so it says.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The last `CN=` of its subject, which is the most special.
    pub(super) fn common_name(&self) -> Option<String> {
        common_name(self.subject)
    }

    /// Who issued it, as far as it has a common name.
    pub(super) fn issuer_name(&self) -> Option<String> {
        common_name(self.issuer)
    }
}

/// A bit string of whole bytes.
fn bits<'a>(parts: &mut Der<'a>) -> Result<&'a [u8], NotDer> {
    match parts.expect(tag::BIT_STRING)? {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(NotDer),
    }
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut parts = Der::new(name).sequence().ok()?;
    let mut found = None;
    while !parts.is_empty() {
        let mut part = Der::new(parts.expect(tag::SET).ok()?).sequence().ok()?;
        if part.expect(tag::OID).ok()? == COMMON_NAME {
            let text = part.any().ok()?.contents;
            // Whoever it is may have written anything.
            found = Some(printable(&String::from_utf8_lossy(text)));
        }
    }
    found
}

/// What a certificate's extensions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extensions {
    names_hosts: bool,
    is_ca: bool,
    /// Whether its key may sign certificates, where it says what it may.
    signs_certificates: Option<bool>,
}

impl Extensions {
    fn read(der: &[u8]) -> Result<Extensions, NotDer> {
        let mut all = Der::new(der).sequence()?;
        let mut read = Extensions::default();
        while !all.is_empty() {
            let mut extension = all.sequence()?;
            let id = extension.expect(tag::OID)?;
            extension.optional(tag::BOOLEAN)?;
            let value = extension.expect(tag::OCTETS)?;
            if id == SUBJECT_ALT_NAME {
                let mut names = Der::new(value).sequence()?;
                while !names.is_empty() {
                    read.names_hosts |= names.any()?.tag == DNS_NAME;
                }
            } else if id == BASIC_CONSTRAINTS {
                let is_ca = Der::new(value).sequence()?.optional(tag::BOOLEAN)?;
                read.is_ca = is_ca.is_some_and(|is_ca| is_ca.iter().any(|byte| *byte != 0));
            } else if id == KEY_USAGE {
                // How many bits of the last byte do not count, then the bits.
                let usage = Der::new(value).expect(tag::BIT_STRING)?;
                read.signs_certificates = Some(usage.get(1).is_some_and(|bits| bits & CERT_SIGN != 0));
            }
        }
        Ok(read)
    }
}

/// Seconds since 1970 of `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(element: Element<'_>) -> Result<i64, NotDer> {
    let text = std::str::from_utf8(element.contents).map_err(|_| NotDer)?;
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.ok_or(NotDer)?;
    let (year, rest) = match (element.tag, digits.len()) {
        (tag::UTC_TIME, 12) => {
            let year: i64 = digits[..2].parse().map_err(|_| NotDer)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        (tag::GENERALIZED_TIME, 14) => (digits[..4].parse().map_err(|_| NotDer)?, &digits[4..]),
        _ => return Err(NotDer),
    };
    let two = |at: usize| rest[at..at + 2].parse::<i64>().map_err(|_| NotDer);
    let (month, day) = (two(0)?, two(2)?);
    if !(1..=12).contains(&month) {
        return Err(NotDer);
    }
    Ok(days_since_1970(year, month, day) * 86_400 + two(4)? * 3600 + two(6)? * 60 + two(8)?)
}

/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The day of a moment in seconds since 1970, as `YYYY-MM-DD`.
pub(super) fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let check = |tag, text: &str, expected| {
            let element = Element { tag, contents: text.as_bytes(), whole: &[] };
            assert_eq!(time(element), expected, "{text}");
        };
        check(tag::UTC_TIME, "700101000000Z", Ok(0));
        check(tag::UTC_TIME, "491231235959Z", Ok(2_524_607_999));
        check(tag::GENERALIZED_TIME, "20261130061015Z", Ok(1_796_019_015));
        check(tag::GENERALIZED_TIME, "20261330061015Z", Err(NotDer));
        check(tag::UTC_TIME, "7001010000Z", Err(NotDer));
        check(tag::UTC_TIME, "70010100000\u{e9}Z", Err(NotDer));
    }

    #[test]
    fn days_are_told_as_they_were_read() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_796_019_015, "2026-11-30"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes: Vec<u8>) {
            let _ = Certificate::read(&bytes);
            let _ = common_name(&bytes);
            let _ = Extensions::read(&bytes);
        }

        #[test]
        fn any_day_comes_back(days in -700_000i64..2_000_000) {
            let told = day(days * 86_400 + 5);
            let part = |index: usize| told.rsplit('-').nth(2 - index).unwrap().parse::<i64>().unwrap();
            prop_assume!(!told.starts_with('-'));
            prop_assert_eq!(days_since_1970(part(0), part(1), part(2)), days);
        }
    }
}
