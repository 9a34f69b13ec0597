//! One connection: requests in, replies out, one at a time and in order, as a Kafka broker does it.

use std::io;
use std::io::IoSlice;
use std::sync::Weak;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::TopicPartition;
use protocol::server::{self, Request, RequestKind};
use protocol::{ApiKey, LENGTH_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::broker::Signal;
use crate::cluster::{CountsPanic, Shared};
use crate::complaints::Telling;
use crate::faults::{Departure, Fired};
use crate::frame_room::{FREE_BYTES, Seat};
use crate::guard;
use crate::requests::{self, Answer, Ask, Denials, Told};
use crate::sasl::Login;
use crate::stranger;

/// `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 << 20;
/// With less than that left, what is read into is made anew: requests share it until then.
const LEFT_BYTES_MIN: usize = 4 << 10;
/// What each element of an array takes, once decoded, and a number in the answer: none is larger, with the entries of its
/// list of unknown tags.
const ELEMENT_BYTES: usize = 256;
/// Whoever has ended its side is answered for so long: it has left, or it only listens.
const LISTENS_MAX: Duration = Duration::from_secs(10);
/// What is read of the next request while one waits for its answer, at a time.
const READ_AHEAD_BYTES: usize = 4 << 10;
/// What is left of a frame gets its room at once up to this: most are copied no more than once as they grow.
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

/// What is said of a connection.
struct Spoken {
    cluster: String,
    broker: i32,
    peer: String,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    broker: i32,
    shared: Weak<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: String,
    mut signal: watch::Receiver<Signal>,
) {
    let _counts_panic = CountsPanic(shared.clone());
    let host = peer.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let client_host = format!("/{host}");
    let Some(up) = shared.upgrade() else { return };
    let spoken = Spoken { cluster: up.name.clone(), broker, peer };
    let (seat, unread) = (Seat::new(&up.frame_room), Seat::new(&up.answer_room));
    let (mut asked_to_leave, mut asked_to_read) = (seat.asked_to_leave(), unread.asked_to_leave());
    let mut connection = Connection {
        broker,
        client_host,
        login: Login::new(up.sasl.clone()),
        idle: Idle::new(&up),
        shared,
        stream,
        buffer: BytesMut::new(),
        seat,
        unread,
    };
    drop(up);
    let end = tokio::select! {
        biased;
        _ = signal.changed() => Some(End::Quietly),
        Ok(_) = asked_to_leave.wait_for(|asked| *asked) => None,
        Ok(_) = asked_to_read.wait_for(|asked| *asked) => None,
        end = connection.run() => Some(end),
    };
    let end = end.unwrap_or_else(|| connection.made_room());
    // What it had of the room is free before anything is said about it.
    let shared = connection.shared.clone();
    drop(connection);
    let Spoken { cluster, broker, peer } = &spoken;
    match end {
        End::Quietly => debug!(cluster, broker, peer, "connection closed"),
        End::Because(reason) => complain(&spoken, &shared, &reason),
    }
}

/// Tells why a connection ended, but not without end.
fn complain(spoken: &Spoken, shared: &Weak<Shared>, reason: &str) {
    let Spoken { cluster, broker, peer } = spoken;
    let host = peer.rsplit_once(':').map_or(peer.as_str(), |(host, _)| host);
    let Some(telling) = shared.upgrade().map(|shared| shared.complaints().note(Instant::now(), host, reason))
    else {
        return;
    };
    match telling {
        Telling::Now => warn!(cluster, broker, peer, reason, "connection closed"),
        Telling::Later(at, key) => {
            debug!(cluster, broker, peer, reason, "connection closed");
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                // Where it is gone, it has told the number itself.
                let Some(shared) = shared.upgrade() else { return };
                let more = shared.complaints().counted(&key);
                let (cluster, (host, kind)) = (&shared.name, &key);
                warn!(
                    cluster,
                    host, more, kind, "more connections closed for such reasons in the last minute"
                );
            });
        }
        Telling::Counted => debug!(cluster, broker, peer, reason, "connection closed"),
    }
}

/// Since when a connection is idle, by the cluster's clock.
struct Idle {
    max_ms: i64,
    since_ms: i64,
    clock_moved: watch::Receiver<()>,
}

impl Idle {
    fn new(shared: &Shared) -> Idle {
        let max_ms = shared.state().broker_number("connections.max.idle.ms");
        Idle { max_ms, since_ms: shared.now_ms(), clock_moved: shared.clock_moved() }
    }

    /// Something has come or gone.
    fn ends(&mut self, shared: &Weak<Shared>) {
        if let Some(shared) = shared.upgrade() {
            self.since_ms = shared.now_ms();
        }
    }

