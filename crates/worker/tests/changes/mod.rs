//! Random changes to the topics of two clusters, from a seed, and what they come to: for tests that make them and
//! then compare the clusters. Nothing here talks to a cluster.

use std::collections::{BTreeMap, BTreeSet};

/// Settings that follow the source, and values of each that delete nothing while a test runs.
pub(crate) const FOLLOWING: [(&str, [&str; 2]); 8] = [
    ("delete.retention.ms", ["1000", "90000000"]),
    ("flush.messages", ["1000", "5000"]),
    ("index.interval.bytes", ["1024", "8192"]),
    ("max.message.bytes", ["1048588", "2000000"]),
    ("min.compaction.lag.ms", ["0", "5"]),
    ("retention.bytes", ["-1", "1000000000000"]),
    ("retention.ms", ["-1", "9000000000"]),
    ("segment.ms", ["600000", "90000000"]),
];

/// Settings that each side keeps for itself.
const OWN: [(&str, [&str; 2]); 2] =
    [("min.insync.replicas", ["1", "1"]), ("unclean.leader.election.enable", ["true", "false"])];

/// A setting that no copy may have otherwise than as `producer`.
const RULED: (&str, [&str; 2]) = ("compression.type", ["gzip", "lz4"]);

/// One change at one side.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A topic is created at the source.
    Create { topic: String, partitions: u32, settings: Vec<(&'static str, &'static str)> },
    /// The source's topic gets more partitions, so many in all.
    Grow { topic: String, partitions: u32 },
    /// A setting of the source's topic is set, or unset.
    Set { topic: String, key: &'static str, value: Option<&'static str> },
    /// The source's topic is deleted.
    Delete { topic: String },
    /// The topic is deleted at either side, and created anew at the source.
    Recreate { topic: String, partitions: u32, settings: Vec<(&'static str, &'static str)> },
    /// Numbers are written to the source's topic, each to the partition that is the number modulo the partitions.
    Fill { topic: String, partitions: u32, first: u64, records: u64 },
    /// Somebody gives the copy more partitions, so many in all.
    GrowCopy { topic: String, partitions: u32 },
    /// Somebody sets, or unsets, a setting of the copy.
    SetCopy { topic: String, key: &'static str, value: Option<&'static str> },
}

/// A topic of the source as the changes made it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) partitions: u32,
    /// The copy has so many at least.
    pub(crate) copy_partitions: u32,
    pub(crate) records: u64,
    /// The settings of [`FOLLOWING`] that are set.
    pub(crate) settings: BTreeMap<&'static str, &'static str>,
    /// What was set of [`OWN`] at the copy.
    pub(crate) copys_own: BTreeMap<&'static str, &'static str>,
    /// It has a copy for sure.
    copied: bool,
}

/// The source of changes.
pub(crate) struct Changes {
    random: u64,
    created: u32,
    recreates: bool,
    pub(crate) live: BTreeMap<String, Live>,
    /// Copies whose sources were deleted; those stay.
    pub(crate) orphans: BTreeSet<String>,
}

impl Changes {
    /// The same changes for the same seed. `recreates`: topics are created anew under their names as well, in the quiet
    /// between two rounds, so that nothing is under way to the ones that go.
    pub(crate) fn new(seed: u64, recreates: bool) -> Changes {
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Changes { random, created: 0, recreates, live: BTreeMap::new(), orphans: BTreeSet::new() }
    }

    /// So many changes, to be made in this order. After them the copies are to be waited for.
    pub(crate) fn round(&mut self, count: usize) -> Vec<Change> {
        for live in self.live.values_mut() {
            live.copied = true;
        }
        let recreated = if self.recreates && self.draw(2) == 0 { self.recreate() } else { None };
        let others = count - usize::from(recreated.is_some());
        recreated.into_iter().chain(std::iter::repeat_with(|| self.draw_change()).take(others)).collect()
    }

