use std::time::Duration;

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use protocol::messages::create_topics_response::CreateTopicsResponse;
use protocol::messages::end_txn_request::EndTxnRequest;
use protocol::messages::end_txn_response::EndTxnResponse;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::init_producer_id_response::InitProducerIdResponse;
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, GroupId, ProducerId, TransactionalId,
    TxnOffsetCommitResponse,
};
use record_batch::{BatchBuilder, Codec, Header};

use crate::client::{
    Client, NOW_MS, batch, batch_of, cluster, fetch_request, produce_request, single, stamp, stamped, text,
    topic,
};

use ErrorCode as E;

const ALL: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];

fn id(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

async fn init(client: &mut Client, name: &str) -> Result<(i64, i16), E> {
    init_for(client, name, 60_000).await
}

async fn init_for(client: &mut Client, name: &str, timeout_ms: i32) -> Result<(i64, i16), E> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id(name)))
        .with_transaction_timeout_ms(timeout_ms);
    let response: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 0, &request).await;
    match E(response.error_code) {
        E::NONE => Ok((response.producer_id.0, response.producer_epoch)),
        code => Err(code),
    }
}

async fn add(client: &mut Client, (producer_id, epoch): (i64, i16), partitions: &[i32]) -> Vec<E> {
    let topic = AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(partitions.to_vec());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id("x"))
        .with_v3_and_below_producer_id(ProducerId(producer_id))
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(vec![topic]);
    let response: AddPartitionsToTxnResponse = client.call(ApiKey::AddPartitionsToTxn, 0, &request).await;
    let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
    results.iter().map(|result| E(result.partition_error_code)).collect()
}

async fn end(client: &mut Client, version: i16, who: (i64, i16), commit: bool) -> (E, i16) {
    let (code, _, epoch) = end_whole(client, version, who, commit).await;
    (code, epoch)
}

/// The same, with the producer id to go on with.
async fn end_whole(
    client: &mut Client,
    version: i16,
    (producer_id, epoch): (i64, i16),
    commit: bool,
) -> (E, i64, i16) {
    let request = EndTxnRequest::default()
        .with_transactional_id(id("x"))
        .with_producer_id(ProducerId(producer_id))
        .with_producer_epoch(epoch)
        .with_committed(commit);
    let response: EndTxnResponse = client.call(ApiKey::EndTxn, version, &request).await;
    (E(response.error_code), response.producer_id.0, response.producer_epoch)
}

fn in_transaction((producer_id, epoch): (i64, i16), sequence: i32, count: i32) -> Bytes {
    let builder = BatchBuilder::new(Codec::None).stamp(stamp(producer_id, epoch, sequence)).transactional();
    batch_of(count, builder, NOW_MS)
}

async fn produce(client: &mut Client, batch: Bytes) -> (E, i64) {
    let reply = client.produce_all(&produce_request(Some("x"), &[("t", 0, batch)])).await.remove(0);
    (E(reply.error_code), reply.base_offset)
}

fn ends(cluster: &Cluster) -> (i64, i64) {
    (cluster.end_offset("t", 0).unwrap(), cluster.last_stable_offset("t", 0).unwrap())
}

