//! What the records of the offsets topic say of one flow. No I/O.
//!
//! The last record of a key counts, a null value takes it back. A key that stands in several partitions (the topic was
//! given more of them) counts where a producer would put it now, else where it is youngest.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Fetched;
use model::{Offset, ProducerId};
use offsets::connect_file::Entry;
use offsets::json::ValueError;
use offsets::partitioner::partition_of;
use offsets::writers::{self, Writers};
use offsets::{Stored, json};
use record_batch::{AbortedSet, BatchError, DECOMPRESSED_BYTES_MAX, records, split};

/// One flow's part of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    found: BTreeMap<Arc<[u8]>, Found>,
}

/// The record that counts of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    value: Option<Arc<[u8]>>,
    partition: i32,
    offset: Offset,
    timestamp: i64,
    /// Of the batch that it came in.
    producer: (ProducerId, i16),
}

/// A record that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("at offset {at}: {source}")]
pub(super) struct Unreadable {
    pub(super) at: Offset,
    source: BatchError,
}

impl Table {
    /// Takes in what a fetch of a partition from `from` on brought: gives where to go on.
    ///
    /// # Errors
    /// [`Unreadable`] if a batch is damaged: whose records it holds cannot be told then.
    pub(super) fn take(
        &mut self,
        flow: &str,
        partitions: i32,
        fetched: Fetched,
        from: Offset,
    ) -> Result<Offset, Unreadable> {
        let partition = fetched.partition.partition.0;
        let mut aborted = AbortedSet::new(fetched.aborted);
        let mut next = from;
        for entry in split(fetched.records) {
            let unreadable = |source| Unreadable { at: next, source };
            let entry = entry.map_err(unreadable)?;
            let mut producer = (ProducerId::NONE, -1);
            if let record_batch::Entry::Batch(batch) = &entry {
                producer = (batch.header.producer_id, batch.header.producer_epoch);
                if aborted.observe(batch) || batch.header.is_control() {
                    next = next.max(entry.next_offset());
                    continue;
                }
            }
            entry.verify_crc().map_err(unreadable)?;
            let plain = records(&entry, DECOMPRESSED_BYTES_MAX).map_err(unreadable)?;
            for record in &plain {
                let record = record.map_err(unreadable)?;
                let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
                if !json::is_of(key, flow) && !writers::is_claim(key, flow) {
                    continue;
                }
                let value = record.value.map(Arc::from);
                let (offset, timestamp) = (record.offset, record.timestamp);
                self.put(key, Found { value, partition, offset, timestamp, producer }, partitions);
            }
            next = next.max(entry.next_offset());
        }
        Ok(next)
    }

    fn put(&mut self, key: &[u8], new: Found, partitions: i32) {
        let home = partition_of(key, partitions);
        let rank = |found: &Found| (found.partition == home, found.timestamp);
        match self.found.get_mut(key) {
            Some(old) if old.partition != new.partition && rank(old) > rank(&new) => {}
            Some(old) => *old = new,
            None => {
                self.found.insert(Arc::from(key), new);
            }
        }
    }

    /// What stood in `partition` before offset `before` is there no more.
    pub(super) fn forget(&mut self, partition: i32, before: Offset) {
        self.found.retain(|_, found| found.partition != partition || found.offset >= before);
    }

    /// What the topic says of the flow's progress, a key once.
    pub(super) fn entries(&self, flow: &str) -> Vec<Entry> {
        let present =
            self.found.iter().filter(|(key, found)| found.value.is_some() && json::is_of(key, flow));
        present.map(|(key, found)| Entry { key: Some(Arc::clone(key)), value: found.value.clone() }).collect()
    }

    /// Who has claimed to write it. Only a claim that came under the producer id that it names: a copy of the topic
    /// holds claims that are nobody's there.
    pub(super) fn writers(&self, flow: &str) -> Writers {
        let claims = self.found.iter().filter_map(|(key, found)| {
            let (id, writer) = writers::read(key, found.value.as_deref()?, flow)?;
            (found.producer == (ProducerId(id), writer.producer_epoch)).then_some((id, writer))
        });
        claims.collect()
    }

    /// The flow's progress.
    ///
    /// # Errors
    /// Which value cannot be used, and where it stands: partition and offset.
    pub(super) fn stored(&self, flow: &str) -> Result<Stored, (ValueError, i32, Offset)> {
        json::flow(&self.entries(flow), flow).map_err(|error| {
            let at = self.found.iter().find(|(key, _)| String::from_utf8_lossy(key) == error.key);
            let (partition, offset) =
                at.map_or((-1, Offset(-1)), |(_, found)| (found.partition, found.offset));
            (error, partition, offset)
        })
    }

