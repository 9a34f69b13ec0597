//! Running a program to its end, within a time.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program said.
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) errors: String,
}

/// Gives `input` to the program and waits for its end; one that takes longer than `within` is killed.
pub(crate) fn run(mut command: Command, input: &str, within: Duration) -> Said {
    let line = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    thread::scope(|scope| {
        // One that does not read its input has its reasons; dropping it is the input's end.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        let read = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let out = scope.spawn(move || read(&mut stdout));
        let errors = scope.spawn(move || read(&mut stderr));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if started.elapsed() > within {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (out, mut errors) = (out.join().unwrap(), errors.join().unwrap());
        if status.is_none() {
            errors = format!("{errors}\nno end after {} s: {line}", within.as_secs());
        }
        Said { success: status.is_some_and(|status| status.success()), out, errors }
    })
}

/// The program's output.
///
/// # Panics
/// Unless it succeeds.
pub(crate) fn succeed(command: Command, input: &str, within: Duration) -> String {
    let line = format!("{command:?}");
    let said = run(command, input, within);
    assert!(said.success, "{line} failed:\n{}\n{}", said.out, said.errors);
    said.out
}
