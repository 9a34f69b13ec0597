//! Which source offset is which destination offset, run-length coded.
//!
//! A run of records without holes on either side is one segment, however long. A hole at the source
//! (compaction, an aborted transaction, a marker) or at the destination (somebody else's record, a
//! marker) begins a new one. Where a batch's own records have holes, its segment gives both ends, and
//! what lies inside is translated to where no record is skipped.
//!
//! Source: protocol-facts, "The exact mapping"; the idea of offset syncs is MirrorMaker 2's (KIP-382).

use std::collections::VecDeque;

use model::Offset;

/// A run: `count` records at source offsets from `source` up to before `source_end` are at the
/// destination from `destination` on, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first source offset.
    pub source: Offset,
    /// The source offset after the last record; more than `count` away where there are holes.
    pub source_end: Offset,
    /// The first destination offset.
    pub destination: Offset,
    /// Records.
    pub count: i64,
}

impl Segment {
    fn is_dense(&self) -> bool {
        self.source_end.0 - self.source.0 == self.count
    }

    fn destination_end(&self) -> i64 {
        self.destination.0.saturating_add(self.count)
    }

    fn is_sound(&self) -> bool {
        let span = self.source_end.0.checked_sub(self.source.0);
        self.source.0 >= 0
            && self.destination.0 >= 0
            && self.count > 0
            && span.is_some_and(|span| span >= self.count)
            && self.destination.0.checked_add(self.count).is_some()
    }
}

/// Where a lane stands again once records are known to be lost at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBack {
    /// The source offset to read from.
    pub next_source: Offset,
    /// The destination offset of the first record from there.
    pub destination: Offset,
    /// Records from `next_source` on that are still at the destination: a run with holes is gone back to
    /// its start.
    pub kept: i64,
}

/// Why a stored form cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentsError {
    /// Another version, or no version at all.
    #[error("stored segments begin with `{0}`, expected `1:`")]
    Version(String),
    /// Not what [`Segments::encode`] writes.
    #[error("stored segments are damaged at character {at}")]
    Damaged {
        /// Where.
        at: usize,
    },
}

/// How many segments of a lane are kept, unless somebody wants fewer: some 8 kB as they are stored.
pub const SEGMENTS_MAX: usize = 1024;

impl Default for Segments {
    fn default() -> Segments {
        Segments::new(SEGMENTS_MAX)
    }
}

/// The segments of one lane, oldest first. Bounded: the oldest are forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    segments: VecDeque<Segment>,
    segments_max: usize,
}

impl Segments {
    /// None yet, and never more than `segments_max` (at least 1).
    pub fn new(segments_max: usize) -> Segments {
        Segments { segments: VecDeque::new(), segments_max: segments_max.max(1) }
    }

    /// The segments, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Notes records that follow all noted before; what is not sound or goes backwards is not noted.
    pub fn push(&mut self, segment: Segment) {
        if !segment.is_sound() {
            return;
        }
        if let Some(last) = self.segments.back_mut() {
            if segment.source < last.source_end || segment.destination.0 < last.destination_end() {
                return;
            }
            let follows =
                segment.source == last.source_end && segment.destination.0 == last.destination_end();
            if follows && last.is_dense() && segment.is_dense() {
                last.source_end = segment.source_end;
                last.count += segment.count;
                return;
            }
        }
        if self.segments.len() == self.segments_max {
            self.segments.pop_front();
        }
        self.segments.push_back(segment);
    }

    /// Where a reader that reads `next` at the source next goes on at the destination, without skipping
    /// a record. `None` before the first segment: nothing is known about it.
    pub fn to_destination(&self, next: Offset) -> Option<Offset> {
        let after = self.segments.partition_point(|segment| segment.source <= next);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        if next >= segment.source_end {
            let end = Offset(segment.destination_end());
            return Some(self.segments.get(after).map_or(end, |following| following.destination));
        }
        // Exact without holes. With holes: no more records follow `next` than offsets do.
        let before_end = segment.destination_end() - (segment.source_end.0 - next.0);
        Some(Offset(before_end.max(segment.destination.0)))
    }

