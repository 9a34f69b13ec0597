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

mod moving;
mod reading;
mod sending;

pub(crate) use moving::Diverged;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::{Fetched, ProduceBatch};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, Route, TimestampRule};
use offsets::{Checkpoint, Fingerprint, Segment, Segments, SelectionId, Spread};
use record_batch::{
    AbortedSet, Batch, BatchError, Choice, Entry, HEADER_BYTES, Piece, ProducerStamp, Share, SkipReason,
    Transcode, choose, count_from, offset_after, patch, split,
};

use crate::budget::Charge;
use crate::contents::{Comparison, Contents, Deleted, RecordHash, Search, hashes};
use crate::earned::ahead_bytes_max;
use crate::events::{ConnectionId, LaneId, LaneKey, Leader, RequestId};
use crate::life::{LifeCounts, Move};
use crate::options::Isolation;
use crate::place::sequence_after;
use crate::trouble::{Trouble, Unfound};

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
        /// Several that are being merged.
        merged: bool,
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
    /// It is several of the source, and leaves as it is.
    merged: bool,
}

/// A batch that was handed to a connection and not yet answered.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) request: RequestId,
    opening: u64,
    /// The base offset that the answer must give; of a share, the least that it may.
    pub(crate) expected: Offset,
    sequence: i32,
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

/// Batches for the pool to make one of.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) ticket: u64,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) charge: Charge,
}

