//! Java's `.properties` syntax, exactly as `java.util.Properties.load` reads it.
//!
//! Natural lines become logical lines (comments and blank lines dropped, a line that ends in an odd
//! number of backslashes continued on the next one without its leading blanks); a logical line is split
//! at the first unescaped `=`, `:`, blank, tab or form feed; then escapes are resolved, in UTF-16 as in
//! Java, so that `\ud83d\ude00` is one character. Differences, on purpose: UTF-8 is read as UTF-8, where
//! Kafka Connect reads every file as ISO-8859-1; a byte order mark is dropped; what Java refuses with an
//! exception is a [`Problem`] with its line, and reading goes on; and so are the lines behind one that ends in the
//! middle of PEM text: Java takes each for a property, and we would show a key in calling it unknown.
//!
//! Source: the Javadoc of `java.util.Properties.load(Reader)`; compared with Java 17 over random files.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::{Entry, Place};
use crate::report::Problem;

/// Reads the text of `file`: its entries in the order of the file, each key once with its last value,
/// and what is wrong with it.
pub fn parse(file: &str, text: &str) -> (Vec<Entry>, Vec<Problem>) {
    parse_text(file, text, true)
}

/// Reads the bytes of `file`: UTF-8 where they are valid UTF-8, otherwise ISO-8859-1 as Java does.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> (Vec<Entry>, Vec<Problem>) {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let problem = Problem::error(Place::new(file, 0), "is UTF-16 text, which cannot be read");
        return (Vec::new(), vec![problem.with_hint("save it as UTF-8")]);
    }
    if bytes.contains(&0) {
        let problem = Problem::error(Place::new(file, 0), "is not a text file: it holds NUL bytes");
        return (Vec::new(), vec![problem.with_hint("is this the file that was meant?")]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_text(file, text, true),
        Err(_) => {
            let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            parse_text(file, &text, false)
        }
    }
}

fn parse_text(file: &str, text: &str, is_utf8: bool) -> (Vec<Entry>, Vec<Problem>) {
    let file: Arc<str> = Arc::from(file);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries: Vec<Option<Entry>> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let mut problems = Vec::new();
    let mut noted_encoding = false;
    let mut in_pem = false;
    for logical in LogicalLines::new(text) {
        let place = Place { file: file.clone(), line: logical.line };
        if is_utf8 && !noted_encoding && !logical.chars.iter().all(char::is_ascii) {
            noted_encoding = true;
            problems.push(
                Problem::info(
                    place.clone(),
                    "text beyond ASCII is read as UTF-8; Kafka Connect reads ISO-8859-1",
                )
                .with_hint("written as `\\uXXXX`, both read it alike"),
            );
        }
        let (key, value) = split(&logical.chars);
        let (key, value) = match (unescape(key), unescape(value)) {
            (Ok(key), Ok(value)) => (key, value),
            (Err(message), _) | (_, Err(message)) => {
                problems.push(Problem::error(place, message));
                continue;
            }
        };
        let is_behind = in_pem || starts_pem(&key);
        in_pem = ends_in_pem(in_pem, &key, &value);
        if is_behind {
            continue;
        }
        if in_pem {
            let message = format!("`{key}` ends with its line, in the middle of PEM text");
            let hint = "write all of it as one line, with `\\n` where a line of it ends, or `\\n\\` and go on in the next";
            problems.push(Problem::error(place.clone(), message).with_hint(hint));
        }
        let index = entries.len();
        if let Some(earlier) = by_key.insert(key.clone(), index)
            && let Some(entry) = entries[earlier].take()
        {
            problems.push(Problem::warning(
                place.clone(),
                format!("`{key}` is given twice; this one counts, the one in line {} does not", entry.line),
            ));
        }
        entries.push(Some(Entry::new(key, value, &place)));
    }
    (entries.into_iter().flatten().collect(), problems)
}

const PEM_BEGIN: &str = "-----BEGIN";
const PEM_END: &str = "-----END";

/// The line begins a part of PEM text: no property is called so.
fn starts_pem(key: &str) -> bool {
    key.starts_with(PEM_BEGIN)
}

