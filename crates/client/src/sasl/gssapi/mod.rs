//! GSSAPI: Kerberos (RFC 4752, RFC 4121).
//!
//! ```text
//! ticket for SERVICE/host ──▶ AP-REQ ──▶ broker
//!           prove the broker ◀── AP-REP ──   │
//!                              ── nothing ──▶│
//!      what layers it can do ◀── wrapped ──  │
//!                "none, I am ann@REALM" ────▶│ done
//! ```
//! The broker proves who it is in turn, although Kafka's own client does not ask it to. Nothing is encrypted by Kerberos after
//! the login: that is for TLS. What is said here is decided from what is given; `tickets` asks and reads.
//!
//! Source: Kafka's SaslClientAuthenticator; the JDK's GssKrb5Client.

mod keytab;
mod tickets;

use krb5::initiator::{GSS_C_INTEG_FLAG, GSS_C_MUTUAL_FLAG};
use krb5::token::FLAG_SEALED;
use krb5::{ClientError, Credentials, InitiatorContext};

use super::{Fault, Step, printable};
use crate::KerberosOptions;
pub(super) use tickets::Tickets;

/// The bit of RFC 4752 for "no security layer", both offered and chosen.
const NO_LAYER: u8 = 1;

/// Where a login is. It holds keys, so that it does not print.
pub(super) struct Gssapi {
    context: InitiatorContext,
    /// Who we are, in full.
    client: String,
    awaited: Awaited,
}

#[derive(Clone, Copy)]
enum Awaited {
    /// The broker's proof of who it is.
    Proof,
    /// The layers that it can do.
    Offer,
    /// Nothing more.
    Word,
}

impl Tickets {
    /// Begins a login at the broker on `host`: gets a ticket, which may block, and makes the first message of it.
    ///
    /// # Errors
    /// In words: why there is no ticket, and what to do about it.
    pub(super) fn begin(
        &self,
        options: &KerberosOptions,
        host: &str,
        now_ms: u64,
    ) -> Result<(Gssapi, Vec<u8>), String> {
        let ticket = self.for_broker(options, host, tickets::seconds(now_ms))?;
        Gssapi::begin(&ticket)
    }
}

