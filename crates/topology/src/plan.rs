//! What to do to make the destination fit the source, and what then copies to where: a value to print,
//! to review and to carry out.

use std::collections::BTreeMap;
use std::fmt;

use model::{Route, TopicName};

use crate::acl_plan::AclPlan;
use crate::candidates::{NotCopied, Unselected};
use crate::settings::{Chosen, LeftOut, quoted};

/// The steps towards what is wanted, and the state once they are done.
///
/// Without steps the plan is what holds now. Printed, it reads as a review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do, sorted by topic; each step is safe to repeat.
    pub steps: Vec<Step>,
    /// What would be wanted and cannot be done now. Sorted by destination topic.
    pub blocked: Vec<Blocked>,
    /// Source topics that were asked for and are not copied. Sorted by topic.
    pub not_copied: Vec<NotCopied>,
    /// Source topics that nobody asked for, as far as the source was asked about them.
    pub unselected: Unselected,
    /// What is copied with a flaw, what the steps will delete, or what could not be learnt. Sorted by topic.
    pub warnings: Vec<Warning>,
    /// Settings in which copies stay different from their sources on purpose. Sorted by topic.
    pub differences: Vec<Difference>,
    /// What copies to where once the steps are done, sorted by source partition. The id of a topic that is
    /// still to be created is not known.
    pub routes: Vec<Route>,
    /// What becomes of ACLs; `None` where they are not copied (`sync.topic.acls.enabled`).
    pub acls: Option<AclPlan>,
}

/// One change of one topic of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The topic at the destination.
    pub topic: TopicName,
    /// What is done to it.
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// What is done to a topic of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create {
        /// With so many partitions.
        partitions: i32,
        /// With so many replicas of each.
        replication_factor: i16,
        /// With these settings of its own.
        settings: BTreeMap<String, Chosen>,
        /// Overrides of the source that stay behind.
        left_out: Vec<LeftOut>,
    },
    /// Partitions are added.
    Grow {
        /// How many there are.
        from: i32,
        /// How many there will be.
        to: i32,
    },
    /// Settings are changed.
    SetConfig {
        /// The changes by key.
        changes: BTreeMap<String, Change>,
    },
}

/// The change of one setting of a topic; a value of `None` is none of the topic's own, so that the broker's default
/// holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The value set now.
    pub from: Option<String>,
    /// The value to set; `None` is to unset it.
    pub to: Option<String>,
    /// Why.
    pub why: String,
}

/// A setting in which a copy stays different from its source on purpose; a value of `None` is none set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The topic at the destination.
    pub topic: TopicName,
    /// The setting.
    pub key: String,
    /// What is set at the source.
    pub at_source: Option<String>,
    /// What is set at the destination.
    pub at_destination: Option<String>,
    /// Why it stays so.
    pub why: String,
}

/// A topic, or its partitions from one on, that cannot be copied for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The topic at the source.
    pub source: TopicName,
    /// Its name at the destination.
    pub destination: TopicName,
    /// The first partition that is not copied: 0 is the whole topic.
    pub partitions_from: i32,
    /// Why.
    pub why: BlockReason,
}

/// Why a topic cannot be copied for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockReason {
    /// More replicas are wanted than there are brokers.
    TooFewBrokers {
        /// The replicas wanted.
        replication_factor: i16,
        /// The live brokers.
        brokers: usize,
    },
    /// The topic is not there, and `topic.auto.create` is false.
    NotThere {
        /// How many partitions it should have.
        partitions: i32,
    },
    /// The topic is not there, and the settings to create it with could not be read at the source.
    SettingsUnreadable(String),
    /// Kafka would refuse the name beside that of another topic.
    Collides(TopicName),
    /// The destination refused to create the topic or to add partitions.
    Refused(String),
    /// The destination would not tell about the topic.
    Troubled(String),
}

/// What is copied with a flaw, or could not be learnt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The topic at the destination; `None` is about a cluster as a whole.
    pub topic: Option<TopicName>,
    /// What it is.
    pub text: String,
}

/// Something that the destination refused a moment ago and that is not tried again for now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Creating the topic.
    Create(TopicName),
    /// Adding partitions to the topic.
    Grow(TopicName),
    /// Setting this key of the topic, at creation or later.
    Setting(TopicName, String),
}

/// What is held back, each with what the destination said.
pub type HeldBack = BTreeMap<Held, String>;

