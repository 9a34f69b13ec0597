//! Classic groups: who joins, who leads, who is thrown out, and what they may commit.

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::delete_groups_request::DeleteGroupsRequest;
use protocol::messages::list_groups_request::ListGroupsRequest;
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::{
    DeleteGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId, ListGroupsResponse,
    OffsetDeleteResponse,
};

use crate::client::{text, topic};
use crate::desk::Desk;
use crate::people::{Person, gather, joined, newest, subscription};

pub(crate) async fn check(desk: &mut Desk) {
    wait_for_coordinator(desk).await;
    let name = desk.topic(&[]).await;
    strangers(desk, &name).await;
    versions(desk, &name).await;
    two(desk, &name).await;
    selection(desk).await;
    time_outs(desk).await;
    if desk.profile > Profile::V1_1 {
        static_members(desk, &name).await;
    }
    administration(desk, &name).await;
}

/// A real broker creates its offsets topic when it is first asked for.
async fn wait_for_coordinator(desk: &mut Desk) {
    let request = FindCoordinatorRequest::default().with_key(text("anything"));
    desk.eventually("a coordinator", async |desk| {
        let response: FindCoordinatorResponse = desk.client.call(ApiKey::FindCoordinator, 0, &request).await;
        let mut person = Person::new(desk, "somebody", "anything").await;
        person.id = "x".to_owned();
        let code = person.heartbeat().await;
        (response.error_code == 0 && code == ErrorCode::UNKNOWN_MEMBER_ID).then_some(())
    })
    .await;
}

type Change = fn(&mut Person);

/// Those who are not members, and those who ask for nonsense.
async fn strangers(desk: &mut Desk, name: &str) {
    let long = "g".repeat(300);
    for group in ["", "no-such-group", long.as_str()] {
        let mut person = Person::new(desk, "ann", group).await;
        let case = if group.len() > 20 { "a long name" } else { group };
        person.id = "unknown".to_owned();
        person.generation = 3;
        desk.note(&format!("heartbeat of {case:?}"), person.heartbeat().await);
        person.chosen = Some("range".to_owned());
        desk.note(&format!("sync of {case:?}"), person.sync(&[]).await);
        desk.note(&format!("leave of {case:?}"), person.leave().await);
        desk.note(&format!("commit of {case:?}"), person.commit(name, 4).await);
        person.send_join().await;
        let response = person.receive_join().await;
        desk.note(&format!("join of {case:?}"), joined(&response, &[&person]));
        desk.note_group(&format!("description of {case:?}"), group, &[]).await;
    }
    let changes: [(&str, Change); 7] = [
        ("a short session", |person| person.session_ms = 100),
        ("a long session", |person| person.session_ms = 2_000_000),
        ("a session of minutes", |person| person.session_ms = 300_001),
        ("no protocols", |person| person.protocols = Vec::new()),
        ("no protocol type", |person| person.protocol_type = ""),
        ("an unknown id", |person| person.id = "unknown".to_owned()),
        ("a negative session", |person| person.session_ms = -1),
    ];
    for (case, change) in changes {
        let mut person = Person::new(desk, "ann", &format!("strange {case}")).await;
        change(&mut person);
        person.send_join().await;
        let response = person.receive_join().await;
        // The code says enough where an id was given out, as the rest is as for everybody.
        desk.note(&format!("join with {case}"), joined(&response, &[&person]));
    }
    if desk.profile > Profile::V1_1 {
        let mut person = Person::new(desk, "ann", "without-protocol").await;
        person.join().await;
        person.protocol_type = "other";
        desk.note("sync of another protocol type", person.sync(&[]).await);
        person.protocol_type = "consumer";
        person.chosen = Some("other".to_owned());
        desk.note("sync of another protocol", person.sync(&[]).await);
        person.leave().await;
    }
}

