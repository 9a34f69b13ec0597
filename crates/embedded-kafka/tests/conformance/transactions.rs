//! Transactions of the first kind: markers, aborted lists, fencing.

use bytes::Bytes;
use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::{
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, FetchResponse, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId, TransactionalId,
};
use record_batch::{BatchBuilder, Codec};

use crate::client::{batch_of, fetch_request, produce_request, stamp, stamped_at, text, topic};
use crate::desk::Desk;

type Who = (i64, i16);

/// What means "in a moment".
fn is_passing(code: ErrorCode) -> bool {
    [
        ErrorCode::CONCURRENT_TRANSACTIONS,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
    ]
    .contains(&code)
}

async fn init(desk: &mut Desk, id: &str, timeout_ms: i32) -> Result<Who, ErrorCode> {
    let coordinator = FindCoordinatorRequest::default().with_key(text(id)).with_key_type(1);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(timeout_ms);
    desk.eventually("a transactional producer id", async |desk| {
        let found: FindCoordinatorResponse = desk.client.call(ApiKey::FindCoordinator, 1, &coordinator).await;
        if found.error_code != 0 {
            return None;
        }
        let response: InitProducerIdResponse = desk.client.call(ApiKey::InitProducerId, 0, &request).await;
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => Some(Ok((response.producer_id.0, response.producer_epoch))),
            code if is_passing(code) => None,
            code => Some(Err(code)),
        }
    })
    .await
}

async fn add(desk: &mut Desk, id: &str, who: Who, name: &str, indexes: &[i32]) -> String {
    let asked = AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(indexes.to_vec());
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(id)))
        .with_v3_and_below_producer_id(ProducerId(who.0))
        .with_v3_and_below_producer_epoch(who.1)
        .with_v3_and_below_topics(vec![asked]);
    desk.eventually("partitions to be added", async |desk| {
        let response: AddPartitionsToTxnResponse =
            desk.client.call(ApiKey::AddPartitionsToTxn, 0, &request).await;
        let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
        let mut codes: Vec<ErrorCode> =
            results.iter().map(|result| ErrorCode(result.partition_error_code)).collect();
        codes.sort_unstable();
        (!codes.iter().any(|code| is_passing(*code))).then(|| format!("{codes:?}"))
    })
    .await
}

async fn end(desk: &mut Desk, id: &str, who: Who, commit: bool) -> ErrorCode {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_committed(commit);
    desk.eventually("the transaction's end", async |desk| {
        let response: EndTxnResponse = desk.client.call(ApiKey::EndTxn, 0, &request).await;
        let code = ErrorCode(response.error_code);
        (!is_passing(code)).then_some(code)
    })
    .await
}

/// Waits until markers have been written: they come after the answer.
async fn settled(desk: &mut Desk, name: &str, end_offset: i64) {
    desk.eventually("markers", async |desk| {
        (desk.fetch(name, 0, 1 << 20).await.high_watermark == end_offset).then_some(())
    })
    .await;
}

fn data(desk: &Desk, who: Who, sequence: i32, count: i32) -> Bytes {
    let builder = BatchBuilder::new(Codec::None).stamp(stamp(who.0, who.1, sequence)).transactional();
    batch_of(count, builder, desk.now_ms)
}

async fn note_produce(desk: &mut Desk, check: &str, id: &str, name: &str, batch: Bytes) {
    let request = produce_request(Some(id), &[(name, 0, batch)]);
    let ask = async |desk: &mut Desk| {
        let reply = desk.offer_with(desk.produce_version(), &request).await;
        let again = reply.as_ref().is_some_and(|reply| is_passing(ErrorCode(reply.error_code)));
        (!again).then_some(reply)
    };
    let reply = desk.eventually("the transaction to take a batch", ask).await;
    let answer = desk.describe(reply);
    desk.note(check, answer);
}

