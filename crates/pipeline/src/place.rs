//! Where a lane stands, from its last known position and what the destination shows. A pure function.
//!
//! The destination is the truth: a position that was stored may be late, and says only from where to
//! count. Sequences count the records sent; the log end counts the records there. Where both can be
//! had they must agree, or the difference is somebody else's records. `LANE.md` ("Opening") is the rule.

use model::{Offset, ProducerId};
use offsets::Checkpoint;
use record_batch::Header;

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
    /// Of a share: the last sequence of ours, and the offset after it. All from the last acknowledged record on were seen,
    /// and follow each other where that can be told.
    Share { last: i32, end: Offset },
    /// Of a share: the last acknowledged record is not where it was, or some of those after it are missing.
    Broken,
}

/// What of a destination's tail is read, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailFrom {
    /// Where the search begins.
    pub(crate) from: Offset,
    /// Where it goes on behind what begins there: nothing between is ours.
    pub(crate) resume: Offset,
    pub(crate) ours: TailOurs,
}

/// Which of our batches in the tail count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailOurs {
    /// The newest: the log's length tells whether any is missing.
    Newest,
    /// All of them: others' fill the log as well. Cleaning may have taken some.
    All,
    /// All of them, and each must follow the one before; the first one must have this sequence, where it is known.
    Unbroken(Option<i32>),
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
    /// The destination lost the last `records` of those acknowledged: go back to before them and place again.
    /// `remembered`: the leader remembers us, so that a mistake in this would be refused.
    StepBack { records: i64, remembered: bool },
    /// Only time can tell whether a record of unknown outcome is still on its way to the replicas.
    WaitForReplicas,
    /// Nobody here can mend it.
    Blocked(Trouble),
}

/// Two sequences that are closer than this tell which of them comes first.
const SEQUENCES_TOLD_APART: i64 = 1 << 30;

/// How many sequences lie from `from` to `to`, both modulo 2^31; negative where `to` is behind.
pub(crate) fn sequence_distance(from: i32, to: i32) -> i64 {
    let ahead = (i64::from(to) - i64::from(from)).rem_euclid(1 << 31);
    if ahead < SEQUENCES_TOLD_APART { ahead } else { ahead - (1 << 31) }
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
    let last = match (evidence.producer, evidence.tail) {
        (ProducerEvidence::Last(last), _) | (_, Some(Tail::Ours(last))) => last,
        (_, tail) => return place_by_log_end(position, evidence, tail, appended),
    };
    if appended >= SEQUENCES_TOLD_APART {
        return place_far_behind(position, evidence, last);
    }
    let ours = sequence_distance(position.sequence, sequence_after(last, 1));
    if ours < 0 {
        return place_before(position, evidence, -ours);
    }
    if ours > appended {
        return look_again_or_hole(position, evidence, ours);
    }
    match (evidence.producer, evidence.tail) {
        // What others wrote is replicated, and makes up for ours that is not.
        (ProducerEvidence::Last(last), Some(Tail::Ours(replicated))) if last != replicated => {
            Placement::LookAgain
        }
        (ProducerEvidence::Last(_), Some(Tail::NoneOurs))
            if ours > 0 && evidence.log_start <= position.destination_end =>
        {
            Placement::LookAgain
        }
        _ => Placement::Found { records: ours, foreign: appended - ours },
    }
}

/// So many records after the position that a sequence, which is counted modulo 2^31, no longer says how many: the log
/// does, where all of them are ours.
fn place_far_behind(position: &Checkpoint, evidence: &Evidence, last: i32) -> Placement {
    let (from, latest) = (position.destination_end, evidence.latest);
    let appended = latest.0 - from.0;
    if sequence_after(position.sequence, appended) == sequence_after(last, 1) {
        Placement::Found { records: appended, foreign: 0 }
    } else {
        Placement::Blocked(Trouble::TailTooFar { from, latest })
    }
}

