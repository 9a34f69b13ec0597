//! The typed calls of a [`crate::Cluster`], a file each.
//!
//! Each asks in the newest version both sides speak, says the outcome for each thing asked about, and
//! leaves out nothing but what the broker left out. Answers come in the broker's order.

mod acls;
mod alter_configs;
mod commit_offsets;
mod committed_offsets;
mod coordinator;
mod create_partitions;
mod create_topics;
mod describe_configs;
mod describe_producers;
mod end_offsets_for_epochs;
mod init_producer_id;
mod list_offsets;
mod purpose;

use std::collections::BTreeMap;

use model::{PartitionId, TopicName, TopicPartition};
use protocol::{ErrorCode, StrBytes};

pub use alter_configs::TopicConfigChange;
pub use create_topics::NewTopic;
pub use describe_configs::{ConfigEntry, ConfigSource};
pub use describe_producers::ProducerState;
pub use list_offsets::OffsetSpec;
pub use purpose::Purpose;

/// Why a broker refused something about one topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}", message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
pub struct Refusal {
    /// The code.
    pub error: ErrorCode,
    /// The broker's words.
    pub message: Option<String>,
}

/// `Ok` for no error, else the refusal.
fn outcome(error_code: i16, message: Option<StrBytes>) -> Result<(), Refusal> {
    ErrorCode(error_code).ok_or(()).map_err(|error| Refusal {
        error,
        message: message.map(|message| message.to_string()).filter(|message| !message.is_empty()),
    })
}

/// The partitions of each topic together.
fn by_topic<'a, T: 'a>(
    asked: impl Iterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<&'a TopicName, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&TopicName, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, with) in asked {
        topics.entry(&partition.topic).or_default().push((partition.partition.0, with));
    }
    topics
}

fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn wire_name(topic: &TopicName) -> protocol::messages::TopicName {
    str_bytes(topic.as_str()).into()
}

fn partition_of(topic: &TopicName, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(partition) }
}
