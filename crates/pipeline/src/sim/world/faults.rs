//! What goes wrong, on either side and between.

use super::*;

impl World {
    pub(super) fn take_over(&mut self) {
        self.faults += 1;
        self.trace(|| "another process takes over".into());
        // What the old one has sent lands soon, or never; what it still does, it does with a lease that is over.
        let last = self.processes.len() - 1;
        for id in self.processes[last].links.keys().copied().collect::<Vec<_>>() {
            self.cut(last, id, true);
        }
        while self.processes.len() > 1 {
            // A third one would find the first one gone.
            self.processes.remove(0);
        }
        let store = self.processes[0].store;
        self.start_process(store);
    }

    pub(super) fn pause(&mut self, index: usize) {
        let longest = if self.flavour.mode == Mode::Lease { 25_000 } else { 40_000 };
        let until = self.elapsed + Duration::from_millis(self.rng.below(longest) as u64);
        self.trace(|| format!("{index} pauses until {until:?}"));
        self.faults += 1;
        self.processes[index].paused_until = Some(until);
    }

    pub(super) fn resume(&mut self, index: usize) {
        self.trace(|| format!("{index} goes on"));
        self.processes[index].paused_until = None;
        self.carry_out(index);
        while self.processes[index].paused_until.is_none() {
            let Some(event) = self.processes[index].inbox.pop_front() else { return };
            self.tell(index, event);
        }
    }

    pub(super) fn fault(&mut self) {
        let kind = self.rng.below(26);
        self.trace(|| format!("fault {kind}"));
        self.faults += 1;
        let index = self.rng.below(self.processes.len());
        let (from, to) = match self.flavour.spread {
            None => partitions(self.rng.below(self.destination.len()) as i32),
            Some(_) => {
                let of = [self.source.len(), self.destination.len()];
                let [from, to] = of.map(|count| partitions(self.rng.below(count) as i32));
                (from.0, to.1)
            }
        };
        match kind {
            0..=2 => {
                let alive: Vec<ConnectionId> = self.processes[index]
                    .links
                    .iter()
                    .filter(|(_, link)| link.alive)
                    .map(|(id, _)| *id)
                    .collect();
                if let Some(id) = self.rng.pick(&alive) {
                    self.cut(index, id, true);
                }
            }
            3 | 4 => {
                let broker = destination::BROKERS[self.rng.below(3)];
                // Nobody is made a leader who is not heard of.
                let stands_still = self.stands_still(broker);
                if let Some(log) = self.destination.get_mut(&to).filter(|_| !stands_still) {
                    log.partition.move_leader(broker);
                    log.follow_the_log(false);
                }
            }
            5 | 6 => {
                let now_ms = self.broker_ms();
                self.destination.values_mut().for_each(|log| log.partition.sweep(now_ms, EXPIRATION_MS));
            }
            7 => self.crash(index),
            8 => self.stop_and_start(index),
            9 => {
                if let Some(log) = self.source.get_mut(&from).filter(|log| log.compacted) {
                    log.clean(&mut self.rng);
                }
            }
            10 => self.stop_broker(1),
            11 => self.stop_broker(0),
            12 => {
                let broker = destination::BROKERS[self.rng.below(3)];
                if let Some(log) = self.destination.get_mut(&to) {
                    log.partition.pause_follower(broker);
                }
            }
            13 => {
                if let Some(log) = self.destination.get_mut(&to) {
                    log.partition.resume_followers();
                }
            }
            14 => self.elect_unclean(&to),
            15 => self.damage_source(&from),
            16 => self.pause(index),
            17 => self.wall_skew_ms = self.rng.below(3_600_000) as i64 - 1_800_000,
            18 if self.flavour.foreign => {
                let now_ms = self.broker_ms();
                if let Some(log) = self.destination.get_mut(&to) {
                    log.foreign(now_ms);
                }
            }
            19 if self.flavour.destination_retention => {
                if let Some(log) = self.destination.get_mut(&to) {
                    let end = log.partition.high_watermark() as usize;
                    // Of a log without a record nobody can tell what was the last one.
                    let left = if self.rng.chance(40) { end } else { self.rng.below(end + 1) };
                    log.partition.delete_before(left as i64);
                }
            }
            // The same flow: one that has no producer id yet is another one.
            20 if self.flavour.mode == Mode::Twins
                && self.processes.len() == 1
                && self.stores[0].producer.is_some()
                && self.all_have_begun(0) =>
            {
                let copy = self.stores[0].clone();
                self.stores.push(copy);
                self.start_process(1);
            }
            21 => self.stand_still(),
            24 if self.flavour.source_recreated && self.rng.chance(40) => self.recreate(Side::Source),
            25 if self.flavour.destination_recreated && self.rng.chance(40) => {
                self.recreate(Side::Destination);
            }
            _ => self.grow(),
        }
    }

