//! Transactions: markers, aborted lists, fencing; of the second kind, what their ends are told.

use bytes::Bytes;
use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, EndTxnRequest,
    EndTxnResponse, FetchResponse, FindCoordinatorResponse, GroupId, InitProducerIdRequest,
    InitProducerIdResponse, OffsetFetchResponse, ProducerId, TransactionalId, TxnOffsetCommitResponse,
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
    end_as(desk, 0, id, who, commit).await.0
}

/// What the end is told, and as who to go on.
async fn end_as(desk: &mut Desk, version: i16, id: &str, who: Who, commit: bool) -> (ErrorCode, Who) {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_committed(commit);
    desk.eventually("the transaction's end", async |desk| {
        let response: EndTxnResponse = desk.client.call(ApiKey::EndTxn, version, &request).await;
        let code = ErrorCode(response.error_code);
        (!is_passing(code)).then_some((code, (response.producer_id.0, response.producer_epoch)))
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
    let added = add(desk, "", who, &name, &[0]).await;
    desk.note("add without an id", added);
    let code = end(desk, "", who, true).await;
    desk.note("end without an id", code);
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
    if desk.profile > Profile::V1_1 {
        owners(desk).await;
    }
    offsets(desk).await;
    if desk.profile >= Profile::V4_3 {
        second_kind(desk).await;
    }
}

/// InitProducerId of who says who it was: a producer that goes on after an error.
async fn note_owner(desk: &mut Desk, check: &str, version: i16, id: &str, was: Who, first: Who) -> Who {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(was.0))
        .with_producer_epoch(was.1);
    let ask = async |desk: &mut Desk| {
        let response: InitProducerIdResponse =
            desk.client.call(ApiKey::InitProducerId, version, &request).await;
        let code = ErrorCode(response.error_code);
        (!is_passing(code)).then_some((code, (response.producer_id.0, response.producer_epoch)))
    };
    let (code, who) = desk.eventually("a producer id to go on with", ask).await;
    desk.note(&format!("owner: {check}"), format!("{code} {} same id {}", who.1, who.0 == first.0));
    who
}

const NOBODY: Who = (-1, -1);

async fn owners(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    let first = init(desk, "again", 60_000).await.unwrap();
    let second = note_owner(desk, "goes on", 4, "again", first, first).await;
    note_owner(desk, "had no answer", 4, "again", first, first).await;
    note_owner(desk, "had no answer twice", 3, "again", first, first).await;
    let third = note_owner(desk, "goes on again", 4, "again", second, first).await;
    note_owner(desk, "is two behind", 4, "again", first, first).await;
    note_owner(desk, "is two behind, version 3", 3, "again", first, first).await;
    note_owner(desk, "is ahead", 4, "again", (first.0, 77), first).await;
    note_owner(desk, "is another", 4, "again", (first.0 + 1_000_000, third.1), first).await;
    note_owner(desk, "has no epoch", 4, "again", (first.0, -1), first).await;
    note_owner(desk, "has no id", 4, "again", (-1, 3), first).await;
    let newcomer = note_owner(desk, "is new", 4, "again", NOBODY, first).await;
    note_owner(desk, "was before a newcomer", 4, "again", third, first).await;
    note_owner(desk, "nobody knows", 4, "never seen", (5, 3), first).await;
    // While its transaction is open, it is aborted first.
    add(desk, "again", newcomer, &name, &[0]).await;
    note_owner(desk, "is open, and behind", 4, "again", third, first).await;
    settled(desk, &name, 1).await;
    let fresh = init(desk, "again", 60_000).await.unwrap();
    desk.note("owner: after that", fresh.1);
    add(desk, "again", fresh, &name, &[0]).await;
    note_owner(desk, "is open", 4, "again", fresh, first).await;
    settled(desk, &name, 2).await;
    let fresh = init(desk, "again", 60_000).await.unwrap();
    desk.note("owner: after that, too", fresh.1);
    if desk.profile >= Profile::V4_3 {
        let (_, next) = end_as(desk, 5, "again", fresh, false).await;
        note_owner(desk, "had no answer to an end of the second kind", 4, "again", fresh, first).await;
        note_owner(desk, "goes on after it", 4, "again", next, first).await;
        let (code, _) = end_as(desk, 5, "", next, false).await;
        desk.note("owner: an end of the second kind without an id", code);
    }
}

async fn add_group(desk: &mut Desk, id: &str, who: Who, group: &str) -> ErrorCode {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_group_id(GroupId(text(group)));
    desk.eventually("a group to be added", async |desk| {
        let response: AddOffsetsToTxnResponse = desk.client.call(ApiKey::AddOffsetsToTxn, 0, &request).await;
        let code = ErrorCode(response.error_code);
        (!is_passing(code)).then_some(code)
    })
    .await
}

/// An offset of a transaction: for a partition, with a note of so many characters.
type Position<'a> = (&'a str, i32, i64, usize);

