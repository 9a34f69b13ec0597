//! Compares what should be with what is, topic by topic, and gathers the differences into a [`Plan`].

use std::collections::BTreeMap;

use model::{PartitionId, RewriteRule, Route, TimestampRule, TopicName, TopicPartition};

use crate::candidates::Candidates;
use crate::check::refuse;
use crate::collisions::MetricNames;
use crate::desired::{Desired, TopicPolicy, desired};
use crate::flows::{Ends, Neighbour};
use crate::naming::Naming;
use crate::plan::{Action, BlockReason, Blocked, Change, Held, HeldBack, Plan, Step, Warning};
use crate::selection::Selection;
use crate::settings::{MAX_MESSAGE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, flaws, key};
use crate::site::Site;
use crate::snapshot::{Settings, Snapshot, Topic};
use crate::sync::Existing;
use crate::wanted::{Wanted, wanted};

/// What a flow wants: which topics, under what names, treated how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intent {
    /// Which topics.
    pub selection: Selection,
    /// Under what names.
    pub naming: Naming,
    /// How their copies are made and kept.
    pub topics: TopicPolicy,
    /// The other flows of the same worker.
    pub neighbours: Vec<Neighbour>,
}

/// What makes `destination` fit `source`: a pure function, the same for the same snapshots.
///
/// `candidates` are those of `source` by the same intent ([`Candidates::of`]); their settings must be in both
/// snapshots. `held` was refused a moment ago and is not planned again.
pub fn plan(
    source: &Snapshot,
    destination: &Snapshot,
    candidates: &Candidates,
    intent: &Intent,
    held: &HeldBack,
) -> Plan {
    let mut candidates = candidates.clone();
    let ends = Ends { source: source.cluster_id.as_deref(), destination: destination.cluster_id.as_deref() };
    refuse(&mut candidates, intent, ends);

    let names = MetricNames::of(destination.topics.keys());
    let mut diff = Diff { destination, policy: &intent.topics, held, plan: Plan::default(), names };
    diff.warn_of_gaps("source", source);
    diff.warn_of_gaps("destination", destination);
    for (source_name, destination_name) in &candidates.pairs {
        let pair = Pair { source: source_name, destination: destination_name };
        // A candidate that is not in the snapshot: the caller mixed two observations. The next one has it.
        if let Some(topic) = source.topics.get(source_name) {
            diff.topic(&pair, topic);
        }
    }
    let mut plan = diff.plan;
    plan.not_copied = candidates.not_copied;
    plan.unselected = candidates.unselected;
    plan.warnings.extend(candidates.warnings);
    plan.steps.sort_by(|one, other| one.topic.cmp(&other.topic));
    plan.blocked.sort_by(|one, other| one.destination.cmp(&other.destination));
    plan.warnings.sort();
    plan.differences.sort();
    plan.routes.sort_by(|one, other| one.source.cmp(&other.source));
    plan
}

/// A source topic's name and its copy's.
struct Pair<'a> {
    source: &'a TopicName,
    destination: &'a TopicName,
}

struct Diff<'a> {
    destination: &'a Snapshot,
    policy: &'a TopicPolicy,
    held: &'a HeldBack,
    plan: Plan,
    /// The topics that are there, and those that the plan creates so far.
    names: MetricNames,
}