    /// A record of ours was appended.
    pub(super) fn appended(&mut self, entry: &Entry, partition: i32, offset: Offset) {
        let Some(key) = &entry.key else { return };
        let (value, producer) = (entry.value.clone(), (ProducerId::NONE, -1));
        let found = Found { value, partition, offset, timestamp: i64::MAX, producer };
        self.found.insert(Arc::clone(key), found);
    }
}

/// The records that make a topic which says `stored` say `wanted`: changed values, and nulls for what is gone.
pub(super) fn differences(stored: &[Entry], wanted: &[Entry]) -> Vec<Entry> {
    type Values<'a> = BTreeMap<&'a Arc<[u8]>, &'a Option<Arc<[u8]>>>;
    fn values(entries: &[Entry]) -> Values<'_> {
        entries.iter().filter_map(|entry| Some((entry.key.as_ref()?, &entry.value))).collect()
    }
    let (stored, wanted) = (values(stored), values(wanted));
    let changed = wanted.iter().filter(|(key, value)| stored.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| Entry { key: Some(Arc::clone(key)), value: (*value).clone() });
    let gone = stored.keys().filter(|key| !wanted.contains_key(*key));
    changed.chain(gone.map(|key| Entry { key: Some(Arc::clone(key)), value: None })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::ErrorCode;
    use model::TopicPartition;
    use offsets::StoredLane;
    use offsets::writers::Writer;
    use record_batch::{BatchBuilder, Codec, MessageSetBuilder, ProducerStamp, control_batch};

    const FLOW: &str = "east";
    const KEY: &[u8] = br#"["east",{"topic":"t","partition":0}]"#;
    const OTHER: &[u8] = br#"["west",{"topic":"t","partition":0}]"#;

    fn fetched(partition: i32, batches: &[bytes::Bytes], aborted: &[(i64, i64)]) -> Fetched {
        Fetched {
            partition: TopicPartition::new("offsets", partition),
            error: ErrorCode::NONE,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            aborted: aborted.iter().map(|(id, first)| (ProducerId(*id), Offset(*first))).collect(),
            preferred_replica: None,
            diverging: None,
            records: batches.concat().into(),
        }
    }

    fn batch(base: i64, codec: Codec, records: &[(&[u8], Option<&str>)]) -> bytes::Bytes {
        let mut batch = BatchBuilder::new(codec).base_offset(Offset(base));
        for (key, value) in records {
            batch.append(1_000 + base, Some(key), value.map(str::as_bytes), &[]);
        }
        batch.build()
    }

    fn last_copied(table: &Table) -> Option<i64> {
        match table.stored(FLOW).unwrap().lanes.remove(&TopicPartition::new("t", 0)) {
            Some(StoredLane::Foreign { last_copied }) => Some(last_copied.0),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_record_of_a_key_counts_in_every_format_and_codec_and_null_takes_it_back() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut table = Table::default();
            // With a gap that compaction left, and a key that is none.
            let batches = [
                batch(
                    0,
                    codec,
                    &[(KEY, Some(r#"{"offset":1}"#)), (b"not json", Some("x")), (OTHER, Some("x"))],
                ),
                batch(50, codec, &[(KEY, Some(r#"{"offset":2}"#)), (OTHER, None)]),
            ];
            let next = table.take(FLOW, 1, fetched(0, &batches, &[]), Offset(0)).unwrap();
            assert_eq!((next, last_copied(&table)), (Offset(52), Some(2)));
            let gone = [batch(60, codec, &[(KEY, None)])];
            assert_eq!(table.take(FLOW, 1, fetched(0, &gone, &[]), next).unwrap(), Offset(61));
            assert_eq!(last_copied(&table), None);
        }
        for (magic, codec) in [(0, Codec::None), (0, Codec::Gzip), (1, Codec::None), (1, Codec::Snappy)] {
            let mut table = Table::default();
            let mut set = MessageSetBuilder::new(magic, codec);
            set.append(1, None, Some(b"no key"));
            set.append(1, Some(KEY), Some(br#"{"offset":7}"#));
            let next = table.take(FLOW, 1, fetched(0, &[set.build()], &[]), Offset(0)).unwrap();
            assert_eq!((next, last_copied(&table)), (Offset(2), Some(7)), "{magic} {codec:?}");
        }
    }

    #[test]
    fn what_was_aborted_and_what_comes_before_the_position_does_not_count() {
        let transactional = |base: i64, offset: i64| {
            let stamp = ProducerStamp { producer_id: ProducerId(7), producer_epoch: 0, base_sequence: 0 };
            let mut batch =
                BatchBuilder::new(Codec::None).base_offset(Offset(base)).stamp(stamp).transactional();
            batch.append(1, Some(KEY), Some(format!(r#"{{"offset":{offset}}}"#).as_bytes()), &[]);
            batch.build()
        };
        let marker = |base: i64, commit| control_batch(Offset(base), ProducerId(7), 0, commit, 1);
        let batches = [transactional(0, 1), marker(1, true), transactional(2, 2), marker(3, false)];
        let mut table = Table::default();
        let next = table.take(FLOW, 1, fetched(0, &batches, &[(7, 2)]), Offset(0)).unwrap();
        assert_eq!((next, last_copied(&table)), (Offset(4), Some(1)));

        // A batch comes whole where the position lies in it.
        let both = [batch(4, Codec::None, &[(KEY, Some("refused")), (OTHER, None)])];
        assert_eq!(table.take(FLOW, 1, fetched(0, &both, &[]), Offset(5)).unwrap(), Offset(6));
        assert_eq!(last_copied(&table), Some(1));
    }

    #[test]
    fn a_value_or_a_batch_that_cannot_be_used_is_named_with_its_place() {
        let mut table = Table::default();
        let bad = [batch(8, Codec::None, &[(OTHER, None), (KEY, Some("{"))])];
        table.take(FLOW, 4, fetched(3, &bad, &[]), Offset(8)).unwrap();
        let (error, partition, offset) = table.stored(FLOW).unwrap_err();
        assert_eq!((partition, offset), (3, Offset(9)));
        assert!(error.to_string().starts_with("cannot use the value of [\"east\","), "{error}");

        let mut damaged = batch(10, Codec::None, &[(KEY, None)]).to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let error = table.take(FLOW, 4, fetched(3, &[damaged.into()], &[]), Offset(10)).unwrap_err();
        assert_eq!(error.at, Offset(10));
    }

    #[test]
    fn after_the_topic_grew_a_key_counts_where_producers_put_it_now() {
        let home = partition_of(KEY, 50);
        let away = (home + 1) % 50;
        let value = |offset: i64| format!(r#"{{"offset":{offset}}}"#);
        for at_home_first in [true, false] {
            let mut table = Table::default();
            let at_home = [batch(1, Codec::None, &[(KEY, Some(&value(1)))])];
            let younger = [batch(9, Codec::None, &[(KEY, Some(&value(2)))])];
            let mut both = [(home, &at_home), (away, &younger)];
            if !at_home_first {
                both.reverse();
            }
            for (partition, batches) in both {
                table.take(FLOW, 50, fetched(partition, batches, &[]), Offset(0)).unwrap();
            }
            assert_eq!(last_copied(&table), Some(1));
        }
    }

    #[test]
    fn a_claim_counts_only_under_its_own_producer_id() {
        let writer = Writer { producer_epoch: 3, process: "a".into() };
        for (id, epoch, counts) in [(7, 3, true), (8, 3, false), (7, 2, false), (-1, -1, false)] {
            let claim = writers::claim(FLOW, ProducerId(7), &writer);
            let stamp =
                ProducerStamp { producer_id: ProducerId(id), producer_epoch: epoch, base_sequence: 0 };
            let mut batch = BatchBuilder::new(Codec::None).stamp(stamp);
            batch.append(1, claim.key.as_deref(), claim.value.as_deref(), &[]);
            let mut table = Table::default();
            table.take(FLOW, 1, fetched(0, &[batch.build()], &[]), Offset(0)).unwrap();
            let expected = if counts { [(7, writer.clone())].into() } else { Writers::new() };
            assert_eq!(table.writers(FLOW), expected, "{id} {epoch}");
            assert_eq!(table.stored(FLOW).unwrap(), Stored::default());
        }
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_is_taken_back() {
        let entry = |key: &str, value: &str| Entry {
            key: Some(Arc::from(key.as_bytes())),
            value: Some(Arc::from(value.as_bytes())),
        };
        let stored = [entry("same", "1"), entry("changed", "1"), entry("gone", "1")];
        let wanted = [entry("same", "1"), entry("changed", "2"), entry("new", "1")];
        let gone = Entry { value: None, ..entry("gone", "") };
        assert_eq!(differences(&stored, &wanted), [entry("changed", "2"), entry("new", "1"), gone]);
        assert_eq!(differences(&wanted, &wanted), []);
    }
}
