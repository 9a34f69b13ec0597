//! Keeps a hostile frame from ending the process.
//!
//! The generated decoders reserve memory by a count as it stands in the message, and a count of two thousand
//! million aborts, which nobody can catch. So each request is first walked along its outline: every count and
//! length is checked against the bytes that are left. What passes asks for no more elements than it has bytes.
//!
//! Of a tagged field that they know, the decoders take what its type says, whatever length it claims. So such a
//! field must fill its length: else what they read from there on is not what was walked.

mod outline;

use protocol::ApiKey;

use outline::Kind::{Blob, Fixed, Maybe, Numbers, Structure, Structures, Tagged, Text, Texts};
use outline::{Field, Kind, outline};

/// What a text may have: forms of requests that could say more are refused all the same, as Kafka's brokers do.
const TEXT_BYTES_MAX: usize = 32_767;

/// Walks a request: `frame` is without its length. How many elements of arrays and tagged fields it will be decoded to:
/// numbers too, for each of them is a structure in the answer.
///
/// # Errors
/// What is wrong with it, or that nobody here answers it.
pub(crate) fn check(frame: &[u8]) -> Result<usize, String> {
    walk(frame).map(|walked| walked.elements)
}

/// Walks a request, to its end, after which there may be more.
fn walk(frame: &[u8]) -> Result<Reader<'_>, String> {
    let mut reader = Reader { rest: frame, flexible: false, elements: 0 };
    let key = reader.number::<2>().map(i16::from_be_bytes);
    let version = reader.number::<2>().map(i16::from_be_bytes);
    let (Some(key), Some(version)) = (key, version) else {
        return Err(format!("a frame of {} bytes is no request", frame.len()));
    };
    let Ok(api) = ApiKey::try_from(key) else { return Err(format!("request key {key} is not known")) };
    let range = api.valid_versions();
    if version < range.min || version > range.max {
        // Not decoded at all; it is answered, or the connection closed, by its head alone.
        return Ok(Reader { rest: &[], ..reader });
    }
    let Some(fields) = outline(api) else { return Err(format!("{api:?} is not answered here")) };
    let walked = reader.header(api.request_header_version(version)).and_then(|()| {
        reader.flexible = api.request_header_version(version) >= 2;
        reader.walk(version, fields)
    });
    // What is left over at the end is nobody's concern: brokers ignore it (measured on 2.8.2 and 4.3.1), and
    // librdkafka 2.16 sends a Metadata request of version 11 with three bytes too many.
    walked.ok_or_else(|| {
        format!(
            "{api:?} version {version}: its lengths do not add up, or a text has over {TEXT_BYTES_MAX} bytes"
        )
    })?;
    Ok(reader)
}

