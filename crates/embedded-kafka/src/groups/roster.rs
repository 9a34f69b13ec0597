//! Who is in a group: in the order in which they came, and found by name.

use std::collections::HashMap;
use std::ops::{Deref, Index, IndexMut};

/// Members of one group: more than any test has, and few enough to be looked through for each that comes or goes.
pub(crate) const MEMBERS_MAX: usize = 1000;

/// What members are known by.
pub(crate) trait Named {
    fn id(&self) -> &str;
    /// Of a static member (KIP-345).
    fn instance_id(&self) -> Option<&str>;
}

/// The members of a group. Names are changed by [`Roster::change`] only.
#[derive(Clone, Debug)]
pub(crate) struct Roster<M> {
    members: Vec<M>,
    by_id: HashMap<String, usize>,
    by_instance: HashMap<String, usize>,
}

impl<M> Default for Roster<M> {
    fn default() -> Roster<M> {
        Roster { members: Vec::new(), by_id: HashMap::new(), by_instance: HashMap::new() }
    }
}

impl<M: Named> Roster<M> {
    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn position_of_instance(&self, instance_id: &str) -> Option<usize> {
        self.by_instance.get(instance_id).copied()
    }

    pub(super) fn find(&self, id: &str) -> Option<&M> {
        self.position(id).map(|index| &self.members[index])
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut M> {
        self.position(id).map(|index| &mut self.members[index])
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, M> {
        self.members.iter_mut()
    }

    pub(super) fn push(&mut self, member: M) {
        self.members.push(member);
        self.note(self.members.len() - 1);
    }

    pub(super) fn remove(&mut self, index: usize) -> M {
        let gone = self.members.remove(index);
        self.note_all();
        gone
    }

    pub(super) fn retain(&mut self, stays: impl FnMut(&M) -> bool) {
        let before = self.members.len();
        self.members.retain(stays);
        if self.members.len() < before {
            self.note_all();
        }
    }

    /// Changes a member, its names too.
    pub(super) fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut M) -> T) -> T {
        let changed = change(&mut self.members[index]);
        self.note_all();
        changed
    }

    fn note(&mut self, index: usize) {
        let member = &self.members[index];
        self.by_id.entry(member.id().to_owned()).or_insert(index);
        if let Some(instance_id) = member.instance_id() {
            self.by_instance.entry(instance_id.to_owned()).or_insert(index);
        }
    }

    fn note_all(&mut self) {
        self.by_id.clear();
        self.by_instance.clear();
        (0..self.members.len()).for_each(|index| self.note(index));
    }
}

impl<M> Deref for Roster<M> {
    type Target = [M];

    fn deref(&self) -> &[M] {
        &self.members
    }
}

impl<M> Index<usize> for Roster<M> {
    type Output = M;

    fn index(&self, index: usize) -> &M {
        &self.members[index]
    }
}

impl<M> IndexMut<usize> for Roster<M> {
    fn index_mut(&mut self, index: usize) -> &mut M {
        &mut self.members[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Person(&'static str, Option<&'static str>);

    impl Named for Person {
        fn id(&self) -> &str {
            self.0
        }

        fn instance_id(&self) -> Option<&str> {
            self.1
        }
    }

    #[test]
    fn members_are_found_by_name_whoever_comes_goes_or_changes() {
        let mut roster = Roster::default();
        for person in [Person("ann", None), Person("ben", Some("b")), Person("cat", Some("c"))] {
            roster.push(person);
        }
        let found = |roster: &Roster<Person>| {
            (
                ["ann", "ben", "cat", "dan"].map(|id| roster.position(id)),
                ["b", "c"].map(|id| roster.position_of_instance(id)),
            )
        };
        assert_eq!(found(&roster), ([Some(0), Some(1), Some(2), None], [Some(1), Some(2)]));
        roster.remove(0);
        assert_eq!(found(&roster), ([None, Some(0), Some(1), None], [Some(0), Some(1)]));
        roster.change(0, |member| member.0 = "dan");
        assert_eq!(found(&roster), ([None, None, Some(1), Some(0)], [Some(0), Some(1)]));
        roster.retain(|member| member.0 == "cat");
        assert_eq!(found(&roster), ([None, None, Some(0), None], [None, Some(0)]));
        assert_eq!(roster.find("cat"), Some(&Person("cat", Some("c"))));
    }
}
