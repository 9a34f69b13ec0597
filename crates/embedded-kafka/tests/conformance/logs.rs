//! Reading: limits, sessions, offsets, epochs; deleting records; committed offsets.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use protocol::messages::delete_records_response::DeleteRecordsResponse;
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_commit_response::OffsetCommitResponse;
use protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use protocol::messages::offset_fetch_response::OffsetFetchResponse;
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::{FetchRequest, FetchResponse, OffsetForLeaderEpochResponse};
use record_batch::{BatchBuilder, Codec};

use crate::client::{batch_of, fetch_request, text, topic};
use crate::desk::Desk;

pub(crate) async fn check(desk: &mut Desk) {
    limits(desk).await;
    repetitions(desk).await;
    times(desk).await;
    sessions(desk).await;
    if desk.profile > Profile::V1_1 {
        epochs(desk).await;
    }
    deleting(desk).await;
    groups(desk).await;
}

async fn filled(desk: &mut Desk, batches: usize) -> String {
    let name = desk.topic(&[]).await;
    for _ in 0..batches {
        desk.offer(&name, batch_of(10, BatchBuilder::new(Codec::None), desk.now_ms)).await;
    }
    name
}

async fn limits(desk: &mut Desk) {
    let name = filled(desk, 3).await;
    let whole = i32::try_from(batch_of(10, BatchBuilder::new(Codec::None), desk.now_ms).len()).unwrap();
    for (offset, limit) in [
        (0, 0),
        (0, 10),
        (0, whole),
        (0, whole + 20),
        (0, 3 * whole),
        (0, 1 << 20),
        (3, 1 << 20),
        (10, 1 << 20),
        (29, 5),
        (30, 1 << 20),
        (31, 1 << 20),
        (-1, 1 << 20),
    ] {
        let fetched = desk.fetch(&name, offset, limit).await;
        let told = format!(
            "{} end {} stable {} start {} {} bytes aborted {:?}",
            ErrorCode(fetched.error_code),
            fetched.high_watermark,
            fetched.last_stable_offset,
            fetched.log_start_offset,
            fetched.records.unwrap_or_default().len(),
            fetched.aborted_transactions.map(|aborted| aborted.len()),
        );
        desk.note(&format!("fetch at {offset} limit {}", limit - whole), told);
    }
    let unknown = desk.fetch("no-such-topic", 0, 100).await;
    let told = format!(
        "{} end {} start {}",
        ErrorCode(unknown.error_code),
        unknown.high_watermark,
        unknown.log_start_offset
    );
    desk.note("fetch of an unknown topic", told);
}

/// Partitions that one request names more than once.
async fn repetitions(desk: &mut Desk) {
    let one = filled(desk, 3).await;
    let two = filled(desk, 3).await;
    let version = if desk.profile == Profile::V1_1 { 7 } else { 11 };
    let orders: [&[(&str, i64)]; 4] = [
        &[(&one, 0), (&one, 20)],
        &[(&one, 20), (&one, 0)],
        &[(&one, 0), (&two, 0), (&one, 20)],
        &[(&one, 99), (&two, 0), (&one, 20), (&one, 10)],
    ];
    for (case, order) in orders.iter().enumerate() {
        let template = fetch_request(0).with_replica_id((-1).into());
        let of_topic = |(name, offset): &(&str, i64)| {
            let mut asked = template.topics[0].clone().with_topic(topic(name));
            asked.partitions[0].fetch_offset = *offset;
            asked
        };
        let mut apart: Vec<_> = order.iter().map(of_topic).collect();
        let request = template.clone().with_topics(apart.clone());
        note_told(desk, &format!("repetition {case}"), version, &request).await;
        note_told(desk, &format!("repetition {case}, session"), version, &request.with_session_epoch(0))
            .await;
        // In one list of a topic's partitions.
        let first = apart[0].topic.clone();
        let same: Vec<_> = apart.iter().filter(|asked| asked.topic == first).cloned().collect();
        apart.retain(|asked| asked.topic != first);
        let partitions = same.iter().flat_map(|asked| asked.partitions.clone()).collect();
        apart.insert(0, same[0].clone().with_partitions(partitions));
        let request = template.clone().with_topics(apart);
        note_told(desk, &format!("repetition {case}, in one topic"), version, &request).await;
    }
}

