//! Several flows of one worker: which topics one of them leaves to another, so that none is written by two
//! and none comes back to where it was copied from.
//!
//! ```text
//! written by two     east: orders ─▶ orders ◀─ orders :west      the later flow leaves it
//! comes back         a: orders ─▶ b: orders ─▶ a: orders         the last flow of the ring leaves it
//! a copy             a: orders ─▶ b: a.orders ─▶ a: b.a.orders   b's flow does not copy `a.orders`
//! ```
//!
//! All of it is told by names, renamed and back; what the other flows do at the moment is not known here.
//! Which flow is the later one is a matter of the settings' order.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicName;

use crate::candidates::{Candidates, NotCopied, NotCopiedReason};
use crate::naming::Naming;
use crate::selection::{Selection, Verdict};

/// Another flow of the same worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// The id of the cluster it copies from.
    pub source_cluster: String,
    /// The id of the cluster it copies to.
    pub destination_cluster: String,
    /// Which topics it copies.
    pub selection: Selection,
    /// What it calls them.
    pub naming: Naming,
    /// It comes before this flow in the settings.
    pub goes_first: bool,
}

/// A destination topic that an earlier flow writes as well, if it has the source topic for that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rival {
    /// The other flow's place among the neighbours.
    pub neighbour: usize,
    /// The topic of its source that it would copy there; `None` if only that flow can say.
    pub source: Option<TopicName>,
    /// The topic of the destination.
    pub destination: TopicName,
}

/// The two clusters of a flow, by their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) source: Option<&'a str>,
    pub(crate) destination: Option<&'a str>,
}

impl Ends<'_> {
    /// Whether both are one cluster.
    pub(crate) fn are_one(self) -> bool {
        self.source.is_some() && self.source == self.destination
    }
}

impl Neighbour {
    /// What this flow calls its copy of `topic`, if it copies that.
    fn copy_of(&self, topic: &TopicName) -> Option<TopicName> {
        let selected = self.selection.verdict(topic, false) == Verdict::Selected;
        selected.then(|| self.naming.destination(topic))
    }

    /// The topic whose copy by this flow has the name `copy`; it need not exist.
    fn original_of(&self, copy: &TopicName) -> Option<TopicName> {
        self.naming.source(copy).filter(|topic| self.selection.verdict(topic, false) == Verdict::Selected)
    }
}

/// Why `source` must not be copied to `destination`, if another flow is the reason.
pub(crate) fn conflict(
    source: &TopicName,
    destination: &TopicName,
    ends: Ends<'_>,
    neighbours: &[Neighbour],
) -> Option<NotCopiedReason> {
    let (from, to) = (ends.source?, ends.destination?);
    if let Some(flow) = brings_back((from, source), (to, destination), neighbours) {
        let (flow, destination) = (flow.name.clone(), destination.clone());
        return Some(NotCopiedReason::ComesBack { destination, flow });
    }
    let (flow, original) = copied_from((from, source), to, neighbours)?;
    Some(NotCopiedReason::CopyFromThere { original, flow: flow.name.clone() })
}

/// The earlier flow that brings the copy back to the source under its own name, if the earlier ones do.
fn brings_back<'a>(
    start: (&str, &TopicName),
    copy: (&str, &TopicName),
    neighbours: &'a [Neighbour],
) -> Option<&'a Neighbour> {
    let mut reached = BTreeSet::from([(copy.0, copy.1.clone())]);
    // A way that takes a flow twice has a shorter one in it.
    for _ in neighbours {
        let mut further = BTreeSet::new();
        for flow in neighbours.iter().filter(|flow| flow.goes_first) {
            for (cluster, topic) in &reached {
                let Some(copy) = flow.copy_of(topic).filter(|_| flow.source_cluster == **cluster) else {
                    continue;
                };
                if (flow.destination_cluster.as_str(), &copy) == start {
                    return Some(flow);
                }
                further.insert((flow.destination_cluster.as_str(), copy));
            }
        }
        reached = further;
    }
    None
}

