//! JoinGroup: waits until the others have joined, too.

use std::sync::Weak;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};

use crate::cluster::Shared;
use crate::frame_room::Seat;
use crate::groups::{JoinReply, Joining, Reply};
use crate::kept::{ENTRY_BYTES, Size};
use crate::requests::{Answer, Ask, text};
use crate::state::State;

pub(super) async fn answer(
    cluster: &Weak<Shared>,
    ask: &Ask,
    request: JoinGroupRequest,
    seat: &mut Seat,
) -> Answer {
    let (waiting, no_generation) = {
        let Some(shared) = cluster.upgrade() else { return Answer::Gone };
        let state = &mut *shared.state();
        state.tick(ask.now_ms);
        let no_generation = state.profile.no_generation();
        if let Err(code) = check(state, ask, &request) {
            let member_id = request.member_id.to_string();
            return encode(ask, no_generation, JoinReply { code, member_id, ..JoinReply::default() });
        }
        let rules = state.group_rules();
        let group = request.group_id.0.to_string();
        let (ticket, waiting) = state.groups.open();
        let join = join(state, ask, request);
        state.groups.join(ask.now_ms, &rules, &group, ticket, join);
        (waiting, no_generation)
    };
    seat.give_back();
    match waiting.await {
        Ok(Reply::Join(reply)) => encode(ask, no_generation, reply),
        // The cluster is gone, and with it who would have answered.
        Ok(Reply::Sync(_)) | Err(_) => Answer::Gone,
    }
}

fn check(state: &mut State, ask: &Ask, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    state.check_group(ask, &request.group_id.0, ErrorCode::INVALID_GROUP_ID)?;
    let (shortest, longest) = state.group_rules().session_timeout_ms;
    if !(shortest..=longest).contains(&i64::from(request.session_timeout_ms)) {
        return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let bytes =
        |protocol: &JoinGroupRequestProtocol| ENTRY_BYTES + protocol.name.len() + protocol.metadata.len();
    let metadata = request.protocols.iter().map(bytes).sum::<usize>();
    let instance = request.group_instance_id.as_ref().map_or(0, |id| id.len());
    let member = Size::of(metadata + instance + ask.client_id.len());
    state.keep(state.groups.member_size(&request.group_id.0, &request.member_id, member))
}

fn join(state: &mut State, ask: &Ask, request: JoinGroupRequest) -> Joining {
    let instance_id = request.group_instance_id.map(|id| id.to_string());
    // A static member's id tells which one it is (KIP-345).
    let fresh_id = state.groups.fresh_member_id(instance_id.as_deref().unwrap_or(&ask.client_id));
    let session_timeout_ms = i64::from(request.session_timeout_ms);
    // Version 0 knows one time-out for both.
    let rebalance_timeout_ms =
        if ask.version >= 1 { i64::from(request.rebalance_timeout_ms) } else { session_timeout_ms };
    let protocols = request.protocols.into_iter();
    Joining {
        version: ask.version,
        member_id: request.member_id.to_string(),
        instance_id,
        client_id: ask.client_id.clone(),
        client_host: ask.client_host.clone(),
        session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            // Of its own, so that not the whole frame is kept.
            .map(|protocol| (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        fresh_id,
    }
}

fn encode(ask: &Ask, no_generation: i32, reply: JoinReply) -> Answer {
    let members = reply.members.into_iter().map(|(id, instance_id, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        if ask.version >= 5 { member.with_group_instance_id(instance_id.map(text)) } else { member }
    });
    // Null has a form on the wire only since version 7.
    let protocol = if ask.version >= 7 { reply.protocol } else { Some(reply.protocol.unwrap_or_default()) };
    let response = JoinGroupResponse::default()
        .with_error_code(reply.code.0)
        .with_generation_id(if reply.generation < 0 { no_generation } else { reply.generation })
        .with_protocol_name(protocol.map(text))
        .with_leader(text(reply.leader))
        .with_skip_assignment(reply.skip_assignment)
        .with_member_id(text(reply.member_id))
        .with_members(members.collect());
    ask.encode(&match ask.version {
        7.. => response.with_protocol_type(reply.protocol_type.map(text)),
        _ => response,
    })
}
