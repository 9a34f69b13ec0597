//! Destination topics that an earlier flow of the same worker writes, if its source has the topics for that.
//!
//! Whether it has is asked there, about these topics only; where names are kept apart, nothing is asked.

use std::collections::BTreeSet;

use client::{CallError, ErrorCode, Wanted};
use model::TopicName;
use topology::{Intent, Rival, leave_to_rivals, rivals};
use tracing::debug;

use crate::OtherFlow;
use crate::observe::{Observation, chain};

/// What was found last, for as long as a source cannot be asked: whose topic it is must not change with that.
#[derive(Debug, Default)]
pub(crate) struct Rivals(BTreeSet<Rival>);

impl Rivals {
    /// Takes out of the observation's candidates what earlier flows write.
    pub(crate) async fn leave(&mut self, seen: &mut Observation, others: &[OtherFlow], intent: &Intent) {
        let possible = rivals(&seen.candidates, seen.destination.cluster_id.as_deref(), &intent.neighbours);
        let mut there = BTreeSet::new();
        for (index, other) in others.iter().enumerate() {
            let of_this: BTreeSet<&Rival> =
                possible.iter().filter(|rival| rival.neighbour == index).collect();
            match missing(other, &of_this).await {
                Ok(missing) => {
                    let is_there =
                        |rival: &&&Rival| rival.source.as_ref().is_none_or(|topic| !missing.contains(topic));
                    there.extend(of_this.iter().filter(is_there).copied().cloned());
                }
                Err(error) => {
                    debug!(
                        connector = other.neighbour.name,
                        error = chain(&error),
                        "another flow's source cannot be asked"
                    );
                    there.extend(of_this.into_iter().filter(|rival| self.0.contains(rival)).cloned());
                }
            }
        }
        leave_to_rivals(&mut seen.candidates, &there, &intent.neighbours);
        self.0 = there;
    }
}

/// Those of the rivals' source topics that the other flow's source does not have.
async fn missing(other: &OtherFlow, rivals: &BTreeSet<&Rival>) -> Result<BTreeSet<TopicName>, CallError> {
    let names: BTreeSet<TopicName> = rivals.iter().filter_map(|rival| rival.source.clone()).collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names: Vec<TopicName> = names.into_iter().collect();
    let found = other.source.metadata(Wanted::Topics(&names)).await?;
    let absent = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_TOPIC_EXCEPTION];
    let topics =
        found.topics.into_iter().filter(|topic| topic.error.is_some_and(|error| absent.contains(&error)));
    Ok(topics.map(|topic| topic.name).collect())
}