    /// A topic is deleted and created anew; the control plane sees both, or only what is there when it looks next.
    fn recreate(&mut self, side: Side) {
        self.trace(|| format!("the {side} topic is created anew"));
        let id = match side {
            Side::Source => &mut self.topic_ids.0,
            Side::Destination => &mut self.topic_ids.1,
        };
        *id = id.map(|TopicId(id)| TopicId([id[0] + 1; 16]));
        let (source_topic_id, destination_topic_id) = self.topic_ids;
        let mut routes = self.routes.routes.clone();
        for route in &mut routes {
            (route.source_topic_id, route.destination_topic_id) = (source_topic_id, destination_topic_id);
        }
        self.routes = Arc::new(Routes { generation: self.routes.generation + 2, routes });
        let stopped = self.stopped[side as usize].map(|(broker, _)| broker);
        match side {
            Side::Source => {
                for log in self.source.values_mut() {
                    log.recreate(self.flavour.source);
                    stopped.iter().for_each(|broker| log.partition.stop(*broker, false));
                }
                self.processes.iter_mut().for_each(|process| process.told.clear());
            }
            Side::Destination => {
                for log in self.destination.values_mut() {
                    log.recreate(self.flavour.destination);
                    stopped.iter().for_each(|broker| log.partition.stop(*broker, false));
                }
                self.heard.clear();
                self.lagging.clear();
                self.old_leaders.clear();
            }
        }
        if self.rng.chance(40) {
            let generation = self.routes.generation - 1;
            self.told_routes = Arc::new(Routes { generation, routes: Vec::new() });
            for index in 0..self.processes.len() {
                let routes = Arc::clone(&self.told_routes);
                self.tell(index, Event::Routes(routes));
            }
        }
        self.routes_due = Some(self.elapsed + Duration::from_millis(self.rng.below(20_000) as u64));
    }

    pub(super) fn tell_routes(&mut self) {
        if self.routes_due.is_none_or(|at| at > self.elapsed) {
            return;
        }
        self.routes_due = None;
        self.told_routes = Arc::clone(&self.routes);
        for index in 0..self.processes.len() {
            let routes = Arc::clone(&self.told_routes);
            self.tell(index, Event::Routes(routes));
        }
    }

    fn stand_still(&mut self) {
        if self.standing.is_some() || self.stopped[1].is_some() {
            return;
        }
        let broker = destination::BROKERS[self.rng.below(3)];
        let until = self.elapsed + Duration::from_millis(self.rng.below(90_000) as u64);
        self.trace(|| format!("destination broker {broker} stands still until {until:?}"));
        self.standing = Some(Standing { broker, given_up_at: self.elapsed + PRODUCE_TIMEOUT, until });
    }

    pub(super) fn elect_unclean(&mut self, to: &TopicPartition) {
        if !self.flavour.unclean_destination {
            return;
        }
        // Somebody fell behind before.
        let broker = destination::BROKERS[self.rng.below(3)];
        if self.stands_still(broker) {
            return;
        }
        let Some(log) = self.destination.get_mut(to) else { return };
        log.partition.shrink_isr();
        log.partition.elect_unclean(broker);
        log.follow_the_log(true);
    }

    pub(super) fn damage_source(&mut self, from: &TopicPartition) {
        let broker = source::BROKERS[self.rng.below(2)];
        let Some(log) = self.source.get_mut(from) else { return };
        match self.rng.below(5) {
            0 if self.flavour.unclean_source => {
                log.partition.shrink_isr();
                log.elect_unclean(self.flavour.committed_only);
            }
            1 => {
                log.partition.pause_follower(broker);
            }
            2 => {
                log.partition.resume_followers();
            }
            3 if self.flavour.source_retention => {
                log.deletes = true;
                let end = log.partition.high_watermark() as usize;
                log.partition.delete_before(self.rng.below(end + 1) as i64);
            }
            _ => log.partition.move_leader(broker),
        }
    }

    /// Side 0 is the source, 1 the destination.
    pub(super) fn stop_broker(&mut self, side: usize) {
        if self.stopped[side].is_some() || side == 1 && self.standing.is_some() {
            return;
        }
        let until = self.elapsed + Duration::from_millis(self.rng.below(20_000) as u64);
        if side == 0 {
            let broker = source::BROKERS[self.rng.below(2)];
            self.stopped[0] = Some((broker, until));
            for process in &mut self.processes {
                process.told.retain(|(told_by, _), _| told_by.0 != broker);
            }
            for log in self.source.values_mut() {
                let readable = log.partition.high_watermark();
                log.partition.stop(broker, false);
                log.follow_the_log(readable, self.flavour.committed_only);
            }
            return;
        }
        let broker = destination::BROKERS[self.rng.below(3)];
        self.trace(|| format!("destination broker {broker} stops"));
        self.stopped[1] = Some((broker, until));
        for index in 0..self.processes.len() {
            for id in self.processes[index].links_to(broker) {
                self.cut(index, id, true);
            }
        }
        // What it had received and not handled is gone with it.
        self.late.retain(|(_, at, _)| *at != broker);
        for log in self.destination.values_mut() {
            log.partition.stop(broker, false);
            log.follow_the_log(false);
        }
    }

