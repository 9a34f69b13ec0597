//! How connections to one cluster are secured, as the settings say it.
//!
//! What is here has been judged: a value that asks for something that is not built does not come this far. What only
//! the files behind it can tell (a wrong password, an expired certificate) shows when they are opened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::entry::Place;
use crate::value::Secret;

/// How the connections to one cluster are secured. The default is plaintext, as nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecuritySettings {
    /// Encryption: `security.protocol` is `SSL` or `SASL_SSL`.
    pub tls: Option<TlsSettings>,
    /// The login: `security.protocol` is `SASL_PLAINTEXT` or `SASL_SSL`.
    pub sasl: Option<SaslSettings>,
    /// The entry that counts of each property, by the property's name without a prefix.
    pub(crate) given: BTreeMap<String, (String, Place)>,
}

impl SecuritySettings {
    /// Under which key the property `name` (without a prefix) was given, and where; of several the one that counts.
    pub fn given(&self, name: &str) -> Option<(&str, &Place)> {
        self.given.get(name).map(|(key, place)| (key.as_str(), place))
    }

    /// What there is of it, in a few words; `None` for plaintext as nobody.
    pub fn summary(&self) -> Option<String> {
        let mut parts = Vec::new();
        match (&self.tls, &self.sasl) {
            (None, None) => return None,
            (None, Some(_)) => parts.push("no TLS"),
            (Some(TlsSettings { identity: Some(_), .. }), _) => parts.push("TLS with a client certificate"),
            (Some(_), _) => parts.push("TLS"),
        }
        parts.extend(self.sasl.as_ref().map(SaslSettings::mechanism));
        Some(parts.join(", "))
    }

    /// The files behind it that hold secrets themselves.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let (login, provider) = match &self.sasl {
            Some(SaslSettings::OauthBearer { token: TokenSettings::File(path), .. }) => (Some(path), None),
            Some(SaslSettings::OauthBearer { token: TokenSettings::Endpoint(endpoint), .. }) => {
                (None, Some(&endpoint.tls))
            }
            Some(SaslSettings::Gssapi(kerberos)) => (kerberos.keytab.as_ref(), None),
            _ => (None, None),
        };
        let identities = self.tls.iter().chain(provider).filter_map(|tls| tls.identity.as_ref());
        let stores = identities.filter_map(|identity| match &identity.store {
            StoreSettings::File { path, .. } => Some(path),
            StoreSettings::Inline { .. } => None,
        });
        stores.chain(login)
    }
}

/// Encryption, `ssl.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whose certificates are trusted; `None` for those that the operating system trusts.
    pub trust: Option<StoreSettings>,
    /// What proves who we are; `None` for nothing.
    pub identity: Option<IdentitySettings>,
    /// Whether the broker's certificate must be for the host that is connected to.
    pub verify_host: bool,
    /// The versions that may be spoken, not empty.
    pub protocols: Vec<TlsVersion>,
    /// The cipher suites that may be used, by Java's names; empty for all. Whether they exist is for their user to
    /// find out.
    pub cipher_suites: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// `TLSv1.2`.
    V1_2,
    /// `TLSv1.3`.
    V1_3,
}

/// A certificate, those above it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Where they are.
    pub store: StoreSettings,
    /// `ssl.key.password`; `None` for the store's own.
    pub key_password: Option<Secret>,
}

/// Where certificates, and perhaps a key, are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSettings {
    /// In a file.
    File {
        /// `ssl.truststore.location`, `ssl.keystore.location`.
        path: PathBuf,
        /// Its format.
        format: StoreFormat,
        /// Its password, if it is given.
        password: Option<Secret>,
    },
    /// In the settings themselves, as PEM text.
    Inline {
        /// `ssl.truststore.certificates`, `ssl.keystore.certificate.chain`.
        certificates: Secret,
        /// `ssl.keystore.key`.
        key: Option<Secret>,
    },
}

/// The format of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFormat {
    /// `JKS`.
    Jks,
    /// `PKCS12`.
    Pkcs12,
    /// `PEM`.
    Pem,
}

/// A login, `sasl.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslSettings {
    /// `PLAIN`.
    Plain {
        /// Who.
        username: String,
        /// What proves it.
        password: Secret,
    },
    /// `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    Scram {
        /// `SCRAM-SHA-512`.
        sha512: bool,
        /// Who, or the id of a delegation token.
        username: String,
        /// What proves it.
        password: Secret,
        /// It is a delegation token: `tokenauth="true"`.
        is_token: bool,
    },
    /// `OAUTHBEARER`.
    OauthBearer {
        /// Where tokens come from.
        token: TokenSettings,
        /// What is sent with them, by name.
        extensions: BTreeMap<String, String>,
    },
    /// `AWS_MSK_IAM`.
    AwsMskIam(Box<AwsIamSettings>),
    /// `GSSAPI`.
    Gssapi(KerberosSettings),
}

