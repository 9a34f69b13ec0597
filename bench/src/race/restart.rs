//! A copier killed when half is copied, and started again when what it had sent has arrived: how soon it goes on, what came
//! twice, what is lost.

use super::{
    Options, keep,
    pair::{Filled, Job, Race, Way, ended, seconds_between, settle},
};
use crate::{
    contender::Contender,
    process::Usage,
    record::{Kind, Line, Record},
    shape::{PARTITIONS, Shape},
    snapshot::{Numbers, Snapshot},
};
use anyhow::Context;
use real_kafka::Tally;
use std::time::{Duration, Instant};

/// A copy that has not grown for so long is over.
const STILL: Duration = Duration::from_secs(2);

/// What a killed copier had sent has arrived when nothing has for so long.
const LANDED: Duration = Duration::from_millis(300);

/// One that lacks records then may go on after this: a transaction's markers are counted as records until it is read.
const STILL_THOUGH_INCOMPLETE: Duration = Duration::from_secs(20);

/// A copy that grows no more.
pub(super) struct Complete {
    /// When it last grew, in ms since 1970.
    pub(super) grew_ms: i64,
    /// Soon after.
    pub(super) then: Snapshot,
    tally: Tally,
}

impl Race {
    /// Everyone who goes on after a kill, one after the other.
    pub(super) fn restarts(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        let restarted =
            |contender: &&Contender| !matches!(contender, Contender::Relay | Contender::ParalogTls);
        let contenders: Vec<Contender> = options.contenders.iter().filter(restarted).copied().collect();
        if contenders.is_empty() || !options.restart {
            return Ok(());
        }
        let shape: Shape = "1KiB/none/16KiB".parse().expect("it is well formed");
        let filled = self.filled(&shape, options.records, PARTITIONS)?;
        self.copy(Contender::Paralog, &filled)?; // warms the brokers up
        for contender in contenders {
            let Some(numbers) = self.restart(contender, &filled)? else {
                println!("restart: {contender} was done before it could be killed: take more --records");
                continue;
            };
            println!("restart: {contender}: {numbers:?}");
            record.lines.push(Line {
                kind: Kind::Restart,
                shape: shape.clone(),
                contender,
                round: 1,
                numbers,
            });
            keep(record, &options.out)?;
        }
        self.empty(&filled)
    }

    /// One copy in two lives; None if there was no second one.
    fn restart(&mut self, contender: Contender, filled: &Filled) -> anyhow::Result<Option<Numbers>> {
        let committed = contender.commits();
        let copier = self.copier(&Job::drain(contender, filled, Way::Direct))?;
        let copied = copier.task().destination_topic();
        let destination = self.destination.bootstrap.clone();
        settle();
        let before = self.snapshot();
        let mut first = copier.start()?;
        let started_ms = first.started_ms();
        self.wait_for(&mut first, &copier, &copied, filled.records / 2)?;
        if first.ended()?.is_some() {
            self.tidy_up()?;
            return Ok(None);
        }
        let first_life = first.kill()?;
        // What it had sent is not what the second life copies.
        let landed = (LANDED, self.patience);
        self.session.wait_until_still(&destination, &copied, false, 0, landed)?;

        let mut second = copier.start()?;
        let again_ms = second.started_ms();
        let resumed_ms = self.session.wait_for_next(&destination, &copied, committed, self.patience)?;
        let resumed_ms =
            resumed_ms.with_context(|| format!("{contender} did not go on\n{}", copier.tail()))?;
        let Complete { grew_ms, then, tally } = self.until_complete(&copied, committed, filled)?;
        let second_life = if tally.distinct < filled.records || second.ended()?.is_some() {
            second.kill()?
        } else {
            ended(second, &copier)?
        };
        let usage = Usage {
            cpu: first_life.cpu + second_life.cpu,
            peak_bytes: first_life.peak_bytes.max(second_life.peak_bytes),
            success: second_life.success,
        };
        let mut numbers = before.numbers(&then, usage);
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("bytes", filled.bytes as f64);
        set("records", filled.records as f64);
        set("resume_s", seconds_between(again_ms, resumed_ms));
        set("copy_s", seconds_between(started_ms, grew_ms));
        set("duplicates", tally.records.saturating_sub(tally.distinct) as f64);
        set("lost", filled.records.saturating_sub(tally.distinct) as f64);
        self.tidy_up()?;
        Ok(Some(numbers))
    }

    /// Waits until a copy is complete, or does not grow any more.
    pub(super) fn until_complete(
        &mut self,
        copied: &str,
        committed: bool,
        filled: &Filled,
    ) -> anyhow::Result<Complete> {
        let deadline = Instant::now() + self.patience;
        let destination = self.destination.bootstrap.clone();
        let mut count = filled.records;
        let mut still = STILL;
        loop {
            let within = deadline.saturating_duration_since(Instant::now());
            let (held, grew_ms) =
                self.session.wait_until_still(&destination, copied, committed, count, (still, within))?;
            let then = self.snapshot(); // what reading it takes is not the copy's
            let tally = self.session.tally(&destination, copied, committed)?;
            let has_stopped = still > STILL && held <= count;
            if tally.distinct >= filled.records || has_stopped || within.is_zero() {
                return Ok(Complete { grew_ms, then, tally });
            }
            (count, still) = (held, STILL_THOUGH_INCOMPLETE);
        }
    }
}
