//! What the system gives this process: open files, memory.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to what the system lets this process have, as the JVM does for Kafka's own
/// programs: shells start with 1024, and a worker has two or three connections for each broker.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where this is refused everything goes on with the limit there is; reaching it is told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Keeps this process from pages of 2 MiB, which the allocator asks for, and of which each piece of work and each thread
/// touches a few kilobytes: they were a quarter of the memory of a copy, and took no less processor time (measured: 46 MB
/// with them, 35 MB without).
pub(crate) fn refuse_huge_pages() {
    // Where the kernel knows none there are none to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Bytes of memory that this process can still get without swapping: what the system has available, or less
/// where the control group it is in, or one around that, allows less (version 2). `None` where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    let system = available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    let around = group.map(|group| root.join(group)).unwrap_or_default();
    let left = around.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| {
        let read = |name| fs::read_to_string(folder.join(name)).ok();
        group_left(&read("memory.max")?, &read("memory.current")?, &read("memory.stat").unwrap_or_default())
    });
    Some(left.fold(system, u64::min))
}

/// What a control group may still get, by the content of its files `memory.max`, `memory.current` and `memory.stat`.
/// `None` where it has no limit. What is held of files (a build just before) counts as used there, and is given up
/// as soon as somebody needs it.
fn group_left(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max = max.trim().parse::<u64>().ok()?;
    let current = current.trim().parse::<u64>().ok()?;
    let of_files = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "active_file").then_some(bytes.parse::<u64>().ok()?)
    });
    let used = of_files.fold(current, u64::saturating_sub);
    Some(max.saturating_sub(used))
}

/// `MemAvailable:   12345 kB`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_in_bytes() {
        assert_eq!(
            available("MemTotal: 9 kB\nMemAvailable:    8146232 kB\nBuffers: 1 kB\n"),
            Some(8_341_741_568)
        );
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn what_a_group_holds_of_files_is_available() {
        let stat = "anon 300\nfile 600\ninactive_file 400\nactive_file 100\nslab_reclaimable 7\n";
        assert_eq!(group_left("1000\n", "900\n", stat), Some(600));
        assert_eq!(group_left("1000\n", "900\n", ""), Some(100));
        assert_eq!(group_left("1000", "2000", "inactive_file many\n"), Some(0));
        assert_eq!(group_left("max\n", "900\n", stat), None);
    }
}
