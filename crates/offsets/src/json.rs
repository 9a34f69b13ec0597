//! Progress as Connect writes it down: JSON keys and values, by connector.
//!
//! ```text
//! ["replicator-source",{"topic":"t","partition":0}]   {"offset":41,"paralog":1,"sequence":42,…}
//! ["replicator-source",{"topic":"s","partition":0}]   {"offset":41,"paralog":2,"spread_over":3,…,"share_0":"{…}",…}
//! ["replicator-source",{"paralog":"producer"}]        {"paralog":1,"producer_id":4001,…}
//! ["replicator-source",{"paralog":"acls",…}]          {"paralog":1,"entries":"[…]"}
//! ```
//!
//! `offset` is the last copied one, as Replicator's is, so that each can take over from the other. Our
//! own fields stand beside it and are flat: Connect's REST interface refuses nested ones. A value without
//! them was written by somebody else and gives only the offset. A partition that is spread, and a producer of several
//! ids, are of version 2: who knows only the first must not take them for less than they are. A share is what a lane is,
//! as text. Keys are compared by meaning, since the
//! order of members is that of a Java map; a superseded entry keeps its key's bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{LeaderEpoch, Offset, PartitionId, ProducerId, ResourcePattern, TopicId, TopicPartition};
use serde_json::{Map, Value};

use crate::acls;
use crate::connect_file::Entry;
use crate::{
    Checkpoint, Fingerprint, Producer, SEGMENTS_MAX, Segments, SelectionId, Spread, Stored, StoredLane,
};

/// The version of the fields that stand beside `offset`, in the member that marks them as ours.
const VERSION: u64 = 1;
/// The version of those of a partition that is spread, and of the ids that need it.
const SPREAD_VERSION: u64 = 2;
/// What the members of shares begin with.
const SHARE: &str = "share_";

/// A value under one of the flow's keys that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the value of {key}: {problem}")]
pub struct ValueError {
    /// The key, as text.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
}

/// What the entries say of the flow named `flow`.
///
/// Where two entries are about one partition, with their keys' members in different orders, one of them
/// is stale: the lower position counts, since a late one costs a look and an early one costs records.
///
/// # Errors
/// [`ValueError`] if one of the flow's values is not readable. Entries of others are not looked at.
pub fn flow(entries: &[Entry], flow: &str) -> Result<Stored, ValueError> {
    let mut stored = Stored::default();
    for entry in entries {
        let (Some(key), Some(value)) = (&entry.key, &entry.value) else { continue };
        let Some(place) = place(key, flow) else { continue };
        let error = |problem| ValueError { key: String::from_utf8_lossy(key).into_owned(), problem };
        match place {
            Place::Producer => stored.producer = Some(read_producer(value).map_err(error)?),
            Place::Acls(pattern) => {
                let entries = acls::read(value).map_err(error)?;
                stored.acls.entry(pattern).or_default().extend(entries);
            }
            Place::Lane(partition) => {
                let lane = read_lane(value).map_err(error)?;
                match stored.lanes.get(&partition) {
                    Some(other) if other.next_source() <= lane.next_source() => {}
                    _ => {
                        stored.lanes.insert(partition, lane);
                    }
                }
            }
        }
    }
    Ok(stored)
}

/// Makes `entries` say of the flow named `flow` what `changes` says; the rest stays.
pub fn merge(entries: &mut Vec<Entry>, flow: &str, changes: &Stored) {
    let mut lanes = changes.lanes.clone();
    let mut lanes_seen = Vec::new();
    let mut producer = changes.producer.as_ref();
    let mut acls: BTreeMap<&ResourcePattern, _> = changes.acls.iter().collect();
    entries.retain(|entry| match entry.key.as_deref().and_then(|key| place(key, flow)) {
        Some(Place::Acls(pattern)) => changes.acls.get(&pattern).is_none_or(|entries| !entries.is_empty()),
        _ => true,
    });
    for entry in entries.iter_mut() {
        let Some(place) = entry.key.as_deref().and_then(|key| place(key, flow)) else { continue };
        match place {
            Place::Producer => {
                if let Some(changed) = &changes.producer {
                    entry.value = Some(bytes(&write_producer(changed)));
                    producer = None;
                }
            }
            Place::Lane(partition) => {
                if let Some(lane) = changes.lanes.get(&partition) {
                    entry.value = Some(bytes(&write_lane(lane)));
                    lanes_seen.push(partition);
                }
            }
            Place::Acls(pattern) => {
                if let Some(changed) = changes.acls.get(&pattern) {
                    entry.value = Some(bytes(&acls::write(changed)));
                    acls.remove(&pattern);
                }
            }
        }
    }
    for partition in lanes_seen {
        lanes.remove(&partition);
    }
    if let Some(producer) = producer {
        let key = serde_json::json!([flow, place_key(&Place::Producer)]);
        entries.push(Entry { key: Some(bytes(&key)), value: Some(bytes(&write_producer(producer))) });
    }
    for (partition, lane) in lanes {
        let key = serde_json::json!([flow, place_key(&Place::Lane(partition))]);
        entries.push(Entry { key: Some(bytes(&key)), value: Some(bytes(&write_lane(&lane))) });
    }
    for (pattern, changed) in acls.into_iter().filter(|(_, changed)| !changed.is_empty()) {
        let key = serde_json::json!([flow, place_key(&Place::Acls(pattern.clone()))]);
        entries.push(Entry { key: Some(bytes(&key)), value: Some(bytes(&acls::write(changed))) });
    }
}

