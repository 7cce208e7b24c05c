//! The order of a FIFO queue: rows of a group's messages by sequence, one row for the group, and one in the order of groups
//! that says when its head may be received. Whoever changes a group reads and writes its row, so changes of one group happen
//! one after the other, and those of different groups do not meet.

use std::sync::Arc;

use bytes::Bytes;
use pileus_store::{Space, StoreError, Topic, Txn};

use crate::error::SqsError;
use crate::keys::{self, GROUPS};
use crate::lane::{Claim, Lane, Want};
use crate::message::Message;
use crate::message::fifo::{self, Group, Ready};
use crate::message::receipt::{Place, Receipt};
use crate::message::visibility::{Fate, Rules, State};
use crate::order::{self, BodyKey, Delivered, MAX_MOVED_BYTES, Taken};
use crate::queue::Queue;
use crate::state::Desk;

/// Rows of a group read at a time.
const PAGE: usize = 16;

/// The streams of a lane: for each partition, groups with a moment of their own, then those that follow the delay.
fn is_delay_stream(stream: usize) -> bool {
    stream % 2 == 1
}

fn body_key(queue: &Queue, sequence: u64, state: &State) -> BodyKey {
    BodyKey(keys::body(queue.record.generation, 0, sequence, state.tail))
}

pub async fn put(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    message: &mut Message,
    body: &Bytes,
    mut state: State,
) -> Result<(), SqsError> {
    let generation = queue.record.generation;
    let name = message.group.clone().unwrap_or_default();
    let mut group = load_group(desk, txn, queue, &name).await?;
    let sequence = desk.sqs.ordinal(desk.now).max(group.last + 1);
    message.sequence = Some(sequence);
    state.tail = message.tail();
    state.has_body_apart = body_key(queue, sequence, &state).write(desk, txn, message, body)?;
    txn.put(Space::Index, keys::member(generation, &name, sequence), state.encode());
    group.last = sequence;
    if group.ready.is_some() {
        group.changed_at = desk.now;
        return Ok(GROUPS.put(txn, &(generation, name), &group)?);
    }
    settle(desk, txn, queue, &name, group, Some((sequence, state)))
}

async fn load_group(desk: Desk<'_>, txn: &Txn, queue: &Queue, name: &str) -> Result<Group, StoreError> {
    let found = GROUPS.get(txn, &(queue.record.generation, name.to_owned())).await?;
    Ok(found.unwrap_or_else(|| Group::new(desk.now)))
}

/// Writes the group with this head, and puts it where it belongs in the order of groups.
fn settle(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    name: &str,
    mut group: Group,
    head: Option<(u64, State)>,
) -> Result<(), SqsError> {
    let generation = queue.record.generation;
    if let Some(ready) = group.ready.take() {
        txn.delete(Space::Index, ready_key(generation, &ready, name));
    }
    group.changed_at = desk.now;
    match head {
        Some((sequence, state)) => {
            let partition = desk.sqs.partition_of_group(desk.store, name);
            let ticket = desk.sqs.ordinal(desk.now);
            let ready = fifo::ready(&state, &queue.rules(), desk.now, partition, ticket);
            txn.put(Space::Index, ready_key(generation, &ready, name), Bytes::new());
            txn.notify_low(Topic::new(keys::groups(generation, ready.partition, ready.kind)), ready.at);
            if ready.at <= desk.now {
                order::announce(txn, queue, ready.at);
            }
            (group.head, group.ready) = (sequence, Some(ready));
        }
        None => group.head = group.last + 1,
    }
    Ok(GROUPS.put(txn, &(generation, name.to_owned()), &group)?)
}

fn ready_key(generation: u64, ready: &Ready, name: &str) -> Bytes {
    let prefix = keys::groups(generation, ready.partition, ready.kind);
    keys::join(&prefix, &keys::group_suffix(ready.at, ready.ticket, name))
}

