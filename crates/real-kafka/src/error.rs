use std::{io, path::PathBuf};

/// Why real Kafka could not be resolved, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that must be installed is not.
    #[error("cannot run `{program}`, which {needed_for}: {source}")]
    Missing {
        /// The program's name as it was looked for on the path.
        program: String,
        /// A clause that says what it is for.
        needed_for: &'static str,
        /// The operating system's word.
        source: io::Error,
    },
    /// The version is not one whose artifacts we know.
    #[error("no artifacts are known for Kafka {version}: known are 4.x, 3.5 and later, 2.x and 1.1.x")]
    UnknownVersion {
        /// As asked for.
        version: String,
    },
    /// Maven or the Java compiler failed.
    #[error("`{command}` failed with {status}\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A process ended while it was needed.
    #[error("{name} ended ({status}), its log is {log}\n{tail}", log = log.display())]
    Ended {
        /// Which process.
        name: String,
        /// How it ended.
        status: String,
        /// Its whole log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something expected did not come in time.
    #[error("waited {seconds} s for {what}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The Java helper or a tool answered with an error.
    #[error("{command}: {message}")]
    Refused {
        /// What it was asked.
        command: String,
        /// What it said.
        message: String,
    },
    /// The helper's answer was not as agreed: a mistake of ours.
    #[error("unexpected answer to {command}: {line:?}")]
    Answer {
        /// What it was asked.
        command: String,
        /// The line that could not be read.
        line: String,
    },
    /// A file could not be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, such as "cannot create".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
}

impl Error {
    /// True if the cause is that Java or Maven is not installed: tests then say that they were not run.
    #[must_use]
    pub fn is_missing_program(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }
}
