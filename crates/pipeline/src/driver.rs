//! The only loop: wait for an event, hand it to the engine, carry out what it asks for.
//!
//! Acting code: everything it does was decided by [`Engine`]. One task owns the engine; calls run in
//! tasks of their own and send back one message each. Blocking work (the offset store, transcoding) runs
//! on the runtime's blocking threads.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::{CallError, Cluster, Connection, FetchOptions, Metadata, Wanted};
use model::{BrokerId, Offset, Routes, TopicName, TopicPartition};
use offsets::{Producer, Stored, StoredLane};
use record_batch::{merge, transcode, transcode_each};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::budget::Budget;
use crate::engine::Engine;
use crate::events::{Action, ConnectionId, Event, LaneKey, Leader, Now, ProducerKey, SendError};
use crate::look::{look_at_destination, look_at_source, read_contents, read_tail};
use crate::options::{Isolation, Options};
use crate::reader::{FetchCommand, read};
use crate::status::Status;
use crate::store::{OffsetStore, StoreError};
use crate::trouble::{Side, Trouble};

/// How often the status is made anew, unless that took more than one in so many parts of this: of ten thousand lanes.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
const STATUS_SHARE: u32 = 100;
/// Tails of the destination's partitions read at the same time.
const TAILS_AT_ONCE: usize = 16;
/// The least epoch of a producer id of ours; the largest is 9,999 more, and short of where brokers see an end.
const EPOCH_MIN: i16 = 20_000;

/// Why a flow's data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// What an earlier run left cannot be read.
    #[error("cannot read the stored progress")]
    Store(#[source] StoreError),
    /// The destination does not answer.
    #[error("cannot reach the destination cluster")]
    Destination(#[source] CallError),
    /// Something was still under way when the time for a clean stop ended.
    #[error(
        "stopped with {lanes} lanes still waiting for the destination; what it has is found at the next start"
    )]
    NotDrained {
        /// Lanes without an answer.
        lanes: usize,
    },
    /// The progress was still being stored when the time for a clean stop ended.
    #[error("stopped before the progress was stored; what the destination has is found at the next start")]
    NotStored,
}

/// The data plane of one flow, running.
#[derive(Debug)]
pub struct Pipeline {
    stop: oneshot::Sender<()>,
    lease: mpsc::UnboundedSender<std::time::Instant>,
    status: watch::Receiver<Arc<Status>>,
    task: JoinHandle<Result<(), PipelineError>>,
}

/// What reaches the loop.
pub(crate) enum Message {
    Event(Event),
    /// A connection for writing was made, before the look that will tell of it.
    Connected {
        broker: BrokerId,
        id: ConnectionId,
        connection: Connection,
    },
}

