//! Metadata: brokers, the controller, topics and who leads them.

use std::collections::HashSet;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{self, MetadataRequest, MetadataResponse};

use crate::acls::{operation, resource};
use crate::partition::Partition;
use crate::profile::Profile;
use crate::requests::{Ask, text, wire_brokers, wire_id, wire_name};
use crate::state::{State, Topic, is_invalid_topic_name};

/// "Not asked for".
const NO_OPERATIONS: i32 = i32::MIN;
/// In each of three lists.
const REPLICA_BYTES: usize = 3 * size_of::<messages::BrokerId>();

pub(super) fn answer(state: &mut State, ask: &Ask, request: MetadataRequest) -> MetadataResponse {
    let mut response = MetadataResponse::default()
        .with_cluster_id(Some(text(state.cluster_id.clone())))
        .with_controller_id(messages::BrokerId(state.controller().unwrap_or(-1)))
        .with_cluster_authorized_operations(NO_OPERATIONS);
    response.brokers = brokers(state);
    if ask.version >= 13 {
        response.error_code = ask.fails_whole().map_or(0, |code| code.0);
    }
    // An empty list means all in version 0, none in later ones.
    let wanted = request.topics.filter(|topics| ask.version > 0 || !topics.is_empty());
    let Some(wanted) = wanted else {
        let may = |(name, _): &(&TopicName, &Topic)| {
            state.may(ask, operation::DESCRIBE, resource::TOPIC, name.as_str())
        };
        let those =
            state.topics.iter().filter(may).map_while(|(name, topic)| describe(state, ask, name, topic));
        response.topics = those.collect();
        return response;
    };
    let may_create = state.auto_create && (ask.version < 4 || request.allow_auto_topic_creation);
    // A set in Kafka: one that is named twice is told once.
    let mut seen = HashSet::new();
    for topic in wanted {
        if !seen.insert((topic.name.clone(), topic.topic_id)) {
            continue;
        }
        let id = topic.topic_id.into_bytes();
        let name = match topic.name {
            Some(name) => TopicName::from(name.0.as_str()),
            None => match state.topic_by_id(id) {
                // Who names an id need not know whose it is.
                Some((name, _)) if ask.denied.topics.contains_key(name.as_str()) => {
                    let denied = refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED).with_name(None);
                    response.topics.push(denied.with_topic_id(topic.topic_id));
                    continue;
                }
                Some((name, _)) => name.clone(),
                None => {
                    let unknown = refused(ErrorCode::UNKNOWN_TOPIC_ID).with_name(None);
                    response.topics.push(unknown.with_topic_id(topic.topic_id));
                    continue;
                }
            },
        };
        let is_denied = ask.denied.topics.contains_key(name.as_str());
        if may_create && !is_denied && !state.topics.contains_key(&name) {
            let created = state.create_topic(&name, -1, -1, &[], Default::default());
            // Kafka creates it in the background and lets the client ask again.
            if created.is_ok() {
                response
                    .topics
                    .push(refused(ErrorCode::LEADER_NOT_AVAILABLE).with_name(Some(wire_name(&name))));
                continue;
            }
        }
        response.topics.push(match state.topics.get(&name) {
            Some(topic) => match describe(state, ask, &name, topic) {
                Some(told) => told,
                None => break,
            },
            None => {
                let code = match state.profile.looks_closely() && is_invalid_topic_name(name.as_str()) {
                    true => ErrorCode::INVALID_TOPIC_EXCEPTION,
                    false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                let code = ask.fails_topic(name.as_str()).unwrap_or(code);
                refused(code).with_name(Some(wire_name(&name)))
            }
        });
    }
    response
}

fn brokers(state: &State) -> Vec<MetadataResponseBroker> {
    let online = state.brokers.iter().filter(|(_, broker)| broker.online);
    online
        .map(|(id, broker)| {
            MetadataResponseBroker::default()
                .with_node_id(messages::BrokerId(*id))
                .with_host(text(state.host.clone()))
                .with_port(i32::from(broker.port))
                .with_rack(broker.rack.clone().map(text))
        })
        .collect()
}

fn refused(code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.0).with_topic_authorized_operations(NO_OPERATIONS)
}

/// `None` where it would be too much.
fn describe(state: &State, ask: &Ask, name: &TopicName, topic: &Topic) -> Option<MetadataResponseTopic> {
    if let Some(code) = ask.fails_topic(name.as_str()) {
        return Some(refused(code).with_name(Some(wire_name(name))));
    }
    let replicas = topic.partitions.iter().map(|partition| partition.replicas.len()).sum::<usize>();
    let partitions_bytes = topic.partitions.len() * size_of::<MetadataResponsePartition>();
    if !ask.tells(name.as_str().len() + partitions_bytes + replicas * REPLICA_BYTES) {
        return None;
    }
    let id = if state.profile.has_topic_ids() { topic.id } else { [0; 16] };
    let partitions = topic.partitions.iter().enumerate();
    let told = MetadataResponseTopic::default()
        .with_name(Some(wire_name(name)))
        .with_topic_id(wire_id(id))
        .with_is_internal(topic.internal)
        .with_topic_authorized_operations(NO_OPERATIONS)
        .with_partitions(
            partitions.map(|(index, partition)| describe_partition(state, index, partition)).collect(),
        );
    Some(told)
}

fn describe_partition(state: &State, index: usize, partition: &Partition) -> MetadataResponsePartition {
    let replicas = partition.replicas.iter().map(|replica| replica.broker);
    let in_sync = partition.replicas.iter().filter(|replica| replica.in_sync).map(|replica| replica.broker);
    let offline = replicas.clone().filter(|broker| !state.is_online(*broker));
    let code = match partition.leader {
        Some(_) => ErrorCode::NONE,
        None => ErrorCode::LEADER_NOT_AVAILABLE,
    };
    // Before 2.4 the epoch that metadata gives may be an old one; 1.1 does not give one at all.
    let leader_epoch = if state.profile >= Profile::V2_8 { partition.leader_epoch } else { -1 };
    MetadataResponsePartition::default()
        .with_error_code(code.0)
        .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
        .with_leader_id(messages::BrokerId(partition.leader.unwrap_or(-1)))
        .with_leader_epoch(leader_epoch)
        .with_replica_nodes(wire_brokers(replicas))
        .with_isr_nodes(wire_brokers(in_sync))
        .with_offline_replicas(wire_brokers(offline))
}
