//! Logins and ACLs: a cluster that lets nobody in without, asked by who may all, some, and nothing.

use bytes::Bytes;
use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::StrBytes;
use protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::*;
use record_batch::{BatchBuilder, Codec};

use crate::client::{
    Client, NOW_MS, batch, batch_of, change_request, fetch_request, produce_request, stamp, text, topic,
};
use crate::desk::{Desk, Peer};
use crate::people::Person;

/// What both sides know: `admin` may do everything, `ann` what she is allowed.
pub(crate) const USERS: [(&str, &str); 2] = [("admin", "admin-secret"), ("ann", "ann-secret")];

/// Longer than any check takes.
pub(crate) const LOGIN_LIFETIME: std::time::Duration = std::time::Duration::from_secs(3600);

async fn handshake(client: &mut Client, version: i16, mechanism: &str) -> String {
    let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
    client.send(ApiKey::SaslHandshake, version, &request).await;
    match client.receive::<SaslHandshakeResponse>(ApiKey::SaslHandshake, version).await {
        Ok(response) => format!("{} {:?}", ErrorCode(response.error_code), response.mechanisms),
        Err(_) => "closed".to_owned(),
    }
}

async fn authenticate(client: &mut Client, version: i16, said: &[u8]) -> String {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(said));
    client.send(ApiKey::SaslAuthenticate, version, &request).await;
    match client.receive::<SaslAuthenticateResponse>(ApiKey::SaslAuthenticate, version).await {
        Ok(response) => format!(
            "{} {} bytes, lifetime {} words {:?}",
            ErrorCode(response.error_code),
            response.auth_bytes.len(),
            response.session_lifetime_ms > 0,
            response.error_message.as_deref(),
        ),
        Err(_) => "closed".to_owned(),
    }
}

fn newest_authenticate(profile: Profile) -> i16 {
    if profile == Profile::V1_1 { 0 } else { 2 }
}

/// A connection that has logged in.
pub(crate) async fn logged_in(peer: &Peer, profile: Profile, user: &str) -> Client {
    let password = USERS.iter().find(|(name, _)| *name == user).unwrap().1;
    let mut client = peer.connect(profile).await;
    handshake(&mut client, 1, "PLAIN").await;
    let told = authenticate(&mut client, 0, format!("\0{user}\0{password}").as_bytes()).await;
    assert!(told.starts_with("NONE"), "{told}");
    client
}

pub(crate) async fn check(desk: &mut Desk) {
    logins(desk).await;
    desk.client = logged_in(&desk.peer.clone(), desk.profile, "admin").await;
    access(desk).await;
    table(desk).await;
}