/// What is told of each partition, in the order of the answer; a topic is known by its turn.
async fn note_told(desk: &mut Desk, check: &str, version: i16, request: &FetchRequest) {
    let response: FetchResponse = desk.client.call(ApiKey::Fetch, version, request).await;
    let first = &request.topics[0].topic;
    let told: Vec<String> = response
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
        .map(|(topic, partition)| {
            let bytes = partition.records.as_ref().map_or(0, bytes::Bytes::len);
            let which = if topic.topic == *first { "one" } else { "two" };
            format!("{which} {} {bytes} bytes", ErrorCode(partition.error_code))
        })
        .collect();
    desk.note(check, format!("{told:?} in {}", response.responses.len()));
}

async fn times(desk: &mut Desk) {
    let now = desk.now_ms;
    let name = filled(desk, 2).await;
    for at in [-1, -2, now - 1000, now, now + 4, now + 9, now + 10, 0] {
        let (code, offset) = desk.list_offset(&name, at).await;
        let label = if at > 0 { at - now } else { at };
        desk.note(&format!("offset at {label}"), format!("{code} {offset}"));
    }
    let empty = desk.topic(&[]).await;
    for at in [-1, -2, 5] {
        let (code, offset) = desk.list_offset(&empty, at).await;
        desk.note(&format!("offset of an empty log at {at}"), format!("{code} {offset}"));
    }
    let codes = desk.list_offset_twice(&name).await;
    desk.note("a partition that is asked for twice", format!("{codes:?}"));
    let (code, offset) = desk.list_offset("no-such-topic", -1).await;
    desk.note("offset of an unknown topic", format!("{code} {offset}"));
}

async fn session(desk: &mut Desk, check: &str, request: &FetchRequest) -> i32 {
    let response: FetchResponse = desk.client.call(ApiKey::Fetch, 7, request).await;
    let mut told: Vec<String> = Vec::new();
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        let bytes = partition.records.as_ref().map_or(0, bytes::Bytes::len);
        told.push(format!(
            "{} end {} {bytes} bytes",
            ErrorCode(partition.error_code),
            partition.high_watermark
        ));
    }
    let has_session = response.session_id != 0;
    desk.note(check, format!("{} session {has_session} {told:?}", ErrorCode(response.error_code)));
    response.session_id
}

async fn sessions(desk: &mut Desk) {
    let one = filled(desk, 1).await;
    let two = filled(desk, 1).await;
    let asking = |names: &[&str], id: i32, epoch: i32, offset: i64| {
        let mut request = fetch_request(offset).with_replica_id((-1).into());
        let template = request.topics.remove(0);
        request.topics = names.iter().map(|name| template.clone().with_topic(topic(name))).collect();
        request.with_session_id(id).with_session_epoch(epoch)
    };
    let id = session(desk, "session opens", &asking(&[&one, &two], 0, 0, 10)).await;
    session(desk, "session without news", &asking(&[], id, 1, 0)).await;
    desk.offer(&two, batch_of(10, BatchBuilder::new(Codec::None), desk.now_ms)).await;
    session(desk, "session with news", &asking(&[], id, 2, 0)).await;
    session(desk, "session with the same news", &asking(&[], id, 3, 0)).await;
    session(desk, "session moves on", &asking(&[&two], id, 4, 20)).await;
    session(desk, "session out of range", &asking(&[&two], id, 5, 99)).await;
    session(desk, "session still out of range", &asking(&[], id, 6, 0)).await;
    session(desk, "session with an old epoch", &asking(&[], id, 3, 0)).await;
    session(desk, "session that never was", &asking(&[], id.wrapping_add(12_345), 1, 0)).await;
    session(desk, "session closes", &asking(&[&one], id, -1, 10)).await;
    session(desk, "session that is closed", &asking(&[], id, 7, 0)).await;
    session(desk, "no session wanted", &asking(&[&one], 0, -1, 0)).await;
}

