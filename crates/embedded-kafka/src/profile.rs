//! Which Kafka a cluster pretends to be, and every way in which that matters.
//!
//! The table of request versions is that of the real brokers (their `ApiVersions` answers), with two
//! differences: requests that this crate does not answer are left out, and a maximum above what the
//! message library can encode is lowered to that.

use protocol::{ApiKey, ErrorCode};

/// A Kafka version to be presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// 1.1.1 with ZooKeeper.
    V1_1,
    /// 2.8.2 with ZooKeeper.
    V2_8,
    /// 3.9.2, KRaft.
    V3_9,
    /// 4.3.1, KRaft, `transaction.version` 2.
    #[default]
    V4_3,
}

/// One line of the table: lowest and highest version on 1.1, 2.8, 3.9 and 4.3.
type Row = (ApiKey, [Option<(i16, i16)>; 4]);

const fn row(api: ApiKey, v1_1: i16, v2_8: i16, v3_9: i16, v4_3: (i16, i16)) -> Row {
    (api, [up_to(v1_1), up_to(v2_8), up_to(v3_9), Some(v4_3)])
}

const fn up_to(highest: i16) -> Option<(i16, i16)> {
    if highest < 0 { None } else { Some((0, highest)) }
}

/// 4.3 lists Produce from 0, for the sake of old librdkafka, and refuses 0 to 2 (KAFKA-18659).
const VERSIONS: [Row; 40] = [
    row(ApiKey::Produce, 5, 9, 11, (0, 13)),
    row(ApiKey::Fetch, 7, 12, 17, (4, 18)),
    row(ApiKey::ListOffsets, 2, 6, 9, (1, 10)),
    row(ApiKey::Metadata, 5, 11, 12, (0, 13)),
    row(ApiKey::OffsetCommit, 3, 8, 9, (2, 9)),
    row(ApiKey::OffsetFetch, 3, 7, 9, (1, 9)),
    row(ApiKey::FindCoordinator, 1, 3, 6, (0, 6)),
    row(ApiKey::ApiVersions, 1, 3, 4, (0, 4)),
    row(ApiKey::CreateTopics, 2, 7, 7, (2, 7)),
    row(ApiKey::DeleteTopics, 1, 6, 6, (1, 6)),
    row(ApiKey::DeleteRecords, 0, 2, 2, (0, 2)),
    row(ApiKey::InitProducerId, 0, 4, 5, (0, 5)),
    row(ApiKey::OffsetForLeaderEpoch, 0, 4, 4, (2, 4)),
    row(ApiKey::AddPartitionsToTxn, 0, 3, 5, (0, 5)),
    row(ApiKey::AddOffsetsToTxn, 0, 3, 4, (0, 4)),
    row(ApiKey::EndTxn, 0, 3, 4, (0, 5)),
    row(ApiKey::TxnOffsetCommit, 0, 3, 4, (0, 5)),
    row(ApiKey::DescribeConfigs, 1, 4, 4, (1, 4)),
    row(ApiKey::AlterConfigs, 0, 2, 2, (0, 2)),
    row(ApiKey::CreatePartitions, 0, 3, 3, (0, 3)),
    row(ApiKey::IncrementalAlterConfigs, -1, 1, 1, (0, 1)),
    row(ApiKey::ElectLeaders, -1, 2, 2, (0, 2)),
    row(ApiKey::OffsetDelete, -1, 0, 0, (0, 0)),
    row(ApiKey::DescribeCluster, -1, 0, 1, (0, 2)),
    row(ApiKey::DescribeProducers, -1, 0, 0, (0, 0)),
    row(ApiKey::JoinGroup, 2, 7, 9, (0, 9)),
    row(ApiKey::SyncGroup, 1, 5, 5, (0, 5)),
    row(ApiKey::Heartbeat, 1, 4, 4, (0, 4)),
    row(ApiKey::LeaveGroup, 1, 4, 5, (0, 5)),
    row(ApiKey::DescribeGroups, 1, 5, 5, (0, 6)),
    row(ApiKey::ListGroups, 1, 4, 5, (0, 5)),
    row(ApiKey::DeleteGroups, 0, 2, 2, (0, 2)),
    (ApiKey::DescribeAcls, [None, Some((0, 2)), Some((0, 3)), Some((1, 3))]),
    (ApiKey::CreateAcls, [None, Some((0, 2)), Some((0, 3)), Some((1, 3))]),
    (ApiKey::DeleteAcls, [None, Some((0, 2)), Some((0, 3)), Some((1, 3))]),
    row(ApiKey::SaslHandshake, 1, 1, 1, (0, 1)),
    row(ApiKey::SaslAuthenticate, 0, 2, 2, (0, 2)),
    row(ApiKey::DescribeTopicPartitions, -1, -1, 0, (0, 0)),
    row(ApiKey::ConsumerGroupHeartbeat, -1, -1, 0, (0, 1)),
    row(ApiKey::ConsumerGroupDescribe, -1, -1, 0, (0, 1)),
];

impl Profile {
    /// The requests that such a broker lists, each with its lowest and highest version.
    pub fn versions(self) -> impl Iterator<Item = (ApiKey, i16, i16)> {
        VERSIONS.iter().filter_map(move |(api, by_profile)| {
            by_profile[self as usize].map(|(lowest, highest)| (*api, lowest, highest))
        })
    }