impl Diff<'_> {
    fn warn_of_gaps(&mut self, cluster: &str, snapshot: &Snapshot) {
        let warnings =
            snapshot.gaps.iter().map(|gap| Warning { topic: None, text: format!("{cluster}: {gap}") });
        self.plan.warnings.extend(warnings);
    }

    fn warn(&mut self, pair: &Pair<'_>, text: String) {
        self.plan.warnings.push(Warning { topic: Some(pair.destination.clone()), text });
    }

    fn block(&mut self, pair: &Pair<'_>, partitions_from: i32, why: BlockReason) {
        let (source, destination) = (pair.source.clone(), pair.destination.clone());
        self.plan.blocked.push(Blocked { source, destination, partitions_from, why });
    }

    fn step(&mut self, pair: &Pair<'_>, action: Action, reason: String) {
        self.plan.steps.push(Step { topic: pair.destination.clone(), action, reason });
    }

    fn refused_setting(&self, pair: &Pair<'_>, key: &str) -> Option<String> {
        let answer = self.held.get(&Held::Setting(pair.destination.clone(), key.to_owned()))?;
        Some(format!("the destination did not take it: {answer}"))
    }

    fn topic(&mut self, pair: &Pair<'_>, source: &Topic) {
        if let Some(answer) = self.destination.troubled.get(pair.destination) {
            return self.block(pair, 0, BlockReason::Troubled(answer.clone()));
        }
        let desired = desired(source, self.policy);
        match self.destination.topics.get(pair.destination) {
            None => self.create(pair, source, &desired),
            Some(copy) => self.keep(pair, source, copy, &desired),
        }
    }

    /// A copy that does not exist yet.
    fn create(&mut self, pair: &Pair<'_>, source: &Topic, desired: &Desired) {
        let brokers = self.destination.brokers;
        let replicas = usize::try_from(desired.replication_factor).unwrap_or(0);
        let why = if !self.policy.auto_create {
            BlockReason::NotThere { partitions: desired.partitions }
        } else if source.known().is_none() {
            BlockReason::SettingsUnreadable(match &source.settings {
                Settings::Unreadable(answer) => answer.clone(),
                _ => "nobody asked for them".to_owned(),
            })
        } else if replicas > brokers {
            BlockReason::TooFewBrokers { replication_factor: desired.replication_factor, brokers }
        } else if let Some(other) = self.names.other_than(pair.destination) {
            BlockReason::Collides(other.clone())
        } else if let Some(answer) = self.held.get(&Held::Create(pair.destination.clone())) {
            BlockReason::Refused(answer.clone())
        } else {
            return self.create_now(pair, source, desired);
        };
        self.block(pair, 0, why);
    }

    /// A copy that does not exist yet, and that nothing stands in the way of.
    fn create_now(&mut self, pair: &Pair<'_>, source: &Topic, desired: &Desired) {
        let site = Site::of_new(&self.destination.features, desired.replication_factor);
        let refused = |key: &str| self.refused_setting(pair, key);
        let Wanted { settings, left_out } = wanted(source, &desired.needs, self.policy, &site, refused);
        let after = |key: &str| {
            let chosen = settings.get(key).map(|chosen| chosen.value.as_str());
            chosen.or_else(|| site.default_of(key))
        };
        let rule = self.rule(source, after);
        self.route(pair, source, None, source.partitions, rule);
        self.names.add(pair.destination);
        let &Desired { partitions, replication_factor, .. } = desired;
        let action = Action::Create { partitions, replication_factor, settings, left_out };
        self.step(pair, action, format!("`{}` has no copy yet", pair.source));
    }

    /// A copy that exists, whoever created it.
    fn keep(&mut self, pair: &Pair<'_>, source: &Topic, copy: &Topic, desired: &Desired) {
        let partitions = self.partitions(pair, copy, desired);
        let features = &self.destination.features;
        let (name, needs, policy) = (pair.destination, &desired.needs[..], self.policy);
        let existing = Existing { name, source, copy, needs, policy, features };
        let changes = self.settings(pair, &existing);
        let rule = self.rule(source, |key| existing.after(&changes, key));
        self.route(pair, source, Some(copy), partitions, rule);
    }

    /// The partitions the copy will have, and the step that gets it there.
    fn partitions(&mut self, pair: &Pair<'_>, copy: &Topic, desired: &Desired) -> i32 {
        let (from, to) = (copy.partitions, desired.partitions);
        if !self.policy.preserve_partitions {
            // Whatever it has takes all records.
            return from;
        }
        if from > to {
            let text = format!(
                "it has {from} partitions, `{}` has {to}: the others get no records, and producers of its own \
                 put keys elsewhere than the copy does",
                pair.source
            );
            self.warn(pair, text);
        }
        if from >= to {
            return from;
        }
        if let Some(answer) = self.held.get(&Held::Grow(pair.destination.clone())) {
            self.block(pair, from, BlockReason::Refused(answer.clone()));
            return from;
        }
        self.step(pair, Action::Grow { from, to }, format!("`{}` has {to}", pair.source));
        to
    }

    /// The changes to the copy's settings, their step, and what there is to say of the others.
    fn settings(&mut self, pair: &Pair<'_>, existing: &Existing<'_>) -> BTreeMap<String, Change> {
        let synced = existing.sync(|key| self.refused_setting(pair, key));
        if let Settings::Unreadable(answer) = &existing.source.settings {
            let what = format!("the settings of `{}` could not be read at the source", pair.source);
            self.warn(pair, format!("{what}: {answer}"));
        }
        if let Settings::Unreadable(answer) = &existing.copy.settings {
            let what = "its settings could not be read, Kafka's defaults are assumed";
            self.warn(pair, format!("{what}: {answer}"));
        }
        for (key, flaw) in flaws(existing.source, |key| existing.after(&synced.changes, key)) {
            // What the destination refused is told already.
            if synced.warnings.iter().all(|(warned, _)| warned != key) {
                self.warn(pair, flaw);
            }
        }
        for (_, warning) in synced.warnings {
            self.warn(pair, warning);
        }
        self.plan.differences.extend(synced.differences);
        if !synced.changes.is_empty() {
            let reason = match synced.follows {
                true => format!("settings follow `{}`", pair.source),
                false => "batches are to pass through unchanged".to_owned(),
            };
            self.step(pair, Action::SetConfig { changes: synced.changes.clone() }, reason);
        }
        synced.changes
    }

    /// What a batch must satisfy in a topic whose settings are `after`.
    fn rule<'s>(&self, source: &Topic, after: impl Fn(&str) -> Option<&'s str>) -> RewriteRule {
        let bytes = |key, default| after(key).and_then(|value| value.parse::<i64>().ok()).unwrap_or(default);
        let batch_bytes_max = bytes(key::MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES_DEFAULT)
            .min(bytes(key::SEGMENT_BYTES, SEGMENT_BYTES_DEFAULT));
        RewriteRule {
            timestamps: match after(key::TIMESTAMP_TYPE) {
                Some("LogAppendTime") => TimestampRule::Append,
                Some(_) => TimestampRule::AsAtSource,
                None => self.policy.timestamps,
            },
            batch_bytes_max: usize::try_from(batch_bytes_max).unwrap_or(0),
            zstd: self.destination.features.zstd,
            source_compacted: source.may_be_compacted(),
        }
    }

    /// The routes of the source's partitions that the copy has; of all of them, where they are spread.
    fn route(
        &mut self,
        pair: &Pair<'_>,
        source: &Topic,
        copy: Option<&Topic>,
        partitions: i32,
        rule: RewriteRule,
    ) {
        let of = |topic: &TopicName, partition| TopicPartition {
            topic: topic.clone(),
            partition: PartitionId(partition),
        };
        let spread_over = (!self.policy.preserve_partitions).then_some(partitions.max(1));
        let copied =
            if spread_over.is_some() { source.partitions } else { source.partitions.min(partitions) };
        self.plan.routes.extend((0..copied).map(|partition| Route {
            source: of(pair.source, partition),
            destination: of(pair.destination, if spread_over.is_some() { 0 } else { partition }),
            spread_over,
            source_topic_id: source.id,
            destination_topic_id: copy.and_then(|copy| copy.id),
            rule,
        }));
    }
}
