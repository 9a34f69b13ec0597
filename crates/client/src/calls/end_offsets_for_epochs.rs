//! OffsetForLeaderEpoch: where a leadership ended, to find out whether a log was truncated (KIP-320).

use model::{BrokerId, LeaderEpoch, Offset, TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::OffsetForLeaderEpochRequest;
use protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};

use crate::calls::{by_topic, partition_of, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

impl Cluster {
    /// Asks `leader`, for each partition it leads, for the largest epoch up to the given one and the offset
    /// at which that epoch ended.
    ///
    /// `None`: it cannot tell, which does not mean that anything is lost. An end below what was read means
    /// that the log was truncated since.
    ///
    /// # Errors
    /// [`CallError::Unsupported`] before 2.1; else as for any call, and each partition has its own besides
    /// (TOPIC_AUTHORIZATION_FAILED before 2.3, which wants the rights of a broker).
    pub async fn end_offsets_for_epochs(
        &self,
        leader: BrokerId,
        asked: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<Vec<(TopicPartition, Result<Option<(LeaderEpoch, Offset)>, ErrorCode>)>, CallError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let topics = by_topic(asked.iter().map(|(partition, epoch)| (partition, *epoch)));
        let request = |version: i16| {
            let topic = |(name, partitions): (&&TopicName, &Vec<(i32, LeaderEpoch)>)| {
                let partition = |&(partition, epoch): &(i32, LeaderEpoch)| {
                    OffsetForLeaderPartition::default()
                        .with_partition(partition)
                        .with_current_leader_epoch(-1)
                        .with_leader_epoch(epoch.0)
                };
                OffsetForLeaderTopic::default()
                    .with_topic(wire_name(name))
                    .with_partitions(partitions.iter().map(partition).collect())
            };
            let request =
                OffsetForLeaderEpochRequest::default().with_topics(topics.iter().map(topic).collect());
            // From version 3 on: not a replica, so that DESCRIBE on the topic is enough.
            if version >= 3 { request.with_replica_id((-1).into()) } else { request }
        };
        let answer = self
            .call(To::Broker(leader), Repeat::Harmless, "Kafka 2.1 or newer", request, |response| {
                response.throttle_time_ms
            })
            .await?;
        let mut ends = Vec::with_capacity(asked.len());
        for topic in answer.body.topics {
            let name = TopicName::from(topic.topic.as_str());
            ends.extend(topic.partitions.iter().map(|partition| {
                let end = (partition.end_offset >= 0)
                    .then_some((LeaderEpoch(partition.leader_epoch), Offset(partition.end_offset)));
                (partition_of(&name, partition.partition), ErrorCode(partition.error_code).ok_or(end))
            }));
        }
        Ok(ends)
    }
}
