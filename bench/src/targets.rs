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

/// The same while the second half of what was copied arrived: read-ahead has grown by then.
pub(crate) fn second_half_mb_per_s(line: &Line) -> f64 {
    line.number("bytes") / 2.0 / 1e6 / (line.number("copy_s") - line.number("half_s"))
}

/// The distances of one kind that were measured, each once, in ms of round trip, in order.
pub(crate) fn round_trips(record: &Record, kind: Kind) -> Vec<f64> {
    let mut round_trips: Vec<f64> = Vec::new();
    for line in record.lines.iter().filter(|line| line.kind == kind) {
        let round_trip_ms = line.number("round_trip_ms");
        if !round_trips.contains(&round_trip_ms) {
            round_trips.push(round_trip_ms);
        }
    }
    round_trips
}

/// All targets that this race can speak about.
pub(crate) fn targets(record: &Record) -> Vec<Target> {
    let mut targets = drain_targets(record);
    targets.extend(latency_targets(record));
    targets.extend(distance_targets(record));
    targets.extend(restart_targets(record));
    targets.extend(idle_targets(record));
    targets.extend(long_targets(record));
    targets.retain(|target| target.measured.is_finite());
    targets
}

/// Every run of Paralog's of one kind, and what is wanted of its median.
fn ours(
    record: &Record,
    kind: Kind,
    what: &str,
    wanted: Bound,
    figure: impl Fn(&Line) -> f64,
    unit: &'static str,
) -> Target {
    let lines = record.lines.iter().filter(|line| line.kind == kind && line.contender == Contender::Paralog);
    let measured = Median::of(lines.map(figure)).map_or(f64::NAN, |median| median.median);
    Target { what: what.to_owned(), wanted, measured, unit }
}

fn distance_targets(record: &Record) -> Vec<Target> {
    let far = |kind, end: &str| {
        let at_100_ms = |line: &Line| {
            if line.number("round_trip_ms") == 100.0 { mb_per_s(line) } else { f64::NAN }
        };
        let what = format!("100 ms round trip to the {end}, one partition, 16 KiB batches");
        ours(record, kind, &what, Bound::AtLeast(50.0), at_100_ms, "MB/s")
    };
    vec![far(Kind::SourceFar, "source"), far(Kind::DestinationFar, "destination")]
}

fn restart_targets(record: &Record) -> Vec<Target> {
    let none = |what: &str, name: &str| {
        ours(record, Kind::Restart, what, Bound::AtMost(0.0), |line| line.number(name), "records")
    };
    vec![none("killed in the middle: lost", "lost"), none("killed in the middle: copied twice", "duplicates")]
}

fn idle_targets(record: &Record) -> Vec<Target> {
    let topics = record
        .lines
        .iter()
        .find(|line| line.kind == Kind::Idle)
        .map(|line| (line.number("topics"), line.number("partitions")));
    let Some((topics, partitions)) = topics else { return Vec::new() };
    let of = |what: &str, most: f64, figure: &dyn Fn(&Line) -> f64, unit| {
        let what = format!("{topics} idle topics, {partitions} partitions: {what}");
        ours(record, Kind::Idle, &what, Bound::AtMost(most), figure, unit)
    };
    vec![
        of("share of a core", 5.0, &|line| 100.0 * line.number("core_share"), "%"),
        of("memory", 200.0, &|line| line.number("resident_bytes") / 1e6, "MB"),
        of("peak memory", 200.0, &|line| line.number("peak_bytes") / 1e6, "MB"),
        // `topic.poll.interval.ms` as shipped.
        of("a new topic has its copy", 120.0, &|line| line.number("noticed_s"), "s"),
    ]
}

fn long_targets(record: &Record) -> Vec<Target> {
    let Some(line) = record.lines.iter().find(|line| line.kind == Kind::Long) else { return Vec::new() };
    let gigabytes = line.number("bytes") / 1e9;
    let what = format!("drain of {gigabytes:.1} GB, {} partitions: peak memory", line.number("partitions"));
    let peak = |line: &Line| line.number("peak_bytes") / 1e6;
    vec![ours(record, Kind::Long, &what, Bound::AtMost(48.0), peak, "MB")]
}

fn drain_targets(record: &Record) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |what: String, wanted: Bound, measured: f64, unit: &'static str| {
        targets.push(Target { what, wanted, measured, unit });
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
    targets
}

fn latency_targets(record: &Record) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |what: &str, wanted: Bound, measured: f64, unit: &'static str| {
        targets.push(Target { what: what.to_owned(), wanted, measured, unit });
    };
    for shape in record.shapes(Kind::Latency) {
        let of =
            |contender, percentile| median(record, Kind::Latency, shape, contender, added_ms(percentile));
        add("added latency, p99", Bound::AtMost(10.0), of(Contender::Paralog, "99"), "ms");
        let mirror = of(Contender::MirrorShipped, "50").min(of(Contender::MirrorTuned, "50"));
        let ratio = of(Contender::Paralog, "50") / mirror;
        add("added latency, p50, against MirrorMaker 2's", Bound::AtMost(1.0), ratio, "×");
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    fn record(kind: &str, numbers: &str) -> Record {
        format!("{kind}\t1KiB/none/16KiB\tparalog\t1\t{}\n", numbers.replace(' ', "\t")).parse().unwrap()
    }

    fn check(kind: &str, numbers: &str, expected: &[(&str, f64, bool)]) {
        let targets = targets(&record(kind, numbers));
        let told: Vec<(&str, f64, bool)> =
            targets.iter().map(|target| (target.what.as_str(), target.measured, target.met())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn over_a_distance_the_whole_copy_counts() {
        let numbers = "round_trip_ms=100 bytes=1e9 first_s=1 half_s=16 copy_s=21";
        let what = |end| format!("100 ms round trip to the {end}, one partition, 16 KiB batches");
        check("source-far", numbers, &[(what("source").as_str(), 50.0, true)]);
        check("destination-far", numbers, &[(what("destination").as_str(), 50.0, true)]);
        check("source-far", "round_trip_ms=20 bytes=1e9 first_s=1 half_s=11 copy_s=21", &[]);
    }

    #[test]
    fn nothing_may_be_lost_or_doubled_by_a_kill() {
        let expected =
            [("killed in the middle: lost", 0.0, true), ("killed in the middle: copied twice", 3.0, false)];
        check("restart", "lost=0 duplicates=3", &expected);
    }

    #[test]
    fn idle_topics_cost_little() {
        let numbers =
            "topics=10 partitions=100 core_share=0.01 resident_bytes=1e8 peak_bytes=3e8 noticed_s=119";
        let expected = [
            ("10 idle topics, 100 partitions: share of a core", 1.0, true),
            ("10 idle topics, 100 partitions: memory", 100.0, true),
            ("10 idle topics, 100 partitions: peak memory", 300.0, false),
            ("10 idle topics, 100 partitions: a new topic has its copy", 119.0, true),
        ];
        check("idle", numbers, &expected);
    }

    #[test]
    fn a_long_drain_stays_small() {
        let expected = [("drain of 10.0 GB, 100 partitions: peak memory", 50.0, false)];
        check("long", "bytes=1e10 partitions=100 peak_bytes=5e7", &expected);
    }

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
