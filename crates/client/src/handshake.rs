//! Opens a connection, finds out who answers, and says who we are.
//!
//! ```text
//! open ── ApiVersions v3 ──┬─ its versions ─────────────────┬── login, if any ──▶ connection
//!   ▲                      ├─ "not that version" ── v0…v2 ──┘
//!   └──── v0 from now on ──┴─ closed without a word
//! ```
//! Some services close the connection on a version they do not know, so a close is answered with one more
//! try. What answers otherwise is no Kafka broker, and is named as far as it shows.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use protocol::{ApiKey, ApiVersions, ApiVersionsAnswer, Peer, supported};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::accounts::Account;
use crate::buffers::BufferPool;
use crate::error::CloseCause;
use crate::inbound::Inbound;
use crate::refusals::TURN_MAX;
use crate::sasl::{Credentials, Fresh, Login, Next, NotIn, renew_after};
use crate::tls::TlsFailed;
use crate::{Address, CallError, Opener, Options, OutOfFiles, SecurityError, Stream};

/// The largest answer taken from a peer that has not shown that it is Kafka, or does not know us yet.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An open connection to a broker whose versions are known, and that knows us if it wants to.
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    pub(crate) versions: ApiVersions,
    /// How long we are known, if not for as long as the connection is.
    pub(crate) session: Option<Session>,
}

/// How long a request may be under way before a broker judges by its session.
const BROKER_TAKES: Duration = Duration::from_millis(300);

/// A login that lasts for a time only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// When to log in again.
    pub(crate) renew_at: Instant,
    /// From when on the broker may take nothing but a login.
    pub(crate) ends_at: Instant,
}

impl Session {
    /// One that begins now. `share` is random.
    pub(crate) fn new(lifetime: Duration, share: u8) -> Session {
        let now = Instant::now();
        // A busy broker looks at its clock some time after a request was sent.
        let before = lifetime.mul_f64(0.03).max(BROKER_TAKES.min(lifetime / 10));
        Session { renew_at: now + renew_after(lifetime, share), ends_at: now + (lifetime - before) }
    }
}

/// How far an attempt has come.
enum Reached {
    Nobody,
    /// Whoever answers there is to answer this.
    Asking(ApiKey),
    /// What a login needs is being made ready, for which others than the broker may be asked.
    Preparing,
}

/// Opens a connection to `address` within [`Options::connect_timeout`].
pub(crate) async fn greet(
    opener: &dyn Opener,
    address: &Arc<Address>,
    options: &Options,
    account: &Account,
) -> Result<Greeted, CallError> {
    let mut reached = Reached::Nobody;
    match timeout(options.connect_timeout, attempt(opener, address, options, account, &mut reached)).await {
        Ok(result) => result,
        Err(_) => Err(match (reached, &account.credentials) {
            (Reached::Preparing, Some(credentials)) => credentials.late(options.connect_timeout).into(),
            // Whoever listens there took the connection and says nothing. The caller's own request was not sent.
            (Reached::Asking(api), _) => CallError::TimedOut {
                api,
                address: Arc::clone(address),
                after: options.connect_timeout,
                maybe_written: false,
            },
            _ => CallError::Connect {
                address: Arc::clone(address),
                source: Arc::new(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {:.1} s", options.connect_timeout.as_secs_f64()),
                )),
            },
        }),
    }
}

async fn attempt(
    opener: &dyn Opener,
    address: &Arc<Address>,
    options: &Options,
    account: &Account,
    reached: &mut Reached,
) -> Result<Greeted, CallError> {
    let newest = *supported(ApiKey::ApiVersions).end();
    for version in [newest, 0] {
        let opened = opener.open(Arc::clone(address)).await;
        let stream = opened.map_err(|source| not_opened(address, source))?;
        *reached = Reached::Asking(ApiKey::ApiVersions);
        match ask(stream, address, options, version).await {
            Ok(mut greeted) => {
                if let Some(credentials) = &account.credentials {
                    let who = (account, credentials, options.client_id.as_str());
                    log_in(&mut greeted, address, who, reached).await?;
                }
                return Ok(greeted);
            }
            Err(Failed::Closed) => {}
            Err(Failed::For(error)) => return Err(error),
        }
    }
    Err(CallError::NotKafka {
        address: Arc::clone(address),
        what: if options.security.tls.is_some() {
            "it closes the connection without an answer, though it speaks TLS"
        } else {
            "it closes the connection without an answer, as a TLS listener or ZooKeeper may do"
        }
        .to_owned(),
    })
}

/// Why there is no stream: openers that do more than connect say it in their own words.
fn not_opened(address: &Arc<Address>, source: io::Error) -> CallError {
    let address = Arc::clone(address);
    if let Some(failed) = TlsFailed::of(&source) {
        return CallError::Tls { address, what: failed.what.clone() };
    }
    match source.downcast::<SecurityError>() {
        Ok(error) => CallError::Security(error),
        Err(source) => CallError::Connect { address, source: Arc::new(OutOfFiles::named(source)) },
    }
}

