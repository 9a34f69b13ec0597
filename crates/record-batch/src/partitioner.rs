//! Which partition a key goes to, as Java's producers decide it: so a record supersedes an earlier one of its key,
//! whoever of us wrote it.
//!
//! Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`, `BuiltInPartitioner`.

/// The partition of `key` in a topic of `partitions` partitions.
///
/// # Panics
/// If there is no partition.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    (murmur2(key) & i32::MAX) % partitions
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut word = u32::from_le_bytes(word.try_into().expect("chunks are of four bytes"));
        word = word.wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        word = word.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ word;
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // Known answers of Kafka's own hash.
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn every_key_has_a_partition_that_is_there() {
        for length in 0..40 {
            let key = vec![0xAB; length];
            for partitions in [1, 2, 25, i32::MAX] {
                assert!((0..partitions).contains(&partition_of(&key, partitions)));
            }
        }
    }
}
