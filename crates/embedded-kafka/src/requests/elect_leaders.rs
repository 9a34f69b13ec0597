//! ElectLeaders: the preferred replica shall lead again, or any that runs where there is no leader.

use std::collections::BTreeMap;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::elect_leaders_request::ElectLeadersRequest;
use protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::partition::Partition;
use crate::requests::{Ask, text, wire_name};
use crate::state::State;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn answer(state: &mut State, ask: &Ask, request: ElectLeadersRequest) -> ElectLeadersResponse {
    // Version 0 knows no other kind.
    let kind = if ask.version >= 1 { request.election_type } else { PREFERRED };
    let response = ElectLeadersResponse::default();
    let refused = match ask.fails_whole() {
        Some(code) => Some(code),
        None if !state.profile.is_kraft() && state.controller() != Some(ask.broker) => {
            Some(ErrorCode::NOT_CONTROLLER)
        }
        None if kind != PREFERRED && kind != UNCLEAN => Some(ErrorCode::INVALID_REQUEST),
        None => None,
    };
    if let Some(code) = refused.filter(|_| ask.version >= 1) {
        return response.with_error_code(code.0);
    }
    // Who asks about all is told of those where there was something to do.
    let about_all = request.topic_partitions.is_none();
    let mut results = Vec::new();
    for (name, indexes) in asked(state, request) {
        let mut told = Vec::new();
        for index in indexes {
            let code = match (refused, state.partition_mut(name.as_str(), index)) {
                (Some(code), _) => code,
                (None, None) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                (None, Some(partition)) => elect(partition, kind).err().unwrap_or(ErrorCode::NONE),
            };
            if about_all && code == ErrorCode::ELECTION_NOT_NEEDED {
                continue;
            }
            let message = (!code.is_ok()).then(|| text(code.name().unwrap_or_default()));
            told.push(
                PartitionResult::default()
                    .with_partition_id(index)
                    .with_error_code(code.0)
                    .with_error_message(message),
            );
        }
        if !told.is_empty() {
            results.push(
                ReplicaElectionResult::default().with_topic(wire_name(&name)).with_partition_result(told),
            );
        }
    }
    response.with_replica_election_results(results)
}

fn asked(state: &State, request: ElectLeadersRequest) -> BTreeMap<TopicName, Vec<i32>> {
    let mut asked: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
    match request.topic_partitions {
        Some(topics) => {
            for topic in topics {
                asked.entry(TopicName::from(topic.topic.0.as_str())).or_default().extend(topic.partitions);
            }
        }
        None => {
            for (name, topic) in &state.topics {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                asked.insert(name.clone(), (0..count).collect());
            }
        }
    }
    asked
}

fn elect(partition: &mut Partition, kind: i8) -> Result<(), ErrorCode> {
    if kind == UNCLEAN {
        if partition.leader.is_some() {
            return Err(ErrorCode::ELECTION_NOT_NEEDED);
        }
        let next = partition.candidate(true).ok_or(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE)?;
        partition.elect(next);
        return Ok(());
    }
    let preferred = partition.replicas.first().ok_or(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)?;
    if partition.leader == Some(preferred.broker) {
        return Err(ErrorCode::ELECTION_NOT_NEEDED);
    }
    if !preferred.online || !preferred.in_sync {
        return Err(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE);
    }
    let next = preferred.broker;
    partition.elect(next);
    Ok(())
}
