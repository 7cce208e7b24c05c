//! What is known of the messages of a queue and its dead-letter queue, from outside.
//!
//! A request that was answered took effect at some moment between its beginning and its end; one that was not answered may
//! have taken effect at any time after its beginning, or never. Everything here is judged by what that leaves possible, so a
//! broken invariant is a fault and never bad luck. Times of messages are by nodes' clocks, as the nodes judge them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pileus_api_sqs::Message;

use crate::cloud::{Call, Trouble};

/// Which of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Source,
    Dead,
}

/// A queue's rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub is_fifo: bool,
    /// Receives before a message goes to the dead-letter queue.
    pub max_receives: Option<u64>,
}

pub struct Ledger {
    rules: Rules,
    messages: BTreeMap<String, Entry>,
    /// Receives whose answer nobody has: each may have taken a message once.
    open_receives: u64,
    lost_receives: u64,
    /// Dead letters may be on their way back.
    has_moves: bool,
    pub tally: Tally,
}

/// How much has happened: a simulation that did nothing proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub sent: u64,
    pub delivered: u64,
    pub deleted: u64,
    pub buried: u64,
    pub moved: u64,
}

#[derive(Default)]
struct Entry {
    group: Option<String>,
    id: Option<String>,
    /// The ids that it had before it was moved back from the dead letters.
    past_ids: BTreeSet<String>,
    sequence: Option<u128>,
    is_acknowledged: bool,
    /// By the sender's clock, when known.
    sent_at: Option<u64>,
    /// It must not be delivered before, by the receiver's clock.
    not_before: u64,
    /// By receive count.
    deliveries: BTreeMap<u64, Delivery>,
    deletes: Vec<Delete>,
}

struct Delivery {
    place: Place,
    ended: Duration,
    /// By the receiver's clock; it was taken no later.
    ended_at: u64,
    /// No sooner may it be delivered again, by the receiver's clock.
    hidden_until: u64,
}

struct Delete {
    id: String,
    place: Place,
    count: u64,
    began: Duration,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Under way, or without an answer.
    Open,
    Done {
        ended: Duration,
    },
    Refused,
}

/// A message in a consumer's hands.
#[derive(Debug, Clone)]
pub struct Held {
    pub body: String,
    id: String,
    pub place: Place,
    pub handle: String,
    count: u64,
}

impl Ledger {
    pub fn new(rules: Rules) -> Ledger {
        Ledger {
            rules,
            messages: BTreeMap::new(),
            open_receives: 0,
            lost_receives: 0,
            has_moves: false,
            tally: Tally::default(),
        }
    }

    /// A send begins. The message must not be delivered before `not_before`, by the receiver's clock.
    pub fn will_send(&mut self, body: &str, group: Option<&str>, not_before: u64) {
        let entry = self.messages.entry(body.to_owned()).or_default();
        entry.group = group.map(str::to_owned);
        // A send that is repeated may have succeeded at first.
        entry.not_before = if entry.not_before == 0 { not_before } else { entry.not_before.min(not_before) };
    }

    /// A send was acknowledged.
    pub fn sent(&mut self, body: &str, id: Option<&str>, sequence: Option<&str>) -> Result<(), String> {
        let entry = self.messages.get_mut(body).ok_or("a send that nobody began")?;
        if !entry.is_acknowledged {
            self.tally.sent += 1;
        }
        entry.is_acknowledged = true;
        // A send that is repeated is told of the message that the first one made.
        if id.is_some_and(|id| entry.past_ids.contains(id)) {
            return Ok(());
        }
        entry.learn(body, id, sequence)
    }

