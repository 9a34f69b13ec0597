//! What settings a copy should have of its own: one rule for copies that are created and for copies that are
//! kept in step, so that the two cannot disagree.

use std::collections::BTreeMap;

use crate::desired::TopicPolicy;
use crate::settings::{Chosen, LeftOut, Need, Travel, keeps, key};
use crate::site::Site;
use crate::snapshot::Topic;

/// The settings that a copy should have of its own, and the source's that it does not get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Each with its reason. Of what only need decides, an existing copy has nothing here that it satisfies.
    pub(crate) settings: BTreeMap<String, Chosen>,
    /// The source's overrides that stay behind.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What the copy of `source` at `site` should have. `refused` tells of keys that the destination would not take.
pub(crate) fn wanted(
    source: &Topic,
    needs: &[Need],
    policy: &TopicPolicy,
    site: &Site<'_>,
    refused: impl Fn(&str) -> Option<String>,
) -> Wanted {
    let mut wanted = Wanted::as_at_source(source, policy, site, &refused);
    for keep in keeps(source) {
        // Only overrides travel: where an existing copy has none, the destination's default stands, and that it
        // keeps less is a warning.
        if (site.is_new() || site.overrides(keep.key)) && refused(keep.key).is_none() {
            wanted.satisfy(&keep, source, site);
        }
    }
    for need in needs.iter().filter(|need| refused(need.key).is_none()) {
        wanted.satisfy(need, source, site);
    }
    wanted.fit_segment(site);
    wanted.fit_replicas(site);
    wanted
}

impl Wanted {
    /// The source's overrides, as far as they make sense at the destination.
    fn as_at_source(
        source: &Topic,
        policy: &TopicPolicy,
        site: &Site<'_>,
        refused: impl Fn(&str) -> Option<String>,
    ) -> Wanted {
        let mut wanted = Wanted::default();
        let known = source.known();
        for (key, value) in known.iter().flat_map(|settings| &settings.overrides) {
            let why = match policy.travel(key) {
                Travel::Ruled => continue,
                Travel::Stays(why) => why.to_owned(),
                Travel::Copied if site.knows(key) == Some(false) => UNKNOWN.to_owned(),
                Travel::Copied => match refused(key) {
                    Some(why) => why,
                    None => {
                        let why = "as at the source".to_owned();
                        wanted.settings.insert(key.clone(), Chosen { value: value.clone(), why });
                        continue;
                    }
                },
            };
            wanted.left_out.push(LeftOut { key: key.clone(), value: value.clone(), why });
        }
        wanted
    }

    /// Chooses what `need` asks for, unless it would hold anyway.
    fn satisfy(&mut self, need: &Need, source: &Topic, site: &Site<'_>) {
        let knows = site.knows(need.key);
        // A destination that does not tell what it knows is only sent what every version has; what a new
        // topic then lacks shows in its own settings, at the next observation.
        let about_time =
            [key::TIMESTAMP_AFTER, key::TIMESTAMP_BEFORE, key::TIMESTAMP_DIFFERENCE].contains(&need.key);
        if knows == Some(false) || (knows.is_none() && about_time) {
            return;
        }
        let chosen = self.settings.get(need.key).map(|chosen| chosen.value.as_str());
        let would_be = chosen.or_else(|| site.unchosen(need.key));
        let holds = would_be.is_some_and(|value| need.bound.holds(value));
        let is_to_be_said = need.explicit && site.is_new() && chosen.is_none();
        if holds && !is_to_be_said {
            return;
        }
        let why = match source.own(need.key).filter(|value| !need.bound.holds(value)) {
            Some(value) => format!("{}; {value} at the source", need.why),
            None => need.why.to_owned(),
        };
        self.settings.insert(need.key.to_owned(), Chosen { value: need.bound.value(), why });
    }

    /// Raises `segment.bytes` to what brokers take.
    fn fit_segment(&mut self, site: &Site<'_>) {
        let least = site.segment_bytes_min();
        if let Some(segment) = self.settings.get_mut(key::SEGMENT_BYTES)
            && segment.value.parse::<i64>().is_ok_and(|bytes| bytes < least)
        {
            segment.why = format!("the destination's smallest; {} at the source", segment.value);
            segment.value = least.to_string();
        }
    }

    /// Lowers `min.insync.replicas` to the replicas there are: with more, brokers take no batch at all.
    fn fit_replicas(&mut self, site: &Site<'_>) {
        let most = i64::from(site.replicas());
        if let Some(least) = self.settings.get_mut(key::MIN_INSYNC)
            && least.value.parse::<i64>().is_ok_and(|replicas| replicas > most)
        {
            least.why = format!("the copy has no more replicas; {} at the source", least.value);
            least.value = most.to_string();
        }
    }
}

/// Why an override of a newer source stays behind.
pub(crate) const UNKNOWN: &str = "the destination's version does not know it";
