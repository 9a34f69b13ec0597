//! What a cluster's client is told.

use std::time::Duration;

use model::ClusterName;

use crate::{Accounts, Security};

/// How to reach one cluster, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the cluster is called in messages.
    pub name: ClusterName,
    /// Where to begin, `host:port` each, tried in turn.
    pub bootstrap: Vec<String>,
    /// Who we say we are; quotas and broker logs go by it.
    pub client_id: String,
    /// How long any request may take, finding and reaching a broker included.
    pub request_timeout: Duration,
    /// How long one attempt to reach one address may take, until it has answered as Kafka does.
    pub connect_timeout: Duration,
    /// The largest frame taken from a broker, in bytes. A larger one ends the connection, unread.
    pub frame_bytes_max: usize,
    /// How its connections are secured.
    pub security: Security,
    /// Whom this handle shares its account with, should it be the same: logins that fail are counted together.
    pub accounts: Accounts,
}

impl Options {
    /// The usual waits: 40 s a request (as Kafka's own worker), 10 s a connection, frames of up to 128 MiB
    /// (a broker sends at most `fetch.max.bytes`, 55 MiB, and one oversized batch); plaintext, as nobody.
    pub fn new(name: impl Into<ClusterName>, bootstrap: Vec<String>) -> Options {
        Options {
            name: name.into(),
            bootstrap,
            client_id: "paralog".to_owned(),
            request_timeout: Duration::from_secs(40),
            connect_timeout: Duration::from_secs(10),
            frame_bytes_max: 128 << 20,
            security: Security::default(),
            accounts: Accounts::default(),
        }
    }
}
