use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use protocol::messages::api_versions_request::ApiVersionsRequest;
use protocol::messages::api_versions_response::ApiVersionsResponse;
use protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_partitions_response::CreatePartitionsResponse;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use protocol::messages::create_topics_response::CreateTopicsResponse;
use protocol::messages::delete_topics_request::DeleteTopicsRequest;
use protocol::messages::delete_topics_response::DeleteTopicsResponse;
use protocol::messages::describe_cluster_request::DescribeClusterRequest;
use protocol::messages::describe_cluster_response::DescribeClusterResponse;
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::metadata_response::MetadataResponse;

use crate::client::{Client, cluster, decode, single, text, topic};

fn metadata_of(name: &str, create: bool) -> MetadataRequest {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(create)
}

#[tokio::test]
async fn versions_are_those_of_the_profile_and_an_unknown_version_is_answered_in_version_0() {
    for (profile, fetch_max) in
        [(Profile::V1_1, 7), (Profile::V2_8, 12), (Profile::V3_9, 17), (Profile::V4_3, 18)]
    {
        let (_cluster, mut client) = single(profile).await;
        let request = ApiVersionsRequest::default();
        let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &request).await;
        let fetch = response.api_keys.iter().find(|api| api.api_key == ApiKey::Fetch as i16).unwrap();
        assert_eq!(fetch.max_version, fetch_max);
        assert_eq!(response.error_code, 0);

        let mut frame = vec![0, 0, 0, 14, 0, 18, 0x7f, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 1, 1, 0];
        frame[3] = u8::try_from(frame.len() - 4).unwrap();
        client.write(&frame).await;
        let reply = client.read_frame().await.unwrap();
        let response: ApiVersionsResponse = decode(ApiKey::ApiVersions, 0, reply);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(response.api_keys.len(), usize::from(profile >= Profile::V2_8));
    }
}

#[tokio::test]
async fn a_newer_cluster_tells_its_features_and_checks_the_clients_name() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("paralog"))
        .with_client_software_version(text("0.1.0"));
    let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 4, &request).await;
    assert!(response.finalized_features.iter().any(|feature| feature.name.as_str() == "transaction.version"));
    let request = request.with_client_software_name(text("para log"));
    let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 3, &request).await;
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INVALID_REQUEST);
}

#[tokio::test]
async fn metadata_names_brokers_leaders_epochs_and_ids() {
    let cluster = cluster(3, Profile::V4_3).await;
    cluster.create_topic("spread", 3, &[]);
    let mut client = Client::connect(&cluster, 1).await;
    let response: MetadataResponse = client.call(ApiKey::Metadata, 12, &metadata_of("spread", false)).await;
    assert_eq!(response.brokers.len(), 3);
    assert_eq!(response.cluster_id.as_ref().map(protocol::StrBytes::as_str), Some("embedded"));
    let told = &response.topics[0];
    assert_eq!(told.topic_id.into_bytes(), cluster.topic_id("spread").unwrap().0);
    let leaders: Vec<i32> = told.partitions.iter().map(|partition| partition.leader_id.0).collect();
    assert_eq!(leaders, [0, 1, 2]);
    assert!(
        told.partitions.iter().all(|partition| partition.isr_nodes.len() == 3 && partition.leader_epoch == 0)
    );

    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(told.topic_id);
    let request = MetadataRequest::default().with_topics(Some(vec![by_id]));
    let response: MetadataResponse = client.call(ApiKey::Metadata, 12, &request).await;
    assert_eq!(response.topics[0].name.as_ref().unwrap().0.as_str(), "spread");
    cluster.recreate_topic("spread");
    let response: MetadataResponse = client.call(ApiKey::Metadata, 12, &request).await;
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::UNKNOWN_TOPIC_ID);
}

#[tokio::test]
async fn all_topics_are_told_for_a_null_list_and_none_for_an_empty_one() {
    let (_cluster, mut client) = single(Profile::V2_8).await;
    let all = MetadataRequest::default().with_topics(None);
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &all).await;
    assert_eq!(response.topics.len(), 1);
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &none).await;
    assert_eq!(response.topics.len(), 0);
}

