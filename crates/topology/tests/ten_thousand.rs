//! What planning ten thousand topics costs: a measurement, `cargo xtask bench topics`.

// It reads the kernel's account of this thread and prints.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use model::{TopicId, TopicName};
use topology::snapshot::{Features, Settings, Snapshot, Topic, TopicSettings, topic_defaults};
use topology::{Candidates, HeldBack, Intent, Naming, Pattern, Plan, Selection, plan};

/// Processor time of this thread so far.
fn cpu() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split(' ').next().unwrap().parse().unwrap())
}

/// Does it five times, and prints the median as a line that the bench reads.
fn measure<T>(what: &str, mut work: impl FnMut() -> T) -> T {
    let mut last = None;
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let before = cpu();
            last = Some(work());
            cpu() - before
        })
        .collect();
    times.sort();
    println!("measured: {what} | {:.1} ms of CPU", times[2].as_secs_f64() * 1e3);
    last.unwrap()
}

fn topic(number: usize, overrides: &[(&str, &str)]) -> Topic {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let overrides = map(overrides);
    let mut effective = map(&[
        ("cleanup.policy", "delete"),
        ("compression.type", "producer"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.after.max.ms", "3600000"),
        ("message.timestamp.before.max.ms", "9223372036854775807"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.bytes", "-1"),
        ("retention.ms", "604800000"),
        ("segment.bytes", "1073741824"),
    ]);
    effective.extend(overrides.clone());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    Topic {
        id: Some(TopicId(id)),
        internal: false,
        partitions: 1,
        replication_factor: 1,
        settings: Settings::Known(Arc::new(TopicSettings { overrides, effective })),
    }
}

#[test]
#[ignore = "a measurement: cargo xtask bench topics"]
fn what_planning_costs() {
    let topics: usize = std::env::var("PARALOG_BENCH_TOPICS").map_or(10_000, |count| count.parse().unwrap());
    let broker: BTreeMap<String, Option<String>> = [
        ("log.cleanup.policy", "delete"),
        ("compression.type", "producer"),
        ("message.max.bytes", "1048588"),
        ("log.message.timestamp.after.max.ms", "3600000"),
        ("log.message.timestamp.before.max.ms", "9223372036854775807"),
        ("log.message.timestamp.type", "CreateTime"),
        ("log.retention.hours", "168"),
        ("log.retention.bytes", "-1"),
        ("log.segment.bytes", "1073741824"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
    .collect();
    let cluster = |id: &str| Snapshot {
        cluster_id: Some(id.to_owned()),
        brokers: 3,
        features: Features { zstd: true, topic_defaults: Some(topic_defaults(&broker)) },
        ..Snapshot::default()
    };
    let names: Vec<String> = (0..topics).map(|number| format!("shop.orders_{number:06}")).collect();
    let intent = Intent {
        selection: Selection {
            regex: Some(Pattern::new("shop\\.(?!test).*").unwrap()),
            ..Selection::default()
        },
        naming: Naming::new("${topic}.replica").unwrap(),
        ..Intent::default()
    };
    let (mut source, mut copies) = (cluster("source"), cluster("destination"));
    let own = [("message.timestamp.after.max.ms", "9223372036854775807"), ("retention.ms", "5000")];
    for (number, name) in names.iter().enumerate() {
        source.topics.insert(name.as_str().into(), topic(number, &[("retention.ms", "5000")]));
        copies.topics.insert(TopicName::from(format!("{name}.replica").as_str()), topic(number, &own));
    }

    let candidates = measure(&format!("selecting {topics} topics by `topic.regex`, and naming them"), || {
        Candidates::of(&source, &intent.selection, &intent.naming)
    });
    let planned = |source: &Snapshot, destination: &Snapshot| -> Plan {
        plan(source, destination, &candidates, &intent, &HeldBack::new())
    };
    let empty = cluster("destination");
    let new = measure(&format!("planning {topics} topics, all new"), || planned(&source, &empty));
    assert_eq!((new.steps.len(), new.routes.len()), (topics, topics));
    let same =
        measure(&format!("planning {topics} topics, all as they should be"), || planned(&source, &copies));
    assert_eq!((same.steps.len(), same.routes.len()), (0, topics), "{:?}", same.steps.first());
    for topic in source.topics.values_mut() {
        topic.partitions += 1;
        topic.settings = Settings::Known(Arc::default());
    }
    let other = measure(&format!("planning {topics} topics, all grown and with other settings"), || {
        planned(&source, &copies)
    });
    assert_eq!(other.steps.len(), 2 * topics);
}
