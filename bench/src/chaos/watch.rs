//! Looks at every lane from the brokers' side, ten times a second.
//!
//! A thread a broker asks it for the ends of all partitions and keeps its latest word; one more thread puts the
//! freshest words of the highest leader epoch together, a sample a lane. Brokers that are dead or paused stop only
//! their own thread. A leader counts once every broker that answers names it: clients are told by those.

use crate::chaos::{
    ask::{Connection, View},
    fault::Which,
    lanes::{CopyEnd, Sample},
};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_millis(100);

/// How long a broker may take to answer; a paused one does not.
const PATIENCE: Duration = Duration::from_millis(700);

/// A word older than this says nothing of now.
const FRESH: Duration = Duration::from_millis(300);

/// The same of whom a broker names as leader, which is asked for half as often.
const NAMED_LATELY: Duration = Duration::from_millis(500);

/// What metadata says where there is no leader.
const NOBODY: i32 = -1;

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// Each topic and its partitions at the source, in order; lanes count through them.
    pub(crate) source: Vec<(String, u32)>,
    /// The same at the destination, by the copy's name.
    pub(crate) destination: Vec<(String, u32)>,
    /// The brokers' ports.
    pub(crate) source_ports: Vec<u16>,
    pub(crate) destination_ports: Vec<u16>,
}

/// A broker's word about a lane that it leads.
#[derive(Clone, Copy, Debug)]
struct Word {
    at: Instant,
    epoch: i32,
    mark: i64,
    log_end: i64,
    appends: bool,
}

/// Whom a broker named as a lane's leader, and when.
type Named = Option<(Instant, i32)>;

#[derive(Debug)]
struct Shared {
    ended: AtomicBool,
    /// By side, lane and broker.
    named: Mutex<[Vec<Vec<Named>>; 2]>,
    /// By side, lane and broker.
    words: Mutex<[Vec<Vec<Option<Word>>>; 2]>,
    /// By lane.
    samples: Mutex<Vec<Vec<Sample>>>,
}

/// The watch; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    began: Instant,
}

