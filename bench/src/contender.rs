//! Who takes part, and how each is started: settings as shipped are what the product's own package does.

use anyhow::{Context, bail};
use real_kafka::{Distribution, Stores};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

/// One who copies, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Relay,
    Paralog,
    ParalogTls,
    MirrorShipped,
    MirrorTuned,
    MirrorExactlyOnce,
}

impl Contender {
    pub(crate) const ALL: [Contender; 6] = [
        Contender::Relay,
        Contender::Paralog,
        Contender::ParalogTls,
        Contender::MirrorShipped,
        Contender::MirrorTuned,
        Contender::MirrorExactlyOnce,
    ];

    /// As options and the file of runs have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Contender::Relay => "relay",
            Contender::Paralog => "paralog",
            Contender::ParalogTls => "paralog-tls",
            Contender::MirrorShipped => "mm2",
            Contender::MirrorTuned => "mm2-tuned",
            Contender::MirrorExactlyOnce => "mm2-eos",
        }
    }

    /// As the page has it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Contender::Relay => "bare TCP relay",
            Contender::Paralog => "Paralog as shipped",
            Contender::ParalogTls => "Paralog, TLS on both sides",
            Contender::MirrorShipped => "MirrorMaker 2 as shipped",
            Contender::MirrorTuned => "MirrorMaker 2 tuned",
            Contender::MirrorExactlyOnce => "MirrorMaker 2 exactly once",
        }
    }

    /// Its records count when they are committed, by markers that take offsets as well.
    pub(crate) fn commits(self) -> bool {
        self == Contender::MirrorExactlyOnce
    }

    /// It is MirrorMaker 2, however it is set up.
    pub(crate) fn is_mirror(self) -> bool {
        matches!(self, Contender::MirrorShipped | Contender::MirrorTuned | Contender::MirrorExactlyOnce)
    }

    /// It is ours, however it connects.
    pub(crate) fn is_paralog(self) -> bool {
        matches!(self, Contender::Paralog | Contender::ParalogTls)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Contender {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Contender> {
        match Contender::ALL.into_iter().find(|contender| contender.word() == text) {
            Some(contender) => Ok(contender),
            None => bail!("contenders are {}, not {text}", Contender::ALL.map(Contender::word).join(", ")),
        }
    }
}

/// Where both clusters speak TLS.
#[derive(Debug)]
pub(crate) struct Secured<'a> {
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) stores: &'a Stores,
}

/// One copy to be made.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) kafka: &'a Distribution,
    /// The program `paralog`.
    pub(crate) paralog: &'a Path,
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    /// For [`Contender::ParalogTls`], where it takes part.
    pub(crate) secured: Option<Secured<'a>>,
    pub(crate) topic: &'a str,
    /// The codec of the topic's batches.
    pub(crate) codec: &'a str,
    /// Names no other copy has had: MirrorMaker 2 keeps its state under them, in both clusters.
    pub(crate) serial: u32,
    /// For settings, logs and offsets.
    pub(crate) folder: &'a Path,
    /// Stop when caught up, for whom that is a mode.
    pub(crate) until_caught_up: bool,
    /// Brokers of each cluster: how often MirrorMaker 2's own topics are kept.
    pub(crate) brokers: u16,
}

