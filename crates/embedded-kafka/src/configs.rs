//! The settings of topics and brokers: what there is by version, their defaults, synonyms and sources.
//!
//! One table serves topics and brokers, as in Kafka: a topic setting falls back to the broker setting that
//! is its first synonym, which may be set for one broker, for all, in the broker's file, or not at all.

use std::collections::BTreeMap;

use protocol::ErrorCode;

use crate::profile::Profile;

/// `DescribeConfigs` names for where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Source {
    Topic = 1,
    Broker = 2,
    DefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

/// `DescribeConfigs` names for what a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One setting of a topic or a broker.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
    /// The broker settings behind a topic setting, the first one first.
    pub(crate) synonyms: &'static [&'static str],
    since: Profile,
    until: Profile,
    /// The lowest number allowed.
    at_least: i64,
    /// The words allowed, where only some are.
    one_of: &'static [&'static str],
}

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonyms: &'static [&'static str],
) -> Setting {
    Setting {
        name,
        kind,
        default,
        synonyms,
        since: Profile::V1_1,
        until: Profile::V4_3,
        at_least: i64::MIN,
        one_of: &[],
    }
}

impl Setting {
    const fn since(self, since: Profile) -> Setting {
        Setting { since, ..self }
    }

    const fn until(self, until: Profile) -> Setting {
        Setting { until, ..self }
    }

    const fn at_least(self, at_least: i64) -> Setting {
        Setting { at_least, ..self }
    }

    const fn one_of(self, one_of: &'static [&'static str]) -> Setting {
        Setting { one_of, ..self }
    }

    fn exists_in(&self, profile: Profile) -> bool {
        (self.since..=self.until).contains(&profile)
    }

    /// Whether the broker's own default is told as a synonym: not where it is null and computed.
    pub(crate) fn tells_default(&self) -> bool {
        let computed = ["flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"];
        !self.synonyms.is_empty() && !computed.contains(&self.name)
    }

    /// The built-in default, which versions disagree about in a few places.
    pub(crate) fn default(&self, profile: Profile) -> &'static str {
        match self.name {
            // KAFKA-7858 (2.3) made it half an hour.
            "group.max.session.timeout.ms" if profile < Profile::V2_8 => "300000",
            // KAFKA-4203 (2.5) made it count the batch's own overhead.
            "max.message.bytes" | "message.max.bytes" if profile < Profile::V2_8 => "1000012",
            // KIP-1030.
            "message.timestamp.after.max.ms" | "log.message.timestamp.after.max.ms"
                if profile >= Profile::V4_3 =>
            {
                "3600000"
            }
            "message.format.version" | "log.message.format.version" => match profile {
                Profile::V1_1 => "1.1-IV0",
                Profile::V2_8 => "2.8-IV1",
                Profile::V3_9 | Profile::V4_3 => "3.0-IV1",
            },
            _ => self.default,
        }
    }

    /// Whether `value` may be set; the reason, in Kafka's words, where not.
    pub(crate) fn check(&self, profile: Profile, value: &str) -> Result<(), String> {
        let refuse =
            |why: String| Err(format!("Invalid value {value} for configuration {}: {why}", self.name));
        // KIP-1030.
        let at_least =
            if self.name == "segment.bytes" && profile >= Profile::V4_3 { 1 << 20 } else { self.at_least };
        let number = |max: i64, kind: &str| match value.trim().parse::<i64>() {
            Ok(number) if number > max => refuse(format!("Not a number of type {kind}")),
            Ok(number) if number < at_least => refuse(format!("Value must be at least {at_least}")),
            Ok(_) => Ok(()),
            Err(_) => refuse(format!("Not a number of type {kind}")),
        };
        let word = |value: &str| {
            if self.one_of.is_empty() || self.one_of.contains(&value) {
                Ok(())
            } else {
                refuse(format!("String must be one of: {}", self.one_of.join(", ")))
            }
        };
        match self.kind {
            Kind::Boolean if ["true", "false"].contains(&value.trim().to_ascii_lowercase().as_str()) => {
                Ok(())
            }
            Kind::Boolean => refuse("Expected value to be either true or false".to_owned()),
            Kind::Int => number(i64::from(i32::MAX), "INT"),
            Kind::Long => number(i64::MAX, "LONG"),
            Kind::Double => match value.trim().parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                Ok(_) => refuse("Value must be no more than 1".to_owned()),
                Err(_) => refuse("Not a number of type DOUBLE".to_owned()),
            },
            Kind::String => word(value.trim()),
            Kind::List if self.name.ends_with(".throttled.replicas") => {
                match value == "*" || split_list(value).all(is_throttled_replica) {
                    true => Ok(()),
                    false => refuse(
                        "must be the literal '*' or a list of replicas in the following format: \
                         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                            .to_owned(),
                    ),
                }
            }
            Kind::List => split_list(value).try_for_each(word),
        }
    }

    /// The same for a topic: of one thing 1.1 takes any word.
    pub(crate) fn check_of_topic(&self, profile: Profile, value: &str) -> Result<(), String> {
        let any_word = self.name == "message.timestamp.type" && profile < Profile::V2_8;
        if any_word { Ok(()) } else { self.check(profile, value) }
    }

    /// The same for a broker, which has no bounds for two things that topics have them for.
    fn check_of_broker(&self, profile: Profile, value: &str) -> Result<(), String> {
        let unbounded = self.name == "retention.ms"
            || (self.name == "min.cleanable.dirty.ratio" && profile < Profile::V3_9);
        if unbounded && value.trim().parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        self.check(profile, value)
    }
}

