//! What the log says of connections that end.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use protocol::Encodable;
use record_batch::{BatchBuilder, Codec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::subscriber::DefaultGuard;

use crate::client::{Client, NOW_MS, fetch_request, produce_request, text, topic};

/// Lines of level WARN and above, of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn collect() -> (Lines, DefaultGuard) {
        // What nobody listened to when it was first said, because the listeners of other threads came and went at that
        // moment, is never said to anybody again: so somebody always listens.
        static LISTENER: Once = Once::new();
        LISTENER.call_once(|| {
            let nobody = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(io::sink);
            let _ = tracing::subscriber::set_global_default(nobody.finish());
        });
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Sends bytes, ends its side, and waits until the broker has ended its own. The address it had.
async fn say(cluster: &Cluster, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(cluster.broker(0).address()).await.unwrap();
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(bytes).await.unwrap();
    // A reset ends it, too.
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    tokio::task::yield_now().await;
    own
}

async fn check(bytes: &[u8], expected: Option<&str>) {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    let peer = say(&cluster, bytes).await;
    let told = lines.take();
    match expected {
        Some(expected) => {
            assert_eq!(told.len(), 1, "{bytes:?}: {told:?}");
            assert!(told[0].contains(expected) && told[0].contains(&peer), "{told:?}");
        }
        None => assert_eq!(told, [""; 0]),
    }
}

#[tokio::test]
async fn a_frame_that_is_not_finished_is_told_with_what_there_was_of_it() {
    check(b"\0\0\0\x64half of it", Some("the peer has left in the middle of a frame, after 14 of 104 bytes"))
        .await;
    check(b"\0\0", Some("the peer has left in the middle of a frame, after 2 of 4 bytes")).await;
    check(b"", None).await;
}

#[tokio::test]
async fn what_speaks_something_else_is_named() {
    let tls = "looks like a TLS ClientHello: this listener is plaintext";
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some(tls)).await;
    let http = "looks like HTTP: this listener speaks Kafka's protocol only";
    check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(http)).await;
    check(b"POST /topics HTTP/1.1\r\n\r\n", Some(http)).await;
    let ssh = "looks like SSH: this listener speaks Kafka's protocol only";
    check(b"SSH-2.0-OpenSSH_9.6\r\n", Some(ssh)).await;
    check(b"\x7f\xff\xff\xff", Some("a frame claims 2147483647 bytes")).await;
}

#[tokio::test]
async fn a_host_that_errs_again_and_again_is_told_three_times_and_then_counted() {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    for _ in 0..50 {
        say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
    }
    assert_eq!(lines.take().len(), 3);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("host=\"127.0.0.1\" more=47"), "{told:?}");
    tokio::time::resume();
    say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(lines.take().len(), 1);
}

#[tokio::test]
async fn what_is_only_counted_is_told_when_the_cluster_ends() {
    let (lines, _guard) = Lines::collect();
    let config = Config { cluster_id: "source".to_owned(), ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config).await.unwrap();
    for _ in 0..50 {
        say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
    }
    lines.take();
    drop(cluster);
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cluster=\"source\" host=\"127.0.0.1\" more=47"), "{told:?}");
}

#[tokio::test]
async fn each_line_says_of_which_cluster_it_is() {
    let (lines, _guard) = Lines::collect();
    for name in ["source", "destination"] {
        let config = Config { cluster_id: name.to_owned(), ..Config::new(1, Profile::V4_3) };
        let cluster = Cluster::start(config).await.unwrap();
        let peer = say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
        let told = lines.take();
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = format!("cluster=\"{name}\" broker=0 peer=\"{peer}\"");
        assert!(told[0].contains(&expected), "{told:?}");
    }
}

