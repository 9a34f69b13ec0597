//! The command line: what can be asked for, and how that is said.
//!
//! Called as `connect-standalone`, as Replicator's scripts do, the program takes that one's arguments:
//! a worker's property file and the connectors' ones. That is `run` with files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use worker::progress::Chosen;

const ABOUT: &str = "Copies Kafka topics from one cluster to another, each record exactly once.";

const EXAMPLES: &str = "\
Examples:
  See it work, without any Kafka at hand:
    paralog demo

  Copy one topic, and keep copying what arrives:
    paralog run --source old:9092 --destination new:9092 --topics orders

  Migrate every topic that starts with `shop.`, then stop:
    paralog run --source old:9092 --destination new:9092 --topics 'shop\\..*' --until-caught-up

  Take over from Confluent Replicator, with its own files:
    paralog run connect-standalone.properties quickstart-replicator.properties

  Read what that would create and change, and why, before anything is touched:
    paralog plan connect-standalone.properties quickstart-replicator.properties

  Look for mistakes in such files without connecting to anything:
    paralog check connect-standalone.properties quickstart-replicator.properties

  Keep how far a connector is, producer id and all, beside your backups:
    paralog offsets export connect-standalone.properties quickstart-replicator.properties

Exit codes: 0 done, 1 wrong arguments, 2 wrong settings, 3 cannot start (a cluster, or the offsets
file or topic, is out of reach), 4 stopped before everything was copied, or planned something to do.";

const RUN_USAGE: &str = "\
paralog run [OPTIONS] WORKER.properties CONNECTOR.properties...
       paralog run [OPTIONS] --source HOST:PORT --destination HOST:PORT --topics LIST-OR-REGEX";

const RUN_EXAMPLES: &str = "\
Either name the property files of a Connect worker and its connectors, as `connect-standalone` takes them, \
or say with --source, --destination and --topics what to copy.

It goes on where the last run ended, also after a crash: the offsets file remembers where that was, and the \
destination is asked. That file is offset.storage.file.filename of the worker's file or of --set, else \
./paralog.offsets, or the topic offset.storage.topic; what it remembers is kept under the connector's name, or under the addresses and --rename.

SIGINT (Ctrl-C) or SIGTERM stops it cleanly; a second one at once.

Examples:
  paralog run connect-standalone.properties quickstart-replicator.properties
  paralog run --source old:9092 --destination new:9092 --topics orders,payments
  paralog run --source old:9092 --destination new:9092 --topics orders --until-caught-up
  paralog run --source old:9092 --destination new:9092 --topics 'shop\\..*' \\
      --rename '${topic}.replica' --set src.consumer.isolation.level=read_committed";

const PLAN_USAGE: &str = "\
paralog plan [OPTIONS] WORKER.properties CONNECTOR.properties...
       paralog plan [OPTIONS] --source HOST:PORT --destination HOST:PORT --topics LIST-OR-REGEX";

const PLAN_HELP: &str = "\
It takes what `paralog run` takes, looks at both clusters once, and tells for each connector what `run` would create, \
grow and set there and why, what is blocked and by what, which topics are copied, and why others are not. The \
destination is asked to judge each change, so that what it would refuse is told as well. Nothing is changed; the stored \
progress is neither locked nor taken.

Examples:
  paralog plan connect-standalone.properties quickstart-replicator.properties
  paralog plan --source old:9092 --destination new:9092 --topics 'shop\\..*' -o json

Exit codes: 0 nothing to do, 1 wrong arguments, 2 wrong settings, 3 a cluster or the stored progress is out of reach, \
4 something is to be done: a change, or a topic that was asked for is blocked or not copied before somebody acts. Topics \
that are left out for good (the blacklist, internal ones, copies themselves) and warnings do not count.";

const DEMO_HELP: &str = "\
It needs nothing but this program: the clusters listen on loopback, on ports that the system chooses unless you do, \
hold everything in memory, and end with it. Their addresses are printed, for kcat or any other Kafka client to look.

Examples:
  paralog demo --records 100000
  paralog demo --keep-running --source-port 9082 --destination-port 9092

Exit codes: 0 the copy was compared with the source and is equal, 1 wrong arguments, 3 the clusters cannot start or \
the output cannot be written, 4 the copy is not equal, or that was not found out.";

const OFFSETS_HELP: &str = "\
Each takes the files, or --source, --destination and --topics, that `paralog run` takes, of one connector. All but \
the export want the worker stopped: an offsets file that is in use is refused; an offsets topic is taken from the \
worker, which stores nothing any more until it is restarted.

Examples:
  paralog offsets export w.properties c.properties > progress.json
  paralog offsets import w.properties c.properties --from progress.json
  paralog offsets alter w.properties c.properties --topic orders:0,1 --to-offset 1500
  paralog offsets reset w.properties c.properties --topic orders

Exit codes: 0 done, 1 wrong arguments, 2 wrong settings, 3 a cluster or a file is out of reach, 4 refused; nothing \
is changed then, unless it says that progress in a topic may be changed in part: run it again.";

