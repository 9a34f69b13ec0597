//! CreateTopics, at the controller.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::CreateTopicsRequest;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use crate::calls::{Purpose, Refusal, outcome, str_bytes, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster, Wanted};

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies of each; `-1` leaves it to the broker, from 2.4 on.
    pub replication_factor: i16,
    /// Settings that differ from the broker's.
    pub configs: BTreeMap<String, String>,
}

/// How long the controller shall wait for a change to reach the brokers: less than we wait for it, so that
/// its own word on the outcome arrives.
pub(super) fn broker_timeout_ms(request_timeout: Duration) -> i32 {
    i32::try_from((request_timeout * 3 / 4).as_millis()).unwrap_or(i32::MAX)
}

impl Cluster {
    /// Creates `topics`, and says for each whether it was, or would be. TOPIC_ALREADY_EXISTS may mean that an
    /// earlier try, whose answer was lost, had created it. Brokers hear of a new topic a little later.
    ///
    /// # Errors
    /// As for any call. After a [`CallError::maybe_written`] one, look before creating again.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.create_topics_once(topics, purpose).await?;
        if !answers.iter().any(|(_, answer)| is_elsewhere(answer)) {
            return Ok(answers);
        }
        // The controller has moved, so nothing was done.
        self.metadata(Wanted::None).await?;
        self.create_topics_once(topics, purpose).await
    }

    async fn create_topics_once(
        &self,
        topics: &[NewTopic],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        let timeout_ms = broker_timeout_ms(self.options().request_timeout);
        let request = |_version: i16| {
            let topic = |topic: &NewTopic| {
                let config = |(name, value): (&String, &String)| {
                    CreatableTopicConfig::default()
                        .with_name(str_bytes(name))
                        .with_value(Some(str_bytes(value)))
                };
                CreatableTopic::default()
                    .with_name(wire_name(&topic.name))
                    .with_num_partitions(topic.partitions)
                    .with_replication_factor(topic.replication_factor)
                    .with_configs(topic.configs.iter().map(config).collect())
            };
            CreateTopicsRequest::default()
                .with_topics(topics.iter().map(topic).collect())
                .with_timeout_ms(timeout_ms)
                .with_validate_only(purpose.validate_only())
        };
        let controller = self.controller().await?;
        let answer = self
            .call(To::Broker(controller), Repeat::IfUnseen, "Kafka 0.11 or newer", request, |response| {
                response.throttle_time_ms
            })
            .await?;
        let topics = answer.body.topics.into_iter();
        Ok(topics
            .map(|topic| {
                (TopicName::from(topic.name.as_str()), outcome(topic.error_code, topic.error_message))
            })
            .collect())
    }
}

pub(super) fn is_elsewhere(answer: &Result<(), Refusal>) -> bool {
    matches!(answer, Err(refusal) if refusal.error == ErrorCode::NOT_CONTROLLER)
}
