//! How a lane comes to know where it stands, before anything is sent.
//!
//! ```text
//! Ready ─▶ Source (first time, or after doubt about it) ─▶ Destination ─▶ [Tail] ─▶ [Saving] ─▶ Probing
//! ```
//!
//! Looks are gathered per broker: a thousand lanes open with few requests.

use std::time::Duration;

use client::ErrorCode;
use model::{BrokerId, LeaderEpoch, Offset, TimestampRule};
use offsets::Producer;
use tracing::{debug, info, warn};

use super::living::is_blank;
use super::{Engine, Identity, backoff_of, producer_of};
use crate::contents::Contents;
use crate::events::{Action, ConnectionId, LaneId, LaneKey, SourceEvidence};
use crate::lane::{Lane, Opening, State, selection_of};
use crate::life::{Missing, Recreated};
use crate::options::ExistingRecords;
use crate::place::{
    Evidence, Placement, ProducerEvidence, Tail, TailFrom, TailOurs, hole_before_an_empty_end, is_shared,
    place, place_share, sequence_after, share_tail_from, tail_from,
};
use crate::trouble::{Side, Trouble};

/// How long a new leader may show less than it has before that is believed: its high watermark follows
/// the followers' next fetches.
pub(super) const LEADER_SETTLES: Duration = Duration::from_secs(5);
/// How long a lane stands by before it looks whether another process still writes for it. Two looks that show the
/// same mean that it does not, so this is half of how long a lane may stand after the other one died.
const STAND_BY: Duration = Duration::from_millis(800);
/// Between two looks at something that changes by itself.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Lanes in one look: bounds the request.
const LANES_PER_LOOK: usize = 2000;

impl Engine {
    pub(super) fn allocate_producer(&mut self) {
        let due = match self.identity {
            Identity::Missing(at) => at.is_none_or(|at| at <= self.now.instant),
            _ => false,
        };
        if due && self.flow_trouble.is_none() && !self.lanes.is_empty() && !self.stopping {
            self.identity = Identity::Asked;
            self.actions.push_back(Action::AllocateProducer);
        }
    }

    pub(super) fn producer_allocated(&mut self, result: Result<Producer, client::CallError>) {
        if !matches!(self.identity, Identity::Asked) {
            self.spread_id_allocated(result);
            return;
        }
        match result {
            Ok(producer) => {
                info!(producer_id = %producer.producer_id, "producer id allocated for this flow");
                self.identity = Identity::Unsaved(producer);
                self.save_now = true;
            }
            Err(error) => {
                self.destination.failures += 1;
                let pause = backoff_of(
                    self.destination.failures,
                    (self.options.backoff_min, self.options.backoff_max),
                );
                self.identity = Identity::Missing(Some(self.now.instant + pause));
                let trouble = Trouble::from_call(Side::Destination, "InitProducerId", &error);
                if self.destination.trouble.as_ref() != Some(&trouble) {
                    warn!(error = %trouble, "no producer id from the destination, retrying");
                }
                self.destination.trouble = Some(trouble);
            }
        }
    }

    /// Opens every lane that waited for the producer id.
    pub(super) fn step_all(&mut self) {
        self.to_step.extend(self.lanes.keys().copied());
    }

