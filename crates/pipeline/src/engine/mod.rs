//! The state machine of all lanes of a flow: told what happened, it says what to do. No I/O, no clock.
//!
//! [`Engine::handle`] takes one event; [`Engine::poll_action`] gives what is to be done until it gives
//! nothing; [`Engine::timeout`] says when to come back if nothing happens. The lanes come and go in
//! `routing`, are stepped in `opening`, fed in `reading`, emptied in `writing` and their progress is kept in `commit`.

mod commit;
mod finding;
mod living;
mod opening;
mod reading;
mod routing;
mod silence;
mod spreading;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BrokerId, Offset, TopicName, TopicPartition};
use offsets::{Producer, Stored, StoredLane};
use record_batch::Share;
use tracing::{debug, info, warn};

use crate::budget::{Budget, Charge};
use crate::events::{Action, ConnectionId, Event, LaneId, LaneKey, Leader, Now, ProducerKey, RequestId};
use crate::lane::{Lane, Opening, SendRules, State};
use crate::options::Options;
use crate::status::{LaneState, LaneStatus, Status};
use crate::trouble::{Side, Trouble};
use crate::way::Ways;
use opening::LOOK_AGAIN;
use silence::{LISTEN_EVERY, between_asks};
use spreading::{SpreadIds, Spreading};

/// A request that is not answered for so long is told of, well before it is given up.
const OVERDUE: Duration = Duration::from_secs(5);
/// The longest time between two events.
const PULSE: Duration = Duration::from_secs(2);
/// Where requests had to wait, tiny batches are merged for so long.
const CROWDED_FOR: Duration = Duration::from_secs(1);
/// After so long a time without any, the process was not running.
pub(crate) const ABSENT: Duration = Duration::from_secs(5);

/// The flow's producer id, from nothing to usable.
#[derive(Debug)]
enum Identity {
    /// To be allocated, now or at the time given.
    Missing(Option<Instant>),
    Asked,
    /// Allocated, and not yet where a restart would find it.
    Unsaved(Producer),
    Ready(Producer),
}

/// What is known of the leaders of one side.
#[derive(Debug, Default)]
struct Leadership {
    leaders: HashMap<TopicPartition, Leader>,
    /// Leaders of a new epoch, and when they were heard of, for as long as not everybody may have heard.
    newer: HashMap<TopicPartition, (Leader, Instant)>,
    /// How many answers in a row have changed nothing.
    in_vain: u32,
    /// An answer is under way.
    asked: bool,
    /// Somebody found the present knowledge wrong or lacking.
    wanted: bool,
    last_answer: Option<Instant>,
    /// When the last question was asked, and the last one that was answered: what is known is at least as young.
    asked_at: Option<Instant>,
    known_since: Option<Instant>,
    failures: u32,
    trouble: Option<Trouble>,
}

/// A produce request under way.
#[derive(Debug)]
struct Request {
    broker: BrokerId,
    connection: ConnectionId,
    lanes: Vec<LaneId>,
    bytes: usize,
    sent_at: Instant,
}

/// A broker that requests had to wait for, so that batches per second were the limit.
#[derive(Debug)]
struct Crowded {
    last: Instant,
    /// That batches are merged for that was told.
    told: bool,
}

impl Crowded {
    /// It was lately.
    fn lasts(&self, now: Instant) -> bool {
        now < self.last + CROWDED_FOR
    }
}

/// A fetch request under way.
#[derive(Debug)]
struct FetchUnderWay {
    /// Each with the offset that was asked for.
    lanes: Vec<(LaneKey, TopicPartition, Offset)>,
    asked_at: Instant,
    /// There was something to read, as far as is known.
    is_behind: bool,
    bytes_max: usize,
    wait_max: Duration,
    /// Room for the answer, kept until it is here.
    _reserved: Charge,
}

/// What is being stored.
#[derive(Debug)]
struct Saving {
    lanes: Vec<LaneId>,
    /// Last positions of lanes that are gone.
    leftovers: BTreeMap<TopicPartition, StoredLane>,
    /// Those of shares that are gone: of which source partitions.
    shares_gone: Vec<TopicPartition>,
}

