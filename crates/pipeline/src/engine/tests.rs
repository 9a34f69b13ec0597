//! What the simulation does not draw: operators who change something between two runs, and single events at their time.

mod answers;
mod crowd;
mod life;
mod spreading;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{ErrorCode, FetchReply, Fetched, ProduceReply, Produced};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, Route, Routes, TopicId, TopicPartition};
use offsets::{Checkpoint, Fingerprint, Producer, Segment, SelectionId, Stored, StoredLane};
use record_batch::{Batch, BatchBuilder, Codec, merge};

use super::Engine;
use crate::budget::Budget;
use crate::contents::Contents;
use crate::events::{Action, ConnectionId, Event, LaneKey, Leader, Now, RequestId, SourceEvidence};
use crate::lane::{first_checkpoint_for_tests, route_for_tests};
use crate::options::{ExistingRecords, Options};
use crate::place::{Evidence, ProducerEvidence, Tail};
use crate::trouble::{Side, Trouble};

const BROKER: BrokerId = BrokerId(1);
const LED: Leader = Leader { broker: BROKER, epoch: LeaderEpoch(0), topic_id: None };

/// An engine of one lane whose clusters answer at once, but for what is read and sent.
struct Run {
    engine: Engine,
    started: Instant,
    /// Since then, when something was last handed in.
    seconds: u64,
    /// The wall clock at the start.
    wall_ms: i64,
    source: (i64, i64),
    destination: Evidence,
    /// Who leads the copy, if another one.
    moved: Option<Leader>,
    /// What was stored, in its order.
    saved: Vec<Stored>,
    /// Nothing comes of what is to be stored.
    saves_wait: bool,
    /// Who leads both sides' partitions of which topics.
    leader: LeaderEpoch,
    topic_ids: (Option<TopicId>, Option<TopicId>),
    /// The source is asked for records by topic ids.
    by_id: bool,
    /// What it tells of the position's leader epoch.
    epoch_end: Option<(LeaderEpoch, Offset)>,
    /// What the destination's records are, where reading them is answered.
    contents: Option<Contents>,
    /// Its newest batch of the flow, where the log is looked into.
    tail: Tail,
    /// Looks at the destination wait for their answers.
    looks_wait: bool,
    /// The brokers and lanes of those that do.
    looks: Vec<(BrokerId, LaneKey)>,
    /// The brokers and offsets of the fetches that were asked for, which wait for their answers.
    fetches: Vec<(BrokerId, Offset)>,
    /// To whom produce requests were sent.
    sent: Vec<(BrokerId, RequestId)>,
    /// Whose connections were given up.
    left: Vec<BrokerId>,
    /// How many batches were made one, each time.
    merges: Vec<usize>,
}

impl Run {
    fn of(lane: StoredLane, stopped_cleanly: bool, source: (i64, i64), destination: Evidence) -> Run {
        Run::new(Some(lane), stopped_cleanly, source, destination)
    }

    fn new(
        lane: Option<StoredLane>,
        stopped_cleanly: bool,
        source: (i64, i64),
        destination: Evidence,
    ) -> Run {
        let mut run = Run::with(Options::new("flow"), lane, stopped_cleanly, source, destination);
        run.route(1, route_for_tests(orders(), orders()));
        run
    }

    /// Without a route.
    fn with(
        options: Options,
        lane: Option<StoredLane>,
        stopped_cleanly: bool,
        source: (i64, i64),
        destination: Evidence,
    ) -> Run {
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let started = Instant::now();
        let producer = Producer {
            producer_id: ProducerId(4711),
            producer_epoch: 0,
            destination_cluster_id: None,
            stopped_cleanly,
            spread_ids: vec![ProducerId(4712)],
        };
        let lanes = lane.into_iter().map(|lane| (orders(), lane)).collect();
        let stored = Stored { producer: Some(producer), lanes, ..Stored::default() };
        let now = Now { instant: started, wall_ms: 0 };
        let budget = Budget::new(options.buffer_bytes_max);
        let engine = Engine::new(options, budget, stored, None, now);
        Run {
            engine,
            started,
            source,
            destination,
            moved: None,
            saved: Vec::new(),
            saves_wait: false,
            seconds: 0,
            wall_ms: 0,
            leader: LeaderEpoch(0),
            topic_ids: (None, None),
            by_id: true,
            epoch_end: None,
            contents: None,
            tail: Tail::NoneOurs,
            looks_wait: false,
            looks: Vec::new(),
            fetches: Vec::new(),
            sent: Vec::new(),
            left: Vec::new(),
            merges: Vec::new(),
        }
    }

