//! A thousand lanes after a crash: how soon they copy again, and how many requests that takes.

// Clusters and files are waited for against the clock; the figures are for people.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

mod prepared;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use embedded_kafka::{ApiKey, Cluster, Config, Profile};
use model::{Offset, TopicPartition};
use offsets::StoredLane;
use pipeline::OffsetStore;
use record_batch::{BatchBuilder, Codec};
use tokio::sync::{oneshot, watch};
use worker::stores::offset::OffsetFile;
use worker::{Prepared, WorkerStatus};

const TOPICS: i32 = 10;
const PARTITIONS: i32 = 100;
const BROKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);
/// The goal is for the program as it is shipped; a debug build beside other tests takes longer.
const OPENING_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });

/// Everything that a worker asks while it opens lanes and copies what is there.
const ASKED: [ApiKey; 16] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::ListOffsets,
    ApiKey::DescribeProducers,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::InitProducerId,
    ApiKey::Fetch,
    ApiKey::Produce,
    ApiKey::DescribeConfigs,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::CreateTopics,
    ApiKey::CreatePartitions,
    ApiKey::FindCoordinator,
    ApiKey::OffsetFetch,
    ApiKey::OffsetCommit,
    ApiKey::DescribeCluster,
];

fn names() -> impl Iterator<Item = (String, i32)> {
    (0..TOPICS).flat_map(|topic| (0..PARTITIONS).map(move |partition| (format!("many-{topic}"), partition)))
}

fn append(cluster: &Cluster, records: usize) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for (topic, partition) in names() {
        let mut batch = BatchBuilder::new(Codec::None)
            .base_offset(Offset(cluster.end_offset(&topic, partition).unwrap()));
        for _ in 0..records {
            batch.append(i64::try_from(now_ms).unwrap(), None, Some(&[7; 100]), &[]);
        }
        cluster.append(&topic, partition, batch.build()).unwrap();
    }
}

fn copied(destination: &Cluster, records: i64) -> bool {
    destination.topics().len() >= usize::try_from(TOPICS).unwrap()
        && names().all(|(topic, partition)| destination.end_offset(&topic, partition).unwrap() >= records)
}

fn prepared(source: &Cluster, destination: &Cluster, offsets: &Path) -> Prepared {
    prepared::prepared(source, destination, offsets, "many", "topic.regex=many-.*\n")
}

/// A runtime on a thread of its own, until it is crashed.
struct Process {
    crash: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Process {
    fn run<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> Process {
        let (crash, crashed) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = work() => {}
                    _ = crashed => {}
                }
            });
        });
        Process { crash, thread }
    }

    fn of_worker(prepared: Prepared) -> Process {
        Process::run(move || async move {
            let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
            let ended = worker::run(prepared, false, std::future::pending(), status).await;
            panic!("nobody told it to end: {ended:?}");
        })
    }

    /// Ends it as kill -9 does: whatever it was doing is dropped where it stands.
    fn crash(self) {
        drop(self.crash);
        self.thread.join().unwrap();
    }
}

/// Two clusters, served by a thread that outlives the workers.
fn clusters() -> (Cluster, Cluster, Process) {
    let (sender, started) = std::sync::mpsc::channel();
    let process = Process::run(move || async move {
        for name in ["east", "west"] {
            let config = Config { cluster_id: name.to_owned(), ..Config::new(BROKERS, Profile::V4_3) };
            sender.send(Cluster::start(config).await.unwrap()).unwrap();
        }
        std::future::pending::<()>().await;
    });
    (started.recv().unwrap(), started.recv().unwrap(), process)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// The first lane whose progress is not stored as far as that.
fn behind(offsets: &Path, records: i64) -> Option<TopicPartition> {
    // The file itself is the worker's, and locked.
    let seen = offsets.with_extension("seen");
    if std::fs::copy(offsets, &seen).is_err() {
        return Some(TopicPartition::new("many-0", 0)); // not there yet
    }
    let file = OffsetFile::open(&seen).unwrap();
    let stored = file.store("many").load().unwrap_or_default();
    let reached = |partition: &TopicPartition| match stored.lanes.get(partition) {
        Some(StoredLane::Ours(checkpoint)) => checkpoint.next_source >= Offset(records),
        _ => false,
    };
    names().map(|(topic, partition)| TopicPartition::new(topic, partition)).find(|lane| !reached(lane))
}

fn requests(cluster: &Cluster) -> BTreeMap<String, u64> {
    ASKED.iter().map(|api| (format!("{api:?}"), cluster.requests(*api))).collect()
}

fn since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(api, count)| (api.clone(), count - before[api]))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn a_thousand_lanes_open_after_a_crash_in_few_requests() {
    let (source, destination, _serving) = clusters();
    for topic in 0..TOPICS {
        source.create_topic(&format!("many-{topic}"), PARTITIONS, &[]);
    }
    append(&source, 20);
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("connect.offsets");

    let first = Process::of_worker(prepared(&source, &destination, &offsets));
    wait_until("the first copy", || copied(&destination, 20));
    wait_until("its progress to be stored", || behind(&offsets, 20).is_none());
    first.crash();
    append(&source, 30);

    let before = (requests(&source), requests(&destination));
    let began = Instant::now();
    let second = Process::of_worker(prepared(&source, &destination, &offsets));
    wait_until("the added records", || copied(&destination, 50));
    let took = began.elapsed();
    let asked = (since(&before.0, &requests(&source)), since(&before.1, &requests(&destination)));
    second.crash();
    for (topic, partition) in names() {
        assert_eq!(destination.end_offset(&topic, partition).unwrap(), 50, "{topic}-{partition}");
    }

    println!("{} lanes copy again {:.2} s after the start", TOPICS * PARTITIONS, took.as_secs_f64());
    println!("asked of the source: {:?}\nasked of the destination: {:?}", asked.0, asked.1);
    assert!(took < OPENING_MAX, "{took:?}");
    let count = |of: &BTreeMap<String, u64>, api: &str| of.get(api).copied().unwrap_or(0);
    let brokers = BROKERS as u64;
    // Each broker is asked once for the start and once for the end of all its lanes, and once more where leaders were
    // not yet known when some lanes wanted to.
    assert!(count(&asked.0, "ListOffsets") <= 4 * brokers, "{asked:?}");
    assert!(count(&asked.1, "ListOffsets") <= 4 * brokers, "{asked:?}");
    assert!(count(&asked.1, "DescribeProducers") <= 2 * brokers, "{asked:?}");
    assert!(count(&asked.0, "Fetch") <= 40, "{asked:?}");
    assert!(count(&asked.1, "Produce") <= 60, "{asked:?}");
    let all = asked.0.values().sum::<u64>() + asked.1.values().sum::<u64>();
    assert!(all <= 200, "{all} requests: {asked:?}");
}