impl Plan {
    /// Whether there is something to do: a change to make, or something that was asked for and cannot be
    /// copied before somebody does something, ACLs included. Warnings do not count, nor what is left out for good.
    pub fn is_pending(&self) -> bool {
        !self.steps.is_empty()
            || !self.blocked.is_empty()
            || self.not_copied.iter().any(|not| not.why.is_open())
            || self.acls.as_ref().is_some_and(AclPlan::is_pending)
    }
}

impl Step {
    /// What to hold back after the destination refused this step with `message`; `about_settings`: it said
    /// that a setting is not acceptable.
    ///
    /// A topic with one unacceptable setting is still worth having, so where the message names the setting
    /// it alone is held back. Not so what would cost records (retention, clean-up) or bytes (codec).
    pub fn refused(&self, about_settings: bool, message: &str) -> Vec<Held> {
        match &self.action {
            Action::Create { settings, .. } => {
                let named = settings.keys().filter(|key| message.contains(key.as_str()));
                // `retention.ms` is part of `delete.retention.ms`: the longest name is meant.
                match named.max_by_key(|key| key.len()) {
                    Some(key) if about_settings && !is_vital(key) => {
                        vec![Held::Setting(self.topic.clone(), key.clone())]
                    }
                    _ => vec![Held::Create(self.topic.clone())],
                }
            }
            Action::Grow { .. } => vec![Held::Grow(self.topic.clone())],
            Action::SetConfig { changes } => {
                changes.keys().map(|key| Held::Setting(self.topic.clone(), key.clone())).collect()
            }
        }
    }
}

impl Change {
    /// What is set now, for a person.
    pub fn from_text(&self) -> &str {
        self.from.as_deref().unwrap_or(DEFAULT_TEXT)
    }

    /// What will be set, for a person.
    pub fn to_text(&self) -> &str {
        self.to.as_deref().unwrap_or(DEFAULT_TEXT)
    }
}

const DEFAULT_TEXT: &str = "broker's default";

fn is_vital(key: &str) -> bool {
    use crate::settings::key;
    [key::CLEANUP_POLICY, key::COMPRESSION_TYPE, key::RETENTION_BYTES, key::RETENTION_MS, key::TIMESTAMP_TYPE]
        .contains(&key)
}

impl BlockReason {
    /// Whether it may be over without a change of the source, so that it is worth trying again soon
    /// (`topic.create.backoff.ms`).
    pub fn may_pass(&self) -> bool {
        match self {
            // Brokers come back, quotas and policies are lifted, rights are given.
            BlockReason::TooFewBrokers { .. }
            | BlockReason::Refused(_)
            | BlockReason::Troubled(_)
            | BlockReason::SettingsUnreadable(_) => true,
            // Waits for a person, who is not in a hurry: every `topic.poll.interval.ms`.
            BlockReason::NotThere { .. } | BlockReason::Collides(_) => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            BlockReason::TooFewBrokers { .. } => {
                "it is created as soon as there are enough brokers; or set dest.topic.replication.factor"
            }
            BlockReason::NotThere { .. } => "create it, or set topic.auto.create=true",
            BlockReason::SettingsUnreadable(_) => "give the source's user DESCRIBE_CONFIGS on the topic",
            BlockReason::Collides(_) => "choose another topic.rename.format",
            BlockReason::Refused(answer) if answer.contains("_AUTHORIZATION_FAILED") => {
                "give the destination's user CREATE on the topic, and ALTER where it has to grow, or create the topic there \
                 yourself; it is tried again every topic.create.backoff.ms"
            }
            BlockReason::Refused(_) => {
                "change what the destination refuses, or create the topic there yourself; it is tried again \
                 every topic.create.backoff.ms"
            }
            BlockReason::Troubled(_) => "give the destination's user WRITE and READ on the topic",
        }
    }
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockReason::TooFewBrokers { replication_factor, brokers } => {
                write!(
                    f,
                    "{replication_factor} replicas are wanted, the destination has {}",
                    Count(*brokers, "broker")
                )
            }
            BlockReason::NotThere { partitions } => write!(
                f,
                "it is not at the destination, and topic.auto.create=false; it should have {}",
                Count(*partitions, "partition")
            ),
            BlockReason::SettingsUnreadable(answer) => {
                write!(f, "its settings could not be read at the source: {answer}")
            }
            BlockReason::Collides(other) => {
                write!(f, "Kafka takes no two names that differ in `.` and `_` only, and there is `{other}`")
            }
            BlockReason::Refused(answer) => write!(f, "the destination refused: {answer}"),
            BlockReason::Troubled(answer) => write!(f, "the destination does not tell about it: {answer}"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.topic {
            Some(topic) => write!(f, "`{topic}`: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { topic, key, at_source, at_destination, why } = self;
        match at_destination {
            Some(value) => write!(f, "`{topic}`: {key}={value}, ")?,
            None => write!(f, "`{topic}`: {key} is not set, ")?,
        }
        match at_source {
            Some(value) => write!(f, "the source has {value}  ({why})"),
            None => write!(f, "not set at the source  ({why})"),
        }
    }
}

impl fmt::Display for Unselected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A list of thousands is not read; the JSON has them all.
        const NAMED_MAX: usize = 5;
        for (why, topics) in [
            ("not selected", &self.not_asked),
            ("left out by topic.blacklist", &self.blacklisted),
            ("the source's own", &self.internal),
        ] {
            if topics.is_empty() {
                continue;
            }
            let named = quoted(&topics[..topics.len().min(NAMED_MAX)]);
            let more = match topics.len().checked_sub(NAMED_MAX) {
                None | Some(0) => String::new(),
                Some(more) => format!(" and {more} more"),
            };
            writeln!(f, "{why}: {} ({named}{more})", Count(topics.len() as u64, "topic"))?;
        }
        Ok(())
    }
}

