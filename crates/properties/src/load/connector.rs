//! One connector's settings, and the rules between its properties.

use std::time::Duration;

use model::TopicName;

use super::file::File;
use super::worker::{TOPIC_SETTINGS, interval};
use super::{converters, secured};
use crate::nearest::nearest;
use crate::report::{Problem, Report};
use crate::security::SecuritySettings;
use crate::settings::{
    AclSettings, ClusterSettings, ConnectorSettings, LifeSettings, LimitSettings, OffsetSettings,
    OffsetStart, OnRecreated, ReadingSettings, SelectionSettings, TimestampType, TopicSettings,
    WorkerSettings,
};

/// Reads a connector. `None` if the name or a cluster is missing, so that there is nothing to hold.
pub(super) fn read<'a>(
    file: &File<'a>,
    worker: &File<'a>,
    worker_settings: &WorkerSettings,
    report: &mut Report,
) -> Option<ConnectorSettings> {
    check_class(file, report);
    converters::check(file, worker, report);

    let name = file.text("name");
    if name.is_none() {
        missing(file, "name", "name the connector: its progress is kept under that name", report);
    }
    let shown_name = name.clone().unwrap_or_default();
    let source = read_source(file, &shown_name, report);
    let destination = read_destination(file, worker, &shown_name, report);
    let selection = read_selection(file, report);
    let rename_format = read_rename_format(file, &selection, report);
    let topics = read_topics(file, report);
    let reading = read_reading(file);
    let offsets = read_offsets(file, &shown_name, worker_settings, report);
    let (name, source, destination) = (name?, source?, destination?);

    if rename_format == "${topic}"
        && source.bootstrap.iter().any(|server| destination.bootstrap.contains(server))
    {
        let message = format!(
            "source and destination are one cluster ({}), so each topic would be copied to itself",
            source.bootstrap.join(",")
        );
        let problem = Problem::error(file.place("topic.rename.format"), message);
        report.push(problem.with_hint("set `topic.rename.format`, for example to ${topic}.replica"));
    }
    Some(ConnectorSettings {
        name,
        tasks_max: u32::try_from(file.whole_number_or_default("tasks.max")).unwrap_or(1),
        source,
        destination,
        selection,
        rename_format,
        topics,
        reading,
        offsets,
        appends_to_existing: file.text_or_default("paralog.existing.records") == "append",
        life: read_life(file),
        limits: read_limits(file),
        places: file.entries().map(|entry| (entry.key.clone(), entry.place())).collect(),
        file: file.whole(),
    })
}

fn missing(file: &File<'_>, key: &str, hint: &str, report: &mut Report) {
    let given_empty = file.entry(key).is_some();
    let message = format!("`{key}` is {}", if given_empty { "empty" } else { "missing" });
    report.push(Problem::error(file.place(key), message).with_hint(hint));
}

const REPLICATOR: &str = "io.confluent.connect.replicator.ReplicatorSourceConnector";

fn check_class(file: &File<'_>, report: &mut Report) {
    let Some(class) = file.text("connector.class") else {
        if file.entry("connector.class").is_none_or(|entry| entry.value.trim().is_empty()) {
            missing(file, "connector.class", &format!("write connector.class={REPLICATOR}"), report);
        }
        return;
    };
    // Connect takes a class by its simple name too, and by that without `Connector`.
    if [REPLICATOR, "ReplicatorSourceConnector", "ReplicatorSource", "paralog"].contains(&&*class) {
        return;
    }
    let simple = class.rsplit('.').next().unwrap_or(&class);
    let message = match simple {
        "MirrorSourceConnector" | "MirrorCheckpointConnector" | "MirrorHeartbeatConnector" => {
            format!("`connector.class` is `{class}`: running as MirrorMaker 2 is not built yet")
        }
        _ => format!("`connector.class` is `{class}`: only replication runs here, no other connector"),
    };
    report.push(
        Problem::error(file.place("connector.class"), message)
            .with_hint(format!("to copy topics as Replicator does, write connector.class={REPLICATOR}")),
    );
}

/// A file, and the prefixes to try in it.
type Link<'f, 'a> = (&'f File<'a>, &'static [&'static str]);

/// What `read` finds first for `name` along a chain of files and prefixes.
fn first<'a, T>(
    chain: &[Link<'_, 'a>],
    name: &str,
    read: impl Fn(&File<'a>, &str) -> Option<T>,
) -> Option<T> {
    let mut keys = chain
        .iter()
        .flat_map(|(file, prefixes)| prefixes.iter().map(move |prefix| (*file, format!("{prefix}{name}"))));
    keys.find_map(|(file, key)| read(file, &key))
}

