//! A peer that says what a test tells it to.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::{ApiKey, Cluster, Options};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::metadata_response::MetadataResponseBroker;
use protocol::messages::{ApiVersionsResponse, MetadataResponse};
use protocol::server::{Request, RequestKind, decode_request, encode_response};
use protocol::{Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the peer does about a request.
#[derive(Debug)]
pub(crate) enum Say {
    Bytes(Bytes),
    Nothing,
    BytesAndClose(Bytes),
}

/// Starts a peer on a free port that reads requests and answers each as `answer` says.
pub(crate) async fn peer(answer: impl FnMut(Request) -> Say + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(Mutex::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    port
}

async fn serve<F: FnMut(Request) -> Say>(mut stream: TcpStream, answer: Arc<Mutex<F>>) {
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
pub(crate) async fn stranger(first: &'static [u8], close: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 1024];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(first).await;
                if !close {
                    while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
                }
            });
        }
    });
    port
}

/// A port that nobody listens on.
pub(crate) async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
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
pub(crate) async fn broker(answer: impl FnMut(&Request) -> Say + Send + 'static) -> u16 {
    let own_port = Arc::new(Mutex::new(0));
    let port = peer(as_broker(1, Arc::clone(&own_port), answer)).await;
    *own_port.lock().unwrap() = port;
    port
}

/// A client of the peer at `port`.
pub(crate) fn cluster(port: u16) -> Cluster {
    Cluster::new(options(&[port]))
}

/// Options for peers at `ports`.
pub(crate) fn options(ports: &[u16]) -> Options {
    let bootstrap = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    Options::new("test", bootstrap.collect())
}
