//! SaslHandshake and SaslAuthenticate: what a connection is told on its way to a principal.

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::ApiVersionsResponse;
use protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use protocol::server::RequestKind;

use crate::requests::{Answer, Ask, text};
use crate::sasl::Login;

/// Answers a request of a login, and tells whether the connection ends then; `None` for any other request.
pub(crate) fn log_in(ask: &Ask, login: &mut Login, request: &RequestKind) -> Option<(Answer, bool)> {
    match request {
        RequestKind::SaslHandshake(request) => {
            let (code, ends) = match ask.fails_whole() {
                Some(code) => (code, false),
                None => login.handshake(ask.now_ms, ask.version, &request.mechanism),
            };
            let told = if code == ErrorCode::ILLEGAL_SASL_STATE { Vec::new() } else { login.mechanisms() };
            let response = SaslHandshakeResponse::default()
                .with_error_code(code.0)
                .with_mechanisms(told.into_iter().map(text).collect());
            Some((ask.encode(&response), ends))
        }
        RequestKind::ApiVersions(_) if login.is_under_way() => {
            let response = ApiVersionsResponse::default().with_error_code(ErrorCode::ILLEGAL_SASL_STATE.0);
            Some((ask.encode(&response), true))
        }
        // Too early: the connection is closed, as for any other request.
        RequestKind::SaslAuthenticate(_) if login.takes_api_versions() => None,
        RequestKind::SaslAuthenticate(request) => {
            let response = SaslAuthenticateResponse::default();
            if let Some(code) = ask.fails_whole() {
                return Some((ask.encode(&response.with_error_code(code.0).with_error_message(None)), false));
            }
            let said = login.authenticate(ask.now_ms, &request.auth_bytes, ask.version >= 1);
            let response = response
                .with_error_code(said.code.0)
                .with_error_message(said.message.map(text))
                .with_auth_bytes(Bytes::from(said.bytes));
            let response = match ask.version {
                1.. => response.with_session_lifetime_ms(said.lifetime_ms),
                _ => response,
            };
            Some((ask.encode(&response), said.closes))
        }
        _ => None,
    }
}
