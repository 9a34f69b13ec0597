//! `paralog demo` from outside: what it says in a pipe, how it ends, and that nothing is left of it.

// What is run is another process, against the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder to work in, and one for temporary files; both have to stay empty.
struct Folders {
    work: tempfile::TempDir,
    temporary: tempfile::TempDir,
}

impl Folders {
    fn new() -> Folders {
        Folders { work: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    fn demo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paralog"));
        command.arg("demo").args(arguments);
        self.set_up(&mut command);
        command
    }

    fn set_up(&self, command: &mut Command) {
        command.current_dir(self.work.path()).env("TMPDIR", self.temporary.path());
        command.env_remove("PARALOG_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// A demo whose shell has set its limits with these arguments of `ulimit`.
    fn limited(&self, limit: &str, arguments: &[&str]) -> Command {
        let demo = self.demo(arguments);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\""));
        command.arg(demo.get_program()).args(demo.get_args());
        self.set_up(&mut command);
        command
    }

    fn assert_empty(&self) {
        let left = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
        assert_eq!((left(self.work.path()), left(self.temporary.path())), (0, 0));
    }
}

/// The addresses on the line that begins with `side`.
fn addresses(lines: &[String], side: &str) -> Vec<SocketAddr> {
    let line = lines.iter().find_map(|line| line.trim_start().strip_prefix(side)).unwrap();
    line.trim().split(',').map(|address| address.parse().unwrap()).collect()
}

/// Lines up to the one that holds `text`.
fn lines_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("no `{text}` in {found:#?}")).unwrap();
        found.push(line);
        if found.last().unwrap().contains(text) {
            return found;
        }
    }
}

/// The first of six ports that are free, beside those that the system gives to connections.
fn free_ports() -> u16 {
    let own = u16::try_from(std::process::id() % 2000).unwrap() * 6;
    let mut firsts = (0..2000).map(|step| 16_000 + (own + step * 6) % 12_000);
    let is_free =
        |first: &u16| (*first..first + 6).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    firsts.find(is_free).expect("six free ports")
}

/// A demo under way; it does not outlive a test that fails.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Running {
        Running(command.spawn().unwrap())
    }

    fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }

    fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn ended(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.0.wait().unwrap().code(), errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
    }
}

#[test]
fn twenty_thousand_records_are_copied_and_proven_equal() {
    let folders = Folders::new();
    let Output { status, stdout, stderr } = folders.demo(&["--records", "20000"]).output().unwrap();
    let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "{out}");
    assert!(!out.contains('\x1b'), "{out}");
    let lines: Vec<String> = out.lines().map(String::from).collect();
    let at = |start: &str| {
        let found = lines.iter().position(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line `{start}` in\n{out}"))
    };
    let steps = [
        at("create   test-topic"),
        at("write    20,000 records"),
        at("copy     test-topic -> test-topic.replica: "),
    ];
    assert!(
        steps.is_sorted()
            && steps[2] < at("verify   ")
            && at("verify   ") < at("result   equal: 20,000 records")
    );
    for partition in 0..8 {
        let row = lines
            .iter()
            .find(|line| line.trim_start().starts_with(&format!("partition {partition} ")))
            .unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        let [_, _, "2,500", "records", "source", source, "destination", destination, "equal"] = words[..]
        else {
            panic!("{row}")
        };
        assert!(source == destination && source.len() == 16, "{row}");
    }
    let all = [addresses(&lines, "source "), addresses(&lines, "destination ")].concat();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|address| address.ip().is_loopback()));
    assert!(all.iter().all(|address| TcpStream::connect(address).is_err()), "somebody still listens");
    folders.assert_empty();
}

