//! A worker from its property files on, between two clusters in this process.

// Clusters and files are waited for against the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod acls;
mod changes;
#[path = "../changes/mod.rs"]
mod changing;
mod life;
mod plan;
#[path = "../prepared/mod.rs"]
mod prepared;
mod progress;
mod rights;
mod spread;
mod tokens;
mod topic;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use model::{Offset, TopicPartition};
use offsets::StoredLane;
use pipeline::OffsetStore;
use record_batch::{Batch, BatchBuilder, Codec, Entry, records};
use tokio::sync::{oneshot, watch};
use worker::stores::offset::OffsetFile;
use worker::{Outcome, RunError, WorkerStatus};

const PATIENCE: Duration = Duration::from_secs(60);
/// Young, or the destination may forget the sequence and lanes wait for what may still be under way.
static NOW_MS: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
});

struct Desk {
    folder: tempfile::TempDir,
    source: Cluster,
    destination: Cluster,
    /// Lines of the connector's file, beside those that every one has.
    connector: String,
    /// Lines of the worker's file that say where progress is kept, if that is not the offsets file.
    storage: Option<String>,
}

impl Desk {
    async fn new(source: Profile, destination: Profile) -> Desk {
        let start = |profile, name: &str| {
            Cluster::start(Config { cluster_id: name.to_owned(), ..Config::new(1, profile) })
        };
        Desk {
            folder: tempfile::tempdir().unwrap(),
            source: start(source, "east").await.unwrap(),
            destination: start(destination, "west").await.unwrap(),
            connector: "topic.whitelist=test-topic\ntopic.rename.format=${topic}.replica\n".into(),
            storage: None,
        }
    }

    fn offsets(&self) -> PathBuf {
        self.folder.path().join("connect.offsets")
    }

    fn prepared(&self) -> worker::Prepared {
        let lines = format!("topic.poll.interval.ms=200\n{}", self.connector);
        let (source, destination, name) = (&self.source, &self.destination, "replicator-source");
        match &self.storage {
            Some(storage) => prepared::prepared_with(source, destination, storage, name, &lines),
            None => prepared::prepared(source, destination, &self.offsets(), name, &lines),
        }
    }

    /// Copies what is there, then stops.
    async fn catch_up(&self) -> Result<Outcome, RunError> {
        let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
        let run = worker::run(self.prepared(), true, std::future::pending(), status);
        tokio::time::timeout(PATIENCE, run).await.expect("the worker ends by itself")
    }

    /// Runs while `watched` is under way, which sees the worker's status, then stops cleanly.
    async fn run_while(&self, watched: impl AsyncFnOnce(&watch::Receiver<Arc<WorkerStatus>>)) {
        let (stop, stopped) = oneshot::channel::<()>();
        let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
        let run = worker::run(self.prepared(), false, async { drop(stopped.await) }, sender);
        let watched = async {
            watched(&status).await;
            drop(stop);
        };
        let (outcome, ()) = tokio::join!(run, watched);
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
    }

    /// Runs until `is_enough` says so, then stops cleanly.
    async fn run_until(&self, is_enough: impl Fn(&WorkerStatus) -> bool) {
        self.run_while(async |status| wait_until(|| is_enough(&status.borrow())).await).await;
    }

    fn fill(&self, topic: &str, partition: i32, numbers: std::ops::Range<usize>) {
        fill(&self.source, topic, partition, numbers);
    }

    fn copied(&self, topic: &str, partition: i32) -> Vec<usize> {
        numbers(&self.destination, topic, partition)
    }

