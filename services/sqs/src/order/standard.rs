//! The order of a standard queue: one row a message, keyed by when it becomes visible. A receive moves the row to the end
//! of the visibility timeout, so what is due lies at the head, and nothing needs to run when a timeout ends.

use std::sync::Arc;

use bytes::Bytes;
use pileus_store::{Space, StoreError, Topic, Txn};

use crate::error::SqsError;
use crate::keys::{self, ReadySuffix};
use crate::lane::{Claim, Lane, Want};
use crate::message::Message;
use crate::message::receipt::{Place, Receipt};
use crate::message::visibility::{Fate, State};
use crate::order::{self, BodyKey, Delivered, MAX_MOVED_BYTES, Taken};
use crate::queue::Queue;
use crate::state::Desk;

/// The row of a message.
pub struct Located {
    partition: u8,
    suffix: ReadySuffix,
    pub state: State,
}

pub fn put(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    message: &Message,
    body: &Bytes,
    mut state: State,
) -> Result<(), StoreError> {
    let (generation, partition) = (queue.record.generation, desk.sqs.partition(desk.store));
    let suffix = ReadySuffix {
        visible_at: state.visible_at,
        ordinal: desk.sqs.ordinal(desk.now),
        tail: message.tail(),
    };
    let key = BodyKey(keys::body(generation, partition, suffix.ordinal, suffix.tail));
    state.tail = suffix.tail;
    state.has_body_apart = key.write(desk, txn, message, body)?;
    let prefix = keys::ready(generation, partition);
    txn.put(Space::Index, keys::join(&prefix, &suffix.build()), state.encode());
    txn.notify_low(Topic::new(prefix), state.visible_at);
    order::announce(txn, queue, state.visible_at);
    Ok(())
}

/// Claims messages that are visible now; also says when the next one becomes so.
pub async fn claim(desk: Desk<'_>, lane: &Arc<Lane>, want: Want) -> Result<(Vec<Claim>, u64), StoreError> {
    let (mut claims, mut next_at) = (Vec::new(), u64::MAX);
    for stream in lane.round() {
        if claims.len() >= want.rows {
            next_at = desk.now;
            break;
        }
        let rest = Want { rows: want.rows - claims.len(), ..want };
        let look = lane.look(desk.store, stream, desk.now, rest).await?;
        claims.extend(look.claims);
        next_at = next_at.min(look.next_at);
    }
    Ok((claims, next_at))
}

/// Takes what was claimed, as far as it is still there.
pub async fn take(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    claims: &[Claim],
    timeout: u64,
) -> Result<Taken, SqsError> {
    let rules = queue.rules();
    let mut taken = Taken::default();
    let mut dead_letter_queue = None;
    let mut moved_bytes = 0;
    for claim in claims {
        let Some(located) = find_claimed(txn, claim).await? else {
            taken.tidied += 1;
            continue;
        };
        let body_key = located.body_key(queue);
        let mut fate = located.state.fate(&rules, desk.now);
        if fate == Fate::DeadLetter {
            if dead_letter_queue.is_none() {
                dead_letter_queue = Some(order::dead_letter_queue(desk, txn, queue).await?);
            }
            if matches!(dead_letter_queue, Some(None)) {
                fate = Fate::Deliver;
            }
        }
        match (fate, &dead_letter_queue) {
            (Fate::Expire, _) => {
                located.delete(txn, queue);
                taken.tidied += 1;
            }
            (Fate::DeadLetter, Some(Some(target))) if moved_bytes < MAX_MOVED_BYTES => {
                if let Some((message, body)) = body_key.read(txn).await? {
                    moved_bytes += body.len();
                    order::bury(desk, txn, queue, target, message, &body, &located.state).await?;
                }
                located.delete(txn, queue);
                taken.tidied += 1;
            }
            (Fate::DeadLetter, _) => taken.tidied += 1,
            (Fate::Deliver, _) => match body_key.read(txn).await? {
                Some((message, body)) => {
                    let (state, receipt) = located.receive(desk, txn, queue, timeout);
                    taken.delivered.push(Delivered { message, body, state, receipt });
                }
                None => {
                    located.delete(txn, queue);
                    taken.tidied += 1;
                }
            },
        }
    }
    Ok(taken)
}

/// Removes what was claimed, as far as it is still there, and hands it over; what is past its retention only goes.
pub async fn drain(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    claims: &[Claim],
) -> Result<Vec<(Message, Bytes)>, SqsError> {
    let (mut drained, mut bytes) = (Vec::new(), 0);
    for claim in claims {
        if bytes >= MAX_MOVED_BYTES {
            break;
        }
        let Some(located) = find_claimed(txn, claim).await? else { continue };
        if !located.state.is_expired(&queue.rules(), desk.now)
            && let Some((message, body)) = located.body_key(queue).read(txn).await?
        {
            bytes += body.len();
            drained.push((message, body));
        }
        located.delete(txn, queue);
    }
    Ok(drained)
}