/// Whether it is closed, once everybody has done what there is to do at this time.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0])).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_is_idle_for_ten_minutes_is_left_and_told_of_where_a_frame_was_begun() {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    let mut quiet = cluster.connect(cluster.broker(0).address().port()).unwrap();
    let mut slow = cluster.connect(cluster.broker(0).address().port()).unwrap();
    slow.write_all(b"\0\0\0\x24half").await.unwrap();
    assert!(!is_closed(&mut slow).await);
    cluster.advance(Duration::from_secs(599));
    assert!(!is_closed(&mut quiet).await && !is_closed(&mut slow).await);
    // Each byte is a sign of life.
    slow.write_all(b" it").await.unwrap();
    assert!(!is_closed(&mut slow).await);
    cluster.advance(Duration::from_secs(1));
    assert!(is_closed(&mut quiet).await && !is_closed(&mut slow).await);
    assert_eq!(lines.take(), [""; 0]);
    slow.write_all(b"!").await.unwrap();
    assert!(!is_closed(&mut slow).await);
    // By tokio's clock as by ours.
    tokio::time::sleep(Duration::from_secs(598)).await;
    assert!(!is_closed(&mut slow).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_closed(&mut slow).await);
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("12 of 40 bytes of a frame, and then nothing for 600 s"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn how_long_a_connection_may_be_idle_is_a_setting() {
    for (setting, closed) in [("1000", true), ("-1", false)] {
        let config = Config::new(1, Profile::V4_3).broker_setting("connections.max.idle.ms", setting);
        let cluster = Cluster::start(config.in_memory()).await.unwrap();
        let mut quiet = cluster.connect(cluster.broker(0).address().port()).unwrap();
        assert!(!is_closed(&mut quiet).await);
        cluster.advance(Duration::from_secs(1_000_000));
        assert_eq!(is_closed(&mut quiet).await, closed, "{setting}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_frames_that_are_never_finished_make_room_for_those_that_are() {
    const SENT: usize = 100_000;
    // What everybody has anyway, and a megabyte at once.
    const EACH: usize = (64 << 10) + (1 << 20);
    let (lines, _guard) = Lines::collect();
    let config = Config { frame_bytes_max: 8 * EACH, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut bystander = Client::in_memory(&cluster, 0).unwrap();
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut stranger = cluster.connect(cluster.broker(0).address().port()).unwrap();
        stranger.write_all(&(100u32 << 20).to_be_bytes()).await.unwrap();
        assert!(!is_closed(&mut stranger).await);
        strangers.push(stranger);
        // A length alone claims nothing.
        assert_eq!(cluster.frame_bytes(), 0);
    }
    for (index, stranger) in strangers.iter_mut().enumerate() {
        // As long as it fits into what everybody has, neither.
        stranger.write_all(&[0; 60_000]).await.unwrap();
        assert!(!is_closed(stranger).await);
        assert_eq!(cluster.frame_bytes(), index * EACH);
        stranger.write_all(&[0; SENT - 60_000]).await.unwrap();
        assert!(!is_closed(stranger).await);
        assert_eq!(cluster.frame_bytes(), (index + 1) * EACH);
    }
    // A frame of half a megabyte, for which one of them has to go, but not before it has had its time.
    let large = batch_of_bytes(500_000);
    let began = tokio::time::Instant::now();
    assert_eq!(bystander.offer(large).await.0, ErrorCode::NONE);
    assert!(began.elapsed() > Duration::from_millis(4900), "{:?}", began.elapsed());
    assert_eq!(cluster.frame_bytes(), 7 * EACH);
    let mut closed = Vec::new();
    for stranger in &mut strangers {
        closed.push(is_closed(stranger).await);
    }
    // Whose time was over first.
    assert_eq!(closed, [[true].as_slice(), &[false; 7]].concat());
    drop(strangers);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.frame_bytes(), 0);
    let told = lines.take();
    assert!(told[0].contains(&format!(
        "100004 of 104857604 bytes of a frame had to make room for others: the frames of all connections may have {} bytes",
        8 * EACH
    )), "{told:?}");
}

/// Frames that are nearly there are let finish, whoever else comes.
#[tokio::test(start_paused = true)]
async fn large_frames_that_are_slow_are_waited_for() {
    let config = Config { frame_bytes_max: 4 << 20, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let frame = protocol::encode_request(
        ApiKey::Produce,
        8,
        1,
        "t",
        &produce_request(None, &[("t", 0, batch_of_bytes(1_000_000))]),
    );
    let frame = frame.unwrap();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let (mut stream, frame) =
                (cluster.connect(cluster.broker(0).address().port()).unwrap(), frame.clone());
            tokio::spawn(async move {
                stream.write_all(&frame[..900_000]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                stream.write_all(&frame[900_000..]).await.unwrap();
                stream.read_i32().await.unwrap()
            })
        })
        .collect();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert_eq!(cluster.frame_bytes(), 0);
}

/// What waits for records or for others holds no room.
#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_their_answer_have_given_back_their_room() {
    use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    let config = Config { frame_bytes_max: 2 << 20, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    cluster.create_topic("t", 3000, &[]);
    let partitions =
        (0..3000).map(|index| FetchPartition::default().with_partition(index).with_partition_max_bytes(1));
    let asked = FetchTopic::default().with_topic(topic("t")).with_partitions(partitions.collect());
    let request = fetch_request(0).with_max_wait_ms(10_000).with_min_bytes(1).with_topics(vec![asked]);
    // In a session, which has them once.
    let request = request.with_session_epoch(0);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::in_memory(&cluster, 0).unwrap();
        client.send(ApiKey::Fetch, 11, &request).await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.requests(ApiKey::Fetch), 20);
    assert_eq!(cluster.frame_bytes(), 0);
    // Without one, what is asked for is kept here alone.
    let mut alone = Client::in_memory(&cluster, 0).unwrap();
    alone.send(ApiKey::Fetch, 11, &request.with_session_epoch(-1)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!((200_000..300_000).contains(&cluster.frame_bytes()), "{}", cluster.frame_bytes());
    for client in &mut clients {
        assert!(!client.read_frame().await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_very_many_small_things_is_told_and_not_decoded() {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    let ask = |count: u32| {
        // Metadata of version 1 about topics without a name.
        let mut frame = b"\0\0\0\0\0\x03\0\x01\0\0\0\x07\xff\xff".to_vec();
        frame.extend_from_slice(&count.to_be_bytes());
        frame.resize(frame.len() + 2 * usize::try_from(count).unwrap(), 0);
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    };
    // 2 MB of names and 256 bytes for each are as much as 256 MiB, less a little.
    for (count, refused) in [(1_040_000, false), (1_041_000, true)] {
        let mut stream = cluster.connect(cluster.broker(0).address().port()).unwrap();
        stream.write_all(&ask(count)).await.unwrap();
        let mut length = [0; 4];
        let answered = stream.read_exact(&mut length).await.is_ok();
        assert_eq!(answered, !refused, "{count}");
    }
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "a request takes 268578014 bytes of memory, and all of them may have 268435456";
    assert!(told[0].contains(expected), "{told:?}");
}

/// A batch of one record of so many bytes.
fn batch_of_bytes(bytes: usize) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(NOW_MS, None, Some(&vec![7; bytes]), &[]);
    builder.build()
}

/// Sends a request, whose connection is closed; the only line about it.
async fn refused(
    cluster: &Cluster,
    lines: &Lines,
    api: ApiKey,
    version: i16,
    body: &impl Encodable,
) -> String {
    let mut client = Client::in_memory(cluster, 0).unwrap();
    client.send(api, version, body).await;
    assert!(client.is_closed().await, "{api:?}");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let mut told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_would_take_too_much_is_told_and_not_built() {
    use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
    use protocol::messages::describe_groups_request::DescribeGroupsRequest;
    use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
    use protocol::messages::{GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest};
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);

    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource; 60_000]).with_include_synonyms(true);
    let told = refused(&cluster, &lines, ApiKey::DescribeConfigs, 1, &request).await;
    let expected = "the answer to DescribeConfigs would take more than 104857600 bytes of memory";
    assert!(told.contains(expected), "{told}");

    let group = GroupId(text("g"));
    let partition =
        OffsetCommitRequestPartition::default().with_committed_metadata(Some(text(&"m".repeat(4000))));
    let of_topic = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![of_topic]);
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let response: OffsetCommitResponse = client.call(ApiKey::OffsetCommit, 2, &commit).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    let fetch = |count| {
        let asked =
            OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0; count]);
        OffsetFetchRequest::default().with_group_id(group.clone()).with_topics(Some(vec![asked]))
    };
    let told = refused(&cluster, &lines, ApiKey::OffsetFetch, 3, &fetch(30_000)).await;
    let expected = "the answer to OffsetFetch would take more than 104857600 bytes of memory";
    assert!(told.contains(expected), "{told}");
    // Numbers count as much as structures: each becomes one.
    let told = refused(&cluster, &lines, ApiKey::OffsetFetch, 3, &fetch(1_100_000)).await;
    assert!(told.contains("a request takes 28"), "{told}");

    let partition = FetchPartition::default().with_current_leader_epoch(-1).with_partition_max_bytes(1);
    let partitions = (0..400_000).map(|index| partition.clone().with_partition(index));
    let asked = FetchTopic::default().with_topic(topic("t")).with_partitions(partitions.collect());
    let request = fetch_request(0).with_topics(vec![asked]);
    let told = refused(&cluster, &lines, ApiKey::Fetch, 11, &request).await;
    assert!(told.contains("the answer to Fetch would take more than"), "{told}");

    let request = DescribeGroupsRequest::default().with_groups(vec![group; 1_000_000]);
    let told = refused(&cluster, &lines, ApiKey::DescribeGroups, 0, &request).await;
    assert!(told.contains("the answer to DescribeGroups would take more than"), "{told}");
}