/// The flow that has made `copy`, by its name, and the topic of the cluster `origin` that it stems from.
///
/// A flow that keeps names proves nothing: every topic there looks like a copy of its. So one at least of the
/// flows on the way must have renamed it.
fn copied_from<'a>(
    copy: (&str, &TopicName),
    origin: &str,
    neighbours: &'a [Neighbour],
) -> Option<(&'a Neighbour, TopicName)> {
    // Cluster, name, whether renamed since, and the flow that made `copy`.
    let mut reached: Vec<(&str, TopicName, bool, Option<usize>)> =
        vec![(copy.0, copy.1.clone(), false, None)];
    for _ in neighbours {
        let mut further = Vec::new();
        for (index, flow) in neighbours.iter().enumerate() {
            for (cluster, topic, renamed, last) in &reached {
                if flow.destination_cluster != **cluster {
                    continue;
                }
                let Some(original) = flow.original_of(topic) else { continue };
                let renamed = *renamed || original != *topic;
                let last = last.unwrap_or(index);
                if renamed && flow.source_cluster == origin {
                    return Some((&neighbours[last], original));
                }
                further.push((flow.source_cluster.as_str(), original, renamed, Some(last)));
            }
        }
        reached = further;
    }
    None
}

/// The destination topics of `candidates`, in the cluster `destination`, that an earlier flow may write too. Sorted.
///
/// Whether it does depends on its source, which [`Rival::source`] is to be looked for at.
pub fn rivals(
    candidates: &Candidates,
    destination: Option<&str>,
    neighbours: &[Neighbour],
) -> BTreeSet<Rival> {
    let mut rivals = BTreeSet::new();
    let earlier = neighbours
        .iter()
        .enumerate()
        .filter(|(_, flow)| flow.goes_first && Some(flow.destination_cluster.as_str()) == destination);
    for (neighbour, flow) in earlier {
        for name in candidates.pairs.values() {
            let source = match flow.naming.is_fixed() {
                true if flow.naming.destination(name) == *name => None,
                true => continue,
                false => match flow.original_of(name) {
                    None => continue,
                    original => original,
                },
            };
            rivals.insert(Rival { neighbour, source, destination: name.clone() });
        }
    }
    rivals
}

