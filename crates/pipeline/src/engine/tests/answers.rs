//! What single answers of the destination mean, and what is not believed any more when it is time to send.

use super::*;
use crate::events::SendError;
use offsets::Checkpoint;

/// Nobody there remembers the flow; so many records are in the log.
fn unremembered(latest: i64) -> Evidence {
    Evidence { producer: ProducerEvidence::Nothing, ..shown(0, latest) }
}

/// A lane that has sent its first record and has no answer.
fn one_sent(destination: Evidence) -> Run {
    let mut run = Run::of(StoredLane::Ours(first_checkpoint_for_tests()), true, (0, 1000), destination);
    run.give(BROKER, batch(0));
    assert_eq!(run.sent.len(), 1);
    run
}

/// The same with the answer that it is appended.
fn one_appended() -> Run {
    let mut run = one_sent(unremembered(0));
    run.answered(1, ErrorCode::NONE, Some(0));
    run.destination = shown(0, 1);
    run
}

impl Run {
    /// The last request is answered.
    fn answered(&mut self, after: u64, error: ErrorCode, base_offset: Option<i64>) {
        self.nth_answered(self.sent.len() - 1, after, error, base_offset);
    }

    fn position(&self) -> &Checkpoint {
        &self.engine.lanes.values().next().unwrap().acked
    }
}

#[test]
fn what_may_have_been_appended_is_waited_for_where_nobody_would_refuse_it_twice() {
    for (error, base_offset, may_be_there) in [
        (ErrorCode::REQUEST_TIMED_OUT, None, true),
        (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, None, true),
        (ErrorCode::NOT_ENOUGH_REPLICAS, None, true),
        // Who appended it ceased to lead; who does not lead has not appended it.
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(0), true),
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, None, false),
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, None, false),
    ] {
        let mut run = one_sent(unremembered(0));
        run.answered(1, error, base_offset);
        assert_eq!(run.trouble() == Some(Trouble::OutcomeUnknown), may_be_there, "{error} {base_offset:?}");
    }
    for maybe_written in [true, false] {
        let mut run = one_sent(unremembered(0));
        let request = run.sent[0].1;
        let trouble = Some(Trouble::Connection(Side::Destination, "reset".to_owned()));
        run.tell(1, Event::Produced { request, reply: Err(SendError { trouble, maybe_written }) });
        assert_eq!(run.trouble() == Some(Trouble::OutcomeUnknown), maybe_written);
    }
}

#[test]
fn a_record_that_was_appended_behind_those_of_others_is_found_there_and_not_counted_on() {
    let mut run = one_sent(unremembered(0));
    run.destination = shown(0, 4);
    run.answered(1, ErrorCode::NONE, Some(3));
    // What was read ahead is not sent before it is known where the copy stands.
    run.give(BROKER, batch(1));
    assert_eq!((run.sent.len(), run.fetches.last()), (1, Some(&(BROKER, Offset(0)))));
}

#[test]
fn a_leader_that_takes_what_is_sent_for_what_it_has_again_and_again_is_told() {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(5), 5, Offset(5));
    let mut run = Run::of(StoredLane::Ours(position), true, (0, 1000), shown(4, 5));
    for after in 1..=20 {
        if run.trouble() == Some(Trouble::SequenceRefused { sequence: 5 }) {
            return;
        }
        let sent = run.sent.len();
        run.give_at(after, BROKER, batch(5));
        if run.sent.len() > sent {
            run.answered(after, ErrorCode::NONE, Some(2));
        }
    }
    panic!("{:?} after {} tries", run.trouble(), run.sent.len());
}

#[test]
fn an_answer_that_comes_after_the_lane_has_turned_elsewhere_moves_nothing() {
    let mut run = one_sent(unremembered(0));
    run.looks_wait = true;
    let leader = Leader { broker: BrokerId(2), epoch: LeaderEpoch(1), topic_id: None };
    run.moved = Some(leader);
    run.tell(1, Event::Leaders { side: Side::Destination, answer: Ok(vec![(orders(), leader)]) });
    assert_eq!(run.looks, [], "what is under way has its answer first");
    run.answered(2, ErrorCode::NONE, Some(0));
    assert_eq!((run.looks.len(), run.position().destination_end), (1, Offset(0)));
}

