//! The handle of a cluster, and what holds it together.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use protocol::ApiKey;
use tokio::io::DuplexStream;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::broker::{Broker, Slot};
use crate::clock::Clock;
use crate::complaints::{Complaints, Seldom};
use crate::config::{Config, Transport};
use crate::faults::{Faults, On};
use crate::frame_room::FrameRoom;
use crate::no_socket::NoSocket;
use crate::profile::Profile;
use crate::sasl::Sasl;
use crate::sessions::Sessions;
use crate::state::{BrokerState, State};

/// Why a cluster or a broker of it could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket to listen on.
    #[error("cannot listen on {address} for broker {broker}")]
    Listen {
        /// The broker's id.
        broker: i32,
        /// The address; port 0 stands for any.
        address: SocketAddr,
        /// What is in the way.
        #[source]
        source: NoSocket,
    },
}

/// A Kafka cluster inside this process. Cheap to clone; with the last clone everything it opened is closed.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

/// What the cluster's handle, its brokers' tasks and its connections share.
pub(crate) struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    clock: Mutex<Clock>,
    /// Changes when the clock is moved.
    clock_moved: watch::Sender<()>,
    counts: Mutex<Counts>,
    panics: AtomicU64,
    complaints: Mutex<Complaints>,
    seldom: Mutex<SeldomTold>,
    /// One permit for each connection that there may be.
    pub(crate) connection_permits: Arc<Semaphore>,
    pub(crate) connections_max: usize,
    pub(crate) frame_room: Arc<FrameRoom>,
    /// For answers that are not read yet.
    pub(crate) answer_room: Arc<FrameRoom>,
    /// How it is called in the log.
    pub(crate) name: String,
    pub(crate) slots: Vec<Slot>,
    pub(crate) profile: Profile,
    pub(crate) transport: Transport,
    pub(crate) fetch_sessions_max: usize,
    /// Of one broker.
    pub(crate) fetch_session_bytes_max: usize,
    pub(crate) sasl: Option<Sasl>,
}

/// What is told once a minute at most, of the whole cluster.
#[derive(Debug, Default)]
pub(crate) struct SeldomTold {
    /// A connection that cannot be accepted.
    pub(crate) not_accepted: Seldom,
    /// One that waits for another to end.
    pub(crate) waiting: Seldom,
}

#[derive(Default)]
struct Counts {
    by_api: Vec<u64>,
    connections: u64,
}

/// Counts the panic that ends the task whose own it is. It would be seen by nobody: the runtime keeps it to itself, and the
/// client sees its connection closed.
pub(crate) struct CountsPanic(pub(crate) Weak<Shared>);

impl Drop for CountsPanic {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(shared) = self.0.upgrade()
        {
            shared.panics.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A panic of a test while it holds a lock leaves data that is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn seldom(&self) -> MutexGuard<'_, SeldomTold> {
        lock(&self.seldom)
    }

    pub(crate) fn complaints(&self) -> MutexGuard<'_, Complaints> {
        lock(&self.complaints)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        lock(&self.clock).now_ms()
    }

    /// Changes when the clock is moved.
    pub(crate) fn clock_moved(&self) -> watch::Receiver<()> {
        self.clock_moved.subscribe()
    }

    pub(crate) fn count_request(&self, api: ApiKey) {
        let index = usize::try_from(api as i16).unwrap_or_default();
        let mut counts = lock(&self.counts);
        if counts.by_api.len() <= index {
            counts.by_api.resize(index + 1, 0);
        }
        counts.by_api[index] += 1;
    }

    pub(crate) fn count_connection(&self) {
        lock(&self.counts).connections += 1;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever keeps its time sees that it is gone.
        self.state().groups.changes().notify_one();
        for ((host, kind), more) in self.complaints().uncounted() {
            let cluster = &self.name;
            warn!(
                cluster,
                host, more, kind, "more connections closed for such reasons before the cluster ended"
            );
        }
    }
}

/// How often transactions are looked at for being open too long, once there are any; Kafka's coordinator does it
/// each `transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s.
const TRANSACTIONS_MS: i64 = 1000;

/// Does what groups and transactions must do at a certain time, until the cluster is gone.
async fn keep_time(shared: Weak<Shared>) {
    let _counts_panic = CountsPanic(shared.clone());
    loop {
        let (changes, wait_ms) = {
            let Some(shared) = shared.upgrade() else { return };
            let now_ms = shared.now_ms();
            let mut state = shared.state();
            state.tick(now_ms);
            let next_ms = state.groups.next_look_ms();
            let of_groups = next_ms.map(|at| at.saturating_sub(now_ms));
            let of_transactions = state.transactions.any().then_some(TRANSACTIONS_MS);
            (state.groups.changes(), of_groups.into_iter().chain(of_transactions).min())
        };
        match wait_ms.map(|wait_ms| Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())) {
            // Either way there is something to look at again.
            Some(wait) => drop(tokio::time::timeout(wait, changes.notified()).await),
            None => changes.notified().await,
        }
        // Whatever is due again at once, the others of this thread have their turn.
        tokio::task::yield_now().await;
    }
}

