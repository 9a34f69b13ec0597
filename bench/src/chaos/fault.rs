//! What goes wrong, and when: drawn from a seed, so that a second copier meets the same.
//!
//! Kinds come from a shuffled bag, each once until the bag is empty: a run long enough meets all of them, and
//! none of them often by luck.

use std::{fmt, time::Duration};

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Source,
    Destination,
}

impl Which {
    pub(crate) const BOTH: [Which; 2] = [Which::Source, Which::Destination];
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::Source => "source",
            Which::Destination => "destination",
        })
    }
}

/// Who goes on after two copiers ran at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survivor {
    /// The second is killed.
    First,
    /// The first is killed, the second goes on alone for as long again, and the first starts anew where *it* was.
    Second,
}

/// One thing that goes wrong. It is over when what was stopped runs again, or what was cut passes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CopierKilled {
        down: Duration,
    },
    CopierStopped {
        down: Duration,
    },
    CopierPaused {
        lasts: Duration,
    },
    TwoCopiers {
        lasts: Duration,
        survivor: Survivor,
    },
    BrokerKilled {
        side: Which,
        broker: usize,
        down: Duration,
    },
    BrokerRestarted {
        side: Which,
        broker: usize,
    },
    BrokerPaused {
        side: Which,
        broker: usize,
        lasts: Duration,
    },
    LeadersMoved {
        side: Which,
        shift: usize,
    },
    Cut {
        side: Which,
        broker: Option<usize>,
        lasts: Duration,
    },
    Delayed {
        side: Which,
        by: Duration,
        lasts: Duration,
    },
    /// What was held passes at the end, or is lost with its connections.
    Silent {
        side: Which,
        broker: Option<usize>,
        lasts: Duration,
        then_cut: bool,
    },
    AnswersLost {
        side: Which,
        lasts: Duration,
    },
    UncleanElection {
        side: Which,
    },
}

/// The kinds, as `--faults` and the report have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    CopierKilled,
    CopierStopped,
    CopierPaused,
    TwoCopiers,
    BrokerKilled(Which),
    BrokerRestarted(Which),
    BrokerPaused(Which),
    LeadersMoved(Which),
    Cut(Which),
    Delayed(Which),
    Silent(Which),
    AnswersLost(Which),
    UncleanElection(Which),
}

impl Kind {
    /// All of them, in the order of the report.
    pub(crate) fn all() -> Vec<Kind> {
        let mut kinds = vec![Kind::CopierKilled, Kind::CopierStopped, Kind::CopierPaused, Kind::TwoCopiers];
        for side in [
            Kind::BrokerKilled,
            Kind::BrokerRestarted,
            Kind::BrokerPaused,
            Kind::LeadersMoved,
            Kind::Cut,
            Kind::Delayed,
            Kind::Silent,
            Kind::AnswersLost,
            Kind::UncleanElection,
        ] {
            kinds.extend(Which::BOTH.map(side));
        }
        kinds
    }

    /// As options have it.
    pub(crate) fn word(self) -> String {
        let (what, side) = match self {
            Kind::CopierKilled => return "copier-killed".to_owned(),
            Kind::CopierStopped => return "copier-stopped".to_owned(),
            Kind::CopierPaused => return "copier-paused".to_owned(),
            Kind::TwoCopiers => return "two-copiers".to_owned(),
            Kind::BrokerKilled(side) => ("broker-killed", side),
            Kind::BrokerRestarted(side) => ("broker-restarted", side),
            Kind::BrokerPaused(side) => ("broker-paused", side),
            Kind::LeadersMoved(side) => ("leaders-moved", side),
            Kind::Cut(side) => ("cut", side),
            Kind::Delayed(side) => ("delayed", side),
            Kind::Silent(side) => ("silent", side),
            Kind::AnswersLost(side) => ("answers-lost", side),
            Kind::UncleanElection(side) => ("unclean-election", side),
        };
        format!("{side}-{what}")
    }

    /// As the report has it.
    pub(crate) fn title(self) -> String {
        match self {
            Kind::CopierKilled => "copier killed (-9), started again".to_owned(),
            Kind::CopierStopped => "copier stopped (SIGTERM), started again".to_owned(),
            Kind::CopierPaused => "copier paused (SIGSTOP), 2–40 s".to_owned(),
            Kind::TwoCopiers => "a second copier with the same configuration".to_owned(),
            Kind::BrokerKilled(side) => format!("{side} broker killed (-9), back after 1–15 s"),
            Kind::BrokerRestarted(side) => format!("{side} broker stopped and started"),
            Kind::BrokerPaused(side) => format!("{side} broker paused (SIGSTOP), 2–20 s"),
            Kind::LeadersMoved(side) => format!("{side} leaders moved, all at once"),
            Kind::Cut(side) => format!("connections to the {side} cut, and refused for 0–10 s"),
            Kind::Delayed(side) => format!("{side} answers 50–1500 ms late, each way"),
            Kind::Silent(side) => {
                format!("connections to the {side} silent for 2–40 s, then cut or going on")
            }
            Kind::AnswersLost(side) => format!("{side} hears, its answers are lost for 1–5 s, then cut"),
            Kind::UncleanElection(side) => format!("{side}: unclean election"),
        }
    }