/// Makes `entries` say of the flow named `flow` what `stored` says and nothing else. What says so already stays to the
/// byte.
pub fn replace(entries: &mut Vec<Entry>, flow: &str, stored: &Stored) {
    entries.retain(|entry| match entry.key.as_deref().and_then(|key| place(key, flow)) {
        Some(Place::Producer) => stored.producer.is_some(),
        Some(Place::Lane(partition)) => stored.lanes.contains_key(&partition),
        Some(Place::Acls(pattern)) => stored.acls.contains_key(&pattern),
        None => true,
    });
    let present = self::flow(entries, flow).unwrap_or_default();
    let mut changes = stored.clone();
    changes.producer = changes.producer.filter(|producer| present.producer.as_ref() != Some(producer));
    changes.lanes.retain(|partition, lane| present.lanes.get(partition) != Some(lane));
    changes.acls.retain(|pattern, acls| present.acls.get(pattern) != Some(acls));
    merge(entries, flow, &changes);
}

/// Whether `key` is one that [`flow`] reads of the flow named `flow`, and [`merge`] and [`replace`] write.
pub fn is_of(key: &[u8], flow: &str) -> bool {
    place(key, flow).is_some()
}

/// What a key of the flow is about.
pub(crate) enum Place {
    Lane(TopicPartition),
    Producer,
    Acls(ResourcePattern),
}

fn place(key: &[u8], flow: &str) -> Option<Place> {
    place_of(&source_partition(key, flow)?)
}

/// The second part of a key of the flow, which Connect calls the source partition.
pub(crate) fn source_partition(key: &[u8], flow: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Array(parts)) = serde_json::from_slice(key) else { return None };
    match <[Value; 2]>::try_from(parts) {
        Ok([Value::String(name), Value::Object(members)]) if name == flow => Some(members),
        _ => None,
    }
}

/// What the second part of a key is about, which Connect calls the source partition.
pub(crate) fn place_of(members: &Map<String, Value>) -> Option<Place> {
    match (members.len(), members.get("topic"), members.get("partition"), members.get("paralog")) {
        (2, Some(Value::String(topic)), Some(partition), None) => {
            let partition =
                partition.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|n| *n >= 0)?;
            Some(Place::Lane(TopicPartition {
                topic: topic.as_str().into(),
                partition: PartitionId(partition),
            }))
        }
        (1, None, None, Some(Value::String(what))) if what == "producer" => Some(Place::Producer),
        _ => acls::read_key(members).map(Place::Acls),
    }
}

/// The second part of the key of `place`.
pub(crate) fn place_key(place: &Place) -> Value {
    match place {
        Place::Producer => serde_json::json!({ "paralog": "producer" }),
        Place::Acls(pattern) => acls::key(pattern),
        Place::Lane(partition) => {
            serde_json::json!({ "topic": partition.topic.as_str(), "partition": partition.partition.0 })
        }
    }
}

fn bytes(value: &Value) -> Arc<[u8]> {
    Arc::from(value.to_string().into_bytes())
}

pub(crate) fn write_lane(lane: &StoredLane) -> Value {
    match lane {
        StoredLane::Ours(checkpoint) => write_checkpoint(checkpoint),
        StoredLane::Foreign { last_copied } => serde_json::json!({ "offset": last_copied.0 }),
        StoredLane::Spread(spread) => write_spread(spread),
    }
}

fn write_spread(spread: &Spread) -> Value {
    let next_source = spread.next_source().0;
    let mut members = Map::new();
    members.insert("offset".into(), next_source.saturating_sub(1).into());
    members.insert("paralog".into(), SPREAD_VERSION.into());
    members.insert("next_source".into(), next_source.into());
    members.insert("spread_over".into(), spread.partitions.into());
    members.insert("begin".into(), spread.begin.0.into());
    members.insert("begin_is_set".into(), spread.begin_is_set.into());
    if !spread.untouched.is_empty() {
        let untouched: Vec<String> = spread.untouched.iter().map(i32::to_string).collect();
        members.insert("untouched".into(), untouched.join(",").into());
    }
    for (destination, share) in &spread.shares {
        // Connect takes no objects here.
        members.insert(format!("{SHARE}{destination}"), write_checkpoint(share).to_string().into());
    }
    Value::Object(members)
}