impl Pipeline {
    /// Loads what earlier runs left and begins to copy `routes`, now and whenever they change.
    ///
    /// # Errors
    /// [`PipelineError::Store`] or [`PipelineError::Destination`]; nothing was copied.
    pub async fn start(
        source: Cluster,
        destination: Cluster,
        store: Box<dyn OffsetStore>,
        mut options: Options,
        routes: watch::Receiver<Arc<Routes>>,
    ) -> Result<Pipeline, PipelineError> {
        let store = Arc::new(Mutex::new(store));
        let loading = Arc::clone(&store);
        let stored = in_store(&loading, |store| store.load()).await.map_err(PipelineError::Store)?;
        let metadata = destination.metadata(Wanted::None).await.map_err(PipelineError::Destination)?;
        heed_brokers(&destination, &metadata, &mut options).await;
        let budget = Budget::new(options.buffer_bytes_max);
        let engine = Engine::new(options.clone(), budget, stored, metadata.cluster_id.as_deref(), now());
        let (messages, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (status_sender, status) = watch::channel(Arc::new(Status::default()));
        let driver = Driver {
            engine,
            source,
            destination,
            destination_cluster_id: metadata.cluster_id,
            store,
            options,
            readers: HashMap::new(),
            writers: HashMap::new(),
            next_connection: 0,
            messages,
            group_refused: Arc::default(),
            turns: HashMap::new(),
        };
        let (lease, leases) = mpsc::unbounded_channel();
        let task = tokio::spawn(driver.run(inbox, routes, leases, stopped, status_sender));
        Ok(Pipeline { stop, lease, status, task })
    }

    /// Allows writing until `until` only, by the monotonic clock. Without a call there is no such end: the
    /// store is this process's alone. Where processes take over from each other, the session that keeps the
    /// others away must outlast `until`. Each call replaces the time of the one before; one that comes after
    /// that time has no effect any more: only a new start knows what others did meanwhile.
    pub fn write_until(&self, until: std::time::Instant) {
        // A loop that has ended writes nothing.
        let _ = self.lease.send(until);
    }

    /// How the lanes are doing, made anew a few times a second.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Stops reading, awaits what is under way, stores the progress.
    ///
    /// # Errors
    /// [`PipelineError::NotDrained`] or [`PipelineError::NotStored`] after `drain_timeout`; nothing is lost by that.
    pub async fn stop(self) -> Result<(), PipelineError> {
        // A loop that has ended by itself needs no telling.
        let _ = self.stop.send(());
        match self.task.await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

struct Driver {
    engine: Engine,
    source: Cluster,
    destination: Cluster,
    destination_cluster_id: Option<String>,
    store: Arc<Mutex<Box<dyn OffsetStore>>>,
    options: Options,
    readers: HashMap<BrokerId, mpsc::Sender<FetchCommand>>,
    writers: HashMap<BrokerId, (ConnectionId, Connection)>,
    next_connection: u64,
    messages: mpsc::UnboundedSender<Message>,
    /// The source group's commits fail, and that was said.
    group_refused: Arc<std::sync::atomic::AtomicBool>,
    /// For reading the tails of a destination broker: each takes a connection, and a thousand lanes may want to. Those
    /// of a broker that hangs hold up no other.
    turns: HashMap<BrokerId, Arc<Semaphore>>,
}

impl Driver {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Message>,
        mut routes: watch::Receiver<Arc<Routes>>,
        mut leases: mpsc::UnboundedReceiver<std::time::Instant>,
        mut stopped: oneshot::Receiver<()>,
        status: watch::Sender<Arc<Status>>,
    ) -> Result<(), PipelineError> {
        let mut status_due = Instant::now();
        let mut deadline: Option<Instant> = None;
        let first = Arc::clone(&routes.borrow_and_update());
        self.engine.handle(now(), Event::Routes(first));
        let mut routes_open = true;
        let mut leases_open = true;
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.carry_out(action);
            }
            let began = Instant::now();
            if began >= status_due {
                status.send_replace(Arc::new(self.engine.status()));
                status_due = began + STATUS_INTERVAL.max(began.elapsed() * STATUS_SHARE);
            }
            if self.engine.is_stopped() {
                status.send_replace(Arc::new(self.engine.status()));
                return Ok(());
            }
            let timeout = self.engine.timeout().map(Instant::from_std);
            tokio::select! {
                message = inbox.recv() => {
                    let mut message = message;
                    while let Some(received) = message {
                        match received {
                            Message::Event(event) => self.engine.handle(now(), event),
                            Message::Connected { broker, id, connection } => {
                                self.writers.insert(broker, (id, connection));
                            }
                        }
                        message = inbox.try_recv().ok();
                    }
                }
                until = leases.recv(), if leases_open => match until {
                    Some(until) => self.engine.handle(now(), Event::Lease(until)),
                    None => leases_open = false,
                },
                changed = routes.changed(), if routes_open => {
                    routes_open = changed.is_ok();
                    let present = Arc::clone(&routes.borrow_and_update());
                    self.engine.handle(now(), Event::Routes(present));
                }
                _ = &mut stopped, if deadline.is_none() => {
                    deadline = Some(Instant::now() + self.options.drain_timeout);
                    self.engine.handle(now(), Event::Stop);
                }
                () = until(deadline) => {
                    return Err(match self.engine.lanes_under_way() {
                        0 => PipelineError::NotStored,
                        lanes => PipelineError::NotDrained { lanes },
                    });
                }
                () = until(timeout) => self.engine.handle(now(), Event::Timer),
                () = tokio::time::sleep_until(status_due) => {}
            }
        }
    }