/// `1 partition`, `2 partitions`.
pub(crate) struct Count<N>(pub(crate) N, pub(crate) &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == N::from(1) { "" } else { "s" })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Create { partitions, replication_factor, .. } => write!(
                f,
                "create with {}, {}",
                Count(*partitions, "partition"),
                Count(*replication_factor, "replica")
            ),
            Action::Grow { from, to } => write!(f, "grow from {from} to {}", Count(*to, "partition")),
            Action::SetConfig { changes } => {
                let keys: Vec<&str> = changes.keys().map(String::as_str).collect();
                write!(f, "set {}", keys.join(", "))
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { topic, action, reason } in &self.steps {
            match action {
                Action::SetConfig { changes } => {
                    writeln!(f, "set on `{topic}`: {reason}")?;
                    for (key, change) in changes {
                        let (from, to) = (change.from_text(), change.to_text());
                        writeln!(f, "    {key}: {from} -> {to}  ({})", change.why)?;
                    }
                }
                Action::Grow { from, to } => {
                    writeln!(f, "grow `{topic}` from {from} to {}: {reason}", Count(*to, "partition"))?;
                }
                Action::Create { partitions, replication_factor, settings, left_out } => {
                    let (partitions, replicas) =
                        (Count(*partitions, "partition"), Count(*replication_factor, "replica"));
                    writeln!(f, "create `{topic}` with {partitions}, {replicas}: {reason}")?;
                    for (key, Chosen { value, why }) in settings {
                        writeln!(f, "    {key}={value}  ({why})")?;
                    }
                    for LeftOut { key, value, why } in left_out {
                        writeln!(f, "    not copied: {key}={value}  ({why})")?;
                    }
                }
            }
        }
        for Blocked { source, destination, partitions_from, why } in &self.blocked {
            let from = match partitions_from {
                0 => String::new(),
                first => format!(" from partition {first} on"),
            };
            writeln!(f, "blocked `{source}` -> `{destination}`{from}: {why}")?;
            writeln!(f, "    hint: {}", why.hint())?;
        }
        for NotCopied { source, why } in &self.not_copied {
            writeln!(f, "not copied `{source}`: {why}")?;
            writeln!(f, "    hint: {}", why.hint())?;
        }
        write!(f, "{}", self.unselected)?;
        for warning in &self.warnings {
            writeln!(f, "warning {warning}")?;
        }
        for difference in &self.differences {
            writeln!(f, "left {difference}")?;
        }
        if let Some(acls) = &self.acls {
            write!(f, "{acls}")?;
        }
        let mut topics: BTreeMap<(&TopicName, &TopicName), (usize, Option<i32>)> = BTreeMap::new();
        for route in &self.routes {
            let topic = topics.entry((&route.source.topic, &route.destination.topic)).or_default();
            *topic = (topic.0 + 1, route.spread_over);
        }
        let then = if self.steps.is_empty() { "" } else { "then " };
        let (partitions, count) =
            (Count(self.routes.len() as u64, "partition"), Count(topics.len() as u64, "topic"));
        writeln!(f, "{then}copying {partitions} of {count}")?;
        for ((source, destination), (partitions, spread_over)) in topics {
            write!(f, "    `{source}` -> `{destination}`  ({}", Count(partitions as u64, "partition"))?;
            if let Some(over) = spread_over {
                write!(f, ", records spread over {} by their keys", Count(over, "partition"))?;
            }
            writeln!(f, ")")?;
        }
        Ok(())
    }
}
