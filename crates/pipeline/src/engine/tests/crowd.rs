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
