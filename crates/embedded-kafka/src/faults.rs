//! Faults on request: what a test wants to happen to the next requests of a kind.
//!
//! ```ignore
//! cluster.on(ApiKey::Produce).partition("t", 0).times(2).fail(ErrorCode::NOT_LEADER_OR_FOLLOWER);
//! let lost = cluster.on(ApiKey::Produce).after(3).drop_reply();
//! lost.happened().await;
//! ```
//!
//! A rule is one thing that happens to a request that matches: to the `skip + 1`-th and the following ones,
//! as often as it was told. Rules are independent of each other; all that match act. `seeded.rs` has the same
//! faults drawn from a seed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::{TopicName, TopicPartition};
use protocol::server::Request;
use protocol::{ApiKey, ErrorCode};
use tokio::sync::{Notify, watch};

use crate::cluster::{Cluster, Shared};
use crate::seeded::Draws;

/// A fault that is being described; one of the last methods puts it into force. It panics where the fault could never
/// show: a test that counts on it would prove nothing.
#[must_use = "a fault is in force only once it is told what to do"]
pub struct On {
    cluster: Cluster,
    filter: Filter,
}

#[derive(Clone, Debug)]
struct Filter {
    api: ApiKey,
    broker: Option<i32>,
    topic: Option<TopicName>,
    partition: Option<i32>,
    skip: u64,
    times: Option<u64>,
}

/// What happens to a request.
#[derive(Clone)]
enum Action {
    Fail(ErrorCode),
    FailApplied(ErrorCode),
    Delay(Duration),
    DelayReply(Duration),
    Hold(watch::Receiver<bool>),
    Refuse,
    DropReply,
    Hang,
    Cut,
    Corrupt,
    Throttle(Duration),
    Look(Look),
}

type Look = Arc<dyn Fn(&Request) + Send + Sync>;

/// How a reply leaves the broker, worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Departure {
    #[default]
    Whole,
    Corrupted,
    CutInTheMiddle,
    NeverButOpen,
    NeverAndClosed,
}

/// A fault in force. Dropping it leaves the fault in force; [`Fault::clear`] ends it.
#[derive(Clone)]
pub struct Fault {
    cluster: Weak<Shared>,
    id: u64,
    hits: Arc<Hits>,
}

#[derive(Default)]
struct Hits {
    count: AtomicU64,
    notify: Notify,
}

/// A request that is held until [`Held::release`], or until this is dropped.
pub struct Held {
    /// The fault behind it.
    pub fault: Fault,
    released: watch::Sender<bool>,
}

impl On {
    pub(crate) fn new(cluster: Cluster, api: ApiKey) -> On {
        let filter = Filter { api, broker: None, topic: None, partition: None, skip: 0, times: Some(1) };
        On { cluster, filter }
    }

    /// Only requests to this broker.
    pub fn broker(mut self, broker: i32) -> On {
        self.filter.broker = Some(broker);
        self
    }

    /// Only requests about this topic; only that part of a request fails.
    pub fn topic(mut self, topic: &str) -> On {
        self.filter.topic = Some(TopicName::from(topic));
        self
    }

    /// Only requests about this partition; only that part of a request fails.
    pub fn partition(self, topic: &str, partition: i32) -> On {
        let mut on = self.topic(topic);
        on.filter.partition = Some(partition);
        on
    }

    /// Leaves the first `count` matching requests alone.
    pub fn after(mut self, count: u64) -> On {
        self.filter.skip = count;
        self
    }

    /// Happens to `count` requests, not just to one.
    pub fn times(mut self, count: u64) -> On {
        self.filter.times = Some(count);
        self
    }

    /// Happens until it is cleared.
    pub fn always(mut self) -> On {
        self.filter.times = None;
        self
    }

    /// The request is answered with `code` and not applied.
    #[track_caller]
    pub fn fail(self, code: ErrorCode) -> Fault {
        self.install(Action::Fail(code))
    }

    /// The request is applied and then answered with `code`, its base offset told all the same (produce).
    #[track_caller]
    pub fn fail_applied(self, code: ErrorCode) -> Fault {
        self.install(Action::FailApplied(code))
    }

    /// The request waits before it is applied.
    #[track_caller]
    pub fn delay(self, by: Duration) -> Fault {
        self.install(Action::Delay(by))
    }

    /// The reply waits after the request was applied.
    #[track_caller]
    pub fn delay_reply(self, by: Duration) -> Fault {
        self.install(Action::DelayReply(by))
    }

    /// The request waits, not applied, until it is released. It is applied then even if its client has left: a broker does
    /// what it has got.
    #[track_caller]
    pub fn hold(self) -> Held {
        let (released, waiting) = watch::channel(false);
        Held { fault: self.install(Action::Hold(waiting)), released }
    }

    /// The connection is closed, the request not applied.
    #[track_caller]
    pub fn refuse(self) -> Fault {
        self.install(Action::Refuse)
    }

