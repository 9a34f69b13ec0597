//! One cluster: who is there, and a connection to each that anyone may use.
//!
//! Brokers are known from the last metadata; before the first, and when none of them can be reached, the
//! bootstrap list is asked, in turn. Shared connections are made when first needed and made again when
//! they have died; a broker's request to slow down (KIP-219) is honoured here for all who share one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{BrokerId, ClusterName};
use protocol::{ApiKey, ApiVersions, DecodeError, Request};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::accounts::Account;
use crate::buffers::BufferPool;
use crate::handshake::greet;
use crate::metadata::{self, Broker, Metadata, Wanted};
use crate::opener::Tcp;
use crate::tls::Tls;
use crate::{Address, CallError, Connection, Opener, Options};

/// Pauses before a call is tried again, when its connection could not be made or was lost: a broker that
/// restarts is back, or replaced as leader, by then or not soon.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Where anyone may answer, another broker is asked as well after so long without an answer: one that hangs keeps its
/// connections open.
const ASK_ANOTHER_AFTER: Duration = Duration::from_millis(500);

/// Larger answers are read on a blocking thread: one about thousands of topics takes milliseconds, and the thread of
/// those who ask has records to carry.
const READ_HERE_MAX: usize = 64 << 10;

/// A cheap handle of one cluster; clones share connections and knowledge.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    options: Options,
    opener: Box<dyn Opener>,
    pool: BufferPool,
    /// Who we are, if anyone wants to know.
    account: Arc<Account>,
    known: Mutex<Known>,
    shared: Mutex<HashMap<Arc<Address>, Arc<Slot>>>,
    /// Counted up, so that not everybody asks the same broker, nor again one that hangs or has not heard the news.
    turn: AtomicUsize,
}

/// What the last metadata said.
#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<BrokerId, Arc<Address>>,
    controller: Option<BrokerId>,
}

/// The shared connection to one address.
#[derive(Debug, Default)]
struct Slot {
    /// Locked while it is being made, so that it is made once.
    made: tokio::sync::Mutex<Made>,
    /// The broker wants no request before.
    quiet_until: Mutex<Option<Instant>>,
    /// It did not answer lately when others could have been asked: they come first.
    silent: AtomicBool,
}

#[derive(Debug, Default)]
struct Made {
    connection: Option<Connection>,
    /// When and why it could not be made, for those who waited for it.
    failed: Option<(Instant, CallError)>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Whoever can be reached.
    Anyone,
    /// This one.
    Broker(BrokerId),
}

/// The addresses that one call has tried, its second voice included.
#[derive(Debug, Default)]
struct Tried {
    addresses: Mutex<Vec<Arc<Address>>>,
    /// They are somebody, and say nothing: the bootstrap list may only name them once more.
    hang: AtomicBool,
}

impl Tried {
    /// Notes an address; false if it was noted before.
    fn note(&self, address: &Arc<Address>) -> bool {
        let mut tried = lock(&self.addresses);
        let new = !tried.contains(address);
        if new {
            tried.push(Arc::clone(address));
        }
        new
    }
}

/// May a call whose outcome is unknown be made again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as good as once.
    Harmless,
    /// Only if the broker has certainly not seen it.
    IfUnseen,
}

/// A reply, and who gave it.
pub(crate) struct Answer<T> {
    pub(crate) body: T,
    pub(crate) version: i16,
    pub(crate) connection: Connection,
}

impl Cluster {
    /// A handle; nothing is connected yet. Its calls need a tokio runtime, on which their connections live.
    pub fn new(options: Options) -> Cluster {
        Cluster::with_opener(options, Box::new(Tcp))
    }

