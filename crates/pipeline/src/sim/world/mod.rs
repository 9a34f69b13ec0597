//! Both clusters, the processes, the stores and the time: what happens next is drawn from the seed.

mod answers;
mod faults;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{
    CallError, ErrorCode, FetchPartition, FetchReply, Fetched, ProduceBatch, ProduceReply, Produced,
};
use embedded_kafka::{Profile, Taken};
use model::{
    BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, RewriteRule, Route, Routes, TimestampRule,
    TopicId, TopicPartition,
};
use offsets::{Checkpoint, Producer, Spread, Stored, StoredLane};
use record_batch::{Header, Share, merge, transcode, transcode_each};

use super::destination::{self, DestinationLog};
use super::invariants::{
    SequencesSeen, appended_is_a_prefix, checkpoint_never_early, no_false_alarm, no_partition_twice,
    segments_tell_the_truth,
};
use super::part::{Part, source_of};
use super::process::{Known, Pending, Process};
use super::rng::Rng;
use super::source::{self, Age, SourceLog};
use crate::budget::Budget;
use crate::contents::Contents;
use crate::engine::Engine;
use crate::events::{
    Action, ConnectionId, Event, LaneKey, Leader, Now, ProducerKey, SendError, SourceEvidence,
};
use crate::life::{Missing, Policies, Recreated};
use crate::options::{ExistingRecords, Isolation, Options};
use crate::place::{Evidence, ProducerEvidence};
use crate::status::LaneStatus;
use crate::store::StoreError;
use crate::trouble::{Side, Trouble};

const OURS: ProducerId = ProducerId(4711);
const START_MS: i64 = 1_800_000_000_000;
const EXPIRATION_MS: i64 = 24 * 3_600_000;
/// A follower that does not follow leaves the in-sync set after `replica.lag.time.max.ms`, and up to half of that later:
/// so often the leader looks.
const REPLICA_LAG_MS: u64 = 30_000;
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(30);
const SESSION: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(8);
/// How long a follower takes to hear of the leader's high watermark: a new leader starts from what it had heard,
/// and knows more only when its followers have told how far they are.
const HIGH_WATERMARK_LAGS: Duration = Duration::from_secs(3);
/// What a broker has received and not handled by then never lands.
const LATE_MAX: Duration = Duration::from_secs(4);

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One process at a time.
    One,
    /// Two by mistake, each with its own copy of the progress.
    Twins,
    /// Two that share the progress and take over from each other when a lease ends.
    Lease,
}

/// What a seed is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flavour {
    pub(super) mode: Mode,
    pub(super) source: Profile,
    pub(super) destination: Profile,
    pub(super) committed_only: bool,
    pub(super) unclean_source: bool,
    pub(super) unclean_destination: bool,
    pub(super) foreign: bool,
    pub(super) source_retention: bool,
    pub(super) destination_retention: bool,
    /// Bytes of the source change on their way.
    pub(super) damage: bool,
    /// Answers are long on their way.
    pub(super) slow_answers: bool,
    /// The flow has sent so much that its sequences begin anew soon.
    pub(super) near_the_wrap: bool,
    /// The destination cannot be asked what it remembers, and takes any sequence of whom it does not (2.5 to 2.7).
    pub(super) cannot_describe: bool,
    /// Topics are deleted and created anew.
    pub(super) source_recreated: bool,
    pub(super) destination_recreated: bool,
    /// What is to be done about what happens to topics.
    pub(super) life: Policies,
    /// Records are spread, over so many partitions.
    pub(super) spread: Option<i32>,
}

