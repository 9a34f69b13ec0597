//! The program against real Kafka: every line of what it promises, on the brokers it promises it for.
//!
//! `cargo xtask test` runs these; a plain `cargo test` lists them as ignored, for they need Java and Maven.
//! What is compared is what Kafka's own consumer of each side's version reads (`real_kafka::Session`), so that
//! none of our code judges itself.

// Tests wait for other processes and read clocks, against deadlines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

/// Makes a test of each function, once for each version of the source that the acceptance list is about.
macro_rules! from_each_source {
    ($($row:ident),+ $(,)?) => {
        from_each_source!(from_2_8_2, "2.8.2", $($row),+);
        from_each_source!(from_4_3_1, "4.3.1", $($row),+);
    };
    ($module:ident, $version:literal, $($row:ident),+) => {
        mod $module {
            $(
                #[test]
                #[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
                fn $row() {
                    super::$row($version);
                }
            )+
        }
    };
}

mod acls;
mod aged;
mod changes;
#[path = "../../../worker/tests/changes/mod.rs"]
mod changing;
mod cost;
mod creation;
mod desk;
mod faithful;
mod faults;
mod formats;
mod kerberos;
mod life;
mod offset_file;
mod offset_topic;
mod pair;
mod quick_start;
mod restart;
mod rights;
mod rotation;
mod secured;
mod selection;
mod spread;
mod sync;
mod tokens;
mod topics;
mod transactions;
