//! What a lane makes of the source's batches: over what is at the destination already, and into the queue.

use super::*;

/// How long a source's new leader may show less than it has.
const LEADER_SETTLES: Duration = Duration::from_secs(5);

impl Lane {
    /// Where to fetch next: the position, or the start of the batch that must still be the same one.
    pub(crate) fn fetch_offset(&self) -> Offset {
        match self.verify {
            Some(fingerprint) => fingerprint.base_offset.min(self.read_from),
            None => self.read_from,
        }
    }

    /// The leader epoch of the last batch before [`Lane::fetch_offset`], for the source to check that its
    /// log has not diverged (KIP-320).
    pub(crate) fn fetched_epoch(&self) -> LeaderEpoch {
        if self.verify.is_some() { LeaderEpoch::UNKNOWN } else { self.read_epoch }
    }

    /// The last batch before the position is no longer at the source: nothing to compare.
    pub(crate) fn give_up_verifying(&mut self) {
        self.verify = None;
    }

    /// The source was away, or unseen for a while, or has another leader. Brokers that are asked by a topic's name (before
    /// 3.1) do not tell it from one that was created anew, and those before 2.7 do not tell that their log was cut: so
    /// the last batch that was read is compared once more. Where there is nothing to compare, its id must do.
    pub(crate) fn verify_again(&mut self) {
        if !self.route.rule.source_compacted {
            let there = |batch: &Fingerprint| batch.base_offset >= self.source_start;
            self.verify = self.last_read.or(self.verify).filter(there);
        }
        self.unproven = self.verify.is_none();
    }

    /// Reading goes on behind a batch.
    fn read_past(&mut self, mark: Mark) {
        self.read_from = mark.next_source;
        self.read_epoch = mark.leader_epoch;
        self.last_read = mark.fingerprint;
    }

    /// Finds the position by content, after [`Lane::placed`]: `destination` are its records after the
    /// acknowledged position, as far as cleaning left them; its log begins at `destination_start`.
    pub(crate) fn compare(&mut self, destination: Vec<RecordHash>, destination_start: Offset, now: Instant) {
        (self.compares_since, self.compares_until) = (now, None);
        let sent = usize::try_from(self.to_skip).unwrap_or(0);
        let complete = destination_start <= self.acked.destination_end;
        let gone = usize::try_from(self.source_start.0 - self.acked.next_source.0).unwrap_or(0);
        let deleted = if self.route.rule.source_compacted { Deleted::Any } else { Deleted::First(gone) };
        let timed = self.route.rule.timestamps == TimestampRule::AsAtSource;
        self.comparison = Some(Comparison::new(sent, deleted, (destination, complete), timed));
        if self.is_overtaken() {
            self.read_from = self.source_start;
            self.read_epoch = LeaderEpoch::UNKNOWN;
            self.last_read = None;
            self.verify = None;
        }
    }

