//! The loop: observe, plan, apply, publish, wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::Cluster;
use model::{Routes, TopicName};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use topology::{Action, Held, HeldBack, Intent, Plan, Step};
use tracing::{debug, info};

use crate::apply::{Applied, apply};
use crate::observe::{Observation, ObserveError, Scope, chain, observe};
use crate::publish::{Publisher, meanwhile};
use crate::report::Reporter;
use crate::rivals::Rivals;
use crate::trial::after_refusals;
use crate::{ControlStatus, Options};

/// Observations in a row before steps that did not come about are held back.
pub(crate) const ROUNDS_MAX: u32 = 8;

/// Before a topic that was copied is believed to be gone, it is looked for again after this: a broker that
/// has just started may not have heard of every topic yet.
const GONE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The pause after the first round whose changes do not all show, doubled after each: six seconds in all. A
/// change reaches the brokers within milliseconds (KRaft, measured), or within a second of a busy machine.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// A running control plane. Dropping it ends it without waiting; [`Control::stop`] waits.
#[derive(Debug)]
pub struct Control {
    routes: watch::Receiver<Arc<Routes>>,
    status: watch::Receiver<Arc<ControlStatus>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Control {
    /// Starts observing at once, in a task of the present runtime.
    pub fn start(source: Cluster, destination: Cluster, options: Options) -> Control {
        let publisher = Publisher::new();
        let routes = publisher.subscribe();
        let (status_sender, status) = watch::channel(Arc::default());
        let job = Job {
            source,
            destination,
            intent: Arc::new(options.intent()),
            options,
            publisher,
            status: status_sender,
            reporter: Reporter::default(),
            held: BTreeMap::new(),
            gone: BTreeSet::new(),
            rivals: Rivals::default(),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Whatever a call was about to do is safe to repeat, so it may be left at any time.
            tokio::select! {
                _ = stopped => {}
                () = job.run() => {}
            }
        });
        Control { routes, status, stop, task }
    }

    /// What copies to where; generation 0 is empty, before the first.
    pub fn routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.clone()
    }

    /// How the control plane fares.
    pub fn status(&self) -> watch::Receiver<Arc<ControlStatus>> {
        self.status.clone()
    }

    /// Stops at once: nothing has to be finished, the next start observes anew.
    ///
    /// # Panics
    /// If the control plane has panicked, with its panic.
    pub async fn stop(self) {
        // It is gone already if the task has panicked.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Looks at both clusters once and says what would be done, without doing it. What the destination would refuse
/// is known by asking it to judge; the names of all its topics, and of the source's, are looked at.
///
/// # Errors
/// [`ObserveError`] if a cluster could not be asked.
pub async fn plan_once(
    source: &Cluster,
    destination: &Cluster,
    options: &Options,
) -> Result<Plan, ObserveError> {
    let intent = Arc::new(options.intent());
    let mut seen = observe(source, destination, &intent, Scope::AllNames).await?;
    Rivals::default().leave(&mut seen, &options.others, &intent).await;
    let plan =
        |held: &HeldBack| topology::plan(&seen.source, &seen.destination, &seen.candidates, &intent, held);
    Ok(after_refusals(destination, plan).await)
}

/// What became of a step when it was tried last.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// And the answer.
    Failed(String),
}

struct Job {
    source: Cluster,
    destination: Cluster,
    options: Options,
    intent: Arc<Intent>,
    publisher: Publisher,
    status: watch::Sender<Arc<ControlStatus>>,
    reporter: Reporter,
    /// What the destination refused, in its words, and until when it is left alone.
    held: BTreeMap<Held, (String, Instant)>,
    /// Source topics that were copied and are not there any more.
    gone: BTreeSet<TopicName>,
    /// What other flows are known to write.
    rivals: Rivals,
}

impl Job {
    async fn run(mut self) {
        loop {
            let pause = match self.observe_and_apply().await {
                Ok(plan) => self.note_plan(&plan),
                Err(error) => self.note_error(&error),
            };
            sleep(pause).await;
        }
    }

    /// One observation, repeated until nothing is left to do that can be done now. Returns the last plan,
    /// which has no steps, and whose routes are published.
    async fn observe_and_apply(&mut self) -> Result<Plan, ObserveError> {
        // What became of the steps that were tried, each as it was tried last.
        let mut tried: Vec<(Step, Outcome)> = Vec::new();
        let mut round = 0;
        loop {
            round += 1;
            let seen = self.observe().await?;
            let plan = self.plan(&seen);
            self.note_gone(&seen);
            let plan = match plan.steps.is_empty() || round < ROUNDS_MAX {
                true => plan,
                false => {
                    self.give_up(&plan.steps, &tried);
                    self.plan(&seen)
                }
            };
            if plan.steps.is_empty() {
                self.publish(plan.routes.clone());
                return Ok(plan);
            }
            self.publish(meanwhile(&plan, &self.publisher.published()));
            // A change that was made and does not show yet is on its way to the broker that was asked.
            let is_done =
                |step: &Step| tried.iter().any(|(other, how)| other == step && *how == Outcome::Done);
            let (waited_for, steps): (Vec<Step>, Vec<Step>) = plan.steps.into_iter().partition(is_done);
            let applied = apply(&self.destination, &steps).await;
            let failed = self.note_applied(applied, &mut tried);
            if failed || !waited_for.is_empty() {
                sleep(ROUND_PAUSE * (1 << (round - 1).min(ROUNDS_MAX))).await;
            }
        }
    }

    fn plan(&mut self, seen: &Observation) -> Plan {
        let now = Instant::now();
        self.held.retain(|_, (_, until)| *until > now);
        let held: HeldBack =
            self.held.iter().map(|(held, (answer, _))| (held.clone(), answer.clone())).collect();
        topology::plan(&seen.source, &seen.destination, &seen.candidates, &self.intent, &held)
    }

