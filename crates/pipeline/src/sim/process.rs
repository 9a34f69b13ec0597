//! A process of the flow as the simulation sees it: an engine, what it has asked for, its connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use client::ProduceBatch;
use embedded_kafka::Taken;

use crate::budget::Budget;
use crate::engine::Engine;
use crate::events::{Action, ConnectionId, Event, RequestId};

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
    next_connection: u64,
    /// Stopped by a signal, or by an overloaded machine, until then.
    pub(super) paused_until: Option<Duration>,
    /// What came for it, and what it was about to do, while it was paused.
    pub(super) inbox: VecDeque<Event>,
    pub(super) held: VecDeque<Action>,
    /// It may write until then.
    pub(super) lease_until: Option<Duration>,
}

impl Process {
    pub(super) fn new(engine: Engine, budget: Arc<Budget>, store: usize) -> Process {
        Process {
            engine,
            budget,
            store,
            waiting: Vec::new(),
            answers: Vec::new(),
            links: BTreeMap::new(),
            next_connection: 0,
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

    pub(super) fn links_with_work(&self) -> Vec<ConnectionId> {
        self.links.iter().filter(|(_, link)| !link.queue.is_empty()).map(|(id, _)| *id).collect()
    }
}
