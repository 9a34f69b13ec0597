use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::http::testing::{Reply, Server};

const NOW_MS: u64 = 1_790_000_000_000;
const SECRET: &str = "hush:hush/hush";

fn jwt(name: &str, expires_ms: u64) -> String {
    let claims = json!({"sub": name, "exp": expires_ms / 1000, "iat": NOW_MS / 1000});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn gives(name: &str, expires_ms: u64) -> Reply {
    Reply::Says(200, json!({"access_token": jwt(name, expires_ms), "token_type": "Bearer"}).to_string())
}

/// A server, whoever asks it, and the clock of that.
struct Bench {
    server: Server,
    tokens: Tokens,
    now_ms: AtomicU64,
}

impl Bench {
    /// `answer` is given how often it was asked before.
    fn new(answer: impl Fn(usize) -> Reply + Send + 'static) -> Bench {
        let count = std::cell::Cell::new(0);
        let server = Server::secured(move |_| answer(count.replace(count.get() + 1)));
        let options = TokenEndpoint { tls: server.trusted(), ..options(&server) };
        Bench { server, tokens: Tokens::new(options), now_ms: AtomicU64::new(NOW_MS) }
    }

    fn wait(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn token(&self) -> Result<String, String> {
        let token = self.tokens.token(&|| self.now_ms.load(Ordering::SeqCst), 0.0);
        token.map(|token| token.expose().to_owned()).inspect_err(|error| {
            assert!(!error.contains("hush") && !error.contains("aHVzaD"), "{error}");
            assert!(!error.contains('\n') && !error.contains("?key"), "{error}");
        })
    }

    fn asked(&self) -> usize {
        self.server.heard().len()
    }
}

fn options(server: &Server) -> TokenEndpoint {
    TokenEndpoint {
        url: server.url("/token?key=hush"),
        client_id: "client".to_owned(),
        client_secret: Secret::new(SECRET),
        retry_backoff: Duration::from_millis(1),
        retry_backoff_max: Duration::from_secs(60),
        ..TokenEndpoint::default()
    }
}

#[test]
fn a_token_is_kept_until_it_is_time_for_another() {
    let bench = Bench::new(|asked| gives(&format!("t{asked}"), NOW_MS + 10_000 * (asked as u64 + 1)));
    let first = bench.token().unwrap();
    assert_eq!(first, jwt("t0", NOW_MS + 10_000));
    bench.wait(7_999);
    assert_eq!((bench.token().unwrap(), bench.asked()), (first, 1));
    bench.wait(1);
    assert_eq!(bench.token().unwrap(), jwt("t1", NOW_MS + 20_000));
    assert_eq!(bench.asked(), 2);
    let heard = bench.server.heard().remove(0).to_lowercase();
    assert!(heard.starts_with("post /token?key=hush ") && heard.contains("authorization: basic "), "{heard}");
    assert!(heard.contains("content-type: application/x-www-form-urlencoded\r\n"), "{heard}");
}

#[test]
fn an_endpoint_that_fails_is_left_alone_for_a_while_and_the_old_token_serves_as_long_as_it_is_valid() {
    let bench = Bench::new(|asked| match asked {
        0 => gives("old", NOW_MS + 10_000),
        asked if asked < 6 => Reply::Says(403, String::new()),
        _ => gives("new", NOW_MS + 60_000),
    });
    let old = bench.token().unwrap();
    bench.wait(8_000);
    assert_eq!((bench.token(), bench.asked()), (Ok(old.clone()), 2));
    bench.wait(999);
    assert_eq!((bench.token(), bench.asked()), (Ok(old.clone()), 2), "not asked in a hot loop");
    bench.wait(1);
    assert_eq!((bench.token(), bench.asked()), (Ok(old), 3));
    bench.wait(1_000);
    let error = bench.token().unwrap_err();
    assert!(error.ends_with("/token answers 403"), "{error}");
    assert_eq!(bench.asked(), 3, "two seconds now, and the token has ended");
    let mut pauses = Vec::new();
    while bench.asked() < 7 {
        let (before, asked) = (bench.now_ms.load(Ordering::SeqCst), bench.asked());
        while bench.asked() == asked {
            bench.wait(500);
            let _ = bench.token();
        }
        pauses.push(bench.now_ms.load(Ordering::SeqCst) - before);
    }
    assert_eq!(pauses, [1_000, 4_000, 8_000, 16_000]);
    assert_eq!(bench.token(), Ok(jwt("new", NOW_MS + 60_000)));
}

#[test]
fn a_server_that_errs_is_asked_again_at_once_and_one_that_refuses_is_not() {
    let bench = Bench::new(|asked| match asked {
        0 => Reply::Says(500, "oh".to_owned()),
        _ => gives("ann", NOW_MS + 10_000),
    });
    assert!(bench.token().is_ok());
    assert_eq!(bench.asked(), 2);

    let bench = Bench::new(|_| {
        Reply::Says(401, format!(r#"{{"error":"invalid_client","error_description":"not {SECRET}"}}"#))
    });
    let error = bench.token().unwrap_err();
    let expected = " refuses the client `client`: it answers 401 invalid_client (not [hidden]); check its id and its secret";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!((bench.token().unwrap_err(), bench.asked()), (error, 1), "told, not asked again");
}

#[test]
fn answers_that_give_no_token_are_told_in_one_line() {
    let check = |reply: fn() -> Reply, expected: &str| {
        let error = Bench::new(move |_| reply()).token().unwrap_err();
        assert!(error.starts_with("the token endpoint https://localhost:"), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    check(
        || gives("ann", NOW_MS - 5_000),
        "gives a token that expired 5 s ago by this machine's clock; set the clocks",
    );
    check(|| Reply::Says(200, r#"{"access_token":"opaque"}"#.to_owned()), "gives a token that is no JWT");
    check(|| Reply::Says(200, "{}".to_owned()), "gives an answer without an `access_token`");
    check(|| Reply::Says(200, "garbage".to_owned()), "gives an answer that is not JSON");
    check(|| Reply::Says(302, String::new()), "answers 302: it sends us elsewhere");
    check(|| Reply::Says(200, "x".repeat(2_000_000)), "gives an answer of more than 1048576 bytes");
    let server = Server::plain(|_| Reply::Says(503, String::new()));
    let few = TokenEndpoint { retry_backoff_max: Duration::from_millis(30), ..options(&server) };
    let error = Tokens::new(few).token(&|| NOW_MS, 0.0).unwrap_err();
    let tried = if server.heard().len() > 1 {
        format!(" (tried {} times)", server.heard().len())
    } else {
        String::new()
    };
    assert!(error.ends_with(&format!("/token answers 503{tried}")), "{error}");
}

#[test]
fn an_endpoint_that_says_nothing_is_not_waited_for() {
    let server = Server::secured(|_| Reply::Silence);
    let read_timeout = Some(Duration::from_millis(30));
    let tokens = Tokens::new(TokenEndpoint {
        tls: server.trusted(),
        read_timeout,
        retry_backoff: Duration::ZERO,
        ..options(&server)
    });
    let error = tokens.token(&|| NOW_MS, 0.0).unwrap_err();
    assert!(error.contains("/token has not answered within 0.0 s"), "{error}");
    // It trusts whom the system trusts.
    let stranger = Tokens::new(options(&server));
    let error = stranger.token(&|| NOW_MS, 0.0).unwrap_err();
    assert!(error.contains("/token makes no TLS: its certificate "), "{error}");
    assert_eq!(server.heard().len(), 1, "who is not believed is told no secret");
}

#[test]
fn a_token_that_a_broker_has_refused_is_not_used_again() {
    let bench = Bench::new(|asked| gives(&format!("t{asked}"), NOW_MS + 10_000));
    let first = bench.token().unwrap();
    assert_eq!(bench.token(), Ok(first));
    bench.tokens.forget();
    assert_eq!((bench.token(), bench.asked()), (Ok(jwt("t1", NOW_MS + 10_000)), 2));
}

#[test]
fn while_another_is_asked_for_a_valid_token_does_and_nobody_waits_to_forget_it() {
    let bench = Bench::new(|asked| gives(&format!("t{asked}"), NOW_MS + 10_000));
    let first = bench.token().unwrap();
    let at_hand = |after_ms: u64, is_asked: bool| bench.tokens.at_hand(NOW_MS + after_ms, is_asked);
    let given = Some(Ok(Secret::new(&*first)));
    assert_eq!((at_hand(7000, false), at_hand(7000, true)), (given.clone(), given.clone()));
    // Four fifths of its life are over.
    assert_eq!((at_hand(9000, false), at_hand(9000, true)), (None, given));
    assert_eq!(at_hand(10_000, true), None);
    let ((begun, begins), (go_on, waits)) = (sync_channel(1), sync_channel(1));
    std::thread::scope(|scope| {
        let kept = &bench.tokens.0.kept;
        let asks = scope.spawn(move || {
            let asked = || {
                begun.send(()).unwrap();
                // Whoever forgets does not wait for this to end.
                let in_time = waits.recv_timeout(Duration::from_secs(10)).is_ok();
                Err(format!("in time: {in_time}"))
            };
            kept.get(&|| NOW_MS + 9000, asked)
        });
        begins.recv().unwrap();
        bench.tokens.forget();
        go_on.send(()).unwrap();
        assert_eq!(asks.join().unwrap(), Err(String::from("in time: true")));
    });
}

#[test]
fn another_secret_of_the_client_leaves_it_its_token() {
    let bench = Bench::new(|asked| gives(&format!("t{asked}"), NOW_MS + 10_000));
    let first = bench.token().unwrap();
    let client_secret = Secret::new("another");
    let other = bench
        .tokens
        .with_secret_of(TokenEndpoint { client_secret, ..bench.tokens.0.endpoint.options().clone() });
    assert_eq!(other.token(&|| NOW_MS, 0.0), Ok(Secret::new(first)));
    assert_eq!(bench.asked(), 1);
}

#[test]
fn whoever_needs_a_token_while_another_asks_gets_the_same() {
    let bench = Bench::new(|asked| gives(&format!("t{asked}"), NOW_MS + 10_000));
    let tokens: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| bench.token())).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == Ok(jwt("t0", NOW_MS + 10_000))));
    assert_eq!(bench.asked(), 1);
}

#[test]
fn what_cannot_be_asked_is_told_before_anything_is_sent() {
    let check = |options: TokenEndpoint, expected: &str| {
        let error = Tokens::new(options).check().unwrap_err();
        assert!(error.contains(expected) && !error.contains("hush"), "{error}");
    };
    let good = TokenEndpoint {
        url: "https://idp.example/token".to_owned(),
        client_id: "c".to_owned(),
        client_secret: Secret::new("hush"),
        ..TokenEndpoint::default()
    };
    assert_eq!(Tokens::new(TokenEndpoint { url: "http://idp".to_owned(), ..good.clone() }).check(), Ok(()));
    check(TokenEndpoint { url: "https://u:hush@idp".to_owned(), ..good.clone() }, "it names a user");
    check(TokenEndpoint { client_secret: Secret::new(" "), ..good.clone() }, "the client secret is empty");
    let store =
        crate::StoreSource::File { path: "/no/such".into(), kind: crate::StoreKind::Jks, password: None };
    let tls = crate::TlsOptions { trust: crate::Trust::Store(store), ..crate::TlsOptions::default() };
    check(
        TokenEndpoint { tls, ..good },
        "the token endpoint https://idp.example/token: trust store /no/such: ",
    );
}

#[test]
fn a_token_is_replaced_when_kafkas_clients_do_it() {
    let refresh = TokenRefresh::default();
    let hour = |issued_ms| Times { issued_ms, expires_ms: NOW_MS + 3_600_000 };
    let at = |refresh: &TokenRefresh, times, share| refresh_at_ms(refresh, NOW_MS, times, share) - NOW_MS;
    assert_eq!(at(&refresh, hour(Some(NOW_MS)), 0.0), 2_880_000);
    assert_eq!(at(&refresh, hour(None), 1.0), 3_060_000);
    assert_eq!(at(&refresh, hour(Some(NOW_MS - 3_600_000)), 0.0), 2_160_000, "its life has begun before");
    assert_eq!(at(&refresh, hour(Some(NOW_MS - 36_000_000)), 0.0), 60_000, "not at once");
    let late = TokenRefresh { window_factor: 1.0, ..refresh.clone() };
    assert_eq!(at(&late, hour(None), 0.0), 3_300_000, "some time is left");
    let short = Times { issued_ms: Some(NOW_MS), expires_ms: NOW_MS + 10_000 };
    assert_eq!(at(&refresh, short, 0.0), 8_000, "too short for either");
}

proptest! {
    #[test]
    fn a_token_is_replaced_in_its_life_whatever_the_settings(
        factor in proptest::num::f64::ANY, jitter in proptest::num::f64::ANY, share in 0.0..=1.0,
        min_s: u64, buffer_s: u64, now_ms in 0..u64::MAX / 4, issued_ms: Option<u64>, lasts_ms: u64,
    ) {
        let (min_period, buffer) = (Duration::from_secs(min_s), Duration::from_secs(buffer_s));
        let refresh = TokenRefresh { window_factor: factor, window_jitter: jitter, min_period, buffer };
        let times = Times { issued_ms, expires_ms: now_ms.saturating_add(lasts_ms) };
        let at_ms = refresh_at_ms(&refresh, now_ms, times, share);
        prop_assert!((now_ms..=times.expires_ms).contains(&at_ms));
    }
}
