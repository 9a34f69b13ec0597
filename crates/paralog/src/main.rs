//! The program `paralog`: reads the command line and says how it went.
//!
//! Exit codes: 0 done, 1 wrong arguments, 2 wrong settings, 3 cannot start, 4 stopped before everything was
//! copied, or planned something that is still to be done.

use std::process::ExitCode;

use clap::Parser;

mod answer;
mod check;
mod cli;
mod demo;
mod failure;
mod files;
mod limits;
mod logs;
mod offsets;
mod plan;
mod progress;
mod run;
mod screen;
mod secrets;
mod signals;

use cli::{Cli, Command};
use failure::Failure;

// A tenth less CPU than the system's on the copying path, and as much memory (measured with 1 MiB batches).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    limits::refuse_huge_pages();
    let cli = match Cli::try_parse_from(cli::translate(std::env::args_os())) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and the version are answers, too; where they cannot be printed nothing else can be.
            let _ = answer.print();
            return if answer.use_stderr() { Failure::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    limits::raise_open_files();
    let result = match cli.command {
        Command::Run(run) => run::run(&run),
        Command::Plan(asked) => plan::plan(&asked),
        Command::Check(check) => check::check(&check),
        Command::Offsets(offsets) => offsets::offsets(&offsets),
        Command::Demo(demo) => demo::demo(&demo),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
