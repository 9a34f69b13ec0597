//! Latency at a steady rate.

use crate::{
    contender::Contender,
    figures::{Median, digits},
    record::{Kind, Line, Record},
    targets::added_ms,
};
use std::fmt::Write;

/// The section, empty if nothing was measured.
pub(super) fn latency(record: &Record) -> String {
    let mut text = String::new();
    for shape in record.shapes(Kind::Latency) {
        let _ = writeln!(
            text,
            "## Latency\n\n{} records of 1 KiB a second into 8 partitions, from the producer's call until a consumer has the \
             record, in milliseconds.\n*Added* is a percentile at the copy less the same percentile of a consumer at the source in the same \
             run. Counting starts\nwhen the copy has kept up for 30 s.\n",
            digits(record.fact("latency rate").parse().unwrap_or(f64::NAN)),
        );
        text += "| | source p50 | p99 | p99.9 | destination p50 | p99 | p99.9 | added p50 | p99 | p99.9 |\n";
        text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for contender in Contender::ALL {
            if record.of(Kind::Latency, shape, contender).next().is_none() {
                continue;
            }
            let mut cells = vec![contender.title().to_owned()];
            let mut cell = |figure: &dyn Fn(&Line) -> f64| {
                let median = Median::of(record.of(Kind::Latency, shape, contender).map(figure));
                cells.push(median.map_or_else(String::new, |median| median.to_string()));
            };
            for place in ["source", "destination"] {
                for percentile in ["50", "99", "99.9"] {
                    cell(&|line| line.number(&format!("{place}_p{percentile}_ms")));
                }
            }
            for percentile in ["50", "99", "99.9"] {
                cell(&added_ms(percentile));
            }
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn latency_is_told_as_what_the_copy_adds() {
        let mut record = example();
        record.lines[1].kind = Kind::Latency;
        for (name, value) in [("source_p50_ms", 1.0), ("destination_p50_ms", 3.5)] {
            record.lines[1].numbers.insert(name.into(), value);
        }
        let text = latency(&record);
        assert!(text.contains("| Paralog as shipped | 1.00 |  |  | 3.50 |  |  | 2.50 |  |  |"), "{text}");
    }
}
