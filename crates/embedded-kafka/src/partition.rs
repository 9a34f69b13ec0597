//! One partition: its log, who holds it, who leads it, and what each replica remembers of producers.
//!
//! All replicas share one log; a replica that is behind is a lower end in it. That is enough for clean and
//! unclean elections, truncation and high watermarks, since a replica's history never leaves the leader's
//! but by being cut. Producer states are kept for each replica apart, because a restart or an election is
//! exactly where they differ.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use model::{Offset, ProducerId};
use record_batch::{Batch, BatchError, DECOMPRESSED_BYTES_MAX, Entry, Header, Marker};
use tokio::sync::Notify;

use crate::compact::{Cleaning, compact};
use crate::log::{Log, StoredEntry, split_head};
use crate::producers::Producers;

/// A replica of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) broker: i32,
    /// How far its copy of the log reaches.
    pub(crate) end_offset: i64,
    pub(crate) in_sync: bool,
    /// Its broker runs.
    pub(crate) online: bool,
    /// It copies what the leader appends, at once. A test stops that to have a follower that is behind.
    pub(crate) follows: bool,
    pub(crate) producers: Producers,
}

/// A transaction that was aborted: its first record's offset, and its marker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
}

/// The end of a transaction that a leader is to write: Kafka's coordinator asks for it again and again, until it is on
/// all in-sync replicas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) commit: bool,
    pub(crate) at_ms: i64,
}

/// An end that is not on all in-sync replicas, as far as is known.
#[derive(Clone, Copy, Debug)]
struct DueEnd {
    end: End,
    /// Where its marker is; `None` where there is none, as there was no leader or what it wrote was cut off.
    marker_offset: Option<i64>,
}

/// The marker in a control batch; `None` where there is none (cleaned, or of another kind).
fn marker_of(entry: &StoredEntry) -> Option<Marker> {
    let header = entry.header.filter(Header::is_control)?;
    record_batch::marker(&Batch { header, bytes: entry.bytes() }).ok().flatten()
}

/// One partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: Log,
    pub(crate) replicas: Vec<Replica>,
    /// `None`: offline.
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    /// Each epoch with the offset where it began, ascending.
    epochs: Vec<(i32, i64)>,
    aborted: Vec<AbortedTransaction>,
    /// In their order; one of a producer at most, since nothing begins before what it ends is over.
    due_ends: Vec<DueEnd>,
    waiting: Vec<Weak<Notify>>,
}