/// Progress cannot be stored.
#[derive(Debug)]
struct StoreFailure {
    trouble: Trouble,
    /// Failed saves in a row.
    attempts: u32,
    /// It was told that something waits for the store.
    told_waiting: bool,
}

/// All lanes of one flow.
#[derive(Debug)]
pub(crate) struct Engine {
    options: Options,
    budget: Arc<Budget>,
    identity: Identity,
    /// The process before this one left nothing under way.
    started_clean: bool,
    /// A lane went while the outcome of something it had sent was unknown.
    left_unsettled: bool,
    /// Set where the flow as a whole may not go on.
    flow_trouble: Option<Trouble>,
    generation: u64,
    /// What earlier runs left of partitions that have no lane now.
    stored: BTreeMap<TopicPartition, StoredLane>,
    lanes: BTreeMap<LaneId, Lane>,
    /// But those of shares: see `spreads`.
    by_source: HashMap<TopicPartition, LaneId>,
    /// Of several shares, any one.
    by_destination: HashMap<TopicPartition, LaneId>,
    /// What the shares of a source partition have in common, for each that is spread.
    spreads: BTreeMap<TopicPartition, Spreading>,
    spread_ids: SpreadIds,
    source: Leadership,
    destination: Leadership,

    /// Whom to ask about which lanes next; about each once, or a broker refuses the whole question.
    look_source: BTreeMap<BrokerId, BTreeSet<LaneId>>,
    look_destination: BTreeMap<BrokerId, BTreeSet<LaneId>>,
    looking_destination: BTreeSet<BrokerId>,

    fetches: BTreeMap<BrokerId, FetchUnderWay>,
    fetch_not_before: BTreeMap<BrokerId, (Instant, u32)>,
    /// Since when there is no room for what lanes would read.
    crowded_since: Option<Instant>,
    /// When a source broker last answered a fetch.
    answered_at: BTreeMap<BrokerId, Instant>,
    /// When lanes that have nothing to read are asked for, whoever else is full.
    read_alone_at: Option<Instant>,

    requests: BTreeMap<RequestId, Request>,
    /// How many are under way to each broker, and their bytes.
    requests_out: BTreeMap<BrokerId, (usize, usize)>,
    ways: Ways,
    crowded_at: BTreeMap<BrokerId, Crowded>,
    connections: BTreeMap<BrokerId, ConnectionId>,
    sendable: BTreeMap<BrokerId, VecDeque<LaneId>>,
    send_not_before: BTreeMap<BrokerId, Instant>,

    /// Bytes acknowledged in this process, or walked over because they were before, and how many they were when
    /// progress was last stored.
    copied_bytes: u64,
    stored_bytes: u64,
    saving: Option<Saving>,
    /// When the last save was asked for.
    saving_since: Instant,
    /// The last save failed: the next is a matter of time, however much comes meanwhile.
    store_failure: Option<StoreFailure>,
    save_due: Option<Instant>,
    save_now: bool,
    /// Last positions of lanes that are gone, not yet stored.
    leftovers: BTreeMap<TopicPartition, StoredLane>,

    /// Until when this process may write, where that has an end.
    lease: Option<Instant>,
    /// That end came: what this process knows is old, for good.
    lease_lost: bool,
    /// When anything last happened here: the timer sees to it that this is not long ago.
    heard_at: Instant,
    heard_wall_ms: i64,
    /// When it was last looked whether brokers are silent.
    listened_at: Instant,
    /// When this process last ran again after it had stood still, or was started.
    returned_at: Instant,

