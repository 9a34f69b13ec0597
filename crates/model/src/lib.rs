//! The nouns that unrelated crates share: topics, partitions, offsets, brokers, routes, ACLs.
//!
//! Newtypes where two numbers could change places, and the plain values that cross the seam between
//! the control plane and the data plane ([`Routes`]). No I/O, no serialization, no behaviour beyond
//! ordering and display.

mod acl;
mod ids;
mod route;
mod users;

pub use acl::{
    AccessControlEntry, Acl, AclOperation, AclPermission, Acls, PatternType, ResourcePattern, ResourceType,
    WILDCARD_RESOURCE,
};
pub use ids::{
    BrokerId, ClusterName, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId, TopicName, TopicPartition,
};
pub use route::{RewriteRule, Route, Routes, TimestampRule};
pub use users::Users;
