//! DeleteRecords: moves a partition's log start.

use protocol::ErrorCode;
use protocol::messages::delete_records_request::DeleteRecordsRequest;
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::requests::Ask;
use crate::state::State;

/// "Up to the high watermark".
const ALL: i64 = -1;

pub(super) fn answer(state: &mut State, ask: &Ask, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    for topic in request.topics {
        let mut told = DeleteRecordsTopicResult::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let name = topic.name.0.as_str();
            let deleted = match ask.fails(name, asked.partition_index) {
                Some(code) => Err(code),
                None => delete(state, ask.broker, name, asked.partition_index, asked.offset),
            };
            let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            told.partitions.push(match deleted {
                Ok(low_watermark) => result.with_low_watermark(low_watermark),
                Err(code) => result.with_error_code(code.0).with_low_watermark(-1),
            });
        }
        response.topics.push(told);
    }
    response
}

fn delete(state: &mut State, broker: i32, topic: &str, index: i32, offset: i64) -> Result<i64, ErrorCode> {
    let forgets_producers = !state.profile.stateless_accepts_any_sequence();
    if let Some(found) = state.topics.get(topic)
        && found.rules.compacted
        && !found.rules.deletes
    {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let partition = state.led_by(broker, topic, index)?;
    let high_watermark = partition.high_watermark();
    let upto = if offset == ALL { high_watermark } else { offset };
    if upto < 0 || upto > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    partition.delete_before(upto, forgets_producers);
    Ok(partition.log.start_offset())
}
