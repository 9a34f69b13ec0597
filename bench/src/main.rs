//! The race: Paralog, MirrorMaker 2 and a bare relay copy the same log, one after the other, on one machine.
//!
//! ```text
//! fill ──▶ (relay | Paralog | MirrorMaker 2 …) × rounds ──▶ verify ──▶ runs (TSV) ──▶ page, chart
//! shape    contender, process, relay           race        race      record         page, chart
//! ```
//!
//! The same pair of clusters is copied over long ways, through a kill, and for ten gigabytes; another pair holds a
//! thousand topics that idle. See [`race`].
//!
//! Whatever is measured is a process of its own, so that the operating system's account of it is the whole
//! truth; the relay is therefore this same program, started with another command. `cargo xtask bench` builds
//! this and Paralog in release and runs it; nothing here uses a crate of the product, but [`embedded`], the race without Java,
//! the clusters of its demo.
//!
//! Beside it, and with the same contenders, [`chaos`]: no figures of speed, but what is lost, doubled and reordered, and
//! how long a copy stands still, while everything fails; [`kill_loop`], how much of a log is fetched twice by one who
//! is killed all the time; and [`topics`], what many topics cost that nothing happens to.

// It prints, reads clocks and waits for other processes: it is a chore, not the product.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod chaos;
mod chart;
mod contender;
mod cost;
mod embedded;
mod figures;
mod kill_loop;
mod latency;
mod machine;
mod page;
mod process;
mod race;
mod record;
mod relay;
mod shape;
mod snapshot;
mod targets;
mod topics;
mod wire;

use anyhow::Context;
use clap::Parser;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "The race against MirrorMaker 2 and a bare relay, and chaos",
    disable_help_subcommand = true
)]
enum Cli {
    /// Fill a topic, let everyone copy it in turn, verify every copy, write the page and its chart
    Race(race::Options),
    /// Write the page and its chart again from the runs that an earlier race kept
    Page {
        /// The folder with performance.tsv; the page goes beside it
        #[arg(long, default_value = "docs")]
        out: PathBuf,
    },
    /// Copy between two clusters of three brokers while everything fails, compare both sides, say who stalled
    Chaos(chaos::Options),
    /// What share of the processor time of passing a GB through is the machinery of exactly once
    Cost(cost::Options),
    /// Kill Paralog again and again while it drains a log, compare both sides, count what was fetched twice
    KillLoop(kill_loop::Options),
    /// What planning and watching ten thousand topics takes
    Topics(topics::Options),
    /// Copy one connection to another and end: what the race runs as its physical floor
    #[command(hide = true)]
    Relay {
        /// Where to connect to
        sink: SocketAddr,
    },
    /// Be one cluster of a race with --embedded, and do what standard input says
    #[command(hide = true)]
    EmbeddedCluster,
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Race(options) => race::run(&options),
        Cli::Page { out } => write_page(&out),
        Cli::Chaos(options) => chaos::run(&options),
        Cli::Cost(options) => cost::run(&options),
        Cli::KillLoop(options) => kill_loop::run(&options),
        Cli::Topics(options) => topics::run(&options),
        Cli::Relay { sink } => relay::serve(sink),
        Cli::EmbeddedCluster => embedded::cluster::serve(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes `performance.md` and `performance.svg` beside the `performance.tsv` that is there.
fn write_page(folder: &Path) -> anyhow::Result<()> {
    let runs = folder.join("performance.tsv");
    let text = std::fs::read_to_string(&runs).with_context(|| format!("cannot read {}", runs.display()))?;
    let record = text.parse::<record::Record>().with_context(|| format!("in {}", runs.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let notes = std::fs::read_to_string(folder.join("performance-notes.md")).ok(); // there need be none
    write("performance.md", page::page(&record, notes.as_deref()))?;
    write("performance.svg", chart::chart(&record))?;
    println!("{}", page::tables(&record));
    println!("written: {}", folder.join("performance.md").display());
    Ok(())
}
