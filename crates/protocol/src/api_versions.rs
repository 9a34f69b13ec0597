//! What a broker can do: the first question on every connection.
//!
//! Its answer is the first thing an unknown peer says, so it is read with nothing but bounds-checked
//! reads, and its response header never has tagged fields, whatever the version (KIP-511).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{ApiKey, DecodeError, ErrorCode, supported};

/// The versions of each request that one broker answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions(BTreeMap<i16, (i16, i16)>);

/// What a broker said to ApiVersions.
#[derive(Debug, PartialEq, Eq)]
pub enum ApiVersionsAnswer {
    /// Its versions.
    Versions(ApiVersions),
    /// It does not know the version asked in; ask again in this one.
    AskAgain {
        /// The highest version that it and we have.
        version: i16,
    },
    /// It refused for another reason.
    Refused(ErrorCode),
}

impl ApiVersions {
    /// A set of `(api, lowest, highest)`.
    pub fn new(ranges: impl IntoIterator<Item = (ApiKey, i16, i16)>) -> ApiVersions {
        ApiVersions(
            ranges.into_iter().map(|(api, lowest, highest)| (api as i16, (lowest, highest))).collect(),
        )
    }

    /// The highest version of `api` that the broker and this program have in common.
    ///
    /// Brokers of 4.x list Produce from 0 although they take it from 3 (KAFKA-18659), which changes
    /// nothing here: this program has none below 3.
    pub fn negotiate(&self, api: ApiKey) -> Option<i16> {
        self.negotiate_at_most(api, i16::MAX)
    }

    /// The same, no higher than `version_max`.
    pub fn negotiate_at_most(&self, api: ApiKey, version_max: i16) -> Option<i16> {
        let (lowest, highest) = *self.0.get(&(api as i16))?;
        let ours = supported(api);
        let best = highest.min(*ours.end()).min(version_max);
        (best >= lowest.max(*ours.start())).then_some(best)
    }

    /// The lowest and highest version of `api` as the broker lists them.
    pub fn listed(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.0.get(&(api as i16)).copied()
    }

    /// The whole frame of an ApiVersions request in `version` (0 to 3).
    pub fn request(version: i16, correlation_id: i32, client_id: &str) -> Bytes {
        let mut writer = Writer::new(version >= 3);
        writer.out.put_i32(0);
        writer.request_header(ApiKey::ApiVersions as i16, version, correlation_id, client_id);
        if version >= 3 {
            writer.string("paralog");
            writer.string(env!("CARGO_PKG_VERSION"));
            writer.no_tags();
        }
        crate::frame::finish(writer.out)
    }

    /// Reads the answer to a request in `version`: a frame without its length, correlation id included.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not such an answer; the peer is then probably no Kafka broker.
    pub fn read_answer(version: i16, frame: Bytes) -> Result<ApiVersionsAnswer, DecodeError> {
        // A broker that does not know the version answers in version 0, error code first as always.
        let mut peek = Reader::new(frame.clone(), false);
        peek.i32()?;
        let error = ErrorCode(peek.i16()?);
        if error == ErrorCode::UNSUPPORTED_VERSION {
            // It may list nothing, or only the range of ApiVersions itself: not its whole list.
            let listed = read_ranges(&mut peek, 0).unwrap_or_default();
            let highest = listed.get(&(ApiKey::ApiVersions as i16)).map_or(0, |&(_, highest)| highest);
            let again = highest.clamp(0, version.saturating_sub(1).max(0));
            return Ok(ApiVersionsAnswer::AskAgain { version: again });
        }
        if !error.is_ok() {
            return Ok(ApiVersionsAnswer::Refused(error));
        }
        let mut reader = Reader::new(frame, version >= 3);
        reader.i32()?;
        reader.i16()?;
        let ranges = read_ranges(&mut reader, version)?;
        if version >= 1 {
            reader.i32()?;
        }
        reader.skip_tags()?;
        reader.end()?;
        Ok(ApiVersionsAnswer::Versions(ApiVersions(ranges)))
    }
}

