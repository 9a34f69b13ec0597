//! The data plane: moves record batches from source partitions to destination partitions, each once.
//!
//! One [`Pipeline`] carries all lanes of a flow. Its heart is a state machine without I/O
//! (`engine`, one `lane` each), driven by one loop (`driver`) that carries out what it asks for.
//!
//! ```text
//! fetch ──▶ decide ──▶ patch | transcode | skip ──▶ produce ──▶ acknowledge ──▶ checkpoint
//! reader    lane        lane    rewrite              writer      lane            engine/commit
//! ```
//!
//! Which partitions are copied to where is told from outside ([`model::Routes`]); topics are neither
//! created nor configured here.

mod budget;
mod contents;
#[cfg(test)]
mod cost;
mod driver;
mod earned;
mod engine;
mod events;
mod lane;
mod life;
mod look;
mod options;
mod place;
mod reader;
#[cfg(test)]
mod sim;
mod status;
mod store;
mod trouble;
mod way;

pub use driver::{Pipeline, PipelineError};
pub use life::{LifeCounts, Missing, Policies, Recreated};
pub use options::{ExistingRecords, Isolation, Options};
pub use status::{LaneState, LaneStatus, Status};
pub use store::{OffsetStore, StoreError};
pub use trouble::{Side, Trouble, Unfound};
