//! Logins at clusters in this process: every mechanism, refusals, and logins that are made again.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use client::{
    Accounts, Again, ApiKey, CallError, Claim, CloseCause, Cluster, Connection, Mechanism, Options,
    ProduceBatch, SaslOptions, ScramHash, Secret, Security, TokenEndpoint, TokenSource, UnsecuredToken,
    Wanted,
};
use embedded_kafka::{Config, ErrorCode, Exchange, Profile, Sasl, Step};
use model::{BrokerId, ProducerId, TopicPartition};
use record_batch::{BatchBuilder, Codec, ProducerStamp};
use ring::{digest, hmac, pbkdf2};
use tokio::time::Instant;

use crate::embedded::{NOW_MS, offer, read, with};
use crate::not_kafka::chain;

/// Of `ann`, where it is not said otherwise.
pub(crate) const PASSWORD: &str = "s3cret-of-ann";
const PROFILES: [Profile; 4] = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];

/// SCRAM as a broker does it, for one user.
#[derive(Debug)]
struct ScramServer {
    hash: ScramHash,
    user: &'static str,
    password: &'static str,
    /// What it says of itself at the end, if not the truth.
    impostor: bool,
}

struct ScramExchange {
    hash: ScramHash,
    user: &'static str,
    password: &'static str,
    impostor: bool,
    first: Option<(String, String)>,
}

