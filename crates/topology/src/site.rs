//! The destination as one copy finds it: what its brokers know, and what holds there without a setting of the
//! copy's own.

use crate::settings::{Travel, WATCHED, key, travel};
use crate::snapshot::{Features, TopicSettings};

/// Where a copy is, or will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    features: &'a Features,
    /// The copy's settings, if it exists.
    copy: Option<&'a TopicSettings>,
    /// The replicas that each of its partitions has, or will have.
    replicas: i16,
}

impl<'a> Site<'a> {
    /// For a copy that is still to be created.
    pub(crate) fn of_new(features: &'a Features, replicas: i16) -> Site<'a> {
        Site { features, copy: None, replicas }
    }

    /// For a copy with these settings.
    pub(crate) fn of_existing(features: &'a Features, copy: &'a TopicSettings, replicas: i16) -> Site<'a> {
        Site { features, copy: Some(copy), replicas }
    }

    /// The replicas that each partition has, or will have.
    pub(crate) fn replicas(&self) -> i16 {
        self.replicas
    }

    /// Whether the copy is still to be created.
    pub(crate) fn is_new(&self) -> bool {
        self.copy.is_none()
    }

    /// Whether `key` is set on the copy itself.
    pub(crate) fn overrides(&self, key: &str) -> bool {
        self.copy.is_some_and(|copy| copy.overrides.contains_key(key))
    }

    /// Whether brokers know the topic setting `key`; `None` if that is unknown.
    pub(crate) fn knows(&self, key: &str) -> Option<bool> {
        let Some(copy) = self.copy else { return self.features.knows(key) };
        if copy.overrides.contains_key(key) || copy.effective.contains_key(key) {
            return Some(true);
        }
        // Of each topic brokers tell every setting that they know, and these were kept.
        if WATCHED.contains(&key) { Some(false) } else { self.features.knows(key) }
    }

    /// What holds for `key` without a setting of the copy's own, if known.
    pub(crate) fn default_of(&self, key: &str) -> Option<&'a str> {
        let copy = self.copy.filter(|copy| !copy.overrides.contains_key(key));
        let seen = copy.and_then(|copy| copy.effective.get(key)).map(String::as_str);
        seen.or_else(|| self.features.default_of(key))
    }

    /// What will hold for `key` where nothing is chosen: what holds now if only need decides of it, else the
    /// default, since what the source has not set is not set on its copy.
    pub(crate) fn unchosen(&self, key: &str) -> Option<&'a str> {
        match (self.copy, travel(key)) {
            (Some(copy), Travel::Ruled) => copy.effective.get(key).map(String::as_str),
            _ => self.default_of(key),
        }
    }

    /// The smallest `segment.bytes` that brokers take: 1 MiB since 4.0 (KIP-1030), which is also the
    /// version that dropped the settings of old message formats.
    pub(crate) fn segment_bytes_min(&self) -> i64 {
        if self.knows(key::TIMESTAMP_DIFFERENCE) == Some(true) { 1 } else { 1 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_copy_tells_more_of_its_brokers_than_they_were_asked() {
        let nothing = Features::default();
        let told =
            Features { zstd: true, topic_defaults: Some(map(&[("retention.ms", "7"), ("flush.ms", "9")])) };
        let copy = TopicSettings {
            overrides: map(&[("retention.ms", "5"), ("preallocate", "true")]),
            effective: map(&[("retention.ms", "5"), ("cleanup.policy", "delete")]),
        };
        let (bare, full) = (Site::of_existing(&nothing, &copy, 1), Site::of_existing(&told, &copy, 1));
        for (key, knows, default, full_default) in [
            ("retention.ms", Some(true), None, Some("7")),
            ("cleanup.policy", Some(true), Some("delete"), Some("delete")),
            ("preallocate", Some(true), None, None),
            ("segment.bytes", Some(false), None, None),
        ] {
            assert_eq!((bare.knows(key), bare.default_of(key)), (knows, default), "{key}");
            assert_eq!((full.knows(key), full.default_of(key)), (knows, full_default), "{key}");
        }
        assert_eq!((bare.knows("flush.ms"), full.knows("flush.ms")), (None, Some(true)));
        assert_eq!((full.knows("segment.ms"), full.default_of("flush.ms")), (Some(false), Some("9")));
    }

    #[test]
    fn old_versions_take_small_segments() {
        let old = Features { zstd: false, topic_defaults: Some(map(&[(key::TIMESTAMP_DIFFERENCE, "1")])) };
        assert_eq!(Site::of_new(&old, 1).segment_bytes_min(), 1);
        assert_eq!(Site::of_new(&Features::default(), 1).segment_bytes_min(), 1 << 20);
        let copy =
            TopicSettings { effective: map(&[(key::TIMESTAMP_DIFFERENCE, "1")]), ..TopicSettings::default() };
        assert_eq!(Site::of_existing(&Features::default(), &copy, 1).segment_bytes_min(), 1);
    }
}
