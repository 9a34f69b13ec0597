//! What must hold whatever fails, by the names that LANE.md gives them.

use std::collections::{HashMap, HashSet};

use client::ProduceBatch;
use model::{Offset, ProducerId, TopicPartition};
use offsets::Segments;
use record_batch::Header;

use super::destination::{DestinationLog, numbers_of};
use super::part::Part;
use super::source::{Numbered, SourceLog};
use super::world::Mode;
use crate::life::{Missing, Policies, Recreated};
use crate::status::LaneStatus;
use crate::trouble::Trouble;

/// The destination has the source's selected records up to some offset, in order, each once. Of a compacted
/// source, those that were not cleaned away before they were read.
/// Where topics were created anew, cut or overtaken: of each in its turn what the policies say.
pub(super) fn appended_is_a_prefix(
    source: &SourceLog,
    destination: &DestinationLog,
    policies: &Policies,
    (part, producer): (&Part, ProducerId),
) -> Result<(), String> {
    if destination.has_hole(producer) {
        return Err("appended_is_a_prefix: more was appended behind a hole".into());
    }
    let there = destination.numbers(part);
    let history = part.of(source.history());
    let holds = if source.compacted {
        there.is_sorted_by(|a, b| a < b)
    } else {
        topics_follow_each_other(source, destination, policies, (part, &there))
    };
    if holds {
        return Ok(());
    }
    let agree = history.iter().zip(&there).take_while(|((_, number), there)| number == *there).count();
    let around = agree.saturating_sub(4)..;
    Err(format!(
        "appended_is_a_prefix: after {agree} records the destination has {:?}, the source (offset, number) {:?}",
        &there[around.start.min(there.len())..],
        &history[around.start.min(history.len())..]
    ))
}

/// `there` has of each topic of that name, the former ones first, what the policies say.
fn topics_follow_each_other(
    source: &SourceLog,
    destination: &DestinationLog,
    policies: &Policies,
    (part, there): (&Part, &[u64]),
) -> bool {
    let former = source.former.iter().map(|former| (&former.histories, former.log_start));
    let topics = former.chain([(&source.histories, source.partition.log_start())]);
    let of_part =
        |histories: &'_ Vec<Vec<Numbered>>| histories.iter().map(|it| part.of(it).into_owned()).collect();
    let topics: Vec<(Vec<Vec<Numbered>>, i64)> =
        topics.map(|(histories, log_start)| (of_part(histories), log_start)).collect();
    let first_of = |histories: &[Vec<Numbered>]| histories.iter().flatten().map(|(_, number)| *number).min();
    let mut rest = there;
    for (index, (histories, log_start)) in topics.iter().enumerate() {
        // Numbers rise, over all topics.
        let next = topics[index + 1..].iter().find_map(|(histories, _)| first_of(histories));
        let (of_it, behind) =
            rest.split_at(rest.partition_point(|number| next.is_none_or(|next| *number < next)));
        rest = behind;
        let anywhere = index > 0 && policies.source_recreated == Recreated::Skip
            || destination.lost && policies.destination_recreated == Recreated::Skip;
        if !is_copy(histories, of_it, (source.deletes, anywhere), *log_start, policies) {
            return false;
        }
    }
    rest.is_empty()
}

/// `copied` is a beginning of one of `histories`. What retention took before it was copied is missing at the start, and in
/// between where that is wanted; `anywhere`: the copy may begin anywhere.
fn is_copy(
    histories: &[Vec<Numbered>],
    copied: &[u64],
    (deletes, anywhere): (bool, bool),
    log_start: i64,
    policies: &Policies,
) -> bool {
    let Some(first) = copied.first() else { return true };
    if policies.source_truncated == Missing::Skip && histories.len() > 1 {
        return is_copy_over_cuts(histories, copied, deletes || anywhere, log_start, policies);
    }
    let passed_over = |history: &[Numbered]| {
        policies.source_overtaken == Missing::Skip && history.iter().all(|(offset, _)| *offset < log_start)
    };
    histories.iter().any(|history| {
        let Some(begin) = history.iter().position(|(_, number)| number == first) else { return false };
        let mut due = begin;
        (begin == 0 || deletes || anywhere)
            && copied.iter().all(|number| {
                let Some(further) = history[due..].iter().position(|(_, other)| other == number) else {
                    return false;
                };
                let holds = further == 0 || passed_over(&history[due..due + further]);
                due += further + 1;
                holds
            })
    })
}

/// Each of `copied` is of one of `histories`, in their order; all of the last one that has the last of them is there, from
/// where the copy begins.
fn is_copy_over_cuts(
    histories: &[Vec<Numbered>],
    copied: &[u64],
    anywhere: bool,
    log_start: i64,
    policies: &Policies,
) -> bool {
    let (Some(first), Some(last)) = (copied.first(), copied.last()) else { return true };
    let offset_in =
        |history: &[Numbered], number: u64| history.iter().find(|(_, it)| *it == number).map(|(at, _)| *at);
    let known = |number: &u64| histories.iter().any(|history| offset_in(history, *number).is_some());
    let begins = |history: &Vec<Numbered>| {
        let at = offset_in(history, *first)?;
        (anywhere || history.first().is_some_and(|(begin, _)| *begin == at)).then_some(at)
    };
    let Some(begin) = histories.iter().find_map(begins) else { return false };
    let Some(present) = histories.iter().rev().find(|history| offset_in(history, *last).is_some()) else {
        return false;
    };
    let may_miss = |at: i64| at < begin || policies.source_overtaken == Missing::Skip && at < log_start;
    let is_there = |number: &u64| copied.binary_search(number).is_ok();
    copied.is_sorted_by(|a, b| a < b)
        && copied.iter().all(known)
        && present
            .iter()
            .filter(|(_, number)| number <= last)
            .all(|(at, number)| may_miss(*at) || is_there(number))
}

