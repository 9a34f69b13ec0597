//! Topics for life: whatever is done to topics at either side, the copies come to fit again.

use super::*;
use crate::changing::{Change, Changes};

const ROUNDS: usize = 25;
const CHANGES: usize = 12;

fn apply(desk: &Desk, change: &Change) {
    let (source, destination) = (&desk.source, &desk.destination);
    let number = |count: &u32| i32::try_from(*count).unwrap();
    match change {
        Change::Create { topic, partitions, settings } => {
            source.create_topic(topic, number(partitions), settings);
        }
        Change::Grow { topic, partitions } => source.add_partitions(topic, number(partitions)),
        Change::Set { topic, key, value } => source.set_topic_config(topic, key, *value),
        Change::Delete { topic } => source.delete_topic(topic),
        Change::Recreate { topic, partitions, settings } => {
            source.delete_topic(topic);
            destination.delete_topic(topic);
            source.create_topic(topic, number(partitions), settings);
        }
        Change::Fill { topic, partitions, first, records } => {
            for number in *first..first + records {
                let partition = i32::try_from(number % u64::from(*partitions)).unwrap();
                let number = usize::try_from(number).unwrap();
                fill(source, topic, partition, number..number + 1);
            }
        }
        Change::GrowCopy { topic, partitions } => {
            // It may have followed the source already.
            if destination.partitions(topic) < number(partitions) {
                destination.add_partitions(topic, number(partitions));
            }
        }
        Change::SetCopy { topic, key, value } => destination.set_topic_config(topic, key, *value),
    }
}

/// What is not yet, or not any more, as it should be.
fn flaw(desk: &Desk, changes: &Changes) -> Option<String> {
    let (source, destination) = (&desk.source, &desk.destination);
    let there = destination.topics();
    let is_there = |topic: &str| there.iter().any(|name| name.as_str() == topic);
    if let Some(orphan) = changes.orphans.iter().find(|topic| !is_there(topic)) {
        return Some(format!("the copy {orphan} of a deleted topic is gone"));
    }
    changes.live.iter().find_map(|(topic, live)| {
        if !is_there(topic) {
            return Some(format!("{topic} has no copy"));
        }
        let (have, want) = (destination.partitions(topic), live.partitions.max(live.copy_partitions));
        if have != i32::try_from(want).unwrap() {
            return Some(format!("{topic} has {have} partitions, {want} are expected"));
        }
        for partition in 0..i32::try_from(live.partitions).unwrap() {
            let (from, to) = (numbers(source, topic, partition), numbers(destination, topic, partition));
            if from != to {
                return Some(format!("{topic}-{partition} is {to:?}, {from:?} at the source"));
            }
        }
        live.flaw(&destination.topic_configs(topic)).map(|flaw| format!("{topic}: {flaw}"))
    })
}

async fn change_and_compare(source: Profile, destination: Profile, seed: u64) {
    let mut desk = Desk::new(source, destination).await;
    // Where topics have no ids, a topic created anew is told only by what it lacks.
    let recreates = source == Profile::V4_3;
    desk.connector = "topic.regex=changing-.*\ntopic.config.sync.interval.ms=200\n\
                      paralog.on.source.recreated=restart\n"
        .into();
    let mut changes = Changes::new(seed, recreates);
    let desk = &desk;
    desk.run_while(async |_| {
        for round in 0..ROUNDS {
            let what = changes.round(CHANGES);
            what.iter().for_each(|change| apply(desk, change));
            let deadline = Instant::now() + PATIENCE;
            while let Some(flaw) = flaw(desk, &changes) {
                assert!(
                    Instant::now() < deadline,
                    "{flaw}, in round {round} after {what:#?}; PARALOG_CHANGES_SEED={seed}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let plan = worker::plan(&desk.prepared()).await.remove(0).outcome.unwrap();
            assert!(
                !plan.is_pending(),
                "{plan}\nin round {round} after {what:#?}; PARALOG_CHANGES_SEED={seed}"
            );
        }
    })
    .await;
    assert!(changes.live.len() + changes.orphans.len() > 10, "too little has happened");
}

/// A lane that is opened again asks the destination what it has last. None does because of another topic.
#[tokio::test]
async fn lanes_go_on_while_other_topics_come_grow_and_go() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.regex=t-.*\n".into();
    desk.source.create_topic("t-kept", 1, &[]);
    desk.fill("t-kept", 0, 0..100);
    let desk = &desk;
    desk.run_while(async |_| {
        wait_until(|| desk.copied("t-kept", 0).len() == 100).await;
        let looks = [ApiKey::DescribeProducers, ApiKey::ListOffsets, ApiKey::Fetch]
            .map(|api| desk.destination.on(api).topic("t-kept").always().look(|_| {}));
        for number in 0..12 {
            let topic = format!("t-{number}");
            desk.source.create_topic(&topic, 1, &[]);
            desk.fill(&topic, 0, 0..10);
            desk.source.add_partitions(&topic, 2);
            desk.fill(&topic, 1, 0..10);
            if number % 4 == 3 {
                desk.source.delete_topic(&format!("t-{}", number - 1));
            }
            let end = 100 * (number + 2);
            desk.fill("t-kept", 0, end - 100..end);
            wait_until(|| {
                desk.copied("t-kept", 0).len() == end
                    && desk.destination.topics().iter().any(|name| name.as_str() == topic)
                    && desk.destination.partitions(&topic) == 2
                    && [0, 1].iter().all(|partition| desk.copied(&topic, *partition).len() == 10)
            })
            .await;
        }
        assert_eq!(looks.map(|look| look.hits()), [0, 0, 0]);
    })
    .await;
    assert_eq!(desk.copied("t-kept", 0), up_to(1300));
}

/// The seed of the environment, or these.
#[tokio::test]
async fn whatever_is_done_to_topics_the_plan_ends_empty_and_every_copy_equal() {
    let pairs =
        [(Profile::V4_3, Profile::V4_3), (Profile::V2_8, Profile::V4_3), (Profile::V1_1, Profile::V2_8)];
    let seeds = match std::env::var("PARALOG_CHANGES_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, 3],
    };
    let runs = seeds.into_iter().map(|seed: u64| {
        let (source, destination) = pairs[usize::try_from(seed % 3).unwrap()];
        change_and_compare(source, destination, seed)
    });
    let local = tokio::task::LocalSet::new();
    let handles: Vec<_> = runs.map(|run| local.spawn_local(run)).collect();
    local
        .run_until(async {
            for handle in handles {
                handle.await.unwrap();
            }
        })
        .await;
}
