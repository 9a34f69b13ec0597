//! The files of Replicator's stand-alone executable: consumer, producer and replication properties.
//!
//! The first two name clients without a prefix, the third mixes the worker's and the connector's
//! properties. Here they become entries of a worker and of a connector, keeping their places.

use crate::entry::{Entry, Place};
use crate::run_options::{default_offset_file, goes_to_worker};
use crate::table::{FileKind, lookup};

/// What the executable calls the connector, and the class it runs.
const GIVEN: [(&str, &str); 2] = [
    ("name", "replicator"),
    ("connector.class", "io.confluent.connect.replicator.ReplicatorSourceConnector"),
];

/// Worker's and connector's entries of `--consumer.config` (the source), `--producer.config` (the
/// destination) and `--replication.config`, ready for [`crate::load`].
///
/// What the executable supplies is added where it is missing: the connector's name and class, and a file
/// for progress, which it keeps in a topic.
pub fn split_executable(
    consumer: &[Entry],
    producer: &[Entry],
    replication: &[Entry],
) -> (Vec<Entry>, Vec<Entry>) {
    let (mut worker, mut connector): (Vec<Entry>, Vec<Entry>) =
        replication.iter().cloned().partition(|entry| goes_to_worker(&entry.key));
    connector.extend(consumer.iter().map(|entry| prefixed(entry, ["src.kafka.", "src.consumer."])));
    connector.extend(producer.iter().map(|entry| prefixed(entry, ["dest.kafka.", "producer.override."])));

    let place = replication.first().map_or_else(Place::none, |entry| Place { line: 0, ..entry.place() });
    for (key, value) in GIVEN {
        if !connector.iter().any(|entry| entry.key == key) {
            connector.insert(0, Entry::new(key, value, &place));
        }
    }
    if !worker.iter().any(|entry| entry.key == "offset.storage.file.filename") {
        worker.insert(0, default_offset_file(&place));
    }
    (worker, connector)
}

/// The entry under the first prefix that knows its key, else under the last.
fn prefixed(entry: &Entry, prefixes: [&str; 2]) -> Entry {
    let knows = |prefix: &&str| lookup(FileKind::Connector, &format!("{prefix}{}", entry.key)).is_some();
    let prefix = prefixes.into_iter().find(knows).unwrap_or(prefixes[1]);
    Entry { key: format!("{prefix}{}", entry.key), ..entry.clone() }
}
