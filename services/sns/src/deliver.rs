//! From a message to its subscribers.
//!
//! | File                  | Holds                                                           |
//! |-----------------------|-----------------------------------------------------------------|
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

use futures_util::StreamExt as _;
use pileus_core::{BoxFuture, Timestamp};
use pileus_platform::{Arn, Cx, Fault};
use pileus_store::due::Job;
use pileus_store::runner::Failure;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::envelope::{self, Notification, Signature};
use crate::error::SnsError;
use crate::keys::{FIFO, SUBSCRIPTIONS};
use crate::message::Message;
use crate::state::{Sns, Topic, millis};
use crate::subscription::{Protocol, Record, Subscription};
use crate::topic::Address;
use crate::topic::delivery_policy::{HttpPolicy, Retries};
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
    let now = cx.clock().now();
    let mut left = left.as_slice();
    loop {
        let mut bytes = 0;
        let fits = left.iter().take(WRITTEN_ROWS).take_while(|delivery| {
            bytes += delivery.bytes();
            bytes <= WRITTEN_BYTES
        });
        let (part, rest) = left.split_at(fits.count().max(1).min(left.len()));
        let is_last = rest.is_empty();
        let goes_on = cx
            .transact(|txn| async move {
                if is_last && !job.claim(&txn).await? {
                    return Ok(false);
                }
                for delivery in part {
                    let pause = match delivery.retried {
                        0 => std::time::Duration::ZERO,
                        retried => Retries::MANAGED.pause(retried - 1).unwrap_or_default(),
                    };
                    work::deliver_later(&txn, delivery, now + pause)?;
                }
                Ok::<_, SnsError>(!is_last)
            })
            .await?;
        if !goes_on {
            return Ok(());
        }
        left = rest;
    }
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

/// One attempt at one subscriber.
pub async fn attempt(cx: &Cx, job: &Job, delivery: Delivery) -> Result<(), Failure> {
    let cx = &as_topic(cx, &delivery.topic);
    let Some((topic, subscription)) = addressee(cx, &delivery).await.map_err(failed)? else { return Ok(()) };
    if let Some(reason) = &delivery.dead {
        return bury(cx, &topic, &subscription, &delivery, reason).await;
    }
    if let Some(at) = http::not_before(cx, &topic, &subscription) {
        return again(cx, job, &delivery, at).await.map_err(failed);
    }
    let outcome = match &delivery.parcel {
        Parcel::Message { message, is_replayed } => {
            let letter = Letter::new(&topic, message, *is_replayed);
            let outcome = single(cx, &letter, &subscription).await.map_err(failed)?;
            let dwell = millis(cx.clock().now()).saturating_sub(delivery.since);
            feedback::tell(cx, &letter, &subscription, &outcome, delivery.retried + 1, dwell).await;
            outcome
        }
        Parcel::Confirm { id, at } => {
            ask(cx, &topic, &subscription, id, *at, "SubscriptionConfirmation").await?
        }
        Parcel::Unsubscribed { id, at, .. } => {
            ask(cx, &topic, &subscription, id, *at, "UnsubscribeConfirmation").await?
        }
    };
    let reason = match outcome {
        Outcome::Done { .. } => return Ok(()),
        Outcome::Refused(reason) => reason,
        Outcome::Failed(reason) => {
            let pause = retries(&topic, &subscription.record).pause(delivery.retried);
            if let Some(pause) = pause {
                tracing::debug!(
                    subscription = subscription.arn,
                    reason = reason.text,
                    ?pause,
                    "a delivery is tried again"
                );
                let next = Delivery { retried: delivery.retried + 1, ..delivery };
                let due = cx.clock().now() + pause;
                return again(cx, job, &next, due).await.map_err(failed);
            }
            reason
        }
    };
    bury(cx, &topic, &subscription, &delivery, &reason).await
}

/// The same delivery at another moment.
async fn again(cx: &Cx, job: &Job, delivery: &Delivery, due: Timestamp) -> Result<(), SnsError> {
    cx.transact(|txn| async move {
        match job.claim(&txn).await? {
            true => work::deliver_later(&txn, delivery, due),
            false => Ok(()),
        }
    })
    .await
}

fn retries(topic: &Topic, record: &Record) -> Retries {
    match record.protocol {
        Protocol::Sqs | Protocol::Lambda => Retries::MANAGED,
        Protocol::Http | Protocol::Https => http_policy(topic, record).retries,
        _ => Retries::CUSTOMER,
    }
}

fn http_policy(topic: &Topic, record: &Record) -> HttpPolicy {
    let of_topic = topic.record.attributes.delivery_policy.as_deref();
    HttpPolicy::effective(record.attributes.delivery_policy.as_deref(), of_topic)
}

