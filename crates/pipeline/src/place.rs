//! Where a lane stands, from its last known position and what the destination shows. A pure function.
//!
//! The destination is the truth: a position that was stored may be late, and says only from where to
//! count. Sequences count the records sent; the log end counts the records there. Where both can be
//! had they must agree, or the difference is somebody else's records. `LANE.md` ("Opening") is the rule.

use model::Offset;
use offsets::Checkpoint;

use crate::trouble::Trouble;

/// What the destination's leader answered about one partition, on the connection that will be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) producer: ProducerEvidence,
    pub(crate) log_start: Offset,
    /// The high watermark: the offset the next append gets, unless a tail is not replicated yet.
    pub(crate) latest: Offset,
    /// The newest batch of ours between the position and the end, where it was read.
    pub(crate) tail: Option<Tail>,
}

/// What the leader remembers of the flow's producer id in the partition (DescribeProducers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProducerEvidence {
    /// The broker has no such call (before 2.8).
    Unsupported,
    /// It remembers nothing.
    Nothing,
    /// The sequence of the last record appended, replicated or not.
    Last(i32),
}

/// The newest batch of ours in the log's tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Its last record's sequence.
    Ours(i32),
    /// Every batch from the position to the end was read, and none is ours.
    NoneOurs,
    /// The search ended at its bound without an answer.
    TooFar,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// `records` of the source's selected ones after the position are already there, and `foreign`
    /// records of others. Both may be zero.
    Found { records: i64, foreign: i64 },
    /// Ask again, with the tail's batch headers.
    ReadTail,
    /// A tail is not replicated yet: ask again soon.
    LookAgain,
    /// Only time can tell whether a record of unknown outcome is still on its way to the replicas.
    WaitForReplicas,
    /// Nobody here can mend it.
    Blocked(Trouble),
}

/// How many sequences lie from `from` to `to`, both modulo 2^31; negative where `to` is behind.
pub(crate) fn sequence_distance(from: i32, to: i32) -> i64 {
    let ahead = (i64::from(to) - i64::from(from)).rem_euclid(1 << 31);
    if ahead < 1 << 30 { ahead } else { ahead - (1 << 31) }
}

/// The sequence `count` records after `sequence`, modulo 2^31.
pub(crate) fn sequence_after(sequence: i32, count: i64) -> i32 {
    let next = (i64::from(sequence) + count).rem_euclid(1 << 31);
    i32::try_from(next).expect("a remainder modulo 2^31 fits")
}

/// Where a lane whose last known position is `position` stands. `unsettled`: the outcome of something
/// it sent is unknown, and the destination may have forgotten or cannot tell the producer's state.
pub(crate) fn place(position: &Checkpoint, evidence: &Evidence, unsettled: bool) -> Placement {
    if unsettled && !matches!(evidence.producer, ProducerEvidence::Last(_)) {
        // Where the broker does not remember us it takes any sequence, so what we send now and what may
        // still be on its way could both be appended.
        return Placement::WaitForReplicas;
    }
    let appended = evidence.latest.0 - position.destination_end.0;
    let ours = match (evidence.producer, evidence.tail) {
        (ProducerEvidence::Last(last), _) | (_, Some(Tail::Ours(last))) => {
            sequence_distance(position.sequence, sequence_after(last, 1))
        }
        (_, Some(Tail::NoneOurs)) if evidence.log_start > position.destination_end => {
            return Placement::Blocked(tail_deleted(position, evidence));
        }
        (_, Some(Tail::NoneOurs)) => 0,
        (_, Some(Tail::TooFar)) => {
            return Placement::Blocked(Trouble::TailTooFar {
                from: position.destination_end,
                latest: evidence.latest,
            });
        }
        (_, None) if appended > 0 && evidence.log_start >= evidence.latest => {
            return Placement::Blocked(tail_deleted(position, evidence));
        }
        (_, None) if appended > 0 => return Placement::ReadTail,
        (_, None) => appended.min(0),
    };
    if ours < 0 || appended < 0 {
        // A follower that took over may not have caught up with its own high watermark yet; the caller
        // gives it time before it believes this.
        return Placement::Blocked(Trouble::DestinationLost {
            expected: position.destination_end,
            latest: evidence.latest,
            records: (-ours).max(-appended),
        });
    }
    if ours > appended {
        return match (evidence.producer, evidence.tail) {
            // The last one is replicated, so all are: the sequence is right, and the end that was remembered
            // is not.
            (ProducerEvidence::Last(last), Some(Tail::Ours(replicated))) if last == replicated => {
                Placement::Found { records: ours, foreign: 0 }
            }
            _ => Placement::LookAgain,
        };
    }
    Placement::Found { records: ours, foreign: appended - ours }
}