/// Whether PEM text goes on behind the line of this property, given whether it did before it.
fn ends_in_pem(before: bool, key: &str, value: &str) -> bool {
    [key, value].iter().fold(before, |before, text| match (text.rfind(PEM_BEGIN), text.rfind(PEM_END)) {
        (None, None) => before,
        (begin, end) => begin > end,
    })
}

/// One property as `java.util.Properties.store` would write it, without the line's end: reading it gives
/// `key` and `value` again.
pub fn escape(key: &str, value: &str) -> String {
    let mut line = String::with_capacity(key.len() + value.len() + 1);
    escape_into(&mut line, key, true);
    line.push('=');
    escape_into(&mut line, value, false);
    line
}

fn escape_into(line: &mut String, text: &str, every_space: bool) {
    for (index, char) in text.chars().enumerate() {
        match char {
            ' ' if every_space || index == 0 => line.push_str("\\ "),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\u{c}' => line.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => line.extend(['\\', char]),
            ' '..='~' => line.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

/// A logical line: comments and continuations resolved, escapes not.
struct LogicalLine {
    line: u32,
    chars: Vec<char>,
}

struct LogicalLines<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    /// The natural line of the next character, from 1.
    line: u32,
    /// The last line end was `\r\n`.
    was_crlf: bool,
}

impl<'a> LogicalLines<'a> {
    fn new(text: &'a str) -> LogicalLines<'a> {
        LogicalLines { chars: text.chars().peekable(), line: 1, was_crlf: false }
    }

    /// The next character, with `\r\n` and `\r` read as `\n`.
    fn next_char(&mut self) -> Option<char> {
        let char = match self.chars.next()? {
            '\r' => {
                self.was_crlf = self.chars.next_if_eq(&'\n').is_some();
                '\n'
            }
            char => {
                self.was_crlf = false;
                char
            }
        };
        if char == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(char)
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = LogicalLine;

    fn next(&mut self) -> Option<LogicalLine> {
        let mut found = LogicalLine { line: self.line, chars: Vec::new() };
        let mut skips_blanks = true; // at the start of a natural line
        let mut is_continuation = false; // right after a continued line's end
        let mut ends_in_backslash = false;
        loop {
            let line = self.line;
            let Some(char) = self.next_char() else {
                if ends_in_backslash {
                    found.chars.pop();
                    return Some(found);
                }
                return (!found.chars.is_empty()).then_some(found);
            };
            if skips_blanks {
                if is_blank(char) || (char == '\n' && !is_continuation) {
                    continue;
                }
                skips_blanks = false;
                is_continuation = false;
            }
            if found.chars.is_empty() && matches!(char, '#' | '!') {
                while self.next_char().is_some_and(|char| char != '\n') {}
                skips_blanks = true;
                continue;
            }
            if found.chars.is_empty() {
                found.line = line;
            }
            if char != '\n' {
                found.chars.push(char);
                ends_in_backslash = char == '\\' && !ends_in_backslash;
            } else if ends_in_backslash {
                found.chars.pop();
                // Java's reader sees the end of the file here, unless half of a `\r\n` is left to read.
                if self.chars.peek().is_none() && !self.was_crlf {
                    return Some(found);
                }
                ends_in_backslash = false;
                skips_blanks = true;
                is_continuation = true;
            } else if found.chars.is_empty() {
                skips_blanks = true;
            } else {
                return Some(found);
            }
        }
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\u{c}')
}

/// Key and value of a logical line, both still escaped.
fn split(line: &[char]) -> (&[char], &[char]) {
    let mut is_escaped = false;
    let key_end = line
        .iter()
        .position(|&char| {
            let ends = !is_escaped && (is_blank(char) || char == '=' || char == ':');
            is_escaped = char == '\\' && !is_escaped;
            ends
        })
        .unwrap_or(line.len());
    let (key, mut rest) = line.split_at(key_end);
    let mut has_separator = false;
    while let [char, tail @ ..] = rest {
        let is_separator = matches!(char, '=' | ':');
        if !is_blank(*char) && (has_separator || !is_separator) {
            break;
        }
        has_separator |= is_separator;
        rest = tail;
    }
    (key, rest)
}

/// Resolves escapes. UTF-16 within, as in Java.
fn unescape(text: &[char]) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [char, tail @ ..] = rest {
        rest = tail;
        let plain = match (char, rest) {
            ('\\', ['u', tail @ ..]) => {
                let digits = tail.get(..4).filter(|digits| digits.iter().all(char::is_ascii_hexdigit));
                let Some(digits) = digits else {
                    return Err("`\\u` needs four hexadecimal digits after it".to_owned());
                };
                let unit = digits.iter().fold(0, |unit, digit| unit << 4 | digit.to_digit(16).unwrap_or(0));
                units.push(u16::try_from(unit).expect("four hexadecimal digits fit 16 bits"));
                rest = &tail[4..];
                continue;
            }
            ('\\', [escaped, tail @ ..]) => {
                rest = tail;
                match escaped {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'f' => '\u{c}',
                    other => *other,
                }
            }
            ('\\', []) => break, // only where the file ends in `\`: Java drops it as well
            (plain, _) => *plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units)
        .map_err(|_| "`\\uD800` to `\\uDFFF` stand for a character only in pairs".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::Severity;

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        parse("f", text).0.into_iter().map(|entry| (entry.key, entry.value, entry.line)).collect()
    }

    fn check(text: &str, expected: &[(&str, &str, u32)]) {
        let expected: Vec<(String, String, u32)> =
            expected.iter().map(|&(key, value, line)| (key.to_owned(), value.to_owned(), line)).collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }

    #[test]
    fn pem_text_over_several_lines_is_told_once_and_its_lines_are_no_properties() {
        let pem = |lines: &str| format!("a=1\nkey={lines}\nb=2\n");
        let folded = pem(
            "-----BEGIN PRIVATE KEY-----\nMIIEvQ==\nabc+/\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n\
             MIIB\n-----END CERTIFICATE-----",
        );
        let (entries, problems) = parse("f", &folded);
        let keys: Vec<&str> = entries.iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["a", "key", "b"]);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        let told = problem.to_string();
        assert!(told.contains("f:2: `key` ends with its line"), "{told}");
        assert!(!told.contains("MIIE"), "{told}");
        let cut_off = parse("f", &pem("-----BEGIN PRIVATE KEY-----\nMIIEvQ==")).0;
        assert_eq!(cut_off.len(), 2);
        for whole in [
            "-----BEGIN X-----\\nMIIE\\n-----END X-----",
            "-----BEGIN X-----\\n\\\n  MIIE\\n\\\n  -----END X-----",
            "-----BEGIN X----- MIIE -----END X-----",
        ] {
            let (entries, problems) = parse("f", &pem(whole));
            assert_eq!((entries.len(), problems.len()), (3, 0), "{whole}");
        }
    }

    #[test]
    fn separators_are_read_as_java_reads_them() {
        check("a=1", &[("a", "1", 1)]);
        check("a:1", &[("a", "1", 1)]);
        check("a 1", &[("a", "1", 1)]);
        check(" \t\u{c}a \t = \t 1 \t", &[("a", "1 \t", 1)]);
        check("a = = 1", &[("a", "= 1", 1)]);
        check("a\u{c}: b c", &[("a", "b c", 1)]);
        check("a", &[("a", "", 1)]);
        check("=1", &[("", "1", 1)]);
        check("a\\=b\\:c\\ d=e", &[("a=b:c d", "e", 1)]);
        check("a\\\\=b", &[("a\\", "b", 1)]);
    }

    #[test]
    fn comments_and_blank_lines_are_no_entries_and_are_not_continued() {
        check("# a=1\n ! b=2\n\n \t\nc=3 # not a comment", &[("c", "3 # not a comment", 5)]);
        check("# continued \\\na=1", &[("a", "1", 2)]);
    }

    #[test]
    fn lines_are_continued_without_the_blanks_of_the_next_and_know_where_they_began() {
        check("\na=1\\\n   2\\\n\t3\nb=4", &[("a", "123", 2), ("b", "4", 5)]);
        check("a=1\\\n# 2", &[("a", "1# 2", 1)]);
        check("a=1\\\n\nb=2", &[("a", "1", 1), ("b", "2", 3)]);
        check("a=1\\\\\nb=2", &[("a", "1\\", 1), ("b", "2", 2)]);
        check("\\\n\n#c\na=1", &[("a", "1", 4)]);
        check("\\\n#a=1\nb=2", &[("b", "2", 3)]);
        check("a=1\\", &[("a", "1", 1)]);
        check("\\", &[("", "", 1)]);
        check("\\\n", &[("", "", 1)]);
        check("\\\r\n", &[]);
    }

    #[test]
    fn every_kind_of_line_end_counts_once() {
        check("a=1\r\nb=2\rc=3\nd=4", &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3), ("d", "4", 4)]);
        check("a=1\\\r\n  2\r\n\r\nb=3", &[("a", "12", 1), ("b", "3", 4)]);
    }

    #[test]
    fn escapes_are_resolved_in_utf16() {
        check("a=\\t\\n\\r\\f\\q\\\\d\\u0041", &[("a", "\t\n\r\u{c}q\\dA", 1)]);
        check("a=\\ud83d\\ude00", &[("a", "😀", 1)]);
        check("topic.regex=^(?!_)\\\\w+$", &[("topic.regex", "^(?!_)\\w+$", 1)]);
        check("a=\\U0041", &[("a", "U0041", 1)]);
    }

    #[test]
    fn a_broken_escape_is_an_error_of_its_line_and_the_rest_is_read() {
        for broken in ["a=\\u12", "a=\\u00g0", "\\u=1", "a=\\ud83d"] {
            let (entries, problems) = parse("f", &format!("\n{broken}\nb=2"));
            assert_eq!(entries.len(), 1, "{broken}");
            assert_eq!(problems.len(), 1, "{broken}");
            assert_eq!((problems[0].severity, problems[0].place.line), (Severity::Error, 2), "{broken}");
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_a_warning_says_so() {
        let (entries, problems) = parse("f", "a=1\nb=2\na=3");
        assert_eq!(entries.iter().map(|entry| &*entry.value).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(
            problems[0].to_string(),
            "warning: f:3: `a` is given twice; this one counts, the one in line 1 does not"
        );
    }

    #[test]
    fn bytes_are_utf8_if_they_can_be_and_latin_1_otherwise() {
        let (entries, problems) = parse_bytes("f", "\u{feff}a=ü".as_bytes());
        assert_eq!((&*entries[0].key, &*entries[0].value), ("a", "ü"));
        assert_eq!(problems[0].severity, Severity::Info);
        let (entries, problems) = parse_bytes("f", b"a=\xfc");
        assert_eq!((&*entries[0].value, problems.len()), ("ü", 0));
        assert_eq!(parse_bytes("f", b"\xff\xfea\0").1[0].severity, Severity::Error);
        assert_eq!(parse_bytes("f", b"\xfe\xed\0\0").1[0].severity, Severity::Error);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_bytes("f", &bytes);
        }

        #[test]
        fn any_text_of_the_awkward_characters_can_be_read(text in "[ab=:#! \\t\\x0c\\r\\n\\\\u0d8]{0,60}") {
            let (entries, _) = parse("f", &text);
            let mut keys: Vec<_> = entries.iter().map(|entry| &entry.key).collect();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), entries.len());
        }

        #[test]
        fn what_is_escaped_is_read_again(key in any::<String>(), value in any::<String>()) {
            check(&escape(&key, &value), &[(&*key, &*value, 1)]);
        }

        #[test]
        fn many_escaped_lines_are_read_again(values in proptest::collection::vec("[\\PC \\t\\r\\n\\\\]{0,8}", 0..8)) {
            let text: Vec<String> =
                values.iter().enumerate().map(|(index, value)| escape(&format!("k{index}"), value)).collect();
            let read: Vec<String> = parse("f", &text.join("\r\n")).0.into_iter().map(|entry| entry.value).collect();
            prop_assert_eq!(read, values);
        }
    }
}
