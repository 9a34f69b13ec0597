//! Progress in a topic, as a distributed Connect worker keeps it (`offset.storage.topic`).
//!
//! Keys and values are those of the file, by the rules of Connect: compacted, a key where Java's producers put it, the
//! last record of a key counts, null takes it back. So either goes on from the other's. What is not this flow's is
//! neither read nor touched.
//!
//! ```text
//! load   read all ─▶ claim every partition in a new epoch ─▶ read on to the end
//! save   look: the same topic, no shorter? ─▶ what changed, a batch a partition, acks=all ─▶ all acknowledged
//! ```
//!
//! **Order.** A request whose answer was lost may still be appended, after newer ones: an old position would then stand
//! where a new one was acknowledged, or a clean stop that never was. An old position costs only a look at the
//! destination; but after a step back, an `offsets reset` or a new producer id it is not old, it is wrong. So batches are
//! those of an idempotent producer: within a process one whose outcome is unknown goes again as it was, before any newer
//! one to its partition, and is taken once. Between processes each start claims the producer id that the last one wrote
//! under, in the next epoch, with a record in every partition (`hold`); brokers refuse from then on whatever the last
//! one sent, and what is read after that is final. Reading back alone would not do: what is late may be later than
//! that. Nor is a transaction needed, whose coordinator asks for rights of its own.
//!
//! **Two processes.** The claim is at the same time what the lock is for the file, but that the later one wins: the
//! earlier one's saves are refused from then on, and with the first of them it ends its copying and says so.
//!
//! A topic that was deleted, created anew or shortened shows at the next save, by its id or by its ends, and is
//! claimed and written again from memory: this flow's part of it.

mod calls;
mod hold;
mod log;
mod reading;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::{Cluster, Connection};
use model::{BrokerId, Offset, TopicId};
use offsets::Stored;
use offsets::connect_file::Entry;
use pipeline::{OffsetStore, StoreError};
use properties::OffsetTopicSettings;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::Logins;
use crate::connector::offset_topic_options;
use calls::{Fate, Fault, Shape, Topic};
use hold::{Claims, Lane};
use reading::Reading;

/// How long a first look, and a claim at the start, may wait for what passes by itself.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// The same for the first connection: what is wrong there is wrong in the settings more often than in a broker.
const REACH_PATIENCE: Duration = Duration::from_secs(5);
/// After how long it is said that something is tried again.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a topic is looked for before it is believed that there is none: a broker that has just started, or that
/// has not heard of it, knows none either.
const ABSENT_PATIENCE: Duration = Duration::from_secs(2);
/// Claims of one load, where several processes start at the same time.
const CLAIMS_MAX: u32 = 5;

/// The offsets topic of one worker.
#[derive(Clone, Debug)]
pub struct OffsetTopic {
    topic: Arc<Topic>,
    /// How long a save may take before it is given up.
    save_patience: Duration,
    runtime: Handle,
    flows: Arc<std::sync::Mutex<HashMap<String, Arc<Mutex<Flow>>>>>,
}