/// What is stored as copied is at the destination.
pub(super) fn checkpoint_never_early(
    source: &SourceLog,
    destination: &DestinationLog,
    next_source: Offset,
    part: &Part,
) -> Result<(), String> {
    if destination.lost || source.rewritten || source.compacted {
        return Ok(());
    }
    let copied =
        part.of(source.history()).iter().rev().find(|(at, _)| *at < next_source.0).map(|(_, number)| *number);
    let last = destination.last_number(part);
    if copied <= last {
        return Ok(());
    }
    Err(format!("checkpoint_never_early: stored up to record {copied:?}, the destination has up to {last:?}"))
}

/// A stored run begins with the same record on both sides, and ends with the same.
pub(super) fn segments_tell_the_truth(
    source: &SourceLog,
    destination: &DestinationLog,
    segments: &Segments,
    part: &Part,
) -> Result<(), String> {
    if destination.lost || destination.shared || source.rewritten || source.compacted {
        return Ok(());
    }
    let history = part.of(source.history());
    for segment in segments.iter() {
        // A run with holes may begin before its first record, and end behind its last.
        let first = history.partition_point(|(at, _)| *at < segment.source.0);
        let after = history.partition_point(|(at, _)| *at < segment.source_end.0);
        let ends = [
            (first, segment.destination.0),
            (after.saturating_sub(1), segment.destination.0 + segment.count - 1),
        ];
        for (index, to) in ends {
            let (copied, there) = (history.get(index), destination.number_at(to));
            if copied.map(|(_, number)| *number) != there {
                return Err(format!(
                    "segments_tell_the_truth: {segment:?}: (offset, record) {copied:?} is {there:?} at {to}"
                ));
            }
        }
    }
    Ok(())
}

/// Brokers refuse a request that names a partition twice.
pub(super) fn no_partition_twice<'a, T: Eq + std::hash::Hash + std::fmt::Debug + 'a>(
    mut partitions: impl Iterator<Item = &'a T>,
) -> Result<(), String> {
    let mut named = HashSet::new();
    match partitions.find(|partition| !named.insert(*partition)) {
        Some(partition) => Err(format!("no_partition_twice: {partition:?} is asked about twice")),
        None => Ok(()),
    }
}

/// Whoever sends them, the same sequences of a partition are the same records.
#[derive(Default)]
pub(super) struct SequencesSeen {
    by_producer: HashMap<(TopicPartition, ProducerId), HashMap<i32, u64>>,
}

impl SequencesSeen {
    pub(super) fn same_sequences_same_records(&mut self, batch: &ProduceBatch) -> Result<(), String> {
        let header = Header::read(&batch.header).expect("a patched header can be read");
        let seen = self.by_producer.entry((batch.partition.clone(), header.producer_id)).or_default();
        for (index, number) in numbers_of(batch).into_iter().enumerate() {
            let sequence = header.base_sequence.wrapping_add(index as i32) & i32::MAX;
            let before = *seen.entry(sequence).or_insert(number);
            if before != number {
                return Err(format!(
                    "same_sequences_same_records: sequence {sequence} of {} was record {before}, is {number}",
                    batch.partition
                ));
            }
        }
        Ok(())
    }
}

/// A lane says that its source is another log only where it is, even for a moment: it stands still for half a minute then.
pub(super) fn no_false_alarm(lane: &LaneStatus, source: &SourceLog) -> Result<(), String> {
    let is_true = match &lane.trouble {
        Some(Trouble::SourceTruncated { .. } | Trouble::SourceChanged { .. }) => source.rewritten,
        Some(Trouble::SourceRecreated { .. }) => !source.former.is_empty(),
        _ => true,
    };
    if is_true {
        return Ok(());
    }
    Err(format!("no_false_alarm: {} says {:?}", lane.source, lane.trouble))
}

/// A lane that does not move says why, and the reason is true.
pub(super) fn stall_has_a_reason(
    lane: &LaneStatus,
    mode: Mode,
    source: &SourceLog,
    destination: &DestinationLog,
    part: &Part,
) -> Result<(), String> {
    let true_reason = match &lane.trouble {
        None => return Err(format!("stall_has_a_reason: {} gives none", lane.source)),
        Some(
            Trouble::SourceTruncated { .. } | Trouble::SourceChanged { .. } | Trouble::RestartUnclear { .. },
        ) => source.rewritten,
        Some(Trouble::SourceOvertaken { position, log_start }) => {
            // Where the copy's last record is still there, it tells where the source goes on.
            let last = destination.last_number(part);
            let is_there = source.left().iter().any(|(_, number)| Some(*number) == last);
            *position < *log_start && log_start.0 == source.partition.log_start() && !is_there
        }
        Some(Trouble::SourceRecreated { .. }) => !source.former.is_empty(),
        Some(Trouble::DestinationRecreated { .. }) => destination.recreated,
        Some(Trouble::PositionUnknown { .. }) => source.deletes && destination.partition.log_start() > 0,
        Some(
            Trouble::DestinationLost { .. }
            | Trouble::DestinationHole { .. }
            | Trouble::ShareLost { .. }
            | Trouble::SequenceRefused { .. },
        ) => destination.lost,
        Some(Trouble::TailDeleted { .. }) => destination.partition.log_start() > 0,
        // Its own store is a copy from before the lane began.
        Some(Trouble::ProgressLost { .. }) => mode == Mode::Twins,
        Some(_) => false,
    };
    if true_reason {
        return Ok(());
    }
    Err(format!("stall_has_a_reason: {} stands still and says {:?}", lane.source, lane.trouble))
}
