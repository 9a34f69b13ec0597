//! Who may do what: ACLs, and how one is found.
//!
//! Source: KIP-11, KIP-290 (prefixes); the numbers are the protocol's.

use std::collections::BTreeSet;

use crate::kept::{ENTRY_BYTES, Size};

/// What an ACL is about.
pub(crate) mod resource {
    pub(crate) const ANY: i8 = 1;
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const GROUP: i8 = 3;
    pub(crate) const CLUSTER: i8 = 4;
    pub(crate) const TRANSACTIONAL_ID: i8 = 5;
    pub(crate) const LAST: i8 = 7;
}

/// How a resource is named.
pub(crate) mod pattern {
    pub(crate) const ANY: i8 = 1;
    pub(crate) const MATCH: i8 = 2;
    pub(crate) const LITERAL: i8 = 3;
    pub(crate) const PREFIXED: i8 = 4;
}

/// What may be done.
pub(crate) mod operation {
    pub(crate) const ANY: i8 = 1;
    pub(crate) const ALL: i8 = 2;
    pub(crate) const READ: i8 = 3;
    pub(crate) const WRITE: i8 = 4;
    pub(crate) const CREATE: i8 = 5;
    pub(crate) const DELETE: i8 = 6;
    pub(crate) const ALTER: i8 = 7;
    pub(crate) const DESCRIBE: i8 = 8;
    pub(crate) const CLUSTER_ACTION: i8 = 9;
    pub(crate) const DESCRIBE_CONFIGS: i8 = 10;
    pub(crate) const ALTER_CONFIGS: i8 = 11;
    pub(crate) const IDEMPOTENT_WRITE: i8 = 12;
    pub(crate) const LAST: i8 = 14;
}

/// Whether it may.
pub(crate) mod permission {
    pub(crate) const ANY: i8 = 1;
    pub(crate) const DENY: i8 = 2;
    pub(crate) const ALLOW: i8 = 3;
}

/// The name of the one resource that is the cluster.
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";
const WILDCARD: &str = "*";

/// One ACL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Acl {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: String,
    pub(crate) pattern: i8,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

/// What ACLs are looked for; `None` and the ANYs match everything.
#[derive(Clone, Debug)]
pub(crate) struct AclFilter {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: Option<String>,
    pub(crate) pattern: i8,
    pub(crate) principal: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

impl AclFilter {
    pub(crate) fn matches(&self, acl: &Acl) -> bool {
        let same = |wanted: i8, any: i8, is: i8| wanted == any || wanted == is;
        let named = |name: &str| match self.pattern {
            pattern::MATCH => acl.is_about(name) || (acl.pattern == pattern::LITERAL && name == WILDCARD),
            _ => acl.resource_name == name,
        };
        same(self.resource_type, resource::ANY, acl.resource_type)
            && (matches!(self.pattern, pattern::ANY | pattern::MATCH) || self.pattern == acl.pattern)
            && self.resource_name.as_deref().is_none_or(named)
            && self.principal.as_ref().is_none_or(|principal| *principal == acl.principal)
            && self.host.as_ref().is_none_or(|host| *host == acl.host)
            && same(self.operation, operation::ANY, acl.operation)
            && same(self.permission, permission::ANY, acl.permission)
    }

    /// Whether its numbers are ones that Kafka knows.
    pub(crate) fn is_known(&self) -> bool {
        (resource::ANY..=resource::LAST).contains(&self.resource_type)
            && (pattern::ANY..=pattern::PREFIXED).contains(&self.pattern)
            && (operation::ANY..=operation::LAST).contains(&self.operation)
            && (permission::ANY..=permission::ALLOW).contains(&self.permission)
    }
}

impl Acl {
    /// One that allows `operation` on the one resource of that name, if Kafka has these words.
    pub(crate) fn allowing(principal: &str, operation: &str, resource: &str, name: &str) -> Option<Acl> {
        let operation = match operation {
            "READ" => operation::READ,
            "WRITE" => operation::WRITE,
            "CREATE" => operation::CREATE,
            "ALTER" => operation::ALTER,
            "DESCRIBE" => operation::DESCRIBE,
            "DESCRIBE_CONFIGS" => operation::DESCRIBE_CONFIGS,
            "ALTER_CONFIGS" => operation::ALTER_CONFIGS,
            "IDEMPOTENT_WRITE" => operation::IDEMPOTENT_WRITE,
            _ => return None,
        };
        let (resource_type, name) = match resource {
            "TOPIC" => (resource::TOPIC, name),
            "GROUP" => (resource::GROUP, name),
            "CLUSTER" => (resource::CLUSTER, CLUSTER_NAME),
            _ => return None,
        };
        Some(Acl {
            resource_type,
            resource_name: name.to_owned(),
            pattern: pattern::LITERAL,
            principal: principal.to_owned(),
            host: WILDCARD.to_owned(),
            operation,
            permission: permission::ALLOW,
        })
    }