/// A partition and a broker, as quotas of replication name them.
fn is_throttled_replica(entry: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    entry.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

/// What a value may have, as in KRaft's log. ZooKeeper would take more of them, up to a million.
const VALUE_CHARS_MAX: usize = 32_767;

/// Whether no value is too long; the reason, in Kafka's words, where one is.
pub(crate) fn check_lengths<'a>(
    profile: Profile,
    mut values: impl Iterator<Item = &'a str>,
) -> Result<(), (ErrorCode, String)> {
    if values.all(|value| value.chars().take(VALUE_CHARS_MAX + 1).count() <= VALUE_CHARS_MAX) {
        return Ok(());
    }
    let message = format!(
        "The configuration value cannot be added because it exceeds the maximum value size of \
         {VALUE_CHARS_MAX} bytes."
    );
    // 3.9 trips over it.
    let trips = profile == Profile::V3_9;
    Err((if trips { ErrorCode::UNKNOWN_SERVER_ERROR } else { ErrorCode::INVALID_CONFIG }, message))
}

/// The entries of a list setting.
pub(crate) fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

const LONG_MAX: &str = "9223372036854775807";

/// The topic settings of Kafka's `TopicConfig` and `QuotaConfig`.
static TOPIC_SETTINGS: [Setting; 36] = [
    setting("cleanup.policy", Kind::List, "delete", &["log.cleanup.policy"]).one_of(&["compact", "delete"]),
    setting("compression.gzip.level", Kind::Int, "-1", &["compression.gzip.level"]).since(Profile::V3_9),
    setting("compression.lz4.level", Kind::Int, "9", &["compression.lz4.level"]).since(Profile::V3_9),
    setting("compression.type", Kind::String, "producer", &["compression.type"]).one_of(&[
        "uncompressed",
        "zstd",
        "lz4",
        "snappy",
        "gzip",
        "producer",
    ]),
    setting("compression.zstd.level", Kind::Int, "3", &["compression.zstd.level"]).since(Profile::V3_9),
    setting("delete.retention.ms", Kind::Long, "86400000", &["log.cleaner.delete.retention.ms"]).at_least(0),
    setting("file.delete.delay.ms", Kind::Long, "60000", &["log.segment.delete.delay.ms"]).at_least(0),
    setting("flush.messages", Kind::Long, LONG_MAX, &["log.flush.interval.messages"]).at_least(1),
    setting("flush.ms", Kind::Long, LONG_MAX, &["log.flush.interval.ms"]).at_least(0),
    setting("follower.replication.throttled.replicas", Kind::List, "", &[]),
    setting("index.interval.bytes", Kind::Int, "4096", &["log.index.interval.bytes"]).at_least(0),
    setting("leader.replication.throttled.replicas", Kind::List, "", &[]),
    setting("local.retention.bytes", Kind::Long, "-2", &["log.local.retention.bytes"])
        .since(Profile::V3_9)
        .at_least(-2),
    setting("local.retention.ms", Kind::Long, "-2", &["log.local.retention.ms"])
        .since(Profile::V3_9)
        .at_least(-2),
    setting("max.compaction.lag.ms", Kind::Long, LONG_MAX, &["log.cleaner.max.compaction.lag.ms"])
        .since(Profile::V2_8)
        .at_least(1),
    setting("max.message.bytes", Kind::Int, "1048588", &["message.max.bytes"]).at_least(0),
    setting("message.downconversion.enable", Kind::Boolean, "true", &["log.message.downconversion.enable"])
        .since(Profile::V2_8)
        .until(Profile::V3_9),
    setting("message.format.version", Kind::String, "", &["log.message.format.version"]).until(Profile::V3_9),
    setting("message.timestamp.after.max.ms", Kind::Long, LONG_MAX, &["log.message.timestamp.after.max.ms"])
        .since(Profile::V3_9)
        .at_least(0),
    setting(
        "message.timestamp.before.max.ms",
        Kind::Long,
        LONG_MAX,
        &["log.message.timestamp.before.max.ms"],
    )
    .since(Profile::V3_9)
    .at_least(0),
    setting(
        "message.timestamp.difference.max.ms",
        Kind::Long,
        LONG_MAX,
        &["log.message.timestamp.difference.max.ms"],
    )
    .until(Profile::V3_9)
    .at_least(0),
    setting("message.timestamp.type", Kind::String, "CreateTime", &["log.message.timestamp.type"])
        .one_of(&["CreateTime", "LogAppendTime"]),
    setting("min.cleanable.dirty.ratio", Kind::Double, "0.5", &["log.cleaner.min.cleanable.ratio"]),
    setting("min.compaction.lag.ms", Kind::Long, "0", &["log.cleaner.min.compaction.lag.ms"]).at_least(0),
    setting("min.insync.replicas", Kind::Int, "1", &["min.insync.replicas"]).at_least(1),
    setting("preallocate", Kind::Boolean, "false", &["log.preallocate"]),
    setting("remote.log.copy.disable", Kind::Boolean, "false", &[]).since(Profile::V3_9),
    setting("remote.log.delete.on.disable", Kind::Boolean, "false", &[]).since(Profile::V3_9),
    setting("remote.storage.enable", Kind::Boolean, "false", &[]).since(Profile::V3_9),
    setting("retention.bytes", Kind::Long, "-1", &["log.retention.bytes"]),
    setting(
        "retention.ms",
        Kind::Long,
        "604800000",
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    )
    .at_least(-1),
    setting("segment.bytes", Kind::Int, "1073741824", &["log.segment.bytes"]).at_least(14),
    setting("segment.index.bytes", Kind::Int, "10485760", &["log.index.size.max.bytes"]).at_least(4),
    setting("segment.jitter.ms", Kind::Long, "0", &["log.roll.jitter.ms", "log.roll.jitter.hours"])
        .at_least(0),
    setting("segment.ms", Kind::Long, "604800000", &["log.roll.ms", "log.roll.hours"]).at_least(1),
    setting("unclean.leader.election.enable", Kind::Boolean, "false", &["unclean.leader.election.enable"]),
];

