//! Why a lane does not move: a value an operator can read, and the one place that says how long to wait.

use std::fmt;

use client::{CallError, Class, ErrorCode, classify};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId};

/// The reason a lane stands still or has stopped, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each reason is documented; its numbers are the ones its text shows")]
pub enum Trouble {
    /// The source or the destination has no leader for the partition, or cannot be reached.
    NoLeader(Side),
    /// The connection to a broker was lost or could not be made.
    Connection(Side, String),
    /// A broker answered with an error that passes.
    Passing(Side, &'static str, ErrorCode),
    /// A broker refuses the call and an operator must change something.
    Refused(Side, &'static str, ErrorCode, Option<String>),
    /// Records were deleted at the source before they were copied.
    SourceOvertaken { position: Offset, log_start: Offset },
    /// The source's log ends before the position: it was truncated, or the topic was recreated.
    SourceTruncated { position: Offset, end: Offset, epoch: LeaderEpoch },
    /// The source's topic is another one than the one copied so far.
    SourceRecreated { position: Offset, log_start: Offset, end: Offset },
    /// The source's topic was created anew, and records that came to the destination since the stored position may be
    /// of either.
    RestartUnclear { records: i64 },
    /// The destination's topic is another one than the one copied to so far.
    DestinationRecreated { expected: Offset, records: i64 },
    /// The topic was created anew, and what is to be copied to where is not known yet.
    TopicReplaced(Side),
    /// The destination lost records it had acknowledged.
    DestinationLost { expected: Offset, latest: Offset, records: i64 },
    /// The destination has not all that a share of a partition has appended.
    ShareLost { from: Offset, latest: Offset },
    /// The progress is of a copy that spreads partitions, or that does not, and `topic.preserve.partitions` says otherwise.
    SpreadChanged { was_spread: bool },
    /// The destination has our last batch, and not all of those before it.
    DestinationHole { expected: Offset, latest: Offset },
    /// The destination refuses the sequence that follows what its log shows.
    SequenceRefused { sequence: i32 },
    /// Our last batch was not found between the position and the end.
    TailTooFar { from: Offset, latest: Offset },
    /// Our last batches, whose number is not known, may be among the records the destination has deleted.
    TailDeleted { from: Offset, log_start: Offset },
    /// The destination has records of the flow, our progress does not know the partition, and comparing records
    /// does not tell where the source goes on.
    ProgressLost { sequence: i32, why: Unfound },
    /// Records were copied after the stored position, and the source no longer has all of them: what is left does not
    /// tell where it goes on.
    PositionUnknown { records: i64, why: &'static str },
    /// Records are to be counted that were selected by other settings.
    SelectionChanged,
    /// The source's records after the position are not those the destination has.
    SourceChanged { at: Offset },
    /// A batch that cannot be copied.
    Unreadable { at: Offset, why: String },
    /// The destination refuses the content of a batch.
    BatchRefused { at: Offset, bytes: usize, error: ErrorCode, message: Option<String> },
    /// Somebody raised the epoch of the flow's producer id.
    Fenced,
    /// The partition has records of somebody else under the flow's producer id: the cluster gave it out twice.
    ProducerTaken { producer_id: ProducerId, epoch: i16, ours: i16 },
    /// Another process copies this flow: records of it came to the destination that this one has not sent.
    SecondWriter { records: i64 },
    /// The time is over for which this process may write.
    LeaseOver,
    /// The stored progress was made with another destination cluster.
    OtherDestination { stored: String, present: String },
    /// Nothing is known of earlier copying, and the destination partition has records, or had some.
    DestinationNotEmpty { records: i64, deleted: i64, writer: Option<(ProducerId, i16)> },
    /// The destination's leader has records that its followers have not.
    NotReplicated,
    /// Only time tells whether something sent is still on its way to the replicas.
    OutcomeUnknown,
    /// One record is larger than the destination topic takes.
    RecordTooLarge { at: Offset, bytes: usize, limit_bytes: usize },
    /// A broker left the partition out of its answer.
    Unanswered(Side, &'static str),
    /// A broker has not answered for so many seconds, and is not given up yet.
    NoAnswer(Side, BrokerId, u64),
    /// Progress cannot be written.
    Store(String),
    /// Progress is another process's now: this one may not go on.
    StoreTaken(String),
}

/// What to grant where `error` says that a user lacks a right for `call`; `None` if it says something else.
///
/// Source: Kafka's documentation, "Protocols and ACLs".
fn lacking(side: Side, call: &str, error: ErrorCode) -> Option<&'static str> {
    Some(match error {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => match (side, call) {
            (Side::Destination, "Produce") => {
                "give the destination's user WRITE on this topic; the lane goes on by itself"
            }
            (Side::Destination, _) => {
                "give the destination's user READ on this topic; the lane goes on by itself"
            }
            (Side::Source, _) => "give the source's user READ on this topic; the lane goes on by itself",
        },
        ErrorCode::GROUP_AUTHORIZATION_FAILED => {
            "give the source's user READ on the group that src.consumer.group.id names, or else the connector's name; it \
             goes on by itself"
        }
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            "give the destination's user IDEMPOTENT_WRITE on the cluster (from Kafka 2.8 on WRITE on a topic is enough); it \
             goes on by itself"
        }
        _ => return None,
    })
}

/// Why the copy's last records do not tell where the source goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfound {
    /// None of them is among the destination's last records.
    NotAtDestination,
    /// The source has no such records in a row, whatever the reason.
    NotAtSource,
    /// The source has the same records in a row more than once.
    Ambiguous,
}

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Where records are read.
    Source,
    /// Where they are written.
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Destination => "destination",
        })
    }
}

