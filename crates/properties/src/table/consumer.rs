//! What a consumer takes: reading from the source.

use super::{Feature, Group, Property, Why, refused, used, void};
use crate::value::Kind;

/// Properties of a consumer, besides those of every client.
pub(super) static CONSUMER: Group = Group { title: "Consumer", properties: PROPERTIES };

/// Interceptors that leave records alone: they report to Confluent's Control Center, or write timestamps
/// for the translation of offsets.
pub(super) const HARMLESS_INTERCEPTORS: &[&str] = &[
    "io.confluent.monitoring.clients.interceptor.MonitoringConsumerInterceptor",
    "io.confluent.monitoring.clients.interceptor.MonitoringProducerInterceptor",
    "io.confluent.connect.replicator.offsets.ConsumerTimestampsInterceptor",
];

const PROPERTIES: &[Property] = &[
    used(
        "group.id",
        Kind::Text,
        "",
        "the group at the source under which progress is committed; left out, it is the connector's name",
    ),
    used(
        "isolation.level",
        Kind::OneOf(&["read_uncommitted", "read_committed"]),
        "read_uncommitted",
        "whether records of aborted transactions are copied, as Replicator copies them, or left out with those of open ones",
    ),
    used(
        "client.rack",
        Kind::Text,
        "",
        "the rack to fetch from where the source offers replicas of several (KIP-392)",
    ),
    used(
        "fetch.max.wait.ms",
        Kind::millis(0),
        "500",
        "how long the source waits for records before it answers an empty fetch",
    ),
    used(
        "fetch.min.bytes",
        Kind::bytes(0),
        "1",
        "how many bytes the source waits for, up to `fetch.max.wait.ms`",
    ),
    used(
        "fetch.max.bytes",
        Kind::bytes(0),
        "",
        "the bytes of one fetch reply, unless a single batch is larger; unset: 4194304, or as many as the way is long \
         (Replicator: 52428800)",
    ),
    used(
        "max.partition.fetch.bytes",
        Kind::bytes(0),
        "",
        "the bytes of one partition within a fetch reply, unless a single batch is larger; unset: 1048576 or less, so that \
         several share a reply, or as many as the way is long (Replicator: 1048576)",
    ),
    refused(
        "auto.offset.reset",
        Kind::Text,
        "none",
        Feature::StartAtEnd,
        &["none", "earliest"],
        "where to begin without progress; Replicator fixes it, and begins at the beginning",
    ),
    refused(
        "interceptor.classes",
        Kind::Classes,
        "",
        Feature::Interceptors,
        HARMLESS_INTERCEPTORS,
        "classes that see, and may change, each record; Confluent's monitoring ones are accepted without effect",
    ),
    void(
        "check.crcs",
        Kind::Boolean,
        "true",
        Why::Fixed,
        "whether checksums are verified; damage is always caught, here or at the destination",
    ),
    void("max.poll.records", Kind::count(1), "500", Why::Consumer, "how many records a poll returns"),
    void("max.poll.interval.ms", Kind::millis(1), "300000", Why::Consumer, "how long may pass between polls"),
    void(
        "session.timeout.ms",
        Kind::millis(0),
        "45000",
        Why::Consumer,
        "when a silent group member is taken for dead",
    ),
    void(
        "heartbeat.interval.ms",
        Kind::millis(0),
        "3000",
        Why::Consumer,
        "how often a group member shows that it lives",
    ),
    void("group.instance.id", Kind::Text, "", Why::Consumer, "a group member's lasting name"),
    void("group.protocol", Kind::Text, "classic", Why::Consumer, "which group protocol is spoken"),
    void("group.remote.assignor", Kind::Text, "", Why::Consumer, "the assignor on the group's coordinator"),
    void("partition.assignment.strategy", Kind::Classes, "", Why::Fixed, "how a group shares partitions"),
    void("enable.auto.commit", Kind::Boolean, "false", Why::Fixed, "whether the consumer commits by itself"),
    void("auto.commit.interval.ms", Kind::millis(0), "5000", Why::Fixed, "how often it would"),
    void(
        "allow.auto.create.topics",
        Kind::Boolean,
        "false",
        Why::Fixed,
        "whether asking for a topic creates it",
    ),
    void(
        "exclude.internal.topics",
        Kind::Boolean,
        "true",
        Why::Fixed,
        "whether patterns leave out internal topics; they are never copied",
    ),
    void("key.deserializer", Kind::Class, "", Why::Fixed, "how keys are read; as bytes"),
    void("value.deserializer", Kind::Class, "", Why::Fixed, "how values are read; as bytes"),
];
