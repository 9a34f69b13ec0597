//! What is asked and how often, and that topics do not wait for each other.

use std::sync::Mutex;

use model::Route;
use tokio::task::JoinHandle;

use super::*;

/// Polls every second, settings every minute.
async fn quick(source: Profile, destination: Profile) -> Flow {
    let mut flow = flow_between(&[], source, destination).await;
    flow.options.selection.regex = Some(Pattern::new("t.*").expect("a pattern"));
    flow.options.poll_interval = Duration::from_secs(1);
    flow
}

impl Flow {
    /// Requests for metadata, settings, and anything else, at both clusters.
    fn asked(&self) -> [[u64; 3]; 2] {
        [&self.source, &self.destination].map(|cluster| {
            let [metadata, settings] =
                [ApiKey::Metadata, ApiKey::DescribeConfigs].map(|api| cluster.requests(api));
            let changes = [ApiKey::CreateTopics, ApiKey::CreatePartitions, ApiKey::IncrementalAlterConfigs];
            [metadata, settings, changes.iter().map(|api| cluster.requests(*api)).sum()]
        })
    }

    fn since(&self, before: [[u64; 3]; 2]) -> [[u64; 3]; 2] {
        let now = self.asked();
        [0, 1].map(|side: usize| [0, 1, 2].map(|kind: usize| now[side][kind] - before[side][kind]))
    }
}

/// What was published, each time.
type Published = Arc<Mutex<Vec<Arc<Routes>>>>;

/// All routes that are published from now on.
fn published(running: &Running) -> (Published, JoinHandle<()>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (mut routes, noted) = (running.routes.clone(), Arc::clone(&seen));
    let noting = tokio::spawn(async move {
        while routes.changed().await.is_ok() {
            let present = Arc::clone(&routes.borrow_and_update());
            noted.lock().expect("no panic").push(present);
        }
    });
    (seen, noting)
}

