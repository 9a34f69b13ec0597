//! Carries out a plan's steps at the destination, choosing nothing: each is safe to repeat, and one that
//! failed shows up in the next observation.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{
    CallError, Class, Cluster, ErrorCode, NewTopic, Purpose, Refusal, TopicConfigChange, Wanted, classify,
};
use model::TopicName;
use tokio::time::{Instant, sleep};
use topology::{Action, Change, Step};

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
    let applied = ask(destination, steps, Purpose::Change).await;
    wait_for_leaders(destination, &applied).await;
    applied
}

/// Asks the destination for `steps`, to carry them out or to say what it would say to them.
pub(crate) async fn ask(destination: &Cluster, steps: &[Step], purpose: Purpose) -> Vec<Applied> {
    let (mut creations, mut growths, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        match &step.action {
            Action::Create { partitions, replication_factor, settings, .. } => {
                let configs =
                    settings.iter().map(|(key, chosen)| (key.clone(), chosen.value.clone())).collect();
                let (name, partitions) = (step.topic.clone(), *partitions);
                let replication_factor = *replication_factor;
                creations.push((step, NewTopic { name, partitions, replication_factor, configs }));
            }
            Action::Grow { to, .. } => growths.push((step, (step.topic.clone(), *to))),
            Action::SetConfig { changes: wanted } => changes.push((step, config_change(&step.topic, wanted))),
        }
    }
    let mut applied = Vec::new();
    for (steps, topics) in requests(creations) {
        let answers = destination.create_topics(&topics, purpose).await;
        applied.extend(match_up(&steps, answers));
    }
    for (steps, topics) in requests(growths) {
        let answers = destination.create_partitions(&topics, purpose).await;
        applied.extend(match_up(&steps, answers));
    }
    let mut refused = Vec::new();
    for (steps, changes) in requests(changes) {
        let answers = destination.alter_topic_configs(&changes, purpose).await;
        for applied_step in match_up(&steps, answers) {
            match one_by_one(&applied_step) {
                Some(steps) => refused.extend(steps),
                None => applied.push(applied_step),
            }
        }
    }
    for step in refused {
        applied.push(change_one(destination, step, purpose).await);
    }
    applied
}

/// The steps of one kind with what is asked for each, request by request.
fn requests<T>(mut asked: Vec<(&Step, T)>) -> Vec<(Vec<&Step>, Vec<T>)> {
    let mut requests = Vec::new();
    while !asked.is_empty() {
        let rest = asked.split_off(asked.len().min(CHANGED_AT_ONCE));
        requests.push(asked.into_iter().unzip());
        asked = rest;
    }
    requests
}

/// The request for `changes` of `topic`.
fn config_change(topic: &TopicName, changes: &BTreeMap<String, Change>) -> TopicConfigChange {
    let mut request = TopicConfigChange { topic: topic.clone(), set: Vec::new(), unset: Vec::new() };
    for (key, change) in changes {
        match &change.to {
            Some(value) => request.set.push((key.clone(), value.clone())),
            None => request.unset.push(key.clone()),
        }
    }
    request
}

/// What a request about several topics says of each.
type Answers = Result<Vec<(TopicName, Result<(), Refusal>)>, CallError>;

/// The answers of a request for `steps`, one for each topic, each with the step it is about.
fn match_up(steps: &[&Step], answers: Answers) -> Vec<Applied> {
    let mut results: BTreeMap<TopicName, Result<(), StepError>> = match answers {
        Ok(answers) => {
            answers.into_iter().map(|(name, answer)| (name, answer.map_err(StepError::Refused))).collect()
        }
        Err(error) => {
            steps.iter().map(|step| (step.topic.clone(), Err(StepError::Call(error.clone())))).collect()
        }
    };
    let unanswered = || {
        let message = Some("the answer leaves the topic out".to_owned());
        Err(StepError::Refused(Refusal { error: ErrorCode::UNKNOWN_SERVER_ERROR, message }))
    };
    steps
        .iter()
        .map(|step| {
            let result = match results.remove(&step.topic).unwrap_or_else(unanswered) {
                // An earlier try whose answer was lost, or somebody else, was first.
                Err(StepError::Refused(Refusal { error: ErrorCode::TOPIC_ALREADY_EXISTS, .. })) => Ok(()),
                result => result,
            };
            Applied { step: (*step).clone(), result }
        })
        .collect()
}

