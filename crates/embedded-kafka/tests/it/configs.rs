use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use protocol::messages::alter_configs_request as full;
use protocol::messages::alter_configs_response::AlterConfigsResponse;
use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResponse};
use protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::metadata_response::MetadataResponse;

use crate::client::{Change, Client, change_request, single, text, topic};

use ErrorCode as E;

async fn describe(client: &mut Client, kind: i8, name: &str) -> (E, Vec<DescribeConfigsResourceResult>) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let mut response: DescribeConfigsResponse = client.call(ApiKey::DescribeConfigs, 1, &request).await;
    let result = response.results.remove(0);
    (E(result.error_code), result.configs)
}

fn value(configs: &[DescribeConfigsResourceResult], name: &str) -> Option<(String, i8)> {
    let found = configs.iter().find(|config| config.name.as_str() == name)?;
    Some((found.value.as_ref()?.to_string(), found.config_source))
}

#[tokio::test]
async fn settings_come_with_their_sources_and_synonyms() {
    let config = Config::new(1, Profile::V2_8).broker_setting("log.retention.ms", "77");
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[("cleanup.policy", "compact")]);
    let mut client = Client::connect(&cluster, 0).await;
    let (code, configs) = describe(&mut client, 2, "t").await;
    assert_eq!(code, E::NONE);
    assert_eq!(value(&configs, "cleanup.policy"), Some(("compact".to_owned(), 1)));
    assert_eq!(value(&configs, "retention.ms"), Some(("77".to_owned(), 4)));
    assert_eq!(value(&configs, "max.message.bytes"), Some(("1048588".to_owned(), 5)));
    let policy = configs.iter().find(|config| config.name.as_str() == "cleanup.policy").unwrap();
    let synonyms: Vec<(&str, i8)> =
        policy.synonyms.iter().map(|synonym| (synonym.name.as_str(), synonym.source)).collect();
    assert_eq!(synonyms, [("cleanup.policy", 1), ("log.cleanup.policy", 5)]);
    assert_eq!(describe(&mut client, 2, "none").await.0, E::UNKNOWN_TOPIC_OR_PARTITION);
    let (_, configs) = describe(&mut client, 4, "0").await;
    assert_eq!(value(&configs, "log.retention.ms"), Some(("77".to_owned(), 4)));
}

#[tokio::test]
async fn settings_are_those_of_the_version() {
    let has = async |profile, name: &str| {
        let (_cluster, mut client) = single(profile).await;
        let (_, configs) = describe(&mut client, 2, "t").await;
        value(&configs, name).map(|(value, _)| value)
    };
    assert_eq!(has(Profile::V1_1, "max.message.bytes").await.as_deref(), Some("1000012"));
    assert_eq!(has(Profile::V4_3, "message.timestamp.after.max.ms").await.as_deref(), Some("3600000"));
    assert_eq!(has(Profile::V2_8, "message.timestamp.after.max.ms").await, None);
    assert_eq!(
        has(Profile::V3_9, "message.timestamp.difference.max.ms").await.as_deref(),
        Some("9223372036854775807")
    );
}

async fn change(client: &mut Client, kind: i8, resource: &str, changes: &[Change<'_>]) -> E {
    let request = change_request(kind, resource, changes);
    let response: IncrementalAlterConfigsResponse =
        client.call(ApiKey::IncrementalAlterConfigs, 1, &request).await;
    E(response.responses[0].error_code)
}

#[tokio::test]
async fn settings_change_one_by_one_all_or_none() {
    let (cluster, mut client) = single(Profile::V4_3).await;
    assert_eq!(
        change(
            &mut client,
            2,
            "t",
            &[("retention.ms", 0, Some("9")), ("cleanup.policy", 2, Some("compact"))]
        )
        .await,
        E::NONE
    );
    let configs = cluster.topic_configs("t");
    assert_eq!(configs["retention.ms"], "9");
    assert_eq!(configs["cleanup.policy"], "delete,compact");
    let refused = [
        (&[("retention.ms", 0, Some("1")), ("nonsense", 0, Some("1"))][..], E::INVALID_CONFIG),
        (&[("retention.ms", 0, Some("soon"))], E::INVALID_CONFIG),
        (&[("retention.ms", 2, Some("1"))], E::INVALID_CONFIG),
        (&[("retention.ms", 0, None)], E::INVALID_REQUEST),
        (&[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)], E::INVALID_REQUEST),
    ];
    for (changes, expected) in refused {
        assert_eq!(change(&mut client, 2, "t", changes).await, expected);
    }
    assert_eq!(cluster.topic_configs("t"), configs);
    assert_eq!(
        change(&mut client, 2, "t", &[("retention.ms", 1, None), ("cleanup.policy", 3, Some("compact"))])
            .await,
        E::NONE
    );
    assert_eq!(cluster.topic_configs("t").len(), 1);
    assert_eq!(
        change(&mut client, 2, "none", &[("retention.ms", 1, None)]).await,
        E::UNKNOWN_TOPIC_OR_PARTITION
    );
}