    timers: BTreeSet<(Instant, LaneId)>,
    to_step: BTreeSet<LaneId>,
    stopping: bool,
    final_save_done: bool,
    clean_end_saved: bool,
    next_id: u64,
    actions: VecDeque<Action>,
    /// New troubles of this event, by their text: the first lane, how many, and what to do about it.
    news: BTreeMap<String, (TopicPartition, usize, Option<&'static str>)>,
    healed: (usize, Option<TopicPartition>),
    now: Now,
}

impl Engine {
    /// An engine without routes. `stored` is what earlier runs left; `destination_cluster_id` the cluster
    /// that is there now.
    pub(crate) fn new(
        options: Options,
        budget: Arc<Budget>,
        stored: Stored,
        destination_cluster_id: Option<&str>,
        now: Now,
    ) -> Engine {
        let other_cluster = stored
            .producer
            .as_ref()
            .and_then(|producer| producer.destination_cluster_id.as_deref())
            .zip(destination_cluster_id)
            .filter(|(stored, present)| stored != present)
            .map(|(stored, present)| Trouble::OtherDestination {
                stored: stored.to_owned(),
                present: present.to_owned(),
            });
        let clean = stored.producer.as_ref().is_none_or(|producer| producer.stopped_cleanly);
        let identity = stored.producer.map_or(Identity::Missing(None), |producer| {
            // Before anything is sent, the store must say that something may be under way.
            Identity::Unsaved(Producer { stopped_cleanly: false, ..producer })
        });
        Engine {
            budget,
            save_now: matches!(identity, Identity::Unsaved(_)) && other_cluster.is_none(),
            identity,
            started_clean: clean,
            left_unsettled: false,
            flow_trouble: other_cluster,
            generation: 0,
            stored: stored.lanes,
            lanes: BTreeMap::new(),
            by_source: HashMap::new(),
            by_destination: HashMap::new(),
            spreads: BTreeMap::new(),
            spread_ids: SpreadIds::default(),
            source: Leadership::default(),
            destination: Leadership::default(),
            look_source: BTreeMap::new(),
            look_destination: BTreeMap::new(),
            looking_destination: BTreeSet::new(),
            fetches: BTreeMap::new(),
            fetch_not_before: BTreeMap::new(),
            crowded_since: None,
            answered_at: BTreeMap::new(),
            read_alone_at: None,
            requests: BTreeMap::new(),
            requests_out: BTreeMap::new(),
            ways: Ways::default(),
            crowded_at: BTreeMap::new(),
            connections: BTreeMap::new(),
            sendable: BTreeMap::new(),
            send_not_before: BTreeMap::new(),
            copied_bytes: 0,
            stored_bytes: 0,
            saving: None,
            saving_since: now.instant,
            store_failure: None,
            save_due: Some(now.instant + options.flush_interval),
            leftovers: BTreeMap::new(),
            lease: None,
            lease_lost: false,
            heard_at: now.instant,
            heard_wall_ms: now.wall_ms,
            listened_at: now.instant,
            returned_at: now.instant,
            timers: BTreeSet::new(),
            to_step: BTreeSet::new(),
            stopping: false,
            final_save_done: false,
            clean_end_saved: false,
            next_id: 0,
            actions: VecDeque::new(),
            news: BTreeMap::new(),
            healed: (0, None),
            now,
            options,
        }
    }

    /// Takes one event at `now`.
    pub(crate) fn handle(&mut self, now: Now, event: Event) {
        self.now = now;
        if now.instant > self.heard_at + ABSENT || self.slept(now) {
            self.was_absent();
        }
        (self.heard_at, self.heard_wall_ms) = (now.instant, now.wall_ms);
        self.lease_lost |= self.lease.is_some_and(|until| until <= now.instant);
        match event {
            Event::Routes(routes) => self.routes_changed(&routes),
            Event::ProducerAllocated(result) => self.producer_allocated(result),
            Event::Leaders { side, answer } => self.leaders_answered(side, answer),
            Event::SourceLooked { broker, lanes } => self.source_looked(broker, lanes),
            Event::DestinationLooked { broker, connection, lanes } => {
                self.destination_looked(broker, connection, lanes);
            }
            Event::TailRead { lane, evidence, tail } => self.tail_read(lane, evidence, tail),
            Event::ContentsRead { lane, evidence, contents } => self.contents_read(lane, &evidence, contents),
            Event::Fetched { broker, reply } => self.fetched(broker, reply),
            Event::Transcoded { lane, ticket, pieces } => self.transcoded(lane, ticket, pieces),
            Event::TranscodedShares(shares) => {
                for (lane, ticket, pieces) in shares {
                    self.transcoded(lane, ticket, pieces);
                }
            }
            Event::Produced { request, reply } => self.produced(request, reply),
            Event::Saved(result) => self.saved(result),
            Event::Lease(until) => self.lease = Some(until),
            Event::Stop => self.stop(),
            Event::Timer => {}
        }
        self.advance();
    }

