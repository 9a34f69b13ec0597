//! Frames: a four-byte length, a header, a body.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::{ApiKey, DecodeError, EncodeError, LENGTH_BYTES};

/// The whole frame of a request, length prefix included.
///
/// # Errors
/// [`EncodeError::Body`] if a field is set that `version` does not have.
pub fn encode_request(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &impl Encodable,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let refused =
        |error: &dyn std::fmt::Display| EncodeError::Body { api, version, reason: error.to_string() };
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    header.encode(&mut out, api.request_header_version(version)).map_err(|error| refused(&error))?;
    body.encode(&mut out, version).map_err(|error| refused(&error))?;
    if i32::try_from(out.len()).is_err() {
        return Err(EncodeError::TooLarge { api, bytes: out.len() });
    }
    Ok(finish(out))
}

/// Reads the body of a response: `frame` is without its length, correlation id included.
///
/// The caller has checked the correlation id and bounded the frame. The message is walked along its outline
/// first, so that the generated decoder meets no count that the message has no bytes for.
///
/// # Errors
/// [`DecodeError`] if it is not a response of that kind and version.
pub fn decode_response<T: Decodable>(api: ApiKey, version: i16, mut frame: Bytes) -> Result<T, DecodeError> {
    let refused = |error: &dyn std::fmt::Display| DecodeError::body(api, version, error);
    kafka_protocol::messages::ResponseHeader::decode(&mut frame, api.response_header_version(version))
        .map_err(|error| refused(&error))?;
    crate::shape::check(api, version, frame.clone())?;
    let body = T::decode(&mut frame, version).map_err(|error| refused(&error))?;
    if frame.is_empty() { Ok(body) } else { Err(DecodeError::LeftOver { left_bytes: frame.len() }) }
}

/// The correlation id that a response (without its length) begins with.
pub fn correlation_id(frame: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(..4)?.try_into().ok()?))
}

/// Fills in the length prefix that `out` has room for at its start.
pub(crate) fn finish(mut out: BytesMut) -> Bytes {
    let length = i32::try_from(out.len() - LENGTH_BYTES).expect("checked or known to be far below 2 GiB");
    out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}
