//! The requests, one file each: what is asked, of which state, and what Kafka answers.
//!
//! A handler is a plain function of the state. Produce and fetch may wait, and look at the state again each
//! time something they wait for has changed; who joins a group waits for the others.

mod acls;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod authorize;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod describe_topic_partitions;
mod elect_leaders;
mod end_txn;
mod fetch;
mod fetch_reply;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod log_in;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod txn_offset_commit;

use std::str::FromStr;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::{TopicName, TopicPartition};
use protocol::messages;
use protocol::server::RequestKind;
use protocol::{ApiKey, Encodable, ErrorCode, StrBytes, server};

use crate::cluster::Shared;
use crate::faults::Fired;
use crate::frame_room::Seat;
use crate::state::State;

pub(crate) use authorize::Denials;
pub(crate) use log_in::log_in;

/// What a handler must know beside the request's body.
pub(crate) struct Ask {
    pub(crate) broker: i32,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// Of the request, as it came.
    pub(crate) frame_bytes: usize,
    pub(crate) now_ms: i64,
    pub(crate) fired: Fired,
    /// Who asks, as ACLs name them.
    pub(crate) principal: String,
    pub(crate) denied: Denials,
    pub(crate) told: Told,
}

/// What an answer may take while it is built: a request of few bytes may ask for the same again and again.
const ANSWER_BYTES_MAX: usize = 100 << 20;

/// What an answer takes so far.
#[derive(Debug, Default)]
pub(crate) struct Told(AtomicUsize);

/// What becomes of a request.
pub(crate) enum Answer {
    /// A whole frame, as slices, of which so many bytes are a log's.
    Frame { slices: Vec<Bytes>, log_bytes: usize },
    /// No reply is expected.
    Nothing,
    /// The connection is to be closed, for this reason.
    Close(String),
    /// The cluster is gone.
    Gone,
}

impl Ask {
    /// The code that the whole request is to fail with.
    pub(crate) fn fails_whole(&self) -> Option<ErrorCode> {
        self.fired.fails_whole().or(self.denied.whole)
    }

    /// The code that the part of the request about this topic is to fail with.
    fn fails_topic(&self, topic: &str) -> Option<ErrorCode> {
        self.fails(topic, -1)
    }

    /// The code that the part of the request about this resource's settings is to fail with.
    fn fails_resource(&self, resource_type: i8, name: &str) -> Option<ErrorCode> {
        match resource_type {
            describe_configs::TOPIC => self.fails_topic(name),
            _ => self.fails_whole().or(self.denied.settings_of_brokers),
        }
    }

    /// The code that the part of the request about this partition is to fail with.
    fn fails(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.fired.fails(topic, partition).or_else(|| self.denied.topics.get(topic).copied())
    }

    /// Counts what is about to be told. `false` where that is too much: nothing more need be told, for the connection
    /// will be closed.
    fn tells(&self, bytes: usize) -> bool {
        let before = self.told.0.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= ANSWER_BYTES_MAX
    }

    /// Nothing is told yet: what was to be told is made again.
    fn tells_anew(&self) {
        self.told.0.store(0, Ordering::Relaxed);
    }

    /// What becomes of the request, where more was to be told than may be.
    fn told_too_much(&self) -> Option<Answer> {
        let api = self.api;
        let why = || format!("the answer to {api:?} would take more than {ANSWER_BYTES_MAX} bytes of memory");
        (self.told.0.load(Ordering::Relaxed) > ANSWER_BYTES_MAX).then(|| Answer::Close(why()))
    }

    fn encode(&self, body: &impl Encodable) -> Answer {
        if let Some(answer) = self.told_too_much() {
            return answer;
        }
        match server::encode_response(self.api, self.version, self.correlation_id, body) {
            Ok(frame) => Answer::Frame { slices: vec![frame], log_bytes: 0 },
            Err(error) => Answer::Close(format!("cannot answer: {error}")),
        }
    }
}