    /// Sequence numbers of one group, where its messages were sent one after the other: each send began when the one before
    /// it was acknowledged.
    pub fn check_sequences(&self, in_order: &[String]) -> Result<(), String> {
        let sequence = |body: &String| {
            let entry = self.messages.get(body).filter(|entry| entry.past_ids.is_empty())?;
            entry.sequence
        };
        let known: Vec<_> = in_order.iter().filter_map(|body| Some((body, sequence(body)?))).collect();
        match known.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            Some(pair) => Err(format!("{} has a sequence number not below that of {}", pair[0].0, pair[1].0)),
            None => Ok(()),
        }
    }

    /// A move task begins: from now on dead letters may come back, as new messages with the same body.
    pub fn will_move(&mut self) {
        self.has_moves = true;
    }

    pub fn will_receive(&mut self) {
        self.open_receives += 1;
    }

    /// A receive ended. `timeout` in milliseconds.
    pub fn received(
        &mut self,
        place: Place,
        call: Call<Vec<Message>>,
        timeout: u64,
    ) -> Result<Vec<Held>, String> {
        let Call { began, ended, now, ended_at, result, .. } = call;
        let messages = match result {
            Ok(messages) => {
                self.open_receives -= 1;
                messages
            }
            Err(Trouble::Refused { code, message }) => {
                return Err(format!("a receive was refused: {code}: {message}"));
            }
            Err(Trouble::Unknown { .. }) => {
                self.open_receives -= 1;
                self.lost_receives += 1;
                return Ok(Vec::new());
            }
        };
        let batch = Batch { place, began, ended, now, ended_at, timeout };
        let mut held = Vec::new();
        let mut before: BTreeSet<String> = BTreeSet::new();
        for message in messages {
            let one = self.receive_one(&batch, &message, &before)?;
            before.insert(one.body.clone());
            held.push(one);
        }
        Ok(held)
    }

    fn receive_one(
        &mut self,
        batch: &Batch,
        message: &Message,
        before: &BTreeSet<String>,
    ) -> Result<Held, String> {
        let body = message.body.clone().unwrap_or_default();
        let attribute = |name: &str| message.attributes.as_ref().and_then(|all| all.get(name)).cloned();
        let number = |name: &str| attribute(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (count, sent_at) = (number("ApproximateReceiveCount"), number("SentTimestamp"));
        let max = self.rules.max_receives;
        let ghosts = self.open_receives + self.lost_receives;
        let entry = self
            .messages
            .get_mut(&body)
            .ok_or_else(|| format!("{body} was delivered, and nobody has sent it"))?;
        let first_at = number("ApproximateFirstReceiveTimestamp");
        let id = message.message_id.clone().unwrap_or_default();
        let handle = message.receipt_handle.clone().unwrap_or_default();
        let held = Held { body, id, place: batch.place, handle, count };
        let body = &held.body;
        if entry.past_ids.contains(&held.id) {
            // An old answer: the message has been moved since.
            return Ok(held);
        }
        // Also where nobody knows by what id it was sent.
        if self.has_moves && entry.id.as_ref() != Some(&held.id) {
            self.tally.moved += u64::from(entry.id.is_some());
            entry.begin_anew();
        }
        entry.learn(body, Some(&held.id), None)?;
        if batch.place == Place::Source {
            entry.learn(body, None, attribute("SequenceNumber").as_deref())?;
            if *entry.sent_at.get_or_insert(sent_at) != sent_at {
                return Err(format!("{body} was sent at two moments"));
            }
        }
        match (batch.place, max) {
            (Place::Source, Some(max)) if count > max => {
                return Err(format!(
                    "{body} was received {count} times, and belongs to the dead letters after {max}"
                ));
            }
            (Place::Dead, Some(max)) if count <= max => {
                return Err(format!(
                    "{body} is a dead letter after {} receives, and {max} are due",
                    count - 1
                ));
            }
            (Place::Dead, None) => return Err(format!("{body} is a dead letter of no queue")),
            _ => {}
        }
        entry.check(body, batch, count, first_at, ghosts)?;
        // The first receive says when it was; of later ones it is known that it was not before the request.
        let at_least = if count == 1 { first_at } else { batch.now };
        let hidden_until = at_least + batch.timeout;
        let delivery =
            Delivery { place: batch.place, ended: batch.ended, ended_at: batch.ended_at, hidden_until };
        if entry.deliveries.insert(count, delivery).is_some() {
            return Err(format!("{body} was delivered twice as the receive number {count}"));
        }
        entry.check_hidden(body, count)?;
        self.tally.delivered += 1;
        self.tally.buried += u64::from(batch.place == Place::Dead);
        if self.rules.is_fifo {
            self.check_order(body, batch, before)?;
        }
        Ok(held)
    }

    /// A message of a group is delivered once all before it are gone, or together with them and after them.
    fn check_order(&self, body: &str, batch: &Batch, before: &BTreeSet<String>) -> Result<(), String> {
        let entry = &self.messages[body];
        let (Some(sequence), Place::Source) = (entry.sequence, batch.place) else { return Ok(()) };
        for (other, known) in &self.messages {
            if known.group != entry.group || other == body {
                continue;
            }
            match known.sequence {
                Some(theirs) if theirs < sequence => {}
                Some(_) if before.contains(other) => {
                    return Err(format!("{other} was delivered before {body}, in the same answer"));
                }
                _ => continue,
            }
            if !before.contains(other) && !self.may_be_gone(known, batch.ended) {
                return Err(format!(
                    "{body} was delivered while {other}, of the same group, was there before it"
                ));
            }
        }
        Ok(())
    }

    /// Whether a message may be out of its queue by `moment`.
    fn may_be_gone(&self, entry: &Entry, moment: Duration) -> bool {
        let deleted = |delete: &Delete| {
            delete.place == Place::Source && delete.outcome != Outcome::Refused && delete.began <= moment
        };
        let seen = entry.deliveries.keys().next_back().copied().unwrap_or(0);
        let ghosts = self.open_receives + self.lost_receives;
        entry.deletes.iter().any(deleted) || self.rules.max_receives.is_some_and(|max| seen + ghosts >= max)
    }

    pub fn will_delete(&mut self, held: &Held, began: Duration) {
        if let Some(entry) = self.messages.get_mut(&held.body) {
            let (id, place, count) = (held.id.clone(), held.place, held.count);
            entry.deletes.push(Delete { id, place, count, began, outcome: Outcome::Open });
        }
    }

    pub fn deleted<T>(&mut self, held: &Held, call: &Call<T>) {
        let outcome = match &call.result {
            Ok(_) => Outcome::Done { ended: call.ended },
            Err(Trouble::Refused { .. }) => Outcome::Refused,
            Err(Trouble::Unknown { .. }) => return,
        };
        self.tally.deleted += u64::from(outcome != Outcome::Refused);
        let entry = self.messages.get_mut(&held.body);
        let of = |delete: &&mut Delete| {
            delete.id == held.id && delete.count == held.count && delete.outcome == Outcome::Open
        };
        if let Some(delete) = entry.and_then(|entry| entry.deletes.iter_mut().rfind(of)) {
            delete.outcome = outcome;
        }
    }

    /// A change of a visibility timeout begins: the message may come back as soon as that says.
    pub fn will_change(&mut self, held: &Held, now: u64, timeout: u64) {
        if let Some(delivery) = self.delivery(held) {
            delivery.hidden_until = delivery.hidden_until.min(now + timeout);
        }
    }

    pub fn changed<T>(&mut self, held: &Held, call: &Call<T>, timeout: u64) {
        let (now, is_done) = (call.now, call.result.is_ok());
        if let Some(delivery) = self.delivery(held).filter(|_| is_done) {
            delivery.hidden_until = now + timeout;
        }
    }

    fn delivery(&mut self, held: &Held) -> Option<&mut Delivery> {
        let entry = self.messages.get_mut(&held.body)?;
        let is_of_now = entry.id.as_ref() == Some(&held.id);
        entry.deliveries.get_mut(&held.count).filter(|_| is_of_now)
    }

    /// Messages that are there for certain: acknowledged, and nobody has asked to delete them.
    pub fn must_exist(&self) -> BTreeSet<&str> {
        let kept = |entry: &Entry| entry.deletes.iter().all(|delete| delete.outcome == Outcome::Refused);
        let there = self.messages.iter().filter(|(_, entry)| entry.is_acknowledged && kept(entry));
        there.map(|(body, _)| body.as_str()).collect()
    }
}

