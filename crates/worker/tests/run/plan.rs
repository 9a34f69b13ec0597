//! Plans before, between and after runs, and several connectors that meet in one cluster.

use std::collections::BTreeMap;

use super::*;
use topology::{Action, Plan};
use worker::{Planned, Prepared};

impl Desk {
    /// The plan of the one connector.
    async fn plan(&self) -> Plan {
        let mut planned = worker::plan(&self.prepared()).await;
        assert_eq!(planned.len(), 1);
        planned.remove(0).outcome.unwrap()
    }
}

/// What changes something for sure.
const WRITES: [ApiKey; 5] = [
    ApiKey::Produce,
    ApiKey::InitProducerId,
    ApiKey::OffsetCommit,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
];

/// What changes something, or is only judged.
const CHANGES: [ApiKey; 4] =
    [ApiKey::CreateTopics, ApiKey::CreatePartitions, ApiKey::IncrementalAlterConfigs, ApiKey::AlterConfigs];

fn requests(cluster: &Cluster, apis: &[ApiKey]) -> u64 {
    apis.iter().map(|api| cluster.requests(*api)).sum()
}

#[tokio::test]
async fn a_plan_touches_nothing_and_comes_true_and_then_nothing_is_left_to_plan() {
    for (source, destination) in [(Profile::V4_3, Profile::V4_3), (Profile::V2_8, Profile::V1_1)] {
        let mut desk = Desk::new(source, destination).await;
        desk.connector = "topic.whitelist=new,grown\n".into();
        for (topic, partitions) in [("new", 2), ("grown", 3)] {
            desk.source.create_topic(topic, partitions, &[]);
            desk.fill(topic, 0, 0..10);
        }
        desk.destination.create_topic("grown", 1, &[("max.message.bytes", "1000")]);
        let settings = desk.destination.topic_configs("grown");

        let plan = desk.plan().await;
        assert!(plan.is_pending());
        let steps: Vec<String> =
            plan.steps.iter().map(|step| format!("{} {}", step.topic, step.action)).collect();
        assert!(steps.contains(&"new create with 2 partitions, 1 replica".to_owned()), "{steps:?}");
        assert!(steps.contains(&"grown grow from 1 to 3 partitions".to_owned()), "{steps:?}");
        assert_eq!(plan.routes.len(), 5);
        // Judged by the destination, and done by nobody.
        assert_eq!(requests(&desk.source, &[&WRITES[..], &CHANGES[..]].concat()), 0);
        assert_eq!(requests(&desk.destination, &WRITES), 0);
        assert_eq!(requests(&desk.destination, &CHANGES), 3);
        assert_eq!(desk.destination.topics(), ["grown".into()]);
        assert_eq!(desk.destination.partitions("grown"), 1);
        assert_eq!(desk.destination.topic_configs("grown"), settings);
        assert!(!exists(&desk.offsets()) && !exists(&desk.offsets().with_extension("offsets.lock")));

        desk.catch_up().await.unwrap();
        assert_eq!(desk.copied("grown", 0), up_to(10));
        for step in &plan.steps {
            if let Action::Create { partitions, settings, .. } = &step.action {
                assert_eq!(desk.destination.partitions(step.topic.as_str()), *partitions);
                let made = desk.destination.topic_configs(step.topic.as_str());
                let planned = settings.iter().map(|(key, chosen)| (key.clone(), chosen.value.clone()));
                assert_eq!(made, planned.collect::<BTreeMap<_, _>>());
            }
        }
        let plan = desk.plan().await;
        assert!(plan.steps.is_empty() && !plan.is_pending(), "{plan}");
    }
}

#[tokio::test]
async fn a_plan_tells_what_would_be_refused_and_is_no_different_after_the_run() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.whitelist=fine,refused,fixed\n".into();
    for topic in ["fine", "refused", "fixed"] {
        desk.source.create_topic(topic, 1, &[]);
        desk.fill(topic, 0, 0..10);
    }
    desk.destination.create_topic("fixed", 1, &[("max.message.bytes", "1000")]);
    desk.destination.on(ApiKey::CreateTopics).topic("refused").always().fail(ErrorCode::POLICY_VIOLATION);
    desk.destination.on(ApiKey::IncrementalAlterConfigs).always().fail(ErrorCode::POLICY_VIOLATION);
    let before = desk.plan().await;
    let topics: Vec<&str> = before.steps.iter().map(|step| step.topic.as_str()).collect();
    assert_eq!(topics, ["fine"], "{before}");
    let blocked: Vec<String> =
        before.blocked.iter().map(|blocked| format!("{} {}", blocked.source, blocked.why)).collect();
    assert_eq!(blocked.len(), 1);
    assert!(blocked[0].starts_with("refused the destination refused: POLICY_VIOLATION (44)"), "{blocked:?}");
    assert!(
        before.warnings.iter().any(|warning| warning.text.starts_with("max.message.bytes=1000, wanted")),
        "{before}"
    );

    desk.catch_up().await.unwrap_err();
    let after = desk.plan().await;
    assert!(after.steps.is_empty(), "{after}");
    assert_eq!((&after.blocked, &after.warnings), (&before.blocked, &before.warnings));
}

