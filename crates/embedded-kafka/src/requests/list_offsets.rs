//! ListOffsets: where a partition begins and ends, and what was written when.

use std::collections::HashSet;

use protocol::ErrorCode;
use protocol::messages::TopicName;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use record_batch::{DECOMPRESSED_BYTES_MAX, Entry};

use crate::log::StoredEntry;
use crate::partition::Partition;
use crate::requests::Ask;
use crate::state::State;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// A record's time and offset; -1 each where there is none.
type Found = (i64, i64);
const NOTHING: Found = (-1, -1);

pub(super) fn answer(state: &mut State, ask: &Ask, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let mut response = ListOffsetsResponse::default();
    let twice = asked_twice(&request);
    for topic in request.topics {
        let mut told = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let name = topic.name.0.as_str();
            let found = match ask.fails(name, asked.partition_index) {
                Some(code) => Err(code),
                None if twice.contains(&(topic.name.clone(), asked.partition_index)) => {
                    Err(ErrorCode::INVALID_REQUEST)
                }
                None => find(state, ask, name, &asked, committed),
            };
            let partition =
                ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            told.partitions.push(match found {
                Ok(((timestamp, offset), epoch)) => {
                    partition.with_timestamp(timestamp).with_offset(offset).with_leader_epoch(epoch)
                }
                Err(code) => {
                    partition.with_error_code(code.0).with_timestamp(-1).with_offset(-1).with_leader_epoch(-1)
                }
            });
        }
        response.topics.push(told);
    }
    response
}

/// Partitions that a request names more than once: Kafka answers none of them.
fn asked_twice(request: &ListOffsetsRequest) -> HashSet<(TopicName, i32)> {
    let mut seen = HashSet::new();
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index))
    });
    named.filter(|partition| !seen.insert(partition.clone())).collect()
}

fn find(
    state: &mut State,
    ask: &Ask,
    topic: &str,
    asked: &ListOffsetsPartition,
    committed: bool,
) -> Result<(Found, i32), ErrorCode> {
    let partition = state.led_by(ask.broker, topic, asked.partition_index)?;
    check_epoch(partition, asked.current_leader_epoch)?;
    let end_offset = if committed { partition.last_stable_offset() } else { partition.high_watermark() };
    let log_start = partition.log.start_offset();
    let found = match asked.timestamp {
        LATEST => (-1, end_offset),
        EARLIEST => (-1, log_start),
        EARLIEST_LOCAL if ask.version >= 8 => (-1, log_start),
        LATEST_TIERED if ask.version >= 9 => NOTHING,
        MAX_TIMESTAMP if ask.version >= 7 => latest_record(partition),
        at if at >= 0 => first_record_at(partition, at, end_offset),
        _ => return Err(ErrorCode::UNSUPPORTED_VERSION),
    };
    let epoch = match found {
        _ if ask.version < 4 => -1,
        NOTHING => -1,
        (_, offset) if asked.timestamp == LATEST || offset >= partition.log.end_offset() => {
            partition.leader_epoch
        }
        (_, offset) => partition.epoch_at(offset),
    };
    Ok((found, epoch))
}

/// Whether the asker's idea of the leader epoch is the broker's.
pub(super) fn check_epoch(partition: &Partition, asked: i32) -> Result<(), ErrorCode> {
    match asked {
        unknown if unknown < 0 => Ok(()),
        old if old < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        new if new > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// The first record whose time is `at` or later, if consumers may see it.
fn first_record_at(partition: &Partition, at: i64, end_offset: i64) -> Found {
    let log_start = partition.log.start_offset();
    let candidates = partition.log.entries().filter(|entry| entry.max_timestamp >= at);
    let found = candidates
        .filter_map(|entry| times(entry).find(|(time, offset)| *time >= at && *offset >= log_start));
    found.into_iter().next().filter(|(_, offset)| *offset < end_offset).unwrap_or(NOTHING)
}

/// The record with the highest time, the first one of them.
fn latest_record(partition: &Partition) -> Found {
    let highest = partition.log.entries().map(|entry| entry.max_timestamp).max();
    let Some(entry) = partition.log.entries().find(|entry| Some(entry.max_timestamp) == highest) else {
        return NOTHING;
    };
    times(entry).find(|(time, _)| Some(*time) == highest).unwrap_or(NOTHING)
}

/// Time and offset of each record of an entry; none where it cannot be read.
fn times(entry: &StoredEntry) -> impl Iterator<Item = Found> + use<> {
    let read = record_batch::split(entry.bytes()).next().and_then(Result::ok);
    let is_data = |entry: &Entry| !matches!(entry, Entry::Batch(batch) if batch.header.is_control());
    let records =
        read.filter(is_data).and_then(|entry| record_batch::records(&entry, DECOMPRESSED_BYTES_MAX).ok());
    let found: Vec<Found> = records
        .iter()
        .flat_map(|records| records.iter())
        .map_while(|record| record.ok().map(|record| (record.timestamp, record.offset.0)))
        .collect();
    found.into_iter()
}