/// What decides whether a batch may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendRules {
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
    /// Set where it copies a part of the source's records only, those that go to its destination.
    pub(crate) share: Option<Share>,
    /// What is stored is of a copy that spread its records, or did not, and this one is otherwise.
    pub(crate) is_of_other_kind: bool,
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
    /// Until then something sent earlier may still be appended. Where the destination remembers us it
    /// refuses what is late; it can forget what is aged between any two batches, so those wait, and leave
    /// only after a look that was made later than this. So do those of a compacted source.
    pub(crate) quiet_until: Option<Instant>,
    /// Until when the destination's leader may show an end before what was acknowledged.
    end_lags_until: Option<Instant>,
    /// The broker that it was sent to, if it was one and is known.
    late_at: Option<BrokerId>,
    /// When the destination was last looked at.
    placed_at: Instant,
    /// The last batch acknowledged was aged: until a younger one is, the destination may forget the sequence.
    acked_aged: bool,
    /// Who led then, and on which connection it was asked: a broker that was restarted has both anew.
    placed_leader: Option<(Leader, ConnectionId)>,
    /// Something was sent, in this process or an earlier one.
    pub(crate) begun: bool,
    /// Since when the outcome is unknown or the position in doubt.
    pub(crate) doubt_at: Instant,
    /// When a leader of the destination first answered a look since then.
    pub(crate) shown_at: Option<Instant>,
    /// The destination forgot the sequence and takes only 0 (before 2.5).
    pub(crate) restart_sequence: bool,
    /// The sequence has begun anew, and a leader refuses that: it may remember the one before.
    pub(crate) resume_sequence: bool,
    /// The leader whose state was looked at, and the connection that was there before the look.
    pub(crate) looked_at: Option<(Leader, ConnectionId)>,
    /// Where the log ends at least, by an acknowledgement that came from elsewhere than expected: everything before it
    /// was replicated, whatever a new leader shows.
    pub(crate) acknowledged_end: Offset,
    /// The leader that an opening lane asks.
    pub(crate) asked: Option<Leader>,
    /// When the last look was asked for: what it shows is at least as young, however late it comes.
    pub(crate) asked_at: Instant,
    /// The connection that was there before the last look.
    pub(crate) seen_on: Option<ConnectionId>,
    /// When the destination last answered about this lane.
    pub(crate) last_contact: Instant,
    /// Failed attempts since the last acknowledgement or idle end.
    pub(crate) attempts: u32,
    pub(crate) fetch_not_before: Option<Instant>,
    /// Who leads the source partition, as the engine last heard.
    pub(crate) source_leader: Option<Leader>,
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
    /// Batches that were made of several of the source.
    pub(crate) merged: u64,
    /// What was done about topics created anew, cut, overtaken or lost.
    pub(crate) life: LifeCounts,
    /// Where the source turned out to be another log, until it was looked at again.
    pub(crate) diverged: Option<Diverged>,
    /// Another position to go on at, once the destination was looked at and it is stored.
    pub(crate) moving: Option<Box<Move>>,
    /// Whether what is at the destination behind the position, up to this sequence, is of the old source topic.
    pub(crate) shown: Option<(i32, bool)>,
    /// How many they are, and their last sequence, while the new topic is searched for the last of them.
    pub(crate) to_show: Option<(i64, i32)>,
    /// Of the source's batches that this process needed to read only to see that they are at the destination.
    walked_bytes: u64,

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
    /// Since when, and up to where at most.
    compares_since: Instant,
    compares_until: Option<Offset>,
    /// Set while the source is searched for the copy's last records, and where that ends.
    search: Option<(Search, Offset)>,
    /// What a search ended with that found nothing, and the last sequence that it was for: once is enough.
    pub(crate) unfound: Option<(i32, Unfound)>,
    /// Of a share, the offset after its last record that is walked over.
    walk_end: Option<Offset>,
    /// The offset of the next append, once `to_skip` is done.
    placed_end: Offset,
    verify: Option<Fingerprint>,
    /// There is nothing to compare, and the topic may be another one since it was last seen.
    pub(crate) unproven: bool,
    tickets: u64,
    queue: VecDeque<Item>,
    held_bytes: usize,
    /// The largest of the source's batches lately, or as large as one may be, judging by what did not come.
    /// 0: nothing has come yet.
    batch_bytes: usize,
    /// What the last fetch asked for.
    asked_bytes: usize,
    pub(crate) in_flight: VecDeque<Sent>,
    next_sequence: i32,
    next_destination: Offset,
    /// The broker in whose list of lanes with something to send it waits.
    pub(crate) queued_for: Option<BrokerId>,
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
pub(crate) fn route_for_tests(source: model::TopicPartition, destination: model::TopicPartition) -> Route {
    Route {
        source,
        destination,
        spread_over: None,
        source_topic_id: None,
        destination_topic_id: None,
        rule: model::RewriteRule {
            timestamps: TimestampRule::AsAtSource,
            batch_bytes_max: 1 << 20,
            zstd: true,
            source_compacted: false,
        },
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
            // Of its shares each has a lane.
            Some(offsets::StoredLane::Spread(_)) | None => (nowhere(&route, selection), true, false),
        };
        Lane {
            id,
            route,
            share: None,
            is_of_other_kind: false,
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
            compares_since: now,
            compares_until: None,
            search: None,
            unfound: None,
            walk_end: None,
            placed_end: acked.destination_end,
            verify: acked.fingerprint,
            unproven: false,
            tickets: 0,
            queue: VecDeque::new(),
            held_bytes: 0,
            batch_bytes: 0,
            asked_bytes: 0,
            in_flight: VecDeque::new(),
            next_sequence: acked.sequence,
            next_destination: acked.destination_end,
            queued_for: None,
            acked,
            fresh,
            taken_over,
            dirty: false,
            source_checked: false,
            unsettled: false,
            may_have_sent: false,
            standing_by: None,
            refusals: 0,
            quiet_until: None,
            end_lags_until: None,
            late_at: None,
            placed_at: now,
            acked_aged: false,
            placed_leader: None,
            begun: !fresh,
            doubt_at: now,
            shown_at: None,
            restart_sequence: false,
            resume_sequence: false,
            looked_at: None,
            acknowledged_end: Offset(0),
            asked: None,
            asked_at: now,
            seen_on: None,
            last_contact: now,
            attempts: 0,
            fetch_not_before: None,
            source_leader: None,
            preferred: None,
            source_start: Offset(0),
            source_end: None,
            source_end_at_start: None,
            records: 0,
            bytes: 0,
            transcoded: 0,
            merged: 0,
            life: LifeCounts::default(),
            diverged: None,
            moving: None,
            shown: None,
            to_show: None,
            walked_bytes: 0,
        }
    }

    /// The lane as one of those that spread the source's records.
    pub(crate) fn of_share(mut self, share: Share) -> Lane {
        self.share = Some(share);
        if self.acked.segments.is_empty() {
            self.acked.segments = Segments::new(Spread::segments_max(share.of));
        }
        self
    }

    /// The part of the source's records that is copied, where that is not all of them.
    fn part(&self) -> Option<Share> {
        self.share.filter(|share| share.of > 1)
    }

    /// Into how many parts the source's bytes go.
    fn parts(&self) -> usize {
        self.share.map_or(1, |share| usize::try_from(share.of).unwrap_or(1).max(1))
    }

    pub(crate) fn key(&self) -> LaneKey {
        LaneKey { id: self.id, opening: self.opening }
    }

    /// Whether another one than `present` was asked, who need not answer any more.
    pub(crate) fn asked_another(&self, present: Option<Leader>) -> bool {
        present.is_some() && self.asked != present
    }

    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.state, State::Probing | State::Flowing)
    }

    /// Whether there is nothing left to do at the moment.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Nothing sent earlier may still be appended.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        !self.unsettled && self.quiet_until.is_none_or(|until| until <= now)
    }

    /// What is at the destination is in doubt from now on; `unsettled`: something sent may be there or not.
    pub(crate) fn doubted(&mut self, now: Instant, unsettled: bool) {
        if unsettled || !self.unsettled {
            self.doubt_at = now;
            self.shown_at = None;
        }
        self.unsettled |= unsettled;
    }

    /// From when on nothing sent before the doubt can be appended or replicated any more: `late_for` after it, and after
    /// the first answer since then of its leader, which may have stood still with a request unread.
    pub(crate) fn settles_at(&self, late_for: Duration) -> Instant {
        self.shown_at.unwrap_or(self.asked_at).max(self.doubt_at) + late_for
    }

    /// Starts over: forgets what is held, keeps what is acknowledged and what is under way (whose answers
    /// only count down).
    pub(crate) fn reopen(&mut self, state: State) {
        self.opening += 1;
        self.state = state;
        // One that was not looked into yet is found again.
        self.diverged = self.diverged.filter(|diverged| diverged.noted_at.is_some());
        self.held_bytes -= self.queue.iter().map(Item::bytes).sum::<usize>();
        self.queue.clear();
        self.to_skip = 0;
        self.comparison = None;
        self.search = None;
        if let Some(before) = self.before_walk.take().filter(|_| self.walk_is_one()) {
            self.acked = *before;
        }
        self.unconfirmed = None;
        self.confirming = false;
        self.looked_at = None;
    }

    /// The position is known: `records` selected ones after the acknowledged position are at the
    /// destination already, with `foreign` ones of others; its log begins at `destination_start`, and the next
    /// append gets `destination_end`.
    /// `walk_end`: of a share, the offset after the last of those records.
    /// `late_for`: how long after the doubt something sent before may still be appended.
    pub(crate) fn placed(
        &mut self,
        (records, foreign, walk_end): (i64, i64, Option<Offset>),
        (destination_start, destination_end): (Offset, Offset),
        leader: Leader,
        connection: ConnectionId,
        (late_for, end_may_lag): (Duration, bool),
        now: Instant,
    ) {
        if self.unsettled {
            let sent_to = self.placed_leader.map(|(leader, _)| leader.broker);
            let others_too =
                self.quiet_until.is_some_and(|until| self.asked_at < until) && self.late_at != sent_to;
            self.late_at = if others_too { None } else { sent_to };
            self.quiet_until = Some(self.settles_at(late_for));
        }
        if end_may_lag && self.placed_leader != Some((leader, connection)) {
            // Before KIP-207 (2.2) a new leader shows an end before what was acknowledged, until its followers
            // have told how far they are.
            self.end_lags_until = Some(now + late_for);
        }
        self.placed_leader = Some((leader, connection));
        self.placed_at = self.asked_at;
        self.to_skip = records;
        // Before KIP-207 (2.2) the log may seem to end within the last of them.
        self.placed_end = walk_end.map_or(destination_end, |end| end.max(destination_end));
        self.looked_at = Some((leader, connection));
        self.read_from = self.acked.next_source;
        self.read_epoch = self.acked.source_leader_epoch;
        self.last_read = self.acked.fingerprint;
        self.last_read_at = now;
        self.verify_again();
        self.unsettled = false;
        self.may_have_sent = false;
        let exact_end = Offset(self.acked.destination_end.0 + records);
        self.walk_is_exact = foreign == 0 && walk_end.is_none_or(|end| end == exact_end);
        self.walk_end = walk_end;
        self.walk_start = self.acked.destination_end.max(destination_start);
        self.walk_crossed_epochs = false;
        self.walk_epoch = self.acked.sent_leader_epoch;
        self.before_walk = (records > 0).then(|| Box::new(self.acked.clone()));
        self.unconfirmed = None;
        if records > 0 && !self.walk_is_exact {
            // Which of them lie between ours is not known.
            self.acked.segments.clear();
        }
        self.state = State::Probing;
        if records == 0 {
            self.acked.destination_end = destination_end;
            self.start_sending();
        }
    }

    fn start_sending(&mut self) {
        self.next_sequence = self.acked.sequence;
        self.next_destination = self.placed_end;
    }

    /// The position that may be stored: not one that a walk led to which has not proven right.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        match &self.before_walk {
            Some(before) if self.walk_is_one() => before,
            _ => &self.acked,
        }
    }

    /// Whether a walk proves right, or is known to a restart, only as a whole. Where in the log each of the records is that
    /// a share walks over nobody knows but of the last one.
    fn walk_is_one(&self) -> bool {
        self.walk_crossed_epochs || self.share.is_some()
    }

    /// Whether `sent` is what follows the acknowledged position.
    pub(crate) fn is_next(&self, sent: &Sent) -> bool {
        match self.share {
            None => sent.expected == self.acked.destination_end,
            // Where it is appended, others decide as well.
            Some(_) => sent.sequence == self.acked.sequence,
        }
    }

    /// Others have appended up to `end`, where nothing of this share can be under way.
    pub(crate) fn others_appended(&mut self, end: Offset, now: Instant) {
        let is_quiet = self.is_reading()
            && self.in_flight.is_empty()
            && self.to_skip == 0
            && self.before_walk.is_none()
            && self.search.is_none()
            && self.comparison.is_none()
            && !self.may_have_sent
            && self.is_settled(now);
        if is_quiet && end > self.acked.destination_end {
            self.acked.destination_end = end;
            self.dirty = true;
        }
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

    /// The destination lost the last `records` acknowledged ones: the position goes back to before them.
    /// False where it is not known any more where that is.
    pub(crate) fn step_back(&mut self, records: i64) -> bool {
        // Where the sequence began anew since, those before have other numbers.
        let numbered =
            |steps: &i64| self.acked.sequence_base == 0 || *steps <= i64::from(self.acked.sequence);
        // One record further where there is one: by it the source proves to be the log that was copied.
        let steps: Vec<i64> = [records + 1, records].into_iter().filter(numbered).collect();
        let segments = &mut self.acked.segments;
        let back = steps.into_iter().find_map(|steps| Some((segments.step_back(steps)?, steps)));
        let Some((to, steps)) = back else { return false };
        self.acked.next_source = to.next_source;
        self.acked.destination_end = to.destination;
        self.acked.sequence = sequence_after(self.acked.sequence, -(steps + to.kept));
        self.acked.fingerprint = None;
        self.acked.source_leader_epoch = LeaderEpoch::UNKNOWN;
        self.acked.sent_leader_epoch = LeaderEpoch::UNKNOWN;
        self.verify = None;
        self.dirty = true;
        true
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

    /// Whether anything of it lies at the source behind `offset`.
    fn reaches_beyond(&self, offset: Offset) -> bool {
        match self {
            Item::Ready(held) => held.source_end > offset,
            Item::Waiting { held, .. } => held.next_source > offset,
            Item::Stuck(_) => true,
        }
    }

    fn is_waiting_for(&self, wanted: u64) -> bool {
        matches!(self, Item::Waiting { ticket, .. } if *ticket == wanted)
    }
}
