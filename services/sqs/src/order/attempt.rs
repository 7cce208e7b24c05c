//! `ReceiveRequestAttemptId`: a receive whose answer was lost is asked for again.
//!
//! Source: API Reference, "ReceiveMessage"; Amazon SQS Developer Guide, "Using the receive request attempt ID in Amazon SQS".

use pileus_store::Txn;

use crate::error::SqsError;
use crate::keys;
use crate::keys::ATTEMPTS;
use crate::message::fifo::{Attempt, AttemptReceipt};
use crate::message::receipt::{Place, Receipt};
use crate::message::visibility::State;
use crate::order::{BodyKey, Delivered, fifo};
use crate::queue::Queue;
use crate::state::Desk;

/// Gives out again what the attempt gave out, with the same handles and a timeout that starts anew. `None` when there was
/// no such attempt within five minutes, or a message of it has been changed since.
pub async fn replay(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    id: &str,
    timeout: u64,
) -> Result<Option<Vec<Delivered>>, SqsError> {
    let generation = queue.record.generation;
    let key = (generation, id.to_owned());
    let Some(mut attempt) = ATTEMPTS.get(txn, &key).await?.filter(|attempt| !attempt.is_over(desk.now))
    else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for given in &attempt.receipts {
        let receipt = Receipt {
            queue_id: queue.record.id,
            generation,
            receive_count: given.receive_count,
            place: Place::Fifo { sequence: given.sequence, group: given.group.clone() },
        };
        let located = fifo::locate(txn, queue, &receipt).await?;
        match located.filter(|located| given.holds(Some(&located.state), desk.now)) {
            Some(located) => found.push((located, receipt, given.sequence)),
            None => return Ok(None),
        }
    }
    let mut delivered = Vec::new();
    for ((located, receipt, sequence), given) in found.into_iter().zip(&mut attempt.receipts) {
        let state = State { visible_at: desk.now + timeout, ..located.state.clone() };
        let body_key = BodyKey(keys::body(generation, 0, sequence, state.tail));
        let Some((message, body)) = body_key.read(txn).await? else { return Ok(None) };
        located.put(desk, txn, queue, state.clone()).await?;
        given.visible_at = state.visible_at;
        delivered.push(Delivered { message, body, state, receipt });
    }
    ATTEMPTS.put(txn, &key, &attempt)?;
    Ok(Some(delivered))
}

/// Remembers what was given out.
pub fn record(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    id: &str,
    delivered: &[Delivered],
) -> Result<(), SqsError> {
    let receipts = delivered.iter().filter_map(|delivered| match &delivered.receipt.place {
        Place::Fifo { sequence, group } => Some(AttemptReceipt {
            group: group.clone(),
            sequence: *sequence,
            receive_count: delivered.receipt.receive_count,
            visible_at: delivered.state.visible_at,
        }),
        Place::Standard { .. } => None,
    });
    let attempt = Attempt { at: desk.now, receipts: receipts.collect() };
    Ok(ATTEMPTS.put(txn, &(queue.record.generation, id.to_owned()), &attempt)?)
}
