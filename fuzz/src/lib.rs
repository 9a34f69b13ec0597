//! What must hold whatever the bytes: each function takes any bytes and panics if it does not.
//!
//! The targets feed them bytes that libFuzzer finds, and tests beside the crates feed the same functions
//! generated ones.

pub mod batch;
pub mod broker;
