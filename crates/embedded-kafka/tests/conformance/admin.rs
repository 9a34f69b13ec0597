//! Elections, logins and ACLs where there is nothing to elect, log in to or ask, and topics page by page.

use bytes::Bytes;
use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::*;

use crate::client::{text, topic};
use crate::desk::Desk;
use crate::secure::any_acl;

pub(crate) async fn check(desk: &mut Desk) {
    logins(desk).await;
    if desk.profile == Profile::V1_1 {
        return;
    }
    acls(desk).await;
    elections(desk).await;
    cluster(desk).await;
    if desk.profile >= Profile::V3_9 {
        pages(desk).await;
    }
}

/// Where nobody needs to log in.
async fn logins(desk: &mut Desk) {
    for version in 0..=1 {
        let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let response: SaslHandshakeResponse =
            desk.client.call(ApiKey::SaslHandshake, version, &request).await;
        let offered = response.mechanisms.len();
        desk.note(
            &format!("handshake for nothing, version {version}"),
            format!("{} {offered}", ErrorCode(response.error_code)),
        );
    }
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0ann\0x"));
    let response: SaslAuthenticateResponse = desk.client.call(ApiKey::SaslAuthenticate, 0, &request).await;
    desk.note(
        "authenticate for nothing",
        format!("{} {:?}", ErrorCode(response.error_code), response.error_message.as_deref()),
    );
}

/// Without an authorizer.
async fn acls(desk: &mut Desk) {
    let describe = any_acl();
    let creation = create_acls_request::AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_resource_pattern_type(3)
        .with_principal(text("User:ann"))
        .with_host(text("*"))
        .with_operation(3)
        .with_permission_type(3);
    let filter = delete_acls_request::DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    let create = CreateAclsRequest::default().with_creations(vec![creation]);
    let delete = DeleteAclsRequest::default().with_filters(vec![filter]);
    let newest = if desk.profile == Profile::V2_8 { 2 } else { 3 };
    for version in 1..=newest {
        let told: DescribeAclsResponse = desk.client.call(ApiKey::DescribeAcls, version, &describe).await;
        desk.note(
            &format!("acls without an authorizer, version {version}"),
            format!("{} {:?}", ErrorCode(told.error_code), told.error_message.as_deref()),
        );
        let told: CreateAclsResponse = desk.client.call(ApiKey::CreateAcls, version, &create).await;
        let told: Vec<String> = told
            .results
            .iter()
            .map(|result| format!("{} {:?}", ErrorCode(result.error_code), result.error_message.as_deref()))
            .collect();
        desk.note(&format!("create acls without an authorizer, version {version}"), format!("{told:?}"));
        let told: DeleteAclsResponse = desk.client.call(ApiKey::DeleteAcls, version, &delete).await;
        let told: Vec<String> = told
            .filter_results
            .iter()
            .map(|result| format!("{} {:?}", ErrorCode(result.error_code), result.error_message.as_deref()))
            .collect();
        desk.note(&format!("delete acls without an authorizer, version {version}"), format!("{told:?}"));
    }
}

async fn elections(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    for version in 0..=2 {
        let kinds: &[i8] = if version == 0 { &[0] } else { &[0, 1] };
        for &kind in kinds {
            for (case, asked) in [
                ("a healthy one", Some(vec![(name.as_str(), vec![0])])),
                ("what does not exist", Some(vec![(name.as_str(), vec![7]), ("no-such-topic", vec![0])])),
                ("nothing", Some(Vec::new())),
                ("all", None),
            ] {
                let asked = asked.map(|asked| {
                    let of_topic = |(name, partitions): (&str, Vec<i32>)| {
                        elect_leaders_request::TopicPartitions::default()
                            .with_topic(topic(name))
                            .with_partitions(partitions)
                    };
                    asked.into_iter().map(of_topic).collect()
                });
                let mut request =
                    ElectLeadersRequest::default().with_topic_partitions(asked).with_timeout_ms(10_000);
                if version >= 1 {
                    request.election_type = kind;
                }
                let response: ElectLeadersResponse =
                    desk.client.call(ApiKey::ElectLeaders, version, &request).await;
                let mut told: Vec<String> = response
                    .replica_election_results
                    .iter()
                    .flat_map(|topic| topic.partition_result.iter().map(move |result| (topic, result)))
                    .map(|(topic, result)| {
                        let code = ErrorCode(result.error_code);
                        format!("{} {} {code}", topic.topic.0, result.partition_id)
                    })
                    .collect();
                told.sort_unstable();
                desk.note(
                    &format!("election {kind} of {case}, version {version}"),
                    format!("{} {told:?}", ErrorCode(response.error_code)),
                );
            }
        }
    }
}

