//! Fetch: what to read, and the records as slices of the reply.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use model::{BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId, TopicName, TopicPartition};

use crate::produce::{known, throttle};
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{ApiKey, DecodeError, ErrorCode};

/// The first version that names topics by id only.
pub const TOPIC_IDS_SINCE: i16 = 13;
/// The first version that tells where the leader's log parts from what was read.
pub const DIVERGENCE_SINCE: i16 = 12;
/// The first version with fetch sessions.
pub const SESSIONS_SINCE: i16 = 7;

/// One partition to read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, where known.
    pub topic_id: Option<TopicId>,
    /// The first offset wanted.
    pub offset: Offset,
    /// The leader epoch our metadata says, so that a broker can tell that it is old (version 9 and above).
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last batch read, so that the leader can tell that its log diverges (12 and above).
    pub last_fetched_epoch: LeaderEpoch,
    /// How much of it to read at most, in bytes; a larger first batch still comes whole.
    pub bytes_max: usize,
}

/// A partition that the session shall no longer read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forgotten {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id, where the session names topics by id.
    pub topic_id: Option<TopicId>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct FetchRequest<'a> {
    /// How long the broker may wait for `bytes_min`.
    pub wait_max: Duration,
    /// How much makes an answer worth sending, in bytes.
    pub bytes_min: usize,
    /// How much to answer at most, in bytes; a larger first batch still comes whole.
    pub bytes_max: usize,
    /// Only records of committed transactions, and the list of aborted ones.
    pub committed_only: bool,
    /// The session, 0 for none.
    pub session_id: i32,
    /// 0 asks for a new session, -1 for none, else the number of the request within the session.
    pub session_epoch: i32,
    /// What to read, or what changed of it.
    pub partitions: &'a [FetchPartition],
    /// What the session shall forget.
    pub forgotten: &'a [Forgotten],
    /// Where we are, for fetching from a near replica; empty for nowhere (11 and above).
    pub rack: &'a str,
}

/// One reply.
#[derive(Clone, Debug, Default)]
pub struct FetchResponse {
    /// How long to ask nothing more on the connection (KIP-219).
    pub throttle: Duration,
    /// About the request as a whole, sessions mostly.
    pub error: ErrorCode,
    /// The session the broker keeps for us, 0 for none.
    pub session_id: i32,
    /// What was read.
    pub partitions: Vec<Fetched>,
}

/// What was read of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// [`ErrorCode::NONE`], or why nothing was read.
    pub error: ErrorCode,
    /// The end of what is replicated.
    pub high_watermark: Option<Offset>,
    /// The end of what no open transaction holds back.
    pub last_stable_offset: Option<Offset>,
    /// Where the log starts (version 5 and above).
    pub log_start_offset: Option<Offset>,
    /// Transactions that were aborted, by producer and first offset; in no order.
    pub aborted: Vec<(ProducerId, Offset)>,
    /// The replica to read from instead (version 11 and above).
    pub preferred_replica: Option<BrokerId>,
    /// Where the leader's log parts from what we read: the last epoch in common and its end (12 and above).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Batches, the last perhaps cut off; a slice of the reply.
    pub records: Bytes,
}

fn is_flexible(version: i16) -> bool {
    version >= 12
}

/// The whole frame of a request, length prefix included.
///
/// From [`TOPIC_IDS_SINCE`] on every partition must have its topic's id.
pub fn encode(version: i16, correlation_id: i32, client_id: &str, request: &FetchRequest<'_>) -> Bytes {
    let mut writer = Writer::new(is_flexible(version));
    writer.out.put_i32(0);
    writer.request_header(ApiKey::Fetch as i16, version, correlation_id, client_id);
    if version <= 14 {
        writer.i32(-1); // replica id: a consumer
    }
    writer.i32(i32::try_from(request.wait_max.as_millis()).unwrap_or(i32::MAX));
    writer.i32(clamped(request.bytes_min));
    writer.i32(clamped(request.bytes_max));
    writer.i8(i8::from(request.committed_only));
    if version >= SESSIONS_SINCE {
        writer.i32(request.session_id);
        writer.i32(request.session_epoch);
    }
    // Partitions stay in the order given, which is the order in which the broker serves them; a topic may
    // so be listed more than once.
    let topics = request
        .partitions
        .chunk_by(|a, b| a.partition.topic == b.partition.topic && a.topic_id == b.topic_id);
    writer.count(topics.clone().count());
    for topic in topics {
        write_topic(&mut writer, version, &topic[0].partition.topic, topic[0].topic_id);
        writer.count(topic.len());
        for wanted in topic {
            writer.i32(wanted.partition.partition.0);
            if version >= 9 {
                writer.i32(wanted.current_leader_epoch.0);
            }
            writer.i64(wanted.offset.0);
            if version >= 12 {
                writer.i32(wanted.last_fetched_epoch.0);
            }
            if version >= 5 {
                writer.i64(-1); // log start offset: a follower's
            }
            writer.i32(clamped(wanted.bytes_max));
            writer.no_tags();
        }
        writer.no_tags();
    }
    if version >= SESSIONS_SINCE {
        let topics = request
            .forgotten
            .chunk_by(|a, b| a.partition.topic == b.partition.topic && a.topic_id == b.topic_id);
        writer.count(topics.clone().count());
        for topic in topics {
            write_topic(&mut writer, version, &topic[0].partition.topic, topic[0].topic_id);
            writer.count(topic.len());
            for gone in topic {
                writer.i32(gone.partition.partition.0);
            }
            writer.no_tags();
        }
    }
    if version >= 11 {
        writer.string(request.rack);
    }
    writer.no_tags();
    crate::frame::finish(writer.out)
}

