//! What it takes to keep many topics in step: planning them, and watching them when nothing changes.
//!
//! Both are measured beside the code, as tests that are run by this alone: planning in
//! `crates/topology/tests/ten_thousand.rs`, and watching in `crates/control/tests/ten_thousand.rs`, where the
//! clusters are threads of the same process that are not counted.

use crate::machine;
use anyhow::{Context, ensure};
use std::{fs, path::PathBuf, process::Command};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many topics, of one partition each
    #[arg(long, default_value_t = 10_000)]
    topics: u32,

    /// A plan that takes more fails the run
    #[arg(long, value_name = "MS", default_value_t = 2_000.0)]
    planning_max: f64,

    /// Where to write the table
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// One line of the table.
#[derive(Debug, PartialEq)]
struct Line {
    what: String,
    figure: String,
}

/// Measures, prints the table, and checks it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut lines = measure("topology", options.topics)?;
    lines.extend(measure("control", options.topics)?);
    let table = table(&lines);
    println!("{table}");
    if let Some(path) = &options.report {
        fs::write(path, &table).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    for line in lines.iter().filter(|line| line.what.starts_with("planning ")) {
        let ms = line.cpu_ms().with_context(|| format!("not a figure in ms: {line:?}"))?;
        ensure!(ms <= options.planning_max, "{}: {ms} ms, more than {} ms", line.what, options.planning_max);
    }
    Ok(())
}

fn measure(package: &str, topics: u32) -> anyhow::Result<Vec<Line>> {
    let arguments = [
        "test",
        "--release",
        "--package",
        package,
        "--test",
        "ten_thousand",
        "--",
        "--ignored",
        "--nocapture",
    ];
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).env("PARALOG_BENCH_TOPICS", topics.to_string());
    let output = cargo.output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the measurement of {package} failed\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = read(&text);
    ensure!(!lines.is_empty(), "not what the measurement of {package} prints:\n{text}");
    Ok(lines)
}

fn read(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let (what, figure) = line.split_once("measured: ")?.1.split_once(" | ")?;
        Some(Line { what: what.to_owned(), figure: figure.to_owned() })
    };
    text.lines().filter_map(line).collect()
}

impl Line {
    fn cpu_ms(&self) -> Option<f64> {
        self.figure.strip_suffix(" ms of CPU")?.parse().ok()
    }
}

fn table(lines: &[Line]) -> String {
    let facts = machine::facts();
    let fact = |name: &str| {
        facts.iter().find(|(fact, _)| *fact == name).map_or("unknown", |(_, said)| said.as_str())
    };
    let mut text = format!(
        "Measured {} at {} on {} cores of {}, {}, Linux {}; load before {}.\n\n| | |\n|---|---|\n",
        fact("date"),
        machine::commit(),
        fact("cores"),
        fact("processor"),
        fact("memory"),
        fact("kernel"),
        fact("load before")
    );
    for Line { what, figure } in lines {
        text += &format!("| {what} | {figure} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read_as_they_are_printed() {
        let text = "running 1 test\nmeasured: planning 10 topics, all new | 12.5 ms of CPU\n\
                    test what ... measured: a poll | 1.0 requests\nok\n";
        let lines = read(text);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].what.as_str(), lines[0].cpu_ms()), ("planning 10 topics, all new", Some(12.5)));
        assert_eq!((lines[1].figure.as_str(), lines[1].cpu_ms()), ("1.0 requests", None));
    }
}
