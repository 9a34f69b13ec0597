//! The calls of the offsets topic: find or create it, read it, append to it. Decides nothing but what may be tried
//! again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use client::{
    CallError, Class, Cluster, Connection, ErrorCode, FetchOptions, FetchPartition, Fetched, Fetcher,
    NewTopic, OffsetSpec, ProduceBatch, ProduceReply, Purpose, Refusal, Wanted, classify,
};
use model::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use properties::OffsetTopicSettings;
use record_batch::{Batch, HEADER_BYTES};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::log::Unreadable;
use super::reading::Reading;
use crate::start_up::chain;

/// Bytes of one fetch.
const FETCH_BYTES: usize = 8 << 20;
/// How long a broker may wait for a transaction to end, and how often it is asked.
const TRANSACTION_WAIT: Duration = Duration::from_millis(250);
const TRANSACTION_WAITS: u32 = 8;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It may pass by itself.
    Passing(String),
    /// Somebody must do something.
    Stays(String),
    /// Another process writes this flow's progress since.
    Taken,
}

/// The topic, on its cluster.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) cluster: Cluster,
    pub(super) settings: OffsetTopicSettings,
    /// It was looked for, and there was none.
    pub(super) is_absent: AtomicBool,
}

/// The topic as it is now.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) id: Option<TopicId>,
    /// By partition.
    leaders: Vec<BrokerId>,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the log, from this offset on where that is said.
    Appended(Option<Offset>),
    /// It may be, or will be; or certainly is not, and may be sent again.
    Open(String),
    /// It is not, and will not be as it is.
    Refused(String),
    /// So it is, for its size.
    TooLarge(String),
    /// A newer epoch of its producer is there.
    Fenced,
    /// Its sequence is not the one that is due.
    OutOfOrder(ErrorCode),
}

impl Shape {
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.leaders.len()).unwrap_or(i32::MAX)
    }

    fn by_leader(&self) -> BTreeMap<BrokerId, Vec<i32>> {
        let mut by_leader: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in (0..).zip(&self.leaders) {
            by_leader.entry(*leader).or_default().push(partition);
        }
        by_leader
    }
}

