//! `cargo xtask test`: everything, in one command, and at its end what was not run.

use anyhow::Context;
use real_kafka::{Distribution, Kdc};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The Kafka versions that we are held against.
pub(crate) const VERSIONS: [&str; 4] = ["4.3.1", "3.9.2", "2.8.2", "1.1.1"];

/// With it everything is built, so that most crates are built once.
pub(crate) const FEATURES: &str = "paralog/gssapi";
/// Those, and the features that turn on the tests that need it, and those with clients that others wrote: the same for
/// both.
const REAL_KAFKA_FEATURES: &str =
    "paralog/gssapi,paralog/real-kafka,embedded-kafka/real-kafka,embedded-kafka/foreign";
/// What the tests with foreign clients cannot bring themselves.
const FOREIGN_PROGRAMS: [&str; 5] = ["kcat", "python3", "java", "javac", "mvn"];

/// What all tests that need no Java may take together once they are built, on two cores: who works on something runs
/// them again and again.
const WITHOUT_JAVA_MAX: Duration = Duration::from_secs(120);

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Everything there is.
    All,
    /// What needs Rust alone.
    WithoutJava,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    failed_steps: Vec<String>,
    /// What was not run or took too long: only CI need mind.
    shortcomings: Vec<String>,
    /// What else is to be known at the end.
    remarks: Vec<String>,
}