    /// The request is applied, then the connection is closed without a reply.
    #[track_caller]
    pub fn drop_reply(self) -> Fault {
        self.install(Action::DropReply)
    }

    /// The request is applied and never answered; the connection answers nothing any more, and stays open until the
    /// client leaves.
    #[track_caller]
    pub fn hang(self) -> Fault {
        self.install(Action::Hang)
    }

    /// The request is applied; the connection is closed in the middle of the reply.
    #[track_caller]
    pub fn cut(self) -> Fault {
        self.install(Action::Cut)
    }

    /// One bit of the last byte of the reply is flipped: of the last records, in a fetch reply.
    #[track_caller]
    pub fn corrupt(self) -> Fault {
        self.install(Action::Corrupt)
    }

    /// The reply says that the client is to be quiet for so long (produce and fetch).
    #[track_caller]
    pub fn throttle(self, by: Duration) -> Fault {
        self.install(Action::Throttle(by))
    }

    /// Shows the request to `look`, before it is applied.
    #[track_caller]
    pub fn look(self, look: impl Fn(&Request) + Send + Sync + 'static) -> Fault {
        self.install(Action::Look(Arc::new(look)))
    }

    #[track_caller]
    fn install(self, action: Action) -> Fault {
        if let Some(why) = self.filter.objection(&action) {
            panic!("this fault would never show: {why}");
        }
        let hits = Arc::new(Hits::default());
        let mut faults = self.cluster.shared().faults();
        faults.last_id += 1;
        let id = faults.last_id;
        faults.rules.push(Rule { id, filter: self.filter, action, hits: Arc::clone(&hits) });
        drop(faults);
        Fault { cluster: Arc::downgrade(self.cluster.shared()), id, hits }
    }
}

impl Fault {
    /// How many requests it has happened to.
    pub fn hits(&self) -> u64 {
        self.hits.count.load(Ordering::SeqCst)
    }

    /// Waits until it has happened at least once.
    pub async fn happened(&self) {
        self.happened_times(1).await;
    }

    /// Waits until it has happened at least `count` times.
    pub async fn happened_times(&self, count: u64) {
        loop {
            let next = self.hits.notify.notified();
            tokio::pin!(next);
            next.as_mut().enable();
            if self.hits() >= count {
                return;
            }
            next.await;
        }
    }

    /// Ends it.
    pub fn clear(&self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.faults().rules.retain(|rule| rule.id != self.id);
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("id", &self.id).field("hits", &self.hits()).finish_non_exhaustive()
    }
}

impl Held {
    /// Lets what is held go on; later requests are not held any more.
    pub fn release(self) {
        self.released.send_replace(true);
    }
}

struct Rule {
    id: u64,
    filter: Filter,
    action: Action,
    hits: Arc<Hits>,
}

/// All faults in force in a cluster.
#[derive(Default)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    last_id: u64,
    /// Those of a seed, beside the rules.
    seeded: Option<Draws>,
}

/// What happens to one request.
#[derive(Default)]
pub(crate) struct Fired {
    fails: Vec<(Filter, ErrorCode)>,
    applied_fails: Vec<(Filter, ErrorCode)>,
    pub(crate) delay: Duration,
    pub(crate) delay_reply: Duration,
    pub(crate) holds: Vec<watch::Receiver<bool>>,
    pub(crate) looks: Vec<Look>,
    pub(crate) refused: bool,
    pub(crate) departure: Departure,
    pub(crate) throttle: Duration,
}

impl Faults {
    /// Puts the draws that `draws` makes with their id into force, in the place of others.
    pub(crate) fn install_seeded(&mut self, draws: impl FnOnce(u64) -> Draws) -> u64 {
        self.last_id += 1;
        self.seeded = Some(draws(self.last_id));
        self.last_id
    }

    /// The draws of this id, while they are in force.
    pub(crate) fn draws(&mut self, id: u64) -> Option<&mut Draws> {
        self.seeded.as_mut().filter(|draws| draws.id == id)
    }

    pub(crate) fn end_seeded(&mut self, id: u64) {
        self.seeded.take_if(|draws| draws.id == id);
    }

    /// Whether a rule for `api` looks at topics, so that finding them out is worth it.
    pub(crate) fn look_at_topics(&self, api: ApiKey) -> bool {
        self.seeded.is_some()
            || self.rules.iter().any(|rule| rule.filter.api == api && rule.filter.topic.is_some())
    }

    /// What happens to a request that mentions the partitions, and one occurrence of each rule less.
    pub(crate) fn fire(&mut self, api: ApiKey, broker: i32, mentioned: &[TopicPartition]) -> Fired {
        let mut fired = Fired::default();
        self.rules.retain_mut(|rule| {
            let filter = &mut rule.filter;
            let matches = filter.api == api
                && filter.broker.is_none_or(|wanted| wanted == broker)
                && (filter.topic.is_none() || mentioned.iter().any(|at| filter.is_about(at)));
            if !matches {
                return true;
            }
            if filter.skip > 0 {
                filter.skip -= 1;
                return true;
            }
            fired.add(filter, &rule.action);
            rule.hits.count.fetch_add(1, Ordering::SeqCst);
            rule.hits.notify.notify_waiters();
            match &mut filter.times {
                Some(left) => {
                    *left = left.saturating_sub(1);
                    *left > 0
                }
                None => true,
            }
        });
        if let Some(draws) = &mut self.seeded {
            draws.draw(api, broker, mentioned, &mut fired);
        }
        fired
    }
}

