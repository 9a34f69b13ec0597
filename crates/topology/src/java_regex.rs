//! Translates a Java regular expression into one that `fancy-regex` reads the same way.
//!
//! Existing settings carry Java patterns, whose syntax differs from Rust's in many small ways: `\h` is
//! blank space there and a hex digit here, `[+--]` a range there and a difference here, `\Q…\E`, octal
//! escapes, POSIX classes and flags are Java's own. So the pattern is parsed by Java's grammar and written
//! anew with the few constructs both understand. What is not known to mean the same is refused, with its
//! position, rather than guessed. Legal topic names are ASCII, which is all the translation must be exact
//! for: `\w`, `\p{Alpha}` and the like become plain ASCII classes.
//!
//! Source: the documentation of `java.util.regex.Pattern` (Java 17).

use std::collections::BTreeMap;

use crate::java_property::property;

/// Groups and classes nested deeper than this are refused: `fancy-regex` gives up at 64, and so would the stack.
const DEPTH_MAX: usize = 50;

/// Where and why a pattern is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Characters before the place, counted in the pattern as written.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) what: String,
}

/// A translated pattern, and where its parts came from.
#[derive(Debug)]
pub(crate) struct Translation {
    /// The pattern in `fancy-regex` syntax, not anchored.
    pub(crate) text: String,
    /// For each atom: bytes of `text` before it, characters of the original before it. Ascending.
    origins: Vec<(usize, usize)>,
}

impl Translation {
    /// The place in the original, in characters, that `text_bytes` into the translation came from.
    pub(crate) fn origin(&self, text_bytes: usize) -> usize {
        let after = self.origins.partition_point(|(text, _)| *text <= text_bytes);
        after.checked_sub(1).map_or(0, |index| self.origins[index].1)
    }
}

/// Translates `pattern`, without anchoring it.
///
/// # Errors
/// Where Java refuses it, or where it uses what cannot be translated exactly.
pub(crate) fn translate(pattern: &str) -> Result<Translation, Refusal> {
    let mut translator = Translator {
        pattern: pattern.chars().collect(),
        at: 0,
        text: String::with_capacity(pattern.len() * 2),
        origins: Vec::new(),
        groups: 0,
        names: BTreeMap::new(),
    };
    translator.alternatives(Flags::default(), 0)?;
    if translator.at < translator.pattern.len() {
        return Err(translator.refuse("`)` without its `(`"));
    }
    Ok(Translation { text: translator.text, origins: translator.origins })
}

/// The two flags that matter for a topic name; the others decide about line ends and letters beyond ASCII.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    comments: bool,
}

struct Translator {
    pattern: Vec<char>,
    at: usize,
    text: String,
    origins: Vec<(usize, usize)>,
    /// Capturing groups opened so far.
    groups: usize,
    names: BTreeMap<String, usize>,
}

/// What stands at one place of a class or of a sequence.
enum Escape {
    /// One character.
    Char(char),
    /// The inside of a bracketed class, and whether it is negated.
    Set { inside: &'static str, negated: bool },
    /// Something of no width, or a reference: the text to write, and whether it may be repeated.
    Other { text: String, repeatable: bool },
    /// `\Q…\E`.
    Quoted(Vec<char>),
}

impl Translator {
    fn refuse(&self, what: impl Into<String>) -> Refusal {
        Refusal { at: self.at.min(self.pattern.len()), what: what.into() }
    }

    fn refuse_at(at: usize, what: impl Into<String>) -> Refusal {
        Refusal { at, what: what.into() }
    }

    fn peek(&self) -> Option<char> {
        self.pattern.get(self.at).copied()
    }

    fn peek_after(&self, count: usize) -> Option<char> {
        self.pattern.get(self.at + count).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    /// Skips what `(?x)` makes insignificant.
    fn skip_comments(&mut self, flags: Flags) {
        let insignificant = |c: &char| *c == '#' || c.is_ascii_whitespace() || *c == '\u{b}';
        while let Some(c) = self.peek().filter(|c| flags.comments && insignificant(c)) {
            self.at += 1;
            while c == '#' && self.next().is_some_and(|c| c != '\n') {}
        }
    }

    fn write_char(&mut self, c: char, flags: Flags) {
        if flags.ignore_case && c.is_ascii_alphabetic() {
            self.text.push_str(&format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()));
        } else {
            write_char(&mut self.text, c);
        }
    }

