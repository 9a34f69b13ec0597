//! What a control plane is given.

use std::time::Duration;

use client::Cluster;
use model::Users;
use topology::{Intent, Naming, Neighbour, Selection, TopicPolicy};

use crate::acls::AclOptions;
use crate::agenda::Rhythm;

/// Which topics, under what names, treated how, looked at how often. The defaults are Replicator's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are, for messages.
    pub users: Users,
    /// Which topics are copied.
    pub selection: Selection,
    /// What they are called at the destination.
    pub naming: Naming,
    /// How their copies are made and kept.
    pub topics: TopicPolicy,
    /// `topic.poll.interval.ms`: how often the source is looked at for new topics and partitions.
    pub poll_interval: Duration,
    /// `topic.config.sync.interval.ms`: how often settings of topics that are known are asked for. What a new
    /// topic has is asked for at once.
    pub config_sync_interval: Duration,
    /// `topic.create.backoff.ms`: how long something that the destination refused, or has too few brokers
    /// for, is left alone before it is tried again.
    pub create_backoff: Duration,
    /// How ACLs are copied, if they are: `sync.topic.acls.enabled`.
    pub acls: Option<AclOptions>,
    /// The other flows of the same worker, so that none writes what another one does.
    pub others: Vec<OtherFlow>,
}

/// Another flow of the same worker.
#[derive(Clone, Debug)]
pub struct OtherFlow {
    /// What it copies from where to where.
    pub neighbour: Neighbour,
    /// Its source, to be asked whether a topic is there.
    pub source: Cluster,
}

impl Default for Options {
    fn default() -> Options {
        let two_minutes = Duration::from_secs(120);
        Options {
            users: Users::default(),
            selection: Selection::default(),
            naming: Naming::unchanged(),
            topics: TopicPolicy::default(),
            poll_interval: two_minutes,
            config_sync_interval: two_minutes,
            create_backoff: two_minutes,
            acls: None,
            others: Vec::new(),
        }
    }
}

/// Intervals of 0 are legal settings; observations are never closer than this.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(200);

impl Options {
    pub(crate) fn intent(&self) -> Intent {
        Intent {
            selection: self.selection.clone(),
            naming: self.naming.clone(),
            topics: self.topics.clone(),
            neighbours: self.others.iter().map(|other| other.neighbour.clone()).collect(),
        }
    }

    /// For how long answers about settings hold.
    pub(crate) fn rhythm(&self) -> Rhythm {
        let settings = self.config_sync_interval;
        Rhythm { settings, refused: settings.min(self.create_backoff) }
    }

    /// From one observation to the next, where nothing is blocked or held back.
    pub(crate) fn interval(&self) -> Duration {
        let mut interval = self.poll_interval;
        if self.topics.config_sync {
            interval = interval.min(self.config_sync_interval);
        }
        interval.max(INTERVAL_MIN)
    }

    /// How long something that did not come about is left alone: never so short that one observation could
    /// try it twice.
    pub(crate) fn hold(&self) -> Duration {
        self.create_backoff.max(INTERVAL_MIN)
    }

    /// The pause after the `failures`th failed observation in a row: doubling from a second to half a minute,
    /// since a source that is back should be noticed before anybody asks, and never above the interval.
    pub(crate) fn retry_pause(&self, failures: u32) -> Duration {
        let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(5));
        doubled.min(Duration::from_secs(30)).min(self.interval())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_interval_that_matters_counts() {
        let s = Duration::from_secs;
        let mut options = Options {
            poll_interval: s(60),
            config_sync_interval: s(40),
            create_backoff: s(10),
            ..Options::default()
        };
        assert_eq!(options.interval(), s(40));
        assert_eq!((options.rhythm().settings, options.rhythm().refused), (s(40), s(10)));
        options.topics.config_sync = false;
        assert_eq!(options.interval(), s(60));
        options.poll_interval = Duration::ZERO;
        assert_eq!(options.interval(), INTERVAL_MIN);
    }

    #[test]
    fn failures_are_retried_ever_more_slowly() {
        let mut options = Options::default();
        let pauses: Vec<u64> = [1, 2, 3, 5, 6, 100].map(|n| options.retry_pause(n).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 16, 30, 30]);
        options.poll_interval = Duration::from_secs(5);
        assert_eq!(options.retry_pause(100).as_secs(), 5);
    }
}
