//! What the project wants to reach, held against what was measured in the same race.

use crate::{
    contender::Contender,
    figures::Median,
    record::{Kind, Line, Record},
    shape::{Batch, Shape},
};

/// One wish and how it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: Bound,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    pub(crate) fn met(&self) -> bool {
        match self.wanted {
            Bound::AtMost(most) => self.measured <= most,
            Bound::AtLeast(least) => self.measured >= least,
        }
    }
}

/// The median of what `figure` says of each run of one contender over one shape; NaN if there is none.
pub(crate) fn median(
    record: &Record,
    kind: Kind,
    shape: &Shape,
    contender: Contender,
    figure: impl Fn(&Line) -> f64,
) -> f64 {
    Median::of(record.of(kind, shape, contender).map(figure)).map_or(f64::NAN, |median| median.median)
}

/// Processor seconds for a gigabyte (10⁹ bytes) of the source's log.
pub(crate) fn cpu_per_gb(line: &Line) -> f64 {
    line.number("cpu_s") / (line.number("bytes") / 1e9)
}

/// The same once the first record had arrived: without the start of a JVM.
pub(crate) fn cpu_per_gb_after_first(line: &Line) -> f64 {
    (line.number("cpu_s") - line.number("cpu_first_s")) / (line.number("bytes") / 1e9)
}

/// From the first record's arrival (from the start, for the relay) to the last one's.
pub(crate) fn moving_s(line: &Line) -> f64 {
    line.number("copy_s") - line.numbers.get("first_s").copied().unwrap_or(0.0)
}

/// Megabytes of the source's log a second while records arrived.
pub(crate) fn mb_per_s(line: &Line) -> f64 {
    line.number("bytes") / 1e6 / moving_s(line)
}

/// Milliseconds that the copy adds to what a consumer at the source sees.
pub(crate) fn added_ms(percentile: &str) -> impl Fn(&Line) -> f64 {
    let (source, destination) = (format!("source_p{percentile}_ms"), format!("destination_p{percentile}_ms"));
    move |line| line.number(&destination) - line.number(&source)
}

/// All targets that this race can speak about.
pub(crate) fn targets(record: &Record) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |what: String, wanted: Bound, measured: f64, unit: &'static str| {
        if measured.is_finite() {
            targets.push(Target { what, wanted, measured, unit });
        }
    };
    for shape in record.shapes(Kind::Run) {
        let of =
            |contender, figure: &dyn Fn(&Line) -> f64| median(record, Kind::Run, shape, contender, figure);
        let ours = |figure: &dyn Fn(&Line) -> f64| of(Contender::Paralog, figure);
        let to_relay = ours(&cpu_per_gb) / of(Contender::Relay, &cpu_per_gb);
        let to_tuned = of(Contender::MirrorTuned, &cpu_per_gb) / ours(&cpu_per_gb);
        let secured = of(Contender::ParalogTls, &cpu_per_gb) / ours(&cpu_per_gb);
        match shape.batch {
            Batch::Full => {
                add(
                    format!("{shape}: CPU per GB with TLS against without"),
                    Bound::AtMost(2.5),
                    secured,
                    "×",
                );
                add(format!("{shape}: CPU per GB against the relay's"), Bound::AtMost(1.6), to_relay, "×");
                add(
                    format!("{shape}: tuned MirrorMaker 2's CPU per GB against ours"),
                    Bound::AtLeast(30.0),
                    to_tuned,
                    "×",
                );
                let faster = ours(&mb_per_s) / of(Contender::MirrorTuned, &mb_per_s);
                add(
                    format!("{shape}: MB/s against tuned MirrorMaker 2's, both warm"),
                    Bound::AtLeast(4.0),
                    faster,
                    "×",
                );
                let peak = ours(&|line| line.number("peak_bytes") / 1e6);
                add(format!("{shape}: peak memory"), Bound::AtMost(48.0), peak, "MB");
            }
            Batch::Bytes16Ki => {
                add(format!("{shape}: CPU per GB against the relay's"), Bound::AtMost(4.0), to_relay, "×");
            }
            Batch::One => {
                let faster = ours(&mb_per_s) / of(Contender::MirrorShipped, &mb_per_s);
                add(
                    format!("{shape}: records a second against MirrorMaker 2's"),
                    Bound::AtLeast(3.0),
                    faster,
                    "×",
                );
                let cpu = ours(&cpu_per_gb) / of(Contender::MirrorShipped, &cpu_per_gb);
                add(format!("{shape}: CPU per record against MirrorMaker 2's"), Bound::AtMost(1.0), cpu, "×");
            }
        }
        let first = ours(&|line| 1000.0 * line.number("first_s"));
        add(format!("{shape}: start to first record"), Bound::AtMost(300.0), first, "ms");
    }
    for shape in record.shapes(Kind::Latency) {
        let of =
            |contender, percentile| median(record, Kind::Latency, shape, contender, added_ms(percentile));
        add("added latency, p99".to_owned(), Bound::AtMost(10.0), of(Contender::Paralog, "99"), "ms");
        let mirror = of(Contender::MirrorShipped, "50").min(of(Contender::MirrorTuned, "50"));
        let ratio = of(Contender::Paralog, "50") / mirror;
        add("added latency, p50, against MirrorMaker 2's".to_owned(), Bound::AtMost(1.0), ratio, "×");
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn targets_compare_medians_of_the_same_race() {
        let targets = targets(&example());
        let find = |what: &str| targets.iter().find(|target| target.what.contains(what)).unwrap();
        let relay = find("against the relay's");
        assert!((relay.measured - 1.5).abs() < 1e-9 && relay.met());
        assert!((find("CPU per GB against ours").measured - 80.0).abs() < 1e-9);
        let faster = find("MB/s against tuned");
        assert!((faster.measured - 1.0).abs() < 1e-9 && !faster.met());
        assert!(
            !targets.iter().any(|target| target.what.contains("latency")),
            "nothing is said of what was not run"
        );
    }
}
