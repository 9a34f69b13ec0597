//! What the records of the offsets topic say of one flow. No I/O.
//!
//! The last record of a key counts, a null value takes it back. A key stands in several partitions where the topic was
//! given more of them. It counts where a producer would put it now; else what a producer wrote in the newest epoch, as
//! each of ours does after the topic grew; else, of producers without epochs, what is youngest. Whatever is written goes
//! to every place of the key that says something else, so that none comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Fetched;
use model::{Offset, ProducerId};
use offsets::connect_file::Entry;
use offsets::json::ValueError;
use offsets::writers::{self, Writers};
use offsets::{Stored, json};
use record_batch::{AbortedSet, BatchError, DECOMPRESSED_BYTES_MAX, partition_of, records, split};

/// One flow's part of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Of each key, the last record in each partition.
    found: BTreeMap<Arc<[u8]>, BTreeMap<i32, Found>>,
    partitions: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    value: Option<Arc<[u8]>>,
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
    /// Of a topic of `partitions` partitions.
    pub(super) fn new(partitions: i32) -> Table {
        Table { found: BTreeMap::new(), partitions }
    }

    /// Takes in what a fetch of a partition from `from` on brought: gives where to go on.
    ///
    /// # Errors
    /// [`Unreadable`] if a batch is damaged: whose records it holds cannot be told then.
    pub(super) fn take(&mut self, flow: &str, fetched: Fetched, from: Offset) -> Result<Offset, Unreadable> {
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
                let found = Found { value, offset, timestamp, producer };
                match self.found.get_mut(key) {
                    Some(places) => drop(places.insert(partition, found)),
                    None => drop(self.found.insert(Arc::from(key), [(partition, found)].into())),
                }
            }
            next = next.max(entry.next_offset());
        }
        Ok(next)
    }

    /// The place of `key` that counts, and what it says.
    fn counts<'a>(&self, key: &[u8], places: &'a BTreeMap<i32, Found>) -> Option<(i32, &'a Found)> {
        let home = self.home(key);
        let newest = |(partition, found): &(i32, &Found)| (found.producer, found.timestamp, *partition);
        match places.get_key_value(&home) {
            Some((partition, found)) => Some((*partition, found)),
            None => places.iter().map(|(partition, found)| (*partition, found)).max_by_key(newest),
        }
    }

    fn home(&self, key: &[u8]) -> i32 {
        partition_of(key, self.partitions.max(1))
    }

    /// What stood in `partition` before offset `before` is there no more.
    pub(super) fn forget(&mut self, partition: i32, before: Offset) {
        self.found.retain(|_, places| {
            places.retain(|at, found| *at != partition || found.offset >= before);
            !places.is_empty()
        });
    }

    /// What the topic says of the flow's progress, a key once.
    pub(super) fn entries(&self, flow: &str) -> Vec<Entry> {
        let ours = self.found.iter().filter(|(key, _)| json::is_of(key, flow));
        let present = ours.filter_map(|(key, places)| {
            let value = self.counts(key, places)?.1.value.clone()?;
            Some(Entry { key: Some(Arc::clone(key)), value: Some(value) })
        });
        present.collect()
    }

    /// The records, with their partitions, that make the topic say `wanted` and nothing else of
    /// the flow's progress: what changed where producers put it, nulls for what is gone, and either wherever the key
    /// stands with something else.
    pub(super) fn differences(&self, flow: &str, wanted: &[Entry]) -> Vec<(i32, Entry)> {
        let wanted: BTreeMap<&Arc<[u8]>, &Option<Arc<[u8]>>> =
            wanted.iter().filter_map(|entry| Some((entry.key.as_ref()?, &entry.value))).collect();
        let mut records = Vec::new();
        let mut add = |partition, key: &Arc<[u8]>, value: &Option<Arc<[u8]>>| {
            records.push((partition, Entry { key: Some(Arc::clone(key)), value: value.clone() }));
        };
        for (key, value) in &wanted {
            let places = self.found.get(*key);
            let counts = places.and_then(|places| self.counts(key, places));
            let home = self.home(key);
            if counts.is_none_or(|(_, found)| found.value != **value)
                && places.is_none_or(|places| !places.contains_key(&home))
            {
                add(home, key, value);
            }
            for (partition, _) in places.into_iter().flatten().filter(|(_, found)| found.value != **value) {
                add(*partition, key, value);
            }
        }
        let gone = self.found.iter().filter(|(key, _)| !wanted.contains_key(key) && json::is_of(key, flow));
        for (key, places) in gone {
            for (partition, _) in places.iter().filter(|(_, found)| found.value.is_some()) {
                add(*partition, key, &None);
            }
        }
        records
    }

    /// The record, with its partition, that says again what counts of the key of `entry`.
    pub(super) fn again(&self, entry: &Entry) -> Option<(i32, Entry)> {
        let key = entry.key.as_ref()?;
        let (partition, _) = self.counts(key, self.found.get(key)?)?;
        Some((partition, entry.clone()))
    }

    /// Who has claimed to write it. Only a claim that came under the producer id that it names: a copy of the topic
    /// holds claims that are nobody's there.
    pub(super) fn writers(&self, flow: &str) -> Writers {
        let mut writers = Writers::new();
        for (key, places) in &self.found {
            // What it says at its former places is in an older epoch.
            let claims = places.iter().filter_map(|(partition, found)| {
                let (id, writer) = writers::read(key, found.value.as_deref()?, flow)?;
                let counts = found.producer == (ProducerId(id), writer.producer_epoch);
                counts.then_some(((writer.producer_epoch, *partition == self.home(key)), id, writer))
            });
            if let Some((_, id, writer)) = claims.max_by_key(|(rank, ..)| *rank) {
                writers.insert(id, writer);
            }
        }
        writers
    }

    /// The flow's progress.
    ///
    /// # Errors
    /// Which value cannot be used, and where it stands: partition and offset.
    pub(super) fn stored(&self, flow: &str) -> Result<Stored, (ValueError, i32, Offset)> {
        json::flow(&self.entries(flow), flow).map_err(|error| {
            let mut all = self.found.iter();
            let at = all.find(|(key, _)| String::from_utf8_lossy(key) == error.key);
            let (partition, offset) = at
                .and_then(|(key, places)| self.counts(key, places))
                .map_or((-1, Offset(-1)), |(partition, found)| (partition, found.offset));
            (error, partition, offset)
        })
    }

    /// A record of ours was appended.
    pub(super) fn appended(&mut self, entry: &Entry, partition: i32, offset: Offset) {
        let Some(key) = &entry.key else { return };
        let (value, producer) = (entry.value.clone(), (ProducerId::NONE, -1));
        let found = Found { value, offset, timestamp: i64::MAX, producer };
        self.found.entry(Arc::clone(key)).or_default().insert(partition, found);
    }
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
            let mut table = Table::new(1);
            // With a gap that compaction left, and a key that is none.
            let batches = [
                batch(
                    0,
                    codec,
                    &[(KEY, Some(r#"{"offset":1}"#)), (b"not json", Some("x")), (OTHER, Some("x"))],
                ),
                batch(50, codec, &[(KEY, Some(r#"{"offset":2}"#)), (OTHER, None)]),
            ];
            let next = table.take(FLOW, fetched(0, &batches, &[]), Offset(0)).unwrap();
            assert_eq!((next, last_copied(&table)), (Offset(52), Some(2)));
            let gone = [batch(60, codec, &[(KEY, None)])];
            assert_eq!(table.take(FLOW, fetched(0, &gone, &[]), next).unwrap(), Offset(61));
            assert_eq!(last_copied(&table), None);
        }
        for (magic, codec) in [(0, Codec::None), (0, Codec::Gzip), (1, Codec::None), (1, Codec::Snappy)] {
            let mut table = Table::new(1);
            let mut set = MessageSetBuilder::new(magic, codec);
            set.append(1, None, Some(b"no key"));
            set.append(1, Some(KEY), Some(br#"{"offset":7}"#));
            let next = table.take(FLOW, fetched(0, &[set.build()], &[]), Offset(0)).unwrap();
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
        let mut table = Table::new(1);
        let next = table.take(FLOW, fetched(0, &batches, &[(7, 2)]), Offset(0)).unwrap();
        assert_eq!((next, last_copied(&table)), (Offset(4), Some(1)));

        // A batch comes whole where the position lies in it.
        let both = [batch(4, Codec::None, &[(KEY, Some("refused")), (OTHER, None)])];
        assert_eq!(table.take(FLOW, fetched(0, &both, &[]), Offset(5)).unwrap(), Offset(6));
        assert_eq!(last_copied(&table), Some(1));
    }

    #[test]
    fn a_value_or_a_batch_that_cannot_be_used_is_named_with_its_place() {
        let mut table = Table::new(4);
        let bad = [batch(8, Codec::None, &[(OTHER, None), (KEY, Some("{"))])];
        table.take(FLOW, fetched(3, &bad, &[]), Offset(8)).unwrap();
        let (error, partition, offset) = table.stored(FLOW).unwrap_err();
        assert_eq!((partition, offset), (3, Offset(9)));
        assert!(error.to_string().starts_with("cannot use the value of [\"east\","), "{error}");

        let mut damaged = batch(10, Codec::None, &[(KEY, None)]).to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let error = table.take(FLOW, fetched(3, &[damaged.into()], &[]), Offset(10)).unwrap_err();
        assert_eq!(error.at, Offset(10));
    }

    #[test]
    fn after_the_topic_grew_a_key_counts_where_producers_put_it_now() {
        let home = partition_of(KEY, 50);
        let away = (home + 1) % 50;
        let value = |offset: i64| format!(r#"{{"offset":{offset}}}"#);
        for at_home_first in [true, false] {
            let mut table = Table::new(50);
            let at_home = [batch(1, Codec::None, &[(KEY, Some(&value(1)))])];
            let younger = [batch(9, Codec::None, &[(KEY, Some(&value(2)))])];
            let mut both = [(home, &at_home), (away, &younger)];
            if !at_home_first {
                both.reverse();
            }
            for (partition, batches) in both {
                table.take(FLOW, fetched(partition, batches, &[]), Offset(0)).unwrap();
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
            let mut table = Table::new(1);
            table.take(FLOW, fetched(0, &[batch.build()], &[]), Offset(0)).unwrap();
            let expected = if counts { [(7, writer.clone())].into() } else { Writers::new() };
            assert_eq!(table.writers(FLOW), expected, "{id} {epoch}");
            assert_eq!(table.stored(FLOW).unwrap(), Stored::default());
        }
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_is_taken_back_wherever_it_stands() {
        const PARTITIONS: i32 = 50;
        let key = |at: i32| format!(r#"["east",{{"topic":"t","partition":{at}}}]"#);
        let entry = |at: i32, value: &str| Entry {
            key: Some(Arc::from(key(at).into_bytes())),
            value: (!value.is_empty()).then(|| Arc::from(value.as_bytes())),
        };
        let home = |at: i32| partition_of(key(at).as_bytes(), PARTITIONS);
        let former = |at: i32| (home(at) + 1) % PARTITIONS;
        let mut table = Table::new(PARTITIONS);
        let others = writers::fence(FLOW);
        table.appended(&others, 0, Offset(0));
        for (at, partition, value) in [
            (0, home(0), "same"),
            (1, home(1), "old"),
            (2, home(2), "gone"),
            (2, former(2), "older"),
            (3, home(3), "old"),
            (3, former(3), "older"),
            (4, home(4), "same"),
            (4, former(4), "older"),
            (5, former(5), "same"),
            (6, former(6), "old"),
        ] {
            table.appended(&entry(at, value), partition, Offset(1));
        }
        let wanted = [
            entry(0, "same"),
            entry(1, "new"),
            entry(3, "new"),
            entry(4, "same"),
            entry(5, "same"),
            entry(6, "new"),
            entry(7, "first"),
        ];
        let mut records = table.differences(FLOW, &wanted);
        let mut expected = vec![
            (home(1), entry(1, "new")),
            (home(2), entry(2, "")),
            (former(2), entry(2, "")),
            (home(3), entry(3, "new")),
            (former(3), entry(3, "new")),
            (former(4), entry(4, "same")),
            (home(6), entry(6, "new")),
            (former(6), entry(6, "new")),
            (home(7), entry(7, "first")),
        ];
        let order = |(partition, entry): &(i32, Entry)| (entry.key.clone(), *partition);
        records.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(records, expected);
        for (partition, record) in records {
            table.appended(&record, partition, Offset(2));
        }
        assert_eq!(table.differences(FLOW, &wanted), []);
    }
}
