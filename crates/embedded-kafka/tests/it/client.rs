//! One connection that writes a request and reads its reply, and the batches that tests send.

use std::io;

use bytes::{Bytes, BytesMut};
use embedded_kafka::{ApiKey, Cluster, Config, ErrorCode, Profile};
use model::{Offset, ProducerId};
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::fetch_response::{FetchResponse, PartitionData};
use protocol::messages::incremental_alter_configs_request as incremental;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsResponse;
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use protocol::messages::{ResponseHeader, TopicName, TransactionalId};
use protocol::{Decodable, Encodable, StrBytes};
use record_batch::{BatchBuilder, Codec, ProducerStamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const NOW_MS: i64 = 1_790_000_000_000;

/// A socket, or a connection in memory.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to one broker.
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    address: String,
    correlation_id: i32,
    produce_version: i16,
    fetch_version: i16,
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A cluster at a fixed time, with a topic `t` of one partition.
pub(crate) async fn cluster(brokers: usize, profile: Profile) -> Cluster {
    let config = Config { start_ms: Some(NOW_MS), ..Config::new(brokers, profile) };
    let cluster = Cluster::start(config).await.unwrap();
    cluster.create_topic("t", 1, &[]);
    cluster
}

/// One broker, its topic `t`, and a connection to it.
pub(crate) async fn single(profile: Profile) -> (Cluster, Client) {
    let cluster = cluster(1, profile).await;
    let client = Client::connect(&cluster, 0).await;
    (cluster, client)
}

impl Client {
    pub(crate) async fn connect(cluster: &Cluster, broker: i32) -> Client {
        Client::open(&cluster.broker(broker).address().to_string(), cluster.profile()).await
    }

    /// A connection to whatever listens at `address` and is of that version.
    pub(crate) async fn open(address: &str, profile: Profile) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        Client::over(Box::new(stream), address, profile)
    }

    /// A connection in memory.
    pub(crate) fn in_memory(cluster: &Cluster, broker: i32) -> io::Result<Client> {
        let address = cluster.broker(broker).address();
        let stream = cluster.connect(address.port())?;
        Ok(Client::over(Box::new(stream), &address.to_string(), cluster.profile()))
    }

    /// Whether the broker at its other end is this one.
    pub(crate) fn is_to(&self, cluster: &Cluster, broker: i32) -> bool {
        self.address == cluster.broker(broker).address().to_string()
    }

    fn over(stream: Box<dyn Duplex>, address: &str, profile: Profile) -> Client {
        let (produce_version, fetch_version) = match profile {
            Profile::V1_1 => (5, 7),
            Profile::V2_8 => (8, 12),
            Profile::V3_9 => (8, 12),
            Profile::V4_3 => (8, 12),
        };
        let address = address.to_owned();
        Client { stream, address, correlation_id: 0, produce_version, fetch_version }
    }

    pub(crate) fn produce_version(mut self, version: i16) -> Client {
        self.produce_version = version;
        self
    }

    pub(crate) fn fetch_version(mut self, version: i16) -> Client {
        self.fetch_version = version;
        self
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, api: ApiKey, version: i16, body: &impl Encodable) {
        self.correlation_id += 1;
        let frame = protocol::encode_request(api, version, self.correlation_id, "test", body).unwrap();
        self.write(&frame).await;
    }

    /// The next frame, without its length.
    pub(crate) async fn read_frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let mut frame = BytesMut::zeroed(usize::try_from(length).unwrap());
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.freeze())
    }

    pub(crate) async fn receive<T: Decodable>(&mut self, api: ApiKey, version: i16) -> io::Result<T> {
        let frame = self.read_frame().await?;
        assert_eq!(protocol::correlation_id(&frame), Some(self.correlation_id));
        Ok(decode(api, version, frame))
    }

    pub(crate) async fn call<T: Decodable>(&mut self, api: ApiKey, version: i16, body: &impl Encodable) -> T {
        self.send(api, version, body).await;
        self.receive(api, version).await.unwrap()
    }

    /// Produces one batch to `t-0` with acks=all.
    pub(crate) async fn produce(&mut self, batch: Bytes) -> PartitionProduceResponse {
        let request = produce_request(None, &[("t", 0, batch)]);
        self.produce_all(&request).await.remove(0)
    }

    pub(crate) async fn produce_all(&mut self, request: &ProduceRequest) -> Vec<PartitionProduceResponse> {
        let version = self.produce_version;
        let response: ProduceResponse = self.call(ApiKey::Produce, version, request).await;
        response.responses.into_iter().flat_map(|topic| topic.partition_responses).collect()
    }

    /// The error code and base offset of a produce to `t-0`.
    pub(crate) async fn offer(&mut self, batch: Bytes) -> (ErrorCode, i64) {
        let reply = self.produce(batch).await;
        (ErrorCode(reply.error_code), reply.base_offset)
    }

    /// The same, on a connection that may end.
    pub(crate) async fn try_offer(&mut self, batch: Bytes) -> io::Result<(ErrorCode, i64)> {
        let (version, request) = (self.produce_version, produce_request(None, &[("t", 0, batch)]));
        self.correlation_id += 1;
        let api = ApiKey::Produce;
        let frame = protocol::encode_request(api, version, self.correlation_id, "test", &request).unwrap();
        self.stream.write_all(&frame).await?;
        let response: ProduceResponse = self.receive(api, version).await?;
        let reply = &response.responses[0].partition_responses[0];
        Ok((ErrorCode(reply.error_code), reply.base_offset))
    }

    /// Fetches `t-0` from `offset`, without waiting or a session.
    pub(crate) async fn fetch(&mut self, offset: i64) -> PartitionData {
        let request = fetch_request(offset);
        let mut response = self.fetch_with(&request).await;
        response.responses.remove(0).partitions.remove(0)
    }

    pub(crate) async fn fetch_with(&mut self, request: &FetchRequest) -> FetchResponse {
        self.call(ApiKey::Fetch, self.fetch_version, request).await
    }

    /// The offset of `t-0` at a time; -1 is the end, -2 the start.
    pub(crate) async fn offset_at(&mut self, timestamp: i64) -> (ErrorCode, i64) {
        let partition =
            ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![asked]);
        let response: ListOffsetsResponse = self.call(ApiKey::ListOffsets, 2, &request).await;
        let partition = &response.topics[0].partitions[0];
        (ErrorCode(partition.error_code), partition.offset)
    }

    /// Whether the broker has closed the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.stream.read_u8().await.is_err()
    }
}

