//! One connector's settings as the options of the crates that carry it out.
//!
//! The last step of reading settings: what only its user can judge (a regular expression, a rename
//! format) is judged here, and told in the same report as everything else.

use std::collections::BTreeSet;

use control::AclOptions;
use model::{TimestampRule, Users};
use pipeline::{ExistingRecords, Isolation, Missing, Policies, Recreated};
use properties::{
    ClusterSettings, ConnectorSettings, LifeSettings, OffsetStorage, OffsetTopicSettings, OnRecreated, Place,
    Problem, Report, Settings, TimestampType, WorkerSettings,
};
use topology::rights::{Claims, Right, rights};
use topology::{
    AclRules, Naming, Pattern, Selection, SettingNames, SettingProblem, TopicPolicy, check_settings,
};

use crate::secured::{self, Logins};
use crate::start_up::End;

/// A connector that is ready to be started.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) name: String,
    pub(crate) source: client::Options,
    pub(crate) source_end: End,
    pub(crate) destination: client::Options,
    pub(crate) destination_end: End,
    pub(crate) control: control::Options,
    pub(crate) pipeline: pipeline::Options,
}

/// Everything to start, or everything that stands in the way of it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) worker: WorkerSettings,
    pub(crate) logins: Logins,
    pub(crate) connectors: Vec<Connector>,
    /// What there is to say about them that forbids no start.
    pub remarks: Report,
}

impl Prepared {
    /// What each connector's users must be allowed to do, by the connector's name, as far as that is told by the
    /// settings alone.
    pub fn rights(&self) -> Vec<(String, Vec<Right>)> {
        let of = |connector: &Connector| (connector.name.clone(), connector.rights(&self.worker, None));
        self.connectors.iter().map(of).collect()
    }
}

impl Connector {
    /// Who it is at both clusters.
    pub(crate) fn users(&self) -> Users {
        self.pipeline.users.clone()
    }

    /// What its users must be allowed to do. `since_2_8`: the destination is of 2.8 or newer, if that is known.
    pub(crate) fn rights(&self, worker: &WorkerSettings, since_2_8: Option<bool>) -> Vec<Right> {
        rights(&Claims {
            selection: &self.control.selection,
            naming: &self.control.naming,
            topics: &self.control.topics,
            group: self.pipeline.start_group.as_deref(),
            commits: self.pipeline.source_group.is_some(),
            acls: self.control.acls.is_some(),
            progress_topic: match &worker.offset_storage {
                OffsetStorage::File(_) => None,
                OffsetStorage::Topic(settings) => Some(settings.topic.as_str()),
            },
            destination_since_2_8: since_2_8,
        })
    }
}

/// Writing the offsets file must not wait for the transcoding of a large batch, nor for those who give out tokens.
const OTHER_BLOCKING_THREADS: usize = 4;

/// How many threads a run wants for work that blocks: transcoding, files and the look-up of names.
pub fn blocking_threads_max() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    cores + OTHER_BLOCKING_THREADS
}

/// Turns settings into what can be started; connects to nothing, but opens the stores of keys and certificates.
///
/// # Errors
/// A [`Report`] of all problems, of all connectors.
pub fn prepare(settings: &Settings, logins: Logins) -> Result<Prepared, Report> {
    let mut report = Report::new();
    if let OffsetStorage::Topic(topic) = &settings.worker.offset_storage {
        let options = offset_topic_options(topic, &logins);
        let whose = "the cluster of `offset.storage.topic`";
        report.extend(secured::problem(whose, &topic.cluster, &options, Place::none()));
    }
    let several = settings.connectors.len() > 1;
    let connectors: Vec<Connector> = settings
        .connectors
        .iter()
        .filter_map(|connector| prepare_one(&settings.worker, connector, several, &logins, &mut report))
        .collect();
    if report.has_errors() {
        return Err(report);
    }
    Ok(Prepared { worker: settings.worker.clone(), logins, connectors, remarks: report })
}