#[tokio::test]
async fn a_topic_is_created_by_metadata_only_if_both_sides_allow_it() {
    let (_cluster, mut client) = single(Profile::V3_9).await;
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("new", true)).await;
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);

    let cluster = Cluster::start(Config { auto_create: true, ..Config::default() }).await.unwrap();
    let mut client = Client::connect(&cluster, 0).await;
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("new", false)).await;
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("new", true)).await;
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::LEADER_NOT_AVAILABLE);
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("new", true)).await;
    assert_eq!(response.topics[0].error_code, 0);
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("not/a name", true)).await;
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::INVALID_TOPIC_EXCEPTION);
}

fn new_topic(name: &str, partitions: i32, factor: i16, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
        .with_configs(configs.collect());
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)
}

async fn create(client: &mut Client, request: &CreateTopicsRequest) -> (ErrorCode, i32, usize) {
    let response: CreateTopicsResponse = client.call(ApiKey::CreateTopics, 7, request).await;
    let topic = &response.topics[0];
    let configs = topic.configs.as_ref().map_or(0, Vec::len);
    (ErrorCode(topic.error_code), topic.num_partitions, configs)
}

#[tokio::test]
async fn topics_are_created_with_their_settings_or_refused_with_the_reason() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let (code, partitions, configs) =
        create(&mut client, &new_topic("a", 4, 1, &[("retention.ms", "5")])).await;
    assert_eq!((code, partitions), (ErrorCode::NONE, 4));
    assert!(configs > 25);
    assert_eq!(cluster.topic_configs("a").get("retention.ms").map(String::as_str), Some("5"));
    let refused = [
        (new_topic("a", 4, 1, &[]), ErrorCode::TOPIC_ALREADY_EXISTS),
        (new_topic("b", 0, 1, &[]), ErrorCode::INVALID_PARTITIONS),
        (new_topic("b", 1, 2, &[]), ErrorCode::INVALID_REPLICATION_FACTOR),
        (new_topic("b", 1, 1, &[("retention", "5")]), ErrorCode::INVALID_CONFIG),
        (new_topic("b", 1, 1, &[("retention.ms", "long")]), ErrorCode::INVALID_CONFIG),
        (new_topic("b c", 1, 1, &[]), ErrorCode::INVALID_TOPIC_EXCEPTION),
    ];
    for (request, expected) in refused {
        assert_eq!(create(&mut client, &request).await.0, expected);
    }
    let validated = new_topic("b", -1, -1, &[]).with_validate_only(true);
    assert_eq!(create(&mut client, &validated).await.0, ErrorCode::NONE);
    assert_eq!(cluster.partitions("b"), 0);
}

#[tokio::test]
async fn only_the_controller_creates_topics_with_zookeeper_and_any_broker_without() {
    for (profile, expected) in [(Profile::V2_8, ErrorCode::NOT_CONTROLLER), (Profile::V3_9, ErrorCode::NONE)]
    {
        let cluster = cluster(2, profile).await;
        let mut client = Client::connect(&cluster, 1).await;
        assert_eq!(create(&mut client, &new_topic("a", 1, 1, &[])).await.0, expected);
    }
}

#[tokio::test]
async fn topics_grow_and_go() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    let grow = |count| {
        let topic =
            CreatePartitionsTopic::default().with_name(topic("t")).with_count(count).with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![topic])
    };
    for (count, expected) in
        [(3, ErrorCode::NONE), (3, ErrorCode::INVALID_PARTITIONS), (2, ErrorCode::INVALID_PARTITIONS)]
    {
        let response: CreatePartitionsResponse = client.call(ApiKey::CreatePartitions, 3, &grow(count)).await;
        assert_eq!(ErrorCode(response.results[0].error_code), expected);
    }
    assert_eq!(cluster.partitions("t"), 3);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic("t"), topic("none")]);
    let response: DeleteTopicsResponse = client.call(ApiKey::DeleteTopics, 5, &request).await;
    let codes: Vec<ErrorCode> = response.responses.iter().map(|topic| ErrorCode(topic.error_code)).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert!(cluster.topics().is_empty());
}

