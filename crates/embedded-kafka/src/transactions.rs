//! What the transaction coordinator knows: who may write under a transactional id, and to where.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicPartition;
use protocol::ErrorCode;

use crate::kept::{ENTRY_BYTES, Size};
use crate::partition::End;
use crate::profile::Profile;
use crate::state::State;

/// The last epoch that a producer is given: after it, its id is used up.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// One transactional id.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) open: bool,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<String>,
    timeout_ms: i64,
    began_ms: i64,
    /// How the last one ended.
    last_committed: Option<bool>,
    /// The identity that the present one was given for: who comes with it again has had no answer. A newcomer has none.
    last: Option<Identity>,
    /// Where the last one's end is not on all in-sync replicas, as far as is known, and whose it is.
    unended: Vec<(i64, TopicPartition)>,
}

/// All transactional ids of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    by_id: BTreeMap<String, Transaction>,
    /// Those that are open, by when they are aborted.
    open: BTreeSet<(i64, String)>,
}

/// The producer id and epoch to be used next.
pub(crate) type Identity = (i64, i16);

impl Transactions {
    pub(crate) fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.by_id.get(transactional_id)
    }

    /// The transaction, if the request's producer id and epoch are its present ones. PRODUCER_FENCED is only
    /// said in versions of a request that know it (2.7).
    pub(crate) fn of_producer(
        &self,
        transactional_id: &str,
        (producer_id, epoch): Identity,
        knows_fencing: bool,
    ) -> Result<&Transaction, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let found = self.by_id.get(transactional_id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        if found.producer_id != producer_id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        let fenced =
            if knows_fencing { ErrorCode::PRODUCER_FENCED } else { ErrorCode::INVALID_PRODUCER_EPOCH };
        if found.epoch == epoch { Ok(found) } else { Err(fenced) }
    }

    /// What all transactional ids take, which stay, and what is in their transactions.
    pub(crate) fn size(&self) -> Size {
        let size = |(id, transaction): (&String, &Transaction)| Size::of(id.len() + transaction.bytes());
        self.by_id.iter().map(size).sum()
    }

    /// Whether there is a transactional id.
    pub(crate) fn any(&self) -> bool {
        !self.by_id.is_empty()
    }

    /// Transactions that are open for longer than they may be.
    fn overdue(&self, now_ms: i64) -> Vec<String> {
        let overdue = self.open.iter().take_while(|(deadline_ms, _)| *deadline_ms <= now_ms);
        overdue.map(|(_, id)| id.clone()).collect()
    }

    /// Adds partitions to a transaction, which opens it.
    pub(crate) fn add(
        &mut self,
        now_ms: i64,
        transactional_id: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) {
        let Some(found) = self.by_id.get_mut(transactional_id) else { return };
        if !found.open {
            found.open = true;
            found.began_ms = now_ms;
            self.open.insert((found.deadline_ms(), transactional_id.to_owned()));
        }
        found.partitions.extend(partitions);
    }

    /// Adds a group's offsets to a transaction, which opens it.
    fn add_group(&mut self, now_ms: i64, transactional_id: &str, group: &str) {
        self.add(now_ms, transactional_id, []);
        if let Some(found) = self.by_id.get_mut(transactional_id) {
            found.groups.insert(group.to_owned());
        }
    }
}

fn group_bytes(group: &str) -> usize {
    ENTRY_BYTES + group.len()
}

fn partition_bytes(at: &TopicPartition) -> usize {
    ENTRY_BYTES + at.topic.as_str().len()
}

impl Transaction {
    /// What its groups and partitions take.
    fn bytes(&self) -> usize {
        let groups = self.groups.iter().map(|group| group_bytes(group)).sum::<usize>();
        let unended = self.unended.iter().map(|(_, at)| partition_bytes(at)).sum::<usize>();
        groups + unended + self.partitions.iter().map(partition_bytes).sum::<usize>()
    }

    /// What it takes more with these partitions.
    pub(crate) fn more_with(&self, partitions: &[TopicPartition]) -> Size {
        let new = partitions.iter().filter(|at| !self.partitions.contains(*at));
        Size { things: 0, bytes: new.map(partition_bytes).sum() }
    }

    /// What it takes more with this group.
    pub(crate) fn more_with_group(&self, group: &str) -> Size {
        Size { things: 0, bytes: if self.groups.contains(group) { 0 } else { group_bytes(group) } }
    }

