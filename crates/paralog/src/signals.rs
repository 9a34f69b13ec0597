//! What ends this process from outside: SIGINT, SIGTERM, and SIGHUP when its terminal goes away.

use std::fs;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for an end, from its making on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None under `nohup`: what is ignored when a program starts is to stay ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Listens for them; within a runtime.
    pub(crate) fn new() -> io::Result<Signals> {
        let ignored = fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status));
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: if ignored { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hang_up => "SIGHUP",
        }
    }
}

/// Whether `status`, as the system has it in `/proc/self/status`, says that SIGHUP (1) is ignored.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_respected() {
        assert!(ignores_hang_up("Name:\tparalog\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000000\n"));
        assert!(ignores_hang_up("SigIgn:\t0000000000001007\n"));
        assert!(!ignores_hang_up("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hang_up(""));
    }
}
