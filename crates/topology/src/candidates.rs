//! The topics to copy, by name: what the selection takes of the source's topics, and what they are called
//! at the destination. The rest of a plan needs both clusters' answers about exactly these.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::TopicName;

use crate::naming::{NameError, Naming};
use crate::selection::{Selection, Verdict};
use crate::settings::quoted;
use crate::snapshot::Snapshot;

/// The selected topics of a source, and those that were asked for and are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Destination names by source name.
    pub pairs: BTreeMap<TopicName, TopicName>,
    /// What was asked for and is not copied. Sorted by topic.
    pub not_copied: Vec<NotCopied>,
}

/// A source topic that was asked for and is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCopied {
    /// The topic at the source.
    pub source: TopicName,
    /// Why it is not copied.
    pub why: NotCopiedReason,
}

/// Why a source topic that was asked for is not copied, until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCopiedReason {
    /// In `topic.whitelist`, and not at the source.
    Missing,
    /// The source would not tell about it.
    Troubled(String),
    /// In `topic.whitelist` and in `topic.blacklist`.
    Blacklisted,
    /// It belongs to the cluster that holds it.
    Internal,
    /// `topic.regex` could not be decided for its name within bounds.
    TooCostly,
    /// Source and destination are one cluster, and the name does not change.
    Itself,
    /// Source and destination are one cluster, and this topic has the name of a selected topic's copy.
    CopyOf(TopicName),
    /// The destination name is none that Kafka takes.
    IllegalName(NameError),
    /// The destination name belongs to the destination cluster itself.
    InternalName(TopicName),
    /// Other selected topics get the same destination name.
    SharedName {
        /// That name.
        destination: TopicName,
        /// The others.
        others: Vec<TopicName>,
    },
}

impl fmt::Display for NotCopiedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCopiedReason::Missing => f.write_str("it is in topic.whitelist and not at the source"),
            NotCopiedReason::Troubled(answer) => write!(f, "the source does not tell about it: {answer}"),
            NotCopiedReason::Blacklisted => f.write_str("it is in topic.whitelist and in topic.blacklist"),
            NotCopiedReason::Internal => f.write_str("it belongs to the source cluster itself"),
            NotCopiedReason::TooCostly => f.write_str("topic.regex takes too many steps on its name"),
            NotCopiedReason::Itself => {
                f.write_str("source and destination are one cluster, it would be copied to itself")
            }
            NotCopiedReason::CopyOf(topic) => {
                write!(f, "source and destination are one cluster, where it is the copy of `{topic}`")
            }
            NotCopiedReason::IllegalName(error) => fmt::Display::fmt(error, f),
            NotCopiedReason::InternalName(name) => {
                write!(f, "its copy would be `{name}`, which belongs to the destination cluster itself")
            }
            NotCopiedReason::SharedName { destination, others } => {
                write!(f, "its copy would be `{destination}`, like that of {}", quoted(others))
            }
        }
    }
}

impl NotCopiedReason {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            NotCopiedReason::Missing => {
                "create it, give the source's user DESCRIBE on it, or take it out of topic.whitelist; it is \
                 looked for on every topic.poll.interval.ms"
            }
            NotCopiedReason::Troubled(_) => "give the source's user DESCRIBE on it",
            NotCopiedReason::Blacklisted => "topic.blacklist wins; take it out of one of the two",
            NotCopiedReason::Internal => "groups and transactions are not copied as topics; take it out",
            NotCopiedReason::TooCostly => {
                "write topic.regex without nested repetitions, or name the topic in topic.whitelist"
            }
            NotCopiedReason::Itself => "give copies another name with topic.rename.format",
            NotCopiedReason::CopyOf(_) => "exclude copies in topic.regex, or name it in topic.blacklist",
            NotCopiedReason::IllegalName(_) | NotCopiedReason::InternalName(_) => {
                "choose another topic.rename.format"
            }
            NotCopiedReason::SharedName { .. } => {
                "put ${topic} into topic.rename.format, so that each topic keeps a copy of its own"
            }
        }
    }
}

impl Candidates {
    /// What `selection` takes of the topics in `source`, under the names that `naming` gives.
    ///
    /// Costs a match of the regular expression for each topic of the source.
    pub fn of(source: &Snapshot, selection: &Selection, naming: &Naming) -> Candidates {
        let mut candidates = Candidates::default();
        let mut seen = BTreeSet::new();
        let topics = source.topics.iter().map(|(name, topic)| (name, topic.internal, None));
        let troubled = source.troubled.iter().map(|(name, answer)| (name, false, Some(answer)));
        for (name, internal, trouble) in topics.chain(troubled) {
            seen.insert(name);
            let why = match selection.verdict(name, internal) {
                Verdict::NotAsked => continue,
                Verdict::Blacklisted if !selection.whitelist.contains(name) => continue,
                Verdict::Blacklisted => NotCopiedReason::Blacklisted,
                // A regular expression such as `.*` does not mean them.
                Verdict::Internal if !selection.whitelist.contains(name) => continue,
                Verdict::Internal => NotCopiedReason::Internal,
                Verdict::TooCostly => NotCopiedReason::TooCostly,
                Verdict::Selected => match trouble {
                    Some(answer) => NotCopiedReason::Troubled(answer.clone()),
                    None => {
                        candidates.pairs.insert(name.clone(), naming.destination(name));
                        continue;
                    }
                },
            };
            candidates.not_copied.push(NotCopied { source: name.clone(), why });
        }
        for name in selection.whitelist.iter().filter(|name| !seen.contains(name)) {
            let why = match selection.verdict(name, false) {
                Verdict::Blacklisted => NotCopiedReason::Blacklisted,
                Verdict::Internal => NotCopiedReason::Internal,
                Verdict::Selected | Verdict::NotAsked | Verdict::TooCostly => NotCopiedReason::Missing,
            };
            candidates.not_copied.push(NotCopied { source: name.clone(), why });
        }
        candidates.not_copied.sort_by(|one, other| one.source.cmp(&other.source));
        candidates
    }

    /// The destination names, sorted, each once.
    pub fn destinations(&self) -> Vec<TopicName> {
        self.pairs.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
