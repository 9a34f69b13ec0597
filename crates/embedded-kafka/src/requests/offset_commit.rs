//! OffsetCommit, as from outside a group: without members nobody can be in the way.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequest;
use protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::groups::Committed;
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = request.group_id.0.as_str();
    let metadata_bytes_max = state.broker_number("offset.metadata.max.bytes");
    let refused = if let Some(code) = ask.fired.fails_whole() {
        Some(code)
    } else if group.is_empty() {
        Some(ErrorCode::INVALID_GROUP_ID)
    } else if state.coordinator(group) != Some(ask.broker) {
        Some(ErrorCode::NOT_COORDINATOR)
    } else if request.generation_id_or_member_epoch >= 0 || !request.member_id.is_empty() {
        // No group here has members.
        let exists = state.groups.exists(group);
        Some(if exists { ErrorCode::UNKNOWN_MEMBER_ID } else { ErrorCode::ILLEGAL_GENERATION })
    } else {
        None
    };
    let mut response = OffsetCommitResponse::default();
    for topic in request.topics {
        let mut told = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let at = TopicPartition::new(topic.name.0.as_str(), asked.partition_index);
            let metadata = asked.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
            let code = if let Some(code) = refused.or_else(|| ask.fails(at.topic.as_str(), at.partition.0)) {
                code
            } else if state.profile.looks_closely() && state.partition_of(&at).is_none() {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if i64::try_from(metadata.len()).unwrap_or(i64::MAX) > metadata_bytes_max {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                let (offset, leader_epoch) = (asked.committed_offset, asked.committed_leader_epoch);
                state.groups.commit(group, at, Committed { offset, leader_epoch, metadata });
                ErrorCode::NONE
            };
            let partition =
                OffsetCommitResponsePartition::default().with_partition_index(asked.partition_index);
            told.partitions.push(partition.with_error_code(code.0));
        }
        response.topics.push(told);
    }
    response
}
