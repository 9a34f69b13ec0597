//! Fetch on a connection, in a session.

mod session;

use std::collections::HashMap;
use std::time::Duration;

use protocol::ApiKey;
use protocol::fetch::{DIVERGENCE_SINCE, FetchRequest, TOPIC_IDS_SINCE};
use protocol::fetch::{FetchPartition, Fetched};

use crate::{ApiVersions, CallError, Connection};
use session::{After, Session};

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// How long a broker may wait for data at most; a single request may ask for less.
    pub wait_max: Duration,
    /// How much data makes an answer worth sending, in bytes.
    pub bytes_min: usize,
    /// Only records of committed transactions, and the list of aborted ones.
    pub committed_only: bool,
    /// Where we are, to be told of a near replica (2.4+).
    pub rack: Option<String>,
}

/// One reply, without the news that there is no news: in a session a broker leaves such partitions out.
#[derive(Clone, Debug)]
pub struct FetchReply {
    /// How long to ask nothing more on the connection (KIP-219).
    pub throttle: Duration,
    /// The whole frame, in bytes, kept alive by any slice of it.
    pub bytes: usize,
    /// What was read.
    pub partitions: Vec<Fetched>,
}

/// One fetch session on one connection (KIP-227): a broker remembers what is fetched, and is only told
/// what changes. Where it has no room for a session, every request is a full one.
#[derive(Debug)]
pub struct Fetcher {
    connection: Connection,
    options: FetchOptions,
    session: Session,
}

impl Fetcher {
    /// A fetcher on `connection`, which should carry nothing else: a broker answers a connection's requests
    /// one at a time, and a fetch may wait.
    pub fn new(connection: Connection, options: FetchOptions) -> Fetcher {
        Fetcher { connection, options, session: Session::default() }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Fetches from each of `wanted`, all there is to fetch from now, each partition once. Answers within
    /// `wait_max` (the lower of this and the options'; zero: at once) of the broker having nothing to say.
    ///
    /// `bytes_max` bounds the records of the reply, but for one batch that is larger alone.
    ///
    /// Dropping the future while the request is on its way costs the session: the next starts a new one.
    ///
    /// # Errors
    /// As [`CallError`] says. A refused session is started anew here, once.
    pub async fn fetch(
        &mut self,
        wanted: &[FetchPartition],
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<FetchReply, CallError> {
        let newest = self.connection.version_of(ApiKey::Fetch, "Kafka 0.11 or newer")?;
        // A request names all its topics by id, or all by name.
        let ids = newest >= TOPIC_IDS_SINCE && wanted.iter().all(|wanted| wanted.topic_id.is_some());
        let version = if ids { newest } else { newest.min(TOPIC_IDS_SINCE - 1) };
        let wait_max = wait_max.min(self.options.wait_max);
        let mut restarts = 0;
        loop {
            let asked = self.session.ask(version, wanted);
            let request = FetchRequest {
                wait_max,
                bytes_min: if wait_max.is_zero() { 0 } else { self.options.bytes_min },
                bytes_max,
                committed_only: self.options.committed_only,
                session_id: asked.session_id,
                session_epoch: asked.session_epoch,
                partitions: &asked.partitions,
                forgotten: &asked.forgotten,
                rack: self.options.rack.as_deref().unwrap_or(""),
            };
            let patience = self.connection.request_timeout() + wait_max;
            let id = self.connection.next_correlation_id();
            let frame = protocol::fetch::encode(version, id, self.connection.client_id(), &request);
            let reply = self.connection.send(ApiKey::Fetch, id, Ok(vec![frame]), patience);
            let frame = reply.await?;
            let bytes = frame.len();
            let names = if ids { names_of(wanted) } else { HashMap::new() };
            let response = protocol::fetch::decode(version, frame, &names)
                .map_err(|source| self.connection.malformed(ApiKey::Fetch, source))?;
            match self.session.answered(response.error, response.session_id) {
                After::Go => {
                    let (throttle, partitions) = (response.throttle, response.partitions);
                    return Ok(FetchReply { throttle, bytes, partitions });
                }
                After::AskAgain if restarts == 0 => restarts += 1,
                After::AskAgain | After::Refused => {
                    return Err(self.connection.refused(ApiKey::Fetch, response.error));
                }
            }
        }
    }
}

/// Whether a broker of these versions tells in its answers to Fetch where its log parts from the one that was read
/// (KIP-595, Kafka 2.7).
pub fn fetch_tells_divergence(versions: &ApiVersions) -> bool {
    versions.negotiate(ApiKey::Fetch).is_some_and(|newest| newest >= DIVERGENCE_SINCE)
}

/// Whether a broker of these versions is asked for records by their topics' ids (KIP-516, Kafka 3.1).
pub fn fetches_by_topic_id(versions: &ApiVersions) -> bool {
    versions.negotiate(ApiKey::Fetch).is_some_and(|newest| newest >= TOPIC_IDS_SINCE)
}

fn names_of(wanted: &[FetchPartition]) -> HashMap<model::TopicId, model::TopicName> {
    wanted.iter().filter_map(|wanted| Some((wanted.topic_id?, wanted.partition.topic.clone()))).collect()
}
