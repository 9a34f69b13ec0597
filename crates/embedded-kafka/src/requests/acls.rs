//! DescribeAcls, CreateAcls and DeleteAcls: the table that the authorizer goes by.

use protocol::ErrorCode;
use protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use protocol::messages::describe_acls_request::DescribeAclsRequest;
use protocol::messages::describe_acls_response::{
    AclDescription, DescribeAclsResource, DescribeAclsResponse,
};

use crate::acls::{Acl, AclFilter};
use crate::requests::{Ask, text};
use crate::state::State;

/// No table in memory grows beyond this by requests; what their names take is counted by [`State::keep`].
const ACLS_MAX: usize = 100_000;

/// How often one request may have an ACL compared with a filter.
const LOOKS_MAX: usize = 10_000_000;

/// Why none of it is done, and Kafka's words.
fn refused(state: &State, ask: &Ask, what_is_missing: &str) -> Option<(ErrorCode, Option<String>)> {
    match ask.fails_whole() {
        Some(code) => Some((code, None)),
        None if state.authorizer.is_none() => {
            Some((ErrorCode::SECURITY_DISABLED, Some(what_is_missing.to_owned())))
        }
        None => None,
    }
}

pub(super) fn describe(state: &State, ask: &Ask, request: &DescribeAclsRequest) -> DescribeAclsResponse {
    let response = DescribeAclsResponse::default();
    if let Some((code, message)) = refused(state, ask, "No Authorizer is configured on the broker") {
        return response.with_error_code(code.0).with_error_message(message.map(text));
    }
    let filter = AclFilter {
        resource_type: request.resource_type_filter,
        resource_name: request.resource_name_filter.as_ref().map(ToString::to_string),
        pattern: request.pattern_type_filter,
        principal: request.principal_filter.as_ref().map(ToString::to_string),
        host: request.host_filter.as_ref().map(ToString::to_string),
        operation: request.operation,
        permission: request.permission_type,
    };
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    // In order, so that those of one resource are neighbours.
    for acl in state.authorizer.iter().flat_map(|authorizer| &authorizer.acls) {
        if !filter.matches(acl) {
            continue;
        }
        let described = AclDescription::default()
            .with_principal(text(acl.principal.clone()))
            .with_host(text(acl.host.clone()))
            .with_operation(acl.operation)
            .with_permission_type(acl.permission);
        let same = |resource: &&mut DescribeAclsResource| {
            resource.resource_type == acl.resource_type
                && resource.resource_name.as_str() == acl.resource_name
                && resource.pattern_type == acl.pattern
        };
        match resources.last_mut().filter(same) {
            Some(resource) => resource.acls.push(described),
            None => resources.push(
                DescribeAclsResource::default()
                    .with_resource_type(acl.resource_type)
                    .with_resource_name(text(acl.resource_name.clone()))
                    .with_pattern_type(acl.pattern)
                    .with_acls(vec![described]),
            ),
        }
    }
    response.with_error_message(None).with_resources(resources)
}

pub(super) fn create(state: &mut State, ask: &Ask, request: CreateAclsRequest) -> CreateAclsResponse {
    // One that would be several spoils the whole request.
    let spoilt = request.creations.iter().any(|creation| read_acl(creation).is_filter());
    let spoilt = spoilt.then_some((ErrorCode::UNKNOWN_SERVER_ERROR, None));
    let whole = refused(state, ask, nothing_to_change(state)).or(spoilt);
    let results = request.creations.into_iter().map(|creation| {
        let created = match &whole {
            Some(refused) => Err(refused.clone()),
            None => create_one(state, &creation),
        };
        let result = AclCreationResult::default();
        match created {
            Ok(()) => result,
            Err((code, message)) => result.with_error_code(code.0).with_error_message(message.map(text)),
        }
    });
    CreateAclsResponse::default().with_results(results.collect())
}

/// What a broker without an authorizer says to who wants to change its table.
fn nothing_to_change(state: &State) -> &'static str {
    match state.profile.is_kraft() {
        true => "No Authorizer is configured.",
        false => "No Authorizer is configured on the broker.",
    }
}

fn read_acl(creation: &AclCreation) -> Acl {
    Acl {
        resource_type: creation.resource_type,
        resource_name: creation.resource_name.to_string(),
        pattern: creation.resource_pattern_type,
        principal: creation.principal.to_string(),
        host: creation.host.to_string(),
        operation: creation.operation,
        permission: creation.permission_type,
    }
}

fn create_one(state: &mut State, creation: &AclCreation) -> Result<(), (ErrorCode, Option<String>)> {
    let acl = read_acl(creation);
    let invalid = |message: &str| Err((ErrorCode::INVALID_REQUEST, Some(message.to_owned())));
    if let Some(fault) = acl.fault() {
        return invalid(fault);
    }
    if !acl.principal.contains(':') {
        return match state.profile.is_kraft() {
            true => invalid("Could not parse principal"),
            false => Err((ErrorCode::UNKNOWN_SERVER_ERROR, None)),
        };
    }
    let Some(authorizer) = &state.authorizer else { return Ok(()) };
    if authorizer.acls.contains(&acl) {
        return Ok(());
    }
    if authorizer.acls.len() >= ACLS_MAX {
        return invalid("too many ACLs");
    }
    state.keep(acl.size()).map_err(|code| (code, Some("the ACLs take too much".to_owned())))?;
    if let Some(authorizer) = &mut state.authorizer {
        authorizer.acls.insert(acl);
    }
    Ok(())
}

pub(super) fn delete(state: &mut State, ask: &Ask, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let whole = refused(state, ask, nothing_to_change(state));
    let mut looks_left = LOOKS_MAX;
    let results = request.filters.into_iter().map(|filter| {
        let result = DeleteAclsFilterResult::default();
        if let Some((code, message)) = &whole {
            return result.with_error_code(code.0).with_error_message(message.clone().map(text));
        }
        let filter = read_filter(&filter);
        if !filter.is_known() {
            return result
                .with_error_code(ErrorCode::INVALID_REQUEST.0)
                .with_error_message(Some(text("the filter has values that are not known")));
        }
        let Some(authorizer) = &mut state.authorizer else { return result };
        let Some(left) = looks_left.checked_sub(authorizer.acls.len()) else {
            return result
                .with_error_code(ErrorCode::POLICY_VIOLATION.0)
                .with_error_message(Some(text("too many filters for so many ACLs")));
        };
        looks_left = left;
        let gone: Vec<Acl> = authorizer.acls.iter().filter(|acl| filter.matches(acl)).cloned().collect();
        for acl in &gone {
            authorizer.acls.remove(acl);
        }
        state.groups.note_less();
        result.with_error_message(None).with_matching_acls(gone.into_iter().map(wire_acl).collect())
    });
    DeleteAclsResponse::default().with_filter_results(results.collect())
}

fn read_filter(filter: &DeleteAclsFilter) -> AclFilter {
    AclFilter {
        resource_type: filter.resource_type_filter,
        resource_name: filter.resource_name_filter.as_ref().map(ToString::to_string),
        pattern: filter.pattern_type_filter,
        principal: filter.principal_filter.as_ref().map(ToString::to_string),
        host: filter.host_filter.as_ref().map(ToString::to_string),
        operation: filter.operation,
        permission: filter.permission_type,
    }
}

fn wire_acl(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_resource_type(acl.resource_type)
        .with_resource_name(text(acl.resource_name))
        .with_pattern_type(acl.pattern)
        .with_principal(text(acl.principal))
        .with_host(text(acl.host))
        .with_operation(acl.operation)
        .with_permission_type(acl.permission)
}
