//! The properties of one file, by name and typed by the table.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::{Entry, Place};
use crate::table::{FileKind, lookup};
use crate::value::Value;

/// One file's entries, by key. Of equal keys the last counts.
pub(super) struct File<'a> {
    kind: FileKind,
    by_key: BTreeMap<&'a str, &'a Entry>,
    /// The file as a whole.
    place: Place,
}

impl<'a> File<'a> {
    pub(super) fn new(kind: FileKind, entries: &'a [Entry]) -> File<'a> {
        let by_key = entries.iter().map(|entry| (&*entry.key, entry)).collect();
        let place = entries.first().map_or_else(Place::none, |entry| Place { line: 0, ..entry.place() });
        File { kind, by_key, place }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The file as a whole, as far as it has a name.
    pub(super) fn whole(&self) -> Place {
        self.place.clone()
    }

    /// The entry of `key`, if it is given.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.by_key.get(key).copied()
    }

    /// All entries, by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.by_key.values().copied()
    }

    /// Where `key` stands, or the file as a whole.
    pub(super) fn place(&self, key: &str) -> Place {
        self.entry(key).map_or_else(|| self.whole(), Entry::place)
    }

    /// The value of `key` if it is given and can be read. That it cannot be read was reported already.
    fn given(&self, key: &str) -> Option<Value> {
        let found = lookup(self.kind, key)?;
        found.property.kind.read(&self.entry(key)?.value).ok()
    }

    /// The value of `key`, else the table's default.
    fn value(&self, key: &str) -> Option<Value> {
        self.given(key).or_else(|| {
            let property = lookup(self.kind, key)?.property;
            property.kind.read(property.default?).ok()
        })
    }

    /// Text that is given and not empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.given(key)? {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Text that is given, else the default.
    pub(super) fn text_or_default(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// A list that is given, without empty parts.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.given(key) {
            Some(Value::List(parts)) => parts.into_iter().filter(|part| !part.is_empty()).collect(),
            _ => Vec::new(),
        }
    }

    /// A number that is given.
    pub(super) fn whole_number(&self, key: &str) -> Option<i64> {
        match self.given(key)? {
            Value::Whole(number) => Some(number),
            _ => None,
        }
    }

    /// A number that is given, else the default.
    pub(super) fn whole_number_or_default(&self, key: &str) -> i64 {
        match self.value(key) {
            Some(Value::Whole(number)) => number,
            _ => unreachable_default(key),
        }
    }

    /// True or false that is given, else the default.
    pub(super) fn boolean_or_default(&self, key: &str) -> bool {
        match self.value(key) {
            Some(Value::Boolean(is)) => is,
            _ => unreachable_default(key),
        }
    }

    /// A count of bytes or of things that is given.
    pub(super) fn size(&self, key: &str) -> Option<usize> {
        usize::try_from(self.whole_number(key)?).ok()
    }

    /// Milliseconds that are given.
    pub(super) fn millis(&self, key: &str) -> Option<Duration> {
        u64::try_from(self.whole_number(key)?).ok().map(Duration::from_millis)
    }

    /// Milliseconds that are given, else the default.
    pub(super) fn millis_or_default(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.whole_number_or_default(key)).unwrap_or(0))
    }
}

/// Our own slip: the key is asked for with a default of a type that the table does not give it. The test
/// of every setting's default would have shown it.
fn unreachable_default<T>(key: &str) -> T {
    panic!("`{key}` has no default of the type asked for in the table")
}
