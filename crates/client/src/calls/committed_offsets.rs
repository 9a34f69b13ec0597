//! OffsetFetch: what a group has committed.

use model::{Offset, TopicName, TopicPartition};
use protocol::messages::OffsetFetchRequest;
use protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep};

use crate::calls::coordinator::{PAUSE, passes};
use crate::calls::{by_topic, partition_of, str_bytes, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

impl Cluster {
    /// The offset that `group` has committed for each of `partitions`: the next it would read, or `None`.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the coordinator's code; else as for any call. Each partition has its own
    /// besides.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<Option<Offset>, ErrorCode>)>, CallError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.options().request_timeout;
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let request = |_version: i16| {
            let topic = |(name, partitions): (&&TopicName, &Vec<(i32, ())>)| {
                OffsetFetchRequestTopic::default()
                    .with_name(wire_name(name))
                    .with_partition_indexes(partitions.iter().map(|&(partition, ())| partition).collect())
            };
            OffsetFetchRequest::default()
                .with_group_id(str_bytes(group).into())
                .with_topics(Some(topics.iter().map(topic).collect()))
        };
        loop {
            let coordinator = self.coordinator(group, deadline).await?;
            let answer = self
                .call(To::Broker(coordinator), Repeat::Harmless, "Kafka 0.11 or newer", request, |response| {
                    response.throttle_time_ms
                })
                .await?;
            let error = ErrorCode(answer.body.error_code);
            if passes(error) && Instant::now() + PAUSE < deadline {
                sleep(PAUSE).await;
                continue;
            }
            if !error.is_ok() {
                return Err(answer.connection.refused(ApiKey::OffsetFetch, error));
            }
            let mut committed = Vec::with_capacity(partitions.len());
            for topic in answer.body.topics {
                let name = TopicName::from(topic.name.as_str());
                committed.extend(topic.partitions.iter().map(|partition| {
                    let offset =
                        (partition.committed_offset >= 0).then_some(Offset(partition.committed_offset));
                    let offset = ErrorCode(partition.error_code).ok_or(offset);
                    (partition_of(&name, partition.partition_index), offset)
                }));
            }
            return Ok(committed);
        }
    }
}
