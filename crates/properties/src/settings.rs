//! The settings of a run as types: what `worker` turns into each crate's `Options`.
//!
//! `Option`s are `None` where nothing was set and the default belongs to the crate that uses the value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::TopicName;

use crate::entry::Place;
use crate::security::SecuritySettings;

/// Where progress is kept when no worker's file says so.
pub const OFFSET_FILE_DEFAULT: &str = "paralog.offsets";

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The process.
    pub worker: WorkerSettings,
    /// The flows, each with a name of its own.
    pub connectors: Vec<ConnectorSettings>,
}

impl Settings {
    /// The files that hold secrets and are named in the settings: key stores, tokens. Some more than once.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_worker = match &self.worker.offset_storage {
            OffsetStorage::File(_) => None,
            OffsetStorage::Topic(topic) => Some(&topic.cluster),
        };
        let clusters = self.connectors.iter().flat_map(|it| [&it.source, &it.destination]).chain(of_worker);
        clusters.flat_map(|cluster| cluster.security.secret_files())
    }
}

/// The process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Where progress is kept.
    pub offset_storage: OffsetStorage,
    /// How often progress is written: `offset.flush.interval.ms`.
    pub offset_flush_interval: Duration,
    /// How long writing it may take: `offset.flush.timeout.ms`.
    pub offset_flush_timeout: Duration,
    /// How long a stop waits for what is under way: `task.shutdown.graceful.timeout.ms`.
    pub shutdown_timeout: Duration,
}

/// Where progress is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetStorage {
    /// In a file, as a standalone Connect worker does: `offset.storage.file.filename`.
    File(PathBuf),
    /// In a topic, as a distributed one does: `offset.storage.topic`.
    Topic(Box<OffsetTopicSettings>),
}

/// The topic that keeps progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetTopicSettings {
    /// How to reach its cluster, the worker's own: `bootstrap.servers`.
    pub cluster: ClusterSettings,
    /// Its name: `offset.storage.topic`.
    pub topic: TopicName,
    /// Its partitions where it is created, `-1` for the broker's default: `offset.storage.partitions`.
    pub partitions: i32,
    /// The copies of each, `-1` for the broker's default: `offset.storage.replication.factor`.
    pub replication_factor: i16,
    /// Its other settings where it is created: `offset.storage.*`, without the prefix.
    pub configs: BTreeMap<String, String>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// The connector's name, never empty.
    pub name: String,
    /// The most tasks it may be shared out to.
    pub tasks_max: u32,
    /// How to reach the source.
    pub source: ClusterSettings,
    /// How to reach the destination.
    pub destination: ClusterSettings,
    /// Which topics are copied.
    pub selection: SelectionSettings,
    /// The name at the destination, `${topic}` standing for the source's: `topic.rename.format`.
    pub rename_format: String,
    /// How topics are kept at the destination.
    pub topics: TopicSettings,
    /// How records are read.
    pub reading: ReadingSettings,
    /// Which progress counts, and where else it is committed.
    pub offsets: OffsetSettings,
    /// Records at the destination that no progress accounts for are left, and copies appended behind them:
    /// `paralog.existing.records=append`. Otherwise their partition is not copied.
    pub appends_to_existing: bool,
    /// What is done about what happens to topics.
    pub life: LifeSettings,
    /// Bounds of the data plane.
    pub limits: LimitSettings,
    /// Where each property was given, for later messages about it.
    pub(crate) places: BTreeMap<String, Place>,
    /// The file, for properties that were not given.
    pub(crate) file: Place,
}

impl ConnectorSettings {
    /// Where `property` was given, or the connector's file: for messages about what only its user can
    /// judge, such as a regular expression that does not compile.
    pub fn place(&self, property: &str) -> Place {
        self.places.get(property).unwrap_or(&self.file).clone()
    }
}

/// How to reach a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The brokers to begin with, as `host:port`, at least one; IPv6 addresses in brackets.
    pub bootstrap: Vec<String>,
    /// How the client names itself.
    pub client_id: String,
    /// How long one request may take.
    pub request_timeout: Option<Duration>,
    /// How long a connection may take to come up.
    pub connect_timeout: Option<Duration>,
    /// How its connections are secured.
    pub security: SecuritySettings,
}

