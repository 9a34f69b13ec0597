//! Topics that are created anew, cut and overtaken, and each word an operator can say about it.

use super::*;
use crate::life::{LifeCounts, Missing, Policies, Recreated};
use record_batch::{Entry, ProducerStamp};

fn id(number: u8) -> Option<TopicId> {
    Some(TopicId([number; 16]))
}

/// Ten records were copied, of topic 1 to topic 1.
fn ten_copied() -> Checkpoint {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(10), 10, Offset(10));
    position.source_leader_epoch = LeaderEpoch(0);
    (position.source_topic_id, position.destination_topic_id) = (id(1), id(1));
    position.segments.push(Segment {
        source: Offset(0),
        source_end: Offset(10),
        destination: Offset(0),
        count: 10,
    });
    position
}

/// A lane of [`ten_copied`], with present topics of these ids.
fn run(
    policies: Policies,
    stopped_cleanly: bool,
    ids: (Option<TopicId>, Option<TopicId>),
    source: (i64, i64),
    destination: Evidence,
) -> Run {
    let mut run = unrouted(policies, stopped_cleanly, ids, source, destination);
    run.route(1, route(ids));
    run
}

fn unrouted(
    policies: Policies,
    stopped_cleanly: bool,
    topic_ids: (Option<TopicId>, Option<TopicId>),
    source: (i64, i64),
    destination: Evidence,
) -> Run {
    let options = Options { life: policies, ..Options::new("flow") };
    let stored = Some(StoredLane::Ours(ten_copied()));
    Run { topic_ids, ..Run::with(options, stored, stopped_cleanly, source, destination) }
}

fn route((source_topic_id, destination_topic_id): (Option<TopicId>, Option<TopicId>)) -> Route {
    Route { source_topic_id, destination_topic_id, ..route_for_tests(orders(), orders()) }
}

fn on_source(source_recreated: Recreated) -> Policies {
    Policies { source_recreated, ..Policies::default() }
}

fn on_destination(destination_recreated: Recreated) -> Policies {
    Policies { destination_recreated, ..Policies::default() }
}

const SKIP: Policies = Policies {
    source_recreated: Recreated::Stop,
    source_overtaken: Missing::Skip,
    source_truncated: Missing::Skip,
    destination_recreated: Recreated::Stop,
};

fn counts(run: &Run) -> LifeCounts {
    run.engine.status().lanes[0].life
}

/// The position that is stored, if one was: source offset, sequence, destination's end.
fn position(run: &Run) -> Option<(i64, i32, i64)> {
    match run.stored()? {
        StoredLane::Ours(at) => Some((at.next_source.0, at.sequence, at.destination_end.0)),
        StoredLane::Foreign { .. } | StoredLane::Spread(_) => panic!("it is ours, and whole"),
    }
}

/// One record of `value` at `offset`, as the flow writes it with `sequence`.
fn copy(offset: i64, sequence: i32, value: &[u8]) -> Bytes {
    let stamp = ProducerStamp { producer_id: ProducerId(4711), producer_epoch: 0, base_sequence: sequence };
    let mut batch =
        BatchBuilder::new(Codec::None).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0)).stamp(stamp);
    batch.append(0, None, Some(value), &[]);
    batch.build()
}

const ANEW: (Option<TopicId>, Option<TopicId>) = (Some(TopicId([2; 16])), Some(TopicId([1; 16])));

