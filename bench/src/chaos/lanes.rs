//! When did a lane move again, and when could it have? Decided from samples alone.
//!
//! A lane is one partition and its copy. It *moves* when the end of the copy's log rises. It *could move* while
//! the source's leader tells an end beyond what is copied, the copy's leader would append (enough replicas
//! in sync) and is not waiting for its own followers, and the brokers name these two as leaders. So the brokers' own recovery is not held against the copier:
//! only the time between *could move* and *moved*.

/// What was seen of a lane at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Since the watch began.
    pub(crate) at_ms: u64,
    /// The source's high watermark, if its leader said so.
    pub(crate) source_end: Option<i64>,
    /// What the copy's leader said.
    pub(crate) copy: Option<CopyEnd>,
    /// The copy's leader would append.
    pub(crate) appends: bool,
    /// Every broker that answers names both leaders: clients go by what they are told.
    pub(crate) named: bool,
}

/// The end of a copy, as its leader has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyEnd {
    pub(crate) epoch: i32,
    pub(crate) high_watermark: i64,
    pub(crate) log_end: i64,
}

/// How a lane came through a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// From the end of the fault until it moved; None: it has not.
    pub(crate) moved_ms: Option<u64>,
    /// Of that, the time since it could; 0 if it never could. Of a lane that has not moved: up to the last sample.
    pub(crate) idle_ms: u64,
}

/// A lane moves again within this time after a fault ends, or within [`IDLE_MAX_MS`] of the brokers' own recovery.
pub(crate) const MOVED_MAX_MS: u64 = 2_000;

/// See [`MOVED_MAX_MS`].
pub(crate) const IDLE_MAX_MS: u64 = 1_000;

/// A leader that says nothing for so many samples is not there; for fewer, the sample is what is missing.
const SILENT_SAMPLES: u32 = 4;

impl Recovery {
    /// Whether the requirement is broken, `now_ms` after the end of the fault, by a lane that may wait for
    /// `allowance_ms` besides.
    pub(crate) fn is_late(self, now_ms: u64, allowance_ms: u64) -> bool {
        self.moved_ms.unwrap_or(now_ms) > MOVED_MAX_MS + allowance_ms
            && self.idle_ms > IDLE_MAX_MS + allowance_ms
    }
}

/// Reads a lane's samples around a fault that ended at `end_ms`.
///
/// `exact` says that the copy holds each record once, so that the two ends can be compared; else a lane counts as
/// having something to copy when the source has grown since it last moved.
pub(crate) fn recovery(samples: &[Sample], end_ms: u64, exact: bool) -> Recovery {
    let mut before: Option<CopyEnd> = None;
    let mut source_at_move = None;
    let mut could_since = None;
    let mut silent = 0;
    let mut last_ms = end_ms;
    for sample in samples {
        last_ms = last_ms.max(sample.at_ms);
        // Compared with the sample just before, of the same leader: what it took between its last word and its end
        // is seen only later, and is no move.
        let moved = sample
            .copy
            .zip(before)
            .is_some_and(|(now, before)| now.epoch == before.epoch && now.log_end > before.log_end);
        if moved || source_at_move.is_none() {
            source_at_move = sample.source_end.or(source_at_move);
        }
        if moved && sample.at_ms > end_ms {
            let idle_ms = could_since.map_or(0, |since| sample.at_ms - since);
            return Recovery { moved_ms: Some(sample.at_ms - end_ms), idle_ms };
        }
        let said_nothing = sample.source_end.is_none() || sample.copy.is_none();
        silent = if said_nothing { silent + 1 } else { 0 };
        if sample.at_ms > end_ms && could_move(sample, before, source_at_move, exact) {
            could_since = could_since.or(Some(sample.at_ms));
        } else if !said_nothing || silent >= SILENT_SAMPLES {
            could_since = None;
        }
        before = sample.copy;
    }
    Recovery { moved_ms: None, idle_ms: could_since.map_or(0, |since| last_ms - since) }
}

