//! What becomes of a lane whose topic is not what it was: the event, what an operator said about it, and what follows.
//! Pure.
//!
//! Nothing that makes the copy other than its source is done without a word: a lane stops, unless it is told to go on.
//! Where it goes on at another position, that is stored before anything is sent from there, behind everything that was
//! sent before: so *the same sequences are the same records* all the same.

use model::{LeaderEpoch, Offset, TopicId};

use crate::trouble::Trouble;

/// What to do where a topic was deleted and created anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recreated {
    /// Stop the partition.
    Stop,
    /// Copy what the source has from its first record on: of a new source topic behind the old one's copy, to a new
    /// destination topic from its start.
    Restart,
    /// Copy only what comes from now on.
    Skip,
}

/// What to do where records are missing at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Stop the partition.
    Stop,
    /// Go on without them.
    Skip,
}

/// What an operator wants to be done about what happens to topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// The source topic was created anew: `paralog.on.source.recreated`. Brokers that are asked by name (before 3.1) may have
    /// given records of the new topic for those of the old one, at a position that had nothing to compare, and a restart
    /// would copy those twice (simulated): there a lane stops whatever is said here.
    pub source_recreated: Recreated,
    /// The source deleted records before they were copied: `paralog.on.source.overtaken`.
    pub source_overtaken: Missing,
    /// The source lost records that were copied: `paralog.on.source.truncated`. To go on where it has others now takes the
    /// very offset, which its brokers must tell: otherwise a lane stops whatever is said here.
    pub source_truncated: Missing,
    /// The destination topic was created anew: `paralog.on.destination.recreated`.
    pub destination_recreated: Recreated,
}

impl Default for Policies {
    /// What loses nothing in silence. Copying again into a new, empty destination topic makes the same copy.
    fn default() -> Policies {
        Policies {
            source_recreated: Recreated::Stop,
            source_overtaken: Missing::Stop,
            source_truncated: Missing::Stop,
            destination_recreated: Recreated::Restart,
        }
    }
}

/// What was done about such events in this process, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeCounts {
    /// Times that the copy began anew, or went on elsewhere, with a topic created anew.
    pub begun_anew: u64,
    /// Source offsets that were passed over without being copied: deleted before, or left out on an operator's word.
    pub offsets_skipped: u64,
    /// Source offsets that were copied and that the source lost: their records stay in the copy.
    pub source_offsets_gone: u64,
    /// Acknowledged records that the destination lost, and that were sent again.
    pub records_resent: u64,
    /// Destination offsets that went with a destination topic. What the source still has of them is sent again, unless
    /// an operator said otherwise.
    pub destination_offsets_gone: u64,
}

impl std::ops::AddAssign for LifeCounts {
    fn add_assign(&mut self, other: LifeCounts) {
        self.begun_anew += other.begun_anew;
        self.offsets_skipped += other.offsets_skipped;
        self.source_offsets_gone += other.source_offsets_gone;
        self.records_resent += other.records_resent;
        self.destination_offsets_gone += other.destination_offsets_gone;
    }
}

/// What happened to a lane's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeEvent {
    /// The source topic is another one.
    SourceRecreated,
    /// The source's log begins behind the position.
    SourceOvertaken,
    /// The source's log is the copied one up to `cut` at most; the batch before that is of leader epoch `epoch`.
    /// `at`: a batch there was read that is not the one of before. `is_exact`: it is the copied log up to `cut` indeed.
    SourceTruncated { cut: Offset, epoch: LeaderEpoch, at: Option<Offset>, is_exact: bool },
    /// The destination topic is another one, and holds so many records.
    DestinationRecreated { records: i64 },
}

/// The numbers of a lane that a reaction depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The next offset of the source, by what was copied.
    pub(crate) position: Offset,
    /// The source's log, from its first offset to its end.
    pub(crate) source: (Offset, Offset),
    /// Where the copy ends.
    pub(crate) destination_end: Offset,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Stand still, for this reason.
    Stop(Trouble),
    /// Go on at another position.
    Move(Move),
}

