//! What a plan does to the destination's ACLs: a value to print, to review and to carry out.

use std::fmt;

use model::{Acl, AclPermission, PatternType, ResourcePattern};
use serde_json::{Value, json};

use crate::plan::Count;

/// The steps towards the ACLs that are wanted, and what is left out of them. Each list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclPlan {
    /// What is to be created: it is not there.
    pub grants: Vec<Grant>,
    /// What is to be deleted: this flow created it, and it is there.
    pub revokes: Vec<Acl>,
    /// What this flow created, is not wanted any more, and is not there: it is forgotten. It is deleted all the same,
    /// since a broker may not have heard of it yet.
    pub gone: Vec<Acl>,
    /// ACLs of the source that are about copied topics, or groups, and are not copied.
    pub not_copied: Vec<Withheld>,
    /// Why nothing is known, and so nothing is done.
    pub trouble: Option<AclTrouble>,
}

/// An ACL that the destination is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// It.
    pub acl: Acl,
    /// The ACL of the source that it is a copy of; the first, where several lead to it.
    pub origin: Acl,
}

/// An ACL of the source that is not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// It, at the source.
    pub acl: Acl,
    /// Why.
    pub why: WithheldReason,
}

/// Why an ACL is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithheldReason {
    /// It allows to change topics, and `sync.topic.acls.write` is false.
    ChangesCopies,
    /// It denies to everybody what this program does with copies.
    ShutsOut,
    /// It denies to somebody what this program does with copies, and who this program is there is not known.
    MayShutOut,
    /// A DENY for everybody, which is not copied, outweighs it at the source, wholly or in part.
    Outweighed,
    /// It is about this program's own user.
    OwnUser,
    /// It is about an operation that this program does not know.
    UnknownOperation,
    /// A flow has copied it to the source.
    CopyAtSource,
}

/// Why ACLs cannot be copied, or not all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclTrouble {
    /// What failed, where, and why.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Whether it is about some of them, and the others are copied.
    pub is_partial: bool,
}

impl AclTrouble {
    /// What it comes to, in a few words.
    pub fn headline(&self) -> &'static str {
        if self.is_partial { "not all ACLs are copied" } else { "ACLs are not copied" }
    }
}

impl fmt::Display for AclTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// A list of thousands is not read; the JSON has them all.
const NAMED_MAX: usize = 5;

impl AclPlan {
    /// Whether there is something to do, or somebody has to do something first.
    pub fn is_pending(&self) -> bool {
        self.changes() > 0 || self.trouble.is_some()
    }

    /// ACLs to be created and deleted.
    pub fn changes(&self) -> usize {
        self.grants.len() + self.revokes.len()
    }

    /// The plan as a JSON object.
    pub(crate) fn json(&self) -> Value {
        let grant = |Grant { acl, origin }: &Grant| {
            let mut members = acl_json(acl);
            members["as"] = acl_json(origin);
            members
        };
        let withheld = |Withheld { acl, why }: &Withheld| {
            let mut members = acl_json(acl);
            members["reason"] = why.word().into();
            members["why"] = why.to_string().into();
            members
        };
        let trouble = |AclTrouble { what, hint, .. }: &AclTrouble| json!({ "why": what, "hint": hint });
        json!({
            "grants": self.grants.iter().map(grant).collect::<Vec<_>>(),
            "revokes": self.revokes.iter().map(acl_json).collect::<Vec<_>>(),
            "not_copied": self.not_copied.iter().map(withheld).collect::<Vec<_>>(),
            "trouble": self.trouble.as_ref().map(trouble),
        })
    }
}

fn acl_json(Acl { resource, entry }: &Acl) -> Value {
    json!({
        "resource": resource.resource_type.word(),
        "pattern": resource.pattern_type.word(),
        "name": resource.name,
        "principal": entry.principal,
        "host": entry.host,
        "operation": entry.operation.to_string(),
        "permission": entry.permission.word(),
    })
}

impl WithheldReason {
    const ALL: [WithheldReason; 7] = [
        WithheldReason::ChangesCopies,
        WithheldReason::ShutsOut,
        WithheldReason::MayShutOut,
        WithheldReason::Outweighed,
        WithheldReason::OwnUser,
        WithheldReason::UnknownOperation,
        WithheldReason::CopyAtSource,
    ];

    fn word(self) -> &'static str {
        match self {
            WithheldReason::ChangesCopies => "changes_copies",
            WithheldReason::ShutsOut => "shuts_out",
            WithheldReason::MayShutOut => "may_shut_out",
            WithheldReason::Outweighed => "outweighed",
            WithheldReason::OwnUser => "own_user",
            WithheldReason::UnknownOperation => "unknown_operation",
            WithheldReason::CopyAtSource => "copy_at_source",
        }
    }
}

impl fmt::Display for WithheldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WithheldReason::ChangesCopies => {
                "copies would be changed by others; sync.topic.acls.write=true allows it"
            }
            WithheldReason::ShutsOut => "a DENY for everybody would shut out Paralog, too",
            WithheldReason::MayShutOut => {
                "it may be for Paralog's own user, whose name there its settings do not tell"
            }
            WithheldReason::Outweighed => {
                "at the source a DENY for everybody outweighs it, which is not copied itself"
            }
            WithheldReason::OwnUser => "Paralog's own user there gets its rights from a person",
            WithheldReason::UnknownOperation => "this version does not know the operation",
            WithheldReason::CopyAtSource => "it is a copy itself, which a connector of this worker has made",
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grant { acl, origin } = self;
        let verb = if acl.entry.permission == AclPermission::Deny { "add" } else { "grant" };
        write!(f, "{verb} {acl}")?;
        let whole = if acl.entry.operation == origin.entry.operation { "as" } else { "of ALL, as" };
        write!(f, " ({whole} on {} at the source)", short(&origin.resource))
    }
}

/// The resources, where their type is known from before.
fn short(resource: &ResourcePattern) -> String {
    match resource.pattern_type {
        PatternType::Literal if !resource.is_wildcard() => format!("`{}`", resource.name),
        _ => resource.to_string(),
    }
}

/// The section of a review.
impl fmt::Display for AclPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(trouble) = &self.trouble {
            writeln!(f, "{}: {trouble}", trouble.headline())?;
            writeln!(f, "    hint: {}", trouble.hint)?;
        }
        for grant in &self.grants {
            writeln!(f, "{grant}")?;
        }
        for acl in &self.revokes {
            writeln!(f, "revoke {acl} (nothing at the source leads to it any more)")?;
        }
        for why in WithheldReason::ALL {
            let of_this: Vec<&Acl> =
                self.not_copied.iter().filter(|withheld| withheld.why == why).map(|it| &it.acl).collect();
            if of_this.is_empty() {
                continue;
            }
            let named: Vec<String> = of_this.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = match of_this.len().checked_sub(NAMED_MAX) {
                None | Some(0) => String::new(),
                Some(more) => format!(" and {more} more"),
            };
            let count = Count(of_this.len() as u64, "ACL");
            writeln!(f, "not copied: {count}, {why} ({}{more})", named.join(", "))?;
        }
        Ok(())
    }
}
