//! What was wanted, against what was measured.

use crate::{
    figures::digits,
    record::Record,
    targets::{Bound, targets},
};
use std::fmt::Write;

/// All targets, in a table.
pub(super) fn target_table(record: &Record) -> String {
    let mut text = "| target | wanted | measured | |\n|---|--:|--:|---|\n".to_owned();
    for target in targets(record) {
        let unit = target.unit;
        let (wanted, miss) = match target.wanted {
            Bound::AtMost(most) => (format!("≤ {} {unit}", digits(most)), target.measured / most),
            Bound::AtLeast(least) => (format!("≥ {} {unit}", digits(least)), least / target.measured),
        };
        let verdict = match target.met() {
            true => "met".to_owned(),
            false if miss.is_finite() => format!("**missed** by a factor of {}", digits(miss)),
            false => "**missed**".to_owned(), // none at all was wanted
        };
        let measured = digits(target.measured);
        let _ = writeln!(text, "| {} | {wanted} | {measured} {unit} | {verdict} |", target.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::example;

    #[test]
    fn a_missed_target_is_called_missed() {
        let text = target_table(&example());
        assert!(text.contains("| ≥ 4.00 × | 1.00 × | **missed** by a factor of 4.00 |"), "{text}");
        assert!(text.contains("| ≤ 1.60 × | 1.50 × | met |"), "{text}");
    }
}
