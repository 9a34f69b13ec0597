//! The two clusters of the demo, on a thread of their own.
//!
//! The copy has the other thread for itself, as it has against clusters that are elsewhere: what it takes is
//! told apart from what the brokers take.

use std::thread::JoinHandle;

use anyhow::Context;
use embedded_kafka::{Cluster, Config, Profile};
use tokio::sync::oneshot;

pub(crate) const BROKERS: usize = 3;
/// As [`Profile::V4_3`] is called.
pub(crate) const KAFKA_VERSION: &str = "4.3";

/// Two clusters that run until this is dropped.
pub(crate) struct Clusters {
    pub(crate) source: Cluster,
    pub(crate) destination: Cluster,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Clusters {
    /// Starts both on loopback, on ports from these on, or ones that the system chooses.
    ///
    /// # Errors
    /// If there is no thread or no socket to be had.
    pub(crate) fn start(source_port: Option<u16>, destination_port: Option<u16>) -> anyhow::Result<Clusters> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime of the clusters")?;
        let start = |name: &str, first_port| {
            let config =
                Config { cluster_id: name.to_owned(), first_port, ..Config::new(BROKERS, Profile::V4_3) };
            runtime
                .block_on(Cluster::start(config))
                .with_context(|| format!("cannot start the {name} cluster"))
        };
        let (source, destination) = (start("source", source_port)?, start("destination", destination_port)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            // Told or dropped: both mean that it is over.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name(String::from("clusters")).spawn(serve);
        let thread = Some(thread.context("cannot start the thread of the clusters")?);
        Ok(Clusters { source, destination, stop: Some(stop), thread })
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Nothing panics there but in a task, whose panic the runtime keeps to itself.
            let _ = thread.join();
        }
    }
}
