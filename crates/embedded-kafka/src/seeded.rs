//! Faults by a seed: all kinds of them, again and again, the same for the same seed.
//!
//! ```ignore
//! let faults = cluster.faults_by_seed(408);
//! // … whatever is to survive them …
//! faults.stop().await;
//! ```
//!
//! What happens to a request is drawn from the seed, its kind, its broker and how many of the kind that broker
//! has had: the order in which requests to different brokers come does not matter. What happens to brokers and
//! partitions is drawn from the seed and from what there is, and comes by tokio's clock, so that in paused time
//! and over the in-memory transport the whole history repeats itself.
//!
//! [`FaultPlan::new`] is what clients must survive without losing anything. What takes records, or the memory of
//! producers, away is there for the asking: `FaultPlan::new(408).with(&FaultKind::RARE)`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::{TopicName, TopicPartition};
use protocol::{ApiKey, ErrorCode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::broker::{Broker, Slot};
use crate::cluster::{Cluster, Shared};
use crate::direct;
use crate::faults::{Departure, Fired};
use crate::log::StoredEntry;
use crate::partition::{Partition, Replica};
use crate::state::State;

/// So many happenings are remembered; later ones happen all the same.
const HISTORY_MAX: usize = 10_000;
/// Batches that are lost at a time, at most.
const LOST_BATCHES_MAX: u64 = 10;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The request waits before it is applied.
    Delay,
    /// The reply waits after the request was applied.
    DelayReply,
    /// The request, or its part about one partition, is answered with a code that is worth another try.
    Fail,
    /// A produce request is applied and answered with an error.
    FailApplied,
    /// The connection is closed, the request not applied.
    Refuse,
    /// The request is applied, the connection closed without a reply.
    DropReply,
    /// The request is applied and never answered.
    Hang,
    /// The request is applied, the connection closed in the middle of the reply.
    Cut,
    /// A bit of the last records of a fetch reply is flipped. Other replies have no checksum that would tell.
    Corrupt,
    /// A produce or fetch reply asks the client to be quiet for a while.
    Throttle,
    /// All connections of a broker are closed.
    Disconnect,
    /// A broker is killed, and started again later.
    Crash,
    /// Another replica in sync becomes the leader of a partition.
    MoveLeader,
    /// A follower copies nothing for a while. It stays in the in-sync set, so that acks=all waits for it.
    PauseFollower,
    /// A follower leaves the in-sync set and falls behind, and after a while it becomes the leader: what it lacks is lost.
    UncleanElection,
    /// The last batches of a partition are lost, and another replica leads it, at once.
    Truncate,
    /// The replicas of a partition forget all producers.
    ForgetProducers,
    /// The first batches of a partition are deleted, as retention does it.
    Retention,
    /// A topic is deleted and created anew, empty, under another id.
    RecreateTopic,
}

impl FaultKind {
    /// What clusters do every day, and lose nothing by it: [`FaultPlan::new`].
    pub const COMMON: [FaultKind; 13] = [
        FaultKind::Delay,
        FaultKind::DelayReply,
        FaultKind::Fail,
        FaultKind::FailApplied,
        FaultKind::Refuse,
        FaultKind::DropReply,
        FaultKind::Hang,
        FaultKind::Cut,
        FaultKind::Corrupt,
        FaultKind::Throttle,
        FaultKind::Disconnect,
        FaultKind::Crash,
        FaultKind::MoveLeader,
    ];

    /// What they do seldom. All but a follower's pause loses something: see [`FaultPlan::with`].
    pub const RARE: [FaultKind; 6] = [
        FaultKind::PauseFollower,
        FaultKind::UncleanElection,
        FaultKind::Truncate,
        FaultKind::ForgetProducers,
        FaultKind::Retention,
        FaultKind::RecreateTopic,
    ];

    /// It happens by itself, not to a request.
    fn is_of_brokers(self) -> bool {
        use FaultKind::{Crash, Disconnect, MoveLeader};
        matches!(self, Disconnect | Crash | MoveLeader) || FaultKind::RARE.contains(&self)
    }

