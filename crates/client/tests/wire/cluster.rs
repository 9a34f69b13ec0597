//! Finding brokers, sharing connections, and the typed calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{ApiKey, CallError, ErrorCode, NewTopic, OffsetSpec, Purpose, TopicConfigChange, Wanted};
use model::{BrokerId, LeaderEpoch, Offset, PartitionId, TopicId, TopicName, TopicPartition};
use protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use protocol::messages::{
    AlterConfigsResponse, ApiVersionsResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DescribeConfigsResponse, FindCoordinatorResponse, InitProducerIdResponse, ListOffsetsResponse,
    OffsetCommitResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse,
};
use protocol::server::{Request, RequestKind, encode_response};
use protocol::{Encodable, StrBytes};
use tokio::time::Instant;

use crate::fake::{Say, broker, cluster, metadata, nobody, peer, reply, versions};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The answer to `request` by a broker that knows no version of ApiVersions above 0.
fn reply_in_version_0(request: &Request, body: &impl Encodable) -> Say {
    let id = request.header.correlation_id;
    Say::Bytes(encode_response(ApiKey::ApiVersions, 0, id, body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_the_newest_apiversions_is_asked_in_one_it_names() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) => {
            log.lock().unwrap().push(request.version);
            if request.version > 2 {
                let refused = ApiVersionsResponse::default().with_error_code(35);
                return reply_in_version_0(&request, &refused);
            }
            reply(&request, &versions(&[(ApiKey::Metadata, 0, 5)]))
        }
        _ => {
            assert_eq!((request.api, request.version), (ApiKey::Metadata, 5));
            reply(&request, &metadata(&[]))
        }
    });
    cluster(port).metadata(Wanted::None).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_up_on_the_newest_apiversions_is_asked_in_the_oldest() {
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) if request.version > 0 => Say::BytesAndClose(bytes::Bytes::new()),
        RequestKind::ApiVersions(_) => reply(&request, &versions(&[])),
        _ => reply(&request, &metadata(&[])),
    });
    cluster(port).metadata(Wanted::None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_brokers_known_are_all_gone_the_bootstrap_list_is_asked_again() {
    let gone = nobody();
    let listed = Arc::new(Mutex::new(vec![(7, gone)]));
    let now = Arc::clone(&listed);
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) => reply(&request, &versions(&[])),
        _ => reply(&request, &metadata(&now.lock().unwrap())),
    });
    let cluster = cluster(port);
    assert_eq!(cluster.metadata(Wanted::None).await.unwrap().brokers[0].port, gone);
    *listed.lock().unwrap() = vec![(8, port)];
    assert_eq!(cluster.metadata(Wanted::None).await.unwrap().brokers[0].id, BrokerId(8));
    cluster.connect(BrokerId(8)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_one_broker_hangs_another_is_asked_and_first_from_then_on() {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let answering = |hangs: bool| {
        let ports = Arc::clone(&ports);
        peer(move |request| match &request.body {
            RequestKind::ApiVersions(_) => reply(&request, &versions(&[])),
            _ if hangs => Say::Nothing,
            _ => reply(&request, &metadata(&ports.lock().unwrap())),
        })
    };
    let (hangs, answers) = (answering(true), answering(false));
    *ports.lock().unwrap() = vec![(1, answers), (2, hangs)];
    let cluster = cluster(answers);
    let asked = Instant::now();
    for _ in 0..6 {
        assert_eq!(cluster.metadata(Wanted::None).await.unwrap().brokers.len(), 2);
    }
    assert_eq!(asked.elapsed(), Duration::from_millis(500), "one call waited for the one that hangs");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_wants_quiet_gets_it() {
    let port = broker(move |request| {
        reply(
            request,
            &InitProducerIdResponse::default().with_throttle_time_ms(150).with_producer_id(1.into()),
        )
    });
    let cluster = cluster(port);
    let started = Instant::now();
    for _ in 0..3 {
        cluster.init_producer_id().await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::from_millis(300), "after the first and the second answer");
}

fn topic_metadata(version: i16) -> Vec<MetadataResponseTopic> {
    let partition = |index: i32, leader: i32, error| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(leader.into())
            .with_replica_nodes(vec![1.into(), 2.into()])
            .with_isr_nodes(vec![1.into()])
            .with_error_code(error);
        if version >= 7 { partition.with_leader_epoch(4) } else { partition }
    };
    let name = |name| Some(text(name).into());
    vec![
        MetadataResponseTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition(1, -1, 5), partition(0, 1, 0)]),
        MetadataResponseTopic::default().with_name(name("__consumer_offsets")).with_is_internal(true),
        MetadataResponseTopic::default().with_name(name("missing")).with_error_code(3),
    ]
}