fn write_checkpoint(checkpoint: &Checkpoint) -> Value {
    let mut members = Map::new();
    members.insert("offset".into(), (checkpoint.next_source.0.saturating_sub(1)).into());
    members.insert("paralog".into(), VERSION.into());
    // Said twice: where somebody changes `offset` by hand, the counts beside it no longer belong to it.
    members.insert("next_source".into(), checkpoint.next_source.0.into());
    members.insert("source_leader_epoch".into(), checkpoint.source_leader_epoch.0.into());
    if checkpoint.sent_leader_epoch != checkpoint.source_leader_epoch {
        members.insert("sent_leader_epoch".into(), checkpoint.sent_leader_epoch.0.into());
    }
    if let Some(id) = checkpoint.source_topic_id {
        members.insert("source_topic_id".into(), id.to_string().into());
    }
    if let Some(fingerprint) = checkpoint.fingerprint {
        members.insert("batch_base_offset".into(), fingerprint.base_offset.0.into());
        members.insert("batch_last_offset".into(), fingerprint.last_offset.0.into());
        members.insert("batch_crc".into(), fingerprint.crc.into());
    }
    members.insert("sequence".into(), checkpoint.sequence.into());
    members.insert("sequence_base".into(), checkpoint.sequence_base.into());
    members.insert("destination_end".into(), checkpoint.destination_end.0.into());
    if let Some(id) = checkpoint.destination_topic_id {
        members.insert("destination_topic_id".into(), id.to_string().into());
    }
    members.insert("selection".into(), checkpoint.selection.0.into());
    if !checkpoint.segments.is_empty() {
        members.insert("segments".into(), checkpoint.segments.encode().into());
    }
    Value::Object(members)
}

pub(crate) fn read_lane(value: &[u8]) -> Result<StoredLane, String> {
    let members = Members::read(value)?;
    let offset = members.integer("offset")?;
    if offset < -1 || offset == i64::MAX {
        return Err(format!("offset {offset} is out of range"));
    }
    let version = members.version()?;
    if version.is_none() || members.integer("next_source")? != offset + 1 {
        return Ok(StoredLane::Foreign { last_copied: Offset(offset) });
    }
    match version {
        Some(SPREAD_VERSION) => read_spread(&members).map(StoredLane::Spread),
        _ => read_checkpoint(&members, SEGMENTS_MAX).map(StoredLane::Ours),
    }
}

fn read_spread(members: &Members) -> Result<Spread, String> {
    let partitions: i32 = members.number("spread_over")?;
    let segments_max = Spread::segments_max(partitions);
    let mut spread = Spread {
        partitions,
        begin: Offset(members.integer("begin")?),
        begin_is_set: members.0.get("begin_is_set") == Some(&Value::Bool(true)),
        untouched: read_untouched(members.text("untouched")?, partitions)?,
        shares: BTreeMap::new(),
    };
    for name in members.0.keys() {
        let Some(number) = name.strip_prefix(SHARE) else { continue };
        let destination = number.parse().ok().filter(|number| (0..partitions).contains(number));
        let destination = destination.ok_or_else(|| format!("there is no partition for member `{name}`"))?;
        let share = Members::read(members.text(name)?.unwrap_or_default().as_bytes())
            .and_then(|share| match share.version()? {
                Some(VERSION) => read_checkpoint(&share, segments_max),
                _ => Err(String::from("it is no progress of ours")),
            })
            .map_err(|problem| format!("member `{name}`: {problem}"))?;
        spread.shares.insert(destination, share);
    }
    if partitions < 1 || spread.begin.0 < 0 {
        return Err(String::from("it is spread over nothing, or begins before the first offset"));
    }
    if spread.next_source().0 != members.integer("next_source")? {
        return Err(String::from("its shares are not where it says that they are"));
    }
    Ok(spread)
}

fn read_untouched(text: Option<&str>, partitions: i32) -> Result<BTreeSet<i32>, String> {
    let numbers = text.into_iter().flat_map(|text| text.split(','));
    let read = numbers.map(|number| number.parse().ok().filter(|number| (0..partitions).contains(number)));
    let read: Option<BTreeSet<i32>> = read.collect();
    read.ok_or_else(|| String::from("member `untouched` does not name partitions"))
}

