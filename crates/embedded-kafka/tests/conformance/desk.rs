//! Where a check works: a connection, topics of its own, and the lines it notes.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use embedded_kafka::{ApiKey, Cluster, ErrorCode, Profile};
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use protocol::messages::create_topics_response::CreateTopicsResponse;
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::produce_request::ProduceRequest;
use protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use tokio::time::Instant;

use crate::client::{Client, change_request, fetch_request, produce_request, text, topic};

/// Between two questions of [`Desk::eventually`].
const PAUSE: Duration = Duration::from_millis(10);
/// What a broker may take to know what it has accepted, on a machine that is busy with other things.
const EVENTUALLY: Duration = Duration::from_secs(60);

/// Who is asked.
#[derive(Clone)]
pub(crate) enum Peer {
    /// Whoever listens there.
    At(String),
    /// A cluster of one broker in this process. Connections are in memory, so that its time may be paused.
    Embedded(Cluster),
}

impl Peer {
    pub(crate) async fn connect(&self, profile: Profile) -> Client {
        match self {
            Peer::At(address) => Client::open(address, profile).await,
            Peer::Embedded(cluster) => Client::in_memory(cluster, 0).unwrap(),
        }
    }
}

/// A check and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) check: String,
    pub(crate) answer: String,
}

pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) profile: Profile,
    pub(crate) peer: Peer,
    pub(crate) lines: Vec<Line>,
    pub(crate) now_ms: i64,
    topics: usize,
}

impl Desk {
    pub(crate) async fn new(peer: Peer, profile: Profile) -> Desk {
        let client = peer.connect(profile).await;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_ms = i64::try_from(since_epoch.as_millis()).unwrap();
        Desk { client, profile, peer, lines: Vec::new(), now_ms, topics: 0 }
    }

    pub(crate) fn note(&mut self, check: &str, answer: impl Display) {
        self.lines.push(Line { check: check.to_owned(), answer: answer.to_string() });
    }

    pub(crate) async fn connect(&self) -> Client {
        self.peer.connect(self.profile).await
    }

    /// Another connection, after the broker has closed the one there was.
    pub(crate) async fn reconnect(&mut self) {
        self.client = self.connect().await;
    }

    /// Asks again and again until there is an answer, with a pause in between: what a real broker has accepted it
    /// knows a moment later, and there is nothing that it tells when it does. The broker in this process answers at
    /// once. Panics where the answer takes too long.
    pub(crate) async fn eventually<T>(
        &mut self,
        what: &str,
        mut ask: impl AsyncFnMut(&mut Desk) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + EVENTUALLY;
        loop {
            if let Some(answer) = ask(self).await {
                return answer;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until a topic is known to its leader, which is later than to who creates it.
    pub(crate) async fn topic_comes(&mut self, name: &str) {
        let led = async |desk: &mut Desk| desk.list_offset(name, -2).await.0.is_ok().then_some(());
        self.eventually(&format!("topic {name}"), led).await;
    }

    /// A topic of one partition that takes batches already.
    pub(crate) async fn topic(&mut self, configs: &[(&str, &str)]) -> String {
        self.topics += 1;
        let name = format!("topic-{}", self.topics);
        let code = self.create(&name, 1, 1, configs).await;
        assert_eq!(code, ErrorCode::NONE, "{name}");
        self.topic_comes(&name).await;
        name
    }

    pub(crate) async fn create(
        &mut self,
        name: &str,
        partitions: i32,
        factor: i16,
        configs: &[(&str, &str)],
    ) -> ErrorCode {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let created = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![created]).with_timeout_ms(10_000);
        let response: CreateTopicsResponse = self.client.call(ApiKey::CreateTopics, 2, &request).await;
        ErrorCode(response.topics[0].error_code)
    }

    pub(crate) async fn set(&mut self, name: &str, key: &str, value: &str) {
        assert_ne!(self.profile, Profile::V1_1, "1.1 has no such request");
        let request = change_request(2, name, &[(key, 0, Some(value))]);
        let response: protocol::messages::IncrementalAlterConfigsResponse =
            self.client.call(ApiKey::IncrementalAlterConfigs, 0, &request).await;
        assert_eq!(response.responses[0].error_code, 0);
    }

    pub(crate) fn produce_version(&self) -> i16 {
        if self.profile == Profile::V1_1 { 5 } else { 8 }
    }

    /// Offers a batch to partition 0; `None` if the broker closes the connection.
    pub(crate) async fn offer(&mut self, name: &str, batch: Bytes) -> Option<PartitionProduceResponse> {
        self.offer_with(self.produce_version(), &produce_request(None, &[(name, 0, batch)])).await
    }

    pub(crate) async fn offer_with(
        &mut self,
        version: i16,
        request: &ProduceRequest,
    ) -> Option<PartitionProduceResponse> {
        self.client.send(ApiKey::Produce, version, request).await;
        let response: std::io::Result<ProduceResponse> = self.client.receive(ApiKey::Produce, version).await;
        match response {
            Ok(mut response) => Some(response.responses.remove(0).partition_responses.remove(0)),
            Err(_) => {
                self.reconnect().await;
                None
            }
        }
    }

    /// Offers a batch and notes the answer.
    pub(crate) async fn note_offer(&mut self, check: &str, name: &str, batch: Bytes) {
        let reply = self.offer(name, batch).await;
        let answer = self.describe(reply);
        self.note(check, answer);
    }

    /// A reply in words: its time only as far as it tells CreateTime, LogAppendTime and duplicates apart.
    pub(crate) fn describe(&self, reply: Option<PartitionProduceResponse>) -> String {
        let Some(reply) = reply else { return "closes the connection".to_owned() };
        let time = if reply.log_append_time_ms == -1 { "no time" } else { "a time" };
        let blamed: Vec<i32> = reply.record_errors.iter().map(|error| error.batch_index).collect();
        format!(
            "{} base {} {time} start {} blames {blamed:?}",
            ErrorCode(reply.error_code),
            reply.base_offset,
            reply.log_start_offset
        )
    }

    /// How a partition is answered that one request names twice, whether once or twice.
    pub(crate) async fn list_offset_twice(&mut self, name: &str) -> BTreeSet<i16> {
        use protocol::messages::list_offsets_request::*;
        let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
        let partitions = vec![partition.clone(), partition];
        let asked = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(partitions);
        let request = ListOffsetsRequest::default().with_topics(vec![asked]).with_replica_id((-1).into());
        let response: protocol::messages::ListOffsetsResponse =
            self.client.call(ApiKey::ListOffsets, 2, &request).await;
        response.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code).collect()
    }

    pub(crate) async fn list_offset(&mut self, name: &str, at: i64) -> (ErrorCode, i64) {
        use protocol::messages::list_offsets_request::*;
        let partition = ListOffsetsPartition::default().with_timestamp(at).with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![asked]).with_replica_id((-1).into());
        let response: protocol::messages::ListOffsetsResponse =
            self.client.call(ApiKey::ListOffsets, 2, &request).await;
        let partition = &response.topics[0].partitions[0];
        (ErrorCode(partition.error_code), partition.offset)
    }

