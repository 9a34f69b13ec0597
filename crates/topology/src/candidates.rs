//! The topics to copy, by name: what the selection takes of the source's topics, and what they are called
//! at the destination. The rest of a plan needs both clusters' answers about exactly these.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::TopicName;

use crate::naming::{NameError, Naming, check_name};
use crate::plan::{Count, Warning};
use crate::selection::{Selection, Verdict, is_internal_name};
use crate::settings::quoted;
use crate::snapshot::Snapshot;

/// The selected topics of a source, and those that are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Destination names by source name.
    pub pairs: BTreeMap<TopicName, TopicName>,
    /// What was asked for and is not copied. Sorted by topic.
    pub not_copied: Vec<NotCopied>,
    /// What nobody asked for by name.
    pub unselected: Unselected,
    /// What the selection itself is to be doubted for.
    pub warnings: Vec<Warning>,
}

/// Topics of the source that the selection leaves out, as it is meant to. Each list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unselected {
    /// Neither in `topic.whitelist` nor matched by `topic.regex`.
    pub not_asked: Vec<TopicName>,
    /// In `topic.blacklist`, and not in `topic.whitelist`.
    pub blacklisted: Vec<TopicName>,
    /// They belong to the cluster that holds them, and are not in `topic.whitelist`.
    pub internal: Vec<TopicName>,
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
    /// In `topic.whitelist`, and no topic can have that name.
    NoTopicName(NameError),
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
        /// The first of the others.
        others: Vec<TopicName>,
        /// How many there are besides.
        more: usize,
    },
    /// Another flow writes the destination topic.
    OtherFlow {
        /// That topic.
        destination: TopicName,
        /// The other flow.
        flow: String,
    },
    /// Other flows bring the copy back to the source, under the name it has there.
    ComesBack {
        /// The copy.
        destination: TopicName,
        /// The flow that writes to the source.
        flow: String,
    },
    /// It has the name of a copy that another flow makes of a topic of the destination.
    CopyFromThere {
        /// That topic.
        original: TopicName,
        /// The other flow.
        flow: String,
    },
}

impl fmt::Display for NotCopiedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCopiedReason::Missing => f.write_str("it is in topic.whitelist and not at the source"),
            NotCopiedReason::NoTopicName(error) => write!(f, "it is in topic.whitelist, and {error}"),
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
            NotCopiedReason::SharedName { destination, others, more } => {
                write!(f, "its copy would be `{destination}`, like that of {}", quoted(others))?;
                if *more > 0 {
                    write!(f, " and {}", Count(*more as u64, "other"))?;
                }
                Ok(())
            }
            NotCopiedReason::OtherFlow { destination, flow } => {
                write!(f, "its copy would be `{destination}`, which connector `{flow}` writes")
            }
            NotCopiedReason::ComesBack { destination, flow } => {
                write!(f, "its copy `{destination}` would be copied back over it by connector `{flow}`")
            }
            NotCopiedReason::CopyFromThere { original, flow } => {
                write!(
                    f,
                    "by its name it is the copy of the destination's `{original}` by connector `{flow}`"
                )
            }
        }
    }
}

impl NotCopiedReason {
    /// Whether somebody has to do something, or wait, before all that was asked for is copied. Where not, it
    /// is left out for good: because the settings say so, or because it is a copy itself.
    pub fn is_open(&self) -> bool {
        match self {
            NotCopiedReason::Blacklisted
            | NotCopiedReason::Internal
            | NotCopiedReason::CopyOf(_)
            | NotCopiedReason::CopyFromThere { .. } => false,
            NotCopiedReason::Missing
            | NotCopiedReason::NoTopicName(_)
            | NotCopiedReason::Troubled(_)
            | NotCopiedReason::TooCostly
            | NotCopiedReason::Itself
            | NotCopiedReason::IllegalName(_)
            | NotCopiedReason::InternalName(_)
            | NotCopiedReason::SharedName { .. }
            | NotCopiedReason::OtherFlow { .. }
            | NotCopiedReason::ComesBack { .. } => true,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            NotCopiedReason::Missing => {
                "create it, give the source's user READ on it, or take it out of topic.whitelist; it is \
                 looked for on every topic.poll.interval.ms"
            }
            NotCopiedReason::NoTopicName(_) => "it lists whole names; patterns go to topic.regex",
            NotCopiedReason::Troubled(_) => "give the source's user READ on it",
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
            NotCopiedReason::OtherFlow { .. } => {
                "give one of the two another topic.rename.format, or name the topic in one's topic.blacklist"
            }
            NotCopiedReason::ComesBack { .. } => {
                "give one of the connectors another topic.rename.format, or name the topic in its topic.blacklist"
            }
            NotCopiedReason::CopyFromThere { .. } => {
                "exclude copies in topic.regex, or name it in topic.blacklist"
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
            let verdict = selection.verdict(name, internal);
            // A regular expression such as `.*` does not mean internal topics.
            let is_left_out = matches!(verdict, Verdict::NotAsked | Verdict::Blacklisted | Verdict::Internal);
            if is_left_out && !selection.whitelist.contains(name) {
                candidates.unselected.add(name, verdict, internal);
                continue;
            }
            let why = match verdict {
                Verdict::NotAsked => continue,
                Verdict::Blacklisted => NotCopiedReason::Blacklisted,
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
                Verdict::Selected | Verdict::NotAsked | Verdict::TooCostly => match check_name(name.as_str())
                {
                    Ok(()) => NotCopiedReason::Missing,
                    Err(error) => NotCopiedReason::NoTopicName(error),
                },
            };
            candidates.not_copied.push(NotCopied { source: name.clone(), why });
        }
        candidates.not_copied.sort_by(|one, other| one.source.cmp(&other.source));
        candidates.unselected.sort();
        candidates.doubt_regex(source, selection);
        candidates
    }

    fn doubt_regex(&mut self, source: &Snapshot, selection: &Selection) {
        let Some(regex) = &selection.regex else { return };
        let is_matched = self.pairs.keys().any(|name| !selection.whitelist.contains(name))
            || self.not_copied.iter().any(|not| not.why == NotCopiedReason::TooCostly);
        if !is_matched {
            let text = format!(
                "topic.regex `{}` selects none of the source's {}; where the source's user has no right to \
                 DESCRIBE a topic, it does not show",
                regex.as_str(),
                Count(source.topics.len() as u64, "topic")
            );
            self.warnings.push(Warning { topic: None, text });
        }
    }

    /// Takes the topics of `refused` out of the pairs, and notes why.
    pub(crate) fn refuse(&mut self, refused: Vec<NotCopied>) {
        for NotCopied { source, .. } in &refused {
            self.pairs.remove(source);
        }
        self.not_copied.extend(refused);
        self.not_copied.sort_by(|one, other| one.source.cmp(&other.source));
    }

    /// The destination names, sorted, each once.
    pub fn destinations(&self) -> Vec<TopicName> {
        self.pairs.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Unselected {
    fn add(&mut self, name: &TopicName, verdict: Verdict, internal: bool) {
        let list = match verdict {
            Verdict::Blacklisted => &mut self.blacklisted,
            _ if internal || is_internal_name(name) => &mut self.internal,
            _ => &mut self.not_asked,
        };
        list.push(name.clone());
    }

    fn sort(&mut self) {
        for list in [&mut self.not_asked, &mut self.blacklisted, &mut self.internal] {
            list.sort();
        }
    }
}
