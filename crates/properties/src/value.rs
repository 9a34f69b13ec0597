//! What a value may be: the types of Kafka's `ConfigDef`, with their units and ranges.
//!
//! [`Kind::read`] turns text to a [`Value`] as `ConfigDef.parseType` does: blanks around it dropped,
//! lists split at commas with the blanks around those, booleans in any case.

use std::fmt;

/// The type of a property, its unit and its range.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Any text, never shown.
    Password,
    /// `true` or `false`, in any case.
    Boolean,
    /// A whole number.
    Whole {
        /// What it counts.
        unit: Unit,
        /// The lowest allowed.
        min: i64,
        /// The highest allowed.
        max: i64,
    },
    /// A number with a fraction.
    Fraction,
    /// Text parts separated by commas.
    List,
    /// `host:port` pairs separated by commas.
    Servers,
    /// The name of a Java class.
    Class,
    /// Names of Java classes separated by commas.
    Classes,
    /// One of a few words.
    OneOf(&'static [&'static str]),
}

/// What a whole number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// `ms`, `bytes` …, empty for things.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
        }
    }
}

const INT_MAX: i64 = i32::MAX as i64;

impl Kind {
    /// A count from `min` up to Java's largest int.
    pub const fn count(min: i64) -> Kind {
        Kind::Whole { unit: Unit::Count, min, max: INT_MAX }
    }

    /// Milliseconds from `min` up to Java's largest int.
    pub const fn millis(min: i64) -> Kind {
        Kind::Whole { unit: Unit::Millis, min, max: INT_MAX }
    }

    /// Milliseconds from `min` up to Java's largest long.
    pub const fn long_millis(min: i64) -> Kind {
        Kind::Whole { unit: Unit::Millis, min, max: i64::MAX }
    }

    /// Bytes from `min` up to Java's largest int.
    pub const fn bytes(min: i64) -> Kind {
        Kind::Whole { unit: Unit::Bytes, min, max: INT_MAX }
    }

    /// Reads a value as `ConfigDef` does.
    ///
    /// # Errors
    /// What is wrong with `text`, to be put behind the property's name, without quoting a password.
    pub fn read(self, text: &str) -> Result<Value, String> {
        let trimmed = trim(text);
        match self {
            Kind::Text => Ok(Value::Text(trimmed.to_owned())),
            Kind::Password => Ok(Value::Password(Secret(trimmed.to_owned()))),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err(format!("is `{trimmed}`, neither `true` nor `false`")),
            Kind::Whole { min, max, .. } => match trimmed.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Whole(number)),
                Ok(number) => Err(format!("is {number}, outside its range")),
                Err(_) => Err(format!("is `{trimmed}`, not a whole number")),
            },
            Kind::Fraction => match trimmed.trim_end_matches(['d', 'D', 'f', 'F']).parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Fraction(number)),
                _ => Err(format!("is `{trimmed}`, not a number")),
            },
            Kind::List | Kind::Classes => Ok(Value::List(split_list(trimmed))),
            Kind::Servers => read_servers(trimmed).map(Value::List),
            Kind::Class if trimmed.contains(|char: char| char.is_whitespace() || char == ',') => {
                Err(format!("is `{trimmed}`, not the name of one class"))
            }
            Kind::Class => Ok(Value::Text(trimmed.to_owned())),
            Kind::OneOf(words) if words.contains(&trimmed) => Ok(Value::Text(trimmed.to_owned())),
            Kind::OneOf(_) => Err(format!("is `{trimmed}`, which it cannot be")),
        }
    }

    /// What is allowed, as a hint says it: `a whole number of ms from 0`.
    pub fn allowed(self) -> String {
        match self {
            Kind::Text | Kind::Password => "any text".to_owned(),
            Kind::Boolean => "`true` or `false`".to_owned(),
            Kind::Whole { unit, min, max } => {
                let unit = match unit {
                    Unit::Count => String::new(),
                    unit => format!(" of {}", unit.as_str()),
                };
                let to = if max < INT_MAX { format!(" to {max}") } else { String::new() };
                format!("a whole number{unit} from {min}{to}")
            }
            Kind::Fraction => "a number".to_owned(),
            Kind::List => "names separated by commas".to_owned(),
            Kind::Servers => "`host:port`, several separated by commas".to_owned(),
            Kind::Class => "the name of a class".to_owned(),
            Kind::Classes => "names of classes separated by commas".to_owned(),
            Kind::OneOf(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
            }
        }
    }
}

/// The type's short name, as the reference shows it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Text => f.write_str("text"),
            Kind::Password => f.write_str("password"),
            Kind::Boolean => f.write_str("boolean"),
            Kind::Whole { unit, min, max } => {
                f.write_str(if *max <= INT_MAX { "int" } else { "long" })?;
                if *unit != Unit::Count {
                    write!(f, ", {}", unit.as_str())?;
                }
                match *max < INT_MAX {
                    true => write!(f, ", {min} to {max}"),
                    false => write!(f, ", from {min}"),
                }
            }
            Kind::Fraction => f.write_str("double"),
            Kind::List => f.write_str("list"),
            Kind::Servers => f.write_str("list of host:port"),
            Kind::Class => f.write_str("class"),
            Kind::Classes => f.write_str("list of classes"),
            Kind::OneOf(words) => f.write_str(&words.join(" | ")),
        }
    }
}

