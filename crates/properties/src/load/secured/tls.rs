//! `ssl.*` of a connection that is encrypted.

use std::path::PathBuf;

use super::Connection;
use crate::report::{Problem, Report};
use crate::security::{IdentitySettings, StoreFormat, StoreSettings, TlsSettings, TlsVersion};
use crate::value::trim;

const HOST: &str = "ssl.endpoint.identification.algorithm";
const VERSION: &str = "ssl.protocol";
const VERSIONS: &str = "ssl.enabled.protocols";
const KEY_STORE: &str = "ssl.keystore.location";
const KEY_STORE_TYPE: &str = "ssl.keystore.type";
const KEY_STORE_PASSWORD: &str = "ssl.keystore.password";
const KEY: &str = "ssl.keystore.key";
const CHAIN: &str = "ssl.keystore.certificate.chain";
const TRUST_STORE: &str = "ssl.truststore.location";
const TRUST_STORE_TYPE: &str = "ssl.truststore.type";
const TRUST_STORE_PASSWORD: &str = "ssl.truststore.password";
const TRUSTED: &str = "ssl.truststore.certificates";

impl Connection<'_> {
    pub(super) fn tls(&self, report: &mut Report) -> TlsSettings {
        TlsSettings {
            trust: self.trust(report),
            identity: self.identity(report),
            verify_host: self.verify_host(report),
            protocols: self.versions(report),
            cipher_suites: self.list("ssl.cipher.suites").into_iter().map(str::to_owned).collect(),
        }
    }

    fn trust(&self, report: &mut Report) -> Option<StoreSettings> {
        let format = self.format(TRUST_STORE_TYPE, report)?;
        let password = self.secret(TRUST_STORE_PASSWORD);
        if password.is_some() && (format == StoreFormat::Pem || self.text(TRUST_STORE).is_none()) {
            self.needless_password(TRUST_STORE_PASSWORD, TRUST_STORE, format, report);
        }
        if let Some(certificates) = self.secret(TRUSTED) {
            self.check_inline(TRUSTED, TRUST_STORE_TYPE, TRUST_STORE, format, report);
            return Some(StoreSettings::Inline { certificates, key: None });
        }
        let path = PathBuf::from(self.text(TRUST_STORE)?);
        Some(StoreSettings::File { path, format, password })
    }

    fn identity(&self, report: &mut Report) -> Option<IdentitySettings> {
        let format = self.format(KEY_STORE_TYPE, report)?;
        let password = self.secret(KEY_STORE_PASSWORD);
        let key_password = self.secret("ssl.key.password");
        if password.is_some() && (format == StoreFormat::Pem || self.text(KEY_STORE).is_none()) {
            self.needless_password(KEY_STORE_PASSWORD, KEY_STORE, format, report);
        }
        match (self.secret(CHAIN), self.secret(KEY)) {
            (Some(certificates), Some(key)) => {
                self.check_inline(KEY, KEY_STORE_TYPE, KEY_STORE, format, report);
                let store = StoreSettings::Inline { certificates, key: Some(key) };
                return Some(IdentitySettings { store, key_password });
            }
            (None, None) => {}
            (chain, _) => {
                let (one, other) = if chain.is_some() { (CHAIN, KEY) } else { (KEY, CHAIN) };
                let message = format!("{} is given, and {} is missing", self.key(one), self.key(other));
                self.refuse(one, &message, "a certificate and its key are of use together only", report);
                return None;
            }
        }
        let path = PathBuf::from(self.text(KEY_STORE)?);
        if password.is_none() && format != StoreFormat::Pem {
            let message =
                format!("{} is given, and {} is missing", self.key(KEY_STORE), self.key(KEY_STORE_PASSWORD));
            self.refuse(KEY_STORE, &message, "write the password of the key store", report);
        }
        Some(IdentitySettings { store: StoreSettings::File { path, format, password }, key_password })
    }

    /// Kafka refuses a password that nothing is opened with.
    fn needless_password(&self, name: &str, location: &str, format: StoreFormat, report: &mut Report) {
        let (why, hint) = match format {
            StoreFormat::Pem => ("a PEM store has no password", "only its key may: `ssl.key.password`"),
            _ => ("there is no store that it opens", "name the store, or remove the password"),
        };
        let message = match format {
            StoreFormat::Pem => format!("{} is given, but {why}", self.key(name)),
            _ => format!("{} is given without {}: {why}", self.key(name), self.key(location)),
        };
        self.refuse(name, &message, hint, report);
    }

    /// What is written into the settings is PEM, and in the place of a file.
    fn check_inline(&self, name: &str, kind: &str, location: &str, format: StoreFormat, report: &mut Report) {
        if format != StoreFormat::Pem {
            let message = format!("{} can be given only where {} is `PEM`", self.key(name), self.key(kind));
            self.refuse(name, &message, &format!("write {}=PEM", self.key(kind).trim_matches('`')), report);
        }
        if self.text(location).is_some() {
            let message =
                format!("{} and {} are given, and one of them can count", self.key(name), self.key(location));
            self.refuse(name, &message, "remove one of them", report);
        }
    }

    /// The format of a store; `None` for one that cannot be read here, which is told.
    fn format(&self, name: &str, report: &mut Report) -> Option<StoreFormat> {
        let format = self.text(name).unwrap_or("JKS");
        match &*format.to_ascii_uppercase() {
            "JKS" => Some(StoreFormat::Jks),
            "PKCS12" => Some(StoreFormat::Pkcs12),
            "PEM" => Some(StoreFormat::Pem),
            _ => {
                let message =
                    format!("{} is `{}`, a format that is not read here", self.key(name), self.shown(name));
                let hint = "it takes `JKS`, `PKCS12` or `PEM`; `keytool -importkeystore -deststoretype PKCS12` makes one of \
                            another";
                self.refuse(name, &message, hint, report);
                None
            }
        }
    }

    fn verify_host(&self, report: &mut Report) -> bool {
        let Some(given) = self.by_name.get(HOST) else { return true };
        match trim(&given.entry.value) {
            "" => {
                let message = format!(
                    "{} is empty: whoever has any certificate that is trusted can pose as a broker of the {}",
                    self.key(HOST),
                    self.side
                );
                let hint = "better give the brokers certificates with their names, and write `https`";
                report.push(Problem::warning(given.entry.place(), message).with_hint(hint));
                false
            }
            https if https.eq_ignore_ascii_case("https") => true,
            _ => {
                let message = format!("{} is `{}`, which it cannot be", self.key(HOST), self.shown(HOST));
                self.refuse(HOST, &message, "it takes `https`, or nothing to switch the check off", report);
                true
            }
        }
    }

    fn versions(&self, report: &mut Report) -> Vec<TlsVersion> {
        let mut versions = Vec::new();
        let mut left_out = Vec::new();
        for name in self.list(VERSIONS) {
            match name {
                "TLSv1.2" => versions.push(TlsVersion::V1_2),
                "TLSv1.3" => versions.push(TlsVersion::V1_3),
                "TLSv1.1" | "TLSv1" | "SSLv3" | "SSLv2Hello" => left_out.push(format!("`{name}`")),
                _ => {
                    let message =
                        format!("{} names `{name}`, which is no version of TLS", self.key(VERSIONS));
                    self.refuse(VERSIONS, &message, "it takes `TLSv1.2` and `TLSv1.3`", report);
                    return Vec::new();
                }
            }
        }
        if !left_out.is_empty() && !versions.is_empty() {
            let message = format!(
                "{} names {}, which nobody should speak any more: left out",
                self.key(VERSIONS),
                left_out.join(" and ")
            );
            report.push(Problem::warning(self.place(VERSIONS), message));
        }
        if self.list(VERSIONS).is_empty() {
            versions = vec![TlsVersion::V1_2, TlsVersion::V1_3];
        }
        match self.text(VERSION) {
            None | Some("TLSv1.3" | "TLS") => {}
            Some("TLSv1.2") => versions.retain(|version| *version == TlsVersion::V1_2),
            Some(_) => {
                let message =
                    format!("{} is `{}`, which is not spoken here", self.key(VERSION), self.shown(VERSION));
                self.refuse(VERSION, &message, "it takes `TLSv1.3`, `TLSv1.2` or `TLS`", report);
                return Vec::new();
            }
        }
        if versions.is_empty() {
            let name = if self.by_name.contains_key(VERSIONS) { VERSIONS } else { VERSION };
            let message = format!("no version of TLS is left for the {} that is spoken here", self.side);
            self.refuse(name, &message, "TLSv1.2 and TLSv1.3 are", report);
        }
        versions
    }
}
