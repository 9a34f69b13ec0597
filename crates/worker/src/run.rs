//! A worker from start to stop.
//!
//! ```text
//! progress opened ─▶ both clusters reached ─▶ control and pipeline of each connector ─▶ watched ─▶ stopped
//!  file or topic       or one clear error           started                         until told, or
//!                                                                                 caught up
//! ```
//!
//! What goes wrong before the first connector runs ends the worker; afterwards a cluster that is away is
//! waited for, and a partition that cannot be copied stops alone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use control::{AclStatus, Control, ControlStatus, ObserveError};
use model::{Routes, Users};
use pipeline::{Pipeline, PipelineError, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::connector::{Connector, Prepared};
use crate::grants::Grants;
use crate::reached::{Reached, others, to_source_of};
use crate::start_up::{ReachError, chain};
use crate::status::{FlowView, Routed, Verdict, WorkerStatus};
use crate::stores::Storage;

/// How often the connectors are looked at. A lane's own state changes no more often.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A look takes its time for each partition: five a second were a quarter of what ten thousand idle ones took (perf). So many are
/// looked at less often: each second from ten thousand on.
const LOOK_PER_PARTITION: Duration = Duration::from_micros(100);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop, and stopped cleanly.
    Stopped,
    /// Everything that was there at the start is copied.
    CaughtUp,
}

/// Why a run did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The offsets file or topic cannot be used. Nothing was started.
    #[error(transparent)]
    Offsets(StoreError),
    /// A cluster cannot be used. Nothing was started.
    #[error(transparent)]
    Reach(Box<ReachError>),
    /// A cluster that was reached cannot be asked for what is to be planned.
    #[error("cannot plan connector `{connector}`")]
    Unobserved {
        /// Its name.
        connector: String,
        /// Why.
        #[source]
        source: Box<ObserveError>,
    },
    /// A connector's data plane did not come up. Nothing was copied.
    #[error("cannot start connector `{connector}`")]
    Pipeline {
        /// Its name.
        connector: String,
        /// Why.
        #[source]
        source: PipelineError,
    },
    /// Source and destination are one cluster, and the names are the same there.
    #[error(
        "connector `{connector}` would copy each topic to itself: source and destination are the same cluster `{cluster_id}`"
    )]
    Itself {
        /// Its name.
        connector: String,
        /// The cluster.
        cluster_id: String,
    },
    /// The progress that is stored was made with another destination.
    #[error(
        "the stored progress of connector `{connector}` belongs to destination cluster `{stored}`, and this is cluster `{present}`"
    )]
    OtherDestination {
        /// Its name.
        connector: String,
        /// The cluster that gave it its producer id.
        stored: String,
        /// The cluster that is there.
        present: String,
    },
    /// All that could be copied is, up to the ends seen at the start; the rest, with the reasons.
    #[error("not everything could be copied:\n  {}", reasons.join("\n  "))]
    Incomplete {
        /// One for each topic or partition.
        reasons: Vec<String>,
    },
    /// The stop was not clean. Nothing is lost by that.
    #[error("connector `{connector}` did not stop cleanly")]
    Stop {
        /// Its name.
        connector: String,
        /// Why.
        #[source]
        source: PipelineError,
    },
}