async fn epochs(desk: &mut Desk) {
    let name = filled(desk, 2).await;
    for (current, epoch) in [(-1, 0), (-1, 1), (-1, 99), (-1, -1), (0, 0), (5, 0)] {
        let partition =
            OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
        let asked = OffsetForLeaderTopic::default().with_topic(topic(&name)).with_partitions(vec![partition]);
        let request =
            OffsetForLeaderEpochRequest::default().with_topics(vec![asked]).with_replica_id((-1).into());
        let response: OffsetForLeaderEpochResponse =
            desk.client.call(ApiKey::OffsetForLeaderEpoch, 3, &request).await;
        let told = &response.topics[0].partitions[0];
        let told = format!("{} {} {}", ErrorCode(told.error_code), told.leader_epoch, told.end_offset);
        desk.note(&format!("end of epoch {epoch}, current {current}"), told);
    }
    for (current, last_fetched) in [(0, -1), (7, -1), (-1, 0), (-1, 7)] {
        let mut request = fetch_request(10).with_replica_id((-1).into());
        request.topics[0].topic = topic(&name);
        request.topics[0].partitions[0].current_leader_epoch = current;
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched;
        let response: FetchResponse = desk.client.call(ApiKey::Fetch, 12, &request).await;
        let told = &response.responses[0].partitions[0];
        let told = format!(
            "{} diverges {} at {}, {} bytes",
            ErrorCode(told.error_code),
            told.diverging_epoch.epoch,
            told.diverging_epoch.end_offset,
            told.records.as_ref().map_or(0, bytes::Bytes::len),
        );
        desk.note(&format!("fetch with current epoch {current}, last {last_fetched}"), told);
    }
}

async fn deleting(desk: &mut Desk) {
    let name = filled(desk, 3).await;
    let compacted = desk.topic(&[("cleanup.policy", "compact")]).await;
    for (name, offset) in [(&name, 5), (&name, 3), (&name, 31), (&name, -2), (&name, -1), (&compacted, 0)] {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let asked = DeleteRecordsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(5000);
        let response: DeleteRecordsResponse = desk.client.call(ApiKey::DeleteRecords, 0, &request).await;
        let told = &response.topics[0].partitions[0];
        let told = format!("{} low {}", ErrorCode(told.error_code), told.low_watermark);
        desk.note(&format!("delete before {offset}"), told);
        let fetched = desk.fetch(name, 4, 1 << 20).await;
        let told = format!("{} start {}", ErrorCode(fetched.error_code), fetched.log_start_offset);
        desk.note(&format!("fetch at 4 after deleting before {offset}"), told);
    }
}

async fn groups(desk: &mut Desk) {
    let name = filled(desk, 1).await;
    let request = FindCoordinatorRequest::default().with_key(text("group"));
    desk.eventually("a coordinator", async |desk| {
        let response: FindCoordinatorResponse = desk.client.call(ApiKey::FindCoordinator, 1, &request).await;
        (response.error_code == 0).then_some(())
    })
    .await;
    let committed = |group: &str, index: i32, offset: i64, generation: i32, member: &str, note: &str| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(note)));
        let asked =
            OffsetCommitRequestTopic::default().with_name(topic(&name)).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(protocol::messages::GroupId(text(group)))
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(text(member))
            .with_topics(vec![asked])
    };
    let long = "x".repeat(4097);
    let cases = [
        ("a commit", committed("group", 0, 5, -1, "", "note")),
        ("a commit beyond the log", committed("group", 0, 5000, -1, "", "")),
        ("a commit of an unknown partition", committed("group", 9, 5, -1, "", "")),
        ("a commit with long metadata", committed("group", 0, 6, -1, "", &long)),
        ("a commit of a stranger", committed("group", 0, 7, 3, "member", "")),
        ("a commit of a stranger to no group", committed("other", 0, 7, 3, "member", "")),
    ];
    for (check, request) in cases {
        let ask = async |desk: &mut Desk| {
            let response: OffsetCommitResponse = desk.client.call(ApiKey::OffsetCommit, 3, &request).await;
            let code = ErrorCode(response.topics[0].partitions[0].error_code);
            let is_loading =
                [ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::NOT_COORDINATOR].contains(&code);
            (!is_loading).then_some(code)
        };
        let code = desk.eventually("the group's partition to be loaded", ask).await;
        desk.note(check, code);
    }
    for group in ["group", "nobody"] {
        let asked =
            OffsetFetchRequestTopic::default().with_name(topic(&name)).with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_group_id(protocol::messages::GroupId(text(group)));
        for (check, topics) in [("some", Some(vec![asked.clone()])), ("all", None)] {
            let request = request.clone().with_topics(topics);
            let response: OffsetFetchResponse = desk.client.call(ApiKey::OffsetFetch, 3, &request).await;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let told: Vec<String> = partitions
                .map(|partition| {
                    let (index, offset, note) =
                        (partition.partition_index, partition.committed_offset, &partition.metadata);
                    format!("{index} {offset} {note:?} {}", ErrorCode(partition.error_code))
                })
                .collect();
            desk.note(
                &format!("{check} offsets of {group}"),
                format!("{} {told:?}", ErrorCode(response.error_code)),
            );
        }
    }
}
