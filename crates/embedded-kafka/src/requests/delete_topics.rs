//! DeleteTopics.

use std::collections::BTreeSet;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::delete_topics_request::DeleteTopicsRequest;
use protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use crate::acls::{operation, resource};
use crate::requests::{Ask, wire_id, wire_name};
use crate::state::State;

pub(super) fn answer(state: &mut State, ask: &Ask, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name =
        request.topic_names.into_iter().map(|name| (Some(TopicName::from(name.0.as_str())), [0; 16]));
    let by_either = request
        .topics
        .into_iter()
        .map(|topic| (topic.name.map(|name| TopicName::from(name.0.as_str())), topic.topic_id.into_bytes()));
    let mut response = DeleteTopicsResponse::default();
    let mut gone = BTreeSet::new();
    for (name, id) in by_name.chain(by_either) {
        let deleted = delete(state, ask, name.as_ref(), id);
        let (code, name, id) = match deleted {
            Ok((name, id)) => {
                gone.insert(name.clone());
                (ErrorCode::NONE, Some(name), id)
            }
            Err((code, name)) => (code, name, id),
        };
        let mut result = DeletableTopicResult::default().with_error_code(code.0).with_error_message(None);
        result.name = name.as_ref().map(wire_name);
        if ask.version >= 6 {
            result.topic_id = wire_id(id);
        }
        response.responses.push(result);
    }
    state.groups.forget_topics(&gone);
    response
}

fn delete(
    state: &mut State,
    ask: &Ask,
    name: Option<&TopicName>,
    id: [u8; 16],
) -> Result<(TopicName, [u8; 16]), (ErrorCode, Option<TopicName>)> {
    let by_id = || state.topic_by_id(id).map(|(name, _)| name.clone());
    let refused = |code| (code, name.cloned());
    let found = name.cloned().or_else(by_id).ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_ID))?;
    if let Some(code) = ask.fails_topic(found.as_str()) {
        // Who names an id need not know whose it is.
        let tells = name.is_some() || state.may(ask, operation::DESCRIBE, resource::TOPIC, found.as_str());
        return Err((code, tells.then_some(found)));
    }
    if !state.profile.is_kraft() && state.controller() != Some(ask.broker) {
        return Err(refused(ErrorCode::NOT_CONTROLLER));
    }
    let topic = state.topics.get(&found).map(|topic| topic.id);
    let (name, id) = (found, topic.ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?);
    state.remove_topic(name.as_str());
    Ok((name, id))
}