/// A position in a frame. `None` where the bytes end too early or a length makes no sense.
struct Reader<'a> {
    rest: &'a [u8],
    flexible: bool,
    /// Of arrays and lists of tagged fields.
    elements: usize,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest.split_off(..bytes).map(|_| ())
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*number)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value: u64 = 0;
        for shift in (0..35).step_by(7) {
            let byte = *self.rest.split_off_first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(u32::try_from(value).ok()?).ok();
            }
        }
        None
    }

    /// The length of a field or count of an array, 0 for null; `wide` says which form the classic one is.
    fn length(&mut self, wide: bool) -> Option<usize> {
        let length = if self.flexible {
            i64::try_from(self.varint()?).ok()? - 1
        } else if wide {
            i64::from(i32::from_be_bytes(self.number()?))
        } else {
            i64::from(i16::from_be_bytes(self.number()?))
        };
        if length == -1 { Some(0) } else { usize::try_from(length).ok() }
    }

    /// A count of elements that take at least so many bytes each.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = self.length(true)?;
        (count.checked_mul(bytes_each)? <= self.rest.len()).then_some(count)
    }

    /// An array of elements that are walked one by one: none is empty, so each uses up bytes.
    fn each(&mut self, walk_one: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.count(1)?;
        self.elements += count;
        (0..count).try_for_each(|_| walk_one(self))
    }

    fn text(&mut self) -> Option<()> {
        let length = self.length(false)?;
        if length > TEXT_BYTES_MAX {
            return None;
        }
        self.skip(length)
    }

    /// The tagged fields at the end of a structure of these fields.
    fn tags(&mut self, version: i16, fields: &[Field]) -> Option<()> {
        if !self.flexible {
            return Some(());
        }
        for _ in 0..self.varint()? {
            let number = self.varint()?;
            let length = self.varint()?;
            self.elements += 1;
            let mut tagged = Reader { rest: self.rest.split_off(..length)?, flexible: true, elements: 0 };
            let known = present(version, fields).find_map(|kind| match kind {
                Tagged(known, kind) if *known == number => Some(*kind),
                _ => None,
            });
            if let Some(kind) = known {
                tagged.walk_one(version, kind)?;
                tagged.rest.is_empty().then_some(())?;
                self.elements += tagged.elements;
            }
        }
        Some(())
    }

    /// What follows key and version in a request's header.
    fn header(&mut self, header_version: i16) -> Option<()> {
        self.skip(4)?;
        if header_version >= 1 {
            // The client id keeps its classic form in every version.
            self.text()?;
        }
        self.flexible = header_version >= 2;
        self.tags(header_version, &[])
    }

    fn walk(&mut self, version: i16, fields: &[Field]) -> Option<()> {
        present(version, fields).try_for_each(|kind| self.walk_one(version, kind))?;
        self.tags(version, fields)
    }

    fn walk_one(&mut self, version: i16, kind: &Kind) -> Option<()> {
        match kind {
            Fixed(bytes) => self.skip(*bytes),
            Text => self.text(),
            Blob => {
                let length = self.length(true)?;
                self.skip(length)
            }
            Numbers(bytes) => {
                let count = self.count(*bytes)?;
                self.elements += count;
                self.skip(count * bytes)
            }
            Texts => self.each(Self::text),
            Structure(fields) => self.walk(version, fields),
            Maybe(fields) => match self.number::<1>()? {
                // What the decoders take for there; Kafka takes any number that is not negative.
                [1] => self.walk(version, fields),
                [_] => Some(()),
            },
            Structures(fields) => self.each(|reader| reader.walk(version, fields)),
            // At the end of its structure, if at all.
            Tagged(..) => Some(()),
        }
    }
}

/// The fields that a version has.
fn present(version: i16, fields: &[Field]) -> impl Iterator<Item = &Kind> {
    let has = move |Field(from, to, _): &&Field| (*from..=*to).contains(&version);
    fields.iter().filter(has).map(|Field(_, _, kind)| kind)
}

#[cfg(test)]
mod tests {
    use protocol::messages::*;
    use protocol::{Decodable, Encodable, StrBytes};

    use super::*;
    use crate::profile::Profile;

    /// Tags that are put where there are none: those that some request knows, and some more.
    const TAGS: std::ops::Range<u8> = 0..4;
    /// Sizes they claim: those of numbers and ids, and some more.
    const SIZES: [usize; 9] = [0, 1, 2, 4, 8, 12, 13, 16, 100];

    /// Where the walk is content with a frame, the decoder reads as far as the walk did, or says what is wrong. A
    /// decoder that went elsewhere would find counts there that nobody has looked at.
    fn keep_step<T: Decodable>(api: ApiKey, version: i16, frame: &[u8]) {
        let Ok(walked) = walk(frame) else { return };
        let mut rest = bytes::Bytes::copy_from_slice(frame);
        let decoded = RequestHeader::decode(&mut rest, api.request_header_version(version))
            .and_then(|_| T::decode(&mut rest, version));
        if decoded.is_ok() {
            assert_eq!(rest.len(), walked.rest.len(), "{api:?} version {version} of {frame:?}");
        }
    }

    /// Copies of `frame` with one tagged field wherever a byte may say that there is none.
    fn tagged(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let nowhere_else = (4..frame.len()).filter(|at| frame[*at] == 0);
        let fields = TAGS.flat_map(|tag| SIZES.map(|size| (tag, size)));
        nowhere_else.flat_map(move |at| {
            fields.clone().map(move |(tag, size)| {
                let length = u8::try_from(size).unwrap();
                [&frame[..at], &[1, tag, length], &vec![0; size], &frame[at + 1..]].concat()
            })
        })
    }