#[tokio::test]
async fn committed_and_aborted_data_are_told_apart_by_markers_and_the_aborted_list() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let who = init(&mut client, "x").await.unwrap();
        assert_eq!(add(&mut client, who, &[0]).await, [E::NONE]);
        assert_eq!(produce(&mut client, in_transaction(who, 0, 10)).await, (E::NONE, 0));
        assert_eq!(ends(&cluster), (10, 0));
        client.offer(batch(5)).await;
        assert_eq!(end(&mut client, 0, who, true).await.0, E::NONE);
        assert_eq!(ends(&cluster), (16, 16));
        let marker = cluster.log("t", 0).unwrap().pop().unwrap();
        assert_eq!((marker.len(), Header::read(&marker).unwrap().attributes), (78, 0x30));

        add(&mut client, who, &[0]).await;
        assert_eq!(produce(&mut client, in_transaction(who, 10, 10)).await, (E::NONE, 16));
        assert_eq!(end(&mut client, 0, who, false).await.0, E::NONE);
        assert_eq!(ends(&cluster), (27, 27));

        let fetched = client.fetch_with(&fetch_request(0).with_isolation_level(1)).await;
        let told = &fetched.responses[0].partitions[0];
        let aborted = told.aborted_transactions.as_ref().unwrap();
        assert_eq!(aborted.len(), 1);
        assert_eq!((aborted[0].producer_id.0, aborted[0].first_offset), (who.0, 16));
        assert_eq!(told.records.as_ref().unwrap().len(), cluster.log_bytes("t", 0).unwrap());
        assert_eq!(client.fetch(0).await.aborted_transactions, None);
    }
}

#[tokio::test]
async fn read_committed_ends_where_a_transaction_is_open() {
    let (cluster, mut client) = single(Profile::V3_9).await;
    client.offer(batch(5)).await;
    let who = init(&mut client, "x").await.unwrap();
    add(&mut client, who, &[0]).await;
    produce(&mut client, in_transaction(who, 0, 10)).await;
    let fetched = client.fetch_with(&fetch_request(0).with_isolation_level(1)).await;
    let told = &fetched.responses[0].partitions[0];
    assert_eq!((told.last_stable_offset, told.high_watermark), (5, 15));
    assert_eq!(told.records.as_ref().unwrap().len(), cluster.log("t", 0).unwrap()[0].len());
    // A batch of the same producer outside the transaction.
    assert_eq!(client.offer(stamped(who.0, who.1, 10, 1)).await.0, E::INVALID_TXN_STATE);
}

#[tokio::test]
async fn an_empty_transaction_is_one_marker_and_keeps_the_sequence_of_its_epoch() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let who = init(&mut client, "x").await.unwrap();
        client.offer(stamped(who.0, who.1, 0, 10)).await;
        add(&mut client, who, &[0]).await;
        end(&mut client, 0, who, true).await;
        assert_eq!(ends(&cluster), (11, 11));
        assert_eq!(client.offer(stamped(who.0, who.1, 10, 10)).await, (E::NONE, 11));
        // A new epoch's marker fences, and starts the sequence again.
        let next = init(&mut client, "x").await.unwrap();
        assert_eq!(next, (who.0, who.1 + 1));
        assert_eq!(client.offer(stamped(who.0, who.1, 20, 10)).await.0, E::NONE);
        add(&mut client, next, &[0]).await;
        end(&mut client, 0, next, true).await;
        assert_eq!(client.offer(stamped(who.0, who.1, 30, 10)).await.0, E::INVALID_PRODUCER_EPOCH);
        assert_eq!(cluster.last_sequence("t", 0, who.0), Some(-1));
        assert_eq!(client.offer(stamped(next.0, next.1, 30, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(client.offer(stamped(next.0, next.1, 0, 10)).await.0, E::NONE);
    }
}

#[tokio::test]
async fn ending_twice_is_a_repetition_or_a_mistake() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let who = init(&mut client, "x").await.unwrap();
    add(&mut client, who, &[0]).await;
    assert_eq!(end(&mut client, 0, who, true).await.0, E::NONE);
    assert_eq!(end(&mut client, 0, who, true).await.0, E::NONE);
    assert_eq!(end(&mut client, 0, who, false).await.0, E::INVALID_TXN_STATE);
    assert_eq!(end(&mut client, 5, who, false).await, (E::NONE, 1));
    assert_eq!(end(&mut client, 0, who, true).await.0, E::INVALID_PRODUCER_EPOCH);
    assert_eq!(end(&mut client, 2, who, true).await.0, E::PRODUCER_FENCED);
}