/// Another position of a lane, to be stored before anything is sent from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// What it is because of.
    pub(crate) event: LifeEvent,
    /// The source offset to read next.
    pub(crate) next_source: Offset,
    /// Why the lane would stand still instead.
    pub(crate) trouble: Trouble,
    /// What it adds to the counts.
    pub(crate) counts: LifeCounts,
    /// A word for the log on where the copy goes on.
    pub(crate) goes_on: &'static str,
}

/// What follows from `event`.
pub(crate) fn react(event: LifeEvent, policies: &Policies, facts: &Facts) -> Reaction {
    let Facts { position, source: (log_start, end), destination_end } = *facts;
    let trouble = trouble(event, facts);
    let counts = LifeCounts::default();
    let (next_source, counts, goes_on) = match event {
        LifeEvent::SourceRecreated => match policies.source_recreated {
            Recreated::Stop => return Reaction::Stop(trouble),
            Recreated::Restart => {
                let counts = LifeCounts { begun_anew: 1, ..counts };
                (
                    log_start,
                    counts,
                    "the new topic is copied from its first record, behind the old one's copy",
                )
            }
            Recreated::Skip => {
                let counts =
                    LifeCounts { begun_anew: 1, offsets_skipped: distance(log_start, end), ..counts };
                (end, counts, "what the new topic has by now is not copied, what comes is")
            }
        },
        LifeEvent::SourceOvertaken => match policies.source_overtaken {
            Missing::Stop => return Reaction::Stop(trouble),
            Missing::Skip => {
                let counts = LifeCounts { offsets_skipped: distance(position, log_start), ..counts };
                (log_start, counts, "copying goes on without what was deleted")
            }
        },
        LifeEvent::SourceTruncated { cut, is_exact: true, .. }
            if policies.source_truncated == Missing::Skip =>
        {
            let counts = LifeCounts { source_offsets_gone: distance(cut, position), ..counts };
            (
                cut,
                counts,
                "copying goes on with what the source has there now; what it lost stays in the copy",
            )
        }
        LifeEvent::SourceTruncated { .. } => return Reaction::Stop(trouble),
        // What is there already may be copies, or a late batch of before: nothing is made of it.
        LifeEvent::DestinationRecreated { records } if records > 0 => return Reaction::Stop(trouble),
        LifeEvent::DestinationRecreated { .. } => {
            let gone = LifeCounts {
                begun_anew: 1,
                destination_offsets_gone: distance(Offset(0), destination_end),
                ..counts
            };
            match policies.destination_recreated {
                Recreated::Stop => return Reaction::Stop(trouble),
                Recreated::Restart => {
                    (log_start, gone, "everything that the source still has is copied again")
                }
                Recreated::Skip => (position, gone, "what was copied before is not copied again"),
            }
        }
    };
    Reaction::Move(Move { event, next_source, trouble, counts, goes_on })
}

/// What an operator reads of `event`.
fn trouble(event: LifeEvent, facts: &Facts) -> Trouble {
    let Facts { position, source: (log_start, end), destination_end } = *facts;
    match event {
        LifeEvent::SourceRecreated => Trouble::SourceRecreated { position, log_start, end },
        LifeEvent::SourceOvertaken => Trouble::SourceOvertaken { position, log_start },
        LifeEvent::SourceTruncated { at: Some(at), .. } => Trouble::SourceChanged { at },
        LifeEvent::SourceTruncated { cut, epoch, at: None, .. } => {
            Trouble::SourceTruncated { position, end: cut, epoch }
        }
        LifeEvent::DestinationRecreated { records } => {
            Trouble::DestinationRecreated { expected: destination_end, records }
        }
    }
}

fn distance(from: Offset, to: Offset) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}

