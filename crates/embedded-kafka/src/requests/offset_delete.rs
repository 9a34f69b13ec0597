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
    let refused = if let Some(code) = ask.fired.fails_whole() {
        Some(code)
    } else if state.coordinator(group) != Some(ask.broker) {
        Some(ErrorCode::NOT_COORDINATOR)
    } else if !state.groups.exists(group) {
        Some(ErrorCode::GROUP_ID_NOT_FOUND)
    } else {
        None
    };
    if let Some(code) = refused {
        return response.with_error_code(code.0);
    }
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut told = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let at = TopicPartition::new(topic.name.0.as_str(), asked.partition_index);
            let code = match state.partition_of(&at) {
                Some(_) => ErrorCode::NONE,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            state.groups.delete(group, &at);
            let partition =
                OffsetDeleteResponsePartition::default().with_partition_index(asked.partition_index);
            told.partitions.push(partition.with_error_code(code.0));
        }
        topics.push(told);
    }
    response.with_topics(topics)
}
