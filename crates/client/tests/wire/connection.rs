//! A connection to a broker that then goes wrong, or does not.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::fake::{Say, broker, cluster, listen, reply};
use bytes::Bytes;
use client::{
    CallError, CloseCause, Connection, ErrorCode, FetchOptions, FetchPartition, Fetcher, ProduceBatch,
    Purpose,
};
use model::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{FetchResponse, ProduceResponse};
use protocol::server::{Request, RequestKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot::Sender;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(answer: impl FnMut(&Request) -> Say + Send + 'static) -> Connection {
    cluster(broker(answer)).connect(BrokerId(1)).await.unwrap()
}

fn batch(partition: i32, bytes: usize) -> ProduceBatch {
    ProduceBatch {
        partition: TopicPartition::new("t", partition),
        header: [partition as u8; 61],
        payload: Bytes::from(vec![partition as u8; bytes]),
    }
}

/// Says of each batch that it was appended at its partition's number times 100, after checking its bytes.
fn appended(request: &Request) -> Say {
    let RequestKind::Produce(produce) = &request.body else { panic!("{request:?}") };
    let topics = produce.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            assert!(data.records.as_ref().unwrap().iter().all(|&byte| i32::from(byte) == data.index));
            PartitionProduceResponse::default()
                .with_index(data.index)
                .with_base_offset(i64::from(data.index) * 100)
                .with_log_append_time_ms(-1)
                .with_error_message(None)
        });
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(partitions.collect())
    });
    reply(request, &ProduceResponse::default().with_responses(topics.collect()))
}

fn cause(error: &CallError) -> &CloseCause {
    let CallError::Closed { source, .. } = error else { panic!("{error}") };
    source
}

#[tokio::test(start_paused = true)]
async fn many_requests_in_flight_are_answered_each_with_its_own_reply() {
    let connection = connect(appended).await;
    let replies: Vec<_> = (0..50)
        .map(|partition| {
            // Together far more than a socket holds.
            connection.produce(vec![batch(partition, 200_000), batch(partition + 50, 10)], PATIENCE)
        })
        .collect();
    for (partition, reply) in (0..50).zip(replies) {
        let reply = reply.await.unwrap();
        let bases: Vec<_> = reply.partitions.iter().map(|produced| produced.base_offset.unwrap().0).collect();
        assert_eq!(bases, [partition * 100, (partition + 50) * 100]);
        assert!(reply.partitions.iter().all(|produced| produced.error == ErrorCode::NONE));
    }
    assert!(!connection.is_dead());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_leaves_its_request_on_the_way_and_the_connection_well() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let connection = connect(move |request| {
        let RequestKind::Produce(produce) = &request.body else { panic!() };
        log.lock().unwrap().push(produce.topic_data[0].partition_data[0].index);
        appended(request)
    })
    .await;
    drop(connection.produce(vec![batch(1, 100)], PATIENCE));
    drop(connection.produce(vec![batch(2, 100_000)], PATIENCE));
    let reply = connection.produce(vec![batch(3, 100)], PATIENCE).await.unwrap();
    assert_eq!(reply.partitions[0].base_offset, Some(Offset(300)));
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn replies_arrive_after_the_last_handle_is_gone() {
    let connection = connect(appended).await;
    let reply = connection.produce(vec![batch(1, 100_000)], PATIENCE);
    drop(connection);
    assert_eq!(reply.await.unwrap().partitions[0].base_offset, Some(Offset(100)));
}

#[tokio::test(start_paused = true)]
async fn silence_fails_a_request_at_its_time_out_and_ends_the_connection() {
    let connection = connect(|_| Say::Nothing).await;
    let patient = connection.produce(vec![batch(1, 10)], PATIENCE);
    let hasty = connection.produce(vec![batch(2, 10)], Duration::from_millis(100));
    let error = hasty.await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { maybe_written: true, .. }), "{error}");
    let error = patient.await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::EarlierTimedOut { .. }), "{error}");
    assert!(connection.is_dead());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_fails_all_that_waits_and_all_that_comes_later() {
    let mut first = true;
    let connection = connect(move |request| {
        if std::mem::take(&mut first) { appended(request) } else { Say::BytesAndClose(Bytes::new()) }
    })
    .await;
    connection.produce(vec![batch(0, 10)], PATIENCE).await.unwrap();
    let waiting = [1, 2, 3].map(|partition| connection.produce(vec![batch(partition, 10)], PATIENCE));
    for waiting in waiting {
        let error = waiting.await.unwrap_err();
        assert!(matches!(cause(&error), CloseCause::ByPeer), "{error}");
        assert!(error.maybe_written());
    }
    assert!(connection.is_dead());
    let error = connection.produce(vec![batch(4, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::ByPeer), "{error}");
    assert!(!error.maybe_written(), "the socket was closed before the request was made");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_at_the_first_request_is_told_as_such() {
    let connection = connect(|_| Say::BytesAndClose(Bytes::new())).await;
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::AtFirst), "{error}");
}

