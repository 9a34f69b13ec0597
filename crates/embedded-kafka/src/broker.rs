//! One broker: its listener, its connections, its stopping and starting.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::cluster::{Shared, StartError};
use crate::config::Transport;
use crate::connection;
use crate::no_socket::NoSocket;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;
/// What one side of a connection in memory may be ahead of the other.
const BYTES_IN_MEMORY: usize = 1 << 20;
const FIRST_PORT_IN_MEMORY: u16 = 9092;
/// Before another try to accept where the last one failed: a hundred tries a second cost nothing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// For a port that is in use: nothing takes longer between fork and exec.
const IN_USE_PATIENCE: Duration = Duration::from_millis(500);

/// A broker's place in the cluster: its address is its own for life.
pub(crate) struct Slot {
    pub(crate) id: i32,
    pub(crate) address: SocketAddr,
    running: Mutex<Running>,
    /// Whoever stops or starts it has this until that is done.
    turn: tokio::sync::Mutex<()>,
}

enum Running {
    /// The task that accepts, and what it and its connections listen to.
    Up { signal: watch::Sender<Signal>, task: Option<JoinHandle<()>> },
    /// The port, bound and not listened on, so that nobody else gets it.
    Down { _reserved: Option<TcpSocket> },
}

/// A connection ends when this changes, or is gone; the broker when it says so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signal {
    stop: bool,
    disconnects: u64,
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port is still known to connections that were closed a moment ago.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listening(id: i32, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || bound(address)?.listen(BACKLOG);
    listen().map_err(|error| cannot_listen(id, address, error))
}

/// Binds a port that was ours a moment ago. Between fork and exec a child of this process has a copy of every socket, and
/// the port is in use until it is through: it is tried for [`IN_USE_PATIENCE`].
async fn bound_again<T>(bind: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    let until = Instant::now() + IN_USE_PATIENCE;
    loop {
        match bind() {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            bound => return bound,
        }
    }
}

fn cannot_listen(broker: i32, address: SocketAddr, error: std::io::Error) -> StartError {
    StartError::Listen { broker, address, source: error.into() }
}

impl Slot {
    /// Listens, without accepting yet.
    pub(crate) fn open(id: i32, address: SocketAddr) -> Result<(Slot, TcpListener), StartError> {
        let listener = listening(id, address)?;
        let address = listener.local_addr().map_err(|error| cannot_listen(id, address, error))?;
        Ok((Slot::down(id, address), listener))
    }

    /// A broker without a socket, under a made-up address.
    pub(crate) fn in_memory(id: i32) -> Slot {
        let port = FIRST_PORT_IN_MEMORY.saturating_add(u16::try_from(id).unwrap_or(u16::MAX));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Slot::down(id, address)
    }

    fn down(id: i32, address: SocketAddr) -> Slot {
        let running = Mutex::new(Running::Down { _reserved: None });
        Slot { id, address, running, turn: tokio::sync::Mutex::default() }
    }

    /// Takes connections until the broker is stopped or the cluster is gone.
    pub(crate) fn serve(&self, shared: &Arc<Shared>, listener: Option<TcpListener>) {
        let (signal, listening) = watch::channel(Signal::default());
        let accepting = listener.map(|listener| accept(self.id, Arc::downgrade(shared), listener, listening));
        *self.lock() = Running::Up { signal, task: accepting.map(tokio::spawn) };
    }

