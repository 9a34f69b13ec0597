//! What TLS costs the client, in processor time per gigabyte, beside the same without it.
//!
//! `cargo test --release -p client --test wire cost -- --ignored --nocapture`. The other side is in a thread of its own
//! and not counted; records go over loopback.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and says what it measured"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use client::{
    Cluster, FetchOptions, FetchPartition, Fetcher, Options, ProduceBatch, Secret, StoreSource, TlsOptions,
    Trust,
};
use model::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{FetchResponse, ProduceResponse};
use protocol::server::{Request, RequestKind};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Say, as_broker, reply, serve};

const BATCH_BYTES: usize = 1 << 20;
const ROUNDS: usize = 1024;

/// What this thread has had of a processor.
fn spent() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
}

fn answer(request: &Request, records: &Bytes) -> Say {
    match &request.body {
        RequestKind::Produce(produce) => {
            let topic = &produce.topic_data[0];
            let partition = PartitionProduceResponse::default().with_base_offset(0).with_error_message(None);
            let topic = TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(vec![partition]);
            reply(request, &ProduceResponse::default().with_responses(vec![topic]))
        }
        RequestKind::Fetch(fetch) => {
            let topic = &fetch.topics[0];
            let data = PartitionData::default().with_records(Some(records.clone()));
            let topic = FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(vec![data]);
            reply(request, &FetchResponse::default().with_responses(vec![topic]))
        }
        _ => panic!("{request:?}"),
    }
}

/// A broker in a thread of its own; its port.
fn broker(server: Option<Arc<ServerConfig>>) -> u16 {
    let (told, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            told.send(port).unwrap();
            let mut records = BytesMut::new();
            records.put_bytes(7, BATCH_BYTES);
            let records = records.freeze();
            let answer = as_broker(1, Arc::new(Mutex::new(port)), move |request| answer(request, &records));
            let answer = Arc::new(Mutex::new(answer));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (answer, server) = (Arc::clone(&answer), server.clone());
                tokio::spawn(async move {
                    match server {
                        Some(server) => {
                            let stream = TlsAcceptor::from(server).accept(stream).await.unwrap();
                            serve(stream, answer).await;
                        }
                        None => serve(stream, answer).await,
                    }
                });
            }
        });
    });
    port.recv().unwrap()
}

async fn measure(name: &str, options: Options) {
    let cluster = Cluster::new(options);
    let topic = TopicPartition::new("t", 0);
    let connection = cluster.connect(BrokerId(1)).await.unwrap();
    let payload = Bytes::from(vec![7; BATCH_BYTES]);
    let (began, before) = (Instant::now(), spent());
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..ROUNDS {
        let batch = ProduceBatch { partition: topic.clone(), header: [7; 61], payload: payload.clone() };
        under_way.push_back(connection.produce(vec![batch], Duration::from_secs(20)));
        if under_way.len() > 4 {
            under_way.pop_front().unwrap().await.unwrap();
        }
    }
    for reply in under_way {
        reply.await.unwrap();
    }
    let produced = (spent() - before, began.elapsed());
    let options =
        FetchOptions { wait_max: Duration::from_secs(1), bytes_min: 1, committed_only: false, rack: None };
    let mut fetcher = Fetcher::new(cluster.connect(BrokerId(1)).await.unwrap(), options);
    let wanted = FetchPartition {
        partition: topic,
        topic_id: None,
        offset: Offset(0),
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
        bytes_max: 8 << 20,
    };
    let (began, before) = (Instant::now(), spent());
    for _ in 0..ROUNDS {
        fetcher.fetch(std::slice::from_ref(&wanted), 8 << 20, Duration::from_secs(1)).await.unwrap();
    }
    let fetched = (spent() - before, began.elapsed());
    println!("{name}: a gigabyte out {produced:.2?}, in {fetched:.2?} (processor, clock)");
}

#[tokio::test]
#[ignore = "a measurement, for a release build: see the head of this file"]
async fn tls_costs_little_per_gigabyte() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (plain, secured) = (broker(None), broker(Some(Arc::new(server))));
    let trust = StoreSource::Inline { certificates: Secret::new(certificate.pem()), key: None };
    for _ in 0..3 {
        measure("plain", Options::new("test", vec![format!("127.0.0.1:{plain}")])).await;
        let mut options = Options::new("test", vec![format!("127.0.0.1:{secured}")]);
        options.security.tls =
            Some(TlsOptions { trust: Trust::Store(trust.clone()), ..TlsOptions::default() });
        measure("tls", options).await;
    }
}
