//! The loop: observe, plan, apply, publish, wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::Cluster;
use model::{Routes, TopicName};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use topology::{Action, BlockReason, Held, HeldBack, Intent, Plan, Step};
use tracing::{debug, info, warn};

use crate::acls::{self, AclJob, AclStatus, Copied, GrantStore, Granted};
use crate::apply::{Applied, apply};
use crate::observe::{Observation, ObserveError, Observer, Scope, blocking, chain};
use crate::options::INTERVAL_MIN;
use crate::publish::{Publisher, meanwhile};
use crate::report::Reporter;
use crate::rivals::Rivals;
use crate::trial::after_refusals;
use crate::{ControlStatus, Options};

/// Observations in a row before a step that did not come about is held back.
pub(crate) const ROUNDS_MAX: u32 = 8;

/// Steps between two observations. Where thousands of topics are created, the first are copied while the others
/// wait for their turn.
const STEPS_AT_ONCE: usize = 500;

/// Before a topic that was copied is believed to be gone, it is looked for again after this: a broker that
/// has just started may not have heard of every topic yet.
const GONE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long changes may take before that is told.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// The pause after the first round whose changes do not all show, doubled after each: six seconds in all. A
/// change reaches the brokers within milliseconds (KRaft, measured), or within a second of a busy machine.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// A running control plane. Dropping it ends it without waiting; [`Control::stop`] waits.
#[derive(Debug)]
pub struct Control {
    routes: watch::Receiver<Arc<Routes>>,
    status: watch::Receiver<Arc<ControlStatus>>,
    acls: Option<watch::Receiver<AclStatus>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Control {
    /// Starts observing at once, in a task of the present runtime. Where ACLs are copied, `grants` remembers which were
    /// created.
    pub fn start(
        source: Cluster,
        destination: Cluster,
        options: Options,
        grants: Box<dyn GrantStore>,
    ) -> Control {
        let publisher = Publisher::new();
        let routes = publisher.subscribe();
        let (status_sender, status) = watch::channel(Arc::default());
        let (copied_sender, copied) = watch::channel(None);
        let (acl_status, acls) = watch::channel(AclStatus::default());
        let acl_job = options.acls.clone().map(|options_of_acls| AclJob {
            source: source.clone(),
            destination: destination.clone(),
            naming: options.naming.clone(),
            options: options_of_acls,
            copied,
            status: acl_status,
            store: Some(grants),
            granted: None,
        });
        let acls = acl_job.as_ref().map(|_| acls);
        let intent = Arc::new(options.intent());
        let rhythm = options.rhythm();
        let observer = Observer::new(source, destination.clone(), Arc::clone(&intent), rhythm, Scope::Needed);
        let job = Job {
            observer,
            destination,
            intent,
            reporter: Reporter::new(options.users.clone()),
            options,
            publisher,
            status: status_sender,
            copied: copied_sender,
            held: BTreeMap::new(),
            gone: BTreeSet::new(),
            rivals: Rivals::default(),
            planned: None,
            told: None,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Whatever a call was about to do is safe to repeat, so it may be left at any time.
            tokio::select! {
                _ = stopped => {}
                () = job.run() => {}
                () = copy_acls(acl_job) => {}
            }
        });
        Control { routes, status, acls, stop, task }
    }

