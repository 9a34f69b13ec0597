//! embedded-kafka
