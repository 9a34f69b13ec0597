//! Produce: batches out as a list of slices, so that a payload is never copied, and what became of them.
//!
//! A request is framing, header, payload, framing, header, payload…: the framing and the 61 header bytes
//! are written into one small buffer, cut where a payload goes between.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use model::{Offset, TopicPartition};

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{ApiKey, DecodeError, EncodeError, ErrorCode, LENGTH_BYTES};

/// Up to this size a payload is copied between its framing: cheaper than one more slice for the kernel.
const COPIED_BYTES_MAX: usize = 1024;

/// One batch for one partition. A request holds at most one for each partition: a broker would append
/// only the last and say nothing about the others.
#[derive(Clone, Debug)]
pub struct ProduceBatch {
    /// Where it goes.
    pub partition: TopicPartition,
    /// The batch's first 61 bytes, stamped for sending.
    pub header: [u8; 61],
    /// The records, as they follow the header.
    pub payload: Bytes,
}

/// What a broker said to one Produce request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceReply {
    /// How long to send nothing more on the connection (KIP-219).
    pub throttle: Duration,
    /// One for each batch of the request.
    pub partitions: Vec<Produced>,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Where it went.
    pub partition: TopicPartition,
    /// [`ErrorCode::NONE`]: appended. Some others carry a base offset too: appended, not yet replicated.
    pub error: ErrorCode,
    /// The offset of its first record, where the broker said one.
    pub base_offset: Option<Offset>,
    /// The time of the append, milliseconds since 1970: said for LogAppendTime topics, and for a batch
    /// that was already there.
    pub log_append_time_ms: Option<i64>,
    /// Where the partition's log starts (version 5 and above).
    pub log_start_offset: Option<Offset>,
    /// Why it was refused, in the broker's words (version 8 and above).
    pub message: Option<String>,
}

fn is_flexible(version: i16) -> bool {
    version >= 9
}

/// The whole frame of a request with acks=all, as slices to be written one after another.
///
/// `timeout` is how long the broker waits for its replicas.
///
/// # Errors
/// [`EncodeError::TooLarge`] above 2 GiB.
pub fn frame(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    timeout: Duration,
    batches: &[ProduceBatch],
) -> Result<Vec<Bytes>, EncodeError> {
    let mut writer = Writer::new(is_flexible(version));
    writer.out.put_i32(0);
    writer.request_header(ApiKey::Produce as i16, version, correlation_id, client_id);
    writer.null_string(); // no transaction
    writer.i16(-1); // acks
    writer.i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    let topics = by_topic(batches);
    writer.count(topics.len());
    // Where, in the framing, a payload goes in.
    let mut cuts: Vec<(usize, Bytes)> = Vec::with_capacity(batches.len());
    for topic in &topics {
        writer.string(topic[0].partition.topic.as_str());
        writer.count(topic.len());
        for batch in topic {
            writer.i32(batch.partition.partition.0);
            let length = batch.header.len() + batch.payload.len();
            if i32::try_from(length).is_err() {
                return Err(EncodeError::TooLarge { api: ApiKey::Produce, bytes: length });
            }
            writer.bytes_length(length);
            writer.out.put_slice(&batch.header);
            if batch.payload.len() <= COPIED_BYTES_MAX {
                writer.out.put_slice(&batch.payload);
            } else {
                cuts.push((writer.out.len(), batch.payload.clone()));
            }
            writer.no_tags();
        }
        writer.no_tags();
    }
    writer.no_tags();
    let bytes = cuts.iter().fold(writer.out.len(), |sum, (_, payload)| sum.saturating_add(payload.len()));
    let length = i32::try_from(bytes - LENGTH_BYTES)
        .map_err(|_| EncodeError::TooLarge { api: ApiKey::Produce, bytes })?;
    writer.out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());

    let framing = writer.out.freeze();
    let mut slices = Vec::with_capacity(2 * cuts.len() + 1);
    let mut from = 0;
    for (cut, payload) in cuts {
        slices.push(framing.slice(from..cut));
        slices.push(payload);
        from = cut;
    }
    if from < framing.len() {
        slices.push(framing.slice(from..));
    }
    Ok(slices)
}

/// The batches of each topic together, topics and batches in the order they came.
fn by_topic(batches: &[ProduceBatch]) -> Vec<Vec<&ProduceBatch>> {
    let mut places = std::collections::HashMap::new();
    let mut topics: Vec<Vec<&ProduceBatch>> = Vec::new();
    for batch in batches {
        let place = *places.entry(&batch.partition.topic).or_insert_with(|| {
            topics.push(Vec::new());
            topics.len() - 1
        });
        topics[place].push(batch);
    }
    topics
}

/// Reads a response: `frame` is without its length, correlation id included.
///
/// # Errors
/// [`DecodeError`] if it is not a response of that version.
pub fn decode(version: i16, frame: Bytes) -> Result<ProduceReply, DecodeError> {
    let mut reader = Reader::new(frame, is_flexible(version));
    reader.i32()?; // correlation id
    reader.skip_tags()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.count(2)? {
        let topic = model::TopicName::from(reader.string()?);
        for _ in 0..reader.count(14)? {
            let partition =
                TopicPartition { topic: topic.clone(), partition: model::PartitionId(reader.i32()?) };
            let error = ErrorCode(reader.i16()?);
            let base_offset = known(reader.i64()?).map(Offset);
            let log_append_time_ms = known(reader.i64()?);
            let log_start_offset = if version >= 5 { known(reader.i64()?).map(Offset) } else { None };
            let message = if version >= 8 { read_message(&mut reader)? } else { None };
            reader.skip_tags()?;
            partitions.push(Produced {
                partition,
                error,
                base_offset,
                log_append_time_ms,
                log_start_offset,
                message,
            });
        }
        reader.skip_tags()?;
    }
    let throttle = throttle(reader.i32()?);
    reader.skip_tags()?;
    reader.end()?;
    Ok(ProduceReply { throttle, partitions })
}

