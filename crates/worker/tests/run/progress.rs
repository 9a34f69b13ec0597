//! Progress that is kept, moved, changed by hand or lost: nothing is lost or doubled without an operator's word.

use std::collections::BTreeMap;

use super::*;
use model::{LeaderEpoch, ProducerId};
use offsets::{Checkpoint, Producer, Segments, SelectionId, Stored};
use record_batch::ProducerStamp;
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

impl Desk {
    /// Everything that stands in the way, in words.
    async fn refused(&self) -> String {
        match self.catch_up().await {
            Err(RunError::Incomplete { reasons }) => reasons.join("\n"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_export_is_a_copy_of_the_progress_that_another_worker_goes_on_with() {
    let desk = copied(Profile::V4_3).await;
    let document = progress::export(&desk.prepared()).await.unwrap();
    desk.fill("test-topic", 0, 50..70);
    // It may be older than what was copied since.
    desk.catch_up().await.unwrap();
    std::fs::remove_file(desk.offsets()).unwrap();

    // Not another connector's.
    let other = document.replace("replicator-source", "other");
    let error = progress::import(&desk.prepared(), other.as_bytes(), false).await.unwrap_err();
    let message = worker::chain(&error);
    assert!(
        message.ends_with("it is the progress of connector `other`, not of `replicator-source`"),
        "{message}"
    );

    // Not half of it.
    let half = &document.as_bytes()[..document.len() / 2];
    assert!(matches!(progress::import(&desk.prepared(), half, true).await, Err(ProgressError::Export(_))));
    assert!(!exists(&desk.offsets()));

    let done = progress::import(&desk.prepared(), document.as_bytes(), false).await.unwrap();
    let producer = &document[document.find("producer_id\":").unwrap() + 13..][..4];
    assert_eq!(
        done,
        format!("connector `replicator-source`: producer id {producer}, positions of 1 partitions")
    );
    // But for one thing: what the last process left under way is not known from an old copy.
    let unclean = document.replace("\"stopped_cleanly\":true", "\"stopped_cleanly\":false");
    assert_eq!(progress::export(&desk.prepared()).await.unwrap(), unclean);
    desk.fill("test-topic", 0, 70..100);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(100));
}

#[tokio::test]
async fn progress_that_is_there_is_replaced_only_at_an_operators_word() {
    let desk = copied(Profile::V4_3).await;
    let old = progress::export(&desk.prepared()).await.unwrap();
    progress::import(&desk.prepared(), old.as_bytes(), false).await.unwrap(); // it says the same
    desk.fill("test-topic", 0, 50..60);
    desk.catch_up().await.unwrap();
    let present = std::fs::read(desk.offsets()).unwrap();
    let error = progress::import(&desk.prepared(), old.as_bytes(), false).await.unwrap_err();
    assert!(
        error.to_string().starts_with("connector `replicator-source` has progress already: producer id ")
    );
    assert!(error.hint().unwrap().contains("--replace"));
    assert_eq!(std::fs::read(desk.offsets()).unwrap(), present);

    // Nor under another producer id, which cannot tell what was copied since.
    let at = old.find("producer_id\":").unwrap() + 13;
    let other = format!("{}9{}", &old[..at], &old[at..]);
    let error = progress::import(&desk.prepared(), other.as_bytes(), true).await.unwrap_err();
    assert!(matches!(error, ProgressError::OtherProducer { partitions: 1, .. }), "{error}");
    assert!(error.hint().unwrap().contains("paralog offsets reset"));
    assert_eq!(std::fs::read(desk.offsets()).unwrap(), present);

    progress::import(&desk.prepared(), old.as_bytes(), true).await.unwrap();
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(60));
}

#[tokio::test]
async fn progress_is_exported_and_not_changed_while_a_worker_runs() {
    let desk = copied(Profile::V4_3).await;
    let kept = progress::export(&desk.prepared()).await.unwrap();
    desk.run_while(async |status| {
        wait_until(|| status.borrow().flows.iter().any(|flow| flow.is_settled)).await;
        let prepared = desk.prepared();
        progress::export(&prepared).await.unwrap();
        for error in [
            progress::import(&prepared, kept.as_bytes(), true).await.unwrap_err(),
            progress::reset(&prepared, &[]).await.unwrap_err(),
        ] {
            assert!(error.is_out_of_reach() && error.to_string().contains("is in use by another process"));
        }
    })
    .await;
    assert_eq!(progress::export(&desk.prepared()).await.unwrap(), kept);
}

#[tokio::test]
async fn an_operator_says_where_partitions_go_on() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 3, &[]);
    for partition in 0..3 {
        desk.fill("test-topic", partition, 0..50);
    }
    let error = progress::export(&desk.prepared()).await.unwrap_err();
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