    /// What copies to where; generation 0 is empty, before the first.
    pub fn routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.clone()
    }

    /// How the control plane fares.
    pub fn status(&self) -> watch::Receiver<Arc<ControlStatus>> {
        self.status.clone()
    }

    /// How the copy of ACLs fares; `None` where they are not copied.
    pub fn acls(&self) -> Option<watch::Receiver<AclStatus>> {
        self.acls.clone()
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

/// Comes to no end of its own.
async fn copy_acls(job: Option<AclJob>) {
    if let Some(job) = job {
        job.run().await;
    }
    std::future::pending::<()>().await;
}

/// Looks at both clusters once and says what would be done, without doing it. What the destination would refuse
/// is known by asking it to judge; the names of all its topics, and of the source's, are looked at. `known` is what is
/// remembered of ACLs, where they are copied.
///
/// # Errors
/// [`ObserveError`] if a cluster could not be asked.
pub async fn plan_once(
    source: &Cluster,
    destination: &Cluster,
    options: &Options,
    known: &Granted,
) -> Result<Plan, ObserveError> {
    let intent = Arc::new(options.intent());
    let (origin, cluster, rhythm) = (source.clone(), destination.clone(), options.rhythm());
    let mut observer = Observer::new(origin, cluster, Arc::clone(&intent), rhythm, Scope::AllNames);
    let mut seen = observer.observe(Instant::now()).await?;
    Rivals::default().leave(&mut seen, &options.others, &intent).await;
    let plan =
        |held: &HeldBack| topology::plan(&seen.source, &seen.destination, &seen.candidates, &intent, held);
    let mut plan = after_refusals(destination, plan).await;
    if let Some(acls) = &options.acls {
        let copied = copied(&plan);
        let how = (acls, &options.naming);
        plan.acls = Some(acls::plan_once(source, destination, how, known, &copied).await);
    }
    Ok(plan)
}

/// The topics that are copied once `plan` is carried out.
fn copied(plan: &Plan) -> BTreeMap<TopicName, TopicName> {
    // They are sorted by it.
    let topics = plan.routes.chunk_by(|one, other| one.source.topic == other.source.topic);
    let pairs = topics.filter_map(<[model::Route]>::first);
    pairs.map(|route| (route.source.topic.clone(), route.destination.topic.clone())).collect()
}

/// What became of a step when it was tried last.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// And the answer.
    Failed(String),
}

/// What became of the steps of a turn, by topic.
#[derive(Debug, Default)]
struct Tried(BTreeMap<TopicName, Vec<Try>>);

#[derive(Debug)]
struct Try {
    step: Step,
    /// The last time.
    outcome: Outcome,
    /// The round in which it was tried first.
    since: u32,
}

impl Tried {
    fn of(&self, step: &Step) -> Option<&Try> {
        self.0.get(&step.topic)?.iter().find(|tried| tried.step == *step)
    }

    fn is_done(&self, step: &Step) -> bool {
        self.of(step).is_some_and(|tried| tried.outcome == Outcome::Done)
    }

    fn note(&mut self, step: Step, outcome: Outcome, round: u32) {
        let of_topic = self.0.entry(step.topic.clone()).or_default();
        match of_topic.iter_mut().find(|tried| tried.step == step) {
            Some(tried) => tried.outcome = outcome,
            None => of_topic.push(Try { step, outcome, since: round }),
        }
    }
}

/// A plan and all that it was made of, besides the intent.
#[derive(Debug)]
struct Planned {
    seen: Observation,
    held: HeldBack,
    plan: Arc<Plan>,
}

struct Job {
    observer: Observer,
    destination: Cluster,
    options: Options,
    intent: Arc<Intent>,
    publisher: Publisher,
    status: watch::Sender<Arc<ControlStatus>>,
    /// For the copy of their ACLs.
    copied: watch::Sender<Option<Copied>>,
    reporter: Reporter,
    /// What the destination refused, in its words, and until when it is left alone.
    held: BTreeMap<Held, (String, Instant)>,
    /// Source topics that were copied and are not there any more.
    gone: BTreeSet<TopicName>,
    /// What other flows are known to write.
    rivals: Rivals,
    /// The last plan that was made.
    planned: Option<Planned>,
    /// The plan that was told of last.
    told: Option<Arc<Plan>>,
}

impl Job {
    async fn run(mut self) {
        loop {
            let start = Instant::now();
            let next = match self.observe_and_apply(start).await {
                Ok(plan) => {
                    self.note_plan(&plan);
                    self.next_after(start, &plan)
                }
                Err(error) => Instant::now() + self.note_error(&error),
            };
            sleep_until(next.max(Instant::now() + INTERVAL_MIN)).await;
        }
    }

