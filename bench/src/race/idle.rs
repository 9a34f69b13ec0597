//! Many topics that nothing happens to: what a copier takes that keeps them, and how soon it notices a new one.
//!
//! On a pair of clusters of its own, which holds nothing else and has the memory for so many partitions.

use super::{
    Options, keep,
    pair::{Copier, Job, Race, Way},
};
use crate::{
    contender::Contender,
    process::{Measured, now_ms},
    record::{Kind, Line, Record},
    shape::Shape,
};
use anyhow::{Context, ensure};
use real_kafka::{Config, SourceRecord};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: u32 = 10;
const HEAP_MB: u32 = 2048;
const PREFIX: &str = "idle-";

/// A copier that takes no more than this share of a core for a while has done what there was to do.
const QUIET_SHARE: f64 = 0.1;
const QUIET_SLICE: Duration = Duration::from_secs(5);

/// It is measured after this long, quiet or not.
const QUIET_PATIENCE: Duration = Duration::from_secs(60);

/// `topic.poll.interval.ms` is two minutes as shipped; this is how long a new topic is waited for.
const NOTICING: Duration = Duration::from_secs(150);

/// Paralog, and MirrorMaker 2 as shipped if it takes part.
pub(super) fn idle(options: &Options, paralog: &Path, record: &mut Record) -> anyhow::Result<()> {
    let watches = |contender: &&Contender| matches!(contender, Contender::Paralog | Contender::MirrorShipped);
    let contenders: Vec<Contender> = options.contenders.iter().filter(watches).copied().collect();
    if options.idle_topics == 0 || contenders.is_empty() {
        return Ok(());
    }
    println!("idle: {} topics of {PARTITIONS} partitions", options.idle_topics);
    let patience = Duration::from_secs(options.patience);
    // An index of 10 MB, which is mapped, for each of so many empty partitions helps nobody.
    let small = |config: Config| config.with("log.index.size.max.bytes", "65536");
    let mut race = Race::start_with(&options.kafka, paralog.to_owned(), patience, HEAP_MB, small)?;
    race.session.create_topics(&race.source.bootstrap, PREFIX, options.idle_topics, PARTITIONS)?;
    // A broker lists them somewhat after its controller has made them.
    let source = race.source.bootstrap.clone();
    race.wait_for_topics(&source, PREFIX, options.idle_topics as usize, || Ok(()))?;
    for contender in contenders {
        let line = race.idle(contender, options)?;
        println!("idle: {contender}: {:?}", line.numbers);
        record.lines.push(line);
        keep(record, &options.out)?;
    }
    Ok(())
}

impl Race {
    fn idle(&mut self, contender: Contender, options: &Options) -> anyhow::Result<Line> {
        let shape: Shape = "1KiB/none/one".parse().expect("it is well formed");
        let topic = format!("{PREFIX}.*");
        let job = Job { contender, topic: &topic, shape: &shape, way: Way::Direct, until_caught_up: false };
        let copier = self.copier(&job)?;
        let copies = format!("{}.{PREFIX}", copier.task().source_alias());
        let destination = self.destination.bootstrap.clone();
        self.tidy_up()?; // so that the brokers hold as much as for the one before
        if contender.is_mirror() {
            // It asks for all of them and one of its own in one request, and a controller refuses one for more than 10,000
            // partitions.
            self.session.create_topics(&destination, &copies, options.idle_topics, PARTITIONS)?;
            self.wait_for_topics(&destination, &copies, options.idle_topics as usize, || Ok(()))?;
        }
        self.until_brokers_are_quiet();
        let before = self.snapshot();
        let mut process = copier.start()?;
        let started = Instant::now();
        let still_runs = || {
            ensure!(process.ended()?.is_none(), "the copier has ended");
            Ok(())
        };
        let listed = self.wait_for_topics(&destination, &copies, options.idle_topics as usize, still_runs);
        listed.with_context(|| copier.tail())?;
        let created = started.elapsed();
        let (idle, copy) = (format!("{PREFIX}0"), format!("{copies}0"));
        self.session.send(&self.source.bootstrap, &idle, &[], &[first()])?;
        self.wait_for(&mut process, &copier, &copy, 1)?;
        until_quiet(&mut process, &copier)?;
        let cpu = process.cpu();
        let share = share_of_a_core(&mut process, &copier, Duration::from_secs(options.idle_seconds))?;
        let memory = process.memory().with_context(|| copier.tail())?;
        let mut numbers = std::collections::BTreeMap::new();
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("topics", f64::from(options.idle_topics));
        set("partitions", f64::from(options.idle_topics * PARTITIONS));
        if !contender.is_mirror() {
            set("created_s", created.as_secs_f64());
        }
        set("created_cpu_s", cpu.as_secs_f64());
        set("core_share", share);
        set("resident_bytes", memory.resident_bytes as f64);
        set("peak_bytes", memory.peak_bytes as f64);
        // MirrorMaker 2 looks for new topics every ten minutes (`refresh.topics.interval.seconds`): that is known.
        if contender.is_paralog() {
            set("noticed_s", self.noticed(&mut process, &copier)?);
        }
        let usage = process.kill()?;
        set("others_share", before.numbers(&self.snapshot(), usage)["others_share"]);
        Ok(Line { kind: Kind::Idle, shape, contender, round: 1, numbers })
    }

