//! How far the topic was read. No I/O.

use model::{Offset, TopicId};
use tokio::time::Instant;

use super::log::Table;

/// What was read of one topic, and how far. Whole at any time: what reads into it may be dropped.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) id: Option<TopicId>,
    pub(super) table: Table,
    /// The next offset of each partition.
    pub(super) positions: Vec<Offset>,
    /// When it last went on.
    pub(super) progressed: Instant,
}

impl Reading {
    pub(super) fn new(id: Option<TopicId>, partitions: i32) -> Reading {
        let positions = vec![Offset(0); usize::try_from(partitions).unwrap_or(0)];
        Reading { id, table: Table::new(partitions), positions, progressed: Instant::now() }
    }

    /// The log of partition `at` goes from `start` to `end`: what was read of it and is not there any more is forgotten.
    pub(super) fn begin(&mut self, at: usize, start: Offset, end: Offset) {
        let (Some(position), Ok(partition)) = (self.positions.get_mut(at), i32::try_from(at)) else { return };
        if end < *position {
            self.table.forget(partition, Offset(i64::MAX));
            *position = start;
        } else if *position < start {
            // What took a value back may have gone with it.
            self.table.forget(partition, start);
            *position = start;
        }
    }
}