    /// Fetches partition 0 from `offset` with a limit, without waiting.
    pub(crate) async fn fetch(&mut self, name: &str, offset: i64, bytes_max: i32) -> PartitionData {
        let mut request = fetch_request(offset).with_replica_id((-1).into());
        request.topics[0].topic = topic(name);
        request.topics[0].partitions[0].partition_max_bytes = bytes_max;
        let version = if self.profile == Profile::V1_1 { 7 } else { 11 };
        let mut response: protocol::messages::FetchResponse =
            self.client.call(ApiKey::Fetch, version, &request).await;
        response.responses.remove(0).partitions.remove(0)
    }

    /// Notes every batch header of a log, but for leader epochs and what depends on the time of the run.
    pub(crate) async fn note_log(&mut self, check: &str, name: &str) {
        let fetched = self.fetch(name, 0, 1 << 20).await;
        let start = self.now_ms;
        let mut told = Vec::new();
        for entry in record_batch::split(fetched.records.unwrap_or_default()) {
            let entry = entry.unwrap();
            let sound = if entry.verify_crc().is_ok() { "sound" } else { "unsound" };
            let record_batch::Entry::Batch(batch) = entry else {
                panic!("only new batches are produced here")
            };
            let header = batch.header;
            let since =
                |time: i64| if time < start - 1_000_000 { time } else { 1_000_000_000 + time - start };
            let times = match header.is_log_append_time() || header.is_control() {
                true => "times of the broker".to_owned(),
                false => format!("times {} {}", since(header.base_timestamp), since(header.max_timestamp)),
            };
            // How well a codec compresses is nobody's promise.
            let size = match header.codec().unwrap() {
                record_batch::Codec::None => batch.bytes.len().to_string(),
                codec => codec.to_string(),
            };
            told.push(format!(
                "[{}..{} attributes {:#x} {times} sequence {} count {} {sound} bytes {size}]",
                header.base_offset,
                header.last_offset(),
                header.attributes,
                header.base_sequence,
                header.record_count,
            ));
        }
        let end = fetched.high_watermark;
        let stable = fetched.last_stable_offset;
        self.note(check, format!("end {end} stable {stable} {}", told.join(" ")));
    }
}
