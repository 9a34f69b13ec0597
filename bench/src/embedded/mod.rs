//! `bench race --embedded`: the same race without Java, between two clusters of `embedded-kafka`.
//!
//! Quick, and for comparing one's own changes: these brokers keep their logs in memory and cost little, so neither the
//! speed nor the latency of a copy is what real ones allow. A contender's processor time and memory are its own all the same:
//! each cluster is a process, this program started with another command.
//!
//! MirrorMaker 2 needs Java and takes no part; nor does TLS, which these brokers do not speak.

pub(crate) mod cluster;
mod fill;

use crate::{
    chart,
    contender::{Contender, paralog_command},
    machine, page,
    process::{Measured, Output},
    record::{Kind, Line, Record},
    relay,
    shape::{Bytes, PARTITIONS, Shape},
    snapshot::{Numbers, Snapshot},
};
use anyhow::{Context, bail, ensure};
use cluster::Embedded;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The race that is wanted, of the options of every race.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) records: Bytes,
    pub(crate) shapes: &'a [Shape],
    pub(crate) contenders: &'a [Contender],
    pub(crate) rounds: u32,
    pub(crate) patience: Duration,
    pub(crate) paralog: PathBuf,
    pub(crate) out: &'a Path,
}

/// How long Paralog may take to end once all is copied.
const ENDING_MAX: Duration = Duration::from_secs(60);

/// Runs the race and writes its record and its page.
pub(crate) fn run(wanted: &Wanted<'_>) -> anyhow::Result<()> {
    check(wanted)?;
    fs::create_dir_all(wanted.out).with_context(|| format!("cannot create {}", wanted.out.display()))?;
    let mut record = Record { facts: facts(wanted), lines: Vec::new() };
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let mut race = Race {
        source: Embedded::start("source", folder.path())?,
        destination: Embedded::start("destination", folder.path())?,
        wanted,
        serial: 0,
    };
    for shape in wanted.shapes {
        race.drain(shape, &mut record)?;
    }
    record.facts.push(("load after".to_owned(), machine::load()));
    write(&record, wanted.out)
}

/// What cannot take part is told before anything is started.
fn check(wanted: &Wanted<'_>) -> anyhow::Result<()> {
    ensure!(wanted.rounds > 0, "a race has at least one round");
    let (contenders, out) = (wanted.contenders, wanted.out);
    if let Some(other) = contenders.iter().find(|it| !matches!(it, Contender::Relay | Contender::Paralog)) {
        bail!("with --embedded only relay and paralog take part, not {other}: {}", why_not(*other));
    }
    ensure!(!contenders.is_empty(), "a race has contenders");
    // What real clusters gave lies there.
    ensure!(!out.ends_with("docs"), "a race with --embedded is not for {}", out.display());
    Ok(())
}

fn why_not(contender: Contender) -> &'static str {
    match contender {
        Contender::ParalogTls => "embedded brokers speak no TLS",
        _ => "it needs Java",
    }
}

