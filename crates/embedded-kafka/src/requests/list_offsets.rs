//! ListOffsets: where a partition begins and ends, and what was written when.

use std::collections::HashSet;

use protocol::ErrorCode;
use protocol::messages::TopicName;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use record_batch::{Codec, Entry};

use crate::log::StoredEntry;
use crate::partition::Partition;
use crate::requests::Ask;
use crate::state::State;
use crate::validate::PlainRoom;

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
    let mut room = PlainRoom::default();
    for topic in request.topics {
        let mut told = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        for asked in topic.partitions {
            let name = topic.name.0.as_str();
            let found = match ask.fails(name, asked.partition_index) {
                Some(code) => Err(code),
                None if twice.contains(&(topic.name.clone(), asked.partition_index)) => {
                    Err(ErrorCode::INVALID_REQUEST)
                }
                None => find(state, ask, name, &asked, committed, &mut room),
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
    room: &mut PlainRoom,
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
        MAX_TIMESTAMP if ask.version >= 7 => if_read(latest_record(partition, room), room)?,
        at if at >= 0 => if_read(first_record_at(partition, at, end_offset, room), room)?,
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

/// What was found, unless the room ended before everything was read. Kafka has no such bound, and so no code for it, and
/// this one tells a client not to try again.
fn if_read(found: Found, room: &PlainRoom) -> Result<Found, ErrorCode> {
    if room.is_used_up() { Err(ErrorCode::POLICY_VIOLATION) } else { Ok(found) }
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
fn first_record_at(partition: &Partition, at: i64, end_offset: i64, room: &mut PlainRoom) -> Found {
    let log_start = partition.log.start_offset();
    let mut candidates = partition.log.entries().filter(|entry| entry.max_timestamp >= at);
    let suits = |(time, offset): &Found| *time >= at && *offset >= log_start;
    let found = candidates.find_map(|entry| first_record(entry, room, suits));
    found.filter(|(_, offset)| *offset < end_offset).unwrap_or(NOTHING)
}

/// The record with the highest time, the first one of them.
fn latest_record(partition: &Partition, room: &mut PlainRoom) -> Found {
    let highest = partition.log.entries().map(|entry| entry.max_timestamp).max();
    let found = partition.log.entries().find(|entry| Some(entry.max_timestamp) == highest);
    found.and_then(|entry| first_record(entry, room, |(time, _)| Some(*time) == highest)).unwrap_or(NOTHING)
}

/// Time and offset of the first record of an entry that suits; none where it cannot be read.
fn first_record(entry: &StoredEntry, room: &mut PlainRoom, suits: impl Fn(&Found) -> bool) -> Option<Found> {
    if room.is_used_up() {
        return None;
    }
    let entry = record_batch::split(entry.bytes()).next()?.ok()?;
    let records = match &entry {
        Entry::Batch(batch) if batch.header.is_control() => return None,
        // Nothing is made of it that is not there.
        Entry::Batch(batch) if batch.header.codec().is_ok_and(|codec| codec == Codec::None) => {
            record_batch::records(&entry, batch.bytes.len()).ok()?
        }
        _ => room.records(&entry).ok()?,
    };
    records.iter().map_while(Result::ok).map(|record| (record.timestamp, record.offset.0)).find(suits)
}