/// Claims up to `want` groups that are available now; also says when the next one becomes so.
pub async fn claim(
    desk: Desk<'_>,
    lane: &Arc<Lane>,
    queue: &Queue,
    want: Want,
) -> Result<(Vec<Claim>, u64), StoreError> {
    let delay = queue.rules().delay;
    let (mut claims, mut next_at) = (Vec::new(), u64::MAX);
    for stream in lane.round() {
        if claims.len() >= want.rows {
            next_at = desk.now;
            break;
        }
        let lag = if is_delay_stream(stream) { delay } else { 0 };
        let upper = desk.now.saturating_sub(lag);
        let rest = Want { rows: want.rows - claims.len(), ..want };
        let look = lane.look(desk.store, stream, upper, rest).await?;
        claims.extend(look.claims);
        next_at = next_at.min(look.next_at.saturating_add(lag));
    }
    // Oldest first, whichever stream a group was found in.
    claims.sort_by(|left, right| left.suffix.cmp(&right.suffix));
    Ok((claims, next_at))
}

/// Takes up to `want` messages of the claimed groups, as far as these are still available.
pub async fn take(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    claims: &[Claim],
    want: usize,
    timeout: u64,
) -> Result<Taken, SqsError> {
    let mut taken = Taken::default();
    let mut moved_bytes = 0;
    for claim in claims {
        if taken.delivered.len() >= want || moved_bytes >= MAX_MOVED_BYTES {
            break;
        }
        let Some(name) = keys::suffix_group(&claim.suffix) else { continue };
        let group = load_group(desk, txn, queue, &name).await?;
        let stands = group.ready.as_ref().map(|ready| ready_key(queue.record.generation, ready, &name));
        if stands == Some(claim.key()) {
            let mut visit = Visit { desk, txn, queue, name, taken: &mut taken, want, timeout };
            visit.run(group, &mut moved_bytes).await?;
        }
    }
    Ok(taken)
}

/// A receive at one group.
struct Visit<'a> {
    desk: Desk<'a>,
    txn: &'a Txn,
    queue: &'a Queue,
    name: String,
    taken: &'a mut Taken,
    want: usize,
    timeout: u64,
}

