//! SCRAM: both sides prove that they know the password, and neither says it.
//!
//! ```text
//! n,,n=user,r=nonce ──▶      ◀── r=nonce+theirs,s=salt,i=iterations
//! c=biws,r=…,p=proof ──▶     ◀── v=signature
//! ```
//! As Java's client does it: the password goes in as UTF-8, without SASLprep, and of the user's name only `,` and `=`
//! are escaped. What makes the password into keys is the only costly step, and its outcome is kept: all connections to
//! a cluster get the same salt.
//!
//! Source: RFC 5802; Kafka's ScramSaslClient and ScramFormatter; KIP-84, KIP-48 (delegation tokens).

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::{Fault, Step, printable};
use crate::{ScramHash, Secret};

/// As RFC 7677 asks for, and Kafka: fewer would let whoever reads along try passwords cheaply.
const ITERATIONS_MIN: u32 = 4096;
/// Four times what Kafka lets anyone set. More is meant to keep us busy.
const ITERATIONS_MAX: u32 = 4 * 16_384;
/// Longer messages are none.
const MESSAGE_BYTES_MAX: usize = 4096;
/// `n,,` in base64: no channel is bound.
const GS2_HEADER: &str = "biws";

/// The client's side of a SCRAM login.
pub(super) struct Scram {
    hash: ScramHash,
    password: Secret,
    nonce: String,
    first_bare: String,
    kept: Kept,
    stage: Stage,
}

enum Stage {
    First,
    Final { server_key: Vec<u8>, auth_message: String },
}

/// What the password was made into last, shared by the logins to one cluster.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Salted>>>);

#[derive(Clone)]
struct Salted {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    password: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Scram {
    /// `nonce` is random, printable and without a comma.
    pub(super) fn new(
        hash: ScramHash,
        username: &str,
        password: &Secret,
        token: bool,
        nonce: String,
        kept: Kept,
    ) -> Result<Scram, String> {
        if username.is_empty() || password.expose().is_empty() {
            return Err("the user or the password is empty".to_owned());
        }
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let extensions = if token { ",tokenauth=true" } else { "" };
        let first_bare = format!("n={username},r={nonce}{extensions}");
        Ok(Scram { hash, password: password.clone(), nonce, first_bare, kept, stage: Stage::First })
    }

    pub(super) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare).into_bytes()
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, Fault> {
        let unexpected = || Fault::unexpected("an answer to SCRAM that is none");
        if challenge.len() > MESSAGE_BYTES_MAX {
            return Err(unexpected());
        }
        let message = std::str::from_utf8(challenge).map_err(|_| unexpected())?;
        match &self.stage {
            Stage::First => self.answer_first(message),
            Stage::Final { server_key, auth_message } => {
                if let Some(error) = message.strip_prefix("e=") {
                    return Err(Fault::Refused(printable(error)));
                }
                let signature = message.split(',').next().and_then(|part| part.strip_prefix("v="));
                let signature =
                    signature.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(unexpected)?;
                let key = hmac::Key::new(self.mac(), server_key);
                hmac::verify(&key, auth_message.as_bytes(), &signature).map_err(|_| {
                    Fault::Untrusted(
                        "it does not know the password itself: whoever answers there is not the broker"
                            .to_owned(),
                    )
                })?;
                Ok(Step::Done)
            }
        }
    }