#[tokio::test]
async fn a_cluster_describes_itself() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 0).await;
    let request = DescribeClusterRequest::default().with_endpoint_type(1);
    let response: DescribeClusterResponse = client.call(ApiKey::DescribeCluster, 1, &request).await;
    assert_eq!(response.brokers.len(), 2);
    assert_eq!(response.cluster_id.as_str(), "embedded");
}

#[tokio::test]
async fn clients_are_told_to_go_where_the_cluster_was_told_that_it_is_reached() {
    let config = Config {
        listen_on: "0.0.0.0".parse().unwrap(),
        advertised_host: Some("kafka.example".to_owned()),
        ..Config::new(1, Profile::V4_3)
    };
    let cluster = Cluster::start(config).await.unwrap();
    let address = cluster.broker(0).address();
    assert!(address.ip().is_unspecified());
    assert_eq!(cluster.bootstrap(), [format!("kafka.example:{}", address.port())]);
    // By another address of loopback than the one that is bound without being told.
    let mut client = Client::open(&format!("127.0.0.2:{}", address.port()), Profile::V4_3).await;
    let response: MetadataResponse = client.call(ApiKey::Metadata, 9, &metadata_of("t", false)).await;
    assert_eq!(response.brokers[0].host.as_str(), "kafka.example");
    let request = DescribeClusterRequest::default().with_endpoint_type(1);
    let response: DescribeClusterResponse = client.call(ApiKey::DescribeCluster, 1, &request).await;
    assert_eq!(response.brokers[0].host.as_str(), "kafka.example");
    for version in [3, 4] {
        let request = FindCoordinatorRequest::default();
        let request = match version {
            4 => request.with_coordinator_keys(vec![text("g")]),
            _ => request.with_key(text("g")),
        };
        let response: FindCoordinatorResponse = client.call(ApiKey::FindCoordinator, version, &request).await;
        let host = response.coordinators.first().map_or(&response.host, |found| &found.host);
        assert_eq!(host.as_str(), "kafka.example");
    }
}

#[tokio::test]
async fn without_being_told_it_listens_on_loopback_and_says_so() {
    let bootstrap = async |listen_on: &str| {
        let config = Config { listen_on: listen_on.parse().unwrap(), ..Config::default() };
        let cluster = Cluster::start(config).await.unwrap();
        let port = cluster.broker(0).address().port();
        cluster.bootstrap().remove(0).replace(&port.to_string(), "port")
    };
    assert!(Config::default().listen_on.is_loopback());
    assert_eq!(bootstrap("127.0.0.1").await, "127.0.0.1:port");
    assert_eq!(bootstrap("0.0.0.0").await, "127.0.0.1:port");
    assert_eq!(bootstrap("127.0.0.3").await, "127.0.0.3:port");
}

#[tokio::test]
async fn two_clusters_of_three_brokers_start_and_are_gone_when_dropped() {
    let one = Cluster::start(Config::new(3, Profile::V4_3)).await.unwrap();
    let two = Cluster::start(Config::new(3, Profile::V1_1)).await.unwrap();
    assert_eq!(one.bootstrap().len(), 3);
    let mut client = Client::connect(&two, 2).await;
    drop(two);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_topic_that_is_named_again_and_again_is_told_once() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    cluster.create_topic("many", 10_000, &[]);
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let mut asked = vec![named("many"); 3000];
    asked.push(named("t"));
    let request = MetadataRequest::default().with_topics(Some(asked));
    let response: MetadataResponse = client.call(ApiKey::Metadata, 1, &request).await;
    let told: Vec<usize> = response.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(told, [10_000, 1]);
}
