//! `paralog plan`: what a run would do, told before anything is touched.

use anyhow::Context;
use worker::Planned;

use crate::answer::answer;
use crate::cli::{Output, Plan};
use crate::failure::Failure;
use crate::run;

/// Prints the plan of each connector. It fails where one cannot be planned, and where something is to be done.
pub(crate) fn plan(asked: &Plan) -> Result<(), Failure> {
    let (prepared, report) = run::prepared(&asked.connectors)?;
    tell_settings(&report);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime").map_err(|error| Failure::start(&error))?;
    let planned = runtime.block_on(worker::plan(&prepared));
    runtime.shutdown_background();
    let text = match asked.output {
        Output::Text => review(&planned, asked.rights),
        Output::Json => worker::document(&planned),
    };
    answer(&text).context("cannot write the plan").map_err(|error| Failure::start(&error))?;
    let failures = planned.iter().filter_map(|planned| planned.outcome.as_ref().err()).map(Failure::run);
    match Failure::all(failures) {
        Some(failure) => Err(failure),
        None if planned.iter().any(Planned::is_pending) => Err(Failure::pending()),
        None => Ok(()),
    }
}

/// What there is to say about the settings, beside the plan.
#[allow(clippy::print_stderr)] // This is the edge.
fn tell_settings(report: &properties::Report) {
    eprint!("{report}");
}

/// All plans as text, an empty line between two; with the rights that each needs, if wanted.
fn review(planned: &[Planned], with_rights: bool) -> String {
    let review = |planned: &Planned| {
        let rights = planned.rights.iter().filter(|_| with_rights);
        let rights: String = rights.map(|right| format!("needs {right}\n")).collect();
        format!("{planned}{rights}")
    };
    planned.iter().map(review).collect::<Vec<_>>().join("\n")
}