/// Which topics are copied: those in the whitelist or matching the regex, less those in the blacklist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionSettings {
    /// `topic.whitelist`, without repetitions.
    pub whitelist: Vec<TopicName>,
    /// `topic.blacklist`, without repetitions.
    pub blacklist: Vec<TopicName>,
    /// `topic.regex` in Java's syntax, as written; whether it compiles is for its user to find out.
    pub regex: Option<String>,
}

/// How topics are kept at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Missing topics are created: `topic.auto.create`.
    pub auto_create: bool,
    /// Topics get as many partitions as at the source, and records keep theirs: `topic.preserve.partitions`.
    pub preserve_partitions: bool,
    /// The replication factor of created topics, `None` for the source's: `dest.topic.replication.factor`.
    pub replication_factor: Option<i16>,
    /// Topic settings follow the source: `topic.config.sync`.
    pub config_sync: bool,
    /// Settings that do not, each a name or, with a `*` at its end, the beginning of names:
    /// `topic.config.sync.exclude`.
    pub config_sync_exclude: Vec<String>,
    /// Settings about brokers that do all the same: `topic.config.sync.include`.
    pub config_sync_include: Vec<String>,
    /// How often they are compared: `topic.config.sync.interval.ms`.
    pub config_sync_interval: Duration,
    /// Whose time records show: `topic.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// How often the source is looked at: `topic.poll.interval.ms`.
    pub poll_interval: Duration,
    /// The pause before a failed creation or growth is tried again: `topic.create.backoff.ms`.
    pub create_backoff: Duration,
    /// ACLs are copied: `sync.topic.acls.enabled`.
    pub acls: Option<AclSettings>,
}

/// How ACLs are copied, from `sync.topic.acls.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclSettings {
    /// How often they are compared: `sync.topic.acls.interval.seconds`.
    pub interval: Duration,
    /// Rights that change topics are copied, too: `sync.topic.acls.write`.
    pub write: bool,
}

/// Whose time records of the destination show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The source's.
    CreateTime,
    /// That of the append at the destination.
    LogAppendTime,
}

/// How records are read, from `src.consumer.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadingSettings {
    /// Records of aborted and open transactions are left out: `isolation.level=read_committed`.
    pub committed_only: bool,
    /// The rack to fetch from: `client.rack`.
    pub rack: Option<String>,
    /// `fetch.max.wait.ms`.
    pub fetch_wait_max: Option<Duration>,
    /// `fetch.min.bytes`.
    pub fetch_bytes_min: Option<usize>,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: Option<usize>,
    /// `max.partition.fetch.bytes`.
    pub partition_fetch_bytes_max: Option<usize>,
}

/// Which progress counts, and where else it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetSettings {
    /// `offset.start`.
    pub start: OffsetStart,
    /// The group at the source: `src.consumer.group.id`, else the connector's name.
    pub group: String,
    /// Progress is also committed at the source under `group`: `offset.topic.commit`.
    pub commit_at_source: bool,
    /// How often: whenever progress is stored, on the worker's flush interval.
    pub commit_interval: Duration,
}

/// Which progress counts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetStart {
    /// The worker's own, then the group's at the source, then the beginning.
    Connect,
    /// The group's at the source. Warned about, because going back behind the worker's own would copy
    /// records twice: the group's counts only where the worker has none.
    Consumer,
}

/// What is done where a topic was created anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRecreated {
    /// `stop`.
    Stop,
    /// `restart`: from the first record on.
    Restart,
    /// `skip`: what was there before is left out.
    Skip,
}

/// What is done about what happens to topics while they are copied, from `paralog.on.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeSettings {
    /// `paralog.on.source.recreated`.
    pub source_recreated: OnRecreated,
    /// `paralog.on.source.overtaken=skip`; else it stops.
    pub skips_overtaken: bool,
    /// `paralog.on.source.truncated=skip`; else it stops.
    pub follows_truncated: bool,
    /// `paralog.on.destination.recreated`.
    pub destination_recreated: OnRecreated,
}

/// Bounds of the data plane, from `paralog.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// `paralog.buffer.bytes.max`.
    pub buffer_bytes_max: Option<usize>,
    /// `paralog.produce.bytes.max`.
    pub produce_bytes_max: Option<usize>,
    /// `paralog.produce.requests.max`.
    pub produce_requests_max: Option<usize>,
    /// `paralog.lane.bytes.max`.
    pub lane_bytes_max: Option<usize>,
    /// `paralog.aged.after.ms`.
    pub aged_after: Option<Duration>,
}