/// Answers a request. What waits gives back the room of the request before.
pub(crate) async fn answer(
    cluster: &Weak<Shared>,
    ask: &mut Ask,
    request: RequestKind,
    seat: &mut Seat,
) -> Answer {
    if let Some(shared) = cluster.upgrade() {
        ask.denied = authorize::denials(&shared.state(), ask, &request);
    }
    let ask = &*ask;
    // What may wait takes the lock by itself, for as long as it looks.
    let request = match request {
        RequestKind::Produce(request) => return produce::answer(cluster, ask, request, seat).await,
        RequestKind::Fetch(request) => return fetch::answer(cluster, ask, request, seat).await,
        RequestKind::JoinGroup(request) => return join_group::answer(cluster, ask, request, seat).await,
        RequestKind::SyncGroup(request) => return sync_group::answer(cluster, ask, request, seat).await,
        other => other,
    };
    let Some(shared) = cluster.upgrade() else { return Answer::Gone };
    if ask.api == ApiKey::ApiVersions {
        return api_versions::answer(ask, shared.profile, &request);
    }
    let state = &mut *shared.state();
    state.tick(ask.now_ms);
    match request {
        RequestKind::Metadata(request) => ask.encode(&metadata::answer(state, ask, request)),
        RequestKind::ListOffsets(request) => ask.encode(&list_offsets::answer(state, ask, request)),
        RequestKind::OffsetForLeaderEpoch(request) => {
            ask.encode(&offset_for_leader_epoch::answer(state, ask, request))
        }
        RequestKind::CreateTopics(request) => ask.encode(&create_topics::answer(state, ask, &request)),
        RequestKind::CreatePartitions(request) => {
            ask.encode(&create_partitions::answer(state, ask, &request))
        }
        RequestKind::DeleteTopics(request) => ask.encode(&delete_topics::answer(state, ask, request)),
        RequestKind::DeleteRecords(request) => ask.encode(&delete_records::answer(state, ask, request)),
        RequestKind::DescribeConfigs(request) => ask.encode(&describe_configs::answer(state, ask, request)),
        RequestKind::AlterConfigs(request) => ask.encode(&alter_configs::answer(state, ask, request)),
        RequestKind::IncrementalAlterConfigs(request) => {
            ask.encode(&incremental_alter_configs::answer(state, ask, request))
        }
        RequestKind::DescribeCluster(request) => ask.encode(&describe_cluster::answer(state, ask, &request)),
        RequestKind::DescribeProducers(request) => {
            ask.encode(&describe_producers::answer(state, ask, request))
        }
        RequestKind::InitProducerId(request) => ask.encode(&init_producer_id::answer(state, ask, &request)),
        RequestKind::AddPartitionsToTxn(request) => {
            ask.encode(&add_partitions_to_txn::answer(state, ask, request))
        }
        RequestKind::AddOffsetsToTxn(request) => {
            ask.encode(&add_offsets_to_txn::answer(state, ask, &request))
        }
        RequestKind::EndTxn(request) => ask.encode(&end_txn::answer(state, ask, &request)),
        RequestKind::TxnOffsetCommit(request) => ask.encode(&txn_offset_commit::answer(state, ask, &request)),
        RequestKind::FindCoordinator(request) => ask.encode(&find_coordinator::answer(state, ask, request)),
        RequestKind::OffsetCommit(request) => ask.encode(&offset_commit::answer(state, ask, request)),
        RequestKind::OffsetFetch(request) => ask.encode(&offset_fetch::answer(state, ask, request)),
        RequestKind::Heartbeat(request) => ask.encode(&heartbeat::answer(state, ask, &request)),
        RequestKind::LeaveGroup(request) => ask.encode(&leave_group::answer(state, ask, request)),
        RequestKind::DescribeGroups(request) => ask.encode(&describe_groups::answer(state, ask, request)),
        RequestKind::ListGroups(request) => ask.encode(&list_groups::answer(state, ask, &request)),
        RequestKind::DeleteGroups(request) => ask.encode(&delete_groups::answer(state, ask, request)),
        RequestKind::ConsumerGroupHeartbeat(request) => {
            ask.encode(&consumer_group_heartbeat::answer(state, ask, request))
        }
        RequestKind::ConsumerGroupDescribe(request) => {
            ask.encode(&consumer_group_describe::answer(state, ask, request))
        }
        RequestKind::DescribeTopicPartitions(request) => {
            ask.encode(&describe_topic_partitions::answer(state, ask, &request))
        }
        RequestKind::ElectLeaders(request) => ask.encode(&elect_leaders::answer(state, ask, request)),
        RequestKind::DescribeAcls(request) => ask.encode(&acls::describe(state, ask, &request)),
        RequestKind::CreateAcls(request) => ask.encode(&acls::create(state, ask, request)),
        RequestKind::DeleteAcls(request) => ask.encode(&acls::delete(state, ask, request)),
        RequestKind::OffsetDelete(request) => ask.encode(&offset_delete::answer(state, ask, request)),
        _ => Answer::Close(format!("{:?} version {} is not answered here", ask.api, ask.version)),
    }
}

