//! What happens to topics while they are copied: created anew, cut, overtaken by retention, lost.
//!
//! ```text
//! look at the source ──▶ event ──▶ react ──▶ stops, or moves: look at the destination ──▶ stored ──▶ goes on there
//! ```
//!
//! `life` decides; here the lane comes to know of the event, and moves. A move waits until nothing sent before can
//! arrive any more: the sequences that follow are those of other records then.

use model::{BrokerId, LeaderEpoch, Offset, TopicId};
use tracing::warn;

use super::Engine;
use super::opening::{LEADER_SETTLES, LOOK_AGAIN};
use crate::contents::Contents;
use crate::events::{LaneId, SourceEvidence};
use crate::lane::{Lane, Opening, State, selection_of};
use crate::life::{Facts, LifeEvent, Move, Reaction, Recreated, is_created_anew, react};
use crate::place::{Evidence, ProducerEvidence, sequence_after};
use crate::trouble::{Side, Trouble, Unfound};

impl Engine {
    /// What the source's log, as it is now, says about the position.
    pub(super) fn source_event(&self, lane: &Lane, evidence: &SourceEvidence) -> Option<LifeEvent> {
        let ids = (lane.acked.source_topic_id, lane.route.source_topic_id);
        let present = lane.source_leader.map_or(LeaderEpoch::UNKNOWN, |leader| leader.epoch);
        let copied = lane.acked.source_leader_epoch;
        let position = lane.acked.next_source;
        if matches!(ids, (Some(copied), Some(present)) if copied != present) {
            return Some(LifeEvent::SourceRecreated);
        }
        if position < evidence.log_start && lane.fresh {
            return Some(LifeEvent::SourceOvertaken);
        }
        if let Some((epoch, cut)) =
            evidence.epoch_end.filter(|(epoch, cut)| *epoch == copied && *cut < position)
        {
            // Under the epoch of its present leader the cut is this log's alone: should the longer one lead again, which is
            // not to be copied a second time, it does not know that epoch, and says so when it is read.
            let is_exact = present > copied && evidence.by_id && is_the_same(ids);
            let epoch = if is_exact { present } else { epoch };
            let cut = LifeEvent::SourceTruncated { cut, epoch, at: None, is_exact };
            let is_anew = is_created_anew(ids, (copied, present));
            return Some(if is_anew { LifeEvent::SourceRecreated } else { cut });
        }
        // What was read beyond the position and is not there any more was not copied: it is read again.
        let diverged = lane.diverged.filter(|diverged| {
            let knows_the_epoch = diverged.at.is_some() || diverged.epoch >= copied;
            diverged.cut < position || !knows_the_epoch
        });
        if let Some(diverged) = diverged {
            // Brokers before 2.4 do not tell their epochs, batches do.
            let present = if present == LeaderEpoch::UNKNOWN { diverged.found } else { present };
            let cut = LifeEvent::SourceTruncated {
                cut: diverged.cut,
                epoch: diverged.epoch,
                at: diverged.at,
                is_exact: false,
            };
            let is_anew = is_created_anew(ids, (copied, present));
            return Some(if is_anew { LifeEvent::SourceRecreated } else { cut });
        }
        if position <= evidence.high_watermark {
            return None;
        }
        // Not the end as it is read: a change of isolation.level may leave that behind the position.
        let cut = LifeEvent::SourceTruncated {
            cut: evidence.high_watermark,
            epoch: copied,
            at: None,
            is_exact: false,
        };
        let is_anew = is_created_anew(ids, (copied, present));
        Some(if is_anew { LifeEvent::SourceRecreated } else { cut })
    }

