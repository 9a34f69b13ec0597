//! AddOffsetsToTxn: a group's offsets become part of a transaction.

use protocol::ErrorCode;
use protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use protocol::messages::add_offsets_to_txn_response::AddOffsetsToTxnResponse;

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let id = request.transactional_id.0.as_str();
    let code = if let Some(code) = ask.fails_whole() {
        code
    } else if state.coordinator(id) != Some(ask.broker) {
        ErrorCode::NOT_COORDINATOR
    } else {
        let identity = (request.producer_id.0, request.producer_epoch);
        state
            .add_group_to_txn(ask.now_ms, id, identity, ask.version >= 2, &request.group_id.0)
            .err()
            .unwrap_or_default()
    };
    AddOffsetsToTxnResponse::default().with_error_code(code.0)
}