    pub(super) fn start_broker(&mut self, side: usize) {
        let Some((broker, _)) = self.stopped[side].take() else { return };
        let now_ms = self.broker_ms();
        match side {
            0 => {
                for log in self.source.values_mut() {
                    let readable = log.partition.high_watermark();
                    log.partition.start(broker, now_ms, EXPIRATION_MS, false);
                    log.follow_the_log(readable, self.flavour.committed_only);
                }
            }
            _ => self
                .destination
                .values_mut()
                .for_each(|log| log.partition.start(broker, now_ms, EXPIRATION_MS, false)),
        }
    }

    /// Everything that was broken is mended.
    pub(in crate::sim) fn end_faults(&mut self) {
        self.faults_on = false;
        self.routes_due = self.routes_due.map(|_| self.elapsed);
        self.tell_routes();
        for side in 0..2 {
            self.start_broker(side);
        }
        self.run_again();
        self.destination.values_mut().for_each(|log| log.partition.resume_followers());
        self.source.values_mut().for_each(|log| log.partition.resume_followers());
        for index in 0..self.processes.len() {
            if self.processes[index].paused_until.is_some() {
                self.resume(index);
            }
        }
    }

    /// The connection breaks: some of what was queued is handled, some handled later, the rest never.
    pub(super) fn cut(&mut self, index: usize, id: ConnectionId, tell: bool) {
        let Some(link) = self.processes[index].links.get_mut(&id) else { return };
        link.alive = false;
        let broker = link.broker;
        let queue = std::mem::take(&mut link.queue);
        let handled = if self.stands_still(broker) { 0 } else { self.rng.below(queue.len() + 1) };
        let received = handled + self.rng.below(queue.len() - handled + 1);
        // A broker handles what it has received in order: a delay delays all behind it.
        let mut at = self.elapsed;
        let mut requests = Vec::new();
        for (place, pending) in queue.into_iter().enumerate() {
            if place >= handled {
                at += Duration::from_millis(self.rng.below(1500) as u64);
            }
            for batch in pending.batches.iter().filter(|_| pending.taken.is_none()) {
                if place < handled {
                    self.append(broker, batch);
                } else if place < received && at <= self.elapsed + LATE_MAX {
                    self.late.push((at, broker, batch.clone()));
                }
            }
            requests.push(pending.request);
        }
        if tell {
            for request in requests {
                self.tell(index, Event::Produced { request, reply: Err(lost()) });
            }
        }
    }

    /// A clean stop, and a new start at once. What an earlier process sent may still be late then.
    pub(super) fn stop_and_start(&mut self, index: usize) {
        if self.processes[index].paused_until.is_some() {
            return;
        }
        self.tell(index, Event::Stop);
        let faults = std::mem::replace(&mut self.faults_on, false);
        for _ in 0..50 {
            if self.processes[index].engine.is_stopped() {
                break;
            }
            let mut links = self.processes[index].links_with_work();
            links.retain(|link| !self.stands_still(self.processes[index].links[link].broker));
            if let Some(event) = self.processes[index].answers.pop() {
                self.tell(index, event);
            } else if let Some(action) = self.processes[index].waiting.pop() {
                let event = self.answer(index, action);
                self.tell(index, event);
            } else if let Some(link) = links.first() {
                self.broker_takes(index, *link);
            } else {
                break;
            }
        }
        self.faults_on = faults;
        self.crash(index);
    }

    /// The process dies and another one starts from what was stored.
    pub(super) fn crash(&mut self, index: usize) {
        if self.flavour.mode == Mode::Lease && index + 1 != self.processes.len() {
            self.processes.remove(index);
            return;
        }
        for id in self.processes[index].links.keys().copied().collect::<Vec<_>>() {
            self.cut(index, id, false);
        }
        let store = self.processes[index].store;
        for action in std::mem::take(&mut self.processes[index].waiting) {
            if let Action::Save { changes, not_after } = action
                && not_after.is_none_or(|at| self.now().instant < at)
            {
                self.keep_some(store, changes);
            }
        }
        self.processes.remove(index);
        self.start_process(store);
        // The order matters to nobody but the lease, whose holder is the last.
    }

    /// What becomes of a save that fails, or whose process dies: nothing, all, or what some partitions of a topic took.
    pub(super) fn keep_some(&mut self, store: usize, mut changes: Stored) {
        match self.rng.below(4) {
            0 => return,
            1 => {}
            _ => {
                changes.producer = changes.producer.filter(|_| self.rng.chance(50));
                changes.lanes.retain(|_, _| self.rng.chance(50));
            }
        }
        self.keep(store, changes);
    }

    pub(super) fn keep(&mut self, store: usize, changes: Stored) {
        let store = &mut self.stores[store];
        if changes.producer.is_some() {
            store.producer = changes.producer;
        }
        store.lanes.extend(changes.lanes);
    }
}
