//! record-batch
