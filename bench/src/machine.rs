//! The machine that is raced on: what it is, and whether something else was at work meanwhile.

use std::{fs, path::Path, process::Command, time::Duration};

/// What is said of the machine and the software, in order.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpus.lines().find_map(|line| {
        line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        // Java says its version on standard error.
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let unknown = || "unknown".to_owned();
    vec![
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown)),
        ("processor", processor.unwrap_or_else(unknown)),
        ("cores", cores().to_string()),
        ("memory", format!("{:.0} GiB", memory_kib as f64 / f64::from(1 << 20))),
        ("kernel", kernel.trim().to_owned()),
        ("java", said("java", &["-version"]).unwrap_or_else(unknown)),
        ("load before", load().trim().to_owned()),
    ]
}

/// What a program says on standard output, if it succeeds.
pub(crate) fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit that this folder holds, and whether the product differs from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| said(Path::new("git"), arguments);
    let mut commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if git(&["status", "--porcelain", "-uno", "--", "crates", "Cargo.lock"])
        .is_some_and(|text| !text.is_empty())
    {
        commit += " with changes that are not committed";
    }
    commit
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time that all processes of the machine have taken so far, and what a hypervisor took from us.
pub(crate) fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_in_stat(&stat).unwrap_or_default()
}

/// The first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
fn busy_in_stat(stat: &str) -> Option<Duration> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let total: u64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(Duration::from_millis(10 * total.saturating_sub(idle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_and_waiting() {
        let stat = "cpu  100 10 50 9000 70 1 2 3 40 0\ncpu0 1 2 3";
        assert_eq!(busy_in_stat(stat), Some(Duration::from_millis(1660)));
        assert_eq!(busy_in_stat("intr 5"), None);
    }
}
