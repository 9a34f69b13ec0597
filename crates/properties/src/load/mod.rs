//! From entries to typed settings and a report.
//!
//! ```text
//! entries ─▶ survey (each key against the table) ─▶ connector, worker (rules between keys) ─▶ Settings
//!                     └──────────── problems of all files ───────────┴─▶ Report (without what providers gave)
//! ```
//!
//! Nothing stops at the first error: a property that cannot be read counts as left out, so that the rest
//! can still be judged.

mod connector;
mod converters;
mod file;
mod secured;
mod survey;
mod worker;

use crate::entry::{Entry, Place};
use crate::provided::Provided;
use crate::report::{Problem, Report};
use crate::settings::Settings;
use crate::table::{FileKind, lookup};
use file::File;
use survey::Survey;

pub(crate) use connector::is_topic_name;

/// Reads the settings of a run: one worker's file and the files of its connectors.
///
/// An empty `worker` stands for none: progress then goes to [`crate::OFFSET_FILE_DEFAULT`]. The report holds
/// everything there is to say about all files; the settings are an error exactly when the report has one.
/// What [`crate::parse`] found is the caller's to add to the report.
#[allow(clippy::result_unit_err)] // the errors are in the report
pub fn load(worker: &[Entry], connectors: &[Vec<Entry>]) -> (Result<Settings, ()>, Report) {
    let mut report = Report::new();
    let (worker, connectors) = in_their_places(worker, connectors, &mut report);
    let mut survey = Survey::new(&mut report);
    survey.look_at(FileKind::Worker, worker);
    connectors.iter().for_each(|entries| survey.look_at(FileKind::Connector, entries));
    survey.finish();

    let worker_entries = worker;
    let worker = File::new(FileKind::Worker, worker);
    let worker_settings = worker::read(&worker, &mut report);
    let connector_settings: Vec<_> = connectors
        .iter()
        .filter_map(|entries| {
            let file = File::new(FileKind::Connector, entries);
            connector::read(&file, &worker, &worker_settings, &mut report)
        })
        .collect();
    if connectors.is_empty() && !report.has_errors() {
        secured::read_destination(None, &worker, None, &mut report);
        report.push(Problem::warning(Place::none(), "there is no connector: nothing is copied"));
    }
    for (index, settings) in connector_settings.iter().enumerate() {
        if let Some(first) = connector_settings[..index].iter().find(|other| other.name == settings.name) {
            let message =
                format!("a connector named `{}` is already in {}", settings.name, first.place("name"));
            report.push(
                Problem::error(settings.place("name"), message)
                    .with_hint("progress is kept by name; give each connector its own `name`"),
            );
        }
    }
    let settings = if report.has_errors() {
        Err(())
    } else {
        Ok(Settings { worker: worker_settings, connectors: connector_settings })
    };
    Provided::of(connectors.iter().copied().chain([worker_entries]).flatten()).hide(&mut report);
    (settings, report)
}

/// Drops files that are of another kind than the place they are given in: a word about that says more than
/// one about each key. In the place of a dropped one nothing is missed.
fn in_their_places<'a>(
    worker: &'a [Entry],
    connectors: &'a [Vec<Entry>],
    report: &mut Report,
) -> (&'a [Entry], Vec<&'a [Entry]>) {
    let mut refuse = |entries: &[Entry], message: &str, hint: &str| {
        let place = entries.first().map_or_else(Place::none, |entry| Place { line: 0, ..entry.place() });
        report.push(Problem::error(place, message).with_hint(hint));
    };
    const MIRROR_MAKER: &str =
        "is a file for MirrorMaker 2 (it has `clusters`), and running from it is not built yet";
    const MIRROR_MAKER_HINT: &str = "write a connector's file for each pair of clusters";
    let worker = match kind_of(worker) {
        FileKind::Connector if worker.iter().any(|entry| entry.key == "connector.class") => {
            refuse(
                worker,
                "is a connector's file, given in place of a worker's",
                "the worker's file comes first",
            );
            &[]
        }
        FileKind::MirrorMaker => {
            refuse(worker, MIRROR_MAKER, MIRROR_MAKER_HINT);
            &[]
        }
        _ => worker,
    };
    let connectors = connectors.iter().map(|entries| &entries[..]).filter(|entries| match kind_of(entries) {
        FileKind::Connector => true,
        FileKind::Worker if entries.iter().any(|entry| entry.key == "name") => true,
        FileKind::Worker => {
            refuse(
                entries,
                "is a worker's file, given in place of a connector's",
                "one worker's file comes first, then connectors'",
            );
            false
        }
        FileKind::MirrorMaker => {
            refuse(entries, MIRROR_MAKER, MIRROR_MAKER_HINT);
            false
        }
    });
    (worker, connectors.collect())
}

/// What kind of file these entries are from, by the keys it holds.
///
/// `connector.class` makes a connector's, `clusters` MirrorMaker's; else it is the kind that knows more of
/// the keys, and a connector's when both know as many.
pub fn kind_of(entries: &[Entry]) -> FileKind {
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    if has("connector.class") {
        return FileKind::Connector;
    }
    if has("clusters") {
        return FileKind::MirrorMaker;
    }
    let known = |kind| entries.iter().filter(|entry| lookup(kind, &entry.key).is_some()).count();
    if known(FileKind::Worker) > known(FileKind::Connector) { FileKind::Worker } else { FileKind::Connector }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn the_kind_of_a_file_shows_in_its_keys() {
        let check = |text: &str, expected| assert_eq!(kind_of(&parse("f", text).0), expected, "{text}");
        check("connector.class=paralog\nbootstrap.servers=a:1\ngroup.id=x", FileKind::Connector);
        check("name=x\ntopic.whitelist=a", FileKind::Connector);
        check("bootstrap.servers=a:1\noffset.storage.file.filename=/f\nkey.converter=a.B", FileKind::Worker);
        check("clusters = a, b", FileKind::MirrorMaker);
        check("", FileKind::Connector);
    }
}
