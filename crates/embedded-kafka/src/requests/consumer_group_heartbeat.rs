//! ConsumerGroupHeartbeat (KIP-848): all that a member says to a group that the broker assigns.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};

use crate::groups::{Assignor, Beat, Beaten, Pace, Part};
use crate::kept::{ENTRY_BYTES, Size};
use crate::profile::Profile;
use crate::requests::{Ask, text, wire_id};
use crate::state::{State, topic_size};

/// Why it is refused: the code, and Kafka's words.
type Refused = (ErrorCode, String);

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    match beat(state, ask, request) {
        Ok(beaten) => {
            let interval_ms = state.broker_number("group.consumer.heartbeat.interval.ms");
            // A member that has left has no next heartbeat.
            let interval_ms = if beaten.epoch < 0 { 0 } else { interval_ms };
            response
                .with_member_id(Some(text(beaten.member_id)))
                .with_member_epoch(beaten.epoch)
                .with_heartbeat_interval_ms(i32::try_from(interval_ms).unwrap_or(i32::MAX))
                .with_assignment(beaten.assignment.as_ref().map(wire_assignment))
        }
        Err((code, message)) => {
            let message = (!message.is_empty()).then(|| text(message));
            response.with_error_code(code.0).with_error_message(message)
        }
    }
}

fn beat(state: &mut State, ask: &Ask, request: ConsumerGroupHeartbeatRequest) -> Result<Beaten, Refused> {
    // 3.9 has it, and takes it only where the newer coordinator is asked for.
    if state.profile < Profile::V4_3 {
        return Err((ErrorCode::UNSUPPORTED_VERSION, String::new()));
    }
    let group = request.group_id.0.to_string();
    check(ask, &request)?;
    state.check_group(ask, &group, ErrorCode::INVALID_REQUEST).map_err(|code| (code, String::new()))?;
    if !ask.denied.topics.is_empty() {
        return Err((ErrorCode::TOPIC_AUTHORIZATION_FAILED, String::new()));
    }
    let assignor = request.server_assignor.as_ref().and_then(|name| Assignor::named(name));
    let mut member_id = request.member_id.to_string();
    if member_id.is_empty() {
        member_id = state.groups.fresh_member_id("member");
    }
    let epoch = request.member_epoch;
    let owned = request.topic_partitions.map(|topics| {
        let of_topic = |topic: protocol::messages::consumer_group_heartbeat_request::TopicPartitions| {
            let id = *topic.topic_id.as_bytes();
            topic.partitions.into_iter().map(move |index| (id, index))
        };
        topics.into_iter().flat_map(of_topic).collect::<BTreeSet<Part>>()
    });
    let topics = request.subscribed_topic_names;
    let beat = Beat {
        member_id,
        epoch,
        instance_id: request.instance_id.map(|id| id.to_string()),
        rack_id: request.rack_id.map(|id| id.to_string()),
        rebalance_timeout_ms: i64::from(request.rebalance_timeout_ms),
        topics: topics.map(|names| names.into_iter().map(|name| name.0.to_string()).collect()),
        assignor,
        owned,
        client_id: ask.client_id.clone(),
        client_host: ask.client_host.clone(),
    };
    let pace = Pace {
        session_timeout_ms: state.broker_number("group.consumer.session.timeout.ms"),
        assignment_interval_ms: state.broker_number("group.consumer.assignment.interval.ms"),
    };
    if epoch == 0 || beat.topics.is_some() {
        let topics = beat.topics.iter().flatten().map(|name| ENTRY_BYTES + name.len()).sum::<usize>();
        let named = [&beat.instance_id, &beat.rack_id].into_iter().flatten().map(String::len).sum::<usize>();
        let member = Size::of(beat.member_id.len() + beat.client_id.len() + named + topics);
        let more = state.groups.member_size(&group, &beat.member_id, member);
        state.keep(more).map_err(|code| (code, String::new()))?;
    }
    let found = if epoch == 0 { state.groups.consumer_or_new(&group) } else { state.groups.consumer(&group) };
    let missing = || (ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {group} is not a consumer group."));
    let found = found.ok_or_else(missing)?;
    let topics = &state.topics;
    let size = |name: &str| topic_size(topics, name);
    let beaten = found.beat(ask.now_ms, pace, &beat, size);
    let rules = state.group_rules();
    state.groups.settle(&rules, &group);
    beaten.map_err(|(code, message)| (code, message.to_owned()))
}

/// Whether the request makes sense, whatever the group is like.
fn check(ask: &Ask, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |message: &str| Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
    let is_empty = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
    let member_is_named = !request.member_id.is_empty();
    if (ask.version >= 1 || request.member_epoch != 0) && !member_is_named {
        return invalid("MemberId can't be empty.");
    }
    if is_empty(Some(&request.group_id.0)) {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(request.instance_id.as_deref()) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(request.rack_id.as_deref()) {
        return invalid("RackId can't be empty.");
    }
    let regex = request.subscribed_topic_regex.as_deref().filter(|regex| !regex.is_empty());
    match request.member_epoch {
        0 => {
            if request.rebalance_timeout_ms == -1 {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
                return invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        -2 if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        ..-2 => return invalid(&format!("MemberEpoch {} is invalid.", request.member_epoch)),
        _ => {}
    }
    if let Some(name) = request.server_assignor.as_deref().filter(|name| Assignor::named(name).is_none()) {
        let known = Assignor::ALL.map(Assignor::name).join(", ");
        let message = format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
        return Err((ErrorCode::UNSUPPORTED_ASSIGNOR, message));
    }
    match regex {
        // No engine of regular expressions for this alone.
        Some(_) => Err((INVALID_REGULAR_EXPRESSION, "topics by expression are not had here".to_owned())),
        None => Ok(()),
    }
}

/// Newer than the codes that the protocol crate names.
const INVALID_REGULAR_EXPRESSION: ErrorCode = ErrorCode(128);

fn wire_assignment(parts: &BTreeSet<Part>) -> Assignment {
    let mut by_topic: BTreeMap<[u8; 16], Vec<i32>> = BTreeMap::new();
    for (id, index) in parts {
        by_topic.entry(*id).or_default().push(*index);
    }
    let topics = by_topic.into_iter().map(|(id, partitions)| {
        TopicPartitions::default().with_topic_id(wire_id(id)).with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
