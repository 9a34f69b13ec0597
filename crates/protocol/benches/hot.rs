//! The hot messages: `cargo bench -p protocol` tells the times, `cargo xtask counts` the instructions.

#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

#[path = "../../record-batch/benches/harness/mod.rs"]
mod harness;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use harness::{Call, Scenario};
use model::{LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};
use protocol::fetch::{FetchPartition, FetchRequest};
use protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use protocol::produce::ProduceBatch;
use protocol::{ApiKey, LENGTH_BYTES, StrBytes, fetch, produce, server};

/// What brokers of Kafka 4 speak with us.
const PRODUCE_VERSION: i16 = 11;
const FETCH_VERSION: i16 = 17;
const TOPIC: &str = "orders.placed";
const BATCH_BYTES: usize = 16 << 10;

fn main() {
    harness::run(&[
        Scenario::new("produce-frame/8", 1000, || framing(8)),
        Scenario::new("produce-frame/100", 100, || framing(100)),
        Scenario::new("produce-decode/8", 1000, || decoding_produced(8)),
        Scenario::new("produce-decode/100", 100, || decoding_produced(100)),
        Scenario::new("fetch-encode/8", 1000, || asking(8)),
        Scenario::new("fetch-encode/100", 100, || asking(100)),
        Scenario::new("fetch-decode/8", 1000, || decoding_fetched(8)),
        Scenario::new("fetch-decode/100", 100, || decoding_fetched(100)),
    ]);
}

fn partitions(count: i32) -> impl Iterator<Item = TopicPartition> {
    let topic = TopicName::from(TOPIC);
    (0..count)
        .map(move |number| TopicPartition { topic: topic.clone(), partition: model::PartitionId(number) })
}

fn framing(count: i32) -> Call {
    let payload = Bytes::from(vec![7; BATCH_BYTES]);
    let batch = |partition| ProduceBatch { partition, header: [1; 61], payload: payload.clone() };
    let batches: Vec<ProduceBatch> = partitions(count).map(batch).collect();
    let timeout = Duration::from_secs(30);
    Box::new(move || {
        drop(black_box(produce::frame(PRODUCE_VERSION, 9, "paralog", timeout, black_box(&batches))).unwrap());
    })
}

fn decoding_produced(count: i32) -> Call {
    let answered =
        |number| PartitionProduceResponse::default().with_index(number).with_base_offset(1_000_000);
    let topic = TopicProduceResponse::default()
        .with_name(StrBytes::from_static_str(TOPIC).into())
        .with_partition_responses((0..count).map(answered).collect());
    let response = ProduceResponse::default().with_responses(vec![topic]);
    let frame = server::encode_response(ApiKey::Produce, PRODUCE_VERSION, 9, &response).unwrap();
    let frame = frame.slice(LENGTH_BYTES..);
    Box::new(move || drop(black_box(produce::decode(PRODUCE_VERSION, black_box(frame.clone()))).unwrap()))
}

fn asking(count: i32) -> Call {
    let wanted = |partition| FetchPartition {
        partition,
        topic_id: Some(TopicId([0; 16])),
        offset: Offset(1_000_000),
        current_leader_epoch: LeaderEpoch(4),
        last_fetched_epoch: LeaderEpoch(3),
        bytes_max: 1 << 20,
    };
    let wanted: Vec<FetchPartition> = partitions(count).map(wanted).collect();
    Box::new(move || {
        let request = FetchRequest {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 8 << 20,
            committed_only: true,
            session_id: 77,
            session_epoch: 3,
            partitions: black_box(&wanted),
            forgotten: &[],
            rack: "",
        };
        drop(black_box(fetch::encode(FETCH_VERSION, 9, "paralog", &request)));
    })
}

fn decoding_fetched(count: i32) -> Call {
    let records = Bytes::from(vec![7; BATCH_BYTES]);
    let fetched = |number| {
        PartitionData::default()
            .with_partition_index(number)
            .with_high_watermark(2_000_000)
            .with_last_stable_offset(2_000_000)
            .with_log_start_offset(10)
            .with_records(Some(records.clone()))
    };
    let topic = FetchableTopicResponse::default().with_partitions((0..count).map(fetched).collect());
    let response = FetchResponse::default().with_session_id(77).with_responses(vec![topic]);
    let frame = server::encode_response(ApiKey::Fetch, FETCH_VERSION, 9, &response).unwrap();
    let frame = frame.slice(LENGTH_BYTES..);
    // The generated message's id of a topic that says none.
    let names = HashMap::from([(TopicId([0; 16]), TopicName::from(TOPIC))]);
    Box::new(move || drop(black_box(fetch::decode(FETCH_VERSION, black_box(frame.clone()), &names)).unwrap()))
}
