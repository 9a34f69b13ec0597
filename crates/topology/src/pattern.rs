//! A Java regular expression, matched against whole topic names at a bounded cost.

use std::fmt;

use fancy_regex::{Error, Regex, RegexBuilder};
use model::TopicName;

use crate::java_regex;

/// Steps back that one name may cost. Names have at most 249 characters, so even a pattern that is square
/// in them stays below; `(a+)+$` and its like do not, and are reported instead of waited for.
const BACKTRACKS_MAX: usize = 50_000;

/// Bytes a compiled pattern may take, so that `(x{1000}){1000}` is an error and not an outage.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// A compiled pattern. Matching is a pure function of pattern and name.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The syntax is wrong, or has no exact counterpart here.
    #[error("regular expression `{pattern}`: {what}, at character {position}")]
    Syntax {
        /// The pattern as written.
        pattern: String,
        /// The place in it, counted in characters from 1.
        position: usize,
        /// What is wrong there.
        what: String,
    },
    /// The syntax is right, but the pattern as a whole cannot be used.
    #[error("regular expression `{pattern}`: {what}")]
    Unusable {
        /// The pattern as written.
        pattern: String,
        /// Why.
        what: String,
    },
}

/// A name that the pattern could not be decided for within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matching took more than {BACKTRACKS_MAX} steps back")]
pub struct TooCostly;

