//! Records that do not keep their partitions.

use super::*;

const TO: &str = "test-topic.replica";
const FROM: i32 = 2;
const OVER: i32 = 3;

/// A key for most records.
fn key(number: usize) -> Option<String> {
    (!number.is_multiple_of(4)).then(|| format!("key {}", number % 13))
}

/// Appends numbers, seven to a batch.
fn fill_keyed(cluster: &Cluster, partition: i32, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(7) {
        let base = Offset(cluster.end_offset("test-topic", partition).unwrap());
        let mut batch = BatchBuilder::new(Codec::Lz4).base_offset(base);
        for number in chunk {
            let (key, value) = (key(*number), number.to_string());
            batch.append(*NOW_MS, key.as_deref().map(str::as_bytes), Some(value.as_bytes()), &[]);
        }
        cluster.append("test-topic", partition, batch.build()).unwrap();
    }
}

fn copied(desk: &Desk) -> Vec<Vec<usize>> {
    (0..OVER).map(|to| desk.copied(TO, to)).collect()
}

/// The numbers of a source partition.
fn numbers_of(from: i32, of_it: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let first = usize::try_from(from).unwrap() * 10_000;
    first + of_it.start..first + of_it.end
}

fn check(desk: &Desk, of_each: usize) {
    let copied = copied(desk);
    let mut all: Vec<usize> = copied.iter().flatten().copied().collect();
    all.sort_unstable();
    let expected: Vec<usize> = (0..FROM).flat_map(|from| numbers_of(from, 0..of_each)).collect();
    assert_eq!(all, expected, "each once");
    for (to, numbers) in (0..OVER).zip(&copied) {
        for number in numbers {
            let belongs =
                key(*number).is_none_or(|key| record_batch::partition_of(key.as_bytes(), OVER) == to);
            assert!(belongs, "{number} is in {to}");
        }
        assert!(numbers.iter().any(|number| key(*number).is_none()), "those without a key are spread");
        for from in 0..FROM {
            let range = numbers_of(from, 0..of_each);
            let of_it = numbers.iter().filter(|number| range.contains(number));
            assert!(of_it.is_sorted(), "in the order of their source partition");
        }
    }
}

#[tokio::test]
async fn records_go_where_their_keys_belong_and_no_partition_is_added() {
    let pairs =
        [(Profile::V4_3, Profile::V4_3), (Profile::V1_1, Profile::V2_8), (Profile::V2_8, Profile::V1_1)];
    for (source, destination) in pairs {
        let mut desk = Desk::new(source, destination).await;
        desk.connector.push_str("topic.preserve.partitions=false\n");
        desk.source.create_topic("test-topic", FROM, &[]);
        desk.destination.create_topic(TO, OVER, &[]);
        (0..FROM).for_each(|from| fill_keyed(&desk.source, from, numbers_of(from, 0..3000)));
        for end in [1, 2000, 4000] {
            desk.run_until(|_| copied(&desk).iter().map(Vec::len).sum::<usize>() >= end).await;
        }
        assert_eq!(desk.catch_up().await.unwrap(), Outcome::CaughtUp);
        check(&desk, 3000);
        assert_eq!(desk.destination.partitions(TO), OVER);
        let Some(StoredLane::Spread(spread)) = desk.remembered("test-topic", 1) else { panic!("not spread") };
        assert_eq!((spread.partitions, spread.next_source()), (OVER, Offset(3000)));

        (0..FROM).for_each(|from| fill_keyed(&desk.source, from, numbers_of(from, 3000..3100)));
        desk.catch_up().await.unwrap();
        check(&desk, 3100);
    }
}

#[tokio::test]
async fn a_copy_that_spread_its_records_does_not_go_on_keeping_their_partitions() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    let connector = desk.connector.clone();
    desk.connector.push_str("topic.preserve.partitions=false\n");
    desk.source.create_topic("test-topic", FROM, &[]);
    desk.destination.create_topic(TO, OVER, &[]);
    (0..FROM).for_each(|from| fill_keyed(&desk.source, from, numbers_of(from, 0..2000)));
    desk.catch_up().await.unwrap();

    desk.connector = connector;
    (0..FROM).for_each(|from| fill_keyed(&desk.source, from, numbers_of(from, 2000..2010)));
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{error:?}") };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons.iter().all(|reason| reason.contains("so far the topic's records were spread")),
        "{reasons:?}"
    );

    desk.connector.push_str("topic.preserve.partitions=false\n");
    desk.catch_up().await.unwrap();
    check(&desk, 2010);
}