/// Takes out of `candidates` what the other flows of `rivals`, which are there, write.
pub fn leave_to_rivals(candidates: &mut Candidates, rivals: &BTreeSet<Rival>, neighbours: &[Neighbour]) {
    let mut first: BTreeMap<&TopicName, usize> = BTreeMap::new();
    for rival in rivals {
        first.entry(&rival.destination).or_insert(rival.neighbour);
    }
    let refused = candidates.pairs.iter().filter_map(|(source, destination)| {
        let flow = neighbours.get(*first.get(destination)?)?.name.clone();
        let why = NotCopiedReason::OtherFlow { destination: destination.clone(), flow };
        Some(NotCopied { source: source.clone(), why })
    });
    let refused = refused.collect();
    candidates.refuse(refused);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    /// A flow, as `name: from -> to, whitelist or *, format`.
    fn flow(text: &str, goes_first: bool) -> Neighbour {
        let words: Vec<&str> = text.split([':', ' ', ',']).filter(|word| !word.is_empty()).collect();
        let [name, from, "->", to, topics, format] = words[..] else { panic!("{text}") };
        let all = topics == "*";
        Neighbour {
            name: name.to_owned(),
            source_cluster: from.to_owned(),
            destination_cluster: to.to_owned(),
            selection: Selection {
                whitelist: if all { BTreeSet::new() } else { [topics.into()].into() },
                regex: all.then(|| Pattern::new(".*").unwrap()),
                ..Selection::default()
            },
            naming: Naming::new(format).unwrap(),
            goes_first,
        }
    }

    /// What each of the flows says of the topic at its source, in their order.
    fn check(flows: &[&str], expected: &[(&str, Option<&str>)]) {
        for (index, (topic, expected)) in expected.iter().enumerate() {
            let this = flow(flows[index], false);
            let others = flows.iter().enumerate().filter(|(other, _)| *other != index);
            let others: Vec<Neighbour> = others.map(|(other, text)| flow(text, other < index)).collect();
            let ends =
                Ends { source: Some(&this.source_cluster), destination: Some(&this.destination_cluster) };
            let source = TopicName::from(*topic);
            let why = conflict(&source, &this.naming.destination(&source), ends, &others);
            let why = why.map(|why| why.to_string());
            assert_eq!(why.as_deref(), *expected, "{} of {}", topic, flows[index]);
        }
    }

    #[test]
    fn of_two_flows_in_a_ring_the_later_leaves_what_comes_back() {
        let both = ["one: a -> b, *, ${topic}", "two: b -> a, *, ${topic}"];
        let back = "its copy `t` would be copied back over it by connector `one`";
        check(&both, &[("t", None), ("t", Some(back))]);
        check(&["one: a -> b, t, ${topic}", "two: b -> a, u, ${topic}"], &[("t", None), ("u", None)]);
        check(
            &["one: a -> b, *, ${topic}", "two: b -> c, *, ${topic}", "three: c -> a, *, ${topic}"],
            &[
                ("t", None),
                ("t", None),
                ("t", Some("its copy `t` would be copied back over it by connector `two`")),
            ],
        );
    }

    #[test]
    fn a_copy_is_not_copied_back_to_where_it_came_from() {
        let both = ["one: a -> b, *, a.${topic}", "two: b -> a, *, b.${topic}"];
        check(&both, &[("t", None), ("t", None)]);
        let of = |flow, original| {
            format!("by its name it is the copy of the destination's `{original}` by connector `{flow}`")
        };
        let (by_one, by_two) = (of("one", "t"), of("two", "t"));
        check(&both, &[("b.t", Some(&by_two)), ("a.t", Some(&by_one))]);
        // One that keeps names proves nothing, and the other one ends the ring.
        let one_renames = ["one: a -> b, *, a.${topic}", "two: b -> a, *, ${topic}"];
        check(&one_renames, &[("t", None), ("a.t", Some(&by_one))]);
        // Round three clusters: what came to c by way of a.
        let ring = ["one: a -> b, *, ${topic}", "two: b -> c, *, ${topic}", "three: c -> a, *, c.${topic}"];
        check(&ring, &[("c.t", Some(&of("three", "t")))]);
    }

    #[test]
    fn flows_of_other_clusters_have_nothing_to_do_with_it() {
        check(
            &["one: a -> b, *, ${topic}", "two: a -> c, *, ${topic}", "three: c -> d, *, ${topic}"],
            &[("t", None), ("t", None), ("t", None)],
        );
    }

    #[test]
    fn what_an_earlier_flow_writes_is_left_to_it() {
        let pairs = ["t", "u", "a.v"].map(|name| (TopicName::from(name), TopicName::from(name)));
        let mut candidates = Candidates { pairs: pairs.into(), ..Candidates::default() };
        let neighbours = [
            flow("elsewhere: a -> c, *, ${topic}", true),
            flow("later: a -> b, *, ${topic}", false),
            flow("prefixed: a -> b, *, a.${topic}", true),
            flow("fixed: a -> b, *, u", true),
        ];
        let found = rivals(&candidates, Some("b"), &neighbours);
        let told: Vec<String> = found
            .iter()
            .map(|rival| format!("{} {:?} {}", rival.neighbour, rival.source, rival.destination))
            .collect();
        assert_eq!(told, ["2 Some(\"v\") a.v", "3 None u"]);
        leave_to_rivals(&mut candidates, &found, &neighbours);
        assert_eq!(candidates.pairs.keys().map(TopicName::as_str).collect::<Vec<_>>(), ["t"]);
        let told: Vec<String> = candidates.not_copied.iter().map(|not| not.why.to_string()).collect();
        let by = |topic, flow| format!("its copy would be `{topic}`, which connector `{flow}` writes");
        assert_eq!(told, [by("a.v", "prefixed"), by("u", "fixed")]);
        assert_eq!(rivals(&candidates, None, &neighbours), BTreeSet::new());
    }
}