    /// Whether it can happen to requests of this kind.
    fn is_of_requests(self, api: ApiKey) -> bool {
        match self {
            FaultKind::Fail => !codes(api).is_empty(),
            FaultKind::FailApplied => api == ApiKey::Produce,
            FaultKind::Corrupt => api == ApiKey::Fetch,
            FaultKind::Throttle => matches!(api, ApiKey::Produce | ApiKey::Fetch),
            other => !other.is_of_brokers(),
        }
    }
}

/// Codes that a healthy cluster gives for a while, by request.
fn codes(api: ApiKey) -> &'static [ErrorCode] {
    use ErrorCode as E;
    match api {
        ApiKey::Produce => &[E::NOT_LEADER_OR_FOLLOWER, E::NOT_ENOUGH_REPLICAS, E::KAFKA_STORAGE_ERROR],
        ApiKey::Fetch => &[
            E::NOT_LEADER_OR_FOLLOWER,
            E::KAFKA_STORAGE_ERROR,
            E::FENCED_LEADER_EPOCH,
            E::UNKNOWN_LEADER_EPOCH,
            E::FETCH_SESSION_ID_NOT_FOUND,
            E::INVALID_FETCH_SESSION_EPOCH,
        ],
        ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch | ApiKey::DescribeProducers => {
            &[E::NOT_LEADER_OR_FOLLOWER, E::LEADER_NOT_AVAILABLE]
        }
        ApiKey::Metadata => &[E::LEADER_NOT_AVAILABLE],
        ApiKey::FindCoordinator => &[E::COORDINATOR_NOT_AVAILABLE],
        ApiKey::InitProducerId | ApiKey::OffsetCommit | ApiKey::OffsetFetch => {
            &[E::COORDINATOR_LOAD_IN_PROGRESS, E::NOT_COORDINATOR]
        }
        _ => &[],
    }
}

/// What a seed may do. [`FaultPlan::new`] is everything that loses nothing, now and then.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    seed: u64,
    one_in: u64,
    pause_max: Duration,
    down_max: Duration,
    delay_max: Duration,
    kinds: Vec<FaultKind>,
}

impl FaultPlan {
    /// All of [`FaultKind::COMMON`]: to one request in twenty, and to a broker every five seconds on average; a broker
    /// is down for at most three.
    #[must_use]
    pub fn new(seed: u64) -> FaultPlan {
        FaultPlan {
            seed,
            one_in: 20,
            pause_max: Duration::from_secs(10),
            down_max: Duration::from_secs(3),
            delay_max: Duration::from_millis(500),
            kinds: FaultKind::COMMON.to_vec(),
        }
    }

    /// Something happens to one request in so many.
    #[must_use]
    pub fn one_in(self, requests: u64) -> FaultPlan {
        FaultPlan { one_in: requests.max(1), ..self }
    }

    /// At most so long nothing happens to a broker.
    #[must_use]
    pub fn pause_max(self, pause_max: Duration) -> FaultPlan {
        FaultPlan { pause_max, ..self }
    }

    /// At most so long a broker is down, and a follower behind.
    #[must_use]
    pub fn down_max(self, down_max: Duration) -> FaultPlan {
        FaultPlan { down_max, ..self }
    }

    /// These kinds too.
    #[must_use]
    pub fn with(mut self, kinds: &[FaultKind]) -> FaultPlan {
        self.kinds.extend_from_slice(kinds);
        self
    }

    /// Only these kinds.
    #[must_use]
    pub fn only(self, kinds: &[FaultKind]) -> FaultPlan {
        FaultPlan { kinds: kinds.to_vec(), ..self }
    }

    /// All but these kinds.
    #[must_use]
    pub fn without(mut self, kinds: &[FaultKind]) -> FaultPlan {
        self.kinds.retain(|kind| !kinds.contains(kind));
        self
    }
}

