//! OffsetCommit, from outside the group.

use model::{Offset, TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::OffsetCommitRequest;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use tokio::time::{Instant, sleep};

use crate::calls::coordinator::{PAUSE, passes};
use crate::calls::{by_topic, partition_of, str_bytes, wire_name};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

impl Cluster {
    /// Commits `offsets` for `group` as nobody's member: taken while the group has no active member
    /// (UNKNOWN_MEMBER_ID otherwise). No leader epoch goes with them: one of another cluster would hang the
    /// group's consumers.
    ///
    /// # Errors
    /// As for any call; each partition has its own besides.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<Vec<(TopicPartition, Result<(), ErrorCode>)>, CallError> {
        if offsets.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.options().request_timeout;
        let topics = by_topic(offsets.iter().map(|(partition, offset)| (partition, *offset)));
        let request = |version: i16| {
            let topic = |(name, partitions): (&&TopicName, &Vec<(i32, Offset)>)| {
                let partition = |&(partition, offset): &(i32, Offset)| {
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(partition)
                        .with_committed_offset(offset.0)
                        .with_committed_leader_epoch(-1)
                        .with_committed_metadata(Some(str_bytes("")))
                };
                OffsetCommitRequestTopic::default()
                    .with_name(wire_name(name))
                    .with_partitions(partitions.iter().map(partition).collect())
            };
            let request = OffsetCommitRequest::default()
                .with_group_id(str_bytes(group).into())
                .with_generation_id_or_member_epoch(-1)
                .with_member_id(str_bytes(""))
                .with_topics(topics.iter().map(topic).collect());
            // Before version 5 the request says how long to keep the offsets: as long as the broker does.
            let request = if version <= 4 { request.with_retention_time_ms(-1) } else { request };
            // A static member's name; the generated default is the empty one.
            if version >= 7 { request.with_group_instance_id(None) } else { request }
        };
        loop {
            let coordinator = self.coordinator(group, deadline).await?;
            // The same offsets twice are the same offsets.
            let answer = self
                .call(To::Broker(coordinator), Repeat::Harmless, "Kafka 0.11 or newer", request, |response| {
                    response.throttle_time_ms
                })
                .await?;
            let mut committed = Vec::with_capacity(offsets.len());
            for topic in answer.body.topics {
                let name = TopicName::from(topic.name.as_str());
                committed.extend(topic.partitions.iter().map(|partition| {
                    let outcome = ErrorCode(partition.error_code).ok_or(());
                    (partition_of(&name, partition.partition_index), outcome)
                }));
            }
            let moved = committed.iter().any(|(_, outcome)| outcome.is_err_and(passes));
            if moved && Instant::now() + PAUSE < deadline {
                sleep(PAUSE).await;
                continue;
            }
            return Ok(committed);
        }
    }
}
