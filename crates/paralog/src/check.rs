//! `paralog check`: everything that can be said about property files without connecting.

use std::fmt::Write as _;

use anyhow::Context;

use crate::answer::answer;
use crate::cli::Check;
use crate::failure::Failure;
use crate::files;

/// Prints what there is to say about the files.
pub(crate) fn check(check: &Check) -> Result<(), Failure> {
    let (settings, mut report) = files::read(&check.files, true);
    if let Some(settings) = &settings
        && let Err(more) = worker::prepare(settings)
    {
        report.extend(more.problems().into_iter().cloned());
    }
    if report.has_errors() {
        return Err(Failure::settings(&report));
    }
    let mut text = report.to_string();
    for connector in settings.iter().flat_map(|settings| &settings.connectors) {
        writeln!(
            text,
            "ok: connector `{}` copies from {} to {}",
            connector.name,
            connector.source.bootstrap.join(","),
            connector.destination.bootstrap.join(",")
        )
        .expect("a string takes whatever is written");
    }
    answer(&text).context("cannot write to the output").map_err(|error| Failure::start(&error))
}