/// Broker settings that are not the synonym of a topic's, as far as a replicator looks at them.
static BROKER_SETTINGS: [Setting; 27] = [
    setting("auto.create.topics.enable", Kind::Boolean, "true", &[]),
    setting("broker.rack", Kind::String, "", &[]),
    setting("connections.max.idle.ms", Kind::Long, "600000", &[]),
    setting("default.replication.factor", Kind::Int, "1", &[]).at_least(1),
    setting("delete.topic.enable", Kind::Boolean, "true", &[]),
    setting("fetch.max.bytes", Kind::Int, "57671680", &[]).since(Profile::V2_8).at_least(1024),
    setting("group.consumer.assignment.interval.ms", Kind::Int, "1000", &[]).since(Profile::V4_3),
    setting("group.consumer.heartbeat.interval.ms", Kind::Int, "5000", &[]).since(Profile::V3_9),
    setting("group.consumer.session.timeout.ms", Kind::Int, "45000", &[]).since(Profile::V3_9),
    setting("group.initial.rebalance.delay.ms", Kind::Int, "3000", &[]),
    setting("group.max.size", Kind::Int, "2147483647", &[]).since(Profile::V2_8).at_least(1),
    setting("group.max.session.timeout.ms", Kind::Int, "1800000", &[]),
    setting("group.min.session.timeout.ms", Kind::Int, "6000", &[]),
    setting("log.retention.hours", Kind::Int, "168", &[]),
    setting("log.roll.hours", Kind::Int, "168", &[]).at_least(1),
    setting("max.incremental.fetch.session.cache.slots", Kind::Int, "1000", &[]).at_least(0),
    setting("num.partitions", Kind::Int, "1", &[]).at_least(1),
    setting("offset.metadata.max.bytes", Kind::Int, "4096", &[]),
    setting("offsets.retention.minutes", Kind::Int, "10080", &[]).at_least(1),
    setting("offsets.topic.num.partitions", Kind::Int, "50", &[]).at_least(1),
    setting("offsets.topic.replication.factor", Kind::Int, "3", &[]).at_least(1),
    setting("producer.id.expiration.ms", Kind::Int, "86400000", &[]).since(Profile::V3_9).at_least(1),
    setting("replica.lag.time.max.ms", Kind::Long, "30000", &[]),
    setting("socket.request.max.bytes", Kind::Int, "104857600", &[]).at_least(1),
    setting("transaction.max.timeout.ms", Kind::Int, "900000", &[]).at_least(1),
    setting("transactional.id.expiration.ms", Kind::Int, "604800000", &[]).at_least(1),
    setting("transaction.state.log.replication.factor", Kind::Int, "3", &[]).at_least(1),
];

