//! ACLs that follow the topics: created, renamed and removed again, whatever happens in between.

use std::collections::BTreeSet;

use super::*;
use client::{Cluster as Client, Options};
use model::{AccessControlEntry, Acl, AclOperation, AclPermission, ResourcePattern, ResourceType};
use topology::rights::{Resource, Side};

const NAME: &str = "replicator-source";
const IN_TOPIC: &str =
    "offset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\ngroup.id=connect\n";

/// Clusters with an authorizer each, where who comes without a login may everything, and `orders` to be copied.
async fn desk(source: Profile, destination: Profile) -> Desk {
    let super_users = || Some(vec!["User:ANONYMOUS".to_owned()]);
    desk_with(source, super_users(), destination, super_users()).await
}

async fn desk_with(
    source: Profile,
    source_users: Option<Vec<String>>,
    destination: Profile,
    destination_users: Option<Vec<String>>,
) -> Desk {
    let start = |profile, name: &str, super_users| {
        let cluster_id = name.to_owned();
        Cluster::start(Config { cluster_id, super_users, ..Config::new(1, profile) })
    };
    let desk = Desk {
        folder: tempfile::tempdir().unwrap(),
        source: start(source, "east", source_users).await.unwrap(),
        destination: start(destination, "west", destination_users).await.unwrap(),
        connector: "topic.whitelist=orders,orders.eu\ntopic.rename.format=copy.${topic}\n\
                    sync.topic.acls.enabled=true\nsync.topic.acls.interval.seconds=1\n"
            .into(),
        storage: None,
    };
    for topic in ["orders", "orders.eu"] {
        desk.source.create_topic(topic, 1, &[]);
        desk.fill(topic, 0, 0..10);
    }
    desk
}

fn acl(principal: &str, operation: AclOperation, resource: ResourcePattern) -> Acl {
    let entry = AccessControlEntry {
        principal: principal.to_owned(),
        host: "*".to_owned(),
        operation,
        permission: AclPermission::Allow,
    };
    Acl { resource, entry }
}

fn topic(name: &str) -> ResourcePattern {
    ResourcePattern::literal(ResourceType::Topic, name)
}

fn group(name: &str) -> ResourcePattern {
    ResourcePattern::literal(ResourceType::Group, name)
}

fn reads(resource: ResourcePattern) -> Acl {
    acl("User:ann", AclOperation::READ, resource)
}

fn admin(cluster: &Cluster) -> Client {
    Client::new(Options::new("admin", cluster.bootstrap()))
}