/// Runs all steps, also after one has failed.
pub(crate) fn run(tests: Tests) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    tally.step("format", cargo(&["fmt", "--all", "--check"]))?;
    tally.step("tidy", own(&["tidy"])?)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--features", FEATURES, "--", "-D", "warnings"];
    tally.step("clippy", cargo(&clippy))?;
    tally.step("client without Kerberos", cargo(&["clippy", "-p", "client", "--", "-D", "warnings"]))?;
    tally.step("build of the tests", cargo(&["test", "--workspace", "--features", FEATURES, "--no-run"]))?;
    let mut all = cargo(&["test", "--workspace", "--features", FEATURES, "--no-fail-fast"]);
    // Those that take long wait for clocks rather than for processors: three times as many at a time as there are of these.
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    all.env("RUST_TEST_THREADS", (3 * processors).to_string());
    let took = tally.step("tests", all)?;
    tally.took_without_java(took);
    if is_on_path("valgrind") {
        tally.step("instruction counts", own(&["counts"])?)?;
    } else {
        let missing = "NOT RUN: instruction counts: there is no valgrind (.ci/run installs it)";
        tally.shortcomings.push(missing.to_owned());
    }
    let mut doc = cargo(&["doc", "--workspace", "--features", FEATURES, "--no-deps", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    tally.step("documentation", doc)?;
    match tests {
        Tests::All => {
            foreign(&mut tally)?;
            real_kafka(&mut tally)?;
        }
        Tests::WithoutJava => {
            tally.remarks.push("left out: clients that others wrote, tests with real Kafka".to_owned());
        }
    }
    Ok(tally.tell())
}

/// Clients that others wrote, against `embedded-kafka`. What is missing fails there, with what to do.
fn foreign(tally: &mut Tally) -> anyhow::Result<()> {
    if let Some(missing) = FOREIGN_PROGRAMS.iter().find(|program| !is_on_path(program)) {
        tally
            .shortcomings
            .push(format!("NOT RUN: clients that others wrote: there is no {missing} (.ci/run installs it)"));
        return Ok(());
    }
    let arguments =
        ["test", "--workspace", "--no-fail-fast", "--features", REAL_KAFKA_FEATURES, "--test", "foreign"];
    tally.step("clients that others wrote", cargo(&arguments))?;
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn real_kafka(tally: &mut Tally) -> anyhow::Result<()> {
    for version in VERSIONS {
        if let Err(error) = Distribution::resolve(version) {
            if error.is_missing_program() {
                tally.shortcomings.push(format!("NOT RUN: the tests with real Kafka: {error}"));
                return Ok(());
            }
            // Half of the tests would fail for the same reason: say it once.
            eprintln!("error: cannot bring Kafka {version}: {error}");
            tally.failed_steps.push(format!("bringing Kafka {version}"));
            return Ok(());
        }
    }
    // The whole workspace with two features more, so that nothing but what they touch is built again.
    let arguments = ["test", "--workspace", "--no-fail-fast", "--features", REAL_KAFKA_FEATURES];
    let tests = ["--test", "real_kafka", "--test", "conformance"];
    // Two at a time: each has one or two clusters, and there may be two cores only.
    let threads = ["--", "--test-threads", "2"];
    let mut command = cargo(&[&arguments[..], &tests, &threads].concat());
    if let Some(missing) = Kdc::missing() {
        tally.shortcomings.push(format!("NOT RUN: the tests with a real KDC: {missing}"));
        command.args(["--skip", "kerberos::"]);
    }
    tally.step("tests with real Kafka", command)?;
    Ok(())
}

impl Tally {
    /// Runs one step, showing and counting what it prints; how long it took.
    fn step(&mut self, name: &str, mut command: Command) -> anyhow::Result<Duration> {
        println!("\n== {name}");
        let started = Instant::now();
        let mut child = command
            .current_dir(crate::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let mut stdout = std::io::stdout();
        for line in lines {
            let line = line.context("cannot read what the step prints")?;
            self.count(&line);
            writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("cannot print")?;
        }
        let status = child.wait().with_context(|| format!("cannot wait for {command:?}"))?;
        let took = started.elapsed();
        println!("== {name}: {}, {} s", if status.success() { "ok" } else { "FAILED" }, took.as_secs());
        if !status.success() {
            self.failed_steps.push(name.to_owned());
        }
        Ok(took)
    }

    /// Another program beside them makes them slow, so that only CI takes it for a failure.
    fn took_without_java(&mut self, took: Duration) {
        let told =
            format!("tests without Java: {} s of at most {} s", took.as_secs(), WITHOUT_JAVA_MAX.as_secs());
        if took > WITHOUT_JAVA_MAX {
            self.shortcomings.push(format!("TOO SLOW: {told}"));
        } else {
            self.remarks.push(told);
        }
    }

    /// Adds up lines like `test result: ok. 5 passed; 0 failed; 0 ignored; ...`.
    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let number = pair[0].parse().unwrap_or(0);
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }

    fn tell(self) -> ExitCode {
        println!();
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        for step in &self.failed_steps {
            println!("failed: {step}");
        }
        for remark in &self.remarks {
            println!("{remark}");
        }
        for shortcoming in &self.shortcomings {
            println!("{shortcoming}");
        }
        if ci && !self.shortcomings.is_empty() {
            println!("with CI=true that is a failure");
        }
        let failed = !self.failed_steps.is_empty() || (ci && !self.shortcomings.is_empty());
        println!("{} passed, {} failed", self.passed, self.failed.max(u64::from(failed)));
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// This program with another command.
fn own(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::{Tally, WITHOUT_JAVA_MAX};
    use std::time::Duration;

    #[test]
    fn tests_that_take_longer_than_they_may_are_a_shortcoming() {
        let mut tally = Tally::default();
        tally.took_without_java(WITHOUT_JAVA_MAX);
        assert_eq!((tally.remarks.len(), tally.shortcomings.len()), (1, 0));
        tally.took_without_java(WITHOUT_JAVA_MAX + Duration::from_secs(7));
        assert_eq!(tally.shortcomings, ["TOO SLOW: tests without Java: 127 s of at most 120 s"]);
    }

    #[test]
    fn result_lines_are_added_up() {
        let mut tally = Tally::default();
        tally.count(
            "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        tally.count("test result: FAILED. 7 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.count("test passed; failed ... ok");
        assert_eq!((tally.passed, tally.failed), (12, 3));
    }
}