    /// What two faults at once must not share.
    fn resource(self) -> (bool, Option<Which>, bool) {
        match self {
            Kind::CopierKilled | Kind::CopierStopped | Kind::CopierPaused | Kind::TwoCopiers => {
                (true, None, false)
            }
            Kind::Cut(side) | Kind::Delayed(side) | Kind::Silent(side) | Kind::AnswersLost(side) => {
                (false, Some(side), true)
            }
            Kind::BrokerKilled(side)
            | Kind::BrokerRestarted(side)
            | Kind::BrokerPaused(side)
            | Kind::LeadersMoved(side)
            | Kind::UncleanElection(side) => (false, Some(side), false),
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Kind> {
        let known = || Kind::all().into_iter().map(Kind::word).collect::<Vec<_>>().join(", ");
        Kind::all()
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| anyhow::anyhow!("faults are {}, not {text}", known()))
    }
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match *self {
            Fault::CopierKilled { .. } => Kind::CopierKilled,
            Fault::CopierStopped { .. } => Kind::CopierStopped,
            Fault::CopierPaused { .. } => Kind::CopierPaused,
            Fault::TwoCopiers { .. } => Kind::TwoCopiers,
            Fault::BrokerKilled { side, .. } => Kind::BrokerKilled(side),
            Fault::BrokerRestarted { side, .. } => Kind::BrokerRestarted(side),
            Fault::BrokerPaused { side, .. } => Kind::BrokerPaused(side),
            Fault::LeadersMoved { side, .. } => Kind::LeadersMoved(side),
            Fault::Cut { side, .. } => Kind::Cut(side),
            Fault::Delayed { side, .. } => Kind::Delayed(side),
            Fault::Silent { side, .. } => Kind::Silent(side),
            Fault::AnswersLost { side, .. } => Kind::AnswersLost(side),
            Fault::UncleanElection { side } => Kind::UncleanElection(side),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind().word())?;
        let one = |f: &mut fmt::Formatter<'_>, broker: &Option<usize>| match broker {
            Some(broker) => write!(f, " broker {broker}"),
            None => f.write_str(" all brokers"),
        };
        match self {
            Fault::CopierKilled { down } | Fault::CopierStopped { down } => write!(f, " down {down:.1?}"),
            Fault::CopierPaused { lasts } | Fault::AnswersLost { lasts, .. } => write!(f, " for {lasts:.1?}"),
            Fault::TwoCopiers { lasts, survivor } => write!(f, " for {lasts:.1?}, survivor {survivor:?}"),
            Fault::BrokerKilled { broker, down, .. } => write!(f, " broker {broker} down {down:.1?}"),
            Fault::BrokerRestarted { broker, .. } => write!(f, " broker {broker}"),
            Fault::BrokerPaused { broker, lasts, .. } => write!(f, " broker {broker} for {lasts:.1?}"),
            Fault::LeadersMoved { shift, .. } => write!(f, " by {shift}"),
            Fault::Cut { broker, lasts, .. } => {
                one(f, broker)?;
                write!(f, " for {lasts:.1?}")
            }
            Fault::Silent { broker, lasts, then_cut, .. } => {
                one(f, broker)?;
                write!(f, " for {lasts:.1?}, then {}", if *then_cut { "cut" } else { "going on" })
            }
            Fault::Delayed { by, lasts, .. } => write!(f, " by {by:.1?} for {lasts:.1?}"),
            Fault::UncleanElection { .. } => Ok(()),
        }
    }
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Nothing goes wrong for so long before.
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    /// A second one that begins so much later, whether or not the first is over.
    pub(crate) also: Option<(Duration, Fault)>,
}

/// The endless sequence of a seed.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: Random,
    kinds: Vec<Kind>,
    bag: Vec<Kind>,
}

impl Schedule {
    /// Of these kinds only.
    pub(crate) fn new(seed: u64, kinds: Vec<Kind>) -> Schedule {
        assert!(!kinds.is_empty(), "something must go wrong");
        Schedule { random: Random(seed), kinds, bag: Vec::new() }
    }

