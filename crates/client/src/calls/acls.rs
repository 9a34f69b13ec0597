//! DescribeAcls, CreateAcls, DeleteAcls: the ACLs of topics and groups.
//!
//! Any broker answers: with ZooKeeper each has the authorizer, with KRaft each passes changes on to the controller.
//! Another broker may show a change a little later.
//!
//! Source: KIP-140, KIP-290. The generated messages begin with the version of Kafka 2.0, the first with prefixes.

use model::{
    AccessControlEntry, Acl, AclOperation, AclPermission, PatternType, ResourcePattern, ResourceType,
};
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::delete_acls_request::DeleteAclsFilter;
use protocol::messages::describe_acls_response::DescribeAclsResource;
use protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use protocol::{ApiKey, ErrorCode};

use crate::calls::{Refusal, outcome, str_bytes};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

/// ACLs in one request for a change: a controller works on it as a whole.
const CHANGED_AT_ONCE: usize = 500;

const NEEDS: &str = "Kafka 2.0 or newer";

/// `AclOperation.ANY` and `AclPermissionType.ANY`.
const ANY: i8 = 1;
/// `PatternType.ANY`: literal ones and prefixed ones.
const ANY_PATTERN: i8 = 1;

impl Cluster {
    /// All ACLs of topics or of groups. One of a kind that this program does not know (a pattern that is neither literal
    /// nor prefixed) is left out.
    ///
    /// # Errors
    /// [`CallError::Refused`] with SECURITY_DISABLED where the cluster has no authorizer, and with
    /// CLUSTER_AUTHORIZATION_FAILED without DESCRIBE on the cluster; else as for any call.
    pub async fn describe_acls(&self, resource_type: ResourceType) -> Result<Vec<Acl>, CallError> {
        let request = |_version: i16| {
            DescribeAclsRequest::default()
                .with_resource_type_filter(resource_number(resource_type))
                .with_resource_name_filter(None)
                .with_pattern_type_filter(ANY_PATTERN)
                .with_principal_filter(None)
                .with_host_filter(None)
                .with_operation(ANY)
                .with_permission_type(ANY)
        };
        let answer = self
            .call(To::Anyone, Repeat::Harmless, NEEDS, request, |response| response.throttle_time_ms)
            .await?;
        outcome(answer.body.error_code, answer.body.error_message).map_err(|refusal| CallError::Refused {
            api: ApiKey::DescribeAcls,
            address: answer.connection.address().clone(),
            error: refusal.error,
            message: refusal.message,
        })?;
        Ok(answer.body.resources.into_iter().flat_map(read).collect())
    }

    /// Creates `acls`, and says for each whether it is there now, in their order. One that was there is no error.
    ///
    /// # Errors
    /// As for any call. Those of earlier requests may be there then; to create them again does no harm.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Result<(), Refusal>>, CallError> {
        let mut outcomes = Vec::new();
        for acls in acls.chunks(CHANGED_AT_ONCE) {
            let request = |_version: i16| {
                CreateAclsRequest::default().with_creations(acls.iter().map(creation).collect())
            };
            let answer = self
                .call(To::Anyone, Repeat::Harmless, NEEDS, request, |response| response.throttle_time_ms)
                .await?;
            let results = answer.body.results.into_iter();
            let told = results.map(|result| outcome(result.error_code, result.error_message));
            outcomes.extend(one_each(told, acls.len()));
        }
        Ok(outcomes)
    }

    /// Deletes exactly `acls`, and says for each whether it is gone now, in their order. One that was not there is no
    /// error.
    ///
    /// # Errors
    /// As for any call. Those of earlier requests may be gone then; to delete them again does no harm.
    pub async fn delete_acls(&self, acls: &[Acl]) -> Result<Vec<Result<(), Refusal>>, CallError> {
        let mut outcomes = Vec::new();
        for acls in acls.chunks(CHANGED_AT_ONCE) {
            let request =
                |_version: i16| DeleteAclsRequest::default().with_filters(acls.iter().map(filter).collect());
            let answer = self
                .call(To::Anyone, Repeat::Harmless, NEEDS, request, |response| response.throttle_time_ms)
                .await?;
            let told = answer.body.filter_results.into_iter().map(|result| {
                outcome(result.error_code, result.error_message)?;
                let mut matching = result.matching_acls.into_iter();
                matching.try_for_each(|acl| outcome(acl.error_code, acl.error_message))
            });
            outcomes.extend(one_each(told, acls.len()));
        }
        Ok(outcomes)
    }
}

/// An outcome for each of `count` that were asked for: of what the broker left out nothing is known.
fn one_each(
    told: impl Iterator<Item = Result<(), Refusal>>,
    count: usize,
) -> impl Iterator<Item = Result<(), Refusal>> {
    let missing =
        || Err(Refusal { error: ErrorCode::UNKNOWN_SERVER_ERROR, message: Some("no answer".into()) });
    told.chain(std::iter::repeat_with(missing)).take(count)
}

fn read(resource: DescribeAclsResource) -> Vec<Acl> {
    let resource_type = match resource.resource_type {
        TOPIC => ResourceType::Topic,
        GROUP => ResourceType::Group,
        _ => return Vec::new(),
    };
    let pattern_type = match resource.pattern_type {
        LITERAL => PatternType::Literal,
        PREFIXED => PatternType::Prefixed,
        _ => return Vec::new(),
    };
    let pattern = ResourcePattern { resource_type, pattern_type, name: resource.resource_name.to_string() };
    let read = |acl: protocol::messages::describe_acls_response::AclDescription| {
        let permission = match acl.permission_type {
            DENY => AclPermission::Deny,
            ALLOW => AclPermission::Allow,
            _ => return None,
        };
        let entry = AccessControlEntry {
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            operation: AclOperation(acl.operation),
            permission,
        };
        Some(Acl { resource: pattern.clone(), entry })
    };
    resource.acls.into_iter().filter_map(read).collect()
}

fn creation(Acl { resource, entry }: &Acl) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource_number(resource.resource_type))
        .with_resource_name(str_bytes(&resource.name))
        .with_resource_pattern_type(pattern_number(resource.pattern_type))
        .with_principal(str_bytes(&entry.principal))
        .with_host(str_bytes(&entry.host))
        .with_operation(entry.operation.0)
        .with_permission_type(permission_number(entry.permission))
}

/// A filter that matches this one and no other.
fn filter(Acl { resource, entry }: &Acl) -> DeleteAclsFilter {
    DeleteAclsFilter::default()
        .with_resource_type_filter(resource_number(resource.resource_type))
        .with_resource_name_filter(Some(str_bytes(&resource.name)))
        .with_pattern_type_filter(pattern_number(resource.pattern_type))
        .with_principal_filter(Some(str_bytes(&entry.principal)))
        .with_host_filter(Some(str_bytes(&entry.host)))
        .with_operation(entry.operation.0)
        .with_permission_type(permission_number(entry.permission))
}

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

fn resource_number(resource_type: ResourceType) -> i8 {
    match resource_type {
        ResourceType::Topic => TOPIC,
        ResourceType::Group => GROUP,
    }
}

fn pattern_number(pattern_type: PatternType) -> i8 {
    match pattern_type {
        PatternType::Literal => LITERAL,
        PatternType::Prefixed => PREFIXED,
    }
}

fn permission_number(permission: AclPermission) -> i8 {
    match permission {
        AclPermission::Deny => DENY,
        AclPermission::Allow => ALLOW,
    }
}
