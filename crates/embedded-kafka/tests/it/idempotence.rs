use std::time::Duration;

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use protocol::messages::describe_producers_response::DescribeProducersResponse;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::init_producer_id_response::InitProducerIdResponse;

use crate::client::{Client, NOW_MS, cluster, produce_request, single, stamped, stamped_at, topic};

const ALL: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];
const MODERN: [Profile; 3] = [Profile::V2_8, Profile::V3_9, Profile::V4_3];
const DAY_MS: i64 = 86_400_000;
const PID: i64 = 4711;

use ErrorCode as E;

async fn last_sequences(client: &mut Client) -> Vec<(i64, i32)> {
    let asked = TopicRequest::default().with_name(topic("t")).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    let response: DescribeProducersResponse = client.call(ApiKey::DescribeProducers, 0, &request).await;
    let producers = response.topics[0].partitions[0].active_producers.iter();
    producers.map(|producer| (producer.producer_id.0, producer.last_sequence)).collect()
}

#[tokio::test]
async fn two_connections_may_take_turns_with_one_producer_id() {
    for profile in ALL {
        let (cluster, mut one) = single(profile).await;
        let mut two = Client::connect(&cluster, 0).await;
        for turn in 0..10 {
            let client = if turn % 2 == 0 { &mut one } else { &mut two };
            assert_eq!(client.offer(stamped(PID, 0, turn * 10, 10)).await, (E::NONE, i64::from(turn) * 10));
        }
    }
}

