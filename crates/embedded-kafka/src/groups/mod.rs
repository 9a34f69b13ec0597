//! The group coordinator: who is in a group, who reads what, and how far they are.
//!
//! No I/O and no clock: each question comes with `now`, [`Groups::tick`] does what time asks for, and
//! [`Groups::next_look_ms`] says when it will. A question that may have to wait has a [`Ticket`], under
//! which its reply leaves when there is one.

mod assign;
mod classic;
mod consumer;
mod member;
mod offsets;
mod rebalance;
mod roster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::TopicPartition;
use protocol::ErrorCode;
use tokio::sync::{Notify, oneshot};

use crate::kept::Size;
use crate::profile::Profile;
use crate::state::mix;
use roster::MEMBERS_MAX;

pub(crate) use assign::{Assignor, Part};
pub(crate) use classic::{Claim, ClassicGroup, Joining, Phase, Syncing};
pub(crate) use consumer::{Beat, Beaten, ConsumerGroup, ConsumerMember, Pace, TopicSize};
pub(crate) use member::Member;
pub(crate) use offsets::Committed;

/// Names a question that may have to wait.
pub(crate) type Ticket = u64;

/// The answer to a question that may have had to wait.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
}

/// The answer to JoinGroup.
#[derive(Clone, Debug)]
pub(crate) struct JoinReply {
    pub(crate) code: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Id, instance and metadata of every member, for the leader.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl Default for JoinReply {
    fn default() -> JoinReply {
        JoinReply {
            code: ErrorCode::NONE,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: String::new(),
            members: Vec::new(),
        }
    }
}

/// The answer to SyncGroup.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncReply {
    pub(crate) code: ErrorCode,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// What the version and the settings of the brokers say about groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) initial_delay_ms: i64,
    pub(crate) session_timeout_ms: (i64, i64),
    pub(crate) members_max: usize,
    /// A new member must come again with the id it was given (KIP-394, 2.2).
    pub(crate) requires_member_ids: bool,
    /// A new member that waits too long is forgotten (KAFKA-7610, 2.2).
    pub(crate) expires_new_members: bool,
    /// A member that does not ask for its assignment is forgotten (KAFKA-13435, 3.2).
    pub(crate) expires_unsynced: bool,
    /// A heartbeat while the leader thinks is answered calmly (KAFKA-9752, 2.6).
    pub(crate) calm_while_completing: bool,
    /// Who names an instance that nobody has is refused; before, only one that somebody else has was looked at.
    pub(crate) instance_must_be_known: bool,
    /// The coordinator of 4.x (KIP-848). The older one drops what was assigned as soon as somebody joins, and
    /// groups that have neither members nor offsets left.
    pub(crate) is_new_coordinator: bool,
    /// A static leader that comes back may be told not to assign (KIP-814, 3.2).
    pub(crate) can_skip_assignment: bool,
    /// Of who commits within a transaction each thing that it claims is looked at by itself; since then a claim is one of
    /// a member and its generation. Measured: 2.8 does, 3.9 does not.
    pub(crate) checks_part_of_claims: bool,
}

impl Rules {
    pub(crate) fn new(profile: Profile, number: impl Fn(&str) -> i64) -> Rules {
        let newer = profile >= Profile::V2_8;
        Rules {
            initial_delay_ms: number("group.initial.rebalance.delay.ms"),
            session_timeout_ms: (
                number("group.min.session.timeout.ms"),
                number("group.max.session.timeout.ms"),
            ),
            // 1.1 has no such setting.
            members_max: match usize::try_from(number("group.max.size")) {
                Ok(0) | Err(_) => MEMBERS_MAX,
                Ok(most) => most.min(MEMBERS_MAX),
            },
            requires_member_ids: newer,
            expires_new_members: newer,
            expires_unsynced: profile >= Profile::V3_9,
            calm_while_completing: newer,
            instance_must_be_known: profile >= Profile::V3_9,
            is_new_coordinator: profile >= Profile::V4_3,
            can_skip_assignment: profile >= Profile::V3_9,
            checks_part_of_claims: profile <= Profile::V2_8,
        }
    }
}

/// How a group's members agree.
#[derive(Clone, Debug)]
pub(crate) enum Members {
    /// Among themselves, or there are none.
    Classic(ClassicGroup),
    /// The broker decides (KIP-848).
    Consumer(ConsumerGroup),
}

impl Default for Members {
    fn default() -> Members {
        Members::Classic(ClassicGroup::default())
    }
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: Members,
    pub(crate) offsets: BTreeMap<TopicPartition, Committed>,
    /// When it is looked at again: never after its next deadline.
    look_ms: Option<i64>,
}

