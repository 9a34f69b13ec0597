//! A group whose members the broker assigns (KIP-848): a heartbeat is all they send.
//!
//! The group has an epoch that grows with every change of members, subscriptions or partitions; for each
//! there is a target. A member goes from its own epoch to the target's by giving back first what it has too
//! much, and gets what others have given back. What a member has is nobody else's until it says that it has
//! given it up, leaves, or is silent for too long.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;

use crate::groups::assign::{Assignor, Part, Wish};
use crate::groups::roster::{MEMBERS_MAX, Named, Roster};
use crate::kept::{ENTRY_BYTES, Size};

/// The epochs that mean something else.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
const LEAVING_FOR_A_WHILE: i32 = -2;

/// A topic's id and how many partitions it has.
pub(crate) type TopicSize = ([u8; 16], i32);

/// ConsumerGroupHeartbeat, as far as a group looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) rebalance_timeout_ms: i64,
    pub(crate) topics: Option<BTreeSet<String>>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) owned: Option<BTreeSet<Part>>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
}

/// What a heartbeat is answered; the assignment only if there is something new about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beaten {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    pub(crate) assignment: Option<BTreeSet<Part>>,
}

/// How far a member is on its way to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Arrived,
    /// It has partitions that it must give back.
    GivingBack,
    /// It waits for partitions that others have.
    Waiting,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerMember {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) epoch: i32,
    pub(crate) assigned: BTreeSet<Part>,
    pub(crate) target: BTreeSet<Part>,
    assignor: Option<Assignor>,
    rebalance_timeout_ms: i64,
    previous_epoch: i32,
    giving_back: BTreeSet<Part>,
    way: Way,
    session_until_ms: i64,
    give_back_until_ms: Option<i64>,
}

impl Named for ConsumerMember {
    fn id(&self) -> &str {
        &self.id
    }

    fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }
}

impl ConsumerMember {
    /// What it takes.
    pub(crate) fn size(&self) -> Size {
        let named = [&self.instance_id, &self.rack_id].into_iter().flatten().map(String::len).sum::<usize>();
        let topics = self.topics.iter().map(|name| ENTRY_BYTES + name.len()).sum::<usize>();
        Size::of(self.id.len() + self.client_id.len() + named + topics)
    }
}

/// A group whose members the broker assigns.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    pub(crate) assignment_epoch: i32,
    /// In the order in which they came.
    pub(crate) members: Roster<ConsumerMember>,
    /// The topics that members want to read.
    read: BTreeSet<String>,
    /// Those of them that there are, as they were when the epoch last grew.
    sizes: BTreeMap<String, TopicSize>,
    assigned_ms: i64,
}

impl Default for ConsumerGroup {
    fn default() -> ConsumerGroup {
        // The first change is the second epoch.
        ConsumerGroup {
            epoch: 1,
            assignment_epoch: 0,
            members: Roster::default(),
            read: BTreeSet::new(),
            sizes: BTreeMap::new(),
            assigned_ms: 0,
        }
    }
}

/// How long things take in groups that the broker assigns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) session_timeout_ms: i64,
    /// Between one assignment and the next (KIP-1263, 4.3).
    pub(crate) assignment_interval_ms: i64,
}