/// One answered receive.
struct Batch {
    place: Place,
    began: Duration,
    ended: Duration,
    now: u64,
    ended_at: u64,
    timeout: u64,
}

impl Entry {
    /// It was moved back from the dead letters, where the node that moves puts it by its own clock.
    fn begin_anew(&mut self) {
        self.past_ids.extend(self.id.take());
        self.sequence = None;
        self.sent_at = None;
        self.not_before = 0;
        self.deliveries.clear();
    }

    /// A message keeps its id and its sequence number.
    fn learn(&mut self, body: &str, id: Option<&str>, sequence: Option<&str>) -> Result<(), String> {
        if let Some(id) = id
            && *self.id.get_or_insert_with(|| id.to_owned()) != id
        {
            return Err(format!("{body} was accepted twice: as {:?} and as {id}", self.id));
        }
        let sequence = sequence.and_then(|digits| digits.parse::<u128>().ok());
        if let Some(sequence) = sequence
            && *self.sequence.get_or_insert(sequence) != sequence
        {
            return Err(format!("{body} has two sequence numbers: {:?} and {sequence}", self.sequence));
        }
        Ok(())
    }

    /// The receive before this one, and this one, hide the message from the next. Answers may come in any order.
    fn check_hidden(&self, body: &str, count: u64) -> Result<(), String> {
        for (count, next) in self.deliveries.range(count..=count + 1) {
            let last = count.checked_sub(1).and_then(|last| self.deliveries.get(&last));
            let Some(last) = last.filter(|last| last.place == next.place) else { continue };
            if next.ended_at < last.hidden_until {
                let early = last.hidden_until - next.ended_at;
                return Err(format!(
                    "{body} was delivered again {early} ms before its visibility timeout was over"
                ));
            }
        }
        Ok(())
    }

