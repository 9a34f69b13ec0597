//! AlterConfigs: replaces all settings of a resource; what is not named goes back to its default.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use protocol::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};

use crate::configs;
use crate::requests::describe_configs::{BROKER, TOPIC, broker_id};
use crate::requests::{Ask, text};
use crate::state::{Denied, State};

pub(super) fn answer(state: &mut State, ask: &Ask, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut response = AlterConfigsResponse::default();
    for resource in request.resources {
        let altered = match ask.fails_topic(&resource.resource_name) {
            Some(code) => Err((code, String::new())),
            None => replace(state, &resource, request.validate_only),
        };
        let result = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        response.responses.push(match altered {
            Ok(()) => result.with_error_message(None),
            Err((code, message)) => result
                .with_error_code(code.0)
                .with_error_message(Some(message).filter(|message| !message.is_empty()).map(text)),
        });
    }
    state.settings_changed();
    response
}

fn replace(state: &mut State, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Denied> {
    let mut values = BTreeMap::new();
    for config in &resource.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for : {}", config.name);
            return Err((ErrorCode::INVALID_REQUEST, message));
        };
        values.insert(config.name.to_string(), value.to_string());
    }
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            if !state.topics.contains_key(name) {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()));
            }
            state.check_overrides(&values, state.profile.wrong_change())?;
            if !validate_only && let Some(topic) = state.topics.get_mut(name) {
                topic.overrides = values;
            }
        }
        BROKER => {
            let broker = broker_id(state, name)?;
            values.keys().try_for_each(|name| configs::check_run_time(state.profile, name))?;
            if !validate_only {
                match broker {
                    -1 => state.values.for_all = values,
                    broker => {
                        state.values.for_one.insert(broker, values);
                    }
                }
            }
        }
        other => return Err((ErrorCode::INVALID_REQUEST, format!("Unexpected resource type {other}"))),
    }
    Ok(())
}
