//! Bytes that are no requests close their connection and disturb nothing else.

use std::time::Duration;

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, batch, fetch_request, produce_request, single};

/// A xorshift generator: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn other_protocols_and_absurd_lengths_close_the_connection() {
    let (cluster, mut bystander) = single(Profile::V4_3).await;
    let hostile: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x08\x00\x03\x00\x09\x00\x00\x00\x01",
        b"\x00\x00\x00\x0a\x03\xe7\x00\x00\x00\x00\x00\x01\xff\xff",
    ];
    for bytes in hostile {
        let mut client = Client::connect(&cluster, 0).await;
        client.write(bytes).await;
        assert!(client.is_closed().await, "{bytes:?}");
    }
    assert_eq!(bystander.offer(batch(1)).await.0, ErrorCode::NONE);
}

#[tokio::test]
async fn a_version_outside_the_profile_closes_the_connection() {
    let (_cluster, mut client) = single(Profile::V1_1).await;
    client.send(ApiKey::Fetch, 12, &fetch_request(0)).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn mutated_requests_are_answered_or_close_the_connection_and_nothing_else() {
    let (cluster, mut bystander) = single(Profile::V4_3).await;
    let mut random = Random(0x5eed);
    let whole = [
        protocol::encode_request(ApiKey::Produce, 9, 1, "m", &produce_request(None, &[("t", 0, batch(5))]))
            .unwrap(),
        protocol::encode_request(ApiKey::Produce, 8, 1, "m", &produce_request(None, &[("t", 0, batch(5))]))
            .unwrap(),
        protocol::encode_request(ApiKey::Fetch, 12, 1, "m", &fetch_request(0)).unwrap(),
        protocol::encode_request(ApiKey::Fetch, 11, 1, "m", &fetch_request(0)).unwrap(),
    ];
    for round in 0..400 {
        let mut frame = whole[random.below(whole.len())].to_vec();
        for _ in 0..=random.below(4) {
            let at = 4 + random.below(frame.len() - 4);
            frame[at] = if random.below(2) == 0 { 0xff } else { u8::try_from(random.below(256)).unwrap() };
        }
        let mut stream = tokio::net::TcpStream::connect(cluster.broker(0).address()).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut reply = Vec::new();
        // A reset is an answer, too.
        let _ = stream.read_to_end(&mut reply).await;
        assert_eq!(cluster.panics(), 0, "round {round}: {frame:?}");
        if round % 50 == 0 {
            assert_eq!(bystander.offer(batch(1)).await.0, ErrorCode::NONE);
        }
    }
}

#[tokio::test]
async fn a_panic_is_not_taken_for_a_closed_connection() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.on(ApiKey::Produce).look(|_| panic!("a mistake, on purpose"));
    client.send(ApiKey::Produce, 8, &produce_request(None, &[("t", 0, batch(1))])).await;
    assert!(client.is_closed().await);
    assert_eq!(cluster.panics(), 1);
    let mut client = Client::connect(&cluster, 0).await;
    assert_eq!(client.offer(batch(1)).await.0, ErrorCode::NONE);
    assert_eq!(cluster.panics(), 1);
}

/// A request that its head calls one of a kind and version, and whose other bytes are most often those that matter to
/// a reader: small counts, tags, null, and lengths without end.
fn frame_of(random: &mut Random, api: ApiKey, version: i16) -> Vec<u8> {
    let mut frame = [0; 4].to_vec();
    frame.extend_from_slice(&(api as i16).to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(b"\0\0\0\x07\0\x01c");
    if api.request_header_version(version) >= 2 {
        frame.push(0);
    }
    for _ in 0..random.below(150) {
        match random.below(8) {
            0..=4 => frame.push(u8::try_from(random.below(3)).unwrap()),
            5 => frame.push(u8::try_from(random.below(20)).unwrap()),
            6 => frame.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
            _ => frame.push(u8::try_from(random.below(256)).unwrap()),
        }
    }
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[tokio::test(start_paused = true)]
async fn any_bytes_of_any_request_are_answered_or_close_the_connection_and_nothing_else() {
    let mut random = Random(0xb0de);
    for profile in [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3] {
        let cluster = Cluster::start(Config::new(1, profile).in_memory()).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        let port = cluster.broker(0).address().port();
        for (api, lowest, highest) in profile.versions() {
            for version in lowest..=highest {
                for _ in 0..200 {
                    let mut stream = cluster.connect(port).unwrap();
                    let frame = frame_of(&mut random, api, version);
                    // It may be closed in the middle.
                    let _ = stream.write_all(&frame).await;
                    let _ = stream.shutdown().await;
                    // Members of groups that wait for others are left, by the clock that only goes on when nothing else does.
                    let mut answer = Vec::new();
                    let reading = stream.read_to_end(&mut answer);
                    let _ = tokio::time::timeout(Duration::from_secs(600), reading).await;
                    assert_eq!(cluster.panics(), 0, "{profile:?} {frame:?}");
                }
            }
        }
        let mut bystander = Client::in_memory(&cluster, 0).unwrap();
        assert_eq!(bystander.offer(batch(1)).await.0, ErrorCode::NONE, "{profile:?}");
    }
}

/// A Fetch that names one partition, with a tagged field of 100 bytes of which its type takes the first few. What comes
/// then was read as what follows the partition: a count of forgotten topics, as what to make room for.
#[tokio::test]
async fn a_count_inside_of_a_tagged_field_claims_no_memory() {
    let (cluster, mut bystander) = single(Profile::V4_3).await;
    for (version, tag, takes) in [(17, 0, 16), (18, 0, 16), (18, 1, 8)] {
        let mut frame = vec![0, 0, 0, 0, 0, 1, 0, version, 0, 0, 0, 7, 0xff, 0xff, 0];
        // Wait, least and most bytes, isolation, session and its epoch; a topic by its id, a partition of zeros.
        frame.extend_from_slice(&[0; 21]);
        frame.push(2);
        frame.extend_from_slice(&[0; 16]);
        frame.push(2);
        frame.extend_from_slice(&[0; 32]);
        frame.extend_from_slice(&[1, tag, 100]);
        frame.extend_from_slice(&vec![0; takes]);
        // No more tags of the topic, and forgotten ones without end.
        frame.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        frame.extend_from_slice(&vec![0; 100 - takes - 6]);
        // Neither tags of the topic, nor forgotten ones, nor a rack, nor tags.
        frame.extend_from_slice(&[0, 1, 1, 0]);
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let mut client = Client::connect(&cluster, 0).await;
        client.write(&frame).await;
        assert!(client.is_closed().await, "version {version}, tag {tag}");
    }
    assert_eq!(bystander.offer(batch(1)).await.0, ErrorCode::NONE);
}
