//! Settings of a cluster as the client's options, its security included.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{
    Accounts, Again, AwsIam, AwsRole, Claim, Identity, KerberosOptions, Mechanism, SaslOptions, ScramHash,
    Secret, Security, SecurityError, StoreKind, StoreSource, TicketCache, TlsOptions, TlsProtocol,
    TokenEndpoint, TokenRefresh, TokenSource, Trust, UnsecuredToken,
};
use properties::value::Secret as Hidden;
use properties::{
    AwsIamSettings, ClaimSettings, ClusterSettings, EndpointSettings, Place, Problem, SaslSettings,
    SecuritySettings, Settings, StoreFormat, StoreSettings, TicketCacheSettings, TlsSettings, TlsVersion,
    TokenSettings,
};

/// What all connections of a process have in common where they log in. Clones are the same.
#[derive(Clone, Default)]
pub struct Logins {
    accounts: Accounts,
    again: Option<Arc<ReadAgain>>,
}

/// Gives nothing where another thread is just reading.
type ReadAgain = dyn Fn() -> Result<Option<Settings>, String> + Send + Sync;

/// So long the settings that were read once are taken for all logins.
const SERVES_FOR: Duration = Duration::from_millis(500);

impl Logins {
    /// Logins whose secrets may change: `again` reads all settings once more, from wherever they are written, and says why
    /// where that cannot be done now. It may block; one call is made at a time, and what it gave serves for half a second.
    pub fn new(again: impl Fn() -> Result<Settings, String> + Send + Sync + 'static) -> Logins {
        let last: Mutex<Option<(Instant, Result<Settings, String>)>> = Mutex::default();
        let again = move || {
            // Where reading hangs, one thread does.
            let Ok(mut last) = last.try_lock() else { return Ok(None) };
            let given = match &*last {
                Some((when, given)) if when.elapsed() < SERVES_FOR => given.clone(),
                _ => {
                    let given = again();
                    *last = Some((Instant::now(), given.clone()));
                    given
                }
            };
            given.map(Some)
        };
        Logins { accounts: Accounts::default(), again: Some(Arc::new(again)) }
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

/// The options of a client that reaches `cluster`, which messages call `name` and `find` finds in the settings.
pub(crate) fn client_options(
    name: &str,
    cluster: &ClusterSettings,
    logins: &Logins,
    find: impl Fn(&Settings) -> Option<&ClusterSettings> + Send + Sync + 'static,
) -> client::Options {
    let mut options = client::Options::new(name, cluster.bootstrap.clone());
    options.client_id.clone_from(&cluster.client_id);
    options.request_timeout = cluster.request_timeout.unwrap_or(options.request_timeout);
    options.connect_timeout = cluster.connect_timeout.unwrap_or(options.connect_timeout);
    options.security = security(&cluster.security);
    options.accounts = logins.accounts.clone();
    if let (Some(sasl), Some(again)) = (&mut options.security.sasl, &logins.again) {
        let again = Arc::clone(again);
        let present = cluster.clone();
        sasl.again = Some(Again::new(move || {
            let Some(settings) = again()? else { return Ok(None) };
            let written = find(&settings).ok_or("the connector is in none of the files any more")?;
            login_of(&present, written).map(Some)
        }));
    }
    options
}

/// How `written` logs in, which was `present`: a secret is for its own cluster, and may be meant for TLS.
fn login_of(present: &ClusterSettings, written: &ClusterSettings) -> Result<Mechanism, String> {
    let where_and_how = |cluster: &ClusterSettings| (cluster.bootstrap.clone(), cluster.security.tls.clone());
    if where_and_how(present) != where_and_how(written) {
        return Err(
            "another address, or another way to encrypt, is written, which takes a new start".to_owned()
        );
    }
    let sasl = written.security.sasl.as_ref();
    sasl.map(mechanism).ok_or_else(|| "no login is written any more, which takes a new start".to_owned())
}

/// What stands in the way of securing connections to `cluster` as `options` say, such as a store that does not open.
/// `whose` is the cluster in words; `place` where it is set up, if no property says more.
pub(crate) fn problem(
    whose: &str,
    cluster: &ClusterSettings,
    options: &client::Options,
    place: Place,
) -> Option<Problem> {
    let error = options.security.check().err()?;
    let suspects: &[&str] = match &error {
        SecurityError::Store { store, .. } if store.starts_with("key store") => {
            &["ssl.keystore.location", "ssl.keystore.key"]
        }
        SecurityError::Store { .. } => &["ssl.truststore.location", "ssl.truststore.certificates"],
        SecurityError::Choice(_) => &["ssl.cipher.suites", "ssl.enabled.protocols", "ssl.protocol"],
        SecurityError::Credentials { .. } => &["sasl.oauthbearer.token.endpoint.url", "sasl.jaas.config"],
    };
    let given = suspects.iter().find_map(|name| cluster.security.given(name));
    let (key, place) = match given.or_else(|| cluster.security.given("security.protocol")) {
        Some((key, place)) => (format!("`{key}`: "), place.clone()),
        None => (String::new(), place),
    };
    Some(Problem::error(place, format!("{key}{whose} cannot be reached so: {error}")))
}

fn security(settings: &SecuritySettings) -> Security {
    Security {
        tls: settings.tls.as_ref().map(tls),
        sasl: settings.sasl.as_ref().map(|sasl| SaslOptions::new(mechanism(sasl))),
    }
}

fn tls(settings: &TlsSettings) -> TlsOptions {
    TlsOptions {
        trust: settings.trust.as_ref().map_or(Trust::System, |it| Trust::Store(store(it))),
        identity: settings.identity.as_ref().map(|identity| Identity {
            store: store(&identity.store),
            key_password: identity.key_password.as_ref().map(secret),
        }),
        verify_host: settings.verify_host,
        protocols: settings
            .protocols
            .iter()
            .map(|version| match version {
                TlsVersion::V1_2 => TlsProtocol::V1_2,
                TlsVersion::V1_3 => TlsProtocol::V1_3,
            })
            .collect(),
        cipher_suites: settings.cipher_suites.clone(),
    }
}

fn store(settings: &StoreSettings) -> StoreSource {
    match settings {
        StoreSettings::File { path, format, password } => StoreSource::File {
            path: path.clone(),
            kind: match format {
                StoreFormat::Jks => StoreKind::Jks,
                StoreFormat::Pkcs12 => StoreKind::Pkcs12,
                StoreFormat::Pem => StoreKind::Pem,
            },
            password: password.as_ref().map(secret),
        },
        StoreSettings::Inline { certificates, key } => {
            StoreSource::Inline { certificates: secret(certificates), key: key.as_ref().map(secret) }
        }
    }
}

fn mechanism(settings: &SaslSettings) -> Mechanism {
    match settings {
        SaslSettings::Plain { username, password } => {
            Mechanism::Plain { username: username.clone(), password: secret(password) }
        }
        SaslSettings::Scram { sha512, username, password, is_token } => Mechanism::Scram {
            hash: if *sha512 { ScramHash::Sha512 } else { ScramHash::Sha256 },
            username: username.clone(),
            password: secret(password),
            token: *is_token,
        },
        SaslSettings::AwsMskIam(settings) => Mechanism::AwsMskIam(Box::new(aws_iam(settings))),
        SaslSettings::OauthBearer { token: source, extensions } => Mechanism::OauthBearer {
            token: token(source),
            extensions: extensions.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        },
        SaslSettings::Gssapi(kerberos) => Mechanism::Gssapi(KerberosOptions {
            service_name: kerberos.service_name.clone(),
            principal: kerberos.principal.clone(),
            ticket_cache: kerberos.ticket_cache.as_ref().map(|cache| match cache {
                TicketCacheSettings::Default => TicketCache::Default,
                TicketCacheSettings::Named(name) => TicketCache::Named(name.clone()),
            }),
            keytab: kerberos.keytab.clone(),
        }),
    }
}

fn aws_iam(settings: &AwsIamSettings) -> AwsIam {
    AwsIam {
        profile: settings.profile.clone(),
        role: settings.role.as_ref().map(|role| AwsRole {
            arn: role.arn.clone(),
            session_name: role.session_name.clone(),
            external_id: role.external_id.clone(),
            keys: role
                .keys
                .as_ref()
                .map(|(id, key, token)| (id.clone(), secret(key), token.as_ref().map(secret))),
            sts_region: role.sts_region.clone(),
        }),
        default_sources: settings.default_sources,
        debug: settings.debug,
        retries_max: settings.retries_max,
        backoff_max: settings.backoff_max,
    }
}

fn token(settings: &TokenSettings) -> TokenSource {
    match settings {
        TokenSettings::File(path) => TokenSource::File(path.clone()),
        TokenSettings::Endpoint(settings) => TokenSource::Endpoint(Box::new(endpoint(settings))),
        TokenSettings::Unsecured { claims, principal_claim, scope_claim, lifetime_seconds } => {
            let claims = claims.iter().map(|(name, value)| (name.clone(), claim(value)));
            TokenSource::Unsecured(UnsecuredToken {
                claims: claims.collect(),
                principal_claim: principal_claim.clone(),
                scope_claim: scope_claim.clone(),
                lifetime: Duration::from_secs(u64::from(*lifetime_seconds)),
            })
        }
    }
}

fn endpoint(settings: &EndpointSettings) -> TokenEndpoint {
    let part = |millionths: u32| f64::from(millionths) / 1e6;
    TokenEndpoint {
        url: settings.url.clone(),
        client_id: settings.client_id.clone(),
        client_secret: secret(&settings.client_secret),
        scope: settings.scope.clone(),
        urlencode: settings.urlencode,
        scope_claim: settings.scope_claim.clone(),
        sub_claim: settings.sub_claim.clone(),
        tls: tls(&settings.tls),
        connect_timeout: settings.connect_timeout,
        read_timeout: settings.read_timeout,
        retry_backoff: settings.retry_backoff,
        retry_backoff_max: settings.retry_backoff_max,
        refresh: TokenRefresh {
            window_factor: part(settings.refresh_window_factor_ppm),
            window_jitter: part(settings.refresh_window_jitter_ppm),
            min_period: settings.refresh_min_period,
            buffer: settings.refresh_buffer,
        },
    }
}

fn claim(settings: &ClaimSettings) -> Claim {
    match settings {
        ClaimSettings::Text(text) => Claim::Text(text.clone()),
        // That it is a number was seen when it was read.
        ClaimSettings::Number(number) => Claim::Number(number.parse().unwrap_or(0.0)),
        ClaimSettings::List(parts) => Claim::List(parts.clone()),
    }
}

fn secret(hidden: &Hidden) -> Secret {
    Secret::new(hidden.reveal())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use properties::{load, parse};

    use super::*;

    fn source(lines: &str) -> ClusterSettings {
        let connector = "name=x\nconnector.class=paralog\nsrc.kafka.bootstrap.servers=a:1\n\
            dest.kafka.bootstrap.servers=b:1\ntopic.whitelist=t\n";
        let lines: String = lines.lines().map(|line| format!("src.kafka.{line}\n")).collect();
        let (settings, report) = load(&[], &[parse("c", &format!("{connector}{lines}")).0]);
        assert_eq!(report.to_string(), "");
        settings.expect("loads").connectors.remove(0).source
    }

    fn security(lines: &str) -> Security {
        client_options("source", &source(lines), &Logins::default(), |_| None).security
    }

    fn file(path: &str, kind: StoreKind, password: Option<&str>) -> StoreSource {
        StoreSource::File { path: path.into(), kind, password: password.map(Secret::new) }
    }

    #[test]
    fn what_is_not_secured_is_plaintext() {
        assert_eq!(security(""), Security::default());
        assert_eq!(security("security.protocol=PLAINTEXT"), Security::default());
        assert_eq!(security("security.protocol=SSL").tls.map(|tls| tls.trust), Some(Trust::System));
    }

    #[test]
    fn stores_versions_and_suites_reach_the_client() {
        let secured = security(
            "security.protocol=SSL\nssl.truststore.location=/t\nssl.truststore.password=p\nssl.keystore.type=PKCS12\n\
             ssl.keystore.location=/k\nssl.keystore.password=q\nssl.key.password=r\nssl.enabled.protocols=TLSv1.3\n\
             ssl.cipher.suites=TLS_AES_128_GCM_SHA256",
        );
        let expected = TlsOptions {
            trust: Trust::Store(file("/t", StoreKind::Jks, Some("p"))),
            identity: Some(Identity {
                store: file("/k", StoreKind::Pkcs12, Some("q")),
                key_password: Some(Secret::new("r")),
            }),
            verify_host: true,
            protocols: vec![TlsProtocol::V1_3],
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
        };
        assert_eq!(secured, Security { tls: Some(expected), sasl: None });
        let inline = security(
            "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates=c\nssl.keystore.type=PEM\n\
             ssl.keystore.certificate.chain=d\nssl.keystore.key=k",
        );
        let tls = inline.tls.expect("it is encrypted");
        let trusted = StoreSource::Inline { certificates: Secret::new("c"), key: None };
        let identity = StoreSource::Inline { certificates: Secret::new("d"), key: Some(Secret::new("k")) };
        assert_eq!(tls.trust, Trust::Store(trusted));
        assert_eq!(tls.identity, Some(Identity { store: identity, key_password: None }));
    }

    #[test]
    fn logins_reach_the_client() {
        let mechanism = |name: &str, jaas: &str| {
            let secured = security(&format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={name}\nsasl.jaas.config=org.apache.kafka.common.security.{jaas}"
            ));
            assert_eq!(secured.tls, None);
            secured.sasl.expect("it logs in").mechanism
        };
        let (username, password) = ("a".to_owned(), Secret::new("p"));
        assert_eq!(
            mechanism("PLAIN", "plain.PlainLoginModule required username=a password=p;"),
            Mechanism::Plain { username: username.clone(), password: password.clone() }
        );
        for (name, hash) in [("SCRAM-SHA-256", ScramHash::Sha256), ("SCRAM-SHA-512", ScramHash::Sha512)] {
            let (username, password) = (username.clone(), password.clone());
            assert_eq!(
                mechanism(name, "scram.ScramLoginModule required username=a password=p tokenauth=true;"),
                Mechanism::Scram { hash, username, password, token: true }
            );
        }
        let bearer = mechanism(
            "OAUTHBEARER",
            "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=a \
             unsecuredLoginNumberClaim_n=\"1.5\" unsecuredLoginExtension_x=y;",
        );
        let claims =
            vec![("n".to_owned(), Claim::Number(1.5)), ("sub".to_owned(), Claim::Text("a".to_owned()))];
        let expected = Mechanism::OauthBearer {
            token: TokenSource::Unsecured(UnsecuredToken { claims, ..UnsecuredToken::default() }),
            extensions: vec![("x".to_owned(), "y".to_owned())],
        };
        assert_eq!(bearer, expected);
    }

    #[test]
    fn a_login_by_aws_reaches_the_client() {
        let secured = security(
            "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\n\
             sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=p awsRoleArn=r \
             awsRoleAccessKeyId=a awsRoleSecretAccessKey=s awsRoleSessionToken=t awsDebugCreds=true awsMaxRetries=\"1\";",
        );
        let role = AwsRole {
            arn: "r".to_owned(),
            session_name: "aws-msk-iam-auth".to_owned(),
            external_id: None,
            keys: Some(("a".to_owned(), Secret::new("s"), Some(Secret::new("t")))),
            sts_region: "aws-global".to_owned(),
        };
        let expected = AwsIam {
            profile: Some("p".to_owned()),
            role: Some(role),
            debug: true,
            retries_max: 1,
            ..AwsIam::default()
        };
        assert_eq!(secured.sasl.expect("it logs in").mechanism, Mechanism::AwsMskIam(Box::new(expected)));
    }

    #[test]
    fn an_identity_provider_reaches_the_client() {
        let secured = security(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
             sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=me \
             clientSecret=p scope=s ssl.truststore.location=\"/t\" extension_x=y;\n\
             sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
             sasl.oauthbearer.token.endpoint.url=https://idp/token\nsasl.login.read.timeout.ms=7\n\
             sasl.login.refresh.window.factor=0.9",
        );
        let trust = Trust::Store(file("/t", StoreKind::Jks, None));
        let endpoint = TokenEndpoint {
            url: "https://idp/token".to_owned(),
            client_id: "me".to_owned(),
            client_secret: Secret::new("p"),
            scope: Some("s".to_owned()),
            tls: TlsOptions {
                trust,
                protocols: vec![TlsProtocol::V1_2, TlsProtocol::V1_3],
                ..TlsOptions::default()
            },
            read_timeout: Some(Duration::from_millis(7)),
            refresh: TokenRefresh { window_factor: 0.9, ..TokenRefresh::default() },
            ..TokenEndpoint::default()
        };
        let expected = Mechanism::OauthBearer {
            token: TokenSource::Endpoint(Box::new(endpoint)),
            extensions: vec![("x".to_owned(), "y".to_owned())],
        };
        assert_eq!(secured.sasl.expect("it logs in").mechanism, expected);
    }

    #[test]
    fn a_login_by_kerberos_reaches_the_client() {
        let secured = security(
            "security.protocol=SASL_PLAINTEXT\nsasl.kerberos.service.name=kafka\n\
             sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required useTicketCache=true \
             ticketCache=\"/c\" useKeyTab=true keyTab=\"/k\" principal=\"a@R\";",
        );
        let expected = KerberosOptions {
            service_name: "kafka".to_owned(),
            principal: Some("a@R".to_owned()),
            ticket_cache: Some(TicketCache::Named("/c".to_owned())),
            keytab: Some("/k".into()),
        };
        assert_eq!(secured.sasl, Some(SaslOptions::new(Mechanism::Gssapi(expected))));
    }

    #[test]
    fn settings_are_read_by_one_at_a_time_and_others_go_on_without() {
        let ((begun, begins), (go_on, waits)) = (sync_channel(1), sync_channel::<()>(1));
        let waits = Mutex::new(waits);
        let logins = Logins::new(move || {
            begun.send(()).expect("the test listens");
            let is_let_go =
                waits.lock().expect("nobody panics").recv_timeout(Duration::from_secs(10)).is_ok();
            Err(format!("let go: {is_let_go}"))
        });
        let again = logins.again.expect("it was given");
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| again());
            begins.recv().expect("it reads");
            assert_eq!(again(), Ok(None));
            go_on.send(()).expect("it waits");
            let given = reads.join().expect("it does not panic");
            assert_eq!(given, Err("let go: true".to_owned()));
            assert_eq!(again(), given, "what was read serves for a while");
        });
    }

    #[test]
    fn a_secret_is_taken_for_the_same_cluster_reached_the_same_way_alone() {
        let login = "sasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                     required username=a password=NEW;";
        let cluster = |protocol: &str, login: &str| source(&format!("security.protocol={protocol}\n{login}"));
        let present = cluster("SASL_PLAINTEXT", &login.replace("NEW", "old"));
        let changed = cluster("SASL_PLAINTEXT", login);
        let password = |given| match given {
            Ok(Mechanism::Plain { password, .. }) => password.expose().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(password(login_of(&present, &changed)), "NEW");
        let moved = ClusterSettings { bootstrap: vec!["elsewhere:1".to_owned()], ..changed };
        for other in [moved, cluster("SASL_SSL", login), cluster("PLAINTEXT", "")] {
            let told = login_of(&present, &other).unwrap_err();
            assert!(told.ends_with("takes a new start"), "{told}");
        }
    }

    #[test]
    fn a_store_that_does_not_open_is_told_with_its_property() {
        let cluster = source(
            "security.protocol=SSL\nssl.truststore.location=/no/such/store\nssl.truststore.password=hunter2",
        );
        let options = client_options("source", &cluster, &Logins::default(), |_| None);
        let problem =
            problem("the source", &cluster, &options, Place::none()).expect("there is no such store");
        let shown = problem.to_string();
        let expected = "error: c:7: `src.kafka.ssl.truststore.location`: the source cannot be reached so: ";
        assert!(shown.starts_with(expected) && shown.contains("/no/such/store"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
