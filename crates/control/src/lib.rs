//! The control plane: makes the destination fit the source, and says what copies to where.
//!
//! ```text
//! observe ─▶ topology::plan ─▶ apply ─▶ observe …          until the plan has no steps
//!                  └────────▶ publish ─▶ Routes            to whoever carries records
//! ```
//!
//! [`Control`] runs this on a period. What should be is decided in `topology`, by functions of snapshots;
//! here is what asks the clusters, carries out steps and keeps trying. Record bytes are not touched. ACLs have a loop of
//! their own (`acls`), which is told which topics are copied.
// An acting crate: it waits, against the clock.
#![allow(clippy::disallowed_methods)]

mod acls;
mod agenda;
mod apply;
mod job;
mod known;
mod observe;
mod options;
mod publish;
mod report;
mod rivals;
mod status;
mod trial;

pub use acls::{AclOptions, AclStatus, GrantError, GrantStore, Granted};
pub use job::{Control, plan_once};
pub use observe::{ObserveError, Unobserved};
pub use options::{Options, OtherFlow};
pub use status::ControlStatus;
