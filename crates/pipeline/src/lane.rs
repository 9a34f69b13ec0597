//! One partition's copy: what is read next, what is held, what is under way, what is there.
//!
//! ```text
//!  opening ──position known──▶ probing ──first acknowledgement──▶ flowing
//!     ▲                           │                                  │
//!     └────────── blocked ◀───────┴────────── doubt, trouble ────────┘
//! ```
//!
//! The engine decides when a lane changes its state; the lane keeps its own numbers right. Its one idea:
//! *the sequence is the position of the copy*. Records take sequence numbers in source order, so what the
//! destination has says how far the copy is, whoever made it (`same_sequences_same_records`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::{Fetched, ProduceBatch};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, Route, TimestampRule};
use offsets::{Checkpoint, Fingerprint, Segment, Segments, SelectionId};
use record_batch::{
    AbortedSet, Batch, BatchError, Choice, Entry, HEADER_BYTES, Piece, ProducerStamp, SkipReason, Transcode,
    choose, count_from, offset_after, patch, split,
};

use crate::budget::Charge;
use crate::contents::{Comparison, Contents, RecordHash, hashes};
use crate::events::{ConnectionId, LaneId, LaneKey, Leader, RequestId};
use crate::options::Isolation;
use crate::place::sequence_after;
use crate::trouble::Trouble;

/// Where a lane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Finding out where the copy stands. Nothing is read or sent.
    Opening(Opening),
    /// The position is known; one batch alone may leave, because a broker that remembers nothing of our
    /// producer id takes any sequence, and a second batch behind a failed first would leave a hole.
    Probing,
    /// The destination has acknowledged a batch since the last opening: several may be under way.
    Flowing,
    /// Waiting to open again, for the reason in `trouble`.
    Blocked { retry_at: Instant },
    /// No longer wanted: what is under way is awaited, nothing else is sent.
    Draining,
}

/// What an opening lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing that was asked: the engine takes the next step when it can.
    Ready,
    /// The source's leader was asked for the log's bounds.
    Source,
    /// The destination's leader was asked what is there.
    Destination,
    /// The destination's tail is being read, its headers or its records.
    Tail,
    /// The position is being stored, because it must be known after a crash before anything is sent.
    Saving,
}

/// A batch, or several to come, in source order, not yet sent.
#[derive(Debug)]
enum Item {
    Ready(Held),
    /// Being transcoded under `ticket`.
    Waiting {
        ticket: u64,
        held: Mark,
        _charge: Charge,
        bytes: usize,
    },
    /// What comes next cannot be sent. Always the last item: nothing is read beyond it.
    Stuck(Trouble),
}

/// How far the source is done once a batch is at the destination.
#[derive(Clone, Copy, Debug)]
struct Mark {
    next_source: Offset,
    leader_epoch: LeaderEpoch,
    /// Of the batch itself, whatever is skipped behind it.
    sent_epoch: LeaderEpoch,
    /// None for all but the last of several pieces of a source batch.
    fingerprint: Option<Fingerprint>,
}

#[derive(Debug)]
struct Held {
    batch: Batch,
    first_source: Offset,
    /// After its last record: what follows up to `mark.next_source` are no records.
    source_end: Offset,
    mark: Mark,
    charge: Charge,
}

/// A batch that was handed to a connection and not yet answered.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) request: RequestId,
    opening: u64,
    /// The base offset that the answer must give.
    pub(crate) expected: Offset,
    pub(crate) first_source: Offset,
    source_end: Offset,
    pub(crate) bytes: usize,
    aged: bool,
    records: i32,
    mark: Mark,
    _charge: Charge,
}

impl Sent {
    pub(crate) fn records(&self) -> i32 {
        self.records
    }
}

/// Work for the transcoding pool.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ticket: u64,
    pub(crate) entry: Entry,
    pub(crate) how: Transcode,
}

/// What decides whether a batch may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendRules {
    /// Batches of a lane under way at most.
    pub(crate) window: usize,
    /// Records older than this may be forgotten by the destination, with our sequence, at any time.
    pub(crate) aged_before_ms: i64,
    pub(crate) now: Instant,
}

/// What reading needs to know from outside the lane.
pub(crate) struct Reading<'a> {
    pub(crate) isolation: Isolation,
    /// Producer ids of the flow that goes the other way: what carries one came from there.
    pub(crate) opposite: &'a [ProducerId],
    pub(crate) charge: &'a Charge,
}