    /// What the offsets file remembers of a source partition.
    fn remembered(&self, topic: &str, partition: i32) -> Option<StoredLane> {
        let mut store = OffsetFile::open(&self.offsets()).unwrap().store("replicator-source");
        store.load().unwrap().lanes.remove(&TopicPartition::new(topic, partition))
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it has not come to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Appends the numbers, ten to a batch.
fn fill(cluster: &Cluster, topic: &str, partition: i32, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(10) {
        let base = Offset(cluster.end_offset(topic, partition).unwrap());
        let mut batch = BatchBuilder::new(Codec::Lz4).base_offset(base);
        for number in chunk {
            batch.append(*NOW_MS, None, Some(number.to_string().as_bytes()), &[]);
        }
        cluster.append(topic, partition, batch.build()).unwrap();
    }
}

fn numbers(cluster: &Cluster, topic: &str, partition: i32) -> Vec<usize> {
    if !cluster.topics().iter().any(|name| name.as_str() == topic) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for bytes in cluster.log(topic, partition).unwrap() {
        let entry = Entry::Batch(Batch::read(bytes).unwrap());
        for record in &records(&entry, 1 << 20).unwrap() {
            found.push(std::str::from_utf8(record.unwrap().value.unwrap()).unwrap().parse().unwrap());
        }
    }
    found
}

fn up_to(end: usize) -> Vec<usize> {
    (0..end).collect()
}

fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[tokio::test]
async fn the_quick_start_copies_its_numbers_in_order() {
    for (source, destination) in [(Profile::V4_3, Profile::V4_3), (Profile::V1_1, Profile::V3_9)] {
        let desk = Desk::new(source, destination).await;
        desk.source.create_topic("test-topic", 2, &[]);
        desk.fill("test-topic", 0, 0..1000);
        desk.fill("test-topic", 1, 0..7);
        assert_eq!(desk.catch_up().await.unwrap(), Outcome::CaughtUp);
        assert_eq!(desk.destination.partitions("test-topic.replica"), 2);
        assert_eq!(desk.copied("test-topic.replica", 0), up_to(1000));
        assert_eq!(desk.copied("test-topic.replica", 1), up_to(7));
        let Some(StoredLane::Ours(checkpoint)) = desk.remembered("test-topic", 0) else { panic!("nothing") };
        assert_eq!((checkpoint.next_source, checkpoint.destination_end), (Offset(1000), Offset(1000)));

        // Again with nothing to do, then with something.
        desk.catch_up().await.unwrap();
        assert_eq!(desk.copied("test-topic.replica", 0), up_to(1000));
        desk.fill("test-topic", 0, 1000..1500);
        desk.catch_up().await.unwrap();
        assert_eq!(desk.copied("test-topic.replica", 0), up_to(1500));
    }
}

#[tokio::test]
async fn a_topic_created_after_the_start_is_copied_too() {
    let desk = Desk::new(Profile::V2_8, Profile::V4_3).await;
    let started = desk.run_until(|status| {
        if status.flows.iter().any(|flow| flow.is_settled) && desk.source.topics().is_empty() {
            let [missing] = &status.flows[0].not_copied[..] else { panic!("{status:?}") };
            assert!(missing.starts_with("topic `test-topic`: "), "{missing}");
            desk.source.create_topic("test-topic", 1, &[]);
            desk.fill("test-topic", 0, 0..100);
        }
        status.flows.iter().flat_map(|flow| &flow.topics).any(|topic| {
            assert_eq!(
                (topic.source.as_str(), topic.destination.as_str()),
                ("test-topic", "test-topic.replica")
            );
            topic.records == 100 && topic.lag_records == Some(0)
        })
    });
    started.await;
    assert_eq!(desk.copied("test-topic.replica", 0), up_to(100));
}

#[tokio::test]
async fn a_stop_in_the_middle_drains_and_the_next_start_goes_on() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..5000);
    for end in [1, 1000, 2500] {
        desk.run_until(|_| desk.copied("test-topic.replica", 0).len() >= end).await;
        let Some(StoredLane::Ours(checkpoint)) = desk.remembered("test-topic", 0) else { panic!("nothing") };
        let there = desk.copied("test-topic.replica", 0).len();
        assert_eq!(checkpoint.next_source, Offset(i64::try_from(there).unwrap()));
    }
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied("test-topic.replica", 0), up_to(5000));
}

