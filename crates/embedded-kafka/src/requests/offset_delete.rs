//! OffsetDelete: forgets committed offsets.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::offset_delete_request::OffsetDeleteRequest;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id.0.as_str();
    let response = OffsetDeleteResponse::default();
    if let Err(code) = check(state, ask, group) {
        return response.with_error_code(code.0);
    }
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut told = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let at = TopicPartition::new(topic.name.0.as_str(), asked.partition_index);
            let subscribed =
                state.groups.get(group).is_some_and(|group| group.is_subscribed(at.topic.as_str()));
            let code = if let Some(code) = ask.fails(at.topic.as_str(), at.partition.0) {
                code
            } else if state.partition_of(&at).is_none() {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if subscribed {
                ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
            } else {
                state.groups.forget_offset(group, &at);
                ErrorCode::NONE
            };
            let partition =
                OffsetDeleteResponsePartition::default().with_partition_index(asked.partition_index);
            told.partitions.push(partition.with_error_code(code.0));
        }
        topics.push(told);
    }
    let rules = state.group_rules();
    state.groups.forget_if_bare(&rules, group);
    response.with_topics(topics)
}

/// Of a group with members it must be known which topics they read.
fn check(state: &State, ask: &Ask, group: &str) -> Result<(), ErrorCode> {
    state.check_group(ask, group, ErrorCode::INVALID_GROUP_ID)?;
    let found = state.groups.get(group).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
    if found.is_empty() || found.protocol_type() == "consumer" {
        Ok(())
    } else {
        Err(ErrorCode::NON_EMPTY_GROUP)
    }
}