impl Flavour {
    fn draw(rng: &mut Rng) -> Flavour {
        let profiles = [Profile::V1_1, Profile::V2_8, Profile::V4_3, Profile::V4_3];
        let mode = match rng.below(10) {
            0 | 1 => Mode::Twins,
            2 | 3 => Mode::Lease,
            _ => Mode::One,
        };
        let mut destination = profiles[rng.below(4)];
        if mode == Mode::Twins && destination == Profile::V1_1 {
            destination = Profile::V2_8;
        }
        let source = profiles[rng.below(4)];
        // Others' records where ours were lost cannot be told from ones that came behind them.
        let unclean_destination = rng.chance(20);
        Flavour {
            mode,
            source,
            destination,
            committed_only: rng.chance(30),
            unclean_source: rng.chance(15),
            unclean_destination,
            foreign: rng.chance(10) && !unclean_destination,
            source_retention: rng.chance(10),
            destination_retention: rng.chance(15),
            damage: rng.chance(10),
            slow_answers: rng.chance(30),
            near_the_wrap: destination != Profile::V1_1 && rng.chance(15),
            cannot_describe: destination == Profile::V2_8 && mode != Mode::Twins && rng.chance(50),
            source_recreated: false,
            destination_recreated: false,
            life: Policies::default(),
            spread: None,
        }
        .with_life(source, rng)
    }

    /// The same, spreading. Others' records are everywhere then: where ours were lost, and deleted as well, or cleaned,
    /// nothing tells any more which of them are.
    fn spreading(self, over: i32) -> Flavour {
        let destination_retention = self.destination_retention && !self.unclean_destination;
        Flavour { spread: Some(over), destination_retention, ..self }
    }

    /// Two that know nothing of each other may each begin a new topic.
    fn with_life(self, source: Profile, rng: &mut Rng) -> Flavour {
        let recreated = [Recreated::Stop, Recreated::Restart, Recreated::Skip];
        let life = Policies {
            // See there why nothing else is done where topics are asked for by name.
            source_recreated: match source {
                Profile::V4_3 => recreated[rng.below(3)],
                _ => Recreated::Stop,
            },
            source_overtaken: if rng.chance(50) { Missing::Skip } else { Missing::Stop },
            source_truncated: if rng.chance(50) { Missing::Skip } else { Missing::Stop },
            destination_recreated: recreated[rng.below(3)],
        };
        let one = self.mode != Mode::Twins;
        Flavour {
            // A topic that has no id may grow past the position before anybody sees that it is another one.
            source_recreated: rng.chance(15) && one && source != Profile::V1_1,
            destination_recreated: rng.chance(10)
                && one
                && self.destination != Profile::V1_1
                && !self.foreign,
            life: if one { life } else { Policies::default() },
            ..self
        }
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) flavour: Flavour,
    started: Instant,
    pub(super) elapsed: Duration,
    wall_skew_ms: i64,
    options: Options,
    pub(super) routes: Arc<Routes>,
    /// What its lanes copy.
    pub(super) parts: Vec<Part>,
    /// What the control plane has told of them.
    told_routes: Arc<Routes>,
    /// When it will tell what there is by now.
    routes_due: Option<Duration>,
    /// The ids of both topics.
    topic_ids: (Option<TopicId>, Option<TopicId>),
    pub(super) source: BTreeMap<TopicPartition, SourceLog>,
    pub(super) destination: BTreeMap<TopicPartition, DestinationLog>,
    pub(super) processes: Vec<Process>,
    stores: Vec<Stored>,
    /// Received by a broker before its connection broke, and not yet handled.
    pub(super) late: Vec<(Duration, i32, ProduceBatch)>,
    /// Until when an in-sync follower that lacks something is waited for.
    lagging: BTreeMap<TopicPartition, Duration>,
    stopped: [Option<(i32, Duration)>; 2],
    standing: Option<Standing>,
    old_leaders: Vec<(TopicPartition, Leader)>,
    /// What the followers of each partition have heard by now.
    heard: BTreeMap<TopicPartition, Heard>,
    session_until: Duration,
    /// Nobody takes over any more.
    pub(super) leases_ended: bool,
    next_number: u64,
    producers_allocated: i64,
    sequences: SequencesSeen,
    pub(super) faults_on: bool,
    pub(super) faults: u64,
    pub(super) appends: u64,
    /// Events that processes were told.
    told: u64,
    traced: bool,
}