async fn logins(desk: &mut Desk) {
    let (peer, profile) = (desk.peer.clone(), desk.profile);
    let versions = ApiVersionsRequest::default();
    let anew = || peer.connect(profile);

    let mut client = anew().await;
    let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &versions).await;
    desk.note("versions before a login", ErrorCode(response.error_code));
    desk.note("an unknown mechanism", handshake(&mut client, 1, "SCRAM-SHA-999").await);
    desk.note("and then", if client.is_closed().await { "closed" } else { "open" });

    let mut client = anew().await;
    client.send(ApiKey::Metadata, 1, &MetadataRequest::default().with_topics(None)).await;
    desk.note("metadata before a login", if client.is_closed().await { "closed" } else { "open" });

    let mut client = anew().await;
    client.send(ApiKey::SaslAuthenticate, 0, &SaslAuthenticateRequest::default()).await;
    let told = client.read_frame().await.map(|frame| frame.len());
    desk.note("authenticate before a handshake", told.map_or("closed", |_| "answered"));

    for (case, said) in [
        ("a wrong password", "\0ann\0wrong"),
        ("an unknown user", "\0nobody\0wrong"),
        ("another identity", "admin\0ann\0ann-secret"),
        ("two tokens", "ann\0ann-secret"),
        ("nothing", ""),
        ("its own identity", "ann\0ann\0ann-secret"),
        ("the right password", "\0ann\0ann-secret"),
    ] {
        let mut client = anew().await;
        handshake(&mut client, 1, "PLAIN").await;
        let told = authenticate(&mut client, newest_authenticate(profile), said.as_bytes()).await;
        let (code, words) = told.split_once(" words ").unwrap_or((told.as_str(), "none"));
        desk.note(&format!("a login with {case}"), code);
        desk.note(&format!("words for a login with {case}"), words);
        if told.starts_with("NONE") {
            let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &versions).await;
            desk.note(&format!("after {case}"), ErrorCode(response.error_code));
            desk.note(&format!("handshake after {case}"), handshake(&mut client, 1, "PLAIN").await);
            let told = authenticate(&mut client, 0, said.as_bytes()).await;
            desk.note(&format!("authenticate after {case}"), told);
        } else {
            desk.note(&format!("after {case}"), if client.is_closed().await { "closed" } else { "open" });
        }
    }
    // Where logins expire, one may log in again, as who one is.
    let mut client = logged_in(&peer, profile, "ann").await;
    desk.note("a handshake to become another", handshake(&mut client, 1, "PLAIN").await);
    let told = authenticate(&mut client, newest_authenticate(profile), b"\0admin\0admin-secret").await;
    // The words name the mechanism's way of telling who is who, or do not.
    desk.note("another user logs in again", told.split(' ').next().unwrap_or_default());

    let mut client = anew().await;
    handshake(&mut client, 1, "PLAIN").await;
    client.send(ApiKey::ApiVersions, 0, &versions).await;
    desk.note("versions within a login", if client.is_closed().await { "closed" } else { "open" });

    // Before SaslAuthenticate, what a mechanism says went bare.
    let mut client = anew().await;
    desk.note("handshake of old", handshake(&mut client, 0, "PLAIN").await);
    let said = b"\0ann\0ann-secret";
    client.write(&u32::try_from(said.len()).unwrap().to_be_bytes()).await;
    client.write(said).await;
    desk.note(
        "a login of old",
        client.read_frame().await.map_or(-1, |frame| i64::try_from(frame.len()).unwrap()),
    );
    let response: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &versions).await;
    desk.note("after a login of old", ErrorCode(response.error_code));
    let mut client = anew().await;
    handshake(&mut client, 0, "PLAIN").await;
    client.write(b"\0\0\0\x04\0a\0b").await;
    desk.note("a failed login of old", if client.is_closed().await { "closed" } else { "open" });
}

fn acl(resource_type: i8, name: &str, operation: i8, permission: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_resource_pattern_type(3)
        .with_principal(text("User:ann"))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(permission)
}

/// The library has these requests from version 1 on, which 1.1 does not.
fn has_acl_requests(desk: &Desk) -> bool {
    desk.profile > Profile::V1_1
}

async fn create(desk: &mut Desk, check: &str, creations: Vec<AclCreation>) {
    let request = CreateAclsRequest::default().with_creations(creations);
    let response: CreateAclsResponse = desk.client.call(ApiKey::CreateAcls, 1, &request).await;
    for (index, result) in response.results.iter().enumerate() {
        let has_message = result.error_message.is_some();
        desk.note(&format!("{check} {index}"), format!("{} {has_message}", ErrorCode(result.error_code)));
    }
    let accepted = request.creations.iter().zip(&response.results);
    let accepted: Vec<Acl> = accepted
        .filter(|(_, result)| result.error_code == 0)
        .map(|(creation, _)| Acl::of(creation))
        .collect();
    desk.eventually(check, async |desk| {
        let known = known_acls(desk).await;
        accepted.iter().all(|acl| known.contains(acl)).then_some(())
    })
    .await;
}

/// An ACL as both who creates it and who asks for it tell it.
#[derive(PartialEq, Eq)]
struct Acl {
    resource: (i8, StrBytes, i8),
    who: (StrBytes, StrBytes),
    operation: i8,
    permission: i8,
}

impl Acl {
    fn of(creation: &AclCreation) -> Acl {
        Acl {
            resource: (
                creation.resource_type,
                creation.resource_name.clone(),
                creation.resource_pattern_type,
            ),
            who: (creation.principal.clone(), creation.host.clone()),
            operation: creation.operation,
            permission: creation.permission_type,
        }
    }
}

/// Asks for all ACLs there are.
pub(crate) fn any_acl() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_resource_name_filter(None)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

async fn known_acls(desk: &mut Desk) -> Vec<Acl> {
    let response: DescribeAclsResponse = desk.client.call(ApiKey::DescribeAcls, 1, &any_acl()).await;
    assert_eq!(response.error_code, 0);
    let resources = response.resources.iter();
    let acls = resources.flat_map(|resource| resource.acls.iter().map(move |acl| (resource, acl)));
    acls.map(|(resource, acl)| Acl {
        resource: (resource.resource_type, resource.resource_name.clone(), resource.pattern_type),
        who: (acl.principal.clone(), acl.host.clone()),
        operation: acl.operation,
        permission: acl.permission_type,
    })
    .collect()
}

