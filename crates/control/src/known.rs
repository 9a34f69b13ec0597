//! What is known of one cluster: its topics as metadata shows them now, with their settings as they were told last.
//!
//! A round that finds nothing new gives the very snapshot of the round before, so that nobody looks at it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{Class, ConfigEntry, ConfigSource, ErrorCode, Metadata, Refusal, TopicMetadata, classify};
use model::{BrokerId, TopicName};
use tokio::time::Instant;
use topology::settings::WATCHED;
use topology::snapshot::{Features, Settings, Snapshot, Topic, TopicSettings};

use crate::agenda::{Defaults, Identity, Learnt, Rhythm, defaults_due, settings_due, settings_next};

/// What was learnt of a cluster, and the last snapshot made of it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    settings: BTreeMap<TopicName, Learnt>,
    /// Settings that topics share.
    shared: BTreeSet<Arc<TopicSettings>>,
    defaults: Option<Defaults>,
    snapshot: Arc<Snapshot>,
}

impl Known {
    /// The last snapshot.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Those of `names` that are in `found` and whose settings are to be asked for now.
    pub(crate) fn due<'a>(
        &self,
        found: &Snapshot,
        names: impl Iterator<Item = &'a TopicName>,
        rhythm: Rhythm,
        now: Instant,
    ) -> Vec<TopicName> {
        let topics = names.filter_map(|name| found.topics.get_key_value(name));
        settings_due(&self.settings, topics, rhythm, now)
    }

    /// When settings will have to be asked for again.
    pub(crate) fn next(&self, rhythm: Rhythm) -> Option<Instant> {
        settings_next(self.settings.values(), rhythm)
    }

    /// Takes in what was `asked` for at that time and answered of the topic `name` of `found`.
    pub(crate) fn told(&mut self, found: &Snapshot, name: TopicName, told: Told, asked: Instant) {
        let Some(topic) = found.topics.get(&name) else { return };
        let settings = match told.settings {
            Settings::Known(settings) => Settings::Known(self.share(settings)),
            other => other,
        };
        let of = Identity::of(topic);
        self.settings.insert(name, Learnt { of, asked, settings, passes: told.passes });
    }

    fn share(&mut self, settings: Arc<TopicSettings>) -> Arc<TopicSettings> {
        if let Some(same) = self.shared.get(&settings) {
            return Arc::clone(same);
        }
        self.shared.insert(Arc::clone(&settings));
        settings
    }

    /// Forgets the settings of all other topics.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&TopicName) -> bool) {
        self.settings.retain(|name, _| is_kept(name));
    }

    /// Forgets the settings of the topic `name`, which were changed.
    pub(crate) fn forget(&mut self, name: &TopicName) {
        self.settings.remove(name);
    }

    /// Puts into `found` what is known besides, and forgets what is not there any more.
    pub(crate) fn fill(&mut self, found: &mut Snapshot) {
        self.settings.retain(|name, known| {
            let topic = found.topics.get_mut(name).filter(|topic| Identity::of(topic) == known.of);
            let is_there = topic.is_some();
            if let Some(topic) = topic {
                topic.settings = known.settings.clone();
            }
            is_there
        });
        if let Some(Defaults { answer: Ok(defaults), .. }) = &self.defaults {
            found.features.topic_defaults = Some(defaults.clone());
        }
    }

    /// Whether the brokers' defaults are to be asked for now, given that they matter.
    pub(crate) fn defaults_due(&self, found: &Found, rhythm: Rhythm, now: Instant) -> bool {
        defaults_due(self.defaults.as_ref(), &found.brokers, rhythm, now)
    }

    /// Takes in what was answered about the brokers' defaults.
    pub(crate) fn defaults_told(&mut self, defaults: Defaults) {
        self.defaults = Some(defaults);
    }

    /// Makes `found`, which is filled, the last snapshot. That defaults are not known is a gap where they `matter`.
    pub(crate) fn settle(&mut self, mut found: Snapshot, defaults_matter: bool) {
        match &self.defaults {
            Some(Defaults { answer: Ok(defaults), .. }) => {
                found.features.topic_defaults = Some(defaults.clone());
            }
            Some(Defaults { answer: Err(gap), .. }) if defaults_matter => {
                found.gaps.push(format!("{gap}; topics get the settings that every version has"));
            }
            Some(_) | None => {}
        }
        if found != *self.snapshot {
            self.snapshot = Arc::new(found);
            self.shared.retain(|settings| Arc::strong_count(settings) > 1);
        }
    }
}

