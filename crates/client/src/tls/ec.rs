//! Elliptic keys without their public half.
//!
//! Java leaves it out of the PKCS#8 that it keeps in stores, which is allowed (RFC 5915), and ring wants it there. It is
//! in the certificate, too; whether it is the right one, ring checks.

use super::certificate::Certificate;
use super::der::{Der, NotDer, tag};

/// `1.2.840.10045.2.1`
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// `1.2.840.10045.3.1.7` and `1.3.132.0.34`, and the bytes of their private keys.
const CURVES: [(&[u8], usize); 2] =
    [(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32), (&[0x2b, 0x81, 4, 0, 0x22], 48)];

/// The PKCS#8 `key` with the public half that `certificate` has, if both are of the same curve.
pub(super) fn completed(key: &[u8], certificate: &Certificate<'_>) -> Option<Vec<u8>> {
    let parts = || -> Result<_, NotDer> {
        let mut parts = Der::new(key).sequence()?;
        parts.number()?;
        let kind = parts.expect(tag::SEQUENCE)?;
        let mut private = Der::new(parts.expect(tag::OCTETS)?).sequence()?;
        private.number()?;
        Ok((kind, private.expect(tag::OCTETS)?))
    };
    let (kind, private) = parts().ok()?;
    if kind != certificate.key_kind {
        return None;
    }
    let curve = || -> Result<_, NotDer> {
        let mut kind = Der::new(kind);
        Ok((kind.expect(tag::OID)?, kind.expect(tag::OID)?))
    };
    let (family, curve) = curve().ok()?;
    let (_, length) = CURVES.iter().find(|(id, _)| *id == curve && family == EC_PUBLIC_KEY)?;
    // Some leave out zeros in front, some put one there as before a number.
    let significant = private.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &private[first..]);
    let missing = length.checked_sub(significant.len())?;
    let private = [&vec![0; missing], significant].concat();
    let public = wrapped(tag::BIT_STRING, &[&[0], certificate.key].concat());
    let inner = [number(1), wrapped(tag::OCTETS, &private), wrapped(tag::explicit(1), &public)].concat();
    let inner = wrapped(tag::OCTETS, &wrapped(tag::SEQUENCE, &inner));
    Some(wrapped(tag::SEQUENCE, &[number(0), wrapped(tag::SEQUENCE, kind), inner].concat()))
}

fn number(number: u8) -> Vec<u8> {
    wrapped(tag::INTEGER, &[number])
}

/// One element. The keys here are far below 64 KiB.
fn wrapped(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let head = match contents.len() {
        0..=0x7f => vec![tag, length[7]],
        0x80..=0xff => vec![tag, 0x81, length[7]],
        _ => vec![tag, 0x82, length[6], length[7]],
    };
    [&head, contents].concat()
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::sign::any_supported_type;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::StoreKind;
    use crate::tls::stores::{Key, Passwords, read};

    fn testdata(name: &str) -> crate::tls::stores::Contents {
        let path = format!("{}/src/tls/stores/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
        read(&std::fs::read(path).unwrap(), StoreKind::Pem, Passwords::default()).unwrap()
    }

    #[test]
    fn a_key_without_its_public_half_gets_it_from_the_certificate() {
        let certificate = testdata("certificate.pem").certificates.remove(0);
        let certificate = Certificate::read(&certificate).unwrap();
        let keys = testdata("key.pem").keys;
        let [Key::Pkcs8(whole)] = &keys[..] else { panic!() };
        assert_eq!(completed(whole, &certificate).as_ref(), Some(whole));
        // As Java writes it: nothing behind the private half.
        let mut parts = Der::new(whole).sequence().unwrap();
        parts.number().unwrap();
        let kind = parts.any().unwrap().whole;
        let mut private = Der::new(parts.expect(tag::OCTETS).unwrap()).sequence().unwrap();
        private.number().unwrap();
        let inner = [number(1), private.any().unwrap().whole.to_vec()].concat();
        let inner = wrapped(tag::OCTETS, &wrapped(tag::SEQUENCE, &inner));
        let bare = wrapped(tag::SEQUENCE, &[&number(0), kind, &inner].concat());
        assert!(any_supported_type(&PrivateKeyDer::Pkcs8(bare.clone().into())).is_err());
        assert_eq!(completed(&bare, &certificate).as_ref(), Some(whole));
        assert_eq!(completed(&whole[1..], &certificate), None);
    }
}
