//! Much: thousands of partitions that idle, and a drain of many gigabytes.

use crate::{
    contender::Contender,
    figures::digits,
    record::{Kind, Line, Record},
    targets::{cpu_per_gb, mb_per_s},
};
use std::fmt::Write;

const MADE_BEFOREHAND: &str = "
MirrorMaker 2 asks for all its topics, and one of its own, in one request, and a controller refuses one for more than 10,000
partitions (`PolicyViolationException: Excessively large number of partitions per request`): its copies were made beforehand.";

/// The section on idle topics, empty if nothing was measured.
pub(super) fn idle(record: &Record) -> String {
    let mut rows = String::new();
    for line in lines(record, Kind::Idle) {
        let known = |name: &str, otherwise: &str| {
            let number = line.number(name);
            if number.is_finite() { digits(number) } else { otherwise.to_owned() }
        };
        let cells = [
            line.contender.title().to_owned(),
            known("created_s", "made beforehand"),
            digits(line.number("created_cpu_s")),
            digits(100.0 * line.number("core_share")),
            digits(line.number("resident_bytes") / 1e6),
            digits(line.number("peak_bytes") / 1e6),
            known("noticed_s", "not awaited"),
        ];
        let _ = writeln!(rows, "| {} |", cells.join(" | "));
    }
    let Some(line) = lines(record, Kind::Idle).next() else { return rows };
    let made_beforehand = lines(record, Kind::Idle).any(|line| !line.number("created_s").is_finite());
    let why = if made_beforehand { MADE_BEFOREHAND } else { "" };
    format!(
        "## Idle topics

{topics} topics of ten partitions, {partitions} in all, selected by a pattern, and a record in one of them. *All copies* is from the
start until each topic has its copy; then, when the record has arrived and it has become quiet, {seconds} s in which nothing
happens: the share of a core, and the memory at their end. *New topic* is from a further topic's creation at the source, with one
record, until that could be read at the destination. Paralog looks for new topics every two minutes (`topic.poll.interval.ms`),
MirrorMaker 2 every ten (`refresh.topics.interval.seconds=600`), which was not awaited.{why}

| | all copies, s | CPU-s until quiet | then of a core, % | memory, MB | peak memory, MB | new topic, s |
|---|--:|--:|--:|--:|--:|--:|
{rows}
",
        topics = line.number("topics"),
        partitions = line.number("partitions"),
        seconds = record.fact("idle seconds"),
    )
}

/// The section on one long drain, empty if nothing was measured.
pub(super) fn long(record: &Record) -> String {
    let mut text = String::new();
    for line in lines(record, Kind::Long) {
        let _ = writeln!(
            text,
            "## A long drain

`{}`, {} GB of log in {} partitions, {} alone, once: {} s, {} MB/s, {} CPU-s/GB, peak memory {} MB.
",
            line.shape,
            digits(line.number("bytes") / 1e9),
            line.number("partitions"),
            line.contender.title(),
            digits(line.number("copy_s")),
            digits(mb_per_s(line)),
            digits(cpu_per_gb(line)),
            digits(line.number("peak_bytes") / 1e6),
        );
    }
    text
}

fn lines(record: &Record, kind: Kind) -> impl Iterator<Item = &Line> {
    let of = move |contender| {
        record.lines.iter().filter(move |line| line.kind == kind && line.contender == contender)
    };
    Contender::ALL.into_iter().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_awaited_has_no_figure() {
        assert_eq!(idle(&Record::default()), "");
        let record: Record = "idle\t1KiB/none/one\tmm2\t1\ttopics=10\tpartitions=100\tcreated_cpu_s=25\tcore_share=0.1\tresident_bytes=5e8\tpeak_bytes=6e8
idle\t1KiB/none/one\tparalog\t1\ttopics=10\tpartitions=100\tcreated_s=2\tcreated_cpu_s=1\tcore_share=0.01\tresident_bytes=5e7\tpeak_bytes=6e7\tnoticed_s=61
"
        .parse()
        .unwrap();
        let text = idle(&record);
        assert!(text.contains("10 topics of ten partitions, 100 in all"), "{text}");
        let rows = "| Paralog as shipped | 2.00 | 1.00 | 1.00 | 50.0 | 60.0 | 61.0 |
| MirrorMaker 2 as shipped | made beforehand | 25.0 | 10.0 | 500 | 600 | not awaited |";
        assert!(text.contains(rows), "{text}");
    }

    #[test]
    fn a_long_drain_is_one_sentence() {
        assert_eq!(long(&Record::default()), "");
        let line = "long\t1KiB/none/full\tparalog\t1\tbytes=1e10\tpartitions=100\tfirst_s=0.5\tcopy_s=40.5\tcpu_s=4\tpeak_bytes=4e7\n";
        let text = long(&line.parse().unwrap());
        assert!(
            text.contains("10.0 GB of log in 100 partitions, Paralog as shipped alone, once: 40.5 s, 250 MB/s, 0.40 CPU-s/GB, peak memory 40.0 MB."),
            "{text}"
        );
    }
}
