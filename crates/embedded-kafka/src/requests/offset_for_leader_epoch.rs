//! OffsetForLeaderEpoch: where the records of a leader epoch end.

use protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::requests::Ask;
use crate::requests::list_offsets::check_epoch;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in request.topics {
        let mut told = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        for asked in topic.partitions {
            let name = topic.topic.0.as_str();
            let found = match ask.fails(name, asked.partition) {
                Some(code) => Err(code),
                None => state.led_by(ask.broker, name, asked.partition).and_then(|partition| {
                    check_epoch(partition, asked.current_leader_epoch)?;
                    Ok(partition.end_of_epoch(asked.leader_epoch))
                }),
            };
            let (code, (epoch, end_offset)) = match found {
                Ok(found) => (0, found),
                Err(code) => (code.0, (-1, -1)),
            };
            told.partitions.push(
                EpochEndOffset::default()
                    .with_error_code(code)
                    .with_partition(asked.partition)
                    .with_leader_epoch(epoch)
                    .with_end_offset(end_offset),
            );
        }
        response.topics.push(told);
    }
    response
}
