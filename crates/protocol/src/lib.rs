//! Kafka requests and responses as bytes: versions, framing, error codes.
//!
//! The hot messages (Fetch, Produce) and the first one an unknown peer answers (ApiVersions) are written
//! and read here by hand: no copy of records, and no allocation that a length on the wire alone decides.
//! The rest come from the generated [`messages`], walked along their outline before they are decoded; no
//! other crate names where they come from. Sockets, clocks and the inside of records are others' business.

mod api;
mod api_versions;
mod error;
mod error_code;
pub mod fetch;
mod frame;
mod peer;
pub mod produce;
mod reader;
pub mod server;
mod shape;
mod writer;

pub use api::{ApiKey, supported};
pub use api_versions::{ApiVersions, ApiVersionsAnswer};
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use frame::{correlation_id, decode_response, encode_request};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
pub use peer::{Peer, looks_like};

/// Bytes in front of every frame that hold its length.
pub const LENGTH_BYTES: usize = 4;
