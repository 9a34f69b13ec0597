//! Why a message could not be read or written.

use crate::ApiKey;

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field promises more bytes than there are.
    #[error("a field needs {need_bytes} bytes, {have_bytes} left")]
    Truncated {
        /// What the field promises.
        need_bytes: usize,
        /// What the message still holds.
        have_bytes: usize,
    },
    /// A length that no field of the kind can have.
    #[error("{what} of length {length}")]
    Length {
        /// The kind of field.
        what: &'static str,
        /// The length read.
        length: i64,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// The message ended before its bytes did.
    #[error("{left_bytes} bytes left over at the end of the message")]
    LeftOver {
        /// How many.
        left_bytes: usize,
    },
    /// A version of a message that this program does not read.
    #[error("{api:?} version {version} is not known here")]
    Version {
        /// The message.
        api: ApiKey,
        /// The version.
        version: i16,
    },
    /// A request for something this program does not know.
    #[error("unknown request key {key}")]
    Api {
        /// The number it came with.
        key: i16,
    },
    /// The generated decoder refused the message.
    #[error("{api:?} version {version}: {reason}")]
    Body {
        /// The message.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What the decoder said.
        reason: String,
    },
    /// An answer about a topic that was not asked for.
    #[error("answer about topic id {id}, which was not asked for")]
    TopicId {
        /// The topic's id.
        id: model::TopicId,
    },
}

impl DecodeError {
    /// What the generated decoder says of a message, on one line.
    pub(crate) fn body(api: ApiKey, version: i16, said: &dyn std::fmt::Display) -> DecodeError {
        DecodeError::Body { api, version, reason: said.to_string().trim().replace(['\n', '\r'], " ") }
    }
}

/// A message that cannot be written in the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The generated encoder refused: a field is set that the version has no room for.
    #[error("cannot write {api:?} version {version}: {reason}")]
    Body {
        /// The message.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What the encoder said.
        reason: String,
    },
    /// The frame is larger than its length prefix can say.
    #[error("{api:?} request of {bytes} bytes is too large for a frame")]
    TooLarge {
        /// The message.
        api: ApiKey,
        /// Its size.
        bytes: usize,
    },
}