    fn turns(&mut self, broker: BrokerId) -> Arc<Semaphore> {
        let turns = self.turns.entry(broker).or_insert_with(|| Arc::new(Semaphore::new(TAILS_AT_ONCE)));
        Arc::clone(turns)
    }

    /// Runs `work` beside the loop; its result comes back as a message.
    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let messages = self.messages.clone();
        tokio::spawn(async move {
            // The loop is gone only at the end of the process or of the flow.
            let _ = messages.send(Message::Event(work.await));
        });
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::AllocateProducer => {
                let cluster = self.destination.clone();
                let cluster_id = self.destination_cluster_id.clone();
                self.spawn(async move {
                    let allocated = cluster.init_producer_id().await.map(|(producer_id, _)| Producer {
                        producer_id,
                        producer_epoch: an_epoch(),
                        destination_cluster_id: cluster_id,
                        stopped_cleanly: false,
                        spread_ids: Vec::new(),
                    });
                    Event::ProducerAllocated(allocated)
                });
            }
            Action::FindLeaders { side, topics, after } => {
                let cluster = match side {
                    Side::Source => self.source.clone(),
                    Side::Destination => self.destination.clone(),
                };
                self.spawn(async move {
                    tokio::time::sleep(after).await;
                    Event::Leaders { side, answer: find_leaders(&cluster, &topics).await }
                });
            }
            Action::LookAtSource { broker, lanes, epochs } => {
                let cluster = self.source.clone();
                let committed_only = self.options.isolation == Isolation::ReadCommitted;
                let group = self.options.start_group.clone();
                self.spawn(async move {
                    let wanted = (committed_only, group.as_deref(), &epochs[..]);
                    let lanes = look_at_source(&cluster, broker, &lanes, wanted).await;
                    Event::SourceLooked { broker, lanes }
                });
            }
            Action::LookAtDestination { broker, lanes } => self.look_at_destination(broker, lanes),
            Action::ReadTail { lane, broker, partition, producer, what, evidence } => {
                let (cluster, turns) = (self.destination.clone(), self.turns(broker));
                self.spawn(async move {
                    let _turn = turns.acquire().await;
                    let tail = read_tail(&cluster, broker, &partition, producer, what, evidence.latest).await;
                    Event::TailRead { lane, evidence, tail }
                });
            }
            Action::ReadContents { lane, broker, partition, producer, from, evidence, timed } => {
                let (cluster, turns) = (self.destination.clone(), self.turns(broker));
                self.spawn(async move {
                    let _turn = turns.acquire().await;
                    let range = (from, evidence.latest);
                    let contents = read_contents(&cluster, broker, &partition, producer, range, timed).await;
                    Event::ContentsRead { lane, evidence, contents }
                });
            }
            Action::Fetch { broker, wanted, bytes_max, wait_max } => {
                let command = FetchCommand { wanted, bytes_max, wait_max };
                let (cluster, messages) = (self.source.clone(), self.messages.clone());
                let options = FetchOptions {
                    wait_max: self.options.fetch_wait_max,
                    bytes_min: self.options.fetch_bytes_min,
                    committed_only: self.options.isolation == Isolation::ReadCommitted,
                    rack: self.options.rack.clone(),
                };
                let reader = self.readers.entry(broker).or_insert_with(|| {
                    let (sender, commands) = mpsc::channel(1);
                    tokio::spawn(read(cluster, broker, options, commands, messages));
                    sender
                });
                // The engine has at most one fetch under way per broker, so there is room.
                if reader.try_send(command).is_err() {
                    self.readers.remove(&broker);
                    let cluster = self.source.name().clone();
                    let reply = Err(CallError::UnknownBroker { cluster, broker });
                    self.spawn(async move { Event::Fetched { broker, reply } });
                }
            }
            Action::Transcode { lane, ticket, entry, how, charge } => self.spawn(async move {
                let pieces = blocking(move || {
                    let pieces = transcode(&entry, &how);
                    drop(charge);
                    pieces
                })
                .await;
                Event::Transcoded { lane, ticket, pieces }
            }),
            Action::Merge { lane, ticket, pieces, batch_bytes_max, charge } => {
                let is_compressed = pieces.first().is_some_and(|piece| piece.batch.header.is_compressed());
                let work = move || {
                    let pieces = merge(pieces, batch_bytes_max);
                    drop(charge);
                    Event::Transcoded { lane, ticket, pieces: Ok(pieces) }
                };
                if is_compressed {
                    self.spawn(blocking(work));
                } else {
                    // A copy of 128 KiB at most: less than to hand it to another thread, whose memory it would be.
                    let merged = work();
                    self.spawn(async { merged });
                }
            }
            Action::TranscodeShares { entry, shares, charge } => self.spawn(async move {
                let shares = blocking(move || {
                    let hows: Vec<_> = shares.iter().map(|(_, _, how)| *how).collect();
                    let pieces = transcode_each(&entry, &hows);
                    drop(charge);
                    let lanes = shares.into_iter().map(|(lane, ticket, _)| (lane, ticket));
                    lanes.zip(pieces).map(|((lane, ticket), pieces)| (lane, ticket, pieces)).collect()
                })
                .await;
                Event::TranscodedShares(shares)
            }),
            Action::Send { broker, connection, request, batches, not_after } => {
                match self.writers.get(&broker) {
                    Some((id, writer)) if *id == connection && now().instant < not_after => {
                        let reply = writer.produce(batches, self.options.produce_timeout);
                        self.spawn(async move {
                            let reply = reply.await.map_err(|error| SendError {
                                trouble: Some(Trouble::from_call(Side::Destination, "Produce", &error)),
                                maybe_written: error.maybe_written(),
                            });
                            Event::Produced { request, reply }
                        });
                    }
                    _ => self.spawn(async move {
                        Event::Produced { request, reply: Err(SendError::NO_CONNECTION) }
                    }),
                }
            }
            Action::Disconnect { broker, connection } => {
                if let Some((_, writer)) = self.writers.get(&broker).filter(|(id, _)| *id == connection) {
                    writer.close();
                }
            }
            Action::Save { changes, not_after } => self.save(changes, not_after),
        }
    }

    /// Makes a connection for writing where there is none, then looks: what is seen must hold for what
    /// will be sent on it.
    fn look_at_destination(&mut self, broker: BrokerId, lanes: Vec<(LaneKey, TopicPartition, ProducerKey)>) {
        let present = match self.writers.get(&broker) {
            Some((id, connection)) if !connection.is_dead() => Some(*id),
            _ => None,
        };
        self.next_connection += 1;
        let new = ConnectionId(self.next_connection);
        let (cluster, messages) = (self.destination.clone(), self.messages.clone());
        self.spawn(async move {
            let connection = match present {
                Some(id) => Ok(id),
                None => cluster.connect(broker).await.map(|connection| {
                    let _ = messages.send(Message::Connected { broker, id: new, connection });
                    new
                }),
            };
            match connection {
                Ok(id) => Event::DestinationLooked {
                    broker,
                    connection: Some(id),
                    lanes: look_at_destination(&cluster, broker, &lanes).await,
                },
                Err(error) => {
                    let trouble = Trouble::from_call(Side::Destination, "connect", &error);
                    let lanes = lanes.iter().map(|(key, ..)| (*key, Err(trouble.clone()))).collect();
                    Event::DestinationLooked { broker, connection: None, lanes }
                }
            }
        });
    }

    fn save(&self, changes: Stored, not_after: Option<std::time::Instant>) {
        let store = Arc::clone(&self.store);
        let group = self.options.source_group.clone().map(|group| (group, self.source.clone()));
        let refused = Arc::clone(&self.group_refused);
        self.spawn(async move {
            let committed = committed_positions(&changes);
            let result = in_store(&store, move |store| match not_after {
                Some(at) if now().instant >= at => {
                    Err(StoreError::Failed("another process may have taken over".into()))
                }
                _ => store.save(&changes),
            })
            .await;
            if let (Ok(()), Some((group, source))) = (&result, group) {
                tokio::spawn(async move { commit_group(&source, &group, &committed, &refused).await });
            }
            Event::Saved(result)
        });
    }
}

