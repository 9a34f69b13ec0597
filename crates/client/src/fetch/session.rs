//! What a broker knows of our fetch session, and what to tell it (KIP-227).
//!
//! ```text
//! none ──full, epoch 0──▶ open (id) ──changes only, epoch 1, 2, …──▶ open
//!   ▲  ◀─ id 0: no room: every request full                            │
//!   └────────── refused, or an answer that never came ◀────────────────┘
//! ```
//! Plain functions: [`Session::ask`] before each request, [`Session::answered`] after its reply. A request
//! without a reply leaves the session in doubt, so the next is a full one that replaces it.

use std::collections::HashMap;

use model::TopicPartition;
use protocol::ErrorCode;
use protocol::fetch::{FetchPartition, Forgotten, SESSIONS_SINCE, TOPIC_IDS_SINCE};

/// No session, and none wanted.
const FINAL_EPOCH: i32 = -1;

/// Our side of one session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0: none.
    id: i32,
    /// The number of the next request within it; 0 asks for a new one.
    next_epoch: i32,
    /// What the broker fetches for us, and from where, as last told.
    told: HashMap<TopicPartition, FetchPartition>,
    /// The same in the order in which it was wanted: where nothing happens, nothing need be looked up.
    wanted: Vec<FetchPartition>,
    /// Topics were told by id: the two ways do not mix in one session.
    by_id: bool,
    /// Asked, not answered yet.
    in_doubt: bool,
    /// Full requests made, to begin each with another partition.
    full_requests: usize,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) partitions: Vec<FetchPartition>,
    pub(super) forgotten: Vec<Forgotten>,
}

/// What to do with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Use it.
    Go,
    /// The session was refused; a new one is asked for next.
    AskAgain,
    /// The request was refused.
    Refused,
}

impl Session {
    /// The request that makes the broker fetch exactly `wanted`.
    pub(super) fn ask(&mut self, version: i16, wanted: &[FetchPartition]) -> Asked {
        let by_id = version >= TOPIC_IDS_SINCE;
        if self.in_doubt || by_id != self.by_id {
            // A full request with the old id ends the old session at the broker.
            self.next_epoch = 0;
        }
        self.in_doubt = true;
        self.by_id = by_id;
        if version < SESSIONS_SINCE || self.id == 0 || self.next_epoch == 0 {
            return self.ask_in_full(version, wanted);
        }
        if self.wanted == wanted {
            let (partitions, forgotten) = (Vec::new(), Vec::new());
            return Asked { session_id: self.id, session_epoch: self.next_epoch, partitions, forgotten };
        }
        self.wanted = wanted.to_vec();
        let now: HashMap<&TopicPartition, &FetchPartition> =
            wanted.iter().map(|wanted| (&wanted.partition, wanted)).collect();
        let mut forgotten = Vec::new();
        self.told.retain(|partition, told| {
            let kept = now.get(partition);
            // A topic recreated under its name is another topic.
            let forget = kept.is_none_or(|now| by_id && now.topic_id != told.topic_id);
            if forget {
                let topic_id = if by_id { told.topic_id } else { None };
                forgotten.push(Forgotten { partition: partition.clone(), topic_id });
            }
            !forget
        });
        forgotten.sort();
        let mut changed = Vec::new();
        for partition in wanted {
            if self.told.get(&partition.partition) != Some(partition) {
                self.told.insert(partition.partition.clone(), partition.clone());
                changed.push(partition.clone());
            }
        }
        Asked { session_id: self.id, session_epoch: self.next_epoch, partitions: changed, forgotten }
    }

    fn ask_in_full(&mut self, version: i16, wanted: &[FetchPartition]) -> Asked {
        let mut partitions = wanted.to_vec();
        // Only the first partition with data is sure to be answered, so none may always come late.
        if !partitions.is_empty() {
            let first = self.full_requests % partitions.len();
            partitions.rotate_left(first);
        }
        self.full_requests = self.full_requests.wrapping_add(1);
        self.wanted = wanted.to_vec();
        self.told = wanted.iter().map(|wanted| (wanted.partition.clone(), wanted.clone())).collect();
        let (session_id, session_epoch) =
            if version < SESSIONS_SINCE { (0, FINAL_EPOCH) } else { (self.id, 0) };
        self.next_epoch = 0;
        Asked { session_id, session_epoch, partitions, forgotten: Vec::new() }
    }

