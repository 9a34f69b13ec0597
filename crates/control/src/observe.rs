//! Asks both clusters what there is, in as few calls as that takes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use client::{
    ApiKey, CallError, Cluster, ConfigEntry, ConfigSource, ErrorCode, Metadata, Refusal, TopicMetadata,
    Wanted,
};
use model::TopicName;
use tokio::time::{sleep, timeout};
use topology::settings::WATCHED;
use topology::snapshot::{Features, Settings, Snapshot, Topic, TopicSettings, topic_defaults};
use topology::{Candidates, Intent, defaults_matter};

/// Topics in one request for settings: some 30 settings each make about 2 KB an answer.
const DESCRIBED_AT_ONCE: usize = 500;

/// How often, and how far apart, settings are asked for of a topic that metadata shows and the broker asked
/// does not know yet.
const YOUNG_TOPIC_TRIES: u32 = 10;
const YOUNG_TOPIC_PAUSE: Duration = Duration::from_millis(100);

/// A broker that cannot be reached must not hold up the rest: what it would have told is a gap then.
const BROKER_SETTINGS_WITHIN: Duration = Duration::from_secs(5);

/// The first version of Produce with which zstd may be sent (2.1, KIP-110).
const PRODUCE_WITH_ZSTD: i16 = 7;

/// Both clusters at about one moment.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) source: Snapshot,
    pub(crate) destination: Snapshot,
    pub(crate) candidates: Candidates,
}

/// Why there is no observation.
#[derive(Clone, Debug)]
pub struct ObserveError {
    /// Why the source could not be observed, if so.
    pub source: Option<Unobserved>,
    /// Why the destination could not be observed, if so.
    pub destination: Option<Unobserved>,
}

/// Why a cluster could not be observed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unobserved {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A broker answered that lists no brokers: it has just started and knows nothing yet.
    #[error("a broker of cluster `{0}` lists no brokers, not even itself")]
    NoBrokers(model::ClusterName),
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = [&self.source, &self.destination].into_iter().flatten().map(chain).collect();
        f.write_str(&told.join("; "))
    }
}

impl Error for ObserveError {}

/// An error with all its sources, as a person reads it.
pub(crate) fn chain<E: Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// How much of the clusters is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What the copy needs to know, often.
    Needed,
    /// The names of all topics as well, for somebody who wants to read why they are not copied.
    AllNames,
}

/// Looks at both clusters, each as far as `intent` is about it.
pub(crate) async fn observe(
    source: &Cluster,
    destination: &Cluster,
    intent: &Arc<Intent>,
    scope: Scope,
) -> Result<Observation, ObserveError> {
    let names = intent.selection.names();
    let wanted = names.as_deref().map_or(Wanted::All, Wanted::Topics);
    let (found, zstd) = tokio::join!(topics(source, wanted, scope), reads_zstd(destination));
    let (found, zstd) = match (found, zstd) {
        (Ok(found), Ok(zstd)) => (found, zstd),
        (found, zstd) => return Err(ObserveError { source: found.err(), destination: zstd.err() }),
    };
    let (mut source_seen, candidates) = select(found, intent).await;

    let sources: Vec<TopicName> = candidates.pairs.keys().cloned().collect();
    let destinations = candidates.destinations();
    let destination_seen = async {
        let mut seen = topics(destination, Wanted::Topics(&destinations), scope).await?;
        seen.features.zstd = zstd;
        let is_there = |name: &&TopicName| seen.topics.contains_key(*name);
        let there: Vec<TopicName> = destinations.iter().filter(is_there).cloned().collect();
        read_settings(destination, &mut seen, &there).await?;
        Ok::<Snapshot, Unobserved>(seen)
    };
    let (described, destination_seen) =
        tokio::join!(read_settings(source, &mut source_seen, &sources), destination_seen);
    match (described, destination_seen) {
        (Ok(()), Ok(mut seen)) => {
            if defaults_matter(&source_seen, &seen, &candidates, &intent.topics) {
                read_broker_settings(destination, &mut seen).await;
            }
            Ok(Observation { source: source_seen, destination: seen, candidates })
        }
        (described, seen) => {
            Err(ObserveError { source: described.err().map(Unobserved::from), destination: seen.err() })
        }
    }
}