/// Whether topics come into being by being asked for.
pub(crate) const AUTO_CREATE: &str = "auto.create.topics.enable";

/// The topic settings that a version has, by name.
pub(crate) fn topic_settings(profile: Profile) -> impl Iterator<Item = &'static Setting> {
    TOPIC_SETTINGS.iter().filter(move |setting| setting.exists_in(profile))
}

/// A topic setting by name.
pub(crate) fn topic_setting(profile: Profile, name: &str) -> Option<&'static Setting> {
    topic_settings(profile).find(|setting| setting.name == name)
}

/// A broker setting by name: what it is, and its default.
pub(crate) fn broker_setting(profile: Profile, name: &str) -> Option<(&'static Setting, &'static str)> {
    let own = BROKER_SETTINGS
        .iter()
        .filter(|setting| setting.exists_in(profile))
        .map(|setting| (setting.name, setting));
    let synonyms = topic_settings(profile).filter_map(|setting| Some((*setting.synonyms.first()?, setting)));
    own.chain(synonyms)
        .find(|(broker_name, _)| *broker_name == name)
        .map(|(_, setting)| (setting, setting.default(profile)))
}

/// Whether brokers take another value while they run: the synonyms of topic settings but one, and two more (KIP-226).
pub(crate) fn changes_at_run_time(profile: Profile, name: &str) -> bool {
    if name == "log.message.format.version" {
        return false;
    }
    name == "producer.id.expiration.ms"
        || (name == "group.consumer.assignment.interval.ms" && profile >= Profile::V4_3)
        || topic_settings(profile).any(|setting| setting.synonyms.first() == Some(&name))
}

