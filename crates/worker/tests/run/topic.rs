//! Progress in a topic: as exact as in a file, whatever happens to the topic, its brokers and the requests to them.

use std::collections::BTreeMap;

use super::*;
use offsets::{Stored, connect_file::Entry as OffsetEntry};
use pipeline::StoreError;
use properties::{ClusterSettings, OffsetTopicSettings, SecuritySettings};
use worker::Logins;
use worker::progress::{self, Chosen, To};
use worker::stores::topic::{OffsetTopic, TopicStore};

const NAME: &str = "replicator-source";
const OFFSETS: &str = "connect-offsets";
const TO: &str = "test-topic.replica";

/// Two clusters, and the worker of a distributed Connect on the destination.
async fn desk(source: Profile, destination: Profile) -> Desk {
    let mut desk = Desk::new(source, destination).await;
    desk.storage = Some(format!(
        "offset.storage.topic={OFFSETS}\noffset.storage.replication.factor=1\ngroup.id=connect\n"
    ));
    // The source is not to remember what the topic must.
    desk.connector.push_str("offset.topic.commit=false\n");
    desk
}

async fn filled(destination: Profile, records: usize) -> Desk {
    let desk = desk(Profile::V4_3, destination).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..records);
    desk
}

fn settings(cluster: &Cluster, partitions: i32) -> OffsetTopicSettings {
    OffsetTopicSettings {
        cluster: ClusterSettings {
            bootstrap: cluster.bootstrap(),
            client_id: String::from("offsets"),
            request_timeout: None,
            connect_timeout: None,
            security: SecuritySettings::default(),
        },
        topic: OFFSETS.into(),
        partitions,
        replication_factor: 1,
        configs: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
    }
}

async fn open(cluster: &Cluster, partitions: i32) -> OffsetTopic {
    OffsetTopic::open(&settings(cluster, partitions), &Logins::default(), Duration::from_secs(5))
        .await
        .unwrap()
}

/// The store's calls block, so they are made from a thread that may.
async fn load(mut store: TopicStore) -> (TopicStore, Result<Stored, StoreError>) {
    tokio::task::spawn_blocking(move || {
        let loaded = store.load();
        (store, loaded)
    })
    .await
    .unwrap()
}

async fn save(mut store: TopicStore, changes: Stored) -> (TopicStore, Result<(), StoreError>) {
    tokio::task::spawn_blocking(move || {
        let saved = store.save(&changes);
        (store, saved)
    })
    .await
    .unwrap()
}

/// Positions of partitions, as Connect stores them.
fn positions(positions: impl IntoIterator<Item = (i32, i64)>) -> Stored {
    let lane = |(partition, last)| {
        (TopicPartition::new("t", partition), StoredLane::Foreign { last_copied: Offset(last) })
    };
    Stored { lanes: positions.into_iter().map(lane).collect(), ..Stored::default() }
}

/// What a consumer of the topic that keeps the last record of each key knows in the end.
fn table(cluster: &Cluster) -> BTreeMap<String, Option<String>> {
    let mut table = BTreeMap::new();
    for partition in 0..cluster.partitions(OFFSETS) {
        for bytes in cluster.log(OFFSETS, partition).unwrap() {
            for record in &records(&Entry::Batch(Batch::read(bytes).unwrap()), 1 << 20).unwrap() {
                let record = record.unwrap();
                let text = |field: &[u8]| String::from_utf8(field.to_vec()).unwrap();
                table.insert(text(record.key.unwrap()), record.value.map(text));
            }
        }
    }
    table
}

