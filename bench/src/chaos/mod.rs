//! Chaos: a copier between two clusters of three brokers, while everything around it fails; then both sides are
//! compared record by record.
//!
//! ```text
//! writer ──▶ source ──▶ wires ──▶ copier ──▶ wires ──▶ destination
//!              ▲                    ▲                       ▲
//!              └───── watch ────── faults, by seed ─────────┘          then: compare, report
//! ```
//!
//! Everyone but the copier speaks with the brokers directly. A fault that is over is followed by a wait until every
//! lane has moved again (`lanes` says what that means); the next one comes after that.

mod act;
mod agent;
mod ask;
mod copier;
mod fault;
mod lanes;
mod report;
mod side;
mod stop;
mod verdict;
mod watch;

use crate::{contender::Contender, machine};
use agent::Agent;
use anyhow::{Context, bail, ensure};
use copier::{Copier, Setup};
use fault::{Fault, Kind, Schedule, Step, Which};
use lanes::Recovery;
use real_kafka::Distribution;
use side::{Side, TOPICS, Topic};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use verdict::Verdict;
use watch::{Watch, Watched};

/// What to go through.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long things go wrong, for each copier
    #[arg(long)]
    seconds: u64,

    /// The version of both clusters and of MirrorMaker 2
    #[arg(long = "version", value_name = "VERSION", default_value = "4.3.1")]
    kafka: String,

    /// What the faults are drawn from; else a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,

    /// paralog, mm2, mm2-eos, separated by commas, or both (paralog,mm2)
    #[arg(long, value_delimiter = ',', default_value = "both")]
    copier: Vec<String>,

    /// Only these kinds of faults, separated by commas; see the report for their names
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,

    /// Leave out these topics, separated by commas: steady, packed, old (its records are a year old), single (one
    /// replica), unclean-source, unclean-destination
    #[arg(long, value_delimiter = ',', value_name = "TOPICS")]
    without: Vec<String>,

    /// Records a second, over all partitions
    #[arg(long, value_name = "PER-SECOND", default_value_t = 3000)]
    rate: u32,

    /// How long to wait for lanes to move again after a fault, before the next one comes
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,

    /// Write the report into this file, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// The program to try; else the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    paralog: Option<PathBuf>,

    /// Keep the logs of a run that found nothing, too
    #[arg(long)]
    keep: bool,
}

/// How long a copier may take to catch up when all is well again.
const CATCH_UP: Duration = Duration::from_secs(180);

/// A copier whose copy has not grown for so long is not going to catch up.
const STANDS_STILL: Duration = Duration::from_secs(75);

/// A partition that takes nothing for so long, with all its brokers running, does not recover by itself: Kafka 2.8's
/// leader may keep out of the in-sync set, for good, who fetches up to its end.
const BROKERS_STAND_STILL: Duration = Duration::from_secs(45);

/// One fault, or two at once, and what became of the lanes.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) step: Step,
    /// Since the watch began.
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
    /// How long after the end the lanes were watched.
    pub(crate) watched_ms: u64,
    /// By lane; None: left out, because the lane had stopped before and said why.
    pub(crate) lanes: Vec<Option<Recovery>>,
}

impl Episode {
    /// A lane has not moved while it was watched.
    fn has_stuck(&self) -> bool {
        self.lanes.iter().flatten().any(|recovery| recovery.moved_ms.is_none())
    }
}

/// One copier's run.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) contender: Contender,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) episodes: Vec<Episode>,
    pub(crate) verdict: Verdict,
    pub(crate) surprises: Vec<String>,
    pub(crate) written: u64,
    pub(crate) ran: Duration,
    pub(crate) caught_up: Result<Duration, String>,
}

/// One partition and its copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Topic,
    pub(crate) partition: u32,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic.name, self.partition)
    }
}

/// Everything that takes part.
#[derive(Debug)]
pub(crate) struct Stage {
    sides: [Side; 2],
    copier: Mutex<Copier>,
    agent: Mutex<Agent>,
    watch: Watch,
    topics: Vec<Topic>,
    lanes: Vec<Lane>,
    /// The copy has each record once, so that ends can be compared.
    exact: bool,
}

