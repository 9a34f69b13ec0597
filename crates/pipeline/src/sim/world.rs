//! Both clusters, the processes, the stores and the time: what happens next is drawn from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{
    CallError, ErrorCode, FetchPartition, FetchReply, Fetched, ProduceBatch, ProduceReply, Produced,
};
use embedded_kafka::{Profile, Taken};
use model::{
    BrokerId, LeaderEpoch, Offset, ProducerId, RewriteRule, Route, Routes, TimestampRule, TopicPartition,
};
use offsets::{Producer, Stored, StoredLane};
use record_batch::transcode;

use super::destination::{self, DestinationLog};
use super::invariants::{
    SequencesSeen, appended_is_a_prefix, checkpoint_never_early, segments_tell_the_truth,
};
use super::process::{Pending, Process};
use super::rng::Rng;
use super::source::{self, Age, SourceLog};
use crate::budget::Budget;
use crate::contents::Contents;
use crate::engine::Engine;
use crate::events::{Action, ConnectionId, Event, Leader, Now, SendError, SourceEvidence};
use crate::options::{ExistingRecords, Isolation, Options};
use crate::place::{Evidence, ProducerEvidence, Tail};
use crate::store::StoreError;
use crate::trouble::{Side, Trouble};

const OURS: ProducerId = ProducerId(4711);
const START_MS: i64 = 1_800_000_000_000;
const EXPIRATION_MS: i64 = 24 * 3_600_000;
/// After that a follower that does not follow leaves the in-sync set.
const REPLICA_LAG: Duration = Duration::from_secs(30);
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(30);
const SESSION: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(8);
/// How long a new leader's high watermark may be behind what was acknowledged.
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
    /// The flow has sent so much that its sequences begin anew soon.
    pub(super) near_the_wrap: bool,
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
        // Others' records where ours were lost cannot be told from ones that came behind them.
        let unclean_destination = rng.chance(20);
        Flavour {
            mode,
            source: profiles[rng.below(4)],
            destination,
            committed_only: rng.chance(30),
            unclean_source: rng.chance(15),
            unclean_destination,
            foreign: rng.chance(10) && !unclean_destination,
            source_retention: rng.chance(10),
            destination_retention: rng.chance(15),
            damage: rng.chance(10),
            near_the_wrap: destination != Profile::V1_1 && rng.chance(15),
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
    pub(super) source: BTreeMap<TopicPartition, SourceLog>,
    pub(super) destination: BTreeMap<TopicPartition, DestinationLog>,
    pub(super) processes: Vec<Process>,
    stores: Vec<Stored>,
    /// Received by a broker before its connection broke, and not yet handled.
    pub(super) late: Vec<(Duration, i32, ProduceBatch)>,
    /// Since when an in-sync follower lacks something.
    lagging: BTreeMap<TopicPartition, Duration>,
    stopped: [Option<(i32, Duration)>; 2],
    old_leaders: Vec<(TopicPartition, Leader)>,
    /// Each partition's leader epoch, and when it was first seen.
    led_since: BTreeMap<TopicPartition, (i32, Duration)>,
    session_until: Duration,
    /// Nobody takes over any more.
    pub(super) leases_ended: bool,
    next_number: u64,
    producers_allocated: i64,
    sequences: SequencesSeen,
    pub(super) faults_on: bool,
    pub(super) faults: u64,
    pub(super) appends: u64,
    traced: bool,
}

