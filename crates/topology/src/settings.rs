//! Kafka's topic settings: which of them travel with a topic, and what passing batches through asks of them.

use std::fmt;

use model::{TimestampRule, TopicName};

use crate::snapshot::Topic;

/// Names of topic settings.
pub mod key {
    #![allow(missing_docs)]
    pub const CLEANUP_POLICY: &str = "cleanup.policy";
    pub const COMPRESSION_TYPE: &str = "compression.type";
    pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
    pub const MESSAGE_FORMAT: &str = "message.format.version";
    pub const MIN_INSYNC: &str = "min.insync.replicas";
    pub const RETENTION_BYTES: &str = "retention.bytes";
    pub const RETENTION_MS: &str = "retention.ms";
    pub const SEGMENT_BYTES: &str = "segment.bytes";
    pub const TIMESTAMP_AFTER: &str = "message.timestamp.after.max.ms";
    pub const TIMESTAMP_BEFORE: &str = "message.timestamp.before.max.ms";
    pub const TIMESTAMP_DIFFERENCE: &str = "message.timestamp.difference.max.ms";
    pub const TIMESTAMP_TYPE: &str = "message.timestamp.type";
}

/// The settings whose effective value matters to a plan, besides the overrides.
pub const WATCHED: [&str; 11] = [
    key::CLEANUP_POLICY,
    key::COMPRESSION_TYPE,
    key::MAX_MESSAGE_BYTES,
    key::TIMESTAMP_AFTER,
    key::TIMESTAMP_BEFORE,
    key::TIMESTAMP_DIFFERENCE,
    key::TIMESTAMP_TYPE,
    key::MESSAGE_FORMAT,
    key::RETENTION_BYTES,
    key::RETENTION_MS,
    key::SEGMENT_BYTES,
];

/// Kafka's default of `max.message.bytes`, for a destination that does not tell. Brokers before 2.4 have
/// 1000012; a batch in between is refused by them, and the lane then learns it.
pub(crate) const MAX_MESSAGE_BYTES_DEFAULT: i64 = 1_048_588;

/// Kafka's default of `segment.bytes`.
pub(crate) const SEGMENT_BYTES_DEFAULT: i64 = 1 << 30;

