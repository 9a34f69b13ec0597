//! Opens a connection and finds out who answers.
//!
//! ```text
//! open ── ApiVersions v3 ──┬─ its versions ───────────────────▶ connection
//!   ▲                      ├─ "not that version" ── v0…v2 ────▶ connection
//!   └──── v0 from now on ──┴─ closed without a word
//! ```
//! Some services close the connection on a version they do not know, so a close is answered with one more
//! try. What answers otherwise is no Kafka broker, and is named as far as it shows.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{ApiKey, ApiVersions, ApiVersionsAnswer, supported};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::buffers::BufferPool;
use crate::error::CloseCause;
use crate::inbound::Inbound;
use crate::{Address, CallError, Opener, Options, OutOfFiles, Stream};

/// The largest answer to ApiVersions taken from a peer that has not shown that it is Kafka.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An open connection to a broker whose versions are known.
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    pub(crate) versions: ApiVersions,
}

/// Opens a connection to `address` within [`Options::connect_timeout`].
pub(crate) async fn greet(
    opener: &dyn Opener,
    address: &Arc<Address>,
    options: &Options,
) -> Result<Greeted, CallError> {
    let mut reached = false;
    match timeout(options.connect_timeout, attempt(opener, address, options, &mut reached)).await {
        Ok(result) => result,
        // Whoever listens there took the connection and says nothing. The caller's own request was not sent.
        Err(_) if reached => Err(CallError::TimedOut {
            api: ApiKey::ApiVersions,
            address: Arc::clone(address),
            after: options.connect_timeout,
            maybe_written: false,
        }),
        Err(_) => Err(CallError::Connect {
            address: Arc::clone(address),
            source: Arc::new(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no connection within {:.1} s", options.connect_timeout.as_secs_f64()),
            )),
        }),
    }
}

async fn attempt(
    opener: &dyn Opener,
    address: &Arc<Address>,
    options: &Options,
    reached: &mut bool,
) -> Result<Greeted, CallError> {
    let newest = *supported(ApiKey::ApiVersions).end();
    for version in [newest, 0] {
        let opened = opener.open(Arc::clone(address)).await;
        let stream = opened.map_err(|source| CallError::Connect {
            address: Arc::clone(address),
            source: Arc::new(OutOfFiles::named(source)),
        })?;
        *reached = true;
        match ask(stream, address, options, version).await {
            Ok(greeted) => return Ok(greeted),
            Err(Failed::Closed) => {}
            Err(Failed::For(error)) => return Err(error),
        }
    }
    Err(CallError::NotKafka {
        address: Arc::clone(address),
        what: "it closes the connection without an answer, as a TLS listener or ZooKeeper may do".to_owned(),
    })
}

enum Failed {
    /// The peer closed the connection and said nothing: it may want another version.
    Closed,
    /// For good.
    For(CallError),
}

async fn ask(
    mut stream: Stream,
    address: &Arc<Address>,
    options: &Options,
    mut version: i16,
) -> Result<Greeted, Failed> {
    let not_kafka = |what: String| Failed::For(CallError::NotKafka { address: Arc::clone(address), what });
    let mut inbound = Inbound::new(BufferPool::default(), ANSWER_BYTES_MAX);
    // Twice at most: a broker is told a version it said itself only once.
    for correlation_id in 0..2 {
        let request = ApiVersions::request(version, correlation_id, &options.client_id);
        let written = async {
            stream.writer.write_all(&request).await?;
            stream.writer.flush().await
        };
        if written.await.is_err() {
            return Err(Failed::Closed);
        }
        let frame = match next_frame(&mut inbound, &mut stream).await {
            Ok(frame) => frame,
            Err(CloseCause::ByPeer | CloseCause::Io(_)) => return Err(Failed::Closed),
            Err(cause) => return Err(not_kafka(what_it_is(&cause, inbound.staged()))),
        };
        if protocol::correlation_id(&frame) != Some(correlation_id) {
            return Err(not_kafka("its answer has another request's number".to_owned()));
        }
        match ApiVersions::read_answer(version, frame) {
            Ok(ApiVersionsAnswer::Versions(versions)) => return Ok(Greeted { stream, versions }),
            Ok(ApiVersionsAnswer::AskAgain { version: lower }) => version = lower,
            Ok(ApiVersionsAnswer::Refused(error)) => {
                return Err(Failed::For(CallError::Refused {
                    api: ApiKey::ApiVersions,
                    address: Arc::clone(address),
                    error,
                    message: None,
                }));
            }
            Err(error) => return Err(not_kafka(format!("its answer cannot be read: {error}"))),
        }
    }
    Err(not_kafka("it refuses the version of ApiVersions that it names".to_owned()))
}

async fn next_frame(inbound: &mut Inbound, stream: &mut Stream) -> Result<Bytes, CloseCause> {
    loop {
        inbound.read(&mut *stream.reader).await?;
        if let Some(frame) = inbound.next_frame()? {
            return Ok(frame);
        }
    }
}

fn what_it_is(cause: &CloseCause, first_bytes: &[u8]) -> String {
    match protocol::looks_like(first_bytes) {
        Some(peer) => format!("it is {peer}"),
        None => format!("{cause}"),
    }
}