    /// Holds back `steps`, which tries did not bring about, so that they are told of and hold up nothing.
    fn give_up(&mut self, steps: &[Step], tried: &[(Step, Outcome)]) {
        for step in steps {
            let outcome = tried.iter().find(|(other, _)| other == step).map(|(_, outcome)| outcome);
            let answer = match outcome {
                Some(Outcome::Failed(answer)) => answer.clone(),
                Some(Outcome::Done) => "accepted, and without effect".to_owned(),
                None => "other changes did not come to an end before".to_owned(),
            };
            self.hold(step, false, &answer);
        }
    }

    fn hold(&mut self, step: &Step, about_settings: bool, answer: &str) {
        let until = Instant::now() + self.options.hold();
        for held in step.refused(about_settings, answer) {
            self.held.insert(held, (answer.to_owned(), until));
        }
    }

    /// Both clusters as they are; looks twice where something that is copied seems to be gone.
    async fn observe(&mut self) -> Result<Observation, ObserveError> {
        let seen = self.observe_once().await?;
        let published = self.publisher.published();
        let all_there = published.routes.iter().all(|route| {
            seen.candidates.pairs.contains_key(&route.source.topic)
                && seen.destination.topics.contains_key(&route.destination.topic)
        });
        if all_there {
            return Ok(seen);
        }
        sleep(GONE_AGAIN_AFTER).await;
        self.observe_once().await
    }

    async fn observe_once(&mut self) -> Result<Observation, ObserveError> {
        let mut seen = observe(&self.source, &self.destination, &self.intent, Scope::Needed).await?;
        self.rivals.leave(&mut seen, &self.options.others, &self.intent).await;
        Ok(seen)
    }

    fn note_gone(&mut self, seen: &Observation) {
        let published = self.publisher.published();
        let there = |topic: &TopicName| {
            seen.source.topics.contains_key(topic) || seen.source.troubled.contains_key(topic)
        };
        self.gone
            .extend(published.routes.iter().map(|route| &route.source.topic).filter(|t| !there(t)).cloned());
        self.gone.retain(|topic| !there(topic));
    }

    fn publish(&self, routes: Vec<model::Route>) {
        if self.publisher.publish(routes) {
            let routes = self.publisher.published();
            info!(generation = routes.generation, partitions = routes.routes.len(), "routes changed");
        }
    }

    /// Remembers what became of the steps, and says whether some failed that may pass by themselves.
    fn note_applied(&mut self, applied: Vec<Applied>, tried: &mut Vec<(Step, Outcome)>) -> bool {
        let mut passing = false;
        for Applied { step, result } in applied {
            let outcome = match result {
                Ok(()) => {
                    tell_step(&step);
                    Outcome::Done
                }
                Err(error) => {
                    let answer = chain(&error);
                    debug!(destination = %step.topic, action = %step.action, error = answer, "step failed");
                    match error.passes() {
                        true => passing = true,
                        false => self.hold(&step, error.is_about_settings(), &answer),
                    }
                    Outcome::Failed(answer)
                }
            };
            tried.retain(|(other, _)| *other != step);
            tried.push((step, outcome));
        }
        passing
    }

    /// Tells of a finished observation, and says when the next is due.
    fn note_plan(&mut self, plan: &Plan) -> Duration {
        let gone: Vec<TopicName> = self.gone.iter().cloned().collect();
        self.reporter.tell_cluster("source", None);
        self.reporter.tell_cluster("destination", None);
        self.reporter.tell_plan(plan, &gone);
        let routes = self.publisher.published();
        let topics: BTreeSet<&TopicName> = routes.routes.iter().map(|route| &route.source.topic).collect();
        let status = ControlStatus {
            generation: routes.generation,
            observations: self.status.borrow().observations + 1,
            failures: 0,
            source_error: None,
            destination_error: None,
            topics: topics.len(),
            partitions: routes.routes.len(),
            not_copied: plan.not_copied.clone(),
            blocked: plan.blocked.clone(),
            gone,
            warnings: plan.warnings.clone(),
        };
        self.status.send_replace(Arc::new(status));
        let waiting = !self.held.is_empty() || plan.blocked.iter().any(|blocked| blocked.why.may_pass());
        self.options.interval(waiting)
    }

    /// Tells of an observation that failed, and says when the next is due.
    fn note_error(&mut self, error: &ObserveError) -> Duration {
        let source_error = error.source.as_ref().map(chain);
        let destination_error = error.destination.as_ref().map(chain);
        self.reporter.tell_cluster("source", source_error.as_deref());
        self.reporter.tell_cluster("destination", destination_error.as_deref());
        let mut status = ControlStatus::clone(&self.status.borrow());
        status.failures = status.failures.saturating_add(1);
        status.source_error = source_error;
        status.destination_error = destination_error;
        status.generation = self.publisher.published().generation;
        let pause = self.options.retry_pause(status.failures);
        self.status.send_replace(Arc::new(status));
        pause
    }
}

fn tell_step(Step { topic, action, reason }: &Step) {
    match action {
        Action::Create { partitions, replication_factor, settings, .. } => {
            let settings: Vec<String> =
                settings.iter().map(|(key, chosen)| format!("{key}={}", chosen.value)).collect();
            info!(destination = %topic, partitions, replication_factor, settings = settings.join(" "), reason, "topic created");
        }
        Action::Grow { from, to } => info!(destination = %topic, from, to, reason, "partitions added"),
        Action::SetConfig { changes } => {
            for (key, change) in changes {
                let (from, to) = (change.from_text(), change.to_text());
                info!(destination = %topic, setting = key, from, to, reason = change.why, "setting changed");
            }
        }
    }
}