/// One member alone, in every version of each request.
async fn versions(desk: &mut Desk, name: &str) {
    let newest = newest(desk.profile);
    for version in 0..=newest[0] {
        let group = format!("alone-{version}");
        let mut ann = Person::new(desk, "ann", &group).await;
        ann.versions = [version, version.min(newest[1]), version.min(newest[2]), version.min(newest[3]), {
            (version + 2).min(newest[4])
        }];
        if version == newest[0] {
            ann.versions = newest;
        }
        let case = |what: &str| format!("{what}, version {version}");
        ann.send_join().await;
        let response = ann.receive_join().await;
        desk.note(&case("first join"), joined(&response, &[&ann]));
        if ErrorCode(response.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            // 4.3 shows it once it is written down, which nothing here waits for.
            if desk.profile < Profile::V4_3 {
                desk.note_group(&case("while an id is given out"), &group, &[&ann]).await;
            }
            ann.generation = 0;
            desk.note(&case("heartbeat of a pending member"), ann.heartbeat().await);
            desk.note(&case("commit of a pending member"), ann.commit(name, 1).await);
            let response = ann.join().await;
            desk.note(&case("second join"), joined(&response, &[&ann]));
        }
        desk.note_group(&case("before the sync"), &group, &[&ann]).await;
        desk.note(&case("heartbeat before the sync"), ann.heartbeat().await);
        desk.note(&case("commit before the sync"), ann.commit(name, 2).await);
        let id = ann.id.clone();
        desk.note(&case("sync"), ann.sync(&[(&id, "all of it"), ("other", "nothing")]).await);
        desk.note(&case("sync again"), ann.sync(&[(&id, "something else")]).await);
        desk.note_group(&case("after the sync"), &group, &[&ann]).await;
        desk.note(&case("heartbeat"), ann.heartbeat().await);
        desk.note(&case("commit"), ann.commit(name, 3).await);
        ann.generation += 1;
        desk.note(&case("heartbeat of the next generation"), ann.heartbeat().await);
        desk.note(&case("sync of the next generation"), ann.sync(&[]).await);
        desk.note(&case("commit of the next generation"), ann.commit(name, 4).await);
        ann.generation = -1;
        desk.note(&case("commit without a generation"), ann.commit(name, 5).await);
        let mut other = Person::new(desk, "ben", &group).await;
        other.versions = ann.versions;
        desk.note(&case("commit from outside"), other.commit(name, 6).await);
        desk.note(&case("leave"), ann.leave().await);
        desk.note(&case("leave again"), ann.leave().await);
        desk.note_group(&case("after the leave"), &group, &[&ann]).await;
        desk.note(&case("heartbeat after the leave"), ann.heartbeat().await);
        desk.note(&case("commit of who has left"), ann.commit(name, 7).await);
        ann.generation = 1;
        desk.note(&case("commit with a generation of who has left"), ann.commit(name, 7).await);
        desk.note(&case("commit to what is left"), other.commit(name, 8).await);
        ann.id = "unknown".to_owned();
        ann.send_join().await;
        let response = ann.receive_join().await;
        desk.note(&case("join of what is left with an unknown id"), joined(&response, &[&ann]));
    }
}