fn read_checkpoint(members: &Members, segments_max: usize) -> Result<Checkpoint, String> {
    let offset = members.integer("offset")?;
    if members.integer("next_source")? != offset + 1 {
        return Err(String::from("its two offsets contradict each other"));
    }
    let fingerprint = if members.has("batch_crc") {
        Some(Fingerprint {
            base_offset: Offset(members.integer("batch_base_offset")?),
            last_offset: Offset(members.integer("batch_last_offset")?),
            crc: members.number("batch_crc")?,
        })
    } else {
        None
    };
    let segments = match members.text("segments")? {
        Some(text) => Segments::decode(text, segments_max).map_err(|error| error.to_string())?,
        None => Segments::new(segments_max),
    };
    let checkpoint = Checkpoint {
        next_source: Offset(offset + 1),
        source_leader_epoch: LeaderEpoch(members.number("source_leader_epoch")?),
        sent_leader_epoch: match members.has("sent_leader_epoch") {
            true => LeaderEpoch(members.number("sent_leader_epoch")?),
            false => LeaderEpoch(members.number("source_leader_epoch")?),
        },
        source_topic_id: members.topic_id("source_topic_id")?,
        fingerprint,
        sequence: members.number("sequence")?,
        sequence_base: members.integer("sequence_base")?,
        destination_end: Offset(members.integer("destination_end")?),
        destination_topic_id: members.topic_id("destination_topic_id")?,
        selection: SelectionId(members.number("selection")?),
        segments,
    };
    if checkpoint.segments.end().is_some_and(|(source, destination)| {
        source > checkpoint.next_source || destination > checkpoint.destination_end
    }) {
        return Err(String::from("the segments reach beyond the position"));
    }
    if checkpoint.sequence < 0 || checkpoint.sequence_base < 0 || checkpoint.destination_end.0 < 0 {
        return Err(String::from("a count is negative"));
    }
    Ok(checkpoint)
}

pub(crate) fn write_producer(producer: &Producer) -> Value {
    let mut members = Map::new();
    let version = if producer.spread_ids.is_empty() { VERSION } else { SPREAD_VERSION };
    members.insert("paralog".into(), version.into());
    members.insert("producer_id".into(), producer.producer_id.0.into());
    members.insert("producer_epoch".into(), producer.producer_epoch.into());
    members.insert("stopped_cleanly".into(), producer.stopped_cleanly.into());
    if let Some(id) = &producer.destination_cluster_id {
        members.insert("destination_cluster_id".into(), id.as_str().into());
    }
    if version == SPREAD_VERSION {
        let ids: Vec<String> = producer.spread_ids.iter().map(ToString::to_string).collect();
        members.insert("spread_ids".into(), ids.join(",").into());
    }
    Value::Object(members)
}

pub(crate) fn read_producer(value: &[u8]) -> Result<Producer, String> {
    let members = Members::read(value)?;
    if members.version()?.is_none() {
        return Err(String::from("member `paralog` is missing"));
    }
    let spread_ids: Option<Vec<i64>> = match members.text("spread_ids")? {
        Some(text) => text.split(',').map(|id| id.parse().ok().filter(|id| *id >= 0)).collect(),
        None => Some(Vec::new()),
    };
    let spread_ids =
        spread_ids.ok_or_else(|| String::from("member `spread_ids` is no list of producer ids"))?;
    let producer = Producer {
        producer_id: ProducerId(members.integer("producer_id")?),
        producer_epoch: members.number("producer_epoch")?,
        stopped_cleanly: members.0.get("stopped_cleanly") == Some(&Value::Bool(true)),
        destination_cluster_id: members.text("destination_cluster_id")?.map(str::to_owned),
        spread_ids: spread_ids.into_iter().map(ProducerId).collect(),
    };
    if producer.producer_id.0 < 0 || producer.producer_epoch < 0 {
        return Err(String::from("the producer id or its epoch is negative"));
    }
    Ok(producer)
}

/// A value's members, each asked for by name and type.
struct Members(Map<String, Value>);

impl Members {
    fn read(value: &[u8]) -> Result<Members, String> {
        match serde_json::from_slice(value) {
            Ok(Value::Object(members)) => Ok(Members(members)),
            Ok(_) => Err(String::from("it is not a JSON object")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|member| !member.is_null())
    }

    /// The version of our fields, where they are here: one that this program reads.
    fn version(&self) -> Result<Option<u64>, String> {
        if !self.has("paralog") {
            return Ok(None);
        }
        match self.0["paralog"].as_u64() {
            Some(version @ (VERSION | SPREAD_VERSION)) => Ok(Some(version)),
            Some(version) => Err(format!(
                "version {version} was written by a newer paralog, this one reads {SPREAD_VERSION}"
            )),
            None => Err(String::from("member `paralog` is not a version number")),
        }
    }

    fn integer(&self, name: &str) -> Result<i64, String> {
        match self.0.get(name) {
            None => Err(format!("member `{name}` is missing")),
            Some(member) => {
                member.as_i64().ok_or_else(|| format!("member `{name}` is {member}, not an integer"))
            }
        }
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, String> {
        let wide = self.integer(name)?;
        T::try_from(wide).map_err(|_| format!("member `{name}` is {wide}, which is out of range"))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("member `{name}` is {other}, not a text")),
        }
    }

