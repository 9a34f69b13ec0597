//! Each key of each file against the table.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{Entry, Place};
use crate::nearest::nearest;
use crate::report::{Problem, Report};
use crate::table::{Feature, FileKind, Found, SCOPES, Side, Status, Why, lookup, names};
use crate::value::{Kind, Value};

/// Unknown keys told one by one; a file with more of them is hardly a file of this kind.
const UNKNOWN_MAX: usize = 20;

/// Collects over all files what is told in one line for all of them.
pub(super) struct Survey<'a> {
    report: &'a mut Report,
    no_meaning: BTreeMap<Why, BTreeSet<String>>,
    not_built: BTreeMap<Feature, BTreeSet<String>>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(report: &'a mut Report) -> Survey<'a> {
        Survey { report, no_meaning: BTreeMap::new(), not_built: BTreeMap::new() }
    }

    /// Judges each entry of a file by itself.
    pub(super) fn look_at(&mut self, kind: FileKind, entries: &[Entry]) {
        let mut unknown = 0;
        for entry in entries {
            let Some(found) = lookup(kind, &entry.key) else {
                unknown += 1;
                if unknown <= UNKNOWN_MAX {
                    self.report.push(describe_unknown(kind, entry));
                }
                continue;
            };
            match found.status() {
                Status::NoMeaning(why) => {
                    self.no_meaning.entry(why).or_default().insert(entry.key.clone());
                }
                Status::Misnomer(meant) => {
                    let message = format!("`{}` is ignored, as Replicator ignores it", entry.key);
                    self.report.push(
                        Problem::warning(entry.place(), message)
                            .with_hint(format!("did you mean `{meant}`?")),
                    );
                }
                // Whether it matters depends on the protocol of its connection: see `secured`.
                _ if found.is_security() => {
                    if found.property.name != "security.protocol" {
                        self.is_readable(entry, found);
                    }
                }
                Status::NotBuilt { feature, off, refuse } => {
                    self.not_built(entry, found, feature, off, refuse);
                }
                Status::Used => {
                    self.is_readable(entry, found);
                }
            }
        }
        if unknown > UNKNOWN_MAX
            && let Some(entry) = entries.first()
        {
            let message = format!("holds {} more properties that are not known", unknown - UNKNOWN_MAX);
            self.report.push(
                Problem::warning(Place { line: 0, ..entry.place() }, message)
                    .with_hint(format!("is it a {kind}'s file?")),
            );
        }
    }

    fn not_built(&mut self, entry: &Entry, found: Found, feature: Feature, off: &[&str], refuse: bool) {
        if !self.is_readable(entry, found) {
            return;
        }
        let kind = found.property.kind;
        if is_off(kind, off, &entry.value) {
            // Accepted parts of a list of classes are still worth a word.
            if kind == Kind::Classes && !entry.value.trim().is_empty() {
                self.no_meaning.entry(Why::Monitoring).or_default().insert(entry.key.clone());
            }
        } else if refuse {
            let message = format!(
                "`{}` is `{}`: not built yet ({}), and ignoring it would change what is copied",
                entry.key,
                entry.shown(),
                feature.as_str()
            );
            let hint = match off {
                [off, ..] if kind == Kind::Boolean => format!("set it to `{off}` to copy without"),
                _ => "remove it to copy without".to_owned(),
            };
            self.report.push(Problem::error(entry.place(), message).with_hint(hint));
        } else {
            self.not_built.entry(feature).or_default().insert(entry.key.clone());
        }
    }

    /// Whether the value is one of its type; says so if not.
    fn is_readable(&mut self, entry: &Entry, found: Found) -> bool {
        let Found { property, .. } = found;
        let Err(message) = property.kind.read(&entry.value) else { return true };
        let message = match &entry.reference {
            Some(reference) => format!("is `{reference}`, and what that gives is no such value"),
            None => message,
        };
        let default = match property.default {
            Some(default) => format!("; left out it is {default}"),
            None => String::new(),
        };
        self.report.push(
            Problem::error(entry.place(), format!("`{}` {message}", entry.key))
                .with_hint(format!("it takes {}{default}", property.kind.allowed())),
        );
        false
    }

    /// Tells what is told once for all files.
    pub(super) fn finish(self) {
        let Survey { report, no_meaning, not_built } = self;
        let list = |keys: &BTreeSet<String>| {
            keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        };
        if !not_built.is_empty() {
            let parts: Vec<String> = not_built
                .iter()
                .map(|(feature, keys)| format!("{} ({})", list(keys), feature.as_str()))
                .collect();
            let message = format!("recognised, but not built yet, so without effect: {}", parts.join("; "));
            report.push(Problem::warning(Place::none(), message));
        }
        if !no_meaning.is_empty() {
            let parts: Vec<String> =
                no_meaning.iter().map(|(why, keys)| format!("{} ({})", list(keys), why.as_str())).collect();
            let message = format!("accepted, though without meaning here: {}", parts.join("; "));
            report.push(Problem::info(Place::none(), message));
        }
    }
}

/// Whether `value` asks for nothing: it is empty, or all of it is in `off`.
pub(super) fn is_off(kind: Kind, off: &[&str], value: &str) -> bool {
    match kind.read(value) {
        Ok(Value::List(parts)) if kind == Kind::Classes => parts.iter().all(|part| off.contains(&&**part)),
        Ok(Value::Boolean(is)) => off.contains(&if is { "true" } else { "false" }),
        _ => value.trim().is_empty() || off.contains(&value.trim()),
    }
}

fn describe_unknown(kind: FileKind, entry: &Entry) -> Problem {
    let key = &entry.key;
    let other = if kind == FileKind::Worker { FileKind::Connector } else { FileKind::Worker };
    let message = if lookup(other, key).is_some() {
        format!("`{key}` has no effect in a {kind}'s file, only in a {other}'s")
    } else {
        format!("`{key}` is no known property and is ignored")
    };
    let problem = Problem::warning(entry.place(), message);
    let meant = under_other_prefixes(kind, key);
    if !meant.is_empty() {
        problem.with_hint(format!("did you mean {}?", meant.join(" or ")))
    } else if lookup(other, key).is_some() {
        problem
    } else if let Some(name) = nearest(key, names(kind)) {
        problem.with_hint(format!("did you mean `{name}`?"))
    } else {
        problem
    }
}

/// The names under which a connector takes what `key` says under a wrong prefix, or under none.
fn under_other_prefixes(kind: FileKind, key: &str) -> Vec<String> {
    if kind != FileKind::Connector {
        return Vec::new();
    }
    let prefixes = || SCOPES.iter().filter(|scope| scope.file == kind && !scope.prefix.is_empty());
    let name = prefixes().find_map(|scope| key.strip_prefix(scope.prefix)).unwrap_or(key);
    let exists = |key: &String| lookup(kind, key).is_some_and(|found| !found.property.name.ends_with('*'));
    prefixes()
        .filter(|scope| {
            matches!(scope.side, Side::Source | Side::Destination) && scope.prefix != "admin.override."
        })
        .map(|scope| format!("{}{name}", scope.prefix))
        .filter(exists)
        .map(|key| format!("`{key}`"))
        .collect()
}
