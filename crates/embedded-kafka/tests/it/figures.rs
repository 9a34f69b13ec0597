//! What the cluster must reach, so that it is not the limit of what is tested or shown with it.
//!
//! Time on a processor counts, for the machine does other things meanwhile, other tests first of all.
//! `cargo bench -p embedded-kafka` tells the true figures, of the optimized build.

#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, Profile};
use record_batch::{BatchBuilder, Codec};

use crate::client::{Client, batch, fetch_request};

async fn single_in_memory() -> (Cluster, Client) {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let client = Client::in_memory(&cluster, 0).unwrap();
    (cluster, client.fetch_version(11))
}

/// What this thread, which is that of client and brokers, has had of a processor. The system counts it at each tick, each few
/// milliseconds: enough where many rounds are taken together.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number comes first"))
}

#[tokio::test]
async fn two_clusters_of_three_brokers_start_in_50_ms() {
    const ROUNDS: u32 = 20;
    let began = processor_time();
    for _ in 0..ROUNDS {
        let first = Cluster::start(Config::new(3, Profile::V4_3)).await.unwrap();
        let second = Cluster::start(Config::new(3, Profile::V4_3)).await.unwrap();
        drop((first, second));
    }
    let each = (processor_time() - began) / ROUNDS;
    assert!(each < Duration::from_millis(50), "{each:?}");
}

#[tokio::test]
async fn a_produce_and_a_fetch_of_it_take_100_us_in_memory() {
    const TRIPS: u32 = 2000;
    let (_cluster, mut client) = single_in_memory().await;
    let (small, began) = (batch(1), processor_time());
    for offset in 0..TRIPS {
        client.offer(small.clone()).await;
        let fetched = client.fetch(i64::from(offset)).await;
        assert!(fetched.records.is_some_and(|records| !records.is_empty()));
    }
    let each = (processor_time() - began) / TRIPS;
    assert!(each < Duration::from_micros(100), "{each:?}");
}

#[tokio::test]
async fn batches_of_a_megabyte_go_in_and_out_at_400_mb_a_second() {
    const BATCHES: u32 = 32;
    const ROUNDS: u32 = 8;
    let value = [7; 1024];
    let mut builder = BatchBuilder::new(Codec::None);
    (0..970).for_each(|_| builder.append(1_700_000_000_000, None, Some(&value), &[]));
    let batch: Bytes = builder.build();
    let (cluster, mut client) = single_in_memory().await;
    let mut offset = 0;
    let began = processor_time();
    for _ in 0..ROUNDS {
        for _ in 0..BATCHES {
            assert_eq!(client.offer(batch.clone()).await.1, offset);
            let request = fetch_request(offset).with_max_bytes(8 << 20);
            client.send(ApiKey::Fetch, 11, &request).await;
            assert!(client.read_frame().await.unwrap().len() > batch.len());
            offset += 970;
        }
        cluster.delete_records("t", 0, offset);
    }
    let megabytes = f64::from(ROUNDS * BATCHES) * batch.len() as f64 / 1e6;
    let rate = megabytes / (processor_time() - began).as_secs_f64();
    assert!(rate >= 400.0, "{rate:.0} MB/s");
}