#[test]
fn a_source_topic_created_anew_stops_the_lane_unless_an_operator_says_otherwise() {
    let run_of = |policy| run(on_source(policy), true, ANEW, (0, 4), shown(9, 10));
    let stopped = run_of(Recreated::Stop);
    let recreated = Trouble::SourceRecreated { position: Offset(10), log_start: Offset(0), end: Offset(4) };
    assert_eq!((position(&stopped), stopped.trouble()), (None, Some(recreated.clone())));

    // Where records were asked for by the topic's name, the new one's may be there already.
    let mut by_name = unrouted(on_source(Recreated::Restart), true, ANEW, (0, 4), shown(9, 10));
    by_name.by_id = false;
    by_name.route(1, route(ANEW));
    assert_eq!((position(&by_name), by_name.trouble()), (None, Some(recreated)));

    // Its records follow those of the old one, in sequence and offset.
    let mut restarts = run_of(Recreated::Restart);
    assert_eq!(position(&restarts), Some((0, 10, 10)));
    let Some(StoredLane::Ours(stored)) = restarts.stored() else { panic!("it is ours") };
    assert!(stored.segments.is_empty(), "its offsets are used a second time");
    assert_eq!(restarts.fetches, [(BROKER, Offset(0))]);
    restarts.give(BROKER, batch(0));
    assert_eq!((restarts.sent.len(), restarts.trouble()), (1, None));
    assert_eq!(counts(&restarts), LifeCounts { begun_anew: 1, ..LifeCounts::default() });

    let skips = run_of(Recreated::Skip);
    assert_eq!((position(&skips), counts(&skips).offsets_skipped), (Some((4, 10, 10)), 4));
}

#[test]
fn a_new_source_topic_waits_until_nothing_of_the_old_one_can_arrive() {
    let mut killed = run(on_source(Recreated::Restart), false, ANEW, (0, 4), shown(9, 10));
    assert_eq!((position(&killed), killed.trouble()), (None, Some(Trouble::OutcomeUnknown)));
    for after in (1..50).step_by(2) {
        killed.tell(after, Event::Timer);
    }
    assert_eq!(position(&killed), None);
    killed.tell(52, Event::Timer);
    assert_eq!(position(&killed), Some((0, 10, 10)));
}

#[test]
fn what_came_after_the_stored_position_is_shown_to_be_of_the_old_topic() {
    let with_two_more = |value: &[u8]| {
        let mut killed = run(on_source(Recreated::Restart), false, ANEW, (0, 1), shown(9, 10));
        killed.destination = shown(11, 12);
        for (offset, sequence) in [(10, 10), (11, 11)] {
            let entry = Entry::Batch(Batch::read(copy(offset, sequence, value)).unwrap());
            let contents = killed.contents.get_or_insert_default();
            contents.add(&entry, ProducerId(4711), Offset(10), true).unwrap();
        }
        for after in (2..54).step_by(2) {
            killed.tell(after, Event::Timer);
        }
        // The new topic is searched for the last of them.
        assert_eq!((position(&killed), &killed.fetches[..]), (None, &[(BROKER, Offset(0))][..]));
        killed.give_at(54, BROKER, batch(0));
        killed.tell(54, Event::Timer);
        killed
    };
    let old = with_two_more(b"of the old one");
    assert_eq!(position(&old), Some((0, 12, 12)));
    let either = with_two_more(b"value");
    let unclear = Trouble::RestartUnclear { records: 2 };
    assert_eq!((position(&either), either.trouble()), (None, Some(unclear)));
}

#[test]
fn a_source_that_deleted_records_before_they_were_copied_is_followed_where_that_is_wanted() {
    let ids = (id(1), id(1));
    let skips = run(SKIP, true, ids, (15, 30), shown(9, 10));
    assert_eq!((position(&skips), counts(&skips).offsets_skipped), (Some((15, 10, 10)), 5));
    assert_eq!(skips.fetches, [(BROKER, Offset(15))]);
    let stops = run(Policies::default(), true, ids, (15, 30), shown(9, 10));
    let overtaken = Trouble::SourceOvertaken { position: Offset(10), log_start: Offset(15) };
    assert_eq!((position(&stops), stops.trouble()), (None, Some(overtaken)));
}

#[test]
fn a_source_that_was_cut_stops_the_lane_whatever_is_wanted() {
    let mut run = run(SKIP, true, (id(1), id(1)), (0, 7), shown(9, 10));
    // A new leader may show less than it has, for a while.
    assert_eq!(run.trouble().map(|trouble| trouble.passes()), Some(true));
    for after in 1..8 {
        run.tell(after, Event::Timer);
    }
    assert!(matches!(run.trouble(), Some(Trouble::SourceTruncated { .. })), "{:?}", run.trouble());
    assert_eq!(position(&run), None);
}