    /// What to do next; nothing until the next event.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to hand in [`Event::Timer`] if nothing else happens.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        if self.lanes.is_empty() || self.lease_lost {
            return None;
        }
        let lanes = self.timers.first().map(|(at, _)| *at);
        let identity = match self.identity {
            Identity::Missing(at) if self.flow_trouble.is_none() => at,
            _ => self.spread_ids_due(),
        };
        let fetches =
            self.fetch_not_before.values().map(|(at, _)| *at).filter(|at| *at > self.now.instant).min();
        let sends = self.send_not_before.values().copied().min();
        // Nobody asks for the leaders of lanes that only drain.
        let wanted = self.lanes.values().any(|lane| lane.state != State::Draining);
        let metadata = [&self.source, &self.destination]
            .into_iter()
            .filter(|side| wanted && !side.asked)
            .filter_map(|side| side.last_answer)
            .min()
            .map(|at| at + self.options.metadata_age_max);
        let save = self.save_due.filter(|_| self.saving.is_none());
        let pulse = match self.awaits_brokers() {
            true => Some((self.listened_at + LISTEN_EVERY).max(self.now.instant)),
            false => Some(self.heard_at + PULSE),
        };
        let apart = self.reads_apart_at();
        let reads_on = self.waits_for_store_until();
        [
            lanes,
            identity,
            fetches,
            apart,
            self.read_alone_at,
            reads_on,
            sends,
            metadata,
            save,
            self.lease,
            pulse,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a stop is complete: nothing is under way and what was acknowledged is stored.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopping && self.final_save_done
    }

    /// Lanes with something under way.
    pub(crate) fn lanes_under_way(&self) -> usize {
        self.lanes.values().filter(|lane| !lane.in_flight.is_empty()).count()
    }

    /// A picture for people: all lanes, in the order of their source partitions. What spreads one is one.
    pub(crate) fn status(&self) -> Status {
        let lanes = self.lane_statuses();
        let lanes = if self.spreads.is_empty() { lanes } else { spreading::sum_up(&lanes) };
        Status { lanes, ..self.status_of_flow() }
    }

    /// Every lane, shares as well.
    pub(crate) fn lane_statuses(&self) -> Vec<LaneStatus> {
        let aged_before_ms = self.aged_before_ms();
        let overdue = self.overdue();
        let mut lanes: Vec<LaneStatus> = self
            .lanes
            .values()
            .map(|lane| LaneStatus {
                source: lane.route.source.clone(),
                destination: lane.route.destination.clone(),
                state: match lane.state {
                    State::Opening(_) => LaneState::Opening,
                    State::Probing => LaneState::Probing,
                    State::Flowing if lane.shows_aged(aged_before_ms) => LaneState::Aged,
                    State::Flowing => LaneState::Flowing,
                    State::Blocked { .. } => LaneState::Blocked,
                    State::Draining => LaneState::Draining,
                },
                trouble: lane.trouble.as_ref().or_else(|| overdue.get(&lane.id)).cloned(),
                next_source: lane.acked.next_source,
                source_end: lane.source_end,
                source_end_at_start: lane.source_end_at_start,
                records: lane.records,
                bytes: lane.bytes,
                transcoded_batches: lane.transcoded,
                merged_batches: lane.merged,
                life: lane.life,
            })
            .collect();
        lanes.sort_by(|a, b| (&a.source, &a.destination).cmp(&(&b.source, &b.destination)));
        lanes
    }

