//! DescribeGroups: the members of classic groups, and what each said and got.

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::describe_groups_request::DescribeGroupsRequest;
use protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::groups::{ClassicGroup, Member, Phase};
use crate::requests::{Ask, text};
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map_while(|group| {
        let size = state.groups.classic(&group.0).map(|group| group.size()).unwrap_or_default();
        let members = size.things * size_of::<DescribedGroupMember>();
        if !ask.tells(size_of::<DescribedGroup>() + members + size.bytes) {
            return None;
        }
        let told = DescribedGroup::default().with_group_id(group.clone());
        let told = if ask.version >= 3 { told.with_authorized_operations(i32::MIN) } else { told };
        if let Err(code) = state.check_group(ask, &group.0, ErrorCode::NONE) {
            return Some(told.with_error_code(code.0));
        }
        let exists = state.groups.exists(&group.0);
        let keeps_assignments = state.group_rules().is_new_coordinator;
        Some(match state.groups.classic(&group.0) {
            Some(found) => describe(ask, found, keeps_assignments, told),
            None if ask.version >= 6 && exists => told
                .with_group_state(text("Dead"))
                .with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
                .with_error_message(Some(text(format!("Group {} is not a classic group.", group.0)))),
            None if ask.version >= 6 => told
                .with_group_state(text("Dead"))
                .with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
                .with_error_message(Some(text(format!("Group {} not found.", group.0)))),
            None => told.with_group_state(text("Dead")),
        })
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(
    ask: &Ask,
    group: &ClassicGroup,
    keeps_assignments: bool,
    told: DescribedGroup,
) -> DescribedGroup {
    let stable = group.phase == Phase::Stable;
    // What was agreed on is told once everybody knows it.
    let protocol = group.protocol.as_deref().filter(|_| stable);
    let describe = |member: &Member| {
        let assignment = if stable || keeps_assignments { member.assignment.clone() } else { Bytes::new() };
        let told = DescribedGroupMember::default()
            .with_member_id(text(member.id.clone()))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.client_host.clone()))
            .with_member_metadata(member.metadata(protocol))
            .with_member_assignment(assignment);
        match ask.version {
            4.. => told.with_group_instance_id(member.instance_id.clone().map(text)),
            _ => told,
        }
    };
    told.with_group_state(text(group.phase.name()))
        .with_protocol_type(text(group.protocol_type.clone().unwrap_or_default()))
        .with_protocol_data(text(protocol.unwrap_or_default()))
        .with_members(group.members.iter().map(describe).collect())
}
