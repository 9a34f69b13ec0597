//! How a lane goes on at another position than the one behind its last record.

use super::*;
use crate::life::{LifeEvent, Move};

/// Where the source turned out to be another log than the one that was copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Diverged {
    /// Up to here at most it is the same.
    pub(crate) cut: Offset,
    /// The leader epoch of what lies before.
    pub(crate) epoch: LeaderEpoch,
    /// The batch that is not the one of before, where one was read, and its leader epoch.
    pub(crate) at: Option<Offset>,
    pub(crate) found: LeaderEpoch,
    /// Since when it is known.
    pub(crate) noted_at: Option<Instant>,
}

impl Lane {
    /// A batch at `at`, of leader epoch `found`, is not the one that was read there before.
    pub(super) fn diverges(&mut self, at: Offset, found: LeaderEpoch) -> Trouble {
        let epoch = self.acked.source_leader_epoch;
        self.diverged = Some(Diverged { cut: at, epoch, at: Some(at), found, noted_at: None });
        Trouble::SourceChanged { at }
    }

    /// The source has another log from `cut` on: what was read from there and not sent is dropped, and nothing follows
    /// what is left.
    pub(crate) fn cut_off(&mut self, cut: Offset) {
        while let Some(item) = self.queue.pop_back_if(|item| item.reaches_beyond(cut)) {
            self.held_bytes -= item.bytes();
        }
        let at = self.read_from;
        self.queue.push_back(Item::Stuck(Trouble::SourceChanged { at }));
    }

    /// Goes on as `to` says. `records` of its own behind the position are at the destination, which ends at `latest`.
    pub(crate) fn move_to(&mut self, to: &Move, records: i64, latest: Offset, selection: SelectionId) {
        let acked = &mut self.acked;
        acked.sequence = sequence_after(acked.sequence, records);
        match to.event {
            LifeEvent::DestinationRecreated { .. } => {
                // A log that has nothing of us takes the sequence from its start.
                (acked.sequence, acked.sequence_base) = (0, 0);
                acked.segments.clear();
                self.acknowledged_end = Offset(0);
                self.resume_sequence = false;
                self.restart_sequence = false;
            }
            // Its offsets are used a second time.
            LifeEvent::SourceRecreated | LifeEvent::SourceTruncated { .. } => acked.segments.clear(),
            LifeEvent::SourceOvertaken => {}
        }
        acked.next_source = to.next_source;
        // Up to there it is the copied log, and the source says so should that be another one by then.
        acked.source_leader_epoch = match to.event {
            LifeEvent::SourceTruncated { epoch, .. } => epoch,
            _ => LeaderEpoch::UNKNOWN,
        };
        acked.sent_leader_epoch = LeaderEpoch::UNKNOWN;
        acked.fingerprint = None;
        acked.destination_end = latest;
        acked.source_topic_id = self.route.source_topic_id.or(acked.source_topic_id);
        acked.destination_topic_id = self.route.destination_topic_id.or(acked.destination_topic_id);
        acked.selection = selection;
        self.last_read = None;
        self.verify = None;
        self.moving = None;
        self.shown = None;
        self.life += to.counts;
    }
}
