//! The project's chores, as `cargo xtask COMMAND`.

// A chore prints, and waits for other programs.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod kafka;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  kafka VERSION [--brokers N] [KEY=VALUE]...
                   run a real Kafka cluster (4.3.1, 3.9.2, 2.8.2, 1.1.1, ...) until ctrl-c; prints its addresses.
                   KEY=VALUE are broker settings; {id} in a value stands for the broker's id
  java VERSION MAIN [ARGUMENT]...
                   run a main class of that Kafka version, such as org.apache.kafka.tools.TopicCommand
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
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