/// The partitions that a request is about, for faults that are about some. Partition -1 is the whole topic.
pub(crate) fn mentioned(state: &State, broker: i32, request: &RequestKind) -> Vec<TopicPartition> {
    match request {
        RequestKind::Produce(request) => produce::mentioned(state, request),
        RequestKind::Fetch(request) => fetch::mentioned(state, broker, request),
        RequestKind::ListOffsets(request) => partitions(
            &request.topics,
            |topic| &topic.name,
            |topic| topic.partitions.iter().map(|p| p.partition_index).collect(),
        ),
        RequestKind::OffsetForLeaderEpoch(request) => partitions(
            &request.topics,
            |topic| &topic.topic,
            |topic| topic.partitions.iter().map(|p| p.partition).collect(),
        ),
        RequestKind::DeleteRecords(request) => partitions(
            &request.topics,
            |topic| &topic.name,
            |topic| topic.partitions.iter().map(|p| p.partition_index).collect(),
        ),
        RequestKind::DescribeProducers(request) => {
            partitions(&request.topics, |topic| &topic.name, |topic| topic.partition_indexes.clone())
        }
        RequestKind::AddPartitionsToTxn(request) => {
            let newer = request.transactions.iter().map(|transaction| &transaction.topics);
            let all = newer.chain([&request.v3_and_below_topics]);
            all.flat_map(|topics| partitions(topics, |topic| &topic.name, |topic| topic.partitions.clone()))
                .collect()
        }
        RequestKind::OffsetCommit(request) => partitions(
            &request.topics,
            |topic| &topic.name,
            |topic| topic.partitions.iter().map(|p| p.partition_index).collect(),
        ),
        RequestKind::OffsetFetch(request) => offset_fetch::mentioned(state, request),
        RequestKind::TxnOffsetCommit(request) => partitions(
            &request.topics,
            |topic| &topic.name,
            |topic| topic.partitions.iter().map(|p| p.partition_index).collect(),
        ),
        RequestKind::OffsetDelete(request) => partitions(
            &request.topics,
            |topic| &topic.name,
            |topic| topic.partitions.iter().map(|p| p.partition_index).collect(),
        ),
        RequestKind::ElectLeaders(request) => partitions(
            request.topic_partitions.as_deref().unwrap_or_default(),
            |topic| &topic.topic,
            |topic| topic.partitions.clone(),
        ),
        RequestKind::DescribeTopicPartitions(request) => {
            partitions(&request.topics, |topic| &topic.name, |_| vec![-1])
        }
        RequestKind::ConsumerGroupHeartbeat(request) => partitions(
            request.subscribed_topic_names.as_deref().unwrap_or_default(),
            |name| name,
            |_| vec![-1],
        ),
        RequestKind::CreateTopics(request) => partitions(&request.topics, |topic| &topic.name, |_| vec![-1]),
        RequestKind::CreatePartitions(request) => {
            partitions(&request.topics, |topic| &topic.name, |_| vec![-1])
        }
        RequestKind::DeleteTopics(request) => {
            let newer = request.topics.iter();
            let newer = newer
                .filter_map(|topic| named_or_known(state, topic.name.as_ref(), topic.topic_id.into_bytes()));
            request.topic_names.iter().map(|name| whole_topic(&name.0)).chain(newer).collect()
        }
        RequestKind::Metadata(request) => match &request.topics {
            Some(topics) => topics
                .iter()
                .filter_map(|topic| named_or_known(state, topic.name.as_ref(), topic.topic_id.into_bytes()))
                .collect(),
            None => state.topics.keys().map(|name| whole_topic(name.as_str())).collect(),
        },
        RequestKind::DescribeConfigs(request) => topic_resources(
            request.resources.iter().map(|resource| (resource.resource_type, &*resource.resource_name)),
        ),
        RequestKind::AlterConfigs(request) => topic_resources(
            request.resources.iter().map(|resource| (resource.resource_type, &*resource.resource_name)),
        ),
        RequestKind::IncrementalAlterConfigs(request) => topic_resources(
            request.resources.iter().map(|resource| (resource.resource_type, &*resource.resource_name)),
        ),
        _ => Vec::new(),
    }
}

fn whole_topic(name: &str) -> TopicPartition {
    TopicPartition::new(name, -1)
}

/// The topic that is named, or that has the id.
fn named_or_known(state: &State, name: Option<&messages::TopicName>, id: [u8; 16]) -> Option<TopicPartition> {
    match name {
        Some(name) => Some(whole_topic(&name.0)),
        None => state.topic_by_id(id).map(|(name, _)| whole_topic(name.as_str())),
    }
}

/// Those of the resources, by type and name, that are topics.
fn topic_resources<'a>(resources: impl Iterator<Item = (i8, &'a str)>) -> Vec<TopicPartition> {
    let topics = resources.filter(|(kind, _)| *kind == describe_configs::TOPIC);
    topics.map(|(_, name)| whole_topic(name)).collect()
}

fn partitions<T>(
    topics: &[T],
    name: impl Fn(&T) -> &messages::TopicName,
    indexes: impl Fn(&T) -> Vec<i32>,
) -> Vec<TopicPartition> {
    let of_topic = |topic: &T| {
        let topic_name = TopicName::from(name(topic).0.as_str());
        indexes(topic).into_iter().map(move |index| TopicPartition::new(topic_name.clone(), index))
    };
    topics.iter().flat_map(of_topic).collect()
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn wire_name(name: &TopicName) -> messages::TopicName {
    messages::TopicName(text(name.as_str()))
}

/// An id as the generated messages want it; they do not export the type.
fn wire_id<T: FromStr>(id: [u8; 16]) -> T {
    let hex = model::TopicId(id).to_string();
    hex.parse().ok().expect("32 hexadecimal digits are a UUID")
}

/// Those of `brokers` as the wire has them.
fn wire_brokers(brokers: impl IntoIterator<Item = i32>) -> Vec<messages::BrokerId> {
    brokers.into_iter().map(messages::BrokerId).collect()
}