#[tokio::test]
async fn a_lost_offsets_file_stops_the_copy_rather_than_doubling_it() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk.connector.push_str("offset.topic.commit=false\n");
    desk.catch_up().await.unwrap();
    std::fs::remove_file(desk.offsets()).unwrap();
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{error:?}") };
    assert!(reasons[0].starts_with("test-topic-0: "), "{reasons:?}");
    assert_eq!(desk.copied("test-topic.replica", 0), up_to(50));
}

#[tokio::test]
async fn connects_own_progress_is_taken_over() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    let mut store = OffsetFile::open(&desk.offsets()).unwrap().store("replicator-source");
    let lanes =
        [(TopicPartition::new("test-topic", 0), StoredLane::Foreign { last_copied: Offset(19) })].into();
    store.save(&offsets::Stored { lanes, ..offsets::Stored::default() }).unwrap();
    drop(store);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied("test-topic.replica", 0), (20..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_copied_is_told_and_the_rest_is_copied() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.whitelist=present,missing,refused\n".into();
    for topic in ["present", "refused"] {
        desk.source.create_topic(topic, 1, &[]);
        desk.fill(topic, 0, 0..30);
    }
    desk.destination.on(ApiKey::CreateTopics).topic("refused").always().fail(ErrorCode::POLICY_VIOLATION);
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{error:?}") };
    assert!(!error.is_at_start());
    let told = |text: &[&str]| reasons.iter().any(|reason| text.iter().all(|text| reason.contains(text)));
    assert!(told(&["topic `missing`", "not at the source"]), "{reasons:?}");
    assert!(told(&["topic `refused`", "POLICY_VIOLATION"]), "{reasons:?}");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(desk.copied("present", 0), up_to(30));
}

#[tokio::test]
async fn a_source_that_goes_away_is_waited_for() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk.run_while(async |status| {
        let told = || {
            let status = status.borrow();
            let flow = status.flows.first()?;
            let topic = flow.topics.first()?;
            Some((flow.trouble.clone(), topic.trouble.clone(), topic.stopped_partitions))
        };
        let nothing = Some((None, None, 0));
        let says = |trouble: Option<String>, words: [&str; 2]| {
            trouble.is_some_and(|trouble| words.iter().all(|word| trouble.contains(word)))
        };
        let address = desk.source.bootstrap_servers();
        wait_until(|| desk.copied("test-topic.replica", 0).len() == 50).await;
        wait_until(|| told() == nothing).await;
        desk.source.broker(0).stop().await;
        let began = Instant::now();
        wait_until(|| {
            let (flow, topic, stopped) = told().unwrap();
            says(flow, ["source", &address])
                && says(topic, ["no connection to the source", &address])
                && stopped == 1
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(20), "told after {:?}", began.elapsed());
        desk.source.broker(0).start().await.unwrap();
        // With nothing to copy, too.
        wait_until(|| told() == nothing).await;
        desk.fill("test-topic", 0, 50..100);
        wait_until(|| desk.copied("test-topic.replica", 0).len() == 100).await;
    })
    .await;
    assert_eq!(desk.copied("test-topic.replica", 0), up_to(100));
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_told_long_before_it_is_given_up() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk.run_while(async |status| {
        let trouble = || {
            let status = status.borrow();
            let topic = status.flows.first().and_then(|flow| flow.topics.first());
            topic.and_then(|topic| topic.trouble.clone()).unwrap_or_default()
        };
        wait_until(|| desk.copied("test-topic.replica", 0).len() == 50).await;
        for (cluster, api, side) in
            [(&desk.source, ApiKey::Fetch, "source"), (&desk.destination, ApiKey::Produce, "destination")]
        {
            let held = cluster.on(api).always().hold();
            let copied = desk.copied("test-topic.replica", 0).len();
            desk.fill("test-topic", 0, copied..copied + 10);
            let began = Instant::now();
            wait_until(|| trouble().starts_with(&format!("no answer from {side} broker 0 for "))).await;
            assert!(began.elapsed() < Duration::from_secs(20), "told after {:?}", began.elapsed());
            held.release();
            wait_until(|| desk.copied("test-topic.replica", 0).len() == copied + 10).await;
            wait_until(|| trouble().is_empty()).await;
        }
    })
    .await;
    assert_eq!(desk.copied("test-topic.replica", 0), up_to(70));
}