    /// Takes note of a reply: its error as a whole, and the session it names.
    pub(super) fn answered(&mut self, error: ErrorCode, session_id: i32) -> After {
        self.in_doubt = false;
        match error {
            ErrorCode::NONE => {
                self.id = session_id;
                // After i32::MAX comes 1: 0 would ask for a new session.
                self.next_epoch =
                    if session_id == 0 { 0 } else { self.next_epoch.checked_add(1).unwrap_or(1) };
                After::Go
            }
            // The broker has forgotten it: restarted, or gave the room to another.
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => {
                (self.id, self.next_epoch) = (0, 0);
                After::AskAgain
            }
            // It is there, and not where we think, or of the other way to name topics: replace it.
            ErrorCode::INVALID_FETCH_SESSION_EPOCH | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => {
                self.next_epoch = 0;
                After::AskAgain
            }
            _ => {
                self.next_epoch = 0;
                After::Refused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{LeaderEpoch, Offset, TopicId};

    use super::*;

    const BY_NAME: i16 = 12;
    const BY_ID: i16 = 13;

    fn at(partition: i32, offset: i64) -> FetchPartition {
        FetchPartition {
            partition: TopicPartition::new("t", partition),
            topic_id: Some(TopicId([1; 16])),
            offset: Offset(offset),
            current_leader_epoch: LeaderEpoch(5),
            last_fetched_epoch: LeaderEpoch(5),
            bytes_max: 1 << 20,
        }
    }

    fn partitions(asked: &Asked) -> Vec<(i32, i64)> {
        let position = |wanted: &FetchPartition| (wanted.partition.partition.0, wanted.offset.0);
        asked.partitions.iter().map(position).collect()
    }

    fn forgotten(asked: &Asked) -> Vec<i32> {
        asked.forgotten.iter().map(|gone| gone.partition.partition.0).collect()
    }

    /// A session 77 that fetches partitions 0 and 1 from offset 0.
    fn open(version: i16) -> Session {
        let mut session = Session::default();
        let asked = session.ask(version, &[at(0, 0), at(1, 0)]);
        assert_eq!((asked.session_id, asked.session_epoch), (0, 0));
        assert_eq!(session.answered(ErrorCode::NONE, 77), After::Go);
        session
    }

    #[test]
    fn a_session_is_told_everything_once_and_then_what_changes() {
        let mut session = open(BY_NAME);
        let asked = session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
        assert_eq!((asked.session_id, asked.session_epoch), (77, 1));
        assert_eq!((partitions(&asked), forgotten(&asked)), (vec![(0, 10)], vec![]));
        session.answered(ErrorCode::NONE, 77);
        let asked = session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
        assert_eq!(asked.session_epoch, 2);
        assert_eq!((partitions(&asked), forgotten(&asked)), (vec![], vec![]));
    }

    #[test]
    fn what_is_not_wanted_is_forgotten_and_told_again_when_it_is() {
        let mut session = open(BY_NAME);
        let asked = session.ask(BY_NAME, &[at(1, 0)]);
        assert_eq!((partitions(&asked), forgotten(&asked)), (vec![], vec![0]));
        assert_eq!(asked.forgotten[0].topic_id, None);
        session.answered(ErrorCode::NONE, 77);
        let asked = session.ask(BY_NAME, &[at(0, 0), at(1, 0), at(2, 5)]);
        assert_eq!((partitions(&asked), forgotten(&asked)), (vec![(0, 0), (2, 5)], vec![]));
    }

    #[test]
    fn a_recreated_topic_replaces_the_one_it_is_named_after() {
        let mut session = open(BY_ID);
        let recreated = FetchPartition { topic_id: Some(TopicId([2; 16])), ..at(0, 0) };
        let asked = session.ask(BY_ID, &[recreated.clone(), at(1, 0)]);
        assert_eq!(asked.partitions, [recreated]);
        assert_eq!(
            asked.forgotten,
            [Forgotten { partition: TopicPartition::new("t", 0), topic_id: Some(TopicId([1; 16])) }]
        );
    }

    #[test]
    fn a_broker_without_room_gets_full_requests_that_begin_with_another_partition_each_time() {
        let mut session = Session::default();
        let wanted = [at(0, 0), at(1, 0), at(2, 0)];
        for first in [0, 1, 2, 0] {
            let asked = session.ask(BY_NAME, &wanted);
            assert_eq!((asked.session_id, asked.session_epoch), (0, 0));
            let expected = [0, 1, 2].map(|index| ((first + index) % 3, 0));
            assert_eq!(partitions(&asked), expected);
            assert_eq!(session.answered(ErrorCode::NONE, 0), After::Go);
        }
    }

    #[test]
    fn a_broker_before_sessions_gets_full_requests() {
        let mut session = Session::default();
        for _ in 0..2 {
            let asked = session.ask(6, &[at(0, 0), at(1, 0)]);
            assert_eq!((asked.session_id, asked.session_epoch), (0, -1));
            assert_eq!(asked.partitions.len(), 2);
            assert_eq!(session.answered(ErrorCode::NONE, 0), After::Go);
        }
    }

    #[test]
    fn a_refused_session_is_replaced_by_a_full_request() {
        let check = |error, expected_id| {
            let mut session = open(BY_NAME);
            session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
            assert_eq!(session.answered(error, 0), After::AskAgain);
            let asked = session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
            assert_eq!((asked.session_id, asked.session_epoch), (expected_id, 0));
            assert_eq!(asked.partitions.len(), 2);
            assert!(asked.forgotten.is_empty());
            session.answered(ErrorCode::NONE, 78);
            assert_eq!(session.ask(BY_NAME, &[at(0, 10), at(1, 0)]).session_epoch, 1);
        };
        check(ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0);
        check(ErrorCode::INVALID_FETCH_SESSION_EPOCH, 77);
        check(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, 77);
    }

    #[test]
    fn another_error_is_for_the_caller_and_the_next_request_is_full() {
        let mut session = open(BY_NAME);
        session.ask(BY_NAME, &[at(0, 10)]);
        assert_eq!(session.answered(ErrorCode::UNKNOWN_SERVER_ERROR, 0), After::Refused);
        let asked = session.ask(BY_NAME, &[at(0, 10)]);
        assert_eq!((asked.session_id, asked.session_epoch, asked.partitions.len()), (77, 0, 1));
    }

    #[test]
    fn an_answer_that_never_came_costs_the_session() {
        let mut session = open(BY_NAME);
        session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
        let asked = session.ask(BY_NAME, &[at(0, 10), at(1, 0)]);
        assert_eq!((asked.session_id, asked.session_epoch, asked.partitions.len()), (77, 0, 2));
    }

    #[test]
    fn names_and_ids_do_not_mix_in_a_session() {
        let mut session = open(BY_ID);
        let asked = session.ask(BY_NAME, &[at(0, 0), at(1, 0)]);
        assert_eq!((asked.session_id, asked.session_epoch, asked.partitions.len()), (77, 0, 2));
    }

    #[test]
    fn the_epoch_after_the_last_is_one() {
        let mut session = open(BY_NAME);
        session.next_epoch = i32::MAX;
        assert_eq!(session.ask(BY_NAME, &[at(0, 0)]).session_epoch, i32::MAX);
        session.answered(ErrorCode::NONE, 77);
        assert_eq!(session.ask(BY_NAME, &[at(0, 0)]).session_epoch, 1);
    }

    /// Random runs against a model of the broker: what it fetches is always exactly what was wanted last.
    #[test]
    fn the_broker_always_fetches_exactly_what_is_wanted() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut session = Session::default();
        // The broker's side: its session, and where it fetches each partition from.
        let (mut id, mut epoch, mut cached) = (0, 0, HashMap::new());
        for _ in 0..20_000 {
            let mut wanted = Vec::new();
            for partition in 0..6 {
                if random(4) > 0 {
                    wanted.push(at(partition, random(3) as i64));
                }
            }
            let asked = session.ask(BY_NAME, &wanted);
            if random(50) == 0 {
                (id, epoch) = (0, 0); // forgotten by the broker
            }
            if asked.session_epoch > 0 && asked.session_id != id {
                assert_eq!(session.answered(ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0), After::AskAgain);
                continue;
            }
            if asked.session_epoch > 0 && asked.session_epoch != epoch {
                assert_eq!(session.answered(ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0), After::AskAgain);
                continue;
            }
            if asked.session_epoch == 0 {
                id = if random(10) == 0 { 0 } else { 1 + random(1000) as i32 };
                epoch = 0;
                cached.clear();
            }
            epoch += 1;
            for told in &asked.partitions {
                cached.insert(told.partition.clone(), told.offset);
            }
            for gone in &asked.forgotten {
                assert!(cached.remove(&gone.partition).is_some());
            }
            let expected = wanted.iter().map(|wanted| (wanted.partition.clone(), wanted.offset));
            assert_eq!(cached, expected.collect());
            if random(20) > 0 {
                session.answered(ErrorCode::NONE, id);
            } // else the reply is lost
        }
    }
}