    fn check(&self, body: &str, batch: &Batch, count: u64, first_at: u64, ghosts: u64) -> Result<(), String> {
        // A first receive says when it was, which may be a moment before the look that found the message; and the node that
        // answers may be another than the one that took it, since a receive may be asked for again. Whoever holds it may
        // release it by a clock that is behind, and then it is there before its time by that clock.
        let taken_by = first_at.max(batch.ended_at);
        if count == 1 && taken_by < self.not_before {
            let early = self.not_before - taken_by;
            return Err(format!("{body} was delivered {early} ms before its time"));
        }
        let seen = self.deliveries.range(..count).count() as u64;
        let missing = count.saturating_sub(1).saturating_sub(seen);
        if missing > ghosts {
            return Err(format!(
                "{body} counts {count} receives; {seen} before this one were seen, and only {ghosts} more may have happened"
            ));
        }
        let dead = self.deliveries.values().find(|other| other.place == Place::Dead);
        if batch.place == Place::Source && dead.is_some_and(|dead| dead.ended <= batch.began) {
            return Err(format!("{body} is back from the dead letters"));
        }
        let is_deleted = |delete: &Delete| {
            let is_of_now = self.id.as_ref() == Some(&delete.id);
            let was_latest = is_of_now && delete.place == batch.place && delete.count + 1 == count;
            was_latest && matches!(delete.outcome, Outcome::Done { ended } if ended <= batch.began)
        };
        if self.deletes.iter().any(is_deleted) {
            return Err(format!("{body} was deleted, and delivered again"));
        }
        Ok(())
    }
}