    fn topic_id(&self, name: &str) -> Result<Option<TopicId>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits: Option<Vec<u8>> = (text.bytes())
            .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let bytes: Option<[u8; 16]> = digits.and_then(|digits| {
            let pairs: Vec<u8> =
                digits.chunks(2).filter_map(|pair| Some(pair[0] << 4 | pair.get(1)?)).collect();
            if digits.len() == 32 { pairs.try_into().ok() } else { None }
        });
        bytes
            .map(|bytes| Some(TopicId(bytes)))
            .ok_or_else(|| format!("member `{name}` is not 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;
    use model::{AccessControlEntry, AclOperation, AclPermission, ResourceType};
    use proptest::prelude::*;

    const NAME: &str = "replicator-source";

    fn entry(key: &str, value: &str) -> Entry {
        Entry { key: Some(Arc::from(key.as_bytes())), value: Some(Arc::from(value.as_bytes())) }
    }

    fn text(entries: &[Entry]) -> Vec<(String, Option<String>)> {
        let text = |bytes: &Option<Arc<[u8]>>| {
            bytes.as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        entries.iter().map(|entry| (text(&entry.key).unwrap_or_default(), text(&entry.value))).collect()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            next_source: Offset(42),
            source_leader_epoch: LeaderEpoch(3),
            sent_leader_epoch: LeaderEpoch(3),
            source_topic_id: Some(TopicId([0xAB; 16])),
            fingerprint: Some(Fingerprint {
                base_offset: Offset(40),
                last_offset: Offset(41),
                crc: u32::MAX,
            }),
            sequence: 17,
            sequence_base: 5,
            destination_end: Offset(1000),
            destination_topic_id: None,
            selection: SelectionId::READ_COMMITTED,
            segments: Segments::default(),
        }
    }

    fn producer() -> Producer {
        Producer {
            producer_id: ProducerId(4001),
            producer_epoch: 0,
            stopped_cleanly: true,
            destination_cluster_id: Some("west".into()),
            spread_ids: Vec::new(),
        }
    }

    /// Two runs that end at both ends.
    fn segments_up_to(source: i64, destination: i64) -> Segments {
        let mut segments = Segments::default();
        if source > 20 && destination > 20 {
            for (source, destination) in [(source - 12, destination - 20), (source - 5, destination - 5)] {
                segments.push(Segment {
                    source: Offset(source),
                    source_end: Offset(source + 5),
                    destination: Offset(destination),
                    count: 5,
                });
            }
        }
        segments
    }

    #[test]
    fn the_way_to_a_checkpoint_is_stored_beside_it() {
        let mut entries = Vec::new();
        let checkpoint = Checkpoint { segments: segments_up_to(42, 1000), ..checkpoint() };
        let lanes = [(TopicPartition::new("t", 0), StoredLane::Ours(checkpoint))].into();
        let stored = Stored { lanes, ..Stored::default() };
        merge(&mut entries, NAME, &stored);
        let value = text(&entries)[0].1.clone().unwrap();
        assert!(value.ends_with(r#""selection":1,"segments":"1:e0eEACKEA"}"#), "{value}");
        assert_eq!(flow(&entries, NAME).unwrap(), stored);
        for (wrong, problem) in [
            (value.replace("1:", "7:"), "stored segments begin with `7:"),
            (value.replace(r#""segments":"1:"#, r#""segments":"1:A"#), "segments"),
        ] {
            entries[0].value = Some(Arc::from(wrong.as_bytes()));
            let message = flow(&entries, NAME).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }

    #[test]
    fn progress_is_written_with_connects_offset_first_and_flat_fields() {
        let mut entries = Vec::new();
        let changes = Stored {
            producer: Some(producer()),
            lanes: [(TopicPartition::new("t", 0), StoredLane::Ours(checkpoint()))].into(),
            ..Stored::default()
        };
        merge(&mut entries, NAME, &changes);
        let text = text(&entries);
        assert_eq!(text[0].0, r#"["replicator-source",{"paralog":"producer"}]"#);
        assert_eq!(
            text[0].1.as_deref(),
            Some(
                r#"{"paralog":1,"producer_id":4001,"producer_epoch":0,"stopped_cleanly":true,"destination_cluster_id":"west"}"#
            )
        );
        assert_eq!(text[1].0, r#"["replicator-source",{"topic":"t","partition":0}]"#);
        assert_eq!(
            text[1].1.as_deref(),
            Some(concat!(
                r#"{"offset":41,"paralog":1,"next_source":42,"source_leader_epoch":3,"#,
                r#""source_topic_id":"abababababababababababababababab","batch_base_offset":40,"batch_last_offset":41,"#,
                r#""batch_crc":4294967295,"sequence":17,"sequence_base":5,"destination_end":1000,"selection":1}"#
            ))
        );
        assert_eq!(flow(&entries, NAME).unwrap(), changes);
        assert_eq!(flow(&entries, "another").unwrap(), Stored::default());
    }

    /// Spread over three partitions, one of which has got nothing yet.
    fn spread() -> Spread {
        let share = |next_source, destination_end| Checkpoint {
            next_source: Offset(next_source),
            destination_end: Offset(destination_end),
            segments: Segments::new(Spread::segments_max(3)),
            ..checkpoint()
        };
        let shares = [(0, share(42, 1000)), (2, share(50, 7))].into();
        Spread { partitions: 3, begin: Offset(5), begin_is_set: false, untouched: [0, 2].into(), shares }
    }

    #[test]
    fn a_partition_that_is_spread_is_as_far_as_its_last_share() {
        let mut spread = spread();
        assert_eq!(spread.next_source(), Offset(5));
        spread.shares.insert(1, checkpoint());
        assert_eq!(spread.next_source(), Offset(42));
        spread.shares.clear();
        assert_eq!(spread.next_source(), Offset(5));
    }

    #[test]
    fn what_is_spread_is_written_in_flat_fields_of_a_version_of_its_own() {
        let mut entries = Vec::new();
        let producer = Producer { spread_ids: vec![ProducerId(4002), ProducerId(4007)], ..producer() };
        let changes = Stored {
            producer: Some(producer.clone()),
            lanes: [(TopicPartition::new("t", 0), StoredLane::Spread(spread()))].into(),
            ..Stored::default()
        };
        merge(&mut entries, NAME, &changes);
        let text = text(&entries);
        assert_eq!(
            text[0].1.as_deref(),
            Some(
                r#"{"paralog":2,"producer_id":4001,"producer_epoch":0,"stopped_cleanly":true,"destination_cluster_id":"west","spread_ids":"4002,4007"}"#
            )
        );
        let value = text[1].1.clone().unwrap();
        let flat = r#"{"offset":4,"paralog":2,"next_source":5,"spread_over":3,"begin":5,"begin_is_set":false,"untouched":"0,2","share_0":"{\"offset\":41,"#;
        assert!(value.starts_with(flat), "{value}");
        assert!(value.contains(r#","share_2":"{\"offset\":49,"#), "{value}");
        assert_eq!(flow(&entries, NAME).unwrap(), changes);
        assert_eq!(
            [0, 1, 2, 3].map(|at| producer.spread_id(PartitionId(at)).map(|id| id.0)),
            [Some(4001), Some(4002), Some(4007), None]
        );
        for (from, to, problem) in [
            ("\"spread_over\":3", "\"spread_over\":2", "member `untouched` does not name partitions"),
            ("\"spread_over\":3", "\"spread_over\":0", "member `untouched` does not name partitions"),
            ("share_0", "share_x", "there is no partition for member `share_x`"),
            ("\\\"sequence\\\":17", "\\\"sequence\\\":-17", "member `share_0`: a count is negative"),
            ("\\\"paralog\\\":1", "\\\"paralog\\\":2", "member `share_0`: it is no progress of ours"),
            ("\"begin\":5", "\"begin\":3", "its shares are not where"),
        ] {
            assert!(value.contains(from), "{from}");
            entries[1].value = Some(Arc::from(value.replacen(from, to, 1).as_bytes()));
            let message = flow(&entries, NAME).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
        // As of any other: what somebody changed by hand is where it goes on.
        entries[1].value = Some(Arc::from(value.replacen("\"offset\":4,", "\"offset\":7,", 1).as_bytes()));
        let lanes = flow(&entries, NAME).unwrap().lanes;
        assert_eq!(lanes[&TopicPartition::new("t", 0)], StoredLane::Foreign { last_copied: Offset(7) });
    }

    #[test]
    fn replicators_own_offset_is_the_last_copied_one() {
        let entries = [
            entry(r#"["replicator-source",{"topic":"t","partition":0}]"#, r#"{"offset":9999}"#),
            entry(r#"["replicator-source",{"partition":1,"topic":"t"}]"#, r#"{"offset":7}"#),
        ];
        let lanes = flow(&entries, NAME).unwrap().lanes;
        assert_eq!(lanes[&TopicPartition::new("t", 0)], StoredLane::Foreign { last_copied: Offset(9999) });
        assert_eq!(lanes[&TopicPartition::new("t", 1)], StoredLane::Foreign { last_copied: Offset(7) });
    }

    #[test]
    fn a_superseded_entry_keeps_its_keys_bytes_and_the_others_stay() {
        let others = [
            entry(r#"["file-source",{"filename":"/tmp/x"}]"#, r#"{"position":3}"#),
            entry(r#"["replicator-source",{"cluster":"a","topic":"t","partition":0}]"#, r#"{"offset":1}"#),
            entry("not json", "either"),
            Entry { key: None, value: None },
        ];
        let mut entries = others.to_vec();
        entries.push(entry(r#"[ "replicator-source", {"partition":0, "topic":"t"} ]"#, r#"{"offset":9}"#));
        let changes = Stored {
            lanes: [
                (TopicPartition::new("t", 0), StoredLane::Ours(checkpoint())),
                (TopicPartition::new("t", 1), StoredLane::Foreign { last_copied: Offset(3) }),
            ]
            .into(),
            ..Stored::default()
        };
        merge(&mut entries, NAME, &changes);
        assert_eq!(entries[..4], others);
        assert_eq!(
            entries[4].key.as_deref(),
            Some(&br#"[ "replicator-source", {"partition":0, "topic":"t"} ]"#[..])
        );
        assert_eq!(text(&entries)[5].1.as_deref(), Some(r#"{"offset":3}"#));
        assert_eq!(entries.len(), 6);
        assert_eq!(flow(&entries, NAME).unwrap(), changes);
    }

    #[test]
    fn of_two_entries_about_one_partition_the_lower_position_counts() {
        let high = entry(r#"["replicator-source",{"topic":"t","partition":0}]"#, r#"{"offset":9}"#);
        let low = entry(r#"["replicator-source",{"partition":0,"topic":"t"}]"#, r#"{"offset":4}"#);
        for entries in [[high.clone(), low.clone()], [low, high]] {
            let lanes = flow(&entries, NAME).unwrap().lanes;
            assert_eq!(lanes[&TopicPartition::new("t", 0)], StoredLane::Foreign { last_copied: Offset(4) });
        }
    }

    #[test]
    fn a_reset_partition_starts_anew() {
        let entries = [Entry {
            key: entry(r#"["replicator-source",{"topic":"t","partition":0}]"#, "").key,
            value: None,
        }];
        assert_eq!(flow(&entries, NAME).unwrap(), Stored::default());
    }

    #[test]
    fn an_offset_changed_by_hand_is_believed_without_the_counts_beside_it() {
        let mut entries = Vec::new();
        let lanes = [(TopicPartition::new("t", 0), StoredLane::Ours(checkpoint()))].into();
        merge(&mut entries, NAME, &Stored { lanes, ..Stored::default() });
        let value = text(&entries)[0].1.clone().unwrap().replace(r#""offset":41"#, r#""offset":30"#);
        entries[0].value = Some(Arc::from(value.as_bytes()));
        let lanes = flow(&entries, NAME).unwrap().lanes;
        assert_eq!(lanes[&TopicPartition::new("t", 0)], StoredLane::Foreign { last_copied: Offset(30) });
    }

    #[test]
    fn a_value_of_ours_that_cannot_be_used_is_an_error_that_names_it() {
        let lane = r#"["replicator-source",{"topic":"t","partition":0}]"#;
        let cases = [
            (lane, "", "EOF while parsing"),
            (lane, "[]", "it is not a JSON object"),
            (lane, r#"{"position":1}"#, "member `offset` is missing"),
            (lane, r#"{"offset":"1"}"#, "member `offset` is \"1\", not an integer"),
            (lane, r#"{"offset":-2}"#, "offset -2 is out of range"),
            (lane, r#"{"offset":9223372036854775807}"#, "out of range"),
            (
                lane,
                r#"{"offset":1,"paralog":3}"#,
                "version 3 was written by a newer paralog, this one reads 2",
            ),
            (lane, r#"{"offset":1,"paralog":1,"next_source":2}"#, "member `source_leader_epoch` is missing"),
            (
                r#"["replicator-source",{"paralog":"acls","resource":"topic","pattern":"literal","name":"t"}]"#,
                r#"{"paralog":1,"entries":"{}"}"#,
                "member `entries`",
            ),
            (
                r#"["replicator-source",{"paralog":"producer"}]"#,
                r#"{"paralog":1,"producer_id":-1,"producer_epoch":0}"#,
                "negative",
            ),
        ];
        for (key, value, expected) in cases {
            let message = flow(&[entry(key, value)], NAME).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(key), "{message}");
        }
    }

    #[test]
    fn replacing_leaves_the_others_entries_and_the_keys_as_they_are() {
        let theirs = entry(r#"["other",{"topic":"t","partition":0}]"#, r#"{"offset":1}"#);
        let ours = entry(r#"["replicator-source",{"partition":0,"topic":"t"}]"#, r#"{"offset":1}"#);
        let gone = entry(r#"["replicator-source",{"topic":"t","partition":1}]"#, r#"{"offset":1}"#);
        let mut entries = vec![theirs.clone(), ours.clone(), gone];
        let lanes = [(TopicPartition::new("t", 0), StoredLane::Foreign { last_copied: Offset(7) })].into();
        let stored = Stored { lanes, ..Stored::default() };
        replace(&mut entries, NAME, &stored);
        assert_eq!(entries.len(), 2);
        assert_eq!((&entries[0], &entries[1].key), (&theirs, &ours.key));
        assert_eq!(flow(&entries, NAME), Ok(stored));
    }

    /// READ for each of these users.
    fn readers(users: &[&str]) -> BTreeSet<AccessControlEntry> {
        let reader = |user: &&str| AccessControlEntry {
            principal: format!("User:{user}"),
            host: "*".to_owned(),
            operation: AclOperation::READ,
            permission: AclPermission::Allow,
        };
        users.iter().map(reader).collect()
    }

    #[test]
    fn acls_have_an_entry_for_each_pattern_which_goes_when_none_is_left() {
        let topic = |name: &str| ResourcePattern::literal(ResourceType::Topic, name);
        let prefix = ResourcePattern::prefixed(ResourceType::Group, "a");
        let change = |pattern: &ResourcePattern, users: &[&str]| Stored {
            acls: [(pattern.clone(), readers(users))].into(),
            ..Stored::default()
        };
        let lane = [(TopicPartition::new("t", 0), StoredLane::Foreign { last_copied: Offset(3) })];
        let mut entries = Vec::new();
        merge(&mut entries, NAME, &Stored { lanes: lane.into(), ..Stored::default() });
        merge(&mut entries, NAME, &change(&topic("a"), &["ann", "bob"]));
        merge(&mut entries, NAME, &change(&prefix, &["ann"]));
        assert_eq!(
            text(&entries)[1],
            (
                r#"["replicator-source",{"paralog":"acls","resource":"topic","pattern":"literal","name":"a"}]"#.to_owned(),
                Some(r#"{"paralog":1,"entries":"[[\"User:ann\",\"*\",\"READ\",\"ALLOW\"],[\"User:bob\",\"*\",\"READ\",\"ALLOW\"]]"}"#.to_owned()),
            )
        );
        merge(&mut entries, NAME, &change(&topic("a"), &["bob"]));
        merge(&mut entries, NAME, &change(&topic("never"), &[]));
        let stored = flow(&entries, NAME).unwrap();
        assert_eq!(
            stored.acls,
            [(topic("a"), readers(&["bob"])), (prefix.clone(), readers(&["ann"]))].into()
        );
        assert_eq!((stored.lanes.len(), entries.len()), (1, 3));

        merge(&mut entries, NAME, &change(&topic("a"), &[]));
        assert_eq!((flow(&entries, NAME).unwrap().acls.len(), entries.len()), (1, 2));
        // Whatever replaces the rest.
        replace(&mut entries, NAME, &change(&topic("b"), &["ann"]));
        assert_eq!(flow(&entries, NAME), Ok(change(&topic("b"), &["ann"])));
        assert_eq!(entries.len(), 1);
    }

    proptest! {
        #[test]
        fn any_checkpoint_is_read_as_it_was_written(
            next in 0..i64::MAX, epoch in -1..i32::MAX, source_id: Option<[u8; 16]>, batch: Option<(i64, i64, u32)>,
            sequence in 0..i32::MAX, base in 0..i64::MAX, end in 0..i64::MAX, id: Option<[u8; 16]>, selection: u32, topic: String,
        ) {
            let checkpoint = Checkpoint {
                next_source: Offset(next),
                source_leader_epoch: LeaderEpoch(epoch),
                sent_leader_epoch: LeaderEpoch(epoch / 2),
                source_topic_id: source_id.map(TopicId),
                fingerprint: batch.map(|(base, last, crc)| Fingerprint { base_offset: Offset(base), last_offset: Offset(last), crc }),
                sequence,
                sequence_base: base,
                destination_end: Offset(end),
                destination_topic_id: id.map(TopicId),
                selection: SelectionId(selection),
                segments: segments_up_to(next, end),
            };
            let lanes = [(TopicPartition::new(topic, 3), StoredLane::Ours(checkpoint))].into();
            let stored = Stored { lanes, ..Stored::default() };
            let mut entries = Vec::new();
            merge(&mut entries, NAME, &stored);
            prop_assert_eq!(flow(&entries, NAME).unwrap(), stored.clone());
            merge(&mut entries, NAME, &stored);
            prop_assert_eq!(entries.len(), 1);
        }

        #[test]
        fn arbitrary_values_never_panic(key: Vec<u8>, value: Vec<u8>) {
            let lane = entry(r#"["replicator-source",{"topic":"t","partition":0}]"#, "");
            let value: Option<Arc<[u8]>> = Some(Arc::from(value));
            let _ = flow(&[Entry { key: Some(Arc::from(key)), value: value.clone() }, Entry { key: lane.key, value }], NAME);
        }
    }
}
