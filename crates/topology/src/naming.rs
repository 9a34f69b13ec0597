//! The destination's name of a source topic (`topic.rename.format`), and back.

use std::fmt;

use model::TopicName;

/// The longest name Kafka takes: directory names add a partition number within the usual 255.
pub const NAME_CHARS_MAX: usize = 249;

const PLACEHOLDER: &str = "${topic}";

/// Why a name is not one Kafka takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a topic name cannot be empty")]
    Empty,
    /// A directory's own name.
    #[error("a topic cannot be named `{0}`")]
    Dots(String),
    /// Longer than [`NAME_CHARS_MAX`].
    #[error("topic name `{name}` has {chars} characters, at most {NAME_CHARS_MAX} are allowed")]
    TooLong {
        /// The name.
        name: String,
        /// Its length.
        chars: usize,
    },
    /// Outside `[a-zA-Z0-9._-]`.
    #[error("topic name `{name}` contains `{character}`; letters, digits, `.`, `_` and `-` are allowed")]
    Character {
        /// The name.
        name: String,
        /// The first that is not allowed.
        character: char,
    },
}

/// Checks that Kafka takes `name` for a topic.
///
/// # Errors
/// The first [`NameError`] found.
///
/// Source: `org.apache.kafka.common.internals.Topic.validate`.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots(name.to_owned()));
    }
    if let Some(character) = name.chars().find(|c| !is_legal(*c)) {
        return Err(NameError::Character { name: name.to_owned(), character });
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(NameError::TooLong { name: name.to_owned(), chars: name.len() });
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// A parsed `topic.rename.format`.
#[derive(Clone, PartialEq, Eq)]
pub struct Naming {
    /// The text between the placeholders: one piece more than there are of them.
    pieces: Vec<String>,
}

/// Why a text is not a rename format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// No character at all.
    #[error("the rename format is empty; `${{topic}}` keeps the names")]
    Empty,
    /// `${…}` with another name in it, or never closed.
    #[error("rename format `{format}`: unknown placeholder `{placeholder}`, only `${{topic}}` is known")]
    Placeholder {
        /// The format.
        format: String,
        /// What it holds.
        placeholder: String,
    },
    /// Fixed text that no topic name can hold.
    #[error("rename format `{format}` contains `{character}`; letters, digits, `.`, `_` and `-` are allowed")]
    Character {
        /// The format.
        format: String,
        /// The first that is not allowed.
        character: char,
    },
    /// The fixed text alone is no name or leaves no room for one.
    #[error("rename format `{format}` gives no legal name")]
    Illegal {
        /// The format.
        format: String,
        /// Why.
        #[source]
        source: NameError,
    },
}

impl Naming {
    /// Names as they are at the source.
    pub fn unchanged() -> Naming {
        Naming { pieces: vec![String::new(), String::new()] }
    }

    /// Parses a format such as `${topic}.replica`. Without `${topic}` it is one fixed name.
    ///
    /// # Errors
    /// [`NamingError`] if no topic could be named by it.
    pub fn new(format: &str) -> Result<Naming, NamingError> {
        let pieces: Vec<String> = format.split(PLACEHOLDER).map(str::to_owned).collect();
        for piece in &pieces {
            if let Some(start) = piece.find("${") {
                let end = piece[start..].find('}').map_or(piece.len(), |end| start + end + 1);
                return Err(NamingError::Placeholder {
                    format: format.to_owned(),
                    placeholder: piece[start..end].to_owned(),
                });
            }
            if let Some(character) = piece.chars().find(|c| !is_legal(*c)) {
                return Err(NamingError::Character { format: format.to_owned(), character });
            }
        }
        if format.is_empty() {
            return Err(NamingError::Empty);
        }
        let naming = Naming { pieces };
        // The shortest source name shows whether the fixed text leaves room.
        let shortest = naming.destination(&TopicName::from("a"));
        match check_name(shortest.as_str()) {
            Ok(()) => Ok(naming),
            Err(source) => Err(NamingError::Illegal { format: format.to_owned(), source }),
        }
    }

    /// The destination's name of the source topic `source`; [`check_name`] says whether Kafka takes it.
    pub fn destination(&self, source: &TopicName) -> TopicName {
        TopicName::from(self.pieces.join(source.as_str()))
    }

    /// The source topic that is named `destination` there, if one can be: `None` for names of another
    /// form, and always for a fixed name, which says nothing of its source.
    pub fn source(&self, destination: &TopicName) -> Option<TopicName> {
        let places = self.pieces.len() - 1;
        let fixed: usize = self.pieces.iter().map(String::len).sum();
        let name_length = destination.as_str().len().checked_sub(fixed)?.checked_div(places)?;
        let start = self.pieces[0].len();
        let name = destination.as_str().get(start..start + name_length)?;
        let source = TopicName::from(name);
        (!name.is_empty() && self.destination(&source) == *destination).then_some(source)
    }

