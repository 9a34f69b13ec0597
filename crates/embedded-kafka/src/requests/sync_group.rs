//! SyncGroup: waits until the leader has said who gets what.

use std::sync::Weak;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::sync_group_request::SyncGroupRequest;
use protocol::messages::sync_group_response::SyncGroupResponse;

use crate::cluster::Shared;
use crate::frame_room::Seat;
use crate::groups::{Reply, SyncReply, Syncing};
use crate::kept::Size;
use crate::requests::{Answer, Ask, text};

pub(super) async fn answer(
    cluster: &Weak<Shared>,
    ask: &Ask,
    request: SyncGroupRequest,
    seat: &mut Seat,
) -> Answer {
    let waiting = {
        let Some(shared) = cluster.upgrade() else { return Answer::Gone };
        let state = &mut *shared.state();
        state.tick(ask.now_ms);
        if let Err(code) = state.check_group(ask, &request.group_id.0, state.profile.nameless_group()) {
            return encode(ask, SyncReply { code, ..SyncReply::default() });
        }
        // Since version 5 it must say what it believes was chosen (KIP-559).
        if ask.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            let code = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
            return encode(ask, SyncReply { code, ..SyncReply::default() });
        }
        let assigned: usize = request.assignments.iter().map(|assigned| assigned.assignment.len()).sum();
        if let Err(code) = state.keep(Size { things: 0, bytes: assigned }) {
            return encode(ask, SyncReply { code, ..SyncReply::default() });
        }
        let (ticket, waiting) = state.groups.open();
        let group = request.group_id.0.to_string();
        let assignments = request.assignments.into_iter();
        let sync = Syncing {
            generation: request.generation_id,
            member_id: request.member_id.to_string(),
            instance_id: request.group_instance_id.map(|id| id.to_string()),
            protocol_type: request.protocol_type.map(|text| text.to_string()),
            protocol_name: request.protocol_name.map(|text| text.to_string()),
            assignments: assignments
                // Of its own, so that not the whole frame is kept.
                .map(|assigned| {
                    (assigned.member_id.to_string(), Bytes::copy_from_slice(&assigned.assignment))
                })
                .collect(),
        };
        let rules = state.group_rules();
        state.groups.sync(ask.now_ms, &rules, &group, ticket, &sync);
        waiting
    };
    seat.give_back();
    match waiting.await {
        Ok(Reply::Sync(reply)) => encode(ask, reply),
        // The cluster is gone, and with it who would have answered.
        Ok(Reply::Join(_)) | Err(_) => Answer::Gone,
    }
}

fn encode(ask: &Ask, reply: SyncReply) -> Answer {
    let response =
        SyncGroupResponse::default().with_error_code(reply.code.0).with_assignment(reply.assignment);
    ask.encode(&match ask.version {
        5.. => response
            .with_protocol_type(reply.protocol_type.map(text))
            .with_protocol_name(reply.protocol.map(text)),
        _ => response,
    })
}
