//! A pair of clusters of one broker each, and one copy from one to the other: measured, verified, removed again.
//!
//! Each broker has a second way to it, through a [`Wire`]: a copier that is given that address is told by the broker to
//! stay on it, and is as far away as the wire says.

use crate::{
    contender::{Contender, Secured, Task, jvm_as_shipped},
    process::{Measured, Output, Usage, cpu_of},
    shape::{Bytes, PARTITIONS, Shape},
    snapshot::{Numbers, Snapshot},
    wire::Wire,
};
use anyhow::{Context, bail, ensure};
use real_kafka::{Cluster, Config, Distribution, Error, Listener, PartitionDigest, Session, Stores};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// A pair of clusters, and what is needed to copy from one to the other.
pub(crate) struct Race {
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) session: Session,
    kafka: Distribution,
    stores: Stores,
    paralog: PathBuf,
    serial: u32,
    pub(super) patience: Duration,
}

/// A cluster of one broker.
pub(super) struct Side {
    cluster: Cluster,
    /// Past the wire.
    pub(super) bootstrap: String,
    pub(super) wire: Wire,
    /// Through it.
    wired: String,
}

/// A filled topic of the source.
pub(super) struct Filled {
    pub(super) shape: Shape,
    pub(super) topic: String,
    pub(super) records: u64,
    pub(super) original: Vec<PartitionDigest>,
    /// The segments of its log.
    pub(super) log: Vec<PathBuf>,
    /// Of the log.
    pub(super) bytes: u64,
}

/// What one copy is to be like.
pub(super) struct Job<'a> {
    pub(super) contender: Contender,
    /// A name, or a pattern of several.
    pub(super) topic: &'a str,
    pub(super) shape: &'a Shape,
    pub(super) way: Way,
    pub(super) until_caught_up: bool,
}

/// Which cluster the copier reaches through its wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    SourceWired,
    DestinationWired,
}

impl<'a> Job<'a> {
    /// A copy of a filled topic, which ends when it has caught up.
    pub(super) fn drain(contender: Contender, filled: &'a Filled, way: Way) -> Job<'a> {
        Job { contender, topic: &filled.topic, shape: &filled.shape, way, until_caught_up: true }
    }
}

/// A copier that can be started, and started again: settings, progress and log lie in a folder of its own.
pub(super) struct Copier {
    kafka: Distribution,
    paralog: PathBuf,
    stores: Stores,
    tls: [String; 2],
    source: String,
    destination: String,
    topic: String,
    codec: String,
    contender: Contender,
    serial: u32,
    until_caught_up: bool,
    /// Removed with this.
    folder: tempfile::TempDir,
}

impl Side {
    fn start(kafka: &Distribution, config: Config) -> anyhow::Result<Side> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let port = listener.local_addr().context("cannot tell the port")?.port();
        // Free a moment ago: the broker says so if it is taken by then.
        let behind = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
            listener.local_addr().context("cannot tell the port")?.port()
        };
        let config = config
            .with("listeners", format!("{{default}},WIRE://127.0.0.1:{behind}"))
            .with("advertised.listeners", format!("{{default}},WIRE://127.0.0.1:{port}"))
            .with("listener.security.protocol.map", "{default},WIRE:PLAINTEXT");
        let cluster = Cluster::start(kafka, &config)?;
        let wire = Wire::start(listener, behind);
        Ok(Side { bootstrap: cluster.bootstrap(), cluster, wire, wired: format!("127.0.0.1:{port}") })
    }

    fn address(&self, wired: bool) -> String {
        if wired { self.wired.clone() } else { self.bootstrap.clone() }
    }

    pub(super) fn cpu(&self) -> Duration {
        self.cluster.process_id(0).map(cpu_of).unwrap_or_default()
    }

    /// The segments of a topic's log.
    fn log_files(&self, topic: &str, partitions: u32) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for partition in 0..partitions {
            let folder = self.cluster.folder().join("disk-0").join(format!("{topic}-{partition}"));
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
}

impl Copier {
    pub(super) fn task(&self) -> Task<'_> {
        let [source, destination] = &self.tls;
        Task {
            kafka: &self.kafka,
            paralog: &self.paralog,
            source: &self.source,
            destination: &self.destination,
            secured: Some(Secured { source, destination, stores: &self.stores }),
            topic: &self.topic,
            codec: &self.codec,
            serial: self.serial,
            folder: self.folder.path(),
            until_caught_up: self.until_caught_up,
            brokers: 1,
        }
    }

    /// Starts it, with a new log; it goes on where an earlier start came to, if it can.
    pub(super) fn start(&self) -> anyhow::Result<Measured> {
        let task = self.task();
        Measured::start(task.command(self.contender)?, &Output::File(task.log()))
    }

    /// The end of its log.
    pub(super) fn tail(&self) -> String {
        tail(&self.task().log())
    }
}

