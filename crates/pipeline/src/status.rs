//! What a flow's data plane shows of itself. Measured, not assumed.

use model::{Offset, TopicPartition};

use crate::life::LifeCounts;
use crate::trouble::Trouble;

/// All lanes of a flow at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The generation of the routes in force.
    pub generation: u64,
    /// What keeps the flow as a whole, or one of its clusters, from working.
    pub trouble: Option<Trouble>,
    /// Bytes of record batches held or reserved for fetches under way.
    pub held_bytes: usize,
    /// One entry per lane, sorted by source partition.
    pub lanes: Vec<LaneStatus>,
}

/// One lane at one moment.
#[derive(Clone, Debug)]
pub struct LaneStatus {
    /// Where records are read.
    pub source: TopicPartition,
    /// Where they are written.
    pub destination: TopicPartition,
    /// Where the lane is in its life.
    pub state: LaneState,
    /// Why it stands still, or last did without having moved since.
    pub trouble: Option<Trouble>,
    /// Every selected record before this source offset is at the destination.
    pub next_source: Offset,
    /// The source's end as last heard: the high watermark, or the last stable offset under
    /// `read_committed`. `None` before the source has answered.
    pub source_end: Option<Offset>,
    /// The source's end when this process first looked.
    pub source_end_at_start: Option<Offset>,
    /// Records acknowledged in this process.
    pub records: u64,
    /// Bytes of record batches acknowledged in this process, as they are stored.
    pub bytes: u64,
    /// Source batches that could not pass as they were.
    pub transcoded_batches: u64,
    /// Batches that were made of several small ones of the source.
    pub merged_batches: u64,
    /// What was done about topics created anew, cut, overtaken or lost.
    pub life: LifeCounts,
}

impl LaneStatus {
    /// Offsets of the source that are not copied yet. An upper bound of records: control batches and
    /// compaction take offsets too.
    pub fn lag(&self) -> Option<u64> {
        self.source_end.map(|end| u64::try_from(end.0 - self.next_source.0).unwrap_or(0))
    }

    /// Whether everything that was at the source when this process first looked is at the destination.
    pub fn has_reached_start_end(&self) -> bool {
        self.source_end_at_start.is_some_and(|end| self.next_source >= end)
    }
}

/// Where a lane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneState {
    /// Finding out where the copy stands.
    Opening,
    /// The first batch since the opening is on its way, alone, or nothing was there to send yet.
    Probing,
    /// Copying, several batches at a time.
    Flowing,
    /// Copying records so old that the destination may forget the sequence: one batch at a time.
    Aged,
    /// Standing still for a reason, which `trouble` names.
    Blocked,
    /// No longer wanted: what is under way is awaited.
    Draining,
}

impl LaneState {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LaneState::Opening => "opening",
            LaneState::Probing => "probing",
            LaneState::Flowing => "flowing",
            LaneState::Aged => "aged",
            LaneState::Blocked => "blocked",
            LaneState::Draining => "draining",
        }
    }
}

impl std::fmt::Display for LaneState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
