//! Medians and ranges, and numbers as people read them.

use std::fmt;

/// The median of several measurements of the same thing, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Median {
    /// None of nothing, or of what is not a number. Of an even count, the mean of the middle two.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Median> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Median { median, least, most })
    }
}

impl fmt::Display for Median {
    /// `12.3 (11.9–14)`; the range only where it differs in what is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, least, most) = (digits(self.median), digits(self.least), digits(self.most));
        if least == median && most == median {
            return f.write_str(&median);
        }
        write!(f, "{median} ({least}–{most})")
    }
}

/// A number to two or three digits that count, without an exponent, thousands apart.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size < 0.1 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    if !rest.is_empty() {
        text.push('.');
        text += rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_its_ends() {
        let median = Median::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(median, Median { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Median::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Median::of([]), None);
        assert_eq!(Median::of([f64::NAN]), None);
    }

    #[test]
    fn numbers_are_written_with_the_digits_that_count() {
        let written = [0.0, 0.0123, 0.456, 3.456, 12.34, 123.4, 1234.0, 1_234_567.0, -1234.0].map(digits);
        assert_eq!(written, ["0", "0.012", "0.46", "3.46", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
    }

    #[test]
    fn a_range_that_shows_nothing_is_left_out() {
        assert_eq!(Median { median: 1.0, least: 0.999, most: 1.001 }.to_string(), "1.00");
        assert_eq!(Median { median: 10.0, least: 9.5, most: 12.0 }.to_string(), "10.0 (9.50–12.0)");
    }
}
