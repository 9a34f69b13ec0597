use super::testing::{Reply, Server};
use super::*;

const WAITS: Waits = Waits { connect: Duration::from_secs(20), answer: Duration::from_secs(20) };

fn post<'a>(url: &'a Url, body: &str) -> Request<'a> {
    let headers = vec![("authorization", "Basic aHVzaA==".to_owned())];
    Request { method: Method::POST, url, headers, body: Some(body.to_owned()) }
}

fn asked(server: &Server, http: &Http) -> Result<(u16, String), String> {
    let url = Url::read(&server.url("/token?x=1")).unwrap();
    let answer = http.ask(post(&url, "a=b")).map_err(|error| error.to_string())?;
    Ok((answer.status.as_u16(), String::from_utf8(answer.body).unwrap()))
}

#[test]
fn a_request_goes_out_as_it_is_and_its_answer_comes_back() {
    for server in [
        Server::secured(|_| Reply::Says(200, "fine".to_owned())),
        Server::plain(|_| Reply::Says(200, "fine".to_owned())),
    ] {
        let tls = if server.url("").starts_with("https") { server.trusted() } else { TlsOptions::default() };
        let http = Http::new(tls, WAITS);
        assert_eq!(asked(&server, &http), Ok((200, "fine".to_owned())));
        let heard = server.heard().join("").to_lowercase();
        assert!(
            heard.starts_with("post /token?x=1 http/1.1\r\n") && heard.ends_with("\r\n\r\na=b"),
            "{heard}"
        );
        assert!(
            heard.contains("authorization: basic ahvzaa==\r\n") && heard.contains("user-agent: paralog/")
        );
    }
}

#[test]
fn nobody_is_followed_anywhere() {
    let server = Server::plain(|_| Reply::Says(302, "moved".to_owned()));
    assert_eq!(asked(&server, &Http::new(TlsOptions::default(), WAITS)), Ok((302, "moved".to_owned())));
    assert_eq!(server.heard().len(), 1);
}

#[test]
fn answers_that_are_none_are_told() {
    let check = |reply: fn() -> Reply, answer: Duration, expected: &str| {
        let server = Server::plain(move |_| reply());
        let error = asked(&server, &Http::new(TlsOptions::default(), Waits { answer, ..WAITS })).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    };
    let long = Duration::from_secs(20);
    check(|| Reply::Silence, Duration::from_millis(50), "has not answered within 0.1 s");
    check(|| Reply::Says(200, "x".repeat(1_100_000)), long, "gives an answer of more than 1048576 bytes");
    check(
        || Reply::Raw(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n".to_vec()),
        long,
        "gives an answer that is not HTTP",
    );
    check(|| Reply::Raw(Vec::new()), long, "closes the connection without an answer");
}

#[test]
fn a_server_without_the_right_certificate_hears_nothing() {
    let server = Server::secured(|_| Reply::Says(200, String::new()));
    let error = asked(&server, &Http::new(Server::secured(|_| Reply::Silence).trusted(), WAITS)).unwrap_err();
    assert!(error.starts_with("makes no TLS: its certificate is"), "{error}");
    let elsewhere = server.url("/").replace("localhost", "127.0.0.1");
    let url = Url::read(&elsewhere).unwrap();
    let error = Http::new(server.trusted(), WAITS).ask(post(&url, "")).map(|_| ()).unwrap_err();
    assert!(error.what.starts_with("makes no TLS: ") && !error.may_pass, "{error}");
    assert!(server.heard().is_empty());

    let plain = Server::plain(|_| Reply::Says(200, String::new()));
    let url = Url::read(&plain.url("/").replace("http:", "https:")).unwrap();
    let error = Http::new(TlsOptions::default(), WAITS).ask(post(&url, "")).map(|_| ()).unwrap_err();
    assert_eq!(error.what, "makes no TLS: what it says is not TLS; does it want `http:`?");
}

#[test]
fn where_nobody_listens_it_may_pass() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::read(&format!("http://{gone}/")).unwrap();
    let error = Http::new(TlsOptions::default(), WAITS).ask(post(&url, "")).map(|_| ()).unwrap_err();
    assert!(error.may_pass && error.what.starts_with("cannot be reached: "), "{error}");
}

#[test]
fn what_cannot_be_sent_is_told_without_showing_it() {
    let url = Url::read("http://localhost:1/").unwrap();
    let request = Request { headers: vec![("authorization", "hush\n".to_owned())], ..post(&url, "") };
    let error = Http::new(TlsOptions::default(), WAITS).ask(request).map(|_| ()).unwrap_err();
    assert!(error.what.contains("`authorization`") && !error.what.contains("hush"), "{error}");
}
