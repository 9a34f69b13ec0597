//! PKCS#12: what `keytool` makes since Java 9, and `openssl pkcs12`.
//!
//! ```text
//! PFX ── content (bytes) ── list of safes, plain or encrypted ── list of bags ── key | certificate
//!    └── sum over the content, by the password
//! ```
//! Which certificates belong to a key shows by the key. In a store with keys the attributes say which of them are trusted.
//!
//! Source: RFC 7292.

use ring::{digest, hmac};

use super::encryption::{For, Locked, decrypt, derive, iterations, last_of};
use super::{Contents, Key, Passwords, StoreFault};
use crate::tls::der::{Der, NotDer, dotted, tag};

const DAMAGED: StoreFault = StoreFault::Damaged("a PKCS12 file");
const PKCS7: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
const BAGS: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 0x0c, 0x0a, 1];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x16, 1];
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA2: [u8; 8] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x15];
/// Java's own, `2.16.840.1.113894.746875.1.1`.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
/// Bags may hold bags; nobody nests them deeper.
const DEPTH_MAX: usize = 4;

impl From<NotDer> for StoreFault {
    fn from(_: NotDer) -> StoreFault {
        DAMAGED
    }
}

pub(super) fn read(bytes: &[u8], passwords: Passwords<'_>) -> Result<Contents, StoreFault> {
    let mut file = Der::new(bytes).sequence()?;
    if file.number()? != 3 {
        return Err(DAMAGED);
    }
    let mut content = file.sequence()?;
    if last_of(content.expect(tag::OID)?, &PKCS7) != Some(1) {
        return Err(StoreFault::Unsupported("a PKCS12 file that is signed by a key".to_owned()));
    }
    let content = content.explicit(0)?.expect(tag::OCTETS)?;
    if let (false, Some(password)) = (file.is_empty(), passwords.store) {
        verify(file.sequence()?, password, content)?;
    }
    let mut contents = Contents::default();
    let mut safes = Der::new(content).sequence()?;
    let mut fault = None;
    while !safes.is_empty() {
        let mut safe = safes.sequence()?;
        let id = safe.expect(tag::OID)?;
        let mut inside = safe.explicit(0)?;
        match last_of(id, &PKCS7) {
            Some(1) => read_bags(inside.expect(tag::OCTETS)?, passwords, &mut contents, &mut fault, 0)?,
            Some(6) => {
                let bags = open(inside, passwords)?;
                read_bags(&bags, passwords, &mut contents, &mut fault, 0)?;
            }
            _ => return Err(StoreFault::Unsupported(format!("a part of kind {}", dotted(id)))),
        }
    }
    if contents.keys.is_empty() {
        // Whoever makes a store of certificates alone does not always say that they are trusted.
        contents.certificates.append(&mut contents.above);
    }
    match fault {
        Some(fault) if contents.keys.is_empty() => Err(fault),
        _ => Ok(contents),
    }
}

/// Whether the attributes that are left of a certificate's bag say that it belongs to a key, or is trusted by itself: as
/// Java reads it, all others only lead from the former to their authority.
fn is_meant_itself(mut bag: Der<'_>) -> Result<bool, StoreFault> {
    if bag.is_empty() {
        return Ok(false);
    }
    let mut attributes = Der::new(bag.expect(tag::SET)?);
    while !attributes.is_empty() {
        let id = attributes.sequence()?.expect(tag::OID)?;
        if id == LOCAL_KEY_ID || id == TRUSTED_KEY_USAGE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The sum shows whether the password is right.
fn verify(mut sum: Der<'_>, password: &str, content: &[u8]) -> Result<(), StoreFault> {
    let mut digest_info = sum.sequence()?;
    let id = digest_info.sequence()?.expect(tag::OID)?;
    let expected = digest_info.expect(tag::OCTETS)?;
    let salt = sum.expect(tag::OCTETS)?;
    let rounds = if sum.is_empty() { 1 } else { sum.number()? };
    let (function, mac): (&digest::Algorithm, hmac::Algorithm) = match last_of(id, &SHA2) {
        _ if id == SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Some(1) => (&digest::SHA256, hmac::HMAC_SHA256),
        Some(2) => (&digest::SHA384, hmac::HMAC_SHA384),
        Some(3) => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(StoreFault::Unsupported(format!("a sum of kind {}", dotted(id)))),
    };
    let key = derive(function, password, salt, iterations(rounds)?, For::Mac, function.output_len());
    hmac::verify(&hmac::Key::new(mac, &key), content, expected).map_err(|_| StoreFault::Password)
}

impl From<Locked> for StoreFault {
    fn from(locked: Locked) -> StoreFault {
        match locked {
            Locked::Password => StoreFault::Password,
            Locked::NotDer => DAMAGED,
            Locked::Unsupported(what) => StoreFault::Unsupported(what),
        }
    }
}

fn open(mut encrypted: Der<'_>, passwords: Passwords<'_>) -> Result<Vec<u8>, StoreFault> {
    let mut encrypted = encrypted.sequence()?;
    encrypted.number()?;
    let mut info = encrypted.sequence()?;
    info.expect(tag::OID)?;
    let algorithm = info.sequence()?;
    let data = info.expect(tag::implicit(0))?;
    let password = passwords.store.ok_or(StoreFault::NoPassword)?;
    Ok(decrypt(algorithm, password, data)?)
}

fn read_bags(
    bags: &[u8],
    passwords: Passwords<'_>,
    contents: &mut Contents,
    fault: &mut Option<StoreFault>,
    depth: usize,
) -> Result<(), StoreFault> {
    if depth > DEPTH_MAX {
        return Err(DAMAGED);
    }
    let mut bags = Der::new(bags).sequence()?;
    while !bags.is_empty() {
        let mut bag = bags.sequence()?;
        let id = bag.expect(tag::OID)?;
        let mut value = bag.explicit(0)?;
        match last_of(id, &BAGS) {
            Some(1) => contents.keys.push(Key::Pkcs8(value.any()?.whole.to_vec())),
            Some(2) => match super::open_key(value.any()?.whole, passwords.for_key()) {
                Ok(key) => contents.keys.push(Key::Pkcs8(key)),
                Err(why) => *fault = Some(why),
            },
            Some(3) => {
                let mut certificate = value.sequence()?;
                if certificate.expect(tag::OID)? == X509_CERTIFICATE {
                    let der = certificate.explicit(0)?.expect(tag::OCTETS)?;
                    let certificates = match is_meant_itself(bag)? {
                        true => &mut contents.certificates,
                        false => &mut contents.above,
                    };
                    certificates.push(der.to_vec());
                }
            }
            Some(6) => read_bags(value.any()?.whole, passwords, contents, fault, depth + 1)?,
            // Lists of the revoked, passwords and such.
            _ => {}
        }
    }
    Ok(())
}
