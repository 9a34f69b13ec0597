//! Groups in made-up time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::ErrorCode;
use tokio::sync::oneshot;

use super::*;
use crate::groups::consumer::Pace;

const PROFILES: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];

fn rules(profile: Profile) -> Rules {
    Rules::new(profile, |name| match name {
        "group.initial.rebalance.delay.ms" => 3000,
        "group.min.session.timeout.ms" => 6000,
        "group.max.session.timeout.ms" => 1_800_000,
        _ => 100,
    })
}

fn joining(groups: &mut Groups, id: &str, instance: Option<&str>) -> Joining {
    Joining {
        version: 3,
        member_id: id.to_owned(),
        instance_id: instance.map(str::to_owned),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        fresh_id: groups.fresh_member_id("c"),
    }
}

fn nothing(_: &str) -> Option<TopicSize> {
    None
}

fn join(groups: &mut Groups, now_ms: i64, rules: &Rules, id: &str) -> oneshot::Receiver<Reply> {
    let (ticket, receiver) = groups.open();
    let joining = joining(groups, id, None);
    groups.join(now_ms, rules, "g", ticket, joining);
    receiver
}

fn joined(receiver: &mut oneshot::Receiver<Reply>) -> Option<JoinReply> {
    match receiver.try_recv().ok()? {
        Reply::Join(reply) => Some(reply),
        Reply::Sync(_) => panic!("a join is not answered by a sync"),
    }
}

#[test]
fn the_first_members_of_a_group_wait_for_each_other() {
    for profile in PROFILES {
        let (mut groups, rules) = (Groups::default(), rules(profile));
        let mut ann = join(&mut groups, 0, &rules, "");
        assert_eq!(groups.next_look_ms(), Some(3000));
        let mut ben = join(&mut groups, 2000, &rules, "");
        groups.tick(3000, &rules, nothing);
        assert!(joined(&mut ann).is_none(), "somebody came, so it waits once more");
        groups.tick(6000, &rules, nothing);
        let (ann, ben) = (joined(&mut ann).unwrap(), joined(&mut ben).unwrap());
        assert_eq!((ann.generation, ann.members.len(), ben.members.len()), (1, 2, 0));
        assert_eq!(ann.leader, ann.member_id);
    }
}

#[test]
fn who_is_silent_is_thrown_out_and_the_others_are_told() {
    for profile in PROFILES {
        let (mut groups, rules) = (Groups::default(), rules(profile));
        let (mut ann, mut ben) = (join(&mut groups, 0, &rules, ""), join(&mut groups, 0, &rules, ""));
        groups.tick(3000, &rules, nothing);
        groups.tick(6000, &rules, nothing);
        let (ann, ben) = (joined(&mut ann).unwrap(), joined(&mut ben).unwrap());
        let group = groups.classic("g").unwrap();
        group.stabilize(6000, &[]);
        let claim = Claim { generation: 1, member_id: &ann.member_id, instance_id: None };
        assert_eq!(group.heartbeat(15_000, &rules, claim), Ok(()));
        groups.tick(15_999, &rules, nothing);
        assert_eq!(groups.classic("g").unwrap().members.len(), 2);
        groups.tick(16_000, &rules, nothing);
        let group = groups.classic("g").unwrap();
        assert!(group.member(&ben.member_id).is_none());
        assert_eq!(group.heartbeat(16_000, &rules, claim), Err(ErrorCode::REBALANCE_IN_PROGRESS));
        groups.tick(1_000_000, &rules, nothing);
        assert!(groups.get("g").unwrap().is_empty());
        assert_eq!(groups.next_look_ms(), None);
    }
}

