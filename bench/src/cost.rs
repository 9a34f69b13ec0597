//! What share of the processor time of passing a GB through is the machinery of exactly once.
//!
//! Two figures, taken in turns, so that the machine is in the same state for both: what the engine's own calls take
//! (the measurement beside the engine, in `crates/pipeline/src/cost.rs`, run as the test that it is), and what the
//! whole process takes, by the operating system's account, as it copies from one real broker to another.

use crate::{
    race::{self, Race},
    shape::{Bytes, Shape},
};
use anyhow::{Context, ensure};
use std::{path::PathBuf, process::Command, time::Duration};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How much to copy at a time
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    records: Bytes,

    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// A greater share of full batches, or of batches of 16 KiB, fails the run
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    share_max: f64,

    /// The version of Kafka
    #[arg(long, default_value = "4.3.1")]
    kafka: String,

    /// The program to measure; else the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    paralog: Option<PathBuf>,
}

/// A shape of the race, and the engine's batch that is as large.
const SHAPES: [(&str, u32); 2] = [("1KiB/none/full", 1_000_000), ("1KiB/none/16KiB", 16 << 10)];
/// A copy that takes longer has stopped.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures and prints, a line a round.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "there is at least one round");
    let mut race = Race::start(&options.kafka, race::program(options.paralog.as_deref())?, PATIENCE)?;
    let mut shares = Vec::new();
    for (shape, batch_bytes) in SHAPES {
        let shape: Shape = shape.parse()?;
        let mut rounds = Vec::new();
        race.pass_through(&shape, options.records, options.rounds, |process_ms| {
            let engine = Engine::measure(batch_bytes)?;
            let share = 100.0 * engine.rest_ms / process_ms;
            println!(
                "{shape}: engine {:.2} ms/GB and new headers {:.2} ms/GB, pass-through {process_ms:.0} ms/GB: {share:.2} % \
                 ({:.2} % with the headers)",
                engine.rest_ms,
                engine.headers_ms,
                100.0 * (engine.rest_ms + engine.headers_ms) / process_ms
            );
            rounds.push(share);
            Ok(())
        })?;
        rounds.sort_by(f64::total_cmp);
        shares.push((shape, rounds[rounds.len() / 2]));
    }
    for (shape, share) in &shares {
        println!("{shape}: {share:.2} % in the median");
    }
    for (shape, share) in shares {
        ensure!(
            share <= options.share_max,
            "{shape}: {share:.2} % of pass-through, more than {} %",
            options.share_max
        );
    }
    Ok(())
}

/// Milliseconds a GB of the engine, without I/O.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Engine {
    headers_ms: f64,
    rest_ms: f64,
}

impl Engine {
    fn measure(batch_bytes: u32) -> anyhow::Result<Engine> {
        let arguments =
            ["test", "--release", "--package", "pipeline", "cost", "--", "--ignored", "--nocapture"];
        let output = Command::new("cargo").args(arguments).output().context("cannot run cargo")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "the engine's measurement failed\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Engine::read(&text, batch_bytes).with_context(|| format!("not what the measurement prints:\n{text}"))
    }

    /// From the line about batches of that size.
    fn read(text: &str, batch_bytes: u32) -> Option<Engine> {
        let head = format!("batches of {batch_bytes} bytes:");
        let line = text.lines().find(|line| line.starts_with(&head))?;
        let after = |words: &str| line.split_once(words)?.1.split(' ').next()?.parse().ok();
        Some(Engine { headers_ms: after("new headers ")?, rest_ms: after("the rest ")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_figures_are_read_as_they_are_printed() {
        let text = "running 1 test\nbatches of 16384 bytes: 28.28 ms of engine a GB, of which new headers 3.96 ms, the rest \
                    24.32 ms (378 ns a batch; 11734 events)\n";
        assert_eq!(Engine::read(text, 16384), Some(Engine { headers_ms: 3.96, rest_ms: 24.32 }));
        assert_eq!(Engine::read(text, 1_000_000), None);
    }
}
