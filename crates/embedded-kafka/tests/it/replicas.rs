use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile, Transport};
use protocol::messages::metadata_request::MetadataRequest;
use protocol::messages::metadata_response::MetadataResponse;

use crate::client::{Client, NOW_MS, batch, cluster, produce_request, stamped, stamped_at};

use ErrorCode as E;

const MODERN: [Profile; 3] = [Profile::V2_8, Profile::V3_9, Profile::V4_3];
const PID: i64 = 99;

#[tokio::test]
async fn a_broker_that_stops_refuses_connections_and_its_partitions_move() {
    for profile in [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3] {
        let cluster = cluster(3, profile).await;
        let mut client = Client::connect(&cluster, 0).await;
        client.offer(batch(10)).await;
        cluster.broker(0).stop().await;
        assert!(client.is_closed().await);
        assert!(tokio::net::TcpStream::connect(cluster.broker(0).address()).await.is_err());
        assert_eq!((cluster.leader("t", 0), cluster.leader_epoch("t", 0)), (Some(1), 1));
        let mut client = Client::connect(&cluster, 1).await;
        assert_eq!(client.offer(batch(5)).await, (E::NONE, 10));
        let all = MetadataRequest::default().with_topics(None);
        let response: MetadataResponse = client.call(ApiKey::Metadata, 5, &all).await;
        assert_eq!(response.brokers.len(), 2);
        let partition = &response.topics[0].partitions[0];
        assert_eq!(
            (partition.leader_id.0, partition.isr_nodes.len(), partition.offline_replicas.len()),
            (1, 2, 1)
        );
        cluster.broker(0).start().await.unwrap();
        let response: MetadataResponse = client.call(ApiKey::Metadata, 5, &all).await;
        assert_eq!(response.topics[0].partitions[0].isr_nodes.len(), 3);
        Client::connect(&cluster, 0).await;
    }
}

/// Over sockets and in memory: there a stop has nothing to wait for but the connections.
#[tokio::test]
async fn a_start_while_a_stop_is_under_way_comes_after_it() {
    for config in [Config::new(1, Profile::V4_3), Config::new(1, Profile::V4_3).in_memory()] {
        let in_memory = config.transport == Transport::InMemory;
        let cluster = Cluster::start(config).await.unwrap();
        cluster.create_topic("t", 1, &[]);
        let broker = cluster.broker(0);
        let connected = cluster.connect(broker.address().port()).unwrap();
        let ((), started) = tokio::join!(broker.stop(), broker.start());
        started.unwrap();
        drop(connected);
        assert_eq!(cluster.leader("t", 0), Some(0));
        let mut client = match in_memory {
            true => Client::in_memory(&cluster, 0).unwrap(),
            false => Client::connect(&cluster, 0).await,
        };
        assert_eq!(client.offer(batch(1)).await.0, E::NONE);
    }
}

#[tokio::test]
async fn the_last_in_sync_replica_takes_its_partition_with_it_unless_unclean_elections_are_allowed() {
    let cluster = cluster(2, Profile::V4_3).await;
    cluster.create_topic("unclean", 1, &[("unclean.leader.election.enable", "true")]);
    let mut client = Client::connect(&cluster, 0).await;
    let both = produce_request(None, &[("t", 0, batch(10)), ("unclean", 0, batch(10))]);
    client.produce_all(&both).await;
    cluster.shrink_isr("t", 0, 1);
    cluster.shrink_isr("unclean", 0, 1);
    client.produce_all(&both).await;
    cluster.broker(0).stop().await;
    assert_eq!(cluster.leader("t", 0), None);
    assert_eq!((cluster.leader("unclean", 0), cluster.end_offset("unclean", 0).unwrap()), (Some(1), 10));
    cluster.broker(0).start().await.unwrap();
    assert_eq!((cluster.leader("t", 0), cluster.end_offset("t", 0).unwrap()), (Some(0), 20));
}

