//! DeleteTopics.

use std::collections::BTreeSet;

use model::TopicName;
use protocol::ErrorCode;
use protocol::messages::delete_topics_request::DeleteTopicsRequest;
use protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

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
            Err(code) => (code, name, id),
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
) -> Result<(TopicName, [u8; 16]), ErrorCode> {
    let name = match name {
        Some(name) => name.clone(),
        None => state.topic_by_id(id).map(|(name, _)| name.clone()).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
    };
    if let Some(code) = ask.fails_topic(name.as_str()) {
        return Err(code);
    }
    if !state.profile.is_kraft() && state.controller() != Some(ask.broker) {
        return Err(ErrorCode::NOT_CONTROLLER);
    }
    let id = state.topics.get(&name).map(|topic| topic.id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    state.remove_topic(name.as_str());
    Ok((name, id))
}
