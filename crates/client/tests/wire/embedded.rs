//! Every call, and what goes wrong on the way, with clusters of four versions.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{
    Address, CallError, Cluster, ConfigSource, FetchOptions, FetchPartition, Fetcher, NewTopic, OffsetSpec,
    Opener, Options, ProduceBatch, Purpose, Stream, TopicConfigChange, Wanted,
};
use embedded_kafka::{ApiKey, Config, ErrorCode, Profile};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, TopicName, TopicPartition};
use record_batch::{BatchBuilder, Codec, Entry, ProducerStamp, records, split};
use tokio::time::Instant;

const PROFILES: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];
pub(crate) const NOW_MS: i64 = 1_790_000_000_000;
const HEADER_BYTES: usize = 61;

/// Opens connections to a cluster in memory.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) embedded_kafka::Cluster);

impl Opener for InMemory {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let opened = self.0.connect(address.port).map(|stream| {
            let (reader, writer) = tokio::io::split(stream);
            Stream::new(reader, writer)
        });
        Box::pin(async { opened })
    }
}

pub(crate) async fn kafka(brokers: usize, profile: Profile) -> embedded_kafka::Cluster {
    let config = Config { start_ms: Some(NOW_MS), ..Config::new(brokers, profile) };
    embedded_kafka::Cluster::start(config.in_memory()).await.unwrap()
}

pub(crate) fn with(options: Options, kafka: &embedded_kafka::Cluster) -> Cluster {
    Cluster::with_opener(options, Box::new(InMemory(kafka.clone())))
}

fn client(kafka: &embedded_kafka::Cluster) -> Cluster {
    with(Options::new("test", kafka.bootstrap()), kafka)
}

pub(crate) fn leader(kafka: &embedded_kafka::Cluster, partition: i32) -> BrokerId {
    BrokerId(kafka.leader("t", partition).unwrap())
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.into(), partitions, replication_factor: 1, configs: BTreeMap::new() }
}

/// Produces one record to a partition of `t`, as producer 7 whose first batch it is; the offset that it got.
pub(crate) async fn offer(
    client: &Cluster,
    kafka: &embedded_kafka::Cluster,
    partition: i32,
    value: &[u8],
) -> i64 {
    let stamp = ProducerStamp { producer_id: ProducerId(7), producer_epoch: 0, base_sequence: 0 };
    let mut builder = BatchBuilder::new(Codec::None).stamp(stamp);
    builder.append(NOW_MS, None, Some(value), &[]);
    let mut batch = builder.build();
    let header = batch.split_to(HEADER_BYTES);
    let batch = ProduceBatch {
        partition: TopicPartition::new("t", partition),
        header: header[..].try_into().unwrap(),
        payload: batch,
    };
    let connection = client.connect(leader(kafka, partition)).await.unwrap();
    let reply = connection.produce(vec![batch], Duration::from_secs(20)).await.unwrap();
    assert_eq!(reply.partitions[0].error, ErrorCode::NONE);
    reply.partitions[0].base_offset.unwrap().0
}

