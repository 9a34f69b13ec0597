//! Tells the log what is not as it was asked for: once when it begins or changes, and once when it is over.

use std::collections::BTreeMap;

use model::{TopicName, Users};
use topology::Plan;
use tracing::{info, warn};

/// What was said last about each matter.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    users: Users,
    said: BTreeMap<Matter, Said>,
}

/// What a statement is about; there is one statement about each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    /// A cluster that cannot be observed.
    Cluster(&'static str),
    /// A topic that was copied and is gone from the source.
    Gone(TopicName),
    /// A source topic that is not copied.
    NotCopied(TopicName),
    /// A destination topic, or some of its partitions, that cannot be copied to for now.
    Blocked(TopicName),
    /// A flaw; the text tells it from others of the same topic.
    Flaw(Option<TopicName>, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    what: String,
    hint: &'static str,
}

impl Reporter {
    /// One that knows who we are.
    pub(crate) fn new(users: Users) -> Reporter {
        Reporter { users, said: BTreeMap::new() }
    }

    /// Tells of what changed since the last plan. `gone` is sorted.
    pub(crate) fn tell_plan(&mut self, plan: &Plan, gone: &[TopicName]) {
        let mut now = BTreeMap::new();
        // A topic that was copied and is gone says so, which is more than that it is missing.
        for not in plan.not_copied.iter().filter(|not| gone.binary_search(&not.source).is_err()) {
            let said = Said { what: not.why.to_string(), hint: not.why.hint() };
            now.insert(Matter::NotCopied(not.source.clone()), said);
        }
        for blocked in &plan.blocked {
            let from = match blocked.partitions_from {
                0 => String::new(),
                first => format!("from partition {first} on: "),
            };
            let said = Said { what: format!("{from}{}", blocked.why), hint: blocked.why.hint() };
            now.insert(Matter::Blocked(blocked.destination.clone()), said);
        }
        for warning in &plan.warnings {
            let said = Said { what: warning.text.clone(), hint: "" };
            now.insert(Matter::Flaw(warning.topic.clone(), warning.text.clone()), said);
        }
        for topic in gone {
            let what = "it was copied and is not at the source any more; its copy stays".to_owned();
            let hint =
                "created anew under the same name it is another topic, which is not copied into the old copy";
            now.insert(Matter::Gone(topic.clone()), Said { what, hint });
        }
        let clusters = self.said.iter().filter(|(matter, _)| matches!(matter, Matter::Cluster(_)));
        now.extend(clusters.map(|(matter, said)| (matter.clone(), said.clone())));
        self.tell(now);
    }

    /// Tells of a cluster that cannot be observed, or can be again.
    pub(crate) fn tell_cluster(&mut self, cluster: &'static str, error: Option<&str>) {
        let matter = Matter::Cluster(cluster);
        let Some(error) = error else {
            if self.said.remove(&matter).is_some() {
                matter.tell_over();
            }
            return;
        };
        let said = Said { what: error.to_owned(), hint: "" };
        if self.said.get(&matter) != Some(&said) {
            matter.tell(&said, &self.users);
            self.said.insert(matter, said);
        }
    }

    fn tell(&mut self, now: BTreeMap<Matter, Said>) {
        for (matter, said) in begun(&self.said, &now) {
            matter.tell(said, &self.users);
        }
        for (matter, _) in self.said.iter().filter(|(matter, _)| !now.contains_key(matter)) {
            matter.tell_over();
        }
        self.said = now;
    }
}

/// What is new or different in `now`.
fn begun<'a>(
    before: &'a BTreeMap<Matter, Said>,
    now: &'a BTreeMap<Matter, Said>,
) -> impl Iterator<Item = (&'a Matter, &'a Said)> {
    now.iter().filter(|(matter, said)| before.get(matter) != Some(said))
}

impl Matter {
    fn tell(&self, Said { what, hint }: &Said, users: &Users) {
        let hint = &*users.named(hint);
        match self {
            Matter::Cluster(cluster) => warn!(cluster, error = what, "cluster cannot be observed, retrying"),
            Matter::Gone(topic) => warn!(%topic, reason = what, hint, "topic is gone"),
            Matter::NotCopied(topic) => warn!(%topic, reason = what, hint, "topic is not copied"),
            Matter::Blocked(topic) => warn!(destination = %topic, reason = what, hint, "topic is blocked"),
            Matter::Flaw(Some(topic), _) => {
                warn!(destination = %topic, flaw = what, "topic is copied with a flaw");
            }
            Matter::Flaw(None, _) => warn!(flaw = what, "not everything is as it was asked for"),
        }
    }

    fn tell_over(&self) {
        match self {
            Matter::Cluster(cluster) => info!(cluster, "cluster is observed again"),
            Matter::Gone(topic) => info!(%topic, "topic is back"),
            Matter::NotCopied(topic) => info!(%topic, "nothing keeps the topic from being copied any more"),
            Matter::Blocked(topic) => info!(destination = %topic, "topic is not blocked any more"),
            // What is mended is nobody's concern.
            Matter::Flaw(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use topology::{BlockReason, Blocked, NotCopied, NotCopiedReason};

    use super::*;

    fn plan(brokers: usize) -> Plan {
        Plan {
            blocked: vec![Blocked {
                source: "a".into(),
                destination: "a.r".into(),
                partitions_from: 0,
                why: BlockReason::TooFewBrokers { replication_factor: 3, brokers },
            }],
            not_copied: vec![NotCopied { source: "b".into(), why: NotCopiedReason::Missing }],
            ..Plan::default()
        }
    }

    #[test]
    fn what_does_not_change_is_said_once() {
        let mut reporter = Reporter::default();
        reporter.tell_plan(&plan(1), &[]);
        let before = reporter.said.clone();
        assert_eq!(before.len(), 2);
        reporter.tell_cluster("source", Some("unreachable"));
        reporter.tell_plan(&plan(1), &["c".into()]);
        let begun_now: Vec<_> = begun(&before, &reporter.said).map(|(matter, _)| matter.clone()).collect();
        assert_eq!(begun_now, [Matter::Cluster("source"), Matter::Gone("c".into())]);
        reporter.tell_cluster("source", None);
        let before = reporter.said.clone();
        reporter.tell_plan(&plan(2), &["c".into()]);
        let begun_now: Vec<_> = begun(&before, &reporter.said).map(|(matter, _)| matter.clone()).collect();
        assert_eq!(begun_now, [Matter::Blocked("a.r".into())]);
    }
}
