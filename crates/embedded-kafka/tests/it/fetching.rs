use std::time::Duration;

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use model::{Offset, ProducerId};
use protocol::messages::fetch_response::FetchResponse;
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;
use record_batch::{BatchBuilder, Codec, MessageSetBuilder, ProducerStamp};

use crate::client::{
    Client, NOW_MS, batch, batch_at, batch_of, cluster, fetch_request, produce_request, single, topic,
};

#[tokio::test]
async fn what_was_produced_comes_back_in_every_version() {
    for version in 4..=12 {
        let (cluster, client) = single(Profile::V4_3).await;
        let mut client = client.fetch_version(version);
        client.offer(batch(10)).await;
        client.offer(batch(5)).await;
        let fetched = client.fetch(3).await;
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, 15));
        // From the batch that holds the offset.
        assert_eq!(fetched.records.unwrap(), Bytes::from(cluster.log("t", 0).unwrap().concat()));
    }
}

#[tokio::test]
async fn topics_may_be_asked_for_by_id() {
    for version in [13, 15, 17] {
        let (cluster, client) = single(Profile::V4_3).await;
        let mut client = client.fetch_version(version);
        client.offer(batch(10)).await;
        let mut request = fetch_request(0);
        request.topics[0].topic = topic("");
        let id = cluster.topic_id("t").unwrap().to_string();
        request.topics[0].topic_id = id.parse().unwrap();
        let response = client.fetch_with(&request).await;
        assert_eq!(response.responses[0].topic_id.into_bytes(), cluster.topic_id("t").unwrap().0);
        assert_eq!(response.responses[0].partitions[0].high_watermark, 10);
        cluster.recreate_topic("t");
        let response = client.fetch_with(&request).await;
        assert_eq!(ErrorCode(response.responses[0].partitions[0].error_code), ErrorCode::UNKNOWN_TOPIC_ID);
    }
}

#[tokio::test]
async fn offsets_outside_the_log_are_out_of_range_and_its_end_is_empty() {
    let (cluster, mut client) = single(Profile::V2_8).await;
    client.offer(batch(10)).await;
    cluster.delete_records("t", 0, 4);
    for (offset, expected, is_empty) in [
        (3, ErrorCode::OFFSET_OUT_OF_RANGE, true),
        (4, ErrorCode::NONE, false),
        (10, ErrorCode::NONE, true),
        (11, ErrorCode::OFFSET_OUT_OF_RANGE, true),
    ] {
        let fetched = client.fetch(offset).await;
        assert_eq!(ErrorCode(fetched.error_code), expected, "offset {offset}");
        assert_eq!(fetched.records.unwrap().is_empty(), is_empty);
    }
    assert_eq!(client.offset_at(-2).await, (ErrorCode::NONE, 4));
}

#[tokio::test]
async fn a_reply_is_cut_at_the_byte_limit_but_its_first_batch_comes_whole() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("u", 1, &[]);
    client.offer(batch(10)).await;
    client.offer(batch(10)).await;
    client.produce_all(&produce_request(None, &[("u", 0, batch(10))])).await;
    let whole = batch(10).len();
    for (limit, expected) in [(whole + 20, whole + 20), (10, whole), (0, whole), (10 * whole, 2 * whole)] {
        let mut request = fetch_request(0);
        request.topics[0].partitions[0].partition_max_bytes = i32::try_from(limit).unwrap();
        let response = client.fetch_with(&request).await;
        assert_eq!(response.responses[0].partitions[0].records.as_ref().unwrap().len(), expected);
    }
    // The second partition gets nothing: its batch does not fit into what the first has left.
    let mut request = fetch_request(0).with_max_bytes(i32::try_from(2 * whole + 5).unwrap());
    let mut other = request.topics[0].clone();
    other.topic = topic("u");
    request.topics.push(other);
    let response = client.fetch_with(&request).await;
    assert_eq!(response.responses[1].partitions[0].records.as_ref().unwrap().len(), 0);
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_is_woken_by_them() {
    let (cluster, mut waiting) = single(Profile::V4_3).await;
    let request = fetch_request(0).with_max_wait_ms(60_000);
    waiting.send(ApiKey::Fetch, 12, &request).await;
    let mut producing = Client::connect(&cluster, 0).await;
    producing.offer(batch(3)).await;
    let response: FetchResponse = waiting.receive(ApiKey::Fetch, 12).await.unwrap();
    assert_eq!(response.responses[0].partitions[0].high_watermark, 3);
}