impl Partition {
    /// An empty partition led by the first of `replicas`.
    pub(crate) fn new(replicas: &[i32], is_online: impl Fn(i32) -> bool) -> Partition {
        let replicas: Vec<Replica> = replicas
            .iter()
            .map(|&broker| Replica {
                broker,
                end_offset: 0,
                in_sync: is_online(broker),
                online: is_online(broker),
                follows: true,
                producers: Producers::default(),
            })
            .collect();
        let leader = replicas.iter().find(|replica| replica.online).map(|replica| replica.broker);
        Partition {
            log: Log::default(),
            replicas,
            leader,
            leader_epoch: 0,
            epochs: vec![(0, 0)],
            aborted: Vec::new(),
            due_ends: Vec::new(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn replica(&self, broker: i32) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.broker == broker)
    }

    pub(crate) fn replica_mut(&mut self, broker: i32) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.broker == broker)
    }

    /// The producer states that decide: the leader's.
    pub(crate) fn leading_producers(&self) -> Option<&Producers> {
        self.replica(self.leader?).map(|replica| &replica.producers)
    }

    pub(crate) fn in_sync_count(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.in_sync).count()
    }

    /// What every in-sync replica has, which is what consumers may see.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.replicas
            .iter()
            .filter(|replica| replica.in_sync)
            .map(|replica| replica.end_offset)
            .min()
            .unwrap_or_else(|| self.log.end_offset())
    }

    /// What read_committed consumers may see: the end of what is decided.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.high_watermark();
        self.leading_producers()
            .and_then(Producers::first_open_transaction)
            .map_or(high_watermark, |open| open.min(high_watermark))
    }

    /// The aborted transactions that reach into `from..upto`, in the order of their markers, as Kafka's
    /// index has them: not by first offset.
    pub(crate) fn aborted_between(&self, from: i64, upto: i64) -> impl Iterator<Item = &AbortedTransaction> {
        self.aborted.iter().filter(move |aborted| aborted.last_offset >= from && aborted.first_offset < upto)
    }

    /// Appends at the leader, and at every follower that follows. `false` if the offsets go backwards.
    pub(crate) fn append(&mut self, entry: StoredEntry) -> bool {
        let marker = marker_of(&entry);
        let aborting = marker == Some(Marker::Abort);
        let (header, last_offset) = (entry.header, entry.last_offset);
        if !self.log.append(entry) {
            return false;
        }
        let end_offset = self.log.end_offset();
        let leader = self.leader;
        let mut began = None;
        for replica in &mut self.replicas {
            let leads = leader == Some(replica.broker);
            if !(leads || replica.online && replica.follows && replica.in_sync) {
                continue;
            }
            replica.end_offset = end_offset;
            if let Some(header) = header {
                let first = note(&mut replica.producers, &header, marker);
                began = if leads || began.is_none() { first } else { began };
            }
        }
        if let (true, Some(header), Some(first_offset)) = (aborting, header, began) {
            let producer_id = header.producer_id.0;
            self.aborted.push(AbortedTransaction { producer_id, first_offset, last_offset });
        }
        self.wake();
        true
    }

    /// Ends a producer's transaction here: by a marker, at once where there is a leader. `false` where it has yet to come
    /// to in-sync replicas.
    pub(crate) fn end_transaction(&mut self, end: End) -> bool {
        self.due_ends.push(DueEnd { end, marker_offset: None });
        self.write_markers();
        !self.has_due_end(end.producer_id)
    }

    /// Whether the end of a producer's transaction has yet to come to in-sync replicas.
    pub(crate) fn has_due_end(&self, producer_id: i64) -> bool {
        let high_watermark = self.high_watermark();
        self.due_ends.iter().any(|due| due.end.producer_id == producer_id && due.is_due(high_watermark))
    }

    /// Writes the markers that are not in the log, if there is a leader, and forgets what is everywhere.
    fn write_markers(&mut self) {
        if self.leader.is_none() {
            return;
        }
        let mut due_ends = std::mem::take(&mut self.due_ends);
        for due in due_ends.iter_mut().filter(|due| due.marker_offset.is_none()) {
            due.marker_offset = Some(self.write_marker(due.end));
        }
        let high_watermark = self.high_watermark();
        due_ends.retain(|due| due.is_due(high_watermark));
        self.due_ends = due_ends;
    }

    /// Appends an end marker, one offset; gives that.
    fn write_marker(&mut self, end: End) -> i64 {
        let (at, producer_id) = (Offset(self.log.end_offset()), ProducerId(end.producer_id));
        let bytes = record_batch::control_batch(at, producer_id, end.epoch, end.commit, end.at_ms);
        for entry in stored_entries(bytes).expect("a marker built here can be read here") {
            self.append(entry.moved_to(at.0, self.leader_epoch));
        }
        at.0
    }

    /// Cleans the log as a compacted topic's is.
    ///
    /// # Errors
    /// [`BatchError`] if a batch cannot be read.
    pub(crate) fn compact(
        &mut self,
        now_ms: i64,
        delete_retention_ms: i64,
        sets_horizons: bool,
    ) -> Result<(), BatchError> {
        let none = Producers::default();
        let aborted: HashSet<i64> = self
            .log
            .entries()
            .filter(|entry| entry.header.is_some_and(|header| self.is_aborted(&header)))
            .map(|entry| entry.base_offset)
            .collect();
        let cleaning = Cleaning {
            now_ms,
            delete_retention_ms,
            sets_horizons,
            upto: self.last_stable_offset(),
            producers: self.leading_producers().unwrap_or(&none),
            aborted: &aborted,
        };
        let kept = compact(&self.log, &cleaning)?;
        self.log.replace(kept);
        Ok(())
    }

    fn is_aborted(&self, header: &Header) -> bool {
        let belongs = |aborted: &AbortedTransaction| {
            aborted.producer_id == header.producer_id.0
                && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset.0)
        };
        header.is_transactional() && self.aborted.iter().any(belongs)
    }

    /// Whoever waits for this partition to change is told by `notify`, once.
    pub(crate) fn watch(&mut self, notify: &Arc<Notify>) {
        // Whoever waited and was answered for another reason is still in the list.
        self.waiting.retain(|waiting| waiting.strong_count() > 0);
        if !self.waiting.iter().any(|waiting| std::ptr::eq(waiting.as_ptr(), Arc::as_ptr(notify))) {
            self.waiting.push(Arc::downgrade(notify));
        }
    }

    pub(crate) fn wake(&mut self) {
        for waiting in self.waiting.drain(..).filter_map(|waiting| waiting.upgrade()) {
            waiting.notify_one();
        }
    }

    /// Moves the log start. Before 2.5 a producer is forgotten with the last of its batches.
    pub(crate) fn delete_before(&mut self, offset: i64, forget_producers: bool) {
        self.log.delete_before(offset);
        let start = self.log.start_offset();
        self.aborted.retain(|aborted| aborted.last_offset >= start);
        if forget_producers {
            for replica in &mut self.replicas {
                replica.producers.forget_deleted(start);
            }
        }
        self.wake();
    }

    /// Makes `broker` the leader under a new epoch. Where it is behind, the log is cut to what it has: an
    /// unclean election.
    pub(crate) fn elect(&mut self, broker: i32) {
        let Some(end_offset) = self.replica(broker).map(|replica| replica.end_offset) else { return };
        self.leader = Some(broker);
        self.leader_epoch += 1;
        if end_offset < self.log.end_offset() {
            self.cut(end_offset);
        }
        let log_end = self.log.end_offset();
        for replica in &mut self.replicas {
            replica.in_sync = replica.broker == broker
                || (replica.online && replica.follows && replica.end_offset == log_end)
                || (replica.in_sync && replica.online);
        }
        self.catch_up();
        self.epochs.retain(|(_, start)| *start < log_end);
        self.epochs.push((self.leader_epoch, log_end));
        self.write_markers();
        self.wake();
    }

    /// Cuts the shared log, and every replica that reached further.
    pub(crate) fn cut(&mut self, offset: i64) {
        // What was everywhere is nobody's to write again.
        let high_watermark = self.high_watermark();
        self.due_ends.retain(|due| due.is_due(high_watermark));
        self.log.truncate(offset);
        let end_offset = self.log.end_offset();
        for due in &mut self.due_ends {
            due.marker_offset = due.marker_offset.filter(|offset| *offset < end_offset);
        }
        self.aborted.retain(|aborted| aborted.last_offset < end_offset);
        self.epochs.retain(|(_, start)| *start < end_offset);
        let mut rebuilt: Option<Producers> = None;
        for index in 0..self.replicas.len() {
            if self.replicas[index].end_offset > end_offset {
                let producers = rebuilt.get_or_insert_with(|| replay(&self.log, 0)).clone();
                let replica = &mut self.replicas[index];
                replica.end_offset = end_offset;
                replica.producers = producers;
            }
        }
    }

    /// Lets every follower that may follow copy what it lacks, and takes it back into the in-sync set.
    pub(crate) fn catch_up(&mut self) {
        let log_end = self.log.end_offset();
        if self.leader.is_none() {
            return;
        }
        for replica in &mut self.replicas {
            if !(replica.online && replica.follows) {
                continue;
            }
            if replica.end_offset < self.log.start_offset() {
                // What it lacks was deleted: it begins anew, without a memory.
                replica.producers.clear();
            }
            for entry in self.log.entries_from(replica.end_offset) {
                if entry.base_offset >= replica.end_offset {
                    note_entry(&mut replica.producers, entry);
                }
            }
            replica.end_offset = log_end;
            replica.in_sync = true;
        }
        self.wake();
    }

    /// The epoch that `asked` really was, and the offset where the next one begins: `(-1, -1)` where that
    /// cannot be told. As Kafka's `LeaderEpochFileCache.endOffsetFor`.
    pub(crate) fn end_of_epoch(&self, asked: i32) -> (i32, i64) {
        let Some(&(latest, _)) = self.epochs.last() else { return (-1, -1) };
        if asked < 0 || asked > latest {
            return (-1, -1);
        }
        if asked == latest {
            return (latest, self.log.end_offset());
        }
        let above = self.epochs.partition_point(|(epoch, _)| *epoch <= asked);
        let end_offset = self.epochs[above].1;
        match above.checked_sub(1) {
            Some(below) => (self.epochs[below].0, end_offset),
            None => (asked, end_offset),
        }
    }

    /// The leader epoch under which the record at `offset` was appended.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let above = self.epochs.partition_point(|(_, start)| *start <= offset);
        above.checked_sub(1).map_or(-1, |below| self.epochs[below].0)
    }
}

