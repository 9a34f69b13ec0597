//! Source partitions whose records are spread over the partitions of the destination's topic.
//!
//! ```text
//! route of source partition 1 ──▶ share of destination 0 ─┐                 ┌─▶ appended to partition 0 ◀─ shares of other
//!                             ──▶ share of destination 1 ─┼─ read together ─┼─▶ appended to partition 1    source partitions
//!                             ──▶ share of destination 2 ─┘                 └─▶ appended to partition 2
//! ```
//!
//! Each share is a lane: it numbers the records that go its way, so a sequence is a position of the copy as ever. A
//! destination partition has a share of every source partition, each under a producer id of its own: that of its source
//! partition's number. What the shares of one source partition have in common is kept here: over how many partitions they
//! spread, where they begin, and that they are read with one fetch as long as they keep together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::{Offset, PartitionId, ProducerId, Route, TopicId, TopicPartition};
use offsets::{Producer, Spread, StoredLane};
use record_batch::Share;
use tracing::{info, warn};

use super::{Engine, Identity, backoff_of};
use crate::events::{Action, LaneId};
use crate::lane::{Lane, Opening, State, selection_of};
use crate::status::{LaneState, LaneStatus};
use crate::trouble::{Side, Trouble};

/// For how long the shares of a source partition wait for one that has no room, before they go on without it.
const KEEP_TOGETHER: Duration = Duration::from_secs(1);
/// Where they are not together, every so many fetches are for the one furthest ahead, the others for the last.
const FETCHES_PER_LEADER: u32 = 4;

/// A share, and how many bytes it wants to read, if it has room.
pub(super) type WantedBy = (LaneId, Option<usize>);

/// What the shares of one source partition have in common.
#[derive(Debug)]
pub(super) struct Spreading {
    /// As it is stored, but for the points of those shares that have a lane.
    known: Spread,
    /// Where it begins is known.
    has_begin: bool,
    /// What is stored is of a copy that did not spread.
    is_of_other_kind: bool,
    lanes: BTreeMap<i32, LaneId>,
    /// The last points of shares without a lane are not stored.
    is_unstored: bool,
    fetches: u32,
}

/// Producer ids that are still to come.
#[derive(Debug, Default)]
pub(super) struct SpreadIds {
    /// How many are needed beside the flow's first.
    wanted: usize,
    asked: bool,
    not_before: Option<Instant>,
    /// Allocated, and not yet where a restart would find them; of these, so many are being stored.
    unsaved: Vec<ProducerId>,
    saving: usize,
}

impl Engine {
    /// The records of `route` are to be spread over so many partitions, unless it is known better.
    pub(super) fn spread_changed(&mut self, route: &Route, partitions: i32) {
        if !self.spreads.contains_key(&route.source) {
            let spreading = self.begin_to_spread(route, partitions);
            self.spreads.insert(route.source.clone(), spreading);
        }
        let Some(spreading) = self.spreads.get(&route.source) else { return };
        let of = spreading.known.partitions;
        // One is enough to say why nothing is copied.
        let lanes = if spreading.is_of_other_kind { 1 } else { of };
        if !spreading.is_of_other_kind {
            let ids = usize::try_from(route.source.partition.0).unwrap_or(0);
            self.spread_ids.wanted = self.spread_ids.wanted.max(ids);
        }
        for to in (0..lanes).map(PartitionId) {
            let destination = TopicPartition { topic: route.destination.topic.clone(), partition: to };
            let share = Share { source: route.source.partition, destination: to, of };
            self.route_changed(&Route { destination, spread_over: Some(of), ..route.clone() }, Some(share));
        }
    }

    fn begin_to_spread(&mut self, route: &Route, partitions: i32) -> Spreading {
        let nothing = Spread {
            partitions,
            begin: Offset(0),
            begin_is_set: false,
            untouched: BTreeSet::new(),
            shares: BTreeMap::new(),
        };
        let mut spreading = Spreading {
            known: nothing.clone(),
            has_begin: false,
            is_of_other_kind: false,
            lanes: BTreeMap::new(),
            is_unstored: false,
            fetches: 0,
        };
        match self.stored.remove(&route.source) {
            Some(StoredLane::Spread(known)) => {
                // One line for the topic.
                if known.partitions != partitions && route.source.partition == PartitionId(0) {
                    info!(source = %route.source.topic, destination = %route.destination.topic,
                        partitions, spread_over = known.partitions,
                        "the destination topic had another number of partitions when this copy began: records go on being \
                         spread over as many as then");
                }
                spreading.known = known;
                spreading.has_begin = true;
            }
            Some(StoredLane::Foreign { last_copied }) => {
                let begin = Offset(last_copied.0.saturating_add(1));
                spreading.known = Spread { begin, begin_is_set: true, ..nothing };
                spreading.has_begin = true;
            }
            Some(ours @ StoredLane::Ours(_)) => {
                self.stored.insert(route.source.clone(), ours);
                spreading.is_of_other_kind = true;
            }
            None => {}
        }
        spreading
    }

