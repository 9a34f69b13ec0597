//! ListOffsets: where a partition's log starts and ends, or what a time falls on.

use model::{BrokerId, Offset, TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::ListOffsetsRequest;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use crate::calls::{by_topic, partition_of, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first there is.
    Earliest,
    /// The end: the next to be written, as far as readers of the isolation level may go.
    Latest,
    /// That of the first record of this time or later, in milliseconds since 1970.
    Timestamp(i64),
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
            OffsetSpec::Timestamp(milliseconds) => milliseconds.max(0),
        }
    }
}

impl Cluster {
    /// Asks `leader` for an offset of each of `partitions`, which it must lead.
    ///
    /// `isolation_committed`: the latest is the last stable offset, not the high watermark. For
    /// [`OffsetSpec::Timestamp`] the offset is `-1` where no record is that young.
    ///
    /// # Errors
    /// As for any call; each partition has its own besides.
    pub async fn list_offsets(
        &self,
        leader: BrokerId,
        partitions: &[TopicPartition],
        at: OffsetSpec,
        isolation_committed: bool,
    ) -> Result<Vec<(TopicPartition, Result<Offset, ErrorCode>)>, CallError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let request = |version: i16| {
            let topic = |(name, partitions): (&&TopicName, &Vec<(i32, ())>)| {
                let partition = |&(partition, ()): &(i32, ())| {
                    ListOffsetsPartition::default()
                        .with_partition_index(partition)
                        .with_timestamp(at.timestamp())
                        .with_current_leader_epoch(-1)
                };
                ListOffsetsTopic::default()
                    .with_name(wire_name(name))
                    .with_partitions(partitions.iter().map(partition).collect())
            };
            let request = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_topics(topics.iter().map(topic).collect());
            // Version 1 has no isolation level.
            if version >= 2 { request.with_isolation_level(i8::from(isolation_committed)) } else { request }
        };
        let answer = self
            .call(To::Broker(leader), Repeat::Harmless, "Kafka 0.11 or newer", request, |response| {
                response.throttle_time_ms
            })
            .await?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for topic in answer.body.topics {
            let name = TopicName::from(topic.name.as_str());
            offsets.extend(topic.partitions.iter().map(|partition| {
                let offset = ErrorCode(partition.error_code).ok_or(Offset(partition.offset));
                (partition_of(&name, partition.partition_index), offset)
            }));
        }
        Ok(offsets)
    }
}
