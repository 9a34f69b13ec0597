//! Over real sockets: what connections in memory cannot show.

use bytes::Bytes;
use client::{CallError, Cluster, Options, Wanted};
use embedded_kafka::{Config, Profile};

use crate::embedded::{offer, read};
use crate::not_kafka::chain;

#[tokio::test]
async fn batches_go_to_a_broker_and_come_back_over_tcp() {
    let kafka = embedded_kafka::Cluster::start(Config::new(2, Profile::V4_3)).await.unwrap();
    kafka.create_topic("t", 4, &[]);
    let client = Cluster::new(Options::new("test", kafka.bootstrap()));
    for partition in 0..4 {
        let value = Bytes::from(vec![7; 900_000]);
        assert_eq!(offer(&client, &kafka, partition, &value).await, 0);
        assert_eq!(read(&client, &kafka, partition).await, [value]);
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told_with_the_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Cluster::new(Options::new("test", vec![format!("127.0.0.1:{port}")]));
    let error = client.metadata(Wanted::All).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }) && !error.maybe_written(), "{error}");
    let said = chain(&error);
    assert!(said.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{said}");
    assert!(said.contains("refused"), "{said}");
}
