//! Everyone copies a filled topic, in turns.

use super::{
    Options, keep, of_round,
    pair::{Filled, Race, settle},
};
use crate::{
    contender::Contender,
    record::{Kind, Line, Record},
    relay,
    shape::{Bytes, PARTITIONS, Shape},
    snapshot::Numbers,
};
/// Who races over the further shapes.
const FEW: [Contender; 3] = [Contender::Relay, Contender::Paralog, Contender::MirrorTuned];

impl Race {
    /// All shapes, with everyone, and the further shapes with a few.
    pub(super) fn drains(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        if options.rounds > 0 {
            for shape in &options.shapes {
                self.drain(shape, options.records, options.rounds, &options.contenders, options, record)?;
            }
        }
        let few: Vec<Contender> =
            options.contenders.iter().filter(|contender| FEW.contains(contender)).copied().collect();
        if options.more_rounds > 0 && !few.is_empty() {
            let half = Bytes(options.records.0 / 2);
            for shape in options.more_shapes.iter().filter(|shape| !options.shapes.contains(shape)) {
                self.drain(shape, half, options.more_rounds, &few, options, record)?;
            }
        }
        Ok(())
    }

    /// Everyone copies a filled topic of one shape, in turns.
    fn drain(
        &mut self,
        shape: &Shape,
        bytes: Bytes,
        rounds: u32,
        contenders: &[Contender],
        options: &Options,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let filled = self.filled(shape, bytes, PARTITIONS)?;
        println!("{shape}: {} bytes of log; one copy to warm the brokers up, not counted", filled.bytes);
        self.copy(Contender::Paralog, &filled)?;
        for round in 1..=rounds {
            for contender in of_round(contenders, round, options.mirror_rounds) {
                let numbers = match contender {
                    Contender::Relay => self.relay(&filled)?,
                    _ => self.copy(contender, &filled)?,
                };
                println!("{shape}: round {round}: {}", summary(contender, &numbers));
                record.lines.push(Line { kind: Kind::Run, shape: shape.clone(), contender, round, numbers });
                keep(record, &options.out)?;
            }
        }
        self.empty(&filled)
    }

    fn relay(&mut self, filled: &Filled) -> anyhow::Result<Numbers> {
        settle();
        let before = self.snapshot();
        let relayed = relay::measure(&filled.log)?;
        let mut numbers = before.numbers(&self.snapshot(), relayed.usage);
        numbers.insert("bytes".to_owned(), filled.bytes as f64);
        numbers.insert("records".to_owned(), filled.records as f64);
        numbers.insert("copy_s".to_owned(), relayed.wall.as_secs_f64());
        numbers.remove("source_cpu_s"); // no broker takes part
        numbers.remove("destination_cpu_s");
        Ok(numbers)
    }
}

/// One copy in a line, for who looks on.
pub(super) fn summary(contender: Contender, numbers: &Numbers) -> String {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(f64::NAN);
    let gigabytes = number("bytes") / 1e9;
    format!(
        "{contender}: {:.2} s, first record after {:.2} s, {:.2} CPU-s/GB, peak {:.0} MB, brokers {:.2}+{:.2} CPU-s/GB, \
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