/// Why a heartbeat is refused: the code, and Kafka's words.
type Refused = (ErrorCode, &'static str);

const UNKNOWN: Refused = (ErrorCode::UNKNOWN_MEMBER_ID, "The member is not a member of the group.");
const FENCED: Refused = (
    ErrorCode::FENCED_MEMBER_EPOCH,
    "The consumer group member has another member epoch than the one known by the group coordinator. The \
     member must abandon all its partitions and rejoin.",
);
const FENCED_INSTANCE: Refused =
    (ErrorCode::FENCED_INSTANCE_ID, "The static member was already replaced by another member.");
const FULL: Refused =
    (ErrorCode::GROUP_MAX_SIZE_REACHED, "The consumer group has reached its maximum capacity.");
const UNRELEASED: Refused =
    (ErrorCode::UNRELEASED_INSTANCE_ID, "The instance id is still used by another member.");

impl ConsumerGroup {
    pub(crate) fn member(&self, id: &str) -> Option<&ConsumerMember> {
        self.members.find(id)
    }

    fn instance(&self, instance_id: &str) -> Option<usize> {
        self.members.position_of_instance(instance_id)
    }

    /// Kafka's name of how far it is.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.iter().any(|member| !member.is_at(self.assignment_epoch)) {
            "Reconciling"
        } else {
            "Stable"
        }
    }

    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.read.contains(topic)
    }

    /// The assignor that most members ask for; the first of the broker's where none does.
    pub(crate) fn assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            self.members.iter().filter(|member| member.assignor == Some(assignor)).count()
        };
        let [first, second] = Assignor::ALL;
        if votes(second) > votes(first) { second } else { first }
    }

    /// A heartbeat of whoever it is. `size` tells of a topic that exists.
    pub(crate) fn beat(
        &mut self,
        now_ms: i64,
        pace: Pace,
        beat: &Beat,
        size: impl Fn(&str) -> Option<TopicSize>,
    ) -> Result<Beaten, Refused> {
        if beat.epoch == LEAVING || beat.epoch == LEAVING_FOR_A_WHILE {
            return self.leave(beat, size);
        }
        let index = self.find(beat)?;
        let full = beat.epoch == JOINING
            || (beat.rebalance_timeout_ms >= 0 && beat.topics.is_some() && beat.owned.is_some());
        let member = &mut self.members[index];
        let before = member.assigned.clone();
        let changed = member.update(beat);
        member.session_until_ms = now_ms.saturating_add(pace.session_timeout_ms);
        if beat.instance_id.is_some() && member.instance_id.is_none() {
            self.members.change(index, |member| member.instance_id.clone_from(&beat.instance_id));
        }
        self.refresh(changed, size);
        self.retarget(now_ms, pace);
        self.reconcile(now_ms, index, beat.owned.as_ref());
        let member = &self.members[index];
        let tell = full || member.assigned != before;
        let assignment = tell.then(|| member.assigned.clone());
        Ok(Beaten { member_id: member.id.clone(), epoch: member.epoch, assignment })
    }

    /// The member that a heartbeat is of; the new one, if it joins.
    fn find(&mut self, beat: &Beat) -> Result<usize, Refused> {
        let joins = beat.epoch == JOINING;
        let by_id = self.members.position(&beat.member_id);
        let Some(instance_id) = beat.instance_id.as_deref() else {
            return match by_id {
                Some(index) => self.members[index].check_epoch(beat).map(|()| index),
                None if joins => self.add(beat),
                None => Err(UNKNOWN),
            };
        };
        match self.instance(instance_id) {
            None if joins => by_id.map_or_else(|| self.add(beat), Ok),
            None => Err(UNKNOWN),
            Some(index) if self.members[index].id == beat.member_id && !joins => {
                self.members[index].check_epoch(beat).map(|()| index)
            }
            Some(_) if !joins => Err(FENCED_INSTANCE),
            Some(index) if self.members[index].id == beat.member_id => Ok(index),
            Some(index) if self.members[index].epoch != LEAVING_FOR_A_WHILE => Err(UNRELEASED),
            // It has said that it would be back, and takes its place again: no epoch for that.
            Some(index) => {
                self.members.change(index, |member| {
                    member.id.clone_from(&beat.member_id);
                    (member.epoch, member.previous_epoch) = (JOINING, JOINING);
                    member.way = Way::Arrived;
                });
                Ok(index)
            }
        }
    }

    fn add(&mut self, beat: &Beat) -> Result<usize, Refused> {
        if self.members.len() >= MEMBERS_MAX {
            return Err(FULL);
        }
        self.members.push(ConsumerMember {
            id: beat.member_id.clone(),
            instance_id: beat.instance_id.clone(),
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            epoch: JOINING,
            assigned: BTreeSet::new(),
            target: BTreeSet::new(),
            assignor: None,
            rebalance_timeout_ms: 0,
            previous_epoch: JOINING,
            giving_back: BTreeSet::new(),
            way: Way::Arrived,
            session_until_ms: 0,
            give_back_until_ms: None,
        });
        Ok(self.members.len() - 1)
    }

    fn leave(&mut self, beat: &Beat, size: impl Fn(&str) -> Option<TopicSize>) -> Result<Beaten, Refused> {
        let index = match beat.instance_id.as_deref() {
            None => self.members.position(&beat.member_id).ok_or(UNKNOWN)?,
            Some(instance_id) => {
                let index = self.instance(instance_id).ok_or(UNKNOWN)?;
                if self.members[index].id != beat.member_id {
                    return Err(FENCED_INSTANCE);
                }
                index
            }
        };
        if beat.epoch == LEAVING_FOR_A_WHILE {
            let member = &mut self.members[index];
            member.epoch = LEAVING_FOR_A_WHILE;
            member.giving_back.clear();
            member.give_back_until_ms = None;
        } else {
            self.members.remove(index);
            self.refresh(true, size);
        }
        Ok(Beaten { member_id: beat.member_id.clone(), epoch: beat.epoch, assignment: None })
    }

    /// A new epoch, if something has changed: a member, or the topics that are read.
    fn refresh(&mut self, changed: bool, size: impl Fn(&str) -> Option<TopicSize>) {
        if changed {
            self.read = self.members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        }
        let found = self.read.iter().filter_map(|name| Some((name.clone(), size(name)?)));
        let sizes: BTreeMap<String, TopicSize> = found.collect();
        if changed || sizes != self.sizes {
            self.epoch = self.epoch.saturating_add(1);
            self.sizes = sizes;
        }
    }

    /// The target of this epoch.
    fn retarget(&mut self, now_ms: i64, pace: Pace) {
        let waits = now_ms < self.assigned_ms.saturating_add(pace.assignment_interval_ms);
        if self.epoch <= self.assignment_epoch || waits {
            return;
        }
        (self.assignment_epoch, self.assigned_ms) = (self.epoch, now_ms);
        let ids = |member: &ConsumerMember| {
            member.topics.iter().filter_map(|name| self.sizes.get(name)).map(|(id, _)| *id).collect()
        };
        let wishes: Vec<Wish> = self
            .members
            .iter()
            .map(|member| Wish { topics: ids(member), has: member.target.clone() })
            .collect();
        let counts = self.sizes.values().copied().collect();
        let given = self.assignor().assign(&wishes, &counts);
        for (member, target) in self.members.iter_mut().zip(given) {
            member.target = target;
        }
    }

    /// Moves a member towards its target, as far as what it owns and what others have allow.
    fn reconcile(&mut self, now_ms: i64, index: usize, owned: Option<&BTreeSet<Part>>) {
        let assignment_epoch = self.assignment_epoch;
        let member = &self.members[index];
        let from_epoch = match member.way {
            Way::Arrived if member.epoch == assignment_epoch => return,
            Way::GivingBack if still_owns(owned, &member.giving_back) => return,
            Way::GivingBack => member.epoch.saturating_add(1),
            Way::Arrived | Way::Waiting => member.epoch,
        };
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != index);
        let held: BTreeSet<Part> =
            others.flat_map(|(_, other)| other.assigned.iter().chain(&other.giving_back)).copied().collect();
        let member = &mut self.members[index];
        let keeps: BTreeSet<Part> = member.assigned.intersection(&member.target).copied().collect();
        let gives_back: BTreeSet<Part> = member.assigned.difference(&keeps).copied().collect();
        let (free, taken): (BTreeSet<Part>, BTreeSet<Part>) =
            member.target.difference(&keeps).partition(|part| !held.contains(part));
        let epoch_before = member.epoch;
        if !gives_back.is_empty() && still_owns(owned, &gives_back) {
            member.way = Way::GivingBack;
            member.epoch = from_epoch;
            member.assigned = keeps;
            member.giving_back = gives_back;
            member.give_back_until_ms = Some(now_ms.saturating_add(member.rebalance_timeout_ms));
        } else {
            member.way = if taken.is_empty() { Way::Arrived } else { Way::Waiting };
            member.epoch = assignment_epoch;
            member.assigned = keeps.union(&free).copied().collect();
            member.giving_back.clear();
            member.give_back_until_ms = None;
        }
        if member.epoch != epoch_before {
            member.previous_epoch = epoch_before;
        }
    }

    /// When time next throws somebody out.
    pub(super) fn next_deadline_ms(&self) -> Option<i64> {
        self.members.iter().map(ConsumerMember::deadline_ms).min()
    }

    /// Throws out who has been silent, or has not given back what it must, for too long.
    pub(super) fn tick(&mut self, now_ms: i64, size: impl Fn(&str) -> Option<TopicSize>) {
        let before = self.members.len();
        self.members.retain(|member| member.deadline_ms() > now_ms);
        if self.members.len() < before {
            self.refresh(true, size);
        }
    }

    /// Whether offsets may be committed: by a member in its present epoch, or by anybody if there is none.
    pub(crate) fn check_commit(
        &self,
        version: i16,
        member_id: &str,
        epoch: i32,
        in_transaction: bool,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        // Versions before cannot say that the epoch is stale.
        if !in_transaction && version < 9 {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::STALE_MEMBER_EPOCH) }
    }

    /// Whether offsets may be fetched by who says that it is a member.
    pub(crate) fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = self.member(member_id.unwrap_or_default()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::STALE_MEMBER_EPOCH) }
    }
}