#[test]
fn without_ids_the_leader_epoch_tells_a_new_topic_from_one_that_was_cut() {
    for (epoch, is_anew) in [(0, true), (1, false)] {
        let options = Options { life: on_source(Recreated::Restart), ..Options::new("flow") };
        let stored = Checkpoint { source_topic_id: None, destination_topic_id: None, ..ten_copied() };
        let mut run = Run::with(options, Some(StoredLane::Ours(stored)), true, (0, 7), shown(9, 10));
        run.leader = LeaderEpoch(epoch);
        run.route(1, route((None, None)));
        for after in 1..8 {
            run.tell(after, Event::Timer);
        }
        // What was read by the topic's name may be of either, so that it stops in any case.
        let told = match run.trouble() {
            Some(Trouble::SourceRecreated { .. }) => true,
            Some(Trouble::SourceTruncated { .. }) => false,
            other => panic!("leader epoch {epoch}: {other:?}"),
        };
        assert_eq!((position(&run), told), (None, is_anew), "leader epoch {epoch}");
    }
}

#[test]
fn a_batch_that_is_another_one_is_looked_into_before_it_stops_the_lane() {
    let copied = Batch::read(batch(9)).unwrap().header;
    let fingerprint = Fingerprint { base_offset: Offset(9), last_offset: Offset(9), crc: copied.crc };
    let mut other = BatchBuilder::new(Codec::None).base_offset(Offset(9)).leader_epoch(LeaderEpoch(1));
    other.append(0, None, Some(b"another"), &[]);
    let other = other.build();
    let stored = Checkpoint { fingerprint: Some(fingerprint), ..ten_copied() };
    let options = Options { life: SKIP, ..Options::new("flow") };
    let mut run = Run::with(options, Some(StoredLane::Ours(stored)), true, (0, 30), shown(9, 10));
    run.leader = LeaderEpoch(1);
    run.topic_ids = (id(1), id(1));
    run.route(1, route((id(1), id(1))));
    run.give(BROKER, other.clone());
    run.tell(2, Event::Timer);
    assert_eq!((position(&run), run.trouble()), (None, Some(Trouble::SourceChanged { at: Offset(9) })));
    // Damage is none of it.
    let mut damaged = other.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let stored = Checkpoint { fingerprint: Some(fingerprint), ..ten_copied() };
    let mut run = Run::with(
        Options { life: SKIP, ..Options::new("flow") },
        Some(StoredLane::Ours(stored)),
        true,
        (0, 30),
        shown(9, 10),
    );
    run.route(1, route((id(1), id(1))));
    run.give(BROKER, damaged.into());
    assert_eq!(position(&run), None);
    let lane = run.engine.lanes.values().next().unwrap();
    assert!(lane.diverged.is_none(), "{:?}", lane.diverged);
    assert!(matches!(run.trouble(), Some(Trouble::Unreadable { .. })), "{:?}", run.trouble());
}

/// A leader that hung, and was asked when less was read, answers after the next one.
#[test]
fn an_answer_to_an_earlier_question_is_no_other_log() {
    let copied = Batch::read(batch(9)).unwrap().header;
    let fingerprint = Fingerprint { base_offset: Offset(9), last_offset: Offset(9), crc: copied.crc };
    let stored = Checkpoint { fingerprint: Some(fingerprint), ..ten_copied() };
    let mut run =
        Run::with(Options::new("flow"), Some(StoredLane::Ours(stored)), true, (0, 30), shown(9, 10));
    run.route(1, route((id(1), id(1))));
    run.give(BROKER, batch(4));
    assert_eq!((run.trouble(), run.sent.len()), (None, 0));
    assert_eq!(run.fetches, [(BROKER, Offset(9)), (BROKER, Offset(9))], "it is still to be compared");
    run.give(BROKER, [batch(9), batch(10)].concat().into());
    assert_eq!((run.trouble(), run.sent.len()), (None, 1));
}

