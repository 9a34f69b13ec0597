//! DescribeProducers: what one replica remembers of producers.
//!
//! A follower answers too, without an error, and what a leader tells includes records that are not
//! replicated yet: both as measured.

use protocol::ErrorCode;
use protocol::messages::describe_producers_request::DescribeProducersRequest;
use protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use protocol::messages::{self};

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut response = DescribeProducersResponse::default();
    'all: for topic in request.topics {
        let mut told = TopicResponse::default().with_name(topic.name.clone());
        for index in topic.partition_indexes {
            let name = topic.name.0.as_str();
            let described = match ask.fails(name, index) {
                Some(code) => Err(code),
                None => describe(state, ask.broker, name, index),
            };
            let producers = described.as_ref().map_or(0, Vec::len);
            if !ask.tells(size_of::<PartitionResponse>() + producers * size_of::<ProducerState>()) {
                break 'all;
            }
            let partition = PartitionResponse::default().with_partition_index(index).with_error_message(None);
            told.partitions.push(match described {
                Ok(producers) => partition.with_active_producers(producers),
                Err(code) => partition.with_error_code(code.0),
            });
        }
        response.topics.push(told);
    }
    response
}

fn describe(state: &State, broker: i32, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = state.partition(topic, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let replica = partition.replica(broker).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let producers = replica.producers.iter();
    Ok(producers
        .map(|(id, producer)| {
            ProducerState::default()
                .with_producer_id(messages::ProducerId(id))
                .with_producer_epoch(i32::from(producer.epoch))
                .with_last_sequence(producer.last_sequence())
                .with_last_timestamp(producer.last_timestamp)
                .with_coordinator_epoch(0)
                .with_current_txn_start_offset(producer.transaction_start.unwrap_or(-1))
        })
        .collect())
}
