//! Hands batches to the destination's connections, and decides what each answer means.
//!
//! A request carries at most one batch of a lane, and batches of many lanes. What an answer means is one
//! function ([`outcome`]): everything that is not a plain success starts with a new look at the
//! destination, never with a guess.

use client::{Class, ErrorCode, ProduceBatch, ProduceReply, Produced, classify};
use model::{BrokerId, Offset, TimestampRule, TopicPartition};
use std::cmp::Ordering;
use tracing::{debug, warn};

use super::{ABSENT, Crowded, Engine, Identity, Request, producer_of};
use crate::events::{Action, LaneId, RequestId, SendError};
use crate::lane::{Sent, State};
use crate::trouble::{Side, Trouble};

/// A sequence that is refused so often after a look is not a matter of the look's moment.
const REFUSALS_MAX: u32 = 5;

/// What a produce answer means for the lane of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// At the destination from this offset on, where it was expected.
    Appended(Offset),
    /// Something is not as we thought: look again. `unsettled`: the batch may or may not be there.
    Doubt { trouble: Option<Trouble>, unsettled: bool },
    /// The broker forgot our sequence and takes only 0 (before 2.5).
    SequenceForgotten,
}

/// The meaning of `produced`, the answer to `sent` (`LANE.md`, "Sending"). `append_time`: the topic shows
/// the time of the append. `among_others`: other shares append to the partition as well.
pub(super) fn outcome(produced: &Produced, sent: &Sent, append_time: bool, among_others: bool) -> Outcome {
    let doubt = |trouble, unsettled| Outcome::Doubt { trouble, unsettled };
    let error = produced.error;
    if error.is_ok() {
        let base = produced.base_offset.unwrap_or(Offset(-1));
        let is_expected = if among_others { base >= sent.expected } else { base == sent.expected };
        if !is_expected {
            // Nothing is lost by looking: sequences tell ours from others'.
            return doubt(None, false);
        }
        if produced.log_append_time_ms.is_some() && !append_time {
            // A broker answers so only to a batch it already has, and this lane never sends one twice
            // without having looked: another process sends for it.
            return doubt(Some(Trouble::SecondWriter { records: i64::from(sent.records()) }), false);
        }
        return Outcome::Appended(base);
    }
    let refused = || {
        Some(Trouble::BatchRefused {
            at: sent.first_source,
            bytes: sent.bytes,
            error,
            message: produced.message.clone(),
        })
    };
    match error {
        // Behind a failed batch it means nothing, at the head that our picture is wrong: look.
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => doubt(None, false),
        ErrorCode::UNKNOWN_PRODUCER_ID => Outcome::SequenceForgotten,
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => doubt(Some(Trouble::Fenced), false),
        // A first try was not appended; whether this was one, only the log can tell.
        ErrorCode::NOT_ENOUGH_REPLICAS => {
            doubt(Some(Trouble::Passing(Side::Destination, "Produce", error)), true)
        }
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => doubt(refused(), false),
        _ => match classify(error) {
            Class::OperatorNeeded | Class::Fatal => doubt(
                Some(Trouble::Refused(Side::Destination, "Produce", error, produced.message.clone())),
                false,
            ),
            // With a base offset it was appended by a leader that then ceased to be one: it may have reached
            // the next one, or not. Without one nothing was appended.
            Class::RefreshAndRetry => {
                let appended = produced.base_offset.is_some_and(|base| base.0 >= 0);
                doubt(Some(Trouble::Passing(Side::Destination, "Produce", error)), appended)
            }
            Class::Retry | Class::UnknownOutcome => {
                doubt(Some(Trouble::Passing(Side::Destination, "Produce", error)), true)
            }
        },
    }
}

/// An order that is found by numbers, and by names only where those are the same.
fn number_first(a: &TopicPartition, b: &TopicPartition) -> Ordering {
    a.partition.cmp(&b.partition).then_with(|| a.topic.cmp(&b.topic))
}

impl Engine {
    /// Fills produce requests for every broker with room for one.
    pub(super) fn send_batches(&mut self) {
        if self.stopping || self.lease_lost {
            return;
        }
        let brokers: Vec<BrokerId> = self.sendable.keys().copied().collect();
        for broker in brokers {
            while self.sendable.get(&broker).is_some_and(|waiting| !waiting.is_empty()) {
                if !self.ways.may_send(broker, self.under_way(broker), &self.options) {
                    let last = self.now.instant;
                    self.crowded_at.entry(broker).or_insert(Crowded { last, told: false }).last = last;
                    break;
                }
                if self.send_not_before.get(&broker).is_some_and(|at| *at > self.now.instant) {
                    break;
                }
                self.send_not_before.remove(&broker);
                if !self.send_request(broker) {
                    break;
                }
            }
        }
    }