impl Visit<'_> {
    async fn run(&mut self, group: Group, moved_bytes: &mut usize) -> Result<(), SqsError> {
        let (mut first, before) = (group.head, self.taken.delivered.len());
        let head = loop {
            let (members, more) = members(self.txn, self.queue, &self.name, first, PAGE).await?;
            let (rules, target) = self.rules(&members).await?;
            let want = self.want - self.taken.delivered.len();
            let mut head = members.first().cloned();
            for (at, fate) in fifo::receive(&members, &rules, self.desk.now, want) {
                let (sequence, state) = &members[at];
                let stays = match (fate, &target) {
                    (Fate::Deliver, _) => self.deliver(*sequence, state).await?,
                    (Fate::DeadLetter, _) if *moved_bytes >= MAX_MOVED_BYTES => break,
                    (Fate::DeadLetter, Some(target)) => {
                        *moved_bytes += self.bury(*sequence, state, target).await?;
                        None
                    }
                    _ => {
                        self.remove(*sequence, state);
                        None
                    }
                };
                let is_head = head.as_ref().is_some_and(|(head, _)| head == sequence);
                if is_head {
                    head = stays.map(|state| (*sequence, state)).or_else(|| members.get(at + 1).cloned());
                }
            }
            match (head, members.last()) {
                (None, Some((last, _))) if more => first = last + 1,
                (head, _) => break head,
            }
        };
        if self.taken.delivered.len() == before {
            // The group was not where it belonged: its delay changed, or what it held is gone.
            self.taken.tidied += 1;
        }
        settle(self.desk, self.txn, self.queue, &self.name, group, head)
    }

    /// The queue's rules; without the dead-letter queue while that does not exist.
    async fn rules(&self, members: &[(u64, State)]) -> Result<(Rules, Option<Arc<Queue>>), SqsError> {
        let rules = self.queue.rules();
        let max = rules.max_receive_count.unwrap_or(u32::MAX);
        if !members.iter().any(|(_, state)| state.receive_count >= max) {
            return Ok((rules, None));
        }
        let target = order::dead_letter_queue(self.desk, self.txn, self.queue).await?;
        let max_receive_count = rules.max_receive_count.filter(|_| target.is_some());
        Ok((Rules { max_receive_count, ..rules }, target))
    }

    /// The message's new state, unless its body is gone.
    async fn deliver(&mut self, sequence: u64, state: &State) -> Result<Option<State>, SqsError> {
        let Some((message, body)) = body_key(self.queue, sequence, state).read(self.txn).await? else {
            self.remove(sequence, state);
            return Ok(None);
        };
        let state = state.received(self.desk.now, self.timeout);
        let generation = self.queue.record.generation;
        self.txn.put(Space::Index, keys::member(generation, &self.name, sequence), state.encode());
        let receipt = Receipt {
            queue_id: self.queue.record.id,
            generation,
            receive_count: state.receive_count,
            place: Place::Fifo { sequence, group: self.name.clone() },
        };
        self.taken.delivered.push(Delivered { message, body, state: state.clone(), receipt });
        Ok(Some(state))
    }

    /// Bytes moved.
    async fn bury(&mut self, sequence: u64, state: &State, target: &Queue) -> Result<usize, SqsError> {
        let found = body_key(self.queue, sequence, state).read(self.txn).await?;
        let mut bytes = 0;
        if let Some((message, body)) = found {
            bytes = body.len();
            order::bury(self.desk, self.txn, self.queue, target, message, &body, state).await?;
        }
        self.remove(sequence, state);
        Ok(bytes)
    }

    fn remove(&mut self, sequence: u64, state: &State) {
        remove(self.txn, self.queue, &self.name, sequence, state);
        self.taken.tidied += 1;
    }
}

/// Removes up to `want` messages that could be received, in order, and hands them over; what is past its retention only
/// goes.
pub async fn drain(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    claims: &[Claim],
    want: usize,
) -> Result<Vec<(Message, Bytes)>, SqsError> {
    let rules = Rules { max_receive_count: None, ..queue.rules() };
    let (mut drained, mut bytes) = (Vec::new(), 0);
    for claim in claims {
        let Some(name) = keys::suffix_group(&claim.suffix) else { continue };
        let group = load_group(desk, txn, queue, &name).await?;
        let stands = group.ready.as_ref().map(|ready| ready_key(queue.record.generation, ready, &name));
        if stands != Some(claim.key()) || drained.len() >= want || bytes >= MAX_MOVED_BYTES {
            continue;
        }
        let (members, _) = members(txn, queue, &name, group.head, PAGE).await?;
        let mut next = 0;
        for (at, fate) in fifo::receive(&members, &rules, desk.now, want - drained.len()) {
            let (sequence, state) = &members[at];
            if bytes >= MAX_MOVED_BYTES {
                break;
            }
            if fate == Fate::Deliver
                && let Some((message, body)) = body_key(queue, *sequence, state).read(txn).await?
            {
                bytes += body.len();
                drained.push((message, body));
            }
            remove(txn, queue, &name, *sequence, state);
            next = at + 1;
        }
        let head = match (members.get(next), members.last()) {
            (Some(head), _) => Some(head.clone()),
            (None, Some((last, _))) => {
                self::members(txn, queue, &name, last + 1, 1).await?.0.into_iter().next()
            }
            (None, None) => None,
        };
        settle(desk, txn, queue, &name, group, head)?;
    }
    Ok(drained)
}