#[test]
fn static_members_that_ask_for_no_time_are_not_waited_for_without_a_pause() {
    let (mut groups, rules) = (Groups::default(), rules(Profile::V4_3));
    let join = |groups: &mut Groups, now_ms, instance: &str, rebalance_timeout_ms| {
        let (ticket, receiver) = groups.open();
        let joining = Joining { version: 5, rebalance_timeout_ms, ..joining(groups, "", Some(instance)) };
        groups.join(now_ms, &rules, "g", ticket, joining);
        receiver
    };
    let _ann = join(&mut groups, 0, "i-1", 60_000);
    let _ben = join(&mut groups, 0, "i-2", 60_000);
    groups.tick(3000, &rules, nothing);
    groups.tick(6000, &rules, nothing);
    groups.classic("g").unwrap().stabilize(6000, &[]);
    // Each comes back without a word, and one of them goes.
    for instance in ["i-1", "i-2"] {
        drop(join(&mut groups, 6000, instance, 0));
    }
    groups.classic("g").unwrap().leave(6000, &rules, "", Some("i-1")).unwrap();
    groups.settle(&rules, "g");
    for now_ms in 6000..8000 {
        groups.tick(now_ms, &rules, nothing);
        let next_ms = groups.next_look_ms();
        assert!(next_ms.is_none_or(|at| at > now_ms), "due again at once: {next_ms:?} at {now_ms}");
    }
}

#[test]
fn whatever_members_do_a_group_keeps_its_word() {
    for profile in PROFILES {
        for seed in 0..300 {
            let told = std::panic::catch_unwind(|| random_run(profile, seed));
            assert!(told.is_ok(), "{profile:?} seed {seed}");
        }
    }
}

