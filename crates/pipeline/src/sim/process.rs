//! A process of the flow as the simulation sees it: an engine, what it has asked for, its connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use client::ProduceBatch;
use embedded_kafka::Taken;

use model::{BrokerId, ProducerId, TopicPartition};
use record_batch::Header;

use crate::budget::Budget;
use crate::engine::{ABSENT, Engine};
use crate::events::{Action, ConnectionId, Event, LaneKey, RequestId};

/// A produce request at a broker, or on its way.
pub(super) struct Pending {
    pub(super) request: RequestId,
    pub(super) batches: Vec<ProduceBatch>,
    /// What became of the batches, and when the broker stops waiting for its replicas.
    pub(super) taken: Option<(Vec<Taken>, Duration)>,
}

/// A connection to a destination broker. Brokers handle one request of it at a time, in order.
pub(super) struct Link {
    pub(super) broker: i32,
    pub(super) alive: bool,
    pub(super) queue: VecDeque<Pending>,
}

/// What sends to a destination partition, and what of: several producers may.
pub(super) type Written = (TopicPartition, ProducerId);

/// What a process knows of a destination partition: when that was so at the latest, and of the last look, also on
/// which connection.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// For which opening of which lane.
    pub(super) asked: LaneKey,
    pub(super) at: Duration,
    pub(super) looked_at: Duration,
    pub(super) connection: ConnectionId,
}

pub(super) struct Process {
    pub(super) engine: Engine,
    pub(super) budget: Arc<Budget>,
    /// Which store it writes to.
    pub(super) store: usize,
    /// Asked for, and not answered yet.
    pub(super) waiting: Vec<Action>,
    /// Answers on their way: what they say may be over when they arrive.
    pub(super) answers: Vec<Event>,
    pub(super) links: BTreeMap<ConnectionId, Link>,
    /// The high watermark and log start that the source's brokers have told in their fetch sessions.
    pub(super) told: BTreeMap<(BrokerId, TopicPartition), (i64, i64)>,
    next_connection: u64,
    pub(super) known: BTreeMap<Written, Known>,
    /// What it has sent, and does not know the outcome of.
    under_way: BTreeMap<RequestId, Vec<Written>>,
    /// What looks will tell it once they arrive.
    pub(super) looks: Vec<(LaneKey, Written, Known)>,
    /// When it was last told something, and since when it runs without having stood still.
    pub(super) told_at: Duration,
    pub(super) runs_since: Duration,
    /// Stopped by a signal, or by an overloaded machine, until then.
    pub(super) paused_until: Option<Duration>,
    /// What came for it, and what it was about to do, while it was paused.
    pub(super) inbox: VecDeque<Event>,
    pub(super) held: VecDeque<Action>,
    /// It may write until then.
    pub(super) lease_until: Option<Duration>,
}

impl Process {
    pub(super) fn new(engine: Engine, budget: Arc<Budget>, store: usize, now: Duration) -> Process {
        Process {
            engine,
            budget,
            store,
            waiting: Vec::new(),
            answers: Vec::new(),
            links: BTreeMap::new(),
            told: BTreeMap::new(),
            next_connection: 0,
            known: BTreeMap::new(),
            under_way: BTreeMap::new(),
            looks: Vec::new(),
            told_at: now,
            runs_since: now,
            paused_until: None,
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            lease_until: None,
        }
    }

    /// The connection to `broker` that is there, or a new one.
    pub(super) fn connection(&mut self, broker: i32) -> ConnectionId {
        if let Some((id, _)) = self.links.iter().find(|(_, link)| link.broker == broker && link.alive) {
            return *id;
        }
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.links.insert(id, Link { broker, alive: true, queue: VecDeque::new() });
        id
    }

    /// Notes what `event` tells it `now`.
    pub(super) fn note(&mut self, event: &Event, now: Duration) {
        if now > self.told_at + ABSENT {
            self.runs_since = now;
        }
        self.told_at = now;
        match event {
            Event::DestinationLooked { lanes, .. } => {
                for (key, _) in lanes {
                    let Some(at) = self.looks.iter().position(|(asked, ..)| asked == key) else { continue };
                    let (_, written, known) = self.looks.swap_remove(at);
                    // An answer to a question that was given up says nothing, however late it comes.
                    let age = |known: &Known| (known.asked.id, known.asked.opening);
                    if self.known.get(&written).is_none_or(|before| age(before) <= age(&known)) {
                        self.known.insert(written, known);
                    }
                }
            }
            Event::Produced { request, reply } => {
                let sent = self.under_way.remove(request).unwrap_or_default();
                let answered = |partition: &TopicPartition| {
                    reply.iter().flat_map(|reply| &reply.partitions).any(|it| it.partition == *partition)
                };
                for written in sent.iter().filter(|(partition, _)| answered(partition)) {
                    if let Some(known) = self.known.get_mut(written) {
                        known.at = now;
                    }
                }
            }
            _ => {}
        }
    }

    /// A lane sends by what it has seen on this connection, not long ago, and since the process runs. What follows at
    /// once something that is under way shares its fate.
    pub(super) fn no_send_without_a_look(
        &mut self,
        batches: &[ProduceBatch],
        (connection, request): (ConnectionId, RequestId),
        age_max: Duration,
        now: Duration,
    ) -> Result<(), String> {
        for batch in batches {
            let written = written(batch);
            let partition = &batch.partition;
            let Some(known) = self.known.get(&written) else {
                return Err(format!("no_send_without_a_look: {partition} was never looked at"));
            };
            let why = if known.connection != connection {
                "on another connection"
            } else if known.looked_at < self.runs_since {
                "before the process stood still"
            } else if now > known.at + age_max && !self.under_way.values().flatten().any(|it| *it == written)
            {
                "too long ago"
            } else {
                continue;
            };
            return Err(format!("no_send_without_a_look: {partition} was looked at {why}"));
        }
        self.under_way.insert(request, batches.iter().map(written).collect());
        Ok(())
    }

    /// The connections to `broker` that are there.
    pub(super) fn links_to(&self, broker: i32) -> Vec<ConnectionId> {
        let there = self.links.iter().filter(|(_, link)| link.broker == broker && link.alive);
        there.map(|(id, _)| *id).collect()
    }

    pub(super) fn links_with_work(&self) -> Vec<ConnectionId> {
        self.links.iter().filter(|(_, link)| !link.queue.is_empty()).map(|(id, _)| *id).collect()
    }
}

fn written(batch: &ProduceBatch) -> Written {
    let header = Header::read(&batch.header).expect("a patched header can be read");
    (batch.partition.clone(), header.producer_id)
}
