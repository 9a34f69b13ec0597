//! The outlines of the responses that the generated decoders read, to be walked before they are let near.
//!
//! A generated decoder reserves memory by a count as it stands in the message, and a count of two thousand
//! million ends the process, where nobody can catch it. So each message is first walked along its outline:
//! every count and length is checked against the bytes that are left, and the message must end where its
//! bytes do. What passes cannot ask for more elements than it has bytes.

use bytes::Bytes;

use crate::reader::Reader;
use crate::{ApiKey, DecodeError};
use Kind::{Numbers, Structures, Text};

/// A kind of field.
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// An array of elements of so many bytes.
    Numbers(usize),
    /// An array of structures.
    Structures(&'static [Field]),
}

/// A field, and the versions that have it.
struct Field {
    since: i16,
    until: i16,
    kind: Kind,
}

const fn always(kind: Kind) -> Field {
    Field { since: 0, until: i16::MAX, kind }
}

const fn since(since: i16, kind: Kind) -> Field {
    Field { since, until: i16::MAX, kind }
}

const INT8: Kind = Kind::Fixed(1);
const INT16: Kind = Kind::Fixed(2);
const INT32: Kind = Kind::Fixed(4);
const INT64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);

const METADATA: &[Field] = &[
    since(3, INT32), // throttle time
    always(Structures(&[always(INT32), always(Text), always(INT32), since(1, Text)])),
    since(2, Text),  // cluster id
    since(1, INT32), // controller
    always(Structures(&[
        always(INT16),
        always(Text),
        since(10, UUID),
        since(1, INT8),
        always(Structures(&[
            always(INT16),
            always(INT32),
            always(INT32),
            since(7, INT32),
            always(Numbers(4)),
            always(Numbers(4)),
            since(5, Numbers(4)),
        ])),
        since(8, INT32),
    ])),
    Field { since: 8, until: 10, kind: INT32 },
];

const LIST_OFFSETS: &[Field] = &[
    since(2, INT32),
    always(Structures(&[
        always(Text),
        always(Structures(&[always(INT32), always(INT16), always(INT64), always(INT64), since(4, INT32)])),
    ])),
];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(2, INT32),
    always(Structures(&[
        always(Text),
        always(Structures(&[always(INT16), always(INT32), since(1, INT32), always(INT64)])),
    ])),
];

const DESCRIBE_PRODUCERS: &[Field] = &[
    always(INT32),
    always(Structures(&[
        always(Text),
        always(Structures(&[
            always(INT32),
            always(INT16),
            always(Text),
            always(Structures(&[
                always(INT64),
                always(INT32),
                always(INT32),
                always(INT64),
                always(INT32),
                always(INT64),
            ])),
        ])),
    ])),
];

const INIT_PRODUCER_ID: &[Field] = &[always(INT32), always(INT16), always(INT64), always(INT16)];

const CREATE_TOPICS: &[Field] = &[
    since(2, INT32),
    always(Structures(&[
        always(Text),
        since(7, UUID),
        always(INT16),
        since(1, Text),
        since(5, INT32),
        since(5, INT16),
        since(5, Structures(&[always(Text), always(Text), always(INT8), always(INT8), always(INT8)])),
    ])),
];

const CREATE_PARTITIONS: &[Field] =
    &[always(INT32), always(Structures(&[always(Text), always(INT16), always(Text)]))];

const DESCRIBE_CONFIGS: &[Field] = &[
    always(INT32),
    always(Structures(&[
        always(INT16),
        always(Text),
        always(INT8),
        always(Text),
        always(Structures(&[
            always(Text),
            always(Text),
            always(INT8),
            since(1, INT8),
            always(INT8),
            since(1, Structures(&[always(Text), always(Text), always(INT8)])),
            since(3, INT8),
            since(3, Text),
        ])),
    ])),
];

const ALTER_CONFIGS: &[Field] =
    &[always(INT32), always(Structures(&[always(INT16), always(Text), always(INT8), always(Text)]))];

const FIND_COORDINATOR: &[Field] =
    &[since(1, INT32), always(INT16), since(1, Text), always(INT32), always(Text), always(INT32)];

const OFFSET_FETCH: &[Field] = &[
    since(3, INT32),
    always(Structures(&[
        always(Text),
        always(Structures(&[always(INT32), always(INT64), since(5, INT32), always(Text), always(INT16)])),
    ])),
    since(2, INT16),
];

