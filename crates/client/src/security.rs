//! How connections to a cluster are secured, as the caller says it.
//!
//! These are wishes: what they lead to is in `tls` and `sasl`. Nothing here prints a secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::SecurityError;
use crate::sasl::Credentials;

/// What every connection to a cluster does before the first request. The default is plaintext, as nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// Encryption; `None` is plain TCP.
    pub tls: Option<TlsOptions>,
    /// Who we are; `None` is whoever the cluster takes us for.
    pub sasl: Option<SaslOptions>,
}

/// How TLS is spoken. The default trusts the system's roots, checks the host and shows no certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOptions {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// What we show to a broker that asks who we are (mutual TLS).
    pub identity: Option<Identity>,
    /// The broker's certificate must be for the host that was asked for. Without it only the chain is checked
    /// (an empty `ssl.endpoint.identification.algorithm`).
    pub verify_host: bool,
    /// The versions offered. Empty: all.
    pub protocols: Vec<TlsProtocol>,
    /// The cipher suites offered, by Java's or IANA's names; one that is not known here is an error at the start.
    /// Empty: all that are known, AES-128-GCM first.
    pub cipher_suites: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProtocol {
    /// `TLSv1.2`
    V1_2,
    /// `TLSv1.3`
    V1_3,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the operating system trusts.
    System,
    /// Those in a store, all of them, and no others.
    Store(StoreSource),
}

/// Our certificate, those above it, and the key to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where they are.
    pub store: StoreSource,
    /// What opens the key inside the store (`ssl.key.password`); `None`: what opens the store.
    pub key_password: Option<Secret>,
}

/// Where certificates, and perhaps a key, come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSource {
    /// A file, read again for a new connection when it has changed.
    File {
        /// Where it is.
        path: PathBuf,
        /// What it is said to be.
        kind: StoreKind,
        /// What opens it. Without one, a JKS file is taken unchecked.
        password: Option<Secret>,
    },
    /// PEM text from the settings.
    Inline {
        /// The certificates. Hidden as Kafka hides them: a key may have slipped in.
        certificates: Secret,
        /// The private key, PKCS#8, perhaps encrypted with the identity's key password. `None` in a trust store.
        key: Option<Secret>,
    },
}

/// What a store file is said to be. JKS and PKCS12 are told apart by their contents, as Java does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// `JKS`
    Jks,
    /// `PKCS12`
    Pkcs12,
    /// `PEM`: certificates and key in one file.
    Pem,
}

/// How we say who we are.
#[derive(Clone, Debug, PartialEq)]
pub struct SaslOptions {
    /// The way, with what it takes.
    pub mechanism: Mechanism,
    /// Where to look whether the secret is another one by now.
    pub again: Option<Again>,
}

/// Reads how we log in once more, from wherever it is written: secrets change while we run.
///
/// It says why where that cannot be done, and nothing where it is just being done for somebody else; it may block. Of what it gives only the secret counts: where the mechanism
/// or the user is another one, nothing changes. Any two are equal, so that they keep nobody from sharing an account.
#[derive(Clone)]
pub struct Again(Arc<dyn Fn() -> Result<Option<Mechanism>, String> + Send + Sync>);

impl Again {
    /// One that reads as `read` does.
    pub fn new(read: impl Fn() -> Result<Option<Mechanism>, String> + Send + Sync + 'static) -> Again {
        Again(Arc::new(read))
    }

    pub(crate) fn read(&self) -> Result<Option<Mechanism>, String> {
        (self.0)()
    }

    /// Whether it is a clone.
    pub(crate) fn is_same(&self, other: &Again) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

impl PartialEq for Again {
    fn eq(&self, _: &Again) -> bool {
        true
    }
}

impl SaslOptions {
    /// A login whose secret never changes.
    pub fn new(mechanism: Mechanism) -> SaslOptions {
        SaslOptions { mechanism, again: None }
    }
}

/// A SASL mechanism and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Mechanism {
    /// `PLAIN`
    Plain {
        /// Who.
        username: String,
        /// What proves it.
        password: Secret,
    },
    /// `SCRAM-SHA-256` and `SCRAM-SHA-512`
    Scram {
        /// Which of them.
        hash: ScramHash,
        /// Who, or a delegation token's id.
        username: String,
        /// What proves it, or the token's HMAC.
        password: Secret,
        /// It is a delegation token (`tokenauth=true`).
        token: bool,
    },
    /// `OAUTHBEARER`
    OauthBearer {
        /// Where tokens come from.
        token: TokenSource,
        /// Sent with each token, name and value (`extension_…`, KIP-342).
        extensions: Vec<(String, String)>,
    },
    /// `AWS_MSK_IAM`
    AwsMskIam(Box<AwsIam>),
    /// `GSSAPI`
    Gssapi(KerberosOptions),
}