impl Pattern {
    /// Compiles a pattern in Java's syntax.
    ///
    /// # Errors
    /// [`PatternError`], with the position where there is one.
    pub fn new(pattern: &str) -> Result<Pattern, PatternError> {
        let syntax = |at: usize, what: String| PatternError::Syntax {
            pattern: pattern.to_owned(),
            position: at + 1,
            what,
        };
        let unusable = |what: String| PatternError::Unusable { pattern: pattern.to_owned(), what };
        let translation =
            java_regex::translate(pattern).map_err(|refusal| syntax(refusal.at, refusal.what))?;
        const OPEN: &str = "\\A(?:";
        let anchored = format!("{OPEN}{})\\z", translation.text);
        let regex = RegexBuilder::new(&anchored)
            .backtrack_limit(BACKTRACKS_MAX)
            .delegate_size_limit(COMPILED_BYTES_MAX)
            .delegate_dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| match error {
                Error::ParseError(at, error) => {
                    syntax(translation.origin(at.saturating_sub(OPEN.len())), error.to_string())
                }
                Error::CompileError(fancy_regex::CompileError::LookBehindNotConst) => {
                    unusable("a look-behind must match a fixed number of characters".to_owned())
                }
                Error::CompileError(fancy_regex::CompileError::InnerError(error)) => match error.size_limit()
                {
                    Some(_) => unusable("it is too large, look at its repetitions".to_owned()),
                    None => unusable(error.to_string()),
                },
                error => unusable(error.to_string()),
            })?;
        Ok(Pattern { source: pattern.to_owned(), regex })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the pattern matches the whole of `name`.
    ///
    /// # Errors
    /// [`TooCostly`] if that takes too many steps back; only look-around and back references can.
    pub fn matches(&self, name: &TopicName) -> Result<bool, TooCostly> {
        self.regex.is_match(name.as_str()).map_err(|_| TooCostly)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `expected` as `Pattern.compile(pattern).matcher(name).matches()` of Java 17 says.
    fn check(pattern: &str, name: &str, expected: bool) {
        let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(compiled.matches(&name.into()), Ok(expected), "{pattern} on {name}");
    }

    #[test]
    fn a_pattern_matches_whole_names_as_java_does() {
        let look_ahead = "^(?!(_confluent|__confluent|__consumer))[a-zA-Z0-9_].+$";
        let cases = [
            (look_ahead, "orders", true),
            (look_ahead, "_schemas", true),
            (look_ahead, "_confluent-metrics", false),
            (look_ahead, "__consumer_offsets", false),
            (look_ahead, "o", false),
            ("topic[2,3,4]", "topic3", true),
            ("topic[2,3,4]", "topic33", false),
            ("topic[2,3,4]", "mytopic3", false),
            ("a|ab", "ab", true),
            ("(?=a)(a|ab)", "ab", true),
            ("(?=a)(a|ab)(?!c)", "ab", true),
            ("(?>a|ab)", "ab", false),
            ("a.b", "a.b", true),
            ("a.b", "axb", true),
            ("a\\.b", "axb", false),
            ("", "x", false),
            ("|x", "x", true),
            ("\\Qa.b\\E+", "a.bb", true),
            ("\\Qa.b", "axb", false),
            ("[\\Q]-\\Ea]", "-", true),
            ("(?i)ORDERS-.*", "orders-eu", true),
            ("(?i:ORDERS)-EU", "orders-eu", false),
            ("o(?i)RDERS|X", "x", true),
            ("(o(?i)R)D", "ord", false),
            ("(?x) orders # all of them\n - [ e u ]+", "orders-eu", true),
            ("(?U)\\w+", "orders", true),
            ("a{2}", "aa", true),
            ("a{2,}", "aaa", true),
            ("a{1,2}", "aaa", false),
            ("a{1,2}+a", "aa", false),
            ("a*+a", "aa", false),
            ("a*?", "aaa", true),
            ("[a-z&&[^bc]]+", "adz", true),
            ("[a-z&&[^bc]]+", "abz", false),
            ("[a-c[x-z]]+", "ay", true),
            ("[^a-c[x-z]]+", "ay", false),
            ("[+--]", ",", true),
            ("[a-]+", "-a", true),
            ("[-a]+", "-a", true),
            ("[]a]+", "a", true),
            ("[^]a]+", "b", true),
            ("[~~a]+", "a", true),
            ("[a&b]+", "b", true),
            ("\\p{Alpha}+", "orders", true),
            ("\\p{Lower}\\P{Lower}", "o1", true),
            ("\\pL+", "orders", true),
            ("\\p{javaLowerCase}+", "oRders", false),
            ("[\\p{Punct}&&[^.]]", "-", true),
            ("[\\w.]+", "a_b.c", true),
            ("\\d+\\D", "12a", true),
            ("\\x41\\u0042\\x{43}\\0104", "ABCD", true),
            ("(a|b)\\1", "aa", true),
            ("(a|b)\\1", "ab", false),
            ("(a)\\10", "aa0", true),
            ("(?<x>a|b)-\\k<x>", "b-b", true),
            ("(?<x>a|b)-\\k<x>", "b-a", false),
            ("(?<!x)a", "a", true),
            ("a(?<=a)b", "ab", true),
            ("\\Aa\\z", "a", true),
            ("a$", "a", true),
            ("a\\b-b", "a-b", true),
            ("\\h*a", "a", true),
            ("a\\-b", "a-b", true),
        ];
        for (pattern, name, expected) in cases {
            check(pattern, name, expected);
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_its_position() {
        let cases = [
            ("orders-(eu|us", "`(` without its `)`, at character 8"),
            ("orders)", "`)` without its `(`, at character 7"),
            ("[a-z", "`[` without its `]`, at character 1"),
            ("*.orders", "`*` has nothing to repeat, at character 1"),
            ("a**", "`*` has nothing to repeat, at character 3"),
            ("ab{x}", "`{` starts no repetition such as {2}, {2,} or {2,5}, at character 3"),
            ("a{5,2}", "the repetition's second number is below its first, at character 2"),
            ("a[z-b]", "the range `z-b` runs backwards, at character 3"),
            ("é\\y", "unknown escape `\\y`, at character 2"),
            ("a\\", "`\\` at the end, at character 2"),
            ("\\p{Foo}", "unknown character property `Foo`, at character 1"),
            ("(?P<x>a)", "unknown kind of group or unknown flag, at character 3"),
            ("(?=a)*", "a repetition of something that has no width, at character 6"),
            ("(a)\\2", "there is no group 2 before this, at character 4"),
            ("\\k<x>", "no group is named `x`, at character 1"),
            ("[a&&]", "nothing after `&&`, at character 5"),
            ("(?<=a*)b", "a look-behind must match a fixed number of characters"),
            ("((x{900}){900}){900}", "it is too large, look at its repetitions"),
        ];
        for (pattern, expected) in cases {
            let error = Pattern::new(pattern).expect_err(pattern).to_string();
            assert_eq!(error, format!("regular expression `{pattern}`: {expected}"));
        }
        let deep = "(".repeat(1000) + &")".repeat(1000);
        assert!(Pattern::new(&deep).is_err());
        let deep = "[".repeat(100_000);
        assert!(Pattern::new(&deep).is_err());
    }

    #[test]
    fn a_pattern_of_endless_cost_is_given_up() {
        let costly = Pattern::new("(?!x)(a|a)*(?=b)c").unwrap();
        assert_eq!(costly.matches(&"a".repeat(249).into()), Err(TooCostly));
        assert_eq!(costly.matches(&"x".into()), Ok(false));
        // Without look-around there is nothing to step back over, however it is nested.
        check("(a+)+b", &"a".repeat(249), false);
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "[a-c(){}\\[\\]\\\\*+?|&^$.,:=!<>QEkxpiu0-9-]{0,24}", name in "[a-c.-]{0,12}") {
            if let Ok(pattern) = Pattern::new(&text) {
                let _ = pattern.matches(&name.as_str().into());
            }
        }

        #[test]
        fn a_quoted_name_matches_itself_and_nothing_else(name in "[a-zA-Z0-9._-]{1,40}", other in "[a-zA-Z0-9._-]{1,40}") {
            let pattern = Pattern::new(&format!("\\Q{name}\\E")).unwrap();
            prop_assert_eq!(pattern.matches(&name.as_str().into()), Ok(true));
            prop_assert_eq!(pattern.matches(&other.as_str().into()), Ok(name == other));
        }
    }
}