    /// The source offset to go on from when the destination ends at `end`: all records before it are
    /// there. `None` where that is before the first segment, or inside one with holes.
    pub fn to_source(&self, end: Offset) -> Option<Offset> {
        let after = self.segments.partition_point(|segment| segment.destination < end);
        let Some(index) = after.checked_sub(1) else {
            return self.segments.front().filter(|first| first.destination == end).map(|first| first.source);
        };
        let segment = &self.segments[index];
        if end.0 >= segment.destination_end() {
            return Some(segment.source_end);
        }
        segment.is_dense().then(|| Offset(segment.source.0 + (end.0 - segment.destination.0)))
    }

    /// How many of the records noted lie at or after `destination`. `None` where the segments do not reach
    /// back so far.
    pub fn records_from(&self, destination: Offset) -> Option<i64> {
        if self.segments.front().is_none_or(|first| first.destination > destination) {
            return None;
        }
        let after =
            self.segments.iter().rev().take_while(|segment| segment.destination_end() > destination.0);
        Some(after.map(|segment| segment.count.min(segment.destination_end() - destination.0)).sum())
    }

    /// Forgets the last `records` records and gives where the rest ends. `None`, and nothing forgotten,
    /// where fewer are noted.
    pub fn step_back(&mut self, records: i64) -> Option<StepBack> {
        let known: i64 = self.segments.iter().map(|segment| segment.count).sum();
        if records <= 0 || records > known {
            return None;
        }
        let mut rest = records;
        while let Some(mut last) = self.segments.pop_back() {
            if last.count < rest {
                rest -= last.count;
                continue;
            }
            let kept = last.count - rest;
            if kept > 0 && last.is_dense() {
                last.count = kept;
                last.source_end = Offset(last.source.0 + kept);
                self.segments.push_back(last);
                return Some(StepBack {
                    next_source: last.source_end,
                    destination: Offset(last.destination_end()),
                    kept: 0,
                });
            }
            return Some(StepBack { next_source: last.source, destination: last.destination, kept });
        }
        None
    }

    /// Forgets everything: what came since is not known exactly.
    pub fn clear(&mut self) {
        self.segments.clear();
    }

    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The offsets on both sides after the last record noted.
    pub fn end(&self) -> Option<(Offset, Offset)> {
        self.segments.back().map(|last| (last.source_end, Offset(last.destination_end())))
    }

    /// Forgets whole segments that end at or before `source`.
    pub fn prune(&mut self, source: Offset) {
        while self.segments.front().is_some_and(|segment| segment.source_end <= source) {
            self.segments.pop_front();
        }
    }

    /// As one text, a few characters a segment: `1:` and differences as base-64 digits.
    pub fn encode(&self) -> String {
        let mut text = String::from("1:");
        let (mut source, mut destination) = (0, 0);
        for segment in &self.segments {
            write_number(&mut text, segment.source.0 - source);
            write_number(&mut text, segment.destination.0 - destination);
            write_number(&mut text, segment.count - 1);
            write_number(&mut text, segment.source_end.0 - segment.source.0 - segment.count);
            (source, destination) = (segment.source_end.0, segment.destination_end());
        }
        text
    }

