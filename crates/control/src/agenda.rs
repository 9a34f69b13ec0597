//! What is due to be asked in a round, as a function of what is known, when it was asked for, and now.
//!
//! ```text
//! topics, partitions, replicas, ids   every round             one request of each cluster
//! a topic's settings                  [`Rhythm::settings`]    kilobytes a topic, and they seldom change
//!   of a new or recreated topic       at once                 ids tell, or counts where there are no ids
//!   that were refused                 [`Rhythm::refused`]     somebody has to do something first
//! the brokers' defaults               [`Rhythm::settings`]    and where other brokers are there than before
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use model::{BrokerId, TopicId, TopicName};
use tokio::time::Instant;
use topology::snapshot::{Settings, Topic};

/// For how long answers hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// `topic.config.sync.interval.ms`.
    pub(crate) settings: Duration,
    /// What was refused is asked for again after this: `topic.create.backoff.ms`, if that is shorter.
    pub(crate) refused: Duration,
}

/// Which topic of its name it is: another one has settings of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Brokers of 2.8 and later give each topic an id.
    Id(TopicId),
    /// Without ids, a topic with other partitions may be another one.
    Partitions(i32),
}

/// What was answered about a topic's settings.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    /// Of which topic.
    pub(crate) of: Identity,
    /// When it was asked: the answer is as old as its question.
    pub(crate) asked: Instant,
    /// The answer.
    pub(crate) settings: Settings,
    /// It is a refusal that may be over at any time.
    pub(crate) passes: bool,
}

/// What was answered about the settings that topics have where they have none of their own.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// The brokers that were there.
    pub(crate) brokers: Vec<BrokerId>,
    /// When it was asked.
    pub(crate) asked: Instant,
    /// The defaults, or why they are not known.
    pub(crate) answer: Result<BTreeMap<String, String>, String>,
}

impl Identity {
    pub(crate) fn of(topic: &Topic) -> Identity {
        topic.id.map_or(Identity::Partitions(topic.partitions), Identity::Id)
    }
}

impl Learnt {
    /// For how long it holds; `None` where that is the common interval.
    fn holds_otherwise(&self, rhythm: Rhythm) -> Option<Duration> {
        match (&self.settings, self.passes) {
            (Settings::Known(_), _) => None,
            (_, true) => Some(Duration::ZERO),
            (_, false) => Some(rhythm.refused),
        }
    }
}

/// Those of `topics` whose settings are to be asked for now.
///
/// What is about to be due is asked for along with what is, or each topic would have a round of its own some day.
pub(crate) fn settings_due<'a>(
    learnt: &BTreeMap<TopicName, Learnt>,
    topics: impl Iterator<Item = (&'a TopicName, &'a Topic)>,
    rhythm: Rhythm,
    now: Instant,
) -> Vec<TopicName> {
    let mut due = Vec::new();
    let mut soon = Vec::new();
    let mut is_time = false;
    for (name, topic) in topics {
        let Some(known) = learnt.get(name).filter(|known| known.of == Identity::of(topic)) else {
            due.push(name.clone());
            continue;
        };
        let age = now.saturating_duration_since(known.asked);
        match known.holds_otherwise(rhythm) {
            Some(holds) if age >= holds => due.push(name.clone()),
            Some(_) => {}
            None if age >= rhythm.settings / 2 => {
                is_time |= age >= rhythm.settings;
                soon.push(name.clone());
            }
            None => {}
        }
    }
    if is_time {
        due.append(&mut soon);
    }
    due
}

/// When the first settings that are known will have to be asked for again.
pub(crate) fn settings_next<'a>(learnt: impl Iterator<Item = &'a Learnt>, rhythm: Rhythm) -> Option<Instant> {
    learnt
        .filter(|known| known.holds_otherwise(rhythm).is_none())
        .map(|known| known.asked + rhythm.settings)
        .min()
}