/// A value that was read.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Text, a class or one of a few words; trimmed.
    Text(String),
    /// Text that is never shown.
    Password(Secret),
    /// True or false.
    Boolean(bool),
    /// A whole number within its range.
    Whole(i64),
    /// A finite number.
    Fraction(f64),
    /// The parts of a list, trimmed; an empty part stays one.
    List(Vec<String>),
}

/// Text that shows as `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// From here on it does not show.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Java's `String.trim`: every character up to the space.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|char| char <= ' ')
}

/// Kafka's lists: split at `\s*,\s*`; nothing is an empty list, and two commas have an empty part between.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let text = trim(text);
    if text.is_empty() {
        return Vec::new();
    }
    let is_space = |char| matches!(char, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    text.split(',').map(|part| part.trim_matches(is_space).to_owned()).collect()
}

/// `host:port` pairs as Kafka's clients take them: a `PROTOCOL://` in front is ignored, an IPv6 address
/// may have brackets (and gets them).
fn read_servers(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = split_list(text).into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("is empty".to_owned());
    }
    parts.iter().map(|part| read_server(part)).collect()
}

fn read_server(part: &str) -> Result<String, String> {
    let address = part.rsplit_once("://").map_or(part, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(format!("holds `{part}`, which has no port"));
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host_char = |char: char| char.is_ascii_alphanumeric() || "-.:_%".contains(char);
    if host.is_empty() || !host.chars().all(is_host_char) {
        return Err(format!("holds `{part}`, whose host cannot be one"));
    }
    let is_digits = port.chars().all(|char| char.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if port > 0 && is_digits && host.contains(':') => Ok(format!("[{host}]:{port}")),
        Ok(port) if port > 0 && is_digits => Ok(format!("{host}:{port}")),
        _ => Err(format!("holds `{part}`, whose port is not a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, expected: &str) {
        let shown = match kind.read(text) {
            Ok(value) => format!("{value:?}"),
            Err(message) => message,
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn values_are_read_as_config_def_reads_them() {
        check(Kind::Boolean, " TRUE ", "Boolean(true)");
        check(Kind::Boolean, "yes", "is `yes`, neither `true` nor `false`");
        check(Kind::count(1), " 4\t", "Whole(4)");
        check(Kind::count(1), "+4", "Whole(4)");
        check(Kind::count(1), "0", "is 0, outside its range");
        check(Kind::count(1), "2147483648", "is 2147483648, outside its range");
        check(Kind::long_millis(0), "9223372036854775807", "Whole(9223372036854775807)");
        check(Kind::long_millis(0), "9223372036854775808", "is `9223372036854775808`, not a whole number");
        check(Kind::count(1), "", "is ``, not a whole number");
        check(Kind::Fraction, "0.8", "Fraction(0.8)");
        check(Kind::Fraction, "NaN", "is `NaN`, not a number");
        check(Kind::List, "", "List([])");
        check(Kind::List, " a , b,,c, ", r#"List(["a", "b", "", "c", ""])"#);
        check(Kind::OneOf(&["connect", "consumer"]), "Connect", "is `Connect`, which it cannot be");
        check(Kind::Class, "a.B, c.D", "is `a.B, c.D`, not the name of one class");
    }

    #[test]
    fn servers_are_read_as_kafkas_clients_read_them() {
        check(Kind::Servers, "a:1, b.example:65535", r#"List(["a:1", "b.example:65535"])"#);
        check(Kind::Servers, "PLAINTEXT://[::1]:9092,", r#"List(["[::1]:9092"])"#);
        check(Kind::Servers, "::1:9092", r#"List(["[::1]:9092"])"#);
        check(Kind::Servers, " , ", "is empty");
        check(Kind::Servers, "localhost", "holds `localhost`, which has no port");
        check(Kind::Servers, "a:0", "holds `a:0`, whose port is not a number from 1 to 65535");
        check(Kind::Servers, "a:+1", "holds `a:+1`, whose port is not a number from 1 to 65535");
        check(Kind::Servers, ":9092", "holds `:9092`, whose host cannot be one");
        check(Kind::Servers, "a b:9092", "holds `a b:9092`, whose host cannot be one");
    }

    #[test]
    fn a_password_shows_hidden() {
        check(Kind::Password, " hunter2 ", "Password([hidden])");
        assert_eq!(Secret("x".to_owned()).to_string(), "[hidden]");
    }

    #[test]
    fn a_hint_names_unit_and_range() {
        assert_eq!(Kind::millis(0).allowed(), "a whole number of ms from 0");
        assert_eq!(Kind::Whole { unit: Unit::Count, min: 0, max: 9 }.allowed(), "a whole number from 0 to 9");
        assert_eq!(Kind::OneOf(&["a", "b"]).allowed(), "`a` or `b`");
    }
}
