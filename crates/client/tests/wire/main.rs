//! The client over real sockets, against peers that the tests write themselves.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "all of it is tests, and some take time")]

mod cluster;
mod connection;
mod fake;
mod not_kafka;