#[tokio::test]
async fn the_second_kind_of_transaction_raises_the_epoch_and_adds_partitions_itself() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let who = init(&mut client, "x").await.unwrap();
    assert_eq!(produce(&mut client, in_transaction(who, 0, 3)).await, (E::NONE, 0));
    assert_eq!(end(&mut client, 5, who, true).await, (E::NONE, 1));
    assert_eq!(ends(&cluster), (4, 4));
    assert_eq!(produce(&mut client, in_transaction((who.0, 1), 0, 3)).await, (E::NONE, 4));
}

#[tokio::test]
async fn a_repeated_end_of_the_second_kind_is_told_the_epoch_that_the_first_one_gave() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let who = init(&mut client, "x").await.unwrap();
    produce(&mut client, in_transaction(who, 0, 3)).await;
    assert_eq!(end(&mut client, 5, who, true).await, (E::NONE, 1));
    assert_eq!(end(&mut client, 5, who, true).await, (E::NONE, 1));
    assert_eq!(end(&mut client, 5, who, false).await.0, E::INVALID_TXN_STATE);
    assert_eq!(ends(&cluster), (4, 4));
    let next = (who.0, 1);
    assert_eq!(end(&mut client, 5, next, true).await.0, E::INVALID_TXN_STATE);
    // An abort of nothing is one all the same.
    assert_eq!(end(&mut client, 5, next, false).await, (E::NONE, 2));
    assert_eq!(end(&mut client, 5, next, false).await, (E::NONE, 2));
    assert_eq!(end(&mut client, 5, who, false).await.0, E::PRODUCER_FENCED);
}

/// A producer with the last epoch that there is.
async fn worn(client: &mut Client) -> (i64, i16) {
    let who = init(client, "x").await.unwrap();
    for epoch in 0..i16::MAX - 1 {
        assert_eq!(end(client, 5, (who.0, epoch), false).await, (E::NONE, epoch + 1));
    }
    (who.0, i16::MAX - 1)
}

#[tokio::test]
async fn the_end_with_the_last_epoch_gives_a_new_producer_id() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let worn = worn(&mut client).await;
    assert_eq!(produce(&mut client, in_transaction(worn, 0, 3)).await, (E::NONE, 0));
    let (code, producer_id, epoch) = end_whole(&mut client, 5, worn, true).await;
    assert_eq!((code, epoch), (E::NONE, 0));
    assert!(producer_id > worn.0, "{producer_id}");
    let fresh = (producer_id, 0);
    // The marker is the old producer's, with the epoch that nobody was given.
    let marker = Header::read(&cluster.log("t", 0).unwrap().pop().unwrap()).unwrap();
    assert_eq!((marker.producer_id.0, marker.producer_epoch), (worn.0, i16::MAX));
    assert_eq!(ends(&cluster), (4, 4));
    // Who had no answer asks again.
    assert_eq!(end_whole(&mut client, 5, worn, true).await, (E::NONE, producer_id, 0));
    assert_eq!(end(&mut client, 5, worn, false).await.0, E::INVALID_TXN_STATE);
    assert_eq!(produce(&mut client, in_transaction(fresh, 0, 3)).await, (E::NONE, 4));
    // Then it is a stranger.
    assert_eq!(end(&mut client, 5, worn, true).await.0, E::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(end_whole(&mut client, 5, fresh, true).await, (E::NONE, producer_id, 1));
    assert_eq!(ends(&cluster), (8, 8));
}

