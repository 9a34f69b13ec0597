//! `cargo xtask golden`: captures log segments that real brokers of each version wrote, and what their own
//! consumers read from them, for record-batch's tests.
//!
//! The records depend on their number only and their times are given, so that a second capture differs only
//! where a broker puts in something of its own (append times, producer ids).

use crate::test::VERSIONS;
use anyhow::{Context, ensure};
use real_kafka::{Cluster, Config, Distribution, Fill, Session, StoredRecord, Transaction, wait_until};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

/// 2026-01-01T00:00:00Z: a time that no retention deletes, for `retention.ms` is -1.
const TIME: i64 = 1_767_225_600_000;

/// Captures everything anew: `broker-VERSION-CASE.bin` and its `.json`, see the README there.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    for version in VERSIONS {
        let kafka = Distribution::resolve(version)?;
        let config = Config::brokers(1).with("log.cleaner.backoff.ms", "200");
        let cluster = Cluster::start(&kafka, &config)?;
        let session = kafka.session()?;
        let folder = crate::root().join("crates/record-batch/tests/golden");
        let mut capture = Capture { folder, cluster, session };
        capture.codecs()?;
        capture.transactions()?;
        capture.append_time()?;
        let fill = Fill::varied(40, 1).codec("lz4").with("keys", "12");
        capture.compacted("compacted", &[], &fill)?;
        if version == "1.1.1" {
            capture.old_formats()?;
        }
        println!("captured {version}");
    }
    Ok(ExitCode::SUCCESS)
}

struct Capture {
    folder: PathBuf,
    cluster: Cluster,
    session: Session,
}

impl Capture {
    /// Each codec, several batches, the same records.
    fn codecs(&mut self) -> anyhow::Result<()> {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            if codec == "zstd" && !self.cluster.kafka().version().knows_zstd() {
                continue;
            }
            let name = format!("codec-{codec}");
            self.topic(&name, &[])?;
            self.fill(&name, &Fill::varied(11, 1).codec(codec))?;
            self.store(&name, "each kind of key, value and header")?;
        }
        Ok(())
    }

    /// Committed and aborted transactions with their markers.
    fn transactions(&mut self) -> anyhow::Result<()> {
        let name = "transactions";
        self.topic(name, &[])?;
        let transaction = Transaction { records: 2, abort_every: 2 };
        self.fill(name, &Fill::plain(8, 1).codec("lz4").transactions("golden", transaction))?;
        self.fill(name, &Fill::plain(2, 1).first(8))?;
        self.store(name, "two records a transaction, each second one aborted, then two outside of any")
    }

    fn append_time(&mut self) -> anyhow::Result<()> {
        let name = "append-time";
        self.topic(name, &[("message.timestamp.type", "LogAppendTime")])?;
        self.fill(name, &Fill::plain(4, 1).codec("gzip"))?;
        self.store(name, "a topic with message.timestamp.type=LogAppendTime")
    }

    /// Gaps within batches and between them, tombstones, delete horizons where the version writes them.
    fn compacted(&mut self, name: &str, settings: &[(&str, &str)], fill: &Fill) -> anyhow::Result<()> {
        let mut all =
            vec![("cleanup.policy", "compact"), ("segment.ms", "10"), ("min.cleanable.dirty.ratio", "0.01")];
        all.extend(settings);
        self.topic(name, &all)?;
        self.fill(name, fill)?;
        self.fill(name, &fill.clone().first(40).with("records", "2"))?; // the last segment stays as it is
        wait_until(&format!("{name} to be compacted"), Duration::from_secs(60), || {
            let left = self.read(name, false).map_or(usize::MAX, |records| records.len());
            Ok((left < 30).then_some(())) // of 42
        })?;
        // Compaction may still go on; what is captured and what is read must be of one moment.
        loop {
            let log = self.log(name)?;
            self.store(name, "twelve keys, compacted in segments of 10 ms")?;
            if self.log(name)? == log {
                return Ok(());
            }
        }
    }

    /// Message sets of magic 0 and 1, which the broker makes of what the producer sends.
    fn old_formats(&mut self) -> anyhow::Result<()> {
        for (magic, version) in [("v0", "0.9.0"), ("v1", "0.10.2")] {
            for codec in ["none", "gzip", "snappy", "lz4"] {
                let name = format!("{magic}-{codec}");
                self.topic(&name, &[("message.format.version", version)])?;
                self.fill(&name, &Fill::headerless(9, 1).codec(codec))?;
                self.store(&name, &format!("message.format.version={version}"))?;
            }
            let fill = Fill::headerless(40, 1).codec("gzip").with("keys", "12");
            self.compacted(
                &format!("{magic}-gzip-compacted"),
                &[("message.format.version", version)],
                &fill,
            )?;
        }
        Ok(())
    }

    fn topic(&mut self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut all = vec![("retention.ms", "-1")];
        all.extend(settings);
        Ok(self.session.create_topic(&self.cluster.bootstrap(), name, 1, 1, &all)?)
    }

    /// With several batches: one is full at 500 bytes.
    fn fill(&mut self, name: &str, fill: &Fill) -> anyhow::Result<()> {
        let fill = fill.clone().times_from(TIME).with("batch.size", "500");
        Ok(self.session.fill(&self.cluster.bootstrap(), name, &fill)?)
    }

    fn log(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.cluster.stored_log(0, name, 0)?)
    }

    fn read(&mut self, name: &str, committed: bool) -> anyhow::Result<Vec<StoredRecord>> {
        Ok(self.session.dump(&self.cluster.bootstrap(), name, committed)?)
    }

    fn store(&mut self, name: &str, note: &str) -> anyhow::Result<()> {
        let log = self.log(name)?;
        ensure!(!log.is_empty(), "the log of {name} is empty");
        let version = self.cluster.kafka().version();
        let file = self.folder.join(format!("broker-{version}-{name}.bin"));
        fs::write(&file, log).with_context(|| format!("cannot write {}", file.display()))?;

        let records: Vec<String> =
            self.read(name, false)?.iter().map(|record| json(record).to_string()).collect();
        let committed: Vec<i64> = self.read(name, true)?.iter().map(|record| record.offset).collect();
        let text = format!(
            "{{\"kafka\":\"broker {version}\",\"note\":\"{note}\",\"committed\":{},\"records\":[\n{}\n]}}\n",
            Value::from(committed),
            records.join(",\n")
        );
        let file = file.with_extension("json");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn json(record: &StoredRecord) -> Value {
    let hex = |bytes: &Option<Vec<u8>>| -> Value {
        let digits = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        bytes.as_ref().map(digits).into()
    };
    let headers: Vec<Value> = record.headers.iter().map(|(name, value)| json!([name, hex(value)])).collect();
    json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": hex(&record.key),
        "value": hex(&record.value),
        "headers": headers,
    })
}
