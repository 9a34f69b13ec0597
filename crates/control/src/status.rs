//! What the control plane says of itself.

use model::TopicName;
use topology::{Blocked, NotCopied, Warning};

/// The state after the last observation, or after the last attempt at one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlStatus {
    /// The generation of the routes published last; 0 before there were any.
    pub generation: u64,
    /// Observations that were completed, with their steps carried out as far as that went. 0: the first is
    /// still under way, or has not succeeded yet.
    pub observations: u64,
    /// Observations that failed since the last one that was completed.
    pub failures: u32,
    /// Why the source could not be asked, the last time it was; `None` once it could.
    pub source_error: Option<String>,
    /// The same of the destination.
    pub destination_error: Option<String>,
    /// Topics that are copied.
    pub topics: usize,
    /// Partitions that are copied.
    pub partitions: usize,
    /// Topics that were asked for and are not copied, and why.
    pub not_copied: Vec<NotCopied>,
    /// Topics or partitions that cannot be copied for now, and why.
    pub blocked: Vec<Blocked>,
    /// Topics that were copied since the start and are not at the source any more. Their copies stay.
    pub gone: Vec<TopicName>,
    /// What is copied with a flaw, or could not be learnt.
    pub warnings: Vec<Warning>,
}

impl ControlStatus {
    /// Whether the clusters were looked at once, and the routes that follow are published.
    pub fn is_first_observation_complete(&self) -> bool {
        self.observations > 0
    }
}