const SOURCE: &[&str] = &["src.consumer.", "src.kafka."];
const DESTINATION: &[&str] = &["dest.kafka.", "producer.override.", "admin.override."];
const WORKER: &[&str] = &["producer.", "admin.", ""];

/// Brokers that are given; unreadable ones were reported and count as given, hence as an empty list.
fn servers(file: &File<'_>, key: &str) -> Option<Vec<String>> {
    file.entry(key).map(|_| file.list(key))
}

fn read_source(file: &File<'_>, name: &str, report: &mut Report) -> Option<ClusterSettings> {
    let chain: &[Link<'_, '_>] = &[(file, SOURCE)];
    let bootstrap = first(chain, "bootstrap.servers", servers);
    if bootstrap.is_none() {
        let hint = "write `host:port` of one or more brokers of the source";
        missing(file, "src.kafka.bootstrap.servers", hint, report);
    }
    let security = secured::read_source(file, report);
    read_cluster(chain, bootstrap?, || format!("{name}-0"), security)
}

fn read_destination<'a>(
    file: &File<'a>,
    worker: &File<'a>,
    name: &str,
    report: &mut Report,
) -> Option<ClusterSettings> {
    let chain: &[Link<'_, '_>] = &[(file, DESTINATION), (worker, WORKER)];
    let bootstrap = first(chain, "bootstrap.servers", servers);
    let security = secured::read_destination(Some(file), worker, bootstrap.as_deref(), report);
    let Some(bootstrap) = bootstrap else {
        let message = "the destination is missing: neither the connector's `dest.kafka.bootstrap.servers` nor the \
                       worker's `bootstrap.servers` is given";
        report.push(
            Problem::error(file.whole(), message)
                .with_hint("write `host:port` of one or more of its brokers"),
        );
        return None;
    };
    // Replicator manages topics at `dest.kafka` and writes records where the worker's producer points. One
    // cluster may have two addresses, so that this need not be a mistake; but it must not pass unseen.
    if let Some(explicit) = file.entry("dest.kafka.bootstrap.servers") {
        let other: [Link<'_, '_>; 2] = [(file, &["producer.override."]), (worker, &["producer.", ""])];
        let other = first(&other, "bootstrap.servers", |file, key| file.entry(key).cloned());
        if let Some(other) = other.filter(|other| other.value.trim() != explicit.value.trim()) {
            let message = format!(
                "the destination is `{}`, not `{}` of `{}` ({})",
                explicit.shown(),
                other.shown(),
                other.key,
                other.place()
            );
            report.push(Problem::info(explicit.place(), message));
        }
    }
    read_cluster(chain, bootstrap, || format!("connector-producer-{name}-0"), security)
}

/// The cluster that the worker itself uses; `None` where no broker is given.
pub(super) fn read_worker_cluster(worker: &File<'_>, report: &mut Report) -> Option<ClusterSettings> {
    let chain: &[Link<'_, '_>] = &[(worker, &[""])];
    let security = secured::read_worker(worker, report);
    read_cluster(chain, worker.list("bootstrap.servers"), || "paralog-offsets".to_owned(), security)
}

fn read_cluster(
    chain: &[Link<'_, '_>],
    bootstrap: Vec<String>,
    client_id: impl Fn() -> String,
    security: SecuritySettings,
) -> Option<ClusterSettings> {
    if bootstrap.is_empty() {
        return None;
    }
    Some(ClusterSettings {
        bootstrap,
        client_id: first(chain, "client.id", File::text).unwrap_or_else(client_id),
        request_timeout: first(chain, "request.timeout.ms", File::millis),
        connect_timeout: first(chain, "socket.connection.setup.timeout.ms", File::millis),
        security,
    })
}

fn read_selection(file: &File<'_>, report: &mut Report) -> SelectionSettings {
    let whitelist = read_topic_names(file, "topic.whitelist", report);
    let blacklist = read_topic_names(file, "topic.blacklist", report);
    let regex = file.text("topic.regex");
    for topic in whitelist.iter().filter(|topic| blacklist.contains(topic)) {
        let message = format!("`{topic}` is in `topic.whitelist` and in `topic.blacklist`: it is not copied");
        report.push(Problem::warning(file.place("topic.blacklist"), message));
    }
    for topic in whitelist.iter().filter(|topic| is_internal(topic.as_str())) {
        let message =
            format!("`topic.whitelist` names `{topic}`, which is internal to Kafka and never copied");
        report.push(Problem::warning(file.place("topic.whitelist"), message));
    }
    if whitelist.is_empty() && regex.is_none() {
        report.push(
            Problem::warning(file.whole(), "no topic is selected: nothing is copied")
                .with_hint("list topics in `topic.whitelist`, or give a pattern in `topic.regex`"),
        );
    }
    SelectionSettings { whitelist, blacklist, regex }
}

