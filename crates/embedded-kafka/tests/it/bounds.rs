//! What one client may ask for, so that it does not take the memory or the time of all.

use bytes::Bytes;
use std::time::Duration;

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_partitions_response::CreatePartitionsResponse;
use protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::create_topics_response::CreateTopicsResponse;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsResponse;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, CreateAclsResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, GroupId, IncrementalAlterConfigsResponse, InitProducerIdRequest,
    InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, TransactionalId,
};
use record_batch::{BatchBuilder, Codec};

use crate::client::{Client, NOW_MS, batch, change_request, produce_request, single, text, topic};

/// Asks for topics `{prefix}0`, `{prefix}1`, … of so many partitions each; what each was answered.
async fn create(
    client: &mut Client,
    prefix: &str,
    topics: usize,
    partitions: i32,
) -> Vec<(ErrorCode, String)> {
    let asked = (0..topics).map(|index| {
        CreatableTopic::default()
            .with_name(topic(&format!("{prefix}{index}")))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    });
    let request = CreateTopicsRequest::default().with_topics(asked.collect()).with_timeout_ms(1000);
    let response: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 4, &request).await;
    let told = response.topics.into_iter().map(|topic| {
        (
            ErrorCode(topic.error_code),
            topic.error_message.map(|message| message.to_string()).unwrap_or_default(),
        )
    });
    told.collect()
}

async fn grow(client: &mut Client, count: i32) -> ErrorCode {
    let asked =
        CreatePartitionsTopic::default().with_name(topic("t")).with_count(count).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![asked]);
    let response: CreatePartitionsResponse = client.call(ApiKey::CreatePartitions, 1, &request).await;
    ErrorCode(response.results[0].error_code)
}

#[tokio::test]
async fn a_request_for_more_than_ten_thousand_partitions_is_refused_as_a_whole() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let told = create(&mut client, "many-", 101, 100).await;
    assert_eq!(told.len(), 101);
    for (code, message) in told {
        assert_eq!(code, ErrorCode::POLICY_VIOLATION);
        assert_eq!(message, "Excessively large number of partitions per request.");
    }
    // Topics that would be refused for another reason are no way around it.
    assert!(
        create(&mut client, "none-", 10_001, 0)
            .await
            .iter()
            .all(|(code, _)| *code == ErrorCode::POLICY_VIOLATION)
    );
    assert_eq!(grow(&mut client, 10_002).await, ErrorCode::POLICY_VIOLATION);
    assert_eq!(cluster.topics().len(), 1);
    assert_eq!(grow(&mut client, 10_001).await, ErrorCode::NONE);
    assert_eq!(create(&mut client, "most-", 1, 10_000).await[0].0, ErrorCode::NONE);
}

#[tokio::test]
async fn a_cluster_takes_no_more_than_a_hundred_thousand_partitions() {
    let (cluster, mut client) = single(Profile::V2_8).await;
    for index in 0..9 {
        let told = create(&mut client, &format!("{index}-"), 100, 100).await;
        assert!(told.iter().all(|(code, _)| code.is_ok()));
    }
    // With `t` there is room for 9999.
    let told = create(&mut client, "last-", 100, 100).await;
    assert_eq!(told.iter().filter(|(code, _)| code.is_ok()).count(), 99);
    assert_eq!(told[99].0, ErrorCode::POLICY_VIOLATION);
    assert_eq!(
        told[99].1,
        "The cluster has 99901 partition(s), 100 more would be more than the 100000 it may have."
    );
    assert_eq!(grow(&mut client, 101).await, ErrorCode::POLICY_VIOLATION);
    cluster.delete_topic("0-0");
    assert_eq!(grow(&mut client, 101).await, ErrorCode::NONE);
}