#[tokio::test(start_paused = true)]
async fn a_poll_asks_for_metadata_only_and_settings_have_their_own_interval() {
    for (from, to) in [(Profile::V4_3, Profile::V4_3), (Profile::V1_1, Profile::V2_8)] {
        let flow = quick(from, to).await;
        for topic in ["t1", "t2", "t3"] {
            flow.source.create_topic(topic, 2, &[]);
        }
        let mut running = flow.start();
        running.first().await;
        let first = flow.asked();
        for _ in 0..10 {
            running.next().await;
        }
        assert_eq!(flow.since(first), [[10, 0, 0], [10, 0, 0]], "{from:?} {to:?}");

        // What is new is asked about, alone, and so is its copy once it is there.
        let others = [(&flow.source, "t1"), (&flow.destination, "t1.replica")]
            .map(|(cluster, topic)| cluster.on(ApiKey::DescribeConfigs).topic(topic).always().look(|_| {}));
        flow.source.create_topic("t4", 1, &[]);
        let before = flow.asked();
        let status = running.next().await;
        assert_eq!((status.topics, status.warnings.len()), (4, 0), "{from:?} {to:?}");
        let [[_, source, _], [_, destination, changes]] = flow.since(before);
        assert_eq!((source, destination, changes), (1, 1, 1), "{from:?} {to:?}");
        assert_eq!(others.map(|other| other.hits()), [0, 0], "{from:?} {to:?}");

        // Within the minute all are asked again, together.
        let before = flow.asked();
        for _ in 0..60 {
            running.next().await;
        }
        assert_eq!(flow.since(before), [[60, 1, 0], [60, 1, 0]], "{from:?} {to:?}");
        running.control.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn settings_follow_within_their_interval_and_those_of_another_topic_of_the_name_at_once() {
    let flow = quick(Profile::V4_3, Profile::V4_3).await;
    flow.source.create_topic("t", 1, &[]);
    let mut running = flow.start();
    running.first().await;
    flow.source.set_topic_config("t", "retention.ms", Some("5000"));
    let start = tokio::time::Instant::now();
    let followed = || values(&flow.destination, "t.replica", ["retention.ms"]) == [Some("5000".to_owned())];
    while !followed() {
        running.next().await;
    }
    let took = start.elapsed();
    assert!(took > Duration::from_secs(50) && took <= Duration::from_secs(61), "{took:?}");

    flow.destination.delete_topic("t.replica");
    flow.destination.create_topic("t.replica", 1, &[("compression.type", "gzip")]);
    running.next().await;
    assert!(followed());
    assert_eq!(values(&flow.destination, "t.replica", ["compression.type"]), [Some("producer".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_does_not_tell_is_asked_again_and_not_at_every_poll() {
    let flow = quick(Profile::V4_3, Profile::V4_3).await;
    flow.source.create_topic("t", 1, &[]);
    let secret = flow.source.on(ApiKey::DescribeConfigs).topic("t").always();
    let secret = secret.fail(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let mut running = flow.start();
    let status = running.first().await;
    assert_eq!(status.blocked.len(), 1);
    for _ in 0..25 {
        running.next().await;
    }
    // Every ten seconds, as what was refused.
    assert!((3..=4).contains(&secret.hits()), "{}", secret.hits());
    secret.clear();
    running.until(|status| status.blocked.is_empty()).await;
    assert_eq!(running.copied(), ["t-0"]);
}

#[tokio::test(start_paused = true)]
async fn no_route_changes_because_of_another_topic() {
    let flow = quick(Profile::V4_3, Profile::V2_8).await;
    for topic in ["t-kept", "t-grown", "t-deleted", "t-set"] {
        flow.source.create_topic(topic, 2, &[]);
    }
    let mut running = flow.start();
    running.first().await;
    let of = |routes: &Routes, topics: &[&str]| -> Vec<Route> {
        let is_of = |route: &&Route| topics.contains(&route.source.topic.as_str());
        routes.routes.iter().filter(is_of).cloned().collect()
    };
    let untouched = ["t-kept", "t-set"];
    let kept = of(&running.routes.borrow(), &untouched);
    assert_eq!(kept.len(), 4);
    let (seen, noting) = published(&running);
    flow.destination
        .on(ApiKey::CreateTopics)
        .topic("t-refused.replica")
        .always()
        .fail(ErrorCode::POLICY_VIOLATION);
    for (number, name) in ["t-a", "t-refused", "t-z"].iter().enumerate() {
        flow.source.create_topic(name, 1, &[]);
        flow.source.add_partitions("t-grown", 3 + i32::try_from(number).expect("small"));
        running.next().await;
    }
    flow.source.set_topic_config("t-set", "retention.ms", Some("5000"));
    flow.source.delete_topic("t-deleted");
    running.until(|status| !status.gone.is_empty()).await;
    while values(&flow.destination, "t-set.replica", ["retention.ms"]) == [None] {
        running.next().await;
    }
    noting.abort();
    let seen = seen.lock().expect("no panic");
    assert!(seen.len() >= 4, "{}", seen.len());
    for routes in seen.iter() {
        assert_eq!(of(routes, &untouched), kept, "generation {}", routes.generation);
    }
    assert_eq!(of(seen.last().expect("some"), &["t-grown"]).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn of_many_new_topics_the_first_are_copied_before_the_last_are_created() {
    let flow = quick(Profile::V4_3, Profile::V4_3).await;
    for number in 0..1_200 {
        flow.source.create_topic(&format!("t{number:04}"), 1, &[]);
    }
    let mut running = flow.start();
    let (seen, noting) = published(&running);
    let status = running.first().await;
    assert_eq!((status.topics, status.blocked.len(), status.warnings.len()), (1_200, 0, 0));
    noting.abort();
    let counts: Vec<usize> =
        seen.lock().expect("no panic").iter().map(|routes| routes.routes.len()).collect();
    assert_eq!(counts, [500, 1_000, 1_200]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_comes_up_while_others_do_not_come_about_is_not_held_back_with_them() {
    let flow = quick(Profile::V4_3, Profile::V4_3).await;
    flow.source.create_topic("t-slow", 1, &[]);
    let slow = flow.destination.on(ApiKey::CreateTopics).topic("t-slow.replica").always();
    slow.fail(ErrorCode::REQUEST_TIMED_OUT);
    let mut running = flow.start();
    let source = flow.source.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        source.create_topic("t-late", 1, &[]);
    });
    let status = running.first().await;
    assert_eq!(running.copied(), ["t-late-0"]);
    let blocked: Vec<&str> = status.blocked.iter().map(|blocked| blocked.source.as_str()).collect();
    assert_eq!(blocked, ["t-slow"]);
}
