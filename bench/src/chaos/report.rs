//! The report: tables from what was measured, and what breaks the requirement.

use crate::{
    chaos::{
        Episode, Lane, Trial,
        fault::Kind,
        lanes::{IDLE_MAX_MS, MOVED_MAX_MS, Recovery},
        side::AGED_ALLOWANCE_MS,
    },
    contender::Contender,
};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// What breaks the requirement, one a line.
pub(crate) fn failures(trial: &Trial) -> Vec<String> {
    let mut failures: Vec<String> =
        trial.verdict.outcomes.iter().filter_map(super::verdict::Outcome::failure).collect();
    for episode in &trial.episodes {
        let late = late(trial, episode);
        if late > 0 {
            failures.push(format!(
                "{late} lanes late after {} at {:.0} s",
                name(episode),
                episode.began_ms as f64 / 1e3
            ));
        }
    }
    failures.extend(trial.surprises.iter().cloned());
    failures
}

/// A paragraph for the screen.
pub(crate) fn summary(trial: &Trial) -> String {
    let verdict = &trial.verdict;
    let mut text = format!(
        "{}: {} records, {} lost, {} doubled, {} out of order, {} changed; {} faults, {} lanes late\n",
        trial.contender,
        verdict.sum(|difference| difference.original),
        verdict.sum(|difference| difference.lost),
        verdict.sum(|difference| difference.doubled),
        verdict.sum(|difference| difference.reordered),
        verdict.sum(|difference| difference.changed),
        trial.episodes.len(),
        late_in_all(trial)
    );
    for failure in failures(trial) {
        let _ = writeln!(text, "  !! {failure}"); // to a string: cannot fail
    }
    text
}

/// The section of Markdown.
pub(crate) fn page(facts: &[(String, String)], trials: &[Trial]) -> String {
    let fact = |name: &str| {
        facts.iter().find(|(fact, _)| fact == name).map_or("unknown", |(_, value)| value.as_str())
    };
    let mut text = format!("## Kafka {}, seed {}\n\n", fact("kafka"), fact("seed"));
    let mut put = |line: String| {
        text += &line;
        text.push('\n');
    };
    put(format!(
        "Measured {} with {} ({}) on {} cores of {}, {}, Linux {}; {}. {} s of faults for each copier; {} records a \
         second were written to {} partitions meanwhile.\n",
        fact("date"),
        fact("paralog"),
        fact("commit"),
        fact("cores"),
        fact("processor"),
        fact("memory"),
        fact("kernel"),
        fact("java"),
        fact("seconds"),
        fact("records a second"),
        trials.first().map_or(0, |trial| trial.lanes.len()),
    ));
    let heads: Vec<&str> = trials.iter().map(|trial| trial.contender.title()).collect();
    put(format!("| | {} |", heads.join(" | ")));
    put(format!("|---|{}", "---:|".repeat(trials.len())));
    let mut row = |name: &str, cell: &dyn Fn(&Trial) -> String| {
        let cells: Vec<String> = trials.iter().map(cell).collect();
        put(format!("| {name} | {} |", cells.join(" | ")));
    };
    let kept = |trial: &Trial, number: &dyn Fn(&super::verdict::Outcome) -> u64| {
        trial.verdict.outcomes.iter().map(number).sum::<u64>().to_string()
    };
    row("faults", &|trial| trial.episodes.iter().map(faults).sum::<usize>().to_string());
    row("minutes, with the waits for lanes", &|trial| format!("{:.1}", trial.ran.as_secs_f64() / 60.0));
    row("records that the source acknowledged", &|trial| trial.written.to_string());
    row("records in the source at the end", &|trial| trial.verdict.sum(|d| d.original).to_string());
    row("**lost**", &|trial| kept(trial, &|outcome| outcome.lost()));
    row("**doubled**", &|trial| trial.verdict.sum(|d| d.doubled).to_string());
    row("**out of order**", &|trial| trial.verdict.sum(|d| d.reordered).to_string());
    row("changed", &|trial| trial.verdict.sum(|d| d.changed).to_string());
    row("not copied: lanes stopped for an unclean election", &|trial| {
        kept(trial, &|outcome| outcome.difference.lost - outcome.lost())
    });
    row("in the copy, lost by the source", &|trial| trial.verdict.sum(|d| d.foreign).to_string());
    row("lanes late after a fault", &|trial| late_in_all(trial).to_string());
    row("ended by itself, or not when asked", &|trial| trial.surprises.len().to_string());
    row("caught up after the last fault, s", &|trial| match &trial.caught_up {
        Ok(after) => format!("{:.1}", after.as_secs_f64()),
        Err(_) => "no".to_owned(),
    });
    put(String::new());
    put(format!(
        "The longest standstill after each kind of fault, in seconds: from the end of the fault until the last lane \
         moved; in brackets, of that, the longest that a lane did not move although both its leaders were ready. Late \
         is more than {} s and more than {} s in brackets. Aged: lanes whose records are a year old, which brokers forget \
         the producer of; where the outcome of something they sent is unknown they wait until no replica can have it \
         any more (replica.lag.time.max.ms, 30 s, and a margin), so late is {} s more. `>`: not within the time watched.\n",
        MOVED_MAX_MS / 1000,
        IDLE_MAX_MS / 1000,
        AGED_ALLOWANCE_MS / 1000
    ));
    put(format!("| fault | {} |", heads.join(" | ")));
    put(format!("|---|{}", "---:|".repeat(trials.len())));
    let by_kind: Vec<BTreeMap<String, Stall>> = trials.iter().map(stalls).collect();
    for name in Kind::all().into_iter().map(Kind::title).chain([TWO.to_owned()]) {
        if by_kind.iter().any(|stalls| stalls.contains_key(&name)) {
            let cells: Vec<String> = by_kind
                .iter()
                .map(|stalls| stalls.get(&name).map_or_else(|| "–".to_owned(), Stall::to_string))
                .collect();
            put(format!("| {name} | {} |", cells.join(" | ")));
        }
    }
    for trial in trials {
        let failures = failures(trial);
        if !failures.is_empty() {
            put(format!("\n{}:\n", trial.contender.title()));
            for failure in failures.iter().take(if trial.contender == Contender::Paralog { 100 } else { 12 })
            {
                put(format!("- {failure}"));
            }
        }
    }
    text
}