/// Runs every copier through the same faults, and says whether Paralog came through.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    stop::notice()?;
    let contenders = contenders(&options.copier)?;
    let paralog = match &options.paralog {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot find this program")?.with_file_name("paralog"),
    };
    let paralog = fs::canonicalize(&paralog)
        .with_context(|| format!("no {}: build it with `cargo build --release`", paralog.display()))?;
    let kafka = Distribution::resolve(&options.kafka)?;
    ensure!(kafka.version().is_at_least(2, 4), "leaders are moved by an API that Kafka has since 2.4");
    let seed = options.seed.unwrap_or_else(|| crate::process::now_ms() as u64 % 1_000_000);
    println!("seed {seed}: Kafka {}, {} s for each copier", options.kafka, options.seconds);
    let facts = facts(options, &paralog, seed);
    let mut trials = Vec::new();
    for contender in contenders {
        let trial = trial(options, contender, &kafka, &paralog, seed)
            .with_context(|| format!("{contender}, seed {seed}"))?;
        println!("{}", report::summary(&trial));
        trials.push(trial);
    }
    let text = report::page(&facts, &trials);
    println!("{text}");
    if let Some(file) = &options.report {
        fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    let failures: Vec<String> = trials
        .iter()
        .filter(|trial| trial.contender == Contender::Paralog)
        .flat_map(report::failures)
        .collect();
    if !failures.is_empty() {
        bail!("Paralog, seed {seed}:\n  {}", failures.join("\n  "));
    }
    Ok(())
}

fn contenders(words: &[String]) -> anyhow::Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for word in words {
        match word.as_str() {
            "both" => contenders.extend([Contender::Paralog, Contender::MirrorShipped]),
            "relay" => bail!("the relay copies no topics"),
            word => contenders.push(word.parse()?),
        }
    }
    Ok(contenders)
}

