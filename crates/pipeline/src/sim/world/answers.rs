//! What the clusters, the stores and the transcoding pool answer.

use super::*;

impl World {
    /// A broker handles the oldest request of a connection, or answers it if its time has come.
    pub(super) fn broker_takes(&mut self, index: usize, id: ConnectionId) {
        let Some((broker, mut pending)) = self.processes[index]
            .links
            .get_mut(&id)
            .and_then(|link| Some((link.broker, link.queue.pop_front()?)))
        else {
            return;
        };
        if pending.taken.is_none() {
            let taken = pending.batches.iter().map(|batch| self.append(broker, batch)).collect();
            pending.taken = Some((taken, self.elapsed + PRODUCE_TIMEOUT));
        }
        let Some((taken, deadline)) = &pending.taken else { return };
        let is_late = self.elapsed >= *deadline;
        let mut partitions = Vec::new();
        for (batch, taken) in pending.batches.iter().zip(taken) {
            let error = if taken.error.is_ok() {
                match self.destination[&batch.partition].partition.is_safe(broker, taken) {
                    Ok(true) => ErrorCode::NONE,
                    Ok(false) if is_late => ErrorCode::REQUEST_TIMED_OUT,
                    Ok(false) => {
                        if let Some(link) = self.processes[index].links.get_mut(&id) {
                            link.queue.push_front(pending);
                        }
                        return;
                    }
                    Err(code) => code,
                }
            } else {
                taken.error
            };
            partitions.push(Produced {
                partition: batch.partition.clone(),
                error,
                base_offset: (taken.base_offset >= 0).then_some(Offset(taken.base_offset)),
                log_append_time_ms: (taken.append_time_ms >= 0).then_some(taken.append_time_ms),
                log_start_offset: None,
                message: None,
            });
        }
        if self.faults_on && self.rng.chance(3) {
            // The answer is lost, and the connection with it.
            self.faults += 1;
            if let Some(link) = self.processes[index].links.get_mut(&id) {
                link.queue.push_front(pending);
            }
            self.cut(index, id, true);
            return;
        }
        for partition in &mut partitions {
            if self.faults_on && partition.error.is_ok() && self.rng.chance(2) {
                self.faults += 1;
                partition.error = ErrorCode::REQUEST_TIMED_OUT;
            }
        }
        let reply = ProduceReply { throttle: Duration::ZERO, partitions };
        self.tell(index, Event::Produced { request: pending.request, reply: Ok(reply) });
    }

