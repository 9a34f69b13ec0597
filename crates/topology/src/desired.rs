//! What the destination should have for one source topic, as a function of the source and the policy.

use model::TimestampRule;

use crate::setting_names::SettingNames;
use crate::settings::{Need, Travel, needs, travel};
use crate::snapshot::Topic;

/// What the settings say of destination topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// `topic.auto.create`: missing topics are created.
    pub auto_create: bool,
    /// `topic.preserve.partitions`: partitions are added until there are as many as at the source, and records keep
    /// theirs. Where it is false, none are added, and records are spread over those that there are.
    pub preserve_partitions: bool,
    /// `dest.topic.replication.factor`: replicas of new topics, where they do not follow the source.
    pub replication_factor: Option<i16>,
    /// `topic.config.sync`: settings of existing topics follow the source, and are changed as far as batches
    /// need it to pass through unchanged. Where it is false, what batches need is warned about.
    pub config_sync: bool,
    /// `topic.config.sync.exclude`: settings that existing topics keep as they are all the same. New topics
    /// begin with the source's.
    pub config_sync_exclude: SettingNames,
    /// `topic.config.sync.include`: settings that are about the destination's brokers and follow the source all
    /// the same, on new topics too.
    pub config_sync_include: SettingNames,
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
            config_sync_exclude: SettingNames::default(),
            config_sync_include: SettingNames::default(),
            timestamps: TimestampRule::AsAtSource,
        }
    }
}

impl TopicPolicy {
    /// What becomes of the override `key` of a source topic.
    pub(crate) fn travel(&self, key: &str) -> Travel {
        match travel(key) {
            Travel::Stays(_) if self.config_sync_include.contains(key) => Travel::Copied,
            travel => travel,
        }
    }

    /// Whether the setting `key` of an existing copy is to be as the source has it.
    pub(crate) fn follows(&self, key: &str) -> bool {
        self.travel(key) == Travel::Copied && !self.config_sync_exclude.contains(key)
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
}

/// What the copy of `source` should be. Its settings depend on the destination, too: see `wanted`.
pub(crate) fn desired(source: &Topic, policy: &TopicPolicy) -> Desired {
    Desired {
        partitions: source.partitions,
        replication_factor: policy.replication_factor.unwrap_or(source.replication_factor),
        needs: needs(source, policy.timestamps),
    }
}