    let done = progress::reset(&desk.prepared(), &chosen("test-topic", &[1, 2])).await.unwrap();
    assert_eq!(done, ["test-topic-1: forgotten (was 50)", "test-topic-2: forgotten (was 50)"]);
    assert!(progress::reset(&desk.prepared(), &chosen("test-topic", &[1])).await.is_err());
    assert!(progress::export(&desk.prepared()).await.unwrap().contains("\"producer_id\""));

    // One has the source's records in their order, the other has not.
    for partition in 0..3 {
        desk.fill("test-topic", partition, 50..60);
    }
    let reasons = desk.refused().await;
    assert!(reasons.starts_with("test-topic-2: the destination holds records of this flow"), "{reasons}");
    assert!(
        reasons.contains("the source does not have the last of them in this order any more"),
        "{reasons}"
    );
    assert_eq!(desk.copied(TO, 1), up_to(60));
    assert_eq!(desk.copied(TO, 2).len(), 100);
}

#[tokio::test]
async fn a_forgotten_position_is_found_where_the_copy_ends() {
    let desk = copied(Profile::V4_3).await;
    progress::reset(&desk.prepared(), &[]).await.unwrap();
    desk.fill("test-topic", 0, 50..65);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(65));
    let Some(StoredLane::Ours(checkpoint)) = desk.remembered("test-topic", 0) else { panic!("nothing") };
    assert_eq!((checkpoint.next_source, checkpoint.sequence), (Offset(65), 65));

    // In the middle of a batch: the first 7 of 10.
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.destination.create_topic(TO, 1, &[]);
    let producer = r#"{"partition":{"paralog":"producer"},"offset":{"paralog":1,"producer_id":9,"producer_epoch":20001}}"#;
    let document = format!("{{\"paralog\":1,\"connector\":\"replicator-source\",\"offsets\":[{producer}]}}");
    progress::import(&desk.prepared(), document.as_bytes(), false).await.unwrap();
    desk.fill("test-topic", 0, 0..40);
    stamped(&desk.destination, 0..7, 9, 20_001);
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(40));
}

/// A batch at the destination that carries a producer id, from sequence 0 on.
fn stamped(cluster: &Cluster, numbers: std::ops::Range<usize>, id: i64, epoch: i16) {
    let stamp = ProducerStamp { producer_id: ProducerId(id), producer_epoch: epoch, base_sequence: 0 };
    let mut batch = BatchBuilder::new(Codec::None).stamp(stamp);
    for number in numbers {
        batch.append(*NOW_MS, None, Some(number.to_string().as_bytes()), &[]);
    }
    cluster.append(TO, 0, batch.build()).unwrap();
}