impl Task<'_> {
    /// The topic at the destination.
    pub(crate) fn destination_topic(&self) -> String {
        format!("{}.{}", self.source_alias(), self.topic)
    }

    /// What copied topics' names begin with.
    pub(crate) fn source_alias(&self) -> String {
        format!("source{}", self.serial)
    }

    fn destination_alias(&self) -> String {
        format!("destination{}", self.serial)
    }

    /// The log of the process.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("contender.log")
    }

    /// The command that makes the copy. Writes its settings into the folder.
    pub(crate) fn command(&self, contender: Contender) -> anyhow::Result<Command> {
        if contender == Contender::Relay {
            bail!("the relay copies no topics");
        }
        if contender.is_paralog() {
            let (source, destination) = match &self.secured {
                _ if contender == Contender::Paralog => (self.source, self.destination),
                Some(secured) => (secured.source, secured.destination),
                None => bail!("these clusters speak no TLS"),
            };
            let alias = self.source_alias();
            let mut command = paralog_command(self.paralog, source, destination, self.topic, &alias);
            if let (Contender::ParalogTls, Some(secured)) = (contender, &self.secured) {
                let trusted = secured.stores.file("trust.pem");
                for side in ["src", "dest"] {
                    let set = |name: &str, value: &str| format!("{side}.kafka.{name}={value}");
                    command.args(["--set", &set("security.protocol", "SSL")]);
                    command.args(["--set", &set("ssl.truststore.type", "PEM")]);
                    command.args(["--set", &set("ssl.truststore.location", &trusted.display().to_string())]);
                }
            }
            if self.until_caught_up {
                command.arg("--until-caught-up");
            }
            command.current_dir(self.folder);
            return Ok(command);
        }
        let file = self.folder.join("mm2.properties");
        let text: String =
            self.mirror_settings(contender).iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = self.kafka.java_with(
            "org.apache.kafka.connect.mirror.MirrorMaker",
            2048,
            &jvm_as_shipped("256m"),
        );
        command.arg(file).current_dir(self.folder);
        Ok(command)
    }

    /// What `connect-mirror-maker.properties` would say. As shipped: only what it must be told for so few brokers.
    pub(crate) fn mirror_settings(&self, contender: Contender) -> Vec<(String, String)> {
        let (source, destination) = (self.source_alias(), self.destination_alias());
        let mut settings = Vec::new();
        let mut set = |key: String, value: &str| settings.push((key, value.to_owned()));
        set("clusters".into(), &format!("{source}, {destination}"));
        set(format!("{source}.bootstrap.servers"), self.source);
        set(format!("{destination}.bootstrap.servers"), self.destination);
        set(format!("{source}->{destination}.enabled"), "true");
        set(format!("{destination}->{source}.enabled"), "false");
        set(format!("{source}->{destination}.topics"), self.topic);
        for topic in ["", "checkpoints.topic.", "heartbeats.topic.", "offset-syncs.topic."] {
            set(format!("{topic}replication.factor"), &self.brokers.to_string());
        }
        for topic in ["offset", "status", "config"] {
            set(format!("{topic}.storage.replication.factor"), &self.brokers.to_string());
        }
        if contender == Contender::MirrorShipped {
            return settings;
        }
        set("tasks.max".into(), "2");
        set(format!("{source}.consumer.fetch.min.bytes"), "1000000");
        set(format!("{source}.consumer.fetch.max.wait.ms"), "50");
        set(format!("{source}.consumer.max.partition.fetch.bytes"), "4194304");
        set(format!("{source}.consumer.max.poll.records"), "8000");
        set(format!("{source}.consumer.receive.buffer.bytes"), "-1");
        set(format!("{destination}.producer.batch.size"), "1000000");
        set(format!("{destination}.producer.linger.ms"), "50");
        set(format!("{destination}.producer.buffer.memory"), "134217728");
        set(format!("{destination}.producer.send.buffer.bytes"), "-1");
        set(format!("{destination}.producer.compression.type"), self.codec);
        set("emit.heartbeats.enabled".into(), "false");
        set("emit.checkpoints.enabled".into(), "false");
        if contender == Contender::MirrorExactlyOnce {
            // Of the cluster that is written to; without its name in front it is not heeded.
            set(format!("{destination}.exactly.once.source.support"), "enabled");
            set("dedicated.mode.enable.internal.rest".into(), "true");
            set("listeners".into(), "http://127.0.0.1:0");
            set(format!("{source}.consumer.isolation.level"), "read_committed");
        }
        settings
    }
}

/// Paralog as shipped, copying one topic to one whose name begins with `prefix` and a dot.
pub(crate) fn paralog_command(
    paralog: &Path,
    source: &str,
    destination: &str,
    topic: &str,
    prefix: &str,
) -> Command {
    let mut command = Command::new(paralog);
    command.args(["run", "--source", source, "--destination", destination, "--topics", topic]);
    command.arg("--rename").arg(format!("{prefix}.${{topic}}"));
    command
}

/// The options of Kafka's own start scripts (`kafka-run-class.sh`), with this smallest heap, over those that
/// `real-kafka` sets for short tests.
pub(crate) fn jvm_as_shipped(heap_min: &str) -> Vec<String> {
    let heap = format!("-Xms{heap_min}");
    [
        "-server",
        "-XX:-UseSerialGC",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:+ExplicitGCInvokesConcurrent",
        "-XX:MaxInlineLevel=15",
        "-XX:TieredStopAtLevel=4",
        &heap,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_read_as_they_are_written() {
        for contender in Contender::ALL {
            assert_eq!(contender.word().parse::<Contender>().unwrap(), contender);
        }
        assert!("mm3".parse::<Contender>().is_err());
    }
}