/// Something that has happened, and how long after the faults began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// By tokio's clock.
    pub after: Duration,
    /// The kind.
    pub kind: FaultKind,
    /// The broker it happened at; the leader, where it is of a partition, and the new one, where there is another.
    pub broker: i32,
    /// The kind of the request, and how many of it the broker had had before.
    pub request: Option<(ApiKey, u64)>,
    /// The code that was answered.
    pub code: Option<ErrorCode>,
    /// The partition, where it is about one; the first of a topic that was created anew.
    pub partition: Option<TopicPartition>,
    /// Where its log begins now, after [`FaultKind::Retention`]; where it was cut, after what takes its end away.
    pub offset: Option<i64>,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  broker {}  {:?}", self.after.as_secs_f64(), self.broker, self.kind)?;
        if let Some((api, number)) = self.request {
            write!(f, "  {api:?} #{number}")?;
        }
        if let Some(partition) = &self.partition {
            write!(f, "  {partition}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at {offset}")?;
        }
        self.code.map_or(Ok(()), |code| write!(f, "  {code}"))
    }
}

/// The draws for requests, and what has happened so far.
#[derive(Debug)]
pub(crate) struct Draws {
    /// Of these, and of no others of the cluster.
    pub(crate) id: u64,
    plan: FaultPlan,
    began: Instant,
    seen: BTreeMap<(i32, i16), u64>,
    history: Vec<Happening>,
}

impl Draws {
    fn happened(&mut self, happening: Happening) {
        if self.history.len() < HISTORY_MAX {
            self.history.push(happening);
        }
    }

    /// Adds what the seed has for this request.
    pub(crate) fn draw(&mut self, api: ApiKey, broker: i32, mentioned: &[TopicPartition], fired: &mut Fired) {
        let number = self.seen.entry((broker, api as i16)).or_default();
        let mine = *number;
        *number += 1;
        let mut random = Random::of(&[self.plan.seed, broker.unsigned_abs().into(), api as u64, mine]);
        if random.below(self.plan.one_in) != 0 {
            return;
        }
        let possible: Vec<FaultKind> =
            self.plan.kinds.iter().copied().filter(|kind| kind.is_of_requests(api)).collect();
        let Some(&kind) = random.one_of(&possible) else { return };
        let (mut code, mut partition) = (None, None);
        match kind {
            FaultKind::Delay => fired.delay += random.up_to(self.plan.delay_max),
            FaultKind::DelayReply => fired.delay_reply += random.up_to(self.plan.delay_max),
            FaultKind::Throttle => fired.throttle += random.up_to(self.plan.delay_max),
            FaultKind::Refuse => fired.refused = true,
            FaultKind::DropReply => fired.departs(Departure::NeverAndClosed),
            FaultKind::Hang => fired.departs(Departure::NeverButOpen),
            FaultKind::Cut => fired.departs(Departure::CutInTheMiddle),
            FaultKind::Corrupt => fired.departs(Departure::Corrupted),
            FaultKind::Fail => {
                code = random.one_of(codes(api)).copied();
                // Sometimes all of it, sometimes a part.
                partition = random.one_of(mentioned).filter(|_| random.below(2) == 0).cloned();
                fired.fails_with(code.unwrap_or(ErrorCode::NONE), api, partition.as_ref());
            }
            FaultKind::FailApplied => {
                code = Some(ErrorCode::REQUEST_TIMED_OUT);
                partition = random.one_of(mentioned).cloned();
                fired.fails_applied_with(ErrorCode::REQUEST_TIMED_OUT, api, partition.as_ref());
            }
            // Of brokers: not among what is possible.
            _ => return,
        }
        let (after, request) = (self.began.elapsed(), Some((api, mine)));
        self.happened(Happening { after, kind, broker, request, code, partition, offset: None });
    }
}

