//! One socket to one broker, and the task that owns it.
//!
//! ```text
//! callers ──Request──▶ queue ──▶ out (slices) ──vectored write──▶ broker
//!    ▲                            pending, in order                  │
//!    └───────reply──────────────── front ◀──────frames───────────────┘
//! ```
//! A broker answers the requests of a connection in order, so a reply belongs to the front of `pending`;
//! any other means that the two sides no longer agree, and ends the connection. So does a reply that is
//! late, for those behind it could only be later. When a connection ends, everything pending fails at
//! once, and each failure says whether the broker may have seen its request.
//!
//! Where a login lasts for a time only (KIP-368), the first request that comes near its end has the next one prepared.
//! Once that is done, or before if the end has come, requests wait until a new login was made in their stead: its
//! requests stand in the same order as all others. The broker takes nothing else in between, and what was sent before is
//! answered before.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use model::BrokerId;
use protocol::{ApiKey, ApiVersions, DecodeError, EncodeError};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::warn;

use crate::accounts::Account;
use crate::buffers::BufferPool;
use crate::error::CloseCause;
use crate::handshake::{Greeted, Session, share};
use crate::inbound::Inbound;
use crate::sasl::{Ask, Login, Next, NotIn, Prepared};
use crate::{Address, CallError, Options, SecurityError};

/// The most slices that one write hands to the kernel, which takes 1024 at most.
const SLICES_MAX: usize = 256;

/// Correlation ids of logins that are made again: none that a request has.
const LOGIN_IDS_FROM: i32 = i32::MIN;

/// When a login that could not be begun is begun again: what it needs may be there by then.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A connection to one broker. Clones are the same connection; it closes when all are gone and what was
/// asked is answered, or by [`Connection::close`].
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: Arc<Address>,
    versions: ApiVersions,
    client_id: String,
    request_timeout: Duration,
    correlation: AtomicI32,
    /// Bounded by its users: each request belongs to a caller that waits for it or counts its bytes, and
    /// none outlives its deadline.
    requests: mpsc::UnboundedSender<Request>,
    ended: Arc<Ended>,
}

/// How and why a connection ends, between its handle and its task.
#[derive(Debug, Default)]
struct Ended {
    asked: Notify,
    cause: OnceLock<CloseCause>,
}

/// A request on its way to the task.
#[derive(Debug)]
struct Request {
    api: ApiKey,
    correlation_id: i32,
    slices: Vec<Bytes>,
    deadline: Instant,
    after: Duration,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
}

impl Connection {
    /// Starts the task of a connection that has been greeted.
    pub(crate) fn start(
        greeted: Greeted,
        address: Arc<Address>,
        options: &Options,
        pool: BufferPool,
        account: &Arc<Account>,
    ) -> Connection {
        let (sender, receiver) = mpsc::unbounded_channel();
        let ended = Arc::new(Ended::default());
        let renewal = greeted.session.map(|session| {
            Box::new(Renewal {
                account: Arc::clone(account),
                client_id: options.client_id.clone(),
                versions: greeted.versions.clone(),
                timeout: options.request_timeout,
                session: Some(session),
                next: None,
                held: VecDeque::new(),
            })
        });
        let driver = Driver {
            address: Arc::clone(&address),
            ended: Arc::clone(&ended),
            inbound: Inbound::new(pool, options.frame_bytes_max),
            stream: greeted.stream,
            out: VecDeque::new(),
            pending: VecDeque::new(),
            nearest: None,
            queued_bytes: 0,
            written_bytes: 0,
            is_tls: options.security.tls.is_some(),
            has_answered: false,
            renewal,
        };
        tokio::spawn(driver.run(receiver));
        Connection(Arc::new(Inner {
            address,
            versions: greeted.versions,
            client_id: options.client_id.clone(),
            request_timeout: options.request_timeout,
            correlation: AtomicI32::new(1),
            requests: sender,
            ended,
        }))
    }

    /// The broker, as the cluster called it; `-1` on a connection to a bootstrap address.
    pub fn broker(&self) -> BrokerId {
        self.0.address.broker.unwrap_or(BrokerId(-1))
    }

    /// Where it leads.
    pub fn address(&self) -> &Arc<Address> {
        &self.0.address
    }

