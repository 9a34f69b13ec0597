//! What groups have committed, and what waits for a transaction to end.

use std::collections::{BTreeMap, BTreeSet};

use model::{TopicName, TopicPartition};
use protocol::ErrorCode;

use crate::groups::{Claim, ClassicGroup, Group, Groups, Members, Rules};
use crate::kept::Size;
use crate::transactions::Identity;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

impl Committed {
    /// What it takes, under a name of so many bytes and a partition.
    pub(crate) fn size(&self, name_bytes: usize, at: &TopicPartition) -> Size {
        Size::of(name_bytes + at.topic.as_str().len() + self.metadata.len())
    }
}

/// Offsets that wait for the end of a transaction; of each partition the last one of a transaction.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: BTreeMap<i64, BTreeMap<String, Waiting>>,
    /// How many transactions hold back what a group has committed for a partition.
    holds: BTreeMap<String, BTreeMap<TopicPartition, usize>>,
}

/// What a producer's transaction is to commit for a group.
#[derive(Debug, Default)]
struct Waiting {
    epoch: i16,
    offsets: BTreeMap<TopicPartition, Committed>,
}

impl Pending {
    fn get(&self, producer_id: i64, group: &str) -> Option<&Waiting> {
        self.by_producer.get(&producer_id)?.get(group)
    }

    /// Adds one; `true` if it takes the place of another.
    fn add(
        &mut self,
        (producer_id, epoch): Identity,
        group: &str,
        at: TopicPartition,
        committed: Committed,
    ) -> bool {
        let of_producer = self.by_producer.entry(producer_id).or_default();
        let waiting = of_producer.entry(group.to_owned()).or_default();
        waiting.epoch = epoch;
        if waiting.offsets.insert(at.clone(), committed).is_some() {
            return true;
        }
        *self.holds.entry(group.to_owned()).or_default().entry(at).or_default() += 1;
        false
    }

    /// Takes those of a producer for a group.
    fn take(&mut self, producer_id: i64, group: &str) -> BTreeMap<TopicPartition, Committed> {
        let Some(of_producer) = self.by_producer.get_mut(&producer_id) else { return BTreeMap::new() };
        let taken = of_producer.remove(group).unwrap_or_default();
        if of_producer.is_empty() {
            self.by_producer.remove(&producer_id);
        }
        let Some(holds) = self.holds.get_mut(group) else { return taken.offsets };
        for at in taken.offsets.keys() {
            if let Some(times) = holds.get_mut(at) {
                *times -= 1;
                if *times == 0 {
                    holds.remove(at);
                }
            }
        }
        if holds.is_empty() {
            self.holds.remove(group);
        }
        taken.offsets
    }

    fn holds(&self, group: &str, at: &TopicPartition) -> bool {
        self.holds.get(group).is_some_and(|holds| holds.contains_key(at))
    }

    pub(super) fn size(&self) -> Size {
        let groups = self.by_producer.values().flatten();
        let of_group = |(group, waiting): (&String, &Waiting)| -> Size {
            waiting.offsets.iter().map(|(at, offset)| offset.size(group.len(), at)).sum()
        };
        groups.map(of_group).sum()
    }
}

impl Groups {
    /// Whether offsets of a group may be committed; the first commit of nobody in particular makes the group.
    pub(crate) fn check_commit(
        &mut self,
        now_ms: i64,
        rules: &Rules,
        version: i16,
        group: &str,
        claim: Claim<'_>,
    ) -> Result<(), ErrorCode> {
        let Some(found) = self.by_id.get_mut(group) else {
            return match version {
                _ if claim.generation < 0 => Ok(()),
                9.. if rules.is_new_coordinator => Err(ErrorCode::GROUP_ID_NOT_FOUND),
                _ => Err(ErrorCode::ILLEGAL_GENERATION),
            };
        };
        match &mut found.members {
            Members::Classic(found) => found.check_commit(now_ms, rules, claim, false),
            Members::Consumer(found) => found.check_commit(version, claim.member_id, claim.generation, false),
        }
    }

    /// Whether somebody who may say that it is a member may know what the group has committed.
    pub(crate) fn check_fetch(
        &mut self,
        group: &str,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match self.consumer(group) {
            Some(found) => found.check_fetch(member_id, epoch),
            None => Ok(()),
        }
    }