#[test]
fn kept_running_it_copies_on_and_compares_again_at_its_end() {
    let folders = Folders::new();
    let mut child = Running::start(folders.demo(&["--records", "100", "--keep-running"]));
    let mut lines = child.lines();
    let first = lines_until(&mut lines, "the worker starts again");
    assert!(first.iter().any(|line| line.starts_with("result   equal: 100 records")), "{first:#?}");
    for address in addresses(&first, "source ") {
        TcpStream::connect(address).unwrap();
    }
    // Told after a few seconds: by then more has been written.
    lines_until(&mut lines, "run ");
    child.signal("INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let (code, errors) = child.ended();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{rest:#?}");
    let last = rest.last().unwrap();
    assert!(last.starts_with("result   equal: ") && !last.contains(" 100 records"), "{rest:#?}");
    folders.assert_empty();
}

/// What the README asks a newcomer to type.
#[test]
fn a_first_run_copies_from_and_to_the_clusters_of_a_demo_at_ports_that_were_chosen() {
    let (folders, elsewhere) = (Folders::new(), Folders::new());
    let first_port = free_ports();
    let (source_port, destination_port) = (first_port.to_string(), (first_port + 3).to_string());
    let ports = ["--source-port", &source_port, "--destination-port", &destination_port];
    let demo = folders.demo(&[&["--keep-running", "--records", "1000"][..], &ports].concat());
    let mut child = Running::start(demo);
    let mut lines = child.lines();
    let shown = lines_until(&mut lines, "the worker starts again");
    let expected: Vec<SocketAddr> =
        (first_port..first_port + 3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    assert_eq!(addresses(&shown, "source "), expected);

    let (source, destination) = (format!("localhost:{source_port}"), format!("localhost:{destination_port}"));
    let mut run = Command::new(env!("CARGO_BIN_EXE_paralog"));
    run.args(["run", "--source", &source, "--destination", &destination, "--topics", "test-topic"]);
    run.args(["--rename", "${topic}.copy", "--until-caught-up"]);
    elsewhere.set_up(&mut run);
    let Output { status, stderr, .. } = run.output().unwrap();
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));

    // Somebody else's copy does not disturb its own.
    child.signal("INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let (code, errors) = child.ended();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{rest:#?}");
    folders.assert_empty();
}

#[test]
fn a_port_that_is_in_use_is_told() {
    let folders = Folders::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let Output { status, stderr, .. } = folders.demo(&["--destination-port", &port]).output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    let told = format!(
        "error: cannot start the destination cluster: cannot listen on 127.0.0.1:{port} for broker 0: the port is in use"
    );
    assert!(status.code() == Some(3) && errors.starts_with(&told), "{errors}");
    folders.assert_empty();
}

#[test]
fn interrupted_before_the_proof_it_fails_and_leaves_nothing() {
    let folders = Folders::new();
    for signal in ["INT", "TERM", "HUP"] {
        let demo = folders.demo(&["--records", "1000000"]);
        // Whoever runs this may be under nohup.
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(demo.get_program()).args(demo.get_args());
        folders.set_up(&mut command);
        let mut child = Running::start(command);
        let mut lines = child.lines();
        lines_until(&mut lines, "create ");
        child.signal(signal);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let (code, errors) = child.ended();
        assert_eq!(code, Some(4), "{signal} {rest:#?}");
        assert!(errors.starts_with("error: interrupted before the copy was proven equal"), "{errors}");
        folders.assert_empty();
    }
}

#[test]
fn under_nohup_it_outlives_its_terminal() {
    let folders = Folders::new();
    let demo = folders.demo(&["--records", "100", "--keep-running"]);
    let mut command = Command::new("nohup");
    command.arg(demo.get_program()).args(demo.get_args());
    folders.set_up(&mut command);
    let mut child = Running::start(command);
    let mut lines = child.lines();
    lines_until(&mut lines, "the worker starts again");
    child.signal("HUP");
    lines_until(&mut lines, "run ");
    child.signal("INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let (code, errors) = child.ended();
    assert_eq!(code, Some(0), "{errors} {rest:#?}");
    folders.assert_empty();
}

#[test]
fn a_million_records_take_less_than_a_minute() {
    let folders = Folders::new();
    let started = Instant::now();
    let Output { status, stdout, stderr } = folders.demo(&[]).output().unwrap();
    let (out, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("\nresult   equal: 1,000,000 records on both sides"), "{out}");
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}\n{out}", started.elapsed());
    folders.assert_empty();
}

