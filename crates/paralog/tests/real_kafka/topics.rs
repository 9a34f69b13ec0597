//! Which topics are copied, and what they are like at the destination.

use crate::{
    desk::{Desk, PATIENCE, stop_cleanly},
    pair::{Pair, assert_same},
};
use real_kafka::{Config, Fill, wait_until};

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_regular_expression_selects_and_the_blacklist_wins() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    for topic in ["shop.orders", "shop.carts", "shop.test-orders", "shop.orders.old", "workshop.x"] {
        source_session.create_topic(&source.bootstrap, topic, 1, 1, &[]).unwrap();
        source_session.fill(&source.bootstrap, topic, &Fill::plain(5, 1)).unwrap();
    }
    // Transactions make the source's internal topics.
    let desk = Desk::new("selection", &source.bootstrap, &destination.bootstrap);
    let connector = desk.connector(
        "selection",
        r"shop\\.(?!test-).*|__.*",
        "topic.blacklist=shop.orders.old\ntopic.rename.format=selected-${topic}",
    );
    desk.catch_up(&connector);
    let mut selected = destination.session().topics(&destination.bootstrap).unwrap();
    selected.retain(|topic| topic.starts_with("selected-"));
    assert_eq!(selected, ["selected-shop.carts", "selected-shop.orders"]);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_topic_is_made_like_its_source_and_grows_with_it() {
    let pair = Pair::shared("4.3.1", "4.3.1");
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    let mut destination_session = destination.session();
    let topic = "growing";
    let settings =
        [("retention.ms", "1234567890"), ("max.message.bytes", "2000000"), ("compression.type", "gzip")];
    source_session.create_topic(&source.bootstrap, topic, 2, 1, &settings).unwrap();
    source_session.fill(&source.bootstrap, topic, &Fill::varied(1_000, 2)).unwrap();
    let desk = Desk::new("growing", &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector("growing", topic, ""));
    destination_session.wait_for_records(&destination.bootstrap, topic, 1_000, PATIENCE).unwrap();
    let copy = destination_session.describe_topic(&destination.bootstrap, topic).unwrap().unwrap();
    assert_eq!(copy.partitions, 2);
    let setting = |key: &str| copy.settings.get(key).map(String::as_str);
    assert_eq!(setting("retention.ms"), Some("1234567890"));
    assert_eq!(setting("max.message.bytes"), Some("2000000"));
    assert_eq!(
        setting("compression.type"),
        Some("producer"),
        "or the broker would compress every batch again"
    );

    source_session.grow_topic(&source.bootstrap, topic, 5).unwrap();
    source_session.fill(&source.bootstrap, topic, &Fill::varied(1_000, 5).first(1_000)).unwrap();
    destination_session.wait_for_records(&destination.bootstrap, topic, 2_000, PATIENCE).unwrap();
    let original = source_session.digest(&source.bootstrap, topic, false).unwrap();
    assert_eq!(original.len(), 5);
    assert_same(&original, &destination_session.digest(&destination.bootstrap, topic, false).unwrap());
    stop_cleanly(process);
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn a_topic_that_wants_more_brokers_is_made_when_they_are_there() {
    let pair = Pair::start(("3.9.2", &Config::brokers(1)), ("4.3.1", &Config::brokers(2)));
    let (source, destination) = (&pair.source, &pair.destination);
    let mut source_session = source.session();
    source_session.create_topic(&source.bootstrap, "wide", 1, 1, &[]).unwrap();
    source_session.fill(&source.bootstrap, "wide", &Fill::plain(10, 1)).unwrap();
    let desk = Desk::new("wide", &source.bootstrap, &destination.bootstrap);
    let process = desk.run(&desk.connector(
        "wide",
        "wide",
        "dest.topic.replication.factor=3\ntopic.create.backoff.ms=1000",
    ));
    wait_until("the refusal to be told", PATIENCE, || {
        Ok(process.log_tail().contains("3 replicas are wanted, the destination has 2 brokers").then_some(()))
    })
    .unwrap();
    assert!(destination.session().topics(&destination.bootstrap).unwrap().is_empty());
    stop_cleanly(process);

    let process = desk.run(&desk.connector(
        "wide",
        "wide",
        "dest.topic.replication.factor=2\ntopic.create.backoff.ms=1000",
    ));
    destination.session().wait_for_records(&destination.bootstrap, "wide", 10, PATIENCE).unwrap();
    stop_cleanly(process);
}