    /// What a broker does with one batch.
    pub(super) fn append(&mut self, broker: i32, batch: &ProduceBatch) -> Taken {
        let now_ms = self.broker_ms();
        let refused = |error| Taken { error, base_offset: -1, append_time_ms: -1, safe_at: 0 };
        let log = self.destination.get_mut(&batch.partition).expect("only routed partitions are written");
        if !log.partition.is_online(broker) {
            return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        if self.faults_on && self.rng.chance(2) {
            self.faults += 1;
            return refused(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        let before = log.partition.log_end();
        let taken = log.offer(broker, now_ms, batch);
        if log.partition.log_end() > before {
            self.appends += 1;
            let number = destination::numbers_of(batch).first().copied().unwrap_or_default();
            let part = part_of(&self.parts, &batch.partition, number);
            let producer = Header::read(&batch.header).expect("a patched header can be read").producer_id;
            let of = (part, producer);
            let mut held = appended_is_a_prefix(&self.source[&part.source], log, &self.flavour.life, of);
            if held.is_err() && log.excuses(batch, before, self.elapsed) {
                // A leader that lost everything takes any sequence.
                held = Ok(());
            }
            if self.traced {
                eprintln!("append to {} at {before}: {:?}", batch.partition, destination::numbers_of(batch));
            }
            check(held);
        }
        taken
    }

    /// What comes of what a process asks for.
    pub(super) fn answer(&mut self, index: usize, action: Action) -> Event {
        match action {
            Action::AllocateProducer => {
                // Every allocation gives another id; one that was not stored is lost for good.
                self.producers_allocated += 1;
                let producer_id = ProducerId(OURS.0 + self.producers_allocated);
                Event::ProducerAllocated(Ok(Producer { producer_id, ..producer() }))
            }
            Action::FindLeaders { side, .. } => Event::Leaders { side, answer: Ok(self.leaders(side)) },
            Action::LookAtSource { broker, lanes, epochs } => {
                if self.flavour.spread.is_none() {
                    check(no_partition_twice(lanes.iter().map(|(_, partition)| partition)));
                }
                check(no_partition_twice(epochs.iter().map(|(partition, _)| partition)));
                let epochs: HashMap<TopicPartition, LeaderEpoch> = epochs.into_iter().collect();
                let look = |(key, from): (LaneKey, TopicPartition)| {
                    (key, self.source_evidence(broker, &from, epochs.get(&from).copied()))
                };
                let lanes = lanes.into_iter().map(look).collect();
                Event::SourceLooked { broker, lanes }
            }
            Action::LookAtDestination { broker, lanes } => self.look_at_destination(index, broker, &lanes),
            Action::ReadTail { lane, broker, partition, producer, what, evidence } => {
                let log = &self.destination[&partition];
                let tail = if log.partition.log_start() > what.from.0 {
                    // Deleted since the look.
                    Err(Trouble::Passing(Side::Destination, "Fetch", ErrorCode::OFFSET_OUT_OF_RANGE))
                } else if log.partition.leader() == Some(broker.0) && !self.stands_still(broker.0) {
                    Ok(log.tail(producer.0, what, evidence.latest))
                } else {
                    Err(not_leader("Fetch"))
                };
                Event::TailRead { lane, evidence, tail }
            }
            Action::ReadContents { lane, broker, partition, producer, from, evidence, timed } => {
                let log = &self.destination[&partition];
                let contents = if log.partition.log_start() > from.0 {
                    Err(Trouble::Passing(Side::Destination, "Fetch", ErrorCode::OFFSET_OUT_OF_RANGE))
                } else if log.partition.leader() == Some(broker.0) && !self.stands_still(broker.0) {
                    let mut contents = Contents::default();
                    for entry in log.entries(from, evidence.latest) {
                        contents.add(&entry, producer.0, from, timed).expect("stored batches can be read");
                    }
                    Ok(contents)
                } else {
                    Err(not_leader("Fetch"))
                };
                Event::ContentsRead { lane, evidence, contents }
            }
            Action::Fetch { broker, wanted, .. } => {
                let stopped = self.stopped[0].is_some_and(|(stopped, _)| stopped == broker.0);
                let reply = if stopped || self.faults_on && self.rng.chance(2) {
                    self.faults += 1;
                    self.processes[index].told.retain(|(told_by, _), _| *told_by != broker);
                    Err(gone(broker))
                } else {
                    Ok(self.fetch(index, broker, &wanted))
                };
                Event::Fetched { broker, reply }
            }
            Action::Transcode { lane, ticket, entry, how, .. } => {
                Event::Transcoded { lane, ticket, pieces: transcode(&entry, &how) }
            }
            Action::Merge { lane, ticket, pieces, batch_bytes_max, .. } => {
                Event::Transcoded { lane, ticket, pieces: Ok(merge(pieces, batch_bytes_max)) }
            }
            Action::TranscodeShares { entry, shares, .. } => {
                let hows: Vec<_> = shares.iter().map(|(_, _, how)| *how).collect();
                let lanes = shares.into_iter().map(|(lane, ticket, _)| (lane, ticket));
                let pieces = lanes.zip(transcode_each(&entry, &hows));
                Event::TranscodedShares(
                    pieces.map(|((lane, ticket), pieces)| (lane, ticket, pieces)).collect(),
                )
            }
            Action::Save { changes, not_after } => {
                let too_late = not_after.is_some_and(|at| self.now().instant >= at);
                let fails = too_late || self.faults_on && self.rng.chance(5);
                let store = self.processes[index].store;
                if !too_late && fails {
                    self.keep_some(store, changes);
                } else if !too_late {
                    self.keep(store, changes);
                }
                if fails {
                    self.faults += 1;
                    Event::Saved(Err(StoreError::Failed("no space".into())))
                } else {
                    Event::Saved(Ok(()))
                }
            }
            Action::Send { request, .. } => Event::Produced { request, reply: Err(SendError::NO_CONNECTION) },
            // Done when it was asked for.
            Action::Disconnect { .. } => Event::Timer,
        }
    }

    pub(super) fn leaders(&mut self, side: Side) -> Vec<(TopicPartition, Leader)> {
        let ids = self.topic_ids;
        if side == Side::Source {
            let known = |(from, log): (&TopicPartition, &SourceLog)| {
                let broker = BrokerId(log.partition.leader()?);
                Some((
                    from.clone(),
                    Leader { broker, epoch: LeaderEpoch(log.partition.leader_epoch()), topic_id: ids.0 },
                ))
            };
            return self.source.iter().filter_map(known).collect();
        }
        let known = |(to, log): (&TopicPartition, &DestinationLog)| {
            let broker = BrokerId(log.partition.leader()?);
            Some((
                to.clone(),
                Leader { broker, epoch: LeaderEpoch(log.partition.leader_epoch()), topic_id: ids.1 },
            ))
        };
        let present: Vec<_> = self.destination.iter().filter_map(known).collect();
        // Some broker has not heard the news.
        let told = if self.faults_on && self.rng.chance(10) && !self.old_leaders.is_empty() {
            self.old_leaders.clone()
        } else {
            present.clone()
        };
        self.old_leaders = present;
        told
    }

    pub(super) fn source_evidence(
        &self,
        broker: BrokerId,
        from: &TopicPartition,
        epoch: Option<LeaderEpoch>,
    ) -> Result<SourceEvidence, Trouble> {
        let log = &self.source[from];
        let partition = &log.partition;
        if partition.leader() != Some(broker.0) {
            return Err(Trouble::Passing(Side::Source, "ListOffsets", ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        Ok(SourceEvidence {
            log_start: Offset(partition.log_start()),
            end: Offset(log.readable_end(self.flavour.committed_only)),
            high_watermark: Offset(partition.high_watermark()),
            committed: None,
            by_id: self.flavour.source == Profile::V4_3,
            epoch_end: epoch.filter(|_| self.flavour.source != Profile::V1_1).and_then(|epoch| {
                let (there, ends_at) = partition.end_of_epoch(epoch.0);
                (ends_at >= 0).then_some((LeaderEpoch(there), Offset(ends_at)))
            }),
        })
    }

    pub(super) fn look_at_destination(
        &mut self,
        index: usize,
        broker: BrokerId,
        lanes: &[(LaneKey, TopicPartition, ProducerKey)],
    ) -> Event {
        let asked: Vec<_> = lanes.iter().map(|(_, to, producer)| (to.clone(), producer.0)).collect();
        check(no_partition_twice(asked.iter()));
        if self.stands_still(broker.0) || self.stopped[1].is_some_and(|(stopped, _)| stopped == broker.0) {
            let trouble = Trouble::Connection(Side::Destination, "refused".into());
            let lanes = lanes.iter().map(|(key, ..)| (*key, Err(trouble.clone()))).collect();
            return Event::DestinationLooked { broker, connection: None, lanes };
        }
        let connection = self.processes[index].connection(broker.0);
        let mut bounds = Vec::new();
        for (key, to, producer) in lanes {
            let partition = &self.destination[to].partition;
            let (start, mut end) = (partition.log_start(), partition.high_watermark());
            // From 2.2 on it says nothing until then (KIP-207).
            let may_lag = self.faults_on && self.flavour.destination == Profile::V1_1;
            let least = self.heard.get(to).and_then(|heard| heard.least(self.elapsed));
            if let Some(least) = least.filter(|_| may_lag) {
                end = start.max((end - self.rng.below(4) as i64).max(least.min(end)));
            }
            let leads = partition.leader() == Some(broker.0);
            bounds.push(leads.then_some((Offset(start), Offset(end))));
            let known = Known { asked: *key, at: self.elapsed, looked_at: self.elapsed, connection };
            self.processes[index].looks.push((*key, (to.clone(), producer.0), known));
        }
        if self.faults_on && self.rng.chance(30) {
            // The bounds and the state are two calls, and what is late may land between them.
            let between = Duration::from_millis(self.rng.below(2000) as u64);
            self.advance(between);
        }
        let looked = lanes
            .iter()
            .zip(bounds)
            .map(|((key, to, producer), bounds)| {
                let evidence =
                    bounds.ok_or_else(|| not_leader("ListOffsets")).and_then(|(log_start, latest)| {
                        let producer = self.producer_evidence(broker.0, to, producer.0)?;
                        Ok(Evidence { producer, log_start, latest, tail: None })
                    });
                (*key, evidence)
            })
            .collect();
        Event::DestinationLooked { broker, connection: Some(connection), lanes: looked }
    }

    pub(super) fn producer_evidence(
        &self,
        broker: i32,
        to: &TopicPartition,
        producer: ProducerId,
    ) -> Result<ProducerEvidence, Trouble> {
        if self.flavour.destination == Profile::V1_1 || self.flavour.cannot_describe {
            return Ok(ProducerEvidence::Unsupported);
        }
        let partition = &self.destination[to].partition;
        // A follower answers as well, as measured.
        if !partition.is_online(broker) {
            return Err(not_leader("DescribeProducers"));
        }
        let last = partition.last_sequence(broker, producer.0).filter(|last| *last >= 0);
        Ok(last.map_or(ProducerEvidence::Nothing, ProducerEvidence::Last))
    }

    pub(super) fn fetch(&mut self, index: usize, broker: BrokerId, wanted: &[FetchPartition]) -> FetchReply {
        check(no_partition_twice(wanted.iter().map(|wanted| &wanted.partition)));
        let told = &mut self.processes[index].told;
        // A partition that is not asked for leaves the session.
        told.retain(|(told_by, from), _| {
            *told_by != broker || wanted.iter().any(|wanted| wanted.partition == *from)
        });
        let mut partitions = Vec::new();
        let mut bytes = 0;
        let damage = self.faults_on && self.flavour.damage;
        for wanted in wanted {
            let log = &self.source[&wanted.partition];
            let end = Offset(log.partition.high_watermark());
            let stable = Offset(log.readable_end(self.flavour.committed_only));
            let epoch = wanted.last_fetched_epoch.0;
            let diverging = if epoch >= 0 && self.flavour.source != Profile::V1_1 {
                let (there, ends_at) = log.partition.end_of_epoch(epoch);
                (ends_at >= 0 && (there < epoch || ends_at < wanted.offset.0))
                    .then_some((LeaderEpoch(there), Offset(ends_at)))
            } else {
                None
            };
            // From 3.1 on it is asked for by its id.
            let is_other = self.flavour.source == Profile::V4_3 && wanted.topic_id != self.topic_ids.0;
            let fetched = if is_other {
                Err(ErrorCode::UNKNOWN_TOPIC_ID)
            } else if diverging.is_some() {
                Ok(bytes::Bytes::new())
            } else {
                log.fetch(&mut self.rng, broker.0, wanted.offset, damage, self.flavour.committed_only)
            };
            let (error, records) = match fetched {
                Ok(records) => (ErrorCode::NONE, records),
                Err(error) => (error, bytes::Bytes::new()),
            };
            let bounds = (log.partition.high_watermark(), log.partition.log_start());
            let before = match error {
                ErrorCode::NONE => told.insert((broker, wanted.partition.clone()), bounds),
                _ => told.remove(&(broker, wanted.partition.clone())),
            };
            if before == Some(bounds) && records.is_empty() && error.is_ok() && diverging.is_none() {
                // As it was (KIP-227).
                continue;
            }
            bytes += records.len();
            let aborted = match self.flavour.committed_only {
                true => log.aborted(&mut self.rng, wanted.offset),
                false => Vec::new(),
            };
            partitions.push(Fetched {
                partition: wanted.partition.clone(),
                error,
                high_watermark: Some(end),
                last_stable_offset: self.flavour.committed_only.then_some(stable),
                log_start_offset: Some(Offset(log.partition.log_start())),
                aborted,
                preferred_replica: None,
                diverging,
                records,
            });
        }
        FetchReply { throttle: Duration::ZERO, bytes, partitions }
    }
}