    /// What the broker can do.
    pub fn versions(&self) -> &ApiVersions {
        &self.0.versions
    }

    /// Nothing will be answered any more.
    pub fn is_dead(&self) -> bool {
        self.0.requests.is_closed()
    }

    /// Ends it now: everything pending fails.
    pub fn close(&self) {
        self.0.ended.asked.notify_one();
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.0.client_id
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// The highest version of `api` that both sides speak, or who would be needed for it.
    pub(crate) fn version_of(&self, api: ApiKey, needs: &'static str) -> Result<i16, CallError> {
        let unsupported = || CallError::Unsupported { api, address: Arc::clone(&self.0.address), needs };
        self.0.versions.negotiate(api).ok_or_else(unsupported)
    }

    pub(crate) fn malformed(&self, api: ApiKey, source: DecodeError) -> CallError {
        CallError::Malformed { api, address: Arc::clone(&self.0.address), source }
    }

    pub(crate) fn refused(&self, api: ApiKey, error: protocol::ErrorCode) -> CallError {
        CallError::Refused { api, address: Arc::clone(&self.0.address), error, message: None }
    }

    /// The number of the next request, to be written into it and given to [`Connection::send`].
    pub(crate) fn next_correlation_id(&self) -> i32 {
        self.0.correlation.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a request now; the future resolves to the reply's frame, correlation id included. Dropping
    /// the future leaves the request on its way; its reply is then read and dropped.
    ///
    /// `slices` are the whole frame.
    pub(crate) fn send(
        &self,
        api: ApiKey,
        correlation_id: i32,
        slices: Result<Vec<Bytes>, EncodeError>,
        after: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static + use<> {
        let (reply, answered) = oneshot::channel();
        let address = Arc::clone(&self.0.address);
        let ended = Arc::clone(&self.0.ended);
        let queued = match slices {
            Ok(slices) => {
                let deadline = Instant::now() + after;
                let request = Request { api, correlation_id, slices, deadline, after, reply };
                // A queue that is closed drops the request, and so its `reply`: told below.
                let _ = self.0.requests.send(request);
                Ok(())
            }
            Err(source) => Err(CallError::Encode { address: Arc::clone(&address), source }),
        };
        async move {
            queued?;
            match answered.await {
                Ok(result) => result,
                // The task answers all that it has taken from the queue: it never took this one.
                Err(_) => {
                    let source = ended.cause.get().cloned().unwrap_or(CloseCause::Here);
                    Err(CallError::Closed { api, address, maybe_written: false, source })
                }
            }
        }
    }
}

/// A request that has been queued for writing.
struct Pending {
    api: ApiKey,
    correlation_id: i32,
    /// Where its first byte is in all that the connection ever wrote.
    first_byte: u64,
    deadline: Instant,
    after: Duration,
    /// `None`: a login of our own is told.
    reply: Option<oneshot::Sender<Result<Bytes, CallError>>>,
}

/// A login that lasts for a time only, and the one that is to follow it.
struct Renewal {
    account: Arc<Account>,
    client_id: String,
    versions: ApiVersions,
    /// For each of its requests.
    timeout: Duration,
    /// What the last login gave; `None` if that lasts as long as the connection.
    session: Option<Session>,
    /// The login that is to follow it, once it was time for that.
    next: Option<NextLogin>,
    /// Requests that wait for it. Bounded by their callers, as all are.
    held: VecDeque<Request>,
}

/// What must come before a request is sent.
enum Before {
    Nothing,
    Login,
    /// A login that is refused, as this says.
    Refused(String),
}

enum NextLogin {
    /// What it needs is being made ready.
    Preparing(Pin<Box<dyn Future<Output = Result<Prepared, SecurityError>> + Send>>),
    /// It is under way since then.
    UnderWay(Box<Login>, Instant),
}

struct Driver {
    address: Arc<Address>,
    ended: Arc<Ended>,
    stream: crate::Stream,
    inbound: Inbound,
    /// What is still to be written.
    out: VecDeque<Bytes>,
    /// What is still to be answered.
    pending: VecDeque<Pending>,
    /// The nearest deadline of those that wait, or one before it: there may be a thousand.
    nearest: Option<Instant>,
    /// All bytes ever put into `out`, and all that the socket has taken of them.
    queued_bytes: u64,
    written_bytes: u64,
    is_tls: bool,
    /// The broker has answered a request.
    has_answered: bool,
    /// Boxed: most connections have none.
    renewal: Option<Box<Renewal>>,
}

impl Driver {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut cause = self.serve(&mut requests).await;
        if matches!(cause, CloseCause::ByPeer) && !self.has_answered && self.written_bytes > 0 {
            cause = CloseCause::AtFirst;
        }
        // From here on callers find the queue closed, and the cause beside it.
        let _ = self.ended.cause.set(cause.clone());
        requests.close();
        for request in self.renewal.take().into_iter().flat_map(|renewal| renewal.held) {
            self.accept(request);
        }
        while let Ok(request) = requests.try_recv() {
            self.accept(request);
        }
        self.fail_all(&cause);
    }

    /// Works until the connection ends, and says why.
    async fn serve(&mut self, requests: &mut mpsc::UnboundedReceiver<Request>) -> CloseCause {
        let ended = Arc::clone(&self.ended);
        let mut open = true;
        let mut alarm = std::pin::pin!(sleep_until(Instant::now()));
        loop {
            if !open && self.is_idle() {
                return CloseCause::Here;
            }
            self.set(alarm.as_mut());
            tokio::select! {
                () = ended.asked.notified() => return CloseCause::Here,
                request = requests.recv(), if open => match request {
                    Some(request) => {
                        let mut admitted = self.admit(request);
                        // Those that wait already go out in the same write.
                        while let (Ok(()), Ok(request)) = (&admitted, requests.try_recv()) {
                            admitted = self.admit(request);
                        }
                        if let Err(cause) = admitted {
                            return cause;
                        }
                    }
                    None => open = false,
                },
                written = write(&mut *self.stream.writer, &self.out), if !self.out.is_empty() => match written {
                    Ok(bytes) => self.written(bytes),
                    Err(error) => {
                        if self.is_tls {
                            // Of what TLS took, the socket may have taken some before this.
                            self.written_bytes = self.queued_bytes;
                        }
                        return write_failed(error);
                    }
                },
                read = self.inbound.read(&mut *self.stream.reader, self.stream.low_water.as_mut()) => {
                    if let Err(cause) = read.and_then(|()| self.deliver()) {
                        return cause;
                    }
                }
                prepared = prepared(&mut self.renewal) => if let Err(cause) = self.begin_login(prepared) {
                    return cause;
                },
                () = &mut alarm, if !self.is_idle() => {
                    let now = Instant::now();
                    if let Some(late) = self.pending.iter().find(|pending| pending.deadline <= now) {
                        return CloseCause::EarlierTimedOut { api: late.api };
                    }
                    // They wait for a login that is pending, or being prepared.
                    if self.held().any(|deadline| deadline <= now) {
                        return CloseCause::EarlierTimedOut { api: ApiKey::SaslAuthenticate };
                    }
                    // It rang for one that has been answered.
                    self.nearest = self.pending.iter().map(|pending| pending.deadline).chain(self.held()).min();
                }
            }
        }
    }

    /// Sets the alarm to the nearest deadline, if it is not set to ring before.
    fn set(&self, alarm: Pin<&mut Sleep>) {
        let Some(nearest) = self.nearest else { return };
        if nearest < alarm.deadline() || alarm.is_elapsed() {
            alarm.reset(nearest);
        }
    }

    /// Minds that somebody wants to be answered by then.
    fn mind(&mut self, deadline: Instant) {
        self.nearest = Some(self.nearest.map_or(deadline, |nearest| nearest.min(deadline)));
    }

    /// Nobody waits for anything.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.renewal.as_ref().is_none_or(|renewal| renewal.held.is_empty())
    }

    /// When those that wait for a login want to be answered.
    fn held(&self) -> impl Iterator<Item = Instant> {
        self.renewal.iter().flat_map(|renewal| renewal.held.iter().map(|request| request.deadline))
    }

    /// Takes a request, unless a login must come first.
    fn admit(&mut self, request: Request) -> Result<(), CloseCause> {
        let Some(renewal) = &mut self.renewal else {
            self.accept(request);
            return Ok(());
        };
        match renewal.before_next(Instant::now(), &self.address) {
            Before::Nothing => self.accept(request),
            Before::Login => {
                let deadline = request.deadline;
                renewal.held.push_back(request);
                self.mind(deadline);
            }
            Before::Refused(what) => {
                renewal.held.push_back(request);
                return Err(CloseCause::Login { mechanism: renewal.mechanism(), what });
            }
        }
        Ok(())
    }

    /// The next login has all that it needs, or cannot have it: the old one may still do for a while.
    fn begin_login(&mut self, prepared: Result<Prepared, SecurityError>) -> Result<(), CloseCause> {
        let renewal = self.renewal.as_mut().expect("it was being prepared");
        let Renewal { account, versions, client_id, .. } = &**renewal;
        let begun = match prepared {
            // What was refused elsewhere meanwhile would be refused here.
            Ok(prepared) => match account.refusals.login_pause(prepared.number()) {
                Some(error) => Err(error.to_string()),
                // Who knew logins when the connection was made knows them now.
                None => Ok(account.credentials.as_ref().and_then(|credentials| {
                    credentials.login(prepared, versions, client_id, LOGIN_IDS_FROM)
                })),
            },
            Err(error) => {
                warn!(%error, "a login cannot be made again, going on with the last");
                Err(error.to_string())
            }
        };
        match begun {
            Ok(Some(mut login)) => {
                let ask = login.begin();
                renewal.next = Some(NextLogin::UnderWay(Box::new(login), Instant::now()));
                self.ask(ask);
            }
            Err(what) if renewal.has_ended(Instant::now()) => {
                return Err(CloseCause::Login { mechanism: renewal.mechanism(), what });
            }
            Ok(None) | Err(_) => {
                renewal.put_off();
                self.accept_held();
            }
        }
        Ok(())
    }

    fn accept_held(&mut self) {
        let held = self.renewal.as_mut().map(|renewal| std::mem::take(&mut renewal.held));
        for request in held.into_iter().flatten() {
            self.accept(request);
        }
    }

    /// A request of a login, which is answered to us.
    fn ask(&mut self, ask: Ask) {
        let Ask { api, correlation_id, frame } = ask;
        let after = self.renewal.as_ref().map_or(Duration::ZERO, |renewal| renewal.timeout);
        self.queue(api, correlation_id, vec![frame], (Instant::now() + after, after), None);
    }

    /// What an answer to [`Driver::ask`] leads to.
    fn log_in(&mut self, frame: Bytes) -> Result<(), CloseCause> {
        let renewal = self.renewal.as_mut().expect("it asked");
        let Some(NextLogin::UnderWay(login, began)) = &mut renewal.next else {
            unreachable!("it is under way until it is answered")
        };
        let began = *began;
        match login.answered(frame) {
            Ok(Next::Ask(ask)) => self.ask(ask),
            Ok(Next::Done { lifetime }) => {
                renewal.account.passed(began, login.number());
                renewal.session = lifetime.map(|lifetime| Session::new(lifetime, share()));
                renewal.next = None;
                self.accept_held();
            }
            Err(NotIn { what, is_refusal }) => {
                let mechanism = login.mechanism();
                let address = Arc::clone(&self.address);
                let error = CallError::Login { address, mechanism, what: what.clone() };
                renewal.account.refused(&error, began, login.number(), is_refusal);
                return Err(CloseCause::Login { mechanism, what });
            }
        }
        Ok(())
    }

    fn accept(&mut self, request: Request) {
        let Request { api, correlation_id, slices, deadline, after, reply } = request;
        self.queue(api, correlation_id, slices, (deadline, after), Some(reply));
    }

    fn queue(
        &mut self,
        api: ApiKey,
        correlation_id: i32,
        slices: Vec<Bytes>,
        (deadline, after): (Instant, Duration),
        reply: Option<oneshot::Sender<Result<Bytes, CallError>>>,
    ) {
        self.mind(deadline);
        self.pending.push_back(Pending {
            api,
            correlation_id,
            first_byte: self.queued_bytes,
            deadline,
            after,
            reply,
        });
        self.queued_bytes += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        self.out.extend(slices.into_iter().filter(|slice| !slice.is_empty()));
    }

    fn written(&mut self, bytes: usize) {
        self.written_bytes += bytes as u64;
        let mut left = bytes;
        while let Some(slice) = self.out.front_mut() {
            if left < slice.len() {
                slice.advance(left);
                break;
            }
            left -= slice.len();
            self.out.pop_front();
        }
    }

    /// Hands out the frames that have come.
    fn deliver(&mut self) -> Result<(), CloseCause> {
        while let Some(frame) = self.inbound.next_frame()? {
            let got = protocol::correlation_id(&frame);
            match self.pending.pop_front() {
                // One that was not written whole cannot have an answer.
                Some(front) if got == Some(front.correlation_id) => {
                    self.has_answered = true;
                    match front.reply {
                        // A caller that has gone does not want it any more.
                        Some(reply) => drop(reply.send(Ok(frame))),
                        None => self.log_in(frame)?,
                    }
                }
                front => {
                    let expected = front.as_ref().map(|front| front.correlation_id);
                    if let Some(front) = front {
                        self.pending.push_front(front);
                    }
                    let got = got.map_or_else(|| "without a number".to_owned(), |id| id.to_string());
                    return Err(CloseCause::Correlation { expected, got });
                }
            }
        }
        Ok(())
    }

    fn fail_all(&mut self, cause: &CloseCause) {
        let now = Instant::now();
        for pending in self.pending.drain(..) {
            let Some(reply) = pending.reply else { continue };
            let maybe_written = pending.first_byte < self.written_bytes;
            let (api, address) = (pending.api, Arc::clone(&self.address));
            let error = if pending.deadline <= now {
                CallError::TimedOut { api, address, after: pending.after, maybe_written }
            } else {
                CallError::Closed { api, address, maybe_written, source: cause.clone() }
            };
            let _ = reply.send(Err(error));
        }
    }
}

impl Renewal {
    /// What must come before what is to be sent now; if it is time for a login, it is prepared from now on.
    fn before_next(&mut self, now: Instant, address: &Arc<Address>) -> Before {
        let Some(session) = self.session else { return Before::Nothing };
        let until_it_ends = if now < session.ends_at { Before::Nothing } else { Before::Login };
        match self.next {
            Some(NextLogin::UnderWay(..)) => return Before::Login,
            Some(NextLogin::Preparing(_)) => return until_it_ends,
            None if now < session.renew_at => return Before::Nothing,
            None => {}
        }
        // What was refused elsewhere would be refused here.
        if let Some(error) = self.account.refusals.login_pause(self.account.secret()) {
            if self.has_ended(now) {
                return Before::Refused(error.to_string());
            }
            self.put_off();
            return Before::Nothing;
        }
        // Nobody has no sessions.
        let Some(credentials) = self.account.credentials.clone() else { return Before::Nothing };
        let preparing = credentials.prepare(Arc::clone(address));
        self.next = Some(NextLogin::Preparing(Box::pin(preparing)));
        until_it_ends
    }

