//! From a message to its subscribers.
//!
//! | File                  | Holds                                                           |
//! |-----------------------|-----------------------------------------------------------------|
//! | `deliver/single.rs`   | one attempt at one subscriber, and what comes after it           |
//! | `deliver/queue.rs`    | SQS: messages to one queue go in batches                         |
//! | `deliver/function.rs` | Lambda                                                          |
//! | `deliver/http.rs`     | HTTP and HTTPS                                                  |
//! | `deliver/inbox.rs`    | mail, text messages and pushes                                  |
//! | `deliver/feedback.rs` | delivery status logs                                            |
//!
//! Queues and functions are brought a message at once, all together; what else there is, and what failed, becomes a row of its own. The row
//! of the message goes in the transaction that writes those. A node that dies before that begins again: at least once.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS message delivery", "Amazon SNS message delivery retries", "Amazon SNS dead-letter queues".

mod feedback;
mod function;
mod http;
mod inbox;
pub mod queue;
mod single;

pub use single::attempt;

use std::time::Duration;

use futures_util::StreamExt as _;
use pileus_core::{BoxFuture, Timestamp};
use pileus_platform::{Cx, Fault};
use pileus_store::due::Job;
use pileus_store::runner::Failure;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Notification, Signature};
use crate::error::SnsError;
use crate::keys::FIFO;
use crate::message::Message;
use crate::state::{Sns, Topic, millis};
use crate::subscription::{Protocol, Record, Subscription};
use crate::topic::Address;
use crate::topic::delivery_policy::Retries;
use crate::work::{self, FanOut, GroupWork};
use crate::{PRINCIPAL, signature};

/// Deliveries of one message that are under way together.
const TOGETHER: usize = 64;
/// Of deliveries that one transaction writes, each with its message.
const WRITTEN_BYTES: usize = 2 << 20;
const WRITTEN_ROWS: usize = 200;

/// One subscriber's part, where it could not be brought at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub topic: Address,
    pub subscription: String,
    pub parcel: Parcel,
    /// How often it was tried again.
    pub retried: u32,
    /// Milliseconds since 1970.
    pub since: u64,
    /// It will not be tried again, for this reason: to the dead-letter queue.
    pub dead: Option<Reason>,
}

impl Stored for Delivery {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Parcel {
    Message { message: Message, is_replayed: bool },
    Confirm { id: String, at: Timestamp },
    Unsubscribed { id: String, at: Timestamp, record: Box<Record> },
}

/// Why a delivery failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// As an HTTP status.
    pub status: u16,
    pub text: String,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done {
        status: u16,
        answer: String,
    },
    /// By who will not have it: no use in trying again.
    Refused(Reason),
    Failed(Reason),
}

impl Outcome {
    /// Of a call to another service of ours.
    pub fn of_fault(fault: &Fault) -> Outcome {
        let is_busy = ["Throttl", "OverLimit", "TooManyRequests", "Unavailable"];
        let can_wait = is_busy.iter().any(|part| fault.code.contains(part));
        let status = match fault.status {
            0 if fault.is_sender_fault => 400,
            0 => 500,
            status => status,
        };
        let reason = Reason { status, text: format!("{}: {}", fault.code, fault.message) };
        if fault.is_sender_fault && !can_wait { Outcome::Refused(reason) } else { Outcome::Failed(reason) }
    }
}

impl Delivery {
    pub fn new(record: &Record, parcel: Parcel, now: Timestamp) -> Delivery {
        Delivery {
            topic: record.topic.clone(),
            subscription: record.id.clone(),
            parcel,
            retried: 0,
            since: millis(now),
            dead: None,
        }
    }

    pub fn id(&self) -> String {
        let parcel = match &self.parcel {
            Parcel::Message { message, is_replayed: false } => message.id.as_str(),
            Parcel::Message { message, is_replayed: true } => {
                return format!("{}/{}/{}/r", message.id, self.subscription, self.retried);
            }
            Parcel::Confirm { id, .. } | Parcel::Unsubscribed { id, .. } => id,
        };
        format!("{parcel}/{}/{}", self.subscription, self.retried)
    }

