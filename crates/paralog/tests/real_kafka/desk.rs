//! A folder for one test's files, and the program run on them.

use real_kafka::Process;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Long enough for a busy machine; a test that waits that long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Replicator's quick start as shipped with 3.2 to 5.x, with its ZooKeeper keys; only the addresses are ours.
pub(crate) const QUICK_START_ZOOKEEPER: &str = "\
name=replicator-source
connector.class=io.confluent.connect.replicator.ReplicatorSourceConnector
tasks.max=4

key.converter=io.confluent.connect.replicator.util.ByteArrayConverter
value.converter=io.confluent.connect.replicator.util.ByteArrayConverter

src.kafka.bootstrap.servers=SOURCE

src.zookeeper.connect=localhost:2171
dest.zookeeper.connect=localhost:2181

topic.whitelist=test-topic
#topic.blacklist=
#topic.regex=
topic.rename.format=${topic}.replica

topic.create.backoff.ms=10000
";

/// The quick start since 4.1, without ZooKeeper.
pub(crate) const QUICK_START: &str = "\
name=replicator-source
connector.class=io.confluent.connect.replicator.ReplicatorSourceConnector
tasks.max=4

key.converter=io.confluent.connect.replicator.util.ByteArrayConverter
value.converter=io.confluent.connect.replicator.util.ByteArrayConverter
header.converter=io.confluent.connect.replicator.util.ByteArrayConverter

src.kafka.bootstrap.servers=SOURCE
dest.kafka.bootstrap.servers=DESTINATION

topic.whitelist=test-topic
topic.rename.format=${topic}.replica

# Store license, trial or regular, in Kafka instead of Zookeeper.
# Default: confluent.topic=_command-topic
# Default: confluent.topic.replication.factor=3
# replicator.factor may not be larger than the number of Kafka brokers in the destination cluster.
# Here we set this to '1' for demonstration purposes. Always use at least '3' in production configurations.
confluent.topic.replication.factor=1
";

/// Kafka's `connect-standalone.properties`, which the quick start uses as its worker.
const WORKER: &str = "\
bootstrap.servers=DESTINATION
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=true
value.converter.schemas.enable=true
internal.key.converter=org.apache.kafka.connect.json.JsonConverter
internal.value.converter=org.apache.kafka.connect.json.JsonConverter
internal.key.converter.schemas.enable=false
internal.value.converter.schemas.enable=false
offset.storage.file.filename=OFFSETS
# Flush much faster than normal, which is useful for testing/debugging
offset.flush.interval.ms=10000
";

/// A folder with the property files of one run. It stays, and says where, when the test fails.
pub(crate) struct Desk {
    folder: PathBuf,
    source: String,
    destination: String,
    runs: AtomicU32,
    environment: Vec<(String, String)>,
}

