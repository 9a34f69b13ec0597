//! The race itself: a narrative from an empty pair of clusters to a page.
//!
//! ```text
//! drain ──▶ steady ──▶ distance ──▶ restart ──▶ long        on one pair of clusters (`pair`)
//! idle                                                      on another
//! ```

mod distance;
mod drain;
mod idle;
mod long;
mod pair;
mod restart;
mod steady;

pub(crate) use pair::{Race, same};

use crate::{
    contender::Contender,
    embedded, machine,
    record::Record,
    shape::{Bytes, Shape, bytes_or_none},
};
use anyhow::{Context, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
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

    /// Further shapes, of half as many bytes, that the relay, Paralog and tuned MirrorMaker 2 race over
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SHAPES",
        default_value = "100B/none/full,10KiB/none/full,1KiB/zstd/full"
    )]
    more_shapes: Vec<Shape>,

    /// How often they do; 0 leaves those shapes out
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    more_rounds: u32,

    /// Who takes part: relay, paralog, paralog-tls, mm2, mm2-tuned, mm2-eos
    #[arg(long, value_delimiter = ',', default_value = "relay,paralog,paralog-tls,mm2,mm2-tuned,mm2-eos")]
    #[arg(default_value_if("embedded", "true", "relay,paralog"))]
    contenders: Vec<Contender>,

    /// How often everyone runs, taking turns; 0 leaves the draining of filled topics out
    #[arg(long, default_value_t = 3)]
    rounds: u32,

    /// In how many of these rounds MirrorMaker 2 takes part: it takes most of the time
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    mirror_rounds: u32,

    /// Records a second for the latency part; 0 leaves it out
    #[arg(long, value_name = "PER-SECOND", default_value_t = 2000)]
    latency_rate: u32,

    /// How long latency is measured at a time
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    latency_seconds: u32,

    /// Round trips to the far cluster in ms, separated by commas; 0 is left out
    #[arg(long, value_delimiter = ',', value_name = "MS", default_value = "20,100,200")]
    distances: Vec<u32>,

    /// How much is copied over each distance, in one partition
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    distance_records: Bytes,

    /// When a copy over a distance is stopped, however far it is
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    distance_patience: u64,

    /// Whether everyone is killed in the middle of a copy, and started again
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    restart: bool,

    /// How many topics of ten partitions idle; 0 leaves that out
    #[arg(long, value_name = "TOPICS", default_value_t = 1000)]
    idle_topics: u32,

    /// How long idling is measured; Paralog looks for new topics every 120 s
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    idle_seconds: u64,

    /// How much Paralog copies in one go, once; 0 leaves that out
    #[arg(long, value_name = "BYTES", default_value = "10GiB", value_parser = bytes_or_none)]
    long: Bytes,

    /// Over how many partitions
    #[arg(long, value_name = "PARTITIONS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    long_partitions: u32,

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
    ensure!(!options.contenders.is_empty(), "a race has contenders");
    let paralog = program(options.paralog.as_deref())?;
    if options.embedded {
        ensure!(options.rounds > 0, "a race between embedded clusters has at least one round");
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

    let result = parts(options, &paralog, &mut record);
    record.facts.push(("load after".to_owned(), machine::load()));
    keep(&record, &options.out)?;
    crate::write_page(&options.out)?; // also of a race that ended early
    result
}

fn parts(options: &Options, paralog: &Path, record: &mut Record) -> anyhow::Result<()> {
    let patience = Duration::from_secs(options.patience);
    let mut race = Race::start(&options.kafka, paralog.to_owned(), patience)?;
    race.drains(options, record)?;
    if options.latency_rate > 0 {
        race.latency(options, record)?;
    }
    race.distance(options, record)?;
    race.restarts(options, record)?;
    race.long(options, record)?;
    drop(race); // the next pair needs the memory
    idle::idle(options, paralog, record)
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
        ("mirror rounds", options.mirror_rounds.to_string()),
        ("more rounds", options.more_rounds.to_string()),
        ("idle seconds", options.idle_seconds.to_string()),
        ("distance patience", options.distance_patience.to_string()),
        ("latency rate", options.latency_rate.to_string()),
        ("latency seconds", options.latency_seconds.to_string()),
    ];
    machine::facts().into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Who runs in a round, in turns: everyone comes after everyone else once.
fn of_round(contenders: &[Contender], round: u32, mirror_rounds: u32) -> Vec<Contender> {
    let takes_part = |contender: &&Contender| round <= mirror_rounds || !contender.is_mirror();
    let mut of_round: Vec<Contender> = contenders.iter().filter(takes_part).copied().collect();
    let turn = (round as usize).saturating_sub(1) % of_round.len().max(1);
    of_round.rotate_left(turn);
    of_round
}

/// Keeps what there is so far: a race that ends early is not lost.
fn keep(record: &Record, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("performance.tsv");
    fs::write(&path, record.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_move_and_mirror_maker_takes_part_in_the_first_rounds() {
        let (relay, paralog, mirror) = (Contender::Relay, Contender::Paralog, Contender::MirrorTuned);
        let all = [relay, paralog, mirror];
        assert_eq!(of_round(&all, 1, 2), [relay, paralog, mirror]);
        assert_eq!(of_round(&all, 2, 2), [paralog, mirror, relay]);
        assert_eq!(of_round(&all, 3, 2), [relay, paralog]);
        assert!(of_round(&[mirror], 2, 1).is_empty());
    }
}
