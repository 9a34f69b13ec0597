//! What a test does to a cluster without being a client of it.
//!
//! These act at once and on the state itself. What writes to a log or looks at it gives [`NoPartition`] where there is
//! none, since a client may have deleted it a moment ago. What else is done to a topic or partition is done by tests to
//! one of their own: that it does not exist is a mistake there, so it panics.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{TopicId, TopicName};
use protocol::ErrorCode;
use record_batch::{BatchError, DECOMPRESSED_BYTES_MAX, Entry, Record};
use tokio::sync::Notify;

use crate::acls::Acl;
use crate::cluster::Cluster;
use crate::log::StoredEntry;
use crate::partition::{Partition, stored_entries};
use crate::producers::Producers;
use crate::state::State;

/// There is no such partition, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no partition {topic}-{partition}")]
pub struct NoPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number in it.
    pub partition: i32,
}

/// Why bytes cannot be placed into a log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They are not batches or messages.
    #[error("cannot read what is to be appended")]
    Unreadable(#[from] BatchError),
    /// They end in the middle of an entry, or there is none.
    #[error("{left_bytes} of {given_bytes} bytes are no whole entry")]
    Incomplete {
        /// Bytes after the last whole entry.
        left_bytes: usize,
        /// All bytes.
        given_bytes: usize,
    },
    /// They go back behind the log's end.
    #[error("an entry at offset {base_offset} cannot follow the end offset {end_offset}")]
    GoesBack {
        /// The entry's first offset.
        base_offset: i64,
        /// The log's end.
        end_offset: i64,
    },
    /// There is no log to append them to.
    #[error(transparent)]
    NoPartition(#[from] NoPartition),
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970, as a consumer sees them.
    pub timestamp: i64,
    /// The key; null is not empty.
    pub key: Option<Vec<u8>>,
    /// The value; null is not empty.
    pub value: Option<Vec<u8>>,
    /// The headers in their order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A batch of a log, or a message of an old format, in the two slices that it is kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// The 61 bytes of a batch's header; empty for an old format.
    pub head: Bytes,
    /// The records as they were sent; the whole message of an old format.
    pub body: Bytes,
}

impl From<Record<'_>> for LogRecord {
    fn from(record: Record<'_>) -> LogRecord {
        let headers = record.headers.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        LogRecord {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }
}

impl Cluster {
    /// Creates a topic, replicated to all brokers, up to three.
    ///
    /// # Panics
    /// If the cluster would refuse it.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let online = self.shared().state().brokers.values().filter(|broker| broker.online).count();
        let factor = i16::try_from(online.min(3)).unwrap_or(1);
        self.create_topic_replicated(name, partitions, factor, configs);
    }

    /// Creates a topic with a replication factor.
    ///
    /// # Panics
    /// If the cluster would refuse it.
    pub fn create_topic_replicated(
        &self,
        name: &str,
        partitions: i32,
        factor: i16,
        configs: &[(&str, &str)],
    ) {
        let overrides: BTreeMap<String, String> =
            configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let created =
            self.shared().state().create_topic(&TopicName::from(name), partitions, factor, &[], overrides);
        if let Err((code, message)) = created {
            panic!("cannot create topic {name}: {code}: {message}");
        }
    }

    /// Allows `principal` (`User:ann`) one operation on one topic, one group or the cluster, in Kafka's words: `READ`,
    /// `TOPIC`. Without effect where there is no authorizer.
    ///
    /// # Panics
    /// If Kafka has no such word.
    pub fn allow(&self, principal: &str, operation: &str, resource: &str, name: &str) {
        let acl = Acl::allowing(principal, operation, resource, name);
        let acl = acl.unwrap_or_else(|| panic!("{operation} on {resource}"));
        if let Some(authorizer) = &mut self.shared().state().authorizer {
            authorizer.acls.insert(acl);
        }
    }

    /// Deletes a topic, if it exists.
    pub fn delete_topic(&self, name: &str) {
        self.shared().state().delete_topic(name);
    }

    /// Deletes a topic and creates it anew, empty, with the same partitions and settings and another id.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn recreate_topic(&self, name: &str) {
        recreate(&mut self.shared().state(), name).unwrap_or_else(|| panic!("there is no topic {name}"));
    }

    /// Lets a topic have more partitions.
    ///
    /// # Panics
    /// If there is no such topic, or it has as many already.
    pub fn add_partitions(&self, name: &str, total: i32) {
        let mut state = self.shared().state();
        let topic = state.topics.get(name).unwrap_or_else(|| panic!("there is no topic {name}"));
        let have = i64::try_from(topic.partitions.len()).unwrap_or(i64::MAX);
        assert!(i64::from(total) > have, "topic {name} has {have} partitions already");
        let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let factor = i64::try_from(factor).unwrap_or(i64::MAX);
        let assigned = state.spread(have, i64::from(total), factor).expect("as for the ones before");
        state.grow_topic(name, &assigned);
    }

    /// Sets a topic's setting, or unsets it.
    ///
    /// # Panics
    /// If there is no such topic, or the value would be refused.
    pub fn set_topic_config(&self, name: &str, key: &str, value: Option<&str>) {
        let mut state = self.shared().state();
        let topic = state.topics.get(name).unwrap_or_else(|| panic!("there is no topic {name}"));
        let mut overrides = topic.overrides.clone();
        match value {
            Some(value) => overrides.insert(key.to_owned(), value.to_owned()),
            None => overrides.remove(key),
        };
        if let Err((code, message)) = state.check_overrides(&overrides, ErrorCode::INVALID_CONFIG) {
            panic!("cannot set {key} of topic {name}: {code}: {message}");
        }
        if let Err((code, message)) = state.set_topic(name, overrides) {
            panic!("cannot set {key} of topic {name}: {code}: {message}");
        }
    }

    /// A topic's settings, as they were set for it.
    pub fn topic_configs(&self, name: &str) -> BTreeMap<String, String> {
        self.shared().state().topics.get(name).map(|topic| topic.overrides.clone()).unwrap_or_default()
    }

    /// The names of all topics.
    pub fn topics(&self) -> Vec<TopicName> {
        self.shared().state().topics.keys().cloned().collect()
    }

    /// How many partitions a topic has; 0 where there is none.
    pub fn partitions(&self, name: &str) -> i32 {
        let state = self.shared().state();
        let count = state.topics.get(name).map_or(0, |topic| topic.partitions.len());
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// A topic's id.
    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.shared().state().topics.get(name).map(|topic| TopicId(topic.id))
    }

    /// Places bytes into a log as they are: v2 batches with whatever offsets, holes and bits they have,
    /// empty and control batches, v0 and v1 messages. What they say about producers and transactions is
    /// noted, unchecked.
    ///
    /// # Errors
    /// [`AppendError`] if they are not whole entries, or go back; what comes before the first bad entry is
    /// appended. Or if there is no such partition.
    pub fn append(&self, topic: &str, partition: i32, bytes: Bytes) -> Result<(), AppendError> {
        let given_bytes = bytes.len();
        let entries = stored_entries(bytes)?;
        let whole_bytes: usize = entries.iter().map(StoredEntry::size_bytes).sum();
        self.find(topic, partition, |partition| {
            for entry in entries {
                let (base_offset, end_offset) = (entry.base_offset, partition.log.end_offset());
                if !partition.append(entry) {
                    return Err(AppendError::GoesBack { base_offset, end_offset });
                }
            }
            match given_bytes - whole_bytes {
                0 if given_bytes > 0 => Ok(()),
                left_bytes => Err(AppendError::Incomplete { left_bytes, given_bytes }),
            }
        })?
    }

    /// Appends one v2 batch as a leader does: at the log's end and under its epoch, whatever the batch says
    /// of those. Nothing else is changed or checked.
    ///
    /// # Errors
    /// [`AppendError`] if it is not one whole batch, or there is no such partition.
    pub fn place(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, AppendError> {
        let given_bytes = batch.len();
        let mut entries = stored_entries(batch)?;
        let (Some(entry), true) = (entries.pop(), entries.is_empty()) else {
            return Err(AppendError::Incomplete { left_bytes: given_bytes, given_bytes });
        };
        let placed = self.find(topic, partition, |partition| {
            let base_offset = partition.log.end_offset();
            let leader_epoch = partition.leader_epoch;
            partition.append(entry.moved_to(base_offset, leader_epoch));
            base_offset
        });
        Ok(placed?)
    }

    /// Every data record of a log, in order; markers are left out, aborted records are not.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    ///
    /// # Panics
    /// If the log holds an entry that cannot be read.
    pub fn records(&self, topic: &str, partition: i32) -> Result<Vec<LogRecord>, NoPartition> {
        let mut found = Vec::new();
        for bytes in self.log(topic, partition)? {
            let entry =
                record_batch::split(bytes).next().expect("entries are not empty").expect("was read before");
            if matches!(&entry, Entry::Batch(batch) if batch.header.is_control()) {
                continue;
            }
            let records = record_batch::records(&entry, DECOMPRESSED_BYTES_MAX).expect("records can be read");
            found.extend(records.iter().map(|record| LogRecord::from(record.expect("a record can be read"))));
        }
        Ok(found)
    }

    /// Waits until a log reaches `end_offset`.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub async fn reached(&self, topic: &str, partition: i32, end_offset: i64) -> Result<(), NoPartition> {
        let changed = Arc::new(Notify::new());
        loop {
            let reached = self.find(topic, partition, |partition| {
                partition.watch(&changed);
                partition.log.end_offset() >= end_offset
            });
            if reached? {
                return Ok(());
            }
            changed.notified().await;
        }
    }

    /// The entries of a log from an offset on, as they are stored: nothing is copied.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn entries(
        &self,
        topic: &str,
        partition: i32,
        from_offset: i64,
    ) -> Result<Vec<LogEntry>, NoPartition> {
        let from = |partition: &mut Partition| {
            partition.log.entries_from(from_offset).map(StoredEntry::parts).collect()
        };
        self.find(topic, partition, from)
    }

    /// Every entry of a log, as a fetch reply carries it. Copies the whole log; see [`Cluster::entries`].
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn log(&self, topic: &str, partition: i32) -> Result<Vec<Bytes>, NoPartition> {
        self.find(topic, partition, |partition| partition.log.entries().map(StoredEntry::bytes).collect())
    }

    /// The offset after the last record, replicated or not.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Result<i64, NoPartition> {
        self.find(topic, partition, |partition| partition.log.end_offset())
    }

    /// The first offset that can be read.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn start_offset(&self, topic: &str, partition: i32) -> Result<i64, NoPartition> {
        self.find(topic, partition, |partition| partition.log.start_offset())
    }

    /// The end of what consumers see.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Result<i64, NoPartition> {
        self.find(topic, partition, |partition| partition.high_watermark())
    }

    /// The end of what read_committed consumers see.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> Result<i64, NoPartition> {
        self.find(topic, partition, |partition| partition.last_stable_offset())
    }

    /// Bytes in a log.
    ///
    /// # Errors
    /// [`NoPartition`] if there is no such partition.
    pub fn log_bytes(&self, topic: &str, partition: i32) -> Result<usize, NoPartition> {
        self.find(topic, partition, |partition| partition.log.size_bytes())
    }

    /// Moves the log start, as DeleteRecords and retention do.
    pub fn delete_records(&self, topic: &str, partition: i32, before_offset: i64) {
        let forgets = !self.profile().stateless_accepts_any_sequence();
        self.with(topic, partition, |partition| partition.delete_before(before_offset, forgets));
    }

    /// Runs the cleaner over a partition, whatever its topic's `cleanup.policy`: of each key only the last
    /// record stays, batches keep their outer offsets, and a tombstone gets a delete horizon or goes.
    ///
    /// # Panics
    /// If the log holds a batch that cannot be read, or there is no such partition.
    pub fn compact(&self, topic: &str, partition: i32) {
        let now_ms = self.now_ms();
        let sets_horizons = self.profile().sets_delete_horizons();
        let delete_retention_ms = {
            let state = self.shared().state();
            state.topics.get(topic).map_or(0, |topic| state.delete_retention_ms(topic))
        };
        let cleaned = self.with(topic, partition, |partition| {
            partition.compact(now_ms, delete_retention_ms, sets_horizons)
        });
        if let Err(error) = cleaned {
            panic!("cannot compact {topic}-{partition}: {error}");
        }
    }

    /// The broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.with(topic, partition, |partition| partition.leader)
    }

    /// The leader epoch of a partition.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> i32 {
        self.with(topic, partition, |partition| partition.leader_epoch)
    }

    /// Makes another replica the leader, under a new epoch; a clean election.
    ///
    /// # Panics
    /// If `broker` has no replica of the partition, or does not run.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) {
        self.with(topic, partition, |partition| {
            let replica = partition.replica(broker).filter(|replica| replica.online);
            assert!(replica.is_some(), "broker {broker} has no replica of the partition that runs");
            partition.elect(broker);
        });
    }

    /// Loses everything from `offset` on, as an unclean election of a replica that had no more: another
    /// replica leads, where there is one, under a new epoch, and remembers of producers what is in the log.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        self.with(topic, partition, |partition| lose_from(partition, offset));
    }

    /// Every replica forgets what it remembers of producers, as after the expiry or by a bad snapshot.
    pub fn forget_producers(&self, topic: &str, partition: i32) {
        self.with(topic, partition, |partition| {
            partition.replicas.iter_mut().for_each(|replica| replica.producers.clear());
        });
    }

    /// Every replica forgets one producer id.
    pub fn forget_producer(&self, topic: &str, partition: i32, producer_id: i64) {
        self.with(topic, partition, |partition| {
            partition.replicas.iter_mut().for_each(|replica| replica.producers.forget(producer_id));
        });
    }

    /// What brokers do now and then: producers whose last record is too old by its own time are forgotten,
    /// and so are records that `retention.ms` does not keep.
    pub fn sweep(&self) {
        let now_ms = self.now_ms();
        let state = &mut *self.shared().state();
        let expiration_ms = state.producer_expiration_ms();
        let forgets = !state.profile.stateless_accepts_any_sequence();
        let retentions: Vec<i64> = state.topics.values().map(|topic| state.retention_ms(topic)).collect();
        for (topic, retention_ms) in state.topics.values_mut().zip(retentions) {
            for partition in &mut topic.partitions {
                for replica in &mut partition.replicas {
                    replica.producers.expire(now_ms, expiration_ms);
                }
                if retention_ms >= 0 {
                    let kept =
                        |entry: &&StoredEntry| now_ms.saturating_sub(entry.max_timestamp) <= retention_ms;
                    let end_offset = partition.log.end_offset();
                    let first_kept =
                        partition.log.entries().find(kept).map_or(end_offset, |entry| entry.base_offset);
                    partition.delete_before(first_kept.min(partition.high_watermark()), forgets);
                }
            }
        }
    }

    /// Stops a follower from copying what the leader appends. It stays in the in-sync set, so the high
    /// watermark stands and acks=all waits.
    pub fn pause_follower(&self, topic: &str, partition: i32, broker: i32) {
        self.with(topic, partition, |partition| {
            if let Some(replica) = partition.replica_mut(broker) {
                replica.follows = false;
            }
        });
    }

    /// Lets it copy again, and catch up at once.
    pub fn resume_follower(&self, topic: &str, partition: i32, broker: i32) {
        self.with(topic, partition, |partition| {
            if let Some(replica) = partition.replica_mut(broker) {
                replica.follows = true;
            }
            partition.catch_up();
        });
    }

    /// Takes a follower out of the in-sync set, as a leader does with one that is behind for too long.
    pub fn shrink_isr(&self, topic: &str, partition: i32, broker: i32) {
        self.with(topic, partition, |partition| {
            if let Some(replica) = partition.replica_mut(broker) {
                replica.follows = false;
                replica.in_sync = false;
            }
            partition.wake();
        });
    }

    /// The offset that a group has committed.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let at = model::TopicPartition::new(topic, partition);
        self.shared().state().groups.committed(group, &at).map(|committed| committed.offset)
    }

    /// A producer id that nobody has, and its epoch: what InitProducerId would have given.
    pub fn allocate_producer_id(&self) -> (i64, i16) {
        (self.shared().state().allocate_producer_id(), 0)
    }

    /// The last sequence that the leader remembers of a producer id: `None` where it has no state.
    pub fn last_sequence(&self, topic: &str, partition: i32, producer_id: i64) -> Option<i32> {
        self.with(topic, partition, |partition| {
            partition.leading_producers().and_then(|producers: &Producers| {
                producers.get(producer_id).map(crate::producers::Producer::last_sequence)
            })
        })
    }

    fn find<T>(
        &self,
        topic: &str,
        partition: i32,
        act: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, NoPartition> {
        let mut state = self.shared().state();
        let found = State::partition_mut(&mut state, topic, partition);
        found.map(act).ok_or_else(|| NoPartition { topic: topic.to_owned(), partition })
    }

    /// As [`Cluster::find`], for what only tests do.
    fn with<T>(&self, topic: &str, partition: i32, act: impl FnOnce(&mut Partition) -> T) -> T {
        self.find(topic, partition, act).unwrap_or_else(|missing| panic!("{missing}"))
    }
}

/// Deletes a topic and creates it anew; `None` if there is none.
pub(crate) fn recreate(state: &mut State, name: &str) -> Option<()> {
    let topic = state.topics.get(name)?;
    let replicas = |partition: &Partition| partition.replicas.iter().map(|replica| replica.broker).collect();
    let assignments: Vec<Vec<i32>> = topic.partitions.iter().map(replicas).collect();
    let overrides = topic.overrides.clone();
    state.delete_topic(name);
    let created = state.create_topic(&TopicName::from(name), -1, -1, &assignments, overrides);
    created.expect("the same topic was accepted before");
    Some(())
}

/// See [`Cluster::truncate`].
pub(crate) fn lose_from(partition: &mut Partition, offset: i64) {
    partition.cut(offset);
    let present = partition.leader;
    let others = partition.replicas.iter().filter(|replica| replica.online);
    let next = others.map(|replica| replica.broker).find(|broker| Some(*broker) != present).or(present);
    if let Some(next) = next {
        partition.elect(next);
    }
}
