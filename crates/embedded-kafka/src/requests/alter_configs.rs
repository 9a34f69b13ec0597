//! AlterConfigs: replaces all settings of a resource; what is not named goes back to its default.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use protocol::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};

use crate::configs;
use crate::profile::Profile;
use crate::requests::describe_configs::{BROKER, TOPIC, broker_id};
use crate::requests::{Ask, text};
use crate::state::{Denied, State};

pub(super) fn answer(state: &mut State, ask: &Ask, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut response = AlterConfigsResponse::default();
    let of_brokers = request.resources.iter().any(|resource| resource.resource_type == BROKER);
    for resource in request.resources {
        let altered = match ask.fails_resource(resource.resource_type, &resource.resource_name) {
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
    if of_brokers {
        state.settings_changed();
    }
    response
}

fn replace(state: &mut State, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Denied> {
    let name = resource.resource_name.as_str();
    if state.profile == Profile::V1_1 && resource.resource_type == BROKER {
        // Where others look at the values first.
        broker_id(state, name)?;
    }
    let mut values = BTreeMap::new();
    for config in &resource.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for : {}", config.name);
            return Err((state.profile.senseless_change(), message));
        };
        let twice = values.insert(config.name.to_string(), value.to_string()).is_some();
        if twice && state.profile.is_kraft() {
            return Err((ErrorCode::INVALID_REQUEST, "Error due to duplicate config keys".to_owned()));
        }
    }
    match resource.resource_type {
        TOPIC => {
            if !state.topics.contains_key(name) {
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()));
            }
            state.check_overrides(&values, state.profile.wrong_change())?;
            if !validate_only {
                state.set_topic(name, values)?;
            }
        }
        BROKER => {
            let broker = broker_id(state, name)?;
            let all = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            configs::check_at_run_time(state.profile, all)?;
            // What is not known here has no effect.
            values.retain(|name, _| configs::broker_setting(state.profile, name).is_some());
            configs::check_eligible_leaders(
                state.profile,
                broker,
                values.keys().map(String::as_str),
                &values,
            )?;
            if !validate_only {
                state.set_at_run_time(broker, values);
            }
        }
        other => return Err((ErrorCode::INVALID_REQUEST, format!("Unexpected resource type {other}"))),
    }
    Ok(())
}
