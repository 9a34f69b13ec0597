//! TxnOffsetCommit: offsets that count once their transaction has committed.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use crate::groups::{Claim, Committed};
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let group = request.group_id.0.as_str();
    let refused = check(state, ask, request, group).err();
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut told = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for asked in &topic.partitions {
            let at = TopicPartition::new(topic.name.0.as_str(), asked.partition_index);
            let code = if let Some(code) = refused.or_else(|| ask.fails(at.topic.as_str(), at.partition.0)) {
                code
            } else if state.partition_of(&at).is_none() {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else {
                let committed = Committed {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
                };
                // It waits beside what is committed.
                let producer_id = request.producer_id.0;
                match state.keep(state.groups.pending_size(producer_id, group, &at, &committed)) {
                    Ok(()) => {
                        state.groups.commit_later(producer_id, group, at, committed);
                        ErrorCode::NONE
                    }
                    Err(code) => code,
                }
            };
            told.partitions.push(
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code.0),
            );
        }
        response.topics.push(told);
    }
    response
}

fn check(
    state: &mut State,
    ask: &Ask,
    request: &TxnOffsetCommitRequest,
    group: &str,
) -> Result<(), ErrorCode> {
    state.check_group(ask, group, ErrorCode::INVALID_GROUP_ID)?;
    let id = request.transactional_id.0.as_str();
    let identity = (request.producer_id.0, request.producer_epoch);
    let claim = Claim {
        generation: if ask.version >= 3 { request.generation_id } else { -1 },
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    };
    let rules = state.group_rules();
    state.groups.check_txn_commit(&rules, group, claim)?;
    // The group's coordinator knows producers by their epoch only.
    let transaction = state.transactions.of_producer(id, identity, false)?;
    if transaction.open && transaction.groups.contains(group) {
        return Ok(());
    }
    // The second kind of transaction adds the group by itself (KIP-890).
    if ask.version >= 5 {
        return state.add_group_to_txn(ask.now_ms, id, identity, false, group);
    }
    Err(ErrorCode::INVALID_TXN_STATE)
}
