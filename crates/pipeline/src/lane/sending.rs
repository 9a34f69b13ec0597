//! What leaves a lane, when it may, and what its acknowledgement moves.

use super::*;
use bytes::Buf;

/// Batches are merged up to this size.
const MERGED_BYTES_MAX: usize = 128 << 10;
/// A batch that is a fraction of what a producer fills by default: a broker's work for it is its number, not its bytes.
const TINY_BYTES_MAX: usize = 4 << 10;

impl Lane {
    /// Whether the next batch may leave now.
    pub(crate) fn may_send(&self, rules: &SendRules) -> bool {
        let Some(Item::Ready(held)) = self.queue.front() else { return false };
        let aged = self.is_aged(held, rules.aged_before_ms);
        let alone = match self.state {
            // one_in_flight_until_seen
            State::Probing => true,
            // aged_is_one_in_flight
            State::Flowing => aged || self.acked_aged || self.in_flight.back().is_some_and(|sent| sent.aged),
            _ => return false,
        };
        let room = if alone { self.in_flight.is_empty() } else { true };
        self.to_skip == 0 && self.unconfirmed.is_none() && room
    }

    /// Takes it out of `broker`'s list of lanes with something to send. False where its leader has moved since, so that
    /// it waits in another one.
    pub(crate) fn leave_list_of(&mut self, broker: BrokerId) -> bool {
        let waits = self.queued_for == Some(broker);
        if waits {
            self.queued_for = None;
        }
        waits
    }

    /// Until when the next batch must wait for the outcome of earlier ones, and then for a new look.
    pub(crate) fn quiet(&self, rules: &SendRules) -> Option<Instant> {
        match self.queue.front() {
            Some(Item::Ready(held)) if self.to_skip == 0 => {
                let aged = self.is_aged(held, rules.aged_before_ms);
                let late = self.quiet_until.filter(|_| aged || self.may_be_others());
                let lags = self.end_lags_until.filter(|_| aged || self.route.rule.source_compacted);
                late.max(lags).filter(|until| self.placed_at < *until)
            }
            _ => None,
        }
    }

    /// Whether what was sent earlier and may still be appended may be other records than the ones that would be sent
    /// now under the same sequences: the source was cleaned since. The destination cannot tell them apart.
    fn may_be_others(&self) -> bool {
        // Only the leader that they were sent to can append them.
        let present = self.looked_at.map(|(leader, _)| leader.broker);
        self.route.rule.source_compacted && (self.late_at.is_none() || self.late_at == present)
    }

    /// Whether the destination may already have forgotten the sequence by the time `held` is appended: it
    /// forgets by the records' own timestamps, and only where it keeps them.
    fn is_aged(&self, held: &Held, aged_before_ms: i64) -> bool {
        self.route.rule.timestamps == TimestampRule::AsAtSource
            && held.batch.header.max_timestamp < aged_before_ms
    }

    /// Whether the batch under way, or next, is aged.
    pub(crate) fn shows_aged(&self, aged_before_ms: i64) -> bool {
        self.in_flight.back().is_some_and(|sent| sent.aged)
            || matches!(self.queue.front(), Some(Item::Ready(held)) if self.is_aged(held, aged_before_ms))
    }

    /// Bytes of the batch that [`Lane::send`] would give.
    pub(crate) fn next_bytes(&self) -> usize {
        match self.queue.front() {
            Some(Item::Ready(held)) => held.batch.bytes.len(),
            _ => 0,
        }
    }

