//! Which ACLs the destination gets for the copies of topics, and which it loses again.
//!
//! ```text
//! source's ACLs ─▶ renamed, narrowed ─┬─▶ about a copy, and absent there ─▶ grant
//!        │                            └─▶ created by us, and none leads to it ─▶ revoke
//!        └─▶ not copied, and why
//! ```
//!
//! A reader of a topic may read its copy; nobody is let in who was kept out at the source. Four rules keep it so.
//! What changes a copy is not granted, unless that is asked for. A DENY for everybody would shut out this program, which
//! has to write; so it stays behind, and with it every ALLOW that it outweighs, whether its topic is copied at present or
//! not: its copy may be there from before. For the same reason a DENY is copied that meets an ALLOW which is. And an ALLOW
//! for a prefix stays one only where nothing else has a copy of that prefix ([`covers_more`]).
//!
//! Only what this flow created is ever revoked: what it created is stored ([`AclSight::granted`]) before it is. Where
//! every topic has the same name at the destination, the rights on that are those of all that are copied, together.
//!
//! Source: the issue this was built for; MirrorMaker 2's `MirrorSourceConnector.syncTopicAcls` (KIP-382), which copies
//! literal ACLs of topics and revokes none.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    AccessControlEntry, Acl, AclOperation, AclPermission, Acls, PatternType, ResourcePattern, ResourceType,
    TopicName, WILDCARD_RESOURCE,
};

use crate::acl_plan::{AclPlan, Grant, Withheld, WithheldReason};
use crate::naming::{NAME_CHARS_MAX, Naming, check_name};

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
    let denied: Vec<&Acl> = sight.source.iter().filter(|acl| shuts_out(acl)).collect();
    let once_copied = once_copied(naming, sight);
    let (mut wanted, mut kept) = (BTreeMap::new(), BTreeSet::new());
    // What is allowed at the destination, or is to be, as the source has it.
    let mut allowed = BTreeSet::new();
    let (allows, denies): (Vec<&Acl>, Vec<&Acl>) =
        sight.source.iter().partition(|acl| acl.entry.permission == AclPermission::Allow);
    for acl in allows.into_iter().chain(denies) {
        let is_covered = covers_copies(&acl.resource, sight.copied);
        let entries = match entries(rules, acl, sight.copies_at_source, &denied) {
            Ok(entries) => entries,
            Err(why) => {
                if is_covered {
                    plan.not_copied.push(Withheld { acl: acl.clone(), why });
                }
                continue;
            }
        };
        // The one name is no copy of a topic that is not copied.
        if naming.is_fixed() && !is_covered {
            continue;
        }
        let is_deny = acl.entry.permission == AclPermission::Deny;
        let is_about = is_covered || (is_deny && meets(&allowed, &acl.resource));
        let resources = match covers_more(acl, naming) {
            false => vec![(renamed(&acl.resource, naming), is_about)],
            true => one_by_one(&acl.resource, naming, sight.copied, &once_copied),
        };
        for (resource, is_wanted) in resources {
            for entry in &entries {
                let copy = Acl { resource: resource.clone(), entry: entry.clone() };
                if !is_deny && (is_wanted || holds(sight.granted, &copy)) {
                    allowed.insert(acl.resource.clone());
                }
                kept.insert(copy.clone());
                if is_wanted {
                    wanted.entry(copy).or_insert(acl);
                }
            }
        }
    }
    plan.not_copied.sort_by(|one, other| one.acl.cmp(&other.acl));
    let absent = wanted.into_iter().filter(|(copy, _)| !sight.destination.contains(copy));
    plan.grants = absent.map(|(acl, origin)| Grant { acl, origin: origin.clone() }).collect();
    let ours = sight.granted.iter().flat_map(|(resource, entries)| {
        entries.iter().map(|entry| Acl { resource: resource.clone(), entry: entry.clone() })
    });
    (plan.revokes, plan.gone) =
        ours.filter(|acl| !kept.contains(acl)).partition(|acl| sight.destination.contains(acl));
    plan
}

