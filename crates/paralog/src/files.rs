//! Property files from disk to settings.

use std::path::{Path, PathBuf};

use properties::table::FileKind;
use properties::{
    Entry, Place, Problem, Provided, Report, Settings, Severity, kind_of, load, parse_bytes, resolve,
};
use worker::{Logins, Prepared, ThisMachine};

use crate::secrets;

/// No property file is this large; something else was named.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What entries come to, and everything there is to say about them.
pub(crate) struct Judged {
    /// `None` where the report holds an error.
    pub(crate) settings: Option<Settings>,
    pub(crate) report: Report,
    provided: Provided,
    /// What there was to say about config providers.
    given_by_providers: Vec<String>,
    logins: Logins,
}

impl Judged {
    /// The settings, where they were read another time: not if config providers have less to give than before.
    fn again(self, given_by_providers: &[String]) -> Result<Settings, String> {
        let is_new = |problem: &&String| !given_by_providers.contains(problem);
        if let Some(problem) = self.given_by_providers.iter().find(is_new) {
            return Err(problem.trim_end().replace('\n', " "));
        }
        let error = self.report.problems().into_iter().find(|problem| problem.severity == Severity::Error);
        let error = error.map(|problem| problem.to_string().trim_end().replace('\n', " "));
        self.settings.ok_or_else(|| error.unwrap_or_default())
    }

    /// `text` with references in the place of what config providers gave.
    pub(crate) fn hidden(&self, text: &str) -> String {
        self.provided.hidden(text)
    }

    /// The connectors, ready to be started; `None` where the report, which is complete then, holds an error.
    pub(crate) fn prepare(&mut self) -> Option<Prepared> {
        let (prepared, more) = match worker::prepare(self.settings.as_ref()?, self.logins.clone()) {
            Ok(prepared) => {
                let remarks = prepared.remarks.clone();
                (Some(prepared), remarks)
            }
            Err(errors) => (None, errors),
        };
        self.report.extend(more.problems().into_iter().cloned());
        self.provided.hide(&mut self.report);
        prepared
    }
}

/// What `files` come to.
///
/// The worker's file is the first, as for `connect-standalone`; where `by_content`, it is the one that
/// looks like it, and there may be none.
pub(crate) fn read(files: &[PathBuf], by_content: bool) -> Judged {
    let again = files.to_vec();
    let judged = read_now(files, by_content);
    let given = judged.given_by_providers.clone();
    let logins = Logins::new(move || {
        // A pipe gives its contents once, and whoever opens it again waits.
        match again.iter().find(|file| !file.is_file()) {
            Some(file) => Err(format!("{} is no file that can be read again", file.display())),
            None => read_now(&again, by_content).again(&given),
        }
    });
    Judged { logins, ..judged }
}

fn read_now(files: &[PathBuf], by_content: bool) -> Judged {
    let mut problems = Vec::new();
    let mut worker: Option<Vec<Entry>> = None;
    let mut connectors = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let Some(entries) = read_file(path, &mut problems) else { continue };
        let looks_like_worker = || by_content && worker.is_none() && kind_of(&entries) == FileKind::Worker;
        if (index == 0 && !by_content) || looks_like_worker() {
            worker = Some(entries);
        } else {
            connectors.push(entries);
        }
    }
    // With a file missing, what the others lack would be told wrongly.
    if problems.iter().any(|problem: &Problem| problem.severity == Severity::Error) {
        let mut report = Report::new();
        report.extend(problems);
        let (provided, logins) = (Provided::default(), Logins::default());
        return Judged { settings: None, report, provided, given_by_providers: Vec::new(), logins };
    }
    judge_now(worker.unwrap_or_default(), connectors, problems)
}

/// What these entries come to. `problems` are said of them already.
pub(crate) fn judge(worker: Vec<Entry>, connectors: Vec<Vec<Entry>>, problems: Vec<Problem>) -> Judged {
    let again = (worker.clone(), connectors.clone());
    let judged = judge_now(worker, connectors, problems);
    let given = judged.given_by_providers.clone();
    let logins = Logins::new(move || judge_now(again.0.clone(), again.1.clone(), Vec::new()).again(&given));
    Judged { logins, ..judged }
}

fn judge_now(worker: Vec<Entry>, connectors: Vec<Vec<Entry>>, problems: Vec<Problem>) -> Judged {
    let resolved = resolve(worker, connectors, &ThisMachine);
    let (settings, mut report) = load(&resolved.worker, &resolved.connectors);
    report.extend(problems);
    report.extend(resolved.problems.iter().cloned());
    let settings = settings.ok().filter(|_| !report.has_errors());
    report.extend(secrets::exposed(&resolved, settings.as_ref()));
    let given_by_providers = resolved.problems.iter().map(ToString::to_string).collect();
    Judged { settings, report, provided: resolved.provided(), given_by_providers, logins: Logins::default() }
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<Entry>> {
    let name = path.display().to_string();
    let bytes = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes, so no property file"
            )));
        }
        std::fs::read(path)
    });
    match bytes {
        Ok(bytes) => {
            let (entries, found) = parse_bytes(&name, &bytes);
            problems.extend(found);
            Some(entries)
        }
        Err(error) => {
            problems.push(Problem::error(Place::new(&name, 0), format!("cannot read the file: {error}")));
            None
        }
    }
}
