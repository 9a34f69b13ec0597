//! Keeps progress: what to store and when, and how a lane and the whole flow come to an end.
//!
//! Only acknowledged positions are stored (`checkpoint_never_early`). They may be late: the destination
//! itself says what was appended since.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::{Offset, TopicPartition};
use offsets::{Producer, Stored, StoredLane};
use tracing::{debug, info, warn};

use super::{Engine, Identity, Saving, StoreFailure, backoff_of};
use crate::earned::{is_ahead_of_store, is_worth_storing};
use crate::events::{Action, LaneId};
use crate::lane::{Opening, State};
use crate::store::StoreError;
use crate::trouble::Trouble;

/// A store that takes longer is not waited for.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Stores what is due: at the interval, where much has come since, and at once where something waits for it.
    pub(super) fn save_progress(&mut self) {
        if self.saving.is_some() {
            return;
        }
        if self.flow_trouble.is_some() {
            // What is stored is about another destination, or another process's, and stays as it is.
            self.save_due = None;
            self.final_save_done |= self.stopping;
            return;
        }
        if self.lease_lost {
            // Another process may have taken over: nothing of this one's may be written (`no_send_after_lease`).
            self.final_save_done |= self.stopping;
            return;
        }
        let drained = self.stopping && self.lanes.values().all(|lane| lane.in_flight.is_empty());
        let due = self.save_due.is_some_and(|at| at <= self.now.instant);
        let unstored = self.copied_bytes - self.stored_bytes;
        let grown =
            self.store_failure.is_none() && is_worth_storing(unstored, self.copied_bytes, self.lanes.len());
        if !(self.save_now || due || grown || drained && !self.final_save_done) {
            return;
        }
        self.stored_bytes = self.copied_bytes;
        self.save_now = false;
        self.save_due = Some(self.now.instant + self.options.flush_interval);
        self.note_others_appended();
        let dirty: Vec<LaneId> = self.lanes.values().filter(|lane| lane.dirty).map(|lane| lane.id).collect();
        let producer = match &self.identity {
            Identity::Unsaved(producer) => Some(producer.clone()),
            Identity::Ready(producer) if drained && !self.clean_end_saved && self.is_settled() => {
                self.clean_end_saved = true;
                Some(Producer { stopped_cleanly: true, ..producer.clone() })
            }
            Identity::Ready(producer) if self.has_unsaved_spread_ids() && !self.stopping => {
                let producer = producer.clone();
                self.with_spread_ids(&producer)
            }
            _ => None,
        };
        let shares_gone = self.shares_gone();
        if dirty.is_empty() && producer.is_none() && self.leftovers.is_empty() && shares_gone.is_empty() {
            self.final_save_done |= drained;
            return;
        }
        let leftovers = std::mem::take(&mut self.leftovers);
        let mut changes = Stored { producer, lanes: leftovers.clone(), ..Stored::default() };
        let mut spread: BTreeSet<TopicPartition> = shares_gone.iter().cloned().collect();
        for id in &dirty {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            lane.dirty = false;
            if lane.share.is_some() {
                spread.insert(lane.route.source.clone());
            } else {
                changes.lanes.insert(lane.route.source.clone(), StoredLane::Ours(lane.checkpoint().clone()));
            }
        }
        for source in spread {
            let stored = self.spread_to_store(&source);
            changes.lanes.extend(stored.map(|stored| (source, stored)));
        }
        self.saving = Some(Saving { lanes: dirty, leftovers, shares_gone });
        self.saving_since = self.now.instant;
        self.actions.push_back(Action::Save { changes, not_after: self.lease });
    }

    /// Whether the last position of a lane that is gone is not known to be stored; what comes of it is the new lane's.
    pub(super) fn is_unstored(&mut self, source: &TopicPartition) -> bool {
        let is_under_way = self.saving.as_ref().is_some_and(|saving| saving.leftovers.contains_key(source));
        self.leftovers.remove(source).is_some() || is_under_way
    }

    /// Whether reading waits for the store: not for one that fails or hangs, since copying needs it only to be short
    /// of work after a crash.
    pub(super) fn waits_for_store(&self) -> bool {
        self.waits_for_store_until().is_some()
    }

    /// Until when at the most.
    pub(super) fn waits_for_store_until(&self) -> Option<Instant> {
        let until = self.saving_since + STORE_PATIENCE;
        let unstored = self.copied_bytes - self.stored_bytes;
        let waits = self.saving.is_some()
            && self.now.instant < until
            && is_ahead_of_store(unstored, self.copied_bytes, self.lanes.len());
        waits.then_some(until)
    }

    pub(super) fn saved(&mut self, result: Result<(), StoreError>) {
        let Some(Saving { lanes: ids, leftovers, shares_gone }) = self.saving.take() else { return };
        self.spread_ids_saved(result.is_ok());
        match result {
            Ok(()) => {
                if self.store_failure.take().is_some() {
                    info!("progress is stored again");
                }
                debug!(lanes = ids.len(), "progress stored");
                if matches!(self.identity, Identity::Unsaved(_)) {
                    let Identity::Unsaved(producer) =
                        std::mem::replace(&mut self.identity, Identity::Missing(None))
                    else {
                        return;
                    };
                    self.identity = Identity::Ready(producer);
                    self.step_all();
                }
                for id in ids {
                    self.position_saved(id);
                }
            }
            Err(error) => {
                self.shares_not_stored(&shares_gone);
                self.leftovers
                    .extend(leftovers.into_iter().filter(|(at, _)| !self.by_source.contains_key(at)));
                self.not_saved(&ids, &error);
            }
        }
    }

    /// A save failed. Said once, and once more when something begins to wait for the store: until it can be written,
    /// no lane sends its first batch.
    fn not_saved(&mut self, ids: &[LaneId], error: &StoreError) {
        let trouble = match error {
            StoreError::Failed(what) => Trouble::Store(what.clone()),
            StoreError::Taken(what) => {
                self.store_taken(what);
                return;
            }
        };
        let mut lanes_waiting = 0;
        for id in ids {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            lane.dirty = true;
            if lane.state == State::Opening(Opening::Saving) {
                lane.trouble = Some(trouble.clone());
                lanes_waiting += 1;
            }
        }
        let all_wait = matches!(self.identity, Identity::Unsaved(_));
        let waits = all_wait || lanes_waiting > 0 || self.has_unsaved_spread_ids();
        let before = self.store_failure.take();
        let attempts = before.as_ref().map_or(1, |failure| failure.attempts + 1);
        let told_waiting = before.as_ref().is_some_and(|failure| failure.told_waiting);
        if waits && !told_waiting {
            let lanes = if all_wait { self.lanes.len() } else { lanes_waiting };
            warn!(lanes, error = %error, "progress cannot be stored, lanes wait for that before they begin; retrying");
        } else if before.is_none() || self.stopping {
            warn!(error = %error, "progress cannot be stored, copying goes on where it is known; retrying");
        } else {
            debug!(attempts, error = %error, "progress still cannot be stored");
        }
        self.store_failure = Some(StoreFailure { trouble, attempts, told_waiting: told_waiting || waits });
        let pause = if waits {
            backoff_of(attempts, (self.options.backoff_min, self.options.backoff_max))
        } else {
            self.options.recheck_interval.min(self.options.flush_interval)
        };
        self.save_due = Some(self.now.instant + pause);
        self.final_save_done |= self.stopping;
    }

    /// Another process has the progress now: it copies, and what this one knows is old.
    fn store_taken(&mut self, what: &str) {
        let trouble = Trouble::StoreTaken(what.to_owned());
        self.flow_trouble = Some(trouble.clone());
        self.final_save_done |= self.stopping;
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in ids {
            self.doubt(id, Some(trouble.clone()), false);
        }
    }

    /// Whether the outcome of everything sent is known, so that the next process need not wait for it.
    fn is_settled(&self) -> bool {
        let instant = self.now.instant;
        !self.left_unsettled
            && self.lanes.values().all(|lane| lane.is_settled(instant) && lane.in_flight.is_empty())
    }

    /// A lane that is no longer wanted has nothing under way any more.
    pub(super) fn drained(&mut self, id: LaneId) {
        if self.stopping {
            return;
        }
        let Some(mut lane) = self.lanes.remove(&id) else { return };
        lane.acked = lane.checkpoint().clone();
        self.left_unsettled |= !lane.is_settled(self.now.instant);
        if let Some(share) = lane.share {
            self.share_drained(&lane, share);
            return;
        }
        self.by_source.remove(&lane.route.source);
        self.by_destination.remove(&lane.route.destination);
        if !lane.fresh {
            self.stored.insert(lane.route.source.clone(), StoredLane::Ours(lane.acked.clone()));
        } else if lane.taken_over {
            let last_copied = Offset(lane.acked.next_source.0 - 1);
            self.stored.insert(lane.route.source.clone(), StoredLane::Foreign { last_copied });
        }
        if lane.dirty && !lane.fresh {
            // Its last position goes to the store with a save of its own.
            self.leftovers.insert(lane.route.source, StoredLane::Ours(lane.acked));
            self.save_now = true;
        }
    }
}
