//! Finding a lane's position by what records say, where counting them cannot be trusted.
//!
//! Cleaning takes records out of a compacted source at any time, so that the number of records sent since
//! the checkpoint no longer says where the source goes on. What was sent is at the destination: the
//! position is behind the last source record that is there too. Records that are gone at the source
//! cannot be sent again and need no position.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::trouble::Unfound;
use model::{Offset, ProducerId};
use record_batch::{BatchError, DECOMPRESSED_BYTES_MAX, Entry, Record, Share, records};

/// What tells one record from another: its time, key, value and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecordHash(u64);

/// `timed`: the two sides show the same time for a record.
fn hash(record: &Record<'_>, timed: bool) -> RecordHash {
    // The same seed in every process and on both sides; nobody gains by a collision.
    let mut hasher = DefaultHasher::new();
    if timed {
        record.timestamp.hash(&mut hasher);
    }
    record.key.hash(&mut hasher);
    record.value.hash(&mut hasher);
    record.headers.hash(&mut hasher);
    RecordHash(hasher.finish())
}

/// The records of `entry` from `from` on, those of `share` where one is given, each with the offset after it.
///
/// # Errors
/// [`BatchError`] where it cannot be read.
pub(crate) fn hashes(
    entry: &Entry,
    from: Offset,
    timed: bool,
    share: Option<Share>,
) -> Result<Vec<(RecordHash, Offset)>, BatchError> {
    entry.verify_crc()?;
    let decoded = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut hashes = Vec::new();
    for record in &decoded {
        let record = record?;
        let is_taken = |share: Share| share.has(record.offset, record.key);
        if record.offset >= from && share.is_none_or(is_taken) {
            hashes.push((hash(&record, timed), Offset(record.offset.0 + 1)));
        }
    }
    Ok(hashes)
}

/// The flow's own records in a part of a destination log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// In their order.
    pub(crate) records: Vec<RecordHash>,
    /// The sequence of the last one.
    pub(crate) last_sequence: Option<i32>,
    /// The producer of the newest batch that another one wrote.
    pub(crate) foreign: Option<(ProducerId, i16)>,
}

impl Contents {
    /// Adds what of `entry` lies at or after `from` and was sent under `producer`.
    ///
    /// # Errors
    /// [`BatchError`] where it cannot be read.
    pub(crate) fn add(
        &mut self,
        entry: &Entry,
        producer: ProducerId,
        from: Offset,
        timed: bool,
    ) -> Result<(), BatchError> {
        let Entry::Batch(batch) = entry else { return Ok(()) };
        if batch.header.is_control() {
            return Ok(());
        }
        if batch.header.producer_id != producer {
            if batch.header.producer_id.0 >= 0 {
                self.foreign = Some((batch.header.producer_id, batch.header.producer_epoch));
            }
            return Ok(());
        }
        self.records.extend(hashes(entry, from, timed, None)?.into_iter().map(|(hash, _)| hash));
        self.last_sequence = Some(batch.header.last_sequence());
        Ok(())
    }
}

/// Which of the records sent since the checkpoint the source may have deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// Any of them, by cleaning. Each replica of the source cleans for itself, so a new leader may also have records
    /// left that were gone when they would have been sent.
    Any,
    /// The first ones, by retention: no more than so many.
    First(usize),
}

/// The destination's records after the checkpoint, and the source's as they are read.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Records sent since the checkpoint, by their sequences.
    sent: usize,
    /// Records show their times.
    timed: bool,
    destination: Vec<RecordHash>,
    /// Nothing of what was sent was deleted at the destination before it was read.
    complete: bool,
    source: Read,
}

/// What of the source was read.
#[derive(Debug)]
enum Read {
    /// Cleaned: how far the records go that the destination has.
    Cleaned(Common),
    /// Its beginning, as many records as were sent; at most so many are missing before them.
    First(usize, Vec<(RecordHash, Offset)>),
}

/// The last record that both sides have.
#[derive(Debug)]
struct Common {
    /// Of the destination's records: the last place, and how many are alike.
    places: HashMap<RecordHash, (usize, usize)>,
    /// The destination's last record.
    end: Option<RecordHash>,
    /// Which one it is, where the source goes on behind it, and whether records were read before it that the
    /// destination has not.
    last: Option<(RecordHash, Offset, bool)>,
    /// How many like it were read.
    alike: usize,
    /// A record was read that the destination has not.
    has_others: bool,
}

