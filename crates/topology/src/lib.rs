//! What should exist at the destination, and what copies to where.
//!
//! ```text
//! source   ─▶ Snapshot ─▶ Candidates ─┐ (which topics, under which names)
//!                  │                  ▼
//!                  └──────────────▶ plan ─▶ Plan { steps, blocked, not_copied, …, routes }
//! destination ─▶ Snapshot ────────────▲
//! ```
//!
//! Everything is a function of values: no I/O, no clock, no settings text. Whoever observes the clusters
//! fills the snapshots, carries out the steps, observes again, and publishes the routes of a plan that has
//! no steps left.

mod acl_plan;
mod acls;
mod candidates;
mod check;
mod collisions;
mod desired;
mod diff;
mod flows;
mod java_property;
mod java_regex;
mod naming;
mod pattern;
mod plan;
mod plan_json;
pub mod rights;
mod selection;
mod setting_names;
pub mod settings;
mod site;
pub mod snapshot;
mod sync;
mod wanted;

pub use acl_plan::{AclPlan, AclTrouble, Grant, Withheld, WithheldReason};
pub use acls::{AclRules, AclSight, plan_acls};
pub use candidates::{Candidates, NotCopied, NotCopiedReason, Unselected};
pub use check::{SettingProblem, check_settings};
pub use desired::TopicPolicy;
pub use diff::{Intent, plan};
pub use flows::{Neighbour, Rival, leave_to_rivals, rivals};
pub use naming::{NAME_CHARS_MAX, NameError, Naming, NamingError, check_name};
pub use pattern::{Pattern, PatternError, TooCostly};
pub use plan::{Action, BlockReason, Blocked, Change, Difference, Held, HeldBack, Plan, Step, Warning};
pub use selection::{Selection, Verdict, is_internal_name};
pub use setting_names::SettingNames;
pub use snapshot::Snapshot;
pub use sync::defaults_matter;
