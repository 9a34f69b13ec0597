//! Carries out a plan's steps at the destination, choosing nothing: each is safe to repeat, and one that
//! failed shows up in the next observation.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{CallError, Class, Cluster, ErrorCode, NewTopic, Refusal, TopicConfigChange, Wanted, classify};
use model::TopicName;
use tokio::time::{Instant, sleep};
use topology::{Action, Step};

/// Topics in one request: a controller works on a request as a whole, and its time-out is for all of it.
const CHANGED_AT_ONCE: usize = 100;

/// How long the leaders of new partitions are waited for; copying starts without them after that, and waits
/// by itself.
const LEADERS_WITHIN: Duration = Duration::from_secs(15);

/// What became of a step.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The step; of a refused change of several settings, a step for each.
    pub(crate) step: Step,
    /// Done, or why not.
    pub(crate) result: Result<(), StepError>,
}

/// Why a step was not carried out, or is not known to be.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The destination said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The call did not come through.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl StepError {
    /// Whether the next observation should come soon: nobody has to change anything, or it may have been done.
    pub(crate) fn passes(&self) -> bool {
        match self {
            StepError::Refused(refusal) => match classify(refusal.error) {
                Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => true,
                Class::OperatorNeeded | Class::Fatal => false,
            },
            // A whole request that was refused is about rights; anything else is the network's.
            StepError::Call(error) => error.error_code().is_none(),
        }
    }

    /// The destination does not like a setting.
    pub(crate) fn is_about_settings(&self) -> bool {
        matches!(self, StepError::Refused(Refusal { error: ErrorCode::INVALID_CONFIG, .. }))
    }
}

/// Carries out `steps`, and waits for the leaders of the partitions that were added.
pub(crate) async fn apply(destination: &Cluster, steps: &[Step]) -> Vec<Applied> {
    let mut creations = Vec::new();
    let mut growths = Vec::new();
    let mut changes = Vec::new();
    for step in steps {
        match &step.action {
            Action::Create { partitions, replication_factor, settings, .. } => {
                let configs =
                    settings.iter().map(|(key, chosen)| (key.clone(), chosen.value.clone())).collect();
                creations.push(NewTopic {
                    name: step.topic.clone(),
                    partitions: *partitions,
                    replication_factor: *replication_factor,
                    configs,
                });
            }
            Action::Grow { to, .. } => growths.push((step.topic.clone(), *to)),
            Action::SetConfig { changes: wanted } => changes.push(TopicConfigChange {
                topic: step.topic.clone(),
                set: wanted.iter().map(|(key, change)| (key.clone(), change.to.clone())).collect(),
                unset: Vec::new(),
            }),
        }
    }
    let is = |kind: fn(&Action) -> bool| steps.iter().filter(move |step| kind(&step.action));
    let mut applied = Vec::new();
    for chunk in creations.chunks(CHANGED_AT_ONCE) {
        let names = chunk.iter().map(|topic| &topic.name).collect::<Vec<_>>();
        let answers = destination.create_topics(chunk).await;
        let steps = is(|action| matches!(action, Action::Create { .. }));
        applied.extend(match_up(steps, &names, answers));
    }
    for chunk in growths.chunks(CHANGED_AT_ONCE) {
        let names = chunk.iter().map(|(topic, _)| topic).collect::<Vec<_>>();
        let answers = destination.create_partitions(chunk).await;
        let steps = is(|action| matches!(action, Action::Grow { .. }));
        applied.extend(match_up(steps, &names, answers));
    }
    let mut refused = Vec::new();
    for chunk in changes.chunks(CHANGED_AT_ONCE) {
        let names = chunk.iter().map(|change| &change.topic).collect::<Vec<_>>();
        let answers = destination.alter_topic_configs(chunk).await;
        let steps = is(|action| matches!(action, Action::SetConfig { .. }));
        for applied_step in match_up(steps, &names, answers) {
            match one_by_one(&applied_step) {
                Some(steps) => refused.extend(steps),
                None => applied.push(applied_step),
            }
        }
    }
    for step in refused {
        applied.push(set_one(destination, step).await);
    }
    wait_for_leaders(destination, &applied).await;
    applied
}

/// What a request about several topics says of each.
type Answers = Result<Vec<(TopicName, Result<(), Refusal>)>, CallError>;

/// The answers of a request about `names`, each with the step it is about.
fn match_up<'a>(
    steps: impl Iterator<Item = &'a Step>,
    names: &[&TopicName],
    answers: Answers,
) -> Vec<Applied> {
    let mut results: BTreeMap<TopicName, Result<(), StepError>> = match answers {
        Ok(answers) => {
            answers.into_iter().map(|(name, answer)| (name, answer.map_err(StepError::Refused))).collect()
        }
        Err(error) => {
            names.iter().map(|name| ((*name).clone(), Err(StepError::Call(error.clone())))).collect()
        }
    };
    let unanswered = || {
        let message = Some("the answer leaves the topic out".to_owned());
        Err(StepError::Refused(Refusal { error: ErrorCode::UNKNOWN_SERVER_ERROR, message }))
    };
    steps
        .filter(|step| names.contains(&&step.topic))
        .map(|step| {
            let result = match results.remove(&step.topic).unwrap_or_else(unanswered) {
                // An earlier try whose answer was lost, or somebody else, was first.
                Err(StepError::Refused(Refusal { error: ErrorCode::TOPIC_ALREADY_EXISTS, .. })) => Ok(()),
                result => result,
            };
            Applied { step: step.clone(), result }
        })
        .collect()
}