/// Where keys of AWS come from, as the options of `aws-msk-iam-auth` say it. The default is the SDK's default chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsIam {
    /// A profile that is tried first (`awsProfileName`).
    pub profile: Option<String>,
    /// A role that is tried next (`awsRoleArn`).
    pub role: Option<AwsRole>,
    /// Then environment, web identity, the usual profile, container and instance (`awsAddDefaultProviders`).
    pub default_sources: bool,
    /// Whose keys are used is logged, without what is secret in them (`awsDebugCreds`).
    pub debug: bool,
    /// How often sources are asked again where that may help (`awsMaxRetries`).
    pub retries_max: u32,
    /// The longest pause before that (`awsMaxBackOffTimeMs`).
    pub backoff_max: Duration,
}

/// A role of AWS that is taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRole {
    /// `awsRoleArn`
    pub arn: String,
    /// `awsRoleSessionName`
    pub session_name: String,
    /// `awsRoleExternalId`
    pub external_id: Option<String>,
    /// Whose keys it is taken on with, `awsRoleAccessKeyId`, `awsRoleSecretAccessKey` and `awsRoleSessionToken`; `None`:
    /// those of the default chain.
    pub keys: Option<(String, Secret, Option<Secret>)>,
    /// The region of the token service (`awsStsRegion`), or `aws-global`.
    pub sts_region: String,
}

/// The hash that a SCRAM mechanism is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// `SCRAM-SHA-256`
    Sha256,
    /// `SCRAM-SHA-512`
    Sha512,
}

/// Who we are in Kerberos, and where tickets come from: of a cache if one is named and has one, else by the keytab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KerberosOptions {
    /// What brokers are called there, without host and realm (`sasl.kerberos.service.name`).
    pub service_name: String,
    /// Who, as `name@REALM`; without a realm, in the default one of `krb5.conf`. `None`: whoever the ticket cache is for.
    pub principal: Option<String>,
    /// Tickets that somebody else gets (`kinit`); read for each login.
    pub ticket_cache: Option<TicketCache>,
    /// The principal's keys; read when a ticket is to be got.
    pub keytab: Option<PathBuf>,
}

/// A cache of tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketCache {
    /// `KRB5CCNAME`, or what `krb5.conf` says, or `/tmp/krb5cc_<uid>`.
    Default,
    /// By its name: a path, `FILE:…`, `DIR:…` or `KCM:…`.
    Named(String),
}

/// Where an OAUTHBEARER token comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenSource {
    /// Made here and signed by nobody, for development (Kafka's `OAuthBearerUnsecuredLoginCallbackHandler`).
    Unsecured(UnsecuredToken),
    /// Always the same.
    Static(Secret),
    /// The contents of a file, without the white space around them; read for each login.
    File(PathBuf),
    /// Whatever an identity provider gives for a client's id and secret (KIP-768); kept until it is time for another.
    Endpoint(Box<TokenEndpoint>),
}

/// An identity provider's token endpoint, and who we are there. The default has Kafka's times and names, and neither a
/// URL nor a client.
#[derive(Clone, PartialEq)]
pub struct TokenEndpoint {
    /// `sasl.oauthbearer.token.endpoint.url`, `https:` or `http:`.
    pub url: String,
    /// `sasl.oauthbearer.client.credentials.client.id`, `clientId`.
    pub client_id: String,
    /// `sasl.oauthbearer.client.credentials.client.secret`, `clientSecret`.
    pub client_secret: Secret,
    /// `sasl.oauthbearer.scope`, `scope`.
    pub scope: Option<String>,
    /// The client's id and secret are encoded as forms are (`sasl.oauthbearer.header.urlencode`).
    pub urlencode: bool,
    /// The claim with the scopes (`sasl.oauthbearer.scope.claim.name`).
    pub scope_claim: String,
    /// The claim that says who a token is for, which it must have (`sasl.oauthbearer.sub.claim.name`).
    pub sub_claim: String,
    /// How TLS is spoken with it.
    pub tls: TlsOptions,
    /// How long connecting to it may take (`sasl.login.connect.timeout.ms`); `None` is 10 s.
    pub connect_timeout: Option<Duration>,
    /// How long its answer may take (`sasl.login.read.timeout.ms`); `None` is 10 s.
    pub read_timeout: Option<Duration>,
    /// The pause before it is asked again, doubled each time (`sasl.login.retry.backoff.ms`).
    pub retry_backoff: Duration,
    /// How long it is asked again at all (`sasl.login.retry.backoff.max.ms`).
    pub retry_backoff_max: Duration,
    /// When a token is replaced.
    pub refresh: TokenRefresh,
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What stands behind a `?` may be a secret.
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("TokenEndpoint")
            .field("url", &url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// When a token is replaced, `sasl.login.refresh.…`.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRefresh {
    /// In which part of its life, 0 to 1 (`window.factor`).
    pub window_factor: f64,
    /// The random part that is added to that (`window.jitter`).
    pub window_jitter: f64,
    /// Not sooner than so long after it came (`min.period.seconds`).
    pub min_period: Duration,
    /// Not later than so long before its end (`buffer.seconds`). Where a token's life is too short for both, neither
    /// counts.
    pub buffer: Duration,
}

/// What an unsecured token says, as the options `unsecuredLogin…` do.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsecuredToken {
    /// `unsecuredLoginStringClaim_<name>` and its kin, in order. One of them should be the principal's.
    pub claims: Vec<(String, Claim)>,
    /// `unsecuredLoginPrincipalClaimName`, usually `sub`.
    pub principal_claim: String,
    /// `unsecuredLoginScopeClaimName`, usually `scope`.
    pub scope_claim: String,
    /// `unsecuredLoginLifetimeSeconds`, usually an hour.
    pub lifetime: Duration,
}