impl Trouble {
    /// What a failed call to `side` means.
    pub(crate) fn from_call(side: Side, call: &'static str, error: &CallError) -> Trouble {
        match error.error_code() {
            Some(code) => match classify(code) {
                Class::OperatorNeeded | Class::Fatal => Trouble::Refused(side, call, code, None),
                Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => {
                    Trouble::Passing(side, call, code)
                }
            },
            None => Trouble::Connection(side, chain(error)),
        }
    }

    /// Whether it concerns reading only: the next record read from the source ends it.
    pub(crate) fn is_about_reading(&self) -> bool {
        matches!(
            self,
            Trouble::NoLeader(Side::Source)
                | Trouble::Connection(Side::Source, _)
                | Trouble::Passing(Side::Source, ..)
                | Trouble::Refused(Side::Source, ..)
        )
    }

    /// Whether it is about the one broker that led the partition on this side, or about there being none.
    pub(crate) fn is_of_leader(&self, side: Side) -> bool {
        match self {
            Trouble::NoLeader(of)
            | Trouble::Connection(of, _)
            | Trouble::Passing(of, ..)
            | Trouble::Unanswered(of, _) => *of == side,
            _ => false,
        }
    }

    /// Whether it is over without anybody's doing: such trouble is tried again soon, the rest at the
    /// longest interval only, since what is wrong is wrong until somebody changes it.
    pub fn passes(&self) -> bool {
        match self {
            Trouble::NoLeader(_) | Trouble::Connection(..) | Trouble::Passing(..) | Trouble::Store(_) => true,
            // Damage on the way is gone when the batch is fetched again.
            Trouble::Unreadable { .. } => true,
            Trouble::NotReplicated | Trouble::OutcomeUnknown => true,
            // The control plane looks at it again before long.
            Trouble::TopicReplaced(_) => true,
            Trouble::Unanswered(..) | Trouble::NoAnswer(..) => true,
            // The other one may be gone soon; each look is safe.
            Trouble::SecondWriter { .. } | Trouble::LeaseOver => true,
            Trouble::Refused(..)
            | Trouble::SourceOvertaken { .. }
            | Trouble::SourceTruncated { .. }
            | Trouble::SourceRecreated { .. }
            | Trouble::RestartUnclear { .. }
            | Trouble::DestinationRecreated { .. }
            | Trouble::DestinationLost { .. }
            | Trouble::ShareLost { .. }
            | Trouble::SpreadChanged { .. }
            | Trouble::DestinationHole { .. }
            | Trouble::SequenceRefused { .. }
            | Trouble::TailTooFar { .. }
            | Trouble::TailDeleted { .. }
            | Trouble::ProgressLost { .. }
            | Trouble::PositionUnknown { .. }
            | Trouble::SelectionChanged
            | Trouble::SourceChanged { .. }
            | Trouble::BatchRefused { .. }
            | Trouble::OtherDestination { .. }
            | Trouble::StoreTaken(_)
            | Trouble::DestinationNotEmpty { .. }
            | Trouble::RecordTooLarge { .. }
            | Trouble::ProducerTaken { .. }
            | Trouble::Fenced => false,
        }
    }