    pub(super) fn share_lane(&self, source: &TopicPartition, share: Share) -> Option<LaneId> {
        self.spreads.get(source)?.lanes.get(&share.destination.0).copied()
    }

    /// A lane for `share` of `route`.
    pub(super) fn new_share(&mut self, id: LaneId, route: &Route, share: Share) -> Lane {
        let selection = selection_of(self.options.isolation);
        let spreading = self.spreads.get_mut(&route.source);
        let stored = spreading.and_then(|spreading| {
            spreading.lanes.insert(share.destination.0, id);
            let known = spreading.known.shares.remove(&share.destination.0).map(StoredLane::Ours);
            let begin = Offset(spreading.known.begin.0.saturating_sub(1));
            known.or_else(|| {
                spreading.known.begin_is_set.then_some(StoredLane::Foreign { last_copied: begin })
            })
        });
        let mut lane = Lane::new(id, route.clone(), stored, selection, self.now.instant).of_share(share);
        lane.is_of_other_kind =
            self.spreads.get(&route.source).is_some_and(|spreading| spreading.is_of_other_kind);
        lane
    }

    /// Where a lane of which nothing is stored begins: at `start`, or, of a share, where the first of its source
    /// partition's did.
    pub(super) fn begin_of(&mut self, id: LaneId, start: Offset) -> Offset {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.share.is_some()) else { return start };
        let Some(spreading) = self.spreads.get_mut(&lane.route.source) else { return start };
        if !spreading.has_begin {
            spreading.known.begin = start;
            spreading.has_begin = true;
        }
        spreading.known.begin
    }

    /// Notes that the share of `id` begins where nothing was before this flow wrote there.
    pub(super) fn begins_untouched(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if let (Some(share), Some(spreading)) = (lane.share, self.spreads.get_mut(&lane.route.source)) {
            spreading.known.untouched.insert(share.destination.0);
        }
    }

    /// The id of the source topic that the other shares of the source partition of `id` have begun to read.
    pub(super) fn topic_begun(&self, id: LaneId) -> Option<TopicId> {
        let source = &self.lanes.get(&id).filter(|lane| lane.share.is_some())?.route.source;
        let spreading = self.spreads.get(source)?;
        let lanes = spreading.lanes.values().filter_map(|id| self.lanes.get(id)).filter(|lane| !lane.fresh);
        let read = lanes.map(|lane| &lane.acked).chain(spreading.known.shares.values());
        read.into_iter().find_map(|point| point.source_topic_id)
    }

    /// Whether the destination of `lane`, a share, is one that this flow has begun to write to with another share while
    /// nothing was there: what is there is ours then, or came while we wrote. Of a share that was found there, or set by
    /// somebody, that is not known: others of an earlier copy may have written as well.
    pub(super) fn is_begun_by_others(&self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get(&id) else { return false };
        let Some(share) = lane.share else { return false };
        let (topic, destination) = (&lane.route.source.topic, &lane.route.destination);
        let mut of_topic = self.spreads.iter().filter(|(source, _)| source.topic == *topic);
        of_topic.any(|(_, spreading)| {
            if !spreading.known.untouched.contains(&share.destination.0) {
                return false;
            }
            let other = spreading.lanes.get(&share.destination.0).and_then(|id| self.lanes.get(id));
            other.is_some_and(|other| !other.fresh && other.route.destination == *destination)
                || spreading.known.shares.contains_key(&share.destination.0)
        })
    }

    /// What to store of the shares of `source`.
    pub(super) fn spread_to_store(&mut self, source: &TopicPartition) -> Option<StoredLane> {
        let spreading = self.spreads.get_mut(source)?;
        spreading.is_unstored = false;
        let mut spread = spreading.known.clone();
        for (to, id) in &spreading.lanes {
            let Some(lane) = self.lanes.get(id) else { continue };
            if !lane.fresh || lane.state == State::Opening(Opening::Saving) {
                spread.shares.insert(*to, lane.checkpoint().clone());
            }
        }
        Some(StoredLane::Spread(spread))
    }

    /// The source partitions with shares that are gone and not stored.
    pub(super) fn shares_gone(&self) -> Vec<TopicPartition> {
        let gone = self.spreads.iter().filter(|(_, spreading)| spreading.is_unstored);
        gone.map(|(source, _)| source.clone()).collect()
    }

    /// They could not be stored.
    pub(super) fn shares_not_stored(&mut self, sources: &[TopicPartition]) {
        for source in sources {
            if let Some(spreading) = self.spreads.get_mut(source) {
                spreading.is_unstored = true;
            }
        }
    }

    /// A share that is no longer wanted has nothing under way any more, and no lane.
    pub(super) fn share_drained(&mut self, lane: &Lane, share: Share) {
        let Some(spreading) = self.spreads.get_mut(&lane.route.source) else { return };
        spreading.lanes.remove(&share.destination.0);
        if !lane.fresh {
            spreading.known.shares.insert(share.destination.0, lane.acked.clone());
            if lane.dirty {
                spreading.is_unstored = true;
                self.save_now = true;
            }
        }
        if self.by_destination.get(&lane.route.destination) == Some(&lane.id) {
            let beside = self.lanes.values().find(|other| other.route.destination == lane.route.destination);
            match beside.map(|other| other.id) {
                Some(other) => self.by_destination.insert(lane.route.destination.clone(), other),
                None => self.by_destination.remove(&lane.route.destination),
            };
        }
    }

    /// What other shares have appended to the same partitions is behind those that have nothing under way. Otherwise one
    /// that has seldom a record would have to be looked for in all that came since its last.
    pub(super) fn note_others_appended(&mut self) {
        if self.spreads.is_empty() {
            return;
        }
        let now = self.now.instant;
        let mut ends: BTreeMap<(TopicPartition, _), Offset> = BTreeMap::new();
        let place = |lane: &Lane| (lane.route.destination.clone(), lane.acked.destination_topic_id);
        for lane in self.lanes.values().filter(|lane| lane.share.is_some() && lane.state == State::Flowing) {
            let end = ends.entry(place(lane)).or_insert(Offset(0));
            *end = lane.acked.destination_end.max(*end);
        }
        for lane in self.lanes.values_mut().filter(|lane| lane.share.is_some()) {
            if let Some(end) = ends.get(&place(lane)) {
                lane.others_appended(*end, now);
            }
        }
    }

    /// Asks for the producer ids that are missing.
    pub(super) fn allocate_spread_ids(&mut self) {
        let due = self.spread_ids.not_before.is_none_or(|at| at <= self.now.instant);
        if due && self.lacks_spread_ids() && !self.spread_ids.asked {
            self.spread_ids.asked = true;
            self.actions.push_back(Action::AllocateProducer);
        }
    }

    fn lacks_spread_ids(&self) -> bool {
        let Identity::Ready(producer) = &self.identity else { return false };
        self.flow_trouble.is_none()
            && !self.stopping
            && producer.spread_ids.len() + self.spread_ids.unsaved.len() < self.spread_ids.wanted
    }

    /// When to ask for one again.
    pub(super) fn spread_ids_due(&self) -> Option<Instant> {
        self.spread_ids.not_before.filter(|_| self.lacks_spread_ids() && !self.spread_ids.asked)
    }

    /// Whether shares wait until their producer ids are stored.
    pub(super) fn has_unsaved_spread_ids(&self) -> bool {
        !self.spread_ids.unsaved.is_empty()
    }

    pub(super) fn spread_id_allocated(&mut self, result: Result<Producer, client::CallError>) {
        self.spread_ids.asked = false;
        match result {
            Ok(producer) => {
                self.spread_ids.unsaved.push(producer.producer_id);
                self.spread_ids.not_before = None;
                if !self.lacks_spread_ids() {
                    info!(
                        producer_ids = self.spread_ids.unsaved.len(),
                        "producer ids allocated for what is spread"
                    );
                    self.save_now = true;
                }
            }
            Err(error) => {
                self.destination.failures += 1;
                let bounds = (self.options.backoff_min, self.options.backoff_max);
                let pause = backoff_of(self.destination.failures, bounds);
                self.spread_ids.not_before = Some(self.now.instant + pause);
                let trouble = Trouble::from_call(Side::Destination, "InitProducerId", &error);
                if self.destination.trouble.as_ref() != Some(&trouble) {
                    warn!(error = %trouble, "no producer id from the destination, retrying");
                }
                self.destination.trouble = Some(trouble);
            }
        }
    }

    /// `producer` with the ids that are to be stored, where all are there that are wanted.
    pub(super) fn with_spread_ids(&mut self, producer: &Producer) -> Option<Producer> {
        let ids = &mut self.spread_ids;
        if ids.unsaved.is_empty() || producer.spread_ids.len() + ids.unsaved.len() < ids.wanted {
            return None;
        }
        ids.saving = ids.unsaved.len();
        let spread_ids = producer.spread_ids.iter().chain(&ids.unsaved).copied().collect();
        Some(Producer { stopped_cleanly: false, spread_ids, ..producer.clone() })
    }

    /// A save is done: what of it was about producer ids, if it could be made, is known to a restart.
    pub(super) fn spread_ids_saved(&mut self, is_saved: bool) {
        let saving = std::mem::take(&mut self.spread_ids.saving);
        if let Identity::Ready(producer) = &mut self.identity
            && is_saved
            && saving > 0
        {
            producer.spread_ids.extend(self.spread_ids.unsaved.drain(..saving));
            self.step_all();
        }
    }

    /// Which shares of `source` read now, with one fetch, and how many bytes each wants: all that have room, from where the
    /// last of them is, which gives the others what they have had already along with what they have not. So they keep
    /// together. Where one has been left behind, for its destination did not take its records, the one ahead has a turn now
    /// and then. `members` are those that could read, by what they want; the first of the result is the one that asks.
    pub(super) fn read_together(
        &mut self,
        source: &TopicPartition,
        members: &[WantedBy],
    ) -> Vec<(LaneId, usize)> {
        let now = self.now.instant;
        let is_waited_for = |lane: &Lane| {
            lane.has_room(usize::MAX) && now < lane.last_contact.max(lane.last_read_at) + KEEP_TOGETHER
        };
        let full = members.iter().filter(|(_, wanted)| wanted.is_none());
        if full.filter_map(|(id, _)| self.lanes.get(id)).any(is_waited_for) {
            return Vec::new();
        }
        let mut reading: Vec<(Offset, LaneId, usize)> = members
            .iter()
            .filter_map(|(id, wanted)| Some((self.lanes.get(id)?.fetch_offset(), *id, (*wanted)?)))
            .collect();
        reading.sort_unstable();
        if let (Some(spreading), Some(&(ahead, ..))) = (self.spreads.get_mut(source), reading.last()) {
            spreading.fetches = spreading.fetches.wrapping_add(1);
            if spreading.fetches.is_multiple_of(FETCHES_PER_LEADER) {
                reading.retain(|(at, ..)| *at == ahead);
            }
        }
        reading.into_iter().map(|(_, id, wanted)| (id, wanted)).collect()
    }
}