/// One route's copy.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) route: Route,
    pub(crate) state: State,
    pub(crate) trouble: Option<Trouble>,
    /// The trouble was told in the log. One that is over within its first retry is not worth a line.
    pub(crate) told: bool,
    /// Counted up whenever the lane starts over; answers to earlier questions are ignored.
    pub(crate) opening: u64,
    /// Everything before it is at the destination (`checkpoint_never_early`).
    pub(crate) acked: Checkpoint,
    /// Nothing of this lane is in the store yet: it starts here and now.
    pub(crate) fresh: bool,
    /// Another program copied this partition before: its records are at the destination.
    pub(crate) taken_over: bool,
    /// `acked` is newer than what is stored.
    pub(crate) dirty: bool,
    /// This process was not there for a while: what it saw of the destination may be over.
    pub(crate) stale: bool,
    /// The source's bounds were compared with the position since the start, or since they were in doubt.
    pub(crate) source_checked: bool,
    /// Something was sent whose outcome is unknown.
    pub(crate) unsettled: bool,
    /// What a look finds beyond the acknowledged position may be this lane's own: something was sent since
    /// it was placed and not acknowledged, or an earlier process may have.
    pub(crate) may_have_sent: bool,
    /// What a look showed while another process wrote for this lane: it stands by while that moves.
    pub(crate) standing_by: Option<i32>,
    /// Looks in a row after which the destination refused the sequence that it should take.
    pub(crate) refusals: u32,
    /// Records that the destination had acknowledged, lost, and was sent again in this process.
    pub(crate) lost: u64,
    /// Until then something sent earlier may still be appended. Where the destination remembers us it
    /// refuses what is late; it can forget what is aged between any two batches, so those wait, and leave
    /// only after a look that was made later than this.
    pub(crate) quiet_until: Option<Instant>,
    /// When the destination was last looked at.
    placed_at: Instant,
    /// Who led then.
    placed_leader: Option<Leader>,
    /// Something was sent, in this process or an earlier one.
    pub(crate) begun: bool,
    /// Since when the outcome is unknown or the position in doubt.
    pub(crate) doubt_at: Instant,
    /// The destination forgot the sequence and takes only 0 (before 2.5).
    pub(crate) restart_sequence: bool,
    /// The leader whose state was looked at, and the connection that was there before the look.
    pub(crate) looked_at: Option<(Leader, ConnectionId)>,
    /// When the destination last answered about this lane.
    pub(crate) last_contact: Instant,
    /// Failed attempts since the last acknowledgement or idle end.
    pub(crate) attempts: u32,
    pub(crate) fetch_not_before: Option<Instant>,
    /// A replica to fetch from instead of the leader, and until when.
    pub(crate) preferred: Option<(BrokerId, Instant)>,
    /// The first offset that the source still has, as last heard.
    pub(crate) source_start: Offset,
    /// The source's end as last heard: the high watermark, or the last stable offset under read_committed.
    pub(crate) source_end: Option<Offset>,
    /// The source's end when this lane was first looked at in this process.
    pub(crate) source_end_at_start: Option<Offset>,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) transcoded: u64,

    read_from: Offset,
    read_epoch: LeaderEpoch,
    /// The last batch before `read_from`, sent or not.
    last_read: Option<Fingerprint>,
    /// When the source last gave something of this lane, or nothing but an answer.
    pub(crate) last_read_at: Instant,
    /// Selected records from `read_from` on that are at the destination already.
    to_skip: i64,
    /// The records that are walked over lie at the destination one after the other.
    walk_is_exact: bool,
    /// The destination's offset where the walk began.
    walk_start: Offset,
    /// The source's leader changed since the checkpoint within what was walked over: the log may have been
    /// cut there and written anew.
    walk_crossed_epochs: bool,
    /// The source's leader epoch before the walk.
    walk_epoch: LeaderEpoch,
    /// The position before the walk, until it has proven to lead along the log that was copied.
    before_walk: Option<Box<Checkpoint>>,
    /// The last record walked over, while it must still be found at the destination.
    unconfirmed: Option<RecordHash>,
    /// The destination is being read for that.
    pub(crate) confirming: bool,
    /// Set while the position is found by comparing records instead of counting them.
    comparison: Option<Comparison>,
    /// The offset of the next append, once `to_skip` is done.
    placed_end: Offset,
    verify: Option<Fingerprint>,
    tickets: u64,
    queue: VecDeque<Item>,
    held_bytes: usize,
    pub(crate) in_flight: VecDeque<Sent>,
    next_sequence: i32,
    next_destination: Offset,
    /// Waits in the engine's list of lanes with something to send.
    pub(crate) queued: bool,
}

