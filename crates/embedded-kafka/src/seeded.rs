//! Faults by a seed: all kinds of them, again and again, the same for the same seed.
//!
//! ```ignore
//! let faults = cluster.faults_by_seed(408);
//! // … whatever is to survive them …
//! faults.stop().await;
//! ```
//!
//! What happens to a request is drawn from the seed, its kind, its broker and how many of the kind that broker
//! has had: the order in which requests to different brokers come does not matter. Crashes and moves of leaders
//! are drawn from the seed alone and come by tokio's clock, so that in paused time and over the in-memory
//! transport the whole history repeats itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::TopicPartition;
use protocol::{ApiKey, ErrorCode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::broker::Broker;
use crate::cluster::{Cluster, Shared};
use crate::faults::{Departure, Fired};

/// So many happenings are remembered; later ones happen all the same.
const HISTORY_MAX: usize = 10_000;

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
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 13] = [
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

    fn is_of_brokers(self) -> bool {
        matches!(self, FaultKind::Disconnect | FaultKind::Crash | FaultKind::MoveLeader)
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

/// What a seed may do. [`FaultPlan::new`] is everything, now and then.
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
    /// All kinds: to one request in twenty, and to a broker every five seconds on average; a broker is down for at
    /// most three.
    #[must_use]
    pub fn new(seed: u64) -> FaultPlan {
        FaultPlan {
            seed,
            one_in: 20,
            pause_max: Duration::from_secs(10),
            down_max: Duration::from_secs(3),
            delay_max: Duration::from_millis(500),
            kinds: FaultKind::ALL.to_vec(),
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
    /// The broker it happened at; the new leader, where one was moved.
    pub broker: i32,
    /// The kind of the request, and how many of it the broker had had before.
    pub request: Option<(ApiKey, u64)>,
    /// The code that was answered.
    pub code: Option<ErrorCode>,
    /// The partition, where it is about one.
    pub partition: Option<TopicPartition>,
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
        self.code.map_or(Ok(()), |code| write!(f, "  {code}"))
    }
}

/// The draws for requests, and what has happened so far.
#[derive(Debug)]
pub(crate) struct Draws {
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
            FaultKind::Disconnect | FaultKind::Crash | FaultKind::MoveLeader => {}
        }
        let after = self.began.elapsed();
        self.happened(Happening { after, kind, broker, request: Some((api, mine)), code, partition });
    }
}

/// The faults of a seed, in force until [`SeededFaults::stop`] or until this is dropped. Dropped by a panic it
/// tells the seed and what has happened.
#[must_use = "the faults end when this is dropped"]
pub struct SeededFaults {
    cluster: Weak<Shared>,
    seed: u64,
    stop: Option<oneshot::Sender<()>>,
    events: Option<JoinHandle<()>>,
}

impl Cluster {
    /// All kinds of faults, as [`FaultPlan::new`] has them, by a seed.
    pub fn faults_by_seed(&self, seed: u64) -> SeededFaults {
        self.faults(FaultPlan::new(seed))
    }

    /// Faults by a plan; they replace those of another plan. Needs a tokio runtime.
    pub fn faults(&self, plan: FaultPlan) -> SeededFaults {
        let (stop, stopped) = oneshot::channel();
        let seed = plan.seed;
        let cluster = Arc::downgrade(self.shared());
        let draws =
            Draws { plan: plan.clone(), began: Instant::now(), seen: BTreeMap::new(), history: Vec::new() };
        self.shared().faults().seeded = Some(draws);
        let events = tokio::spawn(happen(cluster.clone(), plan, stopped));
        SeededFaults { cluster, seed, stop: Some(stop), events: Some(events) }
    }
}

impl SeededFaults {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What has happened, in order; the first ten thousand.
    pub fn history(&self) -> Vec<Happening> {
        let Some(cluster) = self.cluster.upgrade() else { return Vec::new() };
        let faults = cluster.faults();
        faults.seeded.as_ref().map(|draws| draws.history.clone()).unwrap_or_default()
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
            cluster.faults().seeded = None;
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

/// What happens to brokers, until told to stop or until the cluster is gone.
async fn happen(cluster: Weak<Shared>, plan: FaultPlan, mut stopped: oneshot::Receiver<()>) {
    let kinds: Vec<FaultKind> = plan.kinds.iter().copied().filter(|kind| kind.is_of_brokers()).collect();
    let mut random = Random::of(&[plan.seed]);
    loop {
        let pause = random.up_to(plan.pause_max);
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            () = sleep(pause) => {}
        }
        let (Some(shared), Some(&kind)) = (cluster.upgrade(), random.one_of(&kinds)) else { return };
        let Some(slot) = random.one_of(&shared.slots) else { return };
        let broker = Broker::new(&shared, slot);
        let note = |broker, partition| {
            if let Some(draws) = &mut shared.faults().seeded {
                let after = draws.began.elapsed();
                draws.happened(Happening { after, kind, broker, request: None, code: None, partition });
            }
        };
        match kind {
            FaultKind::Disconnect => {
                note(slot.id, None);
                broker.disconnect_all();
            }
            FaultKind::MoveLeader => {
                if let Some((partition, leader)) = move_a_leader(&shared, &mut random) {
                    note(leader, Some(partition));
                }
            }
            _ => {
                note(slot.id, None);
                broker.stop().await;
                let down = random.up_to(plan.down_max);
                tokio::select! {
                    biased;
                    _ = &mut stopped => {}
                    () = sleep(down) => {}
                }
                while let Err(error) = broker.start().await {
                    warn!(broker = slot.id, %error, "a broker that was to crash cannot start again");
                    sleep(plan.down_max).await;
                }
            }
        }
    }
}

/// Moves the leader of some partition that has another replica in sync; tells which, and who leads now.
fn move_a_leader(shared: &Shared, random: &mut Random) -> Option<(TopicPartition, i32)> {
    let mut state = shared.state();
    let mut possible = Vec::new();
    for (name, topic) in &state.topics {
        for (index, partition) in (0..).zip(&topic.partitions) {
            let others = partition.replicas.iter().filter(|replica| replica.online && replica.in_sync);
            let others = others.filter(|replica| Some(replica.broker) != partition.leader);
            possible.extend(others.map(|replica| (name.clone(), index, replica.broker)));
        }
    }
    let (topic, index, broker) = random.one_of(&possible)?.clone();
    state.partition_mut(topic.as_str(), index)?.elect(broker);
    Some((TopicPartition::new(topic, index), broker))
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
