//! Which ACLs the destination gets for the copies of topics, and which it loses again.
//!
//! ```text
//! source's ACLs ─▶ renamed, narrowed ─┬─▶ about a copy, and absent there ─▶ grant
//!        │                            └─▶ created by us, and none leads to it ─▶ revoke
//!        └─▶ not copied, and why
//! ```
//!
//! A reader of a topic may read its copy; nobody is let in who was kept out at the source. Three rules keep it so.
//! What changes a copy is not granted, unless that is asked for. A DENY for everybody would shut out this program, which
//! has to write; so it stays behind, and with it every ALLOW that it outweighs. And only what this flow created is ever
//! revoked: what it created is stored ([`AclSight::granted`]) before it is.
//!
//! Source: the issue this was built for; MirrorMaker 2's `MirrorSourceConnector.syncTopicAcls` (KIP-382), which copies
//! literal ACLs of topics and revokes none.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AccessControlEntry, Acl, AclOperation, AclPermission, Acls, PatternType, ResourcePattern, ResourceType,
    TopicName,
};

use crate::acl_plan::{AclPlan, Grant, Withheld, WithheldReason};
use crate::naming::Naming;

/// Everybody, as Kafka's authorizers have it (`AclEntry.WildcardPrincipal`).
const EVERYBODY: &str = "User:*";

/// What is allowed by READ alone of what a reader needs; the rest of ALL changes the copy.
const READING: [AclOperation; 2] = [AclOperation::READ, AclOperation::DESCRIBE_CONFIGS];

/// What this program does with copies: whoever denies it to everybody denies it to us ([`crate::rights`]).
const NEEDED: [AclOperation; 8] = [
    AclOperation::ALL,
    AclOperation::READ,
    AclOperation::WRITE,
    AclOperation::CREATE,
    AclOperation::ALTER,
    AclOperation::DESCRIBE,
    AclOperation::DESCRIBE_CONFIGS,
    AclOperation::ALTER_CONFIGS,
];

/// What of that is denied to somebody whom the source lets read: it may be this program.
const CHANGING: [AclOperation; 4] =
    [AclOperation::WRITE, AclOperation::CREATE, AclOperation::ALTER, AclOperation::ALTER_CONFIGS];

/// How ACLs are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclRules {
    /// `sync.topic.acls.write`: rights that change topics are copied, too.
    pub write: bool,
    /// Who this program is at the destination, where the settings tell: `User:paralog`.
    pub own_principal: Option<String>,
}

/// What is known of both clusters' ACLs.
#[derive(Clone, Copy, Debug)]
pub struct AclSight<'a> {
    /// Those of topics and groups at the source.
    pub source: &'a BTreeSet<Acl>,
    /// Those of them that flows have copied there: this one too, where both clusters are one.
    pub copies_at_source: &'a BTreeSet<Acl>,
    /// Those of topics and groups at the destination.
    pub destination: &'a BTreeSet<Acl>,
    /// What this flow has created at the destination, or was about to.
    pub granted: &'a Acls,
    /// The topics that are copied, each with its name at the destination.
    pub copied: &'a BTreeMap<TopicName, TopicName>,
}

/// What is to be done so that the destination's ACLs follow the source's: a pure function.
///
/// What is granted is absent at the destination. What is revoked was granted by this flow, and no ACL of the source
/// leads to it, whether its topic is copied at present or not.
pub fn plan_acls(rules: &AclRules, naming: &Naming, sight: &AclSight<'_>) -> AclPlan {
    let mut plan = AclPlan::default();
    let denied: Vec<&Acl> = sight
        .source
        .iter()
        .filter(|acl| shuts_out(acl) && covers_copies(&acl.resource, sight.copied))
        .collect();
    let (mut wanted, mut kept) = (BTreeMap::new(), BTreeSet::new());
    for acl in sight.source {
        let is_covered = covers_copies(&acl.resource, sight.copied);
        match entries(rules, acl, sight.copies_at_source, &denied) {
            Ok(entries) => {
                let resource = renamed(&acl.resource, naming);
                for entry in entries {
                    let copy = Acl { resource: resource.clone(), entry };
                    kept.insert(copy.clone());
                    if is_covered {
                        wanted.entry(copy).or_insert(acl);
                    }
                }
            }
            Err(why) if is_covered => plan.not_copied.push(Withheld { acl: acl.clone(), why }),
            Err(_) => {}
        }
    }
    let absent = wanted.into_iter().filter(|(copy, _)| !sight.destination.contains(copy));
    plan.grants = absent.map(|(acl, origin)| Grant { acl, origin: origin.clone() }).collect();
    let ours = sight.granted.iter().flat_map(|(resource, entries)| {
        entries.iter().map(|entry| Acl { resource: resource.clone(), entry: entry.clone() })
    });
    (plan.revokes, plan.gone) =
        ours.filter(|acl| !kept.contains(acl)).partition(|acl| sight.destination.contains(acl));
    plan
}