impl DueEnd {
    fn is_due(&self, high_watermark: i64) -> bool {
        self.marker_offset.is_none_or(|offset| offset >= high_watermark)
    }
}

/// Notes a batch or marker in a replica's producer states; for a marker, gives where its transaction began.
fn note(producers: &mut Producers, header: &Header, marker: Option<Marker>) -> Option<i64> {
    if header.producer_id == ProducerId::NONE {
        return None;
    }
    match marker {
        Some(Marker::Abort | Marker::Commit) => {
            producers.ended(header.producer_id.0, header.producer_epoch, header.max_timestamp)
        }
        Some(Marker::Other(_)) => None,
        None => {
            producers.appended(header);
            None
        }
    }
}

fn note_entry(producers: &mut Producers, entry: &StoredEntry) {
    if let Some(header) = entry.header {
        note(producers, &header, marker_of(entry));
    }
}

/// The producer states that reading the log from `from` gives.
pub(crate) fn replay(log: &Log, from: i64) -> Producers {
    let mut producers = Producers::default();
    for entry in log.entries_from(from) {
        note_entry(&mut producers, entry);
    }
    producers
}

/// Cuts raw bytes into what the log stores. The first entry that cannot be read ends it with an error.
pub(crate) fn stored_entries(bytes: Bytes) -> Result<Vec<StoredEntry>, BatchError> {
    record_batch::split(bytes).map(|entry| entry.and_then(stored_entry)).collect()
}

