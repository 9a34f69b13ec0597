//! One broker: its listener, its connections, its stopping and starting.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::cluster::{Shared, StartError};
use crate::connection;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;
const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);

/// A broker's place in the cluster: its address is its own for life.
pub(crate) struct Slot {
    pub(crate) id: i32,
    pub(crate) address: SocketAddr,
    running: Mutex<Running>,
}

enum Running {
    /// The task that accepts, and what it and its connections listen to.
    Up { signal: watch::Sender<Signal>, task: JoinHandle<()> },
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
    let socket = TcpSocket::new_v4()?;
    // The port is still known to connections that were closed a moment ago.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listening(id: i32, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || bound(address)?.listen(BACKLOG);
    listen().map_err(|source| StartError::Listen { broker: id, address, source })
}

impl Slot {
    /// Listens, without accepting yet.
    pub(crate) fn open(id: i32, address: SocketAddr) -> Result<(Slot, TcpListener), StartError> {
        let listener = listening(id, address)?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { broker: id, address, source })?;
        let running = Mutex::new(Running::Down { _reserved: None });
        Ok((Slot { id, address, running }, listener))
    }

    /// Accepts connections until the broker is stopped or the cluster is gone.
    pub(crate) fn serve(&self, shared: &Arc<Shared>, listener: TcpListener) {
        let (signal, listening) = watch::channel(Signal::default());
        let task = tokio::spawn(accept(self.id, Arc::downgrade(shared), listener, listening));
        *self.lock() = Running::Up { signal, task };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until told to stop, or until the cluster is gone, and the sender of the signal with it.
async fn accept(
    broker: i32,
    shared: Weak<Shared>,
    listener: TcpListener,
    mut signal: watch::Receiver<Signal>,
) {
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
                let Some(cluster) = shared.upgrade() else { return };
                cluster.count_connection();
                debug!(broker, %peer, "connection accepted");
                tokio::spawn(connection::serve(broker, shared.clone(), stream, peer, signal.clone()));
            }
            // Too many files, most likely: the next one may do better once something is closed.
            Err(error) => {
                warn!(broker, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
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

    /// `host:port`.
    pub fn address(&self) -> SocketAddr {
        self.slot.address
    }

    /// Stops it as if it had been killed: its connections end at once, its partitions get other leaders, or
    /// none. Returns when nothing of it answers any more.
    pub async fn stop(&self) {
        let running = std::mem::replace(&mut *self.slot.lock(), Running::Down { _reserved: None });
        let Running::Up { signal, task } = running else { return };
        signal.send_modify(|signal| signal.stop = true);
        // It ends by the signal; that it was cancelled with its runtime is as good.
        let _ = task.await;
        signal.closed().await;
        self.shared.state().broker_stopped(self.slot.id);
        *self.slot.lock() = Running::Down { _reserved: bound(self.slot.address).ok() };
    }

    /// Starts it again, at its old address, with what a restart leaves of its producer states.
    ///
    /// # Errors
    /// [`StartError::Listen`] if the port is taken by now.
    pub async fn start(&self) -> Result<(), StartError> {
        if matches!(*self.slot.lock(), Running::Up { .. }) {
            return Ok(());
        }
        // The reservation goes first: a port that is bound twice cannot be listened on.
        *self.slot.lock() = Running::Down { _reserved: None };
        let listener = listening(self.slot.id, self.slot.address)?;
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
