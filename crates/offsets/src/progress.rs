//! How far a lane is: scattered acknowledgements joined to one contiguous end.
//!
//! Several batches of a lane are in flight, and what the source holds between them (control batches,
//! aborted data) needs no acknowledgement. Only the end up to which nothing is missing may be
//! remembered: `checkpoint_never_early`.
//!
//! ```text
//! source   ──────────────┤ acknowledged ├──────┤ acknowledged ├───
//!                        ▲ checkpoint   ▲      here something is missing,
//!                        before         after  so the second one waits
//! ```

use std::collections::BTreeMap;

use model::{LeaderEpoch, Offset};

use crate::{Checkpoint, Fingerprint};

/// A stretch of the source that is done with: its chosen records are at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The source offset where the stretch begins: where the one before it ended.
    pub from: Offset,
    /// The source offset where the next stretch begins.
    pub next_source: Offset,
    /// The source's leader epoch of the stretch.
    pub source_leader_epoch: LeaderEpoch,
    /// The forwarded batch, or `None` where nothing was sent or the batch was sent in part.
    pub fingerprint: Option<Fingerprint>,
    /// Records appended at the destination: 0 where the stretch had nothing to send.
    pub records: i64,
    /// The offset of the first of them there; not looked at where there is none.
    pub destination_base: Offset,
}

/// A stretch that cannot be: a mistake of the caller's, which must not become a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stretch of {records} records from source offset {from} to {next_source} does not fit progress at {at}"
)]
pub struct Misfit {
    /// Where the stretch begins.
    pub from: Offset,
    /// Where it ends.
    pub next_source: Offset,
    /// Its records.
    pub records: i64,
    /// The contiguous end.
    pub at: Offset,
}

/// One lane's progress. It holds what waits for an earlier stretch, so no more than is in flight.
#[derive(Clone, Debug)]
pub struct Progress {
    checkpoint: Checkpoint,
    waiting: BTreeMap<Offset, Done>,
}

impl Progress {
    /// Progress from where the lane stands: what the destination has was looked at.
    pub fn new(start: Checkpoint) -> Progress {
        Progress { checkpoint: start, waiting: BTreeMap::new() }
    }

    /// The contiguous end. What is before it, and only that, is at the destination.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Stretches that are done with and wait for an earlier one.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Notes one stretch, and gives whether the contiguous end has moved.
    ///
    /// # Errors
    /// [`Misfit`] if it ends before it begins, overlaps what is known, or counts more records than
    /// there are offsets; the progress is then as before.
    pub fn done(&mut self, done: Done) -> Result<bool, Misfit> {
        let span = done.next_source.0.saturating_sub(done.from.0);
        let before = self.waiting.range(..=done.from).next_back().map(|(_, earlier)| earlier.next_source);
        let after = self.waiting.range(done.from..).next().map(|(from, _)| *from);
        let fits = span > 0
            && (0..=span).contains(&done.records)
            && done.from >= self.checkpoint.next_source
            && before.is_none_or(|end| end <= done.from)
            && after.is_none_or(|start| start >= done.next_source);
        if !fits {
            return Err(Misfit {
                from: done.from,
                next_source: done.next_source,
                records: done.records,
                at: self.checkpoint.next_source,
            });
        }
        self.waiting.insert(done.from, done);
        let at = self.checkpoint.next_source;
        while let Some(next) = self.waiting.remove(&self.checkpoint.next_source) {
            self.advance(&next);
        }
        Ok(self.checkpoint.next_source > at)
    }

    /// The destination has forgotten the producer and takes only sequence 0 (brokers before 2.5): the
    /// records sent so far are counted in `sequence_base` from here on. Waiting stretches are dropped,
    /// since they belong to the sequence before.
    pub fn restart_sequence(&mut self) {
        self.checkpoint.sequence_base =
            self.checkpoint.sequence_base.saturating_add(self.checkpoint.sequence.into());
        self.checkpoint.sequence = 0;
        self.waiting.clear();
    }

