//! PEM: certificates and keys as text, with whatever words between them.
//!
//! The white space in it does not matter, as with Kafka: a value that was folded into one line still works.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Contents, Key, Passwords, StoreFault};

/// How every part begins.
pub(super) const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const DAMAGED: StoreFault = StoreFault::Damaged("PEM text");

pub(super) fn read(bytes: &[u8], passwords: Passwords<'_>) -> Result<Contents, StoreFault> {
    // What is outside of the parts may be in any encoding.
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut contents = Contents::default();
    while let Some((_, begun)) = rest.split_once(BEGIN) {
        let (label, begun) = begun.split_once(DASHES).ok_or(DAMAGED)?;
        let (body, ended) = begun.split_once(END).ok_or(DAMAGED)?;
        let (end_label, left) = ended.split_once(DASHES).ok_or(DAMAGED)?;
        if label != end_label {
            return Err(DAMAGED);
        }
        rest = left;
        match label {
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                contents.certificates.push(decode(body)?);
            }
            "PRIVATE KEY" => contents.keys.push(Key::Pkcs8(decode(body)?)),
            "ENCRYPTED PRIVATE KEY" => {
                let key = super::open_key(&decode(body)?, passwords.for_key())?;
                contents.keys.push(Key::Pkcs8(key));
            }
            "RSA PRIVATE KEY" | "EC PRIVATE KEY" if body.contains("ENCRYPTED") => {
                let what = "a key encrypted as OpenSSL before 1.0 did it".to_owned();
                return Err(StoreFault::Unsupported(what));
            }
            "RSA PRIVATE KEY" => contents.keys.push(Key::Pkcs1(decode(body)?)),
            "EC PRIVATE KEY" => contents.keys.push(Key::Sec1(decode(body)?)),
            // Parameters of curves, lists of the revoked and such.
            _ => {}
        }
    }
    Ok(contents)
}

/// The bytes of a part, without the lines `Name: value` that may stand at its head.
fn decode(body: &str) -> Result<Vec<u8>, StoreFault> {
    let lines = body.lines().filter(|line| !line.contains(':'));
    let text: String = lines.flat_map(str::chars).filter(|char| !char.is_whitespace()).collect();
    BASE64.decode(text).map_err(|_| DAMAGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Passwords<'static> = Passwords { store: None, key: None };

    #[test]
    fn parts_are_found_however_the_text_is_folded() {
        let expected = Contents {
            keys: vec![Key::Pkcs8(b"key".to_vec())],
            certificates: vec![b"one".to_vec(), b"second".to_vec()],
            above: Vec::new(),
        };
        for space in ["\n", "\r\n", " ", "\n\n  "] {
            let text = format!(
                "subject=CN = one{space}-----BEGIN CERTIFICATE-----{space}b25l{space}-----END CERTIFICATE-----{space}\
                 -----BEGIN PRIVATE KEY-----{space}a2{space}V5{space}-----END PRIVATE KEY-----{space}\
                 -----BEGIN EC PARAMETERS-----{space}BggqhkjOPQMBBw=={space}-----END EC PARAMETERS-----{space}\
                 -----BEGIN CERTIFICATE-----{space}c2Vjb25k-----END CERTIFICATE-----"
            );
            assert_eq!(read(text.as_bytes(), NONE), Ok(expected.clone()), "{text}");
        }
        let with_head = "-----BEGIN CERTIFICATE-----\nSome-Name: value\n\nb25l\n-----END CERTIFICATE-----";
        assert_eq!(read(with_head.as_bytes(), NONE).unwrap().certificates, [b"one"]);
    }

    #[test]
    fn parts_that_are_none_are_refused() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nb25l\n",
            "-----BEGIN CERTIFICATE-----\nb25l\n-----END PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----\nb%5l\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE",
        ] {
            assert_eq!(read(text.as_bytes(), NONE), Err(DAMAGED), "{text}");
        }
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nb25l\n-----END RSA PRIVATE KEY-----";
        assert!(matches!(read(old.as_bytes(), NONE), Err(StoreFault::Unsupported(_))));
    }
}