    /// Thousands of partitions that were made or deleted keep brokers busy for a while; MirrorMaker 2 gives up where they take
    /// half a minute to make a topic of its own.
    fn until_brokers_are_quiet(&self) {
        let cpu = || self.source.cpu() + self.destination.cpu();
        let deadline = Instant::now() + self.patience;
        let mut before = cpu();
        while Instant::now() < deadline {
            thread::sleep(QUIET_SLICE);
            let now = cpu();
            if (now - before).as_secs_f64() < QUIET_SHARE * QUIET_SLICE.as_secs_f64() {
                return;
            }
            before = now;
        }
    }

    /// Waits until so many topics whose names begin with `prefix` are listed, as long as `goes_on` is fine.
    fn wait_for_topics(
        &mut self,
        bootstrap: &str,
        prefix: &str,
        count: usize,
        mut goes_on: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let topics = self.session.topics(bootstrap)?;
            let found = topics.iter().filter(|topic| topic.starts_with(prefix)).count();
            if found >= count {
                return Ok(());
            }
            goes_on()?;
            ensure!(Instant::now() < deadline, "{found} of {count} topics {prefix}*");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Seconds from a new topic's creation until its first record could be read at the destination.
    fn noticed(&mut self, process: &mut Measured, copier: &Copier) -> anyhow::Result<f64> {
        let (source, name) = (self.source.bootstrap.clone(), format!("{PREFIX}new"));
        let created_ms = now_ms();
        self.session.create_topic(&source, &name, PARTITIONS, 1, &[])?;
        self.session.send(&source, &name, &[], &[first()])?;
        let copy = format!("{}.{name}", copier.task().source_alias());
        let seen_ms = self.wait_within(process, copier, &copy, 1, NOTICING)?;
        let seen_ms = seen_ms.with_context(|| format!("no {copy} after {} s", NOTICING.as_secs()))?;
        self.session.delete_topic(&source, &name)?;
        Ok((seen_ms - created_ms) as f64 / 1000.0)
    }
}

fn first() -> SourceRecord {
    SourceRecord { value: Some(b"first".to_vec()), ..SourceRecord::default() }
}

/// The share of a core that it takes over a while.
fn share_of_a_core(process: &mut Measured, copier: &Copier, during: Duration) -> anyhow::Result<f64> {
    let (cpu, began) = (process.cpu(), Instant::now());
    thread::sleep(during);
    ensure!(process.ended()?.is_none(), "the copier has ended\n{}", copier.tail());
    Ok((process.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64())
}

fn until_quiet(process: &mut Measured, copier: &Copier) -> anyhow::Result<()> {
    let deadline = Instant::now() + QUIET_PATIENCE;
    while share_of_a_core(process, copier, QUIET_SLICE)? > QUIET_SHARE && Instant::now() < deadline {}
    Ok(())
}
