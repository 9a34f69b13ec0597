//! Whatever becomes of the bytes between us and a broker while we say who we are: a call ends, in time, with an answer or with
//! one line of reasons. Nothing panics, nothing waits for ever, and no secret is told.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use client::{Address, Cluster, Opener, ScramHash, Stream, Wanted};
use embedded_kafka::{Profile, Sasl};
use model::BrokerId;
use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep};

use crate::embedded::InMemory;
use crate::not_kafka::chain;
use crate::sasl::{PASSWORD, every_mechanism, kafka, options, plain, scram};
use crate::tls::{Ca, Front, broker, server, trusting};

/// What is done to what one side says, at one place in it.
#[derive(Clone, Debug)]
enum Deed {
    /// Changes bits of one byte.
    Flip(u8),
    /// Leaves out as many bytes.
    Drop(u8),
    /// Puts these in.
    Insert(Vec<u8>),
    /// Says nothing more, and ends.
    Close,
    /// Says nothing more.
    Silence,
    /// Says the rest at one byte a while: a slow loris.
    Slowly,
}

/// Which side's words are touched, where, and how.
#[derive(Clone, Debug)]
struct Meddling {
    with_broker: bool,
    at: usize,
    deed: Deed,
}

/// How often a deed was done.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Opens connections as `inner` does, and sits in the middle of each.
#[derive(Debug)]
struct InTheMiddle {
    inner: Box<dyn Opener>,
    meddling: Meddling,
}

impl Opener for InTheMiddle {
    fn open(&self, address: Arc<Address>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let opening = self.inner.open(address);
        let Meddling { with_broker, at, deed } = self.meddling.clone();
        Box::pin(async move {
            let far = opening.await?;
            let (near, middle) = tokio::io::duplex(64 << 10);
            let (from_client, to_client) = split(middle);
            let (of_broker, of_client) = if with_broker { (Some(deed), None) } else { (None, Some(deed)) };
            tokio::spawn(carry(far.reader, to_client, at, of_broker));
            tokio::spawn(carry(from_client, far.writer, at, of_client));
            let (reader, writer) = split(near);
            Ok(Stream::new(reader, writer))
        })
    }
}

/// Carries bytes from one side to the other, and does `deed` before the byte `at`.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    at: usize,
    deed: Option<Deed>,
) -> io::Result<()> {
    let mut carried = 0;
    let mut left = deed;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let bytes = &mut buffer[..count];
        let Some(deed) = left.take_if(|_| (carried..carried + count).contains(&at)) else {
            carried += count;
            to.write_all(bytes).await?;
            continue;
        };
        DONE.fetch_add(1, Ordering::Relaxed);
        let place = at - carried;
        carried += count;
        to.write_all(&bytes[..place]).await?;
        match deed {
            Deed::Flip(bits) => {
                bytes[place] ^= bits;
                to.write_all(&bytes[place..]).await?;
            }
            Deed::Drop(some) => to.write_all(&bytes[count.min(place + usize::from(some))..]).await?,
            Deed::Insert(more) => {
                to.write_all(&more).await?;
                to.write_all(&bytes[place..]).await?;
            }
            Deed::Close => return to.shutdown().await,
            Deed::Silence => while from.read(&mut buffer).await? > 0 {},
            Deed::Slowly => {
                to.write_all(&bytes[place..]).await?;
                while let Ok(byte) = from.read_u8().await {
                    sleep(Duration::from_millis(700)).await;
                    to.write_all(&[byte]).await?;
                }
            }
        }
    }
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..=255_u8).prop_map(Deed::Flip),
        2 => (1..=40_u8).prop_map(Deed::Drop),
        2 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Deed::Insert),
        1 => Just(Deed::Close),
        1 => Just(Deed::Silence),
        1 => Just(Deed::Slowly),
    ]
}

/// Most of what is said before a login is done is within these.
fn meddlings() -> impl Strategy<Value = Meddling> {
    let places = prop_oneof![2 => (Just(true), 0..1500_usize), 1 => (Just(false), 0..300_usize)];
    (places, deeds()).prop_map(|((with_broker, at), deed)| Meddling { with_broker, at, deed })
}

