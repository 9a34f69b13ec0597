//! Tiny batches that come faster than the destination takes them one by one.

use super::*;

impl Run {
    /// Records of the batch that was sent last.
    fn sent_records(&self) -> i32 {
        self.engine.lanes.values().next().unwrap().in_flight.back().unwrap().records()
    }
}

/// 31 batches of one record, of which the first seven are sent one by one, six are appended, and the others are one that is
/// under way: the eighth request.
fn merged_in_a_crowd() -> Run {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::of(StoredLane::Ours(first_checkpoint_for_tests()), true, (0, 1000), nothing);
    run.give(BROKER, batch(0));
    run.nth_answered(0, 1, ErrorCode::NONE, Some(0));
    run.give(BROKER, (1..=30).flat_map(batch).collect());
    assert_eq!((run.sent.len(), &run.merges[..]), (6, &[][..]), "five are under way before there is a crowd");
    for nth in 1..=5 {
        run.nth_answered(nth, 1, ErrorCode::NONE, Some(nth as i64));
    }
    assert_eq!((run.sent.len(), &run.merges[..]), (8, &[24][..]));
    assert_eq!(run.sent_records(), 24);
    run
}

#[test]
fn those_that_wait_are_merged_and_their_position_is_that_of_each() {
    let mut run = merged_in_a_crowd();
    run.nth_answered(6, 1, ErrorCode::NONE, Some(6));
    run.nth_answered(7, 1, ErrorCode::NONE, Some(7));
    let acked = &run.engine.lanes.values().next().unwrap().acked;
    assert_eq!((acked.next_source, acked.sequence, acked.destination_end), (Offset(31), 31, Offset(31)));
    assert_eq!(run.engine.status().lanes[0].merged_batches, 1);
}

#[test]
fn after_a_refusal_the_next_goes_by_itself() {
    let mut run = merged_in_a_crowd();
    run.nth_answered(6, 1, ErrorCode::NONE, Some(6));
    run.destination = shown(6, 7);
    run.nth_answered(7, 1, ErrorCode::CORRUPT_MESSAGE, None);
    run.give(BROKER, Bytes::new()); // what was asked for before
    run.give(BROKER, (6..=30).flat_map(batch).collect());
    assert_eq!((run.sent.len(), run.sent_records(), &run.merges[..]), (9, 1, &[24][..]));
    run.nth_answered(8, 1, ErrorCode::NONE, Some(7));
    assert_eq!((run.sent_records(), &run.merges[..]), (23, &[24, 23][..]));
}

/// How much the source is asked for, so many milliseconds after the start: with the last answer, which is empty, if `answered`.
fn asked_for(run: &mut Run, millis: u64, answered: bool) -> Option<usize> {
    let now = Now { instant: run.started + Duration::from_millis(millis), wall_ms: 0 };
    let reply = FetchReply { throttle: Duration::ZERO, bytes: 0, partitions: Vec::new() };
    run.engine.handle(
        now,
        if answered { Event::Fetched { broker: BROKER, reply: Ok(reply) } } else { Event::Timer },
    );
    let mut asked = None;
    while let Some(action) = run.engine.poll_action() {
        if let Action::Fetch { bytes_max, .. } = action {
            assert_eq!(asked.replace(bytes_max), None, "one at a time");
        }
    }
    asked
}

#[test]
fn who_holds_nothing_is_read_sparingly_while_others_are_full_and_in_full_once_they_are_held_up() {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::of(StoredLane::Ours(first_checkpoint_for_tests()), true, (0, 1000), nothing);
    let plenty = asked_for(&mut run, 100, true).expect("there is room");
    // As much as all may hold nearby, but not as much as the operator allows.
    let held = run.engine.budget.charge(12 << 20);
    assert_eq!(asked_for(&mut run, 1000, true), None);
    assert_eq!(asked_for(&mut run, 1049, false), None);
    // What waits for answers already need not become more.
    run.engine.requests_out.insert(BROKER, (5, 1000));
    assert_eq!(asked_for(&mut run, 1050, false), None);
    run.engine.requests_out.clear();
    let sparing = asked_for(&mut run, 1051, false).expect("it holds nothing");
    assert_eq!(asked_for(&mut run, 2999, true), Some(sparing));
    assert_eq!(asked_for(&mut run, 3000, true), Some(plenty));
    drop(held);
    assert_eq!(asked_for(&mut run, 3010, true), Some(plenty));
    let held = run.engine.budget.charge(12 << 20);
    assert_eq!(asked_for(&mut run, 3020, true), None, "its time begins anew");
    drop(held);
}

/// What the source is asked for, partitions and for how long it may wait, so many milliseconds after the start and upon
/// `event`.
fn fetched_upon(run: &mut Run, millis: u64, event: Event) -> Option<(Vec<i32>, Duration)> {
    let now = Now { instant: run.started + Duration::from_millis(millis), wall_ms: 0 };
    run.engine.handle(now, event);
    let mut asked = None;
    while let Some(action) = run.engine.poll_action() {
        match action {
            Action::Fetch { wanted, wait_max, .. } => {
                let partitions = wanted.iter().map(|wanted| wanted.partition.partition.0).collect();
                assert_eq!(asked.replace((partitions, wait_max)), None, "one at a time");
            }
            action => {
                let answer = run.answer(action);
                answer.into_iter().for_each(|answer| run.engine.handle(now, answer));
            }
        }
    }
    asked
}

