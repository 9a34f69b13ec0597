//! TLS over whatever another opener opens.
//!
//! ```text
//! stores ──▶ current ──▶ config ──┐
//!              ▲  changed?        ├── handshake ── two halves of one stream, both polled by the connection's task
//! under.open(address) ────────────┘
//! ```
//! The halves share the stream under a lock that nobody else takes. What the writing half took and the socket did not,
//! goes out when the reading half is polled, which it always is: so nothing has to be flushed.

mod certificate;
mod config;
mod current;
mod der;
mod ec;
mod explain;
mod stores;
mod verify;
mod web;

use std::error::Error;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, Join, ReadBuf, join};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Address, Opener, SecurityError, Stream, TlsOptions};
use config::Shown;
use current::Current;
pub(crate) use explain::TlsFailed;
pub(crate) use web::{Web, WebStream};

/// How much is taken from the socket at once: rustls by itself asks for 4 KiB at a time.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Opens connections with TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    under: Box<dyn Opener>,
    secured: Arc<Secured>,
    /// How long the handshake may take.
    patience: Duration,
}

#[derive(Debug)]
struct Secured {
    options: TlsOptions,
    current: Current,
}

/// Checks what `options` name, without a connection. Blocks while it reads.
pub(crate) fn check(options: &TlsOptions) -> Result<(), SecurityError> {
    Current::new(options.clone()).get().map(drop)
}

impl Tls {
    /// TLS over what `under` opens. Of `connect_timeout` a part is left for whatever comes before and after.
    pub(crate) fn new(options: TlsOptions, under: Box<dyn Opener>, connect_timeout: Duration) -> Tls {
        let current = Current::new(options.clone());
        Tls { under, secured: Arc::new(Secured { options, current }), patience: connect_timeout * 3 / 4 }
    }
}

impl Opener for Tls {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let opening = self.under.open(Arc::clone(&address));
        let (secured, patience) = (Arc::clone(&self.secured), self.patience);
        Box::pin(async move {
            let reading = Arc::clone(&secured);
            let (config, shown) = match spawn_blocking(move || reading.current.get()).await {
                Ok(current) => current.map_err(io::Error::other)?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let name = server_name(&address.host, &secured.options)?;
            let Stream { reader, writer, .. } = opening.await?;
            let socket = BufReader::with_capacity(READ_AHEAD_BYTES, join(reader, writer));
            let shaken = timeout(patience, TlsConnector::from(config).connect(name, socket)).await;
            let Ok(shaken) = shaken else {
                let what = format!(
                    "no answer to the TLS handshake within {:.1} s; it may be a plaintext listener, or no Kafka",
                    patience.as_secs_f64()
                );
                return Err(TlsFailed { what }.error(io::ErrorKind::TimedOut));
            };
            let explained = |error: io::Error| {
                explain::explain(&error, &secured.options, &shown).error(io::ErrorKind::InvalidData)
            };
            let stream = shaken.map_err(explained)?;
            let both =
                Arc::new(Both { stream: Mutex::new(Shared { stream, has_heard: false }), secured, shown });
            Ok(Stream::new(Half(Arc::clone(&both)), Half(both)))
        })
    }
}

/// The host as TLS names it. One that has no such name can be reached all the same where it is not checked.
fn server_name(host: &str, options: &TlsOptions) -> io::Result<ServerName<'static>> {
    let name = if options.verify_host {
        ServerName::try_from(host.to_owned())
    } else {
        ServerName::try_from(host.to_owned()).or_else(|_| ServerName::try_from("unnamed"))
    };
    name.map_err(|_| {
        let what = format!("`{host}` is no host name that a certificate can be for");
        TlsFailed { what }.error(io::ErrorKind::InvalidInput)
    })
}

type Socket = BufReader<Join<Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>>>;

/// One direction of a stream.
struct Half(Arc<Both>);

struct Both {
    stream: Mutex<Shared>,
    secured: Arc<Secured>,
    shown: Arc<Shown>,
}

struct Shared {
    stream: TlsStream<Socket>,
    /// The broker has said something.
    has_heard: bool,
}

impl Both {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of TLS in words; others are the socket's.
    fn explained(&self, error: io::Error) -> io::Error {
        let of_tls = error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>);
        if of_tls {
            explain::explain(&error, &self.secured.options, &self.shown).error(io::ErrorKind::InvalidData)
        } else {
            error
        }
    }

    /// The end of the stream. Kafka's frames tell by themselves whether something is missing, so nobody needs to say
    /// goodbye (`close_notify`).
    fn ended(&self, has_heard: bool) -> io::Result<()> {
        match explain::explain_end(&self.shown) {
            Some(failed) if !has_heard => Err(failed.error(io::ErrorKind::InvalidData)),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let both = &*self.0;
        let mut shared = both.lock();
        let Shared { stream, has_heard } = &mut *shared;
        // Whoever cannot be written to any more may have said why.
        let mut stuck = None;
        if stream.get_ref().1.wants_write()
            && let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(context)
        {
            stuck = Some(error);
        }
        let start = buffer.filled().len();
        // A record holds 16 KiB at most, a buffer many.
        loop {
            let before = buffer.filled().len();
            let read = Pin::new(&mut *stream).poll_read(context, buffer);
            let some = buffer.filled().len() > start;
            match read {
                Poll::Ready(Ok(())) if buffer.filled().len() > before && buffer.remaining() > 0 => {}
                // What is not told now will be told again.
                _ if some => {
                    *has_heard = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    let stuck = stuck.map(|error| Poll::Ready(Err(both.explained(error))));
                    return stuck.unwrap_or(Poll::Pending);
                }
                Poll::Ready(Ok(())) if buffer.remaining() == 0 => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => return Poll::Ready(both.ended(*has_heard)),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(both.ended(*has_heard));
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Poll::Ready(both.ended(*has_heard).and(Err(error)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(both.explained(error))),
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0.lock().stream).poll_write(context, bytes));
        Poll::Ready(written.map_err(|error| self.0.explained(error)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0.lock().stream).poll_write_vectored(context, slices));
        Poll::Ready(written.map_err(|error| self.0.explained(error)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.0.lock().stream).poll_flush(context));
        Poll::Ready(flushed.map_err(|error| self.0.explained(error)))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_shutdown(context)
    }
}
