//! Mutated requests of every kind, against every profile: answered, or the connection closed, and nothing else.

#[path = "../../../../fuzz/src/broker.rs"]
#[expect(unreachable_pub, reason = "the fuzz target reaches it")]
mod claims;

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile, Sasl};
use protocol::Encodable;
use protocol::messages::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, batch, fetch_request, produce_request, text, topic};

/// A xorshift generator: the same bytes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    /// A frame with some bytes behind its length changed, and sometimes cut off.
    fn mutated(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        for _ in 0..=self.below(4) {
            let at = 4 + self.below(frame.len() - 4);
            frame[at] = match self.below(3) {
                0 => 0xff,
                1 => 0x7f,
                _ => u8::try_from(self.below(256)).unwrap(),
            };
        }
        if self.below(8) == 0 {
            frame.truncate(4 + self.below(frame.len() - 4));
        }
        frame
    }
}

/// One request of a kind in a version; `None` where the library lacks the version.
fn frame(api: ApiKey, version: i16) -> Option<Bytes> {
    fn whole(api: ApiKey, version: i16, body: &impl Encodable) -> Option<Bytes> {
        protocol::encode_request(api, version, 1, "m", body).ok()
    }
    let group = || GroupId(text("g"));
    match api {
        ApiKey::Produce => whole(api, version, &produce_request(None, &[("t", 0, batch(3))])),
        ApiKey::Fetch => {
            let request = fetch_request(0);
            let mut request = request.with_replica_id((-1).into());
            if version >= 13 {
                request.topics[0].topic = topic("");
            }
            whole(api, version, &request)
        }
        ApiKey::JoinGroup => {
            let protocol = join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]));
            let mut request = JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("g-{version}"))))
                .with_session_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            if version >= 1 {
                request.rebalance_timeout_ms = 50;
            }
            whole(api, version, &request)
        }
        ApiKey::SyncGroup => {
            let assigned = sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text("a"))
                .with_assignment(Bytes::from_static(b"b"));
            let request = SyncGroupRequest::default().with_group_id(group()).with_member_id(text("a"));
            whole(api, version, &request.with_assignments(vec![assigned]))
        }
        ApiKey::Heartbeat => {
            whole(api, version, &HeartbeatRequest::default().with_group_id(group()).with_member_id(text("a")))
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::default().with_group_id(group());
            let member = leave_group_request::MemberIdentity::default().with_member_id(text("a"));
            match version {
                3.. => whole(api, version, &request.with_members(vec![member])),
                _ => whole(api, version, &request.with_member_id(text("a"))),
            }
        }
        ApiKey::DescribeGroups => {
            whole(api, version, &DescribeGroupsRequest::default().with_groups(vec![group(), group()]))
        }
        ApiKey::DeleteGroups => {
            whole(api, version, &DeleteGroupsRequest::default().with_groups_names(vec![group()]))
        }
        ApiKey::ListGroups => {
            let mut request = ListGroupsRequest::default();
            if version >= 4 {
                request.states_filter = vec![text("Stable")];
            }
            whole(api, version, &request)
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let owned = consumer_group_heartbeat_request::TopicPartitions::default().with_partitions(vec![0]);
            let request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(GroupId(text("modern")))
                .with_member_id(text("a"))
                .with_rebalance_timeout_ms(50)
                .with_subscribed_topic_names(Some(vec![topic("t")]))
                .with_topic_partitions(Some(vec![owned]));
            whole(api, version, &request)
        }
        ApiKey::ConsumerGroupDescribe => {
            whole(api, version, &ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]))
        }
        ApiKey::DescribeAcls => {
            let request = DescribeAclsRequest::default()
                .with_resource_type_filter(2)
                .with_pattern_type_filter(3)
                .with_resource_name_filter(Some(text("t")))
                .with_principal_filter(None);
            whole(api, version, &request)
        }
        ApiKey::CreateAcls => {
            let creation = create_acls_request::AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_resource_pattern_type(3)
                .with_principal(text("User:a"))
                .with_host(text("*"))
                .with_operation(3)
                .with_permission_type(3);
            whole(api, version, &CreateAclsRequest::default().with_creations(vec![creation]))
        }
        ApiKey::DeleteAcls => {
            let filter = delete_acls_request::DeleteAclsFilter::default()
                .with_resource_type_filter(2)
                .with_pattern_type_filter(3);
            whole(api, version, &DeleteAclsRequest::default().with_filters(vec![filter]))
        }
        ApiKey::SaslHandshake => {
            whole(api, version, &SaslHandshakeRequest::default().with_mechanism(text("PLAIN")))
        }
        ApiKey::SaslAuthenticate => {
            let said = Bytes::from_static(b"\0ann\0right");
            whole(api, version, &SaslAuthenticateRequest::default().with_auth_bytes(said))
        }
        ApiKey::ElectLeaders => {
            let asked = elect_leaders_request::TopicPartitions::default()
                .with_topic(topic("t"))
                .with_partitions(vec![0, 1]);
            whole(api, version, &ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked])))
        }
        ApiKey::DescribeTopicPartitions => {
            let asked = describe_topic_partitions_request::TopicRequest::default().with_name(topic("t"));
            let cursor = describe_topic_partitions_request::Cursor::default().with_topic_name(topic("t"));
            let request = DescribeTopicPartitionsRequest::default().with_topics(vec![asked]);
            whole(api, version, &request.with_cursor(Some(cursor)))
        }
        ApiKey::Metadata => {
            let asked = metadata_request::MetadataRequestTopic::default().with_name(Some(topic("t")));
            whole(api, version, &MetadataRequest::default().with_topics(Some(vec![asked])))
        }
        ApiKey::OffsetCommit => {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default();
            let asked = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![asked]);
            whole(api, version, &request)
        }
        ApiKey::OffsetFetch if version < 8 => {
            whole(api, version, &OffsetFetchRequest::default().with_group_id(group()).with_topics(None))
        }
        ApiKey::OffsetFetch => {
            let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(None);
            whole(api, version, &OffsetFetchRequest::default().with_groups(vec![asked]))
        }
        ApiKey::OffsetDelete => {
            let asked = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![Default::default()]);
            whole(
                api,
                version,
                &OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![asked]),
            )
        }
        ApiKey::TxnOffsetCommit => {
            let asked = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![Default::default()]);
            let request = TxnOffsetCommitRequest::default().with_group_id(group()).with_topics(vec![asked]);
            whole(api, version, &request)
        }
        ApiKey::ListOffsets => {
            let asked = list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![Default::default()]);
            whole(api, version, &ListOffsetsRequest::default().with_topics(vec![asked]))
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::default();
            match version {
                4.. => whole(api, version, &request.with_coordinator_keys(vec![text("g")])),
                _ => whole(api, version, &request.with_key(text("g"))),
            }
        }
        ApiKey::ApiVersions => whole(api, version, &ApiVersionsRequest::default()),
        ApiKey::CreateTopics => {
            let created = create_topics_request::CreatableTopic::default()
                .with_name(topic("u"))
                .with_num_partitions(1)
                .with_replication_factor(1);
            whole(api, version, &CreateTopicsRequest::default().with_topics(vec![created]))
        }
        ApiKey::DeleteTopics => whole(api, version, &DeleteTopicsRequest::default()),
        ApiKey::DeleteRecords => {
            let asked = delete_records_request::DeleteRecordsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![Default::default()]);
            whole(api, version, &DeleteRecordsRequest::default().with_topics(vec![asked]))
        }
        ApiKey::InitProducerId => whole(api, version, &InitProducerIdRequest::default()),
        ApiKey::OffsetForLeaderEpoch => {
            let asked = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic("t"))
                .with_partitions(vec![Default::default()]);
            whole(api, version, &OffsetForLeaderEpochRequest::default().with_topics(vec![asked]))
        }
        ApiKey::AddPartitionsToTxn => whole(api, version, &AddPartitionsToTxnRequest::default()),
        ApiKey::AddOffsetsToTxn => {
            whole(api, version, &AddOffsetsToTxnRequest::default().with_group_id(group()))
        }
        ApiKey::EndTxn => whole(api, version, &EndTxnRequest::default()),
        ApiKey::DescribeConfigs => {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configuration_keys(None);
            whole(api, version, &DescribeConfigsRequest::default().with_resources(vec![resource]))
        }
        ApiKey::AlterConfigs => {
            let resource = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"));
            whole(api, version, &AlterConfigsRequest::default().with_resources(vec![resource]))
        }
        ApiKey::IncrementalAlterConfigs => {
            let config = incremental_alter_configs_request::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1")));
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            whole(api, version, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
        }
        ApiKey::CreatePartitions => {
            let asked = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(topic("t"))
                .with_count(1)
                .with_assignments(None);
            whole(api, version, &CreatePartitionsRequest::default().with_topics(vec![asked]))
        }
        ApiKey::DescribeCluster => whole(api, version, &DescribeClusterRequest::default()),
        ApiKey::DescribeProducers => {
            let asked = describe_producers_request::TopicRequest::default()
                .with_name(topic("t"))
                .with_partition_indexes(vec![0]);
            whole(api, version, &DescribeProducersRequest::default().with_topics(vec![asked]))
        }
        other => panic!("{other:?} is listed, and nothing here asks for it"),
    }
}