fn holds(acls: &Acls, Acl { resource, entry }: &Acl) -> bool {
    acls.get(resource).is_some_and(|entries| entries.contains(entry))
}

/// Topics to whose copies this flow has granted something each: they may not be copied at present.
fn once_copied(naming: &Naming, sight: &AclSight<'_>) -> BTreeSet<TopicName> {
    let literal = |pattern: &&ResourcePattern| {
        pattern.resource_type == ResourceType::Topic && pattern.pattern_type == PatternType::Literal
    };
    let granted = sight.granted.keys().filter(literal);
    granted.filter_map(|pattern| naming.source(&TopicName::from(pattern.name.as_str()))).collect()
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

/// Whether some topic is one of `resource` and of `patterns`, as [`overlap`] says of two. There may be many of both.
fn meets(patterns: &BTreeSet<ResourcePattern>, resource: &ResourcePattern) -> bool {
    let topic = ResourceType::Topic;
    let of_topics = patterns.first().is_some_and(|first| first.resource_type == topic);
    let name = &resource.name;
    if resource.resource_type != topic || !of_topics || name.len() > NAME_CHARS_MAX {
        return false;
    }
    let begins_so = |first: ResourcePattern| {
        let (pattern_type, mut behind) = (first.pattern_type, patterns.range(first..));
        behind.next().is_some_and(|next| {
            (next.resource_type, next.pattern_type) == (topic, pattern_type) && next.name.starts_with(name)
        })
    };
    let is_below = || {
        let mut beginnings = (0..=name.len()).filter_map(|end| name.get(..end));
        beginnings.any(|beginning| patterns.contains(&ResourcePattern::prefixed(topic, beginning)))
    };
    patterns.contains(&ResourcePattern::literal(topic, WILDCARD_RESOURCE))
        || is_below()
        || match resource.pattern_type {
            PatternType::Literal => resource.is_wildcard() || patterns.contains(resource),
            PatternType::Prefixed => {
                begins_so(resource.clone()) || begins_so(ResourcePattern::literal(topic, name.as_str()))
            }
        }
}

/// Whether `acl` allows something by a prefix that would cover, renamed, the copy of a topic that it does not cover itself:
/// where copies are named `${topic}.replica`, that of `orders` begins with `orders.`, and `orders` does not.
fn covers_more(Acl { resource, entry }: &Acl, naming: &Naming) -> bool {
    let is_prefix =
        resource.resource_type == ResourceType::Topic && resource.pattern_type == PatternType::Prefixed;
    if !is_prefix || entry.permission == AclPermission::Deny || naming.is_fixed() {
        return false;
    }
    let ResourcePattern { name: copies, .. } = renamed(resource, naming);
    let mut shorter =
        (1..resource.name.len().min(NAME_CHARS_MAX + 1)).filter_map(|end| resource.name.get(..end));
    shorter.any(|name| {
        check_name(name).is_ok() && naming.destination(&TopicName::from(name)).as_str().starts_with(&copies)
    })
}

/// The copies of those topics that the prefix `resource` covers, and of each whether it is copied at present.
fn one_by_one(
    resource: &ResourcePattern,
    naming: &Naming,
    copied: &BTreeMap<TopicName, TopicName>,
    once_copied: &BTreeSet<TopicName>,
) -> Vec<(ResourcePattern, bool)> {
    let first = TopicName::from(resource.name.as_str());
    let is_covered = |topic: &&TopicName| topic.as_str().starts_with(&resource.name);
    let now = copied.range(first.clone()..).map(|(topic, _)| topic).take_while(is_covered);
    let before =
        once_copied.range(first..).take_while(is_covered).filter(|topic| !copied.contains_key(*topic));
    let copy =
        |topic: &TopicName| ResourcePattern::literal(ResourceType::Topic, naming.destination(topic).as_str());
    now.map(|topic| (copy(topic), true)).chain(before.map(|topic| (copy(topic), false))).collect()
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
