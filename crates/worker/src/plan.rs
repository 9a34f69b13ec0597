//! What `run` would do with each connector, without doing any of it.
//!
//! ```text
//! both clusters reached ─▶ stored progress glanced at ─▶ planned ─▶ text or JSON
//!  or one clear error       never locked, never claimed    control
//! ```
//!
//! A connector that cannot be planned keeps none of the others from it.

use std::collections::BTreeSet;
use std::fmt;

use control::{Granted, plan_once};
use model::{Acls, Users};
use offsets::{Stored, StoredLane};
use serde_json::{Map, Value, json};
use topology::rights::Right;
use topology::{AclPlan, Action, Plan, Warning};

use crate::connector::{Connector, Prepared};
use crate::reached::{Reached, others, to_source_of};
use crate::run::RunError;
use crate::start_up::chain;
use crate::stores::Storage;

/// The version of the document that [`document`] writes.
const VERSION: u64 = 1;

/// One connector's plan. Displayed as text for a review.
#[derive(Debug)]
pub struct Planned {
    /// The connector's name.
    pub connector: String,
    /// The addresses of its source, as the settings have them.
    pub source: String,
    /// Those of its destination.
    pub destination: String,
    /// Who the connector is at both.
    pub users: Users,
    /// What would be done, or why nothing could be.
    pub outcome: Result<Plan, RunError>,
    /// What the users of its clusters must be allowed to do for that. Not part of the text.
    pub rights: Vec<Right>,
}

/// Plans every connector, in the order of the settings. Reads both clusters of each and changes nothing.
pub async fn plan(prepared: &Prepared) -> Vec<Planned> {
    let (mut reached, mut progress) = (Vec::new(), Vec::new());
    let mut outcomes = Vec::new();
    for connector in &prepared.connectors {
        outcomes.push(match look(prepared, connector).await {
            Ok((clusters, stored)) => {
                reached.push((connector, clusters));
                progress.push(stored);
                Ok(reached.len() - 1)
            }
            Err(error) => Err(error),
        });
    }
    let mut planned = Vec::new();
    for (connector, outcome) in prepared.connectors.iter().zip(outcomes) {
        let (outcome, since_2_8) = match outcome {
            Ok(index) => {
                let since_2_8 = reached[index].1.destination_is_since_2_8().await;
                let known = Granted {
                    here: progress[index].acls.clone(),
                    at_source: at_source(&to_source_of(&reached, index), &reached, &progress),
                };
                let plan = plan_one(&reached, index, &known).await;
                (plan.map(|plan| as_begun(plan, &progress[index])), since_2_8)
            }
            Err(error) => (Err(error), None),
        };
        planned.push(Planned {
            rights: connector.rights(&prepared.worker, since_2_8),
            connector: connector.name.clone(),
            source: connector.source_end.bootstrap.clone(),
            destination: connector.destination_end.bootstrap.clone(),
            users: connector.users(),
            outcome,
        });
    }
    planned
}

/// What a run would look at before it begins.
async fn look(prepared: &Prepared, connector: &Connector) -> Result<(Reached, Stored), RunError> {
    let clusters = Reached::reach(connector).await?;
    let (place, patience) = (&prepared.worker.offset_storage, prepared.worker.offset_flush_timeout);
    let stored =
        Storage::peek(place, &prepared.logins, patience, &connector.name).await.map_err(RunError::Offsets)?;
    clusters.check(connector, stored.producer.as_ref())?;
    Ok((clusters, stored))
}

/// The ACLs that the flows named `flows` have created.
fn at_source(flows: &[String], reached: &[(&Connector, Reached)], progress: &[Stored]) -> Acls {
    let mut all = Acls::new();
    for ((connector, _), stored) in reached.iter().zip(progress) {
        for (pattern, entries) in stored.acls.iter().filter(|_| flows.contains(&connector.name)) {
            all.entry(pattern.clone()).or_default().extend(entries.iter().cloned());
        }
    }
    all
}

async fn plan_one(
    reached: &[(&Connector, Reached)],
    index: usize,
    known: &Granted,
) -> Result<Plan, RunError> {
    let (connector, clusters) = &reached[index];
    let mut options = connector.control.clone();
    options.others = others(reached, index);
    let plan = plan_once(&clusters.source, &clusters.destination, &options, known).await;
    plan.map_err(|error| RunError::Unobserved { connector: connector.name.clone(), source: Box::new(error) })
}

/// What is spread goes on being spread over as many partitions as when its copy began, whatever came since.
fn as_begun(mut plan: Plan, stored: &Stored) -> Plan {
    let mut told = BTreeSet::new();
    for route in &mut plan.routes {
        let (Some(present), Some(StoredLane::Spread(begun))) =
            (route.spread_over, stored.lanes.get(&route.source))
        else {
            continue;
        };
        route.spread_over = Some(begun.partitions);
        if present != begun.partitions && told.insert(route.source.topic.clone()) {
            let text = format!(
                "it has {present} partitions, and had {} when the copy of `{}` began: records go on being spread over \
                 as many as then",
                begun.partitions, route.source.topic
            );
            plan.warnings.push(Warning { topic: Some(route.destination.topic.clone()), text });
        }
    }
    plan.warnings.sort();
    plan
}

/// All plans as one JSON document: `{"paralog":1,"pending":…,"connectors":[{"connector":…,…},…]}`.
pub fn document(planned: &[Planned]) -> String {
    let pending = planned.iter().any(Planned::is_pending);
    let connectors: Vec<Value> = planned.iter().map(Planned::json).collect();
    let document = json!({ "paralog": VERSION, "pending": pending, "connectors": connectors });
    format!("{document:#}\n")
}

