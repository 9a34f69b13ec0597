//! What a race found, run by run, as a file of tab-separated lines: the page is made from it alone.
//!
//! ```text
//! fact     processor  AMD EPYC
//! run      1KiB/none/full  paralog  1  bytes=1082130432  …
//! latency  1KiB/none/full  paralog  1  source_p50_ms=1.2  …
//! ```

use crate::{contender::Contender, shape::Shape};
use anyhow::{Context, bail};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// All of a race.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
}

/// What one line measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One copy of a filled topic.
    Run,
    /// One stretch at a steady rate.
    Latency,
}

/// One measurement: numbers by name, units in the names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    pub(crate) contender: Contender,
    pub(crate) round: u32,
    pub(crate) numbers: BTreeMap<String, f64>,
}

impl Record {
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts.iter().find(|(key, _)| key == name).map_or("unknown", |(_, value)| value)
    }

    /// The shapes that were measured, each once, in order.
    pub(crate) fn shapes(&self, kind: Kind) -> Vec<&Shape> {
        let mut shapes: Vec<&Shape> = Vec::new();
        for line in self.lines.iter().filter(|line| line.kind == kind) {
            if !shapes.contains(&&line.shape) {
                shapes.push(&line.shape);
            }
        }
        shapes
    }

    /// The rounds of one contender over one shape.
    pub(crate) fn of<'a>(
        &'a self,
        kind: Kind,
        shape: &'a Shape,
        contender: Contender,
    ) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(move |line| line.kind == kind && line.shape == *shape && line.contender == contender)
    }
}

impl Line {
    /// A number, NaN where it was not measured: medians leave that out.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "fact\t{name}\t{}", value.replace(['\t', '\n'], " "))?;
        }
        for line in &self.lines {
            let kind = match line.kind {
                Kind::Run => "run",
                Kind::Latency => "latency",
            };
            write!(f, "{kind}\t{}\t{}\t{}", line.shape, line.contender, line.round)?;
            for (name, value) in &line.numbers {
                write!(f, "\t{name}={value}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl FromStr for Record {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Record> {
        let mut record = Record::default();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('\t').collect();
            match words[..] {
                ["fact", name, value] => record.facts.push((name.to_owned(), value.to_owned())),
                [kind @ ("run" | "latency"), shape, contender, round, ref numbers @ ..] => {
                    let read = || -> anyhow::Result<Line> {
                        let numbers = numbers.iter().map(|word| {
                            let (name, value) = word.split_once('=').context("a number without a name")?;
                            Ok((name.to_owned(), value.parse().with_context(|| word.to_string())?))
                        });
                        Ok(Line {
                            kind: if kind == "run" { Kind::Run } else { Kind::Latency },
                            shape: shape.parse()?,
                            contender: contender.parse()?,
                            round: round.parse().context("the round is no number")?,
                            numbers: numbers.collect::<anyhow::Result<_>>()?,
                        })
                    };
                    record.lines.push(read().with_context(|| format!("line {}", at + 1))?);
                }
                _ => bail!("line {} is no fact, run or latency", at + 1),
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two rounds of three contenders over one shape, with round numbers.
    pub(crate) fn example() -> Record {
        let mut record = Record {
            facts: vec![("processor".into(), "abacus".into()), ("cores".into(), "2".into())],
            lines: Vec::new(),
        };
        for round in 1..=2 {
            for (contender, cpu_s) in
                [(Contender::Relay, 0.3), (Contender::Paralog, 0.45), (Contender::MirrorTuned, 36.0)]
            {
                let mut numbers = BTreeMap::new();
                let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
                set("bytes", 1e9);
                set("records", 1e6);
                set("cpu_s", cpu_s);
                set("peak_bytes", 20e6);
                set("copy_s", 4.0 + f64::from(round));
                if contender != Contender::Relay {
                    set("first_s", 0.2);
                    set("cpu_first_s", cpu_s / 3.0);
                    set("source_cpu_s", 2.0);
                    set("destination_cpu_s", 4.0);
                }
                set("others_share", 0.01);
                let shape = "1KiB/none/full".parse().unwrap();
                record.lines.push(Line { kind: Kind::Run, shape, contender, round, numbers });
            }
        }
        record
    }

    #[test]
    fn a_record_survives_its_file() {
        let record = example();
        assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        for wrong in ["what", "run\t1KiB/none/full\tparalog\tone", "run\t1KiB/none/full\tparalog\t1\tx"] {
            assert!(wrong.parse::<Record>().is_err(), "{wrong}");
        }
    }
}