#[test]
fn what_was_seen_before_a_long_silence_is_looked_at_again_before_anything_is_sent() {
    let mut stood_still = one_appended();
    stood_still.looks_wait = true;
    // What was read last is compared again, too.
    for records in [batch(1), [batch(0), batch(1)].concat().into()] {
        stood_still.give_at(20, BROKER, records);
    }
    stood_still.tell(20, Event::Timer);
    assert_eq!((stood_still.sent.len(), stood_still.looks.len()), (1, 1));

    let mut idle = one_appended();
    idle.looks_wait = true;
    let age_max = idle.engine.options.metadata_age_max.as_secs();
    for after in (4..=age_max + 4).step_by(4) {
        idle.tell(after, Event::Timer);
    }
    assert_eq!(idle.looks, [], "there was nothing to send");
    for records in [batch(1), [batch(0), batch(1)].concat().into()] {
        idle.give_at(age_max + 6, BROKER, records);
    }
    idle.tell(age_max + 6, Event::Timer);
    assert_eq!((idle.sent.len(), idle.looks.len()), (1, 1));

    // Another lane's look made a new connection, or the connection broke with nothing of this lane under way.
    let mut reconnected = one_appended();
    reconnected.looks_wait = true;
    let connection = Some(ConnectionId(2));
    reconnected.tell(1, Event::DestinationLooked { broker: BROKER, connection, lanes: Vec::new() });
    reconnected.give(BROKER, batch(1));
    let mut broken = one_appended();
    broken.looks_wait = true;
    broken.engine.connections.clear();
    broken.give(BROKER, batch(1));
    for mut run in [reconnected, broken] {
        run.tell(2, Event::Timer);
        assert_eq!((run.sent.len(), run.looks.len()), (1, 1));
    }

    let mut busy = one_appended();
    busy.looks_wait = true;
    busy.give_at(4, BROKER, batch(1));
    assert_eq!((busy.sent.len(), busy.looks.len()), (2, 0));
}

#[test]
fn a_leader_that_refuses_a_sequence_begun_anew_remembers_that_of_before() {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence_base, position.destination_end) = (Offset(10), 10, Offset(10));
    position.segments.push(Segment {
        source: Offset(0),
        source_end: Offset(10),
        destination: Offset(0),
        count: 10,
    });
    // Before 2.5, brokers cannot be asked what they remember.
    let unsupported = Evidence { producer: ProducerEvidence::Unsupported, ..shown(0, 10) };
    let mut run = Run::of(StoredLane::Ours(position), true, (0, 30), unsupported);
    run.tail = Tail::Ours(9);
    run.give(BROKER, batch(10));
    run.answered(1, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, None);
    assert_eq!((run.position().sequence, run.position().sequence_base), (10, 0));
    assert!(matches!(run.stored(), Some(StoredLane::Ours(stored)) if stored.sequence == 10));
}

#[test]
fn where_the_source_was_cleaned_what_is_late_may_be_other_records_under_the_same_sequences() {
    let sent = |source_compacted| {
        let mut position = first_checkpoint_for_tests();
        (position.next_source, position.sequence, position.destination_end) = (Offset(10), 10, Offset(10));
        let stored = Some(StoredLane::Ours(position));
        let mut run = Run::with(Options::new("flow"), stored, false, (0, 30), shown(9, 10));
        let mut route = route_for_tests(orders(), orders());
        route.rule.source_compacted = source_compacted;
        run.route(1, route);
        run.give(BROKER, batch(10));
        run
    };
    assert_eq!(sent(false).sent.len(), 1, "the leader remembers, and would refuse it");
    let mut waits = sent(true);
    assert_eq!(waits.sent.len(), 0);
    for after in (2..52).step_by(2) {
        waits.tell(after, Event::Timer);
        assert_eq!(waits.sent.len(), 0, "after {after} s");
    }
    for after in [52, 53, 54] {
        waits.give_at(after, BROKER, batch(10));
    }
    assert_eq!(waits.sent.len(), 1);
}