/// The steps that change one key each, if the destination refused to change several: it changed none of them, and
/// may refuse only one. Where a right is missing it refuses each.
fn one_by_one(applied: &Applied) -> Option<Vec<Step>> {
    let Action::SetConfig { changes } = &applied.step.action else { return None };
    let Err(StepError::Refused(Refusal { error, .. })) = &applied.result else { return None };
    let lacks_right =
        matches!(*error, ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    if changes.len() < 2 || lacks_right {
        return None;
    }
    let step = |(key, change): (&String, &Change)| Step {
        topic: applied.step.topic.clone(),
        action: Action::SetConfig { changes: BTreeMap::from([(key.clone(), change.clone())]) },
        reason: applied.step.reason.clone(),
    };
    Some(changes.iter().map(step).collect())
}

/// Carries out a step of [`one_by_one`].
async fn change_one(destination: &Cluster, step: Step, purpose: Purpose) -> Applied {
    let change = match &step.action {
        Action::SetConfig { changes } => config_change(&step.topic, changes),
        Action::Create { .. } | Action::Grow { .. } => config_change(&step.topic, &BTreeMap::new()),
    };
    let answers = destination.alter_topic_configs(&[change], purpose).await;
    let mut applied = match_up(&[&step], answers);
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
    use super::*;

    fn refusal(error: ErrorCode) -> Result<(), Refusal> {
        Err(Refusal { error, message: None })
    }

    fn step(topic: &str, keys: &[&str]) -> Step {
        let change = Change { from: Some("1".into()), to: Some("2".into()), why: String::new() };
        let changes = keys.iter().map(|key| ((*key).to_owned(), change.clone())).collect();
        Step { topic: topic.into(), action: Action::SetConfig { changes }, reason: String::new() }
    }

    #[test]
    fn an_answer_finds_its_step_and_a_topic_that_is_there_is_a_topic_created() {
        let steps = ["a", "b", "c"].map(|topic| step(topic, &["k"]));
        let answers = vec![
            ("b".into(), refusal(ErrorCode::POLICY_VIOLATION)),
            ("a".into(), refusal(ErrorCode::TOPIC_ALREADY_EXISTS)),
        ];
        let applied = match_up(&steps.iter().collect::<Vec<_>>(), Ok(answers));
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
    fn each_step_is_in_one_request_however_many_there_are() {
        let steps: Vec<Step> = (0..250).map(|number| step(&format!("t{number}"), &["k"])).collect();
        let requests = requests(steps.iter().zip(0..).collect());
        let sizes: Vec<usize> = requests.iter().map(|(steps, _)| steps.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let asked = requests.into_iter().flat_map(|(steps, asked)| steps.into_iter().zip(asked));
        assert!(asked.eq(steps.iter().zip(0..)));
    }

    #[test]
    fn several_refused_settings_are_tried_one_by_one() {
        let check = |keys: &[&str], result: Result<(), Refusal>, expected: Option<Vec<Step>>| {
            let applied = Applied { step: step("a", keys), result: result.map_err(StepError::Refused) };
            assert_eq!(one_by_one(&applied), expected);
        };
        let each = Some(vec![step("a", &["k"]), step("a", &["l"])]);
        check(&["k", "l"], refusal(ErrorCode::INVALID_CONFIG), each);
        check(&["k", "l"], refusal(ErrorCode::TOPIC_AUTHORIZATION_FAILED), None);
        check(&["k", "l"], Ok(()), None);
        check(&["k"], refusal(ErrorCode::INVALID_CONFIG), None);
    }

    #[test]
    fn a_setting_without_a_value_is_unset() {
        let to = |to: Option<&str>| Change { from: None, to: to.map(str::to_owned), why: String::new() };
        let changes = [("a", to(Some("1"))), ("b", to(None)), ("c", to(Some("2")))];
        let changes = changes.map(|(key, change)| (key.to_owned(), change)).into();
        let request = config_change(&"t".into(), &changes);
        let set = [("a", "1"), ("c", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            (request.topic.as_str(), request.set, request.unset),
            ("t", set.to_vec(), vec!["b".to_owned()])
        );
    }
}
