//! A peer that says what a test tells it to.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::{Address, ApiKey, Cluster, Opener, Options, Stream};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::metadata_response::MetadataResponseBroker;
use protocol::messages::{ApiVersionsResponse, MetadataResponse};
use protocol::server::{Request, RequestKind, decode_request, encode_response};
use protocol::{Encodable, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// What the peer does about a request.
#[derive(Debug)]
pub(crate) enum Say {
    Bytes(Bytes),
    Nothing,
    BytesAndClose(Bytes),
}

/// What takes a connection.
type Accept = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// Who listens, by port. Connections are in memory: nothing is awaited that paused time could overtake.
static LISTENING: Mutex<BTreeMap<u16, Accept>> = Mutex::new(BTreeMap::new());

/// A port that no other test has.
static NEXT_PORT: AtomicU16 = AtomicU16::new(1);

/// As much as one side of a connection may be ahead of the other: less than many requests have.
const BYTES_AHEAD_MAX: usize = 64 << 10;

#[derive(Debug)]
struct InMemory;

impl Opener for InMemory {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let listening = LISTENING.lock().unwrap().get(&address.port).cloned();
        Box::pin(async move {
            let accept = listening.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = tokio::io::duplex(BYTES_AHEAD_MAX);
            accept(far);
            let (reader, writer) = tokio::io::split(near);
            Ok(Stream::new(reader, writer))
        })
    }
}

/// Calls `accept` for each connection to a port that is returned.
pub(crate) fn listen(accept: impl Fn(DuplexStream) + Send + Sync + 'static) -> u16 {
    let port = nobody();
    LISTENING.lock().unwrap().insert(port, Arc::new(accept));
    port
}

/// A port that nobody listens on.
pub(crate) fn nobody() -> u16 {
    NEXT_PORT.fetch_add(1, Ordering::Relaxed)
}

/// Starts a peer that reads requests and answers each as `answer` says.
pub(crate) fn peer(answer: impl FnMut(Request) -> Say + Send + 'static) -> u16 {
    let answer = Arc::new(Mutex::new(answer));
    listen(move |stream| {
        tokio::spawn(serve(stream, Arc::clone(&answer)));
    })
}

/// Answers what is asked on `stream`, as `answer` says, until it ends.
pub(crate) async fn serve<F: FnMut(Request) -> Say>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Arc<Mutex<F>>,
) {
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let request = decode_request(frame.into()).expect("our own requests can be read");
        let said = (answer.lock().unwrap())(request);
        match said {
            Say::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Say::Nothing => {}
            Say::BytesAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
        }
    }
}

/// Starts a peer that sends `first` as soon as somebody connects and has said something, then stays silent
/// until the other side closes.
pub(crate) fn stranger(first: &'static [u8], close: bool) -> u16 {
    listen(move |mut stream| {
        tokio::spawn(async move {
            let mut heard = [0; 1024];
            let _ = stream.read(&mut heard).await;
            let _ = stream.write_all(first).await;
            if !close {
                while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
            }
        });
    })
}

/// The answer to `request` that `body` is.
pub(crate) fn reply(request: &Request, body: &impl Encodable) -> Say {
    let header = &request.header;
    Say::Bytes(encode_response(request.api, request.version, header.correlation_id, body).unwrap())
}

/// The ranges of a broker like 3.9 for all that the generated messages have, but for `but`.
pub(crate) fn versions(but: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let keys = ApiKey::iter().map(|api| {
        let range = api.valid_versions();
        let (_, lowest, highest) =
            *but.iter().find(|(other, ..)| *other == api).unwrap_or(&(api, range.min, range.max));
        ApiVersion::default().with_api_key(api as i16).with_min_version(lowest).with_max_version(highest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.filter(|key| key.max_version >= 0).collect())
}

/// Metadata that lists `brokers` by id and port, the first of them as controller.
pub(crate) fn metadata(brokers: &[(i32, u16)]) -> MetadataResponse {
    let listed = brokers.iter().map(|&(id, port)| {
        MetadataResponseBroker::default()
            .with_node_id(id.into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(port))
            .with_rack(None)
    });
    MetadataResponse::default()
        .with_cluster_id(Some(StrBytes::from_static_str("test")))
        .with_controller_id(brokers.first().map_or(-1, |&(id, _)| id).into())
        .with_brokers(listed.collect())
}

/// The usual answers, and `answer` for the rest.
pub(crate) fn as_broker(
    id: i32,
    port: Arc<Mutex<u16>>,
    mut answer: impl FnMut(&Request) -> Say + Send + 'static,
) -> impl FnMut(Request) -> Say + Send + 'static {
    move |request| match &request.body {
        RequestKind::ApiVersions(_) => reply(&request, &versions(&[])),
        RequestKind::Metadata(asked) => {
            assert!(!asked.allow_auto_topic_creation, "metadata must not create topics");
            reply(&request, &metadata(&[(id, *port.lock().unwrap())]))
        }
        _ => answer(&request),
    }
}

/// A broker, id 1, that answers versions and metadata, and `answer` for the rest.
pub(crate) fn broker(answer: impl FnMut(&Request) -> Say + Send + 'static) -> u16 {
    let own_port = Arc::new(Mutex::new(0));
    let port = peer(as_broker(1, Arc::clone(&own_port), answer));
    *own_port.lock().unwrap() = port;
    port
}

/// A client of the peer at `port`.
pub(crate) fn cluster(port: u16) -> Cluster {
    with(options(&[port]))
}

/// A client that is told so.
pub(crate) fn with(options: Options) -> Cluster {
    Cluster::with_opener(options, Box::new(InMemory))
}

/// Options for peers at `ports`.
pub(crate) fn options(ports: &[u16]) -> Options {
    let bootstrap = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    Options::new("test", bootstrap.collect())
}
