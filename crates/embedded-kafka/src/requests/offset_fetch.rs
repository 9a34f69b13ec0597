//! OffsetFetch: what groups have committed.

use std::collections::{BTreeMap, BTreeSet};

use model::{TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::offset_fetch_request::OffsetFetchRequest;
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use crate::groups::Committed;
use crate::requests::{Ask, partitions, text, wire_name};
use crate::state::State;

/// One partition's answer.
type Told = (i32, Result<Option<Committed>, ErrorCode>);

pub(super) fn answer(state: &mut State, ask: &Ask, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if ask.version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let asked = group.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|topic| (TopicName::from(topic.name.0.as_str()), topic.partition_indexes))
                    .collect()
            });
            let (member_id, epoch) = (group.member_id.as_deref(), group.member_epoch);
            let denied = state.groups.check_fetch(group.group_id.0.as_str(), member_id, epoch).err();
            let (code, told) = fetch(state, ask, group.group_id.0.as_str(), asked, stable, denied);
            let topics = told.into_iter().map(|(name, partitions)| {
                OffsetFetchResponseTopics::default()
                    .with_name(wire_name(&name))
                    .with_partitions(partitions.into_iter().map(new_partition).collect())
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id)
                .with_error_code(code.0)
                .with_topics(topics.collect())
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = request.topics.filter(|topics| ask.version >= 2 || !topics.is_empty()).map(|topics| {
        topics
            .into_iter()
            .map(|topic| (TopicName::from(topic.name.0.as_str()), topic.partition_indexes))
            .collect()
    });
    let (code, told) = fetch(state, ask, request.group_id.0.as_str(), asked, stable, None);
    let topics = told.into_iter().map(|(name, partitions)| {
        OffsetFetchResponseTopic::default()
            .with_name(wire_name(&name))
            .with_partitions(partitions.into_iter().map(|told| old_partition(ask, told)).collect())
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if ask.version >= 2 { response.with_error_code(code.0) } else { response }
}

/// The partitions of the request, in either of its forms; all that a group has committed, where that is asked for.
pub(super) fn mentioned(state: &State, request: &OffsetFetchRequest) -> Vec<TopicPartition> {
    let mut mentioned = Vec::new();
    let mut whole_groups = BTreeSet::new();
    for group in &request.groups {
        match &group.topics {
            Some(topics) => mentioned.extend(partitions(
                topics,
                |topic| &topic.name,
                |topic| topic.partition_indexes.clone(),
            )),
            None => {
                whole_groups.insert(group.group_id.0.as_str());
            }
        }
    }
    match request.topics.as_deref().filter(|topics| !topics.is_empty()) {
        Some(topics) => {
            mentioned.extend(partitions(
                topics,
                |topic| &topic.name,
                |topic| topic.partition_indexes.clone(),
            ));
        }
        None => {
            whole_groups.insert(request.group_id.0.as_str());
        }
    }
    for group in whole_groups {
        mentioned.extend(state.groups.all(group).map(|(at, _)| at.clone()));
    }
    mentioned
}

fn fetch(
    state: &mut State,
    ask: &Ask,
    group: &str,
    asked: Option<Vec<(TopicName, Vec<i32>)>>,
    stable: bool,
    denied: Option<ErrorCode>,
) -> (ErrorCode, Vec<(TopicName, Vec<Told>)>) {
    let refused = match ask.fails_whole() {
        Some(code) => Some(code),
        None if state.check_group_access(ask, group).is_err() => Some(ErrorCode::GROUP_AUTHORIZATION_FAILED),
        None if state.coordinator(group) != Some(ask.broker) => Some(ErrorCode::NOT_COORDINATOR),
        None => denied,
    };
    // Versions before have no other place to say it.
    if let Some(code) = refused.filter(|_| ask.version >= 2) {
        return (code, Vec::new());
    }
    let asked = asked.unwrap_or_else(|| {
        let mut all: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
        // Of what is denied nothing is told, not even that it is.
        let may = |at: &TopicPartition| !ask.denied.topics.contains_key(at.topic.as_str());
        for (at, _) in state.groups.all(group).filter(|(at, _)| may(at)) {
            all.entry(at.topic.clone()).or_default().push(at.partition.0);
        }
        all.into_iter().collect()
    });
    let mut told = Vec::new();
    for (name, indexes) in asked {
        let of_partition = |index: i32| {
            let at = TopicPartition::new(name.clone(), index);
            let code = refused.or_else(|| ask.fails(name.as_str(), index));
            let unstable = stable && state.groups.is_unstable(group, &at);
            let found = match code.or(unstable.then_some(ErrorCode::UNSTABLE_OFFSET_COMMIT)) {
                Some(code) => Err(code),
                None => Ok(state.groups.committed(group, &at).cloned()),
            };
            let metadata = found.iter().flatten().map(|committed| committed.metadata.len()).sum::<usize>();
            // As it is read, and as it is told.
            ask.tells(2 * (size_of::<Told>() + metadata)).then_some((index, found))
        };
        let partitions = indexes.into_iter().map_while(of_partition).collect();
        told.push((name, partitions));
    }
    (refused.unwrap_or(ErrorCode::NONE), told)
}

/// Offset, leader epoch, metadata and error; an offset of -1 where there is none.
fn fields(found: Result<Option<Committed>, ErrorCode>) -> (i64, i32, String, i16) {
    match found {
        Ok(Some(committed)) => (committed.offset, committed.leader_epoch, committed.metadata, 0),
        Ok(None) => (-1, -1, String::new(), 0),
        Err(code) => (-1, -1, String::new(), code.0),
    }
}

fn new_partition((index, found): Told) -> OffsetFetchResponsePartitions {
    let (offset, leader_epoch, metadata, code) = fields(found);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch)
        .with_metadata(Some(text(metadata)))
        .with_error_code(code)
}

fn old_partition(ask: &Ask, (index, found): Told) -> OffsetFetchResponsePartition {
    let (offset, leader_epoch, metadata, code) = fields(found);
    let partition = OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_metadata(Some(text(metadata)))
        .with_error_code(code);
    if ask.version >= 5 { partition.with_committed_leader_epoch(leader_epoch) } else { partition }
}