#[test]
fn a_stop_is_clean_where_the_outcome_of_all_that_was_sent_is_known() {
    let is_clean = |error: ErrorCode, base_offset: Option<i64>| {
        let mut run = one_sent(unremembered(0));
        run.answered(1, error, base_offset);
        run.tell(2, Event::Stop);
        assert!(run.engine.is_stopped(), "everything that can be stored is");
        let producer = run.saved.iter().rev().find_map(|stored| stored.producer.as_ref());
        producer.is_some_and(|producer| producer.stopped_cleanly)
    };
    assert!(is_clean(ErrorCode::NONE, Some(0)));
    assert!(is_clean(ErrorCode::NOT_LEADER_OR_FOLLOWER, None));
    assert!(!is_clean(ErrorCode::REQUEST_TIMED_OUT, None));
}

#[test]
fn nothing_is_sent_once_the_lease_is_over() {
    let sent = |lease: u64| {
        let mut run = one_appended();
        run.tell(1, Event::Lease(run.started + Duration::from_secs(lease)));
        run.give_at(4, BROKER, batch(1));
        run.sent.len()
    };
    assert_eq!([sent(5), sent(4)], [2, 1]);
}

const TEN_DAYS_MS: i64 = 10 * 86_400_000;

/// A lane that begins ten days after what [`batch`] gives was written: by then the destination may forget who wrote it.
fn late(position: Checkpoint, stopped_cleanly: bool, destination: Evidence) -> Run {
    let stored = Some(StoredLane::Ours(position));
    let mut run = Run::with(Options::new("flow"), stored, stopped_cleanly, (0, 1000), destination);
    run.wall_ms = TEN_DAYS_MS;
    run.route(1, route_for_tests(orders(), orders()));
    run
}

/// One record of the day.
fn young(offset: i64) -> Bytes {
    let mut batch = BatchBuilder::new(Codec::None).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0));
    batch.append(TEN_DAYS_MS, None, Some(b"value"), &[]);
    batch.build()
}

#[test]
fn an_aged_record_and_what_follows_it_leave_one_by_one() {
    let sent = |first: Bytes, next: [Bytes; 2]| {
        let mut run = late(first_checkpoint_for_tests(), true, unremembered(0));
        run.give(BROKER, first);
        run.answered(1, ErrorCode::NONE, Some(0));
        run.give(BROKER, next.concat().into());
        let at_once = run.sent.len() - 1;
        run.answered(1, ErrorCode::NONE, Some(1));
        (at_once, run.sent.len() - 1)
    };
    assert_eq!(sent(young(0), [young(1), young(2)]), (2, 2));
    assert_eq!(sent(batch(0), [young(1), young(2)]), (1, 2));
    assert_eq!(sent(young(0), [batch(1), young(2)]), (1, 2));
    assert_eq!(sent(young(0), [young(1), batch(2)]), (1, 2));
}

#[test]
fn an_aged_record_waits_until_nothing_sent_before_can_arrive() {
    let mut position = first_checkpoint_for_tests();
    (position.next_source, position.sequence, position.destination_end) = (Offset(10), 10, Offset(10));
    let mut run = late(position, false, shown(9, 10));
    run.give(BROKER, batch(10));
    for after in (2..52).step_by(2) {
        run.tell(after, Event::Timer);
        assert_eq!(run.sent.len(), 0, "after {after} s");
    }
    for after in [52, 53, 54] {
        run.give_at(after, BROKER, batch(10));
    }
    assert_eq!(run.sent.len(), 1);
}
