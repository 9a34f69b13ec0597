//! All that a cluster knows: its brokers, topics, transactions and groups. No I/O, no waiting.
//!
//! One lock around this is the cluster's "controller, metadata log and disks". The handlers in `requests/`
//! are given it, with the time and who asks, and give the answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{TopicName, TopicPartition};
use protocol::ErrorCode;
use record_batch::Codec;
use tokio::time::Instant;
use tracing::warn;

use crate::acls::{Acl, Authorizer};
use crate::complaints::Seldom;
use crate::config::Config;
use crate::configs::{self, AUTO_CREATE, BrokerValues, split_list};
use crate::groups::{Groups, Rules, TopicSize};
use crate::kept::{ENTRY_BYTES, Kept, Size};
use crate::partition::Partition;
use crate::profile::Profile;
use crate::requests::Ask;
use crate::sessions::Sessions;
use crate::transactions::Transactions;
use crate::validate::TopicRules;

/// A broker as the cluster knows it.
#[derive(Debug)]
pub(crate) struct BrokerState {
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    pub(crate) online: bool,
    pub(crate) sessions: Sessions,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: [u8; 16],
    pub(crate) internal: bool,
    /// What was set for this topic, as text.
    pub(crate) overrides: BTreeMap<String, String>,
    /// What the settings in force ask of its batches.
    pub(crate) rules: TopicRules,
    pub(crate) min_insync_replicas: usize,
    pub(crate) partitions: Vec<Partition>,
}

/// The state of a cluster.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) cluster_id: String,
    pub(crate) auto_create: bool,
    /// Where clients are told to go.
    pub(crate) host: String,
    pub(crate) brokers: BTreeMap<i32, BrokerState>,
    pub(crate) values: BrokerValues,
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    pub(crate) transactions: Transactions,
    pub(crate) groups: Groups,
    kept: Kept,
    /// When it was last told that there was no room.
    kept_refused: Seldom,
    /// Who may do what; everybody may everything without one.
    pub(crate) authorizer: Option<Authorizer>,
    /// The topic that has an id.
    ids: HashMap<[u8; 16], TopicName>,
    /// The topic that has a name like this.
    likenesses: HashMap<String, TopicName>,
    topics_created: u64,
    /// Of all topics.
    partitions: usize,
    next_producer_id: i64,
    seed: u64,
}

/// Why a topic cannot be created or changed: the code, and Kafka's words.
pub(crate) type Denied = (ErrorCode, String);

impl State {
    pub(crate) fn new(config: &Config) -> State {
        let mut fixed: BTreeMap<String, String> = config.broker_settings.iter().cloned().collect();
        // One place decides, and what is described is what is done.
        let auto_create =
            fixed.entry(AUTO_CREATE.to_owned()).or_insert_with(|| config.auto_create.to_string());
        let auto_create = auto_create.trim().eq_ignore_ascii_case("true");
        State {
            profile: config.profile,
            cluster_id: config.cluster_id.clone(),
            auto_create,
            host: config.host(),
            brokers: BTreeMap::new(),
            values: BrokerValues {
                fixed,
                // Where leaders may come from outside the in-sync set (KIP-966), the cluster has this as its own.
                for_all: (config.profile >= Profile::V4_3)
                    .then(|| ("min.insync.replicas".to_owned(), "1".to_owned()))
                    .into_iter()
                    .collect(),
                ..BrokerValues::default()
            },
            topics: BTreeMap::new(),
            transactions: Transactions::default(),
            groups: Groups::default(),
            kept: Kept::new(config.names_max),
            kept_refused: Seldom::default(),
            authorizer: config
                .super_users
                .as_ref()
                .map(|users| Authorizer { super_users: users.clone(), ..Authorizer::default() }),
            ids: HashMap::new(),
            likenesses: HashMap::new(),
            topics_created: 0,
            partitions: 0,
            next_producer_id: config.first_producer_id,
            seed: config.seed,
        }
    }

