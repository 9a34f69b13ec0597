//! What the control plane hands to the data plane.

use crate::{TopicId, TopicPartition};

/// Every route of a flow, as of one generation. A later generation replaces an earlier one whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Counted up by the control plane each time the routes change.
    pub generation: u64,
    /// Sorted by source partition, each source partition at most once.
    pub routes: Vec<Route>,
}

/// One source partition and the destination partition it is copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where records are read.
    pub source: TopicPartition,
    /// Where they are written; the first of the topic's partitions, where they are spread.
    pub destination: TopicPartition,
    /// Set where records do not keep their partition: they are spread over so many of the destination's topic, by their
    /// keys, as Java's producers do it.
    pub spread_over: Option<i32>,
    /// The source topic's id, where the source cluster has topic ids (2.8+).
    pub source_topic_id: Option<TopicId>,
    /// The destination topic's id, where the destination cluster has topic ids (2.8+).
    pub destination_topic_id: Option<TopicId>,
    /// What a batch must satisfy at the destination.
    pub rule: RewriteRule,
}

/// What the destination topic asks of a batch, as far as it decides between patching and transcoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// Whose time a record of the destination shows.
    pub timestamps: TimestampRule,
    /// The largest whole batch, in bytes, that the destination topic takes: the lower of its
    /// `max.message.bytes` and `segment.bytes`.
    pub batch_bytes_max: usize,
    /// The destination's brokers read zstd (2.1+).
    pub zstd: bool,
    /// The source topic is compacted: offsets may have holes, and counting records between two offsets
    /// gives an answer that changes with time.
    pub source_compacted: bool,
}

/// Whose time a record of the destination shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRule {
    /// The time that a consumer of the source sees, be it CreateTime or LogAppendTime. The destination
    /// topic has `message.timestamp.type=CreateTime`.
    AsAtSource,
    /// The time of the append at the destination, which has `message.timestamp.type=LogAppendTime`.
    Append,
}