impl Common {
    fn new(destination: &[RecordHash]) -> Common {
        let mut places = HashMap::new();
        for (place, hash) in destination.iter().enumerate() {
            let (last, count) = places.entry(*hash).or_insert((place, 0));
            (*last, *count) = (place, *count + 1);
        }
        let end = destination.last().copied();
        Common { places, end, last: None, alike: 0, has_others: false }
    }

    fn take(&mut self, hash: RecordHash, next: Offset) {
        let Some(&(place, count)) = self.places.get(&hash) else {
            self.has_others = true;
            return;
        };
        match self.last {
            Some((last, ..)) if last == hash => self.alike += 1,
            Some((last, ..)) if place < self.places[&last].0 => return,
            _ => self.alike = 1,
        }
        // What is alike beyond those sent was not sent.
        if self.alike <= count {
            self.last = Some((hash, next, self.has_others));
        }
    }

    /// All those like the destination's last record were read.
    fn is_at_end(&self) -> bool {
        let last = self.last.map(|(last, ..)| last).filter(|last| self.end == Some(*last));
        last.is_some_and(|last| self.alike >= self.places[&last].1)
    }

    fn position(&self, timed: bool) -> Result<Option<Offset>, &'static str> {
        let Some((last, next, behind_others)) = self.last else { return Ok(None) };
        let is_one = timed && self.places[&last].1 == 1;
        if is_one || !behind_others {
            return Ok(Some(next));
        }
        // Perhaps those others were not sent, and this is another one that only looks like one that was.
        Err("the source has others among them, and records that look alike")
    }
}

impl Comparison {
    /// `sent` records were sent since the checkpoint, of which the source has deleted some; `destination` is what is
    /// left of them there, all but what cleaning took if `complete`. `timed`: the hashes tell the records' times.
    pub(crate) fn new(
        sent: usize,
        deleted: Deleted,
        (destination, complete): (Vec<RecordHash>, bool),
        timed: bool,
    ) -> Comparison {
        let source = match deleted {
            Deleted::Any => Read::Cleaned(Common::new(&destination)),
            Deleted::First(most) => Read::First(most, Vec::new()),
        };
        Comparison { sent, timed, destination, complete, source }
    }

    /// Whether a comparison without a common record says that the source has none left of those sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes more of the source's selected records after the checkpoint. True once there are enough.
    pub(crate) fn take(&mut self, records: Vec<(RecordHash, Offset)>) -> bool {
        match &mut self.source {
            Read::Cleaned(common) => records.into_iter().any(|(hash, next)| {
                common.take(hash, next);
                common.is_at_end()
            }),
            Read::First(_, source) => {
                // It has at most as many of those sent as were sent.
                source.extend(records);
                source.truncate(self.sent);
                source.len() == self.sent
            }
        }
    }

    /// Where the source goes on: after the last record that is at the destination, or `None` if none of
    /// those read is.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) fn position(&self) -> Result<Option<Offset>, &'static str> {
        match &self.source {
            Read::Cleaned(common) => common.position(self.timed),
            Read::First(_, _) if self.destination.len() < self.sent => {
                Err("the destination no longer has all of them")
            }
            Read::First(most, source) => {
                let count = self.only_end_and_beginning(*most, source)?;
                Ok(count.checked_sub(1).map(|last| source[last].1))
            }
        }
    }

    /// How many records the destination ends with and the source begins with, of which no more than `most` are deleted.
    fn only_end_and_beginning(
        &self,
        most: usize,
        source: &[(RecordHash, Offset)],
    ) -> Result<usize, &'static str> {
        let least = self.sent.saturating_sub(most);
        let found = ends_and_beginnings(&self.destination, source);
        let mut fitting = found.into_iter().take_while(|count| *count >= least.max(1));
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) => Err("the source has the same records more than once"),
            // One record that looks like another proves nothing without a count or a time.
            (Some(count), None) if least > 0 || self.timed => Ok(count),
            (Some(_), None) => Err("the source may have the same records more than once"),
            (None, _) if least > 0 => Err("the source has other records in their place"),
            (None, _) => Ok(0),
        }
    }
}

