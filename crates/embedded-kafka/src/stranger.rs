//! Who asks, when it is not a Kafka client.

/// Names what connects by the first bytes it sent, and says why it gets no answer. Read as a length, all of these are
/// above what a frame may have, so a Kafka request is never taken for one of them.
pub(crate) fn looks_like(first_bytes: &[u8]) -> Option<&'static str> {
    /// The first four letters of HTTP's methods, HTTP/2's preface among them.
    const METHODS: [&[u8]; 10] =
        [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI "];
    match first_bytes {
        // A handshake record of SSL 3.0 to TLS 1.3.
        [0x16, 0x03, 0x00..=0x04, ..] => Some("looks like a TLS ClientHello: this listener is plaintext"),
        [b'S', b'S', b'H', b'-', ..] => Some("looks like SSH: this listener speaks Kafka's protocol only"),
        [..] if METHODS.iter().any(|method| first_bytes.starts_with(method)) => {
            Some("looks like HTTP: this listener speaks Kafka's protocol only")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named_by_their_first_bytes() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(looks_like(bytes).map(|told| &told[..told.find(':').unwrap()]), expected, "{bytes:?}");
        };
        check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some("looks like a TLS ClientHello"));
        check(b"GET / HTTP/1.1\r\n", Some("looks like HTTP"));
        check(b"POST /topics HTTP/1.1\r\n", Some("looks like HTTP"));
        check(b"PRI * HTTP/2.0\r\n", Some("looks like HTTP"));
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Some("looks like SSH"));
        check(&[0, 0, 1, 200, 0, 0, 0, 1], None);
        check(b"\x7f\xff\xff\xff", None);
        check(&[], None);
    }
}
