//! What the machinery of exactly once costs: the engine's processor time per GB that passes through it, without I/O.
//!
//! `cargo test --release -p pipeline cost -- --ignored --nocapture`
//!
//! `cargo xtask bench cost` runs it between copies from one broker to another, and prints what share it is of what the
//! whole process takes.
//!
//! The engine is fed whole fetch replies and told that everything it sends is appended. Only its own calls are timed;
//! making the replies, and freeing them, is not: any copier has to. What it has to do anyhow, a new header for each
//! batch, is timed alone and told apart. A call that takes longer than any can was interrupted by another process, and
//! is counted as long as the others were on average; the figure is the best of several rounds.
//!
//! `cargo xtask counts` counts the instructions of the same calls, which no other process disturbs.

// A measurement: it reads the clock and prints.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use client::{ErrorCode, FetchReply, Fetched, ProduceReply, Produced};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, Routes, TopicPartition};
use offsets::{Producer, Stored};
use record_batch::{Batch, BatchBuilder, Codec, ProducerStamp, patch};

use crate::budget::Budget;
use crate::engine::Engine;
use crate::events::{Action, ConnectionId, Event, Leader, Now, SourceEvidence};
use crate::lane::route_for_tests;
use crate::options::Options;
use crate::place::{Evidence, ProducerEvidence};

const LANES: i32 = 8;
const RECORD_BYTES: usize = 1024;
/// Passed through in one round.
const ROUND_BYTES: u64 = 1_000_000_000;
const ROUNDS: usize = 7;
const WALL_MS: i64 = 1_790_000_000_000;
/// No call takes so long by itself: the longest, which takes in a reply of 256 batches, is a fraction of it.
const INTERRUPTED: Duration = Duration::from_millis(1);
/// Replies are kept until the engine has surely let go of them, so that it is not the one to free them.
const REPLIES_KEPT: usize = 48;

/// The engine between a source without end and a destination that appends everything.
struct Bed {
    engine: Engine,
    template: Bytes,
    records: i64,
    ends: HashMap<TopicPartition, i64>,
    events: VecDeque<Event>,
    kept: VecDeque<Bytes>,
    /// In the engine's own calls, but for those that were interrupted.
    inside: Duration,
    calls: u32,
    interrupted: u32,
    sent_bytes: u64,
    sent_batches: u64,
}

/// What one round told.
#[derive(Clone, Copy, Debug)]
struct Round {
    inside: Duration,
    calls: u32,
    patching: Duration,
    bytes: u64,
    batches: u64,
}

fn now() -> Now {
    Now { instant: Instant::now(), wall_ms: WALL_MS }
}

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, number)
}

fn routes() -> Routes {
    let route = |number| route_for_tests(partition("source", number), partition("destination", number));
    Routes { generation: 1, routes: (0..LANES).map(route).collect() }
}

/// A batch of records of 1 KiB, as many as fit.
fn template(batch_bytes: usize) -> (Bytes, i64) {
    let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset(0));
    let value = [b'v'; RECORD_BYTES];
    while usize::try_from(builder.record_count() + 1).unwrap() * (RECORD_BYTES + 16) < batch_bytes {
        builder.append(WALL_MS, None, Some(&value), &[]);
    }
    (builder.build(), i64::from(builder.record_count()))
}

/// All that is measured. callgrind counts from its beginning to its end, so it must stay a function of that name.
#[inline(never)]
fn inside(engine: &mut Engine, now: Now, event: Event, actions: &mut Vec<Action>) {
    engine.handle(now, event);
    while let Some(action) = engine.poll_action() {
        actions.push(action);
    }
    engine.timeout();
}

impl Bed {
    fn new(batch_bytes: usize) -> Bed {
        let (template, records) = template(batch_bytes);
        let mut options = Options::new("cost");
        options.flush_interval = Duration::from_secs(3600);
        let budget = Budget::new(options.buffer_bytes_max);
        let engine = Engine::new(options, budget, Stored::default(), None, now());
        let mut bed = Bed {
            engine,
            template,
            records,
            ends: HashMap::new(),
            events: VecDeque::new(),
            kept: VecDeque::new(),
            inside: Duration::ZERO,
            calls: 0,
            interrupted: 0,
            sent_bytes: 0,
            sent_batches: 0,
        };
        bed.events.push_back(Event::Routes(Arc::new(routes())));
        bed
    }