/// Selecting costs a match for each topic of the source, and a pattern may be slow: not on this thread.
async fn select(snapshot: Snapshot, intent: &Arc<Intent>) -> (Snapshot, Candidates) {
    let intent = Arc::clone(intent);
    let select = move || {
        let candidates = Candidates::of(&snapshot, &intent.selection, &intent.naming);
        (snapshot, candidates)
    };
    match tokio::task::spawn_blocking(select).await {
        Ok(selected) => selected,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The topics `wanted`; whatever `scope`, why one of these is not told about is known.
async fn topics(cluster: &Cluster, wanted: Wanted<'_>, scope: Scope) -> Result<Snapshot, Unobserved> {
    let mut found = snapshot(&metadata(cluster, wanted).await?);
    if scope == Scope::AllNames && matches!(wanted, Wanted::Topics(_)) {
        // A cluster leaves out of all topics those that it would not tell about.
        for (name, topic) in snapshot(&metadata(cluster, Wanted::All).await?).topics {
            found.topics.entry(name).or_insert(topic);
        }
    }
    Ok(found)
}

async fn metadata(cluster: &Cluster, wanted: Wanted<'_>) -> Result<Metadata, Unobserved> {
    let metadata = cluster.metadata(wanted).await?;
    match metadata.brokers.is_empty() {
        true => Err(Unobserved::NoBrokers(cluster.name().clone())),
        false => Ok(metadata),
    }
}

async fn reads_zstd(cluster: &Cluster) -> Result<bool, Unobserved> {
    let versions = cluster.versions(None).await?;
    Ok(versions.listed(ApiKey::Produce).is_some_and(|(_, highest)| highest >= PRODUCE_WITH_ZSTD))
}

/// What metadata tells; settings are still to be asked for.
fn snapshot(metadata: &Metadata) -> Snapshot {
    let mut snapshot = Snapshot {
        cluster_id: metadata.cluster_id.clone(),
        brokers: metadata.brokers.len(),
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
    snapshot
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

/// Asks for the settings of `topics`, which are in the snapshot, and puts them there.
async fn read_settings(
    cluster: &Cluster,
    snapshot: &mut Snapshot,
    topics: &[TopicName],
) -> Result<(), CallError> {
    for topics in topics.chunks(DESCRIBED_AT_ONCE) {
        let mut left = topics.to_vec();
        for tries_left in (0..YOUNG_TOPIC_TRIES).rev() {
            let mut young = Vec::new();
            for (name, answer) in cluster.describe_topic_configs(&left).await? {
                let settings = match answer {
                    Err(Refusal { error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. }) if tries_left > 0 => {
                        young.push(name);
                        continue;
                    }
                    Ok(entries) => Settings::Known(topic_settings(entries)),
                    Err(refusal) => Settings::Unreadable(refusal.to_string()),
                };
                if let Some(topic) = snapshot.topics.get_mut(&name) {
                    topic.settings = settings;
                }
            }
            if young.is_empty() {
                break;
            }
            left = young;
            sleep(YOUNG_TOPIC_PAUSE).await;
        }
    }
    Ok(())
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

/// Learns from one broker what topics have without settings of their own; that it will not tell is a gap.
async fn read_broker_settings(cluster: &Cluster, snapshot: &mut Snapshot) {
    let asked = timeout(BROKER_SETTINGS_WITHIN, async {
        let metadata = cluster.metadata(Wanted::None).await?;
        let broker = metadata.controller.or(metadata.brokers.first().map(|broker| broker.id));
        match broker {
            Some(broker) => cluster.describe_broker_configs(broker).await,
            None => Ok(Vec::new()),
        }
    });
    let gap = match asked.await {
        Ok(Ok(entries)) if entries.is_empty() => "no broker tells its settings".to_owned(),
        Ok(Ok(entries)) => {
            let values: BTreeMap<String, Option<String>> =
                entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
            snapshot.features.topic_defaults = Some(topic_defaults(&values));
            return;
        }
        Ok(Err(error)) => format!("the settings of brokers could not be read: {}", chain(&error)),
        Err(_) => format!("no broker told its settings within {} s", BROKER_SETTINGS_WITHIN.as_secs()),
    };
    snapshot.gaps.push(format!("{gap}; topics get the settings that every version has"));
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
        let snapshot = snapshot(&metadata);
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
}
