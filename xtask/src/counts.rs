//! `cargo xtask counts`: how many instructions the hot functions take, held against figures that are kept beside them.
//!
//! A count says what a time does not on a machine that others use too: that one call takes more than it did. valgrind
//! counts two runs, one of twice as many calls; their difference is the calls alone, without the start of the program.
//!
//! What is counted is built as the tests are, so that there is little left to build: our hot crates optimized as a
//! release is, what they depend on nearly so; and the engine is counted in the tests' own program. So these are figures to be compared with each
//! other, and not those of a release: it takes fewer.
//!
//! The same build counts the same on other machines, but for a few: code that looks for what the processor can do
//! finds what valgrind lets it see, a Haswell wherever there is AVX2, with SSE 4.2's CRC-32C and never AVX-512; hash
//! maps are seeded anew in each process; and the folder's path has a say in how the compiler divides code. So a few percent
//! are no news.

use crate::test::{FEATURES, cargo};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    sync::Mutex,
    thread,
};

/// Where the figures are kept.
const STORED: &str = "crates/record-batch/benches/instructions.tsv";
/// The crates with benches that are called `hot`.
const BENCHED: [&str; 2] = ["protocol", "record-batch"];
/// What those are built of, besides crates of others.
const OPTIMIZED: [&str; 3] = ["model", "protocol", "record-batch"];
/// As a release, and always divided alike.
const OPTIMIZATION: [&str; 4] =
    ["opt-level=3", "codegen-units=1", "debug-assertions=false", "overflow-checks=false"];
/// The engine, fed with whole fetch replies: a test that is ignored.
const ENGINE_TEST: &str = "cost::small_batches_pass_through";
const ENGINE_NAME: &str = "engine/16KiB";
/// Opening and the first allocations are in both runs, and a few thousand more make no difference.
const ENGINE_BATCHES: u64 = 10_000;

/// More than so much above the figure that is kept fails.
const ABOVE_MAX_PERCENT: u64 = 5;
/// More than so much below it is told.
const BELOW_MAX_PERCENT: u64 = 10;

/// Instructions that one call takes, by crate and scenario.
type Counts = BTreeMap<Counted, u64>;

/// Something that is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    package: String,
    name: String,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.package, self.name)
    }
}

/// One scenario, and how to run it.
#[derive(Debug)]
struct Job {
    counted: Counted,
    program: PathBuf,
    calls: u64,
}

/// What is said of one count.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    AsBefore,
    /// Fails.
    Slower,
    /// Good news, to be kept.
    Faster,
    /// Nothing is kept of it: fails.
    New,
    /// Kept, but counted no more: fails.
    Gone,
}

/// Counts, and compares with what is kept, or writes that.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let write = match arguments {
        [] => false,
        ["--write"] => true,
        _ => bail!("cargo xtask counts takes --write or nothing"),
    };
    // Left out it would find nothing for ever, and nobody would know.
    let version = Command::new("valgrind").arg("--version").output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "there is no valgrind (.ci/run installs it)"
    );
    let measured = count_all(&jobs()?)?;
    let path = crate::root().join(STORED);
    if write {
        fs::write(&path, table(&measured)).with_context(|| format!("cannot write {STORED}"))?;
        println!("written: {STORED}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {STORED}"))?;
    let verdicts = compare(&read_table(&text)?, &measured);
    Ok(tell(&verdicts))
}

/// What was kept and is counted, as far as there is either, and what to say.
type Judged = (Counted, Option<u64>, Option<u64>, Verdict);

fn compare(kept: &Counts, measured: &Counts) -> Vec<Judged> {
    let mut all: Vec<&Counted> = kept.keys().chain(measured.keys()).collect();
    all.sort();
    all.dedup();
    let judge = |counted: &Counted| {
        let (before, now) = (kept.get(counted).copied(), measured.get(counted).copied());
        let verdict = match (before, now) {
            (Some(before), Some(now)) if now * 100 > before * (100 + ABOVE_MAX_PERCENT) => Verdict::Slower,
            (Some(before), Some(now)) if now * 100 < before * (100 - BELOW_MAX_PERCENT) => Verdict::Faster,
            (Some(_), Some(_)) => Verdict::AsBefore,
            (None, _) => Verdict::New,
            (Some(_), None) => Verdict::Gone,
        };
        (counted.clone(), before, now, verdict)
    };
    all.into_iter().map(judge).collect()
}

