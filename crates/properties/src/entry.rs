//! One property as it was written, and where.

use std::fmt;
use std::sync::Arc;

use crate::jaas;
use crate::providers::replace_references;
use crate::table::{FileKind, lookup};
use crate::value::Kind;

/// One `key=value` of a file or of the command line, unescaped, and where it stands.
///
/// `Debug` hides the value of a key that looks like a secret, so that an entry may be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped and not trimmed.
    pub value: String,
    /// The file as the person named it, or the option (`--set`) that stands in for one.
    pub file: Arc<str>,
    /// The first natural line of the entry, from 1; 0 where lines mean nothing.
    pub line: u32,
    /// What stood there, if the value was taken from config providers: this is shown in its place.
    pub reference: Option<Arc<str>>,
}

impl Entry {
    /// An entry.
    pub fn new(key: impl Into<String>, value: impl Into<String>, place: &Place) -> Entry {
        let (file, line) = (place.file.clone(), place.line);
        Entry { key: key.into(), value: value.into(), file, line, reference: None }
    }

    /// The value as messages may show it, if the property is none whose value is secret: what came out of a config
    /// provider is not shown.
    pub(crate) fn shown(&self) -> &str {
        self.reference.as_deref().unwrap_or(&self.value).trim()
    }

    /// Whether somebody who sees the file sees a secret: a password, a key or a login that stands there itself, also
    /// beside a reference.
    pub fn exposes_secret(&self) -> bool {
        let holds_text = match &self.reference {
            Some(reference) if self.key.ends_with(JAAS) => holds_password(reference),
            Some(reference) => !replace_references(reference, "").trim().is_empty(),
            None => !self.value.trim().is_empty(),
        };
        if !holds_text {
            return false;
        }
        let known =
            [FileKind::Worker, FileKind::Connector].into_iter().find_map(|kind| lookup(kind, &self.key));
        match known {
            // Certificates are hidden for the case that a key has slipped in.
            Some(found) => {
                found.property.kind == Kind::Password
                    && !found.property.name.contains("certificate")
                    && !found.property.name.contains("license")
            }
            None => is_secret(&self.key),
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match &self.reference {
            // Text may stand beside a reference.
            _ if is_secret(&self.key) => "[hidden]",
            Some(reference) => &**reference,
            None => &*self.value,
        };
        write!(f, "{}: {}={value}", self.place(), self.key)
    }
}

/// A file and a line in it, or only a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file as the person named it; empty where a problem belongs to none.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
}

impl Place {
    /// Line `line` of `file`.
    pub fn new(file: &str, line: u32) -> Place {
        Place { file: Arc::from(file), line }
    }

    /// Of no file: what concerns all of them.
    pub fn none() -> Place {
        Place::new("", 0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

/// Whether the value of `key` may be a secret, judged by the name alone: also for keys no table knows.
pub(crate) fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 12] = [
        "password",
        "passphrase",
        "secret",
        "jaas",
        "token",
        "credential",
        "user.info",
        "private",
        "license",
        "keystore.key",
        "certificate",
        "api.key",
    ];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
}

const JAAS: &str = "sasl.jaas.config";

/// Whether a login holds a password, or the like, of which a part is no reference.
fn holds_password(login: &str) -> bool {
    // Stands in a login for a letter, and in no password.
    const REFERENCE: &str = "\u{f8ff}";
    let login = replace_references(login, REFERENCE);
    let is_text = |value: &str| !value.replace(REFERENCE, "").trim().is_empty();
    match jaas::parse(&login) {
        Ok(login) => login.options().any(|(name, value, _)| {
            // That one only says that the password is a token.
            is_secret(name) && !name.eq_ignore_ascii_case("tokenauth") && is_text(value.reveal())
        }),
        // As where a reference gives more than one word. What it gives may be right.
        Err(_) => login.contains('='),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_in_a_log_hides_what_looks_like_a_secret() {
        let place = Place::new("w.properties", 3);
        let secret = Entry::new("dest.kafka.sasl.jaas.config", "password=\"hunter2\"", &place);
        assert_eq!(format!("{secret:?}"), "w.properties:3: dest.kafka.sasl.jaas.config=[hidden]");
        let open = Entry::new("tasks.max", "4", &place);
        assert_eq!(format!("{open:?}"), "w.properties:3: tasks.max=4");
        let reference = Some(Arc::from("${env:TASKS}"));
        assert_eq!(format!("{:?}", Entry { reference, ..open }), "w.properties:3: tasks.max=${env:TASKS}");
    }

    #[test]
    fn a_secret_that_stands_in_a_file_is_known_by_its_property() {
        let exposes = |key: &str, value: &str| Entry::new(key, value, &Place::none()).exposes_secret();
        assert!(exposes("src.kafka.sasl.jaas.config", "x"));
        assert!(exposes("ssl.key.password", "x") && exposes("no.such.password", "x"));
        assert!(!exposes("ssl.key.password", " ") && !exposes("ssl.truststore.certificates", "x"));
        assert!(!exposes("tasks.max", "4") && !exposes("sasl.oauthbearer.token.endpoint.url", "x"));
    }

    #[test]
    fn a_secret_beside_a_reference_is_known_and_hidden() {
        let taken = |key: &str, reference: &str| Entry {
            reference: Some(Arc::from(reference)),
            ..Entry::new(key, "x", &Place::none())
        };
        let exposes = |key: &str, reference: &str| taken(key, reference).exposes_secret();
        assert!(
            !exposes("ssl.key.password", "${env:X}") && !exposes("ssl.key.password", "${env:X}${file:/a:b}")
        );
        assert!(exposes("ssl.key.password", "hunter2${env:X}"));
        assert!(!exposes("topic.rename.format", "${env:X}.hunter2"));
        let login = |options: &str| {
            exposes("src.kafka.sasl.jaas.config", &format!("a.b.PlainLoginModule required {options};"))
        };
        assert!(login("username=\"${env:U}\" password=\"hunter2\""));
        assert!(
            login("username=ann password=\"hunter2${env:P}\"") && login("clientSecret='hunter2' a=${env:A}")
        );
        assert!(!login("username=\"ann\" password=\"${env:P}\" tokenauth=\"true\""));
        assert!(!login("username=ann password=${file:/a/b:c}"));
        assert!(!login("${file:/a:options}") && login("${file:/a:options} password=hunter2"));
        assert!(!exposes("sasl.jaas.config", "${file:/a:login}"));
        let shown = format!("{:?}", taken("sasl.jaas.config", "username=\"${env:U}\" password=\"hunter2\""));
        assert!(shown.ends_with("sasl.jaas.config=[hidden]"), "{shown}");
    }
}
