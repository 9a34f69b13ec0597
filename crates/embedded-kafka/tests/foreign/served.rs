//! A cluster on a thread of its own, so that a test may block on the programs that use it.

use std::thread::JoinHandle;

use embedded_kafka::{Cluster, Config, Profile};
use tokio::sync::oneshot;

/// Four profiles, and what they are called.
pub(crate) const PROFILES: [(Profile, &str); 4] =
    [(Profile::V1_1, "1.1"), (Profile::V2_8, "2.8"), (Profile::V3_9, "3.9"), (Profile::V4_3, "4.3")];

/// Three brokers that run until this is dropped.
pub(crate) struct Served {
    pub(crate) cluster: Cluster,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start(profile: Profile) -> Served {
        // Once for all tests: what a broker has to say about a client goes to where the client's words go.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(std::io::stderr)
            .try_init();
        // As a real one for tests: nobody waits three seconds for the first member of a group to have company.
        let config = Config::new(3, profile).broker_setting("group.initial.rebalance.delay.ms", "0");
        // There are access rules to be asked for, and everybody may do everything.
        let config = Config { super_users: Some(vec!["User:ANONYMOUS".to_owned()]), ..config };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cluster = runtime.block_on(Cluster::start(config)).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            // Told or dropped: both mean that it is over.
            let _ = runtime.block_on(stopped);
        });
        Served { cluster, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of a broker has been printed, and fails what it was asked by.
            let _ = thread.join();
        }
    }
}
