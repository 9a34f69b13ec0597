//! Who writes a flow's progress to a topic: the records by which one process takes over from another.
//!
//! ```text
//! ["replicator-source",{"paralog":"writer","producer_id":7001}]   {"paralog":1,"producer_epoch":3,"process":"9f…"}
//! ["replicator-source",{"paralog":"fence"}]                       null
//! ```
//!
//! One key for each producer id, so that a claim which arrives late hides no other. Nobody else reads them: to Connect
//! they are source partitions that no task asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ProducerId;
use serde_json::{Value, json};

use crate::connect_file::Entry;
use crate::json::source_partition;

/// A process's claim to write under a producer id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The epoch it writes in.
    pub producer_epoch: i16,
    /// Drawn by each process: two may have claimed the same epoch at the same time.
    pub process: String,
}

/// The writers by producer id.
pub type Writers = BTreeMap<i64, Writer>;

/// The record that says so.
pub fn claim(flow: &str, producer_id: ProducerId, writer: &Writer) -> Entry {
    let key = json!([flow, { "paralog": "writer", "producer_id": producer_id.0 }]);
    let value = json!({ "paralog": 1, "producer_epoch": writer.producer_epoch, "process": writer.process });
    Entry { key: Some(bytes(&key)), value: Some(bytes(&value)) }
}

/// A record that says nothing, for partitions that must see the epoch as well.
pub fn fence(flow: &str) -> Entry {
    Entry { key: Some(bytes(&json!([flow, { "paralog": "fence" }]))), value: None }
}

/// Whether `key` is one of a claim of the flow named `flow`.
pub fn is_claim(key: &[u8], flow: &str) -> bool {
    claimed_id(key, flow).is_some()
}

/// The producer id and the writer of a claim. `None` for any other record, and for one that cannot be read: it is no
/// claim of this version.
pub fn read(key: &[u8], value: &[u8], flow: &str) -> Option<(i64, Writer)> {
    let id = claimed_id(key, flow)?;
    let value: Value = serde_json::from_slice(value).ok()?;
    let producer_epoch = i16::try_from(value.get("producer_epoch")?.as_i64()?).ok()?;
    let process = value.get("process")?.as_str()?.to_owned();
    (producer_epoch >= 0).then_some((id, Writer { producer_epoch, process }))
}

fn claimed_id(key: &[u8], flow: &str) -> Option<i64> {
    let members = source_partition(key, flow)?;
    match (members.len(), members.get("paralog"), members.get("producer_id")) {
        (2, Some(Value::String(what)), Some(id)) if what == "writer" => id.as_i64().filter(|id| *id >= 0),
        _ => None,
    }
}

fn bytes(value: &Value) -> Arc<[u8]> {
    Arc::from(value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_claim_is_read_again_and_is_no_progress() {
        let writer = Writer { producer_epoch: 3, process: "9f".into() };
        let Entry { key: Some(key), value: Some(value) } = claim("east", ProducerId(7001), &writer) else {
            panic!()
        };
        assert_eq!(read(&key, &value, "east"), Some((7001, writer)));
        assert_eq!(read(&key, &value, "west"), None);
        assert!(is_claim(&key, "east") && !json::is_of(&key, "east"));
        let fence = fence("east");
        assert_eq!((is_claim(&fence.key.clone().unwrap(), "east"), fence.value), (false, None));
        for value in ["null", "{}", "x", r#"{"producer_epoch":-1,"process":"a"}"#, r#"{"producer_epoch":1}"#]
        {
            assert_eq!(read(&key, value.as_bytes(), "east"), None, "{value}");
        }
    }
}