impl Topic {
    pub(super) fn new(cluster: Cluster, settings: OffsetTopicSettings) -> Topic {
        Topic { cluster, settings, is_absent: AtomicBool::new(false) }
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.settings.topic.as_str(), partition)
    }

    /// The topic as brokers know it; `None` where they know none.
    pub(super) async fn shape(&self) -> Result<Option<Shape>, Fault> {
        let names = [self.settings.topic.clone()];
        let metadata =
            self.cluster.metadata(Wanted::Topics(&names)).await.map_err(|error| self.failed(&error))?;
        let Some(topic) = metadata.topics.into_iter().find(|topic| topic.name == names[0]) else {
            return Err(Fault::Passing(String::from("the brokers do not tell of it")));
        };
        match topic.error {
            None => {}
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => return Ok(None),
            Some(error) => return Err(self.refused("Metadata", error, None)),
        }
        let mut leaders = Vec::new();
        for (expected, partition) in (0..).zip(&topic.partitions) {
            let Some(leader) = partition.leader.filter(|_| partition.partition.0 == expected) else {
                return Err(Fault::Passing(format!(
                    "partition {expected} has no leader; see to its brokers"
                )));
            };
            leaders.push(leader);
        }
        match leaders.is_empty() {
            true => Err(Fault::Passing(String::from("it has no partition yet"))),
            false => Ok(Some(Shape { id: topic.id, leaders })),
        }
    }

    /// Creates it as Connect does. Brokers tell of it a little later.
    pub(super) async fn create(&self) -> Result<(), Fault> {
        let OffsetTopicSettings { topic, partitions, replication_factor, configs, .. } = &self.settings;
        let new = NewTopic {
            name: topic.clone(),
            partitions: *partitions,
            replication_factor: *replication_factor,
            configs: configs.clone(),
        };
        let answers =
            self.cluster.create_topics(&[new], Purpose::Change).await.map_err(|error| self.failed(&error))?;
        for (_, answer) in answers {
            match answer {
                Ok(()) => info!(%topic, partitions, replication_factor, "offsets topic created"),
                Err(Refusal { error: ErrorCode::TOPIC_ALREADY_EXISTS, .. }) => {}
                Err(refusal) if refusal.error == ErrorCode::INVALID_REPLICATION_FACTOR => {
                    return Err(Fault::Stays(format!(
                        "cannot create it with {replication_factor} copies of each partition: {refusal}; set \
                         offset.storage.replication.factor to the number of brokers at most, or start more of them"
                    )));
                }
                Err(refusal) => {
                    let Refusal { error, message } = refusal;
                    return Err(match classify(error) {
                        Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => {
                            self.refused("CreateTopics", error, message.as_deref())
                        }
                        Class::OperatorNeeded | Class::Fatal => Fault::Stays(format!(
                            "cannot create it: {error}{}; create it with cleanup.policy=compact, or change \
                             offset.storage.*",
                            message.map(|message| format!(": {message}")).unwrap_or_default()
                        )),
                    });
                }
            }
        }
        Ok(())
    }

    /// Refuses a topic that forgets by age or size, as Connect does.
    pub(super) async fn check_policy(&self) -> Result<(), Fault> {
        let name = self.settings.topic.clone();
        let described = self.cluster.describe_topic_configs(std::slice::from_ref(&name)).await;
        let described = match described {
            Ok(described) => described,
            Err(CallError::Unsupported { .. }) => return Ok(()),
            Err(error) => return Err(self.failed(&error)),
        };
        for (_, configs) in described {
            let configs = match configs {
                Ok(configs) => configs,
                // Connect goes on without, too: it may be somebody else's right.
                Err(refusal) => {
                    warn!(topic = %name, %refusal, "the offsets topic's settings are not told: see that its cleanup.policy is compact");
                    continue;
                }
            };
            let policy = configs.into_iter().find(|config| config.name == "cleanup.policy");
            if let Some(policy) = policy.and_then(|policy| policy.value)
                && policy != "compact"
            {
                return Err(Fault::Stays(format!(
                    "its cleanup.policy is `{policy}`, which would lose progress in time; set it to compact, or name \
                     another topic in offset.storage.topic"
                )));
            }
        }
        Ok(())
    }

    /// Where each partition's log ends: what is replicated.
    pub(super) async fn ends(&self, shape: &Shape) -> Result<Vec<Offset>, Fault> {
        self.offsets(shape, OffsetSpec::Latest).await
    }

    async fn offsets(&self, shape: &Shape, which: OffsetSpec) -> Result<Vec<Offset>, Fault> {
        let mut asked = JoinSet::new();
        for (leader, partitions) in shape.by_leader() {
            let cluster = self.cluster.clone();
            let partitions: Vec<TopicPartition> =
                partitions.into_iter().map(|partition| self.at(partition)).collect();
            asked.spawn(async move { cluster.list_offsets(leader, &partitions, which, false).await });
        }
        let mut told = vec![None; shape.leaders.len()];
        while let Some(answers) = asked.join_next().await {
            for (partition, answer) in joined(answers).map_err(|error| self.failed(&error))? {
                let offset = answer.map_err(|error| self.refused("ListOffsets", error, None))?;
                if let Some(place) =
                    usize::try_from(partition.partition.0).ok().and_then(|at| told.get_mut(at))
                {
                    *place = Some(offset);
                }
            }
        }
        let told: Option<Vec<Offset>> = told.into_iter().collect();
        told.ok_or_else(|| Fault::Passing(String::from("a broker does not tell the ends of every partition")))
    }

    /// Reads on from where `reading` stands to the present ends, what is committed. The brokers work at the same time, a
    /// fetch asks for all partitions of one. What was read stays where this fails or is dropped: the next call goes on.
    pub(super) async fn read(&self, flow: &str, shape: &Shape, reading: &mut Reading) -> Result<(), Fault> {
        let (starts, ends) = tokio::try_join!(
            self.offsets(shape, OffsetSpec::Earliest),
            self.offsets(shape, OffsetSpec::Latest)
        )?;
        for (at, (start, end)) in starts.into_iter().zip(&ends).enumerate() {
            reading.begin(at, start, *end);
        }
        let Reading { table, positions, progressed, .. } = reading;
        let (sender, mut fetches) = tokio::sync::mpsc::channel(1);
        let mut readers = JoinSet::new();
        for (leader, partitions) in shape.by_leader() {
            let wanted: Vec<_> = partitions
                .into_iter()
                .filter_map(|partition| {
                    let at = usize::try_from(partition).ok()?;
                    let (from, end) = (*positions.get(at)?, *ends.get(at)?);
                    (from < end).then(|| (self.at(partition), from, end))
                })
                .collect();
            let (cluster, sender) = (self.cluster.clone(), sender.clone());
            if !wanted.is_empty() {
                readers.spawn(async move { read_all(&cluster, leader, wanted, &sender).await });
            }
        }
        drop(sender);
        while let Some((fetched, from)) = fetches.recv().await {
            let partition = fetched.partition.partition.0;
            let next = table.take(flow, fetched, from).map_err(|error: Unreadable| {
                Fault::Stays(format!(
                    "partition {partition} cannot be read {}; restore it from another replica or a backup, or have \
                     the records up to there deleted (kafka-delete-records)",
                    chain(&error)
                ))
            })?;
            if let Some(position) = usize::try_from(partition).ok().and_then(|at| positions.get_mut(at)) {
                *position = next.max(*position);
                *progressed = Instant::now();
            }
        }
        while let Some(reader) = readers.join_next().await {
            joined(reader).map_err(|failure| match failure {
                ReadFailure::Call(error) => self.failed(&error),
                // Its beginning moved since it was asked for.
                ReadFailure::Refused(error @ ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    Fault::Passing(format!("Fetch: {error}"))
                }
                ReadFailure::Refused(error) => self.refused("Fetch", error, None),
                ReadFailure::OpenTransaction(partition, from) => Fault::Passing(format!(
                    "partition {partition} cannot be read beyond offset {from} before a transaction of another \
                     producer ends; wait, or end it with kafka-transactions"
                )),
            })?;
        }
        for (position, end) in positions.iter_mut().zip(ends) {
            *position = end.max(*position);
        }
        Ok(())
    }

    /// Sends these batches, one for each partition at most, and says what became of each. `timeout` is for all of it;
    /// connections that did not answer are dropped from `connections`.
    pub(super) async fn append(
        &self,
        shape: &Shape,
        batches: Vec<(i32, Batch)>,
        connections: &mut HashMap<BrokerId, Connection>,
        timeout: Duration,
    ) -> Vec<(i32, Fate)> {
        let mut by_leader: BTreeMap<BrokerId, Vec<(i32, Batch)>> = BTreeMap::new();
        let mut fates = Vec::new();
        for (partition, batch) in batches {
            match usize::try_from(partition).ok().and_then(|at| shape.leaders.get(at)) {
                Some(leader) => by_leader.entry(*leader).or_default().push((partition, batch)),
                None => fates.push((partition, Fate::Open(format!("partition {partition} is gone")))),
            }
        }
        let mut sent = JoinSet::new();
        for (leader, batches) in by_leader {
            let known = connections.remove(&leader).filter(|connection| !connection.is_dead());
            let cluster = self.cluster.clone();
            let wires: Vec<(i32, ProduceBatch)> = batches
                .iter()
                .map(|(partition, batch)| (*partition, wire(self.at(*partition), batch)))
                .collect();
            sent.spawn(async move {
                let partitions: Vec<i32> = wires.iter().map(|(partition, _)| *partition).collect();
                let reply = async {
                    let connection = match known {
                        Some(connection) => connection,
                        None => cluster.connect(leader).await?,
                    };
                    let wires = wires.into_iter().map(|(_, wire)| wire).collect();
                    let reply = connection.produce(wires, timeout).await?;
                    Ok::<_, CallError>((connection, reply))
                };
                (leader, partitions, reply.await)
            });
        }
        while let Some(answer) = sent.join_next().await {
            let (leader, partitions, reply) = answer.unwrap_or_else(|panicked| {
                std::panic::resume_unwind(panicked.into_panic());
            });
            match reply {
                Ok((connection, reply)) => {
                    connections.insert(leader, connection);
                    fates.extend(
                        partitions.into_iter().map(|partition| (partition, self.fate(partition, &reply))),
                    );
                }
                Err(error) => {
                    let fault = match self.failed(&error) {
                        Fault::Passing(what) | Fault::Stays(what) => what,
                        Fault::Taken => String::new(),
                    };
                    fates.extend(
                        partitions.into_iter().map(|partition| (partition, Fate::Open(fault.clone()))),
                    );
                }
            }
        }
        fates
    }

    fn fate(&self, partition: i32, reply: &ProduceReply) -> Fate {
        let Some(produced) = reply.partitions.iter().find(|it| it.partition.partition.0 == partition) else {
            return Fate::Open(format!("the broker says nothing of partition {partition}"));
        };
        match produced.error {
            ErrorCode::NONE => Fate::Appended(produced.base_offset),
            // It is there; before 1.0 it was not said where.
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Fate::Appended(None),
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => Fate::Fenced,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
                Fate::OutOfOrder(produced.error)
            }
            error => {
                let what = match self.refused("Produce", error, produced.message.as_deref()) {
                    Fault::Passing(what) => return Fate::Open(format!("partition {partition}: {what}")),
                    Fault::Stays(what) => what,
                    Fault::Taken => String::new(),
                };
                let what = format!("partition {partition}: {what}");
                match error {
                    ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Fate::TooLarge(what),
                    _ => Fate::Refused(what),
                }
            }
        }
    }

    /// A call that has no answer.
    pub(super) fn failed(&self, error: &CallError) -> Fault {
        let what = chain(error);
        match error {
            CallError::Refused { error, message, api, .. } => {
                self.refused(&format!("{api:?}"), *error, message.as_deref())
            }
            // It may be that the other side's, or our, certificates or passwords are just being changed.
            CallError::Security(_) | CallError::Tls { .. } | CallError::Login { .. } => Fault::Passing(what),
            CallError::Unreachable { attempts, .. }
                if attempts
                    .iter()
                    .any(|attempt| matches!(attempt, CallError::Tls { .. } | CallError::Login { .. })) =>
            {
                Fault::Passing(format!("{what}; see the worker's `security.protocol`, `ssl.*` and `sasl.*`"))
            }
            CallError::Unreachable { .. } | CallError::Connect { .. } | CallError::NotKafka { .. } => {
                let bootstrap = self.settings.cluster.bootstrap.join(",");
                Fault::Passing(format!(
                    "{what}; check that a broker runs at {bootstrap}, the worker's `bootstrap.servers`"
                ))
            }
            CallError::TimedOut { .. }
            | CallError::Closed { .. }
            | CallError::UnknownBroker { .. }
            | CallError::NoController { .. } => Fault::Passing(what),
            CallError::Address { .. }
            | CallError::Unsupported { .. }
            | CallError::Malformed { .. }
            | CallError::Encode { .. } => Fault::Stays(what),
        }
    }

    fn refused(&self, call: &str, error: ErrorCode, message: Option<&str>) -> Fault {
        let said = message.map(|message| format!(": {message}")).unwrap_or_default();
        let what = format!("{call}: {error}{said}");
        let hint = match error {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                "; grant Describe, DescribeConfigs, Read and Write on it, and Create where it is missing"
            }
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
                "; grant IdempotentWrite on the cluster (before Kafka 2.8), and Create where the topic is missing"
            }
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
                "; raise max.message.bytes of the topic to 1048588 or more"
            }
            ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
                "; fewer copies are in sync than min.insync.replicas asks for: see to its brokers"
            }
            ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => {
                "; set message.format.version of the topic to 0.11.0 or later"
            }
            _ => "",
        };
        match classify(error) {
            Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => Fault::Passing(what + hint),
            Class::OperatorNeeded | Class::Fatal => Fault::Stays(what + hint),
        }
    }
}