/// Reads a response, in versions that the product does not speak too.
pub(crate) fn decode<T: Decodable>(api: ApiKey, version: i16, mut frame: Bytes) -> T {
    ResponseHeader::decode(&mut frame, api.response_header_version(version)).unwrap();
    let body = T::decode(&mut frame, version).unwrap();
    assert!(frame.is_empty(), "{} bytes left over in a {api:?} response", frame.len());
    body
}

pub(crate) fn produce_request(
    transactional_id: Option<&str>,
    batches: &[(&str, i32, Bytes)],
) -> ProduceRequest {
    let topics = batches.iter().map(|(name, index, batch)| {
        let data = PartitionProduceData::default().with_index(*index).with_records(Some(batch.clone()));
        TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data])
    });
    ProduceRequest::default()
        .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(topics.collect())
}

pub(crate) fn fetch_request(offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic("t")).with_partitions(vec![partition])])
}

/// A name, what is to be done with it (0 set, 1 delete, 2 append, 3 subtract), and a value.
pub(crate) type Change<'a> = (&'a str, i8, Option<&'a str>);

/// To change settings of one resource: kind 2 is a topic, 4 a broker.
pub(crate) fn change_request(
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
) -> incremental::IncrementalAlterConfigsRequest {
    let configs = changes.iter().map(|(name, operation, value)| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    incremental::IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// A batch of `count` records with times from now on, as a producer sends it.
pub(crate) fn batch(count: i32) -> Bytes {
    batch_of(count, BatchBuilder::new(Codec::None), NOW_MS)
}

/// A batch of an idempotent producer.
pub(crate) fn stamped(producer_id: i64, epoch: i16, sequence: i32, count: i32) -> Bytes {
    stamped_at(producer_id, epoch, sequence, count, NOW_MS)
}

pub(crate) fn stamped_at(producer_id: i64, epoch: i16, sequence: i32, count: i32, at_ms: i64) -> Bytes {
    batch_of(count, BatchBuilder::new(Codec::None).stamp(stamp(producer_id, epoch, sequence)), at_ms)
}

pub(crate) fn stamp(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> ProducerStamp {
    ProducerStamp { producer_id: ProducerId(producer_id), producer_epoch, base_sequence }
}

pub(crate) fn batch_of(count: i32, mut builder: BatchBuilder, at_ms: i64) -> Bytes {
    for index in 0..count {
        let key = format!("key {index}");
        let value = format!("value {index}");
        builder.append(
            at_ms + i64::from(index),
            Some(key.as_bytes()),
            Some(value.as_bytes()),
            &[("h", None)],
        );
    }
    builder.build()
}

/// A batch at an offset, for placing into a log directly.
pub(crate) fn batch_at(base_offset: i64, count: i32) -> Bytes {
    batch_of(count, BatchBuilder::new(Codec::None).base_offset(Offset(base_offset)), NOW_MS)
}