    /// Reads what [`encode`](Segments::encode) wrote; of more than `segments_max`, the newest.
    ///
    /// # Errors
    /// [`SegmentsError`] if the text is of another version or damaged.
    pub fn decode(text: &str, segments_max: usize) -> Result<Segments, SegmentsError> {
        let Some(digits) = text.strip_prefix("1:") else {
            return Err(SegmentsError::Version(text.chars().take(8).collect()));
        };
        let mut segments = Segments::new(segments_max);
        let mut numbers = Numbers { digits: digits.as_bytes(), at: 0 };
        let (mut source_end, mut destination_end) = (0i64, 0i64);
        while !numbers.is_at_end() {
            let at = 2 + numbers.at;
            let segment = numbers.segment(source_end, destination_end).filter(Segment::is_sound);
            let segment = segment.ok_or(SegmentsError::Damaged { at })?;
            (source_end, destination_end) = (segment.source_end.0, segment.destination_end());
            if segments.segments.len() == segments.segments_max {
                segments.segments.pop_front();
            }
            segments.segments.push_back(segment);
        }
        Ok(segments)
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Five bits a digit, the lowest first; the sixth says that more follow. `number` is not negative.
fn write_number(text: &mut String, number: i64) {
    let mut rest = number.cast_unsigned();
    loop {
        let more = rest >> 5 != 0;
        let digit = rest & 0x1F | u64::from(more) << 5;
        text.push(char::from(DIGITS[usize::try_from(digit).expect("six bits fit")]));
        rest >>= 5;
        if !more {
            return;
        }
    }
}

struct Numbers<'a> {
    digits: &'a [u8],
    at: usize,
}

impl Numbers<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.digits.len()
    }

    fn segment(&mut self, source_end: i64, destination_end: i64) -> Option<Segment> {
        let source = source_end.checked_add(self.number()?)?;
        let destination = destination_end.checked_add(self.number()?)?;
        let count = self.number()?.checked_add(1)?;
        let source_end = source.checked_add(count)?.checked_add(self.number()?)?;
        Some(Segment {
            source: Offset(source),
            source_end: Offset(source_end),
            destination: Offset(destination),
            count,
        })
    }

    fn number(&mut self) -> Option<i64> {
        let mut number = 0i64;
        for place in 0..13 {
            let digit = *self.digits.get(self.at)?;
            let digit = i64::try_from(DIGITS.iter().position(|known| *known == digit)?).ok()?;
            self.at += 1;
            number = (digit & 0x1F).checked_mul(1i64.checked_shl(5 * place)?)?.checked_add(number)?;
            if digit & 0x20 == 0 {
                return (number >= 0).then_some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(source: i64, source_end: i64, destination: i64, count: i64) -> Segment {
        Segment {
            source: Offset(source),
            source_end: Offset(source_end),
            destination: Offset(destination),
            count,
        }
    }

    fn segments(of: &[Segment]) -> Segments {
        let mut segments = Segments::new(100);
        of.iter().for_each(|segment| segments.push(*segment));
        segments
    }

    #[test]
    fn runs_join_until_one_side_jumps() {
        let joined = segments(&[
            segment(10, 20, 0, 10),
            segment(20, 25, 10, 5),
            segment(26, 30, 15, 4), // a marker at the source
            segment(30, 32, 20, 2), // somebody else's record at the destination
            segment(30, 40, 22, 9), // backwards: not noted
        ]);
        let expected = [segment(10, 25, 0, 15), segment(26, 30, 15, 4), segment(30, 32, 20, 2)];
        assert_eq!(joined.iter().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_group_goes_on_where_no_record_is_skipped() {
        let known = segments(&[segment(10, 25, 100, 15), segment(26, 30, 115, 4), segment(40, 50, 130, 5)]);
        let cases = [
            (9, None),
            (10, Some(100)),
            (24, Some(114)),
            (25, Some(115)), // the marker: the next run's start
            (26, Some(115)),
            (29, Some(118)),
            (30, Some(130)),
            (41, Some(130)), // inside a batch with holes: no later than its first record
            (47, Some(132)),
            (49, Some(134)),
            (50, Some(135)),
            (60, Some(135)),
        ];
        for (next, expected) in cases {
            assert_eq!(known.to_destination(Offset(next)), expected.map(Offset), "{next}");
        }
    }

    #[test]
    fn a_destination_that_lost_its_tail_says_where_to_go_on() {
        let known = segments(&[segment(10, 25, 100, 15), segment(26, 30, 115, 4), segment(40, 50, 130, 5)]);
        let cases = [
            (99, None),
            (100, Some(10)),
            (101, Some(11)),
            (115, Some(25)),
            (117, Some(28)),
            (125, Some(30)),
            (132, None),
            (135, Some(50)),
        ];
        for (end, expected) in cases {
            assert_eq!(known.to_source(Offset(end)), expected.map(Offset), "{end}");
        }
    }

    #[test]
    fn records_that_are_lost_are_stepped_back_over() {
        let known = segments(&[segment(10, 25, 100, 15), segment(26, 30, 115, 4), segment(40, 50, 130, 5)]);
        // Records, then where to read from, what its destination offset is, and how many after it are kept.
        let cases = [
            (1, Some((40, 130, 4))),
            (5, Some((40, 130, 0))),
            (6, Some((29, 118, 0))),
            (9, Some((26, 115, 0))),
            (10, Some((24, 114, 0))),
            (24, Some((10, 100, 0))),
            (25, None),
            (0, None),
        ];
        for (records, expected) in cases {
            let mut left = known.clone();
            let stepped = left.step_back(records);
            let expected = expected.map(|(source, destination, kept)| StepBack {
                next_source: Offset(source),
                destination: Offset(destination),
                kept,
            });
            assert_eq!(stepped, expected, "{records}");
            match expected {
                None => assert_eq!(left, known),
                Some(stepped) => {
                    let end = left.end().map_or(Offset(100), |(_, end)| end);
                    assert!(end <= stepped.destination, "{records}");
                }
            }
        }
        let after =
            [(99, None), (100, Some(24)), (118, Some(6)), (125, Some(5)), (133, Some(2)), (200, Some(0))];
        for (destination, expected) in after {
            assert_eq!(known.records_from(Offset(destination)), expected, "{destination}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut few = Segments::new(2);
        for start in 0..5 {
            few.push(segment(start * 10, start * 10 + 5, start * 5, 5));
        }
        assert_eq!(few.iter().map(|segment| segment.source.0).collect::<Vec<_>>(), [30, 40]);
        few.prune(Offset(35));
        assert_eq!(few.iter().count(), 1);
        let all = segments(&[segment(0, 5, 0, 5), segment(10, 15, 5, 5), segment(20, 25, 10, 5)]);
        assert_eq!(Segments::decode(&all.encode(), 1).unwrap().iter().count(), 1);
    }

    #[test]
    fn the_stored_form_is_short_and_fixed() {
        let known = segments(&[segment(10, 25, 100, 15), segment(26, 30, 115, 4), segment(40, 50, 130, 5)]);
        assert_eq!(known.encode(), "1:KkDOABADAKLEF");
        assert_eq!(Segments::decode("1:KkDOABADAKLEF", 100).unwrap(), known);
        for (text, message) in [
            ("", "stored segments begin with ``, expected `1:`"),
            ("2:KkDOA", "stored segments begin with `2:KkDOA`, expected `1:`"),
            ("1:KkDO", "stored segments are damaged at character 2"),
            ("1:KkDOA%", "stored segments are damaged at character 7"),
            ("1:ggggggggggggggA", "stored segments are damaged at character 2"),
        ] {
            assert_eq!(Segments::decode(text, 9).unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_again(runs in proptest::collection::vec((0i64..1 << 40, 0i64..1 << 40, 1i64..1 << 40, 0i64..100), 0..50)) {
            let mut known = Segments::new(64);
            let (mut source, mut destination) = (0, 0);
            for (source_hole, destination_hole, count, holes) in runs {
                source += source_hole;
                destination += destination_hole;
                known.push(segment(source, source + count + holes, destination, count));
                source += count + holes;
                destination += count;
            }
            prop_assert_eq!(Segments::decode(&known.encode(), 64).unwrap(), known);
        }

        #[test]
        fn damaged_texts_never_panic(text in "1:[A-Za-z0-9_-]{0,60}") {
            if let Ok(segments) = Segments::decode(&text, 8) {
                for offset in [0, 1, 1000, i64::MAX] {
                    let _ = (segments.to_destination(Offset(offset)), segments.to_source(Offset(offset)));
                }
            }
        }
    }
}