async fn note_committed(desk: &mut Desk, check: &str, name: &str, offset: i64) {
    let mut request = fetch_request(offset).with_replica_id((-1).into()).with_isolation_level(1);
    request.topics[0].topic = topic(name);
    let response: FetchResponse = desk.client.call(ApiKey::Fetch, 7, &request).await;
    let told = &response.responses[0].partitions[0];
    let aborted: Vec<i64> =
        told.aborted_transactions.iter().flatten().map(|transaction| transaction.first_offset).collect();
    let (end, stable, bytes) =
        (told.high_watermark, told.last_stable_offset, told.records.as_ref().map_or(0, Bytes::len));
    desk.note(check, format!("end {end} stable {stable} {bytes} bytes aborted from {aborted:?}"));
}

pub(crate) async fn check(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    let who = init(desk, "x", 60_000).await.unwrap();
    desk.note("first epoch", who.1);
    let added = add(desk, "x", who, &name, &[0]).await;
    desk.note("add", added);
    note_produce(desk, "in a transaction", "x", &name, data(desk, who, 0, 10)).await;
    note_committed(desk, "committed so far", &name, 0).await;
    let now = desk.now_ms;
    desk.note_offer("outside of the transaction", &name, stamped_at(who.0, who.1, 10, 1, now)).await;
    desk.note_offer("of another", &name, batch_of(5, BatchBuilder::new(Codec::None), now)).await;
    let code = end(desk, "x", who, true).await;
    desk.note("commit", code);
    settled(desk, &name, 16).await;
    desk.note_log("after the commit", &name).await;

    add(desk, "x", who, &name, &[0]).await;
    note_produce(desk, "in the next transaction", "x", &name, data(desk, who, 10, 10)).await;
    let code = end(desk, "x", who, false).await;
    desk.note("abort", code);
    settled(desk, &name, 27).await;
    desk.note_log("after the abort", &name).await;
    for offset in [0, 20, 26, 27] {
        note_committed(desk, &format!("committed from {offset}"), &name, offset).await;
    }
    let code = end(desk, "x", who, false).await;
    desk.note("abort again", code);
    let code = end(desk, "x", who, true).await;
    desk.note("commit after the abort", code);

    let empty = desk.topic(&[]).await;
    add(desk, "x", who, &empty, &[0]).await;
    end(desk, "x", who, true).await;
    settled(desk, &empty, 1).await;
    desk.note_log("an empty transaction", &empty).await;
    note_committed(desk, "an empty transaction, committed", &empty, 0).await;

    let added = add(desk, "x", who, &name, &[0, 9]).await;
    desk.note("add an unknown partition", added);
    let added = add(desk, "x", (who.0 + 1_000_000, 0), &name, &[0]).await;
    desk.note("add as another producer", added);
    let added = add(desk, "nobody", who, &name, &[0]).await;
    desk.note("add for nobody", added);
    let next = init(desk, "x", 60_000).await.unwrap();
    desk.note("next epoch", format!("{} same id {}", next.1, next.0 == who.0));
    let added = add(desk, "x", who, &name, &[0]).await;
    desk.note("add with the old epoch", added);
    let code = end(desk, "x", who, true).await;
    desk.note("end with the old epoch", code);
    desk.note_offer("the old epoch, not fenced here yet", &name, stamped_at(who.0, who.1, 20, 1, now)).await;
    add(desk, "x", next, &name, &[0]).await;
    end(desk, "x", next, true).await;
    settled(desk, &name, 29).await;
    desk.note_offer("the old epoch, fenced by a marker", &name, stamped_at(who.0, who.1, 21, 1, now)).await;
    desk.note_offer("the new epoch goes on", &name, stamped_at(next.0, next.1, 21, 1, now)).await;
    desk.note_offer("the new epoch from 0", &name, stamped_at(next.0, next.1, 0, 1, now)).await;
    for (check, id, timeout_ms) in
        [("timeout too long", "y", 900_001), ("timeout 0", "y", 0), ("no id", "", 1000)]
    {
        let answer = init(desk, id, timeout_ms).await;
        desk.note(&format!("init: {check}"), format!("{:?}", answer.err()));
    }
    if desk.profile >= Profile::V3_9 {
        let stray = desk.topic(&[]).await;
        let who = init(desk, "z", 60_000).await.unwrap();
        note_produce(desk, "a partition that was not added", "z", &stray, data(desk, who, 0, 3)).await;
        desk.note_log("a partition that was not added, log", &stray).await;
    }
}