/// Whether a member that says what it owns, or does not, may still read some of these.
fn still_owns(owned: Option<&BTreeSet<Part>>, parts: &BTreeSet<Part>) -> bool {
    owned.is_none_or(|owned| !owned.is_disjoint(parts))
}

impl ConsumerMember {
    fn is_at(&self, assignment_epoch: i32) -> bool {
        self.way == Way::Arrived && self.epoch == assignment_epoch
    }

    fn deadline_ms(&self) -> i64 {
        self.give_back_until_ms.map_or(self.session_until_ms, |until_ms| until_ms.min(self.session_until_ms))
    }

    /// What it has, and what it has not given back yet.
    pub(crate) fn has(&self) -> BTreeSet<Part> {
        self.assigned.union(&self.giving_back).copied().collect()
    }

    /// A heartbeat's epoch must be the member's. The one before is taken from who has not heard of the new
    /// one, which owning no more than it may shows.
    fn check_epoch(&self, beat: &Beat) -> Result<(), Refused> {
        let owns_no_more = beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&self.assigned));
        let heard_late = beat.epoch == self.previous_epoch && owns_no_more;
        if beat.epoch == self.epoch || (beat.epoch < self.epoch && heard_late) || beat.epoch == JOINING {
            return Ok(());
        }
        Err(FENCED)
    }

    /// Takes over what a heartbeat says; whether that changes who reads what.
    fn update(&mut self, beat: &Beat) -> bool {
        let mut changed = false;
        if let Some(topics) = beat.topics.as_ref().filter(|topics| **topics != self.topics) {
            self.topics.clone_from(topics);
            changed = true;
        }
        if beat.assignor.is_some() && beat.assignor != self.assignor {
            // Others are not told for that alone; the next assignment is made by it.
            self.assignor = beat.assignor;
        }
        if beat.rack_id.is_some() && beat.rack_id != self.rack_id {
            self.rack_id.clone_from(&beat.rack_id);
            changed = true;
        }

        if beat.rebalance_timeout_ms >= 0 {
            self.rebalance_timeout_ms = beat.rebalance_timeout_ms;
        }
        self.client_id.clone_from(&beat.client_id);
        self.client_host.clone_from(&beat.client_host);
        changed
    }
}
