//! The race itself: a narrative from an empty pair of clusters to a page.

use crate::{
    contender::{Contender, Secured, Task, jvm_as_shipped},
    embedded, latency, machine,
    process::{Measured, Output, Usage, cpu_of, family_cpu},
    record::{Kind, Line, Record},
    relay,
    shape::{Bytes, PARTITIONS, Shape},
};
use anyhow::{Context, bail, ensure};
use real_kafka::{Cluster, Config, Distribution, Error, Listener, PartitionDigest, Session, Stores};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// What to race over.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How much to copy, before compression
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    records: Bytes,

    /// RECORD/CODEC/BATCH, separated by commas; batches are full (1 MB), 16KiB or one (record)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1KiB/none/full,1KiB/lz4/full,1KiB/none/16KiB,1KiB/none/one"
    )]
    shapes: Vec<Shape>,

    /// Who takes part: relay, paralog, paralog-tls, mm2, mm2-tuned, mm2-eos
    #[arg(long, value_delimiter = ',', default_value = "relay,paralog,paralog-tls,mm2,mm2-tuned")]
    #[arg(default_value_if("embedded", "true", "relay,paralog"))]
    contenders: Vec<Contender>,

    /// How often everyone runs, taking turns
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// Records a second for the latency part; 0 leaves it out
    #[arg(long, value_name = "PER-SECOND", default_value_t = 2000)]
    latency_rate: u32,

    /// How long latency is measured at a time
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    latency_seconds: u32,

    /// A copy that takes longer ends the race
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    patience: u64,

    /// The version of Kafka and MirrorMaker 2
    #[arg(long, default_value = "4.3.1")]
    kafka: String,

    /// The program to race; else the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    paralog: Option<PathBuf>,

    /// Where performance.tsv, .md and .svg go
    #[arg(long, default_value = "docs", default_value_if("embedded", "true", "target/bench"))]
    out: PathBuf,

    /// Race between two clusters of embedded-kafka, without Java: relay and paralog drain topics, into target/bench
    #[arg(long)]
    embedded: bool,
}

/// Runs the race and writes its page.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "a race has at least one round");
    let paralog = program(options.paralog.as_deref())?;
    if options.embedded {
        return embedded::run(&embedded::Wanted {
            records: options.records,
            shapes: &options.shapes,
            contenders: &options.contenders,
            rounds: options.rounds,
            patience: Duration::from_secs(options.patience),
            paralog,
            out: &options.out,
        });
    }
    fs::create_dir_all(&options.out).with_context(|| format!("cannot create {}", options.out.display()))?;
    let mut record = Record { facts: facts(options, &paralog), lines: Vec::new() };

    let mut race = Race::start(&options.kafka, paralog, Duration::from_secs(options.patience))?;
    for shape in &options.shapes {
        race.drain(shape, options, &mut record)?;
    }
    if options.latency_rate > 0 {
        race.latency(options, &mut record)?;
    }
    record.facts.push(("load after".to_owned(), machine::load()));
    keep(&record, &options.out)?;
    crate::write_page(&options.out)
}

/// The Paralog to race: the one asked for, or the one beside this program.
pub(crate) fn program(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let paralog = match wanted {
        Some(program) => program.to_owned(),
        None => std::env::current_exe().context("cannot find this program")?.with_file_name("paralog"),
    };
    fs::canonicalize(&paralog)
        .with_context(|| format!("no {}: build it with `cargo build --release`", paralog.display()))
}