    fn route(&mut self, generation: u64, route: Route) {
        let routes = Routes { generation, routes: vec![route] };
        self.tell(self.seconds, Event::Routes(Arc::new(routes)));
    }

    /// Hands in `event`, `after` seconds from the start, and answers what is asked for.
    fn tell(&mut self, after: u64, event: Event) {
        self.seconds = after;
        let wall_ms = self.wall_ms + 1000 * after as i64;
        let now = Now { instant: self.started + Duration::from_secs(after), wall_ms };
        self.engine.handle(now, event);
        while let Some(action) = self.engine.poll_action() {
            if let Some(answer) = self.answer(action) {
                self.engine.handle(now, answer);
            }
        }
    }

    fn answer(&mut self, action: Action) -> Option<Event> {
        Some(match action {
            Action::FindLeaders { side, .. } => {
                let topic_id = if side == Side::Source { self.topic_ids.0 } else { self.topic_ids.1 };
                let led = Leader { broker: BROKER, epoch: self.leader, topic_id };
                let leader = self.moved.filter(|_| side == Side::Destination).unwrap_or(led);
                let beside = TopicPartition::new("orders", 1);
                Event::Leaders { side, answer: Ok(vec![(orders(), leader), (beside, leader)]) }
            }
            Action::ReadContents { lane, evidence, .. } => {
                Event::ContentsRead { lane, evidence, contents: Ok(self.contents.clone()?) }
            }
            Action::LookAtSource { broker, lanes, .. } => {
                let (start, end) = (Offset(self.source.0), Offset(self.source.1));
                let evidence = SourceEvidence {
                    log_start: start,
                    end,
                    high_watermark: end,
                    committed: None,
                    by_id: self.by_id,
                    epoch_end: self.epoch_end,
                };
                Event::SourceLooked {
                    broker,
                    lanes: lanes.into_iter().map(|(key, _)| (key, Ok(evidence))).collect(),
                }
            }
            Action::ReadTail { lane, evidence, .. } => {
                Event::TailRead { lane, evidence, tail: Ok(self.tail) }
            }
            Action::LookAtDestination { broker, lanes } if self.looks_wait => {
                self.looks.extend(lanes.into_iter().map(|(key, ..)| (broker, key)));
                return None;
            }
            Action::LookAtDestination { broker, lanes } => Event::DestinationLooked {
                broker,
                connection: Some(ConnectionId(1)),
                lanes: lanes.into_iter().map(|(key, ..)| (key, Ok(self.destination.clone()))).collect(),
            },
            Action::Save { .. } if self.saves_wait => return None,
            Action::Save { changes, .. } => {
                self.saved.push(changes);
                Event::Saved(Ok(()))
            }
            Action::Fetch { broker, wanted, .. } => {
                self.fetches.push((broker, wanted[0].offset));
                return None;
            }
            Action::Send { broker, request, .. } => {
                self.sent.push((broker, request));
                return None;
            }
            Action::Merge { lane, ticket, pieces, batch_bytes_max, .. } => {
                self.merges.push(pieces.len());
                Event::Transcoded { lane, ticket, pieces: Ok(merge(pieces, batch_bytes_max)) }
            }
            Action::Disconnect { broker, .. } => {
                self.left.push(broker);
                return None;
            }
            _ => return None,
        })
    }

    /// `broker` answers its fetch with `records`.
    fn give(&mut self, broker: BrokerId, records: Bytes) {
        self.give_at(1, broker, records);
    }