/// What ann is told, request by request.
async fn note_access(desk: &mut Desk, case: &str, name: &str, other: &str) {
    let (peer, profile) = (desk.peer.clone(), desk.profile);
    let mut ann = logged_in(&peer, profile, "ann").await;
    let code = |code: i16| ErrorCode(code).to_string();

    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let hidden = MetadataRequestTopic::default().with_name(Some(topic("no-such-topic")));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked, hidden]))
        .with_allow_auto_topic_creation(false);
    let response: MetadataResponse = ann.call(ApiKey::Metadata, 5, &request).await;
    let mut told: Vec<String> = response
        .topics
        .iter()
        .map(|topic| format!("{} {}", topic.name.as_ref().unwrap().0, code(topic.error_code)))
        .collect();
    told.sort_unstable();
    desk.note(&format!("{case}: metadata"), format!("{told:?}"));
    let request = MetadataRequest::default().with_topics(None);
    let response: MetadataResponse = ann.call(ApiKey::Metadata, 5, &request).await;
    let seen: Vec<&str> =
        response.topics.iter().map(|topic| topic.name.as_ref().unwrap().0.as_str()).collect();
    let seen = format!("{}", seen.contains(&name));
    desk.note(&format!("{case}: sees it among all"), seen);

    let version = desk.produce_version();
    let request = produce_request(None, &[(name, 0, batch(1))]);
    let response: ProduceResponse = ann.call(ApiKey::Produce, version, &request).await;
    desk.note(&format!("{case}: produce"), code(response.responses[0].partition_responses[0].error_code));
    let mut request = fetch_request(0).with_replica_id((-1).into());
    request.topics[0].topic = topic(name);
    let response: FetchResponse = ann.call(ApiKey::Fetch, 7, &request).await;
    desk.note(&format!("{case}: fetch"), code(response.responses[0].partitions[0].error_code));
    let asked = ListOffsetsTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![ListOffsetsPartition::default().with_timestamp(-2)]);
    let request = ListOffsetsRequest::default().with_topics(vec![asked]).with_replica_id((-1).into());
    let response: ListOffsetsResponse = ann.call(ApiKey::ListOffsets, 2, &request).await;
    desk.note(&format!("{case}: list offsets"), code(response.topics[0].partitions[0].error_code));

    let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(name));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)]);
    let response: DescribeConfigsResponse = ann.call(ApiKey::DescribeConfigs, 1, &request).await;
    desk.note(&format!("{case}: describe configs"), code(response.results[0].error_code));
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![topic("no-such-topic")]).with_timeout_ms(10_000);
    let response: DeleteTopicsResponse = ann.call(ApiKey::DeleteTopics, 1, &request).await;
    desk.note(&format!("{case}: delete topic"), code(response.responses[0].error_code));
    let created = create_topics_request::CreatableTopic::default()
        .with_name(topic("not/valid"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![created]).with_timeout_ms(10_000);
    let response: CreateTopicsResponse = ann.call(ApiKey::CreateTopics, 2, &request).await;
    desk.note(&format!("{case}: create topic"), code(response.topics[0].error_code));
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let transactional = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("ann's"))))
        .with_transaction_timeout_ms(10_000);
    for (kind, request) in [("idempotent", request), ("transactional", transactional)] {
        let ask = async |_: &mut Desk| {
            let response: InitProducerIdResponse = ann.call(ApiKey::InitProducerId, 0, &request).await;
            let waits = [
                E::COORDINATOR_NOT_AVAILABLE,
                E::NOT_COORDINATOR,
                E::COORDINATOR_LOAD_IN_PROGRESS,
                E::CONCURRENT_TRANSACTIONS,
            ];
            (!waits.contains(&ErrorCode(response.error_code))).then_some(response)
        };
        let response = desk.eventually("ann's producer id", ask).await;
        desk.note(&format!("{case}: {kind} producer id"), code(response.error_code));
    }
    for (key_type, key) in [(0, "ann-group"), (1, "ann's")] {
        let request = FindCoordinatorRequest::default().with_key_type(key_type).with_key(text(key));
        let response: FindCoordinatorResponse = ann.call(ApiKey::FindCoordinator, 1, &request).await;
        desk.note(&format!("{case}: coordinator of {key}"), code(response.error_code));
    }
    let mut person = Person::new(desk, "ann", "ann-group").await;
    person.client = ann;
    person.id = "x".to_owned();
    desk.note(&format!("{case}: heartbeat"), person.heartbeat().await);
    person.generation = 1;
    person.id.clear();
    person.generation = -1;
    desk.note(&format!("{case}: commit"), person.commit(name, 5).await);
    desk.note(&format!("{case}: leave"), person.leave().await);
    let mut ann = person.client;
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("ann-group"))]);
    let response: DescribeGroupsResponse = ann.call(ApiKey::DescribeGroups, 0, &request).await;
    desk.note(&format!("{case}: describe group"), code(response.groups[0].error_code));
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("no-group"))]);
    let response: DeleteGroupsResponse = ann.call(ApiKey::DeleteGroups, 0, &request).await;
    desk.note(&format!("{case}: delete group"), code(response.results[0].error_code));
    if has_acl_requests(desk) {
        let response: DescribeAclsResponse = ann.call(ApiKey::DescribeAcls, 1, &any_acl()).await;
        desk.note(&format!("{case}: describe acls"), code(response.error_code));
        let request = CreateAclsRequest::default().with_creations(vec![acl(2, "x", 3, 3)]);
        let response: CreateAclsResponse = ann.call(ApiKey::CreateAcls, 1, &request).await;
        desk.note(&format!("{case}: create acls"), code(response.results[0].error_code));
    }
    note_transaction(desk, &mut ann, case, name).await;
    note_offsets(desk, &mut ann, case, &[name, other, "no-such-topic"]).await;
    note_settings(desk, &mut ann, case, name).await;
    note_by_id(desk, &mut ann, case, name).await;
}