    /// The next epoch, by which whoever has the present one is fenced. Beyond the last there is none, as in Kafka. Where
    /// each end raises the epoch, who is fenced by an abort may go on by asking for the new one.
    fn fence(&mut self, profile: Profile) {
        self.last = (profile >= Profile::V4_3).then_some((self.producer_id, self.epoch));
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Whether `identity` is the one that the last transaction ended with, of which the epoch of today came: who asks
    /// with it again has had no answer.
    fn ended_with(&self, (producer_id, epoch): Identity) -> bool {
        let next = producer_id == self.producer_id && epoch.checked_add(1) == Some(self.epoch);
        let renewed = self.last == Some((producer_id, EPOCH_MAX)) && (epoch, self.epoch) == (EPOCH_MAX, 0);
        !self.open && self.last_committed.is_some() && (next || renewed)
    }

    fn deadline_ms(&self) -> i64 {
        self.began_ms.saturating_add(self.timeout_ms)
    }
}

impl State {
    /// Adds a group's offsets to a transaction.
    pub(crate) fn add_group_to_txn(
        &mut self,
        now_ms: i64,
        transactional_id: &str,
        identity: Identity,
        knows_fencing: bool,
        group: &str,
    ) -> Result<(), ErrorCode> {
        let found = self.transactions.of_producer(transactional_id, identity, knows_fencing)?;
        let more = found.more_with_group(group);
        self.check_ended(transactional_id)?;
        self.keep(more)?;
        self.transactions.add_group(now_ms, transactional_id, group);
        Ok(())
    }

    /// Whether the last transaction is over everywhere, so that another may begin.
    ///
    /// # Errors
    /// CONCURRENT_TRANSACTIONS: the client asks again.
    pub(crate) fn check_ended(&mut self, transactional_id: &str) -> Result<(), ErrorCode> {
        let Some(found) = self.transactions.by_id.get_mut(transactional_id) else { return Ok(()) };
        if found.unended.is_empty() {
            return Ok(());
        }
        let mut unended = std::mem::take(&mut found.unended);
        unended.retain(|(producer_id, at)| {
            let partition = self.partition(at.topic.as_str(), at.partition.0);
            partition.is_some_and(|partition| partition.has_due_end(*producer_id))
        });
        let is_ended = unended.is_empty();
        if let Some(found) = self.transactions.by_id.get_mut(transactional_id) {
            found.unended = unended;
        }
        if is_ended { Ok(()) } else { Err(ErrorCode::CONCURRENT_TRANSACTIONS) }
    }

