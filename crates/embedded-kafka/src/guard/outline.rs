//! What each request is made of, field by field, as far as its lengths matter.
//!
//! Source: the protocol's message definitions.

use protocol::ApiKey;

use Kind::{Blob, Fixed, Maybe, Numbers, Structure, Structures, Tagged, Text, Texts};

/// A kind of field.
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes with a 32-bit length, or null.
    Blob,
    /// An array of elements of so many bytes.
    Numbers(usize),
    /// An array of strings.
    Texts,
    /// An array of structures.
    Structures(&'static [Field]),
    /// A structure.
    Structure(&'static [Field]),
    /// A structure or, by the byte in front of it, none.
    Maybe(&'static [Field]),
    /// A field with a tag of this number, at the end of its structure.
    Tagged(usize, &'static Kind),
}

/// A field, and the versions that have it.
pub(super) struct Field(pub(super) i16, pub(super) i16, pub(super) Kind);

const fn always(kind: Kind) -> Field {
    Field(0, i16::MAX, kind)
}

const fn since(version: i16, kind: Kind) -> Field {
    Field(version, i16::MAX, kind)
}

const fn until(version: i16, kind: Kind) -> Field {
    Field(0, version, kind)
}

const B1: Kind = Fixed(1);
const B2: Kind = Fixed(2);
const B4: Kind = Fixed(4);
const B8: Kind = Fixed(8);
const ID: Kind = Fixed(16);

/// `topics: [name, [partition…]]`.
const INDEXES: &[Field] = &[always(Text), always(Numbers(4))];
/// A configured resource: `type, name, [name, value]`.
const RESOURCE: &[Field] = &[always(B1), always(Text), always(Structures(&[always(Text), always(Text)]))];
const CHANGED_RESOURCE: &[Field] =
    &[always(B1), always(Text), always(Structures(&[always(Text), always(B1), always(Text)]))];
/// An offset to be committed.
const TXN_OFFSET: &[Field] = &[always(B4), always(B8), since(2, B4), always(Text)];

const PRODUCE: &[Field] = &[
    always(Text),
    always(B2),
    always(B4),
    always(Structures(&[until(12, Text), since(13, ID), always(Structures(&[always(B4), always(Blob)]))])),
];
const FETCH: &[Field] = &[
    until(14, B4),
    always(B4),
    always(B4),
    always(B4),
    always(B1),
    since(7, B4),
    since(7, B4),
    always(Structures(&[
        until(12, Text),
        since(13, ID),
        always(Structures(&[
            always(B4),
            since(9, B4),
            always(B8),
            since(12, B4),
            since(5, B8),
            always(B4),
            since(17, Tagged(0, &ID)),
            since(18, Tagged(1, &B8)),
        ])),
    ])),
    since(7, Structures(&[until(12, Text), since(13, ID), always(Numbers(4))])),
    since(11, Text),
    since(12, Tagged(0, &Text)),
    since(15, Tagged(1, &Structure(&[always(B4), always(B8)]))),
];
const LIST_OFFSETS: &[Field] = &[
    always(B4),
    since(2, B1),
    always(Structures(&[
        always(Text),
        always(Structures(&[always(B4), since(4, B4), always(B8), Field(0, 0, B4)])),
    ])),
    since(10, B4),
];
const METADATA: &[Field] =
    &[always(Structures(&[since(10, ID), always(Text)])), since(4, B1), Field(8, 10, B1), since(8, B1)];
const OFFSET_COMMIT: &[Field] = &[
    always(Text),
    since(1, B4),
    since(1, Text),
    since(7, Text),
    Field(2, 4, B8),
    always(Structures(&[
        always(Text),
        always(Structures(&[always(B4), always(B8), since(6, B4), always(Text)])),
    ])),
];
const OFFSET_FETCH: &[Field] = &[
    until(7, Text),
    until(7, Structures(INDEXES)),
    since(8, Structures(&[always(Text), since(9, Text), since(9, B4), always(Structures(INDEXES))])),
    since(7, B1),
];
const FIND_COORDINATOR: &[Field] = &[until(3, Text), since(1, B1), since(4, Texts)];
const API_VERSIONS: &[Field] = &[since(3, Text), since(3, Text)];
const CREATE_TOPICS: &[Field] = &[
    always(Structures(&[
        always(Text),
        always(B4),
        always(B2),
        always(Structures(&[always(B4), always(Numbers(4))])),
        always(Structures(&[always(Text), always(Text)])),
    ])),
    always(B4),
    since(1, B1),
];
const DELETE_TOPICS: &[Field] =
    &[since(6, Structures(&[always(Text), always(ID)])), until(5, Texts), always(B4)];
const DELETE_RECORDS: &[Field] =
    &[always(Structures(&[always(Text), always(Structures(&[always(B4), always(B8)]))])), always(B4)];
const INIT_PRODUCER_ID: &[Field] = &[always(Text), always(B4), since(3, B8), since(3, B2)];
const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    since(3, B4),
    always(Structures(&[always(Text), always(Structures(&[always(B4), since(2, B4), always(B4)]))])),
];
const ADD_PARTITIONS_TO_TXN: &[Field] = &[
    since(4, Structures(&[always(Text), always(B8), always(B2), always(B1), always(Structures(INDEXES))])),
    until(3, Text),
    until(3, B8),
    until(3, B2),
    until(3, Structures(INDEXES)),
];
const ADD_OFFSETS_TO_TXN: &[Field] = &[always(Text), always(B8), always(B2), always(Text)];
const END_TXN: &[Field] = &[always(Text), always(B8), always(B2), always(B1)];
const TXN_OFFSET_COMMIT: &[Field] = &[
    always(Text),
    always(Text),
    always(B8),
    always(B2),
    since(3, B4),
    since(3, Text),
    since(3, Text),
    always(Structures(&[always(Text), always(Structures(TXN_OFFSET))])),
];
const DESCRIBE_CONFIGS: &[Field] =
    &[always(Structures(&[always(B1), always(Text), always(Texts)])), since(1, B1), since(3, B1)];
const ALTER_CONFIGS: &[Field] = &[always(Structures(RESOURCE)), always(B1)];
const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[always(Structures(CHANGED_RESOURCE)), always(B1)];
const CREATE_PARTITIONS: &[Field] = &[
    always(Structures(&[always(Text), always(B4), always(Structures(&[always(Numbers(4))]))])),
    always(B4),
    always(B1),
];
const OFFSET_DELETE: &[Field] =
    &[always(Text), always(Structures(&[always(Text), always(Structures(&[always(B4)]))]))];
const DESCRIBE_CLUSTER: &[Field] = &[always(B1), since(1, B1), since(2, B1)];
const DESCRIBE_PRODUCERS: &[Field] = &[always(Structures(INDEXES))];
const JOIN_GROUP: &[Field] = &[
    always(Text),
    always(B4),
    since(1, B4),
    always(Text),
    since(5, Text),
    always(Text),
    always(Structures(&[always(Text), always(Blob)])),
    since(8, Text),
];
const SYNC_GROUP: &[Field] = &[
    always(Text),
    always(B4),
    always(Text),
    since(3, Text),
    since(5, Text),
    since(5, Text),
    always(Structures(&[always(Text), always(Blob)])),
];
const HEARTBEAT: &[Field] = &[always(Text), always(B4), always(Text), since(3, Text)];
const LEAVE_GROUP: &[Field] =
    &[always(Text), until(2, Text), since(3, Structures(&[always(Text), always(Text), since(5, Text)]))];
const DESCRIBE_GROUPS: &[Field] = &[always(Texts), since(3, B1)];
const LIST_GROUPS: &[Field] = &[since(4, Texts), since(5, Texts)];
const DELETE_GROUPS: &[Field] = &[always(Texts)];
const CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    always(Text),
    always(Text),
    always(B4),
    always(Text),
    always(Text),
    always(B4),
    always(Texts),
    since(1, Text),
    always(Text),
    always(Structures(&[always(ID), always(Numbers(4))])),
];
const CONSUMER_GROUP_DESCRIBE: &[Field] = &[always(Texts), always(B1)];
/// What ACLs are about, and who may do what: an ACL, or a filter of them.
const ACL: &[Field] =
    &[always(B1), always(Text), always(B1), always(Text), always(Text), always(B1), always(B1)];
const ACLS: &[Field] = &[always(Structures(ACL))];
const SASL_HANDSHAKE: &[Field] = &[always(Text)];
const SASL_AUTHENTICATE: &[Field] = &[always(Blob)];
const ELECT_LEADERS: &[Field] = &[since(1, B1), always(Structures(INDEXES)), always(B4)];
const DESCRIBE_TOPIC_PARTITIONS: &[Field] =
    &[always(Structures(&[always(Text)])), always(B4), always(Maybe(&[always(Text), always(B4)]))];

/// The fields of a request; `None` for one that is not decoded here.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::Metadata => METADATA,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::ApiVersions => API_VERSIONS,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => DELETE_TOPICS,
        ApiKey::DeleteRecords => DELETE_RECORDS,
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        ApiKey::AddPartitionsToTxn => ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => ADD_OFFSETS_TO_TXN,
        ApiKey::EndTxn => END_TXN,
        ApiKey::TxnOffsetCommit => TXN_OFFSET_COMMIT,
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => ALTER_CONFIGS,
        ApiKey::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::OffsetDelete => OFFSET_DELETE,
        ApiKey::DescribeCluster => DESCRIBE_CLUSTER,
        ApiKey::DescribeProducers => DESCRIBE_PRODUCERS,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::DescribeGroups => DESCRIBE_GROUPS,
        ApiKey::ListGroups => LIST_GROUPS,
        ApiKey::DeleteGroups => DELETE_GROUPS,
        ApiKey::ConsumerGroupHeartbeat => CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => CONSUMER_GROUP_DESCRIBE,
        ApiKey::DescribeAcls => ACL,
        ApiKey::CreateAcls | ApiKey::DeleteAcls => ACLS,
        ApiKey::SaslHandshake => SASL_HANDSHAKE,
        ApiKey::SaslAuthenticate => SASL_AUTHENTICATE,
        ApiKey::ElectLeaders => ELECT_LEADERS,
        ApiKey::DescribeTopicPartitions => DESCRIBE_TOPIC_PARTITIONS,
        _ => return None,
    })
}