    /// Until so much was sent in all.
    fn run_to(&mut self, sent_bytes: u64) {
        while self.sent_bytes < sent_bytes {
            let event = self.events.pop_front().expect("the engine always has something under way");
            let now = now();
            let mut actions = Vec::with_capacity(16);
            let began = Instant::now();
            inside(&mut self.engine, now, event, &mut actions);
            let took = began.elapsed();
            if took < INTERRUPTED {
                self.inside += took;
                self.calls += 1;
            } else {
                self.interrupted += 1;
            }
            for action in actions {
                let event = self.carry_out(action);
                self.events.push_back(event);
            }
        }
    }

    fn carry_out(&mut self, action: Action) -> Event {
        let leader = Leader { broker: BrokerId(1), epoch: LeaderEpoch(0), topic_id: None };
        match action {
            Action::AllocateProducer => Event::ProducerAllocated(Ok(Producer {
                producer_id: ProducerId(7),
                producer_epoch: 0,
                destination_cluster_id: None,
                stopped_cleanly: false,
                spread_ids: Vec::new(),
            })),
            Action::Save { .. } => Event::Saved(Ok(())),
            Action::FindLeaders { side, topics, .. } => {
                let of = |topic: &model::TopicName| {
                    let topic = topic.clone();
                    (0..LANES).map(move |number| (partition(topic.as_str(), number), leader))
                };
                Event::Leaders { side, answer: Ok(topics.iter().flat_map(of).collect()) }
            }
            Action::LookAtSource { broker, lanes, .. } => {
                let end = Offset(i64::MAX / 2);
                let evidence = SourceEvidence {
                    log_start: Offset(0),
                    end,
                    high_watermark: end,
                    committed: None,
                    by_id: true,
                    epoch_end: None,
                };
                Event::SourceLooked {
                    broker,
                    lanes: lanes.into_iter().map(|(key, _)| (key, Ok(evidence))).collect(),
                }
            }
            Action::LookAtDestination { broker, lanes } => Event::DestinationLooked {
                broker,
                connection: Some(ConnectionId(1)),
                lanes: lanes.into_iter().map(|(key, ..)| (key, Ok(self.nothing_there()))).collect(),
            },
            Action::Fetch { broker, wanted, bytes_max, .. } => {
                let wanted: Vec<(TopicPartition, i64, usize)> = wanted
                    .into_iter()
                    .map(|wanted| (wanted.partition, wanted.offset.0, wanted.bytes_max))
                    .collect();
                Event::Fetched { broker, reply: Ok(self.reply(&wanted, bytes_max)) }
            }
            Action::Send { request, batches, .. } => {
                let mut partitions = Vec::with_capacity(batches.len());
                for batch in batches {
                    self.sent_bytes += (batch.header.len() + batch.payload.len()) as u64;
                    self.sent_batches += 1;
                    let end = self.ends.entry(batch.partition.clone()).or_default();
                    partitions.push(Produced {
                        partition: batch.partition,
                        error: ErrorCode::NONE,
                        base_offset: Some(Offset(*end)),
                        log_append_time_ms: None,
                        log_start_offset: None,
                        message: None,
                    });
                    *end += self.records;
                }
                let reply = ProduceReply { throttle: Duration::ZERO, partitions };
                Event::Produced { request, reply: Ok(reply) }
            }
            action => panic!("pass-through needs no {action:?}"),
        }
    }

    fn nothing_there(&self) -> Evidence {
        assert!(self.ends.is_empty(), "a lane that was doubted: nothing gives it a reason");
        Evidence { producer: ProducerEvidence::Nothing, log_start: Offset(0), latest: Offset(0), tail: None }
    }

    /// As a broker answers: partitions in turn, each up to its bound, all up to the reply's.
    fn reply(&mut self, wanted: &[(TopicPartition, i64, usize)], bytes_max: usize) -> FetchReply {
        let batch_bytes = self.template.len();
        let mut body = BytesMut::with_capacity(bytes_max + batch_bytes);
        let mut ranges = Vec::new();
        for (_, offset, partition_bytes_max) in wanted {
            let (from, mut base) = (body.len(), *offset);
            // The first batch of a reply comes whole, whatever its size.
            while body.is_empty()
                || body.len() + batch_bytes <= bytes_max
                    && body.len() - from + batch_bytes <= *partition_bytes_max
            {
                let at = body.len();
                body.extend_from_slice(&self.template);
                body[at..at + 8].copy_from_slice(&base.to_be_bytes());
                base += self.records;
            }
            ranges.push(from..body.len());
        }
        let body = body.freeze();
        self.kept.push_back(body.clone());
        if self.kept.len() > REPLIES_KEPT {
            self.kept.pop_front();
        }
        let end = Some(Offset(i64::MAX / 2));
        let partitions = wanted.iter().zip(ranges).filter(|(_, range)| !range.is_empty());
        FetchReply {
            throttle: Duration::ZERO,
            bytes: body.len(),
            partitions: partitions
                .map(|((partition, ..), range)| Fetched {
                    partition: partition.clone(),
                    error: ErrorCode::NONE,
                    high_watermark: end,
                    last_stable_offset: end,
                    log_start_offset: Some(Offset(0)),
                    aborted: Vec::new(),
                    preferred_replica: None,
                    diverging: None,
                    records: body.slice(range),
                })
                .collect(),
        }
    }

