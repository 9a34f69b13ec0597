//! The look at both clusters before anything is copied: are they there, and are they Kafka.
//!
//! What is wrong here is wrong in the settings or the network more often than in a broker, so it is told
//! within seconds and ends the program. Once started, the same failures are waited out.

use std::error::Error;
use std::time::Duration;

use client::{CallError, CloseCause, Cluster, Metadata, OutOfFiles, Wanted};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// A broker that is just being started with us is given this long to listen.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);

/// One of the clusters of a connector, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The connector's name.
    pub connector: String,
    /// `source` or `destination`.
    pub side: &'static str,
    /// The addresses given, as the settings have them.
    pub bootstrap: String,
    /// The property that gave them.
    pub property: &'static str,
}

impl End {
    /// The property `name` of this end, beside the one that gave the addresses.
    fn of(&self, name: &str) -> String {
        format!("{}{name}", self.property.strip_suffix("bootstrap.servers").unwrap_or(self.property))
    }
}

/// A cluster that cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// None of the addresses given leads to a Kafka broker.
    #[error("cannot reach the {} cluster of connector `{}` at {}", end.side, end.connector, end.bootstrap)]
    Bootstrap {
        /// Which.
        end: End,
        /// Why.
        #[source]
        source: CallError,
    },
    /// A broker answers, and none of the addresses it names does.
    #[error(
        "the {} cluster of connector `{}` answers at {}, and names brokers that cannot be reached from here",
        end.side, end.connector, end.bootstrap
    )]
    Advertised {
        /// Which.
        end: End,
        /// Why the first of them cannot be.
        #[source]
        source: CallError,
    },
}

impl ReachError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            ReachError::Advertised { end, .. } => format!(
                "set `advertised.listeners` of the {} brokers to addresses that this machine can resolve and reach, \
                 or name a listener of theirs for which that holds in `{}`",
                end.side, end.property
            ),
            ReachError::Bootstrap { end, source } => match first_cause(source) {
                CallError::NotKafka { .. } => format!(
                    "`{}` must name a listener of a Kafka broker, host and port, and `{}` say what it asks for: \
                     TLS, a login, both or neither",
                    end.property,
                    end.of("security.protocol")
                ),
                CallError::Tls { .. } => format!(
                    "it is set up by `{}` and `{}`, for the listener that `{}` names",
                    end.of("security.protocol"),
                    end.of("ssl.*"),
                    end.property
                ),
                CallError::Login { .. } => {
                    format!(
                        "who logs in say `{}` and `{}`",
                        end.of("sasl.mechanism"),
                        end.of("sasl.jaas.config")
                    )
                }
                CallError::Security(_) => format!("see `{}` and `{}`", end.of("ssl.*"), end.of("sasl.*")),
                CallError::Connect { source, .. } if OutOfFiles::of(source).is_some() => {
                    String::from("it takes two or three connections for each broker, and a few files")
                }
                CallError::TimedOut { .. } | CallError::Connect { .. } => {
                    format!(
                        "check that the broker runs, that this machine can reach it, and the address in `{}`",
                        end.property
                    )
                }
                CallError::Closed { source: CloseCause::ByPeer | CloseCause::AtFirst, .. } => {
                    format!("`{}` must say what the listener asks for", end.of("security.protocol"))
                }
                CallError::Unsupported { .. } => String::from("brokers of Kafka 1.1 and newer are supported"),
                _ => format!("check the address in `{}`", end.property),
            },
        }
    }
}

/// Looks at `cluster` until it answers and one of the brokers it names can be reached.
///
/// # Errors
/// [`ReachError`] at once if what answers is no Kafka, after a few seconds if nothing does.
pub(crate) async fn reach(cluster: &Cluster, end: &End) -> Result<Metadata, ReachError> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let error = match look(cluster, end).await {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        let (ReachError::Bootstrap { source, .. } | ReachError::Advertised { source, .. }) = &error;
        if !may_pass(source) || Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        if !told {
            told = true;
            info!(
                connector = end.connector,
                side = end.side,
                bootstrap = end.bootstrap,
                "not reached yet, trying again"
            );
        }
        sleep(PAUSE).await;
    }
}

async fn look(cluster: &Cluster, end: &End) -> Result<Metadata, ReachError> {
    let metadata = cluster.metadata(Wanted::None).await;
    let metadata = metadata.map_err(|source| ReachError::Bootstrap { end: end.clone(), source })?;
    // Which address a broker wants to be called by shows only when it is called by it.
    let mut looks = JoinSet::new();
    for broker in &metadata.brokers {
        let (cluster, id) = (cluster.clone(), broker.id);
        looks.spawn(async move { (id, cluster.versions(Some(id)).await.map(|_| ())) });
    }
    let mut first_failure = None;
    while let Some(look) = looks.join_next().await {
        match look {
            Ok((_, Ok(()))) => return Ok(metadata),
            Ok((broker, Err(error))) => {
                warn!(connector = end.connector, side = end.side, %broker, error = chain(&error), "broker not reached");
                first_failure.get_or_insert(error);
            }
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    match first_failure {
        Some(source) => Err(ReachError::Advertised { end: end.clone(), source }),
        // A broker that has just started may not know itself yet.
        None => Ok(metadata),
    }
}

/// Whether the error may be that of a broker which is about to start.
fn may_pass(error: &CallError) -> bool {
    match error {
        CallError::Unreachable { attempts, .. } => !attempts.is_empty() && attempts.iter().all(may_pass),
        CallError::Connect { .. } | CallError::Closed { .. } | CallError::UnknownBroker { .. } => true,
        CallError::Refused { error, .. } => client::classify(*error) != client::Class::Fatal,
        _ => false,
    }
}

/// Of several addresses, the one whose answer says most about what is wrong.
fn first_cause(error: &CallError) -> &CallError {
    match error {
        CallError::Unreachable { attempts, .. } => {
            let says_most = |attempt: &&CallError| {
                matches!(
                    attempt,
                    CallError::Login { .. } | CallError::Tls { .. } | CallError::NotKafka { .. }
                )
            };
            attempts.iter().find(says_most).or(attempts.first()).map_or(error, first_cause)
        }
        other => other,
    }
}

/// An error and its sources, joined as they are printed: each of ours leaves out what its source says.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
