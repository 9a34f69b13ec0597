//! The project's chores, as `cargo xtask COMMAND`.

// A chore prints, and waits for other programs.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod bench;
mod counts;
mod golden;
mod kafka;
mod simulate;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use test::Tests;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test             format, tidy, clippy, tests, documentation, instruction counts, tests with real Kafka; says at its end what was
                   not run, for want of Java or Maven, and whether the tests without took over two minutes once built,
                   which with CI=true are failures
  test --without-java
                   the same without clients that others wrote and without real Kafka: what needs Rust alone
  ci               what CI runs: everything, as `test`
  tidy             compares the crates' edges with ARCHITECTURE.md; looks for banners and paths of this machine
  kafka VERSION [--brokers N] [KEY=VALUE]...
                   run a real Kafka cluster (4.3.1, 3.9.2, 2.8.2, 1.1.1, ...) until ctrl-c; prints its addresses.
                   KEY=VALUE are broker settings; {id} in a value stands for the broker's id
  counts [--write] count the instructions of the hot functions with valgrind, and compare them with the figures that are
                   kept in crates/record-batch/benches/instructions.tsv, or write these
  golden           capture the log segments in crates/record-batch/tests/golden anew from real brokers
  bench race [--help | OPTION...]
                   race Paralog against MirrorMaker 2 and a bare relay: filled topics, latency, long ways (--distances), a kill
                   in the middle (--restart), idle topics (--idle-topics), a long drain (--long); writes docs/performance.md
  bench race --embedded [--records 64MiB] [OPTION...]
                   race Paralog against the relay between two embedded clusters, without Java; writes target/bench
  bench page       write that page again from the runs the last race kept
  bench cost [--help | OPTION...]
                   measure what exactly once costs: the engine's processor time a GB against that of the whole process
  bench kill-loop [--help | OPTION...]
                   kill Paralog again and again while it drains 1 GiB, compare both sides, count what was fetched twice
  bench topics [--topics N] [--report FILE] [--help | OPTION...]
                   measure what planning 10,000 topics takes, and watching them when nothing changes
  chaos --seconds N [--version VERSION] [--seed S] [--copier paralog|mm2|both] [--report FILE] [--help | OPTION...]
                   copy between two clusters of three brokers while processes are killed, paused and doubled, leaders
                   move and connections fail; then compare both sides, and say how long lanes stood still
  simulate [--seeds N] [--first N]
                   run the data plane against simulated clusters that fail in every way, by seed (100,000)
  simulate --mutations [WORDS]
                   make the data plane wrong in many ways, one at a time, and see that the simulation notices each
  java VERSION MAIN [ARGUMENT]...
                   run a main class of that Kafka version, such as org.apache.kafka.tools.TopicCommand
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test" | "ci"] => test::run(Tests::All),
        ["test", "--without-java"] => test::run(Tests::WithoutJava),
        ["bench", rest @ ..] => bench::run(rest),
        ["simulate", rest @ ..] => simulate::run(rest),
        ["chaos", ..] => bench::run(&words),
        ["counts", rest @ ..] => counts::run(rest),
        ["golden"] => golden::run(),
        ["tidy"] => tidy::run().map(|tidy| if tidy { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        ["kafka", version, rest @ ..] => kafka::run(version, rest),
        ["java", version, main, rest @ ..] => kafka::java(version, main, rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