fn could_move(sample: &Sample, before: Option<CopyEnd>, source_at_move: Option<i64>, exact: bool) -> bool {
    let Some((source_end, copy)) = sample.source_end.zip(sample.copy) else { return false };
    let wanted =
        if exact { source_end > copy.log_end } else { source_at_move.is_some_and(|at| source_end > at) };
    // Appended but not replicated: the leader waits for its followers, and the copier rightly for the leader.
    let replicates = copy.high_watermark == copy.log_end
        || before.is_some_and(|before| copy.high_watermark > before.high_watermark);
    wanted && replicates && sample.appends && sample.named
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples 100 ms apart from 0 on: source end, copy's mark and log end (-1: not said), whether it appends.
    fn check(rows: &[(i64, i64, i64, bool)], end_ms: u64, expected: Recovery) {
        let said = |offset: i64| (offset >= 0).then_some(offset);
        let samples: Vec<Sample> = rows
            .iter()
            .zip(0..)
            .map(|(&(source, mark, end, appends), at)| Sample {
                at_ms: at * 100,
                source_end: said(source),
                copy: said(mark).map(|high_watermark| CopyEnd { epoch: 0, high_watermark, log_end: end }),
                appends,
                named: true,
            })
            .collect();
        assert_eq!(recovery(&samples, end_ms, true), expected);
    }

    #[test]
    fn a_leader_that_clients_are_not_told_of_cannot_be_written_to() {
        let sample = |at_ms, named| Sample {
            at_ms,
            source_end: Some(10),
            copy: Some(CopyEnd { epoch: 0, high_watermark: 5, log_end: 5 }),
            appends: true,
            named,
        };
        let samples =
            [(100, false), (200, false), (300, true), (400, true)].map(|(at, named)| sample(at, named));
        assert_eq!(recovery(&samples, 0, true), Recovery { moved_ms: None, idle_ms: 100 });
    }

    #[test]
    fn a_lane_that_could_move_and_does_not_is_idle() {
        let stalled = [(10, 5, 5, true); 6];
        check(&stalled, 100, Recovery { moved_ms: None, idle_ms: 300 });
        let mut moves = stalled.to_vec();
        moves.push((10, 5, 10, true));
        check(&moves, 100, Recovery { moved_ms: Some(500), idle_ms: 400 });
    }

    #[test]
    fn while_a_broker_cannot_the_copier_need_not() {
        let mut rows = vec![(10, 5, 5, true), (10, 5, 5, true)];
        rows.extend([(10, 5, 5, false); 5]); // too few replicas in sync
        rows.extend([(10, 5, 5, true); 2]);
        rows.push((10, 6, 6, true));
        check(&rows, 0, Recovery { moved_ms: Some(900), idle_ms: 200 });
        check(&[(10, 5, 8, true); 8], 0, Recovery { moved_ms: None, idle_ms: 0 }); // not replicated
        check(&[(-1, 5, 5, true); 8], 0, Recovery { moved_ms: None, idle_ms: 0 }); // no source leader
        check(&[(5, 5, 5, true); 8], 0, Recovery { moved_ms: None, idle_ms: 0 }); // nothing to copy
    }

    #[test]
    fn what_a_leader_took_before_it_went_silent_is_no_move() {
        let mut rows = vec![(10, 5, 5, true); 2];
        rows.extend([(10, -1, -1, false); 5]);
        rows.extend([(10, 7, 7, true); 3]);
        check(&rows, 600, Recovery { moved_ms: None, idle_ms: 200 });
    }

    #[test]
    fn a_sample_that_is_missing_does_not_excuse() {
        let mut rows = vec![(10, 5, 5, true); 4];
        rows.push((-1, -1, -1, false));
        rows.extend([(10, 5, 5, true); 4]);
        check(&rows, 0, Recovery { moved_ms: None, idle_ms: 700 });
    }

    #[test]
    fn the_limit_is_two_seconds_or_one_beyond_the_brokers() {
        let late = |moved_ms, idle_ms| Recovery { moved_ms, idle_ms }.is_late(5_000, 0);
        assert!(!late(Some(1_900), 1_900));
        assert!(!late(Some(9_000), 900));
        assert!(late(Some(2_100), 1_100));
        assert!(late(None, 4_000));
        let aged = |idle_ms| Recovery { moved_ms: Some(idle_ms), idle_ms }.is_late(60_000, 35_000);
        assert!(!aged(36_900));
        assert!(aged(37_100));
    }
}
