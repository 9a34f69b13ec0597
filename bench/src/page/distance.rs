//! Copying over a long way.

use crate::{
    contender::Contender,
    figures::{Median, digits},
    record::{Kind, Line, Record},
    targets::{cpu_per_gb, mb_per_s, round_trips, second_half_mb_per_s},
};
use std::fmt::Write;

/// The section, empty if nothing was measured.
pub(super) fn distance(record: &Record) -> String {
    let mut rows = String::new();
    for (kind, end) in [(Kind::SourceFar, "source"), (Kind::DestinationFar, "destination")] {
        for round_trip_ms in round_trips(record, kind) {
            for contender in Contender::ALL {
                let lines: Vec<&Line> = record
                    .lines
                    .iter()
                    .filter(|line| line.kind == kind && line.contender == contender)
                    .filter(|line| line.number("round_trip_ms") == round_trip_ms)
                    .collect();
                if !lines.is_empty() {
                    let _ = writeln!(rows, "| {end} | {round_trip_ms} | {} |", row(contender, &lines));
                }
            }
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "## Over a long way

One partition of 1 KiB records in 16 KiB batches, and one of the clusters far away. The way is a relay in user space between the
copier and the broker, which passes everything on after half of the round trip in each direction and holds at least 16 MiB; it
loses nothing and has no bound of its own. A connection is there at once: TCP's own handshake and window are not part of it.
*MB/s* is from the first record to the last; *second half* is the same while the second half of what was copied arrived: Paralog
fetches further ahead the more it has copied. Whoever is not done after {patience} s is stopped,
and the figures are of what was copied until then.

| far | round trip, ms | | copied | first record, s | MB/s | second half, MB/s | CPU-s/GB | peak memory, MB |
|---|--:|---|--:|--:|--:|--:|--:|--:|
{rows}
",
        patience = record.fact("distance patience"),
    )
}

fn row(contender: Contender, lines: &[&Line]) -> String {
    let cell = |figure: &dyn Fn(&Line) -> f64| {
        let median = Median::of(lines.iter().map(|line| figure(line)));
        median.map_or_else(String::new, |median| median.to_string())
    };
    let copied = Median::of(lines.iter().map(|line| 100.0 * line.number("copied_share")));
    let cells = [
        contender.title().to_owned(),
        match copied {
            Some(share) if share.least >= 100.0 => "all".to_owned(),
            Some(share) => format!("{} %", digits(share.median)),
            None => String::new(),
        },
        cell(&|line| line.number("first_s")),
        cell(&mb_per_s),
        cell(&second_half_mb_per_s),
        cell(&cpu_per_gb),
        cell(&|line| line.number("peak_bytes") / 1e6),
    ];
    cells.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distance_is_a_row_and_who_was_stopped_says_how_far_it_came() {
        assert_eq!(distance(&Record::default()), "");
        let record: Record = "source-far\t1KiB/none/16KiB\tparalog\t1\tround_trip_ms=20\tcopied_share=1\tbytes=1e9\tfirst_s=1\thalf_s=6\tcopy_s=11\tcpu_s=2\tpeak_bytes=4e7
source-far\t1KiB/none/16KiB\tmm2-tuned\t1\tround_trip_ms=100\tcopied_share=0.25\tbytes=2e8\tfirst_s=20\thalf_s=40\tcopy_s=60\tcpu_s=20\tpeak_bytes=4e8
"
        .parse()
        .unwrap();
        let text = distance(&record);
        assert!(
            text.contains("| source | 20 | Paralog as shipped | all | 1.00 | 100 | 100 | 2.00 | 40.0 |"),
            "{text}"
        );
        assert!(
            text.contains("| source | 100 | MirrorMaker 2 tuned | 25.0 % | 20.0 | 5.00 | 5.00 | 100 | 400 |"),
            "{text}"
        );
    }
}
