//! How a connection is opened: the seam where TCP, TLS and a test's own streams differ.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::Address;
use crate::low_water::LowWater;

/// Both directions of an open connection.
pub struct Stream {
    /// What the broker sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the broker gets. Writes are vectored where it can do them. What it takes it must send without
    /// being flushed.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Where `reader` is a socket, and nothing lies between.
    pub(crate) low_water: Option<LowWater>,
}

impl Stream {
    /// Both directions of something that is open.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Stream {
        Stream { reader: Box::new(reader), writer: Box::new(writer), low_water: None }
    }
}

/// The way to an open connection. Opening is cancelled by dropping the future, which happens after
/// [`crate::Options::connect_timeout`].
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens one connection to `address`, ready for Kafka's frames.
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;
}

/// How long one of several addresses of a name is tried before the next.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);

/// How long what was sent may be without any sign from the other side's system.
#[cfg(target_os = "linux")]
const UNHEARD_MAX: Duration = Duration::from_secs(30);

/// Plain TCP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp;

impl Opener for Tcp {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        Box::pin(async move {
            // A name may stand for several addresses, not all of which need be reachable.
            let resolved: Vec<SocketAddr> =
                lookup_host((address.host.as_str(), address.port)).await?.collect();
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for (index, socket) in resolved.iter().enumerate() {
                let is_last = index + 1 == resolved.len();
                let patience = if is_last { Duration::MAX } else { ONE_OF_SEVERAL };
                match timeout(patience, TcpStream::connect(socket)).await {
                    Ok(Ok(stream)) => return ready(stream),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(last)
        })
    }
}

fn ready(stream: TcpStream) -> io::Result<Stream> {
    // A frame is written whole, so there is nothing to wait for.
    stream.set_nodelay(true)?;
    // A peer that vanished without a word is noticed while the connection idles, too.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    // What is given up here must not arrive for long afterwards: without these, the system goes on sending what a
    // closed connection, or a killed process, had left, for minutes, and may be heard when others have looked.
    socket.set_linger(Some(Duration::ZERO))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNHEARD_MAX))?;
    let low_water = LowWater::of(&stream);
    let (reader, writer) = stream.into_split();
    Ok(Stream { low_water, ..Stream::new(reader, writer) })
}
