//! Destination topics that an earlier flow of the same worker writes, if its source has the topics for that.
//!
//! Whether it has is asked there, about these topics only; where names are kept apart, nothing is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::{CallError, ErrorCode, Wanted};
use model::TopicName;
use topology::{Candidates, Intent, Rival, leave_to_rivals, rivals};
use tracing::debug;

use crate::OtherFlow;
use crate::observe::{Observation, blocking, chain};

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// For as long as a source cannot be asked: whose topic it is must not change with that.
    there: BTreeSet<Rival>,
    possible: Option<Possible>,
}

/// What other flows may write, as far as names tell.
#[derive(Debug)]
struct Possible {
    /// It was found for these.
    candidates: Arc<Candidates>,
    destination: Option<String>,
    rivals: Arc<BTreeSet<Rival>>,
}

impl Rivals {
    /// Takes out of the observation's candidates what earlier flows write.
    pub(crate) async fn leave(&mut self, seen: &mut Observation, others: &[OtherFlow], intent: &Arc<Intent>) {
        if others.is_empty() {
            return;
        }
        let possible = self.possible(seen, intent).await;
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
                    there.extend(of_this.into_iter().filter(|rival| self.there.contains(rival)).cloned());
                }
            }
        }
        if !there.is_empty() {
            leave_to_rivals(Arc::make_mut(&mut seen.candidates), &there, &intent.neighbours);
        }
        self.there = there;
    }

    /// What other flows may write. It costs a match for each topic and flow: not on this thread, nor twice.
    async fn possible(&mut self, seen: &Observation, intent: &Arc<Intent>) -> Arc<BTreeSet<Rival>> {
        let destination = seen.destination.cluster_id.clone();
        if let Some(last) = &self.possible
            && Arc::ptr_eq(&last.candidates, &seen.candidates)
            && last.destination == destination
        {
            return Arc::clone(&last.rivals);
        }
        let (candidates, intent) = (Arc::clone(&seen.candidates), Arc::clone(intent));
        let work = move || {
            let found = rivals(&candidates, destination.as_deref(), &intent.neighbours);
            Possible { candidates, destination, rivals: Arc::new(found) }
        };
        let found = self.possible.insert(blocking(work).await);
        Arc::clone(&found.rivals)
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
