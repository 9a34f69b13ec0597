//! Asks the destination what it would say to a plan's steps, without any of them being done.

use std::collections::BTreeMap;

use client::{Cluster, Purpose};
use model::TopicName;
use topology::{HeldBack, Plan, Step, Warning};

use crate::apply::{Applied, ask};
use crate::job::ROUNDS_MAX;
use crate::observe::chain;

/// The plan as it is once what the destination refuses is held back: what it would refuse now, it refuses then.
///
/// A broker may name one of several settings at a time, hence the rounds; what is refused in the last of them
/// is held back too.
pub(crate) async fn after_refusals(destination: &Cluster, plan: impl Fn(&HeldBack) -> Plan) -> Plan {
    let mut held = HeldBack::new();
    let mut present = plan(&held);
    if present.steps.is_empty() {
        return present;
    }
    match destination.honours_validate_only().await {
        Ok(true) => {}
        Ok(false) => {
            let why = "it would make them if asked to judge them (KRaft before Kafka 3.3)";
            present.warnings.push(unjudged(None, why));
            return present;
        }
        Err(error) => {
            present.warnings.push(unjudged(None, &chain(&error)));
            return present;
        }
    }
    let mut judged = Judged::default();
    for _ in 0..ROUNDS_MAX {
        let open: Vec<Step> = present.steps.iter().filter(|step| !judged.knows(step)).cloned().collect();
        if open.is_empty() {
            break;
        }
        for Applied { step, result } in ask(destination, &open, Purpose::ValidateOnly).await {
            match result {
                Ok(()) => judged.note(step),
                Err(error) if error.passes() => {
                    judged.warnings.push(unjudged(Some(&step.topic), &chain(&error)));
                    judged.note(step);
                }
                Err(error) => {
                    let answer = chain(&error);
                    let refused = step.refused(error.is_about_settings(), &answer);
                    held.extend(refused.into_iter().map(|held| (held, answer.clone())));
                }
            }
        }
        present = plan(&held);
    }
    present.warnings.extend(judged.warnings);
    present.warnings.sort();
    present
}

fn unjudged(topic: Option<&TopicName>, why: &str) -> Warning {
    let text = format!("whether the destination takes these changes is not known: {why}");
    Warning { topic: topic.cloned(), text }
}

/// What the destination has answered.
#[derive(Default)]
struct Judged {
    steps: BTreeMap<TopicName, Vec<Step>>,
    warnings: Vec<Warning>,
}

impl Judged {
    fn knows(&self, step: &Step) -> bool {
        self.steps.get(&step.topic).is_some_and(|steps| steps.contains(step))
    }

    fn note(&mut self, step: Step) {
        self.steps.entry(step.topic.clone()).or_default().push(step);
    }
}
