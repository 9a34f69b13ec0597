//! Versions, topics and their settings.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::alter_configs_request as full;
use protocol::messages::api_versions_request::ApiVersionsRequest;
use protocol::messages::api_versions_response::ApiVersionsResponse;
use protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::{
    AlterConfigsResponse, CreatePartitionsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsResponse, IncrementalAlterConfigsResponse, MetadataResponse,
};

use crate::client::{change_request, decode, text, topic};
use crate::desk::Desk;

pub(crate) async fn check(desk: &mut Desk) {
    versions(desk).await;
    metadata(desk).await;
    creating(desk).await;
    settings(desk).await;
    changing(desk).await;
    lists(desk).await;
    growing(desk).await;
    too_many(desk).await;
    read_only(desk).await;
}

async fn versions(desk: &mut Desk) {
    let request = ApiVersionsRequest::default();
    let mut response: ApiVersionsResponse = desk.client.call(ApiKey::ApiVersions, 0, &request).await;
    // The order of a list that has none is nobody's promise.
    response.api_keys.sort_by_key(|listed| listed.api_key);
    for listed in response.api_keys {
        let Ok(api) = ApiKey::try_from(listed.api_key) else { continue };
        // What is not answered here is told in the crate's documentation.
        if desk.profile.versions().any(|(answered, _, _)| answered == api) {
            desk.note(
                &format!("version of {api:?}"),
                format!("{}-{}", listed.min_version, listed.max_version),
            );
        }
    }
    let mut frame = vec![0, 0, 0, 14, 0, 18, 0x7f, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 1, 1, 0];
    frame[3] = u8::try_from(frame.len() - 4).unwrap();
    desk.client.write(&frame).await;
    let frame = desk.client.read_frame().await.unwrap();
    let response: ApiVersionsResponse = decode(ApiKey::ApiVersions, 0, frame);
    let listed: Vec<String> = response
        .api_keys
        .iter()
        .map(|listed| format!("{} {}-{}", listed.api_key, listed.min_version, listed.max_version))
        .collect();
    desk.note("an unknown version of ApiVersions", format!("{} {listed:?}", ErrorCode(response.error_code)));
    if desk.profile > Profile::V1_1 {
        for (name, version) in [("paralog", "0.1"), ("para log", "0.1"), ("paralog", ""), ("-x", "1")] {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(text(name))
                .with_client_software_version(text(version));
            let response: ApiVersionsResponse = desk.client.call(ApiKey::ApiVersions, 3, &request).await;
            desk.note(&format!("software {name:?} {version:?}"), ErrorCode(response.error_code));
        }
    }
}

async fn metadata(desk: &mut Desk) {
    let known = desk.topic(&[]).await;
    for name in [known.as_str(), "no-such-topic", "not/a/name", ""] {
        let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(false);
        let response: MetadataResponse = desk.client.call(ApiKey::Metadata, 5, &request).await;
        let told = &response.topics[0];
        let partitions: Vec<String> = told
            .partitions
            .iter()
            .map(|partition| {
                let (replicas, isr) = (partition.replica_nodes.len(), partition.isr_nodes.len());
                format!("{} replicas {replicas} isr {isr}", ErrorCode(partition.error_code))
            })
            .collect();
        let internal = told.is_internal;
        desk.note(
            &format!("metadata of {name:?}"),
            format!("{} internal {internal} {partitions:?}", ErrorCode(told.error_code)),
        );
    }
    let none = MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false);
    let response: MetadataResponse = desk.client.call(ApiKey::Metadata, 5, &none).await;
    desk.note(
        "metadata of nothing",
        format!("{} topics {} brokers", response.topics.len(), response.brokers.len()),
    );
}

/// What is tried, name, partitions, replicas, settings.
type NewTopic<'a> = (&'a str, &'a str, i32, i16, &'a [(&'a str, &'a str)]);
/// Setting, operation, value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

