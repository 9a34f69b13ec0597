//! Who we are on one cluster: the secrets that we have, what is made of them, and how a login is prepared.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use protocol::{ApiKey, ApiVersions};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::aws::{self, Iam};
use super::gssapi::Tickets;
use super::oauth::{self, Tokens};
use super::plain;
use super::scram::{Kept, Scram};
use super::secrets::Secrets;
use super::{Exchange, Fresh, Login};
use crate::handshake::{fresh, now_ms, share};
use crate::{Address, Again, Mechanism, SaslOptions, SecurityError, TokenSource};

/// Who we are on one cluster, for all its connections.
#[derive(Debug)]
pub(crate) struct Credentials {
    name: &'static str,
    /// Where another secret may be written, of each handle that is this account. Locked while they are read, which may
    /// hang: nobody waits for it.
    sources: Mutex<Vec<Source>>,
    held: Mutex<Held>,
    /// Held while others than the broker are asked for what a login needs: one at a time, and who waits has no thread.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// One place where the secret is written.
#[derive(Debug)]
struct Source {
    again: Again,
    /// What it has given last. Only what changes there counts: another place may be ahead of it.
    last: Mechanism,
    /// Why it could not be read, if that is told.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Held {
    secrets: Secrets,
    made: Made,
}

/// A secret, and what is made of it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    number: u64,
    mechanism: Arc<Mechanism>,
    /// What a SCRAM password was made into.
    salted: Kept,
    /// Where the tokens of an identity provider come from.
    tokens: Arc<OnceLock<Tokens>>,
    /// Where keys of AWS come from.
    iam: Arc<OnceLock<Iam>>,
    /// Tickets of Kerberos.
    tickets: Tickets,
}

impl Made {
    fn of(secrets: &Secrets) -> Made {
        Made {
            number: secrets.number(),
            mechanism: Arc::clone(secrets.current()),
            salted: Kept::default(),
            tokens: Arc::default(),
            iam: Arc::default(),
            tickets: Tickets::default(),
        }
    }
}

impl Made {
    /// What is made of the secret that is used after that of `before`: the token of a client stays its own.
    fn after(before: &Made, secrets: &Secrets) -> Made {
        let made = Made::of(secrets);
        if let (Some(tokens), Mechanism::OauthBearer { token: TokenSource::Endpoint(endpoint), .. }) =
            (before.tokens.get(), &*made.mechanism)
        {
            let _ = made.tokens.set(tokens.with_secret_of((**endpoint).clone()));
        }
        made
    }

    /// A broker has refused what was made: nothing of that is used again.
    fn forget(&self) {
        if let Some(tokens) = self.tokens.get() {
            tokens.forget();
        }
        if let Some(iam) = self.iam.get() {
            iam.forget();
        }
        self.tickets.forget();
    }

    /// Whether a login can be made ready without asking others than this machine; `is_asked`: somebody asks already.
    fn is_at_hand(&self, is_asked: bool) -> bool {
        match &*self.mechanism {
            Mechanism::OauthBearer { token: TokenSource::Endpoint(_), .. } => {
                self.tokens.get().is_some_and(|tokens| tokens.is_at_hand(now_ms(), is_asked))
            }
            Mechanism::AwsMskIam(_) => self.iam.get().is_some_and(|iam| iam.is_at_hand(now_ms(), is_asked)),
            Mechanism::Gssapi(_) => false,
            _ => true,
        }
    }
}

/// All that a login needs before the broker has said anything. It holds secrets, so that it does not print.
pub(crate) struct Prepared {
    number: u64,
    mechanism: Arc<Mechanism>,
    exchange: Exchange,
    first: Vec<u8>,
}

impl Prepared {
    /// Which secret it is made with.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Credentials {
    pub(crate) fn new(SaslOptions { mechanism, again }: SaslOptions) -> Credentials {
        let name = mechanism.name();
        let source = again.map(|again| Source { again, last: mechanism.clone(), trouble: None });
        let secrets = Secrets::new(mechanism);
        let made = Made::of(&secrets);
        Credentials {
            name,
            sources: Mutex::new(source.into_iter().collect()),
            held: Mutex::new(Held { secrets, made }),
            asking: Arc::default(),
        }
    }

    /// Another handle is this account, and has written its secret in a place of its own.
    pub(crate) fn add(&self, SaslOptions { mechanism, again }: &SaslOptions) {
        if let Some(again) = again {
            let source = Source { again: again.clone(), last: mechanism.clone(), trouble: None };
            // Where they are just read, this one has nothing new.
            if let Some(mut sources) = self.sources() {
                sources.retain(|source| !source.again.is_same(again));
                sources.push(source);
            }
        }
    }

