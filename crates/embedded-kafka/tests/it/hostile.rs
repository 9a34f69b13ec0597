//! Bytes that are no requests close their connection and disturb nothing else.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use tokio::io::AsyncWriteExt;

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
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut reply).await;
        if round % 50 == 0 {
            assert_eq!(bystander.offer(batch(1)).await.0, ErrorCode::NONE);
        }
    }
}