fn read_ranges(reader: &mut Reader, version: i16) -> Result<BTreeMap<i16, (i16, i16)>, DecodeError> {
    let count = reader.count(if version >= 3 { 7 } else { 6 })?;
    let mut ranges = BTreeMap::new();
    for _ in 0..count {
        let key = reader.i16()?;
        ranges.insert(key, (reader.i16()?, reader.i16()?));
        reader.skip_tags()?;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    fn answer(version: i16, error: ErrorCode, ranges: &[(i16, i16, i16)]) -> Bytes {
        let keys = ranges.iter().map(|&(key, lowest, highest)| {
            ApiVersion::default().with_api_key(key).with_min_version(lowest).with_max_version(highest)
        });
        let response =
            ApiVersionsResponse::default().with_error_code(error.0).with_api_keys(keys.collect::<Vec<_>>());
        let mut out = bytes::BytesMut::new();
        out.put_i32(7);
        response.encode(&mut out, version).unwrap();
        out.freeze()
    }

    #[test]
    fn answers_of_every_version_are_read() {
        for version in 0..=3 {
            let frame = answer(version, ErrorCode::NONE, &[(0, 0, 13), (1, 4, 18), (3, 0, 2)]);
            let expected = ApiVersions::new([
                (ApiKey::Produce, 0, 13),
                (ApiKey::Fetch, 4, 18),
                (ApiKey::Metadata, 0, 2),
            ]);
            assert_eq!(
                ApiVersions::read_answer(version, frame),
                Ok(ApiVersionsAnswer::Versions(expected.clone()))
            );
            assert_eq!(expected.negotiate(ApiKey::Produce), Some(11));
            assert_eq!(expected.negotiate(ApiKey::Fetch), Some(17));
            assert_eq!(expected.negotiate_at_most(ApiKey::Fetch, 12), Some(12));
            assert_eq!(expected.negotiate(ApiKey::Metadata), None);
            assert_eq!(expected.negotiate(ApiKey::ListOffsets), None);
        }
    }

    #[test]
    fn a_refused_version_says_which_to_ask_in() {
        let nothing_listed = answer(0, ErrorCode::UNSUPPORTED_VERSION, &[]);
        assert_eq!(
            ApiVersions::read_answer(3, nothing_listed),
            Ok(ApiVersionsAnswer::AskAgain { version: 0 })
        );
        let itself_listed = answer(0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 2)]);
        assert_eq!(
            ApiVersions::read_answer(3, itself_listed),
            Ok(ApiVersionsAnswer::AskAgain { version: 2 })
        );
    }

    #[test]
    fn the_request_is_what_the_generated_decoder_reads() {
        for version in 0..=3 {
            let mut frame = ApiVersions::request(version, 7, "me");
            let length = frame.split_to(4);
            assert_eq!(i32::from_be_bytes(length[..].try_into().unwrap()) as usize, frame.len());
            let header = kafka_protocol::messages::RequestHeader::decode(
                &mut frame,
                ApiKey::ApiVersions.request_header_version(version),
            )
            .unwrap();
            assert_eq!(header.correlation_id, 7);
            assert_eq!(header.client_id.as_deref(), Some("me"));
            ApiVersionsRequest::decode(&mut frame, version).unwrap();
            assert!(frame.is_empty());
        }
    }

    #[test]
    fn answers_that_are_no_answers_are_errors() {
        for bytes in [&b""[..], b"\0\0\0\x07", b"TTP/1.1 400 Bad Request\r\n", &[0xff; 64], &[0; 64]] {
            for version in 0..=3 {
                let answer = ApiVersions::read_answer(version, Bytes::copy_from_slice(bytes));
                assert!(!matches!(answer, Ok(ApiVersionsAnswer::Versions(_))), "{answer:?}");
            }
        }
    }
}
