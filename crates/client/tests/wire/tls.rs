//! TLS with servers that the tests make: what goes over it, and what does not come about.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::{
    Address, CallError, Cluster, Identity, Mechanism, Opener, Options, SaslOptions, Secret, Security,
    StoreKind, StoreSource, Stream, TlsOptions, TlsProtocol, Trust, Wanted,
};
use embedded_kafka::{Config, Profile, Sasl};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, DuplexStream, copy_bidirectional, split};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::embedded::{NOW_MS, offer, read};
use crate::fake::{as_broker, listen, nobody, options, serve, with};
use crate::not_kafka::chain;

/// A CA that signs whatever a test wants.
pub(crate) struct Ca {
    pub(crate) pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Signed {
    pem: String,
    key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.self_signed(&key).unwrap();
        Ca { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    fn below(&self, name: &str) -> (Ca, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = certificate.der().clone();
        (Ca { pem: certificate.pem(), der: der.clone(), issuer: Issuer::new(params, key) }, der)
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// For the address that peers in memory have.
pub(crate) fn broker() -> CertificateParams {
    named("broker", &["127.0.0.1"])
}

fn self_signed(params: &CertificateParams) -> Signed {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Signed {
        pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        chain: vec![certificate.der().clone()],
        key: key.serialize_der(),
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

pub(crate) fn server(
    shown: &Signed,
    clients: Option<&Ca>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::Pkcs8(shown.key.clone().into());
    Arc::new(builder.with_single_cert(shown.chain.clone(), key).unwrap())
}

/// A broker behind what `server` says now; the port.
fn tls_broker_of(server: Arc<Mutex<Arc<ServerConfig>>>) -> u16 {
    let port = Arc::new(Mutex::new(0));
    let answer = Arc::new(Mutex::new(as_broker(1, Arc::clone(&port), |request| panic!("{request:?}"))));
    let listening = listen(move |stream| {
        let acceptor = TlsAcceptor::from(Arc::clone(&server.lock().unwrap()));
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, answer).await;
            }
        });
    });
    *port.lock().unwrap() = listening;
    listening
}

fn tls_broker(server: Arc<ServerConfig>) -> u16 {
    tls_broker_of(Arc::new(Mutex::new(server)))
}

fn inline(certificates: &str) -> StoreSource {
    StoreSource::Inline { certificates: Secret::new(certificates), key: None }
}

pub(crate) fn trusting(certificates: &str) -> TlsOptions {
    TlsOptions { trust: Trust::Store(inline(certificates)), ..TlsOptions::default() }
}

fn showing(signed: &Signed) -> Option<Identity> {
    let store = StoreSource::Inline {
        certificates: Secret::new(&*signed.pem),
        key: Some(Secret::new(&*signed.key_pem)),
    };
    Some(Identity { store, key_password: None })
}

fn client(port: u16, tls: TlsOptions) -> Cluster {
    client_of(&format!("127.0.0.1:{port}"), tls)
}

fn client_of(address: &str, tls: TlsOptions) -> Cluster {
    let mut options = Options::new("test", vec![address.to_owned()]);
    options.security.tls = Some(tls);
    with(options)
}

async fn reached(cluster: &Cluster) -> Result<(), String> {
    match cluster.metadata(Wanted::None).await {
        Ok(_) => Ok(()),
        Err(error) => {
            assert!(!error.maybe_written());
            Err(chain(&error))
        }
    }
}

#[track_caller]
fn check(told: Result<(), String>, expected: &[&str]) {
    let told = told.unwrap_err();
    for expected in expected {
        assert!(told.contains(expected), "{told}\nlacks: {expected}");
    }
    assert!(!told.contains('\n'), "{told}");
}

/// TLS in front of a cluster in this process.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) kafka: embedded_kafka::Cluster,
    pub(crate) server: Arc<ServerConfig>,
}

impl Opener for Front {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let behind = self.kafka.connect(address.port);
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        Box::pin(async move {
            let mut behind: DuplexStream = behind?;
            // Less than a record, so that what was taken and not sent yet is met often.
            let (near, far) = tokio::io::duplex(10_000);
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(far).await {
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                }
            });
            let (reader, writer) = split(near);
            Ok(Stream::new(reader, writer))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn large_batches_go_there_and_back_in_both_versions_and_with_a_login() {
    let ca = Ca::new("ca");
    for (protocol, versions) in [(TlsProtocol::V1_2, &BOTH[..1]), (TlsProtocol::V1_3, &BOTH[1..])] {
        let sasl = Some(Sasl::plain(&[("ann", "right")]));
        let config = Config { start_ms: Some(NOW_MS), sasl, ..Config::new(2, Profile::V4_3) };
        let kafka = embedded_kafka::Cluster::start(config.in_memory()).await.unwrap();
        kafka.create_topic("t", 2, &[("max.message.bytes", "8000000")]);
        let front = Front { kafka: kafka.clone(), server: server(&ca.sign(&broker()), None, versions) };
        let mut options = Options::new("test", kafka.bootstrap());
        let mechanism = Mechanism::Plain { username: "ann".to_owned(), password: Secret::new("right") };
        options.security = Security {
            tls: Some(TlsOptions { protocols: vec![protocol], ..trusting(&ca.pem) }),
            sasl: Some(SaslOptions::new(mechanism)),
        };
        let client = Cluster::with_opener(options, Box::new(front));
        for (partition, bytes) in [(0, 10), (1, 5_000_000)] {
            let value = Bytes::from((0..bytes).map(|index: u32| (index % 251) as u8).collect::<Vec<_>>());
            assert_eq!(offer(&client, &kafka, partition, &value).await, 0, "{protocol:?}");
            assert_eq!(read(&client, &kafka, partition).await, [value], "{protocol:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn certificates_are_believed_by_their_chain_and_their_name() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other ca"));
    let port = tls_broker(server(&ca.sign(&broker()), None, BOTH));
    assert_eq!(reached(&client(port, trusting(&ca.pem))).await, Ok(()));
    // All certificates of a store count.
    assert_eq!(reached(&client(port, trusting(&format!("{}{}", other.pem, ca.pem)))).await, Ok(()));
    let told = reached(&client(port, trusting(&other.pem))).await;
    let issued = "issued by `ca`, whose certificate is not in the trust store in the settings";
    check(told, &["no TLS with 127.0.0.1:", issued, "add it there"]);

    let (middle, between) = ca.below("middle");
    let mut signed = middle.sign(&broker());
    let alone = tls_broker(server(&signed, None, BOTH));
    check(reached(&client(alone, trusting(&ca.pem))).await, &["issued by `middle`"]);
    signed.chain.push(between);
    let port = tls_broker(server(&signed, None, BOTH));
    assert_eq!(reached(&client(port, trusting(&ca.pem))).await, Ok(()));
    assert_eq!(reached(&client(alone, trusting(&middle.pem))).await, Ok(()));

    let elsewhere = server(&ca.sign(&named("x", &["kafka.example.org", "10.0.0.1"])), None, BOTH);
    let port = tls_broker(elsewhere);
    let names = "is not for `127.0.0.1` but for `kafka.example.org`, `10.0.0.1`";
    check(reached(&client(port, trusting(&ca.pem))).await, &[names, "reach it by a name"]);
    let unchecked = TlsOptions { verify_host: false, ..trusting(&ca.pem) };
    assert_eq!(reached(&client(port, unchecked)).await, Ok(()));
    let unchecked = TlsOptions { verify_host: false, ..trusting(&other.pem) };
    check(reached(&client(port, unchecked)).await, &["issued by `ca`"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_named_in_the_subject_alone_is_taken_as_java_takes_it() {
    let ca = Ca::new("ca");
    let port = tls_broker(server(&ca.sign(&named("kafka", &[])), None, BOTH));
    assert_eq!(reached(&client_of(&format!("kafka:{port}"), trusting(&ca.pem))).await, Ok(()));
    let told = reached(&client_of(&format!("other:{port}"), trusting(&ca.pem))).await;
    check(told, &["is not for `other` but for `kafka`"]);
    let port = tls_broker(server(&ca.sign(&named("kafka", &["else"])), None, BOTH));
    let told = reached(&client_of(&format!("kafka:{port}"), trusting(&ca.pem))).await;
    check(told, &["is not for `kafka` but for `else`"]);
}

/// As Kafka's own instructions had it for years: `openssl x509 -req` without extensions (made by 3.0).
#[tokio::test(start_paused = true)]
async fn a_certificate_of_version_1_is_believed_right_under_a_listed_ca() {
    let [ca, shown, key] = [
        include_str!("testdata/ca.pem"),
        include_str!("testdata/version-1.pem"),
        include_str!("testdata/version-1-key.pem"),
    ];
    let chain = vec![CertificateDer::from_pem_slice(shown.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = any_supported_type(&key).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let shown = Arc::new(shown);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let port = tls_broker(Arc::new(
            builder.with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>),
        ));
        assert_eq!(reached(&client_of(&format!("kafka:{port}"), trusting(ca))).await, Ok(()));
        let told = reached(&client_of(&format!("other:{port}"), trusting(ca))).await;
        check(told, &["is not for `other` but for `kafka`"]);
        let told = reached(&client_of(&format!("kafka:{port}"), trusting(&Ca::new("ca").pem))).await;
        check(told, &["is of X.509 version 1 and not issued by one of the trust store in the settings"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_self_signed_certificate_is_believed_where_it_is_listed() {
    let mut as_ca = broker();
    as_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for params in [broker(), as_ca.clone()] {
        let signed = self_signed(&params);
        let port = tls_broker(server(&signed, None, BOTH));
        assert_eq!(reached(&client(port, trusting(&signed.pem))).await, Ok(()));
        let told = reached(&client(port, trusting(&Ca::new("ca").pem))).await;
        check(told, &["is self-signed and not in the trust store in the settings"]);
    }
    let ca = Ca::new("ca");
    let port = tls_broker(server(&ca.sign(&as_ca), None, BOTH));
    check(reached(&client(port, trusting(&ca.pem))).await, &["is that of a CA"]);
}

/// It is believed itself, and is no CA.
#[tokio::test(start_paused = true)]
async fn what_a_listed_server_has_signed_is_not_believed() {
    let key = KeyPair::generate().unwrap();
    let certificate = broker().self_signed(&key).unwrap();
    let listed =
        Ca { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(broker(), key) };
    let port = tls_broker(server(&listed.sign(&named("other", &["127.0.0.1"])), None, BOTH));
    check(reached(&client(port, trusting(&listed.pem))).await, &["was issued by `broker`"]);
}

#[tokio::test(start_paused = true)]
async fn certificates_out_of_their_time_are_told_with_both_clocks() {
    let ca = Ca::new("ca");
    let mut old = broker();
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 3, 4));
    let mut young = broker();
    (young.not_before, young.not_after) = (date_time_ymd(2101, 5, 6), date_time_ymd(2102, 1, 1));
    for listed in [false, true] {
        let signed = |params: &CertificateParams| if listed { self_signed(params) } else { ca.sign(params) };
        let trusted = |signed: &Signed| trusting(if listed { &signed.pem } else { &ca.pem });
        let (old, young) = (signed(&old), signed(&young));
        let port = tls_broker(server(&old, None, BOTH));
        let expected = ["expired on 2002-03-04", "this machine's clock says 20"];
        check(reached(&client(port, trusted(&old))).await, &expected);
        let port = tls_broker(server(&young, None, BOTH));
        let expected = ["is not valid before 2101-05-06", "is it slow?"];
        check(reached(&client(port, trusted(&young))).await, &expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_we_are_is_shown_to_brokers_that_ask() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let ours = clients.sign(&named("paralog", &[]));
    let theirs = Ca::new("elsewhere").sign(&named("paralog", &[]));
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let port = tls_broker(server(&ca.sign(&broker()), Some(&clients), versions));
        let with = |identity| TlsOptions { identity, ..trusting(&ca.pem) };
        assert_eq!(reached(&client(port, with(showing(&ours)))).await, Ok(()));
        let told = reached(&client(port, with(None))).await;
        check(told, &["it asks for a client certificate and none is given: set a key store"]);
        let told = reached(&client(port, with(showing(&theirs)))).await;
        check(told, &["it does not accept our certificate (", "does the broker's trust store lack its CA?"]);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_and_suites_without_overlap_are_told() {
    let ca = Ca::new("ca");
    let port = tls_broker(server(&ca.sign(&broker()), None, &BOTH[..1]));
    let newer = TlsOptions { protocols: vec![TlsProtocol::V1_3], ..trusting(&ca.pem) };
    check(reached(&client(port, newer)).await, &["version of TLS", "enabled here (TLSv1.3)"]);
    // The server's key is no RSA key.
    let suites = vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()];
    let rsa = TlsOptions { cipher_suites: suites, ..trusting(&ca.pem) };
    check(reached(&client(port, rsa)).await, &["no cipher suite, or kind of key, in common"]);
    let unknown = TlsOptions { cipher_suites: vec!["RC4".to_owned()], ..trusting(&ca.pem) };
    check(
        reached(&client(port, unknown)).await,
        &["there is no cipher suite `RC4` here; there are TLS_AES_128_GCM"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_the_other_kind_is_told_as_such() {
    let ca = Ca::new("ca");
    // As Kafka does it: a frame that large is no request.
    let port = listen(|mut stream| {
        tokio::spawn(async move {
            let mut heard = [0; 100];
            let _ = stream.read(&mut heard).await;
        });
    });
    let told = reached(&client(port, trusting(&ca.pem))).await;
    check(
        told,
        &["no TLS with 127.0.0.1:", "is it a plaintext listener? Then set a security protocol without SSL"],
    );
    let http = crate::fake::stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n", true);
    check(reached(&client(http, trusting(&ca.pem))).await, &["what it says is not TLS"]);

    let port = tls_broker(server(&ca.sign(&broker()), None, BOTH));
    let told = reached(&with(options(&[port]))).await;
    check(told, &["it is a TLS listener; set a security protocol with SSL"]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_ends_before_the_time_to_connect_does() {
    let silent = listen(|mut stream| {
        tokio::spawn(async move {
            let mut heard = [0; 100];
            while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
        });
    });
    let started = Instant::now();
    let told = reached(&client(silent, trusting(&Ca::new("ca").pem))).await;
    check(told, &["no answer to the TLS handshake within 7.5 s"]);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_address_without_tls_is_not_asked_again_in_a_hot_loop() {
    let ca = Ca::new("ca");
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let port = listen(move |stream| {
        *counted.lock().unwrap() += 1;
        drop(stream);
    });
    let client = client(port, trusting(&ca.pem));
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        reached(&client).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // After 0, 1, 3, 7, 15, 25, 35, 45 and 55 seconds.
    let asked = *asked.lock().unwrap();
    assert!((8..=10).contains(&asked), "{asked}");
}

fn file(path: &Path) -> StoreSource {
    StoreSource::File { path: path.to_owned(), kind: StoreKind::Pem, password: None }
}

#[tokio::test(start_paused = true)]
async fn stores_that_change_are_used_for_new_connections_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (trust, key) = (folder.path().join("trust.pem"), folder.path().join("key.pem"));
    let write = |path: &Path, text: &str| {
        // As tools do it that replace a file.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
    };
    let (first, second) = (Ca::new("first"), Ca::new("second"));
    let identity = |ca: &Ca| {
        let signed = ca.sign(&named("paralog", &[]));
        format!("{}{}", signed.pem, signed.key_pem)
    };
    let listener = Arc::new(Mutex::new(server(&first.sign(&broker()), Some(&first), BOTH)));
    let port = tls_broker_of(Arc::clone(&listener));
    write(&trust, &first.pem);
    write(&key, &identity(&first));
    let tls = TlsOptions {
        trust: Trust::Store(file(&trust)),
        identity: Some(Identity { store: file(&key), key_password: None }),
        ..TlsOptions::default()
    };
    let client = client(port, tls);
    // Each time a connection of its own.
    let connect = async || match client.connect(model::BrokerId(1)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(chain(&error)),
    };
    assert_eq!(connect().await, Ok(()));
    // Half a file, as while it is written: what was read before still does.
    write(&trust, &first.pem[..first.pem.len() / 2]);
    write(&key, "-----BEGIN PRIVATE KEY-----");
    assert_eq!(connect().await, Ok(()));
    assert_eq!(connect().await, Ok(()));
    std::fs::remove_file(&trust).unwrap();
    assert_eq!(connect().await, Ok(()));
    // Another CA on both sides.
    *listener.lock().unwrap() = server(&second.sign(&broker()), Some(&second), BOTH);
    write(&trust, &second.pem);
    write(&key, &identity(&second));
    assert_eq!(connect().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn stores_that_cannot_be_used_are_told_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ca = Ca::new("ca");
    let ours = ca.sign(&named("paralog", &[]));
    let told = |text: &str, as_key: bool| {
        std::fs::write(&path, text).unwrap();
        let store = file(&path);
        let tls = match as_key {
            false => TlsOptions { trust: Trust::Store(store), ..TlsOptions::default() },
            true => {
                TlsOptions { identity: Some(Identity { store, key_password: None }), ..trusting(&ca.pem) }
            }
        };
        let security = Security { tls: Some(tls), sasl: None };
        security.check().map_err(|error| error.to_string())
    };
    assert_eq!(told(&ca.pem, false), Ok(()));
    assert_eq!(told(&format!("{}{}", ours.pem, ours.key_pem), true), Ok(()));
    let path = path.display();
    check(told("", false), &[&format!("trust store {path}: it is empty")]);
    check(told("what?", false), &["it is neither JKS, PKCS12 nor PEM"]);
    check(told(&ours.key_pem, false), &["it holds no certificate"]);
    check(told(&ours.pem, true), &[&format!("key store {path}: it holds no private key")]);
    check(told(&ours.key_pem, true), &["it holds a key, but no certificate"]);
    check(
        told(&format!("{}{}", ca.pem, ours.key_pem), true),
        &["none of its certificates belongs to its key"],
    );
    let nowhere = TlsOptions { trust: Trust::Store(file(Path::new("/nowhere/x"))), ..TlsOptions::default() };
    let error = Security { tls: Some(nowhere.clone()), sasl: None }.check().unwrap_err().to_string();
    assert!(error.starts_with("trust store /nowhere/x: it cannot be read: "), "{error}");
    let error = client(nobody(), nowhere).metadata(Wanted::None).await.unwrap_err();
    assert!(chain(&error).contains("trust store /nowhere/x: it cannot be read: "), "{error}");
    let CallError::Unreachable { attempts, .. } = &error else { panic!("{error}") };
    assert!(matches!(attempts[0], CallError::Security(_)), "{error}");
}