    fn write_class(&mut self, class: &str, flags: Flags) {
        let case = if flags.ignore_case { "(?i:" } else { "" };
        self.text.push_str(case);
        self.text.push_str(class);
        self.text.push_str(if case.is_empty() { "" } else { ")" });
    }

    /// Alternatives up to the end or to a `)`, which is left to the caller. Inline flags hold to the end
    /// of the group they stand in; the translation has none, they show in each atom.
    fn alternatives(&mut self, mut flags: Flags, depth: usize) -> Result<(), Refusal> {
        loop {
            self.skip_comments(flags);
            match self.peek() {
                None | Some(')') => return Ok(()),
                Some('|') => {
                    self.at += 1;
                    self.text.push('|');
                }
                Some(_) => self.piece(&mut flags, depth)?,
            }
        }
    }

    /// One atom and its quantifier.
    fn piece(&mut self, flags: &mut Flags, depth: usize) -> Result<(), Refusal> {
        let start = self.at;
        let text_start = self.text.len();
        self.origins.push((text_start, start));
        let Some(c) = self.next() else { return Ok(()) };
        let repeatable = match c {
            '(' => self.group(flags, depth)?,
            '[' => {
                let class = self.class(*flags, depth)?;
                self.write_class(&class, *flags);
                true
            }
            '.' => {
                self.text.push('.');
                true
            }
            '^' => {
                self.text.push_str("\\A");
                false
            }
            '$' => {
                self.text.push_str("\\z");
                false
            }
            '*' | '+' | '?' => return Err(Self::refuse_at(start, format!("`{c}` has nothing to repeat"))),
            '{' => {
                return Err(Self::refuse_at(
                    start,
                    "`{` has nothing to repeat; write `\\{` for the character",
                ));
            }
            '\\' => match self.escape(*flags)? {
                Escape::Char(c) => {
                    self.write_char(c, *flags);
                    true
                }
                Escape::Set { inside, negated } => {
                    let open = if negated { "[^" } else { "[" };
                    self.write_class(&format!("{open}{inside}]"), *flags);
                    true
                }
                Escape::Other { text, repeatable } => {
                    self.text.push_str(&text);
                    repeatable
                }
                Escape::Quoted(chars) => {
                    for c in &chars {
                        self.write_char(*c, *flags);
                    }
                    !chars.is_empty()
                }
            },
            c => {
                self.write_char(c, *flags);
                true
            }
        };
        self.skip_comments(*flags);
        self.quantifier(repeatable)
    }

