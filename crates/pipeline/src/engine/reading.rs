//! Asks the source for what the lanes have room for, and gives it to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{CallError, Class, ErrorCode, FetchPartition, FetchReply, Fetched, classify};
use model::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use record_batch::{BatchError, Piece};
use tracing::{debug, info, warn};

use super::spreading::WantedBy;
use super::{Engine, FetchUnderWay, backoff_of};
use crate::budget::Charge;
use crate::earned::copied_per_ahead;
use crate::events::{Action, LaneId, LaneKey};
use crate::lane::{Diverged, Job, Lane, Merge, Opening, Reading, State};
use crate::options::Isolation;
use crate::trouble::{Side, Trouble};
use crate::way::FetchBytes;

/// A fetch that waits at its broker holds up a lane that gets room meanwhile. So where others are full, lanes that have
/// nothing to read are asked for along with others, or so long after the broker's last answer (or as long as an answer takes,
/// if that is longer) by themselves, and the broker is not to wait.
const ALONE_AFTER: Duration = Duration::from_millis(20);
/// For so long there may be no room without a lane that holds nothing being read apart from the others: acknowledgements
/// make room sooner, as long as they come.
const CROWDED: Duration = Duration::from_millis(50);
/// And for so long before the operator's bound holds, and not what the ways need: a disk that writes out what it has
/// makes a broker answer late, but not that late.
const HELD_UP: Duration = Duration::from_secs(2);
/// How long a fetch waits at its broker at most while a lane is about to read from there.
const WAIT_WHILE_OTHERS_OPEN: Duration = Duration::from_millis(50);
/// A lane that was tried more often is not about to.
const ATTEMPTS_OF_A_MOMENT: u32 = 10;
/// How long a follower chosen by the source is read before the leader is asked again (KIP-392).
const PREFERRED_FOR: Duration = Duration::from_secs(300);
/// The smallest fetch worth asking for.
const FETCH_BYTES_MIN: usize = 64 << 10;
/// A fetch while there is little room.
const SPARING_FETCH_BYTES: usize = 256 << 10;
/// A source that was not heard for so long may have lost records and won others, leader and all, unseen.
const UNSEEN: Duration = Duration::from_secs(5);