#[tokio::test]
async fn a_plan_sees_names_that_collide_with_any_topic_and_sums_up_the_rest() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.whitelist=a.b\n".into();
    for topic in ["a.b", "other", "third"] {
        desk.source.create_topic(topic, 1, &[]);
    }
    desk.destination.create_topic("a_b", 1, &[]);
    let plan = desk.plan().await;
    assert!(plan.steps.is_empty(), "{plan}");
    assert!(plan.blocked[0].why.to_string().contains("`.` and `_` only, and there is `a_b`"), "{plan}");
    assert_eq!(plan.unselected.not_asked, ["other".into(), "third".into()]);
}

#[tokio::test]
async fn a_plan_is_made_beside_a_running_worker() {
    let desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.fill("test-topic", 0, 0..50);
    desk.run_while(async |_| {
        wait_until(|| desk.copied("test-topic.replica", 0).len() == 50).await;
        let plan = desk.plan().await;
        assert!(!plan.is_pending() && plan.routes.len() == 1, "{plan}");
    })
    .await;
}

#[tokio::test]
async fn progress_of_another_destination_is_told_by_a_plan_too() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.source.create_topic("test-topic", 1, &[]);
    desk.catch_up().await.unwrap();
    desk.destination = cluster("north").await;
    let planned = worker::plan(&desk.prepared()).await.remove(0);
    assert!(matches!(planned.outcome, Err(RunError::OtherDestination { .. })), "{planned}");
    assert_eq!(desk.destination.topics(), []);
}

async fn cluster(id: &str) -> Cluster {
    let config = Config { cluster_id: id.to_owned(), ..Config::new(1, Profile::V4_3) };
    Cluster::start(config).await.unwrap()
}

/// Several connectors of one worker, each with its source, its destination and its lines about topics.
struct Several {
    folder: tempfile::TempDir,
    connectors: Vec<(String, Cluster, Cluster, String)>,
}

impl Several {
    fn new(connectors: &[(&str, &Cluster, &Cluster, &str)]) -> Several {
        let own = |(name, source, destination, lines): &(&str, &Cluster, &Cluster, &str)| {
            ((*name).to_owned(), (*source).clone(), (*destination).clone(), (*lines).to_owned())
        };
        Several { folder: tempfile::tempdir().unwrap(), connectors: connectors.iter().map(own).collect() }
    }

    fn prepared(&self) -> Prepared {
        let offsets = self.folder.path().join("connect.offsets");
        let storage = format!("offset.storage.file.filename={}\n", offsets.display());
        let connector = |(name, source, destination, lines): &(String, Cluster, Cluster, String)| {
            let to = destination.bootstrap_servers();
            let lines = format!("dest.kafka.bootstrap.servers={to}\ntopic.poll.interval.ms=200\n{lines}");
            prepared::connector(source, name, &lines)
        };
        let connectors: Vec<String> = self.connectors.iter().map(connector).collect();
        prepared::load(&prepared::worker(&self.connectors[0].2, &storage), &connectors)
    }

    async fn plan(&self) -> Vec<Planned> {
        worker::plan(&self.prepared()).await
    }

