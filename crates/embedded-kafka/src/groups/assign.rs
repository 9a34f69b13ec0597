//! Who reads which partition, in groups that the broker assigns (KIP-848).
//!
//! Plain functions of subscriptions, partitions and what everybody has now. `uniform` moves as little as it
//! can, `range` gives neighbours to the same member.

use std::collections::{BTreeMap, BTreeSet};

/// A topic's id and a partition of it.
pub(crate) type Part = ([u8; 16], i32);

/// What a member would read, and what it has now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) topics: BTreeSet<[u8; 16]>,
    pub(crate) has: BTreeSet<Part>,
}

/// How partitions are assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

impl Assignor {
    /// Those that a broker has, the preferred one first.
    pub(crate) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The partitions of each member, in the order of `wishes`. `counts` tells how many a topic has.
    pub(crate) fn assign(self, wishes: &[Wish], counts: &BTreeMap<[u8; 16], i32>) -> Vec<BTreeSet<Part>> {
        match self {
            Assignor::Uniform => uniform(wishes, counts),
            Assignor::Range => range(wishes, counts),
        }
    }
}

/// Everybody keeps what they have, up to an equal share; the rest goes to whoever has least.
fn uniform(wishes: &[Wish], counts: &BTreeMap<[u8; 16], i32>) -> Vec<BTreeSet<Part>> {
    let mut given: Vec<BTreeSet<Part>> = vec![BTreeSet::new(); wishes.len()];
    let mut taken = BTreeSet::new();
    for (wish, own) in wishes.iter().zip(&mut given) {
        let keeps = |part: &&Part| {
            wish.topics.contains(&part.0) && counts.get(&part.0).is_some_and(|count| part.1 < *count)
        };
        own.extend(wish.has.iter().filter(keeps).filter(|part| taken.insert(**part)));
    }
    let mut loads: Loads = given.iter().enumerate().map(|(index, own)| (own.len(), index)).collect();
    let all = counts.iter().flat_map(|(topic, count)| (0..*count).map(|index| (*topic, index)));
    for part in all.filter(|part| !taken.contains(part)) {
        let least = loads.iter().find(|(_, index)| wishes[*index].topics.contains(&part.0));
        if let Some(&(load, index)) = least {
            loads.remove(&(load, index));
            loads.insert((load + 1, index));
            given[index].insert(part);
        }
    }
    // Each move makes a difference of two or more smaller, so there are never more moves than partitions.
    for _ in 0..taken.len() {
        let Some((from, to, part)) = unfair(wishes, &given, &loads) else { break };
        for (index, load) in [(from, given[from].len()), (to, given[to].len())] {
            loads.remove(&(load, index));
        }
        given[from].remove(&part);
        given[to].insert(part);
        loads.extend([(given[from].len(), from), (given[to].len(), to)]);
    }
    given
}

/// How many partitions everybody has, with whom, the least first.
type Loads = BTreeSet<(usize, usize)>;

/// A partition that would be better off elsewhere: from whom, to whom, and which.
fn unfair(wishes: &[Wish], given: &[BTreeSet<Part>], loads: &Loads) -> Option<(usize, usize, Part)> {
    for &(least, to) in loads {
        for &(_, from) in loads.iter().rev().take_while(|(load, _)| *load > least + 1) {
            let moved = given[from].iter().rev().find(|part| wishes[to].topics.contains(&part.0));
            if let Some(part) = moved {
                return Some((from, to, *part));
            }
        }
    }
    None
}

/// Each topic is cut into as many pieces as it has readers, the first ones one longer.
fn range(wishes: &[Wish], counts: &BTreeMap<[u8; 16], i32>) -> Vec<BTreeSet<Part>> {
    let mut given: Vec<BTreeSet<Part>> = vec![BTreeSet::new(); wishes.len()];
    for (topic, count) in counts {
        let readers: Vec<usize> =
            (0..wishes.len()).filter(|index| wishes[*index].topics.contains(topic)).collect();
        let Ok(divisor) = i32::try_from(readers.len()) else { continue };
        if divisor == 0 {
            continue;
        }
        let (each, mut longer) = (count / divisor, count % divisor);
        let mut next = 0;
        for reader in readers {
            let take = if longer > 0 { each + 1 } else { each };
            longer -= 1;
            given[reader].extend((next..next + take).map(|index| (*topic, index)));
            next += take;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 16] = [1; 16];
    const B: [u8; 16] = [2; 16];

    fn wish(topics: &[[u8; 16]], has: &[Part]) -> Wish {
        Wish { topics: topics.iter().copied().collect(), has: has.iter().copied().collect() }
    }

    fn sizes(given: &[BTreeSet<Part>]) -> Vec<usize> {
        given.iter().map(BTreeSet::len).collect()
    }

    #[test]
    fn uniform_keeps_what_it_can_and_levels_the_rest() {
        let counts = BTreeMap::from([(A, 4)]);
        let alone = Assignor::Uniform.assign(&[wish(&[A], &[])], &counts);
        assert_eq!(sizes(&alone), [4]);
        let wishes = [wish(&[A], &[(A, 0), (A, 1), (A, 2), (A, 3)]), wish(&[A], &[])];
        let given = Assignor::Uniform.assign(&wishes, &counts);
        assert_eq!(sizes(&given), [2, 2]);
        assert!(given[0].is_subset(&wishes[0].has));
        let given = Assignor::Uniform.assign(&[wish(&[A], &[]), wish(&[B], &[(A, 0)])], &counts);
        assert_eq!(sizes(&given), [4, 0], "who does not read a topic gives it back");
    }

    #[test]
    fn every_partition_with_a_reader_is_given_once_whoever_has_what() {
        let mut random = 7u64;
        for round in 0..500u64 {
            let mut next = |bound: u64| {
                random = crate::state::mix(random ^ round);
                random % bound
            };
            let counts = BTreeMap::from([(A, i32::try_from(next(9)).unwrap()), (B, 3)]);
            let mut wishes = Vec::new();
            for _ in 0..=next(5) {
                let topics: &[[u8; 16]] = [&[A][..], &[B], &[A, B], &[]][usize::try_from(next(4)).unwrap()];
                let has: Vec<Part> = (0..next(4)).map(|_| (A, i32::try_from(next(12)).unwrap())).collect();
                wishes.push(wish(topics, &has));
            }
            for assignor in Assignor::ALL {
                let given = assignor.assign(&wishes, &counts);
                let mut seen = BTreeSet::new();
                for (own, wish) in given.iter().zip(&wishes) {
                    for part in own {
                        assert!(seen.insert(*part), "round {round}: {part:?} twice");
                        assert!(wish.topics.contains(&part.0) && part.1 < counts[&part.0], "round {round}");
                    }
                }
                let read =
                    counts.iter().filter(|(topic, _)| wishes.iter().any(|wish| wish.topics.contains(*topic)));
                let due: i32 = read.map(|(_, count)| *count).sum();
                assert_eq!(i32::try_from(seen.len()).unwrap(), due, "round {round} {assignor:?}");
            }
        }
    }

    #[test]
    fn range_gives_neighbours_to_the_same_member() {
        let counts = BTreeMap::from([(A, 5)]);
        let given = Assignor::Range.assign(&[wish(&[A], &[]), wish(&[A], &[])], &counts);
        assert_eq!(given[0], BTreeSet::from([(A, 0), (A, 1), (A, 2)]));
        assert_eq!(given[1], BTreeSet::from([(A, 3), (A, 4)]));
    }
}
