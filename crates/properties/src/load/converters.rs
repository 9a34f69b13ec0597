//! Converters: only those that pass bytes are there, and leaving out another would change records.
//!
//! In Connect the connector's own converter wins and the worker's is its default; Replicator's samples
//! name one for keys and values and none for headers. A worker's SimpleHeaderConverter is Connect's
//! default, spelled out or not, and counts as unset: what people want of a copy is its headers unchanged.

use super::file::File;
use crate::report::{Problem, Report};

const BYTES: [&str; 3] = [
    "io.confluent.connect.replicator.util.ByteArrayConverter",
    "org.apache.kafka.connect.converters.ByteArrayConverter",
    "ByteArrayConverter",
];
const SIMPLE_HEADERS: [&str; 2] =
    ["org.apache.kafka.connect.storage.SimpleHeaderConverter", "SimpleHeaderConverter"];

pub(super) fn check(connector: &File<'_>, worker: &File<'_>, report: &mut Report) {
    for key in ["key.converter", "value.converter", "header.converter"] {
        if let Some(class) = connector.text(key) {
            check_own(connector, key, &class, report);
        } else if let Some(class) = worker.text(key) {
            let is_default = key == "header.converter" && SIMPLE_HEADERS.contains(&&*class);
            if !is_default && !BYTES.contains(&&*class) {
                let message = format!(
                    "has no `{key}`, so the worker's `{class}` ({}) holds: it would change records, and only \
                     copying them as they are is built",
                    worker.place(key)
                );
                report.push(
                    Problem::error(connector.whole(), message).with_hint(format!("add {key}={}", BYTES[0])),
                );
            }
        }
    }
    for key in ["src.key.converter", "src.value.converter", "src.header.converter"] {
        if let Some(class) = connector.text(key) {
            check_own(connector, key, &class, report);
        }
    }
}

fn check_own(connector: &File<'_>, key: &str, class: &str, report: &mut Report) {
    if !BYTES.contains(&class) {
        let message = format!(
            "`{key}` is `{class}`: it would change records, and only copying them as they are is built"
        );
        report.push(
            Problem::error(connector.place(key), message).with_hint(format!("write {key}={}", BYTES[0])),
        );
    }
}
