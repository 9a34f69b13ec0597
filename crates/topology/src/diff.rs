//! Compares what should be with what is, topic by topic, and gathers the differences into a [`Plan`].

use std::collections::{BTreeMap, BTreeSet};

use model::{PartitionId, RewriteRule, Route, TimestampRule, TopicName, TopicPartition};

use crate::candidates::Candidates;
use crate::check::refuse;
use crate::desired::{Desired, TopicPolicy, desired};
use crate::naming::{Naming, collides};
use crate::plan::{Action, BlockReason, Blocked, Change, Held, HeldBack, Plan, Step, Warning};
use crate::selection::Selection;
use crate::settings::{MAX_MESSAGE_BYTES_DEFAULT, Need, SEGMENT_BYTES_DEFAULT, differences, key};
use crate::snapshot::{Settings, Snapshot, Topic};

/// What a flow wants: which topics, under what names, treated how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intent {
    /// Which topics.
    pub selection: Selection,
    /// Under what names.
    pub naming: Naming,
    /// How their copies are made and kept.
    pub topics: TopicPolicy,
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
    let same_cluster = source.cluster_id.is_some() && source.cluster_id == destination.cluster_id;
    refuse(&mut candidates, &intent.selection, &intent.naming, same_cluster);

    let mut diff =
        Diff { destination, policy: &intent.topics, held, plan: Plan::default(), created: BTreeSet::new() };
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
    plan.steps.sort_by(|one, other| one.topic.cmp(&other.topic));
    plan.blocked.sort_by(|one, other| one.destination.cmp(&other.destination));
    plan.warnings.sort();
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
    /// The topics that the plan creates so far.
    created: BTreeSet<TopicName>,
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
        let wanted =
            desired(source, self.policy, &self.destination.features, |key| self.refused_setting(pair, key));
        match self.destination.topics.get(pair.destination) {
            None => self.create(pair, source, wanted),
            Some(copy) => self.keep(pair, source, copy, &wanted),
        }
    }

    /// A copy that does not exist yet.
    fn create(&mut self, pair: &Pair<'_>, source: &Topic, wanted: Desired) {
        let brokers = self.destination.brokers;
        let replicas = usize::try_from(wanted.replication_factor).unwrap_or(0);
        let mut others = self.destination.topics.keys().chain(&self.created);
        let why = if !self.policy.auto_create {
            BlockReason::NotThere { partitions: wanted.partitions }
        } else if source.known().is_none() {
            BlockReason::SettingsUnreadable(match &source.settings {
                Settings::Unreadable(answer) => answer.clone(),
                _ => "nobody asked for them".to_owned(),
            })
        } else if replicas > brokers {
            BlockReason::TooFewBrokers { replication_factor: wanted.replication_factor, brokers }
        } else if let Some(other) = others.find(|other| collides(other, pair.destination)) {
            BlockReason::Collides(other.clone())
        } else if let Some(answer) = self.held.get(&Held::Create(pair.destination.clone())) {
            BlockReason::Refused(answer.clone())
        } else {
            let after = |key: &str| {
                let chosen = wanted.settings.get(key).map(|chosen| chosen.value.as_str());
                chosen.or_else(|| self.destination.features.default_of(key))
            };
            let rule = self.rule(source, after);
            self.route(pair, source, None, source.partitions, rule);
            self.created.insert(pair.destination.clone());
            let Desired { partitions, replication_factor, settings, left_out, .. } = wanted;
            let action = Action::Create { partitions, replication_factor, settings, left_out };
            return self.step(pair, action, format!("`{}` has no copy yet", pair.source));
        };
        self.block(pair, 0, why);
    }

    /// A copy that exists, whoever created it.
    fn keep(&mut self, pair: &Pair<'_>, source: &Topic, copy: &Topic, wanted: &Desired) {
        let partitions = self.partitions(pair, copy, wanted);
        let changes = self.settings(pair, copy, &wanted.needs);
        if let Settings::Unreadable(answer) = &source.settings {
            self.warn(
                pair,
                format!("the settings of `{}` could not be read at the source: {answer}", pair.source),
            );
        }
        if let Settings::Unreadable(answer) = &copy.settings {
            self.warn(
                pair,
                format!("its settings could not be read, Kafka's defaults are assumed: {answer}"),
            );
        }
        for difference in differences(source, copy) {
            self.warn(pair, difference);
        }
        let after = |key: &str| {
            let changed = changes.get(key).map(|change| change.to.as_str());
            changed.or_else(|| copy.effective(key))
        };
        let rule = self.rule(source, after);
        self.route(pair, source, Some(copy), partitions, rule);
        if !changes.is_empty() {
            let reason = "batches are to pass through unchanged".to_owned();
            self.step(pair, Action::SetConfig { changes }, reason);
        }
    }

    /// The partitions the copy will have, and the step that gets it there.
    fn partitions(&mut self, pair: &Pair<'_>, copy: &Topic, wanted: &Desired) -> i32 {
        let (from, to) = (copy.partitions, wanted.partitions);
        if from >= to {
            return from;
        }
        if !self.policy.preserve_partitions {
            // Copying the others and not these would look like a copy and lack records.
            self.block(pair, 0, BlockReason::FewerPartitions { source: to, destination: from });
            return 0;
        }
        if let Some(answer) = self.held.get(&Held::Grow(pair.destination.clone())) {
            self.block(pair, from, BlockReason::Refused(answer.clone()));
            return from;
        }
        self.step(pair, Action::Grow { from, to }, format!("`{}` has {to}", pair.source));
        to
    }

    /// The changes to the copy's settings that passing batches through asks for, of those that may be made.
    fn settings(&mut self, pair: &Pair<'_>, copy: &Topic, needs: &[Need]) -> BTreeMap<String, Change> {
        let mut changes = BTreeMap::new();
        for need in needs {
            let Some(from) = copy.effective(need.key).filter(|value| !need.bound.holds(value)) else {
                continue;
            };
            let tolerated = need.tolerated.as_ref().is_some_and(|tolerated| tolerated.holds(from));
            let instead = match self.refused_setting(pair, need.key) {
                Some(answer) => answer,
                None if self.policy.config_sync => {
                    let (from, to, why) = (from.to_owned(), need.bound.value(), need.why.to_owned());
                    changes.insert(need.key.to_owned(), Change { from, to, why });
                    continue;
                }
                None if tolerated => continue,
                None => "topic.config.sync=false leaves it".to_owned(),
            };
            self.warn(
                pair,
                format!("{}={from}, wanted is {} ({}): {instead}", need.key, need.bound, need.why),
            );
        }
        changes
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

    /// The routes of the source's partitions that the copy has.
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
        self.plan.routes.extend((0..source.partitions.min(partitions)).map(|partition| Route {
            source: of(pair.source, partition),
            destination: of(pair.destination, partition),
            source_topic_id: source.id,
            destination_topic_id: copy.and_then(|copy| copy.id),
            rule,
        }));
    }
}
