//! Topics that are deleted, created anew, cut and overtaken while a worker copies them, and what it is told about that.

use super::*;
use worker::{LifeCounts, TopicStatus};

const TO: &str = "test-topic.replica";

/// Two clusters, with fifty numbers at the source.
async fn desk(source: Profile, line: &str) -> Desk {
    let mut desk = Desk::new(source, Profile::V4_3).await;
    desk.connector.push_str(line);
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk
}

fn topic(status: &watch::Receiver<Arc<WorkerStatus>>) -> Option<TopicStatus> {
    status.borrow().flows.first()?.topics.first().cloned()
}

fn life(status: &watch::Receiver<Arc<WorkerStatus>>) -> LifeCounts {
    topic(status).map(|topic| topic.life).unwrap_or_default()
}

fn both(first: std::ops::Range<usize>, then: std::ops::Range<usize>) -> Vec<usize> {
    first.chain(then).collect()
}

#[tokio::test]
async fn a_source_topic_created_anew_stops_its_partition() {
    for profile in [Profile::V4_3, Profile::V2_8] {
        let desk = desk(profile, "").await;
        desk.run_while(async |status| {
            wait_until(|| desk.copied(TO, 0).len() == 50).await;
            desk.source.recreate_topic("test-topic");
            desk.fill("test-topic", 0, 100..120);
            let told =
                "the source topic was deleted and created anew: the old one was copied up to offset 50";
            let trouble = || topic(status).and_then(|topic| topic.trouble).unwrap_or_default();
            wait_until(|| trouble().starts_with(told)).await;
            assert_eq!(topic(status).unwrap().stopped_partitions, 1);
        })
        .await;
        assert_eq!(desk.copied(TO, 0), up_to(50), "{profile:?}");
    }
}

#[tokio::test]
async fn a_source_topic_created_anew_while_nobody_copied_is_known_at_the_next_start() {
    let desk = desk(Profile::V4_3, "").await;
    desk.catch_up().await.unwrap();
    desk.source.recreate_topic("test-topic");
    desk.fill("test-topic", 0, 100..200);
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{error:?}") };
    assert!(reasons[0].contains("the source topic was deleted and created anew"), "{reasons:?}");
    assert_eq!(desk.copied(TO, 0), up_to(50));
}

#[tokio::test]
async fn a_source_topic_created_anew_is_copied_behind_the_old_one_where_that_is_told_and_certain() {
    let cases = [
        (Profile::V4_3, "restart", Some(both(0..50, 100..120))),
        (Profile::V4_3, "skip", Some(up_to(50))),
        // Its brokers are asked by name.
        (Profile::V2_8, "restart", None),
    ];
    for (profile, policy, expected) in cases {
        let desk = desk(profile, &format!("paralog.on.source.recreated={policy}\n")).await;
        desk.catch_up().await.unwrap();
        desk.source.recreate_topic("test-topic");
        desk.fill("test-topic", 0, 100..120);
        assert_eq!(desk.catch_up().await.is_ok(), expected.is_some(), "{profile:?} {policy}");
        assert_eq!(desk.copied(TO, 0), expected.clone().unwrap_or_else(|| up_to(50)), "{profile:?} {policy}");
        if let Some(mut expected) = expected {
            desk.fill("test-topic", 0, 120..130);
            desk.catch_up().await.unwrap();
            expected.extend(120..130);
            assert_eq!(desk.copied(TO, 0), expected, "{policy}");
        }
    }
}

#[tokio::test]
async fn a_destination_topic_that_is_deleted_is_created_and_filled_again() {
    let desk = desk(Profile::V4_3, "").await;
    desk.run_while(async |status| {
        wait_until(|| desk.copied(TO, 0).len() == 50).await;
        desk.destination.delete_topic(TO);
        wait_until(|| desk.copied(TO, 0).len() == 50).await;
        desk.fill("test-topic", 0, 50..80);
        wait_until(|| desk.copied(TO, 0).len() == 80).await;
        let expected = LifeCounts { begun_anew: 1, destination_offsets_gone: 50, ..LifeCounts::default() };
        wait_until(|| life(status) == expected).await;
    })
    .await;
    assert_eq!(desk.copied(TO, 0), up_to(80));
}

#[tokio::test]
async fn what_was_copied_to_a_destination_topic_that_is_gone_is_left_out_or_missed_as_told() {
    for (policy, expected) in [("skip", (50..80).collect()), ("stop", Vec::new())] {
        let desk = desk(Profile::V4_3, &format!("paralog.on.destination.recreated={policy}\n")).await;
        desk.catch_up().await.unwrap();
        desk.destination.recreate_topic(TO);
        desk.fill("test-topic", 0, 50..80);
        assert_eq!(desk.catch_up().await.is_ok(), policy == "skip");
        assert_eq!(desk.copied(TO, 0), expected, "{policy}");
    }
}

#[tokio::test]
async fn records_deleted_ahead_of_the_copy_are_named_and_passed_over_when_told() {
    let mut desk = desk(Profile::V4_3, "").await;
    desk.catch_up().await.unwrap();
    desk.fill("test-topic", 0, 50..100);
    desk.source.delete_records("test-topic", 0, 75);
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{error:?}") };
    let told = "the source deleted offsets 50 to 74 before they were copied (25 offsets)";
    assert!(reasons[0].contains(told), "{reasons:?}");
    desk.connector.push_str("paralog.on.source.overtaken=skip\n");
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), both(0..50, 75..100));
}
