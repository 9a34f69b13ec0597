//! FindCoordinator: which broker keeps a group's offsets, or a transactional id.

use protocol::ErrorCode;
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use protocol::messages::{self};

use crate::acls::{operation, resource};
use crate::requests::{Ask, text};
use crate::state::State;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let key_type = request.key_type;
    let find = |key: &str| {
        if let Some(code) = ask.fails_whole() {
            return Err(code);
        }
        if ![GROUP, TRANSACTION].contains(&key_type) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let (kind, denied) = match key_type {
            GROUP => (resource::GROUP, ErrorCode::GROUP_AUTHORIZATION_FAILED),
            _ => (resource::TRANSACTIONAL_ID, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        };
        if !state.may(ask, operation::DESCRIBE, kind, key) {
            return Err(denied);
        }
        let broker = state.coordinator(key).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let port = state.brokers.get(&broker).map_or(0, |broker| broker.port);
        Ok((broker, i32::from(port)))
    };
    let host = |broker: i32| if broker < 0 { String::new() } else { state.host.clone() };
    if ask.version >= 4 {
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let found = find(&key);
            let (broker, port) = found.unwrap_or((-1, -1));
            Coordinator::default()
                .with_node_id(messages::BrokerId(broker))
                .with_host(text(host(broker)))
                .with_port(port)
                .with_error_code(found.err().map_or(0, |code| code.0))
                .with_error_message(None)
                .with_key(key)
        });
        return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    }
    let found = find(&request.key);
    let (broker, port) = found.unwrap_or((-1, -1));
    FindCoordinatorResponse::default()
        .with_node_id(messages::BrokerId(broker))
        .with_host(text(host(broker)))
        .with_port(port)
        .with_error_code(found.err().map_or(0, |code| code.0))
        .with_error_message(None)
}
