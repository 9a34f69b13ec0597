//! ListGroups: those that this broker keeps, by state and type if asked.

use protocol::ErrorCode;
use protocol::messages::list_groups_request::ListGroupsRequest;
use protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use protocol::messages::{self};

use crate::acls::{CLUSTER_NAME, operation, resource};
use crate::profile::Profile;
use crate::requests::{Ask, text};
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: &ListGroupsRequest) -> ListGroupsResponse {
    let response = ListGroupsResponse::default();
    if let Some(code) = ask.fails_whole() {
        return response.with_error_code(code.0);
    }
    if state.controller().is_none() {
        return response.with_error_code(ErrorCode::COORDINATOR_NOT_AVAILABLE.0);
    }
    // KIP-518 compared as written; KIP-848 no longer does.
    let loose = state.profile >= Profile::V3_9;
    let wanted = |filter: &[protocol::StrBytes], is: &str| {
        let matches = |wanted: &protocol::StrBytes| {
            if loose { wanted.eq_ignore_ascii_case(is) } else { wanted.as_str() == is }
        };
        filter.is_empty() || filter.iter().any(matches)
    };
    let may_all = state.may(ask, operation::DESCRIBE, resource::CLUSTER, CLUSTER_NAME);
    let mut groups = Vec::new();
    for (id, group) in state.groups.iter() {
        let (phase, kind) = (group.state_name(), group.type_name());
        if state.coordinator(id) != Some(ask.broker)
            || !(may_all || state.may(ask, operation::DESCRIBE, resource::GROUP, id))
            || !wanted(&request.states_filter, phase)
            || !wanted(&request.types_filter, kind)
        {
            continue;
        }
        let told = ListedGroup::default()
            .with_group_id(messages::GroupId(text(id.clone())))
            .with_protocol_type(text(group.protocol_type()));
        let told = if ask.version >= 4 { told.with_group_state(text(phase)) } else { told };
        groups.push(if ask.version >= 5 { told.with_group_type(text(kind)) } else { told });
    }
    response.with_groups(groups)
}