/// The steps that set one key each, if the destination refused to set several: it took none of them, and
/// may refuse only one.
fn one_by_one(applied: &Applied) -> Option<Vec<Step>> {
    let Action::SetConfig { changes } = &applied.step.action else { return None };
    if changes.len() < 2 || !matches!(&applied.result, Err(StepError::Refused(_))) {
        return None;
    }
    let step = |(key, change): (&String, &topology::Change)| Step {
        topic: applied.step.topic.clone(),
        action: Action::SetConfig { changes: BTreeMap::from([(key.clone(), change.clone())]) },
        reason: applied.step.reason.clone(),
    };
    Some(changes.iter().map(step).collect())
}

async fn set_one(destination: &Cluster, step: Step) -> Applied {
    let set = match &step.action {
        Action::SetConfig { changes } => {
            changes.iter().map(|(key, change)| (key.clone(), change.to.clone())).collect()
        }
        Action::Create { .. } | Action::Grow { .. } => Vec::new(),
    };
    let change = TopicConfigChange { topic: step.topic.clone(), set, unset: Vec::new() };
    let answers = destination.alter_topic_configs(&[change]).await;
    let name = step.topic.clone();
    let mut applied = match_up(std::iter::once(&step), &[&name], answers);
    applied.pop().expect("one step gives one outcome")
}

/// Waits until metadata shows a leader for each partition that was added: a broker hears of a new topic a
/// little after its controller, and routes to partitions that nobody leads would only be noise.
async fn wait_for_leaders(destination: &Cluster, applied: &[Applied]) {
    let mut waiting: BTreeMap<TopicName, i32> = applied
        .iter()
        .filter(|applied| applied.result.is_ok())
        .filter_map(|applied| match &applied.step.action {
            Action::Create { partitions, .. } => Some((applied.step.topic.clone(), *partitions)),
            Action::Grow { to, .. } => Some((applied.step.topic.clone(), *to)),
            Action::SetConfig { .. } => None,
        })
        .collect();
    let deadline = Instant::now() + LEADERS_WITHIN;
    let mut pause = Duration::from_millis(20);
    while !waiting.is_empty() && Instant::now() < deadline {
        let names: Vec<TopicName> = waiting.keys().cloned().collect();
        // An error here is seen by the next observation as well, which tells of it.
        let Ok(metadata) = destination.metadata(Wanted::Topics(&names)).await else { return };
        for topic in metadata.topics {
            let led = topic.partitions.iter().filter(|partition| partition.leader.is_some()).count();
            let wanted = waiting.get(&topic.name).copied().unwrap_or(0);
            if topic.error.is_none() && led >= usize::try_from(wanted).unwrap_or(0) {
                waiting.remove(&topic.name);
            }
        }
        if !waiting.is_empty() {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

#[cfg(test)]
mod tests {
    use topology::Change;

    use super::*;

    fn refusal(error: ErrorCode) -> Result<(), Refusal> {
        Err(Refusal { error, message: None })
    }

    fn step(topic: &str, keys: &[&str]) -> Step {
        let change = Change { from: "1".into(), to: "2".into(), why: String::new() };
        let changes = keys.iter().map(|key| ((*key).to_owned(), change.clone())).collect();
        Step { topic: topic.into(), action: Action::SetConfig { changes }, reason: String::new() }
    }

    #[test]
    fn an_answer_finds_its_step_and_a_topic_that_is_there_is_a_topic_created() {
        let steps = ["a", "b", "c", "d"].map(|topic| step(topic, &["k"]));
        let names: Vec<&TopicName> = steps[..3].iter().map(|step| &step.topic).collect();
        let answers = vec![
            ("b".into(), refusal(ErrorCode::POLICY_VIOLATION)),
            ("a".into(), refusal(ErrorCode::TOPIC_ALREADY_EXISTS)),
        ];
        let applied = match_up(steps.iter(), &names, Ok(answers));
        let told: Vec<String> = applied
            .iter()
            .map(|applied| match &applied.result {
                Ok(()) => format!("{} ok", applied.step.topic),
                Err(error) => format!("{} {error} {}", applied.step.topic, error.passes()),
            })
            .collect();
        let expected = [
            "a ok",
            "b POLICY_VIOLATION (44) false",
            "c UNKNOWN_SERVER_ERROR (-1): the answer leaves the topic out true",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn several_refused_settings_are_tried_one_by_one() {
        let refused = |keys: &[&str]| Applied {
            step: step("a", keys),
            result: refusal(ErrorCode::INVALID_CONFIG).map_err(StepError::Refused),
        };
        assert_eq!(one_by_one(&refused(&["k", "l"])), Some(vec![step("a", &["k"]), step("a", &["l"])]));
        assert_eq!(one_by_one(&refused(&["k"])), None);
        assert_eq!(one_by_one(&Applied { step: step("a", &["k", "l"]), result: Ok(()) }), None);
    }
}
