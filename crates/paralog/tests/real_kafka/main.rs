//! The program against real Kafka: every line of what it promises, on the brokers it promises it for.
//!
//! `cargo xtask test` runs these; a plain `cargo test` lists them as ignored, for they need Java and Maven.
//! What is compared is what Kafka's own consumer of each side's version reads (`real_kafka::Session`), so that
//! none of our code judges itself.

// Tests wait for other processes and read clocks, against deadlines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

mod aged;
mod cost;
mod desk;
mod faithful;
mod faults;
mod formats;
mod offset_file;
mod offset_topic;
mod pair;
mod quick_start;
mod restart;
mod sync;
mod topics;
mod transactions;
