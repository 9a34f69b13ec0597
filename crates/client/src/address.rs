//! Where a broker listens, and who said so.

use std::fmt;

use model::BrokerId;

use crate::CallError;

/// A host and port, given as bootstrap or advertised by a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The broker that the cluster says listens there; `None` for an address of the bootstrap list.
    pub broker: Option<BrokerId>,
}

impl Address {
    /// Reads `host:port`, `[v6]:port`, or either with a `PROTOCOL://` in front as Kafka allows.
    ///
    /// # Errors
    /// [`CallError::Address`] if it is none of them.
    pub fn parse(text: &str) -> Result<Address, CallError> {
        let wrong = || CallError::Address { text: text.to_owned() };
        let rest = text.trim();
        let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || port == 0 || host.contains(['/', ' ']) {
            return Err(wrong());
        }
        Ok(Address { host: host.to_owned(), port, broker: None })
    }

    /// Said after an error about reaching the address: where the address comes from.
    pub(crate) fn origin(&self) -> &'static str {
        match self.broker {
            Some(_) => ", an address it gives in its advertised.listeners",
            None => "",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(broker) = self.broker {
            write!(f, "broker {broker} at ")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Address::parse(text).ok().map(|address| address.to_string()).as_deref(), expected);
        };
        check("kafka:9092", Some("kafka:9092"));
        check(" kafka.example.org:9092 ", Some("kafka.example.org:9092"));
        check("PLAINTEXT://10.0.0.1:9092", Some("10.0.0.1:9092"));
        check("[::1]:9092", Some("[::1]:9092"));
        check("kafka", None);
        check("kafka:", None);
        check("kafka:70000", None);
        check("kafka:0", None);
        check("::1:9092", None);
        check("[::1:9092", None);
        check(":9092", None);
        check("kafka:9092/path", None);
    }
}
