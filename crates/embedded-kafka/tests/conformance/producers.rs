//! The compare-and-append of idempotent producers.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use protocol::messages::describe_producers_response::DescribeProducersResponse;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::init_producer_id_response::InitProducerIdResponse;

use crate::client::{stamped_at, topic};
use crate::desk::Desk;

async fn note_producers(desk: &mut Desk, check: &str, name: &str) {
    if desk.profile == Profile::V1_1 {
        return;
    }
    let asked = TopicRequest::default().with_name(topic(name)).with_partition_indexes(vec![0, 7]);
    let unknown = TopicRequest::default().with_name(topic("no-such-topic")).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked, unknown]);
    let response: DescribeProducersResponse = desk.client.call(ApiKey::DescribeProducers, 0, &request).await;
    let mut told = Vec::new();
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        let mut active: Vec<String> = partition
            .active_producers
            .iter()
            .map(|producer| {
                let (id, epoch) = (producer.producer_id.0, producer.producer_epoch);
                format!("{id}/{epoch} at {} in {}", producer.last_sequence, producer.current_txn_start_offset)
            })
            .collect();
        active.sort_unstable();
        told.push(format!("{} {} {active:?}", partition.partition_index, ErrorCode(partition.error_code)));
    }
    told.sort_unstable();
    desk.note(check, told.join(", "));
}

pub(crate) async fn check(desk: &mut Desk) {
    let now = desk.now_ms;
    let offer = |id, epoch, sequence, count| stamped_at(id, epoch, sequence, count, now);

    let name = desk.topic(&[]).await;
    for index in 0..8 {
        desk.note_offer(&format!("in order {index}"), &name, offer(4711, 0, index * 10, 10)).await;
    }
    for back in 1..=7 {
        desk.note_offer(&format!("{back} back"), &name, offer(4711, 0, 80 - back * 10, 10)).await;
    }
    for (sequence, count) in [(90, 10), (70, 20), (75, 10), (75, 5), (60, 20), (70, 5), (0, 10)] {
        desk.note_offer(&format!("out of order {sequence}+{count}"), &name, offer(4711, 0, sequence, count))
            .await;
    }
    note_producers(desk, "after disorder", &name).await;
    desk.note_offer("the due one", &name, offer(4711, 0, 80, 1)).await;

    let name = desk.topic(&[]).await;
    for (epoch, sequence) in [(3, 0), (4, 10), (4, 0), (3, 10), (4, 10), (4, 0), (9, 5), (9, 0)] {
        desk.note_offer(&format!("epoch {epoch} at {sequence}"), &name, offer(4712, epoch, sequence, 10))
            .await;
    }
    note_producers(desk, "after epochs", &name).await;

    for first in [0, 1, 777, 2_147_483_600] {
        let name = desk.topic(&[]).await;
        desk.note_offer(&format!("without state at {first}"), &name, offer(4713, 7, first, 10)).await;
        desk.note_offer(&format!("without state at {first}, next"), &name, offer(4713, 7, first + 10, 10))
            .await;
        desk.note_offer(&format!("without state at {first}, 0"), &name, offer(4713, 7, 0, 10)).await;
    }
    if desk.profile > Profile::V1_1 {
        let name = desk.topic(&[]).await;
        desk.note_offer("straddling the wrap", &name, offer(4714, 0, 2_147_483_640, 20)).await;
        note_producers(desk, "after the wrap", &name).await;
        desk.note_offer("straddling again", &name, offer(4714, 0, 2_147_483_640, 20)).await;
        desk.note_offer("after the wrap, due", &name, offer(4714, 0, 12, 5)).await;
        let name = desk.topic(&[]).await;
        desk.note_offer("up to the maximum", &name, offer(4715, 0, 2_147_483_638, 10)).await;
        desk.note_offer("after the maximum", &name, offer(4715, 0, 0, 10)).await;
    }
    let name = desk.topic(&[]).await;
    desk.note_offer("a huge id", &name, offer((1 << 62) + 5, 0, 0, 2)).await;
    desk.note_offer("an unknown id with a high epoch", &name, offer(987_654_321, 32_000, 0, 2)).await;
    desk.note_offer("another id between", &name, offer(5, 0, 0, 2)).await;
    note_producers(desk, "several ids", &name).await;

    // The first is refused for its content, what follows it is judged without it.
    let name = desk.topic(&[("max.message.bytes", "400")]).await;
    desk.note_offer("first of a crowd too large", &name, offer(4716, 0, 0, 50)).await;
    desk.note_offer("second of a crowd", &name, offer(4716, 0, 50, 2)).await;
    desk.note_offer("third of a crowd", &name, offer(4716, 0, 52, 2)).await;

    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let mut previous = -1;
    for turn in 0..2 {
        let ask = async |desk: &mut Desk| {
            let response: InitProducerIdResponse =
                desk.client.call(ApiKey::InitProducerId, 0, &request).await;
            let is_loading = ErrorCode(response.error_code) == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
            (!is_loading).then_some(response)
        };
        let response = desk.eventually("a producer id", ask).await;
        let fresh = response.producer_id.0 != previous;
        previous = response.producer_id.0;
        let told =
            format!("{} epoch {} fresh {fresh}", ErrorCode(response.error_code), response.producer_epoch);
        desk.note(&format!("a producer id {turn}"), told);
    }
}