#[tokio::test(start_paused = true)]
async fn metadata_is_read_in_every_version_and_epochs_only_from_those_that_know_them() {
    for version in 4..=12 {
        let port = peer(move |request| match &request.body {
            RequestKind::ApiVersions(_) => reply(&request, &versions(&[(ApiKey::Metadata, 0, version)])),
            RequestKind::Metadata(asked) => {
                assert_eq!(request.version, version);
                assert!(!asked.allow_auto_topic_creation);
                assert_eq!(asked.topics.as_ref().map(Vec::len), Some(3));
                reply(&request, &metadata(&[(1, 1)]).with_topics(topic_metadata(version)))
            }
            _ => panic!("{request:?}"),
        });
        let names = ["t", "__consumer_offsets", "missing"].map(TopicName::from);
        let read = cluster(port).metadata(Wanted::Topics(&names)).await.unwrap();
        let [t, internal, missing] = &read.topics[..] else { panic!("{read:?}") };
        assert_eq!(t.id, None::<TopicId>);
        let [zero, one] = &t.partitions[..] else { panic!("{t:?}") };
        assert_eq!((zero.partition, zero.leader), (PartitionId(0), Some(BrokerId(1))));
        let epoch = if version >= 9 { LeaderEpoch(4) } else { LeaderEpoch::UNKNOWN };
        assert_eq!(zero.leader_epoch, epoch);
        assert_eq!((one.leader, one.error), (None, Some(ErrorCode::LEADER_NOT_AVAILABLE)));
        assert!(internal.internal && !t.internal);
        assert_eq!(missing.error, Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
}

#[tokio::test(start_paused = true)]
async fn all_topics_and_none_are_not_the_same_question() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let port = peer(move |request| match &request.body {
        RequestKind::Metadata(question) => {
            log.lock().unwrap().push(question.topics.as_ref().map(Vec::len));
            reply(&request, &metadata(&[]))
        }
        _ => reply(&request, &versions(&[])),
    });
    let cluster = cluster(port);
    for wanted in [Wanted::All, Wanted::None, Wanted::Topics(&[])] {
        cluster.metadata(wanted).await.unwrap();
    }
    assert_eq!(*asked.lock().unwrap(), [None, Some(0), Some(0)]);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_listed_in_every_version() {
    for version in 1..=9 {
        let own = Arc::new(Mutex::new(0));
        let named = Arc::clone(&own);
        let port = peer(move |request| match &request.body {
            RequestKind::ApiVersions(_) => reply(&request, &versions(&[(ApiKey::ListOffsets, 0, version)])),
            RequestKind::Metadata(_) => reply(&request, &metadata(&[(1, *named.lock().unwrap())])),
            RequestKind::ListOffsets(asked) => {
                assert_eq!(request.version, version);
                assert_eq!(asked.topics[0].partitions[0].timestamp, -2);
                assert_eq!(asked.isolation_level, i8::from(version >= 2));
                let answers = [(0, 0, 17), (1, 6, -1)].map(|(index, error, offset)| {
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(index)
                        .with_error_code(error)
                        .with_offset(offset)
                });
                let topic = ListOffsetsTopicResponse::default()
                    .with_name(text("t").into())
                    .with_partitions(answers.to_vec());
                reply(&request, &ListOffsetsResponse::default().with_topics(vec![topic]))
            }
            _ => panic!("{request:?}"),
        });
        *own.lock().unwrap() = port;
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        let listed =
            cluster(port).list_offsets(BrokerId(1), &partitions, OffsetSpec::Earliest, true).await.unwrap();
        let [zero, one] = partitions;
        assert_eq!(listed, [(zero, Ok(Offset(17))), (one, Err(ErrorCode::NOT_LEADER_OR_FOLLOWER))]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_the_leader_cannot_tell_is_none() {
    let port = broker(|request| {
        let ends = [(0, 3, 100), (1, -1, -1)].map(|(index, epoch, end)| {
            EpochEndOffset::default().with_partition(index).with_leader_epoch(epoch).with_end_offset(end)
        });
        let topic =
            OffsetForLeaderTopicResult::default().with_topic(text("t").into()).with_partitions(ends.to_vec());
        reply(request, &OffsetForLeaderEpochResponse::default().with_topics(vec![topic]))
    });
    let asked = [0, 1].map(|partition| (TopicPartition::new("t", partition), LeaderEpoch(5)));
    let ends = cluster(port).end_offsets_for_epochs(BrokerId(1), &asked).await.unwrap();
    let ends: Vec<_> = ends.into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends, [Ok(Some((LeaderEpoch(3), Offset(100)))), Ok(None)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_the_broker_does_not_know_is_told_with_what_would_be_needed() {
    let own = Arc::new(Mutex::new(0));
    let named = Arc::clone(&own);
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) => reply(&request, &versions(&[(ApiKey::DescribeProducers, -1, -1)])),
        _ => reply(&request, &metadata(&[(1, *named.lock().unwrap())])),
    });
    *own.lock().unwrap() = port;
    let partitions = [TopicPartition::new("t", 0)];
    let error = cluster(port).describe_producers(BrokerId(1), &partitions).await.unwrap_err();
    assert!(matches!(error, CallError::Unsupported { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("does not know DescribeProducers as this program speaks it (Kafka 2.8 or newer)")
    );
    assert!(!error.maybe_written());
}

fn not_controller_once<T: Encodable>(answer: impl Fn(i16) -> T) -> impl FnMut(&Request) -> Say {
    let mut first = true;
    move |request| {
        let code = if std::mem::take(&mut first) { 41 } else { 44 };
        reply(request, &answer(code))
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_has_moved_is_looked_for_once() {
    let port = broker(not_controller_once(|code| {
        let topic = CreatableTopicResult::default()
            .with_name(text("t").into())
            .with_error_code(code)
            .with_error_message(Some(text("replication factor must be 3")));
        CreateTopicsResponse::default().with_topics(vec![topic])
    }));
    let topic = NewTopic {
        name: "t".into(),
        partitions: 3,
        replication_factor: 1,
        configs: BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
    };
    let answers = cluster(port).create_topics(&[topic], Purpose::Change).await.unwrap();
    let refusal = answers[0].1.clone().unwrap_err();
    assert_eq!(refusal.to_string(), "POLICY_VIOLATION (44): replication factor must be 3");

    let port = broker(not_controller_once(|code| {
        let topic = CreatePartitionsTopicResult::default()
            .with_name(text("t").into())
            .with_error_code(code)
            .with_error_message(None);
        CreatePartitionsResponse::default().with_results(vec![topic])
    }));
    let answers = cluster(port).create_partitions(&[("t".into(), 4)], Purpose::Change).await.unwrap();
    assert_eq!(answers[0].1.clone().unwrap_err().error, ErrorCode::POLICY_VIOLATION);
}

#[tokio::test(start_paused = true)]
async fn a_broker_too_old_for_single_changes_gets_the_settings_merged() {
    let own = Arc::new(Mutex::new(0));
    let named = Arc::clone(&own);
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) => {
            reply(&request, &versions(&[(ApiKey::IncrementalAlterConfigs, -1, -1)]))
        }
        RequestKind::Metadata(_) => reply(&request, &metadata(&[(1, *named.lock().unwrap())])),
        RequestKind::DescribeConfigs(asked) => {
            assert_eq!(asked.resources[0].configuration_keys, None);
            let entries =
                [("retention.ms", "1", 1), ("segment.bytes", "2", 5)].map(|(name, value, source)| {
                    DescribeConfigsResourceResult::default()
                        .with_name(text(name))
                        .with_value(Some(text(value)))
                        .with_config_source(source)
                });
            let result = DescribeConfigsResult::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_error_message(None)
                .with_configs(entries.to_vec());
            reply(&request, &DescribeConfigsResponse::default().with_results(vec![result]))
        }
        RequestKind::AlterConfigs(asked) => {
            let configs = asked.resources[0].configs.iter();
            let configs: Vec<(String, String)> = configs
                .map(|config| (config.name.to_string(), config.value.as_ref().unwrap().to_string()))
                .collect();
            let expected = [("cleanup.policy", "compact"), ("retention.ms", "1")];
            assert_eq!(configs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let answer = AlterConfigsResourceResponse::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_error_message(None);
            reply(&request, &AlterConfigsResponse::default().with_responses(vec![answer]))
        }
        _ => panic!("{request:?}"),
    });
    *own.lock().unwrap() = port;
    let change = TopicConfigChange {
        topic: "t".into(),
        set: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        unset: Vec::new(),
    };
    let answers = cluster(port).alter_topic_configs(&[change], Purpose::Change).await.unwrap();
    assert_eq!(answers, [("t".into(), Ok(()))]);
}

#[tokio::test(start_paused = true)]
async fn a_groups_offsets_are_asked_of_its_coordinator_wherever_it_moves() {
    let asks = Arc::new(Mutex::new(0));
    let port = broker(move |request| match &request.body {
        RequestKind::FindCoordinator(asked) => {
            assert_eq!((asked.key.as_str(), asked.key_type), ("g", 0));
            let found = FindCoordinatorResponse::default().with_node_id(1.into()).with_error_message(None);
            reply(request, &found)
        }
        RequestKind::OffsetFetch(asked) => {
            assert_eq!(asked.group_id.as_str(), "g");
            let mut asks = asks.lock().unwrap();
            *asks += 1;
            if *asks == 1 {
                return reply(request, &OffsetFetchResponse::default().with_error_code(16));
            }
            let offsets = [(0, 42), (1, -1)].map(|(index, offset)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
            });
            let topic = OffsetFetchResponseTopic::default()
                .with_name(text("t").into())
                .with_partitions(offsets.to_vec());
            reply(request, &OffsetFetchResponse::default().with_topics(vec![topic]))
        }
        RequestKind::OffsetCommit(asked) => {
            assert_eq!((asked.generation_id_or_member_epoch, asked.member_id.as_str()), (-1, ""));
            assert_eq!(asked.group_instance_id, None);
            let partition = &asked.topics[0].partitions[0];
            assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (43, -1));
            let done = OffsetCommitResponsePartition::default().with_partition_index(0).with_error_code(25);
            let topic =
                OffsetCommitResponseTopic::default().with_name(text("t").into()).with_partitions(vec![done]);
            reply(request, &OffsetCommitResponse::default().with_topics(vec![topic]))
        }
        _ => panic!("{request:?}"),
    });
    let cluster = cluster(port);
    let [zero, one] = [0, 1].map(|partition| TopicPartition::new("t", partition));
    let committed = cluster.committed_offsets("g", &[zero.clone(), one.clone()]).await.unwrap();
    assert_eq!(committed, [(zero.clone(), Ok(Some(Offset(42)))), (one, Ok(None))]);
    let outcome = cluster.commit_offsets("g", &[(zero.clone(), Offset(43))]).await.unwrap();
    assert_eq!(outcome, [(zero, Err(ErrorCode::UNKNOWN_MEMBER_ID))]);
}
