//! Stores of certificates and keys, as bytes: JKS, PKCS12 and PEM.
//!
//! What a file is shows at its beginning, so JKS and PKCS12 are taken for each other as Java takes them; PEM must be
//! called so. All are read whole, by people's own files and with bounds all the same: no length, count or number of
//! iterations is believed.

mod encryption;
mod jks;
mod pem;
mod pkcs12;

use super::der::{Der, NotDer, tag};
use crate::StoreKind;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Private keys, PKCS#8 unless they came otherwise in PEM.
    pub(super) keys: Vec<Key>,
    /// Certificates as DER, in the order of the store.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Those that only lead from a key's own certificate to its authority. As a trust store's they are believed by nobody:
    /// Java trusts of each chain the first.
    pub(super) above: Vec<Vec<u8>>,
}

/// A private key as DER.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    Pkcs8(Vec<u8>),
    /// `RSA PRIVATE KEY`
    Pkcs1(Vec<u8>),
    /// `EC PRIVATE KEY`
    Sec1(Vec<u8>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// What opens a store, and the key inside it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passwords<'a> {
    pub(super) store: Option<&'a str>,
    pub(super) key: Option<&'a str>,
}

impl<'a> Passwords<'a> {
    /// Those that may open the key: its own, else the store's.
    fn for_key(self) -> impl Iterator<Item = &'a str> {
        [self.key, self.store].into_iter().flatten()
    }
}

/// Why a store cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreFault {
    #[error("its password is wrong, or it is damaged")]
    Password,
    #[error("the password of its key is wrong, or the key is damaged")]
    KeyPassword,
    #[error("it is encrypted, and no password is given for it")]
    NoPassword,
    #[error("its key is encrypted, and no password is given for the key")]
    NoKeyPassword,
    #[error("it is {0} that ends early or is damaged")]
    Damaged(&'static str),
    #[error("it is {is}, where its type is said to be {said}")]
    Kind { is: &'static str, said: &'static str },
    #[error("it is neither JKS, PKCS12 nor PEM")]
    Unknown,
    #[error("it is empty")]
    Empty,
    #[error("{0} is not supported; make the store again with keytool of Java 11 or newer, as PKCS12")]
    Unsupported(String),
}

/// `FEEDFEED` and `CECECECE`
const JKS_MAGIC: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
const JCEKS_MAGIC: &[u8] = &[0xce, 0xce, 0xce, 0xce];

/// Reads the file that `bytes` are, said to be a `kind`.
pub(super) fn read(bytes: &[u8], kind: StoreKind, passwords: Passwords<'_>) -> Result<Contents, StoreFault> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(StoreFault::Empty);
    }
    match (shape(bytes), kind) {
        (Shape::Jks, StoreKind::Jks | StoreKind::Pkcs12) => jks::read(bytes, passwords),
        (Shape::Pkcs12, StoreKind::Jks | StoreKind::Pkcs12) => pkcs12::read(bytes, passwords),
        (Shape::Pem, StoreKind::Pem) => pem::read(bytes, passwords),
        (Shape::Jceks, _) => Err(StoreFault::Unsupported("the format JCEKS".to_owned())),
        (Shape::Other, _) => Err(StoreFault::Unknown),
        (is, said) => Err(StoreFault::Kind { is: is.name(), said: name(said) }),
    }
}

/// Reads PEM text from the settings.
pub(super) fn read_inline(
    certificates: &str,
    key: Option<&str>,
    passwords: Passwords<'_>,
) -> Result<Contents, StoreFault> {
    let mut contents = pem::read(certificates.as_bytes(), passwords)?;
    if let Some(key) = key {
        contents.keys = pem::read(key.as_bytes(), passwords)?.keys;
    }
    Ok(contents)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Jks,
    Jceks,
    Pkcs12,
    Pem,
    /// A certificate or key that is not in a store.
    Der,
    Other,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Shape::Jks => "a JKS file",
            Shape::Jceks => "a JCEKS file",
            Shape::Pkcs12 => "a PKCS12 file",
            Shape::Pem => "a PEM file",
            Shape::Der => "a certificate or key in DER, not in a store,",
            Shape::Other => "something else",
        }
    }
}

fn name(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Jks => "JKS",
        StoreKind::Pkcs12 => "PKCS12",
        StoreKind::Pem => "PEM",
    }
}

fn shape(bytes: &[u8]) -> Shape {
    if bytes.starts_with(JKS_MAGIC) {
        return Shape::Jks;
    }
    if bytes.starts_with(JCEKS_MAGIC) {
        return Shape::Jceks;
    }
    if bytes.windows(pem::BEGIN.len()).any(|window| window == pem::BEGIN.as_bytes()) {
        return Shape::Pem;
    }
    match bytes {
        // A PKCS12 file begins with its version in a sequence, a certificate with a sequence in it. That also one which
        // is cut off is known by.
        [tag::SEQUENCE, length, rest @ ..] => {
            let rest = rest.get(usize::from(if *length > 0x80 { length & 0x7f } else { 0 })..);
            match rest {
                Some([tag::INTEGER, 1, 3, ..]) => Shape::Pkcs12,
                Some([tag::SEQUENCE | tag::INTEGER, ..]) => Shape::Der,
                _ => Shape::Other,
            }
        }
        _ => Shape::Other,
    }
}

