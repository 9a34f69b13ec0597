//! Which ended connections are told one by one, and which only counted.
//!
//! A port scanner or a client with the wrong settings comes again and again. The first few of a host and a kind of
//! reason are told, what follows is counted, and told as a number when the window is over. No clock here: who counts is
//! told the time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long what a host does is taken together.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Told of a host and kind in a window.
const TOLD_MAX: u32 = 3;
/// Hosts and kinds that are counted apart; all others are taken for one.
const HOSTS_MAX: usize = 256;
const OTHERS: &str = "others";
/// Of a reason. What comes then may be a client's own.
const KIND_WORDS_MAX: usize = 5;

/// A line that is told once in [`WINDOW`] at most, with how often it was left out since.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Instant>,
    more: u64,
}

impl Seldom {
    /// How often it was left out, if it is to be told now.
    pub(crate) fn note(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now < told + WINDOW) {
            self.more += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.more))
    }
}

/// A host, and the kind of its reasons.
pub(crate) type Key = (String, String);

/// What reasons that differ in their numbers have in common.
fn kind(reason: &str) -> String {
    let words = reason.split_whitespace().filter(|word| !word.contains(|at: char| at.is_ascii_digit()));
    words.take(KIND_WORDS_MAX).collect::<Vec<_>>().join(" ")
}

/// What is to be done about an ended connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It is told.
    Now,
    /// It is the first that is only counted: ask for the number at this time, under this name.
    Later(Instant, Key),
    /// It is counted.
    Counted,
}

/// The hosts whose connections had to be ended of late.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    hosts: HashMap<Key, Window>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    told: u32,
    counted: u64,
}

impl Complaints {
    /// A connection from `host` was ended for a reason.
    pub(crate) fn note(&mut self, now: Instant, host: &str, reason: &str) -> Telling {
        // Windows with a number end when that is asked for.
        self.hosts.retain(|_, window| window.ends > now || window.counted > 0);
        let key = (host.to_owned(), kind(reason));
        let known = self.hosts.contains_key(&key) || self.hosts.len() < HOSTS_MAX;
        let key = if known { key } else { (OTHERS.to_owned(), String::new()) };
        let fresh = || Window { ends: now + WINDOW, told: 0, counted: 0 };
        let window = self.hosts.entry(key.clone()).or_insert_with(fresh);
        if window.told < TOLD_MAX {
            window.told += 1;
            return Telling::Now;
        }
        window.counted += 1;
        if window.counted == 1 { Telling::Later(window.ends, key) } else { Telling::Counted }
    }

    /// All that is counted and not told yet, by host and kind.
    pub(crate) fn uncounted(&mut self) -> Vec<(Key, u64)> {
        let mut left: Vec<(Key, u64)> = self
            .hosts
            .drain()
            .map(|(key, window)| (key, window.counted))
            .filter(|(_, more)| *more > 0)
            .collect();
        left.sort_unstable();
        left
    }

    /// Ends a window; how many were counted in it.
    pub(crate) fn counted(&mut self, key: &Key) -> u64 {
        self.hosts.remove(key).map_or(0, |window| window.counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_three_of_a_host_are_told_and_the_others_counted() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let key = ("a".to_owned(), "why".to_owned());
        for _ in 0..3 {
            assert_eq!(complaints.note(now, "a", "why"), Telling::Now);
        }
        assert_eq!(complaints.note(now, "a", "why"), Telling::Later(now + WINDOW, key.clone()));
        for _ in 0..1000 {
            assert_eq!(complaints.note(now + WINDOW / 2, "a", "why"), Telling::Counted);
        }
        assert_eq!(complaints.note(now, "b", "why"), Telling::Now);
        // Another reason of the same host is not hidden; other numbers are no other reason.
        for bytes in 0..3 {
            assert_eq!(complaints.note(now, "a", &format!("a frame claims {bytes} bytes")), Telling::Now);
        }
        assert!(matches!(complaints.note(now, "a", "a frame claims 9 bytes"), Telling::Later(..)));
        assert_eq!(complaints.counted(&key), 1001);
        assert_eq!(complaints.note(now + WINDOW, "a", "why"), Telling::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_seldom_is_told_once_a_minute_with_a_count() {
        let (mut seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.note(now), Some(0));
        for _ in 0..1000 {
            assert_eq!(seldom.note(now + WINDOW / 2), None);
        }
        assert_eq!(seldom.note(now + WINDOW), Some(1000));
        assert_eq!(seldom.note(now + WINDOW), None);
        assert_eq!(seldom.note(now + WINDOW * 2), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_without_end_take_no_memory_without_end() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let told =
            (0..10_000).filter(|host| complaints.note(now, &host.to_string(), "why") == Telling::Now).count();
        assert_eq!(told, HOSTS_MAX + 3);
        assert_eq!(complaints.hosts.len(), HOSTS_MAX + 1);
        assert_eq!(complaints.note(now + WINDOW, "new", "why"), Telling::Now);
    }
}
