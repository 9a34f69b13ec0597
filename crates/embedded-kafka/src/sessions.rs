//! Fetch sessions (KIP-227): what a consumer asked for before and need not ask for again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::TopicName;

/// A partition that a consumer wants, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `None` where the request named an id that no topic has.
    pub(crate) topic: Option<TopicName>,
    pub(crate) topic_id: [u8; 16],
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) bytes_max: usize,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// What tells one partition of a session from another.
pub(crate) type Name = (Option<TopicName>, [u8; 16], i32);

impl Wanted {
    pub(crate) fn name(&self) -> Name {
        (self.topic.clone(), self.topic_id, self.partition)
    }

    fn bytes(&self) -> usize {
        PARTITION_BYTES + self.topic.as_ref().map_or(0, |topic| topic.as_str().len())
    }
}

/// What a partition takes in a session, beside its topic's name: itself, its turn, and twice its name.
const PARTITION_BYTES: usize = 400;

/// A partition in a session, and what the consumer was told of it last.
#[derive(Clone, Debug)]
struct Kept {
    /// Shared with the fetches that wait: a session may have very many of them.
    wanted: Arc<Wanted>,
    told_high_watermark: i64,
    told_log_start: i64,
}

/// What is new about a partition, as far as a session must know to leave it out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    pub(crate) has_records: bool,
    /// An error, another replica to ask, or a diverging epoch.
    pub(crate) is_special: bool,
    pub(crate) is_error: bool,
}

#[derive(Clone, Debug)]
struct Session {
    epoch: i32,
    by_topic_id: bool,
    /// By their turn.
    partitions: BTreeMap<u64, Kept>,
    turns: HashMap<Name, u64>,
    next_turn: u64,
    used: u64,
    bytes: usize,
}

impl Session {
    /// Wants a partition: at the end of the line, or where it stands already.
    fn want(&mut self, wanted: Arc<Wanted>) {
        let name = wanted.name();
        if let Some(kept) = self.turns.get(&name).and_then(|turn| self.partitions.get_mut(turn)) {
            kept.wanted = wanted;
            return;
        }
        self.bytes += wanted.bytes();
        self.line_up(name, Kept { wanted, told_high_watermark: -1, told_log_start: -1 });
    }

    fn line_up(&mut self, name: Name, kept: Kept) {
        self.turns.insert(name, self.next_turn);
        self.partitions.insert(self.next_turn, kept);
        self.next_turn += 1;
    }

    fn forget(&mut self, name: &Name) -> Option<Kept> {
        self.partitions.remove(&self.turns.remove(name)?)
    }

    /// Wants a partition no more.
    fn leave_out(&mut self, name: &Name) {
        if let Some(kept) = self.forget(name) {
            self.bytes -= kept.wanted.bytes();
        }
    }
}

/// The sessions of one broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    by_id: BTreeMap<i32, Session>,
    last_id: i32,
    uses: u64,
}

/// What the sessions of a broker may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) sessions: usize,
    pub(crate) bytes: usize,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    NotFound,
    WrongEpoch,
    TopicIdsMixed,
}

impl Sessions {
    /// Opens a session for the partitions; 0 where there is no room for one. The sessions used the longest
    /// ago make room, as after Kafka's two minutes.
    pub(crate) fn open(&mut self, wanted: &[Arc<Wanted>], by_topic_id: bool, limits: Limits) -> i32 {
        let bytes: usize = wanted.iter().map(|wanted| wanted.bytes()).sum();
        if limits.sessions == 0 || bytes > limits.bytes {
            return 0;
        }
        if self.by_id.len() >= limits.sessions {
            self.close_oldest();
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.uses += 1;
        let mut session = Session {
            epoch: 1,
            by_topic_id,
            partitions: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
            used: self.uses,
            bytes: 0,
        };
        wanted.iter().for_each(|wanted| session.want(Arc::clone(wanted)));
        self.by_id.insert(self.last_id, session);
        self.make_room(limits);
        self.last_id
    }

    fn close_oldest(&mut self) {
        let oldest = self.by_id.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.by_id.remove(&oldest);
        }
    }

