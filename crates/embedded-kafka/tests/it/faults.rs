use std::panic::AssertUnwindSafe;
use std::time::Duration;

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Fault, Profile};
use protocol::messages::ProduceResponse;
use protocol::messages::metadata_request::MetadataRequest;
use protocol::messages::metadata_response::MetadataResponse;
use record_batch::{BatchBuilder, Codec};
use tokio::time::Instant;

use crate::client::{Client, NOW_MS, batch, fetch_request, produce_request, single, stamped};

use ErrorCode as E;

#[tokio::test]
async fn a_request_fails_as_often_as_it_was_told_to_and_only_where() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("u", 1, &[]);
    let fault = cluster.on(ApiKey::Produce).partition("t", 0).times(2).fail(E::NOT_LEADER_OR_FOLLOWER);
    let other = produce_request(None, &[("u", 0, batch(1))]);
    assert_eq!(client.produce_all(&other).await[0].error_code, 0);
    assert_eq!(fault.hits(), 0);
    let both = produce_request(None, &[("t", 0, batch(1)), ("u", 0, batch(1))]);
    let mut codes: Vec<i16> = client.produce_all(&both).await.iter().map(|reply| reply.error_code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 6]);
    assert_eq!(client.offer(batch(1)).await, (E::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(client.offer(batch(1)).await, (E::NONE, 0));
    assert_eq!(fault.hits(), 2);
}

#[tokio::test]
async fn a_fault_may_come_later_or_for_good_and_be_cleared() {
    let (cluster, mut client) = single(Profile::V2_8).await;
    let fault = cluster.on(ApiKey::Fetch).after(1).always().fail(E::KAFKA_STORAGE_ERROR);
    assert_eq!(client.fetch(0).await.error_code, 0);
    for _ in 0..3 {
        assert_eq!(E(client.fetch(0).await.error_code), E::KAFKA_STORAGE_ERROR);
    }
    fault.clear();
    assert_eq!(client.fetch(0).await.error_code, 0);
    cluster.on(ApiKey::ListOffsets).fail(E::LEADER_NOT_AVAILABLE);
    assert_eq!(client.offset_at(-1).await.0, E::LEADER_NOT_AVAILABLE);
    cluster.on(ApiKey::Metadata).topic("t").fail(E::TOPIC_AUTHORIZATION_FAILED);
    let all = MetadataRequest::default().with_topics(None);
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &all).await;
    assert_eq!(E(response.topics[0].error_code), E::TOPIC_AUTHORIZATION_FAILED);
}

#[tokio::test]
async fn a_session_is_lost_as_a_whole() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let opened = client.fetch_with(&fetch_request(0).with_session_epoch(0)).await;
    cluster.on(ApiKey::Fetch).fail(E::FETCH_SESSION_ID_NOT_FOUND);
    let next =
        fetch_request(0).with_topics(Vec::new()).with_session_id(opened.session_id).with_session_epoch(1);
    let response = client.fetch_with(&next).await;
    assert_eq!(E(response.error_code), E::FETCH_SESSION_ID_NOT_FOUND);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_batch_in_the_log() {
    for profile in [Profile::V1_1, Profile::V4_3] {
        let (cluster, mut client) = single(profile).await;
        let lost = cluster.on(ApiKey::Produce).drop_reply();
        let version = if profile == Profile::V1_1 { 5 } else { 8 };
        client.send(ApiKey::Produce, version, &produce_request(None, &[("t", 0, stamped(1, 0, 0, 5))])).await;
        lost.happened().await;
        assert!(client.is_closed().await);
        assert_eq!(cluster.end_offset("t", 0).unwrap(), 5);
        let mut client = Client::connect(&cluster, 0).await;
        assert_eq!(client.offer(stamped(1, 0, 0, 5)).await, (E::NONE, 0));
    }
}

#[tokio::test]
async fn a_refused_request_is_not_applied() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.on(ApiKey::Produce).refuse();
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    assert!(client.is_closed().await);
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 0);
}

#[tokio::test]
async fn a_reply_is_cut_in_the_middle() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    client.offer(batch(10)).await;
    cluster.on(ApiKey::Fetch).cut();
    client.send(ApiKey::Fetch, 12, &fetch_request(0)).await;
    assert!(client.read_frame().await.is_err());
}

#[tokio::test]
async fn a_corrupted_fetch_reply_fails_its_checksum_and_the_log_is_whole() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.fetch_version(11);
    client.offer(batch(10)).await;
    cluster.on(ApiKey::Fetch).corrupt();
    let corrupted = client.fetch(0).await.records.unwrap();
    let entry = record_batch::split(corrupted).next().unwrap().unwrap();
    assert!(entry.verify_crc().is_err());
    let whole = client.fetch(0).await.records.unwrap();
    record_batch::split(whole).next().unwrap().unwrap().verify_crc().unwrap();
}

#[tokio::test]
async fn an_append_may_be_answered_as_not_replicated_yet() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.on(ApiKey::Produce).fail_applied(E::REQUEST_TIMED_OUT);
    assert_eq!(client.offer(batch(3)).await, (E::REQUEST_TIMED_OUT, 0));
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 3);
}

#[tokio::test]
async fn a_held_request_waits_for_its_release() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let held = cluster.on(ApiKey::Produce).hold();
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    held.fault.happened().await;
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 0);
    held.release();
    client.read_frame().await.unwrap();
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 1);
}

