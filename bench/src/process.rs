//! A process whose consumption the operating system tells: processor time and peak memory, all threads, from
//! its first instruction to its last.

use anyhow::{Context, bail};
use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What a process took in its whole life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// The most memory it had at one time. The kernel counts what the process had between fork and exec,
    /// which is this program's: keep that small.
    pub(crate) peak_bytes: u64,
    /// It ended by itself, with exit code 0.
    pub(crate) success: bool,
}

/// What a living process holds in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// The most so far, from its first instruction on.
    pub(crate) peak_bytes: u64,
}

/// Where a process's output goes.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output to us, the rest to our own standard error.
    Piped,
    /// Standard output to us and standard input from us, the rest to this file.
    Conversation(PathBuf),
    /// Both streams to this file.
    File(PathBuf),
}

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Measured {
    child: Child,
    started_ms: i64,
    /// Set once the operating system has told; the process id is then no longer ours.
    usage: Option<Usage>,
}

impl Measured {
    /// Starts `command`; the kernel is asked to kill it should we die first.
    pub(crate) fn start(command: Command, output: &Output) -> anyhow::Result<Measured> {
        let mut command = bound_to_us(command);
        command.stdin(Stdio::null());
        match output {
            Output::Piped => command.stdout(Stdio::piped()),
            Output::Conversation(path) => {
                let errors =
                    File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors)
            }
            Output::File(path) => {
                let out = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
                command.stderr(out.try_clone().context("cannot share a log file")?).stdout(out)
            }
        };
        let started_ms = now_ms();
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Measured { child, started_ms, usage: None })
    }

    /// When it was started, in ms since 1970.
    pub(crate) fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Its standard output, once, if it was asked for.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard input, once, if that is ours.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Processor time so far, in the kernel's ticks of 10 ms; all of it once it has ended.
    pub(crate) fn cpu(&self) -> Duration {
        self.usage.map_or_else(|| cpu_of(self.child.id()), |usage| usage.cpu)
    }

    /// What it holds in memory now, if it lives.
    pub(crate) fn memory(&self) -> Option<Memory> {
        if self.usage.is_some() {
            return None;
        }
        read_status(&fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?)
    }

    /// What it took, if it has ended.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<Usage>> {
        if self.usage.is_none() {
            self.usage = wait4(self.child.id(), libc::WNOHANG).context("cannot wait for a process")?;
        }
        Ok(self.usage)
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self, within: Duration) -> anyhow::Result<Usage> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(usage) = self.ended()? {
                return Ok(usage);
            }
            if Instant::now() >= deadline {
                bail!("process {} did not end within {} s", self.child.id(), within.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it, unless it has ended, and says what it took.
    pub(crate) fn kill(&mut self) -> anyhow::Result<Usage> {
        if let Some(usage) = self.ended()? {
            return Ok(usage);
        }
        self.child.kill().context("cannot kill a process")?;
        let usage = wait4(self.child.id(), 0).context("cannot wait for a process")?;
        self.usage = usage;
        usage.context("a killed process has not ended")
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.kill(); // nothing is left to tell it to
    }
}

/// Now, in ms since 1970: Java's clock, for times that both see.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Processor time of a living process so far, or nothing if there is none.
pub(crate) fn cpu_of(id: u32) -> Duration {
    stat_of(&id.to_string()).map(|stat| stat.own).unwrap_or_default()
}

/// Processor time so far of this process and all its children, also of those that have ended.
pub(crate) fn family_cpu() -> Duration {
    let us = std::process::id();
    let mut family = Duration::ZERO;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(stat) = entry.file_name().to_str().and_then(stat_of) else { continue };
        if stat.parent == us || stat.id == us {
            family += stat.own + stat.ended_children;
        }
    }
    family
}

#[derive(Debug, PartialEq)]
struct Stat {
    id: u32,
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

/// Whether a process has ended, though perhaps nobody has asked how.
pub(crate) fn is_gone(id: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

fn stat_of(id: &str) -> Option<Stat> {
    id.parse::<u32>().ok()?;
    read_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// proc_pid_stat(5): fields 1 pid, 4 ppid, 14 to 17 utime, stime, cutime, cstime. The second, the name, may hold
/// spaces.
fn read_stat(stat: &str) -> Option<Stat> {
    let (before_name, _) = stat.split_once(" (")?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // USER_HZ is 100 on every Linux we know.
    let sum =
        |at: usize| Some(Duration::from_millis(ticks(at)?.checked_add(ticks(at + 1)?)?.checked_mul(10)?));
    Some(Stat {
        id: before_name.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        own: sum(11)?,
        ended_children: sum(13)?,
    })
}

/// proc_pid_status(5): VmRSS and VmHWM, in KiB.
fn read_status(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}

/// What child `id` took; None while it lives and `options` say not to wait. Call it no more once it has told.
#[allow(unsafe_code)] // the standard library waits too, but keeps to itself what the kernel says
fn wait4(id: u32, options: libc::c_int) -> io::Result<Option<Usage>> {
    let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zero is a value; both pointers are to live locals that the
    // call only writes to.
    let (ended, told) = unsafe {
        let mut told: libc::rusage = std::mem::zeroed();
        (libc::wait4(id, &raw mut status, options, &raw mut told), told)
    };
    match ended {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(Usage {
            cpu: duration(told.ru_utime) + duration(told.ru_stime),
            peak_bytes: u64::try_from(told.ru_maxrss).unwrap_or(0) * 1024,
            success: status == 0,
        })),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// The command under `setpriv --pdeathsig`, where there is one. It replaces itself by the command: same process.
fn bound_to_us(command: Command) -> Command {
    let mut probe = Command::new("setpriv");
    probe.args(["--pdeathsig", "KILL", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
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
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Measured {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Measured::start(command, &Output::Piped).unwrap()
    }

    #[test]
    fn a_process_is_accounted_for_whether_it_ends_or_is_killed() {
        let mut worker = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
        let usage = worker.wait(Duration::from_secs(60)).unwrap();
        assert!(
            usage.success && usage.cpu > Duration::from_millis(1) && usage.peak_bytes > 100_000,
            "{usage:?}"
        );
        assert_eq!(worker.kill().unwrap(), usage); // told once, told for ever
        let mut sleeper = shell("exec sleep 1000");
        assert_eq!(sleeper.ended().unwrap(), None);
        assert!(!sleeper.kill().unwrap().success);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tparalog\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(read_status(status), Some(Memory { resident_bytes: 1 << 20, peak_bytes: 2 << 20 }));
        assert_eq!(read_status("Name:\tparalog\n"), None); // it has ended
    }

    #[test]
    fn processor_time_is_found_behind_a_name_with_spaces() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 1 0 0 0 17 5 3 1 20 0 1 0 1 1 1";
        let (own, ended_children) = (Duration::from_millis(220), Duration::from_millis(40));
        assert_eq!(read_stat(stat), Some(Stat { id: 42, parent: 1, own, ended_children }));
        assert_eq!(read_stat("42 (gone"), None);
    }
}
