//! InitProducerId: a producer id of our own, without transactions.

use std::time::Duration;

use model::ProducerId;
use protocol::messages::InitProducerIdRequest;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep};

use crate::cluster::{Repeat, To};
use crate::{CallError, Class, Cluster, classify};

/// Between two tries while the cluster allocates a block of ids.
const PAUSE: Duration = Duration::from_millis(200);

impl Cluster {
    /// A producer id that nobody else has, and its epoch. Waits, within the request's time-out, for a young
    /// cluster to be ready to give one.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the broker's code; else as for any call.
    pub async fn init_producer_id(&self) -> Result<(ProducerId, i16), CallError> {
        let deadline = Instant::now() + self.options().request_timeout;
        loop {
            let request = |_version: i16| {
                // The generated default is the empty id, which means a transaction to some brokers.
                InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_transaction_timeout_ms(i32::MAX)
            };
            // An id that nobody uses does no harm.
            let answer = self
                .call(To::Anyone, Repeat::Harmless, "Kafka 0.11 or newer", request, |response| {
                    response.throttle_time_ms
                })
                .await?;
            let error = ErrorCode(answer.body.error_code);
            if error.is_ok() {
                return Ok((ProducerId(answer.body.producer_id.0), answer.body.producer_epoch));
            }
            let passes = matches!(classify(error), Class::Retry | Class::RefreshAndRetry);
            if !passes || Instant::now() + PAUSE >= deadline {
                return Err(answer.connection.refused(ApiKey::InitProducerId, error));
            }
            sleep(PAUSE).await;
        }
    }
}
