//! The outbox: what a change causes elsewhere, written with the change and delivered at least once after it.
//!
//! Delivery is by a handler of the effect's kind. One that fails is retried with growing pauses until the handler says it
//! is finished; giving up, to a dead-letter queue or to the log, is the handler's decision (`Job::attempts`).

use crate::due::{Due, NewJob};
use crate::{Space, StoreError, Txn};
use pileus_core::Timestamp;

pub const OUTBOX: Due = Due::new(Space::Queue, [0, b'o'], "outbox");

/// Something to deliver.
#[derive(Debug, Clone, Copy)]
pub struct Effect<'a> {
    /// Which handler delivers it.
    pub kind: &'a str,
    /// Unique among the effects of its kind.
    pub id: &'a str,
    pub destination: &'a str,
    pub payload: &'a [u8],
}

/// Writes an effect in the caller's transaction, to be delivered `at` (now, or after a delay).
pub fn send(txn: &Txn, at: Timestamp, effect: &Effect<'_>) -> Result<(), StoreError> {
    let Effect { kind, id, destination, payload } = *effect;
    OUTBOX.add(txn, &NewJob { kind, id, due: at, destination, payload })
}