/// The batch's error message, else that of the first record it names.
fn read_message(reader: &mut Reader) -> Result<Option<String>, DecodeError> {
    let mut of_record = None;
    for _ in 0..reader.count(5)? {
        let index = reader.i32()?;
        let message = reader.nullable_string()?;
        reader.skip_tags()?;
        if of_record.is_none() {
            of_record = message.map(|message| format!("record {index}: {message}"));
        }
    }
    let of_batch = reader.nullable_string()?;
    Ok(match (of_batch, of_record) {
        (Some(of_batch), Some(of_record)) => Some(format!("{of_batch}: {of_record}")),
        (of_batch, of_record) => of_batch.or(of_record),
    })
}

/// `None` for the protocol's -1.
pub(crate) fn known(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

/// A throttle time in milliseconds; a negative one is none.
pub(crate) fn throttle(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::*;

    #[test]
    fn the_slices_joined_are_what_the_generated_decoder_reads() {
        let batch = |topic: &str, partition, bytes: usize| ProduceBatch {
            partition: TopicPartition::new(topic, partition),
            header: [partition as u8; 61],
            payload: Bytes::from(vec![partition as u8; bytes]),
        };
        let batches = [batch("a", 1, 5000), batch("b", 2, 10), batch("a", 3, 0), batch("b", 4, 100_000)];
        for version in 3..=11 {
            let slices = frame(version, 9, "me", Duration::from_secs(30), &batches).unwrap();
            let framing = if version >= 9 { 3 } else { 2 };
            assert_eq!(slices.len(), framing + 2, "payloads of more than 1 KiB are slices of their own");
            assert_eq!(slices[1].as_ptr(), batches[0].payload.as_ptr());
            let mut joined = Bytes::from(slices.concat());
            let length = joined.split_to(4);
            assert_eq!(i32::from_be_bytes(length[..].try_into().unwrap()) as usize, joined.len());
            let header =
                RequestHeader::decode(&mut joined, ApiKey::Produce.request_header_version(version)).unwrap();
            assert_eq!((header.request_api_key, header.request_api_version), (0, version));
            assert_eq!(header.correlation_id, 9);
            let request = ProduceRequest::decode(&mut joined, version).unwrap();
            assert!(joined.is_empty());
            assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
            assert_eq!(request.transactional_id, None);
            let read: Vec<(String, i32, usize)> = request
                .topic_data
                .iter()
                .flat_map(|topic| {
                    topic.partition_data.iter().map(move |data| {
                        let records = data.records.as_ref().unwrap();
                        assert!(records.iter().all(|&byte| i32::from(byte) == data.index));
                        (topic.name.to_string(), data.index, records.len())
                    })
                })
                .collect();
            let expected = [("a", 1, 5061), ("a", 3, 61), ("b", 2, 71), ("b", 4, 100_061)];
            assert_eq!(read, expected.map(|(topic, index, bytes)| (topic.to_owned(), index, bytes)));
        }
    }

    #[test]
    fn replies_of_every_version_are_read() {
        for version in 3..=11 {
            let refused = BatchIndexAndErrorMessage::default()
                .with_batch_index(4)
                .with_batch_index_error_message(Some(StrBytes::from_static_str("no key")));
            let mut partition = PartitionProduceResponse::default()
                .with_index(3)
                .with_error_code(7)
                .with_base_offset(100)
                .with_log_append_time_ms(-1)
                .with_error_message(None);
            if version >= 5 {
                partition = partition.with_log_start_offset(5);
            }
            if version >= 8 {
                partition = partition.with_record_errors(vec![refused]);
            }
            let response = ProduceResponse::default().with_throttle_time_ms(12).with_responses(vec![
                TopicProduceResponse::default()
                    .with_name(StrBytes::from_static_str("t").into())
                    .with_partition_responses(vec![partition]),
            ]);
            let mut out = bytes::BytesMut::new();
            ResponseHeader::default()
                .with_correlation_id(9)
                .encode(&mut out, ApiKey::Produce.response_header_version(version))
                .unwrap();
            response.encode(&mut out, version).unwrap();
            let frame = out.freeze();
            let reply = decode(version, frame.clone()).unwrap();
            assert_eq!(reply.throttle, Duration::from_millis(12));
            let [produced] = &reply.partitions[..] else { panic!("{reply:?}") };
            assert_eq!(produced.partition, TopicPartition::new("t", 3));
            assert_eq!(produced.error, ErrorCode::REQUEST_TIMED_OUT);
            assert_eq!(produced.base_offset, Some(Offset(100)));
            assert_eq!(produced.log_append_time_ms, None);
            assert_eq!(produced.log_start_offset, (version >= 5).then_some(Offset(5)));
            assert_eq!(produced.message.as_deref(), (version >= 8).then_some("record 4: no key"));
            for cut in 0..frame.len() {
                assert!(decode(version, frame.slice(..cut)).is_err(), "version {version} cut at {cut}");
            }
        }
    }
}