async fn cluster(desk: &mut Desk) {
    let newest = match desk.profile {
        Profile::V1_1 | Profile::V2_8 => 0,
        Profile::V3_9 => 1,
        Profile::V4_3 => 2,
    };
    for version in 0..=newest {
        let endpoints: &[i8] = if version == 0 { &[1] } else { &[1, 2, 3] };
        for &endpoint in endpoints {
            let mut request = DescribeClusterRequest::default();
            if version >= 1 {
                request.endpoint_type = endpoint;
            }
            let response: DescribeClusterResponse =
                desk.client.call(ApiKey::DescribeCluster, version, &request).await;
            desk.note(
                &format!("cluster of endpoint {endpoint}, version {version}"),
                format!(
                    "{} {} brokers, operations {}, controller {}",
                    ErrorCode(response.error_code),
                    response.brokers.len(),
                    response.cluster_authorized_operations,
                    response.controller_id.0
                ),
            );
        }
    }
}

/// DescribeTopicPartitions, so many partitions at a time.
async fn pages(desk: &mut Desk) {
    for name in ["page-a", "page-b"] {
        assert_eq!(desk.create(name, 3, 1, &[]).await, ErrorCode::NONE);
    }
    for name in ["page-a", "page-b"] {
        desk.topic_comes(name).await;
    }
    let names: [&[&str]; 3] =
        [&["page-b", "page-a"], &["page-a", "page-no", "page-b"], &["page-a", "not/valid"]];
    for asked in names {
        for (limit, cursor) in [
            (2000, None),
            (2, None),
            (3, None),
            (4, Some(("page-a", 1))),
            (1, Some(("page-b", 2))),
            (5, Some(("page-aa", 2))),
        ] {
            let topics = asked.iter().map(|name| {
                describe_topic_partitions_request::TopicRequest::default().with_name(topic(name))
            });
            let cursor_asked = cursor.map(|(name, index)| {
                describe_topic_partitions_request::Cursor::default()
                    .with_topic_name(topic(name))
                    .with_partition_index(index)
            });
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(topics.collect())
                .with_response_partition_limit(limit)
                .with_cursor(cursor_asked);
            let response: DescribeTopicPartitionsResponse =
                desk.client.call(ApiKey::DescribeTopicPartitions, 0, &request).await;
            let mut told: Vec<String> = response
                .topics
                .iter()
                .map(|topic| {
                    let name = topic.name.as_ref().map(|name| name.0.to_string());
                    let partitions: Vec<String> = topic
                        .partitions
                        .iter()
                        .map(|partition| {
                            format!(
                                "{} {} isr {} elr {:?}",
                                partition.partition_index,
                                ErrorCode(partition.error_code),
                                partition.isr_nodes.len(),
                                partition.eligible_leader_replicas.as_ref().map(Vec::len)
                            )
                        })
                        .collect();
                    format!("{name:?} {} {partitions:?}", ErrorCode(topic.error_code))
                })
                .collect();
            told.sort_unstable();
            let next =
                response.next_cursor.map(|next| format!("{} {}", next.topic_name.0, next.partition_index));
            desk.note(
                &format!("page of {asked:?} {limit} from {cursor:?}"),
                format!("{told:?} next {next:?}"),
            );
        }
    }
}
