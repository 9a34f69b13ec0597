//! `cargo xtask kafka` and `cargo xtask java`: real Kafka for hand tests.

use anyhow::{Context, bail};
use real_kafka::{Cluster, Config, Distribution};
use std::{io::Read, process::ExitCode};

/// Runs a cluster until ctrl-c (or the end of standard input, if that is a pipe).
pub(crate) fn run(version: &str, arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let mut brokers = 1;
    let mut settings = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if *argument == "--brokers" {
            let count = rest.next().context("--brokers wants a number")?;
            brokers = count.parse().with_context(|| format!("--brokers wants a number, not {count}"))?;
        } else if let Some((key, value)) = argument.split_once('=') {
            settings.push((key, value));
        } else {
            bail!("unknown argument {argument}");
        }
    }
    if !(1..=3).contains(&brokers) {
        bail!("--brokers wants 1 to 3, not {brokers}");
    }
    let kafka = Distribution::resolve(version)?;
    let config =
        settings.into_iter().fold(Config::brokers(brokers), |config, (key, value)| config.with(key, value));
    let cluster = Cluster::start(&kafka, &config)?;
    println!("bootstrap.servers={}", cluster.bootstrap());
    println!("files: {}", cluster.folder().display());
    for broker in 0..usize::from(brokers) {
        println!("broker {broker}: process {}", cluster.process_id(broker).unwrap_or_default());
    }
    println!("ctrl-c stops it");
    // Ctrl-c ends this process, and the brokers are bound to it. What is left of the disks goes with the next start.
    let mut ignored = [0; 64];
    let mut input = std::io::stdin();
    loop {
        match input.read(&mut ignored) {
            Ok(0) if stdin_is_null() => std::thread::park(),
            Ok(0) | Err(_) => return Ok(ExitCode::SUCCESS),
            Ok(_) => {}
        }
    }
}

/// With `</dev/null`, as a background job has it, there is no end of input to wait for.
fn stdin_is_null() -> bool {
    std::fs::read_link("/proc/self/fd/0").is_ok_and(|target| target.as_os_str() == "/dev/null")
}

/// Runs a main class with that version's class path.
pub(crate) fn java(version: &str, main: &str, arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let kafka = Distribution::resolve(version)?;
    let status = kafka.java(main, 512).args(arguments).status().context("cannot run java")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
