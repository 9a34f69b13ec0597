//! Stopping and starting again, cleanly and not: nothing lost, nothing twice.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, assert_same, count},
};
use real_kafka::{Fill, wait_until};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

const PARTITIONS: u32 = 4;

#[derive(Clone, Copy)]
pub(crate) enum End {
    Stop,
    Kill,
}

/// Copies a topic that is being written, ending the program again and again as soon as it has copied anything.
fn ended_often(name: &str, source_version: &str, destination_version: &str, end: impl Fn(usize) -> End) {
    let pair = Pair::shared(source_version, destination_version);
    let desk = Desk::new(name, &pair.source.bootstrap, &pair.destination.bootstrap);
    ended_often_at(&desk, &pair, name, end);
}

/// The same at a desk, whose worker keeps progress as it likes.
pub(crate) fn ended_often_at(desk: &Desk, pair: &Pair, name: &str, end: impl Fn(usize) -> End) {
    let (source, destination) = (&pair.source, &pair.destination);
    let mut session = destination.session();
    let mut writing = source.session();
    writing.create_topic(&source.bootstrap, name, PARTITIONS, 1, &[]).unwrap();
    let connector = desk.connector(name, name, "");

    let written = AtomicBool::new(false);
    let mut ends = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in 0..30 {
                let codec = ["none", "lz4", "gzip"][part as usize % 3];
                let fill = Fill::varied(6_000, PARTITIONS)
                    .first(part * 6_000)
                    .codec(codec)
                    .with("batch.size", "4000");
                writing.fill(&source.bootstrap, name, &fill).unwrap();
            }
            written.store(true, Ordering::Release);
        });
        let mut copied = 0;
        while !written.load(Ordering::Acquire) || ends < 6 {
            let mut process = desk.run(&connector);
            // One more, unless nothing is left to copy: then the program is ended while it waits.
            let left = !written.load(Ordering::Acquire);
            // Not before it can listen: what is stopped before that ends by the signal. Nor does a record more say so: what
            // the killed one had sent may arrive late.
            wait_until("a sign of life", PATIENCE, || {
                Ok(fs::metadata(process.log()).is_ok_and(|log| log.len() > 0).then_some(()))
            })
            .unwrap();
            if left {
                session.wait_for_records(&destination.bootstrap, name, copied + 1, PATIENCE).unwrap();
            }
            match end(ends) {
                End::Stop => stop_cleanly(process),
                End::Kill => process.kill().unwrap(),
            }
            ends += 1;
            copied = session
                .ends(&destination.bootstrap, name)
                .unwrap()
                .values()
                .map(|(first, end)| u64::try_from(end - first).unwrap())
                .sum();
        }
    });
    println!("ended {ends} times");
    desk.catch_up(&connector);
    let original = writing.digest(&source.bootstrap, name, false).unwrap();
    assert_eq!(count(&original), 180_000);
    let copy = session.digest(&destination.bootstrap, name, false).unwrap();
    assert_same(&original, &copy);
    // With nothing to do, nothing is done.
    desk.catch_up(&connector);
    assert_eq!(session.digest(&destination.bootstrap, name, false).unwrap(), copy);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn stopped_often_it_goes_on_at_the_exact_record() {
    ended_often("stopped", "4.3.1", "4.3.1", |_| End::Stop);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn killed_often_it_goes_on_at_the_exact_record() {
    ended_often("killed", "4.3.1", "4.3.1", |_| End::Kill);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn killed_and_stopped_it_goes_on_at_the_exact_record_towards_2_8_2() {
    ended_often(
        "killed-and-stopped-2.8.2",
        "2.8.2",
        "2.8.2",
        |n| if n % 2 == 0 { End::Kill } else { End::Stop },
    );
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn killed_and_stopped_it_goes_on_at_the_exact_record_towards_1_1_1() {
    ended_often(
        "killed-and-stopped-1.1.1",
        "1.1.1",
        "1.1.1",
        |n| if n % 2 == 0 { End::Kill } else { End::Stop },
    );
}