/// A cluster as metadata shows it, without settings, and who its brokers are.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) snapshot: Snapshot,
    pub(crate) brokers: Vec<BrokerId>,
}

impl Found {
    /// What `metadata` tells; of topics that several of them are about, the first counts.
    pub(crate) fn read(metadata: Vec<Metadata>) -> Found {
        let mut all = metadata.into_iter();
        let mut found = all.next().map(|first| Found::read_one(&first)).unwrap_or_default();
        for more in all {
            for (name, topic) in Found::read_one(&more).snapshot.topics {
                found.snapshot.topics.entry(name).or_insert(topic);
            }
        }
        found
    }

    fn read_one(metadata: &Metadata) -> Found {
        let mut brokers: Vec<BrokerId> = metadata.brokers.iter().map(|broker| broker.id).collect();
        brokers.sort();
        let mut snapshot = Snapshot {
            cluster_id: metadata.cluster_id.clone(),
            brokers: brokers.len(),
            features: Features { zstd: false, topic_defaults: None },
            ..Snapshot::default()
        };
        for topic in &metadata.topics {
            match topic.error {
                None => {
                    snapshot.topics.insert(topic.name.clone(), read_topic(topic));
                }
                // Not there; and a name that cannot be is not there either.
                Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::INVALID_TOPIC_EXCEPTION) => {}
                Some(error) => {
                    snapshot.troubled.insert(topic.name.clone(), error.to_string());
                }
            }
        }
        Found { snapshot, brokers }
    }
}

impl Default for Found {
    fn default() -> Found {
        Found::read_one(&Metadata::default())
    }
}

fn read_topic(topic: &TopicMetadata) -> Topic {
    let replicas = topic.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0);
    let partitions = topic.partitions.iter().map(|partition| partition.partition.0.saturating_add(1)).max();
    Topic {
        id: topic.id,
        internal: topic.internal,
        partitions: partitions.unwrap_or(0),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        settings: Settings::NotAsked,
    }
}

/// An answer about a topic's settings.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) settings: Settings,
    /// It is a refusal that may be over at any time.
    pub(crate) passes: bool,
}

impl Told {
    pub(crate) fn read(answer: Result<Vec<ConfigEntry>, Refusal>) -> Told {
        match answer {
            Ok(entries) => {
                Told { settings: Settings::Known(Arc::new(topic_settings(entries))), passes: false }
            }
            Err(refusal) => Told {
                passes: !matches!(classify(refusal.error), Class::OperatorNeeded | Class::Fatal),
                settings: Settings::Unreadable(refusal.to_string()),
            },
        }
    }
}

