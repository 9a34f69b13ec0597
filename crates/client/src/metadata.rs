//! Who leads what: Metadata, never creating topics.

use model::{BrokerId, LeaderEpoch, PartitionId, TopicId, TopicName};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::{MetadataRequest, MetadataResponse};
use protocol::{ErrorCode, StrBytes};

/// Which topics to ask about.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// All of them.
    All,
    /// These; those that do not exist come with an error, and are not created.
    Topics(&'a [TopicName]),
    /// None: brokers and controller only.
    None,
}

/// One broker's picture of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Who takes requests that change topics.
    pub controller: Option<BrokerId>,
    /// Who is there.
    pub brokers: Vec<Broker>,
    /// What was asked about.
    pub topics: Vec<TopicMetadata>,
}

/// A broker, and the address it advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Host of its advertised listener.
    pub host: String,
    /// Port of its advertised listener.
    pub port: u16,
    /// Where it stands.
    pub rack: Option<String>,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: TopicName,
    /// Its id, from brokers of 2.8 on.
    pub id: Option<TopicId>,
    /// Kafka's own.
    pub internal: bool,
    /// Why there is nothing to say about it.
    pub error: Option<ErrorCode>,
    /// Its partitions, sorted.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Which.
    pub partition: PartitionId,
    /// Who leads it; none during an election.
    pub leader: Option<BrokerId>,
    /// The number of that leadership; [`LeaderEpoch::UNKNOWN`] from brokers before 2.4, whose word on it
    /// cannot be relied on.
    pub leader_epoch: LeaderEpoch,
    /// Who holds copies.
    pub replicas: Vec<BrokerId>,
    /// Which of the copies are complete.
    pub isr: Vec<BrokerId>,
    /// What is the matter with it. It may still be readable.
    pub error: Option<ErrorCode>,
}

/// The first version whose leader epochs are reliable (KIP-320, KAFKA-9212).
const RELIABLE_EPOCHS_SINCE: i16 = 9;

pub(crate) fn request(version: i16, wanted: Wanted<'_>) -> MetadataRequest {
    let topic = |name: &TopicName| {
        let name = StrBytes::from_string(name.as_str().to_owned());
        MetadataRequestTopic::default().with_name(Some(name.into()))
    };
    let topics = match wanted {
        Wanted::All => None,
        Wanted::Topics(names) => Some(names.iter().map(topic).collect()),
        Wanted::None => Some(Vec::new()),
    };
    debug_assert!(version >= 4, "before version 4 the question itself creates topics");
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false)
}

pub(crate) fn read(version: i16, response: MetadataResponse) -> Metadata {
    let brokers = response.brokers.into_iter().filter_map(|broker| {
        Some(Broker {
            id: BrokerId(broker.node_id.0),
            host: broker.host.to_string(),
            // A port that is none is a broker that cannot be reached.
            port: u16::try_from(broker.port).ok()?,
            rack: broker.rack.map(|rack| rack.to_string()),
        })
    });
    Metadata {
        cluster_id: response.cluster_id.map(|id| id.to_string()),
        controller: known(response.controller_id.0),
        brokers: brokers.collect(),
        topics: response.topics.into_iter().filter_map(|topic| read_topic(version, topic)).collect(),
    }
}

fn read_topic(version: i16, topic: MetadataResponseTopic) -> Option<TopicMetadata> {
    let id = TopicId(*topic.topic_id.as_bytes());
    let mut partitions: Vec<PartitionMetadata> =
        topic.partitions.into_iter().map(|partition| read_partition(version, &partition)).collect();
    partitions.sort_by_key(|partition| partition.partition);
    Some(TopicMetadata {
        name: TopicName::from(topic.name?.as_str()),
        id: (id.0 != [0; 16]).then_some(id),
        internal: topic.is_internal,
        error: ErrorCode(topic.error_code).if_error(),
        partitions,
    })
}

fn read_partition(version: i16, partition: &MetadataResponsePartition) -> PartitionMetadata {
    let reliable = version >= RELIABLE_EPOCHS_SINCE;
    let ids = |nodes: &[protocol::messages::BrokerId]| nodes.iter().map(|node| BrokerId(node.0)).collect();
    PartitionMetadata {
        partition: PartitionId(partition.partition_index),
        leader: known(partition.leader_id.0),
        leader_epoch: if reliable { LeaderEpoch(partition.leader_epoch) } else { LeaderEpoch::UNKNOWN },
        replicas: ids(&partition.replica_nodes),
        isr: ids(&partition.isr_nodes),
        error: ErrorCode(partition.error_code).if_error(),
    }
}

fn known(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}