impl RunError {
    /// Whether nothing was started at all.
    pub fn is_at_start(&self) -> bool {
        match self {
            RunError::Offsets(_)
            | RunError::Reach(_)
            | RunError::Unobserved { .. }
            | RunError::Pipeline { .. }
            | RunError::OtherDestination { .. }
            | RunError::Itself { .. } => true,
            RunError::Incomplete { .. } | RunError::Stop { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RunError::Reach(error) => Some(error.hint()),
            RunError::Itself { .. } => Some(String::from(
                "give the copies other names with `topic.rename.format`, such as `${topic}.replica`",
            )),
            RunError::OtherDestination { stored, present, .. } => {
                let (stored, present) = (stored.clone(), present.clone());
                pipeline::Trouble::OtherDestination { stored, present }.hint().map(str::to_owned)
            }
            RunError::Incomplete { .. } => {
                Some(String::from("remove the causes and run again: it goes on where it stopped"))
            }
            RunError::Stop { .. } => Some(String::from(
                "nothing is lost: the next start looks at the destination and goes on at the exact record",
            )),
            RunError::Offsets(_) | RunError::Unobserved { .. } | RunError::Pipeline { .. } => None,
        }
    }
}

/// One connector at work.
struct Flow {
    name: String,
    control: Control,
    routes: watch::Receiver<Arc<Routes>>,
    pipeline: Pipeline,
    view: FlowView,
}

/// Runs every connector until `shutdown` resolves or, with `until_caught_up`, until what was there at the
/// start is copied. `status` is told several times a second how far each of them is.
///
/// # Errors
/// [`RunError`], which says by [`RunError::is_at_start`] whether anything was started.
pub async fn run(
    prepared: Prepared,
    until_caught_up: bool,
    shutdown: impl Future<Output = ()>,
    status: watch::Sender<Arc<WorkerStatus>>,
) -> Result<Outcome, RunError> {
    tokio::pin!(shutdown);
    let place = &prepared.worker.offset_storage;
    let storage = tokio::select! {
        storage = Storage::open(place, &prepared.logins, prepared.worker.offset_flush_timeout) => storage.map_err(RunError::Offsets)?,
        () = &mut shutdown => return Ok(Outcome::Stopped),
    };
    info!(place = storage.name(), "progress is kept here");

    let mut flows = tokio::select! {
        started = start(&prepared.connectors, &storage) => started?,
        () = &mut shutdown => return Ok(Outcome::Stopped),
    };
    let verdict = tokio::select! {
        verdict = watch_over(&mut flows, until_caught_up, &status) => Some(verdict),
        () = &mut shutdown => None,
    };
    look(&mut flows, &status);
    let stopped = stop(flows).await;
    match verdict {
        Some(Verdict::Incomplete(reasons)) => Err(RunError::Incomplete { reasons }),
        Some(_) => stopped.map(|()| Outcome::CaughtUp),
        None => stopped.map(|()| Outcome::Stopped),
    }
}

/// Both clusters of every connector, then its two planes. Clusters first: a wrong address of the last
/// connector is told before the first one has copied anything.
async fn start(connectors: &[Connector], storage: &Storage) -> Result<Vec<Flow>, RunError> {
    let mut reached = Vec::new();
    for connector in connectors {
        let clusters = Reached::reach(connector).await?;
        // Before topics are created there.
        let stored = storage.look(&connector.name).await.map_err(RunError::Offsets)?;
        clusters.check(connector, stored.producer.as_ref())?;
        reached.push((connector, clusters));
    }
    let mut flows = Vec::new();
    for (index, (connector, clusters)) in reached.iter().enumerate() {
        let (source, destination) = (clusters.source.clone(), clusters.destination.clone());
        let mut options = connector.control.clone();
        options.others = others(&reached, index);
        let grants = Box::new(Grants::new(storage, connector, to_source_of(&reached, index)));
        let control = Control::start(source.clone(), destination.clone(), options, grants);
        let routes = control.routes();
        let store = storage.store(&connector.name);
        let pipeline =
            Pipeline::start(source, destination, store, connector.pipeline.clone(), routes.clone()).await;
        match pipeline {
            Ok(pipeline) => {
                let view = FlowView::new(connector.name.clone(), connector.users());
                flows.push(Flow { name: connector.name.clone(), control, routes, pipeline, view });
            }
            Err(source) => {
                control.stop().await;
                // Whatever this one's error, the others' own stop has nothing to add to it.
                let _ = stop(flows).await;
                return Err(RunError::Pipeline { connector: connector.name.clone(), source });
            }
        }
    }
    Ok(flows)
}

/// Looks at the connectors from time to time. Returns when there is a verdict, if one is asked for.
async fn watch_over(
    flows: &mut [Flow],
    until_caught_up: bool,
    status: &watch::Sender<Arc<WorkerStatus>>,
) -> Verdict {
    loop {
        let now = look(flows, status);
        if until_caught_up {
            let verdict = together(flows.iter().map(|flow| flow.view.verdict(now)));
            if verdict != Verdict::NotYet {
                return verdict;
            }
        }
        tokio::time::sleep(until_next_look(flows.iter().map(|flow| flow.view.partitions()).sum())).await;
    }
}

/// How long nothing is looked at, where a look is at so many partitions.
fn until_next_look(partitions: usize) -> Duration {
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
    LOOK_PER_PARTITION.saturating_mul(partitions).clamp(LOOK_INTERVAL, LOOK_INTERVAL_MAX)
}

/// Tells how far each connector is, as of the time returned.
fn look(flows: &mut [Flow], status: &watch::Sender<Arc<WorkerStatus>>) -> std::time::Instant {
    let now = Instant::now().into_std();
    let all = flows.iter_mut().map(|flow| flow.look(now)).collect();
    status.send_replace(Arc::new(WorkerStatus { flows: all }));
    now
}

/// The verdict on all connectors: the last one to finish counts, and every reason.
fn together(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.fold(Verdict::CaughtUp, |all, one| match (all, one) {
        (Verdict::NotYet, _) | (_, Verdict::NotYet) => Verdict::NotYet,
        (Verdict::Incomplete(mut all), Verdict::Incomplete(more)) => {
            all.extend(more);
            Verdict::Incomplete(all)
        }
        (incomplete @ Verdict::Incomplete(_), _) | (_, incomplete @ Verdict::Incomplete(_)) => incomplete,
        (Verdict::CaughtUp, Verdict::CaughtUp) => Verdict::CaughtUp,
    })
}

/// Control first, so that no new route starts; then every data plane drains, all at the same time.
async fn stop(flows: Vec<Flow>) -> Result<(), RunError> {
    let mut stopping = tokio::task::JoinSet::new();
    for Flow { name, control, pipeline, .. } in flows {
        stopping.spawn(async move {
            control.stop().await;
            (name, pipeline.stop().await)
        });
    }
    let mut first = Ok(());
    while let Some(stopped) = stopping.join_next().await {
        match stopped {
            Ok((_, Ok(()))) => {}
            Ok((connector, Err(source))) => {
                warn!(connector, error = chain(&source), "connector did not stop cleanly");
                first = first.and(Err(RunError::Stop { connector, source }));
            }
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    first
}

impl Flow {
    fn look(&mut self, now: std::time::Instant) -> crate::status::FlowStatus {
        let acls = self.control.acls().map(|acls| acls.borrow().clone());
        let users = self.view.users();
        let routed = routed(&self.control.status().borrow(), &self.routes.borrow(), acls.as_ref(), users);
        let pipeline = Arc::clone(&self.pipeline.status().borrow());
        self.view.update(now, &routed, &pipeline)
    }
}

fn routed(control: &ControlStatus, routes: &Routes, acls: Option<&AclStatus>, users: &Users) -> Routed {
    let trouble = |cluster: &str, error: &Option<String>| {
        error.as_ref().map(|error| format!("the {cluster} cluster cannot be asked for its topics: {error}"))
    };
    let missing = control.not_copied.iter().filter(|not| not.why.is_open());
    let missing =
        missing.map(|not| format!("topic `{}`: {} ({})", not.source, not.why, users.named(not.why.hint())));
    let blocked = control.blocked.iter().map(|blocked| {
        let from = match blocked.partitions_from {
            0 => String::new(),
            first => format!(" from partition {first} on"),
        };
        format!("topic `{}`{from}: {} ({})", blocked.source, blocked.why, users.named(blocked.why.hint()))
    });
    let without_acls = acls.and_then(|acls| acls.trouble.as_ref());
    let without_acls = without_acls
        .map(|trouble| format!("{}: {trouble} ({})", trouble.headline(), users.named(trouble.hint)));
    Routed {
        is_settled: control.is_first_observation_complete()
            && control.generation <= routes.generation
            && acls.is_none_or(|acls| acls.rounds > 0),
        generation: routes.generation,
        routes: routes.routes.len(),
        trouble: trouble("source", &control.source_error)
            .or(trouble("destination", &control.destination_error)),
        not_copied: missing.chain(blocked).collect(),
        gone: control.gone.clone(),
        warnings: control.warnings.iter().map(ToString::to_string).chain(without_acls).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_partitions_are_looked_at_less_often() {
        let pauses = [0, 8, 2000, 5000, 10_000, 1_000_000].map(|count| until_next_look(count).as_millis());
        assert_eq!(pauses, [200, 200, 200, 500, 1000, 1000]);
    }
}