fn partitions(index: i32) -> (TopicPartition, TopicPartition) {
    (TopicPartition::new("t", index), TopicPartition::new("t.replica", index))
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
        let flavour = Flavour::draw(&mut rng);
        let started = an_instant();
        let mut options = Options::new("sim");
        options.produce_requests_max = if rng.chance(70) { 1 + rng.below(5) } else { 1 + rng.below(20) };
        options.flush_interval = Duration::from_secs(1 + rng.below(10) as u64);
        options.lane_bytes_max = 200 + rng.below(4000);
        options.produce_bytes_max = 100 + rng.below(2000);
        options.isolation =
            if flavour.committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
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
            let compacted = rng.chance(25) && !flavour.unclean_source && !twins_part;
            let age = match rng.below(10) {
                _ if flavour.mode == Mode::Twins => Age::Young,
                0 | 1 => Age::Aged,
                2 => Age::Borderline,
                _ => Age::Young,
            };
            source.insert(from.clone(), SourceLog::new(flavour.source, age, compacted));
            let replicas = 1 + rng.below(3);
            let first = rng.below(3);
            destination.insert(to.clone(), DestinationLog::new(flavour.destination, replicas, first));
            if flavour.near_the_wrap {
                let mut position = crate::lane::first_checkpoint_for_tests();
                position.sequence = i32::MAX - rng.below(40) as i32;
                position.selection = crate::lane::selection_of(options.isolation);
                stored.lanes.insert(from.clone(), StoredLane::Ours(position));
            }
            routes.push(Route {
                source: from,
                destination: to,
                source_topic_id: None,
                destination_topic_id: None,
                rule: RewriteRule {
                    timestamps: TimestampRule::AsAtSource,
                    // Some batches are too large for the destination, and are split.
                    batch_bytes_max: if rng.chance(70) { 1 << 20 } else { 95 + rng.below(60) },
                    zstd: true,
                    source_compacted: compacted,
                },
            });
        }
        if flavour.near_the_wrap {
            stored.producer = Some(Producer { stopped_cleanly: true, ..producer() });
        }
        let mut world = World {
            rng,
            flavour,
            started,
            elapsed: Duration::ZERO,
            wall_skew_ms: 0,
            options,
            routes: Arc::new(Routes { generation: 1, routes }),
            source,
            destination,
            processes: Vec::new(),
            stores: vec![stored],
            late: Vec::new(),
            lagging: BTreeMap::new(),
            stopped: [None, None],
            old_leaders: Vec::new(),
            led_since: BTreeMap::new(),
            session_until: SESSION,
            leases_ended: false,
            next_number: 0,
            producers_allocated: 0,
            sequences: SequencesSeen::default(),
            faults_on: true,
            faults: 0,
            appends: 0,
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
        self.processes.push(Process::new(engine, budget, store));
        let index = self.processes.len() - 1;
        if self.flavour.mode == Mode::Lease {
            self.extend_lease(index);
        }
        let routes = Arc::clone(&self.routes);
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
        self.processes[index].engine.handle(now, event);
        while let Some(action) = self.processes[index].engine.poll_action() {
            self.processes[index].held.push_back(action);
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
        not_after: Option<Instant>,
    ) {
        let now = self.now().instant;
        let elapsed = self.elapsed;
        let in_time = not_after.is_none_or(|at| now < at);
        let process = &mut self.processes[index];
        match process.links.get_mut(&connection) {
            Some(link) if link.alive && in_time => {
                assert!(process.lease_until.is_none_or(|until| elapsed < until), "no_send_after_lease");
                // Damage may select what is not to be copied, until the destination refuses it.
                let countable = self.flavour.destination != Profile::V1_1
                    && !self.flavour.damage
                    && !self.source.values().any(|log| log.compacted || log.rewritten);
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
        for (partition, lane) in &changes.lanes {
            let StoredLane::Ours(checkpoint) = lane else { continue };
            let to = partitions(partition.partition.0).1;
            let (source, destination) = (&self.source[partition], &self.destination[&to]);
            check(checkpoint_never_early(source, destination, checkpoint.next_source));
            check(segments_tell_the_truth(source, destination, &checkpoint.segments));
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
                choices.extend((0..process.waiting.len()).map(|at| (index, None, at)));
            }
            choices.extend(process.links_with_work().into_iter().map(|link| (index, Some(link), 0)));
        }
        if choices.is_empty() || self.rng.chance(10) {
            self.pass_time();
            return;
        }
        match choices[self.rng.below(choices.len())] {
            (index, Some(link), _) => self.broker_takes(index, link),
            (index, None, at) => {
                let action = self.processes[index].waiting.swap_remove(at);
                self.answer(index, action);
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
        self.elapsed += step.max(Duration::from_millis(1));
        self.pass_deadlines();
        for index in 0..self.processes.len() {
            if self.processes[index].paused_until.is_none() {
                self.tell(index, Event::Timer);
            }
        }
    }

    /// What happens by itself when its time has come.
    fn pass_deadlines(&mut self) {
        self.land_late();
        let elapsed = self.elapsed;
        let partitions = self
            .destination
            .iter_mut()
            .map(|(to, log)| (to, &mut log.partition))
            .chain(self.source.iter_mut().map(|(from, log)| (from, &mut log.partition)));
        for (at, partition) in partitions {
            if !partition.lags() {
                self.lagging.remove(at);
            } else if *self.lagging.entry(at.clone()).or_insert(elapsed) + REPLICA_LAG <= elapsed {
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

    fn take_over(&mut self) {
        self.faults += 1;
        self.trace(|| "another process takes over".into());
        // What the old one has sent lands soon, or never; what it still does, it does with a lease that is over.
        let last = self.processes.len() - 1;
        for id in self.processes[last].links.keys().copied().collect::<Vec<_>>() {
            self.cut(last, id, true);
        }
        while self.processes.len() > 1 {
            // A third one would find the first one gone.
            self.processes.remove(0);
        }
        let store = self.processes[0].store;
        self.start_process(store);
    }

    fn pause(&mut self, index: usize) {
        let longest = if self.flavour.mode == Mode::Lease { 25_000 } else { 40_000 };
        let until = self.elapsed + Duration::from_millis(self.rng.below(longest) as u64);
        self.trace(|| format!("{index} pauses until {until:?}"));
        self.faults += 1;
        self.processes[index].paused_until = Some(until);
    }

    fn resume(&mut self, index: usize) {
        self.trace(|| format!("{index} goes on"));
        self.processes[index].paused_until = None;
        self.carry_out(index);
        while self.processes[index].paused_until.is_none() {
            let Some(event) = self.processes[index].inbox.pop_front() else { return };
            self.tell(index, event);
        }
    }

    fn land_late(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(at, _, _)| *at <= self.elapsed);
        self.late = later;
        for (_, broker, batch) in due {
            self.append(broker, &batch);
        }
    }

    fn fault(&mut self) {
        let kind = self.rng.below(24);
        self.trace(|| format!("fault {kind}"));
        self.faults += 1;
        let index = self.rng.below(self.processes.len());
        let (from, to) = partitions(self.rng.below(self.destination.len()) as i32);
        match kind {
            0..=2 => {
                let alive: Vec<ConnectionId> = self.processes[index]
                    .links
                    .iter()
                    .filter(|(_, link)| link.alive)
                    .map(|(id, _)| *id)
                    .collect();
                if let Some(id) = self.rng.pick(&alive) {
                    self.cut(index, id, true);
                }
            }
            3 | 4 => {
                let broker = destination::BROKERS[self.rng.below(3)];
                if let Some(log) = self.destination.get_mut(&to) {
                    log.partition.move_leader(broker);
                    log.follow_the_log(false);
                }
            }
            5 | 6 => {
                let now_ms = self.broker_ms();
                self.destination.values_mut().for_each(|log| log.partition.sweep(now_ms, EXPIRATION_MS));
            }
            7 => self.crash(index),
            8 => self.stop_and_start(index),
            9 => {
                if let Some(log) = self.source.get_mut(&from).filter(|log| log.compacted) {
                    log.clean(&mut self.rng);
                }
            }
            10 => self.stop_broker(1),
            11 => self.stop_broker(0),
            12 => {
                let broker = destination::BROKERS[self.rng.below(3)];
                if let Some(log) = self.destination.get_mut(&to) {
                    log.partition.pause_follower(broker);
                }
            }
            13 => {
                if let Some(log) = self.destination.get_mut(&to) {
                    log.partition.resume_followers();
                }
            }
            14 => self.elect_unclean(&to),
            15 => self.damage_source(&from),
            16 => self.pause(index),
            17 => self.wall_skew_ms = self.rng.below(3_600_000) as i64 - 1_800_000,
            18 if self.flavour.foreign => {
                let now_ms = self.broker_ms();
                if let Some(log) = self.destination.get_mut(&to) {
                    log.foreign(now_ms);
                }
            }
            19 if self.flavour.destination_retention => {
                if let Some(log) = self.destination.get_mut(&to) {
                    let end = log.partition.high_watermark() as usize;
                    log.partition.delete_before(self.rng.below(end + 1) as i64);
                }
            }
            // The same flow: one that has no producer id yet is another one.
            20 if self.flavour.mode == Mode::Twins
                && self.processes.len() == 1
                && self.stores[0].producer.is_some()
                && self.stores[0].lanes.len() == self.routes.routes.len() =>
            {
                let copy = self.stores[0].clone();
                self.stores.push(copy);
                self.start_process(1);
            }
            _ => self.grow(),
        }
    }

    fn elect_unclean(&mut self, to: &TopicPartition) {
        let Some(log) = self.destination.get_mut(to).filter(|_| self.flavour.unclean_destination) else {
            return;
        };
        // Somebody fell behind before.
        let broker = destination::BROKERS[self.rng.below(3)];
        log.partition.shrink_isr();
        log.partition.elect_unclean(broker);
        log.follow_the_log(true);
    }

    fn damage_source(&mut self, from: &TopicPartition) {
        let broker = source::BROKERS[self.rng.below(2)];
        let Some(log) = self.source.get_mut(from) else { return };
        match self.rng.below(5) {
            0 if self.flavour.unclean_source => {
                log.partition.shrink_isr();
                log.elect_unclean(self.flavour.committed_only);
            }
            1 => {
                log.partition.pause_follower(broker);
            }
            2 => {
                log.partition.resume_followers();
            }
            3 if self.flavour.source_retention => {
                log.deletes = true;
                let end = log.partition.high_watermark() as usize;
                log.partition.delete_before(self.rng.below(end + 1) as i64);
            }
            _ => log.partition.move_leader(broker),
        }
    }

    /// Side 0 is the source, 1 the destination.
    fn stop_broker(&mut self, side: usize) {
        if self.stopped[side].is_some() {
            return;
        }
        let until = self.elapsed + Duration::from_millis(self.rng.below(20_000) as u64);
        if side == 0 {
            let broker = source::BROKERS[self.rng.below(2)];
            self.stopped[0] = Some((broker, until));
            for log in self.source.values_mut() {
                let readable = log.partition.high_watermark();
                log.partition.stop(broker, false);
                log.follow_the_log(readable, self.flavour.committed_only);
            }
            return;
        }
        let broker = destination::BROKERS[self.rng.below(3)];
        self.trace(|| format!("destination broker {broker} stops"));
        self.stopped[1] = Some((broker, until));
        for index in 0..self.processes.len() {
            let links: Vec<ConnectionId> = self.processes[index]
                .links
                .iter()
                .filter(|(_, link)| link.broker == broker && link.alive)
                .map(|(id, _)| *id)
                .collect();
            for id in links {
                self.cut(index, id, true);
            }
        }
        // What it had received and not handled is gone with it.
        self.late.retain(|(_, at, _)| *at != broker);
        for log in self.destination.values_mut() {
            log.partition.stop(broker, false);
            log.follow_the_log(false);
        }
    }

    fn start_broker(&mut self, side: usize) {
        let Some((broker, _)) = self.stopped[side].take() else { return };
        let now_ms = self.broker_ms();
        match side {
            0 => {
                for log in self.source.values_mut() {
                    let readable = log.partition.high_watermark();
                    log.partition.start(broker, now_ms, EXPIRATION_MS, false);
                    log.follow_the_log(readable, self.flavour.committed_only);
                }
            }
            _ => self
                .destination
                .values_mut()
                .for_each(|log| log.partition.start(broker, now_ms, EXPIRATION_MS, false)),
        }
    }

    /// Everything that was broken is mended.
    pub(super) fn end_faults(&mut self) {
        self.faults_on = false;
        for side in 0..2 {
            self.start_broker(side);
        }
        self.destination.values_mut().for_each(|log| log.partition.resume_followers());
        self.source.values_mut().for_each(|log| log.partition.resume_followers());
        for index in 0..self.processes.len() {
            if self.processes[index].paused_until.is_some() {
                self.resume(index);
            }
        }
    }

    /// The connection breaks: some of what was queued is handled, some handled later, the rest never.
    fn cut(&mut self, index: usize, id: ConnectionId, tell: bool) {
        let Some(link) = self.processes[index].links.get_mut(&id) else { return };
        link.alive = false;
        let broker = link.broker;
        let queue = std::mem::take(&mut link.queue);
        let handled = self.rng.below(queue.len() + 1);
        let received = handled + self.rng.below(queue.len() - handled + 1);
        // A broker handles what it has received in order: a delay delays all behind it.
        let mut at = self.elapsed;
        let mut requests = Vec::new();
        for (place, pending) in queue.into_iter().enumerate() {
            if place >= handled {
                at += Duration::from_millis(self.rng.below(1500) as u64);
            }
            for batch in pending.batches.iter().filter(|_| pending.taken.is_none()) {
                if place < handled {
                    self.append(broker, batch);
                } else if place < received && at <= self.elapsed + LATE_MAX {
                    self.late.push((at, broker, batch.clone()));
                }
            }
            requests.push(pending.request);
        }
        if tell {
            for request in requests {
                self.tell(index, Event::Produced { request, reply: Err(lost()) });
            }
        }
    }

    /// A clean stop, and a new start at once. What an earlier process sent may still be late then.
    fn stop_and_start(&mut self, index: usize) {
        if self.processes[index].paused_until.is_some() {
            return;
        }
        self.tell(index, Event::Stop);
        let faults = std::mem::replace(&mut self.faults_on, false);
        for _ in 0..50 {
            if self.processes[index].engine.is_stopped() {
                break;
            }
            let links = self.processes[index].links_with_work();
            match (self.processes[index].waiting.pop(), links.first()) {
                (Some(action), _) => self.answer(index, action),
                (None, Some(link)) => self.broker_takes(index, *link),
                (None, None) => break,
            }
        }
        self.faults_on = faults;
        self.crash(index);
    }

    /// The process dies and another one starts from what was stored.
    fn crash(&mut self, index: usize) {
        if self.flavour.mode == Mode::Lease && index + 1 != self.processes.len() {
            self.processes.remove(index);
            return;
        }
        for id in self.processes[index].links.keys().copied().collect::<Vec<_>>() {
            self.cut(index, id, false);
        }
        let store = self.processes[index].store;
        for action in std::mem::take(&mut self.processes[index].waiting) {
            if let Action::Save { changes, not_after } = action
                && not_after.is_none_or(|at| self.now().instant < at)
                && self.rng.chance(50)
            {
                self.keep(store, changes);
            }
        }
        self.processes.remove(index);
        self.start_process(store);
        // The order matters to nobody but the lease, whose holder is the last.
    }

    fn keep(&mut self, store: usize, changes: Stored) {
        let store = &mut self.stores[store];
        if changes.producer.is_some() {
            store.producer = changes.producer;
        }
        store.lanes.extend(changes.lanes);
    }

    /// A broker handles the oldest request of a connection, or answers it if its time has come.
    fn broker_takes(&mut self, index: usize, id: ConnectionId) {
        let Some((broker, mut pending)) = self.processes[index]
            .links
            .get_mut(&id)
            .and_then(|link| Some((link.broker, link.queue.pop_front()?)))
        else {
            return;
        };
        if pending.taken.is_none() {
            let taken = pending.batches.iter().map(|batch| self.append(broker, batch)).collect();
            pending.taken = Some((taken, self.elapsed + PRODUCE_TIMEOUT));
        }
        let Some((taken, deadline)) = &pending.taken else { return };
        let is_late = self.elapsed >= *deadline;
        let mut partitions = Vec::new();
        for (batch, taken) in pending.batches.iter().zip(taken) {
            let error = if taken.error.is_ok() {
                match self.destination[&batch.partition].partition.is_safe(broker, taken) {
                    Ok(true) => ErrorCode::NONE,
                    Ok(false) if is_late => ErrorCode::REQUEST_TIMED_OUT,
                    Ok(false) => {
                        if let Some(link) = self.processes[index].links.get_mut(&id) {
                            link.queue.push_front(pending);
                        }
                        return;
                    }
                    Err(code) => code,
                }
            } else {
                taken.error
            };
            partitions.push(Produced {
                partition: batch.partition.clone(),
                error,
                base_offset: (taken.base_offset >= 0).then_some(Offset(taken.base_offset)),
                log_append_time_ms: (taken.append_time_ms >= 0).then_some(taken.append_time_ms),
                log_start_offset: None,
                message: None,
            });
        }
        if self.faults_on && self.rng.chance(3) {
            // The answer is lost, and the connection with it.
            self.faults += 1;
            if let Some(link) = self.processes[index].links.get_mut(&id) {
                link.queue.push_front(pending);
            }
            self.cut(index, id, true);
            return;
        }
        for partition in &mut partitions {
            if self.faults_on && partition.error.is_ok() && self.rng.chance(2) {
                self.faults += 1;
                partition.error = ErrorCode::REQUEST_TIMED_OUT;
            }
        }
        let reply = ProduceReply { throttle: Duration::ZERO, partitions };
        self.tell(index, Event::Produced { request: pending.request, reply: Ok(reply) });
    }

    /// What a broker does with one batch.
    fn append(&mut self, broker: i32, batch: &ProduceBatch) -> Taken {
        let now_ms = self.broker_ms();
        let refused = |error| Taken { error, base_offset: -1, append_time_ms: -1, safe_at: 0 };
        let log = self.destination.get_mut(&batch.partition).expect("only routed partitions are written");
        if !log.partition.is_online(broker) {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if self.faults_on && self.rng.chance(2) {
            self.faults += 1;
            return refused(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        let before = log.partition.log_end();
        let taken = log.offer(broker, now_ms, batch);
        if log.partition.log_end() > before {
            self.appends += 1;
            let from = TopicPartition { topic: "t".into(), partition: batch.partition.partition };
            let mut held = appended_is_a_prefix(&self.source[&from], log);
            if held.is_err() && log.lost && !log.holed {
                // A leader that lost everything takes any sequence. That cannot be helped, but must be noticed:
                // from here on the lane may only say why it stands still.
                log.holed = true;
                held = Ok(());
            }
            if self.traced {
                eprintln!("append to {} at {before}, {} in all", batch.partition, log.numbers().len());
            }
            check(held);
        }
        taken
    }

    fn answer(&mut self, index: usize, action: Action) {
        let event = match action {
            Action::AllocateProducer => {
                // Every allocation gives another id; one that was not stored is lost for good.
                self.producers_allocated += 1;
                let producer_id = ProducerId(OURS.0 + self.producers_allocated);
                Event::ProducerAllocated(Ok(Producer { producer_id, ..producer() }))
            }
            Action::FindLeaders { side, .. } => Event::Leaders { side, answer: Ok(self.leaders(side)) },
            Action::LookAtSource { broker, lanes } => {
                let lanes =
                    lanes.into_iter().map(|(key, from)| (key, self.source_evidence(broker, &from))).collect();
                Event::SourceLooked { broker, lanes }
            }
            Action::LookAtDestination { broker, lanes } => self.look_at_destination(index, broker, &lanes),
            Action::ReadTail { lane, broker, partition, from, evidence } => {
                let log = &self.destination[&partition];
                let tail = if log.partition.log_start() > from.0 {
                    // Deleted since the look.
                    Err(Trouble::Passing(Side::Destination, "Fetch", ErrorCode::OFFSET_OUT_OF_RANGE))
                } else if log.partition.leader() == Some(broker.0) {
                    Ok(log
                        .tail(self.producer_of(index), from, evidence.latest)
                        .map_or(Tail::NoneOurs, Tail::Ours))
                } else {
                    Err(not_leader("Fetch"))
                };
                Event::TailRead { lane, evidence, tail }
            }
            Action::ReadContents { lane, broker, partition, from, evidence, timed } => {
                let log = &self.destination[&partition];
                let contents = if log.partition.log_start() > from.0 {
                    Err(Trouble::Passing(Side::Destination, "Fetch", ErrorCode::OFFSET_OUT_OF_RANGE))
                } else if log.partition.leader() == Some(broker.0) {
                    let mut contents = Contents::default();
                    for entry in log.entries(from, evidence.latest) {
                        contents
                            .add(&entry, self.producer_of(index), from, timed)
                            .expect("stored batches can be read");
                    }
                    Ok(contents)
                } else {
                    Err(not_leader("Fetch"))
                };
                Event::ContentsRead { lane, evidence, contents }
            }
            Action::Fetch { broker, wanted, .. } => {
                let stopped = self.stopped[0].is_some_and(|(stopped, _)| stopped == broker.0);
                let reply = if stopped || self.faults_on && self.rng.chance(2) {
                    self.faults += 1;
                    Err(gone(broker))
                } else {
                    Ok(self.fetch(broker, &wanted))
                };
                Event::Fetched { broker, reply }
            }
            Action::Transcode { lane, ticket, entry, how, .. } => {
                Event::Transcoded { lane, ticket, pieces: transcode(&entry, &how) }
            }
            Action::Save { changes, not_after } => {
                let too_late = not_after.is_some_and(|at| self.now().instant >= at);
                let fails = too_late || self.faults_on && self.rng.chance(5);
                if !too_late && (!fails || self.rng.chance(50)) {
                    let store = self.processes[index].store;
                    self.keep(store, changes);
                }
                if fails {
                    self.faults += 1;
                    Event::Saved(Err(StoreError("no space".into())))
                } else {
                    Event::Saved(Ok(()))
                }
            }
            Action::Send { request, .. } => Event::Produced { request, reply: Err(SendError::NO_CONNECTION) },
        };
        self.tell(index, event);
    }

    fn leaders(&mut self, side: Side) -> Vec<(TopicPartition, Leader)> {
        if side == Side::Source {
            let known = |(from, log): (&TopicPartition, &SourceLog)| {
                let broker = BrokerId(log.partition.leader()?);
                Some((from.clone(), Leader { broker, epoch: LeaderEpoch(log.partition.leader_epoch()) }))
            };
            return self.source.iter().filter_map(known).collect();
        }
        let known = |(to, log): (&TopicPartition, &DestinationLog)| {
            let broker = BrokerId(log.partition.leader()?);
            Some((to.clone(), Leader { broker, epoch: LeaderEpoch(log.partition.leader_epoch()) }))
        };
        let present: Vec<_> = self.destination.iter().filter_map(known).collect();
        // Some broker has not heard the news.
        let told = if self.faults_on && self.rng.chance(10) && !self.old_leaders.is_empty() {
            self.old_leaders.clone()
        } else {
            present.clone()
        };
        self.old_leaders = present;
        told
    }

    fn source_evidence(&self, broker: BrokerId, from: &TopicPartition) -> Result<SourceEvidence, Trouble> {
        let log = &self.source[from];
        let partition = &log.partition;
        if partition.leader() != Some(broker.0) {
            return Err(Trouble::Passing(Side::Source, "ListOffsets", ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        Ok(SourceEvidence {
            log_start: Offset(partition.log_start()),
            end: Offset(log.readable_end(self.flavour.committed_only)),
            high_watermark: Offset(partition.high_watermark()),
            committed: None,
        })
    }

    fn look_at_destination(
        &mut self,
        index: usize,
        broker: BrokerId,
        lanes: &[(crate::events::LaneKey, TopicPartition)],
    ) -> Event {
        if self.stopped[1].is_some_and(|(stopped, _)| stopped == broker.0) {
            let trouble = Trouble::Connection(Side::Destination, "refused".into());
            let lanes = lanes.iter().map(|(key, _)| (*key, Err(trouble.clone()))).collect();
            return Event::DestinationLooked { broker, connection: None, lanes };
        }
        let connection = self.processes[index].connection(broker.0);
        let mut bounds = Vec::new();
        for (_, to) in lanes {
            let led_since = self.led_since(to);
            let partition = &self.destination[to].partition;
            let (start, mut end) = (partition.log_start(), partition.high_watermark());
            // From 2.2 on it says nothing until then (KIP-207).
            let may_lag = self.faults_on && self.flavour.destination == Profile::V1_1;
            if may_lag && partition.leader_epoch() > 0 && self.elapsed < led_since + HIGH_WATERMARK_LAGS {
                // A new leader learns from its followers how far they are.
                end = start.max(end - self.rng.below(4) as i64);
            }
            let leads = partition.leader() == Some(broker.0);
            bounds.push(leads.then_some((Offset(start), Offset(end))));
        }
        if self.faults_on && self.rng.chance(30) {
            // The bounds and the state are two calls, and what is late may land between them.
            self.elapsed += Duration::from_millis(self.rng.below(2000) as u64);
            self.pass_deadlines();
        }
        let looked = lanes
            .iter()
            .zip(bounds)
            .map(|((key, to), bounds)| {
                let evidence =
                    bounds.ok_or_else(|| not_leader("ListOffsets")).and_then(|(log_start, latest)| {
                        let producer = self.producer_evidence(index, broker.0, to)?;
                        Ok(Evidence { producer, log_start, latest, tail: None })
                    });
                (*key, evidence)
            })
            .collect();
        Event::DestinationLooked { broker, connection: Some(connection), lanes: looked }
    }

    /// Since when the present leader leads.
    fn led_since(&mut self, to: &TopicPartition) -> Duration {
        let epoch = self.destination[to].partition.leader_epoch();
        let elapsed = self.elapsed;
        let known = self.led_since.entry(to.clone()).or_insert((epoch, elapsed));
        if known.0 != epoch {
            *known = (epoch, elapsed);
        }
        known.1
    }

    fn producer_evidence(
        &self,
        index: usize,
        broker: i32,
        to: &TopicPartition,
    ) -> Result<ProducerEvidence, Trouble> {
        if self.flavour.destination == Profile::V1_1 {
            return Ok(ProducerEvidence::Unsupported);
        }
        let partition = &self.destination[to].partition;
        // A follower answers as well, as measured.
        if !partition.is_online(broker) {
            return Err(not_leader("DescribeProducers"));
        }
        let last = partition.last_sequence(broker, self.producer_of(index).0).filter(|last| *last >= 0);
        Ok(last.map_or(ProducerEvidence::Nothing, ProducerEvidence::Last))
    }

    /// The producer id that a process knows the flow by.
    fn producer_of(&self, index: usize) -> ProducerId {
        self.processes[index].engine.producer_ids().map_or(ProducerId::NONE, |(id, _)| id)
    }

    fn fetch(&mut self, broker: BrokerId, wanted: &[FetchPartition]) -> FetchReply {
        let mut partitions = Vec::new();
        let mut bytes = 0;
        let damage = self.faults_on && self.flavour.damage;
        for wanted in wanted {
            let log = &self.source[&wanted.partition];
            let end = Offset(log.partition.high_watermark());
            let stable = Offset(log.readable_end(self.flavour.committed_only));
            let epoch = wanted.last_fetched_epoch.0;
            let diverging = if epoch >= 0 && self.flavour.source != Profile::V1_1 {
                let (there, ends_at) = log.partition.end_of_epoch(epoch);
                (ends_at >= 0 && (there < epoch || ends_at < wanted.offset.0))
                    .then_some((LeaderEpoch(there), Offset(ends_at)))
            } else {
                None
            };
            let fetched = if diverging.is_some() {
                Ok(bytes::Bytes::new())
            } else {
                log.fetch(&mut self.rng, broker.0, wanted.offset, damage, self.flavour.committed_only)
            };
            let (error, records) = match fetched {
                Ok(records) => (ErrorCode::NONE, records),
                Err(error) => (error, bytes::Bytes::new()),
            };
            bytes += records.len();
            let aborted = match self.flavour.committed_only {
                true => log.aborted(&mut self.rng, wanted.offset),
                false => Vec::new(),
            };
            partitions.push(Fetched {
                partition: wanted.partition.clone(),
                error,
                high_watermark: Some(end),
                last_stable_offset: self.flavour.committed_only.then_some(stable),
                log_start_offset: Some(Offset(log.partition.log_start())),
                aborted,
                preferred_replica: None,
                diverging,
                records,
            });
        }
        FetchReply { throttle: Duration::ZERO, bytes, partitions }
    }

    /// The processes that may copy: where there is a lease, the one that has it.
    pub(super) fn copying(&self) -> impl Iterator<Item = &Process> {
        let only_last = self.flavour.mode == Mode::Lease;
        self.processes.iter().skip(if only_last { self.processes.len() - 1 } else { 0 })
    }

    /// The lanes whose destination lacks something that the source still has.
    pub(super) fn behind(&self) -> Vec<&Route> {
        self.routes.routes.iter().filter(|route| !self.lacks(route).is_empty()).collect()
    }

    /// The records that the source still has and the destination has not.
    pub(super) fn lacks(&self, route: &Route) -> Vec<u64> {
        let there = self.destination[&route.destination].numbers();
        let mut left = self.source[&route.source].left();
        left.retain(|number| there.binary_search(number).is_err());
        left
    }

    /// What a store says of a source partition.
    pub(super) fn stored(&self, from: &TopicPartition) -> Option<&StoredLane> {
        self.stores[0].lanes.get(from)
    }
}

fn not_leader(call: &'static str) -> Trouble {
    Trouble::Passing(Side::Destination, call, ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

fn producer() -> Producer {
    Producer { producer_id: OURS, producer_epoch: 0, destination_cluster_id: None, stopped_cleanly: false }
}

#[expect(
    clippy::disallowed_methods,
    reason = "some instant is needed to count from; which one does not matter"
)]
fn an_instant() -> Instant {
    Instant::now()
}
