//! A source and a destination cluster, shared by the tests that run at the same time and want the same versions.

use real_kafka::{Cluster, Config, Distribution, PartitionDigest, Session};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

/// One of the two clusters.
pub(crate) struct Side {
    pub(crate) bootstrap: String,
    pub(crate) kafka: Distribution,
    cluster: Mutex<Cluster>,
    helper: Mutex<Option<Session>>,
}

/// Two clusters, of as many brokers each.
pub(crate) struct Pair {
    pub(crate) source: Side,
    pub(crate) destination: Side,
}

/// A test's hold on a pair. When the test fails, the brokers' logs are kept.
pub(crate) struct Hold(Arc<Pair>);

impl std::ops::Deref for Hold {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if thread::panicking() {
            self.source.cluster().keep_logs();
            self.destination.cluster().keep_logs();
        }
    }
}

impl Side {
    /// Starts a cluster; with its version's own settings for what the tests need.
    pub(crate) fn start(version: &str, config: &Config) -> Side {
        let kafka = Distribution::resolve(version).unwrap();
        let cluster = Cluster::start(&kafka, config).unwrap();
        Side { bootstrap: cluster.bootstrap(), kafka, cluster: Mutex::new(cluster), helper: Mutex::default() }
    }

    /// A helper JVM of this side's version. Each test has its own: calls take their time.
    pub(crate) fn session(&self) -> Session {
        self.kafka.session().unwrap()
    }

    /// Does something short with the helper JVM that all tests of this cluster share: one costs a second of CPU.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Session) -> T) -> T {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        work(helper.get_or_insert_with(|| self.session()))
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    /// Two clusters of this test's own, so that it may do with them what it likes.
    pub(crate) fn start(source: (&str, &Config), destination: (&str, &Config)) -> Hold {
        Hold(Arc::new(Pair::both(source, destination)))
    }

    fn both(source: (&str, &Config), destination: (&str, &Config)) -> Pair {
        thread::scope(|scope| {
            let source = scope.spawn(|| Side::start(source.0, source.1));
            let destination = Side::start(destination.0, destination.1);
            Pair { source: source.join().unwrap(), destination }
        })
    }

    /// Two clusters of one broker each, the same ones for all tests that hold them now: use topics of your own.
    pub(crate) fn shared(source: &str, destination: &str) -> Hold {
        Pair::shared_of(1, source, destination)
    }

    /// The same of so many brokers each.
    pub(crate) fn shared_of(brokers: u16, source: &str, destination: &str) -> Hold {
        static PAIRS: Mutex<BTreeMap<String, Weak<Pair>>> = Mutex::new(BTreeMap::new());
        let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        let held = pairs.entry(format!("{brokers} {source} {destination}")).or_default();
        if let Some(pair) = held.upgrade() {
            return Hold(pair);
        }
        // The source compacts as soon as it can, the destination not at all: a copy is to be looked at first.
        let compacting = Config::brokers(brokers).with("log.cleaner.backoff.ms", "200");
        let keeping = Config::brokers(brokers).with("log.cleaner.backoff.ms", "3600000");
        // It refuses one value of one setting.
        let keeping = keeping.with("alter.config.policy.class.name", "realkafka.RefusePolicy");
        let pair = Arc::new(Pair::both((source, &compacting), (destination, &keeping)));
        *held = Arc::downgrade(&pair);
        Hold(pair)
    }
}

/// Asserts that a consumer sees the same records in the same order in each partition. Offsets may differ.
#[track_caller]
pub(crate) fn assert_same(source: &[PartitionDigest], destination: &[PartitionDigest]) {
    let content = |digests: &[PartitionDigest]| -> Vec<(u32, u64, String)> {
        digests.iter().map(|digest| (digest.partition, digest.records, digest.sha256.clone())).collect()
    };
    assert_eq!(
        content(source),
        content(destination),
        "partition, records, checksum: source left, destination right"
    );
}

/// How many records there are in all partitions.
pub(crate) fn count(digests: &[PartitionDigest]) -> u64 {
    digests.iter().map(|digest| digest.records).sum()
}