    /// When to look again, after a turn that began at `start` and ended with `plan`.
    fn next_after(&self, start: Instant, plan: &Plan) -> Instant {
        let mut next = start + self.options.interval();
        // What was refused has its own time.
        let may_pass = |why: &BlockReason| why.may_pass() && !matches!(why, BlockReason::Refused(_));
        if plan.blocked.iter().any(|blocked| may_pass(&blocked.why)) {
            next = next.min(start + self.options.hold());
        }
        let held = self.held.values().map(|(_, until)| *until).min();
        let settings = self.observer.next().filter(|_| self.options.topics.config_sync);
        [held, settings].into_iter().flatten().fold(next, Instant::min)
    }

    /// One observation, repeated until nothing is left to do that can be done now. Returns the last plan,
    /// which has no steps, and whose routes are published.
    async fn observe_and_apply(&mut self, start: Instant) -> Result<Arc<Plan>, ObserveError> {
        let mut tried = Tried::default();
        let mut round = 0;
        let mut slow_told = false;
        loop {
            round += 1;
            let seen = self.observe(start).await?;
            if !self.is_as_planned(&seen) {
                self.note_gone(&seen);
            }
            let mut plan = self.plan(&seen).await;
            if self.give_up(&plan.steps, &tried, round) {
                plan = self.plan(&seen).await;
            }
            if plan.steps.is_empty() {
                self.publish(&plan.routes);
                return Ok(plan);
            }
            self.publish(&meanwhile(&plan, &self.publisher.published()));
            self.observer.forget(plan.steps.iter().map(|step| &step.topic));
            // A change that was made and does not show yet is on its way to the broker that was asked.
            let (waited_for, steps): (Vec<&Step>, Vec<&Step>) =
                plan.steps.iter().partition(|step| tried.is_done(step));
            let steps: Vec<Step> = steps.into_iter().take(STEPS_AT_ONCE).cloned().collect();
            let applied = self.apply(&steps, &mut slow_told).await;
            let failed = self.note_applied(applied, &mut tried, round);
            if failed || !waited_for.is_empty() {
                let since = plan.steps.iter().filter_map(|step| tried.of(step)).map(|of_step| of_step.since);
                let rounds = round - since.min().unwrap_or(round);
                sleep(ROUND_PAUSE * (1 << rounds.min(ROUNDS_MAX))).await;
            }
        }
    }

    /// Carries out `steps`, and says, unless it was told, where that takes long: a controller that cannot work keeps a
    /// request until its time-out, and it is tried several times before a step is given up.
    async fn apply(&self, steps: &[Step], slow_told: &mut bool) -> Vec<Applied> {
        let mut applying = std::pin::pin!(apply(&self.destination, steps));
        if let Ok(applied) = timeout(SLOW_AFTER, applying.as_mut()).await {
            return applied;
        }
        if !std::mem::replace(slow_told, true) {
            let first = steps.first().map(|step| step.topic.as_str());
            warn!(cluster = %self.destination.name(), steps = steps.len(), first,
                "changes of topics take long: its controller may be busy, or without a majority");
        }
        applying.await
    }

    /// The plan for what is `seen`: the last one, if nothing that it is made of has changed. It is made on a
    /// blocking thread, for ten thousand topics take a while.
    async fn plan(&mut self, seen: &Observation) -> Arc<Plan> {
        let now = Instant::now();
        self.held.retain(|_, (_, until)| *until > now);
        let held: HeldBack =
            self.held.iter().map(|(held, (answer, _))| (held.clone(), answer.clone())).collect();
        let (last, seen, intent) = (self.planned.take(), seen.clone(), Arc::clone(&self.intent));
        let work = move || match last.filter(|last| last.seen == seen && last.held == held) {
            Some(last) => last,
            None => {
                let plan = topology::plan(&seen.source, &seen.destination, &seen.candidates, &intent, &held);
                Planned { seen, held, plan: Arc::new(plan) }
            }
        };
        let planned = self.planned.insert(blocking(work).await);
        Arc::clone(&planned.plan)
    }