    /// The source no longer has what follows the position.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.acked.next_source < self.source_start
    }

    /// Looks for `run`, the copy's last records, in all that the source has up to now. Nothing is sent meanwhile.
    pub(crate) fn search(&mut self, run: Vec<RecordHash>, now: Instant) {
        let until = self.source_end.unwrap_or(self.source_start);
        self.search = Some((Search::new(run), until));
        self.read_from = self.source_start;
        self.read_epoch = LeaderEpoch::UNKNOWN;
        self.last_read = None;
        self.last_read_at = now;
        self.verify = None;
        self.looked_at = None;
        self.state = State::Probing;
    }

    pub(crate) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// What the search came to, once the source was read to the end. `is_over`: nothing is left to read.
    pub(crate) fn end_search(&mut self, is_over: bool) -> Option<Result<Offset, Unfound>> {
        let (_, until) = self.search.as_ref()?;
        if !is_over && self.read_from < *until {
            return None;
        }
        self.search.take().map(|(search, _)| search.position())
    }

    /// Takes an entry while comparing or searching. True once the position is known.
    fn compare_entry(&mut self, entry: &Entry, mark: Mark) -> Result<bool, Trouble> {
        let timed = self.route.rule.timestamps == TimestampRule::AsAtSource;
        let found =
            hashes(entry, self.read_from, timed, self.part()).map_err(|error| self.unreadable(&error))?;
        self.read_past(mark);
        if let Some((search, _)) = &mut self.search {
            search.take(found);
            return Ok(false);
        }
        Ok(self.comparison.as_mut().is_some_and(|comparison| comparison.take(found)))
    }

    /// Ends the comparison: everything that can still be told apart was seen.
    pub(crate) fn end_comparison(&mut self) {
        let Some(comparison) = self.comparison.take() else { return };
        self.before_walk = None;
        let records = self.to_skip;
        let position = match comparison.position() {
            Ok(Some(position)) => position,
            // Each of those sent had an offset, behind the position where nothing is cleaned.
            Ok(None) if comparison.is_complete() && !self.route.rule.source_compacted => {
                Offset(self.acked.next_source.0 + records)
            }
            Ok(None) if comparison.is_complete() => self.acked.next_source,
            Ok(None) => {
                let log_start = self.placed_end;
                let from = self.acked.destination_end;
                self.queue.push_back(Item::Stuck(Trouble::TailDeleted { from, log_start }));
                return;
            }
            Err(why) => {
                self.queue.push_back(Item::Stuck(Trouble::PositionUnknown { records, why }));
                return;
            }
        };
        // Which record became which is not known, only where both sides go on.
        self.acked.segments.clear();
        self.acked.sequence = sequence_after(self.acked.sequence, self.to_skip);
        self.acked.destination_end = self.placed_end;
        self.acked.next_source = position;
        self.acked.source_leader_epoch = LeaderEpoch::UNKNOWN;
        self.acked.sent_leader_epoch = LeaderEpoch::UNKNOWN;
        self.read_epoch = LeaderEpoch::UNKNOWN;
        self.last_read = None;
        self.acked.fingerprint = None;
        self.dirty = true;
        self.to_skip = 0;
        self.read_from = position;
        self.start_sending();
    }

    /// Whether all was read that the source had when the comparison began: nothing behind it was sent. What a new leader
    /// shows at first may be less.
    pub(crate) fn has_compared_enough(&mut self, now: Instant) -> bool {
        if now < self.compares_since + LEADER_SETTLES {
            return false;
        }
        self.compares_until = self.compares_until.or(self.source_end);
        self.compares_until.is_some_and(|until| self.read_from >= until)
    }

    pub(crate) fn is_comparing(&self) -> bool {
        self.comparison.is_some()
    }

    /// Takes what a fetch brought. Gives the work for the transcoding pool. What cannot be taken stops
    /// the lane once everything before it is at the destination ([`Lane::stuck`]).
    pub(crate) fn accept(&mut self, fetched: &Fetched, reading: &Reading<'_>) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut aborted = AbortedSet::new(fetched.aborted.clone());
        let comparing = self.comparison.is_some();
        let mut largest = 0;
        for entry in split(fetched.records.clone()) {
            if comparing && self.comparison.is_none() {
                // The position may lie before what follows here: it is read again from there.
                break;
            }
            let taken = entry.map_err(|error| self.unreadable(&error)).and_then(|entry| {
                largest = largest.max(entry.size_bytes());
                self.accept_entry(entry, &mut aborted, reading)
            });
            match taken {
                Ok(job) => jobs.extend(job),
                Err(trouble) => {
                    match self.diverged {
                        Some(diverged) => self.cut_off(diverged.cut),
                        None => self.queue.push_back(Item::Stuck(trouble)),
                    }
                    break;
                }
            }
        }
        if largest > 0 {
            self.batch_bytes = largest.max(self.batch_bytes - self.batch_bytes / 16);
        }
        jobs
    }

    /// Why nothing more can be sent, once everything before it was acknowledged.
    pub(crate) fn stuck(&self) -> Option<&Trouble> {
        match self.queue.front() {
            Some(Item::Stuck(trouble)) if self.in_flight.is_empty() => Some(trouble),
            _ => None,
        }
    }

    /// Whether more may be read: the position is known, there is room, and nothing is in the way.
    pub(crate) fn has_room(&self, bytes_max: usize) -> bool {
        self.held_bytes < bytes_max && !matches!(self.queue.back(), Some(Item::Stuck(_)))
    }

    /// How many bytes more the lane may hold, if it is to be read now: no more ahead of what is acknowledged than was
    /// earned.
    pub(crate) fn room_bytes(&self, held_bytes_max: usize, copied_per_ahead: u64) -> Option<usize> {
        // A search holds nothing, and nothing of it is copied.
        let earned = ahead_bytes_max(self.copied_bytes(), copied_per_ahead);
        let ahead = if self.is_searching() { usize::MAX } else { earned };
        // Many small pieces would cost a request each.
        let has_room = self.has_room(held_bytes_max) && self.held_bytes <= ahead / 2;
        has_room.then(|| ahead - self.held_bytes)
    }

    /// The source has something that was not read, as far as is known.
    pub(crate) fn is_behind(&self) -> bool {
        self.source_end.is_none_or(|end| self.read_from < end)
    }

    /// What to ask for where there is `room_bytes` of room: whole batches where their size is known, because a reply that
    /// ends in the middle of one brings that again.
    pub(crate) fn bytes_to_ask_for(&self, room_bytes: usize, fetch_bytes_max: usize) -> usize {
        let room = room_bytes.min(fetch_bytes_max);
        let Some(batches) = room.checked_div(self.batch_bytes) else { return room };
        let again = usize::from(self.verify.is_some());
        ((batches.max(1) + again) * self.batch_bytes).min(fetch_bytes_max)
    }

    /// Notes what is asked for.
    pub(crate) fn ask(&mut self, bytes: usize) {
        self.asked_bytes = bytes;
    }

    /// The source gave others something and this lane nothing, with `room_left` in its reply. If there is something
    /// and that was room enough, the next batch is larger than what was asked for: it comes when it is the lane's
    /// turn to be the first of a reply, or sooner when enough is asked for.
    pub(crate) fn nothing_came(&mut self, room_left: usize) {
        let is_behind = self.is_reading() && self.source_end.is_some_and(|end| self.read_from < end);
        if is_behind && self.asked_bytes <= room_left {
            self.batch_bytes = self.batch_bytes.max(self.asked_bytes.saturating_mul(4));
        }
    }

    /// What was moved past in this process, sent or found to be there: what reading ahead is measured by.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.bytes + self.walked_bytes
    }

    fn unreadable(&self, error: &BatchError) -> Trouble {
        Trouble::Unreadable { at: self.read_from, why: error.to_string() }
    }

    fn accept_entry(
        &mut self,
        entry: Entry,
        aborted: &mut AbortedSet,
        reading: &Reading<'_>,
    ) -> Result<Option<Job>, Trouble> {
        let is_aborted = match (&entry, reading.isolation) {
            (Entry::Batch(batch), Isolation::ReadCommitted) => aborted.observe(batch),
            _ => false,
        };
        self.check_fingerprint(&entry)?;
        self.check_read_before(&entry)?;
        let is_compared = self.comparison.is_some() || self.search.is_some();
        let is_checked = entry.last_offset() < self.read_from || self.to_skip > 0 || is_compared;
        if is_checked {
            // What is not sent is checked by nobody else; damage must not hide records, nor count them wrong.
            entry.verify_crc().map_err(|error| self.unreadable(&error))?;
        }
        if entry.last_offset() < self.read_from {
            return Ok(None);
        }
        let choice = match &entry {
            Entry::Batch(batch) => {
                let looped = reading.opposite.contains(&batch.header.producer_id);
                choose(&batch.header, self.read_from, &self.route.rule, is_aborted, looped)
                    .map_err(|error| self.unreadable(&error))?
            }
            Entry::Legacy(_) => Choice::Transcode(record_batch::TranscodeReason::OldFormat),
        };
        let next_source = entry.next_offset();
        let (leader_epoch, fingerprint) = match &entry {
            Entry::Batch(batch) => (
                batch.header.partition_leader_epoch,
                Some(Fingerprint {
                    base_offset: batch.header.base_offset,
                    last_offset: batch.header.last_offset(),
                    crc: batch.header.crc,
                }),
            ),
            Entry::Legacy(_) => (LeaderEpoch::UNKNOWN, None),
        };
        let mark = Mark { next_source, leader_epoch, sent_epoch: leader_epoch, fingerprint };
        if let Choice::Skip(reason) = choice {
            if !is_checked && reason != SkipReason::BeforePosition {
                entry.verify_crc().map_err(|error| self.unreadable(&error))?;
            }
            if !is_compared {
                self.skip_to(mark);
                self.walked_bytes += (entry.size_bytes() / self.parts()) as u64;
            }
            self.read_past(mark);
            return Ok(None);
        }
        if is_compared {
            if self.compare_entry(&entry, mark)? {
                self.end_comparison();
            }
            return Ok(None);
        }
        let mut from = self.read_from;
        let part = self.part();
        let mut needs_transcode = matches!(choice, Choice::Transcode(_)) || part.is_some();
        if self.to_skip > 0 {
            // Walking over what is at the destination already.
            let count = match (&entry, choice) {
                (Entry::Batch(batch), Choice::Patch) if part.is_none() => {
                    i64::from(batch.header.record_count)
                }
                _ => count_from(&entry, from, part).map_err(|error| self.unreadable(&error))?,
            };
            let first = from.max(entry.base_offset());
            self.walk_crossed_epochs |=
                leader_epoch == LeaderEpoch::UNKNOWN || leader_epoch != self.walk_epoch;
            if self.walk_crossed_epochs && count >= self.to_skip {
                let last = usize::try_from(self.to_skip - 1).unwrap_or(0);
                let timed = self.route.rule.timestamps == TimestampRule::AsAtSource;
                let found = hashes(&entry, from, timed, part).map_err(|error| self.unreadable(&error))?;
                self.unconfirmed = found.get(last).map(|(hash, _)| *hash);
            }
            if count >= self.to_skip {
                self.note_walk_end(&entry, from)?;
            }
            if count <= self.to_skip {
                self.walked(count, (first, next_source), mark);
                self.walked_bytes += (entry.size_bytes() / self.parts()) as u64;
                self.read_past(mark);
                return Ok(None);
            }
            from = offset_after(&entry, from, self.to_skip, part).map_err(|error| self.unreadable(&error))?;
            let within = Mark { next_source: from, fingerprint: None, ..mark };
            self.walked(self.to_skip, (first, from), within);
            needs_transcode = true;
        }
        self.read_past(mark);
        let bytes = entry.size_bytes() / self.parts();
        self.held_bytes += bytes;
        match entry {
            Entry::Batch(batch) if !needs_transcode => {
                let first_source = batch.header.base_offset;
                self.queue.push_back(Item::Ready(Held {
                    source_end: Offset(batch.header.last_offset().0 + 1),
                    batch,
                    first_source,
                    mark,
                    charge: reading.charge.clone(),
                    merged: false,
                }));
                Ok(None)
            }
            entry => {
                self.tickets += 1;
                self.transcoded += 1;
                let ticket = self.tickets;
                self.queue.push_back(Item::Waiting {
                    ticket,
                    held: mark,
                    _charge: reading.charge.clone(),
                    bytes,
                    merged: false,
                });
                Ok(Some(Job {
                    ticket,
                    entry,
                    how: Transcode {
                        from,
                        timestamps: self.route.rule.timestamps,
                        batch_bytes_max: self.route.rule.batch_bytes_max,
                        zstd: self.route.rule.zstd,
                        share: part,
                        may_stay: choice == Choice::Patch,
                    },
                }))
            }
        }
    }

    /// The batch that was forwarded last must still be what it was: otherwise the source's log is another
    /// one than the one copied so far. Cleaning rewrites batches, so a compacted topic proves nothing.
    fn check_fingerprint(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let Some(fingerprint) = self.verify else { return Ok(()) };
        if entry.last_offset() < fingerprint.base_offset {
            // The answer of a leader that was asked before, when less was read: that batch may follow.
            return Ok(());
        }
        self.verify = None;
        let Entry::Batch(batch) = entry else { return Ok(()) };
        let same_place = batch.header.base_offset == fingerprint.base_offset
            && batch.header.last_offset() == fingerprint.last_offset;
        let same = same_place && batch.header.crc == fingerprint.crc;
        if same || self.route.rule.source_compacted || batch.header.base_offset > fingerprint.base_offset {
            return Ok(());
        }
        // Damage on the way is no other log.
        entry.verify_crc().map_err(|error| self.unreadable(&error))?;
        Err(self.diverges(fingerprint.base_offset, batch.header.partition_leader_epoch))
    }

    /// What begins before the position was read already, and is of no later leader epoch than the position: another
    /// batch at its place was appended after the source's log had been cut, whether its bytes are the same (those of an
    /// empty batch are, and a producer may send once more what an election lost) or not. One that was read in part is
    /// of the very same leader epoch.
    fn check_read_before(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let Entry::Batch(batch) = entry else { return Ok(()) };
        let header = &batch.header;
        let (found, expected) = (header.partition_leader_epoch, self.read_epoch);
        if header.base_offset >= self.read_from || [found, expected].contains(&LeaderEpoch::UNKNOWN) {
            return Ok(());
        }
        let is_partly_read = self.read_from <= header.last_offset();
        if found > expected || is_partly_read && found != expected {
            let at = header.base_offset;
            return Err(self.diverges(at, found));
        }
        Ok(())
    }

    /// Where nothing else is known of the records that a share walks over, its last one is: that must be there still when
    /// the destination is looked at again. It is the last of those to skip, in `entry` at or after `from`.
    fn note_walk_end(&mut self, entry: &Entry, from: Offset) -> Result<(), Trouble> {
        let Some(end) = self.walk_end.filter(|_| !self.walk_is_exact) else { return Ok(()) };
        let found = hashes(entry, from, false, self.part()).map_err(|error| self.unreadable(&error))?;
        let last = usize::try_from(self.to_skip - 1).ok().and_then(|last| found.get(last));
        if let Some((_, after)) = last {
            self.acked.segments.push(Segment {
                source: Offset(after.0 - 1),
                source_end: *after,
                destination: Offset(end.0 - 1),
                count: 1,
            });
        }
        Ok(())
    }

    /// `count` records before `mark`, in the range of source offsets given, turned out to be at the destination.
    fn walked(&mut self, count: i64, (source, source_end): (Offset, Offset), mark: Mark) {
        self.to_skip -= count;
        if self.walk_is_exact && count > 0 {
            let destination = self.acked.destination_end;
            self.acked.segments.push(Segment { source, source_end, destination, count });
        }
        self.acked.sequence = sequence_after(self.acked.sequence, count);
        self.acked.destination_end = Offset(self.acked.destination_end.0 + count);
        self.move_acked(mark);
        if self.to_skip == 0 {
            self.acked.destination_end = self.placed_end;
            if self.unconfirmed.is_none() {
                self.before_walk = None;
            }
            self.start_sending();
        }
    }

    /// What of the destination must be read before anything is sent: the record walked over last must be there.
    /// From which offset up to which.
    pub(crate) fn to_confirm(&self) -> Option<(Offset, Offset)> {
        self.unconfirmed?;
        let last = Offset(self.placed_end.0 - 1);
        let from = if self.walk_is_exact { last.max(self.walk_start) } else { self.walk_start };
        Some((from, self.placed_end))
    }

    /// Whether the record walked over last is the last of `destination`, which was read for [`Lane::to_confirm`].
    pub(crate) fn confirm(&mut self, destination: &Contents) -> bool {
        self.confirming = false;
        let right = self.unconfirmed.take().is_none_or(|hash| destination.records.last() == Some(&hash));
        if right {
            self.before_walk = None;
            self.dirty = true;
        }
        right
    }

    /// Nothing before `to` and after the last held batch is to be sent. What lies before it is remembered all
    /// the same, so that it can be told later whether the source is still the same log.
    fn skip_to(&mut self, to: Mark) {
        let mark = match (self.queue.back_mut(), self.in_flight.back_mut()) {
            (Some(Item::Ready(held)), _) => &mut held.mark,
            (Some(Item::Waiting { held, .. }), _) => held,
            (Some(Item::Stuck(_)), _) => return,
            // An answer to an earlier opening no longer moves the position.
            (None, Some(sent)) if sent.opening == self.opening => &mut sent.mark,
            _ => {
                self.move_acked(Mark { sent_epoch: self.acked.sent_leader_epoch, ..to });
                return;
            }
        };
        *mark = Mark { sent_epoch: mark.sent_epoch, ..to };
    }

    /// Puts what became of a batch into its place in the queue.
    pub(crate) fn transcoded(&mut self, ticket: u64, pieces: Vec<Piece>) {
        let Some(at) = self.queue.iter().position(|item| item.is_waiting_for(ticket)) else { return };
        let Some(Item::Waiting { held, _charge: charge, bytes, merged, .. }) = self.queue.remove(at) else {
            return;
        };
        self.held_bytes -= bytes;
        let count = pieces.len();
        self.merged += u64::from(merged && count == 1);
        if count == 0 {
            // Records that were dropped by cleaning since: the position moves past them all the same.
            let later: VecDeque<Item> = self.queue.split_off(at);
            self.skip_to(held);
            self.queue.extend(later);
            return;
        }
        for (index, piece) in pieces.into_iter().enumerate() {
            let mark = if index + 1 == count {
                held
            } else {
                // Within the batch itself, whatever was read past behind it.
                Mark {
                    next_source: piece.next_source,
                    leader_epoch: held.sent_epoch,
                    fingerprint: None,
                    ..held
                }
            };
            self.held_bytes += piece.batch.bytes.len();
            let item = Item::Ready(Held {
                batch: piece.batch,
                first_source: piece.first_source,
                source_end: Offset(piece.last_source.0 + 1),
                mark,
                charge: charge.clone(),
                merged,
            });
            self.queue.insert(at + index, item);
        }
    }

    /// A batch cannot be transcoded: the lane stops there.
    pub(crate) fn transcode_failed(&mut self, ticket: u64, trouble: Trouble) {
        let Some(at) = self.queue.iter().position(|item| item.is_waiting_for(ticket)) else { return };
        self.held_bytes -= self.queue.drain(at..).map(|item| item.bytes()).sum::<usize>();
        self.queue.push_back(Item::Stuck(trouble));
    }

    /// Still walking over records that are at the destination already.
    pub(crate) fn is_walking(&self) -> bool {
        self.to_skip > 0
    }

    pub(crate) fn read_from(&self) -> Offset {
        self.read_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use client::ErrorCode;
    use model::{PartitionId, TopicPartition};
    use record_batch::{BatchBuilder, Codec};

    fn reading_lane() -> Lane {
        let orders = TopicPartition::new("orders", 0);
        let route = route_for_tests(orders.clone(), orders);
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let now = Instant::now();
        let mut lane = Lane::new(LaneId(1), route, None, SelectionId::READ_UNCOMMITTED, now);
        lane.state = State::Flowing;
        lane.source_end = Some(Offset(1000));
        lane
    }

    fn wanted(lane: &Lane) -> Option<usize> {
        lane.room_bytes(8 << 20, 20).map(|room| lane.bytes_to_ask_for(room, 1 << 20))
    }

    #[test]
    fn a_lane_asks_for_whole_batches_and_for_no_more_than_it_has_earned() {
        let mut lane = reading_lane();
        assert_eq!(wanted(&lane), Some(32 << 10));
        lane.batch_bytes = 10_000;
        assert_eq!(wanted(&lane), Some(30_000));
        lane.held_bytes = 10_000;
        assert_eq!(wanted(&lane), Some(20_000));
        lane.held_bytes = 20_000;
        assert_eq!(wanted(&lane), None, "a small piece more is not worth a request");
        (lane.bytes, lane.walked_bytes) = (500_000, 500_000);
        assert_eq!(wanted(&lane), Some(30_000));
        lane.bytes = 1 << 30;
        assert_eq!(wanted(&lane), Some(1_040_000));
        lane.held_bytes = 8 << 20;
        assert_eq!(wanted(&lane), None);
    }

    #[test]
    fn a_batch_larger_than_what_was_asked_for_is_asked_for_in_the_end() {
        let mut lane = reading_lane();
        let mut asked = Vec::new();
        for _ in 0..4 {
            let bytes = wanted(&lane).expect("it holds nothing");
            asked.push(bytes >> 10);
            lane.ask(bytes);
            lane.nothing_came(1 << 20);
        }
        assert_eq!(asked, [32, 128, 512, 1024]);
    }

    /// A share that has so many records behind its position, the last of them before `walk_end`, with others between.
    fn walking_share(records: i64, foreign: i64, walk_end: i64) -> Lane {
        let share = Share { source: PartitionId(0), destination: PartitionId(0), of: 2 };
        let mut lane = reading_lane().of_share(share);
        lane.acked.sent_leader_epoch = LeaderEpoch(0);
        lane.acked.destination_end = Offset(5);
        let leader = Leader { broker: BrokerId(1), epoch: LeaderEpoch(0), topic_id: None };
        let walk = (records, foreign, Some(Offset(walk_end)));
        let log = (Offset(0), Offset(5 + records + foreign));
        let now = lane.last_read_at;
        lane.placed(walk, log, leader, ConnectionId(1), (Duration::ZERO, false), now);
        lane
    }

    /// The source gives two records, of this share.
    fn read_two(lane: &mut Lane, base: i64) {
        let mut builder =
            BatchBuilder::new(Codec::None).base_offset(Offset(base)).leader_epoch(LeaderEpoch(0));
        (0..2).for_each(|at| builder.append(at, None, Some(b"value"), &[]));
        let fetched = Fetched {
            partition: lane.route.source.clone(),
            error: ErrorCode::NONE,
            high_watermark: Some(Offset(1000)),
            last_stable_offset: None,
            log_start_offset: Some(Offset(0)),
            aborted: Vec::new(),
            preferred_replica: None,
            diverging: None,
            records: builder.build(),
        };
        let charge = Budget::new(1000).charge(100);
        let reading = Reading { isolation: Isolation::ReadUncommitted, opposite: &[], charge: &charge };
        assert!(lane.accept(&fetched, &reading).is_empty(), "they are at the destination");
    }

    #[test]
    fn a_walk_of_a_share_is_known_as_a_whole_or_not_at_all() {
        let mut lane = walking_share(4, 17, 20);
        read_two(&mut lane, 0);
        assert_eq!((lane.acked.next_source, lane.checkpoint().next_source), (Offset(2), Offset(0)));
        lane.reopen(State::Opening(Opening::Ready));
        assert_eq!((lane.acked.next_source, lane.acked.sequence), (Offset(0), 0));

        let mut lane = walking_share(4, 17, 20);
        read_two(&mut lane, 0);
        read_two(&mut lane, 2);
        let known = lane.checkpoint();
        assert_eq!((known.next_source, known.sequence, known.destination_end), (Offset(4), 4, Offset(26)));
        assert_eq!(known.segments.end(), Some((Offset(4), Offset(20))));
        assert_eq!(
            known.segments.records_from(Offset(19)),
            Some(1),
            "only of the last one it is known where it is"
        );
    }

    #[test]
    fn what_others_append_lies_behind_a_share_only_where_nothing_of_its_own_can_be_among_it() {
        let mut lane = walking_share(0, 3, 0);
        let now = lane.last_read_at;
        assert_eq!(lane.acked.destination_end, Offset(8));
        lane.may_have_sent = true;
        lane.others_appended(Offset(20), now);
        assert_eq!(lane.acked.destination_end, Offset(8));
        lane.may_have_sent = false;
        lane.others_appended(Offset(20), now);
        lane.others_appended(Offset(15), now);
        assert_eq!((lane.acked.destination_end, lane.dirty), (Offset(20), true));

        let mut lane = walking_share(2, 3, 7);
        lane.others_appended(Offset(20), now);
        assert_eq!(lane.acked.destination_end, Offset(5), "a walk begins where it began");
    }

    #[test]
    fn as_many_records_as_are_a_shares_own_may_be_others_all_the_same() {
        let segments = |walk_end| {
            let mut lane = walking_share(2, 0, walk_end);
            read_two(&mut lane, 0);
            lane.acked.segments.iter().map(|run| (run.destination.0, run.count)).collect::<Vec<_>>()
        };
        assert_eq!(segments(7), [(5, 2)]);
        // Some of theirs were lost, and ours came in their place.
        assert_eq!(segments(6), [(5, 1)]);
    }

    #[test]
    fn a_full_reply_says_nothing_about_the_batches_that_are_not_in_it() {
        let mut lane = reading_lane();
        lane.ask(32 << 10);
        lane.nothing_came(30_000);
        assert_eq!(wanted(&lane), Some(32 << 10));
        lane.source_end = Some(lane.read_from);
        lane.nothing_came(1 << 20);
        assert_eq!(wanted(&lane), Some(32 << 10), "there is nothing");
    }
}