    /// Whether such a broker answers `version` of `api`.
    pub(crate) fn answers(self, api: ApiKey, version: i16) -> bool {
        self.versions()
            .any(|(listed, lowest, highest)| listed == api && (lowest..=highest).contains(&version))
    }

    /// What a group without a name is called: 1.1 only minds who joins it, or deletes it.
    pub(crate) fn nameless_group(self) -> ErrorCode {
        if self >= Profile::V2_8 { ErrorCode::INVALID_GROUP_ID } else { ErrorCode::UNKNOWN_MEMBER_ID }
    }

    /// The generation that somebody is told who may not join.
    pub(crate) fn no_generation(self) -> i32 {
        if self >= Profile::V2_8 { -1 } else { 0 }
    }

    /// Topics have ids (KIP-516, 2.8).
    pub(crate) fn has_topic_ids(self) -> bool {
        self >= Profile::V2_8
    }

    /// Without ZooKeeper any broker takes what only the controller may decide, and forwards it.
    pub(crate) fn is_kraft(self) -> bool {
        self >= Profile::V3_9
    }

    /// What a batch with forbidden content is called: INVALID_RECORD exists since 2.4.
    pub(crate) fn invalid_record(self) -> ErrorCode {
        if self >= Profile::V2_8 { ErrorCode::INVALID_RECORD } else { ErrorCode::CORRUPT_MESSAGE }
    }

    /// What a setting's wrong value is called when a topic is created.
    pub(crate) fn wrong_value_at_creation(self) -> ErrorCode {
        if self >= Profile::V2_8 { ErrorCode::INVALID_CONFIG } else { ErrorCode::UNKNOWN_SERVER_ERROR }
    }

    /// What a change of settings that cannot be made is called: ZooKeeper brokers take it for a bad request.
    pub(crate) fn wrong_change(self) -> ErrorCode {
        if self.is_kraft() { ErrorCode::INVALID_CONFIG } else { ErrorCode::INVALID_REQUEST }
    }

    /// What a change of settings is called that nobody thought of: brokers with ZooKeeper trip over it.
    pub(crate) fn senseless_change(self) -> ErrorCode {
        if self.is_kraft() { ErrorCode::INVALID_REQUEST } else { ErrorCode::UNKNOWN_SERVER_ERROR }
    }

    /// What it is called to add to a list that no broker knows: they trip over it until 4.0.
    pub(crate) fn change_of_unknown_list(self) -> ErrorCode {
        if self >= Profile::V4_3 { ErrorCode::INVALID_CONFIG } else { ErrorCode::UNKNOWN_SERVER_ERROR }
    }

    /// Requests about topics and partitions that do not exist are refused one by one, and names are checked;
    /// 1.1 is more careless about both.
    pub(crate) fn looks_closely(self) -> bool {
        self >= Profile::V2_8
    }

    /// Whether an answer to a batch that is refused with `code` after it was looked at tells the log start.
    pub(crate) fn tells_log_start(self, code: ErrorCode) -> bool {
        let untold = [
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::MESSAGE_TOO_LARGE,
            ErrorCode::RECORD_LIST_TOO_LARGE,
            ErrorCode::CORRUPT_MESSAGE,
        ];
        !untold.contains(&code) && (self >= Profile::V2_8 || code != ErrorCode::INVALID_TIMESTAMP)
    }

    /// A partition without state for a producer id takes any sequence of it (KIP-360, 2.5).
    pub(crate) fn stateless_accepts_any_sequence(self) -> bool {
        self >= Profile::V2_8
    }

    /// 1.1 closes the connection on a batch that fails the first checks, where later ones answer.
    pub(crate) fn closes_on_bad_message_set(self) -> bool {
        self == Profile::V1_1
    }

    /// A transactional batch needs a transactional id in its request.
    pub(crate) fn checks_transactional_id(self) -> bool {
        self >= Profile::V2_8
    }

    /// The first transactional batch of a partition is checked with the coordinator (KIP-890, 3.6).
    pub(crate) fn verifies_transactions(self) -> bool {
        self >= Profile::V3_9
    }

    /// A LogAppendTime bit is taken from a client, and cleared, where the topic has CreateTime (3.6).
    pub(crate) fn takes_append_time_bit(self) -> bool {
        self >= Profile::V3_9
    }

    /// The cleaner marks tombstones with the time at which they may go (KIP-534, 3.1).
    pub(crate) fn sets_delete_horizons(self) -> bool {
        self >= Profile::V3_9
    }

    /// A consumer may fetch from a follower (KIP-392, 2.4).
    pub(crate) fn has_follower_fetching(self) -> bool {
        self >= Profile::V2_8
    }

    /// `transaction.version` as finalized, 0 where such a broker has no features.
    pub(crate) fn transaction_version(self) -> i16 {
        if self >= Profile::V4_3 { 2 } else { 0 }
    }

    /// `metadata.version` as finalized, on KRaft.
    pub(crate) fn metadata_version(self) -> Option<i16> {
        match self {
            Profile::V1_1 | Profile::V2_8 => None,
            Profile::V3_9 => Some(21),
            Profile::V4_3 => Some(30),
        }
    }

    /// How the profile is told in logs.
    pub fn name(self) -> &'static str {
        match self {
            Profile::V1_1 => "1.1",
            Profile::V2_8 => "2.8",
            Profile::V3_9 => "3.9",
            Profile::V4_3 => "4.3",
        }
    }
}
