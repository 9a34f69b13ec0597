//! The reply to a fetch, written by hand so that records are never copied: a frame is a list of slices, the
//! records among them as they lie in the log.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use model::TopicName;
use protocol::ErrorCode;

use crate::requests::fetch::Fetched;
use crate::requests::{Answer, Ask};
use crate::sessions::Wanted;

/// What a reply tells.
pub(super) struct Reply {
    pub(super) session: i32,
    pub(super) told: Vec<(Arc<Wanted>, Fetched)>,
    pub(super) elsewhere: Vec<Elsewhere>,
}

/// Where a broker is that should be asked instead.
pub(super) struct Elsewhere {
    pub(super) broker: i32,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) rack: Option<String>,
}

/// A reply that refuses the whole request.
pub(super) fn refused(ask: &Ask, code: ErrorCode) -> Answer {
    write(ask, code, &Reply { session: 0, told: Vec::new(), elsewhere: Vec::new() })
}

/// A reply about partitions.
pub(super) fn reply(ask: &Ask, reply: &Reply) -> Answer {
    write(ask, ErrorCode::NONE, reply)
}

fn write(ask: &Ask, code: ErrorCode, reply: &Reply) -> Answer {
    let version = ask.version;
    let mut out = Out { flexible: version >= 12, slices: Vec::new(), bytes: BytesMut::with_capacity(256) };
    out.bytes.put_i32(ask.correlation_id);
    out.tags(&[]);
    out.bytes.put_i32(ask.fired.throttle_ms());
    if version >= 7 {
        out.bytes.put_i16(code.0);
        out.bytes.put_i32(reply.session);
    }
    // Partitions stay in the order they were read in, so a topic may come more than once in a row of others;
    // neighbours of one topic share an entry.
    let topics: Vec<&[(Arc<Wanted>, Fetched)]> = reply
        .told
        .chunk_by(|(one, _), (other, _)| one.topic == other.topic && one.topic_id == other.topic_id)
        .collect();
    out.array(topics.len());
    for topic in topics {
        if let Some((wanted, _)) = topic.first() {
            if version >= 13 {
                out.bytes.put_slice(&wanted.topic_id);
            } else {
                out.text(wanted.topic.as_ref().map(TopicName::as_str).unwrap_or_default());
            }
        }
        out.array(topic.len());
        for (wanted, fetched) in topic {
            partition(&mut out, version, wanted, fetched);
        }
        out.tags(&[]);
    }
    let mut tags = Vec::new();
    if version >= 16 && !reply.elsewhere.is_empty() {
        tags.push((0, endpoints(&reply.elsewhere)));
    }
    out.tags(&tags);
    let log_bytes = reply.told.iter().map(|(_, fetched)| fetched.records_bytes).sum();
    Answer::Frame { slices: out.frame(), log_bytes }
}

fn partition(out: &mut Out, version: i16, wanted: &Wanted, fetched: &Fetched) {
    out.bytes.put_i32(wanted.partition);
    out.bytes.put_i16(fetched.error.0);
    out.bytes.put_i64(fetched.high_watermark);
    out.bytes.put_i64(fetched.last_stable_offset);
    if version >= 5 {
        out.bytes.put_i64(fetched.log_start);
    }
    match &fetched.aborted {
        None => out.null_array(),
        Some(aborted) => {
            out.array(aborted.len());
            for transaction in aborted {
                out.bytes.put_i64(transaction.producer_id);
                out.bytes.put_i64(transaction.first_offset);
                out.tags(&[]);
            }
        }
    }
    if version >= 11 {
        out.bytes.put_i32(fetched.preferred_replica.unwrap_or(-1));
    }
    out.records(&fetched.records, fetched.records_bytes);
    let mut tags = Vec::new();
    if let Some((epoch, end_offset)) = fetched.diverging {
        let mut tag = BytesMut::new();
        tag.put_i32(epoch);
        tag.put_i64(end_offset);
        tag.put_u8(0);
        tags.push((0, tag));
    }
    if let Some((leader, epoch)) = fetched.leader {
        let mut tag = BytesMut::new();
        tag.put_i32(leader);
        tag.put_i32(epoch);
        tag.put_u8(0);
        tags.push((1, tag));
    }
    out.tags(&tags);
}

fn endpoints(elsewhere: &[Elsewhere]) -> BytesMut {
    let mut tag = BytesMut::new();
    put_varint(&mut tag, elsewhere.len() + 1);
    for broker in elsewhere {
        tag.put_i32(broker.broker);
        put_varint(&mut tag, broker.host.len() + 1);
        tag.put_slice(broker.host.as_bytes());
        tag.put_i32(i32::from(broker.port));
        match &broker.rack {
            Some(rack) => {
                put_varint(&mut tag, rack.len() + 1);
                tag.put_slice(rack.as_bytes());
            }
            None => tag.put_u8(0),
        }
        tag.put_u8(0);
    }
    tag
}

