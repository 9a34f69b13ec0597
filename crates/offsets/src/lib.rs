//! How far each lane is, what that is on the other side, and how both are written down.
//!
//! Pure values and functions: a store hands bytes in and takes bytes out. Writing them durably, and
//! deciding when, is left to `worker` and `pipeline`.

mod acls;
mod checkpoint;
pub mod connect_file;
pub mod export;
pub mod json;
mod segments;
pub mod writers;

pub use acls::acls_bytes;
pub use checkpoint::{Checkpoint, Fingerprint, Producer, SelectionId, Spread, Stored, StoredLane};
pub use segments::{SEGMENTS_MAX, Segment, Segments, SegmentsError, StepBack};