/// One status for what spreads one source partition. `lanes` are sorted by that.
pub(super) fn sum_up(lanes: &[LaneStatus]) -> Vec<LaneStatus> {
    lanes.chunk_by(|one, other| one.source == other.source).filter_map(sum).collect()
}

fn sum(shares: &[LaneStatus]) -> Option<LaneStatus> {
    let (first, others) = shares.split_first()?;
    let mut sum = first.clone();
    for share in others {
        if rank(share.state) < rank(sum.state) {
            sum.state = share.state;
        }
        sum.trouble = sum.trouble.or_else(|| share.trouble.clone());
        sum.next_source = sum.next_source.min(share.next_source);
        sum.source_end = sum.source_end.max(share.source_end);
        sum.source_end_at_start = sum.source_end_at_start.max(share.source_end_at_start);
        sum.records += share.records;
        sum.bytes += share.bytes;
        sum.merged_batches += share.merged_batches;
        // All of them read the same batches, and pass over the same offsets.
        sum.transcoded_batches = sum.transcoded_batches.max(share.transcoded_batches);
        sum.life.begun_anew = sum.life.begun_anew.max(share.life.begun_anew);
        sum.life.offsets_skipped = sum.life.offsets_skipped.max(share.life.offsets_skipped);
        sum.life.records_resent += share.life.records_resent;
        sum.life.destination_offsets_gone += share.life.destination_offsets_gone;
    }
    // How far it is, is known when all of them know it that can.
    let knows = |share: &LaneStatus| share.source_end_at_start.is_some() || share.state == LaneState::Blocked;
    if !shares.iter().all(knows) {
        sum.source_end_at_start = None;
    }
    Some(sum)
}

/// What is told of several: the first of these that one of them is.
fn rank(state: LaneState) -> u8 {
    match state {
        LaneState::Blocked => 0,
        LaneState::Opening => 1,
        LaneState::Aged => 2,
        LaneState::Flowing => 3,
        LaneState::Probing => 4,
        LaneState::Draining => 5,
    }
}