    fn give_at(&mut self, after: u64, broker: BrokerId, records: Bytes) {
        let reply = Ok(fetched(orders(), self.source, records));
        self.tell(after, Event::Fetched { broker, reply });
    }

    /// The `nth` request is answered.
    fn nth_answered(&mut self, nth: usize, after: u64, error: ErrorCode, base_offset: Option<i64>) {
        let event = produced(self.sent[nth].1, error, base_offset, Duration::ZERO);
        self.tell(after, event);
    }

    /// What is stored of the lane, if anything was.
    fn stored(&self) -> Option<&StoredLane> {
        self.saved.iter().rev().find_map(|stored| stored.lanes.get(&orders()))
    }

    fn trouble(&self) -> Option<Trouble> {
        self.engine.status().lanes[0].trouble.clone()
    }
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

/// A reply with records of a partition whose log reaches so far.
fn fetched(partition: TopicPartition, (start, end): (i64, i64), records: Bytes) -> FetchReply {
    let bytes = records.len();
    let fetched = Fetched {
        partition,
        error: ErrorCode::NONE,
        high_watermark: Some(Offset(end)),
        last_stable_offset: None,
        log_start_offset: Some(Offset(start)),
        aborted: Vec::new(),
        preferred_replica: None,
        diverging: None,
        records,
    };
    FetchReply { throttle: Duration::ZERO, bytes, partitions: vec![fetched] }
}

/// The answer to a request to append to [`orders`].
fn produced(request: RequestId, error: ErrorCode, base_offset: Option<i64>, throttle: Duration) -> Event {
    let produced = Produced {
        partition: orders(),
        error,
        base_offset: base_offset.map(Offset),
        log_append_time_ms: None,
        log_start_offset: None,
        message: None,
    };
    Event::Produced { request, reply: Ok(ProduceReply { throttle, partitions: vec![produced] }) }
}

fn shown(last: i32, latest: i64) -> Evidence {
    Evidence {
        producer: ProducerEvidence::Last(last),
        log_start: Offset(0),
        latest: Offset(latest),
        tail: None,
    }
}

#[test]
fn a_position_that_an_operator_set_begins_when_nothing_of_before_can_arrive_any_more() {
    let set = StoredLane::Foreign { last_copied: Offset(9) };
    let mut killed = Run::of(set.clone(), false, (0, 20), shown(7, 8));
    assert_eq!((killed.stored(), killed.trouble()), (None, Some(Trouble::OutcomeUnknown)));
    // What was late has come, and counts.
    killed.destination = shown(9, 10);
    killed.tell(49, Event::Timer);
    assert_eq!(killed.stored(), None);
    killed.tell(51, Event::Timer);
    let mut begins = first_checkpoint_for_tests();
    (begins.next_source, begins.sequence, begins.destination_end) = (Offset(10), 10, Offset(10));
    assert_eq!(killed.stored(), Some(&StoredLane::Ours(begins.clone())));

    let stopped = Run::of(set, true, (0, 20), shown(7, 8));
    (begins.sequence, begins.destination_end) = (8, Offset(8));
    assert_eq!(stopped.stored(), Some(&StoredLane::Ours(begins)));
}

#[test]
fn a_memory_that_stays_ahead_of_an_emptied_log_is_a_hole_in_the_end() {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(8), 8, Offset(8));
    let ahead = Evidence { log_start: Offset(8), ..shown(19, 8) };
    let mut run = Run::of(StoredLane::Ours(position), false, (0, 30), ahead.clone());
    assert_ne!(run.trouble().map(|trouble| trouble.passes()), Some(false), "followers may lag");
    for after in (1..50).step_by(2) {
        run.tell(after, Event::Timer);
    }
    assert_eq!(run.trouble(), Some(Trouble::NotReplicated));
    run.tell(51, Event::Timer);
    let hole = Trouble::DestinationHole { expected: Offset(20), latest: Offset(8) };
    assert_eq!(run.trouble(), Some(hole));
}