enum ReadFailure {
    Call(CallError),
    Refused(ErrorCode),
    OpenTransaction(i32, Offset),
}

/// Reads partitions that `leader` leads from an offset to an end each.
async fn read_all(
    cluster: &Cluster,
    leader: BrokerId,
    wanted: Vec<(TopicPartition, Offset, Offset)>,
    fetches: &tokio::sync::mpsc::Sender<(Fetched, Offset)>,
) -> Result<(), ReadFailure> {
    struct Part {
        partition: TopicPartition,
        position: Offset,
        end: Offset,
        /// How far it can be read, as last told: in a session that is told only when it changes.
        stable: Option<Offset>,
    }
    let part = |(partition, position, end)| Part { partition, position, end, stable: None };
    let mut parts: Vec<Part> = wanted.into_iter().map(part).collect();
    let connection = cluster.connect(leader).await.map_err(ReadFailure::Call)?;
    let options = FetchOptions { wait_max: TRANSACTION_WAIT, bytes_min: 1, committed_only: true, rack: None };
    let mut fetcher = Fetcher::new(connection, options);
    let mut waits = 0;
    while !parts.is_empty() {
        let asked: Vec<FetchPartition> = parts
            .iter()
            .map(|part| FetchPartition {
                partition: part.partition.clone(),
                topic_id: None,
                offset: part.position,
                current_leader_epoch: LeaderEpoch::UNKNOWN,
                last_fetched_epoch: LeaderEpoch::UNKNOWN,
                bytes_max: FETCH_BYTES,
            })
            .collect();
        let reply = fetcher.fetch(&asked, FETCH_BYTES, TRANSACTION_WAIT).await.map_err(ReadFailure::Call)?;
        let mut moved = false;
        for fetched in reply.partitions {
            let Some(at) = parts.iter().position(|part| part.partition == fetched.partition) else {
                continue;
            };
            fetched.error.ok_or(()).map_err(ReadFailure::Refused)?;
            let position = parts[at].position;
            parts[at].stable = fetched.last_stable_offset.or(fetched.high_watermark).or(parts[at].stable);
            parts[at].position = next_after(&fetched, position);
            if parts[at].position == position {
                continue;
            }
            moved = true;
            // Who has just had its share is asked for last: a reply has room for so much.
            let part = parts.remove(at);
            if part.position < part.end {
                parts.push(part);
            }
            // A reader that has failed does not take any more: what it has to say comes first.
            if fetches.send((fetched, position)).await.is_err() {
                return Ok(());
            }
        }
        if moved {
            waits = 0;
            continue;
        }
        // Nothing came at all, so there was room for everything: what was there at the end is compacted away.
        parts.retain(|part| part.stable.is_none_or(|stable| stable < part.end));
        waits += 1;
        if let Some(part) = parts.first().filter(|_| waits >= TRANSACTION_WAITS) {
            return Err(ReadFailure::OpenTransaction(part.partition.partition.0, part.position));
        }
    }
    Ok(())
}

/// Where the whole batches of a reply end, or the position itself. A damaged one is the table's to tell.
fn next_after(fetched: &Fetched, position: Offset) -> Offset {
    let entries = record_batch::split(fetched.records.clone());
    entries.fold(position, |next, entry| match entry {
        Ok(entry) => next.max(entry.next_offset()),
        Err(_) => Offset(next.0.saturating_add(1)),
    })
}

fn wire(partition: TopicPartition, batch: &Batch) -> ProduceBatch {
    let header = batch.bytes.first_chunk::<HEADER_BYTES>().expect("a batch begins with a header");
    ProduceBatch { partition, header: *header, payload: batch.payload() }
}

fn joined<T, E>(outcome: Result<Result<T, E>, tokio::task::JoinError>) -> Result<T, E> {
    outcome.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
