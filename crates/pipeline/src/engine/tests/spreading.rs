//! Lanes that spread one source partition.

use super::*;
use crate::events::LaneId;
use offsets::{Checkpoint, Spread};

/// Source partitions 0, which has a share in the only partition there, and 1, which has none yet; ten records are there.
fn two_into_one(untouched: bool) -> Run {
    let share = Checkpoint {
        next_source: Offset(10),
        sequence: 10,
        destination_end: Offset(10),
        source_topic_id: Some(TopicId([1; 16])),
        ..first_checkpoint_for_tests()
    };
    let spread = Spread {
        partitions: 1,
        begin: Offset(0),
        begin_is_set: false,
        untouched: if untouched { [0].into() } else { [].into() },
        shares: [(0, share)].into(),
    };
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 10) };
    let stored = Some(StoredLane::Spread(spread));
    let mut run = Run::with(Options::new("flow"), stored, true, (0, 30), nothing);
    run.contents = Some(Contents::default());
    let route = |partition| Route {
        spread_over: Some(1),
        ..route_for_tests(TopicPartition::new("orders", partition), orders())
    };
    let routes = Routes { generation: 1, routes: vec![route(0), route(1)] };
    run.tell(0, Event::Routes(Arc::new(routes)));
    for after in 1..4 {
        run.tell(after, Event::Timer);
    }
    run
}

#[test]
fn a_share_begins_beside_others_only_where_nothing_was_when_they_began() {
    let begun = |run: &Run| {
        let stored = run.saved.iter().rev();
        stored.filter_map(|stored| stored.lanes.get(&TopicPartition::new("orders", 1))).next().cloned()
    };
    let Some(StoredLane::Spread(spread)) = begun(&two_into_one(true)) else { panic!("it begins") };
    assert_eq!((spread.shares[&0].next_source, spread.untouched), (Offset(0), [0].into()));
    // The share was found there, or set, or comes from an export: what is there may be this one's.
    let stops = two_into_one(false);
    let stopped = Trouble::DestinationNotEmpty { records: 10, deleted: 0, writer: None };
    assert_eq!(begun(&stops), None);
    assert!(stops.engine.status().lanes.iter().any(|lane| lane.trouble == Some(stopped.clone())));
}

#[test]
fn a_share_that_has_not_begun_does_not_begin_in_another_topic_where_the_others_did_in_theirs() {
    let share = Checkpoint {
        next_source: Offset(10),
        source_topic_id: Some(TopicId([1; 16])),
        ..first_checkpoint_for_tests()
    };
    let spread = Spread {
        partitions: 2,
        begin: Offset(0),
        begin_is_set: false,
        untouched: [0, 1].into(),
        shares: [(0, share)].into(),
    };
    let anew = Some(TopicId([2; 16]));
    let stored = Some(StoredLane::Spread(spread));
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::with(Options::new("flow"), stored, true, (0, 30), nothing);
    run.topic_ids = (anew, None);
    run.route(
        1,
        Route { source_topic_id: anew, spread_over: Some(2), ..route_for_tests(orders(), orders()) },
    );
    let troubles: Vec<_> = run.engine.lanes.values().map(|lane| lane.trouble.clone()).collect();
    assert_eq!(troubles.len(), 2);
    let is_told = |trouble: &Option<Trouble>| matches!(trouble, Some(Trouble::SourceRecreated { .. }));
    assert!(troubles.iter().all(is_told), "{troubles:?}");
}

#[test]
fn what_is_below_a_stored_end_is_stored_before_anything_follows_it() {
    let mut run = two_into_one(true);
    run.saved.clear();
    // Others' records are gone; the leader remembers ours.
    run.destination = shown(9, 7);
    let leader = Leader { broker: BrokerId(2), epoch: LeaderEpoch(1), topic_id: None };
    run.moved = Some(leader);
    run.tell(5, Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) });
    for after in (6..120).step_by(2) {
        run.tell(after, Event::Timer);
    }
    let Some(StoredLane::Spread(spread)) = run.stored() else { panic!("{:?}", run.trouble()) };
    assert_eq!(spread.shares[&0].destination_end, Offset(7));
}

#[test]
fn a_share_that_comes_later_begins_where_the_first_one_did() {
    let mut run = Run::with(Options::new("flow"), None, true, (0, 100), shown(0, 0));
    let route = Route { spread_over: Some(2), ..route_for_tests(orders(), orders()) };
    let routes = Routes { generation: 1, routes: vec![route] };
    let now = Now { instant: run.started, wall_ms: 0 };
    run.engine.handle(now, Event::Routes(Arc::new(routes)));
    let ids: Vec<LaneId> = run.engine.lanes.keys().copied().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(run.engine.begin_of(ids[1], Offset(5)), Offset(5));
    assert_eq!(run.engine.begin_of(ids[0], Offset(9)), Offset(5), "what the source has deleted since shows");
}
