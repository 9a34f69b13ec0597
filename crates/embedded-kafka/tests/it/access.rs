//! What faults and ACLs are about, in each form of a request.

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile, Sasl};
use protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, CreateAclsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeConfigsResponse, GroupId, IncrementalAlterConfigsResponse,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, ProducerId, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, TransactionalId,
};
use record_batch::{BatchBuilder, Codec};

use crate::client::{
    Client, NOW_MS, batch, batch_of, change_request, produce_request, single, stamp, text, topic,
};

use ErrorCode as E;

/// OffsetFetch of a group's offset for partition 0 of `t` and `u`, or of all it has; topic by topic.
async fn offsets(client: &mut Client, all: bool) -> (E, Vec<(String, i64, E)>) {
    let asked = ["t", "u"].map(|name| {
        OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes(vec![0])
    });
    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(if all {
        None
    } else {
        Some(asked.to_vec())
    });
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    let response: OffsetFetchResponse = client.call(ApiKey::OffsetFetch, 8, &request).await;
    let told = response.groups[0].topics.iter().map(|topic| {
        let partition = &topic.partitions[0];
        (topic.name.0.to_string(), partition.committed_offset, E(partition.error_code))
    });
    (E(response.groups[0].error_code), told.collect())
}

/// What is said of the topic with this id: its name and a code.
async fn metadata(client: &mut Client, cluster: &Cluster, name: &str) -> (Option<String>, E) {
    let id = cluster.topic_id(name).unwrap().to_string();
    let asked = MetadataRequestTopic::default().with_name(None).with_topic_id(id.parse().unwrap());
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let response: MetadataResponse = client.call(ApiKey::Metadata, 12, &request).await;
    let told = &response.topics[0];
    (told.name.as_ref().map(|name| name.0.to_string()), E(told.error_code))
}

async fn delete(client: &mut Client, cluster: &Cluster, name: &str) -> (Option<String>, E) {
    let id = cluster.topic_id(name).unwrap().to_string();
    let asked = DeleteTopicState::default().with_name(None).with_topic_id(id.parse().unwrap());
    let request = DeleteTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(1000);
    let response: DeleteTopicsResponse = client.call(ApiKey::DeleteTopics, 6, &request).await;
    let told = &response.responses[0];
    (told.name.as_ref().map(|name| name.0.to_string()), E(told.error_code))
}

/// AddPartitionsToTxn as brokers send it: the code of the whole, and of each partition.
async fn verify(client: &mut Client) -> (E, Vec<E>) {
    let asked = AddPartitionsToTxnTopic::default().with_name(topic("t")).with_partitions(vec![0]);
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(TransactionalId(text("x")))
        .with_producer_id(ProducerId(1))
        .with_topics(vec![asked]);
    let request = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
    let response: AddPartitionsToTxnResponse = client.call(ApiKey::AddPartitionsToTxn, 4, &request).await;
    let topics = response.results_by_transaction.iter().flat_map(|result| &result.topic_results);
    let partitions = topics.flat_map(|topic| &topic.results_by_partition);
    (E(response.error_code), partitions.map(|told| E(told.partition_error_code)).collect())
}

async fn settings(client: &mut Client, kind: i8, name: &str) -> (E, E) {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
    let response: DescribeConfigsResponse = client.call(ApiKey::DescribeConfigs, 1, &request).await;
    let described = E(response.results[0].error_code);
    let setting = if kind == 2 { "retention.ms" } else { "log.retention.ms" };
    let request = change_request(kind, name, &[(setting, 0, Some("5"))]).with_validate_only(true);
    let response: IncrementalAlterConfigsResponse =
        client.call(ApiKey::IncrementalAlterConfigs, 1, &request).await;
    (described, E(response.responses[0].error_code))
}

#[tokio::test]
async fn a_fault_of_a_topic_finds_it_in_newer_forms() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("u", 1, &[]);
    let code = E::KAFKA_STORAGE_ERROR;
    cluster.on(ApiKey::OffsetFetch).topic("t").fail(code);
    let told = offsets(&mut client, false).await.1;
    assert_eq!(told, [("t".to_owned(), -1, code), ("u".to_owned(), -1, E::NONE)]);
    let of_brokers = cluster.on(ApiKey::AddPartitionsToTxn).partition("t", 0).fail(code);
    // Nobody knows the producer, which comes first.
    assert_eq!(verify(&mut client).await.1, [E::INVALID_PRODUCER_ID_MAPPING]);
    assert_eq!(of_brokers.hits(), 1);
    let of_broker = cluster.on(ApiKey::DescribeConfigs).topic("0").fail(code);
    assert_eq!(settings(&mut client, 4, "0").await.0, E::NONE);
    assert_eq!(of_broker.hits(), 0, "a broker is no topic");
    let of_other = cluster.on(ApiKey::Metadata).topic("u").fail(code);
    cluster.on(ApiKey::Metadata).topic("t").fail(code);
    assert_eq!(metadata(&mut client, &cluster, "t").await, (Some("t".to_owned()), code));
    assert_eq!(of_other.hits(), 0);
    cluster.on(ApiKey::DeleteTopics).topic("t").fail(code);
    assert_eq!(delete(&mut client, &cluster, "t").await, (Some("t".to_owned()), code));
    assert_eq!(delete(&mut client, &cluster, "t").await, (Some("t".to_owned()), E::NONE));
}