    fn status_of_flow(&self) -> Status {
        Status {
            generation: self.generation,
            trouble: self
                .flow_trouble
                .clone()
                .or_else(|| self.lease_lost.then_some(Trouble::LeaseOver))
                .or_else(|| self.source.trouble.clone())
                .or_else(|| self.destination.trouble.clone())
                .or_else(|| self.store_failure.as_ref().map(|failure| failure.trouble.clone())),
            held_bytes: self.budget.used_bytes(),
            lanes: Vec::new(),
        }
    }

    /// Lanes that do nothing but wait for an answer, and have for long.
    fn overdue(&self) -> BTreeMap<LaneId, Trouble> {
        let since = |at: Instant| self.now.instant.checked_duration_since(at).filter(|past| *past >= OVERDUE);
        let mut overdue = BTreeMap::new();
        for (broker, fetch) in &self.fetches {
            let Some(past) = since(fetch.asked_at + fetch.wait_max) else { continue };
            let lanes = fetch.lanes.iter().filter_map(|(key, ..)| self.lanes.get(&key.id));
            let trouble = Trouble::NoAnswer(Side::Source, *broker, past.as_secs());
            overdue.extend(
                lanes
                    .filter(|lane| lane.is_reading() && lane.is_idle())
                    .map(|lane| (lane.id, trouble.clone())),
            );
        }
        overdue.extend(self.lanes.values().filter_map(|lane| Some((lane.id, self.overdue_opening(lane)?))));
        for request in self.requests.values() {
            let Some(past) = since(request.sent_at) else { continue };
            let trouble = Trouble::NoAnswer(Side::Destination, request.broker, past.as_secs());
            overdue.extend(request.lanes.iter().map(|id| (*id, trouble.clone())));
        }
        overdue
    }

    /// What an opening lane has waited for for long.
    fn overdue_opening(&self, lane: &Lane) -> Option<Trouble> {
        let since = |at: Instant| self.now.instant.checked_duration_since(at).filter(|past| *past >= OVERDUE);
        let State::Opening(opening) = lane.state else { return None };
        let (side, leader) = match opening {
            Opening::Source => (Side::Source, lane.source_leader?),
            Opening::Destination => {
                (Side::Destination, *self.destination.leaders.get(&lane.route.destination)?)
            }
            Opening::Ready if !matches!(self.identity, Identity::Unsaved(_)) => return None,
            Opening::Ready | Opening::Saving => {
                let past = since(self.saving_since).filter(|_| self.saving.is_some())?;
                return Some(Trouble::Store(format!("nothing has come of it for {} s", past.as_secs())));
            }
            Opening::Tail => return None,
        };
        let past = since(lane.asked_at.max(lane.doubt_at))?;
        Some(Trouble::NoAnswer(side, leader.broker, past.as_secs()))
    }

    /// What became of the lanes during one event, one line for all that share a reason.
    fn tell(&mut self) {
        for (reason, (first, lanes, hint)) in std::mem::take(&mut self.news) {
            let hint = hint.map(|hint| self.options.users.named(hint));
            match (hint.as_deref(), lanes) {
                (Some(hint), 1) => warn!(source = %first, reason, hint, "lane stopped"),
                (Some(hint), _) => warn!(lanes, first = %first, reason, hint, "lanes stopped"),
                (None, 1) => warn!(source = %first, reason, "lane waits, retrying"),
                (None, _) => warn!(lanes, first = %first, reason, "lanes wait, retrying"),
            }
        }
        match std::mem::take(&mut self.healed) {
            (0, _) => {}
            (1, Some(first)) => info!(source = %first, "lane goes on"),
            (lanes, first) => info!(lanes, first = first.map(tracing::field::display), "lanes go on"),
        }
    }

