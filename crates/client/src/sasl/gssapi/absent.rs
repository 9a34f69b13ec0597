//! GSSAPI in a program that was built without it.

use super::{Fault, Step};
use crate::KerberosOptions;

const ABSENT: &str = "this build has no Kerberos; build one that has it (cargo build --release --features gssapi), or log in \
     by another mechanism (`sasl.mechanism`, whose default in Kafka is GSSAPI)";

/// No tickets.
#[derive(Clone, Debug, Default)]
pub(super) struct Tickets {}

/// There is no such exchange.
pub(super) enum Gssapi {}

impl Tickets {
    pub(super) fn forget(&self) {}

    pub(super) fn check(&self, _: &KerberosOptions, _: u64) -> Result<(), String> {
        Err(ABSENT.to_owned())
    }

    pub(super) fn begin(&self, _: &KerberosOptions, _: &str, _: u64) -> Result<(Gssapi, Vec<u8>), String> {
        Err(ABSENT.to_owned())
    }
}

impl Gssapi {
    pub(super) fn step(&mut self, _: &[u8]) -> Result<Step, Fault> {
        match *self {}
    }
}