#[derive(Debug, Parser)]
#[command(name = "paralog", version, about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy topics until stopped, or until caught up
    Run(Run),
    /// Say what `run` would do at the destination and why, without doing it
    Plan(Plan),
    /// Look for mistakes in property files, without connecting
    Check(Check),
    /// Keep, read or change how far a connector is, while it does not run
    #[command(subcommand)]
    Offsets(Offsets),
    /// Start two Kafka clusters in this process, copy a topic from one to the other, prove both equal
    Demo(Demo),
}

#[derive(Debug, Args)]
#[command(override_usage = RUN_USAGE, after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// Copy up to the ends that the topics have at the start, then stop
    #[arg(long)]
    pub(crate) until_caught_up: bool,

    #[command(flatten)]
    pub(crate) logs: Logs,
}

#[derive(Debug, Args)]
#[command(override_usage = PLAN_USAGE, after_help = PLAN_HELP)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// How the plan is told
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    /// Tell in the text, too, what the users of the clusters must be allowed to do
    #[arg(long)]
    pub(crate) rights: bool,
}

/// How something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For a person to read
    Text,
    /// For a program: one document
    Json,
}

/// What to copy from where to where: by files, or without.
#[derive(Debug, Args)]
pub(crate) struct Connectors {
    /// The worker's property file, then one for each connector
    #[arg(value_name = "FILES", required_unless_present = "source", conflicts_with_all = ["source", "destination", "topics", "rename"])]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) direct: Direct,

    // No parser of clap's: it would repeat a text that is not of that form, and that may be a secret.
    /// Set a property of the worker or the connector, by its name in the files; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "files")]
    pub(crate) set: Vec<String>,
}

/// What to copy, said without files.
#[derive(Debug, Args)]
pub(crate) struct Direct {
    /// The cluster to read from: one or more of its brokers, separated by commas
    #[arg(long, value_name = "HOST:PORT", requires_all = ["destination", "topics"])]
    pub(crate) source: Option<String>,

    /// The cluster to write to
    #[arg(long, value_name = "HOST:PORT", requires = "source")]
    pub(crate) destination: Option<String>,

    /// Topics separated by commas, or a regular expression (Java syntax) for whole names
    #[arg(long, value_name = "LIST-OR-REGEX", requires = "source")]
    pub(crate) topics: Option<String>,