fn facts(options: &Options, paralog: &Path, seed: u64) -> Vec<(String, String)> {
    let own = [
        ("kafka", options.kafka.clone()),
        ("paralog", machine::said(paralog, &["--version"]).unwrap_or_default()),
        ("commit", machine::commit()),
        ("seed", seed.to_string()),
        ("seconds", options.seconds.to_string()),
        ("records a second", options.rate.to_string()),
    ];
    machine::facts().into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn trial(
    options: &Options,
    contender: Contender,
    kafka: &Distribution,
    paralog: &Path,
    seed: u64,
) -> anyhow::Result<Trial> {
    let folder =
        tempfile::Builder::new().prefix("paralog-chaos-").tempdir().context("cannot create a folder")?;
    println!("{contender}: starting twice three brokers of Kafka {}", options.kafka);
    for name in &options.without {
        ensure!(TOPICS.iter().any(|topic| topic.name == name), "no topic is called {name}");
    }
    let topics: Vec<Topic> =
        TOPICS.into_iter().filter(|topic| !options.without.iter().any(|name| name == topic.name)).collect();
    let stage = Stage::set(contender, kafka, paralog, folder.path(), topics)?;
    let outcome = stage.play(options, contender, seed);
    let failed = match &outcome {
        Ok(trial) => !report::failures(trial).is_empty(),
        Err(_) => stop::check().is_ok(),
    };
    if failed || options.keep {
        println!("{contender}: logs are in {}", folder.keep().display());
        stage.sides.iter().for_each(|side| println!("  and in {}", side.keep_logs()));
    }
    outcome
}

impl Stage {
    fn set(
        contender: Contender,
        kafka: &Distribution,
        paralog: &Path,
        folder: &Path,
        topics: Vec<Topic>,
    ) -> anyhow::Result<Stage> {
        let source = Side::start(Which::Source, kafka, "", &topics)?;
        let destination = Side::start(Which::Destination, kafka, "source1.", &topics)?;
        let names: Vec<&str> = topics.iter().map(|topic| topic.name).collect();
        let copier = Copier::lay_out(&Setup {
            contender,
            kafka,
            paralog,
            source: &source.wired_bootstrap,
            destination: &destination.wired_bootstrap,
            topics: &names.join("|"),
            folder,
        })?;
        let watch = Watch::begin(&Watched {
            source: source.topics.clone(),
            destination: destination.topics.clone(),
            source_ports: source.ports().to_vec(),
            destination_ports: destination.ports().to_vec(),
        });
        let lanes = topics
            .iter()
            .flat_map(|&topic| (0..topic.partitions).map(move |partition| Lane { topic, partition }))
            .collect();
        Ok(Stage {
            sides: [source, destination],
            copier: Mutex::new(copier),
            agent: Mutex::new(Agent::start(kafka, folder)?),
            watch,
            topics,
            lanes,
            exact: contender == Contender::Paralog,
        })
    }

    pub(crate) fn side(&self, which: Which) -> &Side {
        &self.sides[which as usize]
    }

    pub(crate) fn copier(&self) -> MutexGuard<'_, Copier> {
        self.copier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn agent(&self) -> MutexGuard<'_, Agent> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play(&self, options: &Options, contender: Contender, seed: u64) -> anyhow::Result<Trial> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // A service manager starts what ended by itself.
            let manager = scope.spawn(|| -> anyhow::Result<()> {
                while !over.load(Ordering::Acquire) {
                    self.copier().look_after()?;
                    self.sides.iter().for_each(Side::look_after);
                    thread::sleep(Duration::from_millis(100));
                }
                Ok(())
            });
            let outcome = self.act_by_act(options, contender, seed);
            over.store(true, Ordering::Release);
            manager.join().expect("the manager does not panic")?;
            outcome
        })
    }

    fn act_by_act(&self, options: &Options, contender: Contender, seed: u64) -> anyhow::Result<Trial> {
        let topics: Vec<String> = self.topics.iter().map(|topic| topic.to_write()).collect();
        self.agent().write(&self.side(Which::Source).bootstrap, options.rate, &topics)?;
        self.copier().start()?;
        self.wait_for_flow()?;
        let began = Instant::now();
        let mut kinds = if options.faults.is_empty() { Kind::all() } else { options.faults.clone() };
        kinds.retain(|kind| match kind {
            Kind::UncleanElection(side) => self.topics.iter().any(|topic| topic.unclean == Some(*side)),
            _ => true,
        });
        ensure!(!kinds.is_empty(), "no fault is left that could happen");
        let mut episodes: Vec<Episode> = Vec::new();
        let length = Duration::from_secs(options.seconds);
        for step in Schedule::new(seed, kinds) {
            stop::sleep(step.pause)?;
            if began.elapsed() >= length {
                break;
            }
            episodes.push(self.episode(step, &episodes, options, began)?);
        }
        let ran = began.elapsed();
        let (written, refused) = self.agent().stop_writing()?;
        println!("{written} records written ({refused} refused); waiting for the copy");
        let caught_up = self.wait_for_copy(&self.hit(&episodes))?;
        if let Err(why) = &caught_up {
            println!("  !! {why}");
        }
        self.copier().stop()?;
        let verdict = self.compare(&episodes)?;
        let surprises = self.copier().surprises().to_vec();
        let lanes = self.lanes.clone();
        Ok(Trial { contender, lanes, episodes, verdict, surprises, written, ran, caught_up })
    }

    /// Until every lane has copied something.
    fn wait_for_flow(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let ends = self.watch.ends();
            if ends.iter().all(|end| end.is_some_and(|(source, copy)| source > 0 && copy > 0)) {
                println!("every lane flows after {:.1} s", began.elapsed().as_secs_f64());
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(180) {
                let log = self.copier().log_since(0);
                let tail = log[log.len().saturating_sub(20)..].join("\n");
                bail!("not every lane flows after 180 s: {ends:?}\n{tail}");
            }
            stop::sleep(Duration::from_millis(100))?;
        }
    }

    fn episode(
        &self,
        step: Step,
        before: &[Episode],
        options: &Options,
        began: Instant,
    ) -> anyhow::Result<Episode> {
        let overlap = step
            .also
            .as_ref()
            .map(|(after, fault)| format!(", and {after:.1?} later {fault}"))
            .unwrap_or_default();
        println!("{:6.1} s: {}{overlap}", began.elapsed().as_secs_f64(), step.fault);
        let left_out = self.left_out(before);
        let log_from = self.copier().log_bytes();
        let began_ms = self.watch.now_ms();
        thread::scope(|scope| -> anyhow::Result<()> {
            let also = step.also.clone().map(|(after, fault)| {
                scope.spawn(move || {
                    stop::sleep(after)?;
                    self.carry_out(&fault)
                })
            });
            let first = self.carry_out(&step.fault);
            let second = also.map_or(Ok(()), |also| also.join().expect("a fault does not panic"));
            first.and(second)
        })
        .with_context(|| format!("while {}", step.fault))?;
        let ended_ms = self.watch.now_ms();
        let mut episode =
            Episode { step, began_ms, ended_ms, watched_ms: 0, lanes: vec![None; self.lanes.len()] };
        // A lane that may lose records in this very fault is not waited for: it may have to stop.
        let risky = self.hit(std::slice::from_ref(&episode));
        loop {
            stop::sleep(Duration::from_millis(200))?;
            episode.watched_ms = self.watch.now_ms() - ended_ms;
            let samples = self.watch.samples_since(began_ms);
            for (lane, samples) in samples.iter().enumerate() {
                let out = left_out[lane] || risky[lane];
                episode.lanes[lane] = (!out).then(|| lanes::recovery(samples, ended_ms, self.exact));
            }
            if !episode.has_stuck() || episode.watched_ms > options.patience * 1000 {
                break;
            }
        }
        self.tell(&episode, log_from);
        Ok(episode)
    }

    /// The lanes that an unclean election may have stopped, or that still stand where an earlier episode left them.
    fn left_out(&self, before: &[Episode]) -> Vec<bool> {
        let mut out = self.hit(before);
        for episode in before.iter().filter(|episode| episode.has_stuck()) {
            let samples = self.watch.samples_since(episode.ended_ms);
            for (lane, out) in out.iter_mut().enumerate() {
                let stood = episode.lanes[lane].is_some_and(|recovery| recovery.moved_ms.is_none());
                *out |=
                    stood && lanes::recovery(&samples[lane], episode.ended_ms, self.exact).moved_ms.is_none();
            }
        }
        out
    }

    /// The lanes of topics that an unclean election has hit.
    fn hit(&self, episodes: &[Episode]) -> Vec<bool> {
        let happened = |side: Which| {
            episodes.iter().any(|episode| episode.step.fault == Fault::UncleanElection { side })
        };
        self.lanes.iter().map(|lane| lane.topic.unclean.is_some_and(happened)).collect()
    }

    /// A line on how the lanes came through, and more where one was late.
    fn tell(&self, episode: &Episode, log_from: u64) {
        let lanes: Vec<(usize, Recovery)> = episode
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(lane, recovery)| recovery.map(|recovery| (lane, recovery)))
            .collect();
        let moved = lanes.iter().map(|(_, recovery)| recovery.moved_ms.unwrap_or(episode.watched_ms)).max();
        let idle = lanes.iter().map(|(_, recovery)| recovery.idle_ms).max();
        println!(
            "          over after {:.1} s; every lane moved {:.1} s later, {:.1} s after it could",
            (episode.ended_ms - episode.began_ms) as f64 / 1e3,
            moved.unwrap_or(0) as f64 / 1e3,
            idle.unwrap_or(0) as f64 / 1e3
        );
        let is_late = |&(lane, recovery): &(usize, Recovery)| {
            recovery.is_late(episode.watched_ms, self.lanes[lane].topic.allowance_ms())
        };
        let late: Vec<&(usize, Recovery)> = lanes.iter().filter(|lane| is_late(lane)).collect();
        for (lane, recovery) in &late {
            println!("  !! late: {} {recovery:?}", self.lanes[*lane]);
        }
        let standing = |lane: &&(usize, Recovery)| lane.1.moved_ms.is_none() && !is_late(lane);
        for (lane, _) in lanes.iter().filter(standing) {
            let seen = self.watch.samples_since(self.watch.now_ms().saturating_sub(200));
            println!("     stands, for want of brokers: {} {:?}", self.lanes[*lane], seen[*lane].last());
        }
        if !late.is_empty() {
            let log = self.copier().log_since(log_from);
            // Lines that differ only in their time and numbers tell nothing new.
            let words =
                |line: &str| line.chars().skip(27).filter(char::is_ascii_alphabetic).collect::<String>();
            let mut told: Vec<&String> = log.iter().collect();
            told.dedup_by_key(|line| words(line));
            for line in &told[told.len().saturating_sub(20)..] {
                println!("     | {}", line.chars().take(240).collect::<String>());
            }
        }
    }

    /// A copy's leader refuses what is appended, as the watch last saw it.
    fn a_partition_takes_nothing(&self) -> bool {
        let seen = self.watch.samples_since(self.watch.now_ms().saturating_sub(1_000));
        seen.iter().filter_map(|samples| samples.last()).any(|sample| !sample.appends)
    }

    /// Until the copy is as long as its original, or has stopped growing. Lanes that may have stopped are waited for
    /// only until they say that they did.
    fn wait_for_copy(&self, may_stop: &[bool]) -> anyhow::Result<Result<Duration, String>> {
        let began = Instant::now();
        let (mut last, mut grown): (Vec<Option<(i64, i64)>>, Instant) = (Vec::new(), Instant::now());
        let mut restarted = false;
        loop {
            let ends = self.watch.ends();
            let mut behind = Vec::new();
            for (lane, end) in ends.iter().enumerate() {
                let Lane { topic, partition } = self.lanes[lane];
                let stopped = || {
                    let log = self.copier().log_since(0);
                    let last_word = verdict::last_word(&log, topic.name, partition);
                    may_stop[lane] && last_word.is_some_and(|word| verdict::says_stopped(&word))
                };
                if end.is_none_or(|(source, copy)| source > copy) && !stopped() {
                    behind.push(format!("{} {end:?}", self.lanes[lane]));
                }
            }
            let grows = |lane: usize| ends[lane] != last.get(lane).copied().flatten();
            if (0..ends.len()).any(grows) {
                (last, grown) = (ends, Instant::now());
            }
            // Where records may be doubled, ends say little: it must also be quiet.
            if behind.is_empty() && (self.exact || grown.elapsed() > Duration::from_secs(20)) {
                return Ok(Ok(grown.duration_since(began)));
            }
            if grown.elapsed() > BROKERS_STAND_STILL && !restarted && self.a_partition_takes_nothing() {
                println!(
                    "  !! a partition takes nothing: the destination's brokers are restarted, one by one"
                );
                for broker in 0..side::BROKERS {
                    self.carry_out(&Fault::BrokerRestarted { side: Which::Destination, broker })?;
                }
                (restarted, grown) = (true, Instant::now());
            }
            if grown.elapsed() > STANDS_STILL || began.elapsed() > CATCH_UP {
                let why = format!(
                    "not caught up after {:.0} s: {}",
                    began.elapsed().as_secs_f64(),
                    behind.join(", ")
                );
                return Ok(Err(why));
            }
            stop::sleep(Duration::from_millis(100))?;
        }
    }

    fn compare(&self, episodes: &[Episode]) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::default();
        let log = self.copier().log_since(0);
        for (at, topic) in self.topics.iter().enumerate() {
            stop::check()?;
            let (source, destination) = (self.side(Which::Source), self.side(Which::Destination));
            let (copy, _) = &destination.topics[at];
            let differences =
                self.agent().compare(&source.bootstrap, topic.name, &destination.bootstrap, copy)?;
            let unclean = topic.unclean.filter(|&side| {
                episodes.iter().any(|episode| episode.step.fault == Fault::UncleanElection { side })
            });
            for difference in differences {
                verdict.add(topic.name, unclean, difference, &log);
            }
        }
        Ok(verdict)
    }
}
