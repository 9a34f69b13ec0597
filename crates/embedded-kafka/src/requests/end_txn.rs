//! EndTxn: commits or aborts.

use protocol::ErrorCode;
use protocol::messages::end_txn_request::EndTxnRequest;
use protocol::messages::end_txn_response::EndTxnResponse;
use protocol::messages::{self};

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: &EndTxnRequest) -> EndTxnResponse {
    let id = request.transactional_id.0.as_str();
    let ended = if let Some(code) = ask.fails_whole() {
        Err(code)
    } else if state.coordinator(id) != Some(ask.broker) {
        Err(ErrorCode::NOT_COORDINATOR)
    } else {
        let identity = (request.producer_id.0, request.producer_epoch);
        state.end_txn(ask.now_ms, id, identity, request.committed, ask.version)
    };
    let response = EndTxnResponse::default();
    match ended {
        Ok((producer_id, epoch)) if ask.version >= 5 => {
            response.with_producer_id(messages::ProducerId(producer_id)).with_producer_epoch(epoch)
        }
        Ok(_) => response,
        Err(code) => response.with_error_code(code.0),
    }
}