#[test]
fn what_another_leader_was_asked_for_proves_first_that_it_fits() {
    let copied = batch(4);
    let header = Batch::read(copied.clone()).unwrap().header;
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(5), 5, Offset(5));
    position.fingerprint = Some(Fingerprint {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        crc: header.crc,
    });
    let mut run = Run::of(StoredLane::Ours(position), true, (0, 30), shown(4, 5));
    run.give(BROKER, copied.clone());
    assert_eq!(run.fetches, [(BROKER, Offset(4)), (BROKER, Offset(5))]);

    // The source moves while a fetch is under way: what comes of that is not taken.
    let next = BrokerId(2);
    let leader = Leader { broker: next, epoch: LeaderEpoch(1), topic_id: None };
    run.tell(1, Event::Leaders { side: Side::Source, answer: Ok(vec![(orders(), leader)]) });
    run.give(BROKER, batch(5));
    assert_eq!((run.sent.len(), run.fetches[2]), (0, (next, Offset(4))));
    run.give(next, [copied, batch(5)].concat().into());
    assert_eq!(run.sent.len(), 1);
}

#[test]
fn a_batch_that_was_read_already_is_of_the_leader_epoch_that_it_was_of() {
    // What comes of a batch at this offset, of so many records and of this leader epoch.
    let outcome = |base_offset: i64, records: i64, epoch: i32| {
        let mut position = first_checkpoint_for_tests();
        (position.next_source, position.sequence, position.destination_end) = (Offset(5), 5, Offset(5));
        position.source_leader_epoch = LeaderEpoch(1);
        let mut run = Run::of(StoredLane::Ours(position), true, (0, 30), shown(4, 5));
        run.leader = LeaderEpoch(2);
        let mut batch =
            BatchBuilder::new(Codec::None).base_offset(Offset(base_offset)).leader_epoch(LeaderEpoch(epoch));
        (0..records).for_each(|_| batch.append(0, None, Some(b"value"), &[]));
        run.give(BROKER, batch.build());
        for after in 2..4 {
            run.tell(after, Event::Timer);
        }
        run.trouble()
    };
    let changed = |at: i64| Some(Trouble::SourceChanged { at: Offset(at) });
    // Read in part, and read whole.
    assert_eq!([outcome(4, 2, 1), outcome(3, 1, 1), outcome(3, 1, 0)], [None, None, None]);
    assert_eq!([outcome(4, 2, 2), outcome(4, 2, 0)], [changed(4), changed(4)]);
    assert_eq!(outcome(3, 1, 2), changed(3));
    // What is new may be of any later one.
    assert_eq!(outcome(5, 1, 2), None);
}

/// What was sent is counted at the source. Where its leader changed since, it may hold others' records there, until the
/// last of those that were sent has been compared.
#[test]
fn a_position_that_was_counted_across_a_change_of_leaders_is_stored_once_it_has_proven_right() {
    let stored_after = |epoch: i32| {
        let mut position = first_checkpoint_for_tests();
        (position.next_source, position.sequence, position.destination_end) = (Offset(10), 10, Offset(10));
        (position.source_leader_epoch, position.sent_leader_epoch) = (LeaderEpoch(0), LeaderEpoch(0));
        let mut run = Run::of(StoredLane::Ours(position), false, (0, 30), shown(14, 15));
        let mut sent =
            BatchBuilder::new(Codec::None).base_offset(Offset(10)).leader_epoch(LeaderEpoch(epoch));
        (0..5).for_each(|_| sent.append(0, None, Some(b"value"), &[]));
        run.give(BROKER, sent.build());
        let flush_interval = run.engine.options.flush_interval.as_secs();
        for after in (4..=flush_interval + 4).step_by(4) {
            run.tell(after, Event::Timer);
        }
        let Some(StoredLane::Ours(stored)) = run.stored() else { return None };
        Some(stored.next_source.0)
    };
    assert_eq!((stored_after(0), stored_after(1).unwrap_or(10)), (Some(15), 10));
}