    /// The broker takes nothing but a login any more.
    fn has_ended(&self, now: Instant) -> bool {
        self.session.is_some_and(|session| now >= session.ends_at)
    }

    fn mechanism(&self) -> &'static str {
        self.account.credentials.as_ref().map_or("", |credentials| credentials.mechanism())
    }

    fn put_off(&mut self) {
        self.next = None;
        if let Some(session) = &mut self.session {
            session.renew_at = Instant::now() + BEGIN_AGAIN_AFTER;
        }
    }
}

/// What a login needs that is being prepared, once it is there. Nothing is lost when dropped.
async fn prepared(renewal: &mut Option<Box<Renewal>>) -> Result<Prepared, SecurityError> {
    match renewal.as_mut().and_then(|renewal| renewal.next.as_mut()) {
        Some(NextLogin::Preparing(prepared)) => prepared.await,
        _ => std::future::pending().await,
    }
}

/// Writes as many of `out`'s slices as the socket takes at once. Nothing is lost when dropped.
async fn write(writer: &mut (dyn AsyncWrite + Send + Unpin), out: &VecDeque<Bytes>) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    for (place, slice) in slices.iter_mut().zip(out) {
        *place = IoSlice::new(slice);
        count += 1;
    }
    writer.write_vectored(&slices[..count]).await
}

fn write_failed(error: io::Error) -> CloseCause {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CloseCause::ByPeer,
        _ => CloseCause::Io(error.into()),
    }
}