/// What a transaction of hers is told, step by step.
async fn note_transaction(desk: &mut Desk, ann: &mut Client, case: &str, name: &str) {
    let id = || TransactionalId(text("ann's"));
    let passes = |code: i16| {
        let passing = [E::COORDINATOR_NOT_AVAILABLE, E::NOT_COORDINATOR, E::COORDINATOR_LOAD_IN_PROGRESS];
        passing.contains(&ErrorCode(code)) || ErrorCode(code) == E::CONCURRENT_TRANSACTIONS
    };
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(10_000);
    let ask = async |_: &mut Desk| {
        let response: InitProducerIdResponse = ann.call(ApiKey::InitProducerId, 0, &request).await;
        (!passes(response.error_code)).then_some(response)
    };
    let who = desk.eventually("ann's transactional id", ask).await;
    let asked = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(who.producer_id)
        .with_v3_and_below_producer_epoch(who.producer_epoch)
        .with_v3_and_below_topics(vec![asked.clone()]);
    let ask = async |_: &mut Desk| {
        let response: AddPartitionsToTxnResponse = ann.call(ApiKey::AddPartitionsToTxn, 0, &request).await;
        let code = response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
        (!passes(code)).then_some(ErrorCode(code))
    };
    let told = desk.eventually("a partition to be added", ask).await;
    desk.note(&format!("{case}: add a partition"), told);
    if desk.profile >= Profile::V3_9 {
        let transaction = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
            .with_transactional_id(id())
            .with_producer_id(who.producer_id)
            .with_producer_epoch(who.producer_epoch)
            .with_verify_only(true)
            .with_topics(vec![asked]);
        let request = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
        let response: AddPartitionsToTxnResponse = ann.call(ApiKey::AddPartitionsToTxn, 4, &request).await;
        let results = response.results_by_transaction.iter().flat_map(|result| &result.topic_results);
        let told: Vec<ErrorCode> = results
            .flat_map(|topic| &topic.results_by_partition)
            .map(|partition| ErrorCode(partition.partition_error_code))
            .collect();
        let whole = ErrorCode(response.error_code);
        desk.note(&format!("{case}: add a partition as a broker"), format!("{whole} {told:?}"));
    }
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(who.producer_id)
        .with_producer_epoch(who.producer_epoch)
        .with_group_id(GroupId(text("ann-group")));
    let response: AddOffsetsToTxnResponse = ann.call(ApiKey::AddOffsetsToTxn, 0, &request).await;
    desk.note(&format!("{case}: add a group"), ErrorCode(response.error_code));
    let builder = BatchBuilder::new(Codec::None).stamp(stamp(who.producer_id.0, who.producer_epoch, 0));
    let transactional = batch_of(1, builder.transactional(), NOW_MS);
    let version = desk.produce_version();
    for (kind, batch) in [("transactional", transactional), ("plain", batch(1))] {
        let request = produce_request(Some("ann's"), &[(name, 0, batch)]);
        let ask = async |_: &mut Desk| {
            let response: ProduceResponse = ann.call(ApiKey::Produce, version, &request).await;
            let code = response.responses[0].partition_responses[0].error_code;
            (!passes(code)).then_some(ErrorCode(code))
        };
        let told = desk.eventually("a batch to be taken", ask).await;
        desk.note(&format!("{case}: produce {kind} under a transactional id"), told);
    }
    let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(text("")));
    let asked = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(text("ann-group")))
        .with_producer_id(who.producer_id)
        .with_producer_epoch(who.producer_epoch)
        .with_topics(vec![asked]);
    let ask = async |_: &mut Desk| {
        let response: TxnOffsetCommitResponse = ann.call(ApiKey::TxnOffsetCommit, 0, &request).await;
        let code = response.topics[0].partitions[0].error_code;
        (!passes(code)).then_some(ErrorCode(code))
    };
    let told = desk.eventually("an offset to be taken", ask).await;
    desk.note(&format!("{case}: commit within a transaction"), told);
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(who.producer_id)
        .with_producer_epoch(who.producer_epoch);
    let ask = async |_: &mut Desk| {
        let response: EndTxnResponse = ann.call(ApiKey::EndTxn, 0, &request).await;
        (!passes(response.error_code)).then_some(ErrorCode(response.error_code))
    };
    let told = desk.eventually("ann's transaction to end", ask).await;
    desk.note(&format!("{case}: abort"), told);
}

