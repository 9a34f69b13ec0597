//! The cluster, asked over its sockets by a client of thirty lines.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod access;
mod bounds;
mod client;
mod compaction;
mod configs;
mod direct;
mod faults;
mod fetching;
mod figures;
mod hostile;
mod idempotence;
mod metadata;
mod offsets;
mod producing;
mod replicas;
mod seeded;
mod shortage;
mod told;
mod transactions;