#[tokio::test]
async fn a_default_of_all_brokers_reaches_topics_and_producers() {
    let (_cluster, mut client) = single(Profile::V3_9).await;
    let changes =
        [("message.max.bytes", 0, Some("100")), ("producer.id.expiration.ms", 0, Some("2147483647"))];
    assert_eq!(change(&mut client, 4, "", &changes).await, E::NONE);
    let (_, configs) = describe(&mut client, 2, "t").await;
    assert_eq!(value(&configs, "max.message.bytes"), Some(("100".to_owned(), 3)));
    assert_eq!(client.offer(crate::client::batch(9)).await.0, E::MESSAGE_TOO_LARGE);
    let changes = [("producer.id.expiration.ms", 0, Some("2147483648"))];
    assert_eq!(change(&mut client, 4, "", &changes).await, E::INVALID_REQUEST);
}

#[tokio::test]
async fn whether_topics_are_created_by_asking_is_described_as_it_is_done_and_does_not_change() {
    let name = "auto.create.topics.enable";
    for (config, creates) in [
        (Config::new(1, Profile::V4_3), false),
        (Config { auto_create: true, ..Config::new(1, Profile::V4_3) }, true),
        (Config::new(1, Profile::V4_3).broker_setting(name, "true"), true),
        (Config { auto_create: true, ..Config::new(1, Profile::V4_3) }.broker_setting(name, "false"), false),
    ] {
        let cluster = Cluster::start(config).await.unwrap();
        let mut client = Client::connect(&cluster, 0).await;
        for value in ["true", "false"] {
            for broker in ["", "0"] {
                let changes = [(name, 0, Some(value))];
                assert_eq!(change(&mut client, 4, broker, &changes).await, E::INVALID_REQUEST);
            }
        }
        let (_, configs) = describe(&mut client, 4, "0").await;
        assert_eq!(value(&configs, name), Some((creates.to_string(), 4)));
        let read_only =
            |name: &str| configs.iter().find(|config| config.name.as_str() == name).unwrap().read_only;
        assert!(read_only(name) && !read_only("log.retention.ms"));
        let asked = MetadataRequestTopic::default().with_name(Some(topic("new")));
        let request =
            MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(true);
        let _: MetadataResponse = client.call(ApiKey::Metadata, 9, &request).await;
        assert_eq!(cluster.partitions("new"), i32::from(creates));
    }
}

async fn replace(client: &mut Client, broker: &str, settings: &[(&str, Option<&str>)]) -> E {
    let configs = settings.iter().map(|(name, value)| {
        full::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    });
    let resource = full::AlterConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text(broker))
        .with_configs(configs.collect());
    let request = full::AlterConfigsRequest::default().with_resources(vec![resource]);
    let response: AlterConfigsResponse = client.call(ApiKey::AlterConfigs, 1, &request).await;
    E(response.responses[0].error_code)
}

#[tokio::test]
async fn brokers_take_names_that_they_do_not_know_and_nothing_that_is_wrong() {
    for profile in [Profile::V2_8, Profile::V3_9, Profile::V4_3] {
        let (_cluster, mut client) = single(profile).await;
        assert_eq!(replace(&mut client, "0", &[("no.such", Some("1"))]).await, E::NONE);
        assert_eq!(change(&mut client, 4, "0", &[("no.such", 0, Some("1"))]).await, E::NONE);
        for (name, value) in [
            // Read only, whether it has a meaning here or not.
            ("num.partitions", "3"),
            ("broker.id", "0"),
            ("log.dirs", "/nowhere"),
            // Wrong.
            ("log.retention.ms", "soon"),
            ("log.segment.bytes", "1"),
            ("log.cleanup.policy", "keep"),
        ] {
            let both = [("message.max.bytes", Some("7")), (name, Some(value))];
            assert_eq!(replace(&mut client, "0", &both).await, E::INVALID_REQUEST, "{name}");
            let both = [("message.max.bytes", 0, Some("7")), (name, 0, Some(value))];
            assert_eq!(change(&mut client, 4, "0", &both).await, E::INVALID_REQUEST, "{name}");
        }
        let (_, configs) = describe(&mut client, 4, "0").await;
        assert_eq!(value(&configs, "message.max.bytes").unwrap().1, 5, "nothing of it is set");
        assert_eq!(value(&configs, "no.such"), None);
    }
}

#[tokio::test]
async fn a_cluster_keeps_its_least_in_sync_replicas_where_leaders_may_come_from_elsewhere() {
    let (_cluster, mut client) = single(Profile::V4_3).await;
    let name = "min.insync.replicas";
    assert_eq!(replace(&mut client, "", &[("log.retention.ms", Some("9"))]).await, E::INVALID_CONFIG);
    assert_eq!(change(&mut client, 4, "", &[(name, 1, None)]).await, E::INVALID_CONFIG);
    assert_eq!(change(&mut client, 4, "0", &[(name, 0, Some("2"))]).await, E::INVALID_CONFIG);
    assert_eq!(change(&mut client, 4, "", &[(name, 0, Some("2"))]).await, E::NONE);
    let (_, configs) = describe(&mut client, 4, "0").await;
    assert_eq!(value(&configs, name), Some(("2".to_owned(), 3)));
}

#[tokio::test]
async fn the_old_way_replaces_everything() {
    let (cluster, mut client) = single(Profile::V1_1).await;
    cluster.set_topic_config("t", "retention.ms", Some("5"));
    let config =
        full::AlterableConfig::default().with_name(text("segment.ms")).with_value(Some(text("60000")));
    let resource = full::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    let request = full::AlterConfigsRequest::default().with_resources(vec![resource]);
    let response: AlterConfigsResponse = client.call(ApiKey::AlterConfigs, 0, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
    let names: Vec<String> = cluster.topic_configs("t").into_keys().collect();
    assert_eq!(names, ["segment.ms"]);
}
