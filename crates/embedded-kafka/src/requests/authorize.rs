//! What a request may not do, where the cluster has an authorizer: found out before it is looked at.
//!
//! What is denied then fails as a fault on request would, topic by topic or as a whole; requests about
//! groups ask for themselves, as each of several groups may be denied.

use std::collections::BTreeMap;

use protocol::server::RequestKind;
use protocol::{ApiKey, ErrorCode};

use crate::acls::{CLUSTER_NAME, Who, operation, resource};
use crate::profile::Profile;
use crate::requests::{self, Ask};
use crate::state::State;

/// What of a request is denied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials {
    pub(super) whole: Option<ErrorCode>,
    pub(super) topics: BTreeMap<String, ErrorCode>,
    /// What is about brokers' settings, in requests that may be about topics', too.
    pub(super) settings_of_brokers: Option<ErrorCode>,
}

/// What of a request its sender may not do.
pub(super) fn denials(state: &State, ask: &Ask, request: &RequestKind) -> Denials {
    let mut denials = Denials::default();
    if state.authorizer.is_none() {
        return denials;
    }
    if let Some(wanted) = topic_operation(ask) {
        let mentioned = requests::mentioned(state, ask.broker, request);
        let may_create = ask.api == ApiKey::CreateTopics
            && state.may(ask, operation::CREATE, resource::CLUSTER, CLUSTER_NAME);
        // Before KIP-277 (2.0) topics were created by leave of the cluster alone.
        let code = match (ask.api, state.profile) {
            (ApiKey::CreateTopics, Profile::V1_1) => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            _ => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
        };
        for at in mentioned {
            let name = at.topic.as_str();
            if !may_create && !state.may(ask, wanted, resource::TOPIC, name) {
                denials.topics.insert(name.to_owned(), code);
            }
        }
    }
    denials.whole = whole(state, ask, request);
    denials.settings_of_brokers = match ask.api {
        ApiKey::DescribeConfigs => denied_of_cluster(state, ask, operation::DESCRIBE_CONFIGS),
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            denied_of_cluster(state, ask, operation::ALTER_CONFIGS)
        }
        _ => None,
    };
    denials
}

fn denied_of_cluster(state: &State, ask: &Ask, wanted: i8) -> Option<ErrorCode> {
    let may = state.may(ask, wanted, resource::CLUSTER, CLUSTER_NAME);
    (!may).then_some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)
}

/// What must be allowed on every topic of a request.
fn topic_operation(ask: &Ask) -> Option<i8> {
    match ask.api {
        // From then on only brokers ask, for others (KIP-890).
        ApiKey::AddPartitionsToTxn if ask.version >= 4 => None,
        ApiKey::Produce | ApiKey::AddPartitionsToTxn => Some(operation::WRITE),
        ApiKey::Fetch
        | ApiKey::OffsetCommit
        | ApiKey::TxnOffsetCommit
        | ApiKey::OffsetDelete
        | ApiKey::DescribeProducers => Some(operation::READ),
        ApiKey::Metadata
        | ApiKey::ListOffsets
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::OffsetFetch
        | ApiKey::DescribeTopicPartitions
        | ApiKey::ConsumerGroupHeartbeat => Some(operation::DESCRIBE),
        ApiKey::CreateTopics => Some(operation::CREATE),
        ApiKey::CreatePartitions => Some(operation::ALTER),
        ApiKey::DeleteTopics | ApiKey::DeleteRecords => Some(operation::DELETE),
        ApiKey::DescribeConfigs => Some(operation::DESCRIBE_CONFIGS),
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => Some(operation::ALTER_CONFIGS),
        _ => None,
    }
}

/// Why none of a request may be done.
fn whole(state: &State, ask: &Ask, request: &RequestKind) -> Option<ErrorCode> {
    let transactional = |id: &str, wanted: i8| {
        let may = state.may(ask, wanted, resource::TRANSACTIONAL_ID, id);
        (!may).then_some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    };
    let cluster = |wanted: i8| denied_of_cluster(state, ask, wanted);
    match request {
        RequestKind::Produce(request) => transactional(request.transactional_id.as_ref()?, operation::WRITE),
        RequestKind::InitProducerId(request) => match &request.transactional_id {
            Some(id) => transactional(id, operation::WRITE),
            // Who may write to any topic at all may do so idempotently (KIP-679, 3.0; KAFKA-10619 in 2.8).
            None if state.profile >= Profile::V2_8
                && state.may_any(ask, operation::WRITE, resource::TOPIC) =>
            {
                None
            }
            None => cluster(operation::IDEMPOTENT_WRITE),
        },
        RequestKind::AddPartitionsToTxn(request) if ask.version < 4 => {
            transactional(&request.v3_and_below_transactional_id, operation::WRITE)
        }
        RequestKind::AddPartitionsToTxn(_) => cluster(operation::CLUSTER_ACTION),
        RequestKind::AddOffsetsToTxn(request) => transactional(&request.transactional_id, operation::WRITE)
            .or_else(|| {
                let may = state.may(ask, operation::READ, resource::GROUP, &request.group_id.0);
                (!may).then_some(ErrorCode::GROUP_AUTHORIZATION_FAILED)
            }),
        RequestKind::EndTxn(request) => transactional(&request.transactional_id, operation::WRITE),
        RequestKind::TxnOffsetCommit(request) => transactional(&request.transactional_id, operation::WRITE),
        RequestKind::DescribeAcls(_) => cluster(operation::DESCRIBE),
        RequestKind::CreateAcls(_) | RequestKind::DeleteAcls(_) | RequestKind::ElectLeaders(_) => {
            cluster(operation::ALTER)
        }
        _ => None,
    }
}

/// What must be allowed on the group of a request.
pub(super) fn group_operation(api: ApiKey) -> i8 {
    match api {
        ApiKey::OffsetFetch | ApiKey::DescribeGroups | ApiKey::ConsumerGroupDescribe | ApiKey::ListGroups => {
            operation::DESCRIBE
        }
        ApiKey::DeleteGroups | ApiKey::OffsetDelete => operation::DELETE,
        _ => operation::READ,
    }
}

impl State {
    /// Whether the sender of a request may do this; everybody may everything where there is no authorizer.
    pub(crate) fn may(&self, ask: &Ask, wanted: i8, resource_type: i8, name: &str) -> bool {
        let authorizer = self.authorizer.as_ref();
        authorizer.is_none_or(|authorizer| authorizer.may(&who(ask), wanted, resource_type, name))
    }

    fn may_any(&self, ask: &Ask, wanted: i8, resource_type: i8) -> bool {
        let authorizer = self.authorizer.as_ref();
        authorizer.is_none_or(|authorizer| authorizer.may_any(&who(ask), wanted, resource_type))
    }

    /// Whether the sender of a request may do with a group what the request is for.
    pub(crate) fn check_group_access(&self, ask: &Ask, group: &str) -> Result<(), ErrorCode> {
        let may = self.may(ask, group_operation(ask.api), resource::GROUP, group);
        if may { Ok(()) } else { Err(ErrorCode::GROUP_AUTHORIZATION_FAILED) }
    }
}

fn who(ask: &Ask) -> Who<'_> {
    Who { principal: &ask.principal, host: ask.client_host.trim_start_matches('/') }
}