/// Whether others' records lie between those that were copied.
pub(crate) fn is_shared(position: &Checkpoint) -> bool {
    let mut end = None;
    position.segments.iter().any(|segment| {
        let before = end.replace(segment.destination.0 + segment.count);
        before.is_some_and(|end| end != segment.destination.0)
    })
}

/// So many offsets of others behind a share's last record are read all the same: should some of them have been lost since,
/// ours may lie there.
const OTHERS_READ_MAX: i64 = 250_000;

/// Where the search for what a share has appended begins: with its last acknowledged record, which must be there.
/// `cleaned`: records may be missing in between without being lost.
pub(crate) fn share_tail_from(position: &Checkpoint, log_start: Offset, cleaned: bool) -> TailFrom {
    let from = tail_from(position);
    let sequence = sequence_after(position.sequence, if from < own_end(position) { -1 } else { 0 });
    let ours = match cleaned {
        true => TailOurs::All,
        false => TailOurs::Unbroken((log_start <= from).then_some(sequence)),
    };
    let from = from.max(log_start);
    let end = position.destination_end;
    let resume = if end.0 - from.0 > OTHERS_READ_MAX { end } else { from };
    TailFrom { from, resume, ours }
}

/// The offset after the last record of ours that is known, or where those begin of which nothing is.
fn own_end(position: &Checkpoint) -> Offset {
    position.segments.end().map_or(position.destination_end, |(_, end)| end)
}

/// Reads through a tail, batch by batch.
#[derive(Debug)]
pub(crate) struct TailScan {
    what: TailFrom,
    producer: ProducerId,
    /// The sequence that the next of ours must have.
    next: Option<i32>,
    last: Option<(i32, Offset)>,
    is_broken: bool,
}

impl TailScan {
    pub(crate) fn new(what: TailFrom, producer: ProducerId) -> TailScan {
        let next = match what.ours {
            TailOurs::Unbroken(first) => first,
            TailOurs::Newest | TailOurs::All => None,
        };
        TailScan { what, producer, next, last: None, is_broken: false }
    }

    /// Takes the next batch.
    pub(crate) fn take(&mut self, header: &Header) {
        let ends_before = header.last_offset() < self.what.from;
        if header.producer_id != self.producer || header.is_control() || ends_before {
            return;
        }
        let begins_before = (self.what.from.0 - header.base_offset.0).max(0);
        let first = sequence_after(header.base_sequence, begins_before);
        let must_follow = matches!(self.what.ours, TailOurs::Unbroken(_));
        self.is_broken |= must_follow && self.next.is_some_and(|next| next != first);
        let last = header.last_sequence();
        self.next = Some(sequence_after(last, 1));
        self.last = Some((last, header.next_offset()));
    }

    /// What was found.
    pub(crate) fn tail(&self) -> Tail {
        match (self.last, self.what.ours) {
            _ if self.is_broken => Tail::Broken,
            (None, _) => Tail::NoneOurs,
            (Some((last, _)), TailOurs::Newest) => Tail::Ours(last),
            (Some((last, end)), _) => Tail::Share { last, end },
        }
    }
}