#[test]
fn a_source_that_lost_what_was_copied_is_followed_from_the_very_offset_where_that_is_known() {
    let ids = (id(1), id(1));
    let run_of = |policies, by_id, epoch_end, end| {
        let mut run = unrouted(policies, true, ids, (0, end), shown(9, 10));
        run.epoch_end = epoch_end;
        run.leader = LeaderEpoch(1);
        run.by_id = by_id;
        run.route(1, route(ids));
        // What shows a shorter log is asked for once more, and leaders before that.
        for after in (2..14).step_by(2) {
            run.tell(after, Event::Timer);
        }
        run
    };
    let up_to_six = Some((LeaderEpoch(0), Offset(6)));
    // The source has grown beyond the position since, and nothing but the epoch tells.
    let mut skips = run_of(SKIP, true, up_to_six, 30);
    assert_eq!((position(&skips), counts(&skips).source_offsets_gone), (Some((6, 10, 10)), 4));
    assert_eq!(skips.fetches.last(), Some(&(BROKER, Offset(6))));
    // The longer log does not know the epoch of the leader that showed the cut, and will say so.
    let Some(StoredLane::Ours(stored)) = skips.stored() else { panic!("it is ours") };
    assert_eq!(stored.source_leader_epoch, LeaderEpoch(1));
    // What was asked for long ago is asked for once more.
    for _ in 0..2 {
        skips.give_at(14, BROKER, batch(6));
    }
    assert_eq!((skips.sent.len(), skips.trouble()), (1, None));
    let truncated = |end: i64, epoch| {
        let (position, end) = (Offset(10), Offset(end));
        Some(Trouble::SourceTruncated { position, end, epoch: LeaderEpoch(epoch) })
    };
    // Of an earlier epoch it is not known how much was copied.
    let earlier = run_of(SKIP, true, Some((LeaderEpoch(-1), Offset(6))), 8);
    assert_eq!((position(&earlier), earlier.trouble()), (None, truncated(8, 0)));
    // By its name another topic may have been asked.
    let by_name = run_of(SKIP, false, up_to_six, 30);
    assert_eq!((position(&by_name), by_name.trouble()), (None, truncated(6, 0)));
    let stops = run_of(Policies::default(), true, up_to_six, 30);
    assert_eq!((position(&stops), stops.trouble()), (None, truncated(6, 1)));
}

#[test]
fn a_destination_topic_created_anew_gets_everything_again_while_it_is_empty() {
    let ids = (id(1), id(2));
    let empty = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let run_of =
        |policy, evidence: &Evidence| run(on_destination(policy), true, ids, (3, 30), evidence.clone());
    let restarts = run_of(Recreated::Restart, &empty);
    assert_eq!(position(&restarts), Some((3, 0, 0)));
    assert_eq!(restarts.fetches, [(BROKER, Offset(3))]);
    assert_eq!(counts(&restarts).destination_offsets_gone, 10);
    let skips = run_of(Recreated::Skip, &empty);
    assert_eq!((position(&skips), &skips.fetches[..]), (Some((10, 0, 0)), &[(BROKER, Offset(10))][..]));
    let recreated = |records| Some(Trouble::DestinationRecreated { expected: Offset(10), records });
    let stops = run_of(Recreated::Stop, &empty);
    assert_eq!((position(&stops), stops.trouble()), (None, recreated(0)));
    // What is there may be copies already.
    let filled = run_of(Recreated::Restart, &Evidence { latest: Offset(5), ..empty });
    assert_eq!((position(&filled), filled.trouble()), (None, recreated(5)));
}

#[test]
fn a_topic_that_is_replaced_is_not_touched_before_routes_are_about_it() {
    for (side, ids) in [(Side::Source, (id(2), id(1))), (Side::Destination, (id(1), id(2)))] {
        let mut run = run(Policies::default(), true, (id(1), id(1)), (0, 30), shown(9, 10));
        assert_eq!(run.fetches.len(), 1);
        run.topic_ids = ids;
        let leader = Leader {
            broker: BROKER,
            epoch: LeaderEpoch(0),
            topic_id: if side == Side::Source { ids.0 } else { ids.1 },
        };
        run.tell(2, Event::Leaders { side, answer: Ok(vec![(orders(), leader)]) });
        for after in 3..8 {
            run.give_at(after, BROKER, batch(10));
        }
        assert_eq!((run.sent.len(), run.trouble()), (0, Some(Trouble::TopicReplaced(side))));
        run.destination = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
        run.route(2, route(ids));
        match side {
            Side::Source => assert!(matches!(run.trouble(), Some(Trouble::SourceRecreated { .. }))),
            Side::Destination => assert_eq!(position(&run), Some((0, 0, 0))),
        }
    }
}
