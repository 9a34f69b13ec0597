//! Logs: to the error stream, one line an event, for a person or a pipe.

use tracing_subscriber::EnvFilter;

use crate::cli::Logs;
use crate::screen::Screen;

/// Sends events to `screen` from here on.
pub(crate) fn start(logs: &Logs, screen: &Screen) {
    let default = match (logs.quiet, logs.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    // A filter that cannot be read is not worth refusing to copy for; what can be read of it counts.
    let filter = match std::env::var("PARALOG_LOG") {
        Ok(directives) if !directives.trim().is_empty() => EnvFilter::builder().parse_lossy(directives),
        _ => EnvFilter::new(default),
    };
    let colours = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(screen.clone())
        .with_ansi(colours)
        .with_target(logs.verbose > 0)
        .compact()
        .init();
}