async fn create(cluster: &Cluster, acls: &[Acl]) {
    let outcomes = admin(cluster).create_acls(acls).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

async fn delete(cluster: &Cluster, acls: &[Acl]) {
    let outcomes = admin(cluster).delete_acls(acls).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

async fn acls(cluster: &Cluster) -> BTreeSet<Acl> {
    let admin = admin(cluster);
    let topics = admin.describe_acls(ResourceType::Topic).await.unwrap();
    topics.into_iter().chain(admin.describe_acls(ResourceType::Group).await.unwrap()).collect()
}

async fn wait_for_acls(cluster: &Cluster, expected: &[Acl]) {
    let deadline = Instant::now() + PATIENCE;
    let expected: BTreeSet<Acl> = expected.iter().cloned().collect();
    loop {
        let present = acls(cluster).await;
        if present == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{present:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Desk {
    async fn planned(&self) -> worker::Planned {
        worker::plan(&self.prepared()).await.remove(0)
    }

    /// How many ACLs are remembered as ours.
    fn granted(&self) -> usize {
        let stored = OffsetFile::peek(&self.offsets(), NAME).unwrap();
        stored.acls.values().map(BTreeSet::len).sum()
    }

    /// Runs until `killed`, then is gone without any farewell.
    async fn run_until_killed(&self, killed: impl Future<Output = ()>) {
        let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
        tokio::select! {
            _ = worker::run(self.prepared(), false, std::future::pending(), status) => panic!("it ended by itself"),
            () = killed => {}
        }
        wait_until(|| OffsetFile::open(&self.offsets()).is_ok()).await;
    }
}

/// Until the worker says of its ACLs what begins so.
async fn wait_for_warning(status: &watch::Receiver<Arc<WorkerStatus>>, told: &str) {
    let warnings = || status.borrow().flows.first().map(|flow| flow.warnings.clone()).unwrap_or_default();
    wait_until(|| warnings().iter().any(|warning| warning.contains(told))).await;
}

#[tokio::test]
async fn rights_follow_the_topics_and_go_with_their_originals_also_after_a_restart() {
    for (source, destination) in [(Profile::V4_3, Profile::V2_8), (Profile::V2_8, Profile::V4_3)] {
        let desk = desk(source, destination).await;
        let prefixed = |name: &str| ResourcePattern::prefixed(ResourceType::Topic, name);
        let originals = [
            reads(topic("orders")),
            acl("User:producer", AclOperation::WRITE, topic("orders")),
            acl("User:adm", AclOperation::ALL, prefixed("orders")),
            reads(topic("other")),
            reads(group("billing")),
        ];
        create(&desk.source, &originals).await;
        // Somebody else's, one of them as a copy would be.
        let others = [reads(topic("local")), reads(group("billing"))];
        create(&desk.destination, &others).await;

        let planned = desk.planned().await;
        let text = planned.to_string();
        assert!(planned.is_pending());
        for line in [
            "grant User:ann READ on topic `copy.orders` (as on `orders` at the source)\n",
            "grant User:adm READ on topics that begin with `copy.orders` (of ALL, as on topics that begin with `orders` at the source)\n",
            "grant User:adm DESCRIBE_CONFIGS on topics that begin with `copy.orders` (of ALL,",
            "not copied: 1 ACL, copies would be changed by others; sync.topic.acls.write=true allows it (User:producer WRITE on topic `orders`)\n",
            "\nto do: 2 changes, 3 ACLs\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(acls(&desk.destination).await.len(), 2, "a plan changes nothing");

        desk.catch_up().await.unwrap();
        let copies = [
            reads(topic("copy.orders")),
            acl("User:adm", AclOperation::READ, prefixed("copy.orders")),
            acl("User:adm", AclOperation::DESCRIBE_CONFIGS, prefixed("copy.orders")),
        ];
        let expected = [&copies[..], &others].concat();
        assert_eq!(acls(&desk.destination).await, expected.iter().cloned().collect(), "{source:?}");
        assert_eq!(desk.granted(), 3);
        let planned = desk.planned().await;
        assert!(!planned.is_pending(), "{planned}");

        // While it runs, and a new one.
        desk.run_while(async |_| {
            delete(&desk.source, &originals[2..3]).await;
            create(&desk.source, &[reads(topic("orders.eu"))]).await;
            let expected = [&copies[..1], &others, &[reads(topic("copy.orders.eu"))]].concat();
            wait_for_acls(&desk.destination, &expected).await;
        })
        .await;
        // While it does not, that of the group too, which it did not make.
        delete(&desk.source, &[originals[0].clone(), originals[4].clone()]).await;
        let text = desk.planned().await.to_string();
        assert!(text.contains("revoke User:ann READ on topic `copy.orders` (nothing at"), "{text}");
        desk.catch_up().await.unwrap();
        let expected = [&others[..], &[reads(topic("copy.orders.eu"))]].concat();
        assert_eq!(acls(&desk.destination).await, expected.iter().cloned().collect(), "{source:?}");
        assert_eq!(desk.granted(), 1);
    }
}

#[tokio::test]
async fn a_topic_that_is_created_later_gets_its_rights_before_the_interval_is_over() {
    let mut desk = desk(Profile::V4_3, Profile::V4_3).await;
    desk.connector = desk.connector.replace("orders,", "orders,late,").replace("seconds=1", "seconds=600");
    create(&desk.source, &[reads(topic("late"))]).await;
    desk.run_while(async |status| {
        wait_until(|| status.borrow().flows.iter().any(|flow| flow.is_settled)).await;
        assert_eq!(acls(&desk.destination).await, BTreeSet::new());
        desk.source.create_topic("late", 1, &[]);
        wait_for_acls(&desk.destination, &[reads(topic("copy.late"))]).await;
        // Gone at the source, it keeps the rights of its copy.
        desk.source.delete_topic("late");
        wait_until(|| status.borrow().flows[0].gone == ["late".into()]).await;
    })
    .await;
    desk.catch_up().await.unwrap_err();
    assert_eq!(acls(&desk.destination).await, [reads(topic("copy.late"))].into());
}

#[tokio::test]
async fn what_is_killed_before_its_acls_are_created_follows_those_that_arrive_later() {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    let read = [reads(topic("orders"))];
    create(&desk.source, &read).await;
    let held = desk.destination.on(ApiKey::CreateAcls).hold();
    desk.run_until_killed(held.fault.happened()).await;
    assert_eq!((acls(&desk.destination).await.len(), desk.granted()), (0, 1), "stored before it is created");
    // Its last request arrives after all, and the right is taken back at the source.
    held.release();
    wait_for_acls(&desk.destination, &[reads(topic("copy.orders"))]).await;
    delete(&desk.source, &read).await;
    desk.catch_up().await.unwrap();
    assert_eq!((acls(&desk.destination).await.len(), desk.granted()), (0, 0));
}

#[tokio::test]
async fn what_is_killed_before_it_knows_of_a_deletion_forgets_it_at_the_next_start() {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    let read = [reads(topic("orders"))];
    create(&desk.source, &read).await;
    desk.catch_up().await.unwrap();
    delete(&desk.source, &read).await;
    let unheard = desk.destination.on(ApiKey::DeleteAcls).always().hang();
    desk.run_until_killed(unheard.happened()).await;
    unheard.clear();
    wait_for_acls(&desk.destination, &[]).await;
    assert_eq!(desk.granted(), 1);
    let planned = desk.planned().await;
    assert!(!planned.is_pending(), "{planned}");
    desk.catch_up().await.unwrap();
    assert_eq!(desk.granted(), 0);
    // What a person creates there now is that person's.
    create(&desk.destination, &[reads(topic("copy.orders"))]).await;
    desk.catch_up().await.unwrap();
    assert_eq!(acls(&desk.destination).await.len(), 1);
}

#[tokio::test]
async fn what_was_created_is_remembered_in_an_offsets_topic_too() {
    let mut desk = desk(Profile::V4_3, Profile::V4_3).await;
    desk.storage = Some(IN_TOPIC.into());
    let originals = [reads(topic("orders")), reads(group("g"))];
    create(&desk.source, &originals).await;
    for _ in 0..2 {
        desk.catch_up().await.unwrap();
        assert_eq!(acls(&desk.destination).await, [reads(topic("copy.orders")), reads(group("g"))].into());
    }
    delete(&desk.source, &originals).await;
    desk.catch_up().await.unwrap();
    assert_eq!(acls(&desk.destination).await, BTreeSet::new());
    assert_eq!(desk.copied("copy.orders", 0), up_to(10));
}

#[tokio::test]
async fn a_cluster_without_an_authorizer_is_told_once_and_asked_at_the_interval() {
    let users = || Some(vec!["User:ANONYMOUS".to_owned()]);
    for (source, destination, told) in [
        (None, users(), "cannot read the ACLs at the source: "),
        (users(), None, "cannot read the ACLs at the destination: "),
    ] {
        let mut desk = desk_with(Profile::V4_3, source, Profile::V3_9, destination).await;
        desk.connector = desk.connector.replace("seconds=1", "seconds=600");
        desk.run_while(async |status| {
            wait_for_warning(status, told).await;
            wait_for_warning(status, "SECURITY_DISABLED (54)").await;
            wait_for_warning(status, "set sync.topic.acls.enabled=false").await;
            let asked = desk.source.requests(ApiKey::DescribeAcls);
            // Another topic is no reason to ask again.
            desk.source.delete_topic("orders.eu");
            wait_until(|| !status.borrow().flows[0].gone.is_empty()).await;
            assert_eq!(desk.source.requests(ApiKey::DescribeAcls), asked);
            wait_until(|| desk.copied("copy.orders", 0).len() == 10).await;
        })
        .await;
        let planned = desk.planned().await;
        let text = planned.to_string();
        assert!(planned.is_pending() && text.contains("ACLs are not copied: cannot read"), "{text}");
        assert!(text.contains("1 obstacle to copying ACLs"), "{text}");
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old_for_prefixes_is_named_and_topics_are_copied() {
    let desk = desk(Profile::V4_3, Profile::V1_1).await;
    desk.run_while(async |status| {
        wait_for_warning(status, "Kafka 2.0 or newer").await;
        wait_until(|| desk.copied("copy.orders", 0).len() == 10).await;
    })
    .await;
}

/// A run as a user with every right that is listed but one on the cluster of one side, and perhaps another in its place.
async fn without(missing: Option<(Side, &str)>, in_its_place: Option<&str>, told: &[&str]) {
    let user = "User:ANONYMOUS";
    let desk = desk_with(Profile::V4_3, Some(Vec::new()), Profile::V4_3, Some(Vec::new())).await;
    for right in desk.prepared().rights().remove(0).1 {
        let is_missing = |(side, operation)| {
            right.side == side && right.operation == operation && right.resource == Resource::Cluster
        };
        if missing.is_some_and(is_missing) {
            continue;
        }
        let cluster = if right.side == Side::Source { &desk.source } else { &desk.destination };
        match &right.resource {
            Resource::Topics { names, .. } => {
                names.iter().for_each(|name| cluster.allow(user, right.operation, "TOPIC", name.as_str()));
            }
            Resource::Group(name) => cluster.allow(user, right.operation, "GROUP", name),
            Resource::Cluster => cluster.allow(user, right.operation, "CLUSTER", ""),
        }
    }
    if let Some(operation) = in_its_place {
        desk.destination.allow(user, operation, "CLUSTER", "");
    }
    desk.source.allow("User:ann", "READ", "TOPIC", "orders");
    desk.run_while(async |status| {
        for text in told {
            wait_for_warning(status, text).await;
        }
        wait_until(|| desk.copied("copy.orders", 0).len() == 10).await;
        wait_until(|| status.borrow().flows.iter().any(|flow| flow.is_settled)).await;
        let planned = desk.planned().await;
        assert_eq!(planned.is_pending(), missing.is_some(), "{planned}");
    })
    .await;
    assert_eq!(desk.granted(), usize::from(missing.is_none()));
}

#[tokio::test]
async fn the_listed_rights_are_enough_and_one_that_is_missing_stops_the_copy_of_acls_alone() {
    tokio::join!(
        without(None, None, &[]),
        without(
            Some((Side::Source, "DESCRIBE")),
            None,
            &[
                "cannot read the ACLs at the source: ",
                "CLUSTER_AUTHORIZATION_FAILED (31)",
                "give the source's user `ANONYMOUS` DESCRIBE on the cluster"
            ]
        ),
        without(
            Some((Side::Destination, "ALTER")),
            None,
            &[
                "cannot read the ACLs at the destination: ",
                "CLUSTER_AUTHORIZATION_FAILED (31)",
                "give the destination's user `ANONYMOUS` ALTER on the cluster"
            ]
        ),
        without(
            Some((Side::Destination, "ALTER")),
            Some("DESCRIBE"),
            &[
                "refused to change the ACL User:ann READ on topic `copy.orders`: CLUSTER_AUTHORIZATION_FAILED (31)",
                "give the destination's user `ANONYMOUS` ALTER on the cluster"
            ]
        ),
    );
}

#[tokio::test]
async fn an_acl_that_is_refused_is_told_and_is_not_ours_and_the_others_are_made() {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    create(&desk.source, &[reads(topic("orders"))]).await;
    let refused = desk.destination.on(ApiKey::CreateAcls).times(1);
    let refused = refused.fail(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    desk.run_while(async |status| {
        let told = "not all ACLs are copied: the destination refused to change the ACL User:ann READ on topic `copy.orders`";
        wait_for_warning(status, told).await;
        refused.happened().await;
        assert_eq!(refused.hits(), 1);
        wait_for_acls(&desk.destination, &[reads(topic("copy.orders"))]).await;
        wait_until(|| status.borrow().flows[0].warnings.is_empty()).await;
    })
    .await;
    assert_eq!(desk.granted(), 1);
}

#[tokio::test]
async fn a_deny_is_there_before_what_is_allowed_and_as_long() {
    let mut desk = desk(Profile::V4_3, Profile::V4_3).await;
    desk.connector = desk.connector.replace("orders,", "orders,late,").replace("seconds=1", "seconds=600");
    let deny = |name: &str| {
        let Acl { resource, entry } = acl("User:bob", AclOperation::READ, topic(name));
        Acl { resource, entry: AccessControlEntry { permission: AclPermission::Deny, ..entry } }
    };
    let originals = [reads(topic("orders")), deny("orders")];
    create(&desk.source, &originals).await;
    let refused = desk.destination.on(ApiKey::CreateAcls).times(1);
    let refused = refused.fail(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    let copies = [reads(topic("copy.orders")), deny("copy.orders")];
    desk.run_while(async |status| {
        wait_for_warning(status, "refused to change the ACL DENY User:bob").await;
        wait_for_warning(status, "; ALLOWs that wait for a DENY: 1").await;
        assert_eq!((refused.hits(), acls(&desk.destination).await.len(), desk.granted()), (1, 0, 0));
        // Another topic is reason enough to ask again.
        desk.source.create_topic("late", 1, &[]);
        wait_for_acls(&desk.destination, &copies).await;
        wait_until(|| status.borrow().flows[0].warnings.is_empty()).await;
    })
    .await;

    delete(&desk.source, &originals).await;
    let refused = desk.destination.on(ApiKey::DeleteAcls).times(1);
    let _refused = refused.fail(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    desk.run_while(async |status| {
        wait_for_warning(status, "refused to change the ACL User:ann").await;
        assert_eq!((acls(&desk.destination).await.len(), desk.granted()), (2, 2));
    })
    .await;
    desk.catch_up().await.unwrap();
    assert_eq!((acls(&desk.destination).await.len(), desk.granted()), (0, 0));
}

#[tokio::test]
async fn who_has_lost_the_flow_to_another_process_changes_no_acls_any_more() {
    use worker::progress::{Chosen, To, alter};
    let mut desk = desk(Profile::V4_3, Profile::V4_3).await;
    desk.storage = Some(IN_TOPIC.into());
    create(&desk.source, &[reads(topic("orders"))]).await;
    let copies = [reads(topic("copy.orders"))];
    desk.run_while(async |status| {
        wait_for_acls(&desk.destination, &copies).await;
        wait_until(|| desk.copied("copy.orders", 0).len() == 10).await;
        let chosen = [Chosen { topic: "orders".into(), partitions: vec![0] }];
        alter(&desk.prepared(), &chosen, To::Offset(7)).await.unwrap();
        delete(&desk.source, &[reads(topic("orders"))]).await;
        wait_for_warning(status, "another process has taken over the progress").await;
        wait_for_warning(status, "the other one copies ACLs now").await;
        let asked = desk.source.requests(ApiKey::DescribeAcls);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(desk.source.requests(ApiKey::DescribeAcls), asked);
    })
    .await;
    assert_eq!(acls(&desk.destination).await, copies.into());
}

#[tokio::test]
async fn more_acls_of_a_pattern_than_there_is_room_for_are_told_and_the_others_are_copied() {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    let user = |number| format!("User:{number}{}", "x".repeat(2000));
    let many: Vec<Acl> =
        (0..300).map(|number| acl(&user(number), AclOperation::READ, topic("orders"))).collect();
    create(&desk.source, &many).await;
    create(&desk.source, &[reads(group("g"))]).await;
    desk.run_while(async |status| {
        wait_for_warning(status, "not all ACLs are copied: there are too many ACLs of topic `copy.orders`")
            .await;
        wait_until(|| desk.copied("copy.orders", 0).len() == 10).await;
        assert_eq!(acls(&desk.destination).await, [reads(group("g"))].into());
        delete(&desk.source, &many[100..]).await;
        wait_until(|| status.borrow().flows[0].warnings.is_empty()).await;
    })
    .await;
    assert_eq!((acls(&desk.destination).await.len(), desk.granted()), (101, 101));
}

/// With progress in the offsets file, or where `storage` says.
async fn two_opposite(storage: Option<&str>) {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    let (east, west) = (&desk.source, &desk.destination);
    let several = |are_copied_there: bool| {
        let file = format!("offset.storage.file.filename={}\n", desk.offsets().display());
        let storage = storage.unwrap_or(&file);
        let connector = |name: &str, from: &Cluster, to: &Cluster, prefix: &str, enabled: bool| {
            let to = to.bootstrap_servers();
            let lines = format!(
                "dest.kafka.bootstrap.servers={to}\ntopic.poll.interval.ms=200\ntopic.regex=orders\n\
                 topic.rename.format={prefix}.${{topic}}\nsync.topic.acls.enabled={enabled}\n\
                 sync.topic.acls.interval.seconds=1\n"
            );
            prepared::connector(from, name, &lines)
        };
        let there = connector("there", east, west, "east", are_copied_there);
        let connectors = [there, connector("back", west, east, "west", true)];
        prepared::load(&prepared::worker(west, storage), &connectors)
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
    let run = worker::run(several(true), false, async { drop(stopped.await) }, status);
    let watched = async {
        create(east, &[reads(group("g"))]).await;
        wait_for_acls(west, &[reads(group("g"))]).await;
        // Several rounds of the other one, which sees it.
        let looks = west.requests(ApiKey::DescribeAcls);
        wait_until(|| west.requests(ApiKey::DescribeAcls) > looks + 10).await;
        delete(east, &[reads(group("g"))]).await;
        wait_for_acls(west, &[]).await;
        let looks = west.requests(ApiKey::DescribeAcls);
        wait_until(|| west.requests(ApiKey::DescribeAcls) > looks + 10).await;
        assert_eq!((acls(east).await.len(), acls(west).await.len()), (0, 0));
        drop(stop);
    };
    let (outcome, ()) = tokio::join!(run, watched);
    assert_eq!(outcome.unwrap(), Outcome::Stopped);
    one_way_switched_off(several, (east, west)).await;
}

/// The one way is switched off, and leaves a copy behind: the other one takes it for none of its originals.
async fn one_way_switched_off(
    several: impl Fn(bool) -> worker::Prepared,
    (east, west): (&Cluster, &Cluster),
) {
    create(east, &[reads(group("g"))]).await;
    for are_copied_there in [true, false] {
        let (stop, stopped) = oneshot::channel::<()>();
        let (status, _kept) = watch::channel(Arc::new(WorkerStatus::default()));
        let run = worker::run(several(are_copied_there), false, async { drop(stopped.await) }, status);
        let watched = async {
            wait_for_acls(west, &[reads(group("g"))]).await;
            if !are_copied_there {
                delete(east, &[reads(group("g"))]).await;
                let looks = west.requests(ApiKey::DescribeAcls);
                wait_until(|| west.requests(ApiKey::DescribeAcls) > looks + 5).await;
                assert_eq!((acls(east).await.len(), acls(west).await.len()), (0, 1));
            }
            drop(stop);
        };
        let (outcome, ()) = tokio::join!(run, watched);
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
    }
}

#[tokio::test]
async fn of_two_opposite_connectors_neither_takes_the_others_copies_for_originals() {
    tokio::join!(two_opposite(None), two_opposite(Some(IN_TOPIC)));
}

#[tokio::test]
async fn within_one_cluster_a_copy_does_not_keep_itself_alive() {
    let mut desk = desk(Profile::V4_3, Profile::V4_3).await;
    desk.destination = desk.source.clone();
    desk.connector = desk.connector.replace("copy.${topic}", "${topic}.copy");
    let original =
        [acl("User:adm", AclOperation::ALL, ResourcePattern::prefixed(ResourceType::Topic, "ord"))];
    create(&desk.source, &original).await;
    for _ in 0..2 {
        desk.catch_up().await.unwrap();
        assert_eq!((acls(&desk.source).await.len(), desk.granted()), (3, 2), "what it becomes has its name");
        assert!(!desk.planned().await.is_pending());
    }
    delete(&desk.source, &original).await;
    desk.catch_up().await.unwrap();
    assert_eq!((acls(&desk.source).await.len(), desk.granted()), (0, 0));
}

#[tokio::test]
async fn an_import_of_older_progress_keeps_what_was_created_since() {
    let desk = desk(Profile::V4_3, Profile::V4_3).await;
    create(&desk.source, &[reads(group("g"))]).await;
    desk.catch_up().await.unwrap();
    let old = worker::progress::export(&desk.prepared()).await.unwrap();
    assert!(old.contains(r#""name":"g""#), "{old}");
    create(&desk.source, &[reads(topic("orders"))]).await;
    desk.catch_up().await.unwrap();
    let done = worker::progress::import(&desk.prepared(), old.as_bytes(), true).await.unwrap();
    assert!(done.ends_with("positions of 2 partitions, 2 ACLs"), "{done}");
    assert_eq!(desk.granted(), 2);
    // Elsewhere what it says is all that is known.
    std::fs::remove_file(desk.offsets()).unwrap();
    worker::progress::import(&desk.prepared(), old.as_bytes(), false).await.unwrap();
    assert_eq!(desk.granted(), 1);
}
