//! DescribeCluster: its name, its brokers, its controller.

use protocol::ErrorCode;
use protocol::messages::describe_cluster_request::DescribeClusterRequest;
use protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use protocol::messages::{self};

use crate::requests::{Ask, text};
use crate::state::State;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn answer(
    state: &mut State,
    ask: &Ask,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(text(state.cluster_id.clone()))
        .with_endpoint_type(if ask.version >= 1 { request.endpoint_type } else { BROKERS })
        .with_cluster_authorized_operations(i32::MIN)
        .with_controller_id(messages::BrokerId(state.controller().unwrap_or(-1)))
        .with_error_message(None);
    if let Some(code) = ask.fails_whole() {
        return response.with_error_code(code.0);
    }
    if ask.version >= 1 && request.endpoint_type != BROKERS {
        // Controllers would be asked at their own port.
        let code = match request.endpoint_type {
            CONTROLLERS => ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            _ => ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
        };
        return response.with_error_code(code.0).with_controller_id(messages::BrokerId(-1));
    }
    let brokers = state.brokers.iter().filter(|(_, broker)| broker.online);
    response.with_brokers(
        brokers
            .map(|(id, broker)| {
                DescribeClusterBroker::default()
                    .with_broker_id(messages::BrokerId(*id))
                    .with_host(text(state.host.clone()))
                    .with_port(i32::from(broker.port))
                    .with_rack(broker.rack.clone().map(text))
            })
            .collect(),
    )
}
