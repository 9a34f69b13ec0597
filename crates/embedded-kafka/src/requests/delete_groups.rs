//! DeleteGroups: groups without members, and what they have committed.

use protocol::ErrorCode;
use protocol::messages::delete_groups_request::DeleteGroupsRequest;
use protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

use crate::profile::Profile;
use crate::requests::Ask;
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|group| {
        let code = delete(state, ask, &group.0).err().unwrap_or(ErrorCode::NONE);
        DeletableGroupResult::default().with_group_id(group).with_error_code(code.0)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

fn delete(state: &mut State, ask: &Ask, group: &str) -> Result<(), ErrorCode> {
    let nameless = if state.profile >= Profile::V2_8 { ErrorCode::NONE } else { ErrorCode::INVALID_GROUP_ID };
    state.check_group(ask, group, nameless)?;
    let found = state.groups.get(group).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
    if !found.is_empty() {
        return Err(ErrorCode::NON_EMPTY_GROUP);
    }
    state.groups.delete(group);
    Ok(())
}
