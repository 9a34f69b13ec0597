//! Produce on a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protocol::ApiKey;
use protocol::produce::{self, ProduceBatch, ProduceReply};

use crate::{CallError, Connection};

impl Connection {
    /// Queues one Produce request with acks=all now, before the future is first polled; the future
    /// resolves to its reply. Requests go out in the order of the calls.
    ///
    /// `batches` holds each partition at most once. `timeout` is for the whole of it; the broker is told to
    /// give its replicas a little less, so that it can still say what became of the batches.
    ///
    /// Dropping the future does not take the batches back.
    ///
    /// # Errors
    /// As [`CallError`] says; [`CallError::maybe_written`] tells whether the broker may have seen the request.
    #[expect(clippy::needless_pass_by_value, reason = "from here on the batches are the request's")]
    pub fn produce(
        &self,
        batches: Vec<ProduceBatch>,
        timeout: Duration,
    ) -> impl Future<Output = Result<ProduceReply, CallError>> + Send + 'static + use<> {
        let api = ApiKey::Produce;
        let address = Arc::clone(self.address());
        let sent = self.version_of(api, "Kafka 1.0 or newer").map(|version| {
            let for_replicas = timeout - (timeout / 4).min(Duration::from_secs(5));
            let id = self.next_correlation_id();
            let slices = produce::frame(version, id, self.client_id(), for_replicas, &batches);
            (version, self.send(api, id, slices, timeout))
        });
        async move {
            let (version, reply) = sent?;
            let frame = reply.await?;
            produce::decode(version, frame).map_err(|source| CallError::Malformed { api, address, source })
        }
    }
}