impl Engine {
    /// Issues a fetch for every source broker that has none under way and lanes with room.
    pub(super) fn issue_fetches(&mut self) {
        self.read_alone_at = None;
        if self.stopping || self.waits_for_store() {
            return;
        }
        let mut brokers: BTreeMap<BrokerId, (Vec<(LaneId, usize)>, bool)> = BTreeMap::new();
        let lane_bytes_max = self.ways.lane_bytes_max(&self.options);
        let mut leaderless = Vec::new();
        let mut others_open: BTreeMap<BrokerId, Duration> = BTreeMap::new();
        let mut spread: BTreeMap<(BrokerId, TopicPartition), Vec<WantedBy>> = BTreeMap::new();
        for lane in self.lanes.values() {
            if let Some((wait, leader)) = self.opens_within(lane).zip(lane.source_leader) {
                let least = others_open.entry(leader.broker).or_insert(wait);
                *least = wait.min(*least);
                continue;
            }
            if !lane.is_reading() || lane.fetch_not_before.is_some_and(|at| at > self.now.instant) {
                continue;
            }
            let Some(broker) = self.fetch_broker(lane) else {
                leaderless.push(lane.key());
                continue;
            };
            if self.fetches.contains_key(&broker) {
                continue;
            }
            let (lanes, others_are_full) = brokers.entry(broker).or_default();
            let trip = self.ways.trip(Some(broker), lane.looked_at.map(|(leader, _)| leader.broker));
            let wanted = lane.room_bytes(lane_bytes_max, copied_per_ahead(trip));
            if lane.share.is_some() {
                *others_are_full |= wanted.is_none();
                spread.entry((broker, lane.route.source.clone())).or_default().push((lane.id, wanted));
                continue;
            }
            match wanted {
                Some(bytes) => lanes.push((lane.id, bytes)),
                None => *others_are_full = true,
            }
        }
        for ((broker, source), members) in spread {
            let reading = self.read_together(&source, &members);
            if let Some((lanes, _)) = brokers.get_mut(&broker) {
                lanes.extend(reading);
            }
        }
        if !leaderless.is_empty() && !self.source.asked {
            for key in leaderless {
                self.source_trouble(key, Trouble::NoLeader(Side::Source), true);
            }
            self.source.wanted = true;
            self.refresh_leaders(Side::Source);
        }
        // A part of the budget is for lanes that hold nothing: others may hold theirs for as long as their
        // destination does not answer.
        let reading = (brokers.len() + self.fetches.len()).max(1);
        let limit = self.ways.held_bytes_max(reading, &self.options);
        let (reserve, share) = (self.options.buffer_bytes_max / 4, limit / (2 * reading));
        let mut has_room = false;
        let mut asks_leaders = false;
        let leaders_known =
            self.source.known_since.is_some_and(|at| self.now.instant < at + UNSEEN) || !self.has_topic_ids();
        for (broker, (mut ids, others_are_full)) in brokers {
            if ids.is_empty() {
                continue;
            }
            let behind = self.lanes_behind(&ids);
            let FetchBytes { reply_max, partition_max } =
                self.ways.fetch_bytes(broker, behind.max(1), &self.options);
            let mut wanted_bytes = 0_usize;
            for (id, bytes) in &mut ids {
                *bytes = self.lanes.get(id).map_or(0, |lane| lane.bytes_to_ask_for(*bytes, partition_max));
                wanted_bytes = wanted_bytes.saturating_add(*bytes);
            }
            let bytes_max = reply_max.min(share).max(FETCH_BYTES_MIN).min(wanted_bytes.max(FETCH_BYTES_MIN));
            let used_then = self.budget.used_bytes() + bytes_max;
            let within_bound = used_then + reserve <= self.options.buffer_bytes_max;
            let plenty = if used_then <= limit && within_bound {
                has_room = true;
                true
            } else {
                let since = *self.crowded_since.get_or_insert(self.now.instant);
                if self.now.instant < since + CROWDED {
                    continue;
                }
                // What is held is held up: it does not show how long the way is.
                within_bound && self.now.instant >= since + HELD_UP
            };
            let (ids, bytes_max) = if plenty {
                (ids, bytes_max)
            } else {
                let holds_nothing = |(id, _): &(LaneId, usize)| {
                    let lane = self.lanes.get(id).filter(|lane| lane.is_idle());
                    // Shares of one partition are read together or not at all.
                    lane.is_some_and(|lane| lane.share.is_some() || self.gets_rid_of_more(lane))
                };
                (
                    ids.into_iter().filter(holds_nothing).collect::<Vec<_>>(),
                    bytes_max.min(SPARING_FETCH_BYTES),
                )
            };
            if ids.is_empty()
                || self.budget.available_bytes() < bytes_max
                || self.fetch_not_before.get(&broker).is_some_and(|(at, _)| *at > self.now.instant)
            {
                continue;
            }
            let others_are_full = others_are_full || !plenty;
            let is_behind = if plenty { behind } else { self.lanes_behind(&ids) } > 0;
            if others_are_full && !is_behind {
                let trip = self.ways.trip(Some(broker), None).min(self.options.fetch_wait_max);
                let answered_at = self.answered_at.get(&broker);
                let alone_at = answered_at.map_or(self.now.instant, |at| *at + ALONE_AFTER.max(trip));
                if alone_at > self.now.instant {
                    self.read_alone_at = Some(self.read_alone_at.map_or(alone_at, |at| at.min(alone_at)));
                    continue;
                }
            }
            let mut wanted = Vec::with_capacity(ids.len());
            let mut lanes = Vec::with_capacity(ids.len());
            for (id, bytes) in ids {
                let instant = self.now.instant;
                let Some(lane) = self.lanes.get_mut(&id) else { continue };
                if instant >= lane.last_read_at + UNSEEN {
                    lane.verify_again();
                }
                if lane.unproven && !leaders_known {
                    // Only its id can tell that it is the same topic.
                    asks_leaders = true;
                    continue;
                }
                lane.unproven = false;
                let together = |last: &&mut FetchPartition| last.partition == lane.route.source;
                if let Some(first) = wanted.last_mut().filter(|_| lane.share.is_some()).filter(together) {
                    // The same read as another share's, which is no further.
                    let bytes = bytes.saturating_add(first.bytes_max);
                    first.bytes_max = bytes.min(partition_max);
                    lane.ask(first.bytes_max);
                    lanes.push((lane.key(), lane.route.source.clone(), first.offset));
                    continue;
                }
                wanted.push(FetchPartition {
                    partition: lane.route.source.clone(),
                    topic_id: lane.route.source_topic_id,
                    offset: lane.fetch_offset(),
                    current_leader_epoch: lane
                        .source_leader
                        .map_or(LeaderEpoch::UNKNOWN, |leader| leader.epoch),
                    last_fetched_epoch: lane.fetched_epoch(),
                    bytes_max: bytes,
                });
                lane.ask(bytes);
                lanes.push((lane.key(), lane.route.source.clone(), lane.fetch_offset()));
            }
            if wanted.is_empty() {
                continue;
            }
            let wait_max = match others_are_full {
                true if is_behind => ALONE_AFTER, // what is there comes at once
                true => Duration::ZERO,
                false => others_open.get(&broker).copied().unwrap_or(self.options.fetch_wait_max),
            };
            let wait_max = wait_max.min(self.options.fetch_wait_max);
            let reserved = self.budget.charge(bytes_max);
            self.fetches.insert(
                broker,
                FetchUnderWay {
                    lanes,
                    asked_at: self.now.instant,
                    is_behind,
                    bytes_max,
                    wait_max,
                    _reserved: reserved,
                },
            );
            self.actions.push_back(Action::Fetch { broker, wanted, bytes_max, wait_max });
        }
        if has_room {
            self.crowded_since = None;
        }
        if asks_leaders {
            self.source.wanted = true;
            self.refresh_leaders(Side::Source);
        }
    }