    /// Does about `event` what the operator wants. False where the lane stops.
    pub(super) fn react_to_source(
        &mut self,
        id: LaneId,
        event: LifeEvent,
        evidence: &SourceEvidence,
    ) -> bool {
        let mut policies = self.options.life;
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        lane.diverged = None;
        if !evidence.by_id
            || !matches!((lane.acked.source_topic_id, lane.route.source_topic_id), (Some(_), Some(_)))
        {
            // Of which topic the position is nobody knows for certain.
            policies.source_recreated = Recreated::Stop;
        }
        if lane.share.is_some() {
            // Its shares would go on with another topic each at a time of its own, and what is stored says where all began.
            policies.source_recreated = Recreated::Stop;
        }
        let facts = Facts {
            position: lane.acked.next_source,
            source: (evidence.log_start, evidence.end),
            destination_end: lane.acked.destination_end,
        };
        match react(event, &policies, &facts) {
            Reaction::Stop(trouble) => {
                self.doubt(id, Some(trouble), false);
                false
            }
            Reaction::Move(to) if lane.fresh => {
                // Nothing is stored of it yet, and will be before anything is sent.
                lane.acked.next_source = to.next_source;
                lane.life += to.counts;
                tell_moved(lane, &to);
                true
            }
            Reaction::Move(to) => {
                if event == LifeEvent::SourceRecreated {
                    lane.source_end_at_start = None;
                }
                lane.moving = Some(Box::new(to));
                lane.shown = None;
                true
            }
        }
    }

    /// The source is another log than the one that was copied. What became of it shows once its leader is known anew.
    pub(super) fn source_diverged(&mut self, id: LaneId) {
        let instant = self.now.instant;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.doubted(instant, false);
        if lane.state == State::Draining {
            self.to_step.insert(id);
            return;
        }
        lane.source_checked = false;
        if let Some(diverged) = &mut lane.diverged {
            diverged.noted_at = Some(instant);
        }
        lane.reopen(State::Opening(Opening::Ready));
        self.source.wanted = true;
        self.to_step.insert(id);
    }

    /// Whether what a look at the source showed is no matter of an election just now, nor of leaders known too long ago.
    pub(super) fn is_sure_of_source(&self, lane: &Lane, evidence: &SourceEvidence) -> bool {
        let ids = (lane.acked.source_topic_id, lane.route.source_topic_id);
        let by_id = matches!(ids, (Some(copied), Some(present)) if copied != present);
        let known_since = self.source.known_since;
        if by_id || lane.acked.next_source < evidence.log_start {
            return true;
        }
        match lane.diverged.and_then(|diverged| diverged.noted_at) {
            Some(noted_at) => known_since.is_some_and(|at| at >= noted_at),
            None => {
                lane.asked_at >= lane.doubt_at + LEADER_SETTLES
                    && known_since.is_some_and(|at| self.now.instant < at + LEADER_SETTLES)
            }
        }
    }