/// The value of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// `unsecuredLoginStringClaim_…`
    Text(String),
    /// `unsecuredLoginNumberClaim_…`
    Number(f64),
    /// `unsecuredLoginListClaim_…`
    List(Vec<String>),
}

/// Text that must not be shown. [`Secret::expose`] is the only way to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// From here on it does not show.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for whoever it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Default for TlsOptions {
    fn default() -> TlsOptions {
        TlsOptions {
            trust: Trust::System,
            identity: None,
            verify_host: true,
            protocols: Vec::new(),
            cipher_suites: Vec::new(),
        }
    }
}

impl Default for UnsecuredToken {
    fn default() -> UnsecuredToken {
        UnsecuredToken {
            claims: Vec::new(),
            principal_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            lifetime: Duration::from_secs(3600),
        }
    }
}

impl Default for TokenEndpoint {
    fn default() -> TokenEndpoint {
        TokenEndpoint {
            url: String::new(),
            client_id: String::new(),
            client_secret: Secret::new(""),
            scope: None,
            urlencode: false,
            scope_claim: "scope".to_owned(),
            sub_claim: "sub".to_owned(),
            tls: TlsOptions::default(),
            connect_timeout: None,
            read_timeout: None,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(10),
            refresh: TokenRefresh::default(),
        }
    }
}

impl Default for AwsIam {
    fn default() -> AwsIam {
        AwsIam {
            profile: None,
            role: None,
            default_sources: true,
            debug: false,
            retries_max: 3,
            backoff_max: Duration::from_secs(5),
        }
    }
}

impl Default for TokenRefresh {
    fn default() -> TokenRefresh {
        TokenRefresh {
            window_factor: 0.8,
            window_jitter: 0.05,
            min_period: Duration::from_secs(60),
            buffer: Duration::from_secs(300),
        }
    }
}

impl Security {
    /// Reads what it names (stores, files with tokens) and makes of it what connections need, without any: so that what
    /// is wrong with it is told at the start.
    ///
    /// # Errors
    /// [`SecurityError`] that says what cannot be used, and why. Blocks while it reads.
    pub fn check(&self) -> Result<(), SecurityError> {
        if let Some(tls) = &self.tls {
            crate::tls::check(tls)?;
        }
        if let Some(sasl) = &self.sasl {
            Credentials::new(sasl.clone()).check()?;
        }
        Ok(())
    }
}

impl Security {
    /// The name under which a broker knows us by Kafka's own rules (`DefaultKafkaPrincipalBuilder`), without its `User:`,
    /// where the settings tell it: not what brokers make of a certificate, a token or a principal.
    pub fn user(&self) -> Option<&str> {
        match (&self.sasl, &self.tls) {
            (Some(sasl), _) => match &sasl.mechanism {
                Mechanism::Plain { username, .. } | Mechanism::Scram { username, token: false, .. } => {
                    Some(username)
                }
                Mechanism::Scram { token: true, .. }
                | Mechanism::OauthBearer { .. }
                | Mechanism::AwsMskIam(_)
                // Brokers have rules for what they call it (`sasl.kerberos.principal.to.local.rules`).
                | Mechanism::Gssapi(_) => None,
            },
            (None, Some(TlsOptions { identity: Some(_), .. })) => None,
            (None, _) => Some("ANONYMOUS"),
        }
    }
}

