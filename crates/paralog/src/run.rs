//! `paralog run`: from settings to a worker that runs until it is told to stop.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use properties::{Problem, Report, RunOptions, Severity};
use tokio::sync::watch;
use tracing::{info, warn};
use worker::{Outcome, Prepared, WorkerStatus};

use crate::cli::{Connectors, Run};
use crate::failure::Failure;
use crate::files::{self, Judged};
use crate::logs;
use crate::progress::{grouped, show};
use crate::screen::Screen;
use crate::signals::Signals;

/// Runs what the command line asks for until it is done or told to stop.
pub(crate) fn run(run: &Run) -> Result<(), Failure> {
    // Sockets on one thread: a batch that passes costs a header and two system calls, so that a second
    // thread would only move it between caches. Transcoding and files have the pool.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(worker::blocking_threads_max())
        .build()
        .context("cannot start the runtime");
    let runtime = runtime.map_err(|error| Failure::start(&error))?;
    // Before anything else is done or said: who sees a sign of life may stop it cleanly.
    let signals = {
        let _inside = runtime.enter();
        Signals::new().context("cannot listen for signals").map_err(|error| Failure::start(&error))?
    };
    let screen = Screen::new();
    logs::start(&run.logs, &screen);
    let (prepared, report) = prepared(&run.connectors)?;
    for problem in report.problems() {
        log(problem);
    }
    let result = runtime.block_on(work(prepared, run, signals, screen));
    // What still blocks, such as the look-up of a name, is not waited for.
    runtime.shutdown_background();
    result
}

/// The connectors asked for, ready to be started, and what there is to say about them.
pub(crate) fn prepared(run: &Connectors) -> Result<(Prepared, Report), Failure> {
    let mut judged = judged(run)?;
    match judged.prepare() {
        Some(prepared) => Ok((prepared, judged.report)),
        None => Err(Failure::settings(&judged.report)),
    }
}

/// The settings of the connectors asked for, and what there is to say about them.
fn judged(run: &Connectors) -> Result<Judged, Failure> {
    let direct = &run.direct;
    if let (Some(source), Some(destination), Some(topics)) =
        (&direct.source, &direct.destination, &direct.topics)
    {
        let options = RunOptions {
            source: source.clone(),
            destination: destination.clone(),
            topics: topics.clone(),
            rename: direct.rename.clone(),
            sets: run.set.clone(),
        };
        let (worker, connector, problems) = options.entries();
        return Ok(files::judge(worker, vec![connector], problems));
    }
    if run.files.len() < 2 {
        return Err(Failure::usage(
            "there is no connector to run",
            "name the worker's property file first and the connectors' after it, or use --source, --destination and --topics",
        ));
    }
    Ok(files::read(&run.files, false))
}

fn log(problem: &Problem) {
    let place = Some(problem.place.to_string()).filter(|place| !place.is_empty());
    let hint = problem.hint.as_deref();
    match problem.severity {
        Severity::Error | Severity::Warning => warn!(place, hint, "{}", problem.message),
        Severity::Info => info!(place, hint, "{}", problem.message),
    }
}

#[allow(clippy::disallowed_methods)] // How long it took is for people.
async fn work(prepared: Prepared, run: &Run, signals: Signals, screen: Screen) -> Result<(), Failure> {
    let started = Instant::now();
    let (sender, status) = watch::channel(Arc::new(WorkerStatus::default()));
    let shown = (!run.logs.quiet).then(|| tokio::spawn(show(screen, status.clone(), run.until_caught_up)));
    let result = worker::run(prepared, run.until_caught_up, first(signals), sender).await;
    if let Some(shown) = shown {
        // Its last line stands before anything that is said now; it only draws, so a panic there is no end.
        let _ = shown.await;
    }
    let status = status.borrow();
    let topics = || status.flows.iter().flat_map(|flow| &flow.topics);
    let records = grouped(topics().map(|topic| topic.records).sum());
    let bytes = grouped(topics().map(|topic| topic.bytes).sum());
    let seconds = format!("{:.1}", started.elapsed().as_secs_f64());
    match result {
        Ok(Outcome::CaughtUp) => info!(%records, %bytes, %seconds, "caught up, stopped"),
        Ok(Outcome::Stopped) => info!(%records, %bytes, %seconds, "stopped"),
        Err(error) => return Err(Failure::run(&error)),
    }
    Ok(())
}

/// Ends with the first signal, which asks for a clean stop; the second ends the process.
async fn first(mut signals: Signals) {
    let name = signals.next().await;
    info!(signal = name, "stopping; the same once more stops at once");
    tokio::spawn(async move {
        let name = signals.next().await;
        warn!(signal = name, "stopped at once; the next start goes on at the exact record");
        std::process::exit(Failure::INCOMPLETE.into());
    });
}
