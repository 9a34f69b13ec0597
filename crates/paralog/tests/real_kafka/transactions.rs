//! Transactions at the source, for readers of both isolation levels.

use crate::{
    desk::Desk,
    pair::{Pair, assert_same, count},
};
use real_kafka::{Fill, Transaction};

const RECORDS: u64 = 3_000;

fn copy(source_version: &str, destination_version: &str) {
    let pair = Pair::shared(source_version, destination_version);
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "transactions";
    source_session.create_topic(&source.bootstrap, topic, 3, 1, &[]).unwrap();
    // Each third transaction is aborted; plain records and another producer's transactions lie between.
    let transaction = Transaction { records: 50, abort_every: 3 };
    for part in 0..4 {
        let first = part * RECORDS;
        let fill = Fill::varied(RECORDS, 3).first(first).codec("lz4");
        let fill =
            if part == 2 { fill } else { fill.transactions(&format!("producer-{}", part % 2), transaction) };
        source_session.fill(&source.bootstrap, topic, &fill).unwrap();
    }
    let all = source_session.digest(&source.bootstrap, topic, false).unwrap();
    let committed = source_session.digest(&source.bootstrap, topic, true).unwrap();
    assert_eq!(count(&all), 4 * RECORDS);
    assert_eq!(count(&committed), 4 * RECORDS - 3 * 20 * 50);

    let desk =
        Desk::new(&format!("transactions-{source_version}"), &source.bootstrap, &destination.bootstrap);
    let format = "topic.rename.format=${topic}";
    desk.catch_up(&desk.connector("all", topic, &format!("{format}.all")));
    desk.catch_up(&desk.connector(
        "committed",
        topic,
        &format!("{format}.committed\nsrc.consumer.isolation.level=read_committed"),
    ));
    // Nothing of the copy is transactional, so each reader sees all of it.
    for read_committed in [false, true] {
        let mut digest = |name: &str| {
            destination_session
                .digest(&destination.bootstrap, &format!("{topic}.{name}"), read_committed)
                .unwrap()
        };
        assert_same(&all, &digest("all"));
        assert_same(&committed, &digest("committed"));
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn each_isolation_level_copies_what_its_reader_sees_from_1_1_1() {
    copy("1.1.1", "3.9.2");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn each_isolation_level_copies_what_its_reader_sees_from_2_8_2() {
    copy("2.8.2", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn each_isolation_level_copies_what_its_reader_sees_from_4_3_1() {
    copy("4.3.1", "4.3.1");
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn what_an_open_transaction_holds_back_is_copied_once_it_is_committed() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "open-transaction";
    source_session.create_topic(&source.bootstrap, topic, 1, 1, &[]).unwrap();
    let plain = |first| Fill::plain(100, 1).first(first);
    source_session.fill(&source.bootstrap, topic, &plain(0)).unwrap();
    let never_ended = Transaction { records: 10, abort_every: 0 };
    let fill = Fill::plain(10, 1).first(100).transactions("hangs", never_ended).with("leave-open", "true");
    source_session.fill(&source.bootstrap, topic, &fill).unwrap();
    source_session.fill(&source.bootstrap, topic, &plain(110)).unwrap();

    let desk = Desk::new("open-transaction", &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector("open", topic, "src.consumer.isolation.level=read_committed");
    desk.catch_up(&connector);
    assert_eq!(count(&destination_session.digest(&destination.bootstrap, topic, false).unwrap()), 100);

    // A new producer of the same transactional id aborts what the old one left.
    let fill = Fill::plain(5, 1).first(210).transactions("hangs", Transaction { records: 5, abort_every: 0 });
    source_session.fill(&source.bootstrap, topic, &fill).unwrap();
    desk.catch_up(&connector);
    let copied = destination_session.digest(&destination.bootstrap, topic, false).unwrap();
    assert_same(&source_session.digest(&source.bootstrap, topic, true).unwrap(), &copied);
    assert_eq!(count(&copied), 205);
}
