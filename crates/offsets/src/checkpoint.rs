//! What is remembered of a lane and of a flow between two runs: plain values.
//!
//! A checkpoint names one point of a lane on both sides at once. It is taken from contiguous
//! acknowledgements only, so it may be late and is never early (`checkpoint_never_early`): what lies
//! between it and the truth is found at the destination when the lane opens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::{Acls, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId, TopicPartition};

use crate::{SEGMENTS_MAX, Segments};

/// One point of a lane: everything before it is at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The source offset to read next.
    pub next_source: Offset,
    /// The source's leader epoch of the last batch before it; unknown before the first batch.
    pub source_leader_epoch: LeaderEpoch,
    /// The source's leader epoch of the last batch that was sent: another one than that of the last batch read
    /// where what followed had nothing to send.
    pub sent_leader_epoch: LeaderEpoch,
    /// The source topic's id, where the source cluster has topic ids.
    pub source_topic_id: Option<TopicId>,
    /// The last source batch that was forwarded or passed over, to tell later that the source is still the same log.
    pub fingerprint: Option<Fingerprint>,
    /// The sequence of the next record sent, modulo 2^31, counted from `sequence_base`.
    pub sequence: i32,
    /// Records that the lane had sent when its sequence last restarted at 0.
    pub sequence_base: i64,
    /// The offset that the next record gets at the destination if nobody else writes there.
    pub destination_end: Offset,
    /// The destination topic's id, where the destination cluster has topic ids.
    pub destination_topic_id: Option<TopicId>,
    /// By which rule the records counted in `sequence` were chosen.
    pub selection: SelectionId,
    /// Which source offset became which destination offset on the way here, as far back as it is known:
    /// for translating offsets, and for going back where the destination loses records.
    pub segments: Segments,
}

/// What tells one source batch from another at the same place: its offsets and its stored checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The batch's first offset.
    pub base_offset: Offset,
    /// The batch's last offset, inclusive.
    pub last_offset: Offset,
    /// The CRC-32C as stored at the source.
    pub crc: u32,
}

/// The rule that chooses records of the source. Sequences are comparable only under the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectionId(pub u32);

impl SelectionId {
    /// Every data record, those of aborted and open transactions included.
    pub const READ_UNCOMMITTED: SelectionId = SelectionId(0);
    /// Only records that a `read_committed` consumer sees.
    pub const READ_COMMITTED: SelectionId = SelectionId(1);
}

impl fmt::Display for SelectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SelectionId::READ_UNCOMMITTED => f.write_str("read_uncommitted"),
            SelectionId::READ_COMMITTED => f.write_str("read_committed"),
            SelectionId(other) => write!(f, "selection {other}"),
        }
    }
}

/// The producer id under which a flow writes. All its lanes share it, but those that spread a source partition, and it
/// outlives the process: without it, nothing at the destination says which batches are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The id, allocated by the destination cluster.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The cluster that allocated it, where that cluster has an id.
    pub destination_cluster_id: Option<String>,
    /// The last process of the flow left nothing under way. Otherwise a broker may still hold a request
    /// of it, which matters where the broker has forgotten the producer id.
    pub stopped_cleanly: bool,
    /// What is spread from source partitions 1, 2 and so on is written under an id for each, since several of them come
    /// to one partition there; that of partition 0 under `producer_id`. All in the same epoch.
    pub spread_ids: Vec<ProducerId>,
}

impl Producer {
    /// The id for what is spread from a source partition of this number, if it has one yet.
    pub fn spread_id(&self, source: PartitionId) -> Option<ProducerId> {
        match usize::try_from(source.0).ok()?.checked_sub(1) {
            None => Some(self.producer_id),
            Some(index) => self.spread_ids.get(index).copied(),
        }
    }
}

/// All that is remembered of one flow. As changes to a store: only what is present changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The flow's producer id; `None` before its first start.
    pub producer: Option<Producer>,
    /// By source partition.
    pub lanes: BTreeMap<TopicPartition, StoredLane>,
    /// The ACLs that the flow has created at the destination, or is about to. As a change: of a pattern that is present
    /// all of them; an empty set is none.
    pub acls: Acls,
}

/// What is remembered of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredLane {
    /// A lane that this program has copied.
    Ours(Checkpoint),
    /// A partition that Replicator, or another Connect source connector with the same keys, has copied.
    Foreign {
        /// The offset of its last copied record: resume at the next one.
        last_copied: Offset,
    },
    /// A partition whose records this program spreads over the partitions of a topic.
    Spread(Spread),
}

/// What is remembered of a source partition whose records are spread: each destination partition gets a share, which has
/// a point of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Partitions that it is spread over: those that there were when it began, however many come later. Which record goes
    /// where depends on it, and with that which sequence is which record.
    pub partitions: i32,
    /// Where those shares begin that have no point yet.
    pub begin: Offset,
    /// Somebody set that who knows, and records of before may be at the destination; otherwise it is where the source began.
    pub begin_is_set: bool,
    /// The destination partitions that held nothing when the first share began to write there, of those that have a point
    /// here: what they hold came since. Where it is not known, a share without a point does not begin beside others' records.
    pub untouched: BTreeSet<i32>,
    /// By destination partition.
    pub shares: BTreeMap<i32, Checkpoint>,
}

impl Spread {
    /// All selected records before this are at the destination, whichever share they are of.
    pub fn next_source(&self) -> Offset {
        let begun = self.shares.values().map(|share| share.next_source);
        let all_have = i32::try_from(self.shares.len()) == Ok(self.partitions);
        begun.chain((!all_have).then_some(self.begin)).min().unwrap_or(self.begin)
    }

    /// How many segments are kept of each of so many shares: together they take no more room than a lane's, unless they
    /// are very many.
    pub fn segments_max(partitions: i32) -> usize {
        (SEGMENTS_MAX / usize::try_from(partitions.max(1)).unwrap_or(1)).max(16)
    }
}

impl StoredLane {
    /// The source offset that follows what is copied.
    pub fn next_source(&self) -> Offset {
        match self {
            StoredLane::Ours(checkpoint) => checkpoint.next_source,
            StoredLane::Foreign { last_copied } => Offset(last_copied.0.saturating_add(1)),
            StoredLane::Spread(spread) => spread.next_source(),
        }
    }
}
