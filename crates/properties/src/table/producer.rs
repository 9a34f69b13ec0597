//! What a producer takes: writing to the destination.

use super::consumer::HARMLESS_INTERCEPTORS;
use super::{Feature, Group, Property, Why, refused, void};
use crate::value::{Kind, Unit};

/// Properties of a producer, besides those of every client.
pub(super) static PRODUCER: Group = Group { title: "Producer", properties: PROPERTIES };

const LONG_BYTES: Kind = Kind::Whole { unit: Unit::Bytes, min: 0, max: i64::MAX };

const PROPERTIES: &[Property] = &[
    void(
        "acks",
        Kind::Text,
        "all",
        Why::ExactlyOnce,
        "how many replicas must have a record before it counts; always all in sync",
    ),
    void(
        "enable.idempotence",
        Kind::Boolean,
        "true",
        Why::ExactlyOnce,
        "whether the broker refuses duplicates; always",
    ),
    void(
        "transactional.id",
        Kind::Text,
        "",
        Why::ExactlyOnce,
        "the name under which transactions are written",
    ),
    void(
        "transaction.timeout.ms",
        Kind::millis(0),
        "60000",
        Why::ExactlyOnce,
        "when the broker gives up a transaction",
    ),
    void(
        "transaction.two.phase.commit.enable",
        Kind::Boolean,
        "false",
        Why::ExactlyOnce,
        "whether a transaction may stay prepared",
    ),
    void(
        "max.in.flight.requests.per.connection",
        Kind::count(1),
        "5",
        Why::ExactlyOnce,
        "how many requests may be under way; see `paralog.produce.requests.max`",
    ),
    void("batch.size", Kind::bytes(0), "16384", Why::Producer, "the bytes a batch is filled up to"),
    void("linger.ms", Kind::long_millis(0), "5", Why::Producer, "how long a batch waits to be filled"),
    void(
        "buffer.memory",
        LONG_BYTES,
        "33554432",
        Why::Producer,
        "the bytes of records that wait; see `paralog.buffer.bytes.max`",
    ),
    void(
        "compression.type",
        Kind::Text,
        "none",
        Why::Producer,
        "the codec of batches; each keeps that of the source",
    ),
    void("compression.gzip.level", Kind::count(-1), "-1", Why::Producer, "how hard gzip tries"),
    void("compression.lz4.level", Kind::count(1), "9", Why::Producer, "how hard lz4 tries"),
    void("compression.zstd.level", Kind::count(-131_072), "3", Why::Producer, "how hard zstd tries"),
    void(
        "max.request.size",
        Kind::bytes(0),
        "1048576",
        Why::Producer,
        "the largest request; see `paralog.produce.bytes.max`",
    ),
    void("max.block.ms", Kind::long_millis(0), "60000", Why::Producer, "how long sending may block"),
    void(
        "delivery.timeout.ms",
        Kind::millis(0),
        "120000",
        Why::NeverSkipped,
        "when a record is given up; never",
    ),
    void(
        "metadata.max.idle.ms",
        Kind::long_millis(5000),
        "300000",
        Why::Network,
        "when an unused topic's metadata is forgotten",
    ),
    void(
        "partitioner.class",
        Kind::Class,
        "",
        Why::Fixed,
        "how records are spread; each keeps its partition",
    ),
    void("partitioner.ignore.keys", Kind::Boolean, "false", Why::Fixed, "whether keys count for that"),
    void(
        "partitioner.adaptive.partitioning.enable",
        Kind::Boolean,
        "true",
        Why::Fixed,
        "whether slow brokers get fewer records",
    ),
    void(
        "partitioner.availability.timeout.ms",
        Kind::long_millis(0),
        "0",
        Why::Fixed,
        "when a silent broker gets none",
    ),
    void("key.serializer", Kind::Class, "", Why::Fixed, "how keys are written; as bytes"),
    void("value.serializer", Kind::Class, "", Why::Fixed, "how values are written; as bytes"),
    refused(
        "interceptor.classes",
        Kind::Classes,
        "",
        Feature::Interceptors,
        HARMLESS_INTERCEPTORS,
        "classes that see, and may change, each record; Confluent's monitoring ones are accepted without effect",
    ),
];
