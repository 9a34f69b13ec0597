//! Security: refused where a connection would need it.
//!
//! A connection's properties come from several prefixes, the first that has one wins. In Kafka `ssl.*` and
//! `sasl.*` take effect only as `security.protocol` says, whose default is PLAINTEXT. So a protocol other
//! than PLAINTEXT is refused; `ssl.*` and `sasl.*` under an explicit PLAINTEXT are told to be without
//! effect; and without any protocol they are refused too, because who writes them means them.

use super::file::File;
use super::survey::is_off;
use crate::entry::Entry;
use crate::report::{Problem, Report};
use crate::table::{FileKind, Status, lookup};

const PROTOCOL: &str = "security.protocol";
const SOURCE_PREFIXES: [&str; 2] = ["src.consumer.", "src.kafka."];
const DESTINATION_PREFIXES: [&str; 3] = ["dest.kafka.", "producer.override.", "admin.override."];
const WORKER_PREFIXES: [&str; 3] = ["producer.", "admin.", ""];

pub(super) fn check_source(connector: &File<'_>, report: &mut Report) {
    check(&given(connector, FileKind::Connector, &SOURCE_PREFIXES), "source", "src.kafka.", report);
}

/// The destination of `connector`, or of the worker alone.
pub(super) fn check_destination(connector: Option<&File<'_>>, worker: &File<'_>, report: &mut Report) {
    let mut chain =
        connector.map_or_else(Vec::new, |file| given(file, FileKind::Connector, &DESTINATION_PREFIXES));
    chain.extend(given(worker, FileKind::Worker, &WORKER_PREFIXES));
    let prefix = if connector.is_some() { "dest.kafka." } else { "" };
    check(&chain, "destination", prefix, report);
}

/// The worker's own cluster, which keeps its progress.
pub(super) fn check_worker(worker: &File<'_>, report: &mut Report) {
    check(&given(worker, FileKind::Worker, &[""]), "cluster of `offset.storage.topic`", "", report);
}

/// A security property that is given: its name without the prefix, and its entry.
type Given<'a> = (&'a str, &'a Entry);

fn given<'a>(file: &File<'a>, kind: FileKind, prefixes: &[&str]) -> Vec<Given<'a>> {
    let mut given = Vec::new();
    for prefix in prefixes {
        for entry in file.entries() {
            let found = lookup(kind, &entry.key);
            if let Some(found) = found.filter(|found| found.is_security() && found.scope.prefix == *prefix)
                && let Status::NotBuilt { off, .. } = found.property.status
            {
                let name = &entry.key[prefix.len()..];
                if name == PROTOCOL || !is_off(found.property.kind, off, &entry.value) {
                    given.push((name, entry));
                }
            }
        }
    }
    given
}

fn check(chain: &[Given<'_>], side: &str, prefix: &str, report: &mut Report) {
    let protocol = chain.iter().find(|(name, _)| *name == PROTOCOL).map(|(_, entry)| *entry);
    let others: Vec<&Entry> =
        chain.iter().filter(|(name, _)| *name != PROTOCOL).map(|(_, entry)| *entry).collect();
    let listed = |entries: &[&Entry]| {
        let names: Vec<String> = entries.iter().map(|entry| format!("`{}`", entry.key)).collect();
        names.join(", ")
    };
    match protocol.map(|entry| (entry, entry.value.trim())) {
        Some((_, "PLAINTEXT" | "")) => {
            if let Some(first) = others.first() {
                let message = format!(
                    "without effect while `{PROTOCOL}` of the {side} is PLAINTEXT: {}",
                    listed(&others)
                );
                report.push(Problem::warning(first.place(), message));
            }
        }
        Some((entry, "SSL" | "SASL_PLAINTEXT" | "SASL_SSL")) => {
            let message = format!(
                "`{}` is `{}`: TLS and SASL are not built yet, the {side} can only be reached in plaintext",
                entry.key,
                entry.value.trim()
            );
            report.push(Problem::error(entry.place(), message));
        }
        Some((entry, other)) => {
            let message = format!("`{}` is `{other}`, which it cannot be", entry.key);
            report.push(
                Problem::error(entry.place(), message)
                    .with_hint("it takes `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`"),
            );
        }
        None => {
            if let Some(first) = others.first() {
                let message =
                    format!("TLS and SASL are not built yet, but the {side} is given {}", listed(&others));
                report.push(Problem::error(first.place(), message).with_hint(format!(
                    "without `{PROTOCOL}` Kafka's clients connect in plaintext in spite of these; to do so here, \
                     write {prefix}{PROTOCOL}=PLAINTEXT"
                )));
            }
        }
    }
}