/// The source's log is not the one that was copied. Whether its topic was created anew, by the topic's ids, copied and
/// present, or without them by the leader epochs, of the last batch copied and present: a log is cut only by another
/// leader, whose epoch is higher (KIP-101); a new topic begins with epoch 0. Where nothing tells, it was cut.
pub(crate) fn is_created_anew(
    ids: (Option<TopicId>, Option<TopicId>),
    epochs: (LeaderEpoch, LeaderEpoch),
) -> bool {
    match (ids, epochs) {
        ((Some(copied), Some(present)), _) => copied != present,
        (_, (copied, present)) if copied == LeaderEpoch::UNKNOWN || present == LeaderEpoch::UNKNOWN => false,
        (_, (copied, present)) => present <= copied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts =
        Facts { position: Offset(100), source: (Offset(3), Offset(40)), destination_end: Offset(90) };

    fn policies(recreated: Recreated, missing: Missing) -> Policies {
        Policies {
            source_recreated: recreated,
            source_overtaken: missing,
            source_truncated: missing,
            destination_recreated: recreated,
        }
    }

    /// Where it goes on and what is counted.
    fn moved(event: LifeEvent, recreated: Recreated, missing: Missing) -> Option<(i64, LifeCounts)> {
        match react(event, &policies(recreated, missing), &FACTS) {
            Reaction::Stop(_) => None,
            Reaction::Move(it) => Some((it.next_source.0, it.counts)),
        }
    }

    #[test]
    fn each_event_is_treated_as_the_operator_says() {
        let none = LifeCounts::default();
        let anew = LifeCounts { begun_anew: 1, ..none };
        let truncated = |is_exact| LifeEvent::SourceTruncated {
            cut: Offset(40),
            epoch: LeaderEpoch(2),
            at: None,
            is_exact,
        };
        let lost = LifeCounts { source_offsets_gone: 60, ..none };
        let emptied = LifeEvent::DestinationRecreated { records: 0 };
        let gone = LifeCounts { destination_offsets_gone: 90, ..anew };
        let skipped = LifeCounts { offsets_skipped: 37, ..anew };
        let cases = [
            (LifeEvent::SourceRecreated, Some((3, anew)), Some((40, skipped))),
            (emptied, Some((3, gone)), Some((100, gone))),
            (LifeEvent::DestinationRecreated { records: 1 }, None, None),
            // Where it was cut may show too late, and nothing may be copied twice.
            (truncated(false), None, None),
            (truncated(true), Some((40, lost)), Some((40, lost))),
        ];
        for (event, restart, skip) in cases {
            assert_eq!(moved(event, Recreated::Stop, Missing::Stop), None, "{event:?}");
            assert_eq!(moved(event, Recreated::Restart, Missing::Skip), restart, "{event:?}");
            assert_eq!(moved(event, Recreated::Skip, Missing::Skip), skip, "{event:?}");
        }
    }

    #[test]
    fn what_retention_took_is_counted() {
        let facts = Facts { source: (Offset(130), Offset(150)), ..FACTS };
        let skip = policies(Recreated::Stop, Missing::Skip);
        let Reaction::Move(to) = react(LifeEvent::SourceOvertaken, &skip, &facts) else { panic!("goes on") };
        assert_eq!((to.next_source, to.counts.offsets_skipped), (Offset(130), 30));
        let stops = react(LifeEvent::SourceOvertaken, &Policies::default(), &facts);
        let overtaken = Trouble::SourceOvertaken { position: Offset(100), log_start: Offset(130) };
        assert_eq!(stops, Reaction::Stop(overtaken));
    }

    #[test]
    fn a_log_is_cut_by_another_leader_and_a_new_topic_begins_with_the_first() {
        let id = |n| Some(TopicId([n; 16]));
        let epoch = LeaderEpoch;
        let cases = [
            ((id(1), id(2)), (epoch(3), epoch(9)), true),
            ((id(1), id(1)), (epoch(3), epoch(0)), false),
            ((None, id(1)), (epoch(3), epoch(0)), true),
            ((None, None), (epoch(0), epoch(0)), true),
            ((None, None), (epoch(3), epoch(4)), false),
            ((None, None), (epoch(3), LeaderEpoch::UNKNOWN), false),
            ((None, None), (LeaderEpoch::UNKNOWN, epoch(0)), false),
        ];
        for (ids, epochs, anew) in cases {
            assert_eq!(is_created_anew(ids, epochs), anew, "{ids:?} {epochs:?}");
        }
    }
}
