//! What the worker takes: Kafka Connect's, stand-alone first.

use super::{Feature, Group, Property, Status, Why, later, used, void};
use crate::value::{Kind, Unit};

/// The worker's own properties.
pub(super) static WORKER: Group = Group { title: "Worker", properties: WORKER_PROPERTIES };

/// The worker's REST interface.
pub(super) static REST: Group = Group { title: "Worker's REST interface", properties: REST_PROPERTIES };

/// Workers that share connectors.
pub(super) static DISTRIBUTED: Group =
    Group { title: "Distributed worker", properties: DISTRIBUTED_PROPERTIES };

const fn converter(name: &'static str, says: &'static str) -> Property {
    Property { name, kind: Kind::Class, default: None, status: Status::Used, says }
}

const WORKER_PROPERTIES: &[Property] = &[
    used(
        "bootstrap.servers",
        Kind::Servers,
        "",
        "brokers of the destination, for connectors that name none (Kafka Connect: localhost:9092)",
    ),
    used(
        "offset.storage.file.filename",
        Kind::Text,
        "",
        "the file that keeps progress, in Kafka Connect's own format; needed in a worker's file that names no `offset.storage.topic`, and wins over one",
    ),
    used("offset.flush.interval.ms", Kind::long_millis(0), "60000", "how often progress is written"),
    used(
        "offset.flush.timeout.ms",
        Kind::long_millis(1),
        "5000",
        "how long writing it may take before it is given up and tried again",
    ),
    used(
        "task.shutdown.graceful.timeout.ms",
        Kind::long_millis(0),
        "5000",
        "how long a stop waits for what is under way",
    ),
    converter(
        "key.converter",
        "the converter of keys for connectors that name none; those must come out with ByteArrayConverter",
    ),
    converter("value.converter", "the converter of values for connectors that name none"),
    Property {
        name: "header.converter",
        kind: Kind::Class,
        default: Some("org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        status: Status::Used,
        says: "the converter of headers for connectors that name none; Connect's default counts as unset, and headers pass unchanged",
    },
    void("key.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of keys"),
    void("value.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of values"),
    void("header.converter.*", Kind::Text, "", Why::Converter, "set-up of the converter of headers"),
    void("internal.key.converter", Kind::Class, "", Why::Internal, "the converter of progress and settings"),
    void(
        "internal.value.converter",
        Kind::Class,
        "",
        Why::Internal,
        "the converter of progress and settings",
    ),
    void("internal.key.converter.*", Kind::Text, "", Why::Internal, "set-up of that converter"),
    void("internal.value.converter.*", Kind::Text, "", Why::Internal, "set-up of that converter"),
    void("plugin.path", Kind::List, "", Why::Plugins, "folders of Java plugins"),
    void("plugin.discovery", Kind::Text, "hybrid_warn", Why::Plugins, "how these are found"),
    used(
        "config.providers",
        Kind::List,
        "",
        "names of providers of values that are written as `${provider:path:key}`, here and in connectors' files",
    ),
    used(
        "config.providers.*",
        Kind::Text,
        "",
        "their set-up: `.NAME.class` is Kafka's FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider, `.NAME.param.allowed.paths` and `.NAME.param.allowlist.pattern` what they may read",
    ),
    void(
        "connector.client.config.override.policy",
        Kind::Text,
        "All",
        Why::Plugins,
        "which client properties a connector may override; all",
    ),
    void(
        "exactly.once.source.support",
        Kind::OneOf(&["disabled", "preparing", "enabled"]),
        "disabled",
        Why::ExactlyOnce,
        "whether source connectors write in transactions",
    ),
    void(
        "topic.creation.enable",
        Kind::Boolean,
        "true",
        Why::Fixed,
        "whether Connect creates topics by itself",
    ),
    void(
        "topic.tracking.enable",
        Kind::Boolean,
        "true",
        Why::Internal,
        "whether Connect notes which topics a connector uses",
    ),
    void(
        "topic.tracking.allow.reset",
        Kind::Boolean,
        "true",
        Why::Internal,
        "whether these notes may be cleared",
    ),
];

const REST_PROPERTIES: &[Property] = &[
    later("listeners", Kind::List, "", Feature::Rest, "addresses the REST interface listens on"),
    later("listeners.https.*", Kind::Text, "", Feature::Rest, "TLS of these addresses"),
    later("admin.listeners", Kind::List, "", Feature::Rest, "addresses of its administrative part"),
    later("admin.listeners.https.*", Kind::Text, "", Feature::Rest, "TLS of these addresses"),
    later("rest.host.name", Kind::Text, "", Feature::Rest, "the old way to say the address"),
    later("rest.port", Kind::count(0), "8083", Feature::Rest, "the old way to say the port"),
    later("rest.advertised.host.name", Kind::Text, "", Feature::Rest, "the host other workers are told"),
    later("rest.advertised.port", Kind::count(0), "", Feature::Rest, "the port they are told"),
    later("rest.advertised.listener", Kind::Text, "", Feature::Rest, "the scheme they are told"),
    later(
        "rest.extension.classes",
        Kind::Classes,
        "",
        Feature::Rest,
        "classes that add to the REST interface",
    ),
    later(
        "access.control.allow.origin",
        Kind::Text,
        "",
        Feature::Rest,
        "which pages of other hosts may use it",
    ),
    later("access.control.allow.methods", Kind::Text, "", Feature::Rest, "and with which methods"),
    later("response.http.headers.config", Kind::Text, "", Feature::Rest, "headers of its answers"),
    later(
        "ssl.client.auth",
        Kind::OneOf(&["required", "requested", "none"]),
        "none",
        Feature::Rest,
        "whether its clients need a certificate",
    ),
];

const DISTRIBUTED_PROPERTIES: &[Property] = &[
    later("group.id", Kind::Text, "", Feature::Distributed, "the group of workers that share connectors"),
    used(
        "offset.storage.topic",
        Kind::Text,
        "",
        "the topic that keeps progress, in Kafka Connect's own format, on the cluster of the worker's `bootstrap.servers`; created where it is missing",
    ),
    used(
        "offset.storage.partitions",
        Kind::Whole { unit: Unit::Count, min: -1, max: 2_147_483_647 },
        "25",
        "the partitions of that topic where it is created; -1 leaves them to the broker",
    ),
    used(
        "offset.storage.replication.factor",
        Kind::Whole { unit: Unit::Count, min: -1, max: 32767 },
        "3",
        "the copies of each of them; -1 leaves them to the broker",
    ),
    later(
        "config.storage.topic",
        Kind::Text,
        "",
        Feature::Distributed,
        "the topic that keeps connectors' settings",
    ),
    later("status.storage.topic", Kind::Text, "", Feature::Distributed, "the topic that keeps their states"),
    used(
        "offset.storage.*",
        Kind::Text,
        "",
        "further settings of that topic where it is created, such as `segment.bytes`",
    ),
    later("config.storage.*", Kind::Text, "", Feature::Distributed, "how the topic of settings is created"),
    later("status.storage.*", Kind::Text, "", Feature::Distributed, "how the topic of states is created"),
    later(
        "connect.protocol",
        Kind::OneOf(&["eager", "compatible", "sessioned"]),
        "sessioned",
        Feature::Distributed,
        "how workers share connectors",
    ),
    later(
        "session.timeout.ms",
        Kind::millis(0),
        "10000",
        Feature::Distributed,
        "when a silent worker is taken for dead",
    ),
    later(
        "heartbeat.interval.ms",
        Kind::millis(0),
        "3000",
        Feature::Distributed,
        "how often a worker shows that it lives",
    ),
    later(
        "rebalance.timeout.ms",
        Kind::millis(0),
        "60000",
        Feature::Distributed,
        "how long workers have to give up what they run",
    ),
    later(
        "scheduled.rebalance.max.delay.ms",
        Kind::millis(0),
        "300000",
        Feature::Distributed,
        "how long a lost worker's share waits for it",
    ),
    later(
        "worker.sync.timeout.ms",
        Kind::millis(0),
        "3000",
        Feature::Distributed,
        "how long a worker tries to catch up with the group",
    ),
    later(
        "worker.unsync.backoff.ms",
        Kind::millis(0),
        "300000",
        Feature::Distributed,
        "how long it stays out after that",
    ),
    later("inter.worker.*", Kind::Text, "", Feature::Distributed, "how workers sign requests to each other"),
    Property {
        name: "config.storage.replication.factor",
        kind: Kind::Whole { unit: Unit::Count, min: -1, max: 32767 },
        default: Some("3"),
        status: Status::NotBuilt { feature: Feature::Distributed, off: &[], refuse: false },
        says: "the replication factor of the topic of settings",
    },
];