/// A topic setting and the broker setting that is its default.
pub(crate) const BROKER_DEFAULTS: [(&str, &str); 26] = [
    (key::CLEANUP_POLICY, "log.cleanup.policy"),
    (key::COMPRESSION_TYPE, "compression.type"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    (key::MAX_MESSAGE_BYTES, "message.max.bytes"),
    ("message.downconversion.enable", "log.message.downconversion.enable"),
    (key::MESSAGE_FORMAT, "log.message.format.version"),
    (key::TIMESTAMP_AFTER, "log.message.timestamp.after.max.ms"),
    (key::TIMESTAMP_BEFORE, "log.message.timestamp.before.max.ms"),
    (key::TIMESTAMP_DIFFERENCE, "log.message.timestamp.difference.max.ms"),
    (key::TIMESTAMP_TYPE, "log.message.timestamp.type"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    (key::MIN_INSYNC, "min.insync.replicas"),
    ("preallocate", "log.preallocate"),
    (key::RETENTION_BYTES, "log.retention.bytes"),
    (key::RETENTION_MS, "log.retention.ms"),
    (key::SEGMENT_BYTES, "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.ms", "log.roll.ms"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// Whether an override of the source topic is set on the destination topic, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    /// It is, as it stands.
    Copied,
    /// What passing batches through asks decides; see [`needs`].
    Ruled,
    /// It is not, and why.
    Stays(&'static str),
}

/// What becomes of the override `key` of a source topic, unless the settings choose otherwise
/// ([`TopicPolicy::travel`](crate::desired::TopicPolicy::travel)).
///
/// Source: `TopicConfig.java` of Kafka 0.11 to 4.3. MirrorMaker 2 leaves out the same policies.
pub(crate) fn travel(key: &str) -> Travel {
    match key {
        key::CLEANUP_POLICY
        | "delete.retention.ms"
        | "file.delete.delay.ms"
        | "flush.messages"
        | "flush.ms"
        | "index.interval.bytes"
        | "max.compaction.lag.ms"
        | key::MAX_MESSAGE_BYTES
        | "min.cleanable.dirty.ratio"
        | "min.compaction.lag.ms"
        | "preallocate"
        | key::RETENTION_BYTES
        | key::RETENTION_MS
        | key::SEGMENT_BYTES
        | "segment.index.bytes"
        | "segment.jitter.ms"
        | "segment.ms" => Travel::Copied,
        key::COMPRESSION_TYPE
        | key::TIMESTAMP_AFTER
        | key::TIMESTAMP_BEFORE
        | key::TIMESTAMP_DIFFERENCE
        | key::TIMESTAMP_TYPE => Travel::Ruled,
        "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => {
            Travel::Stays("batches arrive compressed and stay as they are")
        }
        key::MIN_INSYNC | "unclean.leader.election.enable" => {
            Travel::Stays("the destination decides how safe its copies are")
        }
        "follower.replication.throttled.replicas" | "leader.replication.throttled.replicas" => {
            Travel::Stays("it names brokers of the source")
        }
        key::MESSAGE_FORMAT | "message.downconversion.enable" => {
            Travel::Stays("it is about clients of old message formats")
        }
        _ if key.starts_with("remote.") || key.starts_with("local.retention.") => {
            Travel::Stays("tiered storage has to be set up at the destination first")
        }
        _ => Travel::Stays("it is not a setting of Apache Kafka"),
    }
}

/// What a setting must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// This value.
    Exactly(String),
    /// This number or a higher one.
    AtLeast(i64),
    /// This number or a higher one, where `-1` means without limit.
    KeptFor(i64),
}

impl Bound {
    /// Whether `value` satisfies it; a value that cannot be read does not.
    pub fn holds(&self, value: &str) -> bool {
        let number = value.parse::<i64>();
        match self {
            Bound::Exactly(wanted) => wanted == value,
            Bound::AtLeast(least) => number.is_ok_and(|number| number >= *least),
            Bound::KeptFor(-1) => number == Ok(-1),
            Bound::KeptFor(least) => number.is_ok_and(|number| number == -1 || number >= *least),
        }
    }

    /// The value that just satisfies it.
    pub fn value(&self) -> String {
        match self {
            Bound::Exactly(value) => value.clone(),
            Bound::AtLeast(number) | Bound::KeptFor(number) => number.to_string(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Exactly(value) => f.write_str(value),
            Bound::AtLeast(number) | Bound::KeptFor(number) => write!(f, "{number} or more"),
        }
    }
}

/// One thing that a faithful copy asks of the destination topic's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The setting.
    pub key: &'static str,
    /// What it must be.
    pub bound: Bound,
    /// Why.
    pub why: &'static str,
    /// Set on a new topic even where the default would do: an upgrade may change the default, as 4.0 did.
    pub(crate) explicit: bool,
    /// A value that is not worth a word where it may not be changed.
    pub(crate) tolerated: Option<Bound>,
}

impl Need {
    /// Whether `value` does not satisfy it and is still not worth a word.
    pub(crate) fn tolerates(&self, value: &str) -> bool {
        self.tolerated.as_ref().is_some_and(|tolerated| tolerated.holds(value))
    }
}

/// What passing the batches of `source` through unchanged asks of its copy, whoever created it.
pub(crate) fn needs(source: &Topic, timestamps: TimestampRule) -> Vec<Need> {
    let need = |key, bound, why| Need { key, bound, why, explicit: true, tolerated: None };
    let mut needs = vec![need(
        key::COMPRESSION_TYPE,
        Bound::Exactly("producer".to_owned()),
        "batches keep the codec and the bytes they have at the source",
    )];
    match timestamps {
        TimestampRule::AsAtSource => {
            let (create, wide) = (Bound::Exactly("CreateTime".to_owned()), Bound::AtLeast(i64::MAX));
            let history = "records of any age pass";
            needs.push(need(key::TIMESTAMP_TYPE, create, "records keep the time they have at the source"));
            needs.push(need(key::TIMESTAMP_BEFORE, wide.clone(), history));
            needs.push(Need {
                tolerated: Some(Bound::AtLeast(3_600_000)),
                ..need(key::TIMESTAMP_AFTER, wide.clone(), "records stamped ahead of the clock pass")
            });
            // Not set without need: it would stay behind as an unknown setting after an upgrade to 4.0.
            // With it narrow, 3.6 to 3.9 fall back to it wherever the two newer ones are at their default.
            needs.push(Need { explicit: false, ..need(key::TIMESTAMP_DIFFERENCE, wide, history) });
        }
        TimestampRule::Append => needs.push(need(
            key::TIMESTAMP_TYPE,
            Bound::Exactly("LogAppendTime".to_owned()),
            "topic.timestamp.type asks for the time of the copy",
        )),
    }
    if let Some(bytes) = source.effective_number(key::MAX_MESSAGE_BYTES) {
        let bound = Bound::AtLeast(bytes);
        needs.push(Need {
            explicit: false,
            ..need(key::MAX_MESSAGE_BYTES, bound.clone(), "the source's largest batches fit")
        });
        needs.push(Need {
            explicit: false,
            ..need(key::SEGMENT_BYTES, bound, "a segment holds the largest batch")
        });
    }
    needs
}

/// What a new copy of `source` must keep, so that nothing vanishes at the destination that the source still
/// has. Measured: with old timestamps and a shorter retention, records were deleted while being copied.
pub(crate) fn keeps(source: &Topic) -> Vec<Need> {
    let need = |key, bound, why| Need { key, bound, why, explicit: false, tolerated: None };
    let mut keeps = Vec::new();
    let policy = source.effective(key::CLEANUP_POLICY);
    if let Some(policy) = policy {
        keeps.push(need(
            key::CLEANUP_POLICY,
            Bound::Exactly(policy.to_owned()),
            "what the source deletes or compacts is what the copy does",
        ));
    }
    for key in [key::RETENTION_MS, key::RETENTION_BYTES] {
        if policy != Some("compact")
            && let Some(number) = source.effective_number(key)
        {
            keeps.push(need(key, Bound::KeptFor(number), "records are kept as long as at the source"));
        }
    }
    keeps
}

/// One value that a copy should have of its own, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The value.
    pub value: String,
    /// Why it is set.
    pub why: String,
}

/// An override of the source that its copy does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The setting.
    pub key: String,
    /// Its value at the source.
    pub value: String,
    /// Why it stays behind.
    pub why: String,
}

