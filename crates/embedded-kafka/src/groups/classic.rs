//! A classic group: what its members ask, and what they are told.
//!
//! ```text
//! Empty ──join──▶ Preparing ──all joined, or time is up──▶ Completing ──the leader's sync──▶ Stable
//!   ▲                 ▲  │                                     │                               │
//!   └──no member left─┼──┘                                     │                               │
//!                     └──────join, leave, expiry───────────────┴───────────────────────────────┘
//! ```
//!
//! Each question comes with a [`Ticket`]; its reply goes to the outbox under that ticket, at once or when the
//! group has got there. The transitions themselves are in `rebalance.rs`.
//!
//! Source: Kafka's group coordinators, by version; held against 1.1, 2.8, 3.9 and 4.3.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use protocol::ErrorCode;

use crate::groups::member::Member;
use crate::groups::roster::{MEMBERS_MAX, Roster};
use crate::groups::{JoinReply, Reply, Rules, SyncReply, Ticket};
use crate::kept::Size;

/// How far a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

impl Phase {
    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

/// JoinGroup, as far as a group looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) version: i16,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i64,
    pub(crate) rebalance_timeout_ms: i64,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The id that a new member gets.
    pub(crate) fresh_id: String,
}

/// SyncGroup, as far as a group looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Syncing {
    pub(crate) generation: i32,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// Who says that it is a member, and of which generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) generation: i32,
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
}

/// The wait for members to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinWait {
    pub(crate) until_ms: i64,
    /// What may be added to the first wait of a group, while members keep coming.
    pub(crate) extension_ms: Option<i64>,
    pub(crate) delay_ms: i64,
}

/// A group whose members agree among themselves who gets what.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassicGroup {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    /// In the order in which they came.
    pub(crate) members: Roster<Member>,
    /// Ids that were given out and not used yet, and until when they may be.
    pub(super) pending: BTreeMap<String, i64>,
    /// Members that have not asked for their assignment yet.
    pub(super) unsynced: Vec<String>,
    pub(super) join_wait: Option<JoinWait>,
    pub(super) sync_until_ms: Option<i64>,
    pub(super) new_member_added: bool,
    pub(super) outbox: Vec<(Ticket, Reply)>,
}

