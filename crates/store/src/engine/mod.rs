//! What the committer asks of an embedded engine: reads that return at once, and an atomic batch.

mod dir;
pub mod fjall;
pub mod memory;
pub mod redb;

use std::sync::Arc;

use crate::committer::Changes;
use crate::{Direction, Durability, Entry, Found, KeyRange, Limits, Page, Space, StoreError, Version};

/// Reads that do not wait.
pub(crate) trait SyncRead: Send + Sync + 'static {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError>;

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, EngineError>;
}

pub(crate) trait Engine: SyncRead {
    const NAME: &'static str;
    type Snapshot: SyncRead;

    fn snapshot(&self) -> Result<Self::Snapshot, EngineError>;

    /// The present version of a key. Called from the thread that applies, so no batch is under way.
    fn version(&self, space: Space, key: &[u8]) -> Result<Option<Version>, EngineError> {
        Ok(self.get(space, key)?.map(|(_, version)| version))
    }

    /// Applies all or nothing. A durable batch is on the disk before anyone can read it and before this returns, and with
    /// it every batch before. Called from one thread.
    fn apply(&self, changes: Changes, durability: Durability) -> Result<(), EngineError>;

    /// After a failed `apply`: opens the files again, so that writes work as soon as the disk does.
    fn recover(&self) -> Result<(), EngineError>;

    /// The last call, after the last `apply`.
    fn close(&self) -> Result<(), EngineError>;
}

/// How a durable engine uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// For blocks read from the disk. 15 to 25 % of the memory on a machine of its own.
    pub cache_bytes: u64,
    /// Threads for background work of the engines that have it.
    pub workers: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        DiskOptions { cache_bytes: 64 << 20, workers: (cores / 2).clamp(1, 4) }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("{0}")]
    Unavailable(Arc<str>),
    #[error("{0}")]
    Corrupt(String),
}

impl EngineError {
    pub fn unavailable(reason: impl std::fmt::Display) -> EngineError {
        EngineError::Unavailable(reason.to_string().into())
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> StoreError {
        match error {
            EngineError::Unavailable(reason) => StoreError::Unavailable { reason },
            EngineError::Corrupt(detail) => StoreError::Corrupt { detail },
        }
    }
}

/// Reads what a range holds, in the direction asked for, until `limit` or the size of a page. `read` passes over what is no
/// entry.
pub(crate) fn read_page<T>(
    rows: impl DoubleEndedIterator<Item = T>,
    limit: usize,
    direction: Direction,
    read: impl FnMut(T) -> Option<Result<Entry, EngineError>>,
) -> Result<Page, EngineError> {
    match direction {
        Direction::Forward => fill_page(rows.filter_map(read), limit),
        Direction::Backward => fill_page(rows.rev().filter_map(read), limit),
    }
}

/// Takes entries until `limit` or the size of a page; the iterator is in the order asked for.
fn fill_page(
    entries: impl Iterator<Item = Result<Entry, EngineError>>,
    limit: usize,
) -> Result<Page, EngineError> {
    let mut page = Page::default();
    let mut bytes = 0;
    for entry in entries {
        if page.entries.len() >= limit || bytes >= Limits::DEFAULT.max_page_bytes {
            page.more = true;
            break;
        }
        let entry = entry?;
        bytes += entry.key.len() + entry.value.len();
        page.entries.push(entry);
    }
    Ok(page)
}

#[cfg(test)]
mod tests;