    /// The same, with another way to open connections than plain TCP. TLS, if it is wanted, is spoken over these.
    pub fn with_opener(options: Options, opener: Box<dyn Opener>) -> Cluster {
        let opener: Box<dyn Opener> = match &options.security.tls {
            Some(tls) => Box::new(Tls::new(tls.clone(), opener, options.connect_timeout)),
            None => opener,
        };
        let account = options.accounts.of(&options);
        Cluster(Arc::new(Inner {
            options,
            opener,
            pool: BufferPool::default(),
            account,
            known: Mutex::default(),
            shared: Mutex::default(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// What the cluster is called in messages.
    pub fn name(&self) -> &ClusterName {
        &self.0.options.name
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Asks a broker for metadata now; remembers the brokers and their addresses. Creates nothing.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] if no address leads to a broker; else as the call says.
    pub async fn metadata(&self, wanted: Wanted<'_>) -> Result<Metadata, CallError> {
        let answer = self
            .call(
                To::Anyone,
                Repeat::Harmless,
                "Kafka 1.1 or newer",
                |version| metadata::request(version, wanted),
                |response| response.throttle_time_ms,
            )
            .await?;
        let metadata = metadata::read(answer.version, answer.body);
        self.remember(&metadata);
        Ok(metadata)
    }

    /// Opens a connection of the caller's own to `broker`: one attempt, at the address that the last
    /// metadata gave, or after asking for metadata if it gave none.
    ///
    /// # Errors
    /// [`CallError::UnknownBroker`] if the cluster does not list it; [`CallError::Connect`],
    /// [`CallError::NotKafka`], [`CallError::Tls`] or [`CallError::TimedOut`] if its address does not lead to it;
    /// [`CallError::Login`] if it does not let us in, or did not let us in elsewhere a moment ago.
    pub async fn connect(&self, broker: BrokerId) -> Result<Connection, CallError> {
        let address = self.address_of(broker).await?;
        self.open(&address).await
    }

    /// What `broker`, or any broker, can do.
    ///
    /// # Errors
    /// As for any call.
    pub async fn versions(&self, broker: Option<BrokerId>) -> Result<ApiVersions, CallError> {
        let deadline = Instant::now() + self.0.options.request_timeout;
        let to = broker.map_or(To::Anyone, To::Broker);
        let (connection, _) = self.shared(to, deadline).await?;
        Ok(connection.versions().clone())
    }

    /// The broker that takes requests that change topics.
    pub(crate) async fn controller(&self) -> Result<BrokerId, CallError> {
        if let Some(controller) = self.known().controller {
            return Ok(controller);
        }
        let metadata = self.metadata(Wanted::None).await?;
        metadata.controller.ok_or_else(|| CallError::NoController { cluster: self.name().clone() })
    }

    /// Makes one request over a shared connection, and makes it again where that may help and is allowed,
    /// all within the request's time-out.
    ///
    /// `needs` says, for an error, what a broker must be to know the request; `request` writes it for the
    /// version agreed on; `throttle_ms` reads from the reply how long the broker wants to be left alone.
    pub(crate) async fn call<R: Request>(
        &self,
        to: To,
        repeat: Repeat,
        needs: &'static str,
        request: impl Fn(i16) -> R,
        throttle_ms: impl Fn(&R::Response) -> i32,
    ) -> Result<Answer<R::Response>, CallError>
    where
        R::Response: Send + 'static,
    {
        let deadline = Instant::now() + self.0.options.request_timeout;
        let mut pauses = PAUSES.into_iter();
        loop {
            let elsewhere = to == To::Anyone && repeat == Repeat::Harmless;
            let attempt = match elsewhere {
                true => self.attempt_twice(needs, &request, &throttle_ms, deadline).await,
                false => {
                    let tried = Tried::default();
                    self.attempt((to, &tried), needs, &request, &throttle_ms, (deadline, Duration::MAX)).await
                }
            };
            let error = match attempt {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match &error {
                CallError::Closed { maybe_written, .. } => repeat == Repeat::Harmless || !maybe_written,
                CallError::TimedOut { .. } => elsewhere,
                CallError::Connect { .. } => true,
                CallError::Unreachable { attempts, .. } => {
                    attempts.iter().any(|attempt| matches!(attempt, CallError::Connect { .. }))
                }
                _ => false,
            };
            match pauses.next() {
                Some(pause) if again && Instant::now() + pause < deadline => sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Asks anyone, and after a while without an answer somebody else as well: the first answer counts.
    async fn attempt_twice<R: Request>(
        &self,
        needs: &'static str,
        request: &impl Fn(i16) -> R,
        throttle_ms: &impl Fn(&R::Response) -> i32,
        deadline: Instant,
    ) -> Result<Answer<R::Response>, CallError>
    where
        R::Response: Send + 'static,
    {
        let tried = Tried::default();
        // A broker that hangs must not cost the whole time where another can answer.
        let times = (deadline, self.0.options.connect_timeout);
        let attempt = || self.attempt((To::Anyone, &tried), needs, request, throttle_ms, times);
        let mut first = std::pin::pin!(attempt());
        if let Ok(result) = timeout(ASK_ANOTHER_AFTER, first.as_mut()).await {
            return result;
        }
        self.note_silent(&tried);
        let mut second = std::pin::pin!(attempt());
        tokio::select! {
            result = first.as_mut() => match result {
                Ok(answer) => Ok(answer),
                Err(error) => second.await.map_err(|_| error),
            },
            result = second.as_mut() => match result {
                Ok(answer) => Ok(answer),
                // There may be nobody else.
                Err(_) => first.await,
            },
        }
    }

    fn note_silent(&self, tried: &Tried) {
        tried.hang.store(true, Ordering::Relaxed);
        let shared = lock(&self.0.shared);
        for slot in lock(&tried.addresses).iter().filter_map(|address| shared.get(address)) {
            slot.silent.store(true, Ordering::Relaxed);
        }
    }

    async fn attempt<R: Request>(
        &self,
        (to, tried): (To, &Tried),
        needs: &'static str,
        request: &impl Fn(i16) -> R,
        throttle_ms: &impl Fn(&R::Response) -> i32,
        (deadline, patience): (Instant, Duration),
    ) -> Result<Answer<R::Response>, CallError>
    where
        R::Response: Send + 'static,
    {
        let api = ApiKey::try_from(R::KEY).expect("the generated messages and their keys belong together");
        let (connection, slot) = match to {
            To::Broker(_) => self.shared(to, deadline).await?,
            To::Anyone => self.shared_anywhere(deadline, tried).await?,
        };
        let quiet_until = *lock(&slot.quiet_until);
        if let Some(quiet_until) = quiet_until {
            sleep_until(quiet_until.min(deadline)).await;
        }
        let version = connection.version_of(api, needs)?;
        let body = request(version);
        let left = deadline.saturating_duration_since(Instant::now()).min(patience);
        let id = connection.next_correlation_id();
        let frame = protocol::encode_request(api, version, id, connection.client_id(), &body);
        let reply = connection.send(api, id, frame.map(|frame| vec![frame]), left);
        let frame = reply.await?;
        slot.silent.store(false, Ordering::Relaxed);
        let body =
            read::<R>(api, version, frame).await.map_err(|source| connection.malformed(api, source))?;
        let throttle = Duration::from_millis(u64::try_from(throttle_ms(&body)).unwrap_or(0));
        if !throttle.is_zero() {
            *lock(&slot.quiet_until) = Some(Instant::now() + throttle);
        }
        Ok(Answer { body, version, connection })
    }

    async fn shared(&self, to: To, deadline: Instant) -> Result<(Connection, Arc<Slot>), CallError> {
        match to {
            To::Broker(broker) => {
                // Metadata itself asks anyone, so this does not go round.
                let address = Box::pin(self.address_of(broker)).await?;
                self.shared_at(&address).await
            }
            To::Anyone => self.shared_anywhere(deadline, &Tried::default()).await,
        }
    }

    /// The first that can be had, of those not `tried`, of: a connection that is open (to brokers that answered lately
    /// first), the brokers known, the bootstrap list.
    async fn shared_anywhere(
        &self,
        deadline: Instant,
        tried: &Tried,
    ) -> Result<(Connection, Arc<Slot>), CallError> {
        let mut slots: Vec<(Arc<Address>, Arc<Slot>)> = lock(&self.0.shared)
            .iter()
            .map(|(address, slot)| (Arc::clone(address), Arc::clone(slot)))
            .collect();
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        if !slots.is_empty() {
            let first = turn % slots.len();
            slots.rotate_left(first);
        }
        slots.sort_by_cached_key(|(_, slot)| slot.silent.load(Ordering::Relaxed));
        for (address, slot) in slots {
            // One that is being made is not open.
            let open = slot.made.try_lock().ok().and_then(|made| made.connection.clone());
            if let Some(connection) = open.filter(|connection| !connection.is_dead())
                && tried.note(&address)
            {
                return Ok((connection, slot));
            }
        }
        let mut known: Vec<Arc<Address>> = self.known().brokers.values().cloned().collect();
        if !known.is_empty() {
            let first = turn % known.len();
            known.rotate_left(first);
        }
        let mut attempts = Vec::new();
        let no_others = tried.hang.load(Ordering::Relaxed) && !known.is_empty();
        let bootstrap = self.0.options.bootstrap.iter().filter(|_| !no_others);
        let bootstrap = bootstrap.map(|text| Address::parse(text).map(Arc::new));
        for address in known.into_iter().map(Ok).chain(bootstrap) {
            let attempt = match address {
                Ok(address) if !tried.note(&address) => continue,
                Ok(address) => self.shared_at(&address).await,
                Err(error) => Err(error),
            };
            match attempt {
                Ok(shared) => return Ok(shared),
                Err(error) => attempts.push(error),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(CallError::Unreachable { cluster: self.name().clone(), attempts })
    }

    async fn shared_at(&self, address: &Arc<Address>) -> Result<(Connection, Arc<Slot>), CallError> {
        let slot = Arc::clone(lock(&self.0.shared).entry(Arc::clone(address)).or_default());
        let came = Instant::now();
        let mut made = slot.made.lock().await;
        if let Some(live) = made.connection.as_ref().filter(|connection| !connection.is_dead()) {
            let live = live.clone();
            drop(made);
            return Ok((live, slot));
        }
        // Those who waited while it could not be made do not each wait for it again.
        if let Some((when, error)) = &made.failed
            && *when >= came
        {
            return Err(error.clone());
        }
        match self.open(address).await {
            Ok(connection) => {
                *lock(&slot.quiet_until) = None;
                *made = Made { connection: Some(connection.clone()), failed: None };
                drop(made);
                Ok((connection, slot))
            }
            Err(error) => {
                made.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self, address: &Arc<Address>) -> Result<Connection, CallError> {
        let Inner { options, opener, pool, account, .. } = &*self.0;
        account.standing(address, options.connect_timeout).await?;
        let began = Instant::now();
        let greeted = greet(opener.as_ref(), address, options, account).await;
        account.refusals.note(address, greeted.as_ref().err(), began);
        Ok(Connection::start(greeted?, Arc::clone(address), options, pool.clone(), account))
    }

    /// The last metadata listed it.
    pub(crate) fn is_known(&self, broker: BrokerId) -> bool {
        self.known().brokers.contains_key(&broker)
    }

    async fn address_of(&self, broker: BrokerId) -> Result<Arc<Address>, CallError> {
        if let Some(address) = self.known().brokers.get(&broker) {
            return Ok(Arc::clone(address));
        }
        self.metadata(Wanted::None).await?;
        let address = self.known().brokers.get(&broker).cloned();
        address.ok_or_else(|| CallError::UnknownBroker { cluster: self.name().clone(), broker })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0.known)
    }

    fn remember(&self, metadata: &Metadata) {
        let mut known = self.known();
        known.controller = metadata.controller;
        // A broker that has just started may list nobody, not even itself.
        if metadata.brokers.is_empty() {
            return;
        }
        let address = |broker: &Broker| {
            let Broker { id, host, port, .. } = broker.clone();
            (id, Arc::new(Address { host, port, broker: Some(id) }))
        };
        known.brokers = metadata.brokers.iter().map(address).collect();
        // Connections to other addresses, the bootstrap list's among them, end when their last call does.
        lock(&self.0.shared).retain(|address, _| known.brokers.values().any(|listed| listed == address));
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("options", &self.0.options).finish_non_exhaustive()
    }
}

async fn read<R: Request>(api: ApiKey, version: i16, frame: Bytes) -> Result<R::Response, DecodeError>
where
    R::Response: Send + 'static,
{
    if frame.len() <= READ_HERE_MAX {
        return protocol::decode_response(api, version, frame);
    }
    match spawn_blocking(move || protocol::decode_response(api, version, frame)).await {
        Ok(read) => read,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// No holder of these locks can leave them half-changed, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
