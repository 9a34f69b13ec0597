//! What one cluster looked like at one observation: plain, sorted, possibly partial, and saying so.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{TopicId, TopicName};

use crate::settings::{BROKER_DEFAULTS, key};

/// One cluster as observed. What could not be learnt is in it as such, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The cluster's own id: the same id is the same cluster, whatever the addresses.
    pub cluster_id: Option<String>,
    /// Live brokers.
    pub brokers: usize,
    /// What the cluster's version can do.
    pub features: Features,
    /// The topics that were asked for and are there.
    pub topics: BTreeMap<TopicName, Topic>,
    /// The topics that were asked for and that the cluster would not tell about, with what it said.
    pub troubled: BTreeMap<TopicName, String>,
    /// What could not be learnt of the cluster as a whole, one sentence each.
    pub gaps: Vec<String>,
}

/// One topic as observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic's id, from brokers that have ids (2.8+).
    pub id: Option<TopicId>,
    /// The cluster marks it as its own.
    pub internal: bool,
    /// Partitions, numbered from 0.
    pub partitions: i32,
    /// Replicas of a partition; the lowest where partitions differ, as they do during a reassignment.
    pub replication_factor: i16,
    /// The topic's settings.
    pub settings: Settings,
}

/// A topic's settings, as far as they were learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// All of them. Topics are alike by the thousand, so that what is the same is kept once.
    Known(Arc<TopicSettings>),
    /// The cluster refused to tell, and why.
    Unreadable(String),
    /// Nobody asked.
    NotAsked,
}

/// A topic's settings: what was set on it, and what holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicSettings {
    /// What was set on the topic itself.
    pub overrides: BTreeMap<String, String>,
    /// What holds, from whatever source, for [`settings::WATCHED`](crate::settings::WATCHED) keys only.
    pub effective: BTreeMap<String, String>,
}

/// What the version of a cluster's brokers can do, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Brokers read zstd (2.1+).
    pub zstd: bool,
    /// Every topic setting that the brokers know, with the value a topic without an override has.
    /// `None` if it could not be learnt.
    pub topic_defaults: Option<BTreeMap<String, String>>,
}

impl Topic {
    /// The settings, if they are known.
    pub fn known(&self) -> Option<&TopicSettings> {
        match &self.settings {
            Settings::Known(settings) => Some(settings),
            Settings::Unreadable(_) | Settings::NotAsked => None,
        }
    }

    /// What was set for `key` on the topic itself, if known.
    pub fn own(&self, key: &str) -> Option<&str> {
        self.known()?.overrides.get(key).map(String::as_str)
    }

    /// The value that holds for `key`, if known.
    pub fn effective(&self, key: &str) -> Option<&str> {
        self.known()?.effective.get(key).map(String::as_str)
    }

    /// The number that holds for `key`, if known.
    pub fn effective_number(&self, key: &str) -> Option<i64> {
        self.effective(key)?.parse().ok()
    }

    /// Whether the topic is compacted; an unknown policy may be, too.
    pub fn may_be_compacted(&self) -> bool {
        self.effective(key::CLEANUP_POLICY).is_none_or(|policy| policy.contains("compact"))
    }
}

impl Features {
    /// Whether brokers know the topic setting `key`; `None` if that is unknown.
    pub fn knows(&self, key: &str) -> Option<bool> {
        self.topic_defaults.as_ref().map(|defaults| defaults.contains_key(key))
    }

    /// What a topic without an override has for `key`, if known.
    pub fn default_of(&self, key: &str) -> Option<&str> {
        self.topic_defaults.as_ref()?.get(key).map(String::as_str)
    }
}

/// The defaults of topic settings, from the settings of one broker as it describes itself: each value under
/// the topic's name of it. Keys the broker does not list are not known to it.
///
/// Source: `org.apache.kafka.server.config.ServerTopicConfigSynonyms`.
pub fn topic_defaults(broker: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let value = |name: &str| broker.get(name).and_then(Option::as_deref);
    BROKER_DEFAULTS
        .iter()
        .filter(|(_, name)| broker.contains_key(*name))
        .map(|(topic_key, name)| {
            let value = match *topic_key {
                key::RETENTION_MS => value(name).map(str::to_owned).or_else(|| {
                    let longer = |name, unit_ms: i64| {
                        let units: i64 = value(name)?.parse().ok()?;
                        Some(if units < 0 { -1 } else { units.saturating_mul(unit_ms) }.to_string())
                    };
                    longer("log.retention.minutes", 60_000)
                        .or_else(|| longer("log.retention.hours", 3_600_000))
                }),
                _ => value(name).map(str::to_owned),
            };
            ((*topic_key).to_owned(), value.unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_settings_tell_the_defaults_of_topics() {
        let broker: BTreeMap<String, Option<String>> = [
            ("message.max.bytes", Some("1048588")),
            ("log.retention.ms", None),
            ("log.retention.minutes", None),
            ("log.retention.hours", Some("168")),
            ("log.roll.ms", None),
            ("num.io.threads", Some("8")),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
        .collect();
        let defaults = topic_defaults(&broker);
        let listed: Vec<_> = defaults.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(listed, ["max.message.bytes=1048588", "retention.ms=604800000", "segment.ms="]);
        let features = Features { zstd: true, topic_defaults: Some(defaults) };
        assert_eq!(features.knows(key::COMPRESSION_TYPE), Some(false));
    }
}
