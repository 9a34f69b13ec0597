//! What config providers gave, kept out of messages.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::entry::{Entry, Place, is_secret};
use crate::providers::replace_references;
use crate::report::Report;
use crate::value::{Secret, trim};

/// The values that config providers gave, and what messages show in their place.
#[derive(Clone, Debug, Default)]
pub struct Provided {
    /// The longest first, so that a value is found before its parts.
    values: Vec<Value>,
}

/// A value, or one part of it between commas.
#[derive(Clone, Debug)]
struct Value {
    words: Secret,
    /// What stands in the file.
    shown: Arc<str>,
    key: String,
    place: Place,
}

impl Provided {
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Provided {
        let mut values: Vec<Value> = entries.into_iter().flat_map(Value::of).collect();
        values.sort_by_key(|value| Reverse(value.words.reveal().len()));
        Provided { values }
    }

    /// `text` with what stands in the file in the place of values, and of parts of them, that are no other word.
    pub fn hidden(&self, text: &str) -> String {
        let distinct = self.values.iter().filter(|value| value.is_distinct());
        distinct.fold(text.to_owned(), |text, value| replace_apart(&text, value.words.reveal(), &value.shown))
    }

    /// Where a message quotes a value, or a part of it, shows what stands in the file in its place.
    pub fn hide(&self, report: &mut Report) {
        for problem in report.problems_mut() {
            for value in &self.values {
                let (words, shown) = (value.words.reveal(), &*value.shown);
                let quoted = format!("`{words}`");
                for text in [Some(&mut problem.message), problem.hint.as_mut()].into_iter().flatten() {
                    if text.contains(&quoted) {
                        *text = text.replace(&quoted, &format!("`{shown}`"));
                    }
                }
                // Others than ourselves may quote it otherwise: why a regular expression is none, which ciphers
                // are unknown.
                if problem.place == value.place && value.is_distinct() {
                    problem.message = replace_apart(&problem.message, words, shown);
                }
            }
        }
    }
}

impl Value {
    /// The value of `entry` and its parts, if providers gave it.
    fn of(entry: &Entry) -> Vec<Value> {
        let Some(reference) = &entry.reference else { return Vec::new() };
        // A secret may stand beside the reference.
        let is_alone = replace_references(reference, "").trim().is_empty();
        let shown = match is_alone || !is_secret(&entry.key) {
            true => Arc::clone(reference),
            false => Arc::from("[hidden]"),
        };
        let wholes = [trim(&entry.value), entry.value.trim()];
        let all: BTreeSet<&str> = wholes.into_iter().chain(entry.value.split(',').map(trim)).collect();
        all.into_iter()
            .filter(|words| !words.is_empty())
            .map(|words| Value {
                words: Secret::new(words),
                shown: Arc::clone(&shown),
                key: entry.key.clone(),
                place: entry.place(),
            })
            .collect()
    }

    /// Whether it is found without quotes around it: a short one may be any word of a message.
    fn is_distinct(&self) -> bool {
        const BYTES_MIN: usize = 4;
        let words = self.words.reveal();
        words.len() >= BYTES_MIN && !self.key.contains(words) && !self.shown.contains(words)
    }
}

/// `text` with `shown` for `words` wherever these are no part of a longer word.
fn replace_apart(text: &str, words: &str, shown: &str) -> String {
    let is_apart = |neighbour: Option<char>| neighbour.is_none_or(|char| !char.is_alphanumeric());
    let mut replaced = String::new();
    let mut end = 0;
    for (at, found) in text.match_indices(words) {
        let behind = at + found.len();
        if is_apart(text[..at].chars().next_back()) && is_apart(text[behind..].chars().next()) {
            replaced.push_str(&text[end..at]);
            replaced.push_str(shown);
            end = behind;
        }
    }
    replaced.push_str(&text[end..]);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Problem;

    #[test]
    fn values_do_not_show_in_other_texts_either() {
        let entry = Entry {
            reference: Some(Arc::from("${file:/x:servers}")),
            ..Entry::new("src.kafka.bootstrap.servers", "inner-1:9092,inner-2:9092", &Place::new("c", 1))
        };
        let provided = Provided::of([&entry]);
        let expected = "copies from ${file:/x:servers} to b:1, not inner-10:9092";
        assert_eq!(
            provided.hidden("copies from inner-1:9092,inner-2:9092 to b:1, not inner-10:9092"),
            expected
        );
        assert_eq!(provided.hidden("at inner-2:9092"), "at ${file:/x:servers}");
    }

    /// What becomes of a message at line `line`, where `key` at line 1 is `value` by a provider, but for a `+` that
    /// stands there itself.
    fn told(key: &str, value: &str, line: u32, message: &str) -> String {
        let reference = value.strip_prefix('+').map_or("${env:X}", |_| "+${env:X}");
        let reference = Some(Arc::from(reference));
        let entry = Entry { reference, ..Entry::new(key, value, &Place::new("c", 1)) };
        let mut report = Report::new();
        report.push(Problem::error(Place::new("c", line), message));
        Provided::of([&entry]).hide(&mut report);
        report.problems()[0].message.clone()
    }

    #[test]
    fn a_value_shows_as_its_reference_in_quotes_whole_or_in_part() {
        let regex = |line, message| told("topic.regex", "hunter(, b", line, message);
        assert_eq!(regex(9, "regular expression `hunter(, b`: no"), "regular expression `${env:X}`: no");
        assert_eq!(regex(9, "names `b` and `hunter(`"), "names `${env:X}` and `${env:X}`");
        assert_eq!(regex(9, "b is no hunter(, b"), "b is no hunter(, b");
    }

    #[test]
    fn where_it_stands_itself_it_is_found_without_quotes_too() {
        let suites = |message| told("ssl.cipher.suites", "TLS_A,TLS_B,no", 1, message);
        assert_eq!(
            suites("none of the suites TLS_A, TLS_B, no belongs"),
            "none of the suites ${env:X}, ${env:X}, no belongs"
        );
        assert_eq!(suites("there is TLS_AB, and 2TLS_A"), "there is TLS_AB, and 2TLS_A");
        assert_eq!(told("topic.regex", "regex", 1, "`topic.regex` is regex"), "`topic.regex` is regex");
    }

    #[test]
    fn of_a_secret_what_stands_beside_the_reference_is_not_shown_either() {
        let told = |value, message| told("ssl.key.password", value, 1, message);
        assert_eq!(told("+hunter2", "is `+hunter2`, +hunter2"), "is `[hidden]`, [hidden]");
        assert_eq!(told("hunter2", "is `hunter2`, hunter2"), "is `${env:X}`, ${env:X}");
    }
}
