//! The records of the demo: each is a function of its number, so that nothing of them need be kept.
//!
//! They look like orders. Here and there is what a copy may get wrong: no key, no value, an empty value, a
//! header twice or without a value.

use std::fmt::Write as _;

use bytes::Bytes;
use record_batch::{BatchBuilder, Codec};

pub(crate) const PARTITIONS: i32 = 8;
/// A value's size: large enough to be like one, small enough that a million, twice, fit into most machines.
pub(crate) const VALUE_BYTES: usize = 500;
/// Of a producer that is set up for throughput: about 64 KiB.
pub(crate) const BATCH_RECORDS: u64 = 120;

const NOISE_STARTS: u16 = 2999;
const NOISE_BYTES: usize = NOISE_STARTS as usize + VALUE_BYTES;

/// Makes batches of records.
pub(crate) struct Records {
    /// Letters that the values are filled up with, from a place that depends on the number.
    noise: String,
}

impl Records {
    pub(crate) fn new() -> Records {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let letter = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + u8::try_from(state % 26).unwrap_or_default())
        };
        Records { noise: (0..NOISE_BYTES).map(letter).collect() }
    }

    /// One batch, uncompressed, of the records with these numbers.
    pub(crate) fn batch(&self, numbers: impl Iterator<Item = u64>, timestamp: impl Fn(u64) -> i64) -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None);
        let (mut key, mut value) = (String::new(), String::new());
        for number in numbers {
            self.write(number, &mut key, &mut value);
            let batch_number = number.to_be_bytes();
            let headers: &[(&str, Option<&[u8]>)] = match number % 1000 {
                7 => &[
                    ("trace", Some(&batch_number)),
                    ("trace", Some(b"again")),
                    ("empty", Some(b"")),
                    ("null", None),
                ],
                _ => &[("trace", Some(&batch_number))],
            };
            let key = (number % 1000 != 11).then_some(key.as_bytes());
            let value = match number % 1000 {
                13 => None,
                17 => Some(&b""[..]),
                _ => Some(value.as_bytes()),
            };
            builder.append(timestamp(number), key, value, headers);
        }
        builder.build()
    }

    fn write(&self, number: u64, key: &mut String, value: &mut String) {
        key.clear();
        value.clear();
        let customer = number.wrapping_mul(2_654_435_761) % 100_000;
        let cents = number.wrapping_mul(40_503) % 1_000_000;
        write!(key, "customer-{customer:05}").expect("a string takes whatever is written");
        write!(value, r#"{{"order":{number},"customer":{customer},"cents":{cents},"note":""#)
            .expect("a string takes whatever is written");
        let left_bytes = VALUE_BYTES.saturating_sub(value.len() + 2);
        let from = usize::try_from(number % u64::from(NOISE_STARTS)).unwrap_or_default();
        value.push_str(&self.noise[from..from + left_bytes]);
        value.push_str("\"}");
    }
}

/// The numbers of the records of a partition, of `total` in all.
pub(crate) fn numbers(partition: i32, total: u64) -> impl Iterator<Item = u64> {
    let first = u64::try_from(partition).unwrap_or_default();
    (first..total).step_by(usize::try_from(PARTITIONS).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use record_batch::{DECOMPRESSED_BYTES_MAX, records, split};

    #[test]
    fn every_record_is_in_one_partition_and_its_value_has_the_size_that_is_told() {
        let mut found = Vec::new();
        let source = Records::new();
        for partition in 0..PARTITIONS {
            let batch = source.batch(numbers(partition, 3001), |number| i64::try_from(number).unwrap());
            let entry = split(batch).next().unwrap().unwrap();
            let records = records(&entry, DECOMPRESSED_BYTES_MAX).unwrap();
            for record in &records {
                let record = record.unwrap();
                found.push(record.timestamp);
                match record.timestamp % 1000 {
                    13 => assert_eq!(record.value, None),
                    17 => assert_eq!(record.value, Some(&b""[..])),
                    _ => assert_eq!(record.value.unwrap().len(), VALUE_BYTES),
                }
                assert_eq!(record.key.is_none(), record.timestamp % 1000 == 11);
            }
        }
        found.sort_unstable();
        assert_eq!(found, (0..3001).collect::<Vec<i64>>());
    }
}