#[test]
fn a_lane_does_not_wait_for_a_leader_that_has_moved() {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::of(StoredLane::Ours(first_checkpoint_for_tests()), true, (0, 30), nothing);
    run.give(BROKER, batch(0));
    let (_, request) = run.sent[0];
    // It throttles, so that what comes next has to wait.
    run.tell(1, produced(request, ErrorCode::NONE, Some(0), Duration::from_secs(1000)));
    run.give(BROKER, batch(1));
    assert_eq!(run.sent.len(), 1);
    run.destination = shown(0, 1);
    let next = BrokerId(2);
    let leader = Leader { broker: next, epoch: LeaderEpoch(1), topic_id: None };
    run.tell(1, Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) });
    run.give(BROKER, batch(1));
    run.give(BROKER, [batch(0), batch(1)].concat().into());
    assert_eq!(run.sent.iter().map(|(broker, _)| *broker).collect::<Vec<_>>(), [BROKER, next]);
}

#[test]
fn a_new_leader_that_shows_less_than_was_acknowledged_is_waited_for_as_long_as_it_may_lag() {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let position = StoredLane::Ours(first_checkpoint_for_tests());
    let mut run = Run::of(position, true, (0, 30), nothing);
    // So far back is what a walk over them has proven, when the source's leader changes in the middle of it.
    run.engine.lanes.values_mut().for_each(|lane| lane.acknowledged_end = Offset(5));
    let leader = Leader { broker: BrokerId(2), epoch: LeaderEpoch(1), topic_id: None };
    run.moved = Some(leader);
    run.tell(1, Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) });
    for after in (2..51).step_by(2) {
        run.tell(after, Event::Timer);
        assert_eq!(run.trouble(), Some(Trouble::NotReplicated), "after {after} s");
    }
    for after in [52, 53] {
        run.give_at(after, BROKER, batch(0));
    }
    assert_eq!(run.sent.len(), 1, "then they are lost");
}

#[test]
fn a_broker_that_hangs_is_left_once_another_leads() {
    let empty = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::new(None, true, (0, 20), empty);
    run.give(BROKER, batch(0));
    assert_eq!(run.sent.len(), 1);
    run.tell(1, Event::Timer);
    assert_eq!(run.left, []);
    run.moved = Some(Leader { broker: BrokerId(2), epoch: LeaderEpoch(1), topic_id: None });
    run.tell(2, Event::Timer);
    assert_eq!(run.left, [BROKER]);
}

#[test]
fn who_has_not_heard_of_a_leader_does_not_bring_the_former_one_back() {
    let mut run = Run::new(None, true, (0, 20), shown(0, 1));
    let heard = |leader| Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) };
    let next = Leader { broker: BrokerId(2), epoch: LeaderEpoch(1), topic_id: None };
    let led_by = |run: &Run| run.engine.destination.leaders[&orders()];
    for (after, told, expected) in [(1, next, next), (2, LED, next), (7, LED, LED)] {
        run.moved = Some(told);
        run.tell(after, heard(told));
        assert_eq!(led_by(&run), expected, "after {after} s");
    }
}

#[test]
fn a_lane_that_looks_elsewhere_has_no_turn_any_more_at_who_led_before() {
    let position = StoredLane::Ours(first_checkpoint_for_tests());
    let mut run = Run::with(Options::new("flow"), Some(position), true, (0, 30), shown(0, 0));
    run.looks_wait = true;
    run.route(1, route_for_tests(orders(), orders()));
    // One look at a broker at a time: where it leads in another epoch by now, the next one waits for the first.
    for (after, broker, epoch) in [(1, BROKER, 1), (2, BrokerId(2), 2)] {
        let leader = Leader { broker, epoch: LeaderEpoch(epoch), topic_id: None };
        run.tell(after, Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) });
    }
    let (broker, key) = run.looks[0];
    let answer = vec![(key, Ok(shown(0, 0)))];
    run.tell(3, Event::DestinationLooked { broker, connection: Some(ConnectionId(1)), lanes: answer });
    assert_eq!(run.looks.iter().map(|(broker, _)| *broker).collect::<Vec<_>>(), [BROKER, BrokerId(2)]);
}