/// A destination broker that stands still, with what it has received unread.
#[derive(Clone, Copy, Debug)]
struct Standing {
    broker: i32,
    /// When those who wait for its answers give up.
    given_up_at: Duration,
    until: Duration,
}

/// The high watermarks that a partition's followers have heard of, and since when its leader leads.
#[derive(Clone, Debug)]
struct Heard {
    epoch: i32,
    led_since: Duration,
    /// From each time on; the first is what every follower knows.
    high_watermarks: VecDeque<(Duration, i64)>,
}

impl Heard {
    /// `now` the partition has this leader epoch and high watermark.
    fn note(&mut self, now: Duration, epoch: i32, high_watermark: i64) {
        if self.epoch != epoch {
            (self.epoch, self.led_since) = (epoch, now);
        }
        if self.high_watermarks.back().is_none_or(|(_, last)| *last != high_watermark) {
            self.high_watermarks.push_back((now, high_watermark));
        }
        while self.high_watermarks.get(1).is_some_and(|(since, _)| *since + HIGH_WATERMARK_LAGS <= now) {
            self.high_watermarks.pop_front();
        }
    }

    /// What a leader may still show at least, while it learns from its followers how far they are.
    fn least(&self, now: Duration) -> Option<i64> {
        let learns = self.epoch > 0 && now < self.led_since + HIGH_WATERMARK_LAGS;
        self.high_watermarks.front().filter(|_| learns).map(|(_, known)| *known)
    }
}

fn partitions(index: i32) -> (TopicPartition, TopicPartition) {
    (TopicPartition::new("t", index), TopicPartition::new("t.replica", index))
}

/// Topics have ids from 2.8 on.
fn topic_id(profile: Profile) -> Option<TopicId> {
    (profile != Profile::V1_1).then_some(TopicId([1; 16]))
}

fn lost() -> SendError {
    SendError { trouble: Some(Trouble::Connection(Side::Destination, "cut".into())), maybe_written: true }
}

fn gone(broker: BrokerId) -> CallError {
    CallError::UnknownBroker { cluster: "simulated".into(), broker }
}

