//! Where a flow remembers which ACLs it has created: with its progress.

use control::GrantStore;
use model::Acls;
use offsets::Stored;
use pipeline::OffsetStore;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::connector::Connector;
use crate::stores::Storage;

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
    fn load(&mut self) -> Result<Acls, String> {
        self.store.load().map(|stored| stored.acls).map_err(|error| error.to_string())
    }

    fn save(&mut self, changes: &Acls) -> Result<(), String> {
        let changes = Stored { acls: changes.clone(), ..Stored::default() };
        self.store.save(&changes).map_err(|error| error.to_string())
    }

    fn copies_at_source(&mut self) -> Result<Acls, String> {
        if self.to_source.is_empty() {
            return Ok(Acls::new());
        }
        // On the runtime, where the connections live: what waits there may end with it.
        let (storage, to_source) = (self.storage.clone(), self.to_source.clone());
        let (sender, result) = oneshot::channel();
        self.runtime.spawn(async move {
            // Nobody waits any more only where the thread that did has ended.
            let _ = sender.send(copies_at_source(&storage, &to_source).await);
        });
        result.blocking_recv().unwrap_or_else(|_| Err(String::from("the program ends")))
    }
}

/// What the flows named `to_source` have created, where they copy to.
async fn copies_at_source(storage: &Storage, to_source: &[String]) -> Result<Acls, String> {
    let mut all = Acls::new();
    for flow in to_source {
        let stored = storage.look(flow).await.map_err(|error| error.to_string())?;
        for (pattern, entries) in stored.acls {
            all.entry(pattern).or_default().extend(entries);
        }
    }
    Ok(all)
}
