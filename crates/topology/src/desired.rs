//! What the destination should have for one source topic, as a function of the source and the policy.

use std::collections::BTreeMap;

use model::TimestampRule;

use crate::settings::{Chosen, LeftOut, Need, needs, on_creation};
use crate::snapshot::{Features, Topic};

/// What the settings say of destination topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// `topic.auto.create`: missing topics are created.
    pub auto_create: bool,
    /// `topic.preserve.partitions`: partitions are added until there are as many as at the source. Where it
    /// is false, a topic with fewer partitions than its source is blocked: spreading records by another
    /// partitioner is not built yet.
    pub preserve_partitions: bool,
    /// `dest.topic.replication.factor`: replicas of new topics, where they do not follow the source.
    pub replication_factor: Option<i16>,
    /// `topic.config.sync`: settings of existing topics are changed. So far those that batches need to pass
    /// through unchanged; where it is false, they are warned about.
    pub config_sync: bool,
    /// `topic.timestamp.type`: whose time records show at the destination.
    pub timestamps: TimestampRule,
}

impl Default for TopicPolicy {
    /// Replicator's defaults.
    fn default() -> TopicPolicy {
        TopicPolicy {
            auto_create: true,
            preserve_partitions: true,
            replication_factor: None,
            config_sync: true,
            timestamps: TimestampRule::AsAtSource,
        }
    }
}

/// What the copy of one source topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desired {
    /// As many partitions as the source has.
    pub(crate) partitions: i32,
    /// Replicas, if it has to be created.
    pub(crate) replication_factor: i16,
    /// What passing batches through asks of its settings.
    pub(crate) needs: Vec<Need>,
    /// Its settings, if it has to be created.
    pub(crate) settings: BTreeMap<String, Chosen>,
    /// The source's overrides that it does not get then.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What the copy of `source` should be at a destination that can do `features`. `refused` tells of settings
/// the destination would not take a moment ago.
pub(crate) fn desired(
    source: &Topic,
    policy: &TopicPolicy,
    features: &Features,
    refused: impl Fn(&str) -> Option<String>,
) -> Desired {
    let needs = needs(source, policy.timestamps);
    let (settings, left_out) = on_creation(source, &needs, features, refused);
    Desired {
        partitions: source.partitions,
        replication_factor: policy.replication_factor.unwrap_or(source.replication_factor),
        needs,
        settings,
        left_out,
    }
}
