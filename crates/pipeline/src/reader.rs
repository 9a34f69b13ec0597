//! Fetches from one source broker, one request at a time, over one session.

use std::time::Duration;

use client::{Cluster, FetchOptions, FetchPartition, Fetcher};
use model::BrokerId;
use tokio::sync::mpsc;

use crate::driver::Message;
use crate::events::Event;

/// One fetch to make.
#[derive(Debug)]
pub(crate) struct FetchCommand {
    pub(crate) wanted: Vec<FetchPartition>,
    pub(crate) bytes_max: usize,
    pub(crate) wait_max: Duration,
}

/// Carries out `commands` until their sender is dropped. Each is answered by one event. The connection
/// is made when first needed and again after any failure.
pub(crate) async fn read(
    cluster: Cluster,
    broker: BrokerId,
    options: FetchOptions,
    mut commands: mpsc::Receiver<FetchCommand>,
    messages: mpsc::UnboundedSender<Message>,
) {
    let mut fetcher: Option<Fetcher> = None;
    while let Some(command) = commands.recv().await {
        let reply = match &mut fetcher {
            Some(fetcher) => fetcher.fetch(&command.wanted, command.bytes_max, command.wait_max).await,
            None => match cluster.connect(broker).await {
                Ok(connection) => {
                    let fetcher = fetcher.insert(Fetcher::new(connection, options.clone()));
                    fetcher.fetch(&command.wanted, command.bytes_max, command.wait_max).await
                }
                Err(error) => Err(error),
            },
        };
        if reply.is_err() {
            fetcher = None;
        }
        if messages.send(Message::Event(Event::Fetched { broker, reply })).is_err() {
            return;
        }
    }
}
