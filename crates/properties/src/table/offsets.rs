//! Progress, and the offsets of consumer groups.

use super::{Feature, Group, Property, Status, later, used};
use crate::value::{Kind, Unit};

/// Progress and translated offsets.
pub(super) static OFFSETS: Group = Group { title: "Offsets", properties: OFFSET_PROPERTIES };

/// The writer of `__consumer_timestamps`, under `src.kafka.`.
pub(super) static TIMESTAMPS: Group = Group { title: "Timestamp writer", properties: TIMESTAMP_PROPERTIES };

const FEATURE: Feature = Feature::Translation;

const OFFSET_PROPERTIES: &[Property] = &[
    used(
        "offset.start",
        Kind::OneOf(&["connect", "consumer"]),
        "connect",
        "which progress counts first: the worker's own, or what the group committed at the source; without either, the beginning",
    ),
    used(
        "offset.topic.commit",
        Kind::Boolean,
        "true",
        "whether progress is also committed at the source, under `src.consumer.group.id`",
    ),
    used(
        "offset.topic.commit.batch.period.ms",
        Kind::millis(-1),
        "-1",
        "-1: with each `offset.flush.interval.ms`; another period has no effect, and a warning says so",
    ),
    Property {
        name: "offset.translator.tasks.max",
        kind: Kind::Whole { unit: Unit::Count, min: -1, max: i32::MAX as i64 },
        default: Some("-1"),
        status: Status::NotBuilt { feature: FEATURE, off: &["0"], refuse: false },
        says: "how many tasks translate offsets of consumer groups, -1 for all, 0 for none",
    },
    Property {
        name: "offset.translator.tasks.separate",
        kind: Kind::Boolean,
        default: Some("false"),
        status: Status::NotBuilt { feature: FEATURE, off: &["false"], refuse: false },
        says: "whether these tasks do nothing else",
    },
    later(
        "offset.translator.batch.period.ms",
        Kind::millis(0),
        "60000",
        FEATURE,
        "how long requests to translate are gathered",
    ),
    later(
        "offset.translator.batch.size",
        Kind::count(1),
        "2147483647",
        FEATURE,
        "how many are gathered at most",
    ),
    Property {
        name: "offset.timestamps.commit",
        kind: Kind::Boolean,
        default: Some("true"),
        status: Status::NotBuilt { feature: FEATURE, off: &["false"], refuse: false },
        says: "whether timestamps are written for the connector's own group, for a copy in the other direction to start from",
    },
    later(
        "fetch.offset.expiry.ms",
        Kind::millis(0),
        "600000",
        FEATURE,
        "how long a request to translate is tried",
    ),
    later(
        "fetch.offset.retry.backoff.ms",
        Kind::millis(0),
        "100",
        FEATURE,
        "the pause before it is tried again",
    ),
];

const TIMESTAMP_PROPERTIES: &[Property] = &[
    later(
        "timestamps.topic.num.partitions",
        Kind::count(1),
        "50",
        FEATURE,
        "partitions of `__consumer_timestamps` when it is created",
    ),
    later("timestamps.topic.replication.factor", Kind::count(1), "3", FEATURE, "its replication factor"),
    later(
        "timestamps.producer.max.per.partition",
        Kind::count(1),
        "2147483647",
        FEATURE,
        "how many timestamps of a partition wait at most",
    ),
    later(
        "timestamps.producer.topic.whitelist",
        Kind::List,
        "",
        FEATURE,
        "topics for which timestamps are written",
    ),
    later("timestamps.producer.topic.blacklist", Kind::List, "", FEATURE, "topics for which none are"),
    later(
        "timestamps.producer.topic.regex",
        Kind::Text,
        "",
        FEATURE,
        "a pattern of topics for which they are",
    ),
    later("timestamps.producer.*", Kind::Text, "", FEATURE, "any property of the producer that writes them"),
];
