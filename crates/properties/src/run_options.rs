//! A run without any file: what the command line says, turned into entries of pseudo files, so that the
//! same table and the same rules judge it.

use crate::entry::{Entry, Place};
use crate::load::{is_topic_name, load};
use crate::report::{Problem, Report, Severity};
use crate::settings::Settings;
use crate::table::{FileKind, lookup};

/// What `run --source … --destination … --topics …` says.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--source`: brokers of the source.
    pub source: String,
    /// `--destination`: brokers of the destination.
    pub destination: String,
    /// `--topics`: topic names separated by commas, or a Java regular expression.
    pub topics: String,
    /// `--rename`: the format of names at the destination.
    pub rename: Option<String>,
    /// `--set`, each `KEY=VALUE`: any property of worker or connector. They win over the options above.
    pub sets: Vec<String>,
}

impl Settings {
    /// Settings of a run without files, and without config providers: see [`RunOptions::entries`].
    #[allow(clippy::result_unit_err)] // the errors are in the report
    pub fn from_options(options: &RunOptions) -> (Result<Settings, ()>, Report) {
        let (worker, connector, problems) = options.entries();
        let (settings, mut report) = load(&worker, &[connector]);
        let is_wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
        report.extend(problems);
        (if is_wrong { Err(()) } else { settings }, report)
    }
}

impl RunOptions {
    /// The entries of a worker and of one connector, ready for [`crate::resolve`] and [`load`], and what is wrong with
    /// the options themselves. The connector is named after what it copies where, so that runs between other clusters
    /// or under other names keep their progress apart.
    ///
    /// Problems name the option (`--source`, `--set`) in place of a file.
    pub fn entries(&self) -> (Vec<Entry>, Vec<Entry>, Vec<Problem>) {
        let options = self;
        let mut worker = Vec::new();
        let mut connector = Vec::new();
        let mut problems = Vec::new();

        let mut name = format!("{}-to-{}", options.source.trim(), options.destination.trim());
        if let Some(rename) = &options.rename {
            name = format!("{name} as {}", rename.trim());
        }
        let mut add = |option: &str, key: &str, value: &str| {
            connector.push(Entry::new(key, value, &Place::new(option, 0)));
        };
        add("--set", "name", &name);
        add("--set", "connector.class", "paralog");
        // A run by hand leaves no trace at the source, and does not start where an earlier one left off
        // somewhere else.
        add("--set", "offset.topic.commit", "false");
        add("--source", "src.kafka.bootstrap.servers", &options.source);
        add("--destination", "dest.kafka.bootstrap.servers", &options.destination);
        add(
            "--topics",
            if is_list(&options.topics) { "topic.whitelist" } else { "topic.regex" },
            &options.topics,
        );
        if let Some(rename) = &options.rename {
            add("--rename", "topic.rename.format", rename);
        }
        if !is_list(&options.topics) && holds_bare_comma(&options.topics) {
            let message =
                format!("`{}` is read as one pattern, in which a comma stands for itself", options.topics);
            problems.push(
                Problem::warning(Place::new("--topics", 0), message)
                    .with_hint("to copy what one of several patterns matches, separate them by `|`"),
            );
        }
        for set in &options.sets {
            match set.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    let entry = Entry::new(key.trim(), value, &Place::new("--set", 0));
                    if goes_to_worker(&entry.key) { worker.push(entry) } else { connector.push(entry) }
                }
                // The text may be a secret that lost its key, so that it is not repeated.
                _ => problems.push(
                    Problem::error(Place::new("--set", 0), "is not of the form KEY=VALUE")
                        .with_hint("for example --set src.consumer.isolation.level=read_committed"),
                ),
            }
        }
        let given = |key: &str| worker.iter().any(|entry| entry.key == key);
        if given("offset.storage.topic") {
            if !given("bootstrap.servers") {
                let place = Place::new("--destination", 0);
                worker.insert(0, Entry::new("bootstrap.servers", &options.destination, &place));
            }
        } else if !given("offset.storage.file.filename") && !worker.is_empty() {
            worker.insert(0, default_offset_file(&Place::new("--set", 0)));
        }
        (worker, connector, problems)
    }
}

/// Where progress is kept when nobody says so.
pub(crate) fn default_offset_file(place: &Place) -> Entry {
    Entry::new("offset.storage.file.filename", crate::OFFSET_FILE_DEFAULT, place)
}