/// Where a share stands, as [`place`] tells of a lane. Other shares append to its partition all the time, so that the log's
/// length says nothing of this one: its sequences do, those that the leader remembers and those in the log, from the last
/// acknowledged record on.
pub(crate) fn place_share(position: &Checkpoint, evidence: &Evidence, unsettled: bool) -> Placement {
    let remembered = match evidence.producer {
        ProducerEvidence::Last(last) => Some(last),
        ProducerEvidence::Nothing | ProducerEvidence::Unsupported => None,
    };
    if unsettled && remembered.is_none() {
        return Placement::WaitForReplicas;
    }
    let behind = |last: i32| sequence_distance(position.sequence, sequence_after(last, 1));
    let found = |records: i64| {
        let others = evidence.latest.0 - position.destination_end.0 - records;
        // Fewer than none: some of theirs were lost, and ours lie elsewhere than it seems.
        Placement::Found { records, foreign: if others == 0 { 0 } else { others.max(1) } }
    };
    let from = tail_from(position);
    let lost = || Placement::Blocked(Trouble::ShareLost { from, latest: evidence.latest });
    let knows_last = !position.segments.is_empty();
    // Where it was not deleted.
    let last_is_due = knows_last && from < own_end(position) && evidence.log_start <= from;
    let all_deleted = evidence.log_start > position.destination_end;
    match (remembered.map(behind), evidence.tail) {
        (_, Some(Tail::TooFar)) => Placement::Blocked(Trouble::TailTooFar {
            from: position.destination_end,
            latest: evidence.latest,
        }),
        (_, Some(Tail::Broken)) => lost(),
        // Acknowledged is replicated: it is in the log, unless that is shorter.
        (Some(0), _) if !knows_last || evidence.latest >= own_end(position) => found(0),
        (Some(0), None) => Placement::LookAgain,
        (Some(0), Some(_)) => lost(),
        (_, None) if remembered.is_none() && !knows_last && evidence.latest == position.destination_end => {
            found(0)
        }
        (_, None) => Placement::ReadTail,
        (Some(records), Some(Tail::Share { last, .. } | Tail::Ours(last))) if records > 0 => {
            // What is remembered may not be replicated yet.
            if behind(last) == records { found(records) } else { Placement::LookAgain }
        }
        (Some(records), Some(Tail::NoneOurs)) if records > 0 => {
            if last_is_due && evidence.latest >= own_end(position) {
                lost()
            } else if all_deleted && unsettled {
                // Deleted, or not replicated yet: only time tells.
                Placement::WaitForReplicas
            } else if all_deleted {
                found(records)
            } else {
                Placement::LookAgain
            }
        }
        (Some(records), Some(Tail::NoneOurs)) => step_share_back(position, evidence, -records),
        (Some(records), Some(Tail::Share { last, .. } | Tail::Ours(last))) => {
            if behind(last) == records {
                step_share_back(position, evidence, -records)
            } else {
                lost()
            }
        }
        (None, Some(Tail::Share { last, .. } | Tail::Ours(last))) => match behind(last) {
            records if records < 0 => step_share_back(position, evidence, -records),
            records => found(records),
        },
        (None, Some(Tail::NoneOurs)) => {
            // Where nothing else is known, the log was as long as now at least when the last one was appended.
            let end = if position.sequence > 0 || knows_last { own_end(position) } else { Offset(0) };
            if last_is_due || evidence.latest < end {
                lost()
            } else if all_deleted {
                Placement::Blocked(tail_deleted(position, evidence))
            } else {
                found(0)
            }
        }
    }
}

/// The last `lost` of a share's acknowledged records are not there any more.
fn step_share_back(position: &Checkpoint, evidence: &Evidence, lost: i64) -> Placement {
    match position.segments.records_from(evidence.latest) {
        // The log is shorter still than the sequence says.
        Some(gone) if gone > lost => Placement::LookAgain,
        Some(_) => {
            let remembered = matches!(evidence.producer, ProducerEvidence::Last(_));
            Placement::StepBack { records: lost, remembered }
        }
        None => Placement::Blocked(Trouble::ShareLost { from: tail_from(position), latest: evidence.latest }),
    }
}

/// What it means that the leader's memory stays ahead of a log that is empty, so that no tail can tell: records before
/// its last one are missing, or were deleted with it.
pub(crate) fn hole_before_an_empty_end(position: &Checkpoint, evidence: &Evidence) -> Option<Trouble> {
    let ProducerEvidence::Last(last) = evidence.producer else { return None };
    let records = sequence_distance(position.sequence, sequence_after(last, 1));
    let expected = Offset(position.destination_end.0 + records);
    (evidence.latest <= evidence.log_start)
        .then_some(Trouble::DestinationHole { expected, latest: evidence.latest })
}

