//! Whether a broker's certificate is believed.
//!
//! Chains and names are webpki's business. What Kafka's users have beside what it knows is added here: a certificate
//! that itself is in the trust store, hosts named only in the subject, and certificates of X.509 version 1 right under a
//! CA, as Kafka's own instructions made them for years. Each refusal says what to do about it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, day};
use crate::sasl::printable;

/// So many of a certificate's names are told.
const NAMES_MAX: usize = 8;

/// What a certificate is checked against.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) roots: RootCertStore,
    /// The certificates of a trust store as they are; none of the system's.
    pub(super) listed: Vec<CertificateDer<'static>>,
    /// What `roots` and `listed` are called in messages.
    pub(super) trust: String,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) verify_host: bool,
}

/// Why a certificate is not believed, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Distrust(String);

impl Distrust {
    /// The distrust in an error, if it is one of this module's.
    pub(super) fn of(error: &Error) -> Option<&Distrust> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(source))) => source.downcast_ref(),
            _ => None,
        }
    }
}

fn distrust(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(Distrust(why)))))
}

impl Verifier {
    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        facts: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // Whoever put this very certificate into the trust store means it, CA or not.
        let is_listed = self.listed.iter().any(|listed| **listed == **end_entity);
        if is_listed || (facts.version < 3 && self.is_issued_by_listed(facts)) {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            return match () {
                () if now > facts.not_after => Err(expired(facts.not_after, now)),
                () if now < facts.not_before => Err(not_yet(facts.not_before, now)),
                () => Ok(()),
            };
        }
        if facts.version < 3 {
            return Err(distrust(format!(
                "its certificate is of X.509 version 1 and not issued by one of {}; add its CA there, or have it issued \
                 again with extensions",
                self.trust
            )));
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
        .map_err(|error| self.explained(error, facts, intermediates))
    }

    /// The signature of a certificate that webpki does not read, by one of the trust store's.
    fn is_issued_by_listed(&self, facts: &Certificate<'_>) -> bool {
        let issuers = self.listed.iter().filter_map(|listed| Certificate::read(listed).ok());
        let issuers = issuers.filter(|issuer| issuer.may_issue && issuer.subject == facts.issuer);
        issuers.into_iter().any(|issuer| {
            self.algorithms.all.iter().any(|algorithm| {
                is(&algorithm.signature_alg_id(), facts.signature_kind)
                    && is(&algorithm.public_key_alg_id(), issuer.key_kind)
                    && algorithm.verify_signature(issuer.key, facts.signed, facts.signature).is_ok()
            })
        })
    }

