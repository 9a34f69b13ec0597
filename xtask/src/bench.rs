//! `cargo xtask bench` and `cargo xtask chaos`: build Paralog and the bench in release, and run the bench from the
//! workspace's folder.

use crate::test::cargo;
use anyhow::{Context, ensure};
use std::{os::unix::process::CommandExt, process::ExitCode};

/// Runs `bench` with these arguments. Both programs land in the same folder, where the bench looks for Paralog.
///
/// The bench takes this process's place, so that a signal sent here reaches it.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let build = ["build", "--release", "--package", "paralog", "--package", "bench"];
    let status = cargo(&build).current_dir(crate::root()).status().context("cannot run cargo build")?;
    ensure!(status.success(), "the release build failed");
    let bench = ["run", "--quiet", "--release", "--package", "bench", "--"];
    let error = cargo(&[&bench[..], arguments].concat()).current_dir(crate::root()).exec();
    Err(error).context("cannot run the bench")
}