#[tokio::test]
async fn an_abort_of_nothing_with_the_last_epoch_gives_a_new_producer_id_too() {
    let (_cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let worn = worn(&mut client).await;
    let (code, producer_id, epoch) = end_whole(&mut client, 5, worn, false).await;
    assert_eq!((code, epoch), (E::NONE, 0));
    assert!(producer_id > worn.0, "{producer_id}");
}

#[tokio::test]
async fn beyond_the_last_epoch_there_is_only_a_new_producer_id() {
    let (cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let worn = worn(&mut client).await;
    produce(&mut client, in_transaction(worn, 0, 3)).await;
    // It is fenced with the epoch after the last.
    assert_eq!(init(&mut client, "x").await, Err(E::CONCURRENT_TRANSACTIONS));
    assert_eq!(ends(&cluster), (4, 4));
    // Who guesses that epoch may use it, and is no trouble to anybody.
    let guessed = (worn.0, i16::MAX);
    assert_eq!(produce(&mut client, in_transaction(guessed, 0, 3)).await, (E::NONE, 4));
    cluster.advance(Duration::from_secs(61));
    assert_eq!(ends(&cluster), (8, 8));
    let (producer_id, epoch) = init(&mut client, "x").await.unwrap();
    assert_eq!(epoch, 0);
    assert!(producer_id > worn.0, "{producer_id}");
}

#[tokio::test]
async fn a_batch_outside_its_transaction_is_refused_by_newer_versions_and_hangs_in_older_ones() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let who = init(&mut client, "x").await.unwrap();
        let offered = produce(&mut client, in_transaction(who, 0, 3)).await;
        if profile >= Profile::V3_9 {
            assert_eq!(offered.0, E::INVALID_TXN_STATE);
        } else {
            assert_eq!((offered.0, ends(&cluster)), (E::NONE, (3, 0)));
        }
    }
    let (_cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(11);
    assert_eq!(produce(&mut client, in_transaction((5, 0), 0, 3)).await.0, E::NOT_ENOUGH_REPLICAS);
    let who = init(&mut client, "x").await.unwrap();
    assert_eq!(produce(&mut client, in_transaction(who, 0, 3)).await.0, E::TRANSACTION_ABORTABLE);
}

#[tokio::test]
async fn one_unknown_partition_stops_all_from_being_added() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let who = init(&mut client, "x").await.unwrap();
    let codes = add(&mut client, who, &[0, 7]).await;
    assert_eq!(codes, [E::OPERATION_NOT_ATTEMPTED, E::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(add(&mut client, (who.0 + 1, 0), &[0]).await, [E::INVALID_PRODUCER_ID_MAPPING]);
    assert_eq!(add(&mut client, (who.0, 5), &[0]).await, [E::INVALID_PRODUCER_EPOCH]);
}

#[tokio::test]
async fn a_new_owner_aborts_what_is_open_and_so_does_time() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let who = init(&mut client, "x").await.unwrap();
    add(&mut client, who, &[0]).await;
    produce(&mut client, in_transaction(who, 0, 3)).await;
    assert_eq!(init(&mut client, "x").await, Err(E::CONCURRENT_TRANSACTIONS));
    assert_eq!(ends(&cluster), (4, 4));
    let next = init(&mut client, "x").await.unwrap();
    assert!(next.1 > who.1);
    add(&mut client, next, &[0]).await;
    produce(&mut client, in_transaction(next, 0, 3)).await;
    cluster.advance(Duration::from_secs(61));
    assert_eq!(ends(&cluster), (8, 8));
    assert_eq!(end(&mut client, 2, next, true).await.0, E::PRODUCER_FENCED);
}

#[tokio::test]
async fn a_transaction_that_is_open_too_long_is_aborted_while_nobody_asks_anything() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut client = Client::connect(&cluster, 0).await;
    let who = init_for(&mut client, "x", 50).await.unwrap();
    add(&mut client, who, &[0]).await;
    assert_eq!(produce(&mut client, in_transaction(who, 0, 3)).await, (E::NONE, 0));
    // Its marker.
    cluster.reached("t", 0, 4).await.unwrap();
    assert_eq!(ends(&cluster), (4, 4));
}