    /// Takes small batches from the head of the queue, to be made one, where it is their number that costs: aged ones,
    /// which leave alone and wait for the answer to the one before; and tiny ones where requests wait for the destination,
    /// if at least `crowd` wait. The sequences are those of the same records all the same.
    pub(crate) fn merge(&mut self, rules: &SendRules, crowd: Option<usize>) -> Option<Merge> {
        if !self.may_send(rules) {
            return None;
        }
        let Some(Item::Ready(first)) = self.queue.front() else { return None };
        let (attributes, epoch) = (first.batch.header.attributes, first.mark.sent_epoch);
        let aged = self.is_aged(first, rules.aged_before_ms);
        // After a failure each goes by itself: whichever cannot be taken holds up none before it.
        let crowd = crowd.filter(|_| self.attempts == 0);
        let count_min = if aged { 2 } else { crowd? };
        let is_worth_it = |held: &Held| match aged {
            true => self.is_aged(held, rules.aged_before_ms),
            false => held.batch.bytes.len() <= TINY_BYTES_MAX && !self.is_aged(held, rules.aged_before_ms),
        };
        let bytes_max = MERGED_BYTES_MAX.min(self.route.rule.batch_bytes_max);
        let (mut due, mut count, mut bytes) = (first.first_source, 0, 0);
        for item in &self.queue {
            let Item::Ready(held) = item else { break };
            bytes += held.batch.bytes.len();
            // Without a gap, so that each offset can still be translated; what lies between those of a share went elsewhere.
            let is_dense =
                held.source_end.0 - held.first_source.0 == i64::from(held.batch.header.record_count);
            let follows = self.share.is_some() || held.first_source == due && is_dense;
            let is_alike = held.batch.header.attributes == attributes && held.mark.sent_epoch == epoch;
            let is_next = follows && is_alike && !held.merged;
            if !is_next || bytes > bytes_max || !is_worth_it(held) {
                break;
            }
            count += 1;
            due = held.source_end;
            if held.mark.leader_epoch != epoch {
                break;
            }
        }
        if count < count_min {
            return None;
        }
        let (mut pieces, mut charges) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut last, mut bytes) = (None, 0);
        for item in self.queue.drain(..count) {
            let Item::Ready(held) = item else { continue };
            bytes += held.batch.bytes.len();
            pieces.push(Piece {
                first_source: held.first_source,
                last_source: Offset(held.source_end.0 - 1),
                next_source: held.mark.next_source,
                record_count: held.batch.header.record_count,
                batch: held.batch,
            });
            charges.push(held.charge);
            last = Some(held.mark);
        }
        let (held, charge) = last.zip(Charge::join(charges))?;
        self.tickets += 1;
        let ticket = self.tickets;
        self.queue.push_front(Item::Waiting { ticket, held, _charge: charge.clone(), bytes, merged: true });
        Some(Merge { ticket, pieces, charge })
    }

    /// The next batch, stamped. Only where [`Lane::may_send`].
    pub(crate) fn send(
        &mut self,
        request: RequestId,
        producer: (ProducerId, i16),
        aged_before_ms: i64,
    ) -> Option<ProduceBatch> {
        if !matches!(self.queue.front(), Some(Item::Ready(_))) {
            return None;
        }
        let Some(Item::Ready(held)) = self.queue.pop_front() else { return None };
        let records = held.batch.header.record_count;
        let stamp = ProducerStamp {
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: self.next_sequence,
        };
        let header: [u8; HEADER_BYTES] = patch(&held.batch, stamp);
        self.in_flight.push_back(Sent {
            request,
            opening: self.opening,
            expected: self.next_destination,
            sequence: self.next_sequence,
            first_source: held.first_source,
            source_end: held.source_end,
            bytes: held.batch.bytes.len(),
            aged: self.is_aged(&held, aged_before_ms),
            records,
            mark: held.mark,
            _charge: held.charge,
        });
        let mut payload = held.batch.bytes;
        payload.advance(HEADER_BYTES);
        self.may_have_sent = true;
        self.begun = true;
        self.next_sequence = sequence_after(self.next_sequence, i64::from(records));
        self.next_destination = Offset(self.next_destination.0 + i64::from(records));
        Some(ProduceBatch { partition: self.route.destination.clone(), header, payload })
    }

    /// Takes the batch of `request` out of what is under way, and says whether it belongs to the present
    /// opening.
    pub(crate) fn answered(&mut self, request: RequestId) -> Option<(Sent, bool)> {
        let at = self.in_flight.iter().position(|sent| sent.request == request)?;
        let sent = self.in_flight.remove(at)?;
        self.held_bytes -= sent.bytes;
        let current = sent.opening == self.opening;
        Some((sent, current))
    }

    /// `sent` is at the destination, from `base` on.
    pub(crate) fn appended(&mut self, sent: &Sent, base: Offset) {
        debug_assert!(self.is_next(sent), "appended_is_a_prefix");
        let records = i64::from(sent.records);
        self.acked.sequence = sequence_after(self.acked.sequence, records);
        self.acked.destination_end = Offset(base.0 + records);
        self.acked.segments.push(Segment {
            source: sent.first_source,
            source_end: sent.source_end,
            destination: base,
            count: records,
        });
        self.move_acked(sent.mark);
        self.may_have_sent = !self.in_flight.is_empty();
        self.refusals = 0;
        self.acked_aged = sent.aged;
        self.fresh = false;
        self.records += records.unsigned_abs();
        self.bytes += sent.bytes as u64;
        if self.state == State::Probing {
            self.state = State::Flowing;
        }
    }

    /// Everything that was sent before is counted in the base from now on (brokers before 2.5 take only
    /// sequence 0 after they forgot).
    pub(crate) fn restart_sequence(&mut self) {
        self.acked.sequence_base += i64::from(self.acked.sequence);
        self.acked.sequence = 0;
        self.next_sequence = 0;
        self.restart_sequence = false;
        self.dirty = true;
    }

    /// The leader remembers the sequences of before [`Lane::restart_sequence`] after all, and `last` is the last of
    /// them: it is counted on from there.
    pub(crate) fn resume_sequence(&mut self, last: i32) {
        self.acked.sequence = sequence_after(last, 1);
        self.acked.sequence_base -= i64::from(self.acked.sequence);
        self.next_sequence = self.acked.sequence;
        self.resume_sequence = false;
        self.dirty = true;
    }
}
