//! An embedded cluster in a process of its own, so that what it takes is not the contender's, and what both say to
//! each other: a line with a request, a line with the answer.
//!
//! ```text
//! fill TOPIC RECORDS SHAPE    bytes of the log
//! digest TOPIC                records:checksum of each partition
//! write TOPIC FILE            its log, partition after partition
//! wait TOPIC RECORDS MS       when it had so many, in ms since 1970, or `not yet`
//! clear                       deletes all topics
//! ```

use super::fill::fill;
use crate::{
    process::{Measured, Output, now_ms},
    shape::{PARTITIONS, Shape},
};
use anyhow::{Context, bail, ensure};
use embedded_kafka::{Cluster, Config, LogEntry, Profile};
use record_batch::{DECOMPRESSED_BYTES_MAX, Record, records, split};
use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader, BufWriter, Lines, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
    thread,
    time::{Duration, Instant},
};

/// How often a log is looked at that somebody waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The process: says where it listens, then answers until its input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    let cluster = runtime.block_on(Cluster::start(Config::new(1, Profile::V4_3)));
    let cluster = cluster.context("cannot start a cluster")?;
    // Brokers are tasks of that thread; it ends with the process.
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    println!("{}", cluster.bootstrap().join(","));
    for line in std::io::stdin().lines() {
        println!("{}", answer(&cluster, &line.context("cannot read requests")?)?);
    }
    Ok(())
}

fn answer(cluster: &Cluster, request: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = request.split(' ').collect();
    match words[..] {
        ["fill", topic, records, shape] => {
            let shape: Shape = shape.parse()?;
            fill(cluster, topic, &shape, records.parse().context("a number of records")?)?;
            let bytes = (0..partitions(cluster, topic)?).map(|partition| cluster.log_bytes(topic, partition));
            Ok(bytes.sum::<Result<usize, _>>()?.to_string())
        }
        ["digest", topic] => {
            let digests = (0..partitions(cluster, topic)?).map(|partition| digest(cluster, topic, partition));
            Ok(digests.collect::<anyhow::Result<Vec<_>>>()?.join(" "))
        }
        // A path may have spaces.
        ["write", topic, ..] => {
            let path = request.splitn(3, ' ').nth(2).context("no file")?;
            write_log(cluster, topic, Path::new(path)).with_context(|| format!("cannot write {path}"))?;
            Ok("written".to_owned())
        }
        ["wait", topic, records, ms] => {
            let records = records.parse().context("a number of records")?;
            wait(cluster, topic, records, Duration::from_millis(ms.parse().context("a number of ms")?))
        }
        ["clear"] => {
            cluster.topics().iter().for_each(|topic| cluster.delete_topic(topic.as_str()));
            Ok("cleared".to_owned())
        }
        _ => bail!("no such request: {request}"),
    }
}

fn partitions(cluster: &Cluster, topic: &str) -> anyhow::Result<i32> {
    let partitions = cluster.partitions(topic);
    ensure!(partitions > 0, "there is no topic {topic}");
    Ok(partitions)
}

/// Count and checksum of all records of a partition, in order, whatever their offsets and batches.
fn digest(cluster: &Cluster, topic: &str, partition: i32) -> anyhow::Result<String> {
    // Its keys are always the same: what two processes of this program say can be compared.
    let (mut hasher, mut count) = (DefaultHasher::new(), 0_u64);
    for entry in cluster.entries(topic, partition, 0)? {
        for entry in split(whole(&entry).into()) {
            for record in &records(&entry?, DECOMPRESSED_BYTES_MAX)? {
                hash(&record?, &mut hasher);
                count += 1;
            }
        }
    }
    Ok(format!("{count}:{:016x}", hasher.finish()))
}

fn hash(record: &Record<'_>, hasher: &mut DefaultHasher) {
    (record.timestamp, record.key, record.value).hash(hasher);
    record.headers.iter().for_each(|header| header.hash(hasher));
    // Headers end here.
    u8::MAX.hash(hasher);
}

fn whole(entry: &LogEntry) -> Vec<u8> {
    [&entry.head[..], &entry.body[..]].concat()
}

fn write_log(cluster: &Cluster, topic: &str, path: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for partition in 0..partitions(cluster, topic)? {
        for entry in cluster.entries(topic, partition, 0)? {
            file.write_all(&entry.head)?;
            file.write_all(&entry.body)?;
        }
    }
    file.flush().context("cannot write the last of it")
}