    /// `body` passes as a frame in every version that some profile answers, and spoilt copies of it end nothing.
    fn check_all<T: Encodable + Decodable>(api: ApiKey, body: impl Fn(i16) -> T) {
        let range = api.valid_versions();
        let listed = [Profile::V1_1, Profile::V2_8, Profile::V3_9, Profile::V4_3];
        for version in range.min..=range.max {
            if !listed.iter().any(|profile| profile.answers(api, version)) {
                continue;
            }
            let frame = protocol::encode_request(api, version, 7, "me", &body(version)).unwrap().slice(4..);
            assert!(check(&frame).is_ok(), "{api:?} version {version}");
            protocol::server::decode_request(frame.clone()).unwrap();
            for at in 0..frame.len() {
                for spoil in
                    [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff], &[0x7f]]
                {
                    let mut spoilt = frame.to_vec();
                    for (byte, with) in spoilt[at..].iter_mut().zip(spoil) {
                        *byte = *with;
                    }
                    if at >= 4 {
                        keep_step::<T>(api, version, &spoilt);
                    } else if check(&spoilt).is_ok() {
                        let _ = protocol::server::decode_request(spoilt.into());
                    }
                }
                assert!(at < 4 || check(&frame[..at]).is_err() || version > range.max, "{api:?} cut at {at}");
            }
            if api.request_header_version(version) >= 2 {
                tagged(&frame).for_each(|frame| keep_step::<T>(api, version, &frame));
            }
        }
    }

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    #[test]
    fn a_text_has_an_end() {
        let frame = |bytes: usize| {
            let name = StrBytes::from_string("n".repeat(bytes));
            let creation = create_acls_request::AclCreation::default().with_resource_name(name);
            let request = CreateAclsRequest::default().with_creations(vec![creation]);
            protocol::encode_request(ApiKey::CreateAcls, 2, 7, "me", &request).unwrap().slice(4..)
        };
        assert!(check(&frame(32_767)).is_ok());
        assert!(check(&frame(32_768)).is_err());
    }

    #[test]
    fn produce_and_fetch_pass_whole_and_only_whole() {
        check_all(ApiKey::Produce, |version| {
            let partition = produce_request::PartitionProduceData::default()
                .with_records(Some(bytes::Bytes::from_static(b"records")));
            let topic = produce_request::TopicProduceData::default().with_partition_data(vec![partition]);
            let topic = if version <= 12 { topic.with_name(text("t").into()) } else { topic };
            ProduceRequest::default()
                .with_transactional_id(Some(text("x").into()))
                .with_topic_data(vec![topic.clone(), topic])
        });
        check_all(ApiKey::Fetch, |version| {
            let partition = fetch_request::FetchPartition::default().with_fetch_offset(5);
            let topic =
                fetch_request::FetchTopic::default().with_partitions(vec![partition.clone(), partition]);
            let topic = if version <= 12 { topic.with_topic(text("t").into()) } else { topic };
            let mut request = FetchRequest::default().with_topics(vec![topic]).with_max_bytes(5);
            if version >= 11 {
                request = request.with_rack_id(text("rack"));
            }
            if version >= 7 {
                request.forgotten_topics_data =
                    vec![fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2])];
            }
            request
        });
    }

    #[test]
    fn questions_about_topics_pass_whole_and_only_whole() {
        check_all(ApiKey::Metadata, |_| {
            let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(text("t").into()));
            MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic]))
        });
        check_all(ApiKey::ListOffsets, |_| {
            let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(text("t").into())
                .with_partitions(vec![partition]);
            ListOffsetsRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::OffsetForLeaderEpoch, |_| {
            let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(text("t").into())
                .with_partitions(vec![partition]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::DescribeProducers, |_| {
            let topic =
                describe_producers_request::TopicRequest::default().with_partition_indexes(vec![1, 2]);
            DescribeProducersRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::DescribeCluster, |_| DescribeClusterRequest::default());
        check_all(ApiKey::ApiVersions, |version| match version {
            3.. => ApiVersionsRequest::default()
                .with_client_software_name(text("me"))
                .with_client_software_version(text("1")),
            _ => ApiVersionsRequest::default(),
        });
    }

    #[test]
    fn changes_of_topics_pass_whole_and_only_whole() {
        check_all(ApiKey::CreateTopics, |_| {
            let config = create_topics_request::CreatableTopicConfig::default().with_name(text("k"));
            let assigned =
                create_topics_request::CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()]);
            let topic = create_topics_request::CreatableTopic::default()
                .with_name(text("t").into())
                .with_assignments(vec![assigned])
                .with_configs(vec![config.clone(), config.with_value(None)]);
            CreateTopicsRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::CreatePartitions, |_| {
            let assigned = create_partitions_request::CreatePartitionsAssignment::default()
                .with_broker_ids(vec![1.into()]);
            let topic = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(text("t").into())
                .with_assignments(Some(vec![assigned]));
            CreatePartitionsRequest::default().with_topics(vec![topic.clone(), topic.with_assignments(None)])
        });
        check_all(ApiKey::DeleteTopics, |version| match version {
            6.. => DeleteTopicsRequest::default().with_topics(vec![
                delete_topics_request::DeleteTopicState::default().with_name(Some(text("t").into())),
            ]),
            _ => DeleteTopicsRequest::default().with_topic_names(vec![text("t").into()]),
        });
        check_all(ApiKey::DeleteRecords, |_| {
            let partition = delete_records_request::DeleteRecordsPartition::default();
            let topic =
                delete_records_request::DeleteRecordsTopic::default().with_partitions(vec![partition]);
            DeleteRecordsRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::DescribeConfigs, |_| {
            let resource = describe_configs_request::DescribeConfigsResource::default()
                .with_configuration_keys(Some(vec![text("a"), text("b")]));
            DescribeConfigsRequest::default().with_resources(vec![resource])
        });
        check_all(ApiKey::AlterConfigs, |_| {
            let config = alter_configs_request::AlterableConfig::default().with_value(Some(text("v")));
            let resource = alter_configs_request::AlterConfigsResource::default().with_configs(vec![config]);
            AlterConfigsRequest::default().with_resources(vec![resource])
        });
        check_all(ApiKey::IncrementalAlterConfigs, |_| {
            let config =
                incremental_alter_configs_request::AlterableConfig::default().with_value(Some(text("v")));
            let resource =
                incremental_alter_configs_request::AlterConfigsResource::default().with_configs(vec![config]);
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        });
    }

    #[test]
    fn groups_and_transactions_pass_whole_and_only_whole() {
        check_all(ApiKey::InitProducerId, |_| InitProducerIdRequest::default());
        check_all(ApiKey::EndTxn, |_| EndTxnRequest::default().with_transactional_id(text("x").into()));
        check_all(ApiKey::AddOffsetsToTxn, |_| {
            AddOffsetsToTxnRequest::default().with_group_id(text("g").into())
        });
        check_all(ApiKey::FindCoordinator, |version| match version {
            4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("a"), text("b")]),
            _ => FindCoordinatorRequest::default().with_key(text("a")),
        });
        check_all(ApiKey::AddPartitionsToTxn, |version| {
            let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(text("t").into())
                .with_partitions(vec![1]);
            match version {
                4.. => AddPartitionsToTxnRequest::default().with_transactions(vec![
                    add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
                        .with_topics(vec![topic]),
                ]),
                _ => AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![topic]),
            }
        });
        check_all(ApiKey::TxnOffsetCommit, |_| {
            let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_partitions(vec![partition]);
            TxnOffsetCommitRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::OffsetCommit, |_| {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default();
            let topic =
                offset_commit_request::OffsetCommitRequestTopic::default().with_partitions(vec![partition]);
            OffsetCommitRequest::default().with_topics(vec![topic])
        });
        check_all(ApiKey::OffsetFetch, |version| match version {
            8.. => {
                let topic =
                    offset_fetch_request::OffsetFetchRequestTopics::default().with_partition_indexes(vec![1]);
                let group =
                    offset_fetch_request::OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
                OffsetFetchRequest::default().with_groups(vec![group])
            }
            _ => {
                let topic =
                    offset_fetch_request::OffsetFetchRequestTopic::default().with_partition_indexes(vec![1]);
                OffsetFetchRequest::default().with_topics(Some(vec![topic]))
            }
        });
        check_all(ApiKey::OffsetDelete, |_| {
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let topic =
                offset_delete_request::OffsetDeleteRequestTopic::default().with_partitions(vec![partition]);
            OffsetDeleteRequest::default().with_topics(vec![topic])
        });
    }

    #[test]
    fn members_of_groups_pass_whole_and_only_whole() {
        check_all(ApiKey::JoinGroup, |version| {
            let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("p"));
            let request = JoinGroupRequest::default().with_protocols(vec![protocol.clone(), protocol]);
            if version >= 5 { request.with_group_instance_id(Some(text("i"))) } else { request }
        });
        check_all(ApiKey::SyncGroup, |_| {
            let assigned = sync_group_request::SyncGroupRequestAssignment::default();
            SyncGroupRequest::default().with_assignments(vec![assigned])
        });
        check_all(ApiKey::Heartbeat, |_| HeartbeatRequest::default().with_member_id(text("m")));
        check_all(ApiKey::LeaveGroup, |version| match version {
            3.. => LeaveGroupRequest::default()
                .with_members(vec![leave_group_request::MemberIdentity::default()]),
            _ => LeaveGroupRequest::default().with_member_id(text("m")),
        });
        check_all(ApiKey::DescribeGroups, |_| {
            DescribeGroupsRequest::default().with_groups(vec![text("g").into(), text("h").into()])
        });
        check_all(ApiKey::DeleteGroups, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![text("g").into()])
        });
        check_all(ApiKey::ListGroups, |version| match version {
            4.. => ListGroupsRequest::default().with_states_filter(vec![text("Stable")]),
            _ => ListGroupsRequest::default(),
        });
        check_all(ApiKey::ConsumerGroupHeartbeat, |_| {
            let owned = consumer_group_heartbeat_request::TopicPartitions::default();
            ConsumerGroupHeartbeatRequest::default()
                .with_subscribed_topic_names(Some(vec![text("t").into()]))
                .with_topic_partitions(Some(vec![owned.with_partitions(vec![1, 2])]))
        });
        check_all(ApiKey::ConsumerGroupDescribe, |_| {
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![text("g").into()])
        });
    }

    #[test]
    fn access_and_elections_pass_whole_and_only_whole() {
        check_all(ApiKey::DescribeAcls, |_| {
            DescribeAclsRequest::default()
                .with_resource_name_filter(Some(text("r")))
                .with_resource_type_filter(2)
                .with_pattern_type_filter(3)
        });
        check_all(ApiKey::CreateAcls, |_| {
            let acl = create_acls_request::AclCreation::default().with_resource_pattern_type(3);
            CreateAclsRequest::default().with_creations(vec![acl.clone(), acl])
        });
        check_all(ApiKey::DeleteAcls, |_| {
            let filter = delete_acls_request::DeleteAclsFilter::default().with_pattern_type_filter(3);
            DeleteAclsRequest::default().with_filters(vec![filter])
        });
        check_all(ApiKey::SaslHandshake, |_| SaslHandshakeRequest::default().with_mechanism(text("PLAIN")));
        check_all(ApiKey::SaslAuthenticate, |_| {
            SaslAuthenticateRequest::default().with_auth_bytes(bytes::Bytes::from_static(b"secret"))
        });
        check_all(ApiKey::ElectLeaders, |_| {
            let asked = elect_leaders_request::TopicPartitions::default().with_partitions(vec![1]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![asked]))
        });
        check_all(ApiKey::DescribeTopicPartitions, |_| {
            let cursor = describe_topic_partitions_request::Cursor::default();
            let asked = describe_topic_partitions_request::TopicRequest::default();
            DescribeTopicPartitionsRequest::default().with_topics(vec![asked]).with_cursor(Some(cursor))
        });
    }
}
