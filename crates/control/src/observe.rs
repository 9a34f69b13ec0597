//! Asks both clusters what there is, in as few calls as that takes, and nothing that is not due ([`agenda`](crate::agenda)).
//!
//! What costs time with the number of topics is done on a blocking thread: the process has one thread for all
//! else, and that one carries the records.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use client::{ApiKey, CallError, Cluster, ConfigEntry, ErrorCode, Metadata, Refusal, Wanted};
use model::TopicName;
use tokio::time::{Instant, sleep, timeout};
use topology::snapshot::{Snapshot, topic_defaults};
use topology::{Candidates, Intent, defaults_matter};

use crate::agenda::{Defaults, Rhythm};
use crate::known::{Found, Known, Told};

/// Topics in one request for settings: some 30 settings each make about 2 KB an answer, which is read on the
/// thread that carries the records.
const DESCRIBED_AT_ONCE: usize = 200;

/// How often, and how far apart, settings are asked for of a topic that metadata shows and the broker asked
/// does not know yet.
const YOUNG_TOPIC_TRIES: u32 = 10;
const YOUNG_TOPIC_PAUSE: Duration = Duration::from_millis(100);

/// A broker that cannot be reached must not hold up the rest: what it would have told is a gap then.
const BROKER_SETTINGS_WITHIN: Duration = Duration::from_secs(5);

/// The first version of Produce with which zstd may be sent (2.1, KIP-110).
const PRODUCE_WITH_ZSTD: i16 = 7;

/// Both clusters at about one moment. Where nothing has changed, it holds the very values of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) source: Arc<Snapshot>,
    pub(crate) destination: Arc<Snapshot>,
    pub(crate) candidates: Arc<Candidates>,
}

/// Why there is no observation.
#[derive(Clone, Debug)]
pub struct ObserveError {
    /// Why the source could not be observed, if so.
    pub source: Option<Unobserved>,
    /// Why the destination could not be observed, if so.
    pub destination: Option<Unobserved>,
}

/// Why a cluster could not be observed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unobserved {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A broker answered that lists no brokers: it has just started and knows nothing yet.
    #[error("a broker of cluster `{0}` lists no brokers, not even itself")]
    NoBrokers(model::ClusterName),
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = [&self.source, &self.destination].into_iter().flatten().map(chain).collect();
        f.write_str(&told.join("; "))
    }
}

impl Error for ObserveError {}

impl Observation {
    /// Whether it is the very same: nothing has changed, as far as a look can tell that costs nothing.
    pub(crate) fn is(&self, other: &Observation) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && Arc::ptr_eq(&self.destination, &other.destination)
            && Arc::ptr_eq(&self.candidates, &other.candidates)
    }
}

/// An error with all its sources, as a person reads it.
pub(crate) fn chain<E: Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// How much of the clusters is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What the copy needs to know, often.
    Needed,
    /// The names of all topics as well, for somebody who wants to read why they are not copied.
    AllNames,
}

/// Looks at both clusters, again and again, each as far as the intent is about it.
#[derive(Debug)]
pub(crate) struct Observer {
    source: Side,
    destination: Side,
    intent: Arc<Intent>,
    rhythm: Rhythm,
    scope: Scope,
    selected: Option<Selected>,
}

/// A cluster, and what is known of it.
#[derive(Debug)]
struct Side {
    cluster: Cluster,
    known: Known,
}

/// What the selection takes of the source, and the names of the copies.
#[derive(Clone, Debug)]
struct Selected {
    /// The topics it was made of, each with whether the source calls it its own.
    of: Arc<BTreeMap<TopicName, bool>>,
    /// Those that the source does not tell about.
    troubled: Arc<BTreeMap<TopicName, String>>,
    candidates: Arc<Candidates>,
    destinations: Arc<[TopicName]>,
}

impl Observer {
    pub(crate) fn new(
        source: Cluster,
        destination: Cluster,
        intent: Arc<Intent>,
        rhythm: Rhythm,
        scope: Scope,
    ) -> Observer {
        let side = |cluster| Side { cluster, known: Known::default() };
        let (source, destination) = (side(source), side(destination));
        Observer { source, destination, intent, rhythm, scope, selected: None }
    }

