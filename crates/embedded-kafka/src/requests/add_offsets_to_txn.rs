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
        match state.transactions.of_producer(
            id,
            (request.producer_id.0, request.producer_epoch),
            ask.version >= 2,
        ) {
            Ok(transaction) => {
                transaction.add_group(ask.now_ms, request.group_id.0.as_str());
                ErrorCode::NONE
            }
            Err(code) => code,
        }
    };
    AddOffsetsToTxnResponse::default().with_error_code(code.0)
}
