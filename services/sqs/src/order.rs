//! How the store keeps the order of messages, for both kinds of queue: putting in, taking, putting aside, removing. Each
//! change is part of a transaction that also reads the queue's row, so none outlives a purge or a deletion.

pub mod attempt;
pub mod fifo;
pub mod standard;

use std::sync::Arc;

use bytes::Bytes;
use pileus_store::{Space, StoreError, Topic, Txn};

use crate::error::SqsError;
use crate::keys;
use crate::lane::{Claim, Lane, Want};
use crate::message::Message;
use crate::message::receipt::Receipt;
use crate::message::visibility::State;
use crate::queue::Queue;
use crate::state::Desk;

/// A message that a receive gives out.
pub struct Delivered {
    pub message: Message,
    pub body: Bytes,
    pub state: State,
    pub receipt: Receipt,
}

/// What one transaction of a receive did.
#[derive(Default)]
pub struct Taken {
    pub delivered: Vec<Delivered>,
    /// Messages that expired, went to the dead-letter queue or were gone already, groups put where they belong: there may be
    /// more to take.
    pub tidied: usize,
}

/// Bytes of bodies that one transaction moves to another queue; the store bounds a transaction.
pub const MAX_MOVED_BYTES: usize = 2 << 20;

/// Where the body of a message is.
pub struct BodyKey(pub Bytes);

impl BodyKey {
    /// Headers and body; `None` when they are gone, removed by the sweeper or an older handle.
    pub async fn read(&self, txn: &Txn) -> Result<Option<(Message, Bytes)>, StoreError> {
        let Some(row) = txn.get_untracked(Space::Queue, &self.0).await? else { return Ok(None) };
        match Message::read(&row)? {
            (message, Some(body)) => Ok(Some((message, body))),
            (message, None) => {
                let body = txn.get_untracked(Space::Queue, &keys::body_apart(&self.0)).await?;
                Ok(body.map(|body| (message, body)))
            }
        }
    }

    /// Writes headers and body; tells whether the body is apart.
    pub fn write(
        &self,
        desk: Desk<'_>,
        txn: &Txn,
        message: &Message,
        body: &Bytes,
    ) -> Result<bool, StoreError> {
        let rows = message.rows(body, desk.store.limits().max_value)?;
        txn.put(Space::Queue, self.0.clone(), rows.row);
        let is_apart = rows.apart.is_some();
        if let Some(body) = rows.apart {
            txn.put(Space::Queue, keys::body_apart(&self.0), body);
        }
        Ok(is_apart)
    }

    pub fn delete(&self, txn: &Txn, state: &State) {
        txn.delete(Space::Queue, self.0.clone());
        if state.has_body_apart {
            txn.delete(Space::Queue, keys::body_apart(&self.0));
        }
    }
}

/// Reads a stored state.
pub fn decode(value: &[u8]) -> Result<State, StoreError> {
    State::decode(value).ok_or_else(|| StoreError::corrupt("the state of a message has another form"))
}

/// Claims what can be taken now from a queue of either kind; also says when there may be more.
pub async fn claim(
    desk: Desk<'_>,
    lane: &Arc<Lane>,
    queue: &Queue,
    want: Want,
) -> Result<(Vec<Claim>, u64), StoreError> {
    if queue.is_fifo() {
        fifo::claim(desk, lane, queue, want).await
    } else {
        standard::claim(desk, lane, want).await
    }
}

/// Puts a message into a queue of either kind. On a FIFO queue the message gets its sequence.
pub async fn put(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    message: &mut Message,
    body: &Bytes,
    state: State,
) -> Result<(), SqsError> {
    if queue.is_fifo() {
        fifo::put(desk, txn, queue, message, body, state).await
    } else {
        Ok(standard::put(desk, txn, queue, message, body, state)?)
    }
}

/// Puts a message into the dead-letter queue of `source`: it keeps its id, attributes and, on a standard queue, its age.
///
/// Source: Amazon SQS Developer Guide, "Using dead-letter queues in Amazon SQS", "Understanding message retention periods for
/// dead-letter queues".
pub async fn bury(
    desk: Desk<'_>,
    txn: &Txn,
    source: &Queue,
    target: &Queue,
    mut message: Message,
    body: &Bytes,
    state: &State,
) -> Result<(), SqsError> {
    message.dead_letter_source = Some(source.address.arn().to_string());
    let sent_at = if target.is_fifo() { desk.now } else { state.sent_at };
    let buried = State {
        received_before: state.total_receive_count(),
        first_received_at: state.first_received_at,
        ..State::new(sent_at, if target.is_fifo() { sent_at } else { desk.now })
    };
    put(desk, txn, target, &mut message, body, buried).await
}

/// The dead-letter queue of `queue`, while it exists.
pub async fn dead_letter_queue(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
) -> Result<Option<Arc<Queue>>, SqsError> {
    match &queue.record.attributes.redrive_policy {
        Some(policy) => Ok(desk.sqs.find(txn, &policy.target(&queue.address)).await?),
        None => Ok(None),
    }
}

/// Wakes those who wait for messages of the queue.
pub fn announce(txn: &Txn, queue: &Queue, at: u64) {
    txn.notify_low(Topic::new(keys::arrivals(queue.record.generation)), at);
}
