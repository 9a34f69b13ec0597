//! TxnOffsetCommit: offsets that count once their transaction has committed.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequest;
use protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use crate::groups::{Claim, Committed};
use crate::profile::Profile;
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let group = request.group_id.0.as_str();
    let identity = (request.producer_id.0, request.producer_epoch);
    let metadata_bytes_max = state.broker_number("offset.metadata.max.bytes");
    let refused = check(state, ask, request, group).err();
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut told = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
        for asked in &topic.partitions {
            let at = TopicPartition::new(topic.name.0.as_str(), asked.partition_index);
            let metadata = asked.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default();
            let code = if let Some(code) = refused.or_else(|| ask.fails(at.topic.as_str(), at.partition.0)) {
                code
            } else if !is_known(state, &at) {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else if i64::try_from(metadata.len()).unwrap_or(i64::MAX) > metadata_bytes_max {
                ErrorCode::OFFSET_METADATA_TOO_LARGE
            } else {
                let (offset, leader_epoch) = (asked.committed_offset, asked.committed_leader_epoch);
                let committed = Committed { offset, leader_epoch, metadata };
                // It waits beside what is committed.
                match state.keep(state.groups.pending_size(identity.0, group, &at, &committed)) {
                    Ok(()) => {
                        state.groups.commit_later(identity, group, at, committed);
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

/// 1.1 does not look at how many partitions a topic has.
fn is_known(state: &State, at: &TopicPartition) -> bool {
    match state.profile.looks_closely() {
        true => state.partition(at.topic.as_str(), at.partition.0).is_some(),
        false => state.topics.contains_key(&at.topic),
    }
}

fn check(
    state: &mut State,
    ask: &Ask,
    request: &TxnOffsetCommitRequest,
    group: &str,
) -> Result<(), ErrorCode> {
    // 1.1 has offsets without a group's name.
    let nameless = if state.profile >= Profile::V2_8 { ErrorCode::INVALID_GROUP_ID } else { ErrorCode::NONE };
    state.check_group(ask, group, nameless)?;
    let id = request.transactional_id.0.as_str();
    let identity = (request.producer_id.0, request.producer_epoch);
    let claim = Claim {
        generation: if ask.version >= 3 { request.generation_id } else { -1 },
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    };
    let rules = state.group_rules();
    state.groups.check_txn_commit(&rules, group, claim)?;
    if !state.profile.verifies_transactions() {
        // The group's coordinator looks at what it has itself: the epoch of what waits, in 1.1 not even that.
        let is_newer = |epoch: i16| epoch > identity.1 && state.profile >= Profile::V2_8;
        let fenced = state.groups.pending_epoch(identity.0, group).is_some_and(is_newer);
        return if fenced { Err(ErrorCode::INVALID_PRODUCER_EPOCH) } else { Ok(()) };
    }
    // It knows producers by their epoch only.
    let transaction = state.transactions.of_producer(id, identity, false)?;
    if transaction.open && transaction.groups.contains(group) {
        return Ok(());
    }
    match ask.version {
        // The second kind of transaction adds the group by itself (KIP-890).
        5.. => state.add_group_to_txn(ask.now_ms, id, identity, false, group),
        4 => Err(ErrorCode::TRANSACTION_ABORTABLE),
        _ => Err(ErrorCode::INVALID_TXN_STATE),
    }
}
