//! Row C10 of the acceptance list: records that do not keep their partitions.

use crate::{
    desk::{Desk, PATIENCE},
    pair::Pair,
};
use real_kafka::{Fill, StoredRecord, wait_until};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

from_each_source!(c10_records_go_where_their_keys_belong_and_nothing_is_added);

const FROM: u32 = 4;
const OVER: u32 = 3;
const PARTS: u64 = 12;
const PART: u64 = 2_500;

/// A key; `None` is none.
type Key = Option<Vec<u8>>;
/// Time, value and headers.
type Rest = (i64, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// The records of each key by partition, in their order.
fn by_key(records: Vec<StoredRecord>) -> BTreeMap<Key, BTreeMap<u32, Vec<Rest>>> {
    let mut keys: BTreeMap<Key, BTreeMap<u32, Vec<Rest>>> = BTreeMap::new();
    for record in records {
        let StoredRecord { partition, timestamp, key, value, headers, .. } = record;
        keys.entry(key).or_default().entry(partition).or_default().push((timestamp, value, headers));
    }
    keys
}

fn sorted(partitions: &BTreeMap<u32, Vec<Rest>>) -> Vec<&Rest> {
    let mut records: Vec<&Rest> = partitions.values().flatten().collect();
    records.sort();
    records
}

fn c10_records_go_where_their_keys_belong_and_nothing_is_added(version: &str) {
    spread_and_killed("c10", version, "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c10_holds_towards_2_8_2() {
    spread_and_killed("c10-to-2.8.2", "2.8.2", "2.8.2");
}

/// Brokers that cannot be asked what they remember of a producer.
#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn c10_holds_towards_1_1_1() {
    spread_and_killed("c10-to-1.1.1", "1.1.1", "1.1.1");
}

/// Spreads a topic that is being written, killed again and again. Where brokers cannot be asked what they remember, a start
/// after a kill waits until nothing can arrive any more: there only the first run copies before it is killed.
fn spread_and_killed(name: &str, source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let (mut writing, mut session) = (source.session(), destination.session());
    writing.create_topic(&source.bootstrap, name, FROM, 1, &[]).unwrap();
    session.create_topic(&destination.bootstrap, name, OVER, 1, &[]).unwrap();
    let desk = Desk::new(&format!("{name}-{source_version}"), &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector(name, name, "topic.preserve.partitions=false");
    let (_, plan) = desk.plan(&connector);
    let planned = &plan["connectors"][0];
    assert_eq!(planned["topics"][0]["spread_over"], OVER, "{plan:#}");
    assert_eq!(planned["blocked"].as_array().map(Vec::len), Some(0), "{plan:#}");

    let written = AtomicBool::new(false);
    let mut kills = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in 0..PARTS {
                let codec = ["none", "lz4", "gzip"][part as usize % 3];
                let fill =
                    Fill::varied(PART, FROM).first(part * PART).codec(codec).with("batch.size", "4000");
                writing.fill(&source.bootstrap, name, &fill).unwrap();
            }
            written.store(true, Ordering::Release);
        });
        let copied = |session: &mut real_kafka::Session| -> u64 {
            let ends = session.ends(&destination.bootstrap, name).unwrap();
            ends.values().map(|(first, end)| u64::try_from(end - first).unwrap()).sum()
        };
        let are_asked = destination_version != "1.1.1";
        while kills < 4 || are_asked && !written.load(Ordering::Acquire) {
            let mut process = desk.run(&connector);
            let log = process.log().to_owned();
            wait_until("a sign of life", PATIENCE, || {
                Ok(fs::metadata(&log).is_ok_and(|log| log.len() > 0).then_some(()))
            })
            .unwrap();
            if are_asked || kills == 0 {
                // So many that every part has some, and is remembered.
                let enough = (copied(&mut session) + PART).min(PARTS * PART);
                session.wait_for_records(&destination.bootstrap, name, enough, PATIENCE).unwrap();
            }
            process.kill().unwrap();
            kills += 1;
        }
    });
    println!("killed {kills} times");
    desk.catch_up(&connector);
    assert_eq!(session.ends(&destination.bootstrap, name).unwrap().len(), OVER as usize, "none was added");

    let original = by_key(writing.dump(&source.bootstrap, name, false).unwrap());
    let copy = by_key(session.dump(&destination.bootstrap, name, false).unwrap());
    assert!(original.keys().eq(copy.keys()));

    // Where Kafka's own producer puts them.
    let reference = format!("{name}-reference");
    session.create_topic(&destination.bootstrap, &reference, OVER, 1, &[]).unwrap();
    // As many as it takes for every key to be there.
    session.fill(&destination.bootstrap, &reference, &Fill::varied(7_000, 0)).unwrap();
    let reference = by_key(session.dump(&destination.bootstrap, &reference, false).unwrap());

    for (key, copied) in &copy {
        let name = key.as_deref().map(String::from_utf8_lossy);
        let originals = &original[key];
        assert_eq!(sorted(copied), sorted(originals), "each record of key {name:?} once");
        let places: BTreeSet<u32> = copied.keys().copied().collect();
        let Some(name) = name else {
            assert_eq!(places.len(), OVER as usize, "those without a key are spread");
            continue;
        };
        assert!(reference[key].keys().eq(&places) && places.len() == 1, "key {name} is in {places:?}");
        if originals.len() == 1 {
            assert!(copied.values().eq(originals.values()), "key {name} is in another order");
        }
    }

    // With nothing to do, nothing is done.
    let ends = session.ends(&destination.bootstrap, name).unwrap();
    desk.catch_up(&connector);
    assert_eq!(session.ends(&destination.bootstrap, name).unwrap(), ends);
}
