use std::time::Duration;

use bytes::Bytes;
use embedded_kafka::{Cluster, ErrorCode, Profile};
use record_batch::{BatchBuilder, Codec, Header};

use crate::client::{NOW_MS, single, stamp};

fn keyed(codec: Codec, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (key, value) in records {
        builder.append(NOW_MS, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build()
}

/// Offset, key and whether there is a value, of each record left.
fn records(cluster: &Cluster) -> Vec<(i64, String, bool)> {
    let mut found = Vec::new();
    for entry in cluster.log("t", 0).unwrap() {
        let entry = record_batch::split(entry).next().unwrap().unwrap();
        entry.verify_crc().unwrap();
        for record in &record_batch::records(&entry, 1 << 20).unwrap() {
            let record = record.unwrap();
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            found.push((record.offset.0, key, record.value.is_some()));
        }
    }
    found
}

#[tokio::test]
async fn cleaning_keeps_the_last_of_each_key_and_leaves_holes() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    for codec in [Codec::None, Codec::Lz4] {
        client.offer(keyed(codec, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))])).await;
    }
    client.offer(keyed(Codec::Zstd, &[("a", Some("3")), ("c", None)])).await;
    cluster.compact("t", 0);
    let left = [(4, "b", true), (6, "a", true), (7, "c", false)];
    assert_eq!(records(&cluster), left.map(|(offset, key, value)| (offset, key.to_owned(), value)));
    let log = cluster.log("t", 0).unwrap();
    let header = Header::read(&log[0]).unwrap();
    assert_eq!((header.base_offset.0, header.last_offset().0, header.record_count), (3, 5, 1));
    assert!(Header::read(&log[1]).unwrap().has_delete_horizon());
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 8);
    // The tombstone stays until its horizon.
    cluster.advance(Duration::from_secs(86_399));
    cluster.compact("t", 0);
    assert_eq!(records(&cluster).len(), 3);
    cluster.advance(Duration::from_secs(2));
    cluster.compact("t", 0);
    assert_eq!(records(&cluster).len(), 2);
}

#[tokio::test]
async fn an_emptied_batch_stays_for_the_sake_of_its_producer() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let mut builder = BatchBuilder::new(Codec::Gzip).stamp(stamp(9, 0, 0));
    builder.append(NOW_MS, Some(b"a"), Some(b"1"), &[]);
    assert_eq!(client.offer(builder.build()).await.0, ErrorCode::NONE);
    client.offer(keyed(Codec::None, &[("a", Some("2"))])).await;
    cluster.compact("t", 0);
    let log = cluster.log("t", 0).unwrap();
    let header = Header::read(&log[0]).unwrap();
    assert_eq!((log[0].len(), header.record_count, header.producer_id.0), (61, 0, 9));
    assert_eq!(client.fetch(0).await.records.unwrap(), Bytes::from(log.concat()));
}