async fn creating(desk: &mut Desk) {
    let known = desk.topic(&[]).await;
    let cases: [NewTopic<'_>; 15] = [
        ("again", &known, 1, 1, &[]),
        ("no partitions", "refused", 0, 1, &[]),
        ("minus two partitions", "refused", -2, 1, &[]),
        ("no replicas", "refused", 1, 0, &[]),
        ("two replicas", "refused", 1, 2, &[]),
        ("unknown setting", "refused", 1, 1, &[("no.such", "1")]),
        ("no number", "refused", 1, 1, &[("retention.ms", "long")]),
        ("too low a number", "refused", 1, 1, &[("segment.bytes", "3")]),
        ("too high a number", "refused", 1, 1, &[("segment.bytes", "99999999999")]),
        ("no boolean", "refused", 1, 1, &[("preallocate", "maybe")]),
        ("no such policy", "refused", 1, 1, &[("cleanup.policy", "keep")]),
        ("no such codec", "refused", 1, 1, &[("compression.type", "brotli")]),
        ("no such time", "refused", 1, 1, &[("message.timestamp.type", "Now")]),
        ("space in the name", "re fused", 1, 1, &[]),
        ("empty name", "", 1, 1, &[]),
    ];
    for (check, name, partitions, factor, configs) in cases {
        let code = desk.create(name, partitions, factor, configs).await;
        desk.note(&format!("create: {check}"), code);
    }
    desk.create("dots.and_lines", 1, 1, &[]).await;
    let code = desk.create("dots_and.lines", 1, 1, &[]).await;
    desk.note("create: colliding name", code);
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic("dots.and_lines"), topic("no-such-topic")])
        .with_timeout_ms(10_000);
    let response: DeleteTopicsResponse = desk.client.call(ApiKey::DeleteTopics, 1, &request).await;
    let mut told: Vec<String> = response
        .responses
        .iter()
        .map(|topic| format!("{} {}", topic.name.as_ref().unwrap().0, ErrorCode(topic.error_code)))
        .collect();
    told.sort_unstable();
    desk.note("delete", told.join(", "));
}

