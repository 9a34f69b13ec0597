//! Heartbeat of a classic group's member.

use protocol::ErrorCode;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::heartbeat_response::HeartbeatResponse;

use crate::groups::Claim;
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: &HeartbeatRequest) -> HeartbeatResponse {
    let code = beat(state, ask, request).err().unwrap_or(ErrorCode::NONE);
    HeartbeatResponse::default().with_error_code(code.0)
}

fn beat(state: &mut State, ask: &Ask, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    state.check_group(ask, &request.group_id.0, state.profile.nameless_group())?;
    let rules = state.group_rules();
    let group = state.groups.classic(&request.group_id.0).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
    let claim = Claim {
        generation: request.generation_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
    };
    group.heartbeat(ask.now_ms, &rules, claim)
}
