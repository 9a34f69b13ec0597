//! TLS with servers that are no brokers, over streams that block.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};

use super::config::Shown;
use super::current::Current;
use super::{Secured, explain, server_name};
use crate::{SecurityError, TlsOptions};

/// How TLS is spoken with them. Stores are read again when they have changed, as for brokers.
#[derive(Debug)]
pub(crate) struct Web(Arc<Secured>);

/// One connection.
pub(crate) struct WebStream<S: Read + Write> {
    stream: StreamOwned<ClientConnection, S>,
    secured: Arc<Secured>,
    shown: Arc<Shown>,
}

impl Web {
    pub(crate) fn new(options: TlsOptions) -> Web {
        let current = Current::new(options.clone());
        Web(Arc::new(Secured { options, current }))
    }

    /// Checks what the options name, without a connection. Blocks while it reads.
    pub(crate) fn check(&self) -> Result<(), SecurityError> {
        self.0.current.get().map(drop)
    }

    /// TLS with `host` over `socket`, which has a time-out of its own.
    ///
    /// # Errors
    /// One that holds a [`super::TlsFailed`] or a [`SecurityError`]; else the socket's.
    pub(crate) fn connect<S: Read + Write>(&self, host: &str, mut socket: S) -> io::Result<WebStream<S>> {
        let secured = Arc::clone(&self.0);
        let (config, shown) = secured.current.get().map_err(io::Error::other)?;
        let name = server_name(host, &secured.options)?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(|error| explained(error, &secured, &shown))?;
        }
        Ok(WebStream { stream: StreamOwned::new(connection, socket), secured, shown })
    }
}

impl<S: Read + Write> WebStream<S> {
    pub(crate) fn socket(&mut self) -> &mut S {
        &mut self.stream.sock
    }
}

impl<S: Read + Write> Read for WebStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(buffer) {
            // HTTP says by itself where an answer ends, so nobody needs to say goodbye (`close_notify`).
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(explained(error, &self.secured, &self.shown)),
            Ok(bytes) => Ok(bytes),
        }
    }
}

impl<S: Read + Write> Write for WebStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).map_err(|error| explained(error, &self.secured, &self.shown))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// An error of TLS in words; others are the socket's.
fn explained(error: io::Error, secured: &Secured, shown: &Shown) -> io::Error {
    match explain::explain_web(&error, &secured.options, shown) {
        Some(failed) => failed.error(io::ErrorKind::InvalidData),
        None => error,
    }
}
