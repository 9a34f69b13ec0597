//! The broker's side of the wire, for the Kafka cluster inside this process.
//!
//! Decoding trusts its peer more than the client's side does: it is for tests and the demo.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{self, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::{ApiKey, DecodeError, EncodeError, LENGTH_BYTES};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Correlation id and client id, beside the two below.
    pub header: RequestHeader,
    /// What is asked.
    pub api: ApiKey,
    /// The version it is asked in, and must be answered in.
    pub version: i16,
    /// The question.
    pub body: RequestKind,
}

macro_rules! requests {
    ($($name:ident($message:ident),)*) => {
        /// The question of a request, by kind.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        #[non_exhaustive]
        pub enum RequestKind {
            $($name(messages::$message),)*
            /// A request in a version the generated messages do not have (or ApiVersions of the future):
            /// to be answered with UNSUPPORTED_VERSION, in version 0 for ApiVersions.
            UnsupportedVersion,
        }

        fn decode_body(api: ApiKey, version: i16, body: &mut Bytes) -> Result<RequestKind, DecodeError> {
            let range = api.valid_versions();
            if version < range.min || version > range.max {
                body.clear();
                return Ok(RequestKind::UnsupportedVersion);
            }
            match api {
                $(ApiKey::$name => messages::$message::decode(body, version).map(RequestKind::$name)
                    .map_err(|error| DecodeError::body(api, version, &error)),)*
                _ => Err(DecodeError::Api { key: api as i16 }),
            }
        }
    };
}

requests! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    FindCoordinator(FindCoordinatorRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    EndTxn(EndTxnRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    CreatePartitions(CreatePartitionsRequest),
    DeleteGroups(DeleteGroupsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    OffsetDelete(OffsetDeleteRequest),
    DescribeCluster(DescribeClusterRequest),
    DescribeProducers(DescribeProducersRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
    DescribeAcls(DescribeAclsRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    SaslHandshake(SaslHandshakeRequest),
    SaslAuthenticate(SaslAuthenticateRequest),
    ElectLeaders(ElectLeadersRequest),
}

/// Reads a request: `frame` is without its length.
///
/// # Errors
/// [`DecodeError`] if it is no request, or one that no kind is for. Brokers close the connection then.
pub fn decode_request(mut frame: Bytes) -> Result<Request, DecodeError> {
    let (Some(key), Some(version)) = (i16_at(&frame, 0), i16_at(&frame, 2)) else {
        return Err(DecodeError::Truncated { need_bytes: 8, have_bytes: frame.len() });
    };
    let api = ApiKey::try_from(key).map_err(|()| DecodeError::Api { key })?;
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version))
        .map_err(|error| DecodeError::body(api, version, &error))?;
    // As brokers do, and librdkafka 2.16 needs it: bytes left over at the end are ignored.
    let body = decode_body(api, version, &mut frame)?;
    Ok(Request { header, api, version, body })
}

fn i16_at(frame: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// The whole frame of a response, length prefix included. `body` is the response that belongs to `api`.
///
/// # Errors
/// [`EncodeError`] if a field is set that the version does not have.
pub fn encode_response(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &impl Encodable,
) -> Result<Bytes, EncodeError> {
    let refused =
        |error: &dyn std::fmt::Display| EncodeError::Body { api, version, reason: error.to_string() };
    let mut out = BytesMut::with_capacity(256);
    out.put_slice(&[0; LENGTH_BYTES]);
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut out, api.response_header_version(version))
        .map_err(|error| refused(&error))?;
    body.encode(&mut out, version).map_err(|error| refused(&error))?;
    if i32::try_from(out.len()).is_err() {
        return Err(EncodeError::TooLarge { api, bytes: out.len() });
    }
    Ok(crate::frame::finish(out))
}