fn commit_request(id: &str, who: Who, group: &str, positions: &[Position<'_>]) -> TxnOffsetCommitRequest {
    let of_topic = |(name, index, offset, note): &Position<'_>| {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text(&"n".repeat(*note))));
        TxnOffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition])
    };
    TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_group_id(GroupId(text(group)))
        .with_producer_id(ProducerId(who.0))
        .with_producer_epoch(who.1)
        .with_topics(positions.iter().map(of_topic).collect())
}

async fn note_commit(desk: &mut Desk, check: &str, version: i16, request: &TxnOffsetCommitRequest) {
    let ask = async |desk: &mut Desk| {
        let response: TxnOffsetCommitResponse =
            desk.client.call(ApiKey::TxnOffsetCommit, version, request).await;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let mut codes: Vec<(i32, ErrorCode)> = partitions
            .map(|partition| (partition.partition_index, ErrorCode(partition.error_code)))
            .collect();
        codes.sort_unstable();
        (!codes.iter().any(|(_, code)| is_passing(*code))).then_some(codes)
    };
    let codes = desk.eventually("a transaction's offset to be taken", ask).await;
    desk.note(&format!("txn offset: {check}"), format!("{codes:?}"));
}

/// What a group has committed for partition 0, as who reads what is stable and who does not is told.
async fn committed(desk: &mut Desk, group: &str, name: &str) -> String {
    let asked = OffsetFetchRequestTopic::default().with_name(topic(name)).with_partition_indexes(vec![0]);
    let request =
        OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![asked]));
    let mut told = Vec::new();
    let stable: &[bool] = if desk.profile == Profile::V1_1 { &[false] } else { &[false, true] };
    for &stable in stable {
        let version = if stable { 7 } else { 3 };
        let request = request.clone().with_require_stable(stable);
        let response: OffsetFetchResponse = desk.client.call(ApiKey::OffsetFetch, version, &request).await;
        let partition = &response.topics[0].partitions[0];
        let note = partition.metadata.as_ref().map_or(0, |note| note.len());
        told.push(format!("{} {} note {note}", ErrorCode(partition.error_code), partition.committed_offset));
    }
    format!("{told:?}")
}

async fn note_committed_offset(desk: &mut Desk, check: &str, group: &str, name: &str) {
    let told = committed(desk, group, name).await;
    desk.note(&format!("txn offset: {check}"), told);
}

/// Waits until a group has an offset, which is later than the end of the transaction is told, and notes it.
async fn note_offset_when(desk: &mut Desk, check: &str, group: &str, name: &str, offset: i64) {
    let expected = format!(" {offset} note");
    let ask = async |desk: &mut Desk| {
        let told = committed(desk, group, name).await;
        let all = if desk.profile == Profile::V1_1 { 1 } else { 2 };
        (told.matches(&expected).count() == all).then_some(told)
    };
    let told = desk.eventually(&format!("offset {offset} of {group} {check}"), ask).await;
    desk.note(&format!("txn offset: {check}"), told);
}

