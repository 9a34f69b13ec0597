//! One of the two clusters: three brokers, each with a wire for the copier, and the topics.

use crate::{
    chaos::{
        ask::{Answers, Connection, Placement},
        fault::Which,
        stop,
    },
    wire::Wire,
};
use anyhow::{Context, bail};
use real_kafka::{Cluster, Config, Distribution, Session};
use std::{
    net::TcpListener,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(crate) const BROKERS: usize = 3;

/// A topic that is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) partitions: u32,
    /// Replicas at the source and at the destination.
    replicas: [u16; 2],
    /// Where an unclean election may lose records of it.
    pub(crate) unclean: Option<Which>,
    codec: &'static str,
    /// How much older than now its records claim to be.
    age_ms: u64,
}

/// How long a lane of aged records may stand still besides, after a fault: 1.5 × `replica.lag.time.max.ms` and a margin.
/// Only then is it known that nothing sent before is on its way to the replicas, and nobody else would refuse it.
pub(crate) const AGED_ALLOWANCE_MS: u64 = 50_000;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

const fn topic(name: &'static str, partitions: u32) -> Topic {
    Topic { name, partitions, replicas: [3, 3], unclean: None, codec: "none", age_ms: 0 }
}

/// What is copied. Three replicas of which two must be in sync, unless said otherwise.
pub(crate) const TOPICS: [Topic; 6] = [
    topic("steady", 6),
    Topic { codec: "lz4", ..topic("packed", 3) },
    Topic { age_ms: YEAR_MS, ..topic("old", 2) },
    Topic { replicas: [1, 1], ..topic("single", 3) },
    Topic { replicas: [2, 3], unclean: Some(Which::Source), ..topic("unclean-source", 2) },
    Topic { replicas: [3, 2], unclean: Some(Which::Destination), ..topic("unclean-destination", 2) },
];

impl Topic {
    /// Its records are older than brokers remember a producer by default: 24 h.
    pub(crate) fn is_aged(self) -> bool {
        self.age_ms > 24 * 3600 * 1000
    }

    /// See [`AGED_ALLOWANCE_MS`].
    pub(crate) fn allowance_ms(self) -> u64 {
        if self.is_aged() { AGED_ALLOWANCE_MS } else { 0 }
    }

    /// As the writer wants it.
    pub(crate) fn to_write(self) -> String {
        format!("{}:{}:{}:{}", self.name, self.partitions, self.codec, self.age_ms)
    }

    fn create(self, which: Which, session: &mut Session, bootstrap: &str, name: &str) -> anyhow::Result<()> {
        let replicas = self.replicas[which as usize];
        let mut settings = vec![("retention.ms", "-1")];
        if replicas == 3 {
            settings.push(("min.insync.replicas", "2"));
        }
        if self.unclean == Some(which) {
            settings.push(("unclean.leader.election.enable", "true"));
        }
        session.create_topic(bootstrap, name, self.partitions, replicas, &settings)?;
        Ok(())
    }
}

/// A cluster and its wires.
#[derive(Debug)]
pub(crate) struct Side {
    which: Which,
    cluster: Mutex<Cluster>,
    pub(crate) wires: Vec<Wire>,
    /// For everyone but the copier.
    pub(crate) bootstrap: String,
    /// For the copier.
    pub(crate) wired_bootstrap: String,
    ports: Vec<u16>,
    /// Each topic's name here, and its partitions.
    pub(crate) topics: Vec<(String, u32)>,
    /// The topic here that an unclean election may hit, if it takes part.
    unclean: Option<String>,
}