    /// The lane moves, and `records` of its own came to the destination behind the position: where they are of a
    /// source topic that is gone nobody can walk over them, but they were sent, and count. That they are not of the new
    /// topic must be shown: a process with other progress may have gone on with that.
    pub(super) fn place_moving(
        &mut self,
        id: LaneId,
        broker: BrokerId,
        records: i64,
        evidence: &Evidence,
        contents: Option<Contents>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(to) = lane.moving.clone() else { return };
        let last = sequence_after(lane.acked.sequence, records - 1);
        if records == 0 || lane.shown == Some((last, true)) {
            self.move_lane(id, &to, records, evidence.latest);
            return;
        }
        let may_show = lane.shown != Some((last, false))
            && !lane.route.rule.source_compacted
            && lane.source_start <= Offset(0);
        if !may_show {
            self.doubt(id, Some(Trouble::RestartUnclear { records }), false);
        } else if let Some(contents) = contents {
            let last_record = contents.records.last().copied();
            match (contents.last_sequence == Some(last), last_record) {
                (true, Some(record)) => {
                    lane.to_show = Some((records, last));
                    lane.search(vec![record], self.now.instant);
                }
                // More came between the looks.
                _ => self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN),
            }
        } else {
            let from = lane.acked.destination_end.max(evidence.log_start);
            self.read_contents_from(from, id, broker, evidence);
        }
    }

    /// The new source topic was searched for the last record at the destination.
    pub(super) fn searched_for_move(&mut self, id: LaneId, result: Result<Offset, Unfound>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some((records, last)) = lane.to_show.take() else { return };
        let is_of_old = result == Err(Unfound::NotAtSource);
        lane.shown = Some((last, is_of_old));
        if is_of_old {
            lane.reopen(State::Opening(Opening::Ready));
            self.to_step.insert(id);
        } else {
            self.doubt(id, Some(Trouble::RestartUnclear { records }), false);
        }
    }

    /// The source has deleted what follows the position, and the destination has nothing behind it.
    pub(super) fn overtaken(&mut self, id: LaneId, evidence: &Evidence) {
        let policies = self.options.life;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match react(LifeEvent::SourceOvertaken, &policies, &facts(lane)) {
            Reaction::Stop(trouble) => {
                lane.source_checked = false;
                self.doubt(id, Some(trouble), false);
            }
            Reaction::Move(to) => self.move_lane(id, &to, 0, evidence.latest),
        }
    }

    /// The destination's topic is another one than the one that was copied to.
    pub(super) fn destination_recreated(&mut self, id: LaneId, evidence: &Evidence) {
        let mut policies = self.options.life;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.share.is_some() {
            // What another share has begun to write there, and what is late, look alike.
            policies.destination_recreated = Recreated::Stop;
        }
        let event = LifeEvent::DestinationRecreated { records: evidence.latest.0 };
        match react(event, &policies, &facts(lane)) {
            Reaction::Stop(trouble) => self.doubt(id, Some(trouble), false),
            // Something of ours is there, and not replicated yet.
            Reaction::Move(_) if matches!(evidence.producer, ProducerEvidence::Last(_)) => {
                self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
            }
            Reaction::Move(to) => self.move_lane(id, &to, 0, evidence.latest),
        }
    }

    /// The lane goes on at another position, once that is stored; `records` of its own are behind the former one at the
    /// destination, which ends at `latest`.
    fn move_lane(&mut self, id: LaneId, to: &Move, records: i64, latest: Offset) {
        if self.waits_until_quiet(id) {
            return;
        }
        let selection = selection_of(self.options.isolation);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        tell_moved(lane, to);
        lane.move_to(to, records, latest, selection);
        self.store_beginning(id);
    }

    /// Whether a lane waits until nothing that was sent before can arrive any more, however the destination remembers
    /// it, and for a look after that.
    fn waits_until_quiet(&mut self, id: LaneId) -> bool {
        if self.waits_for_late(id) {
            return true;
        }
        let instant = self.now.instant;
        let Some(lane) = self.lanes.get(&id) else { return false };
        let Some(until) = lane.quiet_until.filter(|until| lane.asked_at < *until) else { return false };
        let pause = until.saturating_duration_since(instant).max(LOOK_AGAIN);
        self.look_again(id, Trouble::OutcomeUnknown, pause);
        true
    }

    /// Whether `side` has another topic under the lane's name than the one that its route is about.
    pub(super) fn is_replaced(&self, lane: &Lane, side: Side) -> bool {
        let (leadership, partition, routed) = match side {
            Side::Source => (&self.source, &lane.route.source, lane.route.source_topic_id),
            Side::Destination => {
                (&self.destination, &lane.route.destination, lane.route.destination_topic_id)
            }
        };
        let present = leadership.leaders.get(partition).and_then(|leader| leader.topic_id);
        matches!((present, routed), (Some(present), Some(routed)) if present != routed)
    }
}

fn is_the_same(ids: (Option<TopicId>, Option<TopicId>)) -> bool {
    matches!(ids, (Some(copied), Some(present)) if copied == present)
}

/// A log that has nothing, and never had anything, of a topic that no id tells from the one that was copied to.
pub(super) fn is_blank(lane: &Lane, evidence: &Evidence) -> bool {
    let ids = (lane.acked.destination_topic_id, lane.route.destination_topic_id);
    evidence.latest <= Offset(0)
        && !matches!(evidence.producer, ProducerEvidence::Last(_))
        && !matches!(ids, (Some(_), Some(_)))
}

fn facts(lane: &Lane) -> Facts {
    let position = lane.moving.as_ref().map_or(lane.acked.next_source, |to| to.next_source);
    Facts {
        position,
        source: (lane.source_start, lane.source_end.unwrap_or(lane.source_start)),
        destination_end: lane.acked.destination_end,
    }
}

/// One line for an event that a lane goes on after.
fn tell_moved(lane: &Lane, to: &Move) {
    warn!(source = %lane.route.source, destination = %lane.route.destination, reason = %to.trouble,
        next_source = %to.next_source, offsets_skipped = to.counts.offsets_skipped, "{}", to.goes_on);
}