    fn recreate(&mut self) -> Option<Change> {
        let topic = self.draw_topic(true)?;
        let live = &self.live[&topic];
        // Who has not seen it go may create the copy once more as it was.
        let partitions = live.partitions.max(live.copy_partitions);
        let settings = live.settings.clone();
        let given = settings.clone().into_iter().collect();
        self.live.insert(topic.clone(), Live { partitions, settings, ..Live::default() });
        Some(Change::Recreate { topic, partitions, settings: given })
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % below as u64).expect("below a usize")
    }

    fn draw_change(&mut self) -> Change {
        let Some(topic) = self.draw_topic(false) else { return self.create() };
        match self.draw(12) {
            0 | 1 if self.live.len() < 12 => self.create(),
            2 if self.live.len() > 3 => {
                if self.live[&topic].copied {
                    self.orphans.insert(topic.clone());
                }
                self.live.remove(&topic);
                Change::Delete { topic }
            }
            3 | 4 if self.live[&topic].partitions < 8 => {
                let more = 1 + u32::try_from(self.draw(3)).expect("small");
                let live = self.live.get_mut(&topic).expect("it was drawn");
                live.partitions += more;
                Change::Grow { topic, partitions: live.partitions }
            }
            5 | 6 => self.set(topic),
            7 | 8 => match self.draw_topic(true) {
                Some(topic) => self.change_copy(topic),
                None => self.fill(topic),
            },
            _ => self.fill(topic),
        }
    }

    fn draw_topic(&mut self, copied: bool) -> Option<String> {
        let names: Vec<String> = self
            .live
            .iter()
            .filter(|(_, live)| live.copied || !copied)
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return None;
        }
        let index = self.draw(names.len());
        names.into_iter().nth(index)
    }

    fn create(&mut self) -> Change {
        let topic = format!("changing-{}", self.created);
        self.created += 1;
        let partitions = 1 + u32::try_from(self.draw(3)).expect("small");
        let mut settings = BTreeMap::new();
        for _ in 0..self.draw(3) {
            let (key, values) = FOLLOWING[self.draw(FOLLOWING.len())];
            settings.insert(key, values[self.draw(2)]);
        }
        let given = settings.clone().into_iter().collect();
        self.live.insert(topic.clone(), Live { partitions, settings, ..Live::default() });
        Change::Create { topic, partitions, settings: given }
    }

    fn set(&mut self, topic: String) -> Change {
        let (key, value) = self.draw_setting();
        let live = self.live.get_mut(&topic).expect("it was drawn");
        if FOLLOWING.iter().any(|(following, _)| *following == key) {
            match value {
                Some(value) => live.settings.insert(key, value),
                None => live.settings.remove(key),
            };
        }
        Change::Set { topic, key, value }
    }

    fn draw_setting(&mut self) -> (&'static str, Option<&'static str>) {
        let (key, values) = match self.draw(4) {
            0 => OWN[self.draw(OWN.len())],
            1 => RULED,
            _ => FOLLOWING[self.draw(FOLLOWING.len())],
        };
        let value = self.draw(3);
        (key, values.get(value).copied())
    }

    fn change_copy(&mut self, topic: String) -> Change {
        let grow = self.draw(4) == 0;
        let (key, value) = self.draw_setting();
        let live = self.live.get_mut(&topic).expect("it was drawn");
        if grow && live.copy_partitions < 10 {
            // At least what it may have grown to meanwhile, by itself.
            live.copy_partitions = live.copy_partitions.max(live.partitions) + 1;
            return Change::GrowCopy { topic, partitions: live.copy_partitions };
        }
        if OWN.iter().any(|(own, _)| *own == key) {
            match value {
                Some(value) => live.copys_own.insert(key, value),
                None => live.copys_own.remove(key),
            };
        }
        Change::SetCopy { topic, key, value }
    }

    fn fill(&mut self, topic: String) -> Change {
        let records = 1 + u64::try_from(self.draw(60)).expect("small");
        let live = self.live.get_mut(&topic).expect("it was drawn");
        let first = live.records;
        live.records += records;
        Change::Fill { topic, partitions: live.partitions, first, records }
    }
}

impl Live {
    /// What is wrong with the settings of the copy, if something is.
    pub(crate) fn flaw(&self, copy: &BTreeMap<String, String>) -> Option<String> {
        let own = OWN.iter().map(|(key, _)| (*key, self.copys_own.get(key).copied()));
        let following = FOLLOWING.iter().map(|(key, _)| (*key, self.settings.get(key).copied()));
        let found = |key: &str| copy.get(key).map(String::as_str);
        let flaw = own.chain(following).find(|(key, expected)| found(key) != *expected);
        if let Some((key, expected)) = flaw {
            return Some(format!("{key} is {:?}, {expected:?} is expected", found(key)));
        }
        // Where somebody has unset it, the broker's default is the same.
        let codec = found(RULED.0).filter(|codec| *codec != "producer")?;
        Some(format!("{} is {codec}", RULED.0))
    }
}