impl Race {
    /// Starts both clusters, of one broker each.
    pub(crate) fn start(kafka: &str, paralog: PathBuf, patience: Duration) -> anyhow::Result<Race> {
        Race::start_with(kafka, paralog, patience, 1024, |config| config)
    }

    /// The same with this much heap for each broker, and further settings.
    pub(super) fn start_with(
        kafka: &str,
        paralog: PathBuf,
        patience: Duration,
        heap_mb: u32,
        further: impl Fn(Config) -> Config,
    ) -> anyhow::Result<Race> {
        let kafka = Distribution::resolve(kafka)?;
        let stores = Stores::make(&kafka)?;
        let config = jvm_as_shipped(&format!("{heap_mb}m"))
            .into_iter()
            .fold(Config::brokers(1), Config::jvm_option)
            .heap_mb(heap_mb)
            .with("num.network.threads", "3")
            .with("num.io.threads", "8")
            .secured(&stores);
        Ok(Race {
            source: Side::start(&kafka, further(config.clone()))?,
            destination: Side::start(&kafka, further(config))?,
            session: kafka.session()?,
            kafka,
            stores,
            paralog,
            serial: 0,
            patience,
        })
    }

    /// Fills a topic of one shape.
    pub(super) fn filled(&mut self, shape: &Shape, bytes: Bytes, partitions: u32) -> anyhow::Result<Filled> {
        let (topic, records) = (shape.topic(partitions), shape.records(bytes.0));
        println!("{shape}: filling {records} records into {partitions} partitions");
        let source = &self.source.bootstrap;
        self.session.create_topic(source, &topic, partitions, 1, &[])?;
        self.session.fill(source, &topic, &shape.fill(records, partitions))?;
        let original = self.session.digest(source, &topic, false)?;
        let log = self.source.log_files(&topic, partitions)?;
        let bytes = size_of_files(&log)?;
        Ok(Filled { shape: shape.clone(), topic, records, original, log, bytes })
    }

    /// Deletes a filled topic.
    pub(super) fn empty(&mut self, filled: &Filled) -> anyhow::Result<()> {
        Ok(self.session.delete_topic(&self.source.bootstrap, &filled.topic)?)
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
        let filled = self.filled(shape, bytes, PARTITIONS)?;
        self.copy(Contender::Paralog, &filled)?; // warms the brokers up
        for _ in 0..rounds {
            let numbers = self.copy(Contender::Paralog, &filled)?;
            let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
            ensure!(number("verified") > 0.0, "{shape}: the copy differs from its original");
            each(number("cpu_s") * 1e3 / (filled.bytes as f64 / 1e9))?;
        }
        self.empty(&filled)
    }

    /// A copier with a folder of its own, and names that no other copy has had.
    pub(super) fn copier(&mut self, job: &Job<'_>) -> anyhow::Result<Copier> {
        self.serial += 1;
        let tls = [&self.source, &self.destination].map(|side| side.cluster.bootstrap_of(Listener::Tls));
        Ok(Copier {
            kafka: self.kafka.clone(),
            paralog: self.paralog.clone(),
            stores: self.stores.clone(),
            tls,
            source: self.source.address(job.way == Way::SourceWired),
            destination: self.destination.address(job.way == Way::DestinationWired),
            topic: job.topic.to_owned(),
            codec: job.shape.codec.clone(),
            contender: job.contender,
            serial: self.serial,
            until_caught_up: job.until_caught_up,
            folder: tempfile::tempdir().context("cannot create a folder")?,
        })
    }

