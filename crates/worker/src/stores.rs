//! Where a worker keeps what must survive it.

pub mod offset;
