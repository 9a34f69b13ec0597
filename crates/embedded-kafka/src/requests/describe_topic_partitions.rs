//! DescribeTopicPartitions (KIP-966): topics in order, so many partitions at a time.

use std::collections::BTreeSet;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::describe_topic_partitions_request::{DescribeTopicPartitionsRequest, TopicRequest};
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{self};

use crate::acls::{operation, resource};
use crate::partition::{Partition, Replica};
use crate::requests::{Ask, wire_brokers, wire_id, wire_name};
use crate::state::{State, is_invalid_topic_name};

/// `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub(super) fn answer(
    state: &State,
    ask: &Ask,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    let about_all = request.topics.is_empty();
    // Where it left off must be a topic that is asked for.
    let astray = request.cursor.as_ref().is_some_and(|cursor| {
        !about_all && request.topics.iter().all(|topic| topic.name != cursor.topic_name)
    });
    if astray {
        let refuse = |topic: &TopicRequest| {
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic.name.clone()))
                .with_error_code(ErrorCode::INVALID_REQUEST.0)
        };
        return response.with_topics(request.topics.iter().map(refuse).collect());
    }
    let mut names: BTreeSet<TopicName> =
        request.topics.iter().map(|topic| TopicName::from(topic.name.0.as_str())).collect();
    if about_all {
        let may = |name: &&TopicName| state.may(ask, operation::DESCRIBE, resource::TOPIC, name.as_str());
        names = state.topics.keys().filter(may).cloned().collect();
    }
    let (first_topic, mut first_partition) = match &request.cursor {
        Some(cursor) => (
            Some(TopicName::from(cursor.topic_name.0.as_str())),
            usize::try_from(cursor.partition_index).unwrap_or_default(),
        ),
        None => (None, 0),
    };
    let wanted = usize::try_from(request.response_partition_limit).unwrap_or_default();
    let mut room = if wanted == 0 { PARTITIONS_MAX } else { wanted.min(PARTITIONS_MAX) };
    for name in names.into_iter().filter(|name| first_topic.as_ref().is_none_or(|first| name >= first)) {
        // A topic that the cursor named and that is gone is no reason to skip another's partitions.
        let skip = if first_topic.as_ref() == Some(&name) { std::mem::take(&mut first_partition) } else { 0 };
        if room == 0 {
            response.next_cursor = Some(cursor(&name, skip));
            break;
        }
        let told = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(wire_name(&name)))
            .with_topic_authorized_operations(i32::MIN);
        let failed = match (ask.fails_topic(name.as_str()), state.topics.get(&name)) {
            (Some(code), _) => Some(code),
            (None, None) if is_invalid_topic_name(name.as_str()) => Some(ErrorCode::INVALID_TOPIC_EXCEPTION),
            (None, None) => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (None, Some(_)) => None,
        };
        let Some(topic) = state.topics.get(&name).filter(|_| failed.is_none()) else {
            response.topics.push(told.with_error_code(failed.unwrap_or_default().0));
            continue;
        };
        let partitions: Vec<DescribeTopicPartitionsResponsePartition> =
            topic.partitions.iter().enumerate().skip(skip).take(room).map(describe).collect();
        room -= partitions.len();
        let next = skip + partitions.len();
        response.topics.push(
            told.with_topic_id(wire_id(topic.id))
                .with_is_internal(topic.internal)
                .with_partitions(partitions),
        );
        if next < topic.partitions.len() {
            response.next_cursor = Some(cursor(&name, next));
            break;
        }
    }
    response
}

fn cursor(name: &TopicName, partition: usize) -> Cursor {
    let index = i32::try_from(partition).unwrap_or(i32::MAX);
    Cursor::default().with_topic_name(wire_name(name)).with_partition_index(index)
}

fn describe((index, partition): (usize, &Partition)) -> DescribeTopicPartitionsResponsePartition {
    let those = |which: fn(&Replica) -> bool| {
        wire_brokers(partition.replicas.iter().filter(|replica| which(replica)).map(|replica| replica.broker))
    };
    let code = if partition.leader.is_some() { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE };
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(code.0)
        .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
        .with_leader_id(messages::BrokerId(partition.leader.unwrap_or(-1)))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(those(|_| true))
        .with_isr_nodes(those(|replica| replica.in_sync))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(those(|replica| !replica.online))
}
