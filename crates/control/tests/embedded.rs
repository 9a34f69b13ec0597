//! The control plane against clusters in this process, in paused time.

#[path = "embedded/grants.rs"]
mod grants;
#[path = "embedded/observing.rs"]
mod observing;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use client::{Address, Opener, Stream};
use control::{Control, ControlStatus, Granted, Options, OtherFlow, plan_once};
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use model::{Routes, TimestampRule};
use tokio::time::timeout;
use topology::{Naming, Neighbour, Pattern, Selection, SettingNames};

use grants::NoGrants;

/// Opens connections to a cluster in memory.
#[derive(Debug)]
struct InMemory(Cluster);

impl Opener for InMemory {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let opened = self.0.connect(address.port).map(|stream| {
            let (reader, writer) = tokio::io::split(stream);
            Stream::new(reader, writer)
        });
        Box::pin(async { opened })
    }
}

/// Two clusters and what is to be copied from one to the other.
struct Flow {
    source: Cluster,
    destination: Cluster,
    options: Options,
}

async fn cluster(id: &str, brokers: usize, profile: Profile) -> Cluster {
    let mut config = Config::new(brokers, profile).in_memory();
    config.cluster_id = id.to_owned();
    Cluster::start(config).await.expect("nothing to listen on")
}

async fn flow(whitelist: &[&str]) -> Flow {
    flow_between(whitelist, Profile::V4_3, Profile::V4_3).await
}

async fn flow_between(whitelist: &[&str], source: Profile, destination: Profile) -> Flow {
    let selection = Selection {
        whitelist: whitelist.iter().map(|name| (*name).into()).collect(),
        ..Selection::default()
    };
    Flow {
        source: cluster("source", 2, source).await,
        destination: cluster("destination", 2, destination).await,
        options: Options {
            selection,
            naming: Naming::new("${topic}.replica").expect("a format"),
            poll_interval: Duration::from_secs(60),
            config_sync_interval: Duration::from_secs(60),
            create_backoff: Duration::from_secs(10),
            ..Options::default()
        },
    }
}

impl Flow {
    fn clients(&self) -> [client::Cluster; 2] {
        [("source", &self.source), ("destination", &self.destination)].map(|(name, cluster)| {
            let options = client::Options::new(name, cluster.bootstrap());
            client::Cluster::with_opener(options, Box::new(InMemory(cluster.clone())))
        })
    }

    fn start(&self) -> Running {
        let [source, destination] = self.clients();
        let control = Control::start(source, destination, self.options.clone(), Box::new(NoGrants));
        Running { routes: control.routes(), status: control.status(), control }
    }
}

struct Running {
    routes: tokio::sync::watch::Receiver<Arc<Routes>>,
    status: tokio::sync::watch::Receiver<Arc<ControlStatus>>,
    control: Control,
}

impl Running {
    /// Waits for a status that holds, an hour of the paused clock at most.
    async fn until(&mut self, holds: impl Fn(&ControlStatus) -> bool) -> Arc<ControlStatus> {
        let mut seen = self.status.clone();
        let status = timeout(Duration::from_secs(3600), seen.wait_for(|status| holds(status))).await;
        match status {
            Ok(status) => Arc::clone(&status.expect("control runs")),
            Err(_) => panic!("never so: {:#?}", self.status.borrow()),
        }
    }

    async fn first(&mut self) -> Arc<ControlStatus> {
        self.until(ControlStatus::is_first_observation_complete).await
    }

    /// The next whole observation that begins after now.
    async fn next(&mut self) -> Arc<ControlStatus> {
        let seen = self.status.borrow().observations;
        self.until(|status| status.observations > seen).await
    }

    /// The partitions copied, as `topic-partition`, of the source.
    fn copied(&self) -> Vec<String> {
        self.routes.borrow().routes.iter().map(|route| route.source.to_string()).collect()
    }
}