/// A position before everything, for a lane nothing is known of.
fn nowhere(route: &Route, selection: SelectionId) -> Checkpoint {
    Checkpoint {
        next_source: Offset(0),
        source_leader_epoch: LeaderEpoch::UNKNOWN,
        sent_leader_epoch: LeaderEpoch::UNKNOWN,
        source_topic_id: route.source_topic_id,
        fingerprint: None,
        sequence: 0,
        sequence_base: 0,
        destination_end: Offset(0),
        destination_topic_id: route.destination_topic_id,
        selection,
        segments: Segments::default(),
    }
}

#[cfg(test)]
pub(crate) fn first_checkpoint_for_tests() -> Checkpoint {
    Checkpoint {
        next_source: Offset(0),
        source_leader_epoch: LeaderEpoch::UNKNOWN,
        sent_leader_epoch: LeaderEpoch::UNKNOWN,
        source_topic_id: None,
        fingerprint: None,
        sequence: 0,
        sequence_base: 0,
        destination_end: Offset(0),
        destination_topic_id: None,
        selection: SelectionId::READ_UNCOMMITTED,
        segments: Segments::default(),
    }
}

/// The selection that an isolation level makes.
pub(crate) fn selection_of(isolation: Isolation) -> SelectionId {
    match isolation {
        Isolation::ReadUncommitted => SelectionId::READ_UNCOMMITTED,
        Isolation::ReadCommitted => SelectionId::READ_COMMITTED,
    }
}

impl Lane {
    /// A lane that has not been looked at. `stored` is what an earlier run left of it.
    pub(crate) fn new(
        id: LaneId,
        route: Route,
        stored: Option<offsets::StoredLane>,
        selection: SelectionId,
        now: Instant,
    ) -> Lane {
        let (acked, fresh, taken_over) = match stored {
            Some(offsets::StoredLane::Ours(checkpoint)) => (checkpoint, false, false),
            Some(offsets::StoredLane::Foreign { last_copied }) => {
                let mut start = nowhere(&route, selection);
                start.next_source = Offset(last_copied.0.saturating_add(1));
                (start, true, true)
            }
            None => (nowhere(&route, selection), true, false),
        };
        Lane {
            id,
            route,
            state: State::Opening(Opening::Ready),
            trouble: None,
            told: false,
            opening: 0,
            read_from: acked.next_source,
            read_epoch: acked.source_leader_epoch,
            last_read: acked.fingerprint,
            last_read_at: now,
            to_skip: 0,
            walk_is_exact: true,
            walk_start: acked.destination_end,
            walk_crossed_epochs: false,
            walk_epoch: acked.sent_leader_epoch,
            before_walk: None,
            unconfirmed: None,
            confirming: false,
            comparison: None,
            placed_end: acked.destination_end,
            verify: acked.fingerprint,
            tickets: 0,
            queue: VecDeque::new(),
            held_bytes: 0,
            in_flight: VecDeque::new(),
            next_sequence: acked.sequence,
            next_destination: acked.destination_end,
            queued: false,
            acked,
            fresh,
            taken_over,
            dirty: false,
            stale: false,
            source_checked: false,
            unsettled: false,
            may_have_sent: false,
            standing_by: None,
            refusals: 0,
            lost: 0,
            quiet_until: None,
            placed_at: now,
            placed_leader: None,
            begun: !fresh,
            doubt_at: now,
            restart_sequence: false,
            looked_at: None,
            last_contact: now,
            attempts: 0,
            fetch_not_before: None,
            preferred: None,
            source_start: Offset(0),
            source_end: None,
            source_end_at_start: None,
            records: 0,
            bytes: 0,
            transcoded: 0,
        }
    }

