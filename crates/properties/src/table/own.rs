//! What is ours alone: the bounds and limits of the data plane.

use super::{Group, Property, used};
use crate::value::{Kind, Unit};

/// Our own properties.
pub(super) static OWN: Group = Group { title: "Paralog's own", properties: PROPERTIES };

const fn between(unit: Unit, min: i64, max: i64) -> Kind {
    Kind::Whole { unit, min, max }
}

const PROPERTIES: &[Property] = &[
    used(
        "paralog.buffer.bytes.max",
        between(Unit::Bytes, 1 << 20, 1 << 40),
        "33554432",
        "the bytes of record batches held at any time, over all partitions: the bound on memory, of which brokers that are \
         near take a part",
    ),
    used(
        "paralog.produce.bytes.max",
        between(Unit::Bytes, 1 << 10, 1 << 30),
        "4194304",
        "the bytes of one produce request, unless a single batch is larger",
    ),
    used(
        "paralog.produce.requests.max",
        between(Unit::Count, 1, 1000),
        "",
        "how many produce requests may be under way on one connection; unset: 5, or as many as the way is long",
    ),
    used(
        "paralog.lane.bytes.max",
        between(Unit::Bytes, 1 << 16, 1 << 40),
        "",
        "the bytes of one partition's batches held at any time: one that holds so much is read no further; unset: 8388608, or \
         as many as the way is long",
    ),
    used(
        "paralog.existing.records",
        Kind::OneOf(&["refuse", "append"]),
        "refuse",
        "what happens to a partition whose copy holds records that no known progress accounts for: it is not \
         copied, because they may be copies already, or copies are appended behind them",
    ),
    used(
        "paralog.on.source.recreated",
        Kind::OneOf(&["stop", "restart", "skip"]),
        "stop",
        "what a partition does whose source topic was deleted and created anew: it stops, copies the new topic from its \
         first record behind the old one's copy, or copies only what comes from then on; it stops in any case where \
         the source's brokers are older than Kafka 3.1, which do not tell the two apart",
    ),
    used(
        "paralog.on.source.overtaken",
        Kind::OneOf(&["stop", "skip"]),
        "stop",
        "what a partition does whose source deleted records before they were copied: it stops, or goes on without them \
         (to restart would be the same)",
    ),
    used(
        "paralog.on.source.truncated",
        Kind::OneOf(&["stop", "skip"]),
        "stop",
        "what a partition does whose source lost records that were copied (an unclean election): it stops, or goes on with \
         what the source has in their place, behind those in the copy; it stops in any case where the source does not \
         tell the very offset from which its log is another one",
    ),
    used(
        "paralog.on.destination.recreated",
        Kind::OneOf(&["stop", "restart", "skip"]),
        "restart",
        "what a partition does whose destination topic was deleted and created anew, and is empty: it stops, copies all \
         that the source still has, or copies only what was not copied before",
    ),
    used(
        "paralog.aged.after.ms",
        Kind::long_millis(0),
        "72000000",
        "records older than this are copied with one request of a partition under way: less than the destination's `producer.id.expiration.ms` (24 h)",
    ),
];