    /// What every name begins with that is followed by the topic's own; `None` for a fixed name.
    pub fn beginning(&self) -> Option<&str> {
        if self.is_fixed() { None } else { self.pieces.first().map(String::as_str) }
    }

    /// Whether every topic gets the same name.
    pub fn is_fixed(&self) -> bool {
        self.pieces.len() == 1
    }

    /// Whether names stay as they are.
    pub fn is_unchanged(&self) -> bool {
        *self == Naming::unchanged()
    }
}

impl Default for Naming {
    fn default() -> Naming {
        Naming::unchanged()
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pieces.join(PLACEHOLDER))
    }
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(format: &str, source: &str, destination: &str) {
        let naming = Naming::new(format).unwrap();
        assert_eq!(naming.destination(&source.into()).as_str(), destination);
        let back = naming.source(&destination.into());
        assert_eq!(back, (!naming.is_fixed()).then(|| source.into()), "{format} from {destination}");
        assert_eq!(naming.to_string(), format);
    }

    #[test]
    fn a_format_names_topics_as_replicator_does() {
        check("${topic}", "orders", "orders");
        check("${topic}.replica", "orders", "orders.replica");
        check("dc_${topic}", "orders", "dc_orders");
        check("a-${topic}-b", "orders", "a-orders-b");
        check("${topic}.of.${topic}", "orders", "orders.of.orders");
        check("one-name", "orders", "one-name");
        assert!(Naming::new("${topic}").unwrap().is_unchanged());
        assert!(Naming::new("one-name").unwrap().is_fixed());
    }

    #[test]
    fn a_format_that_can_name_nothing_is_refused() {
        let cases = [
            ("", "the rename format is empty; `${topic}` keeps the names"),
            (
                "${Topic}.replica",
                "rename format `${Topic}.replica`: unknown placeholder `${Topic}`, only `${topic}` is known",
            ),
            ("${topic", "rename format `${topic`: unknown placeholder `${topic`, only `${topic}` is known"),
            (
                "to/${topic}",
                "rename format `to/${topic}` contains `/`; letters, digits, `.`, `_` and `-` are allowed",
            ),
            ("..", "rename format `..` gives no legal name"),
        ];
        for (format, expected) in cases {
            assert_eq!(Naming::new(format).expect_err(format).to_string(), expected);
        }
        assert!(Naming::new(&format!("{}${{topic}}", "x".repeat(249))).is_err());
    }

    #[test]
    fn a_name_of_another_form_has_no_source() {
        let naming = Naming::new("a-${topic}-b").unwrap();
        for name in ["orders", "a-orders", "orders-b", "a--b", "a-b", "a-", ""] {
            assert_eq!(naming.source(&name.into()), None, "{name}");
        }
        let twice = Naming::new("${topic}.${topic}").unwrap();
        assert_eq!(twice.source(&"a.b".into()), None);
        assert_eq!(twice.source(&"a.aa".into()), None);
    }

    #[test]
    fn names_that_kafka_refuses_are_refused() {
        assert_eq!(check_name("a.b_c-D9"), Ok(()));
        assert_eq!(check_name(&"x".repeat(249)), Ok(()));
        assert!(matches!(check_name(&"x".repeat(250)), Err(NameError::TooLong { chars: 250, .. })));
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert!(matches!(check_name("."), Err(NameError::Dots(_))));
        assert!(matches!(check_name("a b"), Err(NameError::Character { character: ' ', .. })));
        assert!(matches!(check_name("é"), Err(NameError::Character { character: 'é', .. })));
    }

    proptest! {
        #[test]
        fn renaming_inverts(
            prefix in "[a-z.-]{0,6}", suffix in "[a-z.-]{0,6}", twice in any::<bool>(), name in "[a-zA-Z0-9._-]{1,60}"
        ) {
            let middle = if twice { "-${topic}" } else { "" };
            let naming = Naming::new(&format!("{prefix}${{topic}}{middle}{suffix}")).unwrap();
            let source = TopicName::from(name);
            prop_assert_eq!(naming.source(&naming.destination(&source)), Some(source));
        }

        #[test]
        fn any_text_parses_or_is_refused(format in ".{0,20}", name in ".{0,20}") {
            if let Ok(naming) = Naming::new(&format) {
                let _ = naming.source(&TopicName::from(name));
            }
        }
    }
}
