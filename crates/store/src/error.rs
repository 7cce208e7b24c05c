//! Every error of the store.

use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not do what was asked. None of these is a fault of the caller of an AWS API: a service sends them
/// as its 500 or 503.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A transaction kept meeting other writers. Sent as a throttling or service-unavailable error.
    #[error("the transaction met conflicting writes {attempts} times in a row")]
    Contention { attempts: u32 },

    /// Over a limit of `Limits`. Services check their own, smaller, limits before.
    #[error("{what} is {size}, over the store's limit of {limit}")]
    TooLarge { what: &'static str, size: usize, limit: usize },

    /// Another process has the data directory open.
    #[error("the data directory {} is in use by another process", path.display())]
    Locked { path: PathBuf },

    /// The data directory holds something that this engine or this release cannot open.
    #[error("the data directory {} cannot be opened: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },

    /// The disk or the database refuses to work: full, read-only, broken, unreachable. Whether a commit that ends so took
    /// effect is unknown (it was not acknowledged, it may yet appear). Later calls may succeed.
    #[error("storage is unavailable: {reason}")]
    Unavailable { reason: Arc<str> },

    /// A transaction's reads are not all to be had of one moment: what it read first has changed since, or the connection that
    /// held the moment is lost. `Store::transact` runs it again; nobody else sees this.
    #[error("the moment that the transaction reads is gone")]
    Stale,

    /// A stored key or value cannot be read back.
    #[error("a stored record is unreadable: {detail}")]
    Corrupt { detail: String },

    /// The lease that this transaction was fenced by belongs to someone else now.
    #[error("the lease {name:?} was lost")]
    Fenced { name: String },

    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub fn unavailable(reason: impl std::fmt::Display) -> StoreError {
        StoreError::Unavailable { reason: reason.to_string().into() }
    }

    pub fn corrupt(detail: impl Into<String>) -> StoreError {
        StoreError::Corrupt { detail: detail.into() }
    }
}
