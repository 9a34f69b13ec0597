//! What a cluster is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::profile::Profile;
use crate::sasl::Sasl;

/// How clients reach the brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Sockets on [`Config::listen_on`], which is loopback unless told otherwise, on ports that the system chooses unless
    /// [`Config::first_port`] does.
    #[default]
    Sockets,
    /// No sockets: connections are opened by [`Cluster::connect`](crate::Cluster::connect) and live in
    /// memory, so that tests can run in paused time. Addresses are made up.
    InMemory,
}

/// What a cluster is started with. `Config::default()` is one broker of the newest version.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many brokers; their ids are 0, 1, 2, ….
    pub brokers: usize,
    /// The Kafka version to be presented.
    pub profile: Profile,
    /// How clients reach it.
    pub transport: Transport,
    /// The address that sockets are bound to. What is not loopback lets others in: a cluster is not durable, not
    /// replicated for safety and not secure; there is no encryption, and a login only with [`Config::sasl`].
    pub listen_on: IpAddr,
    /// The port of the first broker, the others have those that follow; `None`: the system chooses for each. Of
    /// [`Transport::Sockets`] only.
    pub first_port: Option<u16>,
    /// The host by which clients are told to reach the brokers; `None` is the address that they listen on, and loopback
    /// where that is all addresses.
    pub advertised_host: Option<String>,
    /// A metadata request that allows it creates the topics it names. Described as the brokers'
    /// `auto.create.topics.enable`, which decides where it is among the settings.
    pub auto_create: bool,
    /// Settings of all brokers, as in `server.properties`: defaults of topics
    /// (`log.retention.ms`), `num.partitions`, `default.replication.factor`, `producer.id.expiration.ms`, ….
    pub broker_settings: Vec<(String, String)>,
    /// The rack of each broker in turn; none where the list is shorter.
    pub racks: Vec<String>,
    /// What the cluster calls itself, to clients and in the log.
    pub cluster_id: String,
    /// The first producer id given out.
    pub first_producer_id: i64,
    /// What topic ids and the like are made from: the same in every run.
    pub seed: u64,
    /// The wall clock at the start, in milliseconds since 1970; `None` is the system's. It goes on with
    /// tokio's clock and by [`Cluster::advance`](crate::Cluster::advance).
    pub start_ms: Option<i64>,
    /// Fetch sessions a broker keeps (KIP-227); 0 refuses all.
    pub fetch_sessions_max: usize,
    /// What the fetch sessions of all brokers may take together. Where it is not enough, those used the longest ago end,
    /// and one that would take more by itself is none.
    pub fetch_session_bytes_max: usize,
    /// How many groups, members, committed offsets and transactional ids are kept, together. More are refused with
    /// POLICY_VIOLATION.
    pub names_max: usize,
    /// What the requests of all connections may take together, and what they are decoded to. Where it is not enough,
    /// connections wait, and those that have room and send less than an eighth of it in 5 s are closed. A frame may have
    /// 100 MiB. Answers that are not read yet may take as much, without what they have of the logs: for one that finds no
    /// room those are closed that have read less than an eighth of theirs in 5 s, else its own connection.
    pub frame_bytes_max: usize,
    /// Connections to all brokers together, as Kafka's `max.connections`: whoever comes after them waits until one ends,
    /// and a connection in memory is refused. `None` is a third of the files that the process may open at the start, where
    /// `/proc` tells, so that two clusters leave something to the others; and 10,000 at most.
    pub connections_max: Option<usize>,
    /// Clients must log in. Without it everybody is `User:ANONYMOUS`.
    pub sasl: Option<Sasl>,
    /// There is an authorizer: only these (as `User:ann`), and whom ACLs allow, may do anything. `None`:
    /// everybody may, and questions about ACLs are answered with SECURITY_DISABLED.
    pub super_users: Option<Vec<String>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            brokers: 1,
            profile: Profile::default(),
            transport: Transport::default(),
            listen_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
            first_port: None,
            advertised_host: None,
            auto_create: false,
            broker_settings: Vec::new(),
            racks: Vec::new(),
            cluster_id: "embedded".to_owned(),
            first_producer_id: 1000,
            seed: 1,
            start_ms: None,
            fetch_sessions_max: 1000,
            fetch_session_bytes_max: 128 << 20,
            names_max: 250_000,
            frame_bytes_max: 256 << 20,
            connections_max: None,
            sasl: None,
            super_users: None,
        }
    }
}

impl Config {
    /// One cluster of `brokers` brokers that presents `profile`.
    pub fn new(brokers: usize, profile: Profile) -> Config {
        Config { brokers, profile, ..Config::default() }
    }

    /// The same, reached in memory.
    #[must_use]
    pub fn in_memory(self) -> Config {
        Config { transport: Transport::InMemory, ..self }
    }

    /// The port to ask the system for; 0 is any.
    pub(crate) fn port(&self, broker: usize) -> u16 {
        let after_first = u16::try_from(broker).unwrap_or(u16::MAX);
        self.first_port.map_or(0, |first| first.saturating_add(after_first))
    }

    pub(crate) fn connections_max(&self) -> usize {
        let of_files = || files_max().map_or(CONNECTIONS_MAX, |files_max| files_max / 3);
        self.connections_max.unwrap_or_else(|| of_files().min(CONNECTIONS_MAX)).max(1)
    }

    /// The host by which clients reach the brokers.
    pub(crate) fn host(&self) -> String {
        match (&self.advertised_host, self.listen_on) {
            (Some(host), _) => host.clone(),
            (None, IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            (None, IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
            (None, address) => address.to_string(),
        }
    }

    /// With one more line of `server.properties`.
    #[must_use]
    pub fn broker_setting(mut self, name: &str, value: &str) -> Config {
        self.broker_settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

const CONNECTIONS_MAX: usize = 10_000;

/// How many files this process may open, where the system tells.
fn files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    soft_limit(&limits)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_files_is_read_as_linux_tells_it() {
        let told = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             63432                63432                processes \n\
                    Max open files            1024                 1048576              files     \n";
        assert_eq!(soft_limit(told), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(Config { connections_max: Some(5), ..Config::default() }.connections_max(), 5);
        assert!(Config::default().connections_max() <= 10_000);
    }
}
