//! A Kafka cluster inside this process, for the demo, tests and simulation.
//!
//! Brokers are tasks that listen (on loopback, unless told otherwise) and speak the real protocol; their logs, offsets and
//! transactions are in memory. A cluster presents itself as one of several Kafka versions ([`Profile`]) and
//! answers as that version was measured to: the same refusals, the same forgetfulness of producers. What
//! real clusters do rarely it does when asked: holes, old formats, elections, lost replies ([`Cluster::on`]), and all of
//! these by a seed ([`Cluster::faults_by_seed`]).
//!
//! Known differences from Kafka, beside what is not answered at all: versions that the message library does
//! not have are not listed (ListOffsets 11, OffsetCommit and OffsetFetch 10) or close the connection (Produce
//! 0 to 2 and the like); members of classic groups and of those that the broker assigns cannot mix, and subscriptions
//! by expression are refused (KIP-848); committed offsets and empty groups stay until they are deleted; ACLs
//! cannot be asked for as 1.1, and of SASL's mechanisms only PLAIN is built in ([`Mechanism`]); followers copy
//! at once unless told otherwise; topics come into being by being asked for only where [`Config::auto_create`] says so, which
//! is described as a setting of the brokers' file, where Kafka's default is to create them: a test should not
//! make topics by a misspelt name; a broker that stops leaves the in-sync sets at once; retention, expiry and cleaning happen when asked
//! ([`Cluster::sweep`], [`Cluster::compact`]), and retention goes by age alone, batch by batch, where Kafka lets segments
//! go: `retention.bytes` is described and does nothing; transactions end as soon as they are asked to, but for partitions that
//! have no leader or a follower that is behind.
//!
//! What one client may take is bounded where Kafka has no bound: 100,000 partitions of the cluster, and 64 MiB of a batch
//! without its compression, 512 MiB of all that one request is about (what is produced is MESSAGE_TOO_LARGE then, and
//! what is sought by time POLICY_VIOLATION); 250,000 groups, members, committed offsets and transactional ids together
//! ([`Config::names_max`]; POLICY_VIOLATION), 1,000 members of one group (GROUP_MAX_SIZE_REACHED, whatever
//! `group.max.size` is), and 128 MiB of these, of topics' settings and of ACLs; 32,767 characters of
//! a setting, which brokers with ZooKeeper do not mind; 128 MiB of fetch sessions ([`Config::fetch_session_bytes_max`]; those used the
//! longest ago end), 256 MiB of frames under way ([`Config::frame_bytes_max`]; newcomers wait), 100 MiB of one answer, and a
//! third of the process's files as connections ([`field@Config::connections_max`]). A request for more than 10,000 partitions is refused as KRaft refuses it, under every profile;
//! CreatePartitions too, where 3.9.2 answers UNKNOWN_SERVER_ERROR.
//! Answers that are not read yet may take as much as frames under way do.
//!
//! It is not durable, not replicated for safety and not secure, and answers only loopback unless
//! [`Config::listen_on`] says otherwise.
//!
//! ```ignore
//! let cluster = Cluster::start(Config::new(3, Profile::V4_3)).await?;
//! cluster.create_topic("orders", 6, &[("cleanup.policy", "compact")]);
//! cluster.on(ApiKey::Produce).partition("orders", 0).drop_reply();
//! connect_to(cluster.bootstrap()).await;
//! ```
//!
//! Inside: `state.rs` and what it holds is plain data and decisions; `requests/` has a file for each
//! request; `connection.rs` and `broker.rs` are the sockets; `faults.rs` is what tests wish for.

mod acls;
mod bare;
mod broker;
mod clock;
mod cluster;
mod compact;
mod complaints;
mod config;
mod configs;
mod connection;
mod direct;
mod faults;
mod frame_room;
mod groups;
mod guard;
mod kept;
mod log;
mod no_socket;
mod partition;
mod producers;
mod profile;
mod requests;
mod sasl;
mod seeded;
mod sessions;
mod state;
mod stranger;
mod transactions;
mod validate;
mod walk;

pub use bare::{BarePartition, Taken};
pub use broker::Broker;
pub use cluster::{Cluster, StartError};
pub use config::{Config, Transport};
pub use direct::{AppendError, LogEntry, LogRecord, NoPartition};
pub use faults::{Fault, Held, On};
pub use no_socket::NoSocket;
pub use profile::Profile;
pub use protocol::{ApiKey, ErrorCode};
pub use sasl::{Exchange, Mechanism, Plain, Sasl, Step};
pub use seeded::{FaultKind, FaultPlan, Happening, SeededFaults};