fn is_internal(topic: &str) -> bool {
    matches!(
        topic,
        "__cluster_metadata"
            | "__consumer_offsets"
            | "__consumer_timestamps"
            | "__remote_log_metadata"
            | "__share_group_state"
            | "__transaction_state"
    )
}

fn read_topic_names(file: &File<'_>, key: &str, report: &mut Report) -> Vec<TopicName> {
    let mut names: Vec<TopicName> = Vec::new();
    for name in file.list(key) {
        if !is_topic_name(&name) {
            let message = format!("`{key}` names `{name}`, which no topic can be called");
            report.push(
                Problem::warning(file.place(key), message)
                    .with_hint("it lists whole names; patterns go to `topic.regex`"),
            );
        }
        let name = TopicName::from(name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether Kafka takes `name` for a topic.
pub(crate) fn is_topic_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name.chars().all(is_name_character)
}

fn is_name_character(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-')
}

fn read_rename_format(file: &File<'_>, selection: &SelectionSettings, report: &mut Report) -> String {
    const KEY: &str = "topic.rename.format";
    let format = file.text_or_default(KEY);
    if !is_topic_name(&format.replace("${topic}", "topic")) {
        let message = format!("`{KEY}` is `{format}`, which makes no name that Kafka takes for a topic");
        report.push(Problem::error(file.place(KEY), message).with_hint(
            "only `${topic}` is replaced, by the topic's name at the source; beside it letters, digits, `.`, `_` and `-` may stand",
        ));
    } else if !format.contains("${topic}") {
        if let [first, second, ..] = &selection.whitelist[..] {
            let message = format!(
                "`{KEY}` is `{format}` for every topic, so `{first}` and `{second}` would be mixed in one"
            );
            report.push(Problem::error(file.place(KEY), message).with_hint("let it hold `${topic}`"));
        } else if selection.regex.is_some() {
            let message = format!("`{KEY}` is `{format}` for every topic: only one topic can be copied");
            report.push(Problem::warning(file.place(KEY), message).with_hint("let it hold `${topic}`"));
        }
    }
    format
}

fn read_topics(file: &File<'_>, report: &mut Report) -> TopicSettings {
    TopicSettings {
        auto_create: file.boolean_or_default("topic.auto.create"),
        preserve_partitions: file.boolean_or_default("topic.preserve.partitions"),
        replication_factor: i16::try_from(file.whole_number_or_default("dest.topic.replication.factor"))
            .ok()
            .filter(|factor| *factor > 0),
        config_sync: file.boolean_or_default("topic.config.sync"),
        config_sync_exclude: read_sync_exclude(file, report),
        config_sync_include: read_sync_include(file, report),
        config_sync_interval: interval(file, "topic.config.sync.interval.ms", report),
        timestamp_type: match &*file.text_or_default("topic.timestamp.type") {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        poll_interval: interval(file, "topic.poll.interval.ms", report),
        create_backoff: interval(file, "topic.create.backoff.ms", report),
        acls: read_acls(file, report),
    }
}

fn read_acls(file: &File<'_>, report: &mut Report) -> Option<AclSettings> {
    const ENABLED: &str = "sync.topic.acls.enabled";
    const INTERVAL: &str = "sync.topic.acls.interval.seconds";
    const WRITE: &str = "sync.topic.acls.write";
    if !file.boolean_or_default(ENABLED) {
        for key in [INTERVAL, WRITE].into_iter().filter(|key| file.entry(key).is_some()) {
            let message = format!("`{key}` has no effect while `{ENABLED}` is `false`");
            report.push(Problem::warning(file.place(key), message));
        }
        return None;
    }
    let seconds = u64::try_from(file.whole_number_or_default(INTERVAL)).unwrap_or(1);
    Some(AclSettings { interval: Duration::from_secs(seconds), write: file.boolean_or_default(WRITE) })
}

const SYNC_EXCLUDE: &str = "topic.config.sync.exclude";

fn read_sync_exclude(file: &File<'_>, report: &mut Report) -> Vec<String> {
    let names = file.list(SYNC_EXCLUDE);
    for problem in names.iter().filter_map(|name| check_excluded(file, name)) {
        report.push(problem);
    }
    if !names.is_empty() && !file.boolean_or_default("topic.config.sync") {
        let message = format!("`{SYNC_EXCLUDE}` has no effect while `topic.config.sync` is `false`");
        report.push(Problem::warning(file.place(SYNC_EXCLUDE), message));
    }
    names
}

const SYNC_INCLUDE: &str = "topic.config.sync.include";

/// What may be named there: the destination decides of these, unless somebody chooses otherwise. Others follow in
/// any case, or name brokers or storage of the source.
const INCLUDABLE: [&str; 2] = ["min.insync.replicas", "unclean.leader.election.enable"];

fn read_sync_include(file: &File<'_>, report: &mut Report) -> Vec<String> {
    let names = file.list(SYNC_INCLUDE);
    for name in names.iter().filter(|name| !INCLUDABLE.contains(&name.as_str())) {
        let message =
            format!("`{SYNC_INCLUDE}` names `{name}`, which is none of the settings to choose from");
        let hint = format!("those are {}; others follow in any case, or never", INCLUDABLE.join(" and "));
        report.push(Problem::error(file.place(SYNC_INCLUDE), message).with_hint(hint));
    }
    names
}

/// What is wrong with one name of the list, or one beginning of names with a `*` behind it.
fn check_excluded(file: &File<'_>, name: &str) -> Option<Problem> {
    let place = file.place(SYNC_EXCLUDE);
    let beginning = name.strip_suffix('*');
    if !beginning.unwrap_or(name).chars().all(is_name_character) {
        let message = format!("`{SYNC_EXCLUDE}` names `{name}`, which no setting can be called");
        let hint = "it lists names, and beginnings of names with a `*` behind: retention.*";
        return Some(Problem::error(place, message).with_hint(hint));
    }
    let is_meant = |setting: &&str| match beginning {
        Some(beginning) => setting.starts_with(beginning),
        None => *setting == name,
    };
    if TOPIC_SETTINGS.iter().any(is_meant) {
        return None;
    }
    let message = format!("`{SYNC_EXCLUDE}` names `{name}`, which is no known setting of a topic");
    let problem = Problem::warning(place, message);
    Some(match nearest(name, TOPIC_SETTINGS.iter()) {
        Some(setting) => problem.with_hint(format!("did you mean `{setting}`?")),
        None => problem,
    })
}

fn read_reading(file: &File<'_>) -> ReadingSettings {
    ReadingSettings {
        committed_only: file.text_or_default("src.consumer.isolation.level") == "read_committed",
        rack: file.text("src.consumer.client.rack"),
        fetch_wait_max: file.millis("src.consumer.fetch.max.wait.ms"),
        fetch_bytes_min: file.size("src.consumer.fetch.min.bytes"),
        fetch_bytes_max: file.size("src.consumer.fetch.max.bytes"),
        partition_fetch_bytes_max: file.size("src.consumer.max.partition.fetch.bytes"),
    }
}

fn read_offsets(file: &File<'_>, name: &str, worker: &WorkerSettings, report: &mut Report) -> OffsetSettings {
    const START: &str = "offset.start";
    const PERIOD: &str = "offset.topic.commit.batch.period.ms";
    let commit_interval = worker.offset_flush_interval;
    if file.text(PERIOD).is_some() && file.whole_number_or_default(PERIOD) != -1 {
        let message = format!(
            "`{PERIOD}` has no effect: offsets are committed at the source whenever progress is stored, every {} ms \
             (`offset.flush.interval.ms`)",
            commit_interval.as_millis()
        );
        report.push(Problem::warning(file.place(PERIOD), message));
    }
    let start = match &*file.text_or_default(START) {
        "consumer" => OffsetStart::Consumer,
        _ => OffsetStart::Connect,
    };
    if start == OffsetStart::Consumer {
        let message = format!(
            "`{START}` is `consumer`: what the group committed at the source counts only where the worker has no \
             progress of its own, since going back would copy records twice"
        );
        report.push(Problem::warning(file.place(START), message));
    }
    OffsetSettings {
        start,
        group: file.text("src.consumer.group.id").unwrap_or_else(|| name.to_owned()),
        commit_at_source: file.boolean_or_default("offset.topic.commit"),
        commit_interval,
    }
}

fn read_life(file: &File<'_>) -> LifeSettings {
    let recreated = |key| match file.text_or_default(key).as_str() {
        "restart" => OnRecreated::Restart,
        "skip" => OnRecreated::Skip,
        _ => OnRecreated::Stop,
    };
    LifeSettings {
        source_recreated: recreated("paralog.on.source.recreated"),
        skips_overtaken: file.text_or_default("paralog.on.source.overtaken") == "skip",
        follows_truncated: file.text_or_default("paralog.on.source.truncated") == "skip",
        destination_recreated: recreated("paralog.on.destination.recreated"),
    }
}

fn read_limits(file: &File<'_>) -> LimitSettings {
    LimitSettings {
        buffer_bytes_max: file.size("paralog.buffer.bytes.max"),
        produce_bytes_max: file.size("paralog.produce.bytes.max"),
        produce_requests_max: file.size("paralog.produce.requests.max"),
        lane_bytes_max: file.size("paralog.lane.bytes.max"),
        aged_after: file.millis("paralog.aged.after.ms"),
    }
}
