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
    let rules = state.group_rules();
    let mut leave = |member_id: &str, instance_id: Option<&str>| {
        let Some(found) = state.groups.classic(group) else { return ErrorCode::UNKNOWN_MEMBER_ID };
        found.leave(ask.now_ms, &rules, member_id, instance_id).err().unwrap_or_default()
    };
    let response = if ask.version < 3 {
        response.with_error_code(leave(&request.member_id, None).0)
    } else {
        let members = request.members.into_iter().map(|member| {
            let code = leave(&member.member_id, member.group_instance_id.as_deref());
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(code.0)
        });
        response.with_members(members.collect())
    };
    state.groups.settle(&rules, group);
    response
}