    fn is_about(&self, name: &str) -> bool {
        match self.pattern {
            pattern::PREFIXED => name.starts_with(&self.resource_name),
            _ => self.resource_name == WILDCARD || self.resource_name == name,
        }
    }

    fn concerns(&self, who: &Who<'_>, resource_type: i8, name: &str) -> bool {
        self.resource_type == resource_type
            && self.is_about(name)
            && (self.principal == "User:*" || self.principal == who.principal)
            && (self.host == WILDCARD || self.host == who.host)
    }

    /// Whether what it allows is enough for `wanted`: most things include being told.
    fn allows(&self, wanted: i8) -> bool {
        let implied = match wanted {
            operation::DESCRIBE => [operation::READ, operation::WRITE, operation::DELETE, operation::ALTER]
                .contains(&self.operation),
            operation::DESCRIBE_CONFIGS => self.operation == operation::ALTER_CONFIGS,
            _ => false,
        };
        self.permission == permission::ALLOW
            && (implied || self.operation == wanted || self.operation == operation::ALL)
    }

    fn denies(&self, wanted: i8) -> bool {
        self.permission == permission::DENY && [wanted, operation::ALL].contains(&self.operation)
    }

    /// What it takes of what is kept.
    pub(crate) fn size(&self) -> Size {
        let names = self.resource_name.len() + self.principal.len() + self.host.len();
        Size { things: 0, bytes: ENTRY_BYTES + names }
    }

    /// Whether it stands for several ACLs, as only a filter may.
    pub(crate) fn is_filter(&self) -> bool {
        matches!(self.pattern, pattern::ANY | pattern::MATCH)
            || self.resource_type == resource::ANY
            || self.operation == operation::ANY
            || self.permission == permission::ANY
    }

    /// Why it cannot be created.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !(pattern::LITERAL..=pattern::PREFIXED).contains(&self.pattern) {
            return Some("Invalid pattern type");
        }
        if !(resource::TOPIC..=resource::LAST).contains(&self.resource_type) {
            return Some("Invalid resource type");
        }
        if !(operation::ALL..=operation::LAST).contains(&self.operation) {
            return Some("Invalid operation");
        }
        if !(permission::DENY..=permission::ALLOW).contains(&self.permission) {
            return Some("Invalid permission type");
        }
        if self.resource_type == resource::CLUSTER && self.resource_name != CLUSTER_NAME {
            return Some("The only valid name for the CLUSTER resource is kafka-cluster");
        }
        if self.resource_name.is_empty() {
            return Some("Resource name should not be empty");
        }
        None
    }
}

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) principal: &'a str,
    /// An address without anything around it.
    pub(crate) host: &'a str,
}

/// The authorizer of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorizer {
    pub(crate) acls: BTreeSet<Acl>,
    pub(crate) super_users: Vec<String>,
}

impl Authorizer {
    /// Whether somebody may. Super users may; who is denied may not; who is allowed may; nobody else does.
    pub(crate) fn may(&self, who: &Who<'_>, wanted: i8, resource_type: i8, name: &str) -> bool {
        if self.super_users.iter().any(|user| user == who.principal) {
            return true;
        }
        let mut about = self.acls.iter().filter(|acl| acl.concerns(who, resource_type, name));
        let denied = about.clone().any(|acl| acl.denies(wanted));
        !denied && about.any(|acl| acl.allows(wanted))
    }

    /// Whether somebody may do it to any resource of a kind at all.
    pub(crate) fn may_any(&self, who: &Who<'_>, wanted: i8, resource_type: i8) -> bool {
        let names = self.acls.iter().filter(|acl| acl.resource_type == resource_type);
        self.super_users.iter().any(|user| user == who.principal)
            || names.clone().any(|acl| self.may(who, wanted, resource_type, &acl.resource_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(name: &str, pattern: i8, operation: i8, permission: i8) -> Acl {
        Acl {
            resource_type: resource::TOPIC,
            resource_name: name.to_owned(),
            pattern,
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation,
            permission,
        }
    }

    #[test]
    fn deny_outweighs_allow_and_most_things_include_describing() {
        let mut authorizer = Authorizer::default();
        let ann = Who { principal: "User:ann", host: "127.0.0.1" };
        let may = |authorizer: &Authorizer, wanted, name| authorizer.may(&ann, wanted, resource::TOPIC, name);
        assert!(!may(&authorizer, operation::READ, "a"));
        authorizer.acls.insert(acl("a", pattern::PREFIXED, operation::READ, permission::ALLOW));
        assert!(may(&authorizer, operation::READ, "abc") && may(&authorizer, operation::DESCRIBE, "abc"));
        assert!(!may(&authorizer, operation::WRITE, "abc") && !may(&authorizer, operation::READ, "b"));
        authorizer.acls.insert(acl("*", pattern::LITERAL, operation::ALL, permission::DENY));
        assert!(!may(&authorizer, operation::READ, "abc"));
        authorizer.super_users.push("User:ann".to_owned());
        assert!(may(&authorizer, operation::READ, "abc"));
    }
}