/// How a run ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Desk {
    /// A new folder, for copying between two clusters.
    pub(crate) fn new(name: &str, source: &str, destination: &str) -> Desk {
        let folder = std::env::temp_dir().join(format!("paralog-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of an earlier process with our id
        fs::create_dir_all(&folder).unwrap();
        let desk = Desk {
            folder,
            source: source.into(),
            destination: destination.into(),
            runs: AtomicU32::new(0),
            environment: Vec::new(),
        };
        desk.write("worker.properties", WORKER);
        desk
    }

    /// From now on the program finds this in its environment.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// From now on the worker's file is that of a distributed worker, which keeps progress in this topic.
    pub(crate) fn keep_progress_in(&self, topic: &str) {
        let storage =
            format!("offset.storage.topic={topic}\noffset.storage.replication.factor=1\ngroup.id=connect");
        let interval = "offset.flush.interval.ms=1000";
        let worker = WORKER.replace("offset.storage.file.filename=OFFSETS", &storage);
        self.write("worker.properties", &worker.replace("offset.flush.interval.ms=10000", interval));
    }

    /// Writes a file, with the addresses put in.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        let text = text
            .replace("SOURCE", &self.source)
            .replace("DESTINATION", &self.destination)
            .replace("OFFSETS", &self.offsets().display().to_string());
        fs::write(&file, text).unwrap();
        file
    }

    /// Writes a connector file for the topics of a regular expression, without renaming, with further lines.
    pub(crate) fn connector(&self, name: &str, topics: &str, more: &str) -> PathBuf {
        self.connector_of(name, &format!("topic.regex={topics}\n{more}"))
    }

    /// Writes a connector file with these lines about topics.
    pub(crate) fn connector_of(&self, name: &str, more: &str) -> PathBuf {
        self.write(
            &format!("{name}.properties"),
            &format!(
                "name={name}\nconnector.class=io.confluent.connect.replicator.ReplicatorSourceConnector\n\
                 key.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
                 value.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
                 src.kafka.bootstrap.servers=SOURCE\ndest.kafka.bootstrap.servers=DESTINATION\n\
                 topic.poll.interval.ms=500\n{more}\n"
            ),
        )
    }

    pub(crate) fn worker(&self) -> PathBuf {
        self.folder.join("worker.properties")
    }

    pub(crate) fn offsets(&self) -> PathBuf {
        self.folder.join("connect.offsets")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the program with these arguments; its output goes to a file of the folder.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Process {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(env!("CARGO_BIN_EXE_paralog"));
        command.args(arguments).current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start(format!("paralog, run {run}"), command, self.log(run)).unwrap()
    }

    fn log(&self, run: u32) -> PathBuf {
        self.folder.join(format!("paralog-{run}.log"))
    }

    /// Starts `paralog run` on the worker file and this connector file.
    pub(crate) fn run(&self, connector: &Path) -> Process {
        self.start(&["run".as_ref(), self.worker().as_os_str(), connector.as_os_str()])
    }

    /// Runs the program until it ends by itself.
    pub(crate) fn run_to_end<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Outcome {
        let mut process = self.start(arguments);
        let status = process.wait(PATIENCE * 3).unwrap();
        Outcome { code: status.code(), output: fs::read_to_string(process.log()).unwrap() }
    }

    /// Runs `paralog run … --until-caught-up` on these connector files.
    pub(crate) fn run_until_caught_up(&self, connectors: &[&Path]) -> Outcome {
        let worker = self.worker();
        let mut arguments = vec!["run".as_ref(), worker.as_os_str(), "--until-caught-up".as_ref()];
        arguments.extend(connectors.iter().map(|connector| connector.as_os_str()));
        self.run_to_end(&arguments)
    }

    /// The same on one, which must succeed.
    pub(crate) fn catch_up(&self, connector: &Path) -> String {
        let outcome = self.run_until_caught_up(&[connector]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.output);
        outcome.output
    }

    /// Runs `paralog plan … -o json` on this connector file, and gives the exit code and the document.
    pub(crate) fn plan(&self, connector: &Path) -> (Option<i32>, Value) {
        let worker = self.worker();
        let arguments =
            ["plan".as_ref(), "-o".as_ref(), "json".as_ref(), worker.as_os_str(), connector.as_os_str()];
        let outcome = self.run_to_end(&arguments);
        // What there is to say about the settings comes first.
        let start = outcome.output.find("{\n").unwrap_or_else(|| panic!("{}", outcome.output));
        (outcome.code, serde_json::from_str(&outcome.output[start..]).unwrap())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the files of this test stay in {}; the program's last words:", self.folder.display());
            for run in (0..self.runs.load(Ordering::Relaxed)).rev().take(3) {
                let log = fs::read_to_string(self.log(run)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                println!("run {run}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Stops the program as an operator does; it must drain and end well.
pub(crate) fn stop_cleanly(mut process: Process) {
    process.signal("TERM");
    let status = process.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", process.log_tail());
}