#[tokio::test]
async fn a_batch_that_becomes_huge_is_refused_and_the_next_one_taken() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    // 80 MiB of zeros.
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        let value = vec![0; 4 << 20];
        for _ in 0..20 {
            builder.append(NOW_MS, Some(b"k"), Some(&value), &[]);
        }
        let bomb = builder.build();
        assert!(bomb.len() < 1 << 20, "{} bytes are refused for their size", bomb.len());
        let request = produce_request(None, &[("t", 0, bomb.clone())]);
        assert_eq!(client.produce_all(&request).await[0].error_code, ErrorCode::MESSAGE_TOO_LARGE.0);
        assert_eq!(cluster.end_offset("t", 0).unwrap(), 0);
    }
    assert_eq!(client.offer(batch(1)).await.0, ErrorCode::NONE);
}

/// A batch of a few kilobytes that becomes so large.
fn forty_eight_mebibytes() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::Zstd);
    let value = vec![0; 4 << 20];
    for _ in 0..12 {
        builder.append(NOW_MS, Some(b"k"), Some(&value), &[]);
    }
    builder.build()
}

#[tokio::test]
async fn batches_that_become_huge_together_are_refused_from_some_on() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.add_partitions("t", 40);
    let large = forty_eight_mebibytes();
    let batches: Vec<_> = (0..40).map(|partition| ("t", partition, large.clone())).collect();
    let told = client.produce_all(&produce_request(None, &batches)).await;
    let taken = told.iter().filter(|told| told.error_code == 0).count();
    assert_eq!(taken, 10);
    assert!(told[taken..].iter().all(|told| told.error_code == ErrorCode::MESSAGE_TOO_LARGE.0));
}

async fn commit(client: &mut Client, group: &str, offset: i64) -> ErrorCode {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let asked = OffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![asked]);
    let response: OffsetCommitResponse = client.call(ApiKey::OffsetCommit, 2, &request).await;
    ErrorCode(response.topics[0].partitions[0].error_code)
}

async fn init(client: &mut Client, id: &str) -> ErrorCode {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(1000);
    let response: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 0, &request).await;
    ErrorCode(response.error_code)
}

async fn join(client: &mut Client, group: &str, member: &str) -> (ErrorCode, String) {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("p"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let response: JoinGroupResponse = client.call(ApiKey::JoinGroup, 2, &request).await;
    (ErrorCode(response.error_code), response.member_id.to_string())
}

/// What is kept has a bound of bytes too, and names without a letter take some.
#[tokio::test(start_paused = true)]
async fn lists_of_nothing_and_the_groups_of_a_transaction_count() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let protocols = vec![JoinGroupRequestProtocol::default(); 500_000];
    let request = |group: &str| {
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(protocols.clone())
    };
    // 48 MB each, and there are 128 MiB.
    let mut codes = Vec::new();
    for group in ["a", "b", "c"] {
        let response: JoinGroupResponse = client.call(ApiKey::JoinGroup, 2, &request(group)).await;
        codes.push(ErrorCode(response.error_code));
    }
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::NONE, ErrorCode::POLICY_VIOLATION]);
    // Once they are gone, groups of a transaction.
    cluster.advance(Duration::from_secs(11));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("x"))))
        .with_transaction_timeout_ms(60_000);
    let response: InitProducerIdResponse = client.call(ApiKey::InitProducerId, 0, &request).await;
    let mut add = async |group: usize| {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text("x")))
            .with_producer_id(response.producer_id)
            .with_producer_epoch(response.producer_epoch)
            .with_group_id(GroupId(text(&format!("{group:030000}"))));
        let response: AddOffsetsToTxnResponse = client.call(ApiKey::AddOffsetsToTxn, 0, &request).await;
        ErrorCode(response.error_code)
    };
    let mut taken = 0;
    while add(taken).await.is_ok() {
        taken += 1;
    }
    assert!((4400..4460).contains(&taken), "{taken}");
    assert_eq!(add(taken).await, ErrorCode::POLICY_VIOLATION);
    assert_eq!(add(0).await, ErrorCode::NONE);
    // The end of the transaction makes room.
    cluster.advance(Duration::from_secs(61));
    assert_eq!(init(&mut client, "y").await, ErrorCode::NONE);
}

