//! Brokers that do not answer.
//!
//! A broker that hangs keeps its connections, and a request on one of them waits for as long as its time-out. Meanwhile
//! the cluster may have elected others. So while a broker is silent it is asked, elsewhere, who leads; and once another
//! leads what the silent one was sent, its connection is given up, which makes the outcome as unknown as a connection
//! that breaks: the lanes look at the new leaders.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use model::{BrokerId, LeaderEpoch, TopicPartition};
use tracing::info;

use super::{Engine, Leadership};
use crate::events::{Action, ConnectionId, LaneId, Leader};
use crate::lane::{Lane, Opening, State};
use crate::trouble::Side;

/// A broker that has not answered for so long may lead no more.
const SILENT: Duration = Duration::from_secs(1);
/// How often that is looked for, and how often at most leaders are asked for meanwhile.
pub(super) const LISTEN_EVERY: Duration = Duration::from_millis(500);
/// How often once it has been in vain so many times: what is far away, or waits for its followers, is slow for good.
const LISTEN_LATER: Duration = Duration::from_secs(2);
const IN_VAIN_MAX: u32 = 20;
/// Leaders move within moments; asking faster than this only loads the broker. An answer about many topics is large.
const BETWEEN_ASKS_MIN: Duration = Duration::from_millis(100);
const BETWEEN_ASKS_PER_TOPIC: Duration = Duration::from_micros(20);
/// For how long a newer leader is believed against a broker that has not heard of it.
const NEWS_SPREADS: Duration = Duration::from_secs(5);

/// How long after an answer about the leaders of `topics` topics they are asked for again, at least.
pub(super) fn between_asks(topics: usize) -> Duration {
    let topics = u32::try_from(topics).unwrap_or(u32::MAX);
    BETWEEN_ASKS_MIN.max(BETWEEN_ASKS_PER_TOPIC.saturating_mul(topics))
}

impl Engine {
    /// Whether something waits for an answer.
    pub(super) fn awaits_brokers(&self) -> bool {
        !(self.requests.is_empty() && self.fetches.is_empty() && self.looking_destination.is_empty())
    }

    /// Has leaders asked for where a broker is silent.
    pub(super) fn listen(&mut self) {
        let now = self.now.instant;
        if now < self.listened_at + LISTEN_EVERY {
            return;
        }
        self.listened_at = now;
        for side in [Side::Source, Side::Destination] {
            if self.side(side).asked || !self.is_silent(side) {
                continue;
            }
            let spaced = between_asks(self.topics(side).len());
            let leadership = self.side(side);
            let often = if leadership.in_vain < IN_VAIN_MAX { LISTEN_EVERY } else { LISTEN_LATER };
            leadership.wanted |= leadership.last_answer.is_none_or(|at| now >= at + often.max(spaced));
        }
    }

    fn is_silent(&self, side: Side) -> bool {
        let since = |at: Instant| self.now.instant >= at + SILENT;
        let looks = |lane: &Lane| match (lane.state, side) {
            (State::Opening(Opening::Source), Side::Source)
            | (State::Opening(Opening::Destination | Opening::Tail), Side::Destination) => {
                since(lane.asked_at)
            }
            _ => false,
        };
        let sent = match side {
            Side::Source => self.fetches.values().any(|fetch| since(fetch.asked_at + fetch.wait_max)),
            Side::Destination => self.requests.values().any(|request| since(request.sent_at)),
        };
        sent || self.lanes.values().any(looks)
    }

    /// Gives up the connections to silent brokers that lead nothing any more of what they were sent. One that leads
    /// some of it may only be slow.
    pub(super) fn leave_silent_brokers(&mut self) {
        let mut sent: BTreeMap<(BrokerId, ConnectionId), bool> = BTreeMap::new();
        let leads = |id: &LaneId, broker: BrokerId| {
            let Some(lane) = self.lanes.get(id) else { return false };
            let leader = self.destination.leaders.get(&lane.route.destination);
            // Nobody asks who leads those that only drain.
            leader.map_or(lane.state == State::Draining, |leader| leader.broker == broker)
        };
        let mut silent = BTreeSet::new();
        for request in self.requests.values() {
            let at = (request.broker, request.connection);
            *sent.entry(at).or_default() |= request.lanes.iter().any(|id| leads(id, request.broker));
            if self.now.instant >= request.sent_at + SILENT {
                silent.insert(at);
            }
        }
        for (broker, connection) in silent {
            if sent.get(&(broker, connection)) == Some(&false) {
                info!(%broker, "the destination broker does not answer, and leads no more: its connection is closed");
                self.actions.push_back(Action::Disconnect { broker, connection });
            }
        }
    }
}

impl Leadership {
    /// Takes an answer, but for what it knows less of than earlier ones; gives the answer before.
    pub(super) fn learn(
        &mut self,
        mut leaders: HashMap<TopicPartition, Leader>,
        now: Instant,
    ) -> HashMap<TopicPartition, Leader> {
        self.newer.retain(|_, (_, at)| now < *at + NEWS_SPREADS);
        for (partition, (newer, _)) in &self.newer {
            if let Some(present) = leaders.get_mut(partition).filter(|present| is_older(present, newer)) {
                *present = *newer;
            }
        }
        for (partition, former) in &self.leaders {
            if let Some(present) = leaders.get(partition).filter(|present| is_older(former, present)) {
                self.newer.insert(partition.clone(), (*present, now));
            }
        }
        self.in_vain = if leaders == self.leaders { self.in_vain.saturating_add(1) } else { 0 };
        std::mem::replace(&mut self.leaders, leaders)
    }
}

/// Where both epochs are known, and of the same topic.
fn is_older(one: &Leader, other: &Leader) -> bool {
    one.epoch != LeaderEpoch::UNKNOWN && one.topic_id == other.topic_id && one.epoch < other.epoch
}