async fn settings(desk: &mut Desk) {
    let name = desk.topic(&[("retention.ms", "1234567"), ("cleanup.policy", "compact,delete")]).await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(&name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let mut response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
    response.results[0].configs.sort_by(|one, other| one.name.cmp(&other.name));
    for config in &response.results[0].configs {
        let synonyms: Vec<String> = config
            .synonyms
            .iter()
            .map(|synonym| format!("{}={:?}@{}", synonym.name, synonym.value, synonym.source))
            .collect();
        desk.note(
            &format!("setting {}", config.name),
            format!(
                "{:?} source {} read only {} sensitive {} {synonyms:?}",
                config.value, config.config_source, config.read_only, config.is_sensitive
            ),
        );
    }
    for (kind, name) in [(2, "no-such-topic"), (2, ""), (4, "77"), (4, "x"), (3, "x")] {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
        desk.note(&format!("settings of {kind} {name:?}"), ErrorCode(response.results[0].error_code));
    }
    let some = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(&name))
        .with_configuration_keys(Some(vec![text("retention.ms"), text("no.such")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![some]);
    let response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
    let names: Vec<&str> = response.results[0].configs.iter().map(|config| config.name.as_str()).collect();
    desk.note("settings that are asked for", format!("{names:?}"));
}

async fn note_overrides(desk: &mut Desk, check: &str, name: &str) {
    // Of a real cluster's changes each is known after those before it: here a topic that is made after them.
    desk.topic(&[]).await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
    let mut overrides: Vec<String> = response.results[0]
        .configs
        .iter()
        .filter(|config| config.config_source == 1)
        .map(|config| format!("{}={}", config.name, config.value.as_ref().unwrap()))
        .collect();
    overrides.sort_unstable();
    desk.note(check, format!("{overrides:?}"));
}

async fn changing(desk: &mut Desk) {
    let name = desk.topic(&[("retention.ms", "1234567")]).await;
    let config = |name: &str, value: Option<&str>| {
        full::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let whole = |configs: Vec<full::AlterableConfig>| {
        let resource = full::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(&name))
            .with_configs(configs);
        full::AlterConfigsRequest::default().with_resources(vec![resource])
    };
    for (check, request) in [
        ("replace", whole(vec![config("segment.ms", Some("60000"))])),
        ("replace with nonsense", whole(vec![config("no.such", Some("1"))])),
        ("replace with a wrong value", whole(vec![config("retention.ms", Some("x"))])),
        ("replace by null", whole(vec![config("retention.ms", None)])),
        ("replace twice", whole(vec![config("retention.ms", Some("5")), config("retention.ms", Some("6"))])),
        ("replace, only validated", whole(vec![config("retention.ms", Some("5"))]).with_validate_only(true)),
    ] {
        let response: AlterConfigsResponse = desk.client.call(ApiKey::AlterConfigs, 0, &request).await;
        desk.note(check, ErrorCode(response.responses[0].error_code));
        note_overrides(desk, &format!("{check}, then"), &name).await;
    }
    if desk.profile == Profile::V1_1 {
        return;
    }
    let cases: [(&str, &[Change<'_>]); 13] = [
        ("set", &[("retention.ms", 0, Some("99"))]),
        ("append", &[("cleanup.policy", 2, Some("compact"))]),
        ("subtract", &[("cleanup.policy", 3, Some("delete"))]),
        ("append to a number", &[("retention.ms", 2, Some("9"))]),
        ("set null", &[("retention.ms", 0, None)]),
        ("set nonsense", &[("no.such", 0, Some("1"))]),
        ("set a wrong value", &[("retention.ms", 0, Some("x"))]),
        ("set one right, one wrong", &[("segment.ms", 0, Some("70000")), ("retention.ms", 0, Some("x"))]),
        ("set twice", &[("retention.ms", 0, Some("1")), ("retention.ms", 0, Some("2"))]),
        ("append to nonsense", &[("no.such", 2, Some("1"))]),
        ("do what nobody can", &[("retention.ms", 9, Some("1"))]),
        ("unset", &[("retention.ms", 1, None)]),
        ("unset what is not set", &[("flush.ms", 1, None)]),
    ];
    for (check, changes) in cases {
        let request = change_request(2, &name, changes);
        let response: IncrementalAlterConfigsResponse =
            desk.client.call(ApiKey::IncrementalAlterConfigs, 0, &request).await;
        desk.note(check, ErrorCode(response.responses[0].error_code));
        note_overrides(desk, &format!("{check}, then"), &name).await;
    }
}

/// Lists, what may be in them, and how long they may be.
async fn lists(desk: &mut Desk) {
    if desk.profile == Profile::V1_1 {
        return;
    }
    let (policy, throttled) = ("cleanup.policy", "leader.replication.throttled.replicas");
    // Entries of seven characters with their comma.
    let of_length = |length: usize| {
        let most: Vec<String> = (1..length / 7).map(|index| format!("{index:04}:1")).collect();
        format!("{},{}:1", most.join(","), "7".repeat(length % 7 + 5))
    };
    let (most, more) = (of_length(32_767), of_length(32_768));
    let mut cases: Vec<(&str, &str, i8, &str)> = vec![
        ("append what is there", policy, 2, "compact,delete"),
        ("append it again", policy, 2, "compact"),
        ("subtract the first", policy, 3, "delete"),
        ("a throttled replica", throttled, 0, "0:0"),
        ("more throttled replicas", throttled, 2, "1:0,0:0,2:1"),
        ("fewer throttled replicas", throttled, 3, "0:0,2:1,5:5"),
        ("all replicas throttled", throttled, 0, "*"),
        ("all and one", throttled, 0, "*,0:1"),
        ("words for replicas", throttled, 0, "some"),
        ("half a replica", throttled, 0, "0:"),
        ("none throttled", throttled, 0, ""),
    ];
    cases.push(("the longest list", throttled, 0, most.as_str()));
    // Brokers with ZooKeeper take more, here not.
    if desk.profile >= Profile::V3_9 {
        cases.push(("a longer list", throttled, 2, "1:1"));
    }
    let name = desk.topic(&[(policy, "delete")]).await;
    for (check, setting, operation, value) in cases {
        let request = change_request(2, &name, &[(setting, operation, Some(value))]);
        let response: IncrementalAlterConfigsResponse =
            desk.client.call(ApiKey::IncrementalAlterConfigs, 1, &request).await;
        desk.note(check, ErrorCode(response.responses[0].error_code));
        if !check.ends_with("list") {
            note_overrides(desk, &format!("{check}, then"), &name).await;
        }
    }
    // No text may be longer.
    for version in [0, 1] {
        let value = if version == 0 { &most } else { &more };
        let request = change_request(2, &name, &[(throttled, 0, Some(value))]);
        desk.client.send(ApiKey::IncrementalAlterConfigs, version, &request).await;
        let response: std::io::Result<IncrementalAlterConfigsResponse> =
            desk.client.receive(ApiKey::IncrementalAlterConfigs, version).await;
        let answer = response.map(|response| ErrorCode(response.responses[0].error_code).to_string());
        if answer.is_err() {
            desk.reconnect().await;
        }
        let answer = answer.unwrap_or_else(|_| "closes the connection".to_owned());
        desk.note(&format!("a value of {} bytes, version {version}", value.len()), answer);
    }
}

async fn growing(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    for (name, count) in [(name.as_str(), 3), (&name, 3), (&name, 2), (&name, 0), ("no-such-topic", 2)] {
        let asked =
            CreatePartitionsTopic::default().with_name(topic(name)).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![asked]).with_timeout_ms(10_000);
        let response: CreatePartitionsResponse =
            desk.client.call(ApiKey::CreatePartitions, 0, &request).await;
        desk.note(&format!("grow to {count}"), ErrorCode(response.results[0].error_code));
    }
}

/// Versions with ZooKeeper have no such bound, and would begin to make them. CreatePartitions is not asked for as many:
/// 3.9.2 answers UNKNOWN_SERVER_ERROR, and its controller has to begin anew.
async fn too_many(desk: &mut Desk) {
    if desk.profile < Profile::V3_9 {
        return;
    }
    let answer = desk.create("too-many", 10_001, 1, &[]).await;
    desk.note("create 10001 partitions", answer);
}

/// What brokers do not take while they run.
async fn read_only(desk: &mut Desk) {
    let name = "auto.create.topics.enable";
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("0"))
        .with_configuration_keys(Some(vec![text(name)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
    for config in &response.results[0].configs {
        let (value, source, read_only) = (&config.value, config.config_source, config.read_only);
        desk.note(&format!("broker's {name}"), format!("{value:?} source {source} read only {read_only}"));
    }
    for broker in ["0", ""] {
        let config = full::AlterableConfig::default().with_name(text(name)).with_value(Some(text("true")));
        let resource = full::AlterConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text(broker))
            .with_configs(vec![config]);
        let request = full::AlterConfigsRequest::default().with_resources(vec![resource]);
        let response: AlterConfigsResponse = desk.client.call(ApiKey::AlterConfigs, 0, &request).await;
        desk.note(&format!("replace {name} of {broker:?}"), ErrorCode(response.responses[0].error_code));
        if desk.profile == Profile::V1_1 {
            continue;
        }
        let request = change_request(4, broker, &[(name, 0, Some("true"))]);
        let response: IncrementalAlterConfigsResponse =
            desk.client.call(ApiKey::IncrementalAlterConfigs, 0, &request).await;
        desk.note(&format!("set {name} of {broker:?}"), ErrorCode(response.responses[0].error_code));
    }
}
