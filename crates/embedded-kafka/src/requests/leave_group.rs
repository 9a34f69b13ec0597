//! LeaveGroup: one member, or since version 3 several.

use protocol::ErrorCode;
use protocol::messages::leave_group_request::LeaveGroupRequest;
use protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    let group = request.group_id.0.as_str();
    if let Err(code) = state.check_group(ask, group, state.profile.nameless_group()) {
        return response.with_error_code(code.0);
    }
    if ask.version < 3 {
        let code = leave(state, ask, group, &request.member_id, None);
        return response.with_error_code(code.0);
    }
    let members = request.members.into_iter().map(|member| {
        let code = leave(state, ask, group, &member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code.0)
    });
    response.with_members(members.collect())
}

fn leave(state: &mut State, ask: &Ask, group: &str, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
    let rules = state.group_rules();
    let Some(found) = state.groups.classic(group) else { return ErrorCode::UNKNOWN_MEMBER_ID };
    let left = found.leave(ask.now_ms, &rules, member_id, instance_id);
    state.groups.settle(group);
    left.err().unwrap_or(ErrorCode::NONE)
}