fn facts(wanted: &Wanted<'_>) -> Vec<(String, String)> {
    let own = [
        ("kafka", "embedded-kafka, as 4.3".to_owned()),
        ("paralog", machine::said(&wanted.paralog, &["--version"]).unwrap_or_default()),
        ("commit", machine::commit()),
        ("records", wanted.records.to_string()),
        ("rounds", wanted.rounds.to_string()),
    ];
    let machine = machine::facts().into_iter().filter(|(name, _)| *name != "java");
    machine.chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn write_record(record: &Record, folder: &Path) -> anyhow::Result<()> {
    write_file(folder, "performance.tsv", &record.to_string())
}

fn write_file(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn write(record: &Record, folder: &Path) -> anyhow::Result<()> {
    let tables = page::tables(record);
    let facts: String = record.facts.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    write_record(record, folder)?;
    write_file(folder, "performance.svg", &chart::chart(record))?;
    write_file(
        folder,
        "performance.md",
        &format!(
            "# Performance between embedded clusters\n\nBy `cargo xtask bench race --embedded`: for comparing changes of \
             Paralog with each other. The brokers are not Kafka, and the targets are not about them.\n\n{tables}\n{facts}"
        ),
    )?;
    println!("{tables}\nwritten: {}", folder.join("performance.md").display());
    Ok(())
}

struct Race<'a> {
    source: Embedded,
    destination: Embedded,
    wanted: &'a Wanted<'a>,
    /// Names no other copy has had.
    serial: u32,
}

impl Race<'_> {
    /// Everyone copies a filled topic of one shape, in turns.
    fn drain(&mut self, shape: &Shape, record: &mut Record) -> anyhow::Result<()> {
        let (topic, records) = (shape.topic(PARTITIONS), shape.records(self.wanted.records.0));
        println!("{shape}: filling {records} records");
        let bytes = self.source.fill(&topic, shape, records)?;
        let original = self.source.digest(&topic)?;
        let log = tempfile::NamedTempFile::new().context("cannot create a file for the log")?;
        if self.wanted.contenders.contains(&Contender::Relay) {
            self.source.write(&topic, log.path())?;
        }
        for round in 1..=self.wanted.rounds {
            // Everyone comes after everyone else once.
            let turn = (round as usize - 1) % self.wanted.contenders.len();
            let (later, sooner) = self.wanted.contenders.split_at(turn);
            for &contender in sooner.iter().chain(later) {
                let mut numbers = match contender {
                    Contender::Relay => self.relay(log.path())?,
                    _ => self.copy(&topic, &original, records)?,
                };
                numbers.insert("bytes".to_owned(), bytes as f64);
                numbers.insert("records".to_owned(), records as f64);
                println!("{shape}: round {round}: {}", summary(contender, &numbers));
                record.lines.push(Line { kind: Kind::Run, shape: shape.clone(), contender, round, numbers });
                // A race that ends early is not lost.
                write_record(record, self.wanted.out)?;
            }
        }
        self.source.clear()
    }

    fn relay(&mut self, log: &Path) -> anyhow::Result<Numbers> {
        let before = self.snapshot();
        let relayed = relay::measure(&[log.to_owned()])?;
        let mut numbers = before.numbers(&self.snapshot(), relayed.usage);
        numbers.insert("copy_s".to_owned(), relayed.wall.as_secs_f64());
        numbers.remove("source_cpu_s"); // no broker takes part
        numbers.remove("destination_cpu_s");
        Ok(numbers)
    }

    /// One copy by Paralog, verified, and removed again.
    fn copy(&mut self, topic: &str, original: &[String], records: u64) -> anyhow::Result<Numbers> {
        self.serial += 1;
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let (prefix, log) = (format!("source{}", self.serial), folder.path().join("contender.log"));
        let copied = format!("{prefix}.{topic}");
        let (source, destination) = (&self.source.bootstrap, &self.destination.bootstrap);
        let mut command = paralog_command(&self.wanted.paralog, source, destination, topic, &prefix);
        command.arg("--until-caught-up").current_dir(folder.path());
        let before = self.snapshot();
        let mut process = Measured::start(command, &Output::File(log.clone()))?;
        let started_ms = process.started_ms();
        let first_ms = self.wait_for(&mut process, &log, &copied, 1)?;
        let cpu_first = process.cpu();
        let last_ms = self.wait_for(&mut process, &log, &copied, records)?;
        let after = self.snapshot();
        // It ends by itself, and its ending counts.
        let usage =
            process.wait(ENDING_MAX).with_context(|| format!("paralog has copied all\n{}", said(&log)))?;
        ensure!(usage.success, "paralog failed\n{}", said(&log));
        let copy = self.destination.digest(&copied)?;
        ensure!(copy == original, "THE COPY DIFFERS\nsource {original:#?}\ncopy {copy:#?}");
        self.destination.clear()?;
        let mut numbers = before.numbers(&after, usage);
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("first_s", (first_ms - started_ms) as f64 / 1000.0);
        set("copy_s", (last_ms - started_ms) as f64 / 1000.0);
        set("cpu_first_s", cpu_first.as_secs_f64());
        set("verified", 1.0);
        Ok(numbers)
    }

    /// Waits until the copy holds that many records; when that was, in ms since 1970.
    fn wait_for(
        &mut self,
        process: &mut Measured,
        log: &Path,
        topic: &str,
        records: u64,
    ) -> anyhow::Result<i64> {
        let started = Instant::now();
        loop {
            // Asked before the records are looked for: what it did until then is seen.
            let ended = process.ended()?;
            if let Some(seen_ms) = self.destination.wait(topic, records, Duration::from_secs(1))? {
                return Ok(seen_ms);
            }
            ensure!(ended.is_none(), "paralog ended before {topic} had {records} records\n{}", said(log));
            ensure!(
                started.elapsed() < self.wanted.patience,
                "{topic} has not {records} records\n{}",
                said(log)
            );
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::now(self.source.cpu(), self.destination.cpu())
    }
}

fn summary(contender: Contender, numbers: &Numbers) -> String {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
    let gigabytes = number("bytes") / 1e9;
    format!(
        "{contender}: {:.2} s, first record after {:.3} s, {:.3} CPU-s/GB, peak {:.0} MB, brokers {:.2}+{:.2} CPU-s/GB, \
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

/// What a process said before it ended or was given up.
fn said(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_take_part_is_told_and_the_page_of_real_clusters_stays() {
        let wanted = |contenders: &'static [Contender], out: &'static str| Wanted {
            records: Bytes(1 << 20),
            shapes: &[],
            contenders,
            rounds: 1,
            patience: Duration::from_secs(1),
            paralog: PathBuf::new(),
            out: Path::new(out),
        };
        let refused = |contenders, out| check(&wanted(contenders, out)).err().map(|error| error.to_string());
        assert_eq!(refused(&[Contender::Relay, Contender::Paralog], "target/bench"), None);
        let mirror = refused(&[Contender::Paralog, Contender::MirrorTuned], "target/bench").unwrap();
        assert!(mirror.ends_with("not mm2-tuned: it needs Java"), "{mirror}");
        assert!(refused(&[Contender::ParalogTls], "target/bench").unwrap().contains("no TLS"));
        assert!(refused(&[Contender::Paralog], "./docs").is_some());
        assert!(refused(&[], "target/bench").is_some());
    }
}