/// Two members, and a third who comes later.
async fn two(desk: &mut Desk, name: &str) {
    let mut pair = [Person::new(desk, "ann", "two").await, Person::new(desk, "ben", "two").await];
    gather(desk, &mut pair).await;
    let [mut ann, mut ben] = pair;
    let group = ann.group.clone();
    let group = group.as_str();
    let to_ann = ann.receive_join().await;
    let to_ben = ben.receive_join().await;
    desk.note("two join: the first", joined(&to_ann, &[&ann, &ben]));
    desk.note("two join: the second", joined(&to_ben, &[&ann, &ben]));
    ben.send_sync(&[]).await;
    ann.send_sync(&[(&ann.id.clone(), "a"), (&ben.id.clone(), "b")]).await;
    desk.note("two sync: the first", ann.receive_sync().await);
    desk.note("two sync: the second", ben.receive_sync().await);
    desk.note_group("two at rest", group, &[&ann, &ben]).await;

    // Who does not lead and has nothing new to say changes nothing.
    let response = ben.join().await;
    desk.note("the follower joins again", joined(&response, &[&ann, &ben]));
    desk.note_group("after the follower", group, &[&ann, &ben]).await;
    desk.note("the follower syncs again", ben.sync(&[]).await);

    let mut odd = Person::new(desk, "odd", group).await.with_protocols(&["sticky"]);
    odd.send_join().await;
    let response = odd.receive_join().await;
    desk.note("another protocol joins", joined(&response, &[&ann, &ben, &odd]));
    odd.protocols = vec![("range", subscription(&["topic-1"]))];
    odd.protocol_type = "connect";
    odd.send_join().await;
    let response = odd.receive_join().await;
    desk.note("another protocol type joins", joined(&response, &[&ann, &ben, &odd]));

    let mut cat = Person::new(desk, "cat", group).await;
    cat.start_joining().await;
    desk.group_gets(group, "PreparingRebalance", 3).await;
    desk.note_group("while it waits for joins", group, &[&ann, &ben, &cat]).await;
    desk.note("heartbeat while it waits for joins", ann.heartbeat().await);
    desk.note("commit while it waits for joins", ben.commit(name, 11).await);
    desk.note("sync while it waits for joins", ben.sync(&[]).await);
    ann.start_joining().await;
    ben.start_joining().await;
    let (to_ann, to_ben, to_cat) =
        (ann.receive_join().await, ben.receive_join().await, cat.receive_join().await);
    for (who, response) in [("ann", to_ann), ("ben", to_ben), ("cat", to_cat)] {
        desk.note(&format!("three join: {who}"), joined(&response, &[&ann, &ben, &cat]));
    }
    desk.note_group("while the leader thinks", group, &[&ann, &ben, &cat]).await;
    desk.note("heartbeat while the leader thinks", ben.heartbeat().await);
    desk.note("commit while the leader thinks", ben.commit(name, 12).await);
    let response = cat.join().await;
    desk.note("join again while the leader thinks", joined(&response, &[&ann, &ben, &cat]));

    // Somebody who waits for the leader's answer must join again when somebody else leaves.
    ben.send_sync(&[]).await;
    desk.note("cat leaves", cat.leave().await);
    desk.note("sync cut short", ben.receive_sync().await);
    desk.note("heartbeat of who has left", cat.heartbeat().await);
    ben.start_joining().await;
    ann.start_joining().await;
    ann.receive_join().await;
    ben.receive_join().await;
    ben.send_sync(&[]).await;
    desk.note("an assignment for one: ann", ann.sync(&[(&ann.id.clone(), "mine")]).await);
    desk.note("an assignment for one: ben", ben.receive_sync().await);

    // The leader may have everybody join again.
    ann.start_joining().await;
    desk.group_gets(group, "PreparingRebalance", 2).await;
    desk.note("heartbeat when the leader joins again", ben.heartbeat().await);
    ben.start_joining().await;
    let (to_ann, to_ben) = (ann.receive_join().await, ben.receive_join().await);
    desk.note("the leader joins again: ann", joined(&to_ann, &[&ann, &ben]));
    desk.note("the leader joins again: ben", joined(&to_ben, &[&ann, &ben]));
    desk.note("the leader leaves", ann.leave().await);
    let response = ben.join().await;
    desk.note("who is left leads", joined(&response, &[&ann, &ben]));
    ben.sync(&[]).await;
    desk.note("an old generation's heartbeat", {
        ben.generation -= 1;
        ben.heartbeat().await
    });
    ben.leave().await;
}

