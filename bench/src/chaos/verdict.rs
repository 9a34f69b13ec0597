//! What the comparison of both sides means.
//!
//! The source's log at the end is the truth. A partition passes if the copy holds each record of it once, in its
//! order, byte for byte. An unclean election makes that impossible on the topic that allows it, and then
//!
//! * at the source: records that the copy has and the source has lost are allowed;
//! * on either side: the lane may have stopped, if that is its last word; records behind that place may be missing.
//!   One that only waits has lost them.
//!
//! Doubled, reordered, changed and left-out records are never allowed.

use crate::chaos::{agent::Difference, fault::Which};

/// One partition's outcome.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) topic: &'static str,
    /// An unclean election has hit the topic on this side.
    pub(crate) unclean: Option<Which>,
    pub(crate) difference: Difference,
    /// The copier's last word on the partition, if it named it at all.
    pub(crate) said: Option<String>,
}

/// All partitions' outcomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) outcomes: Vec<Outcome>,
}

impl Verdict {
    pub(crate) fn add(
        &mut self,
        topic: &'static str,
        unclean: Option<Which>,
        difference: Difference,
        log: &[String],
    ) {
        let said = last_word(log, topic, difference.partition);
        self.outcomes.push(Outcome { topic, unclean, difference, said });
    }

    /// One number of all partitions together.
    pub(crate) fn sum(&self, number: impl Fn(&Difference) -> u64) -> u64 {
        self.outcomes.iter().map(|outcome| number(&outcome.difference)).sum()
    }
}

impl Outcome {
    /// Lost where that is not allowed.
    pub(crate) fn lost(&self) -> u64 {
        if self.has_stopped() { self.difference.lost - self.difference.tail } else { self.difference.lost }
    }

    /// The lane was allowed to stop, and has said that it did.
    pub(crate) fn has_stopped(&self) -> bool {
        let says_so = self.said.as_deref().is_some_and(says_stopped);
        self.unclean.is_some() && self.difference.tail > 0 && says_so
    }

    /// In the copy only, where that is not allowed.
    pub(crate) fn foreign(&self) -> u64 {
        if self.unclean == Some(Which::Source) { 0 } else { self.difference.foreign }
    }

    /// What is wrong, if anything.
    pub(crate) fn failure(&self) -> Option<String> {
        let numbers = [
            ("lost", self.lost()),
            ("doubled", self.difference.doubled),
            ("out of order", self.difference.reordered),
            ("changed", self.difference.changed),
            ("foreign", self.foreign()),
        ];
        let wrong: Vec<String> = numbers
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(name, number)| format!("{number} {name}"))
            .collect();
        (!wrong.is_empty()).then(|| {
            let Difference { partition, original, copied, examples, .. } = &self.difference;
            let said = self.said.as_deref().unwrap_or("nothing");
            format!(
                "{}-{partition}: {} ({original} records, {copied} copied; {}; the copier said: {said})",
                self.topic,
                wrong.join(", "),
                examples.join(" ")
            )
        })
    }
}

/// Whether a copier's word on a lane is that it has stopped.
pub(crate) fn says_stopped(word: &str) -> bool {
    word.contains("stopped")
}

/// The last warning or error about a partition, unless it has gone on since.
pub(crate) fn last_word(log: &[String], topic: &str, partition: u32) -> Option<String> {
    let name = format!("{topic}-{partition}");
    let about = |line: &&String| {
        line.match_indices(&name)
            .any(|(at, _)| !line[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let goes_on = |line: &str| line.contains("goes on");
    let grave = |line: &str| line.contains("WARN") || line.contains("ERROR");
    let last = log.iter().rev().filter(about).find(|line| grave(line) || goes_on(line))?;
    (!goes_on(last)).then(|| last.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(unclean: Option<Which>, said: Option<&str>, difference: Difference) -> Outcome {
        Outcome { topic: "t", unclean, difference, said: said.map(str::to_owned) }
    }

    #[test]
    fn a_lane_may_stop_for_an_unclean_election_if_it_says_so() {
        let tail = Difference { original: 10, copied: 7, lost: 3, tail: 3, ..Difference::default() };
        let stopped = outcome(Some(Which::Destination), Some("WARN lane stopped"), tail.clone());
        assert_eq!(stopped.failure(), None);
        assert!(outcome(Some(Which::Destination), Some("WARN lane waits"), tail.clone()).failure().is_some());
        assert!(outcome(Some(Which::Destination), None, tail.clone()).failure().is_some());
        assert!(outcome(None, Some("WARN lane stopped"), tail.clone()).failure().is_some());
        let hole = Difference { tail: 2, ..tail };
        assert_eq!(outcome(Some(Which::Destination), Some("WARN lane stopped"), hole).lost(), 1);
    }

    #[test]
    fn what_the_source_has_lost_may_be_in_the_copy_but_nothing_may_be_there_twice() {
        let foreign = Difference { foreign: 5, ..Difference::default() };
        assert_eq!(outcome(Some(Which::Source), None, foreign.clone()).failure(), None);
        assert!(outcome(Some(Which::Destination), None, foreign.clone()).failure().is_some());
        let doubled = Difference { doubled: 1, ..foreign };
        assert!(outcome(Some(Which::Source), None, doubled).failure().is_some());
    }

    #[test]
    fn the_last_word_is_of_the_very_partition() {
        let log = ["WARN t-1: first", "INFO t-1: fine", "WARN t-11: other"].map(str::to_owned);
        assert_eq!(last_word(&log, "t", 1).as_deref(), Some("WARN t-1: first"));
        assert_eq!(last_word(&log, "t", 2), None);
        let log = ["WARN lane waits source=t-1 reason=x", "INFO lane goes on source=t-1"].map(str::to_owned);
        assert_eq!(last_word(&log, "t", 1), None);
    }
}
