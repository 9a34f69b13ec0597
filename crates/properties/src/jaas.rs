//! `sasl.jaas.config`, exactly as Kafka's clients read it.
//!
//! ```text
//! module.Class flag option=value option="value" … ;
//! ```
//!
//! They cut it with `java.io.StreamTokenizer`, whose ways are followed here: what is in quotes has C's escapes and
//! ends with its line; outside of them a word may not begin with a digit, and `/` begins a comment. An error says at
//! which character, and never what stands there: a misplaced quote makes a name of what was a password.
//!
//! Source: `JaasConfig` and `JaasContext` of Kafka 4.3, `StreamTokenizer` of Java 17.

use std::collections::BTreeMap;
use std::fmt;

use crate::value::Secret;

/// One login: the class of its module, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// The class, if it is written like one: else it may be a misplaced secret.
    pub(crate) module: Option<String>,
    options: BTreeMap<String, (Secret, usize)>,
}

impl Login {
    /// The value of an option.
    pub(crate) fn option(&self, name: &str) -> Option<&Secret> {
        self.options.get(name).map(|(value, _)| value)
    }

    /// All options by name, each with the character at which it stands, from 1. Names may be misplaced secrets.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&str, &Secret, usize)> {
        self.options.iter().map(|(name, (value, at))| (&**name, value, *at))
    }
}

/// What is wrong, and at which character of the value, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JaasError {
    at: usize,
    what: &'static str,
}

impl fmt::Display for JaasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (character {} of the value)", self.what, self.at)
    }
}

/// Reads the one login of `text`.
///
/// # Errors
/// [`JaasError`] where Kafka's clients refuse it.
pub(crate) fn parse(text: &str) -> Result<Login, JaasError> {
    let mut tokens = Tokenizer::new(text);
    let mut first = None;
    let mut logins = 0_usize;
    loop {
        let (token, at) = tokens.next_token();
        if token == Token::End {
            break;
        }
        let login = read_login(token, at, &mut tokens)?;
        logins += 1;
        if logins == 2 {
            return Err(JaasError { at, what: "it holds more than one login module, where one is allowed" });
        }
        first.get_or_insert(login);
    }
    first.ok_or(JaasError { at: 1, what: "it holds no login module" })
}

fn read_login(module: Token, at: usize, tokens: &mut Tokenizer) -> Result<Login, JaasError> {
    let Token::Word(module) = module else {
        return Err(JaasError { at, what: "the class of a login module is missing" });
    };
    let (flag, at) = tokens.next_token();
    let known = |flag: &str| {
        ["required", "requisite", "sufficient", "optional"]
            .iter()
            .any(|known| flag.eq_ignore_ascii_case(known))
    };
    if !matches!(&flag, Token::Word(flag) if known(flag)) {
        let what = "behind the class of the login module `required` must follow";
        return Err(JaasError { at, what });
    }
    let mut options = BTreeMap::new();
    loop {
        let (token, at) = tokens.next_token();
        let name = match token {
            Token::Mark(';') => break,
            Token::End => {
                return Err(JaasError { at, what: "a `;` must end it, behind the last option" });
            }
            Token::Word(name) => name,
            Token::Number => {
                return Err(JaasError { at, what: "a number stands where an option was expected" });
            }
            Token::Mark(_) => {
                return Err(JaasError { at, what: "a mark stands where an option or `;` was expected" });
            }
        };
        let (equals, equals_at) = tokens.next_token();
        if equals != Token::Mark('=') {
            return Err(JaasError { at: equals_at, what: "`=` and a value must follow the option" });
        }
        let (value, value_at) = tokens.next_token();
        let value = match value {
            Token::Word(value) => value,
            Token::Number => {
                let what = "a value that begins with a digit, `.` or `-` must be in quotes";
                return Err(JaasError { at: value_at, what });
            }
            Token::Mark(_) | Token::End => {
                let what = "the option has no value; one with signs in it must be in quotes";
                return Err(JaasError { at: value_at, what });
            }
        };
        options.insert(name, (Secret::new(value), at));
    }
    let module = Some(module).filter(|module| is_class(module));
    Ok(Login { module, options })
}

/// Whether it is written as the class of a login module is.
fn is_class(text: &str) -> bool {
    let is_part = |part: &str| {
        part.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '$')
            && part.starts_with(|char: char| char.is_ascii_alphabetic())
    };
    text.ends_with("Module") && text.contains('.') && text.split('.').all(is_part)
}

/// What `StreamTokenizer.nextToken` gives: its `sval` if it has one.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word, or what was in quotes.
    Word(String),
    /// A number, whose text is lost.
    Number,
    /// Any other character.
    Mark(char),
    End,
}