    pub(crate) fn key(&self) -> LaneKey {
        LaneKey { id: self.id, opening: self.opening }
    }

    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.state, State::Probing | State::Flowing)
    }

    /// Whether there is nothing left to do at the moment.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Where to fetch next: the position, or the start of the batch that must still be the same one.
    pub(crate) fn fetch_offset(&self) -> Offset {
        match self.verify {
            Some(fingerprint) => fingerprint.base_offset.min(self.read_from),
            None => self.read_from,
        }
    }

    /// The leader epoch of the last batch before [`Lane::fetch_offset`], for the source to check that its
    /// log has not diverged (KIP-320).
    pub(crate) fn fetched_epoch(&self) -> LeaderEpoch {
        if self.verify.is_some() { LeaderEpoch::UNKNOWN } else { self.read_epoch }
    }

    /// The last batch before the position is no longer at the source: nothing to compare.
    pub(crate) fn give_up_verifying(&mut self) {
        self.verify = None;
    }

    /// The source was away, or unseen for a while. Brokers before 2.8 do not tell a topic from one that was
    /// created anew under its name, and the older ones do not tell that their log was cut: so the last batch
    /// that was read is compared once more. False where there is nothing to compare.
    pub(crate) fn verify_again(&mut self) -> bool {
        if self.route.source_topic_id.is_none() && !self.route.rule.source_compacted {
            let there = |batch: &Fingerprint| batch.base_offset >= self.source_start;
            self.verify = self.last_read.or(self.verify).filter(there);
        }
        self.verify.is_some()
    }

    /// Reading goes on behind a batch.
    fn read_past(&mut self, mark: Mark) {
        self.read_from = mark.next_source;
        self.read_epoch = mark.leader_epoch;
        self.last_read = mark.fingerprint;
    }

    /// Nothing sent earlier may still be appended.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        !self.unsettled && self.quiet_until.is_none_or(|until| until <= now)
    }

    /// Starts over: forgets what is held, keeps what is acknowledged and what is under way (whose answers
    /// only count down).
    pub(crate) fn reopen(&mut self, state: State) {
        self.opening += 1;
        self.state = state;
        self.held_bytes -= self.queue.iter().map(Item::bytes).sum::<usize>();
        self.queue.clear();
        self.to_skip = 0;
        self.comparison = None;
        if let Some(before) = self.before_walk.take().filter(|_| self.walk_crossed_epochs) {
            self.acked = *before;
        }
        self.unconfirmed = None;
        self.confirming = false;
        self.looked_at = None;
    }

    /// The position is known: `records` selected ones after the acknowledged position are at the
    /// destination already, with `foreign` ones of others; its log begins at `destination_start`, and the next
    /// append gets `destination_end`.
    /// `late_for`: how long after the doubt something sent before may still be appended.
    pub(crate) fn placed(
        &mut self,
        (records, foreign): (i64, i64),
        (destination_start, destination_end): (Offset, Offset),
        leader: Leader,
        connection: ConnectionId,
        (late_for, end_may_lag): (Duration, bool),
        now: Instant,
    ) {
        if self.unsettled {
            self.quiet_until = Some(self.doubt_at + late_for);
        }
        if end_may_lag && self.placed_leader != Some(leader) {
            // Before KIP-207 (2.2) a new leader shows an end before what was acknowledged, until its followers
            // have told how far they are.
            self.quiet_until = self.quiet_until.max(Some(now + late_for));
        }
        self.placed_leader = Some(leader);
        self.placed_at = now;
        self.stale = false;
        self.to_skip = records;
        self.placed_end = destination_end;
        self.looked_at = Some((leader, connection));
        self.read_from = self.acked.next_source;
        self.read_epoch = self.acked.source_leader_epoch;
        self.last_read = self.acked.fingerprint;
        self.last_read_at = now;
        self.verify_again();
        self.unsettled = false;
        self.may_have_sent = false;
        self.walk_is_exact = foreign == 0;
        self.walk_start = self.acked.destination_end.max(destination_start);
        self.walk_crossed_epochs = false;
        self.walk_epoch = self.acked.sent_leader_epoch;
        self.before_walk = (records > 0).then(|| Box::new(self.acked.clone()));
        self.unconfirmed = None;
        if records > 0 && foreign > 0 {
            // Which of them lie between ours is not known.
            self.acked.segments.clear();
        }
        self.state = State::Probing;
        if records == 0 {
            self.acked.destination_end = destination_end;
            self.start_sending();
        }
    }

    /// Finds the position by content, after [`Lane::placed`]: `destination` are its records after the
    /// acknowledged position, as far as cleaning left them.
    /// They begin at `destination_start`.
    pub(crate) fn compare(&mut self, destination: Vec<RecordHash>, destination_start: Offset) {
        let sent = usize::try_from(self.to_skip).unwrap_or(0);
        let complete = destination_start <= self.acked.destination_end;
        self.comparison = Some(Comparison::new(sent, destination, complete));
    }

    /// Takes an entry while comparing. True once the position is known.
    fn compare_entry(&mut self, entry: &Entry, mark: Mark) -> Result<bool, Trouble> {
        let timed = self.route.rule.timestamps == TimestampRule::AsAtSource;
        let found = hashes(entry, self.read_from, timed).map_err(|error| self.unreadable(&error))?;
        self.read_past(mark);
        Ok(self.comparison.as_mut().is_some_and(|comparison| comparison.take(found)))
    }

    /// Ends the comparison: everything that can still be told apart was seen.
    pub(crate) fn end_comparison(&mut self) {
        let Some(comparison) = self.comparison.take() else { return };
        let position = match comparison.position() {
            Some(position) => position,
            None if comparison.is_complete() => self.acked.next_source,
            None => {
                let log_start = self.placed_end;
                let from = self.acked.destination_end;
                self.queue.push_back(Item::Stuck(Trouble::TailDeleted { from, log_start }));
                return;
            }
        };
        // Which record became which is not known, only where both sides go on.
        self.acked.segments.clear();
        self.acked.sequence = sequence_after(self.acked.sequence, self.to_skip);
        self.acked.destination_end = self.placed_end;
        self.acked.next_source = position;
        self.acked.source_leader_epoch = LeaderEpoch::UNKNOWN;
        self.acked.sent_leader_epoch = LeaderEpoch::UNKNOWN;
        self.read_epoch = LeaderEpoch::UNKNOWN;
        self.last_read = None;
        self.acked.fingerprint = None;
        self.dirty = true;
        self.to_skip = 0;
        self.read_from = position;
        self.start_sending();
    }

    pub(crate) fn is_comparing(&self) -> bool {
        self.comparison.is_some()
    }

    fn start_sending(&mut self) {
        self.next_sequence = self.acked.sequence;
        self.next_destination = self.placed_end;
    }

    /// Takes what a fetch brought. Gives the work for the transcoding pool. What cannot be taken stops
    /// the lane once everything before it is at the destination ([`Lane::stuck`]).
    pub(crate) fn accept(&mut self, fetched: &Fetched, reading: &Reading<'_>) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut aborted = AbortedSet::new(fetched.aborted.clone());
        let comparing = self.comparison.is_some();
        for entry in split(fetched.records.clone()) {
            if comparing && self.comparison.is_none() {
                // The position may lie before what follows here: it is read again from there.
                break;
            }
            let taken = entry
                .map_err(|error| self.unreadable(&error))
                .and_then(|entry| self.accept_entry(entry, &mut aborted, reading));
            match taken {
                Ok(job) => jobs.extend(job),
                Err(trouble) => {
                    self.queue.push_back(Item::Stuck(trouble));
                    break;
                }
            }
        }
        jobs
    }

    /// Why nothing more can be sent, once everything before it was acknowledged.
    pub(crate) fn stuck(&self) -> Option<&Trouble> {
        match self.queue.front() {
            Some(Item::Stuck(trouble)) if self.in_flight.is_empty() => Some(trouble),
            _ => None,
        }
    }

    /// Whether more may be read: the position is known, there is room, and nothing is in the way.
    pub(crate) fn has_room(&self, bytes_max: usize) -> bool {
        self.held_bytes < bytes_max && !matches!(self.queue.back(), Some(Item::Stuck(_)))
    }

    fn unreadable(&self, error: &BatchError) -> Trouble {
        Trouble::Unreadable { at: self.read_from, why: error.to_string() }
    }

    fn accept_entry(
        &mut self,
        entry: Entry,
        aborted: &mut AbortedSet,
        reading: &Reading<'_>,
    ) -> Result<Option<Job>, Trouble> {
        let is_aborted = match (&entry, reading.isolation) {
            (Entry::Batch(batch), Isolation::ReadCommitted) => aborted.observe(batch),
            _ => false,
        };
        self.check_fingerprint(&entry)?;
        if entry.last_offset() < self.read_from || self.to_skip > 0 || self.comparison.is_some() {
            // What is not sent is checked by nobody else; damage must not hide records, nor count them wrong.
            entry.verify_crc().map_err(|error| self.unreadable(&error))?;
        }
        if entry.last_offset() < self.read_from {
            return Ok(None);
        }
        let choice = match &entry {
            Entry::Batch(batch) => {
                let looped = reading.opposite.contains(&batch.header.producer_id);
                choose(&batch.header, self.read_from, &self.route.rule, is_aborted, looped)
                    .map_err(|error| self.unreadable(&error))?
            }
            Entry::Legacy(_) => Choice::Transcode(record_batch::TranscodeReason::OldFormat),
        };
        let next_source = entry.next_offset();
        let (leader_epoch, fingerprint) = match &entry {
            Entry::Batch(batch) => (
                batch.header.partition_leader_epoch,
                Some(Fingerprint {
                    base_offset: batch.header.base_offset,
                    last_offset: batch.header.last_offset(),
                    crc: batch.header.crc,
                }),
            ),
            Entry::Legacy(_) => (LeaderEpoch::UNKNOWN, None),
        };
        let mark = Mark { next_source, leader_epoch, sent_epoch: leader_epoch, fingerprint };
        if let Choice::Skip(reason) = choice {
            if let Entry::Batch(batch) = &entry
                && reason != SkipReason::BeforePosition
            {
                batch.verify_crc().map_err(|error| self.unreadable(&error))?;
            }
            if self.comparison.is_none() {
                self.skip_to(mark);
            }
            self.read_past(mark);
            return Ok(None);
        }
        if self.comparison.is_some() {
            if self.compare_entry(&entry, mark)? {
                self.end_comparison();
            }
            return Ok(None);
        }
        let mut from = self.read_from;
        let mut needs_transcode = matches!(choice, Choice::Transcode(_));
        if self.to_skip > 0 {
            // Walking over what is at the destination already.
            let count = match (&entry, choice) {
                (Entry::Batch(batch), Choice::Patch) => i64::from(batch.header.record_count),
                _ => count_from(&entry, from).map_err(|error| self.unreadable(&error))?,
            };
            let first = from.max(entry.base_offset());
            self.walk_crossed_epochs |=
                leader_epoch == LeaderEpoch::UNKNOWN || leader_epoch != self.walk_epoch;
            if self.walk_crossed_epochs && count >= self.to_skip {
                let last = usize::try_from(self.to_skip - 1).unwrap_or(0);
                let timed = self.route.rule.timestamps == TimestampRule::AsAtSource;
                let found = hashes(&entry, from, timed).map_err(|error| self.unreadable(&error))?;
                self.unconfirmed = found.get(last).map(|(hash, _)| *hash);
            }
            if count <= self.to_skip {
                self.walked(count, (first, next_source), mark);
                self.read_past(mark);
                return Ok(None);
            }
            from = offset_after(&entry, from, self.to_skip).map_err(|error| self.unreadable(&error))?;
            let within = Mark { next_source: from, fingerprint: None, ..mark };
            self.walked(self.to_skip, (first, from), within);
            needs_transcode = true;
        }
        self.read_past(mark);
        let bytes = entry.size_bytes();
        self.held_bytes += bytes;
        match entry {
            Entry::Batch(batch) if !needs_transcode => {
                let first_source = batch.header.base_offset;
                self.queue.push_back(Item::Ready(Held {
                    source_end: Offset(batch.header.last_offset().0 + 1),
                    batch,
                    first_source,
                    mark,
                    charge: reading.charge.clone(),
                }));
                Ok(None)
            }
            entry => {
                self.tickets += 1;
                self.transcoded += 1;
                let ticket = self.tickets;
                self.queue.push_back(Item::Waiting {
                    ticket,
                    held: mark,
                    _charge: reading.charge.clone(),
                    bytes,
                });
                Ok(Some(Job {
                    ticket,
                    entry,
                    how: Transcode {
                        from,
                        timestamps: self.route.rule.timestamps,
                        batch_bytes_max: self.route.rule.batch_bytes_max,
                        zstd: self.route.rule.zstd,
                    },
                }))
            }
        }
    }

    /// The batch that was forwarded last must still be what it was: otherwise the source's log is another
    /// one than the one copied so far. Cleaning rewrites batches, so a compacted topic proves nothing.
    fn check_fingerprint(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let Some(fingerprint) = self.verify else { return Ok(()) };
        self.verify = None;
        let Entry::Batch(batch) = entry else { return Ok(()) };
        let same_place = batch.header.base_offset == fingerprint.base_offset
            && batch.header.last_offset() == fingerprint.last_offset;
        let same = same_place && batch.header.crc == fingerprint.crc;
        if same || self.route.rule.source_compacted || batch.header.base_offset > fingerprint.base_offset {
            return Ok(());
        }
        Err(Trouble::SourceChanged { at: fingerprint.base_offset })
    }

    /// `count` records before `mark`, in the range of source offsets given, turned out to be at the destination.
    fn walked(&mut self, count: i64, (source, source_end): (Offset, Offset), mark: Mark) {
        self.to_skip -= count;
        if self.walk_is_exact && count > 0 {
            let destination = self.acked.destination_end;
            self.acked.segments.push(Segment { source, source_end, destination, count });
        }
        self.acked.sequence = sequence_after(self.acked.sequence, count);
        self.acked.destination_end = Offset(self.acked.destination_end.0 + count);
        self.move_acked(mark);
        if self.to_skip == 0 {
            self.acked.destination_end = self.placed_end;
            if self.unconfirmed.is_none() {
                self.before_walk = None;
            }
            self.start_sending();
        }
    }

    /// The position that may be stored: not one that a walk led to which has not proven right.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        match &self.before_walk {
            Some(before) if self.walk_crossed_epochs => before,
            _ => &self.acked,
        }
    }

    /// What of the destination must be read before anything is sent: the record walked over last must be there.
    /// From which offset up to which.
    pub(crate) fn to_confirm(&self) -> Option<(Offset, Offset)> {
        self.unconfirmed?;
        let last = Offset(self.placed_end.0 - 1);
        let from = if self.walk_is_exact { last.max(self.walk_start) } else { self.walk_start };
        Some((from, self.placed_end))
    }

    /// Whether the record walked over last is the last of `destination`, which was read for [`Lane::to_confirm`].
    pub(crate) fn confirm(&mut self, destination: &Contents) -> bool {
        self.confirming = false;
        let right = self.unconfirmed.take().is_none_or(|hash| destination.records.last() == Some(&hash));
        if right {
            self.before_walk = None;
            self.dirty = true;
        }
        right
    }

    fn move_acked(&mut self, mark: Mark) {
        self.acked.next_source = mark.next_source;
        if let Some(fingerprint) = mark.fingerprint {
            self.acked.fingerprint = Some(fingerprint);
        }
        self.acked.source_leader_epoch = mark.leader_epoch;
        self.acked.sent_leader_epoch = mark.sent_epoch;
        self.acked.source_topic_id = self.route.source_topic_id.or(self.acked.source_topic_id);
        self.acked.destination_topic_id = self.route.destination_topic_id.or(self.acked.destination_topic_id);
        self.dirty = true;
    }

    /// Nothing before `to` and after the last held batch is to be sent. What lies before it is remembered all
    /// the same, so that it can be told later whether the source is still the same log.
    fn skip_to(&mut self, to: Mark) {
        let mark = match (self.queue.back_mut(), self.in_flight.back_mut()) {
            (Some(Item::Ready(held)), _) => &mut held.mark,
            (Some(Item::Waiting { held, .. }), _) => held,
            (Some(Item::Stuck(_)), _) => return,
            // An answer to an earlier opening no longer moves the position.
            (None, Some(sent)) if sent.opening == self.opening => &mut sent.mark,
            _ => {
                self.move_acked(Mark { sent_epoch: self.acked.sent_leader_epoch, ..to });
                return;
            }
        };
        *mark = Mark { sent_epoch: mark.sent_epoch, ..to };
    }

    /// Puts what became of a batch into its place in the queue.
    pub(crate) fn transcoded(&mut self, ticket: u64, pieces: Vec<Piece>) {
        let Some(at) = self.queue.iter().position(|item| item.is_waiting_for(ticket)) else { return };
        let Some(Item::Waiting { held, _charge: charge, bytes, .. }) = self.queue.remove(at) else { return };
        self.held_bytes -= bytes;
        let count = pieces.len();
        if count == 0 {
            // Records that were dropped by cleaning since: the position moves past them all the same.
            let later: VecDeque<Item> = self.queue.split_off(at);
            self.skip_to(held);
            self.queue.extend(later);
            return;
        }
        for (index, piece) in pieces.into_iter().enumerate() {
            let mark = if index + 1 == count {
                held
            } else {
                Mark { next_source: piece.next_source, fingerprint: None, ..held }
            };
            self.held_bytes += piece.batch.bytes.len();
            let item = Item::Ready(Held {
                batch: piece.batch,
                first_source: piece.first_source,
                source_end: Offset(piece.last_source.0 + 1),
                mark,
                charge: charge.clone(),
            });
            self.queue.insert(at + index, item);
        }
    }

    /// A batch cannot be transcoded: the lane stops there.
    pub(crate) fn transcode_failed(&mut self, ticket: u64, trouble: Trouble) {
        let Some(at) = self.queue.iter().position(|item| item.is_waiting_for(ticket)) else { return };
        self.held_bytes -= self.queue.drain(at..).map(|item| item.bytes()).sum::<usize>();
        self.queue.push_back(Item::Stuck(trouble));
    }

    /// Whether the next batch may leave now.
    pub(crate) fn may_send(&self, rules: &SendRules) -> bool {
        let Some(Item::Ready(held)) = self.queue.front() else { return false };
        let aged = self.is_aged(held, rules.aged_before_ms);
        let alone = match self.state {
            // one_in_flight_until_seen
            State::Probing => true,
            // aged_is_one_in_flight
            State::Flowing => aged || self.in_flight.back().is_some_and(|sent| sent.aged),
            _ => return false,
        };
        let room = if alone { self.in_flight.is_empty() } else { self.in_flight.len() < rules.window };
        self.to_skip == 0 && self.unconfirmed.is_none() && room
    }

    /// Until when the next batch must wait for the outcome of earlier ones, and then for a new look.
    pub(crate) fn quiet(&self, rules: &SendRules) -> Option<Instant> {
        match self.queue.front() {
            Some(Item::Ready(held)) if self.to_skip == 0 && self.is_aged(held, rules.aged_before_ms) => {
                self.quiet_until.filter(|until| self.placed_at < *until)
            }
            _ => None,
        }
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
        let payload = held.batch.bytes.slice(HEADER_BYTES..);
        self.in_flight.push_back(Sent {
            request,
            opening: self.opening,
            expected: self.next_destination,
            first_source: held.first_source,
            source_end: held.source_end,
            bytes: held.batch.bytes.len(),
            aged: self.is_aged(&held, aged_before_ms),
            records,
            mark: held.mark,
            _charge: held.charge,
        });
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

    /// `sent` is at the destination, where it was expected.
    pub(crate) fn appended(&mut self, sent: &Sent) {
        debug_assert_eq!(sent.expected, self.acked.destination_end, "appended_is_a_prefix");
        let records = i64::from(sent.records);
        self.acked.sequence = sequence_after(self.acked.sequence, records);
        self.acked.destination_end = Offset(sent.expected.0 + records);
        self.acked.segments.push(Segment {
            source: sent.first_source,
            source_end: sent.source_end,
            destination: sent.expected,
            count: records,
        });
        self.move_acked(sent.mark);
        self.may_have_sent = !self.in_flight.is_empty();
        self.refusals = 0;
        self.fresh = false;
        self.records += records.unsigned_abs();
        self.bytes += sent.bytes as u64;
        if self.state == State::Probing {
            self.state = State::Flowing;
        }
    }

    /// The destination lost the last `records` acknowledged ones: the position goes back to before them.
    /// False where it is not known any more where that is.
    pub(crate) fn step_back(&mut self, records: i64) -> bool {
        let restarted_since = self.acked.sequence_base > 0 && i64::from(self.acked.sequence) < records;
        if restarted_since {
            return false;
        }
        // One record further where there is one: by it the source proves to be the log that was copied.
        let before = self.acked.segments.step_back(records + 1).map(|to| (to, records + 1));
        let back = before.or_else(|| self.acked.segments.step_back(records).map(|to| (to, records)));
        let Some((to, steps)) = back else { return false };
        self.acked.next_source = to.next_source;
        self.acked.destination_end = to.destination;
        self.acked.sequence = sequence_after(self.acked.sequence, -(steps + to.kept));
        self.acked.fingerprint = None;
        self.acked.source_leader_epoch = LeaderEpoch::UNKNOWN;
        self.acked.sent_leader_epoch = LeaderEpoch::UNKNOWN;
        self.verify = None;
        self.lost += records.unsigned_abs();
        self.dirty = true;
        true
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

    /// Still walking over records that are at the destination already.
    pub(crate) fn is_walking(&self) -> bool {
        self.to_skip > 0
    }

    pub(crate) fn read_from(&self) -> Offset {
        self.read_from
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Ready(held) => held.batch.bytes.len(),
            Item::Waiting { bytes, .. } => *bytes,
            Item::Stuck(_) => 0,
        }
    }

    fn is_waiting_for(&self, wanted: u64) -> bool {
        matches!(self, Item::Waiting { ticket, .. } if *ticket == wanted)
    }
}
