//! The engine, both clusters, the stores and up to two processes, by seed and in virtual time: every answer
//! may come late, in another order or not at all; brokers and processes die, pause and return; logs are
//! cleaned, cut and lost; producers are forgotten.
//!
//! The brokers' partitions are those of `embedded-kafka`, which is held against real Kafka. What must hold
//! is in `invariants`. A failure prints the seed:
//!
//! - `PARALOG_SIM_SEED=n cargo test -p pipeline sim` repeats it and tells what happens,
//! - `cargo xtask simulate --seeds N` runs many.

#![allow(clippy::print_stderr, reason = "a traced seed speaks to the developer who runs it")]

mod destination;
mod invariants;
mod part;
mod process;
mod rng;
mod source;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::events::Event;
use crate::status::{LaneState, LaneStatus};
use invariants::stall_has_a_reason;
use world::{Mode, World};

/// Faults of each run.
const FAULTS: u64 = 100;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    appends: u64,
    faults: u64,
    /// Lanes that ended with a reason instead of everything copied.
    stalled: usize,
    elapsed: Duration,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.appends += other.appends;
        self.faults += other.faults;
        self.stalled += other.stalled;
        self.elapsed += other.elapsed;
    }
}

fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    while world.faults < FAULTS {
        world.step();
    }
    world.end_faults();
    let mut steps = 0;
    let stalled = loop {
        let behind = world.behind();
        let all_say_why = world.late.is_empty()
            && behind.iter().all(|part| {
                world.copying().all(|process| {
                    let lanes = process.engine.lane_statuses();
                    let is_of = |lane: &&LaneStatus| {
                        lane.source == part.source && lane.destination == part.destination
                    };
                    lanes.iter().filter(is_of).all(|lane| {
                        let (source, destination) =
                            (&world.source[&part.source], &world.destination[&part.destination]);
                        let mode = world.flavour.mode;
                        lane.state == LaneState::Blocked
                            && stall_has_a_reason(lane, mode, source, destination, part).is_ok()
                    })
                })
            });
        if all_say_why {
            break behind.len();
        }
        for _ in 0..40 {
            world.step();
        }
        steps += 40;
        if steps > 12_000 {
            let lanes: Vec<_> = world.copying().map(|process| process.engine.lane_statuses()).collect();
            panic!(
                "catches_up_when_faults_stop: {:?} lacks {:?} {lanes:?}",
                world.flavour,
                behind
                    .iter()
                    .map(|part| {
                        let log = &world.destination[&part.destination].partition;
                        let ends = (log.log_start(), log.high_watermark(), log.log_end());
                        (&part.source, &part.destination, world.lacks(part), ends)
                    })
                    .collect::<Vec<_>>()
            );
        }
    };
    stop(&mut world);
    Outcome { appends: world.appends, faults: world.faults, stalled, elapsed: world.elapsed }
}

/// Stops whoever still copies, and checks what is left behind.
fn stop(world: &mut World) {
    world.leases_ended = true;
    for index in 0..world.processes.len() {
        world.tell(index, Event::Stop);
    }
    for _ in 0..3000 {
        if world.processes.iter().all(|process| process.engine.is_stopped()) {
            break;
        }
        world.step();
    }
    for process in &world.processes {
        assert!(process.engine.is_stopped(), "stops when nothing is in its way");
        for lane in process.engine.lane_statuses() {
            assert_eq!(lane.state, LaneState::Draining);
        }
    }
    for process in world.processes.drain(..) {
        let budget = Arc::clone(&process.budget);
        drop(process);
        assert_eq!(budget.used_bytes(), 0, "budget_returned");
    }
    if world.flavour.mode != Mode::One {
        return;
    }
    for part in &world.parts {
        let Some(checkpoint) = world.stored(part) else { continue };
        let log = &world.destination[&part.destination];
        let end = log.partition.log_end();
        assert!(log.lost || checkpoint.destination_end.0 <= end, "checkpoint_never_early");
        let source_end = world.source[&part.source].partition.log_end();
        let rewritten = world.source[&part.source].rewritten;
        assert!(rewritten || checkpoint.next_source.0 <= source_end, "checkpoint_never_early");
    }
}

/// Runs the seeds from `first` on and gives how much was done.
///
/// # Panics
/// Names the seeds that fail, ten unless told otherwise, and what repeats the first.
fn run_many(first: u64, seeds: u64) -> Outcome {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Outcome { appends: 0, faults: 0, stalled: 0, elapsed: Duration::ZERO });
    let failing = Mutex::new(Vec::new());
    let failures_max = number("PARALOG_SIM_FAILURES_MAX").unwrap_or(10);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds
                || failing.lock().expect("nobody panics here").len() as u64 >= failures_max
            {
                return;
            }
            match std::panic::catch_unwind(|| run(seed)) {
                Ok(outcome) => sum.lock().expect("nobody panics here").add(outcome),
                Err(_) => failing.lock().expect("nobody panics here").push(seed),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(worker))));
    let sum = sum.into_inner().expect("nobody panics here");
    let mut failing = failing.into_inner().expect("nobody panics here");
    failing.sort_unstable();
    if let Some(seed) = failing.first() {
        panic!("seeds {failing:?} fail: PARALOG_SIM_SEED={seed} cargo test -p pipeline sim");
    }
    sum
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn every_record_arrives_once_and_in_order_whatever_fails() {
    if let Some(seed) = number("PARALOG_SIM_SEED") {
        eprintln!("{:?}", run(seed));
        return;
    }
    let first = number("PARALOG_SIM_FIRST").unwrap_or(1);
    let seeds = number("PARALOG_SIM_SEEDS").unwrap_or(500);
    let sum = run_many(first, seeds);
    eprintln!("{seeds} seeds: {sum:?}");
    assert!(sum.faults >= seeds * FAULTS);
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    for seed in [1, 17, 400] {
        assert_eq!(run(seed), run(seed));
    }
}
