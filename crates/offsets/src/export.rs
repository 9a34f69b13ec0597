//! A flow's progress as one document: to keep, to read, to give to another worker.
//!
//! ```text
//! {"paralog":1,"connector":"replicator-source","offsets":[
//!   {"partition":{"paralog":"producer"},"offset":{"paralog":1,"producer_id":4001,…}},
//!   {"partition":{"topic":"t","partition":0},"offset":{"offset":41,"paralog":1,"sequence":42,…}}
//! ]}
//! ```
//!
//! `offsets` is what Connect's `GET /connectors/{name}/offsets` answers (KIP-875), each part as it is stored;
//! the two members before it say who wrote it and whose it is. What is not understood is an error: half a
//! flow's progress is worse than none.

use serde_json::{Map, Value, json};

use crate::acls;
use crate::json::{Place, place_key, place_of, read_lane, read_producer, write_lane, write_producer};
use crate::{Stored, StoredLane};

/// The version of the document; its parts have their own.
const VERSION: u64 = 1;

/// Why a document is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Cut short, or something else.
    #[error("it is not a whole export of a connector's progress: {0}")]
    Damaged(String),
    /// Written by a program that knows more.
    #[error("version {0} was written by a newer paralog, this one reads {VERSION}")]
    Newer(u64),
    /// Of another flow.
    #[error("it is the progress of connector `{found}`, not of `{wanted}`")]
    OtherFlow {
        /// Whose it is.
        found: String,
        /// Whose is asked for.
        wanted: String,
    },
    /// One part of it cannot be used.
    #[error("cannot use the entry of {partition}: {problem}")]
    Entry {
        /// Which, as it is written.
        partition: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The document of `stored`, the progress of the flow named `flow`: the same bytes for the same progress.
pub fn write(flow: &str, stored: &Stored) -> String {
    let producer = stored.producer.iter().map(|producer| (Place::Producer, write_producer(producer)));
    let lanes =
        stored.lanes.iter().map(|(partition, lane)| (Place::Lane(partition.clone()), write_lane(lane)));
    let acls =
        stored.acls.iter().map(|(pattern, entries)| (Place::Acls(pattern.clone()), acls::write(entries)));
    let entries: Vec<String> = producer
        .chain(lanes)
        .chain(acls)
        .map(|(place, value)| json!({ "partition": place_key(&place), "offset": value }).to_string())
        .collect();
    let flow = Value::from(flow);
    // One line an entry: for people, and for tools that compare lines.
    match entries.is_empty() {
        true => format!("{{\"paralog\":{VERSION},\"connector\":{flow},\"offsets\":[]}}\n"),
        false => format!(
            "{{\"paralog\":{VERSION},\"connector\":{flow},\"offsets\":[\n  {}\n]}}\n",
            entries.join(",\n  ")
        ),
    }
}

/// The progress in `document`, which must be that of the flow named `flow`.
///
/// # Errors
/// [`ExportError`] if it is not all there, not understood, or another flow's.
pub fn read(document: &[u8], flow: &str) -> Result<Stored, ExportError> {
    let value = serde_json::from_slice(document).map_err(|error| ExportError::Damaged(error.to_string()))?;
    let damaged = |what: &str| ExportError::Damaged(what.to_owned());
    let Value::Object(members) = value else { return Err(damaged("it is not a JSON object")) };
    match members.get("paralog").map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(newer)) => return Err(ExportError::Newer(newer)),
        Some(None) => return Err(damaged("member `paralog` is not a version number")),
        None => return Err(damaged("member `paralog`, the version, is missing")),
    }
    match members.get("connector") {
        Some(Value::String(found)) if found == flow => {}
        Some(Value::String(found)) => {
            return Err(ExportError::OtherFlow { found: found.clone(), wanted: flow.to_owned() });
        }
        _ => return Err(damaged("member `connector`, its name, is missing")),
    }
    let Some(Value::Array(entries)) = members.get("offsets") else {
        return Err(damaged("member `offsets`, a list, is missing"));
    };
    let mut stored = Stored::default();
    for entry in entries {
        let (Some(Value::Object(partition)), Some(value)) = (entry.get("partition"), entry.get("offset"))
        else {
            return Err(damaged(&format!("an entry without `partition` and `offset`: {entry}")));
        };
        let problem = |problem: &str| ExportError::Entry {
            partition: Value::Object(partition.clone()).to_string(),
            problem: problem.to_owned(),
        };
        let twice =
            take(&mut stored, partition, value.to_string().as_bytes()).map_err(|why| problem(&why))?;
        if twice {
            return Err(problem("it is there twice"));
        }
    }
    for lane in stored.lanes.values_mut() {
        // It may be older than what others have written since.
        if let StoredLane::Spread(spread) = lane {
            spread.untouched.clear();
        }
    }
    let has_sequences = |lane: &StoredLane| !matches!(lane, StoredLane::Foreign { .. });
    if stored.producer.is_none() && stored.lanes.values().any(has_sequences) {
        return Err(damaged("there are sequences and no producer id that they belong to"));
    }
    Ok(stored)
}

