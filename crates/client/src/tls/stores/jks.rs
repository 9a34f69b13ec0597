//! Java's own format, up to Java 8 what `keytool` made.
//!
//! ```text
//! magic, version, count, then that often: kind, alias, date, and
//!   1  encrypted key, chain of certificates
//!   2  a trusted certificate
//! at the end: SHA-1 of the password, "Mighty Aphrodite" and all of that
//! ```
//! Source: OpenJDK, `sun.security.provider.JavaKeyStore` and `KeyProtector`.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};

use super::{Contents, JKS_MAGIC, Key, Passwords, StoreFault};
use crate::tls::der::{Der, tag};

const DAMAGED: StoreFault = StoreFault::Damaged("a JKS file");
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// `1.3.6.1.4.1.42.2.17.1.1`
const KEY_PROTECTOR: &[u8] = &[0x2b, 6, 1, 4, 1, 0x2a, 2, 0x11, 1, 1];

pub(super) fn read(bytes: &[u8], passwords: Passwords<'_>) -> Result<Contents, StoreFault> {
    let (body, sum) = bytes.split_last_chunk::<SHA1_OUTPUT_LEN>().ok_or(DAMAGED)?;
    let mut contents = Contents::default();
    let mut fault = None;
    let whole = read_body(body, passwords, &mut contents, &mut fault);
    if let Some(password) = passwords.store {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&utf_16(password));
        context.update(WHITENER);
        context.update(body);
        if context.finish().as_ref() != sum {
            // A file that can be read to its very end is not cut off.
            return Err(if whole.is_some() { StoreFault::Password } else { DAMAGED });
        }
    }
    whole.ok_or(DAMAGED)?;
    match fault {
        Some(fault) if contents.keys.is_empty() => Err(fault),
        _ => Ok(contents),
    }
}

/// `None` if the body is not whole. A key that cannot be opened is a `fault`: there may be others.
fn read_body(
    mut rest: &[u8],
    passwords: Passwords<'_>,
    contents: &mut Contents,
    fault: &mut Option<StoreFault>,
) -> Option<()> {
    if take(&mut rest, 4)? != JKS_MAGIC {
        return None;
    }
    let version = number(&mut rest)?;
    if !(1..=2).contains(&version) {
        return None;
    }
    // Each entry takes bytes, so the count need not be believed.
    for _ in 0..number(&mut rest)? {
        let kind = number(&mut rest)?;
        skip_text(&mut rest)?;
        take(&mut rest, 8)?;
        match kind {
            1 => {
                let key = sized(&mut rest)?;
                match open(key, passwords) {
                    Ok(key) => contents.keys.push(Key::Pkcs8(key)),
                    Err(why) => *fault = Some(why),
                }
                for place in 0..number(&mut rest)? {
                    let certificate = certificate(&mut rest, version)?;
                    match place {
                        0 => contents.certificates.push(certificate),
                        _ => contents.above.push(certificate),
                    }
                }
            }
            2 => contents.certificates.push(certificate(&mut rest, version)?),
            _ => return None,
        }
    }
    rest.is_empty().then_some(())
}

fn certificate(rest: &mut &[u8], version: u32) -> Option<Vec<u8>> {
    if version == 2 {
        skip_text(rest)?;
    }
    sized(rest).map(<[u8]>::to_vec)
}

/// A key as it is kept: a salt, the key under a stream of hashes made from it, and a sum.
fn open(key: &[u8], passwords: Passwords<'_>) -> Result<Vec<u8>, StoreFault> {
    let protected = || {
        let mut parts = Der::new(key).sequence()?;
        let id = parts.sequence()?.expect(tag::OID)?;
        Ok((id, parts.expect(tag::OCTETS)?))
    };
    let (id, protected) = protected().map_err(|_: crate::tls::der::NotDer| DAMAGED)?;
    if id != KEY_PROTECTOR {
        return super::open_key(key, passwords.for_key());
    }
    let (salt, rest) = protected.split_first_chunk::<SHA1_OUTPUT_LEN>().ok_or(DAMAGED)?;
    let (hidden, sum) = rest.split_last_chunk::<SHA1_OUTPUT_LEN>().ok_or(DAMAGED)?;
    let mut result = Err(StoreFault::NoKeyPassword);
    for password in passwords.for_key() {
        let password = utf_16(password);
        let mut plain = Vec::with_capacity(hidden.len());
        let mut last = digest_of(&password, salt);
        for chunk in hidden.chunks(SHA1_OUTPUT_LEN) {
            plain.extend(chunk.iter().zip(&last).map(|(byte, mask)| byte ^ mask));
            last = digest_of(&password, &last);
        }
        if digest_of(&password, &plain) == *sum {
            return Ok(plain);
        }
        result = Err(StoreFault::KeyPassword);
    }
    result
}

fn digest_of(password: &[u8], bytes: &[u8]) -> [u8; SHA1_OUTPUT_LEN] {
    let all = [password, bytes].concat();
    let mut out = [0; SHA1_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &all).as_ref());
    out
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    take(rest, usize::try_from(length).ok()?)
}

fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = take(rest, 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)?;
    take(rest, usize::from(length)).map(drop)
}
