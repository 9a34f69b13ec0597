//! CreatePartitions, at the controller.

use model::TopicName;
use protocol::messages::CreatePartitionsRequest;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;

use crate::calls::create_topics::{broker_timeout_ms, is_elsewhere};
use crate::calls::{Purpose, Refusal, outcome, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster, Wanted};

impl Cluster {
    /// Gives each topic so many partitions in all, or says whether it could be given them. There can only be
    /// more; INVALID_PARTITIONS may mean that it has as many already.
    ///
    /// # Errors
    /// As for any call. After a [`CallError::maybe_written`] one, look before asking again.
    pub async fn create_partitions(
        &self,
        topics: &[(TopicName, i32)],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.create_partitions_once(topics, purpose).await?;
        if !answers.iter().any(|(_, answer)| is_elsewhere(answer)) {
            return Ok(answers);
        }
        // The controller has moved, so nothing was done.
        self.metadata(Wanted::None).await?;
        self.create_partitions_once(topics, purpose).await
    }

    async fn create_partitions_once(
        &self,
        topics: &[(TopicName, i32)],
        purpose: Purpose,
    ) -> Result<Vec<(TopicName, Result<(), Refusal>)>, CallError> {
        let timeout_ms = broker_timeout_ms(self.options().request_timeout);
        let request = |_version: i16| {
            let topic = |(name, count): &(TopicName, i32)| {
                CreatePartitionsTopic::default()
                    .with_name(wire_name(name))
                    .with_count(*count)
                    // Where the partitions go is for the cluster to say; the generated default says nowhere.
                    .with_assignments(None)
            };
            CreatePartitionsRequest::default()
                .with_topics(topics.iter().map(topic).collect())
                .with_timeout_ms(timeout_ms)
                .with_validate_only(purpose.validate_only())
        };
        let controller = self.controller().await?;
        let answer = self
            .call(To::Broker(controller), Repeat::IfUnseen, "Kafka 1.0 or newer", request, |response| {
                response.throttle_time_ms
            })
            .await?;
        let results = answer.body.results.into_iter();
        Ok(results
            .map(|topic| {
                (TopicName::from(topic.name.as_str()), outcome(topic.error_code, topic.error_message))
            })
            .collect())
    }
}