fn tell(judged: &[Judged]) -> ExitCode {
    println!("{:40} {:>12} {:>12}", "instructions a call", "kept", "counted");
    let number = |number: &Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    for (counted, before, now, verdict) in judged {
        let word = match verdict {
            Verdict::AsBefore => "",
            Verdict::Slower => "  SLOWER",
            Verdict::Faster => "  faster",
            Verdict::New => "  NOT KEPT",
            Verdict::Gone => "  NOT COUNTED",
        };
        println!("{:40} {:>12} {:>12}{word}", counted.to_string(), number(before), number(now));
    }
    let any = |verdict: Verdict| judged.iter().any(|(.., other)| *other == verdict);
    if any(Verdict::Faster) {
        println!(
            "what is faster by more than {BELOW_MAX_PERCENT} % is worth keeping: cargo xtask counts --write"
        );
    }
    if any(Verdict::Slower) || any(Verdict::New) || any(Verdict::Gone) {
        println!(
            "failed: more than {ABOVE_MAX_PERCENT} % slower, or not the same functions; if that is as it should be: \
             cargo xtask counts --write"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Lines of crate, scenario, instructions, with tabs between them.
fn table(counts: &Counts) -> String {
    let line = |(counted, instructions): (&Counted, &u64)| {
        format!("{}\t{}\t{instructions}\n", counted.package, counted.name)
    };
    counts.iter().map(line).collect()
}

fn read_table(text: &str) -> anyhow::Result<Counts> {
    let read = |(at, line): (usize, &str)| {
        let words: Vec<&str> = line.split('\t').collect();
        let [package, name, instructions] = words[..] else { bail!("{STORED}:{}: not three words", at + 1) };
        let instructions =
            instructions.parse().with_context(|| format!("{STORED}:{}: {instructions}", at + 1))?;
        Ok((Counted { package: package.to_owned(), name: name.to_owned() }, instructions))
    };
    text.lines().enumerate().map(read).collect()
}

/// Builds the programs and asks them for their scenarios.
fn jobs() -> anyhow::Result<Vec<Job>> {
    // Features are those of the whole workspace, as for the tests: else much of it were built anew.
    let build = ["test", "--workspace", "--features", FEATURES, "--no-run", "--message-format", "json"];
    let mut benches = cargo(&build);
    benches.args(["--bench", "hot"]);
    // What is built bit by bit is divided by what was changed last.
    benches.env("CARGO_INCREMENTAL", "0");
    for package in OPTIMIZED {
        for setting in OPTIMIZATION {
            benches.args(["--config", &format!("profile.dev.package.{package}.{setting}")]);
        }
    }
    let benches = built(&mut benches)?;
    let mut jobs = Vec::new();
    for package in BENCHED {
        let program = executable(&benches, package, "bench")?;
        let output = succeeded(Command::new(&program).arg("list"))?;
        for (name, calls) in scenarios(&String::from_utf8_lossy(&output.stdout))? {
            let counted = Counted { package: package.to_owned(), name };
            jobs.push(Job { counted, program: program.clone(), calls });
        }
    }
    let tests = built(cargo(&build).arg("--lib"))?;
    jobs.push(Job {
        counted: Counted { package: "pipeline".to_owned(), name: ENGINE_NAME.to_owned() },
        program: executable(&tests, "pipeline", "lib")?,
        calls: ENGINE_BATCHES,
    });
    Ok(jobs)
}

/// What Cargo says of what it has built, a line for each artifact.
fn built(build: &mut Command) -> anyhow::Result<String> {
    let output = build.current_dir(crate::root()).stderr(std::process::Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {build:?}"))?;
    ensure!(output.status.success(), "the build failed");
    String::from_utf8(output.stdout).context("what cargo says is no text")
}

/// The program of a crate's target of one kind.
fn executable(messages: &str, package: &str, kind: &str) -> anyhow::Result<PathBuf> {
    // A package's id ends `/record-batch#0.1.0`.
    let of_package = |message: &Value| {
        let id = message["package_id"].as_str().unwrap_or_default();
        id.split('#').next().is_some_and(|path| path.ends_with(&format!("/{package}")))
    };
    let of_kind = |message: &Value| {
        message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|of| of == kind))
    };
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = messages
        .filter(|message| of_package(message) && of_kind(message))
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.with_context(|| format!("cargo built no program of {package}"))
}

/// Lines of names and numbers of calls.
fn scenarios(list: &str) -> anyhow::Result<Vec<(String, u64)>> {
    let read = |line: &str| {
        let (name, calls) = line.split_once('\t').with_context(|| format!("no number of calls: {line}"))?;
        Ok((name.to_owned(), calls.parse().with_context(|| format!("no number of calls: {line}"))?))
    };
    list.lines().map(read).collect()
}

/// Counts all, as many at a time as there are processors.
fn count_all(jobs: &[Job]) -> anyhow::Result<Counts> {
    let folder = crate::root().join("target").join("counts");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // The longest, which is the last, begins first.
    let (waiting, counts) =
        (Mutex::new(jobs.iter().enumerate().collect::<Vec<_>>()), Mutex::new(Ok(Counts::new())));
    let work = || {
        while let Some((at, job)) = { waiting.lock().expect("nobody panics").pop() } {
            let counted = count(job, &folder.join(at.to_string()));
            let mut counts = counts.lock().expect("nobody panics");
            match (&mut *counts, counted) {
                (Ok(counts), Ok(instructions)) => _ = counts.insert(job.counted.clone(), instructions),
                (Ok(_), Err(error)) => *counts = Err(error.context(format!("cannot count {}", job.counted))),
                (Err(_), _) => {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    counts.into_inner().expect("nobody panics")
}

/// Instructions that one call takes.
fn count(job: &Job, out: &Path) -> anyhow::Result<u64> {
    let (once, twice) = (count_calls(job, job.calls, out)?, count_calls(job, 2 * job.calls, out)?);
    ensure!(twice > once, "{once} instructions of {} calls, {twice} of twice as many", job.calls);
    Ok((twice - once) / job.calls)
}

fn count_calls(job: &Job, calls: u64, out: &Path) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    // Where things lie depends on what the environment takes.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    if job.counted.name == ENGINE_NAME {
        command.arg("--toggle-collect=pipeline::cost::inside*").arg(&job.program);
        command.args(["--exact", ENGINE_TEST, "--ignored"]).env("PARALOG_COUNTED_BATCHES", calls.to_string());
    } else {
        command.arg(&job.program).args(["call", &job.counted.name, &calls.to_string()]);
    }
    succeeded(&mut command)?;
    let text = fs::read_to_string(out).with_context(|| format!("cannot read {}", out.display()))?;
    total(&text).with_context(|| format!("no total in {}", out.display()))
}

/// What a file of callgrind says was counted in all.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

fn succeeded(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        let one = |&(name, number): &(&str, u64)| {
            (Counted { package: "crate".to_owned(), name: name.to_owned() }, number)
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn more_than_a_twentieth_above_what_is_kept_is_slower() {
        let kept = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("gone", 1)]);
        let measured = counts(&[("a", 1050), ("b", 1051), ("c", 900), ("d", 899), ("new", 1)]);
        let verdicts: Vec<Verdict> = compare(&kept, &measured).into_iter().map(|judged| judged.3).collect();
        let expected = [
            Verdict::AsBefore,
            Verdict::Slower,
            Verdict::AsBefore,
            Verdict::Faster,
            Verdict::Gone,
            Verdict::New,
        ];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn what_is_slower_or_not_kept_or_not_counted_fails_and_what_is_faster_does_not() {
        let failed = |kept: &[(&str, u64)], measured: &[(&str, u64)]| {
            tell(&compare(&counts(kept), &counts(measured))) != ExitCode::SUCCESS
        };
        assert!(failed(&[("a", 100)], &[("a", 106)]));
        assert!(failed(&[], &[("a", 100)]));
        assert!(failed(&[("a", 100)], &[]));
        assert!(!failed(&[("a", 100)], &[("a", 50)]));
        assert!(!failed(&[("a", 100)], &[("a", 105)]));
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let some = counts(&[("patch/1MB", 777), ("read-header", 88)]);
        assert_eq!(table(&some), "crate\tpatch/1MB\t777\ncrate\tread-header\t88\n");
        assert_eq!(read_table(&table(&some)).unwrap(), some);
        for wrong in ["a\tb", "a\tb\tc", "a\tb\t1\t2"] {
            assert!(read_table(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_figures_that_are_kept_can_be_read() {
        let text = fs::read_to_string(crate::root().join(STORED)).unwrap();
        assert!(read_table(&text).unwrap().values().all(|&instructions| instructions > 0));
    }

    #[test]
    fn what_others_print_is_read() {
        assert_eq!(total("events: Ir\nsummary: 24234794\n\ntotals: 24234795\n"), Some(24_234_795));
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(scenarios("a/b\t10\nc\t2\n").unwrap(), [("a/b".to_owned(), 10), ("c".to_owned(), 2)]);
        assert!(scenarios("running 0 tests").is_err());
        let message = |package: &str, kind: &str, program: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/crates/{package}#0.1.0","target":{{"kind":["{kind}"]}},"executable":{program}}}"#
            )
        };
        let messages = [
            message("protocol", "bench", "\"/p\""),
            message("record-batch", "lib", "null"),
            message("record-batch", "bench", "\"/r\""),
            "{\"reason\":\"build-finished\"}".to_owned(),
        ]
        .join("\n");
        assert_eq!(executable(&messages, "record-batch", "bench").unwrap(), Path::new("/r"));
        assert!(executable(&messages, "record-batch", "lib").is_err());
        assert!(executable(&messages, "batch", "bench").is_err());
    }
}