    fn advance(&mut self, done: &Done) {
        let checkpoint = &mut self.checkpoint;
        checkpoint.next_source = done.next_source;
        checkpoint.source_leader_epoch = done.source_leader_epoch;
        if done.fingerprint.is_some() {
            checkpoint.fingerprint = done.fingerprint;
        }
        if done.records > 0 {
            checkpoint.destination_end = Offset(done.destination_base.0.saturating_add(done.records));
            let sequence = i64::from(checkpoint.sequence).saturating_add(done.records);
            // 2^31 - 1 is followed by 0, as the broker counts; the turn is noted in the base.
            let turns = sequence >> 31 << 31;
            checkpoint.sequence_base = checkpoint.sequence_base.saturating_add(turns);
            checkpoint.sequence = i32::try_from(sequence - turns).expect("a remainder of 2^31 fits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SelectionId;
    use proptest::prelude::*;

    fn start() -> Checkpoint {
        Checkpoint {
            next_source: Offset(100),
            source_leader_epoch: LeaderEpoch::UNKNOWN,
            sent_leader_epoch: LeaderEpoch::UNKNOWN,
            source_topic_id: None,
            fingerprint: None,
            sequence: 0,
            sequence_base: 0,
            destination_end: Offset(7),
            destination_topic_id: None,
            selection: SelectionId::READ_UNCOMMITTED,
            segments: crate::Segments::default(),
        }
    }

    fn done(from: i64, next_source: i64, records: i64, destination_base: i64) -> Done {
        let fingerprint = (records > 0).then_some(Fingerprint {
            base_offset: Offset(from),
            last_offset: Offset(next_source - 1),
            crc: 1,
        });
        Done {
            from: Offset(from),
            next_source: Offset(next_source),
            source_leader_epoch: LeaderEpoch(4),
            fingerprint,
            records,
            destination_base: Offset(destination_base),
        }
    }

    fn ends(progress: &Progress) -> (i64, i64, i32) {
        let checkpoint = progress.checkpoint();
        (checkpoint.next_source.0, checkpoint.destination_end.0, checkpoint.sequence)
    }

    #[test]
    fn a_lost_ack_does_not_move_the_commit_point() {
        let mut progress = Progress::new(start());
        assert_eq!(progress.done(done(110, 120, 10, 17)), Ok(false));
        assert_eq!(ends(&progress), (100, 7, 0));
        assert_eq!(progress.done(done(125, 130, 5, 27)), Ok(false));
        assert_eq!(progress.done(done(100, 110, 10, 7)), Ok(true));
        assert_eq!(ends(&progress), (120, 27, 20));
        assert_eq!(progress.waiting(), 1);
        // A control batch in between needs no acknowledgement, only to be noted.
        assert_eq!(progress.done(done(120, 125, 0, 0)), Ok(true));
        assert_eq!(ends(&progress), (130, 32, 25));
        assert_eq!(progress.checkpoint().fingerprint.unwrap().base_offset, Offset(125));
        assert_eq!(progress.checkpoint().source_leader_epoch, LeaderEpoch(4));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut progress = Progress::new(start());
        progress.done(done(110, 120, 10, 17)).unwrap();
        for misfit in [
            done(90, 100, 10, 0),
            done(90, 105, 10, 0),
            done(100, 100, 0, 0),
            done(105, 100, 0, 0),
            done(100, 111, 10, 0),
            done(110, 120, 10, 17),
            done(115, 130, 10, 17),
            done(130, 135, 6, 17),
            done(130, 135, -1, 17),
        ] {
            progress.done(misfit.clone()).expect_err(&format!("{misfit:?}"));
        }
        assert_eq!((ends(&progress), progress.waiting()), ((100, 7, 0), 1));
    }

    #[test]
    fn the_sequence_turns_after_the_largest_and_the_base_notes_it() {
        let mut progress = Progress::new(Checkpoint { sequence: i32::MAX - 4, ..start() });
        progress.done(done(100, 110, 10, 7)).unwrap();
        assert_eq!((progress.checkpoint().sequence, progress.checkpoint().sequence_base), (5, 1 << 31));
        progress.restart_sequence();
        assert_eq!((progress.checkpoint().sequence, progress.checkpoint().sequence_base), (0, (1 << 31) + 5));
    }

    proptest! {
        /// `checkpoint_never_early`, and never late by more than what is missing.
        #[test]
        fn the_end_is_where_the_first_missing_stretch_begins(
            stretches in proptest::collection::vec((1i64..50, any::<bool>()), 1..40),
            order in any::<prop::sample::Index>(),
            missing in any::<prop::sample::Index>(),
        ) {
            let mut all = Vec::new();
            let (mut from, mut base) = (100, 7);
            for (span, sent) in stretches {
                let records = if sent { span } else { 0 };
                all.push(done(from, from + span, records, base));
                from += span;
                base += records;
            }
            let missing = missing.index(all.len());
            let expected = (all[missing].from.0, all[..missing].iter().map(|done| done.records).sum::<i64>());
            let lost = all.remove(missing);
            if !all.is_empty() {
                let turn = order.index(all.len());
                all.rotate_left(turn);
                all.reverse();
            }
            let mut progress = Progress::new(start());
            for done in &all {
                progress.done(done.clone()).unwrap();
                prop_assert!(progress.checkpoint().next_source <= lost.from);
            }
            let checkpoint = progress.checkpoint();
            prop_assert_eq!((checkpoint.next_source.0, i64::from(checkpoint.sequence)), expected);
            prop_assert_eq!(checkpoint.destination_end.0, 7 + expected.1);
            progress.done(lost).unwrap();
            prop_assert_eq!((progress.checkpoint().next_source.0, progress.waiting()), (from, 0));
        }
    }
}