/// The destination's last record of ours is `lost` records before the position.
fn place_before(position: &Checkpoint, evidence: &Evidence, lost: i64) -> Placement {
    match position.segments.records_from(evidence.latest) {
        // The log is shorter still than the sequence says: its end is not replicated yet, or it has a hole.
        Some(gone) if gone > lost => look_again_or_hole(position, evidence, -lost),
        // The log is not that much shorter: others' records took the place, which the tail must prove.
        Some(gone) if gone < lost && evidence.tail.is_none() && evidence.log_start < evidence.latest => {
            Placement::ReadTail
        }
        Some(gone) if gone < lost && !agree(evidence) => {
            Placement::Blocked(lost_for_good(position, evidence, lost))
        }
        Some(_) => {
            let remembered = matches!(evidence.producer, ProducerEvidence::Last(_));
            Placement::StepBack { records: lost, remembered }
        }
        None => Placement::Blocked(lost_for_good(position, evidence, lost)),
    }
}

/// The leader's memory and the log's tail tell the same last sequence.
fn agree(evidence: &Evidence) -> bool {
    match (evidence.producer, evidence.tail) {
        (ProducerEvidence::Last(last), Some(Tail::Ours(replicated))) => last == replicated,
        (_, Some(Tail::Ours(_))) => true,
        _ => false,
    }
}

/// The sequence, `ours` records after the position, is ahead of the log's end.
fn look_again_or_hole(position: &Checkpoint, evidence: &Evidence, ours: i64) -> Placement {
    match (evidence.producer, evidence.tail) {
        // The newest of ours was sent before the sequence began anew (before 2.5), and cannot be counted from.
        (ProducerEvidence::Unsupported, Some(Tail::Ours(_))) if position.sequence_base > 0 => {
            let records = (position.destination_end.0 - evidence.latest.0).max(0);
            Placement::Blocked(lost_for_good(position, evidence, records))
        }
        // The last one is replicated, so all are, and some of those before it are missing.
        (ProducerEvidence::Last(last), Some(Tail::Ours(replicated))) if last != replicated => {
            Placement::LookAgain
        }
        (_, Some(Tail::Ours(_))) => Placement::Blocked(Trouble::DestinationHole {
            expected: Offset(position.destination_end.0 + ours),
            latest: evidence.latest,
        }),
        _ => Placement::LookAgain,
    }
}

/// Where the search for our newest batch begins: with the last one acknowledged, where it is known, so that its
/// loss shows as well.
pub(crate) fn tail_from(position: &Checkpoint) -> Offset {
    match position.segments.end() {
        // Where the sequence has just begun anew, that batch has a number of the time before.
        Some((_, end)) if position.sequence > 0 => Offset(end.0 - 1),
        _ => position.destination_end,
    }
}

/// Neither the leader nor the tail has told a sequence of ours.
fn place_by_log_end(
    position: &Checkpoint,
    evidence: &Evidence,
    tail: Option<Tail>,
    appended: i64,
) -> Placement {
    let is_empty = evidence.log_start >= evidence.latest;
    match tail {
        Some(Tail::TooFar) => Placement::Blocked(Trouble::TailTooFar {
            from: position.destination_end,
            latest: evidence.latest,
        }),
        Some(_) if appended < 0 => Placement::Blocked(lost_for_good(position, evidence, -appended)),
        Some(_) if evidence.log_start > position.destination_end => {
            Placement::Blocked(tail_deleted(position, evidence))
        }
        // It was read from our last record on, and that is not there: others' records took its place.
        Some(_)
            if tail_from(position) < position.destination_end
                && evidence.log_start <= tail_from(position) =>
        {
            Placement::Blocked(lost_for_good(position, evidence, 1))
        }
        Some(_) => Placement::Found { records: 0, foreign: appended },
        None if appended == 0 => Placement::Found { records: 0, foreign: 0 },
        None if appended > 0 && is_empty => Placement::Blocked(tail_deleted(position, evidence)),
        None if !is_empty => Placement::ReadTail,
        None => match position.segments.records_from(evidence.latest) {
            Some(0) => Placement::Found { records: 0, foreign: 0 },
            Some(records) => Placement::StepBack { records, remembered: false },
            None => Placement::Blocked(lost_for_good(position, evidence, -appended)),
        },
    }
}

