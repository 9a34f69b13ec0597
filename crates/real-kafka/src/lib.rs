//! Real Apache Kafka for tests: resolved from Maven, started and stopped on free ports.
//!
//! ```no_run
//! # fn main() -> Result<(), real_kafka::Error> {
//! let kafka = real_kafka::Distribution::resolve("4.3.1")?;
//! let cluster = real_kafka::Cluster::start(&kafka, &real_kafka::Config::brokers(3))?;
//! let mut java = kafka.session()?; // one helper JVM for many jobs: a start costs a second
//! java.create_topic(&cluster.bootstrap(), "test-topic", 8, 1, &[])?;
//! # Ok(()) }
//! ```
//!
//! A cluster may be secured ([`Config::secured`]): then it has listeners for each way to connect, with certificates that
//! Java's keytool made ([`Stores`]), and those by Kerberos, in a realm of its own ([`Config::kerberos`], [`Kdc`]).
//!
//! A [`Distribution`] is the class path of one Kafka version, kept in a cache that all processes of a
//! user share. A [`Cluster`] is one to three brokers (and ZooKeeper, where that version wants it) with
//! their disks; dropping it kills the processes and removes the disks, and keeps the logs when the test
//! panicked. Kafka's own tools run as JVMs of their own ([`Distribution::console_producer`] and so on);
//! what no tool does (transactions, headers, explicit timestamps, checksums) a [`Session`] does.
//!
//! Everything blocks: this is for tests and chores, not for the product, and it uses no crate of ours,
//! so that a mistake in our protocol code cannot hide itself.
// An acting crate: it waits for other processes, against a deadline.
#![allow(clippy::disallowed_methods)]

mod cluster;
mod connect;
mod distribution;
mod error;
mod kdc;
mod ports;
mod process;
mod ready;
mod secured;
mod session;
mod stores;
mod token_endpoint;
mod tools;
mod wait;
mod watch;

pub use cluster::{Cluster, Config};
pub use connect::Connect;
pub use distribution::{Distribution, Version};
pub use error::Error;
pub use kdc::Kdc;
pub use process::Process;
pub use secured::Listener;
pub use session::{
    Fill, PartitionDigest, Session, SourceRecord, StoredRecord, TopicDescription, Transaction,
};
pub use stores::Stores;
pub use token_endpoint::TokenEndpoint;
pub use wait::{Deadline, wait_until};
pub use watch::Tally;