const TWO: &str = "two faults at once";

/// The longest of one kind.
#[derive(Default)]
struct Stall {
    times: usize,
    young: Longest,
    /// Of lanes whose records are older than brokers remember a producer.
    aged: Longest,
    late: usize,
}

#[derive(Default)]
struct Longest {
    moved_ms: u64,
    never: bool,
    idle_ms: u64,
}

impl Longest {
    fn add(&mut self, recovery: Recovery, watched_ms: u64) {
        self.moved_ms = self.moved_ms.max(recovery.moved_ms.unwrap_or(watched_ms));
        self.idle_ms = self.idle_ms.max(recovery.idle_ms);
        self.never |= recovery.moved_ms.is_none();
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.never { ">" } else { "" };
        write!(f, "{more}{:.1} ({:.1})", self.moved_ms as f64 / 1e3, self.idle_ms as f64 / 1e3)
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×: {}; aged {}", self.times, self.young, self.aged)?;
        if self.late > 0 {
            write!(f, "; **{} late**", self.late)?;
        }
        Ok(())
    }
}

fn stalls(trial: &Trial) -> BTreeMap<String, Stall> {
    let mut stalls: BTreeMap<String, Stall> = BTreeMap::new();
    for episode in &trial.episodes {
        let name = match episode.step.also {
            Some(_) => TWO.to_owned(),
            None => episode.step.fault.kind().title(),
        };
        let stall = stalls.entry(name).or_default();
        stall.times += 1;
        stall.late += late(trial, episode);
        for (lane, recovery) in trial.lanes.iter().zip(&episode.lanes) {
            let longest = if lane.topic.is_aged() { &mut stall.aged } else { &mut stall.young };
            if let Some(recovery) = recovery {
                longest.add(*recovery, episode.watched_ms);
            }
        }
    }
    stalls
}

fn name(episode: &Episode) -> String {
    match &episode.step.also {
        Some((_, also)) => format!("{} with {also}", episode.step.fault),
        None => episode.step.fault.to_string(),
    }
}

fn faults(episode: &Episode) -> usize {
    1 + usize::from(episode.step.also.is_some())
}

fn late_in_all(trial: &Trial) -> usize {
    trial.episodes.iter().map(|episode| late(trial, episode)).sum()
}

fn late(trial: &Trial, episode: &Episode) -> usize {
    let lanes = trial.lanes.iter().zip(&episode.lanes);
    let is_late = |(lane, recovery): &(&Lane, &Option<Recovery>)| {
        recovery.is_some_and(|recovery| recovery.is_late(episode.watched_ms, lane.topic.allowance_ms()))
    };
    lanes.filter(is_late).count()
}