impl Planned {
    /// Whether there is something to do; `false` also where nobody knows.
    pub fn is_pending(&self) -> bool {
        self.outcome.as_ref().is_ok_and(Plan::is_pending)
    }

    fn json(&self) -> Value {
        let mut members = Map::new();
        for (name, value) in
            [("connector", &self.connector), ("source", &self.source), ("destination", &self.destination)]
        {
            members.insert(name.to_owned(), value.as_str().into());
        }
        let what = match &self.outcome {
            Ok(plan) => named(plan.json(), &self.users),
            Err(error) => json!({ "error": chain(error), "hint": error.hint() }),
        };
        if let Value::Object(what) = what {
            members.extend(what);
        }
        members.insert("rights".to_owned(), self.rights.iter().map(Right::json).collect());
        Value::Object(members)
    }
}

/// `document` with the users' names in its hints.
fn named(document: Value, users: &Users) -> Value {
    match document {
        Value::Object(members) => {
            let member = |(key, value): (String, Value)| {
                let value = match (&*key, &value) {
                    ("hint", Value::String(hint)) => users.named(hint).into(),
                    _ => named(value, users),
                };
                (key, value)
            };
            members.into_iter().map(member).collect()
        }
        Value::Array(values) => values.into_iter().map(|value| named(value, users)).collect(),
        other => other,
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planned { connector, source, destination, users, outcome, .. } = self;
        writeln!(f, "connector `{connector}`, from {source} to {destination}")?;
        match outcome {
            Ok(plan) => writeln!(f, "{}{}", users.named(&plan.to_string()), closing(plan)),
            Err(error) => writeln!(f, "not planned: {}", chain(error)),
        }
    }
}

/// The last line of a review: what it comes to.
fn closing(plan: &Plan) -> String {
    let changes = plan.steps.iter().map(|step| match &step.action {
        Action::Create { .. } | Action::Grow { .. } => 1,
        Action::SetConfig { changes } => changes.len(),
    });
    let acls = plan.acls.as_ref();
    let open = plan.not_copied.iter().filter(|not| not.why.is_open()).count();
    let counted = [
        (changes.sum(), "change", "changes"),
        (plan.blocked.len(), "topic blocked", "topics blocked"),
        (open, "topic asked for and not copied", "topics asked for and not copied"),
        (acls.map_or(0, AclPlan::changes), "ACL", "ACLs"),
        (
            acls.map_or(0, |acls| usize::from(acls.trouble.is_some())),
            "obstacle to copying ACLs",
            "obstacles to copying ACLs",
        ),
    ];
    let told: Vec<String> = counted
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }))
        .collect();
    match told.is_empty() {
        true => String::from("nothing to do"),
        false => format!("to do: {}", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use topology::{NotCopied, NotCopiedReason, Step};

    use super::*;

    fn planned(connector: &str, outcome: Result<Plan, RunError>) -> Planned {
        let (source, destination) = ("old:9092".to_owned(), "new:9092".to_owned());
        let users = Users { source: Some("ann".to_owned()), destination: None };
        Planned { connector: connector.into(), source, destination, users, outcome, rights: Vec::new() }
    }

    fn pending() -> Plan {
        let grow = |topic: &str| Step {
            topic: topic.into(),
            action: Action::Grow { from: 1, to: 2 },
            reason: "`t` has 2".into(),
        };
        Plan {
            steps: vec![grow("a"), grow("b")],
            not_copied: vec![
                NotCopied { source: "c".into(), why: NotCopiedReason::Missing },
                NotCopied { source: "d".into(), why: NotCopiedReason::Blacklisted },
            ],
            ..Plan::default()
        }
    }

    #[test]
    fn a_review_begins_with_whose_it_is_and_ends_with_what_it_comes_to() {
        let text = planned("x", Ok(pending())).to_string();
        assert!(text.starts_with("connector `x`, from old:9092 to new:9092\ngrow `a` from 1 to 2"), "{text}");
        assert!(text.ends_with("\nto do: 2 changes, 1 topic asked for and not copied\n"), "{text}");
        let text = planned("x", Ok(Plan::default())).to_string();
        assert!(text.ends_with("\nnothing to do\n"), "{text}");
    }

    #[test]
    fn the_document_holds_every_connector_also_those_that_could_not_be_planned() {
        let itself = RunError::Itself { connector: "y".into(), cluster_id: "west".into() };
        let text = document(&[planned("x", Ok(Plan::default())), planned("y", Err(itself))]);
        let expected = r#"{
  "paralog": 1,
  "pending": false,
  "connectors": [
    {
      "connector": "x",
      "source": "old:9092",
      "destination": "new:9092",
      "pending": false,
      "steps": [],
      "blocked": [],
      "not_copied": [],
      "unselected": {
        "not_asked": [],
        "blacklisted": [],
        "internal": []
      },
      "warnings": [],
      "differences": [],
      "topics": [],
      "acls": null,
      "rights": []
    },
    {
      "connector": "y",
      "source": "old:9092",
      "destination": "new:9092",
      "error": "connector `y` would copy each topic to itself: source and destination are the same cluster `west`",
      "hint": "give the copies other names with `topic.rename.format`, such as `${topic}.replica`",
      "rights": []
    }
  ]
}
"#;
        assert_eq!(text, expected, "\n{text}");
        assert!(document(&[planned("x", Ok(pending()))]).contains("\"pending\": true"));
    }
}