/// The protocol that all have, and most like best.
async fn selection(desk: &mut Desk) {
    let cases: [(&str, [&[&'static str]; 3]); 4] = [
        ("one in common", [&["range", "roundrobin"], &["roundrobin"], &["sticky", "roundrobin"]]),
        ("most votes", [&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]]),
        ("all the same", [&["range", "sticky"], &["range", "sticky"], &["range", "sticky"]]),
        ("votes for what all have", [&["a", "b", "c"], &["c", "b"], &["b", "c"]]),
    ];
    for (case, protocols) in cases {
        let group = format!("choice {case}");
        let mut people = Vec::new();
        for (index, names) in protocols.iter().enumerate() {
            let name = ["ann", "ben", "cat"][index];
            people.push(Person::new(desk, name, &group).await.with_protocols(names));
        }
        gather(desk, &mut people).await;
        for person in &mut people {
            let response = person.receive_join().await;
            desk.note(&format!("choice of {case} for {}", person.name), {
                format!("{} {:?}", ErrorCode(response.error_code), response.protocol_name.as_deref())
            });
        }
        for person in &mut people {
            person.leave().await;
        }
    }
}

/// Members that fall silent.
async fn time_outs(desk: &mut Desk) {
    let group = "silent";
    let mut ann = Person::new(desk, "ann", group).await;
    ann.session_ms = 600;
    ann.join().await;
    ann.sync(&[]).await;
    desk.note_group("a short session lives", group, &[&ann]).await;
    desk.group_gets(group, "Empty", 0).await;
    desk.note("heartbeat after the session", ann.heartbeat().await);
    let response = ann.join_once().await;
    desk.note("join after the session", joined(&response, &[&ann]));
    desk.note_group("after the session", group, &[&ann]).await;

    // Who does not join again in time is left out.
    let group = "late";
    let mut ann = Person::new(desk, "ann", group).await;
    ann.rebalance_ms = 700;
    ann.join().await;
    ann.sync(&[]).await;
    let mut ben = Person::new(desk, "ben", group).await;
    ben.rebalance_ms = 700;
    let response = ben.join().await;
    desk.note("ben joins and ann is late", joined(&response, &[&ann, &ben]));
    desk.note("heartbeat of who was late", ann.heartbeat().await);
    desk.note_group("after who was late", group, &[&ann, &ben]).await;
    ben.leave().await;

    if desk.profile > Profile::V1_1 {
        // An id that was given out is waited for.
        let group = "pending";
        let mut ann = Person::new(desk, "ann", group).await;
        ann.join().await;
        ann.sync(&[]).await;
        let mut ben = Person::new(desk, "ben", group).await;
        ben.session_ms = 800;
        ben.send_join().await;
        ben.receive_join().await;
        desk.note_group("with a pending member", group, &[&ann, &ben]).await;
        let response = ann.join().await;
        desk.note("joined when the pending one had its time", joined(&response, &[&ann, &ben]));
        let response = ben.join_once().await;
        desk.note("the pending one comes too late", joined(&response, &[&ann, &ben]));
        let mut cat = Person::new(desk, "cat", group).await;
        cat.send_join().await;
        cat.receive_join().await;
        desk.note("a pending one leaves", cat.leave().await);
        desk.note("a pending one leaves again", cat.leave().await);
        ann.leave().await;
    }
    if desk.profile >= Profile::V3_9 {
        let group = "unsynced";
        let mut ann = Person::new(desk, "ann", group).await;
        ann.rebalance_ms = 700;
        ann.join().await;
        desk.group_gets(group, "Empty", 0).await;
        desk.note("heartbeat of who never asked for an assignment", ann.heartbeat().await);
    }
}

/// Members that keep their place (KIP-345).
async fn static_members(desk: &mut Desk, name: &str) {
    let mut pair = [
        Person::new(desk, "ann", "static").await.static_as("i-1"),
        Person::new(desk, "ben", "static").await.static_as("i-2"),
    ];
    gather(desk, &mut pair).await;
    let [mut ann, mut ben] = pair;
    let group = ann.group.clone();
    let group = group.as_str();
    let response = ann.receive_join().await;
    ben.receive_join().await;
    desk.note("static members join", joined(&response, &[&ann, &ben]));
    ben.send_sync(&[]).await;
    ann.sync(&[(&ann.id.clone(), "a"), (&ben.id.clone(), "b")]).await;
    ben.receive_sync().await;
    desk.note_group("static members", group, &[&ann, &ben]).await;
    desk.note("static commit", ann.commit(name, 21).await);

    // One comes back: no rebalance, and its old self is fenced.
    let mut again = Person::new(desk, "ben again", group).await.static_as("i-2");
    let response = again.join_once().await;
    desk.note("a static follower comes back", joined(&response, &[&ann, &ben, &again]));
    desk.note("a static follower is given its part", again.sync(&[]).await);
    desk.note("heartbeat of a former self", ben.heartbeat().await);
    desk.note("sync of a former self", ben.sync(&[]).await);
    desk.note("commit of a former self", ben.commit(name, 22).await);
    desk.note("leave of a former self", ben.leave().await);
    let response = ben.join_once().await;
    desk.note("join of a former self", joined(&response, &[&ann, &ben, &again]));
    desk.note_group("after a static follower came back", group, &[&ann, &ben, &again]).await;

    let newest = newest(desk.profile);
    let mut leader = Person::new(desk, "ann again", group).await.static_as("i-1");
    let response = leader.join_once().await;
    desk.note("a static leader comes back", joined(&response, &[&ann, &again, &leader]));
    desk.note("a static leader is given its part", leader.sync(&[]).await);
    let mut older = Person::new(desk, "ann as of old", group).await.static_as("i-1");
    older.versions = [newest[0].min(7), newest[1], newest[2], newest[3], newest[4]];
    let response = older.join_once().await;
    desk.note("a static leader of an older version", joined(&response, &[&ann, &again, &leader, &older]));
    desk.note("an older static leader is given its part", older.sync(&[]).await);

    let mut wrong = Person::new(desk, "wrong", group).await.static_as("i-9");
    wrong.id = older.id.clone();
    wrong.generation = older.generation;
    desk.note("heartbeat of an unknown instance", wrong.heartbeat().await);
    desk.note("leave of an unknown instance", wrong.leave().await);
    let mut by_instance = Person::new(desk, "by instance", group).await.static_as("i-2");
    desk.note("leave by instance", by_instance.leave().await);
    desk.note("leave by instance again", by_instance.leave().await);
    // The others are told to join again.
    desk.note("heartbeat after a static one left", older.heartbeat().await);
    let response = older.join_once().await;
    desk.note("the last static one joins again", joined(&response, &[&older]));
    desk.note("the last static one leaves", older.leave().await);
    desk.note_group("no static members", group, &[]).await;
}

async fn administration(desk: &mut Desk, name: &str) {
    let mut ann = Person::new(desk, "ann", "kept").await;
    ann.protocols = vec![("range", subscription(&[name]))];
    ann.join().await;
    ann.sync(&[]).await;
    desk.note("a commit to be kept", ann.commit(name, 31).await);
    let mut ben = Person::new(desk, "ben", "connected").await;
    ben.protocol_type = "connect";
    ben.join().await;
    ben.sync(&[]).await;
    ben.commit(name, 32).await;
    let mut simple = Person::new(desk, "simple", "simple").await;
    simple.commit(name, 33).await;

    let versions = match desk.profile {
        Profile::V1_1 => 0..=1,
        Profile::V2_8 => 0..=4,
        Profile::V3_9 | Profile::V4_3 => 0..=5,
    };
    for version in versions {
        let filters: &[(&[&str], &[&str])] = match version {
            0..=3 => &[(&[], &[])],
            4 => &[(&[], &[]), (&["Stable"], &[]), (&["empty", "Dead"], &[]), (&["Nonsense"], &[])],
            _ => &[
                (&[], &[]),
                (&["Stable"], &["classic"]),
                (&["stable"], &["Classic"]),
                (&[], &["consumer"]),
                (&[], &["nonsense"]),
            ],
        };
        for (states, types) in filters {
            let mut request = ListGroupsRequest::default();
            request.states_filter = states.iter().map(|state| text(state)).collect();
            request.types_filter = types.iter().map(|kind| text(kind)).collect();
            let response: ListGroupsResponse = desk.client.call(ApiKey::ListGroups, version, &request).await;
            let mut groups: Vec<String> = response
                .groups
                .iter()
                .filter(|group| ["kept", "connected", "simple"].contains(&group.group_id.as_str()))
                .map(|group| {
                    format!(
                        "{} {:?} {} {}",
                        group.group_id.0, group.protocol_type, group.group_state, group.group_type
                    )
                })
                .collect();
            groups.sort_unstable();
            desk.note(
                &format!("list of groups, version {version}, {states:?} {types:?}"),
                format!("{} {groups:?}", ErrorCode(response.error_code)),
            );
        }
    }
    for group in ["kept", "connected", "simple"] {
        desk.note_group(&format!("description of {group}"), group, &[&ann, &ben]).await;
    }
    if desk.profile > Profile::V1_1 {
        for group in ["kept", "connected", "simple", "no-such-group", ""] {
            let told = offset_delete(desk, group, name).await;
            desk.note(&format!("offset delete of {group:?}"), told);
        }
    }
    let groups = ["kept", "connected", "simple", "no-such-group", ""];
    let request = DeleteGroupsRequest::default()
        .with_groups_names(groups.iter().map(|group| GroupId(text(group))).collect());
    let mut response: DeleteGroupsResponse = desk.client.call(ApiKey::DeleteGroups, 0, &request).await;
    // Kafka tells them as its hash table has them.
    response.results.sort_by(|one, other| one.group_id.0.cmp(&other.group_id.0));
    for result in response.results {
        desk.note(&format!("delete of group {:?}", result.group_id.0), ErrorCode(result.error_code));
    }
    for group in ["simple", "no-such-group"] {
        desk.note_group(&format!("after the delete of {group}"), group, &[]).await;
    }
    desk.note("the member of a group that could not be deleted", ann.heartbeat().await);
    ann.leave().await;
    ben.leave().await;
    if desk.profile > Profile::V1_1 {
        let told = offset_delete(desk, "kept", name).await;
        desk.note("offset delete when nobody reads it", told);
    }
}

async fn offset_delete(desk: &mut Desk, group: &str, name: &str) -> String {
    let asked = |name: &str| {
        OffsetDeleteRequestTopic::default().with_name(topic(name)).with_partitions(vec![
            OffsetDeleteRequestPartition::default(),
            OffsetDeleteRequestPartition::default().with_partition_index(7),
        ])
    };
    let request = OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(vec![
        asked(name),
        asked("topic-1"),
        asked("no-such-topic"),
    ]);
    let response: OffsetDeleteResponse = desk.client.call(ApiKey::OffsetDelete, 0, &request).await;
    let mut codes: Vec<String> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
        .map(|(topic, partition)| {
            let code = ErrorCode(partition.error_code);
            format!("{} {} {code}", topic.name.0, partition.partition_index)
        })
        .collect();
    codes.sort_unstable();
    format!("{} {codes:?}", ErrorCode(response.error_code))
}
