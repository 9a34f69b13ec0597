//! What a race found, run by run, as a file of tab-separated lines: the page is made from it alone.
//!
//! ```text
//! fact     processor  AMD EPYC
//! run      1KiB/none/full  paralog  1  bytes=1082130432  …
//! latency  1KiB/none/full  paralog  1  source_p50_ms=1.2  …
//! ```
//!
//! [`Kind`] says what else there is.

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
    /// One copy of one partition from a source that is far away.
    SourceFar,
    /// The same to a destination that is far away.
    DestinationFar,
    /// One copy whose maker is killed in the middle and started again.
    Restart,
    /// One stretch in which nothing happens to many topics.
    Idle,
    /// One copy of many gigabytes.
    Long,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Run,
        Kind::Latency,
        Kind::SourceFar,
        Kind::DestinationFar,
        Kind::Restart,
        Kind::Idle,
        Kind::Long,
    ];

    /// As the file has it.
    fn word(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Latency => "latency",
            Kind::SourceFar => "source-far",
            Kind::DestinationFar => "destination-far",
            Kind::Restart => "restart",
            Kind::Idle => "idle",
            Kind::Long => "long",
        }
    }

    fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
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
    fn read(kind: &str, shape: &str, contender: &str, round: &str, numbers: &[&str]) -> anyhow::Result<Line> {
        let numbers = numbers.iter().map(|word| {
            let (name, value) = word.split_once('=').context("a number without a name")?;
            Ok((name.to_owned(), value.parse().with_context(|| word.to_string())?))
        });
        Ok(Line {
            kind: Kind::named(kind).with_context(|| format!("{kind} is no kind of measurement"))?,
            shape: shape.parse()?,
            contender: contender.parse()?,
            round: round.parse().context("the round is no number")?,
            numbers: numbers.collect::<anyhow::Result<_>>()?,
        })
    }

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
            write!(f, "{}\t{}\t{}\t{}", line.kind.word(), line.shape, line.contender, line.round)?;
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
                [kind, shape, contender, round, ref numbers @ ..] => {
                    let line = Line::read(kind, shape, contender, round, numbers)
                        .with_context(|| format!("line {}", at + 1))?;
                    record.lines.push(line);
                }
                _ => bail!("line {} is neither a fact nor a measurement", at + 1),
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
        let mut record = example();
        for (line, kind) in record.lines.iter_mut().zip(Kind::ALL) {
            line.kind = kind;
        }
        assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        for wrong in [
            "what",
            "walk\t1KiB/none/full\tparalog\t1",
            "run\t1KiB/none/full\tparalog\tone",
            "run\t1KiB/none/full\tparalog\t1\tx",
        ] {
            assert!(wrong.parse::<Record>().is_err(), "{wrong}");
        }
    }
}