fn settings(cluster: &Cluster, topic: &str) -> Vec<String> {
    cluster.topic_configs(topic).iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_created_ready_for_its_data_whatever_the_versions() {
    let wide = "9223372036854775807";
    let limits = |destination| match destination {
        Profile::V1_1 | Profile::V2_8 => Vec::new(),
        Profile::V3_9 | Profile::V4_3 => vec![
            format!("message.timestamp.after.max.ms={wide}"),
            format!("message.timestamp.before.max.ms={wide}"),
        ],
    };
    for (from, to) in [
        (Profile::V4_3, Profile::V4_3),
        (Profile::V2_8, Profile::V4_3),
        (Profile::V1_1, Profile::V3_9),
        (Profile::V3_9, Profile::V1_1),
        (Profile::V4_3, Profile::V2_8),
    ] {
        let flow = flow_between(&["t"], from, to).await;
        flow.source.create_topic("t", 3, &[("retention.ms", "-1"), ("min.insync.replicas", "2")]);
        let mut running = flow.start();
        let status = running.first().await;
        assert_eq!(
            (status.blocked.as_slice(), status.warnings.as_slice()),
            (&[][..], &[][..]),
            "{from:?} {to:?}"
        );
        assert_eq!(running.copied(), ["t-0", "t-1", "t-2"]);
        let mut expected = vec!["compression.type=producer".to_owned()];
        // Before 2.4 the default is smaller.
        if to == Profile::V1_1 {
            expected.push("max.message.bytes=1048588".to_owned());
        }
        expected.extend(limits(to));
        expected.push("message.timestamp.type=CreateTime".to_owned());
        expected.push("retention.ms=-1".to_owned());
        assert_eq!(settings(&flow.destination, "t.replica"), expected, "{from:?} {to:?}");
        let routes = running.routes.borrow().clone();
        assert_eq!(
            routes.routes[0].source_topic_id,
            flow.source.topic_id("t").filter(|_| from >= Profile::V2_8)
        );
        let id = flow.destination.topic_id("t.replica").filter(|_| to >= Profile::V2_8);
        assert_eq!(routes.routes[0].destination_topic_id, id);
        assert_eq!(routes.routes[0].rule.timestamps, TimestampRule::AsAtSource);
        assert_eq!(routes.routes[0].rule.zstd, to >= Profile::V2_8);
        running.control.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn observations_that_find_nothing_new_change_nothing() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 1, &[]);
    let mut running = flow.start();
    running.first().await;
    let generation = running.routes.borrow().generation;
    let changes = [ApiKey::CreateTopics, ApiKey::CreatePartitions, ApiKey::IncrementalAlterConfigs];
    let before = changes.map(|api| flow.destination.requests(api));
    for _ in 0..5 {
        running.next().await;
    }
    assert_eq!(running.routes.borrow().generation, generation);
    assert_eq!(changes.map(|api| flow.destination.requests(api)), before);
    assert_eq!(flow.source.requests(ApiKey::CreateTopics), 0);
}

#[tokio::test(start_paused = true)]
async fn new_topics_and_partitions_are_followed_and_deleted_ones_are_left_alone() {
    let mut flow = flow(&["listed"]).await;
    flow.options.selection.regex = Some(Pattern::new("(?!secret)[a-z]+").expect("a pattern"));
    flow.source.create_topic("listed", 1, &[]);
    flow.source.create_topic("secret", 1, &[]);
    let mut running = flow.start();
    running.first().await;
    assert_eq!(running.copied(), ["listed-0"]);
    flow.source.add_partitions("listed", 3);
    flow.source.create_topic("matching", 1, &[]);
    running.next().await;
    assert_eq!(running.copied(), ["listed-0", "listed-1", "listed-2", "matching-0"]);
    assert_eq!(flow.destination.partitions("listed.replica"), 3);

    flow.source.delete_topic("matching");
    let status = running.until(|status| !status.gone.is_empty()).await;
    assert_eq!(status.gone, ["matching".into()]);
    assert_eq!(running.copied(), ["listed-0", "listed-1", "listed-2"]);
    assert!(flow.destination.topics().contains(&"matching.replica".into()));

    flow.source.create_topic("matching", 1, &[]);
    let status = running.until(|status| status.gone.is_empty()).await;
    assert_eq!(status.partitions, 4);
    assert_eq!(running.routes.borrow().routes[3].source_topic_id, flow.source.topic_id("matching"));
}

#[tokio::test(start_paused = true)]
async fn a_listed_topic_that_is_missing_is_reported_and_copied_once_it_is_there() {
    let flow = flow(&["there", "late", "__consumer_offsets"]).await;
    flow.source.create_topic("there", 1, &[]);
    let mut running = flow.start();
    let status = running.first().await;
    let reasons: Vec<String> =
        status.not_copied.iter().map(|not| format!("{}: {}", not.source, not.why)).collect();
    let expected = [
        "__consumer_offsets: it belongs to the source cluster itself",
        "late: it is in topic.whitelist and not at the source",
    ];
    assert_eq!(reasons, expected);
    assert_eq!(running.copied(), ["there-0"]);
    flow.source.create_topic("late", 1, &[]);
    running.next().await;
    assert_eq!(running.copied(), ["late-0", "there-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_more_replicas_than_brokers_waits_for_brokers_and_the_others_do_not() {
    let flow = flow(&["two", "one"]).await;
    flow.source.create_topic_replicated("two", 1, 2, &[]);
    flow.source.create_topic_replicated("one", 1, 1, &[]);
    flow.destination.broker(1).stop().await;
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(status.blocked[0].why.to_string(), "2 replicas are wanted, the destination has 1 broker");
    assert_eq!(running.copied(), ["one-0"]);
    flow.destination.broker(1).start().await.expect("in memory");
    let start = tokio::time::Instant::now();
    running.until(|status| status.blocked.is_empty()).await;
    assert_eq!(running.copied(), ["one-0", "two-0"]);
    assert!(start.elapsed() <= flow.options.create_backoff + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_topic_the_destination_refuses_is_left_alone_for_a_while_and_tried_again() {
    let flow = flow(&["a", "b"]).await;
    flow.source.create_topic("a", 1, &[]);
    flow.source.create_topic("b", 1, &[]);
    let refusing = flow
        .destination
        .on(ApiKey::CreateTopics)
        .topic("a.replica")
        .always()
        .fail(ErrorCode::POLICY_VIOLATION);
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(status.blocked.len(), 1);
    let why = status.blocked[0].why.to_string();
    assert!(why.starts_with("the destination refused: POLICY_VIOLATION (44)"), "{why}");
    let tries = refusing.hits();
    running.until(|status| status.observations == 4).await;
    assert_eq!(refusing.hits(), tries + 3, "one try each create_backoff");
    refusing.clear();
    running.until(|status| status.blocked.is_empty()).await;
    assert_eq!(running.copied(), ["a-0", "b-0"]);
}

#[tokio::test(start_paused = true)]
async fn intervals_of_zero_do_not_make_it_spin() {
    let mut flow = flow(&["a", "b"]).await;
    flow.options.poll_interval = Duration::ZERO;
    flow.options.create_backoff = Duration::ZERO;
    flow.source.create_topic("a", 1, &[]);
    flow.source.create_topic("b", 1, &[]);
    let refusing = flow.destination.on(ApiKey::CreateTopics).topic("a.replica").always();
    let refusing = refusing.fail(ErrorCode::POLICY_VIOLATION);
    let mut running = flow.start();
    let start = tokio::time::Instant::now();
    let status = running.until(|status| status.observations == 10).await;
    assert_eq!((status.blocked.len(), running.copied()), (1, vec!["b-0".to_owned()]));
    assert!(start.elapsed() >= Duration::from_secs(1) && refusing.hits() <= 11, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_is_lost_is_a_creation() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 2, &[]);
    flow.destination.on(ApiKey::CreateTopics).drop_reply();
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!((status.partitions, status.blocked.len()), (2, 0));
    assert_eq!(flow.destination.requests(ApiKey::CreateTopics), 1);
}

#[tokio::test(start_paused = true)]
async fn an_existing_copy_is_set_to_let_batches_through_as_far_as_the_destination_lets_it() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 2, &[]);
    let copy = [("compression.type", "gzip"), ("max.message.bytes", "1000"), ("retention.bytes", "5")];
    flow.destination.create_topic("t.replica", 1, &copy);
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(flow.destination.partitions("t.replica"), 2);
    let set = settings(&flow.destination, "t.replica");
    let expected = ["compression.type=producer", "message.timestamp.after.max.ms=9223372036854775807"];
    assert_eq!(set, expected);
    assert_eq!(running.routes.borrow().routes[0].rule.batch_bytes_max, 1_048_588);
    assert_eq!(status.warnings, []);
}

/// The values of some settings of a copy.
fn values<const N: usize>(cluster: &Cluster, topic: &str, keys: [&str; N]) -> [Option<String>; N] {
    let set = cluster.topic_configs(topic);
    keys.map(|key| set.get(key).cloned())
}

#[tokio::test(start_paused = true)]
async fn settings_follow_the_source_and_others_stay_whatever_the_versions() {
    for (from, to) in
        [(Profile::V4_3, Profile::V4_3), (Profile::V2_8, Profile::V4_3), (Profile::V4_3, Profile::V1_1)]
    {
        let mut flow = flow_between(&["t"], from, to).await;
        flow.options.topics.config_sync_exclude = SettingNames::new(["flush.*"]);
        let own = [("retention.ms", "5000"), ("delete.retention.ms", "9"), ("flush.messages", "3")];
        flow.source.create_topic("t", 1, &own);
        let mut running = flow.start();
        running.first().await;
        let keys = ["retention.ms", "delete.retention.ms", "flush.messages", "segment.ms", "segment.bytes"];
        let some = |value: &str| Some(value.to_owned());
        let created = [some("5000"), some("9"), some("3"), None, None];
        assert_eq!(values(&flow.destination, "t.replica", keys), created, "{from:?} {to:?}");

        let local = [("segment.bytes", "5000000"), ("min.insync.replicas", "2"), ("flush.ms", "7")];
        for (key, value) in local {
            flow.destination.set_topic_config("t.replica", key, Some(value));
        }
        let changes = [
            ("retention.ms", Some("-1")),
            ("delete.retention.ms", None),
            ("flush.messages", None),
            ("segment.ms", Some("6")),
        ];
        for (key, value) in changes {
            flow.source.set_topic_config("t", key, value);
        }
        let status = running.next().await;
        let followed = [some("-1"), None, some("3"), some("6"), None];
        assert_eq!(values(&flow.destination, "t.replica", keys), followed, "{from:?} {to:?}");
        let stays =
            values(&flow.destination, "t.replica", ["min.insync.replicas", "flush.ms", "compression.type"]);
        assert_eq!(stays, [some("2"), some("7"), some("producer")], "{from:?} {to:?}");
        assert_eq!((status.warnings.as_slice(), running.copied()), (&[][..], vec!["t-0".to_owned()]));

        let [source, destination] = flow.clients();
        let plan = plan_once(&source, &destination, &flow.options, &Granted::default())
            .await
            .expect("both are there");
        assert_eq!(plan.steps, [], "{plan}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_do_not_follow_where_sync_is_off() {
    let mut flow = flow(&["t"]).await;
    flow.options.topics.config_sync = false;
    flow.source.create_topic("t", 1, &[("retention.ms", "5000")]);
    let mut running = flow.start();
    running.first().await;
    flow.source.set_topic_config("t", "retention.ms", Some("6000"));
    flow.source.set_topic_config("t", "segment.ms", Some("6"));
    let status = running.next().await;
    let copy = values(&flow.destination, "t.replica", ["retention.ms", "segment.ms"]);
    assert_eq!(copy, [Some("5000".to_owned()), None]);
    let told: Vec<String> = status.warnings.iter().map(ToString::to_string).collect();
    let expected = "`t.replica`: retention.ms=5000, 6000 at the source: the copy deletes records that the source still has";
    assert_eq!(told, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_setting_is_one_warning_and_the_others_are_set() {
    for (profile, api) in
        [(Profile::V4_3, ApiKey::IncrementalAlterConfigs), (Profile::V1_1, ApiKey::AlterConfigs)]
    {
        let flow = flow_between(&["t"], Profile::V4_3, profile).await;
        flow.source.create_topic("t", 1, &[("delete.retention.ms", "9")]);
        let mut running = flow.start();
        running.first().await;
        flow.destination.set_topic_config("t.replica", "min.insync.replicas", Some("2"));
        let changes =
            [("delete.retention.ms", None), ("retention.ms", Some("5000")), ("segment.ms", Some("6"))];
        for (key, value) in changes {
            flow.source.set_topic_config("t", key, value);
        }
        // All three at once, then the first alone.
        let refusing = flow.destination.on(api).times(2).fail(ErrorCode::POLICY_VIOLATION);
        let status = running.next().await;
        assert_eq!(refusing.hits(), 2, "{profile:?}");
        let keys = ["delete.retention.ms", "retention.ms", "segment.ms", "min.insync.replicas"];
        let some = |value: &str| Some(value.to_owned());
        let set = [some("9"), some("5000"), some("6"), some("2")];
        assert_eq!(values(&flow.destination, "t.replica", keys), set, "{profile:?}");
        let [warning] = &status.warnings[..] else { panic!("{:?}", status.warnings) };
        let beginning = "delete.retention.ms=9, wanted is the broker's default (not set at the source; the default is \
                         86400000): the destination did not take it: POLICY_VIOLATION (44)";
        assert!(warning.text.starts_with(beginning), "{}", warning.text);
        assert_eq!(running.copied(), ["t-0"]);

        running.until(|status| status.warnings.is_empty()).await;
        let set = [None, some("5000"), some("6"), some("2")];
        assert_eq!(values(&flow.destination, "t.replica", keys), set, "{profile:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_may_not_be_changed_are_warned_about_and_the_copy_goes_on() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 1, &[]);
    flow.destination.create_topic("t.replica", 1, &[("max.message.bytes", "1000")]);
    flow.destination.on(ApiKey::IncrementalAlterConfigs).always().fail(ErrorCode::POLICY_VIOLATION);
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(running.copied(), ["t-0"]);
    assert_eq!(running.routes.borrow().routes[0].rule.batch_bytes_max, 1000);
    let about: BTreeSet<&str> =
        status.warnings.iter().filter_map(|warning| warning.text.split('=').next()).collect();
    assert_eq!(about, BTreeSet::from(["max.message.bytes", "message.timestamp.after.max.ms"]));
}

#[tokio::test(start_paused = true)]
async fn changes_that_do_not_come_about_hold_up_no_topic() {
    let flow = flow(&["new", "old", "slow"]).await;
    for topic in ["new", "old", "slow"] {
        flow.source.create_topic(topic, 1, &[]);
    }
    flow.destination.create_topic("old.replica", 1, &[("max.message.bytes", "1000")]);
    let pretending = flow.destination.on(ApiKey::IncrementalAlterConfigs).always().fail(ErrorCode::NONE);
    let slow = flow
        .destination
        .on(ApiKey::CreateTopics)
        .topic("slow.replica")
        .always()
        .fail(ErrorCode::REQUEST_TIMED_OUT);
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(running.copied(), ["new-0", "old-0"]);
    let told: Vec<&str> = status.warnings.iter().filter_map(|w| w.text.rsplit("): ").next()).collect();
    assert_eq!(told, ["the destination did not take it: accepted, and without effect"; 2]);
    assert_eq!(status.blocked.len(), 1);
    let why = status.blocked[0].why.to_string();
    assert!(why.starts_with("the destination refused: REQUEST_TIMED_OUT (7)"), "{why}");
    assert_eq!(pretending.hits(), 1);
    pretending.clear();
    slow.clear();
    let status = running.until(|status| status.blocked.is_empty() && status.warnings.is_empty()).await;
    assert_eq!(status.partitions, 3);
}

#[tokio::test(start_paused = true)]
async fn clusters_that_cannot_be_reached_are_told_apart_and_tried_until_they_can() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 1, &[]);
    for broker in [0, 1] {
        flow.source.broker(broker).stop().await;
    }
    let mut running = flow.start();
    let status = running.until(|status| status.failures == 2).await;
    let error = status.source_error.as_deref().expect("an error");
    assert!(error.starts_with("no broker of cluster `source` can be reached: "), "{error}");
    assert_eq!((status.destination_error.as_ref(), status.observations), (None, 0));
    for broker in [0, 1] {
        flow.source.broker(broker).start().await.expect("in memory");
    }
    let status = running.first().await;
    assert_eq!((status.failures, status.source_error.as_ref()), (0, None));
    assert_eq!(running.copied(), ["t-0"]);
    for broker in [0, 1] {
        flow.destination.broker(broker).stop().await;
    }
    running.until(|status| status.destination_error.is_some()).await;
    // What is copied stays so: the lanes have their own eyes.
    assert_eq!(running.copied(), ["t-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_knows_no_topics_for_a_moment_stops_no_copy() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 1, &[]);
    let mut running = flow.start();
    running.first().await;
    let generation = running.routes.borrow().generation;
    let forgetful = flow.source.on(ApiKey::Metadata).topic("t").fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let status = running.next().await;
    assert_eq!(forgetful.hits(), 1);
    assert_eq!((status.gone.len(), status.not_copied.len()), (0, 0));
    assert_eq!(running.routes.borrow().generation, generation);
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing() {
    let flow = flow(&["t", "missing"]).await;
    flow.source.create_topic("t", 1, &[]);
    let [source, destination] = flow.clients();
    let plan = plan_once(&source, &destination, &flow.options, &Granted::default())
        .await
        .expect("both are there")
        .to_string();
    assert!(
        plan.starts_with("create `t.replica` with 1 partition, 2 replicas: `t` has no copy yet\n"),
        "{plan}"
    );
    assert!(plan.ends_with("    `t` -> `t.replica`  (1 partition)\n"), "{plan}");
    assert_eq!(flow.destination.topics(), []);
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_is_refused_alone_does_not_stay_planned() {
    for destination in [Profile::V1_1, Profile::V4_3] {
        let flow = flow_between(&["t", "new"], Profile::V4_3, destination).await;
        flow.source.create_topic("t", 1, &[]);
        flow.source.create_topic("new", 1, &[("flush.ms", "7")]);
        flow.destination.create_topic("t.replica", 1, &[("compression.type", "gzip")]);
        let api =
            if destination == Profile::V1_1 { ApiKey::AlterConfigs } else { ApiKey::IncrementalAlterConfigs };
        let refusing = flow.destination.on(api).topic("t.replica").always().fail(ErrorCode::INVALID_CONFIG);
        let [source, destination] = flow.clients();
        let plan = plan_once(&source, &destination, &flow.options, &Granted::default())
            .await
            .expect("both are there");
        let steps: Vec<String> = plan.steps.iter().map(|step| step.topic.to_string()).collect();
        assert_eq!(steps, ["new.replica"], "{plan}");
        let about: Vec<&str> =
            plan.warnings.iter().filter_map(|warning| warning.text.split('=').next()).collect();
        assert!(about.contains(&"compression.type"), "{plan}");
        // All at once, and then each alone.
        assert!(refusing.hits() >= 2, "{}", refusing.hits());
        assert_eq!(settings(&flow.destination, "t.replica"), ["compression.type=gzip"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_does_not_answer_the_trial_leaves_the_plan_as_it_is_and_a_warning() {
    let flow = flow(&["t"]).await;
    flow.source.create_topic("t", 1, &[]);
    flow.destination.on(ApiKey::CreateTopics).always().fail(ErrorCode::REQUEST_TIMED_OUT);
    let [source, destination] = flow.clients();
    let plan =
        plan_once(&source, &destination, &flow.options, &Granted::default()).await.expect("both are there");
    assert_eq!(plan.steps.len(), 1);
    let told: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
    let expected =
        "`t.replica`: whether the destination takes these changes is not known: REQUEST_TIMED_OUT (7)";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_flow_writes_stays_its_own_while_its_source_is_away() {
    let mut flow = flow(&["shared", "own"]).await;
    let other = cluster("other", 1, Profile::V4_3).await;
    other.create_topic("shared", 1, &[]);
    for topic in ["shared", "own"] {
        flow.source.create_topic(topic, 1, &[]);
    }
    let mut options = client::Options::new("other", other.bootstrap());
    options.request_timeout = Duration::from_secs(2);
    flow.options.others = vec![OtherFlow {
        neighbour: Neighbour {
            name: "first".to_owned(),
            source_cluster: "other".to_owned(),
            destination_cluster: "destination".to_owned(),
            selection: Selection {
                regex: Some(Pattern::new(".*").expect("a pattern")),
                ..Selection::default()
            },
            naming: flow.options.naming.clone(),
            goes_first: true,
        },
        source: client::Cluster::with_opener(options, Box::new(InMemory(other.clone()))),
    }];
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(running.copied(), ["own-0"]);
    let why = status.not_copied[0].why.to_string();
    assert_eq!(why, "its copy would be `shared.replica`, which connector `first` writes");
    other.broker(0).stop().await;
    running.next().await;
    assert_eq!(running.copied(), ["own-0"]);
    other.broker(0).start().await.expect("in memory");
    other.delete_topic("shared");
    running.until(|status| status.not_copied.is_empty()).await;
    assert_eq!(running.copied(), ["own-0", "shared-0"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_no_cluster() {
    let flow = flow(&["t"]).await;
    let hung = flow.source.on(ApiKey::Metadata).always().hang();
    let running = flow.start();
    hung.happened().await;
    let stopping = tokio::time::Instant::now();
    running.control.stop().await;
    assert_eq!(stopping.elapsed(), Duration::ZERO);
}
