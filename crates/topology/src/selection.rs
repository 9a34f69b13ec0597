//! Which topics of the source are copied: whitelist or regex, blacklist wins, internal ones never.

use std::collections::BTreeSet;

use model::TopicName;

use crate::pattern::{Pattern, TooCostly};

/// Topics that describe the cluster they are in, by name, since not every broker version marks them.
/// `__consumer_timestamps` is Confluent's own translation of group offsets, which Replicator never copies.
const INTERNAL: [&str; 6] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__consumer_timestamps",
    "__remote_log_metadata",
    "__share_group_state",
    "__transaction_state",
];

/// Whether a topic of this name belongs to the cluster that holds it, whatever the cluster says.
pub fn is_internal_name(name: &TopicName) -> bool {
    INTERNAL.binary_search(&name.as_str()).is_ok()
}

/// What the settings select.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// `topic.whitelist`: copied by name; such a topic should exist.
    pub whitelist: BTreeSet<TopicName>,
    /// `topic.blacklist`: never copied.
    pub blacklist: BTreeSet<TopicName>,
    /// `topic.regex`: copied when the whole name matches.
    pub regex: Option<Pattern>,
}

/// What the selection says of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied.
    Selected,
    /// Nothing asks for it.
    NotAsked,
    /// It is in the blacklist.
    Blacklisted,
    /// It would be selected, but belongs to the cluster itself.
    Internal,
    /// `topic.regex` could not be decided for this name.
    TooCostly,
}

impl Selection {
    /// What to do with the topic `name`, which its cluster calls internal or not.
    pub fn verdict(&self, name: &TopicName, internal: bool) -> Verdict {
        if self.blacklist.contains(name) {
            return Verdict::Blacklisted;
        }
        let asked = match &self.regex {
            _ if self.whitelist.contains(name) => true,
            None => false,
            Some(regex) => match regex.matches(name) {
                Ok(matches) => matches,
                Err(TooCostly) => return Verdict::TooCostly,
            },
        };
        match asked {
            false => Verdict::NotAsked,
            true if internal || is_internal_name(name) => Verdict::Internal,
            true => Verdict::Selected,
        }
    }

    /// Whether no topic can ever be selected.
    pub fn is_empty(&self) -> bool {
        self.regex.is_none() && self.whitelist.is_subset(&self.blacklist)
    }

    /// The names to ask the source about, or `None` if only a look at all of them tells.
    pub fn names(&self) -> Option<Vec<TopicName>> {
        match self.regex {
            Some(_) => None,
            None => Some(self.whitelist.difference(&self.blacklist).cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(whitelist: &[&str], blacklist: &[&str], regex: Option<&str>) -> Selection {
        let names = |names: &[&str]| names.iter().map(|name| TopicName::from(*name)).collect();
        Selection {
            whitelist: names(whitelist),
            blacklist: names(blacklist),
            regex: regex.map(|regex| Pattern::new(regex).unwrap()),
        }
    }

    fn check(selection: &Selection, name: &str, expected: Verdict) {
        assert_eq!(selection.verdict(&name.into(), false), expected, "{name}");
    }

    #[test]
    fn the_documented_example_selects_topics_1_2_and_3() {
        let selection = selection(&["topic1"], &["topic4"], Some("topic[2,3,4]"));
        check(&selection, "topic1", Verdict::Selected);
        check(&selection, "topic2", Verdict::Selected);
        check(&selection, "topic3", Verdict::Selected);
        check(&selection, "topic4", Verdict::Blacklisted);
        check(&selection, "topic5", Verdict::NotAsked);
        assert_eq!(selection.names(), None);
    }

    #[test]
    fn an_internal_topic_is_not_selected_even_by_name() {
        let selection = selection(&["__consumer_offsets", "marked", "_schemas"], &[], Some(".*"));
        for name in INTERNAL {
            check(&selection, name, Verdict::Internal);
        }
        assert_eq!(selection.verdict(&"marked".into(), true), Verdict::Internal);
        check(&selection, "_schemas", Verdict::Selected);
        check(&selection, "__mine", Verdict::Selected);
    }

    #[test]
    fn internal_names_are_sorted_for_the_search() {
        assert!(INTERNAL.is_sorted());
    }

    #[test]
    fn a_name_the_regex_cannot_be_decided_for_is_reported_and_the_whitelist_is_not_asked() {
        let costly = "a".repeat(200);
        let mut selection = selection(&[], &[], Some("(?!x)(a|a)*(?=b)c"));
        check(&selection, &costly, Verdict::TooCostly);
        selection.whitelist.insert(costly.as_str().into());
        check(&selection, &costly, Verdict::Selected);
    }

    #[test]
    fn a_selection_without_regex_is_asked_for_by_name() {
        let some = selection(&["a", "b", "c"], &["b"], None);
        assert_eq!(some.names(), Some(vec!["a".into(), "c".into()]));
        assert!(!some.is_empty());
        assert!(selection(&["b"], &["b"], None).is_empty());
        assert!(Selection::default().is_empty());
        assert!(!selection(&[], &[], Some("x")).is_empty());
    }
}
