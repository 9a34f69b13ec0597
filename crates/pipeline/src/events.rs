//! What the engine is told and what it asks for: the whole seam between deciding and acting.
//!
//! Every [`Action`] that waits for an answer is answered by exactly one [`Event`]. Answers about a lane
//! carry the [`LaneKey`] they were asked for; those to an earlier opening are ignored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{CallError, FetchPartition, FetchReply, ProduceBatch, ProduceReply};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, Routes, TopicId, TopicName, TopicPartition};
use offsets::{Producer, Stored};
use record_batch::{BatchError, Entry, Piece, Transcode};

use crate::budget::Charge;
use crate::contents::Contents;
use crate::place::{Evidence, Tail, TailFrom};
use crate::store::StoreError;
use crate::trouble::{Side, Trouble};

/// The time, handed to the engine with each event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Monotonic: for waits and deadlines.
    pub(crate) instant: Instant,
    /// The wall clock, milliseconds since 1970: only to compare with the records' own timestamps.
    pub(crate) wall_ms: i64,
}

/// A lane's number, never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(pub(crate) u64);

/// A lane at one opening of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneKey {
    pub(crate) id: LaneId,
    pub(crate) opening: u64,
}

/// One connection to a destination broker, never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// One produce request, never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// A producer id and its epoch.
pub(crate) type ProducerKey = (ProducerId, i16);

/// What came of one transcoding for a lane: under which ticket, and its pieces.
pub(crate) type TranscodedFor = (LaneKey, u64, Result<Vec<Piece>, BatchError>);

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) broker: BrokerId,
    pub(crate) epoch: LeaderEpoch,
    /// Of which topic, where the cluster has ids (2.8).
    pub(crate) topic_id: Option<TopicId>,
}

/// What the source's leader says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceEvidence {
    pub(crate) log_start: Offset,
    /// The high watermark, or the last stable offset under read_committed.
    pub(crate) end: Offset,
    /// The high watermark: behind it there is nothing, whatever the isolation.
    pub(crate) high_watermark: Offset,
    /// The next offset by the source group's commit, where it was asked for and there is one.
    pub(crate) committed: Option<Offset>,
    /// The broker is asked for records by their topic's id (from 3.1 on), and never gives those of another topic of
    /// the same name.
    pub(crate) by_id: bool,
    /// The largest leader epoch up to the position's that the log has, and where that ended: where it is the very same,
    /// the log is the copied one up to there, and no further. None where nobody wants to know, or the broker is older
    /// than 2.7 and would not tell later either, when it is read.
    pub(crate) epoch_end: Option<(LeaderEpoch, Offset)>,
}

/// Why a produce request has no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    /// None where the connection was gone before, and nothing left this process.
    pub(crate) trouble: Option<Trouble>,
    /// The request may have reached the broker.
    pub(crate) maybe_written: bool,
}

impl SendError {
    /// The connection that it was meant for is gone.
    pub(crate) const NO_CONNECTION: SendError = SendError { trouble: None, maybe_written: false };
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    Routes(Arc<Routes>),
    ProducerAllocated(Result<Producer, CallError>),
    /// Partitions that the answer leaves out have no leader.
    Leaders {
        side: Side,
        answer: Result<Vec<(TopicPartition, Leader)>, CallError>,
    },
    SourceLooked {
        broker: BrokerId,
        lanes: Vec<(LaneKey, Result<SourceEvidence, Trouble>)>,
    },
    DestinationLooked {
        broker: BrokerId,
        /// The connection that will be used, made before the look.
        connection: Option<ConnectionId>,
        lanes: Vec<(LaneKey, Result<Evidence, Trouble>)>,
    },
    TailRead {
        lane: LaneKey,
        evidence: Evidence,
        tail: Result<Tail, Trouble>,
    },
    /// The flow's records at the destination after the lane's checkpoint.
    ContentsRead {
        lane: LaneKey,
        evidence: Evidence,
        contents: Result<Contents, Trouble>,
    },
    Fetched {
        broker: BrokerId,
        reply: Result<FetchReply, CallError>,
    },
    Transcoded {
        lane: LaneKey,
        ticket: u64,
        pieces: Result<Vec<Piece>, BatchError>,
    },
    /// One answer for each that was asked for.
    TranscodedShares(Vec<TranscodedFor>),
    Produced {
        request: RequestId,
        reply: Result<ProduceReply, SendError>,
    },
    Saved(Result<(), StoreError>),
    /// This process may write until then.
    Lease(Instant),
    Stop,
    /// The time asked for by `Engine::timeout` has come.
    Timer,
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Action {
    AllocateProducer,
    FindLeaders {
        side: Side,
        topics: Vec<TopicName>,
        after: Duration,
    },
    /// Several lanes may be about one partition.
    LookAtSource {
        broker: BrokerId,
        lanes: Vec<(LaneKey, TopicPartition)>,
        /// The leader epochs of positions whose ends are wanted.
        epochs: Vec<(TopicPartition, LeaderEpoch)>,
    },
    /// Each with the producer that it is about: several may be about one partition.
    LookAtDestination {
        broker: BrokerId,
        lanes: Vec<(LaneKey, TopicPartition, ProducerKey)>,
    },
    ReadTail {
        lane: LaneKey,
        broker: BrokerId,
        partition: TopicPartition,
        producer: ProducerKey,
        what: TailFrom,
        evidence: Evidence,
    },
    /// The flow's records at the destination from `from` on, up to the end that `evidence` names. `timed`: their times
    /// are those of the source.
    ReadContents {
        lane: LaneKey,
        broker: BrokerId,
        partition: TopicPartition,
        producer: ProducerKey,
        from: Offset,
        evidence: Evidence,
        timed: bool,
    },
    Fetch {
        broker: BrokerId,
        wanted: Vec<FetchPartition>,
        bytes_max: usize,
        wait_max: Duration,
    },
    Transcode {
        lane: LaneKey,
        ticket: u64,
        entry: Entry,
        how: Transcode,
        charge: Charge,
    },
    /// Answered by [`Event::Transcoded`].
    Merge {
        lane: LaneKey,
        ticket: u64,
        pieces: Vec<Piece>,
        batch_bytes_max: usize,
        charge: Charge,
    },
    /// The same for several shares of one batch.
    TranscodeShares {
        entry: Entry,
        shares: Vec<(LaneKey, u64, Transcode)>,
        charge: Charge,
    },
    Send {
        broker: BrokerId,
        connection: ConnectionId,
        request: RequestId,
        batches: Vec<ProduceBatch>,
        /// What was decided is old after that, and another process may write: checked again when the bytes leave.
        not_after: Instant,
    },
    /// Closes a connection for writing: what was sent on it gets no answer, and counts as perhaps written.
    Disconnect {
        broker: BrokerId,
        connection: ConnectionId,
    },
    Save {
        changes: Stored,
        /// Another process may write after that.
        not_after: Option<Instant>,
    },
}