#[test]
fn with_too_few_files_it_fails_and_says_so_and_what_to_do() {
    let folders = Folders::new();
    // Not enough for the clusters, for the threads, for all connections, for the offsets file: about 45 would do.
    let demos = [12, 18, 30, 40].map(|files_max| {
        let demo = folders.limited(&format!("-n {files_max}"), &["--records", "2000"]);
        (files_max, Running::start(demo))
    });
    for (files_max, mut demo) in demos {
        let shown: Vec<String> = demo.lines().map(Result::unwrap).collect();
        let (code, errors) = demo.ended();
        let told = format!("{files_max} files, {code:?}: {shown:#?}\n{errors}");
        assert!(matches!(code, Some(3 | 4)), "{told}");
        assert!(
            errors.contains("`ulimit -n`") && errors.contains("\nerror: ") | errors.starts_with("error: "),
            "{told}"
        );
    }
    folders.assert_empty();
}

/// Asks a broker to delete a topic, and waits for its answer.
fn delete_topic(address: SocketAddr, name: &str) {
    let length = |bytes: &str| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    // DeleteTopics version 1, correlation id 7, no client id, one topic, 10 s.
    let body = [
        &[0, 20, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1][..],
        &length(name),
        name.as_bytes(),
        &[0, 0, 0x27, 0x10],
    ];
    let body = body.concat();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[&u32::try_from(body.len()).unwrap().to_be_bytes(), &body[..]].concat()).unwrap();
    let mut answer = vec![0; 4 + 4 + 4 + 4 + 2 + name.len() + 2];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.ends_with(&[0, 0]), "{answer:?}");
}

#[test]
fn a_topic_that_somebody_deletes_meanwhile_ends_it_in_words() {
    let folders = Folders::new();
    let mut child = Running::start(folders.demo(&["--records", "100", "--keep-running"]));
    let mut lines = child.lines();
    let first = lines_until(&mut lines, "the worker starts again");
    delete_topic(addresses(&first, "source ")[0], "test-topic");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let (code, errors) = child.ended();
    let told = "error: topic `test-topic` was deleted while it was written to";
    assert!(code == Some(4) && errors.lines().any(|line| line == told), "{code:?} {errors} {rest:#?}");
    assert!(!errors.contains("panicked"), "{errors}");
    folders.assert_empty();
}

#[test]
fn an_output_that_cannot_be_written_fails_and_says_so() {
    let folders = Folders::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let Output { status, stderr, .. } = folders.demo(&["--records", "100"]).stdout(full).output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(3), "{errors}");
    assert!(errors.starts_with("error: cannot write to the output: No space left"), "{errors}");
    folders.assert_empty();
}

#[test]
fn numbers_of_records_that_cannot_be_meant_are_refused_with_those_that_can() {
    let folders = Folders::new();
    for number in ["0", "-1", "10000001", "many"] {
        let Output { status, stderr, .. } = folders.demo(&["--records", number]).output().unwrap();
        let errors = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{errors}");
        assert!(errors.contains(&format!("invalid value '{number}' for '--records <N>'")), "{errors}");
    }
    folders.assert_empty();
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let folders = Folders::new();
    let Output { status, stderr, .. } = folders.limited("-Sn 30", &["--records", "100"]).output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap()), (Some(0), String::new()));
    folders.assert_empty();
}

#[test]
fn an_output_that_is_closed_does_not_stop_it() {
    let folders = Folders::new();
    let mut child = Running::start(folders.demo(&["--records", "100"]));
    drop(child.lines());
    assert_eq!(child.ended(), (Some(0), String::new()));
    folders.assert_empty();
}