async fn find_claimed(txn: &Txn, claim: &Claim) -> Result<Option<Located>, StoreError> {
    let (key, suffix) = (claim.key(), ReadySuffix::parse(&claim.suffix));
    let is_there = txn.assume(Space::Index, &key, claim.version)
        || txn.get(Space::Index, &key).await?.is_some_and(|value| value == claim.value);
    let Some(suffix) = suffix.filter(|_| is_there) else { return Ok(None) };
    Ok(Some(Located { partition: claim.stream as u8, suffix, state: order::decode(&claim.value)? }))
}

/// Removes the message whose row has this suffix and value, if it still has.
pub async fn remove_row(
    txn: &Txn,
    queue: &Queue,
    partition: u8,
    suffix: &[u8],
    value: &Bytes,
) -> Result<(), StoreError> {
    let Some(suffix) = ReadySuffix::parse(suffix) else { return Ok(()) };
    let located = Located { partition, suffix, state: order::decode(value)? };
    if txn.get(Space::Index, &located.key(queue)).await?.as_ref() == Some(value) {
        located.delete(txn, queue);
    }
    Ok(())
}

/// The message of a receipt, if it is still there and was not received again.
pub async fn locate(txn: &Txn, queue: &Queue, receipt: &Receipt) -> Result<Option<Located>, StoreError> {
    let Place::Standard { partition, visible_at, ordinal, tail } = receipt.place else { return Ok(None) };
    let generation = queue.record.generation;
    if receipt.generation != generation {
        return Ok(None);
    }
    let at = |visible_at| ReadySuffix { visible_at, ordinal, tail };
    if let Some(located) = read(txn, generation, partition, at(visible_at), receipt.receive_count).await? {
        return Ok(Some(located));
    }
    let moved = txn.get(Space::Index, &keys::moved(generation, partition, ordinal, tail)).await?;
    match moved.as_deref().and_then(|moment| moment.try_into().ok().map(u64::from_be_bytes)) {
        Some(moment) => read(txn, generation, partition, at(moment), receipt.receive_count).await,
        None => Ok(None),
    }
}

async fn read(
    txn: &Txn,
    generation: u64,
    partition: u8,
    suffix: ReadySuffix,
    receive_count: u32,
) -> Result<Option<Located>, StoreError> {
    let key = keys::join(&keys::ready(generation, partition), &suffix.build());
    let Some(value) = txn.get(Space::Index, &key).await? else { return Ok(None) };
    let state = order::decode(&value)?;
    Ok((state.receive_count == receive_count).then_some(Located { partition, suffix, state }))
}

impl Located {
    fn body_key(&self, queue: &Queue) -> BodyKey {
        BodyKey(keys::body(queue.record.generation, self.partition, self.suffix.ordinal, self.suffix.tail))
    }

    fn key(&self, queue: &Queue) -> Bytes {
        keys::join(&keys::ready(queue.record.generation, self.partition), &self.suffix.build())
    }

    fn moved_key(&self, queue: &Queue) -> Bytes {
        keys::moved(queue.record.generation, self.partition, self.suffix.ordinal, self.suffix.tail)
    }

    /// Removes the message.
    pub fn delete(&self, txn: &Txn, queue: &Queue) {
        txn.delete(Space::Index, self.key(queue));
        if self.state.is_moved {
            txn.delete(Space::Index, self.moved_key(queue));
        }
        self.body_key(queue).delete(txn, &self.state);
    }

    fn receive(&self, desk: Desk<'_>, txn: &Txn, queue: &Queue, timeout: u64) -> (State, Receipt) {
        if self.state.is_moved {
            txn.delete(Space::Index, self.moved_key(queue));
        }
        let state = self.state.received(desk.now, timeout);
        self.put_at(txn, queue, &state);
        let receipt = Receipt {
            queue_id: queue.record.id,
            generation: queue.record.generation,
            receive_count: state.receive_count,
            place: Place::Standard {
                partition: self.partition,
                visible_at: state.visible_at,
                ordinal: self.suffix.ordinal,
                tail: self.suffix.tail,
            },
        };
        (state, receipt)
    }

    /// `ChangeMessageVisibility`: puts the row elsewhere and leaves word of it for the receipt handle.
    pub fn change(&self, desk: Desk<'_>, txn: &Txn, queue: &Queue, timeout: u64) -> Result<State, SqsError> {
        let state = State { is_moved: true, ..self.state.changed(desk.now, timeout)? };
        txn.put(Space::Index, self.moved_key(queue), Bytes::copy_from_slice(&state.visible_at.to_be_bytes()));
        self.put_at(txn, queue, &state);
        if state.visible_at <= desk.now {
            order::announce(txn, queue, state.visible_at);
        }
        Ok(state)
    }

    fn put_at(&self, txn: &Txn, queue: &Queue, state: &State) {
        let prefix = keys::ready(queue.record.generation, self.partition);
        txn.delete(Space::Index, self.key(queue));
        let suffix = ReadySuffix { visible_at: state.visible_at, ..self.suffix };
        txn.put(Space::Index, keys::join(&prefix, &suffix.build()), state.encode());
        txn.notify_low(Topic::new(prefix), state.visible_at);
    }
}