    /// What an operator can do, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Trouble::NoLeader(_)
            | Trouble::Connection(..)
            | Trouble::Passing(..)
            | Trouble::NotReplicated
            | Trouble::OutcomeUnknown
            | Trouble::LeaseOver
            | Trouble::TopicReplaced(_)
            | Trouble::Unanswered(..)
            | Trouble::NoAnswer(..) => return None,
            Trouble::OtherDestination { .. } => {
                "point the worker at the cluster it copied to before, or give this copy another connector name or \
                 another offset.storage.file.filename or offset.storage.topic; if this is the same cluster, restored, say so with `paralog \
                 offsets alter --producer-id`"
            }
            Trouble::DestinationNotEmpty { .. } => {
                "if an earlier run made these copies, restore its offsets file or topic, `paralog offsets import` its export, \
                 or name its producer id with `paralog offsets alter --producer-id`; if you know how far they go, \
                 `paralog offsets alter --to-offset` (or --to-latest); to copy everything behind them, `paralog offsets \
                 alter --to-earliest` or paralog.existing.records=append; to start clean, delete the destination topic"
            }
            Trouble::RecordTooLarge { .. } => {
                "raise max.message.bytes of the destination topic; the lane goes on by itself"
            }
            Trouble::Refused(side, call, error, _) => match lacking(*side, call, *error) {
                Some(hint) => hint,
                None => "lift the limit named; the lane goes on by itself",
            },
            Trouble::SourceOvertaken { .. } => {
                "the records between the two offsets are gone at the source; to go on without them, stop \
                 the worker and `paralog offsets alter --to-earliest` this partition, or set \
                 paralog.on.source.overtaken=skip"
            }
            Trouble::SourceTruncated { .. } | Trouble::SourceChanged { .. } => {
                "compare the two topics; to copy the new content as well, stop the worker and `paralog offsets alter` this \
                 partition, --to-offset where they part, or --to-earliest to copy all of it once more; \
                 paralog.on.source.truncated=skip does the former by itself where the source tells that offset"
            }
            Trouble::SourceRecreated { .. } => {
                "to copy the new topic behind the old one's copy, stop the worker and `paralog offsets alter --to-earliest` \
                 this partition; --to-latest, to copy only what comes from now on; paralog.on.source.recreated=restart or \
                 skip does so by itself where the source's brokers are of Kafka 3.1 or newer"
            }
            Trouble::RestartUnclear { .. } => {
                "compare the two topics' last records, stop the worker and `paralog offsets alter` this partition: \
                 --to-earliest, or --to-offset where the two part, if none of the new log is in the copy"
            }
            Trouble::DestinationRecreated { .. } => {
                "to copy everything into the new topic, see that it is empty and set \
                 paralog.on.destination.recreated=restart; or stop the worker and `paralog offsets reset` this partition"
            }
            Trouble::SpreadChanged { .. } => {
                "set topic.preserve.partitions as it was; or stop the worker and say with `paralog offsets alter` where each \
                 partition of the topic goes on, --to-offset (the destination must have all before it and nothing after)"
            }
            Trouble::DestinationLost { .. }
            | Trouble::ShareLost { .. }
            | Trouble::DestinationHole { .. }
            | Trouble::SequenceRefused { .. } => {
                "the destination lost acknowledged records (unclean election, restored backup); to copy \
                 again, stop the worker, delete the destination topic and `paralog offsets reset` its partitions"
            }
            Trouble::TailTooFar { .. } => {
                "others write to the destination topic; give the copy a topic of its own with topic.rename.format"
            }
            Trouble::TailDeleted { .. } | Trouble::PositionUnknown { .. } => {
                "stop the worker and `paralog offsets alter` this partition --to-offset, the one after the last that \
                 was copied"
            }
            Trouble::ProgressLost { .. } => {
                "restore the offsets file or topic, or `paralog offsets import` an export; if you know how far the copy goes, \
                 `paralog offsets alter --to-offset`; to copy everything once more behind it, `paralog offsets alter \
                 --to-earliest`"
            }
            Trouble::SelectionChanged => {
                "run once with the former isolation.level until caught up, stop cleanly, then change it"
            }
            Trouble::Unreadable { .. } => {
                "check the source's disks; the batch is fetched again from time to time"
            }
            Trouble::BatchRefused { .. } => {
                "change the destination topic so that it takes the batch; the lane goes on by itself"
            }
            Trouble::ProducerTaken { .. } => {
                "the cluster was restored to a time before it gave the id to this connector, or a copy of the progress \
                 is in use elsewhere: stop the other writer; or move the offsets file away, or name another offsets topic, \
                 which gets a new id, and say with `paralog offsets alter` where each partition goes on"
            }
            Trouble::Fenced => "find the program that writes with this flow's producer id and stop it",
            Trouble::SecondWriter { .. } => "stop one of the two; nothing is copied twice meanwhile",
            Trouble::Store(_) => {
                "mend what is named (room, rights, brokers); meanwhile no partition begins, and those that have copy on"
            }
            Trouble::StoreTaken(_) => {
                "stop one of the two processes, and start this one again if it is to copy"
            }
        })
    }
}