fn clamped(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn write_topic(writer: &mut Writer, version: i16, name: &TopicName, id: Option<TopicId>) {
    if version >= TOPIC_IDS_SINCE {
        writer.uuid(id.map_or([0; 16], |id| id.0));
    } else {
        writer.string(name.as_str());
    }
}

/// Reads a response: `frame` is without its length, correlation id included. `names` says the name of each
/// topic id asked for; it is used from [`TOPIC_IDS_SINCE`] on.
///
/// # Errors
/// [`DecodeError`] if it is not a response of that version, or answers about a topic not asked for.
pub fn decode(
    version: i16,
    frame: Bytes,
    names: &HashMap<TopicId, TopicName>,
) -> Result<FetchResponse, DecodeError> {
    let mut reader = Reader::new(frame, is_flexible(version));
    reader.i32()?; // correlation id
    reader.skip_tags()?;
    let throttle = throttle(reader.i32()?);
    let (error, session_id) = if version >= SESSIONS_SINCE {
        (ErrorCode(reader.i16()?), reader.i32()?)
    } else {
        (ErrorCode::NONE, 0)
    };
    let mut partitions = Vec::new();
    for _ in 0..reader.count(2)? {
        let topic = if version >= TOPIC_IDS_SINCE {
            let id = TopicId(reader.uuid()?);
            names.get(&id).cloned().ok_or(DecodeError::TopicId { id })?
        } else {
            TopicName::from(reader.string()?)
        };
        for _ in 0..reader.count(24)? {
            partitions.push(read_partition(&mut reader, version, &topic)?);
        }
        reader.skip_tags()?;
    }
    reader.skip_tags()?;
    reader.end()?;
    Ok(FetchResponse { throttle, error, session_id, partitions })
}

fn read_partition(reader: &mut Reader, version: i16, topic: &TopicName) -> Result<Fetched, DecodeError> {
    let partition = TopicPartition { topic: topic.clone(), partition: PartitionId(reader.i32()?) };
    let error = ErrorCode(reader.i16()?);
    let high_watermark = known(reader.i64()?).map(Offset);
    let last_stable_offset = known(reader.i64()?).map(Offset);
    let log_start_offset = if version >= 5 { known(reader.i64()?).map(Offset) } else { None };
    let count = reader.count(16)?;
    let mut aborted = Vec::with_capacity(count);
    for _ in 0..count {
        aborted.push((ProducerId(reader.i64()?), Offset(reader.i64()?)));
        reader.skip_tags()?;
    }
    let preferred_replica =
        if version >= 11 { Some(reader.i32()?).filter(|&id| id >= 0).map(BrokerId) } else { None };
    let records = reader.bytes()?;
    let mut diverging = None;
    reader.tags(|tag, field| {
        if tag == 0 {
            let (epoch, end_offset) = (field.i32()?, field.i64()?);
            // (-1, -1) is the field's default: nothing diverges.
            diverging = (end_offset >= 0).then_some((LeaderEpoch(epoch), Offset(end_offset)));
        }
        Ok(())
    })?;
    Ok(Fetched {
        partition,
        error,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted,
        preferred_replica,
        diverging,
        records,
    })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
    };
    use kafka_protocol::messages::{self, RequestHeader, ResponseHeader};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::*;

    const ID: TopicId = TopicId([7; 16]);

    fn wanted(partition: i32) -> FetchPartition {
        FetchPartition {
            partition: TopicPartition::new("t", partition),
            topic_id: Some(ID),
            offset: Offset(1000),
            current_leader_epoch: LeaderEpoch(4),
            last_fetched_epoch: LeaderEpoch(3),
            bytes_max: 1 << 20,
        }
    }

    #[test]
    fn the_request_is_what_the_generated_decoder_reads() {
        let partitions = [wanted(0), wanted(5)];
        let forgotten = [Forgotten { partition: TopicPartition::new("t", 9), topic_id: Some(ID) }];
        let request = FetchRequest {
            wait_max: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: usize::MAX,
            committed_only: true,
            session_id: 77,
            session_epoch: 3,
            partitions: &partitions,
            forgotten: &forgotten,
            rack: "r1",
        };
        for version in 4..=17 {
            let mut frame = encode(version, 8, "me", &request);
            let length = frame.split_to(4);
            assert_eq!(i32::from_be_bytes(length[..].try_into().unwrap()) as usize, frame.len());
            let header =
                RequestHeader::decode(&mut frame, ApiKey::Fetch.request_header_version(version)).unwrap();
            assert_eq!((header.request_api_key, header.correlation_id), (1, 8));
            let read = messages::FetchRequest::decode(&mut frame, version).unwrap();
            assert!(frame.is_empty(), "version {version}");
            assert_eq!(read.replica_id.0, -1);
            assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (500, 1, i32::MAX));
            assert_eq!(read.isolation_level, 1);
            if version >= 7 {
                assert_eq!((read.session_id, read.session_epoch), (77, 3));
                assert_eq!(read.forgotten_topics_data[0].partitions, [9]);
            }
            let [topic] = &read.topics[..] else { panic!("{read:?}") };
            if version >= 13 {
                assert_eq!(topic.topic_id.as_bytes(), &ID.0);
            } else {
                assert_eq!(topic.topic.as_str(), "t");
            }
            let read_partition = &topic.partitions[1];
            assert_eq!((read_partition.partition, read_partition.fetch_offset), (5, 1000));
            assert_eq!(read_partition.partition_max_bytes, 1 << 20);
            assert_eq!(read_partition.current_leader_epoch, if version >= 9 { 4 } else { -1 });
            assert_eq!(read_partition.last_fetched_epoch, if version >= 12 { 3 } else { -1 });
            assert_eq!(read.rack_id.as_str(), if version >= 11 { "r1" } else { "" });
        }
    }

    fn reply(version: i16, records: Option<Bytes>) -> Bytes {
        let mut data = PartitionData::default()
            .with_partition_index(5)
            .with_error_code(0)
            .with_high_watermark(2000)
            .with_last_stable_offset(1999)
            .with_aborted_transactions(Some(vec![
                AbortedTransaction::default().with_producer_id(6.into()).with_first_offset(1001),
            ]))
            .with_records(records);
        if version >= 5 {
            data = data.with_log_start_offset(10);
        }
        if version >= 11 {
            data = data.with_preferred_read_replica(3.into());
        }
        if version >= 12 {
            data = data.with_diverging_epoch(EpochEndOffset::default().with_epoch(2).with_end_offset(900));
        }
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![data]);
        if version < 13 {
            topic = topic.with_topic(StrBytes::from_static_str("t").into());
        }
        let mut response =
            messages::FetchResponse::default().with_throttle_time_ms(12).with_responses(vec![topic]);
        if version >= 7 {
            response = response.with_session_id(77).with_error_code(71);
        }
        let mut out = bytes::BytesMut::new();
        ResponseHeader::default()
            .with_correlation_id(9)
            .encode(&mut out, ApiKey::Fetch.response_header_version(version))
            .unwrap();
        response.encode(&mut out, version).unwrap();
        out.freeze()
    }

    #[test]
    fn replies_of_every_version_are_read_and_records_are_slices_of_them() {
        let names = HashMap::from([(TopicId([0; 16]), TopicName::from("t"))]);
        for version in 4..=17 {
            let frame = reply(version, Some(Bytes::from_static(&[42; 300])));
            let response = decode(version, frame.clone(), &names).unwrap();
            assert_eq!(response.throttle, Duration::from_millis(12));
            let expected = if version >= 7 { (ErrorCode(71), 77) } else { (ErrorCode::NONE, 0) };
            assert_eq!((response.error, response.session_id), expected);
            let [fetched] = &response.partitions[..] else { panic!("{response:?}") };
            assert_eq!(fetched.partition, TopicPartition::new("t", 5));
            assert_eq!(fetched.high_watermark, Some(Offset(2000)));
            assert_eq!(fetched.last_stable_offset, Some(Offset(1999)));
            assert_eq!(fetched.log_start_offset, (version >= 5).then_some(Offset(10)));
            assert_eq!(fetched.aborted, [(ProducerId(6), Offset(1001))]);
            assert_eq!(fetched.preferred_replica, (version >= 11).then_some(BrokerId(3)));
            assert_eq!(fetched.diverging, (version >= 12).then_some((LeaderEpoch(2), Offset(900))));
            assert_eq!(fetched.records, [42; 300][..]);
            assert!(frame.as_ptr_range().contains(&fetched.records.as_ptr()));
            for cut in 0..frame.len() {
                assert!(decode(version, frame.slice(..cut), &names).is_err(), "version {version} at {cut}");
            }
        }
    }

    #[test]
    fn null_records_are_no_records() {
        for version in [4, 11, 12] {
            let response = decode(version, reply(version, None), &HashMap::new()).unwrap();
            assert!(response.partitions[0].records.is_empty());
        }
    }

    #[test]
    fn an_answer_about_an_unknown_topic_id_is_an_error() {
        let frame = reply(13, None);
        assert!(matches!(decode(13, frame, &HashMap::new()), Err(DecodeError::TopicId { .. })));
    }
}