/// What she is told of committed offsets, and may do with them.
async fn note_offsets(desk: &mut Desk, ann: &mut Client, case: &str, names: &[&str]) {
    for (what, asked) in [("some", Some(names)), ("all", None)] {
        let mut told: Vec<String> = Vec::new();
        let whole = if desk.profile >= Profile::V3_9 {
            let asked = asked.map(|names| {
                let of_topic = |name: &&str| {
                    offset_fetch_request::OffsetFetchRequestTopics::default()
                        .with_name(topic(name))
                        .with_partition_indexes(vec![0])
                };
                names.iter().map(of_topic).collect()
            });
            let group = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text("ann-group")))
                .with_topics(asked);
            let request = OffsetFetchRequest::default().with_groups(vec![group]);
            let response: OffsetFetchResponse = ann.call(ApiKey::OffsetFetch, 8, &request).await;
            for topic in &response.groups[0].topics {
                let partition = &topic.partitions[0];
                let code = ErrorCode(partition.error_code);
                told.push(format!("{} {} {code}", topic.name.0, partition.committed_offset));
            }
            response.groups[0].error_code
        } else {
            let asked = asked.map(|names| {
                let of_topic = |name: &&str| {
                    offset_fetch_request::OffsetFetchRequestTopic::default()
                        .with_name(topic(name))
                        .with_partition_indexes(vec![0])
                };
                names.iter().map(of_topic).collect()
            });
            let request =
                OffsetFetchRequest::default().with_group_id(GroupId(text("ann-group"))).with_topics(asked);
            let response: OffsetFetchResponse = ann.call(ApiKey::OffsetFetch, 3, &request).await;
            for topic in &response.topics {
                let partition = &topic.partitions[0];
                let code = ErrorCode(partition.error_code);
                told.push(format!("{} {} {code}", topic.name.0, partition.committed_offset));
            }
            response.error_code
        };
        told.sort_unstable();
        desk.note(&format!("{case}: {what} offsets"), format!("{} {told:?}", ErrorCode(whole)));
    }
    if desk.profile == Profile::V1_1 {
        return;
    }
    let of_topic = |name: &&str| {
        let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
        offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition])
    };
    let request = OffsetDeleteRequest::default()
        .with_group_id(GroupId(text("ann-group")))
        .with_topics(names.iter().map(of_topic).collect());
    let response: OffsetDeleteResponse = ann.call(ApiKey::OffsetDelete, 0, &request).await;
    let mut told: Vec<String> = response
        .topics
        .iter()
        .map(|topic| format!("{} {}", topic.name.0, ErrorCode(topic.partitions[0].error_code)))
        .collect();
    told.sort_unstable();
    desk.note(&format!("{case}: delete offsets"), format!("{} {told:?}", ErrorCode(response.error_code)));
}

