//! DescribeConfigs: settings of topics and brokers, where each value comes from, and what would be next.

use std::collections::BTreeMap;

use protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::{ErrorCode, StrBytes};

use crate::configs::{self, Kind, Source, Sourced};
use crate::requests::{Ask, text};
use crate::state::{Denied, State, is_invalid_topic_name};

/// Resource types.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut response = DescribeConfigsResponse::default();
    for resource in request.resources {
        let described = match ask.fails_resource(resource.resource_type, &resource.resource_name) {
            Some(code) => Err((code, String::new())),
            None => describe(state, ask, &resource, request.include_synonyms),
        };
        let told_bytes = described.iter().flatten().map(bytes).sum::<usize>();
        if !ask.tells(size_of::<DescribeConfigsResult>() + told_bytes) {
            break;
        }
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        response.results.push(match described {
            Ok(configs) => result.with_error_message(None).with_configs(configs),
            Err((code, message)) => result
                .with_error_code(code.0)
                .with_error_message(Some(message).filter(|message| !message.is_empty()).map(text)),
        });
    }
    response
}

/// What a setting takes in the answer.
fn bytes(told: &DescribeConfigsResourceResult) -> usize {
    let value = |value: &Option<StrBytes>| value.as_ref().map_or(0, |value| value.len());
    let synonym = |synonym: &DescribeConfigsSynonym| {
        size_of::<DescribeConfigsSynonym>() + synonym.name.len() + value(&synonym.value)
    };
    let synonyms = told.synonyms.iter().map(synonym).sum::<usize>();
    size_of::<DescribeConfigsResourceResult>() + told.name.len() + value(&told.value) + synonyms
}

fn describe(
    state: &State,
    ask: &Ask,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Denied> {
    let profile = state.profile;
    let is_asked = |name: &str| {
        resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
    };
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            if is_invalid_topic_name(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, String::new()));
            }
            let none = BTreeMap::new();
            let overrides = match state.topics.get(name) {
                Some(topic) => &topic.overrides,
                None if profile.looks_closely() => {
                    return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()));
                }
                None => &none,
            };
            let settings = configs::topic_settings(profile).filter(|setting| is_asked(setting.name));
            Ok(settings
                .map(|setting| {
                    let values = state.values.topic_values(profile, ask.broker, overrides, setting);
                    let listed = synonyms.then_some(setting.tells_default());
                    told(ask, setting.name, setting.kind, values, listed)
                })
                .collect())
        }
        BROKER => {
            let broker = broker_id(state, name)?;
            let names = configs::broker_setting_names(profile).into_iter().filter(|name| is_asked(name));
            Ok(names
                .filter_map(|name| {
                    let (setting, _) = configs::broker_setting(profile, name)?;
                    let mut values = state.values.broker_values(profile, broker, name);
                    if resource.resource_name.is_empty() {
                        // The defaults of the cluster are only what was set for all brokers.
                        values.retain(|found| found.source == Source::DefaultBroker);
                    }
                    let read_only = !configs::changes_at_run_time(profile, name);
                    (!values.is_empty()).then(|| {
                        told(ask, name, setting.kind, values, synonyms.then_some(true))
                            .with_read_only(read_only)
                    })
                })
                .collect())
        }
        other => Err((ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
    }
}

/// The broker that a resource names; none is the default of all.
pub(super) fn broker_id(state: &State, name: &str) -> Result<i32, Denied> {
    if name.is_empty() {
        return Ok(-1);
    }
    let id = name.parse().ok().filter(|id| state.brokers.contains_key(id));
    id.ok_or_else(|| (ErrorCode::INVALID_REQUEST, format!("Unexpected broker id {name}")))
}

/// One setting; `synonyms` says whether they are wanted, and the default among them.
fn told(
    ask: &Ask,
    name: &str,
    kind: Kind,
    values: Vec<Sourced>,
    synonyms: Option<bool>,
) -> DescribeConfigsResourceResult {
    let in_force = values.first();
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(in_force.map(|found| text(found.value.clone())))
        .with_config_source(in_force.map_or(Source::Default, |found| found.source) as i8);
    if ask.version >= 3 {
        result = result.with_config_type(kind as i8).with_documentation(None);
    }
    if let Some(with_default) = synonyms {
        let synonym = |found: Sourced| {
            DescribeConfigsSynonym::default()
                .with_name(text(found.name))
                .with_value(Some(text(found.value)))
                .with_source(found.source as i8)
        };
        result.synonyms = values
            .into_iter()
            .filter(|found| with_default || found.source != Source::Default)
            .map(synonym)
            .collect();
    }
    result
}