/// Offsets that count once their transaction has committed.
async fn offsets(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    let other = desk.topic(&[]).await;
    let who = init(desk, "of", 60_000).await.unwrap();
    // What it leaves hanging in older versions is in nobody's way.
    let strange = init(desk, "strange", 60_000).await.unwrap();
    // By itself, as an epoch counts for all groups that some broker keeps in one place.
    let ahead = init(desk, "ahead", 60_000).await.unwrap();
    let newest = match desk.profile {
        Profile::V1_1 => 0,
        Profile::V2_8 => 3,
        Profile::V3_9 | Profile::V4_3 => 4,
    };
    let one = |offset: i64| -> [Position<'_>; 1] { [(name.as_str(), 0, offset, 1)] };

    let code = add_group(desk, "of", who, "t-1").await;
    desk.note("txn offset: add a group", code);
    note_commit(desk, "of a group that was added", 0, &commit_request("of", who, "t-1", &one(5))).await;
    note_committed_offset(desk, "while it is open", "t-1", &name).await;
    note_commit(desk, "another one", newest, &commit_request("of", who, "t-1", &one(6))).await;
    let code = end(desk, "of", who, true).await;
    desk.note("txn offset: commit", code);
    note_offset_when(desk, "after the commit", "t-1", &name, 6).await;
    add_group(desk, "of", who, "t-1").await;
    note_commit(desk, "of the next transaction", 0, &commit_request("of", who, "t-1", &one(7))).await;
    note_committed_offset(desk, "while the next is open", "t-1", &name).await;
    end(desk, "of", who, false).await;
    note_offset_when(desk, "after the abort", "t-1", &name, 6).await;

    for version in [0, 2, 3, 4] {
        if version > newest || (version == 2 && desk.profile == Profile::V1_1) {
            continue;
        }
        let group = format!("t-alone-{version}");
        let case = |case: &str| format!("{case}, version {version}");
        note_commit(desk, &case("not added"), version, &commit_request("of", who, &group, &one(5))).await;
        add(desk, "of", who, &other, &[0]).await;
        note_commit(
            desk,
            &case("not added, but a partition"),
            version,
            &commit_request("of", who, &group, &one(6)),
        )
        .await;
        end(desk, "of", who, true).await;
        note_committed_offset(desk, &case("not added, after the commit"), &group, &name).await;
        let group = format!("t-strange-{version}");
        let strangers: [(&str, &str, Who); 4] = [
            ("as another producer", "strange", (strange.0 + 1_000_000, strange.1)),
            ("with an epoch to come", "ahead", (ahead.0, ahead.1 + 7)),
            ("under nobody's id", "nobody at all", strange),
            ("without an id", "", strange),
        ];
        for (stranger, id, as_whom) in strangers {
            let request = commit_request(id, as_whom, &format!("{group}-{stranger}"), &one(5));
            note_commit(desk, &case(stranger), version, &request).await;
        }
        note_commit(desk, &case("without a group"), version, &commit_request("of", who, "", &one(5))).await;
    }

    let who = init(desk, "of", 60_000).await.unwrap();
    desk.note("txn offset: next epoch", who.1);
    add_group(desk, "of", who, "t-2").await;
    let old = (who.0, who.1 - 1);
    note_commit(
        desk,
        "with the old epoch, of nothing yet",
        newest,
        &commit_request("of", old, "t-2", &one(5)),
    )
    .await;
    note_commit(desk, "with the new epoch", newest, &commit_request("of", who, "t-2", &one(6))).await;
    note_commit(desk, "with the old epoch", newest, &commit_request("of", old, "t-2", &one(7))).await;
    note_commit(desk, "with the old epoch, version 0", 0, &commit_request("of", old, "t-2", &one(7))).await;
    let mixed = [(name.as_str(), 0, 8, 4096), (name.as_str(), 9, 8, 1), ("no-such-topic", 0, 8, 1)];
    note_commit(desk, "some of what is unknown", newest, &commit_request("of", who, "t-2", &mixed)).await;
    // Each alone: among others it keeps older coordinators from ever committing them.
    for (case, position) in
        [("a longer note", (other.as_str(), 0, 8, 4097)), ("both", ("no-such-topic", 1, 8, 4097))]
    {
        note_commit(desk, case, newest, &commit_request("of", who, "t-2", &[position])).await;
    }
    end(desk, "of", who, true).await;
    note_offset_when(desk, "the longest note", "t-2", &name, 8).await;
    note_committed_offset(desk, "a longer note", "t-2", &other).await;
    if desk.profile > Profile::V1_1 {
        add_group(desk, "of", who, "t-3").await;
        for (member, generation) in [("", 0), ("nobody", 0), ("nobody", -1)] {
            let request = commit_request("of", who, "t-3", &one(4))
                .with_member_id(text(member))
                .with_generation_id(generation);
            note_commit(desk, &format!("as {member:?} of {generation}"), 3, &request).await;
        }
        note_commit(desk, "as nobody", 3, &commit_request("of", who, "t-3", &one(5))).await;
        end(desk, "of", who, true).await;
        note_offset_when(desk, "after them", "t-3", &name, 5).await;
    }
    for (case, id, as_whom, group) in [
        ("as another", "of", (who.0 + 1_000_000, who.1), "t-4"),
        ("with the old epoch", "of", old, "t-4"),
        ("for nobody", "nobody at all", who, "t-4"),
        ("without an id", "", who, "t-4"),
        ("without a name", "of", who, ""),
    ] {
        let code = add_group(desk, id, as_whom, group).await;
        desk.note(&format!("txn offset: add a group {case}"), code);
    }
    end(desk, "of", who, false).await;
    if desk.profile >= Profile::V4_3 {
        note_commit(desk, "of the second kind", 5, &commit_request("of", who, "t-5", &one(5))).await;
        note_committed_offset(desk, "of the second kind, open", "t-5", &name).await;
        let (code, next) = end_as(desk, 5, "of", who, true).await;
        desk.note("txn offset: commit of the second kind", format!("{code} {}", next.1));
        note_offset_when(desk, "of the second kind, over", "t-5", &name, 5).await;
        note_commit(desk, "of the second kind, old epoch", 5, &commit_request("of", who, "t-5", &one(7)))
            .await;
    }
}

/// Ends a transaction of the second kind and notes what that is told.
async fn note_end(desk: &mut Desk, check: &str, who: Who, commit: bool) -> Who {
    let (code, next) = end_as(desk, 5, "second", who, commit).await;
    let answer = match next.0 {
        -1 => format!("{code} {}", next.1),
        id => format!("{code} {} same id {}", next.1, id == who.0),
    };
    desk.note(&format!("second kind: {check}"), answer);
    next
}

async fn second_kind(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    let who = init(desk, "second", 60_000).await.unwrap();
    note_end(desk, "a commit of nothing", who, true).await;
    let next = note_end(desk, "an abort of nothing", who, false).await;
    note_end(desk, "an abort of nothing, again", who, false).await;
    note_end(desk, "a commit after it", who, true).await;
    note_end(desk, "a commit of nothing after an abort", next, true).await;
    let produce = |data| produce_request(Some("second"), &[(name.as_str(), 0, data)]);
    let first = produce(data(desk, next, 0, 3));
    desk.offer_with(12, &first).await;
    let after = note_end(desk, "a commit", next, true).await;
    note_end(desk, "a commit, again", next, true).await;
    note_end(desk, "an abort of what is committed", next, false).await;
    note_end(desk, "a commit of nothing after a commit", after, true).await;
    settled(desk, &name, 4).await;
    note_end(desk, "a commit with the first epoch", who, true).await;
    note_end(desk, "an abort with the first epoch", who, false).await;
    note_end(desk, "a commit with an epoch to come", (after.0, after.1 + 7), true).await;
    note_end(desk, "a commit as another", (after.0 + 1_000_000, after.1), true).await;
    let second = produce(data(desk, after, 0, 3));
    desk.offer_with(12, &second).await;
    note_end(desk, "the last end again, while the next is open", next, true).await;
    let last = note_end(desk, "an abort", after, false).await;
    note_end(desk, "an abort, again", after, false).await;
    note_end(desk, "a commit of what is aborted", after, true).await;
    settled(desk, &name, 8).await;
    let fresh = init(desk, "second", 60_000).await.unwrap();
    desk.note("second kind: the next owner", format!("{} same id {}", fresh.1, fresh.0 == last.0));
    note_end(desk, "the last end again, after an init", after, false).await;
    note_end(desk, "the one before again, after an init", last, false).await;
    // A minute at a real broker: the only way to the last epoch.
    let mut who = fresh;
    for _ in fresh.1..i16::MAX - 1 {
        who = end_as(desk, 5, "second", who, false).await.1;
    }
    desk.note("second kind: worn", format!("{} same id {}", who.1, who.0 == fresh.0));
    let third = produce(data(desk, who, 0, 3));
    desk.offer_with(12, &third).await;
    note_end(desk, "the commit with the last epoch", who, true).await;
    settled(desk, &name, 12).await;
    note_end(desk, "the commit with the last epoch, again", who, true).await;
    note_end(desk, "an abort with the last epoch", who, false).await;
    let fetched = desk.fetch(&name, 11, 1 << 20).await;
    let marker = record_batch::Header::read(&fetched.records.unwrap()).unwrap();
    desk.note(
        "second kind: the last marker",
        format!("{} old id {}", marker.producer_epoch, marker.producer_id.0 == who.0),
    );
}