/// Answers are memory as much as requests are, whoever reads them or not.
#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_make_room_for_those_that_somebody_reads() {
    use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
    const ROOM: usize = 8 << 20;
    let (lines, _guard) = Lines::collect();
    let config = Config { frame_bytes_max: ROOM, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource; 2000]);
    let ask = async || {
        let mut client = Client::in_memory(&cluster, 0).unwrap();
        client.send(ApiKey::DescribeConfigs, 1, &request).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        client
    };
    let mut reader = ask().await;
    let answer_bytes = reader.read_frame().await.unwrap().len();
    assert!(answer_bytes > 2 << 20 && cluster.answer_bytes() == 0, "{answer_bytes}");
    let fit = ROOM / answer_bytes;
    let mut deaf = Vec::new();
    for index in 0..20 {
        deaf.push(ask().await);
        assert!(cluster.answer_bytes() <= ROOM);
        // Nobody has stood still for long: whoever comes last goes, and nobody waits.
        assert_eq!(cluster.open_connections(), 1 + fit.min(index + 1));
    }
    assert!(lines.take()[0].contains(&format!(
        "an answer of {} bytes finds no room: all that are not read yet may have {ROOM} bytes",
        answer_bytes + 4
    )));
    let mut small = Client::in_memory(&cluster, 0).unwrap();
    assert_eq!(small.offer(batch_of_bytes(1)).await.0, ErrorCode::NONE);
    // From five seconds on those who do not read go.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..10 {
        let mut reader = ask().await;
        assert_eq!(reader.read_frame().await.unwrap().len(), answer_bytes);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.open_connections(), 2 + fit - 1);
    let told = lines.take();
    assert!(told[0].contains("an answer that is not read had to make room for others"), "{told:?}");
    drop(deaf);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.answer_bytes(), 0);
}