    /// The new headers alone, of so many batches that lie where replies lie.
    fn patching(&self, batches: u64) -> Duration {
        let whole: Vec<Batch> = self
            .kept
            .iter()
            .flat_map(|reply| reply.chunks(self.template.len()).map(|bytes| reply.slice_ref(bytes)))
            .map(|bytes| Batch::read(bytes).unwrap())
            .collect();
        let mut best = Duration::MAX;
        for base_sequence in 0..20 {
            let stamp = ProducerStamp { producer_id: ProducerId(7), producer_epoch: 0, base_sequence };
            let began = Instant::now();
            for batch in &whole {
                std::hint::black_box(patch(std::hint::black_box(batch), stamp));
            }
            best = best.min(began.elapsed());
        }
        best.mul_f64(batches as f64 / whole.len() as f64)
    }
}

fn round(batch_bytes: usize) -> Round {
    let mut bed = Bed::new(batch_bytes);
    // Opening and the first allocations are not the steady state.
    bed.run_to(ROUND_BYTES / 20);
    let (bytes, batches) = (bed.sent_bytes, bed.sent_batches);
    (bed.inside, bed.calls, bed.interrupted) = (Duration::ZERO, 0, 0);
    bed.run_to(bytes + ROUND_BYTES);
    let (bytes, batches) = (bed.sent_bytes - bytes, bed.sent_batches - batches);
    assert!(bed.interrupted < bed.calls / 10, "{} calls, {} interrupted", bed.calls, bed.interrupted);
    let inside = bed.inside + bed.inside / bed.calls.max(1) * bed.interrupted;
    Round { inside, calls: bed.calls, patching: bed.patching(batches), bytes, batches }
}

/// Milliseconds a GB of the engine's own calls, of new headers alone, and what is left.
fn measure(batch_bytes: usize) -> f64 {
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(batch_bytes)).collect();
    let a_gb = |of: fn(&Round) -> Duration| {
        let each = rounds.iter().map(|round| of(round).as_secs_f64() * 1e3 / (round.bytes as f64 / 1e9));
        each.fold(f64::INFINITY, f64::min)
    };
    let (inside, patching) = (a_gb(|round| round.inside), a_gb(|round| round.patching));
    let gigabytes = rounds[0].bytes as f64 / 1e9;
    let (batches, calls) = (rounds[0].batches as f64 / gigabytes, f64::from(rounds[0].calls) / gigabytes);
    let rest = inside - patching;
    println!(
        "batches of {batch_bytes} bytes: {inside:.2} ms of engine a GB, of which new headers {patching:.2} ms, the rest \
         {rest:.2} ms ({:.0} ns a batch; {calls:.0} events)",
        rest * 1e6 / batches
    );
    rest
}

#[test]
#[ignore = "a measurement, for a release build: see the head of this file"]
fn exactly_once_costs_little_per_gigabyte() {
    let full = measure(1_000_000);
    let small = measure(16 << 10);
    // A whole process takes about 0.5 s of processor time a GB of full batches (docs/performance.md): 2 % are 10 ms.
    if !cfg!(debug_assertions) {
        assert!(full < 10.0, "{full} ms a GB of full batches");
        assert!(small < 100.0, "{small} ms a GB of batches of 16 KiB");
    }
}

#[test]
#[ignore = "something to count, for `cargo xtask counts`"]
fn small_batches_pass_through() {
    let batches = std::env::var("PARALOG_COUNTED_BATCHES").ok().map(|text| text.parse().unwrap());
    let mut bed = Bed::new(16 << 10);
    bed.run_to(batches.unwrap_or(1000) * bed.template.len() as u64);
}
