//! `paralog check`: everything that can be said about property files without connecting.

use std::fmt::Write as _;

use anyhow::Context;
use properties::ClusterSettings;
use worker::Prepared;

use crate::answer::answer;
use crate::cli::Check;
use crate::failure::Failure;
use crate::files;

/// Prints what there is to say about the files.
pub(crate) fn check(check: &Check) -> Result<(), Failure> {
    let mut judged = files::read(&check.files, true);
    let prepared = judged.prepare();
    if judged.report.has_errors() {
        return Err(Failure::settings(&judged.report));
    }
    let rights = prepared.as_ref().map(Prepared::rights).unwrap_or_default();
    let mut text = judged.report.to_string();
    let connectors = judged.settings.iter().flat_map(|settings| &settings.connectors);
    for (connector, (_, rights)) in connectors.zip(rights) {
        writeln!(
            text,
            "ok: connector `{}` copies from {} to {}",
            connector.name,
            shown(&connector.source),
            shown(&connector.destination)
        )
        .expect("a string takes whatever is written");
        text.extend(rights.iter().map(|right| format!("    needs {right}\n")));
    }
    answer(&judged.hidden(&text))
        .context("cannot write to the output")
        .map_err(|error| Failure::start(&error))
}

/// A cluster's addresses, and how its connections are secured.
fn shown(cluster: &ClusterSettings) -> String {
    let bootstrap = cluster.bootstrap.join(",");
    match cluster.security.summary() {
        Some(summary) => format!("{bootstrap} ({summary})"),
        None => bootstrap,
    }
}