impl Cluster {
    /// Starts the brokers, each on a port of loopback that the system chooses, unless told otherwise. Needs a tokio
    /// runtime, whose tasks they are.
    ///
    /// # Errors
    /// [`StartError::Listen`] if a broker gets no socket.
    pub async fn start(config: Config) -> Result<Cluster, StartError> {
        let mut state = State::new(&config);
        let connections_max = config.connections_max().min(Semaphore::MAX_PERMITS);
        let mut slots = Vec::with_capacity(config.brokers);
        let mut listeners = Vec::with_capacity(config.brokers);
        for index in 0..config.brokers {
            let id = i32::try_from(index).unwrap_or(i32::MAX);
            let (slot, listener) = match config.transport {
                Transport::Sockets => {
                    let address = SocketAddr::from((config.listen_on, config.port(index)));
                    let (slot, listener) = Slot::open(id, address)?;
                    (slot, Some(listener))
                }
                Transport::InMemory => (Slot::in_memory(id), None),
            };
            let broker = BrokerState {
                port: slot.address.port(),
                rack: config.racks.get(index).cloned(),
                online: true,
                sessions: Sessions::default(),
            };
            state.brokers.insert(id, broker);
            slots.push(slot);
            listeners.push(listener);
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            faults: Mutex::default(),
            clock: Mutex::new(Clock::new(config.start_ms)),
            clock_moved: watch::Sender::new(()),
            counts: Mutex::default(),
            panics: AtomicU64::new(0),
            complaints: Mutex::default(),
            seldom: Mutex::default(),
            connection_permits: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            frame_room: FrameRoom::new(config.frame_bytes_max),
            answer_room: FrameRoom::new(config.frame_bytes_max),
            name: config.cluster_id,
            slots,
            profile: config.profile,
            transport: config.transport,
            fetch_sessions_max: config.fetch_sessions_max,
            fetch_session_bytes_max: config.fetch_session_bytes_max / config.brokers.max(1),
            sasl: config.sasl,
        });
        tokio::spawn(keep_time(Arc::downgrade(&shared)));
        for (slot, listener) in shared.slots.iter().zip(listeners) {
            slot.serve(&shared, listener);
        }
        Ok(Cluster { shared })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// `host:port` of every broker, as clients are told; stopped ones too.
    pub fn bootstrap(&self) -> Vec<String> {
        let host = self.shared.state().host.clone();
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
        self.shared.slots.iter().map(|slot| format!("{host}:{}", slot.address.port())).collect()
    }

    /// `host:port,host:port`, as command lines want it.
    pub fn bootstrap_servers(&self) -> String {
        self.bootstrap().join(",")
    }

    /// Opens a connection to the broker that has this port, in memory; also where the brokers listen.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// `ConnectionRefused` if no broker with this port runs, or there are [`field@Config::connections_max`] already.
    pub fn connect(&self, port: u16) -> io::Result<DuplexStream> {
        let slot = self.shared.slots.iter().find(|slot| slot.address.port() == port);
        slot.ok_or(io::ErrorKind::ConnectionRefused)?.connect(&self.shared)
    }

    /// What it presents.
    pub fn profile(&self) -> Profile {
        self.shared.profile
    }

    /// One broker.
    ///
    /// # Panics
    /// If the cluster has no broker with this id.
    pub fn broker(&self, id: i32) -> Broker<'_> {
        let slot = self.shared.slots.iter().find(|slot| slot.id == id);
        Broker::new(&self.shared, slot.expect("a broker of this cluster"))
    }

    /// Describes a fault for requests of this kind, once, unless told otherwise.
    pub fn on(&self, api: ApiKey) -> On {
        On::new(self.clone(), api)
    }

    /// How many requests of this kind have come, to all brokers.
    pub fn requests(&self, api: ApiKey) -> u64 {
        let index = usize::try_from(api as i16).unwrap_or_default();
        lock(&self.shared.counts).by_api.get(index).copied().unwrap_or_default()
    }

    /// How many connections have been opened, to all brokers.
    pub fn connections(&self) -> u64 {
        lock(&self.shared.counts).connections
    }

    /// How many connections are open now, to all brokers.
    pub fn open_connections(&self) -> usize {
        self.shared.connections_max - self.shared.connection_permits.available_permits()
    }

    /// How often something in here has panicked: a mistake of this crate, or of a test's own [`On::look`], that ended a
    /// connection.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::SeqCst)
    }

    /// What the requests that are under way have of [`Config::frame_bytes_max`].
    pub fn frame_bytes(&self) -> usize {
        self.shared.frame_room.taken_bytes()
    }

    /// The same for the answers that are not read yet.
    pub fn answer_bytes(&self) -> usize {
        self.shared.answer_room.taken_bytes()
    }

    /// The brokers' wall clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.shared.now_ms()
    }

    /// Moves the brokers' wall clock on, and ends what is overdue by then: transactions, members of groups, idle
    /// connections.
    pub fn advance(&self, by: Duration) {
        lock(&self.shared.clock).advance(by);
        self.shared.clock_moved.send_replace(());
        let now_ms = self.now_ms();
        let mut state = self.shared.state();
        state.tick(now_ms);
        state.groups.changes().notify_one();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap()).finish_non_exhaustive()
    }
}