async fn cluster(profile: Profile, sasl: Option<Sasl>) -> Cluster {
    let config = Config {
        sasl,
        super_users: Some(vec!["User:ANONYMOUS".to_owned(), "User:ann".to_owned()]),
        ..Config::new(1, profile)
    };
    let config = config.broker_setting("group.initial.rebalance.delay.ms", "0");
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    cluster
}

/// Sends bytes and reads until the broker closes, which it does once it has seen that nothing follows.
async fn offer(cluster: &Cluster, bytes: &[u8], patience_ms: u64) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(cluster.broker(0).address()).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut reply = Vec::new();
    // A reset is an answer, too. A group may keep somebody waiting for a while, and nobody else with them.
    let reading = stream.read_to_end(&mut reply);
    let _ = tokio::time::timeout(std::time::Duration::from_millis(patience_ms), reading).await;
    reply
}

const PROFILES: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];

#[tokio::test]
async fn every_request_that_is_listed_is_answered_in_every_listed_version_the_library_has() {
    for profile in PROFILES {
        let cluster = cluster(profile, None).await;
        for (api, lowest, highest) in profile.versions() {
            for version in lowest..=highest {
                let range = api.valid_versions();
                if version < range.min || version > range.max {
                    continue;
                }
                let Some(frame) = frame(api, version) else {
                    panic!("{profile:?}: {api:?} version {version} cannot be written")
                };
                let reply = offer(&cluster, &frame, 5000).await;
                assert!(reply.len() > 8, "{profile:?}: {api:?} version {version} is not answered");
            }
        }
    }
}