/// All the numbers of records that `sent` ends with and `source` begins with, the largest first: the borders of the
/// two, by the failure function of Knuth, Morris and Pratt.
fn ends_and_beginnings(sent: &[RecordHash], source: &[(RecordHash, Offset)]) -> Vec<usize> {
    let goes_on = |count: usize, hash: RecordHash| source.get(count).is_some_and(|(next, _)| *next == hash);
    // Of the first records up to each: the longest shorter beginning that they end with.
    let mut shorter = vec![0; source.len()];
    let follow = |shorter: &[usize], mut count: usize, hash: RecordHash| {
        while count > 0 && !goes_on(count, hash) {
            count = shorter[count - 1];
        }
        if goes_on(count, hash) { count + 1 } else { 0 }
    };
    for at in 1..source.len() {
        shorter[at] = follow(&shorter, shorter[at - 1], source[at].0);
    }
    let mut count = sent.iter().fold(0, |count, hash| follow(&shorter, count, *hash));
    let mut counts = Vec::new();
    while count > 0 {
        counts.push(count);
        count = shorter[count - 1];
    }
    counts
}

/// Where in the source the copy's last records are, for a lane of which nothing else is known. They are proof only
/// if the source has them in this order once, so all of it is read.
#[derive(Debug)]
pub(crate) struct Search {
    /// The copy's last records, at least one.
    run: Vec<RecordHash>,
    /// As many of the source's, as read last.
    window: VecDeque<RecordHash>,
    /// Where the source goes on behind each place found.
    found: Vec<Offset>,
}

impl Search {
    /// A search for `run`.
    pub(crate) fn new(run: Vec<RecordHash>) -> Search {
        Search { window: VecDeque::with_capacity(run.len()), run, found: Vec::new() }
    }

    /// Takes more of the source's selected records, from its start on.
    pub(crate) fn take(&mut self, records: Vec<(RecordHash, Offset)>) {
        for (hash, next) in records {
            if self.window.len() == self.run.len() {
                self.window.pop_front();
            }
            self.window.push_back(hash);
            // A second place is enough to know that there is no proof.
            if self.found.len() < 2 && Some(&hash) == self.run.last() && self.window.iter().eq(&self.run) {
                self.found.push(next);
            }
        }
    }