    fn bytes(&self) -> usize {
        match &self.parcel {
            Parcel::Message { message, .. } => message.body.len() + 1_024,
            _ => 1_024,
        }
    }
}

/// As SNS, for a topic.
pub fn as_topic(cx: &Cx, topic: &Address) -> Cx {
    cx.with_region(topic.region.clone()).as_service(PRINCIPAL, &topic.arn())
}

/// One message and what its forms have in common.
pub struct Letter<'a> {
    pub topic: &'a Topic,
    pub topic_arn: String,
    pub message: &'a Message,
    pub is_replayed: bool,
}

impl<'a> Letter<'a> {
    pub fn new(topic: &'a Topic, message: &'a Message, is_replayed: bool) -> Letter<'a> {
        Letter { topic_arn: topic.address.arn().to_string(), topic, message, is_replayed }
    }

    /// Signs what a protocol is sent; a FIFO topic's messages are not signed.
    pub async fn signature(&self, cx: &Cx, body: &str) -> Result<Option<Signature>, SnsError> {
        if self.message.sequence.is_some() {
            return Ok(None);
        }
        let text = Notification::signed_text(self.message, &self.topic_arn, body);
        signature::sign(cx, self.topic.record.attributes.signature_version(), &text).await.map(Some)
    }

    /// The document or the event for a subscriber.
    pub fn notification<T>(
        &self,
        cx: &Cx,
        subscription_arn: &str,
        body: &str,
        signature: Option<&Signature>,
        form: impl FnOnce(&Notification<'_>) -> T,
    ) -> T {
        let url = envelope::unsubscribe_url(&cx.platform().config().endpoint, subscription_arn);
        form(&Notification {
            message: self.message,
            topic_arn: &self.topic_arn,
            body,
            is_replayed: self.is_replayed,
            signature,
            unsubscribe_url: &url,
        })
    }

    /// Whether a subscription's filter lets the message pass.
    pub fn passes(&self, subscription: &Subscription) -> bool {
        match &subscription.filter {
            None => true,
            Some(Err(())) => false,
            Some(Ok(policy)) if subscription.record.attributes.filters_body => {
                policy.admits_body(&self.message.body)
            }
            Some(Ok(policy)) => policy.admits_attributes(&self.message.seen()),
        }
    }
}

