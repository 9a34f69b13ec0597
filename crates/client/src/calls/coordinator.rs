//! Who keeps a group's offsets, and asking it again when it has moved.

use std::time::Duration;

use model::BrokerId;
use protocol::messages::FindCoordinatorRequest;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep};

use crate::calls::str_bytes;
use crate::cluster::{Repeat, To};
use crate::{CallError, Class, Cluster, Wanted, classify};

/// Between two tries while a coordinator is elected or loads.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

const GROUP: i8 = 0;

impl Cluster {
    /// The broker that keeps the offsets of `group`. Waits for an election until `deadline`.
    pub(super) async fn coordinator(&self, group: &str, deadline: Instant) -> Result<BrokerId, CallError> {
        loop {
            let request = |_version: i16| {
                FindCoordinatorRequest::default().with_key(str_bytes(group)).with_key_type(GROUP)
            };
            let answer = self
                .call(To::Anyone, Repeat::Harmless, "Kafka 0.11 or newer", request, |response| {
                    response.throttle_time_ms
                })
                .await?;
            let error = ErrorCode(answer.body.error_code);
            if error.is_ok() {
                let broker = BrokerId(answer.body.node_id.0);
                // Metadata knows its address; the one in this answer is the same.
                if !self.is_known(broker) {
                    self.metadata(Wanted::None).await?;
                }
                return Ok(broker);
            }
            if !passes(error) || Instant::now() + PAUSE >= deadline {
                let message = answer.body.error_message.map(|message| message.to_string());
                let address = answer.connection.address().clone();
                return Err(CallError::Refused { api: ApiKey::FindCoordinator, address, error, message });
            }
            sleep(PAUSE).await;
        }
    }
}

/// The coordinator has moved, or is not ready.
pub(super) fn passes(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
    ) && matches!(classify(error), Class::Retry | Class::RefreshAndRetry)
}