impl Side {
    /// Starts the cluster, its wires, and creates the topics with this in front of their names.
    pub(crate) fn start(
        which: Which,
        kafka: &Distribution,
        prefix: &str,
        copied: &[Topic],
    ) -> anyhow::Result<Side> {
        // A broker's id ends both numbers, so that one setting can say them for all.
        let (tens, listeners) = wire_ports()?;
        let behind = broker_ports(tens)?;
        let zookeeper = kafka.version().needs_zookeeper();
        let controller = if zookeeper { "" } else { "CONTROLLER:PLAINTEXT," };
        let config = Config::brokers(BROKERS as u16)
            .heap_mb(256)
            .with("listeners", format!("{{default}},WIRE://127.0.0.1:{behind}{{id}}"))
            .with("advertised.listeners", format!("{{default}},WIRE://127.0.0.1:{tens}{{id}}"))
            .with("listener.security.protocol.map", format!("{controller}PLAINTEXT:PLAINTEXT,WIRE:PLAINTEXT"))
            .with("transaction.state.log.min.isr", "2");
        let cluster = Cluster::start(kafka, &config)?;
        let wires = listeners
            .into_iter()
            .zip(0..)
            .map(|(listener, id)| Wire::start(listener, behind * 10 + id))
            .collect();
        let bootstrap = cluster.bootstrap();
        let mut session = kafka.session()?;
        let mut topics = Vec::new();
        let mut unclean = None;
        for topic in copied {
            let name = format!("{prefix}{}", topic.name);
            if topic.unclean == Some(which) {
                unclean = Some(name.clone());
            }
            topic.create(which, &mut session, &bootstrap, &name)?;
            topics.push((name, topic.partitions));
        }
        let wired: Vec<String> = (0..BROKERS).map(|id| format!("127.0.0.1:{tens}{id}")).collect();
        Ok(Side {
            which,
            ports: (0..BROKERS).map(|id| cluster.port(id)).collect(),
            cluster: Mutex::new(cluster),
            wires,
            bootstrap,
            wired_bootstrap: wired.join(","),
            topics,
            unclean,
        })
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run if a broker has died that no fault has killed. Looks only while no fault holds the cluster.
    pub(crate) fn look_after(&self) {
        let Ok(cluster) = self.cluster.try_lock() else { return };
        for broker in 0..BROKERS {
            let died = |process| crate::process::is_gone(process);
            if cluster.process_id(broker).is_some_and(died) {
                let log = cluster.folder().join(format!("broker-{broker}.log"));
                stop::because(format!(
                    "broker {broker} of the {} died by itself; see {}",
                    self.which,
                    log.display()
                ));
            }
        }
    }

    /// Lets the brokers' logs stay, and says where.
    pub(crate) fn keep_logs(&self) -> String {
        let mut cluster = self.cluster();
        cluster.keep_logs();
        cluster.folder().display().to_string()
    }

    /// The brokers' ports, past the wires.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The wires to one broker, or to all.
    pub(crate) fn wires_to(&self, broker: Option<usize>) -> &[Wire] {
        broker.map_or(&self.wires[..], |broker| &self.wires[broker..=broker])
    }

    /// Where each partition lies, as this broker sees it.
    pub(crate) fn placements(&self, broker: usize) -> anyhow::Result<Answers<Placement>> {
        Connection::open(self.ports[broker], Duration::from_secs(3))
            .and_then(|mut connection| connection.placements(&self.topics))
            .with_context(|| format!("cannot ask broker {broker} of the {}", self.which))
    }

    /// The topic here that an unclean election may hit.
    pub(crate) fn unclean_topic(&self) -> anyhow::Result<&str> {
        self.unclean.as_deref().context("no topic may lose records here")
    }
}

/// Three ports in a row for the wires, which begin a number of ten, and stay taken from here on.
fn wire_ports() -> anyhow::Result<(u16, Vec<TcpListener>)> {
    for tens in tens() {
        let bind = |id: u16| TcpListener::bind(("127.0.0.1", tens * 10 + id));
        if let Ok(listeners) = (0..BROKERS as u16).map(bind).collect::<Result<Vec<_>, _>>() {
            return Ok((tens, listeners));
        }
    }
    bail!("no ten ports in a row are free");
}

/// The same for the brokers, which take them later.
fn broker_ports(not: u16) -> anyhow::Result<u16> {
    let free =
        |tens: u16| (0..BROKERS as u16).all(|id| TcpListener::bind(("127.0.0.1", tens * 10 + id)).is_ok());
    tens().find(|&tens| tens != not && free(tens)).context("no ten ports in a row are free")
}

/// Tens of ports below those that the kernel gives to outgoing connections, from a place that differs.
fn tens() -> impl Iterator<Item = u16> {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_micros());
    let first = (nanos % 2000) as u16;
    (0..2000).map(move |step| 1100 + (first + step * 7) % 2000)
}