impl OffsetTopic {
    /// Reaches the cluster and looks at the topic. Where there is none, nothing is created yet.
    ///
    /// # Errors
    /// [`StoreError`] if the cluster cannot be reached, or the topic is not one that keeps what it is told.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(
        settings: &OffsetTopicSettings,
        logins: &Logins,
        save_patience: Duration,
    ) -> Result<OffsetTopic, StoreError> {
        let cluster = Cluster::new(offset_topic_options(settings, logins));
        let topic = Topic::new(cluster, settings.clone());
        let look = async || match topic.shape().await? {
            Some(_) => topic.check_policy().await,
            None => Ok(()),
        };
        patiently(REACH_PATIENCE, look).await.map_err(|fault| told(settings, "", fault))?;
        Ok(OffsetTopic {
            topic: Arc::new(topic),
            save_patience,
            runtime: Handle::current(),
            flows: Arc::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.topic.settings.topic.as_str()
    }

    /// What the topic says of the flow named `flow`, also while a worker has it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or what it says cannot be used.
    pub async fn peek(&self, flow: &str) -> Result<Stored, StoreError> {
        self.flow(flow).lock().await.peek().await
    }

    /// Takes the flow named `flow` for this process, and gives what the topic says of it: nobody else changes that
    /// until it is taken again.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or written, or what it says cannot be used.
    pub async fn claim(&self, flow: &str) -> Result<Stored, StoreError> {
        self.flow(flow).lock().await.load().await
    }

    /// Makes the topic say of the flow named `flow` what `stored` says and nothing else. Durable when it returns. A
    /// worker that is running it is told at its next save that it has lost the topic.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or written. A part may be stored then: to be said again.
    pub async fn replace(&self, flow: &str, stored: &Stored) -> Result<(), StoreError> {
        let shared = self.flow(flow);
        let mut shared = shared.lock().await;
        if shared.wanted.is_none() {
            shared.load().await?;
        }
        let entries = shared.wanted.as_deref().unwrap_or_default();
        let present = offsets::json::flow(entries, flow).unwrap_or_default();
        // A position counts under its producer id, and each step is durable before the next: nothing that is stored in
        // between, or stays so, brings one id's positions together with another.
        let id = |stored: &Stored| stored.producer.as_ref().map(|producer| producer.producer_id);
        if id(&present) != id(stored) {
            let mut between = present;
            between.lanes.retain(|partition, lane| stored.lanes.get(partition) == Some(lane));
            shared.save(|entries| offsets::json::replace(entries, flow, &between)).await?;
            between.producer.clone_from(&stored.producer);
            shared.save(|entries| offsets::json::replace(entries, flow, &between)).await?;
        }
        shared.save(|entries| offsets::json::replace(entries, flow, stored)).await
    }

    /// The part of the topic that belongs to the flow named `flow`. It is this process's once it was loaded, until
    /// another one loads it.
    pub fn store(&self, flow: &str) -> TopicStore {
        TopicStore { flow: self.flow(flow), name: flow.to_owned(), runtime: self.runtime.clone() }
    }

    fn flow(&self, name: &str) -> Arc<Mutex<Flow>> {
        // Nothing in here can panic half-way.
        let mut flows = self.flows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let new =
            || Arc::new(Mutex::new(Flow::new(Arc::clone(&self.topic), name.to_owned(), self.save_patience)));
        Arc::clone(flows.entry(name.to_owned()).or_insert_with(new))
    }
}

/// The progress of one flow. Its calls block, outside of the runtime's own threads; where the runtime ends meanwhile
/// they end with an error.
#[derive(Debug)]
pub struct TopicStore {
    flow: Arc<Mutex<Flow>>,
    name: String,
    runtime: Handle,
}

impl TopicStore {
    /// Runs `work` on the runtime, where the connections live, and waits for it.
    fn wait<T, F>(
        &self,
        work: impl FnOnce(OwnedMutexGuard<Flow>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (sender, result) = oneshot::channel();
        let flow = Arc::clone(&self.flow);
        self.runtime.spawn(async move {
            // Nobody waits any more only where the thread that did has ended.
            let _ = sender.send(work(flow.lock_owned().await).await);
        });
        result.blocking_recv().unwrap_or_else(|_| Err(StoreError::Failed(String::from("the program ends"))))
    }
}

impl OffsetStore for TopicStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.wait(|mut flow| async move { flow.load().await })
    }

    fn save(&mut self, changes: &Stored) -> Result<(), StoreError> {
        let (name, changes) = (self.name.clone(), changes.clone());
        self.wait(move |mut flow| async move {
            if changes == Stored::default() {
                return flow.prove().await;
            }
            flow.save(|entries| offsets::json::merge(entries, &name, &changes)).await
        })
    }

    fn waits(&self) -> bool {
        true
    }
}