impl Watch {
    pub(crate) fn begin(watched: &Watched) -> Watch {
        let lanes: usize = watched.source.iter().map(|(_, partitions)| *partitions as usize).sum();
        let no_word = |ports: &[u16]| vec![vec![None; ports.len()]; lanes];
        let nobody = |ports: &[u16]| vec![vec![None; ports.len()]; lanes];
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            named: Mutex::new([nobody(&watched.source_ports), nobody(&watched.destination_ports)]),
            words: Mutex::new([no_word(&watched.source_ports), no_word(&watched.destination_ports)]),
            samples: Mutex::new(vec![Vec::new(); lanes]),
        });
        let began = Instant::now();
        for side in Which::BOTH {
            let (topics, ports) = match side {
                Which::Source => (&watched.source, &watched.source_ports),
                Which::Destination => (&watched.destination, &watched.destination_ports),
            };
            for (broker, &port) in ports.iter().enumerate() {
                let (shared, topics) = (Arc::clone(&shared), topics.clone());
                thread::spawn(move || listen(&shared, side, broker, port, &topics));
            }
        }
        let sampling = Arc::clone(&shared);
        thread::spawn(move || {
            while !sampling.ended.load(Ordering::Acquire) {
                thread::sleep(PERIOD);
                sampling.sample(began.elapsed());
            }
        });
        Watch { shared, began }
    }

    /// Now, as samples count time.
    pub(crate) fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// The samples of all lanes since a time and a little before.
    pub(crate) fn samples_since(&self, at_ms: u64) -> Vec<Vec<Sample>> {
        let samples = lock(&self.shared.samples);
        let since = |lane: &Vec<Sample>| {
            let from = lane.partition_point(|sample| sample.at_ms < at_ms);
            // Far enough back to have heard of the ends before, even if a broker was silent.
            let known = lane[..from].iter().rposition(|sample| sample.copy.is_some()).unwrap_or(0);
            lane[known..].to_vec()
        };
        samples.iter().map(since).collect()
    }

    /// The latest known ends of each lane: the source's high watermark, the copy's, and when both were heard.
    pub(crate) fn ends(&self) -> Vec<Option<(i64, i64)>> {
        let samples = lock(&self.shared.samples);
        let ends = |lane: &Vec<Sample>| {
            let last = lane.last()?;
            Some((last.source_end?, last.copy?.high_watermark))
        };
        samples.iter().map(ends).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(shared: &Shared, side: Which, broker: usize, port: u16, topics: &[(String, u32)]) {
    let mut connection = None;
    let mut names_too = false;
    while !shared.ended.load(Ordering::Acquire) {
        let asked = Instant::now();
        names_too = !names_too;
        if hear(shared, side, broker, &mut connection, port, topics, names_too).is_err() {
            connection = None;
        }
        thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
    }
}

fn hear(
    shared: &Shared,
    side: Which,
    broker: usize,
    connection: &mut Option<Connection>,
    port: u16,
    topics: &[(String, u32)],
    names_too: bool,
) -> io::Result<()> {
    if connection.is_none() {
        *connection = Some(Connection::open(port, PATIENCE)?);
    }
    let Some(connection) = connection else { return Ok(()) };
    let marks = connection.ends(topics, View::Consumer)?;
    // The copy's log end is asked for after its mark, so that it is never behind it.
    let (log_ends, appends) = match side {
        Which::Source => (None, None),
        Which::Destination => {
            (Some(connection.ends(topics, View::Log)?), Some(connection.try_append(topics)?))
        }
    };
    let placements = if names_too { Some(connection.placements(topics)?) } else { None };
    let at = Instant::now();
    let lanes =
        topics.iter().flat_map(|(topic, partitions)| (0..*partitions).map(move |p| (topic.clone(), p)));
    let mut words = lock(&shared.words);
    let mut named = lock(&shared.named);
    for (lane, key) in lanes.enumerate() {
        if let Some(placements) = &placements {
            named[side as usize][lane][broker] =
                Some((at, placements.get(&key).map_or(NOBODY, |placement| placement.leader)));
        }
        let word = marks.get(&key).and_then(|end| end.ok()).map(|(mark, epoch)| {
            let log_end =
                log_ends.as_ref().and_then(|ends| ends.get(&key)?.ok()).map_or(mark, |(end, _)| end);
            let appends = appends.as_ref().is_some_and(|answers| answers.get(&key) == Some(&true));
            Word { at, epoch, mark, log_end: log_end.max(mark), appends }
        });
        words[side as usize][lane][broker] = word;
    }
    Ok(())
}

impl Shared {
    fn sample(&self, elapsed: Duration) {
        let words = lock(&self.words);
        let named = lock(&self.named);
        // And whether every broker that answers names it.
        let leader = |side: Which, lane: usize| -> Option<(Word, bool)> {
            let words = words[side as usize][lane].iter().zip(0..);
            let fresh = words
                .filter_map(|(word, broker)| Some(((*word)?, broker)))
                .filter(|(word, _)| word.at.elapsed() <= FRESH);
            // A leader that does not know yet that it is none has the lower epoch.
            let (word, broker) = fresh.max_by_key(|(word, _)| word.epoch)?;
            let mut named = named[side as usize][lane].iter().flatten();
            Some((word, named.all(|&(at, name)| at.elapsed() > NAMED_LATELY || name == broker)))
        };
        let mut samples = lock(&self.samples);
        for (lane, samples) in samples.iter_mut().enumerate() {
            let source = leader(Which::Source, lane);
            let copy = leader(Which::Destination, lane);
            samples.push(Sample {
                at_ms: elapsed.as_millis() as u64,
                source_end: source.map(|(word, _)| word.mark),
                copy: copy.map(|(word, _)| CopyEnd {
                    epoch: word.epoch,
                    high_watermark: word.mark,
                    log_end: word.log_end,
                }),
                appends: copy.is_some_and(|(word, _)| word.appends),
                named: [source, copy].into_iter().flatten().all(|(_, named)| named),
            });
        }
    }
}