    /// Sets what keeps a lane, and remembers to say so: at once where somebody must do something, else
    /// when it has lasted for longer than a first retry.
    fn set_trouble(&mut self, id: LaneId, trouble: Trouble) {
        let lasts = self.lanes.get(&id).is_some_and(|lane| lane.attempts > 2);
        self.note_trouble(id, trouble, lasts);
    }

    /// The same for what is known to last longer than that.
    fn set_lasting_trouble(&mut self, id: LaneId, trouble: Trouble) {
        self.note_trouble(id, trouble, true);
    }

    fn note_trouble(&mut self, id: LaneId, trouble: Trouble, lasts: bool) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.trouble.as_ref() != Some(&trouble) {
            lane.told = false;
        }
        if !lane.told && (lasts || !trouble.passes()) {
            lane.told = true;
            let hint = trouble.hint().filter(|_| !trouble.passes());
            let news =
                self.news.entry(trouble.to_string()).or_insert_with(|| (lane.route.source.clone(), 0, hint));
            news.1 += 1;
        }
        lane.trouble = Some(trouble);
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Records with a timestamp below this may be forgotten by the destination at any time.
    fn aged_before_ms(&self) -> i64 {
        self.now.wall_ms - i64::try_from(self.options.aged_after.as_millis()).unwrap_or(i64::MAX)
    }

    fn send_rules(&self) -> SendRules {
        SendRules { aged_before_ms: self.aged_before_ms(), now: self.now.instant }
    }

    fn side(&mut self, side: Side) -> &mut Leadership {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }

