//! Refuses what must not be copied: a topic to itself, a copy of a copy, several topics to one, to names
//! that Kafka does not take.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicName;

use crate::candidates::{Candidates, NotCopied, NotCopiedReason};
use crate::naming::{Naming, check_name};
use crate::selection::{Selection, Verdict, is_internal_name};
use crate::settings::quoted;

/// Takes the pairs out of `candidates` that must not be copied, and notes why.
///
/// `same_cluster`: source and destination are one cluster. Loops over several flows are not visible here.
pub(crate) fn refuse(
    candidates: &mut Candidates,
    selection: &Selection,
    naming: &Naming,
    same_cluster: bool,
) {
    let mut sources: BTreeMap<&TopicName, Vec<&TopicName>> = BTreeMap::new();
    for (source, destination) in &candidates.pairs {
        sources.entry(destination).or_default().push(source);
    }
    let refused: Vec<NotCopied> = candidates
        .pairs
        .iter()
        .filter_map(|(source, destination)| {
            let why = if let Err(error) = check_name(destination.as_str()) {
                NotCopiedReason::IllegalName(error)
            } else if is_internal_name(destination) {
                NotCopiedReason::InternalName(destination.clone())
            } else if same_cluster && source == destination {
                NotCopiedReason::Itself
            } else if same_cluster && let Some(original) = original(source, selection, naming) {
                NotCopiedReason::CopyOf(original)
            } else {
                let others: Vec<TopicName> =
                    sources[destination].iter().filter(|other| **other != source).copied().cloned().collect();
                if others.is_empty() {
                    return None;
                }
                NotCopiedReason::SharedName { destination: destination.clone(), others }
            };
            Some(NotCopied { source: source.clone(), why })
        })
        .collect();
    for NotCopied { source, .. } in &refused {
        candidates.pairs.remove(source);
    }
    candidates.not_copied.extend(refused);
    candidates.not_copied.sort_by(|one, other| one.source.cmp(&other.source));
}

/// The selected topic whose copy has the name `copy`; it need not exist any more.
fn original(copy: &TopicName, selection: &Selection, naming: &Naming) -> Option<TopicName> {
    let original = naming.source(copy)?;
    (original != *copy && selection.verdict(&original, false) == Verdict::Selected).then_some(original)
}

/// What is wrong with selection and naming whatever the clusters hold; a sentence each, for `check` without
/// connecting. Empty if nothing is.
pub fn check_settings(selection: &Selection, naming: &Naming) -> Vec<String> {
    let mut problems = Vec::new();
    if selection.is_empty() {
        problems.push("no topic is selected: set topic.whitelist or topic.regex".to_owned());
    }
    let wanted: BTreeSet<&TopicName> = selection.whitelist.difference(&selection.blacklist).collect();
    if naming.is_fixed() && wanted.len() > 1 {
        let names: Vec<TopicName> = wanted.iter().copied().cloned().collect();
        problems.push(format!(
            "topic.rename.format `{naming}` gives one name to {}; put ${{topic}} into it",
            quoted(&names)
        ));
    }
    if naming.is_fixed() && is_internal_name(&naming.destination(&TopicName::from(""))) {
        problems.push(format!("topic.rename.format `{naming}` names a topic of the cluster itself"));
    }
    for name in wanted {
        let destination = naming.destination(name);
        if let Err(error) = check_name(name.as_str()) {
            problems.push(format!("topic.whitelist: {error}"));
        } else if let Err(error) = check_name(destination.as_str()) {
            problems.push(format!("topic.rename.format `{naming}` for `{name}`: {error}"));
        } else if is_internal_name(name) {
            problems
                .push(format!("topic.whitelist: `{name}` belongs to the cluster itself and is never copied"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    fn check(whitelist: &[&str], regex: Option<&str>, format: &str, expected: &[&str]) {
        let selection = Selection {
            whitelist: whitelist.iter().map(|name| TopicName::from(*name)).collect(),
            blacklist: ["out".into()].into(),
            regex: regex.map(|regex| Pattern::new(regex).unwrap()),
        };
        assert_eq!(check_settings(&selection, &Naming::new(format).unwrap()), expected);
    }

    #[test]
    fn settings_that_cannot_work_are_told_before_any_cluster_is_asked() {
        check(&["a", "b"], None, "${topic}.replica", &[]);
        check(&["a", "out"], None, "one", &[]);
        check(&[], Some("a.*"), "one", &[]);
        check(&["out"], None, "${topic}", &["no topic is selected: set topic.whitelist or topic.regex"]);
        check(
            &["a", "b"],
            None,
            "one",
            &["topic.rename.format `one` gives one name to `a`, `b`; put ${topic} into it"],
        );
        check(
            &["a b", "__consumer_offsets"],
            None,
            "x${topic}",
            &[
                "topic.whitelist: `__consumer_offsets` belongs to the cluster itself and is never copied",
                "topic.whitelist: topic name `a b` contains ` `; letters, digits, `.`, `_` and `-` are allowed",
            ],
        );
        check(
            &["a"],
            None,
            "__consumer_offsets",
            &["topic.rename.format `__consumer_offsets` names a topic of the cluster itself"],
        );
    }
}
