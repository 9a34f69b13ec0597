//! One partition copied over a long way: to or from a cluster that a wire puts this far away.

use super::{
    Options, keep,
    pair::{Filled, Job, Race, Way, ended, seconds_between, settle},
};
use crate::{
    contender::Contender,
    record::{Kind, Line, Record},
    shape::Shape,
    snapshot::Numbers,
};
use std::time::{Duration, Instant};

/// At this distance the destination is far as well, and MirrorMaker 2 takes part: ms of round trip.
const COMPARED_MS: u32 = 100;

/// How often the copy's growth is looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Race {
    /// Paralog over all distances, and tuned MirrorMaker 2 over one of them.
    pub(super) fn distance(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        let distances: Vec<u32> = options.distances.iter().copied().filter(|ms| *ms > 0).collect();
        let runs = runs(&distances, &options.contenders);
        if runs.is_empty() {
            return Ok(());
        }
        let shape: Shape = "1KiB/none/16KiB".parse().expect("it is well formed");
        let filled = self.filled(&shape, options.distance_records, 1)?;
        self.copy(Contender::Paralog, &filled)?; // warms the brokers up
        let within = Duration::from_secs(options.distance_patience);
        for (kind, round_trip_ms, contender) in runs {
            let Some(numbers) = self.far(kind, round_trip_ms, contender, &filled, within)? else {
                println!("{kind:?}, {round_trip_ms} ms: {contender} has copied nothing");
                continue;
            };
            println!("{kind:?}, {round_trip_ms} ms: {contender}: {numbers:?}");
            record.lines.push(Line { kind, shape: shape.clone(), contender, round: 1, numbers });
            keep(record, &options.out)?;
        }
        self.empty(&filled)
    }

    /// One copy over one distance, half of the round trip each way, ended after `within` however far it is; None if nothing
    /// was copied until then.
    fn far(
        &mut self,
        kind: Kind,
        round_trip_ms: u32,
        contender: Contender,
        filled: &Filled,
        within: Duration,
    ) -> anyhow::Result<Option<Numbers>> {
        let (way, wire) = match kind {
            Kind::DestinationFar => (Way::DestinationWired, self.destination.wire.clone()),
            _ => (Way::SourceWired, self.source.wire.clone()),
        };
        let copier = self.copier(&Job::drain(contender, filled, way))?;
        let copied = copier.task().destination_topic();
        settle();
        wire.delay(Duration::from_millis(u64::from(round_trip_ms)) / 2);
        let before = self.snapshot();
        let mut process = copier.start()?;
        let started_ms = process.started_ms();
        let deadline = Instant::now() + within;
        let first_ms = self.wait_within(&mut process, &copier, &copied, 1, within)?;
        let Some(first_ms) = first_ms else {
            process.kill()?;
            wire.delay(Duration::ZERO);
            self.tidy_up()?;
            return Ok(None);
        };
        let cpu_first = process.cpu();
        let mut seen = vec![(seconds_between(started_ms, first_ms), 1)];
        let mut held = 1;
        while held < filled.records && Instant::now() < deadline {
            let (destination, one_look) = (&self.destination.bootstrap, (Duration::ZERO, LOOK));
            let at_ms;
            (held, at_ms) =
                self.session.wait_until_still(destination, &copied, false, filled.records, one_look)?;
            seen.push((seconds_between(started_ms, at_ms), held));
        }
        let after = self.snapshot();
        let complete = held >= filled.records;
        let usage = if complete { ended(process, &copier)? } else { process.kill()? };
        wire.delay(Duration::ZERO);

        let share = held as f64 / filled.records as f64;
        let mut numbers = before.numbers(&after, usage);
        let mut set = |name: &str, value: f64| numbers.insert(name.to_owned(), value);
        set("round_trip_ms", f64::from(round_trip_ms));
        set("copied_share", share);
        set("records", held as f64);
        set("bytes", filled.bytes as f64 * share);
        set("cpu_first_s", cpu_first.as_secs_f64());
        set("first_s", seen[0].0);
        set("half_s", half_s(&seen));
        set("copy_s", seen.last().map_or(f64::NAN, |(at_s, _)| *at_s));
        if complete {
            set("verified", self.verified(contender, filled, &copied)?);
        }
        self.tidy_up()?;
        Ok(Some(numbers))
    }
}

/// When half of what was there at the end was there, evenly spread between two looks; looks are seconds and records.
fn half_s(seen: &[(f64, u64)]) -> f64 {
    let half = seen.last().map_or(0.0, |(_, records)| *records as f64) / 2.0;
    let Some(after) = seen.iter().position(|(_, records)| *records as f64 >= half) else { return f64::NAN };
    let (to_s, to) = (seen[after].0, seen[after].1 as f64);
    let Some((from_s, from)) = after.checked_sub(1).map(|before| (seen[before].0, seen[before].1 as f64))
    else {
        return to_s;
    };
    from_s + (to_s - from_s) * (half - from) / (to - from)
}

/// What is run, in order. The destination is far away at one distance only: a copier's usual place is near it.
fn runs(distances: &[u32], contenders: &[Contender]) -> Vec<(Kind, u32, Contender)> {
    let mut runs = Vec::new();
    for &distance in distances {
        for kind in [Kind::SourceFar, Kind::DestinationFar] {
            let compared = distance == COMPARED_MS;
            if kind == Kind::DestinationFar && !compared {
                continue;
            }
            for contender in [Contender::Paralog, Contender::MirrorTuned] {
                if contenders.contains(&contender) && (compared || contender == Contender::Paralog) {
                    runs.push((kind, distance, contender));
                }
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_lies_between_two_looks() {
        assert_eq!(half_s(&[(1.0, 1), (2.0, 20), (3.0, 60), (5.0, 80)]), 2.5);
        assert_eq!(half_s(&[(1.0, 40), (2.0, 80)]), 1.0);
        assert_eq!(half_s(&[(1.0, 1)]), 1.0);
        assert!(half_s(&[]).is_nan());
    }

    #[test]
    fn both_clusters_are_far_at_one_distance_and_mirror_maker_takes_part_where_it_is_named() {
        let (paralog, tuned) = (Contender::Paralog, Contender::MirrorTuned);
        assert_eq!(
            runs(&[20, 100], &[Contender::Relay, paralog, tuned]),
            [
                (Kind::SourceFar, 20, paralog),
                (Kind::SourceFar, 100, paralog),
                (Kind::SourceFar, 100, tuned),
                (Kind::DestinationFar, 100, paralog),
                (Kind::DestinationFar, 100, tuned),
            ]
        );
        assert_eq!(runs(&[200], &[paralog, tuned]), [(Kind::SourceFar, 200, paralog)]);
        assert!(runs(&[], &[paralog]).is_empty());
    }
}