    fn check_name(
        &self,
        end_entity: &CertificateDer<'_>,
        facts: &Certificate<'_>,
        name: &ServerName<'_>,
    ) -> Result<(), Error> {
        let common_name = facts.common_name().filter(|_| !facts.has_host_names);
        let by_common_name = match name {
            ServerName::DnsName(host) => {
                common_name.as_deref().is_some_and(|common_name| is_for(common_name, host.as_ref()))
            }
            _ => false,
        };
        if by_common_name {
            return Ok(());
        }
        let presented = if facts.version < 3 {
            Vec::new()
        } else {
            match verify_server_name(&ParsedCertificate::try_from(end_entity)?, name) {
                Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                    presented,
                    ..
                })) => presented.iter().take(NAMES_MAX).map(|name| printable(bare(name))).collect(),
                Err(Error::InvalidCertificate(CertificateError::NotValidForName)) => Vec::new(),
                other => return other,
            }
        };
        let names: Vec<String> =
            presented.into_iter().chain(common_name).map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
        Err(distrust(format!(
            "its certificate is not for `{}` but for {names}; reach it by a name that it is for, or have it issued for \
             this one",
            name.to_str()
        )))
    }

    fn explained(
        &self,
        error: Error,
        facts: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Error {
        let Error::InvalidCertificate(why) = &error else { return error };
        let seconds = |time: &UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match why {
            CertificateError::ExpiredContext { time, not_after } => {
                expired(seconds(not_after), seconds(time))
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                not_yet(seconds(not_before), seconds(time))
            }
            // One that is a CA's as well is refused for that, before its issuer is looked for.
            CertificateError::UnknownIssuer | CertificateError::Other(_) if facts.is_self_issued() => {
                distrust(format!(
                    "its certificate is self-signed and not in {}; if it is the right one, add it there",
                    self.trust
                ))
            }
            CertificateError::UnknownIssuer => {
                let top = intermediates.iter().rev().find_map(|above| Certificate::read(above).ok());
                let issuer = top.as_ref().unwrap_or(facts).issuer_name();
                distrust(format!(
                    "its certificate was issued by {}, whose certificate is not in {}; if it is the right one, add it \
                     there",
                    issuer.map_or("a CA without a name".to_owned(), |issuer| format!("`{issuer}`")),
                    self.trust
                ))
            }
            CertificateError::BadSignature => distrust(format!(
                "its certificate is not signed by the CA of that name in {}: the CA has another key by now, or it is \
                 somebody else",
                self.trust
            )),
            CertificateError::Other(OtherError(source)) if source.to_string() == "CaUsedAsEndEntity" => {
                distrust(format!(
                    "its certificate is that of a CA (basic constraints), not of a server; have one issued for the \
                     broker, or add this one to {}",
                    self.trust
                ))
            }
            _ => error,
        }
    }

    /// As in `verify_tls1x_signature`, for certificates that webpki does not read.
    fn check_signature(
        &self,
        message: &[u8],
        facts: &Certificate<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let mapped = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let fitting = mapped.iter().flat_map(|(_, algorithms)| algorithms.iter());
        for algorithm in fitting.filter(|algorithm| is(&algorithm.public_key_alg_id(), facts.key_kind)) {
            if algorithm.verify_signature(facts.key, message, signed.signature()).is_ok() {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    }
}

fn is(id: &AlgorithmIdentifier, der: &[u8]) -> bool {
    let id: &[u8] = id.as_ref();
    id == der
}

fn expired(not_after: i64, now: i64) -> Error {
    distrust(format!(
        "its certificate, or one above it, expired on {}; have it renewed (this machine's clock says {})",
        day(not_after),
        day(now)
    ))
}

fn not_yet(not_before: i64, now: i64) -> Error {
    distrust(format!(
        "its certificate, or one above it, is not valid before {}; this machine's clock says {}: is it slow?",
        day(not_before),
        day(now)
    ))
}

/// webpki tells names with their kind: `DnsName("kafka")`, `IpAddress(10.0.0.1)`.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.map_or(presented, |inside| inside.trim_matches('"'))
}

/// Whether a subject's name stands for `host`, as Java matches it: a star stands for the first label.
fn is_for(common_name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match common_name.strip_prefix("*.") {
        Some(domain) => {
            let rest = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, rest)| rest);
            domain.contains('.') && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        }
        None => common_name.eq_ignore_ascii_case(host),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let facts = Certificate::read(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        self.check_chain(end_entity, &facts, intermediates, now)?;
        if self.verify_host {
            self.check_name(end_entity, &facts, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match Certificate::read(cert) {
            Ok(facts) if facts.version < 3 => self.check_signature(message, &facts, signed),
            _ => verify_tls12_signature(message, cert, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
        // TLS 1.3 has none of these in its handshake.
        let is_old = matches!(signed.scheme, RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512);
        match Certificate::read(cert) {
            Ok(facts) if facts.version < 3 && !is_old => self.check_signature(message, &facts, signed),
            _ => verify_tls13_signature(message, cert, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_stands_for_a_host_as_in_java() {
        for (common_name, host, expected) in [
            ("kafka", "kafka", true),
            ("Kafka.Example.org", "kafka.example.org", true),
            ("kafka.example.org", "kafka.example.org.", true),
            ("*.example.org", "kafka.example.org", true),
            ("*.example.org", "a.kafka.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.org", "example.org", false),
            ("kafka", "kafka2", false),
            ("", "kafka", false),
        ] {
            assert_eq!(is_for(common_name, host), expected, "{common_name} for {host}");
        }
    }
}