/// How we say who we are.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Scram,
    PlainOverTls13,
    ScramOverTls12,
}

async fn call(way: Way, meddling: Meddling) -> Result<(), String> {
    let sasl = Sasl { session_lifetime: Some(Duration::from_secs(5)), ..every_mechanism() };
    let kafka = kafka(Profile::V4_3, sasl).await;
    let mechanism = match way {
        Way::Plain | Way::PlainOverTls13 => plain(PASSWORD),
        Way::Scram | Way::ScramOverTls12 => scram(ScramHash::Sha256, PASSWORD),
    };
    let mut options = options(&kafka, mechanism);
    (options.connect_timeout, options.request_timeout) = (Duration::from_secs(2), Duration::from_secs(6));
    let versions: &[_] = match way {
        Way::Plain | Way::Scram => &[],
        Way::PlainOverTls13 => &[&TLS13],
        Way::ScramOverTls12 => &[&TLS12],
    };
    let inner: Box<dyn Opener> = if versions.is_empty() {
        Box::new(InMemory(kafka.clone()))
    } else {
        let ca = Ca::new("ca");
        options.security.tls = Some(trusting(&ca.pem));
        let server = server(&ca.sign(&broker()), None, versions);
        Box::new(Front { kafka: kafka.clone(), server })
    };
    let client = Cluster::with_opener(options, Box::new(InTheMiddle { inner, meddling }));
    // Over the ends of some logins.
    for _ in 0..4 {
        client.metadata(Wanted::All).await.map_err(|error| chain(&error))?;
        sleep(Duration::from_secs(4)).await;
    }
    client.connect(BrokerId(0)).await.map(drop).map_err(|error| chain(&error))
}

/// A task that panics shows as a connection that ends: so panics are noted where they happen.
fn note_panics() -> &'static AtomicBool {
    static NOTED: AtomicBool = AtomicBool::new(false);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("hostile::")) {
                NOTED.store(true, Ordering::Relaxed);
            }
            before(info);
        }));
    });
    &NOTED
}

fn meddled_with(way: Way, meddling: &Meddling) {
    let panicked = note_panics();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let told = call(way, meddling.clone()).await;
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}: {told:?}", began.elapsed());
        if let Err(told) = told {
            assert!(!told.chars().any(char::is_control), "{told:?}");
            assert!(!told.contains(PASSWORD), "{told}");
        }
        assert!(!panicked.load(Ordering::Relaxed), "something panicked, see above");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn plain_logins(meddling in meddlings()) {
        meddled_with(Way::Plain, &meddling);
    }

    #[test]
    fn scram_logins(meddling in meddlings()) {
        meddled_with(Way::Scram, &meddling);
    }

    #[test]
    fn logins_over_tls_1_3(meddling in meddlings()) {
        meddled_with(Way::PlainOverTls13, &meddling);
    }

    #[test]
    fn logins_over_tls_1_2(meddling in meddlings()) {
        meddled_with(Way::ScramOverTls12, &meddling);
    }
}

/// Whoever meddles is met: most deeds are done, so that the others show something.
#[test]
fn deeds_are_done() {
    let before = DONE.load(Ordering::Relaxed);
    for at in [0, 100, 200, 300, 700, 1400] {
        meddled_with(Way::Scram, &Meddling { with_broker: true, at, deed: Deed::Flip(1) });
        meddled_with(Way::PlainOverTls13, &Meddling { with_broker: false, at: at / 5, deed: Deed::Flip(1) });
    }
    assert!(DONE.load(Ordering::Relaxed) >= before + 12);
}

/// Without anybody in the middle every way leads to the broker: what the others show is not for want of a connection.
#[test]
fn left_alone_every_way_leads_there() {
    let far_away = Meddling { with_broker: true, at: usize::MAX, deed: Deed::Close };
    for way in [Way::Plain, Way::Scram, Way::PlainOverTls13, Way::ScramOverTls12] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        assert_eq!(runtime.block_on(call(way, far_away.clone())), Ok(()), "{way:?}");
    }
}
