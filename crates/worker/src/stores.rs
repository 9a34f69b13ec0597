//! Where a worker keeps what must survive it: in a file, or in a topic.

pub mod offset;
pub mod topic;

use std::time::Duration;

use offsets::Stored;
use pipeline::{OffsetStore, StoreError};
use properties::OffsetStorage;

use crate::Logins;
use offset::OffsetFile;
use topic::OffsetTopic;

/// The place of all progress of one worker, opened to be written.
#[derive(Clone, Debug)]
pub enum Storage {
    /// A file, which no other process can use meanwhile.
    File(OffsetFile),
    /// A topic.
    Topic(OffsetTopic),
}

impl Storage {
    /// Opens it. `patience` is how long a save may take where that is not the machine's own matter.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or is in use.
    pub async fn open(
        place: &OffsetStorage,
        logins: &Logins,
        patience: Duration,
    ) -> Result<Storage, StoreError> {
        Ok(match place {
            OffsetStorage::File(path) => Storage::File(OffsetFile::open(path)?),
            OffsetStorage::Topic(settings) => {
                Storage::Topic(OffsetTopic::open(settings, logins, patience).await?)
            }
        })
    }

    /// What `place` says of the flow named `flow`, also while a worker has it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or what it says cannot be used.
    pub async fn peek(
        place: &OffsetStorage,
        logins: &Logins,
        patience: Duration,
        flow: &str,
    ) -> Result<Stored, StoreError> {
        match place {
            OffsetStorage::File(path) => OffsetFile::peek(path, flow),
            OffsetStorage::Topic(settings) => {
                OffsetTopic::open(settings, logins, patience).await?.peek(flow).await
            }
        }
    }

    /// What it says of the flow named `flow`, before that is loaded from it.
    ///
    /// # Errors
    /// As for [`Storage::peek`].
    pub async fn look(&self, flow: &str) -> Result<Stored, StoreError> {
        match self {
            Storage::File(file) => file.store(flow).load(),
            Storage::Topic(topic) => topic.peek(flow).await,
        }
    }

    /// Takes the flow named `flow` for this process, and gives what is stored of it: final until another takes it. In a
    /// topic it is taken from whoever had it; a file is this process's as long as it is open.
    ///
    /// # Errors
    /// As for [`Storage::peek`].
    pub async fn claim(&self, flow: &str) -> Result<Stored, StoreError> {
        match self {
            Storage::File(file) => file.store(flow).load(),
            Storage::Topic(topic) => topic.claim(flow).await,
        }
    }

    /// Makes it say of the flow named `flow` what `stored` says and nothing else. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or written. A file is then as before, a topic may be changed in part.
    pub async fn replace(&self, flow: &str, stored: &Stored) -> Result<(), StoreError> {
        match self {
            Storage::File(file) => file.replace(flow, stored),
            Storage::Topic(topic) => topic.replace(flow, stored).await,
        }
    }

    /// The place as messages name it.
    pub fn name(&self) -> String {
        match self {
            Storage::File(file) => format!("offsets file `{}`", file.path().display()),
            Storage::Topic(topic) => format!("offsets topic `{}`", topic.name()),
        }
    }

    /// The part of it that belongs to the flow named `flow`.
    pub fn store(&self, flow: &str) -> Box<dyn OffsetStore> {
        match self {
            Storage::File(file) => Box::new(file.store(flow)),
            Storage::Topic(topic) => Box::new(topic.store(flow)),
        }
    }
}

/// The place as messages name it.
pub(crate) fn place_name(place: &OffsetStorage) -> String {
    match place {
        OffsetStorage::File(path) => format!("offsets file `{}`", path.display()),
        OffsetStorage::Topic(settings) => format!("offsets topic `{}`", settings.topic),
    }
}

/// The property that names the place.
pub(crate) fn place_property(place: &OffsetStorage) -> &'static str {
    match place {
        OffsetStorage::File(_) => "offset.storage.file.filename",
        OffsetStorage::Topic(_) => "offset.storage.topic",
    }
}