/// The faults of a seed, in force until [`SeededFaults::stop`] or until this is dropped. Dropped by a panic it
/// tells the seed and what has happened.
#[must_use = "the faults end when this is dropped"]
pub struct SeededFaults {
    cluster: Weak<Shared>,
    id: u64,
    seed: u64,
    stop: Option<oneshot::Sender<()>>,
    events: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Faults as [`FaultPlan::new`] has them, by a seed.
    pub fn faults_by_seed(&self, seed: u64) -> SeededFaults {
        self.faults(FaultPlan::new(seed))
    }

    /// Faults by a plan. Those of another plan end; a broker that is down then is up again when its time is over. Needs a
    /// tokio runtime.
    pub fn faults(&self, plan: FaultPlan) -> SeededFaults {
        let (stop, stopped) = oneshot::channel();
        let seed = plan.seed;
        let cluster = Arc::downgrade(self.shared());
        let began = Instant::now();
        let id = self.shared().faults().install_seeded(|id| Draws {
            id,
            plan: plan.clone(),
            began,
            seen: BTreeMap::new(),
            history: Vec::new(),
        });
        let events = Events { cluster: cluster.clone(), id, random: Random::of(&[seed]), plan };
        let events = tokio::spawn(events.happen(stopped));
        SeededFaults { cluster, id, seed, stop: Some(stop), events: Some(events) }
    }
}

impl SeededFaults {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What has happened, in order; the first ten thousand. Nothing where another plan is in force.
    pub fn history(&self) -> Vec<Happening> {
        let Some(cluster) = self.cluster.upgrade() else { return Vec::new() };
        let mut faults = cluster.faults();
        faults.draws(self.id).map(|draws| draws.history.clone()).unwrap_or_default()
    }

    /// Ends the faults and gives what has happened. A broker that is down is up again when this returns; a
    /// request that hangs goes on hanging.
    pub async fn stop(mut self) -> Vec<Happening> {
        let history = self.history();
        self.end();
        if let Some(events) = self.events.take() {
            // Cancelled with its runtime it has ended, too.
            let _ = events.await;
        }
        history
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.faults().end_seeded(self.id);
        }
    }
}

impl Drop for SeededFaults {
    #[allow(clippy::print_stderr, reason = "a test that fails tells its seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let history: Vec<String> = self.history().iter().map(|one| format!("  {one}\n")).collect();
            eprintln!("faults of seed {}:\n{}", self.seed, history.concat());
        }
        if self.stop.is_some() {
            self.end();
        }
    }
}

impl fmt::Debug for SeededFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededFaults").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// What happens to brokers and partitions.
struct Events {
    cluster: Weak<Shared>,
    /// Of the draws.
    id: u64,
    random: Random,
    plan: FaultPlan,
}

/// What lasts for a while, and is undone then.
enum Lasting {
    Down(i32),
    /// A follower that copies nothing; whether it is to lead afterwards.
    Behind {
        at: TopicPartition,
        broker: i32,
        leads: bool,
    },
}

