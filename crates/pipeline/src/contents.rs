//! Finding a lane's position by what records say, where counting them cannot be trusted.
//!
//! Cleaning takes records out of a compacted source at any time, so that the number of records sent since
//! the checkpoint no longer says where the source goes on. What was sent is at the destination: the
//! position is behind the last source record that is there too. Records that are gone at the source
//! cannot be sent again and need no position.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::trouble::Unfound;
use model::{Offset, ProducerId};
use record_batch::{BatchError, DECOMPRESSED_BYTES_MAX, Entry, Record, records};

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

/// The records of `entry` from `from` on, each with the offset after it.
///
/// # Errors
/// [`BatchError`] where it cannot be read.
pub(crate) fn hashes(
    entry: &Entry,
    from: Offset,
    timed: bool,
) -> Result<Vec<(RecordHash, Offset)>, BatchError> {
    entry.verify_crc()?;
    let decoded = records(entry, DECOMPRESSED_BYTES_MAX)?;
    let mut hashes = Vec::new();
    for record in &decoded {
        let record = record?;
        if record.offset >= from {
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
        self.records.extend(hashes(entry, from, timed)?.into_iter().map(|(hash, _)| hash));
        self.last_sequence = Some(batch.header.last_sequence());
        Ok(())
    }
}

/// The destination's records after the checkpoint, and the source's as they are read.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Records sent since the checkpoint, by their sequences.
    sent: usize,
    destination: Vec<RecordHash>,
    /// Nothing of what was sent was deleted at the destination before it was read.
    complete: bool,
    source: Vec<(RecordHash, Offset)>,
}

impl Comparison {
    /// `sent` records were sent since the checkpoint; `destination` is what is left of them there, all but
    /// what cleaning took if `complete`.
    pub(crate) fn new(sent: usize, destination: Vec<RecordHash>, complete: bool) -> Comparison {
        Comparison { sent, destination, complete, source: Vec::new() }
    }

    /// Whether a comparison without a common record says that the source has none left of those sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes more of the source's selected records after the checkpoint. True once there are enough: the
    /// source has at most as many of those sent as were sent.
    pub(crate) fn take(&mut self, records: Vec<(RecordHash, Offset)>) -> bool {
        self.source.extend(records);
        self.source.truncate(self.sent);
        self.source.len() == self.sent
    }

    /// Where the source goes on: after the last record that is at the destination, or `None` if none of
    /// those read is.
    pub(crate) fn position(&self) -> Option<Offset> {
        // Nothing was cleaned: the count is right, also among records that are all alike.
        if let (Some(last), Some((hash, next))) = (self.destination.last(), self.source.last())
            && self.source.len() == self.sent
            && hash == last
        {
            return Some(*next);
        }
        self.destination.iter().rev().find_map(|wanted| {
            self.source.iter().rev().find(|(hash, _)| hash == wanted).map(|(_, next)| *next)
        })
    }
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

    fn check(sent: usize, destination: &[u64], source: &[(u64, i64)], expected: Option<i64>) {
        let destination = destination.iter().map(|hash| RecordHash(*hash)).collect();
        let mut comparison = Comparison::new(sent, destination, true);
        comparison
            .take(source.iter().map(|(hash, offset)| (RecordHash(*hash), Offset(offset + 1))).collect());
        assert_eq!(comparison.position().map(|next| next.0 - 1), expected);
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
        // The source ends early.
        check(3, &[1, 2, 3], &[(3, 12)], Some(12));
        check(3, &[1, 2, 3], &[], None);
    }
}
