//! The client against peers that the tests write themselves, and against clusters in this process.
//!
//! Connections are in memory and time is paused, but for what is about sockets.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

mod acls;
mod cluster;
mod connection;
mod cost;
mod embedded;
mod fake;
mod hostile;
mod not_kafka;
mod sasl;
mod sockets;
mod tls;