/// Whether `key` is the worker's alone.
pub(crate) fn goes_to_worker(key: &str) -> bool {
    lookup(FileKind::Connector, key).is_none() && lookup(FileKind::Worker, key).is_some()
}

/// Whether all parts could be topic names. A pattern without special characters is a list as well, and
/// means the same.
fn is_list(topics: &str) -> bool {
    topics.split(',').map(str::trim).all(|part| part.is_empty() || is_topic_name(part))
}

/// A comma outside `{…}` and `[…]`.
fn holds_bare_comma(pattern: &str) -> bool {
    let mut depth = 0_usize;
    pattern.chars().any(|char| {
        match char {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OffsetStorage;

    fn options(topics: &str, sets: &[&str]) -> RunOptions {
        RunOptions {
            source: "localhost:9082".to_owned(),
            destination: "localhost:9092".to_owned(),
            topics: topics.to_owned(),
            rename: Some("${topic}.replica".to_owned()),
            sets: sets.iter().map(|&set| set.to_owned()).collect(),
        }
    }

    #[test]
    fn a_list_of_names_and_a_pattern_are_told_apart() {
        let check = |topics: &str, whitelist: &[&str], regex: Option<&str>| {
            let (settings, report) = Settings::from_options(&options(topics, &[]));
            let selection = settings.expect("loads").connectors.remove(0).selection;
            let listed: Vec<&str> = selection.whitelist.iter().map(model::TopicName::as_str).collect();
            assert_eq!((&listed[..], selection.regex.as_deref()), (whitelist, regex), "{topics}");
            report.to_string()
        };
        assert_eq!(check("orders, my.topic", &["orders", "my.topic"], None), "");
        assert_eq!(check("orders.*", &[], Some("orders.*")), "");
        assert_eq!(check("a{1,3}", &[], Some("a{1,3}")), "");
        assert!(
            check("a,b.*", &[], Some("a,b.*"))
                .starts_with("warning: --topics: `a,b.*` is read as one pattern")
        );
    }

    #[test]
    fn sets_go_where_they_belong_and_win() {
        let sets =
            ["offset.flush.interval.ms=1000", "name=x", "topic.regex=a=b", "src.consumer.client.rack = r1"];
        let (settings, report) = Settings::from_options(&options("a", &sets));
        let settings = settings.expect("loads");
        assert_eq!(report.to_string(), "");
        assert_eq!(settings.worker.offset_flush_interval.as_millis(), 1000);
        assert_eq!(settings.worker.offset_storage, OffsetStorage::File("paralog.offsets".into()));
        let connector = &settings.connectors[0];
        assert_eq!((&*connector.name, connector.selection.regex.as_deref()), ("x", Some("a=b")));
        assert_eq!(connector.reading.rack.as_deref(), Some("r1"));
    }

    #[test]
    fn progress_goes_to_a_topic_of_the_destination_where_one_is_set() {
        let (settings, report) = Settings::from_options(&options("a", &["offset.storage.topic=progress"]));
        assert_eq!(report.to_string(), "");
        let OffsetStorage::Topic(topic) = settings.expect("loads").worker.offset_storage else { panic!() };
        assert_eq!(
            (topic.topic.as_str(), &topic.cluster.bootstrap[..]),
            ("progress", &["localhost:9092".into()][..])
        );
    }

    #[test]
    fn runs_that_copy_elsewhere_have_names_of_their_own() {
        let name = |options: &RunOptions| {
            Settings::from_options(options).0.expect("loads").connectors.remove(0).name
        };
        let first = options("a", &[]);
        assert_eq!(name(&first), "localhost:9082-to-localhost:9092 as ${topic}.replica");
        let other = RunOptions { rename: None, ..first.clone() };
        assert_ne!(name(&first), name(&other));
    }

    #[test]
    fn what_is_wrong_names_its_option() {
        let wrong = RunOptions {
            source: "localhost".to_owned(),
            sets: vec!["tasks.max=x".to_owned(), "hunter2".to_owned(), "offset.flush=1".to_owned()],
            ..options("a", &[])
        };
        let (settings, report) = Settings::from_options(&wrong);
        assert!(settings.is_err());
        let report = report.to_string();
        assert!(
            report.contains("error: --source: `src.kafka.bootstrap.servers` holds `localhost`"),
            "{report}"
        );
        assert!(report.contains("error: --set: `tasks.max` is `x`, not a whole number"), "{report}");
        assert!(report.contains("error: --set: is not of the form KEY=VALUE"), "{report}");
        assert!(!report.contains("hunter2"), "{report}");
    }
}