/// The values in a partition of `t`, by one fetch.
pub(crate) async fn read(client: &Cluster, kafka: &embedded_kafka::Cluster, partition: i32) -> Vec<Bytes> {
    let wait_max = Duration::from_secs(1);
    let options = FetchOptions { wait_max, bytes_min: 1, committed_only: true, rack: None };
    let mut fetcher = Fetcher::new(client.connect(leader(kafka, partition)).await.unwrap(), options);
    let wanted = FetchPartition {
        partition: TopicPartition::new("t", partition),
        topic_id: kafka.topic_id("t"),
        offset: Offset(0),
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
        bytes_max: 8 << 20,
    };
    let reply = fetcher.fetch(&[wanted], 8 << 20, wait_max).await.unwrap();
    let mut values = Vec::new();
    for entry in split(reply.partitions[0].records.clone()) {
        let entry: Entry = entry.unwrap();
        for record in &records(&entry, 8 << 20).unwrap() {
            values.push(Bytes::copy_from_slice(record.unwrap().value.unwrap()));
        }
    }
    values
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_changed_and_told_by_each_version() {
    for profile in PROFILES {
        let kafka = kafka(3, profile).await;
        let client = client(&kafka);
        let mut topic = new_topic("t", 2);
        topic.configs = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let judged = client.create_topics(&[topic.clone()], Purpose::ValidateOnly).await.unwrap();
        assert_eq!((judged, kafka.topics()), (vec![("t".into(), Ok(()))], Vec::new()), "{profile:?}");
        assert_eq!(
            client.create_topics(&[topic.clone()], Purpose::Change).await.unwrap(),
            [("t".into(), Ok(()))]
        );
        let again = client.create_topics(&[topic], Purpose::Change).await.unwrap();
        assert_eq!(again[0].1.as_ref().unwrap_err().error, ErrorCode::TOPIC_ALREADY_EXISTS, "{profile:?}");
        let judged = client.create_partitions(&[("t".into(), 1)], Purpose::ValidateOnly).await.unwrap();
        assert_eq!(judged[0].1.as_ref().unwrap_err().error, ErrorCode::INVALID_PARTITIONS, "{profile:?}");
        let judged = client.create_partitions(&[("t".into(), 3)], Purpose::ValidateOnly).await.unwrap();
        assert_eq!((judged[0].1.clone(), kafka.partitions("t")), (Ok(()), 2), "{profile:?}");
        assert_eq!(
            client.create_partitions(&[("t".into(), 3)], Purpose::Change).await.unwrap(),
            [("t".into(), Ok(()))]
        );
        let change = TopicConfigChange {
            topic: "t".into(),
            set: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
            unset: vec!["retention.ms".to_owned()],
        };
        let judged =
            client.alter_topic_configs(std::slice::from_ref(&change), Purpose::ValidateOnly).await.unwrap();
        assert_eq!(judged, [("t".into(), Ok(()))], "{profile:?}");
        assert!(kafka.topic_configs("t").contains_key("retention.ms"), "{profile:?}");
        assert_eq!(
            client.alter_topic_configs(&[change], Purpose::Change).await.unwrap(),
            [("t".into(), Ok(()))]
        );

        let told = client.describe_topic_configs(&["t".into()]).await.unwrap().remove(0).1.unwrap();
        let own = told.iter().filter(|entry| entry.source == ConfigSource::Topic);
        let own: Vec<_> = own.map(|entry| (entry.name.as_str(), entry.value.as_deref())).collect();
        assert_eq!(own, [("cleanup.policy", Some("compact"))], "{profile:?}");
        assert!(!client.describe_broker_configs(BrokerId(2)).await.unwrap().is_empty());

        let names = ["t", "missing"].map(TopicName::from);
        let metadata = client.metadata(Wanted::Topics(&names)).await.unwrap();
        assert_eq!(metadata.brokers.len(), 3);
        let told = |name: &str| metadata.topics.iter().find(|topic| topic.name.as_str() == name).unwrap();
        let leaders: Vec<_> = told("t").partitions.iter().map(|partition| partition.leader).collect();
        let expected: Vec<_> = (0..3).map(|partition| Some(leader(&kafka, partition))).collect();
        assert_eq!(leaders, expected);
        assert_eq!(told("t").id.is_some(), profile >= Profile::V2_8, "{profile:?}");
        assert_eq!(told("missing").error, Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
}

#[tokio::test(start_paused = true)]
async fn records_offsets_and_producers_are_told_by_each_version() {
    for profile in PROFILES {
        let kafka = kafka(2, profile).await;
        kafka.create_topic("t", 1, &[]);
        let client = client(&kafka);
        assert_eq!(offer(&client, &kafka, 0, b"value").await, 0);
        assert_eq!(read(&client, &kafka, 0).await, [&b"value"[..]], "{profile:?}");

        let (leader, zero) = (leader(&kafka, 0), TopicPartition::new("t", 0));
        let asked = [zero.clone()];
        for (at, offset) in [(OffsetSpec::Earliest, 0), (OffsetSpec::Latest, 1)] {
            let listed = client.list_offsets(leader, &asked, at, true).await.unwrap();
            assert_eq!(listed, [(zero.clone(), Ok(Offset(offset)))], "{profile:?}");
        }
        let end = client.end_offsets_for_epochs(leader, &[(zero.clone(), LeaderEpoch(0))]).await;
        let producers = client.describe_producers(leader, &asked).await;
        if profile == Profile::V1_1 {
            assert!(matches!(end, Err(CallError::Unsupported { .. })), "{end:?}");
            assert!(matches!(producers, Err(CallError::Unsupported { .. })), "{producers:?}");
        } else {
            assert_eq!(end.unwrap(), [(zero.clone(), Ok(Some((LeaderEpoch(0), Offset(1)))))]);
            let producers = producers.unwrap().remove(0).1.unwrap();
            assert_eq!((producers[0].producer_id, producers[0].last_sequence), (ProducerId(7), 0));
        }
        assert_ne!(client.init_producer_id().await.unwrap().0, client.init_producer_id().await.unwrap().0);

        assert_eq!(client.committed_offsets("g", &asked).await.unwrap(), [(zero.clone(), Ok(None))]);
        let committed = client.commit_offsets("g", &[(zero.clone(), Offset(1))]).await.unwrap();
        assert_eq!(committed, [(zero.clone(), Ok(()))], "{profile:?}");
        assert_eq!(client.committed_offsets("g", &asked).await.unwrap(), [(zero, Ok(Some(Offset(1))))]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bootstrap_list_is_tried_in_turn() {
    let kafka = kafka(2, Profile::V4_3).await;
    kafka.broker(0).stop().await;
    let client = client(&kafka);
    let metadata = client.metadata(Wanted::None).await.unwrap();
    assert_eq!((metadata.controller, metadata.brokers.len()), (Some(BrokerId(1)), 1));
    client.connect(BrokerId(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_that_has_died_is_made_again() {
    let kafka = kafka(1, Profile::V4_3).await;
    let client = client(&kafka);
    let dropped = kafka.on(ApiKey::InitProducerId).drop_reply();
    client.init_producer_id().await.unwrap();
    assert_eq!((dropped.hits(), kafka.requests(ApiKey::InitProducerId)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_not_be_made_twice_is_not_made_again_once_it_may_have_been_seen() {
    let kafka = kafka(1, Profile::V4_3).await;
    kafka.on(ApiKey::CreateTopics).drop_reply();
    let error = client(&kafka).create_topics(&[new_topic("t", 1)], Purpose::Change).await.unwrap_err();
    assert!(error.maybe_written(), "{error}");
    assert_eq!(kafka.requests(ApiKey::CreateTopics), 1);
    assert_eq!(kafka.partitions("t"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_block_that_is_being_allocated_is_waited_for() {
    let kafka = kafka(1, Profile::V4_3).await;
    kafka.on(ApiKey::InitProducerId).times(2).fail(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    client(&kafka).init_producer_id().await.unwrap();
    assert_eq!(kafka.requests(ApiKey::InitProducerId), 3);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_does_not_keep_anybody_from_the_others() {
    let kafka = kafka(2, Profile::V4_3).await;
    kafka.on(ApiKey::Metadata).broker(0).always().hang();
    let mut options = Options::new("test", kafka.bootstrap()[1..].to_vec());
    options.connect_timeout = Duration::from_millis(200);
    let (client, began) = (with(options, &kafka), Instant::now());
    for _ in 0..4 {
        assert_eq!(client.metadata(Wanted::None).await.unwrap().brokers.len(), 2);
    }
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}: it is tried once", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_connection_share_its_failure() {
    let kafka = kafka(1, Profile::V4_3).await;
    kafka.on(ApiKey::ApiVersions).always().hang();
    let mut options = Options::new("test", kafka.bootstrap());
    options.connect_timeout = Duration::from_millis(300);
    let (client, began) = (with(options, &kafka), Instant::now());
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.metadata(Wanted::None).await.unwrap_err() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::from_millis(300), "one after another it would be ten times that");
}