#[tokio::test]
async fn a_position_that_two_places_could_be_is_left_to_an_operator() {
    let desk = copied(Profile::V4_3).await;
    progress::reset(&desk.prepared(), &[]).await.unwrap();
    // The same records again, times and all.
    desk.fill("test-topic", 0, 0..50);
    let reasons = desk.refused().await;
    assert!(
        reasons.contains("the source has the same records as the last of them more than once"),
        "{reasons}"
    );
    assert_eq!(desk.copied(TO, 0), up_to(50));
    progress::alter(&desk.prepared(), &chosen("test-topic", &[0]), To::Offset(50)).await.unwrap();
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), (0..50).chain(0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn lost_progress_is_refused_with_the_producer_id_that_finds_it_again() {
    let desk = copied(Profile::V4_3).await;
    let document = progress::export(&desk.prepared()).await.unwrap();
    std::fs::remove_file(desk.offsets()).unwrap();
    desk.fill("test-topic", 0, 50..80);
    let reasons = desk.refused().await;
    let expected = "test-topic-0: the destination partition holds 50 records and nothing is known of an earlier copy; \
                    the last were written under producer id ";
    assert!(reasons.starts_with(expected), "{reasons}");
    assert!(reasons.contains("paralog offsets alter --producer-id"), "{reasons}");
    let numbers: Vec<i64> = reasons[expected.len()..]
        .split(|char: char| !char.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let (id, epoch) = (numbers[0], i16::try_from(numbers[1]).unwrap());
    assert!(document.contains(&format!("\"producer_id\":{id},\"producer_epoch\":{epoch},")), "{document}");
    assert_eq!(desk.copied(TO, 0), up_to(50));

    // A wrong one finds nothing, and nothing is copied.
    progress::set_producer(&desk.prepared(), (id + 1000, epoch)).await.unwrap();
    assert_eq!(desk.refused().await, reasons);
    progress::set_producer(&desk.prepared(), (id, epoch - 1)).await.unwrap();
    assert!(desk.refused().await.contains("records of somebody else under this flow's producer id"));

    let done = progress::set_producer(&desk.prepared(), (id, epoch)).await.unwrap();
    assert!(
        done.ends_with(&format!("writes under producer id {id}, epoch {epoch}, to cluster west")),
        "{done}"
    );
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(80));
    // From here on it is the flow's, and no other.
    let error = progress::set_producer(&desk.prepared(), (id + 1, epoch)).await.unwrap_err();
    assert!(matches!(error, ProgressError::OtherProducer { partitions: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_producer_id_that_the_cluster_gave_to_somebody_else_stops_the_copy() {
    // Asked for its producers, and before there was such a call.
    for profile in [Profile::V4_3, Profile::V1_1] {
        let desk = Desk::new(Profile::V4_3, profile).await;
        desk.source.create_topic("test-topic", 1, &[]);
        desk.fill("test-topic", 0, 0..30);
        desk.destination.create_topic(TO, 1, &[]);
        stamped(&desk.destination, 100..115, 9, 0);
        let producer = Producer {
            producer_id: ProducerId(9),
            producer_epoch: 20_001,
            destination_cluster_id: Some("west".into()),
            stopped_cleanly: true,
            spread_ids: Vec::new(),
        };
        let position = Checkpoint {
            next_source: Offset(5),
            source_leader_epoch: LeaderEpoch(0),
            sent_leader_epoch: LeaderEpoch(0),
            source_topic_id: None,
            fingerprint: None,
            sequence: 5,
            sequence_base: 0,
            destination_end: Offset(5),
            destination_topic_id: None,
            selection: SelectionId::READ_UNCOMMITTED,
            segments: Segments::default(),
        };
        let begun = [(TopicPartition::new("test-topic", 0), StoredLane::Ours(position))].into();
        for lanes in [BTreeMap::new(), begun] {
            let mut store = OffsetFile::open(&desk.offsets()).unwrap().store("replicator-source");
            store.save(&Stored { producer: Some(producer.clone()), lanes, ..Stored::default() }).unwrap();
            drop(store);
            let reasons = desk.refused().await;
            let expected = "records of somebody else under this flow's producer id 9: their epoch is 0, this flow's 20001";
            assert!(reasons.contains(expected), "{profile:?}: {reasons}");
            assert_eq!(desk.copied(TO, 0), (100..115).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn another_cluster_in_the_destinations_place_is_not_written_to() {
    let mut desk = copied(Profile::V4_3).await;
    let before = std::fs::read(desk.offsets()).unwrap();
    let config = Config { cluster_id: "north".to_owned(), ..Config::new(1, Profile::V4_3) };
    desk.destination = Cluster::start(config).await.unwrap();
    let error = desk.catch_up().await.unwrap_err();
    let expected = "the stored progress of connector `replicator-source` belongs to destination cluster `west`, and \
                    this is cluster `north`";
    assert!(error.is_at_start() && error.to_string() == expected, "{error}");
    assert!(error.hint().unwrap().contains("paralog offsets alter --producer-id"));
    assert!(desk.destination.topics().is_empty(), "not even a topic is created there");
    assert_eq!(std::fs::read(desk.offsets()).unwrap(), before);

    // At an operator's word it may be.
    progress::reset(&desk.prepared(), &[]).await.unwrap();
    progress::set_producer(&desk.prepared(), (9, 20_001)).await.unwrap();
    desk.catch_up().await.unwrap();
    assert_eq!(desk.copied(TO, 0), up_to(50));
}
