//! Copying a filled topic: the ratios, and a table for each shape.

use crate::{
    contender::Contender,
    figures::{Median, digits},
    record::{Kind, Line, Record},
    shape::Shape,
    targets::{cpu_per_gb, cpu_per_gb_after_first, mb_per_s, median, moving_s},
};
use std::fmt::Write;

/// The ratios that people ask for first.
pub(super) fn summary(record: &Record) -> String {
    let mut text = String::new();
    for shape in record.shapes(Kind::Run) {
        let of =
            |contender, figure: &dyn Fn(&Line) -> f64| median(record, Kind::Run, shape, contender, figure);
        let cpu = |contender| of(contender, &cpu_per_gb);
        let ours = cpu(Contender::Paralog);
        let mut parts = Vec::new();
        let to_relay = ours / cpu(Contender::Relay);
        if to_relay.is_finite() {
            parts.push(format!("{} × the CPU of a bare relay", digits(to_relay)));
        }
        let secured = cpu(Contender::ParalogTls) / ours;
        if secured.is_finite() {
            parts.push(format!("{} × as much with TLS on both sides", digits(secured)));
        }
        for mirror in [Contender::MirrorShipped, Contender::MirrorTuned, Contender::MirrorExactlyOnce] {
            let (less, faster) =
                (cpu(mirror) / ours, of(Contender::Paralog, &mb_per_s) / of(mirror, &mb_per_s));
            if less.is_finite() && faster.is_finite() {
                let title = mirror.title();
                parts.push(format!("1/{less:.0} of the CPU and {} × the MB/s of {title}", digits(faster)));
            }
        }
        if !parts.is_empty() {
            let _ = write!(text, "- `{shape}`: Paralog takes {}.", parts.join("; "));
            let cores = record.fact("cores").parse().unwrap_or(f64::NAN);
            let share = |figure: &dyn Fn(&Line) -> f64| {
                100.0 * of(Contender::Paralog, &|line| figure(line) / (line.number("copy_s") * cores))
            };
            let brokers = share(&|line| line.number("source_cpu_s") + line.number("destination_cpu_s"));
            if brokers.is_finite() {
                let _ = write!(
                    text,
                    " While it copied, the two brokers took {} % of the machine and Paralog {} %.",
                    digits(brokers),
                    digits(share(&|line| line.number("cpu_s")))
                );
            }
            text.push('\n');
        }
    }
    if !text.is_empty() {
        text.insert_str(0, "A shape is record size / codec / batch size.\n\n");
    }
    text
}

/// A table for each shape.
pub(super) fn drains(record: &Record) -> String {
    let mut text = String::new();
    for shape in record.shapes(Kind::Run) {
        let _ = writeln!(text, "### {}\n", describe(record, shape));
        text += "| | first record, s | whole copy, s | MB/s | records/s | CPU-s/GB | CPU-s/GB, warm | × relay | peak memory, MB | brokers, CPU-s/GB |\n";
        text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        let relay = median(record, Kind::Run, shape, Contender::Relay, cpu_per_gb);
        for contender in Contender::ALL {
            if record.of(Kind::Run, shape, contender).next().is_none() {
                continue;
            }
            let cell = |figure: &dyn Fn(&Line) -> f64| {
                Median::of(record.of(Kind::Run, shape, contender).map(figure))
                    .map_or_else(String::new, |median| median.to_string())
            };
            let to_relay = median(record, Kind::Run, shape, contender, cpu_per_gb) / relay;
            let cells = [
                contender.title().to_owned(),
                cell(&|line| line.number("first_s")),
                cell(&|line| line.number("copy_s")),
                cell(&mb_per_s),
                cell(&|line| line.number("records") / moving_s(line)),
                cell(&cpu_per_gb),
                cell(&cpu_per_gb_after_first),
                if to_relay.is_finite() { digits(to_relay) } else { String::new() },
                cell(&|line| line.number("peak_bytes") / 1e6),
                cell(&|line| {
                    (line.number("source_cpu_s") + line.number("destination_cpu_s"))
                        / (line.number("bytes") / 1e9)
                }),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn describe(record: &Record, shape: &Shape) -> String {
    let line = record.lines.iter().find(|line| line.kind == Kind::Run && line.shape == *shape);
    let number = |name| line.map_or(f64::NAN, |line| line.number(name));
    format!("`{shape}`: {} records, {} MB of log", digits(number("records")), digits(number("bytes") / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn a_table_has_medians_and_ranges_and_the_relay_as_measure() {
        let text = drains(&example());
        let row = |title: &str| text.lines().find(|line| line.contains(title)).unwrap().to_owned();
        assert_eq!(
            row("Paralog"),
            "| Paralog as shipped | 0.20 | 5.50 (5.00–6.00) | 190 (172–208) | 190,374 (172,414–208,333) \
             | 0.45 | 0.30 | 1.50 | 20.0 | 6.00 |"
        );
        assert!(row("bare").starts_with("| bare TCP relay |  | 5.50"));
    }

    #[test]
    fn the_summary_shows_who_is_the_limit() {
        let text = summary(&example());
        assert!(text.contains("Paralog takes 1.50 × the CPU of a bare relay; 1/80 of the CPU"), "{text}");
        assert!(text.contains("the two brokers took 55.0 % of the machine and Paralog 4.12 %"), "{text}");
    }
}
