//! What every Kafka client takes.

use super::{Feature, Group, Property, Why, later, used, void};
use crate::value::Kind;

/// Properties of every client, besides security.
pub(super) static CLIENT: Group = Group { title: "Any client", properties: PROPERTIES };

const PROPERTIES: &[Property] = &[
    used(
        "bootstrap.servers",
        Kind::Servers,
        "",
        "the brokers to begin with; needed for the source, and for the destination here or in the worker's file",
    ),
    used(
        "client.id",
        Kind::Text,
        "",
        "how the client names itself to brokers, for quotas and logs; left out, it is made of the connector's name as Kafka Connect does",
    ),
    used("request.timeout.ms", Kind::millis(1), "40000", "how long one request may take (Replicator: 30000)"),
    used(
        "socket.connection.setup.timeout.ms",
        Kind::long_millis(1),
        "10000",
        "how long a connection may take to come up",
    ),
    void(
        "socket.connection.setup.timeout.max.ms",
        Kind::long_millis(0),
        "30000",
        Why::Network,
        "the longest a connection may take to come up after failures",
    ),
    later(
        "client.dns.lookup",
        Kind::OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only", "default"]),
        "use_all_dns_ips",
        Feature::Sockets,
        "which addresses of a host name are tried",
    ),
    void(
        "metadata.max.age.ms",
        Kind::long_millis(0),
        "300000",
        Why::Network,
        "how often metadata is refreshed without a cause; topics are looked at every `topic.poll.interval.ms`",
    ),
    void(
        "metadata.recovery.strategy",
        Kind::OneOf(&["none", "rebootstrap"]),
        "rebootstrap",
        Why::Network,
        "whether to begin again with the bootstrap servers when all known brokers are gone; always done",
    ),
    void(
        "metadata.recovery.rebootstrap.trigger.ms",
        Kind::long_millis(0),
        "300000",
        Why::Network,
        "when to begin again with the bootstrap servers",
    ),
    void("retries", Kind::count(0), "2147483647", Why::Network, "how often a request is repeated"),
    void(
        "default.api.timeout.ms",
        Kind::millis(0),
        "60000",
        Why::Network,
        "how long a call with its repeated requests may take",
    ),
    void(
        "retry.backoff.ms",
        Kind::long_millis(0),
        "100",
        Why::Network,
        "the pause before a request is repeated",
    ),
    void("retry.backoff.max.ms", Kind::long_millis(0), "1000", Why::Network, "the longest such pause"),
    void(
        "reconnect.backoff.ms",
        Kind::long_millis(0),
        "50",
        Why::Network,
        "the pause before a connection is tried again",
    ),
    void("reconnect.backoff.max.ms", Kind::long_millis(0), "1000", Why::Network, "the longest such pause"),
    void(
        "connections.max.idle.ms",
        Kind::long_millis(-1),
        "540000",
        Why::Network,
        "when an idle connection is closed",
    ),
    later(
        "send.buffer.bytes",
        Kind::bytes(-1),
        "131072",
        Feature::Sockets,
        "the socket's send buffer, -1 for the system's",
    ),
    later(
        "receive.buffer.bytes",
        Kind::bytes(-1),
        "65536",
        Feature::Sockets,
        "the socket's receive buffer, -1 for the system's",
    ),
    void("metric.reporters", Kind::Classes, "", Why::Metrics, "classes that pass on client metrics"),
    void(
        "metrics.num.samples",
        Kind::count(1),
        "2",
        Why::Metrics,
        "samples a client metric is computed from",
    ),
    void("metrics.sample.window.ms", Kind::long_millis(0), "30000", Why::Metrics, "the time a sample covers"),
    void(
        "metrics.recording.level",
        Kind::OneOf(&["INFO", "DEBUG", "TRACE"]),
        "INFO",
        Why::Metrics,
        "which client metrics are kept",
    ),
    void("metrics.context.*", Kind::Text, "", Why::Metrics, "labels of client metrics"),
    void(
        "auto.include.jmx.reporter",
        Kind::Boolean,
        "true",
        Why::Metrics,
        "whether client metrics go to JMX",
    ),
    void(
        "enable.metrics.push",
        Kind::Boolean,
        "true",
        Why::Metrics,
        "whether clients send their metrics to brokers that ask (KIP-714)",
    ),
    void(
        "confluent.monitoring.interceptor.*",
        Kind::Text,
        "",
        Why::Monitoring,
        "set-up of Confluent's monitoring interceptors",
    ),
];