/// One flow's part of the topic.
#[derive(Debug)]
struct Flow {
    topic: Arc<Topic>,
    name: String,
    save_patience: Duration,
    /// Of this process among those that claim the same.
    process: String,
    read: Option<Reading>,
    /// What the topic is to say. None before it was loaded.
    wanted: Option<Vec<Entry>>,
    /// The newest epochs that this process has sent a claim in.
    claimed: Claims,
    /// A claim that is not acknowledged everywhere.
    taking: Option<Taking>,
    /// What is held.
    hold: Option<Hold>,
    /// Another process took over: nothing may be written any more.
    taken: bool,
    /// Something is to be written even if nothing has changed.
    to_prove: bool,
    connections: HashMap<BrokerId, Connection>,
    /// For who asks what had no answer.
    doing: &'static str,
}

#[derive(Debug)]
struct Taking {
    claims: Claims,
    /// Of each id claimed.
    lanes: BTreeMap<i64, Vec<Lane>>,
    id: Option<TopicId>,
}

/// The right to write, under one producer id.
#[derive(Debug)]
struct Hold {
    id: Option<TopicId>,
    /// By partition.
    lanes: Vec<Lane>,
}

impl Flow {
    fn new(topic: Arc<Topic>, name: String, save_patience: Duration) -> Flow {
        let process = format!("{:016x}", RandomState::new().build_hasher().finish());
        Flow {
            topic,
            name,
            save_patience,
            process,
            read: None,
            wanted: None,
            claimed: Claims::new(),
            taking: None,
            hold: None,
            taken: false,
            to_prove: false,
            connections: HashMap::new(),
            doing: "",
        }
    }

    async fn peek(&mut self) -> Result<Stored, StoreError> {
        let mut tries = Tries::new(START_PATIENCE);
        loop {
            let done = timeout_at(self.deadline(tries.began, START_PATIENCE), self.look()).await;
            if self.tried(&mut tries, done).await? {
                break;
            }
        }
        self.understand()
    }

    /// Claims the flow and says what is stored of it.
    async fn load(&mut self) -> Result<Stored, StoreError> {
        let mut tries = Tries::new(START_PATIENCE);
        while self.hold.is_none() {
            let done = timeout_at(self.deadline(tries.began, START_PATIENCE), self.take_over()).await;
            self.tried(&mut tries, done).await?;
        }
        let stored = self.understand()?;
        if self.wanted.is_none() {
            self.wanted = Some(self.entries());
        }
        Ok(stored)
    }

    /// Makes sure that no other process has taken over: what is stored last is stored again, which only the holder can.
    async fn prove(&mut self) -> Result<(), StoreError> {
        self.to_prove = true;
        let done = self.save(|_| {}).await;
        self.to_prove = false;
        done
    }

    /// Applies `change` to what the topic is to say, and makes it say so.
    async fn save(&mut self, change: impl FnOnce(&mut Vec<Entry>) + Send) -> Result<(), StoreError> {
        if self.taken {
            return Err(told(&self.topic.settings, &self.name, Fault::Taken));
        }
        let Some(wanted) = &mut self.wanted else {
            return Err(StoreError::Failed(String::from("the offsets topic was not read yet")));
        };
        change(wanted);
        let mut tries = Tries::new(self.save_patience);
        loop {
            let deadline = self.deadline(tries.began, self.save_patience);
            let done = timeout_at(deadline, self.write(deadline)).await;
            if self.tried(&mut tries, done).await? {
                return Ok(());
            }
        }
    }