/// The source's broker answers with `records` of a partition that ends there, and what it is asked for next.
fn given(
    run: &mut Run,
    millis: u64,
    (partition, end): (TopicPartition, i64),
    records: Bytes,
) -> Option<(Vec<i32>, Duration)> {
    let reply = Ok(fetched(partition, (0, end), records));
    fetched_upon(run, millis, Event::Fetched { broker: BROKER, reply })
}

/// Two partitions of which the first was asked for.
fn two_partitions() -> Run {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let position = StoredLane::Ours(first_checkpoint_for_tests());
    let mut run = Run::with(Options::new("flow"), Some(position), true, (0, 1000), nothing);
    let routes = [orders(), beside()].map(|partition| route_for_tests(partition.clone(), partition));
    let routes = Event::Routes(Arc::new(Routes { generation: 1, routes: routes.into() }));
    assert_eq!(fetched_upon(&mut run, 0, routes), Some((vec![0], LONG)));
    run
}

/// 5 ms after the start the first has more than it may hold and much to come, the other nothing.
fn one_is_full_and_one_at_its_end() -> Run {
    let mut run = two_partitions();
    assert_eq!(given(&mut run, 1, (orders(), 1000), large(0)), Some((vec![1], SHORT)), "it may have records");
    assert_eq!(given(&mut run, 5, (beside(), 0), Bytes::new()), None);
    assert_eq!(run.sent.len(), 1);
    assert_eq!(run.engine.timeout(), Some(run.started + Duration::from_millis(25)));
    assert_eq!(fetched_upon(&mut run, 24, Event::Timer), None);
    run
}

fn beside() -> TopicPartition {
    TopicPartition::new("orders", 1)
}

/// A batch of one record that is more than a lane may hold that has copied little.
fn large(offset: i64) -> Bytes {
    let mut batch = BatchBuilder::new(Codec::None).base_offset(Offset(offset)).leader_epoch(LeaderEpoch(0));
    batch.append(0, None, Some(&[7; 64 << 10]), &[]);
    batch.build()
}

const LONG: Duration = Duration::from_millis(500);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn who_has_nothing_to_read_is_asked_for_with_who_has() {
    let mut run = one_is_full_and_one_at_its_end();
    let answered = produced(run.sent[0].1, ErrorCode::NONE, Some(0), Duration::ZERO);
    let (mut partitions, wait_max) = fetched_upon(&mut run, 24, answered).expect("there is room");
    partitions.sort_unstable();
    assert_eq!((partitions, wait_max), (vec![0, 1], LONG));
}

#[test]
fn who_has_nothing_to_read_is_asked_for_alone_from_time_to_time_and_without_waiting() {
    let mut run = one_is_full_and_one_at_its_end();
    assert_eq!(fetched_upon(&mut run, 25, Event::Timer), Some((vec![1], Duration::ZERO)));
    assert_eq!(given(&mut run, 26, (beside(), 0), Bytes::new()), None);
    assert_eq!(fetched_upon(&mut run, 45, Event::Timer), None);
    assert_eq!(fetched_upon(&mut run, 46, Event::Timer), Some((vec![1], Duration::ZERO)));
}

#[test]
fn nor_more_often_where_others_wait_for_room_that_are_not_full() {
    let mut run = two_partitions();
    assert!(given(&mut run, 1, (orders(), 1), batch(0)).is_some());
    assert_eq!(given(&mut run, 5, (beside(), 0), Bytes::new()), Some((vec![0, 1], LONG)));
    // All may hold no more, and what the first holds is not taken.
    let held = run.engine.budget.charge(12 << 20);
    assert_eq!(given(&mut run, 100, (beside(), 0), Bytes::new()), None);
    assert_eq!(fetched_upon(&mut run, 150, Event::Timer), Some((vec![1], Duration::ZERO)));
    assert_eq!(given(&mut run, 151, (beside(), 0), Bytes::new()), None);
    assert_eq!(fetched_upon(&mut run, 171, Event::Timer), Some((vec![1], Duration::ZERO)));
    drop(held);
}

#[test]
fn a_store_that_does_not_answer_is_waited_for_for_a_second() {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let mut run = Run::of(StoredLane::Ours(first_checkpoint_for_tests()), true, (0, 1000), nothing);
    run.saves_wait = true;
    for offset in 0..2 {
        run.give_at(0, BROKER, large(offset));
        run.nth_answered(offset as usize, 0, ErrorCode::NONE, Some(offset));
    }
    let asked = run.fetches.len();
    assert_eq!(run.engine.timeout(), Some(run.started + Duration::from_secs(1)));
    run.tell(1, Event::Timer);
    assert_eq!(run.fetches.len(), asked + 1);
}

#[test]
fn for_how_long_a_broker_waited_for_records_says_nothing_about_the_way() {
    let nothing = Evidence { producer: ProducerEvidence::Nothing, ..shown(0, 0) };
    let trip = |source_end: i64| {
        let position = StoredLane::Ours(first_checkpoint_for_tests());
        let mut run = Run::of(position, true, (0, source_end), nothing.clone());
        run.give_at(4, BROKER, batch(0));
        run.engine.ways.trip(Some(BROKER), None)
    };
    assert_eq!([trip(0), trip(1)], [Duration::ZERO, Duration::from_secs(4)]);
}