/// Where keys of AWS come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsIamSettings {
    /// `awsProfileName`, which is tried first.
    pub profile: Option<String>,
    /// `awsRoleArn`, which is tried next.
    pub role: Option<AwsRoleSettings>,
    /// Whether the default chain of AWS's SDK is tried then.
    pub default_sources: bool,
    /// Whether it is logged whose keys are used.
    pub debug: bool,
    /// How often they are looked for again where that may help.
    pub retries_max: u32,
    /// The longest pause before that.
    pub backoff_max: Duration,
}

/// A role of AWS that is taken on, `awsRole…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRoleSettings {
    /// Which.
    pub arn: String,
    /// What the session is called at AWS.
    pub session_name: String,
    /// What its owner asks for beside that.
    pub external_id: Option<String>,
    /// Id, secret and perhaps token of the keys that it is taken on with; `None` for those of the default chain.
    pub keys: Option<(String, Secret, Option<Secret>)>,
    /// The region of the token service; `aws-global` for that of all of them.
    pub sts_region: String,
}

/// Who logs in by Kerberos, and where the tickets come from: the cache first, where there are both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KerberosSettings {
    /// What the brokers are called in Kerberos, without host and realm.
    pub service_name: String,
    /// `principal`; `None`, which goes with a ticket cache alone, for whoever that is for.
    pub principal: Option<String>,
    /// The cache, where `useTicketCache` is set.
    pub ticket_cache: Option<TicketCacheSettings>,
    /// `keyTab`, where `useKeyTab` is set.
    pub keytab: Option<PathBuf>,
}

/// A cache of tickets that somebody else fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketCacheSettings {
    /// Where `kinit` writes if it is not told.
    Default,
    /// `ticketCache`: a path, or a type and a name.
    Named(String),
}

impl SaslSettings {
    /// As brokers call it.
    pub fn mechanism(&self) -> &'static str {
        match self {
            SaslSettings::Plain { .. } => "PLAIN",
            SaslSettings::Scram { sha512: false, .. } => "SCRAM-SHA-256",
            SaslSettings::Scram { sha512: true, .. } => "SCRAM-SHA-512",
            SaslSettings::OauthBearer { .. } => "OAUTHBEARER",
            SaslSettings::AwsMskIam(_) => "AWS_MSK_IAM",
            SaslSettings::Gssapi(_) => "GSSAPI",
        }
    }
}

/// Where the tokens of `OAUTHBEARER` come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSettings {
    /// They are made here, and nobody signs them: for development.
    Unsecured {
        /// What they say, by name.
        claims: BTreeMap<String, ClaimSettings>,
        /// The claim that says who we are.
        principal_claim: String,
        /// The claim that holds the scope.
        scope_claim: String,
        /// How long one is valid.
        lifetime_seconds: u32,
    },
    /// A file holds the one to use.
    File(PathBuf),
    /// An identity provider gives them out.
    Endpoint(Box<EndpointSettings>),
}

/// An identity provider's token endpoint, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// `sasl.oauthbearer.token.endpoint.url`, `https:` or `http:`.
    pub url: String,
    /// The client's id.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Secret,
    /// What is asked for.
    pub scope: Option<String>,
    /// Whether id and secret are encoded as forms are.
    pub urlencode: bool,
    /// The claim that holds the scope.
    pub scope_claim: String,
    /// The claim that says who a token is for.
    pub sub_claim: String,
    /// How TLS is spoken with it.
    pub tls: TlsSettings,
    /// How long connecting to it may take, if that is said.
    pub connect_timeout: Option<Duration>,
    /// How long its answer may take, if that is said.
    pub read_timeout: Option<Duration>,
    /// The pause before it is asked again.
    pub retry_backoff: Duration,
    /// How long it is asked again at all.
    pub retry_backoff_max: Duration,
    /// When in its life a token is replaced, in millionths of it: half to all.
    pub refresh_window_factor_ppm: u32,
    /// The random part added to that, in millionths: nothing to a quarter.
    pub refresh_window_jitter_ppm: u32,
    /// The shortest time between two tokens.
    pub refresh_min_period: Duration,
    /// How long before its end a token is replaced at the latest.
    pub refresh_buffer: Duration,
}

/// What an unsecured token says in one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimSettings {
    /// Text.
    Text(String),
    /// A number, as Java's `Double.valueOf` takes it.
    Number(String),
    /// Several texts.
    List(Vec<String>),
}
