//! Keeps the settings of an existing copy in step with its source: what is set there is set here, what is not set
//! there goes back to the broker's default here, and what passing batches through needs counts before both.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicName;

use crate::candidates::Candidates;
use crate::desired::TopicPolicy;
use crate::plan::{Change, Difference};
use crate::settings::{Bound, Chosen, Need, Travel, key};
use crate::site::Site;
use crate::snapshot::{Features, Snapshot, Topic, TopicSettings};
use crate::wanted::{UNKNOWN, Wanted, wanted};

/// An existing copy, and all that its settings depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing<'a> {
    /// The copy's name.
    pub(crate) name: &'a TopicName,
    pub(crate) source: &'a Topic,
    pub(crate) copy: &'a Topic,
    /// What passing the source's batches through asks for.
    pub(crate) needs: &'a [Need],
    pub(crate) policy: &'a TopicPolicy,
    /// What the destination can do.
    pub(crate) features: &'a Features,
}

/// What becomes of a copy's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    /// The changes by key.
    pub(crate) changes: BTreeMap<String, Change>,
    /// Some of them have another reason than that batches do not pass through as it is.
    pub(crate) follows: bool,
    /// What stays different on purpose.
    pub(crate) differences: Vec<Difference>,
    /// What is wrong and is not changed, and what the changes will delete: the key and a sentence.
    pub(crate) warnings: Vec<(String, String)>,
}

/// What keeps a setting from being changed.
enum Hindrance {
    Off,
    Excluded,
    /// And the answer.
    Refused(String),
}

const EXCLUDED: &str = "topic.config.sync.exclude names it";

impl<'a> Existing<'a> {
    /// The changes that put the copy in step, of those that may be made. `refused` tells of keys that the
    /// destination would not take a moment ago. Nothing, where the copy's settings are not known.
    pub(crate) fn sync(&self, refused: impl Fn(&str) -> Option<String>) -> Synced {
        let mut synced = Synced::default();
        let Some(own) = self.copy.known() else { return synced };
        let site = self.site(own);
        let wanted = wanted(self.source, self.needs, self.policy, &site, |_| None);
        for key in self.keys(own, &wanted) {
            let Some(change) = self.change(key, wanted.settings.get(key), &site) else { continue };
            match self.hindrance(key, &refused) {
                None => {
                    synced.follows |= self.lacking(key).is_none();
                    synced.changes.insert(key.to_owned(), change);
                }
                Some(hindrance) => self.leave(key, change, &hindrance, &mut synced),
            }
        }
        if self.policy.config_sync {
            synced.differences.extend(self.unknown(&wanted));
        }
        synced.warnings.extend(self.deletions(&synced.changes));
        synced
    }