fn facts(options: &Options, paralog: &Path) -> Vec<(String, String)> {
    let own = [
        ("kafka", options.kafka.clone()),
        ("paralog", machine::said(paralog, &["--version"]).unwrap_or_default()),
        ("commit", machine::commit()),
        ("records", options.records.to_string()),
        ("rounds", options.rounds.to_string()),
        ("latency rate", options.latency_rate.to_string()),
        ("latency seconds", options.latency_seconds.to_string()),
    ];
    machine::facts().into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Keeps what there is so far: a race that ends early is not lost.
fn keep(record: &Record, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("performance.tsv");
    fs::write(&path, record.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// A pair of clusters, and what is needed to copy from one to the other.
pub(crate) struct Race {
    source: Cluster,
    destination: Cluster,
    session: Session,
    kafka: Distribution,
    stores: Stores,
    paralog: PathBuf,
    serial: u32,
    patience: Duration,
}

/// The relay copies no topics, and what TLS costs shows in draining.
fn has_latency(contender: Contender) -> bool {
    !matches!(contender, Contender::Relay | Contender::ParalogTls)
}

/// Consumption of everyone but the contender, up to one moment.
struct Snapshot {
    at: Instant,
    source: Duration,
    destination: Duration,
    /// Whoever is no child of ours: what else the machine has to do.
    strangers: Duration,
}

impl Race {
    /// Starts both clusters, of one broker each.
    pub(crate) fn start(kafka: &str, paralog: PathBuf, patience: Duration) -> anyhow::Result<Race> {
        let kafka = Distribution::resolve(kafka)?;
        let stores = Stores::make(&kafka)?;
        let config = jvm_as_shipped("1g")
            .into_iter()
            .fold(Config::brokers(1), Config::jvm_option)
            .heap_mb(1024)
            .with("num.network.threads", "3")
            .with("num.io.threads", "8")
            .secured(&stores);
        Ok(Race {
            source: Cluster::start(&kafka, &config)?,
            destination: Cluster::start(&kafka, &config)?,
            session: kafka.session()?,
            kafka,
            stores,
            paralog,
            serial: 0,
            patience,
        })
    }

    /// Fills a topic of one shape; its records, and the files of its log.
    fn filled(
        &mut self,
        shape: &Shape,
        bytes: Bytes,
    ) -> anyhow::Result<(Vec<PartitionDigest>, Vec<PathBuf>)> {
        let topic = shape.topic();
        let source = self.source.bootstrap();
        self.session.create_topic(&source, &topic, PARTITIONS, 1, &[])?;
        self.session.fill(&source, &topic, &shape.fill(bytes.0))?;
        Ok((self.session.digest(&source, &topic, false)?, self.log_files(&topic)?))
    }

    /// Processor time in ms a GB of Paralog's whole process as it copies a filled topic of one shape, start to
    /// end, each copy verified: one figure is handed to `each` after every copy.
    pub(crate) fn pass_through(
        &mut self,
        shape: &Shape,
        bytes: Bytes,
        rounds: u32,
        mut each: impl FnMut(f64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let records = shape.records(bytes.0);
        let (original, log) = self.filled(shape, bytes)?;
        let log_bytes = size_of_files(&log)?;
        self.copy(shape, Contender::Paralog, &original, records)?; // warms the brokers up
        for _ in 0..rounds {
            let numbers = self.copy(shape, Contender::Paralog, &original, records)?;
            let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
            ensure!(number("verified") > 0.0, "{shape}: the copy differs from its original");
            each(number("cpu_s") * 1e3 / (log_bytes as f64 / 1e9))?;
        }
        self.session.delete_topic(&self.source.bootstrap(), &shape.topic())?;
        Ok(())
    }

    /// Everyone copies a filled topic of one shape, in turns.
    fn drain(&mut self, shape: &Shape, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        let topic = shape.topic();
        let records = shape.records(options.records.0);
        println!("{shape}: filling {records} records");
        let (original, log) = self.filled(shape, options.records)?;
        let bytes = size_of_files(&log)?;

        println!("{shape}: {bytes} bytes of log; one copy to warm the brokers up, not counted");
        self.copy(shape, Contender::Paralog, &original, records)?;
        for round in 1..=options.rounds {
            // Everyone comes after everyone else once.
            let turn = (round as usize - 1) % options.contenders.len();
            let (later, sooner) = options.contenders.split_at(turn);
            for &contender in sooner.iter().chain(later) {
                let mut numbers = match contender {
                    Contender::Relay => self.relay(&log)?,
                    _ => self.copy(shape, contender, &original, records)?,
                };
                numbers.insert("bytes".to_owned(), bytes as f64);
                numbers.insert("records".to_owned(), records as f64);
                println!("{shape}: round {round}: {}", summary(contender, &numbers));
                record.lines.push(Line { kind: Kind::Run, shape: shape.clone(), contender, round, numbers });
                keep(record, &options.out)?;
            }
        }
        self.session.delete_topic(&self.source.bootstrap(), &topic)?;
        Ok(())
    }

    /// The segments of the source's log of a topic.
    fn log_files(&self, topic: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for partition in 0..PARTITIONS {
            let folder = self.source.folder().join("disk-0").join(format!("{topic}-{partition}"));
            let entries =
                fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
            let mut segments: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
                .collect();
            segments.sort();
            files.extend(segments);
        }
        Ok(files)
    }

    fn relay(&mut self, log: &[PathBuf]) -> anyhow::Result<BTreeMap<String, f64>> {
        settle();
        let before = self.snapshot();
        let relayed = relay::measure(log)?;
        let mut numbers = Race::numbers(&before, &self.snapshot(), relayed.usage);
        numbers.insert("copy_s".to_owned(), relayed.wall.as_secs_f64());
        numbers.remove("source_cpu_s"); // no broker takes part
        numbers.remove("destination_cpu_s");
        Ok(numbers)
    }

    /// One copy, verified, and removed again.
    fn copy(
        &mut self,
        shape: &Shape,
        contender: Contender,
        original: &[PartitionDigest],
        records: u64,
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        self.serial += 1;
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let (source, destination, topic) =
            (self.source.bootstrap(), self.destination.bootstrap(), shape.topic());
        let (source_tls, destination_tls) =
            (self.source.bootstrap_of(Listener::Tls), self.destination.bootstrap_of(Listener::Tls));
        let task = Task {
            kafka: &self.kafka,
            paralog: &self.paralog,
            source: &source,
            destination: &destination,
            secured: Some(Secured {
                source: &source_tls,
                destination: &destination_tls,
                stores: &self.stores,
            }),
            topic: &topic,
            codec: &shape.codec,
            serial: self.serial,
            folder: folder.path(),
            until_caught_up: true,
            brokers: 1,
        };
        let command = task.command(contender)?;
        let (log, copied) = (task.log(), task.destination_topic());
        settle();
        let before = self.snapshot();
        let mut process = Measured::start(command, &Output::File(log.clone()))?;
        let started_ms = process.started_ms();
        let first_ms = self.wait_for(&mut process, &log, &copied, 1)?;
        let cpu_first = process.cpu();
        let last_ms = self.wait_for(&mut process, &log, &copied, records)?;
        let after = self.snapshot();
        let usage = match contender {
            // It ends by itself, and its ending counts.
            _ if contender.is_paralog() => process.wait(Duration::from_secs(60))?,
            _ => process.kill()?,
        };
        if contender.is_paralog() {
            ensure!(usage.success, "paralog failed\n{}", tail(&log));
        }
        let mut numbers = Race::numbers(&before, &after, usage);
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("first_s", (first_ms - started_ms) as f64 / 1000.0);
        set("copy_s", (last_ms - started_ms) as f64 / 1000.0);
        set("cpu_first_s", cpu_first.as_secs_f64());
        let copy = self.session.digest(&destination, &copied, false)?;
        let same = same(original, &copy);
        set("verified", f64::from(u8::from(same)));
        if !same {
            eprintln!("{contender}: THE COPY DIFFERS\nsource {original:#?}\ncopy {copy:#?}");
        }
        self.tidy_up(&destination, |_| true)?;
        self.tidy_up(&source, |topic| topic.starts_with("mm2-"))?;
        Ok(numbers)
    }

    /// Waits until the copy holds that many records; when that was, in ms since 1970. Ends early if its maker does.
    fn wait_for(
        &mut self,
        process: &mut Measured,
        log: &Path,
        topic: &str,
        records: u64,
    ) -> anyhow::Result<i64> {
        const SLICE: Duration = Duration::from_secs(5);
        let destination = self.destination.bootstrap();
        let started = Instant::now();
        loop {
            // Asked before the records are looked for: what it did until then is seen.
            let ended = process.ended()?;
            match self.session.wait_for_records(&destination, topic, records, SLICE) {
                Ok(seen_ms) => return Ok(seen_ms),
                Err(Error::TimedOut { .. }) if ended.is_none() && started.elapsed() < self.patience => {}
                Err(error) => bail!("{error}\n{}", tail(log)),
            }
        }
    }

    /// Latency at a steady rate, everyone in turn.
    fn latency(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        let shape: Shape = "1KiB/none/16KiB".parse().expect("it is well formed");
        let (source, destination) = (self.source.bootstrap(), self.destination.bootstrap());
        for round in 1..=options.rounds {
            for &contender in options.contenders.iter().filter(|contender| has_latency(**contender)) {
                self.serial += 1;
                let folder = tempfile::tempdir().context("cannot create a folder")?;
                let topic = format!("latency-{}", self.serial);
                // Made first: MirrorMaker 2 looks for new topics every ten minutes.
                self.session.create_topic(&source, &topic, PARTITIONS, 1, &[])?;
                let task = Task {
                    kafka: &self.kafka,
                    paralog: &self.paralog,
                    source: &source,
                    destination: &destination,
                    secured: None,
                    topic: &topic,
                    codec: &shape.codec,
                    serial: self.serial,
                    folder: folder.path(),
                    until_caught_up: false,
                    brokers: 1,
                };
                settle();
                let before = self.snapshot();
                let mut process = Measured::start(task.command(contender)?, &Output::File(task.log()))?;
                let measured = latency::measure(&task, options.latency_rate, options.latency_seconds);
                let usage = process.kill()?;
                let measured = measured.with_context(|| format!("{contender}\n{}", tail(&task.log())))?;
                let mut numbers = Race::numbers(&before, &self.snapshot(), usage);
                numbers.retain(|name, _| matches!(name.as_str(), "cpu_s" | "peak_bytes"));
                numbers.extend(measured);
                println!("latency: round {round}: {contender}: {numbers:?}");
                let shape = shape.clone();
                record.lines.push(Line { kind: Kind::Latency, shape, contender, round, numbers });
                keep(record, &options.out)?;
                self.tidy_up(&destination, |_| true)?;
                self.tidy_up(&source, |topic| topic.starts_with("mm2-") || topic.starts_with("latency-"))?;
            }
        }
        Ok(())
    }

    fn tidy_up(&mut self, bootstrap: &str, ours: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for topic in self.session.topics(bootstrap)? {
            // Internal ones that the session's list has all the same are the brokers' own.
            if ours(&topic) && !topic.starts_with("__") {
                self.session.delete_topic(bootstrap, &topic)?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let broker = |cluster: &Cluster| cluster.process_id(0).map(cpu_of).unwrap_or_default();
        Snapshot {
            at: Instant::now(),
            source: broker(&self.source),
            destination: broker(&self.destination),
            strangers: machine::busy().saturating_sub(family_cpu()),
        }
    }

    /// What a contender took, and what the brokers and strangers took meanwhile.
    fn numbers(before: &Snapshot, after: &Snapshot, usage: Usage) -> BTreeMap<String, f64> {
        let wall = (after.at - before.at).as_secs_f64() * machine::cores() as f64;
        let seconds = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64();
        [
            ("cpu_s", usage.cpu.as_secs_f64()),
            ("peak_bytes", usage.peak_bytes as f64),
            ("source_cpu_s", seconds(after.source, before.source)),
            ("destination_cpu_s", seconds(after.destination, before.destination)),
            ("others_share", seconds(after.strangers, before.strangers) / wall),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

fn size_of_files(log: &[PathBuf]) -> anyhow::Result<u64> {
    let bytes = log.iter().map(|file| Ok(fs::metadata(file)?.len())).sum::<std::io::Result<u64>>();
    bytes.context("cannot read the size of the source's log")
}

/// The same records in the same order in each partition: timestamps, keys, values, headers.
pub(crate) fn same(original: &[PartitionDigest], copy: &[PartitionDigest]) -> bool {
    let contents = |digests: &[PartitionDigest]| -> Vec<(u32, u64, String)> {
        digests.iter().map(|digest| (digest.partition, digest.records, digest.sha256.clone())).collect()
    };
    contents(original) == contents(copy)
}

/// Writes out what earlier copies left in the page cache, so that nobody pays for another's copy.
fn settle() {
    let _ = Command::new("sync").status(); // without it the figures are noisier, no more
}

fn summary(contender: Contender, numbers: &BTreeMap<String, f64>) -> String {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
    let gigabytes = number("bytes") / 1e9;
    format!(
        "{contender}: {:.2} s, first record after {:.2} s, {:.2} CPU-s/GB, peak {:.0} MB, brokers {:.2}+{:.2} CPU-s/GB, \
         others {:.0} %",
        number("copy_s"),
        number("first_s"),
        number("cpu_s") / gigabytes,
        number("peak_bytes") / 1e6,
        number("source_cpu_s") / gigabytes,
        number("destination_cpu_s") / gigabytes,
        100.0 * number("others_share"),
    )
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_whatever_its_offsets() {
        let digest = |first_offset: i64, sha256: &str| PartitionDigest {
            partition: 0,
            records: 5,
            first_offset,
            last_offset: first_offset + 4,
            sha256: sha256.to_owned(),
        };
        assert!(same(&[digest(0, "a")], &[digest(7, "a")]));
        assert!(!same(&[digest(0, "a")], &[digest(0, "b")]));
        assert!(!same(&[digest(0, "a")], &[]));
    }
}
