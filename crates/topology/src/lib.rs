//! What should exist at the destination, and what copies to where.

mod java_regex;
mod naming;
mod pattern;
mod selection;

pub use naming::{NAME_CHARS_MAX, NameError, Naming, NamingError, check_name, collides};
pub use pattern::{Pattern, PatternError, TooCostly};
pub use selection::{Selection, Verdict, is_internal_name};
