//! Whatever answers, a call ends in time with an error that says what is there.

use std::time::Duration;

use crate::fake::{Say, cluster, nobody, options, peer, reply, stranger, with};
use client::{CallError, Wanted};
use protocol::server::RequestKind;
use tokio::time::Instant;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// What asking for metadata at `port` comes to.
async fn failure(port: u16) -> String {
    let mut options = options(&[port]);
    options.connect_timeout = CONNECT_TIMEOUT;
    let error = with(options).metadata(Wanted::All).await.unwrap_err();
    let CallError::Unreachable { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), 1);
    assert!(!error.maybe_written());
    chain(&error)
}

async fn check(first: &'static [u8], close: bool, expected: &str) {
    let said = failure(stranger(first, close)).await;
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("127.0.0.1:"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_http_server_is_named() {
    check(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true, "it is an HTTP server").await;
}

#[tokio::test(start_paused = true)]
async fn a_tls_listener_is_named() {
    check(&[0x15, 3, 3, 0, 2, 2, 80], true, "it is a TLS listener").await;
}

#[tokio::test(start_paused = true)]
async fn an_ssh_server_is_named() {
    check(b"SSH-2.0-OpenSSH_9.6\r\n", false, "it is an SSH server").await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_told_as_what_it_reads_as() {
    check(&[0xff; 100], false, "an answer of -1 bytes").await;
    check(&[0; 100], false, "number").await;
    check(b"\0\0\0\x10garbage, sixteen", false, "another request's number").await;
    // The right number, then nonsense.
    check(&[0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff], false, "cannot be read").await;
    check(&[0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], false, "cannot be read").await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_two_gibibytes_is_refused() {
    check(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], false, "an answer of 2147483647 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_is_told_from_one_that_answers() {
    check(b"", true, "closes the connection without an answer").await;
    check(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0], true, "in the middle of an answer").await;
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_time_out() {
    let started = Instant::now();
    check(b"", false, "no answer to ApiVersions").await;
    check(&[0, 0], false, "no answer to ApiVersions").await;
    assert_eq!(started.elapsed(), 2 * CONNECT_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_none_is_told_as_given() {
    let options = client::Options::new("west", vec!["kafka".to_owned()]);
    let error = with(options).metadata(Wanted::All).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no broker of cluster `west` can be reached: `kafka` is not an address of the form host:port"
    );
    let none = client::Options::new("west", Vec::new());
    let error = with(none).metadata(Wanted::All).await.unwrap_err();
    assert_eq!(error.to_string(), "no broker of cluster `west` can be reached: no address is given");
}

#[tokio::test(start_paused = true)]
async fn an_advertised_address_that_leads_nowhere_is_told_as_such() {
    let gone = nobody();
    let port = peer(move |request| match &request.body {
        RequestKind::ApiVersions(_) => reply(&request, &crate::fake::versions(&[])),
        RequestKind::Metadata(_) => reply(&request, &crate::fake::metadata(&[(3, gone)])),
        _ => Say::Nothing,
    });
    let error = cluster(port).connect(model::BrokerId(3)).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot connect to broker 3 at 127.0.0.1:{gone}, an address it gives in its advertised.listeners"
        )
    );
    let error = cluster(port).connect(model::BrokerId(4)).await.unwrap_err();
    assert_eq!(error.to_string(), "cluster `test` has no broker 4 at present");
}