/// An error and its sources, as a person reads them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoLeader(side) => write!(f, "the {side} partition has no leader"),
            Trouble::Connection(side, error) => write!(f, "no connection to the {side}: {error}"),
            Trouble::Passing(side, call, error) => write!(f, "the {side} answered {call} with {error}"),
            Trouble::Refused(side, call, error, message) => {
                write!(f, "the {side} refused {call}: {error}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            Trouble::SourceOvertaken { position, log_start } => write!(
                f,
                "the source deleted offsets {position} to {} before they were copied ({} offsets)",
                log_start.0 - 1,
                log_start.0 - position.0
            ),
            Trouble::SourceTruncated { position, end, epoch } => write!(
                f,
                "the source's log is another one from offset {end} on (leader epoch {epoch}), before position {position}: it \
                 was truncated or the topic was recreated"
            ),
            Trouble::SourceRecreated { position, log_start, end } => write!(
                f,
                "the source topic was deleted and created anew: the old one was copied up to offset {position}, the new \
                 one has offsets {log_start} to {end}"
            ),
            Trouble::RestartUnclear { records } => write!(
                f,
                "the source has another log than the one that was copied, and {records} records came to the destination after \
                 the stored progress: whether they are of the old or the new one cannot be told"
            ),
            Trouble::DestinationRecreated { expected, records } => write!(
                f,
                "the destination topic is not the one that was copied to before, up to offset {expected}, and holds \
                 {records} records: it was created anew, or topic.rename.format changed"
            ),
            Trouble::TopicReplaced(side) => {
                write!(f, "the {side} topic was created anew, and is looked at within topic.poll.interval.ms")
            }
            Trouble::DestinationLost { expected, latest, records } => write!(
                f,
                "the destination lost {records} acknowledged records: its log ends at offset {latest}, \
                 {expected} was expected"
            ),
            Trouble::ShareLost { from, latest } => write!(
                f,
                "the destination's log, which ends at offset {latest}, has not all records of the copy from offset {from} on: \
                 it lost some, and what others wrote since stands in their place"
            ),
            Trouble::SpreadChanged { was_spread: true } => f.write_str(
                "so far the topic's records were spread over the destination's partitions, and now they are to keep theirs",
            ),
            Trouble::SpreadChanged { was_spread: false } => f.write_str(
                "so far the topic's records kept their partitions, and now they are to be spread over the destination's",
            ),
            Trouble::SequenceRefused { sequence } => write!(
                f,
                "the destination refuses sequence {sequence}, which follows the copy's last record in its log"
            ),
            Trouble::DestinationHole { expected, latest } => write!(
                f,
                "the destination's log ends at offset {latest} with the copy's last record, which should be at {}: \
                 {} records before it are missing, and nothing can be put in their place",
                expected.0 - 1,
                expected.0 - latest.0
            ),
            Trouble::TailTooFar { from, latest } => write!(
                f,
                "the copy's last batch was not found at the destination between offsets {from} and {latest}"
            ),
            Trouble::TailDeleted { from, log_start } => write!(
                f,
                "the destination has deleted its records from offset {from} to {}, and forgotten how many of them \
                 were copies",
                log_start.0 - 1
            ),
            Trouble::ProgressLost { sequence, why } => {
                write!(
                    f,
                    "the destination holds records of this flow up to sequence {sequence}, the stored progress knows \
                     nothing of the partition, and "
                )?;
                f.write_str(match why {
                    Unfound::NotAtDestination => "none of them is among the last records there",
                    Unfound::NotAtSource => "the source does not have the last of them in this order any more",
                    Unfound::Ambiguous => "the source has the same records as the last of them more than once",
                })
            }
            Trouble::PositionUnknown { records, why } => write!(
                f,
                "{records} records were copied after the stored progress, the source has deleted some of them, and where it \
                 goes on cannot be told: {why}"
            ),
            Trouble::SelectionChanged => f.write_str(
                "records sent by the last run were selected by another isolation.level and cannot be counted by \
                 the present one",
            ),
            Trouble::SourceChanged { at } => write!(
                f,
                "the source's record at offset {at} is not the one that was copied last: the topic was created \
                 anew, or rewritten, since"
            ),
            Trouble::Unreadable { at, why } => write!(f, "the batch at source offset {at} cannot be copied: {why}"),
            Trouble::BatchRefused { at, bytes, error, message } => {
                write!(f, "the destination refused the batch of {bytes} bytes from source offset {at}: {error}")?;
                message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
            Trouble::Fenced => f.write_str("the flow's producer id was fenced by a higher epoch"),
            Trouble::SecondWriter { records } => write!(
                f,
                "another process copies this flow: {records} records came to the destination that this one has \
                 not sent; it stands by"
            ),
            Trouble::LeaseOver => f.write_str("another process may have taken over, this one may not write"),
            Trouble::OtherDestination { stored, present } => write!(
                f,
                "the stored progress belongs to destination cluster {stored}, and this is cluster {present}"
            ),
            Trouble::ProducerTaken { producer_id, epoch, ours } => write!(
                f,
                "the destination partition holds records of somebody else under this flow's producer id {producer_id}: \
                 their epoch is {epoch}, this flow's {ours}"
            ),
            Trouble::DestinationNotEmpty { records, deleted, writer } => {
                match (records, deleted) {
                    (0, _) => write!(f, "the destination partition held {deleted} records, now deleted,")?,
                    _ => write!(f, "the destination partition holds {records} records")?,
                }
                f.write_str(" and nothing is known of an earlier copy")?;
                writer.map_or(Ok(()), |(id, epoch)| {
                    write!(f, "; the last were written under producer id {id}, epoch {epoch}")
                })
            }
            Trouble::NotReplicated => f.write_str("the destination's last records are not replicated yet"),
            Trouble::OutcomeUnknown => f.write_str(
                "the destination may not have finished what was sent before its connection was lost",
            ),
            Trouble::RecordTooLarge { at, bytes, limit_bytes } => write!(
                f,
                "the record at source offset {at} needs {bytes} bytes, the destination topic takes {limit_bytes}"
            ),
            Trouble::Unanswered(side, call) => write!(f, "the {side} left the partition out of its {call} answer"),
            Trouble::NoAnswer(side, broker, seconds) => {
                write!(f, "no answer from {side} broker {broker} for {seconds} s")
            }
            Trouble::Store(error) => write!(f, "progress cannot be stored: {error}"),
            Trouble::StoreTaken(error) => write!(f, "this process copies nothing any more: {error}"),
        }
    }
}