    /// Whether what the lane reads now need not wait for the answers to what its destination was sent before.
    fn gets_rid_of_more(&self, lane: &Lane) -> bool {
        let Some((leader, _)) = lane.looked_at.filter(|_| !lane.is_walking()) else { return true };
        self.ways.may_send(leader.broker, self.under_way(leader.broker), &self.options)
    }

    /// How many source partitions of these lanes have something to read.
    fn lanes_behind(&self, lanes: &[(LaneId, usize)]) -> usize {
        let behind = lanes.iter().filter_map(|(id, _)| self.lanes.get(id)).filter(|lane| lane.is_behind());
        // Shares of one partition stand together.
        let sources = behind.map(|lane| (lane.share.is_some().then_some(&lane.route.source), lane.id));
        let mut last = None;
        let mut count = 0;
        for (spread, _) in sources {
            count += usize::from(spread.is_none() || spread != last);
            last = spread;
        }
        count
    }

    /// When a lane that holds nothing is read apart from the others, if there is still no room then, or when all are read
    /// again.
    pub(super) fn reads_apart_at(&self) -> Option<Instant> {
        let since = self.crowded_since?;
        [since + CROWDED, since + HELD_UP].into_iter().find(|at| *at > self.now.instant)
    }

    /// Whether the source's answers about leaders name their topics' ids.
    fn has_topic_ids(&self) -> bool {
        self.source.leaders.values().next().is_some_and(|leader| leader.topic_id.is_some())
    }

    /// For how long a fetch may wait at a broker that `lane` will read from once it is open, if that is soon: where it
    /// has taken long already, it may take for ever.
    fn opens_within(&self, lane: &Lane) -> Option<Duration> {
        let lately = self.now.instant < lane.asked_at + UNSEEN && lane.attempts < ATTEMPTS_OF_A_MOMENT;
        match lane.state {
            State::Opening(Opening::Source | Opening::Destination | Opening::Tail) if lately => {
                Some(WAIT_WHILE_OTHERS_OPEN)
            }
            State::Blocked { retry_at } if lately => {
                let left = retry_at.saturating_duration_since(self.now.instant);
                (left < self.options.fetch_wait_max).then_some(left.max(WAIT_WHILE_OTHERS_OPEN))
            }
            _ => None,
        }
    }

    fn fetch_broker(&self, lane: &Lane) -> Option<BrokerId> {
        match lane.preferred {
            Some((broker, until)) if until > self.now.instant => Some(broker),
            _ => lane.source_leader.map(|leader| leader.broker),
        }
    }

