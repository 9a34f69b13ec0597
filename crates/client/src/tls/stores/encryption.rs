//! Decrypts by a password, as PKCS#5 and PKCS#12 have it.
//!
//! PBES2 with PBKDF2 and AES or triple DES is what is made today; triple DES and RC2 by PKCS#12's own derivation are
//! what `keytool` made before Java 17, and `openssl` before 3.0.
//!
//! Source: RFC 8018; RFC 7292, appendix B.

use std::num::NonZeroU32;

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use ring::digest::{self, digest};
use ring::pbkdf2;

use crate::tls::der::{Der, NotDer, dotted, tag};

/// As Java has it (`PKCS12KeyStore`): more would take minutes.
const ITERATIONS_MAX: u32 = 5_000_000;

/// Why nothing could be decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// What comes out is not what went in.
    Password,
    /// The parameters cannot be read.
    NotDer,
    /// A way that is not known here.
    Unsupported(String),
}

impl From<NotDer> for Locked {
    fn from(_: NotDer) -> Locked {
        Locked::NotDer
    }
}

/// What PKCS#12 derives something for.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

const PKCS5: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
const PKCS12_PBE: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 0x0c, 1];
const RSADSI_DIGEST: [u8; 7] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
const AES: [u8; 8] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7];
const SCRYPT: &[u8] = &[0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 0x0b];

/// The last number of an identifier, if it begins so.
pub(super) fn last_of(id: &[u8], arc: &[u8]) -> Option<u8> {
    match id.strip_prefix(arc) {
        Some([last]) => Some(*last),
        _ => None,
    }
}

/// Decrypts `data`. `algorithm` is what an `AlgorithmIdentifier` holds.
pub(super) fn decrypt(mut algorithm: Der<'_>, password: &str, data: &[u8]) -> Result<Vec<u8>, Locked> {
    let id = algorithm.expect(tag::OID)?;
    if last_of(id, &PKCS5) == Some(13) {
        return decrypt_pbes2(algorithm, password, data);
    }
    let (key_bytes, is_rc2) = match last_of(id, &PKCS12_PBE) {
        Some(3) => (24, false),
        Some(5) => (16, true),
        Some(6) => (5, true),
        _ => return Err(Locked::Unsupported(format!("encryption {}", dotted(id)))),
    };
    let mut parameters = algorithm.sequence()?;
    let salt = parameters.expect(tag::OCTETS)?;
    let iterations = iterations(parameters.number()?)?;
    let derived =
        |what, bytes| derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, password, salt, iterations, what, bytes);
    let (key, iv) = (derived(For::Key, key_bytes), derived(For::Iv, 8));
    if is_rc2 { cbc::<rc2::Rc2>(&key, &iv, data) } else { cbc::<des::TdesEde3>(&key, &iv, data) }
}

/// Decrypts the third by the key, with the vector.
type Decrypt = fn(&[u8], &[u8], &[u8]) -> Result<Vec<u8>, Locked>;

fn decrypt_pbes2(mut algorithm: Der<'_>, password: &str, data: &[u8]) -> Result<Vec<u8>, Locked> {
    let mut parameters = algorithm.sequence()?;
    let mut derivation = parameters.sequence()?;
    let mut cipher = parameters.sequence()?;
    let derivation_id = derivation.expect(tag::OID)?;
    if derivation_id == SCRYPT {
        return Err(Locked::Unsupported("key derivation by scrypt".to_owned()));
    }
    if last_of(derivation_id, &PKCS5) != Some(12) {
        return Err(Locked::Unsupported(format!("key derivation {}", dotted(derivation_id))));
    }
    let mut derivation = derivation.sequence()?;
    let salt = derivation.expect(tag::OCTETS)?;
    let iterations = iterations(derivation.number()?)?;
    let mut function = pbkdf2::PBKDF2_HMAC_SHA1;
    while !derivation.is_empty() {
        let element = derivation.any()?;
        // Beside the function there may be the length of the key, which the cipher says as well.
        if element.tag == tag::SEQUENCE {
            let id = Der::new(element.contents).expect(tag::OID)?;
            function = match last_of(id, &RSADSI_DIGEST) {
                Some(7) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some(9) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some(10) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some(11) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(Locked::Unsupported(format!("key derivation by {}", dotted(id)))),
            };
        }
    }
    let cipher_id = cipher.expect(tag::OID)?;
    let (key_bytes, decrypt): (usize, Decrypt) = match last_of(cipher_id, &AES) {
        Some(2) => (16, cbc::<aes::Aes128>),
        Some(22) => (24, cbc::<aes::Aes192>),
        Some(42) => (32, cbc::<aes::Aes256>),
        _ if cipher_id == DES_EDE3_CBC => (24, cbc::<des::TdesEde3>),
        _ => return Err(Locked::Unsupported(format!("encryption {}", dotted(cipher_id)))),
    };
    let iv = cipher.expect(tag::OCTETS)?;
    let mut key = vec![0; key_bytes];
    pbkdf2::derive(function, iterations, salt, password.as_bytes(), &mut key);
    decrypt(&key, iv, data)
}

pub(super) fn iterations(number: u32) -> Result<NonZeroU32, Locked> {
    let number = NonZeroU32::new(number).filter(|number| number.get() <= ITERATIONS_MAX);
    number.ok_or_else(|| Locked::Unsupported(format!("more than {ITERATIONS_MAX} iterations, or none,")))
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Locked> {
    // Of a wrong length is only what the file says of itself: the vector.
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| Locked::NotDer)?;
    cipher.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| Locked::Password)
}

/// PKCS#12's derivation of keys, RFC 7292 B.2.
pub(super) fn derive(
    function: &'static digest::Algorithm,
    password: &str,
    salt: &[u8],
    iterations: NonZeroU32,
    what: For,
    bytes: usize,
) -> Vec<u8> {
    let block = function.block_len();
    // UTF-16 with a zero at its end.
    let password: Vec<u8> = password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let filled = |text: &[u8]| -> Vec<u8> {
        text.iter()
            .copied()
            .cycle()
            .take(if text.is_empty() { 0 } else { text.len().div_ceil(block) * block })
            .collect()
    };
    let mut input = [filled(salt), filled(&password)].concat();
    let mut out = Vec::with_capacity(bytes + function.output_len());
    loop {
        let mut hash = digest(function, &[&vec![what as u8; block][..], &input].concat());
        for _ in 1..iterations.get() {
            hash = digest(function, hash.as_ref());
        }
        out.extend_from_slice(hash.as_ref());
        if out.len() >= bytes {
            out.truncate(bytes);
            return out;
        }
        for part in input.chunks_mut(block) {
            // part + hash repeated + 1, as numbers of so many bytes.
            let mut carry = 1;
            for (index, byte) in part.iter_mut().enumerate().rev() {
                let sum = u16::from(*byte) + u16::from(hash.as_ref()[index % function.output_len()]) + carry;
                *byte = sum.to_be_bytes()[1];
                carry = u16::from(sum.to_be_bytes()[0]);
            }
        }
    }
}
