//! ACLs, in Kafka's own words: who may do what with topics and groups.
//!
//! Source: KIP-11, KIP-290 (prefixes); `org.apache.kafka.common.acl`, `org.apache.kafka.common.resource`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The name of a literal pattern that stands for every resource of its type.
pub const WILDCARD_RESOURCE: &str = "*";

/// What an ACL is about; only what a copy has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// Topics.
    Topic,
    /// Consumer groups.
    Group,
}

/// How a resource is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatternType {
    /// The one of that name, or all where that is [`WILDCARD_RESOURCE`].
    Literal,
    /// All whose names begin so.
    Prefixed,
}

/// The resources of one ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourcePattern {
    /// What they are.
    pub resource_type: ResourceType,
    /// How they are named.
    pub pattern_type: PatternType,
    /// Their name, or the beginning of it.
    pub name: String,
}

/// What may be done, by the protocol's number. One that is newer than this program keeps its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclOperation(pub i8);

/// Whether it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AclPermission {
    /// It may not, whatever else allows it.
    Deny,
    /// It may.
    Allow,
}

/// Who may do what, from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessControlEntry {
    /// Who, with its type before it: `User:ann`, or `User:*` for everybody.
    pub principal: String,
    /// From which address, or `*` for any.
    pub host: String,
    /// What.
    pub operation: AclOperation,
    /// Whether.
    pub permission: AclPermission,
}

/// One ACL, which Kafka calls a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// With what.
    pub resource: ResourcePattern,
    /// Who and what.
    pub entry: AccessControlEntry,
}

/// ACLs by their resources.
pub type Acls = BTreeMap<ResourcePattern, BTreeSet<AccessControlEntry>>;

macro_rules! operations {
    ($($name:ident = $number:literal,)*) => {
        #[allow(missing_docs, reason = "the names are Kafka's own")]
        impl AclOperation {
            $(pub const $name: AclOperation = AclOperation($number);)*

            /// Kafka's name for it, `None` where this program knows none.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The operation of that name, if this program knows one.
            pub fn named(name: &str) -> Option<AclOperation> {
                match name {
                    $(stringify!($name) => Some(AclOperation::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    ALL = 2,
    READ = 3,
    WRITE = 4,
    CREATE = 5,
    DELETE = 6,
    ALTER = 7,
    DESCRIBE = 8,
    CLUSTER_ACTION = 9,
    DESCRIBE_CONFIGS = 10,
    ALTER_CONFIGS = 11,
    IDEMPOTENT_WRITE = 12,
}

impl ResourceType {
    /// In a word, as Kafka's tools have it.
    pub fn word(self) -> &'static str {
        match self {
            ResourceType::Topic => "topic",
            ResourceType::Group => "group",
        }
    }
}

impl PatternType {
    /// In a word, as Kafka's tools have it.
    pub fn word(self) -> &'static str {
        match self {
            PatternType::Literal => "literal",
            PatternType::Prefixed => "prefixed",
        }
    }
}

impl ResourcePattern {
    /// The one of that name.
    pub fn literal(resource_type: ResourceType, name: impl Into<String>) -> ResourcePattern {
        ResourcePattern { resource_type, pattern_type: PatternType::Literal, name: name.into() }
    }

    /// All whose names begin so.
    pub fn prefixed(resource_type: ResourceType, name: impl Into<String>) -> ResourcePattern {
        ResourcePattern { resource_type, pattern_type: PatternType::Prefixed, name: name.into() }
    }

    /// Whether it stands for every resource of its type.
    pub fn is_wildcard(&self) -> bool {
        self.pattern_type == PatternType::Literal && self.name == WILDCARD_RESOURCE
    }
}

impl AclPermission {
    /// As Kafka has it: `ALLOW`, `DENY`.
    pub fn word(self) -> &'static str {
        match self {
            AclPermission::Deny => "DENY",
            AclPermission::Allow => "ALLOW",
        }
    }
}

impl fmt::Display for AclOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "operation {}", self.0),
        }
    }
}

impl fmt::Debug for AclOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.resource_type.word();
        match self.pattern_type {
            PatternType::Literal if self.is_wildcard() => write!(f, "all {word}s"),
            PatternType::Literal => write!(f, "{word} `{}`", self.name),
            PatternType::Prefixed => write!(f, "{word}s that begin with `{}`", self.name),
        }
    }
}

/// `User:ann READ on topic `orders``, `DENY User:bob READ on all groups`; a host only where it is not any.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessControlEntry { principal, host, operation, permission } = &self.entry;
        if *permission == AclPermission::Deny {
            f.write_str("DENY ")?;
        }
        write!(f, "{principal} {operation} on {}", self.resource)?;
        if host != "*" {
            write!(f, " from {host}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_reads_as_a_sentence() {
        let check = |resource: ResourcePattern, host: &str, permission, expected: &str| {
            let entry = AccessControlEntry {
                principal: "User:ann".to_owned(),
                host: host.to_owned(),
                operation: AclOperation::READ,
                permission,
            };
            assert_eq!(Acl { resource, entry }.to_string(), expected);
        };
        let (topic, group) = (ResourceType::Topic, ResourceType::Group);
        let allow = AclPermission::Allow;
        check(ResourcePattern::literal(topic, "t"), "*", allow, "User:ann READ on topic `t`");
        check(ResourcePattern::literal(group, "*"), "*", allow, "User:ann READ on all groups");
        check(
            ResourcePattern::prefixed(topic, "t."),
            "10.0.0.1",
            AclPermission::Deny,
            "DENY User:ann READ on topics that begin with `t.` from 10.0.0.1",
        );
        // The wildcard is a literal: a prefix of that name is a prefix.
        check(
            ResourcePattern::prefixed(topic, "*"),
            "*",
            allow,
            "User:ann READ on topics that begin with `*`",
        );
    }

    #[test]
    fn an_operation_is_known_by_its_name_or_keeps_its_number() {
        for number in i8::MIN..=i8::MAX {
            let operation = AclOperation(number);
            assert_eq!(
                operation.name().and_then(AclOperation::named),
                operation.name().is_some().then_some(operation)
            );
        }
        assert_eq!(AclOperation(77).to_string(), "operation 77");
    }
}
