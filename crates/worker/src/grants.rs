//! Where a flow remembers which ACLs it has created: with its progress.

use std::collections::BTreeSet;

use control::{GrantError, GrantStore};
use model::{AccessControlEntry, Acls, ResourcePattern};
use offsets::Stored;
use pipeline::{OffsetStore, StoreError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::connector::Connector;
use crate::stores::Storage;

/// What is stored of one pattern is one record in a topic, of which a broker takes 1 MiB at most by default
/// (`max.message.bytes`), keys, headers and all.
const PATTERN_BYTES_MAX: usize = 512 << 10;

/// The ACLs in one flow's progress, and those in that of flows which copy to its source.
pub(crate) struct Grants {
    store: Box<dyn OffsetStore>,
    storage: Storage,
    to_source: Vec<String>,
    runtime: Handle,
}

impl Grants {
    /// Those of `connector`; `to_source` are the names of the flows that copy to its source.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(storage: &Storage, connector: &Connector, to_source: Vec<String>) -> Grants {
        let store = storage.store(&connector.name);
        Grants { store, storage: storage.clone(), to_source, runtime: Handle::current() }
    }
}

impl GrantStore for Grants {
    fn load(&mut self) -> Result<Acls, GrantError> {
        self.store.load().map(|stored| stored.acls).map_err(refused)
    }

    fn save(&mut self, changes: &Acls) -> Result<(), GrantError> {
        let is_large = |(_, entries): &(&ResourcePattern, &BTreeSet<AccessControlEntry>)| {
            offsets::acls_bytes(entries) > PATTERN_BYTES_MAX
        };
        // They would be in the way of the lanes' progress, too.
        let too_large: Vec<ResourcePattern> =
            changes.iter().filter(is_large).map(|(pattern, _)| pattern.clone()).collect();
        if !too_large.is_empty() {
            return Err(GrantError::TooLarge(too_large));
        }
        let changes = Stored { acls: changes.clone(), ..Stored::default() };
        self.store.save(&changes).map_err(refused)
    }

    fn prove(&mut self) -> Result<(), GrantError> {
        if !self.store.waits() {
            // A file is this process's as long as it is open.
            return Ok(());
        }
        self.store.save(&Stored::default()).map_err(refused)
    }

    fn copies_at_source(&mut self) -> Result<Acls, GrantError> {
        if self.to_source.is_empty() {
            return Ok(Acls::new());
        }
        if let Storage::File(file) = &self.storage {
            let stored = self.to_source.iter().map(|flow| file.store(flow).load());
            return merged(stored).map_err(GrantError::Failed);
        }
        // On the runtime, where the connections live: what waits there may end with it.
        let (storage, to_source) = (self.storage.clone(), self.to_source.clone());
        let (sender, result) = oneshot::channel();
        self.runtime.spawn(async move {
            let mut stored = Vec::new();
            for flow in &to_source {
                stored.push(storage.look(flow).await);
            }
            // Nobody waits any more only where the thread that did has ended.
            let _ = sender.send(merged(stored));
        });
        // Whoever has taken over another flow has not taken this one.
        let result = result.blocking_recv().unwrap_or_else(|_| Err(String::from("the program ends")));
        result.map_err(GrantError::Failed)
    }

    fn waits(&self) -> bool {
        self.store.waits()
    }
}

/// The ACLs of all.
fn merged(stored: impl IntoIterator<Item = Result<Stored, StoreError>>) -> Result<Acls, String> {
    let mut all = Acls::new();
    for stored in stored {
        for (pattern, entries) in stored.map_err(|error| error.to_string())?.acls {
            all.entry(pattern).or_default().extend(entries);
        }
    }
    Ok(all)
}

fn refused(error: StoreError) -> GrantError {
    match error {
        StoreError::Failed(what) => GrantError::Failed(what),
        StoreError::Taken(what) => GrantError::Taken(what),
    }
}
