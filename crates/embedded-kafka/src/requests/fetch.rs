//! Fetch: reading, waiting for something to read, and remembering who reads what.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::{TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::fetch_request::FetchRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::cluster::Shared;
use crate::frame_room::Seat;
use crate::partition::{AbortedTransaction, Partition};
use crate::requests::fetch_reply::{self, Elsewhere, Reply};
use crate::requests::{Answer, Ask};
use crate::sessions::{Limits, News, SessionError, Wanted};
use crate::state::State;

/// The session epochs that mean something else: no session, and a new one.
const NO_SESSION: i32 = -1;
const NEW_SESSION: i32 = 0;

/// What one partition answers.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) error: ErrorCode,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start: i64,
    /// `None` for read_uncommitted.
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    pub(super) preferred_replica: Option<i32>,
    /// Epoch and its end, where the consumer's history is another one.
    pub(super) diverging: Option<(i32, i64)>,
    /// Leader and epoch, for one who asked the wrong broker.
    pub(super) leader: Option<(i32, i32)>,
    pub(super) records: Vec<Bytes>,
    pub(super) records_bytes: usize,
}

impl Fetched {
    /// An answer about a partition, without records.
    fn empty(error: ErrorCode, high_watermark: i64, last_stable_offset: i64, log_start: i64) -> Fetched {
        Fetched {
            error,
            high_watermark,
            last_stable_offset,
            log_start,
            aborted: None,
            preferred_replica: None,
            diverging: None,
            leader: None,
            records: Vec::new(),
            records_bytes: 0,
        }
    }

    fn refused(code: ErrorCode) -> Fetched {
        Fetched::empty(code, -1, -1, -1)
    }

    fn is_error(&self) -> bool {
        !self.error.is_ok()
    }

    /// What it takes, as it was read and as it is told; records are only shared with the log.
    fn told_bytes(&self) -> usize {
        let aborted = self.aborted.as_ref().map_or(0, Vec::len) * 2 * size_of::<AbortedTransaction>();
        2 * size_of::<(Arc<Wanted>, Fetched)>() + aborted + 2 * self.records.len() * size_of::<Bytes>()
    }

    /// There is something to tell that must not wait.
    fn is_urgent(&self) -> bool {
        self.is_error() || self.preferred_replica.is_some() || self.diverging.is_some()
    }
}

/// What is to be read, settled for the whole of the wait.
struct Plan {
    wanted: Vec<Arc<Wanted>>,
    session: i32,
    /// Only news is told.
    incremental: bool,
    committed: bool,
    bytes_max: usize,
    bytes_min: usize,
    rack: Option<String>,
}

pub(super) async fn answer(
    cluster: &Weak<Shared>,
    ask: &Ask,
    request: FetchRequest,
    seat: &mut Seat,
) -> Answer {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let deadline = Instant::now() + wait;
    let plan = {
        let Some(shared) = cluster.upgrade() else { return Answer::Gone };
        let limits = Limits { sessions: shared.fetch_sessions_max, bytes: shared.fetch_session_bytes_max };
        match plan(&mut shared.state(), ask, &request, limits) {
            Ok(plan) => plan,
            Err(code) => return fetch_reply::refused(ask, code),
        }
    };
    drop(request);
    // A session's partitions are counted there.
    let each = if plan.session == 0 { size_of::<Wanted>() } else { 0 } + size_of::<Arc<Wanted>>();
    seat.shrink_to(plan.wanted.len() * each);
    let changed = Arc::new(Notify::new());
    let mut late = wait.is_zero();
    loop {
        {
            let Some(shared) = cluster.upgrade() else { return Answer::Gone };
            let mut state = shared.state();
            let read = read_all(&state, ask, &plan);
            if let Some(answer) = ask.told_too_much() {
                return answer;
            }
            let bytes: usize = read.iter().map(|(_, fetched)| fetched.records_bytes).sum();
            let urgent = read.is_empty() || read.iter().any(|(_, fetched)| fetched.is_urgent());
            if late || urgent || bytes >= plan.bytes_min {
                return finish(&mut state, ask, &plan, read);
            }
            for wanted in &plan.wanted {
                let name = wanted.topic.as_ref().map(TopicName::as_str).unwrap_or_default();
                if let Some(partition) = state.partition_mut(name, wanted.partition) {
                    partition.watch(&changed);
                }
            }
        }
        late = timeout_at(deadline, changed.notified()).await.is_err();
    }
}