/// Fits `options` to what a broker of the destination says of itself; all are taken to be set alike.
async fn heed_brokers(destination: &Cluster, metadata: &Metadata, options: &mut Options) {
    let Some(broker) = metadata.brokers.first() else { return };
    match destination.describe_broker_configs(broker.id).await {
        Ok(settings) => {
            let value = |name: &str| settings.iter().find(|entry| entry.name == name)?.value.clone();
            options.heed(value);
        }
        Err(error) => {
            info!(%error, "the destination's replica.lag.time.max.ms and producer.id.expiration.ms cannot be read, taking \
                them for no longer than 30 s, and no shorter than 24 h");
        }
    }
}

/// An epoch for a producer id of ours, for life. Brokers take any for an id that a partition has not seen, and
/// others' ids begin at 0 and are raised one by one: so where a cluster that was restored gives our id to somebody
/// else, the epoch tells whose a batch is, and the partitions that know us refuse theirs.
fn an_epoch() -> i16 {
    let random = RandomState::new().build_hasher().finish();
    EPOCH_MIN + i16::try_from(random % 10_000).unwrap_or(0)
}

fn committed_positions(changes: &Stored) -> Vec<(TopicPartition, Offset)> {
    changes
        .lanes
        .iter()
        .filter_map(|(partition, lane)| match lane {
            StoredLane::Ours(_) | StoredLane::Spread(_) => Some((partition.clone(), lane.next_source())),
            StoredLane::Foreign { .. } => None,
        })
        .collect()
}