fn prepare_one(
    worker: &WorkerSettings,
    connector: &ConnectorSettings,
    several: bool,
    logins: &Logins,
    report: &mut Report,
) -> Option<Connector> {
    let mut refuse = |property: &str, message: String| {
        report.push(Problem::error(connector.place(property), message));
    };
    let regex = match connector.selection.regex.as_deref().map(Pattern::new).transpose() {
        Ok(regex) => Some(regex),
        Err(error) => {
            refuse("topic.regex", format!("`topic.regex`: {error}"));
            None
        }
    };
    let naming = match Naming::new(&connector.rename_format) {
        Ok(naming) => Some(naming),
        Err(error) => {
            refuse("topic.rename.format", error.to_string());
            None
        }
    };
    let (regex, naming) = (regex?, naming?);
    let selection = Selection {
        whitelist: connector.selection.whitelist.iter().cloned().collect::<BTreeSet<_>>(),
        blacklist: connector.selection.blacklist.iter().cloned().collect::<BTreeSet<_>>(),
        regex,
    };
    let problems = check_settings(&selection, &naming);
    for SettingProblem { property, text, forbids_start } in &problems {
        let place = connector.place(property);
        report.push(match forbids_start {
            true => Problem::error(place, text),
            false => Problem::warning(place, text),
        });
    }
    if problems.iter().any(|problem| problem.forbids_start) {
        return None;
    }
    let end = |side: &'static str, property: &'static str, cluster: &ClusterSettings| End {
        connector: connector.name.clone(),
        side,
        bootstrap: cluster.bootstrap.join(","),
        property,
    };
    let client_options = |side: &str, cluster: &ClusterSettings| {
        let name = if several { format!("{}/{side}", connector.name) } else { side.to_owned() };
        let (of, is_source) = (connector.name.clone(), side == "source");
        secured::client_options(&name, cluster, logins, move |settings| {
            let connector = settings.connectors.iter().find(|connector| connector.name == of)?;
            Some(if is_source { &connector.source } else { &connector.destination })
        })
    };
    let source = client_options("source", &connector.source);
    let destination = client_options("destination", &connector.destination);
    for (side, cluster, options) in
        [("source", &connector.source, &source), ("destination", &connector.destination, &destination)]
    {
        let whose = format!("the {side}");
        report.extend(secured::problem(&whose, cluster, options, connector.place("name")));
    }
    let user = |options: &client::Options| options.security.user().map(str::to_owned);
    let users = Users { source: user(&source), destination: user(&destination) };
    let control = control_options(connector, selection, naming, users.clone());
    let mut pipeline = pipeline_options(worker, connector);
    pipeline.users = users;
    Some(Connector {
        name: connector.name.clone(),
        source,
        source_end: end("source", "src.kafka.bootstrap.servers", &connector.source),
        destination,
        destination_end: end("destination", "dest.kafka.bootstrap.servers", &connector.destination),
        control,
        pipeline,
    })
}

/// The options of a client that reaches the topic of progress.
pub(crate) fn offset_topic_options(topic: &OffsetTopicSettings, logins: &Logins) -> client::Options {
    secured::client_options("offsets", &topic.cluster, logins, |settings| {
        match &settings.worker.offset_storage {
            OffsetStorage::File(_) => None,
            OffsetStorage::Topic(topic) => Some(&topic.cluster),
        }
    })
}

fn control_options(
    connector: &ConnectorSettings,
    selection: Selection,
    naming: Naming,
    users: Users,
) -> control::Options {
    let topics = &connector.topics;
    control::Options {
        selection,
        naming,
        topics: TopicPolicy {
            auto_create: topics.auto_create,
            preserve_partitions: topics.preserve_partitions,
            replication_factor: topics.replication_factor,
            config_sync: topics.config_sync,
            config_sync_exclude: SettingNames::new(&topics.config_sync_exclude),
            config_sync_include: SettingNames::new(&topics.config_sync_include),
            timestamps: match topics.timestamp_type {
                TimestampType::CreateTime => TimestampRule::AsAtSource,
                TimestampType::LogAppendTime => TimestampRule::Append,
            },
        },
        poll_interval: topics.poll_interval,
        config_sync_interval: topics.config_sync_interval,
        create_backoff: topics.create_backoff,
        acls: topics.acls.map(|acls| AclOptions {
            rules: AclRules {
                write: acls.write,
                own_principal: users.destination.as_ref().map(|user| format!("User:{user}")),
            },
            interval: acls.interval,
        }),
        users,
        others: Vec::new(),
    }
}

fn pipeline_options(worker: &WorkerSettings, connector: &ConnectorSettings) -> pipeline::Options {
    let (reading, limits) = (&connector.reading, &connector.limits);
    let mut options = pipeline::Options::new(connector.name.as_str());
    options.isolation =
        if reading.committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    options.rack.clone_from(&reading.rack);
    options.fetch_wait_max = reading.fetch_wait_max.unwrap_or(options.fetch_wait_max);
    options.fetch_bytes_min = reading.fetch_bytes_min.unwrap_or(options.fetch_bytes_min);
    options.fetch_bytes_max = reading.fetch_bytes_max;
    options.partition_fetch_bytes_max = reading.partition_fetch_bytes_max;
    options.buffer_bytes_max = limits.buffer_bytes_max.unwrap_or(options.buffer_bytes_max);
    options.produce_bytes_max = limits.produce_bytes_max.unwrap_or(options.produce_bytes_max);
    options.produce_requests_max = limits.produce_requests_max;
    options.lane_bytes_max = limits.lane_bytes_max;
    options.aged_after = limits.aged_after.unwrap_or(options.aged_after);
    options.flush_interval = worker.offset_flush_interval;
    options.drain_timeout = worker.shutdown_timeout;
    if connector.appends_to_existing {
        options.existing_records = ExistingRecords::Append;
    }
    options.life = policies(connector.life);
    options.start_group = Some(connector.offsets.group.clone());
    options.source_group = connector.offsets.commit_at_source.then(|| connector.offsets.group.clone());
    options
}

fn policies(life: LifeSettings) -> Policies {
    let recreated = |on| match on {
        OnRecreated::Stop => Recreated::Stop,
        OnRecreated::Restart => Recreated::Restart,
        OnRecreated::Skip => Recreated::Skip,
    };
    Policies {
        source_recreated: recreated(life.source_recreated),
        source_overtaken: if life.skips_overtaken { Missing::Skip } else { Missing::Stop },
        source_truncated: if life.follows_truncated { Missing::Skip } else { Missing::Stop },
        destination_recreated: recreated(life.destination_recreated),
    }
}
