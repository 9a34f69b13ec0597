//! How a lane begins of which nothing is stored: at the start, where an operator said, or where it was.
//!
//! ```text
//! destination empty ──▶ begins              an operator's position ──▶ goes on there
//! records of the flow ──▶ the last of them are searched for in the source ──▶ found once: goes on behind them
//! records of others ──▶ stops               otherwise: stops, and says what an operator can choose
//! ```
//!
//! Records that may be copies are never copied again without an operator's word, and none is left out.

use model::{BrokerId, Offset};
use tracing::info;

use super::Engine;
use super::opening::LOOK_AGAIN;
use crate::contents::Contents;
use crate::events::LaneId;
use crate::lane::{Opening, State};
use crate::options::ExistingRecords;
use crate::place::{Evidence, ProducerEvidence, sequence_after};
use crate::trouble::{Trouble, Unfound};

/// So many of the destination's last offsets are compared with the source. More would only tell more alike records
/// apart.
const LAST_OFFSETS: i64 = 1000;

impl Engine {
    /// Decides where a lane begins of which nothing is stored. `contents`: the flow's own among the destination's
    /// last records, once they were read.
    pub(super) fn place_fresh(
        &mut self,
        id: LaneId,
        broker: BrokerId,
        evidence: &Evidence,
        contents: Option<Contents>,
    ) {
        let existing = self.options.existing_records;
        let is_beside = self.is_begun_by_others(id);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let described = match evidence.producer {
            ProducerEvidence::Last(sequence) => Some(sequence),
            ProducerEvidence::Nothing | ProducerEvidence::Unsupported => None,
        };
        let is_empty = evidence.latest <= evidence.log_start;
        // What was deleted may have been copies.
        let is_untouched = is_empty && evidence.log_start <= Offset(0);
        // What was set by an operator only wants the sequence, and a broker that knows none takes any.
        let enough = lane.taken_over && evidence.producer != ProducerEvidence::Unsupported;
        let contents = match contents {
            None if is_empty || enough => Contents::default(),
            None => {
                let from = evidence.log_start.max(Offset(evidence.latest.0 - LAST_OFFSETS));
                self.read_contents_from(from, id, broker, evidence);
                return;
            }
            Some(contents) => contents,
        };
        let sequence = match (described, contents.last_sequence) {
            (Some(described), Some(read)) if described != read => {
                // Appended and not replicated yet, or since the look.
                self.look_again(id, Trouble::NotReplicated, LOOK_AGAIN);
                return;
            }
            (described, read) => described.or(read),
        };
        let trouble = match sequence {
            _ if lane.taken_over => None,
            Some(sequence) => {
                let why = match lane.unfound {
                    Some((before, why)) if before == sequence => why,
                    _ if contents.records.is_empty() => Unfound::NotAtDestination,
                    _ => {
                        info!(source = %lane.route.source, records = contents.records.len(),
                            "no stored progress: searching the source for the copy's last records");
                        lane.acked.sequence = sequence_after(sequence, 1);
                        lane.acked.destination_end = evidence.latest;
                        lane.acked.destination_topic_id = lane.route.destination_topic_id;
                        lane.search(contents.records, self.now.instant);
                        return;
                    }
                };
                Some(Trouble::ProgressLost { sequence, why })
            }
            None if is_untouched || is_beside || existing == ExistingRecords::Append => None,
            None => Some(Trouble::DestinationNotEmpty {
                records: evidence.latest.0 - evidence.log_start.0,
                deleted: evidence.log_start.0,
                writer: contents.foreign,
            }),
        };
        if let Some(trouble) = trouble {
            self.doubt(id, Some(trouble), false);
            return;
        }
        if lane.taken_over && self.waits_for_late(id) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Some(sequence) = sequence {
            // What is sent from the operator's position on follows what was sent before.
            lane.acked.sequence = sequence_after(sequence, 1);
        }
        lane.acked.destination_end = evidence.latest;
        lane.acked.destination_topic_id = lane.route.destination_topic_id;
        if sequence.is_none() && (is_untouched || is_beside) {
            self.begins_untouched(id);
        }
        self.store_beginning(id);
    }

    /// The source was searched for the copy's last records.
    pub(super) fn searched(&mut self, id: LaneId, result: Result<Offset, Unfound>) {
        let unclean = !self.started_clean || self.left_unsettled;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.moving.is_some() {
            self.searched_for_move(id, result);
            return;
        }
        match result {
            Ok(position) => {
                info!(source = %lane.route.source, offset = %position,
                    "no stored progress: goes on behind the copy's last records, found in the source once");
                lane.acked.next_source = position;
                lane.begun = true;
                // The process that sent them may have left more under way.
                lane.unsettled = unclean;
                self.store_beginning(id);
            }
            Err(why) => {
                let sequence = sequence_after(lane.acked.sequence, -1);
                lane.unfound = Some((sequence, why));
                self.doubt(id, Some(Trouble::ProgressLost { sequence, why }), false);
            }
        }
    }

    /// From here on a restart must find that this lane has begun, and where.
    pub(super) fn store_beginning(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.dirty = true;
        lane.reopen(State::Opening(Opening::Saving));
        self.save_now = true;
    }
}
