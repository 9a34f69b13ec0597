//! What the log says of connections that end.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded_kafka::{Cluster, Config, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::subscriber::DefaultGuard;

/// Lines of level WARN and above, of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn collect() -> (Lines, DefaultGuard) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Sends bytes, ends its side, and waits until the broker has ended its own. The address it had.
async fn say(cluster: &Cluster, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(cluster.broker(0).address()).await.unwrap();
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(bytes).await.unwrap();
    // A reset ends it, too.
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    tokio::task::yield_now().await;
    own
}

async fn check(bytes: &[u8], expected: Option<&str>) {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    let peer = say(&cluster, bytes).await;
    let told = lines.take();
    match expected {
        Some(expected) => {
            assert_eq!(told.len(), 1, "{bytes:?}: {told:?}");
            assert!(told[0].contains(expected) && told[0].contains(&peer), "{told:?}");
        }
        None => assert_eq!(told, [""; 0]),
    }
}

#[tokio::test]
async fn a_frame_that_is_not_finished_is_told_with_what_there_was_of_it() {
    check(b"\0\0\0\x64half of it", Some("the peer has left in the middle of a frame, after 14 of 104 bytes"))
        .await;
    check(b"\0\0", Some("the peer has left in the middle of a frame, after 2 of 4 bytes")).await;
    check(b"", None).await;
}

#[tokio::test]
async fn what_speaks_something_else_is_named() {
    let tls = "looks like a TLS ClientHello: this listener is plaintext";
    check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some(tls)).await;
    let http = "looks like HTTP: this listener speaks Kafka's protocol only";
    check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(http)).await;
    check(b"POST /topics HTTP/1.1\r\n\r\n", Some(http)).await;
    let ssh = "looks like SSH: this listener speaks Kafka's protocol only";
    check(b"SSH-2.0-OpenSSH_9.6\r\n", Some(ssh)).await;
    check(b"\x7f\xff\xff\xff", Some("a frame claims 2147483647 bytes")).await;
}

#[tokio::test]
async fn a_host_that_errs_again_and_again_is_told_three_times_and_then_counted() {
    let (lines, _guard) = Lines::collect();
    let cluster = Cluster::start(Config::new(1, Profile::V4_3)).await.unwrap();
    for _ in 0..50 {
        say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
    }
    assert_eq!(lines.take().len(), 3);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("host=\"127.0.0.1\" more=47"), "{told:?}");
    tokio::time::resume();
    say(&cluster, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(lines.take().len(), 1);
}