#[tokio::test]
async fn whoever_comes_after_as_many_as_there_may_be_waits_and_that_is_told_once() {
    let (lines, _guard) = Lines::collect();
    let config = Config { connections_max: Some(2), ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&cluster, 0).await;
        assert_eq!(client.offer(batch_of_bytes(1)).await.0, ErrorCode::NONE);
        clients.push(client);
    }
    assert_eq!(
        cluster.connect(cluster.broker(0).address().port()).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    let mut third = Client::connect(&cluster, 0).await;
    let request = fetch_request(0);
    third.send(ApiKey::Fetch, 11, &request).await;
    let mut told = Vec::new();
    while told.is_empty() {
        tokio::task::yield_now().await;
        told = lines.take();
    }
    assert!(
        told[0].contains("there are as many connections as there may be, more wait until some end"),
        "{told:?}"
    );
    assert!(told[0].contains("connections_max=2"), "{told:?}");
    assert_eq!(cluster.requests(ApiKey::Fetch), 0);
    clients.pop();
    assert!(!third.read_frame().await.unwrap().is_empty());
    assert_eq!(lines.take(), [""; 0]);
    assert_eq!(cluster.open_connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_a_request_waits_is_seen_to_and_whoever_waits_for_days_is_left() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let request = fetch_request(0).with_max_wait_ms(2_000_000_000).with_min_bytes(1);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Client::in_memory(&cluster, 0).unwrap();
        client.send(ApiKey::Fetch, 11, &request).await;
        // What is asked meanwhile is answered in its turn.
        client.send(ApiKey::Fetch, 11, &fetch_request(0)).await;
        waiting.push(client);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((cluster.open_connections(), cluster.requests(ApiKey::Fetch)), (2, 2));
    waiting.pop();
    // It might only listen.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(cluster.open_connections(), 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.open_connections(), 1);
    cluster.append("t", 0, batch_of_bytes(1)).unwrap();
    assert!(!waiting[0].read_frame().await.unwrap().is_empty());
    assert!(!waiting[0].read_frame().await.unwrap().is_empty());
    waiting[0]
        .send(ApiKey::Fetch, 11, &fetch_request(1).with_max_wait_ms(2_000_000_000).with_min_bytes(1))
        .await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(cluster.open_connections(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_an_answer_is_left() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    for _ in 0..3 {
        assert_eq!(client.offer(batch_of_bytes(900_000)).await.0, ErrorCode::NONE);
    }
    let mut request = fetch_request(0).with_max_bytes(10 << 20);
    request.topics[0].partitions[0].partition_max_bytes = 10 << 20;
    client.send(ApiKey::Fetch, 11, &request).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(cluster.open_connections(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_that_are_refused_are_told_of_once_a_minute() {
    use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, TransactionalId};
    let (lines, _guard) = Lines::collect();
    let config = Config { names_max: 1, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let mut init = async |id: &str| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(id))))
            .with_transaction_timeout_ms(1000);
        let response: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 0, &request).await;
        response.error_code
    };
    assert_eq!(init("a").await, 0);
    assert_eq!(lines.take(), [""; 0]);
    for _ in 0..100 {
        assert_eq!(init("b").await, ErrorCode::POLICY_VIOLATION.0);
    }
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(init("b").await, ErrorCode::POLICY_VIOLATION.0);
    let told = lines.take();
    assert!(told.len() == 1 && told[0].contains("more=99"), "{told:?}");
}