#[tokio::test]
async fn a_fetch_that_waits_in_vain_is_answered_empty() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let request = fetch_request(0).with_max_wait_ms(20);
    let response = client.fetch_with(&request).await;
    assert!(response.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    let request = fetch_request(99).with_max_wait_ms(60_000);
    let response = client.fetch_with(&request).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 1);
}

#[tokio::test]
async fn a_session_tells_what_is_new_and_keeps_what_it_was_told() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("u", 1, &[]);
    let mut request = fetch_request(0).with_session_epoch(0);
    let mut other = request.topics[0].clone();
    other.topic = topic("u");
    request.topics.push(other);
    let response = client.fetch_with(&request).await;
    let session = response.session_id;
    assert_ne!(session, 0);
    assert_eq!(response.responses.len(), 2);

    let follow =
        |epoch| fetch_request(0).with_topics(Vec::new()).with_session_id(session).with_session_epoch(epoch);
    let response = client.fetch_with(&follow(1)).await;
    assert_eq!(response.responses.len(), 0);
    client.produce_all(&produce_request(None, &[("u", 0, batch(2))])).await;
    let response = client.fetch_with(&follow(2)).await;
    assert_eq!(response.responses.len(), 1);
    assert_eq!(response.responses[0].topic.0.as_str(), "u");
    let response = client.fetch_with(&follow(2)).await;
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let response = client.fetch_with(&follow(3).with_session_id(session + 7)).await;
    assert_eq!(ErrorCode(response.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[tokio::test]
async fn without_room_for_sessions_a_broker_answers_without_one() {
    let none = Config { fetch_sessions_max: 0, ..Config::default() };
    // A partition of `t` takes 401 bytes of one broker's share.
    let small = Config { fetch_session_bytes_max: 800, ..Config::new(2, Profile::V4_3) };
    for config in [none, small] {
        let cluster = Cluster::start(config).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        let mut client = Client::connect(&cluster, 0).await;
        let response = client.fetch_with(&fetch_request(0).with_session_epoch(0)).await;
        assert_eq!(response.session_id, 0);
        assert_eq!(response.responses.len(), 1);
    }
}

#[tokio::test]
async fn leader_epochs_fence_old_metadata_and_find_lost_history() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.offer(batch(10)).await;
    cluster.move_leader("t", 0, 1);
    let mut client = Client::connect(&cluster, 1).await;
    client.offer(batch(5)).await;
    let with_epoch = |current, last_fetched, offset| {
        let mut request = fetch_request(offset);
        request.topics[0].partitions[0].current_leader_epoch = current;
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched;
        request
    };
    for (current, expected) in
        [(0, ErrorCode::FENCED_LEADER_EPOCH), (1, ErrorCode::NONE), (2, ErrorCode::UNKNOWN_LEADER_EPOCH)]
    {
        let response = client.fetch_with(&with_epoch(current, -1, 0)).await;
        assert_eq!(ErrorCode(response.responses[0].partitions[0].error_code), expected);
    }
    let response = client.fetch_with(&with_epoch(1, 0, 12)).await;
    let diverging = &response.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 10));
    let response = client.fetch_with(&with_epoch(1, 1, 12)).await;
    assert_eq!(response.responses[0].partitions[0].diverging_epoch.end_offset, -1);

    let asked = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(0);
    let asked = OffsetForLeaderTopic::default().with_topic(topic("t")).with_partitions(vec![asked]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
    let response: OffsetForLeaderEpochResponse = client.call(ApiKey::OffsetForLeaderEpoch, 4, &request).await;
    let told = &response.topics[0].partitions[0];
    assert_eq!((told.leader_epoch, told.end_offset), (0, 10));
}

#[tokio::test]
async fn a_truncated_log_answers_with_the_end_of_the_lost_epoch() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 0).await;
    for _ in 0..3 {
        client.offer(batch(10)).await;
    }
    cluster.truncate("t", 0, 20);
    assert_eq!((cluster.leader("t", 0), cluster.leader_epoch("t", 0)), (Some(1), 1));
    let mut client = Client::connect(&cluster, 1).await;
    client.offer(batch(30)).await;
    let mut request = fetch_request(30);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = client.fetch_with(&request).await;
    assert_eq!(response.responses[0].partitions[0].diverging_epoch.end_offset, 20);
}

