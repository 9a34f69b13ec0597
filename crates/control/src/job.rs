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
use crate::observe::{Observation, ObserveError, chain, observe};
use crate::publish::{Publisher, meanwhile};
use crate::report::Reporter;
use crate::{ControlStatus, Options};

/// Observations in a row before one is called finished although its plan still has steps.
const ROUNDS_MAX: u32 = 5;

/// Before a topic that was copied is believed to be gone, it is looked for again after this: a broker that
/// has just started may not have heard of every topic yet.
const GONE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The pause between rounds after a step that failed and may pass.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

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

/// Looks at both clusters once and says what would be done, without doing it.
///
/// # Errors
/// [`ObserveError`] if a cluster could not be asked.
pub async fn plan_once(
    source: &Cluster,
    destination: &Cluster,
    options: &Options,
) -> Result<Plan, ObserveError> {
    let intent = Arc::new(options.intent());
    let seen = observe(source, destination, &intent).await?;
    Ok(topology::plan(&seen.source, &seen.destination, &seen.candidates, &intent, &HeldBack::new()))
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

    /// One observation, repeated until nothing is left to do that can be done. Returns the last plan.
    async fn observe_and_apply(&mut self) -> Result<Plan, ObserveError> {
        let mut round = 1;
        loop {
            let seen = self.observe().await?;
            let held = self.held_back();
            let plan = topology::plan(&seen.source, &seen.destination, &seen.candidates, &self.intent, &held);
            self.note_gone(&seen);
            if plan.steps.is_empty() {
                self.publish(plan.routes.clone());
                return Ok(plan);
            }
            self.publish(meanwhile(&plan, &self.publisher.published()));
            if round == ROUNDS_MAX {
                return Ok(plan);
            }
            let applied = apply(&self.destination, &plan.steps).await;
            if self.note_applied(applied) {
                sleep(ROUND_PAUSE * round).await;
            }
            round += 1;
        }
    }

    /// Both clusters as they are; looks twice where something that is copied seems to be gone.
    async fn observe(&self) -> Result<Observation, ObserveError> {
        let seen = observe(&self.source, &self.destination, &self.intent).await?;
        let published = self.publisher.published();
        let all_there = published.routes.iter().all(|route| {
            seen.candidates.pairs.contains_key(&route.source.topic)
                && seen.destination.topics.contains_key(&route.destination.topic)
        });
        if all_there {
            return Ok(seen);
        }
        sleep(GONE_AGAIN_AFTER).await;
        observe(&self.source, &self.destination, &self.intent).await
    }

    fn held_back(&mut self) -> HeldBack {
        let now = Instant::now();
        self.held.retain(|_, (_, until)| *until > now);
        self.held.iter().map(|(held, (answer, _))| (held.clone(), answer.clone())).collect()
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

    /// Remembers what was refused; says whether something failed that may pass by itself.
    fn note_applied(&mut self, applied: Vec<Applied>) -> bool {
        let mut passing = false;
        for Applied { step, result } in applied {
            match result {
                Ok(()) => tell_step(&step),
                Err(error) if error.passes() => {
                    debug!(destination = %step.topic, action = %step.action, error = chain(&error), "step failed");
                    passing = true;
                }
                Err(error) => {
                    let answer = chain(&error);
                    let until = Instant::now() + self.options.create_backoff;
                    for held in step.refused(error.is_about_settings(), &answer) {
                        self.held.insert(held, (answer.clone(), until));
                    }
                }
            }
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
            steps_left: plan.steps.len(),
        };
        self.status.send_replace(Arc::new(status));
        if !plan.steps.is_empty() {
            return self.options.retry_pause(1);
        }
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
                info!(destination = %topic, setting = key, from = change.from, to = change.to, reason = change.why, "setting changed");
            }
        }
    }
}
