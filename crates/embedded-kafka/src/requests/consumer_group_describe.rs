//! ConsumerGroupDescribe: groups that the broker assigns, with what each member has and is to get.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use protocol::messages::{self};

use crate::groups::{ConsumerGroup, ConsumerMember, Part};
use crate::profile::Profile;
use crate::requests::{Ask, text, wire_id, wire_name};
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter().map_while(|group| {
        if !ask.tells(state.groups.get_consumer(&group.0).map_or(size_of::<DescribedGroup>(), bytes)) {
            return None;
        }
        let told =
            DescribedGroup::default().with_group_id(group.clone()).with_authorized_operations(i32::MIN);
        if state.profile < Profile::V4_3 {
            return Some(told.with_error_code(ErrorCode::UNSUPPORTED_VERSION.0));
        }
        if let Err(code) = state.check_group(ask, &group.0, ErrorCode::INVALID_GROUP_ID) {
            return Some(told.with_error_code(code.0));
        }
        let exists = state.groups.exists(&group.0);
        let names = |id: [u8; 16]| state.topic_by_id(id).map(|(name, _)| wire_name(name));
        Some(match state.groups.get_consumer(&group.0) {
            Some(found) => describe(ask, found, told, names),
            None => {
                let what = if exists { "is not a consumer group." } else { "not found." };
                told.with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
                    .with_error_message(Some(text(format!("Group {} {what}", group.0))))
            }
        })
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

/// About what a group takes in the answer.
fn bytes(group: &ConsumerGroup) -> usize {
    let member = |member: &ConsumerMember| {
        let topics =
            member.topics.iter().map(|name| size_of::<messages::TopicName>() + name.len()).sum::<usize>();
        // Each partition may be the only one of its topic.
        let parts = (member.assigned.len() + member.target.len()) * size_of::<TopicPartitions>();
        size_of::<Member>() + member.size().bytes + topics + parts
    };
    size_of::<DescribedGroup>() + group.members.iter().map(member).sum::<usize>()
}

fn describe(
    ask: &Ask,
    group: &ConsumerGroup,
    told: DescribedGroup,
    name: impl Fn([u8; 16]) -> Option<messages::TopicName>,
) -> DescribedGroup {
    let assignment = |parts: &BTreeSet<Part>| {
        let mut by_topic: BTreeMap<[u8; 16], Vec<i32>> = BTreeMap::new();
        for (id, index) in parts {
            by_topic.entry(*id).or_default().push(*index);
        }
        let topics = by_topic.into_iter().filter_map(|(id, partitions)| {
            let topic = TopicPartitions::default().with_topic_id(wire_id(id)).with_topic_name(name(id)?);
            Some(topic.with_partitions(partitions))
        });
        Assignment::default().with_topic_partitions(topics.collect())
    };
    let describe = |member: &ConsumerMember| {
        let topics = member.topics.iter().map(|name| messages::TopicName(text(name.clone())));
        let told = Member::default()
            .with_member_id(text(member.id.clone()))
            .with_instance_id(member.instance_id.clone().map(text))
            .with_rack_id(member.rack_id.clone().map(text))
            .with_member_epoch(member.epoch)
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.client_host.clone()))
            .with_subscribed_topic_names(topics.collect())
            .with_subscribed_topic_regex(Some(text("")))
            .with_assignment(assignment(&member.has()))
            .with_target_assignment(assignment(&member.target));
        if ask.version >= 1 { told.with_member_type(1) } else { told }
    };
    told.with_group_state(text(group.state_name()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(group.assignor().name()))
        .with_members(group.members.iter().map(describe).collect())
}
