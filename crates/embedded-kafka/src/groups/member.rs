//! One member of a classic group.

use std::collections::HashSet;

use bytes::Bytes;

use crate::groups::Ticket;
use crate::groups::roster::Named;
use crate::kept::{ENTRY_BYTES, Size};

/// A member, as the coordinator knows it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// Of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i64,
    pub(crate) rebalance_timeout_ms: i64,
    /// Name and metadata, the best one first.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(crate) awaiting_join: Option<Ticket>,
    pub(crate) awaiting_sync: Option<Ticket>,
    /// It has not been told its id yet, so it cannot send heartbeats.
    pub(crate) is_new: bool,
    /// When it is taken for dead; `None` while its request waits here.
    pub(crate) deadline_ms: Option<i64>,
}

impl Named for Member {
    fn id(&self) -> &str {
        &self.id
    }

    fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }
}

impl Member {
    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(crate) fn heard_of(&mut self, now_ms: i64) {
        self.deadline_ms = Some(now_ms.saturating_add(self.session_timeout_ms));
    }

    /// What it takes.
    pub(crate) fn size(&self) -> Size {
        let bytes = |(name, metadata): &(String, Bytes)| ENTRY_BYTES + name.len() + metadata.len();
        let protocols = self.protocols.iter().map(bytes).sum::<usize>();
        let names = self.id.len() + self.client_id.len() + self.instance_id.as_deref().map_or(0, str::len);
        Size::of(protocols + names + self.assignment.len())
    }

    /// What it said for the protocol that was chosen; nothing where there is none.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn protocol_names(&self) -> HashSet<&str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether a request that waits here keeps it alive. A new member's does not: it may have given up.
    pub(crate) fn is_kept_alive(&self, expires_new_members: bool) -> bool {
        let waits = self.awaiting_join.is_some() || self.awaiting_sync.is_some();
        waits && !(self.is_new && expires_new_members)
    }
}
