//! Names of settings as a list gives them: each is one name, or all that begin so where a `*` ends it.

use std::collections::BTreeSet;

/// Which settings a list such as `topic.config.sync.exclude` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingNames {
    whole: BTreeSet<String>,
    beginnings: Vec<String>,
}

impl SettingNames {
    /// `retention.ms` is that setting, `retention.*` each that begins with `retention.`, `*` each. A `*` before
    /// the end stands for itself, which no setting has in its name.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> SettingNames {
        let mut settings = SettingNames::default();
        for name in names {
            match name.as_ref().strip_suffix('*') {
                Some(beginning) => settings.beginnings.push(beginning.to_owned()),
                None => {
                    settings.whole.insert(name.as_ref().to_owned());
                }
            }
        }
        settings
    }

    /// Whether the setting `key` is among them.
    pub fn contains(&self, key: &str) -> bool {
        self.whole.contains(key)
            || self.beginnings.iter().any(|beginning| key.starts_with(beginning.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_setting_and_a_beginning_all_that_begin_so() {
        let check = |names: &[&str], key: &str, expected: bool| {
            assert_eq!(SettingNames::new(names).contains(key), expected, "{names:?} {key}");
        };
        check(&[], "retention.ms", false);
        check(&["retention.ms"], "retention.ms", true);
        check(&["retention.ms"], "delete.retention.ms", false);
        check(&["retention.*", "flush.ms"], "retention.bytes", true);
        check(&["retention.*", "flush.ms"], "retention", false);
        check(&["retention.*", "flush.ms"], "flush.messages", false);
        check(&["*"], "anything", true);
        check(&["*.ms"], "retention.ms", false);
    }
}