    /// Takes a lane's next step, if it can be taken.
    pub(super) fn step(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.state {
            State::Blocked { retry_at } if retry_at <= self.now.instant => {
                lane.reopen(State::Opening(Opening::Ready));
            }
            State::Opening(Opening::Ready) => {}
            State::Probing | State::Flowing => {
                self.offer(id);
                return;
            }
            State::Draining if lane.in_flight.is_empty() => {
                self.drained(id);
                return;
            }
            _ => return,
        }
        if let Some(trouble) = self.flow_trouble.clone() {
            self.doubt(id, Some(trouble), false);
            return;
        }
        // What is still under way may yet be appended: its answer, or the end of its connection, first.
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.in_flight.is_empty()) else { return };
        if lane.is_of_other_kind {
            let trouble = Trouble::SpreadChanged { was_spread: lane.share.is_none() };
            self.doubt(id, Some(trouble), false);
            return;
        }
        if self.producer_of(lane).is_none() {
            return;
        }
        let source = self.source.leaders.get(&lane.route.source).copied();
        let destination = self.destination.leaders.get(&lane.route.destination).copied();
        let missing = match (source, destination) {
            (None, _) => Some(Side::Source),
            (_, None) => Some(Side::Destination),
            _ => None,
        };
        if let Some(side) = missing {
            let known = self.side(side).last_answer.is_some();
            self.side(side).wanted = true;
            // Before the first answer nothing is wrong yet: that answer steps the lane.
            if known {
                let Some(lane) = self.lanes.get_mut(&id) else { return };
                lane.attempts = lane.attempts.max(1);
                self.doubt(id, Some(Trouble::NoLeader(side)), false);
            }
            return;
        }
        let (Some(source), Some(destination)) = (source, destination) else { return };
        let replaced =
            [Side::Source, Side::Destination].into_iter().find(|side| self.is_replaced(lane, *side));
        if let Some(side) = replaced {
            // Routes that are about the new topic end it, or an answer that is younger than they are.
            self.side(side).wanted = true;
            let Some(lane) = self.lanes.get_mut(&id) else { return };
            lane.attempts = lane.attempts.max(1);
            self.doubt(id, Some(Trouble::TopicReplaced(side)), false);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.asked = Some(if lane.source_checked { destination } else { source });
        if lane.source_checked {
            lane.state = State::Opening(Opening::Destination);
            // It may still wait for its turn at a broker that led before.
            self.look_destination.values_mut().for_each(|waiting| _ = waiting.remove(&id));
            self.look_destination.entry(destination.broker).or_default().insert(id);
        } else {
            lane.state = State::Opening(Opening::Source);
            self.look_source.entry(source.broker).or_default().insert(id);
        }
    }

    /// Turns the gathered looks into actions, one per broker at a time.
    pub(super) fn flush_looks(&mut self) {
        for (broker, ids) in std::mem::take(&mut self.look_source) {
            let ids: Vec<LaneId> = ids.into_iter().collect();
            for some in ids.chunks(LANES_PER_LOOK) {
                let asked = self.ask(some, Opening::Source);
                let (lanes, epochs) = asked
                    .map(|lane| {
                        let source = &lane.route.source;
                        // Shares stop where their source was cut, and would name it more than once.
                        let epoch = lane.share.is_none().then_some(lane.acked.source_leader_epoch);
                        ((lane.key(), source.clone()), epoch.map(|epoch| (source.clone(), epoch)))
                    })
                    .unzip::<_, _, _, Vec<_>>();
                let epochs = epochs.into_iter().flatten();
                let epochs = match self.options.life.source_truncated {
                    Missing::Stop => Vec::new(),
                    Missing::Skip => epochs.filter(|(_, epoch)| *epoch != LeaderEpoch::UNKNOWN).collect(),
                };
                self.actions.push_back(Action::LookAtSource { broker, lanes, epochs });
            }
        }
        let brokers: Vec<BrokerId> = self
            .look_destination
            .keys()
            .filter(|broker| !self.looking_destination.contains(broker))
            .copied()
            .collect();
        for broker in brokers {
            let Some(waiting) = self.look_destination.remove(&broker) else { continue };
            let mut ids: Vec<LaneId> = waiting.into_iter().collect();
            if ids.len() > LANES_PER_LOOK {
                self.look_destination.insert(broker, ids.split_off(LANES_PER_LOOK).into_iter().collect());
            }
            let asked = self.ask(&ids, Opening::Destination);
            let asked: Vec<_> =
                asked.map(|lane| (lane.key(), lane.route.destination.clone(), lane.share)).collect();
            let asks = |(key, to, share)| Some((key, to, producer_of(&self.identity, share)?));
            let lanes: Vec<_> = asked.into_iter().filter_map(asks).collect();
            if lanes.is_empty() {
                continue;
            }
            self.looking_destination.insert(broker);
            self.actions.push_back(Action::LookAtDestination { broker, lanes });
        }
    }

