//! CreateTopics.

use std::collections::{BTreeMap, HashMap};

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use crate::configs;
use crate::requests::{Ask, text, wire_id};
use crate::state::{Denied, State, check_partitions_per_request};

pub(super) fn answer(state: &mut State, ask: &Ask, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mut response = CreateTopicsResponse::default();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.0.as_str()).or_default() += 1;
    }
    let default = state.broker_number("num.partitions");
    let counts = request.topics.iter().map(|topic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => default,
        (0, count) => i64::from(count),
        (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
    });
    let few_enough = check_partitions_per_request(counts);
    for topic in &request.topics {
        let name = TopicName::from(topic.name.0.as_str());
        let twice = times.get(name.as_str()).is_some_and(|times| *times > 1);
        let created = if let Some(code) = ask.fails_topic(name.as_str()) {
            Err((code, String::new()))
        } else if !state.profile.is_kraft() && state.controller() != Some(ask.broker) {
            Err((ErrorCode::NOT_CONTROLLER, String::new()))
        } else if let Err(denied) = &few_enough {
            Err(denied.clone())
        } else if twice {
            Err((ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned()))
        } else {
            create(state, &name, topic, request.validate_only)
        };
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        response.topics.push(match created {
            Ok(()) => describe(state, &name, result),
            Err((code, message)) => result
                .with_error_code(code.0)
                .with_error_message(Some(message).filter(|message| !message.is_empty()).map(text))
                .with_configs(Some(Vec::new()))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    response
}

fn create(
    state: &mut State,
    name: &TopicName,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(), Denied> {
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic configs: {}", config.name);
            return Err((ErrorCode::INVALID_CONFIG, message));
        };
        overrides.insert(config.name.to_string(), value.to_string());
    }
    let mut assignments: Vec<(i32, Vec<i32>)> = topic
        .assignments
        .iter()
        .map(|assigned| (assigned.partition_index, assigned.broker_ids.iter().map(|id| id.0).collect()))
        .collect();
    assignments.sort_unstable();
    if !assignments.is_empty() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let message = "Both numPartitions or replicationFactor and replicasAssignments were set.";
        return Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
    }
    if assignments.iter().enumerate().any(|(index, (partition, _))| i32::try_from(index) != Ok(*partition)) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, message.to_owned()));
    }
    let assignments: Vec<Vec<i32>> = assignments.into_iter().map(|(_, replicas)| replicas).collect();
    let (partitions, factor) = (topic.num_partitions, topic.replication_factor);
    if validate_only {
        return state.check_new_topic(name, partitions, factor, &assignments, &overrides).map(|_| ());
    }
    state.create_topic(name, partitions, factor, &assignments, overrides)
}

/// The topic as it is now (v5 and later).
fn describe(state: &State, name: &TopicName, result: CreatableTopicResult) -> CreatableTopicResult {
    let result = result.with_error_message(None);
    let Some(topic) = state.topics.get(name) else { return result.with_configs(Some(Vec::new())) };
    let broker = state.controller().unwrap_or_default();
    let in_force = |setting: &'static configs::Setting| {
        let values = state.values.topic_values(state.profile, broker, &topic.overrides, setting);
        values.into_iter().next().map(|found| {
            CreatableTopicConfigs::default()
                .with_name(text(setting.name))
                .with_value(Some(text(found.value)))
                .with_config_source(found.source as i8)
        })
    };
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let id = if state.profile.has_topic_ids() { topic.id } else { [0; 16] };
    result
        .with_topic_id(wire_id(id))
        .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(factor).unwrap_or(i16::MAX))
        .with_configs(Some(configs::topic_settings(state.profile).filter_map(in_force).collect()))
}
