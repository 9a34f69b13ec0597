//! How a classic group gets from one generation to the next, and what time does to it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use protocol::ErrorCode;

use crate::groups::classic::{ClassicGroup, JoinWait, Phase};
use crate::groups::{JoinReply, Reply, Rules, SyncReply};

/// Where only static members are left, they are waited for again and again; not more often than this, however short
/// a time they ask for.
const STATIC_PAUSE_MS: i64 = 100;

impl ClassicGroup {
    /// Somebody has come, gone or changed: everybody must join again, or does so already.
    pub(super) fn rebalance(&mut self, now_ms: i64, rules: &Rules) {
        if self.phase == Phase::Preparing {
            self.complete_if_all_joined(now_ms, rules);
            return;
        }
        if self.phase == Phase::Completing {
            self.drop_assignments();
        }
        self.unsynced.clear();
        self.sync_until_ms = None;
        let first = self.phase == Phase::Empty;
        self.phase = Phase::Preparing;
        if first {
            // More members are likely to come.
            let delay_ms = rules.initial_delay_ms;
            self.new_member_added = false;
            self.join_wait = Some(JoinWait {
                until_ms: now_ms.saturating_add(delay_ms),
                extension_ms: Some(self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0)),
                delay_ms,
            });
        } else {
            self.wait_for_joins(now_ms);
            self.complete_if_all_joined(now_ms, rules);
        }
    }

    fn wait_for_joins(&mut self, now_ms: i64) {
        let until_ms = now_ms.saturating_add(self.rebalance_timeout_ms().max(0));
        self.join_wait = Some(JoinWait { until_ms, extension_ms: None, delay_ms: 0 });
    }

    /// The longest that any member asks for.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.iter().map(|member| member.rebalance_timeout_ms).max().unwrap_or_default()
    }

    fn complete_if_all_joined(&mut self, now_ms: i64, rules: &Rules) {
        let all = self.pending.is_empty() && self.members.iter().all(|member| member.awaiting_join.is_some());
        let initial = self.join_wait.is_some_and(|wait| wait.extension_ms.is_some());
        if all && !initial {
            self.complete_join(now_ms, rules);
        }
    }

    /// The next generation: whoever has joined. Static members may be late.
    fn complete_join(&mut self, now_ms: i64, rules: &Rules) {
        self.join_wait = None;
        self.members.retain(|member| member.awaiting_join.is_some() || member.is_static());
        let leads = |id: &str| self.member(id).is_some_and(|member| member.awaiting_join.is_some());
        if !self.leader.as_deref().is_some_and(leads) {
            let joined = self.members.iter().find(|member| member.awaiting_join.is_some());
            self.leader = joined.map(|member| member.id.clone());
            if self.leader.is_none() && !self.members.is_empty() {
                // Only static members are left and none has come: their sessions decide.
                self.wait_for_joins(now_ms.saturating_add(STATIC_PAUSE_MS));
                return;
            }
        }
        self.generation = self.generation.wrapping_add(1);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol = None;
            return;
        }
        self.phase = Phase::Completing;
        self.protocol = self.choose_protocol();
        for index in 0..self.members.len() {
            let id = self.members[index].id.clone();
            let reply = self.joined(&id, false);
            let member = &mut self.members[index];
            member.is_new = false;
            member.heard_of(now_ms);
            if let Some(ticket) = member.awaiting_join.take() {
                self.outbox.push((ticket, Reply::Join(reply)));
            }
            self.unsynced.push(id);
        }
        if rules.expires_unsynced {
            self.sync_until_ms = Some(now_ms.saturating_add(self.rebalance_timeout_ms()));
        }
    }

    /// The protocol that all members have and most like best; the first such of the leader's.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let common = self.common_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.iter() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common.contains(name.as_str()))
            {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max()?;
        votes.iter().find(|(_, count)| *count == most).map(|(name, _)| (*name).to_owned())
    }

    /// The leader has spoken: everybody who waits for it is told, and the group is at rest.
    pub(super) fn stabilize(&mut self, now_ms: i64, assignments: &[(String, Bytes)]) {
        self.phase = Phase::Stable;
        // Of several for one the last counts.
        let own: HashMap<&str, &Bytes> = assignments.iter().map(|(id, own)| (id.as_str(), own)).collect();
        for member in self.members.iter_mut() {
            member.assignment = own.get(member.id.as_str()).map(|own| (*own).clone()).unwrap_or_default();
            member.heard_of(now_ms);
            if let Some(ticket) = member.awaiting_sync.take() {
                let reply = SyncReply {
                    code: ErrorCode::NONE,
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                self.outbox.push((ticket, Reply::Sync(reply)));
            }
        }
    }

    /// Whoever waits for an assignment has to join again.
    fn drop_assignments(&mut self) {
        for member in self.members.iter_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                let reply = SyncReply { code: ErrorCode::REBALANCE_IN_PROGRESS, ..SyncReply::default() };
                self.outbox.push((ticket, Reply::Sync(reply)));
            }
        }
    }

    pub(super) fn remove_member(&mut self, now_ms: i64, rules: &Rules, id: &str) {
        let Some(index) = self.members.position(id) else { return };
        let member = self.members.remove(index);
        if let Some(ticket) = member.awaiting_join {
            let reply = JoinReply { code: ErrorCode::UNKNOWN_MEMBER_ID, ..JoinReply::default() };
            self.outbox.push((ticket, Reply::Join(reply)));
        }
        if let Some(ticket) = member.awaiting_sync {
            let reply = SyncReply { code: ErrorCode::UNKNOWN_MEMBER_ID, ..SyncReply::default() };
            self.outbox.push((ticket, Reply::Sync(reply)));
        }
        if self.is_leader(id) {
            self.leader = self.members.first().map(|member| member.id.clone());
        }
        self.unsynced.retain(|unsynced| unsynced != id);
        if self.phase != Phase::Empty {
            self.rebalance(now_ms, rules);
        }
    }

    pub(super) fn remove_pending(&mut self, now_ms: i64, rules: &Rules, id: &str) {
        self.pending.remove(id);
        if self.phase == Phase::Preparing {
            self.complete_if_all_joined(now_ms, rules);
        }
    }

    /// When time next changes something.
    pub(super) fn next_deadline_ms(&self, rules: &Rules) -> Option<i64> {
        let expiring = self.members.iter().filter(|member| !member.is_kept_alive(rules.expires_new_members));
        let sync_until_ms = self.sync_until_ms.filter(|_| !self.unsynced.is_empty());
        expiring
            .filter_map(|member| member.deadline_ms)
            .chain(self.pending.values().copied())
            .chain(self.join_wait.map(|wait| wait.until_ms))
            .chain(sync_until_ms)
            .min()
    }

    /// Does what is due. Several things that are due are done in no particular order: a clock that jumps is
    /// a coordinator that slept.
    pub(super) fn tick(&mut self, now_ms: i64, rules: &Rules) {
        let due = |until_ms: i64| until_ms <= now_ms;
        let pending: Vec<String> =
            self.pending.iter().filter(|(_, until_ms)| due(**until_ms)).map(|(id, _)| id.clone()).collect();
        for id in pending {
            self.remove_pending(now_ms, rules, &id);
        }
        if let Some(wait) = self.join_wait.filter(|wait| due(wait.until_ms)) {
            self.join_time_is_up(now_ms, rules, wait);
        }
        let dead: Vec<String> = self
            .members
            .iter()
            .filter(|member| !member.is_kept_alive(rules.expires_new_members))
            .filter(|member| member.deadline_ms.is_some_and(due))
            .map(|member| member.id.clone())
            .collect();
        for id in dead {
            self.remove_member(now_ms, rules, &id);
        }
        if self.sync_until_ms.is_some_and(due) {
            self.sync_until_ms = None;
            for id in std::mem::take(&mut self.unsynced) {
                self.remove_member(now_ms, rules, &id);
            }
        }
    }

    fn join_time_is_up(&mut self, now_ms: i64, rules: &Rules, wait: JoinWait) {
        match wait.extension_ms {
            Some(extension_ms) if self.new_member_added && extension_ms > 0 => {
                self.new_member_added = false;
                let delay_ms = rules.initial_delay_ms.min(extension_ms);
                self.join_wait = Some(JoinWait {
                    until_ms: now_ms.saturating_add(delay_ms),
                    extension_ms: Some(extension_ms.saturating_sub(wait.delay_ms).max(0)),
                    delay_ms,
                });
            }
            _ => self.complete_join(now_ms, rules),
        }
    }
}