    fn answer_first(&mut self, message: &str) -> Result<Step, Fault> {
        let unexpected = || Fault::unexpected("a first answer to SCRAM that is none");
        let mut parts = message.split(',');
        let mut part =
            |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or_else(unexpected);
        // An `m=` in front would be an extension that must be understood.
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        let is_ours = nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len();
        let is_printable = nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if !is_ours || !is_printable {
            return Err(Fault::Untrusted(
                "its nonce does not continue ours: it may be an old answer".to_owned(),
            ));
        }
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or_else(unexpected)?;
        let number: u32 = iterations.parse().map_err(|_| unexpected())?;
        let within = NonZeroU32::new(number).filter(|_| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&number));
        let iterations = within.ok_or_else(|| {
            Fault::Untrusted(format!(
                "it asks for {number} iterations, where {ITERATIONS_MIN} to {ITERATIONS_MAX} are safe"
            ))
        })?;
        let salted = self.salted(&salt, iterations);
        let salted = hmac::Key::new(self.mac(), &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.digest(), client_key.as_ref());
        let without_proof = format!("c={GS2_HEADER},r={nonce}");
        let auth_message = format!("{},{message},{without_proof}", self.first_bare);
        let signature = hmac::sign(&hmac::Key::new(self.mac(), stored_key.as_ref()), auth_message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, mask)| key ^ mask).collect();
        let server_key = hmac::sign(&salted, b"Server Key").as_ref().to_vec();
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        self.stage = Stage::Final { server_key, auth_message };
        Ok(Step::Say(last.into_bytes()))
    }

    fn salted(&self, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let mut kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.salt == salt && kept.iterations == iterations) {
            return kept.password.clone();
        }
        let (function, bytes) = match self.hash {
            ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN),
            ScramHash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, digest::SHA512_OUTPUT_LEN),
        };
        let mut password = vec![0; bytes];
        pbkdf2::derive(function, iterations, salt, self.password.expose().as_bytes(), &mut password);
        *kept = Some(Salted { salt: salt.to_vec(), iterations, password: password.clone() });
        password
    }

    fn mac(&self) -> hmac::Algorithm {
        match self.hash {
            ScramHash::Sha256 => hmac::HMAC_SHA256,
            ScramHash::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(&self) -> &'static digest::Algorithm {
        match self.hash {
            ScramHash::Sha256 => &digest::SHA256,
            ScramHash::Sha512 => &digest::SHA512,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(username: &str, password: &str, nonce: &str, token: bool) -> Scram {
        let password = Secret::new(password);
        Scram::new(ScramHash::Sha256, username, &password, token, nonce.to_owned(), Kept::default()).unwrap()
    }

    fn said(step: Result<Step, Fault>) -> String {
        match step.unwrap() {
            Step::Say(bytes) => String::from_utf8(bytes).unwrap(),
            Step::Done => String::from("done"),
        }
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    /// RFC 7677, section 3.
    #[test]
    fn the_example_of_the_specification_comes_out() {
        let mut scram = start("user", "pencil", NONCE, false);
        assert_eq!(scram.first(), format!("n,,n=user,r={NONCE}").into_bytes());
        assert_eq!(
            said(scram.step(SERVER_FIRST.as_bytes())),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(said(scram.step(SERVER_FINAL.as_bytes())), "done");
    }

    #[test]
    fn names_are_escaped_and_tokens_marked() {
        assert_eq!(start("a=b,c", "x", "N", false).first(), b"n,,n=a=3Db=2Cc,r=N");
        assert_eq!(start("id", "hmac", "N", true).first(), b"n,,n=id,r=N,tokenauth=true");
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_found_out() {
        let mut scram = start("user", "pencil", NONCE, false);
        scram.step(SERVER_FIRST.as_bytes()).unwrap();
        let other = SERVER_FINAL.replace("6rri", "7rri");
        let Err(Fault::Untrusted(why)) = scram.step(other.as_bytes()) else { panic!("{other}") };
        assert!(why.contains("not the broker"), "{why}");
        let Err(Fault::Refused(why)) = scram.step(b"e=invalid-\x1bproof") else { panic!() };
        assert_eq!(why, "invalid-proof");
        assert!(scram.step(b"").is_err());
    }

    #[test]
    fn hostile_first_answers_are_refused() {
        for first in [
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO\u{7f},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2000000000",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=%,i=4096",
            "m=must,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "",
            "e=other-error",
        ] {
            assert!(start("user", "pencil", NONCE, false).step(first.as_bytes()).is_err(), "{first}");
        }
        let long = format!("{SERVER_FIRST},x={}", "y".repeat(MESSAGE_BYTES_MAX));
        assert!(start("user", "pencil", NONCE, false).step(long.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_broker_says_nothing_panics(first: Vec<u8>, last: Vec<u8>, text: String) {
            let mut scram = start("user", "pencil", NONCE, false);
            let _ = scram.step(&first);
            let _ = scram.step(text.as_bytes());
            let _ = scram.step(SERVER_FIRST.as_bytes());
            let _ = scram.step(&last);
            let _ = scram.step(format!("v={text}").as_bytes());
        }
    }
}
