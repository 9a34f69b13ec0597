//! OffsetCommit, by a member of a group or, where there is none, by anybody.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequest;
use protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::groups::{Claim, Committed};
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = request.group_id.0.as_str();
    let metadata_bytes_max = state.broker_number("offset.metadata.max.bytes");
    let refused = check(state, ask, &request).err();
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
                let committed = Committed { offset, leader_epoch, metadata };
                match state.keep(state.groups.offset_size(group, &at, &committed)) {
                    Ok(()) => {
                        state.groups.commit(group, at, committed);
                        ErrorCode::NONE
                    }
                    Err(code) => code,
                }
            };
            let partition =
                OffsetCommitResponsePartition::default().with_partition_index(asked.partition_index);
            told.partitions.push(partition.with_error_code(code.0));
        }
        response.topics.push(told);
    }
    response
}

fn check(state: &mut State, ask: &Ask, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let group = request.group_id.0.as_str();
    // Clients of old have offsets without a group's name.
    state.check_group(ask, group, ErrorCode::NONE)?;
    let claim = Claim {
        generation: request.generation_id_or_member_epoch,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    };
    let rules = state.group_rules();
    state.groups.check_commit(ask.now_ms, &rules, ask.version, group, claim)
}