    /// Closes sessions until there are few enough bytes.
    fn make_room(&mut self, limits: Limits) {
        let mut bytes: usize = self.by_id.values().map(|session| session.bytes).sum();
        while bytes > limits.bytes && !self.by_id.is_empty() {
            self.close_oldest();
            bytes = self.by_id.values().map(|session| session.bytes).sum();
        }
    }

    pub(crate) fn close(&mut self, id: i32) {
        self.by_id.remove(&id);
    }

    /// Goes on with a session: changes what it wants and gives all of it.
    pub(crate) fn resume(
        &mut self,
        id: i32,
        epoch: i32,
        by_topic_id: bool,
        changed: Vec<Arc<Wanted>>,
        forgotten: &[Arc<Wanted>],
        limits: Limits,
    ) -> Result<Vec<Arc<Wanted>>, SessionError> {
        self.uses += 1;
        let session = self.by_id.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::WrongEpoch);
        }
        if session.by_topic_id != by_topic_id {
            return Err(SessionError::TopicIdsMixed);
        }
        session.used = self.uses;
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        changed.into_iter().for_each(|wanted| session.want(wanted));
        for gone in forgotten {
            session.leave_out(&gone.name());
        }
        self.make_room(limits);
        // What is too large by itself is gone, and whoever had it starts again.
        let session = self.by_id.get(&id).ok_or(SessionError::NotFound)?;
        Ok(session.partitions.values().map(|kept| Arc::clone(&kept.wanted)).collect())
    }

    /// What a session would fetch now, without going on with it.
    pub(crate) fn wanted(&self, id: i32) -> impl Iterator<Item = &Arc<Wanted>> {
        self.by_id
            .get(&id)
            .into_iter()
            .flat_map(|session| session.partitions.values().map(|kept| &kept.wanted))
    }

    /// Notes what an answer tells about a partition; `false` if there is nothing new to tell. A partition
    /// whose records are told goes to the end of the line. Changes in the last stable offset are no news.
    pub(crate) fn tell(&mut self, id: i32, wanted: &Wanted, news: News) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else { return true };
        let name = wanted.name();
        let Some(kept) = session.turns.get(&name).and_then(|turn| session.partitions.get_mut(turn)) else {
            return true;
        };
        let is_new = news.has_records
            || news.is_special
            || kept.told_high_watermark != news.high_watermark
            || kept.told_log_start != news.log_start;
        // An error is told again and again, until it is over.
        kept.told_high_watermark = if news.is_error { -1 } else { news.high_watermark };
        kept.told_log_start = news.log_start;
        if news.has_records
            && let Some(kept) = session.forget(&name)
        {
            session.line_up(name, kept);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32, offset: i64) -> Arc<Wanted> {
        Arc::new(Wanted {
            topic: Some(TopicName::from("t")),
            topic_id: [0; 16],
            partition,
            offset,
            bytes_max: 1,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        })
    }

    const MANY: Limits = Limits { sessions: 10, bytes: usize::MAX };

    fn few(sessions: usize) -> Limits {
        Limits { sessions, ..MANY }
    }

    const QUIET: News =
        News { high_watermark: 5, log_start: 0, has_records: false, is_special: false, is_error: false };

    #[test]
    fn a_session_remembers_what_was_wanted_and_tells_only_news() {
        let mut sessions = Sessions::default();
        let id = sessions.open(&[wanted(0, 0), wanted(1, 0)], false, MANY);
        assert!(sessions.tell(id, &wanted(0, 0), QUIET));
        assert!(!sessions.tell(id, &wanted(0, 0), QUIET));
        let all = sessions.resume(id, 1, false, vec![wanted(1, 9)], &[wanted(0, 0)], MANY);
        assert_eq!(all, Ok(vec![wanted(1, 9)]));
        assert_eq!(sessions.resume(id, 1, false, vec![], &[], MANY), Err(SessionError::WrongEpoch));
        assert_eq!(sessions.resume(id, 2, true, vec![], &[], MANY), Err(SessionError::TopicIdsMixed));
        assert_eq!(sessions.resume(99, 2, false, vec![], &[], MANY), Err(SessionError::NotFound));
    }

    #[test]
    fn what_goes_on_with_a_session_has_no_copy_of_it() {
        let mut sessions = Sessions::default();
        let asked = wanted(0, 0);
        let id = sessions.open(std::slice::from_ref(&asked), false, MANY);
        let all = sessions.resume(id, 1, false, vec![], &[], MANY).unwrap();
        assert!(Arc::ptr_eq(&asked, &all[0]));
    }

    #[test]
    fn a_partition_that_was_served_goes_to_the_end_of_the_line() {
        let mut sessions = Sessions::default();
        let id = sessions.open(&[wanted(0, 0), wanted(1, 0)], false, MANY);
        sessions.tell(id, &wanted(0, 0), News { has_records: true, ..QUIET });
        let order: Vec<i32> = sessions.wanted(id).map(|wanted| wanted.partition).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn many_partitions_are_told_of_one_by_one() {
        let mut sessions = Sessions::default();
        let all: Vec<Arc<Wanted>> = (0..300_000).map(|partition| wanted(partition, 0)).collect();
        // A walk over all for each would take minutes.
        let id = sessions.open(&all, false, MANY);
        assert!(all.iter().all(|wanted| sessions.tell(id, wanted, News { has_records: true, ..QUIET })));
        assert_eq!(sessions.resume(id, 1, false, all.clone(), &all, MANY), Ok(Vec::new()));
    }

    #[test]
    fn without_room_there_is_no_session_or_the_oldest_one_goes() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.open(&[], false, few(0)), 0);
        let first = sessions.open(&[], false, few(1));
        let second = sessions.open(&[], false, few(1));
        assert_eq!(sessions.resume(first, 1, false, vec![], &[], MANY), Err(SessionError::NotFound));
        assert_eq!(sessions.resume(second, 1, false, vec![], &[], MANY), Ok(vec![]));
    }

    #[test]
    fn sessions_share_their_bytes_and_the_ones_used_the_longest_ago_go() {
        let each = PARTITION_BYTES + 1;
        let limits = Limits { sessions: 1000, bytes: 10 * each };
        let partitions = |count| (0..count).map(|partition| wanted(partition, 0)).collect::<Vec<_>>();
        let mut sessions = Sessions::default();
        let ids: Vec<i32> = (0..5).map(|_| sessions.open(&partitions(2), false, limits)).collect();
        let alive =
            |sessions: &Sessions| ids.iter().map(|id| sessions.by_id.contains_key(id)).collect::<Vec<_>>();
        assert_eq!(alive(&sessions), [true; 5]);
        assert!(sessions.resume(ids[0], 1, false, vec![], &[], limits).is_ok());
        sessions.open(&partitions(3), false, limits);
        assert_eq!(alive(&sessions), [true, false, false, true, true]);
        // Growth counts, and what is given up counts no more.
        let all = sessions.resume(ids[3], 1, false, partitions(4), &partitions(1), limits).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(alive(&sessions), [true, false, false, true, true]);
        let all = sessions.resume(ids[3], 2, false, partitions(5), &[], limits).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(alive(&sessions), [true, false, false, true, false]);
        // More than there is for all.
        assert_eq!(sessions.open(&partitions(11), false, limits), 0);
        assert_eq!(alive(&sessions), [true, false, false, true, false]);
        let grown = sessions.resume(ids[3], 3, false, partitions(11), &[], limits);
        assert_eq!(grown, Err(SessionError::NotFound));
        assert!(sessions.by_id.is_empty());
    }
}