#[test]
fn where_others_write_the_log_shows_whether_what_was_sent_is_replicated() {
    let segment = |source: i64, destination: i64| Segment {
        source: Offset(source),
        source_end: Offset(source + 5),
        destination: Offset(destination),
        count: 5,
    };
    let mut alone = first_checkpoint_for_tests();
    (alone.next_source, alone.sequence, alone.destination_end) = (Offset(10), 10, Offset(11));
    let mut shared = alone.clone();
    [segment(0, 0), segment(5, 6)].into_iter().for_each(|segment| shared.segments.push(segment));
    // The leader remembers five more than were stored, and five more are replicated: three of them are others'.
    let run_of = |existing_records, position: &Checkpoint| {
        let options = Options { existing_records, ..Options::new("flow") };
        let position = Some(StoredLane::Ours(position.clone()));
        let mut run = Run::with(options, position, false, (0, 30), shown(14, 16));
        run.tail = Tail::Ours(11);
        run.route(1, route_for_tests(orders(), orders()));
        (run.trouble(), run.fetches.len())
    };
    assert_eq!(run_of(ExistingRecords::Refuse, &alone), (None, 1), "nobody else writes there");
    let waits = (Some(Trouble::NotReplicated), 0);
    assert_eq!(run_of(ExistingRecords::Append, &alone), waits, "others were there before");
    assert_eq!(run_of(ExistingRecords::Refuse, &shared), waits, "others' records lie between ours");
}

/// One record at `offset`.
fn batch(offset: i64) -> Bytes {
    let mut batch = BatchBuilder::new(Codec::None).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0));
    batch.append(0, None, Some(b"value"), &[]);
    batch.build()
}

#[test]
fn another_isolation_level_begins_at_a_stored_position() {
    let mut before = first_checkpoint_for_tests();
    (before.next_source, before.sequence, before.destination_end) = (Offset(12), 8, Offset(8));
    before.selection = SelectionId::READ_COMMITTED;
    let mut after = before.clone();
    after.selection = SelectionId::READ_UNCOMMITTED;
    let lane = || StoredLane::Ours(before.clone());

    let stopped = Run::of(lane(), true, (0, 20), shown(7, 8));
    assert_eq!(stopped.stored(), Some(&StoredLane::Ours(after.clone())));

    // Records of the other selection may still arrive.
    let mut killed = Run::of(lane(), false, (0, 20), shown(7, 8));
    assert_eq!((killed.stored(), killed.trouble()), (None, Some(Trouble::OutcomeUnknown)));
    killed.tell(51, Event::Timer);
    assert_eq!(killed.stored(), Some(&StoredLane::Ours(after)));

    // They have, and only the other level can count them.
    let changed = Run::of(lane(), false, (0, 20), shown(9, 10));
    assert_eq!((changed.stored(), changed.trouble()), (None, Some(Trouble::SelectionChanged)));
}

#[test]
fn what_a_source_deleted_was_not_copied_only_where_the_destination_lacks_it() {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(10), 10, Offset(10));
    let lane = || StoredLane::Ours(position.clone());
    let overtaken = Trouble::SourceOvertaken { position: Offset(10), log_start: Offset(15) };
    assert_eq!(Run::of(lane(), true, (15, 30), shown(9, 10)).trouble(), Some(overtaken));
    // Those behind the position are compared with what the source has left.
    assert_eq!(Run::of(lane(), false, (15, 30), shown(19, 20)).trouble(), None);
}

#[test]
fn a_destination_that_had_records_is_not_taken_for_a_new_one() {
    let emptied = Evidence { producer: ProducerEvidence::Nothing, log_start: Offset(8), ..shown(0, 8) };
    let run = Run::new(None, true, (0, 20), emptied);
    let had = Trouble::DestinationNotEmpty { records: 0, deleted: 8, writer: None };
    assert_eq!((run.stored(), run.trouble()), (None, Some(had)));
    let empty = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    assert!(Run::new(None, true, (0, 20), empty).stored().is_some());
}