/// PKCS#8 that is encrypted (`EncryptedPrivateKeyInfo`), opened by the first of `passwords` that does.
fn open_key<'a>(der: &[u8], passwords: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, StoreFault> {
    let damaged = |_: NotDer| StoreFault::Damaged("an encrypted key");
    let mut parts = Der::new(der).sequence().map_err(damaged)?;
    let algorithm = parts.sequence().map_err(damaged)?;
    let encrypted = parts.expect(tag::OCTETS).map_err(damaged)?;
    let mut result = Err(StoreFault::NoKeyPassword);
    for password in passwords {
        result = match encryption::decrypt(algorithm, password, encrypted) {
            // What decrypts to nonsense was not meant: the padding is right by chance once in 256 times.
            Ok(key) if Der::new(&key).sequence().is_ok() => return Ok(key),
            Ok(_) | Err(encryption::Locked::Password) => Err(StoreFault::KeyPassword),
            Err(encryption::Locked::NotDer) => Err(StoreFault::Damaged("an encrypted key")),
            Err(encryption::Locked::Unsupported(what)) => Err(StoreFault::Unsupported(what)),
        };
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Passwords<'static> = Passwords { store: None, key: None };
    const SOME: Passwords<'static> = Passwords { store: Some("changeit"), key: Some("other") };

    #[test]
    fn what_a_file_is_shows_at_its_beginning() {
        let check = |bytes: &[u8], kind, expected: StoreFault| {
            assert_eq!(read(bytes, kind, NONE), Err(expected), "{bytes:?}");
        };
        let pem = b"some words\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(b"\n ", StoreKind::Jks, StoreFault::Empty);
        check(b"what?", StoreKind::Pem, StoreFault::Unknown);
        check(pem, StoreKind::Jks, StoreFault::Kind { is: "a PEM file", said: "JKS" });
        check(
            &[0xfe, 0xed, 0xfe, 0xed, 0],
            StoreKind::Pem,
            StoreFault::Kind { is: "a JKS file", said: "PEM" },
        );
        check(&[0xfe, 0xed, 0xfe, 0xed, 0], StoreKind::Pkcs12, StoreFault::Damaged("a JKS file"));
        check(&[0x30, 0x82, 9, 9, 2, 1, 3], StoreKind::Jks, StoreFault::Damaged("a PKCS12 file"));
        let der = StoreFault::Kind { is: "a certificate or key in DER, not in a store,", said: "PKCS12" };
        check(&[0x30, 0x82, 9, 9, 0x30, 0x82], StoreKind::Pkcs12, der);
        assert!(matches!(read(&[0xce; 20], StoreKind::Jks, NONE), Err(StoreFault::Unsupported(_))));
    }

    fn testdata(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/src/tls/stores/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn with(store: &'static str, key: &'static str) -> Passwords<'static> {
        let some = |password: &'static str| (!password.is_empty()).then_some(password);
        Passwords { store: some(store), key: some(key) }
    }

    /// Made by `openssl` 3.0.
    #[test]
    fn encrypted_keys_are_opened_by_their_password_alone() {
        let plain = read(&testdata("key.pem"), StoreKind::Pem, NONE).unwrap();
        assert_eq!((plain.keys.len(), plain.certificates.len()), (1, 0));
        for name in ["aes256", "aes128-sha1", "des3", "pbe-3des", "pbe-rc2-40", "pbe-rc2-128"] {
            let bytes = testdata(&format!("{name}.pem"));
            let read = |key| read(&bytes, StoreKind::Pem, with("", key));
            assert_eq!(read("changeit"), Ok(plain.clone()), "{name}");
            assert_eq!(read("wrong"), Err(StoreFault::KeyPassword), "{name}");
            assert_eq!(read(""), Err(StoreFault::NoKeyPassword), "{name}");
        }
        let scrypt = read(&testdata("scrypt.pem"), StoreKind::Pem, with("", "changeit"));
        assert!(matches!(scrypt, Err(StoreFault::Unsupported(what)) if what.contains("scrypt")));
    }

    /// Made by `openssl` 3.0, also as before 3.0.
    #[test]
    fn stores_of_openssl_are_read() {
        let key = read(&testdata("key.pem"), StoreKind::Pem, NONE).unwrap().keys;
        let certificates = read(&testdata("certificate.pem"), StoreKind::Pem, NONE).unwrap().certificates;
        for name in ["openssl.p12", "openssl-legacy.p12", "openssl-trust.p12"] {
            let bytes = testdata(name);
            let keys = if name == "openssl-trust.p12" { Vec::new() } else { key.clone() };
            let expected = Contents { keys, certificates: certificates.clone(), above: Vec::new() };
            for kind in [StoreKind::Pkcs12, StoreKind::Jks] {
                assert_eq!(read(&bytes, kind, with("changeit", "")), Ok(expected.clone()), "{name}");
            }
            let wrong = read(&bytes, StoreKind::Pkcs12, with("wrong", ""));
            assert_eq!(wrong, Err(StoreFault::Password), "{name}");
            assert_eq!(read(&bytes, StoreKind::Pkcs12, NONE), Err(StoreFault::NoPassword), "{name}");
        }
    }

    /// Made by `keytool` of Java 17, also as before Java 16 (`-J-Dkeystore.pkcs12.legacy`).
    #[test]
    fn stores_of_keytool_are_read() {
        let certificate = read(&testdata("certificate.pem"), StoreKind::Pem, NONE).unwrap().certificates;
        for (name, count) in
            [("keytool-trust.jks", 2), ("keytool-trust.p12", 2), ("keytool-trust-legacy.p12", 1)]
        {
            let bytes = testdata(name);
            for kind in [StoreKind::Jks, StoreKind::Pkcs12] {
                let contents = read(&bytes, kind, with("changeit", "")).unwrap();
                assert_eq!(contents.certificates, vec![certificate[0].clone(); count], "{name}");
                assert!(contents.keys.is_empty());
            }
            let wrong = read(&bytes, StoreKind::Jks, with("wrong", ""));
            assert_eq!(wrong, Err(StoreFault::Password), "{name}");
        }
        // Without a password a JKS file is taken as it is, as Java does.
        assert_eq!(read(&testdata("keytool-trust.jks"), StoreKind::Jks, NONE).unwrap().certificates.len(), 2);
        for (name, key) in [
            ("keytool.jks", "key-secret"),
            ("keytool.p12", ""),
            ("keytool-legacy.p12", ""),
            ("keytool-rsa.p12", ""),
        ] {
            let contents = read(&testdata(name), StoreKind::Jks, with("changeit", key)).unwrap();
            assert_eq!((contents.keys.len(), contents.certificates.len()), (1, 1), "{name}");
            let identity = crate::tls::config::identity(contents);
            assert!(identity.is_ok(), "{name}: {identity:?}");
        }
        let jks = testdata("keytool.jks");
        let read = |passwords| read(&jks, StoreKind::Jks, passwords);
        assert_eq!(read(with("changeit", "")), Err(StoreFault::KeyPassword));
        assert_eq!(read(with("changeit", "wrong")), Err(StoreFault::KeyPassword));
        assert_eq!(read(with("wrong", "key-secret")), Err(StoreFault::Password));
        assert_eq!(read(NONE), Err(StoreFault::NoKeyPassword));
    }

    /// Made by `keytool` of Java 17: a key, its certificate, and the one of the authority that signed it.
    #[test]
    fn what_is_above_a_key_leads_to_its_authority_and_is_not_trusted() {
        for name in ["keytool-chain.jks", "keytool-chain.p12"] {
            let contents = read(&testdata(name), StoreKind::Jks, with("changeit", "")).unwrap();
            let subjects = |certificates: &[Vec<u8>]| -> Vec<String> {
                let is = |der: &Vec<u8>, name: &[u8]| der.windows(name.len()).any(|part| part == name);
                certificates.iter().map(|der| format!("me: {}", is(der, b"\x02me"))).collect()
            };
            assert_eq!(subjects(&contents.certificates), ["me: true"], "{name}");
            assert_eq!(subjects(&contents.above), ["me: false"], "{name}");
            let identity = crate::tls::config::identity(contents);
            assert!(identity.is_ok(), "{name}: {identity:?}");
        }
    }

    #[test]
    fn stores_that_are_cut_off_or_spoilt_are_refused() {
        for name in [
            "openssl.p12",
            "openssl-legacy.p12",
            "keytool.p12",
            "keytool.jks",
            "keytool-chain.p12",
            "keytool-trust.jks",
        ] {
            let whole = testdata(name);
            let passwords = with("changeit", "key-secret");
            for cut in 0..whole.len() {
                assert!(read(&whole[..cut], StoreKind::Jks, passwords).is_err(), "{name} cut at {cut}");
            }
            for at in (0..whole.len()).step_by(5) {
                let mut spoilt = whole.clone();
                spoilt[at] ^= 0x55;
                // What a sum does not cover may be spoilt unseen: how long it is to be computed, say.
                let _ = read(&spoilt, StoreKind::Jks, passwords);
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes: Vec<u8>) {
            for kind in [StoreKind::Jks, StoreKind::Pkcs12, StoreKind::Pem] {
                let _ = read(&bytes, kind, SOME);
            }
            let _ = open_key(&bytes, SOME.for_key());
        }

        #[test]
        fn whatever_follows_a_magic_nothing_panics(bytes: Vec<u8>) {
            let jks = [JKS_MAGIC, &[0, 0, 0, 2], &bytes].concat();
            for passwords in [NONE, SOME] {
                let _ = read(&jks, StoreKind::Jks, passwords);
                let _ = pkcs12::read(&bytes, passwords);
                let _ = pem::read(&bytes, passwords);
            }
        }
    }
}