/// Two brokers, a topic `t` that only broker 1 has, and a connection to broker 0, which coordinates `x`.
async fn led_elsewhere() -> (Cluster, Client) {
    let cluster = Cluster::start(Config::new(2, Profile::V4_3).in_memory()).await.unwrap();
    let assigned = CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()]);
    let asked = CreatableTopic::default()
        .with_name(topic("t"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assigned]);
    let request = CreateTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(1000);
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let response: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 4, &request).await;
    assert_eq!(response.topics[0].error_code, 0);
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_ends_while_a_partition_is_offline_ends_there_when_it_is_back() {
    for commit in [true, false] {
        let (cluster, mut client) = led_elsewhere().await;
        let who = init(&mut client, "x").await.unwrap();
        add(&mut client, who, &[0]).await;
        let mut leader = Client::in_memory(&cluster, 1).unwrap();
        assert_eq!(produce(&mut leader, in_transaction(who, 0, 3)).await, (E::NONE, 0));
        cluster.broker(1).stop().await;
        assert_eq!(end(&mut client, 0, who, commit).await.0, E::NONE);
        assert_eq!(ends(&cluster).0, 3);
        // Until then nothing else begins.
        assert_eq!(add(&mut client, who, &[0]).await, [E::CONCURRENT_TRANSACTIONS]);
        assert_eq!(init(&mut client, "x").await, Err(E::CONCURRENT_TRANSACTIONS));
        assert_eq!(end(&mut client, 0, who, commit).await.0, E::CONCURRENT_TRANSACTIONS);
        assert_eq!(end(&mut client, 0, who, !commit).await.0, E::INVALID_TXN_STATE);
        cluster.broker(1).start().await.unwrap();
        assert_eq!(ends(&cluster), (4, 4));
        assert_eq!(end(&mut client, 0, who, commit).await.0, E::NONE);
        let mut leader = Client::in_memory(&cluster, 1).unwrap();
        let fetched = leader.fetch_with(&fetch_request(0).with_isolation_level(1)).await;
        let aborted = fetched.responses[0].partitions[0].aborted_transactions.as_ref().unwrap();
        assert_eq!(aborted.len(), usize::from(!commit));
        // The next one is another.
        assert_eq!(add(&mut client, who, &[0]).await, [E::NONE]);
        assert_eq!(produce(&mut leader, in_transaction(who, 3, 3)).await, (E::NONE, 4));
        assert_eq!(end(&mut client, 0, who, true).await.0, E::NONE);
        assert_eq!(ends(&cluster), (8, 8));
        let fetched = leader.fetch_with(&fetch_request(4).with_isolation_level(1)).await;
        assert_eq!(fetched.responses[0].partitions[0].aborted_transactions.as_ref().unwrap().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_open_too_long_ends_in_a_partition_that_comes_back() {
    let (cluster, mut client) = led_elsewhere().await;
    let who = init(&mut client, "x").await.unwrap();
    add(&mut client, who, &[0]).await;
    let mut leader = Client::in_memory(&cluster, 1).unwrap();
    produce(&mut leader, in_transaction(who, 0, 3)).await;
    cluster.broker(1).stop().await;
    cluster.advance(Duration::from_secs(61));
    cluster.broker(1).start().await.unwrap();
    assert_eq!(ends(&cluster), (4, 4));
}

#[tokio::test]
async fn an_end_that_a_new_leader_has_not_copied_is_written_again() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 0).await;
    let who = init(&mut client, "x").await.unwrap();
    add(&mut client, who, &[0]).await;
    assert_eq!(produce(&mut client, in_transaction(who, 0, 3)).await, (E::NONE, 0));
    cluster.pause_follower("t", 0, 1);
    assert_eq!(end(&mut client, 0, who, false).await.0, E::NONE);
    assert_eq!(ends(&cluster), (4, 3));
    assert_eq!(add(&mut client, who, &[0]).await, [E::CONCURRENT_TRANSACTIONS]);
    cluster.move_leader("t", 0, 1);
    assert_eq!(ends(&cluster), (4, 4));
    let mut leader = Client::connect(&cluster, 1).await;
    let fetched = leader.fetch_with(&fetch_request(0).with_isolation_level(1)).await;
    assert_eq!(fetched.responses[0].partitions[0].aborted_transactions.as_ref().unwrap().len(), 1);
    assert_eq!(add(&mut client, who, &[0]).await, [E::NONE]);
}

/// InitProducerId of who says who it was.
async fn go_on(client: &mut Client, version: i16, who: (i64, i16)) -> Result<(i64, i16), E> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id("x")))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1);
    let response: InitProducerIdResponse = client.call(ApiKey::InitProducerId, version, &request).await;
    match E(response.error_code) {
        E::NONE => Ok((response.producer_id.0, response.producer_epoch)),
        code => Err(code),
    }
}