fn wait(cluster: &Cluster, topic: &str, records: i64, within: Duration) -> anyhow::Result<String> {
    let deadline = Instant::now() + within;
    loop {
        // Where there is no topic yet there are no records. Nothing but the copy is written there: offsets count it.
        let ends = (0..cluster.partitions(topic)).map(|partition| cluster.high_watermark(topic, partition));
        if ends.sum::<Result<i64, _>>().unwrap_or(0) >= records {
            return Ok(now_ms().to_string());
        }
        if Instant::now() >= deadline {
            return Ok("not yet".to_owned());
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// The other end: a process with a cluster, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Embedded {
    process: Measured,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    log: std::path::PathBuf,
    pub(super) bootstrap: String,
}

impl Embedded {
    /// Starts one; what it complains about goes to a file of this name.
    pub(super) fn start(name: &str, folder: &Path) -> anyhow::Result<Embedded> {
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg("embedded-cluster");
        let mut process = Measured::start(command, &Output::Conversation(log.clone()))?;
        let requests = process.stdin().context("the cluster has no standard input")?;
        let answers = BufReader::new(process.stdout().context("the cluster has no standard output")?).lines();
        let mut cluster = Embedded { process, requests, answers, log, bootstrap: String::new() };
        cluster.bootstrap = cluster.read()?;
        Ok(cluster)
    }

    fn read(&mut self) -> anyhow::Result<String> {
        match self.answers.next() {
            Some(answer) => answer.context("cannot read what the cluster answers"),
            None => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("an embedded cluster has ended: {}", said.trim())
            }
        }
    }

    fn ask(&mut self, request: &str) -> anyhow::Result<String> {
        // If that cannot be written it has ended, and reading says why.
        let _ = writeln!(self.requests, "{request}");
        self.read()
    }

    /// Fills a new topic; the size of its log in bytes.
    pub(super) fn fill(&mut self, topic: &str, shape: &Shape, records: u64) -> anyhow::Result<u64> {
        let bytes = self.ask(&format!("fill {topic} {records} {shape}"))?;
        bytes.parse().with_context(|| format!("not a size: {bytes}"))
    }

    /// Count and checksum of the records of each partition.
    pub(super) fn digest(&mut self, topic: &str) -> anyhow::Result<Vec<String>> {
        let digests: Vec<String> =
            self.ask(&format!("digest {topic}"))?.split(' ').map(str::to_owned).collect();
        ensure!(digests.len() == PARTITIONS as usize, "{topic} has other partitions: {digests:?}");
        Ok(digests)
    }

    /// Writes a topic's log to a file.
    pub(super) fn write(&mut self, topic: &str, file: &Path) -> anyhow::Result<()> {
        self.ask(&format!("write {topic} {}", file.display())).map(drop)
    }

    /// When a topic had so many records, in ms since 1970; `None` if it has not `within` that time.
    pub(super) fn wait(
        &mut self,
        topic: &str,
        records: u64,
        within: Duration,
    ) -> anyhow::Result<Option<i64>> {
        Ok(self.ask(&format!("wait {topic} {records} {}", within.as_millis()))?.parse().ok())
    }

    /// Deletes all topics.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        self.ask("clear").map(drop)
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> Duration {
        self.process.cpu()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_kafka::LogRecord;
    use record_batch::{BatchBuilder, Codec};

    async fn cluster() -> Cluster {
        Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_filled_is_counted_and_written() {
        let cluster = cluster().await;
        let ask = |request: &str| answer(&cluster, request).unwrap();
        let bytes: u64 = ask("fill one 1003 1KiB/none/16KiB").parse().unwrap();
        assert!((1003 * 1024..1003 * 1100).contains(&bytes), "{bytes}");
        let digests = ask("digest one");
        let of = |count: &str| digests.split(' ').filter(|digest| digest.starts_with(count)).count();
        assert_eq!((of("126:"), of("125:")), (3, 5), "{digests}");
        assert!(ask("wait one 1003 0").parse::<i64>().unwrap() > 0);
        assert_eq!(ask("wait one 1004 0"), "not yet");
        assert_eq!(ask("wait two 1 0"), "not yet");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a log");
        ask(&format!("write one {}", file.display()));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), bytes);
        ask("clear");
        for wrong in ["digest one", "fill one x 1KiB/none/16KiB", "dance"] {
            assert!(answer(&cluster, wrong).is_err(), "{wrong}");
        }
    }

    /// Puts records into batches of seven.
    fn copy(cluster: &Cluster, to: &str, records: &[LogRecord]) {
        cluster.create_topic(to, 1, &[]);
        for some in records.chunks(7) {
            let mut builder = BatchBuilder::new(Codec::Lz4);
            for record in some {
                builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &[]);
            }
            cluster.place(to, 0, builder.build()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_copy_in_other_batches_has_the_same_checksum_and_one_that_differs_has_not() {
        let cluster = cluster().await;
        answer(&cluster, "fill one 400 1KiB/none/16KiB").unwrap();
        let mut records = cluster.records("one", 0).unwrap();
        let original = digest(&cluster, "one", 0).unwrap();
        assert!(original.starts_with("50:"), "{original}");
        copy(&cluster, "same", &records);
        assert_eq!(digest(&cluster, "same", 0).unwrap(), original);
        records.swap(3, 4);
        copy(&cluster, "swapped", &records);
        records.swap(3, 4);
        records[49].timestamp += 1;
        copy(&cluster, "later", &records);
        for other in ["swapped", "later"] {
            assert_ne!(digest(&cluster, other, 0).unwrap(), original, "{other}");
        }
    }
}
