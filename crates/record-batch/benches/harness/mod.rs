//! What the benches of hot functions share: each function is a [`Scenario`], which is timed, or counted.
//!
//! ```text
//! hot                    the time that a call of each takes
//! hot list               the names, and how many calls of each make a count
//! hot call NAME CALLS    nothing but so many calls: `cargo xtask counts` runs it under callgrind
//! ```

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(clippy::print_stdout, reason = "a bench tells its numbers")]

use std::time::{Duration, Instant};

/// What is called again and again.
pub(crate) type Call = Box<dyn FnMut()>;

/// One function with what it is called with.
pub(crate) struct Scenario {
    name: String,
    calls: u32,
    bytes: usize,
    set_up: Box<dyn Fn() -> Call>,
}

impl Scenario {
    /// `name` is words with `-` and `/` between them, such as `patch/16KiB`; so many `calls` are counted, enough that
    /// what a single one does beside does not show. `set_up` makes what is called.
    pub(crate) fn new(name: impl Into<String>, calls: u32, set_up: impl Fn() -> Call + 'static) -> Scenario {
        Scenario { name: name.into(), calls, bytes: 0, set_up: Box::new(set_up) }
    }

    /// One call goes through so many bytes, counted before compression.
    #[allow(dead_code, reason = "not every crate has such a function")]
    pub(crate) fn through(self, bytes: usize) -> Scenario {
        Scenario { bytes, ..self }
    }
}

/// Does what the program's arguments ask for.
pub(crate) fn run(scenarios: &[Scenario]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => scenarios.iter().for_each(|scenario| println!("{}\t{}", scenario.name, scenario.calls)),
        ["call", name, calls] => {
            let scenario = scenarios.iter().find(|scenario| scenario.name == *name);
            let mut call = (scenario.expect("`list` tells the names").set_up)();
            let calls: u32 = calls.parse().expect("a number of calls");
            (0..calls).for_each(|_| call());
        }
        // Cargo passes `--bench`.
        _ => scenarios.iter().for_each(tell_time),
    }
}

fn tell_time(scenario: &Scenario) {
    let took = time((scenario.set_up)());
    let rate = match scenario.bytes {
        0 => String::new(),
        bytes => format!("{:10.0} MB/s", bytes as f64 / 1e6 / took.as_secs_f64()),
    };
    println!("{:24} {:>12}{rate}", scenario.name, format!("{took:?}"));
}

/// The time that one call takes: the best of a few rounds, since what disturbs only adds.
fn time(mut call: Call) -> Duration {
    let mut round = |calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed() / calls
    };
    let once = round(3).max(Duration::from_nanos(20));
    let calls = (20_000_000 / once.as_nanos()).max(1) as u32;
    (0..10).map(|_| round(calls)).fold(Duration::MAX, Duration::min)
}