    /// Requests under way to `broker`, and their bytes.
    pub(super) fn under_way(&self, broker: BrokerId) -> (usize, usize) {
        self.requests_out.get(&broker).copied().unwrap_or_default()
    }

    /// Sends one request to `broker`; false if there is nothing to send.
    fn send_request(&mut self, broker: BrokerId) -> bool {
        let rules = self.send_rules();
        let Identity::Ready(_) = self.identity else { return false };
        let Some(connection) = self.connections.get(&broker).copied() else {
            // It broke with nothing of these lanes under way. A look makes another.
            for id in self.sendable.remove(&broker).unwrap_or_default() {
                if self.lanes.get_mut(&id).is_some_and(|lane| lane.leave_list_of(broker)) {
                    self.doubt(id, None, false);
                }
            }
            return false;
        };
        let request = RequestId(self.fresh_id());
        let Some(waiting) = self.sendable.get_mut(&broker) else { return false };
        let mut batches = Vec::with_capacity(waiting.len());
        let mut lanes: Vec<LaneId> = Vec::with_capacity(waiting.len());
        let mut bytes = 0;
        let mut doubtful = Vec::new();
        let mut next_time = Vec::new();
        while let Some(id) = waiting.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if !lane.leave_list_of(broker) {
                continue;
            }
            let Some((leader, looked_at_connection)) = lane.looked_at else { continue };
            if leader.broker != broker || !lane.may_send(&rules) {
                continue;
            }
            let stale = lane.in_flight.is_empty()
                && self.now.instant.saturating_duration_since(lane.last_contact)
                    > self.options.metadata_age_max;
            if looked_at_connection != connection || stale || lane.asked_at < self.returned_at {
                doubtful.push(id);
                continue;
            }
            let destination = &lane.route.destination;
            if lane.share.is_some()
                && batches.iter().any(|batch: &ProduceBatch| batch.partition == *destination)
            {
                // Another share's batch: a request names a partition once.
                lane.queued_for = Some(broker);
                next_time.push(id);
                continue;
            }
            if bytes > 0 && bytes + lane.next_bytes() > self.options.produce_bytes_max {
                lane.queued_for = Some(broker);
                waiting.push_front(id);
                break;
            }
            let Some(producer) = producer_of(&self.identity, lane.share) else { continue };
            if let Some(batch) = lane.send(request, producer, rules.aged_before_ms) {
                bytes += batch.header.len() + batch.payload.len();
                batches.push(batch);
                lanes.push(id);
            }
        }
        for id in next_time.into_iter().rev() {
            waiting.push_front(id);
        }
        for id in doubtful {
            self.doubt(id, None, false);
        }
        if batches.is_empty() {
            return false;
        }
        let sent = lanes.clone();
        self.requests
            .insert(request, Request { broker, connection, lanes, bytes, sent_at: self.now.instant });
        let out = self.requests_out.entry(broker).or_default();
        *out = (out.0 + 1, out.1 + bytes);
        // A process that stands still before the bytes leave has to look again.
        let fresh_until = self.now.instant + ABSENT;
        let not_after = self.lease.map_or(fresh_until, |until| until.min(fresh_until));
        self.actions.push_back(Action::Send { broker, connection, request, batches, not_after });
        for id in sent {
            self.offer(id);
        }
        true
    }

    pub(super) fn produced(&mut self, request: RequestId, reply: Result<ProduceReply, SendError>) {
        let Some(Request { broker, connection, lanes, bytes, sent_at }) = self.requests.remove(&request)
        else {
            return;
        };
        if let Some(out) = self.requests_out.get_mut(&broker) {
            *out = (out.0 - 1, out.1 - bytes);
        }
        match reply {
            Ok(reply) => {
                self.ways.produced(broker, sent_at, self.now.instant, bytes);
                if !reply.throttle.is_zero() {
                    self.send_not_before.insert(broker, self.now.instant + reply.throttle);
                }
                // Brokers answer in an order of their own.
                let mut answers: Vec<&Produced> = reply.partitions.iter().collect();
                answers.sort_unstable_by(|a, b| number_first(&a.partition, &b.partition));
                for id in lanes {
                    self.batch_answered(id, request, &answers);
                }
            }
            Err(SendError { trouble, maybe_written }) => {
                let is_first = self.connections.get(&broker) == Some(&connection);
                if is_first {
                    self.connections.remove(&broker);
                    self.ways.destination_lost(broker);
                }
                self.destination.wanted = true;
                match &trouble {
                    Some(reason) if is_first => {
                        warn!(%broker, lanes = lanes.len(), %reason, "no answer to what was sent, looking what is there");
                    }
                    // The same of what else was under way on the connection.
                    Some(reason) => {
                        debug!(%broker, lanes = lanes.len(), %reason, "no answer to more that was sent");
                    }
                    None => {}
                }
                for id in lanes {
                    let Some(lane) = self.lanes.get_mut(&id) else { continue };
                    let Some((_, current)) = lane.answered(request) else { continue };
                    if current {
                        self.doubt(id, trouble.clone(), maybe_written);
                    } else {
                        if maybe_written {
                            lane.doubted(self.now.instant, true);
                        }
                        self.to_step.insert(id);
                    }
                }
            }
        }
    }

    /// What became of the lane's batch in `request`; `answers` to all of that are in order of [`number_first`].
    fn batch_answered(&mut self, id: LaneId, request: RequestId, answers: &[&Produced]) {
        let instant = self.now.instant;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let destination = &lane.route.destination;
        let answer = answers.binary_search_by(|it| number_first(&it.partition, destination));
        let produced = answer.ok().map(|at| answers[at]);
        let append_time = lane.route.rule.timestamps == TimestampRule::Append;
        let Some((sent, current)) = lane.answered(request) else { return };
        lane.last_contact = instant;
        let outcome = match produced {
            Some(produced) => outcome(produced, &sent, append_time, lane.share.is_some()),
            None => {
                let trouble = Trouble::Unanswered(Side::Destination, "Produce");
                Outcome::Doubt { trouble: Some(trouble), unsettled: true }
            }
        };
        let draining = lane.state == State::Draining;
        if !current && !draining {
            // An answer to an earlier opening: the coming look will show what became of the batch.
            if let Outcome::Doubt { unsettled: true, .. } = outcome {
                lane.doubted(instant, true);
            }
            self.to_step.insert(id);
            return;
        }
        match outcome {
            Outcome::Appended(base) if lane.is_next(&sent) => {
                lane.appended(&sent, base);
                self.copied_bytes += sent.bytes as u64;
                let was_troubled = lane.attempts > 0 || lane.trouble.is_some();
                if !draining {
                    if was_troubled {
                        self.healed(id);
                    }
                    self.offer(id);
                }
            }
            Outcome::Appended(_) => {}
            Outcome::SequenceForgotten => {
                lane.restart_sequence = true;
                self.doubt(id, None, true);
            }
            Outcome::Doubt { trouble, unsettled } => {
                let at_head = lane.is_next(&sent);
                let refused = produced.is_some_and(|it| it.error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
                if matches!(trouble, Some(Trouble::SecondWriter { .. })) || at_head && refused {
                    // Whatever the look finds is not ours.
                    lane.may_have_sent = false;
                }
                let base = produced.filter(|produced| produced.error.is_ok()).and_then(|it| it.base_offset);
                // A leader that takes it for one of before, and does not show it, will do so again.
                let taken_for_another = base.is_some_and(|base| base < sent.expected);
                let trouble = if at_head && (refused || taken_for_another) {
                    lane.refusals += 1;
                    let sequence = lane.acked.sequence;
                    (lane.refusals > REFUSALS_MAX).then_some(Trouble::SequenceRefused { sequence })
                } else {
                    trouble
                };
                let at_first = lane.state == State::Probing;
                if let Some(base) = base {
                    let end = Offset(base.0 + i64::from(sent.records()));
                    lane.acknowledged_end = lane.acknowledged_end.max(end);
                }
                if at_head && (refused || base.is_some_and(|base| base < sent.expected)) {
                    lane.resume_sequence = lane.acked.sequence == 0 && lane.acked.sequence_base > 0;
                }
                if base.is_some_and(|base| base > sent.expected) {
                    // Appended, behind records of others: no failure, and nothing to pause for.
                    lane.attempts = 0;
                    if at_first && lane.share.is_none() {
                        // Perhaps they lay among those walked over, too.
                        lane.acked.segments.clear();
                    }
                }
                if matches!(trouble, Some(Trouble::Passing(..) | Trouble::Refused(..)) | None) {
                    self.destination.wanted = true;
                }
                self.doubt(id, trouble, unsettled);
            }
        }
        if draining {
            self.to_step.insert(id);
        }
    }
}