    /// Everything that can be done after an event.
    fn advance(&mut self) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > self.now.instant {
                break;
            }
            self.timers.pop_first();
            self.to_step.insert(id);
        }
        self.fetch_not_before.retain(|_, (at, failures)| *at > self.now.instant || *failures > 0);
        self.send_not_before.retain(|_, at| *at > self.now.instant);
        self.allocate_producer();
        self.allocate_spread_ids();
        while let Some(id) = self.to_step.pop_first() {
            self.step(id);
        }
        self.listen();
        self.refresh_leaders(Side::Source);
        self.refresh_leaders(Side::Destination);
        self.flush_looks();
        self.send_batches();
        self.issue_fetches();
        self.save_progress();
        self.tell();
    }

    /// Whether the machine slept: the wall clock goes on then, the monotonic one does not.
    fn slept(&self, now: Now) -> bool {
        let monotonic = now.instant.saturating_duration_since(self.heard_at);
        let wall_ms = u64::try_from(now.wall_ms - self.heard_wall_ms).unwrap_or(0);
        Duration::from_millis(wall_ms) > monotonic + ABSENT
    }

    /// This process, or its machine, stood still. Meanwhile a leader may have gone and come back with another
    /// log, on a connection that never broke.
    fn was_absent(&mut self) {
        self.returned_at = self.now.instant;
        self.source.wanted = true;
        self.destination.wanted = true;
    }

    fn stop(&mut self) {
        self.stopping = true;
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in ids {
            self.drain(id);
        }
        self.save_now = true;
    }

    fn leaders_answered(
        &mut self,
        side: Side,
        answer: Result<Vec<(TopicPartition, Leader)>, client::CallError>,
    ) {
        let instant = self.now.instant;
        let leadership = self.side(side);
        leadership.asked = false;
        leadership.last_answer = Some(instant);
        let mut before = None;
        match answer {
            Ok(leaders) => {
                let leaders = leaders.into_iter().collect();
                before = Some(leadership.learn(leaders, instant));
                leadership.failures = 0;
                leadership.known_since = leadership.asked_at;
                if leadership.trouble.take().is_some() {
                    info!(cluster = %side, "answers again");
                    if side == Side::Source {
                        // The pauses grew while nobody was there.
                        for (at, _) in self.fetch_not_before.values_mut() {
                            *at = instant;
                        }
                    }
                }
            }
            Err(error) => {
                leadership.failures += 1;
                leadership.wanted = true;
                let trouble = Trouble::Connection(side, error.to_string());
                if leadership.trouble.as_ref() != Some(&trouble) {
                    warn!(cluster = %side, error = %trouble, "cannot find leaders, retrying");
                }
                leadership.trouble = Some(trouble);
            }
        }
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in ids {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let (leadership, partition) = match side {
                Side::Source => (&self.source, &lane.route.source),
                Side::Destination => (&self.destination, &lane.route.destination),
            };
            let present = leadership.leaders.get(partition).copied();
            let former = before.as_ref().and_then(|before| before.get(partition).copied());
            match present {
                Some(Leader { broker, epoch, .. }) if before.is_some() && former != present => {
                    debug!(cluster = %side, %partition, %broker, %epoch, "has another leader");
                }
                None if former.is_some() => debug!(cluster = %side, %partition, "has no leader"),
                _ => {}
            }
            // What kept another leader from answering says nothing of this one, and the pauses grew meanwhile.
            let another_leader = present.is_some()
                && before.is_some()
                && former != present
                && lane.trouble.as_ref().is_some_and(|trouble| trouble.is_of_leader(side));
            if another_leader {
                lane.attempts = 0;
            }
            let routed = match side {
                Side::Source => lane.route.source_topic_id,
                Side::Destination => lane.route.destination_topic_id,
            };
            let other_topic = present.and_then(|leader| leader.topic_id).zip(routed);
            if other_topic.is_some_and(|(present, routed)| present != routed) && lane.is_reading() {
                if side == Side::Source {
                    (lane.source_leader, lane.preferred) = (present, None);
                }
                self.doubt(id, Some(Trouble::TopicReplaced(side)), false);
                continue;
            }
            match side {
                Side::Source => {
                    if former != present {
                        lane.preferred = None;
                    }
                    if lane.state == State::Opening(Opening::Source) && lane.asked_another(present) {
                        lane.doubted(instant, false);
                        lane.reopen(State::Opening(Opening::Ready));
                    }
                    if present.is_some() && lane.source_leader != present && lane.is_reading() {
                        lane.verify_again();
                    }
                    lane.source_leader = present;
                    if another_leader {
                        lane.fetch_not_before = None;
                    }
                    if let Some(leader) = present.filter(|_| another_leader)
                        && let Some((at, _)) = self.fetch_not_before.get_mut(&leader.broker)
                    {
                        *at = instant;
                    }
                }
                Side::Destination => {
                    let looks = [Opening::Destination, Opening::Tail].map(State::Opening);
                    if looks.contains(&lane.state) && lane.asked_another(present) {
                        lane.doubted(instant, false);
                        lane.reopen(State::Opening(Opening::Ready));
                    }
                    if let Some((looked_at, _)) = lane.looked_at
                        && lane.is_reading()
                        && present.is_some_and(|present| present != looked_at)
                    {
                        // What was seen was another leader's log.
                        self.doubt(id, None, false);
                        continue;
                    }
                }
            }
            let has_leaders = self.source.leaders.contains_key(&lane.route.source)
                && self.destination.leaders.contains_key(&lane.route.destination);
            if let State::Blocked { .. } = lane.state
                && has_leaders
                && (another_leader || matches!(lane.trouble, Some(Trouble::NoLeader(_))))
            {
                lane.reopen(State::Opening(Opening::Ready));
            }
            if lane.state == State::Opening(Opening::Ready) {
                self.to_step.insert(id);
            }
        }
        if side == Side::Destination {
            self.leave_silent_brokers();
        }
    }

    /// Asks for leaders where somebody wants to know, or what is known has grown old.
    fn refresh_leaders(&mut self, side: Side) {
        let instant = self.now.instant;
        let age_max = self.options.metadata_age_max;
        let backoff = (self.options.backoff_min, self.options.backoff_max);
        let leadership = self.side(side);
        let old = leadership.last_answer.is_some_and(|at| instant >= at + age_max);
        if leadership.asked || !(leadership.wanted || old) {
            return;
        }
        let topics = self.topics(side);
        if topics.is_empty() {
            return;
        }
        let leadership = self.side(side);
        leadership.asked = true;
        leadership.asked_at = Some(instant);
        leadership.wanted = false;
        let pause = match (leadership.failures, leadership.last_answer) {
            (0, None) => Duration::ZERO,
            (0, Some(at)) => (at + between_asks(topics.len())).saturating_duration_since(instant),
            (failures, _) => backoff_of(failures, backoff),
        };
        self.actions.push_back(Action::FindLeaders { side, topics, after: pause });
    }

    fn topics(&self, side: Side) -> Vec<TopicName> {
        let topics: BTreeSet<&TopicName> = self
            .lanes
            .values()
            .filter(|lane| lane.state != State::Draining)
            .map(|lane| match side {
                Side::Source => &lane.route.source.topic,
                Side::Destination => &lane.route.destination.topic,
            })
            .collect();
        topics.into_iter().cloned().collect()
    }

    /// The position of a lane is in question: it starts over by looking, at once the first time, later
    /// with growing pauses. `trouble` is what an operator sees meanwhile; `unsettled` says that the
    /// outcome of something sent is unknown.
    fn doubt(&mut self, id: LaneId, trouble: Option<Trouble>, unsettled: bool) {
        let options = (self.options.backoff_min, self.options.backoff_max);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.doubted(self.now.instant, unsettled);
        if lane.state == State::Draining {
            self.to_step.insert(id);
            return;
        }
        let passes = trouble.as_ref().is_none_or(Trouble::passes);
        let may_be_damage = matches!(trouble, Some(Trouble::BatchRefused { .. }));
        let pause = match (passes, lane.attempts) {
            // Whoever is asked about leaders is asked about all at once.
            (true, 1..) if matches!(trouble, Some(Trouble::NoLeader(_))) => LOOK_AGAIN,
            // On the way here, that is: then it is gone when the batch is fetched again.
            (false, 0) if may_be_damage => Duration::ZERO,
            (false, _) => self.options.recheck_interval,
            (true, 0) => Duration::ZERO,
            (true, attempts) => backoff_of(attempts, options),
        };
        lane.attempts += 1;
        debug!(source = %lane.route.source, attempts = lane.attempts, ?pause, unsettled,
            reason = %trouble.as_ref().map_or_else(|| "has to look again".to_owned(), Trouble::to_string), "opens again");
        if pause.is_zero() {
            lane.reopen(State::Opening(Opening::Ready));
            self.to_step.insert(id);
        } else {
            let retry_at = self.now.instant + pause;
            lane.reopen(State::Blocked { retry_at });
            self.timers.insert((retry_at, id));
        }
        if let Some(trouble) = trouble {
            self.set_trouble(id, trouble);
        }
    }

    /// The lane moves: what was wrong is over.
    fn healed(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.attempts = 0;
        if lane.trouble.take().is_some() && std::mem::take(&mut lane.told) {
            self.healed.0 += 1;
            self.healed.1.get_or_insert_with(|| lane.route.source.clone());
        }
    }

    /// Under which producer `lane` writes, once that is stored.
    fn producer_of(&self, lane: &Lane) -> Option<ProducerKey> {
        producer_of(&self.identity, lane.share)
    }

    fn lane_at(&mut self, key: LaneKey) -> Option<&mut Lane> {
        self.lanes.get_mut(&key.id).filter(|lane| lane.opening == key.opening)
    }
}

/// The producer of a lane, which is a share or not, once it is stored.
fn producer_of(identity: &Identity, share: Option<Share>) -> Option<ProducerKey> {
    let Identity::Ready(producer) = identity else { return None };
    let id = share.map_or(Some(producer.producer_id), |share| producer.spread_id(share.source))?;
    Some((id, producer.producer_epoch))
}

/// The `attempt`th pause (from 1), doubling from the first bound to the second.
fn backoff_of(attempt: u32, (min, max): (Duration, Duration)) -> Duration {
    min.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(max)
}