#[tokio::test(start_paused = true)]
async fn groups_members_offsets_and_transactional_ids_share_how_many_there_may_be() {
    let config = Config { names_max: 10, ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    // A group and a member, a group and an offset each, and two transactional ids.
    let (code, member) = join(&mut client, "members", "").await;
    assert_eq!(code, ErrorCode::NONE);
    for group in ["a", "b", "c"] {
        assert_eq!(commit(&mut client, group, 1).await, ErrorCode::NONE);
    }
    assert_eq!(init(&mut client, "x").await, ErrorCode::NONE);
    assert_eq!(init(&mut client, "y").await, ErrorCode::NONE);
    // That is all; the same again is no more.
    assert_eq!(commit(&mut client, "d", 1).await, ErrorCode::POLICY_VIOLATION);
    assert_eq!(init(&mut client, "z").await, ErrorCode::POLICY_VIOLATION);
    assert_eq!(join(&mut client, "more", "").await.0, ErrorCode::POLICY_VIOLATION);
    assert_eq!(join(&mut client, "members", "").await.0, ErrorCode::POLICY_VIOLATION);
    for offset in 2..50 {
        assert_eq!(commit(&mut client, "a", offset).await, ErrorCode::NONE);
        assert_eq!(init(&mut client, "x").await, ErrorCode::NONE);
        assert_eq!(join(&mut client, "members", &member).await, (ErrorCode::NONE, member.clone()));
    }
    assert_eq!(cluster.committed_offset("a", "t", 0), Some(49));
    // What has gone makes room.
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("b"))]);
    let response: DeleteGroupsResponse = client.call(ApiKey::DeleteGroups, 0, &request).await;
    assert_eq!(response.results[0].error_code, 0);
    assert_eq!(init(&mut client, "z").await, ErrorCode::NONE);
    // A member that is missed for its session's time does so, too.
    cluster.advance(Duration::from_secs(11));
    assert_eq!(init(&mut client, "w").await, ErrorCode::NONE);
    assert_eq!(init(&mut client, "v").await, ErrorCode::NONE);
    assert_eq!(init(&mut client, "u").await, ErrorCode::POLICY_VIOLATION);
}

#[tokio::test]
async fn what_topics_are_set_to_counts_with_what_is_kept() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let replicas = vec!["0:0"; 8000].join(",");
    let names = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
    let mut change = async |name: &str, operation: i8, value: Option<&str>| {
        let request = change_request(2, name, &names.map(|setting| (setting, operation, value)));
        let response: IncrementalAlterConfigsResponse =
            client.call(ApiKey::IncrementalAlterConfigs, 1, &request).await;
        ErrorCode(response.responses[0].error_code)
    };
    // 64 kB each, and there are 128 MiB.
    let mut taken = 0;
    for index in 0..3000 {
        let name = format!("set-{index}");
        cluster.create_topic(&name, 1, &[]);
        match change(&name, 0, Some(&replicas)).await {
            ErrorCode::NONE => taken += 1,
            code => {
                assert_eq!(code, ErrorCode::POLICY_VIOLATION);
                break;
            }
        }
    }
    assert!((2050..2100).contains(&taken), "{taken}");
    assert!(cluster.topic_configs(&format!("set-{taken}")).is_empty());
    // The same again is no more; what is gone makes room.
    assert_eq!(change("set-0", 0, Some(&replicas)).await, ErrorCode::NONE);
    cluster.delete_topic("set-0");
    assert_eq!(change("set-1", 1, None).await, ErrorCode::NONE);
    for name in ["set-1", &format!("set-{taken}")] {
        assert_eq!(change(name, 0, Some(&replicas)).await, ErrorCode::NONE);
    }
    assert_eq!(change("t", 0, Some(&replicas)).await, ErrorCode::POLICY_VIOLATION);
}