fn check(held: Result<(), String>) {
    if let Err(broken) = held {
        panic!("{broken}");
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let mut flavour = Flavour::draw(&mut rng);
        // Drawn apart, so that the others stay what they are.
        let mut apart = Rng::new(seed ^ 0x5EED_0F5B_EAD5);
        if apart.chance(30) {
            flavour = flavour.spreading(1 + apart.below(3) as i32);
        }
        let started = an_instant();
        let mut options = Options::new("sim");
        let requests_max = if rng.chance(70) { 1 + rng.below(5) } else { 1 + rng.below(20) };
        // One in three as shipped: as many as are soon answered.
        options.produce_requests_max = (!apart.chance(33)).then_some(requests_max);
        options.flush_interval = Duration::from_secs(1 + rng.below(10) as u64);
        options.merge_batches_min = if apart.chance(50) { 2 } else { 8 };
        options.lane_bytes_max = Some(200 + rng.below(4000));
        if apart.chance(15) {
            // The least that can be set for as many brokers as there are: fetches of all of them leave little room.
            options.buffer_bytes_max = (200 << 10) + apart.below(100 << 10);
        }
        options.produce_bytes_max = 100 + rng.below(2000);
        options.isolation =
            if flavour.committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        options.life = flavour.life;
        if flavour.foreign {
            options.existing_records = ExistingRecords::Append;
        }
        let mut source = BTreeMap::new();
        let mut destination = BTreeMap::new();
        let mut routes = Vec::new();
        let mut stored = Stored::default();
        for index in 0..1 + rng.below(3) as i32 {
            let (from, to) = partitions(index);
            // A twin does not learn that the other went back, and the source gives other records since.
            let twins_part = flavour.mode == Mode::Twins && flavour.unclean_destination;
            let spread_and_lost = flavour.spread.is_some() && flavour.unclean_destination;
            let compacted = rng.chance(25) && !flavour.unclean_source && !twins_part && !spread_and_lost;
            let age = match rng.below(10) {
                _ if flavour.mode == Mode::Twins => Age::Young,
                0 | 1 => Age::Aged,
                2 => Age::Borderline,
                _ => Age::Young,
            };
            let mut log = SourceLog::new(flavour.source, age, compacted);
            log.spread_from = flavour.spread.map(|_| index);
            source.insert(from.clone(), log);
            let replicas = 1 + rng.below(3);
            let first = rng.below(3);
            if flavour.spread.is_none() {
                destination.insert(to.clone(), DestinationLog::new(flavour.destination, replicas, first));
            }
            if flavour.near_the_wrap {
                let mut position = crate::lane::first_checkpoint_for_tests();
                position.sequence = i32::MAX - rng.below(40) as i32;
                position.selection = crate::lane::selection_of(options.isolation);
                position.source_topic_id = topic_id(flavour.source);
                position.destination_topic_id = topic_id(flavour.destination);
                let spread = |partitions| {
                    let share = |to| {
                        let sequence = position.sequence - to;
                        (to, Checkpoint { sequence, ..position.clone() })
                    };
                    let shares = (0..partitions).map(share).collect();
                    let untouched = (0..partitions).collect();
                    let begin = Offset(0);
                    StoredLane::Spread(Spread { partitions, begin, begin_is_set: false, untouched, shares })
                };
                let lane = flavour.spread.map_or_else(|| StoredLane::Ours(position.clone()), spread);
                stored.lanes.insert(from.clone(), lane);
            }
            routes.push(Route {
                source: from,
                destination: if flavour.spread.is_some() { partitions(0).1 } else { to },
                spread_over: flavour.spread,
                source_topic_id: topic_id(flavour.source),
                destination_topic_id: topic_id(flavour.destination),
                rule: RewriteRule {
                    timestamps: TimestampRule::AsAtSource,
                    // Some batches are too large for the destination, and are split.
                    batch_bytes_max: if rng.chance(70) { 1 << 20 } else { 95 + rng.below(60) },
                    zstd: true,
                    source_compacted: compacted,
                },
            });
        }
        for index in 0..flavour.spread.unwrap_or(0) {
            let (replicas, first) = (1 + apart.below(3), apart.below(3));
            let log = DestinationLog::new(flavour.destination, replicas, first);
            destination.insert(partitions(index).1, log);
        }
        if flavour.near_the_wrap {
            let ids = if flavour.spread.is_some() { source.len() as i64 } else { 1 };
            let spread_ids = (1..ids).map(|at| ProducerId(OURS.0 + 1000 + at)).collect();
            stored.producer = Some(Producer { stopped_cleanly: true, spread_ids, ..producer() });
        }
        let mut world = World {
            rng,
            flavour,
            started,
            elapsed: Duration::ZERO,
            wall_skew_ms: 0,
            options,
            parts: parts(&routes),
            told_routes: Arc::new(Routes { generation: 1, routes: routes.clone() }),
            routes: Arc::new(Routes { generation: 1, routes }),
            routes_due: None,
            topic_ids: (topic_id(flavour.source), topic_id(flavour.destination)),
            source,
            destination,
            processes: Vec::new(),
            stores: vec![stored],
            late: Vec::new(),
            lagging: BTreeMap::new(),
            stopped: [None, None],
            standing: None,
            old_leaders: Vec::new(),
            heard: BTreeMap::new(),
            session_until: SESSION,
            leases_ended: false,
            next_number: 0,
            producers_allocated: 0,
            sequences: SequencesSeen::default(),
            faults_on: true,
            faults: 0,
            appends: 0,
            told: 0,
            traced: std::env::var_os("PARALOG_SIM_SEED").is_some(),
        };
        world.trace(|| format!("{flavour:?}"));
        for _ in 0..10 {
            world.grow();
        }
        world.start_process(0);
        world
    }

    /// Prints what happens, where a single seed is run.
    fn trace(&self, text: impl Fn() -> String) {
        if self.traced {
            let mut text = text();
            text.truncate(700);
            eprintln!("{:>8} ms {text}", self.elapsed.as_millis());
        }
    }

    fn now(&self) -> Now {
        let wall_ms = self.broker_ms() + self.wall_skew_ms;
        Now { instant: self.started + self.elapsed, wall_ms }
    }

    fn broker_ms(&self) -> i64 {
        START_MS + self.elapsed.as_millis() as i64
    }

    /// A process starts from what `store` has; it is the last one in the list.
    fn start_process(&mut self, store: usize) {
        let budget = Budget::new(self.options.buffer_bytes_max);
        let stored = self.stores[store].clone();
        let engine = Engine::new(self.options.clone(), Arc::clone(&budget), stored, None, self.now());
        self.processes.push(Process::new(engine, budget, store, self.elapsed));
        let index = self.processes.len() - 1;
        if self.flavour.mode == Mode::Lease {
            self.extend_lease(index);
        }
        let routes = Arc::clone(&self.told_routes);
        self.tell(index, Event::Routes(routes));
    }

    fn extend_lease(&mut self, index: usize) {
        self.session_until = self.elapsed + SESSION;
        let until = self.elapsed + LEASE;
        self.processes[index].lease_until = Some(until);
        let until = self.started + until;
        self.tell(index, Event::Lease(until));
    }

    /// Something happens to a process; what it wants to do then is done, or waits for its answer.
    pub(super) fn tell(&mut self, index: usize, event: Event) {
        if self.processes[index].paused_until.is_some() {
            self.processes[index].inbox.push_back(event);
            return;
        }
        let now = self.now();
        self.trace(|| format!("{index} event {event:?}"));
        let elapsed = self.elapsed;
        let process = &mut self.processes[index];
        process.note(&event, elapsed);
        process.engine.handle(now, event);
        self.told += 1;
        // Damaged on its way, a header may name any offset.
        if self.told.is_multiple_of(16) && !self.flavour.damage {
            for lane in process.engine.lane_statuses() {
                check(no_false_alarm(&lane, &self.source[&lane.source]));
            }
        }
        while let Some(action) = process.engine.poll_action() {
            if let Action::Send { batches, connection, request, .. } = &action {
                let age_max = self.options.metadata_age_max;
                check(process.no_send_without_a_look(batches, (*connection, *request), age_max, elapsed));
            }
            process.held.push_back(action);
        }
        self.carry_out(index);
    }

    fn carry_out(&mut self, index: usize) {
        while self.processes[index].paused_until.is_none() {
            let Some(action) = self.processes[index].held.pop_front() else { return };
            self.trace(|| format!("{index} action {action:?}"));
            match action {
                Action::Send { connection, request, batches, not_after, broker } => {
                    if self.faults_on && self.rng.chance(1) {
                        // Between the decision and the write.
                        let action = Action::Send { connection, request, batches, not_after, broker };
                        self.processes[index].held.push_front(action);
                        self.pause(index);
                        return;
                    }
                    self.write(index, connection, request, batches, not_after);
                }
                Action::Save { changes, not_after } => {
                    self.check_saved(&changes);
                    self.processes[index].waiting.push(Action::Save { changes, not_after });
                }
                Action::Disconnect { connection, .. } => self.cut(index, connection, true),
                other => self.processes[index].waiting.push(other),
            }
        }
    }

    fn write(
        &mut self,
        index: usize,
        connection: ConnectionId,
        request: crate::events::RequestId,
        batches: Vec<ProduceBatch>,
        not_after: Instant,
    ) {
        let now = self.now().instant;
        let elapsed = self.elapsed;
        let in_time = now < not_after;
        let process = &mut self.processes[index];
        match process.links.get_mut(&connection) {
            Some(link) if link.alive && in_time => {
                assert!(process.lease_until.is_none_or(|until| elapsed < until), "no_send_after_lease");
                // Damage may select what is not to be copied, until the destination refuses it. What was sent and never
                // arrived may have been deleted since, and its sequences be those of what follows.
                let countable = self.flavour.destination != Profile::V1_1
                    && !self.flavour.damage
                    && !self.source.values().any(|log| log.compacted || log.rewritten || log.deletes)
                    && !self.destination.values().any(|log| log.recreated);
                for batch in &batches {
                    if countable {
                        check(self.sequences.same_sequences_same_records(batch));
                    }
                }
                link.queue.push_back(Pending { request, batches, taken: None });
            }
            _ => process.waiting.push(Action::Send {
                broker: BrokerId(-1),
                connection,
                request,
                batches: Vec::new(),
                not_after,
            }),
        }
    }

    fn check_saved(&self, changes: &Stored) {
        if self.flavour.source_retention {
            // What is deleted before it is copied is missing for good.
            return;
        }
        for part in &self.parts {
            let Some(checkpoint) = point_of(changes, part) else { continue };
            let (source, destination) = (&self.source[&part.source], &self.destination[&part.destination]);
            check(checkpoint_never_early(source, destination, checkpoint.next_source, part));
            check(segments_tell_the_truth(source, destination, &checkpoint.segments, part));
        }
    }

    fn grow(&mut self) {
        let index = self.rng.below(self.source.len()) as i32;
        let wall_ms = self.broker_ms();
        if let Some(log) = self.source.get_mut(&partitions(index).0) {
            log.grow(&mut self.rng, wall_ms, &mut self.next_number, self.flavour.committed_only);
        }
    }

    pub(super) fn step(&mut self) {
        self.pass_deadlines();
        if self.faults_on && self.rng.chance(14) {
            self.fault();
            return;
        }
        let mut choices: Vec<(usize, Option<ConnectionId>, usize)> = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            if process.paused_until.is_none() {
                let answers = process.waiting.len() + process.answers.len();
                choices.extend((0..answers).map(|at| (index, None, at)));
            }
            let links = process.links_with_work().into_iter();
            let moving = links.filter(|link| !self.stands_still(process.links[link].broker));
            choices.extend(moving.map(|link| (index, Some(link), 0)));
        }
        if choices.is_empty() || self.rng.chance(10) {
            self.pass_time();
            return;
        }
        match choices[self.rng.below(choices.len())] {
            (index, Some(link), _) => self.broker_takes(index, link),
            (index, None, at) if at < self.processes[index].waiting.len() => {
                if self.is_asked_of_who_stands(&self.processes[index].waiting[at]) && self.rng.chance(80) {
                    self.pass_time();
                    return;
                }
                let action = self.processes[index].waiting.swap_remove(at);
                let event = self.answer(index, action);
                if self.faults_on && self.flavour.slow_answers && self.rng.chance(50) {
                    self.processes[index].answers.push(event);
                } else {
                    self.tell(index, event);
                }
            }
            (index, None, at) => {
                let at = at - self.processes[index].waiting.len();
                if self.rng.chance(70) {
                    self.pass_time();
                    return;
                }
                let event = self.processes[index].answers.swap_remove(at);
                self.tell(index, event);
            }
        }
    }

    fn pass_time(&mut self) {
        let now = self.now();
        let due = self
            .processes
            .iter()
            .filter(|process| process.paused_until.is_none())
            .filter_map(|process| process.engine.timeout())
            .map(|at| at.saturating_duration_since(now.instant))
            .min()
            .unwrap_or(Duration::from_millis(500));
        let step = due.min(Duration::from_millis(1 + self.rng.below(3000) as u64));
        self.advance(step.max(Duration::from_millis(1)));
        for index in 0..self.processes.len() {
            if self.processes[index].paused_until.is_none() {
                self.tell(index, Event::Timer);
            }
        }
    }

    /// Time passes. What the brokers do by themselves happens at its time, not when somebody looks next.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.elapsed + by;
        while self.elapsed < until {
            let standing = self.standing.iter().flat_map(|standing| [standing.given_up_at, standing.until]);
            let due = self.late.iter().map(|(at, _, _)| *at).chain(self.lagging.values().copied());
            let due = due.chain(self.routes_due);
            let due = due.chain(standing);
            self.elapsed = due.filter(|at| *at > self.elapsed).fold(until, Duration::min);
            self.pass_deadlines();
        }
    }

    /// What happens by itself when its time has come.
    fn pass_deadlines(&mut self) {
        self.let_stand();
        self.land_late();
        self.tell_routes();
        let elapsed = self.elapsed;
        for (to, log) in &self.destination {
            let (epoch, high_watermark) = (log.partition.leader_epoch(), log.partition.high_watermark());
            self.heard
                .entry(to.clone())
                .or_insert_with(|| Heard { epoch, led_since: elapsed, high_watermarks: VecDeque::new() })
                .note(elapsed, epoch, high_watermark);
        }
        let partitions = self
            .destination
            .iter_mut()
            .map(|(to, log)| (to, &mut log.partition))
            .chain(self.source.iter_mut().map(|(from, log)| (from, &mut log.partition)));
        for (at, partition) in partitions {
            if !partition.lags() {
                self.lagging.remove(at);
                continue;
            }
            let until = self.lagging.entry(at.clone()).or_insert_with(|| {
                elapsed + Duration::from_millis(REPLICA_LAG_MS + self.rng.below(15_001) as u64)
            });
            if *until <= elapsed {
                partition.shrink_isr();
            }
        }
        for side in 0..2 {
            if self.stopped[side].is_some_and(|(_, until)| until <= elapsed) {
                self.start_broker(side);
            }
        }
        for index in 0..self.processes.len() {
            if self.processes[index].paused_until.is_some_and(|until| until <= elapsed) {
                self.resume(index);
            }
        }
        if self.flavour.mode == Mode::Lease {
            self.keep_lease();
        }
    }

    /// The process with the lease is the last one. It renews in time, unless it is paused: then another one
    /// takes over once the session is over.
    fn keep_lease(&mut self) {
        if self.leases_ended {
            return;
        }
        let last = self.processes.len() - 1;
        if self.processes[last].paused_until.is_none() {
            let over = self.processes[last].lease_until.is_some_and(|until| until <= self.elapsed);
            if over {
                self.take_over();
            } else if self.elapsed + SESSION >= self.session_until + Duration::from_secs(3) {
                self.extend_lease(last);
            }
        } else if self.elapsed >= self.session_until {
            self.take_over();
        }
    }

    fn land_late(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, broker, _)| *at <= self.elapsed && !self.stands_still(*broker));
        self.late = later;
        for (_, broker, batch) in due {
            self.append(broker, &batch);
        }
    }

    fn stands_still(&self, broker: i32) -> bool {
        self.standing.is_some_and(|standing| standing.broker == broker)
    }

    fn is_asked_of_who_stands(&self, action: &Action) -> bool {
        match action {
            Action::LookAtDestination { broker, .. }
            | Action::ReadTail { broker, .. }
            | Action::ReadContents { broker, .. } => self.stands_still(broker.0),
            _ => false,
        }
    }

    /// A broker that stands still is given up by those who wait for it; once it runs again, it handles what it had
    /// received.
    fn let_stand(&mut self) {
        let Some(standing) = self.standing else { return };
        if standing.until <= self.elapsed {
            self.run_again();
        } else if standing.given_up_at <= self.elapsed {
            for index in 0..self.processes.len() {
                for id in self.processes[index].links_to(standing.broker) {
                    self.cut(index, id, true);
                }
            }
        }
    }

    fn run_again(&mut self) {
        let Some(standing) = self.standing.take() else { return };
        // In the order in which it came. Where others lead by then, before it can lead again: for that it has to catch up.
        let read_at = self.elapsed + Duration::from_millis(self.rng.below(4000) as u64);
        let elapsed = self.elapsed;
        for (at, broker, batch) in &mut self.late {
            let leads = || self.destination[&batch.partition].partition.leader() == Some(*broker);
            if *broker == standing.broker && (*at > elapsed || leads()) {
                *at = (*at).max(read_at);
            }
        }
        self.land_late();
    }

    /// The processes that may copy: where there is a lease, the one that has it.
    pub(super) fn copying(&self) -> impl Iterator<Item = &Process> {
        let only_last = self.flavour.mode == Mode::Lease;
        self.processes.iter().skip(if only_last { self.processes.len() - 1 } else { 0 })
    }

    /// The lanes whose destination lacks something that the source still has.
    pub(super) fn behind(&self) -> Vec<Part> {
        self.parts.iter().filter(|part| !self.lacks(part).is_empty()).cloned().collect()
    }

    /// The records that the source still has and the destination has not.
    pub(super) fn lacks(&self, part: &Part) -> Vec<u64> {
        let there = self.destination[&part.destination].numbers(part);
        let source = &self.source[&part.source];
        let life = &self.flavour.life;
        let skips = !source.former.is_empty() && life.source_recreated == Recreated::Skip
            || self.destination[&part.destination].lost && life.destination_recreated == Recreated::Skip;
        // What was left out on purpose is not waited for.
        let from = if skips { self.position(part) } else { 0 };
        let left = source.left_from(from);
        let left = part.of(&left).into_owned().into_iter().map(|(_, number)| number);
        left.filter(|number| there.binary_search(number).is_err()).collect()
    }

    /// How far whoever copies has come.
    fn position(&self, part: &Part) -> i64 {
        let lanes = self.copying().flat_map(|process| process.engine.lane_statuses());
        let is_of = |lane: &LaneStatus| lane.source == part.source && lane.destination == part.destination;
        lanes.filter(is_of).map(|lane| lane.next_source.0).min().unwrap_or(0)
    }

    /// What a store says of a lane.
    pub(super) fn stored(&self, part: &Part) -> Option<&Checkpoint> {
        point_of(&self.stores[0], part)
    }

    /// Whether a store knows of every lane.
    fn all_have_begun(&self, store: usize) -> bool {
        self.parts.iter().all(|part| point_of(&self.stores[store], part).is_some())
    }
}

