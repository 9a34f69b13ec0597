//! One Kafka cluster over the network: connections, versions, metadata, typed calls.
//!
//! [`Cluster`] is the way in: calls that anyone may make share one connection per broker, and
//! [`Cluster::connect`] opens a [`Connection`] of the caller's own for the heavy traffic, on which
//! [`Connection::produce`] and [`Fetcher`] work. What to do with an answer is the callers' business, except
//! for one question that is answered here for all of them: what an error code means ([`classify`]).
//!
//! ```text
//! Cluster ── pool of shared connections ──┐
//!    │                                    ├── Connection ── one task owning the socket
//!    └────── connect(broker) ─────────────┘        │
//!                                  TLS, versions, login, then frames out and in
//! ```

mod accounts;
mod address;
mod buffers;
mod calls;
mod cluster;
mod connection;
mod error;
mod fetch;
mod handshake;
mod http;
mod inbound;
mod low_water;
mod metadata;
mod opener;
mod options;
mod out_of_files;
mod produce;
mod refusals;
mod retry;
mod sasl;
mod security;
mod tls;

pub use accounts::Accounts;
pub use address::Address;
pub use calls::{
    ConfigEntry, ConfigSource, NewTopic, OffsetSpec, ProducerState, Purpose, Refusal, TopicConfigChange,
};
pub use cluster::Cluster;
pub use connection::Connection;
pub use error::{CallError, CloseCause, SecurityError};
pub use fetch::{FetchOptions, FetchReply, Fetcher, fetch_tells_divergence, fetches_by_topic_id};
pub use metadata::{Broker, Metadata, PartitionMetadata, TopicMetadata, Wanted};
pub use opener::{Opener, Stream};
pub use options::Options;
pub use out_of_files::OutOfFiles;
pub use protocol::fetch::{FetchPartition, Fetched};
pub use protocol::produce::{ProduceBatch, ProduceReply, Produced};
pub use protocol::{ApiKey, ApiVersions, ErrorCode};
pub use retry::{Class, classify};
pub use security::{
    Again, AwsIam, AwsRole, Claim, Identity, KerberosOptions, Mechanism, SaslOptions, ScramHash, Secret,
    Security, StoreKind, StoreSource, TicketCache, TlsOptions, TlsProtocol, TokenEndpoint, TokenRefresh,
    TokenSource, Trust, UnsecuredToken,
};