#[tokio::test]
async fn mutated_requests_of_every_kind_end_their_own_connection_at_most() {
    for (profile, seed) in PROFILES.into_iter().zip(0x5eed..) {
        println!("seed {seed:#x}");
        let mut random = Random(seed);
        let login = (profile == Profile::V2_8).then(|| Sasl::plain(&[("ann", "right")]));
        let is_open = login.is_none();
        let cluster = cluster(profile, login).await;
        let mut bystander = Client::connect(&cluster, 0).await;
        let kinds: Vec<(ApiKey, i16, i16)> = profile.versions().collect();
        for round in 0..1000 {
            let (api, lowest, highest) = kinds[round % kinds.len()];
            let range = api.valid_versions();
            let (lowest, highest) = (lowest.max(range.min), highest.min(range.max));
            if lowest > highest {
                continue;
            }
            let span = usize::try_from(highest - lowest + 1).unwrap();
            let version = lowest + i16::try_from(random.below(span)).unwrap();
            let Some(frame) = frame(api, version) else { continue };
            let frame = random.mutated(&frame);
            offer(&cluster, &frame, 50).await;
            assert_eq!(cluster.panics(), 0, "seed {seed:#x} round {round}: {frame:?}");
            if is_open && round % 100 == 0 {
                assert_eq!(
                    bystander.offer(batch(1)).await.0,
                    ErrorCode::NONE,
                    "seed {seed:#x} round {round}"
                );
            }
        }
        assert!(cluster.connect(cluster.broker(0).address().port()).is_ok());
    }
}

#[test]
fn what_the_fuzz_target_claims_holds_for_noise_and_mutated_requests_of_every_kind() {
    let mut random = Random(0x5eed);
    for round in 0..100 {
        let noise: Vec<u8> =
            (0..random.below(80)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        claims::request_check(&noise);
        let index = round % PROFILES.len();
        let kinds: Vec<(ApiKey, i16, i16)> = PROFILES[index].versions().collect();
        let (api, _, highest) = kinds[random.below(kinds.len())];
        let Some(frame) = frame(api, highest.min(api.valid_versions().max)) else { continue };
        let mutated = random.mutated(&frame);
        claims::request_check(&[&[u8::try_from(index).unwrap()], &mutated[4..]].concat());
    }
}
