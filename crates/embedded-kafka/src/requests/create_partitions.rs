//! CreatePartitions: a topic grows, never shrinks.

use protocol::ErrorCode;
use protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use crate::requests::{Ask, text};
use crate::state::{Denied, State, check_partitions_per_request};

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut response = CreatePartitionsResponse::default();
    let added = |topic: &CreatePartitionsTopic| {
        let have = state.topics.get(topic.name.0.as_str()).map_or(0, |topic| topic.partitions.len());
        i64::from(topic.count) - i64::try_from(have).unwrap_or(i64::MAX)
    };
    let few_enough = check_partitions_per_request(request.topics.iter().map(added));
    for topic in &request.topics {
        let name = topic.name.0.as_str();
        let grown = if let Some(code) = ask.fails_topic(name) {
            Err((code, String::new()))
        } else if !state.profile.is_kraft() && state.controller() != Some(ask.broker) {
            Err((ErrorCode::NOT_CONTROLLER, String::new()))
        } else if let Err(denied) = &few_enough {
            Err(denied.clone())
        } else {
            assign(state, topic)
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        response.results.push(match grown {
            Ok(assigned) => {
                if !request.validate_only {
                    state.grow_topic(name, &assigned);
                }
                result.with_error_message(None)
            }
            Err((code, message)) => result
                .with_error_code(code.0)
                .with_error_message(Some(message).filter(|message| !message.is_empty()).map(text)),
        });
    }
    response
}

/// The replicas of each new partition.
fn assign(state: &State, topic: &CreatePartitionsTopic) -> Result<Vec<Vec<i32>>, Denied> {
    let name = topic.name.0.as_str();
    let Some(existing) = state.topics.get(name) else {
        let message = format!("The topic '{name}' does not exist.");
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
    };
    let have = i64::try_from(existing.partitions.len()).unwrap_or(i64::MAX);
    let want = i64::from(topic.count);
    if want == have {
        return Err((ErrorCode::INVALID_PARTITIONS, format!("Topic already has {have} partition(s).")));
    }
    if want < have {
        let message =
            format!("The topic {name} currently has {have} partition(s); {want} would not be an increase.");
        return Err((ErrorCode::INVALID_PARTITIONS, message));
    }
    let factor = existing.partitions.first().map_or(1, |partition| partition.replicas.len());
    match &topic.assignments {
        None => state.spread(have, want, i64::try_from(factor).unwrap_or(i64::MAX)),
        Some(assigned) if i64::try_from(assigned.len()) == Ok(want - have) => {
            state.check_room(want - have)?;
            let replicas =
                assigned.iter().map(|assigned| assigned.broker_ids.iter().map(|id| id.0).collect());
            state.check_assignments(&replicas.collect::<Vec<Vec<i32>>>())
        }
        Some(assigned) => {
            let message = format!(
                "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                want - have,
                assigned.len()
            );
            Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, message))
        }
    }
}