#[tokio::test]
async fn five_batches_back_are_duplicates_and_the_sixth_is_out_of_order() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        for index in 0..10 {
            client.offer(stamped(PID, 0, index * 10, 10)).await;
        }
        for back in 1..=5 {
            let sequence = 100 - back * 10;
            let reply = client.produce(stamped(PID, 0, sequence, 10)).await;
            assert_eq!((reply.error_code, reply.base_offset), (0, i64::from(sequence)));
            // What betrays a duplicate on a CreateTime topic.
            assert_eq!(reply.log_append_time_ms, NOW_MS + 9);
        }
        assert_eq!(client.offer(stamped(PID, 0, 40, 10)).await, (E::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
        for (sequence, count) in [(110, 10), (90, 20), (95, 10), (95, 5), (80, 20)] {
            let code = client.offer(stamped(PID, 0, sequence, count)).await.0;
            assert_eq!(code, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        assert_eq!(cluster.end_offset("t", 0).unwrap(), 100);
    }
}

#[tokio::test]
async fn a_producer_epoch_may_be_raised_by_anyone_and_starts_at_0() {
    for profile in ALL {
        let (_cluster, mut client) = single(profile).await;
        client.offer(stamped(PID, 3, 0, 10)).await;
        assert_eq!(client.offer(stamped(PID, 4, 10, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(client.offer(stamped(PID, 4, 0, 10)).await, (E::NONE, 10));
        assert_eq!(client.offer(stamped(PID, 3, 10, 10)).await.0, E::INVALID_PRODUCER_EPOCH);
    }
}

#[tokio::test]
async fn without_state_any_sequence_is_believed_from_2_5_on() {
    for profile in ALL {
        let (_cluster, mut client) = single(profile).await;
        let expected = if profile == Profile::V1_1 { (E::UNKNOWN_PRODUCER_ID, -1) } else { (E::NONE, 0) };
        assert_eq!(client.offer(stamped(PID, 7, 777, 10)).await, expected);
    }
}

#[tokio::test]
async fn sequences_wrap_at_their_maximum() {
    for profile in MODERN {
        let (_cluster, mut client) = single(profile).await;
        assert_eq!(client.offer(stamped(PID, 0, 2_147_483_640, 20)).await, (E::NONE, 0));
        assert_eq!(last_sequences(&mut client).await, [(PID, 11)]);
        assert_eq!(client.offer(stamped(PID, 0, 12, 5)).await, (E::NONE, 20));
        assert_eq!(client.offer(stamped(PID, 0, 2_147_483_640, 20)).await, (E::NONE, 0));
    }
}

#[tokio::test]
async fn a_producer_of_old_records_is_forgotten_at_the_next_sweep_and_a_resend_doubles() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        cluster.set_topic_config("t", "retention.ms", Some("-1"));
        let old = NOW_MS - 8 * DAY_MS;
        client.offer(stamped_at(PID, 0, 0, 10, old)).await;
        assert_eq!(client.offer(stamped_at(PID, 0, 0, 10, old)).await, (E::NONE, 0));
        cluster.sweep();
        assert_eq!(client.offer(stamped_at(PID, 0, 0, 10, old)).await, (E::NONE, 10));
        cluster.sweep();
        let expected = if profile == Profile::V1_1 { (E::UNKNOWN_PRODUCER_ID, -1) } else { (E::NONE, 20) };
        assert_eq!(client.offer(stamped_at(PID, 0, 500, 10, old)).await, expected);
    }
}

#[tokio::test]
async fn the_time_of_the_last_batch_decides_about_the_expiry() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    client.offer(stamped_at(PID, 0, 0, 10, NOW_MS - 2 * DAY_MS)).await;
    client.offer(stamped(PID, 0, 10, 10)).await;
    cluster.sweep();
    assert_eq!(cluster.last_sequence("t", 0, PID), Some(19));
    cluster.advance(Duration::from_secs(86_401));
    cluster.sweep();
    assert_eq!(cluster.last_sequence("t", 0, PID), None);
}

#[tokio::test]
async fn a_restart_leaves_the_last_batch_of_a_fresh_producer_and_nothing_of_an_old_one() {
    for profile in MODERN {
        let (cluster, mut client) = single(profile).await;
        cluster.set_topic_config("t", "retention.ms", Some("-1"));
        for index in 0..3 {
            client.offer(stamped(PID, 0, index * 10, 10)).await;
        }
        client.offer(stamped_at(PID + 1, 0, 0, 10, NOW_MS - 8 * DAY_MS)).await;
        cluster.broker(0).restart().await.unwrap();
        assert!(client.is_closed().await);
        let mut client = Client::connect(&cluster, 0).await;
        assert_eq!(last_sequences(&mut client).await, [(PID, 29)]);
        assert_eq!(client.offer(stamped(PID, 0, 20, 10)).await, (E::NONE, 20));
        assert_eq!(client.offer(stamped(PID, 0, 10, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(client.offer(stamped(PID, 0, 30, 10)).await, (E::NONE, 40));
        assert_eq!(client.offer(stamped_at(PID + 1, 0, 0, 10, NOW_MS)).await, (E::NONE, 50));
    }
}

#[tokio::test]
async fn an_emptied_log_keeps_its_producers_until_a_restart_but_not_on_1_1() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        client.offer(stamped(PID, 0, 0, 30)).await;
        cluster.delete_records("t", 0, 30);
        if profile == Profile::V1_1 {
            let reply = client.produce(stamped(PID, 0, 30, 10)).await;
            assert_eq!(E(reply.error_code), E::UNKNOWN_PRODUCER_ID);
            assert_eq!(reply.log_start_offset, 30);
            continue;
        }
        assert_eq!(client.offer(stamped(PID, 0, 500, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        cluster.broker(0).restart().await.unwrap();
        let mut client = Client::connect(&cluster, 0).await;
        assert_eq!(last_sequences(&mut client).await, []);
        assert_eq!(client.offer(stamped(PID, 0, 500, 10)).await, (E::NONE, 30));
    }
}

#[tokio::test]
async fn behind_a_refused_batch_the_rest_is_refused_unless_there_was_no_state() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let crowd = |first: i32| (first..first + 5).map(|index| stamped(PID, 0, index * 10, 10));
    for batch in crowd(0) {
        assert_eq!(client.offer(batch).await.0, E::NONE);
    }
    for batch in crowd(6) {
        assert_eq!(client.offer(batch).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    assert_eq!(client.offer(stamped(PID, 0, 50, 10)).await, (E::NONE, 50));
    // The first of a producer without state is lost: the second is believed, and there is a hole.
    assert_eq!(client.offer(stamped(PID + 1, 0, 10, 10)).await, (E::NONE, 60));
    assert_eq!(client.offer(stamped(PID + 1, 0, 0, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
}

#[tokio::test]
async fn a_new_leader_knows_five_batches_and_one_that_lost_some_knows_what_it_has() {
    for profile in MODERN {
        let cluster = cluster(3, profile).await;
        let mut client = Client::connect(&cluster, 0).await;
        for index in 0..10 {
            client.offer(stamped(PID, 0, index * 10, 10)).await;
        }
        cluster.move_leader("t", 0, 1);
        assert_eq!(client.offer(stamped(PID, 0, 100, 10)).await.0, E::NOT_LEADER_OR_FOLLOWER);
        let mut client = Client::connect(&cluster, 1).await;
        assert_eq!(client.offer(stamped(PID, 0, 50, 10)).await, (E::NONE, 50));
        assert_eq!(client.offer(stamped(PID, 0, 40, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        cluster.truncate("t", 0, 50);
        let leader = cluster.leader("t", 0).unwrap();
        let mut client = Client::connect(&cluster, leader).await;
        assert_eq!(client.offset_at(-1).await, (E::NONE, 50));
        assert_eq!(client.offer(stamped(PID, 0, 100, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(client.offer(stamped(PID, 0, 50, 10)).await, (E::NONE, 50));
        // Lost to before its beginning: nothing is known, anything goes.
        cluster.truncate("t", 0, 0);
        let mut client = Client::connect(&cluster, cluster.leader("t", 0).unwrap()).await;
        assert_eq!(client.offer(stamped(PID, 0, 60, 10)).await, (E::NONE, 0));
    }
}

#[tokio::test]
async fn producer_ids_are_given_out_once_each() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
    let one: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 1, &request).await;
    let two: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 4, &request).await;
    assert_eq!((one.error_code, one.producer_epoch), (0, 0));
    assert_ne!(one.producer_id, two.producer_id);
    assert_ne!(cluster.allocate_producer_id().0, two.producer_id.0);
}

#[tokio::test]
async fn batches_of_two_producers_and_a_plain_one_may_share_a_request() {
    let (cluster, mut client) = single(Profile::V2_8).await;
    cluster.create_topic("u", 3, &[]);
    let batches =
        [("u", 0, stamped(1, 0, 0, 1)), ("u", 1, stamped(2, 0, 0, 1)), ("u", 2, crate::client::batch(1))];
    let replies = client.produce_all(&produce_request(None, &batches)).await;
    assert!(replies.iter().all(|reply| reply.error_code == 0));
}
