//! Refuses what must not be copied: a topic to itself, a copy of a copy, several topics to one, to names
//! that Kafka does not take.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicName;

use crate::candidates::{Candidates, NotCopied, NotCopiedReason};
use crate::diff::Intent;
use crate::flows::{Ends, conflict};
use crate::naming::{Naming, check_name};
use crate::selection::{Selection, Verdict, is_internal_name};
use crate::settings::quoted;

/// Of topics that share a name, each names so many others: ten thousand would name a hundred million.
const NAMED_AT_MOST: usize = 3;

/// Takes the pairs out of `candidates` that must not be copied, and notes why.
pub(crate) fn refuse(candidates: &mut Candidates, intent: &Intent, ends: Ends<'_>) {
    let mut sources: BTreeMap<&TopicName, Vec<&TopicName>> = BTreeMap::new();
    for (source, destination) in &candidates.pairs {
        sources.entry(destination).or_default().push(source);
    }
    let same_cluster = ends.are_one();
    let refused = candidates.pairs.iter().filter_map(|(source, destination)| {
        let why = if let Err(error) = check_name(destination.as_str()) {
            NotCopiedReason::IllegalName(error)
        } else if is_internal_name(destination) {
            NotCopiedReason::InternalName(destination.clone())
        } else if same_cluster && source == destination {
            NotCopiedReason::Itself
        } else if same_cluster && let Some(original) = original(source, intent) {
            NotCopiedReason::CopyOf(original)
        } else if let Some(why) = conflict(source, destination, ends, &intent.neighbours) {
            why
        } else {
            let more = sources[destination].len() - 1;
            if more == 0 {
                return None;
            }
            let others = sources[destination].iter().filter(|other| **other != source);
            let others: Vec<TopicName> = others.take(NAMED_AT_MOST).copied().cloned().collect();
            let more = more - others.len();
            NotCopiedReason::SharedName { destination: destination.clone(), others, more }
        };
        Some(NotCopied { source: source.clone(), why })
    });
    let refused = refused.collect();
    candidates.refuse(refused);
}

/// The selected topic whose copy has the name `copy`; it need not exist any more.
fn original(copy: &TopicName, intent: &Intent) -> Option<TopicName> {
    let original = intent.naming.source(copy)?;
    (original != *copy && intent.selection.verdict(&original, false) == Verdict::Selected).then_some(original)
}

/// Something that is wrong with a connector's settings, whatever the clusters hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The property it is about.
    pub property: &'static str,
    /// What is wrong, one sentence.
    pub text: String,
    /// Nothing can be copied before it is mended; else only what it names is not.
    pub forbids_start: bool,
}

/// What is wrong with selection and naming whatever the clusters hold, for `check` without connecting. Names of
/// `topic.whitelist` that are no topic's, or the cluster's own, are told where that list is read.
pub fn check_settings(selection: &Selection, naming: &Naming) -> Vec<SettingProblem> {
    const RENAME: &str = "topic.rename.format";
    let mut problems = Vec::new();
    let mut tell = |property, forbids_start, text: String| {
        problems.push(SettingProblem { property, text, forbids_start });
    };
    if selection.is_empty() {
        let text = "no topic is selected: set topic.whitelist or topic.regex".to_owned();
        tell("topic.whitelist", true, text);
    }
    let wanted: BTreeSet<&TopicName> = selection
        .whitelist
        .difference(&selection.blacklist)
        .filter(|name| check_name(name.as_str()).is_ok() && !is_internal_name(name))
        .collect();
    if naming.is_fixed() && wanted.len() > 1 {
        let names: Vec<TopicName> = wanted.iter().copied().cloned().collect();
        let names = quoted(&names);
        let text =
            format!("topic.rename.format `{naming}` gives one name to {names}; put ${{topic}} into it");
        tell(RENAME, true, text);
    }
    if naming.is_fixed() && is_internal_name(&naming.destination(&TopicName::from(""))) {
        tell(RENAME, true, format!("topic.rename.format `{naming}` names a topic of the cluster itself"));
    }
    for name in wanted {
        if let Err(error) = check_name(naming.destination(name).as_str()) {
            tell(RENAME, false, format!("topic.rename.format `{naming}` for `{name}`: {error}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    /// What forbids the start is marked with `!`.
    fn check(whitelist: &[&str], regex: Option<&str>, format: &str, expected: &[&str]) {
        let selection = Selection {
            whitelist: whitelist.iter().map(|name| TopicName::from(*name)).collect(),
            blacklist: ["out".into()].into(),
            regex: regex.map(|regex| Pattern::new(regex).unwrap()),
        };
        let problems = check_settings(&selection, &Naming::new(format).unwrap());
        let told = problems.iter().map(|problem| match problem.forbids_start {
            true => format!("! {}", problem.text),
            false => problem.text.clone(),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn settings_that_cannot_work_are_told_before_any_cluster_is_asked() {
        check(&["a", "b"], None, "${topic}.replica", &[]);
        check(&["a", "out"], None, "one", &[]);
        check(&[], Some("a.*"), "one", &[]);
        check(&["out"], None, "${topic}", &["! no topic is selected: set topic.whitelist or topic.regex"]);
        check(
            &["a", "b"],
            None,
            "one",
            &["! topic.rename.format `one` gives one name to `a`, `b`; put ${topic} into it"],
        );
        check(&["a b", "__consumer_offsets", "a"], None, "one", &[]);
        let long = "x".repeat(245);
        let told = format!(
            "topic.rename.format `${{topic}}.copy` for `{long}`: topic name `{long}.copy` has 250 characters, at \
             most 249 are allowed"
        );
        check(&["a", &long], None, "${topic}.copy", &[&told]);
        check(
            &["a"],
            None,
            "__consumer_offsets",
            &["! topic.rename.format `__consumer_offsets` names a topic of the cluster itself"],
        );
    }
}