/// Bodies of one message by protocol, each signed once.
struct Signed {
    forms: Vec<(&'static str, String, Option<Signature>)>,
}

impl Signed {
    async fn new(cx: &Cx, letter: &Letter<'_>, subscriptions: &[&Subscription]) -> Result<Signed, SnsError> {
        let mut forms: Vec<(&'static str, String, Option<Signature>)> = Vec::new();
        for protocol in [Protocol::Sqs, Protocol::Lambda] {
            let Some(needs_signature) = needs_signature(subscriptions, protocol) else { continue };
            let body = letter.message.body_for(protocol.name());
            let known = forms.iter().find(|(_, other, signature)| *other == body && signature.is_some());
            let signature = match known {
                Some((_, _, signature)) => signature.clone(),
                None if needs_signature => letter.signature(cx, &body).await?,
                None => None,
            };
            forms.push((protocol.name(), body, signature));
        }
        Ok(Signed { forms })
    }

    fn of(&self, protocol: Protocol) -> (&str, Option<&Signature>) {
        let found = self.forms.iter().find(|(name, _, _)| *name == protocol.name());
        found.map_or(("", None), |(_, body, signature)| (body, signature.as_ref()))
    }
}

/// Whether a subscriber by a protocol is sent a document; `None` if there is no subscriber.
fn needs_signature(subscriptions: &[&Subscription], protocol: Protocol) -> Option<bool> {
    let mut own = subscriptions.iter().filter(|own| own.record.protocol == protocol).peekable();
    own.peek()?;
    Some(own.any(|own| !own.record.attributes.is_raw))
}

/// A standard topic's message to all its subscribers.
pub async fn fan_out(cx: &Cx, job: &Job, work: FanOut) -> Result<(), Failure> {
    let FanOut { topic: address, topic_id, message } = &work;
    let cx = &as_topic(cx, address);
    let sns = cx.state::<Sns>();
    let found = sns.find(cx.store(), address).await?;
    let Some(topic) = found.filter(|topic| topic.record.id == *topic_id) else { return Ok(()) };
    let letter = &Letter::new(&topic, message, false);
    let mut left = Vec::new();
    match topic.subscriptions(cx.store()).await.map_err(failed)? {
        Some(all) => left.extend(bring(cx, letter, &all).await.map_err(failed)?),
        None => {
            let mut range = Some(topic.all());
            while let Some(next) = range {
                let (page, rest) = topic.page(cx.store(), next).await.map_err(failed)?;
                left.extend(bring(cx, letter, &page).await.map_err(failed)?);
                range = rest;
                if left.len() >= WRITTEN_ROWS {
                    flush(cx, &left).await.map_err(failed)?;
                    left.clear();
                }
            }
        }
    }
    if left.is_empty() { Ok(()) } else { write(cx, job, left).await.map_err(failed) }
}

fn failed(error: SnsError) -> Failure {
    Failure::new(error)
}

/// Brings a message to queues and functions; gives what is left to do.
async fn bring(cx: &Cx, letter: &Letter<'_>, all: &[Subscription]) -> Result<Vec<Delivery>, SnsError> {
    let mut fitting = Vec::new();
    for own in all {
        if own.record.is_confirmed && letter.passes(own) {
            fitting.push(own);
        }
    }
    let signed = &Signed::new(cx, letter, &fitting).await?;
    let mut attempts: Vec<BoxFuture<'_, Option<Delivery>>> = Vec::with_capacity(fitting.len());
    for own in fitting {
        attempts.push(Box::pin(bring_one(cx, letter, own, signed)));
    }
    let left: Vec<Option<Delivery>> =
        futures_util::stream::iter(attempts).buffer_unordered(TOGETHER).collect().await;
    Ok(left.into_iter().flatten().collect())
}

async fn bring_one(cx: &Cx, letter: &Letter<'_>, own: &Subscription, signed: &Signed) -> Option<Delivery> {
    let (body, signature) = signed.of(own.record.protocol);
    let outcome = match own.record.protocol {
        Protocol::Sqs => queue::send(cx, letter, own, body, signature).await,
        Protocol::Lambda => function::invoke(cx, letter, own, body, signature).await,
        _ => return Some(later(letter, own, 0, None)),
    };
    feedback::tell(cx, letter, own, &outcome, 1, 0).await;
    match outcome {
        Outcome::Done { .. } => None,
        Outcome::Refused(reason) => Some(later(letter, own, 0, Some(reason))),
        Outcome::Failed(_) => Some(later(letter, own, 1, None)),
    }
}

fn later(letter: &Letter<'_>, own: &Subscription, retried: u32, dead: Option<Reason>) -> Delivery {
    let parcel = Parcel::Message { message: letter.message.clone(), is_replayed: letter.is_replayed };
    Delivery { retried, dead, ..Delivery::new(&own.record, parcel, letter.message.at) }
}

/// Writes what is left; the message's own row goes with the last of it.
async fn write(cx: &Cx, job: &Job, left: Vec<Delivery>) -> Result<(), SnsError> {
    let last = left.len() - fitting(left.iter().rev());
    flush(cx, &left[..last]).await?;
    let (now, part) = (cx.clock().now(), &left[last..]);
    cx.transact(|txn| async move {
        match job.claim(&txn).await? {
            true => add_all(&txn, part, now),
            false => Ok(()),
        }
    })
    .await
}

/// Writes deliveries, as many at a time as fit.
async fn flush(cx: &Cx, left: &[Delivery]) -> Result<(), SnsError> {
    let (now, mut left) = (cx.clock().now(), left);
    while !left.is_empty() {
        let (part, rest) = left.split_at(fitting(left.iter()));
        cx.transact(|txn| async move { add_all(&txn, part, now) }).await?;
        left = rest;
    }
    Ok(())
}

/// How many deliveries one transaction takes; at least one, if there is one.
fn fitting<'a>(deliveries: impl ExactSizeIterator<Item = &'a Delivery>) -> usize {
    let (count, mut bytes) = (deliveries.len(), 0);
    let fits = deliveries.take(WRITTEN_ROWS).take_while(|delivery| {
        bytes += delivery.bytes();
        bytes <= WRITTEN_BYTES
    });
    fits.count().max(1).min(count)
}

fn add_all(txn: &Txn, deliveries: &[Delivery], now: Timestamp) -> Result<(), SnsError> {
    deliveries.iter().try_for_each(|delivery| {
        let pause = match delivery.retried {
            0 => Duration::ZERO,
            retried => Retries::MANAGED.pause(retried - 1).unwrap_or_default(),
        };
        work::deliver_later(txn, delivery, now + pause)
    })
}

/// What waits in a group of a FIFO topic, in order, until nothing does.
pub async fn group(cx: &Cx, job: &Job, work: GroupWork) -> Result<(), Failure> {
    let GroupWork { topic: address, topic_id, group } = &work;
    let cx = &as_topic(cx, address);
    let sns = cx.state::<Sns>();
    // Several rows may be due for one group: one at a time.
    let turn = sns.group(&job.id);
    let _turn = turn.lock().await;
    loop {
        let found = sns.find(cx.store(), address).await?;
        let Some(topic) = found.filter(|topic| topic.record.id == *topic_id) else { return Ok(()) };
        let waiting = FIFO.under(&(*topic_id, group.as_str()));
        let rows = FIFO.scan(cx.store(), &waiting, queue::MAX_ENTRIES).await?.rows;
        if rows.is_empty() {
            return Ok(());
        }
        let messages: Vec<Message> = rows.iter().map(|(_, message)| message.clone()).collect();
        let mut dead = Vec::new();
        match topic.subscriptions(cx.store()).await.map_err(failed)? {
            Some(all) => dead.extend(bring_in_order(cx, &topic, &all, &messages, false).await?),
            None => {
                let mut range = Some(topic.all());
                while let Some(next) = range {
                    let (page, rest) = topic.page(cx.store(), next).await.map_err(failed)?;
                    dead.extend(bring_in_order(cx, &topic, &page, &messages, false).await?);
                    range = rest;
                }
            }
        }
        let (rows, dead, now) = (&rows, &dead, cx.clock().now());
        let done = cx.transact(|txn: Txn| async move {
            rows.iter().for_each(|(key, _)| FIFO.delete(&txn, key));
            dead.iter().try_for_each(|delivery| work::deliver_later(&txn, delivery, now))?;
            Ok::<_, SnsError>(())
        });
        done.await.map_err(failed)?;
    }
}

/// Brings messages of one group to queues, in order. What a queue refuses is given back; a queue that fails holds the group up.
pub async fn bring_in_order(
    cx: &Cx,
    topic: &Topic,
    all: &[Subscription],
    messages: &[Message],
    is_replayed: bool,
) -> Result<Vec<Delivery>, Failure> {
    let mut attempts: Vec<BoxFuture<'_, Result<Vec<Delivery>, Failure>>> = Vec::new();
    for own in all {
        if own.record.is_confirmed && (is_replayed || !own.record.attributes.is_held()) {
            attempts.push(Box::pin(bring_in_order_to(cx, topic, own, messages, is_replayed)));
        }
    }
    let outcomes: Vec<Result<Vec<Delivery>, Failure>> =
        futures_util::stream::iter(attempts).buffer_unordered(TOGETHER).collect().await;
    Ok(outcomes.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

async fn bring_in_order_to(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    messages: &[Message],
    is_replayed: bool,
) -> Result<Vec<Delivery>, Failure> {
    let mut letters: Vec<Letter<'_>> = Vec::new();
    for message in messages {
        let letter = Letter::new(topic, message, is_replayed);
        if letter.passes(own) {
            letters.push(letter);
        }
    }
    let outcomes = queue::send_in_order(cx, own, &letters).await;
    let mut dead = Vec::new();
    for (letter, outcome) in letters.iter().zip(outcomes) {
        feedback::tell(cx, letter, own, &outcome, 1, 0).await;
        match outcome {
            Outcome::Done { .. } => {}
            Outcome::Refused(reason) => dead.push(later(letter, own, 0, Some(reason))),
            Outcome::Failed(reason) => return Err(Failure::new(reason.text)),
        }
    }
    Ok(dead)
}
