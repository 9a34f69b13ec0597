//! What the system allows this process: open files, memory.

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

/// Bytes of memory that this process can still get without swapping: what the system has available, or less
/// where the control group it is in allows less. `None` where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    let system = available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let number = |name: &str| {
        let file = Path::new("/sys/fs/cgroup").join(group?).join(name);
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    };
    let left = number("memory.max").map(|max| max.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(left.map_or(system, |left| left.min(system)))
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
}
