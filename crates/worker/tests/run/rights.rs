//! What users must be allowed to do: what the list says is enough, and what is missing from it is named.

use super::*;
use topology::rights::{Resource, Right, Side};

const USER: &str = "User:ANONYMOUS";

/// Two clusters with an authorizer each, and a connector for `t` and `u`, which are there with ten records.
async fn desk(source: Profile, destination: Profile) -> Desk {
    let start = |profile, name: &str| {
        let cluster_id = name.to_owned();
        Cluster::start(Config { cluster_id, super_users: Some(Vec::new()), ..Config::new(1, profile) })
    };
    let desk = Desk {
        source: start(source, "east").await.unwrap(),
        destination: start(destination, "west").await.unwrap(),
        connector: "topic.whitelist=t,u\n".into(),
        ..Desk::new(source, destination).await
    };
    for topic in ["t", "u"] {
        desk.source.create_topic(topic, 2, &[]);
        desk.fill(topic, 0, 0..10);
    }
    // One is to be created, the other one to be grown.
    desk.destination.create_topic("t", 1, &[]);
    desk
}

impl Desk {
    fn needed(&self) -> Vec<Right> {
        self.prepared().rights().remove(0).1
    }

    /// Gives what `right` is about, but for the topics that are left out.
    fn allow(&self, right: &Right, but: &[&str]) {
        let cluster = match right.side {
            Side::Source => &self.source,
            Side::Destination | Side::Progress => &self.destination,
        };
        match &right.resource {
            Resource::Topics { names, .. } => {
                for name in names.iter().filter(|name| !but.contains(&name.as_str())) {
                    cluster.allow(USER, right.operation, "TOPIC", name.as_str());
                }
            }
            Resource::Group(name) => cluster.allow(USER, right.operation, "GROUP", name),
            Resource::Cluster => cluster.allow(USER, right.operation, "CLUSTER", ""),
        }
    }
}

#[tokio::test]
async fn what_is_listed_is_enough_and_nothing_is_allowed_to_others() {
    for (source, destination) in
        [(Profile::V4_3, Profile::V4_3), (Profile::V2_8, Profile::V1_1), (Profile::V1_1, Profile::V2_8)]
    {
        let desk = desk(source, destination).await;
        for right in desk.needed() {
            desk.allow(&right, &[]);
        }
        for _ in 0..2 {
            assert_eq!(desk.catch_up().await.unwrap(), Outcome::CaughtUp, "{source:?} {destination:?}");
        }
        assert_eq!((desk.copied("t", 0), desk.copied("u", 0)), (up_to(10), up_to(10)));
        assert_eq!((desk.destination.partitions("t"), desk.destination.partitions("u")), (2, 2));
        let planned = worker::plan(&desk.prepared()).await.remove(0);
        assert!(!planned.is_pending(), "{planned}");
    }
}

/// Without one right on one of the two topics: what is told of it, and that the other one is copied.
async fn without(side: Side, operation: &str, topic: &str, told: &[&str]) {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    for right in desk.needed() {
        let is_it = right.side == side && right.operation == operation;
        desk.allow(&right, if is_it { std::slice::from_ref(&topic) } else { &[] });
    }
    let other = if topic == "t" { "u" } else { "t" };
    let error = desk.catch_up().await.unwrap_err();
    let RunError::Incomplete { reasons } = &error else { panic!("{operation} on {topic}: {error:?}") };
    let reasons = reasons.join("\n");
    assert!(told.iter().all(|text| reasons.contains(text)), "{operation} on {topic}: {reasons}");
    assert!(!reasons.contains(&format!("`{other}`")), "{operation} on {topic}: {reasons}");
    assert_eq!(desk.copied(other, 0), up_to(10), "{operation} on {topic}");
}

#[tokio::test]
async fn a_right_that_is_missing_on_one_topic_is_named_and_the_other_is_copied() {
    tokio::join!(
        without(
            Side::Source,
            "READ",
            "u",
            &["topic `u`: the source does not tell about it", "TOPIC_AUTHORIZATION_FAILED"]
        ),
        without(
            Side::Source,
            "DESCRIBE_CONFIGS",
            "u",
            &["topic `u`: its settings could not be read at the source"]
        ),
        without(
            Side::Destination,
            "CREATE",
            "u",
            &["topic `u`: the destination refused: TOPIC_AUTHORIZATION_FAILED"]
        ),
        without(Side::Destination, "ALTER", "t", &["topic `t` from partition 1 on: the destination refused"]),
        without(Side::Destination, "WRITE", "u", &["u-0: ", "TOPIC_AUTHORIZATION_FAILED"]),
    );
}