    /// Whether it is done; waits before another try where one may help and there is time.
    async fn tried(
        &mut self,
        tries: &mut Tries,
        done: Result<Result<(), Fault>, Elapsed>,
    ) -> Result<bool, StoreError> {
        let fault = match done {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(fault)) => fault,
            Err(_) => {
                // Whoever did not answer is asked on a new connection; what it was sent goes again as it was.
                self.connections.clear();
                let seconds = tries.began.elapsed().as_secs_f64();
                let what =
                    format!("no answer within {seconds:.1} s while {}; see to its brokers", self.doing);
                tries.last.take().unwrap_or(Fault::Passing(what))
            }
        };
        tries.last = Some(fault.clone());
        self.taken |= fault == Fault::Taken;
        let deadline = self.deadline(tries.began, tries.patience);
        if let Fault::Passing(what) = &fault
            && tries.began.elapsed() >= TELL_AFTER
            && !std::mem::replace(&mut tries.told, true)
        {
            warn!(topic = %self.topic.settings.topic, connector = self.name, doing = self.doing, error = what, "the offsets topic does not answer as it should; trying again");
        }
        pause_after(fault, deadline).await.map_err(|fault| told(&self.topic.settings, &self.name, fault))?;
        Ok(false)
    }

    /// Until the log says what is wanted.
    async fn write(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.doing = "looking whether it is the same (Metadata, ListOffsets)";
        let mut shape = self.same_topic().await?;
        loop {
            if self.hold.is_none() {
                self.take_over().await?;
                shape = self.topic.shape().await?.ok_or_else(gone)?;
            }
            let wanted = self.wanted.as_deref().unwrap_or_default();
            let mut changed = match &self.read {
                Some(read) => read.table.differences(&self.name, wanted),
                None => Vec::new(),
            };
            if std::mem::take(&mut self.to_prove)
                && changed.is_empty()
                && let (Some(read), Some(entry)) = (&self.read, wanted.first())
            {
                changed.extend(read.table.again(entry));
            }
            let Some(hold) = &mut self.hold else { continue };
            fill(&mut hold.lanes, &changed);
            if hold.lanes.iter().all(|lane| lane.unsettled.is_none()) {
                return Ok(());
            }
            self.doing = "writing it (Produce)";
            let (appended, problem) =
                settle(&self.topic, &shape, &mut hold.lanes, &mut self.connections, left(deadline)).await;
            if let Some(read) = &mut self.read {
                for (partition, entry, offset) in appended {
                    read.table.appended(&entry, partition, offset);
                }
            }
            match problem {
                None => {}
                Some(Unsettled::Fault(fault)) => return Err(fault),
                Some(Unsettled::Fenced) => return Err(Fault::Taken),
                Some(Unsettled::Lost(what)) => {
                    warn!(topic = %self.topic.settings.topic, connector = self.name, what, "the offsets topic lost records; claiming and writing it again");
                    self.lose();
                }
            }
        }
    }

    /// Gives up the hold, and the memory of the topic: it may be of records that are gone.
    fn lose(&mut self) {
        self.hold = None;
        self.taking = None;
        self.read = None;
    }

    /// When what began at `began` is given up. A topic that is read again has as long as at the start, and while it is
    /// read on: the log has an end.
    fn deadline(&self, began: Instant, patience: Duration) -> Instant {
        match (&self.hold, &self.read) {
            (Some(_), _) => began + patience,
            (None, Some(read)) => read.progressed.max(began) + START_PATIENCE,
            (None, None) => began + START_PATIENCE,
        }
    }

    /// Looks whether the topic is the one that is held, with all that was acknowledged; else gives up the hold.
    async fn same_topic(&mut self) -> Result<Shape, Fault> {
        let shape = match self.topic.shape().await? {
            Some(shape) => shape,
            None => {
                if self.hold.is_some() {
                    warn!(topic = %self.topic.settings.topic, connector = self.name, "the offsets topic is gone; creating and writing it again");
                }
                self.lose();
                self.topic.create().await?;
                self.topic.shape().await?.ok_or_else(gone)?
            }
        };
        let Some(hold) = &self.hold else { return Ok(shape) };
        let what = if hold.id != shape.id {
            Some("created anew")
        } else if usize::try_from(shape.partitions()).ok() != Some(hold.lanes.len()) {
            Some("given another number of partitions")
        } else {
            let ends = self.topic.ends(&shape).await?;
            let shorter = hold.lanes.iter().zip(ends).any(|(lane, end)| end < lane.end);
            shorter.then_some("shortened")
        };
        if let Some(what) = what {
            warn!(topic = %self.topic.settings.topic, connector = self.name, what, "the offsets topic is not as it was; claiming and writing it again");
            self.lose();
        }
        Ok(shape)
    }

    /// Reads on to the end. Where there is no topic, there is nothing.
    async fn look(&mut self) -> Result<(), Fault> {
        if self.hold.is_some() {
            // What it says is known: this process alone writes it.
            return Ok(());
        }
        self.doing = "looking for it (Metadata)";
        let began = Instant::now();
        loop {
            if let Some(shape) = self.topic.shape().await? {
                return self.read_on(&shape).await;
            }
            if self.topic.is_absent.load(Ordering::Relaxed) || began.elapsed() >= ABSENT_PATIENCE {
                // For the other connectors, too.
                self.topic.is_absent.store(true, Ordering::Relaxed);
                self.read = None;
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    async fn read_on(&mut self, shape: &Shape) -> Result<(), Fault> {
        let partitions = usize::try_from(shape.partitions()).unwrap_or(0);
        let same = |read: &Reading| read.id == shape.id && read.positions.len() == partitions;
        let read = match &mut self.read {
            Some(read) if same(read) => read,
            read => read.insert(Reading::new(shape.id, shape.partitions())),
        };
        self.doing = "reading it (ListOffsets, Fetch)";
        self.topic.read(&self.name, shape, read).await
    }

    /// Claims the flow in every partition, and reads what is final then.
    async fn take_over(&mut self) -> Result<(), Fault> {
        for _ in 0..CLAIMS_MAX {
            self.doing = "looking for it (Metadata, DescribeConfigs)";
            let Some(shape) = self.topic.shape().await? else {
                self.topic.create().await?;
                return Err(gone());
            };
            self.topic.check_policy().await?;
            let partitions = shape.partitions();
            let stale = |taking: &Taking| {
                taking.id != shape.id
                    || taking.lanes.values().any(|lanes| i32::try_from(lanes.len()) != Ok(partitions))
            };
            if self.taking.as_ref().is_none_or(stale) {
                self.read_on(&shape).await?;
                self.taking = Some(self.new_claims(&shape).await?);
            }
            self.doing = "claiming it (Produce)";
            let Some(taking) = &mut self.taking else { continue };
            let mut overtaken = false;
            for lanes in taking.lanes.values_mut() {
                let patience = self.save_patience;
                match settle(&self.topic, &shape, lanes, &mut self.connections, patience).await {
                    (_, None) => {}
                    (_, Some(Unsettled::Fault(fault))) => return Err(fault),
                    (_, Some(Unsettled::Fenced | Unsettled::Lost(_))) => overtaken = true,
                }
            }
            if !overtaken {
                self.read_on(&shape).await?;
                let positions = self.read.as_ref().map(|read| &read.positions[..]).unwrap_or_default();
                if taking_lanes_beyond(self.taking.as_ref(), positions) {
                    // Not replicated yet, or lost: another claim tells.
                    self.taking = None;
                    return Err(Fault::Passing(String::from(
                        "it does not show all that it acknowledged yet; see to its brokers",
                    )));
                }
            }
            let Some(mut taking) = self.taking.take() else { continue };
            if !overtaken
                && hold::holds(&self.writers(), &taking.claims, &self.process)
                && let Some(id) = writing_id(&taking.claims)
                && let Some(lanes) = taking.lanes.remove(&id)
            {
                let positions = self.read.iter().flat_map(|read| &read.positions);
                let mut lanes = lanes;
                lanes.iter_mut().zip(positions).for_each(|(lane, end)| lane.end = *end);
                debug!(topic = %self.topic.settings.topic, connector = self.name, claims = ?taking.claims, "the offsets topic is claimed");
                self.hold = Some(Hold { id: shape.id, lanes });
                return Ok(());
            }
            debug!(topic = %self.topic.settings.topic, connector = self.name, "another process claims it too");
        }
        Err(Fault::Passing(String::from(
            "another process claims the same connector's progress at the same time; stop one",
        )))
    }

    async fn new_claims(&mut self, shape: &Shape) -> Result<Taking, Fault> {
        let writers = self.writers();
        if self.wanted.is_some() && hold::is_taken(&writers, &self.claimed, &self.process) {
            return Err(Fault::Taken);
        }
        let mut claims = hold::claims(&writers, &self.claimed);
        if claims.values().all(|epoch| *epoch == hold::EPOCH_LAST) {
            self.doing = "asking for a producer id (InitProducerId)";
            let allocated = self.topic.cluster.init_producer_id().await;
            let (id, epoch) = allocated.map_err(|error| self.topic.failed(&error))?;
            claims.insert(id.0, epoch);
        }
        let now_ms = now_ms();
        let lanes = claims.iter().map(|(id, epoch)| {
            (*id, hold::claim_lanes(&self.name, (*id, *epoch), &self.process, shape.partitions(), now_ms))
        });
        let taking = Taking { lanes: lanes.collect(), id: shape.id, claims };
        self.claimed.extend(taking.claims.iter().map(|(id, epoch)| (*id, *epoch)));
        Ok(taking)
    }

    fn writers(&self) -> offsets::writers::Writers {
        self.read.as_ref().map(|read| read.table.writers(&self.name)).unwrap_or_default()
    }

    fn entries(&self) -> Vec<Entry> {
        self.read.as_ref().map(|read| read.table.entries(&self.name)).unwrap_or_default()
    }

    fn understand(&self) -> Result<Stored, StoreError> {
        let Some(read) = &self.read else { return Ok(Stored::default()) };
        read.table.stored(&self.name).map_err(|(error, partition, offset)| {
            StoreError::Failed(format!(
                "offsets topic `{}`, partition {partition}, offset {offset}: {error}; write an earlier value or null \
                 under this key (with null a partition is copied from its start, and ACLs are followed no more), or use \
                 the paralog that wrote it",
                self.topic.settings.topic
            ))
        })
    }
}

/// Of one call, until it is given up.
struct Tries {
    began: Instant,
    patience: Duration,
    last: Option<Fault>,
    /// That it is tried again.
    told: bool,
}

impl Tries {
    fn new(patience: Duration) -> Tries {
        Tries { began: Instant::now(), patience, last: None, told: false }
    }
}

/// Why not everything sent is acknowledged.
enum Unsettled {
    Fault(Fault),
    /// A newer epoch is there.
    Fenced,
    /// The log, or what brokers knew of the producer, is not what it was.
    Lost(String),
}

/// The producer id that is written under from now on.
fn writing_id(claims: &Claims) -> Option<i64> {
    claims.iter().rev().find(|(_, epoch)| **epoch < hold::EPOCH_LAST).map(|(id, _)| *id)
}

/// Whether a claim was acknowledged beyond what was read: what was read is not final then.
fn taking_lanes_beyond(taking: Option<&Taking>, positions: &[Offset]) -> bool {
    let mut lanes = taking.into_iter().flat_map(|taking| taking.lanes.values());
    lanes.any(|lanes| lanes.iter().zip(positions).any(|(lane, position)| *position < lane.end))
}

/// Gives each record to its partition's lane, as far as it has room.
fn fill(lanes: &mut [Lane], records: &[(i32, Entry)]) {
    let mut by_partition: HashMap<usize, Vec<&Entry>> = HashMap::new();
    for (partition, record) in records {
        by_partition.entry(usize::try_from(*partition).unwrap_or(0)).or_default().push(record);
    }
    let now_ms = now_ms();
    for (partition, records) in by_partition {
        if let Some(lane) = lanes.get_mut(partition) {
            lane.fill(&records, now_ms);
        }
    }
}

/// Sends what is unsettled once. Gives what was appended, and the worst of what was not.
async fn settle(
    topic: &Topic,
    shape: &Shape,
    lanes: &mut [Lane],
    connections: &mut HashMap<BrokerId, Connection>,
    timeout: Duration,
) -> (Vec<(i32, Entry, Offset)>, Option<Unsettled>) {
    let mut batches = Vec::new();
    for (partition, lane) in (0..).zip(lanes.iter_mut()) {
        if let Some(sent) = &mut lane.unsettled {
            sent.tries = sent.tries.saturating_add(1);
            batches.push((partition, sent.batch.clone()));
        }
    }
    let mut all = Vec::new();
    let mut worst = None;
    for (partition, fate) in topic.append(shape, batches, connections, timeout).await {
        let Some(lane) = usize::try_from(partition).ok().and_then(|at| lanes.get_mut(at)) else { continue };
        let problem = match fate {
            Fate::Appended(base) => match lane.appended(base) {
                Ok(records) => {
                    all.extend(records.into_iter().map(|(record, at)| (partition, record, at)));
                    continue;
                }
                Err(base) => Unsettled::Lost(format!("partition {partition} went on at offset {base}")),
            },
            Fate::Open(what) => Unsettled::Fault(Fault::Passing(what)),
            Fate::Refused(what) => {
                lane.refused();
                Unsettled::Fault(Fault::Stays(what))
            }
            Fate::TooLarge(what) if lane.too_large() => Unsettled::Fault(Fault::Passing(what)),
            Fate::TooLarge(what) => Unsettled::Fault(Fault::Stays(what)),
            Fate::Fenced => Unsettled::Fenced,
            Fate::OutOfOrder(error) => Unsettled::Lost(format!("partition {partition}: {error}")),
        };
        let rank = |problem: &Unsettled| match problem {
            Unsettled::Fault(Fault::Passing(_)) => 0,
            Unsettled::Fault(_) => 1,
            Unsettled::Lost(_) => 2,
            Unsettled::Fenced => 3,
        };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&problem)) {
            worst = Some(problem);
        }
    }
    (all, worst)
}

