//! What tests do to a cluster without being its client.

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, NoPartition, Profile};
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use record_batch::{BatchBuilder, Codec, Header};

use crate::client::{NOW_MS, batch, batch_of, single, stamp, topic};

#[tokio::test]
async fn a_batch_is_placed_at_the_end_under_the_present_epoch() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    assert_eq!(cluster.place("t", 0, batch(3)).unwrap(), 0);
    cluster.move_leader("t", 0, 0);
    assert_eq!(cluster.place("t", 0, batch_of(2, BatchBuilder::new(Codec::Zstd), NOW_MS)).unwrap(), 3);
    let header = Header::read(&cluster.log("t", 0).unwrap()[1]).unwrap();
    assert_eq!((header.base_offset.0, header.partition_leader_epoch.0), (3, 1));
    let records = cluster.records("t", 0).unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((records[4].timestamp, records[4].key.as_deref()), (NOW_MS + 1, Some(&b"key 1"[..])));
    assert_eq!(records[4].headers, [(b"h".to_vec(), None)]);
    assert_eq!(client.fetch(0).await.high_watermark, 5);
    assert!(cluster.place("t", 0, Bytes::from([batch(1), batch(1)].concat())).is_err());
}

#[tokio::test]
async fn who_waits_for_an_end_offset_is_woken_when_it_is_reached() {
    let cluster = Cluster::start(Config::default().in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.reached("t", 0, 6).await.unwrap() }
    });
    for _ in 0..3 {
        tokio::task::yield_now().await;
        cluster.place("t", 0, batch(2)).unwrap();
    }
    waiting.await.unwrap();
}

#[tokio::test]
async fn producers_are_forgotten_one_by_one_or_all() {
    let (cluster, _client) = single(Profile::V4_3).await;
    for producer_id in [1, 2, 3] {
        let builder = BatchBuilder::new(Codec::None).stamp(stamp(producer_id, 0, 40));
        cluster.place("t", 0, batch_of(5, builder, NOW_MS)).unwrap();
    }
    assert_eq!(cluster.last_sequence("t", 0, 2), Some(44));
    cluster.forget_producer("t", 0, 2);
    assert_eq!((cluster.last_sequence("t", 0, 2), cluster.last_sequence("t", 0, 3)), (None, Some(44)));
    cluster.forget_producers("t", 0);
    assert_eq!(cluster.last_sequence("t", 0, 3), None);
}

#[tokio::test]
async fn topics_are_changed_at_once() {
    let (cluster, _client) = single(Profile::V4_3).await;
    let id = cluster.topic_id("t");
    cluster.place("t", 0, batch(3)).unwrap();
    cluster.add_partitions("t", 4);
    cluster.recreate_topic("t");
    assert_eq!((cluster.partitions("t"), cluster.end_offset("t", 0).unwrap()), (4, 0));
    assert_ne!(cluster.topic_id("t"), id);
    cluster.delete_topic("t");
    assert!(cluster.topics().is_empty());
}

#[tokio::test]
async fn topic_ids_are_the_same_in_every_run() {
    let (one, _) = single(Profile::V4_3).await;
    let (two, _) = single(Profile::V4_3).await;
    assert_eq!(one.topic_id("t"), two.topic_id("t"));
    let config = Config { seed: 7, ..Config::default() };
    let three = Cluster::start(config).await.unwrap();
    three.create_topic("t", 1, &[]);
    assert_ne!(three.topic_id("t"), two.topic_id("t"));
}

#[tokio::test]
async fn a_topic_deleted_by_a_client_is_an_error_to_who_writes_or_reads_without_being_one() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.place("t", 0, batch(3)).unwrap();
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.reached("t", 0, 6).await }
    });
    tokio::task::yield_now().await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]).with_timeout_ms(1000);
    let response: DeleteTopicsResponse = client.call(ApiKey::DeleteTopics, 4, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
    let missing = NoPartition { topic: "t".to_owned(), partition: 0 };
    assert_eq!(waiting.await.unwrap(), Err(missing.clone()));
    assert_eq!(cluster.high_watermark("t", 0), Err(missing.clone()));
    assert_eq!(cluster.log_bytes("t", 0), Err(missing.clone()));
    assert_eq!(cluster.records("t", 0), Err(missing));
    for placed in [cluster.place("t", 0, batch(3)).map(|_| ()), cluster.append("t", 0, batch(3))] {
        assert_eq!(placed.unwrap_err().to_string(), "there is no partition t-0");
    }
}
