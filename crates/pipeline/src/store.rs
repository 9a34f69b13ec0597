//! Where a flow's progress is kept between runs: the seam, not a store.

use offsets::Stored;

/// A place that keeps a flow's progress. Its calls may block: they are made off the async runtime, one
/// at a time.
pub trait OffsetStore: Send {
    /// All that is known of the flow.
    ///
    /// # Errors
    /// [`StoreError`] where something is there and cannot be understood: an unreadable store must never
    /// look like an empty one, or everything would be copied again.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Changes the lanes and the producer that are present in `changes`, and nothing else. Durable when
    /// it returns.
    ///
    /// # Errors
    /// [`StoreError`] where nothing is promised about what is stored, except that [`OffsetStore::load`]
    /// gives of each lane, and of the producer, either the old or the new state; and that nothing of it is stored after
    /// a later save, or a later process's load, has returned.
    fn save(&mut self, changes: &Stored) -> Result<(), StoreError>;

    /// Whether its calls wait for others, such as a cluster that may not answer: each has a thread of its own then, and
    /// takes none from what computes.
    fn waits(&self) -> bool {
        false
    }
}

/// Progress could not be read or written; says what, where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may be done another time.
    #[error("{0}")]
    Failed(String),
    /// Another process has taken the place over: nothing is stored or copied any more.
    #[error("{0}")]
    Taken(String),
}