/// Says who we are.
async fn log_in(
    greeted: &mut Greeted,
    address: &Arc<Address>,
    (account, credentials, client_id): (&Account, &Arc<Credentials>, &str),
    reached: &mut Reached,
) -> Result<(), CallError> {
    *reached = Reached::Preparing;
    let prepare = || Arc::clone(credentials).prepare(Arc::clone(address));
    let mut prepared = prepare().await?;
    *reached = Reached::Asking(ApiKey::SaslHandshake);
    let mut turn = account.refusals.turn(prepared.number()).await?;
    if prepared.number() != credentials.number() {
        // While it waited for others, another secret has taken the place of this one.
        *reached = Reached::Preparing;
        prepared = prepare().await?;
        *reached = Reached::Asking(ApiKey::SaslHandshake);
    }
    let number = prepared.number();
    let began = Instant::now();
    // ApiVersions had the first two numbers.
    let login = credentials.login(prepared, &greeted.versions, client_id, 2);
    let login = login.ok_or_else(|| CallError::Unsupported {
        api: ApiKey::SaslAuthenticate,
        address: Arc::clone(address),
        needs: "a listener for SASL of Kafka 1.0 or newer",
    })?;
    let mut steps = std::pin::pin!(go_through(login, &mut greeted.stream, address, reached));
    let passed = match timeout(TURN_MAX, &mut steps).await {
        Ok(passed) => passed,
        Err(_) => {
            turn.take();
            steps.await
        }
    };
    match passed {
        Ok(lifetime) => {
            account.passed(began, number);
            greeted.session = lifetime.map(|lifetime| Session::new(lifetime, share()));
            Ok(())
        }
        Err(Outside::Refused(error, is_refusal)) => {
            account.refused(&error, began, number, is_refusal);
            Err(error)
        }
        Err(Outside::Other(error)) => Err(error),
    }
}

/// Why a login has not passed.
enum Outside {
    /// The broker has said something to it: also whether that is for the sake of the secret.
    Refused(CallError, bool),
    Other(CallError),
}

/// The requests of a login and their answers: how long it lasts, if not for as long as the connection.
async fn go_through(
    mut login: Login,
    stream: &mut Stream,
    address: &Arc<Address>,
    reached: &mut Reached,
) -> Result<Option<Duration>, Outside> {
    let mut inbound = Inbound::new(BufferPool::default(), ANSWER_BYTES_MAX);
    let mut ask = login.begin();
    loop {
        *reached = Reached::Asking(ask.api);
        let closed = |source| Outside::Other(closed(address, ask.api, source));
        let written = async {
            stream.writer.write_all(&ask.frame).await?;
            stream.writer.flush().await
        };
        written.await.map_err(|error| closed(CloseCause::Io(error.into())))?;
        let frame = next_frame(&mut inbound, stream).await.map_err(closed)?;
        let answered = if protocol::correlation_id(&frame) == Some(ask.correlation_id) {
            login.answered(frame)
        } else {
            Err(NotIn::other("its answer has another request's number".to_owned()))
        };
        match answered {
            Ok(Next::Ask(next)) => ask = next,
            Ok(Next::Done { lifetime }) => return Ok(lifetime),
            Err(NotIn { what, is_refusal }) => {
                let mechanism = login.mechanism();
                let error = CallError::Login { address: Arc::clone(address), mechanism, what };
                return Err(Outside::Refused(error, is_refusal));
            }
        }
    }
}

/// A connection that ends while it is made. The caller's own request was not sent.
fn closed(address: &Arc<Address>, api: ApiKey, source: CloseCause) -> CallError {
    let address = Arc::clone(address);
    match &source {
        CloseCause::Io(error) => match TlsFailed::of(error) {
            Some(failed) => CallError::Tls { address, what: failed.what.clone() },
            None => CallError::Closed { api, address, maybe_written: false, source },
        },
        _ => CallError::Closed { api, address, maybe_written: false, source },
    }
}

/// What a new login does not share with others.
pub(crate) fn fresh() -> Fresh {
    let mut random = [0; 18];
    fill(&mut random);
    Fresh { nonce: URL_SAFE_NO_PAD.encode(random), now_ms: now_ms() }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Any number, so that not everybody does a thing at once.
pub(crate) fn share() -> u8 {
    let mut random = [0; 1];
    fill(&mut random);
    random[0]
}

fn fill(random: &mut [u8]) {
    SystemRandom::new().fill(random).expect("the system has random numbers for whoever could connect");
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
        // What the peer said before it closed is still to be read, and tells more than that it closed.
        let is_written = written.await.is_ok();
        let frame = match next_frame(&mut inbound, &mut stream).await {
            Ok(frame) if is_written => frame,
            Ok(_) => return Err(Failed::Closed),
            Err(CloseCause::Io(error)) if TlsFailed::of(&error).is_some() => {
                return Err(Failed::For(closed(address, ApiKey::ApiVersions, CloseCause::Io(error))));
            }
            Err(CloseCause::ByPeer | CloseCause::Io(_)) => return Err(Failed::Closed),
            Err(cause) => return Err(not_kafka(what_it_is(&cause, inbound.staged()))),
        };
        if protocol::correlation_id(&frame) != Some(correlation_id) {
            return Err(not_kafka("its answer has another request's number".to_owned()));
        }
        match ApiVersions::read_answer(version, frame) {
            Ok(ApiVersionsAnswer::Versions(versions)) => {
                return Ok(Greeted { stream, versions, session: None });
            }
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
        inbound.read(&mut *stream.reader, stream.low_water.as_mut()).await?;
        if let Some(frame) = inbound.next_frame()? {
            return Ok(frame);
        }
    }
}

fn what_it_is(cause: &CloseCause, first_bytes: &[u8]) -> String {
    match protocol::looks_like(first_bytes) {
        Some(Peer::Tls) => "it is a TLS listener; set a security protocol with SSL".to_owned(),
        Some(peer) => format!("it is {peer}"),
        None => format!("{cause}"),
    }
}