#[tokio::test]
async fn the_names_in_acls_count_with_what_is_kept() {
    let config =
        Config { super_users: Some(vec!["User:ANONYMOUS".to_owned()]), ..Config::new(1, Profile::V4_3) };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let mut create = async |name: &str, count: usize| {
        let creations = (0..count).map(|index| {
            AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text(&format!("{name}{index}")))
                .with_resource_pattern_type(3)
                .with_principal(text("User:ann"))
                .with_host(text("*"))
                .with_operation(3)
                .with_permission_type(3)
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let response: CreateAclsResponse = client.call(ApiKey::CreateAcls, 2, &request).await;
        let codes = response.results.iter().map(|result| ErrorCode(result.error_code));
        codes.filter(|code| code.is_ok()).count()
    };
    // 32 kB each, and there are 128 MiB.
    let long = |first: &str| first.repeat(32_000);
    assert_eq!(create(&long("a"), 2500).await, 2500);
    let taken = create(&long("b"), 2500).await;
    assert!((1650..1700).contains(&taken), "{taken}");
    assert_eq!(create(&long("a"), 2500).await, 2500, "they are there already");
    assert_eq!(create("short", 1).await, 1);
}

#[tokio::test]
async fn offsets_by_time_are_found_in_so_many_bytes_and_no_more() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.add_partitions("t", 40);
    // And there are 512.
    let large = forty_eight_mebibytes();
    for partition in 0..40 {
        cluster.append("t", partition, large.clone()).unwrap();
    }
    let mut ask = async |partitions: std::ops::Range<i32>| {
        let asked = partitions.map(|index| {
            let partition = ListOffsetsPartition::default().with_partition_index(index);
            partition.with_timestamp(NOW_MS).with_current_leader_epoch(-1)
        });
        let asked = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(asked.collect());
        let request = ListOffsetsRequest::default().with_topics(vec![asked]);
        let response: ListOffsetsResponse = client.call(ApiKey::ListOffsets, 2, &request).await;
        let codes = response.topics[0].partitions.iter().map(|told| ErrorCode(told.error_code));
        codes.collect::<Vec<_>>()
    };
    let codes = ask(0..40).await;
    assert_eq!(codes[..10], [ErrorCode::NONE; 10]);
    assert!(codes[10..].iter().all(|code| *code == ErrorCode::POLICY_VIOLATION));
    assert_eq!(ask(10..20).await, [ErrorCode::NONE; 10]);
}

#[tokio::test]
async fn names_collide_with_what_there_is_and_not_with_what_there_was() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let mut named = async |name: &str| create(&mut client, name, 1, 1).await.remove(0).0;
    // With the number that it gets.
    cluster.create_topic("a.b.0", 1, &[]);
    assert_eq!(named("a_b_").await, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(named("a.b.").await, ErrorCode::TOPIC_ALREADY_EXISTS);
    cluster.delete_topic("a.b.0");
    assert_eq!(named("a_b_").await, ErrorCode::NONE);
    assert_eq!(named("a.b.").await, ErrorCode::INVALID_TOPIC_EXCEPTION);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_of_those_who_leave_is_gone_through_once() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3).in_memory()).await.unwrap();
    let mut client = Client::in_memory(&cluster, 0).unwrap();
    let (code, member) = join(&mut client, "g", "").await;
    assert_eq!(code, ErrorCode::NONE);
    let mut members = vec![MemberIdentity::default().with_member_id(text("nobody")); 100_000];
    members.push(MemberIdentity::default().with_member_id(text(&member)));
    let request = LeaveGroupRequest::default().with_group_id(GroupId(text("g"))).with_members(members);
    let response: LeaveGroupResponse = client.call(ApiKey::LeaveGroup, 3, &request).await;
    let gone = response.members.iter().filter(|member| member.error_code == 0).count();
    assert_eq!((response.members.len(), gone), (100_001, 1));
}