    /// Copies what is there, and gives the reasons for what is not.
    async fn catch_up(&self) -> Vec<String> {
        let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
        let run = worker::run(self.prepared(), true, std::future::pending(), status);
        match tokio::time::timeout(PATIENCE, run).await.expect("the worker ends by itself") {
            Ok(_) => Vec::new(),
            Err(RunError::Incomplete { reasons }) => reasons,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What is not copied, and why, of each connector.
fn not_copied(planned: &[Planned]) -> Vec<String> {
    let of = |planned: &Planned| -> Vec<String> {
        let plan = planned.outcome.as_ref().unwrap();
        let told = |not: &topology::NotCopied| format!("{} {}: {}", planned.connector, not.source, not.why);
        plan.not_copied.iter().map(told).collect()
    };
    planned.iter().flat_map(of).collect()
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.topics().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn of_two_connectors_that_write_one_topic_the_first_does_and_the_other_says_so() {
    let (east, north, west) = (cluster("east").await, cluster("north").await, cluster("west").await);
    for (source, topics, start) in [(&east, ["both", "of-east"], 0), (&north, ["both", "of-north"], 100)] {
        for topic in topics {
            source.create_topic(topic, 1, &[]);
            fill(source, topic, 0, start..start + 10);
        }
    }
    let several = Several::new(&[
        ("first", &east, &west, "topic.regex=.*\n"),
        ("second", &north, &west, "topic.regex=.*\n"),
    ]);
    let expected = "second both: its copy would be `both`, which connector `first` writes";
    let planned = several.plan().await;
    assert_eq!(not_copied(&planned), [expected]);
    assert!(planned.iter().all(Planned::is_pending));
    let reasons = several.catch_up().await;
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].starts_with("topic `both`: its copy would be `both`, which connector `first` writes"),
        "{reasons:?}"
    );
    assert_eq!(numbers(&west, "both", 0), up_to(10));
    assert_eq!(numbers(&west, "of-east", 0), up_to(10));
    assert_eq!(numbers(&west, "of-north", 0), (100..110).collect::<Vec<_>>());
    assert_eq!(not_copied(&several.plan().await), [expected]);
}

#[tokio::test]
async fn two_opposite_connectors_neither_overwrite_nor_multiply() {
    let (east, west) = (cluster("east").await, cluster("west").await);
    east.create_topic("of-east", 1, &[]);
    fill(&east, "of-east", 0, 0..10);
    west.create_topic("of-west", 1, &[]);
    fill(&west, "of-west", 0, 100..110);

    // Under the same names each would be copied back over itself: the later one leaves it.
    let same = Several::new(&[
        ("there", &east, &west, "topic.regex=.*\n"),
        ("back", &west, &east, "topic.regex=.*\n"),
    ]);
    let told = not_copied(&same.plan().await);
    assert_eq!(told, ["back of-west: its copy `of-west` would be copied back over it by connector `there`"]);

    // Under other names each has its copies, and no copy of a copy.
    let prefixed = Several::new(&[
        ("there", &east, &west, "topic.regex=.*\ntopic.rename.format=east.${topic}\n"),
        ("back", &west, &east, "topic.regex=.*\ntopic.rename.format=west.${topic}\n"),
    ]);
    assert_eq!(not_copied(&prefixed.plan().await), Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(prefixed.catch_up().await, Vec::<String>::new());
        assert_eq!(names(&east), ["of-east", "west.of-west"]);
        assert_eq!(names(&west), ["east.of-east", "of-west"]);
    }
    assert_eq!(numbers(&west, "east.of-east", 0), up_to(10));
    assert_eq!(numbers(&east, "west.of-west", 0), (100..110).collect::<Vec<_>>());
    let planned = prefixed.plan().await;
    assert!(planned.iter().all(|planned| !planned.is_pending()), "{planned:?}");
    let by = |topic, flow| {
        format!("by its name it is the copy of the destination's `{topic}` by connector `{flow}`")
    };
    assert_eq!(
        not_copied(&planned),
        [
            format!("there west.of-west: {}", by("of-west", "back")),
            format!("back east.of-east: {}", by("of-east", "there")),
        ]
    );
}

#[tokio::test]
async fn a_connector_that_cannot_be_planned_keeps_no_other_from_it() {
    let (east, north, west) = (cluster("east").await, cluster("north").await, cluster("west").await);
    north.create_topic("t", 1, &[]);
    east.broker(0).stop().await;
    let several = Several::new(&[
        ("first", &east, &west, "topic.regex=.*\nsrc.kafka.request.timeout.ms=1000\n"),
        ("second", &north, &west, "topic.regex=.*\n"),
    ]);
    let planned = several.plan().await;
    assert!(matches!(planned[0].outcome, Err(RunError::Reach(_))), "{planned:?}");
    assert!(planned[1].is_pending());
    let document = worker::document(&planned);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["pending"], true);
    assert!(
        document["connectors"][0]["error"].as_str().unwrap().starts_with("cannot reach the source cluster")
    );
    assert_eq!(document["connectors"][1]["topics"][0]["destination"], "t");
}

#[tokio::test]
async fn a_topic_that_vanished_and_one_with_a_flaw_are_shown_for_as_long() {
    let mut desk = Desk::new(Profile::V4_3, Profile::V4_3).await;
    desk.connector = "topic.regex=[a-z]+\n".into();
    for topic in ["stays", "goes"] {
        desk.source.create_topic(topic, 1, &[]);
        desk.fill(topic, 0, 0..10);
    }
    desk.destination.create_topic("stays", 3, &[]);
    desk.run_while(async |status| {
        wait_until(|| desk.copied("goes", 0).len() == 10 && desk.copied("stays", 0).len() == 10).await;
        let is_told = |text: &String| text.starts_with("`stays`: it has 3 partitions, `stays` has 1");
        wait_until(|| status.borrow().flows[0].warnings.iter().any(is_told)).await;
        assert_eq!(status.borrow().flows[0].gone, []);
        desk.source.delete_topic("goes");
        wait_until(|| status.borrow().flows[0].gone == ["goes".into()]).await;
        desk.source.create_topic("goes", 1, &[]);
        wait_until(|| status.borrow().flows[0].gone.is_empty()).await;
    })
    .await;
    assert_eq!(desk.copied("goes", 0), up_to(10));
}