/// Settings of a topic and of a broker, seen and changed in thought.
async fn note_settings(desk: &mut Desk, ann: &mut Client, case: &str, name: &str) {
    for (what, kind, resource, setting) in
        [("a topic", 2, name, "retention.ms"), ("a broker", 4, "0", "log.retention.ms")]
    {
        let asked = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configuration_keys(Some(vec![text(setting)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
        let response: DescribeConfigsResponse = ann.call(ApiKey::DescribeConfigs, 1, &request).await;
        let described = ErrorCode(response.results[0].error_code);
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text(setting))
            .with_value(Some(text("1000000")));
        let asked = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(resource))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![asked]).with_validate_only(true);
        let response: AlterConfigsResponse = ann.call(ApiKey::AlterConfigs, 0, &request).await;
        let replaced = ErrorCode(response.responses[0].error_code);
        desk.note(&format!("{case}: settings of {what}"), format!("{described} {replaced}"));
        if desk.profile == Profile::V1_1 {
            continue;
        }
        let request = change_request(kind, resource, &[(setting, 0, Some("1000000"))]);
        let request = request.with_validate_only(true);
        let response: IncrementalAlterConfigsResponse =
            ann.call(ApiKey::IncrementalAlterConfigs, 0, &request).await;
        desk.note(&format!("{case}: a setting of {what}"), ErrorCode(response.responses[0].error_code));
    }
}

/// What she is told of a topic that she names by its id. She may never delete one.
async fn note_by_id(desk: &mut Desk, ann: &mut Client, case: &str, name: &str) {
    if desk.profile == Profile::V1_1 {
        return;
    }
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let response: MetadataResponse = desk.client.call(ApiKey::Metadata, 10, &request).await;
    let id = response.topics[0].topic_id;
    if desk.profile >= Profile::V3_9 {
        let asked = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let response: MetadataResponse = ann.call(ApiKey::Metadata, 12, &request).await;
        let told = &response.topics[0];
        let named = told.name.as_ref().map(|name| name.0.to_string());
        let answer = format!("{} {named:?} same {}", ErrorCode(told.error_code), told.topic_id == id);
        desk.note(&format!("{case}: metadata by id"), answer);
    }
    let asked = delete_topics_request::DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![asked]).with_timeout_ms(10_000);
    let response: DeleteTopicsResponse = ann.call(ApiKey::DeleteTopics, 6, &request).await;
    let told = &response.responses[0];
    let named = told.name.as_ref().map(|name| name.0.to_string());
    let answer = format!("{} {named:?} same {}", ErrorCode(told.error_code), told.topic_id == id);
    desk.note(&format!("{case}: delete by id"), answer);
}

use ErrorCode as E;

async fn access(desk: &mut Desk) {
    let name = desk.topic(&[]).await;
    // The coordinators' topics are made by who asks first.
    for key_type in [0, 1] {
        let request = FindCoordinatorRequest::default().with_key_type(key_type).with_key(text("ann-group"));
        desk.eventually("a coordinator", async |desk| {
            let response: FindCoordinatorResponse =
                desk.client.call(ApiKey::FindCoordinator, 1, &request).await;
            (response.error_code == 0).then_some(())
        })
        .await;
    }
    let other = desk.topic(&[]).await;
    for committed in [&name, &other] {
        let mut admin = Person::new(desk, "admin", "ann-group").await;
        admin.client = logged_in(&desk.peer.clone(), desk.profile, "admin").await;
        let commit = async |_: &mut Desk| admin.commit(committed, 7).await.is_ok().then_some(());
        desk.eventually("an offset to be committed", commit).await;
    }
    note_access(desk, "allowed nothing", &name, &other).await;
    if !has_acl_requests(desk) {
        return;
    }
    let allowed: [(&str, Vec<AclCreation>); 9] = [
        ("may read the topic", vec![acl(2, &name, 3, 3)]),
        ("may write the topic, too", vec![acl(2, &name, 4, 3)]),
        ("may use the group", vec![acl(3, "ann-group", 3, 3)]),
        ("may use the transaction", vec![acl(5, "ann's", 4, 3), acl(4, "kafka-cluster", 12, 3)]),
        ("may delete of the group", vec![acl(3, "ann-group", 6, 3)]),
        ("may see settings", vec![acl(2, &name, 10, 3), acl(4, "kafka-cluster", 10, 3)]),
        ("is denied the topic", vec![acl(2, &name, 8, 2)]),
        ("may ask the cluster", vec![acl(4, "kafka-cluster", 8, 3), acl(4, "kafka-cluster", 5, 3)]),
        ("may be a broker", vec![acl(4, "kafka-cluster", 9, 3), acl(4, "kafka-cluster", 11, 3)]),
    ];
    for (case, creations) in allowed {
        create(desk, case, creations).await;
        note_access(desk, case, &name, &other).await;
    }
}