    /// The broker that decides: always the lowest id that runs.
    pub(crate) fn controller(&self) -> Option<i32> {
        self.brokers.iter().find(|(_, broker)| broker.online).map(|(id, _)| *id)
    }

    /// The broker that keeps a group or a transactional id.
    pub(crate) fn coordinator(&self, key: &str) -> Option<i32> {
        let online: Vec<i32> =
            self.brokers.iter().filter(|(_, broker)| broker.online).map(|(id, _)| *id).collect();
        let hash = key.bytes().fold(0u64, |hash, byte| mix(hash ^ u64::from(byte)));
        let index = usize::try_from(hash % 1024).unwrap_or_default();
        if online.is_empty() { None } else { Some(online[index % online.len()]) }
    }

    /// What every request about a group is refused for first; `empty_id` is what a group without a name is
    /// called, NONE where such a group is one like any other.
    pub(crate) fn check_group(&self, ask: &Ask, group: &str, empty_id: ErrorCode) -> Result<(), ErrorCode> {
        if let Some(code) = ask.fails_whole() {
            return Err(code);
        }
        if group.is_empty() && !empty_id.is_ok() {
            return Err(empty_id);
        }
        self.check_group_access(ask, group)?;
        if self.coordinator(group) == Some(ask.broker) { Ok(()) } else { Err(ErrorCode::NOT_COORDINATOR) }
    }

    /// Room for something more that is kept under a client's name: groups, members, offsets, transactional ids; and for
    /// what topics are set to, and ACLs, of which only the bytes count.
    ///
    /// # Errors
    /// As [`Kept::take`].
    pub(crate) fn keep(&mut self, more: Size) -> Result<(), ErrorCode> {
        let (groups, transactions) = (&mut self.groups, &self.transactions);
        let (topics, authorizer) = (&self.topics, &self.authorizer);
        let of_settings = || topics.values().map(|topic| settings_size(&topic.overrides)).sum::<Size>();
        let of_acls =
            || authorizer.iter().flat_map(|authorizer| &authorizer.acls).map(Acl::size).sum::<Size>();
        let all = |of_groups: Size| of_groups + transactions.size() + of_settings() + of_acls();
        let room = self.kept.take(more, || groups.recount().map(all));
        if room.is_err()
            && let Some(more) = self.kept_refused.note(Instant::now())
        {
            let cluster = &self.cluster_id;
            let told = "more groups, members, offsets, transactional ids, settings and ACLs than are kept, \
                        requests are refused";
            warn!(cluster, more, "{told}");
        }
        room
    }

    /// Room for what a topic is to be set to, in place of what it is set to, if there is one.
    fn keep_settings(&mut self, topic: &str, overrides: &BTreeMap<String, String>) -> Result<(), Denied> {
        let before = self.topics.get(topic).map(|topic| settings_size(&topic.overrides));
        let message = "The settings of all topics would take more than there is room for.";
        self.keep(settings_size(overrides).instead_of(before)).map_err(|code| (code, message.to_owned()))
    }

    /// Sets a topic to what may be set.
    pub(crate) fn set_topic(
        &mut self,
        topic: &str,
        overrides: BTreeMap<String, String>,
    ) -> Result<(), Denied> {
        self.keep_settings(topic, &overrides)?;
        let (rules, min_insync_replicas) = (self.rules(&overrides), self.min_insync_replicas(&overrides));
        if let Some(topic) = self.topics.get_mut(topic) {
            (topic.rules, topic.min_insync_replicas) = (rules, min_insync_replicas);
            topic.overrides = overrides;
        }
        // It may be less than it was.
        self.groups.note_less();
        Ok(())
    }

    /// What groups go by.
    pub(crate) fn group_rules(&self) -> Rules {
        Rules::new(self.profile, |name| self.broker_number(name))
    }

