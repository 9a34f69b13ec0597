//! Logins by tokens of an identity provider, on both sides: while a copy runs they end, and others are fetched.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use embedded_kafka::{Exchange, Mechanism, Sasl, Step};

use super::*;

/// How long a token is valid.
const LIFE_S: u64 = 4;

/// An identity provider that knows one client, and what it has given out.
#[derive(Debug)]
struct Provider {
    url: String,
    issued: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    /// Serves as long as the test's process runs.
    fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let issued = Arc::<Mutex<Vec<String>>>::default();
        let gives = Arc::clone(&issued);
        thread::spawn(move || {
            for socket in listener.incoming() {
                answer(&socket.unwrap(), &gives);
            }
        });
        Provider { url, issued }
    }

    fn issued(&self) -> usize {
        self.issued.lock().unwrap().len()
    }

    fn lines(&self, prefix: &str) -> String {
        let lines = format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
             sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             clientId=\"me\" clientSecret=\"hush\";\n\
             sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
             sasl.oauthbearer.token.endpoint.url={}\n",
            self.url
        );
        lines.lines().map(|line| format!("{prefix}{line}\n")).collect()
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn answer(mut socket: &TcpStream, issued: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket);
    let mut heads = String::new();
    while !heads.ends_with("\r\n\r\n") {
        reader.read_line(&mut heads).unwrap();
    }
    let heads = heads.to_lowercase();
    let length = heads.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(body, b"grant_type=client_credentials");
    // `me:hush`
    assert!(heads.contains("authorization: basic bwu6ahvzaa==\r\n"), "{heads}");
    let mut issued = issued.lock().unwrap();
    let claims = format!(r#"{{"sub":"me","exp":{},"jti":{}}}"#, now_s() + LIFE_S, issued.len());
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    let body = format!(r#"{{"access_token":"{token}"}}"#);
    issued.push(token);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).unwrap();
}

/// A broker's side: takes what the provider has given out less than a token's life ago.
#[derive(Debug)]
struct Judge {
    issued: Arc<Mutex<Vec<String>>>,
    /// When each of them was shown first.
    seen: Arc<Mutex<std::collections::HashMap<String, Instant>>>,
}

impl Mechanism for Judge {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(Judged { issued: Arc::clone(&self.issued), seen: Arc::clone(&self.seen) })
    }
}

struct Judged {
    issued: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<std::collections::HashMap<String, Instant>>>,
}

impl Exchange for Judged {
    fn step(&mut self, said: &[u8]) -> Step {
        let said = std::str::from_utf8(said).unwrap();
        let token = said.strip_prefix("n,,\u{1}auth=Bearer ").unwrap().trim_end_matches('\u{1}').to_owned();
        if !self.issued.lock().unwrap().contains(&token) {
            return Step::Failed("nobody has issued it".to_owned());
        }
        let mut seen = self.seen.lock().unwrap();
        let first = *seen.entry(token).or_insert_with(Instant::now);
        if first.elapsed() > Duration::from_secs(LIFE_S) {
            return Step::Failed("it has expired".to_owned());
        }
        Step::Done { user: "me".to_owned(), said: Vec::new() }
    }
}

#[tokio::test]
async fn a_copy_goes_on_while_tokens_end_and_others_are_fetched() {
    let (sources, destinations) = (Provider::start(), Provider::start());
    let cluster = async |provider: &Provider, name: &str| {
        let judge = Judge { issued: Arc::clone(&provider.issued), seen: Arc::default() };
        let sasl =
            Sasl { mechanisms: vec![Arc::new(judge)], session_lifetime: Some(Duration::from_millis(1_500)) };
        let config = Config::new(1, Profile::V4_3);
        Cluster::start(Config { cluster_id: name.to_owned(), sasl: Some(sasl), ..config }).await.unwrap()
    };
    let (source, destination) = (cluster(&sources, "east").await, cluster(&destinations, "west").await);
    source.create_topic("test-topic", 1, &[]);
    let desk = Desk {
        folder: tempfile::tempdir().unwrap(),
        source,
        destination,
        connector: format!(
            "topic.whitelist=test-topic\ntopic.rename.format=${{topic}}.replica\n{}{}",
            sources.lines("src.kafka."),
            destinations.lines("dest.kafka.")
        ),
        storage: None,
    };
    let mut filled = 0;
    desk.run_while(async |_| {
        // Three lives of a token.
        while sources.issued() < 4 || destinations.issued() < 4 {
            desk.fill("test-topic", 0, filled..filled + 10);
            filled += 10;
            wait_until(|| desk.copied("test-topic.replica", 0).len() == filled).await;
        }
    })
    .await;
    assert!(desk.copied("test-topic.replica", 0).into_iter().eq(0..filled), "each record once, in order");
    for provider in [sources, destinations] {
        assert!(provider.issued() < 10, "a token serves all logins: {} were fetched", provider.issued());
    }
}
