//! One process of ours: its log, signals, and that it does not outlive us.

use crate::{Deadline, Error};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// A child process whose output goes to a log file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output, both streams, appended to `log`.
    ///
    /// The kernel is asked to kill it when this process dies, however that comes about.
    ///
    /// # Errors
    /// [`Error::Missing`] if the program is not there, [`Error::Io`] for the log.
    pub fn start(
        name: impl Into<String>,
        command: Command,
        log: impl Into<PathBuf>,
    ) -> Result<Process, Error> {
        let (name, log) = (name.into(), log.into());
        let mut command = bound_to_us(command);
        let out =
            File::options().create(true).append(true).open(&log).map_err(Error::io("cannot open", &log))?;
        let err = out.try_clone().map_err(Error::io("cannot open", &log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = spawn(command).map_err(missing)?;
        Ok(Process { name, child, log })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Whether its log says `words` anywhere. A log that cannot be read says nothing.
    #[must_use]
    pub fn log_says(&self, words: &str) -> bool {
        std::fs::read(&self.log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(words))
    }

    /// How it ended, or None while it runs.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::io("cannot wait for the process that writes", &self.log))
    }

    /// # Errors
    /// [`Error::Ended`] unless it still runs.
    pub fn check_alive(&mut self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log.clone(),
                tail: self.log_tail(),
            }),
        }
    }

    /// Sends a signal by name: `TERM`, `INT`, `STOP`, `CONT`, `KILL`. No error if it is gone already.
    pub fn signal(&self, signal: &str) {
        signal_process(self.child.id(), signal);
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// [`Error::TimedOut`].
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let deadline = Deadline::within(within);
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            deadline.check(|| format!("{} to end", self.name))?;
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end (SIGTERM), waits, and kills it if it does not.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system does not let us wait.
    pub fn stop(&mut self, within: Duration) -> Result<(), Error> {
        self.signal("CONT");
        self.signal("TERM");
        if self.wait(within).is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system does not let us.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().map_err(Error::io("cannot kill the process that writes", &self.log))?;
        self.child.wait().map_err(Error::io("cannot wait for the process that writes", &self.log))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill(); // it may be gone already
    }
}

/// Sends a signal to a process of ours. The shell's own `kill` does it: no unsafe code for one call.
fn signal_process(id: u32, signal: &str) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).stderr(Stdio::null()).status();
}

/// The command under `setpriv --pdeathsig`, where there is one: a test that is itself killed leaves no JVM.
pub(crate) fn bound_to_us(command: Command) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let works = *SETPRIV.get_or_init(|| {
        let probe = ["--pdeathsig", "KILL", "true"];
        Command::new("setpriv")
            .args(probe)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if !works {
        return command;
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(key, value),
            None => bound.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        bound.current_dir(dir);
    }
    bound
}

/// Starts the process from a thread that lives as long as we do: the kernel counts the death of the
/// *thread* that started a child as its parent's, and a test's thread ends with the test.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, reply) = mpsc::channel();
    let gone = || io::Error::other("the spawning thread is gone");
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, sender)).map_err(|_| gone())?;
    reply.recv().map_err(|_| gone())?
}

pub(crate) fn missing(source: io::Error) -> Error {
    Error::Missing {
        program: "java".to_owned(),
        needed_for: "runs real Kafka (install a JDK, version 17 or later)",
        source,
    }
}

pub(crate) fn tail(log: &Path) -> String {
    const BYTES: i64 = 4000;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len().min(BYTES as u64) as i64;
        file.seek(SeekFrom::End(-length))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}
