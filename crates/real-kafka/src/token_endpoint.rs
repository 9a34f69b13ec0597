//! An identity provider's token endpoint, as a process of its own (see `java/TokenEndpoint.java`).

use crate::{Distribution, Error, Process, Stores, wait_until};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const START: Duration = Duration::from_secs(60);

/// A running token endpoint over TLS, whose certificate the authority of [`Stores`] has signed. Dropping it ends it.
#[derive(Debug)]
pub struct TokenEndpoint {
    process: Process,
    port: u16,
    keys: PathBuf,
}

impl TokenEndpoint {
    /// The only client that it knows, who is also who its tokens are for.
    pub const CLIENT: &str = "paralog";
    /// What proves it.
    pub const SECRET: &str = "endpoint-secret";

    /// Starts one whose tokens last for `lifetime`, in whole seconds, at `port`, 0 for any; its files are in `folder`.
    ///
    /// # Errors
    /// [`Error::Ended`] with its last words, [`Error::TimedOut`].
    pub fn start(
        kafka: &Distribution,
        stores: &Stores,
        folder: &Path,
        lifetime: Duration,
        port: u16,
    ) -> Result<TokenEndpoint, Error> {
        let (keys, log) = (folder.join("jwks.json"), folder.join("token-endpoint.log"));
        // Its port is read from there.
        let _ = fs::remove_file(&log);
        let mut java = kafka.java("realkafka.TokenEndpoint", 64);
        java.arg(stores.file("broker.p12")).arg(Stores::PASSWORD).arg(&keys);
        java.args([TokenEndpoint::CLIENT, TokenEndpoint::SECRET]);
        java.args([lifetime.as_secs().to_string(), port.to_string()]);
        let mut process = Process::start("token endpoint", java, &log)?;
        let port = wait_until("the token endpoint to listen", START, || {
            process.check_alive()?;
            let said = fs::read_to_string(&log).unwrap_or_default();
            let port = said.lines().find_map(|line| line.strip_prefix("listening on "));
            Ok(port.and_then(|port| port.parse().ok()))
        })?;
        Ok(TokenEndpoint { process, port, keys })
    }

    /// Where tokens are asked for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}/token", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the file with its public key, as brokers read it.
    #[must_use]
    pub fn keys_url(&self) -> String {
        format!("file://{}", self.keys.display())
    }

    /// How many tokens it has given out.
    #[must_use]
    pub fn issued(&self) -> usize {
        let said = fs::read_to_string(self.process.log()).unwrap_or_default();
        said.lines().filter(|line| line.starts_with("issued")).count()
    }
}