async fn logged_in(cluster: &Cluster, user: &str) -> Client {
    let mut client = Client::in_memory(cluster, 0).unwrap();
    let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let response: SaslHandshakeResponse = client.call(ApiKey::SaslHandshake, 1, &request).await;
    assert_eq!(response.error_code, 0);
    let said = Bytes::from(format!("\0{user}\0secret"));
    let request = SaslAuthenticateRequest::default().with_auth_bytes(said);
    let response: SaslAuthenticateResponse = client.call(ApiKey::SaslAuthenticate, 0, &request).await;
    assert_eq!(response.error_code, 0);
    client
}

/// A cluster with topics `t` and `u`, both with an offset of group `g`; who may do everything, and ann, who may do so
/// much with a kind of resource.
async fn guarded(allowed: &[(i8, &str, i8)]) -> (Cluster, Client) {
    let config = Config {
        sasl: Some(Sasl::plain(&[("admin", "secret"), ("ann", "secret")])),
        super_users: Some(vec!["User:admin".to_owned()]),
        start_ms: Some(NOW_MS),
        ..Config::new(1, Profile::V4_3)
    };
    let cluster = Cluster::start(config.in_memory()).await.unwrap();
    let mut admin = logged_in(&cluster, "admin").await;
    for name in ["t", "u"] {
        cluster.create_topic(name, 1, &[]);
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let asked =
            OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![asked]);
        let response: OffsetCommitResponse = admin.call(ApiKey::OffsetCommit, 2, &request).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
    let creations = allowed.iter().map(|(kind, name, operation)| {
        AclCreation::default()
            .with_resource_type(*kind)
            .with_resource_name(text(name))
            .with_resource_pattern_type(3)
            .with_principal(text("User:ann"))
            .with_host(text("*"))
            .with_operation(*operation)
            .with_permission_type(3)
    });
    let request = CreateAclsRequest::default().with_creations(creations.collect());
    let response: CreateAclsResponse = admin.call(ApiKey::CreateAcls, 2, &request).await;
    assert!(response.results.iter().all(|result| result.error_code == 0));
    let ann = logged_in(&cluster, "ann").await;
    (cluster, ann)
}

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;

#[tokio::test]
async fn what_is_denied_is_denied_in_newer_forms() {
    let (cluster, mut ann) = guarded(&[(GROUP, "g", 3), (TOPIC, "u", 3)]).await;
    let (denied, seen) = (E::TOPIC_AUTHORIZATION_FAILED, ("u".to_owned(), 7, E::NONE));
    let told = offsets(&mut ann, false).await;
    assert_eq!(told, (E::NONE, vec![("t".to_owned(), -1, denied), seen.clone()]));
    assert_eq!(offsets(&mut ann, true).await, (E::NONE, vec![seen]));
    assert_eq!(metadata(&mut ann, &cluster, "t").await, (None, denied));
    assert_eq!(metadata(&mut ann, &cluster, "u").await, (Some("u".to_owned()), E::NONE));
    assert_eq!(delete(&mut ann, &cluster, "t").await, (None, denied));
    assert_eq!(delete(&mut ann, &cluster, "u").await, (Some("u".to_owned()), denied));
    assert_eq!(verify(&mut ann).await, (E::CLUSTER_AUTHORIZATION_FAILED, Vec::new()));
    let (_cluster, mut ann) = guarded(&[(CLUSTER, "kafka-cluster", 9)]).await;
    assert_eq!(verify(&mut ann).await, (E::NONE, vec![E::INVALID_PRODUCER_ID_MAPPING]));
}

#[tokio::test]
async fn nobody_writes_under_a_transactional_id_without_leave() {
    let (cluster, ann) = guarded(&[(TOPIC, "t", 4)]).await;
    let mut ann = ann.produce_version(8);
    let builder = BatchBuilder::new(Codec::None).stamp(stamp(1, 0, 0)).transactional();
    let request = produce_request(Some("x"), &[("t", 0, batch_of(1, builder, NOW_MS))]);
    let told = ann.produce_all(&request).await;
    assert_eq!(E(told[0].error_code), E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 0);
    // Who only names one needs none.
    let told = ann.produce_all(&produce_request(Some("x"), &[("t", 0, batch(1))])).await;
    assert_eq!(E(told[0].error_code), E::NONE);
}

#[tokio::test]
async fn offsets_of_a_topic_that_is_denied_stay() {
    let (cluster, mut ann) = guarded(&[(GROUP, "g", 6), (TOPIC, "u", 3)]).await;
    let topics = ["t", "u"].map(|name| {
        let partitions = vec![OffsetDeleteRequestPartition::default()];
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(partitions)
    });
    let request =
        OffsetDeleteRequest::default().with_group_id(GroupId(text("g"))).with_topics(topics.to_vec());
    let response: OffsetDeleteResponse = ann.call(ApiKey::OffsetDelete, 0, &request).await;
    let codes = response.topics.iter().map(|topic| E(topic.partitions[0].error_code));
    assert_eq!(codes.collect::<Vec<_>>(), [E::TOPIC_AUTHORIZATION_FAILED, E::NONE]);
    assert_eq!(cluster.committed_offset("g", "t", 0), Some(7));
    assert_eq!(cluster.committed_offset("g", "u", 0), None);
}

#[tokio::test]
async fn settings_of_brokers_are_the_clusters() {
    let (_cluster, mut ann) = guarded(&[(TOPIC, "0", 2)]).await;
    let denied = E::CLUSTER_AUTHORIZATION_FAILED;
    assert_eq!(settings(&mut ann, 4, "0").await, (denied, denied));
    let (_cluster, mut ann) =
        guarded(&[(CLUSTER, "kafka-cluster", 10), (CLUSTER, "kafka-cluster", 11)]).await;
    assert_eq!(settings(&mut ann, 4, "0").await, (E::NONE, E::NONE));
    let denied = E::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(settings(&mut ann, 2, "t").await, (denied, denied));
}
