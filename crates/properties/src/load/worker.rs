//! The worker's settings.

use std::path::PathBuf;
use std::time::Duration;

use super::file::File;
use crate::report::{Problem, Report};
use crate::settings::{OFFSET_FILE_DEFAULT, WorkerSettings};

const OFFSET_FILE: &str = "offset.storage.file.filename";

/// The shortest interval that is followed: less would only turn in circles.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) fn read(file: &File<'_>, report: &mut Report) -> WorkerSettings {
    let offset_file = file.text(OFFSET_FILE);
    if offset_file.is_none() && !file.is_empty() {
        let hint = match file.entry("offset.storage.topic") {
            Some(_) => "progress in a topic is not built yet; name a file in which to keep it",
            None => "name the file in which progress is kept",
        };
        report.push(Problem::error(file.whole(), format!("`{OFFSET_FILE}` is missing")).with_hint(hint));
    }
    WorkerSettings {
        offset_file: offset_file.map_or_else(|| PathBuf::from(OFFSET_FILE_DEFAULT), PathBuf::from),
        offset_flush_interval: interval(file, "offset.flush.interval.ms", report),
        offset_flush_timeout: file.millis_or_default("offset.flush.timeout.ms"),
        shutdown_timeout: file.millis_or_default("task.shutdown.graceful.timeout.ms"),
    }
}

/// An interval, lifted to [`INTERVAL_MIN`] with a warning.
pub(super) fn interval(file: &File<'_>, key: &str, report: &mut Report) -> Duration {
    let interval = file.millis_or_default(key);
    if interval < INTERVAL_MIN {
        let message = format!("`{key}` is {}; 100 is taken, the shortest there is", interval.as_millis());
        report.push(Problem::warning(file.place(key), message));
    }
    interval.max(INTERVAL_MIN)
}