    /// Whether they may be within a transaction, whose producer need not be a member.
    pub(crate) fn check_txn_commit(
        &mut self,
        rules: &Rules,
        group: &str,
        claim: Claim<'_>,
    ) -> Result<(), ErrorCode> {
        match self.by_id.get_mut(group).map(|found| &mut found.members) {
            Some(Members::Classic(found)) => found.check_txn_commit(rules, claim),
            Some(Members::Consumer(found)) => found.check_commit(0, claim.member_id, claim.generation, true),
            None if rules.is_new_coordinator && claim.generation >= 0 => Err(ErrorCode::ILLEGAL_GENERATION),
            // An older one makes the group by looking at it.
            None => ClassicGroup::default().check_txn_commit(rules, claim),
        }
    }

    pub(crate) fn commit(&mut self, group: &str, at: TopicPartition, committed: Committed) {
        let before = self.by_id.entry(group.to_owned()).or_default().offsets.insert(at, committed);
        self.may_be_less |= before.is_some();
    }

    /// What an offset takes more than there is for its partition, with its group.
    pub(crate) fn offset_size(&self, group: &str, at: &TopicPartition, offset: &Committed) -> Size {
        let before = self.committed(group, at).map(|before| before.size(group.len(), at));
        self.group_size(group) + offset.size(group.len(), at).instead_of(before)
    }

    pub(crate) fn committed(&self, group: &str, at: &TopicPartition) -> Option<&Committed> {
        self.by_id.get(group)?.offsets.get(at)
    }

    /// All committed offsets of a group, in order.
    pub(crate) fn all(&self, group: &str) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.by_id.get(group).into_iter().flat_map(|group: &Group| &group.offsets)
    }

    pub(crate) fn forget_offset(&mut self, group: &str, at: &TopicPartition) {
        if let Some(group) = self.by_id.get_mut(group) {
            group.offsets.remove(at);
            self.may_be_less = true;
        }
    }

    /// Forgets a group that has nothing left, as older coordinators do.
    pub(crate) fn forget_if_bare(&mut self, rules: &Rules, group: &str) {
        let is_bare = |group: &Group| group.is_empty() && group.offsets.is_empty();
        if !rules.is_new_coordinator && self.by_id.get(group).is_some_and(is_bare) {
            self.delete(group);
        }
    }

    /// What an offset that waits takes more than the one that it takes the place of.
    pub(crate) fn pending_size(
        &self,
        producer_id: i64,
        group: &str,
        at: &TopicPartition,
        offset: &Committed,
    ) -> Size {
        let before = self.pending.get(producer_id, group).and_then(|waiting| waiting.offsets.get(at));
        let before = before.map(|before| before.size(group.len(), at));
        self.group_size(group) + offset.size(group.len(), at).instead_of(before)
    }

    /// The epoch of the producer whose offsets wait here, if any do.
    pub(crate) fn pending_epoch(&self, producer_id: i64, group: &str) -> Option<i16> {
        self.pending.get(producer_id, group).map(|waiting| waiting.epoch)
    }

    /// Keeps an offset until the transaction of a producer is over.
    pub(crate) fn commit_later(
        &mut self,
        identity: Identity,
        group: &str,
        at: TopicPartition,
        committed: Committed,
    ) {
        self.by_id.entry(group.to_owned()).or_default();
        self.may_be_less |= self.pending.add(identity, group, at, committed);
    }

    /// Whether a transaction holds an offset for the partition back.
    pub(crate) fn is_unstable(&self, group: &str, at: &TopicPartition) -> bool {
        self.pending.holds(group, at)
    }

    /// The transaction of `producer_id` is over, which a group was part of.
    pub(crate) fn transaction_ended(&mut self, producer_id: i64, group: &str, committed: bool) {
        self.may_be_less = true;
        for (at, offset) in self.pending.take(producer_id, group).into_iter().filter(|_| committed) {
            self.commit(group, at, offset);
        }
    }

    /// Forgets what was committed for topics that are gone.
    pub(crate) fn forget_topics(&mut self, gone: &BTreeSet<TopicName>) {
        if gone.is_empty() {
            return;
        }
        self.may_be_less = true;
        for group in self.by_id.values_mut() {
            group.offsets.retain(|at, _| !gone.contains(&at.topic));
        }
    }
}
