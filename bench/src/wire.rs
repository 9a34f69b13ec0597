//! The wire between a copier and one broker: a relay in user space that can be cut, slowed and silenced.
//!
//! ```text
//! copier ──▶ relay's port ──▶ reader ──(due, bytes)──▶ writer ──▶ broker      and the same back
//! ```
//!
//! The broker advertises the relay's port on the listener that the copier uses; everyone else speaks with the
//! broker directly. Each direction of a connection is two threads with a bounded queue between them.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// One read moves at most this much; so many chunks wait in one direction at most, and then the sender waits. Chunks of
/// 16 KiB, which are small ones, make up 16 MiB: what a slow wire holds is never what bounds a copy.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 1024;

/// How often a silent connection, or one slowed by more than that, looks whether it may go on.
const STEP: Duration = Duration::from_millis(5);

/// A relay for one broker. It listens as long as the program lives.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// New connections are closed at once.
    refuses: AtomicBool,
    /// Nothing passes towards the broker, or from it.
    holds_requests: AtomicBool,
    holds_answers: AtomicBool,
    /// Each chunk is passed on so much later.
    delay_ms: AtomicU64,
    /// Both ends of every connection, to cut them. Ended ones go when new ones come.
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
}

impl Wire {
    /// Takes connections on this listener, each passed on to the broker's port.
    pub(crate) fn start(listener: TcpListener, broker_port: u16) -> Wire {
        let wire = Wire { state: Arc::new(State::default()) };
        let state = Arc::clone(&wire.state);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { continue };
                if state.refuses.load(Ordering::Acquire) {
                    continue; // closes it
                }
                let state = Arc::clone(&state);
                // Connecting may block: a paused broker's backlog fills up.
                thread::spawn(move || drop(relay(&state, connection, broker_port)));
            }
        });
        wire
    }

    /// Cuts all connections, and lets no new one live, until [`Wire::mend`].
    pub(crate) fn cut(&self) {
        self.state.refuses.store(true, Ordering::Release);
        self.drop_connections();
    }

    /// Cuts all connections; new ones are welcome.
    pub(crate) fn drop_connections(&self) {
        for (one, other) in self.state.open().drain(..) {
            let _ = one.shutdown(Shutdown::Both); // it may be closed already
            let _ = other.shutdown(Shutdown::Both);
        }
    }

    /// Passes on each chunk so much later, in both directions.
    pub(crate) fn delay(&self, by: Duration) {
        self.state.delay_ms.store(by.as_millis() as u64, Ordering::Release);
    }

    /// Passes nothing on, in either direction; connections stay open and new ones are taken.
    pub(crate) fn silence(&self) {
        self.state.holds_requests.store(true, Ordering::Release);
        self.silence_answers();
    }

    /// Passes requests on, but no answers.
    pub(crate) fn silence_answers(&self) {
        self.state.holds_answers.store(true, Ordering::Release);
    }

    /// All passes again, also what was held.
    pub(crate) fn mend(&self) {
        self.state.refuses.store(false, Ordering::Release);
        self.state.delay_ms.store(0, Ordering::Release);
        self.state.holds_requests.store(false, Ordering::Release);
        self.state.holds_answers.store(false, Ordering::Release);
    }
}

impl State {
    /// How long a chunk that was read so long ago waits before it is looked at again; None: it is due.
    fn wait(&self, holds: fn(&State) -> &AtomicBool, age: Duration) -> Option<Duration> {
        if holds(self).load(Ordering::Acquire) {
            return Some(STEP);
        }
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Acquire));
        delay.checked_sub(age).filter(|rest| !rest.is_zero()).map(|rest| rest.min(STEP))
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<(TcpStream, TcpStream)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn relay(state: &Arc<State>, copier: TcpStream, broker_port: u16) -> io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], broker_port));
    let broker = TcpStream::connect_timeout(&address, Duration::from_secs(60))?;
    copier.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    {
        let mut open = state.open();
        // A connection whose peer is unknown has been closed from both sides.
        open.retain(|(one, other)| one.peer_addr().is_ok() || other.peer_addr().is_ok());
        open.push((copier.try_clone()?, broker.try_clone()?));
    }
    if state.refuses.load(Ordering::Acquire) {
        let _ = copier.shutdown(Shutdown::Both); // cut while it was being made
        return Ok(());
    }
    let requests = (copier.try_clone()?, broker.try_clone()?);
    let requests_state = Arc::clone(state);
    thread::spawn(move || {
        pass(requests.0, requests.1, &requests_state, |state| &state.holds_requests);
    });
    pass(broker, copier, state, |state| &state.holds_answers);
    Ok(())
}

/// Passes one direction on until its end, which is passed on as well.
fn pass(mut from: TcpStream, mut to: TcpStream, state: &Arc<State>, holds: fn(&State) -> &AtomicBool) {
    let (sender, chunks) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS);
    let writer_state = Arc::clone(state);
    let writer = thread::spawn(move || {
        for (read_at, chunk) in chunks {
            while let Some(wait) = writer_state.wait(holds, read_at.elapsed()) {
                thread::sleep(wait);
            }
            if to.write_all(&chunk).is_err() {
                break;
            }
        }
        // Closed by the sender, or cut: either way nothing more comes this way.
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..bytes].to_vec())).is_err() {
            let _ = from.shutdown(Shutdown::Read);
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire to a server that answers each byte with itself.
    fn wire() -> (Wire, SocketAddr) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        thread::spawn(move || {
            for connection in server.incoming() {
                let mut connection = connection.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    while connection.read_exact(&mut byte).is_ok() {
                        connection.write_all(&byte).unwrap();
                    }
                });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Wire::start(listener, port), address)
    }

    fn echo(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(&[7])?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn a_cut_wire_ends_its_connections_and_takes_new_ones_only_when_mended() {
        let (wire, address) = wire();
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(echo(&mut stream).unwrap(), 7);
        wire.cut();
        assert!(echo(&mut stream).is_err());
        assert!(echo(&mut TcpStream::connect(address).unwrap()).is_err());
        wire.mend();
        assert_eq!(echo(&mut TcpStream::connect(address).unwrap()).unwrap(), 7);
    }

    #[test]
    fn what_a_silent_wire_holds_passes_when_it_is_mended() {
        let (wire, address) = wire();
        let mut stream = TcpStream::connect(address).unwrap();
        wire.silence();
        stream.write_all(&[9]).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut byte = [0];
        assert!(stream.read_exact(&mut byte).is_err());
        wire.mend();
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [9]);
    }

    #[test]
    fn a_chunk_waits_for_the_rest_of_its_delay_and_no_longer() {
        let state = State::default();
        let wait = |age_ms| state.wait(|state| &state.holds_answers, Duration::from_millis(age_ms));
        assert_eq!(wait(0), None);
        state.delay_ms.store(50, Ordering::Release);
        assert_eq!(wait(10), Some(STEP));
        assert_eq!(wait(48), Some(Duration::from_millis(2)));
        assert_eq!(wait(50), None);
        state.holds_answers.store(true, Ordering::Release);
        assert_eq!(wait(50), Some(STEP));
    }

    #[test]
    fn a_delay_counts_each_way() {
        let (wire, address) = wire();
        let mut stream = TcpStream::connect(address).unwrap();
        wire.delay(Duration::from_millis(60));
        let asked = Instant::now();
        assert_eq!(echo(&mut stream).unwrap(), 7);
        assert!(asked.elapsed() >= Duration::from_millis(120));
    }
}
