//! A back-fill: records a year old, which the destination's brokers forget as soon as they like, copied while those
//! brokers go and come back.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, assert_same, count},
};
use real_kafka::{Config, Fill};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const TOPIC: &str = "aged";
const PARTITIONS: u32 = 6;
/// Records written at a time.
const PART: u64 = 6_000;
/// How far the writer may be ahead of the copy.
const AHEAD: u64 = 30_000;

/// What goes wrong, one after the other.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    BrokerKilled(usize),
    BrokerRestarted(usize),
    ParalogKilled,
}

fn a_year_ago() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    i64::try_from(now).unwrap() - 365 * 24 * 3_600_000
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn records_a_year_old_are_copied_once_while_the_destinations_brokers_restart() {
    // Of the first cluster only the records matter; the second forgets producers as it does by default.
    let three = Config::brokers(3).heap_mb(256).with("min.insync.replicas", "2");
    let pair = Pair::start(("4.3.1", &Config::brokers(1)), ("4.3.1", &three));
    let (source, destination) = (&pair.source, &pair.destination);
    let mut writing = source.session();
    let mut session = destination.session();
    let keeps = [("retention.ms", "-1"), ("message.timestamp.type", "CreateTime")];
    writing.create_topic(&source.bootstrap, TOPIC, PARTITIONS, 1, &keeps).unwrap();
    session.create_topic(&destination.bootstrap, TOPIC, PARTITIONS, 3, &keeps).unwrap();
    let desk = Desk::new(TOPIC, &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector(TOPIC, TOPIC, "");

    // There is always something left to copy when something goes wrong.
    let (copied, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let old = a_year_ago();
    let started = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            // Not for ever: what fails beside it tells it nothing.
            while !over.load(Ordering::Acquire) && started.elapsed() < PATIENCE * 3 {
                let first = written.load(Ordering::Acquire);
                if first > copied.load(Ordering::Acquire) + AHEAD {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                // Small batches: with one under way a lane, there are many moments to be hit in.
                let fill = Fill::varied(PART, PARTITIONS)
                    .first(first)
                    .times_from(old)
                    .codec(["none", "lz4"][(first / PART) as usize % 2])
                    .with("batch.size", "2000");
                writing.fill(&source.bootstrap, TOPIC, &fill).unwrap();
                written.store(first + PART, Ordering::Release);
            }
        });
        let mut process = desk.run(&connector);
        // Paralog last: each time that it is not known what became of a batch, its lane waits until it can be, about
        // half a minute.
        for mishap in [Mishap::BrokerKilled(0), Mishap::BrokerRestarted(1), Mishap::ParalogKilled] {
            session
                .wait_for_records(&destination.bootstrap, TOPIC, copied.load(Ordering::Acquire) + 1, PATIENCE)
                .unwrap();
            let began = Instant::now();
            match mishap {
                Mishap::BrokerKilled(broker) => {
                    destination.cluster().kill(broker).unwrap();
                    destination.cluster().start_again(broker).unwrap();
                }
                Mishap::BrokerRestarted(broker) => {
                    destination.cluster().stop(broker).unwrap();
                    destination.cluster().start_again(broker).unwrap();
                }
                Mishap::ParalogKilled => {
                    process.kill().unwrap();
                    process = desk.run(&connector);
                }
            }
            let ends = session.ends(&destination.bootstrap, TOPIC).unwrap();
            let now: u64 = ends.values().map(|(_, end)| u64::try_from(*end).unwrap()).sum();
            println!(
                "{:5.1} s: {mishap:?}, over after {:.1} s; {now} records copied by then",
                (began - started).as_secs_f64(),
                began.elapsed().as_secs_f64()
            );
            copied.store(now, Ordering::Release);
        }
        over.store(true, Ordering::Release);
        writer.join().unwrap();
        let records = written.load(Ordering::Acquire);
        session.wait_for_records(&destination.bootstrap, TOPIC, records, PATIENCE).unwrap();
        println!("{:5.1} s: all {records} records copied", started.elapsed().as_secs_f64());
        stop_cleanly(process);
    });
    // With nothing to do, nothing is done.
    desk.catch_up(&connector);
    let original = writing.digest(&source.bootstrap, TOPIC, false).unwrap();
    assert_eq!(count(&original), written.load(Ordering::Acquire));
    assert_same(&original, &session.digest(&destination.bootstrap, TOPIC, false).unwrap());
}
