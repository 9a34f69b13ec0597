//! Which lanes there are: those that the routes ask for. New ones begin, those that are not wanted any more drain.

use std::collections::BTreeSet;

use model::{Route, Routes, TopicPartition};
use offsets::StoredLane;
use record_batch::Share;
use tracing::warn;

use super::Engine;
use crate::events::LaneId;
use crate::lane::{Lane, Opening, State, selection_of};

impl Engine {
    pub(super) fn routes_changed(&mut self, routes: &Routes) {
        if routes.generation < self.generation || self.stopping {
            return;
        }
        self.generation = routes.generation;
        let kept: BTreeSet<(&TopicPartition, bool)> =
            routes.routes.iter().map(|route| (&route.source, route.spread_over.is_some())).collect();
        let gone: Vec<LaneId> = self
            .lanes
            .values()
            .filter(|lane| !kept.contains(&(&lane.route.source, lane.share.is_some())))
            .map(|lane| lane.id)
            .collect();
        for id in gone {
            self.drain(id);
        }
        for route in &routes.routes {
            match route.spread_over {
                None => self.route_changed(route, None),
                Some(partitions) => self.spread_changed(route, partitions),
            }
        }
        // Who leads the new partitions is not known yet.
        self.source.wanted = true;
        self.destination.wanted = true;
    }

    /// The lane of `route`, or of a share of what it spreads: as it is, as it is to be, or a new one.
    pub(super) fn route_changed(&mut self, route: &Route, share: Option<Share>) {
        let present = match share {
            None => self.by_source.get(&route.source).copied(),
            Some(share) => self.share_lane(&route.source, share),
        };
        if let Some(id) = present {
            let Some(lane) = self.lanes.get_mut(&id) else { return };
            if lane.route == *route && lane.state != State::Draining {
                return;
            }
            let same_topics = lane.route.destination == route.destination
                && lane.route.source_topic_id == route.source_topic_id
                && lane.route.destination_topic_id == route.destination_topic_id;
            if lane.route.destination != route.destination {
                // One lane at a time owns a destination partition: the old one goes first.
                self.drain(id);
                return;
            }
            lane.route = route.clone();
            let waiting = matches!(lane.state, State::Blocked { .. } | State::Draining);
            if !same_topics || waiting {
                lane.source_checked = false;
                lane.attempts = 0;
                lane.reopen(State::Opening(Opening::Ready));
                self.to_step.insert(id);
            }
            return;
        }
        let other = self.by_destination.get(&route.destination).and_then(|id| self.lanes.get(id));
        if other.is_some_and(|other| !is_share_beside(other, route, share)) {
            warn!(source = %route.source, destination = %route.destination,
                "another lane already writes to this destination partition, not copied");
            return;
        }
        let id = LaneId(self.fresh_id());
        let selection = selection_of(self.options.isolation);
        let mut lane = match share {
            None => {
                let is_spread = matches!(self.stored.get(&route.source), Some(StoredLane::Spread(_)));
                // Kept for when it is to be spread again.
                let stored = if is_spread { None } else { self.stored.remove(&route.source) };
                let mut lane = Lane::new(id, route.clone(), stored, selection, self.now.instant);
                lane.is_of_other_kind = is_spread;
                lane
            }
            Some(share) => self.new_share(id, route, share),
        };
        // What an operator set goes on behind what may still be under way, too.
        let begun = !lane.fresh || lane.taken_over;
        lane.unsettled = (!self.started_clean || self.left_unsettled) && begun;
        lane.may_have_sent = lane.unsettled;
        lane.source_leader = self.source.leaders.get(&route.source).copied();
        if share.is_none() {
            if self.is_unstored(&route.source) {
                lane.dirty = true;
                self.save_now = true;
            }
            self.by_source.insert(route.source.clone(), id);
        }
        self.by_destination.insert(route.destination.clone(), id);
        self.lanes.insert(id, lane);
        self.to_step.insert(id);
    }

    pub(super) fn drain(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && lane.state != State::Draining
        {
            lane.reopen(State::Draining);
            self.to_step.insert(id);
        }
    }
}

/// Whether `other` spreads the same topic as a share of `route` does: those have their destinations in common.
fn is_share_beside(other: &Lane, route: &Route, share: Option<Share>) -> bool {
    share.is_some() && other.share.is_some() && other.route.source.topic == route.source.topic
}