/// Commits the progress under the flow's group at the source too, so that ordinary lag tools see it. It
/// is a courtesy: its failure is said once and stops nothing.
async fn commit_group(
    source: &Cluster,
    group: &str,
    offsets: &[(TopicPartition, Offset)],
    refused: &std::sync::atomic::AtomicBool,
) {
    use std::sync::atomic::Ordering;
    if offsets.is_empty() {
        return;
    }
    let failure = match source.commit_offsets(group, offsets).await {
        Ok(answers) => answers
            .into_iter()
            .find_map(|(partition, answer)| answer.err().map(|error| format!("{partition}: {error}"))),
        Err(error) => Some(error.to_string()),
    };
    match failure {
        Some(error) if !refused.swap(true, Ordering::Relaxed) => {
            warn!(group, error, "cannot commit offsets at the source; only lag tools miss them");
        }
        Some(error) => debug!(group, error, "cannot commit offsets at the source"),
        None if refused.swap(false, Ordering::Relaxed) => {
            info!(group, "offsets are committed at the source again");
        }
        None => {}
    }
}

async fn find_leaders(
    cluster: &Cluster,
    topics: &[TopicName],
) -> Result<Vec<(TopicPartition, Leader)>, CallError> {
    let metadata = cluster.metadata(Wanted::Topics(topics)).await?;
    let mut leaders = Vec::new();
    for topic in metadata.topics {
        for partition in topic.partitions {
            if let Some(broker) = partition.leader {
                let name = TopicPartition { topic: topic.name.clone(), partition: partition.partition };
                let leader = Leader { broker, epoch: partition.leader_epoch, topic_id: topic.id };
                leaders.push((name, leader));
            }
        }
    }
    Ok(leaders)
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the engine's clock is read")]
fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now().into_std(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls the store, from where that may take as long as it does.
async fn in_store<T: Send + 'static>(
    store: &Arc<Mutex<Box<dyn OffsetStore>>>,
    call: impl FnOnce(&mut dyn OffsetStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // Calls come one after the other, so that nobody has it now.
    let waits = lock(store).waits();
    let store = Arc::clone(store);
    let work = move || call(&mut **lock(&store));
    if !waits {
        return blocking(work).await;
    }
    let (sender, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("offsets".to_owned()).spawn(move || {
        // Nobody waits any more where the runtime has ended.
        drop(sender.send(work()));
    });
    let thread =
        thread.map_err(|error| StoreError::Failed(format!("cannot start a thread for it: {error}")))?;
    match result.await {
        Ok(result) => result,
        Err(_) => match thread.join() {
            Ok(()) => Err(StoreError::Failed("the program ends".into())),
            Err(panicked) => std::panic::resume_unwind(panicked),
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