    /// Holds back those of `steps` that tries did not bring about, so that they are told of and hold up nothing.
    /// Says whether there are any.
    fn give_up(&mut self, steps: &[Step], tried: &Tried, round: u32) -> bool {
        let mut any = false;
        for step in steps {
            let Some(of_step) = tried.of(step).filter(|of_step| round > of_step.since + ROUNDS_MAX - 2)
            else {
                continue;
            };
            let answer = match &of_step.outcome {
                Outcome::Failed(answer) => answer.clone(),
                Outcome::Done => "accepted, and without effect".to_owned(),
            };
            self.hold(step, false, &answer);
            any = true;
        }
        any
    }

    fn hold(&mut self, step: &Step, about_settings: bool, answer: &str) {
        let until = Instant::now() + self.options.hold();
        for held in step.refused(about_settings, answer) {
            self.held.insert(held, (answer.to_owned(), until));
        }
    }

    /// Both clusters as they are; looks twice where something that is copied seems to be gone.
    async fn observe(&mut self, start: Instant) -> Result<Observation, ObserveError> {
        let seen = self.observe_once(start).await?;
        if self.is_as_planned(&seen) {
            return Ok(seen);
        }
        let published = self.publisher.published();
        let all_there = published.routes.iter().all(|route| {
            seen.candidates.pairs.contains_key(&route.source.topic)
                && seen.destination.topics.contains_key(&route.destination.topic)
        });
        if all_there {
            return Ok(seen);
        }
        sleep(GONE_AGAIN_AFTER).await;
        self.observe_once(start).await
    }

    /// Whether the last plan was made of the very same.
    fn is_as_planned(&self, seen: &Observation) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.seen.is(seen))
    }

    async fn observe_once(&mut self, start: Instant) -> Result<Observation, ObserveError> {
        let mut seen = self.observer.observe(start).await?;
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

    fn publish(&self, routes: &[model::Route]) {
        if self.publisher.publish(routes) {
            let routes = self.publisher.published();
            info!(generation = routes.generation, partitions = routes.routes.len(), "routes changed");
        }
    }

    /// Remembers what became of the steps, and says whether some failed that may pass by themselves.
    fn note_applied(&mut self, applied: Vec<Applied>, tried: &mut Tried, round: u32) -> bool {
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
            tried.note(step, outcome, round);
        }
        passing
    }

    /// Tells of a finished observation.
    fn note_plan(&mut self, plan: &Arc<Plan>) {
        let gone: Vec<TopicName> = self.gone.iter().cloned().collect();
        self.reporter.tell_cluster("source", None);
        self.reporter.tell_cluster("destination", None);
        if !self.told.as_ref().is_some_and(|told| Arc::ptr_eq(told, plan)) {
            self.reporter.tell_plan(plan, &gone);
            self.told = Some(Arc::clone(plan));
            let copied = Some(Arc::new(copied(plan)));
            self.copied.send_if_modified(|known| {
                let is_new = *known != copied;
                *known = copied;
                is_new
            });
        }
        let routes = self.publisher.published();
        // They are sorted by it.
        let topics = routes.routes.chunk_by(|one, other| one.source.topic == other.source.topic).count();
        let status = ControlStatus {
            generation: routes.generation,
            observations: self.status.borrow().observations + 1,
            failures: 0,
            source_error: None,
            destination_error: None,
            topics,
            partitions: routes.routes.len(),
            not_copied: plan.not_copied.clone(),
            blocked: plan.blocked.clone(),
            gone,
            warnings: plan.warnings.clone(),
        };
        self.status.send_replace(Arc::new(status));
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