/// Random members; what must hold: a leader is a member, no member has two ids, a generation never goes back,
/// and whoever waits is answered once time has passed.
fn random_run(profile: Profile, seed: u64) {
    let (mut groups, rules) = (Groups::default(), rules(profile));
    let mut state = seed;
    let mut random = |bound: u64| {
        state = mix(state);
        state % bound
    };
    let mut waiting: Vec<oneshot::Receiver<Reply>> = Vec::new();
    let mut known: Vec<(String, i32)> = Vec::new();
    let (mut now_ms, mut generation) = (0, 0);
    for _ in 0..200 {
        let index = usize::try_from(random(8)).unwrap();
        let (id, member_generation) = known.get(index).cloned().unwrap_or_default();
        match random(7) {
            0 | 1 => {
                let (ticket, receiver) = groups.open();
                let instance = ["a", "b"].get(usize::try_from(random(6)).unwrap()).copied();
                let mut joining = joining(&mut groups, &id, instance);
                joining.version = i16::try_from(random(10)).unwrap();
                if random(4) == 0 {
                    joining.protocols.push(("sticky".to_owned(), Bytes::from_static(b"s")));
                }
                groups.join(now_ms, &rules, "g", ticket, joining);
                waiting.push(receiver);
            }
            2 => {
                let (ticket, receiver) = groups.open();
                let syncing = Syncing {
                    generation: member_generation,
                    member_id: id,
                    instance_id: None,
                    protocol_type: None,
                    protocol_name: None,
                    assignments: Vec::new(),
                };
                groups.sync(now_ms, &rules, "g", ticket, &syncing);
                waiting.push(receiver);
            }
            3 | 4 => {
                if let Some(group) = groups.classic("g") {
                    let claim = Claim { generation: member_generation, member_id: &id, instance_id: None };
                    let _ = group.heartbeat(now_ms, &rules, claim);
                }
            }
            5 => {
                if let Some(group) = groups.classic("g") {
                    let _ = group.leave(now_ms, &rules, &id, None);
                }
                groups.settle(&rules, "g");
            }
            _ => {
                now_ms += i64::try_from(random(8000)).unwrap();
                groups.tick(now_ms, &rules, nothing);
            }
        }
        waiting.retain_mut(|receiver| match receiver.try_recv() {
            Ok(Reply::Join(reply)) => {
                if !reply.member_id.is_empty() {
                    known.insert(0, (reply.member_id, reply.generation));
                    known.truncate(8);
                }
                false
            }
            Ok(Reply::Sync(_)) | Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        let Some(group) = groups.classic("g") else { continue };
        let ids: BTreeSet<&String> = group.members.iter().map(|member| &member.id).collect();
        assert_eq!(ids.len(), group.members.len());
        assert!(group.leader.as_ref().is_none_or(|leader| ids.contains(leader)));
        assert!(group.phase != Phase::Stable || group.leader.is_some());
        assert!(group.generation >= generation);
        generation = group.generation;
    }
    // Everybody is silent from now on. A question that was asked anew under the same name is not answered.
    for _ in 0..2000 {
        let Some(next_ms) = groups.next_look_ms() else { break };
        now_ms = now_ms.max(next_ms);
        groups.tick(now_ms, &rules, nothing);
    }
    assert!(groups.get("g").is_none_or(Group::is_empty), "{:?}", groups.get("g"));
}

fn beat(id: &str, epoch: i32, owned: Option<&BTreeSet<Part>>) -> Beat {
    Beat {
        member_id: id.to_owned(),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 5000,
        topics: Some(BTreeSet::from(["t".to_owned()])),
        assignor: None,
        owned: owned.cloned(),
        client_id: String::new(),
        client_host: String::new(),
    }
}

#[test]
fn no_partition_has_two_readers_however_members_come_and_go() {
    let pace = Pace { session_timeout_ms: 45_000, assignment_interval_ms: 1000 };
    for seed in 0..200u64 {
        let mut state = seed;
        let mut random = |bound: u64| {
            state = mix(state);
            state % bound
        };
        let mut group = ConsumerGroup::default();
        let mut readers: BTreeMap<String, (i32, BTreeSet<Part>)> = BTreeMap::new();
        let mut now_ms = 0;
        for _ in 0..300 {
            now_ms += i64::try_from(random(700)).unwrap();
            let id = format!("m{}", random(4));
            let size = |_: &str| Some(([1; 16], 7));
            let (epoch, owned) = readers.get(&id).cloned().unwrap_or_default();
            if epoch > 0 && random(12) == 0 {
                group.beat(now_ms, pace, &beat(&id, -1, None), size).unwrap();
                readers.remove(&id);
                continue;
            }
            match group.beat(now_ms, pace, &beat(&id, epoch, Some(&owned)), size) {
                Ok(told) => {
                    let owns = told.assignment.unwrap_or(owned);
                    readers.insert(id, (told.epoch, owns));
                }
                Err((code, _)) => panic!("seed {seed}: {code}"),
            }
            let all: Vec<&Part> = readers.values().flat_map(|(_, owned)| owned).collect();
            let distinct: BTreeSet<&Part> = all.iter().copied().collect();
            assert_eq!(all.len(), distinct.len(), "seed {seed}");
        }
    }
}

#[test]
fn of_a_transactions_offsets_for_a_partition_the_last_one_counts() {
    let mut groups = Groups::default();
    let at = |index| TopicPartition::new("t", index);
    let offset = |offset| Committed { offset, leader_epoch: -1, metadata: "m".to_owned() };
    for (producer_id, index, number) in [(1, 0, 10), (1, 0, 11), (2, 0, 20), (1, 1, 30)] {
        groups.commit_later((producer_id, 0), "g", at(index), offset(number));
    }
    let each = Size::of("g".len() + "t".len() + "m".len());
    assert_eq!(groups.recount(), Some(Size::of("g".len()) + each + each + each));
    assert_eq!(groups.pending_size(1, "g", &at(0), &offset(12)), Size::default());
    let unstable = |groups: &Groups| [0, 1, 2].map(|index| groups.is_unstable("g", &at(index)));
    assert_eq!(unstable(&groups), [true, true, false]);
    groups.transaction_ended(1, "h", true);
    assert_eq!(unstable(&groups), [true, true, false], "of another group");
    groups.transaction_ended(1, "g", true);
    assert_eq!(unstable(&groups), [true, false, false]);
    let committed = |groups: &Groups, index| groups.committed("g", &at(index)).map(|found| found.offset);
    assert_eq!((committed(&groups, 0), committed(&groups, 1)), (Some(11), Some(30)));
    groups.transaction_ended(2, "g", false);
    assert_eq!((unstable(&groups), committed(&groups, 0)), ([false; 3], Some(11)));
}

#[test]
fn many_offsets_that_wait_are_found_one_by_one() {
    let mut groups = Groups::default();
    let offset = Committed { offset: 1, leader_epoch: -1, metadata: String::new() };
    for index in 0..100_000 {
        groups.commit_later((1, 0), "g", TopicPartition::new("t", index), offset.clone());
    }
    // A walk over all for each would take minutes.
    assert!((0..100_000).all(|index| groups.is_unstable("g", &TopicPartition::new("t", index))));
    assert!(!groups.is_unstable("h", &TopicPartition::new("t", 0)));
}

#[test]
fn groups_that_wait_cost_nothing_until_one_is_due() {
    let (mut groups, rules) = (Groups::default(), rules(Profile::V4_3));
    for index in 0..30_000 {
        let (ticket, _) = groups.open();
        let joining = joining(&mut groups, "", None);
        groups.join(0, &rules, &format!("g{index}"), ticket, joining);
    }
    // A walk over all for each would take minutes.
    for now_ms in 0..3000 {
        (0..100).for_each(|_| groups.tick(now_ms, &rules, nothing));
    }
    assert_eq!(groups.next_look_ms(), Some(3000));
    groups.tick(3000, &rules, nothing);
    assert!(groups.get("g29999").is_some_and(|group| group.state_name() == "CompletingRebalance"));
    // Who is heard of is looked at once, and then later.
    let id = groups.classic("g7").unwrap().members[0].id.clone();
    let claim = Claim { generation: 1, member_id: &id, instance_id: None };
    let group = groups.classic("g7").unwrap();
    group.stabilize(3000, &[]);
    assert_eq!(group.heartbeat(12_000, &rules, claim), Ok(()));
    groups.tick(13_000, &rules, nothing);
    assert!(!groups.get("g7").unwrap().is_empty());
    // The others have been thrown out, and are not looked at any more.
    assert_eq!(groups.next_look_ms(), Some(22_000));
    groups.delete("g7");
    assert_eq!(groups.next_look_ms(), None);
}

#[test]
fn a_group_has_a_thousand_members_and_as_many_that_may_become_some() {
    assert_eq!(Rules::new(Profile::V4_3, |_| i64::from(i32::MAX)).members_max, 1000);
    assert_eq!(Rules::new(Profile::V4_3, |_| 10).members_max, 10);
    let (mut groups, rules) = (Groups::default(), Rules { members_max: 1000, ..rules(Profile::V4_3) });
    let mut replies = Vec::new();
    for _ in 0..1001 {
        replies.push(join(&mut groups, 0, &rules, ""));
    }
    assert_eq!(joined(&mut replies[1000]).unwrap().code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    let join_newly = |groups: &mut Groups| {
        let (ticket, mut receiver) = groups.open();
        let joining = Joining { version: 4, ..joining(groups, "", None) };
        groups.join(0, &rules, "h", ticket, joining);
        joined(&mut receiver).unwrap().code
    };
    for _ in 0..1000 {
        assert_eq!(join_newly(&mut groups), ErrorCode::MEMBER_ID_REQUIRED);
    }
    assert_eq!(join_newly(&mut groups), ErrorCode::GROUP_MAX_SIZE_REACHED);

    let pace = Pace { session_timeout_ms: 45_000, assignment_interval_ms: 1_000_000 };
    let mut group = ConsumerGroup::default();
    let mut arrive = |index: usize| {
        let told = group.beat(0, pace, &beat(&format!("m{index}"), 0, None), |_| Some(([1; 16], 7)));
        told.err().map(|(code, _)| code)
    };
    assert!((0..1000).all(|index| arrive(index).is_none()));
    assert_eq!(arrive(1000), Some(ErrorCode::GROUP_MAX_SIZE_REACHED));
    assert_eq!(arrive(999), None);
}

#[test]
fn members_with_very_many_protocols_agree_on_one() {
    let (mut groups, rules) = (Groups::default(), rules(Profile::V2_8));
    let mut replies = Vec::new();
    for first in ["a", "b", "c"] {
        let (ticket, receiver) = groups.open();
        let own = (0..50_000).map(|index| (format!("{first}{index}"), Bytes::new()));
        let mut joining = joining(&mut groups, "", None);
        joining.protocols = own.chain([("common".to_owned(), Bytes::new())]).collect();
        groups.join(0, &rules, "g", ticket, joining);
        replies.push(receiver);
    }
    // Each name of one with each of another's would take minutes.
    groups.tick(3000, &rules, nothing);
    groups.tick(6000, &rules, nothing);
    assert_eq!(joined(&mut replies[2]).unwrap().protocol.as_deref(), Some("common"));
}