    /// Opens a connection that lives in memory.
    pub(crate) fn connect(&self, shared: &Arc<Shared>) -> std::io::Result<DuplexStream> {
        let signal = match &*self.lock() {
            Running::Up { signal, .. } => signal.subscribe(),
            Running::Down { .. } => return Err(std::io::ErrorKind::ConnectionRefused.into()),
        };
        let permits = Arc::clone(&shared.connection_permits);
        let permit = permits.try_acquire_owned().map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
        let (near, far) = tokio::io::duplex(BYTES_IN_MEMORY);
        shared.count_connection();
        let serving = connection::serve(self.id, Arc::downgrade(shared), far, "memory".to_owned(), signal);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
        Ok(near)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until told to stop, or until the cluster is gone, and the sender of the signal with it.
///
/// Where the process has no files left it goes on trying: whoever waits in the backlog is taken once something is
/// closed. The reason is told once a minute.
async fn accept(
    broker: i32,
    shared: Weak<Shared>,
    listener: TcpListener,
    mut signal: watch::Receiver<Signal>,
) {
    let mut told = false;
    let name = shared.upgrade().map(|shared| shared.name.clone()).unwrap_or_default();
    let cluster = name.as_str();
    loop {
        let accepted = tokio::select! {
            biased;
            changed = signal.changed() => {
                if changed.is_err() || signal.borrow().stop {
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(up) = shared.upgrade() else { return };
                up.count_connection();
                debug!(cluster, broker, %peer, "connection accepted");
                if std::mem::take(&mut told) {
                    info!(cluster, broker, "connections are accepted again");
                }
                // Without it small replies wait for the acknowledgement of the one before; an error here
                // changes no more than that.
                let _ = stream.set_nodelay(true);
                let permits = Arc::clone(&up.connection_permits);
                let permit = match Arc::clone(&permits).try_acquire_owned() {
                    Ok(permit) => Some(permit),
                    Err(_) => {
                        let connections_max = up.connections_max;
                        if let Some(more) = up.seldom().waiting.note(Instant::now()) {
                            let told =
                                "there are as many connections as there may be, more wait until some end";
                            warn!(cluster, broker, connections_max, more, "{told}");
                        }
                        drop(up);
                        wait_for_another(permits, &mut signal).await
                    }
                };
                let Some(permit) = permit else { return };
                let serving =
                    connection::serve(broker, shared.clone(), stream, peer.to_string(), signal.clone());
                tokio::spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                let reason = NoSocket::from(error).to_string();
                let now = Instant::now();
                match shared.upgrade().and_then(|shared| shared.seldom().not_accepted.note(now)) {
                    Some(more) => {
                        warn!(cluster, broker, reason, more, "cannot accept connections, trying on");
                        told = true;
                    }
                    None => debug!(cluster, broker, reason, "still no connection is accepted"),
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A permit, once another connection ends; `None` if the broker does.
async fn wait_for_another(
    permits: Arc<Semaphore>,
    signal: &mut watch::Receiver<Signal>,
) -> Option<OwnedSemaphorePermit> {
    let permit = permits.acquire_owned();
    tokio::pin!(permit);
    loop {
        tokio::select! {
            biased;
            changed = signal.changed() => {
                if changed.is_err() || signal.borrow().stop {
                    return None;
                }
            }
            permit = &mut permit => return permit.ok(),
        }
    }
}

/// A broker of a cluster.
#[derive(Clone, Copy)]
pub struct Broker<'a> {
    shared: &'a Arc<Shared>,
    slot: &'a Slot,
}

impl<'a> Broker<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, slot: &'a Slot) -> Broker<'a> {
        Broker { shared, slot }
    }

    /// Where it listens, which is not always where clients are told to go: see [`Cluster::bootstrap`].
    ///
    /// [`Cluster::bootstrap`]: crate::Cluster::bootstrap
    pub fn address(&self) -> SocketAddr {
        self.slot.address
    }

    /// Stops it as if it had been killed: its connections end at once, its partitions get other leaders, or
    /// none. Returns when nothing of it answers any more; a start or another stop waits until then.
    pub async fn stop(&self) {
        let _turn = self.slot.turn.lock().await;
        let running = std::mem::replace(&mut *self.slot.lock(), Running::Down { _reserved: None });
        let Running::Up { signal, task } = running else { return };
        signal.send_modify(|signal| signal.stop = true);
        if let Some(task) = task {
            // It ends by the signal; that it was cancelled with its runtime is as good.
            let _ = task.await;
        }
        signal.closed().await;
        self.shared.state().broker_stopped(self.slot.id);
        if self.shared.transport == Transport::Sockets {
            let reserved = bound_again(|| bound(self.slot.address)).await.ok();
            *self.slot.lock() = Running::Down { _reserved: reserved };
        }
    }

    /// Starts it again, at its old address, with what a restart leaves of its producer states. Where the port is in use it
    /// is tried for half a second: a child that this process is starting has it for a moment.
    ///
    /// # Errors
    /// [`StartError::Listen`] if the port is taken by now.
    pub async fn start(&self) -> Result<(), StartError> {
        let _turn = self.slot.turn.lock().await;
        if matches!(*self.slot.lock(), Running::Up { .. }) {
            return Ok(());
        }
        // The reservation goes first: a port that is bound twice cannot be listened on.
        *self.slot.lock() = Running::Down { _reserved: None };
        let listener = match self.shared.transport {
            Transport::Sockets => {
                let Slot { id, address, .. } = self.slot;
                let listener = bound_again(|| bound(*address)?.listen(BACKLOG)).await;
                Some(listener.map_err(|error| cannot_listen(*id, *address, error))?)
            }
            Transport::InMemory => None,
        };
        let now_ms = self.shared.now_ms();
        self.shared.state().broker_started(self.slot.id, now_ms);
        self.slot.serve(self.shared, listener);
        Ok(())
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn restart(&self) -> Result<(), StartError> {
        self.stop().await;
        self.start().await
    }

    /// Closes all its connections; it goes on accepting new ones.
    pub fn disconnect_all(&self) {
        if let Running::Up { signal, .. } = &*self.slot.lock() {
            signal.send_modify(|signal| signal.disconnects += 1);
        }
    }
}
