//! Progress that is kept, moved, changed by hand or lost: nothing is lost or doubled without an operator's word.

use super::*;
use worker::progress::{self, Chosen, ProgressError, To};

const TO: &str = "test-topic.replica";

fn chosen(topic: &str, partitions: &[i32]) -> Vec<Chosen> {
    vec![Chosen { topic: topic.into(), partitions: partitions.into() }]
}

/// Two clusters and a topic of 50 records, copied, with no commit at the source that would tell where to go on.
async fn copied(destination: Profile) -> Desk {
    let mut desk = Desk::new(Profile::V4_3, destination).await;
    desk.connector.push_str("offset.topic.commit=false\n");
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk.catch_up().await.unwrap();
    desk
}

#[tokio::test]
async fn an_export_is_a_copy_of_the_progress_that_another_worker_goes_on_with() {
    let desk = copied(Profile::V4_3).await;
    let document = progress::export(&desk.prepared()).unwrap();
    desk.fill("test-topic", 0, 50..70);
    // It may be older than what was copied since.
    desk.catch_up().await.unwrap();
    std::fs::remove_file(desk.offsets()).unwrap();

    // Not another connector's.
    let other = document.replace("replicator-source", "other");
    let error = progress::import(&desk.prepared(), other.as_bytes(), false).unwrap_err();
    let message = worker::chain(&error);
    assert!(
        message.ends_with("it is the progress of connector `other`, not of `replicator-source`"),
        "{message}"
    );

    // Not half of it.
    let half = &document.as_bytes()[..document.len() / 2];
    assert!(matches!(progress::import(&desk.prepared(), half, true), Err(ProgressError::Export(_))));
    assert!(!exists(&desk.offsets()));

    let done = progress::import(&desk.prepared(), document.as_bytes(), false).unwrap();
    let producer = &document[document.find("producer_id\":").unwrap() + 13..][..4];
    assert_eq!(
        done,
        format!("connector `replicator-source`: producer id {producer}, positions of 1 partitions")
    );
    assert_eq!(progress::export(&desk.prepared()).unwrap(), document);
    desk.fill("test-topic", 0, 70..100);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(100));
}

#[tokio::test]
async fn progress_that_is_there_is_replaced_only_at_an_operators_word() {
    let desk = copied(Profile::V4_3).await;
    let old = progress::export(&desk.prepared()).unwrap();
    progress::import(&desk.prepared(), old.as_bytes(), false).unwrap(); // it says the same
    desk.fill("test-topic", 0, 50..60);
    desk.catch_up().await.unwrap();
    let present = std::fs::read(desk.offsets()).unwrap();
    let error = progress::import(&desk.prepared(), old.as_bytes(), false).unwrap_err();
    assert!(
        error.to_string().starts_with("connector `replicator-source` has progress already: producer id ")
    );
    assert!(error.hint().unwrap().contains("--replace"));
    assert_eq!(std::fs::read(desk.offsets()).unwrap(), present);

    // Nor under another producer id, which cannot tell what was copied since.
    let at = old.find("producer_id\":").unwrap() + 13;
    let other = format!("{}9{}", &old[..at], &old[at..]);
    let error = progress::import(&desk.prepared(), other.as_bytes(), true).unwrap_err();
    assert!(matches!(error, ProgressError::OtherProducer { partitions: 1, .. }), "{error}");
    assert!(error.hint().unwrap().contains("paralog offsets reset"));
    assert_eq!(std::fs::read(desk.offsets()).unwrap(), present);

    progress::import(&desk.prepared(), old.as_bytes(), true).unwrap();
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(60));
}

#[tokio::test]
async fn progress_is_exported_and_not_changed_while_a_worker_runs() {
    let desk = copied(Profile::V4_3).await;
    let kept = progress::export(&desk.prepared()).unwrap();
    let running = desk.run_until(|status| {
        if status.flows.iter().any(|flow| flow.is_settled) {
            let prepared = desk.prepared();
            progress::export(&prepared).unwrap();
            for error in [
                progress::import(&prepared, kept.as_bytes(), true).unwrap_err(),
                progress::reset(&prepared, &[]).unwrap_err(),
            ] {
                assert!(
                    error.is_out_of_reach() && error.to_string().contains("is in use by another process")
                );
            }
            return true;
        }
        false
    });
    running.await;
    assert_eq!(progress::export(&desk.prepared()).unwrap(), kept);
}

#[tokio::test]
async fn an_operator_says_where_partitions_go_on() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 3, &[]);
    for partition in 0..3 {
        desk.fill("test-topic", partition, 0..50);
    }
    let error = progress::export(&desk.prepared()).unwrap_err();
    assert!(error.to_string().starts_with("nothing is stored of connector `replicator-source`"), "{error}");
    let done = progress::alter(&desk.prepared(), &chosen("test-topic", &[0]), To::Offset(20)).await.unwrap();
    assert_eq!(done, ["test-topic-0: next source offset 20 (was nothing)"]);
    progress::alter(&desk.prepared(), &chosen("test-topic", &[1]), To::Latest).await.unwrap();
    for (wanted, to, expected) in [
        (
            chosen("test-topic", &[0]),
            To::Offset(51),
            "offset 51 of test-topic-0 is outside of the source's log",
        ),
        (chosen("test-topic", &[3]), To::Latest, "the source has no partition test-topic-3"),
        (chosen("absent", &[]), To::Latest, "the source has no partition absent"),
    ] {
        let error = progress::alter(&desk.prepared(), &wanted, to).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (20..50).collect::<Vec<_>>());
    assert!(desk.copied(TO, 1).is_empty());
    assert_eq!(desk.copied(TO, 2), up_to(50));

    // Behind what is there, whatever that is: it is the operator's word.
    let done = progress::alter(&desk.prepared(), &chosen("test-topic", &[]), To::Earliest).await.unwrap();
    assert_eq!(done[2], "test-topic-2: next source offset 0 (was 50)");
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (20..50).chain(0..50).collect::<Vec<_>>());
    assert_eq!(desk.copied(TO, 1), up_to(50));
    assert_eq!(desk.copied(TO, 2), (0..50).chain(0..50).collect::<Vec<_>>());

    let done = progress::reset(&desk.prepared(), &chosen("test-topic", &[1, 2])).unwrap();
    assert_eq!(done, ["test-topic-1: forgotten (was 50)", "test-topic-2: forgotten (was 50)"]);
    assert!(progress::reset(&desk.prepared(), &chosen("test-topic", &[1])).is_err());
    assert!(progress::export(&desk.prepared()).unwrap().contains("\"producer_id\""));
}