/// The pipeline may be moved between threads by a runtime that has several.
#[test]
fn futures_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: T) {}
    async fn never(cluster: client::Cluster, mut fetcher: Fetcher) {
        is_send(cluster.metadata(client::Wanted::All));
        is_send(cluster.connect(BrokerId(1)));
        is_send(cluster.list_offsets(BrokerId(1), &[], client::OffsetSpec::Latest, true));
        is_send(cluster.describe_producers(BrokerId(1), &[]));
        is_send(cluster.init_producer_id());
        is_send(cluster.create_topics(&[], Purpose::Change));
        is_send(cluster.alter_topic_configs(&[], Purpose::Change));
        is_send(cluster.commit_offsets("g", &[]));
        is_send(fetcher.fetch(&[], 0, PATIENCE));
    }
    let _ = never;
}

/// Answers as broker 1 until a Produce request begins, of which it reads no more than the first bytes.
async fn serve_until_produce(
    mut stream: DuplexStream,
    port: Arc<OnceLock<u16>>,
    full: Arc<Mutex<Option<Sender<DuplexStream>>>>,
) {
    loop {
        let mut start = [0; 12];
        if stream.read_exact(&mut start).await.is_err() {
            return;
        }
        if start[4..6] == [0, 0] {
            let full = full.lock().unwrap().take().unwrap();
            full.send(stream).unwrap();
            return;
        }
        let length = i32::from_be_bytes(start[..4].try_into().unwrap()) as usize;
        let mut frame = start[4..].to_vec();
        frame.resize(length, 0);
        stream.read_exact(&mut frame[8..]).await.unwrap();
        let request = protocol::server::decode_request(frame.into()).unwrap();
        let said = match request.body {
            RequestKind::ApiVersions(_) => reply(&request, &crate::fake::versions(&[])),
            _ => reply(&request, &crate::fake::metadata(&[(1, *port.get().unwrap())])),
        };
        let Say::Bytes(bytes) = said else { unreachable!() };
        stream.write_all(&bytes).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_reached_the_socket_is_said_to_be_unseen() {
    // The first request fills the socket, as nobody reads past its length; the second waits behind it.
    let own_port = Arc::new(OnceLock::new());
    let named = Arc::clone(&own_port);
    let (full, is_full) = tokio::sync::oneshot::channel();
    let full = Arc::new(Mutex::new(Some(full)));
    let port = listen(move |stream| {
        tokio::spawn(serve_until_produce(stream, Arc::clone(&named), Arc::clone(&full)));
    });
    own_port.set(port).unwrap();
    let connection = cluster(port).connect(BrokerId(1)).await.unwrap();
    let begun = connection.produce(vec![batch(1, 64 << 20)], PATIENCE);
    let behind = connection.produce(vec![batch(2, 10)], PATIENCE);
    let socket = is_full.await.unwrap();
    drop(socket);
    assert!(begun.await.unwrap_err().maybe_written());
    assert!(!behind.await.unwrap_err().maybe_written());
}

#[tokio::test(start_paused = true)]
async fn closing_it_here_fails_what_waits() {
    let connection = connect(|_| Say::Nothing).await;
    let waiting = connection.produce(vec![batch(1, 10)], PATIENCE);
    connection.close();
    let error = waiting.await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::Here), "{error}");
    assert!(connection.is_dead());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_ends_the_connection() {
    let connection = connect(|request| {
        let Say::Bytes(bytes) = appended(request) else { unreachable!() };
        let mut bytes = bytes.to_vec();
        bytes[7] ^= 1;
        Say::Bytes(bytes.into())
    })
    .await;
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::Correlation { expected: Some(_), .. }), "{error}");
    assert!(connection.is_dead());
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let connection = connect(|request| {
        let Say::Bytes(bytes) = appended(request) else { unreachable!() };
        Say::Bytes([bytes.clone(), bytes].concat().into())
    })
    .await;
    connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap();
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::Correlation { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_told_as_such() {
    let connection = connect(|request| {
        let Say::Bytes(bytes) = appended(request) else { unreachable!() };
        Say::BytesAndClose(bytes.slice(..bytes.len() / 2))
    })
    .await;
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::MidFrame), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_allowed_is_not_read() {
    let connection = connect(|_| Say::Bytes(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]))).await;
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(cause(&error), CloseCause::FrameLength { length: i32::MAX, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_leaves_the_connection() {
    let first = Arc::new(Mutex::new(true));
    let connection = connect(move |request| {
        if std::mem::take(&mut *first.lock().unwrap()) {
            let mut bytes = vec![0, 0, 0, 9];
            bytes.extend(request.header.correlation_id.to_be_bytes());
            bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
            return Say::Bytes(bytes.into());
        }
        appended(request)
    })
    .await;
    let error = connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error}");
    assert!(error.maybe_written());
    connection.produce(vec![batch(1, 10)], PATIENCE).await.unwrap();
}

fn wanted(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition {
        partition: TopicPartition::new("t", partition),
        topic_id: None,
        offset: Offset(offset),
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
        bytes_max: 8 << 20,
    }
}

fn fetched(partition: i32, records: Bytes) -> FetchResponse {
    let data = PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(9)
        .with_records(Some(records));
    let topic = FetchableTopicResponse::default()
        .with_topic(protocol::StrBytes::from_static_str("t").into())
        .with_partitions(vec![data]);
    FetchResponse::default().with_session_id(5).with_responses(vec![topic])
}

#[tokio::test(start_paused = true)]
async fn large_replies_are_slices_of_their_frame_and_sessions_go_on() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let connection = connect(move |request| {
        let RequestKind::Fetch(fetch) = &request.body else { panic!() };
        assert!(request.version <= 12, "without topic ids topics are named");
        let told: usize = fetch.topics.iter().map(|topic| topic.partitions.len()).sum();
        log.lock().unwrap().push((fetch.session_epoch, told));
        reply(request, &fetched(fetch.session_epoch, Bytes::from(vec![fetch.session_epoch as u8; 3 << 20])))
    })
    .await;
    let options = FetchOptions {
        wait_max: Duration::from_millis(500),
        bytes_min: 1,
        committed_only: false,
        rack: None,
    };
    let mut fetcher = Fetcher::new(connection, options);
    for epoch in 0..4 {
        let fetched =
            fetcher.fetch(&[wanted(0, 0), wanted(1, i64::from(epoch))], 8 << 20, PATIENCE).await.unwrap();
        assert!(fetched.bytes > 3 << 20);
        assert_eq!(fetched.partitions[0].partition, TopicPartition::new("t", epoch));
        assert_eq!(fetched.partitions[0].records, vec![epoch as u8; 3 << 20]);
    }
    assert_eq!(*asked.lock().unwrap(), [(0, 2), (1, 1), (2, 1), (3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_the_broker_has_forgotten_is_started_anew_within_the_call() {
    let epochs = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&epochs);
    let connection = connect(move |request| {
        let RequestKind::Fetch(fetch) = &request.body else { panic!() };
        log.lock().unwrap().push(fetch.session_epoch);
        if fetch.session_epoch == 1 {
            return reply(request, &FetchResponse::default().with_error_code(70));
        }
        reply(request, &fetched(0, Bytes::new()))
    })
    .await;
    let options = FetchOptions { wait_max: PATIENCE, bytes_min: 1, committed_only: false, rack: None };
    let mut fetcher = Fetcher::new(connection, options);
    for _ in 0..2 {
        fetcher.fetch(&[wanted(0, 0)], 1 << 20, Duration::ZERO).await.unwrap();
    }
    assert_eq!(*epochs.lock().unwrap(), [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_given_up_leaves_the_fetcher_usable() {
    let count = Arc::new(Mutex::new(0));
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let mut asked = Some(asked);
    let connection = connect(move |request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == 1 {
            asked.take().unwrap().send(()).unwrap();
        }
        reply(request, &fetched(*count, Bytes::new()))
    })
    .await;
    let options = FetchOptions { wait_max: PATIENCE, bytes_min: 1, committed_only: false, rack: None };
    let mut fetcher = Fetcher::new(connection, options);
    let wanted = [wanted(0, 0)];
    tokio::select! {
        biased;
        _ = was_asked => {}
        _ = fetcher.fetch(&wanted, 1 << 20, PATIENCE) => {}
    }
    let reply = fetcher.fetch(&wanted, 1 << 20, PATIENCE).await.unwrap();
    assert_eq!(reply.partitions[0].partition, TopicPartition::new("t", 2));
}