/// Settings of an existing copy that will show in the data, though nothing changes them here: the key and a
/// sentence. `after` is what holds once its settings were changed.
pub(crate) fn flaws<'s>(
    source: &Topic,
    after: impl Fn(&str) -> Option<&'s str>,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for keep in keeps(source) {
        if let Some(value) = after(keep.key)
            && !keep.bound.holds(value)
        {
            let effect = match (keep.key, value) {
                (key::CLEANUP_POLICY, "delete") => "the copy deletes what the source keeps compacted",
                (key::CLEANUP_POLICY, _) => {
                    "the copy compacts what the source does not, or the other way round"
                }
                _ => "the copy deletes records that the source still has",
            };
            let text = format!("{}={value}, {} at the source: {effect}", keep.key, keep.bound.value());
            found.push((keep.key, text));
        }
    }
    if let Some(version) = after(key::MESSAGE_FORMAT)
        && ["0.8", "0.9", "0.10"].iter().any(|old| version.starts_with(old))
    {
        let text = format!(
            "{}={version}: the destination rewrites batches to an old format and drops headers",
            key::MESSAGE_FORMAT
        );
        found.push((key::MESSAGE_FORMAT, text));
    }
    found
}

/// Names shared by a message.
pub(crate) fn quoted(names: &[TopicName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