    /// Where the source goes on.
    ///
    /// # Errors
    /// Why that is not known.
    pub(crate) fn position(&self) -> Result<Offset, Unfound> {
        match self.found[..] {
            [] => Err(Unfound::NotAtSource),
            [position] => Ok(position),
            _ => Err(Unfound::Ambiguous),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copys_last_records_are_proof_where_the_source_has_them_once() {
        let check = |run: &[u64], source: &[u64], expected| {
            let hashes = |records: &[u64]| records.iter().map(|it| RecordHash(*it)).collect::<Vec<_>>();
            let records: Vec<_> = hashes(source).into_iter().zip((1..).map(Offset)).collect();
            // However the source's batches are cut.
            for size in 1..=records.len().max(1) {
                let mut search = Search::new(hashes(run));
                records.chunks(size).for_each(|some| search.take(some.to_vec()));
                assert_eq!(search.position(), expected, "{run:?} in {source:?} by {size}");
            }
        };
        check(&[1, 2, 3], &[0, 1, 2, 3, 4], Ok(Offset(4)));
        check(&[1, 2, 3], &[1, 2, 1, 2, 3], Ok(Offset(5)));
        check(&[3], &[1, 2, 3], Ok(Offset(3)));
        check(&[1, 2, 3], &[1, 3, 2, 3], Err(Unfound::NotAtSource));
        check(&[1, 2, 3], &[2, 3], Err(Unfound::NotAtSource));
        check(&[1, 2, 3], &[], Err(Unfound::NotAtSource));
        check(&[1, 2], &[1, 2, 3, 1, 2], Err(Unfound::Ambiguous));
        // Alike records: a longer run tells, a run of nothing else does not.
        check(&[1, 2, 2], &[1, 2, 2, 2], Ok(Offset(3)));
        check(&[2, 2], &[1, 2, 2, 2], Err(Unfound::Ambiguous));
    }

    fn compare(
        (sent, deleted, timed): (usize, Deleted, bool),
        destination: &[u64],
        source: &[(u64, i64)],
    ) -> Result<Option<i64>, &'static str> {
        let destination = destination.iter().map(|hash| RecordHash(*hash)).collect();
        let mut comparison = Comparison::new(sent, deleted, (destination, true), timed);
        comparison
            .take(source.iter().map(|(hash, offset)| (RecordHash(*hash), Offset(offset + 1))).collect());
        comparison.position().map(|next| next.map(|next| next.0 - 1))
    }

    fn check(sent: usize, destination: &[u64], source: &[(u64, i64)], expected: Option<i64>) {
        let found = compare((sent, Deleted::Any, true), destination, source);
        assert_eq!(found, Ok(expected), "{destination:?} {source:?}");
    }

    #[test]
    fn what_was_sent_of_a_source_that_deleted_its_first_records_is_told_by_what_both_have() {
        let check = |sent: &[u64], most, source: &[u64], timed, expected: Result<Option<i64>, ()>| {
            let source: Vec<_> = source.iter().copied().zip(100..).collect();
            let found = compare((sent.len(), Deleted::First(most), timed), sent, &source);
            assert_eq!(found.map_err(|_| ()), expected, "{sent:?} {source:?}");
        };
        // Two of the four are gone, and the offsets say that it is no more.
        check(&[1, 2, 3, 4], 2, &[3, 4, 5, 6], false, Ok(Some(101)));
        // Offsets without records, so that it could have been all of them.
        check(&[1, 2, 3, 4], 9, &[3, 4, 5, 6], true, Ok(Some(101)));
        check(&[1, 2, 3, 4], 9, &[3, 4, 5, 6], false, Err(()));
        // All are gone.
        check(&[1, 2, 3, 4], 9, &[5, 6], true, Ok(None));
        // Alike records: by the count, where there is one.
        check(&[7, 7, 7, 7], 2, &[7, 7, 7, 7], false, Err(()));
        check(&[7, 7, 7, 7], 0, &[7, 7, 7, 7], false, Ok(Some(103)));
        check(&[1, 7, 7, 7], 9, &[7, 7, 8], true, Err(()));
        check(&[1, 7, 8, 7], 9, &[7, 8, 7, 9], true, Err(()));
        check(&[1, 7, 8, 7], 1, &[7, 8, 7, 9], true, Ok(Some(102)));
        // Not what was copied.
        check(&[1, 2, 3, 4], 2, &[5, 6], true, Err(()));
        check(&[1, 2, 3, 4], 2, &[], true, Err(()));
        check(&[1, 2, 3, 4], 4, &[], true, Ok(None));
    }

    #[test]
    fn the_position_is_behind_the_last_record_that_both_sides_have() {
        // Nothing was cleaned.
        check(3, &[1, 2, 3], &[(1, 10), (2, 11), (3, 12)], Some(12));
        // Alike records are counted.
        check(3, &[1, 1, 1], &[(1, 10), (1, 11), (1, 12), (1, 13)], Some(12));
        // Some of those sent are gone at the source; those behind were not sent.
        check(3, &[1, 2, 3], &[(3, 12), (4, 13), (5, 14)], Some(12));
        // The last one sent is gone, the one before is not.
        check(3, &[1, 2, 3], &[(2, 11), (4, 13), (5, 14)], Some(11));
        // All are gone.
        check(3, &[1, 2, 3], &[(4, 13), (5, 14), (6, 15)], None);
        // The destination was cleaned as well.
        check(4, &[2, 4], &[(2, 11), (3, 12), (4, 13), (5, 14)], Some(13));
        // One that an earlier leader of the source had cleaned away is there again.
        check(3, &[1, 2, 3], &[(2, 11), (9, 12), (3, 13)], Some(13));
        // Without times that may as well be one that was not sent, and the next one another that looks alike.
        let untimed = |source: &[(u64, i64)]| compare((3, Deleted::Any, false), &[1, 2, 3], source);
        assert!(untimed(&[(2, 11), (9, 12), (3, 13)]).is_err());
        assert_eq!(untimed(&[(2, 11), (3, 12), (9, 13)]), Ok(Some(12)));
        assert_eq!(untimed(&[(9, 13)]), Ok(None));
        // The source ends early.
        check(3, &[1, 2, 3], &[(3, 12)], Some(12));
        check(3, &[1, 2, 3], &[], None);
    }
}