/// `StreamTokenizer` as `JaasConfig` sets it up: comments of both kinds, and `-`, `_`, `$` in words.
struct Tokenizer {
    chars: Vec<char>,
    at: usize,
}

impl Tokenizer {
    fn new(text: &str) -> Tokenizer {
        Tokenizer { chars: text.chars().collect(), at: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    /// The next token, and at which character it begins, from 1.
    fn next_token(&mut self) -> (Token, usize) {
        loop {
            while self.peek().is_some_and(|char| char <= ' ') {
                self.at += 1;
            }
            let begins = self.at + 1;
            let Some(char) = self.take() else { return (Token::End, begins) };
            let token = match char {
                '/' => {
                    self.skip_comment();
                    continue;
                }
                '-' if !self.peek().is_some_and(is_number) => Token::Mark('-'),
                '-' | '.' | '0'..='9' => {
                    self.skip_number(char);
                    Token::Number
                }
                '"' | '\'' => Token::Word(self.quoted(char)),
                _ if is_letter(char) => {
                    self.at -= 1;
                    Token::Word(self.word())
                }
                _ => Token::Mark(char),
            };
            return (token, begins);
        }
    }

    /// From behind a `/` to behind the comment. Any `/` begins one, as a comment character does by default.
    fn skip_comment(&mut self) {
        if self.peek() != Some('*') {
            while self.peek().is_some_and(|char| !matches!(char, '\n' | '\r')) {
                self.at += 1;
            }
            return;
        }
        self.at += 1;
        let mut before = '\0';
        while let Some(mut char) = self.take() {
            if char == '/' && before == '*' {
                return;
            }
            // Java looks at the character behind the end of a line without asking whether it closes the comment.
            if char == '\r' {
                let Some(next) = self.take() else { return };
                char = next;
            }
            if char == '\n' {
                let Some(next) = self.take() else { return };
                char = next;
            }
            before = char;
        }
    }

    fn skip_number(&mut self, first: char) {
        let mut saw_dot = first == '.';
        while let Some(char) = self.peek() {
            match char {
                '.' if !saw_dot => saw_dot = true,
                '0'..='9' => {}
                _ => break,
            }
            self.at += 1;
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(char) = self.peek().filter(|char| is_letter(*char) || is_number(*char)) {
            word.push(char);
            self.at += 1;
        }
        word
    }

    /// From behind the quote to behind the one that closes it, or to the end of the line.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(char) = self.peek().filter(|char| !matches!(char, '\n' | '\r')) {
            self.at += 1;
            if char == quote {
                break;
            }
            if char != '\\' {
                text.push(char);
                continue;
            }
            let Some(escaped) = self.take() else { break };
            text.push(match escaped {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                '0'..='7' => self.octal(escaped),
                other => other,
            });
        }
        text
    }

    /// Up to three octal digits; three only up to `\377`.
    fn octal(&mut self, first: char) -> char {
        let digit = |char: char| char.to_digit(8);
        let mut code = digit(first).unwrap_or(0);
        for more in 0..2 {
            let Some(next) = self.peek().and_then(digit) else { break };
            if more == 1 && first > '3' {
                break;
            }
            code = code << 3 | next;
            self.at += 1;
        }
        char::from_u32(code).unwrap_or('?')
    }
}

/// Java's letters of a word; beyond Latin-1 all are. 127 to 159 are none.
fn is_letter(char: char) -> bool {
    char.is_ascii_alphabetic() || matches!(char, '-' | '_' | '$') || char >= '\u{a0}'
}

fn is_number(char: char) -> bool {
    matches!(char, '0'..='9' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let login = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(login.module.as_deref(), Some("a.b.Module"), "{text}");
        let options: Vec<(&str, &str)> =
            login.options().map(|(name, value, _)| (name, value.reveal())).collect();
        assert_eq!(options, expected, "{text}");
    }

    fn refused(text: &str, expected: &str) {
        assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
    }

    #[test]
    fn options_are_words_or_in_either_kind_of_quotes() {
        check("a.b.Module required;", &[]);
        check("a.b.Module REQUIRED a=b c='d e' f=\"g\\\"h\";", &[("a", "b"), ("c", "d e"), ("f", "g\"h")]);
        check("a.b.Module  optional\n\ta = b\n c=d ; ", &[("a", "b"), ("c", "d")]);
        check("a.b.Module required a=b a=c;", &[("a", "c")]);
        check("a.b.Module required \"a b\"='c;d=e';", &[("a b", "c;d=e")]);
        check("a.b.Module required a=b-1.2_$ü c=\"\";", &[("a", "b-1.2_$ü"), ("c", "")]);
        check("\"a.b.Module\" 'required' a=b;", &[("a", "b")]);
    }

    #[test]
    fn escapes_in_quotes_are_those_of_c() {
        let escapes = r#"\a\b\f\n\r\t\v\\\'\q\0\101\1019\4012"#;
        let text = format!("a.b.Module required a=\"{escapes}\";");
        check(&text, &[("a", "\u{7}\u{8}\u{c}\n\r\t\u{b}\\'q\0AA9 12")]);
    }

    #[test]
    fn comments_are_javas() {
        check("/* x; */ a.b.Module required // y;\n a=b /* ** */ c=d / z;\n ;", &[("a", "b"), ("c", "d")]);
        check("a.b.Module required a=b/c;\n;", &[("a", "b")]);
        check("a.b.Module required a='b//c /* d';", &[("a", "b//c /* d")]);
    }

    #[test]
    fn a_mistake_is_told_by_its_place_and_never_by_its_text() {
        refused("", "it holds no login module (character 1 of the value)");
        refused(" // x", "it holds no login module (character 1 of the value)");
        let no_flag = "behind the class of the login module `required` must follow";
        refused("a.b.Module", &format!("{no_flag} (character 11 of the value)"));
        refused("a.b.Module hunter2 ;", &format!("{no_flag} (character 12 of the value)"));
        refused("; required", "the class of a login module is missing (character 1 of the value)");
        let no_end = "a `;` must end it, behind the last option";
        refused("a.b.Module required a=b", &format!("{no_end} (character 24 of the value)"));
        refused("a.b.Module required a=\"b;", &format!("{no_end} (character 26 of the value)"));
        let digit = "a value that begins with a digit, `.` or `-` must be in quotes";
        refused("a.b.Module required a=1b;", &format!("{digit} (character 23 of the value)"));
        let none = "the option has no value; one with signs in it must be in quotes";
        refused("a.b.Module required a=;", &format!("{none} (character 23 of the value)"));
        refused("a.b.Module required a=#b;", &format!("{none} (character 23 of the value)"));
        refused("a.b.Module required a=-b;", &format!("{none} (character 23 of the value)"));
        let equals = "`=` and a value must follow the option";
        refused("a.b.Module required a b;", &format!("{equals} (character 23 of the value)"));
        refused("a.b.Module required a=hunter\"2\";", &format!("{equals} (character 32 of the value)"));
        refused(
            "a.b.Module required; a.b.Module required;",
            "it holds more than one login module, where one is allowed (character 22 of the value)",
        );
    }

    #[test]
    fn what_is_no_class_is_not_named() {
        assert_eq!(parse("password required;").expect("Java takes it").module, None);
        assert_eq!(parse("'hunter 2.Module' required;").expect("Java takes it").module, None);
    }

    /// What Kafka 4.3.1's own `JaasConfig` made of random texts: `text<TAB>ERR`, or `text<TAB>OK module name=value …`,
    /// all in hexadecimal digits of UTF-8.
    const OF_KAFKA: &str = include_str!("../tests/data/jaas.tsv");

    #[test]
    fn random_texts_are_read_as_kafka_reads_them() {
        let unhex = |digits: &str| {
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
            let bytes = (0..digits.len()).step_by(2).map(byte).collect();
            String::from_utf8(bytes).expect("UTF-8")
        };
        for line in OF_KAFKA.lines() {
            let (text, expected) = line.split_once('\t').expect("two columns");
            let text = unhex(text);
            let found = parse(&text);
            let Some(expected) = expected.strip_prefix("OK ") else {
                assert!(found.is_err(), "{text:?}: {found:?}");
                continue;
            };
            let login = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            let options: Vec<(String, String)> = expected
                .split(' ')
                .skip(1)
                .map(|option| {
                    option.split_once('=').map(|(name, value)| (unhex(name), unhex(value))).expect("a pair")
                })
                .collect();
            let read: Vec<(String, String)> = login
                .options()
                .map(|(name, value, _)| (name.to_owned(), value.reveal().to_owned()))
                .collect();
            assert_eq!(read, options, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_of_the_awkward_characters_can_be_read(text in "[ab.=;/*'\"\\\\ \\n\\r0-9-]{0,60}") {
            let _ = parse(&format!("a.b.Module required {text}"));
            let _ = parse(&text);
        }

        #[test]
        fn what_is_quoted_is_read_again(value in "[^\\n\\r]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let login = parse(&format!("a.b.Module required a=\"{quoted}\";")).expect("it is well formed");
            prop_assert_eq!(login.option("a").map(Secret::reveal), Some(&*value));
        }
    }
}
