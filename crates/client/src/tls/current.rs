//! The stores as they are now, and what was made of them.
//!
//! Whether their files have changed is asked of the system for each new connection. New files that cannot be used leave
//! what was there before, with a warning for each change: a certificate that is being replaced is not a failure.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tracing::{info, warn};

use super::config::{self, Shown, Trusted};
use super::stores::{self, Contents, Passwords};
use crate::{Identity, Secret, SecurityError, StoreSource, TlsOptions, Trust};

/// The largest file read as a store. All roots of an operating system have a few hundred kilobytes.
const STORE_BYTES_MAX: u64 = 16 << 20;

/// The configuration of connections, kept up with the files it comes from.
#[derive(Debug)]
pub(super) struct Current {
    options: TlsOptions,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    from: [Option<Stamp>; 2],
    config: Arc<ClientConfig>,
    shown: Arc<Shown>,
}

/// What changes with a file's contents, however it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// On Unix the file itself and when it changed in any way, to the nanosecond.
    node: [i64; 3],
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let node = {
            use std::os::unix::fs::MetadataExt;
            [metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()]
        };
        #[cfg(not(unix))]
        let node = [0; 3];
        Some(Stamp { bytes: metadata.len(), modified: metadata.modified().ok(), node })
    }
}

impl Current {
    pub(super) fn new(options: TlsOptions) -> Current {
        Current { options, made: Mutex::default() }
    }

    /// What a new connection is to use. Blocks while files are read.
    pub(super) fn get(&self) -> Result<(Arc<ClientConfig>, Arc<Shown>), SecurityError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is read again.
        let from = self.stamps();
        if let Some(made) = made.as_ref().filter(|made| made.from == from) {
            return Ok((Arc::clone(&made.config), Arc::clone(&made.shown)));
        }
        match (self.make(), made.as_mut()) {
            (Ok((config, shown)), before) => {
                if before.is_some() {
                    info!("stores of certificates have changed, new connections use them");
                }
                let result = (Arc::clone(&config), Arc::clone(&shown));
                *made = Some(Made { from, config, shown });
                Ok(result)
            }
            (Err(error), Some(before)) => {
                warn!(%error, "a store of certificates has changed and cannot be used, going on with what it was");
                before.from = from;
                Ok((Arc::clone(&before.config), Arc::clone(&before.shown)))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        let trust = match &self.options.trust {
            Trust::Store(store) => Some(store),
            Trust::System => None,
        };
        let identity = self.options.identity.as_ref().map(|identity| &identity.store);
        [trust, identity].map(|store| match store {
            Some(StoreSource::File { path, .. }) => Stamp::of(path),
            _ => None,
        })
    }

    fn make(&self) -> Result<(Arc<ClientConfig>, Arc<Shown>), SecurityError> {
        config::choices(&self.options)?;
        let trusted = match &self.options.trust {
            Trust::System => system()?,
            Trust::Store(store) => trusted(store)?,
        };
        let identity = self.options.identity.as_ref();
        let key = match identity {
            Some(Identity { store, key_password }) => {
                let contents = read("key store", store, key_password.as_ref())?;
                let fault = |what| SecurityError::Store { store: called("key store", store), what };
                Some(config::identity(contents).map_err(fault)?)
            }
            None => None,
        };
        config::build(&self.options, trusted, key)
    }
}

fn system() -> Result<Trusted, SecurityError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(SecurityError::Store {
            store: "the system's trusted certificates".to_owned(),
            what: format!(
                "there are none{why}; install them (often `ca-certificates`) or give a trust store"
            ),
        });
    }
    let called = "the certificates that this system trusts (no trust store is given)".to_owned();
    Ok(Trusted { certificates: found.certs, from_store: false, called })
}

fn trusted(store: &StoreSource) -> Result<Trusted, SecurityError> {
    let contents = read("trust store", store, None)?;
    let called = called("trust store", store);
    if contents.certificates.is_empty() {
        return Err(SecurityError::Store { store: called, what: "it holds no certificate".to_owned() });
    }
    let certificates = contents.certificates.into_iter().map(CertificateDer::from).collect();
    Ok(Trusted { certificates, from_store: true, called: format!("the {called}") })
}

fn read(role: &str, store: &StoreSource, key_password: Option<&Secret>) -> Result<Contents, SecurityError> {
    let fault = |what: String| SecurityError::Store { store: called(role, store), what };
    let key = key_password.map(Secret::expose);
    let contents = match store {
        StoreSource::File { path, kind, password } => {
            let bytes = read_file(path).map_err(&fault)?;
            let passwords = Passwords { store: password.as_ref().map(Secret::expose), key };
            stores::read(&bytes, *kind, passwords)
        }
        StoreSource::Inline { certificates, key: private_key } => {
            let passwords = Passwords { store: None, key };
            stores::read_inline(certificates.expose(), private_key.as_ref().map(Secret::expose), passwords)
        }
    };
    contents.map_err(|error| fault(error.to_string()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let bytes = metadata.len();
    if bytes > STORE_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, more than a store can have ({STORE_BYTES_MAX})"));
    }
    fs::read(path).map_err(|error| format!("it cannot be read: {error}"))
}

fn called(role: &str, store: &StoreSource) -> String {
    match store {
        StoreSource::File { path, .. } => format!("{role} {}", path.display()),
        StoreSource::Inline { .. } => format!("{role} in the settings"),
    }
}