/// Another program writes a record, as Connect's producer does.
fn put(cluster: &Cluster, key: &str, value: Option<&str>) {
    let partition = record_batch::partition_of(key.as_bytes(), cluster.partitions(OFFSETS));
    let base = Offset(cluster.end_offset(OFFSETS, partition).unwrap());
    let mut batch = BatchBuilder::new(Codec::Gzip).base_offset(base);
    batch.append(*NOW_MS, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    cluster.append(OFFSETS, partition, batch.build()).unwrap();
}

#[tokio::test]
async fn a_copy_goes_on_from_the_topic_exactly_where_it_was() {
    for destination in [Profile::V4_3, Profile::V2_8, Profile::V1_1] {
        let desk = filled(destination, 0).await;
        // Before brokers tell what they know of a producer, a start waits for what may be under way.
        let stops = if destination == Profile::V1_1 { &[700][..] } else { &[100, 500, 1000] };
        let mut written = 0;
        for end in stops {
            // So that it stops in the middle.
            desk.fill("test-topic", 0, written..end + 100);
            written = end + 100;
            desk.run_until(|_| desk.copied(TO, 0).len() >= *end).await;
        }
        desk.fill("test-topic", 0, written..1500);
        desk.catch_up().await.unwrap();
        assert_eq!(desk.copied(TO, 0), up_to(1500));
        assert!(!exists(&desk.offsets()));

        // Created as Connect creates it, and saying what Connect reads.
        assert_eq!(desk.destination.partitions(OFFSETS), 25);
        assert_eq!(desk.destination.topic_configs(OFFSETS)["cleanup.policy"], "compact");
        let table = table(&desk.destination);
        let value =
            table[r#"["replicator-source",{"topic":"test-topic","partition":0}]"#].as_deref().unwrap();
        assert!(value.starts_with(r#"{"offset":1499,"paralog":1,"#), "{value}");
    }
}

#[tokio::test]
async fn connects_progress_is_taken_over_and_others_keys_stay_as_they_are() {
    let desk = filled(Profile::V4_3, 50).await;
    desk.destination.create_topic(OFFSETS, 5, &[("cleanup.policy", "compact")]);
    let foreign = [
        (r#"["local-file-source",{"filename":"x"}]"#, Some(r#"{"position":7}"#)),
        (r#"["replicator-source",{"cluster":"east","topic":"test-topic","partition":0}]"#, Some("{}")),
        (r#"["other",{"topic":"test-topic","partition":0}]"#, Some("not json")),
        ("not json", Some("x")),
        (r#"["other",{"topic":"test-topic","partition":1}]"#, None),
    ];
    for (key, value) in foreign {
        put(&desk.destination, key, value);
    }
    // As a Java map orders its members, and superseded.
    let ours = r#"["replicator-source",{"partition":0,"topic":"test-topic"}]"#;
    put(&desk.destination, ours, Some(r#"{"offset":3}"#));
    put(&desk.destination, ours, Some(r#"{"offset":19}"#));
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (20..50).collect::<Vec<_>>());
    let table = table(&desk.destination);
    for (key, value) in foreign {
        assert_eq!(table[key].as_deref(), value, "{key}");
    }
    // Under the very bytes of its key, so that it supersedes.
    assert!(table[ours].as_deref().unwrap().starts_with(r#"{"offset":49,"#));

    // Connect goes on, and then we from where it left.
    put(&desk.destination, ours, Some(r#"{"offset":59}"#));
    desk.fill("test-topic", 0, 50..70);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (20..50).chain(60..70).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_that_does_not_keep_or_cannot_be_created_is_refused_with_what_to_do() {
    let mut desk = filled(Profile::V4_3, 10).await;
    desk.storage = Some(format!("offset.storage.topic={OFFSETS}\n"));
    let refused = async |desk: &Desk| {
        let error = desk.catch_up().await.unwrap_err();
        assert!(error.is_at_start(), "{error:?}");
        worker::chain(&error)
    };
    let message = refused(&desk).await;
    assert!(message.contains("INVALID_REPLICATION_FACTOR"), "{message}");
    assert!(message.contains("set offset.storage.replication.factor"), "{message}");

    for policy in ["delete", "compact,delete"] {
        desk.destination.create_topic(OFFSETS, 1, &[("cleanup.policy", policy)]);
        let message = refused(&desk).await;
        let expected = format!(
            "offsets topic `connect-offsets`: its cleanup.policy is `{policy}`, which would lose progress"
        );
        assert!(message.starts_with(&expected), "{message}");
        desk.destination.delete_topic(OFFSETS);
    }

    desk.destination.create_topic(OFFSETS, 3, &[("cleanup.policy", "compact")]);
    let key = r#"["replicator-source",{"topic":"test-topic","partition":0}]"#;
    put(&desk.destination, key, Some(r#"{"offset":"#));
    let message = refused(&desk).await;
    let partition = record_batch::partition_of(key.as_bytes(), 3);
    assert!(
        message.contains(&format!(
            "`connect-offsets`, partition {partition}, offset 0: cannot use the value of {key}"
        )),
        "{message}"
    );
    assert_eq!(desk.copied(TO, 0), up_to(0));
}

#[tokio::test]
async fn a_topic_that_cannot_be_written_is_told_and_copying_goes_on_and_it_is_written_once_it_can_be() {
    let desk = filled(Profile::V4_3, 50).await;
    desk.run_while(async |status| {
        let trouble =
            || status.borrow().flows.first().and_then(|flow| flow.trouble.clone()).unwrap_or_default();
        wait_until(|| desk.copied(TO, 0).len() == 50).await;
        for error in [ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::MESSAGE_TOO_LARGE] {
            let fault = desk.destination.on(ApiKey::Produce).topic(OFFSETS).always().fail(error);
            let copied = desk.copied(TO, 0).len();
            desk.fill("test-topic", 0, copied..copied + 50);
            wait_until(|| {
                trouble().starts_with("progress cannot be stored: offsets topic `connect-offsets`: ")
            })
            .await;
            assert!(trouble().contains(&error.to_string()), "{}", trouble());
            wait_until(|| desk.copied(TO, 0).len() == copied + 50).await;
            fault.clear();
            wait_until(|| trouble().is_empty()).await;
        }
    })
    .await;
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(150));
}

#[tokio::test]
async fn a_save_whose_answer_is_lost_is_written_once() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    let (mut store, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
    assert_eq!(loaded, Ok(Stored::default()));
    let ends = || (0..3).map(|at| cluster.end_offset(OFFSETS, at).unwrap()).sum::<i64>();
    for last in 0..5 {
        let before = ends();
        let lost = cluster.on(ApiKey::Produce).topic(OFFSETS).drop_reply();
        let saved;
        (store, saved) = save(store, positions([(0, last)])).await;
        assert_eq!((saved, lost.hits(), ends()), (Ok(()), 1, before + 1));
    }
    assert_eq!(open(&cluster, 3).await.peek(NAME).await, Ok(positions([(0, 4)])));
}

#[tokio::test]
async fn what_a_process_sent_before_another_began_arrives_no_more() {
    for profile in [Profile::V4_3, Profile::V1_1] {
        let cluster = Cluster::start(Config::new(1, profile)).await.unwrap();
        let first = OffsetTopic::open(&settings(&cluster, 3), &Logins::default(), Duration::from_millis(300))
            .await
            .unwrap();
        let (store, loaded) = load(first.store(NAME)).await;
        loaded.unwrap();
        let (store, saved) = save(store, positions([(0, 10), (1, 10)])).await;
        saved.unwrap();
        // Under way while the process is given up, its request not.
        let held = cluster.on(ApiKey::Produce).topic(OFFSETS).always().hold();
        let (store, saved) = save(store, positions([(0, 11)])).await;
        let message = saved.unwrap_err().to_string();
        assert!(message.contains("connect-offsets") && message.contains("Produce"), "{message}");
        held.fault.clear();

        let (second, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
        assert_eq!(loaded, Ok(positions([(0, 10), (1, 10)])));
        let (_second, saved) = save(second, positions([(0, 9)])).await;
        saved.unwrap();
        let before: i64 = (0..3).map(|at| cluster.end_offset(OFFSETS, at).unwrap()).sum();
        held.release();
        // What was held goes on only now, and the first process, which lives, says what became of it.
        let (store, saved) = save(store, positions([(0, 12)])).await;
        let message = saved.unwrap_err().to_string();
        assert!(
            message.contains("another process has taken over the progress of connector `replicator-source`"),
            "{message}"
        );
        let (_store, saved) = save(store, positions([(1, 12)])).await;
        assert_eq!(saved.unwrap_err().to_string(), message);
        assert_eq!((0..3).map(|at| cluster.end_offset(OFFSETS, at).unwrap()).sum::<i64>(), before);
        assert_eq!(open(&cluster, 3).await.peek(NAME).await, Ok(positions([(0, 9), (1, 10)])));
    }
}

#[tokio::test]
async fn of_processes_that_start_at_the_same_time_one_holds_the_topic() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 3, &[("cleanup.policy", "compact")]);
    for round in 0..5 {
        let topics = [open(&cluster, 3).await, open(&cluster, 3).await, open(&cluster, 3).await];
        let mut starting = tokio::task::JoinSet::new();
        for topic in topics {
            starting.spawn(async move { load(topic.store(NAME)).await });
        }
        let mut stores = Vec::new();
        while let Some(started) = starting.join_next().await {
            let (store, loaded) = started.unwrap();
            if loaded.is_ok() {
                stores.push(store);
            }
        }
        let mut holding = 0;
        for (number, store) in (0..).zip(stores) {
            let (_, saved) = save(store, positions([(0, round * 10 + number)])).await;
            if saved.is_ok() {
                holding += 1;
                assert_eq!(
                    open(&cluster, 3).await.peek(NAME).await,
                    Ok(positions([(0, round * 10 + number)]))
                );
            }
        }
        assert_eq!(holding, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_topic_that_is_deleted_created_anew_or_shortened_is_written_again_in_full() {
    for profile in [Profile::V4_3, Profile::V1_1] {
        let cluster = Cluster::start(Config::new(1, profile)).await.unwrap();
        let (mut store, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
        loaded.unwrap();
        let mut expected = BTreeMap::new();
        type Harm = fn(&Cluster);
        let harms: [Harm; 6] = [
            |cluster| cluster.delete_topic(OFFSETS),
            |cluster| cluster.recreate_topic(OFFSETS),
            |cluster| {
                cluster.delete_topic(OFFSETS);
                cluster.create_topic(OFFSETS, 7, &[("cleanup.policy", "compact")]);
            },
            |cluster| cluster.add_partitions(OFFSETS, 11),
            |cluster| (0..3).for_each(|at| cluster.truncate(OFFSETS, at, 1)),
            |cluster| {
                // Others have filled it since, so that its ends say nothing.
                cluster.recreate_topic(OFFSETS);
                (0..2000).for_each(|number| put(cluster, &format!("{number}"), None));
            },
        ];
        for (number, harm) in (0..).zip(harms) {
            for partition in 0..10 {
                expected.insert(partition, number * 100 + i64::from(partition));
            }
            let saved;
            (store, saved) = save(store, positions(expected.clone())).await;
            saved.unwrap();
            harm(&cluster);
            expected.insert(3, number * 100 + 50);
            let saved;
            (store, saved) = save(store, positions([(3, number * 100 + 50)])).await;
            saved.unwrap();
            assert_eq!(
                open(&cluster, 3).await.peek(NAME).await,
                Ok(positions(expected.clone())),
                "harm {number}"
            );
        }
    }
}

#[tokio::test]
async fn compaction_and_a_forgotten_producer_do_no_harm() {
    for profile in [Profile::V4_3, Profile::V2_8, Profile::V1_1] {
        let cluster = Cluster::start(Config::new(1, profile)).await.unwrap();
        let (mut store, loaded) = load(open(&cluster, 2).await.store(NAME)).await;
        loaded.unwrap();
        for last in 0..6 {
            let saved;
            (store, saved) = save(store, positions((0..5).map(|partition| (partition, last)))).await;
            saved.unwrap();
            for partition in 0..2 {
                cluster.compact(OFFSETS, partition);
                if last == 3 {
                    cluster.forget_producers(OFFSETS, partition);
                }
            }
        }
        let expected = positions((0..5).map(|partition| (partition, 5)));
        assert_eq!(open(&cluster, 2).await.peek(NAME).await, Ok(expected.clone()));
        let (_, loaded) = load(open(&cluster, 2).await.store(NAME)).await;
        assert_eq!(loaded, Ok(expected));
    }
}

/// Whatever becomes of requests and processes: a load gives what was saved last, or what was being saved.
#[tokio::test]
async fn whatever_happens_to_requests_a_load_gives_what_was_saved_last() {
    let seeds = match std::env::var("PARALOG_TOPIC_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..6,
    };
    let (local, mut runs) = (tokio::task::LocalSet::new(), tokio::task::JoinSet::new());
    for seed in seeds {
        runs.spawn_local_on(saves_and_loads(seed), &local);
    }
    let ended = async {
        while let Some(run) = runs.join_next().await {
            run.unwrap();
        }
    };
    local.run_until(ended).await;
}

async fn saves_and_loads(seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let profile = [Profile::V4_3, Profile::V2_8, Profile::V1_1][usize::try_from(seed % 3).unwrap()];
    let cluster = Cluster::start(Config::new(2, profile)).await.unwrap();
    cluster.create_topic(OFFSETS, 4, &[("cleanup.policy", "compact")]);
    // What each partition may say: the last that was acknowledged, and those after it.
    let mut allowed: BTreeMap<i32, Vec<Option<i64>>> = (0..8).map(|at| (at, vec![None])).collect();
    let mut held = Vec::new();
    let mut next = 0;
    let patience = Duration::from_millis(150);
    for _ in 0..5 {
        let topic = OffsetTopic::open(&settings(&cluster, 4), &Logins::default(), patience).await.unwrap();
        let (mut store, loaded) = load(topic.store(NAME)).await;
        let loaded = loaded.unwrap();
        for (at, allowed) in &mut allowed {
            let found = loaded.lanes.get(&TopicPartition::new("t", *at)).map(|lane| match lane {
                StoredLane::Foreign { last_copied } => last_copied.0,
                StoredLane::Ours(_) | StoredLane::Spread(_) => panic!("{lane:?}"),
            });
            assert!(
                allowed.contains(&found),
                "partition {at} says {found:?} of {allowed:?}; PARALOG_TOPIC_SEED={seed}"
            );
            *allowed = vec![found];
        }
        for _ in 0..4 {
            let on = || cluster.on(ApiKey::Produce).topic(OFFSETS).times(1 + seed % 2);
            match draw(7) {
                0 => drop(on().drop_reply()),
                1 => drop(on().refuse()),
                2 => drop(on().fail_applied(ErrorCode::REQUEST_TIMED_OUT)),
                3 => drop(on().fail(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
                4 => held.push(on().hold()),
                5 => held.drain(..).for_each(embedded_kafka::Held::release),
                _ => {}
            }
            let changes: BTreeMap<i32, i64> = (0..=draw(4))
                .map(|_| {
                    (i32::try_from(draw(8)).unwrap(), {
                        next += 1;
                        next
                    })
                })
                .collect();
            let saved;
            (store, saved) = save(store, positions(changes.clone())).await;
            for (at, value) in changes {
                let allowed = allowed.get_mut(&at).unwrap();
                if saved.is_ok() {
                    allowed.clear();
                }
                allowed.push(Some(value));
            }
            if saved.is_ok() {
                // An earlier save's values were part of it.
                allowed.values_mut().for_each(|allowed| *allowed = vec![*allowed.last().unwrap()]);
            }
        }
        // The process ends here, whatever it has under way.
        drop(store);
    }
}

/// A worker on a runtime of its own, which ends as `kill -9` does when this is dropped: what it was doing is dropped
/// where it stands, and what it has sent is on its way.
struct Process(Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>);

impl Process {
    fn start(prepared: worker::Prepared) -> Process {
        let (kill, killed) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
                tokio::select! {
                    ended = worker::run(prepared, false, std::future::pending(), status) => panic!("{ended:?}"),
                    _ = killed => {}
                }
            });
        });
        Process(Some((kill, thread)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((kill, thread)) = self.0.take() {
            drop(kill);
            thread.join().unwrap();
        }
    }
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_save_loses_and_doubles_nothing() {
    for seed in 1_u64..4 {
        let desk = filled(Profile::V4_3, 0).await;
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut late = None;
        let mut written = 0;
        for _ in 0..12 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            desk.fill("test-topic", 0, written..written + 300);
            written += 300;
            // At some request to the topic: it is lost, its answer is, or it comes late.
            let on = desk.destination.on(ApiKey::Produce).topic(OFFSETS).after(random / 4 % 5);
            let (reached, held) = match random / 32 % 3 {
                0 => (on.drop_reply(), None),
                1 => (on.refuse(), None),
                _ => {
                    let held = on.hold();
                    (held.fault.clone(), Some(held))
                }
            };
            let process = Process::start(desk.prepared());
            // Enough is copied where it takes fewer requests than that.
            tokio::select! {
                () = reached.happened() => {}
                () = wait_until(|| desk.copied(TO, 0).len() == written) => {}
            }
            drop(process);
            reached.clear();
            // What the one before had under way arrives now.
            drop(std::mem::replace(&mut late, held));
        }
        drop(late);
        desk.catch_up().await.unwrap();
        assert_eq!(desk.copied(TO, 0), up_to(written), "seed {seed}");
    }
}

#[tokio::test]
async fn progress_in_the_topic_is_exported_imported_altered_and_reset() {
    let desk = filled(Profile::V4_3, 50).await;
    let error = progress::export(&desk.prepared()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing is stored of connector `replicator-source` in offsets topic `connect-offsets`"
    );
    assert!(error.hint().unwrap().contains("offset.storage.topic"));
    desk.catch_up().await.unwrap();
    let kept = progress::export(&desk.prepared()).await.unwrap();

    // After a clean end nothing is under way, and a position that is set need not wait for it.
    let chosen = [Chosen { topic: "test-topic".into(), partitions: vec![0] }];
    progress::alter(&desk.prepared(), &chosen, To::Offset(40)).await.unwrap();
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (0..50).chain(40..50).collect::<Vec<_>>());

    let all: Vec<Chosen> = Vec::new();
    let done = progress::reset(&desk.prepared(), &all).await.unwrap();
    assert_eq!(done, ["test-topic-0: forgotten (was 50)"]);
    let key = r#"["replicator-source",{"topic":"test-topic","partition":0}]"#;
    assert_eq!(table(&desk.destination)[key], None);
    progress::import(&desk.prepared(), kept.as_bytes(), true).await.unwrap();
    let unclean = kept.replace("\"stopped_cleanly\":true", "\"stopped_cleanly\":false");
    assert_eq!(progress::export(&desk.prepared()).await.unwrap(), unclean);
}

#[tokio::test]
async fn a_running_worker_is_told_that_its_progress_was_changed_and_does_not_write_over_it() {
    let desk = filled(Profile::V4_3, 50).await;
    desk.run_while(async |status| {
        wait_until(|| desk.copied(TO, 0).len() == 50).await;
        let trouble =
            || status.borrow().flows.first().and_then(|flow| flow.trouble.clone()).unwrap_or_default();
        let chosen = [Chosen { topic: "test-topic".into(), partitions: vec![0] }];
        progress::alter(&desk.prepared(), &chosen, To::Offset(7)).await.unwrap();
        desk.fill("test-topic", 0, 50..60);
        wait_until(|| {
            trouble().starts_with(
                "this process copies nothing any more: offsets topic `connect-offsets`: another process",
            )
        })
        .await;
        desk.fill("test-topic", 0, 60..70);
    })
    .await;
    assert_eq!(desk.copied(TO, 0).iter().filter(|number| **number >= 60).count(), 0);
    let key = r#"["replicator-source",{"topic":"test-topic","partition":0}]"#;
    assert_eq!(table(&desk.destination)[key].as_deref(), Some(r#"{"offset":6}"#));
}

#[tokio::test]
async fn an_open_transaction_of_another_producer_is_waited_for_and_told() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 1, &[("cleanup.policy", "compact")]);
    let (id, epoch) = cluster.allocate_producer_id();
    let stamp = record_batch::ProducerStamp {
        producer_id: model::ProducerId(id),
        producer_epoch: epoch,
        base_sequence: 0,
    };
    let mut batch = BatchBuilder::new(Codec::None).stamp(stamp).transactional();
    let entry = OffsetEntry {
        key: Some(br#"["replicator-source",{"topic":"t","partition":0}]"#.as_slice().into()),
        value: Some(br#"{"offset":5}"#.as_slice().into()),
    };
    batch.append(*NOW_MS, entry.key.as_deref(), entry.value.as_deref(), &[]);
    cluster.append(OFFSETS, 0, batch.build()).unwrap();
    let loading = tokio::spawn(load(open(&cluster, 1).await.store(NAME)));
    // It asks again and again, and the answer has nothing.
    let asked = cluster.on(ApiKey::Fetch).always().look(|_| {});
    asked.happened_times(3).await;
    let marker = record_batch::control_batch(Offset(1), model::ProducerId(id), epoch, true, *NOW_MS);
    cluster.append(OFFSETS, 0, marker).unwrap();
    let (_, loaded) = loading.await.unwrap();
    assert_eq!(loaded, Ok(positions([(0, 5)])));
}

#[tokio::test]
async fn a_command_changes_what_is_there_once_it_has_the_topic_and_only_what_it_was_asked_to() {
    let desk = filled(Profile::V1_1, 50).await;
    desk.source.create_topic("other-topic", 1, &[]);
    let chosen = |topic: &str| [Chosen { topic: topic.into(), partitions: vec![0] }];
    // But for the topic that is altered.
    let rest = async || {
        let mut stored = open(&desk.destination, 1).await.peek(NAME).await.unwrap();
        stored.lanes.retain(|partition, _| partition.topic.as_str() == "test-topic");
        stored
    };
    // A worker begins, copies and stops while the source is asked.
    let (held, prepared) = (desk.source.on(ApiKey::ListOffsets).hold(), desk.prepared());
    let meanwhile = async {
        held.fault.happened().await;
        held.fault.clear();
        desk.catch_up().await.unwrap();
        held.release();
        rest().await
    };
    let other = chosen("other-topic");
    let (altered, stored) = tokio::join!(progress::alter(&prepared, &other, To::Offset(0)), meanwhile);
    altered.unwrap();
    assert!(stored.producer.is_some() && stored.lanes.len() == 1, "{stored:?}");
    assert_eq!(rest().await, stored);

    // A broker that has just started does not know the topic.
    let unknown = || {
        desk.destination
            .on(ApiKey::Metadata)
            .topic(OFFSETS)
            .times(3)
            .fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    };
    let fault = unknown();
    progress::export(&desk.prepared()).await.unwrap();
    assert_eq!(fault.hits(), 3);
    unknown();
    progress::alter(&desk.prepared(), &chosen("other-topic"), To::Offset(0)).await.unwrap();
    assert_eq!(rest().await, stored);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(50));
}

#[tokio::test]
async fn a_log_that_does_not_begin_at_0_is_read_from_where_it_begins() {
    for profile in [Profile::V4_3, Profile::V1_1] {
        let cluster = Cluster::start(Config::new(1, profile)).await.unwrap();
        cluster.create_topic(OFFSETS, 1, &[("cleanup.policy", "compact")]);
        let key =
            |partition: i32| format!(r#"["replicator-source",{{"topic":"t","partition":{partition}}}]"#);
        (0..6).for_each(|at| put(&cluster, &key(at), Some(r#"{"offset":5}"#)));
        cluster.delete_records(OFFSETS, 0, 5);
        let topic = open(&cluster, 1).await;
        assert_eq!(topic.peek(NAME).await, Ok(positions([(5, 5)])));
        // Deleted up to where it was not read, and between the answer on where it begins and the first fetch.
        put(&cluster, &key(6), Some(r#"{"offset":6}"#));
        put(&cluster, &key(7), Some(r#"{"offset":7}"#));
        let held = cluster.on(ApiKey::Fetch).hold();
        let delete = async {
            held.fault.happened().await;
            cluster.delete_records(OFFSETS, 0, 7);
            held.release();
        };
        assert_eq!(tokio::join!(topic.peek(NAME), delete).0, Ok(positions([(7, 7)])));
    }
}

#[tokio::test]
async fn a_topic_that_takes_longer_to_read_than_a_save_may_take_is_claimed_again_all_the_same() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 25, &[("cleanup.policy", "compact")]);
    (0..200).for_each(|number| put(&cluster, &format!("{number}"), None));
    let topic = OffsetTopic::open(&settings(&cluster, 25), &Logins::default(), Duration::from_millis(150))
        .await
        .unwrap();
    let (store, loaded) = load(topic.store(NAME)).await;
    loaded.unwrap();
    cluster.add_partitions(OFFSETS, 26);
    let slow = cluster.on(ApiKey::Fetch).always().delay_reply(Duration::from_millis(250));
    let (_store, saved) = save(store, positions([(0, 1)])).await;
    assert_eq!(saved, Ok(()));
    // All partitions of a broker at once.
    assert!(slow.hits() <= 4, "{}", slow.hits());
}

#[tokio::test]
async fn what_does_not_show_a_claim_that_was_acknowledged_is_not_final() {
    let cluster = Cluster::start(Config::new(1, Profile::V2_8)).await.unwrap();
    cluster.create_topic(OFFSETS, 3, &[("cleanup.policy", "compact")]);
    let (store, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
    loaded.unwrap();
    let (_store, saved) = save(store, positions((0..10).map(|at| (at, 1)))).await;
    saved.unwrap();
    // Earliest and Latest before the claim, then the same after it.
    let held = cluster.on(ApiKey::ListOffsets).after(2).hold();
    let second = open(&cluster, 3).await;
    let loading = tokio::spawn(load(second.store(NAME)));
    held.fault.happened().await;
    held.fault.clear();
    let named = |at: &i32| {
        let log = cluster.log(OFFSETS, *at).unwrap();
        log.iter().any(|bytes| String::from_utf8_lossy(bytes).contains("writer"))
    };
    let lost = (0..3).find(|at| !named(at)).unwrap();
    let kept = cluster.end_offset(OFFSETS, lost).unwrap() - 1;
    cluster.truncate(OFFSETS, lost, kept);
    held.release();
    let (_store, loaded) = loading.await.unwrap();
    assert_eq!(loaded, Ok(positions((0..10).map(|at| (at, 1)))));
    assert_eq!(cluster.end_offset(OFFSETS, lost), Ok(kept + 1));
}

#[tokio::test]
async fn an_id_whose_epochs_are_used_up_shuts_its_holder_out_and_is_left_for_a_new_one() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 1, &[("cleanup.policy", "compact")]);
    let (id, _) = cluster.allocate_producer_id();
    let writer = offsets::writers::Writer { producer_epoch: i16::MAX - 2, process: "a".into() };
    let claim = offsets::writers::claim(NAME, model::ProducerId(id), &writer);
    let stamp = record_batch::ProducerStamp {
        producer_id: model::ProducerId(id),
        producer_epoch: writer.producer_epoch,
        base_sequence: 0,
    };
    let mut batch = BatchBuilder::new(Codec::None).stamp(stamp);
    batch.append(*NOW_MS, claim.key.as_deref(), claim.value.as_deref(), &[]);
    cluster.append(OFFSETS, 0, batch.build()).unwrap();
    let mut former: Option<TopicStore> = None;
    for start in 0..4 {
        let (store, loaded) = load(open(&cluster, 1).await.store(NAME)).await;
        loaded.unwrap();
        let (store, saved) = save(store, positions([(0, start)])).await;
        assert_eq!(saved, Ok(()), "start {start}");
        if let Some(former) = former {
            let (_, saved) = save(former, positions([(0, 90)])).await;
            assert!(saved.unwrap_err().to_string().contains("another process"), "start {start}");
        }
        // Claimed again by itself.
        cluster.add_partitions(OFFSETS, cluster.partitions(OFFSETS) + 1);
        let (store, saved) = save(store, positions([(1, start)])).await;
        assert_eq!(saved, Ok(()), "start {start}");
        former = Some(store);
    }
    assert_eq!(open(&cluster, 1).await.peek(NAME).await, Ok(positions([(0, 3), (1, 3)])));
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_the_topic_goes_in_smaller_ones() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "20000")]);
    let (store, loaded) = load(open(&cluster, 1).await.store(NAME)).await;
    loaded.unwrap();
    let many = positions((0..1000).map(|at| (at, 1)));
    let (_store, saved) = save(store, many.clone()).await;
    assert_eq!(saved, Ok(()));
    assert_eq!(open(&cluster, 1).await.peek(NAME).await, Ok(many));
}

#[tokio::test]
async fn what_is_taken_back_or_changed_in_a_topic_that_grew_does_not_come_back() {
    let retention = [("cleanup.policy", "compact"), ("delete.retention.ms", "0")];
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    cluster.create_topic(OFFSETS, 3, &retention);
    let (store, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
    loaded.unwrap();
    let (store, saved) = save(store, positions((0..10).map(|at| (at, 100)))).await;
    saved.unwrap();
    // A host whose clock is behind goes on after it grew, and it grows again.
    for (partitions, last) in [(5, 200), (7, 300)] {
        cluster.add_partitions(OFFSETS, partitions);
        assert_eq!(open(&cluster, 3).await.peek(NAME).await.unwrap().lanes.len(), 10);
        let (_store, saved) = {
            let (store, loaded) = load(open(&cluster, 3).await.store(NAME)).await;
            loaded.unwrap();
            save(store, positions((0..10).map(|at| (at, last)))).await
        };
        saved.unwrap();
        cluster.advance(Duration::from_secs(2 * 86_400));
    }
    cluster.add_partitions(OFFSETS, 11);
    let expected = positions((0..10).map(|at| (at, 300)));
    let topic = open(&cluster, 3).await;
    assert_eq!(topic.peek(NAME).await, Ok(expected));
    drop(store);
    topic.replace(NAME, &positions([(0, 7)])).await.unwrap();
    for _ in 0..3 {
        (0..11).for_each(|at| cluster.compact(OFFSETS, at));
        cluster.advance(Duration::from_secs(2 * 86_400));
    }
    assert_eq!(open(&cluster, 3).await.peek(NAME).await, Ok(positions([(0, 7)])));
}

#[tokio::test]
async fn another_producer_id_and_its_positions_are_put_in_the_place_of_the_old_ones_in_steps() {
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    let topic = open(&cluster, 5).await;
    let stored = |id: i64, last: i64| Stored {
        producer: Some(offsets::Producer {
            producer_id: model::ProducerId(id),
            producer_epoch: 20_000,
            destination_cluster_id: None,
            stopped_cleanly: false,
            spread_ids: Vec::new(),
        }),
        ..positions((0..10).map(|at| (at, last)))
    };
    topic.replace(NAME, &stored(7, 1)).await.unwrap();
    let key = br#"["replicator-source",{"paralog":"producer"}]"#;
    let partition = record_batch::partition_of(key, 5);
    let refused = cluster.on(ApiKey::Produce).partition(OFFSETS, partition).after(1).always();
    let refused = refused.fail(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    topic.replace(NAME, &stored(8, 2)).await.unwrap_err();
    refused.clear();
    let between = Stored { lanes: BTreeMap::default(), ..stored(7, 1) };
    assert_eq!(open(&cluster, 5).await.peek(NAME).await, Ok(between));
    open(&cluster, 5).await.replace(NAME, &stored(8, 2)).await.unwrap();
    assert_eq!(open(&cluster, 5).await.peek(NAME).await, Ok(stored(8, 2)));
}

#[test]
fn a_topic_that_does_not_answer_takes_no_thread_from_other_work() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let desk = filled(Profile::V4_3, 50).await;
        desk.run_while(async |_| {
            wait_until(|| desk.copied(TO, 0).len() == 50).await;
            let held = desk.destination.on(ApiKey::Produce).topic(OFFSETS).hold();
            desk.fill("test-topic", 0, 50..100);
            held.fault.happened().await;
            let other = tokio::task::spawn_blocking(|| ());
            tokio::time::timeout(Duration::from_secs(2), other).await.unwrap().unwrap();
            held.release();
        })
        .await;
    });
}