#[tokio::test]
async fn progress_that_cannot_be_stored_is_told_and_copying_begins_once_it_can() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.whitelist=test-topic,later\ntopic.rename.format=${topic}.replica\n".into();
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    // Where each new version of the file is written.
    let in_the_way = desk.folder.path().join("connect.offsets.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    desk.run_while(async |status| {
        let told = "progress cannot be stored: cannot write offsets file";
        let says = |trouble: Option<&String>| trouble.is_some_and(|trouble| trouble.starts_with(told));
        let flow_says = || says(status.borrow().flows.first().and_then(|flow| flow.trouble.as_ref()));
        let stopped_topics = || {
            let status = status.borrow();
            let topics = status.flows.iter().flat_map(|flow| &flow.topics);
            topics
                .filter(|topic| says(topic.trouble.as_ref()))
                .map(|topic| topic.source.to_string())
                .collect::<Vec<_>>()
        };
        let begins = |topic: &'static str, records| {
            let topic = format!("{topic}.replica");
            std::fs::remove_dir(&in_the_way).unwrap();
            let began = Instant::now();
            let desk = &desk;
            let (flow_says, stopped_topics) = (&flow_says, &stopped_topics);
            async move {
                wait_until(|| desk.copied(&topic, 0).len() == records).await;
                assert!(
                    began.elapsed() < Duration::from_secs(20),
                    "only {:?} after it could",
                    began.elapsed()
                );
                wait_until(|| !flow_says() && stopped_topics().is_empty()).await;
            }
        };
        // The producer id is what is stored first, and everything waits for that.
        wait_until(flow_says).await;
        assert_eq!(desk.copied("test-topic.replica", 0), up_to(0));
        begins("test-topic", 50).await;

        // A topic that comes later waits alone.
        std::fs::create_dir(&in_the_way).unwrap();
        desk.source.create_topic("later", 1, &[]);
        desk.fill("later", 0, 0..20);
        desk.fill("test-topic", 0, 50..100);
        wait_until(|| flow_says() && stopped_topics() == ["later"]).await;
        wait_until(|| desk.copied("test-topic.replica", 0).len() == 100).await;
        assert_eq!(desk.copied("later.replica", 0), up_to(0));
        begins("later", 20).await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_is_not_copied_to_itself_whatever_its_address() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..10);
    // By another name, so that only the cluster itself can tell.
    let address = desk.source.bootstrap_servers().replace("127.0.0.1", "localhost");
    let itself = format!("dest.kafka.bootstrap.servers={address}\n");
    desk.connector = format!("topic.whitelist=test-topic\n{itself}");
    let error = desk.catch_up().await.unwrap_err();
    assert!(matches!(error, RunError::Itself { .. }) && error.is_at_start(), "{error:?}");
    assert_eq!(numbers(&desk.source, "test-topic", 0), up_to(10));

    // Under another name it may be.
    desk.connector = format!("topic.whitelist=test-topic\ntopic.rename.format=${{topic}}.replica\n{itself}");
    desk.catch_up().await.unwrap();
    assert_eq!(numbers(&desk.source, "test-topic.replica", 0), up_to(10));
}

#[tokio::test]
async fn nothing_is_started_when_a_cluster_is_out_of_reach() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.broker(0).stop().await;
    let error = desk.catch_up().await.unwrap_err();
    assert!(error.is_at_start(), "{error:?}");
    let message = worker::chain(&error);
    let address = desk.source.bootstrap_servers();
    let expected = format!("cannot reach the source cluster of connector `replicator-source` at {address}: ");
    assert!(message.starts_with(&expected) && message.contains("refused"), "{message}");
    assert!(error.hint().unwrap().contains("src.kafka.bootstrap.servers"));
    assert!(!exists(&desk.offsets()) && desk.destination.topics().is_empty());
}