    /// What will hold for `key` once `changes` are made, if known.
    pub(crate) fn after<'s>(&self, changes: &'s BTreeMap<String, Change>, key: &str) -> Option<&'s str>
    where
        'a: 's,
    {
        match changes.get(key) {
            Some(Change { to: Some(value), .. }) => Some(value.as_str()),
            Some(Change { to: None, .. }) => self.site(self.copy.known()?).default_of(key),
            None => self.copy.effective(key),
        }
    }

    /// The destination, where the copy has these settings of its own.
    fn site(&self, own: &'a TopicSettings) -> Site<'a> {
        Site::of_existing(self.features, own, self.copy.replication_factor)
    }

    /// Whether the setting `key` is one that travels from the source as it stands.
    fn is_copied(&self, key: &str) -> bool {
        self.policy.travel(key) == Travel::Copied
    }

    /// The settings to look at: those that the copy should have, and those that it has and a source can decide of.
    fn keys<'w>(&self, own: &'w TopicSettings, wanted: &'w Wanted) -> BTreeSet<&'w str> {
        let mut keys: BTreeSet<&str> = wanted.settings.keys().map(String::as_str).collect();
        // A source that does not tell has not unset anything.
        if self.source.known().is_some() {
            keys.extend(own.overrides.keys().map(String::as_str).filter(|key| self.is_copied(key)));
        }
        keys
    }

    /// What there would be to change of `key`, were everything allowed.
    fn change(&self, key: &str, chosen: Option<&Chosen>, site: &Site<'_>) -> Option<Change> {
        let (from, to) = (self.copy.own(key), chosen.map(|chosen| chosen.value.as_str()));
        if from == to {
            return None;
        }
        let is_followed = self.is_copied(key) && self.source.own(key) == to;
        let mut why = match chosen {
            Some(chosen) if is_followed => format!("the source has {}", chosen.value),
            Some(chosen) => chosen.why.clone(),
            None => "not set at the source".to_owned(),
        };
        let default = site.default_of(key).filter(|default| !default.is_empty());
        if let Some(default) = default.filter(|_| from.is_none() || to.is_none()) {
            why.push_str(&format!("; the default is {default}"));
        }
        Some(Change { from: from.map(str::to_owned), to: to.map(str::to_owned), why })
    }

    fn hindrance(&self, key: &str, refused: impl Fn(&str) -> Option<String>) -> Option<Hindrance> {
        if !self.policy.config_sync {
            Some(Hindrance::Off)
        } else if self.policy.config_sync_exclude.contains(key) {
            Some(Hindrance::Excluded)
        } else {
            refused(key).map(Hindrance::Refused)
        }
    }

    /// Notes that `change` is not made: in a warning where batches suffer, or the destination is to blame.
    fn leave(&self, key: &str, change: Change, hindrance: &Hindrance, synced: &mut Synced) {
        let lacking = self.lacking(key);
        let suffers = lacking.is_some_and(|(need, value)| !need.tolerates(value));
        let instead = match hindrance {
            Hindrance::Refused(answer) => answer.as_str(),
            Hindrance::Off if suffers => "topic.config.sync=false leaves it",
            Hindrance::Excluded if suffers => "topic.config.sync.exclude leaves it",
            Hindrance::Excluded if self.is_copied(key) => {
                synced.differences.extend(self.difference(key, EXCLUDED));
                return;
            }
            Hindrance::Off | Hindrance::Excluded => return,
        };
        let text = match lacking {
            Some((need, value)) => {
                format!("{key}={value}, wanted is {} ({}): {instead}", need.bound, need.why)
            }
            None => {
                let here = change.from.map_or_else(|| " is not set".to_owned(), |value| format!("={value}"));
                let to = change.to.as_deref().unwrap_or("the broker's default");
                format!("{key}{here}, wanted is {to} ({}): {instead}", change.why)
            }
        };
        synced.warnings.push((key.to_owned(), text));
    }

    /// What differs in `key`, if it does.
    fn difference(&self, key: &str, why: &str) -> Option<Difference> {
        let (at_source, at_destination) = (self.source.own(key), self.copy.own(key));
        (at_source != at_destination).then(|| Difference {
            topic: self.name.clone(),
            key: key.to_owned(),
            at_source: at_source.map(str::to_owned),
            at_destination: at_destination.map(str::to_owned),
            why: why.to_owned(),
        })
    }

    /// The source's overrides that would travel, did the destination know them.
    fn unknown(&self, wanted: &Wanted) -> impl Iterator<Item = Difference> {
        let would_travel = wanted.left_out.iter().filter(|left_out| self.is_copied(&left_out.key));
        would_travel.filter_map(|left_out| {
            let is_excluded = self.policy.config_sync_exclude.contains(&left_out.key);
            self.difference(&left_out.key, if is_excluded { EXCLUDED } else { UNKNOWN })
        })
    }

    /// The need that the copy does not satisfy in `key`, and the value that holds.
    fn lacking(&self, key: &str) -> Option<(&'a Need, &'a str)> {
        let value = self.copy.effective(key)?;
        let need = self.needs.iter().find(|need| need.key == key && !need.bound.holds(value))?;
        Some((need, value))
    }

    /// What `changes` make the copy delete of what it holds now.
    fn deletions(&self, changes: &BTreeMap<String, Change>) -> Vec<(String, String)> {
        let ends = |key: &str| Some((self.copy.effective(key)?, self.after(changes, key)?));
        let mut found = Vec::new();
        for (retention, lost) in [(key::RETENTION_BYTES, "more"), (key::RETENTION_MS, "older")] {
            if let Some((before, after)) = ends(retention)
                && let Ok(kept) = before.parse()
                && !Bound::KeptFor(kept).holds(after)
                && self.after(changes, key::CLEANUP_POLICY) != Some("compact")
            {
                let text =
                    format!("{retention} falls from {before} to {after}: the copy deletes what is {lost}");
                found.push((retention.to_owned(), text));
            }
        }
        if let Some((before, after)) = ends(key::CLEANUP_POLICY) {
            let gains = |word: &str| after.contains(word) && !before.contains(word);
            for (word, effect) in [
                ("compact", "keeps only the last record of each key"),
                ("delete", "deletes what is past its retention"),
            ] {
                if gains(word) {
                    let text = format!("{} becomes {after}: the copy {effect}", key::CLEANUP_POLICY);
                    found.push((key::CLEANUP_POLICY.to_owned(), text));
                }
            }
        }
        found
    }
}

/// Whether a plan depends on what topics of the destination have without settings of their own: where one is to be
/// created, or where something is set on one side only.
pub fn defaults_matter(
    source: &Snapshot,
    destination: &Snapshot,
    candidates: &Candidates,
    policy: &TopicPolicy,
) -> bool {
    candidates.pairs.iter().any(|(original, name)| match destination.topics.get(name) {
        None => !destination.troubled.contains_key(name),
        Some(copy) => {
            let original = source.topics.get(original).filter(|_| policy.config_sync);
            original.is_some_and(|original| is_set_on_one_side(original, copy, policy))
        }
    })
}

/// Whether one of the two has an override that the other has not, of those that follow the source.
fn is_set_on_one_side(source: &Topic, copy: &Topic, policy: &TopicPolicy) -> bool {
    let (Some(source), Some(copy)) = (source.known(), copy.known()) else { return false };
    let has_more = |one: &TopicSettings, other: &TopicSettings| {
        one.overrides.keys().any(|key| policy.follows(key) && !other.overrides.contains_key(key))
    };
    has_more(source, copy) || has_more(copy, source)
}
