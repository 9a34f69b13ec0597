//! Setting text, in the dialects of the products we replace, to types.
//!
//! [`parse`] reads Java's `.properties`; [`resolve`] puts in what config providers give; the [`table`] knows every
//! property; [`load`] judges a worker's and its connectors' entries by it and gives [`Settings`] and a [`Report`] of
//! everything there is to say about all files at once. No I/O: text comes in, types go out, and what a provider reads
//! is handed in by the edge ([`Surroundings`]).

mod entry;
mod executable;
mod jaas;
mod load;
mod nearest;
mod parse;
mod provided;
mod providers;
mod reference;
mod report;
mod run_options;
mod security;
mod settings;
pub mod table;
pub mod value;

pub use entry::{Entry, Place};
pub use executable::split_executable;
pub use load::{kind_of, load};
pub use parse::{escape, parse, parse_bytes};
pub use provided::Provided;
pub use providers::{Resolved, Surroundings, resolve};
pub use reference::reference_markdown;
pub use report::{Problem, Report, Severity};
pub use run_options::RunOptions;
pub use security::{
    AwsIamSettings, AwsRoleSettings, ClaimSettings, EndpointSettings, IdentitySettings, KerberosSettings,
    SaslSettings, SecuritySettings, StoreFormat, StoreSettings, TicketCacheSettings, TlsSettings, TlsVersion,
    TokenSettings,
};
pub use settings::{
    AclSettings, ClusterSettings, ConnectorSettings, LifeSettings, LimitSettings, OFFSET_FILE_DEFAULT,
    OffsetSettings, OffsetStart, OffsetStorage, OffsetTopicSettings, OnRecreated, ReadingSettings,
    SelectionSettings, Settings, TimestampType, TopicSettings, WorkerSettings,
};