/// Requests of this kind name topics, so that a fault can be about some of them.
fn names_topics(api: ApiKey) -> bool {
    fails_in_parts(api) || matches!(api, ApiKey::ElectLeaders | ApiKey::ConsumerGroupHeartbeat)
}

/// What a request of this kind is answered has a code for each topic or partition, that a fault can set.
fn fails_in_parts(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Produce
            | ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
            | ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::DeleteRecords
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::AddPartitionsToTxn
            | ApiKey::TxnOffsetCommit
            | ApiKey::DescribeConfigs
            | ApiKey::AlterConfigs
            | ApiKey::CreatePartitions
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::DescribeProducers
            | ApiKey::DescribeTopicPartitions
    )
}

impl Filter {
    /// Why nobody would ever see this happen.
    fn objection(&self, action: &Action) -> Option<String> {
        let api = self.api;
        let about_topic = self.topic.is_some();
        match action {
            _ if about_topic && !names_topics(api) => Some(format!("{api:?} names no topics")),
            Action::Fail(_) if about_topic && !fails_in_parts(api) => {
                Some(format!("{api:?} fails as a whole, not for some topic"))
            }
            Action::FailApplied(_) if api != ApiKey::Produce => {
                Some(format!("{api:?} is not answered with another code once it is applied"))
            }
            Action::Throttle(_) if !matches!(api, ApiKey::Produce | ApiKey::Fetch) => {
                Some(format!("the answer to {api:?} asks nobody to be quiet"))
            }
            _ => None,
        }
    }

    fn about(api: ApiKey, at: Option<&TopicPartition>) -> Filter {
        let topic = at.map(|at| at.topic.clone());
        let partition = at.map(|at| at.partition.0).filter(|partition| *partition >= 0);
        Filter { api, broker: None, topic, partition, skip: 0, times: Some(1) }
    }

    fn is_about(&self, at: &TopicPartition) -> bool {
        self.concerns(at.topic.as_str(), at.partition.0)
    }

    /// A partition below 0 stands for all of the topic's.
    fn concerns(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted.as_str() == topic)
            && (partition < 0 || self.partition.is_none_or(|wanted| wanted == partition))
    }
}

impl Fired {
    fn add(&mut self, filter: &Filter, action: &Action) {
        match action {
            Action::Fail(code) => self.fails.push((filter.clone(), *code)),
            Action::FailApplied(code) => self.applied_fails.push((filter.clone(), *code)),
            Action::Delay(by) => self.delay += *by,
            Action::DelayReply(by) => self.delay_reply += *by,
            Action::Hold(held) => self.holds.push(held.clone()),
            Action::Refuse => self.refused = true,
            Action::DropReply => self.departs(Departure::NeverAndClosed),
            Action::Hang => self.departs(Departure::NeverButOpen),
            Action::Cut => self.departs(Departure::CutInTheMiddle),
            Action::Corrupt => self.departs(Departure::Corrupted),
            Action::Throttle(by) => self.throttle += *by,
            Action::Look(look) => self.looks.push(Arc::clone(look)),
        }
    }

    /// Of several ways to leave the worst is taken.
    pub(crate) fn departs(&mut self, departure: Departure) {
        self.departure = self.departure.max(departure);
    }

    /// The request, or its part about the partition, is to fail. A partition below 0 is the whole topic.
    pub(crate) fn fails_with(&mut self, code: ErrorCode, api: ApiKey, at: Option<&TopicPartition>) {
        self.fails.push((Filter::about(api, at), code));
    }

    /// The same, after it was applied.
    pub(crate) fn fails_applied_with(&mut self, code: ErrorCode, api: ApiKey, at: Option<&TopicPartition>) {
        self.applied_fails.push((Filter::about(api, at), code));
    }

    /// The code that a part of the request about this partition is to fail with.
    pub(crate) fn fails(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.fails.iter().find(|(filter, _)| filter.concerns(topic, partition)).map(|(_, code)| *code)
    }

    /// The code that the whole request is to fail with, where it is not about topics.
    pub(crate) fn fails_whole(&self) -> Option<ErrorCode> {
        self.fails.iter().find(|(filter, _)| filter.topic.is_none()).map(|(_, code)| *code)
    }

    /// The code that a part of the request is to be answered with after it was applied.
    pub(crate) fn fails_applied(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.applied_fails.iter().find(|(filter, _)| filter.concerns(topic, partition)).map(|(_, code)| *code)
    }

    pub(crate) fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }
}
