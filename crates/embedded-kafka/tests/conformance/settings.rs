//! What brokers take of their own settings while they run: which names, which values, for one of them or for all.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::alter_configs_request as full;
use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::{AlterConfigsResponse, DescribeConfigsResponse, IncrementalAlterConfigsResponse};

use crate::client::{Change, batch, change_request, text};
use crate::desk::Desk;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Values that are wrong, or right, and names that are not there, or not to be changed.
const VALUES: [(&str, Option<&str>); 35] = [
    ("no.such.setting", Some("1")),
    ("", Some("1")),
    ("retention.ms", Some("1")),
    // Read only, each in its way.
    ("broker.id", Some("0")),
    ("num.partitions", Some("3")),
    ("num.partitions", Some("many")),
    ("broker.rack", Some("r")),
    ("log.dirs", Some("/nowhere")),
    ("zookeeper.connect", Some("nowhere:1")),
    ("group.initial.rebalance.delay.ms", Some("0")),
    ("transaction.max.timeout.ms", Some("1")),
    ("connections.max.idle.ms", Some("1000")),
    ("log.retention.hours", Some("1")),
    ("log.retention.minutes", Some("60")),
    ("log.roll.hours", Some("1")),
    // Of the wrong kind, or out of bounds.
    ("log.retention.ms", Some("soon")),
    ("log.retention.ms", Some("")),
    ("log.retention.ms", Some("-2")),
    ("log.retention.ms", None),
    ("log.segment.bytes", Some("1")),
    ("log.segment.bytes", Some("3000000000")),
    ("message.max.bytes", Some("-1")),
    ("message.max.bytes", Some("1.5")),
    ("log.cleanup.policy", Some("keep")),
    ("log.message.timestamp.type", Some("Sometimes")),
    ("unclean.leader.election.enable", Some("maybe")),
    ("compression.type", Some("best")),
    ("log.cleaner.min.cleanable.ratio", Some("2")),
    ("min.insync.replicas", Some("0")),
    ("min.insync.replicas", Some("1")),
    ("group.consumer.assignment.interval.ms", Some("1000")),
    // Right ones.
    ("log.retention.ms", Some("1234567")),
    ("log.cleanup.policy", Some("compact,delete")),
    ("unclean.leader.election.enable", Some("true")),
    ("message.max.bytes", Some(" 2000000 ")),
];

pub(crate) async fn check(desk: &mut Desk) {
    for broker in ["0", "", "77", "x"] {
        for (name, value) in VALUES {
            replace(desk, broker, &[(name, value)], true).await;
            if desk.profile >= Profile::V2_8 {
                change(desk, broker, &[(name, SET, value)], true).await;
            }
        }
    }
    for broker in ["0", ""] {
        replace(desk, broker, &[("log.retention.ms", Some("9")), ("num.partitions", Some("3"))], false).await;
        replace(desk, broker, &[("log.retention.ms", Some("9")), ("no.such.setting", Some("3"))], true).await;
        replace(desk, broker, &[("log.retention.ms", Some("9")), ("log.retention.ms", Some("8"))], true)
            .await;
        replace(desk, broker, &[("log.retention.ms", Some("7654321"))], false).await;
        note_set(desk, broker).await;
        replace(desk, broker, &[("message.max.bytes", Some("2000000"))], false).await;
        note_set(desk, broker).await;
        if desk.profile >= Profile::V2_8 {
            changes(desk, broker).await;
        }
        replace(desk, broker, &[], false).await;
        note_set(desk, broker).await;
    }
}

async fn changes(desk: &mut Desk, broker: &str) {
    let cases: [&[Change<'_>]; 18] = [
        &[("no.such.setting", DELETE, None)],
        &[("num.partitions", DELETE, None)],
        &[("log.retention.ms", DELETE, None)],
        &[("log.retention.ms", APPEND, Some("1"))],
        &[("no.such.setting", APPEND, Some("1"))],
        &[("num.partitions", APPEND, Some("1"))],
        &[("log.cleanup.policy", APPEND, None)],
        &[("log.cleanup.policy", APPEND, Some("keep"))],
        &[("log.cleanup.policy", APPEND, Some("compact"))],
        &[("log.cleanup.policy", SUBTRACT, Some("delete"))],
        &[("log.cleanup.policy", SUBTRACT, Some("compact"))],
        &[("log.cleanup.policy", DELETE, None)],
        &[("min.insync.replicas", DELETE, None)],
        &[("min.insync.replicas", SET, Some("1"))],
        &[("log.retention.ms", 9, Some("1"))],
        &[("log.retention.ms", SET, Some("1")), ("log.retention.ms", SET, Some("2"))],
        &[("log.retention.ms", SET, Some("1")), ("num.partitions", SET, Some("2"))],
        &[("log.retention.ms", SET, Some("99")), ("message.max.bytes", DELETE, Some("2"))],
    ];
    for case in cases {
        change(desk, broker, case, false).await;
        note_set(desk, broker).await;
    }
}

async fn replace(desk: &mut Desk, broker: &str, settings: &[(&str, Option<&str>)], validate_only: bool) {
    let configs = settings.iter().map(|(name, value)| {
        full::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    });
    let resource = full::AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(configs.collect());
    let request =
        full::AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    let response: AlterConfigsResponse = desk.client.call(ApiKey::AlterConfigs, 0, &request).await;
    let answer = ErrorCode(response.responses[0].error_code);
    desk.note(&format!("broker {broker:?}: replace by {settings:?}, validate {validate_only}"), answer);
}

async fn change(desk: &mut Desk, broker: &str, changes: &[Change<'_>], validate_only: bool) {
    let request = change_request(BROKER, broker, changes).with_validate_only(validate_only);
    let response: IncrementalAlterConfigsResponse =
        desk.client.call(ApiKey::IncrementalAlterConfigs, 0, &request).await;
    let answer = ErrorCode(response.responses[0].error_code);
    desk.note(&format!("broker {broker:?}: change by {changes:?}, validate {validate_only}"), answer);
}

/// What is set for it at run time.
async fn note_set(desk: &mut Desk, broker: &str) {
    // Of a real cluster's changes each is known after those before it: here how large a topic's batches may be.
    let name = desk.topic(&[]).await;
    let config =
        full::AlterableConfig::default().with_name(text("max.message.bytes")).with_value(Some(text("1")));
    let resource = full::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(&name))
        .with_configs(vec![config]);
    let request = full::AlterConfigsRequest::default().with_resources(vec![resource]);
    let response: AlterConfigsResponse = desk.client.call(ApiKey::AlterConfigs, 0, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
    let is_known = async |desk: &mut Desk| {
        let reply = desk.offer(&name, batch(1)).await?;
        (ErrorCode(reply.error_code) == ErrorCode::MESSAGE_TOO_LARGE).then_some(())
    };
    desk.eventually("a change after those before", is_known).await;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response: DescribeConfigsResponse = desk.client.call(ApiKey::DescribeConfigs, 1, &request).await;
    let set = response.results[0].configs.iter().filter(|config| [2, 3].contains(&config.config_source));
    let mut set: Vec<String> =
        set.map(|config| format!("{}={:?}@{}", config.name, config.value, config.config_source)).collect();
    set.sort_unstable();
    desk.note(&format!("broker {broker:?}: what is set"), format!("{set:?}"));
}