#[tokio::test]
async fn awkward_logs_are_served_as_they_are() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let mut gaps = BatchBuilder::new(Codec::Lz4).base_offset(Offset(10)).last_offset_delta(9);
    gaps.append_at(3, NOW_MS, Some(b"k"), Some(b"v"), &[]);
    let mut old = MessageSetBuilder::new(1, Codec::Gzip).base_offset(Offset(40));
    old.append(NOW_MS - 5, Some(b"k"), Some(b"v"));
    let horizon = BatchBuilder::new(Codec::None).base_offset(Offset(60)).delete_horizon(NOW_MS + 1);
    let empty = BatchBuilder::new(Codec::None).base_offset(Offset(30)).last_offset_delta(4).build();
    let pieces = [batch_at(0, 5), gaps.build(), empty, old.build(), batch_of(2, horizon, NOW_MS)];
    for piece in &pieces {
        cluster.append("t", 0, piece.clone()).unwrap();
    }
    assert_eq!(client.fetch(0).await.records.unwrap(), Bytes::from(pieces.concat()));
    // From the first entry that ends at or after the offset, hole or not.
    assert_eq!(client.fetch(21).await.records.unwrap(), Bytes::from(pieces[2..].concat()));
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 62);
    assert_eq!(client.offset_at(NOW_MS - 5).await, (ErrorCode::NONE, 0));
    assert_eq!(client.offset_at(NOW_MS + 2).await, (ErrorCode::NONE, 2));
    assert!(cluster.append("t", 0, batch_at(61, 1)).is_err());
    assert!(cluster.append("t", 0, batch_at(70, 1).slice(..40)).is_err());
    assert!(cluster.append("t", 0, Bytes::from_static(b"no batch at all, but long enough")).is_err());
}

#[tokio::test]
async fn a_follower_serves_consumers_and_the_leader_names_one_in_their_rack() {
    let config = Config {
        racks: vec!["a".to_owned(), "b".to_owned()],
        ..Config::new(2, Profile::V3_9).broker_setting("replica.selector.class", "x.RackAwareReplicaSelector")
    };
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut client = Client::connect(&cluster, 0).await;
    client.offer(batch(3)).await;
    let request = fetch_request(0).with_rack_id(crate::client::text("b"));
    let response = client.fetch_with(&request).await;
    assert_eq!(response.responses[0].partitions[0].preferred_read_replica.0, 1);
    let mut follower = Client::connect(&cluster, 1).await;
    let response = follower.fetch_with(&request).await;
    assert!(!response.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    let mut old = Client::connect(&cluster, 1).await.fetch_version(10);
    assert_eq!(ErrorCode(old.fetch(0).await.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[tokio::test]
async fn a_waiting_fetch_does_not_outlive_the_cluster() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    client.send(ApiKey::Fetch, 12, &fetch_request(0).with_max_wait_ms(600_000)).await;
    tokio::task::yield_now().await;
    drop(cluster);
    let closed = tokio::time::timeout(Duration::from_secs(10), client.is_closed()).await;
    assert_eq!(closed, Ok(true));
}

#[tokio::test]
async fn a_partition_that_is_named_again_and_again_is_told_once() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.fetch_version(11);
    for transaction in 0..1000i64 {
        let stamp =
            ProducerStamp { producer_id: ProducerId(transaction), producer_epoch: 0, base_sequence: 0 };
        let builder = BatchBuilder::new(Codec::None).stamp(stamp).transactional();
        let data = batch_of(1, builder.base_offset(Offset(2 * transaction)), NOW_MS);
        cluster.append("t", 0, data).unwrap();
        let (at, producer_id) = (Offset(2 * transaction + 1), ProducerId(transaction));
        let marker = record_batch::control_batch(at, producer_id, 0, false, NOW_MS);
        cluster.append("t", 0, marker).unwrap();
    }
    let mut request = fetch_request(0).with_isolation_level(1);
    let partition = request.topics[0].partitions[0].clone();
    // The first one is far from the end, the last one at it.
    request.topics[0].partitions = vec![partition.clone(); 100_000];
    request.topics[0].partitions[99_999].fetch_offset = 1998;
    let response = client.fetch_with(&request).await;
    assert_eq!(response.responses.len(), 1);
    assert_eq!(response.responses[0].partitions.len(), 1);
    let told = &response.responses[0].partitions[0];
    assert_eq!(told.aborted_transactions.as_ref().unwrap().len(), 1);
    // A topic that is named again is the same.
    let topic = request.topics[0].clone().with_partitions(vec![partition]);
    let response = client.fetch_with(&request.with_topics(vec![topic; 1000])).await;
    assert_eq!(response.responses.len(), 1);
    assert_eq!(response.responses[0].partitions[0].aborted_transactions.as_ref().unwrap().len(), 1000);
}
