//! Builds messages of formats v0 and v1, for tests and for embedded-kafka's logs: brokers still hand
//! them out, but take none.

use bytes::Bytes;
use model::Offset;

use crate::legacy::{CHECKSUM_FROM, LOG_APPEND_TIME};
use crate::{Codec, codec};

/// Builds plain messages one after the other, or one wrapper around them.
#[derive(Clone, Debug)]
pub struct MessageSetBuilder {
    magic: i8,
    codec: Codec,
    base_offset: Offset,
    append_time: Option<i64>,
    messages: Vec<Message>,
}

#[derive(Clone, Debug)]
struct Message {
    offset_delta: i32,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl MessageSetBuilder {
    /// An empty set of format `magic` (0 or 1) at offset 0; plain unless there is a `codec`.
    pub fn new(magic: i8, codec: Codec) -> MessageSetBuilder {
        MessageSetBuilder { magic, codec, base_offset: Offset(0), append_time: None, messages: Vec::new() }
    }

    /// Sets the offset of the first message.
    pub fn base_offset(mut self, base_offset: Offset) -> MessageSetBuilder {
        self.base_offset = base_offset;
        self
    }

    /// Makes `timestamp` the visible time of every message (LogAppendTime; format v1).
    pub fn log_append_time(mut self, timestamp: i64) -> MessageSetBuilder {
        self.append_time = Some(timestamp);
        self
    }

    /// Appends a message at the next offset. Format v0 has no timestamps.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let offset_delta = self.messages.last().map_or(0, |last| last.offset_delta.saturating_add(1));
        self.append_at(offset_delta, timestamp, key, value);
    }

    /// Appends a message at `offset_delta` from the base offset, leaving a gap before it.
    pub fn append_at(&mut self, offset_delta: i32, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        self.messages.push(Message { offset_delta, timestamp, key, value });
    }

    /// The set as a log holds it. Nothing if it is empty.
    ///
    /// # Panics
    /// If a message takes 2 GiB or more, or a codec fails in memory.
    pub fn build(&self) -> Bytes {
        let mut set = Vec::new();
        let Some(last) = self.messages.last() else { return Bytes::new() };
        let append_bit = if self.append_time.is_some() { LOG_APPEND_TIME } else { 0 };
        let plain = self.codec == Codec::None;
        for message in &self.messages {
            let delta = i64::from(message.offset_delta);
            // KIP-31: inside a v1 wrapper offsets count from 0.
            let offset = if plain || self.magic == 0 { self.base_offset.0 + delta } else { delta };
            let (attributes, timestamp) = match self.append_time {
                Some(append_time) if plain => (append_bit, append_time),
                _ => (0, message.timestamp),
            };
            let (key, value) = (message.key.as_deref(), message.value.as_deref());
            self.write(&mut set, offset, attributes, timestamp, key, value);
        }
        if plain {
            return Bytes::from(set);
        }
        let mut block = Vec::new();
        codec::compress(self.codec, &set, &mut block).expect("codecs write to memory");
        let latest = self.messages.iter().map(|message| message.timestamp).max().unwrap_or(-1);
        let timestamp = self.append_time.unwrap_or(latest);
        let offset = self.base_offset.0 + i64::from(last.offset_delta);
        let mut wrapper = Vec::new();
        let attributes = self.codec.code() as i8 | append_bit;
        self.write(&mut wrapper, offset, attributes, timestamp, None, Some(&block));
        Bytes::from(wrapper)
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        offset: i64,
        attributes: i8,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let start = out.len();
        out.extend_from_slice(&offset.to_be_bytes());
        // Size and checksum are known at the end.
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&[self.magic as u8, attributes as u8]);
        if self.magic > 0 {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
        for field in [key, value] {
            let length =
                field.map_or(-1, |field| i32::try_from(field.len()).expect("fields are under 2 GiB"));
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(field.unwrap_or_default());
        }
        let size = i32::try_from(out.len() - start - 12).expect("messages are under 2 GiB");
        let crc = crc32fast::hash(&out[start + CHECKSUM_FROM..]);
        out[start + 8..start + 12].copy_from_slice(&size.to_be_bytes());
        out[start + 12..start + CHECKSUM_FROM].copy_from_slice(&crc.to_be_bytes());
    }
}
