//! Latency at a steady rate, everyone in turn.

use super::{
    Options, keep, of_round,
    pair::{Job, Race, Way, settle},
};
use crate::{
    contender::Contender,
    latency,
    record::{Kind, Line, Record},
    shape::{PARTITIONS, Shape},
};
use anyhow::Context;

/// The relay copies no topics, and what TLS costs shows in draining.
fn has_latency(contender: Contender) -> bool {
    !matches!(contender, Contender::Relay | Contender::ParalogTls)
}

impl Race {
    /// Latency at a steady rate, everyone in turn.
    pub(super) fn latency(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        let shape: Shape = "1KiB/none/16KiB".parse().expect("it is well formed");
        let source = self.source.bootstrap.clone();
        let contenders: Vec<Contender> =
            options.contenders.iter().filter(|contender| has_latency(**contender)).copied().collect();
        let mut serial = 0;
        for round in 1..=options.rounds {
            for contender in of_round(&contenders, round, options.mirror_rounds) {
                serial += 1;
                let topic = format!("latency-{serial}");
                // Made first: MirrorMaker 2 looks for new topics every ten minutes.
                self.session.create_topic(&source, &topic, PARTITIONS, 1, &[])?;
                let copier = self.copier(&Job {
                    contender,
                    topic: &topic,
                    shape: &shape,
                    way: Way::Direct,
                    until_caught_up: false,
                })?;
                settle();
                let before = self.snapshot();
                let mut process = copier.start()?;
                let measured =
                    latency::measure(&copier.task(), options.latency_rate, options.latency_seconds);
                let usage = process.kill()?;
                let measured = measured.with_context(|| format!("{contender}\n{}", copier.tail()))?;
                let mut numbers = before.numbers(&self.snapshot(), usage);
                numbers.retain(|name, _| matches!(name.as_str(), "cpu_s" | "peak_bytes"));
                numbers.extend(measured);
                println!("latency: round {round}: {contender}: {numbers:?}");
                let shape = shape.clone();
                record.lines.push(Line { kind: Kind::Latency, shape, contender, round, numbers });
                keep(record, &options.out)?;
                self.tidy_up()?;
                self.session.delete_topic(&source, &topic)?;
            }
        }
        Ok(())
    }
}