/// The lanes of `routes`.
fn parts(routes: &[Route]) -> Vec<Part> {
    let mut parts = Vec::new();
    for Route { source, destination, spread_over, .. } in routes {
        let whole = Part { source: source.clone(), destination: destination.clone(), share: None };
        let Some(of) = *spread_over else {
            parts.push(whole);
            continue;
        };
        parts.extend((0..of).map(|to| Part {
            destination: partitions(to).1,
            share: Some(Share { source: source.partition, destination: PartitionId(to), of }),
            ..whole.clone()
        }));
    }
    parts
}

/// The lane that copied record `number` to `to`.
fn part_of<'a>(parts: &'a [Part], to: &TopicPartition, number: u64) -> &'a Part {
    let copies = |part: &&Part| {
        part.destination == *to && (part.share.is_none() || part.source.partition.0 == source_of(number))
    };
    parts.iter().find(copies).expect("only routed partitions are written")
}

/// What is stored of a lane.
fn point_of<'a>(stored: &'a Stored, part: &Part) -> Option<&'a Checkpoint> {
    match (stored.lanes.get(&part.source)?, part.share) {
        (StoredLane::Ours(checkpoint), None) => Some(checkpoint),
        (StoredLane::Spread(spread), Some(share)) => spread.shares.get(&share.destination.0),
        _ => None,
    }
}

fn not_leader(call: &'static str) -> Trouble {
    Trouble::Passing(Side::Destination, call, ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

fn producer() -> Producer {
    Producer {
        producer_id: OURS,
        producer_epoch: 0,
        destination_cluster_id: None,
        stopped_cleanly: false,
        spread_ids: Vec::new(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "some instant is needed to count from; which one does not matter"
)]
fn an_instant() -> Instant {
    Instant::now()
}