/// What the brokers' file may say beside the settings here, and nobody may change at run time: a name, and the first
/// and last version that describes it as read only. Measured.
const READ_ONLY: &str = include_str!("configs/read_only.txt");

fn is_read_only(profile: Profile, name: &str) -> bool {
    if broker_setting(profile, name).is_some() {
        return !changes_at_run_time(profile, name);
    }
    let all = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];
    let version = |text: &str| all.into_iter().find(|profile| profile.name() == text);
    READ_ONLY.lines().any(|line| {
        let mut words = line.split(' ');
        words.next() == Some(name)
            && words.next().and_then(version) <= Some(profile)
            && words.next().and_then(version) >= Some(profile)
    })
}

/// Refuses what brokers do not take while they run, as Kafka does. Names that they do not know they take.
pub(crate) fn check_at_run_time<'a>(
    profile: Profile,
    values: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<(), (ErrorCode, String)> {
    let refused = |message| (ErrorCode::INVALID_REQUEST, message);
    if let Some((name, _)) = values.clone().find(|(name, _)| is_read_only(profile, name)) {
        return Err(refused(format!("Cannot update these configs dynamically: Set({name})")));
    }
    check_lengths(profile, values.clone().map(|(_, value)| value))?;
    for (name, value) in values {
        if let Some((setting, _)) = broker_setting(profile, name) {
            setting.check_of_broker(profile, value).map_err(refused)?;
        }
    }
    Ok(())
}

/// The one setting that is the cluster's own where leaders may come from outside the in-sync set (KIP-966).
const OF_THE_CLUSTER: &str = "min.insync.replicas";

/// Refuses to take it away from the cluster, and to give one broker another, or none. `broker` is -1 for all of them,
/// `named` is what a request changes, and `after` what would be set.
pub(crate) fn check_eligible_leaders<'a>(
    profile: Profile,
    broker: i32,
    mut named: impl Iterator<Item = &'a str>,
    after: &BTreeMap<String, String>,
) -> Result<(), (ErrorCode, String)> {
    let (level, done) = match broker {
        _ if profile < Profile::V4_3 => return Ok(()),
        -1 if !after.contains_key(OF_THE_CLUSTER) => ("Cluster", "removed"),
        0.. if named.any(|name| name == OF_THE_CLUSTER) => ("Broker", "altered"),
        _ => return Ok(()),
    };
    let message = format!("{level}-level {OF_THE_CLUSTER} cannot be {done} while ELR is enabled.");
    Err((ErrorCode::INVALID_CONFIG, message))
}

/// The names of all broker settings that a version has, sorted.
pub(crate) fn broker_setting_names(profile: Profile) -> Vec<&'static str> {
    let own = BROKER_SETTINGS.iter().filter(|setting| setting.exists_in(profile)).map(|setting| setting.name);
    let synonyms = topic_settings(profile).filter_map(|setting| setting.synonyms.first().copied());
    let mut names: Vec<&'static str> = own.chain(synonyms).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What brokers were told: in their file, for all of them at run time, for one of them at run time.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerValues {
    pub(crate) fixed: BTreeMap<String, String>,
    pub(crate) for_all: BTreeMap<String, String>,
    pub(crate) for_one: BTreeMap<i32, BTreeMap<String, String>>,
}

/// One value of a setting and where it comes from, under the name it has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) source: Source,
}

impl BrokerValues {
    /// Every value that `broker` has for the setting, the one in force first, the default last.
    pub(crate) fn broker_values(&self, profile: Profile, broker: i32, name: &str) -> Vec<Sourced> {
        let Some((setting, default)) = broker_setting(profile, name) else { return Vec::new() };
        let name = if setting.name == name { setting.name } else { setting.synonyms[0] };
        let mut values = Vec::new();
        let mut push = |value: Option<&String>, source| {
            if let Some(value) = value {
                values.push(Sourced { name, value: value.clone(), source });
            }
        };
        push(self.for_one.get(&broker).and_then(|values| values.get(name)), Source::Broker);
        push(self.for_all.get(name), Source::DefaultBroker);
        push(self.fixed.get(name), Source::StaticBroker);
        push(Some(&default.to_owned()), Source::Default);
        values
    }