    /// Looks at both clusters. `now` is when the turn began that this round is one of: what is asked in a turn is
    /// not due again in it.
    pub(crate) async fn observe(&mut self, now: Instant) -> Result<Observation, ObserveError> {
        let names = self.intent.selection.names();
        let wanted = names.as_deref().map_or(Wanted::All, Wanted::Topics);
        let (found, zstd) =
            tokio::join!(self.source.metadata(wanted, self.scope), reads_zstd(&self.destination.cluster));
        let (found, zstd) = match (found, zstd) {
            (Ok(found), Ok(zstd)) => (found, zstd),
            (found, zstd) => return Err(ObserveError { source: found.err(), destination: zstd.err() }),
        };
        let (originals, due, Selected { candidates, destinations: names, .. }) =
            self.select(found, now).await;

        let Observer { source, destination, rhythm, scope, .. } = self;
        let (rhythm, scope) = (*rhythm, *scope);
        let copies = async {
            let found = destination.metadata(Wanted::Topics(&names), scope).await?;
            let (found, due) = destination.find(found, Arc::clone(&names), rhythm, now).await;
            destination.read_settings(&found.snapshot, due, now).await?;
            Ok::<Found, Unobserved>(found)
        };
        let (told, copies) = tokio::join!(source.read_settings(&originals.snapshot, due, now), copies);
        match (told, copies) {
            (Ok(()), Ok(mut copies)) => {
                copies.snapshot.features.zstd = zstd;
                Ok(self.settle(originals, copies, candidates, now).await)
            }
            (told, copies) => {
                Err(ObserveError { source: told.err().map(Unobserved::from), destination: copies.err() })
            }
        }
    }

    /// Forgets the settings of the destination's `topics`, which a step was about.
    pub(crate) fn forget<'a>(&mut self, topics: impl Iterator<Item = &'a TopicName>) {
        topics.for_each(|topic| self.destination.known.forget(topic));
    }

    /// When settings will have to be asked for again.
    pub(crate) fn next(&self) -> Option<Instant> {
        [&self.source, &self.destination].iter().filter_map(|side| side.known.next(self.rhythm)).min()
    }

    /// What the source has, and the topics whose settings are due. Selecting costs a match for each topic of the
    /// source, and a pattern may be slow.
    async fn select(&mut self, found: Vec<Metadata>, now: Instant) -> (Found, Vec<TopicName>, Selected) {
        let (mut known, last) = (std::mem::take(&mut self.source.known), self.selected.take());
        let (intent, rhythm) = (Arc::clone(&self.intent), self.rhythm);
        let work = move || {
            let found = Found::read(found);
            let selected = last.filter(|last| last.is_of(&found.snapshot)).unwrap_or_else(|| {
                let selected = Selected::new(&found.snapshot, &intent);
                known.keep(|name| selected.candidates.pairs.contains_key(name));
                selected
            });
            let due = known.due(&found.snapshot, selected.candidates.pairs.keys(), rhythm, now);
            (known, selected, found, due)
        };
        let (known, selected, found, due) = blocking(work).await;
        self.source.known = known;
        self.selected = Some(selected.clone());
        (found, due, selected)
    }

    /// Puts together what was found and what is known, and asks for the brokers' defaults where they matter.
    async fn settle(
        &mut self,
        mut originals: Found,
        mut copies: Found,
        candidates: Arc<Candidates>,
        now: Instant,
    ) -> Observation {
        let (mut source, mut destination) =
            (std::mem::take(&mut self.source.known), std::mem::take(&mut self.destination.known));
        let (selected, intent) = (Arc::clone(&candidates), Arc::clone(&self.intent));
        let work = move || {
            source.fill(&mut originals.snapshot);
            destination.fill(&mut copies.snapshot);
            let matter = defaults_matter(&originals.snapshot, &copies.snapshot, &selected, &intent.topics);
            source.settle(originals.snapshot, false);
            (source, destination, copies, matter)
        };
        let (source, mut destination, copies, matter) = blocking(work).await;
        if matter && destination.defaults_due(&copies, self.rhythm, now) {
            destination.defaults_told(read_defaults(&self.destination.cluster, &copies, now).await);
        }
        let work = move || {
            destination.settle(copies.snapshot, matter);
            destination
        };
        self.source.known = source;
        self.destination.known = blocking(work).await;
        Observation {
            source: Arc::clone(self.source.known.snapshot()),
            destination: Arc::clone(self.destination.known.snapshot()),
            candidates,
        }
    }
}

impl Selected {
    fn new(source: &Snapshot, intent: &Intent) -> Selected {
        let candidates = Candidates::of(source, &intent.selection, &intent.naming);
        let of = source.topics.iter().map(|(name, topic)| (name.clone(), topic.internal)).collect();
        Selected {
            of: Arc::new(of),
            troubled: Arc::new(source.troubled.clone()),
            destinations: candidates.destinations().into(),
            candidates: Arc::new(candidates),
        }
    }

    /// Whether it is what the selection takes of `source`, too: nothing but names decides of that.
    fn is_of(&self, source: &Snapshot) -> bool {
        let topics = source.topics.iter().map(|(name, topic)| (name, &topic.internal));
        self.of.iter().eq(topics) && *self.troubled == source.troubled
    }
}

