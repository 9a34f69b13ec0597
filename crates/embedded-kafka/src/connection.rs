//! One connection: requests in, replies out, one at a time and in order, as a Kafka broker does it.

use std::io;
use std::io::IoSlice;
use std::sync::Weak;

use bytes::{Buf, Bytes, BytesMut};
use model::TopicPartition;
use protocol::server::{self, Request, RequestKind};
use protocol::{ApiKey, LENGTH_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::broker::Signal;
use crate::cluster::Shared;
use crate::complaints::Telling;
use crate::faults::{Departure, Fired};
use crate::guard;
use crate::requests::{self, Answer, Ask, Denials};
use crate::sasl::Login;
use crate::stranger;

/// `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 << 20;
/// A read asks for at least so much room.
const READ_BYTES: usize = 64 << 10;
/// What is left of a frame gets its room at once up to this: most are not copied as they grow.
const AT_ONCE_BYTES: usize = 1 << 20;
/// Slices given to the system in one write.
const SLICES_MAX: usize = 256;

/// Why a connection ends.
enum End {
    /// The peer closed it, or the broker stops.
    Quietly,
    /// Something about it is worth a line in the log.
    Because(String),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Quietly
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    broker: i32,
    shared: Weak<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: String,
    mut signal: watch::Receiver<Signal>,
) {
    let host = peer.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let client_host = format!("/{host}");
    let Some(sasl) = shared.upgrade().map(|shared| shared.sasl.clone()) else { return };
    let login = Login::new(sasl);
    let mut connection = Connection { broker, client_host, login, shared, stream, buffer: BytesMut::new() };
    let end = tokio::select! {
        biased;
        _ = signal.changed() => End::Quietly,
        end = connection.run() => end,
    };
    match end {
        End::Quietly => debug!(broker, peer, "connection closed"),
        End::Because(reason) => complain(broker, &connection.shared, &peer, &reason),
    }
}

/// Tells why a connection ended, but not without end.
fn complain(broker: i32, shared: &Weak<Shared>, peer: &str, reason: &str) {
    let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
    let Some(telling) = shared.upgrade().map(|shared| shared.complaints().note(Instant::now(), host)) else {
        return;
    };
    match telling {
        Telling::Now => warn!(broker, peer, reason, "connection closed"),
        Telling::Later(at, host) => {
            debug!(broker, peer, reason, "connection closed");
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                let Some(shared) = shared.upgrade() else { return };
                let more = shared.complaints().counted(&host);
                warn!(host, more, "more connections closed for such reasons in the last minute");
            });
        }
        Telling::Counted => debug!(broker, peer, reason, "connection closed"),
    }
}

/// The room to make for the rest of a frame, of which `have` bytes of `want` are there. Beyond [`AT_ONCE_BYTES`] it grows
/// with what arrives: a length alone claims no memory.
fn room(have: usize, want: usize) -> usize {
    (want - have).min(have.max(AT_ONCE_BYTES)).max(READ_BYTES)
}

struct Connection<S> {
    broker: i32,
    /// As Kafka tells it: with a slash, without the port.
    client_host: String,
    login: Login,
    shared: Weak<Shared>,
    stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> End {
        loop {
            let served = match self.read_frame().await {
                Ok(frame) => self.serve_frame(frame).await,
                Err(end) => return end,
            };
            if let Err(end) = served {
                return end;
            }
        }
    }