    fn draw(&mut self, fits: impl Fn(Kind) -> bool) -> Option<Kind> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
            for at in (1..self.bag.len()).rev() {
                let other = self.random.below(at as u64 + 1) as usize;
                self.bag.swap(at, other);
            }
        }
        let at = self.bag.iter().rposition(|&kind| fits(kind))?;
        Some(self.bag.remove(at))
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        let random = &mut self.random;
        let broker = random.below(3) as usize;
        match kind {
            Kind::CopierKilled => Fault::CopierKilled { down: random.span(50, 5_000) },
            Kind::CopierStopped => Fault::CopierStopped { down: random.span(50, 5_000) },
            Kind::CopierPaused => Fault::CopierPaused { lasts: random.span(2_000, 40_000) },
            Kind::TwoCopiers => {
                let survivor = if random.below(2) == 0 { Survivor::First } else { Survivor::Second };
                Fault::TwoCopiers { lasts: random.span(3_000, 15_000), survivor }
            }
            Kind::BrokerKilled(side) => {
                Fault::BrokerKilled { side, broker, down: random.span(1_000, 15_000) }
            }
            Kind::BrokerRestarted(side) => Fault::BrokerRestarted { side, broker },
            Kind::BrokerPaused(side) => {
                Fault::BrokerPaused { side, broker, lasts: random.span(2_000, 20_000) }
            }
            Kind::LeadersMoved(side) => Fault::LeadersMoved { side, shift: 1 + random.below(2) as usize },
            Kind::Cut(side) => {
                let lasts = random.span(10, 10_000);
                Fault::Cut { side, broker: random.one_or_all(broker), lasts }
            }
            Kind::Delayed(side) => {
                Fault::Delayed { side, by: random.span(50, 1_500), lasts: random.span(3_000, 15_000) }
            }
            Kind::Silent(side) => {
                let lasts = random.span(2_000, 40_000);
                let then_cut = random.below(2) == 0;
                Fault::Silent { side, broker: random.one_or_all(broker), lasts, then_cut }
            }
            Kind::AnswersLost(side) => Fault::AnswersLost { side, lasts: random.span(1_000, 5_000) },
            Kind::UncleanElection(side) => Fault::UncleanElection { side },
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let kind = self.draw(|_| true)?;
        let fault = self.fault(kind);
        let pause = self.random.span(500, 4_000);
        let unclean = |kind| matches!(kind, Kind::UncleanElection(_));
        // An unclean election needs its cluster to itself, and a lane that stops for it must stop for nothing else.
        let overlaps = self.random.below(4) == 0 && !unclean(kind);
        let other = if overlaps && !self.bag.is_empty() {
            self.draw(|other| !unclean(other) && other.resource() != kind.resource())
        } else {
            None
        };
        let also = other.map(|other| (self.random.span(100, 3_000), self.fault(other)));
        Some(Step { pause, fault, also })
    }
}

/// `SplitMix64`: small, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound // the bounds are tiny, the bias too
    }

    /// Between two numbers of milliseconds; each doubling is equally likely, so that most are short.
    fn span(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        let (from, to) = (from_ms as f64, to_ms as f64);
        Duration::from_millis((from * (to / from).powf(share)) as u64)
    }

    fn one_or_all(&mut self, broker: usize) -> Option<usize> {
        (self.below(2) == 0).then_some(broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults_and_a_bag_holds_each_kind_once() {
        let steps = |seed| Schedule::new(seed, Kind::all()).take(200).collect::<Vec<_>>();
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
        let mut kinds: Vec<Kind> = steps(7)
            .iter()
            .flat_map(|step| std::iter::once(&step.fault).chain(step.also.iter().map(|(_, fault)| fault)))
            .map(Fault::kind)
            .take(Kind::all().len())
            .collect();
        kinds.sort();
        let mut all = Kind::all();
        all.sort();
        assert_eq!(kinds, all);
    }

    #[test]
    fn two_faults_at_once_never_hit_the_same_thing() {
        for seed in 0..200 {
            for step in Schedule::new(seed, Kind::all()).take(50) {
                if let Some((_, also)) = step.also {
                    assert_ne!(also.kind().resource(), step.fault.kind().resource());
                    assert!(!matches!(also.kind(), Kind::UncleanElection(_)));
                }
            }
        }
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::all() {
            assert_eq!(kind.word().parse::<Kind>().unwrap(), kind);
        }
        assert!("source-flood".parse::<Kind>().is_err());
    }
}
