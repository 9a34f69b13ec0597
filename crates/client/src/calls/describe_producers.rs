//! DescribeProducers: the last sequence a partition has from each producer (KIP-664).

use model::{BrokerId, ProducerId, TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::DescribeProducersRequest;
use protocol::messages::describe_producers_request::TopicRequest;

use crate::calls::{by_topic, partition_of, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

/// What a partition's leader knows of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence of the last record appended for it, replicated or not.
    pub last_sequence: i32,
    /// The time of its last batch, in milliseconds since 1970.
    pub last_timestamp: i64,
}

impl Cluster {
    /// Asks `leader` for the producers that each of `partitions` knows. Only the leader knows of what is not
    /// replicated yet.
    ///
    /// # Errors
    /// [`CallError::Unsupported`] before 2.8; else as for any call, and each partition has its own besides.
    pub async fn describe_producers(
        &self,
        leader: BrokerId,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<Vec<ProducerState>, ErrorCode>)>, CallError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let request = |_version: i16| {
            let topic = |(name, partitions): (&&TopicName, &Vec<(i32, ())>)| {
                TopicRequest::default()
                    .with_name(wire_name(name))
                    .with_partition_indexes(partitions.iter().map(|&(partition, ())| partition).collect())
            };
            DescribeProducersRequest::default().with_topics(topics.iter().map(topic).collect())
        };
        let answer = self
            .call(To::Broker(leader), Repeat::Harmless, "Kafka 2.8 or newer", request, |response| {
                response.throttle_time_ms
            })
            .await?;
        let mut described = Vec::with_capacity(partitions.len());
        for topic in answer.body.topics {
            let name = TopicName::from(topic.name.as_str());
            described.extend(topic.partitions.into_iter().map(|partition| {
                let states = partition.active_producers.iter().map(|producer| ProducerState {
                    producer_id: ProducerId(producer.producer_id.0),
                    producer_epoch: producer.producer_epoch,
                    last_sequence: producer.last_sequence,
                    last_timestamp: producer.last_timestamp,
                });
                let states = ErrorCode(partition.error_code).ok_or(states.collect());
                (partition_of(&name, partition.partition_index), states)
            }));
        }
        Ok(described)
    }
}