    /// Every value that a topic has for the setting, as `broker` sees it.
    pub(crate) fn topic_values(
        &self,
        profile: Profile,
        broker: i32,
        overrides: &BTreeMap<String, String>,
        setting: &'static Setting,
    ) -> Vec<Sourced> {
        let mut values = Vec::new();
        if let Some(value) = overrides.get(setting.name) {
            values.push(Sourced { name: setting.name, value: value.clone(), source: Source::Topic });
        }
        match setting.synonyms.first() {
            Some(synonym) => values.extend(self.broker_values(profile, broker, synonym)),
            None => values.push(Sourced {
                name: setting.name,
                value: setting.default(profile).to_owned(),
                source: Source::Default,
            }),
        }
        values
    }

    /// The value in force of a broker setting, as a number; `None` where the version has no such setting.
    pub(crate) fn broker_number(&self, profile: Profile, broker: i32, name: &str) -> Option<i64> {
        self.broker_values(profile, broker, name).first()?.value.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_may_be_set() {
        for profile in [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3] {
            for setting in topic_settings(profile) {
                assert_eq!(setting.check(profile, setting.default(profile)), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn a_topic_setting_falls_back_through_the_brokers_values_to_the_default() {
        let mut values = BrokerValues::default();
        let setting = topic_setting(Profile::V4_3, "retention.ms").expect("exists in every version");
        let mut overrides = BTreeMap::new();
        let sources = |values: &BrokerValues, overrides: &BTreeMap<String, String>| {
            let found = values.topic_values(Profile::V4_3, 0, overrides, setting);
            found.into_iter().map(|found| (found.name, found.value, found.source)).collect::<Vec<_>>()
        };
        let default = ("log.retention.ms", "604800000".to_owned(), Source::Default);
        assert_eq!(sources(&values, &overrides), std::slice::from_ref(&default));
        values.for_all.insert("log.retention.ms".to_owned(), "5".to_owned());
        overrides.insert("retention.ms".to_owned(), "7".to_owned());
        let expected = [
            ("retention.ms", "7".to_owned(), Source::Topic),
            ("log.retention.ms", "5".to_owned(), Source::DefaultBroker),
            default,
        ];
        assert_eq!(sources(&values, &overrides), expected);
    }

    #[test]
    fn a_value_has_an_end() {
        let most = "5".repeat(VALUE_CHARS_MAX);
        assert_eq!(check_lengths(Profile::V4_3, [most.as_str()].into_iter()), Ok(()));
        let more = format!("{most}5");
        let refused = check_lengths(Profile::V4_3, ["5", &more].into_iter());
        assert_eq!(refused.map_err(|(code, _)| code), Err(ErrorCode::INVALID_CONFIG));
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused_with_a_reason() {
        let check = |name: &str, value: &str| {
            topic_setting(Profile::V4_3, name).expect("exists").check(Profile::V4_3, value)
        };
        assert!(check("retention.ms", "soon").is_err_and(|why| why.contains("Not a number of type LONG")));
        assert!(check("segment.bytes", "1000").is_err());
        assert!(check("cleanup.policy", "compact,delete").is_ok());
        assert!(check("cleanup.policy", "keep").is_err());
        let throttled = |value| check("leader.replication.throttled.replicas", value).is_ok();
        assert_eq!(
            ["", "*", "0:1", "0:1,2:3", "0", "0:", ":1", "0:1,x", "*,0:1"].map(throttled),
            [true, true, true, true, false, false, false, false, false]
        );
        assert!(topic_setting(Profile::V4_3, "message.format.version").is_none());
        assert!(topic_setting(Profile::V2_8, "remote.storage.enable").is_none());
    }
}
