//! ACLs of topics and groups, read and changed.

use client::{ApiKey, CallError, Cluster, ErrorCode, Options};
use embedded_kafka::{Config, Profile};
use model::{AccessControlEntry, Acl, AclOperation, AclPermission, ResourcePattern, ResourceType};

use super::embedded::{NOW_MS, kafka, with};

/// A cluster with an authorizer; who comes without a login may everything there, or nothing.
async fn secured(profile: Profile, may_all: bool) -> (embedded_kafka::Cluster, Cluster) {
    let super_users = may_all.then(|| "User:ANONYMOUS".to_owned()).into_iter().collect();
    let config = Config { start_ms: Some(NOW_MS), super_users: Some(super_users), ..Config::new(2, profile) };
    let kafka = embedded_kafka::Cluster::start(config.in_memory()).await.unwrap();
    let client = with(Options::new("test", kafka.bootstrap()), &kafka);
    (kafka, client)
}

fn acl(resource: ResourcePattern, principal: &str, operation: AclOperation) -> Acl {
    let entry = AccessControlEntry {
        principal: principal.to_owned(),
        host: "*".to_owned(),
        operation,
        permission: AclPermission::Allow,
    };
    Acl { resource, entry }
}

fn refused(error: &CallError) -> Option<ErrorCode> {
    match error {
        CallError::Refused { error, .. } => Some(*error),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn acls_are_created_described_and_deleted_one_by_one() {
    let (topic, group) = (ResourceType::Topic, ResourceType::Group);
    for profile in [Profile::V2_8, Profile::V3_9, Profile::V4_3] {
        let (_kafka, client) = secured(profile, true).await;
        let named = |name: &str| acl(ResourcePattern::literal(topic, name), "User:ann", AclOperation::READ);
        let mut deny = named("t");
        deny.entry.permission = AclPermission::Deny;
        deny.entry.host = "10.0.0.1".to_owned();
        let mut topics = vec![
            named("*"),
            named("t"),
            deny.clone(),
            acl(ResourcePattern::prefixed(topic, "t"), "User:ann", AclOperation::ALL),
        ];
        // More than go into one request.
        topics.extend((0..1100).map(|number| named(&format!("many-{number}"))));
        let groups = vec![acl(ResourcePattern::literal(group, "g"), "User:*", AclOperation::DESCRIBE)];
        for acls in [&topics, &groups] {
            let outcomes = client.create_acls(acls).await.unwrap();
            assert_eq!(outcomes, vec![Ok(()); acls.len()], "{profile:?}");
        }
        let mut described = client.describe_acls(topic).await.unwrap();
        described.sort();
        topics.sort();
        assert_eq!(described, topics, "{profile:?}");
        assert_eq!(client.describe_acls(group).await.unwrap(), groups, "{profile:?}");

        // Exactly this one, and none that its name or pattern covers.
        let gone = vec![named("t"), named("never-there")];
        assert_eq!(client.delete_acls(&gone).await.unwrap(), [Ok(()), Ok(())], "{profile:?}");
        topics.retain(|acl| *acl != named("t"));
        let mut described = client.describe_acls(topic).await.unwrap();
        described.sort();
        assert_eq!(described, topics, "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_is_told_by_itself() {
    let (_kafka, client) = secured(Profile::V4_3, true).await;
    let named =
        |principal| acl(ResourcePattern::literal(ResourceType::Topic, "t"), principal, AclOperation::READ);
    let outcomes = client.create_acls(&[named("nobody"), named("User:ann")]).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap_err().error, ErrorCode::INVALID_REQUEST);
    assert_eq!(outcomes[1], Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_an_authorizer_or_a_right_or_the_request_the_refusal_says_so() {
    let kafka_open = kafka(1, Profile::V4_3).await;
    let open = with(Options::new("test", kafka_open.bootstrap()), &kafka_open);
    let error = open.describe_acls(ResourceType::Topic).await.unwrap_err();
    assert_eq!(refused(&error), Some(ErrorCode::SECURITY_DISABLED));
    let one = acl(ResourcePattern::literal(ResourceType::Topic, "t"), "User:ann", AclOperation::READ);
    let one = [one];
    for outcomes in [open.create_acls(&one).await, open.delete_acls(&one).await] {
        assert_eq!(outcomes.unwrap()[0].as_ref().unwrap_err().error, ErrorCode::SECURITY_DISABLED);
    }

    let (_kafka, client) = secured(Profile::V3_9, false).await;
    let error = client.describe_acls(ResourceType::Group).await.unwrap_err();
    assert_eq!(refused(&error), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    let outcomes = client.create_acls(&one).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap_err().error, ErrorCode::CLUSTER_AUTHORIZATION_FAILED);

    let kafka_old = kafka(1, Profile::V1_1).await;
    let old = with(Options::new("test", kafka_old.bootstrap()), &kafka_old);
    let error = old.describe_acls(ResourceType::Topic).await.unwrap_err();
    assert!(matches!(error, CallError::Unsupported { api: ApiKey::DescribeAcls, .. }), "{error:?}");
    assert!(error.to_string().contains("Kafka 2.0 or newer"), "{error}");
}