impl embedded_kafka::Mechanism for ScramServer {
    fn name(&self) -> &str {
        match self.hash {
            ScramHash::Sha256 => "SCRAM-SHA-256",
            ScramHash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn start(&self) -> Box<dyn Exchange> {
        let ScramServer { hash, user, password, impostor } = *self;
        Box::new(ScramExchange { hash, user, password, impostor, first: None })
    }
}

impl Exchange for ScramExchange {
    fn step(&mut self, said: &[u8]) -> Step {
        // Somebody may have meddled with it.
        self.stepped(said).unwrap_or_else(|| Step::Failed("what is said is no SCRAM".to_owned()))
    }
}

impl ScramExchange {
    fn stepped(&mut self, said: &[u8]) -> Option<Step> {
        let said = std::str::from_utf8(said).ok()?;
        let Some((client_first, server_first)) = self.first.take() else {
            let bare = said.strip_prefix("n,,")?;
            let nonce = bare.split(',').find_map(|part| part.strip_prefix("r="))?;
            let first = format!("r={nonce}theirs,s={},i=4096", STANDARD.encode("some salt"));
            self.first = Some((bare.to_owned(), first.clone()));
            return Some(Step::Challenge(first.into_bytes()));
        };
        let (function, mac, hash) = match self.hash {
            ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
            ScramHash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        let iterations = 4096.try_into().unwrap();
        pbkdf2::derive(function, iterations, b"some salt", self.password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(mac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let (without_proof, proof) = said.split_once(",p=")?;
        if !without_proof.starts_with("c=biws,r=") {
            return None;
        }
        let all = format!("{client_first},{server_first},{without_proof}");
        let signature = hmac::sign(&hmac::Key::new(mac, stored_key.as_ref()), all.as_bytes());
        let proof = STANDARD.decode(proof).ok()?;
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(byte, mask)| byte ^ mask).collect();
        let named = client_first.split(',').next().unwrap() == format!("n={}", self.user);
        if !named || digest::digest(hash, &key).as_ref() != stored_key.as_ref() {
            return Some(Step::Failed(
                "Authentication failed during authentication due to invalid credentials".to_owned(),
            ));
        }
        let server_key = if self.impostor {
            b"guess".to_vec()
        } else {
            hmac::sign(&salted, b"Server Key").as_ref().to_vec()
        };
        let signature = hmac::sign(&hmac::Key::new(mac, &server_key), all.as_bytes());
        let said = format!("v={}", STANDARD.encode(signature.as_ref())).into_bytes();
        Some(Step::Done { user: self.user.to_owned(), said })
    }
}

/// OAUTHBEARER as a broker does it that takes unsecured tokens for `ann`.
#[derive(Debug)]
struct OauthServer;

#[derive(Default)]
struct OauthExchange {
    refused: bool,
}

impl embedded_kafka::Mechanism for OauthServer {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(OauthExchange::default())
    }
}

impl Exchange for OauthExchange {
    fn step(&mut self, said: &[u8]) -> Step {
        if self.refused {
            assert_eq!(said, [1]);
            return Step::Failed("Authentication failed".to_owned());
        }
        let said = std::str::from_utf8(said).unwrap();
        let token = said.strip_prefix("n,,\u{1}auth=Bearer ").unwrap().split('\u{1}').next().unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        if claims["sub"] == "ann" {
            return Step::Done { user: "ann".to_owned(), said: Vec::new() };
        }
        self.refused = true;
        Step::Challenge(br#"{"status":"invalid_token"}"#.to_vec())
    }
}

pub(crate) fn plain(password: &str) -> Mechanism {
    Mechanism::Plain { username: "ann".to_owned(), password: Secret::new(password) }
}

pub(crate) fn scram(hash: ScramHash, password: &str) -> Mechanism {
    Mechanism::Scram { hash, username: "ann".to_owned(), password: Secret::new(password), token: false }
}

fn oauth(user: &str) -> Mechanism {
    let claims = vec![("sub".to_owned(), Claim::Text(user.to_owned()))];
    let token = TokenSource::Unsecured(UnsecuredToken { claims, ..UnsecuredToken::default() });
    Mechanism::OauthBearer { token, extensions: Vec::new() }
}

pub(crate) fn every_mechanism() -> Sasl {
    let mut sasl = Sasl::plain(&[("ann", PASSWORD)]);
    for hash in [ScramHash::Sha256, ScramHash::Sha512] {
        sasl.mechanisms.push(Arc::new(ScramServer {
            hash,
            user: "ann",
            password: PASSWORD,
            impostor: false,
        }));
    }
    sasl.mechanisms.push(Arc::new(OauthServer));
    sasl
}

pub(crate) async fn kafka(profile: Profile, sasl: Sasl) -> embedded_kafka::Cluster {
    let config = Config { start_ms: Some(NOW_MS), sasl: Some(sasl), ..Config::new(2, profile) };
    embedded_kafka::Cluster::start(config.in_memory()).await.unwrap()
}

pub(crate) fn options(kafka: &embedded_kafka::Cluster, mechanism: Mechanism) -> Options {
    let security = Security { tls: None, sasl: Some(SaslOptions::new(mechanism)) };
    Options { security, ..Options::new("test", kafka.bootstrap()) }
}

fn client(kafka: &embedded_kafka::Cluster, mechanism: Mechanism) -> Cluster {
    with(options(kafka, mechanism), kafka)
}

async fn refused(client: &Cluster) -> String {
    let error = client.metadata(Wanted::All).await.unwrap_err();
    let CallError::Unreachable { attempts, .. } = &error else { panic!("{error}") };
    assert!(attempts.iter().all(|attempt| matches!(attempt, CallError::Login { .. })), "{error}");
    assert!(!error.maybe_written());
    chain(&attempts[0])
}

#[tokio::test(start_paused = true)]
async fn records_go_there_and_back_by_every_mechanism_and_version() {
    for profile in PROFILES {
        let mechanisms = [
            plain(PASSWORD),
            scram(ScramHash::Sha256, PASSWORD),
            scram(ScramHash::Sha512, PASSWORD),
            oauth("ann"),
        ];
        for mechanism in mechanisms {
            let kafka = kafka(profile, every_mechanism()).await;
            kafka.create_topic("t", 2, &[]);
            let name = mechanism.name();
            let client = client(&kafka, mechanism);
            for partition in 0..2 {
                assert_eq!(offer(&client, &kafka, partition, b"value").await, 0, "{name}, {profile:?}");
                assert_eq!(read(&client, &kafka, partition).await, [Bytes::from_static(b"value")]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_to_do() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    let told = refused(&client(&kafka, plain("wrong"))).await;
    assert!(
        told.contains("refuses the login by PLAIN: Authentication failed: Invalid username or password"),
        "{told}"
    );
    assert!(told.ends_with("; check the user `ann` and its password"), "{told}");
    let told = refused(&client(&kafka, scram(ScramHash::Sha512, "wrong"))).await;
    assert!(told.contains("login by SCRAM-SHA-512") && told.contains("invalid credentials"), "{told}");
    let told = refused(&client(&kafka, oauth("ben"))).await;
    assert!(told.contains("(invalid_token)") && told.contains("the clocks of both sides"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_that_is_not_offered_is_told_with_those_that_are() {
    let kafka = kafka(Profile::V4_3, Sasl::plain(&[("ann", PASSWORD)])).await;
    let told = refused(&client(&kafka, scram(ScramHash::Sha256, PASSWORD))).await;
    assert!(told.ends_with("refuses the login by SCRAM-SHA-256: the broker offers PLAIN"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let impostor = ScramServer { hash: ScramHash::Sha256, user: "ann", password: PASSWORD, impostor: true };
    let sasl = Sasl { mechanisms: vec![Arc::new(impostor)], session_lifetime: None };
    let kafka = kafka(Profile::V4_3, sasl).await;
    let told = refused(&client(&kafka, scram(ScramHash::Sha256, PASSWORD))).await;
    assert!(told.contains("whoever answers there is not the broker"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_logins_is_told_as_such() {
    let kafka = crate::embedded::kafka(1, Profile::V4_3).await;
    let told = refused(&client(&kafka, plain(PASSWORD))).await;
    assert!(told.contains("asks for no login: set a security protocol without SASL"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_login_is_told_that_one_may_be_wanted() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    let client = with(Options::new("test", kafka.bootstrap()), &kafka);
    let error = client.metadata(Wanted::All).await.unwrap_err();
    let CallError::Closed { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(source, CloseCause::AtFirst) && source.to_string().contains("SASL"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn missing_words_are_told_before_anything_is_sent() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    let mechanism =
        Mechanism::OauthBearer { token: TokenSource::File("/nowhere/token".into()), extensions: Vec::new() };
    let security = Security { tls: None, sasl: Some(SaslOptions::new(mechanism.clone())) };
    let expected = "OAUTHBEARER: the token in /nowhere/token cannot be read: ";
    assert!(security.check().unwrap_err().to_string().starts_with(expected));
    let error = client(&kafka, mechanism).metadata(Wanted::All).await.unwrap_err();
    assert!(chain(&error).contains(expected), "{error}");
    assert_eq!(kafka.requests(ApiKey::SaslHandshake), 0);
}

#[tokio::test(start_paused = true)]
async fn many_who_are_refused_count_as_one_and_nobody_tries_in_a_hot_loop() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    let accounts = Accounts::default();
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        // As twenty connectors have them.
        let client = with(Options { accounts: accounts.clone(), ..options(&kafka, plain("wrong")) }, &kafka);
        calls.spawn(async move {
            while started.elapsed() < Duration::from_secs(300) {
                refused(&client).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    calls.join_all().await;
    // After 0, 1, 3, 7, 15, 31, 63, 123, 183 and 243 seconds; two where two were asked at once.
    let tried = kafka.requests(ApiKey::SaslAuthenticate);
    assert!((8..=13).contains(&tried), "{tried} logins in five minutes");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_ends_with_the_time_out_of_connecting() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    kafka.on(ApiKey::SaslAuthenticate).always().hang();
    let mut options = Options::new("test", kafka.bootstrap());
    options.connect_timeout = Duration::from_secs(3);
    options.security.sasl = Some(SaslOptions::new(plain(PASSWORD)));
    let started = Instant::now();
    let error = with(options, &kafka).connect(BrokerId(0)).await.unwrap_err();
    assert!(chain(&error).contains("no answer to SaslAuthenticate"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

fn of_provider(url: &str, secret: &str) -> Mechanism {
    let endpoint = TokenEndpoint {
        url: url.to_owned(),
        client_id: "me".to_owned(),
        client_secret: Secret::new(secret),
        ..TokenEndpoint::default()
    };
    Mechanism::OauthBearer { token: TokenSource::Endpoint(Box::new(endpoint)), extensions: Vec::new() }
}

/// An identity provider that gives tokens for `ann` to the client `me` with this secret; its URL.
fn provider(secret: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let known = format!("basic {}", STANDARD.encode(format!("me:{secret}"))).to_lowercase();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"grant_type=client_credentials") {
                let mut part = [0; 1024];
                let bytes = socket.read(&mut part).unwrap();
                heard.extend_from_slice(&part[..bytes]);
            }
            let is_known = String::from_utf8(heard).unwrap().to_lowercase().contains(&known);
            let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"ann","exp":4102444800}"#);
            let (status, body) = match is_known {
                true => (200, format!(r#"{{"access_token":"e30.{claims}.c2ln"}}"#)),
                false => (401, r#"{"error":"invalid_client"}"#.to_owned()),
            };
            let head =
                format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            socket.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    url
}

/// In real time, as the next: what is asked blocks.
#[tokio::test]
async fn another_secret_of_a_client_is_used_as_soon_as_it_is_written() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    let url = provider("new");
    let written = Arc::new(Mutex::new(of_provider(&url, "old")));
    let mut options = options(&kafka, of_provider(&url, "old"));
    let read = Arc::clone(&written);
    let again = Again::new(move || Ok(Some(read.lock().unwrap().clone())));
    options.security.sasl = Some(SaslOptions { mechanism: of_provider(&url, "old"), again: Some(again) });
    let client = with(options, &kafka);
    let told = chain(&client.metadata(Wanted::All).await.unwrap_err());
    assert!(told.contains(&format!("the token endpoint {url} refuses the client `me`")), "{told}");
    *written.lock().unwrap() = of_provider(&url, "new");
    client.metadata(Wanted::All).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_hangs_is_told_as_such_and_not_as_the_broker() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    // Whoever connects is taken by the system, and by nobody else.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let mut options = options(&kafka, of_provider(&format!("{url}?key=hush"), "hush"));
    options.connect_timeout = Duration::from_millis(300);
    let told = chain(&with(options, &kafka).connect(BrokerId(0)).await.unwrap_err());
    let expected = format!("the token endpoint {url} has given no token yet, after 0.3 s");
    assert!(told.contains(&expected), "{told}");
    assert_eq!(kafka.requests(ApiKey::SaslHandshake), 0);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_keeps_others_out_for_a_second() {
    let kafka = kafka(Profile::V4_3, every_mechanism()).await;
    kafka.on(ApiKey::SaslAuthenticate).hang();
    let accounts = Accounts::default();
    let client = || with(Options { accounts: accounts.clone(), ..options(&kafka, plain(PASSWORD)) }, &kafka);
    let first = client();
    let first = tokio::spawn(async move { first.metadata(Wanted::All).await });
    while kafka.requests(ApiKey::SaslAuthenticate) == 0 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    client().metadata(Wanted::All).await.unwrap();
    let waited = began.elapsed();
    assert!((Duration::from_millis(850)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    first.abort();
}

/// PLAIN as a broker does it whose password for `ann` changes.
#[derive(Clone, Debug)]
struct Changing(Arc<Mutex<&'static str>>);

impl embedded_kafka::Mechanism for Changing {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(self.clone())
    }
}

impl Exchange for Changing {
    fn step(&mut self, said: &[u8]) -> Step {
        match said == format!("\0ann\0{}", self.0.lock().unwrap()).as_bytes() {
            true => Step::Done { user: "ann".to_owned(), said: Vec::new() },
            false => Step::Failed("Authentication failed: Invalid username or password".to_owned()),
        }
    }
}

/// A connection whose next logins need settings that are read for as long as a test likes.
struct Slow {
    kafka: embedded_kafka::Cluster,
    connection: Connection,
    /// Lets whoever reads them go on. Until then a thread blocks, so that paused time does not go on by itself.
    go_on: SyncSender<()>,
}

impl Slow {
    /// Logins last for `lifetime`.
    async fn connect(lifetime: Duration) -> Slow {
        let sasl = Sasl { session_lifetime: Some(lifetime), ..every_mechanism() };
        let kafka = kafka(Profile::V4_3, sasl).await;
        kafka.create_topic("t", 1, &[]);
        let (go_on, wait) = sync_channel(0);
        let (wait, is_slow) = (Mutex::new(wait), Arc::new(AtomicBool::new(false)));
        let slow = Arc::clone(&is_slow);
        let again = Again::new(move || {
            if slow.load(Ordering::Relaxed) {
                // Who is gone keeps nobody waiting.
                let _ = wait.lock().unwrap().recv();
            }
            Ok(Some(plain(PASSWORD)))
        });
        let mut options = options(&kafka, plain(PASSWORD));
        options.security.sasl = Some(SaslOptions { mechanism: plain(PASSWORD), again: Some(again) });
        let client = with(options, &kafka);
        let connection = client.connect(BrokerId(kafka.leader("t", 0).unwrap())).await.unwrap();
        is_slow.store(true, Ordering::Relaxed);
        Slow { kafka, connection, go_on }
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_login_is_made_ready_the_old_one_does_until_its_end() {
    let lifetime = Duration::from_secs(12);
    let Slow { kafka, connection, go_on } = Slow::connect(lifetime).await;
    let logins = kafka.requests(ApiKey::SaslHandshake);
    let mut sequence = 0;
    let mut produce = || {
        sequence += 1;
        (connection.produce(vec![batch(sequence - 1)], Duration::from_secs(20)), i64::from(sequence - 1))
    };
    // It is made ready from 85 to 95 % of the life on, and requests go their way.
    tokio::time::sleep(lifetime.mul_f64(0.96)).await;
    for _ in 0..3 {
        let (reply, expected) = produce();
        assert_eq!(reply.await.unwrap().partitions[0].base_offset.unwrap().0, expected);
    }
    // From the end on they wait, in their order.
    tokio::time::advance(lifetime.mul_f64(0.05)).await;
    let (first, expected) = produce();
    let (second, next) = produce();
    let mut first = std::pin::pin!(first);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let waited = tokio::time::timeout(Duration::ZERO, &mut first).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(kafka.requests(ApiKey::SaslHandshake), logins);
    go_on.send(()).unwrap();
    assert_eq!(first.await.unwrap().partitions[0].base_offset.unwrap().0, expected);
    assert_eq!(second.await.unwrap().partitions[0].base_offset.unwrap().0, next);
    assert_eq!(kafka.requests(ApiKey::SaslHandshake), logins + 1);
}

/// What waits for a login that never gets ready fails in its time, unsent.
#[tokio::test(start_paused = true)]
async fn a_login_that_is_never_ready_keeps_nobody_longer_than_he_has_time() {
    let Slow { kafka: _kafka, connection, go_on } = Slow::connect(Duration::from_millis(1200)).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let reply = tokio::spawn(connection.produce(vec![batch(0)], Duration::from_millis(200)));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!reply.is_finished());
    tokio::time::advance(Duration::from_millis(200)).await;
    let error = reply.await.unwrap().unwrap_err();
    assert!(!error.maybe_written(), "{error}");
    drop(go_on);
}

#[tokio::test(start_paused = true)]
async fn requests_are_not_sent_over_a_login_that_has_ended_and_cannot_be_made_again() {
    let sasl = Sasl { session_lifetime: Some(Duration::from_secs(10)), ..every_mechanism() };
    let kafka = kafka(Profile::V4_3, sasl).await;
    kafka.create_topic("t", 1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "e30.eyJzdWIiOiJhbm4ifQ.").unwrap();
    let token = Mechanism::OauthBearer { token: TokenSource::File(file.clone()), extensions: Vec::new() };
    let client = client(&kafka, token);
    let connection = client.connect(BrokerId(kafka.leader("t", 0).unwrap())).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let error = connection.produce(vec![batch(0)], Duration::from_secs(5)).await.unwrap_err();
    assert!(!error.maybe_written(), "{error}");
    assert!(chain(&error).contains("cannot be renewed") && chain(&error).contains("token"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_secret_is_tried_as_soon_as_it_is_written_and_another_user_is_not() {
    let at_broker = Changing(Arc::new(Mutex::new("old")));
    let mechanisms: Vec<Arc<dyn embedded_kafka::Mechanism>> = vec![Arc::new(at_broker.clone())];
    let session_lifetime = Some(Duration::from_secs(10));
    let kafka = kafka(Profile::V4_3, Sasl { mechanisms, session_lifetime }).await;
    let written = Arc::new(Mutex::new(Some(plain("old"))));
    let mut options = options(&kafka, plain("old"));
    let read = Arc::clone(&written);
    let again = Again::new(move || read.lock().unwrap().clone().map(Some).ok_or_else(|| "gone".to_owned()));
    options.security.sasl = Some(SaslOptions { mechanism: plain("old"), again: Some(again) });
    let client = with(options, &kafka);
    client.metadata(Wanted::All).await.unwrap();

    // In time for the next login: nothing is refused.
    *at_broker.0.lock().unwrap() = "new";
    *written.lock().unwrap() = Some(plain("new"));
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.metadata(Wanted::All).await.unwrap();
    }

    // The broker first: refused until it is written, and not for as long as the pause between logins has become.
    *at_broker.0.lock().unwrap() = "newest";
    let lost = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if client.metadata(Wanted::All).await.is_err() {
            break Instant::now();
        }
    };
    for what in [None, Some(scram(ScramHash::Sha256, "newest"))] {
        *written.lock().unwrap() = what;
        tokio::time::sleep(Duration::from_secs(100)).await;
        refused(&client).await;
    }
    *written.lock().unwrap() = Some(plain("newest"));
    let was_written = Instant::now();
    while client.metadata(Wanted::All).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(was_written.elapsed() < Duration::from_secs(2), "{:?}", was_written.elapsed());
    assert!(lost.elapsed() > Duration::from_secs(200));

    // It is written long before the brokers know it: the former one does until then.
    *written.lock().unwrap() = Some(plain("next"));
    for second in 0..120 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 60 {
            *at_broker.0.lock().unwrap() = "next";
        }
        // One that is refused is asked again by whoever needs an answer.
        if client.metadata(Wanted::All).await.is_err() {
            client.metadata(Wanted::All).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn logins_are_made_again_in_time_and_nothing_is_lost_by_it() {
    for mechanism in [plain(PASSWORD), scram(ScramHash::Sha256, PASSWORD), oauth("ann")] {
        let sasl = Sasl { session_lifetime: Some(Duration::from_secs(10)), ..every_mechanism() };
        let kafka = kafka(Profile::V4_3, sasl).await;
        kafka.create_topic("t", 1, &[]);
        let name = mechanism.name();
        let client = client(&kafka, mechanism);
        let leader = BrokerId(kafka.leader("t", 0).unwrap());
        let connection = client.connect(leader).await.unwrap();
        let connections = kafka.connections();
        // Two requests under way at any time, for six lives of a login.
        let mut under_way = std::collections::VecDeque::new();
        let mut base_offset = 0;
        for sequence in 0..600 {
            under_way.push_back(connection.produce(vec![batch(sequence)], Duration::from_secs(20)));
            if under_way.len() > 2 {
                let reply = under_way.pop_front().unwrap().await.unwrap();
                assert_eq!(reply.partitions[0].error, ErrorCode::NONE, "{name}");
                assert_eq!(reply.partitions[0].base_offset.unwrap().0, base_offset, "{name}");
                base_offset += 1;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for reply in under_way {
            assert_eq!(reply.await.unwrap().partitions[0].base_offset.unwrap().0, base_offset, "{name}");
            base_offset += 1;
        }
        assert_eq!(base_offset, 600);
        assert_eq!(kafka.connections(), connections, "{name}: the connection is the same");
        let logins = kafka.requests(ApiKey::SaslHandshake) - connections;
        assert!((6..=7).contains(&logins), "{name}: {logins} more logins in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_idled_through_its_login_makes_a_new_one_first() {
    let sasl = Sasl { session_lifetime: Some(Duration::from_secs(10)), ..every_mechanism() };
    let kafka = kafka(Profile::V2_8, sasl).await;
    kafka.create_topic("t", 1, &[]);
    let client = client(&kafka, plain(PASSWORD));
    let connection = client.connect(BrokerId(kafka.leader("t", 0).unwrap())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let replies: Vec<_> =
        (0..5).map(|sequence| connection.produce(vec![batch(sequence)], Duration::from_secs(20))).collect();
    for (reply, expected) in replies.into_iter().zip(0..) {
        assert_eq!(reply.await.unwrap().partitions[0].base_offset.unwrap().0, expected);
    }
    assert!(!connection.is_dead());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_made_again_ends_the_connection_before_the_request_is_sent() {
    let sasl = Sasl { session_lifetime: Some(Duration::from_secs(10)), ..every_mechanism() };
    let kafka = kafka(Profile::V4_3, sasl).await;
    kafka.create_topic("t", 1, &[]);
    let client = client(&kafka, plain(PASSWORD));
    let connection = client.connect(BrokerId(kafka.leader("t", 0).unwrap())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    kafka.on(ApiKey::SaslAuthenticate).fail(ErrorCode::SASL_AUTHENTICATION_FAILED);
    let error = connection.produce(vec![batch(0)], Duration::from_secs(20)).await.unwrap_err();
    let CallError::Closed { maybe_written: false, source: CloseCause::Login { .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(chain(&error).contains("the login by PLAIN cannot be renewed: "), "{error}");
    assert_eq!(kafka.requests(ApiKey::Produce), 0);
    assert!(
        matches!(client.connect(BrokerId(0)).await, Err(CallError::Login { .. })),
        "and nobody tries at once"
    );
}

fn batch(sequence: i32) -> ProduceBatch {
    let stamp = ProducerStamp { producer_id: ProducerId(7), producer_epoch: 0, base_sequence: sequence };
    let mut builder = BatchBuilder::new(Codec::None).stamp(stamp);
    builder.append(NOW_MS, None, Some(b"value"), &[]);
    let mut batch = builder.build();
    let header = batch.split_to(61);
    ProduceBatch {
        partition: TopicPartition::new("t", 0),
        header: header[..].try_into().unwrap(),
        payload: batch,
    }
}
