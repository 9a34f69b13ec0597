//! A server for tests, on a thread of its own, with a certificate for `localhost`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{Secret, StoreSource, TlsOptions, Trust};

/// What is answered.
pub(crate) enum Reply {
    /// A status and a body.
    Says(u16, String),
    /// These very bytes, then the end.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
}

/// A server. It ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    /// Its certificate, as PEM.
    certificate: String,
    heard: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// One that speaks TLS. `answer` is given each request as it came.
    pub(crate) fn secured(answer: impl Fn(&str) -> Reply + Send + 'static) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .unwrap();
        Server::start(Some(Arc::new(config)), certificate.pem(), answer)
    }

    /// One that does not.
    pub(crate) fn plain(answer: impl Fn(&str) -> Reply + Send + 'static) -> Server {
        Server::start(None, String::new(), answer)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        certificate: String,
        answer: impl Fn(&str) -> Reply + Send + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (heard, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (listens, stops) = (Arc::clone(&heard), Arc::clone(&ended));
        thread::spawn(move || {
            let mut silent = Vec::new();
            for socket in listener.incoming() {
                if stops.load(Ordering::SeqCst) {
                    return;
                }
                let socket = socket.unwrap();
                let kept = socket.try_clone().unwrap();
                let served = match &tls {
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                        serve(StreamOwned::new(connection, socket), &listens, &answer)
                    }
                    None => serve(socket, &listens, &answer),
                };
                // Who does not believe us goes away in the middle.
                if matches!(served, Ok(true)) {
                    silent.push(kept);
                }
            }
        });
        Server { address, scheme, certificate, heard, ended }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// What its clients need to believe it.
    pub(crate) fn trusted(&self) -> TlsOptions {
        let store = StoreSource::Inline { certificates: Secret::new(&*self.certificate), key: None };
        TlsOptions { trust: Trust::Store(store), ..TlsOptions::default() }
    }

    /// All that it was asked.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// Whether the connection is to be kept, silent.
fn serve<S: Read + Write>(
    mut stream: S,
    heard: &Mutex<Vec<String>>,
    answer: &impl Fn(&str) -> Reply,
) -> io::Result<bool> {
    let mut request = Vec::new();
    let whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        (body.len() >= length.unwrap_or(0)).then_some(text)
    };
    let request = loop {
        let mut part = [0; 4096];
        match stream.read(&mut part)? {
            0 => return Ok(false),
            bytes => request.extend_from_slice(&part[..bytes]),
        }
        // The first byte of TLS, to whom a server without it says something at once.
        if request.starts_with(&[0x16]) {
            break String::new();
        }
        if let Some(text) = whole(&request) {
            break text;
        }
    };
    let reply = answer(&request);
    heard.lock().unwrap().push(request);
    match reply {
        Reply::Says(status, body) => {
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
            let location = if (300..400).contains(&status) { "Location: /elsewhere\r\n" } else { "" };
            stream.write_all(format!("{head}{location}Connection: close\r\n\r\n{body}").as_bytes())?;
            stream.flush()?;
            Ok(false)
        }
        Reply::Raw(bytes) => {
            stream.write_all(&bytes)?;
            stream.flush()?;
            Ok(false)
        }
        Reply::Silence => Ok(true),
    }
}
