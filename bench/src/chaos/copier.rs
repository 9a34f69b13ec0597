//! The one under test: started, killed, paused and doubled, with settings as shipped as far as can be.

use crate::contender::{Contender, Task, jvm_as_shipped};
use anyhow::{Context, bail, ensure};
use real_kafka::{Distribution, Process};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long one may take to stop when asked to; then it is killed, and that is told.
const STOP: Duration = Duration::from_secs(30);

/// A copier that ended by itself is started again after this time, as a service manager would.
const AGAIN: Duration = Duration::from_secs(1);

/// What it takes to start one.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) contender: Contender,
    pub(crate) kafka: &'a Distribution,
    pub(crate) paralog: &'a Path,
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    /// The topics, joined by `|`.
    pub(crate) topics: &'a str,
    pub(crate) folder: &'a Path,
}

/// The copier, and at times its twin.
#[derive(Debug)]
pub(crate) struct Copier {
    contender: Contender,
    kafka: Distribution,
    paralog: PathBuf,
    folder: PathBuf,
    process: Option<Process>,
    twin: Option<Process>,
    twins: u32,
    /// Since when it is gone although nobody asked it to.
    gone: Option<Instant>,
    /// It is meant to run.
    wanted: bool,
    /// What it did that nobody asked for, with the time.
    surprises: Vec<String>,
}

impl Copier {
    /// Writes the settings; starts nothing.
    pub(crate) fn lay_out(setup: &Setup<'_>) -> anyhow::Result<Copier> {
        let task = Task {
            kafka: setup.kafka,
            paralog: setup.paralog,
            source: setup.source,
            destination: setup.destination,
            secured: None,
            topic: setup.topics,
            codec: "none",
            serial: 1,
            folder: setup.folder,
            until_caught_up: false,
            brokers: 3,
        };
        match setup.contender {
            Contender::Relay | Contender::ParalogTls => bail!("it takes no part in chaos"),
            Contender::Paralog => {
                let write = |name: &str, text: String| {
                    let path = setup.folder.join(name);
                    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
                };
                write(
                    "worker.properties",
                    format!(
                        "bootstrap.servers={}\noffset.storage.file.filename=progress\n",
                        setup.destination
                    ),
                )?;
                write(
                    "connector.properties",
                    format!(
                        "name=chaos\n\
                         connector.class=io.confluent.connect.replicator.ReplicatorSourceConnector\n\
                         key.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
                         value.converter=io.confluent.connect.replicator.util.ByteArrayConverter\n\
                         src.kafka.bootstrap.servers={}\ndest.kafka.bootstrap.servers={}\n\
                         topic.regex={}\ntopic.rename.format={}.${{topic}}\ntopic.config.sync=false\n",
                        setup.source,
                        setup.destination,
                        setup.topics,
                        task.source_alias()
                    ),
                )?;
            }
            mirror => {
                let mut settings = task.mirror_settings(mirror);
                // The topics are there, and their settings are meant to differ.
                settings.push(("sync.topic.configs.enabled".to_owned(), "false".to_owned()));
                let mut text = String::new();
                for (key, value) in settings {
                    let _ = writeln!(text, "{key}={value}"); // to a string: cannot fail
                }
                let path = setup.folder.join("mm2.properties");
                fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(Copier {
            contender: setup.contender,
            kafka: setup.kafka.clone(),
            paralog: setup.paralog.to_owned(),
            folder: setup.folder.to_owned(),
            process: None,
            twin: None,
            twins: 0,
            gone: None,
            wanted: false,
            surprises: Vec::new(),
        })
    }

    fn command(&self, folder: &Path) -> Command {
        if self.contender == Contender::Paralog {
            let mut command = Command::new(&self.paralog);
            command.arg("run");
            command.arg(self.folder.join("worker.properties")).arg(self.folder.join("connector.properties"));
            command.current_dir(folder);
            return command;
        }
        let main = "org.apache.kafka.connect.mirror.MirrorMaker";
        let mut command = self.kafka.java_with(main, 768, &jvm_as_shipped("256m"));
        command.arg(self.folder.join("mm2.properties")).current_dir(folder);
        command
    }

    /// The log of all its lives.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("copier.log")
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.wanted = true;
        self.gone = None;
        self.process = Some(Process::start("copier", self.command(&self.folder), self.log())?);
        Ok(())
    }

    /// Kills it, so that it is gone when this returns.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.wanted = false;
        self.process.take().map_or(Ok(()), |mut process| process.kill())?;
        Ok(())
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.wanted = false;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal("TERM");
        match process.wait(STOP) {
            Ok(status) if status.success() => {}
            // Java says 143 after a shutdown in good order.
            Ok(status) if status.code() == Some(143) && self.contender != Contender::Paralog => {}
            // 4: not everything was copied, and the reasons are named.
            Ok(status) if status.code() == Some(4) && self.contender == Contender::Paralog => {}
            Ok(status) => self.surprises.push(format!("asked to stop, it ended with {status}")),
            Err(_) => {
                self.surprises.push(format!("it did not stop within {} s", STOP.as_secs()));
                process.kill()?;
            }
        }
        Ok(())
    }

    pub(crate) fn pause(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    pub(crate) fn resume(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// Starts a second one with the same settings, and a copy of the first one's progress as it is now.
    pub(crate) fn start_twin(&mut self) -> anyhow::Result<()> {
        self.twins += 1;
        let folder = self.folder.join(format!("twin-{}", self.twins));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if self.contender == Contender::Paralog {
            let progress = fs::read(self.folder.join("progress")).unwrap_or_default();
            ensure!(!progress.is_empty(), "there is no progress yet to start a second copier from");
            fs::write(folder.join("progress"), progress).context("cannot copy the progress")?;
        }
        let log = folder.join("copier.log");
        self.twin = Some(Process::start("twin", self.command(&folder), log)?);
        Ok(())
    }

    pub(crate) fn kill_twin(&mut self) -> anyhow::Result<()> {
        self.twin.take().map_or(Ok(()), |mut twin| twin.kill())?;
        Ok(())
    }

    /// Starts it again if it ended though nobody asked it to.
    pub(crate) fn look_after(&mut self) -> anyhow::Result<()> {
        if !self.wanted {
            return Ok(());
        }
        match (&mut self.process, self.gone) {
            (Some(process), _) => {
                if let Some(status) = process.ended()? {
                    let tail = process.log_tail();
                    let last = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                    let surprise = format!("ended by itself with {status}: {last}");
                    println!("  !! the copier {surprise}");
                    self.surprises.push(surprise);
                    self.process = None;
                    self.gone = Some(Instant::now());
                }
                Ok(())
            }
            (None, Some(since)) if since.elapsed() >= AGAIN => self.start(),
            (None, _) => Ok(()),
        }
    }

    /// What it did that nobody asked for.
    pub(crate) fn surprises(&self) -> &[String] {
        &self.surprises
    }

    /// How long its log is.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// The lines that its log has from a place on.
    pub(crate) fn log_since(&self, bytes: u64) -> Vec<String> {
        let log = fs::read(self.log()).unwrap_or_default();
        let from = usize::try_from(bytes).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[from..]).lines().map(str::to_owned).collect()
    }
}