impl Side {
    /// The topics `wanted`; whatever `scope`, why one of these is not told about is known.
    async fn metadata(&self, wanted: Wanted<'_>, scope: Scope) -> Result<Vec<Metadata>, Unobserved> {
        let mut found = vec![metadata(&self.cluster, wanted).await?];
        if scope == Scope::AllNames && matches!(wanted, Wanted::Topics(_)) {
            // A cluster leaves out of all topics those that it would not tell about.
            found.push(metadata(&self.cluster, Wanted::All).await?);
        }
        Ok(found)
    }

    /// What `metadata` shows, and those of `names` whose settings are due.
    async fn find(
        &mut self,
        metadata: Vec<Metadata>,
        names: Arc<[TopicName]>,
        rhythm: Rhythm,
        now: Instant,
    ) -> (Found, Vec<TopicName>) {
        let known = std::mem::take(&mut self.known);
        let work = move || {
            let found = Found::read(metadata);
            let due = known.due(&found.snapshot, names.iter(), rhythm, now);
            (known, found, due)
        };
        let (known, found, due) = blocking(work).await;
        self.known = known;
        (found, due)
    }

    /// Asks for the settings of `topics`, which are in `found`.
    async fn read_settings(
        &mut self,
        found: &Snapshot,
        topics: Vec<TopicName>,
        now: Instant,
    ) -> Result<(), CallError> {
        for topics in topics.chunks(DESCRIBED_AT_ONCE) {
            let mut left = topics.to_vec();
            for tries_left in (0..YOUNG_TOPIC_TRIES).rev() {
                let answers = self.cluster.describe_topic_configs(&left).await?;
                let (young, told): (Vec<_>, Vec<_>) =
                    answers.into_iter().partition(|(_, answer)| tries_left > 0 && is_young(answer));
                let read = move || -> Vec<(TopicName, Told)> {
                    told.into_iter().map(|(name, answer)| (name, Told::read(answer))).collect()
                };
                for (name, told) in blocking(read).await {
                    self.known.told(found, name, told, now);
                }
                if young.is_empty() {
                    break;
                }
                left = young.into_iter().map(|(name, _)| name).collect();
                sleep(YOUNG_TOPIC_PAUSE).await;
            }
        }
        Ok(())
    }
}

/// Metadata shows the topic, and the broker that was asked for its settings does not know it yet.
fn is_young(answer: &Result<Vec<ConfigEntry>, Refusal>) -> bool {
    answer.as_ref().is_err_and(|refusal| refusal.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Does `work` on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// As [`blocking`], for what waits for others; where there is no thread for it alone, one of those that compute.
pub(crate) async fn on_its_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (give, given) = std::sync::mpsc::channel();
    let (sender, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("acls".to_owned()).spawn(move || {
        let Ok(work) = given.recv() else { return };
        let work: Box<dyn FnOnce() -> T + Send> = work;
        // Nobody waits any more where the runtime has ended.
        drop(sender.send(work()));
    });
    let Ok(thread) = thread else { return blocking(work).await };
    // It waits for it.
    let _ = give.send(Box::new(work));
    match result.await {
        Ok(done) => done,
        Err(_) => match thread.join() {
            Ok(()) => std::future::pending().await,
            Err(panicked) => std::panic::resume_unwind(panicked),
        },
    }
}

async fn metadata(cluster: &Cluster, wanted: Wanted<'_>) -> Result<Metadata, Unobserved> {
    let metadata = cluster.metadata(wanted).await?;
    match metadata.brokers.is_empty() {
        true => Err(Unobserved::NoBrokers(cluster.name().clone())),
        false => Ok(metadata),
    }
}

/// No request where there is a connection already: brokers tell their versions as it is made.
async fn reads_zstd(cluster: &Cluster) -> Result<bool, Unobserved> {
    let versions = cluster.versions(None).await?;
    Ok(versions.listed(ApiKey::Produce).is_some_and(|(_, highest)| highest >= PRODUCE_WITH_ZSTD))
}

/// Learns from one broker what topics have without settings of their own.
async fn read_defaults(cluster: &Cluster, found: &Found, now: Instant) -> Defaults {
    let asked = timeout(BROKER_SETTINGS_WITHIN, async {
        let metadata = cluster.metadata(Wanted::None).await?;
        let broker = metadata.controller.or(metadata.brokers.first().map(|broker| broker.id));
        match broker {
            Some(broker) => cluster.describe_broker_configs(broker).await,
            None => Ok(Vec::new()),
        }
    });
    let answer = match asked.await {
        Ok(Ok(entries)) if entries.is_empty() => Err("no broker tells its settings".to_owned()),
        Ok(Ok(entries)) => {
            let values: BTreeMap<String, Option<String>> =
                entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
            Ok(topic_defaults(&values))
        }
        Ok(Err(error)) => Err(format!("the settings of brokers could not be read: {}", chain(&error))),
        Err(_) => Err(format!("no broker told its settings within {} s", BROKER_SETTINGS_WITHIN.as_secs())),
    };
    Defaults { brokers: found.brokers.clone(), asked: now, answer }
}