    /// One copy, verified, and removed again.
    pub(super) fn copy(&mut self, contender: Contender, filled: &Filled) -> anyhow::Result<Numbers> {
        let copier = self.copier(&Job::drain(contender, filled, Way::Direct))?;
        let copied = copier.task().destination_topic();
        settle();
        let before = self.snapshot();
        let mut process = copier.start()?;
        let started_ms = process.started_ms();
        let mut first_ms = self.wait_for(&mut process, &copier, &copied, 1)?;
        if contender.commits() {
            let at_once = (Duration::ZERO, self.patience);
            let destination = &self.destination.bootstrap;
            (_, first_ms) = self.session.wait_until_still(destination, &copied, true, 1, at_once)?;
        }
        let cpu_first = process.cpu();
        let mut last_ms = self.wait_for(&mut process, &copier, &copied, filled.records)?;
        let mut after = self.snapshot();
        if contender.commits() {
            // Its markers take offsets, too: so many offsets are not so many records.
            let complete = self.until_complete(&copied, true, filled)?;
            (last_ms, after) = (complete.grew_ms, complete.then);
        }
        let usage = ended(process, &copier)?;
        let mut numbers = before.numbers(&after, usage);
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("bytes", filled.bytes as f64);
        set("records", filled.records as f64);
        set("first_s", seconds_between(started_ms, first_ms));
        set("copy_s", seconds_between(started_ms, last_ms));
        set("cpu_first_s", cpu_first.as_secs_f64());
        set("verified", self.verified(contender, filled, &copied)?);
        self.tidy_up()?;
        Ok(numbers)
    }

    /// 1 if the copy is the same as its original, else 0, and what differs is told.
    pub(super) fn verified(
        &mut self,
        contender: Contender,
        filled: &Filled,
        copied: &str,
    ) -> anyhow::Result<f64> {
        let copy = self.session.digest(&self.destination.bootstrap, copied, contender.commits())?;
        let same = same(&filled.original, &copy);
        if !same {
            eprintln!("{contender}: THE COPY DIFFERS\nsource {:#?}\ncopy {copy:#?}", filled.original);
        }
        Ok(f64::from(u8::from(same)))
    }

    /// Waits until the copy holds that many records; when that was, in ms since 1970. Ends early if its maker does.
    pub(super) fn wait_for(
        &mut self,
        process: &mut Measured,
        copier: &Copier,
        topic: &str,
        records: u64,
    ) -> anyhow::Result<i64> {
        let seen = self.wait_within(process, copier, topic, records, self.patience)?;
        seen.with_context(|| {
            let seconds = self.patience.as_secs();
            format!("{topic} has no {records} records after {seconds} s\n{}", copier.tail())
        })
    }

    /// The same with a bound of its own; None if that is reached.
    pub(super) fn wait_within(
        &mut self,
        process: &mut Measured,
        copier: &Copier,
        topic: &str,
        records: u64,
        within: Duration,
    ) -> anyhow::Result<Option<i64>> {
        const SLICE: Duration = Duration::from_secs(5);
        let deadline = Instant::now() + within;
        loop {
            // Asked before the records are looked for: what it did until then is seen.
            let ended = process.ended()?;
            let slice = SLICE.min(deadline.saturating_duration_since(Instant::now()));
            match self.session.wait_for_records(&self.destination.bootstrap, topic, records, slice) {
                Ok(seen_ms) => return Ok(Some(seen_ms)),
                Err(Error::TimedOut { .. }) if ended.is_none() && Instant::now() < deadline => {}
                Err(Error::TimedOut { .. }) if ended.is_none() => return Ok(None),
                Err(error) => bail!("{error}\n{}", copier.tail()),
            }
        }
    }

    /// Removes all copies, and what MirrorMaker 2 left at the source.
    pub(super) fn tidy_up(&mut self) -> anyhow::Result<()> {
        self.delete_topics(&self.destination.bootstrap.clone(), |_| true)?;
        self.delete_topics(&self.source.bootstrap.clone(), |topic| topic.starts_with("mm2-"))
    }

    fn delete_topics(&mut self, bootstrap: &str, ours: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let topics = self.session.topics(bootstrap)?;
        // Internal ones that the session's list has all the same are the brokers' own.
        let ours: Vec<&str> = topics
            .iter()
            .map(String::as_str)
            .filter(|topic| ours(topic) && !topic.starts_with("__"))
            .collect();
        // With thousands of partitions in one request, a broker answers late.
        for some in ours.chunks(50) {
            self.session.delete_topics(bootstrap, some)?;
        }
        Ok(())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::now(self.source.cpu(), self.destination.cpu())
    }
}

/// Ends a copier that has copied all: Paralog ends by itself, and its ending counts.
pub(super) fn ended(mut process: Measured, copier: &Copier) -> anyhow::Result<Usage> {
    if !copier.contender.is_paralog() {
        return process.kill();
    }
    let usage = process.wait(Duration::from_secs(60))?;
    ensure!(usage.success, "paralog failed\n{}", copier.tail());
    Ok(usage)
}

pub(super) fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    (to_ms - from_ms) as f64 / 1000.0
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
pub(super) fn settle() {
    let _ = Command::new("sync").status(); // without it the figures are noisier, no more
}

pub(super) fn tail(log: &Path) -> String {
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