fn tail_deleted(position: &Checkpoint, evidence: &Evidence) -> Trouble {
    Trouble::TailDeleted { from: position.destination_end, log_start: evidence.log_start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProducerEvidence::{Last, Nothing, Unsupported};

    fn at(sequence: i32, destination_end: i64) -> Checkpoint {
        let mut position = crate::lane::first_checkpoint_for_tests();
        position.sequence = sequence;
        position.destination_end = Offset(destination_end);
        position
    }

    fn seen(producer: ProducerEvidence, latest: i64, tail: Option<Tail>) -> Evidence {
        Evidence { producer, log_start: Offset(0), latest: Offset(latest), tail }
    }

    #[test]
    fn the_destination_says_how_far_the_copy_is() {
        let found = |records, foreign| Placement::Found { records, foreign };
        let cases = [
            // Nothing was sent since.
            (at(100, 50), seen(Last(99), 50, None), false, found(0, 0)),
            // 20 records were appended since; both counts agree.
            (at(100, 50), seen(Last(119), 70, None), false, found(20, 0)),
            // Two of the 22 are somebody else's.
            (at(100, 50), seen(Last(119), 72, None), false, found(20, 2)),
            // The leader has appended them, its followers have not.
            (at(100, 50), seen(Last(119), 60, None), false, Placement::LookAgain),
            // And they never will be: the remembered end was wrong.
            (at(100, 50), seen(Last(119), 60, Some(Tail::Ours(119))), false, found(20, 0)),
            (at(100, 50), seen(Last(119), 60, Some(Tail::Ours(109))), false, Placement::LookAgain),
            // Nothing there, nothing expected.
            (at(0, 0), seen(Nothing, 0, None), false, found(0, 0)),
            // The state was forgotten, the log has moved: the tail's headers tell.
            (at(100, 50), seen(Nothing, 70, None), false, Placement::ReadTail),
            (at(100, 50), seen(Nothing, 70, Some(Tail::Ours(119))), false, found(20, 0)),
            (at(100, 50), seen(Nothing, 70, Some(Tail::NoneOurs)), false, found(0, 20)),
            // A broker that cannot be asked, and a record whose outcome is unknown.
            (at(100, 50), seen(Unsupported, 50, None), true, Placement::WaitForReplicas),
            (at(100, 50), seen(Unsupported, 50, None), false, found(0, 0)),
            (at(100, 50), seen(Unsupported, 70, Some(Tail::Ours(119))), true, Placement::WaitForReplicas),
            (at(100, 50), seen(Nothing, 70, None), true, Placement::WaitForReplicas),
            (at(100, 50), seen(Unsupported, 70, Some(Tail::Ours(119))), false, found(20, 0)),
            // Remembered: whatever is late is refused or recognised.
            (at(100, 50), seen(Last(119), 70, None), true, found(20, 0)),
            // Across the wrap of the sequence.
            (at(i32::MAX - 4, 50), seen(Last(4), 60, None), false, found(10, 0)),
        ];
        for (position, evidence, unsettled, expected) in cases {
            assert_eq!(place(&position, &evidence, unsettled), expected, "{position:?} {evidence:?}");
        }
    }

    #[test]
    fn a_destination_that_lost_acknowledged_records_blocks_the_lane_with_the_numbers() {
        for evidence in [seen(Last(89), 40, None), seen(Nothing, 40, None), seen(Unsupported, 40, None)] {
            let Placement::Blocked(Trouble::DestinationLost { expected, latest, records }) =
                place(&at(100, 50), &evidence, false)
            else {
                panic!("{evidence:?} must block");
            };
            assert_eq!((expected, latest, records), (Offset(50), Offset(40), 10));
        }
    }

    #[test]
    fn copies_that_may_have_been_deleted_before_they_were_counted_block_the_lane() {
        let lost = |log_start| Trouble::TailDeleted { from: Offset(50), log_start: Offset(log_start) };
        for (log_start, tail) in [(70, None), (60, Some(Tail::NoneOurs))] {
            let evidence = Evidence { log_start: Offset(log_start), ..seen(Nothing, 70, tail) };
            assert_eq!(place(&at(100, 50), &evidence, false), Placement::Blocked(lost(log_start)));
        }
        let newest_left = Evidence { log_start: Offset(60), ..seen(Nothing, 70, Some(Tail::Ours(119))) };
        assert_eq!(place(&at(100, 50), &newest_left, false), Placement::Found { records: 20, foreign: 0 });
    }

    #[test]
    fn sequences_wrap_after_the_largest() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
        assert_eq!(sequence_distance(i32::MAX, 0), 1);
        assert_eq!(sequence_distance(0, i32::MAX), -1);
        assert_eq!(sequence_distance(7, 7), 0);
    }
}