impl Group {
    /// Nobody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.members {
            Members::Classic(group) => group.phase == Phase::Empty,
            Members::Consumer(group) => group.members.is_empty(),
        }
    }

    /// Kafka's name of how far it is.
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.members {
            Members::Classic(group) => group.phase.name(),
            Members::Consumer(group) => group.state_name(),
        }
    }

    /// Kafka's name of its kind.
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.members {
            Members::Classic(_) => "classic",
            Members::Consumer(_) => "consumer",
        }
    }

    /// Whether its members read a topic, as far as they told.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.members {
            Members::Classic(group) => group.is_subscribed(topic),
            Members::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// What its members are.
    pub(crate) fn protocol_type(&self) -> String {
        match &self.members {
            Members::Classic(group) => group.protocol_type.clone().unwrap_or_default(),
            Members::Consumer(_) => "consumer".to_owned(),
        }
    }

    fn size(&self) -> Size {
        let members: Size = match &self.members {
            Members::Classic(group) => group.size(),
            Members::Consumer(group) => group.members.iter().map(ConsumerMember::size).sum(),
        };
        members + self.offsets.iter().map(|(at, offset)| offset.size(0, at)).sum()
    }

    fn next_deadline_ms(&self, rules: &Rules) -> Option<i64> {
        match &self.members {
            Members::Classic(group) => group.next_deadline_ms(rules),
            Members::Consumer(group) => group.next_deadline_ms(),
        }
    }
}

/// All groups of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_id: BTreeMap<String, Group>,
    /// Those that are to be looked at again, by when.
    looks: BTreeSet<(i64, String)>,
    pending: offsets::Pending,
    waiting: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    last_ticket: Ticket,
    ids_given: u64,
    /// Told when there is something to wait for that was not there before.
    changed: Arc<Notify>,
    /// Something may have gone since it was last counted what there is.
    may_be_less: bool,
}

impl Groups {
    pub(crate) fn get(&self, group: &str) -> Option<&Group> {
        self.by_id.get(group)
    }

    pub(crate) fn exists(&self, group: &str) -> bool {
        self.by_id.contains_key(group)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.by_id.iter()
    }

    pub(crate) fn delete(&mut self, group: &str) {
        if let Some(look_ms) = self.by_id.remove(group).and_then(|group| group.look_ms) {
            self.looks.remove(&(look_ms, group.to_owned()));
        }
        self.may_be_less = true;
    }

    /// What a group itself takes more than it does, which is nothing where there is one.
    fn group_size(&self, group: &str) -> Size {
        if self.exists(group) { Size::default() } else { Size::of(group.len()) }
    }

    /// What a member takes more than it does, with its group, if it is to take `size`.
    pub(crate) fn member_size(&self, group: &str, member_id: &str, size: Size) -> Size {
        let before = self.by_id.get(group).and_then(|found| match &found.members {
            Members::Classic(found) => found.member(member_id).map(Member::size),
            Members::Consumer(found) => found.member(member_id).map(ConsumerMember::size),
        });
        self.group_size(group) + size.instead_of(before)
    }

    /// Something may have gone that is counted together with groups.
    pub(crate) fn note_less(&mut self) {
        self.may_be_less = true;
    }

    /// All groups with what is in them, if it may be less than when it was asked last.
    pub(crate) fn recount(&mut self) -> Option<Size> {
        std::mem::take(&mut self.may_be_less).then(|| {
            let groups: Size = self.by_id.iter().map(|(id, group)| Size::of(id.len()) + group.size()).sum();
            groups + self.pending.size()
        })
    }

    /// The classic group with this id, if there is one.
    pub(crate) fn classic(&mut self, group: &str) -> Option<&mut ClassicGroup> {
        match &mut self.by_id.get_mut(group)?.members {
            Members::Classic(found) => Some(found),
            Members::Consumer(_) => None,
        }
    }

    /// The group with this id that the broker assigns, if there is one.
    pub(crate) fn consumer(&mut self, group: &str) -> Option<&mut ConsumerGroup> {
        match &mut self.by_id.get_mut(group)?.members {
            Members::Classic(_) => None,
            Members::Consumer(found) => Some(found),
        }
    }

    /// The same, to look at.
    pub(crate) fn get_consumer(&self, group: &str) -> Option<&ConsumerGroup> {
        match &self.by_id.get(group)?.members {
            Members::Classic(_) => None,
            Members::Consumer(found) => Some(found),
        }
    }

    /// The one with this id, made if there is no group with members of that id; what it has committed stays.
    pub(crate) fn consumer_or_new(&mut self, group: &str) -> Option<&mut ConsumerGroup> {
        let found = self.by_id.entry(group.to_owned()).or_default();
        if found.is_empty() && found.type_name() == "classic" {
            found.members = Members::Consumer(ConsumerGroup::default());
        }
        match &mut found.members {
            Members::Classic(_) => None,
            Members::Consumer(found) => Some(found),
        }
    }

