//! Ports for brokers.
//!
//! Taken from below the range that the kernel hands to outgoing connections: a client that keeps
//! connecting to a killed broker's port could otherwise be given that very port as its own (a socket
//! connected to itself), and the broker could not come back.

use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{Mutex, OnceLock, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

const LOWEST: u16 = 10_000;
const SPAN: u16 = 22_000; // Linux gives outgoing connections 32768 and up.

struct Ports {
    seed: u64,
    given: HashSet<u16>,
}

/// `count` ports that nothing listens on now and that this process has not given out before. Another
/// process may still be faster: whoever uses them tries again with others.
pub(crate) fn free(count: usize) -> Vec<u16> {
    static PORTS: OnceLock<Mutex<Ports>> = OnceLock::new();
    let ports = PORTS.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Mutex::new(Ports { seed: now ^ (u64::from(std::process::id()) << 32), given: HashSet::new() })
    });
    let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        // Knuth's MMIX step: any spread will do.
        ports.seed =
            ports.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let port = LOWEST + ((ports.seed >> 33) % u64::from(SPAN)) as u16;
        if !ports.given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.given.insert(port);
            found.push(port);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_given_once_and_lie_below_the_outgoing_range() {
        let mut ports = super::free(20);
        ports.extend(super::free(20));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 40);
        assert!(ports.iter().all(|port| (10_000..32_000).contains(port)));
    }
}
