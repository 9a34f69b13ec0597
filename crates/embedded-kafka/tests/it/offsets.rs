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
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use protocol::messages::offset_fetch_response::OffsetFetchResponse;
use protocol::messages::{self};

use crate::client::{Client, NOW_MS, batch, cluster, single, text, topic};

use ErrorCode as E;

fn commit(group: &str, index: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let asked = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(messages::GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![asked])
}

async fn coordinator(client: &mut Client, version: i16, group: &str) -> i32 {
    let request = FindCoordinatorRequest::default();
    let request = match version {
        4.. => request.with_coordinator_keys(vec![text(group)]),
        _ => request.with_key(text(group)),
    };
    let response: FindCoordinatorResponse = client.call(ApiKey::FindCoordinator, version, &request).await;
    if version >= 4 { response.coordinators[0].node_id.0 } else { response.node_id.0 }
}

#[tokio::test]
async fn a_group_commits_at_its_coordinator_and_finds_its_offsets_there() {
    for profile in [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3] {
        let cluster = cluster(3, profile).await;
        let mut client = Client::connect(&cluster, 0).await;
        let version = if profile >= Profile::V3_9 { 4 } else { 1 };
        let at = coordinator(&mut client, version, "g").await;
        let mut elsewhere = Client::connect(&cluster, (at + 1) % 3).await;
        let response: OffsetCommitResponse =
            elsewhere.call(ApiKey::OffsetCommit, 3, &commit("g", 0, 5)).await;
        assert_eq!(E(response.topics[0].partitions[0].error_code), E::NOT_COORDINATOR);

        let mut client = Client::connect(&cluster, at).await;
        let response: OffsetCommitResponse = client.call(ApiKey::OffsetCommit, 3, &commit("g", 0, 5)).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
        let response: OffsetCommitResponse = client.call(ApiKey::OffsetCommit, 3, &commit("g", 9, 5)).await;
        // 1.1 takes it.
        let expected = if profile == Profile::V1_1 { E::NONE } else { E::UNKNOWN_TOPIC_OR_PARTITION };
        assert_eq!(E(response.topics[0].partitions[0].error_code), expected);
        assert_eq!(cluster.committed_offset("g", "t", 0), Some(5));

        let asked =
            OffsetFetchRequestTopic::default().with_name(topic("t")).with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default()
            .with_group_id(messages::GroupId(text("g")))
            .with_topics(Some(vec![asked]));
        let response: OffsetFetchResponse = client.call(ApiKey::OffsetFetch, 3, &request).await;
        let offsets: Vec<i64> =
            response.topics[0].partitions.iter().map(|partition| partition.committed_offset).collect();
        assert_eq!(offsets, [5, -1]);
        let all = request.with_topics(None);
        let response: OffsetFetchResponse = client.call(ApiKey::OffsetFetch, 3, &all).await;
        assert_eq!(response.topics[0].partitions.len(), if profile == Profile::V1_1 { 2 } else { 1 });
        if profile >= Profile::V3_9 {
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(messages::GroupId(text("g")))
                .with_topics(None);
            let request = OffsetFetchRequest::default().with_groups(vec![group]);
            let response: OffsetFetchResponse = client.call(ApiKey::OffsetFetch, 8, &request).await;
            assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 5);
        }
    }
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    for profile in [Profile::V1_1, Profile::V4_3] {
        let (cluster, mut client) = single(profile).await;
        client.offer(batch(10)).await;
        client.offer(batch(10)).await;
        assert_eq!(client.offset_at(NOW_MS + 4).await, (E::NONE, 4));
        assert_eq!(client.offset_at(NOW_MS + 10).await, (E::NONE, -1));
        assert_eq!(client.offset_at(-1).await, (E::NONE, 20));
        cluster.delete_records("t", 0, 7);
        assert_eq!(client.offset_at(-2).await, (E::NONE, 7));
        assert_eq!(client.offset_at(NOW_MS + 4).await, (E::NONE, 7));
    }
}

#[tokio::test]
async fn records_are_deleted_up_to_the_high_watermark() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    client.offer(batch(10)).await;
    let delete = |offset| {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let asked = DeleteRecordsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![asked])
    };
    for (offset, expected) in [(3, (0, 3)), (11, (1, -1)), (-1, (0, 10))] {
        let response: DeleteRecordsResponse = client.call(ApiKey::DeleteRecords, 2, &delete(offset)).await;
        let told = &response.topics[0].partitions[0];
        assert_eq!((told.error_code, told.low_watermark), expected);
    }
    assert_eq!((cluster.start_offset("t", 0).unwrap(), cluster.end_offset("t", 0).unwrap()), (10, 10));
    assert!(cluster.log("t", 0).unwrap().is_empty());
}

#[tokio::test]
async fn retention_goes_by_record_time() {
    let (cluster, mut client) = single(Profile::V3_9).await;
    cluster.set_topic_config("t", "retention.ms", Some("1000"));
    client.offer(crate::client::stamped_at(1, 0, 0, 10, NOW_MS - 5000)).await;
    client.offer(batch(10)).await;
    cluster.sweep();
    assert_eq!(client.offset_at(-2).await, (E::NONE, 10));
}
