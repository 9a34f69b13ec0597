//! What the brokers and strangers take while a contender copies.

use crate::{
    machine,
    process::{Usage, family_cpu},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Figures by name, units in the names.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// Consumption of everyone but the contender, up to one moment.
pub(crate) struct Snapshot {
    at: Instant,
    source: Duration,
    destination: Duration,
    /// Whoever is no child of ours: what else the machine has to do.
    strangers: Duration,
}

impl Snapshot {
    /// Now, when both sides' brokers have taken so much.
    pub(crate) fn now(source: Duration, destination: Duration) -> Snapshot {
        let strangers = machine::busy().saturating_sub(family_cpu());
        Snapshot { at: Instant::now(), source, destination, strangers }
    }

    /// What a contender took, and what the brokers and strangers took from `self` to `after`.
    pub(crate) fn numbers(&self, after: &Snapshot, usage: Usage) -> Numbers {
        let wall = (after.at - self.at).as_secs_f64() * machine::cores() as f64;
        let seconds = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64();
        [
            ("cpu_s", usage.cpu.as_secs_f64()),
            ("peak_bytes", usage.peak_bytes as f64),
            ("source_cpu_s", seconds(after.source, self.source)),
            ("destination_cpu_s", seconds(after.destination, self.destination)),
            ("others_share", seconds(after.strangers, self.strangers) / wall),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
