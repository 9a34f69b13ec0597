//! Everything there is to say about the settings, told at once.
//!
//! Readers collect [`Problem`]s and go on; only at the end does anybody ask whether there was an error.
//! What a value is may be quoted in a problem, so whoever makes one leaves out values that are secret.

use std::fmt;

use crate::entry::Place;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing starts before this is mended.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Good to know.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        })
    }
}

/// One thing to say: what, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub place: Place,
    /// What is wrong and why: lower case, no full stop, never a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// An error.
    pub fn error(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, place, message: message.into(), hint: None }
    }

    /// A warning.
    pub fn warning(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, place, message: message.into(), hint: None }
    }

    /// A note.
    pub fn info(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Info, place, message: message.into(), hint: None }
    }

    /// The same with what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if !self.place.file.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All problems of all files. Displayed with the errors first, then by file and line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }

    /// Adds a problem, unless the very same is there already (one worker entry may trouble several
    /// connectors).
    pub fn push(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds several, as what [`crate::parse`] found.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// The problems as they came, for other words in the place of some.
    pub(crate) fn problems_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        self.problems.iter_mut()
    }

    /// Whether anything here forbids a start.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems: errors first, then warnings, then notes; each by file in the order the files were
    /// first met, then by line.
    pub fn problems(&self) -> Vec<&Problem> {
        let mut files: Vec<&str> = Vec::new();
        for problem in &self.problems {
            if !files.contains(&&*problem.place.file) {
                files.push(&problem.place.file);
            }
        }
        let file_index = |problem: &Problem| files.iter().position(|file| *file == &*problem.place.file);
        let mut sorted: Vec<&Problem> = self.problems.iter().collect();
        sorted.sort_by_key(|problem| (problem.severity, file_index(problem), problem.place.line));
        sorted
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems().iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_first_then_files_in_the_order_met_then_lines() {
        let mut report = Report::new();
        report.push(Problem::warning(Place::new("w", 9), "late"));
        report.push(Problem::warning(Place::new("w", 2), "early"));
        report.push(Problem::error(Place::new("c", 0), "broken").with_hint("mend it"));
        report.push(Problem::warning(Place::new("a", 1), "other file"));
        report.push(Problem::info(Place::none(), "by the way"));
        assert_eq!(
            report.to_string(),
            "error: c: broken\nhint: mend it\nwarning: w:2: early\nwarning: w:9: late\n\
             warning: a:1: other file\ninfo: by the way\n"
        );
    }

    #[test]
    fn the_same_problem_is_told_once() {
        let mut report = Report::new();
        report.extend([Problem::error(Place::none(), "x"), Problem::error(Place::none(), "x")]);
        assert_eq!(report.problems().len(), 1);
    }
}