/// Finds out what is wanted: of this request, and of the session it goes on with.
fn plan(state: &mut State, ask: &Ask, request: &FetchRequest, limits: Limits) -> Result<Plan, ErrorCode> {
    if let Some(code) = ask.fails_whole().filter(|_| ask.version >= 7 && is_about_sessions(ask)) {
        return Err(code);
    }
    let by_topic_id = ask.version >= 13;
    let asked = wanted(state, request);
    let (id, epoch) = (request.session_id, request.session_epoch);
    let mut plan = Plan {
        wanted: Vec::new(),
        session: 0,
        incremental: false,
        committed: request.isolation_level == 1,
        bytes_max: usize::try_from(request.max_bytes).unwrap_or_default(),
        bytes_min: usize::try_from(request.min_bytes).unwrap_or_default(),
        rack: Some(request.rack_id.to_string()).filter(|rack| !rack.is_empty()),
    };
    // fetch.max.bytes
    if let Some(limit) = state.values.broker_number(state.profile, ask.broker, "fetch.max.bytes") {
        plan.bytes_max = plan.bytes_max.min(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let forgotten = forgotten(state, request);
    let Some(broker) = state.brokers.get_mut(&ask.broker) else {
        return Err(ErrorCode::BROKER_NOT_AVAILABLE);
    };
    let sessions = &mut broker.sessions;
    match epoch {
        _ if ask.version < 7 => plan.wanted = asked,
        NO_SESSION | NEW_SESSION => {
            sessions.close(id);
            if epoch == NEW_SESSION {
                plan.session = sessions.open(&asked, by_topic_id, limits);
            }
            plan.wanted = asked;
        }
        _ => {
            plan.wanted =
                sessions.resume(id, epoch, by_topic_id, asked, &forgotten, limits).map_err(|error| {
                    match error {
                        SessionError::NotFound => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
                        SessionError::WrongEpoch => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
                        SessionError::TopicIdsMixed => ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
                    }
                })?;
            if plan.wanted.is_empty() {
                // Nothing is left of it: it is closed and the answer is that of no session.
                sessions.close(id);
            } else {
                plan.session = id;
                plan.incremental = true;
            }
        }
    }
    Ok(plan)
}

/// A fault with a session's code fails the request, not its partitions.
fn is_about_sessions(ask: &Ask) -> bool {
    let session = [
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
    ];
    ask.fails_whole().is_some_and(|code| session.contains(&code))
}

/// The partitions of the request. One that is listed twice counts once: it stands where it came first, and the last wins.
fn wanted(state: &State, request: &FetchRequest) -> Vec<Arc<Wanted>> {
    let mut all: Vec<Arc<Wanted>> = Vec::new();
    let mut places = HashMap::new();
    for topic in &request.topics {
        let (name, id) = named(state, topic.topic.0.as_str(), topic.topic_id.into_bytes());
        for partition in &topic.partitions {
            let wanted = Arc::new(Wanted {
                topic: name.clone(),
                topic_id: id,
                partition: partition.partition,
                offset: partition.fetch_offset,
                bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or_default(),
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            });
            match places.entry(wanted.name()) {
                Entry::Occupied(place) => all[*place.get()] = wanted,
                Entry::Vacant(place) => {
                    place.insert(all.len());
                    all.push(wanted);
                }
            }
        }
    }
    all
}

fn forgotten(state: &State, request: &FetchRequest) -> Vec<Arc<Wanted>> {
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let (name, id) = named(state, topic.topic.0.as_str(), topic.topic_id.into_bytes());
        forgotten.extend(topic.partitions.iter().map(|partition| {
            Arc::new(Wanted {
                topic: name.clone(),
                topic_id: id,
                partition: *partition,
                offset: 0,
                bytes_max: 0,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
            })
        }));
    }
    forgotten
}

/// The topic's name, where a topic is named by an id that some topic has.
fn named(state: &State, name: &str, id: [u8; 16]) -> (Option<TopicName>, [u8; 16]) {
    if id == [0; 16] {
        return (Some(TopicName::from(name)), id);
    }
    (state.topic_by_id(id).map(|(name, _)| name.clone()), id)
}

/// Reads every partition in turn, until that is too much for one answer. The first one that has something ignores the
/// limits for its first batch.
fn read_all(state: &State, ask: &Ask, plan: &Plan) -> Vec<(Arc<Wanted>, Fetched)> {
    // What was read before the wait is gone.
    ask.tells_anew();
    let mut left = plan.bytes_max;
    let mut nothing_yet = true;
    let read_one = |wanted: &Arc<Wanted>| {
        let fetched = read(state, ask, plan, wanted, left, nothing_yet);
        if fetched.records_bytes > 0 {
            nothing_yet = false;
        }
        left = left.saturating_sub(fetched.records_bytes);
        let topic_bytes = wanted.topic.as_ref().map_or(0, |topic| topic.as_str().len());
        ask.tells(fetched.told_bytes() + topic_bytes).then(|| (Arc::clone(wanted), fetched))
    };
    plan.wanted.iter().map_while(read_one).collect()
}

fn read(state: &State, ask: &Ask, plan: &Plan, wanted: &Wanted, left: usize, one_whole: bool) -> Fetched {
    let Some(name) = wanted.topic.as_ref() else { return Fetched::refused(ErrorCode::UNKNOWN_TOPIC_ID) };
    if let Some(code) = ask.fails(name.as_str(), wanted.partition).filter(|_| !is_about_sessions(ask)) {
        return Fetched::refused(code);
    }
    // Recreated between this request and the last: the id is no longer the topic's.
    if wanted.topic_id != [0; 16] && state.topics.get(name).is_some_and(|topic| topic.id != wanted.topic_id) {
        return Fetched::refused(ErrorCode::UNKNOWN_TOPIC_ID);
    }
    let Some(partition) = state.partition(name.as_str(), wanted.partition) else {
        return Fetched::refused(match wanted.topic_id {
            id if id == [0; 16] || state.topics.contains_key(name) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            _ => ErrorCode::UNKNOWN_TOPIC_ID,
        });
    };
    let leads = partition.leader == Some(ask.broker);
    let from_follower = state.profile.has_follower_fetching() && ask.version >= 11;
    let Some(replica) = partition.replica(ask.broker).filter(|_| leads || from_follower) else {
        let leader = partition.leader.map(|leader| (leader, partition.leader_epoch));
        return Fetched { leader, ..Fetched::refused(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
    };
    if wanted.current_leader_epoch >= 0 && wanted.current_leader_epoch != partition.leader_epoch {
        let old = wanted.current_leader_epoch < partition.leader_epoch;
        let code = if old { ErrorCode::FENCED_LEADER_EPOCH } else { ErrorCode::UNKNOWN_LEADER_EPOCH };
        let leader = partition.leader.map(|leader| (leader, partition.leader_epoch));
        return Fetched { leader, ..Fetched::refused(code) };
    }
    let high_watermark = partition.high_watermark().min(replica.end_offset);
    let last_stable_offset = partition.last_stable_offset().min(high_watermark);
    let log_start = partition.log.start_offset();
    // 1.1 tells it only to those who read what is committed.
    let told_stable = if plan.committed || state.profile.looks_closely() { last_stable_offset } else { -1 };
    let mut fetched = Fetched::empty(ErrorCode::NONE, high_watermark, told_stable, log_start);
    if let Some(diverging) = diverging(partition, wanted) {
        return match diverging {
            Some(diverging) => Fetched { diverging: Some(diverging), ..fetched },
            None => Fetched::refused(ErrorCode::OFFSET_OUT_OF_RANGE),
        };
    }
    if wanted.offset < log_start || wanted.offset > replica.end_offset {
        return Fetched::refused(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    if leads && let Some(preferred) = preferred(state, ask, plan, partition, wanted.offset) {
        fetched.preferred_replica = Some(preferred);
        return fetched;
    }
    let bound = if plan.committed { last_stable_offset } else { high_watermark };
    let limit = wanted.bytes_max.min(left);
    let read = partition.log.read(wanted.offset, bound, limit, one_whole);
    if plan.committed {
        fetched.aborted = Some(partition.aborted_between(wanted.offset, read.upto).copied().collect());
    }
    fetched.records_bytes = read.length;
    fetched.records = read.slices;
    fetched
}

/// Whether the consumer's history ends before its position. `Some(None)`: the leader cannot tell.
fn diverging(partition: &Partition, wanted: &Wanted) -> Option<Option<(i32, i64)>> {
    if wanted.last_fetched_epoch < 0 {
        return None;
    }
    let (epoch, end_offset) = partition.end_of_epoch(wanted.last_fetched_epoch);
    if epoch < 0 || end_offset < 0 {
        return Some(None);
    }
    let is_diverging = end_offset < wanted.offset || epoch < wanted.last_fetched_epoch;
    is_diverging.then_some(Some((epoch, end_offset)))
}

/// KIP-392, where the brokers select replicas by rack: an in-sync follower in the consumer's rack that has
/// what it asks for.
fn preferred(state: &State, ask: &Ask, plan: &Plan, partition: &Partition, offset: i64) -> Option<i32> {
    let selector = state.values.fixed.get("replica.selector.class")?;
    if !selector.ends_with("RackAwareReplicaSelector") {
        return None;
    }
    let rack_of = |broker: i32| state.brokers.get(&broker).and_then(|broker| broker.rack.as_deref());
    let rack = plan.rack.as_deref()?;
    if rack_of(ask.broker) == Some(rack) {
        return None;
    }
    let suits = partition.replicas.iter().find(|replica| {
        replica.online
            && replica.in_sync
            && replica.end_offset >= offset
            && rack_of(replica.broker) == Some(rack)
    });
    suits.map(|replica| replica.broker)
}

/// Tells what was read, in an incremental session only what is new.
fn finish(state: &mut State, ask: &Ask, plan: &Plan, read: Vec<(Arc<Wanted>, Fetched)>) -> Answer {
    let mut told = Vec::with_capacity(read.len());
    for (wanted, fetched) in read {
        let news = News {
            high_watermark: fetched.high_watermark,
            log_start: fetched.log_start,
            has_records: fetched.records_bytes > 0,
            is_special: fetched.is_urgent(),
            is_error: fetched.is_error(),
        };
        let is_new = match state.brokers.get_mut(&ask.broker) {
            Some(broker) if plan.session != 0 => broker.sessions.tell(plan.session, &wanted, news),
            _ => true,
        };
        if is_new || !plan.incremental {
            told.push((wanted, fetched));
        }
    }
    let host = &state.host;
    let mut elsewhere: Vec<Elsewhere> = Vec::new();
    for (broker, _) in told.iter().filter_map(|(_, fetched)| fetched.leader) {
        if let Some(found) = state.brokers.get(&broker)
            && !elsewhere.iter().any(|known| known.broker == broker)
        {
            elsewhere.push(Elsewhere {
                broker,
                host: host.clone(),
                port: found.port,
                rack: found.rack.clone(),
            });
        }
    }
    fetch_reply::reply(ask, &Reply { session: plan.session, told, elsewhere })
}

pub(super) fn mentioned(state: &State, broker: i32, request: &FetchRequest) -> Vec<TopicPartition> {
    let in_session = state.brokers.get(&broker).into_iter();
    let in_session = in_session.flat_map(|broker| broker.sessions.wanted(request.session_id).cloned());
    let all = wanted(state, request).into_iter().chain(in_session);
    all.filter_map(|wanted| Some(TopicPartition::new(wanted.topic.clone()?, wanted.partition))).collect()
}
