//! IncrementalAlterConfigs: changes single settings, all of a resource or none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::ErrorCode;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use crate::configs::{self, Kind, Setting, split_list};
use crate::profile::Profile;
use crate::requests::describe_configs::{BROKER, TOPIC, broker_id};
use crate::requests::{Ask, text};
use crate::state::{Denied, State};

/// Operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut response = IncrementalAlterConfigsResponse::default();
    let of_brokers = request.resources.iter().any(|resource| resource.resource_type == BROKER);
    for resource in request.resources {
        let altered = match ask.fails_resource(resource.resource_type, &resource.resource_name) {
            Some(code) => Err((code, String::new())),
            None => alter(state, &resource, request.validate_only),
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

fn alter(state: &mut State, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Denied> {
    let mut names = BTreeSet::new();
    if !resource.configs.iter().all(|config| names.insert(config.name.as_str())) {
        return Err((ErrorCode::INVALID_REQUEST, "Error due to duplicate config keys".to_owned()));
    }
    let profile = state.profile;
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            let topic = state
                .topics
                .get(name)
                .ok_or_else(|| (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()))?;
            let mut values = topic.overrides.clone();
            for config in &resource.configs {
                let setting = configs::topic_setting(profile, config.name.as_str());
                if setting.is_none() && !profile.is_kraft() && config.config_operation >= APPEND {
                    return Err((ErrorCode::UNKNOWN_SERVER_ERROR, String::new()));
                }
                change(
                    profile,
                    &mut values,
                    setting,
                    setting.map_or("", |setting| setting.default(profile)),
                    config,
                )?;
            }
            state.check_overrides(&values, profile.wrong_change())?;
            if !validate_only {
                state.set_topic(name, values)?;
            }
        }
        BROKER => {
            let broker = broker_id(state, name)?;
            let mut values = match broker {
                -1 => state.values.for_all.clone(),
                broker => state.values.for_one.get(&broker).cloned().unwrap_or_default(),
            };
            for config in &resource.configs {
                let found = configs::broker_setting(profile, config.name.as_str());
                let default = found.map_or("", |(_, default)| default);
                let operation = config.config_operation;
                if !(SET..=SUBTRACT).contains(&operation) {
                    return Err((profile.senseless_change(), format!("Unknown operation type {operation}")));
                }
                match found {
                    // What is not known here is taken, and has no effect.
                    None if operation == DELETE => {}
                    None if operation == SET && config.value.is_some() => {}
                    None if operation >= APPEND && config.value.is_some() => {
                        let message = format!("Unknown config name: {}", config.name);
                        return Err((profile.change_of_unknown_list(), message));
                    }
                    _ => change(profile, &mut values, found.map(|(setting, _)| setting), default, config)?,
                }
            }
            let named = resource.configs.iter().filter(|config| config.config_operation != DELETE);
            let set = named.filter_map(|config| {
                let name = config.name.as_str();
                let value = values.get(name).map(String::as_str).or(config.value.as_deref())?;
                Some((name, value))
            });
            configs::check_at_run_time(profile, set)?;
            let named = resource.configs.iter().map(|config| config.name.as_str());
            configs::check_eligible_leaders(profile, broker, named, &values)?;
            if !validate_only {
                state.set_at_run_time(broker, values);
            }
        }
        other => return Err((ErrorCode::INVALID_REQUEST, format!("Unexpected resource type {other}"))),
    }
    Ok(())
}

fn change(
    profile: Profile,
    values: &mut BTreeMap<String, String>,
    setting: Option<&Setting>,
    default: &str,
    config: &AlterableConfig,
) -> Result<(), Denied> {
    let name = config.name.to_string();
    let Some(setting) = setting else {
        return Err((ErrorCode::INVALID_CONFIG, format!("Unknown topic config name: {name}")));
    };
    if config.config_operation == DELETE {
        values.remove(&name);
        return Ok(());
    }
    let Some(value) = &config.value else {
        return Err((ErrorCode::INVALID_REQUEST, format!("Null value not supported for : {name}")));
    };
    match config.config_operation {
        SET => {
            values.insert(name, value.to_string());
        }
        APPEND | SUBTRACT if setting.kind == Kind::List => {
            let present = values.get(&name).map_or(default, String::as_str);
            let changed = match config.config_operation {
                APPEND => with_entries(profile, present, value),
                _ => without_entries(present, value),
            };
            values.insert(name, changed);
        }
        APPEND | SUBTRACT => {
            let what = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
            let message = format!("Can't {what} to key {name} because its type is not LIST.");
            return Err((profile.wrong_change(), message));
        }
        // Of a topic, that is; see above for brokers.
        other => return Err((ErrorCode::UNKNOWN_SERVER_ERROR, format!("Unknown operation type {other}"))),
    }
    Ok(())
}

/// A list with more at its end. What is in it already stays where it is; brokers with ZooKeeper add it again.
fn with_entries(profile: Profile, present: &str, more: &str) -> String {
    let mut entries: Vec<&str> = split_list(present).collect();
    let mut known: HashSet<&str> = entries.iter().copied().collect();
    entries.extend(split_list(more).filter(|entry| known.insert(entry) || !profile.is_kraft()));
    entries.join(",")
}

/// A list without some entries, each as often as it is named.
fn without_entries(present: &str, named: &str) -> String {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for entry in split_list(named) {
        *left.entry(entry).or_default() += 1;
    }
    let stays = |entry: &&str| match left.get_mut(*entry).filter(|times| **times > 0) {
        Some(times) => {
            *times -= 1;
            false
        }
        None => true,
    };
    split_list(present).filter(stays).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_at_their_end_and_lose_what_is_named() {
        assert_eq!(with_entries(Profile::V4_3, "a,b", "c,a,c"), "a,b,c");
        assert_eq!(with_entries(Profile::V2_8, "a,b", "c,a"), "a,b,c,a");
        assert_eq!(without_entries("a,b,a,c", "a,c,d"), "b,a");
    }

    #[test]
    fn a_long_list_is_changed_in_one_pass() {
        let long: Vec<String> = (0..300_000).map(|index| format!("{index}:0")).collect();
        let long = long.join(",");
        // A walk over all for each would take minutes.
        assert_eq!(with_entries(Profile::V4_3, "", &long), long);
        assert_eq!(with_entries(Profile::V4_3, &long, &long), long);
        assert_eq!(without_entries(&long, &long), "");
    }
}
