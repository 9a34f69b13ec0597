//! Connectors and their life: settings to planes, what they remember, start to stop.
//!
//! [`prepare`] turns settings into options, [`plan`] says what would be done with them, [`run`] does it.
//! Everything about protocol and batches is below, everything about the command line above.
#![allow(clippy::disallowed_methods, reason = "this crate acts: it reads the clock")]

mod connector;
mod grants;
mod plan;
pub mod progress;
mod reached;
mod run;
mod secured;
mod start_up;
mod status;
pub mod stores;
mod surroundings;

pub use client::OutOfFiles;
pub use connector::{Prepared, blocking_threads_max, prepare};
pub use pipeline::LifeCounts;
pub use plan::{Planned, document, plan};
pub use run::{Outcome, RunError, run};
pub use secured::Logins;
pub use start_up::{End, ReachError, chain};
pub use status::{FlowStatus, TopicStatus, WorkerStatus};
pub use surroundings::ThisMachine;
