//! AddPartitionsToTxn: all of the partitions, or none.

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};

use crate::kept::Size;
use crate::requests::Ask;
use crate::state::State;
use crate::transactions::Identity;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if ask.version >= 4 {
        if let Some(code) = ask.denied.whole {
            return AddPartitionsToTxnResponse::default().with_error_code(code.0);
        }
        let results = request.transactions.into_iter().map(|transaction| {
            let identity = (transaction.producer_id.0, transaction.producer_epoch);
            let id = transaction.transactional_id.0.to_string();
            let results = add(state, ask, &id, identity, &transaction.topics, transaction.verify_only);
            AddPartitionsToTxnResult::default()
                .with_transactional_id(transaction.transactional_id)
                .with_topic_results(results)
        });
        return AddPartitionsToTxnResponse::default().with_results_by_transaction(results.collect());
    }
    let identity = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
    let id = request.v3_and_below_transactional_id.0.to_string();
    let results = add(state, ask, &id, identity, &request.v3_and_below_topics, false);
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

fn add(
    state: &mut State,
    ask: &Ask,
    transactional_id: &str,
    identity: Identity,
    topics: &[AddPartitionsToTxnTopic],
    verify_only: bool,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let profile = state.profile;
    let named = topics.iter().flat_map(|topic| {
        let name = topic.name.0.as_str();
        topic.partitions.iter().map(move |index| TopicPartition::new(name, *index))
    });
    let named: Vec<TopicPartition> = named.collect();
    let refused_whole = if let Some(code) = ask.fails_whole() {
        Some(code)
    } else if state.coordinator(transactional_id) != Some(ask.broker) {
        Some(ErrorCode::NOT_COORDINATOR)
    } else {
        let found = state.transactions.of_producer(transactional_id, identity, ask.version >= 2).map(|_| ());
        found.and_then(|()| state.check_ended(transactional_id)).err()
    };
    let is_unknown = |at: &TopicPartition| match profile.looks_closely() {
        true => state.partition(at.topic.as_str(), at.partition.0).is_none(),
        false => !state.topics.contains_key(&at.topic),
    };
    let unknown: Vec<bool> = named.iter().map(is_unknown).collect();
    let failing: Vec<Option<ErrorCode>> = named
        .iter()
        .zip(&unknown)
        .map(|(at, unknown)| {
            let missing = unknown.then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            ask.fails(at.topic.as_str(), at.partition.0).or(missing)
        })
        .collect();
    let any_fails = failing.iter().any(Option::is_some);
    let adds = refused_whole.is_none() && !any_fails && !verify_only;
    let more = match state.transactions.get(transactional_id).filter(|_| adds) {
        Some(transaction) => transaction.more_with(&named),
        None => Size::default(),
    };
    let refused_whole = refused_whole.or_else(|| state.keep(more).err());
    let mut codes = named.iter().zip(failing).map(|(_, failing)| match (refused_whole, failing) {
        (Some(code), _) | (None, Some(code)) => code,
        (None, None) if any_fails => ErrorCode::OPERATION_NOT_ATTEMPTED,
        (None, None) => ErrorCode::NONE,
    });
    let results = topics
        .iter()
        .map(|topic| {
            let mut told = AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone());
            for (index, code) in topic.partitions.iter().zip(codes.by_ref()) {
                told.results_by_partition.push(
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*index)
                        .with_partition_error_code(code.0),
                );
            }
            told
        })
        .collect();
    drop(codes);
    if refused_whole.is_none() && adds {
        state.transactions.add(ask.now_ms, transactional_id, named);
    }
    results
}