#[tokio::test]
async fn acks_of_all_wait_for_a_follower_that_is_behind() {
    for profile in MODERN {
        let cluster = cluster(2, profile).await;
        let mut client = Client::connect(&cluster, 0).await;
        client.offer(stamped(PID, 0, 0, 10)).await;
        cluster.pause_follower("t", 0, 1);
        let request = produce_request(None, &[("t", 0, stamped(PID, 0, 10, 10))]).with_timeout_ms(20);
        let late = client.produce_all(&request).await.remove(0);
        // With the real base offset: appended there, not replicated yet.
        assert_eq!((E(late.error_code), late.base_offset), (E::REQUEST_TIMED_OUT, 10));
        assert_eq!((cluster.end_offset("t", 0).unwrap(), cluster.high_watermark("t", 0).unwrap()), (20, 10));
        // What the leader remembers is ahead of what consumers see.
        assert_eq!(cluster.last_sequence("t", 0, PID), Some(19));
        assert_eq!(client.offset_at(-1).await, (E::NONE, 10));
        let fetched = client.fetch(0).await;
        assert_eq!(
            (fetched.high_watermark, fetched.records.unwrap().len()),
            (10, cluster.log("t", 0).unwrap()[0].len())
        );

        let resend = produce_request(None, &[("t", 0, stamped(PID, 0, 10, 10))]);
        client.send(ApiKey::Produce, 8, &resend).await;
        tokio::task::yield_now().await;
        cluster.resume_follower("t", 0, 1);
        let reply: protocol::messages::produce_response::ProduceResponse =
            client.receive(ApiKey::Produce, 8).await.unwrap();
        let reply = &reply.responses[0].partition_responses[0];
        assert_eq!((reply.error_code, reply.base_offset), (0, 10));
    }
}

#[tokio::test]
async fn too_few_replicas_refuse_even_what_is_in_the_log_already() {
    let cluster = cluster(2, Profile::V3_9).await;
    cluster.set_topic_config("t", "min.insync.replicas", Some("2"));
    let mut client = Client::connect(&cluster, 0).await;
    client.offer(stamped(PID, 0, 0, 10)).await;
    cluster.shrink_isr("t", 0, 1);
    assert_eq!(client.offer(stamped(PID, 0, 0, 10)).await, (E::NOT_ENOUGH_REPLICAS, -1));
    let weak = produce_request(None, &[("t", 0, stamped(PID, 0, 10, 10))]).with_acks(1);
    assert_eq!(client.produce_all(&weak).await[0].error_code, 0);
    cluster.resume_follower("t", 0, 1);
    assert_eq!(client.offer(stamped(PID, 0, 10, 10)).await, (E::NONE, 10));
}

#[tokio::test]
async fn old_records_lose_their_producer_on_a_replica_that_was_restarted_and_leads_again() {
    for profile in MODERN {
        let cluster = cluster(2, profile).await;
        cluster.set_topic_config("t", "retention.ms", Some("-1"));
        let old = NOW_MS - 8 * 86_400_000;
        let mut client = Client::connect(&cluster, 0).await;
        client.offer(stamped_at(PID, 0, 0, 10, old)).await;
        cluster.broker(0).stop().await;
        // The follower that takes over has not swept yet.
        assert_eq!(cluster.last_sequence("t", 0, PID), Some(9));
        cluster.broker(0).start().await.unwrap();
        cluster.move_leader("t", 0, 0);
        assert_eq!(cluster.last_sequence("t", 0, PID), None);
        let mut client = Client::connect(&cluster, 0).await;
        assert_eq!(client.offer(stamped_at(PID, 0, 0, 10, old)).await, (E::NONE, 10));
    }
}

#[tokio::test]
async fn an_unclean_leader_that_was_behind_knows_what_it_has() {
    let cluster = cluster(2, Profile::V4_3).await;
    cluster.set_topic_config("t", "unclean.leader.election.enable", Some("true"));
    let mut client = Client::connect(&cluster, 0).await;
    client.offer(stamped(PID, 0, 0, 50)).await;
    cluster.shrink_isr("t", 0, 1);
    client.offer(stamped(PID, 0, 50, 50)).await;
    cluster.broker(0).stop().await;
    let mut client = Client::connect(&cluster, 1).await;
    assert_eq!(client.offset_at(-1).await, (E::NONE, 50));
    assert_eq!(client.offer(stamped(PID, 0, 100, 10)).await.0, E::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(client.offer(stamped(PID, 0, 50, 50)).await, (E::NONE, 50));
    cluster.broker(0).start().await.unwrap();
    assert_eq!(cluster.leader("t", 0), Some(1));
    assert_eq!(cluster.end_offset("t", 0).unwrap(), 100);
}

#[tokio::test]
async fn a_fetch_that_waits_learns_that_the_leader_moved() {
    let cluster = cluster(2, Profile::V4_3).await;
    let mut client = Client::connect(&cluster, 0).await.fetch_version(10);
    let came = cluster.on(ApiKey::Fetch).look(|_| ());
    client.send(ApiKey::Fetch, 10, &crate::client::fetch_request(0).with_max_wait_ms(60_000)).await;
    came.happened().await;
    cluster.move_leader("t", 0, 1);
    let response: protocol::messages::FetchResponse = client.receive(ApiKey::Fetch, 10).await.unwrap();
    assert_eq!(E(response.responses[0].partitions[0].error_code), E::NOT_LEADER_OR_FOLLOWER);
}
