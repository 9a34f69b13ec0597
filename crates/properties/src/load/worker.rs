//! The worker's settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::TopicName;

use super::connector::{is_topic_name, read_worker_cluster};
use super::file::File;
use crate::nearest::nearest;
use crate::report::{Problem, Report};
use crate::settings::{OFFSET_FILE_DEFAULT, OffsetStorage, OffsetTopicSettings, WorkerSettings};

const OFFSET_FILE: &str = "offset.storage.file.filename";
const OFFSET_TOPIC: &str = "offset.storage.topic";
const OFFSET_PARTITIONS: &str = "offset.storage.partitions";
const OFFSET_REPLICATION: &str = "offset.storage.replication.factor";
const OFFSET_PREFIX: &str = "offset.storage.";

/// Kafka's topic settings, up to 4.3.
pub(super) const TOPIC_SETTINGS: [&str; 36] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// The shortest interval that is followed: less would only turn in circles.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) fn read(file: &File<'_>, report: &mut Report) -> WorkerSettings {
    WorkerSettings {
        offset_storage: read_offset_storage(file, report),
        offset_flush_interval: interval(file, "offset.flush.interval.ms", report),
        offset_flush_timeout: file.millis_or_default("offset.flush.timeout.ms"),
        shutdown_timeout: file.millis_or_default("task.shutdown.graceful.timeout.ms"),
    }
}

/// The file where one is named, as a standalone worker keeps progress; else the topic, as a distributed one does.
fn read_offset_storage(file: &File<'_>, report: &mut Report) -> OffsetStorage {
    let topic = file.text(OFFSET_TOPIC);
    if let Some(path) = file.text(OFFSET_FILE) {
        if topic.is_some() {
            let message = format!(
                "`{OFFSET_TOPIC}` has no effect: progress is kept in `{OFFSET_FILE}`, as by a standalone worker"
            );
            let hint = format!("to keep it in the topic, remove `{OFFSET_FILE}`");
            report.push(Problem::warning(file.place(OFFSET_TOPIC), message).with_hint(hint));
        }
        return OffsetStorage::File(PathBuf::from(path));
    }
    if let Some(topic) = topic.and_then(|topic| read_offset_topic(file, topic, report)) {
        return OffsetStorage::Topic(Box::new(topic));
    }
    if file.text(OFFSET_TOPIC).is_none() && !file.is_empty() {
        let message = format!("neither `{OFFSET_FILE}` nor `{OFFSET_TOPIC}` is given");
        let problem = Problem::error(file.whole(), message);
        report.push(problem.with_hint("name the file, or the topic, in which progress is kept"));
    }
    OffsetStorage::File(PathBuf::from(OFFSET_FILE_DEFAULT))
}

/// `None` where what it needs is missing, which is told.
fn read_offset_topic(file: &File<'_>, topic: String, report: &mut Report) -> Option<OffsetTopicSettings> {
    let name = is_topic_name(&topic);
    if !name {
        let message = format!("`{OFFSET_TOPIC}` is `{topic}`, which no topic can be called");
        report.push(Problem::error(file.place(OFFSET_TOPIC), message));
    }
    for (key, number) in [
        (OFFSET_PARTITIONS, file.whole_number_or_default(OFFSET_PARTITIONS)),
        (OFFSET_REPLICATION, file.whole_number_or_default(OFFSET_REPLICATION)),
    ] {
        if number == 0 {
            let problem = Problem::error(file.place(key), format!("`{key}` is 0"));
            report.push(problem.with_hint("it takes 1 or more, or -1 for the broker's default"));
        }
    }
    let cluster = read_worker_cluster(file, report);
    if cluster.is_none() && file.entry("bootstrap.servers").is_none() {
        let message = format!("`bootstrap.servers` is missing, the cluster of `{OFFSET_TOPIC}`");
        let problem = Problem::error(file.whole(), message);
        report.push(problem.with_hint("write `host:port` of one or more of its brokers"));
    }
    let mut configs = BTreeMap::new();
    for entry in file.entries() {
        let Some(key) = entry.key.strip_prefix(OFFSET_PREFIX) else { continue };
        match key {
            "topic" | "partitions" | "replication.factor" | "file.filename" => {}
            // As Connect does: it would lose progress.
            "cleanup.policy" if entry.value.trim() != "compact" => {
                let message = format!("`{}` is ignored: the topic is compacted in any case", entry.key);
                report.push(Problem::warning(entry.place(), message));
            }
            _ => {
                if !TOPIC_SETTINGS.contains(&key) {
                    let message = format!("`{}` is no known setting of a topic", entry.key);
                    let problem = Problem::warning(entry.place(), message);
                    report.push(match nearest(key, TOPIC_SETTINGS.iter()) {
                        Some(name) => problem.with_hint(format!("did you mean `{OFFSET_PREFIX}{name}`?")),
                        None => {
                            problem.with_hint("brokers create no topic with a setting that they do not know")
                        }
                    });
                }
                configs.insert(key.to_owned(), entry.value.trim().to_owned());
            }
        }
    }
    configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
    Some(OffsetTopicSettings {
        cluster: cluster.filter(|_| name)?,
        topic: TopicName::from(topic),
        partitions: i32::try_from(file.whole_number_or_default(OFFSET_PARTITIONS)).unwrap_or(-1),
        replication_factor: i16::try_from(file.whole_number_or_default(OFFSET_REPLICATION)).unwrap_or(-1),
        configs,
    })
}

/// An interval, lifted to [`INTERVAL_MIN`] with a warning.
pub(super) fn interval(file: &File<'_>, key: &str, report: &mut Report) -> Duration {
    let interval = file.millis_or_default(key);
    if interval < INTERVAL_MIN {
        let message = format!("`{key}` is {}; 100 is taken, the shortest there is", interval.as_millis());
        report.push(Problem::warning(file.place(key), message));
    }
    interval.max(INTERVAL_MIN)
}