    fn quantifier(&mut self, repeatable: bool) -> Result<(), Refusal> {
        let start = self.at;
        match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.at += 1;
                self.text.push(c);
            }
            Some('{') => {
                self.at += 1;
                let illegal =
                    || Self::refuse_at(start, "`{` starts no repetition such as {2}, {2,} or {2,5}");
                let least = self.number().ok_or_else(illegal)?;
                let most = match self.take(',') {
                    false => Some(least),
                    true if self.peek() == Some('}') => None,
                    true => Some(self.number().ok_or_else(illegal)?),
                };
                if !self.take('}') {
                    return Err(illegal());
                }
                if most.is_some_and(|most| most < least) {
                    return Err(Self::refuse_at(start, "the repetition's second number is below its first"));
                }
                let most = match most {
                    Some(most) if most == least => String::new(),
                    Some(most) => format!(",{most}"),
                    None => ",".to_owned(),
                };
                self.text.push_str(&format!("{{{least}{most}}}"));
            }
            _ => return Ok(()),
        }
        if !repeatable {
            return Err(Self::refuse_at(start, "a repetition of something that has no width"));
        }
        // Lazy and possessive are written alike on both sides.
        if let Some(c @ ('?' | '+')) = self.peek() {
            self.at += 1;
            self.text.push(c);
        }
        match self.peek() {
            Some(c @ ('*' | '+' | '?' | '{')) => Err(self.refuse(format!("`{c}` has nothing to repeat"))),
            _ => Ok(()),
        }
    }

    /// Decimal digits, at most nine of them.
    fn number(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) && self.at - start < 9 {
            self.at += 1;
        }
        self.pattern[start..self.at].iter().collect::<String>().parse().ok()
    }

    /// A group whose `(` was read. Returns whether a quantifier may follow.
    fn group(&mut self, flags: &mut Flags, depth: usize) -> Result<bool, Refusal> {
        let start = self.at - 1;
        if depth >= DEPTH_MAX {
            return Err(Self::refuse_at(start, "nested too deeply"));
        }
        let mut inner = *flags;
        let mut repeatable = true;
        if self.take('?') {
            match (self.peek(), self.peek_after(1)) {
                (Some(c @ (':' | '=' | '!' | '>')), _) => {
                    self.at += 1;
                    self.text.push_str("(?");
                    self.text.push(c);
                    repeatable = matches!(c, ':' | '>');
                }
                (Some('<'), Some(c @ ('=' | '!'))) => {
                    self.at += 2;
                    self.text.push_str("(?<");
                    self.text.push(c);
                    repeatable = false;
                }
                (Some('<'), _) => {
                    self.at += 1;
                    let name = self.group_name()?;
                    self.groups += 1;
                    if self.names.insert(name.clone(), self.groups).is_some() {
                        return Err(Self::refuse_at(start, format!("the group name `{name}` is used twice")));
                    }
                    self.text.push('(');
                }
                _ => {
                    self.inline_flags(&mut inner, start)?;
                    if self.take(')') {
                        *flags = inner;
                        return Ok(false);
                    }
                    self.at += 1;
                    self.text.push_str("(?:");
                }
            }
        } else {
            self.groups += 1;
            self.text.push('(');
        }
        self.alternatives(inner, depth + 1)?;
        if !self.take(')') {
            return Err(Self::refuse_at(start, "`(` without its `)`"));
        }
        self.text.push(')');
        Ok(repeatable)
    }

    /// `X>` of `(?<X>` and `\k<X>`.
    fn group_name(&mut self) -> Result<String, Refusal> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name: String = self.pattern[start..self.at].iter().collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.take('>') {
            return Err(Self::refuse_at(
                start,
                "a group name is letters and digits, a letter first, then `>`",
            ));
        }
        Ok(name)
    }

    /// The letters after `(?`, up to the `)` or `:` that ends them.
    fn inline_flags(&mut self, flags: &mut Flags, start: usize) -> Result<(), Refusal> {
        let mut on = true;
        loop {
            match self.peek() {
                Some('i') => flags.ignore_case = on,
                Some('x') => flags.comments = on,
                Some('d' | 'm' | 's' | 'u' | 'U') => {}
                Some('-') if on => on = false,
                Some(')' | ':') => return Ok(()),
                Some(_) => return Err(self.refuse("unknown kind of group or unknown flag")),
                None => return Err(Self::refuse_at(start, "`(` without its `)`")),
            }
            self.at += 1;
        }
    }

    /// A class whose `[` was read, as text.
    fn class(&mut self, flags: Flags, depth: usize) -> Result<String, Refusal> {
        let start = self.at - 1;
        if depth >= DEPTH_MAX {
            return Err(Self::refuse_at(start, "nested too deeply"));
        }
        let mut class = String::from("[");
        if self.take('^') {
            class.push('^');
        }
        // Whether the present operand of `&&` has anything in it.
        let mut filled = false;
        let mut operands = 1;
        loop {
            self.skip_comments(flags);
            let item_start = self.at;
            let Some(c) = self.next() else {
                return Err(Self::refuse_at(start, "`[` without its `]`"));
            };
            match c {
                ']' if filled => {
                    class.push(']');
                    return Ok(class);
                }
                ']' if operands > 1 => return Err(Self::refuse_at(item_start, "nothing after `&&`")),
                '[' => class.push_str(&self.class(flags, depth + 1)?),
                '&' if self.peek() == Some('&') => {
                    self.at += 1;
                    if !filled {
                        return Err(Self::refuse_at(item_start, "nothing before `&&`"));
                    }
                    if self.peek() == Some('&') {
                        return Err(Self::refuse_at(
                            item_start,
                            "`&&&`: put the third `&` first or escape it",
                        ));
                    }
                    class.push_str("&&");
                    filled = false;
                    operands += 1;
                    continue;
                }
                '\\' => match self.escape_in_class(flags)? {
                    Escape::Char(c) => self.class_range(&mut class, c, item_start, flags)?,
                    Escape::Set { inside, negated } => {
                        let open = if negated { "[^" } else { "[" };
                        class.push_str(&format!("{open}{inside}]"));
                    }
                    Escape::Quoted(chars) if chars.is_empty() => continue,
                    Escape::Quoted(chars) => chars.into_iter().for_each(|c| write_char(&mut class, c)),
                    Escape::Other { .. } => {
                        return Err(Self::refuse_at(item_start, "this escape does not belong in a class"));
                    }
                },
                c => self.class_range(&mut class, c, item_start, flags)?,
            }
            filled = true;
        }
    }

    /// Writes the single character `first`, or the range it starts.
    fn class_range(
        &mut self,
        class: &mut String,
        first: char,
        start: usize,
        flags: Flags,
    ) -> Result<(), Refusal> {
        self.skip_comments(flags);
        if self.peek() != Some('-') || matches!(self.peek_after(1), None | Some('[' | ']')) {
            write_char(class, first);
            return Ok(());
        }
        self.at += 1;
        self.skip_comments(flags);
        let last = match self.next() {
            Some('\\') => match self.escape_in_class(flags)? {
                Escape::Char(c) => c,
                _ => return Err(Self::refuse_at(start, "a range ends with one character")),
            },
            Some(c) => c,
            None => return Err(Self::refuse_at(start, "a range without its end")),
        };
        if last < first {
            return Err(Self::refuse_at(start, format!("the range `{first}-{last}` runs backwards")));
        }
        write_char(class, first);
        class.push('-');
        write_char(class, last);
        Ok(())
    }

    fn escape_in_class(&mut self, flags: Flags) -> Result<Escape, Refusal> {
        let start = self.at.saturating_sub(1);
        match self.peek() {
            Some('A' | 'B' | 'G' | 'Z' | 'z' | 'b' | 'R' | 'X' | 'k' | '1'..='9') => {
                Err(Self::refuse_at(start, "this escape does not belong in a class"))
            }
            _ => self.escape(flags),
        }
    }

    /// An escape whose `\` was read.
    fn escape(&mut self, flags: Flags) -> Result<Escape, Refusal> {
        let start = self.at.saturating_sub(1);
        let Some(c) = self.next() else {
            return Err(Self::refuse_at(start, "`\\` at the end"));
        };
        let set = |inside, negated| Ok(Escape::Set { inside, negated });
        let nowhere = |text: &str| Ok(Escape::Other { text: text.to_owned(), repeatable: false });
        match c {
            'd' | 'D' => set("0-9", c == 'D'),
            'h' | 'H' => set("\\x{9}\\x{20}", c == 'H'),
            's' | 'S' => set("\\x{9}-\\x{d}\\x{20}", c == 'S'),
            'v' | 'V' => set("\\x{a}-\\x{d}", c == 'V'),
            'w' | 'W' => set("0-9A-Z_a-z", c == 'W'),
            'p' | 'P' => {
                let name = self.property_name(start)?;
                let inside = property(&name)
                    .ok_or_else(|| Self::refuse_at(start, format!("unknown character property `{name}`")))?;
                set(inside, c == 'P')
            }
            // A whole-name match starts where the name starts; and a name ends in no line terminator.
            'A' | 'G' => nowhere("\\A"),
            'Z' | 'z' => nowhere("\\z"),
            'b' if self.peek() == Some('{') => Err(Self::refuse_at(start, "`\\b{…}` is not supported")),
            'b' => nowhere("\\b"),
            'B' => nowhere("\\B"),
            'Q' => Ok(Escape::Quoted(self.quoted())),
            'k' => {
                if !self.take('<') {
                    return Err(Self::refuse_at(start, "`\\k` wants a group name in `<>`"));
                }
                let name = self.group_name()?;
                let group = self.names.get(&name).copied();
                let group =
                    group.ok_or_else(|| Self::refuse_at(start, format!("no group is named `{name}`")))?;
                self.reference(group, flags, start)
            }
            '1'..='9' => {
                // Java takes a further digit only while so many groups exist.
                let mut group = c as usize - '0' as usize;
                while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > self.groups {
                        break;
                    }
                    group = longer;
                    self.at += 1;
                }
                if group > self.groups {
                    return Err(Self::refuse_at(start, format!("there is no group {group} before this")));
                }
                self.reference(group, flags, start)
            }
            '0' => self.octal(start),
            'x' => self.hexadecimal(start),
            'u' => {
                let c = self.hex_digits(4, start)?;
                Ok(Escape::Char(c))
            }
            'c' => match self.next() {
                Some(c) if c.is_ascii() => Ok(Escape::Char(char::from(c as u8 ^ 64))),
                _ => Err(Self::refuse_at(start, "`\\c` wants a control character's letter")),
            },
            'a' => Ok(Escape::Char('\u{7}')),
            'e' => Ok(Escape::Char('\u{1b}')),
            'f' => Ok(Escape::Char('\u{c}')),
            'n' => Ok(Escape::Char('\n')),
            'r' => Ok(Escape::Char('\r')),
            't' => Ok(Escape::Char('\t')),
            c if c.is_ascii_alphabetic() => Err(Self::refuse_at(start, format!("unknown escape `\\{c}`"))),
            c => Ok(Escape::Char(c)),
        }
    }

    fn reference(&self, group: usize, flags: Flags, start: usize) -> Result<Escape, Refusal> {
        if flags.ignore_case {
            return Err(Self::refuse_at(start, "a back reference that ignores case is not supported"));
        }
        // In a group of its own, so that a digit that follows is not taken for part of the number.
        Ok(Escape::Other { text: format!("(?:\\{group})"), repeatable: true })
    }

    fn quoted(&mut self) -> Vec<char> {
        let mut chars = Vec::new();
        while let Some(c) = self.next() {
            if c == '\\' && self.take('E') {
                break;
            }
            chars.push(c);
        }
        chars
    }

    fn property_name(&mut self, start: usize) -> Result<String, Refusal> {
        let mut name = String::new();
        match self.next() {
            Some('{') => loop {
                match self.next() {
                    Some('}') => return Ok(name),
                    Some(c) => name.push(c),
                    None => {
                        return Err(Self::refuse_at(start, "`{` of a character property without its `}`"));
                    }
                }
            },
            Some(c) => {
                name.push(c);
                Ok(name)
            }
            None => Err(Self::refuse_at(start, "a character property without its name")),
        }
    }

    fn octal(&mut self, start: usize) -> Result<Escape, Refusal> {
        let mut value = 0;
        let mut digits = 0;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) {
            if digits == 3 || value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            digits += 1;
            self.at += 1;
        }
        match char::from_u32(value) {
            Some(c) if digits > 0 => Ok(Escape::Char(c)),
            _ => Err(Self::refuse_at(start, "`\\0` wants one to three octal digits")),
        }
    }

    fn hexadecimal(&mut self, start: usize) -> Result<Escape, Refusal> {
        if !self.take('{') {
            return self.hex_digits(2, start).map(Escape::Char);
        }
        let mut value: u32 = 0;
        loop {
            match self.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_hexdigit() && value <= 0x00ff_ffff => {
                    value = value * 16 + c.to_digit(16).unwrap_or(0);
                }
                _ => return Err(Self::refuse_at(start, "`\\x{` wants hexadecimal digits and `}`")),
            }
        }
        char::from_u32(value).map(Escape::Char).ok_or_else(|| Self::refuse_at(start, "no such character"))
    }

    fn hex_digits(&mut self, count: usize, start: usize) -> Result<char, Refusal> {
        let mut value = 0;
        for _ in 0..count {
            let digit = self.next().and_then(|c| c.to_digit(16));
            let digit =
                digit.ok_or_else(|| Self::refuse_at(start, format!("wants {count} hexadecimal digits")))?;
            value = value * 16 + digit;
        }
        char::from_u32(value).ok_or_else(|| Self::refuse_at(start, "no such character"))
    }
}

/// Writes one character so that it means itself, inside a class and outside.
fn write_char(text: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' {
        text.push(c);
    } else {
        text.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    }
}
