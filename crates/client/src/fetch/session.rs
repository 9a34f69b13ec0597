//! What a broker knows of our fetch session, and what to tell it (KIP-227).
//!
//! ```text
//! none ──full, epoch 0──▶ open (id) ──changes only, epoch 1, 2, …──▶ open
//!   ▲  ◀─ id 0: no room: every request full                            │
//!   └────────── refused, or an answer that never came ◀────────────────┘
//! ```
//! Plain functions: [`Session::ask`] before each request, [`Session::answered`] after its reply. A request
//! without a reply leaves the session in doubt, so the next is a full one that replaces it.

use std::collections::{BTreeMap, HashSet};

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
    told: BTreeMap<TopicPartition, FetchPartition>,
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
        let mut changed = Vec::new();
        for partition in wanted {
            if self.told.get(&partition.partition) != Some(partition) {
                changed.push(partition.clone());
            }
        }
        let kept: HashSet<&TopicPartition> = wanted.iter().map(|wanted| &wanted.partition).collect();
        let mut forgotten = Vec::new();
        for told in self.told.values() {
            // A topic recreated under its name is another topic.
            let recreated = || {
                let now = wanted.iter().find(|wanted| wanted.partition == told.partition);
                by_id && now.is_some_and(|now| now.topic_id != told.topic_id)
            };
            if !kept.contains(&told.partition) || recreated() {
                let topic_id = if by_id { told.topic_id } else { None };
                forgotten.push(Forgotten { partition: told.partition.clone(), topic_id });
            }
        }
        self.told.retain(|partition, _| kept.contains(partition));
        self.told.extend(changed.iter().map(|partition| (partition.partition.clone(), partition.clone())));
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