/// A frame as it grows: what was written, and slices of records between.
struct Out {
    flexible: bool,
    slices: Vec<Bytes>,
    bytes: BytesMut,
}

impl Out {
    fn array(&mut self, length: usize) {
        if self.flexible {
            put_varint(&mut self.bytes, length + 1);
        } else {
            self.bytes.put_i32(wire_length(length));
        }
    }

    fn null_array(&mut self) {
        if self.flexible {
            self.bytes.put_u8(0);
        } else {
            self.bytes.put_i32(-1);
        }
    }

    fn text(&mut self, text: &str) {
        if self.flexible {
            put_varint(&mut self.bytes, text.len() + 1);
        } else {
            self.bytes.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.bytes.put_slice(text.as_bytes());
    }

    /// Old librdkafka refuses null records, so none are empty ones.
    fn records(&mut self, slices: &[Bytes], length: usize) {
        if self.flexible {
            put_varint(&mut self.bytes, length + 1);
        } else {
            self.bytes.put_i32(wire_length(length));
        }
        if !slices.is_empty() {
            self.slices.push(self.bytes.split().freeze());
            self.slices.extend_from_slice(slices);
        }
    }

    fn tags(&mut self, tags: &[(usize, BytesMut)]) {
        if !self.flexible {
            return;
        }
        put_varint(&mut self.bytes, tags.len());
        for (tag, value) in tags {
            put_varint(&mut self.bytes, *tag);
            put_varint(&mut self.bytes, value.len());
            self.bytes.put_slice(value);
        }
    }

    /// The whole frame, its length in front.
    fn frame(mut self) -> Vec<Bytes> {
        self.slices.push(self.bytes.freeze());
        let length: usize = self.slices.iter().map(Bytes::len).sum();
        let mut frame = Vec::with_capacity(self.slices.len() + 1);
        frame.push(Bytes::copy_from_slice(&wire_length(length).to_be_bytes()));
        frame.append(&mut self.slices);
        frame
    }
}

/// What is written here is bounded by `fetch.max.bytes` and one batch, far below 2 GiB.
fn wire_length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn put_varint(out: &mut BytesMut, value: usize) {
    let mut rest = value;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use protocol::ApiKey;
    use protocol::Decodable;
    use protocol::messages::{FetchResponse, ResponseHeader};

    use super::*;
    use crate::faults::Fired;
    use crate::partition::AbortedTransaction;

    #[test]
    fn every_version_reads_back_as_what_was_written() {
        for version in 4..=18 {
            let ask = Ask {
                broker: 0,
                api: ApiKey::Fetch,
                version,
                correlation_id: 77,
                client_id: String::new(),
                client_host: String::new(),
                frame_bytes: 0,
                now_ms: 0,
                fired: Fired::default(),
                principal: String::new(),
                denied: Default::default(),
                told: Default::default(),
            };
            let wanted = Wanted {
                topic: Some(TopicName::from("orders")),
                topic_id: [7; 16],
                partition: 3,
                offset: 0,
                bytes_max: 0,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
            };
            let fetched = Fetched {
                error: ErrorCode::FENCED_LEADER_EPOCH,
                high_watermark: 11,
                last_stable_offset: 10,
                log_start: 2,
                aborted: Some(vec![AbortedTransaction { producer_id: 5, first_offset: 6, last_offset: 9 }]),
                preferred_replica: Some(4),
                diverging: Some((1, 8)),
                leader: Some((2, 9)),
                records: vec![Bytes::from_static(b"re"), Bytes::from_static(b"cords")],
                records_bytes: 7,
            };
            let elsewhere = vec![Elsewhere {
                broker: 2,
                host: "127.0.0.1".to_owned(),
                port: 9092,
                rack: Some("a".to_owned()),
            }];
            let answer =
                reply(&ask, &Reply { session: 12, told: vec![(Arc::new(wanted), fetched)], elsewhere });
            let Answer::Frame { slices, log_bytes: 7 } = answer else { panic!("a frame") };
            let frame = Bytes::from(slices.concat());
            assert_eq!(frame.len(), 4 + u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
            let mut body = frame.slice(4..);
            ResponseHeader::decode(&mut body, ApiKey::Fetch.response_header_version(version)).unwrap();
            let response = FetchResponse::decode(&mut body, version).unwrap();
            assert!(body.is_empty());
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.partition_index, 3, "version {version}");
            assert_eq!(partition.error_code, 74);
            assert_eq!(partition.last_stable_offset, 10);
            assert_eq!(partition.records.as_deref(), Some(&b"records"[..]));
            assert_eq!(partition.aborted_transactions.as_ref().unwrap()[0].first_offset, 6);
            assert_eq!(response.session_id, if version >= 7 { 12 } else { 0 });
            assert_eq!(partition.diverging_epoch.end_offset, if version >= 12 { 8 } else { -1 });
            assert_eq!(response.node_endpoints.len(), usize::from(version >= 16));
        }
    }
}
