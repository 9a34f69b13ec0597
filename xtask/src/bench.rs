//! `cargo xtask bench`: builds Paralog and the race in release, and runs the race from the workspace's folder.

use crate::test::cargo;
use anyhow::{Context, ensure};
use std::process::ExitCode;

/// Runs `bench` with these arguments. Both programs land in the same folder, where the race looks for Paralog.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let build = ["build", "--release", "--package", "paralog", "--package", "bench"];
    let status = cargo(&build).current_dir(crate::root()).status().context("cannot run cargo build")?;
    ensure!(status.success(), "the release build failed");
    let race = ["run", "--quiet", "--release", "--package", "bench", "--"];
    let status = cargo(&[&race[..], arguments].concat())
        .current_dir(crate::root())
        .status()
        .context("cannot run the race")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