/// Whom a delivery is for, if it is still wanted.
async fn addressee(cx: &Cx, delivery: &Delivery) -> Result<Option<(Arc<Topic>, Subscription)>, SnsError> {
    let Some(topic) = cx.state::<Sns>().find(cx.store(), &delivery.topic).await? else { return Ok(None) };
    let (account, region, name, _) =
        (delivery.topic.account, &delivery.topic.region, &delivery.topic.name, ());
    let record = match &delivery.parcel {
        Parcel::Unsubscribed { record, .. } => Some((**record).clone()),
        _ => {
            let key = (account, region.clone(), name.clone(), delivery.subscription.clone());
            SUBSCRIPTIONS.get(cx.store(), &key).await?
        }
    };
    let wants_confirmed = matches!(delivery.parcel, Parcel::Message { .. });
    let fits = |record: &Record| match delivery.parcel {
        Parcel::Unsubscribed { .. } => true,
        _ => record.is_confirmed == wants_confirmed && record.topic_id == topic.record.id,
    };
    Ok(record.filter(fits).map(|record| (topic.clone(), Subscription::new(record))))
}

/// A message to one subscriber.
async fn single(cx: &Cx, letter: &Letter<'_>, own: &Subscription) -> Result<Outcome, SnsError> {
    let body = letter.message.body_for(own.record.protocol.name());
    let is_raw = own.record.attributes.is_raw;
    let is_signed =
        !is_raw && !matches!(own.record.protocol, Protocol::Sms | Protocol::Application | Protocol::Email);
    let signature = if is_signed { letter.signature(cx, &body).await? } else { None };
    Ok(match own.record.protocol {
        Protocol::Sqs => queue::send(cx, letter, own, &body, signature.as_ref()).await,
        Protocol::Lambda => function::invoke(cx, letter, own, &body, signature.as_ref()).await,
        Protocol::Http | Protocol::Https => http::post(cx, letter, own, &body, signature.as_ref()).await,
        _ => inbox::put(cx, letter, own, &body, signature.as_ref()).await?,
    })
}

/// Asks an endpoint to confirm, or tells it that it was unsubscribed.
async fn ask(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    id: &str,
    at: Timestamp,
    kind: &'static str,
) -> Result<Outcome, Failure> {
    let topic_arn = topic.address.arn().to_string();
    let token = own.record.token.clone().unwrap_or_default();
    let url = envelope::subscribe_url(&cx.platform().config().endpoint, &topic_arn, &token);
    let message = match kind {
        "SubscriptionConfirmation" => format!(
            "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the subscription, visit the SubscribeURL included in this message."
        ),
        _ => format!(
            "You have chosen to deactivate subscription {}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
            own.arn
        ),
    };
    let confirmation = envelope::Confirmation {
        kind,
        id,
        token: &token,
        topic_arn: &topic_arn,
        message: &message,
        subscribe_url: &url,
        at,
    };
    let version = topic.record.attributes.signature_version();
    let signature = signature::sign(cx, version, &confirmation.signed_text()).await.map_err(failed)?;
    let document = confirmation.document(&signature);
    Ok(match own.record.protocol {
        Protocol::Http | Protocol::Https => http::post_document(cx, topic, own, kind, id, document).await,
        Protocol::Sqs => queue::send_document(cx, own, &topic_arn, document).await,
        Protocol::Email | Protocol::EmailJson => {
            inbox::ask(cx, topic, own, &confirmation, document).await.map_err(failed)?
        }
        // A function of another account is confirmed by who may invoke it: chosen, as it is asked nothing.
        _ => Outcome::Done { status: 200, answer: String::new() },
    })
}

/// To the subscription's dead-letter queue, if it has one; else it is gone.
async fn bury(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    delivery: &Delivery,
    reason: &Reason,
) -> Result<(), Failure> {
    let Parcel::Message { message, is_replayed } = &delivery.parcel else { return Ok(()) };
    let target: Option<Arn> = own.record.attributes.dead_letter_queue().ok().flatten();
    let Some(target) = target else {
        tracing::info!(
            subscription = own.arn,
            message = message.id,
            reason = reason.text,
            "a message was not delivered, and is given up"
        );
        return Ok(());
    };
    let letter = Letter::new(topic, message, *is_replayed);
    match queue::bury(cx, &letter, own, &target, reason).await.map_err(failed)? {
        Outcome::Failed(reason) => Err(Failure::new(reason.text)),
        Outcome::Refused(reason) => {
            tracing::warn!(subscription = own.arn, queue = %target, reason = reason.text, "a dead-letter queue refused a message, which is lost");
            Ok(())
        }
        Outcome::Done { .. } => Ok(()),
    }
}
