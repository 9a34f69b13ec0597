//! What connections share: versions, suites, whom to believe and what to show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion};

use super::certificate::Certificate;
use super::ec;
use super::stores::{Contents, Key};
use super::verify::Verifier;
use crate::{SecurityError, TlsOptions, TlsProtocol};

/// The suites by Java's (and IANA's) names, in the order offered: AES-128-GCM costs the least and is as good.
fn suites() -> [(&'static str, SupportedCipherSuite); 9] {
    [
        ("TLS_AES_128_GCM_SHA256", TLS13_AES_128_GCM_SHA256),
        ("TLS_AES_256_GCM_SHA384", TLS13_AES_256_GCM_SHA384),
        ("TLS_CHACHA20_POLY1305_SHA256", TLS13_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ]
}

/// Whom to believe.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// They are a store's: each of them is believed itself, too.
    pub(super) from_store: bool,
    /// What they are called in messages.
    pub(super) called: String,
}

/// What we show of us, if we are asked, and whether we were.
#[derive(Debug)]
pub(super) struct Shown {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Shown {
    /// A broker has asked who we are, and we had nothing to show.
    pub(super) fn was_missed(&self) -> bool {
        self.key.is_none() && self.asked.load(Ordering::Relaxed)
    }

    /// There is something to show.
    pub(super) fn is_some(&self) -> bool {
        self.key.is_some()
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    // Otherwise we would not hear that we are asked.
    fn has_certs(&self) -> bool {
        true
    }
}

/// The choices of versions and suites, checked.
pub(super) fn choices(
    options: &TlsOptions,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), SecurityError> {
    let cipher_suites = if options.cipher_suites.is_empty() {
        suites().map(|(_, suite)| suite).to_vec()
    } else {
        options.cipher_suites.iter().map(|name| suite(name)).collect::<Result<Vec<_>, _>>()?
    };
    let enabled = |version| options.protocols.is_empty() || options.protocols.contains(&version);
    let versions: Vec<&SupportedProtocolVersion> = [(TlsProtocol::V1_3, &TLS13), (TlsProtocol::V1_2, &TLS12)]
        .into_iter()
        .filter(|(version, _)| enabled(*version))
        .map(|(_, version)| version)
        .collect();
    if !cipher_suites.iter().any(|suite| versions.iter().any(|version| suite.version() == *version)) {
        let told: Vec<&str> = options.cipher_suites.iter().map(String::as_str).collect();
        return Err(SecurityError::Choice(format!(
            "none of the cipher suites {} belongs to an enabled version of TLS",
            told.join(", ")
        )));
    }
    Ok((Arc::new(CryptoProvider { cipher_suites, ..default_provider() }), versions))
}

fn suite(name: &str) -> Result<SupportedCipherSuite, SecurityError> {
    // What newer Javas call `TLS_…` older ones called `SSL_…`.
    let plain = name.trim();
    let as_tls = plain.strip_prefix("SSL_").map(|rest| format!("TLS_{rest}"));
    let known = suites().into_iter().find(|(known, _)| plain == *known || as_tls.as_deref() == Some(known));
    known.map(|(_, suite)| suite).ok_or_else(|| {
        let all = suites().map(|(name, _)| name);
        SecurityError::Choice(format!(
            "there is no cipher suite `{plain}` here; there are {} (others are not safe any more, or need no name)",
            all.join(", ")
        ))
    })
}

/// Puts together what connections share.
pub(super) fn build(
    options: &TlsOptions,
    trusted: Trusted,
    key: Option<CertifiedKey>,
) -> Result<(Arc<ClientConfig>, Arc<Shown>), SecurityError> {
    let (provider, versions) = choices(options)?;
    let mut roots = RootCertStore::empty();
    // A certificate of a store is believed itself in any case; others that it has signed only if it may issue any.
    let read = |der: &CertificateDer<'_>| Certificate::read(der).map(|certificate| certificate.may_issue);
    let may_issue = |der: &&CertificateDer<'_>| !trusted.from_store || read(der) == Ok(true);
    let (added, _) = roots.add_parsable_certificates(trusted.certificates.iter().filter(may_issue).cloned());
    let is_listed = trusted.from_store && trusted.certificates.iter().any(|der| read(der).is_ok());
    if added == 0 && !is_listed && !trusted.certificates.is_empty() {
        return Err(SecurityError::Store {
            store: trusted.called,
            what: "none of its certificates can be read".to_owned(),
        });
    }
    let verifier = Verifier {
        roots,
        listed: if trusted.from_store { trusted.certificates } else { Vec::new() },
        trust: trusted.called,
        algorithms: provider.signature_verification_algorithms,
        verify_host: options.verify_host,
    };
    let shown = Arc::new(Shown { key: key.map(Arc::new), asked: AtomicBool::new(false) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| SecurityError::Choice(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesClientCert>);
    Ok((Arc::new(config), shown))
}

/// Our key and the certificates that lead from it upwards, or what is wrong with the store.
pub(super) fn identity(contents: Contents) -> Result<CertifiedKey, String> {
    let Contents { keys, mut certificates, above } = contents;
    certificates.extend(above);
    if keys.is_empty() {
        return Err("it holds no private key".to_owned());
    }
    if certificates.is_empty() {
        return Err("it holds a key, but no certificate".to_owned());
    }
    let read: Vec<Certificate<'_>> =
        certificates.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    if read.len() != certificates.len() {
        return Err("one of its certificates cannot be read".to_owned());
    }
    let provider = default_provider();
    let mut unsupported = 0;
    let of_keys = keys.len();
    for key in keys {
        let load = |key| provider.key_provider.load_private_key(private_key(key)).ok();
        let own = match load(key.clone()) {
            Some(key) => {
                let own = read.iter().position(|certificate| is_key_of(&*key, certificate));
                own.map(|own| (own, key))
            }
            None => {
                let completed = |certificate| match &key {
                    Key::Pkcs8(der) => ec::completed(der, certificate).and_then(|der| load(Key::Pkcs8(der))),
                    Key::Pkcs1(_) | Key::Sec1(_) => None,
                };
                let own = read
                    .iter()
                    .enumerate()
                    .find_map(|(own, certificate)| Some((own, completed(certificate)?)));
                unsupported += usize::from(own.is_none());
                own
            }
        };
        if let Some((own, key)) = own {
            let chain = chain(own, &read);
            let chain = chain.into_iter().map(|place| CertificateDer::from(certificates[place].clone()));
            return Ok(CertifiedKey::new(chain.collect(), key));
        }
    }
    Err(if unsupported == of_keys {
        "its key is of a kind that is not supported (RSA from 2048 bits on, ECDSA P-256 and P-384 and Ed25519 are), or \
         belongs to none of its certificates"
            .to_owned()
    } else {
        "none of its certificates belongs to its key".to_owned()
    })
}

fn private_key(key: Key) -> PrivateKeyDer<'static> {
    match key {
        Key::Pkcs8(der) => PrivateKeyDer::Pkcs8(der.into()),
        Key::Pkcs1(der) => PrivateKeyDer::Pkcs1(der.into()),
        Key::Sec1(der) => PrivateKeyDer::Sec1(der.into()),
    }
}

fn is_key_of(key: &dyn SigningKey, certificate: &Certificate<'_>) -> bool {
    key.public_key().is_some_and(|public_key| *public_key == *certificate.public_key)
}

/// From `own` upwards, without the root: whoever does not have that does not believe it either.
fn chain(own: usize, certificates: &[Certificate<'_>]) -> Vec<usize> {
    let mut chain = vec![own];
    let mut top = &certificates[own];
    while !top.is_self_issued() {
        let above = certificates.iter().enumerate().find(|(place, certificate)| {
            certificate.subject == top.issuer && !certificate.is_self_issued() && !chain.contains(place)
        });
        let Some((place, certificate)) = above else { break };
        chain.push(place);
        top = certificate;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(suites: &[&str], protocols: &[TlsProtocol]) -> Result<Vec<String>, String> {
        let options = TlsOptions {
            cipher_suites: suites.iter().map(|&name| name.to_owned()).collect(),
            protocols: protocols.to_vec(),
            ..TlsOptions::default()
        };
        let (provider, versions) = choices(&options).map_err(|error| error.to_string())?;
        let suites = provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite()));
        Ok(suites.chain(versions.iter().map(|version| format!("{:?}", version.version))).collect())
    }

    #[test]
    fn suites_are_taken_by_their_names_in_java() {
        let all = with(&[], &[]).unwrap();
        assert_eq!(all.len(), suites().len() + 2);
        assert_eq!(all[0], "TLS13_AES_128_GCM_SHA256");
        for (name, suite) in suites() {
            assert_eq!(format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"), name);
        }
        let old = ["SSL_ECDHE_RSA_WITH_AES_256_GCM_SHA384"];
        let expected = ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLSv1_2"];
        assert_eq!(with(&old, &[TlsProtocol::V1_2]).unwrap(), expected);
        let unknown = with(&["TLS_RSA_WITH_AES_128_CBC_SHA"], &[]).unwrap_err();
        assert!(unknown.contains("no cipher suite `TLS_RSA_WITH_AES_128_CBC_SHA`"), "{unknown}");
        assert!(unknown.contains("TLS_AES_128_GCM_SHA256"), "{unknown}");
        let apart = with(&["TLS_AES_128_GCM_SHA256"], &[TlsProtocol::V1_2]).unwrap_err();
        assert!(apart.contains("TLS_AES_128_GCM_SHA256"), "{apart}");
    }
}