impl Mechanism {
    /// Whether it is the same user by the same mechanism, whatever proves it.
    pub(crate) fn is_same_user(&self, other: &Mechanism) -> bool {
        match (self, other) {
            (Mechanism::Plain { username, .. }, Mechanism::Plain { username: other, .. }) => {
                username == other
            }
            (
                Mechanism::Scram { hash, username, token, .. },
                Mechanism::Scram { hash: other_hash, username: other, token: other_token, .. },
            ) => (hash, username, token) == (other_hash, other, other_token),
            (
                Mechanism::OauthBearer { token: TokenSource::Static(_), extensions },
                Mechanism::OauthBearer { token: TokenSource::Static(_), extensions: other },
            ) => extensions == other,
            (
                Mechanism::OauthBearer { token: TokenSource::Endpoint(endpoint), extensions },
                Mechanism::OauthBearer { token: TokenSource::Endpoint(other), extensions: others },
            ) => {
                let client_secret = other.client_secret.clone();
                TokenEndpoint { client_secret, ..(**endpoint).clone() } == **other && extensions == others
            }
            (Mechanism::AwsMskIam(iam), Mechanism::AwsMskIam(other)) => {
                let with_keys_of =
                    |role: &AwsRole, other: &AwsRole| AwsRole { keys: other.keys.clone(), ..role.clone() };
                let role =
                    iam.role.as_ref().zip(other.role.as_ref()).map(|(role, other)| with_keys_of(role, other));
                AwsIam { role: role.or(iam.role.clone()), ..(**iam).clone() } == **other
            }
            // Files with tokens, keytabs and ticket caches are read for each login anyway.
            (one, other) => one == other,
        }
    }

    /// As brokers call it.
    pub fn name(&self) -> &'static str {
        match self {
            Mechanism::Plain { .. } => "PLAIN",
            Mechanism::Scram { hash: ScramHash::Sha256, .. } => "SCRAM-SHA-256",
            Mechanism::Scram { hash: ScramHash::Sha512, .. } => "SCRAM-SHA-512",
            Mechanism::OauthBearer { .. } => "OAUTHBEARER",
            Mechanism::AwsMskIam(_) => "AWS_MSK_IAM",
            Mechanism::Gssapi(_) => "GSSAPI",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_we_are_is_known_by_a_name_or_by_having_none() {
        let secret = || Secret::new("hush");
        let user = |mechanism| {
            let security = Security { tls: None, sasl: Some(SaslOptions::new(mechanism)) };
            security.user().map(str::to_owned)
        };
        let ann = || "ann".to_owned();
        assert_eq!(user(Mechanism::Plain { username: ann(), password: secret() }), Some(ann()));
        for (token, expected) in [(false, Some(ann())), (true, None)] {
            let (hash, username, password) = (ScramHash::Sha256, ann(), secret());
            assert_eq!(user(Mechanism::Scram { hash, username, password, token }), expected);
        }
        let token = TokenSource::Static(secret());
        assert_eq!(user(Mechanism::OauthBearer { token, extensions: Vec::new() }), None);
        assert_eq!(Security::default().user(), Some("ANONYMOUS"));
        let store = StoreSource::Inline { certificates: secret(), key: Some(secret()) };
        let identity = Some(Identity { store, key_password: None });
        let tls = Some(TlsOptions { identity, ..TlsOptions::default() });
        assert_eq!(Security { tls, sasl: None }.user(), None);
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = || Secret::new("hush");
        let file = |kind| StoreSource::File { path: "store".into(), kind, password: Some(secret()) };
        let inline = StoreSource::Inline { certificates: secret(), key: Some(secret()) };
        let identity = Identity { store: inline, key_password: Some(secret()) };
        let tls = TlsOptions {
            trust: Trust::Store(file(StoreKind::Jks)),
            identity: Some(identity),
            ..TlsOptions::default()
        };
        let mechanisms = [
            Mechanism::Plain { username: "ann".into(), password: secret() },
            Mechanism::Scram {
                hash: ScramHash::Sha256,
                username: "ann".into(),
                password: secret(),
                token: true,
            },
            Mechanism::OauthBearer { token: TokenSource::Static(secret()), extensions: Vec::new() },
            Mechanism::OauthBearer {
                token: TokenSource::Endpoint(Box::new(TokenEndpoint {
                    client_secret: secret(),
                    ..TokenEndpoint::default()
                })),
                extensions: Vec::new(),
            },
            Mechanism::AwsMskIam(Box::new(AwsIam {
                role: Some(AwsRole {
                    arn: "arn".into(),
                    session_name: "me".into(),
                    external_id: None,
                    keys: Some(("AKID".into(), secret(), Some(secret()))),
                    sts_region: "aws-global".into(),
                }),
                ..AwsIam::default()
            })),
        ];
        for mechanism in mechanisms {
            let security = Security { tls: Some(tls.clone()), sasl: Some(SaslOptions::new(mechanism)) };
            let shown = format!("{security:?} {security:#?}");
            assert!(shown.contains("[hidden]") && !shown.contains("hush"), "{shown}");
        }
    }
}
