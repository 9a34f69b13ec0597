//! Who answers, when it is not Kafka.

use std::fmt;

/// A peer that speaks something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An HTTP server.
    Http,
    /// A TLS listener.
    Tls,
    /// An SSH server.
    Ssh,
    /// A mail or file server: a greeting of three digits.
    Greeting,
    /// A Redis server.
    Redis,
    /// A PostgreSQL server.
    Postgres,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Peer::Http => "an HTTP server",
            Peer::Tls => "a TLS listener",
            Peer::Ssh => "an SSH server",
            Peer::Greeting => "a mail or file server",
            Peer::Redis => "a Redis server",
            Peer::Postgres => "a PostgreSQL server",
        })
    }
}

/// Names the peer by the first bytes it sent. Read as a Kafka length, all of these are above 256 MiB, so
/// a Kafka answer is never taken for one of them.
pub fn looks_like(first_bytes: &[u8]) -> Option<Peer> {
    match first_bytes {
        [b'H', b'T', b'T', b'P', ..] | [b'<', b'h' | b'H' | b'!', ..] => Some(Peer::Http),
        // An alert (21) or handshake (22) record of SSL 3.0 to TLS 1.3.
        [0x15 | 0x16, 0x03, 0x00..=0x04, ..] => Some(Peer::Tls),
        [b'S', b'S', b'H', b'-', ..] => Some(Peer::Ssh),
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..] => Some(Peer::Greeting),
        [b'-', b'E' | b'N', b'R' | b'O', ..] => Some(Peer::Redis),
        [b'E', 0, 0, 0, ..] => Some(Peer::Postgres),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_are_not_kafka_are_named_by_their_first_bytes() {
        let check = |bytes: &[u8], expected| assert_eq!(looks_like(bytes), expected, "{bytes:?}");
        check(b"HTTP/1.1 400 Bad Request\r\n", Some(Peer::Http));
        check(b"<html>", Some(Peer::Http));
        check(&[0x15, 3, 3, 0, 2, 2, 40], Some(Peer::Tls));
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Some(Peer::Ssh));
        check(b"220 mail ESMTP\r\n", Some(Peer::Greeting));
        check(b"-ERR unknown command\r\n", Some(Peer::Redis));
        check(&[0, 0, 1, 200, 0, 0, 0, 1], None);
        check(&[], None);
    }
}
