//! Faults by a seed: they happen, they end, and the same seed gives the same history.

use std::collections::BTreeSet;
use std::time::Duration;

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, FaultKind, FaultPlan, Happening, Profile};
use tokio::time::timeout;

use crate::client::{Client, NOW_MS, stamped};

const PARTITION: (&str, i32) = ("t", 0);
const BATCH_RECORDS: i32 = 5;

async fn in_memory() -> Cluster {
    let config = Config { start_ms: Some(NOW_MS), ..Config::new(3, Profile::V4_3).in_memory() };
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    cluster
}

/// An idempotent producer that tries each batch until it is told that it is there: whatever happens, each is in
/// the log once, in order.
async fn produce_all(cluster: &Cluster, batches: i32) {
    let mut sequence = 0;
    let mut open: Option<Client> = None;
    while sequence < batches * BATCH_RECORDS {
        // Between two tries, so that an outage is not counted in millions of tries.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Some(leader) = cluster.leader(PARTITION.0, PARTITION.1) else { continue };
        let mut client = match open.take() {
            Some(client) if client.is_to(cluster, leader) => client,
            _ => match Client::in_memory(cluster, leader) {
                Ok(client) => client,
                Err(_) => continue,
            },
        };
        let batch = stamped(7, 0, sequence, BATCH_RECORDS);
        match timeout(Duration::from_secs(30), client.try_offer(batch)).await {
            Ok(Ok((ErrorCode::NONE, _))) => {
                sequence += BATCH_RECORDS;
                open = Some(client);
            }
            // An answer, if not the one that was wished for.
            Ok(Ok(_)) => open = Some(client),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

async fn history(seed: u64) -> Vec<Happening> {
    let cluster = in_memory().await;
    let faults = cluster.faults(FaultPlan::new(seed).one_in(4).pause_max(Duration::from_secs(1)));
    produce_all(&cluster, 150).await;
    let history = faults.stop().await;
    let leader = cluster.leader("t", 0).unwrap();
    assert_eq!(
        cluster.last_sequence("t", 0, 7),
        Some(150 * BATCH_RECORDS - 1),
        "seed {seed}, leader {leader}"
    );
    assert_eq!(cluster.records("t", 0).unwrap().len(), 750, "seed {seed}");
    history
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let (first, second) = (history(seed).await, history(seed).await);
        assert_eq!(first, second);
        assert!(first.len() > 20, "{first:?}");
        assert_ne!(first, history(seed + 1000).await);
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_comes_about() {
    let mut kinds = BTreeSet::new();
    for seed in 0..20 {
        kinds.extend(history(seed).await.into_iter().map(|happening| happening.kind));
    }
    // Nobody has fetched, and what loses something was not asked for.
    let expected = FaultKind::COMMON.into_iter().filter(|kind| *kind != FaultKind::Corrupt).collect();
    assert_eq!(kinds, expected);
}

/// What a producer without a memory of its own sees of rare kinds, for a minute; the cluster afterwards.
async fn rare(seed: u64, kinds: &[FaultKind]) -> (Vec<Happening>, Cluster) {
    let cluster = in_memory().await;
    let plan = FaultPlan::new(seed).only(&[]).with(kinds);
    let faults = cluster.faults(plan.pause_max(Duration::from_secs(2)).down_max(Duration::from_secs(1)));
    for tick in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let leader = cluster.leader("t", 0).unwrap();
        let offer = async {
            Client::in_memory(&cluster, leader).unwrap().try_offer(stamped(tick, 0, 0, BATCH_RECORDS)).await
        };
        // With all replicas in sync it waits for those that are behind.
        let _ = timeout(Duration::from_millis(50), offer).await;
    }
    (faults.stop().await, cluster)
}

#[tokio::test(start_paused = true)]
async fn rare_kinds_come_about_where_they_are_asked_for_and_repeat_themselves() {
    for kind in FaultKind::RARE {
        let (history, cluster) = rare(3, &[kind]).await;
        assert!(history.len() > 20 && history.iter().all(|one| one.kind == kind), "{kind:?}: {history:?}");
        assert_eq!(history, rare(3, &[kind]).await.0);
        let end_offset = cluster.end_offset("t", 0).unwrap();
        let (records, start_offset) =
            (cluster.records("t", 0).unwrap().len(), cluster.start_offset("t", 0).unwrap());
        let remembered = (0..600).filter(|id| cluster.last_sequence("t", 0, *id).is_some()).count();
        let told = format!("{kind:?}: {records} of {start_offset}..{end_offset}, {remembered}");
        let whole = usize::try_from(600 * BATCH_RECORDS).unwrap();
        match kind {
            FaultKind::PauseFollower => assert!(records == whole && remembered == 600, "{told}"),
            FaultKind::UncleanElection | FaultKind::Truncate => {
                assert!(records < whole && cluster.leader_epoch("t", 0) >= 20, "{told}");
                assert!(history.iter().any(|one| one.offset.is_some()), "{told}");
            }
            FaultKind::ForgetProducers => assert!(records == whole && remembered < 600, "{told}"),
            FaultKind::Retention => {
                assert!(start_offset > 0 && end_offset == i64::from(600 * BATCH_RECORDS), "{told}");
            }
            _ => assert!(records < whole && cluster.topic_id("t").is_some(), "{told}"),
        }
        // Nothing lasts on.
        assert_eq!(cluster.high_watermark("t", 0).unwrap(), end_offset, "{told}");
    }
    let (history, _) = rare(4, &FaultKind::RARE).await;
    let kinds: BTreeSet<FaultKind> = history.into_iter().map(|one| one.kind).collect();
    assert_eq!(kinds, BTreeSet::from(FaultKind::RARE));
}

#[tokio::test(start_paused = true)]
async fn a_plan_ends_with_its_own_handle_and_not_with_that_of_the_one_before() {
    let cluster = in_memory().await;
    let often = |seed| FaultPlan::new(seed).pause_max(Duration::from_millis(100));
    let first = cluster.faults(often(1).only(&[FaultKind::Disconnect]));
    let second = cluster.faults(often(2).only(&[FaultKind::MoveLeader]));
    drop(first);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(second.history().len() > 20);
    let third = cluster.faults(often(3).only(&[FaultKind::Disconnect]));
    assert!(second.history().is_empty());
    // What it does to brokers has ended, too: the leader stays.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let epoch = cluster.leader_epoch("t", 0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.leader_epoch("t", 0), epoch);
    assert!(second.stop().await.is_empty());
    assert!(third.stop().await.len() > 20);
}

#[tokio::test(start_paused = true)]
async fn a_reader_meets_damage_too() {
    let cluster = in_memory().await;
    let mut client = Client::in_memory(&cluster, cluster.leader("t", 0).unwrap()).unwrap().fetch_version(11);
    client.offer(stamped(7, 0, 0, 5)).await;
    let faults = cluster.faults(FaultPlan::new(1).one_in(2).only(&[FaultKind::Corrupt]));
    let mut damaged = 0;
    for _ in 0..40 {
        let records = client.fetch(0).await.records.unwrap();
        damaged += usize::from(record_batch::split(records).next().unwrap().unwrap().verify_crc().is_err());
    }
    let history = faults.stop().await;
    assert!((10..=30).contains(&damaged) && history.len() == damaged, "{damaged}: {history:?}");
    assert!(history.iter().all(|one| matches!(one.request, Some((ApiKey::Fetch, _)))));
}

#[tokio::test(start_paused = true)]
async fn after_the_end_nothing_happens_and_all_brokers_run() {
    for seed in 0..10 {
        let cluster = in_memory().await;
        let crashes = FaultPlan::new(seed).only(&[FaultKind::Crash]).pause_max(Duration::from_millis(100));
        let faults = cluster.faults(crashes);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let history = faults.stop().await;
        assert!(!history.is_empty());
        for broker in 0..3 {
            Client::in_memory(&cluster, broker).unwrap();
        }
        let mut client = Client::in_memory(&cluster, cluster.leader("t", 0).unwrap()).unwrap();
        for index in 0..50 {
            assert_eq!(client.offer(stamped(7, 0, index * 5, 5)).await.0, ErrorCode::NONE);
        }
    }
}

#[test]
fn a_happening_is_told_in_a_line() {
    let happening = Happening {
        after: Duration::from_millis(1234),
        kind: FaultKind::Fail,
        broker: 2,
        request: Some((ApiKey::Produce, 17)),
        code: Some(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        partition: Some(model::TopicPartition::new("t", 3)),
        offset: None,
    };
    assert_eq!(
        happening.to_string(),
        "    1.234 s  broker 2  Fail  Produce #17  t-3  NOT_LEADER_OR_FOLLOWER (6)"
    );
    let cut =
        Happening { kind: FaultKind::Truncate, request: None, code: None, offset: Some(70), ..happening };
    assert_eq!(cut.to_string(), "    1.234 s  broker 2  Truncate  t-3 at 70");
}
