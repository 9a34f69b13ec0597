//! Topics for life: whatever is done to topics at either side, the copies come to fit again.
//!
//! `PARALOG_CHANGES_SEED` repeats a failure; `worker/tests/run/changes.rs` does the same between clusters in
//! the process, in more rounds.

use crate::{
    changing::{Change, Changes, Live},
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, Side, assert_same},
};
use real_kafka::{Error, Fill, wait_until};

from_each_source!(whatever_is_done_to_topics_the_plan_ends_empty_and_every_copy_equal);

const ROUNDS: usize = 6;
const CHANGES: usize = 12;

fn apply(pair: &Pair, change: &Change) -> Result<(), Error> {
    if let Change::Recreate { topic, partitions, settings } = change {
        for side in [&pair.source, &pair.destination] {
            side.with(|session| session.delete_topic(&side.bootstrap, topic))?;
        }
        let create =
            Change::Create { topic: topic.clone(), partitions: *partitions, settings: settings.clone() };
        return apply(pair, &create);
    }
    let at_source = matches!(
        change,
        Change::Create { .. }
            | Change::Grow { .. }
            | Change::Set { .. }
            | Change::Delete { .. }
            | Change::Fill { .. }
    );
    let side = if at_source { &pair.source } else { &pair.destination };
    let at = &side.bootstrap;
    side.with(|session| match change {
        Change::Create { topic, partitions, settings } => {
            session.create_topic(at, topic, *partitions, 1, settings)
        }
        Change::Grow { topic, partitions } => session.grow_topic(at, topic, *partitions),
        Change::Set { topic, key, value } | Change::SetCopy { topic, key, value } => {
            session.alter_topic(at, topic, &[(*key, *value)])
        }
        Change::Delete { topic } => session.delete_topic(at, topic),
        Change::Recreate { .. } => unreachable!("of both sides"),
        Change::Fill { topic, partitions, first, records } => {
            session.fill(at, topic, &Fill::varied(*records, *partitions).first(*first))
        }
        Change::GrowCopy { topic, partitions } => {
            // It may have followed the source already.
            let copy = session.describe_topic(at, topic)?.map_or(0, |copy| copy.partitions);
            if copy < *partitions { session.grow_topic(at, topic, *partitions) } else { Ok(()) }
        }
    })
}

/// What is not yet as it should be with the copy of `topic`.
fn flaw(destination: &Side, topic: &str, live: &Live) -> Result<Option<String>, Error> {
    let at = &destination.bootstrap;
    destination.with(|session| {
        let Some(copy) = session.describe_topic(at, topic)? else { return Ok(Some("no copy".to_owned())) };
        let wanted = live.partitions.max(live.copy_partitions);
        if copy.partitions != wanted {
            return Ok(Some(format!("{} partitions, {wanted} are expected", copy.partitions)));
        }
        let records: i64 = session.ends(at, topic)?.values().map(|(start, end)| end - start).sum();
        if u64::try_from(records) != Ok(live.records) {
            return Ok(Some(format!("{records} records, {} are expected", live.records)));
        }
        Ok(live.flaw(&copy.settings))
    })
}

fn whatever_is_done_to_topics_the_plan_ends_empty_and_every_copy_equal(version: &str) {
    let pair = Pair::shared(version, "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let desk = Desk::new(&format!("changes-{version}"), &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector(
        "changes",
        "changing-.*",
        "topic.config.sync.interval.ms=500\ntopic.create.backoff.ms=500\nparalog.on.source.recreated=restart",
    );
    let process = desk.run(&connector);
    let seed = std::env::var("PARALOG_CHANGES_SEED").map_or(7, |seed| seed.parse().unwrap());
    // Before 3.1 brokers are asked for topics by name, and those created anew stop.
    let mut changes = Changes::new(seed, version != "2.8.2");
    for round in 0..ROUNDS {
        let what = changes.round(CHANGES);
        println!("round {round}, PARALOG_CHANGES_SEED={seed}: {what:#?}");
        for change in &what {
            apply(&pair, change).unwrap_or_else(|error| panic!("{change:?}: {error}"));
        }
        for (topic, live) in &changes.live {
            let mut found = None;
            let waited = wait_until(&format!("{topic} to fit"), PATIENCE, || {
                found = flaw(destination, topic, live)?;
                Ok(found.is_none().then_some(()))
            });
            assert!(waited.is_ok(), "{topic}: {found:?}");
            let digest =
                |side: &Side| side.with(|session| session.digest(&side.bootstrap, topic, false)).unwrap();
            assert_same(&digest(source), &digest(destination));
        }
        let there = destination.with(|session| session.topics(&destination.bootstrap)).unwrap();
        assert!(changes.orphans.iter().all(|orphan| there.contains(orphan)), "{there:?}");
        let (code, plan) = desk.plan(&connector);
        assert_eq!(code, Some(0), "{plan:#}");
    }
    stop_cleanly(process);
}
