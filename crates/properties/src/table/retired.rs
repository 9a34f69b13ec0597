//! What has had its day, or never had one: ZooKeeper, the licence, and names that nobody reads.

use super::{Group, Property, Status, Why, void};
use crate::value::Kind;

/// Accepted for the files that still hold it.
pub(super) static RETIRED: Group = Group { title: "ZooKeeper and licence", properties: RETIRED_PROPERTIES };

/// The licence in a worker's file.
pub(super) static LICENCE: Group = Group { title: "Licence", properties: LICENCE_PROPERTIES };

/// Written in public files, read by nobody.
pub(super) static MISNOMERS: Group =
    Group { title: "Often written, never read", properties: MISNOMER_PROPERTIES };

const fn misnomer(name: &'static str, meant: &'static str) -> Property {
    let status = Status::Misnomer(meant);
    Property { name, kind: Kind::Text, default: None, status, says: "not a property of Replicator" }
}

const RETIRED_PROPERTIES: &[Property] = &[
    void("src.zookeeper.connect", Kind::Text, "", Why::ZooKeeper, "ZooKeeper of the source"),
    void(
        "src.zookeeper.connection.timeout.ms",
        Kind::millis(0),
        "6000",
        Why::ZooKeeper,
        "how long connecting to it may take",
    ),
    void(
        "src.zookeeper.session.timeout.ms",
        Kind::millis(0),
        "6000",
        Why::ZooKeeper,
        "when its session ends",
    ),
    void("dest.zookeeper.connect", Kind::Text, "", Why::ZooKeeper, "ZooKeeper of the destination"),
    void(
        "dest.zookeeper.connection.timeout.ms",
        Kind::millis(0),
        "6000",
        Why::ZooKeeper,
        "how long connecting to it may take",
    ),
    void(
        "dest.zookeeper.session.timeout.ms",
        Kind::millis(0),
        "6000",
        Why::ZooKeeper,
        "when its session ends",
    ),
    void("confluent.license", Kind::Password, "", Why::Licence, "Confluent's licence key"),
    void("confluent.license.*", Kind::Text, "", Why::Licence, "where the licence is kept"),
    void(
        "confluent.topic",
        Kind::Text,
        "_confluent-command",
        Why::Licence,
        "the topic that holds the licence",
    ),
    void("confluent.topic.replication.factor", Kind::count(1), "3", Why::Licence, "its replication factor"),
    void("confluent.topic.*", Kind::Text, "", Why::Licence, "the connection to the cluster that holds it"),
    void(
        "confluent.monitoring.interceptor.*",
        Kind::Text,
        "",
        Why::Monitoring,
        "set-up of Confluent's monitoring interceptors",
    ),
];

const LICENCE_PROPERTIES: &[Property] = &[
    void("confluent.license", Kind::Password, "", Why::Licence, "Confluent's licence key"),
    void("confluent.license.*", Kind::Text, "", Why::Licence, "where the licence is kept"),
    void("confluent.topic.*", Kind::Text, "", Why::Licence, "the connection to the cluster that holds it"),
    void("confluent.metrics.*", Kind::Text, "", Why::Monitoring, "Confluent's metrics and telemetry"),
    void("confluent.telemetry.*", Kind::Text, "", Why::Monitoring, "Confluent's metrics and telemetry"),
];

const MISNOMER_PROPERTIES: &[Property] = &[
    misnomer("topic.sync", "topic.config.sync"),
    misnomer("retry.backoff.ms", "src.kafka.retry.backoff.ms"),
    misnomer("max.request.size", "producer.override.max.request.size"),
    misnomer("batch.size", "producer.override.batch.size"),
    misnomer("replication.factor", "dest.topic.replication.factor"),
    misnomer("dest.kafka.replication.factor", "dest.topic.replication.factor"),
];