impl Events {
    /// Until told to stop, until another plan is in force, or until the cluster is gone.
    async fn happen(mut self, mut stopped: oneshot::Receiver<()>) {
        let of_brokers = |kind: &FaultKind| kind.is_of_brokers();
        let kinds: Vec<FaultKind> = self.plan.kinds.iter().copied().filter(of_brokers).collect();
        loop {
            let pause = self.random.up_to(self.plan.pause_max);
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                () = sleep(pause) => {}
            }
            let (Some(shared), Some(&kind)) = (self.cluster.upgrade(), self.random.one_of(&kinds)) else {
                return;
            };
            let Some(slot) = self.random.one_of(&shared.slots) else { return };
            if shared.faults().draws(self.id).is_none() {
                return;
            }
            let Some(lasting) = self.begin(&shared, slot, kind).await else { continue };
            let while_it_lasts = self.random.up_to(self.plan.down_max);
            drop(shared);
            tokio::select! {
                biased;
                _ = &mut stopped => {}
                () = sleep(while_it_lasts) => {}
            }
            let Some(shared) = self.cluster.upgrade() else { return };
            self.undo(&shared, kind, lasting).await;
        }
    }

    fn note(&self, shared: &Shared, kind: FaultKind, broker: i32, at: Option<(TopicPartition, Option<i64>)>) {
        if let Some(draws) = shared.faults().draws(self.id) {
            let after = draws.began.elapsed();
            let (partition, offset) =
                at.map_or((None, None), |(partition, offset)| (Some(partition), offset));
            draws.happened(Happening { after, kind, broker, request: None, code: None, partition, offset });
        }
    }

    /// Lets it happen, to this broker or to what is drawn; gives what lasts.
    async fn begin(&mut self, shared: &Arc<Shared>, slot: &Slot, kind: FaultKind) -> Option<Lasting> {
        match kind {
            FaultKind::Disconnect => {
                self.note(shared, kind, slot.id, None);
                Broker::new(shared, slot).disconnect_all();
                None
            }
            FaultKind::Crash => {
                self.note(shared, kind, slot.id, None);
                Broker::new(shared, slot).stop().await;
                Some(Lasting::Down(slot.id))
            }
            FaultKind::PauseFollower | FaultKind::UncleanElection => {
                let leads = kind == FaultKind::UncleanElection;
                let (at, broker) = self.fall_behind(&mut shared.state(), leads)?;
                if !leads {
                    self.note(shared, kind, broker, Some((at.clone(), None)));
                }
                Some(Lasting::Behind { at, broker, leads })
            }
            _ => {
                let (at, leader, offset) = self.change(&mut shared.state(), kind)?;
                self.note(shared, kind, leader, Some((at, offset)));
                None
            }
        }
    }

    async fn undo(&self, shared: &Arc<Shared>, kind: FaultKind, lasting: Lasting) {
        match lasting {
            Lasting::Down(id) => {
                let Some(slot) = shared.slots.iter().find(|slot| slot.id == id) else { return };
                while let Err(error) = Broker::new(shared, slot).start().await {
                    warn!(broker = id, %error, "a broker that was to crash cannot start again");
                    sleep(self.plan.down_max).await;
                }
            }
            Lasting::Behind { at, broker, leads } => {
                let cut = catch_up(&mut shared.state(), &at, broker, leads);
                if let Some(offset) = cut {
                    self.note(shared, kind, broker, Some((at, Some(offset))));
                }
            }
        }
    }

    /// What is done to a partition, or its topic, at once: which, who leads it then, and where it was cut.
    fn change(&mut self, state: &mut State, kind: FaultKind) -> Option<(TopicPartition, i32, Option<i64>)> {
        let forgets = !state.profile.stateless_accepts_any_sequence();
        let at = match kind {
            FaultKind::MoveLeader => return self.move_a_leader(state).map(|(at, leader)| (at, leader, None)),
            FaultKind::RecreateTopic => self.one_of_all(state, |_| true)?,
            FaultKind::ForgetProducers => self.one_of_all(state, remembers)?,
            _ => self.one_of_all(state, |partition| partition.log.entries().next().is_some())?,
        };
        if kind == FaultKind::RecreateTopic {
            direct::recreate(state, at.topic.as_str());
            let at = TopicPartition::new(at.topic, 0);
            let leader = state.partition_of(&at)?.leader?;
            return Some((at, leader, None));
        }
        let some = usize::try_from(self.random.below(LOST_BATCHES_MAX)).unwrap_or_default();
        let partition = state.partition_of(&at)?;
        let offset = match kind {
            FaultKind::Truncate => {
                let offset = partition.log.entries().rev().nth(some).or(partition.log.entries().next());
                let offset = offset.map(|entry| entry.base_offset)?;
                direct::lose_from(partition, offset);
                Some(offset)
            }
            FaultKind::Retention => {
                let entries = partition.log.entries().take(some + 1);
                let offset = entries.last().map(StoredEntry::next_offset)?.min(partition.high_watermark());
                partition.delete_before(offset, forgets);
                Some(offset)
            }
            _ => {
                partition.replicas.iter_mut().for_each(|replica| replica.producers.clear());
                None
            }
        };
        Some((at, partition.leader?, offset))
    }

    /// Some partition that is led by somebody, of a topic that clients have.
    fn one_of_all(&mut self, state: &State, suits: impl Fn(&Partition) -> bool) -> Option<TopicPartition> {
        let of_clients = state.topics.iter().filter(|(_, topic)| !topic.internal);
        let all = of_clients.flat_map(|(name, topic)| (0..).zip(&topic.partitions).map(move |at| (name, at)));
        let suitable = all.filter(|(_, (_, partition))| partition.leader.is_some() && suits(partition));
        let suitable: Vec<(&TopicName, i32)> = suitable.map(|(name, (index, _))| (name, index)).collect();
        let (name, index) = self.random.one_of(&suitable)?;
        Some(TopicPartition::new((*name).clone(), *index))
    }

    /// Moves the leader of some partition that has another replica in sync; tells which, and who leads now.
    fn move_a_leader(&mut self, state: &mut State) -> Option<(TopicPartition, i32)> {
        let (at, broker) = self.follower(state, |replica| replica.in_sync, |_| true)?;
        state.partition_of(&at)?.elect(broker);
        Some((at, broker))
    }

    /// Keeps some follower in sync from copying, and out of the in-sync set where it is to lead for all that.
    fn fall_behind(&mut self, state: &mut State, leads: bool) -> Option<(TopicPartition, i32)> {
        let (at, broker) =
            self.follower(state, |replica| replica.in_sync && replica.follows, |internal| !internal)?;
        let partition = state.partition_of(&at)?;
        let replica = partition.replica_mut(broker)?;
        replica.follows = false;
        replica.in_sync = !leads;
        partition.wake();
        Some((at, broker))
    }

    /// Some replica that runs and does not lead; `of_topic` is told whether its topic is an internal one.
    fn follower(
        &mut self,
        state: &State,
        suits: impl Fn(&Replica) -> bool,
        of_topic: impl Fn(bool) -> bool,
    ) -> Option<(TopicPartition, i32)> {
        let mut possible = Vec::new();
        for (name, topic) in state.topics.iter().filter(|(_, topic)| of_topic(topic.internal)) {
            for (index, partition) in (0..).zip(&topic.partitions) {
                let others = partition.replicas.iter().filter(|replica| replica.online && suits(replica));
                let others = others.filter(|replica| Some(replica.broker) != partition.leader);
                possible.extend(others.map(|replica| (name, index, replica.broker)));
            }
        }
        let (topic, index, broker) = self.random.one_of(&possible)?;
        Some((TopicPartition::new((*topic).clone(), *index), *broker))
    }
}

