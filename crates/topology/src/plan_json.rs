//! A plan as JSON, for programs. Members keep their names, meaning and order; new ones may be added.
//!
//! ```text
//! {"pending":…,"steps":[…],"blocked":[…],"not_copied":[…],"unselected":{…},"warnings":[…],…}
//! ```
//!
//! What is worth deciding on has a word of its own (`action`, `reason`); texts are for people and may change.

use std::collections::BTreeMap;

use model::{Route, TopicName};
use serde_json::{Value, json};

use crate::acl_plan::AclPlan;
use crate::candidates::{NotCopied, NotCopiedReason, Unselected};
use crate::plan::{Action, BlockReason, Blocked, Change, Difference, Plan, Step, Warning};
use crate::settings::{Chosen, LeftOut};

impl Plan {
    /// The plan as a JSON object.
    pub fn json(&self) -> Value {
        json!({
            "pending": self.is_pending(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "blocked": self.blocked.iter().map(blocked).collect::<Vec<_>>(),
            "not_copied": self.not_copied.iter().map(not_copied).collect::<Vec<_>>(),
            "unselected": unselected(&self.unselected),
            "warnings": self.warnings.iter().map(warning).collect::<Vec<_>>(),
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "topics": topics(&self.routes),
            "acls": self.acls.as_ref().map(AclPlan::json),
        })
    }
}

fn step(Step { topic, action, reason }: &Step) -> Value {
    match action {
        Action::Create { partitions, replication_factor, settings, left_out } => json!({
            "action": "create",
            "topic": topic.as_str(),
            "why": reason,
            "partitions": partitions,
            "replication_factor": replication_factor,
            "settings": settings.iter().map(chosen).collect::<Vec<_>>(),
            "left_out": left_out.iter().map(override_left_out).collect::<Vec<_>>(),
        }),
        Action::Grow { from, to } => json!({
            "action": "grow",
            "topic": topic.as_str(),
            "why": reason,
            "from": from,
            "to": to,
        }),
        Action::SetConfig { changes } => json!({
            "action": "set_config",
            "topic": topic.as_str(),
            "why": reason,
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
        }),
    }
}

fn chosen((key, Chosen { value, why }): (&String, &Chosen)) -> Value {
    json!({ "key": key, "value": value, "why": why })
}

fn override_left_out(LeftOut { key, value, why }: &LeftOut) -> Value {
    json!({ "key": key, "value": value, "why": why })
}

/// A value of `null` is none set: the broker's default.
fn change((key, Change { from, to, why }): (&String, &Change)) -> Value {
    json!({ "key": key, "from": from, "to": to, "why": why })
}

fn blocked(Blocked { source, destination, partitions_from, why }: &Blocked) -> Value {
    json!({
        "source": source.as_str(),
        "destination": destination.as_str(),
        "partitions_from": partitions_from,
        "reason": block_reason(why),
        "why": why.to_string(),
        "hint": why.hint(),
    })
}

fn block_reason(why: &BlockReason) -> &'static str {
    match why {
        BlockReason::TooFewBrokers { .. } => "too_few_brokers",
        BlockReason::NotThere { .. } => "not_there",
        BlockReason::SettingsUnreadable(_) => "settings_unreadable",
        BlockReason::Collides(_) => "collides",
        BlockReason::Refused(_) => "refused",
        BlockReason::Troubled(_) => "troubled",
    }
}

fn not_copied(NotCopied { source, why }: &NotCopied) -> Value {
    json!({
        "source": source.as_str(),
        "reason": not_copied_reason(why),
        "open": why.is_open(),
        "why": why.to_string(),
        "hint": why.hint(),
    })
}

fn not_copied_reason(why: &NotCopiedReason) -> &'static str {
    match why {
        NotCopiedReason::Missing => "missing",
        NotCopiedReason::NoTopicName(_) => "no_topic_name",
        NotCopiedReason::Troubled(_) => "troubled",
        NotCopiedReason::Blacklisted => "blacklisted",
        NotCopiedReason::Internal => "internal",
        NotCopiedReason::TooCostly => "too_costly",
        NotCopiedReason::Itself => "itself",
        NotCopiedReason::CopyOf(_) => "copy_of",
        NotCopiedReason::IllegalName(_) => "illegal_name",
        NotCopiedReason::InternalName(_) => "internal_name",
        NotCopiedReason::SharedName { .. } => "shared_name",
        NotCopiedReason::OtherFlow { .. } => "other_flow",
        NotCopiedReason::ComesBack { .. } => "comes_back",
        NotCopiedReason::CopyFromThere { .. } => "copy_from_there",
    }
}

fn unselected(Unselected { not_asked, blacklisted, internal }: &Unselected) -> Value {
    json!({
        "not_asked": names(not_asked),
        "blacklisted": names(blacklisted),
        "internal": names(internal),
    })
}

fn names(topics: &[TopicName]) -> Vec<&str> {
    topics.iter().map(TopicName::as_str).collect()
}

fn warning(Warning { topic, text }: &Warning) -> Value {
    json!({ "topic": topic.as_ref().map(TopicName::as_str), "text": text })
}

fn difference(Difference { topic, key, at_source, at_destination, why }: &Difference) -> Value {
    json!({
        "topic": topic.as_str(),
        "key": key,
        "at_source": at_source,
        "at_destination": at_destination,
        "why": why,
    })
}

/// What is copied once the steps are done, by topic; `spread_over`, how many partitions there take its records by their
/// keys, is `null` where they keep their partitions.
fn topics(routes: &[Route]) -> Vec<Value> {
    let mut partitions: BTreeMap<(&str, &str), (u64, Option<i32>)> = BTreeMap::new();
    for route in routes {
        let pair = (route.source.topic.as_str(), route.destination.topic.as_str());
        let topic = partitions.entry(pair).or_default();
        *topic = (topic.0 + 1, route.spread_over);
    }
    let topic = |((source, destination), (partitions, spread_over))| {
        json!({
            "source": source,
            "destination": destination,
            "partitions": partitions,
            "spread_over": spread_over,
        })
    };
    partitions.into_iter().map(topic).collect()
}