impl Gssapi {
    fn begin(ticket: &Credentials) -> Result<(Gssapi, Vec<u8>), String> {
        let (context, first) = InitiatorContext::new(ticket, GSS_C_MUTUAL_FLAG | GSS_C_INTEG_FLAG)
            .map_err(|error| format!("the ticket cannot be used: {error}"))?;
        let client = ticket.client.to_string();
        Ok((Gssapi { context, client, awaited: Awaited::Proof }, first))
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, Fault> {
        match self.awaited {
            Awaited::Proof => {
                self.context.step(challenge).map_err(proof_fault)?;
                self.awaited = Awaited::Offer;
                Ok(Step::Say(Vec::new()))
            }
            Awaited::Offer => {
                let choice = self.choose(challenge)?;
                self.awaited = Awaited::Word;
                Ok(Step::Say(choice))
            }
            Awaited::Word if challenge.is_empty() => Ok(Step::Done),
            Awaited::Word => Err(Fault::unexpected("an answer to the end of the login that is not empty")),
        }
    }

    /// Answers an offer of layers: none, and who we are.
    fn choose(&self, offer: &[u8]) -> Result<Vec<u8>, Fault> {
        let broken = |what: String| {
            Fault::unexpected(&format!("an offer of security layers that cannot be read: {what}"))
        };
        let tokens = self.context.per_message_tokens().map_err(|error| broken(error.to_string()))?;
        let is_sealed = offer.get(2).is_some_and(|flags| flags & FLAG_SEALED != 0);
        let read = if is_sealed { tokens.unwrap(offer) } else { tokens.verify_wrap_unsealed(offer) };
        let read = read.map_err(|error| broken(error.to_string()))?;
        let [layers, _, _, _] = read.message[..] else {
            return Err(broken(format!("it has {} bytes instead of 4", read.message.len())));
        };
        if layers & NO_LAYER == 0 {
            let what = "it wants Kerberos to protect the connection (auth-int or auth-conf), which Kafka cannot do: let its \
                        sasl.qop be auth";
            return Err(Fault::Refused(what.to_owned()));
        }
        // The largest message that we would take is 0: with no layer there are none.
        let choice = [&[NO_LAYER, 0, 0, 0][..], self.client.as_bytes()].concat();
        tokens
            .emit_wrap_unsealed(self.context.send_seq(), &choice, 0)
            .map_err(|error| broken(error.to_string()))
    }
}

/// What it means that the broker's first answer proves nothing.
fn proof_fault(error: ClientError) -> Fault {
    match error {
        ClientError::Kdc { .. } => Fault::Refused(printable(&error.to_string())),
        other => Fault::unexpected(&format!("no proof of who it is: {}", printable(&other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use krb5::{CCache, KerberosContext, Keytab, Principal};
    use proptest::prelude::*;

    use super::*;

    /// Ann's ticket for `kafka/localhost`, as MIT's KDC made it.
    fn ticket() -> Credentials {
        let cache = CCache::decode(include_bytes!("../../../tests/data/kerberos/ann.ccache")).unwrap();
        let service = Principal::parse("kafka/localhost@PARALOG.TEST").unwrap();
        cache.find(&service, 0).unwrap()
    }

    fn login() -> (Gssapi, Vec<u8>) {
        Gssapi::begin(&ticket()).unwrap()
    }

    /// What a broker makes of the first message: its side, and its proof.
    fn broker(first: &[u8]) -> (KerberosContext, Vec<u8>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kerberos/kafka.keytab");
        KerberosContext::accept_token(&Keytab::load(path).unwrap(), first).unwrap()
    }

    fn said(step: Result<Step, Fault>) -> Vec<u8> {
        match step {
            Ok(Step::Say(said)) => said,
            other => panic!("{other:?}"),
        }
    }

    /// A login that has come to the offer of layers, and how the broker wraps one.
    fn proven() -> (Gssapi, impl Fn(&[u8]) -> Vec<u8>) {
        let (mut login, first) = login();
        let (broker, proof) = broker(&first);
        assert!(said(login.step(&proof)).is_empty());
        let wrap =
            move |offer: &[u8]| broker.per_message_tokens().unwrap().emit_wrap_unsealed(1, offer, 0).unwrap();
        (login, wrap)
    }

    #[test]
    fn the_broker_proves_itself_and_hears_who_we_are_without_any_layer() {
        let (mut login, first) = login();
        let (broker, proof) = broker(&first);
        assert_eq!(broker.client_principal, "ann@PARALOG.TEST");
        assert!(said(login.step(&proof)).is_empty());
        let tokens = broker.per_message_tokens().unwrap();
        // auth, auth-int and auth-conf, as the JDK offers them where it may.
        let choice = said(login.step(&tokens.emit_wrap_unsealed(7, &[7, 0, 255, 255], 0).unwrap()));
        let choice = tokens.verify_wrap_unsealed(&choice).unwrap();
        assert_eq!(choice.message, b"\x01\0\0\0ann@PARALOG.TEST");
        assert!(matches!(login.step(b""), Ok(Step::Done)));
    }

    #[test]
    fn a_broker_that_proves_nothing_is_not_believed() {
        let (_, proof_of_another_login) = broker(&login().1);
        let (mut login, _) = login();
        for nothing in [&b""[..], &proof_of_another_login, b"\x60\x0bnonsense"] {
            let fault = login.step(nothing).unwrap_err();
            assert!(
                matches!(&fault, Fault::Untrusted(why) if why.contains("no proof of who it is")),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn a_broker_that_demands_a_layer_is_told_apart_from_one_that_talks_nonsense() {
        let (mut login, wrap) = proven();
        let fault = login.step(&wrap(&[6, 0, 255, 255])).unwrap_err();
        assert!(matches!(&fault, Fault::Refused(why) if why.contains("sasl.qop")), "{fault:?}");
        let mut touched = wrap(&[1, 0, 0, 0]);
        *touched.last_mut().unwrap() ^= 1;
        for nonsense in [wrap(&[1, 0, 0]), touched, wrap(&[1, 0, 0, 0])[..17].to_vec(), Vec::new()] {
            let fault = login.step(&nonsense).unwrap_err();
            assert!(matches!(&fault, Fault::Untrusted(why) if why.contains("cannot be read")), "{fault:?}");
        }
        said(login.step(&wrap(&[1, 0, 0, 0])));
        assert!(matches!(login.step(b"more"), Err(Fault::Untrusted(_))));
    }

    proptest! {
        #[test]
        fn whatever_the_broker_says_nothing_panics(proof: Vec<u8>, offer: Vec<u8>, body: Vec<u8>, cut in 0usize..200) {
            let (mut login, first) = login();
            let _ = login.step(&proof);
            let (_, real) = broker(&first);
            let _ = login.step(&real[..cut.min(real.len() - 1)]);
            let framed = [&real[..real.len().min(17)], &body].concat();
            let _ = login.step(&framed);
            said(login.step(&real));
            let _ = login.step(&offer);
            // With the header of a wrapped message, sealed and not.
            for flags in [1, 3, 5, 7] {
                let _ = login.step(&[&[5, 4, flags, 255][..], &body].concat());
            }
        }
    }
}