#[tokio::test]
async fn who_had_no_answer_is_given_the_same_epoch_and_a_newcomer_another() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let first = init(&mut client, "x").await.unwrap();
    let second = go_on(&mut client, 4, first).await.unwrap();
    assert_eq!(second, (first.0, 1));
    assert_eq!(go_on(&mut client, 4, first).await, Ok(second));
    assert_eq!(go_on(&mut client, 4, second).await, Ok((first.0, 2)));
    assert_eq!(go_on(&mut client, 4, first).await, Err(E::PRODUCER_FENCED));
    assert_eq!(go_on(&mut client, 3, first).await, Err(E::INVALID_PRODUCER_EPOCH));
    assert_eq!(init(&mut client, "x").await, Ok((first.0, 3)));
    assert_eq!(go_on(&mut client, 4, (first.0, 2)).await, Err(E::PRODUCER_FENCED));
    assert_eq!(go_on(&mut client, 4, (first.0, -1)).await, Err(E::INVALID_REQUEST));
}

#[tokio::test]
async fn who_had_no_answer_to_the_last_epoch_is_given_the_same_new_producer_id() {
    let (_cluster, client) = single(Profile::V4_3).await;
    let mut client = client.produce_version(12);
    let worn = worn(&mut client).await;
    let fresh = go_on(&mut client, 4, worn).await.unwrap();
    assert!(fresh.0 > worn.0 && fresh.1 == 0, "{fresh:?}");
    assert_eq!(go_on(&mut client, 4, worn).await, Ok(fresh));
    assert_eq!(go_on(&mut client, 4, fresh).await, Ok((fresh.0, 1)));
    assert_eq!(go_on(&mut client, 4, worn).await, Err(E::PRODUCER_FENCED));
}

async fn commit_offset(client: &mut Client, who: (i64, i16), group: &str, note: usize) -> E {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_committed_offset(5)
        .with_committed_metadata(Some(text(&"n".repeat(note))));
    let asked = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id("x"))
        .with_group_id(GroupId(text(group)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_topics(vec![asked]);
    let response: TxnOffsetCommitResponse = client.call(ApiKey::TxnOffsetCommit, 0, &request).await;
    E(response.topics[0].partitions[0].error_code)
}

#[tokio::test]
async fn offsets_of_a_group_that_was_not_added_are_refused_by_newer_versions_and_hang_in_older_ones() {
    for profile in ALL {
        let (cluster, mut client) = single(profile).await;
        let who = init(&mut client, "x").await.unwrap();
        add(&mut client, who, &[0]).await;
        let expected = if profile >= Profile::V3_9 { E::INVALID_TXN_STATE } else { E::NONE };
        assert_eq!(commit_offset(&mut client, who, "g", 1).await, expected);
        end(&mut client, 0, who, true).await;
        assert_eq!(cluster.committed_offset("g", "t", 0), None);
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(id("x"))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_group_id(GroupId(text("g")));
        let response: AddOffsetsToTxnResponse = client.call(ApiKey::AddOffsetsToTxn, 0, &request).await;
        assert_eq!(response.error_code, 0);
        assert_eq!(commit_offset(&mut client, who, "g", 4097).await, E::OFFSET_METADATA_TOO_LARGE);
        assert_eq!(commit_offset(&mut client, who, "g", 4096).await, E::NONE);
        end(&mut client, 0, who, true).await;
        assert_eq!(cluster.committed_offset("g", "t", 0), Some(5));
    }
}