    /// The topics' names at the destination; `${topic}` stands for the name at the source
    #[arg(long, value_name = "FORMAT", requires = "source")]
    pub(crate) rename: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The worker's property file, then one for each connector
    #[arg(value_name = "FILES", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = OFFSETS_HELP, subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum Offsets {
    /// Print the stored progress: the producer id, and the position of every partition
    Export(Export),
    /// Store an export
    Import(Import),
    /// Set where partitions go on, or under which producer id the connector has written
    Alter(Alter),
    /// Forget the positions of partitions; the producer id stays
    Reset(Reset),
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// Write to this file instead
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// The export; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    /// Put it in the place of the progress that there is
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["to_offset", "to_earliest", "to_latest", "producer_id"]))]
pub(crate) struct Alter {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// A topic of the source, all of its partitions or those named; may be repeated
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,...]", value_parser = chosen, required_unless_present = "producer_id")]
    pub(crate) chosen: Vec<Chosen>,

    /// Copy from this source offset on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..i64::MAX))]
    pub(crate) to_offset: Option<i64>,

    /// Copy everything that the source has, behind what the destination has
    #[arg(long)]
    pub(crate) to_earliest: bool,

    /// Copy what comes from now on
    #[arg(long)]
    pub(crate) to_latest: bool,

    /// The connector has written under this producer id: what the destination has of it is found by comparing
    #[arg(long, value_name = "ID", conflicts_with = "chosen", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) producer_id: Option<i64>,

    /// The epoch of the producer id
    #[arg(long, value_name = "EPOCH", conflicts_with = "chosen", default_value_t = 0, value_parser = clap::value_parser!(i16).range(0..))]
    pub(crate) producer_epoch: i16,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["chosen", "all"]))]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) connectors: Connectors,

    /// A topic of the source, all of its partitions or those named; may be repeated
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,...]", value_parser = chosen)]
    pub(crate) chosen: Vec<Chosen>,

    /// Every partition that is stored
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub(crate) struct Demo {
    /// How many records to write and copy, 1 to 10,000,000; they stay in memory, 1.5 KB each
    #[arg(long, value_name = "N", default_value_t = 1_000_000, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) records: u64,

    /// Afterwards go on writing, slowly, and copying until Ctrl-C; then compare again
    #[arg(long)]
    pub(crate) keep_running: bool,

    /// The source's three brokers listen on this port of loopback and the next two
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub(crate) source_port: Option<u16>,

    /// The destination's three brokers listen on this port of loopback and the next two
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub(crate) destination_port: Option<u16>,

    /// Show the log of the copy too (-vv, -vvv: more of it)
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Log more (-vv: everything); PARALOG_LOG, as in `info,client=debug`, says it by crate
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Log only warnings and errors, and show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The arguments, as `paralog` takes them, of a call under another name.
pub(crate) fn translate(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called_as =
        arguments.first().and_then(|name| Path::new(name).file_name()).and_then(|name| name.to_str());
    if matches!(called_as, Some("connect-standalone" | "connect-standalone.sh")) {
        let asks_about_us = |argument: &OsString| argument == "--version" || argument == "-V";
        if !arguments.get(1).is_some_and(asks_about_us) {
            arguments.insert(1, "run".into());
        }
    }
    arguments
}

/// `orders`, or `orders:0,3`. A topic's name has no colon.
fn chosen(text: &str) -> Result<Chosen, String> {
    let (topic, partitions) = match text.split_once(':') {
        Some((topic, partitions)) => (topic, partitions.split(',').map(str::parse).collect()),
        None => (text, Ok(Vec::new())),
    };
    match partitions {
        Ok(partitions) if !topic.is_empty() && partitions.iter().all(|number| *number >= 0) => {
            Ok(Chosen { topic: topic.into(), partitions })
        }
        _ => Err(String::from("expected TOPIC, or TOPIC:PARTITION,PARTITION")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, String> {
        let arguments = translate(line.split_whitespace().map(OsString::from));
        Cli::try_parse_from(arguments).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> Run {
        match parse(line).unwrap().command {
            Command::Run(run) => run,
            Command::Plan(_) | Command::Check(_) | Command::Offsets(_) | Command::Demo(_) => panic!("{line}"),
        }
    }

    #[test]
    fn the_command_line_is_well_made() {
        Cli::command().debug_assert();
    }

    #[test]
    fn files_or_addresses_say_what_to_copy() {
        assert_eq!(run("paralog run w.properties a.properties b.properties").connectors.files.len(), 3);
        let direct = run(
            "paralog run --source a:1,b:2 --destination c:3 --topics t --set x=y=z --set p= --until-caught-up",
        );
        assert_eq!(direct.connectors.direct.source.as_deref(), Some("a:1,b:2"));
        assert_eq!(direct.connectors.set, ["x=y=z", "p="]);
        // Whether it has its form is judged with the settings, which repeat no secret.
        let odd = run("paralog run --source a:1 --destination c:3 --topics t --set hunter2");
        assert_eq!(odd.connectors.set, ["hunter2"]);
        assert!(direct.until_caught_up);
        assert!(run("paralog run w.properties c.properties --until-caught-up -vv").logs.verbose == 2);
    }

    #[test]
    fn connect_standalone_is_run_with_files() {
        assert_eq!(
            run("/opt/kafka/bin/connect-standalone.sh w.properties c.properties").connectors.files.len(),
            2
        );
        assert_eq!(run("connect-standalone w.properties c.properties").connectors.files.len(), 2);
        assert!(parse("connect-standalone").unwrap_err().contains("required"));
        assert!(parse("connect-standalone --version").unwrap_err().contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn partitions_are_named_by_topic() {
        let line = "paralog offsets reset w c --topic a --topic b.c:0,12";
        let Command::Offsets(Offsets::Reset(reset)) = parse(line).unwrap().command else { panic!() };
        let named =
            |topic: &str, partitions: &[i32]| Chosen { topic: topic.into(), partitions: partitions.into() };
        assert_eq!(reset.chosen, [named("a", &[]), named("b.c", &[0, 12])]);
    }

    #[test]
    fn half_a_request_is_refused_with_what_is_missing() {
        for (line, expected) in [
            ("paralog run", "paralog run [OPTIONS] WORKER.properties CONNECTOR.properties"),
            ("paralog run --source a:1 --topics t", "--destination <HOST:PORT>"),
            ("paralog run --source a:1 --destination b:1", "--topics <LIST-OR-REGEX>"),
            ("paralog run --destination b:1 --topics t", "required"),
            ("paralog run w.properties --source a:1 --destination b:1 --topics t", "cannot be used with"),
            ("paralog run w.properties c.properties --set a=b", "cannot be used with"),
            ("paralog plan", "paralog plan [OPTIONS] WORKER.properties CONNECTOR.properties"),
            ("paralog plan w.properties c.properties -o yaml", "[possible values: text, json]"),
            ("paralog plan w.properties c.properties --until-caught-up", "unexpected argument"),
            ("paralog check", "FILES"),
            ("paralog offsets import w.properties c.properties", "--from <FILE>"),
            ("paralog offsets alter w.properties c.properties --topic t", "--to-offset <N>|--to-earliest"),
            ("paralog offsets alter w.properties c.properties --to-latest", "--topic <TOPIC"),
            ("paralog offsets alter w c --topic t --to-latest --to-offset 1", "cannot be used with"),
            ("paralog offsets alter w c --topic t:x --to-latest", "expected TOPIC, or TOPIC:PARTITION"),
            ("paralog offsets alter w c --topic t:0 --producer-id 5", "cannot be used with"),
            ("paralog offsets alter w c --topic t --to-offset 1 --producer-epoch 5", "cannot be used with"),
            ("paralog offsets reset w.properties c.properties", "--all"),
            ("paralog demo --records 0", "1..=10000000"),
            ("paralog demo --source-port 65534", "1..=65533"),
            ("paralog rum", "a similar subcommand exists: 'run'"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
