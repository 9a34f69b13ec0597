//! `paralog check`: everything that can be said about property files without connecting.

use crate::cli::Check;
use crate::failure::Failure;
use crate::files;

/// Prints what there is to say about the files.
#[allow(clippy::print_stdout)] // The answer to the command.
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
    print!("{report}");
    for connector in settings.iter().flat_map(|settings| &settings.connectors) {
        println!(
            "ok: connector `{}` copies from {} to {}",
            connector.name,
            connector.source.bootstrap.join(","),
            connector.destination.bootstrap.join(",")
        );
    }
    Ok(())
}
