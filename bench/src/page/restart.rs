//! Killed in the middle.

use crate::{
    contender::Contender,
    figures::{Median, digits},
    record::{Kind, Line, Record},
    targets::cpu_per_gb,
};
use std::fmt::Write;

/// The section, empty if nothing was measured.
pub(super) fn restart(record: &Record) -> String {
    let mut text = String::new();
    for shape in record.shapes(Kind::Restart) {
        let first = record.lines.iter().find(|line| line.kind == Kind::Restart && line.shape == *shape);
        let records = digits(first.map_or(f64::NAN, |line| line.number("records")));
        let _ = writeln!(
            text,
            "## Killed in the middle

`{shape}`, {records} records: the copier is killed (`SIGKILL`) when half of them have arrived, and started again with the same settings
when what it had sent has arrived, 0.3 s later at the least, its files and its topics as they are. *Goes on* is from its second start until the next new record could be read at the
destination; *whole copy* is from the first start until the last one could. Each record has a number: those that came more than
once, and those that never came, are counted one by one at the end, when nothing has changed for 2 s. Of MirrorMaker 2 exactly once,
as of everyone who uses transactions, only what is committed counts.

| | goes on, s | whole copy, s | copied twice | lost | CPU-s/GB, both lives | peak memory, MB |
|---|--:|--:|--:|--:|--:|--:|"
        );
        for contender in Contender::ALL {
            if record.of(Kind::Restart, shape, contender).next().is_none() {
                continue;
            }
            let cell = |figure: &dyn Fn(&Line) -> f64| {
                Median::of(record.of(Kind::Restart, shape, contender).map(figure))
                    .map_or_else(String::new, |median| median.to_string())
            };
            let count = |name: &str| {
                let count =
                    Median::of(record.of(Kind::Restart, shape, contender).map(|line| line.number(name)));
                count.map_or_else(String::new, |count| count.median.to_string())
            };
            let cells = [
                contender.title().to_owned(),
                cell(&|line| line.number("resume_s")),
                cell(&|line| line.number("copy_s")),
                count("duplicates"),
                count("lost"),
                cell(&cpu_per_gb),
                cell(&|line| line.number("peak_bytes") / 1e6),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_twice_and_what_is_lost_is_told() {
        assert_eq!(restart(&Record::default()), "");
        let line = "restart\t1KiB/none/16KiB\tmm2\t1\trecords=1000\tbytes=1e9\tresume_s=12\tcopy_s=30\tduplicates=17\tlost=0\tcpu_s=40\tpeak_bytes=5e8\n";
        let text = restart(&line.parse().unwrap());
        assert!(text.contains("`1KiB/none/16KiB`, 1,000 records"), "{text}");
        assert!(text.contains("| MirrorMaker 2 as shipped | 12.0 | 30.0 | 17 | 0 | 40.0 | 500 |"), "{text}");
    }
}