fn stored_entry(entry: Entry) -> Result<StoredEntry, BatchError> {
    let (base_offset, last_offset) = (entry.base_offset().0, entry.last_offset().0);
    if let Entry::Batch(batch) = entry {
        let (head, body) = split_head(&batch.bytes);
        return Ok(StoredEntry::batch(batch.header, head, body));
    }
    let mut max_timestamp = -1;
    for record in &record_batch::records(&entry, DECOMPRESSED_BYTES_MAX)? {
        max_timestamp = max_timestamp.max(record?.timestamp);
    }
    let Entry::Legacy(legacy) = entry else { unreachable!("batches were handled above") };
    Ok(StoredEntry::legacy(base_offset, last_offset, max_timestamp, legacy.bytes))
}

impl Partition {
    /// The broker of a replica stopped. Where it led, another in-sync replica takes over; where there is
    /// none, one that is behind, if `unclean` elections are allowed; else the partition is offline.
    pub(crate) fn broker_stopped(&mut self, broker: i32, unclean: bool) {
        let Some(replica) = self.replica_mut(broker) else { return };
        replica.online = false;
        let led = self.leader == Some(broker);
        // The last in-sync replica stays in the set, so that it can lead again when it returns.
        if self.replicas.iter().any(|other| other.in_sync && other.online)
            && let Some(replica) = self.replica_mut(broker)
        {
            replica.in_sync = false;
        }
        if !led {
            self.wake();
            return;
        }
        match self.candidate(unclean) {
            Some(next) => self.elect(next),
            None => {
                self.leader = None;
                self.leader_epoch += 1;
                self.wake();
            }
        }
    }

    /// The broker of a replica runs again. It has reloaded its producer states: of each the last batch, and
    /// none that is too old by now; nothing at all where the log is empty, since a snapshot at or below the
    /// log start is thrown away.
    pub(crate) fn broker_started(&mut self, broker: i32, now_ms: i64, expiration_ms: i64, unclean: bool) {
        let (log_start, log_end) = (self.log.start_offset(), self.log.end_offset());
        let Some(replica) = self.replica_mut(broker) else { return };
        replica.online = true;
        replica.producers.keep_last_batches();
        replica.producers.expire(now_ms, expiration_ms);
        if log_start == log_end {
            replica.producers.clear();
        }
        if self.leader.is_none()
            && let Some(next) = self.candidate(unclean)
        {
            self.elect(next);
        }
        self.catch_up();
    }

    /// Who may lead: a replica of the in-sync set that runs, else any that runs if `unclean`.
    pub(crate) fn candidate(&self, unclean: bool) -> Option<i32> {
        let clean = self.replicas.iter().find(|replica| replica.in_sync && replica.online);
        let any = || self.replicas.iter().find(|replica| unclean && replica.online);
        clean.or_else(any).map(|replica| replica.broker)
    }
}
