//! Runs a cluster until it is interrupted, for a look with any Kafka client:
//! `cargo run -p embedded-kafka --example serve -- 4.3 3` (version and brokers may be left out).

#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use embedded_kafka::{Cluster, Config, Profile};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let profile = match arguments.next().as_deref() {
        Some("1.1") => Profile::V1_1,
        Some("2.8") => Profile::V2_8,
        Some("3.9") => Profile::V3_9,
        None | Some("4.3") => Profile::V4_3,
        Some(other) => return Err(format!("no profile {other}, there are 1.1, 2.8, 3.9 and 4.3").into()),
    };
    let brokers = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let config = Config { auto_create: true, ..Config::new(brokers, profile) };
    let cluster = Cluster::start(config).await?;
    println!("{}", cluster.bootstrap_servers());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
