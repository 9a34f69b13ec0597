//! InitProducerId: a new producer id, or the next epoch of a transactional one.

use protocol::ErrorCode;
use protocol::messages::{self, InitProducerIdRequest, InitProducerIdResponse};

use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    // It says both of who it was, or nothing.
    let is_half = (request.producer_id.0 == -1) != (request.producer_epoch == -1);
    let identity = match (ask.fails_whole(), &request.transactional_id) {
        (Some(code), _) => Err(code),
        (None, _) if is_half => Err(ErrorCode::INVALID_REQUEST),
        // Without a transactional id brokers do not care who asks, or with which id.
        (None, None) => Ok((state.allocate_producer_id(), 0)),
        (None, Some(id)) if id.0.is_empty() => Err(ErrorCode::INVALID_REQUEST),
        (None, Some(id)) if state.coordinator(id.0.as_str()) != Some(ask.broker) => {
            Err(ErrorCode::NOT_COORDINATOR)
        }
        (None, Some(id)) => {
            let expected =
                (request.producer_id.0 >= 0).then_some((request.producer_id.0, request.producer_epoch));
            let timeout_ms = i64::from(request.transaction_timeout_ms);
            state.init_transactional(ask.now_ms, id.0.as_str(), timeout_ms, expected, ask.version >= 4)
        }
    };
    let response = InitProducerIdResponse::default();
    match identity {
        Ok((producer_id, epoch)) => {
            response.with_producer_id(messages::ProducerId(producer_id)).with_producer_epoch(epoch)
        }
        Err(code) => response
            .with_error_code(code.0)
            .with_producer_id(messages::ProducerId(-1))
            .with_producer_epoch(-1),
    }
}
