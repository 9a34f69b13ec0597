//! Who we are at both clusters, for messages about rights.

use std::borrow::Cow;

/// The names under which the clusters know us, as far as we know them ourselves: what a broker makes of a certificate
/// or a token is its own matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// At the source.
    pub source: Option<String>,
    /// At the destination.
    pub destination: Option<String>,
}

impl Users {
    /// `text` with the name behind each `the source's user` and `the destination's user` in it.
    pub fn named<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut named = Cow::Borrowed(text);
        for (words, name) in
            [("the source's user", &self.source), ("the destination's user", &self.destination)]
        {
            if let Some(name) = name.as_ref().filter(|_| named.contains(words)) {
                named = Cow::Owned(named.replace(words, &format!("{words} `{name}`")));
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_behind_the_words_for_users_and_nowhere_else() {
        let users = Users { source: Some("ann".to_owned()), destination: None };
        let text = "give the source's user READ, and the destination's user WRITE, as ann has";
        let expected = "give the source's user `ann` READ, and the destination's user WRITE, as ann has";
        assert_eq!(users.named(text), expected);
        assert!(matches!(Users::default().named(text), Cow::Borrowed(_)));
    }
}