/// There is a producer that its leader could forget.
fn remembers(partition: &Partition) -> bool {
    partition.leading_producers().is_some_and(|producers| producers.iter().next().is_some())
}

/// Lets a follower copy again; first, where it `leads`, it becomes the leader, and the log is cut to what it has. Where
/// that is, if it was.
fn catch_up(state: &mut State, at: &TopicPartition, broker: i32, leads: bool) -> Option<i64> {
    let partition = state.partition_of(at)?;
    let replica = partition.replica_mut(broker)?;
    replica.follows = true;
    let (end_offset, is_behind) = (replica.end_offset, !replica.in_sync && replica.online);
    let cut = (leads && is_behind).then(|| {
        partition.elect(broker);
        end_offset
    });
    partition.catch_up();
    cut
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (SplitMix64).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// One of its own for each sequence of numbers.
    fn of(numbers: &[u64]) -> Random {
        numbers.iter().fold(Random(0x7061_7261_6c6f_6700), |mut random, number| {
            random.0 ^= *number;
            Random(random.next())
        })
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 on, below `bound`, which is above 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = self.below(u64::try_from(all.len()).unwrap_or(u64::MAX));
        all.get(usize::try_from(index).unwrap_or_default())
    }

    /// At least a millisecond.
    fn up_to(&mut self, longest: Duration) -> Duration {
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(1 + self.below(longest_ms))
    }
}