async fn describe(desk: &mut Desk, check: &str, name: Option<&str>, pattern: i8) {
    let request = any_acl()
        .with_resource_type_filter(2)
        .with_pattern_type_filter(pattern)
        .with_resource_name_filter(name.map(text));
    let response: DescribeAclsResponse = desk.client.call(ApiKey::DescribeAcls, 1, &request).await;
    let mut told: Vec<String> = response
        .resources
        .iter()
        .flat_map(|resource| resource.acls.iter().map(move |acl| (resource, acl)))
        .filter(|(resource, _)| resource.resource_name.starts_with("table"))
        .map(|(resource, acl)| {
            format!(
                "{} {} {} {} {} {}",
                resource.resource_name,
                resource.pattern_type,
                acl.principal,
                acl.host,
                acl.operation,
                acl.permission_type
            )
        })
        .collect();
    told.sort_unstable();
    desk.note(check, format!("{} {told:?}", ErrorCode(response.error_code)));
}

/// The table itself.
async fn table(desk: &mut Desk) {
    if !has_acl_requests(desk) {
        return;
    }
    let prefixed = acl(2, "table", 3, 3).with_resource_pattern_type(4);
    create(
        desk,
        "creation",
        vec![
            acl(2, "table-1", 3, 3),
            acl(2, "table-1", 3, 3),
            prefixed,
            acl(2, "", 3, 3),
            acl(4, "other-cluster", 3, 3),
        ],
    )
    .await;
    let spoilt = [
        ("nobody", acl(2, "table", 3, 3).with_principal(text("nobody"))),
        ("anything", acl(1, "any", 3, 3)),
        ("any operation", acl(2, "table", 1, 3)),
        ("any permission", acl(2, "table", 3, 1)),
        ("any pattern", acl(2, "table", 3, 3).with_resource_pattern_type(2)),
        ("an unknown pattern", acl(2, "table", 3, 3).with_resource_pattern_type(9)),
    ];
    for (case, creation) in spoilt {
        create(desk, &format!("creation for {case}"), vec![acl(2, "table-2", 3, 3), creation]).await;
    }
    for (name, pattern) in
        [(None, 1), (Some("table-1"), 3), (Some("table-1"), 2), (Some("table"), 4), (Some("other"), 1)]
    {
        describe(desk, &format!("acls of {name:?} {pattern}"), name, pattern).await;
    }
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(Some(text("table-1")))
        .with_pattern_type_filter(2)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    let request = DeleteAclsRequest::default().with_filters(vec![filter]);
    let response: DeleteAclsResponse = desk.client.call(ApiKey::DeleteAcls, 1, &request).await;
    let result = &response.filter_results[0];
    let mut gone: Vec<String> = result
        .matching_acls
        .iter()
        .filter(|acl| acl.resource_name.starts_with("table"))
        .map(|acl| format!("{} {} {}", ErrorCode(acl.error_code), acl.resource_name, acl.pattern_type))
        .collect();
    gone.sort_unstable();
    desk.note("deletion", format!("{} {gone:?}", ErrorCode(result.error_code)));
    let matching = result.matching_acls.iter().filter(|acl| acl.error_code == 0);
    let deleted: Vec<Acl> = matching
        .map(|acl| Acl {
            resource: (acl.resource_type, acl.resource_name.clone(), acl.pattern_type),
            who: (acl.principal.clone(), acl.host.clone()),
            operation: acl.operation,
            permission: acl.permission_type,
        })
        .collect();
    desk.eventually("the deletion", async |desk| {
        let known = known_acls(desk).await;
        (!deleted.iter().any(|acl| known.contains(acl))).then_some(())
    })
    .await;
    describe(desk, "acls after the deletion", None, 1).await;
}
