//! Clients that others wrote, against the cluster on loopback: librdkafka (confluent-kafka and kcat), kafka-python
//! and Kafka's own tools produce, consume, join groups, commit transactions and administer.
//!
//! They need Python, kcat, Java and the network, for the first run: `cargo xtask test` turns the feature `foreign`
//! on. What is missing is brought or fails the test, with what to do; nothing is left out in silence.

#![cfg(feature = "foreign")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, which waits for other programs")]

mod command;
mod java;
mod kcat;
mod python;
mod served;
