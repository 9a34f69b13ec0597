//! Security: what the properties of one connection come to.
//!
//! A connection's properties come from several prefixes, and of each property the first that has it counts. In Kafka
//! `ssl.*` and `sasl.*` take effect only as `security.protocol` says, whose default is PLAINTEXT. So what has none
//! under the protocol that is given is told; and without any protocol it is refused, because who writes it means it.
//!
//! ```text
//! prefixes ─▶ one entry a property ─▶ protocol ─┬─ ssl.*  ─▶ TlsSettings     tls
//!             Connection                        └─ sasl.* ─▶ SaslSettings    sasl, by mechanism
//! ```
//!
//! The rules between the properties are those of Kafka's clients (`DefaultSslEngineFactory`, `JaasContext`).

mod aws;
mod endpoint;
mod kerberos;
mod sasl;
mod tls;

use std::collections::BTreeMap;

use super::file::File;
use super::survey::is_off;
use crate::entry::{Entry, Place};
use crate::report::{Problem, Report};
use crate::security::{SaslSettings, SecuritySettings, TokenSettings};
use crate::table::{Feature, FileKind, Found, Status, lookup};
use crate::value::{Secret, trim};

const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const SOURCE_PREFIXES: [&str; 2] = ["src.consumer.", "src.kafka."];
const DESTINATION_PREFIXES: [&str; 3] = ["dest.kafka.", "producer.override.", "admin.override."];
const WORKER_PREFIXES: [&str; 3] = ["producer.", "admin.", WORKER_OWN];
const WORKER_OWN: &str = "";
const SERVERS: &str = "bootstrap.servers";

pub(super) fn read_source(connector: &File<'_>, report: &mut Report) -> SecuritySettings {
    let mut connection = Connection::new("source", "src.kafka.");
    connection.add(connector, FileKind::Connector, &SOURCE_PREFIXES);
    connection.read(report)
}

/// The destination of `connector` at `servers`, or of the worker alone, whose `servers` are its own. What the worker
/// says behind a prefix, or without one, holds if the destination is the cluster it is for: another one must not be
/// shown its secrets.
pub(super) fn read_destination(
    connector: Option<&File<'_>>,
    worker: &File<'_>,
    servers: Option<&[String]>,
    report: &mut Report,
) -> SecuritySettings {
    let mut connection =
        Connection::new("destination", if connector.is_some() { "dest.kafka." } else { WORKER_OWN });
    if let Some(connector) = connector {
        connection.add(connector, FileKind::Connector, &DESTINATION_PREFIXES);
    }
    let (held, held_back): (Vec<&str>, Vec<&str>) =
        WORKER_PREFIXES.into_iter().partition(|prefix| is_for(worker, prefix, servers));
    connection.add(worker, FileKind::Worker, &held);
    for prefix in held_back {
        report.extend(connection.held_back(worker, prefix));
    }
    connection.read(report)
}

/// The worker's own cluster, which keeps its progress.
pub(super) fn read_worker(worker: &File<'_>, report: &mut Report) -> SecuritySettings {
    let mut connection = Connection::new("cluster of `offset.storage.topic`", WORKER_OWN);
    connection.add(worker, FileKind::Worker, &[WORKER_OWN]);
    connection.read(report)
}

/// Whether what the worker says behind `prefix` is for the cluster at `servers`.
fn is_for(worker: &File<'_>, prefix: &str, servers: Option<&[String]>) -> bool {
    let own = worker.list(&servers_key(worker, prefix));
    own.is_empty() || servers.is_none_or(|servers| servers.iter().any(|server| own.contains(server)))
}

/// The property that names the cluster which the worker's properties behind `prefix` are for.
fn servers_key(worker: &File<'_>, prefix: &str) -> String {
    let key = format!("{prefix}{SERVERS}");
    if worker.list(&key).is_empty() { SERVERS.to_owned() } else { key }
}

fn is_plaintext(protocol: &Entry) -> bool {
    let protocol = trim(&protocol.value);
    protocol.is_empty() || protocol.eq_ignore_ascii_case("PLAINTEXT")
}

/// A security property of a connection.
#[derive(Clone, Copy)]
struct Given<'a> {
    entry: &'a Entry,
    found: Found,
    /// How many prefixes come before its own.
    layer: usize,
}

/// The security properties of one connection: of each the one that counts.
struct Connection<'a> {
    /// Whose it is, for messages.
    side: &'static str,
    /// Where to write what is missing.
    prefix: &'static str,
    by_name: BTreeMap<&'a str, Given<'a>>,
    layers: usize,
}

/// `security.protocol`.
#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    tls: bool,
    sasl: bool,
}

const PROTOCOLS: [Protocol; 4] = [
    Protocol { name: "PLAINTEXT", tls: false, sasl: false },
    Protocol { name: "SSL", tls: true, sasl: false },
    Protocol { name: "SASL_PLAINTEXT", tls: false, sasl: true },
    Protocol { name: "SASL_SSL", tls: true, sasl: true },
];