/// Tries `work` again until it is done, cannot be, or `patience` is over.
async fn patiently(
    patience: Duration,
    mut work: impl AsyncFnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let deadline = Instant::now() + patience;
    let seconds = patience.as_secs();
    let mut last = Fault::Passing(format!(
        "no answer within {seconds} s to Metadata or DescribeConfigs; see to its brokers"
    ));
    loop {
        match timeout_at(deadline, work()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(fault)) => {
                last = fault.clone();
                pause_after(fault, deadline).await?;
            }
            Err(_) => return Err(last),
        }
    }
}

/// Waits a little where another try may help and there is time for one; else gives the fault back.
async fn pause_after(fault: Fault, deadline: Instant) -> Result<(), Fault> {
    match fault {
        Fault::Passing(_) if Instant::now() + PAUSE < deadline => {
            sleep(PAUSE).await;
            Ok(())
        }
        fault => Err(fault),
    }
}

fn gone() -> Fault {
    Fault::Passing(String::from("the brokers do not tell of it yet"))
}

fn told(settings: &OffsetTopicSettings, flow: &str, fault: Fault) -> StoreError {
    let topic = &settings.topic;
    match fault {
        Fault::Passing(what) | Fault::Stays(what) => {
            StoreError::Failed(format!("offsets topic `{topic}`: {what}"))
        }
        Fault::Taken => StoreError::Taken(format!(
            "offsets topic `{topic}`: another process has taken over the progress of connector `{flow}` (a second \
             worker, or `paralog offsets`)"
        )),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(PAUSE)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
