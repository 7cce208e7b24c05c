//! Timers: rows that wake a handler when the injected clock reaches them, also when the clock is moved.
//!
//! A handler that does its work in a transaction begins it with `Job::claim`, which makes the work happen once; otherwise
//! it happens at least once.

use crate::due::{Due, NewJob};
use crate::{Space, StoreError, Txn};
use pileus_core::Timestamp;

pub const TIMERS: Due = Due::new(Space::Index, [0, b't'], "timer");

/// Sets a timer. Who may want to cancel or move it keeps `due` in its own state.
pub fn set(txn: &Txn, kind: &str, id: &str, due: Timestamp, payload: &[u8]) -> Result<(), StoreError> {
    TIMERS.add(txn, &NewJob { kind, id, due, destination: "", payload })
}

/// Cancels the timer set for `due`. See `Due::remove`.
pub async fn cancel(txn: &Txn, kind: &str, id: &str, due: Timestamp) -> Result<(), StoreError> {
    TIMERS.remove(txn, kind, id, due).await
}