fn lost_for_good(position: &Checkpoint, evidence: &Evidence, records: i64) -> Trouble {
    Trouble::DestinationLost { expected: position.destination_end, latest: evidence.latest, records }
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
            // The last one is replicated, and some before it are missing.
            (
                at(100, 50),
                seen(Last(119), 60, Some(Tail::Ours(119))),
                false,
                Placement::Blocked(Trouble::DestinationHole { expected: Offset(70), latest: Offset(60) }),
            ),
            (at(100, 50), seen(Last(119), 60, Some(Tail::Ours(109))), false, Placement::LookAgain),
            // As many are replicated as were appended, but not all of those are ours.
            (at(100, 50), seen(Last(119), 70, Some(Tail::Ours(118))), false, Placement::LookAgain),
            (at(100, 50), seen(Last(100), 51, Some(Tail::NoneOurs)), false, Placement::LookAgain),
            (at(100, 50), seen(Last(119), 71, Some(Tail::Ours(119))), false, found(20, 1)),
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
            // So far behind that the sequence has gone round, and half round: the log tells how far.
            (at(100, 50), seen(Last(104), 55 + (1 << 31), None), false, found(5 + (1 << 31), 0)),
            (at(100, 0), seen(Last(99), 1 << 31, None), false, found(1 << 31, 0)),
            (at(0, 0), seen(Last((1 << 30) + 4), 5 + (1 << 30), None), false, found(5 + (1 << 30), 0)),
            (
                at(100, 50),
                seen(Last(104), 56 + (1 << 31), None),
                false,
                Placement::Blocked(Trouble::TailTooFar { from: Offset(50), latest: Offset(56 + (1 << 31)) }),
            ),
            // Across the wrap of the sequence.
            (at(i32::MAX - 4, 50), seen(Last(4), 60, None), false, found(10, 0)),
        ];
        for (position, evidence, unsettled, expected) in cases {
            assert_eq!(place(&position, &evidence, unsettled), expected, "{position:?} {evidence:?}");
        }
    }

    /// At sequence 100 and offset 50, the last 30 records having come in two runs.
    fn on_the_way() -> Checkpoint {
        let mut position = at(100, 50);
        for (source, destination, count) in [(200, 20, 10), (300, 30, 20)] {
            position.segments.push(offsets::Segment {
                source: Offset(source),
                source_end: Offset(source + count),
                destination: Offset(destination),
                count,
            });
        }
        position
    }

    #[test]
    fn a_destination_that_lost_acknowledged_records_is_followed_back() {
        let back = |records, remembered| Placement::StepBack { records, remembered };
        let cases = [
            (seen(Last(89), 40, None), back(10, true)),
            (seen(Last(74), 25, None), back(25, true)),
            // Those lost, and others' records in their place.
            (seen(Last(89), 55, None), Placement::ReadTail),
            (seen(Last(89), 55, Some(Tail::Ours(89))), back(10, true)),
            // A leader whose memory is older than its log.
            (
                seen(Last(89), 50, Some(Tail::Ours(99))),
                Placement::Blocked(Trouble::DestinationLost {
                    expected: Offset(50),
                    latest: Offset(50),
                    records: 10,
                }),
            ),
            // The end is not replicated yet, or never will be.
            (seen(Last(94), 40, None), Placement::LookAgain),
            (
                seen(Last(94), 40, Some(Tail::Ours(94))),
                Placement::Blocked(Trouble::DestinationHole { expected: Offset(45), latest: Offset(40) }),
            ),
            // Nothing is remembered: the log itself tells.
            (seen(Nothing, 40, None), Placement::ReadTail),
            (seen(Nothing, 40, Some(Tail::Ours(89))), back(10, false)),
            (seen(Unsupported, 40, Some(Tail::Ours(89))), back(10, false)),
        ];
        for (evidence, expected) in cases {
            assert_eq!(place(&on_the_way(), &evidence, false), expected, "{evidence:?}");
        }
        let emptied = Evidence { log_start: Offset(40), ..seen(Nothing, 40, None) };
        assert_eq!(place(&on_the_way(), &emptied, false), back(10, false));
    }

    #[test]
    fn a_loss_that_reaches_further_back_than_is_known_blocks_the_lane_with_the_numbers() {
        let lost = |latest, records| {
            Placement::Blocked(Trouble::DestinationLost {
                expected: Offset(50),
                latest: Offset(latest),
                records,
            })
        };
        assert_eq!(place(&on_the_way(), &seen(Last(64), 15, None), false), lost(15, 35));
        assert_eq!(place(&at(100, 50), &seen(Last(89), 40, None), false), lost(40, 10));
        // The newest record there is not ours, and nobody remembers.
        assert_eq!(place(&on_the_way(), &seen(Nothing, 40, Some(Tail::NoneOurs)), false), lost(40, 10));
        assert_eq!(place(&on_the_way(), &seen(Nothing, 0, None), false), lost(0, 50));
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

    /// At sequence 100, its last record at offset 49, others' up to offset 60.
    fn share() -> Checkpoint {
        let mut position = on_the_way();
        position.destination_end = Offset(60);
        position
    }

    #[test]
    fn a_share_is_where_its_sequences_are_whatever_others_have_appended() {
        let ours = |last, end| Some(Tail::Share { last, end: Offset(end) });
        let found = |records, foreign| Placement::Found { records, foreign };
        let lost =
            |latest| Placement::Blocked(Trouble::ShareLost { from: Offset(49), latest: Offset(latest) });
        let back = |records, remembered| Placement::StepBack { records, remembered };
        let deleted = |log_start, evidence: Evidence| Evidence { log_start: Offset(log_start), ..evidence };
        let cases = [
            // Nothing of ours came, or nothing at all, or others' were lost.
            (seen(Last(99), 90, None), false, found(0, 30)),
            (seen(Last(99), 60, None), true, found(0, 0)),
            (seen(Last(99), 50, None), false, found(0, 1)),
            // So many came, and all of them are in the log.
            (seen(Last(119), 90, None), false, Placement::ReadTail),
            (seen(Last(119), 90, ours(119, 85)), false, found(20, 10)),
            (seen(Last(119), 80, ours(119, 80)), false, found(20, 0)),
            // The last ones are not replicated yet.
            (seen(Last(119), 90, ours(109, 85)), false, Placement::LookAgain),
            // Some of them are missing, or our last acknowledged one is.
            (seen(Last(119), 90, Some(Tail::Broken)), false, lost(90)),
            (seen(Last(119), 90, Some(Tail::NoneOurs)), false, lost(90)),
            (seen(Last(99), 45, None), false, Placement::LookAgain),
            (seen(Last(99), 45, Some(Tail::NoneOurs)), false, lost(45)),
            // They came and were deleted, or are not replicated yet.
            (deleted(85, seen(Last(119), 90, Some(Tail::NoneOurs))), true, Placement::WaitForReplicas),
            (deleted(85, seen(Last(119), 90, Some(Tail::NoneOurs))), false, found(20, 10)),
            // The leader has fewer than were acknowledged.
            (seen(Last(89), 90, None), false, Placement::ReadTail),
            (seen(Last(89), 90, Some(Tail::NoneOurs)), false, back(10, true)),
            (seen(Last(89), 40, Some(Tail::NoneOurs)), false, back(10, true)),
            (seen(Last(89), 90, ours(99, 80)), false, lost(90)),
            // Nobody remembers: the log tells.
            (seen(Nothing, 90, None), true, Placement::WaitForReplicas),
            (seen(Nothing, 90, None), false, Placement::ReadTail),
            (seen(Unsupported, 90, ours(119, 85)), false, found(20, 10)),
            (seen(Unsupported, 90, ours(99, 50)), false, found(0, 30)),
            (seen(Unsupported, 90, Some(Tail::NoneOurs)), false, lost(90)),
            (
                seen(Nothing, 90, Some(Tail::TooFar)),
                false,
                Placement::Blocked(Trouble::TailTooFar { from: Offset(60), latest: Offset(90) }),
            ),
            // What was acknowledged was deleted; what may have come since was as well, or not.
            (deleted(60, seen(Nothing, 90, Some(Tail::NoneOurs))), false, found(0, 30)),
            (
                deleted(61, seen(Nothing, 90, Some(Tail::NoneOurs))),
                false,
                Placement::Blocked(Trouble::TailDeleted { from: Offset(60), log_start: Offset(61) }),
            ),
        ];
        for (evidence, unsettled, expected) in cases {
            assert_eq!(place_share(&share(), &evidence, unsettled), expected, "{evidence:?}");
        }
        // One that has sent nothing yet.
        let begun = at(0, 60);
        assert_eq!(place_share(&begun, &seen(Nothing, 60, None), false), found(0, 0));
        assert_eq!(place_share(&begun, &seen(Nothing, 90, None), false), Placement::ReadTail);
        assert_eq!(place_share(&begun, &seen(Nothing, 90, Some(Tail::NoneOurs)), false), found(0, 30));
        assert_eq!(place_share(&begun, &seen(Last(9), 90, ours(9, 80)), false), found(10, 20));
    }

    #[test]
    fn a_shares_tail_is_whole_or_broken() {
        let batch = |producer, base_offset, base_sequence, count| {
            let stamp = record_batch::ProducerStamp {
                producer_id: ProducerId(producer),
                producer_epoch: 0,
                base_sequence,
            };
            let mut builder = record_batch::BatchBuilder::new(record_batch::Codec::None)
                .base_offset(Offset(base_offset))
                .stamp(stamp);
            (0..count).for_each(|at| builder.append(at, None, None, &[]));
            Header::read(&builder.build()).unwrap()
        };
        let tail = |what: TailFrom, batches: &[Header]| {
            let mut scan = TailScan::new(what, ProducerId(7));
            batches.iter().for_each(|header| scan.take(header));
            scan.tail()
        };
        let what = share_tail_from(&share(), Offset(0), false);
        let expected = TailOurs::Unbroken(Some(99));
        assert_eq!(what, TailFrom { from: Offset(49), resume: Offset(49), ours: expected });
        let far = Checkpoint { destination_end: Offset(900_000), ..share() };
        assert_eq!(share_tail_from(&far, Offset(0), false).resume, Offset(900_000));
        let (last, other) = (batch(7, 47, 97, 3), batch(8, 50, 0, 10));
        assert_eq!(tail(what, &[last, other]), Tail::Share { last: 99, end: Offset(50) });
        let next = [last, other, batch(7, 60, 100, 5), batch(8, 65, 10, 9), batch(7, 74, 105, 1)];
        assert_eq!(tail(what, &next), Tail::Share { last: 105, end: Offset(75) });
        for broken in
            [&[last, batch(7, 60, 101, 5)][..], &[other, batch(7, 60, 100, 5)], &[batch(7, 47, 96, 3)]]
        {
            assert_eq!(tail(what, broken), Tail::Broken, "{broken:?}");
        }
        assert_eq!(tail(what, &[batch(7, 46, 96, 3), other]), Tail::NoneOurs);
        // Where the last one was deleted the first may be any, and where cleaning goes on every one.
        let deleted = share_tail_from(&share(), Offset(55), false);
        assert_eq!(
            deleted,
            TailFrom { from: Offset(55), resume: Offset(55), ours: TailOurs::Unbroken(None) }
        );
        assert_eq!(tail(deleted, &[batch(7, 60, 104, 1)]), Tail::Share { last: 104, end: Offset(61) });
        let cleaned = share_tail_from(&share(), Offset(0), true);
        assert_eq!(tail(cleaned, &[last, batch(7, 60, 104, 1)]), Tail::Share { last: 104, end: Offset(61) });
        // Before anything was sent.
        let begun = share_tail_from(&at(0, 60), Offset(0), false);
        assert_eq!(
            begun,
            TailFrom { from: Offset(60), resume: Offset(60), ours: TailOurs::Unbroken(Some(0)) }
        );
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