/// Removes the messages at the head of a group that are past their retention; tells how many went.
pub async fn expire(desk: Desk<'_>, txn: &Txn, queue: &Queue, name: &str) -> Result<usize, SqsError> {
    let group = load_group(desk, txn, queue, name).await?;
    let (members, _) = members(txn, queue, name, group.head, PAGE).await?;
    let rules = queue.rules();
    let expired = members.iter().take_while(|(_, state)| state.is_expired(&rules, desk.now)).count();
    if expired == 0 {
        return Ok(0);
    }
    for (sequence, state) in &members[..expired] {
        remove(txn, queue, name, *sequence, state);
    }
    let head = match members.get(expired) {
        Some(head) => Some(head.clone()),
        None => {
            let last = members[expired - 1].0;
            self::members(txn, queue, name, last + 1, 1).await?.0.into_iter().next()
        }
    };
    settle(desk, txn, queue, name, group, head)?;
    Ok(expired)
}

fn remove(txn: &Txn, queue: &Queue, name: &str, sequence: u64, state: &State) {
    txn.delete(Space::Index, keys::member(queue.record.generation, name, sequence));
    body_key(queue, sequence, state).delete(txn, state);
}

/// The first `limit` messages of a group from `first` on, and whether there are more.
async fn members(
    txn: &Txn,
    queue: &Queue,
    name: &str,
    first: u64,
    limit: usize,
) -> Result<(Vec<(u64, State)>, bool), StoreError> {
    let range = keys::members_from(queue.record.generation, name, first);
    let page = txn.scan(Space::Index, &range, limit).await?;
    let members = page.entries.iter().map(|entry| {
        let sequence =
            keys::member_sequence(&entry.key).ok_or_else(|| StoreError::corrupt("the key of a message"))?;
        Ok((sequence, order::decode(&entry.value)?))
    });
    Ok((members.collect::<Result<_, StoreError>>()?, page.more))
}

/// A message of a group, found by its receipt.
pub struct Located {
    name: String,
    sequence: u64,
    pub state: State,
}

/// The message of a receipt, if it is still there; its state may be that of a later receive.
pub async fn locate(txn: &Txn, queue: &Queue, receipt: &Receipt) -> Result<Option<Located>, StoreError> {
    let Place::Fifo { sequence, group } = &receipt.place else { return Ok(None) };
    if receipt.generation != queue.record.generation {
        return Ok(None);
    }
    let value = txn.get(Space::Index, &keys::member(receipt.generation, group, *sequence)).await?;
    let located = value.map(|value| {
        Ok::<_, StoreError>(Located {
            name: group.clone(),
            sequence: *sequence,
            state: order::decode(&value)?,
        })
    });
    located.transpose()
}

impl Located {
    /// Removes the message; its group goes on with the next one.
    pub async fn delete(&self, desk: Desk<'_>, txn: &Txn, queue: &Queue) -> Result<(), SqsError> {
        let group = load_group(desk, txn, queue, &self.name).await?;
        remove(txn, queue, &self.name, self.sequence, &self.state);
        if group.head != self.sequence {
            return Ok(());
        }
        let (next, _) = members(txn, queue, &self.name, self.sequence + 1, 1).await?;
        settle(desk, txn, queue, &self.name, group, next.into_iter().next())
    }

    pub async fn change(
        &self,
        desk: Desk<'_>,
        txn: &Txn,
        queue: &Queue,
        timeout: u64,
    ) -> Result<State, SqsError> {
        let state = self.state.changed(desk.now, timeout)?;
        self.put(desk, txn, queue, state.clone()).await?;
        Ok(state)
    }

    /// Writes another state; the group follows its head.
    pub async fn put(&self, desk: Desk<'_>, txn: &Txn, queue: &Queue, state: State) -> Result<(), SqsError> {
        let group = load_group(desk, txn, queue, &self.name).await?;
        let key = keys::member(queue.record.generation, &self.name, self.sequence);
        txn.put(Space::Index, key, state.encode());
        if group.head == self.sequence {
            settle(desk, txn, queue, &self.name, group, Some((self.sequence, state)))?;
        }
        Ok(())
    }
}
