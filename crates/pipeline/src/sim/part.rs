//! Which of a source partition's records a lane copies to which destination partition.

use std::borrow::Cow;

use model::{Offset, TopicPartition};
use record_batch::Share;

use super::source::Numbered;

/// A lane, as far as what it copies goes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) source: TopicPartition,
    pub(super) destination: TopicPartition,
    pub(super) share: Option<Share>,
}

impl Part {
    /// Those of `records` that are of this part.
    pub(super) fn of<'a>(&self, records: &'a [Numbered]) -> Cow<'a, [Numbered]> {
        let Some(share) = self.share else { return Cow::Borrowed(records) };
        let has = |(offset, number): &&Numbered| share.has(Offset(*offset), key_of(*number).as_deref());
        Cow::Owned(records.iter().filter(has).copied().collect())
    }

    /// Whether record `number`, at the destination, came from the source partition.
    pub(super) fn has_sent(&self, number: u64) -> bool {
        self.share.is_none() || source_of(number) == self.source.partition.0
    }
}

/// The number of a record of a partition that is spread: rising with `count`, and it tells where it is from.
pub(super) fn number_from(partition: i32, count: u64) -> u64 {
    count << 3 | u64::from(partition.unsigned_abs())
}

/// Where the record with such a number is from.
pub(super) fn source_of(number: u64) -> i32 {
    (number & 7) as i32
}

/// Its key, if it has one.
pub(super) fn key_of(number: u64) -> Option<Vec<u8>> {
    let count = number >> 3;
    (!count.is_multiple_of(4)).then(|| vec![b'k'; 1 + (count % 7) as usize])
}
