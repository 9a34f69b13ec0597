//! Which topics are copied, and how they are kept at the destination.

use super::{Feature, Group, Property, Why, later, refused, used, void};
use crate::value::{Kind, Unit};

/// Which topics are copied.
pub(super) static SELECTION: Group = Group { title: "Source topics", properties: SELECTION_PROPERTIES };

/// How topics are kept at the destination.
pub(super) static TOPICS: Group = Group { title: "Destination topics", properties: TOPIC_PROPERTIES };

const SELECTION_PROPERTIES: &[Property] = &[
    used("topic.whitelist", Kind::List, "", "topics to copy"),
    used("topic.blacklist", Kind::List, "", "topics never to copy, whatever the other two say"),
    used(
        "topic.regex",
        Kind::Text,
        "",
        "a Java regular expression of topics to copy, matched against the whole name",
    ),
    used(
        "topic.poll.interval.ms",
        Kind::millis(0),
        "120000",
        "how often the source is looked at for new topics and partitions",
    ),
    void(
        "consumer.poll.timeout.interval.ms",
        Kind::millis(0),
        "5000",
        Why::Consumer,
        "how long an empty poll waits",
    ),
];

const TOPIC_PROPERTIES: &[Property] = &[
    used(
        "topic.rename.format",
        Kind::Text,
        "${topic}",
        "the name at the destination, where `${topic}` stands for the name at the source",
    ),
    used("topic.auto.create", Kind::Boolean, "true", "whether missing topics are created"),
    used(
        "topic.preserve.partitions",
        Kind::Boolean,
        "true",
        "whether topics at the destination get as many partitions as at the source and records keep theirs; if not, records are spread by their keys, as Java's producers do it, over the partitions that there are",
    ),
    used(
        "topic.create.backoff.ms",
        Kind::millis(0),
        "120000",
        "the pause before a topic that could not be created or grown is tried again",
    ),
    used(
        "topic.config.sync",
        Kind::Boolean,
        "true",
        "whether the settings of topics follow the source, those that are unset there too",
    ),
    used(
        "topic.config.sync.exclude",
        Kind::List,
        "",
        "settings that do not follow, once a topic is created: names, or with a `*` at the end beginnings of names (Paralog's own)",
    ),
    used(
        "topic.config.sync.include",
        Kind::List,
        "",
        "settings that follow only where they are named here: `min.insync.replicas`, `unclean.leader.election.enable` (Paralog's own)",
    ),
    used("topic.config.sync.interval.ms", Kind::millis(0), "120000", "how often they are compared"),
    used(
        "topic.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "whose time records show: the source's, or that of the append at the destination",
    ),
    used(
        "dest.topic.replication.factor",
        Kind::Whole { unit: Unit::Count, min: 0, max: 32767 },
        "0",
        "the replication factor of created topics, 0 for that of the source",
    ),
    used(
        "sync.topic.acls.enabled",
        Kind::Boolean,
        "false",
        "whether the ACLs of copied topics, and those of all groups, are copied, and removals of them followed",
    ),
    used(
        "sync.topic.acls.interval.seconds",
        Kind::Whole { unit: Unit::Seconds, min: 1, max: 2_147_483_647 },
        "600",
        "how often they are compared",
    ),
    used(
        "sync.topic.acls.write",
        Kind::Boolean,
        "false",
        "whether ACLs that allow to change topics (`WRITE`, `CREATE`, `DELETE`, `ALTER`, `ALTER_CONFIGS`) are copied, too; if not, `ALL` becomes `READ` and `DESCRIBE_CONFIGS` (Paralog's own)",
    ),
    refused(
        "provenance.header.enable",
        Kind::Boolean,
        "false",
        Feature::Provenance,
        &["false"],
        "whether records get a header that says where they come from, and those that would go round in a circle are left out",
    ),
    later(
        "provenance.header.filter.overrides",
        Kind::Text,
        "",
        Feature::Provenance,
        "records that are copied though they go round in a circle",
    ),
];
