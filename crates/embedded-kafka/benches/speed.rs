//! How fast the cluster is when Paralog is measured against it: `cargo bench -p embedded-kafka`.
//!
//! Client and broker share one thread, so the numbers are of both together. Processor time is told beside the
//! clock's, for machines that do other things meanwhile. `tests/it/figures.rs` holds what must be reached.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stdout, reason = "a bench tells its numbers")]
#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, Profile};
use protocol::StrBytes;
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use record_batch::{BatchBuilder, Codec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const BATCHES: usize = 512;
const IN_FLIGHT: usize = 4;

fn topic() -> protocol::messages::TopicName {
    protocol::messages::TopicName(StrBytes::from_static_str("t"))
}

fn batch(codec: Codec, records: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for index in 0..records {
        let value: Vec<u8> = (0..value_bytes).map(|at| ((at * 7 + index) % 61) as u8).collect();
        builder.append(1_700_000_000_000, Some(b"key"), Some(&value), &[]);
    }
    builder.build()
}

fn produce(batch: &Bytes) -> Bytes {
    let data = PartitionProduceData::default().with_records(Some(batch.clone()));
    let topic = TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic]);
    protocol::encode_request(ApiKey::Produce, 9, 1, "bench", &request.with_transactional_id(None)).unwrap()
}

fn fetch(offset: i64) -> Bytes {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(8 << 20);
    let topic = FetchTopic::default().with_topic(topic()).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(8 << 20).with_topics(vec![topic]);
    protocol::encode_request(ApiKey::Fetch, 11, 1, "bench", &request.with_session_epoch(-1)).unwrap()
}

async fn read_reply(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) {
    let length = stream.read_i32().await.unwrap() as usize;
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    stream.read_exact(&mut buffer[..length]).await.unwrap();
}

/// Time on a processor, of this thread.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

async fn produce_and_fetch(
    name: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    batch: &Bytes,
    records: usize,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let frame = produce(batch);
    let mut buffer = Vec::new();
    let megabytes = (BATCHES * batch.len()) as f64 / 1e6;
    let (clock, processor) = (Instant::now(), processor_time());
    let writing = async {
        for _ in 0..BATCHES {
            writer.write_all(&frame).await.unwrap();
        }
        writer
    };
    let reading = async {
        for _ in 0..BATCHES {
            read_reply(&mut reader, &mut buffer).await;
        }
    };
    let (mut writer, ()) = tokio::join!(writing, reading);
    let produced = (clock.elapsed(), processor_time().saturating_sub(processor));
    let per_fetch = (8 << 20) / batch.len();
    for first in (0..BATCHES).step_by(per_fetch * IN_FLIGHT) {
        let offsets: Vec<usize> =
            (0..IN_FLIGHT).map(|index| first + index * per_fetch).filter(|at| *at < BATCHES).collect();
        for at in &offsets {
            writer.write_all(&fetch((at * records) as i64)).await.unwrap();
        }
        for _ in offsets {
            read_reply(&mut reader, &mut buffer).await;
        }
    }
    let total = (clock.elapsed(), processor_time().saturating_sub(processor));
    let rate = |time: Duration| megabytes / time.as_secs_f64();
    println!(
        "{name:28} produce {:6.0} MB/s (processor {:6.0}), produce and fetch {:6.0} MB/s (processor {:6.0})",
        rate(produced.0),
        rate(produced.1),
        rate(total.0),
        rate(total.1),
    );
}

async fn round_trips(stream: impl AsyncRead + AsyncWrite + Unpin) {
    const ROUNDS: u32 = 5000;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let small = produce(&batch(Codec::None, 1, 100));
    let mut buffer = Vec::new();
    let (clock, processor) = (Instant::now(), processor_time());
    for round in 0..ROUNDS {
        writer.write_all(&small).await.unwrap();
        read_reply(&mut reader, &mut buffer).await;
        writer.write_all(&fetch(i64::from(round))).await.unwrap();
        read_reply(&mut reader, &mut buffer).await;
    }
    println!(
        "a produce and a fetch of it in memory: {:?} (processor {:?})",
        clock.elapsed() / ROUNDS,
        processor_time().saturating_sub(processor) / ROUNDS,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let large = batch(Codec::None, 970, 1024);
    let lz4 = batch(Codec::Lz4, 970, 1024);
    let small = batch(Codec::None, 16, 1024);
    for (name, batch, records) in
        [("1 MB, none", &large, 970), ("1 MB of records, lz4", &lz4, 970), ("16 KiB, none", &small, 16)]
    {
        let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        let stream = tokio::net::TcpStream::connect(cluster.broker(0).address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        produce_and_fetch(&format!("loopback: {name}"), stream, batch, records).await;
        let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        let stream = cluster.connect(cluster.broker(0).address().port()).unwrap();
        produce_and_fetch(&format!("in memory: {name}"), stream, batch, records).await;
    }
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    round_trips(cluster.connect(cluster.broker(0).address().port()).unwrap()).await;
    let clock = Instant::now();
    let two = [
        Cluster::start(Config::new(3, Profile::V4_3)).await,
        Cluster::start(Config::new(3, Profile::V4_3)).await,
    ];
    println!("two clusters of three brokers start in {:?}", clock.elapsed());
    drop(two);
}
