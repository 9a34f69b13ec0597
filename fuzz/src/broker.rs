//! What must hold of a broker of `embedded-kafka` for any request.

use std::time::Duration;

use embedded_kafka::{Cluster, Config, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// ApiVersions version 0 without a client's name, with its length, and how its answer begins after its own.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff];
const ANSWER: [u8; 6] = [0, 0, 0, 77, 0, 0];
/// Of the clock that only goes on when nothing else does: whoever waits for longer is left.
const PATIENCE: Duration = Duration::from_secs(600);

/// A request, whatever its bytes, is answered or ends its connection, and whoever else asks is answered as before.
/// The first byte says as which version the cluster presents itself, the others are the frame without its length.
pub fn request_check(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else { return };
    let profile = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3][usize::from(first % 4)];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("no I/O");
    runtime.block_on(async {
        let cluster = Cluster::start(Config::new(1, profile).in_memory()).await.expect("no sockets");
        cluster.create_topic("t", 1, &[]);
        let port = cluster.broker(0).address().port();
        let mut bystander = cluster.connect(port).expect("it runs");
        ask(&mut bystander).await;
        let mut stream = cluster.connect(port).expect("it runs");
        let length = u32::try_from(frame.len()).expect("inputs are small");
        // It may have been closed in the middle.
        let _ = stream.write_all(&[&length.to_be_bytes(), frame].concat()).await;
        let _ = stream.shutdown().await;
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        ask(&mut bystander).await;
        ask(&mut cluster.connect(port).expect("it runs still")).await;
        assert_eq!(cluster.panics(), 0);
    });
}

async fn ask(stream: &mut DuplexStream) {
    stream.write_all(&QUESTION).await.expect("it is open");
    let length = stream.read_u32().await.expect("it is answered");
    let mut answer = vec![0; usize::try_from(length).expect("short")];
    stream.read_exact(&mut answer).await.expect("the whole answer");
    assert!(answer.starts_with(&ANSWER), "{answer:?}");
}
