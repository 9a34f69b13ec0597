//! How a command fails: what is printed, once, and the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use properties::Report;
use worker::progress::ProgressError;
use worker::{OutOfFiles, RunError};

/// The end of a command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    pub(crate) const USAGE: u8 = 1;
    const SETTINGS: u8 = 2;
    const START: u8 = 3;
    /// Also the code of a second signal, which stops at once.
    pub(crate) const INCOMPLETE: u8 = 4;

    /// Arguments that cannot be meant.
    pub(crate) fn usage(message: &str, hint: &str) -> Failure {
        Failure { code: Failure::USAGE, text: format!("error: {message}\nhint: {hint}\n") }
    }

    /// Settings with errors; the report says everything there is to say about them.
    pub(crate) fn settings(report: &Report) -> Failure {
        Failure { code: Failure::SETTINGS, text: report.to_string() }
    }

    /// A failure of the machine this runs on.
    pub(crate) fn start(error: &anyhow::Error) -> Failure {
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let hint = io.and_then(OutOfFiles::of).map(|limit| format!("hint: {limit}\n")).unwrap_or_default();
        Failure { code: Failure::START, text: format!("error: {error:#}\n{hint}") }
    }

    /// Something was asked for that was not done to its end.
    pub(crate) fn incomplete(error: &anyhow::Error) -> Failure {
        Failure { code: Failure::INCOMPLETE, text: format!("error: {error:#}\n") }
    }

    /// Everything there was to say is said, and it is not that nothing is left to do.
    pub(crate) fn pending() -> Failure {
        Failure { code: Failure::INCOMPLETE, text: String::new() }
    }

    /// Several failures as one: everything they say, and the code of the first.
    pub(crate) fn all(failures: impl IntoIterator<Item = Failure>) -> Option<Failure> {
        failures.into_iter().reduce(|first, next| Failure { text: first.text + &next.text, ..first })
    }

    /// A run that did not come up, or did not do all it was asked to.
    pub(crate) fn run(error: &RunError) -> Failure {
        let code = if error.is_at_start() { Failure::START } else { Failure::INCOMPLETE };
        Failure::hinted(code, &worker::chain(&error), error.hint())
    }

    /// Progress that was not read or changed.
    pub(crate) fn progress(error: &ProgressError) -> Failure {
        let code = if error.is_out_of_reach() { Failure::START } else { Failure::INCOMPLETE };
        Failure::hinted(code, &worker::chain(error), error.hint())
    }

    fn hinted(code: u8, message: &str, hint: Option<String>) -> Failure {
        let mut text = format!("error: {message}\n");
        if let Some(hint) = hint {
            writeln!(text, "hint: {hint}").expect("a string takes whatever is written");
        }
        Failure { code, text }
    }

    /// Prints it and gives the exit code.
    #[allow(clippy::print_stderr)] // This is the edge.
    pub(crate) fn report(self) -> ExitCode {
        eprint!("{}", self.text);
        ExitCode::from(self.code)
    }
}