    /// Those of `ids` that wait for a look at `side`, which is asked for now.
    fn ask(&mut self, ids: &[LaneId], side: Opening) -> impl Iterator<Item = &Lane> {
        let waits = move |lane: &Lane| lane.state == State::Opening(side);
        for id in ids {
            // One that was looked at elsewhere meanwhile sends by that look.
            if let Some(lane) = self.lanes.get_mut(id).filter(|lane| waits(lane)) {
                lane.asked_at = self.now.instant;
            }
        }
        ids.iter().filter_map(|id| self.lanes.get(id)).filter(move |lane| waits(lane))
    }

    pub(super) fn source_looked(
        &mut self,
        _broker: BrokerId,
        lanes: Vec<(LaneKey, Result<SourceEvidence, Trouble>)>,
    ) {
        for (key, result) in lanes {
            if self.lane_at(key).is_none_or(|lane| lane.state != State::Opening(Opening::Source)) {
                continue;
            }
            match result {
                Ok(evidence) => self.check_source(key.id, evidence),
                Err(trouble) => {
                    self.source.wanted = true;
                    self.not_shown(key.id, trouble);
                }
            }
        }
    }

    /// Compares the position with what the source has, and sets it where there was none.
    fn check_source(&mut self, id: LaneId, evidence: SourceEvidence) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.source_end = Some(evidence.end);
        lane.source_start = evidence.log_start;
        let begins = lane.fresh && !lane.taken_over;
        if begins {
            let start = match evidence.committed {
                Some(committed) if committed > evidence.log_start => {
                    info!(source = %lane.route.source, offset = %committed, group = self.options.start_group,
                        "no stored progress: starts at the group's committed offset, earlier records are not copied");
                    committed
                }
                _ => evidence.log_start,
            };
            lane.acked.next_source = start;
            lane.acked.source_topic_id = lane.route.source_topic_id;
            let start = self.begin_of(id, start);
            let topic_begun = self.topic_begun(id);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.acked.next_source = start;
                // Where the others began says nothing of a topic that was created anew since.
                lane.acked.source_topic_id = topic_begun.or(lane.acked.source_topic_id);
            }
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.moving = None;
        let Some(lane) = self.lanes.get(&id) else { return };
        let event = self.source_event(lane, &evidence);
        if event.is_some() && !self.is_sure_of_source(lane, &evidence) {
            // A new leader's high watermark follows its followers.
            let lags = Trouble::Passing(Side::Source, "ListOffsets", ErrorCode::OFFSET_NOT_AVAILABLE);
            self.source.wanted = true;
            self.look_again(id, lags, LOOK_AGAIN);
            return;
        }
        if event.is_some_and(|event| !self.react_to_source(id, event, &evidence)) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.diverged = None;
        lane.source_end_at_start.get_or_insert(evidence.end);
        lane.source_checked = true;
        let gone = |fingerprint: offsets::Fingerprint| fingerprint.base_offset < evidence.log_start;
        if lane.route.rule.source_compacted || lane.acked.fingerprint.is_none_or(gone) {
            lane.give_up_verifying();
        }
        lane.state = State::Opening(Opening::Ready);
        self.to_step.insert(id);
        self.step(id);
    }

    pub(super) fn destination_looked(
        &mut self,
        broker: BrokerId,
        connection: Option<ConnectionId>,
        lanes: Vec<(LaneKey, Result<Evidence, Trouble>)>,
    ) {
        self.looking_destination.remove(&broker);
        if let Some(connection) = connection {
            self.connections.insert(broker, connection);
        }
        for (key, result) in lanes {
            let waits = |lane: &&mut Lane| lane.state == State::Opening(Opening::Destination);
            let Some(lane) = self.lane_at(key).filter(waits) else { continue };
            lane.seen_on = connection;
            match result {
                Ok(evidence) => self.place_lane(key.id, broker, &evidence, None),
                Err(trouble) => {
                    self.destination.wanted = true;
                    self.not_shown(key.id, trouble);
                }
            }
        }
    }

    /// A look showed nothing.
    fn not_shown(&mut self, id: LaneId, trouble: Trouble) {
        match trouble {
            // A new leader says so until its followers have told how far they are (KIP-207), which is soon.
            Trouble::Passing(_, _, ErrorCode::OFFSET_NOT_AVAILABLE) => {
                self.look_again(id, trouble, LOOK_AGAIN);
            }
            _ => self.doubt(id, Some(trouble), false),
        }
    }

    pub(super) fn tail_read(&mut self, key: LaneKey, mut evidence: Evidence, tail: Result<Tail, Trouble>) {
        let Some(lane) = self.lane_at(key) else { return };
        if lane.state != State::Opening(Opening::Tail) {
            return;
        }
        let leader = self.destination.leaders.get(&self.lanes[&key.id].route.destination).copied();
        match (tail, leader) {
            (Ok(tail), Some(leader)) => {
                evidence.tail = Some(tail);
                self.place_lane(key.id, leader.broker, &evidence, None);
            }
            (Ok(_), None) => self.doubt(key.id, Some(Trouble::NoLeader(Side::Destination)), false),
            (Err(trouble), _) => self.doubt(key.id, Some(trouble), false),
        }
    }

    pub(super) fn contents_read(
        &mut self,
        key: LaneKey,
        evidence: &Evidence,
        contents: Result<Contents, Trouble>,
    ) {
        if let Some(lane) = self.lane_at(key).filter(|lane| lane.is_reading()) {
            // For a walk across a change of the source's leader.
            let at = lane.acked.next_source;
            match contents {
                Ok(contents) if contents.records.is_empty() => {
                    // Nothing is left to compare with.
                    let (from, log_start) = (lane.acked.destination_end, evidence.latest);
                    self.doubt(key.id, Some(Trouble::TailDeleted { from, log_start }), false);
                }
                // Others' records made up for ours that are not replicated yet.
                Ok(contents) if contents.last_sequence != Some(sequence_after(lane.acked.sequence, -1)) => {
                    lane.may_have_sent = true;
                    self.look_again(key.id, Trouble::NotReplicated, LOOK_AGAIN);
                }
                Ok(contents) if lane.confirm(&contents) => self.offer(key.id),
                Ok(_) => self.doubt(key.id, Some(Trouble::SourceChanged { at }), false),
                Err(trouble) => self.doubt(key.id, Some(trouble), false),
            }
            return;
        }
        let Some(lane) = self.lane_at(key).filter(|lane| lane.state == State::Opening(Opening::Tail)) else {
            return;
        };
        let destination = lane.route.destination.clone();
        let (from, fresh) = (lane.acked.destination_end, lane.fresh);
        match (contents, self.destination.leaders.get(&destination).copied()) {
            // There is nothing to compare with.
            (Ok(contents), _) if contents.records.is_empty() && !fresh => {
                let log_start = evidence.log_start;
                self.doubt(key.id, Some(Trouble::TailDeleted { from, log_start }), false);
            }
            (Ok(contents), Some(leader)) => self.place_lane(key.id, leader.broker, evidence, Some(contents)),
            (Ok(_), None) => self.doubt(key.id, Some(Trouble::NoLeader(Side::Destination)), false),
            (Err(trouble), _) => self.doubt(key.id, Some(trouble), false),
        }
    }

    /// Decides where a lane stands, by what its destination's leader showed.
    /// `contents`: the flow's records at the destination after the checkpoint, where they were read.
    fn place_lane(&mut self, id: LaneId, broker: BrokerId, evidence: &Evidence, contents: Option<Contents>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let asked_at = lane.asked_at;
        let leader = self.destination.leaders.get(&lane.route.destination).copied();
        let (Some(leader), Some(connection)) = (leader, lane.seen_on) else {
            self.doubt(id, Some(Trouble::NoLeader(Side::Destination)), false);
            return;
        };
        if leader.broker != broker {
            self.doubt(id, None, false);
            return;
        }
        lane.last_contact = asked_at;
        lane.shown_at.get_or_insert(self.now.instant);
        let recreated = match (lane.acked.destination_topic_id, lane.route.destination_topic_id) {
            (Some(copied), Some(present)) => copied != present,
            _ => false,
        };
        if recreated && !lane.fresh {
            self.destination_recreated(id, evidence);
            return;
        }
        if lane.fresh {
            self.place_fresh(id, broker, evidence, contents);
            return;
        }
        if evidence.latest < lane.acknowledged_end {
            if asked_at < lane.doubt_at + self.options.replica_lag_max {
                self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
                return;
            }
            // Then it is lost.
            lane.acknowledged_end = Offset(0);
        }
        if std::mem::take(&mut lane.resume_sequence)
            && !lane.unsettled
            && (lane.share.is_some() || evidence.latest == lane.acked.destination_end)
        {
            self.resume_sequence(id, broker, evidence);
            return;
        }
        // Nobody may remember us, and then the log's length alone may be that of other records of ours.
        let is_shown =
            evidence.tail.is_some() || evidence.latest <= evidence.log_start.max(tail_from(&lane.acked));
        let is_settled = is_shown && asked_at >= lane.settles_at(self.options.replica_lag_max);
        let unsettled = lane.unsettled && !is_settled;
        let placement = match lane.share {
            None => place(&lane.acked, evidence, unsettled),
            Some(_) => place_share(&lane.acked, evidence, unsettled),
        };
        match placement {
            // Counts prove nothing where others may write: theirs may be replicated, and ours not.
            Placement::Found { records, .. }
                if records > 0
                    && evidence.tail.is_none()
                    && lane.unsettled
                    && (self.options.existing_records == ExistingRecords::Append
                        || is_shared(&lane.acked)) =>
            {
                self.read_tail(id, broker, evidence);
            }
            Placement::Found { records, foreign } => {
                let moves = lane.moving.is_some();
                if lane.acked.selection != selection_of(self.options.isolation) && !moves {
                    self.change_selection(id, records);
                    return;
                }
                if records > 0 && !lane.may_have_sent {
                    // The log moves under this process: somebody else copies the same flow.
                    let last = sequence_after(lane.acked.sequence, records);
                    let moved = lane.standing_by.replace(last) != Some(last);
                    if moved {
                        self.look_again(id, Trouble::SecondWriter { records }, STAND_BY);
                        return;
                    }
                    debug!(source = %lane.route.source, "the other process no longer writes, this one goes on");
                }
                if foreign > 0 && lane.share.is_none() {
                    warn!(destination = %lane.route.destination, records = foreign,
                        "others write to the copy's partition: offsets of the two sides drift apart");
                }
                if moves {
                    self.place_moving(id, broker, records, evidence, contents);
                    return;
                }
                let last = sequence_after(lane.acked.sequence, records - 1);
                if contents.as_ref().is_some_and(|contents| contents.last_sequence != Some(last)) {
                    // More came between the looks.
                    self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
                    return;
                }
                if records == 0 && lane.is_overtaken() {
                    self.overtaken(id, evidence);
                    return;
                }
                let is_counted = !lane.route.rule.source_compacted && !lane.is_overtaken();
                if records > 0 && !is_counted && contents.is_none() {
                    let from = lane.acked.destination_end.max(evidence.log_start);
                    self.read_contents_from(from, id, broker, evidence);
                    return;
                }
                let end_may_lag = evidence.producer == ProducerEvidence::Unsupported && lane.begun;
                let walk_end = match evidence.tail {
                    Some(Tail::Share { end, .. }) => Some(end),
                    _ => None,
                };
                debug!(source = %lane.route.source, offset = %lane.acked.next_source, sent = records, "position found");
                if lane.share.is_some() && records == 0 && evidence.latest < lane.acked.destination_end {
                    // The log is shorter than it was: where a restart would look for what follows, is stored first.
                    lane.acked.destination_end = evidence.latest;
                    lane.dirty = true;
                    lane.reopen(State::Opening(Opening::Saving));
                    self.save_now = true;
                    return;
                }
                lane.placed(
                    (records, foreign, walk_end),
                    (evidence.log_start, evidence.latest),
                    leader,
                    connection,
                    (self.options.replica_lag_max, end_may_lag),
                    self.now.instant,
                );
                if let Some(Contents { records: contents, .. }) = contents
                    && records > 0
                {
                    info!(source = %lane.route.source, records,
                        "the source has deleted some of the last records copied: finding the position by comparing");
                    lane.compare(contents, evidence.log_start, self.now.instant);
                }
                self.ready_after_walk(id);
            }
            Placement::ReadTail => self.read_tail(id, broker, evidence),
            Placement::LookAgain
                if evidence.tail.is_none()
                    && evidence.latest > evidence.log_start
                    && asked_at >= lane.doubt_at + self.options.replica_lag_max =>
            {
                self.read_tail(id, broker, evidence);
            }
            // By now it would show, if it still were there.
            Placement::LookAgain
                if lane.share.is_some()
                    && evidence.tail.is_some()
                    && (matches!(
                        lane.trouble,
                        Some(Trouble::ShareLost { .. } | Trouble::TailDeleted { .. })
                    ) || asked_at >= lane.doubt_at + self.options.replica_lag_max) =>
            {
                let from = tail_from(&lane.acked);
                // Where it has sent nothing that it knows the place of, another process of the flow may have, before what
                // others appended since.
                let may_be_deleted = evidence.tail == Some(Tail::NoneOurs)
                    && lane.acked.segments.is_empty()
                    && evidence.log_start > Offset(0);
                let trouble = if may_be_deleted {
                    Trouble::TailDeleted { from, log_start: evidence.log_start }
                } else {
                    Trouble::ShareLost { from, latest: evidence.latest }
                };
                self.doubt(id, Some(trouble), false);
            }
            Placement::LookAgain => {
                let hole =
                    hole_before_an_empty_end(&lane.acked, evidence).filter(|_| evidence.tail.is_none());
                let is_known = matches!(lane.trouble, Some(Trouble::DestinationHole { .. }));
                if let Some(hole) = hole
                    && (is_known || asked_at >= lane.doubt_at + self.options.replica_lag_max)
                {
                    self.doubt(id, Some(hole), false);
                    return;
                }
                let pause = if evidence.tail.is_none() { LOOK_AGAIN } else { LEADER_SETTLES };
                self.look_again(id, Trouble::NotReplicated, pause);
            }
            Placement::WaitForReplicas => {
                if !self.waits_for_late(id) {
                    self.read_tail(id, broker, evidence);
                }
            }
            Placement::Blocked(Trouble::DestinationLost { .. } | Trouble::ShareLost { .. })
                if asked_at < lane.doubt_at + LEADER_SETTLES =>
            {
                self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
            }
            // Without topic ids (before 2.8) a topic that was created anew shows so, or one that has lost everything.
            Placement::Blocked(Trouble::DestinationLost { .. })
                if is_blank(lane, evidence)
                    && lane.share.is_none()
                    && self.options.life.destination_recreated != Recreated::Stop =>
            {
                if asked_at < lane.doubt_at + self.options.replica_lag_max {
                    self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
                } else {
                    self.destination_recreated(id, evidence);
                }
            }
            // A new leader's high watermark follows its followers; before it has, the log looks shorter.
            Placement::StepBack { remembered: false, .. }
                if asked_at < lane.doubt_at + self.options.replica_lag_max =>
            {
                self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
            }
            Placement::StepBack { records, .. } => {
                let expected = lane.acked.destination_end;
                // A source that is another one has not what was lost.
                if lane.moving.is_none() && lane.step_back(records) {
                    lane.life.records_resent += records.unsigned_abs();
                    warn!(destination = %lane.route.destination, records, log_end = %evidence.latest, %expected,
                        "the destination lost acknowledged records, sending them again");
                    // What is stored is ahead of the destination now: a compacted source may give other records
                    // for the same sequences, so nothing is sent before a restart would know.
                    lane.state = State::Opening(Opening::Saving);
                    self.save_now = true;
                } else {
                    let latest = evidence.latest;
                    let trouble = match lane.share {
                        Some(_) => Trouble::ShareLost { from: tail_from(&lane.acked), latest },
                        None => Trouble::DestinationLost { expected, latest, records },
                    };
                    self.doubt(id, Some(trouble), false);
                }
            }
            Placement::Blocked(trouble) => self.doubt(id, Some(trouble), false),
        }
    }

    /// The records that follow are selected by another isolation level than those before, of which `records` are to be
    /// counted. That can begin at a stored position only: where both selections have been counted from one, nobody can
    /// tell which record has which sequence.
    fn change_selection(&mut self, id: LaneId, records: i64) {
        if records > 0 {
            self.doubt(id, Some(Trouble::SelectionChanged), false);
            return;
        }
        if self.waits_for_late(id) {
            return;
        }
        let selection = selection_of(self.options.isolation);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.acked.selection = selection;
        lane.dirty = true;
        lane.reopen(State::Opening(Opening::Saving));
        self.save_now = true;
    }

    /// Whether a lane waits until nothing sent before can be appended any more, and for a look after that: the
    /// sequences that follow will be those of other records.
    pub(super) fn waits_for_late(&mut self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.unsettled) else { return false };
        let until = lane.settles_at(self.options.replica_lag_max);
        if lane.asked_at >= until {
            return false;
        }
        let pause = until.saturating_duration_since(self.now.instant).max(LOOK_AGAIN);
        self.look_again(id, Trouble::OutcomeUnknown, pause);
        true
    }

    /// A leader refuses a sequence that has begun anew, and nothing was appended since: the number of our last record
    /// in the log is the one that it remembers.
    fn resume_sequence(&mut self, id: LaneId, broker: BrokerId, evidence: &Evidence) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match evidence.tail {
            None => {
                lane.resume_sequence = true;
                let last = lane
                    .acked
                    .segments
                    .end()
                    .map_or(lane.acked.destination_end, |(_, end)| Offset(end.0 - 1));
                let from = last.max(evidence.log_start);
                let among_others = lane.share.is_some();
                let ours = if among_others { TailOurs::All } else { TailOurs::Newest };
                self.read_tail_from(TailFrom { from, resume: from, ours }, id, evidence, broker);
            }
            Some(Tail::Ours(last) | Tail::Share { last, .. }) => {
                info!(destination = %lane.route.destination, last_sequence = last,
                    "the destination's leader remembers the sequence of before, going on with that");
                lane.resume_sequence(last);
                lane.reopen(State::Opening(Opening::Saving));
                self.save_now = true;
            }
            // Then it is no sequence of this log that it remembers: tried again, and told.
            Some(_) => self.look_again(id, Trouble::SequenceRefused { sequence: 0 }, LOOK_AGAIN),
        }
    }

    fn read_tail(&mut self, id: LaneId, broker: BrokerId, evidence: &Evidence) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let what = match lane.share {
            None => {
                let from = tail_from(&lane.acked).max(evidence.log_start);
                TailFrom { from, resume: from, ours: TailOurs::Newest }
            }
            Some(_) => share_tail_from(&lane.acked, evidence.log_start, lane.route.rule.source_compacted),
        };
        self.read_tail_from(what, id, evidence, broker);
    }

    fn read_tail_from(&mut self, what: TailFrom, id: LaneId, evidence: &Evidence, broker: BrokerId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(producer) = producer_of(&self.identity, lane.share) else { return };
        lane.state = State::Opening(Opening::Tail);
        self.actions.push_back(Action::ReadTail {
            lane: lane.key(),
            broker,
            partition: lane.route.destination.clone(),
            producer,
            what,
            evidence: evidence.clone(),
        });
    }

    pub(super) fn read_contents_from(
        &mut self,
        from: Offset,
        id: LaneId,
        broker: BrokerId,
        evidence: &Evidence,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(producer) = producer_of(&self.identity, lane.share) else { return };
        lane.state = State::Opening(Opening::Tail);
        self.actions.push_back(Action::ReadContents {
            lane: lane.key(),
            broker,
            partition: lane.route.destination.clone(),
            producer,
            from,
            evidence: evidence.clone(),
            timed: lane.route.rule.timestamps == TimestampRule::AsAtSource,
        });
    }

    /// Looks once more after `pause`; not a failed attempt. Said in the log where it takes long.
    pub(super) fn look_again(&mut self, id: LaneId, trouble: Trouble, pause: Duration) {
        let retry_at = self.now.instant + pause;
        let Some(lane) = self.lanes.get(&id) else { return };
        if retry_at >= lane.doubt_at + LEADER_SETTLES {
            self.set_lasting_trouble(id, trouble);
        } else if lane.trouble.is_none() {
            self.set_trouble(id, trouble);
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.reopen(State::Blocked { retry_at });
        self.timers.insert((retry_at, id));
    }

    /// The store knows where the lane begins.
    pub(super) fn position_saved(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        // A lane that began to wait after that save was made waits for the next.
        if lane.state != State::Opening(Opening::Saving) || lane.dirty {
            return;
        }
        lane.fresh = false;
        lane.may_have_sent = false;
        // Time has passed and the look with it; a second one is cheap, and finds the lane stored.
        lane.state = State::Opening(Opening::Ready);
        self.step(id);
    }

    /// A lane that has walked over what is there already may have to prove that it is still the same, and may
    /// need a new start of its sequence.
    pub(super) fn ready_after_walk(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let producer = producer_of(&self.identity, lane.share);
        if let (Some((from, latest)), Some((leader, _)), Some(producer), false) =
            (lane.to_confirm(), lane.looked_at, producer, lane.confirming)
        {
            lane.confirming = true;
            self.actions.push_back(Action::ReadContents {
                lane: lane.key(),
                broker: leader.broker,
                partition: lane.route.destination.clone(),
                producer,
                from,
                evidence: Evidence {
                    producer: ProducerEvidence::Unsupported,
                    log_start: from,
                    latest,
                    tail: None,
                },
                timed: lane.route.rule.timestamps == TimestampRule::AsAtSource,
            });
            return;
        }
        if lane.to_confirm().is_some() {
            return;
        }
        if lane.restart_sequence && !lane.is_walking() && lane.is_reading() {
            lane.restart_sequence();
            lane.reopen(State::Opening(Opening::Saving));
            self.save_now = true;
        }
    }

    /// The end of the source as of the first look, for a lane that has none yet.
    pub(super) fn note_source_end(&mut self, id: LaneId, end: Option<Offset>) {
        if let (Some(lane), Some(end)) = (self.lanes.get_mut(&id), end) {
            lane.source_end = Some(end);
        }
    }
}