    /// As brokers call it.
    pub(crate) fn mechanism(&self) -> &'static str {
        self.name
    }

    /// The number of the secret that logins are made with now.
    pub(crate) fn number(&self) -> u64 {
        self.lock().secrets.number()
    }

    /// A login with the secret `number` has passed.
    pub(crate) fn passed(&self, number: u64) {
        self.lock().secrets.passed(number);
    }

    /// A login with the secret `number` was refused.
    pub(crate) fn refused(&self, number: u64) {
        let mut held = self.lock();
        if held.made.number == number {
            held.made.forget();
        }
        if held.secrets.refused(number) && held.secrets.number() != number {
            info!(mechanism = self.name, "the secret of the login is refused, the other one is tried");
        }
    }

    /// Looks whether another secret is written by now. On another thread: reading may hang, and whoever waits for it has
    /// a time-out. `address` is where it is used next.
    pub(crate) async fn look_again(self: Arc<Self>, address: Arc<Address>) {
        on_another_thread(move || self.look_again_here(&address)).await;
    }

    /// Blocks.
    fn look_again_here(&self, address: &Address) {
        let Some(mut sources) = self.sources() else { return };
        for source in &mut *sources {
            match source.again.read() {
                Ok(None) => {}
                Ok(Some(read)) => {
                    source.trouble = None;
                    if read != source.last {
                        source.last = read.clone();
                        self.written(read, address);
                    }
                }
                Err(why) if source.trouble.as_ref() == Some(&why) => {}
                Err(why) => {
                    let mechanism = self.name;
                    warn!(mechanism, %address, "whether the secret of the login has changed cannot be seen: {why}");
                    source.trouble = Some(why);
                }
            }
        }
    }

    fn written(&self, mechanism: Mechanism, address: &Address) {
        let mut held = self.lock();
        let name = self.name;
        if !mechanism.is_same_user(held.secrets.current()) {
            warn!(mechanism = name, %address, "another login is written, which takes a new start: only a secret changes without");
        } else if held.secrets.written(mechanism) {
            info!(mechanism = name, %address, "the secret of the login has changed, and is used from now on");
        }
    }

    /// `None` while they are read.
    fn sources(&self) -> Option<MutexGuard<'_, Vec<Source>>> {
        match self.sources.try_lock() {
            Ok(sources) => Some(sources),
            Err(TryLockError::Poisoned(sources)) => Some(sources.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn made(&self) -> Made {
        let mut held = self.lock();
        if held.made.number != held.secrets.number() {
            held.made = Made::after(&held.made, &held.secrets);
        }
        held.made.clone()
    }

    /// What a login at the broker of `address` begins with: reads files, and asks whoever gives out tokens, on another
    /// thread. Dropping the future does not end that.
    pub(crate) async fn prepare(self: Arc<Self>, address: Arc<Address>) -> Result<Prepared, SecurityError> {
        let is_asked = || self.asking.try_lock().is_err();
        // Moved to where it is asked: who gives up does not end that.
        let turn = match self.made().is_at_hand(is_asked()) {
            true => None,
            false => Some(Arc::clone(&self.asking).lock_owned().await),
        };
        on_another_thread(move || {
            self.look_again_here(&address);
            let prepared = self.prepare_here(&self.made(), Some(&address), turn.is_none(), fresh());
            drop(turn);
            prepared
        })
        .await
    }

    /// A login with a broker that speaks these `versions`, whose requests are by `client_id` and numbered from
    /// `correlation_id` on; `None` if it knows no logins.
    pub(crate) fn login(
        &self,
        Prepared { number, mechanism, exchange, first }: Prepared,
        versions: &ApiVersions,
        client_id: &str,
        correlation_id: i32,
    ) -> Option<Login> {
        let handshake = versions.negotiate(ApiKey::SaslHandshake);
        let (handshake_version, version) = handshake.zip(versions.negotiate(ApiKey::SaslAuthenticate))?;
        let whose = match &*mechanism {
            Mechanism::Plain { username, .. } | Mechanism::Scram { username, token: false, .. } => {
                format!("check the user `{username}` and its password")
            }
            Mechanism::Scram { username, .. } => {
                format!("check the delegation token `{username}`: has it expired?")
            }
            Mechanism::OauthBearer { .. } => {
                "check who issued the token, whether it has expired, and the clocks of both sides".to_owned()
            }
            Mechanism::AwsMskIam(_) => {
                "check whose keys are used (`awsDebugCreds=true` tells), whether they may `kafka-cluster:Connect`, and the \
                 clock of this machine"
                    .to_owned()
            }
            Mechanism::Gssapi(_) => {
                "check that the broker's own key is the one in the KDC, and the clocks of both sides"
                    .to_owned()
            }
        };
        let secret = match &*mechanism {
            Mechanism::Plain { password, .. } | Mechanism::Scram { password, .. } => Some(password.clone()),
            Mechanism::OauthBearer { .. } => oauth::token_of(&first),
            Mechanism::AwsMskIam(_) => aws::token_of(&first),
            Mechanism::Gssapi(_) => None,
        };
        Some(Login {
            mechanism: self.mechanism(),
            number,
            whose,
            secret,
            client_id: client_id.to_owned(),
            handshake_version,
            version,
            exchange,
            first,
            correlation_id,
            awaited: ApiKey::SaslHandshake,
        })
    }

    /// Whether there is all that a login needs, as far as that shows without a broker. Blocks.
    pub(crate) fn check(&self) -> Result<(), SecurityError> {
        let made = self.made();
        let Made { mechanism, tokens, tickets, .. } = &made;
        match &**mechanism {
            // Nobody is asked before there is somebody to log in to.
            Mechanism::OauthBearer { token: TokenSource::Endpoint(endpoint), extensions } => {
                let tokens = tokens.get_or_init(|| Tokens::new((**endpoint).clone()));
                oauth::check(extensions).and_then(|()| tokens.check()).map_err(|what| self.missing(what))
            }
            Mechanism::AwsMskIam(_) => Ok(()),
            // A ticket is for a broker.
            Mechanism::Gssapi(kerberos) => {
                tickets.check(kerberos, fresh().now_ms).map_err(|what| self.missing(what))
            }
            _ => self.prepare_here(&made, None, false, fresh()).map(drop),
        }
    }

    /// That preparing takes longer than whoever waits for it has time.
    pub(crate) fn late(&self, after: Duration) -> SecurityError {
        let Made { mechanism, tokens, .. } = self.made();
        let what = match (&*mechanism, tokens.get()) {
            (_, Some(tokens)) => format!("{} has given no token yet", tokens.called()),
            (Mechanism::AwsMskIam(_), _) => "there are no keys of AWS yet".to_owned(),
            (Mechanism::Gssapi(_), _) => "the KDC has given no ticket yet".to_owned(),
            _ => "what a login needs is not there yet".to_owned(),
        };
        self.missing(format!("{what}, after {:.1} s", after.as_secs_f64()))
    }

    fn missing(&self, what: String) -> SecurityError {
        SecurityError::Credentials { mechanism: self.mechanism(), what }
    }

    /// Blocks. `address` is the broker's, if there is one yet; `is_asked`: for what is not at hand another is asked already.
    pub(super) fn prepare_here(
        &self,
        made: &Made,
        address: Option<&Address>,
        is_asked: bool,
        fresh: Fresh,
    ) -> Result<Prepared, SecurityError> {
        let Made { number, mechanism, salted, tokens, iam, tickets } = made;
        let begun = match &**mechanism {
            Mechanism::Plain { username, password } => {
                plain::message(username, password).map(|message| (Exchange::Plain, message))
            }
            Mechanism::Scram { hash, username, password, token } => {
                Scram::new(*hash, username, password, *token, fresh.nonce, salted.clone())
                    .map(|scram| (scram.first(), scram))
                    .map(|(message, scram)| (Exchange::Scram(scram), message))
            }
            Mechanism::OauthBearer { token, extensions } => {
                oauth::begin(token, tokens, extensions, fresh.now_ms, is_asked)
                    .map(|(oauth, message)| (Exchange::Oauth(oauth), message))
            }
            Mechanism::AwsMskIam(options) => {
                let iam = iam.get_or_init(|| Iam::new((**options).clone()));
                let host = address.map_or("", |address| address.host.as_str());
                iam.begin(host, &now_ms, f64::from(share()) / 255.0, is_asked)
                    .map(|message| (Exchange::Aws, message))
            }
            Mechanism::Gssapi(kerberos) => {
                let host = address.map_or("", |address| &address.host);
                tickets
                    .begin(kerberos, host, fresh.now_ms)
                    .map(|(gssapi, message)| (Exchange::Gssapi(Box::new(gssapi)), message))
            }
        };
        match begun {
            Ok((exchange, first)) => {
                Ok(Prepared { number: *number, mechanism: Arc::clone(mechanism), exchange, first })
            }
            Err(what) => {
                // A provider knows a client's secret, as a broker does a password.
                if tokens.get().is_some_and(Tokens::is_refused) {
                    self.refused(*number);
                }
                Err(self.missing(what))
            }
        }
    }
}

/// What `work` gives, which may block.
async fn on_another_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
