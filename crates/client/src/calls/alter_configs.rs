//! Changes to topics' settings: IncrementalAlterConfigs, and what stands in for it before 2.3.

use std::collections::BTreeMap;

use model::TopicName;
use protocol::ApiKey;
use protocol::messages::alter_configs_request::{
    AlterConfigsResource as WholeResource, AlterableConfig as WholeConfig,
};
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};

use crate::calls::create_topics::is_elsewhere;
use crate::calls::describe_configs::TOPIC;
use crate::calls::{ConfigEntry, ConfigSource, Purpose, Refusal, outcome, str_bytes};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster, Wanted};

const SET: i8 = 0;
const DELETE: i8 = 1;

/// What to change of one topic's settings. All of it happens, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfigChange {
    /// The topic.
    pub topic: TopicName,
    /// Settings and their new values.
    pub set: Vec<(String, String)>,
    /// Settings that go back to the broker's own.
    pub unset: Vec<String>,
}

impl Cluster {
    /// Makes `changes`, and says for each topic whether they were made, or would be.
    ///
    /// Brokers before 2.3 can only replace a topic's settings as a whole: theirs are read, merged and
    /// replaced, and a change that someone else makes in between is lost.
    ///
    /// # Errors
    /// As for any call.
    pub async fn alter_topic_configs(
        &self,
        changes: &[TopicConfigChange],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.alter_once(changes, purpose).await?;
        if !answers.iter().any(|(_, answer)| is_elsewhere(answer)) {
            return Ok(answers);
        }
        self.metadata(Wanted::None).await?;
        self.alter_once(changes, purpose).await
    }

    async fn alter_once(
        &self,
        changes: &[TopicConfigChange],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        let controller = self.controller().await?;
        let versions = self.versions(Some(controller)).await?;
        if versions.negotiate(ApiKey::IncrementalAlterConfigs).is_some() {
            self.alter_incrementally(To::Broker(controller), changes, purpose).await
        } else {
            self.replace(To::Broker(controller), changes, purpose).await
        }
    }

    async fn alter_incrementally(
        &self,
        to: To,
        changes: &[TopicConfigChange],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        let request = |_version: i16| {
            let resource = |change: &TopicConfigChange| {
                let set = change.set.iter().map(|(name, value)| {
                    AlterableConfig::default()
                        .with_name(str_bytes(name))
                        .with_config_operation(SET)
                        .with_value(Some(str_bytes(value)))
                });
                let unset = change.unset.iter().map(|name| {
                    AlterableConfig::default()
                        .with_name(str_bytes(name))
                        .with_config_operation(DELETE)
                        .with_value(None)
                });
                AlterConfigsResource::default()
                    .with_resource_type(TOPIC)
                    .with_resource_name(str_bytes(change.topic.as_str()))
                    .with_configs(set.chain(unset).collect())
            };
            IncrementalAlterConfigsRequest::default()
                .with_resources(changes.iter().map(resource).collect())
                .with_validate_only(purpose.validate_only())
        };
        // Setting what is set already changes nothing.
        let answer = self
            .call(to, Repeat::Harmless, "Kafka 2.3 or newer", request, |response| response.throttle_time_ms)
            .await?;
        let responses = answer.body.responses.into_iter();
        Ok(responses
            .map(|topic| {
                let name = TopicName::from(topic.resource_name.as_str());
                (name, outcome(topic.error_code, topic.error_message))
            })
            .collect())
    }

    async fn replace(
        &self,
        to: To,
        changes: &[TopicConfigChange],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        let topics: Vec<TopicName> = changes.iter().map(|change| change.topic.clone()).collect();
        let mut answers = Vec::new();
        let mut whole: Vec<(TopicName, BTreeMap<String, String>)> = Vec::new();
        for (topic, present) in self.describe_topic_configs(&topics).await? {
            let change = changes.iter().find(|change| change.topic == topic);
            match (present, change) {
                (Ok(present), Some(change)) => whole.push((topic, merged(present, change))),
                (Err(refusal), _) => answers.push((topic, Err(refusal))),
                (Ok(_), None) => {}
            }
        }
        if whole.is_empty() {
            return Ok(answers);
        }
        let request = |_version: i16| {
            let resource = |(topic, configs): &(TopicName, BTreeMap<String, String>)| {
                let config = |(name, value): (&String, &String)| {
                    WholeConfig::default().with_name(str_bytes(name)).with_value(Some(str_bytes(value)))
                };
                WholeResource::default()
                    .with_resource_type(TOPIC)
                    .with_resource_name(str_bytes(topic.as_str()))
                    .with_configs(configs.iter().map(config).collect())
            };
            AlterConfigsRequest::default()
                .with_resources(whole.iter().map(resource).collect())
                .with_validate_only(purpose.validate_only())
        };
        let answer = self
            .call(to, Repeat::Harmless, "Kafka 0.11 or newer", request, |response| response.throttle_time_ms)
            .await?;
        answers.extend(answer.body.responses.into_iter().map(|topic| {
            let name = TopicName::from(topic.resource_name.as_str());
            (name, outcome(topic.error_code, topic.error_message))
        }));
        Ok(answers)
    }
}

/// All of a topic's own settings as they shall be.
fn merged(present: Vec<ConfigEntry>, change: &TopicConfigChange) -> BTreeMap<String, String> {
    let own = present.into_iter().filter(|entry| entry.source == ConfigSource::Topic);
    let mut all: BTreeMap<String, String> =
        own.filter_map(|entry| Some((entry.name, entry.value?))).collect();
    all.extend(change.set.iter().cloned());
    for name in &change.unset {
        all.remove(name);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_as_a_whole_keeps_the_topics_own_settings() {
        let entry = |name: &str, value: &str, source| ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            read_only: false,
            sensitive: false,
        };
        let present = vec![
            entry("cleanup.policy", "compact", ConfigSource::Topic),
            entry("retention.ms", "1000", ConfigSource::Topic),
            entry("segment.ms", "5000", ConfigSource::Topic),
            entry("segment.bytes", "100", ConfigSource::StaticBroker),
        ];
        let change = TopicConfigChange {
            topic: TopicName::from("t"),
            set: vec![("retention.ms".to_owned(), "2000".to_owned())],
            unset: vec!["segment.ms".to_owned()],
        };
        let expected = [("cleanup.policy", "compact"), ("retention.ms", "2000")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(merged(present, &change), BTreeMap::from(expected));
    }
}
