//! The JVM that writes, moves leaders and compares, as Rust calls: see `java/Chaos.java`.

use crate::process::{Measured, Output};
use anyhow::{Context, bail, ensure};
use real_kafka::Distribution;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout},
};

/// One call at a time; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _process: Measured,
}

/// One partition, both sides compared; the source's log is the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) partition: u32,
    pub(crate) original: u64,
    pub(crate) copied: u64,
    pub(crate) lost: u64,
    /// Of the lost ones, those behind the last record of the copy: not reached rather than left out.
    pub(crate) tail: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) changed: u64,
    /// In the copy but not (or no longer) in the source.
    pub(crate) foreign: u64,
    /// The first few, with their offsets.
    pub(crate) examples: Vec<String>,
}

impl Agent {
    /// Starts it; its log goes to the folder. To be called by a thread that lives as long as the agent is needed.
    pub(crate) fn start(kafka: &Distribution, folder: &Path) -> anyhow::Result<Agent> {
        let program = folder.join("Chaos.java");
        fs::write(&program, include_str!("../../java/Chaos.java"))
            .with_context(|| format!("cannot write {}", program.display()))?;
        // Java runs a lone source file as it is.
        let mut java =
            kafka.java_with(&program.display().to_string(), 768, &["-Dlog4j2.level=WARN".to_owned()]);
        java.current_dir(folder);
        let mut process = Measured::start(java, &Output::Conversation(folder.join("agent.log")))?;
        let stdin = process.stdin().context("the agent has no standard input")?;
        let stdout = BufReader::new(process.stdout().context("the agent has no standard output")?);
        let mut agent = Agent { stdin, stdout, _process: process };
        agent.call("ping")?;
        Ok(agent)
    }

    /// Begins to write so many records a second in all; topics as `TOPIC:PARTITIONS:CODEC:AGE_MS`.
    pub(crate) fn write(&mut self, bootstrap: &str, rate: u32, topics: &[String]) -> anyhow::Result<()> {
        self.call(&format!("write {bootstrap} {rate} {}", topics.join(" "))).map(drop)
    }

    /// Stops writing; how many records were acknowledged, and how many refused.
    pub(crate) fn stop_writing(&mut self) -> anyhow::Result<(u64, u64)> {
        let lines = self.call("stop")?;
        let mut numbers = lines.first().map_or("", String::as_str).split(' ').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(written)), Some(Ok(refused))) => Ok((written, refused)),
            _ => bail!("the agent said {lines:?}"),
        }
    }

    /// Puts each partition's replicas in an order and lets the first lead; `TOPIC/PARTITION/FIRST,SECOND,…`.
    pub(crate) fn lead(&mut self, bootstrap: &str, orders: &[String]) -> anyhow::Result<()> {
        self.call(&format!("lead {bootstrap} {}", orders.join(" "))).map(drop)
    }

    /// Asks for an unclean election; `TOPIC/PARTITION`.
    pub(crate) fn elect_unclean(&mut self, bootstrap: &str, partition: &str) -> anyhow::Result<()> {
        self.call(&format!("elect {bootstrap} {partition}")).map(drop)
    }

    /// Reads a topic and its copy to their ends and compares them.
    pub(crate) fn compare(
        &mut self,
        source: &str,
        topic: &str,
        destination: &str,
        copy: &str,
    ) -> anyhow::Result<Vec<Difference>> {
        let lines = self.call(&format!("compare {source} {topic} {destination} {copy}"))?;
        lines
            .iter()
            .map(|line| difference(line).with_context(|| format!("the agent said {line:?}")))
            .collect()
    }

    fn call(&mut self, command: &str) -> anyhow::Result<Vec<String>> {
        writeln!(self.stdin, "{command}").context("the agent is gone; see agent.log")?;
        let mut answer = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).context("the agent is gone; see agent.log")?;
            ensure!(read > 0, "the agent has ended; see agent.log");
            let line = line.trim_end();
            if line == "ok" {
                return Ok(answer);
            }
            if let Some(error) = line.strip_prefix("error ") {
                let verb = command.split(' ').next().unwrap_or_default();
                bail!("the agent cannot {verb}: {error}");
            }
            answer.push(line.strip_prefix("= ").unwrap_or(line).to_owned());
        }
    }
}

fn difference(line: &str) -> Option<Difference> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    Some(Difference {
        partition: u32::try_from(number()?).ok()?,
        original: number()?,
        copied: number()?,
        lost: number()?,
        tail: number()?,
        doubled: number()?,
        reordered: number()?,
        changed: number()?,
        foreign: number()?,
        examples: words.map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_differences_is_read() {
        let read = difference("3 100 101 0 0 1 0 0 0 doubled:number=7,copy-offset=8").unwrap();
        assert_eq!((read.partition, read.copied, read.doubled), (3, 101, 1));
        assert_eq!(read.examples, ["doubled:number=7,copy-offset=8"]);
        assert_eq!(difference("3 100"), None);
    }
}