/// What the copy of `acl` allows or denies; several where it is narrowed.
fn entries(
    rules: &AclRules,
    acl: &Acl,
    copies_at_source: &BTreeSet<Acl>,
    denied: &[&Acl],
) -> Result<Vec<AccessControlEntry>, WithheldReason> {
    let entry = &acl.entry;
    if copies_at_source.contains(acl) {
        return Err(WithheldReason::CopyAtSource);
    }
    if entry.operation.name().is_none() {
        return Err(WithheldReason::UnknownOperation);
    }
    if rules.own_principal.as_ref() == Some(&entry.principal) {
        return Err(WithheldReason::OwnUser);
    }
    if shuts_out(acl) {
        return Err(WithheldReason::ShutsOut);
    }
    if may_shut_out(rules, acl) {
        return Err(WithheldReason::MayShutOut);
    }
    let is_narrowed = acl.resource.resource_type == ResourceType::Topic
        && entry.permission == AclPermission::Allow
        && !rules.write;
    let operations = match entry.operation {
        AclOperation::ALL if is_narrowed => READING.to_vec(),
        AclOperation::READ | AclOperation::DESCRIBE | AclOperation::DESCRIBE_CONFIGS => vec![entry.operation],
        _ if is_narrowed => return Err(WithheldReason::ChangesCopies),
        operation => vec![operation],
    };
    let narrowed = |operation| AccessControlEntry { operation, ..entry.clone() };
    let entries: Vec<AccessControlEntry> = operations.into_iter().map(narrowed).collect();
    match entries.iter().any(|entry| denied.iter().any(|deny| outweighs(deny, &acl.resource, entry))) {
        true => Err(WithheldReason::Outweighed),
        false => Ok(entries),
    }
}

/// Whether a copy of it would deny this program something that it does. From which addresses it does it is not known.
fn shuts_out(Acl { resource, entry }: &Acl) -> bool {
    resource.resource_type == ResourceType::Topic
        && entry.permission == AclPermission::Deny
        && entry.principal == EVERYBODY
        && NEEDED.contains(&entry.operation)
}

/// Whether it may be this program to whom a copy of it would deny what it does. At the source its user is often kept from
/// writing, and has the same name there. Nobody is let in by leaving it out: what it denies is not granted either.
fn may_shut_out(rules: &AclRules, Acl { resource, entry }: &Acl) -> bool {
    rules.own_principal.is_none()
        && !rules.write
        && resource.resource_type == ResourceType::Topic
        && entry.permission == AclPermission::Deny
        && CHANGING.contains(&entry.operation)
}

/// Whether `deny`, which is for everybody, takes back some of what `entry` allows on `resource`.
fn outweighs(deny: &Acl, resource: &ResourcePattern, entry: &AccessControlEntry) -> bool {
    let (denied, allowed) = (deny.entry.operation, entry.operation);
    let includes_describe =
        [AclOperation::READ, AclOperation::WRITE, AclOperation::DELETE, AclOperation::ALTER];
    let about = denied == allowed
        || denied == AclOperation::ALL
        || allowed == AclOperation::ALL
        || (denied == AclOperation::DESCRIBE && includes_describe.contains(&allowed))
        || (denied == AclOperation::DESCRIBE_CONFIGS && allowed == AclOperation::ALTER_CONFIGS);
    let any = |host: &str| host == "*";
    let from = any(&deny.entry.host) || any(&entry.host) || deny.entry.host == entry.host;
    entry.permission == AclPermission::Allow && about && from && overlap(&deny.resource, resource)
}

/// Whether some resource is one of both.
fn overlap(one: &ResourcePattern, other: &ResourcePattern) -> bool {
    use PatternType::{Literal, Prefixed};
    let names = match (one.pattern_type, other.pattern_type) {
        (Literal, _) if one.is_wildcard() => true,
        (_, Literal) if other.is_wildcard() => true,
        (Literal, Literal) => one.name == other.name,
        (Literal, Prefixed) => one.name.starts_with(&other.name),
        (Prefixed, Literal) => other.name.starts_with(&one.name),
        (Prefixed, Prefixed) => one.name.starts_with(&other.name) || other.name.starts_with(&one.name),
    };
    one.resource_type == other.resource_type && names
}

/// Whether ACLs of these resources of the source are about something that is copied. Groups keep their names, and all
/// are.
fn covers_copies(resource: &ResourcePattern, copied: &BTreeMap<TopicName, TopicName>) -> bool {
    match (resource.resource_type, resource.pattern_type) {
        (ResourceType::Group, _) => true,
        (ResourceType::Topic, PatternType::Literal) if resource.is_wildcard() => !copied.is_empty(),
        (ResourceType::Topic, PatternType::Literal) => copied.contains_key(resource.name.as_str()),
        (ResourceType::Topic, PatternType::Prefixed) => {
            let mut behind = copied.range(TopicName::from(resource.name.as_str())..);
            behind.next().is_some_and(|(topic, _)| topic.as_str().starts_with(&resource.name))
        }
    }
}

/// The narrowest pattern that covers the copies of what `resource` covers at the source, whatever is copied.
fn renamed(resource: &ResourcePattern, naming: &Naming) -> ResourcePattern {
    let topic = ResourceType::Topic;
    if resource.resource_type != topic {
        return resource.clone();
    }
    let Some(beginning) = naming.beginning() else {
        // One name for all.
        return ResourcePattern::literal(topic, naming.destination(&TopicName::from("")).as_str());
    };
    match resource.pattern_type {
        PatternType::Literal if resource.is_wildcard() && beginning.is_empty() => resource.clone(),
        PatternType::Literal if resource.is_wildcard() => ResourcePattern::prefixed(topic, beginning),
        PatternType::Literal => {
            let name = naming.destination(&TopicName::from(resource.name.as_str()));
            ResourcePattern::literal(topic, name.as_str())
        }
        PatternType::Prefixed => ResourcePattern::prefixed(topic, format!("{beginning}{}", resource.name)),
    }
}

#[cfg(test)]
mod tests;