const OFFSET_COMMIT: &[Field] = &[
    since(3, INT32),
    always(Structures(&[always(Text), always(Structures(&[always(INT32), always(INT16)]))])),
];

const DESCRIBE_ACLS: &[Field] = &[
    always(INT32),
    always(INT16),
    always(Text),
    always(Structures(&[
        always(INT8),
        always(Text),
        always(INT8),
        always(Structures(&[always(Text), always(Text), always(INT8), always(INT8)])),
    ])),
];

const CREATE_ACLS: &[Field] = &[always(INT32), always(Structures(&[always(INT16), always(Text)]))];

const DELETE_ACLS: &[Field] = &[
    always(INT32),
    always(Structures(&[
        always(INT16),
        always(Text),
        always(Structures(&[
            always(INT16),
            always(Text),
            always(INT8),
            always(Text),
            always(INT8),
            always(Text),
            always(Text),
            always(INT8),
            always(INT8),
        ])),
    ])),
];

// Its texts are an array of their own, and have no tags in a version without any.
const SASL_HANDSHAKE: &[Field] = &[always(INT16), always(Structures(&[always(Text)]))];

const SASL_AUTHENTICATE: &[Field] = &[always(INT16), always(Text), always(Numbers(1)), since(1, INT64)];

/// The outline of `api`'s response, in the versions that [`crate::supported`] names.
fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Metadata => METADATA,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeProducers => DESCRIBE_PRODUCERS,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => ALTER_CONFIGS,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::DescribeAcls => DESCRIBE_ACLS,
        ApiKey::CreateAcls => CREATE_ACLS,
        ApiKey::DeleteAcls => DELETE_ACLS,
        ApiKey::SaslHandshake => SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => SASL_AUTHENTICATE,
        _ => return None,
    })
}

/// Walks `body`, a response without its header.
///
/// # Errors
/// [`DecodeError`] if it is not of that shape, or none is known for it.
pub(crate) fn check(api: ApiKey, version: i16, body: Bytes) -> Result<(), DecodeError> {
    let unknown = DecodeError::Version { api, version };
    if !crate::supported(api).contains(&version) {
        return Err(unknown);
    }
    let fields = outline(api).ok_or(unknown)?;
    let flexible = api.response_header_version(version) >= 1;
    let mut reader = Reader::new(body, flexible);
    walk(&mut reader, version, fields)?;
    reader.end()
}

