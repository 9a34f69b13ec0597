//! Committed offsets of groups, without members.

use std::collections::BTreeMap;

use model::{TopicName, TopicPartition};

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// All groups of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_id: BTreeMap<String, BTreeMap<TopicPartition, Committed>>,
    /// Offsets that wait for the end of a transaction, by producer id.
    pending: BTreeMap<i64, Vec<(String, TopicPartition, Committed)>>,
}

impl Groups {
    pub(crate) fn commit(&mut self, group: &str, at: TopicPartition, committed: Committed) {
        self.by_id.entry(group.to_owned()).or_default().insert(at, committed);
    }

    pub(crate) fn committed(&self, group: &str, at: &TopicPartition) -> Option<&Committed> {
        self.by_id.get(group)?.get(at)
    }

    /// All committed offsets of a group, in order.
    pub(crate) fn all(&self, group: &str) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.by_id.get(group).into_iter().flatten()
    }

    pub(crate) fn exists(&self, group: &str) -> bool {
        self.by_id.contains_key(group)
    }

    pub(crate) fn delete(&mut self, group: &str, at: &TopicPartition) {
        if let Some(offsets) = self.by_id.get_mut(group) {
            offsets.remove(at);
        }
    }

    /// Keeps an offset until the transaction of `producer_id` is over.
    pub(crate) fn commit_later(
        &mut self,
        producer_id: i64,
        group: &str,
        at: TopicPartition,
        committed: Committed,
    ) {
        self.pending.entry(producer_id).or_default().push((group.to_owned(), at, committed));
    }

    /// Whether a transaction holds an offset for the partition back.
    pub(crate) fn is_unstable(&self, group: &str, at: &TopicPartition) -> bool {
        self.pending
            .values()
            .flatten()
            .any(|(pending_group, pending_at, _)| pending_group == group && pending_at == at)
    }

    /// The transaction of `producer_id` is over.
    pub(crate) fn transaction_ended(&mut self, producer_id: i64, committed: bool) {
        for (group, at, offset) in self.pending.remove(&producer_id).unwrap_or_default() {
            if committed {
                self.commit(&group, at, offset);
            }
        }
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        let gone = TopicName::from(topic);
        for offsets in self.by_id.values_mut() {
            offsets.retain(|at, _| at.topic != gone);
        }
    }
}
