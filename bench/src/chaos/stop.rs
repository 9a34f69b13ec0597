//! What ends a run early: ctrl-c, SIGTERM, or something that no fault accounts for. Noticed here, acted upon where the
//! run waits, so that everything is ended in order.

use anyhow::{Context, bail};
use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Why else the run is to end.
static REASON: OnceLock<String> = OnceLock::new();

/// What does not notice the signal within this time is not waited for: the kernel kills what this program started.
const IN_ORDER: Duration = Duration::from_secs(20);

extern "C" fn note(_signal: libc::c_int) {
    ASKED.store(true, Ordering::Release);
}

/// From now on the first such signal is noted, and the second ends the program at once (the kernel then kills
/// what it started).
#[allow(unsafe_code)] // the standard library has no signals
pub(crate) fn notice() -> anyhow::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: an all-zero sigaction is a valid one; the handler only stores into an atomic, which a signal
        // handler may do; both pointers are to live locals or null.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("cannot install a signal handler");
        }
    }
    thread::spawn(|| {
        while !ASKED.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(200));
        }
        thread::sleep(IN_ORDER);
        std::process::exit(1);
    });
    Ok(())
}

/// Ends the run because of something that has gone wrong with the run itself.
pub(crate) fn because(reason: String) {
    let _ = REASON.set(reason); // the first one counts
}

/// # Errors
/// If the run is to end.
pub(crate) fn check() -> anyhow::Result<()> {
    if ASKED.load(Ordering::Acquire) {
        bail!("stopped by a signal");
    }
    if let Some(reason) = REASON.get() {
        bail!("{reason}");
    }
    Ok(())
}

/// Sleeps, unless the run is to end.
pub(crate) fn sleep(span: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        check()?;
        let left = span.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}
