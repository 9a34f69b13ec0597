//! Which of a topic's partitions a record goes to, where that is not the one it comes from.
//!
//! A record with a key goes where Java's producers put the key. Those without one go in runs, so that their batches stay
//! together. Nothing but the record itself decides, and how many partitions there are: whoever chooses again, chooses the
//! same.

use model::{Offset, PartitionId};

use crate::partition_of;

/// So many offsets of a source partition go to one partition, where they have no key.
const RUN_OFFSETS: i64 = 512;

/// The records of one source partition that go to one of several partitions: each goes to exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Where they come from. Each source partition's runs begin elsewhere, so that short ones spread, too.
    pub source: PartitionId,
    /// Where they go.
    pub destination: PartitionId,
    /// Partitions that the source's records are spread over.
    pub of: i32,
}

impl Share {
    /// Whether the record at `offset` is one of them.
    ///
    /// # Panics
    /// If it is a share of no partitions.
    pub fn has(&self, offset: Offset, key: Option<&[u8]>) -> bool {
        let partition = match key {
            Some(key) => partition_of(key, self.of),
            None => {
                let run = offset.0.div_euclid(RUN_OFFSETS) + i64::from(self.source.0);
                i32::try_from(run.rem_euclid(i64::from(self.of)))
                    .expect("a remainder is less than what divides")
            }
        };
        partition == self.destination.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(source: i32, of: i32) -> impl Iterator<Item = Share> {
        (0..of).map(move |to| Share { source: PartitionId(source), destination: PartitionId(to), of })
    }

    fn place(source: i32, of: i32, offset: i64, key: Option<&[u8]>) -> i32 {
        let mut having = shares(source, of).filter(|share| share.has(Offset(offset), key));
        let place = having.next().expect("every record goes somewhere").destination.0;
        assert_eq!(having.next(), None, "and to one place only");
        place
    }

    #[test]
    fn a_key_has_its_partition_whatever_the_record() {
        for key in [&b""[..], b"a", b"foobar", &[0xFF; 100]] {
            for of in [1, 3, 7] {
                let to = partition_of(key, of);
                assert!(
                    [(0, 0), (5, 0), (5, 511), (9, 99_999)]
                        .iter()
                        .all(|(source, offset)| { place(*source, of, *offset, Some(key)) == to })
                );
            }
        }
    }

    #[test]
    fn records_without_a_key_go_in_runs_to_one_after_the_other() {
        let places = |source| [0, 511, 512, 1023, 1024, 1536].map(|offset| place(source, 3, offset, None));
        assert_eq!(places(0), [0, 0, 1, 1, 2, 0]);
        assert_eq!(places(4), [1, 1, 2, 2, 0, 1]);
    }
}