impl ClassicGroup {
    /// What its members take, and the ids of those that are none yet.
    pub(crate) fn size(&self) -> Size {
        let pending = self.pending.keys().map(|id| Size::of(id.len())).sum::<Size>();
        pending + self.members.iter().map(Member::size).sum()
    }

    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.find(id)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.find_mut(id)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.position_of_instance(instance_id).map(|index| &self.members[index])
    }

    fn is_pending(&self, id: &str) -> bool {
        self.pending.contains_key(id)
    }

    /// Takes the replies that are due.
    pub(super) fn take_outbox(&mut self) -> Vec<(Ticket, Reply)> {
        std::mem::take(&mut self.outbox)
    }

    fn refuse_join(&mut self, ticket: Ticket, member_id: &str, code: ErrorCode) {
        let reply = JoinReply { code, member_id: member_id.to_owned(), ..JoinReply::default() };
        self.outbox.push((ticket, Reply::Join(reply)));
    }

    fn refuse_sync(&mut self, ticket: Ticket, code: ErrorCode) {
        self.outbox.push((ticket, Reply::Sync(SyncReply { code, ..SyncReply::default() })));
    }

    /// Whether a member that says this of itself fits in.
    fn fits(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        if self.protocol_type.as_deref() != Some(protocol_type) {
            return false;
        }
        let common = self.common_protocols();
        protocols.iter().any(|(name, _)| self.members.is_empty() || common.contains(name.as_str()))
    }

    /// The protocols that all members have.
    pub(super) fn common_protocols(&self) -> HashSet<&str> {
        let mut of_members = self.members.iter().map(Member::protocol_names);
        let first = of_members.next().unwrap_or_default();
        of_members.fold(first, |common, own| common.intersection(&own).copied().collect())
    }

    /// Whether who claims to be a member is one; of which generation is not looked at.
    pub(crate) fn check_member(&self, rules: &Rules, claim: Claim<'_>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = claim.instance_id {
            match self.static_member(instance_id) {
                Some(known) if known.id != claim.member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                None if rules.instance_must_be_known => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                _ => {}
            }
        }
        self.member(claim.member_id).map(|_| ()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    pub(crate) fn join(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, join: Joining) {
        let known = !join.member_id.is_empty();
        if !self.has_room_for(rules, &join.member_id) {
            self.pending.remove(&join.member_id);
            return self.refuse_join(ticket, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.fits(&join.protocol_type, &join.protocols) {
            return self.refuse_join(ticket, &join.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if known { self.rejoin(now_ms, rules, ticket, join) } else { self.enter(now_ms, rules, ticket, join) }
    }

    fn has_room_for(&self, rules: &Rules, member_id: &str) -> bool {
        let occupied = match self.phase {
            Phase::Empty => return true,
            Phase::Preparing => {
                let awaiting = self.members.iter().filter(|member| member.awaiting_join.is_some()).count();
                if self.member(member_id).is_some_and(|member| member.awaiting_join.is_some()) {
                    return true;
                }
                awaiting
            }
            Phase::Completing | Phase::Stable => {
                if self.member(member_id).is_some() {
                    return true;
                }
                self.members.len()
            }
        };
        occupied < rules.members_max
    }

    /// Somebody new.
    fn enter(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, join: Joining) {
        let replaced = join.instance_id.as_deref().and_then(|instance| self.static_member(instance));
        if let Some(old_id) = replaced.map(|member| member.id.clone()) {
            return self.replace_static(now_ms, rules, ticket, &old_id, join);
        }
        if join.instance_id.is_none() && join.version >= 4 && rules.requires_member_ids {
            if self.pending.len() >= MEMBERS_MAX {
                return self.refuse_join(ticket, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
            }
            let until_ms = now_ms.saturating_add(join.session_timeout_ms);
            self.pending.insert(join.fresh_id.clone(), until_ms);
            return self.refuse_join(ticket, &join.fresh_id, ErrorCode::MEMBER_ID_REQUIRED);
        }
        let id = join.fresh_id.clone();
        self.add_member(now_ms, rules, ticket, id, join);
    }

    /// Somebody who has an id.
    fn rejoin(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, join: Joining) {
        let id = join.member_id.clone();
        if self.is_pending(&id) && join.instance_id.is_none() {
            self.pending.remove(&id);
            return self.add_member(now_ms, rules, ticket, id, join);
        }
        let claim = Claim { generation: 0, member_id: &id, instance_id: join.instance_id.as_deref() };
        if let Err(code) = self.check_member(rules, claim) {
            return self.refuse_join(ticket, &id, code);
        }
        let unchanged = self.member(&id).is_some_and(|member| member.protocols == join.protocols);
        match self.phase {
            Phase::Empty => self.refuse_join(ticket, &id, ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::Completing if unchanged => {
                let reply = self.joined(&id, false);
                self.outbox.push((ticket, Reply::Join(reply)));
            }
            Phase::Stable if unchanged && !self.is_leader(&id) => {
                let reply = self.joined(&id, false);
                self.outbox.push((ticket, Reply::Join(reply)));
            }
            _ => {
                if let Some(member) = self.member_mut(&id) {
                    member.protocols = join.protocols;
                    member.rebalance_timeout_ms = join.rebalance_timeout_ms;
                    member.session_timeout_ms = join.session_timeout_ms;
                    member.awaiting_join = Some(ticket);
                }
                self.rebalance(now_ms, rules);
            }
        }
    }

    /// What a member is told that has joined.
    pub(super) fn joined(&self, id: &str, skip_assignment: bool) -> JoinReply {
        let protocol = self.protocol.as_deref();
        let told =
            |member: &Member| (member.id.clone(), member.instance_id.clone(), member.metadata(protocol));
        JoinReply {
            code: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            member_id: id.to_owned(),
            members: if self.is_leader(id) { self.members.iter().map(told).collect() } else { Vec::new() },
        }
    }

    fn add_member(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, id: String, join: Joining) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if self.phase == Phase::Preparing && self.join_wait.is_some_and(|wait| wait.extension_ms.is_some()) {
            self.new_member_added = true;
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.push(Member {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
            deadline_ms: rules.expires_new_members.then(|| now_ms.saturating_add(NEW_MEMBER_TIMEOUT_MS)),
        });
        self.rebalance(now_ms, rules);
    }

    /// A static member comes back under a new id; the old one is fenced. Nothing changes for the others as
    /// long as the protocol stays the same.
    fn replace_static(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, old_id: &str, join: Joining) {
        let fresh_id = join.fresh_id;
        let old_protocol = self.protocol.clone();
        let was_leader = self.is_leader(old_id);
        let Some(index) = self.members.position(old_id) else { return };
        let (join_before, sync_before) = self.members.change(index, |member| {
            member.id.clone_from(&fresh_id);
            member.protocols = join.protocols;
            member.session_timeout_ms = join.session_timeout_ms;
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.heard_of(now_ms);
            (member.awaiting_join.take(), member.awaiting_sync.take())
        });
        if was_leader {
            self.leader = Some(fresh_id.clone());
        }
        for unsynced in self.unsynced.iter_mut().filter(|unsynced| *unsynced == old_id) {
            unsynced.clone_from(&fresh_id);
        }
        if let Some(ticket) = join_before {
            self.refuse_join(ticket, old_id, ErrorCode::FENCED_INSTANCE_ID);
        }
        if let Some(ticket) = sync_before {
            self.refuse_sync(ticket, ErrorCode::FENCED_INSTANCE_ID);
        }
        if self.phase == Phase::Stable && self.choose_protocol() == old_protocol {
            // An old client that led may not be told so: it would assign anew, and nobody would listen.
            let can_skip = join.version >= 9 && rules.can_skip_assignment;
            let mut reply = self.joined(&fresh_id, was_leader && can_skip);
            if was_leader && !can_skip {
                reply.leader = old_id.to_owned();
                reply.members.clear();
            }
            self.outbox.push((ticket, Reply::Join(reply)));
            return;
        }
        if let Some(member) = self.member_mut(&fresh_id) {
            member.awaiting_join = Some(ticket);
        }
        self.rebalance(now_ms, rules);
    }

    pub(crate) fn sync(&mut self, now_ms: i64, rules: &Rules, ticket: Ticket, sync: &Syncing) {
        let claim = Claim {
            generation: sync.generation,
            member_id: &sync.member_id,
            instance_id: sync.instance_id.as_deref(),
        };
        if let Err(code) = self.check_sync(rules, claim, sync) {
            return self.refuse_sync(ticket, code);
        }
        self.unsynced.retain(|unsynced| *unsynced != sync.member_id);
        let leads = self.is_leader(&sync.member_id);
        let (stable, protocol_type, protocol) =
            (self.phase == Phase::Stable, self.protocol_type.clone(), self.protocol.clone());
        let Some(member) = self.member_mut(&sync.member_id) else { return };
        if stable {
            member.heard_of(now_ms);
            let assignment = member.assignment.clone();
            let reply = SyncReply { code: ErrorCode::NONE, protocol_type, protocol, assignment };
            return self.outbox.push((ticket, Reply::Sync(reply)));
        }
        member.awaiting_sync = Some(ticket);
        if leads {
            self.stabilize(now_ms, &sync.assignments);
        }
    }

    fn check_sync(&self, rules: &Rules, claim: Claim<'_>, sync: &Syncing) -> Result<(), ErrorCode> {
        self.check_member(rules, claim)?;
        let differs = |said: &Option<String>, have: &Option<String>| said.is_some() && said != have;
        if claim.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.phase {
            Phase::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::Preparing => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        now_ms: i64,
        rules: &Rules,
        claim: Claim<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_member(rules, claim)?;
        if claim.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let answer = match self.phase {
            Phase::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::Preparing => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            // The leader is about to say who gets what; there is nothing to join again for.
            Phase::Completing if rules.calm_while_completing => Ok(()),
            Phase::Completing => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Stable => Ok(()),
        };
        if let Some(member) = self.member_mut(claim.member_id) {
            member.heard_of(now_ms);
        }
        answer
    }

    /// One member leaves, by its id or, with an empty id, by its instance.
    pub(crate) fn leave(
        &mut self,
        now_ms: i64,
        rules: &Rules,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if member_id.is_empty() {
            let instance_id = instance_id.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            let known = self.static_member(instance_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            let id = known.id.clone();
            self.remove_member(now_ms, rules, &id);
            return Ok(());
        }
        if self.is_pending(member_id) {
            if instance_id.is_some() {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            }
            self.remove_pending(now_ms, rules, member_id);
            return Ok(());
        }
        self.check_member(rules, Claim { generation: 0, member_id, instance_id })?;
        self.remove_member(now_ms, rules, member_id);
        Ok(())
    }

    /// Whether offsets may be committed by who claims to be a member, or by one who does not.
    pub(crate) fn check_commit(
        &mut self,
        now_ms: i64,
        rules: &Rules,
        claim: Claim<'_>,
        in_transaction: bool,
    ) -> Result<(), ErrorCode> {
        if claim.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if claim.generation >= 0 || !claim.member_id.is_empty() || claim.instance_id.is_some() {
            self.check_member(rules, claim)?;
            if claim.generation != self.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if !in_transaction {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if in_transaction {
            return Ok(());
        }
        if self.phase == Phase::Completing {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if let Some(member) = self.member_mut(claim.member_id) {
            member.heard_of(now_ms);
        }
        Ok(())
    }

    /// Whether offsets may be committed within a transaction, whose producer need not be a member.
    pub(crate) fn check_txn_commit(&mut self, rules: &Rules, claim: Claim<'_>) -> Result<(), ErrorCode> {
        if !rules.checks_part_of_claims {
            return self.check_commit(0, rules, claim, true);
        }
        let known = claim.instance_id.and_then(|instance_id| self.static_member(instance_id));
        if known.is_some_and(|known| known.id != claim.member_id) {
            return Err(ErrorCode::FENCED_INSTANCE_ID);
        }
        if !claim.member_id.is_empty() && self.member(claim.member_id).is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let is_of_another = claim.generation >= 0 && claim.generation != self.generation;
        if is_of_another { Err(ErrorCode::ILLEGAL_GENERATION) } else { Ok(()) }
    }

    /// Whether its members read a topic, as far as they told.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        let protocol = self.protocol.as_deref();
        let reads = |member: &Member| subscribed(&member.metadata(protocol)).iter().any(|name| name == topic);
        self.protocol_type.as_deref() == Some("consumer") && self.members.iter().any(reads)
    }
}

/// A new member that has not been told its id must join within so long (KAFKA-7610, 2.2).
const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// The topics in a consumer's metadata; those before the first that cannot be read.
fn subscribed(mut metadata: &[u8]) -> Vec<String> {
    let mut topics = Vec::new();
    let mut read = || -> Option<()> {
        metadata.split_off(..2)?;
        let (count, rest) = metadata.split_first_chunk()?;
        metadata = rest;
        for _ in 0..i32::from_be_bytes(*count) {
            let (length, rest) = metadata.split_first_chunk()?;
            metadata = rest;
            let name = metadata.split_off(..usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
            topics.push(String::from_utf8_lossy(name).into_owned());
        }
        Some(())
    };
    let _ = read();
    topics
}