impl<'a> Connection<'a> {
    fn new(side: &'static str, prefix: &'static str) -> Connection<'a> {
        Connection { side, prefix, by_name: BTreeMap::new(), layers: 0 }
    }

    fn add(&mut self, file: &File<'a>, kind: FileKind, prefixes: &[&str]) {
        for prefix in prefixes {
            for entry in file.entries() {
                let found = lookup(kind, &entry.key);
                if let Some(found) =
                    found.filter(|found| found.is_security() && found.scope.prefix == *prefix)
                {
                    let given = Given { entry, found, layer: self.layers };
                    self.by_name.entry(&entry.key[prefix.len()..]).or_insert(given);
                }
            }
            self.layers += 1;
        }
    }

    /// That what the worker says behind `prefix` is for another cluster, if it would have counted.
    fn held_back(&self, worker: &File<'_>, prefix: &str) -> Option<Problem> {
        let would_count = worker.entries().filter_map(|entry| {
            let found = lookup(FileKind::Worker, &entry.key)?;
            let counts = found.is_security()
                && found.scope.prefix == prefix
                && !self.by_name.contains_key(&entry.key[prefix.len()..]);
            counts.then_some(Given { entry, found, layer: self.layers })
        });
        let idle: Vec<Given<'_>> = would_count.collect();
        let first = match idle.iter().find(|given| given.found.property.name == PROTOCOL) {
            Some(protocol) => Some(protocol).filter(|protocol| !is_plaintext(protocol.entry)),
            // The worker's own connections have a use for it in any case.
            None if prefix == WORKER_OWN => None,
            None => idle.iter().find(|given| asks_for_something(given)),
        }?;
        let message = format!(
            "`{}` and what belongs to it are for the cluster of `{}`, and do not hold for the destination, whose \
             address is another",
            first.entry.key,
            servers_key(worker, prefix)
        );
        let hint = "secure the destination with `dest.kafka.security.protocol` and its like";
        Some(Problem::info(first.entry.place(), message).with_hint(hint))
    }

    fn read(&self, report: &mut Report) -> SecuritySettings {
        let Some(protocol) = self.protocol(report) else { return SecuritySettings::default() };
        let tls = protocol.tls.then(|| self.tls(report));
        let mechanism = self.text(MECHANISM).unwrap_or("GSSAPI");
        let sasl = if protocol.sasl { self.sasl(mechanism, report) } else { None };
        for given in self.by_name.values() {
            self.refuse_java(given, protocol, report);
        }
        // Where a provider is asked, or the login is refused, more has an effect, or does not matter.
        let asks_nobody = sasl.as_ref().is_some_and(|sasl| {
            !matches!(sasl, SaslSettings::OauthBearer { token: TokenSettings::Endpoint(_), .. })
        });
        self.tell_idle(protocol, mechanism, asks_nobody, report);
        let given = self
            .by_name
            .iter()
            .map(|(name, given)| ((*name).to_owned(), (given.entry.key.clone(), given.entry.place())));
        SecuritySettings { tls, sasl, given: given.collect() }
    }

    /// The protocol that holds; `None` if that cannot be said, which is told.
    fn protocol(&self, report: &mut Report) -> Option<Protocol> {
        let [plaintext, ..] = PROTOCOLS;
        if let Some(given) = self.by_name.get(PROTOCOL) {
            let value = trim(&given.entry.value);
            let known = PROTOCOLS.iter().find(|protocol| value.eq_ignore_ascii_case(protocol.name)).copied();
            if known.is_none() && !value.is_empty() {
                let message =
                    format!("`{}` is `{}`, which it cannot be", given.entry.key, given.entry.shown());
                report.push(
                    Problem::error(given.entry.place(), message)
                        .with_hint("it takes `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`"),
                );
                return None;
            }
            return Some(known.unwrap_or(plaintext));
        }
        let meant: Vec<&Given<'_>> =
            self.by_name.values().filter(|given| asks_for_something(given)).collect();
        if let Some(first) = meant.first() {
            let message = format!("the {} is given {}, and no `{PROTOCOL}`", self.side, listed(&meant));
            report.push(Problem::error(first.entry.place(), message).with_hint(format!(
                "without it Kafka's clients connect in plaintext in spite of these; write {}{PROTOCOL}=SSL, \
                 SASL_PLAINTEXT or SASL_SSL, or PLAINTEXT to connect so here too",
                self.prefix
            )));
            return None;
        }
        Some(plaintext)
    }

    /// Whether `name` has an effect under this protocol and mechanism.
    fn has_effect(name: &str, protocol: Protocol, mechanism: &str) -> bool {
        match name {
            PROTOCOL => true,
            "security.providers" => protocol.tls || protocol.sasl,
            _ if name.starts_with("ssl.") => protocol.tls,
            _ if !protocol.sasl => false,
            _ if name.starts_with("sasl.kerberos.") => mechanism == "GSSAPI",
            "sasl.login.class" | "sasl.login.callback.handler.class" => true,
            _ if name.starts_with("sasl.oauthbearer.") || name.starts_with("sasl.login.") => {
                mechanism == "OAUTHBEARER"
            }
            _ => true,
        }
    }

    /// What is given and has no effect, unless a prefix that counts less gave it. `asks_nobody`: tokens come from no
    /// identity provider.
    fn tell_idle(&self, protocol: Protocol, mechanism: &str, asks_nobody: bool, report: &mut Report) {
        let Some(by) = self.by_name.get(PROTOCOL) else { return };
        let mut by_protocol = Vec::new();
        let mut by_mechanism = Vec::new();
        let mut by_source = Vec::new();
        for (name, given) in &self.by_name {
            if given.layer > by.layer || !asks_for_something(given) {
                continue;
            }
            let is_of_providers = endpoint::OF_PROVIDERS.contains(name)
                || matches!(
                    given.found.property.status,
                    Status::NotBuilt { feature: Feature::Assertions, .. }
                );
            match Connection::has_effect(name, protocol, mechanism) {
                true if is_of_providers && asks_nobody => by_source.push(given),
                true => {}
                false if name.starts_with("sasl.") && protocol.sasl => by_mechanism.push(given),
                false => by_protocol.push(given),
            }
        }
        let side = self.side;
        let whys = [
            (format!("while `{PROTOCOL}` of the {side} is {}", protocol.name), by_protocol),
            (format!("while `{MECHANISM}` of the {side} is {mechanism}"), by_mechanism),
            (format!("since no identity provider is asked for tokens of the {side}"), by_source),
        ];
        for (why, idle) in whys {
            if let Some(first) = idle.first() {
                let message = format!("without effect {why}: {}", listed(&idle));
                report.push(Problem::warning(first.entry.place(), message));
            }
        }
    }

    /// Refuses what Java's own ways of changing TLS and SASL would do.
    fn refuse_java(&self, given: &Given<'_>, protocol: Protocol, report: &mut Report) {
        let Status::NotBuilt { feature: Feature::JavaSecurity, off, .. } = given.found.property.status else {
            return;
        };
        let property = given.found.property;
        let in_effect = match property.name {
            "security.providers" => protocol.tls || protocol.sasl,
            name if name.starts_with("ssl.") => protocol.tls,
            _ => protocol.sasl,
        };
        if in_effect && !is_off(property.kind, off, &given.entry.value) {
            let message = format!(
                "`{}` is `{}`: {} are not loaded here, and ignoring it would change how the {} is reached",
                given.entry.key,
                given.entry.shown(),
                Feature::JavaSecurity.as_str(),
                self.side
            );
            let hint = "remove it to connect without";
            report.push(Problem::error(given.entry.place(), message).with_hint(hint));
        }
    }

    /// What is given for `name`, unless it is empty.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.by_name.get(name).map(|given| trim(&given.entry.value)).filter(|text| !text.is_empty())
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    fn list(&self, name: &str) -> Vec<&'a str> {
        let parts = self.text(name).into_iter().flat_map(|text| text.split(',')).map(trim);
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// `name` under the key that is given, or under the one to write.
    fn key(&self, name: &str) -> String {
        match self.by_name.get(name) {
            Some(given) => format!("`{}`", given.entry.key),
            None => format!("`{}{name}`", self.prefix),
        }
    }

    /// How the value of `name` shows.
    fn shown(&self, name: &str) -> &'a str {
        self.by_name.get(name).map_or("", |given| given.entry.shown())
    }

    /// Where `name` is given; else the protocol, which makes it needed.
    fn place(&self, name: &str) -> Place {
        let given = self.by_name.get(name).or(self.by_name.get(PROTOCOL));
        given.map_or_else(Place::none, |given| given.entry.place())
    }

    fn refuse(&self, name: &str, message: &str, hint: &str, report: &mut Report) {
        report.push(Problem::error(self.place(name), message).with_hint(hint));
    }
}

/// Whether it asks for anything but what holds without it.
fn asks_for_something(given: &Given<'_>) -> bool {
    let property = given.found.property;
    let off: &[&str] = match property.status {
        Status::NotBuilt { off, .. } => off,
        _ => &[],
    };
    let value = trim(&given.entry.value);
    let is_default = property.default == Some(value) || is_off(property.kind, off, value);
    // Versions alone do not say that TLS is meant.
    !is_default && !matches!(property.name, PROTOCOL | "ssl.protocol" | "ssl.enabled.protocols")
}

fn listed(given: &[&Given<'_>]) -> String {
    let names: Vec<String> = given.iter().map(|given| format!("`{}`", given.entry.key)).collect();
    names.join(", ")
}