    /// Gives a transactional id its next epoch. A transaction that is open is aborted first, and the answer
    /// is CONCURRENT_TRANSACTIONS until that is done: the client asks again.
    pub(crate) fn init_transactional(
        &mut self,
        now_ms: i64,
        transactional_id: &str,
        timeout_ms: i64,
        expected: Option<Identity>,
        knows_fencing: bool,
    ) -> Result<Identity, ErrorCode> {
        if timeout_ms <= 0 || timeout_ms > self.broker_number("transaction.max.timeout.ms") {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        if self.transactions.get(transactional_id).is_none() {
            self.keep(Size::of(transactional_id.len()))?;
        }
        let Some(found) = self.transactions.by_id.get_mut(transactional_id) else {
            let producer_id = self.allocate_producer_id();
            let transaction = Transaction {
                producer_id,
                epoch: 0,
                open: false,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
                timeout_ms,
                began_ms: now_ms,
                last_committed: None,
                last: None,
                unended: Vec::new(),
            };
            self.transactions.by_id.insert(transactional_id.to_owned(), transaction);
            // From now on there is something to look at.
            self.groups.changes().notify_one();
            return Ok((producer_id, 0));
        };
        let fenced =
            if knows_fencing { ErrorCode::PRODUCER_FENCED } else { ErrorCode::INVALID_PRODUCER_EPOCH };
        let (present, last) = ((found.producer_id, found.epoch), found.last);
        let comes_again = expected.is_some() && expected == last;
        if expected.is_some_and(|(producer_id, _)| producer_id != present.0) && !comes_again {
            return Err(fenced);
        }
        self.check_ended(transactional_id)?;
        let profile = self.profile;
        let found = self.transactions.by_id.get_mut(transactional_id).expect("found above");
        if found.open {
            // Whatever the epoch: who has the wrong one is told so when it asks again.
            found.fence(profile);
            self.end_transaction(now_ms, transactional_id, false);
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        // The last epoch is only there to fence.
        if comes_again && present.1 <= EPOCH_MAX {
            return Ok(present);
        }
        if !comes_again && expected.is_some_and(|expected| expected != present) {
            return Err(fenced);
        }
        let next = match present {
            (producer_id, epoch) if epoch < EPOCH_MAX => (producer_id, epoch + 1),
            _ => (self.allocate_producer_id(), 0),
        };
        let found = self.transactions.by_id.get_mut(transactional_id).expect("found above");
        (found.producer_id, found.epoch) = next;
        found.last = expected;
        found.last_committed = None;
        found.timeout_ms = timeout_ms;
        Ok(next)
    }

    /// Commits or aborts: a marker to each partition, the offsets to their groups. From EndTxn v5 on it is a
    /// transaction of the second kind (KIP-890), whatever the cluster's features say; it gives the producer id and
    /// epoch to go on with.
    pub(crate) fn end_txn(
        &mut self,
        now_ms: i64,
        transactional_id: &str,
        identity: Identity,
        commit: bool,
        version: i16,
    ) -> Result<Identity, ErrorCode> {
        if version >= 5 {
            return self.end_second_kind(now_ms, transactional_id, identity, commit);
        }
        let found = self.transactions.of_producer(transactional_id, identity, version >= 2)?;
        if !found.open {
            // A repeated request is answered as before.
            let repeated = found.last_committed == Some(commit);
            return match repeated {
                true => self.check_ended(transactional_id).map(|()| identity),
                false => Err(ErrorCode::INVALID_TXN_STATE),
            };
        }
        self.end_transaction(now_ms, transactional_id, commit);
        Ok(identity)
    }

    /// Each end raises the epoch. Where it was the last one, the markers have the one after it, which no producer is
    /// ever given, and there is a new producer id to go on with.
    fn end_second_kind(
        &mut self,
        now_ms: i64,
        transactional_id: &str,
        identity: Identity,
        commit: bool,
    ) -> Result<Identity, ErrorCode> {
        if let Some(found) =
            self.transactions.get(transactional_id).filter(|found| found.ended_with(identity))
        {
            // A repeated request is told what its answer was.
            let repeated = found.last_committed == Some(commit);
            let present = (found.producer_id, found.epoch);
            return match repeated {
                true => self.check_ended(transactional_id).map(|()| present),
                false => Err(ErrorCode::INVALID_TXN_STATE),
            };
        }
        let found = self.transactions.of_producer(transactional_id, identity, true)?;
        if !found.open && commit {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
        self.check_ended(transactional_id)?;
        if let Some(found) = self.transactions.by_id.get_mut(transactional_id) {
            found.fence(self.profile);
        }
        self.end_transaction(now_ms, transactional_id, commit);
        let next = match identity {
            (producer_id, epoch) if epoch < EPOCH_MAX => (producer_id, epoch + 1),
            _ => (self.allocate_producer_id(), 0),
        };
        if let Some(found) = self.transactions.by_id.get_mut(transactional_id) {
            (found.producer_id, found.epoch) = next;
            found.last = Some(identity);
        }
        Ok(next)
    }

    /// Aborts what has been open for too long, and fences its producer.
    pub(crate) fn abort_overdue(&mut self, now_ms: i64) {
        for transactional_id in self.transactions.overdue(now_ms) {
            if let Some(overdue) = self.transactions.by_id.get_mut(&transactional_id) {
                overdue.fence(self.profile);
            }
            self.end_transaction(now_ms, &transactional_id, false);
        }
    }

    fn end_transaction(&mut self, now_ms: i64, transactional_id: &str, commit: bool) {
        let Some(found) = self.transactions.by_id.get_mut(transactional_id) else { return };
        self.transactions.open.remove(&(found.deadline_ms(), transactional_id.to_owned()));
        found.open = false;
        found.last_committed = Some(commit);
        let groups = std::mem::take(&mut found.groups);
        let (producer_id, epoch) = (found.producer_id, found.epoch);
        let end = End { producer_id, epoch, commit, at_ms: now_ms };
        let mut unended = Vec::new();
        for at in std::mem::take(&mut found.partitions) {
            let ended = self.partition_of(&at).is_none_or(|partition| partition.end_transaction(end));
            if !ended {
                unended.push((producer_id, at));
            }
        }
        if let Some(found) = self.transactions.by_id.get_mut(transactional_id) {
            found.unended = unended;
        }
        for group in groups {
            self.groups.transaction_ended(producer_id, &group, commit);
        }
    }
}
