//! What it means when TLS does not come about, in words that say what to do.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::config::Shown;
use super::verify::Distrust;
use crate::{TlsOptions, TlsProtocol};

/// TLS did not come about, or broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct TlsFailed {
    /// Why, and what to do about it.
    pub(crate) what: String,
}

impl TlsFailed {
    /// The failure in an error, if it is one of TLS.
    pub(crate) fn of(error: &io::Error) -> Option<&TlsFailed> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn error(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }
}

const MISSED: &str =
    "it asks for a client certificate and none is given: set a key store that it knows the CA of";

/// What is wrong, as far as it shows here.
pub(super) fn explain(error: &io::Error, options: &TlsOptions, shown: &Shown) -> TlsFailed {
    let tls = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    let what = match tls {
        Some(error) => of_tls(error, options, shown),
        None if is_end(error.kind()) && shown.was_missed() => MISSED.to_owned(),
        None if is_end(error.kind()) => {
            "it closes the connection in the middle of the TLS handshake: is it a plaintext listener? Then set a security \
             protocol without SSL"
                .to_owned()
        }
        None => error.to_string(),
    };
    TlsFailed { what }
}

/// What is wrong with a server that is no broker; `None` if it is nothing of TLS.
pub(super) fn explain_web(error: &io::Error, options: &TlsOptions, shown: &Shown) -> Option<TlsFailed> {
    let what = match error.get_ref().and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => "what it says is not TLS; does it want `http:`?".to_owned(),
        Some(error) => of_tls(error, options, shown),
        None if is_end(error.kind()) && shown.was_missed() => MISSED.to_owned(),
        None => return None,
    };
    Some(TlsFailed { what })
}

/// What is wrong where a connection ends right after the handshake: a broker may find only then that it misses something.
pub(super) fn explain_end(shown: &Shown) -> Option<TlsFailed> {
    shown.was_missed().then(|| TlsFailed { what: MISSED.to_owned() })
}

fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn of_tls(error: &Error, options: &TlsOptions, shown: &Shown) -> String {
    if let Some(distrust) = Distrust::of(error) {
        return distrust.to_string();
    }
    match error {
        Error::AlertReceived(alert) => of_alert(*alert, options, shown),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "what it says is not TLS: it may be a plaintext listener (then set a security protocol without SSL), or no \
             Kafka at all"
                .to_owned()
        }
        Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => {
            format!("it wants another version of TLS than is enabled here ({})", versions(options))
        }
        // Brokers before 3.x may refuse in a record that nobody can decrypt (seen with 2.8.2 on Java 17).
        Error::DecryptError if shown.was_missed() => MISSED.to_owned(),
        Error::DecryptError if shown.is_some() => {
            format!("{error}, as where our certificate is not accepted: is it expired, or does the broker's trust store lack its CA?")
        }
        Error::InvalidCertificate(why) => format!("its certificate is not believed: {why}"),
        other => other.to_string(),
    }
}

fn of_alert(alert: AlertDescription, options: &TlsOptions, shown: &Shown) -> String {
    use AlertDescription as Alert;
    let about_us = matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::DecryptError
    );
    match alert {
        Alert::CertificateRequired => MISSED.to_owned(),
        // Brokers of TLS 1.2 say no more than that where they miss a certificate.
        Alert::HandshakeFailure | Alert::BadCertificate if shown.was_missed() => MISSED.to_owned(),
        _ if about_us && shown.was_missed() => MISSED.to_owned(),
        _ if about_us && shown.is_some() => format!(
            "it does not accept our certificate ({alert:?}): is it expired, or does the broker's trust store lack its CA?"
        ),
        Alert::ProtocolVersion => {
            format!("it does not speak a version of TLS that is enabled here ({})", versions(options))
        }
        Alert::HandshakeFailure | Alert::InsufficientSecurity => format!(
            "it has no cipher suite, or kind of key, in common with what is enabled here ({})",
            versions(options)
        ),
        Alert::UnrecognisedName => "it does not know the host name that it was asked for".to_owned(),
        other => format!("it refuses: {other:?}"),
    }
}

fn versions(options: &TlsOptions) -> String {
    let enabled = |version| options.protocols.is_empty() || options.protocols.contains(&version);
    let all = [(TlsProtocol::V1_2, "TLSv1.2"), (TlsProtocol::V1_3, "TLSv1.3")];
    let enabled: Vec<&str> =
        all.iter().filter(|(version, _)| enabled(*version)).map(|(_, name)| *name).collect();
    enabled.join(", ")
}
