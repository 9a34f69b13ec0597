//! Where the system has no socket to give: it is said, and what runs already goes on.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "pauses are measured, and a child tells how it is"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, NoSocket, Profile, StartError};
use protocol::messages::ApiVersionsRequest;

use crate::client::{Client, batch, cluster};

/// Makes this test binary the process with few files.
const CHILD: &str = "EMBEDDED_KAFKA_FEW_FILES";
const FILES_MAX: usize = 24;
/// The child ends by then, whatever is read of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the accept loop.
const PAUSE: Duration = Duration::from_millis(10);

fn told(error: &StartError) -> String {
    let StartError::Listen { source, .. } = error;
    format!("{error}: {source}")
}

#[tokio::test]
async fn a_port_that_somebody_else_took_meanwhile_is_told_as_in_use() {
    let cluster = cluster(2, Profile::V4_3).await;
    let address = cluster.broker(1).address();
    cluster.broker(1).stop().await;
    // A child that another test starts has a copy of every socket until it is another program.
    let began = Instant::now();
    let taken = loop {
        match std::net::TcpListener::bind(address) {
            Err(_) if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            bound => break bound.unwrap(),
        }
    };
    let error = cluster.broker(1).start().await.unwrap_err();
    assert!(matches!(&error, StartError::Listen { source: NoSocket::PortInUse, .. }), "{error:?}");
    assert_eq!(told(&error), format!("cannot listen on {address} for broker 1: the port is in use"));
    assert_eq!(Client::connect(&cluster, 0).await.offer(batch(1)).await.0, ErrorCode::NONE);

    // In use for a moment only, it is waited for: the first try finds it so, and before the next it is free.
    let broker = cluster.broker(1);
    let (started, ()) = tokio::join!(broker.start(), async { drop(taken) });
    started.unwrap();
    Client::connect(&cluster, 1).await;
}

/// What the child does: says why a cluster too large does not start, then serves one until its input ends.
fn serve_with_few_files() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(|| {
        // It ends with its parent, however that ends.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    runtime.block_on(async {
        let error = Cluster::start(Config::new(2 * FILES_MAX, Profile::V4_3)).await.unwrap_err();
        println!("refused: {}", told(&error));
        let config = Config { connections_max: Some(10 * FILES_MAX), ..Config::new(1, Profile::V4_3) };
        let cluster = Cluster::start(config).await.unwrap();
        println!("listening: {}", cluster.bootstrap_servers());
        tokio::time::sleep(PATIENCE).await;
    });
}

#[test]
fn too_many_open_files_are_told_once_and_who_waited_is_served_when_there_are_fewer() {
    if std::env::var_os(CHILD).is_some() {
        return serve_with_few_files();
    }
    let name = "shortage::too_many_open_files_are_told_once_and_who_waited_is_served_when_there_are_fewer";
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {FILES_MAX} && exec \"$0\" --exact {name} --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut after =
        |word: &str| lines.find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word}"));

    let refused = after("refused: ");
    let reason = "too many open files: this process may not have more of them, `ulimit -n` says how many";
    assert!(refused.contains("cannot listen on 127.0.0.1:0 for broker "), "{refused}");
    assert!(refused.ends_with(reason), "{refused}");

    let listening = after("listening: ");
    let address = listening.split_once("listening: ").unwrap().1;
    let connect = || TcpStream::connect(address).unwrap();
    // The system accepts them all; the process cannot.
    let began = Instant::now();
    let mut connections: Vec<TcpStream> = (0..2 * FILES_MAX).map(|_| connect()).collect();
    let warned = after("cannot accept connections, trying on");
    assert!(warned.contains("WARN") && warned.contains(reason), "{warned}");
    // It tries again and again, but neither without a pause nor with a line for people each time.
    let tries = 20;
    (0..tries).for_each(|_| assert!(after("accept").contains("DEBUG")));
    assert!(began.elapsed() >= PAUSE * (tries - 1), "{tries} tries in {:?}", began.elapsed());

    let mut last = connections.pop().unwrap();
    drop(connections);
    after("connections are accepted again");
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = protocol::encode_request(ApiKey::ApiVersions, 0, 7, "t", &ApiVersionsRequest::default());
    last.write_all(&request.unwrap()).unwrap();
    let mut reply = [0; 8];
    last.read_exact(&mut reply).unwrap();
    assert_eq!(reply[4..], [0, 0, 0, 7]);
    drop(child.stdin.take());
    child.wait().unwrap();
}