    /// The next frame, without its length.
    async fn read_frame(&mut self) -> Result<Bytes, End> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() {
                let claimed = i32::from_be_bytes(*prefix);
                let length = usize::try_from(claimed).ok().filter(|length| *length <= FRAME_BYTES_MAX);
                let Some(length) = length else {
                    return Err(End::Because(match stranger::looks_like(&self.buffer) {
                        Some(told) => told.to_owned(),
                        None => format!("a frame claims {claimed} bytes"),
                    }));
                };
                if self.buffer.len() >= LENGTH_BYTES + length {
                    self.buffer.advance(LENGTH_BYTES);
                    return Ok(self.buffer.split_to(length).freeze());
                }
                self.buffer.reserve(room(self.buffer.len(), LENGTH_BYTES + length));
            } else {
                self.buffer.reserve(READ_BYTES);
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.is_ok_and(|bytes| bytes > 0) {
                continue;
            }
            return Err(self.left_over().map_or(End::Quietly, End::Because));
        }
    }

    /// What there is of a frame that will not be finished.
    fn left_over(&self) -> Option<String> {
        let have = self.buffer.len();
        let want = match self.buffer.first_chunk::<LENGTH_BYTES>() {
            Some(prefix) => u64::from(u32::from_be_bytes(*prefix)) + LENGTH_BYTES as u64,
            None => LENGTH_BYTES as u64,
        };
        (have > 0)
            .then(|| format!("the peer has left in the middle of a frame, after {have} of {want} bytes"))
    }

    async fn serve_frame(&mut self, frame: Bytes) -> Result<(), End> {
        if self.login.expects_bare_bytes() {
            return self.serve_bare_bytes(&frame).await;
        }
        guard::check(&frame).map_err(End::Because)?;
        let request = server::decode_request(frame)
            .map_err(|error| End::Because(format!("not a request that is known here: {error}")))?;
        let (fired, now_ms) = self.prepare(&request)?;
        for look in &fired.looks {
            look(&request);
        }
        if !fired.delay.is_zero() {
            tokio::time::sleep(fired.delay).await;
        }
        for mut held in fired.holds.iter().cloned() {
            // An error says that whoever holds it is gone, which releases it too.
            let _ = held.wait_for(|released| *released).await;
        }
        if fired.refused {
            return Err(End::Quietly);
        }
        let client_id =
            request.header.client_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let (api, version, correlation_id) = (request.api, request.version, request.header.correlation_id);
        let client_host = self.client_host.clone();
        let principal = self.login.principal().to_owned();
        let broker = self.broker;
        let mut ask = Ask {
            broker,
            api,
            version,
            correlation_id,
            client_id,
            client_host,
            now_ms,
            fired,
            principal,
            denied: Denials::default(),
        };
        let (answer, ends) = match requests::log_in(&ask, &mut self.login, &request.body) {
            Some((answer, ends)) => (answer, ends),
            None => {
                let early = api == ApiKey::ApiVersions && self.login.takes_api_versions();
                if let Some(objection) = self.login.objection(now_ms).filter(|_| !early) {
                    return Err(End::Because(objection.to_owned()));
                }
                (requests::answer(&self.shared, &mut ask, request.body).await, false)
            }
        };
        if !ask.fired.delay_reply.is_zero() {
            tokio::time::sleep(ask.fired.delay_reply).await;
        }
        match answer {
            Answer::Frame(slices) if ends => {
                self.depart(slices, ask.fired.departure).await?;
                Err(End::Because("the login has failed".to_owned()))
            }
            Answer::Frame(slices) => self.depart(slices, ask.fired.departure).await,
            Answer::Nothing => Ok(()),
            Answer::Close(reason) => Err(End::Because(reason)),
            Answer::Gone => Err(End::Quietly),
        }
    }

    /// A login as it was before SaslAuthenticate (KIP-43): what is said goes to and fro without headers.
    async fn serve_bare_bytes(&mut self, said: &[u8]) -> Result<(), End> {
        let now_ms = self.shared.upgrade().ok_or(End::Quietly)?.now_ms();
        let reply = self.login.authenticate(now_ms, said, false);
        if reply.closes || !reply.code.is_ok() {
            return Err(End::Because("the login has failed".to_owned()));
        }
        let length = u32::try_from(reply.bytes.len()).unwrap_or(u32::MAX);
        let slices = vec![Bytes::copy_from_slice(&length.to_be_bytes()), Bytes::from(reply.bytes)];
        self.write(slices).await?;
        Ok(())
    }

    /// Counts the request and finds out what is to happen to it.
    fn prepare(&self, request: &Request) -> Result<(Fired, i64), End> {
        let shared = self.shared.upgrade().ok_or(End::Quietly)?;
        shared.count_request(request.api);
        if !matches!(request.body, RequestKind::UnsupportedVersion)
            && !shared.profile.answers(request.api, request.version)
            && request.api != ApiKey::ApiVersions
        {
            let (api, version) = (request.api, request.version);
            return Err(End::Because(format!("{api:?} version {version} is not in this profile")));
        }
        let mut faults = shared.faults();
        let mentioned: Vec<TopicPartition> = if faults.look_at_topics(request.api) {
            requests::mentioned(&shared.state(), self.broker, &request.body)
        } else {
            Vec::new()
        };
        let fired = faults.fire(request.api, self.broker, &mentioned);
        drop(faults);
        let now_ms = shared.now_ms();
        Ok((fired, now_ms))
    }

    async fn depart(&mut self, mut slices: Vec<Bytes>, departure: Departure) -> Result<(), End> {
        match departure {
            Departure::Whole => {}
            Departure::Corrupted => {
                if let Some(last) = slices.iter_mut().rev().find(|slice| !slice.is_empty()) {
                    let mut flipped = BytesMut::from(&last[..]);
                    let at = flipped.len() - 1;
                    flipped[at] ^= 1;
                    *last = flipped.freeze();
                }
            }
            Departure::CutInTheMiddle => {
                let total: usize = slices.iter().map(Bytes::len).sum();
                self.write(truncated(slices, total / 2)).await?;
                self.stream.shutdown().await?;
                return Err(End::Quietly);
            }
            Departure::NeverButOpen => std::future::pending().await,
            Departure::NeverAndClosed => return Err(End::Quietly),
        }
        self.write(slices).await?;
        Ok(())
    }

    /// Writes slices without joining them first.
    async fn write(&mut self, slices: Vec<Bytes>) -> io::Result<()> {
        let mut pending = std::collections::VecDeque::from(slices);
        pending.retain(|slice| !slice.is_empty());
        while !pending.is_empty() {
            let vectors: Vec<IoSlice<'_>> =
                pending.iter().take(SLICES_MAX).map(|slice| IoSlice::new(slice)).collect();
            let mut written = self.stream.write_vectored(&vectors).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(first) = pending.front_mut() {
                if written < first.len() {
                    first.advance(written);
                    break;
                }
                written -= first.len();
                pending.pop_front();
            }
        }
        Ok(())
    }
}

/// The first `keep` bytes of the slices.
fn truncated(slices: Vec<Bytes>, mut keep: usize) -> Vec<Bytes> {
    let mut kept = Vec::new();
    for slice in slices {
        let take = slice.len().min(keep);
        keep -= take;
        kept.push(slice.slice(..take));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_alone_claims_no_memory_and_small_frames_are_not_copied_as_they_grow() {
        let check = |have, want, expected| assert_eq!(room(have, want), expected, "{have} of {want}");
        check(4, 100, READ_BYTES);
        check(4, 500_000, 499_996);
        check(4, FRAME_BYTES_MAX, AT_ONCE_BYTES);
        check(3 << 20, FRAME_BYTES_MAX, 3 << 20);
        check(FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX, READ_BYTES);
    }
}