    /// Does what time asks for: ends transactions and memberships that are overdue.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        self.abort_overdue(now_ms);
        if self.groups.next_look_ms().is_none_or(|look_ms| look_ms > now_ms) {
            return;
        }
        let rules = self.group_rules();
        let topics = &self.topics;
        self.groups.tick(now_ms, &rules, |name| topic_size(topics, name));
    }

    pub(crate) fn is_online(&self, broker: i32) -> bool {
        self.brokers.get(&broker).is_some_and(|broker| broker.online)
    }

    pub(crate) fn topic_by_id(&self, id: [u8; 16]) -> Option<(&TopicName, &Topic)> {
        self.topics.get_key_value(self.ids.get(&id)?)
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partition_of(&mut self, at: &TopicPartition) -> Option<&mut Partition> {
        self.partition_mut(at.topic.as_str(), at.partition.0)
    }

    /// The partition, if `broker` leads it; else what it answers.
    pub(crate) fn led_by(
        &mut self,
        broker: i32,
        topic: &str,
        partition: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let found = self.partition_mut(topic, partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if found.leader == Some(broker) { Ok(found) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// A producer id that nobody has.
    pub(crate) fn allocate_producer_id(&mut self) -> i64 {
        let allocated = self.next_producer_id;
        self.next_producer_id += 1;
        allocated
    }

    /// How long an idle producer is remembered, by its last record's time.
    pub(crate) fn producer_expiration_ms(&self) -> i64 {
        // Before 3.4 the transactional ids' setting served both.
        let name = match self.profile {
            Profile::V1_1 | Profile::V2_8 => "transactional.id.expiration.ms",
            Profile::V3_9 | Profile::V4_3 => "producer.id.expiration.ms",
        };
        self.broker_number(name)
    }

    /// A number that all brokers share.
    pub(crate) fn broker_number(&self, name: &str) -> i64 {
        let broker = self.controller().unwrap_or_default();
        self.values.broker_number(self.profile, broker, name).unwrap_or_default()
    }

    /// The value in force of a topic's setting.
    fn topic_value(&self, overrides: &BTreeMap<String, String>, name: &str) -> Option<String> {
        let setting = configs::topic_setting(self.profile, name)?;
        let broker = self.controller().unwrap_or_default();
        let values = self.values.topic_values(self.profile, broker, overrides, setting);
        values.into_iter().next().map(|found| found.value)
    }

    fn topic_number(&self, overrides: &BTreeMap<String, String>, name: &str) -> Option<i64> {
        self.topic_value(overrides, name)?.trim().parse().ok()
    }

    /// What settings ask of a topic's batches.
    fn rules(&self, overrides: &BTreeMap<String, String>) -> TopicRules {
        let bytes = |name| {
            let number = self.topic_number(overrides, name);
            number.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
        };
        let text = |name| self.topic_value(overrides, name).unwrap_or_default();
        let difference =
            self.topic_number(overrides, "message.timestamp.difference.max.ms").unwrap_or(i64::MAX);
        let span = |name| {
            let own = self.topic_number(overrides, name).unwrap_or(i64::MAX);
            // The older setting counts where the newer one was left alone.
            if own == i64::MAX { difference } else { own }
        };
        TopicRules {
            batch_bytes_max: bytes("max.message.bytes"),
            segment_bytes: bytes("segment.bytes"),
            append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: span("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: span("message.timestamp.after.max.ms"),
            codec: match text("compression.type").as_str() {
                "uncompressed" => Some(Codec::None),
                "gzip" => Some(Codec::Gzip),
                "snappy" => Some(Codec::Snappy),
                "lz4" => Some(Codec::Lz4),
                "zstd" => Some(Codec::Zstd),
                _ => None,
            },
            compacted: split_list(&text("cleanup.policy")).any(|policy| policy == "compact"),
            deletes: split_list(&text("cleanup.policy")).any(|policy| policy == "delete"),
        }
    }

    fn min_insync_replicas(&self, overrides: &BTreeMap<String, String>) -> usize {
        let number = self.topic_number(overrides, "min.insync.replicas").unwrap_or(1);
        usize::try_from(number).unwrap_or(1)
    }

    /// Settings of brokers have changed: every topic's rules are read from them again.
    pub(crate) fn settings_changed(&mut self) {
        let read = |topic: &Topic| (self.rules(&topic.overrides), self.min_insync_replicas(&topic.overrides));
        let all: Vec<_> = self.topics.values().map(read).collect();
        for (topic, (rules, min_insync_replicas)) in self.topics.values_mut().zip(all) {
            topic.rules = rules;
            topic.min_insync_replicas = min_insync_replicas;
        }
    }

    /// What is set at run time for a broker, -1 for all of them, is this from now on.
    pub(crate) fn set_at_run_time(&mut self, broker: i32, values: BTreeMap<String, String>) {
        match broker {
            -1 => self.values.for_all = values,
            broker => {
                self.values.for_one.insert(broker, values);
            }
        }
    }

    pub(crate) fn allows_unclean_election(&self, topic: &Topic) -> bool {
        self.topic_value(&topic.overrides, "unclean.leader.election.enable").as_deref() == Some("true")
    }

    pub(crate) fn delete_retention_ms(&self, topic: &Topic) -> i64 {
        self.topic_number(&topic.overrides, "delete.retention.ms").unwrap_or_default()
    }

    pub(crate) fn retention_ms(&self, topic: &Topic) -> i64 {
        if topic.rules.deletes {
            self.topic_number(&topic.overrides, "retention.ms").unwrap_or(-1)
        } else {
            -1
        }
    }

    /// Creates a topic; `assignments` gives each partition's replicas, else they are spread.
    pub(crate) fn create_topic(
        &mut self,
        name: &TopicName,
        partitions: i32,
        replication_factor: i16,
        assignments: &[Vec<i32>],
        overrides: BTreeMap<String, String>,
    ) -> Result<(), Denied> {
        let assigned = self.check_new_topic(name, partitions, replication_factor, assignments, &overrides)?;
        self.keep_settings(name.as_str(), &overrides)?;
        self.topics_created += 1;
        self.partitions += assigned.len();
        let id = topic_id(self.seed, self.topics_created);
        let internal = name.as_str() == "__consumer_offsets" || name.as_str() == "__transaction_state";
        let partitions = assigned
            .iter()
            .map(|replicas| Partition::new(replicas, |broker| self.is_online(broker)))
            .collect();
        let rules = self.rules(&overrides);
        let min_insync_replicas = self.min_insync_replicas(&overrides);
        let topic = Topic { id, internal, overrides, rules, min_insync_replicas, partitions };
        self.topics.insert(name.clone(), topic);
        self.ids.insert(id, name.clone());
        self.likenesses.insert(likeness(name.as_str()), name.clone());
        Ok(())
    }

    /// Whether a topic may be created; gives the replicas of each partition.
    pub(crate) fn check_new_topic(
        &self,
        name: &TopicName,
        partitions: i32,
        replication_factor: i16,
        assignments: &[Vec<i32>],
        overrides: &BTreeMap<String, String>,
    ) -> Result<Vec<Vec<i32>>, Denied> {
        check_topic_name(name.as_str())?;
        if self.topics.contains_key(name) {
            return Err((ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
        }
        // Before anything is done for each of the topics there are.
        self.check_room(1)?;
        if let Some(other) = self.likenesses.get(&likeness(name.as_str())) {
            let message = format!("Topic '{name}' collides with existing topics: {other}");
            return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        self.check_overrides(overrides, self.profile.wrong_value_at_creation())?;
        if !assignments.is_empty() {
            self.check_room(i64::try_from(assignments.len()).unwrap_or(i64::MAX))?;
            return self.check_assignments(assignments);
        }
        let partitions =
            if partitions == -1 { self.broker_number("num.partitions") } else { i64::from(partitions) };
        if partitions <= 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err((ErrorCode::INVALID_PARTITIONS, message.to_owned()));
        }
        let factor = match replication_factor {
            -1 => self.broker_number("default.replication.factor"),
            factor => i64::from(factor),
        };
        self.spread(0, partitions, factor)
    }

    /// Replicas for partitions `from..count`, spread over the brokers that run.
    pub(crate) fn spread(&self, from: i64, count: i64, factor: i64) -> Result<Vec<Vec<i32>>, Denied> {
        let online: Vec<i32> =
            self.brokers.iter().filter(|(_, broker)| broker.online).map(|(id, _)| *id).collect();
        if factor <= 0 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, message.to_owned()));
        }
        let factor = usize::try_from(factor).unwrap_or(usize::MAX);
        if factor > online.len() {
            let message = if self.profile.is_kraft() {
                format!(
                    "Unable to replicate the partition {factor} time(s): The target replication factor of \
                     {factor} cannot be reached because only {} broker(s) are registered.",
                    online.len()
                )
            } else {
                format!("Replication factor: {factor} larger than available brokers: {}.", online.len())
            };
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        self.check_room(count - from)?;
        let replicas = |partition: i64| {
            let first = usize::try_from(partition).unwrap_or_default();
            (0..factor).map(|index| online[(first + index) % online.len()]).collect()
        };
        Ok((from..count).map(replicas).collect())
    }

    /// Whether the cluster may have so many partitions more.
    pub(crate) fn check_room(&self, more: i64) -> Result<(), Denied> {
        let present = i64::try_from(self.partitions).unwrap_or(i64::MAX);
        if more <= PARTITIONS_MAX - present {
            return Ok(());
        }
        let message = format!(
            "The cluster has {present} partition(s), {more} more would be more than the {PARTITIONS_MAX} it may have."
        );
        Err((ErrorCode::POLICY_VIOLATION, message))
    }

    pub(crate) fn check_assignments(&self, assignments: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, Denied> {
        for replicas in assignments {
            let unknown = replicas.iter().find(|broker| !self.brokers.contains_key(broker));
            let mut distinct = replicas.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if replicas.is_empty() || unknown.is_some() || distinct.len() != replicas.len() {
                let message = format!("The manual partition assignment {replicas:?} is not usable.");
                return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
            }
        }
        Ok(assignments.to_vec())
    }

    /// Whether a topic may have these settings; `wrong_value` is what a wrong value is called.
    pub(crate) fn check_overrides(
        &self,
        overrides: &BTreeMap<String, String>,
        wrong_value: ErrorCode,
    ) -> Result<(), Denied> {
        configs::check_lengths(self.profile, overrides.values().map(String::as_str))?;
        overrides.iter().try_for_each(|(name, value)| match configs::topic_setting(self.profile, name) {
            Some(setting) => {
                setting.check_of_topic(self.profile, value).map_err(|message| (wrong_value, message))
            }
            None => Err((ErrorCode::INVALID_CONFIG, format!("Unknown topic config name: {name}"))),
        })
    }

    /// Lets a topic have `count` partitions.
    pub(crate) fn grow_topic(&mut self, name: &str, assigned: &[Vec<i32>]) {
        let online: Vec<i32> =
            self.brokers.iter().filter(|(_, broker)| broker.online).map(|(id, _)| *id).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            self.partitions += assigned.len();
            topic.partitions.extend(
                assigned.iter().map(|replicas| Partition::new(replicas, |broker| online.contains(&broker))),
            );
        }
    }

    /// Removes a topic with what was committed for it, and tells whoever waits for it.
    pub(crate) fn delete_topic(&mut self, name: &str) {
        self.remove_topic(name);
        self.groups.forget_topics(&BTreeSet::from([TopicName::from(name)]));
    }

    /// The same but for what was committed, which is looked through once for all that go together.
    pub(crate) fn remove_topic(&mut self, name: &str) {
        let Some(mut topic) = self.topics.remove(name) else { return };
        self.partitions -= topic.partitions.len();
        topic.partitions.iter_mut().for_each(Partition::wake);
        self.ids.remove(&topic.id);
        self.likenesses.remove(&likeness(name));
    }

    /// A broker stops: it leads nothing any more.
    pub(crate) fn broker_stopped(&mut self, broker: i32) {
        let Some(state) = self.brokers.get_mut(&broker) else { return };
        state.online = false;
        state.sessions = Sessions::default();
        let unclean: Vec<bool> =
            self.topics.values().map(|topic| self.allows_unclean_election(topic)).collect();
        for (topic, unclean) in self.topics.values_mut().zip(unclean) {
            for partition in &mut topic.partitions {
                partition.broker_stopped(broker, unclean);
            }
        }
    }

    /// A broker starts again, with what a restart leaves of its producer states.
    pub(crate) fn broker_started(&mut self, broker: i32, now_ms: i64) {
        let expiration_ms = self.producer_expiration_ms();
        if let Some(state) = self.brokers.get_mut(&broker) {
            state.online = true;
        }
        let unclean: Vec<bool> =
            self.topics.values().map(|topic| self.allows_unclean_election(topic)).collect();
        for (topic, unclean) in self.topics.values_mut().zip(unclean) {
            for partition in &mut topic.partitions {
                partition.broker_started(broker, now_ms, expiration_ms, unclean);
            }
        }
    }
}

/// What settings take of what is kept, beside the topic.
fn settings_size(overrides: &BTreeMap<String, String>) -> Size {
    let bytes = overrides.iter().map(|(name, value)| ENTRY_BYTES + name.len() + value.len()).sum();
    Size { things: 0, bytes }
}

/// Of a cluster: more than any test needs, and few enough for a laptop's memory. Kafka has no such bound.
const PARTITIONS_MAX: i64 = 100_000;

/// Of one request, as `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// Whether one request may ask for so many partitions; every version is held to what KRaft holds itself to.
pub(crate) fn check_partitions_per_request(mut counts: impl Iterator<Item = i64>) -> Result<(), Denied> {
    // What is refused for another reason is work all the same, and counts as one.
    let total = counts.try_fold(0i64, |total, count| total.checked_add(count.max(1)));
    if total.is_some_and(|total| total <= PARTITIONS_PER_REQUEST_MAX) {
        return Ok(());
    }
    Err((ErrorCode::POLICY_VIOLATION, "Excessively large number of partitions per request.".to_owned()))
}

/// A topic as groups see it: its id, and how many partitions it has.
pub(crate) fn topic_size(topics: &BTreeMap<TopicName, Topic>, name: &str) -> Option<TopicSize> {
    let topic = topics.get(name)?;
    Some((topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
}

/// Kafka's rules for topic names.
fn check_topic_name(name: &str) -> Result<(), Denied> {
    let refuse =
        |why: &str| Err((ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: {why}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed");
    }
    if name == "." || name == ".." {
        return refuse("'.' or '..' is not allowed");
    }
    if name.len() > 249 {
        return refuse("the length of the name is longer than the max allowed length 249");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return refuse("it contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'");
    }
    Ok(())
}

/// Whether a name may not be a topic's.
pub(crate) fn is_invalid_topic_name(name: &str) -> bool {
    check_topic_name(name).is_err()
}

/// What names have in common that collide: `.` and `_` become the same character in metric names.
fn likeness(name: &str) -> String {
    name.replace('.', "_")
}

/// An id that is the same in every run: the cluster's seed, mixed with the number of the topic.
fn topic_id(seed: u64, number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(seed ^ number).to_be_bytes());
    id[8..].copy_from_slice(&mix(seed.wrapping_add(number).rotate_left(32)).to_be_bytes());
    id
}

/// SplitMix64.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