/// Whether it was there already.
fn take(stored: &mut Stored, partition: &Map<String, Value>, value: &[u8]) -> Result<bool, String> {
    match place_of(partition) {
        Some(Place::Producer) => Ok(stored.producer.replace(read_producer(value)?).is_some()),
        Some(Place::Lane(partition)) => Ok(stored.lanes.insert(partition, read_lane(value)?).is_some()),
        Some(Place::Acls(pattern)) => Ok(stored.acls.insert(pattern, acls::read(value)?).is_some()),
        None => Err(String::from("it is neither a topic's partition nor the producer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Producer, Segment, Segments, SelectionId};
    use model::{
        AccessControlEntry, AclOperation, AclPermission, LeaderEpoch, Offset, ProducerId, ResourcePattern,
        ResourceType, TopicPartition,
    };

    fn stored() -> Stored {
        let mut segments = Segments::default();
        segments.push(Segment {
            source: Offset(10),
            source_end: Offset(42),
            destination: Offset(0),
            count: 32,
        });
        let checkpoint = Checkpoint {
            next_source: Offset(42),
            source_leader_epoch: LeaderEpoch(3),
            sent_leader_epoch: LeaderEpoch(3),
            source_topic_id: None,
            fingerprint: None,
            sequence: 32,
            sequence_base: 0,
            destination_end: Offset(32),
            destination_topic_id: None,
            selection: SelectionId::READ_UNCOMMITTED,
            segments,
        };
        let producer = Producer {
            producer_id: ProducerId(4001),
            producer_epoch: 17,
            stopped_cleanly: true,
            destination_cluster_id: Some("west".into()),
            spread_ids: Vec::new(),
        };
        let lanes = [
            (TopicPartition::new("a", 0), StoredLane::Ours(checkpoint)),
            (TopicPartition::new("b", 7), StoredLane::Foreign { last_copied: Offset(19) }),
        ];
        let entry = AccessControlEntry {
            principal: "User:ann".into(),
            host: "*".into(),
            operation: AclOperation::READ,
            permission: AclPermission::Allow,
        };
        let pattern = ResourcePattern::prefixed(ResourceType::Topic, "a.");
        let acls = [(pattern, [entry].into())].into();
        Stored { producer: Some(producer), lanes: lanes.into(), acls }
    }

    #[test]
    fn an_export_gives_back_what_was_stored() {
        let text = write("east \"1\"", &stored());
        let expected = r#"{"paralog":1,"connector":"east \"1\"","offsets":[
  {"partition":{"paralog":"producer"},"offset":{"paralog":1,"producer_id":4001,"producer_epoch":17,"stopped_cleanly":true,"destination_cluster_id":"west"}},
  {"partition":{"topic":"a","partition":0},"offset":{"offset":41,"paralog":1,"next_source":42,"source_leader_epoch":3,"sequence":32,"sequence_base":0,"destination_end":32,"selection":0,"segments":"1:KAfA"}},
  {"partition":{"topic":"b","partition":7},"offset":{"offset":19}},
  {"partition":{"paralog":"acls","resource":"topic","pattern":"prefixed","name":"a."},"offset":{"paralog":1,"entries":"[[\"User:ann\",\"*\",\"READ\",\"ALLOW\"]]"}}
]}
"#;
        assert_eq!(text, expected);
        assert_eq!(read(text.as_bytes(), "east \"1\""), Ok(stored()));
        let nothing = write("east", &Stored::default());
        assert_eq!(read(nothing.as_bytes(), "east"), Ok(Stored::default()));
    }

    #[test]
    fn what_is_not_a_whole_export_of_this_flow_is_refused() {
        let text = write("east", &stored());
        let check = |text: &str, expected: &str| {
            let message = read(text.as_bytes(), "east").expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        };
        for length in 0..text.trim_end().len() {
            check(&text[..length], "not a whole export");
        }
        check("[]", "not a JSON object");
        for (from, to, expected) in [
            ("{\"paralog\":1,\"c", "{\"paralog\":2,\"c", "version 2 was written by a newer paralog"),
            ("{\"paralog\":1,\"c", "{\"c", "the version, is missing"),
            (
                "\"connector\":\"east\"",
                "\"connector\":\"west\"",
                "progress of connector `west`, not of `east`",
            ),
            ("\"connector\":\"east\",", "", "its name, is missing"),
            ("\"offsets\"", "\"offset\"", "a list, is missing"),
            ("41,\"paralog\":1", "41,\"paralog\":9", "version 9 was written by a newer paralog"),
            ("\"sequence\":32", "\"sequence\":-32", "a count is negative"),
            ("\"topic\":\"b\",\"partition\":7", "\"topic\":\"a\",\"partition\":0", "it is there twice"),
            (
                "{\"paralog\":\"producer\"}",
                "{\"paralog\":\"consumer\"}",
                "neither a topic's partition nor the producer",
            ),
            ("{\"offset\":19}", "null", "it is not a JSON object"),
            ("1:KAfA", "1:KA", "the entry of {\"topic\":\"a\",\"partition\":0}: stored segments are damaged"),
        ] {
            assert!(text.contains(from), "{from}");
            check(&text.replace(from, to), expected);
        }
        let lines: Vec<&str> = text.lines().collect();
        check(
            &[lines[0], lines[2], lines[3], lines[4], lines[5]].join("\n"),
            "no producer id that they belong to",
        );
    }
}
