//! Bytes that are no answer never panic, and never ask for more memory than they have bytes.

use std::collections::HashMap;

use bytes::Bytes;
use model::{TopicId, TopicName};
use proptest::prelude::*;
use protocol::{ApiVersions, fetch, produce};

/// Bytes with many of the values that lengths and counts break on.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers_written_by_hand(bytes in nasty(), version in 0i16..18) {
        let bytes = Bytes::from(bytes);
        let names = HashMap::from([(TopicId([0; 16]), TopicName::from("t"))]);
        if let Ok(response) = fetch::decode(version.max(4), bytes.clone(), &names) {
            prop_assert!(response.partitions.iter().all(|fetched| fetched.records.len() <= bytes.len()));
        }
        let _ = produce::decode(version.clamp(3, 11), bytes.clone());
        let _ = ApiVersions::read_answer(version.min(3), bytes.clone());
        let _ = protocol::looks_like(&bytes);
        let _ = protocol::correlation_id(&bytes);
    }
}