    pub(super) fn fetched(&mut self, broker: BrokerId, reply: Result<FetchReply, CallError>) {
        let Some(under_way) = self.fetches.remove(&broker) else { return };
        self.answered_at.insert(broker, self.now.instant);
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let (_, failures) =
                    self.fetch_not_before.get(&broker).copied().unwrap_or((self.now.instant, 0));
                let pause = backoff_of(failures + 1, (self.options.backoff_min, self.options.backoff_max));
                self.fetch_not_before.insert(broker, (self.now.instant + pause, failures + 1));
                self.source.wanted = true;
                self.ways.source_lost(broker);
                let trouble = Trouble::from_call(Side::Source, "Fetch", &error);
                if failures == 0 {
                    warn!(%broker, reason = %trouble, "cannot read from this source broker, retrying");
                }
                for (key, _, _) in &under_way.lanes {
                    self.source_trouble(*key, trouble.clone(), false);
                }
                return;
            }
        };
        if self.fetch_not_before.get(&broker).is_some_and(|(_, failures)| *failures > 0) {
            info!(%broker, "the source broker answers again");
        }
        if reply.throttle.is_zero() {
            self.fetch_not_before.remove(&broker);
        } else {
            debug!(%broker, throttle = ?reply.throttle, "the source throttles");
            self.fetch_not_before.insert(broker, (self.now.instant + reply.throttle, 0));
        }
        if under_way.is_behind {
            // Else the broker waited for records, which says nothing about the way.
            self.ways.fetched(broker, under_way.asked_at, self.now.instant, reply.bytes);
        }
        let charge = self.budget.charge(reply.bytes);
        let has_topic_ids = self.has_topic_ids();
        let unseen = self.now.instant >= under_way.asked_at + under_way.wait_max + UNSEEN;
        let answers: BTreeMap<&TopicPartition, &Fetched> =
            reply.partitions.iter().map(|fetched| (&fetched.partition, fetched)).collect();
        // Of each batch that several shares have a part in.
        let mut shared: BTreeMap<(&TopicPartition, Offset), Vec<(LaneKey, Job)>> = BTreeMap::new();
        for (key, partition, asked) in &under_way.lanes {
            let Some(lane) = self.lane_at(*key) else { continue };
            if unseen {
                // From before, or from after: what was read last proves that it fits.
                lane.verify_again();
                if lane.unproven && has_topic_ids {
                    continue;
                }
            }
            if *asked > lane.fetch_offset() {
                // Reading goes on from further back, by another broker's answer: what lies between would be missing
                // without a sign. Or what proves that it fits was not asked for.
                continue;
            }
            match answers.get(partition) {
                Some(fetched) => {
                    for job in self.take_partition(*key, broker, fetched, &charge) {
                        let batch = (partition, job.entry.base_offset());
                        shared.entry(batch).or_default().push((*key, job));
                    }
                }
                // A broker that throttles leaves out everything.
                None if !reply.throttle.is_zero() => {}
                // In a fetch session this means: as it was (KIP-227), unless others' records left no room.
                None => self.nothing_new(*key, reply.bytes == 0),
            }
        }
        for shares in shared.into_values() {
            self.transcode_shares(shares, &charge);
        }
        let given: BTreeSet<&TopicPartition> =
            reply.partitions.iter().filter(|it| !it.records.is_empty()).map(|it| &it.partition).collect();
        let room_left = match given.len() {
            0 => return,
            // It may be larger than the reply was to be.
            1 => usize::MAX,
            _ => under_way.bytes_max.saturating_sub(reply.bytes),
        };
        for (key, partition, _) in &under_way.lanes {
            if let Some(lane) = self.lane_at(*key).filter(|_| !given.contains(partition)) {
                lane.nothing_came(room_left);
            }
        }
    }

    /// Gives a lane what the source has given of its partition. What is to be done for a share, it gives back.
    fn take_partition(
        &mut self,
        key: LaneKey,
        broker: BrokerId,
        fetched: &Fetched,
        charge: &Charge,
    ) -> Vec<Job> {
        let instant = self.now.instant;
        let Some(lane) = self.lane_at(key).filter(|lane| lane.is_reading()) else { return Vec::new() };
        if !fetched.error.is_ok() {
            self.fetch_refused(key, broker, fetched.error);
            return Vec::new();
        }
        if let Some((epoch, end)) = fetched.diverging {
            let found = LeaderEpoch::UNKNOWN;
            lane.diverged = Some(Diverged { cut: end, epoch, at: None, found, noted_at: None });
            // What was read before goes first: where something is under way the position would be in doubt.
            lane.cut_off(if epoch < lane.acked.source_leader_epoch { Offset(0) } else { end });
            self.offer(key.id);
            return Vec::new();
        }
        if let Some(preferred) = fetched.preferred_replica {
            lane.preferred = Some((preferred, instant + PREFERRED_FOR));
            return Vec::new();
        }
        let end = match self.options.isolation {
            Isolation::ReadUncommitted => fetched.high_watermark,
            Isolation::ReadCommitted => fetched.last_stable_offset.or(fetched.high_watermark),
        };
        self.note_source_end(key.id, end);
        let reading =
            Reading { isolation: self.options.isolation, opposite: &self.options.opposite_producers, charge };
        let Some(lane) = self.lanes.get_mut(&key.id) else { return Vec::new() };
        lane.fetch_not_before = None;
        lane.last_read_at = instant;
        if let Some(start) = fetched.log_start_offset {
            lane.source_start = start;
        }
        let copied_before = lane.copied_bytes();
        let is_share = lane.share.is_some();
        let mut jobs = lane.accept(fetched, &reading);
        self.copied_bytes += lane.copied_bytes() - copied_before;
        for job in if is_share { Vec::new() } else { std::mem::take(&mut jobs) } {
            self.actions.push_back(Action::Transcode {
                lane: key,
                ticket: job.ticket,
                entry: job.entry,
                how: job.how,
                charge: charge.clone(),
            });
        }
        if fetched.records.is_empty() && fetched.high_watermark.is_some_and(|end| lane.read_from() > end) {
            // The log ends before what was read of it: the bounds tell whether that lasts.
            lane.source_checked = false;
            self.doubt(key.id, None, false);
            return Vec::new();
        }
        self.has_read(key, fetched.records.is_empty());
        jobs
    }

    /// The parts that several shares have in one batch.
    fn transcode_shares(&mut self, shares: Vec<(LaneKey, Job)>, charge: &Charge) {
        let Some(entry) = shares.first().map(|(_, job)| job.entry.clone()) else { return };
        let shares = shares.into_iter().map(|(lane, job)| (lane, job.ticket, job.how)).collect();
        self.actions.push_back(Action::TranscodeShares { entry, shares, charge: charge.clone() });
    }

    /// The source has told nothing of a lane that it was asked for. `nothing_there`: nor were there records of others
    /// that may have taken the room.
    fn nothing_new(&mut self, key: LaneKey, nothing_there: bool) {
        let instant = self.now.instant;
        let Some(lane) = self.lane_at(key).filter(|lane| lane.is_reading()) else { return };
        lane.fetch_not_before = None;
        lane.last_read_at = instant;
        self.has_read(key, nothing_there);
    }

    /// What follows from what was read of a lane. `nothing_there`: the source has nothing more of it now.
    fn has_read(&mut self, key: LaneKey, nothing_there: bool) {
        let instant = self.now.instant;
        let Some(lane) = self.lanes.get_mut(&key.id) else { return };
        let at_end = lane.source_end.is_some_and(|end| lane.read_from() >= end);
        if lane.is_searching() && lane.stuck().is_none() {
            if let Some(result) = lane.end_search(at_end && nothing_there) {
                self.searched(key.id, result);
            }
            return;
        }
        if lane.is_comparing() && (at_end && nothing_there || lane.has_compared_enough(instant)) {
            lane.end_comparison();
        }
        if lane.is_walking() && at_end && nothing_there && lane.has_room(usize::MAX) {
            // The destination has records of ours that the source cannot show any more.
            let at = lane.read_from();
            self.doubt(key.id, Some(Trouble::SourceChanged { at }), false);
            return;
        }
        // What was read may be what stops the lane next: then nothing goes on.
        let readable_again =
            lane.has_room(usize::MAX) && lane.trouble.as_ref().is_some_and(Trouble::is_about_reading);
        if lane.is_idle() && at_end || readable_again {
            self.healed(key.id);
        }
        self.ready_after_walk(key.id);
        self.offer(key.id);
    }

    /// What the source answered instead of records.
    fn fetch_refused(&mut self, key: LaneKey, broker: BrokerId, error: ErrorCode) {
        let Some(lane) = self.lanes.get_mut(&key.id) else { return };
        let at_follower = lane.source_leader.is_none_or(|leader| leader.broker != broker);
        lane.preferred = None;
        if error == ErrorCode::OFFSET_OUT_OF_RANGE {
            if at_follower {
                // A follower may lag; only the leader's word counts.
                return;
            }
            // The position, or only the batch before it that was to be compared: the log's bounds tell. Or it cannot place
            // the position's leader epoch, and will not the next time.
            lane.source_checked = false;
            let lasts = lane.attempts >= ATTEMPTS_OF_A_MOMENT;
            let trouble = lasts.then_some(Trouble::Passing(Side::Source, "Fetch", error));
            self.doubt(key.id, trouble, false);
            return;
        }
        let trouble = match classify(error) {
            Class::OperatorNeeded | Class::Fatal => Trouble::Refused(Side::Source, "Fetch", error, None),
            Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => {
                Trouble::Passing(Side::Source, "Fetch", error)
            }
        };
        self.source.wanted = true;
        self.source_trouble(key, trouble, true);
    }

    /// The source does not give records now. What is under way to the destination is not touched.
    /// `lane_only`: the other lanes of the broker are served.
    fn source_trouble(&mut self, key: LaneKey, trouble: Trouble, lane_only: bool) {
        let bounds = (self.options.backoff_min, self.options.backoff_max);
        let instant = self.now.instant;
        let Some(lane) = self.lane_at(key).filter(|lane| lane.is_reading()) else { return };
        lane.verify_again();
        debug!(source = %lane.route.source, reason = %trouble, attempts = lane.attempts, "not read");
        if lane_only {
            lane.attempts += 1;
            let at = instant + backoff_of(lane.attempts, bounds);
            lane.fetch_not_before = Some(at);
            self.timers.insert((at, key.id));
        }
        self.set_trouble(key.id, trouble);
    }

    pub(super) fn transcoded(&mut self, key: LaneKey, ticket: u64, pieces: Result<Vec<Piece>, BatchError>) {
        let Some(lane) = self.lane_at(key) else { return };
        match pieces {
            Ok(pieces) => lane.transcoded(ticket, pieces),
            Err(error) => {
                let trouble = match &error {
                    BatchError::RecordTooLarge { offset, bytes, max } => {
                        Trouble::RecordTooLarge { at: *offset, bytes: *bytes, limit_bytes: *max }
                    }
                    _ => Trouble::Unreadable { at: lane.acked.next_source, why: error.to_string() },
                };
                lane.transcode_failed(ticket, trouble);
            }
        }
        self.offer(key.id);
    }

    /// Puts a lane with something to send into its broker's list; stops one that has nothing it can send.
    pub(super) fn offer(&mut self, id: LaneId) {
        let rules = self.send_rules();
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Some(trouble) = lane.stuck().cloned() {
            match lane.diverged {
                Some(_) => self.source_diverged(id),
                None => self.doubt(id, Some(trouble), false),
            }
            return;
        }
        let Some((leader, _)) = lane.looked_at else { return };
        if let Some(until) = lane.quiet(&rules) {
            let is_over = rules.now >= until;
            match (is_over, lane.in_flight.is_empty()) {
                (true, true) => {
                    lane.reopen(State::Opening(Opening::Ready));
                    self.to_step.insert(id);
                }
                // Its answer comes first.
                (true, false) => {}
                (false, true) => {
                    // Meanwhile it holds nothing that others could use the room of.
                    lane.reopen(State::Blocked { retry_at: until });
                    self.timers.insert((until, id));
                    self.set_lasting_trouble(id, Trouble::OutcomeUnknown);
                }
                (false, false) => {
                    self.timers.insert((until, id));
                }
            }
            return;
        }
        if lane.queued_for == Some(leader.broker) || !lane.may_send(&rules) {
            return;
        }
        let crowded = self.crowded_at.get_mut(&leader.broker).filter(|crowded| crowded.lasts(rules.now));
        let crowd = crowded.is_some().then_some(self.options.merge_batches_min);
        let aged = lane.shows_aged(rules.aged_before_ms);
        if let Some(Merge { ticket, pieces, charge }) = lane.merge(&rules, crowd) {
            if let Some(crowded) = crowded.filter(|crowded| !aged && !crowded.told) {
                crowded.told = true;
                info!(broker = %leader.broker, "small batches come faster than they are taken one by one: merging them");
            }
            let (lane, batch_bytes_max) = (lane.key(), lane.route.rule.batch_bytes_max);
            self.actions.push_back(Action::Merge { lane, ticket, pieces, batch_bytes_max, charge });
            return;
        }
        lane.queued_for = Some(leader.broker);
        self.sendable.entry(leader.broker).or_default().push_back(id);
    }
}