fn walk(reader: &mut Reader, version: i16, fields: &[Field]) -> Result<(), DecodeError> {
    for field in fields.iter().filter(|field| (field.since..=field.until).contains(&version)) {
        match field.kind {
            Kind::Fixed(bytes) => {
                reader.take(bytes)?;
            }
            Text => reader.skip_text()?,
            Numbers(bytes) => {
                let count = reader.count(bytes)?;
                reader.take(count.saturating_mul(bytes))?;
            }
            Structures(fields) => {
                // No structure is empty, so that each element uses up bytes.
                for _ in 0..reader.count(1)? {
                    walk(reader, version, fields)?;
                }
            }
        }
    }
    reader.skip_tags()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    use kafka_protocol::messages::describe_producers_response::{
        PartitionResponse, ProducerState, TopicResponse,
    };
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::*;
    use kafka_protocol::messages::{
        alter_configs_response as alter, create_acls_response as create_acls,
        create_partitions_response as create_partitions, delete_acls_response as delete_acls,
        describe_acls_response as describe_acls, incremental_alter_configs_response as incremental,
        list_offsets_response as list_offsets, offset_commit_response as commit,
        offset_fetch_response as offset_fetch, offset_for_leader_epoch_response as epochs,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::*;
    use crate::{decode_response, supported};

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    /// A response as it arrives, header and all.
    fn frame(api: ApiKey, version: i16, body: &impl Encodable) -> Bytes {
        crate::server::encode_response(api, version, 7, body).unwrap().slice(4..)
    }

    /// `body` passes in every version, and nothing that is cut off or spoilt ends the process.
    fn check_all<T: Decodable + Encodable + PartialEq + std::fmt::Debug>(
        api: ApiKey,
        body: impl Fn(i16) -> T,
    ) {
        for version in supported(api) {
            let whole = frame(api, version, &body(version));
            let read: T = decode_response(api, version, whole.clone())
                .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
            assert_eq!(frame(api, version, &read), whole, "{api:?} version {version}");
            for cut in 0..whole.len() {
                let cut_off: Result<T, _> = decode_response(api, version, whole.slice(..cut));
                assert!(cut_off.is_err(), "{api:?} version {version} cut at {cut}");
            }
            for at in 0..whole.len() {
                for spoil in
                    [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff], &[0x7f]]
                {
                    let mut spoilt = whole.to_vec();
                    for (byte, with) in spoilt[at..].iter_mut().zip(spoil) {
                        *byte = *with;
                    }
                    let _: Result<T, _> = decode_response(api, version, spoilt.into());
                }
            }
        }
    }

    #[test]
    fn metadata_passes_whole_and_only_whole() {
        check_all(ApiKey::Metadata, |version| {
            let mut partition = MetadataResponsePartition::default()
                .with_partition_index(3)
                .with_leader_id(1.into())
                .with_replica_nodes(vec![1.into(), 2.into()])
                .with_isr_nodes(vec![1.into()]);
            if version >= 5 {
                partition = partition.with_offline_replicas(vec![2.into()]);
            }
            let topic = MetadataResponseTopic::default()
                .with_name(Some(text("topic").into()))
                .with_partitions(vec![partition.clone(), partition]);
            let broker = MetadataResponseBroker::default()
                .with_node_id(1.into())
                .with_host(text("host"))
                .with_port(9092)
                .with_rack(Some(text("rack")));
            MetadataResponse::default()
                .with_brokers(vec![broker.clone(), broker.with_rack(None)])
                .with_cluster_id(Some(text("id")))
                .with_topics(vec![topic.clone(), topic])
        });
    }

    #[test]
    fn offsets_pass_whole_and_only_whole() {
        check_all(ApiKey::ListOffsets, |_| {
            let partition = list_offsets::ListOffsetsPartitionResponse::default().with_offset(5);
            let topic = list_offsets::ListOffsetsTopicResponse::default()
                .with_name(text("t").into())
                .with_partitions(vec![partition.clone(), partition]);
            ListOffsetsResponse::default().with_topics(vec![topic])
        });
        check_all(ApiKey::OffsetForLeaderEpoch, |_| {
            let topic = epochs::OffsetForLeaderTopicResult::default()
                .with_topic(text("t").into())
                .with_partitions(vec![epochs::EpochEndOffset::default().with_end_offset(5)]);
            OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
        });
    }

    #[test]
    fn producers_pass_whole_and_only_whole() {
        check_all(ApiKey::InitProducerId, |_| InitProducerIdResponse::default().with_producer_id(5.into()));
        check_all(ApiKey::DescribeProducers, |_| {
            let state = ProducerState::default().with_producer_id(5.into());
            let partition = PartitionResponse::default()
                .with_error_message(Some(text("no")))
                .with_active_producers(vec![state.clone(), state]);
            let topic = TopicResponse::default().with_name(text("t").into()).with_partitions(vec![partition]);
            DescribeProducersResponse::default().with_topics(vec![topic])
        });
    }

    #[test]
    fn changes_of_topics_pass_whole_and_only_whole() {
        check_all(ApiKey::CreateTopics, |version| {
            let mut topic = CreatableTopicResult::default()
                .with_name(text("t").into())
                .with_error_code(44)
                .with_error_message(Some(text("no")));
            if version >= 5 {
                let config =
                    CreatableTopicConfigs::default().with_name(text("name")).with_value(Some(text("value")));
                topic = topic
                    .with_topic_config_error_code(29)
                    .with_configs(Some(vec![config.clone(), config.with_value(None)]));
            }
            CreateTopicsResponse::default().with_topics(vec![topic.clone(), topic])
        });
        check_all(ApiKey::CreatePartitions, |_| {
            let topic = create_partitions::CreatePartitionsTopicResult::default()
                .with_name(text("t").into())
                .with_error_message(None);
            CreatePartitionsResponse::default().with_results(vec![topic])
        });
    }

    #[test]
    fn settings_pass_whole_and_only_whole() {
        check_all(ApiKey::DescribeConfigs, |version| {
            let synonym =
                DescribeConfigsSynonym::default().with_name(text("other")).with_value(Some(text("value")));
            let mut config = DescribeConfigsResourceResult::default()
                .with_name(text("name"))
                .with_value(Some(text("value")))
                .with_config_source(1)
                .with_synonyms(vec![synonym]);
            if version >= 3 {
                config = config.with_config_type(2).with_documentation(Some(text("words")));
            }
            let result = DescribeConfigsResult::default()
                .with_error_message(None)
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config.clone(), config.with_value(None)]);
            DescribeConfigsResponse::default().with_results(vec![result])
        });
        check_all(ApiKey::AlterConfigs, |_| {
            let topic = alter::AlterConfigsResourceResponse::default()
                .with_error_message(Some(text("no")))
                .with_resource_name(text("t"));
            AlterConfigsResponse::default().with_responses(vec![topic])
        });
        check_all(ApiKey::IncrementalAlterConfigs, |_| {
            let topic = incremental::AlterConfigsResourceResponse::default()
                .with_error_message(None)
                .with_resource_name(text("t"));
            IncrementalAlterConfigsResponse::default().with_responses(vec![topic])
        });
    }

    #[test]
    fn offsets_of_groups_pass_whole_and_only_whole() {
        check_all(ApiKey::FindCoordinator, |_| {
            FindCoordinatorResponse::default().with_host(text("host")).with_error_message(Some(text("no")))
        });
        check_all(ApiKey::OffsetFetch, |_| {
            let partition =
                offset_fetch::OffsetFetchResponsePartition::default().with_metadata(Some(text("words")));
            let topic = offset_fetch::OffsetFetchResponseTopic::default()
                .with_name(text("t").into())
                .with_partitions(vec![partition]);
            OffsetFetchResponse::default().with_topics(vec![topic])
        });
        check_all(ApiKey::OffsetCommit, |_| {
            let topic = commit::OffsetCommitResponseTopic::default()
                .with_name(text("t").into())
                .with_partitions(vec![commit::OffsetCommitResponsePartition::default()]);
            OffsetCommitResponse::default().with_topics(vec![topic])
        });
    }

    #[test]
    fn acls_pass_whole_and_only_whole() {
        check_all(ApiKey::DescribeAcls, |_| {
            let acl = describe_acls::AclDescription::default()
                .with_principal(text("User:ann"))
                .with_host(text("*"))
                .with_operation(3)
                .with_permission_type(3);
            let resource = describe_acls::DescribeAclsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_pattern_type(4)
                .with_acls(vec![acl.clone(), acl]);
            DescribeAclsResponse::default()
                .with_error_message(Some(text("no")))
                .with_resources(vec![resource.clone(), resource])
        });
        check_all(ApiKey::CreateAcls, |_| {
            let result = create_acls::AclCreationResult::default().with_error_message(Some(text("no")));
            CreateAclsResponse::default().with_results(vec![result.clone(), result.with_error_message(None)])
        });
        check_all(ApiKey::DeleteAcls, |_| {
            let acl = delete_acls::DeleteAclsMatchingAcl::default()
                .with_error_message(Some(text("no")))
                .with_resource_name(text("t"))
                .with_pattern_type(3)
                .with_principal(text("User:ann"))
                .with_host(text("*"));
            let result = delete_acls::DeleteAclsFilterResult::default()
                .with_error_message(None)
                .with_matching_acls(vec![acl.clone(), acl]);
            DeleteAclsResponse::default().with_filter_results(vec![result])
        });
    }

    #[test]
    fn logins_pass_whole_and_only_whole() {
        check_all(ApiKey::SaslHandshake, |_| {
            SaslHandshakeResponse::default()
                .with_error_code(33)
                .with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")])
        });
        check_all(ApiKey::SaslAuthenticate, |version| {
            let response = SaslAuthenticateResponse::default()
                .with_error_message(Some(text("no")))
                .with_auth_bytes(Bytes::from_static(b"challenge"));
            if version >= 1 { response.with_session_lifetime_ms(5000) } else { response }
        });
    }

    #[test]
    fn whatever_we_ask_has_an_outline_or_a_reader_of_its_own() {
        for api in ApiKey::iter().filter(|&api| !supported(api).is_empty()) {
            let by_hand = matches!(api, ApiKey::Produce | ApiKey::Fetch | ApiKey::ApiVersions);
            assert_eq!(outline(api).is_some(), !by_hand, "{api:?}");
        }
    }
}
