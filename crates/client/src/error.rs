//! Why a call came to nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::{BrokerId, ClusterName};
use protocol::{ApiKey, DecodeError, EncodeError, ErrorCode};

use crate::Address;

/// A call that has no answer, or one that says no to the whole of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Text that is no address.
    #[error("`{text}` is not an address of the form host:port")]
    Address {
        /// As given.
        text: String,
    },
    /// Nobody listens there, or the way is blocked.
    #[error("cannot connect to {address}{}", address.origin())]
    Connect {
        /// Where.
        address: Arc<Address>,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Someone listens there, who is no Kafka broker.
    #[error("{address}{} does not answer as a Kafka broker: {what}", address.origin())]
    NotKafka {
        /// Where.
        address: Arc<Address>,
        /// What it did instead.
        what: String,
    },
    /// Connections cannot be secured as they are told to be; nothing was sent.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// No TLS came about with whoever listens there.
    #[error("no TLS with {address}{}: {what}", address.origin())]
    Tls {
        /// Where.
        address: Arc<Address>,
        /// Why, and what to do about it.
        what: String,
    },
    /// The broker does not let us in, or does not prove who it is in turn. Not tried again for a while, whoever asks:
    /// accounts get locked.
    #[error("{address} refuses the login by {mechanism}: {what}")]
    Login {
        /// Who refused.
        address: Arc<Address>,
        /// The SASL mechanism.
        mechanism: &'static str,
        /// Why, and what to do about it.
        what: String,
    },
    /// None of the addresses we have led to a broker.
    #[error("no broker of cluster `{cluster}` can be reached: {}", list(attempts))]
    Unreachable {
        /// The cluster.
        cluster: ClusterName,
        /// What became of each address, in the order tried.
        attempts: Vec<CallError>,
    },
    /// The cluster does not list the broker, at present.
    #[error("cluster `{cluster}` has no broker {broker} at present")]
    UnknownBroker {
        /// The cluster.
        cluster: ClusterName,
        /// The broker.
        broker: BrokerId,
    },
    /// The cluster does not say who its controller is, at present.
    #[error("cluster `{cluster}` has no controller at present")]
    NoController {
        /// The cluster.
        cluster: ClusterName,
    },
    /// No answer in time. The connection is given up.
    #[error("no answer to {api:?} from {address} within {:.1} s", after.as_secs_f64())]
    TimedOut {
        /// The request.
        api: ApiKey,
        /// Whom we asked.
        address: Arc<Address>,
        /// How long we waited.
        after: Duration,
        /// False only if no byte of the request had reached the socket.
        maybe_written: bool,
    },
    /// The connection ended before the answer.
    #[error("connection to {address} ended before an answer to {api:?}")]
    Closed {
        /// The request.
        api: ApiKey,
        /// Whom we asked.
        address: Arc<Address>,
        /// False only if no byte of the request had reached the socket.
        maybe_written: bool,
        /// What ended it.
        #[source]
        source: CloseCause,
    },
    /// The broker is too old (or too new) for the request.
    #[error("{address} does not know {api:?} as this program speaks it ({needs})")]
    Unsupported {
        /// The request.
        api: ApiKey,
        /// Whom we asked.
        address: Arc<Address>,
        /// What would be needed.
        needs: &'static str,
    },
    /// The broker refused the request as a whole.
    #[error("{address} refused {api:?}: {error}{}", after_colon(message.as_deref()))]
    Refused {
        /// The request.
        api: ApiKey,
        /// Who refused.
        address: Arc<Address>,
        /// The code.
        error: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
    /// The answer is not what the protocol says it is.
    #[error("answer to {api:?} from {address} cannot be read")]
    Malformed {
        /// The request.
        api: ApiKey,
        /// Who answered.
        address: Arc<Address>,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The request cannot be written in the version that the broker speaks.
    #[error("request to {address} cannot be written")]
    Encode {
        /// Who was to be asked.
        address: Arc<Address>,
        /// Why.
        #[source]
        source: EncodeError,
    },
}

/// Why connections cannot be secured as [`crate::Security`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// A store of certificates or keys that cannot be used.
    #[error("{store}: {what}")]
    Store {
        /// Which, and where it is.
        store: String,
        /// What is wrong with it, and what to do about it.
        what: String,
    },
    /// Versions or cipher suites of TLS that make no connection.
    #[error("{0}")]
    Choice(String),
    /// What a login needs cannot be had.
    #[error("{mechanism}: {what}")]
    Credentials {
        /// The SASL mechanism.
        mechanism: &'static str,
        /// What is missing or wrong.
        what: String,
    },
}

/// What ended a connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloseCause {
    /// The broker closed it: it restarts, has idled us out, or takes offence at the request.
    #[error("closed by the broker")]
    ByPeer,
    /// The same, before it answered anything but ApiVersions.
    #[error("closed by the broker at the first request, as it does where it wants SASL or another version")]
    AtFirst,
    /// The same, in the middle of an answer.
    #[error("closed by the broker in the middle of an answer")]
    MidFrame,
    /// We closed it.
    #[error("closed here")]
    Here,
    /// The network failed.
    #[error(transparent)]
    Io(Arc<io::Error>),
    /// An answer larger than [`crate::Options::frame_bytes_max`], or of a negative length.
    #[error("an answer of {length} bytes, more than the {bytes_max} allowed")]
    FrameLength {
        /// What the frame's length prefix says.
        length: i32,
        /// What is allowed.
        bytes_max: usize,
    },
    /// An answer to another request than the one whose turn it is.
    #[error("answer {got} where answer {} was due", expected.map_or("none".to_owned(), |id| id.to_string()))]
    Correlation {
        /// The number of the request whose turn it is, if any.
        expected: Option<i32>,
        /// The number in the answer, if it had one.
        got: String,
    },
    /// An earlier request on the same connection was not answered in time.
    #[error("no answer to an earlier {api:?} in time")]
    EarlierTimedOut {
        /// The earlier request.
        api: ApiKey,
    },
    /// The login was to be renewed, and was not.
    #[error("the login by {mechanism} cannot be renewed: {what}")]
    Login {
        /// The SASL mechanism.
        mechanism: &'static str,
        /// Why.
        what: String,
    },
}

fn list(attempts: &[CallError]) -> String {
    let chains = attempts.iter().map(|attempt| match std::error::Error::source(attempt) {
        Some(source) => format!("{attempt}: {source}"),
        None => attempt.to_string(),
    });
    let all: Vec<String> = chains.collect();
    if all.is_empty() { "no address is given".to_owned() } else { all.join("; ") }
}

fn after_colon(message: Option<&str>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

impl CallError {
    /// The broker's code, where the broker answered with one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            CallError::Refused { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// `false`: certainly no byte of the request reached the socket, so the broker has not seen it.
    pub fn maybe_written(&self) -> bool {
        match self {
            CallError::TimedOut { maybe_written, .. } | CallError::Closed { maybe_written, .. } => {
                *maybe_written
            }
            CallError::Refused { .. } | CallError::Malformed { .. } => true,
            CallError::Address { .. }
            | CallError::Connect { .. }
            | CallError::NotKafka { .. }
            | CallError::Security(_)
            | CallError::Tls { .. }
            | CallError::Login { .. }
            | CallError::Unreachable { .. }
            | CallError::UnknownBroker { .. }
            | CallError::NoController { .. }
            | CallError::Unsupported { .. }
            | CallError::Encode { .. } => false,
        }
    }
}