    /// Returns when it has been for too long. Negative is for ever, as in Kafka.
    async fn for_too_long(&mut self, shared: &Weak<Shared>) {
        while self.max_ms >= 0 {
            // Without a cluster there is no time, and the connection ends by its signal.
            let Some(now_ms) = shared.upgrade().map(|shared| shared.now_ms()) else { break };
            let left_ms = self.since_ms.saturating_add(self.max_ms).saturating_sub(now_ms);
            let Some(left) = u64::try_from(left_ms).ok().filter(|left_ms| *left_ms > 0) else { return };
            let waited = tokio::time::timeout(Duration::from_millis(left), self.clock_moved.changed()).await;
            if waited.is_ok_and(|moved| moved.is_err()) {
                break;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// The capacity that is to be had for a frame of `want` bytes, of which `have` are there, if what there is, is not enough.
/// It grows with what arrives, when it is full: a length alone claims no memory, and none of the room for all. Up to
/// [`AT_ONCE_BYTES`] are claimed at once for all that: frames that grew in step would wait for each other's room.
fn larger(have: usize, capacity: usize, want: usize) -> Option<usize> {
    if capacity >= want || (have < capacity && capacity >= FREE_BYTES) {
        return None;
    }
    if have < FREE_BYTES {
        return Some(FREE_BYTES);
    }
    Some(want.min(have + have.max(AT_ONCE_BYTES)))
}

/// The same bytes with so much room in all, and no more: `reserve` takes up to twice of what it is asked for.
fn with_capacity(capacity: usize, buffer: &BytesMut) -> BytesMut {
    let mut larger = BytesMut::with_capacity(capacity);
    larger.extend_from_slice(buffer);
    larger
}

struct Connection<S> {
    broker: i32,
    /// As Kafka tells it: with a slash, without the port.
    client_host: String,
    login: Login,
    shared: Weak<Shared>,
    stream: S,
    buffer: BytesMut,
    seat: Seat,
    /// For an answer that is not read yet.
    unread: Seat,
    idle: Idle,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> End {
        loop {
            let served = match self.read_frame().await {
                Ok(frame) => self.serve_frame(frame).await,
                Err(end) => return end,
            };
            self.seat.give_back();
            self.unread.give_back();
            if let Err(end) = served {
                return end;
            }
        }
    }

    /// The next frame, without its length.
    async fn read_frame(&mut self) -> Result<Bytes, End> {
        self.idle.ends(&self.shared);
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
                    let frame = self.buffer.split_to(length).freeze();
                    if length > FREE_BYTES {
                        // What comes after it does not keep the room of all of it.
                        self.buffer = with_capacity(FREE_BYTES, &self.buffer);
                    }
                    return Ok(frame);
                }
                let (have, capacity) = (self.buffer.len(), self.buffer.capacity());
                if let Some(capacity) = larger(have, capacity, LENGTH_BYTES + length) {
                    self.hold(capacity).await?;
                    self.buffer = with_capacity(capacity, &self.buffer);
                }
            } else if self.buffer.capacity() < LEFT_BYTES_MIN {
                // What nobody else has any more is used again.
                self.buffer.reserve(FREE_BYTES - self.buffer.len());
            }
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.buffer) => read,
                () = self.idle.for_too_long(&self.shared) => return Err(self.idle_end()),
            };
            if read.is_ok_and(|bytes| bytes > 0) {
                self.idle.ends(&self.shared);
                self.seat.received(self.buffer.len());
                continue;
            }
            return Err(self.unfinished().map_or(End::Quietly, |(have, want)| {
                let told =
                    format!("the peer has left in the middle of a frame, after {have} of {want} bytes");
                End::Because(told)
            }));
        }
    }

    /// How much there is of a frame that will not be finished, and how much it was to have.
    fn unfinished(&self) -> Option<(usize, u64)> {
        let want = match self.buffer.first_chunk::<LENGTH_BYTES>() {
            Some(prefix) => u64::from(u32::from_be_bytes(*prefix)) + LENGTH_BYTES as u64,
            None => LENGTH_BYTES as u64,
        };
        Some((self.buffer.len(), want)).filter(|(have, _)| *have > 0)
    }

    /// As Kafka does it, without a word; but for a frame that was begun.
    fn idle_end(&self) -> End {
        let Some((have, want)) = self.unfinished() else { return End::Quietly };
        let idle_s = self.idle.max_ms / 1000;
        End::Because(format!("{have} of {want} bytes of a frame, and then nothing for {idle_s} s"))
    }

    /// Takes so much of the room for the frames of all connections.
    async fn hold(&mut self, bytes: usize) -> Result<(), End> {
        let held = tokio::select! {
            biased;
            held = self.seat.hold(bytes) => held,
            () = self.idle.for_too_long(&self.shared) => return Err(self.idle_end()),
        };
        held.map_err(|_| {
            let bytes_max = self.seat.bytes_max();
            End::Because(format!(
                "a request takes {bytes} bytes of memory, and all of them may have {bytes_max}"
            ))
        })
    }

    /// Why it was asked to leave.
    fn made_room(&self) -> End {
        if self.unread.is_asked_to_leave() {
            let bytes_max = self.unread.bytes_max();
            return End::Because(format!(
                "an answer that is not read had to make room for others: all of them may have {bytes_max} bytes"
            ));
        }
        let (bytes_max, been) = (self.seat.bytes_max(), "had to make room for others");
        let had = match self.unfinished() {
            Some((have, want)) => format!("{have} of {want} bytes of a frame"),
            None => "a request that waits for its answer".to_owned(),
        };
        End::Because(format!("{had} {been}: the frames of all connections may have {bytes_max} bytes"))
    }

    async fn serve_frame(&mut self, frame: Bytes) -> Result<(), End> {
        if self.login.expects_bare_bytes() {
            return self.serve_bare_bytes(&frame).await;
        }
        let elements = guard::check(&frame).map_err(End::Because)?;
        let frame_bytes = frame.len();
        self.hold(frame_bytes.saturating_add(elements.saturating_mul(ELEMENT_BYTES))).await?;
        let request = server::decode_request(frame)
            .map_err(|error| End::Because(format!("not a request that is known here: {error}")))?;
        let fired = self.prepare(&request)?;
        for look in &fired.looks {
            look(&request);
        }
        self.wait_as_told(&fired).await;
        if fired.refused {
            return Err(End::Quietly);
        }
        // What was held counts from now on.
        let now_ms = self.shared.upgrade().ok_or(End::Quietly)?.now_ms();
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
            frame_bytes,
            now_ms,
            fired,
            principal,
            denied: Denials::default(),
            told: Told::default(),
        };
        let (answer, ends) = match requests::log_in(&ask, &mut self.login, &request.body) {
            Some((answer, ends)) => (answer, ends),
            None => {
                let early = api == ApiKey::ApiVersions && self.login.takes_api_versions();
                if let Some(objection) = self.login.objection(now_ms).filter(|_| !early) {
                    return Err(End::Because(objection.to_owned()));
                }
                (self.answer(&mut ask, request.body).await?, false)
            }
        };
        // Nothing of the request is left, whatever its answer waits for.
        self.seat.give_back();
        if let Answer::Frame { slices, log_bytes } = &answer {
            self.count_unread(slices, *log_bytes)?;
        }
        if !ask.fired.delay_reply.is_zero() {
            let waiting = tokio::time::sleep(ask.fired.delay_reply);
            let Connection { shared, stream, buffer, idle, .. } = self;
            attend(waiting, stream, buffer, idle, shared).await?;
        }
        match answer {
            Answer::Frame { slices, .. } if ends => {
                self.depart(slices, ask.fired.departure).await?;
                Err(End::Because("the login has failed".to_owned()))
            }
            Answer::Frame { slices, .. } => self.depart(slices, ask.fired.departure).await,
            Answer::Nothing => Ok(()),
            Answer::Close(reason) => Err(End::Because(reason)),
            Answer::Gone => Err(End::Quietly),
        }
    }

    /// Keeps a request from being applied for as long as a fault says. A broker does what it has got, also for a client
    /// that has left: such late requests are what the fault is for.
    async fn wait_as_told(&mut self, fired: &Fired) {
        if fired.delay.is_zero() && fired.holds.is_empty() {
            return;
        }
        // It is not the client that stands still.
        self.seat.give_back();
        if !fired.delay.is_zero() {
            tokio::time::sleep(fired.delay).await;
        }
        for mut held in fired.holds.iter().cloned() {
            // An error says that whoever holds it is gone, which releases it too.
            let _ = held.wait_for(|released| *released).await;
        }
        self.idle.ends(&self.shared);
    }

    /// Takes room for an answer for as long as it is not read.
    fn count_unread(&mut self, slices: &[Bytes], log_bytes: usize) -> Result<(), End> {
        let bytes = slices.iter().map(Bytes::len).sum::<usize>().saturating_sub(log_bytes);
        if self.unread.take_now(bytes) {
            return Ok(());
        }
        let bytes_max = self.unread.bytes_max();
        Err(End::Because(format!(
            "an answer of {bytes} bytes finds no room: all that are not read yet may have {bytes_max} bytes"
        )))
    }

    /// Has a request answered.
    async fn answer(&mut self, ask: &mut Ask, request: RequestKind) -> Result<Answer, End> {
        let Connection { shared, stream, buffer, seat, idle, .. } = self;
        let answering = requests::answer(shared, ask, request, seat);
        attend(answering, stream, buffer, idle, shared).await
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
    fn prepare(&self, request: &Request) -> Result<Fired, End> {
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
        Ok(faults.fire(request.api, self.broker, &mentioned))
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
            Departure::NeverButOpen => {
                drop(slices);
                self.unread.give_back();
                // Whatever else is said, nobody answers, until the client leaves.
                let _ = tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await;
                return Err(End::Quietly);
            }
            Departure::NeverAndClosed => return Err(End::Quietly),
        }
        self.write(slices).await?;
        Ok(())
    }

    /// Writes slices without joining them first.
    async fn write(&mut self, slices: Vec<Bytes>) -> io::Result<()> {
        let mut pending = std::collections::VecDeque::from(slices);
        pending.retain(|slice| !slice.is_empty());
        let mut gone_bytes = 0;
        while !pending.is_empty() {
            let vectors: Vec<IoSlice<'_>> =
                pending.iter().take(SLICES_MAX).map(|slice| IoSlice::new(slice)).collect();
            let mut written = tokio::select! {
                biased;
                written = self.stream.write_vectored(&vectors) => written?,
                () = self.idle.for_too_long(&self.shared) => return Err(io::ErrorKind::TimedOut.into()),
            };
            self.idle.ends(&self.shared);
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            gone_bytes += written;
            self.unread.received(gone_bytes);
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

/// Waits for `work`. Meanwhile what comes is read up to what is free: so that a client that leaves is seen to, and one
/// that neither sends nor gets anything is left when it is idle for too long.
async fn attend<T>(
    work: impl Future<Output = T>,
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    idle: &mut Idle,
    shared: &Weak<Shared>,
) -> Result<T, End> {
    tokio::pin!(work);
    // Most do not wait.
    tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        () = std::future::ready(()) => {}
    }
    // When it is given up, once the peer sends no more: that may mean that it only listens.
    let mut listens_until: Option<Instant> = None;
    loop {
        let free = FREE_BYTES.saturating_sub(buffer.len());
        buffer.reserve(free.min(READ_AHEAD_BYTES));
        let mut ahead = (&mut *buffer).limit(free);
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            read = stream.read_buf(&mut ahead), if free > 0 && listens_until.is_none() => match read {
                Ok(0) => listens_until = Some(Instant::now() + LISTENS_MAX),
                Ok(_) => idle.ends(shared),
                Err(_) => return Err(End::Quietly),
            },
            () = tokio::time::sleep_until(listens_until.unwrap_or_else(Instant::now)), if listens_until.is_some() => {
                return Err(End::Quietly);
            }
            () = idle.for_too_long(shared) => return Err(End::Quietly),
        }
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
    fn a_length_alone_claims_no_memory_and_most_frames_are_copied_once_at_most() {
        let check = |have, capacity, want, expected| {
            assert_eq!(larger(have, capacity, want), expected, "{have} in {capacity} of {want}");
        };
        check(4, FREE_BYTES, FRAME_BYTES_MAX, None);
        check(FREE_BYTES - 1, FREE_BYTES, FRAME_BYTES_MAX, None);
        // What is left of what others have been read into.
        check(4, 5_000, 5_000, None);
        check(4, 5_000, 5_001, Some(FREE_BYTES));
        check(4, 5_000, FRAME_BYTES_MAX, Some(FREE_BYTES));
        check(FREE_BYTES, FREE_BYTES, FREE_BYTES + 100_000, Some(FREE_BYTES + 100_000));
        check(FREE_BYTES, FREE_BYTES, FRAME_BYTES_MAX, Some(FREE_BYTES + AT_ONCE_BYTES));
        check(3 << 20, 4 << 20, FRAME_BYTES_MAX, None);
        check(4 << 20, 4 << 20, FRAME_BYTES_MAX, Some(8 << 20));
        check(90 << 20, 90 << 20, FRAME_BYTES_MAX, Some(FRAME_BYTES_MAX));
    }

    #[test]
    fn what_is_accounted_is_what_is_allocated() {
        let full = BytesMut::zeroed(FREE_BYTES);
        assert_eq!(with_capacity(FREE_BYTES + 1000, &full).capacity(), FREE_BYTES + 1000);
    }
}