#[tokio::test]
async fn a_broker_that_hangs_keeps_the_connection_and_says_nothing() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let hung = cluster.on(ApiKey::Produce).hang();
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    hung.happened().await;
    let silent = tokio::time::timeout(Duration::from_millis(30), client.read_frame()).await;
    assert!(silent.is_err());
}

/// A cluster of one broker in memory, and its topic `t`.
async fn in_memory(config: Config) -> Cluster {
    let cluster = Cluster::start(Config { start_ms: Some(NOW_MS), ..config }.in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_lets_go_of_those_that_leave() {
    let cluster = in_memory(Config::new(1, Profile::V4_3)).await;
    let hung = cluster.on(ApiKey::Produce).always().hang();
    for attempt in 1..=20 {
        let mut client = Client::in_memory(&cluster, 0).unwrap();
        let request = produce_request(None, &[("t", 0, batch(1))]);
        for _ in 0..3 {
            client.send(ApiKey::Produce, 8, &request).await;
        }
        hung.happened_times(attempt).await;
        assert_eq!(cluster.open_connections(), 1);
        drop(client);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(cluster.open_connections(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_late_is_not_kept_for_who_has_left() {
    let cluster = in_memory(Config::new(1, Profile::V4_3)).await;
    let late = cluster.on(ApiKey::Produce).delay_reply(Duration::from_secs(1000));
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    late.happened().await;
    drop(client);
    // It might only listen.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!((cluster.open_connections(), cluster.end_offset("t", 0).unwrap()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_fault_holds_takes_no_room_from_others_and_comes_late_even_after_its_client_has_left() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(NOW_MS, None, Some(&[7; 600_000]), &[]);
    let request = produce_request(None, &[("t", 0, builder.build())]);
    let config = Config { frame_bytes_max: 1_000_000, ..Config::new(1, Profile::V4_3) };
    let cluster = in_memory(config).await;
    let held = cluster.on(ApiKey::Produce).hold();
    let mut first = Client::in_memory(&cluster, 0).unwrap();
    first.send(ApiKey::Produce, 8, &request).await;
    held.fault.happened().await;
    let mut second = Client::in_memory(&cluster, 0).unwrap();
    let began = Instant::now();
    assert_eq!(second.produce_all(&request).await[0].error_code, 0);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    drop(first);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 1);
    held.release();
    cluster.reached("t", 0, 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_held_has_the_time_at_which_it_is_applied() {
    let cluster = in_memory(Config::new(1, Profile::V4_3)).await;
    cluster.set_topic_config("t", "message.timestamp.type", Some("LogAppendTime"));
    let held = cluster.on(ApiKey::Produce).hold();
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    held.fault.happened().await;
    cluster.advance(Duration::from_secs(60));
    held.release();
    let response: ProduceResponse = client.receive(ApiKey::Produce, 8).await.unwrap();
    assert_eq!(response.responses[0].partition_responses[0].log_append_time_ms, NOW_MS + 60_000);
}

#[tokio::test]
async fn delays_and_throttling_take_and_tell_time() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.fetch_version(12);
    cluster.on(ApiKey::Fetch).delay(Duration::from_millis(20));
    cluster.on(ApiKey::Fetch).delay_reply(Duration::from_millis(20));
    cluster.on(ApiKey::Fetch).throttle(Duration::from_millis(77));
    let before = Instant::now();
    let response = client.fetch_with(&fetch_request(0)).await;
    assert!(before.elapsed() >= Duration::from_millis(40));
    assert_eq!(response.throttle_time_ms, 77);
}

#[tokio::test]
async fn requests_are_shown_and_counted() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let (seen, mut shown) = tokio::sync::mpsc::unbounded_channel();
    cluster.on(ApiKey::Produce).look(move |request| {
        let _ = seen.send(request.version);
    });
    client.offer(batch(1)).await;
    assert_eq!(shown.recv().await, Some(8));
    assert_eq!(cluster.requests(ApiKey::Produce), 1);
    assert_eq!(cluster.connections(), 1);
}

#[tokio::test]
async fn all_connections_of_a_broker_can_be_closed_and_opened_again() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    client.offer(batch(1)).await;
    cluster.broker(0).disconnect_all();
    assert!(client.is_closed().await);
    let mut client = Client::connect(&cluster, 0).await;
    assert_eq!(client.offer(batch(1)).await, (E::NONE, 1));
}

#[tokio::test]
async fn a_fault_that_would_never_show_is_refused_where_it_is_asked_for() {
    let (cluster, _client) = single(Profile::V4_3).await;
    let check = |expected: &str, put: &dyn Fn() -> Fault| {
        let refused = std::panic::catch_unwind(AssertUnwindSafe(put)).unwrap_err();
        let told = refused.downcast_ref::<String>().unwrap();
        assert_eq!(told, &format!("this fault would never show: {expected}"));
    };
    check("Fetch is not answered with another code once it is applied", &|| {
        cluster.on(ApiKey::Fetch).fail_applied(E::REQUEST_TIMED_OUT)
    });
    check("the answer to Metadata asks nobody to be quiet", &|| {
        cluster.on(ApiKey::Metadata).throttle(Duration::from_millis(1))
    });
    check("Heartbeat names no topics", &|| cluster.on(ApiKey::Heartbeat).topic("t").drop_reply());
    check("ElectLeaders fails as a whole, not for some topic", &|| {
        cluster.on(ApiKey::ElectLeaders).partition("t", 0).fail(E::NOT_CONTROLLER)
    });
    // None of them is in force.
    cluster.on(ApiKey::ElectLeaders).partition("t", 0).drop_reply();
    cluster.on(ApiKey::Heartbeat).fail(E::NOT_COORDINATOR);
}