    /// An id for a new member: the client's, and something that nobody else has.
    pub(crate) fn fresh_member_id(&mut self, prefix: &str) -> String {
        self.ids_given += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&mix(self.ids_given).to_be_bytes());
        id[8..].copy_from_slice(&mix(self.ids_given.rotate_left(32)).to_be_bytes());
        format!("{prefix}-{}", model::TopicId(id))
    }

    /// A new question that may have to wait: its ticket, and where its reply comes.
    pub(crate) fn open(&mut self) -> (Ticket, oneshot::Receiver<Reply>) {
        self.last_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(self.last_ticket, sender);
        (self.last_ticket, receiver)
    }

    /// JoinGroup. A group that is asked for by somebody new is created.
    pub(crate) fn join(&mut self, now_ms: i64, rules: &Rules, group: &str, ticket: Ticket, join: Joining) {
        if !self.exists(group) && !join.member_id.is_empty() {
            let code = ErrorCode::UNKNOWN_MEMBER_ID;
            let reply = JoinReply { code, member_id: join.member_id, ..JoinReply::default() };
            return self.deliver(ticket, Reply::Join(reply));
        }
        let found = self.by_id.entry(group.to_owned()).or_default();
        if found.is_empty() && found.type_name() == "consumer" {
            found.members = Members::default();
        }
        let Members::Classic(found) = &mut found.members else {
            let code = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
            let reply = JoinReply { code, member_id: join.member_id, ..JoinReply::default() };
            return self.deliver(ticket, Reply::Join(reply));
        };
        found.join(now_ms, rules, ticket, join);
        self.settle(rules, group);
    }

    /// SyncGroup.
    pub(crate) fn sync(&mut self, now_ms: i64, rules: &Rules, group: &str, ticket: Ticket, sync: &Syncing) {
        let Some(found) = self.classic(group) else {
            let reply = SyncReply { code: ErrorCode::UNKNOWN_MEMBER_ID, ..SyncReply::default() };
            return self.deliver(ticket, Reply::Sync(reply));
        };
        found.sync(now_ms, rules, ticket, sync);
        self.settle(rules, group);
    }

    fn deliver(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            // Who has gone needs no reply.
            let _ = waiting.send(reply);
        }
    }

    /// Sends the replies of a group that has changed, and has its deadlines looked at again.
    pub(crate) fn settle(&mut self, rules: &Rules, group: &str) {
        let replies = self.classic(group).map(ClassicGroup::take_outbox);
        for (ticket, reply) in replies.unwrap_or_default() {
            self.deliver(ticket, reply);
        }
        self.waiting.retain(|_, waiting| !waiting.is_closed());
        self.look_again(rules, group);
        self.may_be_less = true;
        self.changed.notify_one();
    }

    /// Has a group looked at again at its next deadline. Who is heard of puts that off, which shows when it is looked at.
    fn look_again(&mut self, rules: &Rules, id: &str) {
        let Some(group) = self.by_id.get_mut(id) else { return };
        let next_ms = group.next_deadline_ms(rules);
        let before_ms = std::mem::replace(&mut group.look_ms, next_ms);
        if next_ms == before_ms {
            return;
        }
        if let Some(before_ms) = before_ms {
            self.looks.remove(&(before_ms, id.to_owned()));
        }
        self.looks.extend(next_ms.map(|next_ms| (next_ms, id.to_owned())));
    }

    /// No deadline comes before.
    pub(crate) fn next_look_ms(&self) -> Option<i64> {
        self.looks.first().map(|(look_ms, _)| *look_ms)
    }

    /// Does what is due by now; `size` tells of a topic that exists.
    pub(crate) fn tick(&mut self, now_ms: i64, rules: &Rules, size: impl Fn(&str) -> Option<TopicSize>) {
        let mut due = Vec::new();
        while self.next_look_ms().is_some_and(|look_ms| look_ms <= now_ms) {
            due.extend(self.looks.pop_first());
        }
        for (_, id) in due {
            let Some(group) = self.by_id.get_mut(&id) else { continue };
            group.look_ms = None;
            if group.next_deadline_ms(rules).is_none_or(|at| at > now_ms) {
                self.look_again(rules, &id);
                continue;
            }
            match &mut group.members {
                Members::Classic(group) => group.tick(now_ms, rules),
                Members::Consumer(group) => group.tick(now_ms, &size),
            }
            self.settle(rules, &id);
        }
    }

    /// Told when deadlines have changed.
    pub(crate) fn changes(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

#[cfg(test)]
mod tests;
