//! What Kafka Connect itself takes for any source connector, converters included.

use super::{Feature, Group, Property, Status, Why, later, refused, used, void};
use crate::value::Kind;

/// Connect's own properties of a connector.
pub(super) static CONNECTOR: Group = Group { title: "Connector", properties: PROPERTIES };

const BYTES: &str = "io.confluent.connect.replicator.util.ByteArrayConverter";

const fn converter(name: &'static str, says: &'static str) -> Property {
    Property { name, kind: Kind::Class, default: Some(BYTES), status: Status::Used, says }
}

const PROPERTIES: &[Property] = &[
    used(
        "name",
        Kind::Text,
        "",
        "the connector's name, under which its progress is kept; needed, and no two may share one",
    ),
    used(
        "connector.class",
        Kind::Class,
        "",
        "what runs: `io.confluent.connect.replicator.ReplicatorSourceConnector`, `ReplicatorSourceConnector` or `paralog`; needed",
    ),
    used(
        "tasks.max",
        Kind::count(1),
        "1",
        "the most tasks the connector may be shared out to; one process needs one",
    ),
    void(
        "tasks.max.enforce",
        Kind::Boolean,
        "true",
        Why::Internal,
        "whether more tasks than `tasks.max` are an error",
    ),
    converter(
        "key.converter",
        "how keys are written: as bytes only, by Confluent's or Kafka's ByteArrayConverter; left out, the worker's holds",
    ),
    converter("value.converter", "how values are written: as bytes only; left out, the worker's holds"),
    converter("header.converter", "how headers are written: as bytes only; left out, they pass unchanged"),
    converter("src.key.converter", "how keys are read: as bytes only"),
    converter("src.value.converter", "how values are read: as bytes only"),
    converter("src.header.converter", "how headers are read: as bytes only"),
    void("key.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of keys"),
    void("value.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of values"),
    void("header.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of headers"),
    void(
        "src.key.converter.*",
        Kind::Text,
        "",
        Why::Converter,
        "set-up of the converter of the source's keys",
    ),
    void(
        "src.value.converter.*",
        Kind::Text,
        "",
        Why::Converter,
        "set-up of the converter of the source's values",
    ),
    void(
        "src.header.converter.*",
        Kind::Text,
        "",
        Why::Converter,
        "set-up of the converter of the source's headers",
    ),
    refused(
        "transforms",
        Kind::List,
        "",
        Feature::Transforms,
        &[],
        "names of transforms that change each record",
    ),
    later(
        "transforms.*",
        Kind::Text,
        "",
        Feature::Transforms,
        "set-up of the transforms that `transforms` names",
    ),
    later("predicates", Kind::List, "", Feature::Transforms, "names of conditions for transforms"),
    later("predicates.*", Kind::Text, "", Feature::Transforms, "set-up of these conditions"),
    void(
        "config.action.reload",
        Kind::OneOf(&["restart", "none"]),
        "restart",
        Why::Plugins,
        "whether a connector restarts when a provider changes its settings",
    ),
    void("connector.plugin.version", Kind::Text, "", Why::Plugins, "which version of the class is loaded"),
    void(
        "errors.log.enable",
        Kind::Boolean,
        "false",
        Why::NeverSkipped,
        "whether skipped records are logged",
    ),
    void(
        "errors.log.include.messages",
        Kind::Boolean,
        "false",
        Why::NeverSkipped,
        "whether their contents are",
    ),
    void(
        "errors.retry.timeout",
        Kind::long_millis(-1),
        "0",
        Why::NeverSkipped,
        "how long a failed conversion is tried again",
    ),
    void(
        "errors.retry.delay.max.ms",
        Kind::long_millis(0),
        "60000",
        Why::NeverSkipped,
        "the longest pause between such tries",
    ),
    void(
        "errors.tolerance",
        Kind::OneOf(&["none", "all"]),
        "none",
        Why::NeverSkipped,
        "whether records that fail are skipped",
    ),
    void(
        "topic.creation.groups",
        Kind::List,
        "",
        Why::Fixed,
        "Connect's own way to create topics, which Replicator does not use",
    ),
    void("topic.creation.*", Kind::Text, "", Why::Fixed, "set-up of these groups"),
    void(
        "exactly.once.support",
        Kind::OneOf(&["requested", "required"]),
        "requested",
        Why::ExactlyOnce,
        "whether a connector that cannot copy exactly once is refused",
    ),
    void(
        "transaction.boundary",
        Kind::OneOf(&["poll", "interval", "connector"]),
        "poll",
        Why::ExactlyOnce,
        "when Connect commits a transaction",
    ),
    void("transaction.boundary.interval.ms", Kind::long_millis(1), "", Why::ExactlyOnce, "how often it does"),
    later(
        "offsets.storage.topic",
        Kind::Text,
        "",
        Feature::Distributed,
        "a topic of the connector's own for its progress (KIP-618)",
    ),
    void("task.id", Kind::Text, "", Why::Internal, "a task's name"),
    void("partition.assignment", Kind::Text, "", Why::Internal, "a task's partitions"),
];