/// Whether the defaults are to be asked for now, given that they matter.
pub(crate) fn defaults_due(
    known: Option<&Defaults>,
    brokers: &[BrokerId],
    rhythm: Rhythm,
    now: Instant,
) -> bool {
    known.is_none_or(|known| {
        let holds = if known.answer.is_ok() { rhythm.settings } else { rhythm.refused };
        known.brokers != brokers || now.saturating_duration_since(known.asked) >= holds
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const RHYTHM: Rhythm = Rhythm { settings: Duration::from_secs(100), refused: Duration::from_secs(10) };

    fn topic(id: Option<u8>, partitions: i32) -> Topic {
        let id = id.map(|id| TopicId([id; 16]));
        Topic { id, internal: false, partitions, replication_factor: 1, settings: Settings::NotAsked }
    }

    /// A clock that has run for a while.
    fn start() -> Instant {
        Instant::now()
    }

    fn learnt(of: &Topic, asked: Instant, settings: Settings, passes: bool) -> Learnt {
        Learnt { of: Identity::of(of), asked, settings, passes }
    }

    /// Each topic: its name, what it was and what it is, when it was asked, and what was answered.
    type Case<'a> = (&'a str, Topic, Topic, u64, &'a str);

    #[track_caller]
    fn check(at: u64, cases: &[Case<'_>], expected: &[&str]) {
        let start = start();
        let known = cases.iter().filter(|case| !case.4.is_empty()).map(|(name, was, _, asked, answer)| {
            let settings = match *answer {
                "known" => Settings::Known(Arc::default()),
                other => Settings::Unreadable(other.to_owned()),
            };
            let asked = start + Duration::from_secs(*asked);
            (TopicName::from(*name), learnt(was, asked, settings, *answer == "in a moment"))
        });
        let known = known.collect();
        let names: Vec<TopicName> = cases.iter().map(|case| case.0.into()).collect();
        let topics = names.iter().zip(cases.iter().map(|case| &case.2));
        let mut due = settings_due(&known, topics, RHYTHM, start + Duration::from_secs(at));
        due.sort();
        assert_eq!(due, expected.iter().map(|name| TopicName::from(*name)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_new_or_another_is_asked_at_once_and_the_rest_is_not() {
        let with_id = |id| topic(Some(id), 1);
        check(
            1,
            &[
                ("grown", topic(Some(1), 1), topic(Some(1), 5), 0, "known"),
                ("grown without ids", topic(None, 1), topic(None, 5), 0, "known"),
                ("kept", with_id(1), with_id(1), 0, "known"),
                ("new", with_id(1), with_id(1), 0, ""),
                ("recreated", with_id(1), with_id(2), 0, "known"),
                ("upgraded", topic(None, 1), with_id(2), 0, "known"),
            ],
            &["grown without ids", "new", "recreated", "upgraded"],
        );
    }

    #[test]
    fn what_is_about_to_be_due_is_asked_along_and_refusals_have_their_own_time() {
        let plain = || topic(Some(1), 1);
        let cases = [
            ("a", plain(), plain(), 0, "known"),
            ("b", plain(), plain(), 49, "known"),
            ("c", plain(), plain(), 51, "known"),
            ("refused", plain(), plain(), 89, "refused"),
            ("refused now", plain(), plain(), 91, "refused"),
        ];
        check(99, &cases, &["refused"]);
        check(100, &cases, &["a", "b", "refused"]);
        check(101, &cases, &["a", "b", "c", "refused", "refused now"]);
        check(50, &[("passing", plain(), plain(), 50, "in a moment")], &["passing"]);
    }

    #[test]
    fn the_next_time_is_that_of_the_oldest_settings_known() {
        let start = start();
        let at = |s| start + Duration::from_secs(s);
        let plain = topic(None, 1);
        let known = |asked| learnt(&plain, at(asked), Settings::Known(Arc::default()), false);
        let refused = learnt(&plain, at(0), Settings::Unreadable(String::new()), false);
        assert_eq!(settings_next([&known(7), &known(3), &refused].into_iter(), RHYTHM), Some(at(103)));
        assert_eq!(settings_next([&refused].into_iter(), RHYTHM), None);
    }

    #[test]
    fn defaults_are_asked_again_when_they_are_old_or_other_brokers_are_there() {
        let start = start();
        let at = |s| start + Duration::from_secs(s);
        let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        let known = |answer| Defaults { brokers: brokers(&[1, 2]), asked: start, answer };
        let (told, untold) = (known(Ok(BTreeMap::new())), known(Err("no".to_owned())));
        let check = |known: Option<&Defaults>, ids: &[i32], s, expected| {
            assert_eq!(defaults_due(known, &brokers(ids), RHYTHM, at(s)), expected, "{known:?} {ids:?} {s}");
        };
        check(None, &[1, 2], 0, true);
        check(Some(&told), &[1, 2], 99, false);
        check(Some(&told), &[1, 2], 100, true);
        check(Some(&told), &[1, 2, 3], 1, true);
        check(Some(&untold), &[1, 2], 9, false);
        check(Some(&untold), &[1, 2], 10, true);
    }
}