fn topic_settings(entries: Vec<ConfigEntry>) -> TopicSettings {
    let mut settings = TopicSettings::default();
    for entry in entries {
        let Some(value) = entry.value.filter(|_| !entry.sensitive) else { continue };
        if WATCHED.contains(&entry.name.as_str()) {
            settings.effective.insert(entry.name.clone(), value.clone());
        }
        if entry.source == ConfigSource::Topic {
            settings.overrides.insert(entry.name, value);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use client::PartitionMetadata;
    use model::{BrokerId, LeaderEpoch, PartitionId};

    use super::*;

    fn topic(name: &str, error: Option<ErrorCode>, replicas: &[usize]) -> TopicMetadata {
        let partition = |(index, count): (usize, &usize)| PartitionMetadata {
            partition: PartitionId(i32::try_from(index).unwrap()),
            leader: None,
            leader_epoch: LeaderEpoch::UNKNOWN,
            replicas: (0..*count).map(|broker| BrokerId(i32::try_from(broker).unwrap())).collect(),
            isr: Vec::new(),
            error: Some(ErrorCode::LEADER_NOT_AVAILABLE),
        };
        TopicMetadata {
            name: name.into(),
            id: None,
            internal: false,
            error,
            partitions: replicas.iter().enumerate().map(partition).collect(),
        }
    }

    #[test]
    fn a_topic_counts_as_missing_as_untold_or_as_there_even_without_leaders() {
        let metadata = Metadata {
            topics: vec![
                topic("there", None, &[3, 4, 3]),
                topic("missing", Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), &[]),
                topic("illegal name", Some(ErrorCode::INVALID_TOPIC_EXCEPTION), &[]),
                topic("secret", Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED), &[]),
            ],
            ..Metadata::default()
        };
        let snapshot = Found::read(vec![metadata]).snapshot;
        let there = &snapshot.topics[&TopicName::from("there")];
        assert_eq!((there.partitions, there.replication_factor), (3, 3));
        assert_eq!(snapshot.topics.len(), 1);
        let troubled: Vec<_> = snapshot.troubled.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        assert_eq!(troubled, ["secret: TOPIC_AUTHORIZATION_FAILED (29)"]);
    }

    #[test]
    fn only_what_was_set_on_the_topic_is_an_override() {
        let entry = |name: &str, value: Option<&str>, source, sensitive| ConfigEntry {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source,
            read_only: false,
            sensitive,
        };
        let settings = topic_settings(vec![
            entry("retention.ms", Some("5"), ConfigSource::Topic, false),
            entry("vendor.key", Some("secret"), ConfigSource::Topic, true),
            entry("flush.ms", None, ConfigSource::Topic, false),
            entry("cleanup.policy", Some("delete"), ConfigSource::Default, false),
            entry("max.message.bytes", Some("7"), ConfigSource::StaticBroker, false),
            entry("preallocate", Some("false"), ConfigSource::AllBrokers, false),
        ]);
        let list = |map: &BTreeMap<String, String>| -> Vec<String> {
            map.iter().map(|(key, value)| format!("{key}={value}")).collect()
        };
        assert_eq!(list(&settings.overrides), ["retention.ms=5"]);
        assert_eq!(
            list(&settings.effective),
            ["cleanup.policy=delete", "max.message.bytes=7", "retention.ms=5"]
        );
    }

    #[test]
    fn what_is_the_same_is_the_same_snapshot_and_what_is_not_there_is_forgotten() {
        let start = Instant::now();
        let found = |topics: &[&str]| {
            let topics = topics.iter().map(|name| topic(name, None, &[1])).collect();
            Found::read(vec![Metadata { topics, ..Metadata::default() }]).snapshot
        };
        let told = || Told { settings: Settings::Known(Arc::default()), passes: false };
        let mut known = Known::default();
        let settle = |known: &mut Known, topics: &[&str]| {
            let mut found = found(topics);
            known.fill(&mut found);
            known.settle(found, true);
            Arc::clone(known.snapshot())
        };
        for name in ["a", "b", "missing"] {
            known.told(&found(&["a", "b"]), name.into(), told(), start);
        }
        let first = settle(&mut known, &["a", "b"]);
        let settings = |name: &str| match &first.topics[&TopicName::from(name)].settings {
            Settings::Known(settings) => Arc::clone(settings),
            other => panic!("{other:?}"),
        };
        assert!(Arc::ptr_eq(&settings("a"), &settings("b")));
        assert!(Arc::ptr_eq(&first, &settle(&mut known, &["a", "b"])));
        let fewer = settle(&mut known, &["b"]);
        assert_eq!(fewer.topics.len(), 1);
        let back = settle(&mut known, &["a", "b"]);
        let settings: Vec<&Settings> = back.topics.values().map(|topic| &topic.settings).collect();
        assert_eq!(settings, [&Settings::NotAsked, &Settings::Known(Arc::default())]);
    }

    #[test]
    fn defaults_that_are_not_known_are_a_gap_where_they_matter() {
        let mut known = Known::default();
        let answer = Err("no broker tells its settings".to_owned());
        known.defaults_told(Defaults { brokers: Vec::new(), asked: Instant::now(), answer });
        known.settle(Snapshot::default(), false);
        assert_eq!(known.snapshot().gaps, Vec::<String>::new());
        known.settle(Snapshot::default(), true);
        assert_eq!(known.snapshot().gaps.len(), 1);
    }
}
